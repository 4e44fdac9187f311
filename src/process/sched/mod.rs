//! Who runs what: the pool's decisions, without any I/O.
//!
//! **Job.** A state machine. The driver tells it what happened (a job was
//! submitted, bytes came, a worker died, time passed) and carries out what it asks
//! for ([`Action`]). It knows no socket, no process and no clock, so that a
//! simulation can drive it through millions of accidents.
//!
//! **Protocol.**
//! 1. Jobs with waiting items stand in one queue. The first gives a frame to the
//!    worker with the emptiest window and goes to the end: a long `map` does not hold up
//!    what comes after it.
//! 2. A frame has as many items as take about a millisecond, by the time that this
//!    function's items took before; one, if that is not known. Near the end
//!    of a job frames get smaller, so that the workers end together.
//! 3. An idle worker takes over what another has not begun, if that one has been at
//!    its frame for a millisecond: no item waits behind a long one
//!    while a worker is free.
//! 4. A worker died: the item that it was running fails, the rest goes back to the
//!    front of the job.
//! 5. A running item was cancelled: its worker is told at once, and after the grace period
//!    everything else is taken back from it, and it is killed if it still runs that item.
//!
//! **Invariants.**
//! - **W3** Whether an item has begun is decided by its gate alone. An item is sent again
//!   only after it was recalled through the gate, or after its worker is gone and the gate
//!   says that it had not begun. So no item runs twice.
//! - **W4** A worker is killed for the sake of a cancelled item only while all its other gates
//!   are closed: no innocent item dies with it.
//! - **W5** Every job ends exactly once: it leaves the table when it is finished.
//!
//! **Rejected.** One queue that the workers read themselves: a worker killed while it holds
//! the lock wedges all, and nobody knows who has what. Batches by
//! count: a factor of a million lies between a tiny item and a long one.
//!
//! Tests: `sim` (seeded simulation: every job ends once, no item runs
//! twice, blame is exact), `tests/process.rs`.

mod hearing;
#[cfg(test)]
mod sim;

use std::collections::{HashMap, VecDeque};
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::chunk::{Chunk, Piece};
use super::crew::{Gated, State, Worker};
use super::job::{Job, Sink};
use super::wire::{self, CodeRef};
use crate::task::TaskError;

/// How much work a frame should hold, in nanoseconds.
const TARGET: f64 = 1e6;
/// The most that a frame may hold.
const MOST_ITEMS: usize = 1 << 16;
const MOST_BYTES: usize = 1 << 20;
/// How long a worker may be at a frame until its other items are taken over.
const PATIENCE: Duration = Duration::from_millis(1);

/// No grace is longer: times behind it might not exist.
const FOR_EVER: Duration = Duration::from_secs(100 * 365 * 86_400);

const SIGKILL: i32 = 9;

/// What the driver is to do.
pub(crate) enum Action {
    Spawn(usize),
    Send {
        worker: usize,
        head: Vec<u8>,
        items: Option<Piece>,
    },
    /// Make the worker look at its gates: something that it runs is unwanted.
    Ring(usize),
    Kill(usize),
}

/// How the pool ends; later ones are stronger.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Stop {
    /// Run everything first.
    Wait,
    /// Cancel what has not begun.
    CancelPending,
    /// The same, and kill what still runs after this time.
    Drop(Instant),
    Kill,
}

/// The scheduler of one pool.
pub(crate) struct Sched {
    jobs: HashMap<u64, Job>,
    /// Jobs with waiting items, each once.
    queue: VecDeque<u64>,
    pub(crate) workers: Vec<Worker>,
    /// Nanoseconds per item, by function.
    pace: HashMap<u64, f64>,
    grace: Duration,
    stop: Option<Stop>,
    actions: Vec<Action>,
}

impl Sched {
    pub(crate) fn new(workers: usize, grace: Duration, now: Instant) -> Self {
        Self {
            jobs: HashMap::new(),
            queue: VecDeque::new(),
            workers: (0..workers).map(|_| Worker::new(now)).collect(),
            pace: HashMap::new(),
            grace: grace.min(FOR_EVER),
            stop: None,
            actions: Vec::new(),
        }
    }

    /// What is to be done now; empties the list.
    pub(crate) fn actions(&mut self) -> Vec<Action> {
        std::mem::take(&mut self.actions)
    }

    pub(crate) fn submit(&mut self, id: u64, code: CodeRef, sink: Box<dyn Sink>) {
        self.jobs.insert(id, Job::new(code, sink));
    }

    /// More items of a job, from index `base` on; `failure` is the error of the item behind them.
    pub(crate) fn feed(
        &mut self,
        id: u64,
        base: usize,
        chunk: Arc<Chunk>,
        sealed: bool,
        failure: Option<TaskError>,
        now: Instant,
    ) {
        let Some(job) = self.jobs.get_mut(&id) else {
            return;
        };
        job.sealed |= sealed;
        let behind = base + chunk.len();
        if !chunk.is_empty() {
            job.feed(Piece::whole(chunk, base));
        }
        if let Some(error) = failure {
            self.fail(id, behind, error, now);
        } else {
            self.enqueue(id, false);
            self.finish_if_settled(id);
        }
    }

    /// The task of a job was cancelled and has ended.
    pub(crate) fn cancel(&mut self, id: u64, now: Instant) {
        self.fail(id, 0, TaskError::Cancelled, now);
    }

    /// The process of `worker` runs; it has yet to say hello.
    pub(crate) fn started(&mut self, worker: usize, pid: u32, gates: Rc<dyn Gated>, now: Instant) {
        self.workers[worker].started(pid, gates, now);
    }

    /// `worker` has said hello and is the right one.
    pub(crate) fn hello(&mut self, worker: usize) {
        let worker = &mut self.workers[worker];
        if matches!(worker.state, State::Starting(_)) {
            worker.state = State::Ready;
        }
    }

    /// The pool is to end.
    pub(crate) fn stop(&mut self, stop: Stop, now: Instant) {
        self.stop = self.stop.max(Some(stop));
        let ids: Vec<u64> = match stop {
            Stop::Wait => return,
            _ => self.jobs.keys().copied().collect(),
        };
        if stop == Stop::Kill {
            for id in ids {
                self.fail(id, 0, TaskError::Cancelled, now);
            }
            for index in 0..self.workers.len() {
                self.kill(index);
            }
            return;
        }
        for worker in 0..self.workers.len() {
            for flight in (0..self.workers[worker].window.len()).rev() {
                self.take_back(worker, flight, 0, now);
            }
        }
        for id in ids {
            if let Some(first) = self.jobs.get(&id).and_then(Job::first_missing) {
                self.fail(id, first, TaskError::Cancelled, now);
            }
        }
    }

    /// Whose condemned item has had its time: what these have said meanwhile should be
    /// heard before `tick` kills them.
    pub(crate) fn overdue(&self, now: Instant) -> impl Iterator<Item = usize> {
        let late = move |worker: &Worker| worker.condemned.is_some_and(|(at, _)| at <= now);
        (0..self.workers.len()).filter(move |index| late(&self.workers[*index]))
    }

    /// Everything has ended and every worker is gone.
    pub(crate) fn is_over(&self) -> bool {
        let down = |worker: &Worker| matches!(worker.state, State::Down(_));
        self.stop.is_some() && self.jobs.is_empty() && self.workers.iter().all(down)
    }

    /// Time has passed, or something has happened: does whatever is due.
    pub(crate) fn tick(&mut self, now: Instant) {
        if matches!(self.stop, Some(Stop::Drop(limit)) if limit <= now) {
            self.stop(Stop::Kill, now);
        }
        for index in 0..self.workers.len() {
            self.execute_condemned(index, now);
            let worker = &mut self.workers[index];
            if worker.limit().is_some_and(|limit| limit <= now) {
                self.kill(index);
            } else if matches!(worker.state, State::Down(Some(at)) if at <= now)
                && self.wants(index)
            {
                self.workers[index].state = State::Dying; // until `started` or `died` says more
                self.actions.push(Action::Spawn(index));
            }
        }
        self.dispatch(now);
        self.take_over(now);
        if self.stop.is_some() && self.jobs.is_empty() {
            self.dismiss(now);
        }
    }

    /// A process should stand in this place: always, unless the pool ends or such processes
    /// do not live.
    fn wants(&self, index: usize) -> bool {
        match self.jobs.is_empty() {
            true => self.stop.is_none() && !self.workers[index].is_given_up(),
            false => true,
        }
    }

    /// When `tick` has something to do, if nothing happens before.
    pub(crate) fn deadline(&self, now: Instant) -> Option<Instant> {
        let mut first: Option<Instant> = match self.stop {
            Some(Stop::Drop(limit)) => Some(limit),
            _ => None,
        };
        let mut due = |at: Option<Instant>| first = first.into_iter().chain(at).min();
        let waits = self.queue.is_empty() && self.workers.iter().any(Worker::is_idle);
        for (index, worker) in self.workers.iter().enumerate() {
            due(worker.limit());
            due(worker.condemned.map(|(at, _)| at));
            if let State::Down(Some(at)) = worker.state {
                due(self.wants(index).then_some(at));
            }
            let ripe = worker.front_since + PATIENCE;
            if waits
                && ripe > now
                && (0..worker.window.len()).any(|f| worker.begun(f) < worker.window[f].end)
            {
                due(Some(ripe));
            }
        }
        first
    }

    /// Sends frames while there is work and room.
    fn dispatch(&mut self, now: Instant) {
        while let Some(&id) = self.queue.front() {
            let roomy = self
                .workers
                .iter()
                .enumerate()
                .filter(|(_, worker)| worker.has_room());
            let Some((index, _)) = roomy.min_by_key(|(_, worker)| worker.window.len()) else {
                return;
            };
            self.queue.pop_front();
            let ready = self
                .workers
                .iter()
                .filter(|worker| worker.state == State::Ready)
                .count();
            let Some(job) = self.jobs.get_mut(&id) else {
                continue;
            };
            job.queued = false;
            let code = job.code;
            let most = frame_size(self.pace.get(&code.function), job, ready);
            let Some(piece) = job.cut(most, MOST_BYTES) else {
                continue;
            };
            job.frames += 1;
            let sequence = self.workers[index].launch(id, code.function, piece.clone(), now);
            let head = wire::batch_head(sequence, code, piece.len() as u64, piece.span());
            self.actions.push(Action::Send {
                worker: index,
                head,
                items: Some(piece),
            });
            self.enqueue(id, false);
        }
    }

    /// Idle workers take over what others have not begun and will not soon.
    fn take_over(&mut self, now: Instant) {
        while self.queue.is_empty() && self.workers.iter().any(Worker::is_idle) {
            let Some((worker, flight, from)) = self.victim(now) else {
                return;
            };
            self.take_back(worker, flight, from, now);
            if self.queue.is_empty() {
                return; // it was begun in this instant
            }
            self.dispatch(now);
        }
    }

    /// The flight with the most items that have not begun, and what to leave of it.
    fn victim(&self, now: Instant) -> Option<(usize, usize, u32)> {
        let mut best: Option<(u32, (usize, usize, u32))> = None;
        for (index, worker) in self.workers.iter().enumerate() {
            if worker.front_since + PATIENCE > now {
                continue;
            }
            for (place, flight) in worker
                .window
                .iter()
                .enumerate()
                .filter(|(_, flight)| flight.live)
            {
                let begun = worker.begun(place);
                let left = flight.end - begun;
                let from = if begun == 0 { 0 } else { begun + left / 2 };
                if left > 0 && best.is_none_or(|(most, _)| most < left) {
                    best = Some((left, (index, place, from)));
                }
            }
        }
        best.map(|(_, victim)| victim)
    }

    /// Takes back what has not begun of a flight, and puts it first in the queue.
    fn take_back(&mut self, worker: usize, place: usize, from: u32, now: Instant) {
        let Some(piece) = self.workers[worker].recall(place, from) else {
            return;
        };
        let flight = &self.workers[worker].window[place];
        if let (true, Some(job)) = (flight.live, self.jobs.get_mut(&flight.job)) {
            let id = flight.job;
            job.put_back(piece);
            self.settle(worker, place, now);
            self.enqueue(id, true);
        }
    }

    /// A cancelled item has had its time: its worker dies, and nobody else with it (W4).
    fn execute_condemned(&mut self, index: usize, now: Instant) {
        let Some((at, sequence)) = self.workers[index].condemned else {
            return;
        };
        if at > now {
            return;
        }
        for flight in (0..self.workers[index].window.len()).rev() {
            self.take_back(index, flight, 0, now);
        }
        let worker = &mut self.workers[index];
        worker.condemned = None;
        let position = worker
            .window
            .iter()
            .position(|flight| flight.sequence == sequence);
        let Some(position) = position else { return };
        let runs = |worker: &Worker, place: usize| worker.window[place].done < worker.begun(place);
        let innocent =
            (0..worker.window.len()).any(|place| place != position && runs(worker, place));
        if innocent {
            // Its end is on the way: nothing runs beside the condemned.
            worker.condemned = Some((now + PATIENCE, sequence));
        } else if runs(worker, position) {
            worker.fruitful = true;
            self.kill(index);
        }
    }

    fn kill(&mut self, index: usize) {
        let worker = &mut self.workers[index];
        if matches!(
            worker.state,
            State::Starting(_) | State::Ready | State::Leaving(_)
        ) {
            worker.state = State::Dying;
            self.actions.push(Action::Kill(index));
        }
    }

    /// Nothing is left to do: the workers go.
    fn dismiss(&mut self, now: Instant) {
        for index in 0..self.workers.len() {
            let worker = &mut self.workers[index];
            match worker.state {
                State::Ready if worker.window.is_empty() => {
                    worker.state = State::Leaving(now);
                    self.actions.push(Action::Send {
                        worker: index,
                        head: wire::bye(),
                        items: None,
                    });
                }
                State::Starting(_) => self.kill(index),
                _ => {}
            }
        }
    }

    /// Puts a job with waiting items into the queue, if it does not stand there.
    fn enqueue(&mut self, id: u64, first: bool) {
        let Some(job) = self.jobs.get_mut(&id) else {
            return;
        };
        if job.items == 0 || std::mem::replace(&mut job.queued, true) {
            return;
        }
        match first {
            true => self.queue.push_front(id),
            false => self.queue.push_back(id),
        }
    }

    /// The item at `at` has ended in `error`: what is behind it does not matter
    /// any more, and what of it runs is condemned.
    fn fail(&mut self, id: u64, at: usize, error: TaskError, now: Instant) {
        let Some(job) = self.jobs.get_mut(&id) else {
            return;
        };
        if job.fail(at, error) {
            for worker in 0..self.workers.len() {
                for place in 0..self.workers[worker].window.len() {
                    let flight = &self.workers[worker].window[place];
                    if flight.job == id && flight.live {
                        let keep = at.saturating_sub(flight.piece.first());
                        drop(
                            self.workers[worker]
                                .recall(place, u32::try_from(keep).unwrap_or(u32::MAX)),
                        );
                        self.settle(worker, place, now);
                    }
                }
            }
        }
        self.finish_if_settled(id);
    }

    /// A flight from which nothing more comes that matters does not count any
    /// more; what it runs is condemned.
    fn settle(&mut self, index: usize, place: usize, now: Instant) {
        let worker = &mut self.workers[index];
        let begun = worker.begun(place);
        let Some(flight) = worker.window.get_mut(place) else {
            return;
        };
        let Some(job) = self.jobs.get_mut(&flight.job) else {
            return;
        };
        let more = flight.done < flight.end && flight.next_index() < job.limit();
        if !flight.live || more {
            return;
        }
        flight.live = false;
        job.frames -= 1;
        let (id, sequence) = (flight.job, flight.sequence);
        let known = worker.condemned.is_some_and(|(_, frame)| frame == sequence);
        if flight.done < begun && !known {
            worker.condemned = Some((now + self.grace, sequence));
            worker.disown(place);
            self.actions.push(Action::Ring(index));
        }
        self.finish_if_settled(id);
    }

    fn finish_if_settled(&mut self, id: u64) {
        if !self.jobs.get(&id).is_some_and(Job::is_settled) {
            return;
        }
        if let Some(job) = self.jobs.remove(&id) {
            job.finish();
        }
    }
}

/// How many items the next frame of `job` should have.
fn frame_size(pace: Option<&f64>, job: &Job, workers: usize) -> usize {
    let Some(pace) = pace else { return 1 };
    let fits = (TARGET / pace.max(1.0)) as usize;
    let tail = match job.sealed {
        true => job.items.div_ceil(2 * workers.max(1)),
        false => usize::MAX,
    };
    fits.min(tail).clamp(1, MOST_ITEMS)
}
