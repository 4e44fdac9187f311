//! The stall monitor over a pool whose runners may all be stuck: a look every [`STALL`], by a
//! helper thread.
//!
//! A blocked worker, a call that may block (`spawn_blocking.rs`), or any waiting thread of the
//! process (`sleep/waiters.rs`) needs a stall monitor as soon as work is queued and no thread is
//! free for it. There is at most one for a pool (a bit in its word). At each look, the stall
//! monitor
//! 1. ends if no thread waits and no call is in progress, or if nothing is queued;
//! 2. reads the clocks of the threads that are in calls, and widens the pool by the number of
//!    waiting calls;
//! 3. counts the workers that have waited since the last look for something that no pool runs:
//!    twice as many may be replaced; and those that are known to be stuck: so many more;
//! 4. counts the entries taken from the queues. If there was none while a worker is blocked, one
//!    more thread runs, and takes the newest entry, since the others may wait for it: the *stall
//!    rule* (`sleep/spares.rs`). It takes the place of a runner that is stuck, if there is one: one
//!    that has taken nothing and computed nothing, and would not if it had a processor. If so many
//!    wait that fewer run than should, twice as many are added as the last time. If this process
//!    computes meanwhile, or would if it had a processor, eight times as long must pass first, and
//!    the process must have computed for half of that, since the waiters may wait for that
//!    computation;
//! 5. marks the deques of workers that have taken nothing since the last look, so that others look
//!    there first;
//! 6. marks a runner that is stuck if too many run, so that only urgent work may be begun
//!    (`is_full`), at two looks in a row: urgent work may renew itself for ever.
//!
//! Any entry that is taken is progress: none is passed over for ever (`search.rs`).
//!
//! **Where only other threads wait** than the pool's own workers, nobody knows whether they wait
//! for this pool. Then one more thread runs only if fewer of the pool's threads have computed since
//! the last look than it is wide: a task that computes is not stuck in a lock. (A lock that spins
//! looks like a computation. A thread that waits by means of std or another crate is not counted,
//! nor is an event loop that sleeps.)
//!
//! It holds the pool only while it looks, so it does not keep a dropped pool alive. It runs no user
//! code, except that which names a thread.
//!
//! Rejected: one of the pool's threads as the watcher (a third reason to wake or start a thread,
//! hooks on a thread that runs no tasks, and a thread that a broadcast and the pool's end must not
//! wait for).
//!
//! Tests: `tests/thread/blocking.rs`, `tests/thread/stuck.rs`, `tests/thread/noise.rs`,
//! `tests/thread/pool.rs::a_promise_awaited_under_a_lock_that_a_queued_task_needs`.

use std::sync::{Arc, Weak};
use std::thread::sleep;
use std::time::{Duration, Instant};

use super::blocking_call::Sample;
use super::config::{BUSY, MAX_SPARES, STALL, TRUST};
use super::registry::slot_list::of_places;
use super::slot::Slot;
use crate::blocking_threads;
use crate::sys::clock;
use crate::sys::thread_clock::ThreadClock;
use crate::thread::engine::queue::Next;
use crate::thread::engine::registry::{self, Registry};

/// After this many looks with progress, a new stall begins from the start.
const CALM: u32 = 8;

/// The observations of the last look.
struct StallMonitor {
    at: Instant,
    /// When another thread must run although the process computes, if nothing is taken from the
    /// queues until then.
    stalled: Instant,
    /// The number of entries taken at that moment.
    progress: u64,
    /// The last look that found progress, or after which one more thread ran.
    moved_at: Instant,
    /// What was seen of each place at the last look.
    places: Vec<Seen>,
    /// When the clocks of the pool's threads were last read.
    clocks_at: Instant,
    /// How many threads have been added since the last progress: decides which entry the next one
    /// takes.
    turn: usize,
    /// How many calls that began since then are assumed to wait.
    trust: usize,
    /// How many more workers are replaced because there was no progress.
    stalls: usize,
    /// How many were added at the last stall.
    step: usize,
    /// How many consecutive looks found progress.
    moved: u32,
    /// Whether only urgent work could be begun at the last look.
    was_full: bool,
    /// The processor time of the process at the last look; and that at which the stall rule was put
    /// off, if it is.
    time: Duration,
    put_off: Option<Duration>,
}

/// What was seen of a place; `None`: nothing yet.
#[derive(Default)]
struct Seen {
    /// How many entries its worker had taken, and whether it has taken some since the look before.
    taken: Option<u64>,
    moved: bool,
    /// The processor time that its thread had used, and whether it had computed.
    used: Option<Duration>,
    computed: bool,
    /// Its call in progress.
    call: Option<Sample>,
    /// Its wait.
    wait: Option<u64>,
}

/// Starts the stall monitor over a pool. False: the system gives no thread for it.
pub(in crate::thread) fn start(registry: &Arc<Registry>) -> bool {
    let pool = Arc::downgrade(registry);
    let started = blocking_threads::start(move || monitor(&pool)).is_ok();
    if !started {
        registry.sleep.end_monitor();
    }
    started
}

fn monitor(registry: &Weak<Registry>) {
    let begun = registry.upgrade().as_ref().map(StallMonitor::new);
    if let Some(mut monitor) = begun {
        while monitor.goes_on(registry) {}
    }
}

/// How many runners are known to be stuck.
fn stuck(registry: &Registry) -> usize {
    let slots = registry.slots();
    let marked = of_places(&slots).iter();
    marked.filter(|slot| slot.standing.is_marked()).count()
}

/// Lets any worker take the shares of this place if `is_away`. The pool does not end meanwhile.
fn close_mailbox(registry: &Arc<Registry>, slot: &Slot, is_away: &dyn Fn() -> bool) {
    registry.sleep.delay_end();
    registry.close_mailbox(slot, is_away);
    registry.sleep.allow_end();
    registry.recheck();
}

impl StallMonitor {
    fn new(registry: &Arc<Registry>) -> Self {
        let mut monitor = Self {
            at: Instant::now(),
            stalled: Instant::now() + registry.sleep.patience(stuck(registry)),
            progress: registry.progress(),
            moved_at: Instant::now(),
            places: Vec::new(),
            clocks_at: Instant::now(),
            turn: 0,
            trust: 0,
            stalls: 0,
            step: 0,
            moved: 0,
            was_full: false,
            time: clock::of_process(),
            put_off: None,
        };
        // The first look has nothing to compare with: it calls nothing a wait.
        monitor.look_at_calls(registry);
        monitor.look_at_waits(registry);
        monitor.look_at_workers(registry);
        monitor.look_at_clocks(registry, false);
        monitor
    }

    /// What was seen of this slot's place.
    fn seen(&mut self, slot: &Slot) -> &mut Seen {
        while self.places.len() <= slot.number {
            self.places.push(Seen::default());
        }
        &mut self.places[slot.number]
    }

    /// Waits, and looks. False: no stall monitor is needed any more.
    fn goes_on(&mut self, registry: &Weak<Registry>) -> bool {
        sleep(STALL);
        let Some(registry) = registry.upgrade() else {
            return false;
        };
        let own = registry.sleep.needs_monitor() && registry.has_work();
        let others = registry.sleep.needs_monitor_for_others() && registry.has_tasks();
        if own || others {
            self.look_at_workers(&registry);
            registry.sleep.widen(self.look_at_calls(&registry));
            let long = self.look_at_waits(&registry);
            let (long, before) = ((2 * long).min(MAX_SPARES), stuck(&registry));
            if others && registry.sleep.counts().blocked() <= before {
                self.look_for_others(&registry, before);
            } else {
                self.look_at_queues(&registry, long, before);
            }
            self.look_at_surplus(&registry);
            registry.sleep.grant(long + stuck(&registry) + self.stalls);
            registry.recheck();
        } else {
            registry.sleep.end_trust();
            registry.sleep.end_monitor();
            registry.recheck();
        }
        registry::release(registry);
        own || others
    }

    /// The stall rule. `long`: how many long waits are replaced; `stuck`: how many runners are
    /// known to be stuck.
    fn look_at_queues(&mut self, registry: &Arc<Registry>, long: usize, stuck: usize) {
        let before = std::mem::replace(&mut self.time, clock::of_process());
        self.moved_at = Instant::now();
        // Where other processes have taken the processors, little time has been used.
        let computes = self.time.saturating_sub(before) > STALL / 2
            || self.progress == registry.progress() && ThreadClock::another_wants_to_run();
        // Workers that have come back need no replacement.
        let unreplaced = registry.sleep.unreplaced(long + stuck);
        self.stalls = self.stalls.min(unreplaced + self.step);
        // If nothing computes, the runners are stuck, not busy; but there may be many of them.
        let may_wait = computes || registry.sleep.is_crowded();
        if may_wait && Instant::now() < self.stalled {
            return;
        }
        let before = std::mem::replace(&mut self.progress, registry.progress());
        let stands = self.progress == before && registry.sleep.counts().blocked() > stuck;
        let lacks = unreplaced > self.stalls;
        let since = self.put_off.unwrap_or(self.time);
        let short = self.put_off.is_none() || self.time.saturating_sub(since) < 4 * STALL;
        let put_off = stands && lacks && computes && short;
        self.moved = if stands { 0 } else { self.moved + 1 };
        self.turn = if stands { self.turn } else { 0 };
        if self.moved > CALM {
            self.step = 0;
        }
        if put_off {
            self.stalled = Instant::now() + 8 * STALL;
        } else if stands && lacks {
            self.step = 2 * self.step + 1;
            self.stalls = unreplaced + self.step;
            registry.injector.set_next(Next::Newest);
        } else {
            if stands {
                _ = self.look_at_clocks(registry, false);
                self.one_more(registry, &[Next::Newest, Next::Oldest]);
            }
            self.stalled = Instant::now() + registry.sleep.patience(stuck);
        }
        self.put_off = put_off.then_some(since);
    }

    /// The stall rule where only other threads wait than the pool's own workers.
    fn look_for_others(&mut self, registry: &Arc<Registry>, stuck: usize) {
        let since = std::mem::replace(&mut self.time, clock::of_process());
        self.stalls = 0;
        let (now, progress) = (Instant::now(), registry.progress());
        if std::mem::replace(&mut self.progress, progress) != progress {
            (self.moved_at, self.turn) = (now, 0);
        }
        let stood = now - self.moved_at;
        let patience = registry.sleep.patience(stuck);
        let computing = self.look_at_clocks(registry, stood >= patience);
        let (patience, free) = match computing {
            Some(computing) => (patience, computing < registry.sleep.width()),
            None if self.time.saturating_sub(since) > STALL / 2 => (patience * BUSY, true),
            None => (patience, true),
        };
        if free && stood >= patience {
            self.moved_at = now;
            self.one_more(registry, &[Next::Awaited, Next::Newest, Next::Oldest]);
        }
    }

    /// If the surplus runners are stuck, they would keep everything that is not urgent from being
    /// begun.
    fn look_at_surplus(&mut self, registry: &Arc<Registry>) {
        let is_full = registry.sleep.is_full();
        if std::mem::replace(&mut self.was_full, is_full) && is_full {
            _ = self.look_at_clocks(registry, false);
            self.marks_one(registry);
        }
    }

    /// One more thread is to run. Which entry of the injector it takes changes from time to time:
    /// `turns`.
    fn one_more(&mut self, registry: &Arc<Registry>, turns: &[Next]) {
        registry.injector.set_next(turns[self.turn % turns.len()]);
        self.turn += 1;
        if !self.marks_one(registry) {
            registry.recruit_more();
        }
    }

    /// Marks a runner that is stuck, so that another thread takes its place. False: there is none,
    /// or the other thread would find no index.
    fn marks_one(&mut self, registry: &Arc<Registry>) -> bool {
        if registry.exclusive.is_some() {
            return false;
        }
        for slot in of_places(&registry.slots()) {
            let seen = self.seen(slot);
            // (What is in a call that waits is counted there.)
            if !slot.standing.is_moving() || seen.moved || seen.computed || seen.call.is_some() {
                continue;
            }
            let clock = slot.call.clock();
            let wants = clock.is_some_and(|(clock, _)| clock.wants_to_run() == Some(true));
            if !wants && registry.sleep.block_another(|| slot.standing.mark()) {
                close_mailbox(registry, slot, &|| slot.standing.is_marked());
                return true;
            }
        }
        false
    }

    /// How many of the pool's threads have computed since the last call. `None`: this system does
    /// not say. `states`: those that have used little time, but would if they had a processor, are
    /// wanted, too.
    fn look_at_clocks(&mut self, registry: &Arc<Registry>, states: bool) -> Option<usize> {
        ThreadClock::mine()?;
        let now = Instant::now();
        let least = (now - self.clocks_at) / 8;
        self.clocks_at = now;
        let mut computing = 0;
        for slot in of_places(&registry.slots()) {
            let seen = self.seen(slot);
            let before = seen.used.take();
            seen.computed = false;
            let Some((clock, used)) = slot.call.clock() else {
                continue;
            };
            seen.used = Some(used);
            let computes = before.is_none_or(|before| used.saturating_sub(before) > least)
                || states && clock.wants_to_run() == Some(true);
            seen.computed = computes;
            computing += usize::from(computes);
        }
        Some(computing)
    }

    /// Marks the deques of those workers that have taken nothing since the last look.
    fn look_at_workers(&mut self, registry: &Registry) {
        for slot in of_places(&registry.slots()) {
            let (now, seen) = (slot.taken_entries(), self.seen(slot));
            seen.moved = seen.taken.replace(now) != Some(now);
            if slot.public.has_tasks() && !seen.moved {
                registry.leave_queues(slot);
            }
        }
    }

    /// How many workers have waited since the last look for something that no pool runs.
    fn look_at_waits(&mut self, registry: &Arc<Registry>) -> usize {
        let mut long = 0;
        for slot in of_places(&registry.slots()) {
            let (now, seen) = (slot.wait(), self.seen(slot));
            long += usize::from(now.is_some() && seen.wait == now);
            seen.wait = now;
        }
        long
    }

    /// How many calls wait, plus those that may begin on trust.
    fn look_at_calls(&mut self, registry: &Arc<Registry>) -> usize {
        let now = Instant::now();
        let least = (now - self.at) / 8;
        let (mut waiting, mut new, mut computing, mut unknown) = (0, 0_usize, 0, 0);
        for slot in of_places(&registry.slots()) {
            let seen = self.seen(slot);
            let before = seen.call.take();
            let Some(sample) = slot.call.sample(before.as_ref(), least) else {
                continue;
            };
            seen.call = Some(sample);
            if sample.waits {
                waiting += 1;
                new += usize::from(slot.call.mark_waiting(sample.call));
                close_mailbox(registry, slot, &|| slot.call.is_in(sample.call));
            } else if before.is_some_and(|before| before.call == sample.call) {
                computing += 1;
            } else {
                unknown += 1;
            }
        }
        // Calls of which nothing is known yet keep the trust of before; the others are counted by
        // now.
        let trust = self.trust.min(unknown) + TRUST * new.saturating_sub(computing);
        (self.at, self.trust) = (now, trust);
        (waiting + trust).min(MAX_SPARES)
    }
}
