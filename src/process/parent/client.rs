//! The operations of callers: encode a call, send it to the driver, and return its task.
//!
//! The arguments are encoded on the caller's thread, many to a chunk. The driver's mailbox takes
//! the job first, then its items, chunk by chunk, while the caller goes on. A job whose items
//! cannot all be encoded fails there.
//!
//! A caller that waits for all results anyway (`map`) encodes only so far ahead of the workers that
//! they have enough to do: then the memory of its chunks is used again, and its size does not
//! depend on the number of items. Chunks hold the places of a [`QueueLimit`] until they are
//! dropped, after the last answer, or when the job or the driver ends.
//!
//! Tests: `tests/process/pool.rs`, `tests/process/calls.rs`, `tests/process/queue_limit.rs`.

use std::any::type_name;
use std::cell::Cell;
use std::sync::{Arc, Weak};
use std::task::Waker;
use std::time::Duration;
use std::vec;

use serde::Serialize;

use super::driver::PoolState;
use super::mailbox::Mail;
use crate::events;
use crate::process::job::decoder::is_quick_type;
use crate::process::job::sink::{Collect, One};
use crate::process::job::{CallOptions, Context, Job, Work};
use crate::process::limits::chunks_ahead;
use crate::process::sched::{Feed, Initializer};
use crate::process::value::attachments::Awaited;
use crate::process::value::chunk::{Chunk, Piece};
use crate::process::value::codec::{codec_error, explain};
use crate::process::value::portable::Portable;
use crate::process::wire::CodeRef;
use crate::task::queue_limit::{Place, QueueLimit};
use crate::task::{
    CodecDirection, Completer, Origin, Producer, Task, TaskError, TaskId, TaskRef, panic, promise,
};

/// How many chunks share a place, so that the caller is woken once for all of them.
const CHUNKS_PER_PLACE: usize = 4;

impl PoolState {
    /// How far a caller that waits encodes ahead of the workers.
    pub(crate) fn ahead(&self) -> QueueLimit {
        QueueLimit::new(chunks_ahead(self.width))
    }

    /// A place in the queue for one call; waits for it, as long as the call may.
    pub(crate) fn place(&self, options: &CallOptions) -> Result<Option<Place>, TaskError> {
        let limit = self.mailbox.queue_limit();
        let place = limit.map(|limit| limit.wait(options.until)).transpose();
        place.map_err(|error| match error {
            TaskError::TimedOut(_) => options.too_late(Some((Duration::ZERO, None))),
            error => error,
        })
    }

    /// One call of a function from `A` to `R`, which has been encoded; `N` names its result.
    #[track_caller]
    pub(crate) fn submit<A, R: Portable, N>(
        self: &Arc<Self>,
        options: CallOptions,
        call: Result<Call, TaskError>,
    ) -> Task<R> {
        let (id, completer, task) = self.promise::<R>();
        let task = options.named(task);
        match call {
            Err(error) => completer.complete(Err(error)),
            Ok((code, mut chunk, place)) => {
                let sink = Box::new(One::new(completer));
                let mut work = Work::naming::<A, R, N>(code, sink, options);
                work.place = place;
                let awaited = chunk.awaited();
                let needs: Vec<_> = awaited.iter().map(Arc::downgrade).collect();
                if !needs.is_empty() {
                    work.options.needs = awaited;
                }
                let job = Job::new(work);
                let submit = Mail::Submit { id, job };
                // Refused mail is dropped here, and its task ends in `Closed`.
                if needs.is_empty() {
                    let _ = self.deliver([submit, only(id, Ok(chunk))]);
                } else if self.mailbox.push([submit]).is_ok() {
                    let shared = Arc::downgrade(self);
                    let (all, call) = (needs.clone(), task.abort_handle());
                    let feed = move || {
                        if let Some(shared) = shared.upgrade() {
                            // (A call that has been cancelled takes no error of what it waits for.)
                            let item = if call.is_finished() {
                                Err(TaskError::Cancelled)
                            } else {
                                with_all(chunk, &all)
                            };
                            let _ = shared.mailbox.push([only(id, item)]);
                        }
                    };
                    when_all(needs.into_iter(), Box::new(feed));
                }
            }
        }
        task
    }

    /// Many calls, one task for all. Waits for a place in `ahead` now and then.
    #[track_caller]
    pub(crate) fn map_task<I, R>(
        self: &Arc<Self>,
        options: CallOptions,
        code: Result<CodeRef, TaskError>,
        items: I,
        ahead: Option<&QueueLimit>,
    ) -> Task<Vec<R>>
    where
        I: IntoIterator<Item: Portable>,
        R: Portable,
    {
        let items = items.into_iter();
        let (id, completer, task) = self.promise::<Vec<R>>();
        let task = options.named(task);
        let code = match code {
            Ok(code) => code,
            Err(error) => {
                completer.complete(Err(error));
                return task;
            }
        };
        let sink = Collect::new(completer, items.size_hint().0);
        let mut work = Work::new::<I::Item, R>(code, Box::new(sink), options.clone());
        work.numbered = true;
        let total = items.size_hint().1;
        work.items = events::items("map in processes", task.id().get(), total);
        let job = Job::new(work);
        let submit = Mail::Submit { id, job };
        // The refused promise is dropped: `Closed`.
        if self.mailbox.push([submit]).is_ok()
            && let Err(panic) = self.feed(id, items, &options, ahead, || task.is_finished())
        {
            task.cancel();
            panic.resume_unwind();
        }
        task
    }

    /// The common context of a `map_with`.
    pub(crate) fn common<C: Serialize + 'static>(&self, common: &C) -> Result<Context, TaskError> {
        let mut chunk = self.path.context();
        push(&mut chunk, common)?;
        Ok(Context {
            piece: Piece::whole(Arc::new(chunk), 0),
            type_name: type_name::<C>(),
        })
    }

    /// Encodes and sends `items`, chunk by chunk, until `over` says that no more are wanted.
    /// Returns a panic of their iterator.
    fn feed<A: Portable>(
        &self,
        id: u64,
        items: impl IntoIterator<Item = A>,
        options: &CallOptions,
        ahead: Option<&QueueLimit>,
        over: impl Fn() -> bool,
    ) -> Result<(), panic::Panic> {
        let (mut base, mut full) = (0, 0);
        let mut send = |chunk: Chunk, sealed, failure| {
            let next = base + chunk.len();
            let _ = self.deliver([Mail::Feed(Feed {
                id,
                base,
                chunk: Arc::new(chunk),
                sealed,
                failure,
            })]);
            base = next;
        };
        let mut chunk = self.path.chunk().for_one(!options.may_have_copies());
        let frame = options.chunk;
        // The first chunks are small, so that the workers can begin soon. (The later ones are small
        // enough to be still in the cache when they are sent.)
        let limit = if frame.is_some() { 1 << 16 } else { 1 << 14 };
        // (At most half of the limit, so that the limit holds a multiple of it.)
        let frame = frame.unwrap_or(1).clamp(1, 1 << 15);
        let mut most = 64usize.next_multiple_of(frame);
        let encoding = Cell::new(false);
        let fed = panic::catch(|| {
            for mut item in items {
                if over() {
                    return Ok(false);
                }
                encoding.set(true);
                let encoded = chunk.push_own(&mut item);
                encoding.set(false);
                encoded.map_err(unencodable::<A>)?;
                if chunk.len() >= most || chunk.is_full() {
                    let more = if 2 * most <= limit { 2 } else { 1 };
                    most *= more;
                    let mut next = chunk.take(more);
                    if full % CHUNKS_PER_PLACE == 0 {
                        next.place = ahead.and_then(|ahead| ahead.wait(None).ok());
                    }
                    full += 1;
                    send(next, false, None);
                }
            }
            Ok(true)
        });
        let failure = match fed {
            Ok(Ok(true)) => None,
            Ok(Ok(false)) => return Ok(()),
            Ok(Err(error)) => Some(error),
            // As in `push`.
            Err(panic) if encoding.get() => Some(panic.into()),
            Err(panic) => return Err(panic),
        };
        send(chunk, true, failure);
        Ok(())
    }

    #[track_caller]
    fn promise<T: Send + 'static>(self: &Arc<Self>) -> (u64, Completer<T>, Task<T>) {
        let id = self.mailbox.id();
        let (completer, task) = promise(CancelCall {
            shared: Arc::downgrade(self),
            id,
            is_quick: is_quick_type::<T>,
        });
        if let Some(hook) = &self.unobserved {
            completer.set_hook(hook);
        }
        events::called(self.counters.pool, id, task.id().get());
        (id, completer, task)
    }
}

/// Mail with the one item of a job, or the error in its place.
fn only(id: u64, item: Result<Chunk, TaskError>) -> Mail {
    let (chunk, failure) = match item {
        Ok(chunk) => (chunk.complete(), None),
        Err(error) => (Chunk::default(), Some(error)),
    };
    Mail::Feed(Feed {
        id,
        base: 0,
        chunk: Arc::new(chunk),
        sealed: true,
        failure,
    })
}

/// Runs `then` when all of `needs` have ended. (They are weak references: the job owns them, and
/// without the job nothing needs them.)
fn when_all(mut needs: vec::IntoIter<Weak<dyn Awaited>>, then: Box<dyn FnOnce() + Send>) {
    let mut still = needs.by_ref().filter_map(|late| late.upgrade());
    match still.find(|late| !late.has_ended()) {
        None => then(),
        Some(late) => late.when_ended(Box::new(move || when_all(needs, then))),
    }
}

/// The item with the results that it has waited for, or the first of their errors.
fn with_all(mut chunk: Chunk, needs: &[Weak<dyn Awaited>]) -> Result<Chunk, TaskError> {
    for late in needs {
        let late = late.upgrade().ok_or(TaskError::Cancelled)?;
        chunk.attach(late.attachment()?);
    }
    Ok(chunk)
}

/// The producer of a call's task: notifies the driver if the task is cancelled.
struct CancelCall {
    shared: Weak<PoolState>,
    id: u64,
    /// Whether its result is decoded where it is received, so that no caller need stand by.
    is_quick: fn() -> bool,
}

impl Producer for CancelCall {
    fn on_cancel(&self, _: TaskId) -> Option<TaskRef> {
        if let Some(shared) = self.shared.upgrade() {
            let _ = shared.mailbox.push([Mail::Cancel(self.id)]);
        }
        None
    }

    fn help(&self, patient: bool, done: &dyn Fn() -> bool) {
        if let Some(shared) = self.shared.upgrade() {
            shared.help(self.id, patient, done);
        }
    }

    fn stand_by(&self, caller: &Waker) {
        if let Some(shared) = self.shared.upgrade().filter(|_| !(self.is_quick)()) {
            shared.stand_by(self.id, caller);
        }
    }

    fn step_back(&self) {
        if let Some(shared) = self.shared.upgrade().filter(|_| !(self.is_quick)()) {
            shared.step_back(self.id);
        }
    }

    fn origin(&self) -> Origin {
        Origin::Work
    }

    fn is_executors(&self) -> bool {
        true
    }
}

/// One call that has been encoded, and its place in a queue with a limit.
pub(crate) type Call = (CodeRef, Chunk, Option<Place>);

/// Encodes one call into an empty chunk. The argument is not needed any more.
pub(crate) fn encode<A: Portable>(
    arg: &mut A,
    code: Result<CodeRef, TaskError>,
    mut chunk: Chunk,
    place: Result<Option<Place>, TaskError>,
) -> Result<Call, TaskError> {
    let (code, place) = (code?, place?);
    push_own(&mut chunk, arg)?;
    Ok((code, chunk, place))
}

/// Appends an argument. A panic in its `Serialize` becomes an error, as one in its `Deserialize`
/// will.
#[inline]
pub(crate) fn push<A: Serialize + 'static>(
    chunk: &mut Chunk,
    argument: &A,
) -> Result<(), TaskError> {
    encoded::<A>(|| chunk.push(argument))
}

/// The same, if the argument is not needed any more.
#[inline]
pub(crate) fn push_own<A: Serialize + 'static>(
    chunk: &mut Chunk,
    argument: &mut A,
) -> Result<(), TaskError> {
    encoded::<A>(|| chunk.push_own(argument))
}

#[inline]
fn encoded<A>(encode: impl FnOnce() -> Result<(), postcard::Error>) -> Result<(), TaskError> {
    match panic::catch(encode) {
        Ok(Ok(())) => Ok(()),
        Ok(Err(error)) => Err(unencodable::<A>(error)),
        Err(panic) => Err(panic.into()),
    }
}

/// Encodes a call that every worker makes first.
pub(crate) fn initializer<A: Portable>(
    arg: &A,
    code: Result<CodeRef, TaskError>,
) -> Result<Initializer, TaskError> {
    let (code, mut chunk) = (code?, Chunk::default());
    push(&mut chunk, arg)?;
    Ok(Initializer {
        code,
        chunk: Arc::new(chunk),
        type_name: type_name::<A>(),
    })
}

#[cold]
pub(crate) fn unencodable<A>(error: postcard::Error) -> TaskError {
    let way = CodecDirection::EncodeArgument;
    codec_error(type_name::<A>(), way, explain(error))
}
