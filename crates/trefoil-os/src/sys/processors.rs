//! How many processors this process may use: the default width of every pool.
//!
//! `std` knows affinity, and the quotas of this process's control group and of the groups above;
//! it rounds half a processor down. `num_cpus` knows physical cores. (It reads the quota of the
//! process's own group, too, and rounds up: never less than what `std` says.)
//!
//! - **Y32** `sched_getcpu` takes nothing.
//!
//! Tests: below; `tests/thread/resize.rs::a_process_that_may_use_one_processor_has_one_worker`,
//! `tests/process/pool.rs::a_width_can_leave_processors_free`.
#![allow(unsafe_code)]

/// The number of logical processors: two for a core with two hardware threads. At least 1.
pub fn logical() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// The number of physical cores, but at most [`logical`]. At least 1.
///
/// The kernel reports how many cores the machine has, not how many of them the affinity allows.
pub fn physical() -> usize {
    num_cpus::get_physical().min(logical()).max(1)
}

/// The processor on which this thread runs, which may be another one the next moment. `None`: the
/// system does not say (or a model runs, in which it would change with each run).
#[cfg(all(target_os = "linux", not(any(loom, miri, simulated))))]
pub fn current() -> Option<usize> {
    // SAFETY: Y32: no argument.
    let here = unsafe { libc::sched_getcpu() };
    usize::try_from(here).ok()
}

/// The processor on which this thread runs: the system does not say.
#[cfg(not(all(target_os = "linux", not(any(loom, miri, simulated)))))]
pub fn current() -> Option<usize> {
    None
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn neither_is_more_than_the_process_may_use() {
        let allowed = std::thread::available_parallelism().unwrap().get();
        assert_eq!(logical(), allowed);
        assert!((1..=allowed).contains(&physical()));
    }
}
