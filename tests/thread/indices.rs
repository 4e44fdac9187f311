//! Which thread of a pool has which index.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Barrier, mpsc};

use crate::deadline::{eventually, sample, within_deadline};
use trefoil::thread::{current, current_index};
use trefoil::{Task, ThreadPool};

fn named(name: &str, threads: usize) -> ThreadPool {
    let builder = ThreadPool::builder().name(name).threads(threads);
    builder.build().unwrap()
}

/// The index of the current thread, which must be below `threads`.
fn mine(threads: usize) -> usize {
    let here = current().unwrap();
    assert_eq!(
        (here.num_threads(), current_index()),
        (threads, Some(here.index()))
    );
    assert!(here.index() < threads);
    here.index()
}

/// Starts as many tasks as the pool is wide, which wait in a way that the pool sees until the
/// sender is dropped. Also returns their indices.
fn waiters(
    pool: &ThreadPool,
    waiting: usize,
) -> (mpsc::Sender<()>, BTreeSet<usize>, Vec<Task<usize>>) {
    let (go, gate) = mpsc::channel::<()>();
    let gate = Arc::new(std::sync::Mutex::new(gate));
    let (tell, told) = mpsc::channel();
    let threads = pool.num_threads();
    let wait = |_| {
        let (pool, gate, tell) = (pool.clone(), Arc::clone(&gate), tell.clone());
        let inner = pool.clone();
        pool.spawn(move || {
            tell.send(mine(threads)).unwrap();
            inner.blocking(|| _ = gate.lock().unwrap().recv());
            mine(threads)
        })
    };
    let tasks = (0..waiting).map(wait).collect();
    let indices = told.iter().take(waiting).collect();
    eventually("they wait", || {
        format!("{pool:?}").contains(&format!("blocked: {waiting}"))
    });
    (go, indices, tasks)
}

/// The indices of as many tasks as the pool is wide, which run at once.
fn at_once(pool: &ThreadPool) -> Vec<usize> {
    let threads = pool.num_threads();
    let all = Arc::new(Barrier::new(threads));
    let meet = |_| {
        let all = Arc::clone(&all);
        pool.spawn(move || {
            all.wait();
            let index = mine(threads);
            all.wait();
            assert_eq!(index, mine(threads), "a task has one index");
            index
        })
    };
    let tasks: Vec<Task<usize>> = (0..threads).map(meet).collect();
    eventually("they have met", || tasks.iter().all(Task::is_finished));
    let mut indices: Vec<usize> = tasks.into_iter().map(|task| task.join().unwrap()).collect();
    indices.sort_unstable();
    indices
}

#[test]
fn stand_ins_have_the_indices_of_those_that_wait() {
    within_deadline(|| {
        for threads in 1..=4 {
            let pool = named("stands-in", threads);
            let everyone: Vec<usize> = (0..threads).collect();
            for waiting in (0..=threads + 3).cycle().take(sample(40)) {
                let (go, before, tasks) = waiters(&pool, waiting);
                assert_eq!(at_once(&pool), everyone, "{waiting} wait");
                drop(go);
                let after: BTreeSet<usize> =
                    tasks.into_iter().map(|task| task.join().unwrap()).collect();
                assert_eq!(before, after, "a task keeps its index across a wait");
                // Threads that come back from a wait sleep, or take a free index, before they run
                // something else.
                assert_eq!(at_once(&pool), everyone, "{waiting} have waited");
            }
        }
    });
}

/// When there is no free index: the waiter is back, and the task that was begun in its place has
/// not ended.
#[test]
fn a_waiter_that_is_back_shares_its_index_until_its_stand_in_has_ended() {
    within_deadline(|| {
        let pool = named("shares", 1);
        let (go, indices, mut tasks) = waiters(&pool, 1);
        let (began, begun) = mpsc::channel();
        let (end, gate) = mpsc::channel::<()>();
        let stand_in = pool.spawn(move || {
            began.send(mine(1)).unwrap();
            gate.recv().unwrap();
            mine(1)
        });
        assert_eq!(indices, BTreeSet::from([begun.recv().unwrap()]));
        drop(go);
        assert_eq!(tasks.remove(0).join().unwrap(), 0);
        end.send(()).unwrap();
        assert_eq!(stand_in.join().unwrap(), 0);
        assert_eq!(at_once(&pool), [0]);
    });
}

/// Starts a task that ends when the sender is dropped, and waits until it has begun. Also returns
/// its index.
fn held(pool: &ThreadPool) -> (mpsc::Sender<()>, usize, Task<()>) {
    let (go, gate) = mpsc::channel::<()>();
    let (tell, told) = mpsc::channel();
    let threads = pool.num_threads();
    let task = pool.spawn(move || {
        tell.send(mine(threads)).unwrap();
        let _gone = gate.recv();
    });
    (go, told.recv().unwrap(), task)
}

#[test]
fn a_thread_that_shares_its_index_takes_a_free_one_for_its_next_task() {
    within_deadline(|| {
        for _ in 0..sample(80) {
            let pool = named("next", 2);
            let (go, gate) = mpsc::channel::<()>();
            let (end, ended) = mpsc::channel::<()>();
            let (tell, told) = mpsc::channel();
            let inner = pool.clone();
            let waiter = pool.spawn(move || {
                tell.send(mine(2)).unwrap();
                inner.blocking(|| _ = gate.recv());
                tell.send(mine(2)).unwrap();
                let _gone = ended.recv();
            });
            let shared = told.recv().unwrap();
            eventually("it waits", || format!("{pool:?}").contains("blocked: 1"));
            let (first, second) = (held(&pool), held(&pool));
            assert_ne!(first.1, second.1);
            let (same, other) = if first.1 == shared {
                (first, second)
            } else {
                (second, first)
            };
            drop(go);
            assert_eq!(told.recv().unwrap(), shared);
            drop(other.0);
            other.2.join().unwrap();
            // Its thread, which has the index that is to be free, may still look for work.
            eventually("it rests", || {
                format!("{pool:?}").contains("running: 2, searching: 0")
            });
            // The waiter's thread runs this, or another thread does, beside the one that runs.
            let (tell, told) = mpsc::channel();
            pool.spawn(move || tell.send(mine(2)).unwrap()).detach();
            drop(end);
            waiter.join().unwrap();
            assert_eq!(told.recv().unwrap(), other.1);
            drop(same.0);
            same.2.join().unwrap();
        }
    });
}

#[test]
fn the_thread_that_acts_for_a_place_has_its_index() {
    within_deadline(|| {
        let pool = named("acts", 3);
        for waiting in 0..=3 {
            let (go, _, tasks) = waiters(&pool, waiting);
            for _ in 0..20 {
                let told = pool.broadcast(|index| (index, mine(3)));
                assert_eq!(told, [(0, 0), (1, 1), (2, 2)]);
            }
            drop(go);
            tasks.into_iter().for_each(|task| _ = task.join().unwrap());
        }
    });
}

#[test]
fn an_index_is_below_the_width_while_that_changes() {
    within_deadline(|| {
        let pool = named("narrows", 4);
        let stop = AtomicBool::new(false);
        std::thread::scope(|s| {
            s.spawn(|| {
                for width in [1, 4, 2, 6, 3].into_iter().cycle() {
                    pool.resize(width);
                    if stop.load(Ordering::Relaxed) {
                        break;
                    }
                }
            });
            for _ in 0..sample(800) {
                let inner = &pool;
                pool.map(0..20, |i| {
                    let check = || current().is_none_or(|here| here.index() < here.num_threads());
                    assert!(check());
                    if i % 5 == 0 {
                        inner.install(|| assert!(check()));
                        inner.spawn(|| ()).join().unwrap();
                    }
                    assert!(check());
                });
            }
            stop.store(true, Ordering::Relaxed);
        });
        pool.resize(3);
        // Threads whose places were removed take other indices when they run something else.
        eventually("each has its own", || at_once(&pool) == [0, 1, 2]);
    });
}

/// Hooks are told an index of the pool's, the same at a thread's start and at its end.
#[test]
fn hooks_of_stand_ins_are_told_indices_of_the_pools() {
    within_deadline(|| {
        let (tell, told) = mpsc::channel();
        let exits = tell.clone();
        let pool = ThreadPool::builder()
            .threads(2)
            .on_start(move |index| tell.send((index, mine(2), 1)).unwrap())
            .on_exit(move |index| exits.send((index, mine(2), -1)).unwrap())
            .build()
            .unwrap();
        for waiting in [2, 5] {
            let (go, _, tasks) = waiters(&pool, waiting);
            assert_eq!(at_once(&pool), [0, 1]);
            drop(go);
            tasks.into_iter().for_each(|task| _ = task.join().unwrap());
        }
        drop(pool);
        let told: Vec<(usize, usize, i32)> = told.iter().collect();
        assert!(told.len() >= 8, "spares have come");
        for index in 0..2 {
            let mine = told.iter().filter(|told| told.0 == index);
            assert_eq!(mine.map(|told| told.2).sum::<i32>(), 0);
        }
        assert!(told.iter().all(|told| told.0 == told.1 && told.0 < 2));
    });
}
