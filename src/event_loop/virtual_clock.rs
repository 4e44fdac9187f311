//! Whether a virtual clock may jump: not while a task waits for something outside its loop.
//!
//! A virtual clock stands still while tasks run, and jumps to the next deadline when nothing can
//! run. But if a task waits for something outside the loop, that takes real time, and a clock that
//! jumped would fire every timeout first. What counts as outside, and how long the clock runs at
//! the real pace for it:
//!
//! | a task waits for | the clock goes at the real pace |
//! |---|---|
//! | a task of another executor (a thread pool, a process pool, another loop, a blocking call) | until that task has ended and its result was taken |
//! | a descriptor (a socket, a child process, a signal), or a promise of a [`Completer`](crate::Completer) | until for [`SILENCE`] nothing has come and no such wait has begun |
//!
//! A wait of the second kind may never end (a listener), and both of its ends may be in this loop.
//! So the loop adapts: a wait in vain halves the next one, down to [`SHORTEST`]; an event from
//! outside restores it. A test whose peers are all inside the loop waits a second for its first six
//! waits in vain, and 10 ms for each further one.
//!
//! A wait for something for which the kernel has no event (room in the queue of a Unix listener, a
//! descriptor for a new connection) is a series of attempts with pauses. Such a series counts as a
//! wait for a descriptor, from its first pause to its end ([`timer::hold`](crate::timer::hold)).
//!
//! The check costs the same for any number of waiting tasks: one task of the kind that counts most
//! represents all of them as long as it is of that kind. When it is not any more, the others are
//! checked, and tasks that are no longer awaited are removed.
//!
//! Without a deadline it never jumps: the loop sleeps until it is woken (`wait` in `turn.rs`).
//!
//! The clock does not see a channel, a lock or an event that another thread will use. Await a
//! [`Task`](crate::Task) for that thread's work.
//!
//! Tests: below; `tests/event_loop/virtual_time.rs`.

use std::cell::Cell;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::limits::{SHORTEST, SILENCE};
use crate::task::{Origin, TaskId, TaskRef, awaited};
use crate::timer::Clock;

/// The list of tasks is searched for ended ones only when it is longer than this.
const MIN_KEPT: usize = 64;

pub(super) struct VirtualClock {
    clock: Arc<Clock>,
    /// Whether the clock stands still, and may jump. Otherwise it runs, and nothing of this is
    /// used.
    stands: Cell<bool>,
    /// The awaited tasks. They are taken out while they are searched, because dropping a task may
    /// run user code (L4).
    awaited: Cell<Awaited>,
    /// When an event came, or a task began to wait for one; `None`: the clock has jumped since.
    last_activity: Cell<Option<Instant>>,
    patience: Cell<Duration>,
}

/// The awaited tasks that are not this loop's.
#[derive(Default)]
struct Awaited {
    tasks: HashMap<TaskId, TaskRef>,
    /// A task of the kind that counts most.
    first: Option<TaskRef>,
    best: Prospect,
    /// How many tasks there were when all were last checked.
    looked: usize,
}

/// What an awaited task means for a virtual clock.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
enum Prospect {
    /// Its result was taken, or the task is this loop's.
    #[default]
    Gone,
    /// It is a promise; or it has ended, and its waiter is being woken.
    Silent,
    Work,
}

impl Awaited {
    /// Adds an awaited task. Returns true if it is new and may never complete.
    fn add(&mut self, task: TaskRef, has: &impl Fn(&TaskRef) -> bool) -> bool {
        let prospect = prospect(&task, has);
        let new = prospect > Prospect::Gone && self.tasks.insert(task.id(), task.clone()).is_none();
        if new && prospect > self.best {
            (self.first, self.best) = (Some(task), prospect);
        }
        new && prospect == Prospect::Silent
    }

    /// The kind that counts most among the awaited tasks.
    fn look(&mut self, has: &impl Fn(&TaskRef) -> bool) -> Prospect {
        let holds = self.first.as_ref().map(|task| prospect(task, has)) == Some(self.best);
        if !holds || self.tasks.len() > 2 * self.looked + MIN_KEPT {
            (self.first, self.best) = (None, Prospect::Gone);
            self.tasks.retain(|_, task| {
                let prospect = prospect(task, has);
                if prospect > self.best {
                    (self.first, self.best) = (Some(task.clone()), prospect);
                }
                prospect > Prospect::Gone
            });
            self.looked = self.tasks.len();
        }
        self.best
    }
}

impl VirtualClock {
    pub(super) fn new(clock: Arc<Clock>) -> Self {
        Self {
            clock,
            stands: Cell::new(true),
            awaited: Cell::default(),
            last_activity: Cell::new(None),
            patience: Cell::new(SILENCE),
        }
    }

    #[inline]
    pub(super) fn stands(&self) -> bool {
        self.stands.get()
    }

    /// Makes the clock stand still from now on.
    pub(super) fn stop(&self) {
        self.clock.stop();
        self.stands.set(true);
    }

    /// Makes the clock run from now on; awaited tasks are not recorded.
    pub(super) fn go(&self) {
        self.clock.go();
        self.stands.set(false);
        self.last_activity.set(None);
        self.clear();
    }

    /// Moves the clock forward.
    pub(super) fn advance(&self, by: Duration) {
        self.clock.advance(by);
    }

    /// Notes that the loop, or the one that drives it, begins to wait: the clock runs at the real
    /// pace meanwhile.
    pub(super) fn begin_wait(&self) {
        self.clock.go();
    }

    /// Ends that wait. `false`: there was none.
    pub(super) fn end_wait(&self) -> bool {
        self.clock.stop()
    }

    /// Notes that a task begins to wait for a descriptor or a promise.
    pub(super) fn note_activity(&self) {
        self.last_activity.set(Some(Instant::now()));
    }

    /// Notes that an event came while the clock ran at the real pace.
    pub(super) fn note_arrival(&self) {
        self.patience.set(SILENCE);
        self.note_activity();
    }

    /// Called after a poll: notes the tasks that it awaits. `has`: whether a task is this loop's.
    pub(super) fn note_awaited(&self, has: impl Fn(&TaskRef) -> bool) {
        let all = awaited::take_all();
        if !self.stands() {
            return;
        }
        let mut awaited = self.awaited.take();
        for task in all {
            let ended = task.is_finished();
            let is_new = awaited.add(task, &has);
            if is_new && ended {
                self.note_arrival();
            } else if is_new {
                self.note_activity();
            }
        }
        self.awaited.set(awaited);
    }

    /// How long the clock must run at the real pace now that no task can run. Zero: it may jump.
    /// `descriptors`: whether a task waits for one.
    pub(super) fn pace(&self, has: impl Fn(&TaskRef) -> bool, descriptors: bool) -> Duration {
        if self.clock.is_held_anew() {
            self.note_activity();
        }
        let mut awaited = self.awaited.take();
        let before = awaited.best;
        let prospect = awaited.look(&has);
        self.awaited.set(awaited);
        if before == Prospect::Work && prospect != before {
            self.note_arrival(); // the waiter of a task that has ended is being woken
        }
        match self.last_activity.get() {
            _ if prospect == Prospect::Work => Duration::MAX,
            Some(at) if prospect == Prospect::Silent || self.is_silent(descriptors) => {
                self.patience.get().saturating_sub(at.elapsed())
            }
            _ => Duration::ZERO,
        }
    }

    /// Whether a task waits for an event from outside, which may never come.
    fn is_silent(&self, descriptors: bool) -> bool {
        descriptors || self.clock.is_held()
    }

    /// Moves the clock to this deadline. If the loop has waited in vain, the next wait is halved. A
    /// task that has ended without its result being taken is no longer awaited.
    pub(super) fn jump(&self, deadline: Instant, descriptors: bool) {
        let mut awaited = self.awaited.take();
        if (self.is_silent(descriptors) || !awaited.tasks.is_empty())
            && self.last_activity.take().is_some()
        {
            self.patience.set((self.patience.get() / 2).max(SHORTEST));
            awaited.tasks.retain(|_, task| !task.is_finished());
            awaited.first = None;
        }
        self.awaited.set(awaited);
        self.clock.advance_to(deadline);
    }

    /// Drops the tasks of other executors when the loop ends.
    pub(super) fn clear(&self) {
        drop(self.awaited.take());
    }
}

fn prospect(task: &TaskRef, has: &impl Fn(&TaskRef) -> bool) -> Prospect {
    if task.is_settled() {
        return Prospect::Gone;
    }
    if task.is_finished() {
        return Prospect::Silent;
    }
    let mut task = task.clone();
    // A mapped task counts as its source.
    loop {
        if has(&task) {
            return Prospect::Gone;
        }
        if task.is_finished() {
            return Prospect::Work; // its end is being passed on
        }
        match task.origin() {
            Origin::Work | Origin::ThisThread => return Prospect::Work,
            Origin::Completer => return Prospect::Silent,
            Origin::Task(source) => task = source,
        }
    }
}

#[cfg(all(test, not(loom)))]
mod tests;
