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
//! **Nobody is forgotten.** A queued item has a ticket, or as many helpers and tickets are
//! there as the pool is wide (or the consumer itself has been woken for it, 4): a helper leaves
//! under the lock, and only when nothing is queued. A pool that is shut
//! down refuses tickets, drops them, and its helpers leave: what is queued then goes to the feeder, or, because
//! that may be stuck in the iterator, to a thread of its own.
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

use std::collections::VecDeque;
use std::sync::{Arc, Weak};
use std::task::{Poll, Waker};
use std::time::{Duration, Instant};

use super::crew::Crew;
use super::queue::{Mode, Work};
use super::wait::Blocked;
use crate::loom::atomic::{AtomicUsize, Ordering};
use crate::loom::thread::Builder;
use crate::loom::{Condvar, Mutex, hint};
use crate::task::panic::{self, contain};
use crate::task::{self, Panic, Runnable, TaskError, TaskRef, context};

/// How long a feeder waits for room before it ends.
const LINGER: Duration = Duration::from_millis(200);

/// How many times a helper looks for one more item before it leaves.
const LOOKS: u32 = 200;

/// As many items as a pool of this width has on a belt, if nobody says how many.
fn default_buffer(width: usize) -> u64 {
    4 * width as u64
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
    /// How many are queued: written under the lock, read without it by helpers that look.
    queued: AtomicUsize,
    /// Told of room, for the feeder.
    room: Condvar,
    /// Told of what a blocked consumer waits for.
    ready: Condvar,
}

enum Source<I> {
    Here(I),
    /// The feeder has it.
    Out,
    /// It has ended, and been dropped.
    Gone,
}

struct State<I: Iterator, R> {
    source: Source<I>,
    feeding: bool,
    feeder_waits: bool,
    /// It must not wait for room: it has no thread of its own.
    impatient: bool,
    feeder: Option<TaskRef>,
    buffer: u64,
    /// Items pulled, or just being pulled, and results taken.
    pulled: u64,
    taken: u64,
    /// Nobody has begun them.
    queue: VecDeque<(u64, I::Item)>,
    /// In order, the first is that of item `taken`; else as they came.
    results: VecDeque<Given<R>>,
    /// The iterator's own panic: what comes last.
    ending: Option<Panic>,
    helpers: usize,
    tickets: usize,
    /// A thread of its own runs items, because the pool does not.
    elsewhere: bool,
    helping: Vec<TaskRef>,
    cancelled: bool,
    consumer_waits: bool,
    /// It would run the item itself.
    consumer_helps: bool,
    waker: Option<Waker>,
}

/// What to do after the lock has been let go.
#[must_use]
#[derive(Default)]
struct Wake {
    thread: bool,
    waker: Option<Waker>,
}

impl<I: Iterator, R> State<I, R> {
    fn room(&self) -> u64 {
        self.buffer.saturating_sub(self.pulled - self.taken)
    }

    /// There is so much room that it is worth waking somebody for it.
    fn much_room(&self) -> bool {
        self.room() >= (self.buffer / 2).max(1)
    }

    fn can_give(&self) -> bool {
        matches!(self.results.front(), Some(Some(_)))
    }

    fn is_over(&self) -> bool {
        matches!(self.source, Source::Gone) && self.taken == self.pulled
    }

    fn take(&mut self) -> Given<R> {
        if !self.can_give() {
            return None;
        }
        self.taken += 1;
        self.results.pop_front().flatten()
    }

    /// Gives the result back if nobody wants it.
    fn store(&mut self, ordered: bool, at: u64, result: Result<R, Panic>) -> Given<R> {
        if self.cancelled {
            return Some(result);
        }
        let place = if ordered {
            (at - self.taken) as usize // within the buffer
        } else {
            self.results.len()
        };
        if place >= self.results.len() {
            self.results.resize_with(place + 1, || None);
        }
        self.results[place] = Some(result);
        None
    }

    /// The item that the consumer waits for is queued. Where any will do, it waits for none of
    /// them: another might end while it runs this one.
    fn is_due(&self, ordered: bool) -> bool {
        ordered && self.queue.front().is_some_and(|&(at, _)| at == self.taken)
    }

    /// The consumer waits, and has something to come for.
    fn wake(&mut self) -> Wake {
        if !self.can_give() && !self.is_over() {
            return Wake::default();
        }
        Wake {
            thread: std::mem::take(&mut self.consumer_waits),
            waker: self.waker.take(),
        }
    }
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
                tickets: 0,
                elsewhere: false,
                helping: Vec::new(),
                cancelled: false,
                consumer_waits: false,
                consumer_helps: false,
                waker: None,
            }),
            queued: AtomicUsize::new(0),
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
            let enough = state.much_room();
            return Some((Some(given), self.feed_if(state, enough)));
        }
        if state.is_over() {
            return Some((state.ending.take().map(Err), false));
        }
        None
    }

    fn start_feeder(&self) {
        let Some(belt) = self.me.upgrade() else {
            return;
        };
        let (runnable, task) = task::closure(move || belt.feed(), false);
        task.detach();
        self.state.lock().feeder = Some(runnable.task_ref());
        let Err(runnable) = self.start(runnable) else {
            return;
        };
        // No thread to be had: a worker, else here.
        self.state.lock().impatient = true;
        if let Err(Work::Task(runnable)) = self.crew.submit(Work::Task(runnable)) {
            runnable.run();
        }
    }

    /// Runs it on a thread of its own, or gives it back.
    fn start(&self, runnable: Runnable) -> Result<(), Runnable> {
        // In a cradle, so that it survives if there is no thread.
        let cradle = Arc::new(Mutex::new(Some(runnable)));
        let theirs = Arc::clone(&cradle);
        let builder = Builder::new()
            .name("trefoil-imap".into())
            .stack_size(self.crew.config().stack_bytes());
        let started = builder.spawn(move || {
            let runnable = theirs.lock().take();
            if let Some(runnable) = runnable {
                runnable.run();
            }
        });
        if started.is_ok() {
            return Ok(());
        }
        let runnable = cradle.lock().take();
        runnable.map_or(Ok(()), Err)
    }

    fn may_help(&self) -> bool {
        (self.crew.config().caller_helps || self.crew.is_home()) && context::stack_left()
    }

    // ---- the feeder ------------------------------------------------------

    /// Step 1, on a thread of its own.
    fn feed(&self) {
        // It counts only where the system gives no thread, and a worker has to do it.
        let _blocked = Blocked::begin();
        let Some(mut source) = self.take_source() else {
            return;
        };
        let mut ending = None;
        while self.reserve() {
            match panic::catch(|| source.next()) {
                Ok(Some(item)) => self.queue(item),
                Ok(None) => break,
                Err(panic) => {
                    ending = Some(panic);
                    break;
                }
            }
            if self.is_full() {
                match self.rest(source) {
                    Some(again) => source = again,
                    None => return,
                }
            }
        }
        // It goes before its end is visible.
        if ending.is_some() {
            contain(|| drop(source));
        } else {
            ending = panic::catch(|| drop(source)).err();
        }
        let mut state = self.state.lock();
        state.source = Source::Gone;
        state.feeding = false;
        if !state.cancelled {
            state.pulled -= 1; // reserved in vain
            state.ending = ending.take();
        }
        let wake = state.wake();
        drop(state);
        self.wake(wake);
        contain(|| drop(ending));
    }

    fn take_source(&self) -> Option<I> {
        let mut state = self.state.lock();
        match std::mem::replace(&mut state.source, Source::Out) {
            Source::Here(source) => Some(source),
            other => {
                // Cancelled meanwhile.
                state.source = other;
                state.feeding = false;
                None
            }
        }
    }

    /// A place on the belt for the next item, as there is room. False: nobody wants it.
    fn reserve(&self) -> bool {
        let mut state = self.state.lock();
        state.pulled += u64::from(!state.cancelled);
        !state.cancelled
    }

    fn is_full(&self) -> bool {
        let state = self.state.lock();
        state.room() == 0 && !state.cancelled
    }

    /// Waits for room. `None`: there has been none for long, and the iterator is back in its place.
    fn rest(&self, source: I) -> Option<I> {
        let mut state = self.state.lock();
        let deadline = Instant::now() + LINGER;
        let mut late = state.impatient;
        while state.room() == 0 && !state.cancelled && !late {
            state.feeder_waits = true;
            (state, late) = self.room.wait_until(state, deadline);
        }
        state.feeder_waits = false;
        if state.room() > 0 || state.cancelled {
            return Some(source);
        }
        state.source = Source::Here(source);
        state.feeding = false;
        None
    }

    /// Step 2.
    fn queue(&self, item: I::Item) {
        let open = self.is_open();
        let mut state = self.state.lock();
        if state.cancelled {
            drop(state);
            contain(|| drop(item));
            return;
        }
        let at = state.pulled - 1;
        state.queue.push_back((at, item));
        let queued = state.queue.len();
        self.queued.store(queued, Ordering::Relaxed);
        if queued == 1 && state.consumer_waits && state.consumer_helps && state.is_due(self.ordered)
        {
            state.consumer_waits = false;
            drop(state);
            self.ready.notify_one();
        } else if !open {
            state.helpers += 1;
            drop(state);
            self.help(Place::Feeder);
        } else if state.tickets < queued && state.helpers + state.tickets < self.crew.width() {
            state.tickets += 1;
            drop(state);
            self.issue_ticket();
        }
    }

    fn issue_ticket(&self) {
        let Some(belt) = self.me.upgrade() else {
            return;
        };
        let ticket = Ticket(Some(belt));
        let (runnable, task) = task::closure(move || ticket.redeem(), false);
        task.detach();
        self.remember(&runnable);
        if let Err(Work::Task(refused)) = self.crew.submit(Work::Task(runnable)) {
            refused.discard(TaskError::Cancelled); // which drops the ticket
        }
    }

    /// To be cancelled with the belt.
    fn remember(&self, runnable: &Runnable) {
        let mut state = self.state.lock();
        state.helping.retain(|task| !task.is_finished());
        state.helping.push(runnable.task_ref());
    }

    // ---- helpers ---------------------------------------------------------

    /// Step 3. Our caller has counted it as a helper.
    fn help(&self, place: Place) {
        let mut done = None;
        let mut looked = place != Place::Worker;
        loop {
            let open = place != Place::Worker || self.is_open();
            let mut state = self.state.lock();
            let (mut unwanted, mut wake) = (None, Wake::default());
            if let Some((at, result)) = done.take() {
                unwanted = state.store(self.ordered, at, result);
                wake = state.wake();
            }
            let next = if open && !state.cancelled {
                self.pop(&mut state)
            } else {
                None
            };
            let look = next.is_none() && !looked && open && state.feeding && !state.cancelled;
            let mut stranded = false;
            if next.is_none() && !look {
                state.helpers -= 1;
                state.elsewhere &= place != Place::Elsewhere;
                stranded = !state.queue.is_empty() && !state.cancelled;
            }
            drop(state);
            self.wake(wake);
            contain(|| drop(unwanted));
            match next {
                Some((at, item)) => {
                    done = Some((at, panic::catch(|| (self.f)(item))));
                    looked = place != Place::Worker;
                }
                None if look => {
                    looked = true;
                    self.look();
                }
                None => {
                    if stranded {
                        self.help_elsewhere();
                    }
                    return;
                }
            }
        }
    }

    /// Waits a moment for an item.
    fn look(&self) {
        for _ in 0..LOOKS {
            if self.queued.load(Ordering::Relaxed) > 0 {
                return;
            }
            hint::spin_loop();
        }
    }

    /// The pool does not run what is queued: a thread of its own does.
    fn help_elsewhere(&self) {
        let Some(belt) = self.me.upgrade() else {
            return;
        };
        let mut state = self.state.lock();
        if std::mem::replace(&mut state.elsewhere, true) {
            return;
        }
        state.helpers += 1;
        drop(state);
        let (runnable, task) = task::closure(move || belt.help(Place::Elsewhere), false);
        task.detach();
        self.remember(&runnable);
        if let Err(runnable) = self.start(runnable) {
            runnable.run();
        }
    }
}

/// Where a helper runs.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    Worker,
    Feeder,
    Elsewhere,
}

/// A belt as the pool sees it.
trait Helped: Send + Sync {
    fn redeem(&self);
    fn refuse(&self);
}

impl<I, F, R> Helped for Belt<I, F, R>
where
    I: Iterator<Item: Send> + Send + 'static,
    F: Fn(I::Item) -> R + Send + Sync + 'static,
    R: Send + 'static,
{
    fn redeem(&self) {
        let mut state = self.state.lock();
        state.tickets -= 1;
        state.helpers += 1;
        drop(state);
        self.help(Place::Worker);
    }

    fn refuse(&self) {
        let mut state = self.state.lock();
        state.tickets -= 1;
        let stranded = !state.queue.is_empty() && !state.cancelled;
        drop(state);
        if stranded {
            self.help_elsewhere();
        }
    }
}

/// "Help at this belt." Dropped by a pool that does not.
struct Ticket(Option<Arc<dyn Helped>>);

impl Ticket {
    fn redeem(mut self) {
        if let Some(belt) = self.0.take() {
            belt.redeem();
        }
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        if let Some(belt) = self.0.take() {
            belt.refuse();
        }
    }
}

impl<I, F, R> Conveyor<R> for Belt<I, F, R>
where
    I: Iterator<Item: Send> + Send + 'static,
    F: Fn(I::Item) -> R + Send + Sync + 'static,
    R: Send + 'static,
{
    fn next(&self) -> Given<R> {
        let (mut blocked, mut helps) = (None, None);
        loop {
            let mut state = self.state.lock();
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
                let result = panic::catch(|| (self.f)(item));
                let unwanted = self.state.lock().store(self.ordered, at, result);
                debug_assert!(unwanted.is_none(), "we are the consumer");
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
        self.state.lock().buffer = items.max(1) as u64;
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
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
        let mut state = self.state.lock();
        state.cancelled = true;
        let source = match &state.source {
            Source::Here(_) => std::mem::replace(&mut state.source, Source::Gone),
            _ => Source::Gone,
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
        let state = self.state.lock();
        (state.pulled - state.taken, state.buffer)
    }
}
