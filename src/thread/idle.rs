//! Who works, who sleeps, who is blocked: the sleep protocol.
//!
//! **Job.** Keeps as many threads at work as the pool is wide, wakes one when
//! there is something for it to do, and loses no wake-up. Every atomic of that
//! protocol is in this file. What the work is, and where it is queued, this file
//! does not know: callers say `publish` after a push, and look into the queues
//! themselves where the protocol tells them to.
//!
//! **State.** One word counts the threads by what they do; each thread is in
//! exactly one of these states, except that a searcher is also a runner:
//!
//! ```text
//!              recruit                     find nothing: sleep
//!   (started) ────────▶ running+searching ────────────────────▶ asleep
//!                          │ ▲                                    │
//!            found / again │ │            recruit                 │
//!                          ▼ │◀───────────────────────────────────┘
//!                        running ──block──▶ blocked ──unblock──▶ running
//!
//!   asleep ──recruit as watcher──▶ watching ──10 ms without progress──▶ running
//! ```
//!
//! `blocked` is a worker parked in a wait of this crate (`join`, the end of a
//! scope, `Task::join`): another thread takes its place, a *spare* if nobody is
//! asleep. When it comes back, there is one runner too many; the next one that
//! looks for work goes to sleep instead (`surplus`). Spares that have slept
//! for a while end.
//!
//! Each thread has a *place*. Those with places below the pool's width are its
//! own, the others are spares: so a pool that grows makes spares its own, and one that
//! shrinks makes spares of its own threads, and *dismisses* them.
//!
//! **Protocol.**
//! 1. Whoever pushes work calls [`publish`](Idle::publish) *after* the push: a
//!    sequentially consistent fence, then one load of the word.
//! 2. If fewer run than the pool is wide and none of them searches, it recruits
//!    one: adds it to the word on its behalf, then wakes it.
//! 3. A searcher that finds work calls [`found`](Idle::found); if it was the
//!    last searcher, it looks whether there is more, and then recruits the next.
//! 4. A searcher that finds nothing lies down ([`lie_down`](Idle::lie_down)):
//!    it takes itself off the word, fence, *then looks into every queue once
//!    more*, and gets up if it sees something.
//! 5. A runner that blocks takes itself off the word, fence, and then looks into
//!    the queues like 4; if it sees something, it recruits like 2. So does one
//!    that has been dismissed, and ends.
//! 6. Who changes the width stores it, fence, and then looks into the queues like 5.
//! 7. Work for one thread alone (a share of a broadcast) is put where that thread looks, and
//!    then the thread is [`summon`](Idle::summon)ed: under the lock, it is taken out of its bed if it is
//!    in it. If it is not, it will lie down later, and after it has lain down it looks there
//!    ([`rise`](Idle::rise)). Either way it gets up even if enough run.
//!
//! **No wake-up is lost.** Claim: after a push, if the work is not taken,
//! somebody is running and will look into the queues after the push.
//! (a) The publisher's load in 1 comes either before or after a given
//! subtraction of 4 or 5 in the one order of sequentially consistent operations.
//! If the subtraction is first, the load sees it. If the load is first, the push
//! is before the fence of 4/5, so the look that follows sees the push.
//! (b) The publisher recruits nobody in two cases. *Somebody searches*: that
//! thread either finds something, and then steps 3's look follows its
//! subtraction, so (a) applies to it; or it lies down, and (a) applies. *As many
//! run as the pool is wide*: each of them comes back to search, or blocks, or
//! lies down; its subtraction is after the load, so (a) applies.
//! (c) [`surplus`](Idle::lie_down_if_surplus) takes a runner off only if more run than
//! the pool is wide; as many as it is wide remain, and (b) applies to them.
//! (d) A thread that gets up in 4 may find that somebody has recruited in the
//! meantime so that as many run as should; then it stays down, and (b) applies.
//! (e) A publisher that has read the old width is before the fence of 6 or has seen the
//! new one, as in (a): 6 looks after the push, or the publisher knows. In a pool that has
//! become narrower, more may run than it is wide: (c).
//!
//! The exception is `publish_hint`, which has no fence: it is for halves that
//! their owner takes back itself if nobody else comes (fork and join). What may be
//! overlooked there is a chance of parallelism, never work.
//!
//! **The stall rule.** A pool as wide as its runners may still stand still: the
//! replacement of a blocked worker may be stuck in the user's own lock, which
//! the blocked worker holds. So while somebody is blocked and work is queued
//! with no free runner, one thread *watches*: it sleeps for [`STALL`] at a time
//! (longer, if there are runners too many already), and if nothing was taken from
//! the queues meanwhile, it becomes one more runner. Only the pool's own workers count as waiting:
//! an outside thread that waits for a busy pool would otherwise widen it. The watcher is also who looks after calls that may block (`blocking.rs`). While nobody is blocked or nothing is queued, nobody watches: there is no ticker.
//!
//! - **P1** `running` counts exactly the threads that have been recruited or
//!   unblocked and have not since lain down, blocked or ended.
//! - **P2** A bed is in `Beds` exactly while its thread is asleep and nobody has
//!   recruited it; beds move, and `closed` and the width change, only under the lock.
//! - **P3** After `closed`, nobody is recruited and whoever lies down is told to
//!   end.
//!
//! **Rejected.** One futex word for all sleepers (a thundering herd); counting
//! pushed jobs in the word (each push an RMW on a shared line); a ticker that
//! notices what was overlooked (costs CPU while idle); waking the oldest sleeper
//! (its cache is coldest).
//!
//! Sources: Go's `proc.go` (the fence on both sides), tokio (the last searcher
//! wakes the next), rayon's sleep module (what may be overlooked),
//! `ForkJoinPool` (spares for blocked workers).
//!
//! Tests: the loom models in `checks/tests/pool.rs`; `tests/thread/pool.rs` (idle pool
//! without wake-ups, stalls, shutdown).

use std::time::Duration;

use crate::loom::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering, fence};
use crate::loom::{Condvar, Mutex};

/// How long queued work may stand still while somebody waits.
pub(super) const STALL: Duration = Duration::from_millis(10);

/// How long a spare sleeps before it ends.
pub(super) const KEEP_SPARE: Duration = Duration::from_secs(5);

const RUNNING: u64 = 1;
const SEARCHING: u64 = 1 << 20;
const BLOCKED: u64 = 1 << 40;
const WATCHED: u64 = 1 << 60;
const CLOSING: u64 = 1 << 61;
const FIELD: u64 = (1 << 20) - 1;

/// A copy of the word, taken apart.
#[derive(Clone, Copy)]
struct Census(u64);

impl Census {
    fn running(self) -> u64 {
        self.0 & FIELD
    }
    fn searching(self) -> u64 {
        (self.0 / SEARCHING) & FIELD
    }
    fn blocked(self) -> u64 {
        (self.0 / BLOCKED) & FIELD
    }
    fn watched(self) -> bool {
        self.0 & WATCHED != 0
    }
    fn closing(self) -> bool {
        self.0 & CLOSING != 0
    }
}

/// What a thread is woken, or started, for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    /// To search and run; it is already counted as a searcher.
    Work,
    /// To watch for a stall; [`Idle::recruit`] has set the word's flag for it.
    Watch,
    /// To end.
    Exit,
}

/// What somebody who published work should do about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub(super) enum Need {
    /// Nothing: it will be found.
    Nobody,
    /// Recruit a worker.
    Worker,
    /// Recruit a watcher.
    Watcher,
}

/// Whom [`Idle::recruit`] found.
#[must_use]
pub(super) enum Recruit<B> {
    /// Nobody is needed any more.
    Nobody,
    /// This sleeper: its order has been set, wake it.
    Wake(B),
    /// Nobody is asleep: start a thread for this. It is counted already; give it
    /// back with [`Idle::stillborn`] if there is none to be had.
    Start(Role),
}

/// What became of a spare that has slept long enough.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Retire {
    /// It is out of bed and must end.
    Ended,
    /// It is no spare any more, because the pool has grown.
    Stays,
    /// Somebody has taken it out of bed and is about to give orders.
    Recruited,
}

/// Where one thread sleeps.
pub(super) trait Bed: Clone {
    fn orders(&self) -> &Orders;
    /// Its thread's place.
    fn index(&self) -> usize;
    fn same(&self, other: &Self) -> bool;
}

/// The word through which a sleeper learns why it was woken, and a runner that it
/// is not wanted any more.
#[derive(Debug, Default)]
pub(super) struct Orders(AtomicU32, AtomicBool);

impl Orders {
    /// The thread shall end when it comes to its next turn, unless the pool has grown by then; or
    /// it shall stay.
    pub(super) fn dismiss(&self, leave: bool) {
        self.1.store(leave, Ordering::Relaxed);
    }

    #[inline]
    pub(super) fn is_dismissed(&self) -> bool {
        self.1.load(Ordering::Relaxed)
    }

    pub(super) fn give(&self, role: Role) {
        let code = match role {
            Role::Work => 1,
            Role::Watch => 2,
            Role::Exit => 3,
        };
        // Release: pairs with `take`; what the recruiter wrote is seen. A swap,
        // because loom does not order a plain store against the sleeper's swaps.
        self.0.swap(code, Ordering::AcqRel);
    }

    /// The order, once: `None` is a wake-up meant for something else.
    pub(super) fn take(&self) -> Option<Role> {
        // Acquire: pairs with `give`.
        match self.0.swap(0, Ordering::AcqRel) {
            1 => Some(Role::Work),
            2 => Some(Role::Watch),
            3 => Some(Role::Exit),
            _ => None,
        }
    }
}

struct Beds<B> {
    /// Newest last: the warmest thread is woken first.
    own: Vec<B>,
    spare: Vec<B>,
    closed: bool,
    /// Those with places below it are not spares.
    width: usize,
    /// Workers of this pool that are inside its `shutdown`.
    leaving: u64,
}

impl<B: Bed> Beds<B> {
    fn of(&mut self, bed: &B) -> &mut Vec<B> {
        if bed.index() < self.width {
            &mut self.own
        } else {
            &mut self.spare
        }
    }

    /// It may lie down: neither is the pool closed nor its place gone.
    fn admit(&self, bed: &B) -> bool {
        !(self.closed || bed.orders().is_dismissed() && bed.index() >= self.width)
    }

    fn remove(&mut self, bed: &B) -> bool {
        let beds = self.of(bed);
        match beds.iter().rposition(|other| other.same(bed)) {
            Some(at) => {
                beds.remove(at);
                true
            }
            None => false,
        }
    }
}

/// See the module.
pub(super) struct Idle<B> {
    word: AtomicU64,
    /// A copy of `Beds::width`, read without the lock.
    width: AtomicUsize,
    /// How many calls that may block are in progress; see `blocking.rs`.
    calls: AtomicUsize,
    beds: Mutex<Beds<B>>,
    /// Told when nobody runs any more, while closing.
    quiet: Condvar,
}

impl<B: Bed> Idle<B> {
    /// A pool whose `width` threads are about to start, as searchers.
    pub(super) fn new(width: usize) -> Self {
        Self {
            word: AtomicU64::new(width as u64 * (RUNNING + SEARCHING)),
            width: AtomicUsize::new(width),
            calls: AtomicUsize::new(0),
            beds: Mutex::new(Beds {
                own: Vec::new(),
                spare: Vec::new(),
                closed: false,
                width,
                leaving: 0,
            }),
            quiet: Condvar::new(),
        }
    }

    /// How many should run.
    #[inline]
    pub(super) fn width(&self) -> usize {
        self.width.load(Ordering::Relaxed)
    }

    fn wide(&self) -> u64 {
        self.width() as u64
    }

    fn census(&self, order: Ordering) -> Census {
        Census(self.word.load(order))
    }

    fn need(&self, census: Census) -> Need {
        if census.running() < self.wide() {
            if census.searching() == 0 {
                Need::Worker
            } else {
                Need::Nobody
            }
        } else if !census.watched() && self.may_stall(census) {
            Need::Watcher
        } else {
            Need::Nobody
        }
    }

    /// Those who run may all be stuck.
    fn may_stall(&self, census: Census) -> bool {
        census.blocked() > 0 || self.calls.load(Ordering::Relaxed) > 0
    }

    /// After a push of work that nobody else would run.
    #[inline]
    pub(super) fn publish(&self) -> Need {
        // Between the push and the load: step 1, pairs with `lie_down`, `block`.
        fence(Ordering::SeqCst);
        self.need(self.census(Ordering::Relaxed))
    }

    /// After a push of work that the pusher takes back if nobody comes.
    #[inline]
    pub(super) fn publish_hint(&self) -> Need {
        self.need(self.census(Ordering::Relaxed))
    }

    /// How many threads of the pool have nothing to do: searchers, and those asleep, if there are more
    /// than `stand_ins`, who do the work of sleepers.
    #[inline]
    pub(super) fn idlers(&self, stand_ins: u64) -> u32 {
        let census = self.census(Ordering::Relaxed);
        let busy = census.running() + stand_ins;
        (census.searching() + self.wide().saturating_sub(busy)) as u32
    }

    /// Finds a thread for what [`publish`](Self::publish) asked for.
    #[cold]
    pub(super) fn recruit(&self, need: Need) -> Recruit<B> {
        let (role, add) = match need {
            Need::Nobody => return Recruit::Nobody,
            Need::Worker => (Role::Work, RUNNING + SEARCHING),
            Need::Watcher => (Role::Watch, WATCHED),
        };
        let mut beds = self.beds.lock();
        if beds.closed {
            return Recruit::Nobody;
        }
        let mut census = self.census(Ordering::SeqCst);
        loop {
            if self.need(census) != need {
                return Recruit::Nobody;
            }
            let new = census.0 + add;
            match self
                .word
                .compare_exchange_weak(census.0, new, Ordering::SeqCst, Ordering::SeqCst)
            {
                Ok(_) => break,
                Err(now) => census = Census(now),
            }
        }
        match beds.own.pop().or_else(|| beds.spare.pop()) {
            Some(bed) => {
                bed.orders().give(role);
                Recruit::Wake(bed)
            }
            None => Recruit::Start(role),
        }
    }

    /// The system gave no thread for [`Recruit::Start`].
    pub(super) fn stillborn(&self, role: Role) {
        match role {
            Role::Work => self.subtract(RUNNING + SEARCHING),
            Role::Watch => self.subtract(WATCHED),
            Role::Exit => {}
        }
    }

    fn subtract(&self, what: u64) {
        let census = Census(self.word.fetch_sub(what, Ordering::SeqCst) - what);
        if census.closing() && census.running() == 0 {
            // Under the lock, so that it is not lost between look and wait.
            drop(self.beds.lock());
            self.quiet.notify_all();
        }
    }

    /// A runner begins to search, unless enough do.
    pub(super) fn search(&self) -> bool {
        if self.census(Ordering::Relaxed).searching() * 2 >= self.wide().max(2) {
            return false;
        }
        self.word.fetch_add(SEARCHING, Ordering::SeqCst);
        true
    }

    /// A searcher found work. True: it was the last; look for more, and recruit.
    pub(super) fn found(&self) -> bool {
        let before = Census(self.word.fetch_sub(SEARCHING, Ordering::SeqCst));
        // Between the subtraction and the look: step 3.
        fence(Ordering::SeqCst);
        before.searching() == 1
    }

    /// Somebody is blocked, or may be, and nobody watches.
    pub(super) fn unwatched(&self) -> bool {
        let census = self.census(Ordering::Relaxed);
        !census.watched() && self.may_stall(census)
    }

    /// A runner begins a call that may block. Afterwards it must look into the queues, if nobody
    /// watches, and recruit as for a push if there is something.
    pub(super) fn call_begins(&self) {
        self.calls.fetch_add(1, Ordering::SeqCst);
        // Between the addition and the caller's look, as in step 5.
        fence(Ordering::SeqCst);
    }

    /// For a twin of the model.
    #[cfg(loom)]
    pub(super) fn call_begins_unfenced(&self) {
        self.calls.store(1, Ordering::Relaxed);
    }

    /// How many run, and how many are blocked.
    #[cfg(loom)]
    pub(super) fn counts(&self) -> (u64, u64) {
        let census = self.census(Ordering::SeqCst);
        (census.running(), census.blocked())
    }

    /// The call has ended.
    pub(super) fn call_ends(&self) {
        self.calls.fetch_sub(1, Ordering::Relaxed);
    }

    /// Calls that may block are in progress.
    pub(super) fn has_calls(&self) -> bool {
        self.calls.load(Ordering::Relaxed) > 0
    }

    /// So many are blocked.
    pub(super) fn blocked(&self) -> usize {
        self.census(Ordering::Relaxed).blocked() as usize
    }

    /// Somebody is blocked: the pool may stand still for ever.
    pub(super) fn has_blocked(&self) -> bool {
        self.blocked() > 0
    }

    /// A runner (and searcher, if `searching`) found nothing and goes to sleep.
    /// After `true`, it must look into every queue, and [`get_up`](Self::get_up)
    /// if there is something. `false`: the pool is closed, or its place is gone: it must look, too,
    /// recruit if there is something, and end.
    pub(super) fn lie_down(&self, bed: &B, searching: bool) -> bool {
        let what = if searching {
            RUNNING + SEARCHING
        } else {
            RUNNING
        };
        let mut beds = self.beds.lock();
        let open = beds.admit(bed);
        if open {
            beds.of(bed).push(bed.clone());
        }
        let census = Census(self.word.fetch_sub(what, Ordering::SeqCst) - what);
        if census.closing() && census.running() == 0 {
            self.quiet.notify_all();
        }
        drop(beds);
        // Between the subtraction and the caller's look: step 4.
        fence(Ordering::SeqCst);
        open
    }

    /// The same for a runner (not a searcher) that is one too many; nothing
    /// happens if it is not.
    pub(super) fn lie_down_if_surplus(&self, bed: &B) -> bool {
        if self.census(Ordering::Relaxed).running() <= self.wide() {
            return false;
        }
        let mut beds = self.beds.lock();
        if !beds.admit(bed) {
            return false;
        }
        let mut census = self.census(Ordering::SeqCst);
        loop {
            if census.running() <= self.wide() {
                return false;
            }
            let new = census.0 - RUNNING;
            match self
                .word
                .compare_exchange_weak(census.0, new, Ordering::SeqCst, Ordering::SeqCst)
            {
                Ok(_) => break,
                Err(now) => census = Census(now),
            }
        }
        beds.of(bed).push(bed.clone());
        true
    }

    /// A sleeper saw work. True: it is a searcher again. False: somebody has
    /// recruited it, or enough run; it must wait for its orders.
    pub(super) fn get_up(&self, bed: &B) -> bool {
        let mut beds = self.beds.lock();
        let mut census = self.census(Ordering::SeqCst);
        loop {
            if census.running() >= self.wide() {
                return false;
            }
            if !beds.remove(bed) {
                return false;
            }
            let new = census.0 + RUNNING + SEARCHING;
            match self
                .word
                .compare_exchange(census.0, new, Ordering::SeqCst, Ordering::SeqCst)
            {
                Ok(_) => return true,
                Err(now) => {
                    census = Census(now);
                    beds.of(bed).push(bed.clone());
                }
            }
        }
    }

    /// It has a place beyond those of the pool's own threads.
    pub(super) fn is_spare(&self, bed: &B) -> bool {
        bed.index() >= self.width()
    }

    /// A spare has slept long enough.
    pub(super) fn retire(&self, bed: &B) -> Retire {
        let mut beds = self.beds.lock();
        if bed.index() < beds.width {
            Retire::Stays
        } else if beds.remove(bed) {
            Retire::Ended
        } else {
            Retire::Recruited
        }
    }

    /// A runner (not a searcher) that has been dismissed comes to its next turn. True: it is off the word,
    /// and must look into the queues, recruit if there is something, and end. False: its place
    /// is there again.
    #[cold]
    pub(super) fn quit(&self, bed: &B) -> bool {
        let beds = self.beds.lock();
        if bed.index() < beds.width || !bed.orders().is_dismissed() {
            return false;
        }
        drop(beds);
        self.subtract(RUNNING);
        // Between the subtraction and the caller's look: step 5.
        fence(Ordering::SeqCst);
        true
    }

    /// Changes the width. `None`: the pool is closed. Otherwise those who were
    /// asleep in places that are gone, whose orders are to end; the caller wakes them, and must
    /// look into the queues (step 6).
    pub(super) fn resize(&self, width: usize) -> Option<Vec<B>> {
        let mut beds = self.beds.lock();
        if beds.closed {
            return None;
        }
        beds.width = width;
        self.width.store(width, Ordering::Relaxed);
        let mut all = std::mem::take(&mut beds.spare);
        all.append(&mut beds.own);
        let (own, surplus): (Vec<B>, Vec<B>) = all.into_iter().partition(|bed| bed.index() < width);
        beds.own = own;
        for bed in &surplus {
            bed.orders().give(Role::Exit);
        }
        drop(beds);
        // Between the store and the caller's look: step 6.
        fence(Ordering::SeqCst);
        Some(surplus)
    }

    /// A thread is about to start in one of the pool's own places. True: it is counted as a
    /// searcher; give it back with [`stillborn`](Self::stillborn) if there is none to be had.
    pub(super) fn hire(&self, index: usize) -> bool {
        let beds = self.beds.lock();
        let wanted = !beds.closed && index < beds.width;
        if wanted {
            self.word.fetch_add(RUNNING + SEARCHING, Ordering::SeqCst);
        }
        wanted
    }

    /// A fence between what the caller has written and the look that follows.
    pub(super) fn settle(&self) {
        fence(Ordering::SeqCst);
    }

    /// There is work for this thread alone (step 7). True: wake it; it sleeps, or it may.
    pub(super) fn summon(&self, bed: &B) -> bool {
        let mut beds = self.beds.lock();
        let asleep = beds.remove(bed);
        if asleep {
            self.word.fetch_add(RUNNING + SEARCHING, Ordering::SeqCst);
            bed.orders().give(Role::Work);
            return true;
        }
        drop(beds);
        // One that watches sleeps, too, and is in no bed.
        self.census(Ordering::SeqCst).watched()
    }

    /// A sleeper sees work that is for it alone. True: it is a searcher again. False: somebody has
    /// recruited it.
    pub(super) fn rise(&self, bed: &B) -> bool {
        let mut beds = self.beds.lock();
        let asleep = beds.remove(bed);
        if asleep {
            self.word.fetch_add(RUNNING + SEARCHING, Ordering::SeqCst);
        }
        asleep
    }

    /// A runner is about to park in a wait. Afterwards it must look into the
    /// queues, and recruit as for a push if there is something.
    pub(super) fn block(&self) {
        let before = Census(self.word.fetch_add(BLOCKED - RUNNING, Ordering::SeqCst));
        if cfg!(any(loom, debug_assertions)) {
            assert!(before.running() > 0, "P1: nobody ran");
        }
        let census = Census(before.0 + (BLOCKED - RUNNING));
        if census.closing() && census.running() == 0 {
            drop(self.beds.lock());
            self.quiet.notify_all();
        }
        // Between the subtraction and the caller's look: step 5.
        fence(Ordering::SeqCst);
    }

    /// It goes on.
    pub(super) fn unblock(&self) {
        let before = Census(self.word.fetch_sub(BLOCKED - RUNNING, Ordering::SeqCst));
        if cfg!(any(loom, debug_assertions)) {
            assert!(before.blocked() > 0, "P1: nobody was blocked");
        }
    }

    /// How long the queues may stand still now: longer, the more runners there are
    /// too many already, because they may be busy and not stuck.
    pub(super) fn patience(&self) -> Duration {
        let surplus = self
            .census(Ordering::Relaxed)
            .running()
            .saturating_sub(self.wide());
        STALL * (1 << surplus.min(4))
    }

    /// A watcher saw no progress: it is one more runner and searcher.
    pub(super) fn step_in(&self) {
        self.word
            .fetch_sub(WATCHED - RUNNING - SEARCHING, Ordering::SeqCst);
    }

    /// A watcher is not needed and goes to sleep; like [`lie_down`](Self::lie_down).
    pub(super) fn stop_watching(&self, bed: &B) -> bool {
        let mut beds = self.beds.lock();
        let open = beds.admit(bed);
        if open {
            beds.of(bed).push(bed.clone());
        }
        self.word.fetch_sub(WATCHED, Ordering::SeqCst);
        drop(beds);
        fence(Ordering::SeqCst);
        open
    }

    /// A watcher is still needed: somebody is blocked, or may be.
    pub(super) fn watch_on(&self) -> bool {
        self.may_stall(self.census(Ordering::Relaxed))
    }

    /// From now on [`wait_quiet`](Self::wait_quiet) is told.
    pub(super) fn closing(&self) {
        self.word.fetch_or(CLOSING, Ordering::SeqCst);
    }

    /// Somebody is about to take work out of the queues and put some of it back:
    /// until [`release`](Self::release), the pool is not quiet.
    pub(super) fn hold(&self) {
        self.word.fetch_add(RUNNING, Ordering::SeqCst);
    }

    /// The end of [`hold`](Self::hold): not while `wait_quiet` is between its looks.
    pub(super) fn release(&self) {
        let beds = self.beds.lock();
        self.word.fetch_sub(RUNNING, Ordering::SeqCst);
        drop(beds);
        self.quiet.notify_all();
        // Before the caller's look into the queues, as after any subtraction.
        fence(Ordering::SeqCst);
    }

    /// A worker of this pool is inside `shutdown`, for good: when that returns,
    /// the pool is closed.
    pub(super) fn leave(&self) {
        self.beds.lock().leaving += 1;
        self.quiet.notify_all();
    }

    /// Waits until nobody runs and nobody but the leaving is blocked. If `idle`
    /// then says that nothing is queued, closes the pool (P3), calls `close`, and returns
    /// the sleepers, whose orders are to end. `None`: work is queued and nobody is
    /// there to run it, because the system has refused a thread.
    pub(super) fn wait_quiet(&self, idle: impl Fn() -> bool, close: impl Fn()) -> Option<Vec<B>> {
        let mut beds = self.beds.lock();
        loop {
            if beds.closed {
                return Some(Vec::new());
            }
            let census = self.census(Ordering::SeqCst);
            if census.running() == 0 && census.blocked() == beds.leaving {
                if !idle() {
                    return None;
                }
                // Nobody had taken work out to look at it meanwhile (`hold`).
                if self.census(Ordering::SeqCst).running() > 0 {
                    beds = self.quiet.wait(beds);
                    continue;
                }
                beds.closed = true;
                close();
                let mut all = std::mem::take(&mut beds.own);
                all.append(&mut beds.spare);
                for bed in &all {
                    bed.orders().give(Role::Exit);
                }
                return Some(all);
            }
            beds = self.quiet.wait(beds);
        }
    }
}

impl<B> std::fmt::Debug for Idle<B> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let census = Census(self.word.load(Ordering::Relaxed));
        f.debug_struct("Idle")
            .field("width", &self.width.load(Ordering::Relaxed))
            .field("running", &census.running())
            .field("searching", &census.searching())
            .field("blocked", &census.blocked())
            .finish()
    }
}
