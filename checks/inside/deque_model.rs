//! The split deque for the models: plain numbers instead of jobs.
//!
//! What it drives is `raw/deque.rs` as it is. Exists under `--cfg loom` only.
#![allow(missing_docs, missing_debug_implementations)]

use std::sync::atomic::Ordering::SeqCst;

use super::raw::deque::{self, fault};

/// A step that a model leaves out, to see itself fail.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Broken {
    RelaxedPublish,
    BlindReclaim,
}

/// Breaks it for the whole process.
pub fn inject(broken: Broken) {
    match broken {
        Broken::RelaxedPublish => fault::RELAXED_PUBLISH.store(true, SeqCst),
        Broken::BlindReclaim => fault::BLIND_RECLAIM.store(true, SeqCst),
    }
}

pub struct Owner(deque::Owner<usize>);

pub struct Thief(deque::Thief<usize>);

pub fn deque() -> (Owner, Thief) {
    let (owner, thief) = deque::new();
    (Owner(owner), Thief(thief))
}

impl Owner {
    pub fn push(&self, entry: usize) {
        self.0.push(entry);
    }

    pub fn publish(&self) {
        self.0.publish();
    }

    pub fn pop(&self) -> Option<usize> {
        self.0.pop()
    }
}

impl Thief {
    pub fn steal(&self) -> Option<usize> {
        self.0.steal()
    }
}
