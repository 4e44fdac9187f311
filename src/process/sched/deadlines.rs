//! What is due: the scheduler's clock.
//!
//! 1. A *condemned* item (cancelled, out of time, or of a job that has failed) has been told so by
//!    its token; if it still runs after the grace period its worker is killed, everything else
//!    having been taken back from it (W4).
//! 2. An item with a *timeout* has its time from when it starts, which its worker notes
//!    beside the gate. The parent looks when the earliest possible time is up, and
//!    again when the item that it finds running then is due: one look per timeout
//!    and frame, not one per item. What the worker has finished is read first, so an
//!    item that ended in time is never blamed.
//!    A frame with ends of channels that was taken back before it had begun condemns its worker, too, with a grace of its own:
//!    the ends are open until the worker hears of it, and one that has been stopped never does (W25).
//! 3. Where *each* item is waited for, or frames that should have been *brief* stand behind one
//!    that is not, the results of a frame that takes longer than it should are
//!    read ahead, and what of it has not begun is taken back, so that the frame ends with
//!    the item that runs: nothing that is done waits for what is not.
//! 4. A worker that does not begin its first frame is nudged, once: it may sleep although it says that it does not (`fast`).
//!
//! **Cost.** What is due next is looked for in the windows, at each turn. That is no more than [`GATES`](crate::sys::ledger::GATES)
//! frames a worker, mostly two, however many calls with a timeout there are: those that wait for a worker have no
//! deadline yet. A heap would have to be told of each frame that comes, lands or is judged, which is more than what it saves.
//!
//! Tests: `sim`, `tests/process/calls.rs`.

use std::time::{Duration, Instant};

use super::workers::{ENDS_LIMIT, Kind, PATIENCE, State, Wanted, Worker};
use super::{Action, Sched};
use crate::task::TaskError;

/// How long until a look is repeated that came too early.
const AGAIN: Duration = Duration::from_millis(1);

impl Sched {
    /// Who may be about to be judged: what these have done meanwhile, sent or not, should be
    /// heard before `tick`.
    pub(crate) fn overdue(&self, now: Instant) -> impl Iterator<Item = usize> {
        let late = move |worker: &Worker| {
            let condemned = worker.condemned.is_some_and(|(at, _)| at <= now);
            let mut checks = worker.window.iter().filter_map(|flight| flight.check_at);
            condemned
                || checks.any(|at| at <= now)
                || worker.hurries_at().is_some_and(|at| at <= now)
        };
        (0..self.workers.len()).filter(move |index| late(&self.workers[*index]))
    }

    /// When `tick` has something to do, if nothing happens before.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        let mut first = self.stop.and_then(|stop| stop.limit);
        let mut due = |at: Option<Instant>| first = first.into_iter().chain(at).min();
        // What was not due at the last tick may be by now; what was, was done then.
        let news = |at: Option<Instant>| at.filter(|at| *at > self.ticked);
        let waits = self.queue.is_empty() && self.workers.iter().any(Worker::is_idle);
        for (index, worker) in self.workers.iter().enumerate() {
            due(worker.limit());
            due(worker.condemned.map(|(at, _)| at));
            due(worker.hurries_at().map(|at| at.max(self.ticked + AGAIN)));
            due(news(worker.deaf_at()));
            if let State::Down(Some(at)) = worker.state {
                due(self.wants(index).then_some(at));
            }
            for flight in &worker.window {
                due(flight.check_at);
            }
            let ripe = news(Some(worker.ripe()));
            if waits && (0..worker.window.len()).any(|f| worker.begun(f) < worker.window[f].end) {
                due(ripe);
            }
        }
        first
    }

    /// A condemned item has had its time: its worker dies, and nobody else with it (W4).
    pub(super) fn execute_condemned(&mut self, index: usize, now: Instant) {
        let Some((at, sequence)) = self.workers[index].condemned else {
            return;
        };
        if at > now {
            return;
        }
        self.take_all_back(index, now);
        let worker = &mut self.workers[index];
        worker.condemned = None;
        let position = worker
            .window
            .iter()
            .position(|flight| flight.sequence == sequence);
        let Some(position) = position else { return };
        let runs = |worker: &Worker, place: usize| worker.window[place].done < worker.begun(place);
        let wanted = |place: usize| place != position && worker.window[place].is_wanted();
        let innocent = (0..worker.window.len()).any(|place| wanted(place) && runs(worker, place));
        if innocent {
            // Its end is on the way: nothing runs beside the condemned.
            worker.condemned = Some((now + PATIENCE, sequence));
        } else if runs(worker, position) || worker.window[position].end == 0 || worker.is_plain() {
            // (It may have to be killed because it has not begun: its ends are open as long as it lives. A plain one
            // has nothing else, and may not have said what it has begun.)
            worker.fruitful = true;
            self.kill(index, now);
        }
    }

    /// What runs of the flight at `place` is told that nobody wants it, and has its grace.
    pub(super) fn condemn(&mut self, index: usize, place: usize, now: Instant) {
        let worker = &mut self.workers[index];
        let sequence = worker.window[place].sequence;
        let known = worker.condemned.is_some_and(|(_, frame)| frame == sequence);
        // What a plain worker has got it may have begun.
        let begun = match worker.is_plain() {
            true => worker.window[place].end,
            false => worker.begun(place),
        };
        if !known && worker.window[place].done < begun {
            worker.condemned = Some((now + self.policy.grace, sequence));
            worker.disown(place);
            match worker.is_plain() {
                true => self.ask_back(index, place, true),
                false => self.actions.push(Action::Ring(index)),
            }
        } else if !known
            && worker.window[place].kind == Kind::WithEnds
            && worker.window[place].end == 0
        {
            // It closes them when it hears of the frame, and others wait for that.
            worker.condemned = Some((now + ENDS_LIMIT, sequence));
        }
    }

    /// Ends what has run for too long.
    pub(super) fn expire(&mut self, index: usize, now: Instant) {
        for place in 0..self.workers[index].window.len() {
            let flight = &self.workers[index].window[place];
            if flight.check_at.is_none_or(|at| at > now) {
                continue;
            }
            let next = self.judge(index, place, now);
            if let Some(flight) = self.workers[index].window.get_mut(place) {
                flight.check_at = next;
            }
        }
    }

    /// Whether what runs of the flight at `place` has run for too long; when to look again.
    fn judge(&mut self, index: usize, place: usize, now: Instant) -> Option<Instant> {
        let worker = &self.workers[index];
        let flight = &worker.window[place];
        let job = self.jobs.get(&flight.job).filter(|_| flight.is_wanted())?;
        let timeout = job.work.wishes.timeout?;
        let begun = worker.begun(place);
        if begun == flight.done {
            // What begins later has its time from then on.
            return Some(now + timeout.max(AGAIN));
        }
        let noted = self.epoch.instant(worker.started_at(place));
        let due = noted.map_or(now, |at| at.min(now)) + timeout;
        if due > now {
            return Some(due);
        }
        if begun - flight.done > 1 {
            return Some(now + AGAIN); // results of others are on their way
        }
        let (id, at, each) = (
            flight.job,
            flight.next_index(),
            flight.wanted == Wanted::Each,
        );
        self.take_back(index, place, 0, now);
        let worker = &mut self.workers[index];
        if worker.begun(place) != begun {
            return Some(now + AGAIN); // it has just ended
        }
        self.counters.lock().timed_out += 1;
        if each {
            // Nothing else is left of this frame.
            worker.window[place].wanted = Wanted::Nothing;
            if let Some(job) = self.jobs.get_mut(&id) {
                job.frames -= 1;
            }
            self.condemn(index, place, now);
        }
        self.item_error(id, at, TaskError::TimedOut, now);
        self.finish_if_settled(id);
        None
    }
}
