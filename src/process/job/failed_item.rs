//! An item that has failed, for a hook of the pool or of the call, before its error reaches the
//! caller.
//!
//! The scheduler makes a [`FailedItem`] in place of the item's error, and a reader
//! (`parent::readers`) calls the hook, which may take as long as it likes: the driver does not
//! wait. The error goes to its job when the hook has returned, with the note that it has left.
//!
//! What the hook may wait for: `running_hook`.
//!
//! For which errors: `FailedItem::is_for` here, asked in `sched/failed_items.rs`.
//!
//! Tests: `tests/process/failures.rs`; `crates/trefoil-capsules`.

use std::cell::RefCell;
use std::fmt;
use std::sync::Arc;

use super::Context;
use super::encoded::Encoded;
use super::item_id::ItemId;
use super::running_hook::RunningHook;
use crate::process::value::chunk::Piece;
use crate::process::wire::CodeRef;
use crate::task::{TaskError, panic};
use trefoil_os::host::image::image;

/// What is called with each item that has failed.
#[derive(Clone)]
pub(crate) struct OnFailedItem(Arc<dyn Fn(&FailedItem) + Send + Sync>);

impl OnFailedItem {
    pub(crate) fn new(hook: impl Fn(&FailedItem) + Send + Sync + 'static) -> Self {
        Self(Arc::new(hook))
    }
}

impl fmt::Debug for OnFailedItem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("OnFailedItem")
    }
}

/// An item that ran and has failed, for
/// [`on_failed_item`](crate::ProcessPoolBuilder::on_failed_item), which has an example.
pub struct FailedItem {
    pub(crate) of: ItemId,
    pub(crate) error: TaskError,
    pub(crate) hook: OnFailedItem,
    pub(crate) code: CodeRef,
    pub(crate) argument_type: &'static str,
    pub(crate) name: Option<String>,
    /// The items of its frame.
    pub(crate) piece: Piece,
    pub(crate) context: Option<Context>,
    pub(crate) note: RefCell<Option<String>>,
    /// No thread can call the hook.
    pub(crate) is_given_up: bool,
}

debug!(
    impl FailedItem,
    self,
    item = self.item(),
    error = self.error
);

impl FailedItem {
    /// Its index, if the call had many items.
    #[must_use]
    pub fn item(&self) -> Option<usize> {
        self.error.item()
    }

    /// The [name](crate::ProcessCall::name) of the call.
    #[must_use]
    pub fn name(&self) -> Option<&str> {
        self.name.as_deref()
    }

    /// The address of the call's function in this process: that of the `fn(A) -> R` (or
    /// `fn(&C, A) -> R`) that the call has. Several functions that do the same may share one.
    #[must_use]
    pub fn function(&self) -> usize {
        image().address_at(self.code.function).unwrap_or(0)
    }

    /// The argument as it was sent.
    #[must_use]
    pub fn argument(&self) -> Encoded {
        let at = self.of.at - self.piece.first();
        Encoded::of(&self.piece.part(at, at + 1))
    }

    /// The name of the argument's type.
    #[must_use]
    pub fn argument_type(&self) -> &'static str {
        self.argument_type
    }

    /// The context of a [`map_with`](crate::ProcessPool::map_with) as it was sent.
    #[must_use]
    pub fn context(&self) -> Option<Encoded> {
        Some(Encoded::of(&self.context.as_ref()?.piece))
    }

    /// The name of the context's type.
    #[must_use]
    pub fn context_type(&self) -> Option<&'static str> {
        Some(self.context.as_ref()?.type_name)
    }

    /// Why it has failed.
    #[must_use]
    pub fn error(&self) -> &TaskError {
        &self.error
    }

    /// Leaves this in the error that the caller gets ([`TaskError::note`]), whose message ends with
    /// it. The last one counts.
    pub fn note(&self, text: impl Into<String>) {
        *self.note.borrow_mut() = Some(text.into());
    }

    /// Whether an item that has ended in this error is one.
    pub(crate) fn is_for(error: &TaskError) -> bool {
        use TaskError::{Codec, Panicked, TimedOut, WorkerDied};
        matches!(error, WorkerDied(_) | TimedOut(_) | Panicked(_) | Codec(_))
    }

    /// Calls the hook of this pool, or of the call. Returns the error, with the note if there is
    /// one.
    pub(crate) fn report(self, pool: u32) -> TaskError {
        let running = RunningHook {
            pool,
            job: self.of.job,
        };
        running.during(|| self.call()) // (in it the hook is dropped, too)
    }

    fn call(self) -> TaskError {
        if !self.is_given_up {
            #[cfg(feature = "backtrace")]
            self.error.wait_for_names();
            panic::contain(|| (self.hook.0)(&self));
        }
        match self.note.into_inner() {
            Some(note) => self.error.with_note(note.into()),
            None => self.error,
        }
    }
}
