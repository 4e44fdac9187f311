//! What a launcher's command inherits: its three standard streams, and what is chosen besides.
//!
//! Descriptors without close-on-exec come from a shell, from socket activation or from a C library.
//! They are marked in the child, after `fork`, so those are covered that other threads open
//! meanwhile.
//!
//! - **H28** A closure that runs between `fork` and `exec` makes system calls, and nothing else:
//!   it allocates nothing and takes no lock.
//! - **H29** `close_range` with `CLOSE_RANGE_CLOEXEC`, and `fcntl` with `F_SETFD`, take any
//!   numbers, and change no more than marks of this process's descriptors.
//!
//! Tests: `tests/process/launcher.rs`.
#![allow(unsafe_code)]

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::Command;

use rustix::process::Resource;

use crate::sys::limits;

/// Descriptors with higher numbers exist only where an administrator has raised the system's limit.
const DESCRIPTORS_BELOW: u64 = 1 << 20;

/// Makes `command` inherit nothing besides its three standard streams and `also`.
pub fn only_standard_streams(command: &mut Command, also: Option<OwnedFd>) -> io::Result<()> {
    let most = limits::limit(Resource::Nofile)?.maximum;
    let most = most.map_or(DESCRIPTORS_BELOW, |most| most.min(DESCRIPTORS_BELOW)) as i32;
    let mark = move || {
        close_on_exec(most);
        match &also {
            Some(also) => set_flags(also.as_raw_fd(), 0),
            None => Ok(()),
        }
    };
    // SAFETY: H28: the closure makes system calls only.
    unsafe { command.pre_exec(mark) };
    Ok(())
}

/// Marks all descriptors from 3 on; where `close_range` is missing, those below `most`, one by one.
fn close_on_exec(most: i32) {
    #[cfg(target_os = "linux")]
    {
        let (first, last) = (3 as libc::c_uint, libc::c_uint::MAX);
        let flags = libc::CLOSE_RANGE_CLOEXEC;
        // SAFETY: H29: any numbers will do.
        if unsafe { libc::syscall(libc::SYS_close_range, first, last, flags) } == 0 {
            return;
        }
    }
    for number in 3..most {
        let _ = set_flags(number, libc::FD_CLOEXEC); // it may not be open
    }
}

fn set_flags(number: i32, flags: libc::c_int) -> io::Result<()> {
    // SAFETY: H29: any number will do.
    if unsafe { libc::fcntl(number, libc::F_SETFD, flags) } == -1 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}
