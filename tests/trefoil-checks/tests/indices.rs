//! Loom models of exclusive indices, and of what scopes have queued.
//!
//! Run with
//! `RUSTFLAGS="--cfg loom" LOOM_MAX_PREEMPTIONS=2 cargo test -p trefoil-checks --release --test
//! indices -- --nocapture`. The twins have a fault, and must fail.
#![cfg(loom)]

use std::sync::Arc;

use loom::cell::UnsafeCell;
use loom::thread;
use trefoil::thread::model_places::{Fault, Indices, Tasks, break_indices, break_tickets};
use trefoil_checks::{explore, must_fail_with};

/// A pool, and the data of its one index, which loom lets no two threads use at the same time.
struct World {
    indices: Indices,
    data: UnsafeCell<usize>,
}

impl World {
    fn new() -> Arc<Self> {
        Arc::new(Self {
            indices: Indices::new(1),
            data: UnsafeCell::new(0),
        })
    }

    fn use_data(&self) {
        // SAFETY: loom checks that no other thread uses it meanwhile.
        self.data.with_mut(|data| unsafe { *data += 1 });
    }

    /// Work that waits `depth` times, and uses the data before and after each wait.
    fn work(&self, waits: usize) {
        self.indices.work(|index| {
            self.use_data();
            for _ in 0..waits {
                self.indices.wait(index, thread::yield_now);
                self.use_data();
            }
        });
    }
}

fn one_waits_and_one_works(waits: usize) {
    let world = World::new();
    let other = world.clone();
    let thread = thread::spawn(move || other.work(waits));
    world.work(1);
    thread.join().unwrap();
    // SAFETY: the other thread has ended.
    let uses = world.data.with(|data| unsafe { *data });
    assert_eq!(uses, 3 + waits);
}

#[test]
fn an_index_that_is_lent_has_one_user() {
    explore(|| one_waits_and_one_works(0));
}

#[test]
fn an_index_that_is_lent_twice_has_one_user() {
    explore(|| one_waits_and_one_works(1));
}

#[test]
fn three_threads_share_an_index() {
    explore(|| {
        let world = World::new();
        let others = [world.clone(), world.clone()];
        let threads = others.map(|other| thread::spawn(move || other.work(0)));
        world.work(1);
        for thread in threads {
            thread.join().unwrap();
        }
    });
}

#[test]
#[ignore = "fails on purpose: run by the_models_catch_an_index_with_two_users"]
fn in_use() {
    break_indices(Fault::InUse);
    explore(|| one_waits_and_one_works(1));
}

#[test]
fn the_models_catch_an_index_with_two_users() {
    must_fail_with("in_use", "Causality violation");
}

#[test]
#[ignore = "fails on purpose: run by the_models_catch_an_index_that_is_given_back_silently"]
fn silent() {
    break_indices(Fault::Silent);
    explore(|| one_waits_and_one_works(0));
}

#[test]
fn the_models_catch_an_index_that_is_given_back_silently() {
    must_fail_with("silent", "deadlock");
}

/// Each task is taken once, by a worker with a ticket or by the thread that waits for the scope,
/// and none is left without a ticket.
fn tickets() {
    let tasks = Arc::new(Tasks::default());
    let other = tasks.clone();
    tasks.push(1);
    let worker = thread::spawn(move || other.take_ticket().flatten());
    tasks.push(2);
    let newest = tasks.take_newest();
    tasks.push(4);
    let mut taken = newest.unwrap_or(0) + worker.join().unwrap().unwrap_or(0);
    while let Some(task) = tasks.take_ticket() {
        taken += task.unwrap_or(0);
    }
    assert_eq!(taken, 7, "a task was left behind, or taken twice");
}

#[test]
fn each_task_of_a_scope_has_a_ticket() {
    explore(tickets);
}

#[test]
#[ignore = "fails on purpose: run by the_models_catch_a_ticket_that_is_counted_late"]
fn counted_late() {
    break_tickets();
    explore(tickets);
}

#[test]
fn the_models_catch_a_ticket_that_is_counted_late() {
    must_fail_with("counted_late", "left behind");
}
