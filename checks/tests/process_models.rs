//! Loom models of what a pool and a worker process share: the tray of small frames.
//!
//! Run with
//! `RUSTFLAGS="--cfg loom" LOOM_MAX_PREEMPTIONS=3 cargo test -p trefoil-checks --release --test process_models -- --nocapture`.
//! Every frame is heard, in its turn, whichever way it goes, and nobody sleeps while something
//! waits for him (loom calls that a deadlock). The twins at the end leave one step out, and must fail.
#![cfg(loom)]

use std::sync::Arc;

use loom::thread;
use trefoil::process::tray_model::{Broken, Pair};
use trefoil_checks::explore;

fn conversation(broken: Broken, count: u8, large: &'static [u8]) {
    let pair = Arc::new(Pair::new(broken));
    let theirs = pair.clone();
    let worker = thread::spawn(move || theirs.worker(count));
    pair.parent(count, large);
    worker.join().unwrap();
}

#[test]
fn one_frame_after_the_other() {
    explore(|| conversation(Broken::No, 3, &[]));
}

#[test]
fn large_ones_in_between() {
    explore(|| conversation(Broken::No, 3, &[2]));
}

#[test]
fn large_ones_around() {
    explore(|| conversation(Broken::No, 3, &[1, 3]));
}

#[test]
fn more_than_there_is_room_for() {
    explore(|| conversation(Broken::No, 4, &[]));
}

#[test]
#[should_panic(expected = "deadlock")]
fn without_fences_both_look_too_early() {
    loom::model(|| conversation(Broken::NoFences, 2, &[]));
}

#[test]
#[should_panic(expected = "deadlock")]
fn without_a_nudge_one_sleeps_for_ever() {
    loom::model(|| conversation(Broken::NoNudge, 2, &[]));
}

#[test]
#[should_panic(expected = "out of turn")]
fn without_places_frames_overtake_each_other() {
    loom::model(|| conversation(Broken::NoPlaces, 3, &[2]));
}
