//! Loom models of what a pool and a worker process share: the shared ring of small frames, the
//! gates of large ones, and the word on which a caller sleeps.
//!
//! Run with `RUSTFLAGS="--cfg loom" LOOM_MAX_PREEMPTIONS=3 cargo test -p trefoil-checks --release
//! --test process_models -- --nocapture`. Every frame is read in its turn, whichever way it goes,
//! and the worker does not sleep while a frame waits (loom reports that as a deadlock). Every item
//! is either run or taken back. Every result is heard, by its caller or by the driver, and no
//! caller sleeps after that. The twins at the end leave one step out, and must fail.
#![cfg(loom)]

use std::sync::Arc;

use loom::thread;
use trefoil::process::caller_word_model::{self, Call};
use trefoil::process::gate_model::{self, Frame};
use trefoil::process::permits_model::Permits;
use trefoil::process::shared_ring_model::{Broken, Pair};
use trefoil_checks::{explore, must_fail};

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

/// A worker that runs `most` of the `count` items of a frame, and a parent that takes them back,
/// more each time.
fn taking_back(broken: gate_model::Broken, count: u32, most: u32, from: &'static [u32]) {
    let frame = Arc::new(Frame::new(count, broken));
    let theirs = frame.clone();
    let worker = thread::spawn(move || theirs.run(most));
    let ends: Vec<u32> = from.iter().map(|from| frame.recall(*from)).collect();
    let run = worker.join().unwrap();
    assert!(ends.is_sorted_by(|a, b| a >= b), "an end has risen");
    match ends.last() {
        Some(end) if most >= count => assert_eq!(run, *end, "run and taken back, or neither"),
        Some(end) => assert!(run <= *end, "run and taken back"),
        None => {}
    }
    assert_eq!(frame.recall(0), run, "in the end all know");
}

#[test]
fn items_are_run_or_taken_back() {
    explore(|| taking_back(gate_model::Broken::No, 3, 3, &[1]));
}

#[test]
fn items_are_taken_back_again() {
    explore(|| taking_back(gate_model::Broken::No, 3, 3, &[2, 0]));
}

#[test]
fn items_are_taken_back_from_both_sides() {
    explore(|| taking_back(gate_model::Broken::No, 3, 1, &[2, 0]));
}

#[test]
#[should_panic(expected = "run and taken back")]
fn claimed_in_two_steps_an_item_is_run_and_taken_back() {
    loom::model(|| taking_back(gate_model::Broken::TwoSteps, 2, 2, &[0]));
}

#[test]
#[should_panic(expected = "deadlock")]
fn without_fences_both_look_too_early() {
    loom::model(|| conversation(Broken::NoFences, 2, &[]));
}

#[test]
#[should_panic(expected = "deadlock")]
fn without_a_wake_one_sleeps_for_ever() {
    loom::model(|| conversation(Broken::NoWake, 2, &[]));
}

#[test]
#[should_panic(expected = "out of turn")]
fn without_places_frames_overtake_each_other() {
    loom::model(|| conversation(Broken::NoPlaces, 3, &[2]));
}

/// Two workers and one permit; the parent sees the end of the first, which may have it.
fn permits(early: bool, dies: bool) {
    let permits = Arc::new(Permits::new(1, early));
    let theirs = permits.clone();
    let first = thread::spawn(move || {
        let permit = theirs.acquire(1);
        if !dies {
            theirs.release(permit, 1);
        }
    });
    let theirs = permits.clone();
    let second = thread::spawn(move || {
        let permit = theirs.acquire(2);
        theirs.release(permit, 2);
    });
    first.join().unwrap();
    if dies {
        permits.ended(1);
    }
    second.join().unwrap();
    assert_eq!(permits.available(), 1);
}

#[test]
fn a_permit_that_is_released_finds_who_waits() {
    explore(|| permits(false, false));
}

#[test]
fn a_permit_of_a_process_that_has_ended_finds_who_waits() {
    explore(|| permits(false, true));
}

#[test]
fn the_models_notice_a_release_that_counts_before_it_clears() {
    must_fail("counts_before_it_clears");
}

#[test]
#[ignore = "it fails on purpose: see `the_models_notice_a_release_that_counts_before_it_clears`"]
fn counts_before_it_clears() {
    loom::model(|| permits(true, false));
}

/// A caller that waits for its worker, which answers; `ends`: meanwhile the driver ends the call.
fn answering(broken: caller_word_model::Broken, ends: bool) {
    let call = Arc::new(Call::new(broken));
    let (theirs, drivers) = (call.clone(), call.clone());
    let worker = thread::spawn(move || theirs.worker());
    let driver = thread::spawn(move || drivers.driver(ends));
    call.caller();
    worker.join().unwrap();
    driver.join().unwrap();
}

#[test]
fn a_caller_is_woken_by_its_worker() {
    explore(|| answering(caller_word_model::Broken::No, false));
}

#[test]
fn a_caller_whose_call_has_ended_is_dismissed() {
    explore(|| answering(caller_word_model::Broken::No, true));
}

#[test]
#[should_panic(expected = "deadlock")]
fn without_fences_a_caller_sleeps_on_its_result() {
    loom::model(|| answering(caller_word_model::Broken::Fenceless, false));
}

#[test]
#[should_panic(expected = "deadlock")]
fn a_caller_that_does_not_look_at_the_word_sleeps_on() {
    loom::model(|| answering(caller_word_model::Broken::Stores, false));
}

#[test]
#[should_panic(expected = "deadlock")]
fn a_caller_that_is_silent_leaves_its_result_lying() {
    loom::model(|| answering(caller_word_model::Broken::Silent, true));
}
