//! The settings of a pool that decisions depend on, and how the pool ends.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::process::job::Initializer;
use crate::process::job::failed_item::OnFailedItem;

/// The longest grace period: later times might not be representable.
pub(super) const FOR_EVER: Duration = Duration::from_secs(100 * 365 * 86_400);

/// The settings that decisions depend on.
/// (Its `Default` is not that of a pool, which is in `Settings::new`.)
#[derive(Clone, Debug, Default)]
pub(crate) struct Policy {
    pub(crate) grace: Duration,
    /// How long a plain worker may take to answer how far it got, and any worker to end a frame
    /// that it has answered. If it takes longer, it has been stopped (`SIGSTOP`), or an item
    /// speaks for it.
    pub(crate) patience: Duration,
    /// They run in this order.
    pub(crate) initializers: Vec<Initializer>,
    /// If more workers die within the period, the pool gives up.
    pub(crate) max_restarts: Option<(u32, Duration)>,
    /// A worker is replaced after this many items.
    pub(crate) replace_after: Option<u64>,
    /// A worker that is to be replaced leaves when another is ready in its place; otherwise first.
    pub(crate) replace_first: bool,
    /// The pool has one process, with this name, which is never replaced.
    pub(crate) one_process: Option<Arc<str>>,
    /// The number of workers follows the work.
    pub(crate) elastic: Option<Elastic>,
    /// How long workers above the minimum are idle before they leave.
    pub(crate) idle: Duration,
    /// A launcher starts the workers, perhaps far away, which takes long.
    pub(crate) starts_far: bool,
    /// Gets the items that have failed.
    pub(crate) on_failed: Option<OnFailedItem>,
}

/// From how many to how many workers a pool has, as the work asks for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Elastic {
    pub(crate) least: usize,
    pub(crate) most: usize,
}

/// Which work still runs when a pool ends; later variants are stronger.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum How {
    /// Everything.
    Wait,
    /// Items that have begun.
    CancelPending,
    /// Nothing.
    Kill,
}

/// The end of a pool.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Stop {
    pub(crate) how: How,
    /// When it becomes [`How::Kill`].
    pub(crate) limit: Option<Instant>,
    /// Nobody has asked for it: the last handle was dropped. Then detached calls that end with the
    /// pool are reported.
    pub(crate) is_drop: bool,
}

impl From<How> for Stop {
    fn from(how: How) -> Self {
        Self {
            how,
            limit: None,
            is_drop: false,
        }
    }
}
