//! Where the result behind a `Remote` is kept, until when, and which calls wait for it.
//!
//! **Job.** The result that a [`Remote`](crate::Remote) stands for: not the value but its bytes, as
//! the worker has encoded them. A call that needs the result gets it as an attachment: memory that
//! never changes, mapped or copied like a [`Shared`].
//!
//! **Protocol.**
//! 1. A [`KeptResult`] has a number from the beginning, and its bytes only when its call has
//!    ended. A call that needs it is encoded at once with that number, and waits ([`Awaited`]).
//! 2. Its own call ends ([`KeptResult::end`]). Then the calls that wait for it continue, on the
//!    thread on which that call has ended.
//! 3. When the last handle is dropped, its call is cancelled if it has not ended. If the call has
//!    failed, and the error has reached no task ([`KeptResult::ended`]), it is reported as the
//!    call's.
//!
//! The bytes begin with a byte without a meaning, so that they are never empty, because there is no
//! empty shared memory.
//!
//! Tests: `tests/process/remote.rs`.

use std::io;
use std::sync::{Arc, OnceLock};

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::attachments::{Attachment, Awaited};
use super::bulk::Bulk;
use super::codec::{codec_error, decode, encode};
use super::mapped::Mapped;
use super::reason;
use super::scope::Encoding;
use super::shared::Shared;
use crate::loom::Mutex;
use crate::sys::fork;
use crate::task::{AbortHandle, CodecDirection, Task, TaskError};

/// A worker's answer instead of a result that is kept: the result's bytes or, if there are many,
/// memory that contains them.
pub(crate) type Answer = (Bulk<u8>, Option<Shared<u8>>);

/// At most this many bytes travel without a descriptor.
const SMALL: usize = 16 << 10;

/// Why a result cannot be kept.
const KEPT: &str =
    "it brings something along that is not a part of its bytes, and cannot be kept with them";

/// In a worker: the answer for `value`.
pub(crate) fn answer<R: Serialize + 'static>(value: &R) -> Result<Answer, postcard::Error> {
    let (mut bytes, mut brought) = (vec![0], Some(Encoding::bytes(KEPT)));
    encode(value, &mut bytes, &mut brought)?;
    if brought.is_some_and(|own| !own.is_empty()) {
        reason::set(KEPT);
        return Err(postcard::Error::SerdeSerCustom);
    }
    Ok(if bytes.len() <= SMALL {
        (bytes.into(), None)
    } else {
        (Bulk::default(), Some(bytes.into()))
    })
}

/// Decodes a value from an answer's bytes.
pub(crate) fn value<R: DeserializeOwned + 'static>(bytes: &[u8]) -> Result<R, String> {
    decode(bytes.get(1..).unwrap_or_default())
}

/// A result that is kept for later calls.
pub(crate) struct KeptResult {
    pub(crate) id: u64,
    state: Mutex<KeptOutcome>,
    /// The attachment for calls that need it; made when it is first needed.
    attachment: OnceLock<Arc<Attachment>>,
    /// Cancels the call that computes it, and reports its error.
    call: OnceLock<AbortHandle>,
    /// The process that asked for it; see `sys::fork`.
    born: u32,
}

#[derive(Default)]
struct KeptOutcome {
    /// Its bytes, or why there are none, once its call has ended.
    ended: Option<Result<Shared<u8>, TaskError>>,
    /// Some task has received the error, if it is one.
    is_taken: bool,
    /// The functions to call when the call has ended.
    waiting: Vec<Box<dyn FnOnce() + Send>>,
}

impl KeptResult {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self {
            id: Attachment::number(),
            state: Mutex::default(),
            attachment: OnceLock::new(),
            call: OnceLock::new(),
            born: fork::generation(),
        })
    }

    /// Keeps the result of `task`.
    pub(crate) fn follow(self: &Arc<Self>, task: Task<Answer>) {
        let call = task.abort_handle();
        let _ = self.call.set(call.clone());
        let own = Arc::downgrade(self);
        task.on_done(move |result| match (own.upgrade(), result) {
            (Some(own), result) => own.end(result),
            (None, Err(error)) => call.report(error),
            (None, Ok(_)) => {}
        });
    }

    fn end(&self, result: Result<Answer, TaskError>) {
        let bytes =
            result.map(|(bytes, shared)| shared.unwrap_or_else(|| Shared::own(bytes.into_vec())));
        let mut state = self.state.lock();
        state.ended = Some(bytes);
        let waiting = std::mem::take(&mut state.waiting);
        drop(state);
        waiting.into_iter().for_each(|then| then());
    }

    /// Its bytes, or why there are none, once its call has ended. `takes`: for a task that gets the
    /// error, if it is one.
    pub(crate) fn ended(&self, takes: bool) -> Option<Result<Shared<u8>, TaskError>> {
        if self.is_foreign() {
            let known = self.state.try_lock();
            let ended = known.and_then(|state| state.ended.clone());
            return Some(ended.unwrap_or(Err(TaskError::Closed)));
        }
        let mut state = self.state.lock();
        state.is_taken |= takes && state.ended.is_some();
        state.ended.clone()
    }

    /// Whether a parent of this process asked for it: the thread that ends it exists only there.
    fn is_foreign(&self) -> bool {
        self.born != fork::generation()
    }
}

impl Awaited for KeptResult {
    fn has_ended(&self) -> bool {
        self.ended(false).is_some()
    }

    fn when_ended(&self, then: Box<dyn FnOnce() + Send>) {
        if self.is_foreign() {
            return then();
        }
        let mut state = self.state.lock();
        if state.ended.is_none() {
            return state.waiting.push(then);
        }
        drop(state);
        then();
    }

    fn attachment(&self) -> Result<Arc<Attachment>, TaskError> {
        if let Some(known) = self.attachment.get() {
            return Ok(known.clone());
        }
        let bytes = self.ended(true).unwrap_or(Err(TaskError::Closed))?;
        let failed = |error: io::Error| {
            let message = format!("no shared memory was available: {error}");
            codec_error("Remote", CodecDirection::EncodeArgument, message)
        };
        let memory = match bytes.attachment() {
            Some(memory) => memory.clone(),
            None => Mapped::fixed(&bytes).map_err(failed)?.attachment.clone(),
        };
        let made = || {
            let attachment = Attachment::numbered(self.id, memory.descriptor.clone());
            attachment.set_fixed();
            attachment
        };
        Ok(self.attachment.get_or_init(made).clone())
    }
}

impl Drop for KeptResult {
    fn drop(&mut self) {
        let Some(call) = self.call.get().filter(|_| !self.is_foreign()) else {
            return;
        };
        let state = std::mem::take(&mut *self.state.lock());
        match state.ended {
            None => drop(call.cancel()),
            Some(Err(error)) if !state.is_taken => call.report(error),
            Some(_) => {}
        }
    }
}

debug!(
    impl KeptResult,
    self,
    id = self.id,
    has_ended = self.has_ended()
);
