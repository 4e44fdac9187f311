//! Fork and join: two closures, of which the second may run on another worker.
//!
//! `policy` decides which joins are offered at all, `fork` offers one and settles it; `raw_job` is what is offered, a
//! closure on the caller's stack. `wake_policy` decides for which of them a sleeper is woken.

pub(super) mod fork;
pub(super) mod policy;
pub(super) mod raw_job;
pub(super) mod wake_policy;
