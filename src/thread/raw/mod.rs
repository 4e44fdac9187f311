//! What the thread pool does that the compiler cannot check.
//!
//! Four nouns: a [`job`] borrowed from a stack frame, and the fork and join
//! that borrows it; the pool that this thread works for ([`current`]); the
//! elements of a vector on their way out ([`drain`]); and results on their way in
//! ([`fill`]). Their invariants are numbered in the essays of these files;
//! [`extend`] ends the list with the one lifetime that a scope promises.

pub(super) mod current;
pub(super) mod drain;
pub(super) mod extend;
pub(super) mod fill;
pub(super) mod job;
