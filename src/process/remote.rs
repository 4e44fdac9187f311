//! A result that stays where it is, as users see it.
//!
//! A handle on a [`Kept`], or, inside of a call that has got it as an argument, the value itself
//! with the bytes that it was read from. On this machine the bytes are kept by this process, those
//! of a large result in memory that it shares with its workers; an engine that places calls itself
//! keeps them (`machines::dask`).
//!
//! Tests: `tests/process/remote.rs`, `tests/dask/promises.rs`.

use std::any::type_name;
use std::fmt;
use std::ops::Deref;
use std::sync::{Arc, Weak};

use serde::de::Error as _;
use serde::ser::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::job::CallOptions;
use super::job::decoder::undecodable;
use super::parent::client::encode;
use super::parent::driver::Shared;
use super::payload::attachments::Late;
use super::payload::bulk::Bulk;
use super::payload::kept::{self, Answer, Bytes, Keeper, Kept, Place};
use super::payload::portable::Portable;
use super::payload::scope;
use super::worker::raw_call::{code_of, code_of_kept};
use crate::helper;
use crate::loom::Mutex;
use crate::task::{Completer, OnCancel, Task, TaskError, TaskId, panic, promise};

/// A result that stays where it is, until it is [fetched](Self::fetch): from
/// [`ProcessPool::spawn_remote`](crate::ProcessPool::spawn_remote).
///
/// It is an argument of later calls, alone or as a part of a tuple, a struct, a vector. Such a call
/// waits until everything that it needs is there, without a thread, and in it a `Remote<R>` is the
/// `R`, by [`Deref`] or [`into_inner`](Self::into_inner). So a graph of calls that depend on one
/// another is written as calls, and only the last result comes home:
///
/// ```
/// use trefoil::{ProcessPool, Remote};
///
/// # trefoil::process::init();
/// let procs = ProcessPool::with_workers(2)?;
///
/// // A tree: the sums of pairs, until one is left.
/// let mut sums: Vec<Remote<u64>> = (1..=8).map(|n| procs.spawn_remote(n, |n: u64| n * n)).collect();
/// while sums.len() > 1 {
///     let pairs = sums.chunks(2).map(|pair| pair.to_vec());
///     let add = |pair: Vec<Remote<u64>>| pair.iter().map(|n| **n).sum::<u64>();
///     sums = pairs.map(|pair| procs.spawn_remote(pair, add)).collect();
/// }
/// assert_eq!(sums[0].fetch().join()?, 204);
///
/// // A pipeline of three stages.
/// let text = procs.spawn_remote(3, |n: usize| "one two ".repeat(n));
/// let words = procs.spawn_remote(text, |text: Remote<String>| {
///     text.split_whitespace().map(str::to_owned).collect::<Vec<_>>()
/// });
/// let count = procs.spawn(words, |words: Remote<Vec<String>>| words.len());
/// assert_eq!(count.join()?, 6);
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// ```
///
/// # Where it stays
/// - On this machine in memory: up to 16 KiB in this process, larger ones in memory that is mapped
///   by each process that needs them, and not copied, as a [`Shared`](crate::Shared) is. It is encoded once,
///   and decoded by each call that gets it.
/// - Over ssh (and with [plain workers](crate::ProcessPoolBuilder::plain_workers)) its bytes come
///   here, and go once to each worker that needs them.
/// - On Dask with the worker that has computed it, and what needs it runs there if Dask finds that
///   better. Should that worker be lost, Dask computes it again. It is of use in calls of its own
///   pool only.
///
/// # Errors
/// The error of its call is that of each `fetch`, and of each call that it is an argument of. Calls
/// with many items (`map`, `imap`) do not wait: one with a `Remote` whose call has not ended, or
/// has failed, ends in [`TaskError::Codec`], which says so; [`ready`](Self::ready) tells when it
/// has ended. A result that
/// brings along what is not bytes (a `Shared`, an end of a channel) cannot be kept.
///
/// # Dropping it
/// With the last handle, and the last call that needs it, the result is freed. If its call has not
/// ended by then, that is cancelled. (A `fetch` and a `ready` that wait count as handles until they
/// are cancelled.)
///
/// # Panics
/// [`Deref`] and `into_inner`, in words, where the value is not: outside of the call that it is an
/// argument of.
pub struct Remote<R>(State<R>);

enum State<R> {
    /// Where it was asked for.
    Asked(Arc<Kept>, Weak<Shared>),
    /// In a call: the value, and what it was read from.
    Here(Box<R>, Bytes),
}

/// Brings one home.
fn bring<R: Portable>(remote: Remote<R>) -> R {
    remote.into_inner()
}

/// The value of bytes that are here.
fn read<R: Portable>(bytes: &Bytes) -> Result<R, TaskError> {
    match panic::catch(|| kept::value::<R>(bytes.get())) {
        Ok(read) => read.map_err(undecodable::<R>),
        Err(panic) => Err(panic.into()),
    }
}

impl<R: Portable> Remote<R> {
    /// What a call of `f` gives.
    #[track_caller]
    pub(super) fn of<A: Portable>(
        pool: &Arc<Shared>,
        options: &CallOptions,
        f: fn(A) -> R,
        arg: &A,
    ) -> Self {
        let keeper: Weak<Shared> = Arc::downgrade(pool);
        let kept = Kept::new(keeper.clone() as Weak<dyn Keeper>);
        let mut options = options.clone();
        // (An engine keeps what any worker would have said.)
        let code = match pool.told {
            Some(_) => {
                options.more().keep = kept.id();
                code_of(f)
            }
            None => code_of_kept(f),
        };
        let call = encode(
            arg,
            pool.allowed::<A>(&options, code),
            pool.chunk().waiting(),
        );
        kept.follow(pool.submit::<A, Answer>(&options, type_name::<R>(), call));
        Self(State::Asked(kept, keeper))
    }

    /// Brings the value here, or, inside of a call, gives a copy of it. It may be called again.
    ///
    /// The task waits for the call that it comes from. On Dask it is a call of its own.
    ///
    /// # Errors
    /// Those of the call, and [`Codec`](TaskError::Codec) if it cannot be decoded.
    #[track_caller]
    pub fn fetch(&self) -> Task<R> {
        let known = match &self.0 {
            State::Here(_, bytes) => Some(read(bytes)),
            State::Asked(kept, pool) => match kept.ended() {
                Some(Ok(Place::Engine)) => return ask(kept, pool),
                Some(Ok(Place::Here(bytes))) => Some(read(&bytes)),
                Some(Err(error)) => Some(Err(error)),
                None => None,
            },
        };
        match (known, &self.0) {
            (None, State::Asked(kept, pool)) => {
                let pool = pool.clone();
                wait(kept, move |own, completer| come(own, &pool, completer))
            }
            (known, _) => done(known.unwrap_or(Err(TaskError::Closed))),
        }
    }

    /// Ends when the call that it comes from has: the value stays where it is.
    ///
    /// # Errors
    /// Those of the call.
    #[track_caller]
    pub fn ready(&self) -> Task<()> {
        match &self.0 {
            State::Here(..) => done(Ok(())),
            State::Asked(kept, _) => wait(kept, |own, completer| {
                let ended = own.ended().unwrap_or(Err(TaskError::Closed));
                completer.complete(ended.map(drop));
            }),
        }
    }
}

/// A task that has ended.
#[track_caller]
fn done<T: Send + 'static>(result: Result<T, TaskError>) -> Task<T> {
    let (completer, task) = Completer::new();
    completer.complete(result);
    task
}

/// The handle that a `fetch` or a `ready` is as long as it waits.
#[derive(Clone)]
struct Waiting(Arc<Mutex<Option<Arc<Kept>>>>);

impl Waiting {
    fn take(&self) -> Option<Arc<Kept>> {
        self.0.lock().take()
    }
}

impl OnCancel for Waiting {
    fn on_cancel(&self, _: TaskId) {
        drop(self.take()); // (Not under the lock: it may be the last.)
    }
}

/// A task that `then` ends when the call of `kept` has ended.
#[track_caller]
fn wait<T: Send + 'static>(
    kept: &Arc<Kept>,
    then: impl FnOnce(Arc<Kept>, Completer<T>) + Send + 'static,
) -> Task<T> {
    let waiting = Waiting(Arc::new(Mutex::new(Some(kept.clone()))));
    let (completer, task) = promise(waiting.clone());
    kept.when_ended(Box::new(move || {
        if let Some(own) = waiting.take() {
            then(own, completer);
        }
    }));
    task
}

/// The call has ended, and a `fetch` waits for the value. (On the thread that noticed the end,
/// which runs no code of the user's.)
fn come<R: Portable>(kept: Arc<Kept>, pool: &Weak<Shared>, completer: Completer<R>) {
    match kept.ended().unwrap_or(Err(TaskError::Closed)) {
        Ok(Place::Engine) => ask(&kept, pool).on_done(|result| completer.complete(result)),
        Err(error) => completer.complete(Err(error)),
        // (Without a thread for it the promise is dropped: `Closed`.)
        Ok(Place::Here(bytes)) => drop(helper::start(move || {
            let result = read(&bytes);
            helper::contain(move || completer.complete(result));
        })),
    }
}

/// Has the engine send it.
#[track_caller]
fn ask<R: Portable>(kept: &Arc<Kept>, pool: &Weak<Shared>) -> Task<R> {
    let Some(shared) = pool.upgrade() else {
        let (_, task) = Completer::new();
        return task; // `Closed`
    };
    let own = Remote::<R>(State::Asked(kept.clone(), pool.clone()));
    let call = encode(&own, code_of(bring::<R>), shared.chunk());
    shared.submit::<Remote<R>, R>(&CallOptions::default(), type_name::<R>(), call)
}

impl<R> Remote<R> {
    /// The value, in a call that it is an argument of.
    ///
    /// # Panics
    /// Elsewhere: see [`fetch`](Self::fetch).
    #[must_use]
    pub fn into_inner(self) -> R {
        match self.0 {
            State::Here(value, _) => *value,
            State::Asked(..) => elsewhere(),
        }
    }
}

#[cold]
fn elsewhere() -> ! {
    panic!(
        "a `Remote` is the value in a call that it is an argument of, and not where it was asked for: `fetch` it, or give it to a call"
    )
}

impl<R> Deref for Remote<R> {
    type Target = R;

    fn deref(&self) -> &R {
        match &self.0 {
            State::Here(value, _) => value,
            State::Asked(..) => elsewhere(),
        }
    }
}

/// Another handle on the same result; in a call it is decoded once more.
///
/// # Panics
/// In a call, if what was decoded once cannot be again.
impl<R: Portable> Clone for Remote<R> {
    fn clone(&self) -> Self {
        Self(match &self.0 {
            State::Asked(kept, pool) => State::Asked(kept.clone(), pool.clone()),
            State::Here(_, bytes) => match kept::value(bytes.get()) {
                Ok(value) => State::Here(Box::new(value), bytes.clone()),
                Err(why) => panic!("what was decoded once cannot be again: {why}"),
            },
        })
    }
}

impl<R> Serialize for Remote<R> {
    /// Bytes, or the number of what travels beside them.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let bytes = match &self.0 {
            State::Here(_, bytes) => bytes.clone(),
            State::Asked(kept, _) => {
                let number = match kept.ended() {
                    Some(Ok(Place::Here(bytes @ Bytes::Own(_)))) => Ok(bytes),
                    Some(Ok(_)) => {
                        let attachment = kept.attachment();
                        let attachment = attachment
                            .map_err(|error| S::Error::custom(scope::said(&error.to_string())))?;
                        Err(scope::attach(&attachment))
                    }
                    // (Why it is nowhere is the error of the call.)
                    None | Some(Err(_)) => {
                        Err(scope::attach_later(kept.clone()).map(|()| kept.id()))
                    }
                };
                match number {
                    Ok(bytes) => bytes,
                    Err(number) => {
                        let number = number.map_err(S::Error::custom)?;
                        return Err::<(), u64>(number).serialize(serializer);
                    }
                }
            }
        };
        match &bytes {
            Bytes::Own(bytes) => Ok::<&Bulk<u8>, u64>(bytes).serialize(serializer),
            Bytes::Shared(slice) => {
                let number = scope::attach(slice.mapped().attachment());
                Err::<(), u64>(number.map_err(S::Error::custom)?).serialize(serializer)
            }
        }
    }
}

impl<'de, R: Portable> Deserialize<'de> for Remote<R> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let bytes = match Result::<Bulk<u8>, u64>::deserialize(deserializer)? {
            Ok(bytes) => Ok(Bytes::own(bytes)),
            Err(number) => Bytes::arrived(number),
        };
        let read = bytes.and_then(|bytes| {
            let value = kept::value(bytes.get()).map_err(|why| scope::said(&why))?;
            Ok(Self(State::Here(Box::new(value), bytes)))
        });
        read.map_err(D::Error::custom)
    }
}

impl<R> fmt::Debug for Remote<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            State::Asked(kept, _) => f.debug_tuple("Remote").field(kept).finish(),
            State::Here(_, bytes) => f.debug_tuple("Remote").field(bytes).finish(),
        }
    }
}
