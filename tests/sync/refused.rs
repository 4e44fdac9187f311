//! Where a blocking call of `sync` waits: a pool's worker is replaced meanwhile, and the thread of
//! an event loop refuses, with what to write.
#![allow(clippy::disallowed_methods)] // a program, not the crate

use crate::deadline;

use std::pin::Pin;
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::Duration;

use deadline::within_deadline;
use trefoil::sync::{
    Barrier, Condvar, Event, Mutex, OnceCell, ReentrantMutex, RwLock, Semaphore, broadcast,
    channel, watch,
};
use trefoil::{TaskError, ThreadPool};

/// Where a future stops until the test lets it go on.
struct Gate {
    reached: mpsc::Sender<()>,
    open: Arc<Event>,
}

impl Gate {
    async fn pass(self) {
        self.reached.send(()).unwrap();
        self.open.wait().await;
    }
}

type Held = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Two of a pool's two workers wait for a future of the same pool, which is suspended. Nobody else
/// waits in a way that this crate knows of.
fn two_wait<S: Send + Sync + 'static>(
    shared: S,
    hold: fn(Arc<S>, Gate) -> Held,
    wait: fn(&Arc<S>),
) {
    let pool = ThreadPool::with_threads(2);
    let (shared, open) = (Arc::new(shared), Arc::new(Event::new()));
    let (reached, has_reached) = mpsc::channel();
    let gate = Gate {
        reached,
        open: open.clone(),
    };
    pool.spawn_async(hold(shared.clone(), gate)).detach();
    has_reached.recv().unwrap();
    let (begins, begun) = mpsc::channel();
    let (ends, ended) = mpsc::channel();
    for _ in 0..2 {
        let (shared, begins, ends) = (shared.clone(), begins.clone(), ends.clone());
        pool.spawn(move || {
            begins.send(()).unwrap();
            wait(&shared);
            ends.send(()).unwrap();
        })
        .detach();
    }
    for _ in 0..2 {
        begun.recv().unwrap();
    }
    open.set();
    for _ in 0..2 {
        ended.recv().unwrap();
    }
}

#[test]
fn workers_that_wait_for_a_lock_of_a_suspended_future_are_replaced() {
    within_deadline(|| {
        let waits: [fn(&Arc<Mutex<()>>); 2] = [
            |lock| drop(lock.lock_blocking()),
            |lock| drop(lock.lock_arc_blocking()),
        ];
        for wait in waits {
            let hold = |lock: Arc<Mutex<()>>, gate: Gate| -> Held {
                Box::pin(async move {
                    let _held = lock.lock().await;
                    gate.pass().await;
                })
            };
            two_wait(Mutex::new(()), hold, wait);
        }
    });
}

#[test]
fn workers_that_wait_to_read_or_write_are_replaced() {
    within_deadline(|| {
        let waits: [fn(&Arc<RwLock<()>>); 2] = [
            |lock| drop(lock.read_blocking()),
            |lock| drop(lock.write_blocking()),
        ];
        for wait in waits {
            let hold = |lock: Arc<RwLock<()>>, gate: Gate| -> Held {
                Box::pin(async move {
                    let _held = lock.write().await;
                    gate.pass().await;
                })
            };
            two_wait(RwLock::new(()), hold, wait);
        }
    });
}

#[test]
fn workers_that_wait_for_a_permit_or_at_a_barrier_are_replaced() {
    within_deadline(|| {
        let waits: [fn(&Arc<Semaphore>); 2] = [
            |limit| drop(limit.acquire_blocking()),
            |limit| drop(limit.acquire_arc_blocking()),
        ];
        for wait in waits {
            let hold = |limit: Arc<Semaphore>, gate: Gate| -> Held {
                Box::pin(async move {
                    let _held = limit.acquire().await;
                    gate.pass().await;
                })
            };
            two_wait(Semaphore::new(1), hold, wait);
        }
        let hold = |all: Arc<Barrier>, gate: Gate| -> Held {
            Box::pin(async move {
                gate.pass().await;
                all.wait().await;
            })
        };
        two_wait(Barrier::new(3), hold, |all| _ = all.wait_blocking());
    });
}

#[test]
fn workers_that_wait_for_a_value_are_replaced() {
    within_deadline(|| {
        let waits: [fn(&Arc<OnceCell<u32>>); 3] = [
            |cell| assert_eq!(*cell.wait_blocking(), 1),
            |cell| assert_eq!(*cell.get_or_init_blocking(|| 2), 1),
            |cell| assert_eq!(cell.set_blocking(2), Err(2)),
        ];
        for wait in waits {
            let hold = |cell: Arc<OnceCell<u32>>, gate: Gate| -> Held {
                Box::pin(async move {
                    let make = || async {
                        gate.pass().await;
                        1
                    };
                    cell.get_or_init(make).await;
                })
            };
            two_wait(OnceCell::new(), hold, wait);
        }
    });
}

#[test]
fn workers_that_wait_for_a_channel_are_replaced() {
    type Ends = (channel::Sender<u32>, channel::Receiver<u32>);
    within_deadline(|| {
        let hold = |ends: Arc<Ends>, gate: Gate| -> Held {
            Box::pin(async move {
                gate.pass().await;
                for _ in 0..3 {
                    ends.1.recv().await.unwrap();
                }
            })
        };
        let full = channel::bounded(1);
        full.0.try_send(0).unwrap();
        two_wait(full, hold, |ends| ends.0.send_blocking(1).unwrap());
        let hold = |ends: Arc<Ends>, gate: Gate| -> Held {
            Box::pin(async move {
                gate.pass().await;
                for n in 0..2 {
                    ends.0.send(n).await.unwrap();
                }
            })
        };
        two_wait(channel::unbounded(), hold, |ends| {
            ends.1.recv_blocking().unwrap();
        });
    });
}

/// Calls `wait` in a task of the loop that runs here; it must panic with what to write.
async fn is_refused(instead: &str, wait: impl FnOnce() + 'static) {
    let error = trefoil::spawn(async { wait() }).await.unwrap_err();
    let TaskError::Panicked(panic) = error else {
        panic!("{error}");
    };
    let message = panic.message();
    assert!(
        message.contains(instead) && message.contains("spawn_blocking"),
        "{message}"
    );
    let place = panic.location().unwrap();
    assert!(place.file().ends_with("refused.rs"), "{place}");
}

#[test]
fn a_loop_refuses_to_wait_for_locks() {
    within_deadline(|| {
        trefoil::run(async {
            let lock = Arc::new(Mutex::new(()));
            let held = lock.lock().await;
            let theirs = lock.clone();
            is_refused("`Mutex::lock(..).await`", move || {
                drop(theirs.lock_blocking());
            })
            .await;
            let theirs = lock.clone();
            is_refused("Mutex::lock_arc", move || drop(theirs.lock_arc_blocking())).await;
            drop(held);
            let changed = (lock, Condvar::new());
            is_refused("Condvar::wait", move || {
                drop(changed.1.wait_blocking(changed.0.lock_blocking()));
            })
            .await;

            let lock = Arc::new(RwLock::new(()));
            let held = lock.read().await;
            let theirs = lock.clone();
            is_refused("RwLock::write", move || drop(theirs.write_blocking())).await;
            drop(held);
            let _held = lock.write().await;
            let theirs = lock.clone();
            is_refused("RwLock::read", move || drop(theirs.read_blocking())).await;

            let lock = Arc::new(ReentrantMutex::new(()));
            let (theirs, (holds, held)) = (lock.clone(), mpsc::channel());
            let (lets_go, let_go) = mpsc::channel::<()>();
            let other = thread::spawn(move || {
                let _held = theirs.lock_blocking();
                holds.send(()).unwrap();
                let _ = let_go.recv();
            });
            held.recv().unwrap();
            is_refused("ReentrantMutex::lock", move || drop(lock.lock_blocking())).await;
            drop(lets_go);
            other.join().unwrap();
        });
    });
}

#[test]
fn a_loop_refuses_to_wait_for_events_permits_and_values() {
    within_deadline(|| {
        trefoil::run(async {
            let event = Arc::new(Event::new());
            let theirs = event.clone();
            is_refused("Event::wait", move || theirs.wait_blocking()).await;
            let theirs = event.clone();
            is_refused("Event::wait", move || {
                theirs.wait_timeout_blocking(Duration::from_secs(1));
            })
            .await;
            assert!(
                !event.wait_timeout_blocking(Duration::ZERO),
                "this is no wait"
            );

            let limit = Arc::new(Semaphore::new(0));
            let theirs = limit.clone();
            is_refused("Semaphore::acquire", move || {
                drop(theirs.acquire_blocking());
            })
            .await;
            is_refused("Semaphore::acquire_arc", move || {
                drop(limit.acquire_arc_blocking());
            })
            .await;

            let all = Arc::new(Barrier::new(2));
            let theirs = all.clone();
            is_refused("Barrier::wait", move || _ = theirs.wait_blocking()).await;
            assert!(all.wait_blocking().is_leader(), "the one above has come");

            let cell = Arc::new(OnceCell::<u32>::new());
            let theirs = cell.clone();
            is_refused("OnceCell::wait", move || _ = theirs.wait_blocking()).await;
            let theirs = cell.clone();
            let makes = trefoil::spawn(async move {
                theirs.get_or_init(std::future::pending).await;
            });
            trefoil::yield_now().await;
            let theirs = cell.clone();
            is_refused("OnceCell::get_or_init", move || {
                theirs.get_or_init_blocking(|| 1);
            })
            .await;
            let theirs = cell.clone();
            is_refused("OnceCell::get_or_try_init", move || {
                _ = theirs.get_or_try_init_blocking(|| Ok::<_, ()>(1));
            })
            .await;
            let theirs = cell.clone();
            is_refused("OnceCell::set", move || _ = theirs.set_blocking(1)).await;
            makes.cancel();
        });
    });
}

#[test]
fn a_loop_refuses_to_wait_for_channels() {
    within_deadline(|| {
        trefoil::run(async {
            let (sender, receiver) = channel::bounded(1);
            let theirs = receiver.clone();
            is_refused("Receiver::recv", move || _ = theirs.recv_blocking()).await;
            sender.try_send(1).unwrap();
            is_refused("Sender::send", move || _ = sender.send_blocking(2)).await;
            assert_eq!(receiver.recv().await, Ok(1));
            receiver.recv().await.unwrap_err();

            let (sender, mut receiver) = broadcast::channel::<u32>(1);
            let _other = sender.subscribe();
            is_refused("Receiver::recv", move || _ = receiver.recv_blocking()).await;
            is_refused("Sender::closed", move || sender.closed_blocking()).await;

            let (sender, receiver) = watch::channel(1);
            let (mut one, mut two) = (receiver.clone(), receiver.clone());
            is_refused("Receiver::changed", move || _ = one.changed_blocking()).await;
            is_refused("Receiver::wait_for", move || {
                _ = two.wait_for_blocking(|n| *n == 2);
            })
            .await;
            is_refused("Sender::closed", move || sender.closed_blocking()).await;
            drop(receiver);
        });
    });
}

/// Only a wait is refused.
#[test]
fn a_loop_makes_calls_that_need_not_wait() {
    within_deadline(|| {
        trefoil::run(async {
            let (event, lock) = (Event::new(), Mutex::new(1));
            event.set();
            event.wait_blocking();
            assert!(event.wait_timeout_blocking(Duration::MAX));
            *lock.lock_blocking() += 1;
            drop(Arc::new(Mutex::new(())).lock_arc_blocking());
            let changed = Condvar::new();
            assert_eq!(
                *changed.wait_while_blocking(lock.lock_blocking(), |n| *n == 1),
                2
            );
            drop(ReentrantMutex::new(()).lock_blocking());
            let lock = RwLock::new(());
            drop((lock.read_blocking(), lock.read_blocking()));
            drop(lock.write_blocking());
            let limit = Arc::new(Semaphore::new(2));
            drop((limit.acquire_blocking(), limit.acquire_arc_blocking()));
            assert!(Barrier::new(1).wait_blocking().is_leader());
            assert_eq!(*OnceCell::new().get_or_init_blocking(|| 1), 1);
            assert_eq!(*OnceCell::from(1).wait_blocking(), 1);
            assert_eq!(OnceCell::new().set_blocking(1), Ok(&1));
            let (sender, receiver) = channel::bounded(1);
            sender.send_blocking(1).unwrap();
            assert_eq!(receiver.recv_blocking(), Ok(1));
            drop(sender);
            assert!(receiver.recv_blocking().is_err());
            let (sender, mut receiver) = watch::channel(1);
            sender.send(2).unwrap();
            receiver.changed_blocking().unwrap();
            assert_eq!(*receiver.wait_for_blocking(|n| *n == 2).unwrap(), 2);
            drop(receiver);
            sender.closed_blocking();
        });
    });
}

/// What a guard or a future of one thread may do on another.
#[test]
fn guards_and_futures_can_be_sent() {
    fn sendable<T: Send>(_: &T) {}
    let lock = Arc::new(Mutex::new(1));
    sendable(&lock.lock());
    sendable(&lock.lock_arc());
    sendable(&lock.lock_blocking());
    sendable(&lock.lock_arc_blocking());
    let rw = RwLock::new(1);
    sendable(&(rw.read(), rw.write()));
    sendable(&rw.read_blocking());
    sendable(&rw.write_blocking());
    let limit = Arc::new(Semaphore::new(2));
    sendable(&(limit.acquire(), limit.acquire_arc()));
    sendable(&(limit.acquire_blocking(), limit.acquire_arc_blocking()));
    sendable(&Barrier::new(1).wait());
    let cell = OnceCell::new();
    sendable(&(cell.wait(), cell.set(1), cell.get_or_init(async || 1)));
    let (sender, receiver) = channel::bounded(1);
    sendable(&(sender.send(1), receiver.recv(), sender.closed()));
}

/// Not only of values whose type is known.
#[test]
fn a_lock_of_a_trait_object() {
    let lock: Arc<Mutex<dyn Fn() -> i32 + Send>> = Arc::new(Mutex::new(|| 3));
    assert_eq!((lock.lock_blocking())(), 3);
    assert_eq!((lock.lock_arc_blocking())(), 3);
    let lock: Arc<RwLock<[i32]>> = Arc::new(RwLock::new([1, 2]));
    assert_eq!(lock.read_blocking().len(), 2);
}

/// An owned guard gives back what it has, once. (The same of locks: `tests/interpreted.rs`.)
#[test]
fn an_owned_permit_is_given_back_or_forgotten() {
    within_deadline(|| {
        let limit = Arc::new(Semaphore::new(2));
        let (one, two) = (
            limit.acquire_arc_blocking(),
            limit.try_acquire_arc().unwrap(),
        );
        assert!(limit.try_acquire_arc().is_none());
        drop(one);
        two.forget();
        assert_eq!(
            (limit.available_permits(), Arc::strong_count(&limit)),
            (1, 1)
        );
    });
}
