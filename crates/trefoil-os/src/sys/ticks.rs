//! A clock for rough comparisons that can be read in a few nanoseconds.
//!
//! **Job.** Some decisions of the thread pool depend on whether something took one microsecond or a
//! hundred, and are made so often that reading the system's clock (25 ns) would be most of their
//! cost. On x86-64 the processor's time stamp counter takes a third of that; elsewhere the system's
//! clock is read.
//!
//! The counter's rate is not measured: on every processor of the last fifteen years it is between
//! two and five ticks for each nanosecond, which is near enough here. The counter may also jump,
//! when a thread moves between processors whose counters differ, or when a virtual machine is
//! moved: then one such decision is wrong. Nothing that must be right may depend on it.
//!
//! - **Y40** Reading the counter has no precondition: the instruction is part of x86-64, touches no
//!   memory, and where an operating system forbids it to programs, that system could not run the
//!   standard library of C either.
//!
//! Tests: below.
#![allow(unsafe_code)]

#[cfg(feature = "__bench")]
use std::sync::atomic::{AtomicBool, Ordering}; // a switch for benchmarks: no protocol to model

/// How many ticks a microsecond has, roughly.
#[cfg(target_arch = "x86_64")]
pub const MICROSECOND: u64 = 3000;

/// How many ticks a microsecond has, roughly.
#[cfg(not(target_arch = "x86_64"))]
pub const MICROSECOND: u64 = 1000;

/// Stops this clock, so that counts of instructions do not depend on time.
#[cfg(feature = "__bench")]
pub fn freeze() {
    FROZEN.store(true, Ordering::Relaxed);
}

#[cfg(feature = "__bench")]
static FROZEN: AtomicBool = AtomicBool::new(false);

/// Ticks since some moment.
#[inline]
#[cfg(all(target_arch = "x86_64", not(miri), not(simulated)))]
pub fn now() -> u64 {
    #[cfg(feature = "__bench")]
    if FROZEN.load(Ordering::Relaxed) {
        return 1;
    }
    // SAFETY: Y40: every x86-64 processor has the instruction, and it touches no memory.
    unsafe { core::arch::x86_64::_rdtsc() }
}

#[cfg(simulated)]
pub use simulated::ticks as now; // see `loom.rs`

/// Ticks since some moment.
#[inline]
#[cfg(any(not(target_arch = "x86_64"), miri))]
pub fn now() -> u64 {
    (super::clock::monotonic().as_nanos() * u128::from(MICROSECOND) / 1000) as u64
}

/// Ticks from `then` until now; 0 if the counter has gone back.
#[inline]
pub fn since(then: u64) -> u64 {
    now().saturating_sub(then)
}

/// Limits a spin loop: it ends after `span` ticks. If the counter stands still or jumps back, it
/// ends after more looks than could fit into that time, because reading the counter alone takes at
/// least `AT_LEAST` ticks.
#[derive(Debug)]
pub struct Looks {
    began: u64,
    span: u64,
    left: u64,
}

/// How many ticks one look takes at least.
const AT_LEAST: u64 = 4;

impl Looks {
    /// A loop that begins now.
    #[inline]
    pub fn new(span: u64) -> Self {
        Self {
            began: now(),
            span,
            left: span / AT_LEAST,
        }
    }

    /// Counts a look. True: the loop must end.
    #[inline]
    pub fn are_over(&mut self) -> bool {
        self.are_over_at(now())
    }

    /// Counts a look at the time `now`. True: the loop must end.
    #[inline]
    pub fn are_over_at(&mut self, now: u64) -> bool {
        self.left = self.left.saturating_sub(1);
        self.left == 0 || now.wrapping_sub(self.began) > self.span
    }
}

#[cfg(all(test, not(miri)))]
mod tests {
    use super::*;
    use std::time::{Duration, Instant};

    #[test]
    fn a_counter_that_has_gone_back_delays_nothing() {
        let looks = |began| Looks {
            began,
            span: 10,
            left: 100,
        };
        assert!(!looks(5).are_over_at(15) && looks(5).are_over_at(16));
        assert!(looks(1 << 40).are_over_at(5), "this would be minutes");
    }

    #[test]
    fn a_counter_that_stands_still_delays_nothing() {
        let mut looks = Looks::new(50 * MICROSECOND);
        let still = looks.began;
        let count = (0..1_000_000).take_while(|_| !looks.are_over_at(still));
        assert_eq!(count.count() as u64, 50 * MICROSECOND / AT_LEAST - 1);
    }

    #[test]
    fn looks_end_by_the_clock_where_it_goes() {
        let mut looks = Looks::new(50 * MICROSECOND);
        while !looks.are_over() {}
        assert!(looks.left > 0 && since(looks.began) > 50 * MICROSECOND);
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
