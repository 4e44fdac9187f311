//! Structured concurrency: tasks that live and fail together.
//!
//! **Job.** A [`TaskGroup`] holds tasks from any executors, and other futures. The first failure
//! that a join meets cancels the others; the group waits for all of them. It reports failures, but
//! not the members that it cancelled itself. Dropping it cancels what is left.
//!
//! **Protocol.** Members are kept in a slab, each registered with the group's ready queue under its
//! key; so a completion costs the same in a large group as in a small one. Handles
//! ([`GroupHandle`]) add under the same lock, from any thread, including members; a task that has
//! ended before it is added goes through the queue, too, so that the owner wakes. Only the group's
//! owner takes results out. The lock is not held while user code runs: tasks are cancelled and
//! dropped, and wakers cloned, woken and dropped, outside it. The results that a join has collected
//! stay in their tasks, with the group, until the join has ended. So a join that is dropped before
//! its end can be resumed, and failures that are left when the group is dropped are reported like
//! those of any dropped task.
//!
//! A future that is not a task gets a task cell whose entries come to the group ([`GroupFutures`]):
//! the thread that waits polls it, without the lock.
//!
//! A member that is added after a join has met a failure, or after the group was cancelled or
//! dropped, is cancelled at once.
//!
//! Tests: `tests/task/group.rs`, `tests/task/group_futures.rs`.

use std::fmt;
use std::pin::Pin;
use std::sync::Weak;
use std::task::{Context, Poll, Waker, ready};
use std::thread::{self, ThreadId};
use std::vec;

use slab::Slab;

use super::combine::{IntoTask, are_stuck};
use super::context::blocking_refused;
use super::error::TaskError;
use super::group_futures::{GroupFutures, NOTICE, ToGroup};
use super::handle::cancel_each;
use super::id::TaskId;
use super::raw::{ReadyQueue, ReadyShared, Task, TaskRef, cell};
use crate::blocking_threads::contain;
use crate::large::{BoxedFuture, BoxedOutput, is_large};
use crate::loom::{Arc, Mutex};
use crate::parking::block_on_tasks;

/// Tasks that live and fail together, and other futures.
///
/// ```
/// use trefoil::{TaskGroup, ThreadPool};
///
/// let pool = ThreadPool::with_threads(2);
/// let mut group = TaskGroup::new();
/// for n in 1..=3u64 {
///     group.add(pool.spawn(move || n * n));
/// }
/// assert_eq!(group.try_join_all().join().unwrap(), [1, 4, 9]);
/// ```
///
/// Dropping it cancels the members that have not ended.
#[must_use = "dropping it cancels its members"]
#[doc(alias("JoinSet", "FuturesUnordered"))]
pub struct TaskGroup<T> {
    shared: Arc<Mutex<Members<T>>>,
    /// The waker of the owner while it waits.
    ready: Arc<ReadyShared>,
    joined: bool,
}

/// Adds members to a [`TaskGroup`] from anywhere; see [`TaskGroup::handle`].
///
/// ```
/// let pool = trefoil::ThreadPool::with_threads(1);
/// let mut group = trefoil::TaskGroup::new();
/// let handle = group.handle();
/// group.add(pool.spawn(move || { // a member adds another one
///     handle.add(trefoil::spawn_blocking(|| 2));
///     1
/// }));
/// assert_eq!(group.try_join_all().join().unwrap(), [1, 2]);
/// ```
pub struct GroupHandle<T> {
    shared: Weak<Mutex<Members<T>>>,
}

struct Members<T> {
    tasks: Slab<Member<T>>,
    ready: ReadyQueue,
    added: usize,
    /// Whether members are cancelled: a join has met a failure, `cancel` was called, or the group
    /// was dropped.
    cancelled: bool,
    /// The members that a join has taken out so far, in the order of completion.
    collected: Vec<Member<T>>,
    /// The entries of members that are not tasks; set once there is such a member.
    polled: Option<Arc<GroupFutures>>,
    /// `None` between two such rounds.
    refusals: Option<RefusalRound>,
}

/// Where the blocking `next` cannot wait, it returns an error for each unfinished member instead,
/// oldest first, and then `None`.
struct RefusalRound {
    /// The numbers and keys of those that are left.
    unnamed: vec::IntoIter<(usize, usize)>,
    /// The thread on which all members were stuck: they stay so.
    stuck_on: Option<ThreadId>,
}

struct Member<T> {
    task: Task<T>,
    /// How many members were added before it.
    number: usize,
    /// Whether the group has cancelled it. If so, its `Cancelled` is not a failure.
    cancelled_by_group: bool,
}

/// An event of the ready queue.
enum GroupEvent<T> {
    Ended(Member<T>),
    /// A future must be polled.
    Woken(Arc<GroupFutures>),
    Nothing,
    /// Nothing has ended, and there are no members.
    NoMembers,
}

impl<T> Members<T> {
    /// Adds a member. If it had already ended, returns the owner's waker, to be woken without the
    /// lock.
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

    /// Marks all members as cancelled by the group; the caller cancels them after it has released
    /// the lock.
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

    /// The member that has ended first, or that there is a future to poll.
    fn next_event(&mut self) -> GroupEvent<T> {
        loop {
            match self.ready.next() {
                None if self.tasks.is_empty() => return GroupEvent::NoMembers,
                None => return GroupEvent::Nothing,
                Some(NOTICE) => {
                    if let Some(polled) = &self.polled {
                        return GroupEvent::Woken(polled.clone());
                    }
                }
                Some(key) => {
                    if let Some(member) = self.tasks.try_remove(key) {
                        return GroupEvent::Ended(member);
                    }
                }
            }
        }
    }

    fn polled(&mut self) -> Arc<GroupFutures> {
        let ready = &self.ready;
        let polled = self
            .polled
            .get_or_insert_with(|| GroupFutures::new(ready.shared()));
        polled.clone()
    }

    /// Keeps a member that has ended for the join. Returns true if this is the first failure.
    fn collect(&mut self, mut member: Member<T>) -> bool {
        let has_failed = match member.task.error() {
            None => false,
            Some(TaskError::Cancelled) => !member.cancelled_by_group,
            Some(_) => true,
        };
        self.collected.push(member);
        has_failed && !self.cancelled
    }

    /// Whether `next` has found all members stuck on this thread, and has not named all yet.
    fn is_naming(&self) -> bool {
        let stuck_on = self.refusals.as_ref().and_then(|round| round.stuck_on);
        stuck_on == Some(thread::current().id())
    }

    /// See `combine::are_stuck`.
    fn are_stuck(&self) -> bool {
        let tasks = self.tasks.iter().map(|(_, member)| &member.task);
        are_stuck(tasks, self.tasks.len())
    }

    /// For the blocking `next` on a thread that cannot wait: the next unfinished member, for which
    /// it returns an error. `None` ends the round, in which each member comes once that was there
    /// at its beginning.
    fn refuse_one(&mut self) -> Option<TaskId> {
        let tasks = &self.tasks;
        let round = self.refusals.get_or_insert_with(|| {
            let numbered = tasks.iter().map(|(key, member)| (member.number, key));
            let mut numbered: Vec<_> = numbered.collect();
            numbered.sort_unstable();
            RefusalRound {
                unnamed: numbered.into_iter(),
                stuck_on: (!blocking_refused()).then(|| thread::current().id()),
            }
        });
        // The key of a member that has been taken out may be another one's by now.
        let next = round.unnamed.find_map(|(number, key)| {
            let member = tasks.get(key)?;
            (member.number == number).then(|| member.task.id())
        });
        if next.is_none() {
            self.refusals = None;
        }
        next
    }
}

impl<T> TaskGroup<T> {
    /// An empty group.
    ///
    /// ```
    /// let mut group = trefoil::TaskGroup::<u32>::new();
    /// assert!(group.try_join_all().join().unwrap().is_empty());
    /// ```
    pub fn new() -> Self {
        let members = Members {
            tasks: Slab::new(),
            ready: ReadyQueue::default(),
            added: 0,
            cancelled: false,
            collected: Vec::new(),
            polled: None,
            refusals: None,
        };
        Self {
            ready: members.ready.shared(),
            shared: Arc::new(Mutex::new(members)),
            joined: false,
        }
    }

    /// Adds a task, in constant time. One that has ended already counts as ending now. If the group
    /// was cancelled, or a join of it has met a failure, the task is cancelled at once.
    ///
    /// ```
    /// use trefoil::{TaskGroup, ThreadPool};
    ///
    /// let pool = ThreadPool::with_threads(2);
    /// let mut group = TaskGroup::new();
    /// group.add(pool.spawn(|| 6 * 7));
    /// group.add(trefoil::Task::ready(43));
    /// assert_eq!(group.try_join_all().join().unwrap(), [42, 43]);
    /// ```
    pub fn add(&self, task: impl IntoTask<T>) -> TaskId {
        add(&self.shared, task.into())
    }

    /// Adds a future that is not a task; its output is the member's value. If the group was
    /// cancelled, or a join of it has met a failure, the future is dropped at once.
    ///
    /// Only waiting for the group, and [`try_next`](Self::try_next), poll it. To let the future run
    /// meanwhile, start it: `group.add(trefoil::spawn(future))`. Cancelling it drops it. A panic in
    /// it is a failure, as for a task.
    ///
    /// ```
    /// let mut group = trefoil::TaskGroup::new();
    /// group.add(trefoil::Task::ready(42));
    /// group.add_future(async { 43 });
    /// assert_eq!(group.try_join_all().join().unwrap(), [42, 43]);
    /// ```
    ///
    /// Cost: the future is put into an allocation of its own.
    #[track_caller]
    pub fn add_future<F>(&self, future: F) -> TaskId
    where
        F: IntoFuture<Output = T, IntoFuture: Send + 'static>,
        T: Send + 'static,
    {
        add_value_future(&self.shared, future.into_future())
    }

    /// Adds a future that may fail: its error is the
    /// member's failure.
    ///
    /// ```
    /// let mut group = trefoil::TaskGroup::new();
    /// group.add_try_future(async { Ok(trefoil::Task::ready(4).await? * 11) });
    /// assert_eq!(group.try_join_all().join().unwrap(), [44]);
    /// ```
    #[track_caller]
    pub fn add_try_future<F>(&self, future: F) -> TaskId
    where
        F: IntoFuture<Output = Result<T, TaskError>, IntoFuture: Send + 'static>,
        T: Send + 'static,
    {
        add_future(&self.shared, future.into_future())
    }

    /// A handle that adds members from elsewhere, also from inside a member.
    ///
    /// ```
    /// let mut group = trefoil::TaskGroup::new();
    /// let handle = group.handle();
    /// std::thread::spawn(move || handle.add(trefoil::Task::ready(1))).join().unwrap();
    /// assert_eq!(group.try_join_all().join().unwrap(), [1]);
    /// ```
    #[must_use]
    pub fn handle(&self) -> GroupHandle<T> {
        GroupHandle {
            shared: Arc::downgrade(&self.shared),
        }
    }

    /// How many members no [`next`](TaskGroup::next), [`try_next`](TaskGroup::try_next) or
    /// [`try_join_all`](TaskGroup::try_join_all), a dropped one included, has taken out.
    ///
    /// ```
    /// let mut group = trefoil::TaskGroup::new();
    /// group.add(trefoil::Task::ready(1));
    /// group.add(trefoil::Task::ready(2));
    /// assert_eq!(group.len(), 2);
    /// assert!(group.try_next().is_some());
    /// assert_eq!(group.len(), 1);
    /// ```
    #[must_use]
    pub fn len(&self) -> usize {
        self.shared.lock().tasks.len()
    }

    /// Whether [`len`](Self::len) is 0.
    ///
    /// ```
    /// let group = trefoil::TaskGroup::new();
    /// assert!(group.is_empty());
    /// group.add(trefoil::Task::ready(1));
    /// assert!(!group.is_empty());
    /// ```
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Cancels all members, and those that are added later.
    ///
    /// ```
    /// let mut group = trefoil::TaskGroup::new();
    /// let (completer, task) = trefoil::Completer::<u32>::new();
    /// group.add(task);
    /// group.cancel();
    /// assert!(completer.is_cancelled());
    /// assert!(group.try_join_all().join().unwrap_err().errors().is_empty());
    /// ```
    pub fn cancel(&self) {
        let (members, polled) = {
            let mut shared = self.shared.lock();
            (shared.begin_cancel(), shared.polled.clone())
        };
        cancel_each(members);
        if let Some(polled) = polled {
            polled.clear();
        }
    }

    /// Waits until every member has ended, including those that are added meanwhile; returns their
    /// values in the order of [`add`](TaskGroup::add). The first failure cancels the rest, which
    /// are still awaited. (The code below a member that `map` or `flatten` has returned may run
    /// on, and a cancelled call of a worker process for its grace period.)
    ///
    /// `.await` it, or call [`join`](GroupJoin::join) in blocking code.
    ///
    /// ```
    /// use trefoil::{Task, TaskGroup, ThreadPool};
    ///
    /// let pool = ThreadPool::with_threads(2);
    /// let mut group = TaskGroup::new();
    /// group.add(pool.spawn(|| 20));
    /// group.add(Task::ready(22));
    /// assert_eq!(group.try_join_all().join().unwrap(), [20, 22]);
    ///
    /// let mut group = TaskGroup::new();
    /// group.add(pool.spawn(|| -> u32 { panic!("no luck") }));
    /// let (rest, task) = trefoil::Completer::new();
    /// group.add(task);
    /// let error = group.try_join_all().join().unwrap_err();
    /// assert!(error.to_string().contains("no luck"));
    /// assert!(rest.is_cancelled());
    /// ```
    ///
    /// # Errors
    /// [`GroupError`] with every failure in the order in which they happened, without the
    /// `Cancelled` of members that the group itself cancelled. The list is empty if
    /// [`cancel`](TaskGroup::cancel) ended members and nothing else failed, and for a group that
    /// was joined before.
    ///
    /// # Cancel safety
    /// Dropping it before its end keeps the members in the group, and what it has collected for the
    /// next `try_join_all` alone.
    pub fn try_join_all(&mut self) -> GroupJoin<'_, T> {
        GroupJoin { group: self }
    }

    /// Waits for the next member to end, in the order of completion, and takes it out.
    /// `None`: there are no members.
    ///
    /// `.await` it, or call [`join`](GroupNext::join) in blocking code. A failure does not cancel
    /// the rest: the caller decides about that.
    ///
    /// # Cancel safety
    /// Dropping it loses no result.
    #[expect(
        clippy::should_implement_trait,
        reason = "what it gives is awaited, as a stream's `next` is"
    )]
    ///
    /// ```
    /// let pool = trefoil::ThreadPool::with_threads(2);
    /// let mut group = trefoil::TaskGroup::new();
    /// for n in 1..=3u64 {
    ///     group.add(pool.spawn(move || n * n));
    /// }
    /// let mut sum = 0;
    /// while let Some((_id, result)) = group.next().join() {
    ///     sum += result.unwrap();
    /// }
    /// assert_eq!(sum, 1 + 4 + 9);
    /// ```
    pub fn next(&mut self) -> GroupNext<'_, T> {
        GroupNext { group: self }
    }

    /// Takes out the next member that has ended, in the order of completion; never waits. `None`:
    /// no member has ended. Futures that are not tasks are polled if they were woken.
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
        match self.poll_ended(None) {
            Poll::Ready(Some(member)) => Some((member.task.id(), member.task.join())),
            Poll::Ready(None) | Poll::Pending => None,
        }
    }

    /// Runs a member that no thread has begun on this thread, if it may. Returns true if it did.
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

    /// The next member that has ended. Meanwhile this polls woken futures. Without a context it
    /// never waits.
    fn poll_ended(&self, cx: Option<&mut Context<'_>>) -> Poll<Option<Member<T>>> {
        let mut polls_left = None;
        loop {
            let event = self.shared.lock().next_event();
            match event {
                GroupEvent::Ended(member) => return Poll::Ready(Some(member)),
                GroupEvent::NoMembers => return Poll::Ready(None),
                GroupEvent::Woken(polled) => {
                    polled.poll_one();
                    // Each future is polled at most once, and one more is: futures that wake
                    // themselves must not keep this thread busy.
                    let left = polls_left.get_or_insert_with(|| self.len());
                    match left.checked_sub(1) {
                        Some(fewer) => *left = fewer,
                        None => {
                            if let Some(cx) = cx {
                                cx.waker().wake_by_ref();
                            }
                            return Poll::Pending;
                        }
                    }
                }
                GroupEvent::Nothing => match &cx {
                    Some(cx) if self.ready.register(cx.waker()) => {}
                    _ => return Poll::Pending,
                },
            }
        }
    }
}

fn add<T>(shared: &Mutex<Members<T>>, mut task: Task<T>) -> TaskId {
    let id = task.id();
    task.unregister(); // an earlier waker is dropped here, not under the lock
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

/// Adds a future that cannot fail.
#[track_caller]
fn add_value_future<T, F>(shared: &Mutex<Members<T>>, future: F) -> TaskId
where
    F: Future<Output = T> + Send + 'static,
    T: Send + 'static,
{
    if const { is_large::<F>() } {
        let future: BoxedFuture<T> = Box::pin(future);
        return add_value_future(shared, future);
    }
    if const { is_large::<T>() } {
        return add_member(shared, as_result(BoxedOutput { future }), Task::unboxed);
    }
    add_member(shared, as_result(future), |task| task)
}

#[track_caller]
fn add_future<T, F>(shared: &Mutex<Members<T>>, future: F) -> TaskId
where
    F: Future<Output = Result<T, TaskError>> + Send + 'static,
    T: Send + 'static,
{
    if const { is_large::<F>() } {
        let future: BoxedFuture<Result<T, TaskError>> = Box::pin(future);
        return add_future(shared, future);
    }
    if const { is_large::<T>() } {
        let future = async move { future.await.map(Box::new) };
        return add_member(shared, future, Task::unboxed);
    }
    add_member(shared, future, |task| task)
}

/// Adds a future. `value` makes the group's task of its own: they differ if the value is large.
#[track_caller]
fn add_member<T, U, F>(
    shared: &Mutex<Members<T>>,
    future: F,
    value: impl FnOnce(Task<U>) -> Task<T>,
) -> TaskId
where
    F: Future<Output = Result<U, TaskError>> + Send + 'static,
    U: Send + 'static,
{
    let polled = shared.lock().polled();
    let (entry, task) = cell::member(future, ToGroup(polled.clone()));
    let (id, member) = (task.id(), task.task_ref());
    let mut members = shared.lock();
    let is_cancelled = members.cancelled;
    members.add(value(task), is_cancelled);
    drop(members);
    if is_cancelled {
        member.cancel(); // the future is dropped here
    } else {
        polled.push(entry);
    }
    id
}

/// The future of a member that cannot fail.
async fn as_result<F: Future>(future: F) -> Result<F::Output, TaskError> {
    Ok(future.await)
}

impl<T> GroupHandle<T> {
    /// Adds a task. After the group is dropped, `task` is cancelled.
    pub fn add(&self, task: impl IntoTask<T>) -> TaskId {
        add(&self.members(), task.into())
    }

    /// Adds a future. After the group is dropped, `future` is dropped.
    #[track_caller]
    pub fn add_future<F>(&self, future: F) -> TaskId
    where
        F: IntoFuture<Output = T, IntoFuture: Send + 'static>,
        T: Send + 'static,
    {
        add_value_future(&self.members(), future.into_future())
    }

    /// Adds a future that may fail. After the group is dropped, `future` is dropped.
    #[track_caller]
    pub fn add_try_future<F>(&self, future: F) -> TaskId
    where
        F: IntoFuture<Output = Result<T, TaskError>, IntoFuture: Send + 'static>,
        T: Send + 'static,
    {
        add_future(&self.members(), future.into_future())
    }

    /// The members of the group, or an empty cancelled list if the group is gone.
    fn members(&self) -> Arc<Mutex<Members<T>>> {
        self.shared.upgrade().unwrap_or_else(|| {
            let cancelled = TaskGroup::new();
            cancelled.cancel();
            cancelled.shared.clone()
        })
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
    /// The members are dropped then, by this thread or by one that is just adding a member through
    /// a handle.
    fn drop(&mut self) {
        self.cancel();
        let polled = self.shared.lock().polled.take();
        if let Some(polled) = polled {
            polled.close();
        }
    }
}

/// Waits until all members have ended: from [`TaskGroup::try_join_all`]. Async code awaits it,
/// other code joins it.
///
/// ```
/// let pool = trefoil::ThreadPool::with_threads(2);
/// let mut group = trefoil::TaskGroup::new();
/// for n in [1, 2] {
///     group.add(pool.spawn(move || n * 10));
/// }
/// assert_eq!(group.try_join_all().join()?, [10, 20]);
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// ```
#[must_use = "it waits only when awaited, or by `join()`"]
pub struct GroupJoin<'a, T> {
    group: &'a mut TaskGroup<T>,
}

impl<T> GroupJoin<'_, T> {
    /// Blocks until every member has ended.
    ///
    /// # Errors
    /// Those of [`TaskGroup::try_join_all`]. On an event-loop thread it never blocks: unfinished
    /// members are cancelled, and each is a [`TaskError::WouldBlock`]. Also once all of them can
    /// only run on an event loop of this thread that is not running now.
    pub fn join(mut self) -> Result<Vec<T>, GroupError> {
        let is_stuck = |join: &Self| join.group.shared.lock().are_stuck();
        if let Some(result) =
            block_on_tasks(&mut self, |join, cx| Pin::new(join).poll(cx), is_stuck)
        {
            return result;
        }
        // The remaining members end with the group that they are in, which is dropped here.
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
                ..GroupError::CANCELLED
            }));
        }
        while let Some(member) = ready!(group.poll_ended(Some(cx))) {
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

/// The result of a join, from members that have all ended.
fn results<T>(collected: Vec<Member<T>>) -> Result<Vec<T>, GroupError> {
    let mut values = Vec::with_capacity(collected.len());
    let (mut errors, mut left_out) = (Vec::new(), false);
    let mut name = None;
    for mut member in collected {
        let (id, task) = (member.task.id(), &mut member.task);
        match task.try_join().unwrap_or(Err(TaskError::Closed)) {
            Ok(value) => values.push((member.number, value)),
            Err(TaskError::Cancelled) if member.cancelled_by_group => left_out = true,
            Err(error) => {
                name.get_or_insert_with(|| task.name().map(Box::from));
                errors.push((id, error));
            }
        }
    }
    if left_out || !errors.is_empty() {
        // (A destructor that panics does not take the place of what has failed.)
        values.into_iter().for_each(|value| contain(|| drop(value)));
        return Err(GroupError {
            errors,
            name: name.flatten(),
            ..GroupError::CANCELLED
        });
    }
    values.sort_unstable_by_key(|(number, _)| *number);
    Ok(values.into_iter().map(|(_, value)| value).collect())
}

/// Waits until the next member has ended: from [`TaskGroup::next`]. Async code awaits it, other
/// code joins it.
///
/// ```
/// let pool = trefoil::ThreadPool::with_threads(1);
/// let mut group = trefoil::TaskGroup::new();
/// group.add(pool.spawn(|| 7));
/// let (_id, seven) = group.next().join().expect("there is a member");
/// assert_eq!(seven?, 7);
/// assert!(group.next().join().is_none());
/// # Ok::<_, trefoil::TaskError>(())
/// ```
#[must_use = "it waits only when awaited, or by `join()`"]
pub struct GroupNext<'a, T> {
    group: &'a mut TaskGroup<T>,
}

impl<T> GroupNext<'_, T> {
    /// Blocks until the next member has ended.
    ///
    /// On an event-loop thread it never blocks: ended members are returned first. Then each member
    /// that is unfinished at that moment is reported once, with a [`TaskError::WouldBlock`], and
    /// stays in the group; then it returns `None`. Also once all members can only run on an event
    /// loop of this thread that is not running now.
    pub fn join(mut self) -> Option<(TaskId, Result<T, TaskError>)> {
        let is_stuck = |next: &Self| {
            let members = next.group.shared.lock();
            members.is_naming() || members.are_stuck()
        };
        let poll = |next: &mut Self, cx: &mut Context<'_>| next.group.poll_ended(Some(cx));
        match block_on_tasks(&mut self, poll, is_stuck) {
            Some(Some(member)) => Some((member.task.id(), member.task.join())),
            Some(None) => None,
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
        match ready!(self.group.poll_ended(Some(cx))) {
            Some(member) => Poll::Ready(Some((member.task.id(), member.task.join()))),
            None => Poll::Ready(None),
        }
    }
}

/// What went wrong in a [`TaskGroup`].
///
/// ```
/// use trefoil::{TaskGroup, ThreadPool};
///
/// let pool = ThreadPool::with_threads(1);
/// let mut group = TaskGroup::new();
/// let bad = group.add(pool.spawn(|| -> u32 { panic!("out of cheese") }));
/// let error = group.try_join_all().join().unwrap_err();
/// let (id, first) = &error.errors()[0];
/// assert!(*id == bad && first.to_string().contains("out of cheese"));
/// ```
#[derive(Clone)]
pub struct GroupError {
    errors: Vec<(TaskId, TaskError)>,
    /// The message if there are no errors.
    if_none: &'static str,
    /// The name of the first member that failed.
    name: Option<Box<str>>,
}

impl GroupError {
    const CANCELLED: Self = Self {
        errors: Vec::new(),
        if_none: "the group was cancelled",
        name: None,
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
        let Some((id, error)) = self.errors.first() else {
            return f.write_str(self.if_none);
        };
        let count = self.errors.len();
        if count == 1 {
            f.write_str("task ")?;
        } else {
            write!(f, "{count} tasks of the group failed, first ")?;
        }
        id.fmt(f)?;
        if let Some(name) = &self.name {
            write!(f, " `{name}`")?;
        }
        if count == 1 {
            f.write_str(" of the group failed")?;
        }
        write!(f, ": {error}")
    }
}

/// The text of `Display`, and the errors that it only counts.
impl fmt::Debug for GroupError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "GroupError({self}")?;
        for (id, error) in self.errors.iter().skip(1) {
            write!(f, "; {id}: {error}")?;
        }
        f.write_str(")")
    }
}

impl std::error::Error for GroupError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.errors.first().map(|(_, error)| error as _)
    }
}

debug!(impl<T> TaskGroup<T>, self, members = self.len());

debug!(impl<T> GroupHandle<T>, self);

debug!(impl<T> GroupJoin<'_, T>, self, ended = self.group.shared.lock().collected.len());

debug!(impl<T> GroupNext<'_, T>, self, group = self.group);
