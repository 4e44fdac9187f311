//! The deque of joins for the models: plain numbers instead of jobs.
//!
//! What it drives is `join/raw_deque.rs` as it is. Exists under `--cfg loom` only.
#![allow(missing_docs, missing_debug_implementations)]

use std::sync::atomic::Ordering::SeqCst;

use super::join::raw_deque::{self, fault};

/// A step that a model leaves out, to see itself fail.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Broken {
    RelaxedPush,
    BlindReclaim,
}

/// Breaks it for the whole process.
pub fn inject(broken: Broken) {
    match broken {
        Broken::RelaxedPush => fault::RELAXED_PUSH.store(true, SeqCst),
        Broken::BlindReclaim => fault::BLIND_RECLAIM.store(true, SeqCst),
    }
}

pub struct Owner(raw_deque::Owner<usize>);

pub struct Thief(raw_deque::Thief<usize>);

pub fn deque() -> (Owner, Thief) {
    let (owner, thief) = raw_deque::new();
    (Owner(owner), Thief(thief))
}

impl Owner {
    pub fn push(&self, entry: usize) {
        self.0.push(entry);
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
