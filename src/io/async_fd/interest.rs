//! What to wait for: a set of four kinds of event.
//!
//! Tests: `tests/io/async_fd.rs`.

use std::fmt;
use std::ops::{BitOr, BitOrAssign};

/// What [`AsyncFd::ready`](super::AsyncFd::ready) waits for, and what it returns: one kind of event,
/// or several, joined with `|`.
///
/// ```
/// use trefoil::io::Interest;
///
/// let either = Interest::READABLE | Interest::PRIORITY;
/// assert!(either.contains(Interest::PRIORITY));
/// assert!(!either.contains(Interest::PRIORITY | Interest::ERROR));
/// ```
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Interest(u8);

impl Interest {
    /// A read would not block, as with [`AsyncFd::readable`](super::AsyncFd::readable).
    pub const READABLE: Self = Self(1);
    /// A write would not block, as with [`AsyncFd::writable`](super::AsyncFd::writable).
    pub const WRITABLE: Self = Self(2);
    /// An event of its own kind: urgent data of a TCP connection, a changed attribute of `sysfs`, a
    /// trigger in `/proc/pressure`, an edge of a GPIO line. Only Linux reports it.
    pub const PRIORITY: Self = Self(4);
    /// An error, or an entry in a socket's error queue.
    pub const ERROR: Self = Self(8);

    pub(super) const NONE: Self = Self(0);

    const NAMES: [(Self, &str); 4] = [
        (Self::READABLE, "READABLE"),
        (Self::WRITABLE, "WRITABLE"),
        (Self::PRIORITY, "PRIORITY"),
        (Self::ERROR, "ERROR"),
    ];

    /// Whether all kinds of `other` are among these.
    ///
    /// ```
    /// use trefoil::io::Interest;
    ///
    /// assert!((Interest::READABLE | Interest::ERROR).contains(Interest::ERROR));
    /// ```
    #[must_use]
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }
}

impl BitOr for Interest {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

impl BitOrAssign for Interest {
    fn bitor_assign(&mut self, other: Self) {
        *self = *self | other;
    }
}

impl fmt::Debug for Interest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut between = "";
        for (_, name) in Self::NAMES.iter().filter(|(kind, _)| self.contains(*kind)) {
            write!(f, "{between}{name}")?;
            between = " | ";
        }
        Ok(())
    }
}
