//! The futures of `task` and `sync`, dropped wherever they can wait.
//!
//! Each test advances one future to each of its waits (not polled at all, pending, woken and not
//! polled again, and so on to the next wait), drops it there, and shows that nothing is lost: a
//! result, a place in a queue or a notification goes to the next waiter, no lock stays held, and no
//! waker is kept.
#![cfg(not(loom))]
#![allow(clippy::disallowed_methods, clippy::disallowed_types)] // that door is for the crate's own protocols

use std::cell::Cell;
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{self, Sender};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use trefoil::sync::{Barrier, Condvar, Event, Mutex, ReentrantMutex, RwLock, Semaphore, channel};
use trefoil::{CancelToken, Completer, TaskError, TaskGroup, as_completed, join_all};

#[derive(Default)]
struct Count(AtomicUsize);

impl Wake for Count {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

/// A future, polled by hand.
struct Walk<F> {
    future: Pin<Box<F>>,
    count: Arc<Count>,
}

/// How far to walk a future before it is dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Drops {
    Unpolled,
    Waiting,
    Woken,
}

const EVERYWHERE: [Drops; 3] = [Drops::Unpolled, Drops::Waiting, Drops::Woken];

impl<F: Future> Walk<F> {
    fn new(future: F) -> Self {
        Self {
            future: Box::pin(future),
            count: Arc::default(),
        }
    }

    fn poll(&mut self) -> Poll<F::Output> {
        let waker = Waker::from(self.count.clone());
        self.future.as_mut().poll(&mut Context::from_waker(&waker))
    }

    fn is_pending(&mut self) -> bool {
        self.poll().is_pending()
    }

    fn woken(&self) -> bool {
        self.count.0.load(Ordering::SeqCst) > 0
    }

    fn value(&mut self) -> F::Output {
        match self.poll() {
            Poll::Ready(value) => value,
            Poll::Pending => panic!("it still waits"),
        }
    }

    /// Drops it, and checks that its waker is not kept.
    fn end(self) {
        drop(self.future);
        assert_eq!(Arc::strong_count(&self.count), 1, "a waker is kept");
    }

    /// Advances to the point `at`, drops the future there, and calls `wake` before or after.
    fn dropped(mut self, at: Drops, wake: impl FnOnce()) {
        if at != Drops::Unpolled {
            assert!(self.is_pending());
        }
        if at == Drops::Woken {
            wake();
            assert!(self.woken());
            self.end();
        } else {
            self.end();
            wake();
        }
    }

    /// Like `dropped`, for a future that leaves its waker with the value that it borrows.
    fn dropped_by_borrower(mut self, at: Drops, wake: impl FnOnce()) {
        if at != Drops::Unpolled {
            assert!(self.is_pending());
        }
        if at == Drops::Woken {
            wake();
            assert!(self.woken());
        } else {
            drop(self);
            wake();
        }
    }
}

/// Aborts if it is still there after a minute.
fn watched() -> Sender<()> {
    let (alive, watch) = mpsc::channel::<()>();
    thread::spawn(move || {
        if watch.recv_timeout(Duration::from_secs(60)) == Err(mpsc::RecvTimeoutError::Timeout) {
            eprintln!("it hangs");
            std::process::abort();
        }
    });
    alive
}

// ---------------------------------------------------------------------- task

#[test]
fn awaiting_a_task() {
    for at in EVERYWHERE {
        let (completer, mut task) = Completer::new();
        Walk::new(&mut task).dropped_by_borrower(at, || completer.complete(Ok(7)));
        assert_eq!(task.join().unwrap(), 7, "{at:?}");
    }
}

#[test]
fn the_next_of_a_group() {
    for at in EVERYWHERE {
        let mut group = TaskGroup::new();
        let (completer, task) = Completer::new();
        let id = group.add(task);
        Walk::new(group.next()).dropped_by_borrower(at, || completer.complete(Ok(1)));
        let (ended, result) = group.next().join().unwrap();
        assert_eq!((ended, result.unwrap()), (id, 1), "{at:?}");
        assert!(group.is_empty());
    }
}

#[test]
fn the_join_of_a_group_keeps_its_members() {
    for at in EVERYWHERE {
        let mut group = TaskGroup::new();
        let (completer, task) = Completer::new();
        group.add(task);
        Walk::new(group.try_join_all()).dropped_by_borrower(at, || completer.complete(Ok(1)));
        assert_eq!(group.next().join().unwrap().1.unwrap(), 1, "{at:?}");
    }
}

#[test]
fn the_next_of_as_completed() {
    for at in EVERYWHERE {
        let (first, task) = Completer::new();
        let (second, other) = Completer::new();
        let mut results = as_completed([task, other]);
        Walk::new(results.next()).dropped_by_borrower(at, || second.complete(Ok(2)));
        assert_eq!(Walk::new(results.next()).value().unwrap().unwrap(), 2);
        first.complete(Ok(1));
        let left: Vec<_> = results.into_iter().map(Result::unwrap).collect();
        assert_eq!(left, [1], "{at:?}");
    }
}

#[test]
fn a_token_s_cancellation() {
    for at in EVERYWHERE {
        let token = CancelToken::new();
        let below = token.child();
        let mut other = Walk::new(below.cancelled());
        assert!(other.is_pending());
        Walk::new(below.cancelled()).dropped(at, || token.cancel());
        assert!(other.woken(), "{at:?}");
        other.value();
        other.end();
    }
}

#[test]
fn a_completer_s_cancellation() {
    for at in EVERYWHERE {
        let (completer, task) = Completer::<u8>::new();
        Walk::new(completer.cancelled()).dropped_by_borrower(at, || {
            assert!(task.cancel());
        });
        assert!(completer.is_cancelled());
        Walk::new(completer.cancelled()).value();
        assert!(matches!(task.join(), Err(TaskError::Cancelled)));
    }
}

#[test]
fn a_shared_task() {
    for at in EVERYWHERE {
        let (completer, task) = Completer::new();
        let shared = task.shared();
        let mut other = Walk::new(shared.clone());
        assert!(other.is_pending());
        Walk::new(shared.clone()).dropped(at, || completer.complete(Ok(5)));
        assert!(other.woken());
        assert_eq!(other.value().unwrap(), 5, "{at:?}");
        other.end();
    }
}

/// Failures that it had seen count as not taken.
#[test]
fn a_join_of_many_loses_no_failure() {
    let (tell, told) = mpsc::channel();
    trefoil::on_unobserved(move |report| tell.send(report.id()).unwrap());
    for at in EVERYWHERE {
        let (failing, failed) = Completer::<u8>::new();
        let (other, pending) = Completer::new();
        let id = failing.id();
        failing.complete(Err(TaskError::timed_out()));
        Walk::new(join_all([failed, pending])).dropped(at, || other.complete(Ok(1)));
        assert_eq!(told.try_recv(), Ok(id), "{at:?}");
        assert!(told.try_recv().is_err(), "{at:?}: once");
    }

    // The same for a group that is dropped with failures that its join had seen.
    let pool = trefoil::ThreadPool::with_threads(1);
    let (go_on, wait) = mpsc::channel::<()>();
    let (started, running) = mpsc::channel();
    let mut group = TaskGroup::new();
    group.add(pool.spawn(move || {
        started.send(()).unwrap();
        let _ = wait.recv();
        0
    }));
    running.recv().unwrap();
    let (failing, failed) = Completer::<u8>::new();
    let id = group.add(failed);
    failing.complete(Err(TaskError::timed_out()));
    assert!(
        Walk::new(group.try_join_all()).is_pending(),
        "one runs still"
    );
    assert!(told.try_recv().is_err(), "the group may be joined again");
    drop(group);
    drop(go_on);
    assert_eq!(told.try_recv(), Ok(id));
    assert!(told.try_recv().is_err(), "once");
}

// ---------------------------------------------------------------------- sync

#[test]
fn an_event() {
    for at in EVERYWHERE {
        let event = Event::new();
        let mut other = Walk::new(event.wait());
        assert!(other.is_pending());
        Walk::new(event.wait()).dropped(at, || {
            event.set();
            event.clear(); // tasks that waited at `set` continue all the same
        });
        assert!(other.woken());
        other.value();
        other.end();
        assert!(Walk::new(event.wait()).is_pending(), "{at:?}");
    }
}

/// Dropped while it waits for a notification, or after it got one: the next waiter gets it.
#[test]
fn a_condition_passes_its_notification_on() {
    for at in EVERYWHERE {
        let (mutex, changed) = (Mutex::new(()), Condvar::new());
        let lock = || {
            mutex
                .try_lock()
                .expect("a wait that was dropped keeps no lock")
        };
        let first = Walk::new(changed.wait(lock()));
        if at == Drops::Unpolled {
            first.end(); // with the lock
            drop(lock());
            continue;
        }
        let mut first = first;
        assert!(first.is_pending());
        let mut second = Walk::new(changed.wait(lock()));
        assert!(second.is_pending());
        if at == Drops::Woken {
            changed.notify_one();
            assert!(first.woken() && !second.woken());
            first.end();
        } else {
            first.end();
            changed.notify_one();
        }
        assert!(second.woken(), "{at:?}: the notification is lost");
        drop(second.value());
        second.end();
        drop(lock());
    }
}

/// Dropped when it has been notified and waits for the lock: the same.
#[test]
fn a_condition_passes_it_on_from_the_second_wait() {
    for let_go in [false, true] {
        let (mutex, changed) = (Mutex::new(()), Condvar::new());
        let lock = || {
            mutex
                .try_lock()
                .expect("a wait that was dropped keeps no lock")
        };
        let mut first = Walk::new(changed.wait(lock()));
        assert!(first.is_pending());
        let mut second = Walk::new(changed.wait(lock()));
        assert!(second.is_pending());
        let held = lock();
        changed.notify_one();
        assert!(first.is_pending(), "it waits for the lock now");
        if let_go {
            drop(held); // woken, and not polled
            first.end();
        } else {
            first.end();
            drop(held);
        }
        assert!(second.woken(), "let go: {let_go}: the notification is lost");
        drop(second.value());
        second.end();
        drop(lock());
    }
}

/// A thread that holds the lock until it is told to release it.
struct Holder {
    told: Sender<()>,
    thread: JoinHandle<()>,
}

impl Holder {
    fn new(lock: &Arc<ReentrantMutex<Cell<u32>>>) -> Self {
        let lock = lock.clone();
        let (tell, told) = mpsc::channel();
        let (held, wait) = mpsc::channel();
        let thread = thread::spawn(move || {
            let _guard = lock.lock_blocking();
            held.send(()).unwrap();
            let _ = told.recv();
        });
        wait.recv().unwrap();
        Self { told: tell, thread }
    }

    fn let_go(self) {
        drop(self.told);
        self.thread.join().unwrap();
    }
}

#[test]
fn a_reentrant_lock() {
    let _watched = watched();
    for at in EVERYWHERE {
        let lock = Arc::new(ReentrantMutex::new(Cell::new(0)));
        let holder = Holder::new(&lock);
        let first = Walk::new(lock.lock());
        let mut second = Walk::new(lock.lock());
        let mut first = Some(first);
        if at != Drops::Unpolled {
            assert!(first.as_mut().unwrap().is_pending());
        }
        assert!(second.is_pending());
        if at == Drops::Woken {
            holder.let_go();
            assert!(first.as_ref().unwrap().woken() && !second.woken());
            first.take().unwrap().end();
        } else {
            first.take().unwrap().end();
            holder.let_go();
        }
        assert!(
            second.woken(),
            "{at:?}: nobody is told that the lock is free"
        );
        second.value().set(1);
        second.end();
        Holder::new(&lock).let_go(); // it is free
    }
}

/// A lock and a permit that a waiter has been given, and that it never sees, go to the next one.
#[test]
fn locks_and_permits_go_to_the_next_one() {
    let mutex = Mutex::new(0);
    let rw = RwLock::new(0);
    let semaphore = Semaphore::new(1);
    for at in EVERYWHERE {
        let held = mutex.try_lock().unwrap();
        Walk::new(mutex.lock()).dropped(at, || drop(held));
        drop(mutex.try_lock().expect("nobody has it"));

        let held = rw.try_write().unwrap();
        Walk::new(rw.read()).dropped(at, || drop(held));
        let held = rw.try_read().unwrap();
        Walk::new(rw.write()).dropped(at, || drop(held));
        drop(rw.try_write().expect("nobody has it"));

        let held = semaphore.try_acquire().unwrap();
        let mut other = Walk::new(semaphore.acquire());
        Walk::new(semaphore.acquire()).dropped(at, || {
            assert!(other.is_pending());
            drop(held);
        });
        assert!(other.woken(), "{at:?}");
        drop(other.value());
        drop(semaphore.try_acquire().expect("nobody has it"));
    }
}

/// The one that is not cancel safe, as `docs/CANCELLATION.md` says.
#[test]
fn a_barrier_counts_tasks_that_have_left() {
    let barrier = Barrier::new(2);
    Walk::new(barrier.wait()).dropped_by_borrower(Drops::Waiting, || {});
    assert!(Walk::new(barrier.wait()).value().is_leader());
}

#[test]
fn a_channel_loses_nothing() {
    for at in EVERYWHERE {
        let (sender, receiver) = channel::bounded(1);
        Walk::new(receiver.recv()).dropped(at, || sender.try_send(1).unwrap());
        assert_eq!(receiver.try_recv().unwrap(), 1, "{at:?}");

        sender.try_send(2).unwrap();
        let taken = OnceLock::new();
        Walk::new(sender.send(3)).dropped(at, || {
            taken.set(receiver.try_recv().unwrap()).unwrap();
        });
        assert_eq!(taken.into_inner(), Some(2));
        assert!(
            receiver.try_recv().is_err(),
            "a send that was dropped sends nothing"
        );
    }
}
