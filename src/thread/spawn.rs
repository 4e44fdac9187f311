//! Spawning on a pool, whose queue may have a limit.
//!
//! **Job.** If it has one, takes the place, and lets the closure or future own it until it begins.
//!
//! Tests: `tests/thread/queue_limit.rs`.

use super::engine::raw_current as current;
use super::engine::registry::Registry;
use crate::loom::Arc;
use crate::task::queue_limit::{Place, QueueLimit, refused};
use crate::task::{self, Task, TaskError};
use crate::thread::spawn_async::spawn_async_on;

/// Waits for a place, except inside the pool's own work, where none is taken.
fn place(registry: &Arc<Registry>, limit: &QueueLimit) -> Result<Option<Place>, TaskError> {
    let inside = current::with(|inside| inside.is_some_and(|at| registry.is(at.registry())));
    if inside || registry.is_home() {
        Ok(None)
    } else {
        limit.wait(None).map(Some)
    }
}

#[track_caller]
pub(super) fn spawn_on<F, T>(registry: &Arc<Registry>, f: F) -> Task<T>
where
    F: FnOnce() -> T + Send + 'static,
    T: Send + 'static,
{
    let Some(limit) = &registry.config.queue_limit else {
        return spawn_now(registry, f);
    };
    match place(registry, limit) {
        Ok(place) => spawn_in(registry, place, f),
        Err(error) => refused(error, registry.config.unobserved.as_ref()),
    }
}

#[track_caller]
fn spawn_now<F, T>(registry: &Arc<Registry>, f: F) -> Task<T>
where
    F: FnOnce() -> T + Send + 'static,
    T: Send + 'static,
{
    let (runnable, task) = task::closure(f, true);
    registry.spawn(runnable, registry.claim_tag());
    task
}

#[track_caller]
pub(super) fn spawn_async<F>(registry: &Arc<Registry>, future: F) -> Task<F::Output>
where
    F: Future<Output: Send + 'static> + Send + 'static,
{
    let Some(limit) = &registry.config.queue_limit else {
        // Only this pool's own workers may poll what they wait for.
        return spawn_async_on(registry, future, registry.tag);
    };
    match place(registry, limit) {
        Ok(place) => spawn_async_in(registry, place, future),
        Err(error) => refused(error, registry.config.unobserved.as_ref()),
    }
}

/// Spawns `f` in this place.
#[track_caller]
pub(super) fn spawn_in<F, T>(registry: &Arc<Registry>, place: Option<Place>, f: F) -> Task<T>
where
    F: FnOnce() -> T + Send + 'static,
    T: Send + 'static,
{
    let begin = move || {
        drop(place);
        f()
    };
    spawn_now(registry, begin)
}

#[track_caller]
pub(super) fn spawn_async_in<F>(
    registry: &Arc<Registry>,
    place: Option<Place>,
    future: F,
) -> Task<F::Output>
where
    F: Future<Output: Send + 'static> + Send + 'static,
{
    let begin = async move {
        drop(place);
        future.await
    };
    spawn_async_on(registry, begin, registry.tag)
}
