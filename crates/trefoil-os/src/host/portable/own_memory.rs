//! How much memory the copy of a process does not share with the original: there are no copies
//! here.

/// How many bytes of memory are this process's own: not known.
#[must_use]
pub fn own() -> Option<u64> {
    None
}

/// How many bytes have become this process's own: none were shared.
#[must_use]
pub fn faulted() -> u64 {
    0
}
