//! Runs the item of a capsule in this process, without a pool: `TREFOIL_REPLAY`.
//!
//! The frames of the file are what a plain worker is sent, so this process does what such a worker
//! does: it decodes the argument, calls the function and encodes the result, which nobody reads.
//! What ends the item ends this process in the same way: a signal, an exit, an endless loop. An
//! error that a worker would report becomes an exit code.
//!
//! Another build of the program has its functions elsewhere. It runs those that have the names in
//! the file here ([`Named`]), if they take types of the same names. What is then decoded may be any
//! bytes, as always (W1).
//!
//! **Invariants.** The functions in the file were made together by a program with the same image
//! (W6, W7): the file names it, and its checksum fits. Otherwise they were made here, with their
//! names. A forged file can name any code of this program, like a forged invitation (W59), so it is
//! read only on demand of whoever set this process's environment.
//!
//! Tests: `tests/process/capsules.rs`.

use std::collections::VecDeque;
use std::fmt::Display;
use std::io::Write;
use std::path::Path;
use std::process::exit;

use super::batch::{Failure, Serving};
use super::cancel::calls;
use super::index::INDEX;
use super::memory_limit::MemoryLimit;
use super::peer::{self, Inlet};
use super::replay_inlet::ReplayInlet;
use super::serve::work;
use crate::process::host::broken_pipe;
use crate::process::host::crash_handler::note_crashes;
use crate::process::host::image::image;
use crate::process::host::ledger::Pages;
use crate::process::job::capsule::{Capsule, CapsuleHead};
use crate::process::job::named::Named;
use crate::process::wire::{CodeRef, CodecOf};
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

fn refuses(why: &dyn Display) -> ! {
    say(&format_args!("it cannot replay: {why}"));
    exit(REFUSED)
}

/// The item of a file that this copy of this crate runs.
pub(in crate::process) struct Replay {
    capsule: Capsule,
    /// Where its functions are, if not where the file says: in the order of its calls.
    elsewhere: VecDeque<CodeRef>,
}

impl Replay {
    /// What is in the file at `path`; `None`: another copy of this crate, in this build of the
    /// program, runs it. Ends this process if none can. `function`: the name of the item's function
    /// here.
    ///
    /// Another copy of another version may have the functions of a file of another build. Nobody
    /// knows that before its `init` is called, which may be never; then the program itself would
    /// run in place of the item. So the copy whose `init` comes first refuses such a file.
    pub(in crate::process) fn open(path: &Path, function: Option<String>) -> Option<Self> {
        let capsule = Capsule::open(path)
            .unwrap_or_else(|error| refuses(&format_args!("{}: {error}", path.display())));
        let copy = &capsule.head.copy;
        let (version, build) = (version_of(copy), copy.rsplit('-').next());
        let elsewhere = if build == Some(image().build()) {
            if copy != image().name() {
                return None;
            }
            VecDeque::new()
        } else if version == version_of(image().name()) {
            find(&capsule.head, function).unwrap_or_else(|why| {
                refuses(&format_args!(
                    "{} was written by another build of this program, whose functions are \
                     elsewhere, and {why}. (A test can read the argument, with \
                     `trefoil::process::Capsule::open(path)?.argument()`.)",
                    path.display()
                ))
            })
        } else {
            refuses(&format_args!(
                "{} was written with version {} of trefoil, and this is {}",
                path.display(),
                version.unwrap_or("?"),
                env!("CARGO_PKG_VERSION")
            ))
        };
        say(&format_args!("replays {}: {capsule}", path.display()));
        Some(Self { capsule, elsewhere })
    }

    /// Runs it, and ends this process.
    pub(in crate::process) fn run(self, is_alone: Result<(), &'static str>) -> ! {
        if let Err(why) = is_alone {
            refuses(&why);
        }
        match self.prepared() {
            Ok((mut inlet, mut state)) => work(&mut inlet, &mut state),
            Err(error) => refuses(&error),
        }
    }

    fn prepared(self) -> std::io::Result<(Inlet, Serving)> {
        let Self { capsule, elsewhere } = self;
        let _ = INDEX.set(usize::try_from(capsule.head.worker).unwrap_or(0));
        broken_pipe::ignore(); // as in a worker
        fork::register_handler();
        panic::install_hook();
        let pages = Pages::own();
        note_crashes(&pages); // as in a worker: a signal that is sent ends it, too
        let (calls, canceller) = calls((*pages).clone());
        let limit = capsule.head.memory;
        let memory = (limit > 0).then(|| MemoryLimit::new(limit)).transpose()?;
        let inlet = ReplayInlet {
            capsule,
            at: 0,
            elsewhere,
            canceller,
            returned: || say(&"the item has returned a value"),
        };
        let (inlet, outlet) = peer::replaying(inlet, pages)?;
        let mut state = Serving::new(outlet, calls, memory);
        state.replays = Some(fails);
        Ok((inlet, state))
    }
}

/// The version of this crate in the name of a copy, which ends with its place and its build.
fn version_of(copy: &str) -> Option<&str> {
    copy.rsplitn(3, '-').nth(2)
}

/// The functions of all calls in this program, by their names; or why not. `item`: another name of
/// the item's.
fn find(head: &CapsuleHead, item: Option<String>) -> Result<VecDeque<CodeRef>, String> {
    let known = Named::all();
    let last = head.calls.len().saturating_sub(1);
    let calls = head.calls.iter().enumerate();
    let found = calls.map(|(at, (name, argument))| {
        let (name, context) = if at == last {
            (item.as_ref().or(name.as_ref()), head.context.as_deref())
        } else {
            (name.as_ref(), None)
        };
        let Some(name) = name else {
            let why = if at == last {
                "it names no function: `TREFOIL_REPLAY_FN` may, as `replayable` does here"
            } else {
                "an initializer of its pool has no name there (`replayable`)"
            };
            return Err(why.to_owned());
        };
        let Some(found) = known.iter().find(|known| known.name == name) else {
            let names: Vec<&str> = known.iter().map(|known| known.name).collect();
            return Err(format!(
                "no function is called `{name}` here before `init` (`replayable`); it knows {names:?}"
            ));
        };
        if found.argument != argument || found.context != context {
            let types = |argument, context: Option<&str>| match context {
                Some(context) => format!("`&{context}, {argument}`"),
                None => format!("`{argument}`"),
            };
            return Err(format!(
                "`{name}` takes {} here, and had {} there",
                types(found.argument, found.context),
                types(argument, context)
            ));
        }
        Ok(found.code)
    });
    found.collect()
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
