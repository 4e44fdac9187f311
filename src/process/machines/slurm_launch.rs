//! What the driver of a pool on Slurm has of its workers.
//!
//! **Job.** The driver asks here for each slot that it wants to fill, takes the workers that have
//! connected (`slurm_state`), and reads how one has ended. The drop ends the thread that attends to
//! the jobs (`slurm_attend`), and waits for it.
//!
//! Tests: below; `tests/slurm/`.

use std::io::{self, Read};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::handshake::Until;
use super::slurm_state::SlurmState;
use crate::loom::thread;
use crate::process::PoolError;
use crate::process::launch::launched::Launched;
use crate::process::launch::raw_program::Program;
use crate::process::launch::{Capabilities, Ending, Launcher};
use crate::process::wire::{Died, Record};
use crate::task::{Completer, Task};

/// How long the report of a worker's exit may come after the end of its stream.
const EXIT_REPORT_DELAY: Duration = Duration::from_millis(50);

/// The pool's side of the engine.
#[derive(Debug)]
pub(crate) struct Connected {
    pub(crate) shared: Arc<SlurmState>,
    pub(crate) thread: Option<thread::JoinHandle<()>>,
    pub(crate) can: Capabilities,
}

impl Connected {
    /// Waits until the first worker has connected, or the pool has failed.
    pub(crate) fn first(&self) -> Result<(), String> {
        let mut state = self.shared.state.lock();
        loop {
            if !state.ready.is_empty() {
                return Ok(());
            }
            if let Some((words, _)) = &state.failed {
                return Err(words.clone());
            }
            state = self.shared.come.wait(state);
        }
    }
}

impl Launcher for Connected {
    fn prepare(&mut self, _: &Program) -> Result<Capabilities, PoolError> {
        Ok(self.can.clone())
    }

    fn start(&self, index: usize) -> Task<io::Result<Launched>> {
        let (completer, task) = Completer::new();
        let mut state = self.shared.state.lock();
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

    fn ended(&self, index: usize, ending: &mut Ending) {
        let mut state = self.shared.state.lock();
        let Some(arrived) = state.present.remove(&index) else {
            return;
        };
        let ended = (arrived.submitted.clone(), Instant::now());
        state.ended.push(ended);
        drop(state);
        self.shared.bell.ring();
        // The limit is for all of it, however slowly bytes come.
        let told = told(Until::new(&arrived.tells, EXIT_REPORT_DELAY));
        arrived.end();
        let job = &arrived.job;
        // (If the pool itself shut the stream down, output of the worker may be lost.)
        // What the worker had sent arrives before an orderly end of its connection.
        ending.loses_records = ending.was_reset || arrived.is_cut;
        match told {
            Some(died) => {
                (ending.code, ending.signal) = (died.code, died.signal);
                ending.stderr = died.stderr;
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
        self.shared.state.lock().is_over = true;
        self.shared.bell.ring();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Reads the holder's report of its worker's exit.
fn told(mut tells: impl Read) -> Option<Died> {
    let mut words = Vec::new();
    let mut buffer = [0; 8192];
    loop {
        if let Ok(Some((Record::Died(died), _))) = Record::decode(&words) {
            return Some(died);
        }
        match tells.read(&mut buffer) {
            Ok(count) if count > 0 && words.len() < buffer.len() => {
                words.extend_from_slice(&buffer[..count]);
            }
            _ => return None,
        }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use crate::process::parent::worker_stderr::{TAIL, text};

    /// What a worker has written need not be UTF-8.
    #[test]
    fn the_report_of_a_worker_that_wrote_anything_is_read() {
        let died = Died {
            code: Some(3),
            stderr: text(&[0xff; TAIL]),
            ..Died::default()
        };
        let report = Record::Died(died.clone()).bytes();
        assert_eq!(told(&report[..]), Some(died));
    }
}
