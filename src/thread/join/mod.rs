//! Fork and join: two closures, of which the second may run on another worker. `README.md` next to
//! this file follows one join.
//!
//! `window` decides which joins are offered at all; `fork` offers one and completes it; `raw_job`
//! is the offered closure, on the caller's stack. `wake_policy` decides for which of them a sleeper
//! is woken.

pub(super) mod fork;
pub(super) mod raw_job;
pub(super) mod wake_policy;
pub(super) mod window;
