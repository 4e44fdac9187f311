//! `imap`: a lazy `map` over any iterator, which reads a bounded number of items ahead
//! (`pipeline`).

pub(super) mod imap;
pub(super) mod pipeline;
