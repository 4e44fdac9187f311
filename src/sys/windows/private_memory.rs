//! How much memory this process has, and may have: a limit of its job (`job`).
//!
//! - **Y76** `K32GetProcessMemoryInfo` fills in what it is given, of the length that is told; all
//!   of it are numbers.
//!
//! Tests: `tests/process/limits.rs`, under Wine.
#![allow(unsafe_code)]

use std::io;
use std::sync::OnceLock;
// A number: no protocol.
use std::sync::atomic::{AtomicUsize, Ordering};

use windows_sys::Win32::System::ProcessStatus::{K32GetProcessMemoryInfo, PROCESS_MEMORY_COUNTERS};
use windows_sys::Win32::System::Threading::GetCurrentProcess;

use super::job::Job;

/// What reads how much there is.
#[derive(Debug)]
pub(crate) struct Meter(());

impl Meter {
    pub(crate) fn new() -> io::Result<Self> {
        Ok(Self(()))
    }

    /// How many bytes are this process's own, and how much is reserved to write to: that, too.
    pub(crate) fn read(&self) -> Option<(u64, u64)> {
        let mut counters = PROCESS_MEMORY_COUNTERS::default();
        let length = size_of_val(&counters) as u32;
        counters.cb = length;
        // SAFETY: Y76: a name for this process, which need not be closed.
        let own = unsafe { GetCurrentProcess() };
        // SAFETY: Y76: it is in this frame.
        let filled = unsafe { K32GetProcessMemoryInfo(own, &raw mut counters, length) };
        let own = counters.PagefileUsage as u64; // what is committed, wherever it lies
        (filled != 0).then_some((own, own))
    }
}

/// The job of this process, in which it is from the first limit on: inside of the one that its
/// parent has made (`family`). What this process starts is in it, too, and has the same limit, each
/// process for itself.
static JOB: OnceLock<Job> = OnceLock::new();

/// What was allowed.
static ALLOWED: AtomicUsize = AtomicUsize::new(usize::MAX);

/// From now on no more than `bytes` can be committed: the rest is refused to the allocator.
pub(crate) fn allow(bytes: u64) -> io::Result<()> {
    let job = match JOB.get() {
        Some(job) => job,
        None => {
            let job = Job::new()?;
            job.enter()?;
            JOB.get_or_init(|| job)
        }
    };
    let bytes = usize::try_from(bytes).unwrap_or(usize::MAX);
    ALLOWED.store(bytes, Ordering::Relaxed);
    job.allow(Some(bytes))
}

/// What was allowed.
#[derive(Debug)]
pub(crate) struct Allowance(usize);

/// Allows as much as there is. `None`: that is refused.
pub(crate) fn lift() -> Option<Allowance> {
    JOB.get()?.allow(None).ok()?;
    Some(Allowance(ALLOWED.load(Ordering::Relaxed)))
}

/// Allows what was allowed before.
pub(crate) fn restore(before: Allowance) {
    let _ = JOB.get().map(|job| job.allow(Some(before.0)));
}
