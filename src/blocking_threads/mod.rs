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
//! **After a refusal** a job that must run all the same is *owed* ([`owe`]): it waits in a queue
//! for the next thread to be had. A thread that has ended a job takes what is owed before it is
//! idle; a new thread shows that there are more; and whoever waits with a limit anyway, an event
//! loop or the timer thread, asks again every [`PAUSE`] while something is owed ([`ask_again`]).
//! Nobody asks more often, and while nothing is owed nobody asks.
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
//! Tests: below;
//! `tests/io/faults.rs::a_call_behind_a_stuck_one_is_made_when_there_are_threads_again`,
//! `tests/event_loop/time.rs::deadlines_without_a_loop_where_the_system_gives_no_thread`,
//! `tests/forks/thread.rs::deadlines_pass_in_a_child_too`.

pub(crate) mod standard_error;

use std::any::Any;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering}; // a time: no protocol
use std::task::Waker;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, bounded, unbounded};

use crate::loom::thread::{Builder, JoinHandle};
use crate::sys::fork::{self, PerProcess};

/// How long an idle thread stays, whatever its jobs are.
/// `docs/internals/decisions/blocking-helpers.md` states it.
const LINGER: Duration = Duration::from_millis(500);

/// How long after a refusal the system is asked for a thread again.
pub(crate) const PAUSE: Duration = Duration::from_millis(100);

/// Usually as much as a worker process's first thread has, so that a deeply nested result is
/// decoded on as much stack as it was created on. (Untouched, it costs only addresses.)
pub(crate) const STACK: usize = 8 << 20;

pub(crate) type Job = Box<dyn FnOnce() + Send>;

struct Helpers {
    linger: Duration,
    /// To the threads that are idle.
    idle: Sender<Job>,
    jobs: Receiver<Job>,
    /// The jobs that no thread was to be had for.
    owing: Sender<Job>,
    owed: Receiver<Job>,
    born: Instant,
    /// When the system may be asked again, in milliseconds from `born`.
    due: AtomicU64,
}

impl Helpers {
    fn new(linger: Duration) -> Self {
        let ((idle, jobs), (owing, owed)) = (bounded(0), unbounded());
        Self {
            linger,
            idle,
            jobs,
            owing,
            owed,
            born: Instant::now(),
            due: AtomicU64::new(0),
        }
    }

    fn start(&'static self, job: Job) -> io::Result<()> {
        let Err(all_busy) = self.idle.try_send(job) else {
            return Ok(());
        };
        self.start_new(all_busy.into_inner())?;
        self.pay(); // there may be more threads
        Ok(())
    }

    fn start_new(&'static self, job: Job) -> io::Result<()> {
        start_alone(STACK, Box::new(|| self.serve(job)))
    }

    fn serve(&self, job: Job) {
        let born = fork::generation();
        job();
        // (In a forked child, a lock of the channel may be held by a thread of its parent.)
        while born == fork::generation()
            && let Some(job) = self.next()
        {
            job();
        }
    }

    fn next(&self) -> Option<Job> {
        let owed = self.owed.try_recv().ok();
        owed.or_else(|| self.jobs.recv_timeout(self.linger).ok())
    }

    /// Starts threads for the jobs that are owed. `false`: the system refuses.
    fn pay(&'static self) -> bool {
        // A thread that finds nothing to do was preceded by one that had become free.
        let serve = || self.owed.try_recv().into_iter().for_each(|job| job());
        (0..self.owed.len()).all(|_| {
            let idle = self.idle.try_send(Box::new(serve));
            idle.is_ok() || self.start_new(Box::new(serve)).is_ok()
        })
    }

    fn owe(&self, job: Job) {
        if self.owed.is_empty() {
            self.put_off();
        }
        let _ = self.owing.send(job); // it has a receiver
    }

    fn ask_again(&'static self) -> Option<Duration> {
        if self.owed.is_empty() {
            return None;
        }
        let now = self.now();
        let due = self.due.load(Ordering::Relaxed);
        if now < due {
            return Some(Duration::from_millis(due - now));
        }
        self.put_off();
        (!self.pay()).then_some(PAUSE)
    }

    fn now(&self) -> u64 {
        self.born.elapsed().as_millis() as u64
    }

    fn put_off(&self) {
        self.due
            .store(self.now() + PAUSE.as_millis() as u64, Ordering::Relaxed);
    }
}

static HELPERS: PerProcess<Helpers> = PerProcess::new();

fn helpers() -> &'static Helpers {
    HELPERS.get_or_init(|| Helpers::new(LINGER))
}

/// Runs `job`, which must not unwind, on a thread that may block.
pub(crate) fn start(job: impl FnOnce() + Send + 'static) -> io::Result<()> {
    helpers().start(Box::new(job))
}

/// Called when the system has refused a thread for `job`, which must not unwind: runs it when there
/// is one.
pub(crate) fn owe(job: impl FnOnce() + Send + 'static) {
    helpers().owe(Box::new(job));
}

/// Runs `job`, which must not unwind, on a thread that may block, now or when there is one.
#[cfg(any(feature = "event-loop", feature = "processes"))]
pub(crate) fn start_sometime(job: impl FnOnce() + Clone + Send + 'static) {
    if start(job.clone()).is_err() {
        owe(job);
    }
}

/// Asks the system again for the threads that it has refused, if it is time. Returns how long the
/// caller, which is about to wait, may do so before it calls this again; `None`: nothing is owed.
pub(crate) fn ask_again() -> Option<Duration> {
    HELPERS.get()?.ask_again()
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
    fn what_is_owed_begins_on_a_thread_that_becomes_free() {
        static HELPERS: OnceLock<Helpers> = OnceLock::new();
        let helpers = HELPERS.get_or_init(|| Helpers::new(LINGER));
        let (tell, told) = mpsc::channel();
        let (release, stuck) = mpsc::channel::<()>();
        let who = tell.clone();
        let first = Box::new(move || {
            who.send(current().id()).unwrap();
            _ = stuck.recv();
        });
        helpers.start(first).unwrap();
        let busy = told.recv_timeout(TEST_LIMIT).unwrap();
        for _ in 0..2 {
            let who = tell.clone();
            let job = Box::new(move || who.send(current().id()).unwrap());
            helpers.owe(job);
        }
        assert!(told.try_recv().is_err());
        drop(release);
        assert_eq!(told.recv_timeout(TEST_LIMIT), Ok(busy));
        assert_eq!(told.recv_timeout(TEST_LIMIT), Ok(busy));
        assert_eq!(helpers.ask_again(), None, "nothing is owed");
    }

    #[test]
    fn what_is_owed_is_asked_for_again_after_a_pause() {
        static HELPERS: OnceLock<Helpers> = OnceLock::new();
        let helpers = HELPERS.get_or_init(|| Helpers::new(LINGER));
        let (tell, told) = mpsc::channel();
        assert_eq!(helpers.ask_again(), None);
        let begun = Instant::now();
        helpers.owe(Box::new(move || tell.send(()).unwrap()));
        while let Some(pause) = helpers.ask_again() {
            assert!(pause <= PAUSE && begun.elapsed() < TEST_LIMIT);
            assert!(told.try_recv().is_err(), "the system is not asked before");
            std::thread::sleep(pause);
        }
        assert!(begun.elapsed() >= PAUSE - Duration::from_millis(2)); // they are rounded
        assert_eq!(told.recv_timeout(TEST_LIMIT), Ok(()));
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
