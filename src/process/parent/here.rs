//! Starts a worker as a child of this process.
//!
//! It executes the file that this process runs (`sys::executable`), with the same arguments, in a process group of its own. Its
//! standard input is the stream; `entry` says how it learns that it is a worker.
//!
//! Tests: `tests/process/pool.rs`, `tests/process/host.rs`.

use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};

use super::launch::{Started, stream};
use super::pool_error::not_started;
use super::settings::{Settings, WorkerStdout};
use crate::process::wire::invitation::{self, VARIABLE};
use crate::sys::executable;
use crate::sys::worker::handed_on;

/// Starts a worker, and has our end of its stream.
pub(super) fn here(settings: &Settings) -> io::Result<Started> {
    let (ours, theirs) = stream()?;
    let program = executable::path()?;
    let mut command = Command::new(&program);
    let mut arguments = std::env::args_os();
    if let Some(name) = arguments.next() {
        command.arg0(name);
    }
    let name = settings.own.as_ref().map_or("", |own| &*own.name);
    command
        .args(arguments)
        .envs(settings.variables.iter().map(|(key, value)| (key, value)))
        .env(
            VARIABLE,
            invitation::variable(settings.depth, &handed_on(), name),
        )
        .stdin(OwnedFd::from(theirs))
        .stderr(Stdio::piped())
        .process_group(0);
    match settings.stdout {
        WorkerStdout::Inherit => {}
        WorkerStdout::Null => {
            let null = File::options().write(true).open("/dev/null");
            command.stdout(null.map_err(|error| {
                let words = format!("/dev/null cannot be opened: {error}");
                io::Error::new(error.kind(), words)
            })?);
        }
        WorkerStdout::Capture => drop(command.stdout(Stdio::piped())),
    }
    let child = command
        .spawn()
        .map_err(|error| not_started(&program, error))?;
    // (With `command` goes our copy of the child's end of the socket.)
    Ok(Started::of_child(ours, child))
}
