//! Blocking system calls off the loop.
//!
//! Some calls exist only in a blocking form: name lookups, and operations on files. [`run`] gives
//! such a call to a helper thread.
//!
//! 1. A call goes into the queue, and a helper is started to serve it, up to [`MAX_THREADS`]
//!    helpers: a stuck call delays no other. Beyond that, one more helper checks every [`STILL`]
//!    whether any call was taken meanwhile. If none was, all helpers are stuck (in pipes without a
//!    writer, say), and it serves, too; otherwise more threads would not help, and it checks again
//!    until the queue is empty.
//! 2. A helper serves until the queue is empty.
//!
//! `threads` changes only under the lock, in the critical section that looks at the queue, so a
//! queued call is never left to a helper that has ended. If the system refuses a thread while there
//! is none, [`run`] returns an error that says so, and nothing is queued.
//!
//! Checked by `tests/io/` (a name is looked up, numbers need no thread) and below.

use std::collections::VecDeque;
use std::io;
use std::thread::sleep;
use std::time::Duration;

use crate::helper;
use crate::loom::{Mutex, MutexGuard};
use crate::record;
use crate::sys::fork::PerProcess;
use crate::task::{self, Runnable, Task};

/// The number of threads up to which each call gets one at once. Beyond it one more is added when
/// no call was begun for as long as [`STILL`].
const MAX_THREADS: usize = 128;

/// How long the queued calls wait, while all threads are stuck, until another thread is added.
const STILL: Duration = Duration::from_millis(10);

/// Runs `f` on a thread that may block. Fails if the system refuses to start one.
#[track_caller]
pub(crate) fn run<F, R>(f: F) -> io::Result<Task<R>>
where
    F: FnOnce() -> R + Send + 'static,
    R: Send + 'static,
{
    // This comes before the lock, because it may call a user's `tracing` subscriber.
    let (runnable, task) = task::closure(f, false);
    let mut state = queue().staffed().map_err(|error| {
        task.cancel(); // otherwise its end would be reported, too
        let what =
            "this blocks, so it needs a thread of its own, and the system refused to start one";
        let kind = match error.kind() {
            // `WouldBlock` means "try again" for a reader or writer, whose loop would spin.
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
    /// Whether a helper beyond [`MAX_THREADS`] checks if `taken` changes.
    watched: bool,
}

impl Queue {
    /// Makes sure that there is a helper for one more call, which must be queued before the lock is
    /// released.
    fn staffed(&'static self) -> io::Result<MutexGuard<'static, State>> {
        let mut state = self.0.lock();
        if state.threads >= MAX_THREADS {
            // If the system refuses the thread, the next call tries again.
            state.watched = state.watched || helper::start(|| self.watch()).is_ok();
            return Ok(state);
        }
        match helper::start(|| self.serve()) {
            Ok(()) => state.threads += 1,
            Err(error) if state.threads == 0 => return Err(error),
            Err(_) => {} // the running helpers will take the call
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
    fn a_stuck_call_delays_no_other() {
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
    fn more_stuck_calls_than_threads_delay_no_other() {
        let (release, stuck) = mpsc::channel::<()>();
        let stuck = Arc::new(Mutex::new(stuck));
        // One thread waits for the channel, and the others for its lock.
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
