//! Opens the standard streams that the host program has closed.
//!
//! - **H99** For a number that is not open the call returns `EBADF`; the one call that a number is
//!   borrowed for changes nothing.
//!
//! Tests: `tests/process/host.rs::without_some_of_the_standard_streams`,
//! `tests/process/pool.rs::a_program_without_standard_input_has_workers`.
#![allow(unsafe_code)]

use std::fs::File;
use std::os::fd::{AsRawFd, BorrowedFd, IntoRawFd};

use rustix::io::Errno;

/// Opens `/dev/null` in place of each standard stream that the host has closed, as `std` does
/// before `main`. Otherwise one of our sockets would get its number, and messages for standard
/// error would be written into that socket.
pub fn fill() {
    while let Some(closed) = (0..3).find(|number| is_closed(*number)) {
        // The file gets the lowest free number, which is this one, unless another thread has just
        // taken it.
        let Ok(null) = File::options().read(true).write(true).open("/dev/null") else {
            return;
        };
        if null.as_raw_fd() <= 2 {
            let _ = null.into_raw_fd();
        } else if is_closed(closed) {
            return;
        }
    }
}

fn is_closed(number: i32) -> bool {
    // SAFETY: H99: the one call that it is borrowed for reads its flags, and reports a number that
    // is not open.
    let borrowed = unsafe { BorrowedFd::borrow_raw(number) };
    rustix::io::fcntl_getfd(borrowed) == Err(Errno::BADF)
}
