//! A signal that sets bits of a word, where this build has signals.

use std::io;
use std::sync::atomic::AtomicU64; // set by a handler: no protocol

/// From now on this signal sets these bits of the word, which is the same in each call.
#[cfg(feature = "__descriptors")]
pub fn raise_on(signum: i32, word: &'static AtomicU64, bits: u64) -> io::Result<()> {
    super::signal::raise_on(signum, word, bits)
}

/// Signals come with the event loop and with worker processes.
#[cfg(not(feature = "__descriptors"))]
pub fn raise_on(signum: i32, _: &'static AtomicU64, _: u64) -> io::Result<()> {
    let what = format!("signal {signum} cannot be caught without an event loop or processes");
    Err(io::Error::new(io::ErrorKind::Unsupported, what))
}
