//! Spawning a closure on a pool.
//!
//! Tests: `tests/thread/pool.rs::{a_panic_in_a_task_is_a_value_and_names_its_worker,
//! untaken_failures_reach_the_pools_own_hook_once}`.

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
