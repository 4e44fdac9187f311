//! Large results, for the models: which blocks a worker has lent, and when it reuses them.
//!
//! It drives the real `Due` and `took`, with room for two blocks of two words. The records that
//! name blocks go through a queue; a position in the worker's stream is a number of records. It
//! exists under `--cfg loom` only.
#![allow(missing_docs, missing_debug_implementations)]

use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;

use super::value::lent_arrays::{Due, took};
use crate::loom::atomic::{AtomicU64, Ordering};
use crate::loom::{Condvar, Mutex};

const BLOCKS: usize = 2;

/// A step that a broken twin of a model leaves out.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Broken {
    No,
    /// The parent reports that it has taken a block before it has copied it.
    TooEarly,
    /// The worker reuses blocks without asking.
    Unasked,
}

/// A lent block: its room is free again when this is dropped.
struct Block {
    place: usize,
    free: Rc<RefCell<VecDeque<usize>>>,
}

impl Drop for Block {
    fn drop(&mut self) {
        self.free.borrow_mut().push_back(self.place);
    }
}

pub struct Pair {
    memory: [[AtomicU64; 2]; BLOCKS],
    taken: AtomicU64,
    /// Records in the stream: in which block the value is, if in any, and the value.
    socket: (Mutex<VecDeque<(Option<usize>, u64)>>, Condvar),
    broken: Broken,
}

impl Pair {
    pub fn new(broken: Broken) -> Self {
        Self {
            memory: std::array::from_fn(|_| std::array::from_fn(|_| AtomicU64::new(0))),
            taken: AtomicU64::new(0),
            socket: (Mutex::new(VecDeque::new()), Condvar::new()),
            broken,
        }
    }

    /// The worker: sends `count` results, 1, 2 and so on. Returns how many of them found room in a
    /// block.
    pub fn worker(&self, count: u64) -> usize {
        let free = Rc::new(RefCell::new(VecDeque::from_iter(0..BLOCKS)));
        let mut due = Due::new();
        let all = AtomicU64::new(u64::MAX);
        let mut lent = 0;
        for value in 1..=count {
            due.release(match self.broken {
                Broken::Unasked => &all,
                _ => &self.taken,
            });
            let place = free.borrow_mut().pop_front();
            let block = place.map(|place| Block {
                place,
                free: free.clone(),
            });
            if let Some(block) = block {
                lent += 1;
                let words = &self.memory[block.place];
                words
                    .iter()
                    .for_each(|word| word.store(value, Ordering::Relaxed));
                due.push(value, block);
            }
            self.socket.0.lock().push_back((place, value));
            self.socket.1.notify_one();
        }
        lent
    }

    /// The parent: reads `count` results, and checks their values.
    pub fn parent(&self, count: u64) {
        for position in 1..=count {
            let mut socket = self.socket.0.lock();
            while socket.is_empty() {
                socket = self.socket.1.wait(socket);
            }
            let (place, value) = socket.pop_front().unwrap_or_default();
            drop(socket);
            if self.broken == Broken::TooEarly {
                took(&self.taken, position);
            }
            for word in place.iter().flat_map(|place| &self.memory[*place]) {
                assert_eq!(word.load(Ordering::Relaxed), value, "used twice");
            }
            took(&self.taken, position);
        }
    }
}
