//! How much memory this process has had, at most: no limit of these systems is known to be for the
//! memory that allocators use, and for that alone (`docs/PLATFORM.md`).
//!
//! So the pool's limit is checked between items only, and memory that an earlier item used and
//! freed still counts.
//!
//! - **Y58** `getrusage` fills in a local variable or fails; all of its fields are numbers.
//!
//! Tests: below; `tests/process/limits.rs`.
#![allow(unsafe_code)]

use std::io;
use std::mem::MaybeUninit;

/// The number of bytes in the system's unit.
const UNIT: u64 = if cfg!(target_vendor = "apple") {
    1
} else {
    1024
};

/// Reads how much memory this process has used.
#[derive(Debug)]
pub(crate) struct Meter(());

impl Meter {
    pub(crate) fn new() -> io::Result<Self> {
        Ok(Self(()))
    }

    /// The peak of resident bytes, and the bytes that are reserved for writing, which these systems
    /// do not count.
    pub(crate) fn read(&self) -> Option<(u64, u64)> {
        let mut usage = MaybeUninit::<libc::rusage>::zeroed();
        // SAFETY: Y58: a local variable, which no other code knows.
        let error = unsafe { libc::getrusage(libc::RUSAGE_SELF, usage.as_mut_ptr()) };
        // SAFETY: Y58: the local holds what the system has written, or zeros.
        let usage = unsafe { usage.assume_init() };
        let most = u64::try_from(usage.ru_maxrss).unwrap_or(0);
        (error == 0).then_some((most * UNIT, 0))
    }
}

/// Limits this process's memory: does nothing here.
pub(crate) fn allow(_bytes: u64) -> io::Result<()> {
    Ok(())
}

/// The limit that [`lift`] has lifted: none here.
#[derive(Debug)]
pub(crate) struct Allowance(());

/// Lifts the limit: there is none.
pub(crate) fn lift() -> Option<Allowance> {
    None
}

/// Sets the limit again that was lifted.
pub(crate) fn restore(_before: Allowance) {}

#[cfg(all(test, not(miri)))]
mod tests {
    use super::*;

    #[test]
    fn what_is_filled_counts() {
        let meter = Meter::new().unwrap();
        let before = meter.read().unwrap().0;
        let bytes = std::hint::black_box(vec![1_u8; before as usize + (16 << 20)]);
        assert!(meter.read().unwrap().0 >= bytes.len() as u64);
    }
}
