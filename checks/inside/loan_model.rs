//! Large results for the models: the ring and the area, with one byte to a block.
//!
//! What they drive is `ring.rs` as it is, with room for three bytes. The records that name blocks go through a queue;
//! a position in the worker's stream is a number of records.
//! Exists under `--cfg loom` only.
#![allow(missing_docs, missing_debug_implementations)]

use std::collections::VecDeque;

use super::ring::{self, Ring};
use crate::loom::atomic::{AtomicU64, Ordering};
use crate::loom::{Condvar, Mutex};

const CAPACITY: usize = 3;

/// A step that a model leaves out, to see itself fail.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Broken {
    No,
    /// The parent says that it has taken a block before it has copied it.
    TooEarly,
    /// The worker does not ask.
    Unasked,
}

pub struct Pair {
    area: [AtomicU64; CAPACITY],
    taken: AtomicU64,
    /// Records on their way: where a block lies, how long it is and what is in it.
    socket: (Mutex<VecDeque<(usize, usize, u64)>>, Condvar),
    broken: Broken,
}

impl Pair {
    pub fn new(broken: Broken) -> Self {
        Self {
            area: std::array::from_fn(|_| AtomicU64::new(0)),
            taken: AtomicU64::new(0),
            socket: (Mutex::new(VecDeque::new()), Condvar::new()),
            broken,
        }
    }

    /// The worker: says results of these lengths, the first 1, the next 2 and so on. How many of them found room.
    pub fn worker(&self, lengths: &[usize]) -> usize {
        let mut ring = Ring::new(CAPACITY);
        let mut lent = 0;
        for (value, &length) in (1u64..).zip(lengths) {
            let all = AtomicU64::new(u64::MAX - 1);
            let taken = match self.broken {
                Broken::Unasked => &all,
                _ => &self.taken,
            };
            let place = ring.take(length, taken);
            let Some(start) = place else {
                self.say((0, 0, value));
                ring.settle(value);
                continue;
            };
            lent += 1;
            let block = &self.area[start..start + length];
            block
                .iter()
                .for_each(|byte| byte.store(value, Ordering::Relaxed));
            ring.settle(value);
            self.say((start, length, value));
        }
        lent
    }

    fn say(&self, record: (usize, usize, u64)) {
        self.socket.0.lock().push_back(record);
        self.socket.1.notify_one();
    }

    /// The parent: hears `count` results, each as it was when it was said.
    pub fn parent(&self, count: u64) {
        for position in 1..=count {
            let mut socket = self.socket.0.lock();
            while socket.is_empty() {
                socket = self.socket.1.wait(socket);
            }
            let (start, length, value) = socket.pop_front().unwrap_or_default();
            drop(socket);
            if self.broken == Broken::TooEarly {
                ring::took(&self.taken, position);
            }
            for byte in &self.area[start..start + length] {
                assert_eq!(byte.load(Ordering::Relaxed), value, "used twice");
            }
            ring::took(&self.taken, position);
        }
    }
}
