//! Calls that wait and were replaced, and what may happen to their pool meanwhile.
#![allow(clippy::disallowed_methods)] // a program, not the crate

use crate::calls;
use crate::deadline;

use std::hint::black_box;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex, mpsc};
use std::time::{Duration, Instant};

use calls::{call, comes_to_rest, pool};
use deadline::{eventually, sample, within_deadline};
use trefoil::{Shutdown, Task, TaskError, ThreadPool, spawn_blocking};

/// Starts so many calls that wait until the sender is dropped, and waits until they were replaced.
fn waiters(pool: &ThreadPool, calls: usize) -> (mpsc::Sender<()>, Vec<Task<()>>) {
    let (tell, told) = mpsc::channel();
    let told = Arc::new(Mutex::new(told));
    let began = Arc::new(AtomicUsize::new(0));
    let wait = |_| {
        let (began, told) = (Arc::clone(&began), Arc::clone(&told));
        spawn_blocking(move || {
            began.fetch_add(1, SeqCst);
            let _closed = told.lock().unwrap().recv();
        })
    };
    let tasks = pool.install(|| (0..calls).map(wait).collect());
    eventually("all have begun", || began.load(SeqCst) == calls);
    // They are replaced only while work is queued behind them.
    let lent = format!("blocked: {calls} }}");
    eventually("their places are lent", || {
        let busy = |_| pool.spawn(|| compute(10));
        join_detached((0..4 * pool.num_threads()).map(busy).collect());
        format!("{pool:?}").contains(&lent)
    });
    (tell, tasks)
}

fn compute(millis: u64) {
    let begin = Instant::now();
    while begin.elapsed() < Duration::from_millis(millis) {
        black_box(0);
    }
}

/// Waits for these tasks without running any of them.
fn join_detached(tasks: Vec<Task<()>>) {
    for mut task in tasks {
        task.join_timeout(Duration::from_secs(60)).unwrap();
    }
}

/// Returns how many of `calls`, which compute for so many `millis` each, run at once.
fn most_at_once(pool: &ThreadPool, calls: usize, millis: u64) -> usize {
    let now = Arc::new(AtomicUsize::new(0));
    let most = Arc::new(AtomicUsize::new(0));
    let begin = |_| {
        let (now, most) = (Arc::clone(&now), Arc::clone(&most));
        spawn_blocking(move || {
            most.fetch_max(now.fetch_add(1, SeqCst) + 1, SeqCst);
            compute(millis);
            now.fetch_sub(1, SeqCst);
        })
    };
    join_detached(pool.install(|| (0..calls).map(begin).collect()));
    most.load(SeqCst)
}

/// Calls that were seen to wait long ago add no trust for calls that begin now.
#[test]
fn waiting_calls_add_no_trust_for_computing_ones() {
    within_deadline(|| {
        let pool = pool("vouch", 2);
        let (tell, tasks) = waiters(&pool, 60);
        let most = most_at_once(&pool, 80, 25);
        // If they did, all calls would run at once. (When the machine itself is stopped for a
        // moment, some calls that compute look as if they waited.)
        assert!(most <= 20, "{most} at once");
        drop(tell);
        join_detached(tasks);
        comes_to_rest(&pool);
    });
}

/// A pool is not stuck if all other calls compute, however long they take.
#[test]
fn a_call_that_waits_for_ever_makes_no_room_for_computing_ones() {
    within_deadline(|| {
        let pool = pool("room", 2);
        let (tell, tasks) = waiters(&pool, 1);
        let most = most_at_once(&pool, 8, 300);
        assert!(most <= 3, "{most} at once");
        drop(tell);
        join_detached(tasks);
        comes_to_rest(&pool);
    });
}

#[test]
fn from_inside_a_lent_call_the_pool_is_shut_down() {
    within_deadline(|| {
        for how in [Shutdown::Wait, Shutdown::CancelPending] {
            let pool = Arc::new(pool("inside", 2));
            let (tell, tasks) = waiters(&pool, 4);
            let (go, gate) = mpsc::channel::<()>();
            let (said, heard) = mpsc::channel();
            let own = Arc::clone(&pool);
            let ends = call(&pool, move || {
                gate.recv().unwrap();
                own.shutdown(how);
                said.send(own.spawn(|| ()).join()).unwrap();
                drop(own); // perhaps the last handle
            });
            // This call is replaced, too.
            join_detached((0..4).map(|_| pool.spawn(|| ())).collect());
            go.send(()).unwrap();
            eventually("the pool takes nothing more", || {
                matches!(pool.spawn(|| ()).join(), Err(TaskError::Closed))
            });
            assert!(heard.try_recv().is_err(), "there are calls in progress");
            drop(tell);
            assert!(matches!(heard.recv().unwrap(), Err(TaskError::Closed)));
            join_detached(tasks);
            join_detached(vec![ends]);
            drop(pool);
        }
    });
}

#[test]
fn a_pool_is_dropped_inside_its_own_lent_call() {
    within_deadline(|| {
        let pool = pool("dropped", 1);
        let (tell, told) = mpsc::channel();
        let mut ends = call(&pool, move || {
            let pool: ThreadPool = told.recv().unwrap();
            drop(pool);
            7
        });
        join_detached(vec![pool.spawn(|| ())]);
        tell.send(pool).unwrap();
        assert_eq!(ends.join_timeout(Duration::from_secs(60)).unwrap(), 7);
        eventually("no thread is left", || {
            deadline::threads_named("dropped") == 0
        });
    });
}

#[test]
fn places_that_are_lent_have_their_turn_in_broadcasts() {
    within_deadline(|| {
        let pool = pool("turns", 3);
        let (tell, tasks) = waiters(&pool, 5);
        for _ in 0..50 {
            assert_eq!(pool.broadcast(|index| index), [0, 1, 2]);
        }
        let pool = Arc::new(pool);
        let (go, gate) = mpsc::channel::<()>();
        let own = Arc::clone(&pool);
        let mut inside = call(&pool, move || {
            gate.recv().unwrap();
            (0..50).all(|_| own.broadcast(|index| index) == [0, 1, 2])
        });
        join_detached((0..3).map(|_| pool.spawn(|| ())).collect());
        go.send(()).unwrap();
        assert!(inside.join_timeout(Duration::from_secs(60)).unwrap());
        drop(tell);
        join_detached(tasks);
        comes_to_rest(&pool);
        assert_eq!(pool.broadcast(|index| index), [0, 1, 2]);
    });
}

#[test]
fn a_pool_changes_its_width_while_places_are_lent() {
    within_deadline(|| {
        let pool = pool("width", 4);
        for round in 0..4 {
            let (tell, tasks) = waiters(&pool, 6);
            for width in [1, 6, 2, 8, 1] {
                pool.resize(width);
                join_detached((0..20).map(|_| pool.spawn(|| ())).collect());
                join_detached((0..20).map(|_| call(&pool, || ())).collect());
            }
            if round % 2 == 0 {
                pool.resize(4);
            }
            drop(tell);
            join_detached(tasks);
            pool.resize(4);
            comes_to_rest(&pool);
            assert_eq!(pool.broadcast(|index| index), [0, 1, 2, 3]);
        }
    });
}

/// Each call joins, maps, opens scopes and installs after it has waited.
#[test]
fn regions_inside_lent_calls() {
    within_deadline(|| {
        let pool = Arc::new(pool("regions", 2));
        let other = Arc::new(self::pool("regions-other", 2));
        let calls: Vec<Task<u64>> = (0..40_u64)
            .map(|n| {
                let (own, other) = (Arc::clone(&pool), Arc::clone(&other));
                call(&pool, move || {
                    std::thread::sleep(Duration::from_millis(n % 4 * 8));
                    let (a, b) = trefoil::join(
                        || own.map(0..100, |i: u64| i).iter().sum::<u64>(),
                        || other.install(|| trefoil::join(|| 1, || 2)),
                    );
                    std::thread::sleep(Duration::from_millis(n % 3 * 8));
                    let c = trefoil::scope(|s| s.spawn(|| a + b.0 + b.1).join().unwrap());
                    let d = other
                        .install(|| spawn_blocking(move || c + n))
                        .join()
                        .unwrap();
                    spawn_blocking(move || d).join().unwrap()
                })
            })
            .collect();
        for (n, mut call) in (0..).zip(calls) {
            assert_eq!(
                call.join_timeout(Duration::from_secs(60)).unwrap(),
                4950 + 3 + n
            );
        }
        comes_to_rest(&pool);
        comes_to_rest(&other);
    });
}

/// A worker of one pool runs a call of the other pool, because it waits for that call.
#[test]
fn calls_are_claimed_by_their_waiters() {
    within_deadline(|| {
        let (one, two) = (
            Arc::new(pool("claim-one", 1)),
            Arc::new(pool("claim-two", 1)),
        );
        let (tell, tasks) = waiters(&one, 2);
        let sum: u64 = (0..20_u64)
            .map(|n| {
                let (one, two) = (Arc::clone(&one), Arc::clone(&two));
                two.clone().spawn(move || {
                    let call = one.install(|| {
                        spawn_blocking(move || {
                            std::thread::sleep(Duration::from_millis(n % 2 * 30));
                            n
                        })
                    });
                    let behind = two.spawn(move || n);
                    call.join().unwrap() + behind.join().unwrap()
                })
            })
            .collect::<Vec<_>>()
            .into_iter()
            .map(|mut task| task.join_timeout(Duration::from_secs(60)).unwrap())
            .sum();
        assert_eq!(sum, 2 * 190);
        drop(tell);
        join_detached(tasks);
        comes_to_rest(&one);
        comes_to_rest(&two);
    });
}

#[test]
fn thousands_of_calls_that_sleep_and_some_that_panic() {
    within_deadline(|| {
        let pool = pool("many", 2);
        let sleep = |n: usize| {
            spawn_blocking(move || {
                std::thread::sleep(Duration::from_millis(5 + n as u64 % 40));
                assert!(n % 1000 != 999, "on purpose");
            })
        };
        let calls: Vec<Task<()>> = pool.install(|| (0..sample(8_000)).map(sleep).collect());
        for (n, mut call) in calls.into_iter().enumerate() {
            let result = call.join_timeout(Duration::from_secs(60));
            assert_eq!(result.is_err(), n % 1000 == 999);
        }
        comes_to_rest(&pool);
    });
}
