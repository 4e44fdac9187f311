//! Blocking system calls off the loop.
//!
//! Some calls exist only in a blocking form: name lookups, and operations on files. [`run`] gives
//! such a call to a helper thread.
//!
//! 1. A call goes into the queue of its [`CallKind`], and a helper is started to serve that, up to
//!    [`MOST_HELPERS`] helpers: a stuck call delays no other. More calls wait until one ends.
//! 2. A helper serves until the queue is empty.
//! 3. A call whose future is dropped is made all the same, and nothing waits for it, neither the
//!    end of a loop nor that of the program (`io/fs`).
//!
//! Lookups have a queue of their own, because a name server that does not answer holds each of them
//! up for many seconds: files do not wait behind them. They never wait for one another, so they
//! need fewer helpers.
//!
//! `threads` changes only under the lock, in the critical section that looks at the queue, so a
//! queued call is never left to a helper that has ended. If the system refuses a thread while there
//! is none, [`run`] returns an error that says so, and nothing is queued.
//!
//! Checked by `tests/io/` (a name is looked up, numbers need no thread) and below.

use std::collections::VecDeque;
use std::io;

use crate::blocking_threads;
use crate::events;
use crate::loom::{Mutex, MutexGuard};
use crate::sys::fork::PerProcess;
use crate::task::{self, Runnable, Task};

/// What a call waits for.
#[derive(Clone, Copy)]
pub(crate) enum CallKind {
    /// A disk, or whatever else is behind a path.
    File,
    /// A server of names.
    Lookup,
}

/// How many helpers the queue of each [`CallKind`] may have. Two pages of the documentation state
/// these numbers: `io::fs`, `io::lookup_host`.
const MOST_HELPERS: [usize; 2] = [512, 128];

/// Runs `f` on a thread that may block. Fails if the system refuses to start one.
#[track_caller]
pub(crate) fn run<F, R>(kind: CallKind, f: F) -> io::Result<Task<R>>
where
    F: FnOnce() -> R + Send + 'static,
    R: Send + 'static,
{
    enqueue(queue(kind), f)
}

#[track_caller]
fn enqueue<F, R>(queue: &'static CallQueue, f: F) -> io::Result<Task<R>>
where
    F: FnOnce() -> R + Send + 'static,
    R: Send + 'static,
{
    // This comes before the lock, because it may call a user's `tracing` subscriber.
    let (runnable, task) = task::closure(f, false);
    let mut state = queue.staffed().map_err(|error| {
        task.cancel(); // otherwise its end would be reported, too
        let what =
            "this call blocks, so it needs a thread of its own, and the system refused to start one";
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

fn queue(kind: CallKind) -> &'static CallQueue {
    // A forked child has none of its parent's threads.
    static QUEUES: PerProcess<[CallQueue; 2]> = PerProcess::new();
    let queues = QUEUES.get_or_init(|| {
        task::panic::install_hook();
        task::context::register_fork_handler();
        MOST_HELPERS.map(CallQueue::new)
    });
    &queues[kind as usize]
}

struct CallQueue {
    most: usize,
    state: Mutex<CallQueueState>,
}

#[derive(Default)]
struct CallQueueState {
    calls: VecDeque<Runnable>,
    /// Helpers that serve, or are about to.
    threads: usize,
}

impl CallQueue {
    fn new(most: usize) -> Self {
        Self {
            most,
            state: Mutex::default(),
        }
    }

    /// Makes sure that there is a helper for one more call, which must be queued before the lock is
    /// released.
    fn staffed(&'static self) -> io::Result<MutexGuard<'static, CallQueueState>> {
        let mut state = self.state.lock();
        if state.threads >= self.most {
            return Ok(state);
        }
        match blocking_threads::start(|| self.serve()) {
            Ok(()) => state.threads += 1,
            Err(error) if state.threads == 0 => return Err(error),
            Err(_) => {} // the running helpers will take the call
        }
        Ok(state)
    }

    fn serve(&self) {
        let _role = events::role(events::Role::BlockingCalls);
        loop {
            let mut state = self.state.lock();
            let Some(call) = state.calls.pop_front() else {
                state.threads -= 1;
                return;
            };
            drop(state);
            call.run();
        }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use crate::loom::atomic::{AtomicUsize, Ordering::Relaxed};
    use crate::task::TaskError;
    use std::sync::{Arc, OnceLock, mpsc};
    use std::thread::sleep;
    use std::time::{Duration, Instant};

    const TEST_LIMIT: Duration = Duration::from_secs(10);

    /// A pause between two looks.
    const STILL: Duration = Duration::from_millis(10);

    /// So many stuck calls leave room for others, also of other tests.
    const STUCK: usize = MOST_HELPERS[CallKind::File as usize] - 8;

    #[test]
    fn a_stuck_call_delays_no_other() {
        let (release, stuck) = mpsc::channel::<()>();
        let first = run(CallKind::File, move || stuck.recv()).unwrap();
        for n in 0..20 {
            assert_eq!(
                run(CallKind::File, move || n)
                    .unwrap()
                    .join_timeout(TEST_LIMIT)
                    .unwrap(),
                n
            );
        }
        assert!(!first.is_finished());
        drop(release);
        assert!(first.join().is_ok());
    }

    #[test]
    fn hundreds_of_stuck_calls_delay_no_other() {
        let (release, stuck) = mpsc::channel::<()>();
        let stuck = Arc::new(Mutex::new(stuck));
        // One thread waits for the channel, and the others for its lock.
        let stuck: Vec<_> = (0..STUCK)
            .map(|_| {
                let stuck = stuck.clone();
                run(CallKind::File, move || stuck.lock().recv()).unwrap()
            })
            .collect();
        assert_eq!(
            run(CallKind::File, || 7)
                .unwrap()
                .join_timeout(TEST_LIMIT)
                .unwrap(),
            7
        );
        assert!(!stuck.iter().any(Task::is_finished));
        drop(release);
        for mut stuck in stuck {
            assert!(stuck.join_timeout(TEST_LIMIT).unwrap().is_err());
        }
        let deadline = Instant::now() + TEST_LIMIT;
        loop {
            if queue(CallKind::File).state.lock().threads == 0 {
                break;
            }
            assert!(Instant::now() < deadline, "its threads end");
            sleep(STILL);
        }
    }

    /// Calls that wait until `release` is dropped, and the number of those that have begun.
    fn block(
        queue: &'static CallQueue,
        calls: usize,
        until: mpsc::Receiver<()>,
    ) -> (Arc<AtomicUsize>, Vec<Task<()>>) {
        let begun = Arc::new(AtomicUsize::new(0));
        let until = Arc::new(Mutex::new(until));
        let tasks = (0..calls).map(|_| {
            let (begun, until) = (begun.clone(), until.clone());
            let wait = move || {
                begun.fetch_add(1, Relaxed);
                _ = until.lock().recv();
            };
            enqueue(queue, wait).unwrap()
        });
        let tasks = tasks.collect();
        (begun, tasks)
    }

    fn until(condition: impl Fn() -> bool) {
        let deadline = Instant::now() + TEST_LIMIT;
        while !condition() {
            assert!(Instant::now() < deadline);
            sleep(STILL);
        }
    }

    #[test]
    fn stuck_calls_get_so_many_threads_and_no_more() {
        static QUEUE: OnceLock<CallQueue> = OnceLock::new();
        let queue = QUEUE.get_or_init(|| CallQueue::new(5));
        let (release, stuck) = mpsc::channel();
        let (begun, tasks) = block(queue, 20, stuck);
        until(|| begun.load(Relaxed) == 5);
        sleep(STILL * 5); // time for a sixth, which must not come
        assert_eq!(begun.load(Relaxed), 5);
        assert_eq!(queue.state.lock().threads, 5);
        let late = enqueue(queue, || 7).unwrap();
        drop(release);
        for mut task in tasks {
            task.join_timeout(TEST_LIMIT).unwrap();
        }
        assert_eq!(late.join().unwrap(), 7);
        until(|| queue.state.lock().threads == 0);
    }

    #[test]
    fn lookups_that_are_not_answered_delay_no_file() {
        let (release, stuck) = mpsc::channel();
        let most = MOST_HELPERS[CallKind::Lookup as usize];
        let (begun, tasks) = block(queue(CallKind::Lookup), most + 20, stuck);
        until(|| begun.load(Relaxed) == most);
        let mut file = run(CallKind::File, || 7).unwrap();
        assert_eq!(file.join_timeout(TEST_LIMIT).unwrap(), 7);
        assert_eq!(
            begun.load(Relaxed),
            most,
            "no more threads, however long it lasts"
        );
        drop(release);
        for mut task in tasks {
            task.join_timeout(TEST_LIMIT).unwrap();
        }
    }

    #[test]
    fn a_panic_is_the_calls_own() {
        let mut bad = run(CallKind::File, || panic!("on purpose")).unwrap();
        assert!(matches!(
            bad.join_timeout(TEST_LIMIT),
            Err(TaskError::Panicked(panic)) if panic.message() == "on purpose"
        ));
        assert_eq!(
            run(CallKind::File, || 1)
                .unwrap()
                .join_timeout(TEST_LIMIT)
                .unwrap(),
            1
        );
    }
}
