//! The thread that submits a pool's jobs to Slurm, and checks them.
//!
//! **Job.** In each turn it submits jobs for the slots that the driver asks for, and asks `squeue`
//! about jobs that have not called back: one may have ended, wait in Slurm's queue, or need a copy
//! of the executable (`node_copy`). It ends what no slot wants. Then it sleeps until the driver
//! rings, a copy has ended, or one of these is due.
//!
//! A job ends with its worker, unless Slurm does not notice that (its daemon for the job was
//! killed, the node is out of reach): then it would hold its place for minutes. So the job of each
//! worker that has ended is ended here after [`LINGER`].
//!
//! A job that ends before it has called back, or has run for too long by then ([`silence`]) and is
//! ended here, is replaced by another, since the fault may be its node's. After [`MOST_EARLY_ENDS`]
//! of them, or if there is no other job, the callers get its last words, with what to do about
//! them.
//!
//! Tests: below;
//! `crates/trefoil-machines/tests/slurm/errors.rs::{a_job_that_runs_and_says_nothing_is_replaced,
//! what_slurm_refuses}`.

use std::collections::HashMap;
use std::io;
use std::process::Child;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags};

use super::guard::JobGuard;
use super::jobs::{Jobs, Listed, Way};
use super::node_copy::{NodeCopy, trouble};
use super::sending::{Copies, Sent};
use super::state::{SlurmState, State, UNUSED_LIMIT};
use crate::common::poll::poll_patiently;

/// How often `squeue` is asked about jobs that have not connected: at first, and at most.
const SQUEUE_INTERVALS: [Duration; 2] = [Duration::from_millis(500), Duration::from_secs(5)];

/// How long callers get the last failure, until jobs are submitted again. It outlasts the pauses
/// between five failed starts in a row (84 ms), after which a slot is given up
/// (`process/sched/back_off.rs`). So the words of one failure reach the callers, before jobs are
/// submitted again.
const FAILURE_PAUSE: Duration = Duration::from_secs(1);

/// How often it is checked whether anything is too many.
const CHECK_INTERVAL: Duration = Duration::from_secs(5);

/// How long a job may run without calling back: a fifth of the pool's patience, so that a pool
/// with no other worker has time for another job; but at least ten seconds, which a worker may take
/// to reach `init`. (Not where it may wait for a copy of the executable.)
fn silence(patience: Duration) -> Duration {
    (patience / 5).max(Duration::from_secs(10))
}

/// How long a job may take to end after its worker.
const LINGER: Duration = Duration::from_secs(2);

/// The pool fails after this many jobs ended before they connected, while none has connected.
const MOST_EARLY_ENDS: usize = 5;

/// The thread that submits jobs, and checks them.
pub(crate) struct Attending {
    shared: Arc<SlurmState>,
    jobs: Jobs,
    /// Cancels the batch jobs if this process is killed.
    guard: Option<JobGuard>,
    copies: Option<Copies>,
    /// Why a job was ended here before it called back, last.
    why_ended: Option<String>,
    /// The clients of `srun`.
    clients: HashMap<String, Child>,
    numbers: u64,
    /// When to ask `squeue` next about the jobs that have not connected, and the pause before that.
    look: Option<(Instant, Duration)>,
    /// Since when `squeue` lists the jobs that run and have not connected.
    silent: HashMap<String, Instant>,
    /// Jobs that `squeue` did not list last time.
    missing: Vec<String>,
    /// Since when the driver has requested no worker.
    unasked: Option<Instant>,
    /// How many jobs in a row have ended before they connected.
    early: usize,
    /// Until when nothing is submitted, because a job ended before it connected.
    rests: Option<Instant>,
}

impl Attending {
    pub(crate) fn new(shared: Arc<SlurmState>, jobs: Jobs, copy: Option<NodeCopy>) -> Self {
        Self {
            shared,
            jobs,
            guard: None,
            copies: copy.map(Copies::new),
            why_ended: None,
            clients: HashMap::new(),
            numbers: 0,
            look: None,
            silent: HashMap::new(),
            missing: Vec::new(),
            unasked: None,
            early: 0,
            rests: None,
        }
    }

    pub(crate) fn attend(mut self) {
        while !self.shared.lock().is_over {
            self.supply();
            self.look();
            self.tidy();
            self.end_left();
            self.sleep();
        }
        self.finish();
    }

    fn sleep(&self) {
        let state = self.shared.lock();
        let now = Instant::now();
        let fails = state
            .failed
            .as_ref()
            .map(|(_, since)| *since + FAILURE_PAUSE);
        let is_calm = state.ready.is_empty() && state.pending.is_empty() && state.wanted() == 0;
        let lingers = state.ended.iter().map(|(_, since)| *since + LINGER).min();
        drop(state);
        let look = self.look.map(|(at, _)| at);
        let next_check = (!is_calm).then_some(now + CHECK_INTERVAL);
        let rests = self.rests.filter(|at| now < *at);
        let until = fails
            .into_iter()
            .chain(look)
            .chain(next_check)
            .chain(rests)
            .chain(lingers)
            .min();
        let timeout = until.map(|at| at.saturating_duration_since(now));
        let mut fds = vec![PollFd::new(&self.shared.bell, PollFlags::IN)];
        fds.extend(self.copies.iter().flat_map(Copies::ends));
        poll_patiently(&mut fds, timeout);
        if !fds[0].revents().is_empty() {
            self.shared.bell.silence();
        }
    }

    /// Submits jobs for the slots that the driver has requested.
    fn supply(&mut self) {
        let now = Instant::now();
        let mut state = self.shared.lock();
        if state
            .failed
            .as_ref()
            .is_some_and(|(_, since)| *since + FAILURE_PAUSE <= now)
        {
            state.failed = None;
        }
        state.serve();
        let there = state.ready.len() + state.pending.len();
        let more = state.wanted().saturating_sub(there);
        let failed = state.failed.is_some();
        drop(state);
        if more == 0 || failed || self.rests.is_some_and(|at| now < at) {
            return;
        }
        self.rests = None;
        let submitted = match self.jobs.way {
            Way::Sbatch => self.submit(more),
            Way::Srun => self.start(more),
        };
        match submitted {
            Ok(ids) => {
                self.shared.lock().await_jobs(ids, now);
                self.look = Some((now + SQUEUE_INTERVALS[0], SQUEUE_INTERVALS[0]));
            }
            Err(error) => self
                .shared
                .fail(format!("Slurm takes no more jobs: {error}")),
        }
    }

    /// Submits `many` batch jobs, behind their guard.
    fn submit(&mut self, many: usize) -> io::Result<Vec<String>> {
        if self.guard.is_none() {
            self.guard = Some(JobGuard::new(&self.jobs.name, &self.jobs.directory)?);
        }
        self.jobs.submit(many)
    }

    /// Starts `many` clients of `srun`, or as many as can be started: an error counts if there is
    /// none.
    fn start(&mut self, many: usize) -> io::Result<Vec<String>> {
        let mut ids = Vec::new();
        for _ in 0..many {
            let id = format!("s{}", self.numbers);
            self.numbers += 1;
            match self.jobs.start(&id) {
                Ok(client) => drop(self.clients.insert(id.clone(), client)),
                Err(error) if ids.is_empty() => return Err(error),
                Err(_) => break,
            }
            ids.push(id);
        }
        Ok(ids)
    }

    /// Finds out whether the jobs that have not connected still can.
    fn look(&mut self) {
        let now = Instant::now();
        let mut unsent = Vec::new();
        for (id, sent) in self.copies.iter_mut().flat_map(Copies::ended) {
            match sent {
                Sent::Yes => {}
                Sent::NotWaiting => {
                    let soon = now + SQUEUE_INTERVALS[0]; // it may wait for one in a moment
                    self.look = self.look.map(|(at, pause)| (at.min(soon), pause));
                }
                Sent::No(words) => unsent.push((id, words)),
            }
        }
        // (Without a next time no job is pending, and so none that a failed copy could concern.)
        let is_time = |at: Instant| at <= now || !unsent.is_empty();
        let Some((at, pause)) = self.look.filter(|(at, _)| is_time(*at)) else {
            return;
        };
        let state = self.shared.lock();
        let pending = state.pending.clone();
        let here: Vec<String> = state.here().map(|worker| worker.job.clone()).collect();
        drop(state);
        let is_alone = here.is_empty();
        let Some(since) = pending.values().min() else {
            self.look = None;
            return;
        };
        let pause = (pause * 2).min(SQUEUE_INTERVALS[1]);
        self.look = Some((at.max(now) + pause, pause));
        let mut ended = Vec::new();
        for (id, client) in &mut self.clients {
            if pending.contains_key(id) && !matches!(client.try_wait(), Ok(None)) {
                ended.push(id.clone());
            }
        }
        for (id, words) in unsent {
            if here.contains(&id) {
                continue; // another job has got one there
            }
            self.jobs.cancel_these(std::slice::from_ref(&id));
            self.why_ended = Some(words);
            ended.extend(pending.contains_key(&id).then_some(id));
        }
        let listed = self.jobs.list();
        self.send(listed.as_deref().unwrap_or_default());
        if let (Ok(listed), Way::Sbatch) = (&listed, self.jobs.way) {
            let is_listed = |id: &String| listed.iter().any(|job| job.id == *id);
            let missing: Vec<String> = pending
                .keys()
                .filter(|id| !is_listed(id))
                .cloned()
                .collect();
            // (A job that ended just now may have connected, and not been answered yet: it must be
            // missing twice.)
            ended.extend(
                missing
                    .iter()
                    .filter(|id| self.missing.contains(id))
                    .cloned(),
            );
            self.missing = missing;
        }
        let silent = self.find_silent(&pending, listed.as_deref().unwrap_or_default(), now);
        // (While Slurm answered, some may have called back.)
        let silent = self.shared.lock().give_up(silent);
        self.end_jobs(&silent);
        for id in silent {
            let limit = silence(self.shared.patience);
            self.why_ended = Some(format!(
                "it runs, and has said nothing for {limit:?}: is its node in order, and does \
                 `main` wait for something before `trefoil::init()`? `patience` gives it more time \
                 (job {id})"
            ));
            ended.push(id);
        }
        if let Some(first) = ended.first() {
            let words = self.last_words(first);
            let words = format!("a job of this pool has ended before it called back: {words}");
            let mut state = self.shared.lock();
            for id in &ended {
                state.pending.remove(id);
            }
            let is_served = !state.ready.is_empty() || !state.present.is_empty();
            let others = is_served || !state.pending.is_empty();
            drop(state);
            // The fault may be that node's only: after a pause, another job replaces this one.
            self.early = if is_served {
                0
            } else {
                self.early + ended.len()
            };
            if others && self.early < MOST_EARLY_ENDS {
                self.rests = Some(now + SQUEUE_INTERVALS[1]);
                return;
            }
            self.early = 0;
            return self.shared.fail(words);
        }
        if is_alone && now >= *since + self.shared.patience {
            let waits = listed.unwrap_or_default();
            let words = match waits.first() {
                Some(job) => format!(
                    "Slurm has not started a worker in {:?}: job {} is {} ({}); ask for less, or \
                     for another partition, with `per_worker`, or wait longer with `patience`",
                    self.shared.patience, job.id, job.state, job.reason
                ),
                None => format!("no worker has called back in {:?}", self.shared.patience),
            };
            self.jobs.cancel(false);
            self.shared.lock().pending.clear();
            self.end_clients();
            self.shared.fail(words);
        }
    }

    /// Sends the executable to nodes that may lack it.
    fn send(&mut self, listed: &[Listed]) {
        let Some(copies) = &mut self.copies else {
            return;
        };
        for job in self.jobs.running(listed) {
            let state = self.shared.lock();
            let is_here = state.here().any(|worker| worker.job == job.id);
            drop(state);
            if !is_here {
                copies.begin(&job.id, &job.node);
            }
        }
    }

    /// Why a job has ended before it called back.
    fn last_words(&mut self, id: &str) -> String {
        if let Some(words) = self.why_ended.take() {
            return words;
        }
        let said = self.jobs.last_words(id);
        if self.copies.is_some() {
            let ended = match self.jobs.way {
                Way::Sbatch => self.jobs.ended(id),
                Way::Srun => None,
            };
            let (code, node) = ended.unzip();
            let on = node
                .map(|node| format!(" (job {id} on {node})"))
                .unwrap_or_default();
            if let Some(words) = trouble(code, said.as_deref().unwrap_or_default()) {
                return format!("{words}{on}");
            }
            if let (None, Some(code)) = (&said, code) {
                return format!(
                    "its exit code is {code}, and what it said is not kept where the executable is \
                     copied: `Slurm::srun()` shows it, or a `directory` that the nodes share{on}"
                );
            }
        }
        match said {
            Some(words) => why(&words),
            None => format!(
                "it has left no words: {} must be a directory that the nodes have, too (choose \
                 one with `directory`)",
                self.jobs.directory.display()
            ),
        }
    }

    /// Ends workers that no slot wants.
    fn tidy(&mut self) {
        let now = Instant::now();
        let mut state = self.shared.lock();
        if state.wanted() > 0 {
            self.unasked = None;
        }
        let unasked = *self.unasked.get_or_insert(now);
        if state.wanted() == 0 && now >= unasked + UNUSED_LIMIT {
            let State { ready, ended, .. } = &mut *state;
            ready.retain(|worker| {
                let stays = now < worker.since + UNUSED_LIMIT;
                ended.extend((!stays).then(|| (worker.submitted.clone(), now)));
                stays
            });
        }
        let surplus = state.wanted() == 0 && !state.pending.is_empty();
        drop(state);
        if surplus && now >= unasked + UNUSED_LIMIT {
            self.jobs.cancel(true);
            if let (Ok(listed), Way::Sbatch) = (self.jobs.list(), self.jobs.way) {
                let is_listed = |id: &String| listed.iter().any(|job| job.id == *id);
                let mut state = self.shared.lock();
                state.pending.retain(|id, _| is_listed(id));
            }
            self.unasked = Some(now);
        }
        let pending = &self.shared.lock().pending;
        self.clients
            .retain(|id, client| pending.contains_key(id) || matches!(client.try_wait(), Ok(None)));
    }

    /// The jobs that have run for too long without calling back: Slurm may have lost them.
    fn find_silent(
        &mut self,
        pending: &HashMap<String, Instant>,
        listed: &[Listed],
        now: Instant,
    ) -> Vec<String> {
        if self.copies.is_some() {
            return Vec::new();
        }
        let runs = |id: &&String| listed.iter().any(|job| job.runs_as(id));
        let since = |id: &String| self.silent.get(id).copied().unwrap_or(now);
        let silent = pending.keys().filter(runs);
        self.silent = silent.map(|id| (id.clone(), since(id))).collect();
        let late = self
            .silent
            .iter()
            .filter(|(_, since)| now >= **since + silence(self.shared.patience));
        late.map(|(id, _)| id.clone()).collect()
    }

    /// Ends jobs, by the ids or the clients with which they were submitted.
    fn end_jobs(&mut self, ids: &[String]) {
        match self.jobs.way {
            Way::Sbatch if ids.is_empty() => {}
            Way::Sbatch => self.jobs.cancel_these(ids),
            // (Slurm does not end a lost step that is cancelled, but it does if its client goes.)
            Way::Srun => {
                for id in ids {
                    drop(
                        self.clients
                            .get_mut(id)
                            .and_then(|client| client.stdin.take()),
                    );
                }
            }
        }
    }

    /// Ends the jobs that are left although their workers ended some time ago.
    fn end_left(&mut self) {
        let now = Instant::now();
        let mut state = self.shared.lock();
        let ended = &mut state.ended;
        let left = ended.extract_if(.., |(_, since)| *since + LINGER <= now);
        let left: Vec<String> = left.map(|(id, _)| id).collect();
        drop(state);
        self.end_jobs(&left);
    }

    fn end_clients(&mut self) {
        for client in self.clients.values_mut() {
            drop(client.stdin.take()); // which ends it
        }
        for (_, mut client) in self.clients.drain() {
            let _ = client.wait();
        }
    }

    /// Ends all workers and jobs, and removes the files.
    fn finish(mut self) {
        let shared = self.shared.clone();
        let mut state = shared.lock();
        // (The client of an ended worker is ended below.)
        let left = self.jobs.way == Way::Sbatch && !state.ended.is_empty();
        let others = !state.pending.is_empty() || !state.present.is_empty();
        let some = others || !state.ready.is_empty() || left;
        state.here().for_each(|worker| worker.arrived.end());
        let rest = std::mem::take(&mut *state);
        state.is_over = true; // for those who still dial
        drop(state);
        drop(rest);
        self.end_clients();
        if let Some(copies) = self.copies.take() {
            copies.end();
        }
        if some {
            self.jobs.cancel(false);
        }
        if let Some(guard) = self.guard.take() {
            guard.release();
        }
        self.jobs.clean();
    }
}

/// What to do about a job that ended before it connected; `words` is the last line that it wrote.
fn why(words: &str) -> String {
    let knows = |some: &str| words.contains(some);
    let way = if knows("another build") {
        "the executable there is another build of the program: put this one there (`executable`)"
    } else if knows("cannot be reached") {
        "its node does not reach this machine: name another address with `listen`, or open the \
         port there"
    } else if knows("GLIBC") || knows("shared librar") {
        "its node lacks libraries of this program: build it for older ones, or statically \
         (`--target x86_64-unknown-linux-musl`)"
    } else if knows("key") {
        "it does not have the pool's key: does something before the program read its standard \
         input?"
    } else if knows("No such file") || knows("not found") || knows("annot open") {
        "a file is missing on its node: the executable and the `directory` must be on a file \
         system that the nodes share (where there is none, `copy_executable`)"
    } else {
        "does `main` begin with `trefoil::init()`?"
    };
    format!("{way} ({words})")
}

#[cfg(all(test, not(miri)))]
mod tests {
    use parking_lot::{Condvar, Mutex};

    use super::super::jobs::Secret;
    use super::*;
    use crate::common::bell::Bell;

    /// The second client's file cannot be made.
    #[test]
    #[cfg_attr(miri, ignore = "it starts a process")]
    fn clients_that_were_started_are_known_after_an_error() {
        let directory =
            std::env::temp_dir().join(format!("trefoil-clients-{}", std::process::id()));
        let jobs = Jobs {
            way: Way::Srun,
            arguments: vec!["--no-such-option".into()],
            name: "program-0000000c".to_owned(),
            directory: directory.clone(),
            is_shared: false,
            secret: Secret::default(),
        };
        std::fs::create_dir_all(jobs.output("s1")).unwrap();
        let shared = SlurmState {
            state: Mutex::default(),
            come: Condvar::new(),
            bell: Bell::new().unwrap(),
            patience: Duration::ZERO,
        };
        let mut attending = Attending::new(Arc::new(shared), jobs, None);
        assert_eq!(attending.start(3).unwrap(), ["s0"]);
        assert!(attending.clients.contains_key("s0"));
        attending.end_clients();
        attending.numbers = 1;
        assert!(attending.start(3).is_err());
        let _ = std::fs::remove_dir_all(directory);
    }

    #[test]
    fn last_words_say_what_to_do() {
        let words = why(
            "trefoil: a worker could not begin: the pool at 10.0.0.1:7: it does not have the key",
        );
        assert!(words.contains("standard input"), "{words}");
        assert!(why("/bin/x: No such file or directory").contains("share"));
        assert!(why("hello").contains("`trefoil::init()`"));
    }
}
