//! Which thread has which index: a number below the pool's width, for what a program keeps once for each of them.
//!
//! A thread takes one before it runs something, its own place's if that is free, and keeps it until it sleeps or parks in a wait. So
//! a stand-in has the index of a thread that waits. Comes that one back, it has its index again, because what it runs may have
//! asked for it before; what the stand-in runs has, too. The two share it until the stand-in has ended that, and takes another one,
//! or sleeps. For as long, more threads run than there are indices: one of them must wait (for a stranger, which may want a lock that it
//! holds), have none, or share.
//!
//! - **P36** An index is counted once for each thread that has it and runs.
//!
//! Rejected: the place modulo the width (two threads that run have the same index though others are free).
//!
//! Tests: `tests/thread/indices.rs`.

use crate::loom::Mutex;
use crate::loom::atomic::{AtomicUsize, Ordering};

/// How many threads that run have each index.
#[derive(Default)]
pub(super) struct Indices {
    users: Mutex<Vec<u32>>,
    /// How many indices several have: read without the lock, written under it.
    shared: AtomicUsize,
}

impl Indices {
    /// An index of a pool that is `width` wide: `preferred`, if that is free, else another that is free, else that which fewest have.
    pub(super) fn take(&self, preferred: usize, width: usize) -> usize {
        let mut users = self.users.lock();
        if users.len() < width {
            users.resize(width, 0);
        }
        let fewest = || {
            users[..width]
                .iter()
                .enumerate()
                .min_by_key(|(_, users)| **users)
        };
        let index = match users[..width].get(preferred) {
            Some(0) => preferred,
            _ => fewest().map_or(0, |(index, _)| index),
        };
        self.add(&mut users, index);
        index
    }

    /// This one, whoever has it: its thread has come back from a wait, or acts for a place.
    pub(super) fn take_again(&self, index: usize) {
        let mut users = self.users.lock();
        if users.len() <= index {
            users.resize(index + 1, 0);
        }
        self.add(&mut users, index);
    }

    /// Its thread sleeps, or parks in a wait.
    pub(super) fn give_back(&self, index: usize) {
        let mut users = self.users.lock();
        users[index] -= 1;
        if users[index] == 1 {
            self.shared.fetch_sub(1, Ordering::Relaxed);
        }
    }

    fn add(&self, users: &mut [u32], index: usize) {
        users[index] += 1;
        if users[index] == 2 {
            self.shared.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Several threads may have one.
    #[inline]
    pub(super) fn are_shared(&self) -> bool {
        self.shared.load(Ordering::Relaxed) > 0
    }
}
