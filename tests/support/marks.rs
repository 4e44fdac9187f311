//! The processes of one test, behind whatever has started them: they have its mark in their
//! environment.

use std::sync::atomic::{AtomicU64, Ordering};

use trefoil::process::launch::Launcher;
use trefoil::{ProcessPool, ProcessPoolBuilder, TaskError};

/// A value that only the workers of one test have in their environment.
pub(crate) fn mark() -> String {
    static NUMBERS: AtomicU64 = AtomicU64::new(0);
    let number = NUMBERS.fetch_add(1, Ordering::Relaxed);
    format!("mark-{}-{number}-", std::process::id())
}

pub(crate) const MARK: &str = "TREFOIL_TEST_MARK";

/// The processes with this mark.
pub(crate) fn marked(mark: &str) -> Vec<u32> {
    let wanted = format!("{MARK}={mark}");
    let has = |pid: &u32| {
        let all = std::fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
        all.split(|byte| *byte == 0)
            .any(|one| one == wanted.as_bytes())
    };
    let all = std::fs::read_dir("/proc").unwrap().flatten();
    let pids = all.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    pids.filter(has).collect()
}

pub(crate) fn marked_pool(launcher: impl Launcher, mark: &str) -> ProcessPoolBuilder {
    ProcessPool::builder().launcher(launcher).env(MARK, mark)
}

pub(crate) fn died<T: std::fmt::Debug>(result: Result<T, TaskError>) -> Box<trefoil::WorkerExit> {
    match result {
        Err(TaskError::WorkerDied(exit)) => exit,
        other => panic!("{other:?}"),
    }
}
