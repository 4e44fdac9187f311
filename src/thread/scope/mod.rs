//! `scope`: tasks that borrow from the thread that waits for them.

pub(super) mod raw_lender;
pub(super) mod raw_pair_arc;
pub(super) mod raw_scope;
pub(super) mod raw_stage;
pub(super) mod scoped_task;
