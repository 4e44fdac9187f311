//! How much memory this process has had, at most: no limit of these systems is for the memory that
//! allocators use.
//!
//! So a limit holds between items only, and what an item once had counts as if it had it still.
//!
//! - **Y58** `getrusage` fills in what it is given, or fails; all of it are numbers.
//!
//! Tests: below; `tests/process/limits.rs`.
#![allow(unsafe_code)]

use std::io;
use std::mem::MaybeUninit;

/// In how many bytes the system counts.
const UNIT: u64 = if cfg!(target_vendor = "apple") {
    1
} else {
    1024
};

/// What reads how much there is.
#[derive(Debug)]
pub(crate) struct Meter(());

impl Meter {
    pub(crate) fn new() -> io::Result<Self> {
        Ok(Self(()))
    }

    /// The peak of resident bytes, and the reserved writable bytes, which these systems do not
    /// count.
    pub(crate) fn read(&self) -> Option<(u64, u64)> {
        let mut usage = MaybeUninit::<libc::rusage>::zeroed();
        // SAFETY: Y58: a local, which no other code knows.
        let error = unsafe { libc::getrusage(libc::RUSAGE_SELF, usage.as_mut_ptr()) };
        // SAFETY: Y58: what the system has written there, or zeros.
        let usage = unsafe { usage.assume_init() };
        let most = u64::try_from(usage.ru_maxrss).unwrap_or(0);
        (error == 0).then_some((most * UNIT, 0))
    }
}

/// Nothing is refused.
pub(crate) fn allow(_bytes: u64) -> io::Result<()> {
    Ok(())
}

/// What was allowed: everything.
#[derive(Debug)]
pub(crate) struct Allowance(());

/// There is nothing to lift.
pub(crate) fn lift() -> Option<Allowance> {
    None
}

/// Allows what was allowed before.
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
