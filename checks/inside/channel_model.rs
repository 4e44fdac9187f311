//! The places of a channel for the models: processes are threads, the pipe is a number.
//!
//! What they drive is `places.rs` as it is. A process that is killed unwinds out of the system call that it was
//! in. Time is left out: places are mended at any moment, as if everybody else were dead, and each time may cost one item
//! above the capacity. Exists under `--cfg loom` only.
#![allow(missing_docs, missing_debug_implementations)]

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

use super::places::{Places, WORDS};
use crate::loom::atomic::AtomicU64;
use crate::loom::{Condvar, Mutex};

/// Where a process is killed.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Killed {
    Not,
    /// Before its record was written, or read.
    Before,
    /// After.
    After,
}

/// A step that a model leaves out, to see itself fail.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Broken {
    No,
    /// Places are mended even if the counters have moved since they were read.
    Blind,
    /// Who has given a place back does not look whether it is awaited.
    NoBell,
}

/// What unwinds in [`unless_killed`].
struct Kill;

fn kill() -> ! {
    resume_unwind(Box::new(Kill))
}

fn unless_killed<T>(act: impl FnOnce() -> T) -> Option<T> {
    match catch_unwind(AssertUnwindSafe(act)) {
        Ok(done) => Some(done),
        Err(panic) if panic.is::<Kill>() => None,
        Err(panic) => resume_unwind(panic),
    }
}

pub struct Channel {
    words: Vec<AtomicU64>,
    capacity: u64,
    /// How many there are, and how many places were given back for the dead.
    records: Mutex<(u64, u64)>,
    bell: (Mutex<bool>, Condvar),
    broken: Broken,
}

impl Channel {
    pub fn new(capacity: u64, broken: Broken) -> Self {
        Self {
            words: (0..WORDS).map(|_| AtomicU64::new(0)).collect(),
            capacity,
            records: Mutex::new((0, 0)),
            bell: (Mutex::new(false), Condvar::new()),
            broken,
        }
    }

    fn places(&self) -> Places<'_> {
        Places::new(&self.words, self.capacity)
    }

    fn ring(&self) {
        *self.bell.0.lock() = true;
        self.bell.1.notify_all();
    }

    /// One attempt; true if a record was written.
    pub fn send(&self, killed: Killed) -> bool {
        let write = || {
            if killed == Killed::Before {
                kill();
            }
            let mut records = self.records.lock();
            records.0 += 1;
            assert!(
                records.0 <= self.capacity + records.1,
                "more items than places"
            );
            drop(records);
            if killed == Killed::After {
                kill();
            }
            Ok::<_, ()>(())
        };
        let places = self.places();
        let sent = unless_killed(|| places.send(write));
        let sent = matches!(sent, Some(Some(Ok(()))));
        if sent && places.are_awaited() && !places.seem_full() {
            self.ring();
        }
        sent
    }

    /// Sends one record, waiting for a place.
    pub fn send_blocking(&self) {
        while !self.send(Killed::Not) {
            self.places().wait();
            *self.bell.0.lock() = false;
            if self.send(Killed::Not) {
                return self.places().end_wait();
            }
            let mut rung = self.bell.0.lock();
            while !*rung {
                rung = self.bell.1.wait(rung);
            }
            drop(rung);
            self.places().end_wait();
        }
    }

    /// One attempt; true if a record was read.
    pub fn receive(&self, killed: Killed) -> bool {
        let read = || {
            if killed == Killed::Before {
                kill();
            }
            let mut records = self.records.lock();
            records.0 = records.0.checked_sub(1).ok_or(())?;
            drop(records);
            if killed == Killed::After {
                kill();
            }
            Ok::<_, ()>(())
        };
        let places = self.places();
        let read = unless_killed(|| {
            read()?;
            places.give_back();
            Ok::<_, ()>(())
        });
        let read = matches!(read, Some(Ok(())));
        if read && self.broken != Broken::NoBell && places.are_awaited() {
            self.ring();
        }
        read
    }

    /// Somebody who finds no place, and takes all who are at it for dead.
    pub fn mend(&self) -> bool {
        let places = self.places();
        let mut count = places.count();
        let records = self.records.lock().0;
        let lost = count.held().saturating_sub(records);
        if lost == 0 {
            return false;
        }
        if self.broken == Broken::Blind {
            count = places.count();
        }
        self.records.lock().1 += lost; // before anybody takes one of them
        let mended = places.mend(count, lost);
        assert!(!mended || count.held() >= lost, "more back than taken");
        if !mended {
            self.records.lock().1 -= lost;
        }
        mended
    }

    /// Nobody is at it: what is missing can be found, and once the channel is empty all places are there.
    pub fn settle(&self) {
        self.mend();
        assert!(
            self.places().count().held() <= self.records(),
            "a place is lost"
        );
        while self.receive(Killed::Not) {}
        assert_eq!(self.places().count().held(), 0);
        self.records.lock().1 = 0;
    }

    pub fn records(&self) -> u64 {
        self.records.lock().0
    }
}
