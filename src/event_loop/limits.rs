//! Every number of an event loop that a user notices.
//!
//! A number is here, and not beside its mechanism, if a change of it changes what a program sees:
//! how long the kernel, a timer or another socket may wait for its turn, how long an end may take.

use std::time::Duration;

use crate::sys::ticks;

/// About how long tasks run before the kernel is asked for events, and so how long a ready socket
/// may wait for busy tasks. Timers are checked more often, after each batch in which the clock
/// was read.
pub(super) const TIME_SLICE_TICKS: u64 = 200 * ticks::MICROSECOND;

/// The kernel is asked after this many polls, whatever the clock says.
pub(super) const MAX_POLLS: u32 = 1024;

/// How many tasks run in one turn at most. (The kernel is asked less often: [`TIME_SLICE_TICKS`].)
pub(super) const BATCH: usize = 64;

/// How many operations one source (a direction of a socket, a signal, an interval) may complete
/// in a round, at most [`ALL`]; then its task lets others go first. The docs of `event_loop` state
/// both.
pub(super) const EACH: u32 = 128;

/// After how many operations of all sources each may complete only one in that round.
pub(super) const ALL: u32 = 512;

/// How long an ending loop waits for an entry that another thread is just adding.
pub(super) const CLOSE_TIMEOUT: Duration = Duration::from_secs(5);

/// With virtual time: how long descriptors and promises may be silent, in real time, before the
/// clock jumps.
pub(super) const SILENCE: Duration = Duration::from_millis(500);

/// With virtual time: the shortest silence before the clock jumps.
pub(super) const SHORTEST: Duration = Duration::from_millis(10);
