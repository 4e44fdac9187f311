//! Traits and macros by which a type gives access to its descriptor.

pub use std::os::fd::{BorrowedFd as BorrowedFile, OwnedFd as OwnedFile};

/// A value that has a file descriptor, which may be a memory file's.
pub trait AsFile {
    /// Its descriptor.
    fn as_file(&self) -> BorrowedFile<'_>;
}

impl<T: std::os::fd::AsFd> AsFile for T {
    fn as_file(&self) -> BorrowedFile<'_> {
        self.as_fd()
    }
}

/// The descriptor in a type for calls that send or wait: the same here.
#[inline]
pub fn waitable(file: BorrowedFile<'_>) -> BorrowedFile<'_> {
    file
}

/// Implements `AsFd` and `AsRawFd`.
#[macro_export]
#[doc(hidden)]
macro_rules! descriptor {
    ($type:ty, $($at:tt)+) => {
        impl std::os::fd::AsFd for $type {
            fn as_fd(&self) -> std::os::fd::BorrowedFd<'_> {
                #[allow(unused_imports)] // `$type` may have the method already
                use std::os::fd::AsFd as _;
                self.$($at)+.as_fd()
            }
        }

        impl std::os::fd::AsRawFd for $type {
            fn as_raw_fd(&self) -> std::os::fd::RawFd {
                #[allow(unused_imports)] // `$type` may have the method already
                use std::os::fd::AsFd as _;
                self.as_fd().as_raw_fd()
            }
        }
    };
}
pub use descriptor;

/// Implements the traits for our end of a pipe to a child.
pub use descriptor as pipe_descriptor;

/// Implements the traits for a descriptor of any kind.
pub use descriptor as any_descriptor;

/// Implements the traits for a file, which is no special kind here.
pub use descriptor as file_descriptor;
