//! One turn of the loop, the repetition of turns, and the turns in which the loop ends.
//!
//! 1. The root future is polled, if it was woken and all tasks that were ready before it have run.
//! 2. The tasks that are ready *now* run, in order. Tasks that become ready meanwhile run in the
//!    next turn, so a task that wakes itself cannot starve others. (One whose poll does not return
//!    can: no poll is interrupted. The loop's own operations end it with `Pending` now and then:
//!    `operation_budget.rs`.) A batch is cut after [`BATCH`] tasks or after the [`TimeSlice`].
//! 3. Timers that are due wake their tasks, if time has passed since the timers were last checked.
//!    This wakes about as many tasks as run in a turn, so that a hundred thousand timers do not
//!    starve other tasks, and each woken task is still in the processor's cache when it runs.
//! 4. The kernel is asked for events. With work left this does not wait, and is skipped until the
//!    slice is over, some 200 µs after the last call: a task that yields costs no system call.
//!    Without work the loop marks itself asleep (see [`super::shared`]) and waits until the
//!    next deadline, or without a limit: in the kernel's wait for events or, if it watches no
//!    descriptor, in a parker, which is faster at both ends. (An earlier wake-up may end a sleep at
//!    once, so the loop checks everything again after each.)
//!
//! Nothing wakes an idle loop, unless the system has refused a thread to this process: then the
//! loop asks for it again now and then (`blocking_threads`).
//!
//! On a loop with a virtual clock step 4 ends differently: if there is no work, and no task waits
//! for something outside (see [`super::virtual_clock`]), the clock is moved to the next deadline.
//! Otherwise the loop waits like any other, and its clock moves forward by the time of the wait.
//!
//! Another loop can drive the turns ([`once`]): after each, this loop marks itself asleep as before
//! its own wait, so that any new work makes its descriptor ready. A virtual clock that runs at the
//! real pace moves forward by the time that the other loop has waited.
//!
//! Rejected: a slot for the task woken last, as in multi-threaded runtimes: on one thread it saves
//! nothing and starves the rest.
//!
//! Tests: `tests/event_loop/running.rs::{tasks_run_in_the_order_in_which_they_became_ready,
//! run_cancels_what_is_left_and_waits_for_its_destructors}`,
//! `tests/event_loop/fairness.rs::always_ready_tasks_do_not_starve_others`.

use std::io;
use std::panic::Location;
use std::pin::pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use super::entered_loop;
use super::known_root::KnownRoot;
use super::limits::{BATCH, CLOSE_TIMEOUT};
use super::local::Local;
use super::slow_poll::Root;
use super::time_slice::TimeSlice;
use crate::events;
use crate::events::Ending;
use crate::parking::park;
use crate::sys::slack;
use crate::task::panic::contain;
use crate::task::{Ran, Runnable, SleepPlace, TaskId, TaskRef};
use crate::timer::ask_again;

/// Turns the loop until `future`, its root future, is ready. The caller has entered the loop.
#[track_caller]
pub(super) fn drive<F: Future>(local: &Local, future: F) -> F::Output {
    let (id, site) = (TaskId::next(), Location::caller());
    let number = id.get();
    let mut turns = Turns::new(local);
    if let Some(clock) = local.virtual_clock() {
        clock.end_wait();
    }
    let root = KnownRoot::new(&local.root_waker, &local.shared, number);
    let waker = root.waker(&local.shared);
    let mut cx = Context::from_waker(&waker);
    // This is dropped first, because its destructors are code of this loop, and may spawn (L6).
    let mut future = pin!(future);
    // The first poll comes before all tasks that were spawned earlier; later polls of the root
    // future are queued like others.
    local.take_in();
    local.forget_root_wake();
    let mut is_due = true;
    loop {
        if is_due {
            turns.slice.count(1);
            local.poll_begins(0, Some(Root { id, site }));
            root.poll_begins(site);
            let panicked = EndPoll(local, number);
            let polled = future.as_mut().poll(&mut cx);
            std::mem::forget(panicked);
            match polled {
                Poll::Ready(output) => {
                    end_poll(local, number, Ending::Done);
                    local.shrink();
                    return output;
                }
                Poll::Pending => {
                    local.put_root_last();
                    root.poll_ends(|| local.may_poll_root());
                    local.poll_ends(0, false);
                }
            }
        }
        is_due = turns.turn();
    }
}

/// Ends the root future's poll if it panics, so that the loop can run another future.
struct EndPoll<'a>(&'a Local, u64);

impl Drop for EndPoll<'_> {
    #[cold]
    fn drop(&mut self) {
        end_poll(self.0, self.1, Ending::Panicked);
    }
}

/// Ends the root future with this number.
#[inline(always)]
fn end_poll(local: &Local, root: u64, how: Ending) {
    events::ended(root, how);
    local.poll_ends(0, true);
}

/// Turns the loop once, without waiting. Returns true if there is more to do.
pub(super) fn once(local: &Local) -> bool {
    let mut turns = Turns::new(local);
    turns.end_wait();
    turns.turn_once();
    if is_idle(local) && !jump(local) {
        // From here on a thread that adds work makes the descriptor ready.
        if local.shared.inbox.begin_sleep(SleepPlace::Poller) && !local.shared.has_flags() {
            if let Some(clock) = local.virtual_clock()
                && pace(local).is_some_and(|pace| !pace.is_zero())
            {
                clock.begin_wait();
            }
            return false;
        }
        local.shared.inbox.end_sleep();
    }
    true
}

/// Turns the loop once, and neither waits nor moves its clock. Returns true if there is more to do.
#[cfg(all(test, not(loom)))]
pub(super) fn simulate(local: &Local) -> bool {
    let mut turns = Turns::new(local);
    turns.turn_once();
    !is_idle(local)
}

/// When to turn the loop again, unless its descriptor becomes readable first.
pub(super) fn next_turn(local: &Local) -> Option<Instant> {
    if !is_idle(local) {
        return Some(Instant::now());
    }
    let left = local.until_next_timer();
    let left = left.map(|left| left.min(pace(local).unwrap_or(Duration::MAX)));
    Instant::now().checked_add(sooner(left, ask_again())?)
}

/// Ends the loop. This must be the loop's thread.
///
/// The loop refuses new tasks, cancels all tasks that have not ended, and runs what is ready until
/// nothing is left: a cancelled future is dropped at its next run. Then it closes the inbox, which
/// ends tasks that other threads have added meanwhile. It wakes the futures that still wait for a
/// timer or a source of this loop; they find that the loop is gone. No destructor waits, so this
/// takes as long as the destructors run. It waits only for an entry that another thread is just
/// adding, at most for [`CLOSE_TIMEOUT`].
pub(super) fn close(local: &Rc<Local>) {
    let _entered = entered_loop::enter(local);
    let mut turns = Turns::new(local);
    local.shared.begin_closing();
    let deadline = Instant::now() + CLOSE_TIMEOUT;
    loop {
        local.take_in();
        let tasks: Vec<TaskRef> = local.table.borrow().tasks().cloned().collect();
        for task in tasks {
            contain(|| {
                task.cancel();
            });
        }
        run_all(local);
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() || local.table.borrow().is_empty() && local.shared.inbox.is_empty() {
            break;
        }
        turns.sleep(Some(left));
    }
    drop(local.shared.inbox.close());
    local.wake_all_that_wait();
    // Those wakers were user code, which may have added entries; these were refused.
    run_all(local);
    drop(turns);
    drop(local.keep_until_end(None));
    if let Some(clock) = local.virtual_clock() {
        clock.clear();
    }
}

/// Runs the tasks that are ready. They were cancelled, so this drops their futures.
fn run_all(local: &Local) {
    while let Some(next) = local.next_ready() {
        if let Some(entry) = next {
            run(local, entry);
        }
    }
}

#[inline]
fn run(local: &Local, entry: Runnable) {
    let tag = entry.tag();
    local.poll_begins(tag, None);
    let ran = entry.run();
    drop(local.poll_ends(tag, matches!(ran, Ran::Done)));
    match ran {
        Ran::Done | Ran::Pending => {}
        Ran::Again(entry) => local.enqueue(entry),
    }
}

/// Whether no task can run.
fn is_idle(local: &Local) -> bool {
    local.count_ready() == 0 && local.shared.is_quiet()
}

/// How long a virtual clock must run at the real pace; `None`: there is none.
fn pace(local: &Local) -> Option<Duration> {
    let clock = local.virtual_clock()?;
    let has = |task: &TaskRef| local.has(task);
    Some(clock.pace(has, local.waits_for_descriptors()))
}

/// The shorter of two waits; `None`: without a limit.
fn sooner(one: Option<Duration>, other: Option<Duration>) -> Option<Duration> {
    one.into_iter().chain(other).min()
}

/// Moves a virtual clock to the next deadline, if no task waits for something outside.
fn jump(local: &Local) -> bool {
    if let Some(clock) = local.virtual_clock()
        && let Some(deadline) = local.next_timer()
        && pace(local).is_some_and(|pace| pace.is_zero())
    {
        clock.jump(deadline, local.waits_for_descriptors());
        return true;
    }
    false
}

/// The turns of a loop that is being driven.
struct Turns<'a> {
    local: &'a Local,
    /// The polls since the kernel was last asked for events.
    slice: TimeSlice,
    _role: events::Before,
}

impl<'a> Turns<'a> {
    fn new(local: &'a Local) -> Self {
        local.shared.inbox.end_sleep();
        Self {
            local,
            slice: TimeSlice::new(),
            _role: events::role(events::Role::Loop),
        }
    }

    /// Moves a virtual clock forward after this loop, or the one that drives it, has waited.
    fn end_wait(&mut self) {
        if let Some(clock) = self.local.virtual_clock()
            && clock.end_wait()
        {
            self.look();
            if !is_idle(self.local) {
                clock.note_arrival();
            }
        }
    }

    /// Runs ready tasks, and checks events and timers, without waiting. Events come first, as after
    /// this loop's own wait, because the loop that drives this one has waited.
    /// ([`turn`](Self::turn) checks timers first, because they determine how long it may wait.)
    fn turn_once(&mut self) {
        self.local.take_in();
        let (ran, _stale) = self.run_batch(); // the second value is of a root future that is done
        self.look();
        self.wake_due(ran);
    }

    /// Runs ready tasks, checks timers, then events, and waits for events if no task can run.
    /// Returns true if the root future is next.
    fn turn(&mut self) -> bool {
        self.local.take_in();
        let (ran, is_due) = self.run_batch();
        if self.slice.asks_for_timers() {
            self.local.shrink();
            self.wake_due(ran);
        }
        if !is_due && is_idle(self.local) {
            self.wait();
        } else if self.slice.is_over() {
            self.look();
        }
        is_due
    }

    /// Lets other threads see what this loop has, and counts the polls since the last call. The
    /// slice is renewed next.
    fn publish(&self) {
        let stats = self.local.stats();
        self.local.shared.counts.publish(&stats, self.slice.polls());
    }

    /// Waits for events, because no task can run.
    fn wait(&mut self) {
        self.local.shrink();
        if self.wake_due(0) {
            return;
        }
        let timeout = self.local.until_next_timer();
        let Some(clock) = self.local.virtual_clock() else {
            return self.sleep(timeout);
        };
        // Events that have already happened come before the jump of the clock.
        self.look();
        if is_idle(self.local) && !jump(self.local) {
            clock.begin_wait();
            self.sleep(timeout.map(|timeout| timeout.min(pace(self.local).unwrap_or(timeout))));
            self.end_wait();
        }
    }

    /// Wakes the tasks of due timers: as many as have run in this turn, or as make up a whole turn;
    /// some even if few have run because they took long. `false`: none was woken.
    fn wake_due(&self, ran: usize) -> bool {
        let room = BATCH.saturating_sub(self.local.count_ready());
        self.local.wake_due(room.max(ran).max(BATCH / 4))
    }

    /// Runs the tasks that are ready now, up to the root future. Returns how many have run, and
    /// whether the root future is next.
    fn run_batch(&mut self) -> (usize, bool) {
        let count = self.local.count_ready().min(BATCH);
        let mut ran = 0;
        while ran < count {
            // These are counted together, because the clock is not read in between.
            let until = count.min(ran + self.slice.ahead());
            let first = ran;
            while ran < until
                && !self.local.is_root_next()
                && let Some(Some(entry)) = self.local.next_ready()
            {
                run(self.local, entry);
                ran += 1;
            }
            if self.slice.count(ran - first) || ran < until {
                break;
            }
        }
        // Usually a task that has just run has woken it. Then it is polled without another turn.
        let is_due = self.local.is_root_next() && self.local.next_ready().is_some();
        (ran, is_due)
    }

    /// Waits for events or a wake-up, at most for `timeout`, or until it is time to ask again for a
    /// thread that the system has refused.
    fn sleep(&mut self, timeout: Option<Duration>) {
        let timeout = sooner(timeout, ask_again());
        let shared = &self.local.shared;
        // The poller is needed only to watch descriptors.
        let parks = !self.local.has_sources();
        let how = if parks {
            SleepPlace::Parker
        } else {
            SleepPlace::Poller
        };
        if shared.inbox.begin_sleep(how) && !shared.has_flags() {
            self.publish();
            // A loop may run on a worker of a pool: while it sleeps, the pool lacks a thread.
            let result = park::away(|| {
                let _noted = events::sleeps();
                if parks {
                    match timeout.map(slack::less_of_futex) {
                        Some(timeout) => self.local.parker.park_timeout(timeout),
                        None => {
                            let _asleep = events::falls_asleep(true);
                            self.local.parker.park();
                        }
                    }
                    Ok(())
                } else {
                    let timeout = timeout.map(slack::less_of_poll);
                    self.local.turn_reactor(timeout)
                }
            });
            self.looked(result);
        }
        shared.inbox.end_sleep();
    }

    /// Asks the kernel for events, without waiting.
    fn look(&mut self) {
        ask_again();
        self.publish();
        let result = self.local.turn_reactor(Some(Duration::ZERO));
        self.looked(result);
    }

    fn looked(&mut self, result: io::Result<()>) {
        if let Err(error) = result {
            // One of the loop's own descriptors is broken, and it cannot go on.
            panic!("trefoil: the event loop cannot wait for events: {error}");
        }
        self.slice.renew();
        self.local.wake_all();
    }
}

impl Drop for Turns<'_> {
    fn drop(&mut self) {
        self.publish();
    }
}
