//! The unsafe code of the thread pool, besides the jobs in `join`.
//!
//! The pools that this thread works for ([`current`]); what is [`lent`] to the pool for a while,
//! the [`scope`] that it may be lent for, and what a task of a scope holds ([`stage`]), and its two
//! owners ([`half`]); the elements of a vector on their way out ([`drain`]); and results on their
//! way in ([`fill`]).

pub(super) mod current;
pub(super) mod drain;
pub(super) mod fill;
pub(super) mod half;
pub(super) mod lent;
pub(super) mod scope;
pub(super) mod stage;
