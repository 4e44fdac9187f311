//! A type shows the descriptor that it has.

pub(crate) use std::os::fd::{BorrowedFd as BorrowedFile, OwnedFd as OwnedFile};

/// What has a file: memory, too.
pub(crate) trait AsFile {
    fn as_file(&self) -> BorrowedFile<'_>;
}

impl<T: std::os::fd::AsFd> AsFile for T {
    fn as_file(&self) -> BorrowedFile<'_> {
        self.as_fd()
    }
}

/// As what is sent, or waited for.
pub(crate) fn waitable(file: BorrowedFile<'_>) -> BorrowedFile<'_> {
    file
}

/// By `AsFd` and `AsRawFd`.
macro_rules! descriptor {
    ($type:ty, $($at:tt)+) => {
        impl std::os::fd::AsFd for $type {
            fn as_fd(&self) -> std::os::fd::BorrowedFd<'_> {
                #[allow(unused_imports)] // it may be there
                use std::os::fd::AsFd as _;
                self.$($at)+.as_fd()
            }
        }

        impl std::os::fd::AsRawFd for $type {
            fn as_raw_fd(&self) -> std::os::fd::RawFd {
                #[allow(unused_imports)] // it may be there
                use std::os::fd::AsFd as _;
                self.as_fd().as_raw_fd()
            }
        }
    };
}
pub(crate) use descriptor;

/// Of our end of a pipe to a child.
pub(crate) use descriptor as pipe_descriptor;

/// Of a file that may be something else.
pub(crate) use descriptor as any_descriptor;

/// A file's, which is no other kind here.
pub(crate) use descriptor as file_descriptor;
