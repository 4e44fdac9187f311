//! `map` and its relatives: items are divided among the workers, and results put together.

pub(super) mod divided;
pub(super) mod items;
pub(super) mod raw_drain;
pub(super) mod raw_fill;
pub(super) mod region;
pub(super) mod results;
pub(super) mod source;
