//! Calls that may block, and the pools that they run on.

use trefoil::{Task, ThreadPool, spawn_blocking};

use crate::deadline::eventually;

/// One whose stacks are small, for hundreds of threads.
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

/// All who run have lain down, and nobody is taken for one who is blocked.
pub(crate) fn comes_to_rest(pool: &ThreadPool) {
    eventually("the pool is at rest", || {
        format!("{pool:?}").contains("running: 0, searching: 0, blocked: 0")
    });
}
