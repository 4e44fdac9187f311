//! Loom models of calls that may block: the pool is made wider while they begin and end.
//!
//! Run with
//! `RUSTFLAGS="--cfg loom" LOOM_MAX_PREEMPTIONS=2 cargo test -p trefoil-checks --release --test
//! blocking -- --nocapture`. The twins at the end break one step each, and must fail.
#![cfg(loom)]

use loom::sync::Arc;
use loom::sync::atomic::{AtomicBool, Ordering};
use loom::thread;
use trefoil::thread::model_blocking::{Broken, Caller};
use trefoil_checks::{explore, must_fail_with};

/// The pool is widened while its only call ends: at the end, it is as wide as before.
fn widened_meanwhile(broken: Broken) {
    let caller = Caller::new(broken);
    let watcher = std::sync::Arc::clone(&caller);
    caller.begin();
    let widener = thread::spawn(move || watcher.widen());
    caller.end();
    widener.join().unwrap();
    assert_eq!(caller.target(), 1, "wider than it should be");
}

/// The only runner begins a call while something is pushed: one of the two asks for a stall
/// monitor.
fn pushed_meanwhile(broken: Broken) {
    let caller = Caller::new(broken);
    let queued = Arc::new(AtomicBool::new(false));
    let (pool, queue) = (std::sync::Arc::clone(&caller), queued.clone());
    let pusher = thread::spawn(move || {
        queue.store(true, Ordering::Relaxed);
        pool.published()
    });
    let asks = caller.begin() && queued.load(Ordering::Relaxed) && caller.published();
    let pusher_asks = pusher.join().unwrap();
    assert!(asks || pusher_asks, "nobody watches");
}

#[test]
fn a_pool_without_calls_is_as_wide_as_it_is() {
    explore(|| widened_meanwhile(Broken::No));
}

#[test]
fn a_call_that_begins_is_monitored() {
    explore(|| pushed_meanwhile(Broken::No));
}

#[test]
fn each_fault_is_caught() {
    must_fail_with("twin_no_second_look", "wider than it should be");
    must_fail_with("twin_no_fence", "nobody watches");
}

#[test]
#[ignore = "fails by design: run by `each_fault_is_caught`"]
fn twin_no_second_look() {
    explore(|| widened_meanwhile(Broken::NoSecondLook));
}

#[test]
#[ignore = "fails by design: run by `each_fault_is_caught`"]
fn twin_no_fence() {
    explore(|| pushed_meanwhile(Broken::NoFence));
}
