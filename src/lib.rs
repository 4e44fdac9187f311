//! Three executors, one [`Task`]: [`ThreadPool`], [`ProcessPool`], [`EventLoop`].
//!
//! New here? Read this page, then the [guide](_documentation::guide). Each module's page says what
//! it is for, when to choose it, and what it guarantees: [`thread`], with parallel iterators in
//! [`iter`]; [`process`]; [`event_loop`], with [`io`] and [`time`]; [`task`]; [`sync`]. The main
//! items are at the root, too: `trefoil::ThreadPool`.
//!
//! [CHANGELOG.md]: _documentation::changelog
//! [SECURITY.md]: _documentation::security
//! [docs/BATCH_JOBS.md]: _documentation::batch_jobs
//! [docs/BENCHMARKS.md]: _documentation::benchmarks
//! [docs/CANCELLATION.md]: _documentation::cancellation
//! [docs/COMPARE.md]: _documentation::compare
//! [docs/COOKBOOK.md]: _documentation::cookbook
//! [docs/COSTS.md]: _documentation::costs
//! [docs/C_LIBRARY.md]: _documentation::c_library
//! [docs/DEAD_WORKER.md]: _documentation::dead_worker
//! [docs/DEPLOYMENT.md]: _documentation::deployment
//! [docs/ERRORS.md]: _documentation::errors
//! [docs/FROM_PYTHON.md]: _documentation::from_python
//! [docs/FROM_RAYON.md]: _documentation::from_rayon
//! [docs/FROM_TOKIO.md]: _documentation::from_tokio
//! [docs/GUIDE.md]: _documentation::guide
//! [docs/HOW_A_WORKER_STARTS.md]: _documentation::how_a_worker_starts
//! [docs/LIBRARIES.md]: _documentation::libraries
//! [docs/MOVING_DATA.md]: _documentation::moving_data
//! [docs/OBSERVE.md]: _documentation::observe
//! [docs/PLATFORM.md]: _documentation::platform
//! [docs/PRODUCTION.md]: _documentation::production
//! [docs/REMOTE_WORKERS.md]: _documentation::remote_workers
//! [docs/SIDE_EFFECTS.md]: _documentation::side_effects
//! [docs/STABILITY.md]: _documentation::stability
//! [docs/TESTING.md]: _documentation::testing
//! [docs/TUTORIAL.md]: _documentation::tutorial
//! [docs/WEB_SERVER.md]: _documentation::web_server
#![doc = include_str!("../docs/images/pictures.txt")]
#![doc = include_str!("../README.md")]
//!
//! # Features
//!
//! The first four are on by default. A program that needs only one executor is built sooner with
//! that one: `default-features = false, features = ["threads"]`. Tasks are always available, and a
//! feature below enables the executors that it needs.
//!
//! | feature | what it adds | dependency |
//! |---|---|---|
//! | `threads` (default) | [`ThreadPool`], with [`iter`] and [`prelude`] | crossbeam-deque, typeid; num_cpus in trefoil-os |
//! | `processes` (default) | [`ProcessPool`], and `sync`; together with `threads`, [`Executor`] and [`AnyExecutor`] | serde, postcard, postcard-described, thiserror, rustix; num_cpus in trefoil-os |
//! | `event-loop` (default) | [`EventLoop`], with [`io`] and [`time`] | mio, futures-io, rustix |
//! | `sync` (default) | locks and channels: [`sync`], of which only [`Semaphore`](sync::Semaphore) is there without it | |
//! | `auto` | workers need no `trefoil::init()`: for tests, and for programs whose `main` is [a macro's](_documentation::how_a_worker_starts) | |
//! | `backtrace` | where a worker has crashed: its stack, with functions, files and lines (`WorkerExit::backtrace`) | backtrace, and what it needs |
//! | `hyper` | hyper's servers and clients on the event loop | hyper |
//! | `tokio-io` | tokio's I/O traits on the event loop's streams | tokio, without its runtime |
//! | `tokio` | a tokio runtime around a future on the loop, for crates that ask for one: reqwest, sqlx, tonic | tokio |
//! | `tracing` | tasks as spans | tracing |
//! | `chaos` | for tests: `TREFOIL_CHAOS=seed` kills workers, delays answers, changes the order of tasks ([how](_documentation::cookbook)) | |
//! | `inspect` | the tree of live tasks, reports of deadlocks, what runs now | trefoil-trace |
//! | `trace` | records what all executors do, for Perfetto's and Chrome's trace viewers, and as a table; with `inspect` | |
#![cfg_attr(docsrs, feature(doc_cfg))]
#![allow(
    clippy::needless_doctest_main,
    reason = "the README shows where `init` belongs"
)]
#![deny(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::print_stdout,
    clippy::print_stderr
)]
// Systems whose workers are always plain leave much of what pages are for unused.
#![cfg_attr(
    any(trefoil_port, not(target_os = "linux")),
    allow(dead_code, unused_imports)
)]

use trefoil_os::{loom, printable, sys};

#[macro_use]
mod debug;

// These serve three executors: where one is left out, what only that one uses is unused. By default
// nothing may be. (No code is generated for what is unused.)
#[cfg_attr(not(feature = "default"), allow(dead_code, unused_imports))]
mod blocking_threads;
#[cfg_attr(not(feature = "default"), allow(dead_code, unused_imports))]
mod large;
#[cfg_attr(not(feature = "default"), allow(dead_code, unused_imports))]
mod parking;
#[cfg_attr(not(feature = "default"), allow(dead_code, unused_imports))]
pub mod sync;
#[cfg_attr(not(feature = "default"), allow(dead_code, unused_imports))]
pub mod task;
#[cfg_attr(not(feature = "default"), allow(dead_code, unused_imports))]
mod timer;

#[cfg(feature = "threads")]
pub mod iter;
#[cfg(feature = "threads")]
pub mod prelude;
#[cfg(feature = "threads")]
pub mod thread;

#[cfg(feature = "processes")]
pub mod process;

#[cfg(feature = "__descriptors")]
mod reaper;

#[cfg(all(feature = "threads", feature = "processes"))]
mod executor;

#[cfg(feature = "event-loop")]
mod blocking_calls;
#[cfg(feature = "event-loop")]
pub mod event_loop;
#[cfg(feature = "event-loop")]
pub mod io;
#[cfg(feature = "event-loop")]
pub mod time;

#[cfg(any(feature = "threads", feature = "processes"))]
mod chaos;
mod events;
#[cfg(feature = "inspect")]
pub mod inspect;
#[cfg(feature = "trace")]
pub mod trace;

#[cfg(any(
    feature = "hyper",
    feature = "tokio",
    feature = "tokio-io",
    feature = "tracing"
))]
pub mod adapters;

#[cfg(feature = "event-loop")]
#[doc(inline)]
pub use event_loop::root::{
    EventLoop, EventLoopBuilder, LoopHandle, LoopStats, SlowPoll, run, spawn, yield_now,
};
#[cfg(all(feature = "threads", feature = "processes"))]
#[doc(inline)]
pub use executor::{AnyExecutor, Executor, Inline};
#[cfg(feature = "processes")]
#[doc(inline)]
pub use process::root::{
    Actor, Bulk, PoolError, Process, ProcessBuilder, ProcessCall, ProcessPool, ProcessPoolBuilder,
    ProcessStats, Shared, SharedAtomics, WorkerStdout, init,
};
#[doc(inline)]
pub use task::root::{
    AbortHandle, CancelOnDrop, CancelToken, CodecError, Completer, Failure, GroupError,
    GroupHandle, Late, Panic, PanicLocation, SharedTask, Shutdown, StepExt, Task, TaskError,
    TaskGroup, TaskId, TaskReport, Until, WorkerExit, as_completed, as_completed_keyed, join_all,
    on_unobserved, race, timeout, try_join_all, wait,
};

#[cfg(feature = "threads")]
#[doc(inline)]
pub use thread::root::{
    Current, Scope, ScopedTask, ThreadPool, ThreadPoolBuilder, ThreadStats, join, scope,
    spawn_blocking,
};

// The links between pages are files in a checkout; here the definitions that come first take
// precedence.
#[cfg(any(doc, doctest))]
pub mod _documentation {
    //! The longer pages.
    //!
    //! - Learn: the [tutorial], the [guide], [recipes](cookbook).
    //! - Understand: [how a worker starts](how_a_worker_starts), [what it costs, and why it is not
    //!   faster](costs), [moving data](moving_data).
    //! - Coming from: [Python](from_python), [rayon](from_rayon), [tokio](from_tokio).
    //! - How to: [in a web server](web_server), [wrap code that crashes: C, C++, CUDA](c_library),
    //!   [debug a dead worker](dead_worker), [batch jobs](batch_jobs), [remote
    //!   workers](remote_workers), [observe a program](observe), [production
    //!   checklist](production), [deploy](deployment), [write a library](libraries).
    //! - Look up: [errors and what they mean](errors), [cancel](cancellation), [side effects on your
    //!   process](side_effects), [platforms](platform), [stability]; locks and channels:
    //!   [`sync`](crate::sync).
    //! - Evidence: [benchmarks], [compared with other crates](compare), [testing], [security].
    //!
    //! `docs/internals/` in the repository has the architecture, the design decisions and the list
    //! of unsafe code.

    /// A page of `docs/`, behind files that it needs.
    macro_rules! pages {
        ($($(#[$when:meta])* $name:ident: $($file:literal)+;)*) => {$(
            $(#[$when])*
            #[doc = include_str!("../docs/rustdoc-links.txt")]
            $(#[doc = include_str!(concat!("../docs/", $file))])+
            pub mod $name {}
        )*};
    }
    pages! {
        // Its listings are whole programs, which `examples/tutorial/` compiles and runs.
        #[cfg(not(doctest))]
        tutorial: "TUTORIAL.md";
        how_a_worker_starts: "HOW_A_WORKER_STARTS.md";
        costs: "COSTS.md";
        moving_data: "MOVING_DATA.md";
        guide: "images/pictures.txt" "GUIDE.md";
        cookbook: "COOKBOOK.md";
        // (Its program needs axum: `tests/trefoil-adapters/` compiles and runs it.)
        #[cfg(not(doctest))]
        web_server: "images/pictures.txt" "WEB_SERVER.md";
        c_library: "C_LIBRARY.md";
        // (Its examples are tested by another crate, which they need.)
        #[cfg(not(doctest))]
        dead_worker: "DEAD_WORKER.md";
        production: "PRODUCTION.md";
        batch_jobs: "BATCH_JOBS.md";
        // Its program needs a feature (`.ci/run features`).
        #[cfg(any(not(doctest), feature = "trace"))]
        observe: "images/pictures.txt" "OBSERVE.md";
        errors: "ERRORS.md";
        cancellation: "CANCELLATION.md";
        deployment: "DEPLOYMENT.md";
        from_python: "FROM_PYTHON.md";
        from_rayon: "FROM_RAYON.md";
        from_tokio: "FROM_TOKIO.md";
        libraries: "LIBRARIES.md";
        compare: "COMPARE.md";
        platform: "PLATFORM.md";
        side_effects: "SIDE_EFFECTS.md";
        // Its examples need other features, and another crate, which tests them.
        #[cfg(not(doctest))]
        remote_workers: "REMOTE_WORKERS.md";
        stability: "STABILITY.md";
        testing: "TESTING.md";
        benchmarks: "plots/rustdoc.txt" "BENCHMARKS.md";
    }

    /// [docs/STABILITY.md]: crate::_documentation::stability
    ///
    #[doc = include_str!("../CHANGELOG.md")]
    pub mod changelog {}
    #[doc = include_str!("../SECURITY.md")]
    pub mod security {}
}
