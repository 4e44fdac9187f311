//! Finds code that can never go on: the proof of a deadlock.
//!
//! **Job.** From a task or a thread that begins to wait, follows what it waits for, and whatever
//! that waits for. The way ends in a circle, or at something that nothing can bring about: a future
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
//! The thread that adds the last step sees all others: what a place says is written and read across
//! a fence (`place`), the rest under locks.
//!
//! **Rejected.** To guess from a time without progress.
//!
//! Tests: `tests/tasks/{stuck,seeded}.rs`.

use std::collections::HashMap;

use super::id_hasher::Ids;
use super::locks::{Access, Holder, LockState};
use super::store::{
    BLOCKED, Entry, INSIDE, LockWait, ORPHAN, PART, Phase, SOLE, Store, THREAD, TIMED,
};

/// How many steps a way has at most.
const LONGEST: usize = 10_000;

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
    Circle,
    /// The last waits for a lock whose holder has ended.
    LostLock,
    /// The last is a future without a waker.
    Orphan,
}

/// What is known of one task or thread.
struct Look {
    turn: u32,
    /// Other parts of its code may go on.
    is_part: bool,
    /// Each of them is reason enough to wait for ever, if it leads nowhere.
    ways: Vec<Way>,
    is_orphan: bool,
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

/// Whether this way leads to a lock whose holder has ended.
fn is_lost(store: &Store, wait: Way) -> bool {
    wait.serial != 0 && wait.to & THREAD == 0 && store.has_ended(wait.to)
}

impl Proof {
    /// A proof that begins with `start`, or with what that waits for.
    pub(super) fn find(store: &Store, start: u64) -> Option<Self> {
        let seen = look(store, start)?;
        if seen.is_orphan {
            let step = Step::at(start, &seen);
            return Self::checked(store, vec![step], 0, Reason::Orphan);
        }
        // Most often that is all: nothing, or something that runs.
        let leads_on = |way: &Way| {
            let goes_on = |seen: Look| seen.is_orphan || !seen.ways.is_empty();
            is_lost(store, *way) || look(store, way.to).is_some_and(goes_on)
        };
        if !seen.ways.iter().any(leads_on) {
            return None;
        }
        let mut open = vec![(Step::at(start, &seen), seen.ways.into_iter())];
        let mut passed: HashMap<u64, usize, Ids> = HashMap::default();
        passed.insert(start, 0);
        loop {
            let (step, ways) = open.last_mut()?;
            let Some(way) = ways.next() else {
                open.pop();
                continue;
            };
            step.way = way;
            let steps = |open: Vec<(Step, _)>| open.into_iter().map(|(step, _)| step).collect();
            if is_lost(store, way) {
                return Self::checked(store, steps(open), 0, Reason::LostLock);
            }
            let Some(seen) = look(store, way.to) else {
                continue;
            };
            // Another part of its code may release the lock.
            if way.serial != 0 && seen.is_part || open.len() >= LONGEST {
                continue;
            }
            if let Some(&place) = passed.get(&way.to) {
                if open.get(place).is_some_and(|(step, _)| step.who == way.to) {
                    return Self::checked(store, steps(open), place, Reason::Circle);
                }
                continue;
            }
            passed.insert(way.to, open.len());
            open.push((Step::at(way.to, &seen), seen.ways.into_iter()));
            if seen.is_orphan {
                return Self::checked(store, steps(open), 0, Reason::Orphan);
            }
        }
    }

    /// The steps from the one with this number on, if further looks find them, too.
    fn checked(store: &Store, steps: Vec<Step>, first: usize, reason: Reason) -> Option<Self> {
        let steps = steps[first..].to_vec();
        let proof = Self { steps, reason };
        proof.holds(store).then_some(proof)
    }

    /// Whether it rests on whose a guard is.
    pub(super) fn has_locks(&self) -> bool {
        self.steps.iter().any(|step| step.way.serial != 0)
    }

    /// Whether all of it is still there.
    pub(super) fn holds(&self, store: &Store) -> bool {
        let Some(last) = self.steps.last() else {
            return false;
        };
        let holds = |step: &Step| {
            look(store, step.who).is_some_and(|seen| {
                let goes_on = match (self.reason, step.who == last.who) {
                    (Reason::Orphan, true) => seen.is_orphan,
                    _ => seen.ways.contains(&step.way),
                };
                seen.turn == step.turn && goes_on
            })
        };
        // Twice, because who else waits for a lock has no turn.
        (0..2).all(|_| self.steps.iter().all(holds))
            && (self.reason != Reason::LostLock || is_lost(store, last.way))
    }

    /// The same for each proof of the same deadlock.
    pub(super) fn key(&self) -> (u64, u64) {
        let last = self.steps.last().expect("a proof has a step");
        match self.reason {
            Reason::Circle => {
                let least = self.steps.iter().map(|step| (step.who, step.turn.into()));
                least.min().expect("a proof has a step")
            }
            Reason::LostLock => (0, last.way.serial),
            Reason::Orphan => (last.who, last.turn.into()),
        }
    }
}
