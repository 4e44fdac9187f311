//! Counts heap allocations, from spawn to result: none per task if its thread has memory of earlier
//! tasks, and at most one otherwise, on every executor; none for a `join` or a `for_each`, and only
//! the vector for a `map`. Also checks that a task which its waiter has run leaves nothing in a
//! queue.
//!
//! It uses a counting allocator, and is a single test, so that no other code allocates meanwhile.
#![allow(clippy::disallowed_methods, clippy::disallowed_types)] // that door is for the crate's own protocols
#![allow(unsafe_code)] // an allocator needs it

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Barrier};

use trefoil::{Completer, Task, ThreadPool};

struct Counting;

static ALLOCATIONS: AtomicU64 = AtomicU64::new(0);
/// Bytes that have not been given back.
static LIVE: AtomicI64 = AtomicI64::new(0);

// SAFETY: all calls are passed on to the system's allocator.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        LIVE.fetch_add(layout.size() as i64, Ordering::Relaxed);
        // SAFETY: as the caller promises.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, ptr: *mut u8, layout: Layout) {
        LIVE.fetch_sub(layout.size() as i64, Ordering::Relaxed);
        // SAFETY: as the caller promises.
        unsafe { System.dealloc(ptr, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

const TASKS: u64 = 10_000;

/// How many allocations `work` makes per call, when it is called `TASKS` times after a warm-up.
/// Queues that grow may add some in all, but not one for each call.
fn per_task(mut work: impl FnMut(u64)) -> f64 {
    let mut round = || {
        let before = ALLOCATIONS.load(Ordering::SeqCst);
        (0..TASKS).for_each(&mut work);
        ALLOCATIONS.load(Ordering::SeqCst) - before
    };
    round();
    round() as f64 / TASKS as f64
}

/// Work that lives on the stacks of waiting threads allocates nothing, except for results that the
/// caller asked for.
fn fork_and_join(pool: &ThreadPool) {
    // A spare that is started may add a few in all.
    let none = 0.0..0.01;
    let add = |n| {
        let (a, b) = trefoil::join(|| n, || 1);
        assert_eq!(a + b, n + 1);
    };
    let inside = pool.install(|| per_task(add));
    assert!(none.contains(&inside), "join, from a worker: {inside}");
    let outside = per_task(|n| assert_eq!(pool.join(|| n, || 1), (n, 1)));
    assert!(none.contains(&outside), "join, from outside: {outside}");

    // Only the vector of results, and nothing for each item.
    const ITEMS: u64 = 100;
    let numbers: Vec<u64> = (0..ITEMS).collect();
    let map = per_task(|n| assert_eq!(pool.map(&numbers, |i| i + n).len() as u64, ITEMS));
    assert!((1.0..1.1).contains(&map), "map of {ITEMS}: {map}");
    let for_each = per_task(|n| pool.for_each(&numbers, |i| assert!(i + n >= n)));
    assert!(none.contains(&for_each), "for_each of {ITEMS}: {for_each}");

    let scoped = || {
        let round = || {
            let before = ALLOCATIONS.load(Ordering::SeqCst);
            trefoil::scope(|s| {
                for n in 0..TASKS {
                    assert_eq!(s.spawn(move || n).join().unwrap(), n);
                }
            });
            (ALLOCATIONS.load(Ordering::SeqCst) - before) as f64 / TASKS as f64
        };
        round();
        round()
    };
    let inside = pool.install(scoped);
    // The task is in memory of earlier tasks; its entry in a queue sometimes is not.
    assert!(
        (0.0..0.2).contains(&inside),
        "scope, from a worker: {inside}"
    );
}

/// One thread spawns and another runs: memory that the second frees comes back to the first.
fn spawned_elsewhere() {
    const BURST: u64 = 2_000;
    const BURSTS: usize = 5;
    let event_loop = trefoil::EventLoop::new().unwrap();
    let handle = event_loop.handle();
    // The spawning thread and the loop take turns.
    let turn = Arc::new(Barrier::new(2));
    let spawner = std::thread::spawn({
        let turn = turn.clone();
        move || {
            for _ in 0..BURSTS {
                turn.wait();
                for n in 0..BURST {
                    handle.spawn(async move { n }).detach();
                }
                turn.wait();
            }
        }
    });
    // The loop's own free lists, those on the shelf, and the room of its queue and table account
    // for the first rounds.
    let mut each = f64::NAN;
    for _ in 0..BURSTS {
        let before = ALLOCATIONS.load(Ordering::SeqCst);
        turn.wait();
        turn.wait();
        while event_loop.poll_once() {}
        each = (ALLOCATIONS.load(Ordering::SeqCst) - before) as f64 / BURST as f64;
    }
    spawner.join().unwrap();
    assert!(
        (0.0..0.1).contains(&each),
        "future, from another thread: {each}"
    );
}

#[test]
fn one_allocation_per_task() {
    // Queues that grow and spares that start add a little. Memory that another thread frees makes
    // one allocation for each task; anything else would make it two.
    let pool = ThreadPool::with_threads(2);
    let queued = per_task(|n| assert_eq!(pool.spawn(move || n + 1).join().unwrap(), n + 1));
    assert!((0.0..1.5).contains(&queued), "closure: {queued}");

    let inside = pool
        .spawn(|| per_task(|n| assert_eq!(trefoil::spawn_blocking(move || n).join().unwrap(), n)));
    let inside = inside.join().unwrap();
    assert!(
        (0.0..0.5).contains(&inside),
        "closure, from a worker: {inside}"
    );

    let polled = pool.install(|| {
        per_task(|n| assert_eq!(pool.spawn_async(async move { n }).join().unwrap(), n))
    });
    assert!(
        (0.0..1.5).contains(&polled),
        "future, from a worker: {polled}"
    );

    let promised = per_task(|n| {
        let (completer, task) = Completer::new();
        completer.complete(Ok(n));
        assert_eq!(task.join().unwrap(), n);
    });
    // The pool's threads may still be freeing memory.
    assert!((0.0..0.01).contains(&promised), "promise: {promised}");

    let ready = per_task(|n| assert_eq!(Task::ready(n).join().unwrap(), n));
    assert!((0.0..0.01).contains(&ready), "ready: {ready}");

    let mut before = 0;
    let awaited = trefoil::run(async {
        for round in 0..2 {
            if round == 1 {
                before = ALLOCATIONS.load(Ordering::SeqCst);
            }
            for n in 0..TASKS {
                assert_eq!(trefoil::spawn(async move { n }).await.unwrap(), n);
            }
        }
        (ALLOCATIONS.load(Ordering::SeqCst) - before) as f64 / TASKS as f64
    });
    assert!((0.0..0.01).contains(&awaited), "future: {awaited}");

    // More tasks at once than a thread keeps memory for: the loop's queue and table grow, and
    // nearly every task takes an allocation.
    const BURST: usize = 100_000;
    let before = ALLOCATIONS.load(Ordering::SeqCst);
    let tasks = trefoil::run(async {
        let tasks: Vec<_> = (0..BURST)
            .map(|n| trefoil::spawn(async move { n }))
            .collect();
        trefoil::yield_now().await;
        tasks
    });
    let made = ALLOCATIONS.load(Ordering::SeqCst) - before;
    assert!(
        made <= BURST as u64 + BURST as u64 / 100,
        "{made} allocations"
    );
    // The cells outlive their loop, and are freed on another thread.
    let others = std::thread::spawn(move || tasks.into_iter().filter(Task::is_finished).count());
    assert_eq!(others.join().unwrap(), BURST);

    fork_and_join(&pool);
    spawned_elsewhere();

    // A worker that waits for its own tasks runs them itself; the entries in the queues must
    // not pile up meanwhile.
    let single = ThreadPool::with_threads(1);
    let before = LIVE.load(Ordering::SeqCst);
    let most = single.install(|| {
        let mut most = 0;
        for i in 0..100_000_u64 {
            assert_eq!(trefoil::spawn_blocking(move || i).join().unwrap(), i);
            most = most.max(LIVE.load(Ordering::SeqCst));
        }
        for i in 0..100_000_u64 {
            // Queued again by its first poll.
            let yields = async move {
                trefoil::yield_now().await;
                i
            };
            assert_eq!(single.spawn_async(yields).join().unwrap(), i);
            most = most.max(LIVE.load(Ordering::SeqCst));
        }
        trefoil::scope(|s| {
            for i in 0..100_000_u64 {
                assert_eq!(s.spawn(move || i).join().unwrap(), i);
                most = most.max(LIVE.load(Ordering::SeqCst));
            }
        });
        for _ in 0..100_000 {
            trefoil::scope(|s| drop(s.spawn(|| ())));
            most = most.max(LIVE.load(Ordering::SeqCst));
        }
        for _ in single.imap(0..100_000, |i| i) {
            most = most.max(LIVE.load(Ordering::SeqCst));
        }
        most
    });
    assert!(most - before < 1 << 20, "{} bytes more", most - before);

    // The same from outside, while all workers are busy.
    let (end, ended) = std::sync::mpsc::channel::<()>();
    let (begin, begun) = std::sync::mpsc::channel::<()>();
    let busy = single.spawn(move || {
        begin.send(()).unwrap();
        ended.recv().unwrap();
    });
    begun.recv().unwrap();
    let queued = single.spawn(|| 7);
    let before = LIVE.load(Ordering::SeqCst);
    let mut most = 0;
    for i in 0..100_000_u64 {
        assert_eq!(single.spawn(move || i).join().unwrap(), i);
        most = most.max(LIVE.load(Ordering::SeqCst));
    }
    for _ in 0..100_000 {
        single.scope(|s| drop(s.spawn(|| ())));
        most = most.max(LIVE.load(Ordering::SeqCst));
    }
    for _ in single.imap(0..100_000, |i| i) {
        most = most.max(LIVE.load(Ordering::SeqCst));
    }
    end.send(()).unwrap();
    busy.join().unwrap();
    assert_eq!(queued.join().unwrap(), 7);
    assert!(
        most - before < 1 << 20,
        "{} bytes more, from outside",
        most - before
    );
}
