//! A `map` or an `imap` that has not ended, as the store of live tasks has it.

use std::sync::atomic::AtomicU64; // counters: no protocol

pub(super) struct RunningMap {
    pub(super) kind: &'static str,
    /// The task that gets the results, or else that has called it; 0: none.
    pub(super) task: u64,
    pub(super) caller: String,
    pub(super) total: Option<u64>,
    pub(super) ended: AtomicU64, // no protocol
    pub(super) since: u64,
}
