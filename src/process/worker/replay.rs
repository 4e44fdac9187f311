//! Runs the item of a capsule in this process, without a pool: `TREFOIL_REPLAY`.
//!
//! The frames of the file are what a plain worker is sent, so this process does what such a worker
//! does: it decodes the argument, calls the function and encodes the result, which nobody reads.
//! What ends the item ends this process in the same way: a signal, an exit, an endless loop. An
//! error that a worker would report becomes an exit code.
//!
//! **Invariants.** The functions in the file were made together by a program with the same image
//! (W6, W7): the file names it, and its checksum fits. A forged file can name any code of this
//! program, like a forged invitation (W59), so it is read only on demand of whoever set this
//! process's environment.
//!
//! Tests: `tests/process/capsules.rs`.

use std::fmt::Display;
use std::io::Write;
use std::path::Path;
use std::process::exit;

use super::batch::{Failure, WorkerState};
use super::call::calls;
use super::context::Contexts;
use super::index::INDEX;
use super::memory_limit::MemoryLimit;
use super::peer::{self, Inlet};
use super::replay_inlet::ReplayInlet;
use super::serve::work;
use crate::process::host::broken_pipe;
use crate::process::host::image::image;
use crate::process::host::ledger::Pages;
use crate::process::job::capsule::Capsule;
use crate::process::wire::CodecOf;
use crate::sys::fork;
use crate::task::panic;

/// The exit code of an item that has panicked, like that of a `main` that panics.
const PANICKED: i32 = 101;
/// That of an argument or a result that could not be decoded or encoded.
const CODEC: i32 = 65;
/// That of a file that this program cannot run.
const REFUSED: i32 = 64;

/// Prints a line, whether or not anybody reads it.
fn say(line: &dyn Display) {
    let _ = writeln!(std::io::stderr(), "trefoil: {line}");
}

/// The file is of another copy of this crate in this build of the program, which runs it.
pub(in crate::process) struct OfAnotherCopy;

/// Runs the item in the file at `path`, and ends this process.
pub(in crate::process) fn replay(path: &Path, is_alone: Result<(), &'static str>) -> OfAnotherCopy {
    let capsule = Capsule::open(path).unwrap_or_else(|error| refuses(&error));
    let copy = &capsule.head.copy;
    if copy.rsplit('-').next() != Some(image().build()) {
        refuses(&format_args!(
            "{} was written by another build of this program, whose functions are elsewhere: run \
             that build, or read the argument in a test of this one, with \
             `trefoil::process::Capsule::open(path)?.argument()`",
            path.display()
        ));
    }
    if copy != image().name() {
        return OfAnotherCopy;
    }
    if let Err(why) = is_alone {
        refuses(&why);
    }
    say(&format_args!("replays {}: {capsule}", path.display()));
    match prepared(capsule) {
        Ok((mut inlet, mut state)) => work(&mut inlet, &mut state),
        Err(error) => refuses(&error),
    }
}

fn refuses(why: &dyn Display) -> ! {
    say(&format_args!("it cannot replay: {why}"));
    exit(REFUSED)
}

fn prepared(capsule: Capsule) -> std::io::Result<(Inlet, WorkerState)> {
    let _ = INDEX.set(usize::try_from(capsule.head.worker).unwrap_or(0));
    broken_pipe::ignore(); // as in a worker
    fork::register_handler();
    panic::install_hook();
    let pages = Pages::own();
    let (calls, canceller) = calls((*pages).clone());
    let limit = capsule.head.memory;
    let memory = (limit > 0).then(|| MemoryLimit::new(limit)).transpose()?;
    let returned: fn() = || say(&"the item has returned a value");
    let inlet = ReplayInlet::new(capsule, canceller, returned);
    let (inlet, outlet) = peer::replaying(inlet, pages)?;
    let state = WorkerState {
        outlet,
        calls,
        contexts: Contexts::default(),
        actor: None,
        memory,
        retiring: false,
        replays: Some(fails),
    };
    Ok((inlet, state))
}

/// Ends this process as an item ends that has returned no value.
fn fails(failure: Failure<'_>) -> ! {
    let (of, detail) = match failure {
        Failure::Panic => exit(PANICKED), // the hook has printed it
        Failure::Codec(of, detail) => (of, detail),
    };
    let (what, done) = match of {
        CodecOf::Argument => ("the argument", "decoded"),
        CodecOf::Context => ("the context", "decoded"),
        CodecOf::Result => ("the result", "encoded"),
    };
    say(&format_args!("{what} could not be {done}: {detail}"));
    exit(CODEC)
}
