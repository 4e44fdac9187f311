//! Whether this machine has enough free memory for a buffer.
//!
//! **Job.** The kernel promises memory that it does not have, and when the pages are written to, it
//! kills a process to get them: this one, a worker, or another program. Code that is about to fill
//! a large piece calls [`check`] first, so that a piece which cannot fit is an error of that call.
//!
//! This is not a reservation: it catches only sizes that cannot fit. What other programs allocate
//! at the same time is unknown, and the limits of control groups are not checked (there the kernel
//! kills within the group).
//!
//! Tests: below; `tests/process/memory.rs`.

use std::io;

/// Requests up to this size are not checked: reading `/proc/meminfo` costs as much as filling them.
const LITTLE: u64 = 1 << 20;

/// An error if there is not enough memory for `length` bytes.
pub fn check(length: usize) -> io::Result<()> {
    if length as u64 <= LITTLE || length as u64 <= left() {
        return Ok(());
    }
    Err(io::Error::new(
        io::ErrorKind::OutOfMemory,
        "this machine does not have that much memory left",
    ))
}

/// How many bytes are available, as far as that can be read.
fn left() -> u64 {
    let text = std::fs::read_to_string("/proc/meminfo").ok();
    text.as_deref().and_then(available).unwrap_or(u64::MAX)
}

/// How much memory a new program could use, with swap, by the text of `/proc/meminfo`.
fn available(meminfo: &str) -> Option<u64> {
    let kibibytes = |name: &str| {
        let mut lines = meminfo.lines();
        let line = lines.find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
        line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()
    };
    let free = kibibytes("MemAvailable")?.checked_add(kibibytes("SwapFree")?)?;
    free.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_is_read() {
        let text = "MemTotal: 9 kB\nMemAvailable:   20 kB\nSwapTotal: 7 kB\nSwapFree: 3 kB\n";
        assert_eq!(available(text), Some(23 << 10));
        assert_eq!(available("MemAvailable: 20 kB\n"), None);
        assert_eq!(available("MemAvailable: x kB\nSwapFree: 0 kB\n"), None);
        assert_eq!(available(""), None);
    }

    /// (A machine may have more memory than a 32-bit process can ask for.)
    #[cfg(target_pointer_width = "64")]
    #[test]
    fn there_is_never_all_of_it() {
        let memory = rustix::system::sysinfo();
        let all = (memory.totalram + memory.totalswap) as usize * memory.mem_unit as usize;
        assert_eq!(check(all).unwrap_err().kind(), io::ErrorKind::OutOfMemory);
        assert!(check(usize::MAX).is_err());
        assert!(check(2 << 20).is_ok() && check(0).is_ok());
    }
}
