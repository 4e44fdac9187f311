//! Loom models of what a worker process lends to its pool: the blocks of large results.
//!
//! Run with
//! `RUSTFLAGS="--cfg loom" LOOM_MAX_PREEMPTIONS=2 cargo test -p trefoil-checks --release --test
//! shared_buffer_models -- --nocapture`. What the parent copies is what was lent, whenever room is
//! used again. The twins at the end leave one step out, and must fail.
#![cfg(loom)]

use std::sync::Arc;

use loom::thread;
use trefoil::process::shared_buffer_model::{Broken, Pair};
use trefoil_checks::explore;

fn conversation(broken: Broken, count: u64) -> usize {
    let pair = Arc::new(Pair::new(broken));
    let theirs = pair.clone();
    let worker = thread::spawn(move || theirs.worker(count));
    pair.parent(count);
    worker.join().unwrap()
}

#[test]
fn one_place_is_used_again_and_what_finds_none_goes_another_way() {
    explore(|| assert!(conversation(Broken::No, 3) >= 1));
}

#[test]
fn another_place_is_free_meanwhile() {
    explore(|| assert!(conversation(Broken::No, 2) >= 1));
}

#[test]
#[should_panic(expected = "used twice")]
fn taken_before_it_is_copied() {
    loom::model(|| _ = conversation(Broken::TooEarly, 3));
}

#[test]
#[should_panic(expected = "used twice")]
fn used_again_unasked() {
    loom::model(|| _ = conversation(Broken::Unasked, 3));
}
