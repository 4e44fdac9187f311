//! How a worker is started as a child of this process, with which environment and processors.
//!
//! It executes the file that this process runs (`host::executable`), also if another file has its
//! name by now, with the same arguments, in a process group of its own. Its standard input is the
//! stream; `entry` says how it learns that it is a worker.
//!
//! What else it inherits, and gives up: `worker/serve.rs`. The driver catches a panic in `env_for`
//! or `pin_to`.
//!
//! Tests:
//! `tests/process/pool.rs::what_is_opened_while_a_worker_is_started_is_not_its_own`,
//! `tests/process/host.rs::workers_that_are_held_up_at_their_start_cost_no_call_its_time`.

use std::ffi::{OsStr, OsString};
use std::fmt::Display;
use std::io;
use std::process::Command;

use super::settings::{Settings, WorkerStdout};
use crate::process::launch::launched::{Born, Newborn, Started, stream};
use crate::process::launch::pool_error::not_started;
use crate::process::wire::invitation::{self, VARIABLE};
use crate::sys::{pipe_end, sockets, stdio};
use trefoil_os::host::affinity::{Pinned, pin};
use trefoil_os::host::{executable, process_group};

/// Starts worker `index`, and returns our end of its stream.
pub(super) fn start_child(index: usize, settings: &Settings) -> io::Result<Started> {
    let (ours, theirs) = stream()?;
    let kept = sockets::keep(&theirs)?;
    let program = executable::path()?;
    let mut command = Command::new(&program);
    process_group::prepare(&mut command);
    let name = settings.own.as_ref().map_or("", |own| &*own.name);
    let invitation = invitation::variable(settings.depth, settings.serves_forks, name);
    let mut all = settings.variables.clone();
    all.extend(variables_of(index, settings)?);
    command
        .args(std::env::args_os().skip(1))
        .envs(all)
        .env(VARIABLE, invitation)
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
    let pinned = settings.processors_for.as_ref();
    let pinned = pinned.map(|processors| pin_to(index, &processors(index)));
    let _pinned = pinned.transpose()?;
    let child = command
        .spawn()
        .map_err(|error| not_started(&program, error))?;
    // (Dropping `command` closes our copy of the child's end of the socket.)
    Ok(Started {
        socket: ours.into(),
        kept,
        pid: child.id(),
        child: Newborn(Some(Born::Started(child))),
        output,
        stderr: Some(stderr),
    })
}

/// The variables of worker `index` alone. All that it will have are checked: each has a name that
/// an environment can have. (`Command` takes others, and makes something else of them.)
pub(super) fn variables_of(
    index: usize,
    settings: &Settings,
) -> io::Result<Vec<(OsString, OsString)>> {
    let own = settings.variables_for.as_ref();
    let own = own.map(|variables| variables(index)).unwrap_or_default();
    for (name, value) in settings.variables.iter().chain(&own) {
        if let Some(message) = refusal(name, value, &format_args!("worker {index}")) {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, message));
        }
    }
    Ok(own)
}

/// Why the environment `of` a worker cannot have this variable.
pub(crate) fn refusal(name: &OsStr, value: &OsStr, of: &dyn Display) -> Option<String> {
    let has = |text: &OsStr, byte| text.as_encoded_bytes().contains(&byte);
    if name.is_empty() || has(name, b'=') || has(name, 0) {
        Some(format!(
            "{name:?} cannot be the name of an environment variable of {of}: it is empty, or \
             contains `=` or a NUL byte"
        ))
    } else if has(value, 0) {
        Some(format!(
            "{value:?} cannot be the value of {name:?} in the environment of {of}: it contains a \
             NUL byte"
        ))
    } else {
        None
    }
}

/// What worker `index` inherits if it is started now: it may run on these processors only.
pub(super) fn pin_to(index: usize, processors: &[usize]) -> io::Result<Pinned> {
    pin(processors).map_err(|error| {
        let message =
            format!("worker {index} cannot be pinned to the processors {processors:?}: {error}");
        io::Error::new(error.kind(), message)
    })
}
