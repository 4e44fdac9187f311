//! How much private memory this process has, and how much it may have (`/proc/self/statm`,
//! `RLIMIT_DATA`).
//!
//! Tests: below; `tests/process/limits.rs`.

use std::fs::File;
use std::io;

pub use crate::host::unix::allowance::{Allowance, allow, lift, restore};
use crate::sys::sysconf::page_size;

/// Reads how much private memory this process has.
#[derive(Debug)]
pub struct Meter {
    statm: File,
    page: u64,
}

impl Meter {
    /// A meter for this process.
    pub fn new() -> io::Result<Self> {
        Ok(Self {
            statm: File::open("/proc/self/statm")?,
            page: page_size() as u64,
        })
    }

    /// How many bytes are resident and private, and how many bytes of private writable memory are
    /// reserved.
    pub fn read(&self) -> Option<(u64, u64)> {
        let mut buffer = [0; 256];
        let length = rustix::io::pread(&self.statm, &mut buffer, 0).ok()?;
        let (resident, shared, data) = parse(std::str::from_utf8(&buffer[..length]).ok()?)?;
        let own = resident.saturating_sub(shared);
        Some((own * self.page, data * self.page))
    }
}

/// Returns the numbers of resident, shared and data pages.
fn parse(statm: &str) -> Option<(u64, u64, u64)> {
    let mut fields = statm.split_whitespace().map(|field| field.parse().ok());
    let resident = fields.nth(1)??;
    let shared = fields.next()??;
    let data = fields.nth(2)??;
    Some((resident, shared, data))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statm_is_read() {
        assert_eq!(parse("10 7 3 1 0 5 0\n"), Some((7, 3, 5)));
        assert_eq!(parse("10 7"), None);
        assert_eq!(parse("a b c d e f g"), None);
    }
}
