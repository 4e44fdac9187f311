//! Loom models: how other threads bring work to an event loop.
//!
//! Run with `RUSTFLAGS="--cfg loom" LOOM_MAX_PREEMPTIONS=2 cargo test -p trefoil-checks --release
//! --test loop_models -- --nocapture`. If a wake-up is lost, the loop sleeps for ever, which loom
//! reports as a deadlock; if work is left behind, a task never ends. The twin at the end goes to
//! sleep in two steps, and must fail.
#![cfg(loom)]

use loom::thread;
use trefoil::event_loop::model::{self, Mail};
use trefoil::{Task, TaskError};
use trefoil_checks::{explore, must_fail};

/// Posts `count` closures from a thread of their own.
fn poster(mail: &Mail, count: usize) -> thread::JoinHandle<Vec<Task<()>>> {
    let mail = mail.clone();
    thread::spawn(move || {
        (0..count)
            .map(|_| {
                let (entry, task) = model::closure(|| ());
                mail.post(entry);
                task
            })
            .collect()
    })
}

/// The loop: runs and sleeps until `count` entries have run, in one way or in both in turn.
fn run_until(mail: &Mail, count: usize) {
    let mut ran = 0;
    let mut parks = false;
    while ran < count {
        for entry in mail.collect() {
            entry.run();
            ran += 1;
        }
        if ran < count {
            mail.sleep(parks);
            parks = !parks;
        }
    }
}

fn all_ran(tasks: Vec<Task<()>>) {
    for task in tasks {
        assert!(task.is_finished());
        task.join().unwrap();
    }
}

#[test]
fn one_thread_wakes_the_loop_twice() {
    explore(|| {
        let mail = Mail::default();
        let poster = poster(&mail, 2);
        run_until(&mail, 2);
        all_ran(poster.join().unwrap());
    });
}

#[test]
fn two_threads_wake_the_loop() {
    explore(|| {
        let mail = Mail::default();
        let posters = [poster(&mail, 1), poster(&mail, 1)];
        run_until(&mail, 2);
        for poster in posters {
            all_ran(poster.join().unwrap());
        }
    });
}

#[test]
fn what_is_posted_while_the_loop_closes_ends() {
    explore(|| {
        let mail = Mail::default();
        let posters = [poster(&mail, 1), poster(&mail, 1)];
        for entry in mail.collect() {
            entry.run();
        }
        mail.close();
        // One poster may end what the other has brought: ask when both are done.
        let tasks = posters.map(|poster| poster.join().unwrap());
        for task in tasks.into_iter().flatten() {
            assert!(task.is_finished(), "left behind");
            assert!(matches!(task.join(), Ok(()) | Err(TaskError::Closed)));
        }
    });
}

/// A note is left while the loop lies down, beside an entry.
fn a_note_beside_an_entry(entries: usize) {
    let mail = Mail::default();
    let noter = thread::spawn({
        let mail = mail.clone();
        move || mail.note()
    });
    let poster = (entries > 0).then(|| poster(&mail, entries));
    let (mut noted, mut ran) = (false, 0);
    while !noted || ran < entries {
        for entry in mail.collect() {
            entry.run();
            ran += 1;
        }
        noted |= mail.take_note();
        if !noted || ran < entries {
            mail.sleep(true);
        }
    }
    noter.join().unwrap();
    if let Some(poster) = poster {
        all_ran(poster.join().unwrap());
    }
}

#[test]
fn a_note_wakes_the_loop() {
    explore(|| a_note_beside_an_entry(0));
}

#[test]
fn a_note_and_an_entry_wake_the_loop() {
    explore(|| a_note_beside_an_entry(1));
}

#[test]
fn the_models_catch_a_loop_that_lies_down_in_two_steps() {
    must_fail("lies_down_in_two_steps");
}

#[test]
#[ignore = "fails on purpose: run by the_models_catch_a_loop_that_lies_down_in_two_steps"]
fn lies_down_in_two_steps() {
    model::begin_sleep_in_two_steps(true);
    loom::model(|| {
        let mail = Mail::default();
        let poster = poster(&mail, 1);
        run_until(&mail, 1);
        poster.join().unwrap();
    });
}
