//! `Remote`: the public handle on a result that stays where it is.
//!
//! Outside of calls it refers to a [`KeptResult`]. Inside a call that received it as an argument it
//! holds the value itself, and the bytes that the value was decoded from. This process keeps the
//! bytes, those of a large result in memory that it shares with its workers.
//!
//! Which results stay in this process, until when, and which calls wait for one:
//! `value/kept_results.rs`.
//!
//! Tests: `tests/process/remote.rs`.

use std::fmt;
use std::ops::Deref;
use std::sync::{Arc, Weak};

use serde::de::Error as _;
use serde::ser::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::blocking_threads;
use crate::loom::Mutex;
use crate::process::job::CallOptions;
use crate::process::job::results::undecodable;
use crate::process::parent::driver::PoolState;
use crate::process::value::attachments::Awaited;
use crate::process::value::bulk::Bulk;
use crate::process::value::kept_results::{self, Answer, KeptResult};
use crate::process::value::portable::Portable;
use crate::process::value::reason;
use crate::process::value::scope;
use crate::process::value::shared::Shared;
use crate::process::wire::CodeRef;
use crate::task::{Completer, Producer, Task, TaskError, TaskId, TaskRef, panic, promise};

/// A result that stays where it is, until it is [fetched](Self::fetch): from
/// [`ProcessPool::spawn_remote`](crate::ProcessPool::spawn_remote).
///
/// It can be an argument of later calls, alone or as a part of a tuple, a struct or a vector. Such
/// a call waits, without occupying a thread, until all its arguments exist. Inside the call a
/// `Remote<R>` gives access to the `R`, by [`Deref`] or [`into_inner`](Self::into_inner). So a
/// graph of calls that depend on one another is written as plain calls, and only the last result is
/// brought to this process:
///
/// ```
/// use trefoil::{ProcessPool, Remote};
///
/// # trefoil::init();
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
/// - On one machine: in memory. Up to 16 KiB (encoded) stay in this process. A larger result lies
///   in memory that each process that needs it maps, without a copy, like a
///   [`Shared`]. It is encoded once, and decoded in each call that receives it.
///   Each such result holds one descriptor of this process until it is freed. So there can be
///   about as many at a time as the limit allows (`ulimit -n`, often 1,024); the call of one too
///   many ends in a [`TaskError::Codec`].
/// - With [plain workers](crate::ProcessPoolBuilder::plain_workers), as on other machines: its
///   bytes come to this process, and a worker gets those of a larger one once.
///
/// # Errors
/// If its call fails, each `fetch`, and each call that it is an argument of, fails with the same
/// error. Calls with many items (`map`, `imap`), contexts, initializers, an actor's `load` and the
/// function of a `Process` do not wait for a `Remote`: if its call has not ended, or has failed,
/// they fail with an error that says so (of a call, [`TaskError::Codec`]). Await
/// [`ready`](Self::ready) before them. A result that contains more than bytes (a `Shared`, an end
/// of a channel) cannot be kept.
///
/// # Dropping it
/// The result is freed when the last handle has been dropped and no call needs it any more. If its
/// own call has not ended by then, that call is cancelled. A pending `fetch` or `ready` counts as a
/// handle until it is cancelled. If the call has failed, and no `fetch`, no `ready` and no other
/// call has received the error, it is a failure that was never observed: it goes to the hook
/// ([`on_unobserved`](crate::on_unobserved)), once.
///
/// # Panics
/// [`Deref`] and `into_inner` panic where its call was spawned, since the value is not in that
/// process.
pub struct Remote<R>(RemoteValue<R>);

enum RemoteValue<R> {
    /// In the process that called `spawn_remote`.
    Asked(Arc<KeptResult>, Weak<PoolState>),
    /// In a call: the value, and the bytes that it was decoded from.
    Opened(Box<R>, Shared<u8>),
}

/// Decodes a value whose bytes are in this process.
fn read<R: Portable>(bytes: &Shared<u8>) -> Result<R, TaskError> {
    match panic::catch(|| kept_results::value::<R>(bytes)) {
        Ok(read) => read.map_err(undecodable::<R>),
        Err(panic) => Err(panic.into()),
    }
}

impl<R: Portable> Remote<R> {
    /// The result of a new call of `f`.
    #[track_caller]
    pub(in crate::process) fn of<A: Portable>(
        pool: &Arc<PoolState>,
        options: CallOptions,
        code: Result<CodeRef, TaskError>,
        arg: &mut A,
    ) -> Self {
        let kept = KeptResult::new();
        kept.follow(pool.spawn::<A, Answer, R>(options, code, arg));
        Self(RemoteValue::Asked(kept, Arc::downgrade(pool)))
    }

    /// Brings the value to this process; inside a call it returns a copy. It may be called more
    /// than once.
    ///
    /// The task ends after the call that computes the value.
    ///
    /// # Errors
    /// Those of the call, and [`Codec`](TaskError::Codec) if the value cannot be decoded.
    #[track_caller]
    pub fn fetch(&self) -> Task<R> {
        let kept = match &self.0 {
            RemoteValue::Opened(_, bytes) => return self.done(read(bytes)),
            RemoteValue::Asked(kept, _) => kept,
        };
        match kept.ended(true) {
            Some(ended) => self.done(ended.and_then(|bytes| read(&bytes))),
            None => self.wait(kept, answer_fetch),
        }
    }

    /// Ends when the call that computes the value has ended. The value stays where it is.
    ///
    /// # Errors
    /// Those of the call.
    #[track_caller]
    pub fn ready(&self) -> Task<()> {
        match &self.0 {
            RemoteValue::Opened(..) => self.done(Ok(())),
            RemoteValue::Asked(kept, _) => self.wait(kept, |own, completer| {
                let ended = own.ended(true).unwrap_or(Err(TaskError::Closed));
                completer.complete(ended.map(drop));
            }),
        }
    }
}

impl<R> Remote<R> {
    /// Sets the pool's hook for unobserved errors, if the pool has one.
    fn hooked<T>(&self, (completer, task): (Completer<T>, Task<T>)) -> (Completer<T>, Task<T>) {
        if let RemoteValue::Asked(_, pool) = &self.0
            && let Some(hook) = pool.upgrade().and_then(|pool| pool.unobserved.clone())
        {
            completer.set_hook(&hook);
        }
        (completer, task)
    }

    /// A task that has ended.
    #[track_caller]
    fn done<T: Send + 'static>(&self, result: Result<T, TaskError>) -> Task<T> {
        let (completer, task) = self.hooked(Completer::new());
        completer.complete(result);
        task
    }

    /// A task that `then` completes when the call of `kept` has ended.
    #[track_caller]
    fn wait<T: Send + 'static>(
        &self,
        kept: &Arc<KeptResult>,
        then: impl FnOnce(Arc<KeptResult>, Completer<T>) + Send + 'static,
    ) -> Task<T> {
        let waiting = Waiting(Arc::new(Mutex::new(Some(kept.clone()))));
        let (completer, task) = self.hooked(promise(waiting.clone()));
        kept.when_ended(Box::new(move || {
            if let Some(own) = waiting.take() {
                then(own, completer);
            }
        }));
        task
    }
}

/// The handle that a `fetch` or a `ready` holds while it waits.
#[derive(Clone)]
struct Waiting(Arc<Mutex<Option<Arc<KeptResult>>>>);

impl Waiting {
    fn take(&self) -> Option<Arc<KeptResult>> {
        self.0.lock().take()
    }
}

impl Producer for Waiting {
    fn on_cancel(&self, _: TaskId) -> Option<TaskRef> {
        drop(self.take()); // Not under the lock: it may be the last handle.
        None
    }
}

/// Answers a `fetch` after the end of the call. It runs on the thread that noticed that end, which
/// must not run the user's code; so a helper thread decodes the value.
fn answer_fetch<R: Portable>(kept: Arc<KeptResult>, completer: Completer<R>) {
    match kept.ended(true).unwrap_or(Err(TaskError::Closed)) {
        Err(error) => completer.complete(Err(error)),
        // If the system gives no thread, the promise is dropped: `Closed`.
        Ok(bytes) => drop(blocking_threads::start(move || {
            let result = read(&bytes);
            blocking_threads::contain(move || completer.complete(result));
        })),
    }
}

impl<R> Remote<R> {
    /// Returns the value, inside a call that it is an argument of.
    ///
    /// # Panics
    /// Outside of such a call; use [`fetch`](Self::fetch) there.
    #[must_use]
    pub fn into_inner(self) -> R {
        match self.0 {
            RemoteValue::Opened(value, _) => *value,
            RemoteValue::Asked(..) => elsewhere(),
        }
    }
}

#[cold]
fn elsewhere() -> ! {
    panic!(
        "a `Remote` holds its value only inside a call that it is an argument of: use `fetch` \
         here, or give it to a call"
    )
}

impl<R> Deref for Remote<R> {
    type Target = R;

    fn deref(&self) -> &R {
        match &self.0 {
            RemoteValue::Opened(value, _) => value,
            RemoteValue::Asked(..) => elsewhere(),
        }
    }
}

/// Another handle on the same result. Inside a call the value is decoded once more.
///
/// # Panics
/// Inside a call, if the bytes cannot be decoded a second time.
impl<R: Portable> Clone for Remote<R> {
    fn clone(&self) -> Self {
        Self(match &self.0 {
            RemoteValue::Asked(kept, pool) => RemoteValue::Asked(kept.clone(), pool.clone()),
            RemoteValue::Opened(_, bytes) => match kept_results::value(bytes) {
                Ok(value) => RemoteValue::Opened(Box::new(value), bytes.clone()),
                Err(why) => panic!("what was decoded once cannot be again: {why}"),
            },
        })
    }
}

impl<R> Serialize for Remote<R> {
    /// The bytes, or the number of the attachment that holds them.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let place = match &self.0 {
            RemoteValue::Opened(_, bytes) => match bytes.attachment() {
                Some(memory) => Err(scope::attach(memory)),
                None => Ok(bytes.clone()),
            },
            RemoteValue::Asked(kept, _) => match kept.ended(false) {
                Some(Ok(bytes)) if bytes.attachment().is_none() => Ok(bytes),
                Some(Ok(_)) => {
                    let attachment = kept.attachment();
                    let attachment = attachment.map_err(|error| reason::set(&error.to_string()));
                    Err(attachment.and_then(|attachment| scope::attach(&attachment)))
                }
                // If its call fails, the waiting call ends with that error.
                None | Some(Err(_)) => Err(scope::attach_later(kept.clone()).map(|()| kept.id)),
            },
        };
        match place {
            Ok(bytes) => Ok::<Bulk<u8>, u64>(Bulk::from(&*bytes)).serialize(serializer),
            Err(number) => {
                let number = number.map_err(S::Error::custom)?;
                Err::<(), u64>(number).serialize(serializer)
            }
        }
    }
}

impl<'de, R: Portable> Deserialize<'de> for Remote<R> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let bytes = match Result::<Bulk<u8>, u64>::deserialize(deserializer)? {
            Ok(bytes) => Ok(Shared::own(bytes.into_vec())),
            Err(number) => scope::attached(number).and_then(|memory| {
                Shared::of(memory).map_err(|error| reason::set(&error.to_string()))
            }),
        };
        let read = bytes.and_then(|bytes| {
            let value = kept_results::value(&bytes).map_err(|why| reason::set(&why))?;
            Ok(Self(RemoteValue::Opened(Box::new(value), bytes)))
        });
        read.map_err(D::Error::custom)
    }
}

impl<R> fmt::Debug for Remote<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            RemoteValue::Asked(kept, _) => f.debug_tuple("Remote").field(kept).finish(),
            RemoteValue::Opened(_, bytes) => write!(f, "Remote({} bytes)", bytes.len()),
        }
    }
}
