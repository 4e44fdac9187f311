//! Starts a worker as a child of this process.
//!
//! It executes the file that this process runs (`sys::executable`), with the same arguments, in a
//! process group of its own. Its standard input is the stream; `entry` says how it learns that it
//! is a worker.
//!
//! Tests: `tests/process/pool.rs`, `tests/process/host.rs`.

use std::io;
use std::process::Command;

use super::settings::{Settings, WorkerStdout};
use crate::process::host::worker::handed_on;
use crate::process::host::{executable, family};
use crate::process::launch::launched::{Newborn, Started, stream};
use crate::process::launch::pool_error::not_started;
use crate::process::wire::invitation::{self, VARIABLE};
use crate::sys::{pipe_end, sockets, stdio};

/// Starts worker `index`, and returns our end of its stream.
pub(super) fn here(index: usize, settings: &Settings) -> io::Result<Started> {
    let (ours, theirs) = stream()?;
    let kept = sockets::keep(&theirs)?;
    let program = executable::path()?;
    let mut command = Command::new(&program);
    family::prepare(&mut command);
    let name = settings.own.as_ref().map_or("", |own| &*own.name);
    command
        .args(std::env::args_os().skip(1))
        .envs(settings.variables.iter().map(|(key, value)| (key, value)))
        .envs((settings.variables_for.iter()).flat_map(|variables| variables(index)))
        .env(
            VARIABLE,
            invitation::variable(settings.depth, &handed_on(), name),
        )
        .stdin(sockets::to_child(theirs)?);
    let (stderr, theirs) = pipe_end::pair()?;
    command.stderr(theirs);
    let mut output = None;
    match settings.stdout {
        WorkerStdout::Inherit => {}
        WorkerStdout::Null => {
            command.stdout(stdio::null().map_err(|error| {
                let message = format!("{} cannot be opened: {error}", stdio::NULL);
                io::Error::new(error.kind(), message)
            })?);
        }
        WorkerStdout::Capture => {
            let (ours, theirs) = pipe_end::pair()?;
            command.stdout(theirs);
            output = Some(ours);
        }
    }
    let child = command
        .spawn()
        .map_err(|error| not_started(&program, error))?;
    // (Dropping `command` closes our copy of the child's end of the socket.)
    Ok(Started {
        socket: ours.into(),
        kept,
        pid: child.id(),
        child: Newborn(Some(child)),
        machine: None,
        output,
        stderr: Some(stderr),
    })
}
