//! The newest value for many receivers: what counts as new, which receivers are woken, and the end.

use std::pin::pin;
use std::sync::mpsc;
use std::task::{Context, Poll, Waker};
use std::thread;

use crate::deadline::{asleep, eventually, within_deadline};
use trefoil::ThreadPool;
use trefoil::sync::watch::{self, RecvError};

fn poll<F: Future>(future: F) -> Poll<F::Output> {
    pin!(future).poll(&mut Context::from_waker(Waker::noop()))
}

#[test]
fn a_receiver_sees_the_newest_value_once() {
    let (sender, mut receiver) = watch::channel("first");
    // The first value counts as seen.
    assert!(!receiver.has_changed().unwrap() && poll(receiver.changed()).is_pending());
    assert_eq!((*receiver.borrow(), *sender.borrow()), ("first", "first"));

    sender.send("second").unwrap();
    sender.send("third").unwrap();
    assert!(receiver.has_changed().unwrap());
    let mut clone = receiver.clone(); // has seen as much
    assert!(poll(receiver.changed()).is_ready() && poll(receiver.changed()).is_pending());
    assert!(clone.has_changed().unwrap());
    assert_eq!(*clone.borrow_and_update(), "third");
    assert!(!clone.has_changed().unwrap());

    let late = sender.subscribe();
    assert!(!late.has_changed().unwrap());
    sender.send("fourth").unwrap();
    assert_eq!(*receiver.borrow_and_update(), "fourth");
    assert!(poll(receiver.changed()).is_pending());
}

#[test]
fn threads_and_tasks_that_wait_are_woken_by_each_way_to_send() {
    within_deadline(|| {
        let (sender, receiver) = watch::channel(0_u32);
        let wait_for = |n: u32| {
            let (mut blocking, mut in_a_task) = (receiver.clone(), receiver.clone());
            let thread = thread::spawn(move || {
                while *blocking.borrow() != n {
                    blocking.changed_blocking().unwrap();
                }
            });
            let task = thread::spawn(move || {
                trefoil::run(async move { *in_a_task.wait_for(|now| *now == n).await.unwrap() })
            });
            move || {
                thread.join().unwrap();
                assert_eq!(task.join().unwrap(), n);
            }
        };
        let done = wait_for(1);
        sender.send(1).unwrap();
        done();
        let done = wait_for(2);
        assert_eq!(sender.send_replace(2), 1);
        done();
        let done = wait_for(3);
        sender.send_modify(|now| *now += 1);
        done();
        let done = wait_for(4);
        assert!(sender.send_if_modified(|now| {
            *now = 4;
            true
        }));
        done();
        assert_eq!(
            *receiver.clone().wait_for_blocking(|now| *now > 3).unwrap(),
            4
        );
    });
}

#[test]
fn a_silent_change_wakes_no_receiver_and_a_panic_in_one_harms_nothing() {
    let (sender, mut receiver) = watch::channel(vec![1]);
    assert!(!sender.send_if_modified(|now| {
        now.push(2);
        false
    }));
    assert!(poll(receiver.changed()).is_pending());
    let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        sender.send_modify(|_| panic!("on purpose"));
    }));
    assert!(panicked.is_err() && poll(receiver.changed()).is_pending());
    sender.send_modify(|now| now.push(3));
    assert!(poll(receiver.changed()).is_ready());
    assert_eq!(*receiver.borrow(), [1, 2, 3]);
}

#[test]
fn the_last_value_comes_before_the_end() {
    within_deadline(|| {
        let (sender, mut receiver) = watch::channel(0);
        let other = sender.clone();
        drop(sender);
        let waiting = thread::spawn(move || {
            let first = receiver.changed_blocking().map(|()| *receiver.borrow());
            let waited = trefoil::run(async { receiver.wait_for(|n| *n > 5).await.map(|n| *n) });
            (
                first,
                waited,
                receiver.changed_blocking(),
                *receiver.borrow(),
            )
        });
        other.send(5).unwrap();
        drop(other);
        let ended = waiting.join().unwrap();
        assert_eq!(ended, (Ok(5), Err(RecvError), Err(RecvError), 5));

        // The value was not seen, and there is no sender any more.
        let (sender, mut receiver) = watch::channel(0);
        sender.send(6).unwrap();
        drop(sender);
        assert_eq!(receiver.has_changed(), Err(RecvError));
        assert_eq!(poll(receiver.changed()), Poll::Ready(Ok(())));
        assert_eq!(poll(receiver.changed()), Poll::Ready(Err(RecvError)));
    });
}

#[test]
fn a_sender_learns_that_there_are_no_receivers() {
    within_deadline(|| {
        let (sender, receiver) = watch::channel(1);
        let other = receiver.clone();
        assert!(sender.receiver_count() == 2 && poll(sender.closed()).is_pending());
        let dropping = thread::spawn(move || drop((receiver, other)));
        sender.closed_blocking();
        dropping.join().unwrap();
        assert!(sender.is_closed() && poll(sender.closed()).is_ready());
        assert_eq!(sender.send(2).unwrap_err().0, 2);
        assert_eq!(*sender.borrow(), 1);
        assert_eq!(sender.send_replace(3), 1);
        let again = sender.subscribe();
        assert!(*again.borrow() == 3 && !sender.is_closed());
    });
}

/// A call that needs no value does not wait for the sender, which waits for the guard that is held
/// here.
#[test]
fn a_holder_of_the_value_may_ask_whether_it_has_changed() {
    within_deadline(|| {
        let (sender, mut receiver) = watch::channel(1);
        let held = receiver.clone();
        let value = held.borrow();
        let other = sender.clone();
        let (begins, begun) = mpsc::channel();
        let sending = thread::spawn(move || {
            begins.send(crate::deadline::this_thread()).unwrap();
            other.send(2)
        });
        let thread = begun.recv().unwrap();
        eventually("the sender waits", || asleep(thread));

        assert_eq!(receiver.has_changed(), Ok(false));
        assert_eq!(sender.subscribe().has_changed(), Ok(false));
        assert!(poll(receiver.changed()).is_pending());
        assert_eq!(*value, 1);
        drop(value);
        sending.join().unwrap().unwrap();
        assert_eq!((receiver.has_changed(), *receiver.borrow()), (Ok(true), 2));
    });
}

#[test]
fn a_worker_that_waits_is_replaced() {
    fn frees<R: Send + 'static>(
        wait: impl FnOnce() -> R + Send + 'static,
        end: impl FnOnce() + Send + 'static,
    ) -> R {
        let pool = ThreadPool::with_threads(1);
        let (begins, begun) = mpsc::channel();
        let waiting = pool.spawn(move || {
            begins.send(()).unwrap();
            wait()
        });
        begun.recv().unwrap();
        let ending = pool.spawn(end);
        let result = waiting.join().unwrap();
        ending.join().unwrap();
        result
    }
    within_deadline(|| {
        let (sender, mut receiver) = watch::channel(1);
        let (other, mut patient) = (sender.clone(), receiver.clone());
        let changed = frees(
            move || receiver.changed_blocking(),
            move || other.send(2).unwrap(),
        );
        assert_eq!(changed, Ok(()));
        let (other, last) = (sender.clone(), patient.clone());
        let waited = frees(
            move || patient.wait_for_blocking(|n| *n == 3).map(|n| *n),
            move || other.send(3).unwrap(),
        );
        assert_eq!(waited, Ok(3));
        frees(move || sender.closed_blocking(), move || drop(last));
    });
}

#[test]
fn what_waits_may_go_to_another_thread() {
    fn send<T: Send>(_: T) {}
    let (sender, mut receiver) = watch::channel(1);
    send(async move {
        receiver.changed().await.unwrap();
        receiver.wait_for(|n| *n > 1).await.map(|n| *n)
    });
    send(async move { sender.closed().await });
}
