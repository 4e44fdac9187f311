//! A clock for rough comparisons, read in some nanoseconds.
//!
//! **Job.** Some decisions of the thread pool hang on whether a thing took one microsecond or
//! a hundred, and are made so often that the system's clock (25 ns) would be what they cost. On x86-64
//! the processor's time stamp counter answers in a third of that; elsewhere the system's clock does.
//!
//! The counter's rate is not asked for: it is between two and five for each nanosecond on every processor
//! of the last fifteen years, which is near enough for what is decided here. It may also jump, when a thread moves
//! between processors whose counters differ, or when a virtual machine is moved: then one such decision is
//! wrong, once. Nothing that must be right may depend on it.
//!
//! - **Y40** Reading the counter has no precondition: the instruction is part of x86-64, touches no memory, and
//!   where an operating system forbids it to programs, that system could not run the standard library of C either.
//!
//! Tests: below.
#![allow(unsafe_code)]

/// How many ticks a microsecond has, roughly.
#[cfg(target_arch = "x86_64")]
pub(crate) const MICROSECOND: u64 = 3000;

/// How many ticks a microsecond has, roughly.
#[cfg(not(target_arch = "x86_64"))]
pub(crate) const MICROSECOND: u64 = 1000;

/// For counts of instructions that must not depend on time: from now on, no time passes.
#[cfg(feature = "__bench")]
pub fn freeze() {
    frozen::set();
}

#[cfg(feature = "__bench")]
mod frozen {
    // A switch of the benchmarks: no protocol.
    use std::sync::atomic::{AtomicBool, Ordering};

    static FROZEN: AtomicBool = AtomicBool::new(false);

    pub(super) fn set() {
        FROZEN.store(true, Ordering::Relaxed);
    }

    pub(super) fn get() -> bool {
        FROZEN.load(Ordering::Relaxed)
    }
}

/// Ticks since some moment.
#[inline]
#[cfg(all(target_arch = "x86_64", not(miri)))]
pub(crate) fn now() -> u64 {
    #[cfg(feature = "__bench")]
    if frozen::get() {
        return 1;
    }
    // SAFETY: Y40.
    unsafe { core::arch::x86_64::_rdtsc() }
}

/// Ticks since some moment.
#[inline]
#[cfg(any(not(target_arch = "x86_64"), miri))]
pub(crate) fn now() -> u64 {
    use std::sync::OnceLock;
    use std::time::Instant;
    static START: OnceLock<Instant> = OnceLock::new();
    let nanos = START.get_or_init(Instant::now).elapsed().as_nanos() as u64;
    nanos * MICROSECOND / 1000
}

/// Ticks from `then` until now; 0 if the counter has gone back.
#[inline]
pub(crate) fn since(then: u64) -> u64 {
    now().saturating_sub(then)
}

/// More than `span` ticks have passed since `then`, or the counter has jumped: for who must not look for long.
#[inline]
pub(crate) fn have_passed(span: u64, then: u64) -> bool {
    are_over(span, then, now())
}

#[inline]
fn are_over(span: u64, then: u64, now: u64) -> bool {
    now.wrapping_sub(then) > span
}

#[cfg(all(test, not(miri)))]
mod tests {
    use super::*;
    use std::time::{Duration, Instant};

    #[test]
    fn a_counter_that_has_gone_back_keeps_nobody() {
        assert!(!are_over(10, 5, 15) && are_over(10, 5, 16));
        assert!(are_over(10, 1 << 40, 5), "this would be minutes");
    }

    #[test]
    fn a_millisecond_is_within_an_order_of_magnitude() {
        let (start, then) = (Instant::now(), now());
        while start.elapsed() < Duration::from_millis(1) {}
        let ticks = since(then) as f64 / start.elapsed().as_micros() as f64;
        let expected = MICROSECOND as f64;
        assert!(
            (expected / 10.0..expected * 10.0).contains(&ticks),
            "{ticks} ticks each"
        );
    }
}
