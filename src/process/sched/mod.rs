//! The scheduler: which worker runs which items, without any I/O.
//!
//! **Job.** A state machine. The driver reports events to it (a job, bytes, a death, the time) and
//! carries out its [`Action`]s. It uses no socket, process or clock, so a simulation can drive it.
//!
//! **Protocol.**
//! 1. Jobs with waiting items are in one queue. The job at the front sends a frame to the ready
//!    worker with the fewest frames, and then goes behind the other jobs of its priority: a long
//!    `map` does not delay later calls. (`dispatch`)
//! 2. An idle worker takes over items that another has not begun, if that one has run its frame for
//!    a millisecond; eight times as long for each time that they moved before any had begun.
//! 3. When a worker dies, the item that it was running fails or is run again; the rest goes back to
//!    the front of the job (`deaths`).
//! 4. When a running item is cancelled or times out, its worker is notified at once. After the
//!    grace period everything else is taken back, and the worker is killed if it still runs the
//!    item (`deadlines`).
//! 5. A new worker runs the initializers, if there are any, before anything else (job 0).
//! 6. A job's context goes to a worker before its first frame does (`contexts`), and is forgotten
//!    when the job has ended.
//! 7. An item with ends of channels goes alone, to an idle worker (`ends`).
//! 8. All workers are started at the first tick, with or without work (`wants`).
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
//! Tests: `src/process/sched/simulated.rs` (seeded simulation), `tests/process/pool.rs`.

pub(super) mod back_off;
mod contexts;
mod deadlines;
mod deaths;
mod dispatch;
mod elastic;
mod ends;
mod failed_items;
mod finish;
pub(super) mod peer;
mod replies;
mod retire;
pub(super) mod sent_frame;
mod shutdown;
#[cfg(test)]
mod simulated;
pub(super) mod stats;
mod take_back;
pub(super) mod verdict;
pub(super) mod workers;

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

pub(crate) use self::elastic::Elastic;
use self::peer::Peer;
use self::sent_frame::SentFrame;
use self::stats::Counters;
use self::workers::{INITIALIZE, Stage, Worker};
use super::job::failed_item::OnFailedItem;
use super::job::reading::Chore;
use super::job::{Initializer, Job};
use super::value::chunk::{Chunk, Piece};
use super::wire::Frame;
use crate::chaos;
use crate::task::{TaskError, TaskReport};
use trefoil_os::host::shared_clock::Epoch;

/// The longest grace period: later times might not be representable.
const FOR_EVER: Duration = Duration::from_secs(100 * 365 * 86_400);

const SIGKILL: i32 = 9;

/// What the driver must do.
pub(crate) enum Action {
    Spawn(usize),
    /// The worker that was asked of the launcher is not wanted any more.
    Withdraw(usize),
    /// Send a worker the head of a frame, followed by these items.
    Send(usize, Vec<u8>, Option<Piece>),
    /// Make the worker look at its gates, because the item that it runs is unwanted.
    Ring(usize),
    /// Wake the worker, if it sleeps, or give what forwards its stream something to pass on.
    Nudge(usize),
    Kill(usize),
    /// A killed worker does not die. Unless it is at it, and not `surely`: take back what it has
    /// not begun, and report its death.
    Abandon {
        index: usize,
        surely: bool,
    },
}

/// The settings that decisions depend on.
/// (Its `Default` is not that of a pool, which is in `Settings::new`.)
#[derive(Clone, Debug, Default)]
pub(crate) struct Policy {
    pub(crate) grace: Duration,
    /// How long a plain worker may take to answer how far it got, and any worker to end a frame
    /// that it has answered. If it takes longer, it has been stopped (`SIGSTOP`), or an item
    /// speaks for it.
    pub(crate) patience: Duration,
    /// They run in this order.
    pub(crate) initializers: Vec<Initializer>,
    /// If more workers die within the period, the pool gives up.
    pub(crate) max_restarts: Option<(u32, Duration)>,
    /// A worker is replaced after this many items.
    pub(crate) replace_after: Option<u64>,
    /// The pool has one process, with this name, which is never replaced.
    pub(crate) one_process: Option<Arc<str>>,
    /// The number of workers follows the work.
    pub(crate) elastic: Option<Elastic>,
    /// Gets the items that have failed.
    pub(crate) on_failed: Option<OnFailedItem>,
}

/// More items of a job.
pub(crate) struct Feed {
    pub(crate) id: u64,
    /// The index of the first.
    pub(crate) base: usize,
    pub(crate) chunk: Arc<Chunk>,
    /// These are the last.
    pub(crate) sealed: bool,
    /// The error of the item after them.
    pub(crate) failure: Option<TaskError>,
}

/// Which work still runs when a pool ends; later variants are stronger.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum How {
    /// Everything.
    Wait,
    /// Items that have begun.
    CancelPending,
    /// Nothing.
    Kill,
}

/// The end of a pool.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Stop {
    pub(crate) how: How,
    /// When it becomes [`How::Kill`].
    pub(crate) limit: Option<Instant>,
    /// Nobody has asked for it: the last handle was dropped. Then detached calls that end with the
    /// pool are reported.
    pub(crate) is_drop: bool,
}

impl From<How> for Stop {
    fn from(how: How) -> Self {
        Self {
            how,
            limit: None,
            is_drop: false,
        }
    }
}

/// The scheduler of one pool.
pub(crate) struct Sched {
    jobs: HashMap<u64, Box<Job>>,
    /// Jobs with waiting items, each once, the most urgent first: `(priority, id)`.
    queue: VecDeque<(i32, u64)>,
    pub(crate) workers: Vec<Worker>,
    /// Empty slots from this index on are left empty (`elastic`).
    slots_end: usize,
    /// In an elastic pool: work has waited for long behind what the workers do.
    lags: bool,
    /// How many nanoseconds an item of each function took (`dispatch`).
    item_costs: HashMap<u64, f64>,
    policy: Policy,
    epoch: Epoch,
    counters: Arc<Counters>,
    pub(crate) chaos: chaos::Pool,
    stop: Option<Stop>,
    /// When `tick` was called last.
    ticked: Instant,
    /// The error of an initializer, or of too many deaths: no job can run.
    broken: Option<TaskError>,
    actions: Vec<Action>,
    /// From when on what waits of a job may not begin any more, or the whole job ends:
    /// `(time, id)`. Some may be of jobs that have ended (`forget_limits`).
    limits: BinaryHeap<Reverse<(Instant, u64)>>,
    /// When workers died, if the policy limits that.
    deaths: VecDeque<Instant>,
    /// Items that pause before a retry: until when, and of which job.
    paused: Vec<(Instant, u64, Piece)>,
    /// Chores for other threads.
    pub(crate) chores: Vec<Chore>,
    /// The first detached call that has ended with the pool, and how many there were.
    pub(crate) lost: Option<(TaskReport, usize)>,
    /// The job of a `Process`, which ends when the process has been reaped.
    pub(crate) deferred_job: Option<Box<Job>>,
    /// While another thread hands over decoded values: the job that ends with them, which that
    /// thread must finish.
    ending: Option<Option<Box<Job>>>,
}

impl Sched {
    pub(crate) fn new(
        workers: usize,
        mut policy: Policy,
        counters: Arc<Counters>,
        epoch: Epoch,
    ) -> Self {
        policy.grace = policy.grace.min(FOR_EVER);
        policy.patience = policy.patience.min(FOR_EVER);
        Self {
            jobs: HashMap::new(),
            queue: VecDeque::new(),
            workers: (0..workers).map(|_| Worker::new(epoch.instant)).collect(),
            slots_end: workers,
            lags: false,
            item_costs: HashMap::new(),
            policy,
            epoch,
            chaos: chaos::Pool::new(counters.chaos, workers),
            counters,
            stop: None,
            ticked: epoch.instant,
            broken: None,
            actions: Vec::new(),
            limits: BinaryHeap::new(),
            deaths: VecDeque::new(),
            paused: Vec::new(),
            chores: Vec::new(),
            lost: None,
            deferred_job: None,
            ending: None,
        }
    }

    /// Takes the actions that must be carried out now.
    pub(crate) fn actions(&mut self) -> Vec<Action> {
        std::mem::take(&mut self.actions)
    }

    /// Whether there is such a job.
    pub(crate) fn has(&self, id: u64) -> bool {
        self.jobs.contains_key(&id)
    }

    /// The task of a job was cancelled and has ended.
    pub(crate) fn cancel(&mut self, id: u64, now: Instant) {
        self.fail(id, 0, TaskError::Cancelled, now);
    }

    /// Worker `index` has a process, which has not said hello yet.
    pub(crate) fn started(&mut self, index: usize, pid: u32, peer: Peer, now: Instant) {
        self.counters.stats.lock().started += 1;
        let worker = &mut self.workers[index];
        worker.stage = Stage::Starting(now);
        (worker.pid, worker.peer) = (pid, peer);
    }

    /// Worker `index` has said hello, and runs the right build.
    pub(crate) fn hello(&mut self, index: usize, now: Instant) {
        let worker = &mut self.workers[index];
        if !matches!(worker.stage, Stage::Starting(_)) {
            return;
        }
        worker.front_since = now;
        worker.stage = Stage::Preparing;
        self.prepare(index, now);
    }

    /// A new worker runs the next initializer; after the last one it is ready.
    fn prepare(&mut self, index: usize, now: Instant) {
        let worker = &mut self.workers[index];
        let done = worker.served as usize;
        let next = self.policy.initializers.get(done);
        let Some(initializer) = next.filter(|_| self.broken.is_none()).cloned() else {
            worker.served = 0;
            worker.stage = if self.broken.is_none() {
                Stage::Ready
            } else {
                Stage::Retiring
            };
            return;
        };
        let piece = Piece::whole(initializer.chunk, 0);
        let mut frame =
            worker.next_frame(INITIALIZE, initializer.code.function, piece.clone(), now);
        frame.wanted = false; // of no job
        self.send_frame(index, frame, initializer.code, piece, 0, now);
    }

    /// Time has passed, or something has happened: does whatever is due.
    pub(crate) fn tick(&mut self, now: Instant) {
        let before = std::mem::replace(&mut self.ticked, now);
        let news = |at: Option<Instant>| at.is_some_and(|at| before < at && at <= now);
        let limit = self.stop.and_then(|stop| stop.limit);
        if limit.is_some_and(|limit| limit <= now) {
            self.stop(How::Kill.into(), now);
        }
        self.size_pool(now);
        self.shrink(now);
        for index in 0..self.workers.len() {
            self.kill_overdue(index, now);
            self.check_timeouts(index, now);
            self.kill_silent(index, now);
            if self.workers[index]
                .take_back_at()
                .is_some_and(|at| at <= now)
            {
                self.take_all_back(index, now); // so that items begin in order, if possible
            }
            if news(self.workers[index].nudge_at()) {
                self.workers[index].nudged_at = now;
                self.actions.push(Action::Nudge(index));
            }
            self.dismiss_retired(index, now);
            let worker = &self.workers[index];
            let is_asked = worker.stage == Stage::Asked;
            if worker.limit().is_some_and(|limit| limit <= now) {
                self.time_is_up(index, now);
            } else if worker.stage.start_at().is_some_and(|at| at <= now) && self.wants(index) {
                self.workers[index].stage = Stage::Asked;
                self.actions.push(Action::Spawn(index));
            } else if is_asked && !self.wants(index) {
                self.workers[index].stage = Stage::Down(Some(now));
                self.actions.push(Action::Withdraw(index));
            }
        }
        self.end_late_jobs(now);
        self.end_pauses(now);
        self.dispatch(now);
        self.take_over(now);
        if self.stop.is_some() && self.jobs.is_empty() {
            self.dismiss(now);
        }
        self.size_pool(now);
        self.count_busy();
    }

    /// Whether an empty slot gets a process now. All slots are filled at the first tick, with or
    /// without work; in an elastic pool only the first ones, as many as `size_pool` allows. After a
    /// death a slot is filled at the time that `Worker::died` sets; and not if the slot is given
    /// up, or the pool ends and nothing is queued. (The one process of a `Process` is not replaced
    /// once it has run its item.)
    fn wants(&self, index: usize) -> bool {
        let had_its_item = self.policy.one_process.is_some()
            && (self.deferred_job.is_some() || !self.jobs.is_empty());
        let idle = self.stop.is_none() && !had_its_item && !self.workers[index].is_given_up();
        let waits = self.lags || !self.queue.is_empty();
        self.broken.is_none() && index < self.slots_end && (idle || waits)
    }

    /// Counts the workers that have items of calls which have not been answered.
    pub(crate) fn count_busy(&self) {
        self.count_dropped(0);
    }

    /// The same, and so many items that will not run.
    fn count_dropped(&self, items: u64) {
        let runs = |frame: &SentFrame| frame.job != INITIALIZE && frame.done < frame.end;
        let is_busy = |worker: &&Worker| worker.frames.iter().any(runs);
        let busy = self.workers.iter().filter(is_busy).count();
        let mut stats = self.counters.stats.lock();
        stats.pending = stats.pending.saturating_sub(items);
        stats.busy = busy;
    }

    /// Sends a worker a frame without items.
    fn send_message(&mut self, worker: usize, frame: &Frame<'_>) {
        let action = Action::Send(worker, frame.head(0), None);
        self.actions.push(action);
    }

    /// Queues an item for a retry, after a pause if it has one.
    fn run_again(&mut self, id: u64, piece: Piece, now: Instant) {
        let Some(job) = self.jobs.get_mut(&id) else {
            return;
        };
        let pause = job.pause(piece.first()).min(FOR_EVER);
        self.counters.stats.lock().retried += 1;
        self.paused.push((now + pause, id, piece));
        if self.is_stopped() {
            self.fail_waiting(id, &TaskError::Cancelled, now);
        } else if pause.is_zero() {
            self.end_pauses(now);
        }
    }

    /// Queues the items whose pause is over.
    fn end_pauses(&mut self, now: Instant) {
        if self.paused.is_empty() {
            return;
        }
        let jobs = &self.jobs;
        self.paused.retain(|(_, id, _)| jobs.contains_key(id));
        let over = self.paused.extract_if(.., |(at, ..)| *at <= now);
        for (_, id, piece) in over.collect::<Vec<_>>() {
            if let Some(job) = self.jobs.get_mut(&id) {
                job.resume(piece);
            }
            self.enqueue(id, true);
            self.finish_if_settled(id);
        }
    }
}
