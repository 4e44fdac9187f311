//! `Portable`: the bounds on arguments and results of calls in worker processes.

use serde::Serialize;
use serde::de::DeserializeOwned;

/// An argument or a result of a call in a worker process: it can be serialised and deserialised,
/// and is owned. Every type that meets these bounds implements it; there is no need to
/// implement or to name it.
///
/// ```
/// fn can_travel<T: trefoil::process::Portable>() {}
///
/// can_travel::<(u64, String, Vec<f32>)>();
/// ```
///
/// serde's attributes for self-describing formats (`untagged`, `tag`, `flatten`,
/// `skip_serializing_if`) work as with JSON. They also lose what JSON loses: within an enum with
/// `tag` or `untagged`, and in a flattened field, `Some(None)` and `Some(())` arrive as `None`.
/// A type that could not be read back from JSON either is an error at run time:
/// [`TaskError::Codec`](crate::TaskError::Codec). The price is a description of some bytes, which
/// numbers, tuples and arrays of numbers, a `String` and vectors of numbers do without.
///
/// References and handles of this process cannot be sent. (Use a `String` instead of a `&str`, for
/// which the compiler says that the "implementation of `serde_core::de::Deserialize` is not general
/// enough".)
///
/// ```compile_fail
/// fn can_travel<T: trefoil::process::Portable>() {}
///
/// can_travel::<std::io::Error>();
/// ```
#[diagnostic::on_unimplemented(
    message = "a `{Self}` cannot be sent between processes",
    label = "cannot be an argument or a result of a call in a worker process",
    note = "arguments and results must implement `serde::Serialize` and `serde::Deserialize`, be \
        `Send`, and own what they hold",
    note = "instead of a `&str` send a `String`, instead of a slice a `Vec`, instead of an \
        `io::Error` or a `Box<dyn Error>` its text: `.map_err(|error| error.to_string())`",
    note = "a type of your own has `#[derive(serde::Serialize, serde::Deserialize)]`",
    note = "the argument comes before the function, `spawn(7, f)`; without one it is `spawn((), \
        |()| ..)`; an `async fn` runs in the worker by `|argument| trefoil::run(f(argument))`"
)]
pub trait Portable: Serialize + DeserializeOwned + Send + 'static {}

#[diagnostic::do_not_recommend]
impl<T: Serialize + DeserializeOwned + Send + 'static> Portable for T {}
