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
//! - **W7** The two offsets of a [`CodeRef`] were made together, by one of the functions that the
//!   macro `call_form` declares: from a function, and from the trampoline for its type. Both were
//!   checked to lie in the image's code. They come over a socket whose other end is the parent's
//!   alone.
//!
//! **Rejected.** Closures of size zero, which the worker could make from nothing: such a closure
//! may have captured a zero-sized proof that something was done in the *parent*. A function pointer
//! cannot capture anything. A registry of names: the user could forget to enter a function.
//!
//! Tests: `tests/process/pool.rs::{map_is_ordered, a_panic_is_a_value}`, in debug, release and with
//! link-time optimisation.
#![allow(unsafe_code)]

use std::any::{Any, type_name};

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::batch::Batch;
use crate::process::value::codec::codec_error;
use crate::process::wire::{CodeRef, CodecOf};
use crate::task::{CodecDirection, TaskError};
use trefoil_os::host::image::image;

type Trampoline = unsafe fn(usize, &mut Batch<'_>);

/// Declares how a worker finds a function of one type, and what it does with each item.
macro_rules! call_form {
    (
        $(#[$docs:meta])*
        $name:ident<$($generic:ident: $bound:path),*>: $function:ty;
        |$call:ident, $batch:pat_param, $argument:ident: $type:ty| $answer:expr
    ) => {
        $(#[$docs])*
        pub(crate) fn $name<$($generic: $bound + 'static),*>(
            function: $function,
        ) -> Result<CodeRef, TaskError> {
            /// # Safety
            /// W6, W7: `function` is the address of a function of this type in this image.
            unsafe fn run<$($generic: $bound + 'static),*>(
                function: usize,
                batch: &mut Batch<'_>,
            ) {
                let function = std::ptr::with_exposed_provenance::<()>(function);
                // SAFETY: W6, W7: the address is that of such a function, made together with the
                // address of this very instance of `run`.
                let $call = unsafe { std::mem::transmute::<*const (), $function>(function) };
                batch.run(|$batch, $argument: $type| $answer);
            }
            code_ref::<$function>(run::<$($generic),*>, function as usize)
        }
    };
}

call_form! {
    /// How a worker finds `function`; an error if it is not part of this image, but of a library
    /// that was loaded at run time.
    code_of<A: DeserializeOwned, R: Serialize>: fn(A) -> R;
    |function, _, argument: A| Ok(function(argument))
}

call_form! {
    /// Like [`code_of`], for a function that borrows a context.
    code_of_with<C: DeserializeOwned, A: DeserializeOwned, R: Serialize>: fn(&C, A) -> R;
    |function, batch, argument: A| Ok(function(context_of(batch)?, argument))
}

call_form! {
    /// For a function whose result becomes the worker's state.
    code_of_load<A: DeserializeOwned, S: Any>: fn(A) -> S;
    |function, batch, argument: A| {
        batch.state.actor = Some(Box::new(function(argument)));
        Ok(())
    }
}

call_form! {
    /// For a function that changes the worker's state.
    code_of_use<A: DeserializeOwned, S: Any, R: Serialize>: fn(A, &mut S) -> R;
    |function, batch, argument: A| {
        let state = batch.state::<S>();
        let state = state.map_err(|detail| (CodecOf::Context, detail))?;
        Ok(function(argument, state))
    }
}

call_form! {
    /// For a function without an argument: it is called with none.
    code_of_bare<>: fn();
    |function, _, argument: ()| {
        let () = argument;
        function();
        Ok(())
    }
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

fn context_of<'a, C>(batch: &'a mut Batch<'_>) -> Result<&'a C, (CodecOf, String)>
where
    C: DeserializeOwned + 'static,
{
    let context = batch.context::<C>();
    context.map_err(|detail| (CodecOf::Context, detail))
}
