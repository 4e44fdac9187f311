//! When an item's or a call's time is up, and when its worker is killed for it.
//!
//! 1. An item is *cancelled* by its caller, by its timeout, or because its job has failed. It sees
//!    that in its token. If it still runs after the grace period, everything else is taken back
//!    from its worker, and the worker is killed (W4).
//! 2. An item with a *timeout* is timed from its start. Its worker measures that, and reports the
//!    time of an item that has ended too late, in place of its value or error ([`Record::Late`]).
//!    If the timeout is zero, no item runs. An item that still runs is found here: the worker
//!    records its start in the gate, and the parent takes the time at which it has seen the item
//!    run if that is earlier, so a worker that writes false times gains one timeout, or a second.
//!    The time for which it reports a panic does not count, up to `MOST_REPORTING`. A
//!    frame is checked when its first item could be late; if another item runs then, again when
//!    that one could be late. That is one check for each timeout and frame, not for each item.
//!    Finished results are read before a check, so no item is blamed that ended in time.
//!    A job with a limit that *includes waiting* is in a list by its time, and ends as a whole. Its
//!    gates are closed before anything is said of what has begun; a plain worker that has the item
//!    and has not reported it may have begun it, so nothing is said of that one.
//! 3. A worker is also *killed without an item's fault*: if it has not read a frame with ends of
//!    channels that was taken back, since the ends stay open until it does, and a stopped worker
//!    never does (W25); if it is plain, does not answer how far it got, and runs no wanted item;
//!    and if nothing of its first frame is left to answer, and the frame's end does not come.
//! 4. Finished results do not wait for unfinished ones in two cases: each item has its own waiter
//!    (`each`); or brief frames are queued behind a long one. Then the results of a frame that
//!    takes longer than expected are read early, and its items that have not begun are taken back,
//!    so that the frame ends with the running item.
//! 5. A worker that does not begin its first frame is woken, again and again: it may sleep although
//!    it reports that it does not (`shared_ring`). What forwards a busy worker's stream gets
//!    something to pass on: it may have lost the worker.
//!
//! The grace, and how long a worker may be silent: `limits`. How a worker measures its item:
//! `worker/batch.rs`. What the caller gets: `src/task/late.rs`. Whether the item runs again:
//! `Sched::times_out` here, and `job/retry.rs`.
//!
//! **Cost.** Each turn searches all sent frames for the next deadline. That is at most
//! [`GATES`](crate::process::pages::gate::GATES) frames per worker, mostly two, however many calls
//! have a timeout: those that wait for a worker have no deadline yet (nor, in that list, those
//! whose limit does not include waiting). A heap would need an update
//! for each frame that is sent, ends or is checked, which costs more than it saves.
//!
//! [`Record::Late`]: crate::process::wire::Record::Late
//!
//! Tests: `src/process/sched/simulated.rs`, `tests/process/calls.rs`.

use std::cmp::Reverse;
use std::time::{Duration, Instant};

use super::Sched;
use super::sent_frame::SentFrame;
use super::workers::{Worker, earlier};
use crate::events::{self, Trouble};
use crate::process::job::Job;
use crate::process::limits::TAKE_OVER_AFTER;
use crate::process::pages::gate::MOST_REPORTING;
use crate::task::{Late, TaskError};

/// How many limits of ended jobs may always be kept.
const MOST_FORGOTTEN: usize = 64;

/// For how long an item has run that has begun: zero means that it has not.
const SHORTEST: Duration = Duration::from_nanos(1);

/// How soon a check that came too early is repeated.
const AGAIN: Duration = Duration::from_millis(1);

/// When to look again at an item that reports a panic.
const REPORT_AGAIN: Duration = Duration::from_millis(20);

impl Sched {
    /// Workers for which something is due: their results, sent or not, should be read before
    /// `tick`.
    pub(crate) fn overdue(&self, now: Instant) -> Vec<usize> {
        let any = self.has_late_job(now);
        let mut overdue = Vec::new();
        for (index, worker) in self.workers.iter().enumerate() {
            let is_due = |at: Option<Instant>| at.is_some_and(|at| at <= now);
            if any
                || is_due(worker.next_check())
                || is_due(worker.take_back_at())
                || is_due(worker.answer_due())
            {
                overdue.push(index);
            }
        }
        overdue
    }

    /// When `tick` has something to do, if nothing happens earlier.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        let mut first = self.limits.peek().map(|limit| limit.0.0);
        let mut due = |at: Option<Instant>| first = earlier(first, at);
        self.paused.iter().for_each(|(at, ..)| due(Some(*at)));
        // Only times after the last tick count; earlier ones were handled then.
        let news = |at: Option<Instant>| at.filter(|at| *at > self.ticked);
        due(self.stop.and_then(|stop| stop.limit));
        due(self.shrinks_at());
        due(news(self.grows_at()));
        let waits = self.queue.is_empty() && self.workers.iter().any(Worker::is_idle);
        for (index, worker) in self.workers.iter().enumerate() {
            due(worker.limit());
            due(worker.next_check());
            due(self.sees_end_at(worker));
            due(news(worker.answer_due()));
            due(news(worker.gives_back(self.policy.patience)));
            due(worker.take_back_at().map(|at| at.max(self.ticked + AGAIN)));
            due(news(worker.nudge_at()));
            if let Some(at) = worker.stage.start_at() {
                due(self.wants(index).then_some(at));
            }
            let unbegun = |frame: &SentFrame| frame.begun() < frame.end;
            // The earliest time at which `victim` may find something: every time that it uses is
            // here.
            if waits && worker.frames.iter().any(unbegun) {
                due(news(Some(worker.stealable_at())));
            }
        }
        first
    }

    /// Kills the worker of an item that was cancelled and has had its grace period; no other item
    /// is lost (W4).
    pub(super) fn kill_overdue(&mut self, index: usize, now: Instant) {
        let Some((_, sequence)) = self.workers[index].kill_at else {
            return;
        };
        let is_due = |worker: &Worker| worker.kill_due().is_some_and(|at| at <= now);
        if !is_due(&self.workers[index]) {
            return;
        }
        self.take_all_back(index, now);
        let worker = &mut self.workers[index];
        if !is_due(worker) {
            return; // a plain worker was asked just now
        }
        worker.kill_at = None;
        let mut frames = worker.frames.iter_mut();
        let Some(frame) = frames.find(|frame| frame.sequence == sequence) else {
            return;
        };
        let overdue = *frame.watch.overdue.get_or_insert(now);
        let ends = frame.runs() || frame.end == 0;
        let innocent =
            |other: &SentFrame| other.sequence != sequence && other.wanted && other.runs();
        if worker.frames.iter().any(innocent) && now < overdue + self.policy.patience {
            // A worker runs one frame at a time, so the end of this frame is on its way: check
            // again later. (If it has not come for so long, the worker lies.)
            worker.kill_at = Some((now + TAKE_OVER_AFTER, sequence));
        } else if ends || worker.peer.may_run_unseen() {
            // A worker is killed, too, for a frame that it has not begun, if that frame's channel
            // ends stay open as long as the worker lives. And a plain worker may not have reported
            // what it has begun.
            worker.fruitful = true;
            self.kill(index, now);
        }
    }

    /// Kills a plain worker that was asked how far it got and has not answered, so that it must
    /// have been stopped; unless it runs a wanted item.
    pub(super) fn kill_silent(&mut self, index: usize, now: Instant) {
        let worker = &self.workers[index];
        let runs = |frame: &SentFrame| frame.wanted && frame.runs();
        // A cancelled item that runs has its grace period, and then `kill_overdue` acts.
        let has_grace = worker.kill_at.is_some_and(|(at, _)| now < at)
            && worker.frames.front().is_some_and(SentFrame::runs);
        let is_silent = worker.answer_due().is_some_and(|at| at <= now);
        if is_silent && !has_grace && !worker.frames.iter().any(runs) {
            self.kill(index, now);
        }
    }

    /// Ends items that have run for too long, and a worker that has answered and runs on.
    pub(super) fn check_timeouts(&mut self, index: usize, now: Instant) {
        self.check_end(index, now);
        for position in 0..self.workers[index].frames.len() {
            let frame = &self.workers[index].frames[position];
            if frame.watch.check_at.is_some_and(|at| at <= now) {
                let next = self.check_timeout(index, position, now);
                self.workers[index].frames[position].watch.check_at = next;
            }
        }
    }

    /// Kills a worker whose first frame must end, and does not. The worker sends the end right
    /// after the last answer, so the answer is not its own: an item has sent it, and runs on, and
    /// what is behind would never begin. (Items are also taken back from a worker with gates that
    /// is stopped: it need not say anything.)
    fn check_end(&mut self, index: usize, now: Instant) {
        let must_end = self.must_end(&self.workers[index]);
        let Some(frame) = self.workers[index].frames.front_mut() else {
            return;
        };
        frame.watch.ends_since = must_end.then(|| frame.watch.ends_since.unwrap_or(now));
        let ends_since = frame.watch.ends_since;
        let due = ends_since.map(|since| since + self.policy.patience);
        frame.watch.check_at = due.or(frame.watch.check_at);
        if due.is_some_and(|due| due <= now) {
            frame.watch.check_at = None;
            self.take_all_back(index, now);
            self.kill(index, now);
        }
    }

    /// Whether a worker has answered all of its first frame, so that the frame's end comes next. (A
    /// plain worker of which all items were taken back may be busy with something else that it was
    /// told, so it is left alone until something waits for it.)
    fn must_end(&self, worker: &Worker) -> bool {
        let is_waited_for = || worker.frames.len() > 1 || !self.queue.is_empty();
        let is_answered = |frame: &SentFrame| {
            let holds_up = || worker.peer.must_be_asked() && is_waited_for();
            frame.done == frame.end && (frame.end > 0 || holds_up())
        };
        worker.frames.front().is_some_and(is_answered) && !worker.is_away()
    }

    /// When to look at a worker whose answer was read since the last tick, by a caller: so late
    /// that mostly the frame's end has come.
    fn sees_end_at(&self, worker: &Worker) -> Option<Instant> {
        let front = worker.frames.front()?;
        let is_new = front.watch.ends_since.is_none() && self.must_end(worker);
        is_new.then(|| front.sent.max(self.ticked) + self.policy.patience)
    }

    /// Checks whether the running item of the frame at `position` has run for too long. Returns
    /// when to check again.
    fn check_timeout(&mut self, index: usize, position: usize, now: Instant) -> Option<Instant> {
        let frame = &self.workers[index].frames[position];
        let job = self.jobs.get(&frame.job).filter(|_| frame.wanted)?;
        let timeout = job.work.options.timeout?;
        let worker = &self.workers[index];
        // (An answered frame whose end does not come does not hold up those behind it.)
        let mut before = worker.frames.iter().take(position);
        let is_next = !worker.peer.may_run_unseen() && before.all(|frame| frame.done == frame.end);
        let arrives = worker.arrives_at();
        let patience = timeout.max(self.policy.patience);
        let frame = &mut self.workers[index].frames[position];
        let mut begun = frame.begun();
        let since = frame.stands_since(now);
        let is_late = since + patience <= now;
        let has_more = frame.done < frame.end;
        if begun == frame.done && !(has_more && is_late && begun > 0 && is_next) {
            // An item that begins later has its time from then on.
            let last_began = self.epoch.instant(frame.gate().started());
            let idle_since = match begun {
                0 => arrives,
                // Its last item has ended by then; otherwise it would have timed out.
                _ => last_began.unwrap_or(now) + timeout,
            };
            let is_silent = position == 0 && idle_since + patience <= now;
            let was_asked = is_silent && self.ask_for_first(index, now);
            if !was_asked && is_next && is_late && arrives + patience <= now {
                // It was stopped, or its gates say what is not so: others get its items.
                self.take_all_back(index, now);
                self.kill(index, now);
            }
            return Some(now + timeout.max(AGAIN));
        }
        // Between two items of a frame a worker does nothing, so an item that does not begin for so
        // long runs, and its worker denies it.
        begun = begun.max(frame.done + 1);
        frame.has_seen(begun);
        let noted = self.epoch.instant(frame.gate().started());
        let reported = frame.gate().reported(begun);
        let due = frame.started(noted, since) + timeout + reported;
        if due > now {
            let reports = reported == MOST_REPORTING; // so far, it may end at any time
            return Some(if reports {
                due.min(now + REPORT_AGAIN)
            } else {
                due
            });
        }
        if begun - frame.done > 1 {
            if is_late {
                // A worker begins no item before it has answered the one before, and everything
                // that it has answered was read: it has broken the protocol.
                self.take_all_back(index, now);
                self.kill(index, now);
            }
            return Some(now + AGAIN); // earlier results are on their way
        }
        events::noticed(Trouble::LateItem);
        let (id, at) = (frame.job, frame.next_index());
        self.take_back(index, position, 0, now);
        let frame = &mut self.workers[index].frames[position];
        if frame.begun() != begun {
            return Some(now + AGAIN); // the item has just ended
        }
        let (again, reports) = (self.times_out(id, at), self.reports_failures(id));
        let frame = &mut self.workers[index].frames[position];
        let job = self.jobs.get_mut(&id)?;
        let piece = Some(frame.piece.clone());
        if frame.each || again || reports {
            // This frame has no other items left. (If a hook gets it, its error comes later.)
            frame.wanted = false;
            job.frames -= 1;
            if again {
                job.pause(at);
                let item = frame.done as usize;
                frame.watch.again = Some(frame.piece.part(item, item + 1));
            }
            self.cancel_running(index, position, now);
        }
        if again {
            return None;
        }
        let (ran, pid) = (now + timeout - due, self.workers[index].pid);
        let late = Late::call(timeout, ran, pid);
        self.item_error(id, at, TaskError::TimedOut(late), piece, now);
        self.finish_if_settled(id);
        None
    }

    /// The item at `at` of the job `id` has timed out. Whether it is to run again.
    pub(super) fn times_out(&mut self, id: u64, at: usize) -> bool {
        self.counters.stats.lock().timed_out += 1;
        let stopped = self.is_stopped();
        let job = self.jobs.get_mut(&id);
        let job = job.filter(|job| job.work.options.retry_on_timeout && !stopped);
        job.is_some_and(|job| job.attempted(at))
    }

    /// Whether the time of a job is over.
    pub(super) fn has_late_job(&self, now: Instant) -> bool {
        self.limits.peek().is_some_and(|limit| limit.0.0 <= now)
    }

    /// Forgets the limits of jobs that have ended: those in front, since the first is waited for,
    /// and all of them once they are the most.
    pub(super) fn forget_limits(&mut self) {
        let jobs = &self.jobs;
        let lives = |limit: &Reverse<(Instant, u64)>| jobs.contains_key(&limit.0.1);
        while self.limits.peek().is_some_and(|first| !lives(first)) {
            self.limits.pop();
        }
        if self.limits.len() > 2 * jobs.len() + MOST_FORGOTTEN {
            self.limits.retain(lives);
        }
    }

    /// Ends the jobs whose time is over, waiting included, and what waits of those whose items may
    /// not run for any time.
    pub(super) fn end_late_jobs(&mut self, now: Instant) {
        while self.has_late_job(now) {
            let Some(Reverse((at, id))) = self.limits.pop() else {
                return;
            };
            let Some(job) = self.jobs.get(&id) else {
                continue;
            };
            if job.work.options.until != Some(at) {
                self.refuse_all(id, now);
            } else if !self.reports_panic(id, at, now) {
                self.end_late(id, now);
            }
        }
    }

    /// Whether the time of a call, which is over at `at`, does not end it yet: its item reports a
    /// panic, or has, and that time does not count.
    fn reports_panic(&mut self, id: u64, at: Instant, now: Instant) -> bool {
        let Some((index, position)) = self.running(id) else {
            return false;
        };
        let frame = &mut self.workers[index].frames[position];
        let reported = frame.gate().reported(frame.begun());
        let granted = frame.watch.reported;
        let more = match reported == MOST_REPORTING {
            true if granted < MOST_REPORTING => now.saturating_duration_since(at) + REPORT_AGAIN,
            true => return false,
            false => reported.saturating_sub(granted),
        };
        let job = self.jobs.get_mut(&id).filter(|job| job.is_one());
        let Some(job) = job.filter(|_| !more.is_zero()) else {
            return false;
        };
        frame.watch.reported = granted + more;
        job.work.options.until = Some(at + more);
        self.limits.push(Reverse((at + more, id)));
        true
    }

    fn end_late(&mut self, id: u64, now: Instant) {
        self.close_gates(id); // what has begun by then is known
        let runs = self.running(id);
        let Some(job) = self.jobs.get(&id) else {
            return;
        };
        if job.only_fails() {
            return; // what they have done wrong is reported, and soon
        }
        let is_one = job.is_one();
        let ran = self.ran(id, job, runs, now).filter(|_| is_one);
        let error = job.work.options.too_late(ran);
        self.counters.stats.lock().timed_out += job.pending;
        events::noticed(Trouble::LateItem);
        if is_one && let Some((index, position)) = runs {
            let piece = self.workers[index].frames[position].piece.clone();
            self.disown(id, now); // (If a hook gets it, its error comes later.)
            self.item_error(id, 0, error, Some(piece), now);
            return self.finish_if_settled(id);
        }
        let late = self
            .jobs
            .get_mut(&id)
            .map(|job| std::mem::take(&mut job.pending));
        self.counters.count(0, late.unwrap_or(0));
        self.fail(id, 0, error, now);
    }

    /// Workers begin no more items of the job `id`, as far as the parent can keep them from it.
    fn close_gates(&mut self, id: u64) {
        for worker in &mut self.workers {
            for position in 0..worker.frames.len() {
                if worker.frames[position].job == id {
                    worker.cut_off(position, 0);
                }
            }
        }
    }

    /// How long the one item of `job`, whose gates are closed, has run, and in which worker; zero:
    /// it has not begun, and will not. `None`: nobody knows, or it has begun and does not run now.
    fn ran(
        &self,
        id: u64,
        job: &Job,
        runs: Option<(usize, usize)>,
        now: Instant,
    ) -> Option<(Duration, Option<u32>)> {
        if let Some((index, position)) = runs {
            let worker = &self.workers[index];
            let noted = worker.frames[position].noted(&self.epoch);
            // (It may have begun since the driver has looked at its clock.)
            let ran = now.saturating_duration_since(noted).max(SHORTEST);
            return Some((ran, Some(worker.pid)));
        }
        // It waits to run again, or its result is being decoded.
        let has_run = job.starts(0) > 0 || job.is_read();
        let may_run = |worker: &Worker| {
            let has_it = |frame: &SentFrame| frame.job == id && frame.done < frame.end;
            worker.peer.may_run_unseen() && worker.frames.iter().any(has_it)
        };
        let is_unknown = self.workers.iter().any(may_run);
        (!has_run && !is_unknown).then_some((Duration::ZERO, None))
    }

    /// The frame of the job `id` whose item runs: its worker, and its position there.
    fn running(&self, id: u64) -> Option<(usize, usize)> {
        let is_it = |frame: &SentFrame| frame.job == id && frame.wanted && frame.runs();
        let mut workers = self.workers.iter().enumerate();
        workers.find_map(|(index, worker)| Some((index, worker.frames.iter().position(is_it)?)))
    }

    /// What workers have of the job `id` is not wanted any more.
    fn disown(&mut self, id: u64, now: Instant) {
        for index in 0..self.workers.len() {
            for position in 0..self.workers[index].frames.len() {
                let frame = &mut self.workers[index].frames[position];
                if frame.job == id
                    && std::mem::take(&mut frame.wanted)
                    && let Some(job) = self.jobs.get_mut(&id)
                {
                    job.frames -= 1;
                    self.workers[index].cut_off(position, 0);
                    self.cancel_running(index, position, now);
                }
            }
        }
    }

    /// The items of a job that may not run for any time end without having begun.
    fn refuse_all(&mut self, id: u64, now: Instant) {
        let job = self.jobs.get_mut(&id);
        for piece in job.map_or_else(Vec::new, |job| job.abandon()) {
            self.counters.stats.lock().timed_out += piece.len() as u64;
            for at in piece.first()..piece.first() + piece.len() {
                let late = Late::unbegun(Duration::ZERO);
                self.item_ends(id, at, TaskError::TimedOut(late), now);
            }
        }
        self.finish_if_settled(id);
    }
}
