//! How long an item of each function takes, as earlier ones have shown.

use std::collections::HashMap;

/// Of how many functions the costs are known: no program has as many.
const FUNCTIONS: usize = 10_000;

/// How many nanoseconds an item of each function took.
#[derive(Default)]
pub(in crate::process::sched) struct Costs(HashMap<u64, f64>);

impl Costs {
    /// Records that `items` items of a function took `nanos` nanoseconds.
    pub(in crate::process::sched) fn learn(&mut self, function: u64, items: u64, nanos: u64) {
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
    pub(in crate::process::sched) fn of(&self, function: u64) -> Option<f64> {
        self.0.get(&function).copied()
    }
}
