//! How many threads libraries start in a worker, and the variables that say so.
//!
//! Libraries read them when they start: so they must be in a worker's environment from its
//! beginning.
//!
//! Which of them are left alone: `Settings::limit_threads` (`parent/settings.rs`).
//!
//! Tests: `tests/process/limits.rs`, `tests/process/launcher.rs`.

use std::ffi::{OsStr, OsString};

/// Those that libraries which programs in Rust use read: this crate, rayon, OpenMP, and two
/// libraries for linear algebra. The builder's `threads_per_worker` and two tests (`launcher.rs`,
/// `limits.rs`) repeat the list.
const NAMES: [&str; 5] = [
    "TREFOIL_THREADS",
    "RAYON_NUM_THREADS",
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
];

/// One worker's part of the processors, at least 1.
pub(crate) fn share(processors: usize, workers: usize) -> usize {
    (processors / workers.max(1)).max(1)
}

/// The names of the variables, except those that the user has set.
pub(crate) fn names(set: &[(OsString, OsString)]) -> Vec<&'static str> {
    let mut names = NAMES.to_vec();
    names.retain(|name| !set.iter().any(|(key, _)| key == OsStr::new(name)));
    names
}
