//! The scheduler: which worker runs which items, without any I/O.
//!
//! **Job.** A state machine. The driver reports events to it (a job, bytes, a death, the time) and
//! carries out its [`Action`]s. It uses no socket, process or clock, so a simulation can drive it.
//!
//! **Order of the files.** Each calls those before it in this list, and none behind it:
//!
//! | file | what it knows or decides |
//! |---|---|
//! | `policy`, `slot_id`, `orders`, `stats` | settings; a place for a worker; what goes in and out; counters |
//! | `sent_frame`, `frame_control`, `back_off` | a frame; what a worker can be told, on each path; pauses after deaths |
//! | `sent_frames`, `workers` | owners: the frames of a worker; a worker, its stages and times |
//! | `state/` | owners: the slots (`slots`), the jobs, their queue and their times (`jobs`), costs, who completes a task (`job_taker`), actions |
//! | `succession` | who replaces whom |
//! | `rules/` | rules of single features, and the moments at which they are asked |
//! | `cancel`, `failed_items`, `finish` | the running item is unwanted; errors that are completed elsewhere; an item and its job end |
//! | `take_back`, `retry` | items come back; items run again |
//! | `send`, `start`, `submit` | a frame leaves; a worker begins; a call comes |
//! | `shutdown`, `verdict`, `retire`, `deaths` | a pool ends; why a worker died; it is replaced; who is blamed |
//! | `place`, `take_over`, `timeouts` | who gets what; from whom it is taken; what has taken too long |
//! | `replies` | what each record of a worker means |
//! | `due` | what is due, and when: all times are there |
//! | `caller`, this file | what callers and the driver call |
//!
//! **Protocol.**
//! 1. Jobs with waiting items are in one queue. The job at the front sends a frame to the ready
//!    worker with the fewest frames, and then goes behind the other jobs of its priority: a long
//!    `map` does not delay later calls. (`place`)
//! 2. An idle worker takes over items that another has not begun, if that one has run its frame for
//!    a millisecond; eight times as long for each time that they moved before any had begun.
//! 3. When a worker dies, the item that it was running fails or is run again; the rest goes back to
//!    the front of the job (`deaths`).
//! 4. When a running item is cancelled or times out, its worker is notified at once. After the
//!    grace period everything else is taken back, and the worker is killed if it still runs the
//!    item (`timeouts`).
//! 5. A new worker runs the initializers, if there are any, before anything else (job 0).
//! 6. What single features want beside that, they decide at the moments that `rules` lists.
//! 7. All workers are started at the first tick, with or without work.
//!
//! **Invariants.**
//! - **W3** Whether an item has begun is decided by its gate alone. An item is sent again only
//!   after it was recalled through the gate, or after its worker is gone and the gate says that it
//!   had not begun. (A plain worker has its own gates: its answer to a recall counts, and after a
//!   death its reports.) So no item runs twice, unless its worker has died and it may be retried.
//! - **W4** A worker is killed because of a cancelled item only while all its other gates are
//!   closed, so no other item is lost. (A plain one that does not confirm that within a second is
//!   stopped, and has reported what it had begun.)
//! - **W5** Every job ends exactly once: it leaves the table when it is finished.
//!
//! Tests: `src/process/sched/simulated.rs` (seeded simulation),
//! `tests/process/pool.rs::four_accidents_cost_four_items`.

pub(super) mod back_off;
mod caller;
mod cancel;
mod deaths;
mod due;
mod failed_items;
mod finish;
pub(super) mod frame_control;
mod orders;
mod place;
pub(super) mod policy;
mod replies;
mod retire;
mod retry;
mod rules;
mod send;
mod sent_frame;
mod sent_frames;
mod shutdown;
#[cfg(test)]
mod simulated;
pub(super) mod slot_id;
mod start;
mod state;
pub(super) mod stats;
mod submit;
mod succession;
mod take_back;
mod take_over;
mod timeouts;
pub(super) mod verdict;
pub(super) mod workers;

use crate::process::job::job_id::JobId;
use std::sync::Arc;
use std::time::Instant;

use self::back_off::StartFailure;
use self::frame_control::FrameControl;
pub(crate) use self::orders::{Action, Feed};
pub(crate) use self::policy::{How, Policy, Stop};
use self::slot_id::SlotId;
pub(crate) use self::state::Sched;
use self::workers::Worker;
use super::job::Job;
use super::job::item_id::ItemId;
use super::job::reading::{Chore, DecodedPart, Extras, Reading};
use super::job::results::Values;
use super::wire::Broken;
use crate::task::{TaskError, WorkerExit};

/// What the driver, and a caller in its place, reports and asks.
impl Sched {
    /// Worker `slot` is gone, and all its output has been received. `broken`: it broke the
    /// protocol, so nothing is known of what it ran.
    pub(crate) fn died(&mut self, slot: SlotId, exit: &WorkerExit, broken: bool, now: Instant) {
        self.now = now;
        deaths::died(self, slot, exit, broken);
    }

    /// A new job.
    pub(crate) fn submit(&mut self, id: JobId, job: Box<Job>, now: Instant) {
        self.now = now;
        submit::submit(self, id, job);
    }

    /// More items of a job.
    pub(crate) fn feed(&mut self, feed: Feed, now: Instant) {
        self.now = now;
        submit::feed(self, feed);
    }

    /// From now on there are from `least` to `most` workers.
    pub(crate) fn set_workers(&mut self, least: usize, most: usize, now: Instant) {
        self.now = now;
        rules::set_workers(self, least, most);
    }

    /// No worker can ever be had, as this error says: everything fails, now and later.
    pub(crate) fn break_down(&mut self, error: &TaskError, now: Instant) {
        self.now = now;
        shutdown::break_down(self, error);
    }

    /// The error that everything fails with, if the pool has broken down.
    pub(crate) fn failure(&self) -> Option<&TaskError> {
        self.broken.as_ref()
    }

    /// Whether nothing is due, so that work can be dispatched as usual.
    pub(crate) fn nothing_is_due(&self, now: Instant) -> bool {
        caller::nothing_is_due(self, now)
    }

    /// Whether something is left that only the driver may do, besides what is due.
    pub(crate) fn leaves_work(&self) -> bool {
        caller::leaves_work(self)
    }

    /// Takes the chores of the job `id` that its caller may carry out.
    pub(crate) fn chores_of(&mut self, id: JobId) -> Vec<Chore> {
        caller::chores_of(self, id)
    }

    /// Dispatches work, and does nothing else of what `tick` does, so no task can end. False: one
    /// must end first, because its time is over.
    pub(crate) fn dispatch_work(&mut self, now: Instant) -> bool {
        self.now = now;
        caller::dispatch_work(self)
    }

    /// The worker that has an item of the job `id` and nothing else.
    pub(crate) fn sole(&self, id: JobId) -> Option<SlotId> {
        caller::sole(self, id)
    }

    /// The job of the only frame that worker `slot` has, if that is wanted.
    pub(crate) fn sole_of(&self, slot: SlotId) -> Option<JobId> {
        caller::sole_of(self, slot)
    }

    /// Whether the only record that worker `slot` can still send is the end of its frame.
    pub(crate) fn only_ends(&self, slot: SlotId) -> bool {
        caller::only_ends(self, slot)
    }

    /// Time has passed, or something has happened: does whatever is due.
    pub(crate) fn tick(&mut self, now: Instant) {
        self.now = now;
        due::tick(self);
    }

    /// When `tick` has something to do, if nothing happens earlier.
    pub(crate) fn next_due(&self) -> Option<Instant> {
        due::next_due(self).map(|(at, _)| at)
    }

    /// The error of an item is complete, as far as possible. Returns a job that this thread must
    /// end.
    pub(crate) fn reported(
        &mut self,
        item: ItemId,
        error: TaskError,
        now: Instant,
    ) -> Option<Box<Job>> {
        self.now = now;
        finish::reported(self, item, error)
    }

    /// Some values of `reading` have been decoded. Returns values that are not wanted, and a job
    /// that the decoding thread must end.
    pub(crate) fn decoded(
        &mut self,
        reading: &Reading,
        part: DecodedPart,
        now: Instant,
    ) -> (Option<Values>, Option<Box<Job>>) {
        self.now = now;
        finish::decoded(self, reading, part)
    }

    /// For the thread that carries out a `Chore::Finish`: the job, if it has not ended since.
    pub(crate) fn finished(&mut self, id: JobId) -> Option<Box<Job>> {
        finish::finished(self, id)
    }

    /// The task of a job was cancelled and has ended.
    pub(crate) fn cancel(&mut self, id: JobId, now: Instant) {
        self.now = now;
        submit::cancel(self, id);
    }

    /// Worker `slot` has a process, which has not said hello yet.
    pub(crate) fn started(&mut self, slot: SlotId, pid: u32, control: FrameControl, now: Instant) {
        self.now = now;
        start::started(self, slot, pid, control);
    }

    /// Takes the whole records at the front of `bytes`, and returns how many bytes these are.
    /// `owner`: a shared buffer with these bytes, if a reference to it may be kept instead of a
    /// copy.
    pub(crate) fn receive(
        &mut self,
        slot: SlotId,
        bytes: &[u8],
        owner: Option<&Arc<Vec<u8>>>,
        extras: &mut Extras,
        now: Instant,
    ) -> Result<usize, Broken> {
        self.now = now;
        replies::receive(self, slot, bytes, owner, extras)
    }

    /// Takes the whole events at the front of `bytes`, from a worker's pipe for them, and returns
    /// how many bytes these are.
    pub(crate) fn receive_events(
        &self,
        slot: SlotId,
        bytes: &[u8],
        extras: &mut Extras,
    ) -> Result<usize, Broken> {
        replies::receive_events(self, slot, bytes, extras)
    }

    /// The process `pid`, if it is a worker, is to end: another takes its place.
    pub(crate) fn replace(&mut self, pid: u32, now: Instant) {
        self.now = now;
        retire::replace(self, pid);
    }

    /// Begins the end of the pool.
    pub(crate) fn stop(&mut self, stop: Stop, now: Instant) {
        self.now = now;
        shutdown::stop(self, stop);
    }

    /// Whether everything has ended and every worker is gone.
    pub(crate) fn is_over(&self) -> bool {
        shutdown::is_over(self)
    }

    /// The worker of this place, with what the driver may know of it.
    pub(crate) fn worker(&self, slot: SlotId) -> &Worker {
        &self.workers[slot]
    }

    /// How many slots there are.
    pub(crate) fn slots(&self) -> usize {
        self.workers.len()
    }

    /// Worker `slot` has done something, so its death will not be fruitless.
    pub(crate) fn bears_fruit(&mut self, slot: SlotId) {
        self.workers[slot].bears_fruit();
    }

    /// Worker `slot`, which is about to be reported as dead, could not start.
    pub(crate) fn cannot_start(&mut self, slot: SlotId, why: StartFailure) {
        self.workers[slot].cannot_start(why);
    }

    /// A slot that was given up is tried again.
    pub(crate) fn try_again(&mut self, slot: SlotId, now: Instant) {
        let worker = &self.workers[slot];
        if worker.stage().is_down() && worker.is_given_up() {
            let next = Worker::new(worker.number(), now);
            self.workers.replace(slot, next);
        }
    }

    /// A worker will not reach `init`.
    pub(crate) fn failed_to_start(&mut self, slot: SlotId, why: StartFailure, now: Instant) {
        self.now = now;
        shutdown::failed_to_start(self, slot, why);
    }

    /// Takes back all items that a worker has not begun.
    pub(crate) fn take_all_back(&mut self, slot: SlotId, now: Instant) {
        self.now = now;
        take_back::take_all_back(self, slot);
    }

    /// The worker's socket has taken some bytes. A plain worker may not have received yet what was
    /// sent after these, so its answer gets more time.
    pub(crate) fn takes(&mut self, slot: SlotId, now: Instant) {
        self.now = now;
        replies::takes(self, slot);
    }

    /// Kills worker `slot`, unless it has no process or was killed.
    pub(crate) fn kill(&mut self, slot: SlotId, now: Instant) {
        self.now = now;
        self.kill_worker(slot);
    }
}
