//! What users of worker processes see.

pub(super) mod actor;
pub(super) mod builder;
pub(super) mod call;
pub(super) mod entry;
pub(super) mod imap;
pub(super) mod pool;
pub(super) mod process;
#[cfg(feature = "auto")]
pub(super) mod raw_auto;
mod refusals;
pub(super) mod worker_range;
