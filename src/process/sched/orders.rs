//! What goes in and out of the scheduler: items of its callers, and actions of the driver.

use crate::process::job::job_id::JobId;
use std::sync::Arc;

use crate::process::job::slot_id::SlotId;
use crate::process::value::chunk::{Chunk, Piece};
use crate::task::TaskError;

/// What the driver must do.
pub(crate) enum Action {
    Spawn(SlotId),
    /// The worker that was asked of the launcher is not wanted any more.
    Withdraw(SlotId),
    /// Send a worker the head of a frame, followed by these items.
    Send(SlotId, Vec<u8>, Option<Piece>),
    /// Make the worker look at its gates, because the item that it runs is unwanted.
    Ring(SlotId),
    /// Wake the worker, if it sleeps, or give what forwards its stream something to pass on.
    Nudge(SlotId),
    Kill(SlotId),
    /// Read what the worker has answered, sent or not, and report it: what is due depends on that.
    Hear(SlotId),
    /// A killed worker does not die. Unless it is at it, and not `surely`: take back what it has
    /// not begun, and report its death.
    Abandon {
        slot: SlotId,
        surely: bool,
    },
}

/// More items of a job.
pub(crate) struct Feed {
    pub(crate) id: JobId,
    /// The index of the first.
    pub(crate) base: usize,
    pub(crate) chunk: Arc<Chunk>,
    /// These are the last.
    pub(crate) sealed: bool,
    /// The error of the item after them.
    pub(crate) failure: Option<TaskError>,
}
