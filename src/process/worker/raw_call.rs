//! From a function pointer to a number that another process understands, and back.
//!
//! **Job.** The parent sends two offsets from the image's base: of the user's function, and of the
//! trampoline that was compiled for its types. The worker, which runs the same image, turns both
//! into pointers and calls the trampoline with the function's address; the trampoline knows the
//! true types again.
//!
//! **Invariants.**
//! - **W6** A worker runs the same image as its parent, and the same copy of this crate in it: each
//!   has sent the copy's name, which no other copy in the executable has (no pool is made
//!   elsewhere). Before the names agree, the worker does nothing, and the parent sends only the
//!   first frame.
//! - **W7** The two offsets of a [`CodeRef`] were made together, by [`code_of`] from `fn(A) -> R`
//!   and `run::<A, R>`, by [`code_of_kept`] from the same and `run_kept::<A, R>`, or by
//!   [`code_of_with`] from `fn(&C, A) -> R` and `run_with::<C, A, R>`, by [`code_of_load`] from
//!   `fn(A) -> S` and `run_load::<A, S>`, or by [`code_of_use`] from `fn(A, &mut S) -> R` and
//!   `run_use::<A, S, R>`, and both were checked to lie in the image's code. They come over a
//!   socket whose other end is the parent's alone.
//!
//! **Rejected.** Closures of size zero, which the worker could make from nothing: such a closure
//! may have captured a zero-sized proof that something was done in the *parent*. A function pointer
//! cannot capture anything. A registry of names: the user could forget to enter a function.
//!
//! Tests: `tests/process/pool.rs`, in debug, release and with link-time optimisation.
#![allow(unsafe_code)]

use std::any::type_name;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::batch::Batch;
use crate::process::host::image::image;
use crate::process::value::codec::{codec_error, decode, explain};
use crate::process::value::kept;
use crate::process::wire::{CodeRef, CodecOf};
use crate::task::{CodecDirection, TaskError, panic};

type Trampoline = unsafe fn(usize, &mut Batch<'_>);

/// How a worker finds `function`; an error if it is not part of this image, but of a library that
/// was loaded at run time.
pub(crate) fn code_of<A, R>(function: fn(A) -> R) -> Result<CodeRef, TaskError>
where
    A: DeserializeOwned + 'static,
    R: Serialize + 'static,
{
    code_ref::<fn(A) -> R>(run::<A, R>, function as usize)
}

/// Like [`code_of`], but the function's result is kept in the worker (`kept`); the answer stands
/// for it.
pub(crate) fn code_of_kept<A, R>(function: fn(A) -> R) -> Result<CodeRef, TaskError>
where
    A: DeserializeOwned + 'static,
    R: Serialize + 'static,
{
    code_ref::<fn(A) -> R>(run_kept::<A, R>, function as usize)
}

/// Like [`code_of`], for a function that borrows a context.
pub(crate) fn code_of_with<C, A, R>(function: fn(&C, A) -> R) -> Result<CodeRef, TaskError>
where
    C: DeserializeOwned + 'static,
    A: DeserializeOwned + 'static,
    R: Serialize + 'static,
{
    code_ref::<fn(&C, A) -> R>(run_with::<C, A, R>, function as usize)
}

/// Like [`code_of_with`], and the result is kept in the worker, as with [`code_of_kept`].
pub(crate) fn code_of_kept_with<C, A, R>(function: fn(&C, A) -> R) -> Result<CodeRef, TaskError>
where
    C: DeserializeOwned + 'static,
    A: DeserializeOwned + 'static,
    R: Serialize + 'static,
{
    code_ref::<fn(&C, A) -> R>(run_kept_with::<C, A, R>, function as usize)
}

/// For a function whose result becomes the worker's state.
pub(crate) fn code_of_load<A, S>(function: fn(A) -> S) -> Result<CodeRef, TaskError>
where
    A: DeserializeOwned + 'static,
    S: 'static,
{
    code_ref::<fn(A) -> S>(run_load::<A, S>, function as usize)
}

/// For a function that changes the worker's state.
pub(crate) fn code_of_use<A, S, R>(function: fn(A, &mut S) -> R) -> Result<CodeRef, TaskError>
where
    A: DeserializeOwned + 'static,
    S: 'static,
    R: Serialize + 'static,
{
    code_ref::<fn(A, &mut S) -> R>(run_use::<A, S, R>, function as usize)
}

fn code_ref<F>(trampoline: Trampoline, function: usize) -> Result<CodeRef, TaskError> {
    let offset = |address| image().offset_of(address).ok_or_else(not_ours::<F>);
    Ok(CodeRef {
        trampoline: offset(trampoline as usize)?,
        function: offset(function)?,
    })
}

#[cold]
fn not_ours<F>() -> TaskError {
    let detail = "the function is not in this program's executable but in a library loaded at run \
        time, where a worker would not find it";
    let way = CodecDirection::EncodeArgument;
    codec_error(type_name::<F>(), way, detail.to_owned())
}

/// Runs the items of `batch` with the function that `code` names. False if `code` names nothing
/// here: then the bytes did not come from a parent with this image.
pub(crate) fn call(code: CodeRef, batch: &mut Batch<'_>) -> bool {
    let addresses = (
        image().address_at(code.trampoline),
        image().address_at(code.function),
    );
    let (Some(trampoline), Some(function)) = addresses else {
        return false;
    };
    let trampoline = std::ptr::with_exposed_provenance::<()>(trampoline);
    // SAFETY: W6, W7: the address is that of a trampoline in this image.
    let trampoline = unsafe { std::mem::transmute::<*const (), Trampoline>(trampoline) };
    // SAFETY: W6, W7: the parent sent both addresses together, and they were made together, by
    // `code_ref`.
    unsafe { trampoline(function, batch) };
    true
}

/// Runs the items of `batch` in turn, each as a call of `function`.
///
/// # Safety
/// W6, W7: `function` is the address of a `fn(A) -> R` of this image.
unsafe fn run<A: DeserializeOwned + 'static, R: Serialize + 'static>(
    function: usize,
    batch: &mut Batch<'_>,
) {
    let function = std::ptr::with_exposed_provenance::<()>(function);
    // SAFETY: W6, W7: the address is that of a `fn(A) -> R`, made together with
    // the address of this very instance of `run`.
    let function = unsafe { std::mem::transmute::<*const (), fn(A) -> R>(function) };
    each(batch, |_, argument| Ok(function(argument)));
}

/// Like [`run`], with an answer that stands for the result.
///
/// # Safety
/// W6, W7: `function` is the address of a `fn(A) -> R` of this image.
unsafe fn run_kept<A: DeserializeOwned + 'static, R: Serialize + 'static>(
    function: usize,
    batch: &mut Batch<'_>,
) {
    let function = std::ptr::with_exposed_provenance::<()>(function);
    // SAFETY: W6, W7: the address is that of a `fn(A) -> R`, made together with
    // the address of this very instance of `run_kept`.
    let function = unsafe { std::mem::transmute::<*const (), fn(A) -> R>(function) };
    each(batch, |_, argument| keep(&function(argument)));
}

/// The answer that stands for a result.
fn keep<R: Serialize + 'static>(result: &R) -> Result<kept::Answer, (CodecOf, String)> {
    kept::answer(result).map_err(|error| (CodecOf::Result, explain(error)))
}

/// Like [`run`], with a function that borrows the context of its batch.
///
/// # Safety
/// W6, W7: `function` is the address of a `fn(&C, A) -> R` of this image.
unsafe fn run_with<C, A, R>(function: usize, batch: &mut Batch<'_>)
where
    C: DeserializeOwned + 'static,
    A: DeserializeOwned + 'static,
    R: Serialize + 'static,
{
    let function = std::ptr::with_exposed_provenance::<()>(function);
    // SAFETY: W6, W7: the address is that of a `fn(&C, A) -> R`, made together with
    // the address of this very instance of `run_with`.
    let function = unsafe { std::mem::transmute::<*const (), fn(&C, A) -> R>(function) };
    each(batch, |batch, argument| {
        Ok(function(context_of(batch)?, argument))
    });
}

fn context_of<'a, C>(batch: &'a mut Batch<'_>) -> Result<&'a C, (CodecOf, String)>
where
    C: DeserializeOwned + 'static,
{
    let context = batch.context::<C>();
    context.map_err(|detail| (CodecOf::Context, detail))
}

/// Like [`run_with`], with an answer that stands for the result.
///
/// # Safety
/// W6, W7: `function` is the address of a `fn(&C, A) -> R` of this image.
unsafe fn run_kept_with<C, A, R>(function: usize, batch: &mut Batch<'_>)
where
    C: DeserializeOwned + 'static,
    A: DeserializeOwned + 'static,
    R: Serialize + 'static,
{
    let function = std::ptr::with_exposed_provenance::<()>(function);
    // SAFETY: W6, W7: the address is that of a `fn(&C, A) -> R`, made together with
    // the address of this very instance of `run_kept_with`.
    let function = unsafe { std::mem::transmute::<*const (), fn(&C, A) -> R>(function) };
    each(batch, |batch, argument| {
        keep(&function(context_of(batch)?, argument))
    });
}

/// Keeps the result of `function` as the worker's state.
///
/// # Safety
/// W6, W7: `function` is the address of a `fn(A) -> S` of this image.
unsafe fn run_load<A: DeserializeOwned + 'static, S: 'static>(
    function: usize,
    batch: &mut Batch<'_>,
) {
    let function = std::ptr::with_exposed_provenance::<()>(function);
    // SAFETY: W6, W7: the address is that of a `fn(A) -> S`, made together with
    // the address of this very instance of `run_load`.
    let function = unsafe { std::mem::transmute::<*const (), fn(A) -> S>(function) };
    each(batch, |batch, argument| {
        batch.set_state(Box::new(function(argument)));
        Ok(())
    });
}

/// Like [`run`], with a function that borrows the worker's state.
///
/// # Safety
/// W6, W7: `function` is the address of a `fn(A, &mut S) -> R` of this image.
unsafe fn run_use<A, S, R>(function: usize, batch: &mut Batch<'_>)
where
    A: DeserializeOwned + 'static,
    S: 'static,
    R: Serialize + 'static,
{
    let function = std::ptr::with_exposed_provenance::<()>(function);
    // SAFETY: W6, W7: the address is that of a `fn(A, &mut S) -> R`, made together with
    // the address of this very instance of `run_use`.
    let function = unsafe { std::mem::transmute::<*const (), fn(A, &mut S) -> R>(function) };
    each(batch, |batch, argument| {
        let state = batch.state::<S>();
        let state = state.map_err(|detail| (CodecOf::Context, detail))?;
        Ok(function(argument, state))
    });
}

/// Answers each item of `batch` with the result of `call`; its error says whether the argument, the
/// context or the result was at fault.
#[inline]
fn each<A, R>(
    batch: &mut Batch<'_>,
    call: impl Fn(&mut Batch<'_>, A) -> Result<R, (CodecOf, String)>,
) where
    A: DeserializeOwned + 'static,
    R: Serialize + 'static,
{
    loop {
        let cell = batch.call();
        let items = || {
            while let Some(argument) = batch.next() {
                let argument = decode::<A>(argument);
                batch.decoded();
                match argument {
                    Err(detail) => batch.codec(CodecOf::Argument, &detail),
                    Ok(argument) => match call(batch, argument) {
                        Err((of, detail)) => batch.codec(of, &detail),
                        Ok(mut result) => {
                            if let Err(error) = batch.value(&mut result) {
                                batch.codec(CodecOf::Result, &explain(error));
                            }
                        }
                    },
                }
                if cell.has_token() {
                    return false; // only this item is affected
                }
            }
            true
        };
        match cell.run(|| panic::catch(items)) {
            Ok(true) => return,
            Ok(false) => {}
            Err(panic) => {
                batch.panicked(&panic);
                // The destructor of the payload is user code.
                panic::contain(|| drop(panic));
            }
        }
    }
}
