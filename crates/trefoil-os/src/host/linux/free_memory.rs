//! Whether this machine, and the control groups of this process, have enough free memory for a
//! buffer.
//!
//! **Job.** The kernel promises memory that it does not have, and when the pages are written to, it
//! kills a process to get them: this one, a worker, or another program. Code that is about to fill
//! a large piece calls [`check`] first, so that a piece which cannot fit is an error of that call.
//!
//! This is not a reservation: it catches only sizes that cannot fit. What other programs allocate
//! at the same time is unknown. A control group may have as much swap as the machine, as far as
//! this knows.
//!
//! Tests: below; `tests/process/memory.rs`.

use std::fs::read_to_string;
use std::io;

use super::control_groups::{bytes_in, own_groups};

/// Requests up to this size are not checked: reading `/proc/meminfo` costs as much as filling them.
const LITTLE: u64 = 1 << 20;

/// An error if there is not enough memory for `length` bytes.
pub fn check(length: usize) -> io::Result<()> {
    let length = length as u64;
    if length <= LITTLE {
        return Ok(());
    }
    let text = read_to_string("/proc/meminfo").ok();
    let (free, swap) = text.as_deref().and_then(available).unwrap_or((u64::MAX, 0));
    let read = |path: &_| read_to_string(path).ok();
    let fits = |left: u64| length <= left.saturating_add(swap);
    let message = if !fits(free) {
        "this machine does not have that much memory left"
    } else if own_groups().all(|group| group.left(length, read).is_none_or(fits)) {
        return Ok(());
    } else {
        "the control group of this process does not have that much memory left"
    };
    Err(io::Error::new(io::ErrorKind::OutOfMemory, message))
}

/// How many bytes a new program could use, and how many of swap besides, by the text of
/// `/proc/meminfo`.
fn available(meminfo: &str) -> Option<(u64, u64)> {
    let bytes = |name| bytes_in(meminfo, name);
    Some((bytes("MemAvailable")?, bytes("SwapFree")?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_is_read() {
        let text = "MemTotal: 9 kB\nMemAvailable:   20 kB\nSwapTotal: 7 kB\nSwapFree: 3 kB\n";
        assert_eq!(available(text), Some((20 << 10, 3 << 10)));
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
