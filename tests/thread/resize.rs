//! Resizing a thread pool at run time; and `broadcast`, which calls a closure once on each worker.
//!
//! Everything that could hang runs under a deadline.
#![allow(clippy::disallowed_methods, clippy::disallowed_types)] // a program, not the crate

use crate::deadline;

use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Barrier, Mutex, mpsc};
use std::thread::ThreadId;
use std::time::Duration;

use deadline::{asleep, eventually, threads_asleep, threads_named, within_deadline};
use trefoil::thread::current_index;
use trefoil::{CancelToken, Completer, Shutdown, TaskError, ThreadPool, Until, wait};

fn named(name: &str, threads: usize) -> ThreadPool {
    let builder = ThreadPool::builder().name(name).threads(threads);
    builder.build().unwrap()
}

fn fib(n: u64) -> u64 {
    if n < 2 {
        return n;
    }
    let (a, b) = trefoil::join(|| fib(n - 1), || fib(n - 2));
    a + b
}

fn message(payload: &(dyn std::any::Any + Send)) -> String {
    let text = payload
        .downcast_ref::<&str>()
        .map(|text| (*text).to_owned());
    text.or_else(|| payload.downcast_ref::<String>().cloned())
        .unwrap()
}

/// Waits until no worker runs or looks for work, so that threads which must end do so at once. (Not
/// if all rounds are requested: threads that do not sleep yet then become spares.)
fn all_sleep(pool: &ThreadPool) {
    if std::env::var_os("TREFOIL_FULL").is_some() {
        return;
    }
    eventually("all sleep", || {
        format!("{pool:?}").contains("running: 0, searching: 0")
    });
}

/// `width` tasks run at the same time: none ends before all have begun.
fn runs_at_once(pool: &ThreadPool, width: usize) {
    let barrier = Arc::new(Barrier::new(width));
    let tasks: Vec<_> = (0..width)
        .map(|_| {
            let barrier = Arc::clone(&barrier);
            let (tell, told) = mpsc::channel();
            pool.spawn(move || {
                barrier.wait();
                tell.send(()).unwrap();
            })
            .detach();
            told
        })
        .collect();
    tasks.iter().for_each(|told| told.recv().unwrap());
}

// ---- resize ----------------------------------------------------------------

#[test]
fn a_pool_grows_and_shrinks_and_its_threads_come_and_go() {
    within_deadline(|| {
        let pool = named("rsz", 2);
        for (round, width) in [5, 1, 3, 8, 2, 1, 4].into_iter().enumerate() {
            // Those that do not sleep yet become spares first, which takes seconds: the first time.
            if round > 1 {
                all_sleep(&pool);
            }
            pool.resize(width);
            assert_eq!(pool.num_threads(), width);
            runs_at_once(&pool, width);
            eventually("as many threads as it is wide", || {
                threads_named("rsz-") == width
            });
            assert_eq!(
                pool.broadcast(|index| index),
                (0..width).collect::<Vec<_>>()
            );
            assert_eq!(pool.install(|| fib(15)), 610);
        }
        drop(pool);
        eventually("no thread is left", || threads_named("rsz-") == 0);
    });
}

#[test]
fn zero_is_the_default_and_too_many_is_a_sentence() {
    within_deadline(|| {
        let default = ThreadPool::new().num_threads();
        let pool = ThreadPool::with_threads(default + 1);
        pool.resize(0);
        assert_eq!(pool.num_threads(), default);
        for many in [40_000, usize::MAX] {
            let caught = catch_unwind(|| pool.resize(many)).unwrap_err();
            assert!(message(&*caught).contains("at most 32768"));
            assert_eq!(pool.num_threads(), default);
        }
    });
}

#[test]
fn a_pool_is_narrowed_and_widened_while_a_thousand_tasks_run() {
    within_deadline(|| {
        for inside in [false, true] {
            let pool = Arc::new(named("busy", 4));
            let ran = Arc::new(AtomicUsize::new(0));
            let tasks: Vec<_> = (0..1000)
                .map(|i| {
                    let (pool, ran) = (Arc::downgrade(&pool), Arc::clone(&ran));
                    trefoil_spawn(&pool, move |pool| {
                        ran.fetch_add(1, Ordering::Relaxed);
                        // A child in this worker's own deque, for which no code waits here.
                        let child = Arc::clone(&ran);
                        trefoil::spawn_blocking(move || child.fetch_add(1, Ordering::Relaxed))
                            .detach();
                        if inside && i % 50 == 0 {
                            pool.resize(if i % 100 == 0 { 1 } else { 4 });
                        }
                        fib(8)
                    })
                })
                .collect();
            if !inside {
                for width in [1, 4, 2, 6, 1, 3, 1, 4].into_iter().cycle().take(80) {
                    pool.resize(width);
                    assert_eq!(pool.num_threads(), width);
                }
            }
            for task in tasks {
                assert_eq!(task.join().unwrap(), 21);
            }
            pool.resize(2);
            runs_at_once(&pool, 2);
            pool.shutdown(Shutdown::Wait);
            assert_eq!(ran.load(Ordering::Relaxed), 2000);
        }
    });
}

fn trefoil_spawn<T: Send + 'static>(
    pool: &std::sync::Weak<ThreadPool>,
    f: impl FnOnce(&ThreadPool) -> T + Send + 'static,
) -> trefoil::Task<T> {
    let (strong, weak) = (pool.upgrade().unwrap(), pool.clone());
    strong.spawn(move || f(&weak.upgrade().unwrap()))
}

#[test]
fn what_a_dismissed_worker_has_queued_is_taken_by_the_others() {
    within_deadline(|| {
        for _ in 0..20 {
            let pool = Arc::new(ThreadPool::with_threads(3));
            let ran = Arc::new(AtomicUsize::new(0));
            let (go, gate) = mpsc::channel::<()>();
            let gate = Arc::new(Mutex::new(gate));
            let (queued, told) = mpsc::channel();
            for _ in 0..3 {
                let (ran, gate, queued) = (Arc::clone(&ran), Arc::clone(&gate), queued.clone());
                pool.spawn(move || {
                    for _ in 0..50 {
                        let ran = Arc::clone(&ran);
                        trefoil::spawn_blocking(move || ran.fetch_add(1, Ordering::Relaxed))
                            .detach();
                    }
                    queued.send(()).unwrap();
                    gate.lock().unwrap().recv().unwrap();
                })
                .detach();
            }
            (0..3).for_each(|_| told.recv().unwrap());
            pool.resize(1);
            (0..3).for_each(|_| go.send(()).unwrap());
            pool.shutdown(Shutdown::Wait);
            assert_eq!(ran.load(Ordering::Relaxed), 150);
        }
    });
}

#[test]
fn a_pool_is_resized_while_its_workers_wait() {
    within_deadline(|| {
        let pool = Arc::new(named("wait", 3));
        let (completers, promises): (Vec<_>, Vec<_>) =
            (0..6).map(|_| Completer::<u32>::new()).unzip();
        let waiters: Vec<_> = promises
            .into_iter()
            .map(|promise| pool.spawn(move || promise.join().unwrap()))
            .collect();
        eventually("all wait", || format!("{pool:?}").contains("blocked: 6"));
        pool.resize(1);
        // The pool has one thread: another task than the six must complete the promises.
        for (i, completer) in completers.into_iter().enumerate() {
            pool.spawn(move || completer.complete(Ok(i as u32)))
                .detach();
        }
        let given: Vec<u32> = waiters
            .into_iter()
            .map(|task| task.join().unwrap())
            .collect();
        assert_eq!(given, [0, 1, 2, 3, 4, 5]);
        pool.resize(2);
        runs_at_once(&pool, 2);
        eventually("spares retire, too", || threads_named("wait-") == 2);
    });
}

#[test]
fn many_threads_resize_at_once() {
    within_deadline(|| {
        let pool = named("all", 2);
        let stop = AtomicBool::new(false);
        std::thread::scope(|s| {
            for seed in 0..4_usize {
                let (pool, stop) = (&pool, &stop);
                s.spawn(move || {
                    let mut width = seed;
                    while !stop.load(Ordering::Relaxed) {
                        width = (width * 5 + 3) % 7;
                        pool.resize(width + 1);
                    }
                });
            }
            for round in 0..300_u64 {
                assert_eq!(pool.map(0..round, |i| i + 1).len() as u64, round);
                assert_eq!(pool.install(|| fib(8)), 21);
                let (a, b) = pool.join(|| fib(5), || fib(6));
                assert_eq!((a, b), (5, 8));
            }
            stop.store(true, Ordering::Relaxed);
        });
        pool.resize(3);
        runs_at_once(&pool, 3);
        eventually("three threads are left", || threads_named("all-") == 3);
    });
}

#[test]
fn resizing_during_and_after_shutdown_changes_nothing() {
    within_deadline(|| {
        for _ in 0..50 {
            let pool = named("late", 2);
            let tasks: Vec<_> = (0..20).map(|_| pool.spawn(|| fib(10))).collect();
            std::thread::scope(|s| {
                s.spawn(|| (1..6).for_each(|width| pool.resize(width)));
                s.spawn(|| pool.shutdown(Shutdown::Wait));
            });
            for task in tasks {
                assert_eq!(task.join().unwrap(), 55);
            }
            let width = pool.num_threads();
            pool.resize(width + 3);
            assert_eq!(pool.num_threads(), width);
            assert!(matches!(pool.spawn(|| ()).join(), Err(TaskError::Closed)));
        }
        eventually("no thread is left", || threads_named("late-") == 0);
    });
}

#[test]
fn a_task_resizes_its_own_pool_away_from_under_itself() {
    within_deadline(|| {
        let pool = Arc::new(named("self", 4));
        let barrier = Arc::new(Barrier::new(4));
        let tasks: Vec<_> = (0..4)
            .map(|_| {
                let (inner, barrier) = (Arc::clone(&pool), Arc::clone(&barrier));
                let (tell, told) = mpsc::channel();
                pool.spawn(move || {
                    barrier.wait();
                    inner.resize(1);
                    let sum = inner.map_reduce(0..100, |i| i, || 0, |a, b| a + b);
                    let joined = inner.join(|| fib(10), || fib(11));
                    inner.resize(2);
                    tell.send((sum, joined)).unwrap();
                })
                .detach();
                told
            })
            .collect();
        for told in tasks {
            assert_eq!(told.recv().unwrap(), (4950, (55, 89)));
        }
        pool.resize(2);
        eventually("two threads are left", || threads_named("self-") == 2);
        runs_at_once(&pool, 2);
    });
}

#[test]
fn hooks_are_called_for_each_thread_that_starts_and_ends() {
    within_deadline(|| {
        let seen = Arc::new(Mutex::new(Vec::new()));
        let (starts, exits) = (Arc::clone(&seen), Arc::clone(&seen));
        let pool = ThreadPool::builder()
            .threads(1)
            .name("hooked")
            .on_start(move |index| starts.lock().unwrap().push((index, true)))
            .on_exit(move |index| exits.lock().unwrap().push((index, false)))
            .build()
            .unwrap();
        let count = |what: (usize, bool)| {
            seen.lock()
                .unwrap()
                .iter()
                .filter(|&&seen| seen == what)
                .count()
        };
        pool.broadcast(|_| ());
        for round in 1..=5 {
            pool.resize(3);
            pool.broadcast(|_| ());
            assert_eq!((count((1, true)), count((2, true))), (round, round));
            // Those that do not sleep yet become spares first, which takes seconds: the first time.
            if round > 1 {
                all_sleep(&pool);
            }
            pool.resize(1);
            eventually("they have ended", || {
                (count((1, false)), count((2, false))) == (round, round)
            });
            eventually("and are gone", || threads_named("hooked-") == 1);
        }
        assert_eq!((count((0, true)), count((0, false))), (1, 0));
    });
}

// ---- broadcast -------------------------------------------------------------

#[test]
fn each_worker_is_called_once_and_results_are_in_order() {
    within_deadline(|| {
        for threads in [1, 2, 5] {
            let pool = named("each", threads);
            for round in 0..200 {
                if round % 10 == 0 {
                    // From deep sleep, too.
                    eventually("all sleep", || format!("{pool:?}").contains("running: 0"));
                }
                let text = String::from("borrowed");
                let told = pool.broadcast(|index| {
                    let name = std::thread::current().name().unwrap().to_owned();
                    (
                        index,
                        current_index(),
                        name,
                        std::thread::current().id(),
                        text.len(),
                    )
                });
                let ids: BTreeSet<String> =
                    told.iter().map(|told| format!("{:?}", told.3)).collect();
                assert_eq!(ids.len(), threads, "one thread has been called twice");
                for (i, (index, current, name, _, length)) in told.into_iter().enumerate() {
                    assert_eq!((index, current, length), (i, Some(i), 8));
                    assert_eq!(name, format!("each-{i}"));
                }
            }
        }
    });
}

#[test]
fn a_busy_worker_comes_after_what_it_runs() {
    within_deadline(|| {
        let pool = ThreadPool::with_threads(2);
        let (go, gate) = mpsc::channel::<()>();
        let (began, begun) = mpsc::channel();
        pool.spawn(move || {
            began.send(std::thread::current().id()).unwrap();
            gate.recv().unwrap();
        })
        .detach();
        let busy: ThreadId = begun.recv().unwrap();
        let called = AtomicUsize::new(0);
        std::thread::scope(|s| {
            let all = s.spawn(|| {
                pool.broadcast(|_| {
                    called.fetch_add(1, Ordering::Relaxed);
                    std::thread::current().id()
                })
            });
            eventually("the idle one is called", || {
                called.load(Ordering::Relaxed) == 1
            });
            // The stall rule is for workers that wait; this one is working.
            std::thread::sleep(Duration::from_millis(60));
            assert_eq!(called.load(Ordering::Relaxed), 1);
            go.send(()).unwrap();
            let ids = all.join().unwrap();
            assert!(ids.contains(&busy) && ids[0] != ids[1]);
        });
    });
}

#[test]
fn a_worker_that_broadcasts_calls_its_own_share_itself() {
    within_deadline(|| {
        for threads in [1, 3] {
            let pool = ThreadPool::with_threads(threads);
            for _ in 0..100 {
                pool.install(|| {
                    let me = (current_index().unwrap(), std::thread::current().id());
                    let ids = pool.broadcast(|_| std::thread::current().id());
                    assert_eq!(ids.len(), threads);
                    assert_eq!(ids[me.0], me.1);
                });
            }
        }
    });
}

#[test]
fn broadcasts_inside_of_broadcasts_and_all_at_once() {
    within_deadline(|| {
        for threads in [1, 2, 4] {
            let pool = ThreadPool::with_threads(threads);
            for _ in 0..20 {
                let nested = pool.broadcast(|outer| {
                    let inner = pool.broadcast(|inner| inner * 10 + outer);
                    assert_eq!(inner.len(), threads);
                    inner.into_iter().sum::<usize>()
                });
                let tens: usize = (0..threads).map(|inner| inner * 10).sum();
                let expected: Vec<usize> = (0..threads).map(|i| tens + i * threads).collect();
                assert_eq!(nested, expected);
            }
            // Three deep, while outside threads do the same.
            std::thread::scope(|s| {
                for _ in 0..3 {
                    s.spawn(|| {
                        let count = pool.broadcast(|_| {
                            let deep = |_| pool.broadcast(|_| 1).into_iter().sum::<usize>();
                            pool.broadcast(deep).into_iter().sum::<usize>()
                        });
                        assert_eq!(count, vec![threads * threads; threads]);
                    });
                }
            });
        }
    });
}

#[test]
fn two_pools_broadcast_to_each_other() {
    within_deadline(|| {
        let (a, b) = (ThreadPool::with_threads(2), ThreadPool::with_threads(2));
        for _ in 0..50 {
            std::thread::scope(|s| {
                s.spawn(|| a.broadcast(|_| b.broadcast(|_| a.install(|| 1))));
                s.spawn(|| b.broadcast(|_| a.broadcast(|_| b.install(|| 1))));
            });
        }
    });
}

#[test]
fn a_worker_that_waits_for_a_broadcast_is_not_waited_for() {
    within_deadline(|| {
        // Each waits for a task that needs every worker: for a promise, for a task, for a half.
        for threads in [1, 2, 3] {
            let pool = Arc::new(ThreadPool::with_threads(threads));
            for _ in 0..20 {
                let (completer, promise) = Completer::new();
                let waiter = pool.spawn(move || promise.join().unwrap());
                let inner = Arc::clone(&pool);
                pool.spawn(move || completer.complete(Ok(inner.broadcast(|i| i).len())))
                    .detach();
                assert_eq!(waiter.join().unwrap(), threads);

                let barrier = Barrier::new(2);
                let (a, b) = pool.install(|| {
                    if threads == 1 {
                        return pool.join(|| 1, || pool.broadcast(|i| i).len());
                    }
                    let first = || {
                        barrier.wait();
                        1
                    };
                    let stolen = || {
                        barrier.wait();
                        pool.broadcast(|i| i).len()
                    };
                    pool.join(first, stolen)
                });
                assert_eq!((a, b), (1, threads));
            }
            // While it announces that it blocks.
            let (go, gate) = mpsc::channel::<()>();
            let inner = Arc::clone(&pool);
            let blocked = pool.spawn(move || inner.blocking(|| gate.recv().unwrap()));
            eventually("it blocks", || format!("{pool:?}").contains("blocked: 1"));
            assert_eq!(pool.broadcast(|i| i).len(), threads);
            go.send(()).unwrap();
            blocked.join().unwrap();
        }
    });
}

#[test]
fn the_lowest_panic_resumes_after_all_have_ended() {
    within_deadline(|| {
        struct Counted<'a>(&'a AtomicUsize);
        impl Drop for Counted<'_> {
            fn drop(&mut self) {
                self.0.fetch_add(1, Ordering::Relaxed);
            }
        }
        let pool = ThreadPool::with_threads(4);
        for inside in [false, true] {
            let (calls, drops) = (AtomicUsize::new(0), AtomicUsize::new(0));
            let all = || {
                let result = catch_unwind(AssertUnwindSafe(|| {
                    pool.broadcast(|index| {
                        if index % 2 == 1 {
                            std::thread::sleep(Duration::from_millis(5 - index as u64));
                            calls.fetch_add(1, Ordering::Relaxed);
                            panic!("{index}");
                        }
                        calls.fetch_add(1, Ordering::Relaxed);
                        Counted(&drops)
                    })
                }));
                assert_eq!(calls.load(Ordering::Relaxed), 4);
                assert_eq!(message(&*result.err().unwrap()), "1");
                assert_eq!(drops.load(Ordering::Relaxed), 2);
            };
            if inside { pool.install(all) } else { all() }
        }
        assert_eq!(pool.broadcast(|i| i), [0, 1, 2, 3]);
    });
}

#[test]
fn after_shutdown_the_caller_is_every_worker() {
    within_deadline(|| {
        let pool = ThreadPool::with_threads(3);
        pool.shutdown(Shutdown::Wait);
        let me = std::thread::current().id();
        let told = pool.broadcast(|index| (index, std::thread::current().id()));
        assert_eq!(told, [(0, me), (1, me), (2, me)]);
        // During a resize: each share is run once, on whichever thread.
        for round in 0..200 {
            let pool = ThreadPool::with_threads(3);
            let how = [Shutdown::Wait, Shutdown::CancelPending][round % 2];
            std::thread::scope(|s| {
                let all = s.spawn(|| pool.broadcast(|index| index));
                s.spawn(|| pool.shutdown(how));
                assert_eq!(all.join().unwrap(), [0, 1, 2]);
            });
        }
        // From inside the pool.
        for how in [Shutdown::Wait, Shutdown::CancelPending] {
            let pool = ThreadPool::with_threads(3);
            let told = pool.broadcast(|index| {
                if index == 1 {
                    pool.shutdown(how);
                    return pool.broadcast(|i| i).len() * 10;
                }
                index
            });
            assert_eq!(told, [0, 30, 2]);
        }
    });
}

#[test]
fn tasks_that_still_run_broadcast_while_their_pool_shuts_down() {
    within_deadline(|| {
        for _ in 0..50 {
            let pool = Arc::new(ThreadPool::with_threads(2));
            let tasks: Vec<_> = (0..10)
                .map(|_| {
                    let inner = Arc::downgrade(&pool);
                    trefoil_spawn(&inner, |pool| pool.broadcast(|i| i).len())
                })
                .collect();
            pool.shutdown(Shutdown::Wait);
            for task in tasks {
                assert_eq!(task.join().unwrap(), 2);
            }
        }
    });
}

#[test]
fn hooks_broadcast() {
    within_deadline(|| {
        let (tell, told) = mpsc::channel();
        let cell: Arc<Mutex<Option<Arc<ThreadPool>>>> = Arc::default();
        let (at_start, at_exit) = (Arc::clone(&cell), Arc::clone(&cell));
        let (start_tell, exit_tell) = (Mutex::new(tell.clone()), Mutex::new(tell));
        // Without those of spares, which replace workers that wait here: their names have higher
        // numbers.
        let own = ["hooks-1", "hooks-2", "hooks-3"];
        let hook = move |cell: &Mutex<Option<Arc<ThreadPool>>>,
                         tell: &Mutex<mpsc::Sender<usize>>| {
            let pool = cell.lock().unwrap().clone();
            let is_own = own.contains(&std::thread::current().name().unwrap());
            if let Some(pool) = pool.filter(|_| is_own) {
                let all = pool.broadcast(|i| i).len();
                tell.lock().unwrap().send(all).unwrap();
            }
        };
        let pool = ThreadPool::builder()
            .threads(1)
            .name("hooks")
            .on_start(move |_| hook(&at_start, &start_tell))
            .on_exit(move |_| hook(&at_exit, &exit_tell))
            .build()
            .unwrap();
        let pool = Arc::new(pool);
        *cell.lock().unwrap() = Some(Arc::clone(&pool));
        for round in 0..10 {
            pool.resize(4);
            (0..3).for_each(|_| assert_eq!(told.recv().unwrap(), 4));
            // Threads that do not sleep yet become spares, which end seconds later: once is enough.
            if round > 0 {
                all_sleep(&pool);
            }
            pool.resize(1);
            (0..3).for_each(|_| assert_eq!(told.recv().unwrap(), 1));
        }
        cell.lock().unwrap().take();
    });
}

#[test]
fn broadcasts_and_resizes_at_the_same_time() {
    within_deadline(|| {
        let pool = ThreadPool::with_threads(2);
        let stop = AtomicBool::new(false);
        std::thread::scope(|s| {
            s.spawn(|| {
                let widths = [1, 5, 2, 3, 1, 4, 6, 2];
                for width in widths.into_iter().cycle() {
                    pool.resize(width);
                    if stop.load(Ordering::Relaxed) {
                        break;
                    }
                }
            });
            for inside in [false, true] {
                for _ in 0..300 {
                    let all = || pool.broadcast(|index| index);
                    let told = if inside { pool.install(all) } else { all() };
                    assert!((1..=6).contains(&told.len()));
                    assert_eq!(told, (0..told.len()).collect::<Vec<_>>());
                }
            }
            stop.store(true, Ordering::Relaxed);
        });
    });
}

#[test]
fn a_share_is_a_part_of_the_task_that_broadcasts() {
    within_deadline(|| {
        let pool = Arc::new(ThreadPool::with_threads(2));
        let inner = Arc::clone(&pool);
        let (ready, go) = (Arc::new(Barrier::new(2)), Arc::new(Barrier::new(2)));
        let (theirs_ready, theirs_go) = (Arc::clone(&ready), Arc::clone(&go));
        let (tell, told) = mpsc::channel();
        let task = pool.spawn(move || {
            theirs_ready.wait();
            theirs_go.wait();
            let cancelled = inner.broadcast(|_| CancelToken::current().is_cancelled());
            tell.send(cancelled).unwrap();
        });
        ready.wait();
        task.cancel();
        go.wait();
        assert_eq!(told.recv().unwrap(), [true, true]);
    });
}

// ---- sizes and what is left ------------------------------------------------

/// Runs this program again, with one ignored test only. Returns its output.
fn run_alone(test: &str, set: impl FnOnce(&mut std::process::Command)) -> String {
    let mut command = std::process::Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", test, "--ignored", "--nocapture"]);
    set(&mut command);
    let output = command.output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let said = text(&output.stdout);
    assert!(
        output.status.success() && said.contains("1 passed"),
        "{said}{}",
        text(&output.stderr)
    );
    said
}

/// Small allocations succeed where there is no room for another stack: there is one heap, which
/// grows by large steps and does not shrink.
fn with_a_heap(command: &mut std::process::Command) {
    command
        .env("MALLOC_ARENA_MAX", "1")
        .env("MALLOC_TOP_PAD_", "33554432")
        .env("MALLOC_TRIM_THRESHOLD_", "1073741824");
}

#[test]
fn what_the_environment_says_is_a_width_or_ignored() {
    within_deadline(|| {
        let processors = std::thread::available_parallelism().unwrap().get();
        let width = |asked: &str| {
            let told = run_alone("resize::alone_tells_its_widths", |command| {
                command.env("TREFOIL_THREADS", asked);
            });
            let (_, told) = told.split_once("widths=").unwrap();
            told.split_once(';').unwrap().0.to_owned()
        };
        for (asked, width_of_it) in [
            ("5", 5),
            (" 7\n", 7),
            ("0", processors),
            ("", processors),
            ("abc", processors),
            ("-1", processors),
            ("-2", (processors - 1).max(1)),
            (" -3 ", processors.saturating_sub(2).max(1)),
            ("-100000", 1),
            ("- 3", processors),
            ("2.5", processors),
            ("4097", processors),
            ("100000", processors),
            ("99999999999999999999999999", processors),
        ] {
            let expected = format!("{width_of_it} {width_of_it} {width_of_it}");
            assert_eq!(width(asked), expected, "TREFOIL_THREADS={asked:?}");
        }
    });
}

#[test]
#[ignore = "speaks of its environment: run by what_the_environment_says_is_a_width_or_ignored"]
#[allow(clippy::print_stdout)] // its output is what the test reads
fn alone_tells_its_widths() {
    let (own, resized) = (ThreadPool::new(), ThreadPool::with_threads(1));
    resized.resize(0);
    let global = ThreadPool::global().num_threads();
    let cores = ThreadPool::builder().physical_cores(true).build().unwrap();
    assert!(cores.num_threads() <= own.num_threads());
    if own.num_threads() != std::thread::available_parallelism().unwrap().get() {
        assert_eq!(cores.num_threads(), own.num_threads(), "as asked for");
    }
    println!(
        "widths={} {} {global};",
        own.num_threads(),
        resized.num_threads()
    );
}

#[cfg(target_os = "linux")]
#[test]
fn a_process_that_may_use_one_processor_has_one_worker() {
    within_deadline(|| run_alone("resize::alone_on_one_processor", |_| ()));
}

#[cfg(target_os = "linux")]
#[test]
#[ignore = "changes its affinity: run by a_process_that_may_use_one_processor_has_one_worker"]
fn alone_on_one_processor() {
    crate::use_one_processor();
    assert_eq!(ThreadPool::new().num_threads(), 1);
    let cores = ThreadPool::builder().physical_cores(true).build().unwrap();
    assert_eq!(cores.num_threads(), 1);
}

#[cfg(target_os = "linux")]
#[test]
fn what_the_system_refuses_is_an_error_or_asked_for_again() {
    within_deadline(|| run_alone("resize::alone_with_little_memory", with_a_heap));
}

/// The stack size of the threads for which there is no memory.
const STACK: u64 = 64 << 20;

/// How many bytes of addresses this process has mapped.
#[cfg(target_os = "linux")]
fn address_space() -> u64 {
    let pages = std::fs::read_to_string("/proc/self/statm").unwrap();
    let pages: u64 = pages.split_whitespace().next().unwrap().parse().unwrap();
    pages * rustix::param::page_size() as u64
}

#[cfg(target_os = "linux")]
#[test]
#[ignore = "limits its memory: run by what_the_system_refuses_is_an_error_or_asked_for_again"]
fn alone_with_little_memory() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let of_large_stacks = |name: &str, threads| {
        let builder = ThreadPool::builder().name(name).stack_size(STACK as usize);
        builder.threads(threads).build()
    };
    let pool = of_large_stacks("small", 2).unwrap();
    // Room for thirty and a half stacks: a thread that got a stack has room for everything else.
    let before = getrlimit(Resource::As);
    let limit = Rlimit {
        current: Some(address_space() + 30 * STACK + STACK / 2),
        maximum: before.maximum,
    };
    setrlimit(Resource::As, limit).unwrap();
    let refused = of_large_stacks("many", 1_000);
    assert!(refused.is_err());
    eventually("what was given is gone", || threads_named("many-") == 0);
    // A pool that grows keeps the threads that it gets, and works.
    pool.resize(1_000);
    assert_eq!(pool.num_threads(), 1_000);
    assert_eq!(pool.install(|| fib(12)), 144);
    assert_eq!(pool.broadcast(|index| index).len(), 1_000);
    assert!(threads_named("small-") >= 2);
    pool.resize(2);
    runs_at_once(&pool, 2);
    eventually("two are left", || threads_named("small-") == 2);
    setrlimit(Resource::As, before).unwrap();
    pool.resize(3);
    runs_at_once(&pool, 3);
}

#[cfg(target_os = "linux")]
#[test]
fn a_spare_that_the_system_refuses_is_asked_for_again() {
    within_deadline(|| run_alone("resize::alone_without_memory_for_a_moment", with_a_heap));
}

#[cfg(target_os = "linux")]
#[test]
#[ignore = "limits its memory: run by a_spare_that_the_system_refuses_is_asked_for_again"]
fn alone_without_memory_for_a_moment() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let pool = Arc::new(named("starved", 1));
    let before = getrlimit(Resource::As);
    let maximum = before.maximum;
    let (tell, told) = mpsc::channel();
    let (give, given) = mpsc::channel();
    let of_it = Arc::clone(&pool);
    pool.spawn(move || {
        let task = of_it.spawn(|| 7);
        // No room for a stack of eight mebibytes.
        let current = Some(address_space() + (4 << 20));
        setrlimit(Resource::As, Rlimit { current, maximum }).unwrap();
        tell.send(deadline::this_thread()).unwrap();
        // This thread runs nothing itself, but parks.
        let (mut done, _) = wait([task], Until::All, None).join();
        give.send(done.pop().unwrap().join()).unwrap();
    })
    .detach();
    let worker = told.recv().unwrap();
    eventually("it waits", || asleep(worker));
    assert_eq!(threads_named("starved-"), 1);
    setrlimit(Resource::As, before).unwrap();
    assert_eq!(given.recv().unwrap().unwrap(), 7);
}

#[test]
fn a_thousand_pools_leave_no_thread_behind() {
    within_deadline(|| {
        for round in 0..1000 {
            let pool = named("thousand", 1 + round % 3);
            match round % 5 {
                0 => {}
                1 => (0..20).for_each(|_| pool.spawn(|| fib(5)).detach()),
                2 => assert_eq!(pool.install(|| fib(5)), 5),
                3 => pool.resize(round % 4 + 1),
                _ => pool.shutdown(Shutdown::CancelPending),
            }
        }
        eventually("no thread is left", || threads_named("thousand-") == 0);
    });
}

/// How often each thread of the pool has left the processor, and the ticks that it has used.
fn work_of(prefix: &str) -> Vec<(String, u64, u64)> {
    let tasks = std::fs::read_dir("/proc/self/task").unwrap().flatten();
    let mut all: Vec<_> = tasks
        .filter_map(|task| {
            let read = |name: &str| std::fs::read_to_string(task.path().join(name)).ok();
            let name = read("comm")?;
            if !name.starts_with(prefix) {
                return None;
            }
            let status = read("status")?;
            let switches = status.lines().filter(|line| line.contains("ctxt_switches"));
            let switches = switches.map(|line| line.split_whitespace().nth(1)?.parse::<u64>().ok());
            let stat = read("stat")?;
            let (_, fields) = stat.rsplit_once(')')?;
            let fields: Vec<&str> = fields.split_whitespace().collect();
            let ticks = fields[11].parse::<u64>().ok()? + fields[12].parse::<u64>().ok()?;
            Some((name, switches.flatten().sum(), ticks))
        })
        .collect();
    all.sort();
    all
}

#[test]
fn three_idle_seconds_wake_no_thread() {
    within_deadline(|| {
        let pool = named("rest", 3);
        let asleep = || format!("{pool:?}").contains("running: 0, searching: 0, blocked: 0");
        // Every kind of work is done before, because none of it may leave a timer behind.
        pool.map(0..1000, |i| fib(i % 10));
        let (completer, promise) = Completer::new();
        let waiter = pool.spawn(move || promise.join().unwrap());
        eventually("it waits", || format!("{pool:?}").contains("blocked: 1"));
        pool.spawn(move || completer.complete(Ok(1))).detach();
        assert_eq!(waiter.join().unwrap(), 1);
        pool.broadcast(|_| pool.broadcast(|_| ()));
        pool.resize(6);
        runs_at_once(&pool, 6);
        pool.resize(3);
        pool.scope(|s| s.spawn(|| fib(10)).join().unwrap());
        eventually("the surplus is gone and the rest sleeps", || {
            asleep() && threads_named("rest-") == 3
        });
        // The last thread has been counted as asleep, and is about to sleep.
        eventually("they do sleep", || threads_asleep("rest-"));
        // If the machine itself is stopped for a moment, that counts as a switch of every thread;
        // but not three times in a row.
        let quiet = (0..3).any(|_| {
            let before = work_of("rest-");
            assert_eq!(before.len(), 3);
            std::thread::sleep(Duration::from_secs(3));
            work_of("rest-") == before
        });
        assert!(quiet, "an idle pool wakes up");
    });
}
