//! Letting others go first.

use crate::here;

/// What a yield has done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Yield {
    /// It has run something. Here it never does: other threads take up what is queued.
    Executed,
    /// It has run nothing.
    Idle,
}

/// Lets others go first, for a loop that waits. If work is queued, another thread of the pool takes
/// it up.
///
/// `None` on a thread that is in no pool.
pub fn yield_now() -> Option<Yield> {
    here::index_in(None).map(|_| let_others_go())
}

/// As [`yield_now`]: what is in this thread's own queue is taken up by another thread, too.
pub fn yield_local() -> Option<Yield> {
    yield_now()
}

pub(crate) fn let_others_go() -> Yield {
    here::waiting(trefoil::thread::yield_now);
    Yield::Idle
}
