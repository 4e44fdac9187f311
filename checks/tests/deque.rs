//! Loom models of the deque that the halves of joins lie in.
//!
//! Run with
//! `RUSTFLAGS="--cfg loom" LOOM_MAX_PREEMPTIONS=2 cargo test -p trefoil-checks --release --test deque -- --nocapture`.
//! Each entry is a number, which is also its depth. Whoever gets it, counts it; an owner whose
//! entry was stolen waits until the thief has counted, as a join waits for its thief. The buffer has
//! room for two under loom, so that it grows. The twins at the end break one step each, and must fail.
#![cfg(loom)]

use std::sync::Arc;

use loom::sync::atomic::{AtomicUsize, Ordering};
use loom::thread;
use trefoil::thread::model_deque::{Broken, Owner, Thief, deque, inject};
use trefoil_checks::{explore, must_fail_with};

/// How often each entry has been run.
type Runs = Arc<[AtomicUsize; 4]>;

fn run(runs: &Runs, entry: usize) {
    // Release: pairs with the owner that waits for its thief.
    assert_eq!(
        runs[entry].fetch_add(1, Ordering::AcqRel),
        0,
        "{entry} ran twice"
    );
}

fn thieves(thief: Thief, runs: &Runs, count: usize, tries: usize) -> Vec<thread::JoinHandle<()>> {
    let thief = Arc::new(thief);
    (0..count)
        .map(|_| {
            let (thief, runs) = (thief.clone(), runs.clone());
            thread::spawn(move || {
                for _ in 0..tries {
                    if let Some(entry) = thief.steal() {
                        run(&runs, entry);
                    }
                }
            })
        })
        .collect()
}

/// Takes entry `at` back, or waits for its thief.
fn take_back(owner: &Owner, runs: &Runs, at: usize) {
    match owner.pop() {
        Some(entry) => {
            assert_eq!(entry, at);
            run(runs, entry);
        }
        None => {
            while runs[at].load(Ordering::Acquire) == 0 {
                thread::yield_now();
            }
        }
    }
}

fn model(count: usize, tries: usize, owner: impl Fn(&Owner, &Runs)) {
    let runs: Runs = Arc::default();
    let (deque, thief) = deque();
    let threads = thieves(thief, &runs, count, tries);
    owner(&deque, &runs);
    for thread in threads {
        thread.join().unwrap();
    }
}

fn two_on_offer(count: usize, tries: usize) {
    model(count, tries, |owner, runs| {
        owner.push(0);
        owner.push(1);
        take_back(owner, runs, 1);
        take_back(owner, runs, 0);
    });
}

#[test]
fn an_entry_goes_to_its_owner_or_to_the_thief() {
    explore(|| two_on_offer(1, 2));
}

#[test]
fn two_thieves_and_the_owner() {
    explore(|| two_on_offer(2, 1));
}

#[test]
fn a_thief_reads_the_right_entry_while_the_buffer_grows() {
    explore(|| {
        model(1, 2, |owner, runs| {
            owner.push(0);
            owner.push(1);
            // Grows: there is room for two.
            owner.push(2);
            take_back(owner, runs, 2);
            take_back(owner, runs, 1);
            take_back(owner, runs, 0);
        });
    });
}

#[test]
fn a_slot_that_is_used_again_is_read_as_it_is_now() {
    // The word comes to the same value twice: a thief that has read it the first time
    // may exchange it the second time.
    let names = [2, 3];
    explore(move || {
        model(1, 2, |owner, runs| {
            for name in names {
                owner.push(name);
                match owner.pop() {
                    Some(entry) => run(runs, entry),
                    None => {
                        while runs[name].load(Ordering::Acquire) == 0 {
                            thread::yield_now();
                        }
                    }
                }
            }
        });
    });
}

// ---- broken twins: each in a process of its own, where it must fail ---------

#[test]
#[ignore = "fails by design: run by `each_fault_is_caught`"]
fn twin_relaxed_push() {
    inject(Broken::RelaxedPush);
    explore(|| two_on_offer(1, 2));
}

#[test]
#[ignore = "fails by design: run by `each_fault_is_caught`"]
fn twin_blind_reclaim() {
    inject(Broken::BlindReclaim);
    explore(|| two_on_offer(1, 2));
}

#[test]
fn each_fault_is_caught() {
    must_fail_with("twin_relaxed_push", "Causality violation");
    must_fail_with("twin_blind_reclaim", "ran twice");
}
