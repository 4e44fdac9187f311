//! What the thread pool does that the compiler cannot check, beside the jobs and their deque in `join`.
//!
//! The pools that this thread works for ([`current`]); what a scope lends ([`scope`], [`scope_queue`]); the [`share`]s of a
//! broadcast; the elements of a vector on their way out ([`drain`]); and results on their way in ([`fill`]).

pub(super) mod current;
pub(super) mod drain;
pub(super) mod fill;
pub(super) mod scope;
pub(super) mod scope_queue;
pub(super) mod share;
