//! Fork and join: two closures, of which the second may run on another worker.
//!
//! `splitter` decides which joins are offered at all, `fork` offers one and settles it; `raw_job` is what is offered, a
//! closure on the caller's stack. `wake_policy` decides for which of them a sleeper is woken.

pub(super) mod fork;
pub(super) mod raw_job;
pub(super) mod splitter;
pub(super) mod wake_policy;
