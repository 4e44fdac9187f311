//! Results that stay where they are, as the process that has asked for them has them.
//!
//! **Job.** What a [`Remote`](crate::Remote) stands for: not the value but its bytes, as the worker
//! has encoded them, or a number under which an engine keeps them. A call that needs it gets it as an
//! attachment: memory that never changes, mapped or copied as a [`Shared`]
//! is; and what an engine keeps goes by its number only.
//!
//! **Protocol.**
//! 1. A [`Kept`] begins with a number and without a place. A call that needs it is encoded at once
//!    with that number, and waits ([`Late`]).
//! 2. Its own call ends ([`Kept::end`]). Then everything that waits goes on, on the thread on which
//!    that call has ended.
//! 3. With the last handle it goes: a call that has not ended is cancelled, and an engine that
//!    keeps it is told, once no call under way needs it either ([`Lease`]).
//!
//! The bytes begin with one that means nothing: so no result has none, for there is no empty shared
//! memory.
//!
//! Tests: `tests/process/remote.rs`, `tests/dask/promises.rs`.

use std::fmt;
use std::io;
use std::sync::{Arc, OnceLock, Weak};

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::attachments::{Attachment, Late};
use super::bulk::Bulk;
use super::codec::{codec_error, decode, encode};
use super::mapped::Mapped;
use super::raw_plain::MappedSlice;
use super::scope::{self, Encoding};
use super::shared::Shared;
use crate::loom::Mutex;
use crate::sys::fork;
use crate::task::{AbortHandle, CodecDirection, Task, TaskError};

/// What a worker answers in place of a result that is kept: its bytes, or, if these are many,
/// memory with them. `None`: the engine keeps them.
pub(crate) type Answer = Option<(Bulk<u8>, Option<Shared<u8>>)>;

/// So many bytes are not worth a descriptor.
const SMALL: usize = 16 << 10;

/// Why a result cannot be kept.
const KEPT: &str =
    "it brings something along that is not a part of its bytes, and cannot be kept with them";

/// In a worker: what to answer for `value`.
pub(crate) fn answer<R: Serialize>(value: &R) -> Result<Answer, postcard::Error> {
    let (mut bytes, mut beside) = (vec![0], Encoding::bytes(KEPT));
    encode(value, &mut bytes, &mut beside)?;
    if beside.is_some_and(|own| !own.is_empty()) {
        scope::said(KEPT);
        return Err(postcard::Error::SerdeSerCustom);
    }
    Ok(Some(match bytes.len() <= SMALL {
        true => (bytes.into(), None),
        false => (Bulk::default(), Some(bytes.into())),
    }))
}

/// The value of such bytes.
pub(crate) fn value<R: DeserializeOwned>(bytes: &[u8]) -> Result<R, String> {
    decode(bytes.get(1..).unwrap_or_default())
}

/// Bytes that are here.
#[derive(Clone)]
pub(crate) enum Bytes {
    Own(Arc<Bulk<u8>>),
    Shared(MappedSlice<u8>),
}

impl Bytes {
    pub(crate) fn own(bytes: Bulk<u8>) -> Self {
        Self::Own(Arc::new(bytes))
    }

    /// What has come with an argument under the number `id`.
    pub(crate) fn arrived(id: u64) -> Result<Self, String> {
        let said = |error: io::Error| scope::said(&error.to_string());
        let mapped = Mapped::open(scope::attached(id)?, 0).map_err(said)?;
        let length = mapped.mapping().length() as u64;
        let slice = MappedSlice::fixed(mapped, length).map_err(scope::said)?;
        Ok(Self::Shared(slice))
    }

    pub(crate) fn get(&self) -> &[u8] {
        match self {
            Self::Own(bytes) => bytes,
            Self::Shared(slice) => slice.elements(),
        }
    }
}

impl fmt::Debug for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes", self.get().len())
    }
}

/// Where a result is.
#[derive(Clone, Debug)]
pub(crate) enum Place {
    Here(Bytes),
    Engine,
}

/// What keeps results for this process.
pub(crate) trait Keeper: Send + Sync {
    /// The last handle on the result `id` has gone.
    fn free(&self, id: u64);
}

/// A result that stays where it is.
pub(crate) struct Kept {
    id: u64,
    state: Mutex<State>,
    /// What travels in its place; made when it is first needed.
    attachment: OnceLock<Arc<Attachment>>,
    /// Cancels the call that it comes from.
    abort: OnceLock<AbortHandle>,
    born: u32,
    lease: Arc<Lease>,
}

/// As long as it is there an engine keeps the result.
struct Lease {
    id: u64,
    keeper: Weak<dyn Keeper>,
}

impl Drop for Lease {
    fn drop(&mut self) {
        if let Some(keeper) = self.keeper.upgrade() {
            keeper.free(self.id);
        }
    }
}

impl fmt::Debug for Lease {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.id)
    }
}

enum State {
    /// Its call has not ended; what is to be told.
    Waiting(Vec<Box<dyn FnOnce() + Send>>),
    Ended(Result<Place, TaskError>),
}

impl Kept {
    pub(crate) fn new(keeper: Weak<dyn Keeper>) -> Arc<Self> {
        let id = Attachment::number();
        Arc::new(Self {
            id,
            state: Mutex::new(State::Waiting(Vec::new())),
            attachment: OnceLock::new(),
            abort: OnceLock::new(),
            born: fork::generation(),
            lease: Arc::new(Lease { id, keeper }),
        })
    }

    pub(crate) fn id(&self) -> u64 {
        self.id
    }

    /// It is what `task` gives.
    pub(crate) fn follow(self: &Arc<Self>, task: Task<Answer>) {
        let _ = self.abort.set(task.abort_handle());
        let own = Arc::downgrade(self);
        task.on_done(move |result| {
            if let Some(own) = own.upgrade() {
                own.end(result);
            }
        });
    }

    fn end(&self, result: Result<Answer, TaskError>) {
        let place = result.map(|answer| match answer {
            None => Place::Engine,
            Some((bytes, None)) => Place::Here(Bytes::own(bytes)),
            Some((_, Some(shared))) => Place::Here(match shared.slice() {
                Some(slice) => Bytes::Shared(slice),
                None => Bytes::own(Bulk::from(&*shared)),
            }),
        });
        let before = std::mem::replace(&mut *self.state.lock(), State::Ended(place));
        if let State::Waiting(waiting) = before {
            waiting.into_iter().for_each(|then| then());
        }
    }

    /// Where it is, or why it is nowhere, once that is known.
    pub(crate) fn ended(&self) -> Option<Result<Place, TaskError>> {
        if self.is_foreign() {
            let known = self.state.try_lock();
            return Some(match known.as_deref() {
                Some(State::Ended(place)) => place.clone(),
                _ => Err(TaskError::Closed),
            });
        }
        match &*self.state.lock() {
            State::Waiting(_) => None,
            State::Ended(place) => Some(place.clone()),
        }
    }

    /// A parent of this process asked for it, and the thread that would end it is there.
    fn is_foreign(&self) -> bool {
        self.born != fork::generation()
    }

    fn make_attachment(&self, place: &Place) -> io::Result<Arc<Attachment>> {
        let memory = match place {
            Place::Engine => return Attachment::stand_in(self.id, self.lease.clone()),
            Place::Here(Bytes::Own(bytes)) => Mapped::fixed(bytes)?.attachment().clone(),
            Place::Here(Bytes::Shared(slice)) => slice.mapped().attachment().clone(),
        };
        let file = memory.file().try_clone()?;
        let attachment = Attachment::numbered(self.id, Arc::new(file), None);
        attachment.set_fixed();
        Ok(attachment)
    }
}

impl Late for Kept {
    fn has_ended(&self) -> bool {
        self.ended().is_some()
    }

    fn when_ended(&self, then: Box<dyn FnOnce() + Send>) {
        if self.is_foreign() {
            return then();
        }
        match &mut *self.state.lock() {
            State::Waiting(waiting) => return waiting.push(then),
            State::Ended(_) => {}
        }
        then();
    }

    fn attachment(&self) -> Result<Arc<Attachment>, TaskError> {
        if let Some(known) = self.attachment.get() {
            return Ok(known.clone());
        }
        let place = self.ended().unwrap_or(Err(TaskError::Closed))?;
        let made = self.make_attachment(&place).map_err(|error| {
            let words = format!("there was no memory to share: {error}");
            codec_error("Remote", CodecDirection::EncodeArgument, words)
        })?;
        Ok(self.attachment.get_or_init(|| made).clone())
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        if let (None, Some(abort)) = (self.ended(), self.abort.get()) {
            abort.cancel();
        }
    }
}

impl fmt::Debug for Kept {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Kept")
            .field("id", &self.id)
            .field("ended", &self.ended())
            .finish_non_exhaustive()
    }
}
