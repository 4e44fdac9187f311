//! Readers: threads that decode results which the driver must not decode.
//!
//! **Job.** A `Deserialize` is user code: it may take seconds, or for ever, and so may the
//! destructor of its value. The driver runs neither. It decodes only values that take little time
//! and run no user code (`job::results` says which); for all others it keeps the bytes, as a
//! [`Reading`], and goes on.
//!
//! **Protocol.**
//! 1. The scheduler takes values for its items as usual, and notes a reading. The job does not end
//!    before that is done, unless the job has failed; then its caller does not wait for it. The
//!    attachments of the bytes, and the memory that they refer to, belong to the reading until then
//!    (`Extras`).
//! 2. A caller that waits for its own result, without a limit, does its own readings, on its own
//!    thread: it polls (`shortcut`), or sleeps and is woken ([`PoolState::stand_by`]). All others
//!    go to the pool's *readers*, helper threads that exist while there is something to decode.
//!    What nests too deeply for a caller's stack goes there, too.
//! 3. Each type of result has a queue and readers of its own: one that hangs holds up no other.
//!    There is one reader, which keeps the order; `job::reading` says when another is started. The
//!    driver checks that when it adds chores, and by its clock while some wait.
//! 4. The thread that has decoded values takes the engine's lock to hand them over, in slices of a
//!    millisecond, and releases it before the task is completed: that runs callbacks, and
//!    destructors if the result is not wanted.
//!
//! What a reader runs must not wait for tasks: the thread counts as a driver ([`ActingDriver`])
//! while it decodes, drops values or completes a task. The hook for failed items may
//! (`job::running_hook`).
//!
//! A task whose result is being decoded neither has ended nor runs, so a timeout does not limit it.
//! If it is cancelled, or the pool is killed, it ends at once, and the values of its reading are
//! dropped. Only a `Shutdown::Wait` without a limit waits for a reader.
//!
//! A value may nest as deeply as a reader's stack allows, and so may its destructor. Values without
//! an owner are dropped here, or on the driver's thread, which has as much stack; values that a
//! `Task` or an `Imap` holds are dropped with these, on a stack of any size.
//!
//! **Rejected.** One queue for all types: a few results that hang would hold up everything.
//! Trusting types that were quick so far: the next value may not be. Decoding when the task is
//! joined: callbacks, and tasks that are derived from it, need the value.
//!
//! Tests: `tests/process/callers.rs`, `tests/process/deep.rs`,
//! `tests/process/pool.rs::large_things_both_ways_at_once`.

use crate::process::job::job_id::JobId;
use std::any::TypeId;
use std::sync::Arc;
use std::task::Waker;
use std::time::Instant;

use super::driver::{ActingDriver, Driver, PoolState};
use crate::blocking_threads;
use crate::process::job::Job;
use crate::process::job::item_id::ItemId;
use crate::process::job::reading::{Chore, DecodedPart, Reading};
use crate::process::job::results::Values;
use crate::task::{TaskError, panic};

impl PoolState {
    /// Gives `chores` to the callers that wait for them, or to the readers, and starts other
    /// readers if needed. (Without the engine's lock.)
    pub(super) fn add_chores(self: &Arc<Self>, chores: Vec<Chore>) {
        let now = Instant::now();
        let mut state = self.readers.0.lock();
        let (mut callers, mut left) = (Vec::new(), Vec::new());
        for chore in chores {
            callers.extend(state.add(chore, now));
        }
        for result_type in state.more(now) {
            let theirs = self.clone();
            if blocking_threads::start(move || theirs.serve(result_type)).is_err() {
                // If it would have been the only one, this thread carries out one chore in its
                // place.
                left.extend(state.gives_up(result_type, now));
            }
        }
        drop(state);
        callers.into_iter().for_each(Waker::wake);
        for mut chore in left {
            chore.give_up(); // this thread may be the driver
            self.carry_out(chore, false);
        }
    }

    /// Does the waiting chores of one type, as a reader.
    fn serve(&self, result_type: TypeId) {
        loop {
            let next = self.readers.0.lock().next(result_type, Instant::now());
            match next {
                Some(chore) => self.carry_out(chore, false),
                None => return,
            }
        }
    }

    /// For a caller that waits without a limit, each time before it sleeps: decodes the results of
    /// its job that wait, and leaves its waker for later ones.
    pub(crate) fn stand_by(&self, job: JobId, caller: &Waker) {
        if self.mailbox.is_foreign() {
            return;
        }
        loop {
            let mut state = self.readers.0.lock();
            let Some(chore) = state.take(job) else {
                return state.sleeps(job, caller.clone());
            };
            drop(state);
            self.carry_out(chore, true);
        }
    }

    /// The caller does not wait any more.
    pub(crate) fn step_back(self: &Arc<Self>, job: JobId) {
        if self.mailbox.is_foreign() {
            return;
        }
        let left = self.readers.0.lock().stops_waiting(job);
        if !left.is_empty() {
            self.add_chores(left);
        }
    }

    /// `is_caller`: on a thread that may have less stack than a reader.
    pub(super) fn carry_out(&self, chore: Chore, is_caller: bool) {
        match chore {
            Chore::Read(reading) => self.read(reading, is_caller),
            Chore::Finish(_, job) => self.end_with(|driver| (None, driver.sched.finished(job))),
            Chore::Fail(failed) => {
                let item = failed.of;
                // (It may wait: this thread does not count as a driver here.)
                let error = failed.report(self.counters.pool);
                self.item_has_failed(item, error);
            }
            #[cfg(feature = "backtrace")]
            Chore::Name(naming) => {
                let item = naming.item;
                self.item_has_failed(item, naming.wait());
            }
            Chore::Drop(_, values) => {
                let _acting = ActingDriver::new();
                panic::contain(|| drop(values));
            }
        }
    }

    /// Hands over the error of an item, which is complete now.
    fn item_has_failed(&self, item: ItemId, error: TaskError) {
        self.end_with(|driver| (None, driver.sched.reported(item, error, Instant::now())));
    }

    /// Decodes a reading, and hands the values over. (Without the engine's lock.)
    fn read(&self, mut reading: Reading, is_caller: bool) {
        let _acting = ActingDriver::new();
        loop {
            let Some(part) = reading.next(is_caller) else {
                // A reader decodes it, and has more stack.
                let mut engine = self.engine.lock();
                if let Some(engine) = engine.as_mut() {
                    engine.sched.chores.push(Chore::Read(reading));
                    self.mailbox.wake();
                }
                return;
            };
            let (mut part, mut over) = (Some(part), true);
            self.end_with(|driver| {
                let Some(part) = part.take() else {
                    return (None, None);
                };
                let (unwanted, ended);
                (unwanted, ended, over) = driver.hand_over(&mut reading, part);
                (unwanted, ended)
            });
            panic::contain(|| drop(part)); // (the driver has ended)
            if over {
                return;
            }
        }
    }

    /// Drops the values that are not wanted after `act`, and completes the job that ends with it,
    /// without the engine's lock. If the driver has ended, nothing acts.
    fn end_with(&self, act: impl FnOnce(&mut Driver) -> (Option<Values>, Option<Box<Job>>)) {
        let _acting = ActingDriver::new();
        let mut engine = self.engine.lock();
        let Some(driver) = engine.as_mut() else {
            return;
        };
        let (unwanted, ended) = act(driver);
        driver.finishing += usize::from(ended.is_some());
        driver.wake_if_needed();
        drop(engine);
        panic::contain(|| drop(unwanted));
        let Some(ended) = ended else { return };
        // A reader may have decoded a part, and this thread may be a caller with less stack.
        let result_type = ended.result_type();
        let mut unwanted = ended.finish();
        if let Some(driver) = &mut *self.engine.lock() {
            driver.finishing -= 1;
            let drop = |values| Chore::Drop(result_type, values);
            driver.sched.chores.extend(unwanted.take().map(drop));
            if driver.finishing == 0 && driver.sched.is_over() || !driver.sched.chores.is_empty() {
                self.mailbox.wake();
            }
        }
        panic::contain(|| drop(unwanted));
    }
}

impl Driver {
    /// Takes values of `reading` that other threads have decoded. Returns the values that are not
    /// wanted, the job that ends with them, and whether these were all.
    fn hand_over(
        &mut self,
        reading: &mut Reading,
        part: DecodedPart,
    ) -> (Option<Values>, Option<Box<Job>>, bool) {
        let now = Instant::now();
        let (unwanted, ended) = self.sched.decoded(reading, part, now);
        let over = reading.is_over() || !self.sched.has(reading.job);
        if over
            && let Some((slot, hold)) = reading.sender.take()
            && let Some(link) = &mut self.links[slot.0]
            && Arc::ptr_eq(&link.extras.hold, &hold)
        {
            drop(hold);
            link.peer
                .processed_all_but(link.partial.len(), &mut link.extras);
        }
        (unwanted, ended, over)
    }
}
