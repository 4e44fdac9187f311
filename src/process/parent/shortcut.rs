//! Callers that do the driver's work: they dispatch their own call, and read their own result.
//!
//! **Job.** A call goes from its caller to the driver's thread, to the worker, back to the driver
//! and back to the caller: four wake-ups, each of which costs more than everything else. If calls
//! follow one another closely, none of them is needed.
//!
//! **Protocol.**
//! 1. *The call.* A caller that finds the driver asleep hands out the new work itself
//!    ([`PoolState::deliver`]), if the engine is free and there is nothing else to do. The driver
//!    is woken only if it must act earlier than it will look by itself.
//! 2. *In between.* A caller that is about to block for a call, which is the only one that its
//!    worker has, polls the worker's ledger for a moment ([`PoolState::help`]), and records that
//!    there. Then the worker need not send the result; it polls for its next frame for a moment,
//!    sends results that have not been read, and goes to sleep as usual (`worker`).
//! 3. *The result.* The caller takes the result out of the ledger, as the driver does when it looks
//!    ahead. When the worker sends it later, it is known and skipped. If it was sent before the
//!    worker knew that a caller polls, the caller receives it, and the driver finds nothing. So if
//!    anything must then be done that the caller may not do, the caller wakes the driver.
//!
//! **Plain workers** have no ledger. A caller hands out its call (1.) if no other work waits. Then
//! it receives the records of its worker until the call has ended, and sleeps on the worker's
//! socket in between, for at most a [`CLOCK_CHECK`], with the *valve* shut through which the driver
//! would be woken (`host::valve`). It gives up, and opens the valve, as soon as the worker has
//! other work, too, another thread has the engine, or the stream has ended.
//!
//! **Which user code runs.** Under the engine's lock a caller runs no code of other tasks: in 1. no
//! task can end, in 3. only the one for which it waits. So a lock that the caller holds cannot
//! block another task's callback. If a worker's output is captured, or its events are forwarded,
//! user code would run, so no caller polls then. A caller decodes its own result without the
//! engine's lock (`readers`), and only if it waits without a limit.
//!
//! **Bounds.** Polling takes [`POLL_FOR`] at most, on both sides, after a call or an answer; an
//! idle pool does not poll.
//!
//! Tests: `tests/process/speed.rs`, `tests/process/callers.rs`,
//! `tests/trefoil-checks/tests/shortcut_models.rs`, `host::ledger`.

use std::sync::Arc;
use std::time::Instant;

use rustix::event::{PollFd, PollFlags, Timespec};

use super::driver::{ActingDriver, CALLERS_ACTIVE_FOR, CLOCK_CHECK, Driver, PoolState};
use super::mailbox::Mail;
use crate::loom::hint;
use crate::process::host::ledger::Ledger;
use crate::process::host::poll_policy::POLL_FOR;
use crate::process::host::shared_clock;
use crate::process::host::valve::Shut;
use crate::sys::poll::poll;
use crate::sys::ticks;

/// For how long a caller announces that it polls, in nanoseconds: [`POLL_FOR`], and some time until
/// the worker reads it.
const WATCH: u64 = 40_000;
/// The same on one processor: there a worker often runs before the caller can announce that it
/// polls, so the last announcement counts for longer.
const WATCH_ONE: u64 = 400_000;

/// How often to look for an end of frame that is about to come.
const SOON: u32 = 50;

impl PoolState {
    /// Delivers new work. If the driver sleeps, and no other caller does its work, this caller
    /// hands the work out. (To plain workers only one call: of a `map` the driver sends the frames
    /// while the caller encodes more.)
    pub(crate) fn deliver<const N: usize>(&self, mail: [Mail; N]) -> Result<(), Vec<Mail>> {
        let is_call = matches!(mail.first(), Some(Mail::Submit { .. }));
        let is_fit = self.path.hands_out(is_call);
        self.mailbox.deliver(mail, || {
            let mut engine = is_fit.then(|| self.engine.try_lock()).flatten();
            let driver = engine.as_deref_mut().and_then(Option::as_mut);
            driver.is_some_and(Driver::hand_out)
        })
    }

    /// Called by a caller that is about to sleep until the job `id` is `done`: polls for its result
    /// for a moment, or attends a plain worker. `patient`: also decodes it, however long that
    /// takes.
    pub(crate) fn help(&self, id: u64, patient: bool, done: &dyn Fn() -> bool) {
        let poll_policy = &self.poll_policy;
        if self.mailbox.is_foreign() {
            return;
        }
        let mut looks = ticks::Looks::new(POLL_FOR);
        if !self.path.polls() {
            if !patient {
                return; // it might wait for too long
            }
            let found = self.sole(id, &mut looks, done, Driver::leave_to_caller);
            if let Some((index, shut)) = found {
                self.attend(id, index, shut, done);
            }
            return;
        }
        if poll_policy.is_pausing() {
            return;
        }
        let found = self.sole(id, &mut looks, done, Driver::sole);
        let Some((index, ledger, mut known)) = found else {
            return;
        };
        let yields = poll_policy.yields;
        let long = if yields { WATCH_ONE } else { WATCH };
        let watch = || ledger.watch(shared_clock::now() + long, yields);
        watch();
        while !looks.are_over() {
            if ledger.has_unsent(known)
                && let Some(mut engine) = self.engine.try_lock()
            {
                // The job may have moved to another worker, and this worker's results may be
                // another job's.
                let is_here = |driver: &&mut Driver| driver.sched.sole(id) == Some(index);
                let Some(driver) = engine.as_mut().filter(is_here) else {
                    return; // another thread was quicker
                };
                let _acting = ActingDriver::new();
                if ledger.has_sent(known) {
                    driver.receive(index, false); // sent before the worker knew that a caller polls
                }
                driver.read_unsent(index);
                let readings = if patient {
                    driver.sched.chores_of(id)
                } else {
                    Vec::new()
                };
                if !readings.is_empty() {
                    driver.wake_if_needed(); // other work should not wait until this is decoded
                    drop(engine);
                    readings
                        .into_iter()
                        .for_each(|reading| self.carry_out(reading, true));
                    engine = self.engine.lock();
                }
                let Some(driver) = engine.as_mut() else {
                    return;
                };
                known = driver.links[index]
                    .as_ref()
                    .map_or(u64::MAX, |link| link.peer.stream.known);
                let is_over = done();
                if is_over {
                    driver.see_end(index);
                }
                driver.sched.count_busy();
                driver.wake_if_needed(); // it does not know what was received here
                if is_over {
                    watch(); // the next call may follow
                    return;
                }
            }
            if done() {
                return;
            }
            poll_policy.pause();
        }
    }

    /// Returns what `find` says of the worker that has the job `id` and nothing else. Waits a
    /// moment for such a worker.
    fn sole<T>(
        &self,
        id: u64,
        looks: &mut ticks::Looks,
        done: &dyn Fn() -> bool,
        find: fn(&Driver, u64) -> Option<T>,
    ) -> Option<T> {
        while !done() && !looks.are_over() {
            if let Some(mut engine) = self.engine.try_lock() {
                let engine = engine.as_mut()?;
                // A driver that is about to read the mailbox would hand it out, too.
                let has_mail = engine.sched.sole(id).is_none() && !self.mailbox.is_empty();
                if has_mail && !engine.hand_out() {
                    self.mailbox.wake();
                }
                return find(engine, id);
            }
            self.poll_policy.pause();
        }
        None
    }

    /// Waits for the bytes of a plain worker in the driver's place until the call `id` is `done`,
    /// at most for a [`CLOCK_CHECK`].
    fn attend(&self, id: u64, index: usize, shut: Shut, done: &dyn Fn() -> bool) {
        let until = Instant::now() + CLOCK_CHECK;
        while !done() {
            let Some(mut engine) = self.engine.try_lock() else {
                return;
            };
            let is_here = |driver: &&mut Driver| driver.sched.sole(id) == Some(index);
            let Some(driver) = engine.as_mut().filter(is_here) else {
                return;
            };
            let _acting = ActingDriver::new();
            if !driver.receive_some(index) {
                return;
            }
            let readings = driver.sched.chores_of(id);
            driver.sched.count_busy();
            driver.wake_if_needed();
            if done() || !readings.is_empty() {
                drop(shut);
                drop(engine); // others should not wait until this is decoded
                let readings = readings.into_iter();
                return readings.for_each(|reading| self.carry_out(reading, true));
            }
            drop(engine);
            let left = until.saturating_duration_since(Instant::now());
            let mut socket = [PollFd::new(shut.socket(), PollFlags::IN)];
            let limit = Timespec::try_from(left).ok();
            if left.is_zero() || poll(&mut socket, limit.as_ref()) != Ok(1) {
                return;
            }
        }
    }
}

impl Driver {
    /// Waits for the end of the frame, which comes right after the result, so that the next call
    /// finds the worker idle.
    fn see_end(&mut self, index: usize) {
        for _ in 0..SOON {
            let link = self.links[index].as_ref();
            if !self.sched.only_ends(index) {
                return;
            }
            if link.is_some_and(|link| link.peer.has_records_ahead()) {
                self.read_unsent(index);
            }
            hint::spin_loop();
        }
    }

    /// Hands out what is in the mailbox, if there is nothing else to do. True: the driver need not
    /// be woken.
    fn hand_out(&mut self) -> bool {
        let now = Instant::now();
        if !self.sched.nothing_is_due(now) {
            return false;
        }
        let Some(mail) = self.shared.mailbox.take_if_only_new_work() else {
            return false;
        };
        let _acting = ActingDriver::new();
        for index in 0..self.links.len() {
            let link = self.links[index].as_ref();
            let more = link.is_some_and(|link| link.peer.has_records_ahead() && !link.runs_hooks());
            if more && self.sched.only_ends(index) {
                self.read_unsent(index);
            }
        }
        self.read_mail(mail, now);
        if !self.sched.dispatch_work(now) {
            return false;
        }
        self.callers_active_until = now + CALLERS_ACTIVE_FOR;
        self.carry_out_actions();
        let sends = self
            .links
            .iter()
            .flatten()
            .any(|link| link.peer.stream.is_sending());
        // Work that stays in the queue waits for a worker, whose answer will wake the driver.
        let waits = self.shared.path.leaves_waiting_work() && self.sched.has_waiting();
        !sends && !waits && !self.oversleeps() && !self.sched.needs_driver_thread()
    }

    /// Shuts the valve of the plain worker that has the one call `id` and nothing else.
    fn leave_to_caller(&self, id: u64) -> Option<(usize, Shut)> {
        let index = self.sched.sole(id).filter(|_| self.sched.is_one_call(id))?;
        let link = self.links[index].as_ref()?;
        let is_fit = !link.at_end && !link.runs_hooks();
        let shut = is_fit.then(|| link.peer.stream.shut()).flatten()?;
        Some((index, shut))
    }

    /// Whether something is due before the driver wakes by itself.
    fn oversleeps(&self) -> bool {
        match (self.sleeps_until, self.sched.deadline()) {
            (_, None) => false,
            (None, Some(_)) => true,
            (Some(until), Some(due)) => until > due + CLOCK_CHECK,
        }
    }

    /// Called after another thread has done some of the driver's work: wakes the driver if needed.
    pub(super) fn wake_if_needed(&self) {
        if self.oversleeps() || self.sched.needs_driver(Instant::now()) {
            self.shared.mailbox.wake();
        }
    }

    /// The worker that has the job `id` and nothing else, its ledger, and how much of its output is
    /// known.
    fn sole(&self, id: u64) -> Option<(usize, Arc<Ledger>, u64)> {
        let index = self.sched.sole(id)?;
        let link = self.links[index].as_ref()?;
        // Without a process descriptor that shows the worker's death, only the end of its output
        // does.
        let watched = !link.runs_hooks() && link.child.process.is_some();
        let ledger = link.peer.polled().filter(|_| watched)?;
        Some((index, ledger, link.peer.stream.known))
    }
}
