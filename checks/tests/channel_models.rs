//! Loom models of a channel between processes: its places, and who is killed between two steps.
//!
//! Run with
//! `RUSTFLAGS="--cfg loom" LOOM_MAX_PREEMPTIONS=2 cargo test -p trefoil-checks --release --test channel_models -- --nocapture`.
//! Never are there more records than places, and those that were given back for others; once nobody is at it, every
//! place that a dead process has held can be had again, and once the channel is empty there is none too many. The twins at the
//! end leave one step out, and must fail.
#![cfg(loom)]

use std::sync::Arc;

use loom::thread;
use trefoil::process::channel::model::{Broken, Channel, Killed};
use trefoil_checks::explore;

type Run = fn(&Channel);

/// Each of `runs` on a thread of its own, the last one on this.
fn together<const N: usize>(capacity: u64, broken: Broken, runs: [Run; N]) -> Arc<Channel> {
    let channel = Arc::new(Channel::new(capacity, broken));
    let [others @ .., _] = &runs[..] else {
        unreachable!()
    };
    let threads: Vec<_> = others
        .iter()
        .map(|run| {
            let (run, channel) = (*run, channel.clone());
            thread::spawn(move || run(&channel))
        })
        .collect();
    runs[N - 1](&channel);
    threads
        .into_iter()
        .for_each(|thread| thread.join().unwrap());
    channel
}

fn send(channel: &Channel) {
    channel.send(Killed::Not);
}

fn send_killed_before(channel: &Channel) {
    channel.send(Killed::Before);
}

fn send_killed_after(channel: &Channel) {
    channel.send(Killed::After);
}

fn receive(channel: &Channel) {
    channel.receive(Killed::Not);
}

fn receive_killed(channel: &Channel) {
    channel.receive(Killed::After);
}

fn send_and_mend(channel: &Channel) {
    if !channel.send(Killed::Not) && channel.mend() {
        channel.send(Killed::Not);
    }
}

#[test]
fn two_senders_one_place() {
    explore(|| {
        let channel = together(1, Broken::No, [send, send]);
        assert_eq!(channel.records(), 1);
        channel.settle();
    });
}

#[test]
fn mending_beside_a_sender() {
    explore(|| together(1, Broken::No, [send, send_and_mend]).settle());
}

#[test]
fn mending_beside_a_receiver() {
    explore(|| {
        let fill: Run = |channel| assert!(channel.send(Killed::Not));
        let channel = together(1, Broken::No, [fill]);
        let other = channel.clone();
        let thread = thread::spawn(move || receive(&other));
        send_and_mend(&channel);
        thread.join().unwrap();
        channel.settle();
    });
}

#[test]
fn mending_beside_a_sender_that_is_killed() {
    explore(|| together(1, Broken::No, [send_killed_before, send_and_mend]).settle());
    explore(|| together(1, Broken::No, [send_killed_after, send_and_mend]).settle());
}

#[test]
fn mending_beside_a_receiver_that_is_killed() {
    explore(|| {
        let channel = Arc::new(Channel::new(1, Broken::No));
        assert!(channel.send(Killed::Not));
        let other = channel.clone();
        let thread = thread::spawn(move || receive_killed(&other));
        send_and_mend(&channel);
        thread.join().unwrap();
        channel.settle();
    });
}

#[test]
fn mending_beside_a_sender_and_a_receiver() {
    explore(|| together(1, Broken::No, [send, receive, send_and_mend]).settle());
}

#[test]
fn two_mend_what_one_dead_has_left() {
    explore(|| {
        let channel = Arc::new(Channel::new(1, Broken::No));
        assert!(!channel.send(Killed::Before));
        let other = channel.clone();
        let thread = thread::spawn(move || send_and_mend(&other));
        send_and_mend(&channel);
        thread.join().unwrap();
        // Each may have seen the counters move, and leaves it for another time.
        channel.settle();
        assert!(channel.send(Killed::Not) && !channel.send(Killed::Not));
        channel.settle();
    });
}

fn waits(broken: Broken) {
    let channel = Arc::new(Channel::new(1, broken));
    assert!(channel.send(Killed::Not));
    let other = channel.clone();
    let thread = thread::spawn(move || assert!(other.receive(Killed::Not)));
    channel.send_blocking();
    thread.join().unwrap();
    assert_eq!(channel.records(), 1);
}

#[test]
fn who_waits_for_a_place_is_woken() {
    explore(|| waits(Broken::No));
}

#[test]
fn two_wait_for_a_place_each() {
    explore(|| {
        let channel = Arc::new(Channel::new(2, Broken::No));
        assert!(channel.send(Killed::Not) && channel.send(Killed::Not));
        let threads = [(); 2].map(|()| {
            let other = channel.clone();
            thread::spawn(move || other.send_blocking())
        });
        assert!(channel.receive(Killed::Not) && channel.receive(Killed::Not));
        threads
            .into_iter()
            .for_each(|thread| thread.join().unwrap());
        assert_eq!(channel.records(), 2);
    });
}

#[test]
#[should_panic(expected = "more back than taken")]
fn counters_that_have_moved_tell_nothing() {
    loom::model(|| drop(together(1, Broken::Blind, [send, receive, send_and_mend])));
}

#[test]
#[should_panic(expected = "deadlock")]
fn without_the_bell_one_waits_for_ever() {
    loom::model(|| waits(Broken::NoBell));
}
