//! Every number of a recording that a user notices.

use std::time::Duration;

/// How many events a recording has room for, if its caller names no number: 64 MiB, if all are
/// used. What comes later is counted and not kept.
pub(super) const LIMIT: usize = 1 << 21;

/// How many files a flight recorder writes by itself: a program that gets stuck again and again
/// does not fill the disk.
pub(super) const FILES: u64 = 10;

/// How long it waits between two of them.
pub(super) const PAUSE: Duration = Duration::from_secs(60);

/// How many of the slowest tasks a summary lists.
pub(super) const SLOWEST: usize = 10;
