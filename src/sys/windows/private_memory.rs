//! How much memory this process has. A limit holds between items only.
//!
//! - **Y76** `K32GetProcessMemoryInfo` fills in what it is given, of the length that is told; all
//!   of it are numbers.
//!
//! Tests: `tests/process/limits.rs`, under Wine.
#![allow(unsafe_code)]

use std::io;

use windows_sys::Win32::System::ProcessStatus::{K32GetProcessMemoryInfo, PROCESS_MEMORY_COUNTERS};
use windows_sys::Win32::System::Threading::GetCurrentProcess;

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
