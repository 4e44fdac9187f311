//! Opens a standard stream again, as an open file that this process alone uses.
//!
//! A pipe or a terminal is opened a second time, without blocking: through `/proc/self/fd`.
//!
//! Tests: `tests/io/standard.rs`.

use std::os::fd::OwnedFd;

use rustix::fs::{FileType, Mode, OFlags, Stat, major, minor, open};

/// The device that makes a new terminal each time it is opened.
const PTMX: (u32, u32) = (5, 2);

/// Opens `number` again, if that is possible and gives the same stream.
pub(crate) fn reopen(number: u8, access: OFlags, stat: &Stat) -> Option<OwnedFd> {
    let ptmx = (major(stat.st_rdev), minor(stat.st_rdev)) == PTMX;
    match FileType::from_raw_mode(stat.st_mode) {
        FileType::Fifo | FileType::CharacterDevice if !ptmx => {
            let flags = access | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
            open(format!("/proc/self/fd/{number}"), flags, Mode::empty()).ok()
        }
        _ => None,
    }
}
