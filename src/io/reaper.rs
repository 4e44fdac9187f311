//! Children that nobody waits for any longer, fetched when they end.
//!
//! A child that has ended stays as a zombie until its parent has asked for its status. Whoever
//! drops a [`Child`](super::Child) will not ask, so somebody else must, on a loop or off it.
//!
//! 1. A child is handed over by [`adopt`]. One that has ended already is fetched on the spot.
//! 2. Otherwise it goes to one thread, started for the first such child, which sleeps until one of
//!    them ends, fetches it, and ends itself after the last.
//! 3. Should the system refuse descriptors, to the child (it is then known by its number) or to the
//!    thread, the thread looks at such children from time to time. Should it refuse the thread,
//!    the children stay in the list, and the next one that is handed over tries again.
//!
//! A number is the child's until it is fetched. Only where the host lets the system discard its
//! children, or waits for them itself, could it be another child's by then: that is why a
//! descriptor is better.
//!
//! Who runs is decided under the lock: the thread ends in the same critical section in which it
//! finds the list empty, so no child is left to a thread that has ended.
//!
//! Rejected: `SIGCHLD`, which belongs to the host; a double fork, which is not the child's
//! parent; to fetch them whenever another child is started, which leaves the last ones for ever.
//!
//! Checked by `tests/event_loop/`.

use std::collections::HashMap;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::thread::sleep;
use std::time::Duration;

use mio::Waker;
use rustix::process::{Pid, WaitId, WaitIdOptions, WaitIdStatus, waitid};

use crate::loom::Mutex;
use crate::loom::thread::Builder;
use crate::sys::fork::PerProcess;
use crate::sys::poller::{Poller, WAKE_TOKEN};

/// How often the thread looks at what the system does not watch for it.
const RARELY: Duration = Duration::from_millis(100);

/// The status of a child that has ended, which is then gone; `None` while it runs.
pub(super) fn fetch(child: BorrowedFd<'_>) -> rustix::io::Result<Option<WaitIdStatus>> {
    fetch_by(WaitId::PidFd(child))
}

fn fetch_by(child: WaitId<'_>) -> rustix::io::Result<Option<WaitIdStatus>> {
    let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG;
    loop {
        match waitid(child.clone(), options) {
            Err(rustix::io::Errno::INTR) => {}
            result => return result,
        }
    }
}

/// A child that nobody waits for.
pub(super) enum Orphan {
    Held(Arc<OwnedFd>),
    /// There was no descriptor left for it.
    Numbered(Pid),
}

impl Orphan {
    /// False: it has ended, and no zombie is left. (An error: somebody else has fetched it.)
    fn runs(&self) -> bool {
        let status = match self {
            Self::Held(child) => fetch(child.as_fd()),
            Self::Numbered(pid) => fetch_by(WaitId::Pid(*pid)),
        };
        matches!(status, Ok(None))
    }
}

/// Sees to it that this child does not stay a zombie.
pub(super) fn adopt(child: Orphan) {
    if !child.runs() {
        return;
    }
    let mut state = state().lock();
    state.fresh.push(child);
    if !state.running {
        start(&mut state);
    } else if let Some(waker) = &state.waker {
        // It cannot fail: the descriptor is the thread's, which is there.
        let _ = waker.wake();
    }
}

/// A forked child has neither the thread nor the children.
fn state() -> &'static Mutex<State> {
    static STATE: PerProcess<Mutex<State>> = PerProcess::new();
    STATE.get_or_init(|| {
        Mutex::new(State {
            fresh: Vec::new(),
            running: false,
            waker: None,
        })
    })
}

struct State {
    /// Not yet seen by the thread.
    fresh: Vec<Orphan>,
    /// There is a thread, and it will look at `fresh`.
    running: bool,
    /// The thread's, as long as it can be woken; else it looks by itself.
    waker: Option<Waker>,
}

fn start(state: &mut State) {
    let thread = Builder::new().name("trefoil-reaper".into()).spawn(serve);
    state.running = thread.is_ok();
}

fn serve() {
    let mut poller: Option<Poller> = None;
    let mut watched: HashMap<usize, Arc<OwnedFd>> = HashMap::new();
    // Children that the system does not watch for us: they are looked at from time to time.
    let mut loose: Vec<Orphan> = Vec::new();
    let mut next = 0;
    loop {
        if poller.is_none()
            && let Ok(new) = Poller::new()
            && let Ok(waker) = new.waker()
        {
            state().lock().waker = Some(waker);
            poller = Some(new);
        }
        {
            let mut state = state().lock();
            loose.append(&mut state.fresh);
            if loose.is_empty() && watched.is_empty() {
                state.waker = None;
                state.running = false;
                return;
            }
        }
        let Some(wait) = &mut poller else {
            sleep(RARELY);
            loose.retain(Orphan::runs);
            continue;
        };
        for child in std::mem::take(&mut loose) {
            next = (next + 1) % WAKE_TOKEN;
            match child {
                Orphan::Held(fd) if wait.register(fd.as_fd(), next).is_ok() => {
                    watched.insert(next, fd);
                }
                child => loose.push(child),
            }
        }
        // One that has ended before it was watched is reported at once.
        let timeout = (!loose.is_empty()).then_some(RARELY);
        if wait.wait(timeout).is_err() {
            state().lock().waker = None;
            poller = None;
            loose.extend(watched.drain().map(|(_, child)| Orphan::Held(child)));
            continue;
        }
        loose.retain(Orphan::runs);
        let ended: Vec<usize> = wait.events().map(|(token, _)| token).collect();
        for token in ended {
            if let Some(child) = watched.remove(&token) {
                let child = Orphan::Held(child);
                if child.runs() {
                    loose.push(child);
                }
            }
        }
    }
}
