//! Wakers are user code: they may use the object that holds them, when they are woken and when they
//! are dropped. And which waiters a notification wakes if one of them gives up.
#![allow(clippy::disallowed_methods, clippy::disallowed_types)] // a program, not the crate

use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use trefoil::CancelToken;
use trefoil::sync::{
    Barrier, Condvar, Event, Mutex, OnceCell, ReentrantMutex, RwLock, Semaphore, broadcast,
    channel, watch,
};

use crate::deadline::within_deadline;

/// A waker that calls a closure when it is woken and when it is dropped.
struct Calls<F: Fn() + Send + Sync>(F, Arc<AtomicUsize>);

impl<F: Fn() + Send + Sync> Calls<F> {
    fn call(&self) {
        (self.0)();
        self.1.fetch_add(1, Ordering::SeqCst);
    }
}

impl<F: Fn() + Send + Sync> Drop for Calls<F> {
    fn drop(&mut self) {
        self.call();
    }
}

impl<F: Fn() + Send + Sync + 'static> Wake for Calls<F> {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.call();
    }
}

fn poll<F: Future>(future: Pin<&mut F>, waker: &Waker) -> Poll<F::Output> {
    future.poll(&mut Context::from_waker(waker))
}

/// `wait` makes a future that waits, `uses` uses what it waits for, and `wakes` wakes it. Its
/// waker, which `uses` it, too, is replaced, dropped with the future, and woken.
fn may_use<F: Future>(
    mut wait: impl FnMut() -> F,
    uses: impl Fn() + Clone + Send + Sync + 'static,
    mut wakes: impl FnMut(),
) {
    let called = Arc::new(AtomicUsize::new(0));
    let waker = || Waker::from(Arc::new(Calls(uses.clone(), called.clone())));
    let calls = || called.load(Ordering::SeqCst);
    {
        let mut replaced = pin!(wait());
        assert!(poll(replaced.as_mut(), &waker()).is_pending());
        let _ = poll(replaced.as_mut(), Waker::noop());
        assert_eq!(calls(), 1, "dropped when another one replaced it");
    }
    {
        let mut dropped = pin!(wait());
        assert!(poll(dropped.as_mut(), &waker()).is_pending());
    }
    assert_eq!(calls(), 2, "dropped with its future");
    let mut woken = pin!(wait());
    assert!(poll(woken.as_mut(), &waker()).is_pending());
    wakes();
    assert_eq!(calls(), 4, "woken, and dropped");
}

/// Waits a moment: enters the list of waiters, and leaves it.
fn begin<F: Future>(future: F) {
    let _ = poll(pin!(future), Waker::noop());
}

#[test]
fn a_waker_may_use_what_it_waits_for() {
    within_deadline(|| {
        let event = Arc::new(Event::new());
        let used = event.clone();
        let uses = move || {
            used.set();
            used.clear();
            begin(used.wait());
        };
        may_use(|| event.wait(), uses, || event.set());

        let limit = Arc::new(Semaphore::new(0));
        let used = limit.clone();
        let uses = move || {
            drop(used.try_acquire());
            begin(used.acquire());
        };
        may_use(|| limit.acquire(), uses, || limit.add_permits(1));

        // Three waiters, two that their wakers add, and the last.
        let all = Arc::new(Barrier::new(6));
        let used = all.clone();
        may_use(
            || all.wait(),
            move || begin(used.wait()),
            || begin(all.wait()),
        );

        let (changed, mutex) = (Arc::new(Condvar::new()), Arc::new(Mutex::new(())));
        let used = (changed.clone(), mutex.clone());
        let uses = move || {
            used.0.notify_one();
            used.0.notify_all();
            begin(used.0.wait(used.1.try_lock().unwrap()));
        };
        let wait = || changed.wait(mutex.try_lock().unwrap());
        may_use(wait, uses, || changed.notify_one());

        let held = std::cell::RefCell::new(Some(mutex.try_lock().unwrap()));
        let used = mutex.clone();
        let uses = move || {
            drop(used.try_lock());
            begin(used.lock());
        };
        may_use(|| mutex.lock(), uses, || drop(held.take()));

        let lock = Arc::new(RwLock::new(()));
        let held = std::cell::RefCell::new(Some(lock.try_read().unwrap()));
        let used = lock.clone();
        let uses = move || {
            drop(used.try_write());
            begin(used.read());
            begin(used.write());
        };
        may_use(|| lock.write(), uses, || drop(held.take()));

        let cell = Arc::new(OnceCell::new());
        let used = cell.clone();
        let uses = move || {
            begin(used.wait());
            _ = used.get();
        };
        may_use(|| cell.wait(), uses, || cell.try_set(1).unwrap());

        let lock = Arc::new(ReentrantMutex::new(()));
        let theirs = lock.clone();
        let (take, takes) = std::sync::mpsc::channel::<bool>();
        let (tell, told) = std::sync::mpsc::channel();
        // It has the lock while `true` was the last that it was told.
        let holder = std::thread::spawn(move || {
            let mut guard = None;
            for take in takes {
                drop(guard.take());
                guard = take.then(|| theirs.lock_blocking());
                tell.send(()).unwrap();
            }
        });
        let hold = |on: bool| {
            take.send(on).unwrap();
            told.recv().unwrap();
        };
        hold(true);
        let used = lock.clone();
        let uses = move || {
            drop(used.try_lock());
            begin(used.lock());
        };
        may_use(|| lock.lock(), uses, || hold(false));
        drop(take);
        holder.join().unwrap();

        let (sender, receiver) = watch::channel(0);
        let (used, mut other) = (sender.clone(), receiver.clone());
        let uses = {
            let other = std::sync::Mutex::new(sender.subscribe());
            let other = Arc::new(other);
            move || {
                used.send_if_modified(|_| false);
                drop(used.subscribe());
                begin(other.lock().unwrap().changed());
            }
        };
        let wait = || {
            let mut receiver = receiver.clone();
            async move { receiver.changed().await }
        };
        may_use(wait, uses, || sender.send(1).unwrap());
        assert!(other.changed_blocking().is_ok());

        let (sender, receiver) = broadcast::channel(4);
        let used = sender.clone();
        let uses = move || {
            let mut receiver = used.subscribe();
            assert!(receiver.try_recv().is_err());
            begin(receiver.recv());
        };
        let wait = || {
            let mut receiver = receiver.resubscribe();
            async move { receiver.recv().await }
        };
        may_use(wait, uses, || assert!(sender.send(1).is_ok()));

        let (sender, receiver) = channel::bounded(1);
        let (used, other) = (sender.clone(), receiver.clone());
        let uses = move || {
            assert!(used.len() <= 1 && !other.is_closed());
            _ = other.try_recv();
            begin(other.recv());
            drop(used.clone());
        };
        may_use(|| receiver.recv(), uses, || sender.try_send(1).unwrap());

        let (sender, receiver) = channel::bounded(1);
        sender.try_send(1).unwrap();
        let used = sender.clone();
        let uses = move || {
            _ = used.try_send(1);
            begin(used.send(1));
        };
        may_use(|| sender.send(1), uses, || _ = receiver.try_recv());

        let (sender, receiver) = channel::bounded::<()>(1);
        let used = sender.clone();
        let uses = move || {
            begin(used.closed());
            assert!(used.is_closed() || used.is_empty());
        };
        may_use(|| sender.closed(), uses, || _ = receiver.close());

        let token = CancelToken::new();
        let used = token.clone();
        let uses = move || begin(used.child().cancelled());
        may_use(|| token.cancelled(), uses, || token.cancel());
    });
}

/// How many of these waiters are ready.
fn ready<F: Future>(waiters: &mut [Pin<Box<F>>]) -> Vec<bool> {
    let polled = waiters.iter_mut();
    polled
        .map(|waiter| poll(waiter.as_mut(), Waker::noop()).is_ready())
        .collect()
}

#[test]
fn a_condition_that_was_notified_for_all_wakes_no_later_waiter() {
    let (mutex, changed) = (Mutex::new(()), Condvar::new());
    let enter = || {
        let mut waiter = Box::pin(changed.wait(mutex.try_lock().unwrap()));
        assert!(poll(waiter.as_mut(), Waker::noop()).is_pending());
        waiter
    };
    // One gives up before it has seen the notification, one while it takes the lock.
    for sees_it in [false, true] {
        let mut given_up = enter();
        let mut later = [enter()];
        changed.notify_all();
        assert_eq!(ready(&mut later), [true], "it had waited");
        let mut later = [enter()];
        let guard = mutex.try_lock();
        if sees_it {
            assert!(poll(given_up.as_mut(), Waker::noop()).is_pending());
        }
        drop(given_up);
        drop(guard);
        assert_eq!(ready(&mut later), [false], "it came after the notification");
    }
}

#[test]
fn a_condition_that_was_notified_for_one_wakes_another_instead() {
    let (mutex, changed) = (Mutex::new(()), Condvar::new());
    let enter = || {
        let mut waiter = Box::pin(changed.wait(mutex.try_lock().unwrap()));
        assert!(poll(waiter.as_mut(), Waker::noop()).is_pending());
        waiter
    };
    for sees_it in [false, true] {
        let mut given_up = enter();
        let mut others = [enter(), enter()];
        changed.notify_one();
        let guard = mutex.try_lock();
        if sees_it {
            assert!(poll(given_up.as_mut(), Waker::noop()).is_pending());
        }
        drop(given_up);
        drop(guard);
        assert_eq!(ready(&mut others), [true, false]);
    }
}

#[test]
fn a_wait_with_a_deadline_leaves_the_list() {
    let event = Event::new();
    assert!(!event.wait_timeout_blocking(Duration::ZERO));
    assert!(!event.wait_timeout_blocking(Duration::from_millis(1)));
    event.set();
    assert!(event.wait_timeout_blocking(Duration::ZERO));
    assert!(event.wait_timeout_blocking(Duration::MAX));
}
