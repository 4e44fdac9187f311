//! Loom models of the semaphore.
//!
//! If a waiter sleeps beside a free permit, it waits for ever, which loom reports as a deadlock.
//! The twin of `acquire` tries before it listens, and must fail.
#![cfg(loom)]

use std::mem::forget;
use std::pin::pin;
use std::task::{Context, Waker};

use loom::future::block_on;
use loom::sync::Arc;
use loom::thread;
use trefoil::sync::Semaphore;
use trefoil::sync::model::Notices;
use trefoil_checks::{explore, must_fail};

/// Two waiters, two releases, and between these a quicker caller.
#[test]
fn each_permit_finds_its_waiter() {
    explore(|| {
        let semaphore = Arc::new(Semaphore::new(0));
        let waiters = [(); 2].map(|()| {
            let semaphore = semaphore.clone();
            thread::spawn(move || forget(block_on(semaphore.acquire())))
        });
        semaphore.add_permits(1);
        drop(semaphore.try_acquire());
        semaphore.add_permits(1);
        for waiter in waiters {
            waiter.join().unwrap();
        }
        assert_eq!(semaphore.available_permits(), 0);
    });
}

/// One waiter is dropped, notified or not: the other gets the permit.
#[test]
fn a_dropped_waiter_passes_it_on() {
    explore(|| {
        let semaphore = Arc::new(Semaphore::new(0));
        let theirs = semaphore.clone();
        let waiter = thread::spawn(move || drop(block_on(theirs.acquire())));
        {
            let mut gives_up = pin!(semaphore.acquire());
            let cx = &mut Context::from_waker(Waker::noop());
            let _ = gives_up.as_mut().poll(cx);
            semaphore.add_permits(1);
        }
        waiter.join().unwrap();
        assert_eq!(semaphore.available_permits(), 1);
    });
}

#[test]
fn the_models_catch_a_waiter_that_listens_too_late() {
    must_fail("too_late");
}

#[test]
#[ignore = "fails on purpose: run by the_models_catch_a_waiter_that_listens_too_late"]
fn too_late() {
    loom::model(|| {
        let shared = Arc::new((Semaphore::new(0), Notices::new()));
        let theirs = shared.clone();
        let waiter = thread::spawn(move || {
            let (semaphore, released) = &*theirs;
            while semaphore.try_acquire().map(forget).is_none() {
                block_on(released.wait((), || async {})); // enters the list only now
            }
        });
        shared.0.add_permits(1);
        shared.1.notify_one();
        waiter.join().unwrap();
    });
}
