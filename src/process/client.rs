//! What callers do: encode, hand over, and keep the other end of the promise.
//!
//! Everything that starts work in a pool ends here: `spawn`, `map`, `map_with`, `imap`, with or
//! without [`Wishes`]. The arguments are encoded on the caller's thread, many to a chunk;
//! the driver's mailbox takes the job first, then its items, chunk by chunk while the
//! caller goes on. A job whose items cannot all be encoded fails there.
//!
//! Tests: `tests/process.rs`, `tests/process_calls.rs`.

use std::any::type_name;
use std::sync::{Arc, Weak};
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::baggage::{self, Packed};
use super::chunk::Chunk;
use super::driver::Shared;
use super::job::{Context, Work};
use super::loan;
use super::mailbox::Mail;
use super::portable::Portable;
use super::raw_call;
use super::sched::Initializer;
use super::sink::{Many, One, explain};
use super::wire::CodeRef;
use crate::record;
use crate::task::{
    CodecDirection, CodecError, Completer, Hook, OnCancel, Origin, Task, TaskError, TaskId,
    context, panic, promise,
};

/// How a call wants to be run.
#[derive(Clone, Debug, Default)]
pub(crate) struct Wishes {
    pub(crate) timeout: Option<Duration>,
    pub(crate) retry: u32,
    pub(crate) chunk: Option<usize>,
    pub(crate) name: Option<String>,
    /// Who watches it.
    #[cfg(feature = "indicatif")]
    pub(crate) counter: Option<super::counted::Counter>,
}

impl Wishes {
    pub(crate) fn apply(&self, work: Work) -> Work {
        #[cfg(feature = "indicatif")]
        let work = match &self.counter {
            Some(counter) => counter.watch(work),
            None => work,
        };
        Work {
            timeout: self.timeout,
            retry: self.retry,
            chunk: self.chunk,
            ..work
        }
    }

    pub(crate) fn named<T>(&self, task: Task<T>) -> Task<T> {
        match &self.name {
            Some(name) => task.named(name.clone()),
            None => task,
        }
    }
}

/// A pool, as its callers need it.
#[derive(Clone)]
pub(crate) struct Client {
    pub(crate) shared: Arc<Shared>,
    pub(crate) unobserved: Option<Hook>,
}

impl Client {
    /// One call.
    #[track_caller]
    pub(crate) fn spawn<A: Portable, R: Portable>(
        &self,
        wishes: &Wishes,
        arg: A,
        f: fn(A) -> R,
    ) -> Task<R> {
        let call = loan::lending(&self.shared.lots, || encode(&arg, f, Chunk::lending()));
        // After the argument, whose `Serialize` may panic: then there is no task.
        let (id, completer, task) = self.promise::<R>();
        let task = wishes.named(task);
        match call {
            Err(error) => completer.complete(Err(error)),
            Ok((code, chunk)) => {
                let work = Work::new(code, Box::new(One::<A, R>::new(completer)));
                // Refused mail is dropped here, and its task ends in `Closed`.
                let _ = self.shared.leave(mail(id, wishes.apply(work), chunk));
            }
        }
        task
    }

    /// Many calls, one task for all.
    #[track_caller]
    pub(crate) fn map_task<I, R>(
        &self,
        wishes: &Wishes,
        code: Result<CodeRef, TaskError>,
        common: Option<Context>,
        items: I,
    ) -> Task<Vec<R>>
    where
        I: IntoIterator<Item: Portable>,
        R: Portable,
    {
        let items = items.into_iter();
        let (id, completer, task) = self.promise::<Vec<R>>();
        let task = wishes.named(task);
        let code = match code {
            Ok(code) => code,
            Err(error) => {
                completer.complete(Err(error));
                return task;
            }
        };
        let sink = Many::<I::Item, R>::new(completer, items.size_hint().0);
        let mut work = Work::new(code, Box::new(sink));
        work.context = common;
        let submit = Mail::Submit {
            id,
            work: wishes.apply(work),
        };
        // The refused promise is dropped: `Closed`.
        if self.shared.mailbox.push([submit]).is_ok() {
            let feed = || self.feed(id, items, wishes.chunk, || task.is_finished());
            let fed = panic::carry(|| loan::lending(&self.shared.lots, feed));
            if let Err(panic) = fed {
                task.cancel();
                panic.resume();
            }
        }
        task
    }

    /// Many calls, waited for.
    #[track_caller]
    pub(crate) fn map<I, R>(
        &self,
        wishes: &Wishes,
        items: I,
        f: fn(I::Item) -> R,
    ) -> Result<Vec<R>, TaskError>
    where
        I: IntoIterator<Item: Portable>,
        R: Portable,
    {
        if context::blocking_refused() {
            return Err(TaskError::WouldBlock);
        }
        self.map_task(wishes, code_of(f), None, items).join()
    }

    /// Many calls that have `common` in common, waited for.
    #[track_caller]
    pub(crate) fn map_with<C, I, R>(
        &self,
        common: &C,
        items: I,
        f: fn(&C, I::Item) -> R,
    ) -> Result<Vec<R>, TaskError>
    where
        C: Serialize + DeserializeOwned + 'static,
        I: IntoIterator<Item: Portable>,
        R: Portable,
    {
        if context::blocking_refused() {
            return Err(TaskError::WouldBlock);
        }
        let (bytes, loaded) = baggage::packing(|| postcard::to_stdvec(common));
        let bytes = bytes.map_err(unencodable::<C>)?;
        let common = Context {
            packed: Arc::new(Packed {
                bytes,
                parcels: loaded.map_or_else(Vec::new, |cargo| cargo.parcels),
            }),
            type_name: type_name::<C>(),
        };
        let code = raw_call::code_of_with(f).ok_or_else(not_ours::<fn(&C, I::Item) -> R>);
        self.map_task(&Wishes::default(), code, Some(common), items)
            .join()
    }

    /// Encodes and sends `items`, chunk by chunk, until `over` says that nobody wants more.
    fn feed<A: Portable>(
        &self,
        id: u64,
        items: impl IntoIterator<Item = A>,
        frame: Option<usize>,
        over: impl Fn() -> bool,
    ) {
        let mut base = 0;
        let mut send = |chunk: Chunk, sealed, failure| {
            let next = base + chunk.len();
            let _ = self.shared.leave([Mail::Feed {
                id,
                base,
                chunk: Arc::new(chunk),
                sealed,
                failure,
            }]);
            base = next;
        };
        let mut chunk = Chunk::lending();
        // The first chunks are small: the workers should not wait for the whole.
        // (And the later ones no larger than what is still in the cache when it is sent.)
        let limit = if frame.is_some() { 1 << 16 } else { 1 << 14 };
        let frame = frame.unwrap_or(1).clamp(1, 1 << 15);
        let mut most = 64usize.next_multiple_of(frame);
        for item in items {
            if over() {
                return;
            }
            if let Err(error) = chunk.push(&item) {
                return send(chunk, true, Some(unencodable::<A>(error)));
            }
            if chunk.len() >= most || chunk.is_full() {
                let more = if 2 * most <= limit { 2 } else { 1 };
                most *= more;
                let next = Chunk::with_room(more * chunk.bytes().len());
                send(std::mem::replace(&mut chunk, next), false, None);
            }
        }
        send(chunk, true, None);
    }

    #[track_caller]
    pub(crate) fn promise<T: Send + 'static>(&self) -> (u64, Completer<T>, Task<T>) {
        let id = self.shared.mailbox.id();
        let (completer, task) = promise(Recall {
            shared: Arc::downgrade(&self.shared),
            id,
        });
        if let Some(hook) = &self.unobserved {
            completer.set_hook(hook);
        }
        record::called(self.shared.counters.pool, id, task.id().get());
        (id, completer, task)
    }
}

/// Tells the driver that a task was cancelled.
struct Recall {
    shared: Weak<Shared>,
    id: u64,
}

impl OnCancel for Recall {
    fn on_cancel(&self, _: TaskId) {
        if let Some(shared) = self.shared.upgrade() {
            let _ = shared.mailbox.push([Mail::Cancel(self.id)]);
        }
    }

    fn help(&self, done: &dyn Fn() -> bool) {
        if let Some(shared) = self.shared.upgrade() {
            shared.help(self.id, done);
        }
    }

    fn origin(&self) -> Origin {
        Origin::Work
    }

    fn is_executors(&self) -> bool {
        true
    }
}

/// One call, as it travels, in an empty chunk.
pub(crate) fn encode<A: Portable, R: Portable>(
    arg: &A,
    f: fn(A) -> R,
    mut chunk: Chunk,
) -> Result<(CodeRef, Chunk), TaskError> {
    let code = code_of(f)?;
    chunk.push(arg).map_err(unencodable::<A>)?;
    Ok((code, chunk))
}

/// A job of one chunk, for the driver.
pub(crate) fn mail(id: u64, work: Work, chunk: Chunk) -> [Mail; 2] {
    let feed = Mail::Feed {
        id,
        base: 0,
        chunk: Arc::new(chunk),
        sealed: true,
        failure: None,
    };
    [Mail::Submit { id, work }, feed]
}

/// What `ProcessPoolBuilder::initializer` is told.
pub(crate) fn initializer<A: Portable>(arg: &A, f: fn(A)) -> Result<Initializer, TaskError> {
    let (code, chunk) = encode(arg, f, Chunk::default())?;
    Ok(Initializer {
        code,
        chunk: Arc::new(chunk),
        type_name: type_name::<A>(),
    })
}

/// How a worker finds `f`.
pub(crate) fn code_of<A: Portable, R: Portable>(f: fn(A) -> R) -> Result<CodeRef, TaskError> {
    raw_call::code_of(f).ok_or_else(not_ours::<fn(A) -> R>)
}

#[cold]
pub(crate) fn unencodable<A>(error: postcard::Error) -> TaskError {
    let direction = CodecDirection::EncodeArgument;
    TaskError::Codec(Box::new(CodecError::new(
        type_name::<A>(),
        direction,
        explain(error),
    )))
}

#[cold]
fn not_ours<F>() -> TaskError {
    let detail = "the function is not part of this program's image but of a library loaded at run time, where a worker would not find it";
    let direction = CodecDirection::EncodeArgument;
    TaskError::Codec(Box::new(CodecError::new(
        type_name::<F>(),
        direction,
        detail.to_owned(),
    )))
}
