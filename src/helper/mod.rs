//! Helper threads: where trefoil runs what may block, outside of its executors.
//!
//! **Job.** A wait for deadlines and descriptors without a loop, a blocking system call, an iterator that feeds an
//! `imap`, a result that may take long to decode: each needs a thread now and then, and none needs one of its own for ever.
//! [`start`] gives a job a thread at once. What limits how many there are, or which state a job looks after, is the job's own
//! affair.
//!
//! **Protocol.**
//! 1. [`start`] claims an idle thread by taking one from their number, and sends the job.
//! 2. If none is idle, a new thread is started for it. If the system gives none, `start` says so, and the job is dropped.
//! 3. A thread that has done its job counts as idle and waits [`LINGER`] for the next one. Then it claims itself, and ends; if
//!    the number is zero, it waits again.
//! 4. Nothing waits for these threads: a process that ends takes a stuck job with it.
//!
//! At any time as many threads wait as are idle by their number and jobs are in the channel together. So each job that is sent
//! finds a thread, though not always the one that was idle first.
//!
//! A forked child has a channel of its own, since its parent's threads are not there. A job that has forked goes on in the
//! child, too, on the child's only thread; that one ends with the job.
//!
//! A job that looks after some state decides under that state's lock whether it is over, and is started under that lock. So
//! nothing is left to a job that has ended, and a job that could not be started is known to the caller that wanted it.
//!
//! **Rejected.** A thread of its own for each purpose, as it was: five ways to start it, to let it linger, to notice a fork and
//! to end it. A channel without room, which says by itself whether a thread waits: the woken thread spins until the sender, whose
//! processor it may have taken, has gone on. One pool for these and for the users' closures: a width would have to be chosen
//! for both.
//!
//! Tests: below; `tests/event_loop/`, `tests/forks/`.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, unbounded};

use crate::loom::atomic::{AtomicUsize, Ordering::Relaxed};
use crate::loom::thread::Builder;
use crate::sys::fork::{self, PerProcess};

/// How long an idle thread stays.
const LINGER: Duration = Duration::from_millis(500);

/// As much as a worker process's first thread has, as a rule: a result that nests deeply is decoded on as much stack as it was
/// made on. (Untouched, it costs addresses only.)
pub(crate) const STACK: usize = 8 << 20;

type Job = Box<dyn FnOnce() + Send>;

struct Helpers {
    linger: Duration,
    idle: AtomicUsize,
    jobs: (Sender<Job>, Receiver<Job>),
}

impl Helpers {
    fn new(linger: Duration) -> Self {
        Self {
            linger,
            idle: AtomicUsize::new(0),
            jobs: unbounded(),
        }
    }

    fn start(&'static self, job: Job) -> io::Result<()> {
        if !self.claim() {
            return start_alone(STACK, || self.serve(job));
        }
        // It cannot fail: both ends stay.
        let _ = self.jobs.0.send(job);
        Ok(())
    }

    /// One idle thread less: the caller's to use, or, of a thread, itself.
    fn claim(&self) -> bool {
        let less = |idle: usize| idle.checked_sub(1);
        // What travels from thread to thread does so through the channel.
        let claimed = self.idle.fetch_update(Relaxed, Relaxed, less);
        claimed.is_ok()
    }

    fn serve(&self, mut job: Job) {
        let born = fork::generation();
        loop {
            job();
            if born != fork::generation() {
                return; // the channel's lock may be held for ever
            }
            self.idle.fetch_add(1, Relaxed);
            job = loop {
                match self.jobs.1.recv_timeout(self.linger) {
                    Ok(job) => break job,
                    Err(_) if self.claim() => return,
                    Err(_) => {} // a job has been sent
                }
            };
        }
    }
}

/// Runs `job`, which must not unwind, on a thread that may block.
pub(crate) fn start(job: impl FnOnce() + Send + 'static) -> io::Result<()> {
    static HELPERS: PerProcess<Helpers> = PerProcess::new();
    let helpers = HELPERS.get_or_init(|| Helpers::new(LINGER));
    helpers.start(Box::new(job))
}

/// The same with that much stack at least.
pub(crate) fn start_with(stack: usize, job: impl FnOnce() + Send + 'static) -> io::Result<()> {
    if stack <= STACK {
        return start(job);
    }
    start_alone(stack, job)
}

fn start_alone(stack: usize, run: impl FnOnce() + Send + 'static) -> io::Result<()> {
    let thread = Builder::new().name("trefoil-helper".into());
    thread.stack_size(stack).spawn(run).map(drop)
}

/// Runs `f`, which calls or drops something of the user's, where a panic would do harm
/// and nothing waits for its message: the panic hook has shown it.
pub(crate) fn contain(f: impl FnOnce()) {
    if let Err(payload) = catch_unwind(AssertUnwindSafe(f)) {
        // The payload's own destructor may panic, too, and that one's.
        if let Err(payload) = catch_unwind(AssertUnwindSafe(|| drop(payload))) {
            std::mem::forget(payload);
        }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use std::sync::{OnceLock, mpsc};
    use std::thread::{ThreadId, current};
    use std::time::Instant;

    const PATIENCE: Duration = Duration::from_secs(10);

    #[test]
    fn a_job_begins_at_once_and_an_idle_thread_takes_the_next() {
        let (tell, told) = mpsc::channel();
        let (release, stuck) = mpsc::channel::<()>();
        start(move || _ = stuck.recv()).unwrap();
        let ask = || -> ThreadId {
            let tell = tell.clone();
            start(move || tell.send(current().id()).unwrap()).unwrap();
            told.recv_timeout(PATIENCE)
                .expect("one is stuck, others begin")
        };
        let deadline = Instant::now() + PATIENCE;
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
            assert_eq!(told.recv_timeout(PATIENCE), Ok(n));
            // About as long as an idle thread stays: it is claimed while it gives up.
            let pause = Instant::now() + Duration::from_micros(n % 128);
            while Instant::now() < pause {}
        }
        let deadline = Instant::now() + PATIENCE;
        while helpers.idle.load(Relaxed) > 0 {
            assert!(Instant::now() < deadline, "idle threads end");
            std::thread::yield_now();
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
            assert_eq!(told.recv_timeout(PATIENCE), Ok(1));
        }
    }
}
