//! Children whose handle was dropped: their status is fetched when they end.
//!
//! A child that has ended stays as a zombie until its parent has asked for its status. A
//! program that drops a [`Child`](super::Child) will not ask, so this module does, on a loop or off it.
//!
//! 1. A child is handed over by [`adopt`]. One that has ended already is fetched on the spot.
//! 2. Otherwise a helper thread waits for its end (`alarm::waiter`), and fetches it then.
//! 3. Should it not be there to be fetched although it has ended (a debugger has it), it is looked at from time to time.
//! 4. Should the system refuse the thread, the child stays in a list, and the next one to be handed over tries again.
//!
//! Rejected: `SIGCHLD`, which belongs to the host; a double fork, which is not the child's
//! parent; to fetch them whenever another child is started, which leaves the last ones for ever.
//!
//! Checked by `tests/event_loop/`.

use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::task::{Wake, Waker};
use std::time::Instant;

use rustix::event::PollFlags;
use rustix::io::Errno;
use rustix::process::{WaitId, WaitIdOptions, WaitIdStatus, waitid};

use crate::alarm::{Interest, RARELY, enter};
use crate::loom::Mutex;
use crate::sys::fork::PerProcess;

/// The status of a child that has ended, which is then gone; `None` while it runs.
pub(super) fn fetch(child: &OwnedFd) -> rustix::io::Result<Option<WaitIdStatus>> {
    let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG;
    loop {
        match waitid(WaitId::PidFd(child.as_fd()), options) {
            Err(Errno::INTR) => {}
            result => return result,
        }
    }
}

/// A child whose handle was dropped.
struct Orphan(Arc<OwnedFd>);

/// What wakes it: it may have ended, and if it has not, it is looked at from time to time.
impl Wake for Orphan {
    fn wake(self: Arc<Self>) {
        wait_for(self, Some(Instant::now() + RARELY));
    }
}

/// Sees to it that this child does not stay a zombie.
pub(super) fn adopt(child: Arc<OwnedFd>) {
    let left = std::mem::take(&mut *left().lock());
    for child in left.into_iter().chain([Arc::new(Orphan(child))]) {
        wait_for(child, None);
    }
}

/// Those that no thread waits for. A forked child has none of its parent's children.
fn left() -> &'static Mutex<Vec<Arc<Orphan>>> {
    static LEFT: PerProcess<Mutex<Vec<Arc<Orphan>>>> = PerProcess::new();
    LEFT.get_or_init(Mutex::default)
}

/// Until it ends, or until then. Nothing is done if it has ended, or if its status was fetched elsewhere (an error).
fn wait_for(child: Arc<Orphan>, until: Option<Instant>) {
    if !matches!(fetch(&child.0), Ok(None)) {
        return;
    }
    let end = until
        .is_none()
        .then(|| (child.0.clone() as _, PollFlags::IN));
    if enter(Interest([end, None]), until, Waker::from(child.clone())).is_err() {
        left().lock().push(child);
    }
}
