//! How many descriptors a pool's workers need in this process, and what to do if there are too few.
//!
//! Tests:
//! `crates/trefoil-machines/tests/placed/descriptors.rs::{three_hundred_workers_begin_where_there_are_descriptors_for_them,
//! too_few_descriptors_are_an_error_that_says_what_to_do}`.

#[cfg(feature = "dial")]
use std::io;

#[cfg(feature = "dial")]
use rustix::io::Errno;
use rustix::process::{Resource, getrlimit};

/// How many descriptors the rest of a pool may need.
const SPARE: usize = 32;

/// What to do.
const WAY: &str = "raise the limit before the program starts (`ulimit -n`, or `LimitNOFILE` of a \
    service), or ask for fewer workers";

/// Whether `workers` workers fit, each with so many descriptors; or why not.
pub(crate) fn suffice(workers: usize, each: usize) -> Result<(), String> {
    let Some(limit) = limit() else { return Ok(()) };
    // (Where it cannot be listed, only the pool's own are counted.)
    let open = std::fs::read_dir("/dev/fd").map_or(0, Iterator::count);
    let needed = workers.saturating_mul(each).saturating_add(SPARE);
    if (open.saturating_add(needed) as u64) < limit {
        return Ok(());
    }
    Err(format!(
        "{workers} workers need {needed} descriptors in this process, which has {open} open and \
         may have {limit}: {WAY}"
    ))
}

/// Whether the error says that there are no more descriptors.
#[cfg(feature = "dial")]
pub(crate) fn are_used_up(error: &io::Error) -> bool {
    let code = error.raw_os_error().map(Errno::from_raw_os_error);
    matches!(code, Some(Errno::MFILE | Errno::NFILE))
}

/// Why a worker that has called back could not be received.
#[cfg(feature = "dial")]
pub(crate) fn none_left(error: &io::Error) -> String {
    let limit = limit().map_or("without limit".to_owned(), |limit| limit.to_string());
    format!(
        "a worker has called back, and this process has no descriptor left for it ({error}; the \
         limit is {limit}): {WAY}"
    )
}

fn limit() -> Option<u64> {
    getrlimit(Resource::Nofile).current
}
