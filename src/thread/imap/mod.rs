//! `imap`: a lazy `map` over any iterator.

pub(super) mod imap;
pub(super) mod pipeline;
