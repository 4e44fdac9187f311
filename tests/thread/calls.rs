//! Helpers for the tests of blocking calls.

use trefoil::{Task, ThreadPool, spawn_blocking};

use crate::deadline::eventually;

/// A pool whose stacks are small, for hundreds of threads.
pub(crate) fn pool(name: &str, threads: usize) -> ThreadPool {
    let builder = ThreadPool::builder().threads(threads).name(name);
    builder.stack_size(256 << 10).build().unwrap()
}

/// `f`, as a blocking call on `pool`.
pub(crate) fn call<T, F>(pool: &ThreadPool, f: F) -> Task<T>
where
    T: Send + 'static,
    F: FnOnce() -> T + Send + 'static,
{
    pool.install(|| spawn_blocking(f))
}

/// Waits until no thread runs and none is counted as blocked.
pub(crate) fn comes_to_rest(pool: &ThreadPool) {
    eventually("the pool is at rest", || {
        format!("{pool:?}").contains("running: 0, searching: 0, blocked: 0")
    });
}
