//! `scope`: tasks that borrow from the thread that waits for them.
//!
//! `raw_scope` is the scope, and the only way to lend to it; `raw_scope_counter`, what a thread
//! lends to the pool for a while; `raw_once_task`, a task's closure, then its result;
//! `raw_pair_arc`, the two owners of such a task; `scoped_task`, its handle.

pub(super) mod raw_once_task;
pub(super) mod raw_pair_arc;
pub(super) mod raw_scope;
pub(super) mod raw_scope_counter;
pub(super) mod scoped_task;
