//! Finds code that can never go on: the proof of a deadlock.
//!
//! **Job.** From a task or a thread that begins to wait, follows what it waits for, and what that
//! waits for. A proof is a circle, or ends at something that nothing can bring about: a future
//! without a waker, a lock whose holder has ended. Then further looks at each step must find the
//! same turn, the same holder. So all steps were there at one moment between the looks.
//!
//! **Why that is enough.** A step leads from code that waits for nothing else to what it waits for:
//! 1. the end of a task: the thread is blocked in a `join` without a deadline; or it is a future
//!    whose only waker is left with that task; or its thread runs that task on top of it;
//! 2. a lock that another has, in the same ways; a writer waits for each reader;
//! 3. a lock that a reader has and a writer waits for: a new reader waits for that writer, if all
//!    writers that wait can do nothing else.
//!
//! What it leads to cannot happen before the step after it has been taken. So none is ever taken,
//! until somebody cancels a task, or ends its executor. `locks` says whose a guard is.
//!
//! **Orphans.** To be cancelled is how many futures without a waker are meant to end. So one that
//! has a handle counts only if that is with code that cannot end before: blocked code of its own
//! pool, directly or through futures of that pool, each of which waits for the next. A mark says
//! from before the cancellation on that a task is cancelled (`place`).
//!
//! **Cost.** What adds the last step of a circle is waited for, so a circle is looked for in both
//! directions, as far as the shorter one leads: tasks that each wait for the one before cost some
//! steps each, in whichever order they begin. Where waiters are not kept (for locks that are
//! held, and for blocked tasks), the walk is as long as the way forward.
//!
//! The thread that adds the last step sees all others: what a place says is written and read across
//! a fence (`place`), the rest under locks.
//!
//! **Rejected.** To guess from a time without progress.
//!
//! Tests: `tests/tasks/stuck.rs::{two_tasks_that_join_each_other,
//! what_can_still_end_is_not_reported}`,
//! `tests/tasks/seeded.rs::what_can_still_go_on_is_not_reported`.

use std::collections::HashSet;

use super::id_hasher::Ids;
use super::locks::{Access, Holder, LockState};
use super::store::{
    BLOCKED, Entry, INSIDE, LockWait, ORPHAN, PART, Phase, SOLE, Store, THREAD, TIMED,
};
use crate::event::Kind;

/// Where one may go from a task or thread.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Way {
    /// What must end, or release the lock.
    to: u64,
    /// Which taking of the lock; 0: it is no lock.
    serial: u64,
}

/// A step of a proof.
#[derive(Clone, Copy, Debug)]
pub(super) struct Step {
    /// The task or thread that waits.
    pub(super) who: u64,
    turn: u32,
    way: Way,
}

impl Step {
    fn at(who: u64, seen: &Look) -> Self {
        Self {
            who,
            turn: seen.turn,
            way: Way { to: 0, serial: 0 },
        }
    }
}

/// Why no step of a proof is ever taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reason {
    /// The last leads to the first.
    Cycle,
    /// The last waits for a lock whose holder has ended.
    AbandonedLock,
    /// The last is a future without a waker.
    NeverWoken,
}

/// What is known of one task or thread.
struct Look {
    turn: u32,
    /// Other parts of its code may go on.
    is_part: bool,
    /// Each of them is reason enough to wait for ever, if it leads nowhere.
    ways: Vec<Way>,
    is_orphan: bool,
    /// It is a future that sleeps: whoever has its handle may cancel it.
    sleeps: bool,
}

impl Look {
    /// The task whose end it waits for.
    fn task(&self) -> Option<Way> {
        self.ways.first().copied().filter(|way| way.serial == 0)
    }
}

/// A proof that the code of `steps` can never go on.
#[derive(Debug)]
pub(super) struct Proof {
    pub(super) steps: Vec<Step>,
    pub(super) reason: Reason,
}

/// Whether the code waits for one thing alone, and for as long as it takes.
fn is_certain(entry: &Entry) -> bool {
    match entry.phase {
        Phase::Running => entry.flags & (BLOCKED | TIMED) == BLOCKED || entry.flags & INSIDE != 0,
        Phase::Waiting => entry.flags & SOLE != 0,
        Phase::Queued => false,
    }
}

fn look(store: &Store, who: u64) -> Option<Look> {
    #[cfg(all(test, not(loom)))]
    tests::LOOKS.with(|looks| looks.set(looks.get() + 1));
    let entry = store.entry(who)?;
    let is_orphan = entry.phase == Phase::Waiting && entry.flags & ORPHAN != 0;
    let mut ways = Vec::new();
    if is_certain(&entry) {
        let (sleeps, on) = (entry.phase == Phase::Waiting, entry.on);
        // A future may have left its waker with a task and with a lock, one after the other.
        let at_task = on != 0 && (!sleeps || store.entry(on).is_some_and(|on| on.waiter == who));
        match entry.wait {
            _ if at_task => ways.push(Way { to: on, serial: 0 }),
            Some(wait) if entry.flags & INSIDE == 0 => ways = at_lock(store, wait),
            _ => {}
        }
    }
    Some(Look {
        turn: entry.turn,
        is_part: entry.flags & PART != 0,
        ways,
        is_orphan,
        sleeps: entry.phase == Phase::Waiting && entry.kind != Kind::Root,
    })
}

/// Who must release the lock, or give up waiting for it, before this wait can end.
fn at_lock(store: &Store, wait: LockWait) -> Vec<Way> {
    let Some(state) = store.locks.state(wait.lock.address) else {
        return Vec::new();
    };
    if !store.locks.is_trusted(state.lock) {
        return Vec::new();
    }
    let in_the_way = |holder: &&Holder| {
        let excludes = [wait.access, holder.access].contains(&Access::Alone);
        excludes && holder.is_kept
    };
    let way = |holder: &Holder| Way {
        to: holder.by,
        serial: holder.serial,
    };
    match wait.access {
        Access::Turn => Vec::new(),
        Access::Shared if state.holders().all(|one| one.access == Access::Shared) => {
            behind_writers(store, &state)
        }
        Access::Alone | Access::Shared => state.holders().filter(in_the_way).map(way).collect(),
    }
}

/// A reader waits while others read: a writer is before it.
fn behind_writers(store: &Store, state: &LockState) -> Vec<Way> {
    let waits_here = |writer: &u64| {
        store.entry(*writer).is_some_and(|entry| {
            let here = |wait: LockWait| {
                wait.lock.address == state.lock.address && wait.access == Access::Alone
            };
            is_certain(&entry) && entry.on == 0 && entry.wait.is_some_and(here)
        })
    };
    if state.first.is_none() || !state.writers.iter().all(waits_here) {
        return Vec::new();
    }
    let way = |writer: &u64| Way {
        to: *writer,
        serial: 0,
    };
    state.writers.iter().map(way).collect()
}

/// Who waits for the end of this task, and for nothing else.
fn waiter(store: &Store, task: u64) -> Option<(u64, Look)> {
    let who = store.entry(task)?.waiter;
    let seen = look(store, who)?;
    let is_it = seen.task().is_some_and(|way| way.to == task);
    is_it.then_some((who, seen))
}

/// Who waits for one who waits.
enum Behind {
    Nobody,
    One(u64),
    /// Several may, or it is not kept who: for a lock that it has, or on the same thread.
    Unknown,
}

impl Behind {
    /// `is_outermost`: its thread does not run it on top of other code.
    fn of(store: &Store, who: u64, is_outermost: bool) -> Self {
        let Some(entry) = store.entry(who) else {
            return Self::Nobody;
        };
        let runs = entry.phase == Phase::Running && who & THREAD == 0;
        if runs && !is_outermost || store.locks.may_be_waited_for() && store.may_hold(who, &entry) {
            return Self::Unknown;
        }
        waiter(store, who).map_or(Self::Nobody, |(who, _)| Self::One(who))
    }
}

/// Whether this way leads to a lock whose holder has ended.
fn is_lost(store: &Store, wait: Way) -> bool {
    wait.serial != 0 && wait.to & THREAD == 0 && store.has_ended(wait.to)
}

impl Proof {
    /// A proof that `start`, which begins to wait, can never go on.
    pub(super) fn find(store: &'static Store, start: u64) -> Option<Self> {
        let seen = look(store, start)?;
        let step = |way| Step {
            way,
            ..Step::at(start, &seen)
        };
        if let Some(way) = seen.ways.iter().find(|way| is_lost(store, **way)) {
            return Self::checked(store, vec![step(*way)], Reason::AbandonedLock);
        }
        Self::circle(store, start, &seen).or_else(|| Self::above_an_orphan(store, start, seen))
    }

    /// A proof that this future, which nothing has a handle or a waker of, can never go on.
    pub(super) fn orphan(store: &Store, task: u64) -> Option<Self> {
        let seen = look(store, task)?;
        Self::checked(store, vec![Step::at(task, &seen)], Reason::NeverWoken)
    }

    /// Follows what `start` waits for back to `start`, and those who wait for `start` at the same
    /// time: where nobody does, there is no circle. So the shorter of both ways is walked.
    fn circle(store: &'static Store, start: u64, seen: &Look) -> Option<Self> {
        let mut behind = Behind::One(start);
        let is_outermost = store.runs_alone(start);
        let mut open = vec![(Step::at(start, seen), seen.ways.clone().into_iter())];
        let mut passed: HashSet<u64, Ids> = HashSet::default();
        loop {
            let (step, ways) = open.last_mut()?;
            let Some(way) = ways.next() else {
                open.pop();
                continue;
            };
            step.way = way;
            behind = match behind {
                Behind::Nobody => return None,
                Behind::One(who) => Behind::of(store, who, who == start && is_outermost),
                Behind::Unknown => Behind::Unknown,
            };
            let Some(seen) = look(store, way.to) else {
                continue;
            };
            // Another part of its code may release the lock.
            if way.serial != 0 && seen.is_part {
                continue;
            }
            if way.to == start {
                let steps = open.into_iter().map(|(step, _)| step).collect();
                return Self::checked(store, steps, Reason::Cycle);
            }
            if !seen.ways.is_empty() && passed.insert(way.to) {
                open.push((Step::at(way.to, &seen), seen.ways.into_iter()));
            }
        }
    }

    /// Whether `start` waits for the end of an orphan, directly or not, or is one, and code of the
    /// same pool is blocked until its end: so that nobody else has a handle of it, and the pool
    /// cannot end before. Both ways are walked at the same time, until one of them is at its end.
    fn above_an_orphan(store: &Store, start: u64, seen: Look) -> Option<Self> {
        let (mut above, mut below) = (Vec::new(), vec![Step::at(start, &seen)]);
        let (mut highest, mut lowest) = ((start, seen.sleeps), seen);
        while highest.1 || !lowest.is_orphan {
            if !lowest.is_orphan {
                let way = lowest.task()?;
                lowest = look(store, way.to).filter(|seen| seen.sleeps)?;
                below.last_mut()?.way = way;
                below.push(Step::at(way.to, &lowest));
            }
            if highest.1 {
                let (who, seen) = waiter(store, highest.0)?;
                above.push(Step {
                    way: seen.task()?,
                    ..Step::at(who, &seen)
                });
                highest = (who, seen.sleeps);
            }
        }
        above.reverse();
        above.append(&mut below);
        let pool = store.pool(above.first()?.who)?;
        let is_its = |step: &Step| store.pool(step.who) == Some(pool);
        let is_one_pools = above.iter().all(is_its);
        is_one_pools
            .then(|| Self::checked(store, above, Reason::NeverWoken))
            .flatten()
    }

    /// The proof, if further looks find its steps, too.
    fn checked(store: &Store, steps: Vec<Step>, reason: Reason) -> Option<Self> {
        let proof = Self { steps, reason };
        proof.holds(store).then_some(proof)
    }

    /// Whether it is to be looked at once more after a while: it rests on whose a guard is, or an
    /// executor may be about to end.
    pub(super) fn may_pass(&self) -> bool {
        self.reason == Reason::NeverWoken || self.steps.iter().any(|step| step.way.serial != 0)
    }

    /// Whether all of it is still there.
    pub(super) fn holds(&self, store: &Store) -> bool {
        let Some(last) = self.steps.last() else {
            return false;
        };
        let holds = |step: &Step| {
            look(store, step.who).is_some_and(|seen| {
                let goes_on = match (self.reason, step.who == last.who) {
                    (Reason::NeverWoken, true) => seen.is_orphan,
                    _ => seen.ways.contains(&step.way),
                };
                seen.turn == step.turn && goes_on
            })
        };
        // Twice, because who else waits for a lock has no turn.
        (0..2).all(|_| self.steps.iter().all(holds))
            && (self.reason != Reason::AbandonedLock || is_lost(store, last.way))
    }

    /// The same for each proof of the same deadlock.
    pub(super) fn key(&self) -> (u64, u64) {
        let last = self.steps.last().expect("a proof has a step");
        match self.reason {
            Reason::Cycle => {
                let least = self.steps.iter().map(|step| (step.who, step.turn.into()));
                least.min().expect("a proof has a step")
            }
            Reason::AbandonedLock => (0, last.way.serial),
            Reason::NeverWoken => (last.who, last.turn.into()),
        }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use std::cell::Cell;
    use std::panic::Location;

    use super::*;
    use crate::live::Wakers;
    use crate::live::locks::{Lock, LockKind};

    thread_local! {
        pub(super) static LOOKS: Cell<usize> = const { Cell::new(0) };
    }

    const MANY: u64 = 15_000;
    /// How many looks each task may cost.
    const EACH: usize = 32;

    #[allow(clippy::disallowed_methods)] // a table of the test's, which lives as the process's does
    fn store() -> &'static Store {
        LOOKS.set(0);
        Box::leak(Box::new(Store::new()))
    }

    /// The future `id` is polled, and waits for the end of `on`; `locks`: it has a lock.
    fn waits(store: &'static Store, id: u64, on: u64, locks: bool) -> Option<Proof> {
        store.begun(id, Location::caller(), Kind::Future);
        if locks {
            let lock = Lock {
                made_at: Some(Location::caller()),
                address: 16 * id as usize,
                kind: LockKind::Mutex,
            };
            store.lock_taken(lock, Access::Alone, 1, true);
        }
        store.registered(on, true);
        let may_be_stuck = store.paused(id, on, Wakers::One);
        may_be_stuck.then(|| Proof::find(store, id)).flatten()
    }

    fn spawn_all(store: &'static Store) {
        for id in 1..=MANY {
            store.spawned(id, 0, Location::caller(), Kind::Future);
        }
    }

    /// A chain, whose tasks begin to wait in this order: some looks for each, not for each pair.
    fn count(locks: bool, order: impl Iterator<Item = u64>) {
        let store = store();
        spawn_all(store);
        for id in order.filter(|id| (2..=MANY).contains(id)) {
            assert!(waits(store, id, id - 1, locks).is_none());
        }
        let looks = LOOKS.get();
        assert!(looks <= EACH * MANY as usize, "{looks} looks");
        // It becomes a ring: one walk, and the looks at each step.
        LOOKS.set(0);
        let proof = waits(store, 1, MANY, locks).expect("a circle");
        assert_eq!(
            (proof.steps.len(), proof.reason),
            (MANY as usize, Reason::Cycle)
        );
        assert!(LOOKS.get() <= EACH * MANY as usize);
    }

    #[test]
    fn each_waits_for_the_one_before() {
        count(false, 2..=MANY);
    }

    #[test]
    fn each_has_a_lock_as_well() {
        count(true, 2..=MANY);
    }

    #[test]
    fn each_waits_for_the_one_after() {
        count(false, (2..=MANY).rev());
    }

    #[test]
    fn pairs_that_wait_for_the_pair_before() {
        count(false, (1..=MANY / 2).flat_map(|n| [2 * n + 1, 2 * n]));
        count(false, (1..=MANY / 2).rev().flat_map(|n| [2 * n, 2 * n + 1]));
    }

    /// Two halves of a chain of runs, again and again.
    #[test]
    fn in_any_order() {
        let mut order: Vec<u64> = (2..=MANY).collect();
        let mut state = 1_u64;
        for n in (1..order.len()).rev() {
            state = state
                .wrapping_mul(6364136223846793005)
                .wrapping_add(1442695040888963407);
            order.swap(n, (state >> 33) as usize % (n + 1));
        }
        count(false, order.into_iter());
    }
}
