//! Names the system call that was refused, because the system's own message does not.

use std::io;

use super::errors::refuses;
pub use super::errors::{is_crowded, is_gone, is_refusal, is_shortage};

/// The error of `call`; if the system refuses such calls, its message names the call.
pub fn refused<E: Into<io::Error>>(call: &'static str) -> impl FnOnce(E) -> io::Error {
    move |error| {
        let error = error.into();
        match error.raw_os_error() {
            Some(_) if refuses(&error) => {
                io::Error::new(error.kind(), format!("the system refuses {call}: {error}"))
            }
            _ => error,
        }
    }
}

/// The error of `call`, which its message names: where a limit of the system is likely, and no code
/// asks for its number.
pub fn failed<E: Into<io::Error>>(call: &'static str) -> impl FnOnce(E) -> io::Error {
    move |error| {
        let error = refused(call)(error);
        match error.raw_os_error() {
            Some(_) => io::Error::new(error.kind(), format!("{call}: {error}")),
            None => error,
        }
    }
}
