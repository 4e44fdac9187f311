//! How many items go into a frame: proposed from how long earlier items of the same function took.
//!
//! Any number from 1 on is correct; only speed depends on it. `dispatch`,
//! `Piece::cut` (`value/chunk.rs`) and `Peer::most_items` (`peer`) may lower it: for bytes,
//! descriptors, deadlines and workers that are to be replaced.
//!
//! Tests: `src/process/sched/simulated.rs`, `tests/process/pool.rs`.

use std::collections::HashMap;

use super::sent_frame::UNKNOWN_COST;
use crate::process::job::Job;
use crate::process::limits::{FRAME_ITEMS, FRAME_TIME};

/// The most functions in the table: no program has as many.
const FUNCTIONS: usize = 10_000;

/// Nanoseconds per item, by function.
#[derive(Default)]
pub(super) struct ItemCosts(HashMap<u64, f64>);

impl ItemCosts {
    /// Records that `items` items of a function took `nanos` nanoseconds.
    pub(super) fn learn(&mut self, function: u64, items: u64, nanos: u64) {
        if items == 0 || nanos == 0 {
            return; // nothing, or not known
        }
        if self.0.len() > FUNCTIONS {
            self.0.clear();
        }
        let seen = nanos as f64 / items as f64;
        let item_cost = self.0.entry(function).or_insert(seen);
        *item_cost = (*item_cost + seen) / 2.0;
    }

    /// How many nanoseconds one item of a function should take, if that is known.
    pub(super) fn of(&self, function: u64) -> Option<f64> {
        self.0.get(&function).copied()
    }
}

/// How many nanoseconds `items` items should take; [`UNKNOWN_COST`], if that is not known.
pub(super) fn cost(item_cost: Option<f64>, items: usize) -> u64 {
    item_cost.map_or(UNKNOWN_COST, |item_cost| {
        ((item_cost * items as f64) as u64).min(UNKNOWN_COST)
    })
}

/// How many items the next frame of `job` should have, with this number of `workers`.
pub(super) fn frame_size(item_cost: Option<f64>, job: &Job, workers: usize) -> usize {
    if job.work.options.is_singly() {
        return 1;
    }
    if let Some(chunk) = job.work.options.chunk {
        return chunk.clamp(1, FRAME_ITEMS);
    }
    let Some(item_cost) = item_cost else { return 1 };
    let item_cost = item_cost.max(1.0);
    let most = ((FRAME_TIME / item_cost) as usize).clamp(1, FRAME_ITEMS);
    match job.sealed || job.work.each {
        // The waiting items are all that will come, or (of an `imap`) all that will come before a
        // result is taken. So a frame has at most half of an equal share of them, and the workers
        // end at about the same time.
        true => {
            let shares = 2 * workers.max(1);
            job.items(most * shares).div_ceil(shares)
        }
        false => most,
    }
}
