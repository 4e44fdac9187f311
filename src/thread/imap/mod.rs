//! `imap`: a lazy `map` over any iterator, which reads a bounded number of items ahead
//! (`pipeline`).

pub(super) mod iterator;
pub(super) mod pipeline;
