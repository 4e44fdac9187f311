//! The state that a pool on Slurm shares with its thread.
//!
//! **Job.** A worker is *asked* for, then *pending* as a job of Slurm's, then *ready* when it has
//! dialled ([`SlurmState::arrive`]), then *present* in a slot, then *ended*. The pool's side
//! (`launch`) asks, takes what is ready, and learns of ends; the thread (`attend`) submits jobs,
//! and ends what is too many or left.
//!
//! Tests: below;
//! `crates/trefoil-machines/tests/slurm/contract.rs::workers_come_with_the_work_and_go_without`,
//! `crates/trefoil-machines/tests/slurm/errors.rs::a_job_that_runs_and_says_nothing_is_replaced`.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::fmt;
use std::io;
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex, MutexGuard};

use crate::common::bell::Bell;
use crate::common::dial::Arrived;
use trefoil::Completer;
use trefoil::process::launch::Launched;

/// How long a worker may wait for a slot that wants it.
pub(crate) const UNUSED_LIMIT: Duration = Duration::from_secs(10);

/// The state that the pool and the thread share.
#[derive(Debug)]
pub(crate) struct SlurmState {
    pub(crate) state: Mutex<State>,
    /// A worker has connected, or the pool has failed.
    pub(crate) come: Condvar,
    pub(crate) bell: Bell,
    pub(crate) patience: Duration,
}

#[derive(Default)]
pub(crate) struct State {
    /// The slots that the driver has requested.
    pub(crate) asked: BTreeMap<usize, Completer<io::Result<Launched>>>,
    /// How many workers the pool's beginning waits for.
    pub(crate) awaited: usize,
    pub(crate) ready: VecDeque<SlurmWorker>,
    /// The jobs that have not connected, and when they were submitted.
    pub(crate) pending: HashMap<String, Instant>,
    /// The workers that have slots, by slot.
    pub(crate) present: HashMap<usize, SlurmWorker>,
    /// The jobs whose workers have ended, by the ids of `pending`, and when they did.
    pub(crate) ended: Vec<(String, Instant)>,
    /// Why the pool gets no workers at present, and since when.
    pub(crate) failed: Option<(String, Instant)>,
    pub(crate) is_over: bool,
}

impl fmt::Debug for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("State").finish_non_exhaustive()
    }
}

impl State {
    /// Gives the workers that are ready to the slots that were requested; or the reason why there
    /// are none.
    pub(crate) fn serve(&mut self) {
        self.asked.retain(|_, completer| !completer.is_cancelled());
        while !self.ready.is_empty() || self.failed.is_some() {
            let Some((index, completer)) = self.asked.pop_first() else {
                return;
            };
            let launched = match (self.ready.pop_front(), &self.failed) {
                (Some(mut worker), _) => {
                    let launched = worker.arrived.launched();
                    self.present.insert(index, worker);
                    launched
                }
                (None, Some((words, _))) => Err(io::Error::other(words.clone())),
                (None, None) => Err(io::ErrorKind::NotFound.into()),
            };
            completer.complete(Ok(launched));
        }
    }

    /// How many workers are wanted that have not called back.
    pub(crate) fn wanted(&self) -> usize {
        self.asked.len().max(self.awaited)
    }

    /// The workers that have called back.
    pub(crate) fn here(&self) -> impl Iterator<Item = &SlurmWorker> {
        self.ready.iter().chain(self.present.values())
    }

    /// Makes these submitted jobs pending, except those that have called back already.
    pub(crate) fn await_jobs(&mut self, ids: Vec<String>, now: Instant) {
        for id in ids {
            if self.here().all(|worker| worker.submitted != id) {
                self.pending.insert(id, now);
            }
        }
    }

    /// Waits no longer for those of these jobs that have not called back, and returns them.
    pub(crate) fn give_up(&mut self, mut ids: Vec<String>) -> Vec<String> {
        ids.retain(|id| self.pending.remove(id).is_some());
        ids
    }
}

/// A worker that has dialled, which waits for a slot or has one.
pub(crate) struct SlurmWorker {
    pub(crate) arrived: Arrived,
    /// The id of the job, or the name of its client, as in `pending`.
    pub(crate) submitted: String,
    /// The id of the job, or of its step, in `scancel`'s syntax.
    pub(crate) job: String,
    pub(crate) since: Instant,
}

impl SlurmWorker {
    fn new(arrived: Arrived) -> Self {
        let name = arrived.hello.name.clone();
        let (submitted, job) = name.split_once('@').unwrap_or((&name, &name));
        Self {
            submitted: submitted.to_owned(),
            job: job.to_owned(),
            arrived,
            since: Instant::now(),
        }
    }
}

impl SlurmState {
    pub(crate) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock()
    }

    /// A worker has dialled.
    pub(crate) fn arrive(&self, arrived: Arrived) {
        let worker = SlurmWorker::new(arrived);
        let mut state = self.lock();
        if state.is_over {
            return;
        }
        state.pending.remove(&worker.submitted);
        state.ready.push_back(worker);
        drop(state);
        self.tell();
    }

    /// Serves the driver, and wakes the thread that builds the pool.
    pub(crate) fn tell(&self) {
        let mut state = self.lock();
        self.come.notify_all();
        state.serve();
    }

    /// Records that no worker can be had at present, and why.
    pub(crate) fn fail(&self, words: String) {
        let mut state = self.lock();
        state.failed = Some((words, Instant::now()));
        drop(state);
        self.tell();
    }
}

#[cfg(all(test, not(miri)))]
mod tests {
    use super::*;

    #[test]
    fn a_worker_that_has_called_back_is_neither_awaited_nor_given_up() {
        let ids = || vec!["7_0".to_owned(), "7_1".to_owned()];
        let mut state = State::default();
        state
            .ready
            .push_back(SlurmWorker::new(Arrived::named("7_0"))); // before `sbatch` has ended
        state.await_jobs(ids(), Instant::now());
        assert_eq!(state.pending.keys().collect::<Vec<_>>(), ["7_1"]);
        assert_eq!(state.give_up(ids()), ["7_1"]);
        assert!(state.pending.is_empty());
        assert!(state.give_up(ids()).is_empty());
    }
}
