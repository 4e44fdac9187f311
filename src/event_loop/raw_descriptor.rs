//! The loop's own descriptor, lent to whoever drives the loop from another one.
//!
//! The poller is behind a cell, which can lend nothing for longer than a few lines. Its
//! descriptor is a number that does not change, so the number is kept beside the cell.
//!
//! - **L9** A [`Descriptor`] is a field of the [`Home`](super::home::Home) whose reactor it was made
//!   from; that reactor is never replaced, and closes its descriptor when the home is
//!   dropped. So what is borrowed from the field is open.
//!
//! Rejected: a duplicate of the descriptor (one more for each loop, and asking for it could
//! fail).
//!
//! Checked by `tests/event_loop/embedded.rs`.
#![allow(unsafe_code)]

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};

#[derive(Debug)]
pub(super) struct Descriptor(RawFd);

impl Descriptor {
    /// Of a reactor that will be in the same home (L9).
    pub(super) fn of(reactor: &impl AsRawFd) -> Self {
        Self(reactor.as_raw_fd())
    }
}

impl AsFd for Descriptor {
    fn as_fd(&self) -> BorrowedFd<'_> {
        // SAFETY: L9: it is open for as long as `self` is borrowed.
        unsafe { BorrowedFd::borrow_raw(self.0) }
    }
}
