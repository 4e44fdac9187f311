//! A copy of this process that is its sibling: `fork`, but the new process is a child of this one's
//! parent, which waits for it, and so learns how it ends.
//!
//! **Job.** The system call `clone` with `CLONE_PARENT`, which the C library has no function for.
//! It is called only in a process that has one thread, so no lock is held and no value half made.
//!
//! **What `fork` of the C library does besides,** and where it is done here:
//! - It has the kernel write the new thread's number where the library keeps it (`pthread_kill`,
//!   locks of priority and robust locks read it there). The same flags are set here
//!   (`CLONE_CHILD_SETTID`, `CLONE_CHILD_CLEARTID`). The kernel knows the place, because the
//!   library has registered it at the start of the program (`PR_GET_TID_ADDRESS`); that it is the
//!   place is checked: the number there is this thread's. (musl registers another place, and is
//!   refused.)
//! - It registers the list of robust locks again: the same call here.
//! - It takes and releases, or renews, locks of the library (memory, streams, names): with one
//!   thread none is held. It forgets the stacks of other threads: there are none.
//! - It calls what was registered by `pthread_atfork`. Here only the handlers of this crate are
//!   called (`sys::fork`); what a library of the program has registered is not. The documentation
//!   of `after_fork` says so.
//!
//! **The number of the copy** is stored by the kernel (`CLONE_PARENT_SETTID`) before the call
//! returns, where the caller says: in memory that the parent sees, too. So the parent knows its new
//! child, and can reap it, even if this process is killed before its next instruction. (A
//! descriptor of the child from `CLONE_PIDFD` would be lost then.)
//!
//! It is `clone` and not `clone3`, because container runtimes forbid the latter, whose flags their
//! filters cannot read. The order of its last two arguments differs between processors; the one
//! that is not used (`tls`) is ignored without its flag, so both get the same value.
//!
//! - **H85** With these flags the kernel writes one number to each of two places: the caller's, an
//!   atomic number, and in the copy, the place that the C library has registered, now and when the
//!   thread ends. The copy has memory, stack and registers of its own, and returns from the call as
//!   the original does.
//! - **H86** `prctl` with `PR_GET_TID_ADDRESS` writes one pointer, to a variable of the caller's.
//!   The place that it names was registered by the C library, and is memory of the first thread,
//!   which never goes.
//! - **H87** `get_robust_list` writes a pointer and a length, to variables of the caller's;
//!   `set_robust_list` with these registers the same place in the copy.
//! - **H88** `fflush` with a null pointer writes what all streams of the C library hold.
//!
//! Tests: below; `tests/process/fork_server.rs`.
#![allow(unsafe_code)]

use std::ffi::{OsString, c_int, c_long, c_ulong};
use std::io;
use std::os::fd::{OwnedFd, RawFd};
use std::os::unix::ffi::OsStringExt;
use std::ptr::{null_mut, with_exposed_provenance_mut};
// A number that another process reads after this one has ended: no protocol.
use std::sync::atomic::AtomicU32;

use super::itself::{is_alone, is_first_thread};
use crate::sys::descriptor::AsFile;
use crate::sys::fork::cloned;
use crate::sys::refused::{failed, refused};

/// Whether a process can have such copies.
pub const FORKS: bool = cfg!(target_env = "gnu");

/// Why there are none where there are none.
pub const UNSUPPORTED: &str = "a fork server needs Linux with the GNU C library";

/// The names of the threads of this process besides the first.
pub fn other_threads() -> Vec<String> {
    let own = std::process::id().to_string();
    let tasks = std::fs::read_dir("/proc/self/task").into_iter().flatten();
    let others = tasks.flatten().filter(|task| *task.file_name() != *own);
    let name = |task: std::fs::DirEntry| std::fs::read_to_string(task.path().join("comm")).ok();
    others
        .filter_map(name)
        .map(|name| name.trim_end().to_owned())
        .collect()
}

/// Where the C library keeps the number of the first thread.
fn place_of_number() -> io::Result<*mut c_int> {
    let mut place = null_mut::<c_int>();
    // SAFETY: H86: the variable is ours.
    let known = unsafe { libc::prctl(libc::PR_GET_TID_ADDRESS, &raw mut place) };
    if known != 0 {
        return Err(failed("prctl")(io::Error::last_os_error()));
    }
    // SAFETY: H86: the C library has registered it.
    if place.is_null() || unsafe { place.read() }.cast_unsigned() != std::process::id() {
        return Err(io::Error::new(io::ErrorKind::Unsupported, UNSUPPORTED));
    }
    Ok(place)
}

/// The list of robust locks: where it is, and its length.
fn robust_list() -> Option<(usize, usize)> {
    let (mut head, mut length) = (0_usize, 0_usize);
    let call = libc::SYS_get_robust_list;
    // SAFETY: H87: the variables are ours.
    let known = unsafe { libc::syscall(call, 0, &raw mut head, &raw mut length) };
    (known == 0 && head != 0).then_some((head, length))
}

/// Makes a copy of this process, which must have one thread. Returns its number in the original,
/// and `None` in the copy. The kernel stores the number in `number` before anything else can
/// happen to the original.
pub fn fork(number: &AtomicU32) -> io::Result<Option<u32>> {
    if is_alone() != Some(true) || !is_first_thread() {
        return Err(io::Error::other("this process has other threads"));
    }
    let place = place_of_number()?;
    let robust = robust_list();
    let flags = libc::CLONE_PARENT
        | libc::CLONE_PARENT_SETTID
        | libc::CLONE_CHILD_SETTID
        | libc::CLONE_CHILD_CLEARTID
        | libc::SIGCHLD;
    let flags = flags as c_ulong;
    let same_stack: c_ulong = 0;
    let (first, second) = if cfg!(target_arch = "s390x") {
        (same_stack, flags)
    } else {
        (flags, same_stack)
    };
    let stored = number.as_ptr();
    // SAFETY: H85: there is no other thread, and both places outlive the process.
    let made: c_long =
        unsafe { libc::syscall(libc::SYS_clone, first, second, stored, place, place) };
    match made {
        0 => {
            if let Some((head, length)) = robust {
                let head = with_exposed_provenance_mut::<()>(head);
                // SAFETY: H87: they are those of the thread that this one is a copy of.
                unsafe { libc::syscall(libc::SYS_set_robust_list, head, length) };
            }
            cloned();
            Ok(None)
        }
        number => match u32::try_from(number) {
            Ok(number) => Ok(Some(number)),
            Err(_) => Err(failed("clone")(io::Error::last_os_error())),
        },
    }
}

/// Writes what the streams of the C library and of Rust hold, so that no copy of this process
/// writes it again.
pub fn flush_streams() {
    let _ = io::Write::flush(&mut io::stdout());
    // SAFETY: H88.
    let _ = unsafe { libc::fflush(null_mut()) };
}

/// Sets variables of this process's environment, which must have one thread: otherwise none is set,
/// which is an error.
pub fn set_variables(variables: Vec<(Vec<u8>, Vec<u8>)>) -> io::Result<()> {
    if variables.is_empty() {
        return Ok(());
    }
    if is_alone() != Some(true) {
        return Err(io::Error::other("this process has other threads"));
    }
    for (name, value) in variables {
        let (name, value) = (OsString::from_vec(name), OsString::from_vec(value));
        // SAFETY: H25: no other thread reads or writes the environment now.
        unsafe { std::env::set_var(name, value) };
    }
    Ok(())
}

/// Another handle of this, with a number from `first` on, which no child inherits.
pub fn duplicate(descriptor: impl AsFile, first: RawFd) -> io::Result<OwnedFd> {
    rustix::io::fcntl_dupfd_cloexec(descriptor.as_file(), first).map_err(refused("fcntl"))
}

/// Makes standard output another handle of this.
pub fn use_as_output(descriptor: impl AsFile) -> io::Result<()> {
    rustix::stdio::dup2_stdout(descriptor.as_file()).map_err(refused("dup2"))
}

/// Makes standard error another handle of this.
pub fn use_as_error(descriptor: impl AsFile) -> io::Result<()> {
    rustix::stdio::dup2_stderr(descriptor.as_file()).map_err(refused("dup2"))
}

#[cfg(all(test, target_env = "gnu", not(any(loom, miri))))]
mod tests {
    use super::*;

    #[test]
    fn a_process_with_threads_makes_no_copy_and_its_threads_are_named() {
        let named = std::thread::Builder::new().name("stays".to_owned());
        let (here, there) = std::sync::mpsc::channel::<()>();
        let stays = named.spawn(move || there.recv().is_err()).unwrap();
        let number = AtomicU32::new(0);
        assert!(fork(&number).is_err());
        assert_eq!(number.into_inner(), 0);
        // (A thread sets its own name, after it was started.)
        while !other_threads().contains(&"stays".to_owned()) {
            std::thread::yield_now();
        }
        drop(here);
        assert!(stays.join().unwrap());
    }

    #[test]
    fn the_place_of_the_first_thread_is_not_that_of_another() {
        // (The tests of a harness are not on the first thread.)
        assert!(is_first_thread() == place_of_number().is_ok());
    }
}
