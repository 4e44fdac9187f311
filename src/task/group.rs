//! Structured concurrency: tasks that live and fail together.
//!
//! **Job.** A [`TaskGroup`] holds tasks from any executors. The first failure cancels the
//! others; the group waits for all of them. It reports failures, but not the members
//! that it cancelled itself. Dropping it cancels what is left.
//!
//! **Protocol.** Members are kept in a slab, each registered with the group's
//! ready queue under its key; so a completion costs the same in a large
//! group as in a small one. Handles ([`GroupHandle`]) add under the same lock, from
//! any thread, also from members; one that has ended before it is added goes through the queue,
//! too, so that the owner wakes. The group's owner is the only one that takes results out. The lock is
//! not held while anything of the user's runs: tasks are cancelled and dropped, and wakers cloned, woken and
//! dropped, outside of it. What a join has collected stays with the group, each result in its task, until the join has
//! ended; so one that is dropped half-way can be taken up again, and failures that are left when the group is dropped
//! are reported as those of any dropped task.
//!
//! A member that is added to a group that has failed or was cancelled is cancelled at once; one that
//! is added after the group is gone, too.
//!
//! Tests: `tests/task/group.rs`.

use std::fmt;
use std::pin::Pin;
use std::sync::Weak;
use std::task::{Context, Poll, Waker, ready};

use slab::Slab;

use super::error::TaskError;
use super::id::TaskId;
use super::into_task::IntoTask;
use super::raw::{ReadyQueue, ReadyShared, Task, TaskRef};
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
    ready: Arc<ReadyShared>,
    joined: bool,
}

/// Adds members to a [`TaskGroup`] from anywhere; see [`TaskGroup::handle`].
pub struct GroupHandle<T> {
    shared: Weak<Mutex<Members<T>>>,
}

struct Members<T> {
    tasks: Slab<Member<T>>,
    ready: ReadyQueue,
    added: usize,
    /// A member failed, or `cancel` was called, or the group is gone: no member may go on.
    cancelled: bool,
    /// The members that a join has taken out so far, in the order of completion.
    collected: Vec<Member<T>>,
    /// A blocking `next` on a loop's thread has named the members with smaller numbers.
    named: usize,
}

struct Member<T> {
    task: Task<T>,
    /// How many were added before it.
    number: usize,
    /// The group cancelled it: its `Cancelled` is not a failure.
    cancelled_by_group: bool,
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
    fn begin_cancel(&mut self) -> Vec<TaskRef> {
        self.cancelled = true;
        self.tasks
            .iter_mut()
            .map(|(_, member)| {
                member.cancelled_by_group |= !member.task.is_finished();
                member.task.task_ref()
            })
            .collect()
    }

    /// The next member that has ended, if one has.
    fn take_ended(&mut self) -> Option<Member<T>> {
        let key = self.ready.next()?;
        self.tasks.try_remove(key)
    }

    /// Keeps a member that has ended for the join; true: this is the first failure.
    fn collect(&mut self, mut member: Member<T>) -> bool {
        let has_failed = match member.task.error() {
            None => false,
            Some(TaskError::Cancelled) => !member.cancelled_by_group,
            Some(_) => true,
        };
        self.collected.push(member);
        has_failed && !self.cancelled
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
            ready: ReadyQueue::default(),
            added: 0,
            cancelled: false,
            collected: Vec::new(),
            named: 0,
        };
        Self {
            ready: members.ready.shared(),
            shared: Arc::new(Mutex::new(members)),
            joined: false,
        }
    }

    /// Adds `task`, in constant time. In a group that has failed or was
    /// cancelled, it is cancelled at once.
    ///
    /// A future that is no task is started first, where it is to run: `group.add(trefoil::spawn(future))`, or
    /// `group.add(pool.spawn_async(future))`.
    pub fn add(&self, task: impl IntoTask<Value = T>) -> TaskId {
        add(&self.shared, task.into_task())
    }

    /// A handle by which others, members too, can add members.
    #[must_use]
    pub fn handle(&self) -> GroupHandle<T> {
        GroupHandle {
            shared: Arc::downgrade(&self.shared),
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
        let mut members = self.shared.lock().begin_cancel();
        // What runs is told last: else its worker could begin another member first.
        members.sort_by_cached_key(TaskRef::is_running); // which changes meanwhile
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
    /// nothing else failed, the list is empty. So is that of a group that was
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

    /// The next member that has ended, in the order of completion, which it takes out; never waits. `None`: none has.
    ///
    /// ```
    /// use trefoil::{Completer, TaskGroup};
    ///
    /// let mut group = TaskGroup::new();
    /// let (completer, task) = Completer::new();
    /// let id = group.add(task);
    /// assert!(group.try_next().is_none());
    /// completer.complete(Ok(7));
    /// assert!(matches!(group.try_next(), Some((ended, Ok(7))) if ended == id));
    /// assert!(group.is_empty());
    /// ```
    pub fn try_next(&mut self) -> Option<(TaskId, Result<T, TaskError>)> {
        let ended = self.shared.lock().take_ended()?;
        Some((ended.task.id(), ended.task.join()))
    }

    /// Lets all members go on without the group, which is empty then and goes on, too. A failure of theirs that
    /// nobody has taken is told as that of any detached task.
    pub fn detach_all(&mut self) {
        let mut members = self.shared.lock();
        // A number in the old queue would be taken for that of a new member.
        members.ready = ReadyQueue::default();
        self.ready = members.ready.shared();
        let members_left = std::mem::take(&mut members.tasks);
        let collected = std::mem::take(&mut members.collected);
        drop(members); // what follows calls code of the user's
        drop((members_left, collected));
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

    fn poll_ended(&self, cx: &mut Context<'_>) -> Poll<Option<Member<T>>> {
        loop {
            {
                let mut members = self.shared.lock();
                if let Some(member) = members.take_ended() {
                    return Poll::Ready(Some(member));
                }
                if members.tasks.is_empty() {
                    return Poll::Ready(None);
                }
            }
            if !self.ready.register(cx.waker()) {
                return Poll::Pending;
            }
        }
    }
}

fn add<T>(shared: &Mutex<Members<T>>, mut task: Task<T>) -> TaskId {
    let id = task.id();
    task.unregister(); // a waker of before is dropped here, not under the lock
    let mut members = shared.lock();
    let to_cancel = members.cancelled.then(|| task.task_ref());
    let ended = members.add(task, to_cancel.is_some());
    drop(members);
    if let Some(member) = to_cancel {
        member.cancel();
    }
    if let Some(waker) = ended {
        waker.wake();
    }
    id
}

impl<T> GroupHandle<T> {
    /// As [`TaskGroup::add`]. After the group is gone, `task` is cancelled.
    pub fn add(&self, task: impl IntoTask<Value = T>) -> TaskId {
        let task = task.into_task();
        if let Some(shared) = self.shared.upgrade() {
            return add(&shared, task);
        }
        task.cancel();
        task.id()
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
    /// The members are dropped then, by this thread or by a handle's that is adding one.
    fn drop(&mut self) {
        self.cancel();
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
        // The members that are left end with the group that they are in: it is dropped here.
        let ended = std::mem::take(self.group);
        self.group.joined = true;
        let mut members = ended.shared.lock();
        let collected = std::mem::take(&mut members.collected);
        let left: Vec<TaskId> = members.tasks.iter().map(|(_, m)| m.task.id()).collect();
        drop(members);
        let mut error = results(collected).err().unwrap_or(GroupError::CANCELLED);
        let refused = left.into_iter().map(|id| (id, TaskError::WouldBlock));
        error.errors.extend(refused);
        Err(error)
    }
}

impl<T> Future for GroupJoin<'_, T> {
    type Output = Result<Vec<T>, GroupError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let group = &mut *self.group;
        if group.joined {
            return Poll::Ready(Err(GroupError {
                if_none: "this group was joined before: make a new one",
                errors: Vec::new(),
            }));
        }
        while let Some(member) = ready!(group.poll_ended(cx)) {
            let is_first_failure = group.shared.lock().collect(member);
            if is_first_failure {
                group.cancel();
            }
        }
        group.joined = true;
        let collected = std::mem::take(&mut group.shared.lock().collected);
        Poll::Ready(results(collected))
    }
}

/// What a join gives, of members that have all ended.
fn results<T>(collected: Vec<Member<T>>) -> Result<Vec<T>, GroupError> {
    let mut values = Vec::with_capacity(collected.len());
    let (mut errors, mut left_out) = (Vec::new(), false);
    for member in collected {
        let id = member.task.id();
        match member.task.join() {
            Ok(value) => values.push((member.number, value)),
            Err(TaskError::Cancelled) if member.cancelled_by_group => left_out = true,
            Err(error) => errors.push((id, error)),
        }
    }
    if left_out || !errors.is_empty() {
        return Err(GroupError {
            errors,
            ..GroupError::CANCELLED
        });
    }
    values.sort_unstable_by_key(|(number, _)| *number);
    Ok(values.into_iter().map(|(_, value)| value).collect())
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
        let ended = ready!(self.group.poll_ended(cx));
        Poll::Ready(ended.map(|member| (member.task.id(), member.task.join())))
    }
}

/// What went wrong in a [`TaskGroup`].
#[derive(Clone, Debug)]
pub struct GroupError {
    errors: Vec<(TaskId, TaskError)>,
    /// What there is to say if there are no errors.
    if_none: &'static str,
}

impl GroupError {
    const CANCELLED: Self = Self {
        errors: Vec::new(),
        if_none: "the group was cancelled",
    };

    /// Every failure, in the order in which they happened. Empty if the group was
    /// cancelled and nothing else failed, or was joined before.
    #[must_use]
    pub fn errors(&self) -> &[(TaskId, TaskError)] {
        &self.errors
    }
}

impl fmt::Display for GroupError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.errors[..] {
            [] => f.write_str(self.if_none),
            [(id, error)] => write!(f, "task {id} of the group failed: {error}"),
            [(id, error), ..] => {
                let count = self.errors.len();
                write!(f, "{count} tasks of the group failed, first {id}: {error}")
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
