//! What callers do: encode a call, and send it to the driver, or hand it out in the driver's place
//! (`shortcut`).
//!
//! The arguments are encoded on the caller's thread, many to a chunk. The driver's mailbox takes
//! the job first, then its items, chunk by chunk, while the caller goes on. A job whose items
//! cannot all be encoded fails there.
//!
//! A caller that waits for all results anyway (`map`) encodes only so far ahead of the workers that
//! they have enough to do: then the memory of its chunks is used again, and its size does not
//! depend on the number of items (`limits::chunks_ahead`). Chunks hold the permits of a
//! [`Semaphore`] until they are dropped, after the last answer, or when the job or the driver ends.
//!
//! Tests: `tests/process/pool.rs::map_is_ordered`, `tests/process/{calls,callers}.rs`.

use crate::process::job::job_id::JobId;
use std::any::type_name;
use std::cell::Cell;
use std::marker::PhantomData;
use std::sync::{Arc, Weak};
use std::task::Waker;
use std::time::Instant;

use serde::Serialize;

use super::driver::PoolState;
use super::mailbox::Mail;
use crate::events;
use crate::parking::block_on::block_on;
use crate::process::job::results::{Collect, One, is_quick_type};
use crate::process::job::running_hook::RunningHook;
use crate::process::job::{CallOptions, Context, Initializer, Job, Work};
use crate::process::limits::chunks_ahead;
use crate::process::sched::Feed;
use crate::process::value::chunk::{Chunk, Piece};
use crate::process::value::codec::{codec_error, explain};
use crate::process::value::portable::Portable;
use crate::process::wire::CodeRef;
use crate::sync::Semaphore;
use crate::task::{
    CodecDirection, Completer, Origin, PromiseSource, Task, TaskError, TaskId, TaskRef, panic,
    promise,
};

/// How many chunks share a permit, so that the caller is woken once for all of them.
const CHUNKS_PER_PERMIT: usize = 4;

impl PoolState {
    /// How far a caller that waits encodes ahead of the workers.
    pub(crate) fn ahead(&self) -> Arc<Semaphore> {
        Arc::new(Semaphore::new(chunks_ahead(self.width())))
    }

    /// One call of a function from `A` to `R` with an argument that is not needed any more.
    #[track_caller]
    pub(crate) fn spawn<A: Portable, R: Portable>(
        self: &Arc<Self>,
        options: CallOptions,
        code: Result<CodeRef, TaskError>,
        arg: &mut A,
    ) -> Task<R> {
        let call = encode(arg, code, self.path.chunk());
        self.submit::<A, R>(options, call)
    }

    /// The same, and the call has been encoded.
    #[track_caller]
    pub(crate) fn submit<A, R: Portable>(
        self: &Arc<Self>,
        options: CallOptions,
        call: Result<Call, TaskError>,
    ) -> Task<R> {
        let (id, completer, task) = self.promise::<R>();
        let task = options.named(task);
        match call {
            Err(error) => completer.complete(Err(error)),
            Ok((code, chunk)) => {
                let sink = Box::new(One::new(completer));
                let work = Work::new::<A, R>(code, sink, options);
                let job = Job::new(work);
                // Refused mail is dropped here, and its task ends in `Closed`.
                let _ = self.deliver([Mail::Submit { id, job }, only(id, chunk)]);
            }
        }
        task
    }

    /// Many calls, one task for all. Waits for a permit of `ahead` now and then.
    #[track_caller]
    pub(crate) fn map_task<I, R>(
        self: &Arc<Self>,
        options: CallOptions,
        code: Result<CodeRef, TaskError>,
        items: I,
        ahead: Option<&Arc<Semaphore>>,
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
        id: JobId,
        items: impl IntoIterator<Item = A>,
        options: &CallOptions,
        ahead: Option<&Arc<Semaphore>>,
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
        let mut chunk = self.path.chunk();
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
                    if full % CHUNKS_PER_PERMIT == 0 {
                        let permit = ahead.and_then(|ahead| block_on(ahead.acquire_arc()));
                        permit
                            .into_iter()
                            .for_each(|permit| next.keep_permit(permit));
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
    fn promise<T: Send + 'static>(self: &Arc<Self>) -> (JobId, Completer<T>, Task<T>) {
        let id = self.mailbox.id();
        let (completer, task) = promise(CancelCall {
            shared: Arc::downgrade(self),
            id,
            result: PhantomData::<fn() -> T>,
        });
        if let Some(hook) = &self.unobserved {
            completer.set_hook(hook);
        }
        events::called(self.counters.pool, id.number(), task.id().get());
        (id, completer, task)
    }
}

/// Mail with the one item of a job.
fn only(id: JobId, item: Chunk) -> Mail {
    Mail::Feed(Feed {
        id,
        base: 0,
        chunk: Arc::new(item.complete()),
        sealed: true,
        failure: None,
    })
}

/// The producer of a call's task: notifies the driver if the task is cancelled.
struct CancelCall<T> {
    shared: Weak<PoolState>,
    id: JobId,
    result: PhantomData<fn() -> T>,
}

impl<T: 'static> CancelCall<T> {
    /// The pool, if a caller need stand by: not if the result is decoded where it is received.
    fn stands_by(&self) -> Option<Arc<PoolState>> {
        self.shared.upgrade().filter(|_| !is_quick_type::<T>())
    }
}

impl<T: 'static> PromiseSource for CancelCall<T> {
    fn on_cancel(&self, _: TaskId) -> Option<TaskRef> {
        if let Some(shared) = self.shared.upgrade() {
            let _ = shared.mailbox.push([Mail::Cancel(self.id)]);
        }
        None
    }

    fn help(&self, deadline: Option<Instant>, done: &dyn Fn() -> bool) {
        if let Some(shared) = self.shared.upgrade() {
            shared.help(self.id, deadline, done);
        }
    }

    fn stand_by(&self, caller: &Waker) {
        if let Some(shared) = self.stands_by() {
            shared.stand_by(self.id, caller);
        }
    }

    fn step_back(&self) {
        if let Some(shared) = self.stands_by() {
            shared.step_back(self.id);
        }
    }

    fn origin(&self) -> Origin {
        let is_own = |hook: &RunningHook| {
            let shared = self.shared.upgrade();
            hook.job == self.id && shared.is_some_and(|shared| shared.counters.pool == hook.pool)
        };
        if RunningHook::here().is_some_and(|hook| is_own(&hook)) {
            Origin::ThisThread
        } else {
            Origin::Work
        }
    }

    fn is_executors(&self) -> bool {
        true
    }
}

/// One call that has been encoded.
pub(crate) type Call = (CodeRef, Chunk);

/// Encodes one call into an empty chunk. The argument is not needed any more.
pub(crate) fn encode<A: Portable>(
    arg: &mut A,
    code: Result<CodeRef, TaskError>,
    mut chunk: Chunk,
) -> Result<Call, TaskError> {
    let code = code?;
    push_own(&mut chunk, arg)?;
    Ok((code, chunk))
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
