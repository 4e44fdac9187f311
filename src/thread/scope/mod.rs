//! `scope`: tasks that borrow from the thread that waits for them.
//!
//! `raw_scope` is the scope, and the only way to lend to it; `scoped_task`, a task and its handle.
//! What is lent is in `engine/lent/`.

pub(super) mod raw_scope;
pub(super) mod scoped_task;
