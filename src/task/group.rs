//! Structured concurrency: tasks that live and fail together.
//!
//! **Job.** A [`TaskGroup`] holds tasks from any executors. The first failure cancels the
//! others; the group waits for all of them; what failed is told, what
//! the group itself cancelled is not. Dropping it cancels what is left.
//!
//! **Protocol.** Members are kept in a slab, each registered with the group's
//! ready queue under its place; so a completion costs the same in a large
//! group as in a small one. Handles ([`GroupHandle`]) add under the same lock, from
//! any thread, also from members; one that has ended before it is added goes through the queue,
//! too, so that the owner wakes. The group's owner is the only one that takes results out. The lock is
//! not held while anything of the user's runs: tasks are cancelled and dropped, and wakers cloned, woken and
//! dropped, outside of it. What a join has collected stays with the group until the join has
//! ended, so that one that is dropped half-way can be taken up again; failures that are left in
//! it when the group is dropped are reported.
//!
//! A member that is added to a group that has failed or was cancelled is cancelled at once; one that
//! is added after the group is gone, too.
//!
//! Tests: `tests/task/group.rs`.

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use slab::Slab;

use super::error::TaskError;
use super::handle::Task;
use super::id::TaskId;
use super::raw::{Ready, TaskRef, Watch};
use crate::helper::contain;
use crate::loom::{Arc, Mutex};
use crate::sync::block_on;

/// Tasks that live and fail together.
///
/// ```
/// use trefoil::{TaskGroup, ThreadPool};
///
/// let pool = ThreadPool::with_threads(2);
/// let mut group = TaskGroup::new();
/// for n in 1..=3u64 {
///     group.add(pool.spawn(move || n * n));
/// }
/// assert_eq!(group.join_all().wait().unwrap(), [1, 4, 9]);
/// ```
///
/// Dropping it cancels the members that have not ended.
#[must_use = "dropping it cancels its members"]
pub struct TaskGroup<T> {
    shared: Arc<Mutex<Members<T>>>,
    /// Where the one that waits leaves its waker.
    watch: Watch,
    joined: bool,
}

/// Adds members to a [`TaskGroup`] from anywhere; see [`TaskGroup::handle`].
pub struct GroupHandle<T> {
    shared: Arc<Mutex<Members<T>>>,
}

struct Members<T> {
    tasks: Slab<Member<T>>,
    ready: Ready,
    added: usize,
    /// Why no member may go on.
    ending: Option<Ending>,
    /// What a join has taken out so far, in the order of completion.
    collected: Vec<Collected<T>>,
    /// A join has taken out members that the group itself cancelled.
    left_out: bool,
    /// A blocking `next` on a loop's thread has named the members with smaller numbers.
    named: usize,
}

/// The number of a member that a join has taken out; its value, or the member and its failure, which is reported if
/// no caller ever takes it.
type Collected<T> = (usize, Result<T, (TaskRef, TaskError)>);

/// A member that has ended, and how.
type Ended<T> = (Member<T>, Result<T, TaskError>);

struct Member<T> {
    task: Task<T>,
    /// How many were added before it.
    number: usize,
    /// The group cancelled it: its `Cancelled` is not a failure.
    cancelled_by_group: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Ending {
    /// A member failed, or `cancel` was called.
    Cancelled,
    /// The group is gone.
    Gone,
}

impl<T> Members<T> {
    /// Takes a member in. Had it ended before: its waker, to be woken without the lock.
    fn add(&mut self, task: Task<T>, cancelled_by_group: bool) -> Option<Waker> {
        let entry = self.tasks.vacant_entry();
        let (key, number) = (entry.key(), self.added);
        self.added += 1;
        let member = entry.insert(Member {
            task,
            number,
            cancelled_by_group,
        });
        if member.task.register(self.ready.waker(key)) {
            return None;
        }
        member.cancelled_by_group = false;
        Some(self.ready.waker(key))
    }

    /// Marks all members as cancelled by the group; the caller cancels them
    /// after it has let go of the lock.
    fn begin_ending(&mut self, ending: Ending) -> Vec<TaskRef> {
        self.ending = Some(ending);
        self.tasks
            .iter_mut()
            .map(|(_, member)| {
                member.cancelled_by_group |= !member.task.is_finished();
                member.task.task_ref()
            })
            .collect()
    }

    /// The next member that has ended, if one has.
    fn take_ended(&mut self) -> Option<Ended<T>> {
        while let Some(key) = self.ready.next() {
            if let Some(result) = self
                .tasks
                .get_mut(key)
                .and_then(|member| member.task.try_join())
            {
                return Some((self.tasks.remove(key), result));
            }
        }
        None
    }

    /// Keeps what a member gave for the join; true: this is the first failure.
    fn collect(&mut self, (member, result): Ended<T>) -> bool {
        let result = match result {
            Ok(value) => Ok(value),
            Err(TaskError::Cancelled) if member.cancelled_by_group => {
                self.left_out = true;
                return false;
            }
            Err(error) => Err((member.task.task_ref(), error)),
        };
        let is_first = result.is_err() && self.ending.is_none();
        self.collected.push((member.number, result));
        is_first
    }

    /// The next member that a blocking `next`, which cannot wait, names as one that has
    /// not ended. `None`, once, after all have been named.
    fn refuse_one(&mut self) -> Option<TaskId> {
        let members = self.tasks.iter().map(|(_, member)| member);
        let left = members.filter(|member| member.number >= self.named);
        let next = left.min_by_key(|member| member.number);
        self.named = next.map_or(0, |member| member.number + 1);
        next.map(|member| member.task.id())
    }
}

impl<T> TaskGroup<T> {
    /// An empty group.
    pub fn new() -> Self {
        let members = Members {
            tasks: Slab::new(),
            ready: Ready::new(0),
            added: 0,
            ending: None,
            collected: Vec::new(),
            left_out: false,
            named: 0,
        };
        Self {
            watch: members.ready.watch(),
            shared: Arc::new(Mutex::new(members)),
            joined: false,
        }
    }

    /// Takes `task` in. Constant time. In a group that has failed or was
    /// cancelled, it is cancelled at once.
    pub fn add(&self, task: Task<T>) -> TaskId {
        add(&self.shared, task)
    }

    /// A handle by which others, members too, can add members.
    #[must_use]
    pub fn handle(&self) -> GroupHandle<T> {
        GroupHandle {
            shared: self.shared.clone(),
        }
    }

    /// How many members have not been taken out by [`next`](TaskGroup::next).
    #[must_use]
    pub fn len(&self) -> usize {
        self.shared.lock().tasks.len()
    }

    /// There are no members.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Asks all members to end, and those that are added later.
    pub fn cancel(&self) {
        let members = self.shared.lock().begin_ending(Ending::Cancelled);
        for member in members {
            member.cancel();
        }
    }

    /// Waits until every member has ended, those that are added meanwhile
    /// included; gives their values in the order of [`add`](TaskGroup::add). The first failure cancels
    /// the rest, which are still awaited.
    ///
    /// `.await` it, or call [`wait`](GroupJoin::wait) in blocking code.
    ///
    /// # Errors
    /// [`GroupError`] with every failure in the order in which they happened, without
    /// members that the group itself cancelled: if [`cancel`](TaskGroup::cancel) ended members and
    /// nothing else failed, the list is empty. So it is for a group that was
    /// joined before.
    ///
    /// # Cancel safety
    /// Cancel safe: dropping it half-way keeps the members in the group, and what it has
    /// collected for the next `join_all`.
    pub fn join_all(&mut self) -> GroupJoin<'_, T> {
        GroupJoin { group: self }
    }

    /// Waits for the next member to end, in the order of completion, and takes it out.
    /// `None`: there are no members.
    ///
    /// `.await` it, or call [`wait`](GroupNext::wait) in blocking code. A failure does not cancel the
    /// rest: that is for the caller to decide.
    ///
    /// # Cancel safety
    /// Cancel safe: dropping it loses no result.
    #[expect(
        clippy::should_implement_trait,
        reason = "what it gives is awaited, as a stream's `next` is"
    )]
    pub fn next(&mut self) -> GroupNext<'_, T> {
        GroupNext { group: self }
    }

    /// Runs a member here that no thread has begun, if this thread may. True: it did.
    pub(crate) fn run_one(&self) -> bool {
        let members: Vec<TaskRef> = {
            let members = self.shared.lock();
            let tasks = members.tasks.iter().map(|(_, member)| &member.task);
            tasks
                .map(Task::task_ref)
                .filter(|member| !member.is_finished())
                .collect()
        };
        members.iter().any(TaskRef::run_here)
    }

    fn poll_ended(&self, cx: &mut Context<'_>) -> Poll<Option<Ended<T>>> {
        loop {
            {
                let mut members = self.shared.lock();
                if let Some(ended) = members.take_ended() {
                    return Poll::Ready(Some(ended));
                }
                if members.tasks.is_empty() {
                    return Poll::Ready(None);
                }
            }
            if !self.watch.register(cx.waker()) {
                return Poll::Pending;
            }
        }
    }
}

fn add<T>(shared: &Mutex<Members<T>>, mut task: Task<T>) -> TaskId {
    let id = task.id();
    task.unregister(); // a waker of before is dropped here, not under the lock
    let mut members = shared.lock();
    let ended = match members.ending {
        None => members.add(task, false),
        Some(Ending::Cancelled) => {
            let member = task.task_ref();
            let ended = members.add(task, true);
            drop(members);
            member.cancel();
            ended
        }
        Some(Ending::Gone) => {
            drop(members);
            task.cancel();
            return id;
        }
    };
    if let Some(waker) = ended {
        waker.wake();
    }
    id
}

impl<T> GroupHandle<T> {
    /// As [`TaskGroup::add`]. After the group is gone, `task` is cancelled.
    pub fn add(&self, task: Task<T>) -> TaskId {
        add(&self.shared, task)
    }
}

impl<T> Clone for GroupHandle<T> {
    fn clone(&self) -> Self {
        Self {
            shared: self.shared.clone(),
        }
    }
}

impl<T> Default for TaskGroup<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T> Drop for TaskGroup<T> {
    fn drop(&mut self) {
        let (cancelled, tasks, collected) = {
            let mut members = self.shared.lock();
            (
                members.begin_ending(Ending::Gone),
                std::mem::take(&mut members.tasks),
                std::mem::take(&mut members.collected),
            )
        };
        for member in cancelled {
            member.cancel();
        }
        // One by one: what they left may have destructors that panic.
        for (_, member) in tasks {
            contain(|| drop(member));
        }
        for (_, result) in collected {
            match result {
                Ok(value) => contain(|| drop(value)),
                Err((member, error)) => member.report(error),
            }
        }
    }
}

/// What [`TaskGroup::join_all`] returns.
#[must_use = "it waits only when awaited, or by `wait()`"]
pub struct GroupJoin<'a, T> {
    group: &'a mut TaskGroup<T>,
}

impl<T> GroupJoin<'_, T> {
    /// Blocks until every member has ended.
    ///
    /// # Errors
    /// As [`TaskGroup::join_all`]. On an event-loop thread it never blocks: members that have not
    /// ended are cancelled, and each is a [`TaskError::WouldBlock`].
    pub fn wait(mut self) -> Result<Vec<T>, GroupError> {
        if let Some(result) = block_on(&mut self) {
            return result;
        }
        let group = &mut *self.group;
        let (left, queue, collected) = {
            let mut members = group.shared.lock();
            // What is taken out has wakers of the old queue.
            let queue = std::mem::replace(&mut members.ready, Ready::new(0));
            group.watch = members.ready.watch();
            let tasks = std::mem::take(&mut members.tasks);
            (tasks, queue, std::mem::take(&mut members.collected))
        };
        let (_values, mut errors) = sorted(collected);
        for (_, member) in left {
            member.task.cancel();
            errors.push((member.task.id(), TaskError::WouldBlock));
        }
        drop(queue);
        group.joined = true;
        Err(GroupError {
            why: Why::Failed,
            errors,
        })
    }
}

impl<T> Future for GroupJoin<'_, T> {
    type Output = Result<Vec<T>, GroupError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let group = &mut *self.group;
        if group.joined {
            return Poll::Ready(Err(GroupError {
                why: Why::JoinedTwice,
                errors: Vec::new(),
            }));
        }
        loop {
            match group.poll_ended(cx) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(None) => break,
                Poll::Ready(Some(ended)) => {
                    let first_failure = group.shared.lock().collect(ended);
                    if first_failure {
                        group.cancel();
                    }
                }
            }
        }
        group.joined = true;
        let (collected, left_out) = {
            let mut members = group.shared.lock();
            (std::mem::take(&mut members.collected), members.left_out)
        };
        let (mut values, errors) = sorted(collected);
        if !errors.is_empty() || left_out {
            let why = if errors.is_empty() {
                Why::Cancelled
            } else {
                Why::Failed
            };
            return Poll::Ready(Err(GroupError { why, errors }));
        }
        values.sort_unstable_by_key(|(number, _)| *number);
        Poll::Ready(Ok(values.into_iter().map(|(_, value)| value).collect()))
    }
}

/// The values with the numbers of their members, and the failures.
#[expect(clippy::type_complexity, reason = "two lists")]
fn sorted<T>(collected: Vec<Collected<T>>) -> (Vec<(usize, T)>, Vec<(TaskId, TaskError)>) {
    let (mut values, mut errors) = (Vec::with_capacity(collected.len()), Vec::new());
    for (number, result) in collected {
        match result {
            Ok(value) => values.push((number, value)),
            Err((member, error)) => errors.push((member.id(), error)),
        }
    }
    (values, errors)
}

/// What [`TaskGroup::next`] returns.
#[must_use = "it waits only when awaited, or by `wait()`"]
pub struct GroupNext<'a, T> {
    group: &'a mut TaskGroup<T>,
}

impl<T> GroupNext<'_, T> {
    /// Blocks until the next member has ended.
    ///
    /// On an event-loop thread it never blocks: what has ended is given first, then each
    /// member that has not is named once, with a [`TaskError::WouldBlock`], and stays in the group; then
    /// comes a `None`.
    pub fn wait(mut self) -> Option<(TaskId, Result<T, TaskError>)> {
        match block_on(&mut self) {
            Some(ended) => ended,
            None => {
                let refused = self.group.shared.lock().refuse_one()?;
                Some((refused, Err(TaskError::WouldBlock)))
            }
        }
    }
}

impl<T> Future for GroupNext<'_, T> {
    type Output = Option<(TaskId, Result<T, TaskError>)>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.group
            .poll_ended(cx)
            .map(|ended| ended.map(|(member, result)| (member.task.id(), result)))
    }
}

// Nothing in them is pinned.
impl<T> Unpin for GroupJoin<'_, T> {}
impl<T> Unpin for GroupNext<'_, T> {}

/// What went wrong in a [`TaskGroup`].
#[derive(Clone, Debug)]
pub struct GroupError {
    why: Why,
    errors: Vec<(TaskId, TaskError)>,
}

#[derive(Clone, Copy, Debug)]
enum Why {
    Failed,
    Cancelled,
    JoinedTwice,
}

impl GroupError {
    /// Every failure, in the order in which they happened. Empty if the group was
    /// cancelled and nothing else failed, or was joined before.
    #[must_use]
    pub fn errors(&self) -> &[(TaskId, TaskError)] {
        &self.errors
    }
}

impl fmt::Display for GroupError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.why, &self.errors[..]) {
            (Why::JoinedTwice, _) => write!(f, "this group was joined before: make a new one"),
            (Why::Cancelled, _) | (_, []) => write!(f, "the group was cancelled"),
            (_, [(id, error)]) => write!(f, "task {id} of the group failed: {error}"),
            (_, [(id, error), rest @ ..]) => {
                write!(
                    f,
                    "{} tasks of the group failed, first {id}: {error}",
                    rest.len() + 1
                )
            }
        }
    }
}

impl std::error::Error for GroupError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.errors.first().map(|(_, error)| error as _)
    }
}

impl<T> fmt::Debug for TaskGroup<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TaskGroup")
            .field("members", &self.len())
            .finish()
    }
}

impl<T> fmt::Debug for GroupHandle<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("GroupHandle")
    }
}

impl<T> fmt::Debug for GroupJoin<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GroupJoin")
            .field("ended", &self.group.shared.lock().collected.len())
            .finish_non_exhaustive()
    }
}

impl<T> fmt::Debug for GroupNext<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("GroupNext").field(&self.group).finish()
    }
}
