//! The part of a loop that only its own thread uses: its queue, tasks, timers and reactor.
//!
//! Its own fields are plain cells, without locks or atomics. Any code on the thread may call its
//! methods, including user code that the loop runs, because of L4 (see [`super::reactor`]): a cell
//! is borrowed only for a few lines that run no user code; wakers and tasks are cloned before that,
//! and woken and dropped after it.
//!
//! Tasks that have not ended are in a table ([`super::task_table`]), so that a closing loop can
//! cancel all of them.
//!
//! - **L6** The table has a task from the moment that this thread first sees it until the task is
//!   done. So a future's last reference is dropped on this thread.
//!
//! Timers and descriptors have their own files, below this one.
//!
//! The time comes from [`Local::now`], because the loop's clock may be virtual.
//!
//! Tests: `tests/event_loop/running.rs::tasks_run_in_the_order_in_which_they_became_ready`,
//! `tests/event_loop/wakers.rs::they_may_do_anything_when_they_are_called_or_dropped`.

mod sources;
mod timing;

use std::any::Any;
use std::cell::{Cell, OnceCell, RefCell};
use std::collections::VecDeque;
use std::io;
use std::panic::RefUnwindSafe;
use std::sync::Arc;
use std::task::Waker;

use super::known_root::RootWaker;
use super::operation_budget::{Budget, Share};
use super::reactor::Reactor;
use super::shared::{NOTES, Note, ROOT_WOKEN, SharedLoop};
use super::slow_poll::{Root, TaskInfo, Watched};
use super::stats::LoopStats;
use super::task_table::TaskTable;
use super::virtual_clock::VirtualClock;
use crate::loom::Parker;
use crate::parking::marker::OwnedLoop;
use crate::sys::poller::Poller;
use crate::task::panic::contain;
use crate::task::{Hook, Runnable, TaskRef};
use crate::timer::Timers;

/// The tag of a task that the loop's thread has not seen yet.
const NEW: u32 = 0;

/// A queue with room for more entries is shrunk to this many when nothing is ready: 64 KiB.
pub(super) const CAPACITY: usize = 8192;

/// What a loop keeps for its code, until it ends.
type UntilEnd = Arc<dyn Any + Send + Sync>;

/// The loop, seen from its own thread.
pub(crate) struct Local {
    pub(crate) shared: Arc<SharedLoop>,
    /// Entries that are ready to run. `None` stands for the root future, and is there at most once.
    ready: RefCell<VecDeque<Option<Runnable>>>,
    root_woken: Cell<bool>,
    pub(super) root_waker: RootWaker,
    /// Reused memory for entries taken from the inbox.
    brought: Cell<Vec<Runnable>>,
    pub(super) table: RefCell<TaskTable>,
    /// What it shares with its watchdog, if it has one.
    watched: Option<Arc<Watched>>,
    /// Set once the loop has a virtual clock.
    virtual_clock: OnceCell<VirtualClock>,
    /// Whether the loop has one, or a watchdog: then more is to be noted of each poll.
    is_special: Cell<bool>,
    timers: RefCell<Timers<Waker>>,
    /// Wakers that were taken from a borrowed cell and not woken yet.
    woken: RefCell<Vec<Waker>>,
    pub(super) poller: Arc<Poller>,
    /// Where the loop sleeps while it watches no descriptor.
    pub(super) parker: Parker,
    pub(super) reactor: RefCell<Reactor>,
    pub(crate) budget: Budget,
    /// For operations that belong to no source.
    pub(crate) share: Share,
    /// The number that the next waiting future gets.
    numbers: Cell<u64>,
    /// What lives until the loop ends. Only `io::ctrl_c` has such a thing.
    until_end: Cell<Option<UntilEnd>>,
    _of_thread: OwnedLoop,
}

// A panic of user code leaves no part of a loop half changed.
impl RefUnwindSafe for Local {}

impl Local {
    pub(super) fn new(hook: Option<Hook>, watched: Option<Arc<Watched>>) -> io::Result<Self> {
        let (poller, wait) = Poller::new()?;
        let (poller, parker) = (Arc::new(poller), Parker::new());
        Ok(Self {
            shared: Arc::new(SharedLoop::new(&poller, &parker, hook)),
            ready: RefCell::new(VecDeque::new()),
            root_woken: Cell::new(false),
            root_waker: RootWaker::default(),
            brought: Cell::default(),
            table: RefCell::default(),
            is_special: Cell::new(watched.is_some()),
            watched,
            virtual_clock: OnceCell::new(),
            timers: RefCell::new(Timers::new()),
            woken: RefCell::new(Vec::new()),
            poller,
            parker,
            reactor: RefCell::new(Reactor::new(wait)),
            budget: Budget::default(),
            share: Share::default(),
            numbers: Cell::new(1),
            until_end: Cell::new(None),
            _of_thread: OwnedLoop::new(),
        })
    }

    // Tasks.

    /// Adds an entry to the back of the queue.
    #[inline(always)]
    pub(super) fn enqueue(&self, runnable: Runnable) {
        self.ready.borrow_mut().push_back(Some(runnable));
    }

    /// Adds a new task of this thread. If the loop is closing, drops the task and its future, whose
    /// destructor is user code.
    #[inline]
    pub(super) fn admit(&self, runnable: Runnable) {
        self.shared.set_hook(&runnable);
        if self.shared.is_closing() {
            drop(runnable); // the task ends in `Closed`
        } else {
            self.keep(runnable);
        }
    }

    /// Adds a task that this thread sees for the first time to the table and the queue.
    #[inline(always)]
    fn keep(&self, runnable: Runnable) {
        let task = runnable.task_ref();
        runnable.set_tag(self.table.borrow_mut().insert(task));
        self.enqueue(runnable);
    }

    /// Moves entries from other threads to the queue, and handles their notes.
    pub(super) fn take_in(&self) {
        if self.shared.is_quiet() {
            return;
        }
        let mut brought = self.brought.take();
        self.shared.inbox.drain(&mut brought);
        for runnable in brought.drain(..) {
            match runnable.tag() {
                NEW => self.keep(runnable),
                _ => self.enqueue(runnable),
            }
        }
        brought.shrink_to(CAPACITY);
        self.brought.set(brought);
        let flags = self.shared.take_flags();
        if flags & ROOT_WOKEN != 0 {
            self.wake_root();
        }
        if flags & NOTES != 0 {
            self.follow_notes();
        }
    }

    /// The next entry to run. `Some(None)`: the root future is next.
    #[inline]
    pub(super) fn next_ready(&self) -> Option<Option<Runnable>> {
        let next = self.ready.borrow_mut().pop_front();
        if let Some(None) = next {
            self.root_woken.set(false);
        }
        next
    }

    /// Whether the root future is next.
    #[inline]
    pub(super) fn is_root_next(&self) -> bool {
        self.root_woken.get() && matches!(self.ready.borrow().front(), Some(None))
    }

    #[inline]
    pub(super) fn count_ready(&self) -> usize {
        self.ready.borrow().len()
    }

    /// What this loop has now; without the polls.
    #[inline]
    pub(super) fn stats(&self) -> LoopStats {
        LoopStats {
            tasks: self.table.borrow().len(),
            ready: self.count_ready(),
            timers: self.count_timers(),
            polls: 0,
        }
    }

    /// Frees memory of the queue and the table that a past burst needed. Called now and then
    /// between turns.
    #[inline]
    pub(super) fn shrink(&self) {
        let mut ready = self.ready.borrow_mut();
        if ready.is_empty() && ready.capacity() > CAPACITY {
            ready.shrink_to(CAPACITY);
        }
        drop(ready);
        self.table.borrow_mut().shrink();
    }

    /// Queues the root future, unless it is queued already.
    #[inline]
    pub(super) fn wake_root(&self) {
        if !self.root_woken.replace(true) {
            self.ready.borrow_mut().push_back(None);
        }
    }

    /// Puts a root future that its own poll has woken behind what that poll has made ready.
    #[inline]
    pub(super) fn put_root_last(&self) {
        if self.root_woken.get() {
            let mut ready = self.ready.borrow_mut();
            if ready.back().is_some_and(Option::is_some) {
                ready.retain(Option::is_some);
                ready.push_back(None);
            }
        }
    }

    /// Whether the root future is queued, or something has come from another thread.
    pub(super) fn may_poll_root(&self) -> bool {
        self.root_woken.get() || self.shared.has_flags()
    }

    /// Removes the previous root future's entry from the queue before a new root future begins.
    pub(super) fn forget_root_wake(&self) {
        if self.root_woken.replace(false) {
            self.ready.borrow_mut().retain(Option::is_some);
        }
    }

    /// Whether this loop has the task.
    pub(super) fn has(&self, task: &TaskRef) -> bool {
        self.table.borrow().has(task)
    }

    /// Notes that a poll begins: of the task with this tag, or of the root future, whose tag is 0.
    #[inline]
    pub(super) fn poll_begins(&self, tag: u32, root: Option<Root>) {
        self.budget.next_round();
        if self.is_special.get() {
            self.watched_poll_begins(tag, root);
        }
    }

    #[cold]
    #[inline(never)]
    fn watched_poll_begins(&self, tag: u32, root: Option<Root>) {
        if let Some(watched) = &self.watched {
            let task = self.table.borrow().get(tag).map(TaskInfo::of);
            watched.poll_begins(tag == 0, task.or_else(|| root.map(TaskInfo::of_root)));
        }
    }

    /// Notes that a poll has ended. If the task is `done`, removes its reference from the table and
    /// returns it, for the caller to drop.
    #[inline(always)]
    pub(super) fn poll_ends(&self, tag: u32, done: bool) -> Option<TaskRef> {
        if self.is_special.get() {
            self.special_poll_ends();
        }
        if done {
            self.table.borrow_mut().remove(tag)
        } else {
            None
        }
    }

    #[cold]
    #[inline(never)]
    fn special_poll_ends(&self) {
        if let Some(clock) = self.virtual_clock.get() {
            clock.note_awaited(|task| self.has(task));
        }
        if let Some(watched) = &self.watched {
            watched.poll_ends();
        }
    }

    /// Keeps this until the next call or the loop's end. Returns what was kept before.
    pub(crate) fn keep_until_end(&self, what: Option<UntilEnd>) -> Option<UntilEnd> {
        self.until_end.replace(what)
    }

    // Notes and the end.

    /// Does the work that other threads left when they dropped or reset a timer, or dropped a
    /// source or future.
    fn follow_notes(&self) {
        for note in self.shared.take_notes() {
            // A waker and its destructor are user code: a panic in it must not end the loop.
            contain(|| match note {
                Note::Disarm(key) => drop(self.take_timer(key)),
                Note::Wake(key) => _ = self.take_timer(key).map(Waker::wake),
                Note::Remove(key) => self.remove(key),
                Note::Forget(key, direction, number) => self.forget(key, direction, number),
            });
        }
    }

    /// Wakes all wakers that are left, those of timers first.
    pub(super) fn wake_all_that_wait(&self) {
        {
            let (mut woken, mut timers) = (self.woken.borrow_mut(), self.timers.borrow_mut());
            woken.extend(std::iter::from_fn(|| timers.pop()));
            self.reactor.borrow_mut().take_all(&mut woken);
        }
        self.wake_all();
    }

    /// Wakes the wakers in `woken`. They are user code: one that panics must not end the loop.
    pub(super) fn wake_all(&self) {
        let mut woken = self.woken.take();
        for waker in woken.drain(..) {
            contain(|| waker.wake());
        }
        woken.shrink_to(CAPACITY);
        self.woken.replace(woken);
    }
}
