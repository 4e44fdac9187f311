//! What the driver of a pool on Slurm has of its workers.
//!
//! **Job.** The driver asks here for each slot that it wants to fill, takes the workers that have
//! connected (`state`), and learns how one has ended. The drop ends the thread that attends to the
//! jobs (`attend`), and waits for it; then the connections.
//!
//! Tests:
//! `crates/trefoil-machines/tests/slurm/contract.rs::{workers_come_with_the_work_and_go_without,
//! a_death_costs_what_ran_and_says_how}`.

use std::io;
use std::sync::Arc;
use std::thread;
use std::time::Instant;

use super::state::SlurmState;
use crate::common::dial::Listener;
use trefoil::process::launch::{Ending, Launched};
use trefoil::{Completer, Task};

/// The signal by which Slurm ends a job.
const TERM: i32 = rustix::process::Signal::TERM.as_raw();

/// The pool's side of the launcher.
#[derive(Debug)]
pub(crate) struct Connected {
    pub(crate) shared: Arc<SlurmState>,
    pub(crate) thread: Option<thread::JoinHandle<()>>,
    /// Accepts the workers, and forwards their streams.
    pub(crate) _listener: Listener,
}

impl Connected {
    /// Waits until the first worker has connected, or the pool has failed.
    pub(crate) fn first(&self) -> Result<(), String> {
        let mut state = self.shared.lock();
        loop {
            if !state.ready.is_empty() {
                return Ok(());
            }
            if let Some((words, _)) = &state.failed {
                return Err(words.clone());
            }
            self.shared.come.wait(&mut state);
        }
    }

    pub(crate) fn start(&self, index: usize) -> Task<io::Result<Launched>> {
        let (completer, task) = Completer::new();
        let mut state = self.shared.lock();
        state.awaited = 0;
        // One that came when the slot did not want it any more: its stream is closed, so it ends.
        if let Some(unused) = state.present.remove(&index) {
            state.ended.push((unused.submitted, Instant::now()));
        }
        state.asked.insert(index, completer);
        state.serve();
        let waits = state.asked.contains_key(&index);
        drop(state);
        if waits {
            self.shared.bell.ring();
        }
        task
    }

    pub(crate) fn kill(&self, index: usize) {
        if let Some(worker) = self.shared.lock().present.get(&index) {
            worker.arrived.end();
        }
    }

    pub(crate) fn ended(&self, index: usize, ending: &mut Ending) {
        let mut state = self.shared.lock();
        let Some(worker) = state.present.remove(&index) else {
            return;
        };
        let ended = (worker.submitted.clone(), Instant::now());
        state.ended.push(ended);
        drop(state);
        self.shared.bell.ring();
        let job = format!("job {}", worker.job);
        let supposed = format!(
            "Slurm may have ended {job} (`scancel`, a limit of time or memory), or its node is lost"
        );
        worker.arrived.explain(ending, &job, &supposed);
        if ending.signal == Some(TERM) {
            ending.note = Some(supposed);
        }
    }
}

impl Drop for Connected {
    /// The thread ends the workers and the jobs.
    fn drop(&mut self) {
        self.shared.lock().is_over = true;
        self.shared.bell.ring();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
