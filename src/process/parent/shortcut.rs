//! Callers that do the driver's work.
//!
//! **Job.** A call goes from its caller to the driver's thread, to the worker, back to the driver
//! and back to the caller: four wake-ups, each of which costs more than all the rest. Where calls
//! follow closely, none of that is needed.
//!
//! **Protocol.**
//! 1. *There.* A caller that finds the driver asleep hands out the new work itself
//!    ([`Shared::leave`]), if the engine is free and handing out is all that there is to do. The
//!    driver is woken only if it must know earlier than it will look by itself.
//! 2. *In between.* A caller that is about to block for a call which is the only thing that its
//!    worker has looks at the worker's ledger for a moment ([`Shared::help`]), and says so there.
//!    The worker need not send the result then; it looks for its next frame for a moment, sends
//!    what has not been heard, and goes to sleep as ever (`worker`).
//! 3. *Back.* The caller takes the result out of the ledger, as the driver does when it looks
//!    ahead. When it is sent at last, it is known and passed over. If it was sent before the worker
//!    knew that a caller looks, the caller receives it, and the driver finds nothing. So if
//!    anything follows from it that is not the caller's to do, the caller wakes the driver.
//!
//! **Whose code runs.** Under the engine's lock a caller does only what runs no
//! code but its own: in 1. no task can end, in 3. only the one that it waits for. So a lock of the
//! user's that the caller holds cannot stand in the way of another task's callback. Where a
//! worker's output is captured, the hook would run, so there no caller looks. A caller decodes its
//! own result without the lock (`readers`), and only if it waits without a limit.
//!
//! **Bounds.** Looking takes [`LOOK`] at most, on both sides, after a call or an answer, and
//! nothing in an idle pool.
//!
//! **Rejected.** Sleeping on the socket on the caller's thread: the driver sleeps on it, too, and
//! would be woken. A caller that is the driver's deputy until its task has ended: then no thread
//! looks at the others' clock.
//!
//! Tests: `tests/process/speed.rs`, `tests/process/callers.rs`, `checks/tests/shortcut_models.rs`,
//! `sys::ledger`.

use std::sync::Arc;
use std::time::Instant;

use super::driver::{ActingDriver, BEAT, Driver, Fast, LIVELY, Shared};
use super::link::Link;
use super::mailbox::Mail;
use crate::loom::hint;
use crate::process::fast::look::{LOOK, Watching};
use crate::process::fast::path::Ledger;
use crate::process::wire::clock;
use crate::sys::ticks;

/// [`LOOK`] in nanoseconds, with time for the way.
const WATCH: u64 = 40_000;
/// The same on one processor: there a worker often runs before the caller can say that it looks for
/// the result, so what it has said before counts for longer.
const WATCH_ONE: u64 = 400_000;

/// How often to look for what comes in an instant.
const SOON: u32 = 50;

impl Shared {
    /// Delivers new work. If the driver sleeps, and no other caller is at work, it is handed out
    /// here.
    pub(crate) fn leave<const N: usize>(&self, mail: [Mail; N]) -> Result<(), Vec<Mail>> {
        self.mailbox.leave(mail, || {
            let mut engine = self.fast.as_ref().and_then(|_| self.engine.try_lock());
            let driver = engine.as_deref_mut().and_then(Option::as_mut);
            driver.is_some_and(Driver::hand_out)
        })
    }

    /// The caller is about to sleep until the job `id` is `done`: looks for its result for a
    /// moment. `patient`: and decodes it, however long that takes.
    pub(crate) fn help(&self, id: u64, patient: bool, done: &dyn Fn() -> bool) {
        let Some(Fast { watching, .. }) = &self.fast else {
            return;
        };
        if watching.is_pausing() || self.mailbox.is_foreign() {
            return;
        }
        let mut looks = ticks::Looks::new(LOOK);
        let Some((index, ledger, mut known)) = self.sole(id, watching, &mut looks, done) else {
            return;
        };
        let yields = watching.yields;
        let long = if yields { WATCH_ONE } else { WATCH };
        let watch = || ledger.watch(clock::now() + long, yields);
        watch();
        while !looks.are_over() {
            if ledger.has_more(known)
                && let Some(mut engine) = self.engine.try_lock()
            {
                // (It may have gone on elsewhere, and what comes from here is another's.)
                let is_here = |driver: &&mut Driver| driver.sched.sole(id) == Some(index);
                let Some(driver) = engine.as_mut().filter(is_here) else {
                    return; // another thread was quicker
                };
                let _acting = ActingDriver::new();
                if ledger.has_sent(known) {
                    driver.receive(index, false); // before it knew that a caller looks
                }
                driver.look_ahead(index);
                let readings = match patient {
                    true => driver.sched.readings_of(id),
                    false => Vec::new(),
                };
                if !readings.is_empty() {
                    driver.wake_if_needed(); // what is left should not wait until this is decoded
                    drop(engine);
                    readings
                        .into_iter()
                        .for_each(|reading| self.carry_out(reading));
                    engine = self.engine.lock();
                }
                let Some(driver) = engine.as_mut() else {
                    return;
                };
                known = driver.links[index]
                    .as_ref()
                    .map_or(u64::MAX, |link| link.heard);
                let is_over = done();
                if is_over {
                    driver.see_end(index);
                }
                driver.sched.count_busy();
                driver.wake_if_needed(); // it has heard nothing of what was taken in here
                if is_over {
                    watch(); // the next call may follow
                    return;
                }
            }
            if done() {
                return;
            }
            watching.pause();
        }
    }
}

impl Shared {
    /// The worker that has the job `id` and nothing else; waits for a moment until it has it.
    fn sole(
        &self,
        id: u64,
        watching: &Watching,
        looks: &mut ticks::Looks,
        done: &dyn Fn() -> bool,
    ) -> Option<(usize, Arc<Ledger>, u64)> {
        while !done() && !looks.are_over() {
            if let Some(mut engine) = self.engine.try_lock() {
                let engine = engine.as_mut()?;
                // A driver that is just about to read it would do the same.
                if engine.sole(id).is_none() && !self.mailbox.is_empty() && !engine.hand_out() {
                    self.mailbox.wake();
                }
                return engine.sole(id);
            }
            watching.pause();
        }
        None
    }
}

impl Driver {
    /// The worker has said its result, and says that it is done right after it: then the next call
    /// finds it idle.
    fn see_end(&mut self, index: usize) {
        for _ in 0..SOON {
            let link = self.links[index].as_ref();
            if !self.sched.only_ends(index) {
                return;
            }
            if link.is_some_and(Link::has_more) {
                self.look_ahead(index);
            }
            hint::spin_loop();
        }
    }

    /// Hands out what is in the mailbox, if there is nothing else to do. True: the driver need not
    /// be woken.
    fn hand_out(&mut self) -> bool {
        let now = Instant::now();
        if !self.sched.is_calm(now) {
            return false;
        }
        let Some(mail) = self.shared.mailbox.take_if_only_new_work() else {
            return false;
        };
        let _acting = ActingDriver::new();
        for index in 0..self.links.len() {
            let link = self.links[index].as_ref();
            let more = link.is_some_and(|link| link.has_more() && !link.output.is_captured());
            if more && self.sched.only_ends(index) {
                self.look_ahead(index);
            }
        }
        self.read_mail(mail, now);
        self.sched.hand_out(now);
        self.carry_out();
        self.lively = now + LIVELY;
        let sends = self.links.iter().flatten().any(Link::is_sending);
        // (What stays in the queue waits for a worker, whose answer will wake the driver.)
        !sends && !self.oversleeps() && !self.sched.has_errands()
    }

    /// Something is due before the driver looks by itself.
    fn oversleeps(&self) -> bool {
        match (self.sleeps_until, self.sched.deadline()) {
            (_, None) => false,
            (None, Some(_)) => true,
            (Some(until), Some(due)) => until > due + BEAT,
        }
    }

    /// Another thread has been at work: wakes the driver's if that is needed.
    pub(super) fn wake_if_needed(&self) {
        if self.oversleeps() || self.sched.needs_driver(Instant::now()) {
            self.shared.mailbox.wake();
        }
    }

    /// The worker that has the job `id` and nothing else, with its ledger and how much of that is
    /// known.
    fn sole(&self, id: u64) -> Option<(usize, Arc<Ledger>, u64)> {
        let index = self.sched.sole(id)?;
        let link = self.links[index].as_ref()?;
        // (Where there is nothing to tell of its death, the end of its words does.)
        let watched = !link.output.is_captured() && link.process().is_some();
        let fast = link.fast.as_ref().filter(|_| watched)?;
        Some((index, fast.ledger.clone(), link.heard))
    }
}
