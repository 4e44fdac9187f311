//! The sleep protocol and the latch for the models: a pool without deques.
//!
//! Loom models are in `tests/trefoil-checks/`, outside this crate. They drive the real `sleep` and
//! `latch`; around these is a minimal pool: a count of queued items, and workers that follow the
//! steps of `worker/`. It exists under `--cfg loom` only.
#![allow(missing_docs, missing_debug_implementations)]

use std::sync::Arc;

use super::engine::lent::{countdown, latch};
use super::engine::mailbox::ShareMailbox;
pub use super::engine::raw_outside_queue::Fault;
use super::engine::raw_outside_queue::{ONE, Outlet, OutsideQueue, fault};
use super::engine::sleep::{
    Afterwards, Need, ProcessWaiters, Recruited, SleepState, Sleeper, WakeReason,
};
use super::engine::standing::Standing;
use super::engine::wake::WakeHandle;
use crate::loom::atomic::{AtomicUsize, Ordering};
use crate::loom::{Mutex, Parker, Unparker};
use crate::thread::engine::lent::raw_pair_arc::PairArc;

/// A step that a broken twin of a model leaves out.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Broken {
    No,
    /// Step 4: the look after going to sleep.
    NoSecondLook,
    /// Step 1: the fence between push and load.
    NoFence,
    /// Step 6: the look after the width has changed.
    NoLookAfterResize,
    /// Step 7: a sleeper's look into its own mailbox.
    NoLookIntoMailbox,
    /// Step 10: the second such look, of one for whom another stands in.
    NoSecondLookIntoMailbox,
    /// `broadcast.rs`, step 4: the look of a worker that begins a wait.
    NoLookWhenAway,
    /// Urgent work is not counted as urgent.
    NotUrgent,
    /// The look of a surplus runner that goes to sleep.
    NoLookOfSurplus,
    /// Step 8: the look of a thread that begins to wait.
    NoLookOfWaiter,
    /// Step 4: what a sleeper does that has seen work, but enough run without it.
    NoPublishOfSleeper,
    /// The look of a publisher that finds, on its second, that the counts have changed.
    NoThirdLook,
    /// Step 9: the last searcher looks into the queues before it says that it has left them.
    LooksBeforeLeaving,
    /// The look of the stall monitor that has counted a runner as blocked.
    NoLookOfMonitor,
    /// The pool may end while the stall monitor moves a mailbox to the queue.
    NoDelayOfMonitor,
}

struct Slot {
    sleeper: Arc<Sleeper>,
    mailbox: ShareMailbox<()>,
    standing: Standing,
}

fn handle(parker: &Parker) -> WakeHandle {
    WakeHandle::new(parker.unparker().clone(), 0, 0)
}

pub struct Pool {
    sleep: SleepState,
    waiters: Arc<ProcessWaiters>,
    /// Opened by the stall monitor, where a model has one.
    watched: Mutex<Option<Arc<Gate>>>,
    /// Like a deque's indices: stores and loads that synchronise nothing else.
    queued: AtomicUsize,
    /// The slots of the workers.
    slots: Mutex<Vec<Arc<Slot>>>,
    /// The one thread that can be started.
    unborn: Mutex<Option<Arc<Slot>>>,
    broken: Broken,
}

/// One worker.
pub struct Worker {
    pool: Arc<Pool>,
    slot: Arc<Slot>,
    parker: Parker,
    born: bool,
}

impl Pool {
    pub fn new(width: usize, broken: Broken) -> Arc<Self> {
        let waiters = Arc::new(ProcessWaiters::new());
        Arc::new(Self {
            sleep: SleepState::new(width, Arc::clone(&waiters)),
            waiters,
            watched: Mutex::new(None),
            queued: AtomicUsize::new(0),
            slots: Mutex::new(Vec::new()),
            unborn: Mutex::new(None),
            broken,
        })
    }

    /// A worker that starts with the pool, in the next place; or (once) one that may be started.
    pub fn worker(self: &Arc<Self>, spare: bool) -> Worker {
        let mut slots = self.slots.lock();
        let parker = Parker::new();
        let slot = Arc::new(Slot {
            sleeper: Sleeper::new(slots.len(), handle(&parker)),
            mailbox: ShareMailbox::new(),
            standing: Standing::new(),
        });
        slot.mailbox.open();
        slots.push(Arc::clone(&slot));
        drop(slots);
        if spare {
            *self.unborn.lock() = Some(Arc::clone(&slot));
        }
        Worker {
            pool: Arc::clone(self),
            slot,
            parker,
            born: !spare,
        }
    }

    /// From now on the pool has a stall monitor when it needs one: it opens the gate.
    pub fn has_monitor(&self, gate: &Arc<Gate>) {
        *self.watched.lock() = Some(Arc::clone(gate));
    }

    /// A thread begins to wait that is none of the pool's, and goes on waiting.
    pub fn outsider_waits(&self) {
        let looks = match self.broken {
            Broken::NoLookOfWaiter => self.waiters.begin_blindly(),
            _ => self.waiters.begin(),
        };
        if looks {
            self.recheck();
        }
    }

    /// One that waited goes on.
    pub fn outsider_goes_on(&self) {
        self.waiters.end();
    }

    /// Queues one item.
    pub fn push(&self) {
        self.queued.fetch_add(1, Ordering::Release);
        self.published();
    }

    /// Queues the only item there is: a plain store, as a deque's is.
    pub fn push_only(&self) {
        self.queued.store(1, Ordering::Release);
        self.published();
    }

    /// Makes the pool full: so many workers wait that nothing new is begun.
    pub fn is_full(&self) {
        (0..40).for_each(|_| self.sleep.delay_end());
    }

    /// Queues the only item there is, as urgent: a thread waits for it that may not run it.
    pub fn push_urgent(&self) {
        if self.broken != Broken::NotUrgent {
            self.sleep.urgent().store(1, Ordering::Relaxed);
        }
        self.push_only();
    }

    fn published(&self) {
        let mut need = match self.broken {
            Broken::NoFence => self.sleep.need_after_offer(),
            _ => self.sleep.need_after_push(),
        };
        // As `Registry::wake_or_start`.
        while let Some(now) = need {
            let recruited = self.satisfy(now);
            if recruited != Recruited::Changed || self.broken == Broken::NoThirdLook {
                return;
            }
            need = self.sleep.need_after_push();
        }
    }

    /// Wakes or starts what is needed.
    fn satisfy(&self, need: Need) -> Recruited {
        match need {
            // Few models have a stall monitor: in a model time does not pass, and the stall rule
            // would hide what the others look for.
            Need::Monitor => {
                let Some(gate) = self.watched.lock().clone() else {
                    return Recruited::Done;
                };
                let recruited = self.sleep.begin_monitor();
                if recruited == Recruited::Missing {
                    gate.open();
                }
                recruited
            }
            Need::Runner => {
                let recruited = self.sleep.recruit(Afterwards::Computes);
                if recruited == Recruited::Missing {
                    match self.unborn.lock().take() {
                        Some(slot) => slot.sleeper.wake(WakeReason::Work),
                        None => self.sleep.not_started(),
                    }
                }
                recruited
            }
        }
    }

    fn has_work(&self) -> bool {
        self.queued.load(Ordering::Relaxed) > 0
    }

    fn has_mail(&self) -> bool {
        self.slots
            .lock()
            .iter()
            .any(|slot| !slot.mailbox.is_empty())
    }

    /// Like `Registry::resize`, when all threads exist already.
    pub fn resize(&self, width: usize) {
        self.sleep.resize(width);
        if self.broken != Broken::NoLookAfterResize {
            self.recheck();
        }
    }

    /// Puts a share into the mailbox of this worker, like `Registry::deliver`.
    pub fn deliver(&self, index: usize) {
        let slot = Arc::clone(&self.slots.lock()[index]);
        if slot.mailbox.put(()).is_err() {
            self.queued.fetch_add(1, Ordering::Release);
        }
        self.sleep.wake_for_mail(&slot.sleeper);
        self.recheck();
    }

    /// The stall monitor takes the worker for stuck.
    pub fn mark(&self, index: usize) {
        let slot = Arc::clone(&self.slots.lock()[index]);
        if self.sleep.block_another(|| slot.standing.mark()) {
            let delays = self.broken != Broken::NoDelayOfMonitor;
            if delays {
                self.sleep.delay_end();
            }
            let shares = slot.mailbox.close(&|| slot.standing.is_marked()).len();
            self.queued.fetch_add(shares, Ordering::Release);
            if delays {
                self.sleep.allow_end();
            }
        }
        if self.broken != Broken::NoLookOfMonitor {
            self.recheck();
        }
    }

    fn recheck(&self) {
        if self.has_work() {
            self.published();
        }
    }

    fn take(&self) -> bool {
        let mut queued = self.queued.load(Ordering::Relaxed);
        while queued > 0 {
            match self.queued.compare_exchange(
                queued,
                queued - 1,
                Ordering::AcqRel,
                Ordering::Relaxed,
            ) {
                Ok(_) => return true,
                Err(now) => queued = now,
            }
        }
        false
    }

    /// A worker parks in `wait`, which nothing notifies.
    pub fn blocked(&self, wait: impl FnOnce()) {
        self.sleep.block();
        self.recheck();
        wait();
        self.sleep.unblock();
    }

    /// Ends the pool; returns when it is quiet.
    pub fn close(&self) {
        self.sleep.closing();
        loop {
            if self
                .sleep
                .wait_quiet(&|| !self.has_work() && !self.has_mail(), &|| ())
            {
                // A worker that was never started need not be started now.
                if let Some(slot) = self.unborn.lock().take() {
                    slot.sleeper.wake(WakeReason::End);
                }
                return;
            }
            self.recheck();
        }
    }
}

impl Worker {
    /// A worker that has just found something parks in `wait`, which nothing notifies; like
    /// `Worker::block` and `unblock`.
    pub fn away(&self, wait: impl FnOnce()) {
        if self.pool.sleep.found() == 0 {
            self.pool.recheck();
        }
        let shares = self.slot.mailbox.close(&|| true).len();
        self.pool.queued.fetch_add(shares, Ordering::Release);
        self.pool.sleep.block();
        if self.pool.broken != Broken::NoLookWhenAway {
            self.pool.recheck();
        }
        wait();
        self.slot.mailbox.open();
        self.pool.sleep.unblock();
    }
}

impl Worker {
    /// Runs items until `done` is true, or until it must end.
    pub fn work(&self, run: impl Fn(), done: impl Fn() -> bool) {
        let sleep = &self.pool.sleep;
        let mut role = if self.born {
            WakeReason::Work
        } else {
            self.sleep()
        };
        let mut searching = role == WakeReason::Work;
        self.wakes(role);
        while role == WakeReason::Work {
            if self.slot.standing.is_marked() {
                self.moves();
            }
            if !searching && sleep.has_surplus() {
                self.leaves();
                if sleep.fall_asleep_if_surplus(&self.slot.sleeper) {
                    if self.pool.broken != Broken::NoLookOfSurplus {
                        self.pool.recheck();
                    }
                    role = self.sleep();
                    searching = true;
                    self.wakes(role);
                    continue;
                }
                self.moves();
            }
            if searching {
                sleep.watch();
            }
            if self.slot.mailbox.take().is_some() || self.pool.take() {
                if searching {
                    searching = false;
                    if sleep.found() == 0 {
                        self.pool.recheck();
                    }
                }
                run();
                if done() {
                    return;
                }
            } else {
                self.leaves();
                role = self.go_to_sleep(searching);
                searching = true;
                self.wakes(role);
            }
        }
    }

    /// As `Worker::moves`.
    fn moves(&self) {
        if self.slot.standing.moves() {
            self.slot.mailbox.open();
            self.pool.sleep.unblock();
        }
    }

    /// As `Worker::leaves`.
    fn leaves(&self) {
        if self.slot.standing.leaves() {
            self.slot.mailbox.open();
            self.pool.sleep.unblock();
        }
    }

    fn wakes(&self, role: WakeReason) {
        if role == WakeReason::Work {
            self.moves();
        }
    }

    fn go_to_sleep(&self, searching: bool) -> WakeReason {
        if !self.pool.sleep.fall_asleep(&self.slot.sleeper, searching) {
            self.pool.recheck();
            return WakeReason::End;
        }
        let late = self.pool.broken == Broken::LooksBeforeLeaving;
        if late {
            self.pool.sleep.watch();
        }
        let seen = self.pool.broken != Broken::NoSecondLook && self.pool.has_work();
        if late {
            self.pool.sleep.unwatch();
        }
        if seen {
            if self.pool.sleep.wake_if_wanted(&self.slot.sleeper) {
                return WakeReason::Work;
            }
            if self.pool.broken != Broken::NoPublishOfSleeper {
                self.pool.published();
            }
        }
        self.sleep()
    }

    fn sleep(&self) -> WakeReason {
        let (sleep, sleeper) = (&self.pool.sleep, &self.slot.sleeper);
        let mut looks = self.pool.broken != Broken::NoLookIntoMailbox;
        loop {
            if let Some(role) = sleep.reason(sleeper) {
                return role;
            }
            if looks && !self.slot.mailbox.is_empty() && sleep.stop_sleeping(sleeper) {
                return WakeReason::Work;
            }
            looks &= self.pool.broken != Broken::NoSecondLookIntoMailbox;
            self.parker.park();
        }
    }
}

/// A latch and the one thread that waits for it.
pub struct Gate {
    latch: latch::Latch,
    unparker: Unparker,
    parker: Parker,
}

impl Default for Gate {
    fn default() -> Self {
        let parker = Parker::new();
        Self {
            latch: latch::Latch::new(),
            unparker: parker.unparker().clone(),
            parker,
        }
    }
}

impl Gate {
    pub fn open(&self) {
        let unparker = self.unparker.clone();
        if self.latch.set() {
            unparker.unpark();
        }
    }

    pub fn pass(&self) {
        if self.latch.is_set() || !self.latch.park() {
            return;
        }
        while !self.latch.is_set() {
            self.parker.park();
        }
    }
}

/// Which step of the latch or of the countdown a model leaves out.
pub fn break_latch() {
    latch::fault::BROKEN_SET.store(true, Ordering::SeqCst);
}

pub fn break_countdown() {
    countdown::fault::RELAXED.store(true, Ordering::SeqCst);
}

/// One of the two owners of a value.
pub struct Owner<T>(PairArc<T>);

pub fn owners<T>(value: T) -> (Owner<T>, Owner<T>) {
    let (one, other) = PairArc::pair(value);
    (Owner(one), Owner(other))
}

impl<T> Owner<T> {
    pub fn is_alone(&self) -> bool {
        self.0.is_alone()
    }
}

impl<T> std::ops::Deref for Owner<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

/// A scope's end: parts that end on other threads, and the one thread that waits for them.
pub struct Scope {
    left: countdown::CountdownLatch,
    latch: latch::Latch,
    waiter: WakeHandle,
    parker: Parker,
}

impl Default for Scope {
    fn default() -> Self {
        let parker = Parker::new();
        let waiter = handle(&parker);
        Self {
            left: countdown::CountdownLatch::new(1),
            latch: latch::Latch::new(),
            waiter,
            parker,
        }
    }
}

impl Scope {
    /// Adds a part, which the caller will pass to another thread.
    pub fn add(&self) {
        self.left.add();
    }

    /// A part has ended.
    pub fn end_part(&self) {
        if self.left.off(1) && self.latch.set() {
            self.waiter.wake();
        }
    }

    /// The body has ended: returns when all parts have.
    pub fn end(&self) {
        if self.left.is(1) || self.left.off(1) || !self.latch.park() {
            return;
        }
        while !self.latch.is_set() {
            self.parker.park();
        }
    }
}

/// The inbox of a pool's injector.
pub struct InboxModel {
    inbox: OutsideQueue<usize>,
    outlet: Mutex<(Outlet, Vec<usize>)>,
    /// How many are out, as read without the lock.
    len: AtomicUsize,
}

impl Default for InboxModel {
    fn default() -> Self {
        let (inbox, outlet) = OutsideQueue::new();
        Self {
            inbox,
            outlet: Mutex::new((outlet, Vec::new())),
            len: AtomicUsize::new(0),
        }
    }
}

impl InboxModel {
    /// False: it is closed.
    pub fn push(&self, entry: usize) -> bool {
        let make_room = || _ = self.drain(0);
        let pushed = self.inbox.push(entry, |bits| bits == 0, make_room);
        pushed.is_ok()
    }

    /// Takes out what is there; whether all below this number is out.
    pub fn drain(&self, until: usize) -> bool {
        let (outlet, out) = &mut *self.outlet.lock();
        let drained = self.inbox.drain(outlet, |entry| out.push(entry));
        self.len.store(out.len(), Ordering::Relaxed);
        drop(drained);
        outlet.is_past(until)
    }

    /// The same with a fault: it shows too early that they are not in the inbox any more.
    pub fn drain_uncounted(&self) {
        let (outlet, out) = &mut *self.outlet.lock();
        drop(self.inbox.drain(outlet, |entry| out.push(entry)));
        self.len.store(out.len(), Ordering::Relaxed);
    }

    /// Whether something is there, in the inbox or out of it.
    pub fn sees(&self) -> bool {
        self.inbox.has_some() || self.len.load(Ordering::Relaxed) > 0
    }

    /// Closes it: a number above those of all pushes that were accepted.
    pub fn close(&self) -> usize {
        let outlet = self.outlet.lock();
        self.inbox.close(1);
        drop(outlet);
        self.inbox.next()
    }

    pub fn has_some(&self) -> bool {
        self.inbox.has_some()
    }

    /// What has been taken out, in order.
    pub fn out(&self) -> Vec<usize> {
        self.outlet.lock().1.clone()
    }
}

/// The number behind so many pushes.
pub fn number(pushes: usize) -> usize {
    pushes * ONE
}

/// From now on the inbox has this fault.
pub fn break_inbox(fault: Fault) {
    fault::INJECTED.store(fault as usize, Ordering::SeqCst);
}
