//! The places of a channel for the models: processes are threads, the pipe is a number.
//!
//! What they drive is `places.rs` as it is. A process that is killed unwinds out of the system call that it was
//! in: from then on its mark counts for nothing, as a dead one's. Exists under `--cfg loom` only.
#![allow(missing_docs, missing_debug_implementations)]

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

use super::places::{MARKS, Places};
use crate::loom::atomic::{AtomicU64, Ordering};
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
    /// Senders and receivers do not mark a slot: all who are at it seem dead.
    NoMarks,
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
    records: Mutex<u64>,
    bell: (Mutex<bool>, Condvar),
    broken: Broken,
}

impl Channel {
    pub fn new(capacity: u64, broken: Broken) -> Self {
        Self {
            words: (0..MARKS + 3).map(|_| AtomicU64::new(0)).collect(),
            capacity,
            records: Mutex::new(0),
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
    pub fn send(&self, who: u64, killed: Killed) -> bool {
        let write = || {
            if killed == Killed::Before {
                kill();
            }
            let mut records = self.records.lock();
            *records += 1;
            assert!(*records <= self.capacity, "more items than places");
            drop(records);
            if killed == Killed::After {
                kill();
            }
            Ok::<_, ()>(())
        };
        let places = self.places();
        let sent = unless_killed(|| places.send(who << 32, write));
        let sent = matches!(sent, Some(Some(Ok(()))));
        if sent && places.are_awaited() && !places.seem_full() {
            self.ring();
        }
        sent
    }

    /// Sends one record, waiting for a place.
    pub fn send_blocking(&self, who: u64) {
        while !self.send(who, Killed::Not) {
            let waits = self.places().wait();
            *self.bell.0.lock() = false;
            if self.send(who, Killed::Not) {
                return;
            }
            let mut rung = self.bell.0.lock();
            while !*rung {
                rung = self.bell.1.wait(rung);
            }
            drop(rung);
            drop(waits);
        }
    }

    /// One attempt; true if a record was read.
    pub fn receive(&self, who: u64, killed: Killed) -> bool {
        let read = || {
            if killed == Killed::Before {
                kill();
            }
            let mut records = self.records.lock();
            *records = records.checked_sub(1).ok_or(())?;
            drop(records);
            if killed == Killed::After {
                kill();
            }
            Ok::<_, ()>(())
        };
        let places = self.places();
        let read = unless_killed(|| places.receive(who << 32, read));
        let read = matches!(read, Some(Ok(())));
        if read && self.broken != Broken::NoBell && places.are_awaited() {
            self.ring();
        }
        read
    }

    /// Somebody who finds no place.
    pub fn mend(&self) -> bool {
        let places = self.places();
        let count = places.count();
        let broken = self.broken == Broken::NoMarks;
        places.mend(count, || *self.records.lock(), |_| !broken)
    }

    /// Nobody is at it: what is missing can be found, and then there are as many places taken as
    /// records.
    pub fn settle(&self) {
        self.mend();
        let records = *self.records.lock();
        assert_eq!(self.places().count().held(), records, "a place is lost");
        let marks = &self.words[MARKS..];
        assert!(marks.iter().all(|mark| mark.load(Ordering::Relaxed) == 0));
    }

    pub fn records(&self) -> u64 {
        *self.records.lock()
    }
}
