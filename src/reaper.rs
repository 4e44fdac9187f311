//! Reaps children that nobody waits for any more.
//!
//! A child that has ended stays as a zombie until its parent has asked for its status. A program
//! that drops an `io::Child` does not ask, nor does a pool that has given a worker up, so this
//! module does, on a loop or off it.
//!
//! 1. [`adopt`] takes over a child. One that has ended already is reaped at once.
//! 2. Otherwise a helper thread waits for its end (`timer::helper_thread`), and reaps it then.
//! 3. If the system has refused a descriptor for the child (it is then known by its number), or if
//!    it cannot be reaped although it has ended (a debugger has it), it is checked from time to
//!    time.
//! 4. If the system refuses the thread, the children wait for it with the other entries of that
//!    thread, which is owed (`blocking_threads`).
//!
//! A child keeps its number until its status is fetched. Only if the host lets the system discard
//! its children, or waits for them itself, could another child have the number by then: that is why
//! a descriptor is better.
//!
//! Rejected: `SIGCHLD`, which belongs to the host; a double fork, which makes another process the
//! child's parent; reaping whenever another child is started, which never reaps the last ones.
//!
//! Tests: `tests/io/children.rs::a_dropped_child_leaves_no_zombie_wherever_it_is_dropped`,
//! `tests/io/faults.rs::dropped_children_are_reaped_when_there_are_threads_again`,
//! `tests/process/undying.rs`.

use std::sync::Arc;
use std::task::{Wake, Waker};
use std::time::Instant;

use rustix::event::PollFlags;

use crate::sys::child::Handle;
#[cfg(feature = "event-loop")]
use crate::sys::child::{Id, fetch_by_id};
use crate::timer::{UNREPORTED_PERIOD, WatchedFds, keep};

/// Why the status of a child that has ended may not be known.
pub(crate) const STATUS_IS_LOST: &str =
    "other code in this program waits for any child, or SIGCHLD is ignored";

/// A child whose handle was dropped.
pub(crate) enum Orphan {
    Held(Arc<Handle>),
    /// No descriptor was left to watch it.
    #[cfg(feature = "event-loop")]
    Numbered(Id),
}

impl Orphan {
    /// Whether the child is still running. If not, no zombie is left. (An error means that other
    /// code has fetched the status.)
    fn runs(&self) -> bool {
        let status = match self {
            Self::Held(child) => child.fetch(),
            #[cfg(feature = "event-loop")]
            Self::Numbered(id) => fetch_by_id(id),
        };
        matches!(status, Ok(None))
    }
}

/// Checks on the child when it may have ended, and from time to time.
impl Wake for Orphan {
    fn wake(self: Arc<Self>) {
        wait_for(self, None);
    }
}

/// Makes sure that this child does not stay a zombie.
pub(crate) fn adopt(child: Orphan) {
    let end = match &child {
        Orphan::Held(end) => Some(end.clone()),
        #[cfg(feature = "event-loop")]
        Orphan::Numbered(_) => None,
    };
    wait_for(Arc::new(child), end);
}

fn wait_for(child: Arc<Orphan>, end: Option<Arc<Handle>>) {
    if !child.runs() {
        return;
    }
    let until = end.is_none().then(|| Instant::now() + UNREPORTED_PERIOD);
    let interest = WatchedFds([end.map(|end| (end as _, PollFlags::IN)), None]);
    keep(interest, until, Waker::from(child));
}
