//! The callers' part of a path to the workers: what arguments travel in, and what a caller may do
//! in the driver's place (`shortcut`).

use std::sync::Arc;

use crate::process::parent::settings::Settings;
use crate::process::value::chunk::Chunk;
use crate::process::value::lent_arrays::SharedBuffer;

/// How the callers of a pool reach its workers: the memory in which large arguments are lent,
/// unless everything goes by the stream.
#[derive(Debug)]
pub(crate) struct CallerPath(Option<Arc<SharedBuffer>>);

impl CallerPath {
    pub(crate) fn new(settings: &Settings) -> Self {
        let lends = !settings.plain;
        Self(lends.then(|| Arc::new(SharedBuffer::new())))
    }

    /// An empty chunk, in which arguments are encoded.
    pub(crate) fn chunk(&self) -> Chunk {
        let lent = self.0.as_ref();
        let chunk = lent.map_or_else(|| Chunk::new(true), Chunk::lending);
        chunk.sending_ahead().for_one(true)
    }

    /// An empty chunk for a context, which stays with the workers.
    pub(crate) fn context(&self) -> Chunk {
        Chunk::new(self.0.is_none())
    }

    /// Whether a caller polls for its result.
    pub(crate) fn polls(&self) -> bool {
        self.0.is_some()
    }

    /// Whether a caller hands out new work, or only a `call`: of a `map` the driver sends the
    /// frames over the stream while the caller encodes more.
    pub(crate) fn hands_out(&self, is_call: bool) -> bool {
        is_call || self.polls()
    }

    /// Whether the driver must look after work that waits for a worker, because a caller may
    /// receive that worker's answers.
    pub(crate) fn leaves_waiting_work(&self) -> bool {
        !self.polls()
    }
}
