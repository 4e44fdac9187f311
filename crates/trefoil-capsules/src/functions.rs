//! Functions with names, which run the item of a file.
//!
//! A file names its function, and each build of the program has functions elsewhere. So a program
//! says which function has which name ([`replayable`]), and one that takes types of the same names
//! runs the item.
//!
//! Tests: `crates/trefoil-capsules/tests/capsules/main.rs::a_function_is_found_by_its_name`.

use std::any::type_name;
use std::io;
use std::marker::PhantomData;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use serde::Serialize;
use serde::de::DeserializeOwned;
use trefoil::process::{FailedItem, Portable};
use trefoil::{ProcessCall, ProcessPool, Task};

use crate::capsule::Capsule;
use crate::tree::{self, Tree, Variants};

/// A function with a name.
#[derive(Clone)]
pub(crate) struct Function {
    pub(crate) name: &'static str,
    address: usize,
    /// The name of its argument's type, and of the context's that it borrows.
    pub(crate) argument: &'static str,
    context: Option<&'static str>,
    pub(crate) calls: Arc<dyn Calls>,
}

/// What can be done with a function and a file of its types.
pub(crate) trait Calls: Send + Sync {
    /// Runs the item here; or why it could not be decoded, or its result not be encoded.
    fn run(&self, capsule: &Capsule) -> Result<(), String>;

    /// Decodes the context, if it has one.
    fn prepare<'a>(&'a self, capsule: &'a Capsule) -> Result<Box<dyn Prepared + 'a>, String>;
}

/// A function and its context.
pub(crate) trait Prepared {
    /// The argument as a tree.
    fn tree(&self, capsule: &Capsule) -> Result<Tree, String>;

    /// The tree of the value that this tree is, if it is one.
    fn value_of(&self, tree: &Tree, known: &mut Variants) -> Option<Tree>;

    /// Starts a call with the value of a tree.
    fn start(&self, pool: &ProcessPool, tree: &Tree, options: &Options) -> Option<Task<()>>;
}

/// Of a call with a candidate.
pub(crate) struct Options {
    pub(crate) limit: Duration,
    /// Called with the item, if it fails.
    pub(crate) on_failed: Arc<dyn Fn(&FailedItem) + Send + Sync>,
}

static FUNCTIONS: Mutex<Vec<Function>> = Mutex::new(Vec::new());

/// Gives `f` a name, by which an item that has failed in it
/// ([`keep_failures`](crate::KeepFailures::keep_failures)) runs again: in this build of the
/// program, or in another one, with a sanitizer, with debug assertions, with a fix; and by which
/// its argument is made smaller ([`shrink`](crate::shrink)).
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
/// If the name is the function's path, the test that `shrink` writes calls it.
///
/// The page of the [crate](crate) has an example.
pub fn replayable<A: Portable, R: Portable>(name: &'static str, f: fn(A) -> R) {
    FUNCTIONS.lock().push(Function {
        name,
        address: f as usize,
        argument: type_name::<A>(),
        context: None,
        calls: Arc::new(Plain(f)),
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
pub fn replayable_with<C, A: Portable, R: Portable>(name: &'static str, f: fn(&C, A) -> R)
where
    C: Serialize + DeserializeOwned + 'static,
{
    FUNCTIONS.lock().push(Function {
        name,
        address: f as usize,
        argument: type_name::<A>(),
        context: Some(type_name::<C>()),
        calls: Arc::new(With(f)),
    });
}

/// A function of an argument.
struct Plain<A, R>(fn(A) -> R);

/// A function that borrows a context, too.
struct With<C, A, R>(fn(&C, A) -> R);

impl<A: Portable, R: Portable> Calls for Plain<A, R> {
    fn run(&self, capsule: &Capsule) -> Result<(), String> {
        encoded(&self.0(argument(capsule)?))
    }

    fn prepare<'a>(&'a self, _: &'a Capsule) -> Result<Box<dyn Prepared + 'a>, String> {
        Ok(ready(|pool, argument, options| {
            begin(pool.call(self.0), argument, options)
        }))
    }
}

impl<C, A: Portable, R: Portable> Calls for With<C, A, R>
where
    C: Serialize + DeserializeOwned + 'static,
{
    fn run(&self, capsule: &Capsule) -> Result<(), String> {
        encoded(&self.0(&context(capsule)?, argument(capsule)?))
    }

    fn prepare<'a>(&'a self, capsule: &'a Capsule) -> Result<Box<dyn Prepared + 'a>, String> {
        let context: C = context(capsule)?;
        Ok(ready(move |pool, argument, options| {
            begin(pool.call_with(&context, self.0), argument, options)
        }))
    }
}

/// Starts a call with an argument of type `A`.
struct Ready<A, F>(F, PhantomData<fn(A)>);

fn ready<'a, A: Portable, F>(start: F) -> Box<dyn Prepared + 'a>
where
    F: Fn(&ProcessPool, A, &Options) -> Task<()> + 'a,
{
    Box::new(Ready(start, PhantomData))
}

impl<A: Portable, F> Prepared for Ready<A, F>
where
    F: Fn(&ProcessPool, A, &Options) -> Task<()>,
{
    fn tree(&self, capsule: &Capsule) -> Result<Tree, String> {
        let value: A = argument(capsule)?;
        contained(|| tree::write(&value)).map_err(|why| format!("the argument: {why}"))
    }

    fn value_of(&self, tree: &Tree, known: &mut Variants) -> Option<Tree> {
        let value: A = contained(|| tree::read(tree, known)).ok()?;
        contained(|| tree::write(&value)).ok()
    }

    fn start(&self, pool: &ProcessPool, tree: &Tree, options: &Options) -> Option<Task<()>> {
        let value: A = contained(|| tree::read(tree, &mut Variants::default())).ok()?;
        Some((self.0)(pool, value, options))
    }
}

fn begin<A: Portable, R: Portable>(
    call: ProcessCall<'_, A, R>,
    argument: A,
    options: &Options,
) -> Task<()> {
    let on_failed = options.on_failed.clone();
    let call = call.timeout(options.limit);
    let call = call.on_failed_item(move |failed| on_failed(failed));
    call.spawn(argument).map(drop)
}

/// Calls code of the user's type. A panic of it is an error.
fn contained<T, E: ToString>(act: impl FnOnce() -> Result<T, E>) -> Result<T, String> {
    match catch_unwind(AssertUnwindSafe(act)) {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(error)) => Err(error.to_string()),
        Err(_) => Err("its `Serialize` or `Deserialize` panicked".to_owned()),
    }
}

fn argument<A: DeserializeOwned + 'static>(capsule: &Capsule) -> Result<A, String> {
    capsule.argument().map_err(|error| error.to_string())
}

fn context<C: DeserializeOwned + 'static>(capsule: &Capsule) -> Result<C, String> {
    let context = capsule.body.context.as_ref();
    let context = context.ok_or("the file has no context")?.decode();
    context.map_err(|error| format!("the context: {error}"))
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

/// The function of the item, by its name; or why there is none. `name`: another name of it.
pub(crate) fn find(capsule: &Capsule, name: Option<&str>) -> Result<Function, String> {
    let head = &capsule.head;
    let Some(name) = name.or(capsule.function()) else {
        return Err(
            "it names no function: `replayable` gives one a name, and `TREFOIL_REPLAY_FN` may \
             choose it here. (A test can read the argument, with \
             `trefoil_capsules::Capsule::open(path)?.argument()`.)"
                .to_owned(),
        );
    };
    let functions = FUNCTIONS.lock();
    let Some(found) = functions.iter().find(|known| known.name == name) else {
        let names: Vec<&str> = functions.iter().map(|known| known.name).collect();
        return Err(format!(
            "no function is called `{name}` here before `init` (`replayable`); it knows {names:?}"
        ));
    };
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
    Ok(found.clone())
}
