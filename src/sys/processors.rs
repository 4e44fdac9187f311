//! How many processors this process may use: the default width of every pool.
//!
//! There are two sources, of which the smaller number is used. `num_cpus` knows affinity, the quota
//! of this process's control group, and physical cores. `std` looks at the quotas of the groups
//! above, too, and rounds half a processor down.
//!
//! Tests: below, `tests/thread/resize.rs` (affinity), `tests/process/pool.rs`.

/// The number of logical processors: two for a core with two hardware threads. At least 1.
pub(crate) fn logical() -> usize {
    let std = std::thread::available_parallelism().map_or(usize::MAX, usize::from);
    num_cpus::get().min(std).max(1)
}

/// The number of physical cores, but at most [`logical`]. At least 1.
///
/// The kernel reports how many cores the machine has, not how many of them the affinity allows.
pub(crate) fn physical() -> usize {
    num_cpus::get_physical().min(logical()).max(1)
}

/// How many processors this thread's affinity allows. (On other systems the number above.)
#[cfg(target_os = "linux")]
pub(crate) fn by_affinity() -> usize {
    let set = rustix::thread::sched_getaffinity(None);
    set.map_or(usize::MAX, |set| set.count() as usize)
}

/// How many there are for this thread.
#[cfg(not(target_os = "linux"))]
pub(crate) fn by_affinity() -> usize {
    logical()
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
