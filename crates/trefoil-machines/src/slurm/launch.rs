//! What the driver of a pool on Slurm has of its workers.
//!
//! **Job.** The driver asks here for each slot that it wants to fill, takes the workers that have
//! connected (`state`), and reads how one has ended. The drop ends the thread that attends to
//! the jobs (`attend`), and waits for it.
//!
//! Tests: `crates/trefoil-machines/tests/slurm/`.

use std::io;
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use super::handshake::Until;
use super::report::Report;
use super::state::SlurmState;
use std::thread;
use trefoil::process::{Ending, Launched};
use trefoil::{Completer, Task};

/// How long the report of a worker's exit may come after the end of its stream.
const EXIT_REPORT_DELAY: Duration = Duration::from_millis(50);

/// The pool's side of the engine.
#[derive(Debug)]
pub(crate) struct Connected {
    pub(crate) shared: Arc<SlurmState>,
    pub(crate) thread: Option<thread::JoinHandle<()>>,
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
            state = self
                .shared
                .come
                .wait(state)
                .unwrap_or_else(PoisonError::into_inner);
        }
    }

    pub(crate) fn start(&self, index: usize) -> Task<io::Result<Launched>> {
        let (completer, task) = Completer::new();
        let mut state = self.shared.lock();
        state.awaited = 0;
        // One that came when the slot did not want it any more.
        let unused = state.present.remove(&index);
        state.ready.extend(unused);
        state.asked.insert(index, completer);
        state.serve();
        let waits = state.asked.contains_key(&index);
        drop(state);
        if waits {
            self.shared.bell.ring();
        }
        task
    }

    pub(crate) fn ended(&self, index: usize, ending: &mut Ending) {
        let mut state = self.shared.lock();
        let Some(arrived) = state.present.remove(&index) else {
            return;
        };
        let ended = (arrived.submitted.clone(), Instant::now());
        state.ended.push(ended);
        drop(state);
        self.shared.bell.ring();
        // The limit is for all of it, however slowly bytes come.
        let told = Report::read(Until::new(&arrived.tells, EXIT_REPORT_DELAY));
        arrived.end();
        let job = &arrived.job;
        // (If the pool itself shut the stream down, output of the worker may be lost.)
        // What the worker had sent arrives before an orderly end of its connection.
        ending.loses_records = ending.was_reset || arrived.is_cut;
        match told {
            Some(report) => {
                (ending.code, ending.signal) = (report.code, report.signal);
                ending.stderr = report.stderr;
            }
            None if arrived.is_cut => {
                ending.note = Some(format!("the node of job {job} does not answer any more"));
            }
            None => {
                ending.note = Some(format!(
                    "its connection has ended: Slurm may have ended job {job} (`scancel`, a limit \
                     of time or memory), or its node is lost"
                ));
            }
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
