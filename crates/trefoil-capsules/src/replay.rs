//! Runs the item of a capsule in this process, without a pool: `TREFOIL_REPLAY`.
//!
//! What ends the item ends this process in the same way: a signal, an exit, an endless loop. An
//! error that a worker would report becomes an exit code.
//!
//! A file names its function, and each build of the program has functions elsewhere. So a program
//! says which function has which name ([`replayable`]), and one that takes types of the same names
//! runs the item.
//!
//! Tests: `crates/trefoil-capsules/tests/capsules/main.rs`.

use std::any::type_name;
use std::ffi::OsString;
use std::fmt::Display;
use std::io::{self, Write};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::process::exit;

use parking_lot::Mutex;
use serde::Serialize;
use serde::de::DeserializeOwned;
use trefoil::process::{FailedItem, Portable};

use crate::capsule::Capsule;
use crate::{raw_environment, rights};

/// The environment variable that names a capsule, and the one that names its function.
const REPLAY: &str = "TREFOIL_REPLAY";
const REPLAY_FN: &str = "TREFOIL_REPLAY_FN";

/// The exit code of an item that has panicked, like that of a `main` that panics.
const PANICKED: i32 = 101;
/// That of an argument or a result that could not be decoded or encoded.
const CODEC: i32 = 65;
/// That of a file that this program cannot run.
const REFUSED: i32 = 64;

/// A function with a name.
struct Function {
    name: &'static str,
    address: usize,
    /// The name of its argument's type, and of the context's that it borrows.
    argument: &'static str,
    context: Option<&'static str>,
    run: Box<Run>,
}

/// Runs a function with what is in a file; or why that could not be decoded or encoded.
type Run = dyn Fn(&Capsule) -> Result<(), String> + Send;

static FUNCTIONS: Mutex<Vec<Function>> = Mutex::new(Vec::new());

/// Gives `f` a name, by which an item that has failed in it
/// ([`keep_failures`](crate::KeepFailures::keep_failures)) runs again: in this build of the
/// program, or in another one, with a sanitizer, with debug assertions, with a fix.
///
/// The file has the name that was given here in the program that wrote it, or else that of the
/// [call](trefoil::ProcessCall::name). Where it has none, or the function is called something else
/// by now, the variable `TREFOIL_REPLAY_FN` names it. The type of its argument must have the name
/// that it had, and the argument must still decode.
///
/// Call it before [`init`](crate::init), which runs the item. In a pool's process it costs a lock,
/// and nothing is sent anywhere. Of several functions with one name the first counts. An inlined or
/// generic function may have several addresses in a build, and two functions that do the same may
/// share one, so give the calls the same name ([`ProcessCall::name`](trefoil::ProcessCall::name)).
///
/// The page of the [crate](crate) has an example.
pub fn replayable<A: Portable, R: Portable>(name: &'static str, f: fn(A) -> R) {
    FUNCTIONS.lock().push(Function {
        name,
        address: f as usize,
        argument: type_name::<A>(),
        context: None,
        run: Box::new(move |capsule| encoded(&f(argument(capsule)?))),
    });
}

/// Names a function that borrows a context ([`map_with`](trefoil::ProcessPool::map_with)), as
/// [`replayable`] names one without.
///
/// ```
/// # use trefoil_capsules::replayable_with;
/// fn look_up(words: &Vec<String>, at: usize) -> String {
///     words[at].clone()
/// }
///
/// replayable_with("look_up", look_up);
/// trefoil_capsules::init();
/// ```
pub fn replayable_with<C: DeserializeOwned + 'static, A: Portable, R: Portable>(
    name: &'static str,
    f: fn(&C, A) -> R,
) {
    FUNCTIONS.lock().push(Function {
        name,
        address: f as usize,
        argument: type_name::<A>(),
        context: Some(type_name::<C>()),
        run: Box::new(move |capsule| {
            let context = capsule.head.context.as_ref();
            let context = context.ok_or("the file has no context")?.decode();
            let context: C = context.map_err(|error| format!("the context: {error}"))?;
            encoded(&f(&context, argument(capsule)?))
        }),
    });
}

fn argument<A: DeserializeOwned + 'static>(capsule: &Capsule) -> Result<A, String> {
    capsule.argument().map_err(|error| error.to_string())
}

/// As a worker would do it; nobody reads it.
fn encoded(result: &impl Serialize) -> Result<(), String> {
    match postcard::to_io(result, io::sink()) {
        Ok(_) => Ok(()),
        Err(error) => Err(format!("the result could not be encoded: {error}")),
    }
}

/// The name of the item's function: the one that it has been given, or else that of its call.
pub(crate) fn name_of(failed: &FailedItem) -> Option<&str> {
    let functions = FUNCTIONS.lock();
    let found = functions
        .iter()
        .filter(|one| one.address == failed.function() && one.argument == failed.argument_type());
    // Functions that do the same may have one address.
    let found: Vec<&str> = found.map(|one| one.name).collect();
    let called = found.iter().find(|name| Some(**name) == failed.name());
    called.or(found.first()).copied().or(failed.name())
}

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
/// file is missing or damaged, or its function has no name that is known here ([`replayable`],
/// `TREFOIL_REPLAY_FN`). A pool's initializer does not run: a function that needs it must call it.
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
    if let Some(path) = variable(REPLAY).filter(|_| rights::has_callers()) {
        let function = variable(REPLAY_FN).and_then(|name| name.into_string().ok());
        // They are not for the processes that the item starts.
        raw_environment::forget(REPLAY);
        raw_environment::forget(REPLAY_FN);
        replay(path.as_ref(), function);
    }
}

/// Prints a line, whether or not anybody reads it.
fn say(line: &dyn Display) {
    let _ = writeln!(io::stderr(), "trefoil: {line}");
}

fn refuses(why: &dyn Display) -> ! {
    say(&format_args!("it cannot replay: {why}"));
    exit(REFUSED)
}

fn replay(path: &Path, function: Option<String>) -> ! {
    let capsule = Capsule::open(path);
    let capsule =
        capsule.unwrap_or_else(|error| refuses(&format_args!("{}: {error}", path.display())));
    let function = find(&capsule, function)
        .unwrap_or_else(|why| refuses(&format_args!("{}: {why}", path.display())));
    say(&format_args!("replays {}: {capsule}", path.display()));
    match catch_unwind(AssertUnwindSafe(|| (function.run)(&capsule))) {
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

/// The function of the item, by its name; or why there is none. `name`: another name of it.
fn find(capsule: &Capsule, name: Option<String>) -> Result<Function, String> {
    let head = &capsule.head;
    let Some(name) = name.as_deref().or(capsule.function()) else {
        return Err(
            "it names no function: `replayable` gives one a name, and `TREFOIL_REPLAY_FN` may \
             choose it here. (A test can read the argument, with \
             `trefoil_capsules::Capsule::open(path)?.argument()`.)"
                .to_owned(),
        );
    };
    let mut functions = std::mem::take(&mut *FUNCTIONS.lock());
    let Some(at) = functions.iter().position(|known| known.name == name) else {
        let names: Vec<&str> = functions.iter().map(|known| known.name).collect();
        return Err(format!(
            "no function is called `{name}` here before `init` (`replayable`); it knows {names:?}"
        ));
    };
    let found = functions.swap_remove(at);
    let context = head.context_type.as_deref();
    if found.argument != head.argument_type || found.context != context {
        let types = |argument: &str, context: Option<&str>| match context {
            Some(context) => format!("`&{context}, {argument}`"),
            None => format!("`{argument}`"),
        };
        return Err(format!(
            "`{name}` takes {} here, and had {} there",
            types(found.argument, found.context),
            types(&head.argument_type, context)
        ));
    }
    Ok(found)
}
