//! One turn of the loop, again and again; and the turns in which it ends.
//!
//! 1. The root future is polled, if it was woken and all that was ready before it
//!    has run.
//! 2. What is ready *now* runs, in order: what becomes ready meanwhile runs in the
//!    next turn, so a task that wakes itself cannot keep the others out. A batch is
//!    cut after [`BATCH`] tasks or when the [`Slice`] is over.
//! 3. Timers that are due wake their tasks, if time has passed since they were last asked.
//! 4. The kernel is asked for events. With work left this is a look that does not
//!    wait, and it is skipped until the slice is over, some 200 µs after
//!    the last one: a task that yields costs no system call. With no work
//!    left the loop lies down (see [`super::shared`]) and waits until the next
//!    deadline, or for ever: in the kernel's wait for events or, where it watches no descriptor, in a
//!    [`berth`](crate::sys::berth), which is faster at both ends.
//!
//! An idle loop is woken by nothing.
//!
//! On a loop with a virtual clock step 4 ends differently: with no work left, and
//! nothing outside that is waited for (see [`super::outside`]), the clock is moved on to the
//! next deadline; else the loop waits as any other, and its clock goes on by what that took.
//!
//! Another loop can do the turns ([`once`]): after each, this loop lies down
//! as before a wait of its own, so that whatever is brought makes its descriptor ready. A virtual
//! clock goes on by what the other loop has waited meanwhile, where it goes at the real pace.
//!
//! # The end
//!
//! [`close`] refuses new tasks, cancels all tasks that have not ended, and runs what is ready
//! until none is left: a cancelled future is dropped at its next run. Then it
//! closes the inbox, which ends what other threads have brought meanwhile, and
//! wakes the futures that still wait for a timer or a source of this loop, which will find
//! that it is gone. No destructor waits, so this takes as long as the destructors run; only
//! an entry that another thread is just bringing is waited for, at most
//! [`PATIENCE`].
//!
//! Rejected: a slot for the task woken last, as multi-threaded runtimes have
//! it: on one thread it saves nothing and starves the rest.
//!
//! Checked by `tests/event_loop/`.

use std::io;
use std::panic::Location;
use std::pin::pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use super::current;
use super::local::{CAPACITY, CLOSURE, Local};
use super::outside::Pace;
use super::slice::Slice;
use super::task_table::{Noted, Root};
use crate::record::{self, Ending, Kind};
use crate::sync::park;
use crate::sys::slack;
use crate::task::panic::contain;
use crate::task::{Ran, Runnable, Sleep, TaskError, TaskId};

/// How many tasks run in one turn.
const BATCH: usize = 64;

/// How long an ending loop waits for an entry that is on its way.
const PATIENCE: Duration = Duration::from_secs(5);

/// Turns the loop until `root` is ready. The caller has entered the loop.
#[track_caller]
pub(super) fn drive<F: Future>(local: &Local, root: F) -> F::Output {
    let site = Location::caller();
    let driven = Driven::new(local, Some(site));
    if let Some(outside) = &local.outside {
        outside.leave(None);
    }
    let waker = Waker::from(local.shared.clone());
    let mut cx = Context::from_waker(&waker);
    let mut turns = Turns::new(local);
    // The first poll comes before everything that was spawned earlier.
    turns.before_root = Some(0);
    // Dropped first of all: its destructors are code of this loop, and may spawn (L6).
    let mut root = pin!(root);
    loop {
        if turns.before_root == Some(0) {
            turns.before_root = None;
            turns.slice.count(1);
            local.begin_poll(0, || None);
            record::begun(driven.root, site, Kind::Root);
            // Also if it panics: the loop goes on with its next future.
            let mut ended = EndPoll(&driven, Ending::Panicked);
            if let Poll::Ready(output) = root.as_mut().poll(&mut cx) {
                ended.1 = Ending::Done;
                return output;
            }
            ended.1 = Ending::Pending;
        }
        turns.turn();
    }
}

/// The root future's poll is over.
struct EndPoll<'a>(&'a Driven<'a>, Ending);

impl Drop for EndPoll<'_> {
    fn drop(&mut self) {
        record::ended(self.0.root, self.1);
        self.0.local.end_poll(0, false);
    }
}

/// While it lives, the loop's table is the loop's own.
struct Driven<'a> {
    local: &'a Local,
    /// The root future's number; 0: there is none.
    root: u64,
    _role: record::Before,
}

impl<'a> Driven<'a> {
    fn new(local: &'a Local, root: Option<&'static Location<'static>>) -> Self {
        local.shared.inbox.get_up();
        local.take_table();
        let id = root.map(|_| TaskId::next());
        local.set_root(root.zip(id).map(|(site, id)| Root {
            id,
            site,
            noted: Noted::default(),
            spent: Duration::ZERO,
        }));
        Self {
            local,
            root: id.map_or(0, TaskId::get),
            _role: record::role(record::Role::Loop),
        }
    }
}

impl Drop for Driven<'_> {
    fn drop(&mut self) {
        self.local.set_root(None);
        self.local.put_table();
    }
}

/// Turns the loop once, without waiting. True: there is more to do.
pub(super) fn once(local: &Local) -> bool {
    let _driven = Driven::new(local, None);
    let mut turns = Turns::new(local);
    turns.come_back();
    turns.turn_once();
    if turns.is_idle() && !turns.jump() {
        // From here on a thread that brings something makes the descriptor ready (L1).
        if local.shared.inbox.lie_down(Sleep::Asleep) && local.shared.is_quiet() {
            if let Some(outside) = &local.outside {
                outside.leave(turns.pace());
            }
            return false;
        }
        local.shared.inbox.get_up();
    }
    true
}

/// Turns the loop once, and never waits nor moves its clock. True: there is more to do.
#[cfg(all(test, not(loom)))]
pub(super) fn simulate(local: &Local) -> bool {
    let _driven = Driven::new(local, None);
    let mut turns = Turns::new(local);
    turns.turn_once();
    !turns.is_idle()
}

/// When to turn the loop again, if its descriptor does not become ready before.
pub(super) fn next_turn(local: &Local) -> Option<Instant> {
    let turns = Turns::new(local);
    let now = Instant::now();
    if !turns.is_idle() {
        return Some(now);
    }
    let left = local.until_next_timer()?;
    let left = match turns.pace() {
        None => left,
        Some(Pace::Jump) => Duration::ZERO,
        Some(Pace::Real(until)) => {
            until.map_or(left, |until| left.min(until.saturating_duration_since(now)))
        }
    };
    now.checked_add(left)
}

/// Ends the loop. Its thread must be this one.
pub(super) fn close(local: &Rc<Local>) {
    let _entered = current::enter(local);
    let driven = Driven::new(local, None);
    local.shared.begin_closing();
    let mut turns = Turns::new(local);
    let deadline = Instant::now() + PATIENCE;
    loop {
        local.take_in();
        for task in local.tasks() {
            contain(|| {
                task.cancel();
            });
        }
        while let Some(entry) = local.next_ready() {
            end(local, entry);
        }
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() || !local.has_tasks() && local.shared.inbox.is_empty() {
            break;
        }
        turns.sleep(Some(left));
    }
    drop(local.shared.inbox.close());
    wake_all(&mut local.take_all_wakers());
    // Those wakers were user code: what they brought is refused by now.
    while let Some(entry) = local.next_ready() {
        end(local, entry);
    }
    drop(driven);
    drop(local.keep_ctrl_c(None));
    if let Some(outside) = &local.outside {
        outside.clear();
    }
}

/// Runs a task that was cancelled, which drops it.
fn end(local: &Local, entry: Runnable) {
    if entry.tag() == CLOSURE {
        entry.discard(TaskError::Cancelled);
    } else {
        run(local, entry);
    }
}

#[inline]
fn run(local: &Local, entry: Runnable) {
    let tag = entry.tag();
    local.begin_poll(tag, || (tag == CLOSURE).then(|| entry.task_ref()));
    let ran = entry.run();
    drop(local.end_poll(tag, matches!(ran, Ran::Done)));
    match ran {
        Ran::Done | Ran::Pending => {}
        Ran::Again(entry) => local.enqueue(entry),
    }
}

struct Turns<'a> {
    local: &'a Local,
    /// Wakers on their way from a borrowed cell to their tasks.
    woken: Vec<Waker>,
    /// What has run since the last look at the kernel.
    slice: Slice,
    /// The root future was woken, and this many tasks were ready before it.
    before_root: Option<usize>,
}

impl<'a> Turns<'a> {
    fn new(local: &'a Local) -> Self {
        Self {
            local,
            woken: local.woken.take(),
            slice: Slice::new(),
            before_root: None,
        }
    }

    /// The loop that drives this one has waited: a virtual clock goes on as if this one had.
    fn come_back(&mut self) {
        let local = self.local;
        if let (Some(clock), Some(outside)) = (local.shared.clock(), &local.outside)
            && let Some(waited) = outside.come_back()
        {
            self.look();
            clock.advance(waited);
            if !self.is_idle() {
                outside.came();
            }
        }
    }

    /// Runs what is ready, and looks at timers and events, without waiting.
    fn turn_once(&mut self) {
        self.local.take_in();
        let _stale = self.local.take_root_wake(); // of a future that is done
        self.run_batch();
        self.look();
        self.local.take_due(&mut self.woken);
        wake_all(&mut self.woken);
    }

    fn turn(&mut self) {
        self.local.take_in();
        self.note_root();
        self.run_batch();
        // Mostly by what has just run: then it is polled without another turn.
        self.note_root();
        if self.slice.asks_for_timers() {
            self.local.shrink();
            self.local.take_due(&mut self.woken);
            wake_all(&mut self.woken);
        }
        if self.is_idle() {
            self.wait();
        } else if self.slice.is_over() {
            self.look();
        }
    }

    /// If the root future was woken, it is polled when what is ready now has run.
    #[inline]
    fn note_root(&mut self) {
        if self.local.take_root_wake() && self.before_root.is_none() {
            self.before_root = Some(self.local.count_ready());
        }
    }

    /// Nothing can run.
    fn wait(&mut self) {
        self.local.shrink();
        self.local.take_due(&mut self.woken);
        if !self.woken.is_empty() {
            return wake_all(&mut self.woken);
        }
        let timeout = self.local.until_next_timer();
        if self.local.outside.is_none() {
            return self.sleep(timeout);
        }
        // What has happened comes before what the clock would say.
        self.look();
        if !self.is_idle() || self.jump() {
            return;
        }
        let now = Instant::now();
        let timeout = match self.pace() {
            Some(Pace::Real(Some(until))) => {
                let patience = until.saturating_duration_since(now);
                timeout.map(|timeout| timeout.min(patience))
            }
            _ => timeout,
        };
        self.sleep(timeout);
        if let Some(clock) = self.local.shared.clock() {
            clock.advance(now.elapsed());
        }
        if !self.is_idle()
            && let Some(outside) = &self.local.outside
        {
            outside.came();
        }
    }

    /// A virtual clock goes on to the next deadline, if nothing outside is waited for.
    fn jump(&self) -> bool {
        let local = self.local;
        if let (Some(clock), Some(outside)) = (local.shared.clock(), &local.outside)
            && let Some(deadline) = local.next_timer()
            && self.pace() == Some(Pace::Jump)
        {
            outside.jumped(self.is_silent());
            clock.advance_to(deadline);
            return true;
        }
        false
    }

    /// How a virtual clock goes now.
    fn pace(&self) -> Option<Pace> {
        let outside = self.local.outside.as_ref()?;
        if self.local.shared.clock()?.is_held_anew() {
            outside.stir();
        }
        Some(outside.pace(|task| self.local.has(task), self.is_silent()))
    }

    /// A task waits for what may come from outside, or never.
    fn is_silent(&self) -> bool {
        let clock = self.local.shared.clock();
        clock.is_some_and(|clock| clock.is_held()) || self.local.waits_for_descriptors()
    }

    fn run_batch(&mut self) {
        let ready = self.local.count_ready().min(BATCH);
        let count = self.before_root.map_or(ready, |before| before.min(ready));
        let mut ran = 0;
        while ran < count {
            // Counted together, as the count is not looked at in between.
            let until = count.min(ran + self.slice.ahead());
            let first = ran;
            while ran < until
                && let Some(entry) = self.local.next_ready()
            {
                run(self.local, entry);
                ran += 1;
            }
            if self.slice.count(ran - first) || ran < until {
                break;
            }
        }
        if let Some(before) = &mut self.before_root {
            *before -= ran;
        }
    }

    fn is_idle(&self) -> bool {
        self.local.count_ready() == 0
            && self.before_root.is_none()
            && !self.local.is_root_woken()
            && self.local.shared.is_quiet()
    }

    /// Waits for events or a wake-up, at most for `timeout`.
    fn sleep(&mut self, timeout: Option<Duration>) {
        let shared = &self.local.shared;
        // A descriptor is needed only for what others do to descriptors.
        let parks = shared.berth.is_there() && self.local.watches_nothing();
        let how = if parks {
            shared.berth.make();
            Sleep::Parked
        } else {
            Sleep::Asleep
        };
        if shared.inbox.lie_down(how) && shared.is_quiet() {
            // A loop may run on a pool's worker: while it sleeps, the pool is one short.
            let result = park::blocked(|| {
                let _noted = record::sleeps();
                self.local.put_table();
                let result = if parks {
                    shared.berth.sleep(timeout.map(slack::less_of_futex));
                    Ok(())
                } else {
                    let timeout = timeout.map(slack::less_of_poll);
                    self.local.turn_reactor(timeout, &mut self.woken)
                };
                self.local.take_table();
                result
            });
            self.looked(result);
        }
        shared.inbox.get_up();
    }

    /// Asks the kernel for events, without waiting.
    fn look(&mut self) {
        let result = self
            .local
            .turn_reactor(Some(Duration::ZERO), &mut self.woken);
        self.looked(result);
    }

    fn looked(&mut self, result: io::Result<()>) {
        if let Err(error) = result {
            // A descriptor of ours is broken; there is no way to go on.
            panic!("trefoil: the event loop cannot wait for events: {error}");
        }
        self.slice.begin();
        wake_all(&mut self.woken);
    }
}

impl Drop for Turns<'_> {
    fn drop(&mut self) {
        wake_all(&mut self.woken);
        self.woken.shrink_to(CAPACITY);
        self.local.woken.set(std::mem::take(&mut self.woken));
    }
}

/// Wakers are user code: one that panics must not end the loop.
fn wake_all(woken: &mut Vec<Waker>) {
    for waker in woken.drain(..) {
        contain(|| waker.wake());
    }
}
