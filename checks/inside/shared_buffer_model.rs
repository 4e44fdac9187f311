//! Large results for the models: what a worker has lent, and when it uses the room again.
//!
//! What they drive are `Due` and `took` as they are, with room for two blocks of two words. The
//! records that name blocks go through a queue; a position in the worker's stream is a number of
//! records. Exists under `--cfg loom` only.
#![allow(missing_docs, missing_debug_implementations)]

use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;

use super::payload::shared_buffer::{Due, took};
use crate::loom::atomic::{AtomicU64, Ordering};
use crate::loom::{Condvar, Mutex};

const BLOCKS: usize = 2;

/// A step that a model leaves out, to see itself fail.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Broken {
    No,
    /// The parent says that it has taken a block before it has copied it.
    TooEarly,
    /// The worker does not ask.
    Unasked,
}

/// A block that is out: its room is free again when this is dropped.
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
    /// Records on their way: in which block the value lies, if in any, and the value.
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

    /// The worker: says so many results, the first 1, the next 2 and so on. How many of them found
    /// room.
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

    /// The parent: hears `count` results, each as it was when it was said.
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
