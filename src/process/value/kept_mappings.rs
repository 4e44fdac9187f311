//! In the worker: the memory that stays mapped between the items that need it.
//!
//! **Job.** An item that asks for memory which this process has mapped finds that mapping
//! (`mapped`), if something holds it. This table does, as long as the parent wants
//! (`memory_kept_by_worker`). Memory that cannot be mapped now is not kept: each item then maps it
//! itself, or fails.
//!
//! Tests: `tests/process/shared.rs`.

use std::collections::HashMap;
use std::sync::Arc;

use super::attachments::Descriptors;
use super::mapped::Mapped;

/// The memory that is kept, by the parent's numbers.
#[derive(Debug, Default)]
pub(crate) struct KeptMappings(HashMap<u64, Arc<Mapped>>);

impl KeptMappings {
    /// Keeps the memory with these numbers, which has come with `descriptors`.
    pub(crate) fn keep(&mut self, numbers: &[u64], descriptors: &Descriptors) {
        for id in numbers {
            let found = descriptors.find(*id).ok();
            let mapped = found.and_then(|memory| Mapped::open(memory, 0).ok());
            self.0.extend(mapped.map(|mapped| (*id, mapped)));
        }
    }

    /// Keeps the memory with these numbers no longer.
    pub(crate) fn release(&mut self, numbers: &[u64]) {
        numbers.iter().for_each(|id| drop(self.0.remove(id)));
    }
}
