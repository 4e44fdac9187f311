//! What a thread lends to the pool, and waits for: closures in its own frame, and tasks of scopes.
//!
//! `raw_job` is a closure on the stack of a thread that waits for it; `raw_scope_counter`, what a
//! scope or a broadcast lends for a while; `raw_once_task`, a scope's task: its closure, then its
//! result; `raw_pair_arc`, the two owners of such a task; `scope_queue`, a scope's tasks for which
//! the injector has tickets. `latch` and `countdown` say when it is
//! back, and `abort_on_unwind` guards a frame until then.

pub(in crate::thread) mod abort_on_unwind;
pub(in crate::thread) mod countdown;
pub(in crate::thread) mod latch;
pub(in crate::thread) mod raw_job;
pub(in crate::thread) mod raw_once_task;
pub(in crate::thread) mod raw_pair_arc;
pub(in crate::thread) mod raw_scope_counter;
pub(in crate::thread) mod scope_queue;
