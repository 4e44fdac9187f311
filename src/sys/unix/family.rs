//! A worker and what it starts, which are ended together: a group of processes.
//!
//! Tests: `tests/process/one.rs`.

use std::io;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command};

use rustix::process::{Pid, Signal};

/// A group of processes.
#[derive(Debug)]
pub(crate) struct Family(Pid);

/// What is started by `command` has a family of its own, with its program's name as this process
/// has it.
pub(crate) fn prepare(command: &mut Command) {
    if let Some(name) = std::env::args_os().next() {
        command.arg0(name);
    }
    command.process_group(0);
}

impl Family {
    /// That of a child that was [prepared](prepare).
    #[allow(clippy::unnecessary_wraps)] // elsewhere it may be refused
    pub(crate) fn of(child: &Child) -> io::Result<Option<Self>> {
        Ok(Some(Self(Pid::from_child(child))))
    }

    /// Ends all of it. The first of it has not been reaped.
    pub(crate) fn kill(&self) {
        let _ = rustix::process::kill_process_group(self.0, Signal::KILL);
    }
}
