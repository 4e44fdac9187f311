//! What the scheduler knows. (Who decides with it: the other files of `sched`.)

mod costs;
mod jobs;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use self::costs::Costs;
use self::jobs::Jobs;
use super::orders::Action;
use super::policy::{FOR_EVER, How, Policy, Stop};
use super::sent_frame::SentFrame;
use super::stats::Counters;
use super::workers::{INITIALIZE, Stage, Worker};
use crate::chaos;
use crate::process::job::Job;
use crate::process::job::reading::Chore;
use crate::process::wire::Frame;
use crate::task::{TaskError, TaskReport};
use trefoil_os::host::shared_clock::Epoch;

/// The scheduler of one pool.
pub(crate) struct Sched {
    pub(in crate::process::sched) jobs: Jobs,
    pub(in crate::process) workers: Vec<Worker>,
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
    pub(in crate::process::sched) heard: Vec<usize>,
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
    /// While another thread hands over decoded values: the job that ends with them, which that
    /// thread must finish.
    pub(in crate::process::sched) ending: Option<Option<Box<Job>>>,
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
            workers: Worker::first(workers, &policy, epoch.instant),
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
            ending: None,
        }
    }

    /// Takes the actions that must be carried out now.
    pub(in crate::process) fn actions(&mut self) -> Vec<Action> {
        std::mem::take(&mut self.actions)
    }

    /// Whether there is such a job.
    pub(in crate::process) fn has(&self, id: u64) -> bool {
        self.jobs.has(id)
    }

    /// Counts the workers that have items of calls which have not been answered.
    pub(in crate::process) fn count_busy(&self) {
        self.count_dropped(0);
    }

    /// The same, and so many items that will not run.
    pub(in crate::process) fn count_dropped(&self, items: u64) {
        let runs = |frame: &SentFrame| frame.job != INITIALIZE && frame.done < frame.end;
        let is_busy = |worker: &&Worker| worker.frames.iter().any(runs);
        let busy = self.workers.iter().filter(is_busy).count();
        let starting = self.workers.iter().filter(|worker| worker.is_on_its_way());
        let leaves = |worker: &&Worker| {
            matches!(
                worker.stage,
                Stage::Retiring | Stage::Leaving(_) | Stage::Dying { .. }
            )
        };
        let (starting, leaving) = (starting.count(), self.workers.iter().filter(leaves).count());
        let mut stats = self.counters.stats.lock();
        stats.pending = stats.pending.saturating_sub(items);
        (stats.busy, stats.starting, stats.leaving) = (busy, starting, leaving);
    }

    /// Sends a worker a frame without items.
    pub(in crate::process) fn send_message(&mut self, worker: usize, frame: &Frame<'_>) {
        let action = Action::Send(worker, frame.head(0), None);
        self.actions.push(action);
    }

    /// The name of a worker, for messages.
    pub(in crate::process) fn worker_name(&self, worker: usize) -> String {
        let pid = self.workers[worker].pid;
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

    pub(in crate::process) fn dismiss_worker(&mut self, index: usize) {
        self.workers[index].stage = Stage::Leaving(self.now);
        self.send_message(index, &Frame::Bye);
    }

    pub(in crate::process) fn kill_worker(&mut self, index: usize) {
        let worker = &mut self.workers[index];
        if !worker.stage.is_down() && !matches!(worker.stage, Stage::Dying { .. }) {
            worker.stage = Stage::Dying {
                first: self.now,
                last: self.now,
                dismissed: matches!(worker.stage, Stage::Leaving(_)),
            };
            self.actions.push(Action::Kill(index));
        }
    }
}
