//! How the parent knows what a worker has begun, and takes back what it has not.
//!
//! There are two ways ([`Progress`]), and only `take_back` asks which of them a worker has:
//! - **Gates**, in pages that both processes map. The parent reads a gate at any moment, and closes
//!   it: from then on the worker begins no more items of that frame. So items come back at once,
//!   even from a worker that has been stopped.
//! - **Reports**, from a plain worker, which has nothing but its stream. It reports what it begins,
//!   and gates of the parent's own follow its reports. To take items back, the parent asks
//!   (`Recall`), and the answer says how far the worker got. A worker that does not answer within
//!   [`Policy::patience`](super::Policy) must have been stopped, and is killed.
//!
//! Tests: `src/process/sched/simulated.rs`, `tests/process/plain.rs`.

use super::sent_frame::SentFrame;
use crate::process::host::ledger::Front;
use crate::process::job::CallOptions;
use crate::process::wire::Broken;

/// What a worker's progress is known by.
#[derive(Clone, Debug)]
pub(crate) enum Progress {
    Gates(Front),
    Reports(Front),
}

impl Progress {
    /// The gates of the worker's frames.
    pub(super) fn gates(&self) -> &Front {
        match self {
            Self::Gates(front) | Self::Reports(front) => front,
        }
    }

    /// Whether the gates say at every moment what has begun. Reports say it later.
    pub(super) fn is_exact(&self) -> bool {
        matches!(self, Self::Gates(_))
    }

    /// Whether the worker sends each result before it begins the next item, if each is waited for
    /// separately.
    pub(super) fn sends_each_result(&self) -> bool {
        matches!(self, Self::Reports(_))
    }

    /// Whether an item goes to this worker only when it is idle, because what is queued there comes
    /// back only after an answer. `early`: another worker will be idle soon. `is_heavy`: the item
    /// would be received while another runs, which would be blamed if there were no memory.
    pub(super) fn needs_idle(&self, early: bool, is_heavy: impl FnOnce() -> bool) -> bool {
        match self {
            Self::Gates(_) => false,
            Self::Reports(_) => early || is_heavy(),
        }
    }

    /// How many items a frame may have. Only one, if the worker may have to be killed because of an
    /// item, while others are wanted, before it can report what it has not begun.
    pub(super) fn most_items(&self, options: &CallOptions, each: bool) -> usize {
        let may_be_killed = options.timeout.is_some() && (each || options.retry_on_timeout);
        match self {
            Self::Reports(_) if may_be_killed => 1,
            _ => usize::MAX,
        }
    }

    /// The worker reports that it has begun the next `count` items of `frame`, its first.
    pub(super) fn report(&self, frame: &SentFrame, count: usize, nanos: u64) -> Result<(), Broken> {
        match self {
            Self::Reports(_) if frame.begins(count, nanos) => Ok(()),
            _ => Err(Broken), // or the gates say it
        }
    }
}
