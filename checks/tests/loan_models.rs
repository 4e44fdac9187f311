//! Loom models of what a worker process lends to its pool: the ring of large results.
//!
//! Run with
//! `RUSTFLAGS="--cfg loom" LOOM_MAX_PREEMPTIONS=2 cargo test -p trefoil-checks --release --test loan_models -- --nocapture`.
//! What the parent copies is what was lent, whenever room is used again. The twins at the end leave one step out, and
//! must fail.
#![cfg(loom)]

use std::sync::Arc;

use loom::thread;
use trefoil::process::loan_model::{Broken, Pair};
use trefoil_checks::explore;

fn conversation(broken: Broken, lengths: &'static [usize]) -> usize {
    let pair = Arc::new(Pair::new(broken));
    let theirs = pair.clone();
    let worker = thread::spawn(move || theirs.worker(lengths));
    pair.parent(lengths.len() as u64);
    worker.join().unwrap()
}

#[test]
fn one_after_the_other_in_the_same_place() {
    explore(|| assert!(conversation(Broken::No, &[3, 3, 3]) >= 1));
}

#[test]
fn round_and_round() {
    explore(|| assert!(conversation(Broken::No, &[2, 1, 2]) >= 2));
}

#[test]
fn what_finds_no_room_goes_another_way() {
    explore(|| assert!(conversation(Broken::No, &[1, 4, 2]) == 2));
}

#[test]
#[should_panic(expected = "used twice")]
fn taken_before_it_is_copied() {
    loom::model(|| drop(conversation(Broken::TooEarly, &[3, 3])));
}

#[test]
#[should_panic(expected = "used twice")]
fn used_again_unasked() {
    loom::model(|| drop(conversation(Broken::Unasked, &[3, 3])));
}
