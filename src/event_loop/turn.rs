//! One turn of the loop, again and again; and the turns in which it ends.
//!
//! 1. The root future is polled, if it was woken and all that was ready before it
//!    has run.
//! 2. What is ready *now* runs, in order: what becomes ready meanwhile runs in the
//!    next turn, so nobody who wakes himself can keep the others out. A batch is
//!    cut after [`BATCH`] tasks or [`SLICE`].
//! 3. Timers that are due wake their tasks.
//! 4. The kernel is asked for events. With work left this is a look that does not
//!    wait, and it is skipped until [`BATCH`] polls or [`SLICE`] have gone by since
//!    the last one: a task that yields costs no system call. With no work
//!    left the loop lies down (see [`super::doorbell`]) and waits until the next
//!    deadline, or for ever.
//!
//! An idle loop is woken by nothing.
//!
//! # The end
//!
//! [`close`] refuses new tasks, cancels all that live, and runs what is ready
//! until none is left: a cancelled future is dropped at its next run. Then it
//! closes the mailbox, which ends what other threads have brought meanwhile, and
//! wakes whoever still waits for a timer or a source of this loop, who will find
//! that it is gone. No destructor waits, so this takes as long as the destructors run; only
//! an entry that another thread is just bringing is waited for, at most
//! [`PATIENCE`].
//!
//! Rejected: a slot for the task woken last, as multi-threaded runtimes have
//! it: on one thread it saves nothing and starves the rest.
//!
//! Checked by `tests/event_loop/`.

use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use super::current;
use super::home::{CLOSURE, Home};
use crate::sync::park;
use crate::task::panic::contain;
use crate::task::{Ran, Runnable, TaskError};

/// How many tasks run before timers and events are looked at.
const BATCH: u32 = 64;

/// How long tasks run before timers and events are looked at.
const SLICE: Duration = Duration::from_micros(200);

/// The clock is read after this many tasks of a batch.
const CLOCK_EVERY: usize = 8;

/// How long an ending loop waits for an entry that is on its way.
const PATIENCE: Duration = Duration::from_secs(5);

/// Turns the loop until `root` is ready. The caller has entered the loop.
pub(super) fn drive<F: Future>(home: &Home, mut root: Pin<&mut F>) -> F::Output {
    let waker = Waker::from(home.shared.clone());
    let mut cx = Context::from_waker(&waker);
    let mut turns = Turns::new(home);
    // The first poll comes before everything that was spawned earlier.
    turns.before_root = Some(0);
    loop {
        if turns.before_root == Some(0) {
            turns.before_root = None;
            turns.polls += 1;
            home.refill_budget();
            if let Poll::Ready(output) = root.as_mut().poll(&mut cx) {
                return output;
            }
        }
        turns.turn();
    }
}

/// Ends the loop. Its thread must be this one.
pub(super) fn close(home: &Rc<Home>) {
    let _entered = current::enter(home);
    home.shared.begin_closing();
    let mut turns = Turns::new(home);
    let deadline = Instant::now() + PATIENCE;
    loop {
        home.take_in();
        for task in home.live_tasks() {
            contain(|| {
                task.cancel();
            });
        }
        while let Some(runnable) = home.next_ready() {
            end(home, runnable);
        }
        home.follow_notes();
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() || !home.has_live_tasks() && home.shared.mail.is_empty() {
            break;
        }
        turns.sleep(Some(left));
    }
    home.shared.mail.close();
    wake_all(&mut home.take_all_wakers());
    // Those were strangers' wakers: whatever they brought is refused by now.
    while let Some(runnable) = home.next_ready() {
        end(home, runnable);
    }
}

/// Runs a task that was cancelled, which drops it.
fn end(home: &Home, runnable: Runnable) {
    if runnable.tag() == CLOSURE {
        runnable.discard(TaskError::Cancelled);
    } else {
        run(home, runnable);
    }
}

#[inline]
fn run(home: &Home, runnable: Runnable) {
    let tag = runnable.tag();
    home.refill_budget();
    if runnable.run() == Ran::Done {
        drop(home.retire(tag));
    }
}

struct Turns<'a> {
    home: &'a Home,
    /// Wakers on their way from a borrowed cell to their tasks.
    woken: Vec<Waker>,
    /// Polls since the last look at the kernel, and when that was.
    polls: u32,
    looked: Instant,
    /// The root future was woken, and this many tasks were ready before it.
    before_root: Option<usize>,
}

impl<'a> Turns<'a> {
    fn new(home: &'a Home) -> Self {
        Self {
            home,
            woken: Vec::new(),
            polls: 0,
            looked: Instant::now(),
            before_root: None,
        }
    }

    fn turn(&mut self) {
        self.home.take_in();
        if self.home.shared.take_root_wake() && self.before_root.is_none() {
            self.before_root = Some(self.home.count_ready());
        }
        self.run_batch();
        self.home.follow_notes();
        self.home.take_due(&mut self.woken);
        wake_all(&mut self.woken);
        if !self.is_idle() {
            if self.polls >= BATCH || self.looked.elapsed() >= SLICE {
                self.look(Some(Duration::ZERO));
            }
        } else {
            self.sleep(self.home.until_next_timer());
        }
    }

    fn run_batch(&mut self) {
        let ready = self.home.count_ready().min(BATCH as usize);
        let count = self.before_root.map_or(ready, |before| before.min(ready));
        let mut ran = 0;
        while ran < count
            && let Some(runnable) = self.home.next_ready()
        {
            run(self.home, runnable);
            ran += 1;
            if ran % CLOCK_EVERY == 0 && self.looked.elapsed() >= SLICE {
                break;
            }
        }
        self.polls += ran as u32;
        if let Some(before) = &mut self.before_root {
            *before -= ran;
        }
    }

    fn is_idle(&self) -> bool {
        self.home.count_ready() == 0 && self.before_root.is_none() && self.nothing_brought()
    }

    /// No other thread has left anything to do.
    fn nothing_brought(&self) -> bool {
        let shared = &self.home.shared;
        shared.mail.is_empty() && !shared.is_root_woken() && !shared.has_notes()
    }

    /// Waits for events or a wake-up, at most for `timeout`.
    fn sleep(&mut self, timeout: Option<Duration>) {
        let mail = &self.home.shared.mail;
        mail.lie_down();
        if self.nothing_brought() {
            // A loop may run on a pool's worker: while it sleeps, the pool is one short.
            park::blocked(|| self.look(timeout));
        }
        self.home.shared.mail.get_up();
    }

    fn look(&mut self, timeout: Option<Duration>) {
        if let Err(error) = self.home.turn_reactor(timeout, &mut self.woken) {
            // A descriptor of ours is broken; there is no way to go on.
            panic!("trefoil: the event loop cannot wait for events: {error}");
        }
        self.polls = 0;
        self.looked = Instant::now();
        wake_all(&mut self.woken);
    }
}

/// Wakers are strangers' code: one that panics must not end the loop.
fn wake_all(woken: &mut Vec<Waker>) {
    for waker in woken.drain(..) {
        contain(|| waker.wake());
    }
}
