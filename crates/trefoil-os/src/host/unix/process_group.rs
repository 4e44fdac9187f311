//! A process group, which ends a worker and everything that the worker started together.
//!
//! Tests: `tests/process/one.rs`.

use std::io;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command};

use rustix::process::{Pid, Signal};

/// The system calls that start a worker, any of which may be refused.
pub const STARTS: &str = if cfg!(target_os = "macos") {
    "posix_spawn"
} else {
    "one of pipe2, clone, dup2, setpgid, execve"
};

/// What may forbid the start, and where the user finds the reason.
pub const FORBIDS: &str = if cfg!(target_os = "macos") {
    "its quarantine (`xattr -l FILE` shows it), its mode, a `noexec` mount or a sandbox may forbid \
     it"
} else {
    "its mode, a `noexec` mount, a security module or a system-call filter may forbid it"
};

/// What may end a process that has just been started, and where the user finds the reason.
pub const ENDS: &str = if cfg!(target_os = "macos") {
    "because of its quarantine (`xattr -l FILE` shows it), of a signature that is not valid \
     (`codesign --verify FILE`), or for lack of memory: the system's log says which"
} else {
    "for lack of memory, or on the order of a security module: the kernel's log says which"
};

/// The process group of a worker.
#[derive(Debug)]
pub struct ProcessGroup(Pid);

/// Makes the child of `command` the leader of a new group, and gives it this process's program
/// name.
pub fn prepare(command: &mut Command) {
    if let Some(name) = std::env::args_os().next() {
        command.arg0(name);
    }
    command.process_group(0);
}

impl ProcessGroup {
    /// The group of a child that was [prepared](prepare).
    #[allow(clippy::unnecessary_wraps)] // Windows may refuse it
    pub fn of(child: &Child) -> io::Result<Option<Self>> {
        Ok(Some(Self(Pid::from_child(child))))
    }

    /// The group that the process with this number leads, or is about to.
    #[must_use]
    pub fn led_by(id: Pid) -> Option<Self> {
        Some(Self(id))
    }

    /// Kills all processes of the group. Its first one must not have been reaped.
    pub fn kill(&self) {
        let _ = rustix::process::kill_process_group(self.0, Signal::KILL);
    }
}
