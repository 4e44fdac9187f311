//! What the scheduler knows. (Who decides with it: the other files of `sched`.)

mod costs;
mod jobs;
mod slots;

use crate::process::job::job_id::JobId;
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use self::costs::Costs;
use self::jobs::Jobs;
pub(in crate::process::sched) use self::slots::WorkerSlots;
use super::back_off::StartFailure;
use super::orders::Action;
use super::policy::{FOR_EVER, How, Policy, Stop};
use super::stats::Counters;
use super::workers::Worker;
use crate::chaos;
use crate::process::job::Job;
use crate::process::job::item_id::ItemId;
use crate::process::job::reading::Chore;
use crate::process::job::slot_id::SlotId;
use crate::process::wire::Frame;
use crate::task::{TaskError, TaskReport};
use trefoil_os::host::shared_clock::Epoch;

/// The scheduler of one pool.
pub(crate) struct Sched {
    pub(in crate::process::sched) jobs: Jobs,
    pub(in crate::process::sched) workers: WorkerSlots,
    pub(in crate::process::sched) costs: Costs,
    pub(in crate::process::sched) policy: Policy,
    pub(in crate::process::sched) epoch: Epoch,
    pub(in crate::process::sched) counters: Arc<Counters>,
    pub(in crate::process) chaos: chaos::Pool,
    pub(in crate::process::sched) stop: Option<Stop>,
    /// When `tick` was called last: what is due at once is due since then.
    pub(in crate::process::sched) now: Instant,
    /// How long a worker took lately from being asked for to being ready.
    pub(in crate::process::sched) start_takes: Duration,
    /// Workers whose answers were read for what is due now.
    pub(in crate::process::sched) heard: Vec<SlotId>,
    /// The error of an initializer, or of too many deaths: no job can run.
    pub(in crate::process::sched) broken: Option<TaskError>,
    pub(in crate::process::sched) actions: Vec<Action>,
    /// When workers died, if the policy limits that.
    pub(in crate::process::sched) deaths: VecDeque<Instant>,
    /// Chores for other threads.
    pub(in crate::process) chores: Vec<Chore>,
    /// The first detached call that has ended with the pool, and how many there were.
    pub(in crate::process) lost: Option<(TaskReport, usize)>,
    /// The job of a `Process`, which ends when the process has been reaped.
    pub(in crate::process) deferred_job: Option<Box<Job>>,
    /// A thread hands something over, and the job that has ended with it. That thread completes the
    /// job, without the engine's lock, because that runs code of the user's.
    pub(in crate::process::sched) hands_over: bool,
    pub(in crate::process::sched) for_thread: Option<Box<Job>>,
}

impl Sched {
    pub(in crate::process) fn new(
        workers: usize,
        mut policy: Policy,
        counters: Arc<Counters>,
        epoch: Epoch,
    ) -> Self {
        policy.grace = policy.grace.min(FOR_EVER);
        policy.patience = policy.patience.min(FOR_EVER);
        Self {
            jobs: Jobs::default(),
            workers: WorkerSlots::first(workers, &policy, epoch.instant),
            costs: Costs::default(),
            policy,
            epoch,
            chaos: chaos::Pool::new(counters.chaos, workers),
            counters,
            stop: None,
            now: epoch.instant,
            start_takes: Duration::ZERO,
            heard: Vec::new(),
            broken: None,
            actions: Vec::new(),
            deaths: VecDeque::new(),
            chores: Vec::new(),
            lost: None,
            deferred_job: None,
            hands_over: false,
            for_thread: None,
        }
    }

    /// Takes the actions that must be carried out now.
    pub(in crate::process) fn actions(&mut self) -> Vec<Action> {
        std::mem::take(&mut self.actions)
    }

    /// Whether there is such a job.
    pub(in crate::process) fn has(&self, id: JobId) -> bool {
        self.jobs.has(id)
    }

    /// The error that everything fails with, if the pool has broken down.
    pub(in crate::process) fn failure(&self) -> Option<&TaskError> {
        self.broken.as_ref()
    }

    /// The worker of this place, with what the driver may know of it.
    pub(in crate::process) fn worker(&self, slot: SlotId) -> &Worker {
        &self.workers[slot]
    }

    /// How many slots there are.
    pub(in crate::process) fn slots(&self) -> usize {
        self.workers.len()
    }

    /// Worker `slot` has done something, so its death will not be fruitless.
    pub(in crate::process) fn bears_fruit(&mut self, slot: SlotId) {
        self.workers[slot].bears_fruit();
    }

    /// Worker `slot`, which is about to be reported as dead, could not start.
    pub(in crate::process) fn cannot_start(&mut self, slot: SlotId, why: StartFailure) {
        self.workers[slot].cannot_start(why);
    }

    /// A slot that was given up is tried again.
    pub(in crate::process) fn try_again(&mut self, slot: SlotId, now: Instant) {
        let worker = &self.workers[slot];
        if worker.stage().is_down() && worker.is_given_up() {
            let next = Worker::new(worker.number(), now);
            self.workers.replace(slot, next);
        }
    }

    /// Kills worker `slot`, unless it has no process or was killed.
    pub(in crate::process) fn kill(&mut self, slot: SlotId, now: Instant) {
        self.now = now;
        self.kill_worker(slot);
    }

    /// Counts the workers that have items of calls which have not been answered.
    pub(in crate::process) fn count_busy(&self) {
        self.count_dropped(0);
    }

    /// The same, and so many items that will not run.
    pub(in crate::process) fn count_dropped(&self, items: u64) {
        let busy = self.workers.count(|worker| worker.frames.are_busy());
        let starting = self.workers.count(Worker::is_on_its_way);
        let leaving = self.workers.count(Worker::is_ending);
        let mut stats = self.counters.stats.lock();
        stats.pending = stats.pending.saturating_sub(items);
        (stats.busy, stats.starting, stats.leaving) = (busy, starting, leaving);
    }

    /// Sends a worker a frame without items.
    pub(in crate::process::sched) fn send_message(&mut self, worker: SlotId, frame: &Frame<'_>) {
        let action = Action::Send(worker, frame.head(0), None);
        self.actions.push(action);
    }

    /// Which item of which job a worker runs now, as far as its records say: the first that it has
    /// not answered. `None`: it has answered everything.
    pub(in crate::process::sched) fn running(&self, slot: SlotId) -> Option<ItemId> {
        self.workers[slot].frames.front()?.next_item()
    }

    /// The name of a worker, for messages.
    pub(in crate::process::sched) fn worker_name(&self, worker: SlotId) -> String {
        let pid = self.workers[worker].pid();
        match &self.policy.one_process {
            Some(name) => format!("{name} (process {pid})"),
            None => format!("process {pid}"),
        }
    }

    /// Whether nothing new begins any more.
    pub(in crate::process) fn is_stopped(&self) -> bool {
        self.stop.is_some_and(|stop| stop.how >= How::CancelPending)
    }

    /// Whether the pool is killed, so that no caller waits any more.
    pub(in crate::process) fn is_killed(&self) -> bool {
        self.stop.is_some_and(|stop| stop.how == How::Kill)
    }

    pub(in crate::process::sched) fn dismiss_worker(&mut self, slot: SlotId) {
        self.workers[slot].dismiss(self.now);
        self.send_message(slot, &Frame::Bye);
    }

    pub(in crate::process::sched) fn kill_worker(&mut self, slot: SlotId) {
        if self.workers[slot].kill(self.now) {
            self.actions.push(Action::Kill(slot));
        }
    }
}
