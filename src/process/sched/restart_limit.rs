//! How often workers may die within a period (`max_restarts`) before the pool or actor gives up.
//!
//! The period and the number are the user's; without them there is no such limit, and a pool gives
//! up only when its workers die without having done anything (`give_up.rs`). Every
//! worker that died counts, whatever its death was blamed on; one that was sent away does not. An
//! actor's pool has one worker for each copy, so its limit is this one, too.
//!
//! Tests: `tests/process/actors.rs`.

use std::time::Instant;

use super::Sched;
use crate::task::{TaskError, WorkerExit};

impl Sched {
    /// The error of everything, if this death is one too many within the policy's period.
    pub(super) fn died_too_often(
        &mut self,
        exit: &WorkerExit,
        counts: bool,
        now: Instant,
    ) -> Option<TaskError> {
        let (times, period) = self.policy.max_restarts.filter(|_| counts)?;
        self.deaths.push_back(now);
        self.deaths
            .retain(|death| now.saturating_duration_since(*death) <= period);
        if self.deaths.len() <= times as usize {
            return None;
        }
        let mut exit = exit.clone();
        let deaths = self.deaths.len();
        let limit = format!(
            "deaths of workers within {period:?}: {deaths}; the pool's limit (`max_restarts`) is {times}"
        );
        exit.note = Some(match exit.note.take() {
            Some(note) => format!("{note}; {limit}"),
            None => limit,
        });
        Some(TaskError::WorkerDied(Box::new(exit)))
    }
}
