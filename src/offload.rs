//! Blocking system calls off the loop.
//!
//! Some calls only exist in a form that blocks: names are looked up that way, files
//! read. [`run`] gives such a call to a small set of threads.
//!
//! 1. A call goes into the queue. If fewer threads are idle than calls are
//!    queued, another one is started: a call that is stuck holds up nobody else,
//!    up to [`MOST`] of them. Beyond, one more thread looks for [`STILL`] whether any call is
//!    taken meanwhile. If none is, all of them are stuck (in pipes that nobody writes, say), and it
//!    serves, too; else more threads would not help, and it looks again until the queue is empty.
//! 2. A thread runs calls until the queue is empty, waits [`LINGER`] for more,
//!    and ends.
//! 3. Nobody waits for these threads: a process that ends takes a stuck call
//!    with it.
//!
//! `threads` and `idle` change under the lock only, in the critical section that
//! looks at the queue: so a queued call is never left to a thread that has ended.
//! Should the system refuse a thread while there is none, the call is an error that says so.
//!
//! Checked by `tests/event_loop/` (a name is looked up, numbers need no thread)
//! and below.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::loom::thread::Builder;
use crate::loom::{Condvar, Mutex};
use crate::record;
use crate::sys::fork::PerProcess;
use crate::task::{self, Runnable, Task, TaskError};

/// As many calls may be under way at once before others have to wait.
const MOST: usize = 128;

/// How long, while all of those are stuck.
const STILL: Duration = Duration::from_millis(10);

/// How long an idle thread stays.
const LINGER: Duration = Duration::from_secs(2);

/// Runs `f` on a thread that may block.
#[track_caller]
pub(crate) fn run<F, R>(f: F) -> Task<R>
where
    F: FnOnce() -> R + Send + 'static,
    R: Send + 'static,
{
    let (runnable, task) = task::closure(f, false);
    queue().push(runnable);
    task
}

/// What to say of a call that has not come back.
pub(crate) fn in_words(error: TaskError) -> io::Error {
    if let TaskError::Closed = error
        && let Some((kind, why)) = &queue().state.lock().refused
    {
        let what =
            "this blocks, so it needs a thread of its own, and the system refused to start one";
        return io::Error::new(*kind, format!("{what}: {why}"));
    }
    error.into()
}

fn queue() -> &'static Arc<Queue> {
    // A forked child has none of its parent's threads, and starts its own.
    static QUEUE: PerProcess<Arc<Queue>> = PerProcess::new();
    QUEUE.get_or_init(|| {
        task::panic::install_hook();
        Arc::new(Queue {
            state: Mutex::new(State {
                calls: VecDeque::new(),
                threads: 0,
                idle: 0,
                taken: 0,
                watched: false,
                refused: None,
            }),
            rung: Condvar::new(),
            never: Condvar::new(),
        })
    })
}

struct Queue {
    state: Mutex<State>,
    rung: Condvar,
    /// Nobody rings it.
    never: Condvar,
}

struct State {
    calls: VecDeque<Runnable>,
    threads: usize,
    /// Threads that wait for a call, those already rung for included: their
    /// calls are still in the queue.
    idle: usize,
    /// How many calls were begun so far.
    taken: u64,
    /// A thread beyond [`MOST`] looks whether any is.
    watched: bool,
    /// Why a call that waited found no thread, last time. Never cleared: only such a call is closed, and it
    /// may ask later than the next thread is started.
    refused: Option<(io::ErrorKind, String)>,
}

impl Queue {
    fn push(&self, call: Runnable) {
        let mut state = self.state.lock();
        state.calls.push_back(call);
        let short = state.calls.len() > state.idle;
        let start = short && state.threads < MOST;
        if start {
            state.threads += 1;
        }
        let watch = short && !start && !std::mem::replace(&mut state.watched, true);
        drop(state);
        if watch {
            self.start_watch();
        } else if !start {
            self.rung.notify_one();
        } else if let Err(error) = self.start(Self::serve) {
            let mut state = self.state.lock();
            state.threads -= 1;
            let stranded = if state.threads == 0 {
                state.refused = Some((error.kind(), error.to_string()));
                std::mem::take(&mut state.calls)
            } else {
                VecDeque::new()
            };
            drop(state);
            drop(stranded);
        }
    }

    fn start(&self, job: fn(&Self)) -> io::Result<()> {
        let thread = Builder::new().name("trefoil-io".into());
        thread.spawn(move || job(queue())).map(drop)
    }

    /// `watched` is set. Should the system refuse the thread, the next call tries again.
    fn start_watch(&self) {
        if self.start(Self::watch).is_err() {
            self.state.lock().watched = false;
        }
    }

    fn watch(&self) {
        let mut state = self.state.lock();
        while !state.calls.is_empty() {
            let before = state.taken;
            let deadline = Instant::now() + STILL;
            let mut over = false;
            while !over {
                (state, over) = self.never.wait_until(state, deadline);
            }
            if state.taken == before && !state.calls.is_empty() {
                state.threads += 1;
                // The next call may get stuck as well.
                drop(state);
                self.start_watch();
                return self.serve();
            }
        }
        state.watched = false;
    }

    fn serve(&self) {
        let _role = record::role(record::Role::Offload);
        let mut state = self.state.lock();
        loop {
            if let Some(call) = state.calls.pop_front() {
                state.taken += 1;
                drop(state);
                call.run();
                state = self.state.lock();
                continue;
            }
            state.idle += 1;
            let deadline = Instant::now() + LINGER;
            let mut late = false;
            while state.calls.is_empty() && !late {
                (state, late) = self.rung.wait_until(state, deadline);
            }
            state.idle -= 1;
            if state.calls.is_empty() {
                state.threads -= 1;
                return;
            }
        }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use std::sync::mpsc;

    const PATIENCE: Duration = Duration::from_secs(10);

    #[test]
    fn a_stuck_call_holds_up_nobody() {
        let (release, stuck) = mpsc::channel::<()>();
        let first = run(move || stuck.recv());
        for n in 0..20 {
            assert_eq!(run(move || n).join_timeout(PATIENCE).unwrap(), n);
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
        let stuck: Vec<_> = (0..MOST + 20)
            .map(|_| {
                let stuck = stuck.clone();
                run(move || stuck.lock().recv())
            })
            .collect();
        assert_eq!(run(|| 7).join_timeout(PATIENCE).unwrap(), 7);
        assert!(!stuck.iter().any(Task::is_finished));
        drop(release);
        for mut stuck in stuck {
            assert!(stuck.join_timeout(PATIENCE).unwrap().is_err());
        }
        let deadline = Instant::now() + PATIENCE;
        loop {
            let state = queue().state.lock();
            if state.threads == 0 && !state.watched {
                break;
            }
            drop(state);
            assert!(Instant::now() < deadline, "its threads end");
            std::thread::sleep(STILL);
        }
    }

    #[test]
    fn a_panic_is_the_calls_own() {
        let mut bad = run(|| panic!("on purpose"));
        assert!(matches!(
            bad.join_timeout(PATIENCE),
            Err(TaskError::Panicked(panic)) if panic.message() == "on purpose"
        ));
        assert_eq!(run(|| 1).join_timeout(PATIENCE).unwrap(), 1);
    }
}
