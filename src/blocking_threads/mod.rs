//! Helper threads: they run jobs that may block, outside the executors.
//!
//! **Job.** Some work needs a thread now and then, but not a permanent one: a wait for deadlines
//! and descriptors without a loop, a blocking system call, an iterator that feeds an `imap`, a
//! result that may take long to decode, the stall monitor of a pool, and what is rarer, such as the
//! end of a detached pool. [`start`] gives a job a thread at once. The job itself limits the number
//! of threads, and owns its state.
//!
//! **Protocol.** An idle thread waits for `LINGER` at a channel without a buffer, and then ends.
//! [`start`] hands the job to a thread that waits there, or else starts one. If the system gives
//! none, `start` returns an error, and the job is dropped. Nothing waits for these threads: a stuck
//! job ends with the process.
//!
//! A forked child has its own channel, because its parent's threads do not exist there. A job that
//! forks continues in the child, too, on the child's only thread, which ends with the job.
//!
//! A job that owns some state decides under that state's lock whether it is over, and is started
//! under that lock. So no work is left to a job that has ended, and a caller knows if its job could
//! not be started.
//!
//! **Rejected.** A dedicated thread for each purpose, as before: five ways to start it, let it
//! linger, notice a fork and end it. One pool for these jobs and for users' closures: both would
//! have to share one width.
//!
//! Tests: below; `tests/event_loop/`, `tests/io/`, `tests/forks/`.

pub(crate) mod standard_error;

use std::any::Any;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::task::Waker;
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, bounded};

use crate::loom::thread::{Builder, JoinHandle};
use crate::sys::fork::{self, PerProcess};

/// How long an idle thread stays, whatever its jobs are.
/// `docs/internals/decisions/blocking-helpers.md` states it.
const LINGER: Duration = Duration::from_millis(500);

/// Usually as much as a worker process's first thread has, so that a deeply nested result is
/// decoded on as much stack as it was created on. (Untouched, it costs only addresses.)
pub(crate) const STACK: usize = 8 << 20;

pub(crate) type Job = Box<dyn FnOnce() + Send>;

struct Helpers {
    linger: Duration,
    /// To the threads that are idle.
    idle: Sender<Job>,
    jobs: Receiver<Job>,
}

impl Helpers {
    fn new(linger: Duration) -> Self {
        let (idle, jobs) = bounded(0);
        Self { linger, idle, jobs }
    }

    fn start(&'static self, job: Job) -> io::Result<()> {
        match self.idle.try_send(job) {
            Ok(()) => Ok(()),
            Err(all_busy) => start_alone(STACK, Box::new(|| self.serve(all_busy.into_inner()))),
        }
    }

    fn serve(&self, job: Job) {
        let born = fork::generation();
        job();
        // (In a forked child, a lock of the channel may be held by a thread of its parent.)
        while born == fork::generation()
            && let Ok(job) = self.jobs.recv_timeout(self.linger)
        {
            job();
        }
    }
}

/// Runs `job`, which must not unwind, on a thread that may block.
pub(crate) fn start(job: impl FnOnce() + Send + 'static) -> io::Result<()> {
    start_boxed(Box::new(job))
}

fn start_boxed(job: Job) -> io::Result<()> {
    static HELPERS: PerProcess<Helpers> = PerProcess::new();
    let helpers = HELPERS.get_or_init(|| Helpers::new(LINGER));
    helpers.start(job)
}

/// Runs `job` on a thread with at least this much stack.
pub(crate) fn start_with(stack: usize, job: impl FnOnce() + Send + 'static) -> io::Result<()> {
    if stack <= STACK {
        return start(job);
    }
    start_alone(stack, Box::new(job))
}

fn start_alone(stack: usize, run: Job) -> io::Result<()> {
    start_thread("trefoil-helper".to_owned(), stack, run).map(drop)
}

/// Starts a thread; those of a pool, too: what `std` does for that is compiled once, and not for
/// each closure.
pub(crate) fn start_thread(name: String, stack: usize, run: Job) -> io::Result<JoinHandle<()>> {
    Builder::new().name(name).stack_size(stack).spawn(run)
}

/// Runs `f`, which calls or drops user code, where a panic would do harm and no caller waits for
/// its message; the panic hook has shown it.
pub(crate) fn contain(f: impl FnOnce()) {
    if let Err(payload) = catch_unwind(AssertUnwindSafe(f)) {
        discard(payload);
    }
}

/// Wakes it; what it calls is user code.
pub(crate) fn wake(waker: impl Into<Option<Waker>>) {
    if let Some(waker) = waker.into() {
        contain(|| waker.wake());
    }
}

/// Drops a panic's payload, whose destructor may panic, too, and so may that panic's payload.
#[cold]
fn discard(payload: Box<dyn Any + Send>) {
    if let Err(payload) = catch_unwind(AssertUnwindSafe(|| drop(payload))) {
        std::mem::forget(payload);
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use std::sync::{OnceLock, mpsc};
    use std::thread::{ThreadId, current};
    use std::time::Instant;

    const TEST_LIMIT: Duration = Duration::from_secs(10);

    #[test]
    fn a_job_begins_at_once_and_an_idle_thread_takes_the_next() {
        let (tell, told) = mpsc::channel();
        let (release, stuck) = mpsc::channel::<()>();
        start(move || _ = stuck.recv()).unwrap();
        let ask = || -> ThreadId {
            let tell = tell.clone();
            start(move || tell.send(current().id()).unwrap()).unwrap();
            told.recv_timeout(TEST_LIMIT)
                .expect("one is stuck, others begin")
        };
        let deadline = Instant::now() + TEST_LIMIT;
        let mut seen = vec![ask()];
        loop {
            let thread = ask();
            if seen.contains(&thread) {
                break;
            }
            seen.push(thread);
            assert!(Instant::now() < deadline, "an idle thread is not used");
        }
        drop(release);
    }

    #[test]
    fn no_job_is_left_to_a_thread_that_ends() {
        static HELPERS: OnceLock<Helpers> = OnceLock::new();
        let helpers = HELPERS.get_or_init(|| Helpers::new(Duration::from_micros(10)));
        let (tell, told) = mpsc::channel();
        for n in 0..3000 {
            let tell = tell.clone();
            let job = Box::new(move || tell.send(n).unwrap());
            helpers.start(job).unwrap();
            assert_eq!(told.recv_timeout(TEST_LIMIT), Ok(n));
            // About as long as an idle thread stays, so that it is claimed while it gives up.
            let pause = Instant::now() + Duration::from_micros(n % 128);
            while Instant::now() < pause {}
        }
    }

    #[test]
    fn a_job_has_the_stack_that_it_asks_for() {
        #[inline(never)]
        fn fill(bytes: usize) -> u8 {
            let block = std::hint::black_box([1_u8; 64 << 10]);
            if bytes < block.len() {
                return block[0];
            }
            fill(bytes - block.len()).max(block[bytes % block.len()])
        }
        let (tell, told) = mpsc::channel();
        for stack in [1 << 20, 64 << 20] {
            let tell = tell.clone();
            start_with(stack, move || tell.send(fill(stack / 8)).unwrap()).unwrap();
            assert_eq!(told.recv_timeout(TEST_LIMIT), Ok(1));
        }
    }
}
