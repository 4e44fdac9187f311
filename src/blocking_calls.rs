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
//! When a queue has all its helpers and a call waits, a timer looks again every [`STUCK`], and once
//! no call has ended in between, this is reported to the hook for failures that are never taken
//! (`task::notice`): once, until no call waits any more. [`stats`] has the numbers at any time.
//!
//! Lookups have a queue of their own, because a name server that does not answer holds each of them
//! up for many seconds: files do not wait behind them. They never wait for one another, so they
//! need fewer helpers.
//!
//! `threads` changes only under the lock, in the critical section that looks at the queue, so a
//! queued call is never left to a helper that has ended.
//!
//! If the system refuses a thread while helpers run, the call is queued, since one of them may take
//! it; but they may all be stuck, so a helper is owed (`blocking_threads`). If none runs, or nobody
//! would ask again for what is owed, [`run`] returns an error that says so, and nothing is queued.
//!
//! Tests: below;
//! `tests/io/datagrams.rs::names_are_looked_up_off_the_loop_and_numbers_need_no_thread`,
//! `tests/io/files.rs::a_call_that_gets_no_thread_loses_nothing`.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::task::{Wake, Waker};
use std::time::Duration;

use crate::blocking_threads;
use crate::events;
use crate::loom::{Mutex, MutexGuard};
use crate::sys::fork::PerProcess;
use crate::task::{self, Runnable, Task};
use crate::timer;

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

/// For how long no call may end before those that wait are reported. The page of `TaskReport`
/// states it.
const STUCK: Duration = Duration::from_secs(1);

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
    if state.threads >= queue.most && !state.is_watched {
        queue.watch(&mut state);
    }
    Ok(task)
}

/// How many helpers the queue of this kind has, how many calls wait for one, and how many helpers
/// it may have.
pub(crate) fn stats(kind: CallKind) -> (usize, usize, usize) {
    let queue = queue(kind);
    let state = queue.state.lock();
    (state.threads, state.calls.len(), queue.most)
}

fn queue(kind: CallKind) -> &'static CallQueue {
    // A forked child has none of its parent's threads.
    static QUEUES: PerProcess<[CallQueue; 2]> = PerProcess::new();
    let queues = QUEUES.get_or_init(|| {
        task::panic::install_hook();
        task::context::register_fork_handler();
        [CallKind::File, CallKind::Lookup].map(|kind| {
            let what = match kind {
                CallKind::File => "files",
                CallKind::Lookup => "lookups of names",
            };
            CallQueue::new(what, MOST_HELPERS[kind as usize])
        })
    });
    &queues[kind as usize]
}

struct CallQueue {
    /// What its calls are about.
    what: &'static str,
    most: usize,
    state: Mutex<CallQueueState>,
}

#[derive(Default)]
struct CallQueueState {
    calls: VecDeque<Runnable>,
    /// Helpers that serve, or are about to.
    threads: usize,
    /// Helpers that begin when the system gives threads again.
    owed: usize,
    /// How many calls have ended.
    ended: u64,
    /// A timer looks after the calls that wait.
    is_watched: bool,
    /// That they wait for stuck calls was reported.
    is_reported: bool,
}

/// Looks again after [`STUCK`] if any call has ended since so many had.
struct Look {
    queue: &'static CallQueue,
    ended: u64,
}

impl Wake for Look {
    fn wake(self: Arc<Self>) {
        self.queue.look(self.ended);
    }
}

impl CallQueue {
    fn new(what: &'static str, most: usize) -> Self {
        Self {
            what,
            most,
            state: Mutex::default(),
        }
    }

    /// Makes sure that there is a helper for one more call, which must be queued before the lock is
    /// released.
    fn staffed(&'static self) -> io::Result<MutexGuard<'static, CallQueueState>> {
        let mut state = self.state.lock();
        if state.threads + state.owed >= self.most {
            return Ok(state);
        }
        match blocking_threads::start(|| self.serve()) {
            Ok(()) => state.threads += 1,
            Err(error) if state.threads == 0 || !timer::asks_again() => return Err(error),
            Err(_) => {
                state.owed += 1;
                blocking_threads::owe(|| self.serve_late());
            }
        }
        Ok(state)
    }

    /// Looks at the calls that wait after a while.
    fn watch(&'static self, state: &mut CallQueueState) {
        let ended = state.ended;
        let look = Look { queue: self, ended };
        // If the system gives no thread for it, the next call asks again.
        state.is_watched = timer::wake_after(STUCK, Waker::from(Arc::new(look)));
    }

    /// Reports that calls wait, if none has ended since so many had.
    fn look(&'static self, ended: u64) {
        let mut state = self.state.lock();
        state.is_watched = false;
        if state.calls.is_empty() || state.is_reported {
            return;
        }
        if state.ended != ended {
            return self.watch(&mut state);
        }
        state.is_reported = true;
        let what = format!(
            "all {} threads for {} are in calls of which none has ended for a second, and {} more \
             wait (`io::stats` has the numbers)",
            self.most,
            self.what,
            state.calls.len()
        );
        drop(state);
        // The hook is user code, which must not hold up this thread, the timer's.
        blocking_threads::start_sometime(move || task::notice(&what, None));
    }

    /// Serves as a helper that was owed.
    fn serve_late(&self) {
        let mut state = self.state.lock();
        state.owed -= 1;
        state.threads += 1;
        drop(state);
        self.serve();
    }

    fn serve(&self) {
        let _role = events::role(events::Role::BlockingCalls);
        loop {
            let mut state = self.state.lock();
            let Some(call) = state.calls.pop_front() else {
                state.threads -= 1;
                return;
            };
            state.is_reported &= !state.calls.is_empty();
            drop(state);
            call.run();
            self.state.lock().ended += 1;
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
        let queue = QUEUE.get_or_init(|| CallQueue::new("tests", 5));
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
