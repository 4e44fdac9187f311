//! The threads' indices: numbers below the pool's width, for data that a program keeps once per
//! thread.
//!
//! A thread takes an index before it runs something, its own place's if that is free, and keeps it
//! until it sleeps or parks in a wait. So a spare may get the index of a waiting thread. When that
//! thread returns, it gets the same index, because its task may have read it before; the spare's
//! task may have, too. The two share it until the spare has ended its task, and takes another index
//! or sleeps. Meanwhile more threads run than there are indices: one of them must wait (for an
//! unrelated task, which may need a lock that it holds), have none, or share.
//!
//! - An index is counted once for each running thread that has it.
//!
//! Rejected: the place modulo the width (two running threads have the same index although others
//! are free).
//!
//! Tests: `tests/thread/indices.rs`.

use crossbeam_utils::CachePadded;

use crate::loom::Mutex;
use crate::loom::atomic::{AtomicUsize, Ordering};

/// How many running threads have each index.
#[derive(Default)]
pub(in crate::thread) struct Indices {
    users: Mutex<Vec<u32>>,
    /// How many indices are shared: read without the lock before each task, written under it. In a
    /// line of its own, because threads that fall asleep take the lock.
    shared: CachePadded<AtomicUsize>,
}

impl Indices {
    /// An index below `width`: `preferred` if it is free, otherwise another free one, otherwise one
    /// with the fewest users.
    pub(in crate::thread) fn assign(&self, preferred: usize, width: usize) -> usize {
        let mut users = self.users.lock();
        if users.len() < width {
            users.resize(width, 0);
        }
        let own = &users[..width];
        let mut index = 0;
        if own.get(preferred) == Some(&0) {
            index = preferred;
        } else {
            for other in 1..width {
                if own[other] < own[index] {
                    index = other;
                }
            }
        }
        self.add(&mut users, index);
        index
    }

    /// Takes this index, even if it is in use: the thread has come back from a wait, or acts for a
    /// place.
    pub(in crate::thread) fn assign_again(&self, index: usize) {
        let mut users = self.users.lock();
        if users.len() <= index {
            users.resize(index + 1, 0);
        }
        self.add(&mut users, index);
    }

    /// Gives back the index of a thread that sleeps, or parks in a wait.
    pub(in crate::thread) fn give_back(&self, index: usize) {
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

    /// Whether several threads may share an index.
    #[inline]
    pub(in crate::thread) fn are_shared(&self) -> bool {
        self.shared.load(Ordering::Relaxed) > 0
    }
}
