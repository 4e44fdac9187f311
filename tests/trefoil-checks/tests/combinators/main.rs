//! The combinators against a sequential model, under random events.
//!
//! 1. `op.rs` draws a list of operations (make, complete, fail, cancel, drop, poll with the waker
//!    before or a new one, combine, drop half-way). `world.rs` applies each to real tasks
//!    (`many.rs` and `group.rs` to combinators) and to `model.rs`, on one thread. After each,
//!    everything that can be seen must be what the model says: results and their order, who was
//!    cancelled, which failures reached the hook, and that whoever was told to wait and need not
//!    any more has been woken. At the end every value was dropped once and no waker is kept.
//! 2. `tokens.rs` does the same with trees of cancel tokens.
//! 3. `threads.rs` has three threads complete while one waits, and looks at what does not depend on
//!    their order.
//! 4. `probe.rs` has the values, wakers and the hook that count.
//!
//! The seed is fixed, so a run is the same everywhere; `PROPTEST_RNG_SEED` and
//! `PROPTEST_CASES` change that (`.ci/long`).
#![cfg(not(loom))]
#![allow(clippy::disallowed_methods, clippy::disallowed_types)] // that door is for the crate's own protocols

mod group;
mod many;
mod model;
mod op;
mod probe;
mod threads;
mod tokens;
mod world;

use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::thread;
use std::time::Duration;

use proptest::test_runner::{Config, RngSeed, TestRunner};

/// A runner with a fixed seed and `cases` cases, unless the environment says otherwise.
fn runner(cases: u32) -> TestRunner {
    let mut config = Config {
        failure_persistence: None,
        max_shrink_time: 20_000,
        max_shrink_iters: u32::MAX,
        ..Config::default()
    };
    if std::env::var_os("PROPTEST_CASES").is_none() {
        config.cases = cases;
    }
    if matches!(config.rng_seed, RngSeed::Random) {
        config.rng_seed = RngSeed::Fixed(0x7265_666f_696c);
    }
    TestRunner::new(config)
}

/// Aborts the process if it is not told for a minute that all is well.
struct Watchdog(Sender<()>);

impl Watchdog {
    fn new() -> Self {
        let (alive, watch) = mpsc::channel();
        let name = thread::current().name().unwrap_or("?").to_owned();
        thread::spawn(move || {
            loop {
                match watch.recv_timeout(Duration::from_secs(60)) {
                    Ok(()) => {}
                    Err(RecvTimeoutError::Disconnected) => return,
                    Err(RecvTimeoutError::Timeout) => {
                        eprintln!("{name} hangs");
                        std::process::abort();
                    }
                }
            }
        });
        Self(alive)
    }

    fn all_is_well(&self) {
        let _ = self.0.send(());
    }
}
