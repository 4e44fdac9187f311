//! What only the loop's own thread touches of a loop: its queue, its tasks, its
//! timers, its reactor.
//!
//! Everything here is plain cells: no lock, no atomic. The discipline that makes
//! this safe to call from anywhere on the thread is L4 (see
//! [`super::reactor`]): a cell is borrowed for a few lines that run nobody's
//! code; wakers and tasks are cloned before, woken and dropped after.
//!
//! Live tasks are in a table ([`super::live`]), so that a loop that ends can cancel
//! every one, and others can look at them.
//!
//! - **L6** The table has a task from the moment that this thread first sees it
//!   until it is done. So a future's last reference goes on this thread. Whoever runs code of the loop has
//!   taken the table: also for the destructors of the root future.
//!
//! What time it is comes from [`Home::now`]: the loop's clock may be a virtual one.
//!
//! Checked by `tests/event_loop/`.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use super::live::{self, Poll as PollNow, Root, Table};
use super::outside::Outside;
use super::raw_descriptor::Descriptor;
use super::reactor::{Direction, Reactor, SourceKey};
use super::shared::{Note, Shared};
use super::snapshot::Snapshot;
use crate::alarm::{Clock, TimerKey, Timers};
use crate::loom::thread::JoinHandle;
use crate::task::panic::contain;
use crate::task::{Hook, Runnable, TaskRef, awaited};

/// The tag of an entry that is not a live task: a closure runs once.
pub(super) const CLOSURE: u32 = u32::MAX;

/// How many operations that need not wait a task may do in one poll, before it
/// has to let the others run.
const BUDGET: u32 = 128;

/// A queue for more entries than this is given back when the loop sleeps: 64 KiB.
const CAPACITY: usize = 8192;

/// The loop, seen from its own thread.
pub(crate) struct Home {
    pub(crate) shared: Arc<Shared>,
    ready: RefCell<VecDeque<Runnable>>,
    /// The table, unless it lies on its stand ([`live`]).
    live: RefCell<Table>,
    /// Where it lies for good.
    watched: bool,
    watchdog: RefCell<Option<JoinHandle<()>>>,
    /// On a loop with a virtual clock.
    pub(super) outside: Option<Outside>,
    /// What the poll that goes on has asked for.
    waits: Cell<u8>,
    timers: RefCell<Timers<Waker>>,
    /// Empty, for wakers on their way; kept from one `block_on` to the next.
    woken: Cell<Vec<Waker>>,
    pub(super) reactor: RefCell<Reactor>,
    descriptor: Descriptor,
    budget: Cell<u32>,
    /// The number that the next waiting future gets.
    numbers: Cell<u64>,
}

impl Home {
    pub(super) fn new(hook: Option<Hook>, watched: bool, clock: Option<Clock>) -> io::Result<Self> {
        let (reactor, waker) = Reactor::new()?;
        let outside = clock.is_some().then(Outside::new);
        Ok(Self {
            shared: Arc::new(Shared::new(waker, hook, clock.map(Arc::new), watched)),
            ready: RefCell::new(VecDeque::new()),
            live: RefCell::new(Table::default()),
            watched,
            watchdog: RefCell::new(None),
            outside,
            waits: Cell::new(0),
            timers: RefCell::new(Timers::new()),
            woken: Cell::new(Vec::new()),
            descriptor: Descriptor::of(&reactor),
            reactor: RefCell::new(reactor),
            budget: Cell::new(BUDGET),
            numbers: Cell::new(1),
        })
    }

    // Tasks.

    /// An entry to the back of the queue.
    #[inline]
    pub(super) fn enqueue(&self, runnable: Runnable) {
        self.ready.borrow_mut().push_back(runnable);
    }

    /// A task that this thread sees for the first time: into the table and the
    /// queue.
    pub(super) fn adopt(&self, runnable: Runnable) {
        let task = runnable.task_ref();
        let tag = self.with_table(|table| table.insert(task));
        runnable.set_tag(tag);
        self.enqueue(runnable);
    }

    /// What other threads have brought, into the queue.
    pub(super) fn take_in(&self) {
        if self.shared.mail.is_empty() {
            return;
        }
        for runnable in self.shared.mail.collect() {
            if runnable.tag() == 0 {
                self.adopt(runnable);
            } else {
                self.enqueue(runnable);
            }
        }
    }

    pub(super) fn next_ready(&self) -> Option<Runnable> {
        self.ready.borrow_mut().pop_front()
    }

    #[inline]
    pub(super) fn count_ready(&self) -> usize {
        self.ready.borrow().len()
    }

    /// Nothing is ready: gives back what a burst has made the queue grow to.
    #[inline]
    pub(super) fn shrink(&self) {
        let mut ready = self.ready.borrow_mut();
        if ready.capacity() > CAPACITY {
            ready.shrink_to(CAPACITY);
        }
    }

    /// The table, wherever it lies. `f` runs nobody's code (L8).
    #[inline]
    fn with_table<R>(&self, f: impl FnOnce(&mut Table) -> R) -> R {
        if self.watched {
            f(&mut self.shared.stand.lock().table)
        } else {
            f(&mut self.live.borrow_mut())
        }
    }

    /// The loop goes on: its table to itself.
    pub(super) fn take_table(&self) {
        if !self.watched {
            self.shared.stand.take(&mut self.live.borrow_mut());
        }
    }

    /// The loop stops, for a while or for good: its table where others see it.
    pub(super) fn put_table(&self) {
        if !self.watched {
            self.shared.stand.put(&mut self.live.borrow_mut());
        }
    }

    /// Tells those who have asked for a snapshot.
    #[inline]
    pub(super) fn answer(&self) {
        if self.shared.stand.is_asked() {
            self.put_table();
            self.take_table();
        }
    }

    pub(super) fn snapshot(&self) -> Snapshot {
        if self.watched {
            Snapshot::of_stand(&self.shared.stand.lock(), true)
        } else {
            Snapshot::of(&self.live.borrow(), false)
        }
    }

    pub(super) fn set_watchdog(&self, watchdog: JoinHandle<()>) {
        *self.watchdog.borrow_mut() = Some(watchdog);
    }

    /// The loop has ended: so does its watchdog.
    pub(super) fn dismiss_watchdog(&self) {
        let Some(watchdog) = self.watchdog.borrow_mut().take() else {
            return;
        };
        self.shared.stand.lock().ended = true;
        self.shared.stand.begun.notify_one();
        let _ = watchdog.join(); // it does not panic
    }

    /// The root future, which has begun or ended.
    pub(super) fn set_root(&self, root: Option<Root>) {
        self.with_table(|table| table.root = root);
    }

    /// Every live task.
    pub(super) fn live_tasks(&self) -> Vec<TaskRef> {
        self.with_table(|table| table.tasks().map(|(entry, _)| entry.task.clone()).collect())
    }

    pub(super) fn has_live_tasks(&self) -> bool {
        self.with_table(|table| !table.is_empty())
    }

    /// A poll begins. `task`: whose, where no tag names it.
    #[inline]
    pub(super) fn begin_poll(&self, tag: u32, task: impl FnOnce() -> Option<TaskRef>) {
        self.budget.set(BUDGET);
        self.waits.set(0);
        if self.watched {
            self.begin_watched(tag, task());
        }
    }

    fn begin_watched(&self, tag: u32, task: Option<TaskRef>) {
        let poll = PollNow {
            tag,
            task,
            since: Instant::now(),
            reported: false,
        };
        let stand = &self.shared.stand;
        let mut inner = stand.lock();
        inner.now = Some(poll);
        if std::mem::replace(&mut inner.parked, false) {
            stand.begun.notify_one();
        }
    }

    /// It has ended; `done`: so has the task, whose entry comes back, to be dropped.
    #[inline]
    pub(super) fn end_poll(&self, tag: u32, done: bool) -> Option<TaskRef> {
        let awaited = awaited::take_last();
        if let Some(outside) = &self.outside {
            outside.note_awaited();
        }
        let ours = if self.watched {
            self.end_watched(tag, done, awaited)
        } else {
            note(
                &mut self.live.borrow_mut(),
                tag,
                done,
                self.waits.get(),
                awaited,
            )
        };
        self.answer();
        ours
    }

    fn end_watched(&self, tag: u32, done: bool, awaited: u64) -> Option<TaskRef> {
        let mut inner = self.shared.stand.lock();
        let poll = inner.now.take();
        if let Some(poll) = &poll {
            inner.table.charge(tag, poll.since.elapsed());
        }
        let ours = note(&mut inner.table, tag, done, self.waits.get(), awaited);
        drop(inner);
        drop(poll); // L8
        ours
    }

    // Fairness.

    /// Before an operation that may not have to wait: a task that never waits
    /// would otherwise keep the loop to itself.
    #[inline]
    pub(crate) fn poll_budget(&self, cx: &Context<'_>) -> Poll<()> {
        match self.budget.get() {
            0 => {
                cx.waker().wake_by_ref();
                Poll::Pending
            }
            left => {
                self.budget.set(left - 1);
                Poll::Ready(())
            }
        }
    }

    /// After such an operation, if it has to wait: that takes nothing from anybody.
    /// Otherwise a task with many waiting operations would use up its budget on the
    /// first of them, each time, and never come to the rest.
    #[inline]
    pub(crate) fn refund_budget(&self) {
        self.budget.set(self.budget.get() + 1);
    }

    // Time.

    /// What time it is on this loop.
    #[inline]
    pub(crate) fn now(&self) -> Instant {
        self.shared.now()
    }

    fn waits_for(&self, kind: u8) {
        self.waits.set(self.waits.get() | kind);
    }

    pub(crate) fn arm(&self, deadline: Instant, waker: Waker) -> TimerKey {
        self.waits_for(live::TIMER);
        self.timers.borrow_mut().insert(deadline, waker)
    }

    /// The waker in place of the earlier one; false if the timer is gone.
    pub(crate) fn refresh(&self, key: TimerKey, waker: &Waker) -> bool {
        self.waits_for(live::TIMER);
        match self.timers.borrow_mut().get_mut(key) {
            None => return false,
            Some(current) if current.will_wake(waker) => return true,
            Some(_) => {}
        }
        let mut fresh = waker.clone();
        let armed = match self.timers.borrow_mut().get_mut(key) {
            Some(current) => {
                std::mem::swap(current, &mut fresh);
                true
            }
            None => false,
        };
        drop(fresh); // L4: whichever it is now
        armed
    }

    pub(crate) fn disarm(&self, key: TimerKey) {
        let waker = self.timers.borrow_mut().remove(key);
        drop(waker);
    }

    /// The next deadline, if there is one.
    pub(super) fn next_timer(&self) -> Option<Instant> {
        self.timers.borrow_mut().next()
    }

    /// An empty list; give it back.
    pub(super) fn lend_list(&self) -> Vec<Waker> {
        self.woken.take()
    }

    pub(super) fn give_back_list(&self, mut list: Vec<Waker>) {
        debug_assert!(list.is_empty());
        if list.capacity() > CAPACITY {
            list.shrink_to(CAPACITY);
        }
        self.woken.set(list);
    }

    /// How long until then.
    pub(super) fn until_next_timer(&self) -> Option<Duration> {
        let next = self.next_timer()?;
        Some(next.saturating_duration_since(self.now()))
    }

    /// Moves the wakers of all timers that are due to `woken`.
    pub(super) fn take_due(&self, woken: &mut Vec<Waker>) {
        let mut timers = self.timers.borrow_mut();
        if !timers.is_empty() {
            woken.extend(timers.due(self.now()));
        }
    }

    /// As `take_due`; and if none is, how long until one will be.
    pub(super) fn take_due_or_wait(&self, woken: &mut Vec<Waker>) -> Option<Duration> {
        let mut timers = self.timers.borrow_mut();
        if timers.is_empty() {
            return None;
        }
        let now = self.now();
        woken.extend(timers.due(now));
        Some(timers.next()?.saturating_duration_since(now))
    }

    // Sources.

    pub(crate) fn register(&self, fd: BorrowedFd<'_>) -> io::Result<SourceKey> {
        let registered = self.reactor.borrow_mut().register(fd);
        match registered {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                // A source that was dropped elsewhere is gone only once its note is read.
                self.follow_notes();
                self.reactor.borrow_mut().take_over(fd)
            }
            registered => registered,
        }
    }

    /// As [`register`](Self::register), for a descriptor that is not ours to close: who
    /// drops its source says so to [`Shared::unwatch`] first.
    pub(crate) fn register_lent(&self, fd: BorrowedFd<'_>) -> io::Result<SourceKey> {
        if !self.shared.can_unwatch() {
            let unwatch = self.reactor.borrow().unwatch()?;
            self.shared.set_unwatch(unwatch);
        }
        self.register(fd)
    }

    /// `Ready` once an operation may be tried; until then the task is entered
    /// under `number`.
    pub(crate) fn poll_ready(
        &self,
        key: SourceKey,
        direction: Direction,
        number: u64,
        cx: &Context<'_>,
    ) -> Poll<()> {
        {
            let mut reactor = self.reactor.borrow_mut();
            if reactor.is_ready(key, direction) {
                return Poll::Ready(());
            }
            self.waits_for(match direction {
                Direction::Read => live::READ,
                Direction::Write => live::WRITE,
            });
            if reactor.is_waiting(key, direction, number, cx.waker()) {
                return Poll::Pending;
            }
        }
        if let Some(outside) = &self.outside {
            outside.stir();
        }
        let waker = cx.waker().clone();
        let old = self
            .reactor
            .borrow_mut()
            .set_waiter(key, direction, number, waker);
        drop(old);
        Poll::Pending
    }

    pub(crate) fn clear(&self, key: SourceKey, direction: Direction) {
        self.reactor.borrow_mut().clear(key, direction);
    }

    pub(crate) fn clear_short(&self, key: SourceKey, direction: Direction) {
        self.reactor.borrow_mut().clear_short(key, direction);
    }

    pub(crate) fn forget(&self, key: SourceKey, direction: Direction, number: u64) {
        let waker = self.reactor.borrow_mut().forget(key, direction, number);
        drop(waker);
    }

    pub(crate) fn remove(&self, key: SourceKey) {
        let mut woken = Vec::new();
        self.reactor.borrow_mut().remove(key, &mut woken);
        // Nobody can use a dropped source; whoever still has a future of it may look again.
        for waker in woken {
            contain(|| waker.wake());
        }
    }

    /// A number for one future's entry among the waiters; never 0.
    pub(crate) fn next_number(&self) -> u64 {
        let number = self.numbers.get();
        self.numbers.set(number + 1);
        number
    }

    /// What becomes readable when an event is there.
    pub(super) fn descriptor(&self) -> BorrowedFd<'_> {
        self.descriptor.as_fd()
    }

    /// Waits in the kernel; wakers of what happened go to `woken`.
    pub(super) fn turn_reactor(
        &self,
        timeout: Option<Duration>,
        woken: &mut Vec<Waker>,
    ) -> io::Result<()> {
        self.reactor.borrow_mut().turn(timeout, woken)
    }

    /// Somebody waits for a descriptor.
    pub(super) fn waits_for_descriptors(&self) -> bool {
        self.reactor.borrow().has_waiters()
    }

    /// A task is one of this loop's.
    pub(super) fn has(&self, task: &TaskRef) -> bool {
        self.with_table(|table| table.has(task))
    }

    // Notes and the end.

    /// Does what dropping elsewhere could not do.
    pub(super) fn follow_notes(&self) {
        for note in self.shared.take_notes() {
            // A waker's destructor is a stranger's code: a panic in it must not end the loop.
            contain(|| match note {
                Note::Disarm(key) => self.disarm(key),
                Note::Remove(key) => self.remove(key),
                Note::Forget(key, direction, number) => self.forget(key, direction, number),
            });
        }
    }

    /// Every waker that is left, timers' first.
    pub(super) fn take_all_wakers(&self) -> Vec<Waker> {
        let mut woken = Vec::new();
        {
            let mut timers = self.timers.borrow_mut();
            woken.extend(std::iter::from_fn(|| timers.pop()));
        }
        self.reactor.borrow_mut().take_all(&mut woken);
        woken
    }
}

/// A poll has ended: what is noted of it, and the entry of a task that is done.
#[inline]
fn note(table: &mut Table, tag: u32, done: bool, waits: u8, awaited: u64) -> Option<TaskRef> {
    if done {
        return table.remove(tag);
    }
    if tag == 0 {
        table.note_root(waits, awaited);
    } else {
        table.note(tag, waits, awaited);
    }
    None
}
