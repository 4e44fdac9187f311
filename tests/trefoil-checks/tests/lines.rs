//! Loom models of the line of a lock, on which `Mutex` and `RwLock` rest.
//!
//! If a waiter sleeps that may enter, it waits for ever, which loom reports as a deadlock. If one
//! that is to be alone is not, loom's cell reports that. The twin looks before it enters the list,
//! and must fail.
#![cfg(loom)]

use std::pin::pin;
use std::task::{Context, Waker};

use loom::cell::UnsafeCell;
use loom::future::block_on;
use loom::sync::Arc;
use loom::thread;
use trefoil::sync::model::{Line, Notices};
use trefoil_checks::{explore, must_fail};

/// A value that is used in the line only.
#[derive(Default)]
struct Shared {
    line: Line,
    value: UnsafeCell<u32>,
}

// SAFETY: the value is a number.
unsafe impl Send for Shared {}
// SAFETY: loom's cell checks that what the line lets in is used as it may be.
unsafe impl Sync for Shared {}

impl Shared {
    /// By one that is in the line, alone.
    fn change(&self) {
        let change = |value: *mut u32| {
            // SAFETY: loom's cell checks it.
            unsafe { *value += 1 }
        };
        self.value.with_mut(change);
    }

    /// By one that is in the line.
    fn look(&self) -> u32 {
        let look = |value: *const u32| {
            // SAFETY: loom's cell checks it.
            unsafe { *value }
        };
        self.value.with(look)
    }

    fn write(&self) {
        block_on(self.line.enter(false));
        self.change();
        self.line.leave(false);
    }

    fn read(&self) -> u32 {
        block_on(self.line.enter(true));
        let value = self.look();
        self.line.leave(true);
        value
    }

    fn is_free(&self) -> bool {
        self.line.try_enter(false)
    }
}

/// Runs these at once, together with `here`.
fn together(all: &[fn(&Shared)], here: fn(&Shared)) {
    let shared = Arc::new(Shared::default());
    let others: Vec<_> = all
        .iter()
        .map(|one| {
            let (one, shared) = (*one, shared.clone());
            thread::spawn(move || one(&shared))
        })
        .collect();
    here(&shared);
    for other in others {
        other.join().unwrap();
    }
    assert!(shared.is_free());
}

fn write(shared: &Shared) {
    shared.write();
}

fn read(shared: &Shared) {
    shared.read();
}

/// It waits for its turn a moment, and gives up.
fn give_up(shared: &Shared, shares: bool) {
    let mut turn = pin!(shared.line.enter(shares));
    let cx = &mut Context::from_waker(Waker::noop());
    if turn.as_mut().poll(cx).is_ready() {
        shared.line.leave(shares);
    }
}

#[test]
fn writers_are_alone() {
    explore(|| together(&[write, write], write));
}

#[test]
fn a_reader_and_two_writers() {
    explore(|| together(&[write, read], write));
}

#[test]
fn two_readers_and_a_writer() {
    explore(|| together(&[read, write], read));
}

#[test]
fn a_writer_gives_up() {
    explore(|| together(&[read, write], |shared| give_up(shared, false)));
}

#[test]
fn a_writer_gives_up_before_readers() {
    explore(|| together(&[read, read], |shared| give_up(shared, false)));
}

#[test]
fn a_reader_gives_up() {
    explore(|| together(&[write, write], |shared| give_up(shared, true)));
}

#[test]
fn a_writer_reads_on() {
    explore(|| {
        together(&[read, write], |shared| {
            block_on(shared.line.enter(false));
            shared.change();
            shared.line.share();
            shared.look();
            shared.line.leave(true);
        })
    });
}

#[test]
fn the_models_catch_a_waiter_that_enters_the_list_too_late() {
    must_fail("too_late");
}

#[test]
#[ignore = "fails on purpose: run by the_models_catch_a_waiter_that_enters_the_list_too_late"]
fn too_late() {
    loom::model(|| {
        let shared = Arc::new((Line::default(), Notices::new()));
        assert!(shared.0.try_enter(false));
        let theirs = shared.clone();
        let waiter = thread::spawn(move || {
            let (line, left) = &*theirs;
            while !line.try_enter(false) {
                block_on(left.wait((), || async {})); // enters the list only now
            }
        });
        shared.0.leave(false);
        shared.1.notify_one();
        waiter.join().unwrap();
    });
}
