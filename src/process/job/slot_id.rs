//! Which slot of a pool: its place in the table of workers (`state/slots`).
//!
//! The driver has lists of its own by the same numbers.
//!
//! Tests: `src/process/sched/simulated.rs`.

/// A slot of a pool, by its number, from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct SlotId(pub(crate) usize);
