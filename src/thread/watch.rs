//! How many of the calls that may block wait: what a watcher sees; see `blocking.rs`.
//!
//! Tests: `tests/thread/blocking.rs`.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

use super::call::Sample;
use super::registry::Registry;
use super::slot::Slot;

/// By so many threads a pool is made wider at most.
const MOST: usize = 512;

/// For each call that is seen to wait, so many may begin on trust.
const TRUST: usize = 3;

/// What a watcher has seen at its last look.
pub(super) struct Watch {
    at: Instant,
    /// By the number of the slot.
    seen: HashMap<usize, Sample>,
    /// So many calls that began since then may be taken to wait.
    trust: usize,
}

/// All calls in progress, by the number of the slot.
fn samples(registry: &Registry) -> HashMap<usize, Sample> {
    let slots = registry.slots();
    let sample = |slot: &Arc<Slot>| Some((slot.number, slot.call.sample()?));
    slots.iter().filter_map(sample).collect()
}

impl Watch {
    pub(super) fn begin(registry: &Registry) -> Self {
        Self {
            at: Instant::now(),
            seen: samples(registry),
            trust: 0,
        }
    }

    /// Makes the pool wider by as many calls as wait. To be called while something is queued.
    pub(super) fn look(&mut self, registry: &Arc<Registry>) {
        let now = Instant::now();
        let least = (now - self.at) / 8;
        let (mut waiting, mut new, mut computing, mut unknown) = (0, 0_usize, 0, 0);
        let mut seen = samples(registry);
        for slot in registry.slots().iter() {
            let Some(sample) = seen.get_mut(&slot.number) else {
                continue;
            };
            match self.seen.get(&slot.number) {
                Some(before) if before.call == sample.call => {
                    sample.waits = sample.is_waiting(before, least);
                    if sample.waits {
                        waiting += 1;
                        new += usize::from(slot.call.vouch(sample.call));
                        registry.leave(slot, || slot.call.is_in(sample.call));
                    } else {
                        computing += 1;
                    }
                }
                _ => unknown += 1,
            }
        }
        let trust = self.trust.min(unknown) + TRUST * new.saturating_sub(computing);
        registry.sleep.widen((waiting + trust).min(MOST));
        registry.recheck();
        *self = Self {
            at: now,
            seen,
            trust,
        };
    }
}
