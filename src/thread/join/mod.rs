//! Fork and join: two closures, of which the second may run on another worker. `README.md` next to
//! this file follows one join.
//!
//! `fork` offers one and completes it. Below, in `engine/`: `worker/join_window.rs` decides which
//! joins are offered at all; `lent/raw_job.rs` is the offered closure, on the caller's stack;
//! `wake_policy.rs` decides for which of them a sleeper is woken.

pub(super) mod fork;
