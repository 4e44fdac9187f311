//! What all Unix systems share for children: a child's number, the errors of calls, signals.

pub use rustix::io::Errno as Error;
pub use rustix::process::{Pid as Id, Signal};

/// Whether the child does not exist any more, not even as a zombie.
pub fn is_gone(error: &Error) -> bool {
    *error == Error::SRCH
}

/// Whether the child has ended and other code has fetched its status.
pub fn is_lost(error: &Error) -> bool {
    *error == Error::CHILD
}

/// The number of a child that `std` has started.
#[allow(clippy::unnecessary_wraps)] // on Windows it may fail
pub fn id(child: &std::process::Child) -> Result<Id, Error> {
    Ok(Id::from_child(child))
}

/// Sends a signal by the child's number. The child's status was not fetched, so no other process
/// has the number.
pub fn signal_by_id(id: &Id, signal: Signal) -> Result<(), Error> {
    rustix::process::kill_process(*id, signal)
}

/// The number of the signal that ended the process, if one did.
pub fn signal_of(status: std::process::ExitStatus) -> Option<i32> {
    std::os::unix::process::ExitStatusExt::signal(&status)
}

/// Whether the process has aborted, as Rust's allocator does when there is no memory.
pub fn is_abort(_code: Option<i32>, signal: Option<i32>) -> bool {
    signal == Some(Signal::ABORT.as_raw())
}

/// Whether the system may have ended the process because a policy forbids it.
pub fn is_unwanted(_code: Option<i32>, signal: Option<i32>) -> bool {
    signal == Some(Signal::KILL.as_raw())
}
