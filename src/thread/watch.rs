//! The watch over a pool whose runners may all be stuck: a look every [`STALL`], by a helper
//! thread.
//!
//! A blocked worker, or a call that may block (`blocking.rs`), needs a watch as soon as work is
//! queued and no thread is free for it. There is at most one for a pool (a bit in its word). At
//! each look, the watch
//! 1. ends if no worker is blocked and no call in progress, or if nothing is queued;
//! 2. reads the clocks of the threads that are in calls, and widens the pool by the number of
//!    waiting calls;
//! 3. counts the workers that have waited since the last look for something that no pool runs:
//!    twice as many may be replaced;
//! 4. counts the entries taken from the queues. If there was none while a worker is blocked, one
//!    more thread runs, and takes the newest entry, since the others may wait for it: the *stall
//!    rule* (`sleep/blocked.rs`). If so many wait that fewer run than should, twice as many are
//!    added as the last time. If this process computes meanwhile, or would if it had a processor,
//!    eight times as long must pass first, and the process must have computed for half of that,
//!    since the waiters may wait for that computation.
//!
//! It holds the pool only while it looks, so it does not keep a dropped pool alive. It runs no user
//! code.
//!
//! Rejected: one of the pool's threads as the watcher (a third reason to wake or start a thread,
//! hooks on a thread that runs no tasks, and a thread that a broadcast and the pool's end must not
//! wait for).
//!
//! Tests: `tests/thread/blocking.rs`, `tests/thread/pool.rs` (stalls).

use std::collections::HashMap;
use std::sync::{Arc, Weak};
use std::thread::sleep;
use std::time::{Duration, Instant};

use super::call::Sample;
use super::registry::Registry;
use super::sleep::STALL;
use crate::helper;
use crate::sys::clock;
use crate::sys::thread_clock::ThreadClock;

/// The most threads by which a pool is widened.
const MAX_STAND_INS: usize = 512;

/// For each call that is seen to wait, this many may begin on trust.
const TRUST: usize = 3;

/// After this many looks with progress, a new stall begins from the start.
const CALM: u32 = 8;

/// The observations of the last look.
struct Watch {
    at: Instant,
    /// When another thread must run although the process computes, if nothing is taken from the
    /// queues until then.
    stalled: Instant,
    /// The number of entries taken at that moment.
    progress: u64,
    /// By the number of the slot.
    seen: HashMap<usize, Sample>,
    /// How many calls that began since then are assumed to wait.
    trust: usize,
    /// The waits of the slots with these numbers.
    waits: HashMap<usize, u64>,
    /// How many more workers are replaced because there was no progress.
    stalls: usize,
    /// How many were added at the last stall.
    step: usize,
    /// How many consecutive looks found progress.
    moved: u32,
    /// The process's time at the last look, and when the stall rule was delayed, if it is now.
    time: Duration,
    put_off: Option<Duration>,
}

/// Starts the watch over a pool. False: the system gives no thread for it.
pub(super) fn start(registry: &Arc<Registry>) -> bool {
    let watched = Arc::downgrade(registry);
    let started = helper::start(move || watch(&watched)).is_ok();
    if !started {
        registry.sleep.end_watch();
    }
    started
}

fn watch(registry: &Weak<Registry>) {
    let begun = registry.upgrade().as_ref().map(Watch::begin);
    if let Some(mut watch) = begun {
        while watch.goes_on(registry) {}
    }
}

impl Watch {
    fn begin(registry: &Arc<Registry>) -> Self {
        let mut watch = Self {
            at: Instant::now(),
            stalled: Instant::now() + registry.sleep.patience(),
            progress: registry.progress(),
            seen: HashMap::new(),
            trust: 0,
            waits: HashMap::new(),
            stalls: 0,
            step: 0,
            moved: 0,
            time: clock::of_process(),
            put_off: None,
        };
        // None is known to wait yet.
        watch.look_at_calls(registry);
        watch.look_at_waits(registry);
        watch
    }

    /// Waits, and looks. False: no watch is needed any more.
    fn goes_on(&mut self, registry: &Weak<Registry>) -> bool {
        sleep(STALL);
        let Some(registry) = registry.upgrade() else {
            return false;
        };
        let needed = registry.sleep.needs_watch() && registry.has_work();
        if needed {
            registry.sleep.widen(self.look_at_calls(&registry));
            let long = self.look_at_waits(&registry);
            let more = (2 * long).min(MAX_STAND_INS);
            self.look_at_queues(&registry, more);
            registry.sleep.grant(more + self.stalls);
            registry.recheck();
        } else {
            registry.sleep.end_trust();
            registry.sleep.end_watch();
            registry.recheck();
        }
        // It may be the last reference, and the pool's hooks go with it.
        helper::contain(|| drop(registry));
        needed
    }

    /// The stall rule.
    fn look_at_queues(&mut self, registry: &Arc<Registry>, more: usize) {
        let before = std::mem::replace(&mut self.time, clock::of_process());
        // Where other processes have taken the processors, little time has been used.
        let computes = self.time.saturating_sub(before) > STALL / 2
            || self.progress == registry.progress() && ThreadClock::another_wants_to_run();
        // Workers that have come back need no replacement.
        let unreplaced = registry.sleep.unreplaced(more);
        self.stalls = self.stalls.min(unreplaced + self.step);
        // If nothing computes, the runners are stuck, not busy; but there may be many of them.
        let may_wait = computes || registry.sleep.is_crowded();
        if may_wait && Instant::now() < self.stalled {
            return;
        }
        let before = std::mem::replace(&mut self.progress, registry.progress());
        let stands = self.progress == before && registry.sleep.counts().blocked() > 0;
        let lacks = unreplaced > self.stalls;
        let since = self.put_off.unwrap_or(self.time);
        let short = self.put_off.is_none() || self.time.saturating_sub(since) < 4 * STALL;
        let put_off = stands && lacks && computes && short;
        self.moved = if stands { 0 } else { self.moved + 1 };
        if self.moved > CALM {
            self.step = 0;
        }
        if put_off {
            self.stalled = Instant::now() + 8 * STALL;
        } else if stands && lacks {
            self.step = 2 * self.step + 1;
            self.stalls = unreplaced + self.step;
            registry.injector.turn_round();
        } else {
            if stands {
                registry.injector.turn_round();
                registry.recruit_more();
            }
            self.stalled = Instant::now() + registry.sleep.patience();
        }
        self.put_off = put_off.then_some(since);
    }

    /// How many workers have waited since the last look for something that no pool runs.
    fn look_at_waits(&mut self, registry: &Arc<Registry>) -> usize {
        let slots = registry.slots();
        let waits = slots
            .iter()
            .filter_map(|slot| Some((slot.number, slot.wait()?)));
        let waits: HashMap<usize, u64> = waits.collect();
        let long = waits
            .iter()
            .filter(|(number, wait)| self.waits.get(number) == Some(wait));
        let long = long.count();
        self.waits = waits;
        long
    }

    /// How many calls wait, plus those that may begin on trust.
    fn look_at_calls(&mut self, registry: &Arc<Registry>) -> usize {
        let now = Instant::now();
        let least = (now - self.at) / 8;
        let (mut waiting, mut new, mut computing, mut unknown) = (0, 0_usize, 0, 0);
        let mut seen = HashMap::new();
        for slot in registry.slots().iter() {
            let before = self.seen.get(&slot.number);
            let Some(sample) = slot.call.sample(before, least) else {
                continue;
            };
            seen.insert(slot.number, sample);
            if sample.waits {
                waiting += 1;
                new += usize::from(slot.call.mark_waiting(sample.call));
                registry.close_mailbox(slot, || slot.call.is_in(sample.call));
            } else if before.is_some_and(|before| before.call == sample.call) {
                computing += 1;
            } else {
                unknown += 1;
            }
        }
        // Earlier trust is kept for calls of which nothing is known yet: the others are counted by
        // now.
        let trust = self.trust.min(unknown) + TRUST * new.saturating_sub(computing);
        (self.at, self.seen, self.trust) = (now, seen, trust);
        (waiting + trust).min(MAX_STAND_INS)
    }
}
