//! What all Unix systems have alike for children: a child's number, the errors of calls, signals.

pub(crate) use rustix::io::Errno as Error;
pub(crate) use rustix::process::{Pid as Id, Signal};

/// Whether there is no such child any more, not even a zombie.
pub(crate) fn is_gone(error: &Error) -> bool {
    *error == Error::SRCH
}

/// Whether it has ended, and its status was fetched elsewhere.
pub(crate) fn is_lost(error: &Error) -> bool {
    *error == Error::CHILD
}

/// The number of a child that `std` has started.
#[allow(clippy::unnecessary_wraps)] // elsewhere it may fail
pub(crate) fn id(child: &std::process::Child) -> Result<Id, Error> {
    Ok(Id::from_child(child))
}

/// Sends a signal by number: the child was not waited for, so the number is still its own.
pub(crate) fn signal_by_id(id: &Id, signal: Signal) -> Result<(), Error> {
    rustix::process::kill_process(*id, signal)
}

/// The signal that has ended it.
pub(crate) fn signal_of(status: std::process::ExitStatus) -> Option<i32> {
    std::os::unix::process::ExitStatusExt::signal(&status)
}

/// Whether it has aborted, as Rust's allocator does when there is no memory.
pub(crate) fn is_abort(_code: Option<i32>, signal: Option<i32>) -> bool {
    signal == Some(Signal::ABORT.as_raw())
}

/// Whether a process may have been ended by the system, which does not want it to run.
pub(crate) fn is_unwanted(_code: Option<i32>, signal: Option<i32>) -> bool {
    signal == Some(Signal::KILL.as_raw())
}
