//! The contenders' pools, and the same fork-join programs for each of them.
//!
//! Two workers are two threads that may compute: a caller that takes part is one of them.
//! trefoil, rayon, tokio and smol run the program on a worker of theirs; chili and forte
//! let the caller be one, so their pools have a thread less.

use std::num::NonZero;
use std::sync::{Arc, LazyLock, Mutex};

use trefoil::ThreadPool;
use trefoil_benches::work::Node;

/// trefoil with `N` threads.
pub fn trefoil(threads: usize) -> &'static ThreadPool {
    static ONE: LazyLock<ThreadPool> = LazyLock::new(|| ThreadPool::with_threads(1));
    static TWO: LazyLock<ThreadPool> = LazyLock::new(|| ThreadPool::with_threads(2));
    if threads == 1 { &ONE } else { &TWO }
}

/// trefoil with two threads, each on a processor of its own.
pub fn pinned() -> &'static ThreadPool {
    static TWO: LazyLock<ThreadPool> = LazyLock::new(|| {
        let processors = core_affinity::get_core_ids().unwrap_or_default();
        let pin = move |thread: usize| {
            if let Some(processor) = processors.get(thread) {
                core_affinity::set_for_current(*processor);
            }
        };
        let builder = ThreadPool::builder().threads(2).on_start(pin);
        builder.build().expect("trefoil has threads")
    });
    &TWO
}

pub fn new_rayon(threads: usize) -> rayon::ThreadPool {
    let builder = rayon::ThreadPoolBuilder::new().num_threads(threads);
    builder.build().expect("rayon has threads")
}

pub fn rayon(threads: usize) -> &'static rayon::ThreadPool {
    static ONE: LazyLock<rayon::ThreadPool> = LazyLock::new(|| new_rayon(1));
    static TWO: LazyLock<rayon::ThreadPool> = LazyLock::new(|| new_rayon(2));
    if threads == 1 { &ONE } else { &TWO }
}

/// The caller is one of its `threads`.
pub fn new_chili(threads: usize) -> chili::ThreadPool {
    chili::ThreadPool::with_config(chili::Config {
        thread_count: NonZero::new(threads),
        ..chili::Config::default()
    })
}

pub fn chili(threads: usize) -> &'static chili::ThreadPool {
    static ONE: LazyLock<chili::ThreadPool> = LazyLock::new(|| new_chili(1));
    static TWO: LazyLock<chili::ThreadPool> = LazyLock::new(|| new_chili(2));
    if threads == 1 { &ONE } else { &TWO }
}

/// forte with so many threads and the caller.
#[cfg(feature = "forte")]
pub fn forte(and_caller: usize) -> &'static forte::ThreadPool {
    use std::sync::Once;
    static POOLS: [forte::ThreadPool; 3] = [const { forte::ThreadPool::new() }; 3];
    static MADE: Once = Once::new();
    MADE.call_once(|| {
        for (threads, pool) in POOLS.iter().enumerate() {
            pool.resize_to(threads);
        }
    });
    &POOLS[and_caller]
}

/// paralight, whose caller does not take part.
pub fn paralight() -> &'static Mutex<paralight::threads::ThreadPool> {
    use paralight::threads::{CpuPinningPolicy, RangeStrategy, ThreadCount, ThreadPoolBuilder};
    static TWO: LazyLock<Mutex<paralight::threads::ThreadPool>> = LazyLock::new(|| {
        let builder = ThreadPoolBuilder {
            num_threads: ThreadCount::Count(NonZero::new(2).expect("it is two")),
            range_strategy: RangeStrategy::WorkStealing,
            cpu_pinning: CpuPinningPolicy::No,
        };
        Mutex::new(builder.build())
    });
    &TWO
}

/// micropool with one thread and the caller.
#[cfg(feature = "regions")]
pub fn micropool() -> &'static micropool::ThreadPool {
    static TWO: LazyLock<micropool::ThreadPool> = LazyLock::new(|| {
        micropool::ThreadPoolBuilder::default()
            .num_threads(1)
            .build()
    });
    &TWO
}

/// ForkUnion with one thread and the caller. Its threads spin as long as there is a pool, so each
/// measurement makes one.
#[cfg(feature = "regions")]
pub fn new_fork_union() -> fork_union::ThreadPool {
    fork_union::ThreadPool::try_spawn(2).expect("ForkUnion has threads")
}

pub fn tokio() -> &'static tokio::runtime::Runtime {
    static TWO: LazyLock<tokio::runtime::Runtime> = LazyLock::new(|| {
        let mut builder = tokio::runtime::Builder::new_multi_thread();
        builder
            .worker_threads(2)
            .build()
            .expect("tokio has threads")
    });
    &TWO
}

/// async-executor on two threads.
pub fn smol() -> &'static smol::Executor<'static> {
    static TWO: LazyLock<Arc<smol::Executor<'static>>> = LazyLock::new(|| {
        let executor = Arc::new(smol::Executor::new());
        for _ in 0..2 {
            let executor = Arc::clone(&executor);
            std::thread::spawn(move || {
                smol::future::block_on(executor.run(std::future::pending::<()>()));
            });
        }
        executor
    });
    &TWO
}

/// The tree, in both orders, and fib, by one peer's `join`.
macro_rules! programs {
    ($peer:ident, $scope:ty, |$s:ident, $a:ident, $b:ident| $join:expr) => {
        #[allow(dead_code)] // not every program is run in every manner
        pub mod $peer {
            use super::Node;

            #[inline(always)]
            fn join<RA: Send, RB: Send>(
                $s: $scope,
                $a: impl FnOnce($scope) -> RA + Send,
                $b: impl FnOnce($scope) -> RB + Send,
            ) -> (RA, RB) {
                $join
            }

            /// `join(left, right)`.
            pub fn left($s: $scope, node: &Node) -> u64 {
                let (l, r) = join(
                    $s,
                    |s| node.left.as_deref().map_or(0, |node| left(s, node)),
                    |s| node.right.as_deref().map_or(0, |node| left(s, node)),
                );
                node.value + l + r
            }

            /// `join(right, left)`.
            pub fn right($s: $scope, node: &Node) -> u64 {
                let (r, l) = join(
                    $s,
                    |s| node.right.as_deref().map_or(0, |node| right(s, node)),
                    |s| node.left.as_deref().map_or(0, |node| right(s, node)),
                );
                node.value + l + r
            }

            pub fn fib($s: $scope, n: u32) -> u64 {
                if n < 2 {
                    return u64::from(n);
                }
                let (a, b) = join($s, |s| fib(s, n - 1), |s| fib(s, n - 2));
                a + b
            }
        }
    };
}

programs!(on_trefoil, (), |_s, a, b| trefoil::join(|| a(()), || b(())));
programs!(by_method, &trefoil::ThreadPool, |s, a, b| s
    .join(|| a(s), || b(s)));
programs!(on_rayon, (), |_s, a, b| rayon::join(|| a(()), || b(())));
programs!(on_chili, &mut chili::Scope<'_>, |s, a, b| s.join(a, b));
#[cfg(feature = "forte")]
programs!(on_forte, &forte::Worker, |s, a, b| s.join(a, b));
