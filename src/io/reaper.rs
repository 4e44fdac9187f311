//! Children that nobody waits for any longer, fetched when they end.
//!
//! A child that has ended stays as a zombie until its parent has asked for its status. Whoever
//! drops a [`Child`](super::Child) will not ask, so somebody else must, on a loop or off it.
//!
//! 1. A child's descriptor is handed over by [`adopt`]. One that has ended already is fetched on
//!    the spot.
//! 2. Otherwise it goes to one thread, started for the first such child, which sleeps until one of
//!    them ends, fetches it, and ends itself after the last.
//! 3. Should the system refuse the thread or its descriptors, the children stay in the list, and
//!    the next one that is handed over tries again.
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
use std::time::Duration;

use mio::Waker;
use rustix::process::{WaitId, WaitIdOptions, WaitIdStatus, waitid};

use crate::loom::Mutex;
use crate::loom::thread::Builder;
use crate::sys::fork::PerProcess;
use crate::sys::poller::{Poller, WAKE_TOKEN};

/// How often the thread looks at what the system does not watch for it.
const RARELY: Duration = Duration::from_millis(100);

/// The status of a child that has ended, which is then gone; `None` while it runs.
pub(super) fn fetch(child: BorrowedFd<'_>) -> rustix::io::Result<Option<WaitIdStatus>> {
    let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG;
    loop {
        match waitid(WaitId::PidFd(child), options) {
            Err(rustix::io::Errno::INTR) => {}
            result => return result,
        }
    }
}

/// False: it has ended, and no zombie is left. (An error: somebody else has fetched it.)
fn runs(child: &Arc<OwnedFd>) -> bool {
    matches!(fetch(child.as_fd()), Ok(None))
}

/// Sees to it that this child does not stay a zombie.
pub(super) fn adopt(child: Arc<OwnedFd>) {
    if !runs(&child) {
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
    /// Not yet watched by the thread.
    fresh: Vec<Arc<OwnedFd>>,
    /// There is a thread, and it will look at `fresh`.
    running: bool,
    /// The thread's, once it can be woken.
    waker: Option<Waker>,
}

fn start(state: &mut State) {
    let thread = Builder::new().name("trefoil-reaper".into()).spawn(serve);
    state.running = thread.is_ok();
}

fn serve() {
    let poller = Poller::new().and_then(|poller| Ok((poller.waker()?, poller)));
    let Ok((waker, mut poller)) = poller else {
        return give_up([]);
    };
    state().lock().waker = Some(waker);
    let mut watched: HashMap<usize, Arc<OwnedFd>> = HashMap::new();
    // Children that the system has refused to watch: they are looked at from time to time.
    let mut unwatched: Vec<Arc<OwnedFd>> = Vec::new();
    let mut next = 0;
    loop {
        let fresh = {
            let mut state = state().lock();
            if state.fresh.is_empty() && watched.is_empty() && unwatched.is_empty() {
                state.waker = None;
                state.running = false;
                return;
            }
            std::mem::take(&mut state.fresh)
        };
        for child in fresh {
            next = (next + 1) % WAKE_TOKEN;
            match poller.register(child.as_fd(), next) {
                Ok(()) => drop(watched.insert(next, child)),
                Err(_) => unwatched.push(child),
            }
        }
        // One that has ended before it was watched is reported at once.
        let timeout = (!unwatched.is_empty()).then_some(RARELY);
        if poller.wait(timeout).is_err() {
            return give_up(watched.into_values().chain(unwatched));
        }
        unwatched.retain(runs);
        let ended: Vec<usize> = poller.events().map(|(token, _)| token).collect();
        for token in ended {
            if watched.get(&token).is_some_and(|child| !runs(child)) {
                watched.remove(&token);
            }
        }
    }
}

/// The next thread may have more luck.
fn give_up(left: impl IntoIterator<Item = Arc<OwnedFd>>) {
    let mut state = state().lock();
    state.fresh.extend(left);
    state.waker = None;
    state.running = false;
}
