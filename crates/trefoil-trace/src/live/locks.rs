//! Who holds which lock, and what code waits for at one.
//!
//! **Job.** A table of the locks that are held or that writers wait for, by their addresses. A lock
//! that is in it does not move, because a guard or a waiter borrows it. What was taken before
//! anybody listened is not in it.
//!
//! **Protocol.** 1. A holder is entered after it has taken the lock, and taken out before it
//! releases it: whoever is in the table holds the lock. 2. A wait is noted after a look that found
//! the lock taken, and forgotten before the next look: what is noted as waiting has not taken it.
//!
//! **Whose a guard is.** The code that has taken it: a task, or a thread outside all tasks. A guard
//! that owns its lock (`lock_arc`) is made to be given away, and proves nothing. If a guard is
//! dropped by other code all the same, the locks that were made in that place prove nothing from
//! then on.
//!
//! Tests: `tests/tasks/seeded.rs`.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::Ordering::Relaxed;
use std::sync::atomic::{AtomicU64, AtomicUsize}; // counters: no protocol

use super::id_hasher::Ids;
use crate::event::Site;
use crate::loom::Mutex;

/// How many parts the table has.
const PARTS: usize = 16;

/// How many locks the table has at most. What is beyond that has no known holder.
const MOST_LOCKS: usize = 1 << 18;

/// What code can wait for besides tasks, timers and descriptors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)] // the types of `sync` with these names
pub enum LockKind {
    Mutex,
    RwLock,
    ReentrantMutex,
    OnceCell,
    Semaphore,
    Event,
    Barrier,
    Condvar,
    Channel,
    Watch,
    Broadcast,
}

/// A lock, a channel or the like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lock {
    /// Where it was made. `None`: only its holder knows.
    pub made_at: Option<Site>,
    /// Where it is in memory.
    pub address: usize,
    /// Its type.
    pub kind: LockKind,
}

/// How a lock is held or wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// By one alone.
    Alone,
    /// With others.
    Shared,
    /// It has no holders: an event, a channel.
    Turn,
}

/// Who has taken a lock.
#[derive(Clone, Copy, Debug)]
pub(super) struct Holder {
    /// The task, or the thread outside tasks; 0: it is not known.
    pub(super) by: u64,
    /// Different for each taking.
    pub(super) serial: u64,
    /// The mark of the task that has taken it; 0: code outside tasks has.
    pub(super) mark: usize,
    pub(super) access: Access,
    /// Whether the guard counts as the taker's.
    pub(super) is_kept: bool,
}

/// One lock.
#[derive(Clone, Debug)]
pub(super) struct LockState {
    pub(super) lock: Lock,
    pub(super) first: Option<Holder>,
    /// The other readers.
    pub(super) more: Vec<Holder>,
    /// The writers that wait, of those that were asked to; 0: it is not known who.
    pub(super) writers: Vec<u64>,
}

type Part = HashMap<usize, LockState, Ids>;

#[derive(Default)]
pub(crate) struct Locks {
    parts: [Mutex<Part>; PARTS],
    serial: AtomicU64, // no protocol
    /// How much code waits for a lock that others may hold.
    waits: AtomicUsize, // no protocol
    /// Where locks were made whose guards were given away.
    given_away: Mutex<HashSet<Site>>,
}

impl LockState {
    fn new(lock: Lock) -> Self {
        Self {
            lock,
            first: None,
            more: Vec::new(),
            writers: Vec::new(),
        }
    }

    pub(super) fn holders(&self) -> impl Iterator<Item = &Holder> {
        self.first.iter().chain(&self.more)
    }

    fn is_empty(&self) -> bool {
        self.first.is_none() && self.writers.is_empty()
    }

    fn add(&mut self, holder: Holder) {
        // One that holds it alone proves that earlier ones were left behind by another lock at this
        // address.
        let is_stale = |before: &Holder| [before.access, holder.access].contains(&Access::Alone);
        self.more.retain(|before| !is_stale(before));
        if self.first.as_ref().is_some_and(is_stale) {
            self.first = self.more.pop();
        }
        match self.first {
            None => self.first = Some(holder),
            Some(_) => self.more.push(holder),
        }
    }

    fn take_out(&mut self, by: u64, access: Access) -> Option<Holder> {
        let is_it = |holder: &Holder| (holder.by, holder.access) == (by, access);
        if self.first.as_ref().is_some_and(is_it) {
            return std::mem::replace(&mut self.first, self.more.pop());
        }
        let place = self.more.iter().position(is_it)?;
        Some(self.more.swap_remove(place))
    }
}

impl Locks {
    fn part(&self, address: usize) -> &Mutex<Part> {
        &self.parts[(address >> 4) % PARTS]
    }

    /// Changes the state of a lock, which is made if there is room and forgotten if it is empty.
    fn change<R>(&self, lock: Lock, change: impl FnOnce(&mut LockState) -> R) -> Option<R> {
        let mut part = self.part(lock.address).lock();
        if part.len() >= MOST_LOCKS / PARTS && !part.contains_key(&lock.address) {
            return None;
        }
        let state = part
            .entry(lock.address)
            .or_insert_with(|| LockState::new(lock));
        if lock.made_at.is_some() {
            state.lock = lock;
        }
        let result = change(state);
        if state.is_empty() {
            part.remove(&lock.address);
        }
        Some(result)
    }

    /// Code begins to wait for a lock, or (-1) waits no more. In a forked child that may have begun
    /// in the parent: then the count is too high.
    pub(super) fn count_wait(&self, access: Access, by: isize) {
        if access != Access::Turn {
            self.waits.fetch_add(by as usize, Relaxed);
        }
    }

    /// Whether any code waits for a lock that others may hold.
    pub(super) fn may_be_waited_for(&self) -> bool {
        self.waits.load(Relaxed) != 0
    }

    /// It is taken now.
    pub(super) fn add(&self, lock: Lock, mut holder: Holder) {
        holder.serial = self.serial.fetch_add(1, Relaxed) + 1;
        self.change(lock, |state| state.add(holder));
    }

    /// It is about to be released. Returns who had it, and where it was made.
    pub(super) fn take_out(
        &self,
        address: usize,
        by: u64,
        access: Access,
    ) -> Option<(Holder, Option<Site>)> {
        let mut part = self.part(address).lock();
        let state = part.get_mut(&address)?;
        let holder = state.take_out(by, access)?;
        let made_at = state.lock.made_at;
        if state.is_empty() {
            part.remove(&address);
        }
        Some((holder, made_at))
    }

    /// A writer waits for it.
    pub(super) fn add_writer(&self, lock: Lock, who: u64) {
        self.change(lock, |state| state.writers.push(who));
    }

    /// That writer does not wait any more.
    pub(crate) fn take_writer_out(&self, lock: Lock, who: u64) {
        self.change(lock, |state| {
            if let Some(place) = state.writers.iter().position(|writer| *writer == who) {
                state.writers.swap_remove(place);
            }
        });
    }

    /// The lock is dropped: what guards have been forgotten of it means nothing for the next one at
    /// its address.
    pub(crate) fn forget(&self, address: usize) {
        self.part(address).lock().remove(&address);
    }

    pub(super) fn state(&self, address: usize) -> Option<LockState> {
        self.part(address).lock().get(&address).cloned()
    }

    /// The addresses of the locks that this one has taken.
    pub(super) fn held_by(&self, by: u64) -> Vec<usize> {
        let mut held = Vec::new();
        for part in &self.parts {
            let part = part.lock();
            let its = part
                .iter()
                .filter(|(_, state)| state.holders().any(|one| one.by == by));
            held.extend(its.map(|(address, _)| *address));
        }
        held
    }

    /// The guards of this one count as nobody's from now on.
    pub(super) fn disown(&self, by: u64) {
        for part in &self.parts {
            for state in part.lock().values_mut() {
                let holders = state.first.iter_mut().chain(&mut state.more);
                holders
                    .filter(|holder| holder.by == by)
                    .for_each(|holder| holder.is_kept = false);
            }
        }
    }

    /// A guard of a lock that was made here was dropped by other code than that which had taken it.
    pub(super) fn was_given_away(&self, made_at: Option<Site>) {
        self.given_away.lock().extend(made_at);
    }

    /// Whether a guard counts as its taker's.
    pub(super) fn is_trusted(&self, lock: Lock) -> bool {
        lock.made_at
            .is_some_and(|site| !self.given_away.lock().contains(site))
    }
}

impl LockKind {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Mutex => "Mutex",
            Self::RwLock => "RwLock",
            Self::ReentrantMutex => "ReentrantMutex",
            Self::OnceCell => "OnceCell",
            Self::Semaphore => "Semaphore",
            Self::Event => "Event",
            Self::Barrier => "Barrier",
            Self::Condvar => "Condvar",
            Self::Channel => "channel",
            Self::Watch => "watch channel",
            Self::Broadcast => "broadcast channel",
        }
    }
}
