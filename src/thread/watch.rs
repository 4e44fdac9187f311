//! What a watcher sees of the calls that may block; see `blocking.rs`.
//!
//! Tests: `tests/thread/blocking.rs`.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

use super::lending::Sample;
use super::registry::Registry;
use super::slot::Slot;

/// For each call that is seen to wait, so many may begin on trust.
const TRUST: usize = 3;

/// What a watcher has seen at its last look.
pub(super) struct Watch {
    at: Instant,
    /// By the number of the slot.
    seen: HashMap<usize, Sample>,
}

impl Watch {
    pub(super) fn begin(registry: &Arc<Registry>) -> Self {
        let mut watch = Self {
            at: Instant::now(),
            seen: HashMap::new(),
        };
        watch.look(registry);
        watch
    }

    /// Lends the places of the calls that wait. To be called while something is queued. True: no thread is stuck (step 5).
    pub(super) fn look(&mut self, registry: &Arc<Registry>) -> bool {
        if registry.calls.is_full() {
            registry.calls.trust(0);
            self.seen.clear();
            return false;
        }
        let now = Instant::now();
        let least = (now - self.at) / 8;
        let (mut vouching, mut computing, mut lent) = (0_usize, 0, false);
        let (mut at_work, mut away) = (0, 0);
        let mut seen = HashMap::new();
        for slot in registry.slots().iter() {
            let Some(mut sample) = slot.lending.sample() else {
                continue;
            };
            away += usize::from(sample.lent);
            let before = self.seen.get(&slot.number);
            if let Some(before) = before.filter(|before| before.call == sample.call) {
                sample.waits = sample.is_waiting(before, least);
                if sample.waits {
                    vouching += usize::from(slot.lending.vouch(sample.call));
                    if !sample.lent && lend(registry, slot, sample.call) {
                        lent = true;
                        away += 1;
                    }
                } else {
                    computing += 1;
                    at_work += usize::from(!sample.lent);
                }
            }
            seen.insert(slot.number, sample);
        }
        let trust = TRUST * vouching.saturating_sub(computing);
        registry.calls.trust(trust);
        if lent {
            registry.recheck();
        }
        *self = Self { at: now, seen };
        at_work >= registry.sleep.width() && away >= registry.sleep.counts().blocked()
    }
}

fn lend(registry: &Registry, slot: &Slot, call: u64) -> bool {
    if !registry.calls.admit() {
        return false;
    }
    let lent = slot.lending.lend(call, || {
        slot.post.leave();
        registry.sleep.block();
    });
    if !lent {
        registry.calls.give_back();
    }
    lent
}
