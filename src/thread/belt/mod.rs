//! What carries the items of an `imap` to the workers, and their results to who takes them.
//!
//! **Job.** An iterator that may be endless and may block, a function, and somebody who takes
//! results one by one. Never more than `buffer` items are on the belt: pulled, and their results
//! not yet taken.
//!
//! ```text
//!   iterator ──feeder──▶ queue ──helpers──▶ results ──▶ the consumer: `next`, or a poll
//!             a thread           workers
//! ```
//!
//! **Protocol.** One lock; no code of the user's runs under it.
//! 1. Nothing happens before the first `next`. Then, whenever there is room and nobody
//!    feeds, the consumer starts a *feeder*: a thread outside the pool that pulls items while there is
//!    room, waits some time for more room, and ends. The iterator is its own while it pulls.
//! 2. The feeder queues each item, and a *ticket* in the pool: as many as there are items
//!    queued, as far as the pool is wide.
//! 3. A worker that redeems a ticket is a *helper*: it runs items until none is queued.
//!    After each it puts the result in its place, and wakes the consumer if that is the result it waits for.
//! 4. A consumer that waits for one particular item runs it, if nobody has begun it and the pool lets
//!    its callers help, or the consumer is one of its workers. Else it parks, and its pool keeps
//!    its width.
//! 5. The consumer goes away: queued items and results are dropped by it, the tokens of what
//!    runs are cancelled, and what is inside the iterator drops it when it comes back. Nothing is waited for.
//!
//! **Nobody is forgotten.** For each queued item there is a ticket, or somebody who is about to look into the
//! queue (a helper or consumer that waits actively for a moment, a consumer that has been woken for it), or as
//! many helpers and tickets are there as the pool is wide: a helper leaves under the lock, and only when nothing is queued. A pool that is shut
//! down refuses tickets, drops them, and its helpers leave: what is queued then goes to the feeder, or, because
//! that may be stuck in the iterator, to a thread of its own.
//!
//! In a forked child, a belt that the parent has begun says so in words, and is left as it is; a new one is as
//! that of a pool that is shut down.
//!
//! **Why a thread that feeds.** Only the iterator knows whether its `next` blocks, for ever
//! perhaps. In the consumer it would hold up results that are there. In a worker it would take
//! a place from the pool, or cost a spare for each item, and a pool that is dropped would wait for it.
//!
//! Rejected: workers that pull for themselves (see above); a lock-free ring (an item costs two turns of the
//! lock, which are not what it spends its time with); items in chunks (a result would wait for its
//! neighbours).
//!
//! Tests: `tests/thread_imap.rs`.

mod feeder;
mod helper;
mod state;

use std::collections::VecDeque;
use std::sync::{Arc, Weak};
use std::task::{Poll, Waker};
use std::time::Duration;

use self::state::{Source, State, Wake};
use super::crew::Crew;
use super::queue::Mode;
use super::wait::Blocked;
use crate::loom::atomic::{AtomicUsize, Ordering};
use crate::loom::{Condvar, Mutex};
use crate::task::panic::{self, contain};
use crate::task::{Panic, context};

/// How long a feeder waits for room before it ends.
const LINGER: Duration = Duration::from_millis(200);

/// As many items as a pool of this width has on a belt, if nobody says how many.
fn default_buffer(width: usize) -> u64 {
    4 * width as u64 + 16
}

/// What the next call gives: the result of an item, or its panic, or the iterator's; `None` at the end.
pub(super) type Given<R> = Option<Result<R, Panic>>;

/// A belt as its consumer sees it.
pub(super) trait Conveyor<R>: Send + Sync {
    /// Blocks until there is something to give.
    fn next(&self) -> Given<R>;
    /// Leaves the waker where there is nothing to give yet. Never blocks.
    fn poll(&self, waker: &Waker) -> Poll<Given<R>>;
    fn set_buffer(&self, items: usize);
    fn size_hint(&self) -> (usize, Option<usize>);
    /// The consumer goes away.
    fn cancel(&self);
    /// Items on the belt, and how many there may be.
    fn load(&self) -> (u64, u64);
}

pub(super) struct Belt<I: Iterator, F, R> {
    me: Weak<Self>,
    crew: Arc<Crew>,
    f: F,
    ordered: bool,
    /// What the iterator has promised at the start.
    promised: (usize, Option<usize>),
    state: Mutex<State<I, R>>,
    /// Three hints for those who look for a moment before they sleep: written under the lock,
    /// read without it. How many items are queued, for helpers;
    queued: AtomicUsize,
    /// changes when there may be something for the consumer;
    moved: AtomicUsize,
    /// and when there may be room for the feeder.
    taken: AtomicUsize,
    /// Told of room, for the feeder.
    room: Condvar,
    /// Told of what a blocked consumer waits for.
    ready: Condvar,
}

impl<I, F, R> Belt<I, F, R>
where
    I: Iterator<Item: Send> + Send + 'static,
    F: Fn(I::Item) -> R + Send + Sync + 'static,
    R: Send + 'static,
{
    pub(super) fn new(crew: &Arc<Crew>, source: I, f: F, ordered: bool) -> Arc<Self> {
        let promised = source.size_hint();
        Arc::new_cyclic(|me| Self {
            me: me.clone(),
            crew: Arc::clone(crew),
            f,
            ordered,
            promised,
            state: Mutex::new(State {
                source: Source::Here(source),
                feeding: false,
                feeder_waits: false,
                impatient: false,
                feeder: None,
                buffer: default_buffer(crew.width()),
                pulled: 0,
                taken: 0,
                queue: VecDeque::new(),
                results: VecDeque::new(),
                ending: None,
                helpers: 0,
                looking: 0,
                consumer_looks: false,
                tickets: 0,
                elsewhere: false,
                helping: Vec::new(),
                cancelled: false,
                consumer_waits: false,
                consumer_helps: false,
                waker: None,
            }),
            queued: AtomicUsize::new(0),
            moved: AtomicUsize::new(0),
            taken: AtomicUsize::new(0),
            room: Condvar::new(),
            ready: Condvar::new(),
        })
    }

    fn is_open(&self) -> bool {
        self.crew.injector().mode() == Mode::Open
    }

    fn wake(&self, wake: Wake) {
        if wake.thread {
            self.ready.notify_one();
        }
        if let Some(waker) = wake.waker {
            contain(|| waker.wake());
        }
    }

    fn pop(&self, state: &mut State<I, R>) -> Option<(u64, I::Item)> {
        let item = state.queue.pop_front()?;
        self.queued.store(state.queue.len(), Ordering::Relaxed);
        Some(item)
    }

    /// Tells those who look that an item has been queued.
    fn note_queue(&self, state: &State<I, R>) {
        self.queued.store(state.queue.len(), Ordering::Relaxed);
        self.note_move();
    }

    /// Tells a consumer that looks. Under the lock.
    fn note_move(&self) {
        let moved = self.moved.load(Ordering::Relaxed);
        self.moved.store(moved.wrapping_add(1), Ordering::Relaxed);
    }

    // ---- the consumer ----------------------------------------------------

    /// Has the belt moved on where there is room. `enough`: so much that it is worth it.
    fn feed_if(&self, state: &mut State<I, R>, enough: bool) -> bool {
        if !enough || state.room() == 0 {
            return false;
        }
        if state.feeder_waits {
            state.feeder_waits = false;
            self.room.notify_one();
        }
        !state.feeding && matches!(state.source, Source::Here(_)) && {
            state.feeding = true;
            true
        }
    }

    /// What there is to give now, and whether a feeder must be started afterwards.
    fn give(&self, state: &mut State<I, R>) -> Option<(Given<R>, bool)> {
        if let Some(given) = state.take() {
            let taken = self.taken.load(Ordering::Relaxed);
            self.taken.store(taken.wrapping_add(1), Ordering::Relaxed);
            let enough = state.much_room();
            return Some((Some(given), self.feed_if(state, enough)));
        }
        if state.is_over() {
            return Some((state.ending.take().map(Err), false));
        }
        None
    }

    /// Calls the function, inside of the pool, on whatever thread.
    fn call(&self, item: I::Item) -> Result<R, Panic> {
        self.crew.seated(|_| panic::catch(|| (self.f)(item)))
    }

    fn may_help(&self) -> bool {
        (self.crew.config().caller_helps || self.crew.is_home()) && context::stack_left()
    }
}

impl<I, F, R> Conveyor<R> for Belt<I, F, R>
where
    I: Iterator<Item: Send> + Send + 'static,
    F: Fn(I::Item) -> R + Send + Sync + 'static,
    R: Send + 'static,
{
    fn next(&self) -> Given<R> {
        self.crew.insist();
        let (mut blocked, mut helps, mut looked) = (None, None, false);
        loop {
            let mut state = self.state.lock();
            state.consumer_looks = false;
            if let Some((given, feed)) = self.give(&mut state) {
                drop(state);
                if feed {
                    self.start_feeder();
                }
                return given;
            }
            if self.feed_if(&mut state, true) {
                drop(state);
                self.start_feeder();
                continue;
            }
            let helps = *helps.get_or_insert_with(|| self.may_help());
            if helps
                && state.is_due(self.ordered)
                && let Some((at, item)) = self.pop(&mut state)
            {
                drop(state);
                drop(blocked.take());
                let result = self.call(item);
                let unwanted = self.state.lock().store(self.ordered, at, result);
                debug_assert!(unwanted.is_none(), "we are the consumer");
                looked = false;
                continue;
            }
            if !looked {
                looked = true;
                state.consumer_looks = helps;
                let seen = self.moved.load(Ordering::Relaxed);
                drop(state);
                self.look(|| self.moved.load(Ordering::Relaxed) != seen);
                continue;
            }
            if blocked.is_none() {
                // Not under the lock; then it looks once more.
                drop(state);
                blocked = Some(Blocked::begin());
                continue;
            }
            state.consumer_waits = true;
            state.consumer_helps = helps;
            while state.consumer_waits {
                state = self.ready.wait(state);
            }
        }
    }

    fn poll(&self, waker: &Waker) -> Poll<Given<R>> {
        self.crew.insist();
        let mut clone = None;
        loop {
            let mut state = self.state.lock();
            if let Some((given, feed)) = self.give(&mut state) {
                drop(state);
                if feed {
                    self.start_feeder();
                }
                return Poll::Ready(given);
            }
            if self.feed_if(&mut state, true) {
                drop(state);
                self.start_feeder();
                continue;
            }
            if state.waker.as_ref().is_some_and(|old| old.will_wake(waker)) {
                return Poll::Pending;
            }
            if clone.is_some() {
                let replaced = std::mem::replace(&mut state.waker, clone);
                drop(state);
                contain(|| drop(replaced));
                return Poll::Pending;
            }
            // Cloning is a call into somebody's vtable: not under the lock.
            drop(state);
            clone = Some(waker.clone());
        }
    }

    fn set_buffer(&self, items: usize) {
        self.crew.insist();
        self.state.lock().buffer = items.max(1) as u64;
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        if self.crew.is_foreign() {
            return (0, None); // as in `cancel`
        }
        let state = self.state.lock();
        if matches!(state.source, Source::Gone) {
            let left = usize::try_from(state.pulled - state.taken).unwrap_or(usize::MAX);
            return (left, Some(left));
        }
        let taken = usize::try_from(state.taken).unwrap_or(usize::MAX);
        let (least, most) = self.promised;
        (
            least.saturating_sub(taken),
            most.map(|most| most.saturating_sub(taken)),
        )
    }

    fn cancel(&self) {
        if self.crew.is_foreign() {
            return; // a forked child: the lock may be held for ever, and nobody is there to be told
        }
        let mut state = self.state.lock();
        state.cancelled = true;
        let source = match &state.source {
            Source::Here(_) => Some(std::mem::replace(&mut state.source, Source::Gone)),
            Source::Out | Source::Gone => None,
        };
        let queue = std::mem::take(&mut state.queue);
        let results = std::mem::take(&mut state.results);
        let ending = state.ending.take();
        let waker = state.waker.take();
        let helping = std::mem::take(&mut state.helping);
        let feeder = state.feeder.take();
        drop(state);
        self.room.notify_one();
        for task in helping.iter().chain(&feeder) {
            task.cancel();
        }
        // One by one: each may panic.
        contain(|| drop(source));
        queue.into_iter().for_each(|item| contain(|| drop(item)));
        results
            .into_iter()
            .for_each(|given| contain(|| drop(given)));
        contain(|| drop(ending));
        contain(|| drop(waker));
    }

    fn load(&self) -> (u64, u64) {
        if self.crew.is_foreign() {
            return (0, 0);
        }
        let state = self.state.lock();
        (state.pulled - state.taken, state.buffer)
    }
}
