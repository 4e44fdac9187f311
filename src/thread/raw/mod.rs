//! What the thread pool does that the compiler cannot check.
//!
//! Six nouns: a [`job`] borrowed from a stack frame, and the fork and join
//! that borrows it; the [`deque`] that such jobs lie in; the pool that this thread works for ([`current`]); what a
//! scope has [`lent`]; the [`share`]s of a broadcast; the elements of a vector on their way out ([`drain`]); and
//! results on their way in ([`fill`]). Their invariants, P8 to P32, are in the essays of
//! these files; tests are named there.

pub(super) mod current;
pub(super) mod deque;
pub(super) mod drain;
pub(super) mod fill;
pub(super) mod job;
pub(super) mod lent;
pub(super) mod share;
