//! The shortcut: a caller acts as the driver.
//!
//! A call goes from its caller to the driver's thread, to the worker, back to the driver and back
//! to the caller: four wake-ups, each of which costs more than everything else. If calls follow one
//! another closely, none of them is needed.
//! 1. *The call.* A caller that finds the driver asleep hands out the new work itself
//!    ([`PoolState::deliver`]), if the engine is free and there is nothing else to do. The driver
//!    is woken only if it must act earlier than it will look by itself.
//! 2. *In between.* A caller that is about to block for a call, which is the only one that its
//!    worker has, announces itself in the worker's ledger (`pages::caller_word`), polls there for a
//!    moment if that pays (`pages::poll_policy`), and then sleeps until the worker wakes it
//!    ([`PoolState::help`]). Then the worker need not send the result; it polls for its next frame,
//!    if that pays, and goes to sleep as usual (`worker`).
//! 3. *The result.* The caller takes the result out of the ledger, as the driver does when it looks
//!    ahead. When the worker sends it later, it is known and skipped. If it was sent before the
//!    worker knew that a caller waits, the caller receives it, and the driver finds nothing. So if
//!    anything must then be done that the caller may not do, the caller wakes the driver; also if
//!    the worker has woken this caller, and the result is not the caller's alone any more.
//! 4. *What the driver ends.* A call may end without its worker: it is cancelled, its time is over,
//!    the worker dies, the frame moves. Whoever holds the engine then dismisses the caller, which
//!    is woken, and waits as everybody else does ([`Driver::dismiss_callers`]). So does a caller
//!    that has slept for [`SLEEP_FOR`].
//!
//! *Plain workers* have no ledger: of these a caller only hands out its call (1.).
//!
//! **Which user code runs.** Under the engine's lock a caller runs no code of other tasks: in 1. no
//! task can end, in 3. only the one for which it waits. So a lock that the caller holds cannot
//! block another task's callback. If a worker's output is captured, or its events are forwarded,
//! user code would run, so no caller waits here then. A caller decodes its own result without the
//! engine's lock (`readers`), and only if it waits without a limit.
//!
//! **Bounds.** An idle pool does not poll, and wakes nobody.
//!
//! Without the shortcut ([`IS_ON`]) all tests pass, and everything is done by the driver:
//! `docs/internals/decisions/two-paths.md` has the times.
//!
//! Tests: `tests/process/pool.rs::spawn_answers`, `tests/process/{calls,speed,callers}.rs`,
//! `tests/trefoil-checks/tests/shortcut_models.rs`, `pages::raw_ledger`.

use crate::process::job::job_id::JobId;
use std::sync::Arc;
use std::time::Instant;

use super::driver::{ActingDriver, CALLERS_ACTIVE_FOR, Driver, LATENESS, PoolState};
use super::link::Link;
use super::mailbox::Mail;
use crate::loom::MutexGuard;
use crate::loom::hint;
use crate::parking::park;
use crate::process::job::slot_id::SlotId;
use crate::process::pages::caller_word::{self, CallerWord};
use crate::process::pages::poll_policy::{Polling, SLEEP_FOR};
use crate::process::pages::raw_ledger::Ledger;

/// Whether callers do any of the driver's work.
const IS_ON: bool = true;

/// How often to look for an end of frame that is about to come.
const SOON: u32 = 50;

impl PoolState {
    /// Delivers new work. If the driver sleeps, and no other caller does its work, this caller
    /// hands the work out.
    pub(crate) fn deliver<const N: usize>(&self, mail: [Mail; N]) -> Result<(), Vec<Mail>> {
        let is_call = matches!(mail.first(), Some(Mail::Submit { .. }));
        let is_fit = IS_ON && self.path.may_hand_out(is_call);
        self.mailbox.deliver(mail, || {
            let mut engine = is_fit.then(|| self.engine.try_lock()).flatten();
            let driver = engine.as_deref_mut().and_then(Option::as_mut);
            driver.is_some_and(Driver::hand_out)
        })
    }

    /// Called by a caller that is about to block until the job `id` is `done`, or until the
    /// `deadline`: waits for its worker for a moment, and takes the result. Without a deadline it
    /// also decodes it, however long that takes.
    pub(crate) fn help(&self, id: JobId, deadline: Option<Instant>, done: &dyn Fn() -> bool) {
        if !IS_ON || self.mailbox.is_foreign() || !self.path.may_poll() {
            return;
        }
        let policy = &self.poll_policy;
        let mut polling = policy.begin_call();
        let Some((slot, ledger, mut known)) = self.sole(id, &mut polling, done) else {
            return;
        };
        let polls = polling.polls(|| ledger.worker_ran_here());
        let patient = deadline.is_none();
        let latest = Instant::now() + SLEEP_FOR;
        let until = deadline.map_or(latest, |deadline| deadline.min(latest));
        let caller = ledger.caller();
        ledger.set_caller_polls(polls);
        caller.announce(id.number());
        loop {
            if ledger.has_unsent(known)
                && let Some(engine) = self.engine.try_lock()
            {
                match self.take_results(engine, (slot, id), patient, done) {
                    Some(position) => known = position,
                    None => break, // another thread was quicker
                }
            }
            if done() {
                break;
            }
            if !polling.goes_on(policy) && !sleeps(caller, id, until) {
                break;
            }
        }
        policy.answered();
        if caller.leave(id.number(), done()) && ledger.has_unsent(known) {
            self.hear_rest(slot);
        }
    }

    /// The worker relies on this caller, which has not taken everything: takes the rest, or has the
    /// driver take it.
    fn hear_rest(&self, slot: SlotId) {
        let mut engine = self.engine.lock();
        let Some(driver) = engine.as_mut() else {
            return;
        };
        if driver.sched.only_ends(slot) {
            let _acting = ActingDriver::new();
            driver.receive_all(slot);
            driver.sched.count_busy();
            driver.wake_if_needed();
        } else {
            driver.unheard.push(slot);
            self.mailbox.wake();
        }
    }

    /// Takes the results of a worker, all of which belong to one job, and decodes them if the
    /// caller is `patient`. Returns how much of the worker's output is known then. `None`: they
    /// belong to another job by now, or the driver has ended.
    fn take_results<'a>(
        &'a self,
        mut engine: MutexGuard<'a, Option<Driver>>,
        (slot, id): (SlotId, JobId),
        patient: bool,
        done: &dyn Fn() -> bool,
    ) -> Option<u64> {
        let driver = engine.as_mut()?;
        // (The job may have moved to another worker.)
        if driver.sched.sole(id) != Some(slot) {
            return None;
        }
        let _acting = ActingDriver::new();
        driver.receive_all(slot);
        let readings = if patient {
            driver.sched.chores_of(id)
        } else {
            Vec::new()
        };
        if !readings.is_empty() {
            driver.wake_if_needed(); // other work should not wait until this is decoded
            drop(engine);
            for reading in readings {
                self.carry_out(reading, true);
            }
            engine = self.engine.lock();
        }
        let driver = engine.as_mut()?;
        if done() {
            driver.see_end(slot);
        }
        driver.sched.count_busy();
        driver.wake_if_needed(); // it does not know what was received here
        let link = driver.links[slot.0].as_ref();
        Some(link.map_or(u64::MAX, |link| link.peer.stream.known))
    }

    /// The worker that has the job `id` and nothing else: see [`Driver::sole`]. Waits a moment for
    /// such a worker.
    fn sole(
        &self,
        id: JobId,
        polling: &mut Polling,
        done: &dyn Fn() -> bool,
    ) -> Option<(SlotId, Arc<Ledger>, u64)> {
        while !done() {
            if let Some(mut engine) = self.engine.try_lock() {
                let engine = engine.as_mut()?;
                // A driver that is about to read the mailbox would hand it out, too.
                let has_mail = engine.sched.sole(id).is_none() && !self.mailbox.is_empty();
                if has_mail && !engine.hand_out() {
                    self.mailbox.wake();
                }
                return engine.sole(id);
            }
            if !polling.goes_on(&self.poll_policy) {
                break;
            }
        }
        None
    }
}

/// Sleeps until the worker, or the driver, wakes this caller, or `until` then. False: it does not
/// wait here any more.
fn sleeps(caller: &CallerWord, id: JobId, until: Instant) -> bool {
    let left = until.saturating_duration_since(Instant::now());
    if left.is_zero() {
        return false;
    }
    let Some(asleep) = caller.fall_asleep(id.number()) else {
        return false;
    };
    park::blocked(|| caller.sleep(asleep, left));
    true
}

/// Whether user code runs when the worker's records are read: a hook, or a subscriber.
fn runs_hooks(link: &Link) -> bool {
    link.output.is_captured() || link.sends_events
}

impl Driver {
    /// Receives what the worker has answered, whether it has sent that or not.
    fn receive_all(&mut self, slot: SlotId) {
        let peer = self.links[slot.0].as_ref().map(|link| &link.peer);
        if peer.is_some_and(super::peer::Peer::has_sent) {
            self.receive(slot, false); // sent before the worker knew that a caller polls
        }
        self.read_unsent(slot);
    }

    /// Waits for the end of the frame, which comes right after the result, so that the next call
    /// finds the worker idle.
    fn see_end(&mut self, slot: SlotId) {
        for _ in 0..SOON {
            let link = self.links[slot.0].as_ref();
            if !self.sched.only_ends(slot) {
                return;
            }
            if link.is_some_and(|link| link.peer.has_records_ahead()) {
                self.read_unsent(slot);
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
        for slot in (0..self.links.len()).map(SlotId) {
            let link = self.links[slot.0].as_ref();
            let more = link.is_some_and(|link| link.peer.has_records_ahead() && !runs_hooks(link));
            if more && self.sched.only_ends(slot) {
                self.read_unsent(slot);
            }
        }
        self.read_mail(mail, now);
        if !self.sched.dispatch_work(now) {
            return false;
        }
        self.callers_active_until = now + CALLERS_ACTIVE_FOR;
        self.carry_out_actions();
        self.dismiss_callers();
        let sends = self
            .links
            .iter()
            .flatten()
            .any(|link| link.peer.stream.is_sending());
        // (Work that stays in the queue waits for a worker, whose answer will wake the driver.)
        !sends && !self.needs_driver(now)
    }

    /// Wakes the callers that sleep until their workers have answered, where a worker has not the
    /// caller's frame alone any more.
    pub(super) fn dismiss_callers(&self) {
        for (slot, link) in (0..).map(SlotId).zip(&self.links) {
            if let Some(ledger) = link.as_ref().and_then(|link| link.peer.ledger()) {
                let sole = self.sched.sole_of(slot).map(JobId::number);
                ledger.caller().dismiss(sole, caller_word::wake);
            }
        }
    }

    /// Whether something is left for the driver, now or before it wakes by itself.
    fn needs_driver(&self, now: Instant) -> bool {
        let sleeps = |due| self.sleeps_until.is_none_or(|until| until > due + LATENESS);
        let due = self.sched.next_due();
        self.sched.leaves_work() || due.is_some_and(|due| due <= now || sleeps(due))
    }

    /// Called after another thread has done some of the driver's work: wakes the driver if needed.
    pub(super) fn wake_if_needed(&self) {
        if self.needs_driver(Instant::now()) {
            self.shared.mailbox.wake();
        }
    }

    /// The worker that has the job `id` and nothing else, its ledger, and how much of its output is
    /// known.
    fn sole(&self, id: JobId) -> Option<(SlotId, Arc<Ledger>, u64)> {
        let slot = self.sched.sole(id)?;
        let link = self.links[slot.0].as_ref()?;
        // Without a process descriptor that shows the worker's death, only the end of its output
        // does.
        let watched = !runs_hooks(link) && link.child.process.is_some();
        let ledger = link.peer.ledger().filter(|_| watched)?.clone();
        Some((slot, ledger, link.peer.stream.known))
    }
}
