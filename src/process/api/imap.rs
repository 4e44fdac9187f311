//! `imap` of process pools: results one by one, of items taken one by one.
//!
//! **Protocol.** One job of the scheduler, fed as its results are taken:
//!
//! 1. The thread that asks for a result also takes items from the iterator, until as many are out
//!    as the buffer holds; encodes them, and sends them off together. So the iterator runs on the
//!    caller's thread, at most a buffer ahead.
//! 2. Sending one item for each result taken would wake the driver each time: items are sent only
//!    when a quarter of the buffer is free, or when the caller would otherwise wait.
//! 3. A buffer whose size was not set begins with four items for each worker. While whole buffers
//!    pass quickly it grows, up to [`IMAP_BUFFER`]: the number of items taken ahead stays
//!    proportional to the total.
//! 4. A panic of the iterator is kept until all results before it have been returned, then resumed
//!    in the caller.
//! 5. Results come through a channel, a [`Run`] of them at a time. Results that are not yet due in
//!    order wait on this side. When the channel is closed the job has ended, and no further results
//!    will come.
//!
//! Dropping it cancels the job.
//!
//! Tests: `tests/process/imap.rs`.

use crate::process::job::job_id::JobId;
use std::collections::{HashMap, VecDeque};
use std::future::poll_fn;
use std::iter::Zip;
use std::ops::RangeFrom;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker, ready};
use std::time::Instant;
use std::vec;

use futures_core::Stream;

use crate::events;
use crate::loom::Mutex;
use crate::parking::block_on;
use crate::process::job::results::{Each, Run, Sink};
use crate::process::job::running_hook::RunningHook;
use crate::process::job::{CallOptions, Job, Work};
use crate::process::limits::{IMAP_BUFFER, IMAP_TURNOVER, imap_buffer};
use crate::process::parent::client::push_own;
use crate::process::parent::driver::PoolState;
use crate::process::parent::mailbox::Mail;
use crate::process::sched::Feed;
use crate::process::value::chunk::Chunk;
use crate::process::value::portable::Portable;
use crate::process::wire::CodeRef;
use crate::sync::channel::{Receiver, unbounded};
use crate::task::panic::{Panic, catch};
use crate::task::{TaskError, next};

/// The results of [`ProcessPool::imap`](crate::ProcessPool::imap) and
/// [`imap_unordered`](crate::ProcessPool::imap_unordered): an iterator, or a
/// [`stream`](Self::stream), of `Result<R, TaskError>`.
///
/// Lazy: items are taken from the input, on the thread that asks for results, no further ahead
/// than the [buffer](Self::buffer) holds. An input that blocks holds up results that are ready
/// (those of [`ThreadPool::imap`](crate::ThreadPool::imap) come meanwhile); one that is slow can
/// be read by a thread of its own, which sends the items through a channel.
///
/// Each item has its own result: one that fails
/// ([`Panicked`](TaskError::Panicked), [`WorkerDied`](TaskError::WorkerDied),
/// [`TimedOut`](TaskError::TimedOut), [`Codec`](TaskError::Codec)) does not affect the others.
/// Short items are sent many at a time, but finished results do not wait for unfinished ones.
///
/// If the input panics, the results of the items before are returned first, then the panic is
/// resumed in the caller; the pool stays usable. Dropping it cancels unfinished items. It does not
/// keep the pool alive: when the pool ends, items that were taken from the input and have not run
/// end with [`Cancelled`](TaskError::Cancelled) or [`Closed`](TaskError::Closed), and no more is
/// taken. If all that were taken have run, one such error says that what may be left has not.
///
/// On an event-loop thread `next` never blocks: it returns available results, then one
/// [`WouldBlock`](TaskError::WouldBlock), and the rest is cancelled. Use the stream there.
///
/// ```
/// use trefoil::ProcessPool;
///
/// # trefoil::init();
/// let procs = ProcessPool::with_workers(2)?;
/// let mut sum = 0;
/// for result in procs.imap_unordered(0..100, |n: u64| n * 2).buffer(16) {
///     sum += result?;
/// }
/// assert_eq!(sum, 9900);
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// ```
#[must_use = "it does nothing until it is asked for results"]
pub struct Imap<I: Iterator, R> {
    shared: Arc<PoolState>,
    id: JobId,
    /// The input; `None`: it has ended.
    items: Option<I>,
    panicked: Option<Panic>,
    /// The items that were encoded and not sent yet: the last ones taken.
    chunk: Chunk,
    taken: usize,
    ordered: bool,
    /// The indices of the items that were taken and whose results were not returned yet, in order.
    out: VecDeque<usize>,
    /// The items of these that could not be encoded.
    unsent: VecDeque<(usize, TaskError)>,
    results: Pin<Box<Receiver<Run<R>>>>,
    /// (The lock only makes the whole `Sync` where `R` is not.)
    arrived: Mutex<Arrived<R>>,
    /// Why no more results come; `None`: more may come.
    pub(super) ended: Option<TaskError>,
    buffer: usize,
    /// How many results had been returned when the buffer could last have grown, and when that was;
    /// `None`: its size is fixed.
    grows: Option<(usize, Instant)>,
    over: bool,
}

/// A result, and the index of its item.
type Answer<R> = (usize, Result<R, TaskError>);

/// Results that have arrived and were not returned yet.
struct Arrived<R> {
    /// The results that are due, with their indices.
    front: Zip<RangeFrom<usize>, vec::IntoIter<Result<R, TaskError>>>,
    /// If ordered: results that came before earlier ones, by the index of the first of each run.
    runs: HashMap<usize, Vec<Result<R, TaskError>>>,
}

impl<I: Iterator<Item: Portable>, R: Portable> Imap<I, R> {
    pub(in crate::process) fn new(
        shared: &Arc<PoolState>,
        options: CallOptions,
        code: Result<CodeRef, TaskError>,
        items: impl IntoIterator<IntoIter = I>,
        ordered: bool,
    ) -> Self {
        let items = items.into_iter(); // it may panic, and then there is no job
        let shared = shared.clone();
        let id = shared.mailbox.id();
        let chunk = shared.path.chunk();
        let (sender, results) = unbounded();
        let sink = Box::new(Each(sender));
        match code {
            Ok(code) => {
                let mut work = Work::new::<I::Item, R>(code, sink, options);
                work.each = true;
                work.items = events::items("imap in processes", 0, items.size_hint().1);
                events::called(shared.counters.pool, id.number(), 0);
                // (A refused job is dropped, and with it the sink.)
                let job = Job::new(work);
                let _ = shared.mailbox.push([Mail::Submit { id, job }]);
            }
            Err(error) => drop(sink.finish(Some(error))),
        }
        Self {
            id,
            items: Some(items),
            panicked: None,
            chunk,
            taken: 0,
            ordered,
            out: VecDeque::new(),
            unsent: VecDeque::new(),
            results: Box::pin(results),
            arrived: Mutex::new(Arrived {
                front: (0..).zip(Vec::new()),
                runs: HashMap::new(),
            }),
            ended: None,
            buffer: imap_buffer(shared.width()),
            grows: Some((0, Instant::now())),
            over: false,
            shared,
        }
    }

    /// How many items, at most, are taken ahead of the results that were returned; 0 counts as 1.
    /// Default: four for each worker at first, and more while items are short.
    pub fn buffer(mut self, items: usize) -> Self {
        self.buffer = items.max(1);
        self.grows = None;
        self
    }

    /// The results as a [`Stream`], for async code on any runtime.
    ///
    /// ```
    /// use trefoil::ProcessPool;
    ///
    /// # trefoil::init();
    /// let procs = ProcessPool::with_workers(2)?;
    /// trefoil::run(async {
    ///     let mut squares = procs.imap(1.., |n: u32| n * n).stream();
    ///     let first = squares.next().await;
    ///     assert_eq!(first.unwrap().unwrap(), 1);
    /// });
    /// # Ok::<_, Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// The input runs on the thread that polls the stream: on a loop it must not block.
    ///
    /// # Cancel safety
    /// Waiting for its next item is cancel safe: nothing is lost.
    pub fn stream(self) -> ImapStream<I, R> {
        ImapStream(self)
    }

    /// Each result with the index of its item in the input, from 0 (an error that ends the rest has
    /// the next one): useful if results do not come
    /// in order. (An item's own error has the index in any case: [`TaskError::item`].)
    ///
    /// ```
    /// use trefoil::ProcessPool;
    ///
    /// # trefoil::init();
    /// let procs = ProcessPool::with_workers(2)?;
    /// let words = ["one", "", "three"].map(String::from);
    /// let first = |word: String| word.chars().next().expect("a word");
    /// for (index, result) in procs.imap_unordered(words.clone(), first).with_index() {
    ///     assert_eq!(result.is_err(), words[index].is_empty());
    /// }
    /// # Ok::<_, Box<dyn std::error::Error>>(())
    /// ```
    pub fn with_index(self) -> Indexed<Self> {
        Indexed(self)
    }

    /// The next result, if it has come. `None`: it has not come yet, or no more comes. It takes
    /// items from the input as [`next`](Iterator::next) does, and waits for nothing else.
    ///
    /// ```
    /// use trefoil::ProcessPool;
    ///
    /// # trefoil::init();
    /// let procs = ProcessPool::with_workers(2)?;
    /// let mut squares = procs.imap(0..100, |n: u64| n * n);
    /// let mut results = 0;
    /// while let Some(first) = squares.next() {
    ///     first?;
    ///     results += 1;
    ///     while let Some(more) = squares.try_next() {
    ///         more?; // a batch: what has come besides
    ///         results += 1;
    ///     }
    /// }
    /// assert_eq!(results, 100);
    /// # Ok::<_, Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Panics
    /// If the input did, and all results before that have been returned.
    pub fn try_next(&mut self) -> Option<Result<R, TaskError>> {
        self.answer_now().flatten().map(|(_, result)| result)
    }

    /// What a poll that waits for nothing returns.
    fn answer_now(&mut self) -> Option<Option<Answer<R>>> {
        match self.poll_answer(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(answer) => Some(answer),
            Poll::Pending => None,
        }
    }

    fn poll_answer(&mut self, cx: &mut Context<'_>) -> Poll<Option<Answer<R>>> {
        if self.over {
            return Poll::Ready(None);
        }
        if self.shared.mailbox.is_foreign() {
            // in a forked child nothing comes any more
            return Poll::Ready(self.refused(TaskError::Closed));
        }
        if self.free() >= self.buffer.div_ceil(4) {
            self.refill();
        }
        let next = self.poll_result(cx);
        if next.is_ready() || self.items.is_none() || self.free() == 0 {
            return next;
        }
        self.refill();
        self.poll_result(cx)
    }

    /// Polls for the next result.
    fn poll_result(&mut self, cx: &mut Context<'_>) -> Poll<Option<Answer<R>>> {
        if self.out.is_empty() && self.items.is_none() {
            self.end();
            return Poll::Ready(None);
        }
        loop {
            let mut arrived = self.arrived.lock();
            if let Some((index, result)) = arrived.front.next() {
                drop(arrived);
                self.give(index);
                return Poll::Ready(Some((index, result)));
            }
            let missing = self.missing();
            let is_due = |unsent: &(usize, _)| !self.ordered || unsent.0 == missing;
            if self.unsent.front().is_some_and(is_due)
                && let Some((index, error)) = self.unsent.pop_front()
            {
                drop(arrived);
                self.give(index);
                return Poll::Ready(Some((index, Err(error))));
            }
            if let Some(run) = arrived.runs.remove(&missing) {
                arrived.front = (missing..).zip(run);
                continue;
            }
            if let Some(error) = self.ended.clone() {
                drop(arrived);
                return Poll::Ready(self.refused(error));
            }
            match ready!(self.results.as_mut().poll_next(cx)) {
                Some(Run::Answers(index, run)) if self.ordered => {
                    arrived.runs.insert(index, run);
                }
                Some(Run::Answers(index, run)) => arrived.front = (index..).zip(run),
                Some(Run::End(error)) => self.ended = Some(error),
                None => self.ended = Some(TaskError::Closed),
            }
        }
    }

    /// Counts the result of the item at `index` as returned.
    fn give(&mut self, index: usize) {
        if let Ok(place) = self.out.binary_search(&index) {
            self.out.remove(place);
        }
    }

    /// The index of the first item whose result was not returned.
    fn missing(&self) -> usize {
        self.out.front().copied().unwrap_or(self.taken)
    }

    /// The job has ended: `error` is the result of each item that has none, and then once of the
    /// rest of the input.
    fn refused(&mut self, error: TaskError) -> Option<Answer<R>> {
        let (more, index) = (self.items.take().is_some(), self.missing());
        if !self.out.is_empty() {
            self.give(index);
            return Some((index, Err(error.with_item(index))));
        }
        self.end();
        more.then(|| (index, Err(error.with_item(index))))
    }

    fn end(&mut self) {
        self.over = true;
        if let Some(panic) = self.panicked.take() {
            panic.resume_unwind();
        }
    }

    fn free(&self) -> usize {
        self.buffer.saturating_sub(self.out.len())
    }

    /// Takes items until the buffer is full, and sends them off.
    fn refill(&mut self) {
        self.grow();
        if self.results.is_closed() {
            return;
        }
        let Some(mut items) = self.items.take() else {
            return;
        };
        let room = self.free();
        let outcome = catch(|| {
            for _ in 0..room {
                if self.results.is_closed() {
                    break;
                }
                let mut item = items.next()?;
                self.push(&mut item);
            }
            Some(items)
        });
        match outcome {
            Ok(items) => self.items = items,
            Err(panic) => self.panicked = Some(panic),
        }
        self.send(self.items.is_none());
    }

    /// Enlarges the buffer if a whole one has passed very quickly.
    fn grow(&mut self) {
        let Some((before, since)) = self.grows else {
            return;
        };
        let given = self.taken - self.out.len();
        if given - before < self.buffer {
            return;
        }
        let now = Instant::now();
        if now - since < IMAP_TURNOVER && self.buffer < IMAP_BUFFER {
            self.buffer = (2 * self.buffer).min(IMAP_BUFFER);
        }
        self.grows = Some((given, now));
    }

    fn push(&mut self, item: &mut I::Item) {
        let pushed = push_own(&mut self.chunk, item);
        if pushed.is_err() {
            self.send(false);
        }
        self.out.push_back(self.taken);
        self.taken += 1;
        match pushed {
            Err(error) => {
                let index = self.taken - 1;
                self.unsent.push_back((index, error.with_item(index)));
            }
            Ok(()) if self.chunk.is_full() => self.send(false),
            Ok(()) => {}
        }
    }

    /// Sends the encoded items; `sealed`: no more follow.
    fn send(&mut self, sealed: bool) {
        let chunk = self.chunk.take(1);
        let base = self.taken - chunk.len();
        if chunk.is_empty() && !sealed {
            return;
        }
        let _ = self.shared.mailbox.push([Mail::Feed(Feed {
            id: self.id,
            base,
            chunk: Arc::new(chunk),
            sealed,
            failure: None,
        })]);
    }

    fn next_answer(&mut self) -> Option<Answer<R>> {
        // Results that have arrived are returned without touching the parker.
        if let Some(answer) = self.answer_now() {
            return answer;
        }
        let itself = RunningHook {
            pool: self.shared.counters.pool,
            job: self.id,
        };
        // Of its own call a hook gets only what has arrived, because the call ends after the hook.
        let answer = if RunningHook::here() == Some(itself) {
            None
        } else {
            block_on(poll_fn(|cx| self.poll_answer(cx)))
        };
        match answer {
            Some(answer) => answer,
            None => {
                self.over = true;
                self.cancel();
                Some((self.missing(), Err(TaskError::WouldBlock)))
            }
        }
    }
}

impl<I: Iterator<Item: Portable>, R: Portable> Iterator for Imap<I, R> {
    type Item = Result<R, TaskError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.next_answer().map(|(_, result)| result)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let more = self
            .items
            .as_ref()
            .map_or(Some(0), |items| items.size_hint().1);
        let most = more.and_then(|more| more.checked_add(self.out.len()));
        (0, most)
    }
}

impl<I: Iterator, R> Imap<I, R> {
    fn cancel(&mut self) {
        let _ = self.shared.mailbox.push([Mail::Cancel(self.id)]);
    }
}

impl<I: Iterator, R> Drop for Imap<I, R> {
    fn drop(&mut self) {
        self.results.close();
        while self.results.try_recv().is_ok() {}
        if !self.out.is_empty() || self.items.is_some() {
            self.cancel();
        }
    }
}

debug!(impl<I: Iterator, R> Imap<I, R>, self,
    taken = self.taken, out = self.out.len(), buffer = self.buffer);

/// An [`Imap`] as a [`Stream`].
///
/// ```
/// use futures::StreamExt;
///
/// # trefoil::init();
/// let procs = trefoil::ProcessPool::with_workers(1)?;
/// let sum = trefoil::run(async {
///     let mut squares = std::pin::pin!(procs.imap(1..4_u32, |n| n * n).stream());
///     let mut sum = 0;
///     while let Some(square) = squares.next().await {
///         sum += square?;
///     }
///     Ok::<_, trefoil::TaskError>(sum)
/// });
/// assert_eq!(sum?, 14);
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// ```
#[must_use = "it does nothing until it is polled"]
pub struct ImapStream<I: Iterator, R>(Imap<I, R>);

impl<I: Iterator<Item: Portable>, R: Portable> ImapStream<I, R> {
    /// Waits for the next result, without another crate: `while let Some(result) =
    /// stream.next().await`.
    pub async fn next(&mut self) -> Option<Result<R, TaskError>> {
        next(self).await
    }
}

// The input is never pinned, and results only pass through.
impl<I: Iterator, R> Unpin for ImapStream<I, R> {}
impl<I: Iterator, R> Unpin for Imap<I, R> {}

impl<I: Iterator<Item: Portable>, R: Portable> Stream for ImapStream<I, R> {
    type Item = Result<R, TaskError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let answer = ready!(self.0.poll_answer(cx));
        Poll::Ready(answer.map(|(_, result)| result))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.0.size_hint()
    }
}

impl<I: Iterator, R> ImapStream<I, R> {
    /// Gives each result with the index of its item: see [`Imap::with_index`].
    pub fn with_index(self) -> Indexed<Self> {
        Indexed(self)
    }
}

/// Results with the indices of their items: an [`Imap`] or an [`ImapStream`] that gives pairs, from
/// [`with_index`](Imap::with_index).
///
/// ```
/// # trefoil::init();
/// let procs = trefoil::ProcessPool::with_workers(2)?;
/// let words = ["one", "three"].map(String::from);
/// for (index, length) in procs.imap_unordered(words, |word: String| word.len()).with_index() {
///     println!("item {index} has {} letters", length?); // in the order in which they are ready
/// }
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
#[must_use = "it does nothing until it is asked for results"]
pub struct Indexed<T>(T);

impl<I: Iterator, R> Indexed<Imap<I, R>> {
    /// The results, with indices, as a [`Stream`]: see [`Imap::stream`].
    pub fn stream(self) -> Indexed<ImapStream<I, R>> {
        Indexed(ImapStream(self.0))
    }
}

impl<I: Iterator<Item: Portable>, R: Portable> Indexed<Imap<I, R>> {
    /// The next result, if it has come; see [`Imap::try_next`].
    pub fn try_next(&mut self) -> Option<(usize, Result<R, TaskError>)> {
        self.0.answer_now().flatten()
    }
}

impl<I: Iterator<Item: Portable>, R: Portable> Indexed<ImapStream<I, R>> {
    /// Waits for the next result; see [`ImapStream::next`].
    pub async fn next(&mut self) -> Option<(usize, Result<R, TaskError>)> {
        next(self).await
    }
}

impl<I: Iterator<Item: Portable>, R: Portable> Iterator for Indexed<Imap<I, R>> {
    type Item = (usize, Result<R, TaskError>);

    fn next(&mut self) -> Option<Self::Item> {
        self.0.next_answer()
    }
}

impl<I: Iterator<Item: Portable>, R: Portable> Stream for Indexed<ImapStream<I, R>> {
    type Item = (usize, Result<R, TaskError>);

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.0.0.poll_answer(cx)
    }
}

debug!(impl<I: Iterator, R> ImapStream<I, R>, self, items = self.0);
