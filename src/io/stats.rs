//! How many calls off the loop run, and how many wait.
//!
//! They are read from what `blocking_calls` needs anyway.
//!
//! Tests: `tests/io/stuck.rs`.

use crate::blocking_calls::{self, CallKind};

/// What the threads do that make calls which may block, for all loops of the process; from
/// [`stats`].
///
/// ```
/// let stats = trefoil::io::stats();
/// assert_eq!((stats.files.waiting, stats.lookups.waiting), (0, 0));
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct IoStats {
    /// The calls of [`fs`](super::fs), and of standard streams that are files.
    pub files: CallStats,
    /// The lookups of names.
    pub lookups: CallStats,
}

/// The calls of one kind: see [`IoStats`].
///
/// ```
/// let trefoil::io::CallStats { most, .. } = trefoil::io::stats().files;
/// assert_eq!(most, 512);
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct CallStats {
    /// How many threads make such calls.
    pub busy: usize,
    /// How many calls wait for a thread. If this stays above zero, all that may run are stuck.
    pub waiting: usize,
    /// How many threads there may be.
    pub most: usize,
}

/// How many calls that may block this process makes now, off its loops, and how many wait.
///
/// A stuck call (a path on a server that does not answer, a pipe without a writer) keeps its
/// thread. Once `busy` is `most`, other calls of its kind wait until one ends. This is also
/// reported to the hook of [`on_unobserved`](crate::on_unobserved) when none has ended for a
/// second.
///
/// ```
/// let files = trefoil::io::stats().files;
/// println!("{} of {} threads are in calls, and {} calls wait", files.busy, files.most, files.waiting);
/// ```
#[must_use]
pub fn stats() -> IoStats {
    let of = |kind| {
        let (busy, waiting, most) = blocking_calls::stats(kind);
        CallStats {
            busy,
            waiting,
            most,
        }
    };
    IoStats {
        files: of(CallKind::File),
        lookups: of(CallKind::Lookup),
    }
}
