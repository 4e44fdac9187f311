//! The pipeline of an `imap`: a thread that pulls items, and a bounded queue of their tasks.
//!
//! Each item becomes a task of the pool; at most `buffer` items are under way: pulled, with results
//! not yet taken. `docs/internals/decisions/imap-feeder.md` has the reasons.
//!
//! **Protocol.** One lock; no user code runs under it.
//! 1. Nothing happens before the first `next`. Then, whenever half of the buffer is free and there
//!    is no feeder, the consumer starts a *feeder* on a helper thread, outside the pool, that pulls
//!    items while there is room. (An idle helper waits for its next job for a while, so the next
//!    feeder usually costs only a wake-up.) While there is no feeder, the iterator is in its place
//!    in the state, where a consumer that goes away finds and drops it.
//! 2. The feeder makes a task of each item, adds its handle to the tasks (in order) or to the group
//!    (in any order), and queues it in the pool. A pool that has been shut down refuses it: the
//!    feeder runs it. If the system gives no thread for the feeder, a consumer that has nothing to
//!    wait for pulls one item itself (a polled one lets the pool do so). If it gives none for the
//!    pool, a consumer in any order runs an item that has not begun, as the sequential program
//!    would. Another thread may learn that there are no threads while the consumer already waits,
//!    so the consumer looks again, each time after twice as long.
//! 3. In order, the consumer takes the oldest handle and waits for that task as `Task::join` does:
//!    it runs the item itself if no thread has begun it and the pool's rules allow that. In any
//!    order, it waits for the group's next task. Only if there is no task does it leave a waker for
//!    the feeder.
//! 4. When the consumer is dropped, it cancels the tasks, and drops the iterator if that is in its
//!    place; if not, the feeder does so when the iterator returns. It does not wait.
//! 5. An item that panics has a result like others; `iterator.rs` resumes the panic where that is
//!    taken, and later items still come.
//!
//! A pool that cancels pending work still runs the items (`Work::Item`), because the consumer waits
//! for them. In a forked child, an `imap` that the parent has begun panics with a message, and its
//! state is left alone.
//!
//! Tests:
//! `tests/thread/imap.rs::{nothing_happens_before_the_first_next_and_never_more_than_the_buffer,
//! an_iterator_that_blocks_holds_up_no_result, dropped_at_every_moment_it_leaves_nothing_behind}`.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker, ready};
use std::time::{Duration, Instant};

use crate::blocking_threads;
use crate::events::{self, Items};
use crate::loom::{Mutex, MutexGuard};
use crate::parking::park;
use crate::task::panic::{self, contain};
use crate::task::{self, GroupHandle, Panic, Runnable, Task, TaskError, TaskGroup, cancel_all};
use crate::thread::engine::config::{STALL, imap_buffer};
use crate::thread::engine::queue::Work;
use crate::thread::engine::registry::Registry;

/// The longest time between a consumer's two checks whether the system gives threads.
const LONGEST_CHECK_PAUSE: Duration = Duration::from_secs(3600);

/// The outcome of an item: its index and its result. Its panic is a value, so that one that is not
/// taken is not reported.
type Outcome<R> = Result<(usize, R), Panic>;

/// The iterator and the function: makes a task of the next item.
type TaskSource<R> = Box<dyn FnMut() -> Option<(Runnable, Task<Outcome<R>>)> + Send>;

/// The result of the next call: an item's outcome, or the iterator's panic; `None` at the end.
pub(in crate::thread) type Given<R> = Option<Outcome<R>>;

/// The state that the feeder and the consumer share.
struct Pipeline<R> {
    registry: Arc<Registry>,
    /// That of the items.
    /// The iterator's size hint at the start.
    promised: (usize, Option<usize>),
    /// Counts the items for those who look at it.
    counted: Option<Items>,
    state: Mutex<PipelineState<R>>,
}

struct PipelineState<R> {
    /// The iterator and the function. `None`: the feeder is using them, or they have been dropped.
    source: Option<TaskSource<R>>,
    /// Whether the source has ended, or no more items are wanted.
    over: bool,
    /// The iterator's own panic, which is the last outcome.
    ending: Option<Panic>,
    feeding: bool,
    /// The feeder that was started last.
    feeder: Option<Task<()>>,
    /// Whether the system gave no thread for the feeder.
    refused: bool,
    buffer: u64,
    /// The number of items pulled or being pulled, and of results taken.
    pulled: u64,
    taken: u64,
    /// In order: the tasks that the consumer has not reached. (In any order, they are in the
    /// group.)
    tasks: VecDeque<Task<Outcome<R>>>,
    group: Option<GroupHandle<Outcome<R>>>,
    /// The waker of a consumer that found neither a task nor the end.
    waker: Option<Waker>,
}

impl<R> PipelineState<R> {
    fn room(&self) -> u64 {
        self.buffer.saturating_sub(self.pulled - self.taken)
    }

    /// Takes the source, and reserves a place in the buffer for the next item. `None`: the source
    /// is in use or has ended, or the buffer is full.
    fn reserve(&mut self) -> Option<TaskSource<R>> {
        if self.room() == 0 {
            return None;
        }
        let source = self.source.take();
        self.pulled += u64::from(source.is_some());
        source
    }

    /// With how much room a feeder starts again. Starting one wakes a worker, so it is worth it
    /// only for half of the buffer.
    fn restart_room(&self) -> u64 {
        (self.buffer / 2).max(1)
    }
}

impl<R: Send + 'static> Pipeline<R> {
    /// Starts a feeder if there is enough room.
    fn start_feeder(self: &Arc<Self>, mut state: MutexGuard<'_, PipelineState<R>>) {
        if state.feeding || state.source.is_none() || state.room() < state.restart_room() {
            return;
        }
        state.feeding = true;
        drop(state);
        let this = Arc::clone(self);
        let (runnable, mut task) = task::closure(move || this.feed(), false);
        let stack = self.registry.config.stack_bytes();
        let refused = blocking_threads::start_with(stack, move || _ = runnable.run()).is_err();
        let mut state = self.state.lock();
        if refused {
            state.feeding = false;
            let _closed = task.try_join(); // that is no failure: the consumer pulls
        }
        state.refused = refused;
        let before = state.feeder.replace(task);
        drop(state);
        drop(before); // its destructor, outside of the lock
    }

    /// Steps 1 and 2, on a helper thread.
    fn feed(&self) {
        loop {
            let mut state = self.state.lock();
            let source = state.reserve();
            state.feeding = source.is_some();
            drop(state);
            match source {
                Some(source) => self.pull(source),
                None => return,
            }
        }
    }

    /// Makes a task of the next item, for which a place is reserved, and puts the source back.
    fn pull(&self, mut source: TaskSource<R>) {
        let (runnable, task) = match panic::catch(&mut source) {
            Ok(Some(pair)) => pair,
            Ok(None) => return self.end(panic::catch(|| drop(source)).err()),
            Err(panic) => {
                contain(|| drop(source));
                return self.end(Some(panic));
            }
        };
        let mut state = self.state.lock();
        if state.over {
            drop(state);
            task.cancel();
            return contain(|| drop(source));
        }
        match &state.group {
            // It has not begun, so no waker is called under the lock.
            Some(group) => _ = group.add(task),
            None => state.tasks.push_back(task),
        }
        state.source = Some(source);
        let waker = state.waker.take();
        drop(state);
        self.run(runnable);
        blocking_threads::wake(waker);
    }

    /// Pulls one item on this thread, because the system gives no thread for a feeder.
    fn feed_one(&self, source: TaskSource<R>) {
        let over = self.state.lock().over;
        if over {
            return contain(|| drop(source)); // the consumer has gone
        }
        park::blocked(|| self.pull(source));
    }

    /// Lets the pool run a task, or this thread if the pool has been shut down.
    fn run(&self, runnable: Runnable) {
        if let Err(Work::Item(runnable)) = self.registry.inject_here(Work::Item(runnable)) {
            let mut runnable = Some(runnable);
            self.registry.as_worker(&mut |_| {
                runnable.take().map(Runnable::run);
            });
        }
    }

    /// The source has ended, and been dropped.
    fn end(&self, mut ending: Option<Panic>) {
        let mut state = self.state.lock();
        state.pulled -= 1; // reserved in vain
        if !std::mem::replace(&mut state.over, true) {
            state.ending = ending.take();
        }
        let waker = state.waker.take();
        drop(state);
        blocking_threads::wake(waker);
        contain(|| drop(ending));
    }
}

/// The source of results, without bounds on their type.
pub(in crate::thread) trait Results<R>: Send + Sync {
    /// Blocks until there is a result or the end.
    fn next(&mut self) -> Given<R>;
    /// Leaves the waker if there is no result yet. Never blocks.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Given<R>>;
    fn set_buffer(&self, items: usize);
    fn size_hint(&self) -> (usize, Option<usize>);
}

struct Consumer<R> {
    pipeline: Arc<Pipeline<R>>,
    /// In order: the oldest task.
    front: Option<Task<Outcome<R>>>,
    /// In any order: all of them.
    group: Option<TaskGroup<Outcome<R>>>,
}

pub(in crate::thread) fn start<I, F, R>(
    registry: &Arc<Registry>,
    mut items: I,
    f: F,
    ordered: bool,
) -> Box<dyn Results<R>>
where
    I: Iterator<Item: Send> + Send + 'static,
    F: Fn(I::Item) -> R + Send + Sync + 'static,
    R: Send + 'static,
{
    let promised = items.size_hint();
    let (tag, f) = (registry.claim_tag(), Arc::new(f));
    let mut count = 0;
    let source = move || {
        let (number, item) = (count, items.next()?);
        count += 1;
        let f = Arc::clone(&f);
        let call = move || panic::catch(|| (number, f(item)));
        let (runnable, task) = task::closure(call, true);
        runnable.set_tag(tag);
        Some((runnable, task))
    };
    let group = (!ordered).then(TaskGroup::new);
    let state = PipelineState {
        source: Some(Box::new(source)),
        over: false,
        ending: None,
        feeding: false,
        feeder: None,
        refused: false,
        buffer: imap_buffer(registry.sleep.width()),
        pulled: 0,
        taken: 0,
        tasks: VecDeque::new(),
        group: group.as_ref().map(TaskGroup::handle),
        waker: None,
    };
    let pipeline = Arc::new(Pipeline {
        registry: Arc::clone(registry),
        counted: events::items("imap on threads", 0, promised.1),
        promised,
        state: Mutex::new(state),
    });
    Box::new(Consumer {
        pipeline,
        front: None,
        group,
    })
}

impl<R: Send + 'static> Consumer<R> {
    /// Ready(true): there is a task to wait for; Ready(false): the end. Otherwise it leaves the
    /// waker. If the system gives no thread for the feeder, this pulls an item itself, if it
    /// `may_block`; otherwise it lets the pool do so.
    fn poll_next_task(&mut self, waker: &Waker, may_block: bool) -> Poll<bool> {
        self.pipeline.registry.assert_not_forked();
        if self.front.is_some() {
            return Poll::Ready(true);
        }
        // Cloning it runs user code, so not under the lock.
        let waker = waker.clone();
        loop {
            let mut state = self.pipeline.state.lock();
            if !state.feeding {
                self.pipeline.start_feeder(state);
                state = self.pipeline.state.lock();
            }
            let found = match &self.group {
                Some(group) => !group.is_empty(),
                None => {
                    self.front = state.tasks.pop_front();
                    self.front.is_some()
                }
            };
            if found || state.over && state.taken == state.pulled {
                return Poll::Ready(found);
            }
            let source = if state.refused { state.reserve() } else { None };
            if may_block && let Some(source) = source {
                drop(state);
                self.pipeline.feed_one(source);
                continue;
            }
            let before = state.waker.replace(waker);
            drop(state);
            drop(before);
            if let Some(source) = source {
                let pipeline = Arc::clone(&self.pipeline);
                let (runnable, task) = task::closure(move || pipeline.feed_one(source), false);
                self.pipeline.run(runnable);
                task.detach();
            }
            return Poll::Pending;
        }
    }

    fn poll_task(&mut self, cx: &mut Context<'_>) -> Poll<Given<R>> {
        let ended = match (&mut self.front, &mut self.group) {
            (Some(task), _) => Pin::new(task).poll(cx).map(Some),
            (None, Some(group)) => {
                let next = Pin::new(&mut group.next()).poll(cx);
                next.map(|next| next.map(|(_, result)| result))
            }
            (None, None) => Poll::Ready(None),
        };
        ended.map(|result| self.took(result?))
    }

    /// Counts an ended task, and returns its outcome.
    fn took(&mut self, result: Result<Outcome<R>, TaskError>) -> Given<R> {
        self.front = None;
        let mut state = self.pipeline.state.lock();
        state.taken += 1;
        if let Some(counted) = &self.pipeline.counted {
            counted.add(1);
        }
        self.pipeline.start_feeder(state);
        Some(match result {
            Ok(outcome) => outcome,
            // The function's destructor has panicked.
            Err(TaskError::Panicked(panic)) => Err(*panic),
            Err(error) => panic!("trefoil: an item of an imap was lost: {error}"),
        })
    }

    /// The system has given no thread for the feeder, or for the pool.
    fn lacks_threads(&self) -> bool {
        self.pipeline.registry.lacks_threads() || self.pipeline.state.lock().refused
    }

    /// In any order: runs an item that no thread has begun if the pool has no thread for it;
    /// returns whether it did.
    fn run_one(&self) -> bool {
        self.lacks_threads() && self.group.as_ref().is_some_and(TaskGroup::run_one)
    }

    fn end(&self) -> Given<R> {
        self.pipeline.state.lock().ending.take().map(Err)
    }
}

/// Blocks until `poll` is ready, and checks after a while, then after twice as long and so on,
/// whether the system gives threads.
fn wait_patiently<T>(mut poll: impl FnMut(&Waker) -> Poll<T>) -> T {
    let mut patience = STALL;
    loop {
        let mut found = Poll::Pending;
        park::wait_if(true, Some(Instant::now() + patience), &mut |waker| {
            found = poll(waker);
            found.is_ready()
        });
        if let Poll::Ready(found) = found {
            return found;
        }
        patience = patience.saturating_mul(2).min(LONGEST_CHECK_PAUSE);
    }
}

impl<R: Send + 'static> Results<R> for Consumer<R> {
    fn next(&mut self) -> Given<R> {
        let found = match self.poll_next_task(Waker::noop(), true) {
            Poll::Ready(found) => found,
            Poll::Pending => wait_patiently(|waker| self.poll_next_task(waker, true)),
        };
        if !found {
            return self.end();
        }
        if let Some(result) = self.front.as_mut().and_then(Task::help) {
            return self.took(result);
        }
        wait_patiently(|waker| {
            let mut poll = self.poll_task(&mut Context::from_waker(waker));
            if poll.is_pending() && self.run_one() {
                poll = self.poll_task(&mut Context::from_waker(waker));
            }
            poll
        })
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Given<R>> {
        if ready!(self.poll_next_task(cx.waker(), false)) {
            self.poll_task(cx)
        } else {
            Poll::Ready(self.end())
        }
    }

    fn set_buffer(&self, items: usize) {
        self.pipeline.registry.assert_not_forked();
        self.pipeline.state.lock().buffer = items.max(1) as u64;
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        if self.pipeline.registry.is_foreign() {
            return (0, None); // as in `drop`
        }
        let state = self.pipeline.state.lock();
        let number = |items: u64| usize::try_from(items).unwrap_or(usize::MAX);
        if state.over {
            let left = number(state.pulled - state.taken);
            return (left, Some(left));
        }
        let (least, most) = self.pipeline.promised;
        let left = |items: usize| items.saturating_sub(number(state.taken));
        (left(least), most.map(left))
    }
}

impl<R> Drop for Consumer<R> {
    fn drop(&mut self) {
        if self.pipeline.registry.is_foreign() {
            // A forked child: the locks may be held for ever, and there is no thread to notify.
            return std::mem::forget((self.front.take(), self.group.take()));
        }
        let mut state = self.pipeline.state.lock();
        state.over = true;
        let source = state.source.take();
        let tasks = std::mem::take(&mut state.tasks);
        let ending = state.ending.take();
        let waker = state.waker.take();
        let feeder = state.feeder.take();
        drop(state);
        drop(feeder.map(Task::cancel_on_drop));
        cancel_all(self.front.take().into_iter().chain(tasks).collect());
        contain(|| drop(source));
        contain(|| drop(ending));
        contain(|| drop(waker));
    }
}
