//! What a virtual clock must not run away from.
//!
//! A virtual clock stands still while tasks run, and jumps to the next deadline when nothing
//! can run. But where a task waits for something that goes on outside of the loop, that
//! takes real time, and a clock that jumped would let every timeout strike first.
//! What is outside, and how long the clock goes at the real pace for it:
//!
//! | a task waits for | the clock goes at the real pace |
//! |---|---|
//! | a task of another executor (a thread pool, a process pool, another loop, a blocking call) | until that task has ended and its result was taken |
//! | a descriptor (a socket, a child process, a signal), or a promise of a [`Completer`](crate::Completer) | until nothing has come and nobody has begun such a wait for [`PATIENCE`] |
//!
//! The second kind may never end (a listener), and both of its ends may be in this loop. So
//! the loop learns: patience that was in vain is halved, down to [`LEAST`]; what does come
//! from outside restores it. A test whose peers are all inside pays a second in
//! all, however long its virtual time.
//!
//! What cannot be seen: a channel, a lock or an event that another thread is to use. Await a
//! [`Task`](crate::Task) of what that thread does.
//!
//! Checked by `tests/event_loop/virtual_time.rs`.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::time::{Duration, Instant};

use crate::task::{Origin, TaskId, TaskRef, awaited};

/// How long descriptors and promises may be silent before the clock jumps.
const PATIENCE: Duration = Duration::from_millis(500);

/// What is left of it at least.
const LEAST: Duration = Duration::from_millis(10);

/// Whether the clock may jump.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Pace {
    /// It may.
    Jump,
    /// It goes as the real one, up to this real time.
    Real(Option<Instant>),
}

#[derive(Debug)]
pub(super) struct Outside {
    /// The tasks that were waited for; which of them are elsewhere shows when asked.
    tasks: RefCell<HashMap<TaskId, Awaited>>,
    /// When something came, or somebody began to wait for it.
    stirred: Cell<Instant>,
    patience: Cell<Duration>,
    /// The clock has jumped since.
    in_vain: Cell<bool>,
    /// Somebody else's loop waits for this one since then, while its clock goes at the real pace.
    left: Cell<Option<Instant>>,
}

#[derive(Debug)]
struct Awaited {
    task: TaskRef,
    /// When it was first seen to have ended, its result not taken.
    ended: Option<Instant>,
}

impl Outside {
    pub(super) fn new() -> Self {
        Self {
            tasks: RefCell::new(HashMap::new()),
            stirred: Cell::new(Instant::now()),
            patience: Cell::new(PATIENCE),
            in_vain: Cell::new(true),
            left: Cell::new(None),
        }
    }

    /// This loop is left to somebody else's until the next turn, at this pace (`None`: it is not,
    /// or no longer).
    pub(super) fn leave(&self, pace: Option<Pace>) {
        let real = matches!(pace, Some(Pace::Real(_)));
        self.left.set(real.then(Instant::now));
    }

    /// How much real time went by since then, if it counts.
    pub(super) fn come_back(&self) -> Option<Duration> {
        self.left.take().map(|since| since.elapsed())
    }

    /// Somebody begins to wait for a descriptor or a promise.
    pub(super) fn stir(&self) {
        self.stirred.set(Instant::now());
        self.in_vain.set(false);
    }

    /// Something came while the clock went at the real pace.
    pub(super) fn came(&self) {
        self.patience.set(PATIENCE);
        self.stir();
    }

    /// After a poll: for what it waits.
    pub(super) fn note_awaited(&self) {
        for task in awaited::take_all() {
            let promise = matches!(task.origin(), Origin::Anybody);
            let known = self
                .tasks
                .borrow_mut()
                .insert(task.id(), Awaited { task, ended: None });
            if known.is_none() && promise {
                self.stir();
            }
            drop(known);
        }
    }

    /// Nothing can run. `has`: a task is of this loop; `descriptors`: somebody waits for one.
    pub(super) fn pace(&self, has: impl Fn(&TaskRef) -> bool, descriptors: bool) -> Pace {
        let now = Instant::now();
        let mut work = false;
        let mut silent = descriptors;
        let mut gone = Vec::new();
        let mut late: Option<Instant> = None;
        self.tasks.borrow_mut().retain(|_, awaited| {
            let keep = match kind(awaited, &has) {
                Kind::Settled | Kind::Inside => false,
                Kind::Work => {
                    work = true;
                    true
                }
                Kind::Promise => {
                    silent = true;
                    true
                }
                // It has ended, and its waiter is being told; or nobody will ever ask.
                Kind::Ended => {
                    let until = *awaited.ended.get_or_insert(now) + PATIENCE;
                    late = late.max(Some(until));
                    now < until
                }
            };
            if !keep {
                gone.push(awaited.task.clone());
            }
            keep
        });
        drop(gone); // L4
        if work {
            return Pace::Real(None);
        }
        if silent && !self.in_vain.get() {
            late = late.max(Some(self.stirred.get() + self.patience.get()));
        }
        match late {
            Some(until) if now < until => Pace::Real(Some(until)),
            _ => Pace::Jump,
        }
    }

    /// The clock jumps.
    pub(super) fn jumped(&self, descriptors: bool) {
        let waited = descriptors || !self.tasks.borrow().is_empty();
        if waited && !self.in_vain.replace(true) {
            self.patience.set((self.patience.get() / 2).max(LEAST));
        }
    }

    /// The loop ends: it holds nobody's task any longer.
    pub(super) fn clear(&self) {
        let tasks = std::mem::take(&mut *self.tasks.borrow_mut());
        drop(tasks);
    }
}

enum Kind {
    Settled,
    Inside,
    Work,
    Promise,
    Ended,
}

fn kind(awaited: &Awaited, has: &impl Fn(&TaskRef) -> bool) -> Kind {
    let mut task = awaited.task.clone();
    if task.is_settled() {
        return Kind::Settled;
    }
    if task.is_finished() {
        return Kind::Ended;
    }
    // A mapped task is its source's.
    loop {
        if has(&task) {
            return Kind::Inside;
        }
        if task.is_finished() {
            return Kind::Work; // its end is being passed on
        }
        match task.origin() {
            Origin::Work => return Kind::Work,
            Origin::Anybody => return Kind::Promise,
            Origin::Task(source) => task = source,
        }
    }
}
