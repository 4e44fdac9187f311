//! A function for each event, which the executors call.
//!
//! **Job.** A task is made, its code begins and ends, a thread waits, sleeps, steals, wakes
//! another. Three listen: the recording, while one runs (`session`; the module `recording`
//! evaluates the events), the ring of the last seconds (`ring`), both with the feature `trace`, and
//! the table of live tasks (`live`), once somebody has asked for it. One word says who listens.
//! While nobody does, an event of a task costs one relaxed load and a branch, as does the end of
//! what a thread does between tasks (parts of regions, sleeps); what else no task has (thefts,
//! waits) costs nothing without the feature. What the arguments are computed from is not touched
//! unless somebody listens.
//!
//! **Protocol of a recording.**
//! 1. `session::start` gives the recording a number and publishes it in the word (`switch`).
//! 2. A thread with an event reads the word. If there is a recording, the event goes, with the
//!    time, into the thread's own log, under the log's lock, which no other thread takes before the
//!    end.
//!    A thread's first event in a recording registers its log. Room comes from a budget that all
//!    threads share. When that is used up, later events are only counted.
//! 3. `Session::stop` clears the number and takes the logs' contents. A thread that has read the
//!    word before may still write its event, which is not read.
//!
//! A thread that sees a task's end (by joining it, say) and then stops the recording gets all
//! events of the task: they are written before the end becomes visible.
//!
//! A forked child does not continue its parent's recording: in the child the word is 0.
//!
//! **Rejected.** One buffer for all threads (its lock or counter would distort the recording); a
//! recording that loses its oldest events (ends without beginnings); hooking into `tracing` (a
//! subscriber's cost for each event is several times that of a short task, and the pools' parks and
//! steals are not spans); an array that its thread fills without a lock while others read its
//! published part (`unsafe` and loom models, for some nanoseconds an event).
//!
//! Tests: `tests/trace/main.rs::{a_task_is_spawned_runs_and_ends, a_stolen_task_says_so}`,
//! `tests/tasks/tree.rs::a_task_is_queued_runs_and_is_gone`; cost: `benches/benches/trace.rs`.

#![cfg_attr(not(feature = "trace"), allow(dead_code))] // no recording can be started without it

mod locks;
pub(crate) mod ring;
pub(crate) mod session;
pub mod trouble;

use crate::event::{Done, Frame, What};
pub use crate::event::{Ending, Kind, Role, Site};
pub use crate::live;
use crate::live::Wakers;
use crate::role;
use crate::switch::Listeners;
pub use locks::{
    falls_asleep, keeps_locks, lock_awaited, lock_blocks, lock_dropped, lock_left, lock_released,
    lock_taken, lock_unblocks, orphaned, writer_comes, writer_goes,
};

/// Whether anybody listens.
#[inline(always)]
pub fn is_on() -> bool {
    Listeners::now().any()
}

/// Whether events are written: a recording runs, or those of the last seconds are kept.
#[inline(always)]
pub fn is_recording() -> bool {
    Listeners::now().written()
}

/// An event of a task or of a call, which both listeners may want.
#[inline(always)]
fn report(what: impl FnOnce() -> What) {
    let listeners = Listeners::now();
    if listeners.any() {
        heard(listeners, what());
    }
}

#[cold]
#[inline(never)]
fn heard(listeners: Listeners, what: What) {
    if listeners.live() {
        let store = live::store();
        match what {
            What::Settled { task, .. } => heard_settled(task),
            What::Woken { task } => store.woken(task),
            What::Called { pool, job, task } => store.called(pool, job, task),
            What::Answered { pid, done, .. } => store.answered(pid, done.sequence),
            What::Fell { pid } => store.died(pid),
            _ => {}
        }
    }
    record(listeners, what);
}

fn heard_settled(task: u64) {
    let store = live::store();
    if store.settled(task) {
        live::look_at_lost_locks(store, task);
    }
}

fn record(listeners: Listeners, what: What) {
    let number = listeners.recording();
    if number != 0 {
        session::write_event(number, what);
    }
    if listeners.kept() {
        ring::write_event(what);
    }
}

/// An event that only recordings want.
#[inline(always)]
fn note(what: impl FnOnce() -> What) {
    let listeners = Listeners::now();
    if listeners.written() {
        noted(listeners, what());
    }
}

#[cold]
#[inline(never)]
fn noted(listeners: Listeners, what: What) {
    record(listeners, what);
}

/// An event with which this thread has done something else than to run tasks.
#[cold]
#[inline(never)]
fn did_something_else(listeners: Listeners, what: What) {
    if listeners.live() {
        live::store().did_something_else();
    }
    record(listeners, what);
}

/// A task is created here, by the code of `parent` (0: of no task).
#[inline(always)]
pub fn spawned(task: u64, parent: u64, site: Site, kind: Kind) {
    let listeners = Listeners::now();
    if listeners.any() {
        heard_birth(listeners, task, parent, site, kind);
    }
}

#[cold]
#[inline(never)]
fn heard_birth(listeners: Listeners, task: u64, parent: u64, site: Site, kind: Kind) {
    if listeners.live() {
        live::store().spawned(task, parent, site, kind);
    }
    record(listeners, What::Spawned { task, site, kind });
}

/// A task has, or gets, this name.
#[inline(always)]
pub fn named(task: u64, name: &str) {
    let listeners = Listeners::now();
    if listeners.any() {
        heard_name(listeners, task, name);
    }
}

#[cold]
#[inline(never)]
fn heard_name(listeners: Listeners, task: u64, name: &str) {
    if listeners.live() {
        live::store().named(task, name);
    }
    if listeners.recording() != 0 {
        session::write_name(listeners.recording(), task, name);
    }
    if listeners.kept() {
        ring::write_name(task, name);
    }
}

/// A future's poll has ended, and it waits. `on`: the task that it has left its waker with last
/// (0: none). `wakers`: many, if something has woken it already. As [`begun_heard`], it is called
/// while somebody listens.
#[inline(always)]
pub fn paused(task: u64, on: u64, wakers: Wakers) {
    let listeners = Listeners::now();
    if listeners.live() {
        let store = live::store();
        if store.paused(task, on, wakers) {
            match wakers {
                Wakers::None | Wakers::One => live::look_for_a_deadlock(store, task),
                Wakers::Many => {}
            }
        }
    }
    let how = Ending::Pending;
    record(listeners, What::Ended { task, how });
}

/// A future's poll has ended, and it is queued again, because it was woken meanwhile: no [`woken`]
/// follows. It is called while somebody listens.
#[inline(always)]
pub fn queued_again(task: u64) {
    let listeners = Listeners::now();
    if listeners.live() {
        live::store().queued_again(task);
    }
    if listeners.written() {
        let how = Ending::Pending;
        record(listeners, What::Ended { task, how });
        record(listeners, What::Woken { task });
    }
}

/// The future that is polled here waits for an event of this kind: [`live::TIMER`], [`live::READ`]
/// or [`live::WRITE`].
#[inline(always)]
pub fn waits_for(kind: u8) {
    if Listeners::now().live() {
        heard_wait(kind);
    }
}

#[cold]
#[inline(never)]
fn heard_wait(kind: u8) {
    live::store().waits_for(kind);
}

/// The next wait of this thread is for the end of `on`; the code of `task` (0: of none) waits.
#[cold]
pub fn blocks(task: u64, on: u64, is_timed: bool) {
    let listeners = Listeners::now();
    if listeners.live() {
        let store = live::store();
        let who = store.blocks(task, on, is_timed);
        if !is_timed && store.leads_on(on) {
            live::look_for_a_deadlock(store, who);
        }
    }
    record(listeners, What::Awaits { task: on });
}

/// That wait is over. If it was not `successful`, perhaps it has not begun: then the thread's next
/// one is not for that task.
#[cold]
pub fn unblocks(task: u64, successful: bool) {
    let listeners = Listeners::now();
    if listeners.live() {
        live::store().unblocks(task);
    }
    if !successful {
        record(listeners, What::Awaits { task: 0 });
    }
}

/// A waker was left with `task`. `is_own`: that of the code that runs here.
#[cold]
pub fn registered(task: u64, is_own: bool) {
    if Listeners::now().live() {
        live::store().registered(task, is_own);
    }
}

/// A future is about to be cancelled: called before anybody can see that it is.
#[cold]
pub fn cancelled(task: u64) {
    if Listeners::now().live() {
        live::store().cancelled(task);
    }
}

/// Somebody gets an `AbortHandle` of a task.
#[cold]
pub fn abortable(task: u64) {
    if Listeners::now().live() {
        live::store().abortable(task);
    }
}

/// A task's code begins to run here: a closure is called, a future polled.
#[inline(always)]
pub fn begun(task: u64, site: Site, kind: Kind) {
    if is_on() {
        heard_begin(task, site, kind);
    }
}

#[cold]
#[inline(never)]
fn heard_begin(task: u64, site: Site, kind: Kind) {
    begun_heard(task, site, kind);
}

/// A task begins: called while something listens, from code that is out of the way of what runs
/// when nothing does.
#[inline(always)]
pub fn begun_heard(task: u64, site: Site, kind: Kind) {
    let listeners = Listeners::now();
    if listeners.live() {
        live::store().begun(task, site, kind);
    }
    record(listeners, What::Begun { task, site, kind });
}

/// The end of the run that [`begun`] recorded; also of the poll of a future whose wakers are not
/// known, which waits.
#[inline(always)]
pub fn ended(task: u64, how: Ending) {
    let listeners = Listeners::now();
    if listeners.any() {
        heard_end(listeners, task, how);
    }
}

#[cold]
#[inline(never)]
fn heard_end(listeners: Listeners, task: u64, how: Ending) {
    if listeners.live() {
        let store = live::store();
        if how == Ending::Pending {
            store.paused(task, 0, Wakers::Many);
        } else if store.ended(task) {
            live::look_at_lost_locks(store, task);
        }
    }
    record(listeners, What::Ended { task, how });
}

/// A step of a task, which ends when this is dropped.
#[derive(Debug)]
pub struct NotedStep {
    task: u64,
    number: u64,
}

impl Drop for NotedStep {
    fn drop(&mut self) {
        if Listeners::now().live() {
            live::store().step_ends(self.task, self.number);
        }
    }
}

/// The code of `task` (0: of none) begins a step. `None`: it is not noted.
#[cold]
pub fn step(task: u64, name: &'static str) -> Option<NotedStep> {
    if task == 0 || !Listeners::now().live() {
        return None;
    }
    let number = live::store().step_begins(task, name)?;
    Some(NotedStep { task, number })
}

/// This thread's previous role, which is restored when this is dropped.
#[must_use]
#[derive(Debug)]
pub struct Before(Role);

impl Drop for Before {
    fn drop(&mut self) {
        let _role = set_role(self.0);
    }
}

/// Sets this thread's role, also for listeners that come later.
pub fn role(role: Role) -> Before {
    Before(set_role(role))
}

fn set_role(role: Role) -> Role {
    let before = role::replace(role);
    let listeners = Listeners::now();
    if listeners.any() {
        did_something_else(listeners, What::Is { role });
    }
    before
}

/// A function for each event that is passed on as it is.
macro_rules! events {
    ($($(#[$doc:meta])* $name:ident($($field:ident: $type:ty),*) is $what:ident by $by:ident;)*) => {$(
        $(#[$doc])*
        #[inline(always)]
        pub fn $name($($field: $type),*) {
            $by(|| What::$what { $($field),* });
        }
    )*};
}
events! {
    /// A task has ended without running code here: it was dropped, or a promise was completed.
    settled(task: u64, how: Ending) is Settled by report;
    /// A future was woken, and is queued.
    woken(task: u64) is Woken by report;
    /// A worker stole this from the slot `from`; 0: not a task but a part of a region.
    stolen(task: u64, from: usize) is Stolen by note;
    /// A worker process has ended, and its frames are lost.
    worker_died(pid: u32) is Fell by report;
}

/// This thread wakes the one in a pool's slot.
#[inline(always)]
pub fn thread_woken(pool: u32, slot: usize) {
    let slot = slot as u32;
    note(|| What::Roused { pool, slot });
}

/// A `map` or an `imap` begins: its kind, the task that gets the results (0: that of the caller, if
/// there is one) and the number of its items, if that is known. `None`: nobody listens.
#[inline(always)]
pub fn items(kind: &'static str, task: u64, total: Option<usize>) -> Option<live::Items> {
    if Listeners::now().live() {
        heard_items(kind, task, total)
    } else {
        None
    }
}

#[cold]
#[inline(never)]
fn heard_items(kind: &'static str, task: u64, total: Option<usize>) -> Option<live::Items> {
    Some(live::begin(live::store(), kind, task, total))
}

/// A call to a process pool: `task` waits for the job.
#[inline(always)]
pub fn called(pool: u32, job: u64, task: u64) {
    let job = job as u32;
    report(|| What::Called { pool, job, task });
}

/// A frame of a job goes to a worker process; its number is one of that process's. `first`: the
/// number of its first item.
#[inline(always)]
pub fn sent(pool: u32, pid: u32, sequence: u64, job: u64, items: usize, first: usize) {
    let listeners = Listeners::now();
    if listeners.any() {
        let (sequence, job, items) = (sequence as u32, job as u32, items as u32);
        let frame = Frame {
            pool,
            pid,
            sequence,
            job,
            items,
        };
        heard_frame(listeners, frame, first);
    }
}

#[cold]
#[inline(never)]
fn heard_frame(listeners: Listeners, frame: Frame, first: usize) {
    if listeners.live() {
        live::store().sent(frame, first);
    }
    record(listeners, What::Sent(frame));
}

/// A frame is done: the number of its items that were run, and the time in nanoseconds.
#[inline(always)]
pub fn answered(pid: u32, sequence: u64, items: u64, nanos: u64) {
    let (sequence, items) = (sequence as u32, items as u32);
    let done = Done { sequence, items };
    report(|| What::Answered { pid, done, nanos });
}

/// A span of time on this thread: it begins when the value is created and ends when it is dropped.
#[must_use]
#[derive(Debug)]
pub struct Span(What);

impl Drop for Span {
    #[inline(always)]
    fn drop(&mut self) {
        note(|| self.0);
    }
}

/// A span between the runs of tasks: the next run does not begin when the last one has ended.
#[must_use]
#[derive(Debug)]
pub struct Interval(What);

impl Drop for Interval {
    #[inline(always)]
    fn drop(&mut self) {
        let listeners = Listeners::now();
        if listeners.any() {
            did_something_else(listeners, self.0);
        }
    }
}

/// A thread from outside runs its region here, that of a `join` or a `scope` for example.
#[inline(always)]
pub fn region() -> Span {
    let part = "region";
    note(|| What::PartBegun { part });
    Span(What::PartEnded { part })
}

/// A part of a region runs here; this is its name in the picture.
#[inline(always)]
pub fn part(part: &'static str) -> Interval {
    note(|| What::PartBegun { part });
    Interval(What::PartEnded { part })
}

/// This thread blocks in the middle of its work.
#[inline(always)]
pub fn waits() -> Span {
    note(|| What::Waits);
    Span(What::Waited)
}

/// This thread has nothing to do, and sleeps.
#[inline(always)]
pub fn sleeps() -> Interval {
    note(|| What::Sleeps);
    Interval(What::Slept)
}
