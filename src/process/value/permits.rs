//! Permits: a semaphore for the workers of process pools, which a death cannot keep.
//!
//! `pages::permit_words` has the protocol; these are the handles on it, and the list of those that
//! the end of a worker concerns: `Driver::remove` returns the permits of a dead one.
//!
//! Tests: `tests/process/permits.rs`.
#![allow(clippy::disallowed_types)] // atomics shared with other processes: never loom's

use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::shared::SharedAtomics;
use crate::loom::Mutex;
use crate::loom::atomic::AtomicU32;
use crate::parking::block_on::refuse;
use crate::parking::park::{blocked, blocking_refused};
use crate::process::limits::MOST_PERMITS;
use crate::process::pages::permit_words::{PermitWords, Sleep};
use crate::sys::futex;

/// At most so many at a time, over all workers: a semaphore that processes share. From
/// [`ProcessPool::permits`](crate::ProcessPool::permits).
///
/// For something that only a few can use at a time: connections to a database, licences, a slow
/// disk. It is sent in arguments and contexts, alone or as a part of them; all copies are the same
/// permits. When a worker of the pool dies, however it does, its permits are free again within
/// milliseconds.
///
/// That holds for the workers of the pool and of its [actors](crate::ProcessPool::actor), and as
/// long as the pool exists. Nobody gives back the permits of a dead process of another pool, or of
/// one that a worker, or a fork, has started.
///
/// ```
/// use trefoil::ProcessPool;
/// use trefoil::process::Permits;
///
/// # trefoil::init();
/// let procs = ProcessPool::with_workers(4)?;
/// let db = procs.permits("db", 2);
/// let rows = procs.map_with(&db, 0..20, |db: &Permits, row: u64| {
///     let _one = db.acquire(); // at most two of the four workers at a time
///     row * row
/// })?;
/// assert_eq!(rows.len(), 20);
/// assert_eq!(db.available(), 2);
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// ```
///
/// # Cost
/// One descriptor and four bytes for each permit, as for [`SharedAtomics`], until the pool ends.
///
/// # Errors
/// A call of a pool with [plain workers](crate::ProcessPoolBuilder::plain_workers), those on other
/// machines included, fails with [`TaskError::Codec`](crate::TaskError::Codec): they share no
/// memory. There, make a pool of as many workers as there are permits.
#[derive(Clone)]
pub struct Permits(Arc<PermitSet>);

struct PermitSet {
    name: String,
    words: SharedAtomics<AtomicU32>,
}

/// One of some [`Permits`]; dropping it gives it back.
///
/// ```
/// use trefoil::process::Permits;
///
/// # trefoil::init();
/// let procs = trefoil::ProcessPool::with_workers(2)?;
/// let one = procs.permits("database", 1);
/// let rows = procs.call_with(&one, |one: &Permits, row: u32| {
///     let _permit = one.acquire(); // the other worker waits until it is dropped
///     row * 10
/// });
/// assert_eq!(rows.map(0..3)?, [0, 10, 20]);
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// ```
#[must_use = "the permit is given back when this is dropped"]
#[clippy::has_significant_drop]
#[derive(Debug)]
pub struct Permit {
    permits: Permits,
    index: usize,
}

/// The permits of one pool and its actors, each under its name.
#[derive(Clone, Default)]
pub(crate) struct AllPermits(Arc<Mutex<Vec<Permits>>>);

impl AllPermits {
    /// The permits of this name, or else `permits` new ones.
    pub(crate) fn named(&self, name: String, permits: usize) -> Permits {
        let mut all = self.0.lock();
        if let Some(known) = all.iter().find(|known| known.name() == name) {
            return known.clone();
        }
        let new = Permits::new(name, permits);
        all.push(new.clone());
        new
    }

    /// Takes back what a worker had, which has ended.
    pub(crate) fn release_of(&self, pid: u32) {
        let all = self.0.lock().clone();
        for permits in all {
            permits.words().release_of(pid, &Futex);
        }
    }
}

impl Permits {
    pub(crate) fn new(name: String, permits: usize) -> Self {
        let words = vec![0; permits.clamp(1, MOST_PERMITS) + 1];
        Self(Arc::new(PermitSet {
            name,
            words: SharedAtomics::from(words),
        }))
    }

    fn words(&self) -> PermitWords<'_> {
        PermitWords(&self.0.words)
    }

    fn permit(&self, index: usize) -> Permit {
        let permits = self.clone();
        Permit { permits, index }
    }

    /// What they were called when they were made.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.0.name
    }

    /// How many are free at this moment.
    #[must_use]
    pub fn available(&self) -> usize {
        self.words().available()
    }

    /// Takes a permit if one is free.
    #[must_use]
    pub fn try_acquire(&self) -> Option<Permit> {
        let taken = self.words().try_acquire(std::process::id())?;
        Some(self.permit(taken))
    }

    /// Waits for a permit, and takes it. The first to come when one is released gets it: there is
    /// no order among those that wait.
    ///
    /// The call cannot be cancelled while it waits here: after the grace period its worker is
    /// killed.
    ///
    /// # Panics
    /// On a thread that must not block, an event loop's for example, if no permit is free.
    pub fn acquire(&self) -> Permit {
        self.try_acquire().unwrap_or_else(|| {
            if blocking_refused() {
                refuse("permits.try_acquire()");
            }
            let own = std::process::id();
            self.permit(blocked(|| self.words().acquire(own, &Futex)))
        })
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let words = self.permits.words();
        words.release(self.index, std::process::id(), &Futex);
    }
}

/// Sleeps in the kernel.
struct Futex;

impl Sleep for Futex {
    fn wait(&self, word: &AtomicU32, value: u32) {
        futex::wait(word, value, None);
    }

    fn wake(&self, word: &AtomicU32, all: bool) {
        futex::wake(word, if all { i32::MAX as u32 } else { 1 });
    }
}

impl Serialize for Permits {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        (&self.0.name, &self.0.words).serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Permits {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let (name, words): (String, SharedAtomics<AtomicU32>) =
            Deserialize::deserialize(deserializer)?;
        if words.len() < 2 {
            return Err(serde::de::Error::custom("they are not permits"));
        }
        Ok(Self(Arc::new(PermitSet { name, words })))
    }
}

debug!(
    impl Permits,
    self,
    name = self.0.name,
    available = self.available()
);
