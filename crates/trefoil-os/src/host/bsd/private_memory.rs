//! How many addresses this process uses, and how many it may use (`RLIMIT_AS`): on FreeBSD.
//!
//! The kernel refuses a mapping that would make the process larger, of whatever kind. (It does not
//! ask `RLIMIT_DATA`, which is for `brk`; allocators map memory.) The C library's allocator maps
//! what it hands out and little more, and returns it; so what an item adds is nearly what it
//! allocates, besides the stacks of its threads and the files that it maps.
//!
//! Tests: `tests/process/limits.rs`.

use std::io;

use super::itself::this_process;
pub use crate::host::unix::allowance::{Allowance, allow, lift, restore};
use crate::sys::sysconf::page_size;

/// Reads how much memory this process has.
#[derive(Debug)]
pub struct Meter {
    page: u64,
}

impl Meter {
    /// A meter for this process.
    pub fn new() -> io::Result<Self> {
        let page = page_size() as u64;
        Ok(Self { page })
    }

    /// How many bytes are resident, and how many bytes of addresses are in use.
    pub fn read(&self) -> Option<(u64, u64)> {
        let info = this_process()?;
        let resident = u64::try_from(info.ki_rssize).ok()?;
        Some((resident * self.page, info.ki_size as u64))
    }
}
