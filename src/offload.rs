//! Blocking system calls off the loop.
//!
//! Some calls only exist in a form that blocks: names are looked up that way, files
//! read. [`run`] gives such a call to a helper thread.
//!
//! 1. A call goes into the queue, and a helper is asked to serve it: a call that is stuck holds up no other,
//!    up to [`MAX_THREADS`] of them. Beyond, one more helper looks every [`STILL`] whether any call was
//!    taken meanwhile. If none was, all of them are stuck (in pipes without a writer, say), and it
//!    serves, too; else more threads would not help, and it looks again until the queue is empty.
//! 2. A helper serves until the queue is empty.
//!
//! `threads` changes under the lock only, in the critical section that
//! looks at the queue: so a queued call is never left to a helper that has gone.
//! Should the system refuse a thread while there is none, [`run`] is an error that says so, and nothing is queued.
//!
//! Checked by `tests/event_loop/` (a name is looked up, numbers need no thread)
//! and below.

use std::collections::VecDeque;
use std::io;
use std::thread::sleep;
use std::time::Duration;

use crate::helper;
use crate::loom::{Mutex, MutexGuard};
use crate::record;
use crate::sys::fork::PerProcess;
use crate::task::{self, Runnable, Task};

/// As many calls may be under way at once before others have to wait.
const MAX_THREADS: usize = 128;

/// How long, while all of those are stuck.
const STILL: Duration = Duration::from_millis(10);

/// Runs `f` on a thread that may block. An error: the system refuses to start one.
#[track_caller]
pub(crate) fn run<F, R>(f: F) -> io::Result<Task<R>>
where
    F: FnOnce() -> R + Send + 'static,
    R: Send + 'static,
{
    // Before the lock is taken: a subscriber of the user's may hear of it.
    let (runnable, task) = task::closure(f, false);
    let mut state = queue().staffed().map_err(|error| {
        task.cancel(); // else its end would be reported, too
        let what =
            "this blocks, so it needs a thread of its own, and the system refused to start one";
        let kind = match error.kind() {
            // It says "try again" to those that read and write: a loop of theirs would spin.
            io::ErrorKind::WouldBlock => io::ErrorKind::ResourceBusy,
            kind => kind,
        };
        io::Error::new(kind, format!("{what}: {error}"))
    })?;
    state.calls.push_back(runnable);
    Ok(task)
}

fn queue() -> &'static Queue {
    // A forked child has none of its parent's threads.
    static QUEUE: PerProcess<Queue> = PerProcess::new();
    QUEUE.get_or_init(|| {
        task::panic::install_hook();
        Queue(Mutex::default())
    })
}

struct Queue(Mutex<State>);

#[derive(Default)]
struct State {
    calls: VecDeque<Runnable>,
    /// Helpers that serve, or are about to.
    threads: usize,
    /// How many calls were begun so far.
    taken: u64,
    /// A helper beyond [`MAX_THREADS`] looks whether any is.
    watched: bool,
}

impl Queue {
    /// With a helper for one more call, which is to be queued before the lock is given back.
    fn staffed(&'static self) -> io::Result<MutexGuard<'static, State>> {
        let mut state = self.0.lock();
        if state.threads >= MAX_THREADS {
            // Should the system refuse the thread, the next call tries again.
            state.watched = state.watched || helper::start(|| self.watch()).is_ok();
            return Ok(state);
        }
        match helper::start(|| self.serve()) {
            Ok(()) => state.threads += 1,
            Err(error) if state.threads == 0 => return Err(error),
            Err(_) => {} // those that serve will come to it
        }
        Ok(state)
    }

    fn watch(&'static self) {
        let mut before = self.0.lock().taken;
        loop {
            sleep(STILL);
            let mut state = self.0.lock();
            if state.calls.is_empty() {
                state.watched = false;
                return;
            }
            if state.taken == before {
                state.threads += 1;
                // The next call may get stuck as well.
                state.watched = helper::start(|| self.watch()).is_ok();
                drop(state);
                return self.serve();
            }
            before = state.taken;
        }
    }

    fn serve(&self) {
        let _role = record::role(record::Role::Offload);
        loop {
            let mut state = self.0.lock();
            let Some(call) = state.calls.pop_front() else {
                state.threads -= 1;
                return;
            };
            state.taken += 1;
            drop(state);
            call.run();
        }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use crate::task::TaskError;
    use std::sync::{Arc, mpsc};
    use std::time::Instant;

    const PATIENCE: Duration = Duration::from_secs(10);

    #[test]
    fn a_stuck_call_holds_up_nobody() {
        let (release, stuck) = mpsc::channel::<()>();
        let first = run(move || stuck.recv()).unwrap();
        for n in 0..20 {
            assert_eq!(run(move || n).unwrap().join_timeout(PATIENCE).unwrap(), n);
        }
        assert!(!first.is_finished());
        drop(release);
        assert!(first.join().is_ok());
    }

    #[test]
    fn more_stuck_calls_than_threads_are_started_at_once_hold_up_nobody() {
        let (release, stuck) = mpsc::channel::<()>();
        let stuck = Arc::new(Mutex::new(stuck));
        // One waits for the channel, and the rest for that one's lock.
        let stuck: Vec<_> = (0..MAX_THREADS + 20)
            .map(|_| {
                let stuck = stuck.clone();
                run(move || stuck.lock().recv()).unwrap()
            })
            .collect();
        assert_eq!(run(|| 7).unwrap().join_timeout(PATIENCE).unwrap(), 7);
        assert!(!stuck.iter().any(Task::is_finished));
        drop(release);
        for mut stuck in stuck {
            assert!(stuck.join_timeout(PATIENCE).unwrap().is_err());
        }
        let deadline = Instant::now() + PATIENCE;
        loop {
            let state = queue().0.lock();
            if state.threads == 0 && !state.watched {
                break;
            }
            drop(state);
            assert!(Instant::now() < deadline, "its threads end");
            sleep(STILL);
        }
    }

    #[test]
    fn a_panic_is_the_calls_own() {
        let mut bad = run(|| panic!("on purpose")).unwrap();
        assert!(matches!(
            bad.join_timeout(PATIENCE),
            Err(TaskError::Panicked(panic)) if panic.message() == "on purpose"
        ));
        assert_eq!(run(|| 1).unwrap().join_timeout(PATIENCE).unwrap(), 1);
    }
}
