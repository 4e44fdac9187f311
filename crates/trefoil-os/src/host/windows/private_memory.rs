//! How much memory this process uses, and how much it may use: a limit of its job (`job`).
//!
//! - **H76** `K32GetProcessMemoryInfo` fills in a structure of the length that it is given; all of
//!   its fields are numbers.
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

/// Reads how much memory this process uses.
#[derive(Debug)]
pub struct Meter(());

impl Meter {
    /// A meter for this process.
    pub fn new() -> io::Result<Self> {
        Ok(Self(()))
    }

    /// The bytes that only this process uses, and the bytes that are reserved for writing: the same
    /// number here.
    pub fn read(&self) -> Option<(u64, u64)> {
        let mut counters = PROCESS_MEMORY_COUNTERS::default();
        let length = size_of_val(&counters) as u32;
        counters.cb = length;
        // SAFETY: H76: the pseudo-handle of this process need not be closed.
        let own = unsafe { GetCurrentProcess() };
        // SAFETY: H76: the structure is a local variable.
        let filled = unsafe { K32GetProcessMemoryInfo(own, &raw mut counters, length) };
        let own = counters.PagefileUsage as u64; // what is committed, in memory or on disk
        (filled != 0).then_some((own, own))
    }
}

/// The job of this process, made with the first limit. It is inside the job that the parent has
/// made (`process_group`). Processes that this one starts are in it, too, and each has the same
/// limit for itself.
static JOB: OnceLock<Job> = OnceLock::new();

/// How many bytes are allowed now; `usize::MAX`: no limit.
static ALLOWED: AtomicUsize = AtomicUsize::new(usize::MAX);

/// Limits how many bytes this process can commit: the allocator is refused the rest.
pub fn allow(bytes: u64) -> io::Result<()> {
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

/// The limit that [`lift`] has lifted.
#[derive(Debug)]
pub struct Allowance(usize);

/// Lifts the limit. `None`: there is none, or the system refuses.
pub fn lift() -> Option<Allowance> {
    JOB.get()?.allow(None).ok()?;
    Some(Allowance(ALLOWED.load(Ordering::Relaxed)))
}

/// Sets the limit again that was lifted.
pub fn restore(before: Allowance) {
    let _ = JOB.get().map(|job| job.allow(Some(before.0)));
}
