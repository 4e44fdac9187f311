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
//! Its timers and its descriptors have files of their own, below this one.
//!
//! What time it is comes from [`Home::now`]: the loop's clock may be a virtual one.
//!
//! Checked by `tests/event_loop/`.

mod sources;
mod timing;

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Instant;

use super::live::{Poll as PollNow, Root, Table};
use super::outside::Outside;
use super::raw_descriptor::Descriptor;
use super::raw_link::{Link, Owner};
use super::reactor::Reactor;
use super::shared::{Note, Shared};
use super::snapshot::Snapshot;
use crate::alarm::{Clock, Timers};
use crate::loom::thread::JoinHandle;
use crate::sys::signal::Subscription;
use crate::task::panic::contain;
use crate::task::{Brought, Hook, Queued, Runnable, TaskRef, awaited};

/// The tag of an entry that is not a live task: a closure runs once.
pub(super) const CLOSURE: u32 = u32::MAX;

/// How many operations that need not wait a task may do in one poll, before it
/// has to let the others run.
const BUDGET: u32 = 128;

/// So many tasks ahead of the one that runs, memory is fetched, where there are more than [`MANY`].
const AHEAD: usize = 6;
const MANY: usize = 2048;

/// A queue for more entries than this is given back when nothing is ready: 64 KiB.
const CAPACITY: usize = 8192;

/// The loop, seen from its own thread.
pub(crate) struct Home {
    pub(crate) shared: Owner<Shared>,
    /// The loop, for alarms.
    pub(super) timekeeper: Arc<Link<Shared>>,
    /// The root future was woken on this thread.
    root_woken: Cell<bool>,
    ready: RefCell<VecDeque<Queued>>,
    /// There are more tasks than [`MANY`], or were.
    many: Cell<bool>,
    /// The table, unless it lies on its stand (`live.rs`).
    live: RefCell<Table>,
    /// Where it lies for good.
    watched: bool,
    /// It is watched, or has a clock of its own: there is more to do after each poll.
    special: bool,
    watchdog: RefCell<Option<JoinHandle<()>>>,
    /// On a loop with a virtual clock.
    pub(super) outside: Option<Outside>,
    /// The tag of the poll that goes on, and what it has asked for.
    polled: Cell<u32>,
    waits: Cell<u8>,
    timers: RefCell<Timers<Waker>>,
    /// Empty, for wakers on their way; kept from one `block_on` to the next.
    woken: Cell<Vec<Waker>>,
    pub(super) reactor: RefCell<Reactor>,
    descriptor: Descriptor,
    budget: Cell<u32>,
    /// The number that the next waiting future gets.
    numbers: Cell<u64>,
    /// `io::ctrl_c`'s, from one call to the next.
    ctrl_c: Cell<Option<Arc<Subscription>>>,
}

impl Home {
    pub(super) fn new(hook: Option<Hook>, watched: bool, clock: Option<Clock>) -> io::Result<Self> {
        let (reactor, waker) = Reactor::new()?;
        let outside = clock.is_some().then(Outside::new);
        let shared = Owner::new(Shared::new(waker, hook, clock.map(Arc::new), watched));
        Ok(Self {
            timekeeper: Arc::new(shared.link()),
            shared,
            root_woken: Cell::new(false),
            ready: RefCell::new(VecDeque::new()),
            many: Cell::new(false),
            special: watched || outside.is_some(),
            live: RefCell::new(Table::default()),
            watched,
            watchdog: RefCell::new(None),
            outside,
            polled: Cell::new(0),
            waits: Cell::new(0),
            timers: RefCell::new(Timers::new()),
            woken: Cell::new(Vec::new()),
            descriptor: Descriptor::of(&reactor),
            reactor: RefCell::new(reactor),
            budget: Cell::new(BUDGET),
            numbers: Cell::new(1),
            ctrl_c: Cell::new(None),
        })
    }

    // Tasks.

    /// An entry to the back of the queue.
    #[inline]
    pub(super) fn enqueue(&self, runnable: Runnable) {
        self.ready.borrow_mut().push_back(Queued::woken(runnable));
    }

    /// A task that has run and wants to run again, to the back of the queue.
    #[inline]
    pub(super) fn enqueue_again(&self, queued: Queued) {
        self.ready.borrow_mut().push_back(queued);
    }

    /// A task that this thread sees for the first time: into the table, with the reference that is
    /// for it, and the queue.
    #[inline]
    pub(super) fn keep(&self, runnable: Runnable, task: TaskRef) {
        let tag = self.with_table(|table| table.insert(task));
        if tag as usize > MANY {
            self.many.set(true);
        }
        runnable.set_tag(tag);
        self.enqueue(runnable);
    }

    /// What other threads have brought, into the queue.
    pub(super) fn take_in(&self) {
        if self.shared.mail.is_empty() {
            return;
        }
        self.take_all_in(self.shared.mail.collect());
    }

    fn take_all_in(&self, all: impl Iterator<Item = Brought>) {
        for Brought { runnable, kept } in all {
            match kept {
                Some(kept) => self.keep(runnable, kept),
                None => self.enqueue(runnable),
            }
        }
    }

    #[inline]
    pub(super) fn next_ready(&self) -> Option<Queued> {
        let mut ready = self.ready.borrow_mut();
        let next = ready.pop_front();
        if self.many.get() {
            self.prefetch(&ready);
        }
        next
    }

    /// More tasks than the caches hold: the next ones' cells, and then their places in the table.
    #[inline(never)]
    fn prefetch(&self, ready: &VecDeque<Queued>) {
        if let Some(later) = ready.get(AHEAD) {
            later.prefetch();
        }
        if let Some(soon) = ready.get(AHEAD / 2) {
            self.live.borrow().prefetch(soon.tag());
        }
    }

    #[inline]
    pub(super) fn count_ready(&self) -> usize {
        self.ready.borrow().len()
    }

    /// Now and then, between turns: gives back what a burst has made the queue and the table grow to, if it is over.
    #[inline]
    pub(super) fn shrink(&self) {
        let mut ready = self.ready.borrow_mut();
        if ready.is_empty() && (self.many.get() || ready.capacity() > CAPACITY) {
            ready.shrink_to(CAPACITY);
            drop(ready);
            self.shrink_table();
        }
    }

    #[cold]
    #[inline(never)]
    fn shrink_table(&self) {
        let many = self.with_table(|table| {
            table.shrink(MANY);
            table.len() > MANY
        });
        self.many.set(many);
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
    #[cold]
    #[inline(never)]
    fn answer(&self) {
        self.put_table();
        self.take_table();
    }

    pub(super) fn snapshot(&self) -> Snapshot {
        if self.watched {
            Snapshot::of_stand(&self.shared.stand.lock(), true)
        } else {
            Snapshot::of(&self.live.borrow(), self.polled.get(), false)
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

    /// The root future wants to be polled.
    #[inline]
    pub(super) fn wake_root(&self) {
        self.root_woken.set(true);
    }

    /// It was woken, here or elsewhere.
    #[inline]
    pub(super) fn is_root_woken(&self) -> bool {
        self.root_woken.get() || self.shared.is_root_woken()
    }

    #[inline]
    pub(super) fn take_root_wake(&self) -> bool {
        let here = self.root_woken.replace(false);
        self.shared.take_root_wake() || here
    }

    /// The root future, which has begun or ended.
    pub(super) fn set_root(&self, root: Option<Root>) {
        self.with_table(|table| table.root = root);
    }

    /// Every live task.
    pub(super) fn live_tasks(&self) -> Vec<TaskRef> {
        self.with_table(|table| table.tasks().map(|(entry, _)| entry.task.clone()).collect())
    }

    /// A task is one of this loop's.
    pub(super) fn has(&self, task: &TaskRef) -> bool {
        self.with_table(|table| table.has(task))
    }

    pub(super) fn has_live_tasks(&self) -> bool {
        self.with_table(|table| !table.is_empty())
    }

    /// A poll begins. `task`: whose, where no tag names it.
    #[inline]
    pub(super) fn begin_poll(&self, tag: u32, task: impl FnOnce() -> Option<TaskRef>) {
        self.budget.set(BUDGET);
        self.polled.set(tag);
        self.waits.set(0);
        if self.watched {
            self.begin_watched(tag, task());
        }
    }

    #[cold]
    #[inline(never)]
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
        self.polled.set(0);
        let ours = if self.special {
            self.end_special(tag, done, awaited)
        } else {
            let table = &mut self.live.borrow_mut();
            note(table, tag, done, self.waits.get(), awaited)
        };
        if self.shared.stand.is_asked() {
            self.answer();
        }
        ours
    }

    #[cold]
    #[inline(never)]
    fn end_special(&self, tag: u32, done: bool, awaited: u64) -> Option<TaskRef> {
        if let Some(outside) = &self.outside {
            outside.note_awaited();
        }
        let waits = self.waits.get();
        if !self.watched {
            return note(&mut self.live.borrow_mut(), tag, done, waits, awaited);
        }
        let mut inner = self.shared.stand.lock();
        let poll = inner.now.take();
        if let Some(poll) = &poll {
            inner.table.charge(tag, poll.since.elapsed());
        }
        let ours = note(&mut inner.table, tag, done, waits, awaited);
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

    /// Until the next call, or the loop's end; the one before.
    pub(crate) fn keep_ctrl_c(&self, kept: Option<Arc<Subscription>>) -> Option<Arc<Subscription>> {
        self.ctrl_c.replace(kept)
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
