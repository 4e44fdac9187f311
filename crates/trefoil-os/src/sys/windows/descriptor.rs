//! Traits and macros by which a type gives access to its socket or its file.
//!
//! - **Y65** A file's handle is used as a socket only in calls that check the kind of a handle
//!   first, and fail.
//!
//! Tests: `tests/process/everywhere.rs`, under Wine.
#![allow(unsafe_code)]

use std::os::windows::io::{AsHandle, AsRawHandle, BorrowedSocket};
pub use std::os::windows::io::{BorrowedHandle as BorrowedFile, OwnedHandle as OwnedFile};

/// A value that has a file, which may be a memory file.
pub trait AsFile {
    /// Its handle.
    fn as_file(&self) -> BorrowedFile<'_>;
}

impl<T: AsHandle> AsFile for T {
    fn as_file(&self) -> BorrowedFile<'_> {
        self.as_handle()
    }
}

/// The handle of a file in the type of a socket, for calls that send or wait. (Handles that are no
/// sockets are neither sent nor waited for on this system.)
pub fn waitable(file: BorrowedFile<'_>) -> BorrowedSocket<'_> {
    let number = file.as_raw_handle().expose_provenance();
    // SAFETY: Y65: the handle is open as long as `file` is borrowed.
    unsafe { BorrowedSocket::borrow_raw(number as u64) }
}

/// Implements `AsSocket` and `AsRawSocket` for a type that has a socket.
#[macro_export]
#[doc(hidden)]
macro_rules! descriptor {
    ($type:ty, $($at:tt)+) => {
        impl std::os::windows::io::AsSocket for $type {
            fn as_socket(&self) -> std::os::windows::io::BorrowedSocket<'_> {
                #[allow(unused_imports)] // `$type` may have the method already
                use rustix::fd::AsFd as _;
                self.$($at)+.as_fd()
            }
        }

        impl std::os::windows::io::AsRawSocket for $type {
            fn as_raw_socket(&self) -> std::os::windows::io::RawSocket {
                #[allow(unused_imports)] // `$type` may have the method already
                use std::os::windows::io::AsSocket as _;
                self.as_socket().as_raw_socket()
            }
        }
    };
}
pub use descriptor;

/// Implements `AsHandle` and `AsRawHandle` for a type that has a file.
#[macro_export]
#[doc(hidden)]
macro_rules! file_descriptor {
    ($type:ty, $($at:tt)+) => {
        impl std::os::windows::io::AsHandle for $type {
            fn as_handle(&self) -> std::os::windows::io::BorrowedHandle<'_> {
                #[allow(unused_imports)] // `$type` may have the method already
                use std::os::windows::io::AsHandle as _;
                self.$($at)+.as_handle()
            }
        }

        impl std::os::windows::io::AsRawHandle for $type {
            fn as_raw_handle(&self) -> std::os::windows::io::RawHandle {
                #[allow(unused_imports)] // `$type` may have the method already
                use std::os::windows::io::AsHandle as _;
                self.as_handle().as_raw_handle()
            }
        }
    };
}
pub use file_descriptor;

/// Implements nothing: what the user holds of a pipe to a child is a socket to a thread
/// (`pipe_end`), and giving that away as a pipe would be wrong.
#[macro_export]
#[doc(hidden)]
macro_rules! pipe_descriptor {
    ($type:ty, $($at:tt)+) => {};
}
pub use pipe_descriptor;

/// Implements `AsHandle` and `AsSocket` for a file that may be a socket.
#[macro_export]
#[doc(hidden)]
macro_rules! any_descriptor {
    ($type:ty, $($at:tt)+) => {
        impl std::os::windows::io::AsHandle for $type {
            fn as_handle(&self) -> std::os::windows::io::BorrowedHandle<'_> {
                self.$($at)+.as_handle()
            }
        }

        impl std::os::windows::io::AsSocket for $type {
            fn as_socket(&self) -> std::os::windows::io::BorrowedSocket<'_> {
                $crate::sys::descriptor::waitable(std::os::windows::io::AsHandle::as_handle(self))
            }
        }
    };
}
pub use any_descriptor;
