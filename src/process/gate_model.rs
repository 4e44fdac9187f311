//! A frame's gate for the models: a worker that takes items, and a parent that takes them back.
//!
//! It drives the real `pages::gate`. It exists under `--cfg loom` only.
#![allow(missing_docs, missing_debug_implementations)]

pub use crate::process::pages::gate::model::Broken;
use crate::process::pages::gate::{Gate, model};

pub struct Frame(Gate);

const SEAL: u64 = 9;

impl Frame {
    /// A gate for `count` items.
    pub fn new(count: u32, broken: Broken) -> Self {
        model::set(broken);
        let gate = Gate::default();
        gate.open(count, SEAL);
        Self(gate)
    }

    /// The worker: runs items, at most `most`. Returns how many it has run.
    pub fn run(&self, most: u32) -> u32 {
        let mut count = 0;
        while count < most {
            let Some(item) = self.0.pass() else {
                return count;
            };
            assert_eq!(item, count, "out of turn");
            count += 1;
        }
        self.0.close();
        count
    }

    /// The parent: takes back the items from `from` on that it can. Returns where the frame ends
    /// now.
    pub fn recall(&self, from: u32) -> u32 {
        let before = self.0.taken(SEAL);
        let end = self.0.recall(from, SEAL);
        assert!(end >= before, "what was seen to have begun was taken back");
        assert!(self.0.taken(SEAL) <= end, "more has begun than there is");
        end
    }
}
