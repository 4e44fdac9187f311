//! The thread pool: its results, what runs while a worker waits, what is dropped, and what is left
//! at its end.
//!
//! Everything that could hang runs under a watchdog that ends the process.
#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::print_stdout,
    clippy::print_stderr
)] // a program, not the crate

use crate::{deadline, with_all_processors_and_with_one};

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap, HashMap, HashSet, LinkedList, VecDeque};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Barrier, Mutex, mpsc};
use std::time::{Duration, Instant};

use deadline::{asleep, eventually, threads_named};
use trefoil::{
    CancelToken, Completer, Panic, PanicLocation, Scope, Shutdown, Task, TaskError, TaskGroup,
    ThreadPool, ThreadPoolBuilder, thread,
};

/// Ends the process if it is not dropped in time.
struct Watchdog(Option<mpsc::Sender<()>>);

#[must_use]
fn watchdog() -> Watchdog {
    let (alive, ended) = mpsc::channel();
    if cfg!(miri) {
        return Watchdog(None); // there, an hour is not a hang
    }
    let test = std::thread::current().name().unwrap_or("?").to_owned();
    std::thread::spawn(move || {
        if ended.recv_timeout(Duration::from_secs(120)) == Err(mpsc::RecvTimeoutError::Timeout) {
            eprintln!("{test} hangs");
            std::process::abort();
        }
    });
    Watchdog(Some(alive))
}

impl Drop for Watchdog {
    fn drop(&mut self) {
        self.0.take();
    }
}

/// A pool of so many threads, whose callers help, or do not.
fn of(threads: usize, helps: bool) -> ThreadPool {
    let pool = ThreadPool::builder().threads(threads).caller_helps(helps);
    pool.build().unwrap()
}

fn message(payload: &(dyn std::any::Any + Send)) -> &str {
    payload
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| payload.downcast_ref::<String>().map(String::as_str))
        .unwrap()
}

fn fib(n: u64) -> u64 {
    if n < 2 {
        return n;
    }
    let (a, b) = trefoil::join(|| fib(n - 1), || fib(n - 2));
    a + b
}

// ---- join ------------------------------------------------------------------

#[test]
fn join_gives_both_results_at_any_width() {
    let _watchdog = watchdog();
    for threads in [1, 2, 3, 8] {
        let pool = ThreadPool::with_threads(threads);
        assert_eq!(pool.install(|| fib(20)), 6765);
        assert_eq!(pool.join(|| fib(15), || fib(16)), (610, 987));
    }
}

#[test]
fn both_halves_run_at_once() {
    let _watchdog = watchdog();
    let pool = ThreadPool::with_threads(2);
    for outside in [true, false] {
        let barrier = Barrier::new(2);
        let both = || pool.join(|| barrier.wait(), || barrier.wait());
        if outside {
            both();
        } else {
            pool.install(both);
        }
    }
}

#[test]
fn queued_halves_are_not_stranded_behind_a_long_leaf() {
    let _watchdog = watchdog();
    // Eight halves are queued above a leaf that does not end before all of them run.
    fn ladder(rungs: usize, barrier: &Barrier) {
        if rungs == 0 {
            barrier.wait();
            return;
        }
        trefoil::join(|| ladder(rungs - 1, barrier), || barrier.wait());
    }
    let pool = ThreadPool::with_threads(9);
    for _ in 0..20 {
        let barrier = Barrier::new(9);
        pool.install(|| ladder(8, &barrier));
    }
}

#[test]
fn a_wait_for_a_stolen_half_runs_its_children_or_parks_with_a_spare() {
    let _watchdog = watchdog();
    // The second half is stolen and spawns a task that must run before the half
    // ends, on a pool whose other worker waits for the half.
    let pool = ThreadPool::with_threads(2);
    for _ in 0..50 {
        let begun = Barrier::new(2);
        pool.install(|| {
            trefoil::join(
                || begun.wait(),
                || {
                    begun.wait();
                    let (send, receive) = mpsc::channel();
                    // It is not joined, so only a worker can run it.
                    trefoil::spawn_blocking(move || send.send(7).unwrap()).detach();
                    assert_eq!(receive.recv().unwrap(), 7);
                },
            )
        });
    }
}

#[test]
fn join_resumes_the_first_halfs_panic_after_both_ended() {
    let _watchdog = watchdog();
    for threads in [1, 2] {
        let pool = ThreadPool::with_threads(threads);
        for inside in [true, false] {
            let ended = AtomicBool::new(false);
            let run = || {
                trefoil_join_panics(&pool, &ended);
            };
            let caught = catch_unwind(AssertUnwindSafe(|| {
                if inside { pool.install(run) } else { run() }
            }));
            assert_eq!(message(&*caught.unwrap_err()), "first");
            assert!(
                ended.load(Ordering::Relaxed),
                "the second half has ended before"
            );
        }
        // The pool still works.
        assert_eq!(pool.install(|| fib(10)), 55);
    }
}

fn trefoil_join_panics(pool: &ThreadPool, ended: &AtomicBool) {
    pool.join(
        || panic!("first"),
        || {
            std::thread::sleep(Duration::from_millis(5));
            ended.store(true, Ordering::Relaxed);
            if true {
                panic!("second");
            }
        },
    );
}

#[test]
fn join_resumes_the_second_halfs_panic_and_drops_the_first_result() {
    let _watchdog = watchdog();
    let drops = Counter::default();
    let pool = ThreadPool::with_threads(2);
    let caught = catch_unwind(AssertUnwindSafe(|| {
        pool.join(|| drops.item(0), || panic!("second"))
    }));
    assert_eq!(message(&*caught.unwrap_err()), "second");
    drops.assert_all_dropped_once(1);
}

#[test]
fn deep_recursion_stays_within_a_small_stack() {
    let _watchdog = watchdog();
    fn descend(depth: usize) -> usize {
        if depth == 0 {
            return 0;
        }
        let (a, b) = trefoil::join(|| descend(depth - 1), || 1);
        a + b
    }
    let pool = ThreadPool::builder()
        .threads(4)
        .stack_size(512 << 10)
        .build()
        .unwrap();
    for _ in 0..50 {
        // Without optimisation a level whose second half is offered takes up to 3.3 KiB.
        assert_eq!(pool.install(|| descend(100)), 100);
        assert_eq!(pool.install(|| fib(18)), 2584);
    }
}

#[test]
fn joins_nest_as_deep_as_on_a_main_thread() {
    let _watchdog = watchdog();
    #[inline(never)]
    fn descend(depth: usize) -> usize {
        // Together more than the two mebibytes that `std` gives a thread.
        let frame = std::hint::black_box([1_u8; 2048]);
        if depth == 0 {
            return 0;
        }
        let (a, b) = trefoil::join(|| descend(depth - 1), || usize::from(frame[depth % 2048]));
        a + b
    }
    let pool = ThreadPool::with_threads(2);
    assert_eq!(pool.install(|| descend(1100)), 1100);
}

// ---- waiting never runs a stranger -----------------------------------------

#[test]
fn a_lock_held_across_join_is_safe_from_queued_tasks() {
    let _watchdog = watchdog();
    for threads in [1, 2] {
        let pool = Arc::new(ThreadPool::with_threads(threads));
        let lock = Arc::new(Mutex::new(0));
        let tasks: Vec<_> = (0..40)
            .map(|_| {
                let (pool, lock) = (Arc::clone(&pool), Arc::clone(&lock));
                pool.clone().spawn(move || {
                    let mut held = lock.lock().unwrap();
                    let (a, b) = pool.join(|| fib(12), || fib(12));
                    *held += a + b;
                })
            })
            .collect();
        for task in tasks {
            task.join().unwrap();
        }
        assert_eq!(*lock.lock().unwrap(), 40 * 288);
    }
}

#[test]
fn a_borrow_held_across_a_wait_is_not_met_by_unrelated_tasks() {
    let _watchdog = watchdog();
    thread_local!(static CELL: RefCell<u64> = const { RefCell::new(0) });
    let pool = Arc::new(ThreadPool::with_threads(2));
    let stranger = move |pool: Arc<ThreadPool>| {
        move || {
            CELL.with(|cell| {
                let mut borrowed = cell.borrow_mut();
                let child = pool.spawn(|| fib(10));
                let (a, b) = pool.join(|| fib(12), || fib(12));
                *borrowed += a + b + child.join().unwrap();
            });
        }
    };
    let tasks: Vec<_> = (0..200)
        .map(|_| pool.spawn(stranger(Arc::clone(&pool))))
        .collect();
    for task in tasks {
        task.join().unwrap();
    }
}

#[test]
fn one_worker_joins_tasks_three_deep() {
    let _watchdog = watchdog();
    let pool = Arc::new(ThreadPool::with_threads(1));
    fn nest(pool: &Arc<ThreadPool>, depth: u32) -> u32 {
        if depth == 0 {
            return 1;
        }
        let inner = Arc::clone(pool);
        pool.spawn(move || nest(&inner, depth - 1)).join().unwrap() + 1
    }
    let inner = Arc::clone(&pool);
    assert_eq!(pool.install(move || nest(&inner, 3)), 4);
    // The same on a pool whose waiters may not run what they wait for.
    let pool = Arc::new(
        ThreadPool::builder()
            .threads(1)
            .caller_helps(false)
            .build()
            .unwrap(),
    );
    let inner = Arc::clone(&pool);
    assert_eq!(pool.install(move || nest(&inner, 3)), 4);
}

#[test]
fn forty_tasks_of_two_workers_wait_for_tasks_spawned_after_them() {
    let _watchdog = watchdog();
    for helps in [true, false] {
        let pool = Arc::new(of(2, helps));
        let (senders, waiters): (Vec<_>, Vec<_>) = (0..40)
            .map(|_| {
                let (send, receive) = mpsc::channel::<Task<u64>>();
                let waiter = pool.spawn(move || receive.recv().unwrap().join().unwrap());
                (send, waiter)
            })
            .unzip();
        // `recv` blocks the workers in a way that the pool cannot see, so the tasks come from
        // outside, and are queued before any worker waits for long.
        for (i, send) in (0..40).zip(senders) {
            send.send(pool.spawn(move || i)).unwrap();
        }
        for (i, waiter) in (0..40).zip(waiters) {
            assert_eq!(waiter.join().unwrap(), i);
        }
    }
}

#[test]
fn one_worker_waits_for_a_promise_that_a_queued_task_keeps() {
    let _watchdog = watchdog();
    let pool = ThreadPool::with_threads(1);
    for _ in 0..20 {
        let (completer, promise) = Completer::new();
        let waiter = pool.spawn(move || promise.join());
        let keeper = pool.spawn(move || completer.complete(Ok(7)));
        keeper.detach();
        assert_eq!(waiter.join().unwrap().unwrap(), 7);
    }
}

#[test]
fn a_promise_awaited_under_a_lock_that_a_queued_task_needs() {
    let _watchdog = watchdog();
    // One worker waits for a promise, and holds a lock. The next task in the queue wants the lock
    // and blocks the spare; the task behind it completes the promise. Only the stall rule helps.
    let pool = ThreadPool::with_threads(1);
    for strangers in 1..4 {
        let lock = Arc::new(Mutex::new(()));
        let (completer, promise) = Completer::new();
        let (held_send, held) = mpsc::channel();
        let mine = Arc::clone(&lock);
        let waiter = pool.spawn(move || {
            let _guard = mine.lock().unwrap();
            held_send.send(()).unwrap();
            promise.join()
        });
        waiter.detach();
        held.recv().unwrap();
        let stuck: Vec<_> = (0..strangers)
            .map(|_| {
                let lock = Arc::clone(&lock);
                pool.spawn(move || drop(lock.lock().unwrap()))
            })
            .collect();
        pool.spawn(move || completer.complete(Ok(()))).detach();
        for mut task in stuck {
            // With a deadline, because `join` would run it here.
            while let Err(error) = task.join_timeout(Duration::from_millis(10)) {
                assert!(matches!(error, TaskError::TimedOut(_)), "{error}");
            }
        }
    }
}

#[test]
fn a_wait_inside_a_future_that_a_worker_waits_for() {
    let _watchdog = watchdog();
    // The worker parks for the promise, polls again, and waits once more inside that poll.
    let pool = ThreadPool::with_threads(1);
    for _ in 0..50 {
        let (completer, promise) = Completer::new();
        let (inner_completer, inner) = Completer::new();
        let waiter = pool.spawn(move || {
            let future = async move {
                let outer: u64 = promise.await.unwrap();
                let (a, b) = trefoil::join(|| fib(8), || inner.join().unwrap());
                outer + a + b
            };
            trefoil::timeout(Duration::from_secs(50), future).join()
        });
        pool.spawn(move || completer.complete(Ok(1))).detach();
        pool.spawn(move || inner_completer.complete(Ok(2_u64)))
            .detach();
        assert_eq!(waiter.join().unwrap().unwrap(), 24);
    }
    eventually("all sleep, and are counted right", || {
        format!("{pool:?}").contains("running: 0, searching: 0, blocked: 0")
    });
}

/// A thread from outside that computes in a scope's body is one of as many as the pool is wide.
#[test]
fn joins_in_a_scope_from_outside_wake_no_worker_beyond_the_width() {
    let _watchdog = watchdog();
    let pool = ThreadPool::with_threads(2);
    let (pool, runs) = (&pool, |what: &str| format!("{pool:?}").contains(what));
    eventually("all sleep", || runs("running: 0"));
    let (began, begun) = mpsc::channel();
    let (release, released) = mpsc::channel::<()>();
    pool.scope(|_| {
        pool.join(
            move || {
                begun.recv().unwrap(); // a worker has the other half
                let (one, ()) = pool.join(|| runs("running: 1"), || ());
                drop(release);
                assert!(one, "{pool:?}");
            },
            move || {
                began.send(()).unwrap();
                let _dropped = released.recv();
            },
        );
    });
}

#[test]
fn nested_pools_wait_for_each_other() {
    let _watchdog = watchdog();
    let a = Arc::new(ThreadPool::with_threads(1));
    let b = Arc::new(ThreadPool::with_threads(1));
    fn ping(here: &Arc<ThreadPool>, there: &Arc<ThreadPool>, depth: u32) -> u32 {
        if depth == 0 {
            return 0;
        }
        let (here2, there2) = (Arc::clone(here), Arc::clone(there));
        here.install(move || ping(&there2, &here2, depth - 1)) + 1
    }
    assert_eq!(ping(&a, &b, 20), 20);
    let (x, y) = a.join(
        || {
            b.join(
                || a.map(0..10, |i| i).len(),
                || b.install(|| a.install(|| 1)),
            )
        },
        || b.map(0..10, |i| a.install(|| i)).len(),
    );
    assert_eq!((x, y), ((10, 1), 10));
}

#[test]
fn ten_thousand_tasks_each_wait_for_the_next() {
    let _watchdog = watchdog();
    for (threads, helps) in [(1, true), (2, true), (1, false), (2, false)] {
        let pool = of(threads, helps);
        let mut next = pool.spawn(|| 0_u64);
        for _ in 0..10_000 {
            let before = next;
            next = pool.spawn(move || before.join().unwrap() + 1);
        }
        assert_eq!(next.join().unwrap(), 10_000);
        // And if the first task to run is the last of the chain.
        let (mut completers, mut links) = (Vec::new(), Vec::new());
        for _ in 0..1000 {
            let (completer, promise) = Completer::<u64>::new();
            completers.push(completer);
            links.push(promise);
        }
        let chain = pool.spawn(move || {
            trefoil::scope(|s| {
                let mut promises = links.into_iter();
                let first = promises.next().unwrap();
                let last: Vec<_> = promises.collect();
                let others =
                    s.spawn(move || last.into_iter().map(|p| p.join().unwrap()).sum::<u64>());
                for completer in completers {
                    completer.complete(Ok(1));
                }
                first.join().unwrap() + others.join().unwrap()
            })
        });
        assert_eq!(chain.join().unwrap(), 1000);
    }
}

// ---- scope -----------------------------------------------------------------

#[test]
fn a_scope_lends_collects_and_nests() {
    let _watchdog = watchdog();
    for threads in [1, 2, 4] {
        let pool = ThreadPool::with_threads(threads);
        for inside in [true, false] {
            let run = || {
                let mut slots = vec![0; 100];
                let text = String::from("shared");
                let (pool, text) = (&pool, &text);
                let total = pool.scope(|s| {
                    for (i, slot) in slots.iter_mut().enumerate() {
                        s.spawn(move || {
                            // A task that spawns into its own scope.
                            s.spawn(move || *slot = i);
                        });
                    }
                    let handles: Vec<_> =
                        (0..50).map(|i| s.spawn(move || i + text.len())).collect();
                    handles
                        .into_iter()
                        .map(|task| task.join().unwrap())
                        .sum::<usize>()
                });
                assert_eq!(total, (0..50).sum::<usize>() + 300);
                assert!(slots.iter().enumerate().all(|(i, &slot)| slot == i));
            };
            if inside { pool.install(run) } else { run() }
        }
    }
}

#[test]
fn an_unjoined_panic_resumes_when_the_scope_ends() {
    let _watchdog = watchdog();
    let pool = ThreadPool::with_threads(2);
    let ended = AtomicUsize::new(0);
    let caught = catch_unwind(AssertUnwindSafe(|| {
        pool.scope(|s| {
            drop(s.spawn(|| panic!("unheard")));
            for _ in 0..20 {
                drop(s.spawn(|| ended.fetch_add(1, Ordering::Relaxed)));
            }
        });
    }));
    assert_eq!(message(&*caught.unwrap_err()), "unheard");
    assert_eq!(ended.load(Ordering::Relaxed), 20);

    // The panic of a joined task is a value, and the scope continues.
    let text = pool.scope(|s| match s.spawn(|| panic!("heard")).join() {
        Err(TaskError::Panicked(panic)) => panic.message().to_owned(),
        other => panic!("{other:?}"),
    });
    assert_eq!(text, "heard");

    // The body's own panic takes precedence, and is resumed after the tasks.
    let ended = AtomicBool::new(false);
    let caught = catch_unwind(AssertUnwindSafe(|| {
        pool.scope(|s| {
            drop(s.spawn(|| {
                std::thread::sleep(Duration::from_millis(5));
                ended.store(true, Ordering::Relaxed);
                panic!("task")
            }));
            panic!("body")
        })
    }));
    assert_eq!(message(&*caught.unwrap_err()), "body");
    assert!(ended.load(Ordering::Relaxed));
}

#[test]
fn of_several_panics_of_a_scope_the_first_untaken_one_in_time_is_resumed() {
    let _watchdog = watchdog();
    // The second task panics when the panic of the first has been recorded.
    let pool = ThreadPool::with_threads(2);
    let caught = catch_unwind(AssertUnwindSafe(|| {
        pool.scope(|s| {
            let first = s.spawn(|| panic!("first"));
            s.spawn_detached(move || {
                eventually("the first task has ended", || first.is_finished());
                panic!("second")
            });
        });
    }));
    assert_eq!(message(&*caught.unwrap_err()), "first");

    // The order is not that of the calls of `spawn`: a single thread runs the newest task first.
    let pool = ThreadPool::with_threads(1);
    let caught = catch_unwind(AssertUnwindSafe(|| {
        pool.install(|| {
            trefoil::scope(|s| {
                s.spawn_detached(|| panic!("spawned first"));
                s.spawn_detached(|| panic!("spawned last"));
            });
        });
    }));
    assert_eq!(message(&*caught.unwrap_err()), "spawned last");

    // One that was taken does not count.
    let caught = catch_unwind(AssertUnwindSafe(|| {
        pool.scope(|s| {
            assert!(s.spawn(|| panic!("taken")).join().is_err());
            s.spawn_detached(|| panic!("untaken"));
        });
    }));
    assert_eq!(message(&*caught.unwrap_err()), "untaken");
}

#[test]
fn what_a_scope_was_given_is_dropped_when_it_ends() {
    let _watchdog = watchdog();
    let drops = Counter::default();
    let pool = ThreadPool::with_threads(2);
    for round in 0..200 {
        pool.scope(|s| {
            for i in 0..5 {
                let (captured, result) = (drops.item(0), drops.item(0));
                let task = s.spawn(move || {
                    drop(captured);
                    result
                });
                if i % 2 == 0 {
                    drop(task);
                } else {
                    drop(task.join());
                }
            }
        });
        drops.assert_all_dropped_once((round + 1) * 10);
    }
}

/// A binary tree of tasks without handles, each of which drops an item.
fn plant<'scope>(s: &'scope Scope<'scope, '_>, depth: u32, drops: &'scope Counter) {
    let item = drops.item(0);
    s.spawn_detached(move || {
        if depth > 0 {
            plant(s, depth - 1, drops);
            plant(s, depth - 1, drops);
        }
        drop(item);
    });
}

#[test]
fn tasks_without_handles_run_once_and_their_panics_come_out() {
    const NODES: usize = (1 << 8) - 1;
    let _watchdog = watchdog();
    for (threads, helps) in [(1, true), (2, true), (2, false)] {
        let pool = of(threads, helps);
        for ended in [false, true] {
            if ended {
                pool.shutdown(Shutdown::Wait);
            }
            let drops = Counter::default();
            pool.scope(|s| {
                plant(s, 7, &drops);
                // A thread that has no place in the pool.
                std::thread::scope(|t| t.spawn(|| plant(s, 7, &drops)).join().unwrap());
            });
            drops.assert_all_dropped_once(2 * NODES);
            let ran = Counter::default();
            let caught = catch_unwind(AssertUnwindSafe(|| {
                pool.scope(|s| {
                    s.spawn_detached(|| panic!("unheard"));
                    plant(s, 3, &ran);
                });
            }));
            assert_eq!(message(&*caught.unwrap_err()), "unheard");
            ran.assert_all_dropped_once(15);
        }
    }
}

#[test]
fn a_scope_ends_though_the_pool_refuses_what_its_tasks_spawn() {
    let _watchdog = watchdog();
    // The scope's thread has nothing to run and parks; then the pool is shut down, and the task
    // that runs on it spawns more.
    for how in [Shutdown::CancelPending, Shutdown::Wait] {
        for helps in [true, false] {
            let pool = of(1, helps);
            let (began, done) = (Barrier::new(2), AtomicUsize::new(0));
            let scoping = deadline::this_thread();
            std::thread::scope(|threads| {
                pool.scope(|s| {
                    s.spawn(|| {
                        began.wait();
                        eventually("the pool refuses work from outside", || {
                            let refused = || {
                                matches!(pool.spawn(|| ()).try_join(), Some(Err(TaskError::Closed)))
                            };
                            std::thread::scope(|other| other.spawn(refused).join().unwrap())
                        });
                        eventually("the scope's thread parks", || asleep(scoping));
                        for _ in 0..3 {
                            s.spawn(|| {
                                s.spawn(|| done.fetch_add(1, Ordering::Relaxed));
                            });
                        }
                    });
                    began.wait();
                    threads.spawn(|| pool.shutdown(how));
                });
            });
            assert_eq!(done.load(Ordering::Relaxed), 3);
        }
    }
}

/// A tree of tasks of one scope, so deep. `alive` counts those that have been spawned and have not
/// ended.
fn grow<'s>(s: &'s Scope<'s, '_>, depth: usize, alive: &'s AtomicUsize, most: &'s AtomicUsize) {
    most.fetch_max(alive.load(Ordering::Relaxed), Ordering::Relaxed);
    if depth > 0 {
        for _ in 0..2 {
            alive.fetch_add(1, Ordering::Relaxed);
            s.spawn(move || grow(s, depth - 1, alive, most));
        }
    }
    alive.fetch_sub(1, Ordering::Relaxed);
}

#[test]
fn a_tree_of_a_scopes_tasks_needs_as_much_room_as_it_is_deep() {
    const DEPTH: usize = 14;
    let _watchdog = watchdog();
    for threads in [1, 2, 4] {
        let pool = ThreadPool::with_threads(threads);
        let (alive, most) = (AtomicUsize::new(1), AtomicUsize::new(0));
        pool.install(|| pool.scope(|s| grow(s, DEPTH, &alive, &most)));
        assert_eq!(alive.load(Ordering::Relaxed), 0);
        // Each thread descends along one path, and leaves one sibling on each level. (The scope's
        // thread is one of them, and on a busy machine stand-ins may be, for a while.) By breadth
        // first there would be 2^14.
        let bound = (threads + 4) * 2 * (DEPTH + 1);
        let most = most.load(Ordering::Relaxed);
        assert!(most <= bound, "{most} tasks at once with {threads} threads");
    }
}

#[test]
fn the_end_of_a_scope_runs_no_task_of_an_outer_one() {
    let _watchdog = watchdog();
    let pool = ThreadPool::with_threads(1);
    let inner = AtomicUsize::new(0);
    let me = std::thread::current().id();
    for inside in [true, false] {
        let run = || {
            let me = if inside {
                std::thread::current().id()
            } else {
                me
            };
            let in_inner = AtomicBool::new(false);
            let strange = || {
                let stranger = std::thread::current().id() == me;
                assert!(!stranger || !in_inner.load(Ordering::Relaxed));
            };
            pool.scope(|outer| {
                for _ in 0..20 {
                    outer.spawn(strange);
                    in_inner.store(true, Ordering::Relaxed);
                    pool.scope(|s| {
                        for _ in 0..20 {
                            // Below, between and above the inner scope's own.
                            outer.spawn(strange);
                            s.spawn(|| inner.fetch_add(1, Ordering::Relaxed));
                            drop(outer.spawn(strange));
                        }
                    });
                    in_inner.store(false, Ordering::Relaxed);
                }
            });
        };
        if inside { pool.install(run) } else { run() }
    }
    assert_eq!(inner.load(Ordering::Relaxed), 2 * 20 * 20);
}

#[test]
fn threads_without_a_place_spawn_into_a_scope() {
    let _watchdog = watchdog();
    for (threads, helps) in [(1, true), (2, true), (1, false), (2, false)] {
        let pool = of(threads, helps);
        let ran = AtomicUsize::new(0);
        pool.scope(|s| {
            let ran = &ran;
            std::thread::scope(|others| {
                for _ in 0..3 {
                    others.spawn(move || {
                        let tasks: Vec<_> = (0..200)
                            .map(|i| {
                                s.spawn(move || {
                                    s.spawn(|| ran.fetch_add(1, Ordering::Relaxed));
                                    i
                                })
                            })
                            .collect();
                        let kept = tasks.into_iter().step_by(3);
                        let sum: usize = kept.map(|task| task.join().unwrap()).sum();
                        assert_eq!(sum, (0..200).step_by(3).sum::<usize>());
                    });
                }
            });
            s.spawn(|| ran.fetch_add(1, Ordering::Relaxed));
        });
        assert_eq!(ran.load(Ordering::Relaxed), 601);
    }
}

#[test]
fn scoped_tasks_of_a_pool_that_has_ended_are_joined() {
    let _watchdog = watchdog();
    for helps in [true, false] {
        let pool = of(1, helps);
        pool.shutdown(Shutdown::Wait);
        let sum = pool.scope(|s| {
            let outside =
                s.spawn(|| std::thread::scope(|t| t.spawn(|| s.spawn(|| 3).join()).join()));
            s.spawn(|| 4).join().unwrap() + outside.join().unwrap().unwrap().unwrap()
        });
        assert_eq!(sum, 7);
    }
}

#[test]
fn a_scopes_own_thread_runs_what_lies_in_the_injector() {
    let _watchdog = watchdog();
    let pool = ThreadPool::with_threads(1);
    let (both, began) = (Barrier::new(2), AtomicBool::new(false));
    pool.scope(|outer| {
        outer.spawn(|| {
            began.store(true, Ordering::Relaxed);
            both.wait();
        });
        eventually("the worker runs it", || began.load(Ordering::Relaxed));
        // The task that the worker waits for is behind these, because the newest run first.
        pool.scope(|_inner| {
            outer.spawn(|| both.wait());
            for _ in 0..100 {
                outer.spawn(|| ());
            }
        });
    });
}

#[test]
fn a_pool_ends_while_an_outside_thread_goes_on_spawning() {
    let _watchdog = watchdog();
    with_all_processors_and_with_one(|| {
        let pool = ThreadPool::with_threads(2);
        let ended = AtomicBool::new(false);
        std::thread::scope(|threads| {
            threads.spawn(|| {
                pool.scope(|s| {
                    while !ended.load(Ordering::Relaxed) {
                        s.spawn(|| ()).join().unwrap();
                        s.spawn(|| ());
                    }
                });
            });
            pool.shutdown(Shutdown::Wait);
            ended.store(true, Ordering::Relaxed);
        });
    });
}

#[test]
fn a_scopes_own_thread_takes_what_a_stuck_worker_has_spawned() {
    let _watchdog = watchdog();
    let pool = ThreadPool::with_threads(1);
    for _ in 0..200 {
        let both = Barrier::new(2);
        // One task runs on the worker and one here, in either order; the one that spawns cannot
        // continue without the other.
        pool.scope(|s| {
            s.spawn(|| {
                s.spawn(|| both.wait());
                both.wait();
            });
        });
    }
}

/// How long the scope of this thread takes to run so many tasks of its own, which lie in the pool's
/// common queue with so many others behind them.
fn time_of_a_scope_among(others: usize) -> Duration {
    let pool = ThreadPool::with_threads(1);
    let ((open, gate), (begin, begun)) = (mpsc::channel::<()>(), mpsc::channel());
    pool.spawn(move || {
        begin.send(()).unwrap();
        gate.recv().unwrap();
    })
    .detach();
    begun.recv().unwrap();
    let mut start = None;
    pool.scope(|s| {
        std::thread::scope(|threads| {
            threads.spawn(|| (0..2000).for_each(|_| s.spawn_detached(|| ())));
        });
        (0..others).for_each(|_| pool.spawn(|| ()).detach());
        start = Some(Instant::now());
    });
    let took = start.unwrap().elapsed();
    open.send(()).unwrap();
    took
}

#[test]
fn a_scope_does_not_look_for_its_tasks_among_others() {
    let _watchdog = watchdog();
    let shortest = |others| (0..3).map(|_| time_of_a_scope_among(others)).min();
    let (few, many) = (shortest(1000).unwrap(), shortest(100_000).unwrap());
    // If each task were looked for, a hundred times as many others would take so much longer.
    assert!(many < 20 * few, "{many:?}, and beside few {few:?}");
}

#[test]
fn tasks_that_are_joined_in_any_order_and_by_others() {
    let _watchdog = watchdog();
    for threads in [1, 2] {
        let pool = ThreadPool::with_threads(threads);
        let total = pool.install(|| {
            pool.scope(|s| {
                let mut total = 0;
                for round in 0..2_000 {
                    let mut tasks: Vec<_> = (0..5).map(|i| s.spawn(move || i)).collect();
                    tasks.rotate_left(round % 5);
                    let last = tasks.pop().unwrap();
                    // A task that waits for another one of its scope.
                    let other = s.spawn(move || last.join().unwrap());
                    total += tasks.into_iter().map(|t| t.join().unwrap()).sum::<usize>();
                    total += other.join().unwrap();
                }
                total
            })
        });
        assert_eq!(total, 2_000 * 10);
    }
}

// ---- the task that all this is a part of ------------------------------------

#[test]
fn every_part_of_a_task_has_the_tasks_own_token() {
    let _watchdog = watchdog();
    let pool = Arc::new(ThreadPool::with_threads(4));
    let inner = Arc::clone(&pool);
    let (begun_send, begun) = mpsc::channel();
    let (token_send, tokens) = mpsc::channel();
    let task = pool.spawn(move || {
        let pool = &inner;
        let cancelled = || CancelToken::current().is_cancelled();
        let until_cancelled = |barrier: &Barrier| {
            // After a barrier, so that each part runs on its own thread.
            barrier.wait();
            let token = CancelToken::current();
            eventually("the token of this part is cancelled", || {
                token.is_cancelled()
            });
        };
        assert!(!cancelled());
        let three = Barrier::new(3);
        begun_send.send(CancelToken::current()).unwrap();
        trefoil::join(
            || until_cancelled(&three),
            || trefoil::join(|| until_cancelled(&three), || until_cancelled(&three)),
        );
        let four = Barrier::new(4);
        trefoil::scope(|s| {
            for _ in 0..4 {
                s.spawn(|| {
                    until_cancelled(&four);
                    // A part of a part.
                    trefoil::scope(|s| s.spawn(|| assert!(cancelled())).join().unwrap());
                });
            }
        });
        let all = pool.map(0..4, |_| {
            until_cancelled(&four);
            cancelled()
        });
        assert_eq!(all, [true; 4]);
        assert!(pool.map_reduce(0..1000, |_| cancelled(), || true, |a, b| a & b));
        assert!(pool.install(cancelled));
        // A spawned task has its own, also from within a part.
        let (_, of_child) = trefoil::join(|| (), || trefoil::spawn_blocking(cancelled).join());
        token_send.send((cancelled(), of_child.unwrap())).unwrap();
    });
    // On a worker, not here, because the task is not joined.
    let token = begun.recv().unwrap();
    task.cancel();
    assert!(token.is_cancelled());
    assert_eq!(tokens.recv().unwrap(), (true, false));
    // The workers are unaffected: code outside the task does not see its token.
    assert!(
        pool.map(0..100, |_| CancelToken::current().is_cancelled())
            .iter()
            .all(|is| !is)
    );
}

#[test]
fn a_scoped_task_is_a_part_of_its_scopes_task_on_any_thread() {
    let _watchdog = watchdog();
    // One worker, which is in the scope: only the thread that joins can run the task.
    let pool = Arc::new(ThreadPool::with_threads(1));
    let inner = Arc::clone(&pool);
    let (send, receive) = mpsc::channel();
    pool.spawn(move || {
        CancelToken::current().cancel();
        let seen = inner.scope(|s| {
            let part = s.spawn(|| CancelToken::current().is_cancelled());
            std::thread::scope(|threads| threads.spawn(|| part.join().unwrap()).join().unwrap())
        });
        send.send(seen).unwrap();
    })
    .detach();
    assert!(receive.recv().unwrap());
}

fn panic_of<T: std::fmt::Debug>(result: Result<T, TaskError>) -> Panic {
    match result {
        Err(TaskError::Panicked(panic)) => *panic,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_panic_keeps_its_place_on_the_way_to_the_task_that_it_ends() {
    let _watchdog = watchdog();
    let pool = Arc::new(
        ThreadPool::builder()
            .threads(2)
            .name("place")
            .caller_helps(false)
            .build()
            .unwrap(),
    );
    let both = |first: fn(), second: fn()| {
        let (pool, begun) = (Arc::clone(&pool), Barrier::new(2));
        move || {
            let run = |half: fn()| {
                begun.wait();
                half();
                std::thread::current().name().unwrap().to_owned()
            };
            pool.join(|| run(first), || run(second))
        }
    };
    fn good() {}
    fn bad() {
        panic!("bad");
    }
    fn worse() {
        panic!("worse");
    }
    let line_of_bad = line!() - 5;
    for _ in 0..20 {
        // In the stolen half; in the first, while the stolen one panics, too.
        for (first, second) in [(good as fn(), bad as fn()), (bad, worse)] {
            let panic = panic_of(pool.spawn(both(first, second)).join());
            let place = panic.location().map(PanicLocation::line);
            assert_eq!((panic.message(), place), ("bad", Some(line_of_bad)));
            assert!(panic.worker().starts_with("place-"), "{panic:?}");
        }
        // In the first half, while the second panics on the same thread.
        let alone = Arc::new(ThreadPool::with_threads(1));
        let inner = Arc::clone(&alone);
        let (send, receive) = mpsc::channel();
        alone
            .spawn(move || inner.join(bad, worse))
            .on_done(move |result| send.send(result).unwrap());
        let panic = panic_of(receive.recv().unwrap());
        assert_eq!(panic.location().map(PanicLocation::line), Some(line_of_bad));
        // At the end of a scope, and through two pools and a task that was awaited.
        let (inner, other) = (Arc::clone(&pool), Arc::clone(&alone));
        let task = pool.spawn(move || {
            inner.scope(|s| {
                s.spawn(move || {
                    other.install(|| match trefoil::spawn_blocking(bad).join() {
                        Err(TaskError::Panicked(panic)) => panic.resume_unwind(),
                        other => panic!("{other:?}"),
                    });
                });
            });
        });
        let panic = panic_of(task.join());
        assert_eq!(panic.location().map(PanicLocation::line), Some(line_of_bad));
        assert_eq!(panic.worker(), "trefoil-0");
    }
    // The location of a panic that a task has caught itself is not used for a later panic without a
    // hook call.
    for _ in 0..4 {
        pool.spawn(|| drop(catch_unwind(bad))).join().unwrap();
        let silent = pool.spawn(|| std::panic::resume_unwind(Box::new("silent")));
        assert_eq!(panic_of::<()>(silent.join()).location(), None);
    }
}

// ---- map -------------------------------------------------------------------

#[test]
fn map_keeps_the_order_of_every_source() {
    let _watchdog = watchdog();
    for threads in [1, 2, 5] {
        let pool = ThreadPool::with_threads(threads);
        for len in [0, 1, 2, 3, 7, 100, 10_000] {
            let expected: Vec<usize> = (0..len).map(|i| i * 2).collect();
            let mut items: Vec<usize> = (0..len).collect();
            assert_eq!(pool.map(0..len, |i| i * 2), expected);
            assert_eq!(pool.map(&items, |i| i * 2), expected);
            assert_eq!(pool.map(&items[..], |i| i * 2), expected);
            assert_eq!(
                pool.map(items.iter().copied().collect::<VecDeque<_>>(), |i| i * 2),
                expected
            );
            assert_eq!(
                pool.map(&items.iter().copied().collect::<LinkedList<_>>(), |i| i * 2),
                expected
            );
            assert_eq!(
                pool.map(&items.iter().copied().collect::<BTreeSet<_>>(), |i| i * 2),
                expected
            );
            assert_eq!(
                pool.map(
                    items.iter().map(|&i| (i, i)).collect::<BTreeMap<_, _>>(),
                    |(k, v)| k + v
                ),
                expected
            );
            let mut map: HashMap<usize, usize> = items.iter().map(|&i| (i, i)).collect();
            pool.for_each(&mut map, |(_, value)| *value *= 2);
            assert!(map.iter().all(|(k, v)| k * 2 == *v));
            assert_eq!(
                pool.map(&map, |(k, _)| *k)
                    .into_iter()
                    .collect::<HashSet<_>>()
                    .len(),
                len
            );
            assert_eq!(
                pool.map(&items.iter().copied().collect::<BinaryHeap<_>>(), |i| *i)
                    .len(),
                len
            );
            assert_eq!(
                pool.map(&mut items, |i| {
                    *i *= 2;
                    *i
                }),
                expected
            );
            assert_eq!(items, expected);
            pool.for_each(&mut items[..], |i| *i += 1);
            assert_eq!(pool.map(items, |i| i - 1), expected);
        }
        assert_eq!(
            pool.map([1, 2, 3].map(|i: i32| i.to_string()), |s| s + "!"),
            ["1!", "2!", "3!"]
        );
        assert_eq!(pool.map(&[1, 2], |i| i + 1), [2, 3]);
        assert_eq!(pool.map(&mut [1, 2], |i| *i + 1), [2, 3]);
    }
}

#[test]
fn ranges_of_every_integer() {
    let pool = ThreadPool::with_threads(2);
    assert_eq!(
        pool.map(0..=u8::MAX, |i| i),
        (0..=u8::MAX).collect::<Vec<_>>()
    );
    assert_eq!(
        pool.map(i8::MIN..=i8::MAX, |i| i),
        (i8::MIN..=i8::MAX).collect::<Vec<_>>()
    );
    assert_eq!(pool.map(-3_i16..3, |i| i), [-3, -2, -1, 0, 1, 2]);
    assert_eq!(
        pool.map(u64::MAX - 1..=u64::MAX, |i| i),
        [u64::MAX - 1, u64::MAX]
    );
    assert_eq!(
        pool.map(i128::MAX - 2..i128::MAX, |i| i),
        [i128::MAX - 2, i128::MAX - 1]
    );
    #[allow(clippy::reversed_empty_ranges)]
    let empty = (pool.map(5..2_u32, |i| i), pool.map(5..=2_isize, |i| i));
    assert_eq!(empty, (vec![], vec![]));
    let mut exhausted = 1..=3;
    exhausted.by_ref().for_each(drop);
    assert_eq!(pool.map(exhausted, |i: u16| i), Vec::<u16>::new());
    assert_eq!(
        pool.map_reduce(1..=1_000_000_u64, |i| i, || 0, |a, b| a + b),
        500_000_500_000
    );
    let caught = catch_unwind(|| ThreadPool::with_threads(1).for_each(0..=u64::MAX, |_| ()));
    assert!(message(&*caught.unwrap_err()).contains("usize::MAX"));
}

/// Counts drops of numbered items.
#[derive(Clone, Default, Debug)]
struct Counter(Arc<(AtomicUsize, Mutex<HashMap<usize, usize>>)>);

#[derive(Debug)]
struct Item(Counter, usize, usize);

impl Counter {
    fn item(&self, value: usize) -> Item {
        Item(
            self.clone(),
            self.0.0.fetch_add(1, Ordering::Relaxed),
            value,
        )
    }

    fn made(&self) -> usize {
        self.0.0.load(Ordering::Relaxed)
    }

    fn assert_all_dropped_once(&self, made: usize) {
        assert_eq!(self.made(), made);
        let dropped = self.0.1.lock().unwrap();
        assert_eq!(dropped.len(), made);
        assert!(dropped.values().all(|&times| times == 1));
    }
}

impl Drop for Item {
    fn drop(&mut self) {
        *self.0.0.1.lock().unwrap().entry(self.1).or_default() += 1;
    }
}

#[test]
fn a_panic_in_map_drops_everything_once_and_is_the_lowest() {
    let _watchdog = watchdog();
    for threads in [1, 2, 4] {
        let pool = ThreadPool::with_threads(threads);
        for (len, bad) in [(1, 0), (10, 9), (1000, 500), (20_000, 19_000), (20_000, 3)] {
            let drops = Counter::default();
            let items: Vec<Item> = (0..len).map(|i| drops.item(i)).collect();
            let caught = catch_unwind(AssertUnwindSafe(|| {
                pool.map(items, |item| {
                    assert!(item.2 < bad, "{}", item.2);
                    drops.item(item.2)
                })
            }));
            let text = message(&*caught.err().unwrap()).to_owned();
            assert_eq!(
                text,
                bad.to_string(),
                "the panic that a loop would have met"
            );
            drops.assert_all_dropped_once(drops.made());
        }
    }
}

/// Also large results: they are written in place, without a second copy.
#[test]
fn try_map_writes_results_where_they_belong() {
    let _watchdog = watchdog();
    let pool = ThreadPool::with_threads(2);
    let large = |_| Ok::<_, ()>([7_u8; 1 << 16]);
    let results = pool.try_map(0..4200, large).unwrap();
    assert_eq!((results.len(), results.capacity()), (4200, 4200));
    // Memory for the results is not allocated before the first item has succeeded.
    let first_fails = |n| if n == 0 { Err(n) } else { Ok([n; 8]) };
    let failed = pool.try_map(0..usize::MAX >> 4, first_fails);
    assert_eq!(failed.unwrap_err(), 0);
}

#[test]
fn try_map_gives_the_error_that_a_loop_would_have_met() {
    let _watchdog = watchdog();
    for threads in [1, 2, 4] {
        let pool = ThreadPool::with_threads(threads);
        for round in 0..50 {
            let drops = Counter::default();
            let items: Vec<Item> = (0..5000).map(|i| drops.item(i)).collect();
            let bad = round * 97;
            let result = pool.try_map(items, |item| {
                assert!(
                    item.2 != bad + 10,
                    "too far, but only if it is not the lowest"
                );
                if item.2 >= bad && item.2 % 2 == bad % 2 {
                    Err(item.2)
                } else {
                    Ok(drops.item(0))
                }
            });
            assert_eq!(result.err(), Some(bad));
            drops.assert_all_dropped_once(drops.made());
        }
        assert_eq!(
            pool.try_map(0..1000, Ok::<_, ()>).unwrap(),
            (0..1000).collect::<Vec<_>>()
        );
        let caught = catch_unwind(AssertUnwindSafe(|| {
            pool.try_map(0..5000, |i| {
                if i == 4000 {
                    Err(i)
                } else {
                    assert!(i != 17, "early");
                    Ok(i)
                }
            })
        }));
        assert_eq!(message(&*caught.unwrap_err()), "early");
    }
}

#[test]
fn eight_long_items_occupy_all_workers() {
    let _watchdog = watchdog();
    // With the caller's help there may be nine threads at it: a barrier of eight
    // opens only if eight items are begun before any of them ends.
    let pool = ThreadPool::with_threads(8);
    for inside in [true, false] {
        let barrier = Barrier::new(8);
        let run = || {
            pool.map(0..8, |i| {
                barrier.wait();
                i
            })
        };
        let result = if inside { pool.install(run) } else { run() };
        assert_eq!(result, [0, 1, 2, 3, 4, 5, 6, 7]);
    }
}

#[test]
fn expensive_items_behind_quick_ones_are_shared() {
    use Ordering::Relaxed;
    let _watchdog = watchdog();
    let pool = ThreadPool::with_threads(2);
    let runs = |count: &str| format!("{pool:?}").contains(count);
    eventually("both sleep", || runs("running: 0"));
    let (quick, expensive) = (Mutex::new(HashSet::new()), Mutex::new(HashSet::new()));
    let (are_slow, are_shared) = (AtomicBool::new(false), AtomicBool::new(false));
    let this = || std::thread::current().id();
    pool.install(|| {
        // Each thread gets half of them at first, and offers half of that. So the second one gets
        // quick items only, until the first one offers the rest of its quarter.
        pool.for_each(0..400_000, |i| match i {
            // The second thread has run what it was offered at once, and is idle.
            100 => {
                eventually("it sleeps", || {
                    let has_run = quick.lock().unwrap().iter().any(|id| *id != this());
                    has_run && runs("running: 1")
                });
                are_slow.store(true, Relaxed);
            }
            // From then on, items take a twentieth of a millisecond each, until a second thread
            // runs one, too.
            101..50_000 if are_slow.load(Relaxed) && !are_shared.load(Relaxed) => {
                let begun = Instant::now();
                while begun.elapsed() < Duration::from_micros(50) {
                    std::hint::spin_loop();
                }
                let mut threads = expensive.lock().unwrap();
                threads.insert(this());
                are_shared.store(threads.len() > 1, Relaxed);
            }
            101..50_000 => {}
            _ if i % 100 > 0 => {}
            _ => {
                quick.lock().unwrap().insert(this());
            }
        });
    });
    assert!(are_shared.into_inner(), "one thread has them all");
}

#[test]
fn the_last_long_item_is_on_offer_while_the_one_before_it_runs() {
    let _watchdog = watchdog();
    const LAST: usize = 63;
    let pool = ThreadPool::with_threads(2);
    let (end, ended) = mpsc::channel::<()>();
    let (begin, begun) = mpsc::channel();
    let begun = Mutex::new(begun);
    // So the second thread wants no work before the last item but one has begun.
    let busy = pool.spawn(move || ended.recv());
    pool.install(|| {
        pool.for_each(0..=LAST, |i| match i {
            LAST => begin.send(()).unwrap(),
            i if i == LAST - 1 => {
                end.send(()).unwrap();
                let limit = Duration::from_secs(30);
                let begun = begun.lock().unwrap().recv_timeout(limit);
                begun.expect("another thread takes the last item");
            }
            _ => {
                let begun = Instant::now();
                while begun.elapsed() < Duration::from_micros(50) {
                    std::hint::spin_loop();
                }
            }
        });
    });
    busy.join().unwrap().unwrap();
}

#[test]
fn map_reduce_keeps_order_and_grouping() {
    let _watchdog = watchdog();
    let (one, four) = (ThreadPool::with_threads(1), ThreadPool::with_threads(4));
    let text =
        |pool: &ThreadPool| pool.map_reduce(0..5000, |i| i.to_string(), String::new, |a, b| a + &b);
    assert_eq!(
        text(&one),
        (0..5000).map(|i| i.to_string()).collect::<String>()
    );
    assert_eq!(text(&four), text(&one));
    let floats = |pool: &ThreadPool| {
        pool.map_reduce(
            0..100_000,
            |i| 1.0 / f64::from(i + 1),
            || 0.0,
            |a: f64, b| a + b,
        )
        .to_bits()
    };
    let bits = floats(&one);
    for _ in 0..20 {
        assert_eq!(floats(&four), bits);
    }
    assert_eq!(one.map_reduce(0..0, |i| i, || 42, |a, b| a + b), 42);
    let caught = catch_unwind(AssertUnwindSafe(|| {
        four.map_reduce(
            0..5000,
            |i| {
                assert!(i < 77, "{i}");
                i
            },
            || 0,
            |a, b| a + b,
        )
    }));
    assert_eq!(message(&*caught.unwrap_err()), "77");
}

// ---- spawn, hooks, names ---------------------------------------------------

#[test]
fn a_panic_in_a_task_is_a_value_and_names_its_worker() {
    let _watchdog = watchdog();
    let pool = ThreadPool::builder()
        .threads(1)
        .name("crunch")
        .caller_helps(false)
        .build()
        .unwrap();
    let Err(TaskError::Panicked(panic)) = pool.spawn(|| -> () { panic!("no {}", 7) }).join() else {
        panic!()
    };
    assert_eq!((panic.message(), panic.worker()), ("no 7", "crunch-0"));
    assert!(panic.location().unwrap().file().ends_with("thread/pool.rs"));
    assert_eq!(pool.spawn(|| 1).join().unwrap(), 1);
}

#[test]
fn hooks_run_on_each_worker_and_their_panics_are_contained() {
    let _watchdog = watchdog();
    let seen = Arc::new(Mutex::new(Vec::new()));
    let (starts, exits) = (Arc::clone(&seen), Arc::clone(&seen));
    let pool = ThreadPool::builder()
        .threads(3)
        .on_start(move |index| {
            starts.lock().unwrap().push(("start", index));
            assert_ne!(index, 1, "a bad start");
        })
        .on_exit(move |index| {
            exits.lock().unwrap().push(("exit", index));
            panic!("a bad end");
        })
        .build()
        .unwrap();
    let barrier = Barrier::new(3);
    let mut indices = pool.map(0..3, |_| {
        barrier.wait();
        thread::current_index().unwrap()
    });
    indices.sort_unstable();
    indices.dedup();
    assert_eq!(
        indices.len(),
        3,
        "the caller does not help where there is an on_start"
    );
    drop(pool);
    let seen = seen.lock().unwrap();
    let of = |kind| {
        let mut all: Vec<usize> = seen
            .iter()
            .filter(|(k, _)| *k == kind)
            .map(|(_, index)| *index)
            .collect();
        all.sort_unstable();
        all
    };
    // A spare may have replaced a worker that waited, with the same index.
    let mut starts = of("start");
    assert_eq!(starts, of("exit"));
    starts.dedup();
    assert_eq!(starts, [0, 1, 2]);
}

#[test]
fn a_thread_that_is_still_in_its_start_hook_is_not_relied_upon() {
    let _watchdog = watchdog();
    for threads in [2, 4] {
        let (go, gate) = mpsc::channel::<()>();
        let gate = Mutex::new(gate);
        let pool = ThreadPool::builder()
            .threads(threads)
            .on_start(move |index| {
                if index == 0 {
                    gate.lock().unwrap().recv().unwrap();
                }
            })
            .build()
            .unwrap();
        eventually("the others sleep", || {
            format!("{pool:?}").contains("running: 1")
        });
        // Only another worker can run it: the one with the hook waits for it.
        pool.spawn(move || go.send(()).unwrap()).detach();
        pool.shutdown(Shutdown::Wait);
    }
    // A hook that waits for a task of its own pool: a spare runs that.
    let (completer, promise) = Completer::new();
    let promise = Mutex::new(Some(promise));
    let pool = ThreadPool::builder()
        .threads(1)
        .on_start(move |_| {
            let promise = promise.lock().unwrap().take();
            if let Some(promise) = promise {
                promise.join().unwrap();
            }
        })
        .build()
        .unwrap();
    eventually("the hook waits", || {
        format!("{pool:?}").contains("blocked: 1")
    });
    pool.spawn(move || completer.complete(Ok(()))).detach();
    pool.shutdown(Shutdown::Wait);
}

#[test]
fn what_an_exit_hook_does_neither_hangs_nor_is_forgotten() {
    let _watchdog = watchdog();
    let other = Arc::new(ThreadPool::with_threads(1));
    for _ in 0..100 {
        let (send, receive) = mpsc::channel();
        let (send, other) = (Mutex::new(send), Arc::clone(&other));
        let pool = ThreadPool::builder()
            .threads(2)
            .on_exit(move |_| {
                // The task's own pool is closed; joins, maps and waits still work.
                let sum = trefoil::join(|| 1, || other.spawn(|| 2).join().unwrap());
                let (completer, promise) = Completer::new();
                other.spawn(move || completer.complete(Ok(3))).detach();
                let refused = trefoil::spawn_blocking(|| ());
                let told = (sum, promise.join().unwrap(), refused);
                send.lock().unwrap().send(told).unwrap();
            })
            .build()
            .unwrap();
        pool.shutdown(Shutdown::Wait);
        for _ in 0..2 {
            let (sum, three, refused) = receive.recv().unwrap();
            assert_eq!((sum, three), ((1, 2), 3));
            // No thread is left that could run it, so it has ended; `join` might run it here.
            assert!(refused.is_finished());
            assert!(matches!(refused.join(), Err(TaskError::Closed)));
        }
        assert!(format!("{pool:?}").contains("running: 0, searching: 0, blocked: 0"));
    }
}

#[test]
fn untaken_failures_reach_the_pools_own_hook_once() {
    let _watchdog = watchdog();
    for helps in [true, false] {
        let (tell, told) = mpsc::channel();
        let pool = ThreadPool::builder()
            .threads(2)
            .caller_helps(helps)
            .on_unobserved(move |report| {
                let line = report.spawned_at().line();
                tell.send((line, format!("{report:?}"))).unwrap();
                panic!("a bad hook");
            })
            .build()
            .unwrap();
        let lines = line!() + 1..line!() + 5;
        pool.spawn(|| panic!("detached")).detach();
        let ended = pool.spawn(|| panic!("dropped at the end"));
        eventually("it has ended", || ended.is_finished());
        drop(ended);
        // From two threads, in whatever order.
        let mut reports = [told.recv().unwrap(), told.recv().unwrap()];
        reports.sort();
        for (text, (line, report)) in ["detached", "dropped at the end"].iter().zip(reports) {
            assert!(lines.contains(&line) && report.contains(text), "{report}");
        }
        // Failures that were taken, cancelled tasks and successes are not reported.
        panic_of::<()>(pool.spawn(|| panic!("taken")).join());
        let gate = Arc::new(Barrier::new(3));
        for _ in 0..2 {
            let gate = Arc::clone(&gate);
            pool.spawn(move || gate.wait().is_leader()).detach();
        }
        let queued = pool.spawn(|| ());
        assert!(queued.cancel());
        drop(queued);
        gate.wait();
        pool.shutdown(Shutdown::Wait);
        assert!(told.try_recv().is_err());
        // A refused task counts as a failure.
        pool.spawn(|| ()).detach();
        assert!(told.recv().unwrap().1.contains("Closed"));
    }
}

#[test]
fn a_worker_that_says_it_blocks_is_replaced() {
    let _watchdog = watchdog();
    let pool = ThreadPool::with_threads(1);
    assert_eq!(pool.blocking(|| 1), 1);
    for _ in 0..20 {
        let sum = pool.install(|| {
            let (send, receive) = mpsc::channel();
            trefoil::spawn_blocking(move || send.send(2).unwrap()).detach();
            // One inside another, with waits and forks in it.
            pool.blocking(|| {
                pool.blocking(|| {
                    let (a, b) =
                        trefoil::join(|| 1, || trefoil::spawn_blocking(|| 4).join().unwrap());
                    a + b + receive.recv().unwrap()
                })
            })
        });
        assert_eq!(sum, 7);
        let caught = catch_unwind(AssertUnwindSafe(|| {
            pool.install(|| pool.blocking(|| panic!("inside")))
        }));
        assert_eq!(message(&*caught.unwrap_err()), "inside");
    }
    eventually("all sleep, and are counted right", || {
        format!("{pool:?}").contains("running: 0, searching: 0, blocked: 0")
    });
}

struct BombOnDrop;

impl Drop for BombOnDrop {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            panic!("in a destructor");
        }
    }
}

#[test]
fn panics_in_destructors_do_not_kill_a_worker() {
    let _watchdog = watchdog();
    let pool = ThreadPool::builder()
        .threads(1)
        .caller_helps(false)
        .build()
        .unwrap();
    for _ in 0..10 {
        // It panics here if the task has ended by then: dropping the handle then drops the value.
        let detached = catch_unwind(AssertUnwindSafe(|| pool.spawn(|| BombOnDrop).detach()));
        drop(detached);
        let captured = BombOnDrop;
        pool.spawn(move || drop(captured)).detach();
        let caught = catch_unwind(AssertUnwindSafe(|| {
            pool.scope(|s| drop(s.spawn(|| BombOnDrop)));
        }));
        drop(caught);
        let caught = catch_unwind(AssertUnwindSafe(|| pool.map(0..3, |_| panic!("{}", 1))));
        assert!(caught.is_err());
    }
    assert_eq!(
        pool.install(|| std::thread::current().name().unwrap().to_owned()),
        "trefoil-0"
    );
}

/// Panics even while the thread is panicking, which aborts unless the panic is contained.
#[derive(Debug)]
struct Bomb;

impl Drop for Bomb {
    fn drop(&mut self) {
        panic!("a bomb");
    }
}

#[test]
fn bombs_in_payloads_and_errors_do_not_abort() {
    let _watchdog = watchdog();
    fn throw() {
        std::panic::panic_any(Bomb);
    }
    for threads in [1, 2] {
        let pool = ThreadPool::with_threads(threads);
        let keep = |f: &dyn Fn()| {
            let caught = catch_unwind(AssertUnwindSafe(f));
            std::mem::forget(caught.unwrap_err());
        };
        for _ in 0..10 {
            keep(&|| {
                pool.join(throw, throw);
            });
            keep(&|| drop(pool.map(0..100, |_| throw())));
            keep(&|| {
                pool.scope(|s| {
                    for _ in 0..5 {
                        s.spawn(throw);
                    }
                });
            });
            // The body's own panic is the one that is resumed.
            keep(&|| {
                pool.scope(|s| {
                    for _ in 0..5 {
                        s.spawn(throw);
                    }
                    throw();
                });
            });
            let failed = pool.try_map(0..100, |i| if i % 2 == 1 { Err(Bomb) } else { Ok(i) });
            std::mem::forget(failed.unwrap_err());
            // The first item panics, after a later one has failed.
            let failed = AtomicBool::new(false);
            keep(&|| {
                let result = pool.try_map(0..2, |i| {
                    if i == 1 {
                        failed.store(true, Ordering::Release);
                        return Err(Bomb);
                    }
                    let end = Instant::now() + Duration::from_millis(2);
                    while !failed.load(Ordering::Acquire) && Instant::now() < end {
                        std::hint::spin_loop();
                    }
                    throw();
                    Ok(())
                });
                std::mem::forget(result);
            });
        }
        assert_eq!(pool.map(0..10, |i| i).len(), 10);
    }
}

/// A result that no caller gets, because another panic is on its way, is dropped; its destructor's
/// panic goes no further.
#[test]
fn bombs_in_results_do_not_abort_while_another_panic_is_on_its_way() {
    let _watchdog = watchdog();
    let throw = || -> Bomb { panic!("the other") };
    let long = || {
        std::thread::sleep(Duration::from_millis(1)); // so that joins are offered
        Bomb
    };
    for threads in [1, 2] {
        let pool = ThreadPool::with_threads(threads);
        let caught = |f: &dyn Fn()| {
            let caught = catch_unwind(AssertUnwindSafe(f));
            assert_eq!(message(&*caught.unwrap_err()), "the other");
        };
        let keep = |(a, b): (Bomb, Bomb)| std::mem::forget((a, b));
        for _ in 0..10 {
            caught(&|| keep(pool.join(|| Bomb, throw)));
            caught(&|| keep(pool.join(throw, || Bomb)));
            caught(&|| keep(trefoil::join(|| Bomb, throw)));
            caught(&|| keep(pool.join(long, throw)));
            caught(&|| keep(pool.join(throw, long)));
            caught(&|| keep(pool.install(|| trefoil::join(|| Bomb, throw))));
            caught(&|| {
                let ((a, _), ()) = pool.join(|| pool.join(|| Bomb, || 1), || drop(throw()));
                std::mem::forget(a);
            });
            let some = |i: i32| if i == 9 { throw() } else { Bomb };
            caught(&|| std::mem::forget(pool.map(0..10, some)));
            caught(&|| std::mem::forget(pool.try_map(0..10, |i| Ok::<_, ()>(some(i)))));
            let few = (0..10).filter(|i| i % 2 == 1).collect::<BTreeSet<_>>();
            caught(&|| std::mem::forget(pool.map(&few, |i| some(*i))));
            caught(&|| std::mem::forget(pool.broadcast(|_| throw())));
            caught(&|| {
                let _of_two = pool.broadcast(|i| if i == 0 { throw() } else { Bomb });
                throw();
            });
            caught(&|| {
                let group = TaskGroup::new();
                for _ in 0..2 {
                    group.add(pool.spawn(|| Bomb));
                }
                let ended = [(); 2].map(|()| Task::ready(Bomb));
                let mut imap = pool.imap(0..5, |_| Bomb);
                std::mem::forget(imap.next());
                std::mem::forget((throw(), &group, &ended));
            });
            // Without a panic, but with two results that nobody gets.
            for of in [0..10, 0..10] {
                let failed = pool.try_map(of, |i| if i == 9 { Err(()) } else { Ok(Bomb) });
                assert!(failed.is_err());
            }
            let failed = pool.try_map(&few, |i| if *i == 9 { Err(()) } else { Ok(Bomb) });
            assert!(failed.is_err());
        }
        assert_eq!(pool.map(0..10, |i| i).len(), 10);
    }
}

/// The same of halves on two threads at once.
#[test]
fn bombs_in_results_of_stolen_halves_do_not_abort() {
    let _watchdog = watchdog();
    let pool = ThreadPool::with_threads(2);
    let message_of = |f: &dyn Fn() -> (Bomb, Bomb)| {
        let caught = catch_unwind(AssertUnwindSafe(|| std::mem::forget(f())));
        message(&*caught.unwrap_err()).to_owned()
    };
    for first_panics in [true, false] {
        let half = |panics: bool| if panics { panic!("the other") } else { Bomb };
        let mut stolen = 0;
        // (Whether another thread takes the second half while the first waits is up to the pool.)
        while stolen < 3 {
            let (begun, was_stolen) = (AtomicBool::new(false), AtomicBool::new(false));
            let said = message_of(&|| {
                let first = || {
                    let end = Instant::now() + Duration::from_millis(20);
                    while !begun.load(Ordering::Relaxed) && Instant::now() < end {
                        std::thread::yield_now();
                    }
                    was_stolen.store(begun.load(Ordering::Relaxed), Ordering::Relaxed);
                    half(first_panics)
                };
                let second = || {
                    begun.store(true, Ordering::Relaxed);
                    half(!first_panics)
                };
                pool.join(first, second)
            });
            assert_eq!(said, "the other");
            stolen += u32::from(was_stolen.into_inner());
        }
    }
}

/// Which thread the system has refused, and what to do.
#[cfg(target_os = "linux")]
#[test]
fn a_pool_without_its_threads_says_which_was_refused() {
    let name = "pool::a_pool_without_its_threads_says_which_was_refused";
    deadline::alone(name, "", || {
        let refused = crate::refuse::refuse(&[libc::SYS_clone, libc::SYS_clone3], libc::EAGAIN);
        if let Err(error) = refused {
            return println!("skipped: calls cannot be refused here: {error}");
        }
        let error = ThreadPool::builder().threads(3).build().unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::WouldBlock);
        let text = error.to_string();
        assert!(text.contains("thread 1 of a pool of 3"), "{text}");
        assert!(text.contains("Ask for fewer threads"), "{text}");
        let source = std::error::Error::source(&error).and_then(|error| error.downcast_ref());
        let system: &std::io::Error = source.expect("the system's error");
        assert_eq!(system.raw_os_error(), Some(libc::EAGAIN));
    });
}

#[test]
fn what_no_caller_may_run_runs_on_the_pools_own_threads() {
    let _watchdog = watchdog();
    let pool = ThreadPool::builder()
        .threads(1)
        .name("own")
        .caller_helps(false)
        .build()
        .unwrap();
    let name = || std::thread::current().name().unwrap().to_owned();
    let check = |names: &[String]| assert!(names.iter().all(|name| name.starts_with("own-")));
    let both = |(a, b): (String, String)| check(&[a, b]);
    both(pool.join(name, name));
    check(&pool.map(0..10, |_| name()));
    check(&[pool.spawn(name).join().unwrap()]);
    // The body of a scope runs on this thread, but calls that use the current pool do not.
    pool.scope(|s| {
        both(trefoil::join(name, name));
        check(&[s.spawn(name).join().unwrap()]);
        check(&[trefoil::scope(|s| s.spawn(name).join().unwrap())]);
        check(&[trefoil::spawn_blocking(name).join().unwrap()]);
    });
    // After the pool's end no other thread can run it.
    pool.shutdown(Shutdown::Wait);
    let (a, b) = pool.scope(|_| trefoil::join(name, name));
    assert_eq!([&a, &b], [&name(), &name()]);
}

#[test]
fn the_global_pool_is_one_and_serves_the_free_functions() {
    let _watchdog = watchdog();
    assert_eq!(trefoil::join(|| 1, || 2), (1, 2));
    let global = ThreadPool::global();
    assert!(std::ptr::eq(global, ThreadPool::global()));
    assert_eq!(
        ThreadPool::builder().build_global().unwrap_err().kind(),
        std::io::ErrorKind::AlreadyExists
    );
    assert_eq!(trefoil::spawn_blocking(|| 3).join().unwrap(), 3);
    // Inside a pool, the free functions mean that pool.
    let pool = ThreadPool::builder()
        .threads(1)
        .name("inner")
        .build()
        .unwrap();
    let name = || std::thread::current().name().map(str::to_owned);
    let names = pool.install(|| trefoil::spawn_blocking(name).join().unwrap());
    assert_eq!(names.unwrap(), "inner-0");
}

#[test]
fn the_width_follows_the_environment() {
    let _watchdog = watchdog();
    let width = |asked: &str| {
        let program = std::env::current_exe().unwrap();
        let output = std::process::Command::new(program)
            .args([
                "--exact",
                "pool::print_the_width",
                "--ignored",
                "--nocapture",
            ])
            .env("TREFOIL_THREADS", asked)
            .output()
            .unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        let (_, width) = text.split_once("width=").unwrap();
        let told = String::from_utf8(output.stderr).unwrap();
        let told = told.lines().filter(|line| line.contains("TREFOIL_THREADS"));
        let told: Vec<String> = told.map(str::to_owned).collect();
        (
            width.split_once(';').unwrap().0.parse::<usize>().unwrap(),
            told,
        )
    };
    let processors = std::thread::available_parallelism().unwrap().get();
    assert_eq!(width("3"), (3, vec![]));
    assert_eq!(width("0"), (processors, vec![]));
    assert_eq!(width(""), (processors, vec![]));
    assert_eq!(width("-1"), (processors, vec![]));
    assert_eq!(width("-2"), ((processors - 1).max(1), vec![]));
    for wrong in ["many", "-", "4097", "2.0"] {
        let (ignored, told) = width(wrong);
        assert_eq!((ignored, told.len()), (processors, 1), "{told:?}");
        assert!(told[0].contains(&format!("`{wrong}`")), "{told:?}");
    }
}

#[test]
fn a_width_can_leave_processors_free() {
    let _watchdog = watchdog();
    let all = ThreadPool::new().num_threads();
    let width = |builder: ThreadPoolBuilder| builder.build().unwrap().num_threads();
    if std::env::var_os("TREFOIL_THREADS").is_none() {
        for (free, expected) in [(0, all), (1, (all - 1).max(1)), (all, 1), (usize::MAX, 1)] {
            let builder = ThreadPool::builder().leave_free(free);
            assert_eq!(width(builder), expected, "{free}");
        }
        let cores = width(ThreadPool::builder().physical_cores(true));
        let fewer = width(ThreadPool::builder().physical_cores(true).leave_free(1));
        assert_eq!(fewer, (cores - 1).max(1));
    }
    assert_eq!(width(ThreadPool::builder().leave_free(1).threads(3)), 3);
}

#[test]
#[ignore = "speaks of its environment: run, as a child, by the_width_follows_the_environment"]
fn print_the_width() {
    drop(ThreadPool::new()); // the invalid value is reported once, not for the second pool
    println!("width={};", ThreadPool::new().num_threads());
}

// ---- shutdown and what is left ---------------------------------------------

#[test]
fn wait_runs_everything_and_then_refuses() {
    let _watchdog = watchdog();
    let pool = ThreadPool::with_threads(2);
    let done = Arc::new(AtomicUsize::new(0));
    for _ in 0..1000 {
        let done = Arc::clone(&done);
        pool.spawn(move || {
            // A task's child is waited for, too.
            let inner = Arc::clone(&done);
            trefoil::spawn_blocking(move || inner.fetch_add(1, Ordering::Relaxed)).detach();
            done.fetch_add(1, Ordering::Relaxed);
        })
        .detach();
    }
    pool.shutdown(Shutdown::Wait);
    assert_eq!(done.load(Ordering::Relaxed), 2000);
    assert!(matches!(pool.spawn(|| ()).join(), Err(TaskError::Closed)));
    // Regions run in the caller.
    let me = std::thread::current().id();
    let here = || std::thread::current().id() == me;
    assert!(pool.map(0..100, |_| here()).into_iter().all(|is| is));
    assert_eq!(pool.join(here, here), (true, true));
    assert!(pool.install(here));
    assert!(pool.scope(|s| s.spawn(here).join().unwrap()));
    pool.scope(|s| drop(s.spawn(|| assert!(here()))));
    pool.shutdown(Shutdown::CancelPending);
}

#[test]
fn cancel_pending_never_runs_what_is_queued() {
    let _watchdog = watchdog();
    let pool = ThreadPool::builder()
        .threads(1)
        .caller_helps(false)
        .build()
        .unwrap();
    let (go, gate) = mpsc::channel::<()>();
    let (began_send, began) = mpsc::channel();
    let running = pool.spawn(move || {
        began_send.send(()).unwrap();
        gate.recv().unwrap();
    });
    began.recv().unwrap();
    let queued: Vec<Task<()>> = (0..100)
        .map(|_| pool.spawn(|| panic!("must not run")))
        .collect();
    std::thread::scope(|s| {
        s.spawn(|| pool.shutdown(Shutdown::CancelPending));
        // They end while the running one still runs.
        for task in queued {
            assert!(matches!(task.join(), Err(TaskError::Cancelled)));
        }
        assert!(!running.is_finished());
        assert!(matches!(pool.spawn(|| ()).join(), Err(TaskError::Closed)));
        go.send(()).unwrap();
    });
    running.join().unwrap();
}

#[test]
fn shutdown_from_inside_joins_all_but_itself() {
    let _watchdog = watchdog();
    for threads in [1, 2, 4] {
        for how in [Shutdown::Wait, Shutdown::CancelPending] {
            let pool = Arc::new(ThreadPool::with_threads(threads));
            let barrier = Arc::new(Barrier::new(threads));
            // Every worker does it at once.
            let tasks: Vec<_> = (0..threads)
                .map(|_| {
                    let (inner, barrier) = (Arc::clone(&pool), Arc::clone(&barrier));
                    let (send, receive) = mpsc::channel();
                    pool.spawn(move || {
                        barrier.wait();
                        inner.shutdown(how);
                        let after = inner.spawn(|| ()).join();
                        let sum = inner.map_reduce(0..10, |i| i, || 0, |a, b| a + b);
                        send.send((matches!(after, Err(TaskError::Closed)), sum))
                            .unwrap();
                    })
                    .detach();
                    receive
                })
                .collect();
            for receive in tasks {
                assert_eq!(receive.recv().unwrap(), (true, 45));
            }
            pool.shutdown(how);
        }
    }
}

#[test]
fn a_hundred_pools_leave_no_thread_behind() {
    let _watchdog = watchdog();
    for round in 0..100 {
        let pool = ThreadPool::builder()
            .threads(3)
            .name("census")
            .build()
            .unwrap();
        match round % 4 {
            0 => {}
            // Dropped while tasks are queued.
            1 => (0..200).for_each(|_| pool.spawn(|| fib(5)).detach()),
            // Dropped by one of its own workers.
            2 => {
                let pool = Arc::new(pool);
                let (last_send, last) = mpsc::channel();
                let inner = Arc::clone(&pool);
                pool.spawn(move || {
                    last.recv().unwrap();
                    drop(inner);
                })
                .detach();
                drop(pool);
                last_send.send(()).unwrap();
            }
            // With spares at work.
            _ => {
                let (completer, promise) = Completer::new();
                let promise = Arc::new(Mutex::new(Some(promise)));
                for _ in 0..5 {
                    let promise = Arc::clone(&promise);
                    pool.spawn(move || {
                        let taken = promise.lock().unwrap().take();
                        taken.map(Task::join)
                    })
                    .detach();
                }
                pool.spawn(move || completer.complete(Ok(()))).detach();
            }
        }
    }
    eventually("threads of dropped pools are gone", || {
        threads_named("census") == 0
    });
}

#[test]
fn an_idle_pool_sleeps() {
    let _watchdog = watchdog();
    idle_pool_sleeps(4);
}

/// After a region both of its threads look for the next one, for a moment.
#[test]
fn an_idle_pool_of_two_sleeps() {
    let _watchdog = watchdog();
    idle_pool_sleeps(2);
}

fn idle_pool_sleeps(threads: usize) {
    let name = format!("idle{threads}");
    let pool = ThreadPool::builder().threads(threads).name(&name);
    let pool = pool.build().unwrap();
    for _ in 0..20 {
        pool.map(0..100, |_| fib(10));
        pool.install(|| trefoil::join(|| fib(10), || fib(10)));
    }
    let switches = || {
        let tasks = std::fs::read_dir("/proc/self/task").unwrap();
        let mut all = BTreeMap::new();
        for task in tasks {
            let path = task.unwrap().path();
            let Ok(comm) = std::fs::read_to_string(path.join("comm")) else {
                continue;
            };
            if comm.starts_with(&name) {
                let status = std::fs::read_to_string(path.join("status")).unwrap();
                let count: u64 = status
                    .lines()
                    .filter(|line| line.contains("ctxt_switches"))
                    .map(|line| {
                        line.split_whitespace()
                            .nth(1)
                            .unwrap()
                            .parse::<u64>()
                            .unwrap()
                    })
                    .sum();
                all.insert(path, count);
            }
        }
        all
    };
    // On a busy machine a wait may have had a spare, which ends some seconds later.
    eventually("the spares end", || threads_named(&name) == threads);
    // Workers that have just run go to sleep by themselves; then no thread runs.
    let mut before = switches();
    eventually("the workers fall asleep", || {
        format!("{pool:?}").contains("running: 0")
    });
    for attempt in 0.. {
        std::thread::sleep(Duration::from_millis(300));
        let after = switches();
        if after == before {
            break;
        }
        assert!(attempt < 3, "an idle pool wakes up: {before:?} {after:?}");
        before = after;
    }
    assert_eq!(before.len(), threads);
}

#[test]
fn a_refused_thread_is_an_error_and_leaves_nothing() {
    let _watchdog = watchdog();
    let pool = ThreadPool::builder()
        .threads(2)
        .name("refused")
        .stack_size(usize::MAX - (1 << 20))
        .build();
    assert!(pool.is_err());
    let pool = ThreadPool::builder().threads(usize::MAX).build();
    assert_eq!(pool.unwrap_err().kind(), std::io::ErrorKind::InvalidInput);
    eventually("threads that were given are gone", || {
        threads_named("refused") == 0
    });
}

#[test]
fn random_graphs_of_work_give_the_sequential_answer() {
    let _watchdog = watchdog();
    // A tree of work whose shape and kinds of fork come from a number.
    fn grow(seed: u64, depth: u32, parallel: bool) -> u64 {
        if depth == 0 {
            return seed & 0xFF;
        }
        let next = |i: u64| {
            let x = (seed ^ i).wrapping_mul(0x9E37_79B9_7F4A_7C15);
            x ^ (x >> 29)
        };
        let (a, b) = (next(1), next(2));
        let d = depth - 1;
        if !parallel {
            return match seed % 5 {
                3 => (0..4)
                    .map(|i| grow(next(i), d / 2, false))
                    .fold(0, u64::wrapping_add),
                _ => grow(a, d, false).wrapping_add(grow(b, d, false)),
            };
        }
        let (x, y) = match seed % 5 {
            0 | 1 => trefoil::join(|| grow(a, d, true), || grow(b, d, true)),
            2 => trefoil::scope(|s| {
                let x = s.spawn(move || grow(a, d, true));
                let y = grow(b, d, true);
                (x.join().unwrap(), y)
            }),
            3 => {
                let parts = ThreadPool::global().map(0..4, |i| grow(next(i), d / 2, true));
                (parts.into_iter().fold(0, u64::wrapping_add), 0)
            }
            _ => {
                let x = trefoil::spawn_blocking(move || grow(a, d, true));
                let y = grow(b, d, true);
                (x.join().unwrap(), y)
            }
        };
        x.wrapping_add(y)
    }
    let rounds = if cfg!(miri) { 1 } else { 60 };
    for (threads, helps) in [(1, true), (2, false), (4, true)] {
        let pool = of(threads, helps);
        for seed in 0..rounds {
            let expected = grow(seed, 9, false);
            assert_eq!(
                pool.install(|| grow(seed, 9, true)),
                expected,
                "seed {seed}"
            );
        }
    }
}

#[test]
fn many_outside_threads_use_one_pool_at_once() {
    let _watchdog = watchdog();
    let pool = ThreadPool::with_threads(2);
    std::thread::scope(|s| {
        for _ in 0..8 {
            s.spawn(|| {
                for i in 0..200_u64 {
                    assert_eq!(pool.join(|| i, || i + 1), (i, i + 1));
                    assert_eq!(pool.map(0..i, |x| x).len() as u64, i);
                    assert_eq!(pool.spawn(move || i).join().unwrap(), i);
                    assert_eq!(pool.install(|| fib(5)), 5);
                }
            });
        }
    });
}
