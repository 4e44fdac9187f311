//! `JoinHandle`, `JoinSet` and what starts tasks: trefoil's `Task` and `TaskGroup`.

use std::any::Any;
use std::fmt;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::task::{Context, Poll};

pub use crate::absent::LocalSet;
use crate::runtime::Handle;
pub use trefoil::task::{AccessError, LocalKey};
pub use trefoil::yield_now;
use trefoil::{LoopHandle, Task, TaskError, TaskGroup, TaskId};

#[track_caller]
pub fn spawn<F>(future: F) -> JoinHandle<F::Output>
where
    F: Future<Output: Send + 'static> + Send + 'static,
{
    JoinHandle::from(LoopHandle::current().spawn(future))
}

#[track_caller]
pub fn spawn_local<F>(future: F) -> JoinHandle<F::Output>
where
    F: Future<Output: 'static> + 'static,
{
    JoinHandle::from(trefoil::spawn(future))
}

#[track_caller]
pub fn spawn_blocking<T, F>(f: F) -> JoinHandle<T>
where
    F: FnOnce() -> T + Send + 'static,
    T: Send + 'static,
{
    JoinHandle::from(trefoil::spawn_blocking(f))
}

#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct Id(TaskId);

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[track_caller]
pub fn id() -> Id {
    Id(trefoil::task::id())
}

pub fn try_id() -> Option<Id> {
    trefoil::task::try_id().map(Id)
}

pub struct JoinHandle<T> {
    task: Task<T>,
}

impl<T> From<Task<T>> for JoinHandle<T> {
    fn from(task: Task<T>) -> Self {
        Self { task }
    }
}

impl<T> JoinHandle<T> {
    pub fn abort(&self) {
        self.task.cancel();
    }

    pub fn abort_handle(&self) -> AbortHandle {
        AbortHandle(self.task.abort_handle())
    }

    pub fn is_finished(&self) -> bool {
        self.task.is_finished()
    }

    pub fn id(&self) -> Id {
        Id(self.task.id())
    }
}

impl<T> fmt::Debug for JoinHandle<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JoinHandle")
            .field("id", &self.id())
            .finish()
    }
}

impl<T> Future for JoinHandle<T> {
    type Output = Result<T, JoinError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let id = self.id();
        Pin::new(&mut self.task)
            .poll(cx)
            .map_err(|error| JoinError { id, error })
    }
}

#[derive(Clone)]
pub struct AbortHandle(trefoil::AbortHandle);

impl AbortHandle {
    pub fn abort(&self) {
        self.0.cancel();
    }

    pub fn is_finished(&self) -> bool {
        self.0.is_finished()
    }

    pub fn id(&self) -> Id {
        Id(self.0.id())
    }
}

#[derive(Debug)]
pub struct JoinError {
    id: Id,
    error: TaskError,
}

impl JoinError {
    pub fn is_cancelled(&self) -> bool {
        !self.is_panic()
    }

    pub fn is_panic(&self) -> bool {
        matches!(self.error, TaskError::Panicked(_))
    }

    #[track_caller]
    pub fn into_panic(self) -> Box<dyn Any + Send> {
        self.try_into_panic().expect("the task has not panicked")
    }

    pub fn try_into_panic(self) -> Result<Box<dyn Any + Send>, Self> {
        match self.error {
            TaskError::Panicked(panic) => {
                Ok(
                    catch_unwind(AssertUnwindSafe(|| panic.resume_unwind()))
                        .expect_err("it panics"),
                )
            }
            error => Err(Self { id: self.id, error }),
        }
    }

    pub fn id(&self) -> Id {
        self.id
    }
}

impl fmt::Display for JoinError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.error.fmt(f)
    }
}

impl std::error::Error for JoinError {}

impl From<JoinError> for std::io::Error {
    fn from(error: JoinError) -> Self {
        Self::other(error)
    }
}

pub struct JoinSet<T>(TaskGroup<T>);

impl<T> Default for JoinSet<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T> fmt::Debug for JoinSet<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JoinSet").field("len", &self.len()).finish()
    }
}

impl<T> JoinSet<T> {
    pub fn new() -> Self {
        Self(TaskGroup::new())
    }

    pub fn len(&self) -> usize {
        self.0.len()
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn add(&mut self, task: Task<T>) -> AbortHandle {
        let abort = AbortHandle(task.abort_handle());
        self.0.add(task);
        abort
    }

    pub fn spawn<F>(&mut self, future: F) -> AbortHandle
    where
        F: Future<Output = T> + Send + 'static,
        T: Send + 'static,
    {
        self.add(LoopHandle::current().spawn(future))
    }

    pub fn spawn_on<F>(&mut self, future: F, handle: &Handle) -> AbortHandle
    where
        F: Future<Output = T> + Send + 'static,
        T: Send + 'static,
    {
        self.add(handle.0.spawn(future))
    }

    pub fn spawn_local<F>(&mut self, future: F) -> AbortHandle
    where
        F: Future<Output = T> + 'static,
        T: 'static,
    {
        self.add(trefoil::spawn(future))
    }

    pub fn spawn_blocking<F>(&mut self, f: F) -> AbortHandle
    where
        F: FnOnce() -> T + Send + 'static,
        T: Send + 'static,
    {
        self.add(trefoil::spawn_blocking(f))
    }

    pub async fn join_next(&mut self) -> Option<Result<T, JoinError>> {
        Some(self.join_next_with_id().await?.map(|(_, output)| output))
    }

    pub async fn join_next_with_id(&mut self) -> Option<Result<(Id, T), JoinError>> {
        self.0.next().await.map(Self::joined)
    }

    pub fn try_join_next(&mut self) -> Option<Result<T, JoinError>> {
        Some(self.try_join_next_with_id()?.map(|(_, output)| output))
    }

    pub fn try_join_next_with_id(&mut self) -> Option<Result<(Id, T), JoinError>> {
        self.0.try_next().map(Self::joined)
    }

    fn joined((id, result): (TaskId, Result<T, TaskError>)) -> Result<(Id, T), JoinError> {
        let id = Id(id);
        result
            .map(|output| (id, output))
            .map_err(|error| JoinError { id, error })
    }

    pub async fn join_all(mut self) -> Vec<T> {
        let mut outputs = Vec::new();
        while let Some(result) = self.join_next().await {
            match result {
                Ok(output) => outputs.push(output),
                Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
                Err(error) => panic!("{error}"),
            }
        }
        outputs
    }

    pub fn abort_all(&mut self) {
        self.0.cancel();
    }

    pub async fn shutdown(&mut self) {
        self.abort_all();
        while self.join_next().await.is_some() {}
    }

    /// For tests that are cut.
    pub fn detach_all(&mut self) {
        panic!("a group has no such method")
    }
}

impl<T: Send + 'static, F: Future<Output = T> + Send + 'static> Extend<F> for JoinSet<T> {
    fn extend<I: IntoIterator<Item = F>>(&mut self, futures: I) {
        for future in futures {
            self.spawn(future);
        }
    }
}

impl<T: Send + 'static, F: Future<Output = T> + Send + 'static> FromIterator<F> for JoinSet<T> {
    fn from_iter<I: IntoIterator<Item = F>>(futures: I) -> Self {
        let mut set = Self::new();
        set.extend(futures);
        set
    }
}
