//! A worker has died: which of its items are blamed, run again, or given to another worker.
//!
//! What had not begun goes back to the front of its job, for any worker (W3). Each item that had
//! begun and not ended is run again if its call asked for that (`Job::attempted`), otherwise it
//! fails with [`TaskError::WorkerDied`]: one item, unless the worker has broken the protocol, so
//! that nothing is known of what it ran.
//!
//! How many deaths end the pool (`max_restarts`): `Sched::died_too_often` here. When a slot is
//! filled again: `back_off`. How the worker died, and why: `verdict`.
//!
//! Tests: `src/process/sched/simulated.rs`, `tests/process/chaos.rs`.

use std::time::Instant;

use super::Sched;
use super::sent_frame::SentFrame;
use super::workers::INITIALIZE;
use crate::events::{self, Trouble};
use crate::task::{Cause, TaskError, WorkerExit};

impl Sched {
    /// Worker `index` is gone, and all its output has been received. `broken`: it broke the
    /// protocol, so nothing is known of what it ran.
    pub(crate) fn died(&mut self, index: usize, exit: &WorkerExit, broken: bool, now: Instant) {
        let worker = &mut self.workers[index];
        let counts = exit.pid != 0 && !worker.was_dismissed();
        if counts {
            self.counters.stats.lock().died += 1;
        }
        let (mut frames, mut running) = (Vec::new(), false);
        while let Some(frame) = worker.frames.pop_front() {
            let begun = if broken { frame.end } else { frame.begun() };
            running |= frame.done < begun && frame.job != INITIALIZE;
            frames.push((begun, frame));
        }
        if let (true, false, Some((begun, front))) =
            (exit.cause == Cause::Allocation, running, frames.first_mut())
            && front.wanted
            && front.done < front.end
        {
            // An argument that was too large to be received counts as running. (The kernel may have
            // killed it for what others have allocated.)
            *begun += 1;
            worker.fruitful = true;
        }
        worker.fruitful |= running;
        events::worker_died(worker.pid);
        if counts && exit.cause != Cause::Pool {
            events::noticed(Trouble::WorkerDied);
        }
        // On a cluster each attempt takes long, and workers that need too much memory are killed.
        let killed = matches!(exit.cause, Cause::Outside | Cause::Pool);
        let killed = killed && self.policy.elastic.is_none();
        worker.died(killed, now);
        for (begun, frame) in frames.into_iter().rev() {
            if frame.wanted {
                self.lost(&frame, begun, exit, now);
            }
            if let Some(piece) = frame.watch.again {
                self.run_again(frame.job, piece, now);
            }
        }
        if self.policy.one_process.is_some() && !self.jobs.values().any(|job| job.is_read()) {
            // The unfinished items of a `Process` will never end.
            self.break_down(&TaskError::WorkerDied(Box::new(exit.clone())), now);
        } else if let Some(error) = self.died_too_often(exit, counts, now) {
            self.break_down(&error, now);
        } else if self.is_hopeless(index) {
            self.give_up(exit, now);
        }
    }

    /// `frame` is lost with its worker; `begun` of its items had begun.
    fn lost(&mut self, frame: &SentFrame, begun: u32, exit: &WorkerExit, now: Instant) {
        let stopped = self.is_stopped();
        let id = frame.job;
        let Some(job) = self.jobs.get_mut(&id) else {
            return;
        };
        job.frames -= 1;
        if begun < frame.end {
            job.put_back(frame.piece.part(begun as usize, frame.end as usize));
        }
        let (mut blamed, mut retried) = (Vec::new(), Vec::new());
        for item in (frame.done..begun).rev() {
            let at = frame.piece.first() + item as usize;
            if job.attempted(at) && !stopped {
                job.pause(at);
                retried.push(frame.piece.part(item as usize, item as usize + 1));
            } else {
                blamed.push((at, TaskError::WorkerDied(Box::new(exit.clone()))));
            }
        }
        self.enqueue(id, true);
        for piece in retried {
            self.run_again(id, piece, now);
        }
        for (at, error) in blamed.into_iter().rev() {
            self.item_error(id, at, error, Some(frame.piece.clone()), now);
        }
        if stopped {
            // A plain worker may die before it has answered what it has not begun.
            self.fail_waiting(id, &TaskError::Cancelled, now);
        }
        self.finish_if_settled(id);
    }

    /// The error of everything, if this death is one too many within the policy's period.
    fn died_too_often(
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
        exit.add_note(limit);
        Some(TaskError::WorkerDied(Box::new(exit)))
    }
}
