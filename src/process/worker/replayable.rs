//! Gives functions names, by which another build of the program replays their items.
//!
//! Tests: `tests/process/capsules.rs`.

use std::any::type_name;

use serde::de::DeserializeOwned;

use super::raw_call::{code_of, code_of_with};
use crate::process::job::named::Named;
use crate::process::value::portable::Portable;
use crate::process::wire::CodeRef;
use crate::task::TaskError;

/// Gives `f` a name, so that another build of this program can run an item that has failed in it
/// ([`keep_failures`](crate::ProcessPoolBuilder::keep_failures)): one with a sanitizer, one with
/// debug assertions, one with a fix.
///
/// The build that has written the file finds the function by its address. Any other build has it
/// elsewhere, and finds it by the name that the file has: the one that was given here in the
/// program that wrote it, or else that of the [call](crate::ProcessCall::name). Where the file has
/// none, or the function is called something else by now, the variable `TREFOIL_REPLAY_FN` names
/// it. The type of its argument must have the name that it had, and the argument must still decode.
/// The pool's initializers are found by their names as well. An [actor](crate::Actor)'s functions
/// have none.
///
/// Call it before [`init`](crate::init), which runs the item; so not with the feature `auto`, with
/// which `init` comes first. In a pool's process it costs a lock, and nothing is sent anywhere. Of
/// several functions with one name the first counts. One of a library that was loaded at run time
/// gets none. An inlined or generic function may have several addresses in a build, and two
/// functions that do the same may share one, so give the calls the same name
/// ([`ProcessCall::name`](crate::ProcessCall::name)).
///
/// ```
/// use trefoil::ProcessPool;
/// use trefoil::process::{Capsule, replayable};
///
/// fn decode_row(row: Vec<u8>) -> u8 {
///     row[3]
/// }
///
/// fn main() -> Result<(), Box<dyn std::error::Error>> {
///     replayable("decode_row", decode_row);
///     trefoil::init(); // `TREFOIL_REPLAY=file` of any build of this program runs the item here
///
///     let dir = std::env::temp_dir().join(format!("trefoil-named-{}", std::process::id()));
///     let procs = ProcessPool::builder().workers(1).keep_failures(&dir).build()?;
///     let error = procs.spawn(vec![1], decode_row).join().unwrap_err();
///     let capsule = Capsule::open(error.capsule().expect("the item was kept"))?;
///     assert_eq!(capsule.function(), Some("decode_row"));
///     std::fs::remove_dir_all(&dir)?;
///     Ok(())
/// }
/// ```
pub fn replayable<A: Portable, R: Portable>(name: &'static str, f: fn(A) -> R) {
    add::<A>(name, code_of(f), None);
}

/// Names a function that borrows a context ([`map_with`](crate::ProcessPool::map_with)), as
/// [`replayable`] names one without.
///
/// ```
/// # use trefoil::process::replayable_with;
/// fn look_up(words: &Vec<String>, at: usize) -> String {
///     words[at].clone()
/// }
///
/// replayable_with("look_up", look_up);
/// trefoil::init();
/// ```
pub fn replayable_with<C: DeserializeOwned + 'static, A: Portable, R: Portable>(
    name: &'static str,
    f: fn(&C, A) -> R,
) {
    add::<A>(name, code_of_with(f), Some(type_name::<C>()));
}

fn add<A>(name: &'static str, code: Result<CodeRef, TaskError>, context: Option<&'static str>) {
    if let Ok(code) = code {
        let argument = type_name::<A>();
        Named {
            name,
            code,
            argument,
            context,
        }
        .add();
    }
}
