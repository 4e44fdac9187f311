//! Going to sleep and being woken: the protocol. (How long a thread looks for work before it
//! sleeps: `worker/idle.rs`.)
//!
//! **Protocol.**
//! 1. A thread that pushes work calls [`need_after_push`](SleepState::need_after_push) *after* the
//!    push: a sequentially consistent fence, then one load of the word.
//! 2. If fewer run than the pool is wide and none of them searches, it recruits one: adds it to the
//!    word on its behalf, then wakes it.
//! 3. A searcher that finds work calls [`found`](SleepState::found); if it was the last searcher,
//!    it checks whether there is more, and then recruits the next.
//! 4. A searcher that finds nothing goes to sleep ([`fall_asleep`](SleepState::fall_asleep)): it
//!    subtracts itself from the word, fence, *then looks into every queue once more*, and gets up
//!    if it sees something; if enough run without it, it goes on like 2.
//! 5. and 6. are in `spares.rs` and `width.rs`; 8. is in `waiters.rs`, 10. in `stand_in.rs`.
//! 7. Work for one particular thread (a share of a broadcast) is put into its mailbox, and then the
//!    thread is woken ([`wake_for_mail`](SleepState::wake_for_mail)): under the lock, it is removed
//!    from the sleepers if it is among them. If it is not, it will go to sleep later, and then
//!    checks its mailbox ([`stop_sleeping`](SleepState::stop_sleeping)). Either way it runs even if
//!    enough run.
//! 9. Each search changes the word, so a publisher reads a flag first, in a cache line that seldom
//!    moves. A searcher that looks for a while, and is counted, says that the queues are *watched*
//!    ([`watch`](SleepState::watch)): then a publisher reads no further. The thread that makes
//!    the number of searchers zero says that they are *unwatched*, before the fence and the look of
//!    step 3 or 4.
//!
//! - A thread is in `Asleep` exactly while it sleeps and has not been recruited; that,
//!   `closed` and the width change only under the lock.
//! - After `closed`, no thread is recruited, and `fall_asleep` returns that the thread must end.
//!
//! **Rejected.** One futex word for all sleepers (a thundering herd); counting pushed jobs in the
//! word (each push an RMW on a shared line); a ticker that notices missed work (costs CPU while
//! idle); waking the oldest sleeper (its cache is coldest). Sources: Go's `proc.go` (the fence on
//! both sides), tokio (the last searcher wakes the next), rayon's sleep module (which wake-ups may
//! be omitted), `ForkJoinPool` (spares for blocked workers).

use std::sync::Arc;

use crossbeam_utils::CachePadded;

use super::counts::{RUNNING, SEARCHING, ThreadCounts};
use super::waiters::ProcessWaiters;
use crate::loom::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering, fence};
use crate::loom::{Condvar, Mutex};
use crate::sys::ticks;
use crate::thread::engine::config::AT_ONCE;
use crate::thread::engine::wake::WakeHandle;

/// What came of a need.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::thread) enum Recruited {
    /// A thread or a stall monitor must be started.
    Missing,
    /// Nothing more is to be done.
    Done,
    /// The counts have changed: look again.
    Changed,
}

/// What queued work needs in order to be run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::thread) enum Need {
    /// One more running thread.
    Runner,
    /// A stall monitor over the runners, which may all be stuck.
    Monitor,
}

/// What a thread is woken for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::thread) enum WakeReason {
    /// To search and run; it is already counted as a searcher.
    Work,
    /// To end.
    End,
}

/// What a sleeper's reason is: none, or that of a [`WakeReason`].
pub(super) const NONE: u32 = 0;
pub(super) const WORK: u32 = WakeReason::Work as u32 + 1;
pub(super) const END: u32 = WakeReason::End as u32 + 1;
/// To stand in for a thread that was woken for work, if that one has not begun (step 10).
pub(super) const STAND_IN: u32 = END + 1;

/// A thread that may sleep, as other threads see it.
pub(in crate::thread) struct Sleeper {
    /// The thread's place.
    pub(in crate::thread) place: usize,
    /// Why the thread was woken; [`NONE`]: it was not, or it has read the reason.
    pub(super) reason: AtomicU32,
    /// When it fell asleep.
    pub(super) since: AtomicU64,
    handle: WakeHandle,
}

/// A processor with nothing to do for so long may have halted, in ticks. (In a model time does not
/// pass.)
pub(super) const LONG_SLEEP: u64 = if cfg!(loom) {
    0
} else {
    300 * ticks::MICROSECOND
};

/// What the thread that wakes another one does afterwards.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::thread) enum Afterwards {
    /// Perhaps nothing: it may wait for what the other one runs.
    MayWait,
    /// It computes, so a thread that the kernel queues behind it begins late (step 10).
    Computes,
}

impl Sleeper {
    pub(in crate::thread) fn new(place: usize, handle: WakeHandle) -> Arc<Self> {
        Arc::new(Self {
            place,
            reason: AtomicU32::new(NONE),
            since: AtomicU64::new(0),
            handle,
        })
    }

    pub(in crate::thread) fn wake(&self, reason: WakeReason) {
        // Release: pairs with `SleepState::reason`, so that the sleeper sees what the recruiter
        // wrote. A swap, because loom does not order a plain store with the sleeper's swaps.
        self.reason.swap(reason as u32 + 1, Ordering::AcqRel);
        self.handle.wake();
    }

    /// Changes the reason. False: it is another one than `from`.
    pub(super) fn change(&self, from: u32, to: u32) -> bool {
        self.reason
            .compare_exchange(from, to, Ordering::AcqRel, Ordering::Relaxed)
            .is_ok()
    }
}

/// The sleepers, and what changes under their lock.
pub(super) struct Asleep {
    /// In the order in which they fell asleep. The thread that fell asleep last is woken first,
    /// because its caches are most likely still warm.
    pub(super) sleepers: Vec<Arc<Sleeper>>,
    /// The last that was woken, if it has a stand-in (step 10).
    pub(super) late: Option<Arc<Sleeper>>,
    pub(super) closed: bool,
    /// Workers of this pool that are inside its `shutdown`.
    pub(super) in_shutdown: usize,
}

impl Asleep {
    /// Adds a sleeper, unless the pool is closed.
    pub(super) fn add(&mut self, sleeper: &Arc<Sleeper>) -> bool {
        if !self.closed {
            sleeper.since.store(ticks::now(), Ordering::Relaxed);
            self.sleepers.push(Arc::clone(sleeper));
        }
        !self.closed
    }

    /// Where the newest is of which this is true.
    fn newest(&self, is_it: &dyn Fn(&Arc<Sleeper>) -> bool) -> Option<usize> {
        self.sleepers.iter().rposition(is_it)
    }

    pub(super) fn position(&self, sleeper: &Arc<Sleeper>) -> Option<usize> {
        self.newest(&|other| Arc::ptr_eq(other, sleeper))
    }

    pub(super) fn remove(&mut self, sleeper: &Arc<Sleeper>) -> bool {
        let Some(at) = self.position(sleeper) else {
            return false;
        };
        drop(self.sleepers.remove(at));
        true
    }

    /// Takes out the newest of the pool's own threads, or else of the spares. The second is its
    /// stand-in, if it has slept for long, and the caller computes (step 10).
    fn pop(
        &mut self,
        width: usize,
        then: Afterwards,
    ) -> Option<(Arc<Sleeper>, Option<Arc<Sleeper>>)> {
        let own = |asleep: &Self| asleep.newest(&|sleeper| sleeper.place < width);
        let Some(at) = own(self) else {
            return Some((self.sleepers.pop()?, None));
        };
        let sleeper = self.sleepers.remove(at);
        let slept = ticks::since(sleeper.since.load(Ordering::Relaxed));
        let next = match then {
            Afterwards::Computes if slept >= LONG_SLEEP => own(self),
            _ => None,
        };
        let stand_in = next.map(|at| Arc::clone(&self.sleepers[at]));
        self.late = stand_in.is_some().then(|| Arc::clone(&sleeper));
        Some((sleeper, stand_in))
    }
}

/// The state of the sleep protocol, described at the head of this file. What changes often, and the
/// lock, have cache lines of their own: every push and every search read the width.
pub(in crate::thread) struct SleepState {
    pub(super) word: CachePadded<AtomicU64>,
    /// Whether no searcher is bound to look for work that is pushed now: step 9.
    unwatched: CachePadded<AtomicBool>,
    /// Threads with places below it are not spares. Changes under the lock.
    pub(super) width: AtomicUsize,
    /// Whether more than [`AT_ONCE`](super::spares) workers have ever waited at the same time.
    pub(super) crowded: AtomicBool,
    /// How many calls that may block are in progress; see `spawn_blocking.rs`.
    pub(super) calls: AtomicUsize,
    /// How many more threads than the width should run, because that many calls wait.
    pub(super) extra: AtomicUsize,
    /// How many waiting workers are replaced beyond the usual number, because the stall monitor has
    /// seen that their waits are long; see `spares.rs`.
    pub(super) granted: AtomicUsize,
    /// How much queued work a parked thread waits for and cannot run itself. Written by the queue.
    pub(super) urgent: Arc<AtomicUsize>,
    /// The waits of all threads of the process.
    waiters: Arc<ProcessWaiters>,
    pub(super) asleep: CachePadded<Mutex<Asleep>>,
    /// Notified when no thread runs any more, while closing.
    pub(super) quiet: Condvar,
}

impl SleepState {
    /// A pool whose `width` threads are about to start, as searchers, in a process with these
    /// waits.
    pub(in crate::thread) fn new(width: usize, waiters: Arc<ProcessWaiters>) -> Self {
        Self {
            word: CachePadded::new(AtomicU64::new(width as u64 * (RUNNING + SEARCHING))),
            unwatched: CachePadded::new(AtomicBool::new(true)),
            width: AtomicUsize::new(width),
            crowded: AtomicBool::new(false),
            calls: AtomicUsize::new(0),
            extra: AtomicUsize::new(0),
            granted: AtomicUsize::new(0),
            urgent: Arc::new(AtomicUsize::new(0)),
            waiters,
            asleep: CachePadded::new(Mutex::new(Asleep {
                sleepers: Vec::new(),
                late: None,
                closed: false,
                in_shutdown: 0,
            })),
            quiet: Condvar::new(),
        }
    }

    /// The waits of the process that made this.
    #[inline]
    pub(in crate::thread) fn waiters(&self) -> &ProcessWaiters {
        &self.waiters
    }

    /// The counter in which the queue counts its urgent work.
    pub(in crate::thread) fn urgent(&self) -> Arc<AtomicUsize> {
        Arc::clone(&self.urgent)
    }

    /// How wide the pool is.
    #[inline]
    pub(in crate::thread) fn width(&self) -> usize {
        self.width.load(Ordering::Relaxed)
    }

    /// How many workers may wait before fewer run than the pool is wide.
    #[inline]
    pub(super) fn replaced(&self) -> usize {
        self.width().max(AT_ONCE) + self.granted.load(Ordering::Relaxed)
    }

    /// How many threads should run, by these counts, including those in calls that wait: the pool's
    /// width, or fewer when more workers wait than are replaced (`spares.rs`).
    #[inline]
    pub(in crate::thread) fn target(&self, now: ThreadCounts) -> usize {
        let unreplaced = match now.blocked() {
            0 => 0,
            blocked => blocked.saturating_sub(self.replaced()),
        };
        self.width().saturating_sub(unreplaced) + self.extra.load(Ordering::Relaxed)
    }

    /// How many threads should run for queued work: urgent work gets a thread, however many workers
    /// wait.
    #[inline]
    pub(super) fn wanted(&self, now: ThreadCounts) -> usize {
        match self.urgent.load(Ordering::Relaxed) {
            0 => self.target(now),
            _ => self.width() + self.extra.load(Ordering::Relaxed),
        }
    }

    pub(in crate::thread) fn counts(&self) -> ThreadCounts {
        ThreadCounts(self.word.load(Ordering::Relaxed))
    }

    /// One more waits: whether they are many.
    pub(super) fn note_crowd(&self) {
        if self.counts().blocked() > AT_ONCE {
            self.crowded.store(true, Ordering::Relaxed);
        }
    }

    /// Whether one of the pool's own workers waits, or is in a call that may.
    pub(super) fn may_stall(&self, counts: ThreadCounts) -> bool {
        counts.blocked() > 0 || self.calls.load(Ordering::Relaxed) > 0
    }

    /// Whether some thread of the process waits, perhaps for this pool.
    pub(super) fn some_wait(&self) -> bool {
        self.waiters.any()
    }

    /// What is needed, by these counts, so that queued work is run. `None`: nothing, it will be
    /// found.
    pub(super) fn need(&self, counts: ThreadCounts) -> Option<Need> {
        self.need_if_stalling(counts, || self.some_wait())
    }

    /// The same, where `others` says whether other threads wait than the pool's own. For them alone
    /// there is no stall monitor as long as a thread searches: it finds the work, or looks again
    /// (steps 3 and 4).
    #[inline]
    fn need_if_stalling(
        &self,
        counts: ThreadCounts,
        others: impl FnOnce() -> bool,
    ) -> Option<Need> {
        if counts.running() < self.wanted(counts) {
            (counts.searching() == 0).then_some(Need::Runner)
        } else {
            let stalls = || self.may_stall(counts) || (counts.searching() == 0 && others());
            (!counts.is_monitored() && stalls()).then_some(Need::Monitor)
        }
    }

    /// After a push of work that the pusher does not take back: what is needed to run it. For a
    /// runner the caller calls [`recruit`](Self::recruit), for a stall monitor
    /// [`begin_monitor`](Self::begin_monitor).
    #[inline]
    pub(in crate::thread) fn need_after_push(&self) -> Option<Need> {
        // Between the push and the loads: step 1, pairs with `fall_asleep`, `block`.
        fence(Ordering::SeqCst);
        // Step 9.
        if !self.unwatched.load(Ordering::Relaxed) {
            return None;
        }
        self.need_if_stalling(self.counts(), || self.waiters.any_or_note())
    }

    /// A searcher, which is counted, looks for a while (step 9).
    pub(in crate::thread) fn watch(&self) {
        if self.unwatched.load(Ordering::Relaxed) {
            self.unwatched.store(false, Ordering::Relaxed);
        }
    }

    /// No searcher is left (step 9).
    pub(in crate::thread) fn unwatch(&self) {
        if !self.unwatched.load(Ordering::Relaxed) {
            self.unwatched.store(true, Ordering::Relaxed);
        }
    }

    /// Subtracts from the word, and returns what is left.
    fn leave(&self, what: u64) -> ThreadCounts {
        let before = self.word.fetch_sub(what, Ordering::SeqCst);
        let now = ThreadCounts(before.wrapping_sub(what));
        if now.searching() == 0 {
            self.unwatch();
        }
        now
    }

    /// After a push of work that the pusher takes back if no thread takes it. It has no fence: if
    /// it misses a sleeper, parallelism is lost, but no work.
    #[inline]
    pub(in crate::thread) fn need_after_offer(&self) -> Option<Need> {
        self.need_if_stalling(self.counts(), || false)
    }

    /// Whether some thread looks for work.
    #[inline]
    pub(in crate::thread) fn some_search(&self) -> bool {
        self.counts().searching() > 0
    }

    /// How many threads of the pool are idle: searchers, and sleepers beyond the `replaced` ones,
    /// whose work other threads do.
    #[inline]
    pub(in crate::thread) fn idlers(&self, replaced: usize) -> u32 {
        let counts = self.counts();
        let busy = counts.running().saturating_add(replaced);
        (counts.searching() + self.target(counts).saturating_sub(busy)) as u32
    }

    /// Changes the word to the result of `change`, if it returns one.
    pub(super) fn update(&self, change: &dyn Fn(ThreadCounts) -> Option<u64>) -> bool {
        let update = |word| change(ThreadCounts(word));
        let updated = self
            .word
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, update);
        updated.is_ok()
    }

    /// Wakes a thread, if one is still needed, as [`need_after_push`](Self::need_after_push) has
    /// found. `Missing`: all are awake, a thread must be started. It is counted already; undo that
    /// with [`not_started`](Self::not_started) if the system refuses it.
    #[cold]
    pub(in crate::thread) fn recruit(&self, then: Afterwards) -> Recruited {
        self.recruit_if(&|now| self.need(now) == Some(Need::Runner), then)
    }

    /// Whether one thread more should be woken although some search: more sleep than the
    /// `replaced` ones, and fewer than `few` search. No wake-up is lost without it, but a wide pool
    /// would wake up one thread after the other.
    #[inline]
    pub(in crate::thread) fn lacks_searchers(&self, replaced: usize, few: usize) -> bool {
        let counts = self.counts();
        let busy = counts.running().saturating_add(replaced);
        busy < self.target(counts) && counts.searching() < few
    }

    /// Wakes a thread if that is so.
    #[cold]
    pub(in crate::thread) fn recruit_another(&self, few: usize) -> Recruited {
        let lacks = |now: ThreadCounts| now.running() < self.target(now) && now.searching() < few;
        self.recruit_if(&lacks, Afterwards::Computes)
    }

    /// Like [`recruit`](Self::recruit), if `needed` is true of the counts.
    pub(super) fn recruit_if(
        &self,
        needed: &dyn Fn(ThreadCounts) -> bool,
        then: Afterwards,
    ) -> Recruited {
        let mut asleep = self.asleep.lock();
        if asleep.closed {
            return Recruited::Done;
        }
        if !self.update(&|now| needed(now).then_some(now.0 + RUNNING + SEARCHING)) {
            return Recruited::Changed;
        }
        let Some((sleeper, stand_in)) = asleep.pop(self.width(), then) else {
            return Recruited::Missing;
        };
        drop(asleep);
        sleeper.wake(WakeReason::Work);
        if let Some(stand_in) = stand_in
            && stand_in.change(NONE, STAND_IN)
        {
            stand_in.handle.wake();
        }
        Recruited::Done
    }

    /// Undoes the count of a thread that the system refused.
    pub(in crate::thread) fn not_started(&self) {
        self.subtract(RUNNING + SEARCHING);
    }

    pub(super) fn subtract(&self, what: u64) {
        if self.leaves_none(what) {
            // Takes the lock once, so that the wake-up cannot fall between the waiter's look and
            // its wait.
            drop(self.asleep.lock());
            self.quiet.notify_all();
        }
    }

    /// Subtracts. True: no thread runs any more, so `quiet` must be notified.
    fn leaves_none(&self, what: u64) -> bool {
        let now = self.leave(what);
        now.is_closing() && now.running() == 0
    }

    /// A runner begins to search, unless enough do: half of those that should run. After a job both
    /// threads of a pool of two may: the next region often follows at once, and needs no wake-up.
    pub(in crate::thread) fn search(&self, after_job: bool) -> bool {
        let counts = self.counts();
        let at_least = if after_job { 4 } else { 2 };
        if counts.searching() * 2 >= self.target(counts).max(at_least) {
            return false;
        }
        self.word.fetch_add(SEARCHING, Ordering::SeqCst);
        true
    }

    /// A searcher found work. Returns how many others search: if none does, it must look for more
    /// work, and recruit if there is some.
    pub(in crate::thread) fn found(&self) -> usize {
        let now = self.leave(SEARCHING);
        // Between the subtraction and the look: step 3.
        fence(Ordering::SeqCst);
        now.searching()
    }

    /// A runner (and searcher, if `searching`) found nothing and goes to sleep. True: it must look
    /// into every queue, and [`wake_if_wanted`](Self::wake_if_wanted) if there is something. False:
    /// the pool is closed; it must look all the same, recruit if there is work, and end.
    pub(in crate::thread) fn fall_asleep(&self, sleeper: &Arc<Sleeper>, searching: bool) -> bool {
        let mut asleep = self.asleep.lock();
        let open = asleep.add(sleeper);
        if self.leaves_none(RUNNING + u64::from(searching) * SEARCHING) {
            self.quiet.notify_all();
        }
        drop(asleep);
        // Between the subtraction and the caller's look: step 4.
        fence(Ordering::SeqCst);
        open
    }

    /// A sleeper saw work. True: it is a searcher again. False: it has been recruited, or enough
    /// run; it must wait for the reason.
    pub(in crate::thread) fn wake_if_wanted(&self, sleeper: &Arc<Sleeper>) -> bool {
        let mut asleep = self.asleep.lock();
        let enough = |now: ThreadCounts| now.running() >= self.wanted(now);
        let up = asleep.position(sleeper).is_some()
            && self.update(&|now| (!enough(now)).then_some(now.0 + RUNNING + SEARCHING));
        up && asleep.remove(sleeper)
    }

    /// A sleeper sees work for itself alone. True: it is a searcher again. False: it has been
    /// recruited.
    pub(in crate::thread) fn stop_sleeping(&self, sleeper: &Arc<Sleeper>) -> bool {
        let mut asleep = self.asleep.lock();
        let slept = asleep.remove(sleeper);
        if slept {
            self.word.fetch_add(RUNNING + SEARCHING, Ordering::SeqCst);
        }
        slept
    }

    /// There is work for this thread alone (step 7): wakes it if it sleeps, or may.
    pub(in crate::thread) fn wake_for_mail(&self, sleeper: &Arc<Sleeper>) {
        if self.stop_sleeping(sleeper) {
            sleeper.wake(WakeReason::Work);
        }
    }
}

impl std::fmt::Debug for SleepState {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let counts = self.counts();
        // Threads that wait in a call are shown as blocked, although the word counts them as
        // running.
        let waiting = self.extra.load(Ordering::Relaxed).min(counts.running());
        f.debug_struct("Sleep")
            .field("width", &self.width())
            .field("running", &(counts.running() - waiting))
            .field("searching", &counts.searching())
            .field("blocked", &(counts.blocked() + waiting))
            .finish()
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use std::sync::Arc;

    use super::{ProcessWaiters, SleepState};

    #[test]
    fn both_workers_of_two_search_after_a_job_and_one_otherwise() {
        let sleep = SleepState::new(2, Arc::new(ProcessWaiters::new()));
        assert_eq!([sleep.found(), sleep.found()], [1, 0], "both searched");
        assert!(sleep.search(false) && !sleep.search(false));
        assert!(sleep.search(true) && !sleep.search(true));
    }

    #[test]
    fn half_of_a_wide_pool_searches() {
        let sleep = SleepState::new(16, Arc::new(ProcessWaiters::new()));
        (0..16).for_each(|_| _ = sleep.found());
        assert_eq!((0..16).filter(|_| sleep.search(true)).count(), 8);
        assert!(!sleep.search(false));
    }
}
