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
use super::slurm_state::{REQUEST_INTERVAL, SlurmState};
use crate::loom::thread;
use crate::process::parent::launch::{Launch, Started};
use crate::process::sched::{Elastic, Policy};
use crate::process::wire::{Died, Record};

/// How long the report of a worker's exit may come after the end of its stream.
const EXIT_REPORT_DELAY: Duration = Duration::from_millis(50);

/// The pool's side of the engine.
#[derive(Debug)]
pub(crate) struct Connected {
    pub(crate) shared: Arc<SlurmState>,
    pub(crate) thread: Option<thread::JoinHandle<()>>,
    pub(crate) elastic: Elastic,
    pub(crate) most: usize,
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

impl Launch for Connected {
    fn slots(&self) -> usize {
        self.most
    }

    fn may_start(&self, index: usize, _: &[usize]) -> bool {
        let mut state = self.shared.state.lock();
        if !state.ready.is_empty() || state.failed.is_some() {
            return true;
        }
        let is_new = state.asked.insert(index, Instant::now()).is_none();
        drop(state);
        if is_new {
            self.shared.bell.ring();
        }
        false
    }

    fn start(&self, index: usize) -> io::Result<Started> {
        let mut state = self.shared.state.lock();
        state.asked.remove(&index);
        let Some(arrived) = state.ready.pop_front() else {
            let failed = state.failed.as_ref().map(|(words, _)| words.clone());
            return Err(io::Error::other(failed.unwrap_or_default()));
        };
        let socket = arrived.stream.try_clone()?;
        let number = match arrived.number {
            0 => u32::try_from(index + 1).unwrap_or(u32::MAX),
            number => number,
        };
        state.present.insert(index, arrived);
        Ok(Started {
            socket: socket.into(),
            kept: None,
            child: None,
            output: None,
            words: None,
            pid: number,
        })
    }

    fn machine(&self, index: usize) -> Option<String> {
        let state = self.shared.state.lock();
        let address = state.present.get(&index)?.stream.peer_addr();
        Some(address.ok()?.ip().to_string())
    }

    fn again(&self) -> Duration {
        REQUEST_INTERVAL
    }

    fn woken_by(&self, wake: Box<dyn Fn() + Send + Sync>) {
        self.shared.state.lock().wake = Some(wake);
    }

    fn adjust(&self, policy: &mut Policy) {
        policy.elastic = Some(self.elastic);
    }

    fn exit_report(&self, index: usize, reset: bool) -> (Option<Died>, bool) {
        let mut state = self.shared.state.lock();
        let Some(arrived) = state.present.remove(&index) else {
            return (None, reset);
        };
        let ended = (arrived.submitted.clone(), Instant::now());
        state.ended.push(ended);
        drop(state);
        self.shared.bell.ring();
        // The limit is for all of it, however slowly bytes come.
        let told = told(Until::new(&arrived.tells, EXIT_REPORT_DELAY));
        arrived.end();
        let job = &arrived.job;
        let died = told.unwrap_or_else(|| Died {
            note: match arrived.is_cut {
                true => format!("the node of job {job} does not answer any more"),
                false => format!(
                    "its connection has ended: Slurm may have ended job {job} (`scancel`, a limit \
                     of time or memory), or its node is lost"
                ),
            },
            ..Died::default()
        });
        // (If the pool itself shut the stream down, output of the worker may be lost.)
        (Some(died), reset || arrived.is_cut)
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
