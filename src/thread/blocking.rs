//! Calls that may block: `spawn_blocking`.
//!
//! **Job.** A pool is as wide as the machine, because more threads compute no faster. But a call that sleeps, or waits for a
//! network, uses no processor, and what is queued behind it could run. Nobody but the
//! system knows which of the two a closure does, and a user should not have to say it. So the pool
//! looks: how much processor time has the thread used? (Where it is known, [`ThreadPool::blocking`](super::ThreadPool::blocking)
//! says it at once, and costs less.)
//!
//! **Protocol.** 1. [`run`] notes in the worker's [`Lending`] that a call is in progress, tells `idle.rs`, and looks into the queues: if
//! there is something and all places are taken, somebody is to watch. 2. The watcher (`worker.rs`) comes every [`STALL`](super::idle::STALL). If nothing
//! is queued, it goes to sleep: nobody would gain. Else it reads the clocks of all threads that are in the same call
//! as at its last look ([`Watch`]). One that has run for less than an eighth of the time, and does not want to run just now, *waits*, and *its place is lent*: it is counted
//! as blocked, so that another thread is woken or started. The others *compute*; on a machine with too much to do, they may wait for a processor. 3. When its call ends, it is counted
//! as running again, which may be one too many: `idle.rs` sees to that. 4. A thousand calls that wait would still begin
//! one by one, each after its predecessor has been seen to wait. So for each one that is seen to wait for the first time, less those that compute, [`TRUST`] calls may
//! begin as if it had been seen already (*on trust*); who proves to compute has had a place too many until it ends. Trust ends with the next look, and when
//! nothing is queued any more. A call vouches once: one that has waited for an hour says nothing of those that begin now.
//! 5. The stall rule of `idle.rs` is for those who are stuck: while nobody is blocked but calls whose places
//! are lent, and as many calls compute as the pool is wide, it does not apply.
//!
//! So calls that compute run as wide as the pool; calls that wait run at once, after some ten milliseconds, up to
//! [`MOST`] of them; and where both come mixed, as many compute as the pool is wide, or few more.
//!
//! A call waits in its turn for tasks (`join`): then it is blocked of its own. Only the outermost call of a thread counts, and
//! only if that thread is not inside a wait already.
//!
//! - **P35** A place's phase changes under its lock, and what the word of `idle.rs` counts changes before that lock is let go of: so a
//!   thread is never counted twice as blocked, and never taken for a runner while it is not one.
//!
//! **Rejected.** A thread for each call, up to some hundreds, as tokio has it (ten thousand calls that compute
//! become five hundred threads that take turns); the stall rule alone (a call that computes for a second moves nothing
//! either, and would get company); the time that the whole process uses (others compute, too); taking the place back from
//! one that has begun to compute (it ends soon enough, and the exchange would need a third party's lock in each wait).
//!
//! Sources: Go's `sysmon`, which takes the processor from a goroutine in a system call after 10 ms at most.
//!
//! Tests: `tests/thread/blocking.rs`; loom models in `checks/tests/blocking.rs`.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::raw::current;
use super::registry::Registry;
use super::worker::{Slot, Worker};
use crate::loom::Mutex;
use crate::loom::atomic::{AtomicUsize, Ordering};
use crate::sys::thread_clock::ThreadClock;

/// So many places of one pool are lent at a time.
pub(super) const MOST: usize = 512;

/// See step 4.
const TRUST: usize = 3;

/// What a thread does with its place.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Phase {
    /// No call is in progress.
    #[default]
    Free,
    /// One is, and the thread counts as running.
    Taken,
    /// One is, and the thread counts as blocked, because somebody has seen to it.
    Lent,
    /// It waits for a task inside its call, and has said so itself.
    Away,
    /// It does, but was counted as blocked already.
    LentAway,
}

#[derive(Debug, Default)]
struct State {
    phase: Phase,
    /// Which call it is.
    call: u64,
    /// It has been seen to wait.
    known: bool,
    clock: Option<ThreadClock>,
}

/// One thread's place, as far as calls are concerned.
#[derive(Debug, Default)]
pub(super) struct Lending(Mutex<State>);

/// A call in progress.
#[derive(Clone, Copy, Debug)]
struct Sample {
    call: u64,
    lent: bool,
    clock: Option<ThreadClock>,
    /// What its thread has used of a processor, if that can be told.
    used: Option<Duration>,
    /// It has been seen to wait for something else than a processor.
    waits: bool,
}

impl Lending {
    /// The calling thread takes it over.
    pub(super) fn occupy(&self) {
        self.0.lock().clock = ThreadClock::mine();
    }

    /// A call begins; `lent`: already counted as blocked.
    pub(super) fn begin(&self, lent: bool) {
        let mut state = self.0.lock();
        state.call += 1;
        state.known = false;
        state.phase = if lent { Phase::Lent } else { Phase::Taken };
    }

    /// The call ends. `unblock` is called if it was counted as blocked.
    pub(super) fn end(&self, unblock: impl FnOnce()) -> bool {
        let mut state = self.0.lock();
        let lent = state.phase == Phase::Lent;
        state.phase = Phase::Free;
        if lent {
            unblock();
        }
        lent
    }

    /// The call waits for a task. `block` is called if it was counted as running.
    pub(super) fn leave(&self, block: impl FnOnce()) -> bool {
        let mut state = self.0.lock();
        let counted = state.phase == Phase::Taken;
        state.phase = if counted {
            Phase::Away
        } else {
            Phase::LentAway
        };
        if counted {
            block();
        }
        counted
    }

    /// It goes on. `unblock` is called if it had called `block`.
    pub(super) fn come_back(&self, unblock: impl FnOnce()) -> bool {
        let mut state = self.0.lock();
        let counted = state.phase == Phase::Away;
        state.phase = if counted { Phase::Taken } else { Phase::Lent };
        if counted {
            unblock();
        }
        counted
    }

    /// The watcher has seen that this call waits. `block` is called if it still counts as running.
    pub(super) fn lend(&self, call: u64, block: impl FnOnce()) -> bool {
        let mut state = self.0.lock();
        let counted = state.phase == Phase::Taken && state.call == call;
        if counted {
            block();
            state.phase = Phase::Lent;
        }
        counted
    }

    /// This call has been seen to wait. True: for the first time.
    fn vouch(&self, call: u64) -> bool {
        let mut state = self.0.lock();
        state.call == call && !std::mem::replace(&mut state.known, true)
    }

    fn sample(&self) -> Option<Sample> {
        let state = self.0.lock();
        let lent = match state.phase {
            Phase::Taken => false,
            Phase::Lent => true,
            _ => return None,
        };
        Some(Sample {
            call: state.call,
            lent,
            clock: state.clock,
            used: state.clock.and_then(ThreadClock::read),
            waits: false,
        })
    }
}

/// What a pool knows of its calls.
#[derive(Debug, Default)]
pub(super) struct Calls {
    lent: AtomicUsize,
    /// So many may begin on trust.
    trust: AtomicUsize,
}

impl Calls {
    /// A place may be lent: it counts from now on.
    fn admit(&self) -> bool {
        let more = |lent: usize| (lent < MOST).then_some(lent + 1);
        self.lent
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, more)
            .is_ok()
    }

    fn is_full(&self) -> bool {
        self.lent.load(Ordering::Relaxed) >= MOST
    }

    fn give_back(&self) {
        self.lent.fetch_sub(1, Ordering::Relaxed);
    }

    /// The next call may begin as if it had been seen to wait.
    fn on_trust(&self) -> bool {
        let less = |trust: usize| trust.checked_sub(1);
        let trusted = self.trust.load(Ordering::Relaxed) > 0
            && self
                .trust
                .fetch_update(Ordering::Relaxed, Ordering::Relaxed, less)
                .is_ok();
        trusted && self.admit()
    }

    /// Nobody looks any more.
    pub(super) fn trust_nobody(&self) {
        self.trust.store(0, Ordering::Relaxed);
    }
}

/// Runs `f`, which may block, on whatever thread this is.
pub(super) fn run<R>(f: impl FnOnce() -> R) -> R {
    let _call = InProgress::begin();
    f()
}

/// The calling thread is in a call that counts.
struct InProgress(bool);

impl InProgress {
    fn begin() -> Self {
        Self(current::with_home(|home| {
            home.is_some_and(Worker::begin_call)
        }))
    }
}

impl Drop for InProgress {
    fn drop(&mut self) {
        if self.0 {
            current::with_home(|home| home.map(Worker::end_call));
        }
    }
}

impl Worker {
    /// False: this call does not count.
    fn begin_call(&self) -> bool {
        if self.blocked().get() > 0 || self.in_call().get() || self.registry().is_foreign() {
            return false;
        }
        self.in_call().set(true);
        let (registry, slot) = (self.registry(), self.slot());
        registry.idle().call_begins();
        let trusted = registry.calls().on_trust();
        if trusted {
            slot.post().leave();
            registry.block();
        }
        slot.lending().begin(trusted);
        if !trusted && registry.idle().unwatched() && self.sees_tasks() {
            registry.published();
        }
        true
    }

    fn end_call(&self) {
        let registry = self.registry();
        self.in_call().set(false);
        let lent = self.slot().lending().end(|| registry.idle().unblock());
        if lent {
            self.slot().post().come_back();
            registry.calls().give_back();
        }
        registry.idle().call_ends();
    }
}

/// What a watcher has seen at its last look.
pub(super) struct Watch {
    at: Instant,
    /// By the number of the slot.
    seen: HashMap<usize, Sample>,
}

impl Watch {
    pub(super) fn begin(registry: &Arc<Registry>) -> Self {
        let mut watch = Self {
            at: Instant::now(),
            seen: HashMap::new(),
        };
        watch.look(registry);
        watch
    }

    /// Lends the places of those who wait. To be called while something is queued. True: nobody is stuck (step 5).
    pub(super) fn look(&mut self, registry: &Arc<Registry>) -> bool {
        if registry.calls().is_full() {
            registry.calls().trust_nobody();
            self.seen.clear();
            return false;
        }
        let now = Instant::now();
        let least = (now - self.at) / 8;
        let (mut vouching, mut computing, mut lent) = (0_usize, 0, false);
        let (mut at_work, mut away) = (0, 0);
        let mut seen = HashMap::new();
        for slot in registry.slots().1.iter() {
            let Some(mut sample) = slot.lending().sample() else {
                continue;
            };
            away += usize::from(sample.lent);
            let before = self.seen.get(&slot.number());
            if let Some(before) = before.filter(|before| before.call == sample.call) {
                sample.waits = sample.is_waiting(before, least);
                if sample.waits {
                    vouching += usize::from(slot.lending().vouch(sample.call));
                    if !sample.lent && registry.lend(slot, sample.call) {
                        lent = true;
                        away += 1;
                    }
                } else {
                    computing += 1;
                    at_work += usize::from(!sample.lent);
                }
            }
            seen.insert(slot.number(), sample);
        }
        let trust = TRUST * vouching.saturating_sub(computing);
        registry.calls().trust.store(trust, Ordering::Relaxed);
        if lent {
            registry.recheck();
        }
        *self = Self { at: now, seen };
        at_work >= registry.width() && away >= registry.idle().blocked()
    }
}

impl Sample {
    /// Where there are no such clocks, all wait.
    fn is_waiting(&self, before: &Self, least: Duration) -> bool {
        let (Some(clock), Some(now), Some(earlier)) = (self.clock, self.used, before.used) else {
            return true;
        };
        now.saturating_sub(earlier) <= least && (before.waits || clock.wants_to_run() != Some(true))
    }
}

impl Registry {
    fn lend(&self, slot: &Slot, call: u64) -> bool {
        if !self.calls().admit() {
            return false;
        }
        let lent = slot.lending().lend(call, || {
            slot.post().leave();
            self.idle().block();
        });
        if !lent {
            self.calls().give_back();
        }
        lent
    }
}
