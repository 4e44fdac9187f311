//! A type shows the socket, or the file, that it has.
//!
//! - **Y65** A number of a file is asked for as a socket only in calls that look at what it is
//!   first, and fail.
#![allow(unsafe_code)]

use std::os::windows::io::{AsHandle, AsRawHandle, BorrowedSocket};
pub(crate) use std::os::windows::io::{BorrowedHandle as BorrowedFile, OwnedHandle as OwnedFile};

/// What has a file: memory, too.
pub(crate) trait AsFile {
    fn as_file(&self) -> BorrowedFile<'_>;
}

impl<T: AsHandle> AsFile for T {
    fn as_file(&self) -> BorrowedFile<'_> {
        self.as_handle()
    }
}

/// As what is sent, or waited for. (Neither is done here with what is no socket.)
pub(crate) fn waitable(file: BorrowedFile<'_>) -> BorrowedSocket<'_> {
    let number = file.as_raw_handle().expose_provenance();
    // SAFETY: Y65: it is open as long as `file` is.
    unsafe { BorrowedSocket::borrow_raw(number as u64) }
}

/// By `AsSocket` and `AsRawSocket`.
macro_rules! descriptor {
    ($type:ty, $($at:tt)+) => {
        impl std::os::windows::io::AsSocket for $type {
            fn as_socket(&self) -> std::os::windows::io::BorrowedSocket<'_> {
                #[allow(unused_imports)] // it may be there
                use rustix::fd::AsFd as _;
                self.$($at)+.as_fd()
            }
        }

        impl std::os::windows::io::AsRawSocket for $type {
            fn as_raw_socket(&self) -> std::os::windows::io::RawSocket {
                #[allow(unused_imports)] // it may be there
                use std::os::windows::io::AsSocket as _;
                self.as_socket().as_raw_socket()
            }
        }
    };
}
pub(crate) use descriptor;

/// By `AsHandle` and `AsRawHandle`.
macro_rules! file_descriptor {
    ($type:ty, $($at:tt)+) => {
        impl std::os::windows::io::AsHandle for $type {
            fn as_handle(&self) -> std::os::windows::io::BorrowedHandle<'_> {
                #[allow(unused_imports)] // it may be there
                use std::os::windows::io::AsHandle as _;
                self.$($at)+.as_handle()
            }
        }

        impl std::os::windows::io::AsRawHandle for $type {
            fn as_raw_handle(&self) -> std::os::windows::io::RawHandle {
                #[allow(unused_imports)] // it may be there
                use std::os::windows::io::AsHandle as _;
                self.as_handle().as_raw_handle()
            }
        }
    };
}
pub(crate) use file_descriptor;

/// Of our end of a pipe to a child: nothing, for what is behind it is no pipe (`pipe_end`).
macro_rules! pipe_descriptor {
    ($type:ty, $($at:tt)+) => {};
}
pub(crate) use pipe_descriptor;

/// Of a file that may be something else.
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
pub(crate) use any_descriptor;
