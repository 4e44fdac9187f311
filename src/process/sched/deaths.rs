//! A worker has died: which of its items are blamed, run again, or given to another worker.
//!
//! What had not begun goes back to the front of its job, for any worker (W3). Each item that had
//! begun and not ended is run again if its call asked for that (`Job::attempted`), otherwise it
//! fails with [`TaskError::WorkerDied`]: one item, unless the worker has broken the protocol, so
//! that nothing is known of what it ran.
//!
//! How many deaths end the pool (`max_restarts`): `died_too_often` here. When a slot is
//! filled again: `back_off`. How the worker died, and why: `verdict`.
//!
//! Tests: `src/process/sched/simulated.rs`, `tests/process/chaos.rs`.

use std::time::Instant;

use super::sent_frame::SentFrame;
use super::state::Sched;
use super::{finish, retry, rules, shutdown, succession};
use crate::events::{self, Trouble};
use crate::process::job::Job;
use crate::process::job::item_id::ItemId;
use crate::process::job::job_id::INITIALIZE;
use crate::process::job::slot_id::SlotId;
use crate::task::{Cause, TaskError, WorkerExit};

impl Sched {
    /// Worker `slot` is gone, and all its output has been received. `broken`: it broke the
    /// protocol, so nothing is known of what it ran.
    pub(crate) fn died(&mut self, slot: SlotId, exit: &WorkerExit, broken: bool, now: Instant) {
        self.now = now;
        let worker = &mut self.workers[slot];
        let counts = exit.pid != 0 && !worker.was_dismissed();
        if counts {
            self.counters.stats.lock().died += 1;
        }
        let (mut frames, mut running) = (Vec::new(), false);
        for frame in worker.frames.take_all() {
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
            running = true;
        }
        if running {
            worker.bears_fruit();
        }
        events::worker_died(worker.pid());
        if counts && exit.cause != Cause::Pool {
            events::noticed(Trouble::WorkerDied);
        }
        let killed = rules::shows_nothing(self, exit);
        self.workers[slot].died(killed, self.now);
        succession::has_died(self, slot);
        for (begun, mut frame) in frames.into_iter().rev() {
            if frame.wanted {
                lost(self, &frame, begun, exit);
            }
            if let Some(piece) = frame.watch().again.take() {
                retry::run_again(self, frame.job, piece);
            }
        }
        if self.policy.one_process.is_some() && !self.jobs.all().any(Job::is_read) {
            // The unfinished items of a `Process` will never end.
            shutdown::break_down(self, &TaskError::WorkerDied(Box::new(exit.clone())));
        } else if let Some(error) = died_too_often(self, exit, counts) {
            shutdown::break_down(self, &error);
        } else if rules::is_hopeless(self, slot) {
            shutdown::give_up(self, exit);
        }
    }
}

/// `frame` is lost with its worker; `begun` of its items had begun.
fn lost(sched: &mut Sched, frame: &SentFrame, begun: u32, exit: &WorkerExit) {
    let stopped = sched.is_stopped();
    let id = frame.job;
    let Some(job) = sched.jobs.get_mut(id) else {
        return;
    };
    job.wanted_frames -= 1;
    if begun < frame.end {
        job.put_back(frame.piece.part(begun as usize, frame.end as usize));
    }
    let (mut blamed, mut retried) = (Vec::new(), Vec::new());
    for item in (frame.done..begun).rev() {
        let at = frame.piece.first() + item as usize;
        let of_job = ItemId { job: id, at };
        if job.attempted(at) && !stopped {
            job.pause(at);
            retried.push(frame.piece.part(item as usize, item as usize + 1));
        } else {
            blamed.push((of_job, TaskError::WorkerDied(Box::new(exit.clone()))));
        }
    }
    sched.jobs.enqueue(id, true, sched.now);
    for piece in retried {
        retry::run_again(sched, id, piece);
    }
    for (item, error) in blamed.into_iter().rev() {
        finish::item_error(sched, item, error, Some(frame.piece.clone()));
    }
    if stopped {
        // A plain worker may die before it has answered what it has not begun.
        finish::fail_waiting(sched, id, &TaskError::Cancelled);
    }
    finish::end_or_queue(sched, id);
}

/// The error of everything, if this death is one too many within the policy's period.
fn died_too_often(sched: &mut Sched, exit: &WorkerExit, counts: bool) -> Option<TaskError> {
    let (times, period) = sched.policy.max_restarts.filter(|_| counts)?;
    sched.deaths.push_back(sched.now);
    sched
        .deaths
        .retain(|death| sched.now.saturating_duration_since(*death) <= period);
    if sched.deaths.len() <= times as usize {
        return None;
    }
    let mut exit = exit.clone();
    let deaths = sched.deaths.len();
    let limit = format!(
        "deaths of workers within {period:?}: {deaths}; the pool's limit (`max_restarts`) is {times}"
    );
    exit.add_note(limit);
    Some(TaskError::WorkerDied(Box::new(exit)))
}
