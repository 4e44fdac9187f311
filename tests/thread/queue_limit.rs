//! A limit to what is queued: what waits, what is refused, and what gives a place back.
//!
//! A thread that waits by this crate's means has a stall monitor look at every pool of its process,
//! which may begin a queued task. So tests that count exactly have a process of their own, in which
//! nothing waits.
#![allow(clippy::disallowed_methods, clippy::disallowed_types)] // a program, not the crate

use crate::deadline;

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc;
use std::task::{Context, Waker};
use std::thread;

use deadline::{alone, asleep, eventually, this_thread, threads_named, within_deadline};
use trefoil::sync::Event;
use trefoil::{Shutdown, Task, TaskError, ThreadPool, run, try_join_all};

fn pool(tasks: usize) -> ThreadPool {
    let builder = ThreadPool::builder().threads(1).name("limited");
    builder.queue_limit(tasks).build().unwrap()
}

/// Keeps the one thread of the pool until something is sent.
fn hold(pool: &ThreadPool) -> mpsc::Sender<()> {
    let (go, gate) = mpsc::channel();
    let (begin, begun) = mpsc::channel();
    let holder = move || {
        begin.send(()).unwrap();
        let _ = gate.recv();
    };
    pool.spawn(holder).detach();
    begun.recv().unwrap();
    go
}

/// The same, by a computation, which no stall monitor takes for stuck, until the flag is set.
fn occupy(pool: &ThreadPool) -> Arc<AtomicBool> {
    let over = Arc::new(AtomicBool::new(false));
    let (theirs, begun) = (over.clone(), Arc::new(AtomicBool::new(false)));
    let begins = begun.clone();
    let spin = move || {
        begins.store(true, Ordering::SeqCst);
        while !theirs.load(Ordering::SeqCst) {
            thread::yield_now();
        }
    };
    pool.spawn(spin).detach();
    eventually("it begins", || begun.load(Ordering::SeqCst));
    over
}

#[test]
#[cfg_attr(miri, ignore = "starts a process")]
fn a_full_queue_gives_the_closure_back_and_a_cancelled_task_its_place() {
    let name = "queue_limit::a_full_queue_gives_the_closure_back_and_a_cancelled_task_its_place";
    alone(name, "", || {
        let pool = pool(2);
        let go = hold(&pool);
        let word = String::from("kept");
        let first = pool.try_spawn(|| 1).unwrap();
        let second = pool.spawn_async(async { 2 });
        let full = pool.try_spawn(move || word).unwrap_err();
        assert_eq!(
            format!("{full:?}: {full}"),
            "QueueFull(..): the executor's queue is full"
        );
        let third = full.into_inner();
        // A task that is cancelled before it begins gives its place back at once.
        assert!(first.cancel());
        let third = pool.try_spawn(third).unwrap();
        let error = TaskError::from(pool.try_spawn(|| 4).unwrap_err());
        assert!(matches!(error, TaskError::WouldBlock));
        go.send(()).unwrap();
        assert_eq!(third.join().unwrap(), "kept");
        assert_eq!(second.join().unwrap(), 2);
        assert!(matches!(first.join(), Err(TaskError::Cancelled)));
        // All places are free again.
        let go = hold(&pool);
        assert!((0..2).all(|_| pool.try_spawn(|| ()).is_ok()));
        assert!(pool.try_spawn(|| ()).is_err());
        drop(go);
    });
}

#[test]
fn spawn_waits_while_the_queue_is_full() {
    within_deadline(|| {
        let pool = pool(3);
        let over = occupy(&pool);
        let counts = Arc::new((AtomicUsize::new(0), AtomicUsize::new(0)));
        let (tell, told) = mpsc::channel();
        let (theirs, spawner) = (counts.clone(), pool.clone());
        let producer = thread::spawn(move || {
            tell.send(this_thread()).unwrap();
            let tasks: Vec<Task<usize>> = (0..100)
                .map(|n| {
                    let counts = theirs.clone();
                    let task = spawner.spawn(move || {
                        counts.1.fetch_add(1, Ordering::SeqCst);
                        n
                    });
                    theirs.0.fetch_add(1, Ordering::SeqCst);
                    task
                })
                .collect();
            try_join_all(tasks).join().unwrap()
        });
        let producer_thread = told.recv().unwrap();
        eventually("it fills the queue", || {
            counts.0.load(Ordering::SeqCst) >= 3
        });
        eventually("it waits", || asleep(producer_thread));
        let (spawned, begun) = (&counts.0, &counts.1);
        // A busy machine may let a further thread begin one; two that begin may not have counted.
        assert!(spawned.load(Ordering::SeqCst) <= 3 + 2 + begun.load(Ordering::SeqCst));
        over.store(true, Ordering::SeqCst);
        let results = producer.join().unwrap();
        assert_eq!(results, (0..100).collect::<Vec<_>>());
    });
}

#[test]
#[cfg_attr(miri, ignore = "starts a process")]
fn work_of_the_pool_spawns_without_a_limit() {
    alone(
        "queue_limit::work_of_the_pool_spawns_without_a_limit",
        "",
        || {
            let pool = pool(1);
            let (inside, (tell, told)) = (pool.clone(), mpsc::channel());
            let parent = move || {
                let children: Vec<_> = (0..10).map(|n| inside.spawn(move || n)).collect();
                // It has not waited, so no thread has taken its place. The children have no places.
                tell.send((threads_named("limited-"), inside.try_spawn(|| 1).is_ok()))
                    .unwrap();
                tell.send((children.len(), inside.try_spawn(|| 1).is_ok()))
                    .unwrap();
                children
            };
            let parent = pool.spawn(parent);
            assert_eq!(told.recv().unwrap(), (1, true));
            assert_eq!(told.recv().unwrap(), (10, false));
            let sum: i32 = try_join_all(parent.join().unwrap())
                .join()
                .unwrap()
                .into_iter()
                .sum();
            assert_eq!(sum, 45);
        },
    );
}

#[test]
#[cfg_attr(miri, ignore = "starts a process")]
fn a_loop_awaits_a_place_and_its_thread_does_not_wait() {
    alone(
        "queue_limit::a_loop_awaits_a_place_and_its_thread_does_not_wait",
        "",
        || {
            let pool = pool(1);
            let go = hold(&pool);
            run(async {
                let queued = pool.spawn(|| 1); // there is a place: nothing to wait for
                let refused = pool.spawn(|| 2).await;
                assert!(matches!(refused, Err(TaskError::WouldBlock)), "{refused:?}");
                let refused = pool.spawn_async(async { 2 }).await;
                assert!(matches!(refused, Err(TaskError::WouldBlock)), "{refused:?}");
                {
                    let mut place = pin!(pool.reserve());
                    let mut context = Context::from_waker(Waker::noop());
                    assert!(place.as_mut().poll(&mut context).is_pending());
                    // Dropped while it waits: it takes no place with it.
                }
                go.send(()).unwrap();
                let place = pool.reserve().await;
                assert_eq!(place.spawn(|| 3).await.unwrap(), 3);
                assert_eq!(queued.await.unwrap(), 1);
                drop(pool.reserve().await); // unused
                assert_eq!(
                    pool.reserve().await.spawn_async(async { 4 }).await.unwrap(),
                    4
                );
            });
        },
    );
}

#[test]
fn a_spawn_that_waits_ends_in_closed_when_the_pool_is_shut_down() {
    within_deadline(|| {
        let pool = pool(1);
        let over = occupy(&pool);
        let queued = pool.spawn(|| 1);
        let (tell, told) = mpsc::channel();
        let spawner = pool.clone();
        let waiter = thread::spawn(move || {
            tell.send(this_thread()).unwrap();
            (spawner.spawn(|| 2).join(), spawner.spawn(|| 3).join())
        });
        let waiting = told.recv().unwrap();
        eventually("it waits", || asleep(waiting));
        let ends = pool.clone();
        let ends = thread::spawn(move || ends.shutdown(Shutdown::Wait));
        // (The pool's end waits for the task that occupies it.)
        let (first, second) = waiter.join().unwrap();
        // On a busy machine a further thread may have begun them before.
        assert!(matches!(first, Err(TaskError::Closed) | Ok(2)), "{first:?}");
        assert!(
            matches!(second, Err(TaskError::Closed) | Ok(3)),
            "{second:?}"
        );
        over.store(true, Ordering::SeqCst);
        ends.join().unwrap();
        assert_eq!(queued.join().unwrap(), 1);
        for _ in 0..3 {
            pool.shutdown(Shutdown::Wait);
            let late = pool.try_spawn(|| 4).unwrap().join();
            assert!(matches!(late, Err(TaskError::Closed)), "{late:?}");
        }
    });
}

#[test]
fn a_future_that_has_been_polled_is_not_queued() {
    within_deadline(|| {
        let pool = pool(1);
        let event = Arc::new(Event::new());
        let futures: Vec<_> = (0..5)
            .map(|n| {
                let event = event.clone();
                // Each waits for a place until the one before has been polled.
                pool.spawn_async(async move {
                    event.wait().await;
                    n
                })
            })
            .collect();
        event.set();
        assert_eq!(try_join_all(futures).join().unwrap(), [0, 1, 2, 3, 4]);
    });
}
