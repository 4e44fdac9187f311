//! Loom models of a live task's place in the table: writers without a lock, and readers.
//!
//! The twin adds an edge and looks at others without the fence in between, and must fail.
#![cfg(loom)]

use loom::sync::Arc;
use loom::thread;
use trefoil_checks::{explore, must_fail_with};
use trefoil_trace::live::model::Places;

/// Runs this on another thread.
fn on_a_thread<R: 'static>(
    places: &Arc<Places>,
    f: impl FnOnce(&Places) -> R + 'static,
) -> thread::JoinHandle<R> {
    let places = places.clone();
    thread::spawn(move || f(&places))
}

#[test]
fn a_reader_sees_one_moment() {
    explore(|| {
        let places = Arc::new(Places::default());
        places.run(1, 2);
        let runner = on_a_thread(&places, |places| places.run(1, 3));
        assert!(places.read(1).is_some());
        runner.join().unwrap();
        assert_eq!(places.read(1).unwrap().1, 3);
    });
}

#[test]
fn the_same_turn_twice_is_the_same_state() {
    explore(|| {
        let places = Arc::new(Places::default());
        let runner = on_a_thread(&places, |places| places.run(1, 2));
        let (first, second) = (places.read(1).unwrap(), places.read(1).unwrap());
        assert!(first.0 != second.0 || first.1 == second.1);
        runner.join().unwrap();
    });
}

#[test]
fn parts_of_a_run_change_one_after_another() {
    explore(|| {
        let places = Arc::new(Places::default());
        places.begin(1);
        let part = on_a_thread(&places, |places| places.block(1, 2));
        places.block(1, 3);
        let _one_of_them = places.read(1);
        part.join().unwrap();
        let (turn, on) = places.read(1).unwrap();
        assert!(on == 2 || on == 3);
        assert_eq!(turn, 8, "taken, begun, and changed twice");
    });
}

#[test]
fn a_reader_never_sees_another_task() {
    explore(|| {
        let places = Arc::new(Places::default());
        let ends = on_a_thread(&places, |places| places.replace(1, 5));
        places.read(1);
        ends.join().unwrap();
        assert_eq!(places.read(1), None);
    });
}

#[test]
fn a_wake_up_is_seen_or_comes_later() {
    explore(|| {
        let places = Arc::new(Places::default());
        places.run(1, 2);
        let waker = on_a_thread(&places, |places| places.wake(1));
        places.read(1);
        waker.join().unwrap();
        assert_eq!(places.read(1).unwrap().1, 0, "queued");
    });
}

#[test]
fn a_name_is_removed_by_whoever_comes_last() {
    explore(|| {
        let places = Arc::new(Places::default());
        let ends = on_a_thread(&places, |places| places.end(1));
        let stays = places.name(1);
        let removes = ends.join().unwrap();
        assert!(removes || !stays, "the name would stay for ever");
    });
}

fn two_edges(is_fenced: bool) {
    let places = Arc::new(Places::default());
    let other = on_a_thread(&places, move |places| places.wait_and_look(2, is_fenced));
    let one_sees = places.wait_and_look(1, is_fenced);
    let other_sees = other.join().unwrap();
    assert!(one_sees || other_sees, "nobody sees the circle");
}

#[test]
fn of_two_that_add_an_edge_one_sees_both() {
    explore(|| two_edges(true));
}

#[test]
#[ignore = "fails on purpose: run by `the_twin_fails`"]
fn without_the_fence() {
    explore(|| two_edges(false));
}

#[test]
fn the_twin_fails() {
    must_fail_with("without_the_fence", "nobody sees the circle");
}
