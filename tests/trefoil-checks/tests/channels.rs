//! Loom models of the queue that a channel is.
//!
//! One that sleeps although there is an item, or room, waits for ever, which loom reports as a
//! deadlock. The twin looks before it enters the list, and must fail.
#![cfg(loom)]

use std::pin::pin;
use std::task::{Context, Waker};

use loom::future::block_on;
use loom::sync::Arc;
use loom::thread;
use trefoil::sync::channel::{self, RecvError, TryRecvError};
use trefoil::sync::model::Notices;
use trefoil_checks::{explore, must_fail};

/// Two receivers wait, and a third looks now and then.
#[test]
fn each_item_finds_a_receiver() {
    explore(|| {
        let (sender, receiver) = channel::unbounded();
        let waiters = [(); 2].map(|()| {
            let receiver = receiver.clone();
            thread::spawn(move || block_on(receiver.recv()))
        });
        sender.try_send(1).unwrap();
        let quicker = receiver.try_recv();
        sender.try_send(2).unwrap();
        if let Ok(item) = quicker {
            sender.try_send(item).unwrap();
        }
        let sum: u32 = waiters
            .map(|waiter| waiter.join().unwrap().unwrap())
            .iter()
            .sum();
        assert_eq!((sum, receiver.try_recv()), (3, Err(TryRecvError::Empty)));
    });
}

/// Two senders wait for room for one item.
#[test]
fn each_place_finds_a_sender() {
    explore(|| {
        let (sender, receiver) = channel::bounded(1);
        let senders = [1, 2].map(|item| {
            let sender = sender.clone();
            thread::spawn(move || block_on(sender.send(item)).unwrap())
        });
        let sum = block_on(receiver.recv()).unwrap() + block_on(receiver.recv()).unwrap();
        assert_eq!(sum, 3);
        for sender in senders {
            sender.join().unwrap();
        }
    });
}

/// One receiver is dropped, notified or not: the other gets the item.
#[test]
fn a_dropped_receiver_passes_it_on() {
    explore(|| {
        let (sender, receiver) = channel::unbounded();
        let theirs = receiver.clone();
        let waiter = thread::spawn(move || block_on(theirs.recv()));
        {
            let mut gives_up = pin!(receiver.recv());
            let cx = &mut Context::from_waker(Waker::noop());
            if gives_up.as_mut().poll(cx).is_pending() {
                sender.try_send(1).unwrap();
            }
        }
        drop(sender);
        assert_eq!(waiter.join().unwrap(), Ok(1));
    });
}

/// Each side looks at the other's only when its own is at an end: nothing overtakes, and a sender
/// that has found no room sees what was taken since.
#[test]
fn items_come_in_their_order() {
    explore(|| {
        let (sender, receiver) = channel::bounded(2);
        let sends = thread::spawn(move || {
            for item in 1..=3 {
                block_on(sender.send(item)).unwrap();
            }
        });
        for item in 1..=3 {
            assert_eq!(block_on(receiver.recv()), Ok(item));
        }
        assert_eq!(block_on(receiver.recv()), Err(RecvError));
        sends.join().unwrap();
    });
}

/// What was sent before the end is received; then, and not sooner, comes the end.
#[test]
fn the_end_comes_after_the_last_item() {
    explore(|| {
        let (sender, receiver) = channel::bounded(1);
        let sends = thread::spawn(move || {
            sender.try_send(1).unwrap();
        });
        assert_eq!(block_on(receiver.recv()), Ok(1));
        assert_eq!(block_on(receiver.recv()), Err(RecvError));
        sends.join().unwrap();
    });
}

/// A sender that waits for room, and one that waits for the end, learn that nobody receives.
#[test]
fn the_last_receiver_wakes_all() {
    explore(|| {
        let (sender, receiver) = channel::bounded(1);
        sender.try_send(Arc::new(1)).unwrap();
        let other = sender.clone();
        let sends = thread::spawn(move || block_on(other.send(Arc::new(2))).is_err());
        let ends = thread::spawn(move || block_on(sender.closed()));
        drop(receiver);
        assert!(sends.join().unwrap());
        ends.join().unwrap();
    });
}

#[test]
fn the_models_catch_a_receiver_that_enters_the_list_too_late() {
    must_fail("too_late");
}

#[test]
#[ignore = "fails on purpose: run by the_models_catch_a_receiver_that_enters_the_list_too_late"]
fn too_late() {
    loom::model(|| {
        let (sender, receiver) = channel::unbounded();
        let sent = Arc::new(Notices::new());
        let theirs = sent.clone();
        let waiter = thread::spawn(move || {
            while receiver.try_recv().is_err() {
                block_on(theirs.wait((), || async {})); // enters the list only now
            }
        });
        sender.try_send(1).unwrap();
        sent.notify_one();
        waiter.join().unwrap();
    });
}
