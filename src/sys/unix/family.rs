//! A worker and the processes that it starts, which are ended together: a process group.
//!
//! Tests: `tests/process/one.rs`.

use std::io;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command};

use rustix::process::{Pid, Signal};

/// The calls by which a worker is started, any of which may be refused.
pub(crate) const STARTS: &str = "one of pipe2, clone, dup2, setpgid, execve";

/// What may forbid the start, and where to look.
pub(crate) const FORBIDS: &str = if cfg!(target_os = "macos") {
    "its quarantine (`xattr -l FILE` shows it), its mode, a mount without execution or a sandbox may forbid it"
} else {
    "its mode, a mount without execution, a security module or a filter of system calls may forbid it"
};

/// What may end a process that has just been started, and where to look.
pub(crate) const ENDS: &str = if cfg!(target_os = "macos") {
    "because of its quarantine (`xattr -l FILE` shows it), of a signature that is not valid \
     (`codesign --verify FILE`), or for lack of memory: the system's log says which"
} else {
    "for lack of memory, or at the order of a security module: the kernel's log says which"
};

/// A process group.
#[derive(Debug)]
pub(crate) struct Family(Pid);

/// Gives the child of `command` a family of its own, and this process's program name.
pub(crate) fn prepare(command: &mut Command) {
    if let Some(name) = std::env::args_os().next() {
        command.arg0(name);
    }
    command.process_group(0);
}

impl Family {
    /// The family of a child that was [prepared](prepare).
    #[allow(clippy::unnecessary_wraps)] // elsewhere it may be refused
    pub(crate) fn of(child: &Child) -> io::Result<Option<Self>> {
        Ok(Some(Self(Pid::from_child(child))))
    }

    /// Kills all of it. Its first process must not have been reaped.
    pub(crate) fn kill(&self) {
        let _ = rustix::process::kill_process_group(self.0, Signal::KILL);
    }
}
