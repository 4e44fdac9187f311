//! The beginning of a program: workers, and the items that `TREFOIL_REPLAY` and `TREFOIL_SHRINK`
//! name.
//!
//! A replay runs the item in this process, without a pool. What ends the item ends this process in
//! the same way: a signal, an exit, an endless loop. An error that a worker would report becomes an
//! exit code.
//!
//! Tests: `crates/trefoil-capsules/tests/capsules/main.rs`.

use std::ffi::OsString;
use std::fmt::Display;
use std::io::{self, Write};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::process::exit;

use trefoil::ProcessPool;

use crate::capsule::Capsule;
use crate::shrink::{self, Budget};
use crate::{functions, raw_environment, rights};

/// The environment variables that name a capsule, and the one that names its function.
const REPLAY: &str = "TREFOIL_REPLAY";
const REPLAY_FN: &str = "TREFOIL_REPLAY_FN";
const SHRINK: &str = "TREFOIL_SHRINK";
/// How many bytes an item may allocate, and how often a candidate runs.
const MEMORY: &str = "TREFOIL_SHRINK_MEMORY";
const REPEAT: &str = "TREFOIL_SHRINK_REPEAT";

/// The exit code of an item that has panicked, like that of a `main` that panics.
const PANICKED: i32 = 101;
/// That of an argument or a result that could not be decoded or encoded.
const CODEC: i32 = 65;
/// That of a file that this program cannot run.
const REFUSED: i32 = 64;

/// Makes worker processes possible, in place of [`trefoil::init`]: call it first in `main`.
///
/// The variable `TREFOIL_REPLAY`, if it is not empty, names a file in which a pool of this program
/// has kept an item that failed ([`keep_failures`](crate::KeepFailures::keep_failures)): then this
/// function runs that item in this process, and never returns. There is no pool and no other
/// process, so a debugger, valgrind or `rr` sees everything:
/// `TREFOIL_REPLAY=kept/0123456789abcdef.capsule gdb ./program`. The process ends as the worker
/// did: by the same signal or exit code if the item ends it, and not at all if the item does not
/// end (no limit applies, of time or of memory). After a panic its code is 101; 65 if the argument
/// could not be decoded or the result not be encoded; 0 if the item has returned a value; 64 if the
/// file is missing or damaged, or its function has no name that is known here
/// ([`replayable`](crate::replayable), `TREFOIL_REPLAY_FN`). A pool's initializer does not run: a
/// function that needs it must call it.
///
/// `TREFOIL_SHRINK` names such a file, too: then this function makes the item's argument smaller,
/// as [`shrink`](crate::shrink) does, in a pool whose workers run one candidate each. It prints a
/// test with the smallest argument that still ends the same way on standard output, and everything
/// else, with a bar on a terminal, on standard error. Its code is 0, or 64 as above and if the item
/// does not fail again. `TREFOIL_SHRINK_MEMORY` is the
/// [`memory_limit`](trefoil::ProcessPoolBuilder::memory_limit) of its workers in bytes, for an item
/// that was out of memory; `TREFOIL_SHRINK_REPEAT` how often each candidate runs
/// ([`Budget::repeat`]).
///
/// It is trusted like `TREFOIL_WORKER`, and so is the file: replay only what your own program has
/// written. A program with other rights than its caller's replays nothing.
///
/// With trefoil's feature `auto`, workers begin before `main`, and a replay begins here all the
/// same.
///
/// ```
/// fn main() -> Result<(), Box<dyn std::error::Error>> {
///     trefoil_capsules::init();
///     let procs = trefoil::ProcessPool::with_workers(1)?;
///     assert_eq!(procs.spawn(6, |x: u64| x * 7).join()?, 42);
///     Ok(())
/// }
/// ```
pub fn init() {
    trefoil::init(); // a worker does not come back
    let variable = |name| std::env::var_os(name).filter(|value: &OsString| !value.is_empty());
    let named = [REPLAY, SHRINK].map(variable);
    if named.iter().all(Option::is_none) || !rights::has_callers() {
        return;
    }
    let [function, memory, repeat] =
        [REPLAY_FN, MEMORY, REPEAT].map(|name| variable(name).and_then(|it| it.into_string().ok()));
    // They are not for the processes that the item starts.
    for name in [REPLAY, SHRINK, REPLAY_FN, MEMORY, REPEAT] {
        raw_environment::forget(name);
    }
    match named {
        [Some(path), _] => replay(path.as_ref(), function.as_deref()),
        [None, Some(path)] => {
            let path = Path::new(&path);
            match make_smaller(path, function.as_deref(), memory, repeat) {
                Ok(()) => exit(0),
                Err(why) => refuses("shrink", path, &why),
            }
        }
        [None, None] => {}
    }
}

/// Prints a line, whether or not anybody reads it.
fn say(line: &dyn Display) {
    let _ = writeln!(io::stderr(), "trefoil: {line}");
}

fn refuses(what: &str, path: &Path, why: &dyn Display) -> ! {
    say(&format_args!("it cannot {what}: {}: {why}", path.display()));
    exit(REFUSED)
}

fn replay(path: &Path, function: Option<&str>) -> ! {
    let refuses = |why: &dyn Display| -> ! { refuses("replay", path, why) };
    let capsule = Capsule::open(path).unwrap_or_else(|error| refuses(&error));
    let function = functions::find(&capsule, function).unwrap_or_else(|why| refuses(&why));
    say(&format_args!("replays {}: {capsule}", path.display()));
    match catch_unwind(AssertUnwindSafe(|| function.calls.run(&capsule))) {
        Err(_) => exit(PANICKED), // the hook has printed it
        Ok(Err(why)) => {
            say(&why);
            exit(CODEC)
        }
        Ok(Ok(())) => {
            say(&"the item has returned a value");
            exit(0)
        }
    }
}

fn make_smaller(
    path: &Path,
    function: Option<&str>,
    memory: Option<String>,
    repeat: Option<String>,
) -> io::Result<()> {
    let number = |name: &str, text: &str| -> io::Result<u64> {
        let why = || io::Error::other(format!("{name} is `{text}`, and must be a number"));
        text.parse().map_err(|_| why())
    };
    let capsule = Capsule::open(path)?;
    // (A thousand panics with their backtraces would cost more than the runs.)
    let builder = ProcessPool::builder().env("RUST_BACKTRACE", "0");
    let mut builder = builder.max_tasks_per_worker(1);
    if let Some(text) = memory {
        builder = builder.memory_limit(number(MEMORY, &text)?);
    }
    let mut budget = Budget::default().with_bar(shrink::bar());
    if let Some(text) = repeat {
        budget = budget.repeat(number(REPEAT, &text)?.try_into().unwrap_or(u32::MAX));
    }
    say(&format_args!("shrinks {}: {capsule}", path.display()));
    let procs = builder.build().map_err(io::Error::other)?;
    let shrunk = shrink::shrink_as(&capsule, function, &procs, budget)?;
    say(&shrunk);
    let mut out = io::stdout();
    out.write_all(shrunk.test_text.as_bytes())?;
    out.flush()
}
