//! What only the loop's own thread touches of a loop: its queue, its tasks, its
//! timers, its reactor.
//!
//! Everything here is plain cells: no lock, no atomic. The discipline that makes
//! this safe to call from anywhere on the thread is L4 (see
//! [`super::reactor`]): a cell is borrowed for a few lines that run nobody's
//! code; wakers and tasks are cloned before, woken and dropped after.
//!
//! Live tasks are kept in a slab, each under the key that its entries carry as
//! their tag, so that a loop that ends can cancel every one.
//!
//! - **L6** The slab has a task from the moment that this thread first sees it
//!   until it is done. So a future's last reference goes on this thread.
//!
//! Checked by `tests/event_loop/`.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::io;
use std::os::fd::BorrowedFd;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use slab::Slab;

use super::reactor::{Direction, Reactor, SourceKey};
use super::shared::{Note, Shared};
use crate::alarm::{TimerKey, Timers};
use crate::task::panic::contain;
use crate::task::{Hook, Runnable, TaskRef};

/// The tag of an entry that is not a live task: a closure runs once.
pub(super) const CLOSURE: u32 = u32::MAX;

/// How many operations that need not wait a task may do in one poll, before it
/// has to let the others run.
const BUDGET: u32 = 128;

/// The loop, seen from its own thread.
pub(crate) struct Home {
    pub(crate) shared: Arc<Shared>,
    ready: RefCell<VecDeque<Runnable>>,
    live: RefCell<Slab<TaskRef>>,
    timers: RefCell<Timers<Waker>>,
    reactor: RefCell<Reactor>,
    budget: Cell<u32>,
    /// The number that the next waiting future gets.
    numbers: Cell<u64>,
}

impl Home {
    pub(super) fn new(hook: Option<Hook>) -> io::Result<Self> {
        let (reactor, descriptor) = Reactor::new()?;
        Ok(Self {
            shared: Arc::new(Shared::new(descriptor, hook)),
            ready: RefCell::new(VecDeque::new()),
            live: RefCell::new(Slab::new()),
            timers: RefCell::new(Timers::new()),
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

    /// A task that this thread sees for the first time: into the slab and the
    /// queue. Its tag is the key plus one, because new entries have 0.
    pub(super) fn adopt(&self, runnable: Runnable) {
        let task = runnable.task_ref();
        let key = self.live.borrow_mut().insert(task);
        runnable.set_tag(key as u32 + 1);
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

    pub(super) fn count_ready(&self) -> usize {
        self.ready.borrow().len()
    }

    /// A task is done: its slab entry, to be dropped.
    pub(super) fn retire(&self, tag: u32) -> Option<TaskRef> {
        self.live
            .borrow_mut()
            .try_remove(tag.wrapping_sub(1) as usize)
    }

    /// Every live task.
    pub(super) fn live_tasks(&self) -> Vec<TaskRef> {
        self.live
            .borrow()
            .iter()
            .map(|(_, task)| task.clone())
            .collect()
    }

    pub(super) fn has_live_tasks(&self) -> bool {
        !self.live.borrow().is_empty()
    }

    // Fairness.

    /// Before each poll of a task.
    #[inline]
    pub(super) fn refill_budget(&self) {
        self.budget.set(BUDGET);
    }

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

    // Timers.

    pub(crate) fn arm(&self, deadline: Instant, waker: Waker) -> TimerKey {
        self.timers.borrow_mut().insert(deadline, waker)
    }

    /// The waker in place of the earlier one; false if the timer is gone.
    pub(crate) fn refresh(&self, key: TimerKey, waker: &Waker) -> bool {
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

    /// How long until the next deadline; `None`: there is none.
    pub(super) fn until_next_timer(&self) -> Option<Duration> {
        let next = self.timers.borrow().next()?;
        Some(next.saturating_duration_since(Instant::now()))
    }

    /// Moves the wakers of all timers that are due to `woken`.
    pub(super) fn take_due(&self, woken: &mut Vec<Waker>) {
        let mut timers = self.timers.borrow_mut();
        if !timers.is_empty() {
            let now = Instant::now();
            woken.extend(std::iter::from_fn(|| timers.pop_due(now)));
        }
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
            if reactor.is_waiting(key, direction, number, cx.waker()) {
                return Poll::Pending;
            }
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

    /// Waits in the kernel; wakers of what happened go to `woken`.
    pub(super) fn turn_reactor(
        &self,
        timeout: Option<Duration>,
        woken: &mut Vec<Waker>,
    ) -> io::Result<()> {
        self.reactor.borrow_mut().turn(timeout, woken)
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
