//! Macros that give a type the traits for access to its descriptor.

pub(crate) use std::os::fd::{BorrowedFd as BorrowedFile, OwnedFd as OwnedFile};

/// A type with a file descriptor, which may also stand for memory.
pub(crate) trait AsFile {
    fn as_file(&self) -> BorrowedFile<'_>;
}

impl<T: std::os::fd::AsFd> AsFile for T {
    fn as_file(&self) -> BorrowedFile<'_> {
        self.as_fd()
    }
}

/// The descriptor as one that can be sent, or waited for.
pub(crate) fn waitable(file: BorrowedFile<'_>) -> BorrowedFile<'_> {
    file
}

/// Implements `AsFd` and `AsRawFd`.
macro_rules! descriptor {
    ($type:ty, $($at:tt)+) => {
        impl std::os::fd::AsFd for $type {
            fn as_fd(&self) -> std::os::fd::BorrowedFd<'_> {
                #[allow(unused_imports)] // the caller may have imported it
                use std::os::fd::AsFd as _;
                self.$($at)+.as_fd()
            }
        }

        impl std::os::fd::AsRawFd for $type {
            fn as_raw_fd(&self) -> std::os::fd::RawFd {
                #[allow(unused_imports)] // the caller may have imported it
                use std::os::fd::AsFd as _;
                self.as_fd().as_raw_fd()
            }
        }
    };
}
pub(crate) use descriptor;

/// For our end of a pipe to a child.
pub(crate) use descriptor as pipe_descriptor;

/// For a descriptor of any kind.
pub(crate) use descriptor as any_descriptor;

/// For a file, which is no special kind here.
pub(crate) use descriptor as file_descriptor;
