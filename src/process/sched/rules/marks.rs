//! What the rules remember of a frame that was sent. Nobody else looks at it.

use crate::process::job::Job;
use crate::process::value::chunk::Piece;

#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Marks {
    /// Its one item may be copied (`hedge`). Then it was sent to an idle worker.
    pub(super) hedged: bool,
    /// Its one item runs while nothing else does (`alone`).
    pub(super) alone: bool,
    /// Its one item, or the context, has ends of channels (`ends`).
    pub(super) ends: bool,
    /// How many bytes its one item declares to need (`memory`).
    pub(super) memory: u64,
}

impl Marks {
    /// Of a frame with these items of `job`.
    pub(crate) fn of(job: &Job, items: &Piece) -> Self {
        let options = &job.work.options;
        let (ends, alone) = (job.has_ends(Some(items)), job.is_lone(items.first()));
        Self {
            hedged: options.may_have_copies() && !ends && !alone,
            alone,
            ends,
            memory: options.memory,
        }
    }

    /// Whether its worker notes when the item starts, also if its time is not limited.
    pub(crate) fn is_timed(self) -> bool {
        self.hedged
    }

    /// Whether earlier results are sent before it begins.
    pub(crate) fn is_apart(self) -> bool {
        self.ends
    }
}
