//! Words about children that all Unix systems have alike: a child's number, what a call fails with,
//! signals.

pub(crate) use rustix::io::Errno as Error;
pub(crate) use rustix::process::{Pid as Id, Signal};

/// There is no such child any more, not even a zombie.
pub(crate) fn is_gone(error: &Error) -> bool {
    *error == Error::SRCH
}

/// It has ended, and its status was fetched elsewhere.
pub(crate) fn is_lost(error: &Error) -> bool {
    *error == Error::CHILD
}

/// Of a child that `std` has started.
#[allow(clippy::unnecessary_wraps)] // elsewhere it may fail
pub(crate) fn id(child: &std::process::Child) -> Result<Id, Error> {
    Ok(Id::from_child(child))
}

/// By its number: it was not waited for, so that is still its own.
pub(crate) fn signal_by_id(id: &Id, signal: Signal) -> Result<(), Error> {
    rustix::process::kill_process(*id, signal)
}

/// The signal that has ended it.
pub(crate) fn signal_of(status: std::process::ExitStatus) -> Option<i32> {
    std::os::unix::process::ExitStatusExt::signal(&status)
}

/// It has ended itself, as the allocator does when there is no memory.
pub(crate) fn is_abort(_code: Option<i32>, signal: Option<i32>) -> bool {
    signal == Some(Signal::ABORT.as_raw())
}
