//! `map` and its relatives: items are divided among the workers, and results put together.
//!
//! `items` lists what can be mapped, `source` what can be cut without being collected; `divide`
//! divides the items among the threads that want work, and `results` has `map` and the other
//! methods; `chain` is one source behind another; `until` is a source that a token ends.
//! `raw_drain` takes the elements out of a vector; `raw_fill` writes results into one.

pub(crate) mod chain;
pub(super) mod divide;
pub(super) mod items;
pub(super) mod raw_drain;
pub(super) mod raw_fill;
pub(super) mod results;
pub(super) mod source;
pub(super) mod until;
