//! Spawning a closure on a pool.
//!
//! Tests: `tests/thread/pool.rs`.

use super::engine::registry::Registry;
use crate::loom::Arc;
use crate::task::{self, Task};

#[track_caller]
pub(super) fn spawn_on<F, T>(registry: &Arc<Registry>, f: F) -> Task<T>
where
    F: FnOnce() -> T + Send + 'static,
    T: Send + 'static,
{
    let (runnable, task) = task::closure(f, true);
    registry.spawn(runnable, registry.claim_tag());
    task
}
