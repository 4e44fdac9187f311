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
//! | a descriptor (a socket, a child process, a signal), or a promise of a [`Completer`](crate::Completer) | until for [`PATIENCE`] nothing has come and no such wait has begun |
//!
//! The second kind may never end (a listener), and both of its ends may be in this loop. So
//! the loop learns: patience that was in vain is halved, down to [`LEAST`]; what does come
//! from outside restores it. A test whose peers are all inside pays a second in
//! all, however long its virtual time.
//!
//! A wait for something for which the kernel has no event (room in the queue of a Unix listener, a descriptor
//! to accept with) is a row of attempts with pauses between them. Such a row counts as a wait for a
//! descriptor, from its first pause to its end ([`alarm::hold`](crate::alarm::hold)).
//!
//! To ask takes no time, however many tasks wait: each awaited task is in the list of its kind, and the first one that is
//! still of that kind is enough to know what the clock may do. Those before it go where they belong. All are looked
//! through where they have become twice as many since the last time, so what nothing waits for any longer does not stay.
//!
//! What cannot be seen: a channel, a lock or an event that another thread is to use. Await a
//! [`Task`](crate::Task) of what that thread does.
//!
//! Checked by `tests/event_loop/virtual_time.rs` and below.

use std::cell::{Cell, RefCell};
use std::collections::{HashSet, VecDeque};
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
    known: RefCell<Known>,
    /// When something came, or a task began to wait for it.
    stirred: Cell<Instant>,
    patience: Cell<Duration>,
    /// The clock has jumped since.
    in_vain: Cell<bool>,
    /// Since when the loop that drives this one waits, where the clock goes at the real pace.
    left: Cell<Option<Instant>>,
}

/// The tasks that were waited for, each in the list of its kind.
#[derive(Debug, Default)]
struct Known {
    ids: HashSet<TaskId>,
    /// Not looked at yet.
    fresh: Vec<TaskRef>,
    work: VecDeque<TaskRef>,
    promises: VecDeque<TaskRef>,
    /// With the time when that was first seen.
    ended: Vec<(TaskRef, Instant)>,
    /// How many tasks there were when all were looked through.
    looked: usize,
}

/// What is waited for.
struct Waits {
    work: bool,
    promises: bool,
    /// Tasks that have ended are waited for until then.
    ended: Option<Instant>,
}

/// No more tasks than that are looked through for their own sake.
const FEW: usize = 64;

impl Known {
    /// True: it was not known.
    fn add(&mut self, task: TaskRef) -> bool {
        let new = self.ids.insert(task.id());
        if new {
            self.fresh.push(task);
        }
        new
    }

    /// Those that are no longer waited for go to `gone`, to be dropped elsewhere (L4).
    fn look(&mut self, has: &impl Fn(&TaskRef) -> bool, gone: &mut Vec<TaskRef>) -> Waits {
        let now = Instant::now();
        let all = self.ids.len() > 2 * self.looked + FEW;
        if all {
            self.fresh.extend(self.work.drain(..));
            self.fresh.extend(self.promises.drain(..));
        }
        for task in std::mem::take(&mut self.fresh) {
            self.place(task, now, has, gone);
        }
        while let Some(task) = pop_unless(&mut self.work, Kind::Work, has) {
            self.place(task, now, has, gone);
        }
        while let Some(task) = pop_unless(&mut self.promises, Kind::Promise, has) {
            self.place(task, now, has, gone);
        }
        let over = |(task, since): &mut (TaskRef, Instant)| {
            task.is_settled() || now.saturating_duration_since(*since) >= PATIENCE
        };
        for (task, _) in self.ended.extract_if(.., over) {
            self.ids.remove(&task.id());
            gone.push(task);
        }
        if all {
            self.looked = self.ids.len();
        }
        Waits {
            work: !self.work.is_empty(),
            promises: !self.promises.is_empty(),
            ended: self.ended.iter().map(|(_, since)| *since + PATIENCE).max(),
        }
    }

    /// Puts a task that is in no list into that of its kind.
    fn place(
        &mut self,
        task: TaskRef,
        now: Instant,
        has: &impl Fn(&TaskRef) -> bool,
        gone: &mut Vec<TaskRef>,
    ) {
        match kind(&task, has) {
            Kind::Settled | Kind::Inside => {
                self.ids.remove(&task.id());
                gone.push(task);
            }
            Kind::Work => self.work.push_back(task),
            Kind::Promise => self.promises.push_back(task),
            // Its waiter is being told; or nothing will ever ask.
            Kind::Ended => self.ended.push((task, now)),
        }
    }
}

impl Outside {
    pub(super) fn new() -> Self {
        Self {
            known: RefCell::new(Known::default()),
            stirred: Cell::new(Instant::now()),
            patience: Cell::new(PATIENCE),
            in_vain: Cell::new(true),
            left: Cell::new(None),
        }
    }

    /// The loop that drives this one waits until the next turn, at this pace (`None`: it does not,
    /// or no longer).
    pub(super) fn leave(&self, pace: Option<Pace>) {
        let real = matches!(pace, Some(Pace::Real(_)));
        self.left.set(real.then(Instant::now));
    }

    /// How much real time went by since then, if it counts.
    pub(super) fn come_back(&self) -> Option<Duration> {
        self.left.take().map(|since| since.elapsed())
    }

    /// A task begins to wait for a descriptor or a promise.
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
            let new = self.known.borrow_mut().add(task);
            if new && promise {
                self.stir();
            }
        }
    }

    /// Nothing can run. `has`: a task is of this loop; `silent`: a task waits for a descriptor, or the like.
    pub(super) fn pace(&self, has: impl Fn(&TaskRef) -> bool, silent: bool) -> Pace {
        let mut gone = Vec::new();
        let waits = self.known.borrow_mut().look(&has, &mut gone);
        drop(gone); // L4
        if waits.work {
            return Pace::Real(None);
        }
        let mut late = waits.ended;
        if (silent || waits.promises) && !self.in_vain.get() {
            late = late.max(Some(self.stirred.get() + self.patience.get()));
        }
        match late {
            Some(until) if Instant::now() < until => Pace::Real(Some(until)),
            _ => Pace::Jump,
        }
    }

    /// The clock jumps.
    pub(super) fn jumped(&self, silent: bool) {
        let waited = silent || !self.known.borrow().ids.is_empty();
        if waited && !self.in_vain.replace(true) {
            self.patience.set((self.patience.get() / 2).max(LEAST));
        }
    }

    /// The loop ends: it keeps no tasks of others.
    pub(super) fn clear(&self) {
        let known = std::mem::take(&mut *self.known.borrow_mut());
        drop(known);
    }
}

/// The first task of the list, if it is of another kind by now.
fn pop_unless(
    list: &mut VecDeque<TaskRef>,
    expected: Kind,
    has: &impl Fn(&TaskRef) -> bool,
) -> Option<TaskRef> {
    let first = list.front()?;
    (kind(first, has) != expected).then(|| list.pop_front())?
}

#[derive(PartialEq, Eq)]
enum Kind {
    Settled,
    Inside,
    Work,
    Promise,
    Ended,
}

fn kind(task: &TaskRef, has: &impl Fn(&TaskRef) -> bool) -> Kind {
    let mut task = task.clone();
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

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use crate::alarm::{self, Alarm};
    use crate::event_loop::{EventLoop, current, spawn};
    use crate::task::Completer;
    use std::future::poll_fn;

    /// How many tasks this loop keeps in mind.
    fn known() -> usize {
        let known = current::with(|local| Some(local.outside.as_ref()?.known.borrow().ids.len()));
        known.flatten().expect("a virtual clock")
    }

    #[test]
    fn what_is_no_longer_waited_for_does_not_stay() {
        let event_loop = EventLoop::builder().virtual_time().build().unwrap();
        event_loop.block_on(async {
            let start = alarm::now();
            // One that waits all the time, before all others.
            let (first, promise) = Completer::new();
            let first_waits = spawn(promise);
            for n in 0..4 * FEW as u32 {
                let (completer, promise) = Completer::<u32>::new();
                let waiter = spawn(promise);
                let mut alarm = Alarm::after(Duration::from_secs(1));
                poll_fn(|cx| alarm.poll_elapsed(cx)).await;
                match n % 3 {
                    0 => completer.complete(Ok(n)),
                    1 => drop(completer),
                    _ => assert!(waiter.cancel()),
                }
                assert_eq!(matches!(waiter.await, Ok(Ok(_))), n % 3 == 0);
                assert!(known() <= 2 * FEW, "{} after {n}", known());
            }
            assert!(alarm::now() - start >= Duration::from_secs(4 * FEW as u64));
            first.complete(Ok(7));
            assert!(matches!(first_waits.await, Ok(Ok(7))));
        });
    }
}
