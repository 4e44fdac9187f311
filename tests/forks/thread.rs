//! A forked child and the pools of its parent: every call in the child works or fails with a
//! message, and none hangs.
//!
//! Each test forks. The child does its part and ends with `_exit`; the parent waits for it with a
//! deadline, and kills it if it hangs.
//!
//! One test runs after the other: the standard library has
//! a lock that a thread holds for a moment when it starts and when it ends, and a child that is
//! forked in such a moment cannot start threads.
#![allow(
    unsafe_code,
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::print_stdout,
    clippy::print_stderr
)] // a program, not the crate

use crate::children;
use crate::support;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicUsize, Ordering};
use std::sync::{Arc, Barrier, Mutex, mpsc};
use std::time::Duration;

use children::{ending, in_child, in_sudden_child, leave, settle, split};
use rustix::process::Pid;
use support::{Test, tests, until};
use trefoil::thread::current_index;
use trefoil::{Completer, Shutdown, TaskError, ThreadPool};

fn fib(n: u64) -> u64 {
    if n < 2 {
        return n;
    }
    let (a, b) = trefoil::join(|| fib(n - 1), || fib(n - 2));
    a + b
}

/// Uses every method of a pool: in a child, the caller does the work.
fn use_a_lost_pool(pool: &ThreadPool, width: usize) {
    let me = std::thread::current().id();
    let here = || std::thread::current().id() == me;
    assert_eq!(pool.num_threads(), width);
    assert_eq!((pool.stats().threads, pool.stats().queued), (width, 0));
    assert!(matches!(pool.spawn(|| 1).join(), Err(TaskError::Closed)));
    assert_eq!(pool.join(here, here), (true, true));
    assert!(pool.map(0..100, |_| here()).into_iter().all(|here| here));
    pool.for_each(0..100, |_| assert!(here()));
    assert_eq!(pool.map_reduce(0..100, |i| i, || 0, |a, b| a + b), 4950);
    let tried = pool.try_map(0..100, |i| if i < 50 { Ok(i) } else { Err(i) });
    assert_eq!(tried, Err(50));
    assert!(pool.scope(|s| s.spawn(here).join().unwrap()));
    pool.scope(|s| drop(s.spawn(|| assert!(here()))));
    assert!(pool.install(|| here() && fib(10) == 55));
    assert_eq!(
        pool.broadcast(|i| (i, here())),
        (0..width).map(|i| (i, true)).collect::<Vec<_>>()
    );
    assert_eq!(pool.blocking(|| 1), 1);
    pool.resize(width + 1);
    assert_eq!(pool.num_threads(), width);
    assert!(format!("{pool:?}").contains("ThreadPool"));
    pool.shutdown(Shutdown::CancelPending);
    pool.shutdown(Shutdown::Wait);
}

/// Uses a pool that was made in this process.
fn use_a_new_pool() {
    let pool = ThreadPool::with_threads(3);
    assert_eq!(pool.install(|| fib(15)), 610);
    assert_eq!(pool.map(0..100, |i| i * 2)[99], 198);
    assert_eq!(pool.spawn(|| 7).join().unwrap(), 7);
    assert_eq!(
        pool.broadcast(|_| current_index()),
        [Some(0), Some(1), Some(2)]
    );
    pool.resize(1);
    assert_eq!(pool.scope(|s| s.spawn(|| fib(10)).join().unwrap()), 55);
}

/// Uses the free functions, which make a global pool in this process.
fn use_the_global_pool() {
    assert_eq!(fib(15), 610);
    let name = || std::thread::current().name().map(str::to_owned);
    let (tell, told) = mpsc::channel();
    trefoil::spawn_blocking(move || tell.send(name()).unwrap()).detach();
    assert!(told.recv().unwrap().unwrap().starts_with("trefoil-"));
    assert_eq!(
        ThreadPool::global().broadcast(|i| i).len(),
        ThreadPool::global().num_threads()
    );
    assert_eq!(trefoil::scope(|s| s.spawn(|| fib(10)).join().unwrap()), 55);
}

/// A child that forked in the middle of a region gets the result, or a panic with a message.
fn result_or_sentence(f: impl FnOnce()) {
    if let Err(payload) = catch_unwind(AssertUnwindSafe(f)) {
        let words = payload
            .downcast_ref::<&str>()
            .map(|words| (*words).to_owned());
        let words = words.or_else(|| payload.downcast_ref::<String>().cloned());
        assert!(words.unwrap().contains("forked child"));
    }
}

fn sleeping_or_spare_ends_in_a_hook_that_forks(sleeps: bool) {
    let (tell, told) = mpsc::channel();
    let is_first = AtomicBool::new(true);
    let pool = ThreadPool::builder()
        .threads(2)
        .on_exit(move |_| {
            // The other ends with the pool. (A thread that begins after `resize` has index 0, too.)
            if is_first.swap(false, Ordering::Relaxed)
                && let Some(child) = split()
            {
                tell.send(ending(child)).unwrap();
            }
        })
        .build()
        .unwrap();
    if sleeps {
        until(|| format!("{pool:?}").contains("running: 0, searching: 0"));
    }
    pool.resize(1);
    assert_eq!(told.recv_timeout(Duration::from_secs(30)).unwrap(), 0);
}

tests! {
fn a_child_sees_its_parents_pool_closed_and_makes_its_own() {
        let pool = ThreadPool::with_threads(2);
        use_the_global_pool();
        assert_eq!(pool.install(|| fib(10)), 55);
        for _ in 0..5 {
            in_child(|| {
                use_a_lost_pool(&pool, 2);
                use_a_new_pool();
                use_the_global_pool();
                // A child of the child: the same once more.
                let own = ThreadPool::with_threads(1);
                in_child(|| {
                    use_a_lost_pool(&pool, 2);
                    use_a_lost_pool(&own, 1);
                    use_a_new_pool();
                    use_the_global_pool();
                });
                assert_eq!(own.install(|| fib(10)), 55);
            });
        }
        // The parent's pool still works.
        assert_eq!(pool.install(|| fib(10)), 55);
        use_the_global_pool();
}

fn dropping_a_parents_pool_joins_no_thread() {
        let pool = ThreadPool::with_threads(2);
        let (completer, promise) = Completer::<()>::new();
        let waiting = pool.spawn(move || promise.join());
        match split() {
            Some(child) => assert_eq!(ending(child), 0),
            None => {
                drop(pool);
                leave(0);
            }
        }
        completer.complete(Ok(()));
        waiting.join().unwrap().unwrap();
}

fn a_child_wakes_no_thread_of_its_parents() {
        const WAITING: usize = 8;
        let (mut completers, tasks): (Vec<_>, Vec<_>) =
            (0..WAITING).map(|_| Completer::new()).unzip();
        std::thread::scope(|s| {
            for mut task in tasks {
                // It parks and comes back all the time: so it often holds its parker's lock.
                s.spawn(move || {
                    let shortly = Duration::from_micros(20);
                    while matches!(task.join_timeout(shortly), Err(TaskError::TimedOut(_))) {}
                });
            }
            for _ in 0..500 {
                in_sudden_child(|| {
                    for completer in completers.drain(..) {
                        completer.complete(Ok(()));
                    }
                });
            }
            for completer in completers.drain(..) {
                completer.complete(Ok(()));
            }
        });
}

fn the_first_global_pool_may_be_the_childs() {
        // Any pool installs the fork handler.
        let _pool = ThreadPool::with_threads(1);
        in_child(use_the_global_pool);
        in_child(|| {
            let built = ThreadPool::builder().threads(2).build_global().unwrap();
            assert_eq!(built.num_threads(), 2);
            assert!(ThreadPool::builder().build_global().is_err());
        });
}

fn a_worker_forks() {
        let pool = ThreadPool::with_threads(2);
        for _ in 0..5 {
            pool.install(|| {
                in_child(|| {
                    assert_eq!(current_index(), None);
                    use_a_lost_pool(&pool, 2);
                    use_the_global_pool();
                    use_a_new_pool();
                });
                assert!(current_index().is_some());
            });
            pool.blocking(|| in_child(|| use_a_lost_pool(&pool, 2)));
            pool.scope(|_| in_child(use_the_global_pool));
        }
        assert_eq!(pool.install(|| fib(10)), 55);
}

fn a_task_that_returns_in_the_child_ends_it() {
        let pool = ThreadPool::builder()
            .threads(2)
            .on_exit(|_| assert!(current_index().is_some()))
            .build()
            .unwrap();
        for _ in 0..5 {
            // In the child, the worker is the only thread, and has no pool to work for.
            settle();
            let child = pool.install(split);
            assert_eq!(ending(child.expect("only the parent comes here")), 0);
        }
}

fn a_fork_in_the_middle_of_a_region_gives_its_result_or_a_sentence() {
        let pool = ThreadPool::with_threads(3);
        settle();
        let parent = std::process::id();
        let child = AtomicUsize::new(0);
        // The first thread that gets here forks; the child continues with what is on its stack.
        let once = |forked: &AtomicBool| {
            if !forked.swap(true, Ordering::Relaxed)
                && let Some(pid) = split()
            {
                child.store(pid.as_raw_nonzero().get() as usize, Ordering::Relaxed);
            }
        };
        let regions: [&dyn Fn(&AtomicBool); 7] = [
            &|forked| {
                pool.map(0..1000, |_| once(forked));
            },
            &|forked| {
                pool.join(|| once(forked), || fib(12));
            },
            &|forked| {
                pool.join(|| fib(12), || once(forked));
            },
            &|forked| {
                pool.scope(|s| {
                    let early = s.spawn(|| fib(15));
                    once(forked);
                    let late = s.spawn(|| fib(5));
                    assert_eq!(late.join().unwrap(), 5);
                    assert_eq!(early.join().unwrap(), 610);
                });
            },
            &|forked| {
                // Its task is begun before the fork, and ends after it.
                let begun = &AtomicBool::new(false);
                let child = &child;
                pool.scope(|s| {
                    let early = s.spawn(move || {
                        begun.store(true, Ordering::Relaxed);
                        until(|| child.load(Ordering::Relaxed) != 0);
                    });
                    until(|| begun.load(Ordering::Relaxed));
                    once(forked);
                    early.join().unwrap();
                });
            },
            &|forked| {
                pool.install(|| pool.map(0..100, |_| trefoil::join(|| once(forked), || fib(5))));
            },
            &|forked| {
                pool.broadcast(|_| once(forked));
            },
        ];
        for region in regions {
            for _ in 0..10 {
                let forked = AtomicBool::new(false);
                result_or_sentence(|| region(&forked));
                if std::process::id() != parent {
                    // On the test's own thread: the region has ended in the child, too.
                    leave(0);
                }
                let pid = child.swap(0, Ordering::Relaxed) as i32;
                // A panic in a destructor during another panic ends the process.
                let ending = ending(Pid::from_raw(pid).expect("it has forked"));
                assert!(ending == 0 || ending == -1, "{ending}");
            }
        }
}

fn a_fork_on_a_worker_while_the_others_run_broadcasts() {
    let pool = ThreadPool::with_threads(3);
    let stop = AtomicBool::new(false);
    std::thread::scope(|s| {
        for _ in 0..2 {
            s.spawn(|| {
                while !stop.load(Ordering::Relaxed) {
                    pool.broadcast(|_| ());
                }
            });
        }
        for _ in 0..500 {
            let child = AtomicI32::new(0);
            pool.broadcast(|place| {
                if place == 0
                    && let Some(pid) = split()
                {
                    child.store(pid.as_raw_nonzero().get(), Ordering::Relaxed);
                }
            });
            // The worker is the child's only thread: it finds that its pool is the parent's, and
            // ends.
            let pid = Pid::from_raw(child.into_inner());
            assert_eq!(ending(pid.expect("it has forked")), 0);
        }
        stop.store(true, Ordering::Relaxed);
    });
}

fn children_of_a_pool_that_others_hammer() {
        let pool = Arc::new(ThreadPool::with_threads(3));
        let stop = AtomicBool::new(false);
        let started = Barrier::new(5);
        std::thread::scope(|s| {
            for kind in 0..4 {
                let (pool, stop, started) = (&pool, &stop, &started);
                s.spawn(move || {
                    started.wait();
                    while !stop.load(Ordering::Relaxed) {
                        match kind {
                            0 => drop(pool.map(0..50, |i| i)),
                            1 => drop(pool.install(|| fib(8))),
                            2 => drop((0..20).map(|_| pool.spawn(|| fib(5))).collect::<Vec<_>>()),
                            _ => {
                                pool.broadcast(|i| i);
                                pool.resize(2);
                                pool.resize(4);
                                drop(ThreadPool::with_threads(1));
                                trefoil::join(|| 1, || 2);
                            }
                        }
                    }
                });
            }
            started.wait();
            for _ in 0..60 {
                in_sudden_child(|| {
                    assert!(matches!(pool.spawn(|| 1).join(), Err(TaskError::Closed)));
                    assert_eq!(pool.join(|| 1, || 2), (1, 2));
                    assert_eq!(pool.map(0..50, |i| i).len(), 50);
                    assert_eq!(pool.install(|| 1), 1);
                    assert_eq!(pool.scope(|s| s.spawn(|| 1).join().unwrap()), 1);
                    pool.resize(1);
                    pool.shutdown(Shutdown::Wait);
                });
            }
            stop.store(true, Ordering::Relaxed);
        });
}

fn iterators_and_futures_in_a_child() {
    let pool = ThreadPool::with_threads(2);
    let begin = || {
        let mut begun = pool.imap(0_u64.., |n| n);
        assert_eq!(begun.next(), Some(0));
        begun
    };
    let (mut begun, thrown_away) = (begin(), begin());
    let waits = pool.spawn_async(std::future::pending::<()>());
    in_child(|| {
        // As with a pool that has been shut down.
        assert_eq!(pool.imap(0..100_u64, |n| n).sum::<u64>(), 4950);
        assert_eq!(pool.imap_unordered(0..100_u64, |n| n).sum::<u64>(), 4950);
        let refused = pool.spawn_async(async { 1 }).join();
        assert!(matches!(refused, Err(TaskError::Closed)));
        // An `imap` that the parent began ends, or panics with a message.
        result_or_sentence(|| assert_eq!(begun.next(), None, "nobody feeds it here"));
        drop(thrown_away);
        waits.cancel();
        drop(waits);
    });
    assert!(begun.take(10).eq(1..11));
}

fn tasks_of_a_parents_pool_have_ended_in_closed() {
    let pool = ThreadPool::with_threads(1);
    let (go, gone) = mpsc::channel::<()>();
    let (began, has_begun) = mpsc::channel();
    let mut runs = Some(pool.spawn(move || {
        began.send(()).unwrap();
        gone.recv().unwrap();
        7
    }));
    let mut waits = Some(pool.spawn_async(std::future::pending::<()>()));
    let mut queued = Some(pool.spawn(|| 8));
    let group: Vec<_> = (0..2).map(|i| pool.spawn(move || i)).collect();
    let mut group = Some(group);
    has_begun.recv().unwrap();
    in_child(|| {
        let closed = |result| matches!(result, Err(TaskError::Closed));
        let mut runs = runs.take().unwrap();
        assert!(runs.is_finished());
        assert!(closed(runs.join_timeout(Duration::from_secs(1))));
        assert!(closed(runs.join()));
        assert!(matches!(waits.take().unwrap().join(), Err(TaskError::Closed)));
        let queued = trefoil::timeout(Duration::from_secs(5), queued.take().unwrap()).join();
        assert!(matches!(queued, Ok(Err(TaskError::Closed))), "{queued:?}");
        let group = trefoil::join_all(group.take().unwrap()).join();
        assert!(group.into_iter().all(closed));
        // The child's own pools are not affected.
        let pool = ThreadPool::with_threads(1);
        assert_eq!(pool.spawn(|| 9).join().unwrap(), 9);
        assert_eq!(pool.spawn_async(async { 9 }).join().unwrap(), 9);
        let (completer, task) = Completer::new();
        completer.complete(Ok(9));
        assert_eq!(task.join().unwrap(), 9);
    });
    let (completed_later, promised) = Completer::new();
    in_child(|| {
        // Promises are completed by any code that has the completer.
        completed_later.complete(Ok(1));
        assert_eq!(promised.join().unwrap(), 1);
    });
    drop(waits.take());
    go.send(()).unwrap();
    assert_eq!(runs.unwrap().join().unwrap(), 7);
    assert_eq!(queued.unwrap().join().unwrap(), 8);
}

/// The closure of the parent's task, and what it owns, is not touched.
fn a_parents_tied_task_is_left_alone_in_a_child() {
    struct Drops(Arc<AtomicUsize>);
    impl Drop for Drops {
        fn drop(&mut self) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }
    let pool = ThreadPool::with_threads(1);
    let (go, gone) = mpsc::channel::<()>();
    let held_up = pool.spawn(move || gone.recv().unwrap());
    let drops = Arc::new(AtomicUsize::new(0));
    let mut tied: Vec<_> = (0..3)
        .map(|_| {
            let owned = Drops(drops.clone());
            Some(pool.spawn(move || drop(owned)).cancel_on_drop())
        })
        .collect();
    in_child(|| {
        drop(tied[0].take());
        assert!(matches!(tied[1].take().unwrap().join(), Err(TaskError::Closed)));
        assert!(trefoil::join_all(tied[2].take()).join()[0].is_err());
        assert_eq!(drops.load(Ordering::SeqCst), 0);
    });
    go.send(()).unwrap();
    held_up.join().unwrap();
    assert!(tied.into_iter().flatten().all(|task| task.join().is_ok()));
    assert_eq!(drops.load(Ordering::SeqCst), 3);
}

fn a_parents_imap_can_be_looked_at_in_a_child() {
    let pool = ThreadPool::with_threads(2);
    let imaps: Vec<_> = (0..4)
        .map(|_| {
            let mut results = pool.imap(0_u64.., |n| n).buffer(1000);
            assert_eq!(results.next(), Some(0));
            Mutex::new(results)
        })
        .collect();
    let stop = AtomicBool::new(false);
    std::thread::scope(|s| {
        // A thread holds the iterators' locks.
        s.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                for results in &imaps {
                    if let Ok(mut results) = results.try_lock() {
                        for _ in 0..100 {
                            results.next();
                        }
                    }
                }
            }
        });
        for _ in 0..50 {
            in_sudden_child(|| {
                for results in &imaps {
                    if let Ok(results) = results.try_lock() {
                        let _ = results.size_hint();
                        let _ = format!("{results:?}");
                    }
                }
            });
        }
        stop.store(true, Ordering::Relaxed);
    });
}

fn a_child_that_leaves_by_the_front_door() {
    // Exit handlers, statics, and the thread-locals of an outside thread that has used a pool.
    let pool = ThreadPool::with_threads(2);
    let results = pool.imap(0_u64.., |n| n);
    let mut results = Some(results);
    let waits = pool.spawn_async(std::future::pending::<()>());
    let mut waits = Some(waits);
    let mut pool = Some(pool);
    let stop = AtomicBool::new(false);
    let hammered = ThreadPool::with_threads(2);
    std::thread::scope(|s| {
        s.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                assert_eq!(hammered.map(0..50, |i| i).len(), 50);
                drop(hammered.spawn(|| 1).join());
            }
        });
        for round in 0..20 {
            assert_eq!(hammered.map(0..50, |i| i).len(), 50);
            results.as_mut().unwrap().next();
            in_sudden_child(|| {
                if round % 2 == 0 {
                    drop((results.take(), waits.take(), pool.take()));
                }
                std::process::exit(0);
            });
        }
        stop.store(true, Ordering::Relaxed);
    });
}

fn a_call_whose_place_is_lent_forks() {
        for calls_inside in [false, true] {
            let pool = ThreadPool::with_threads(1);
            let (go, gate) = mpsc::channel();
            let mut call = pool.install(|| {
                trefoil::spawn_blocking(move || {
                    gate.recv().unwrap();
                    if calls_inside {
                        in_child(|| {
                            use_the_global_pool();
                            use_a_new_pool();
                        });
                        return 0;
                    }
                    // The child returns, too, into a thread that its pool does not have.
                    split().map_or(0, ending)
                })
            });
            // It runs only if the waiting call was replaced.
            let mut behind = pool.spawn(|| ());
            behind.join_timeout(Duration::from_secs(30)).unwrap();
            go.send(()).unwrap();
            assert_eq!(call.join_timeout(Duration::from_secs(30)).unwrap(), 0);
            assert_eq!(pool.install(|| fib(10)), 55);
        }
}

fn a_hook_that_forks() {
    sleeping_or_spare_ends_in_a_hook_that_forks(true);
    // A thread that does not sleep yet becomes a spare, which ends seconds later.
    if std::env::var_os("TREFOIL_FULL").is_some() {
        sleeping_or_spare_ends_in_a_hook_that_forks(false);
    }
}

fn deadlines_pass_in_a_child_too() {
        let timed_out = || {
            let (_completer, never) = Completer::<()>::new();
            let result = trefoil::timeout(Duration::from_millis(5), never).join();
            assert!(matches!(result, Err(TaskError::TimedOut(_))));
        };
        let _pool = ThreadPool::with_threads(1);
        timed_out();
        in_child(timed_out);
}

fn a_recording_stays_with_the_parent() {
        #[cfg(feature = "trace")]
        {
            let mut recording = Some(trefoil::trace::start().unwrap());
            let pool = ThreadPool::with_threads(2);
            pool.spawn(|| ()).join().unwrap();
            in_child(|| {
                let nothing = recording.take().unwrap().stop();
                assert_eq!((nothing.events(), nothing.lost()), (0, 0));
                let own = trefoil::trace::start().unwrap();
                use_a_new_pool();
                assert!(own.stop().events() > 0);
            });
            assert!(recording.unwrap().stop().events() > 0);
        }
}

#[cfg(feature = "inspect")]
fn a_childs_watch_for_deadlocks_is_not_its_parents() {
    let parents = trefoil::inspect::watch_stuck(|_| ());
    in_child(move || {
        let token = Arc::new(());
        let listener = Arc::clone(&token);
        let own = trefoil::inspect::watch_stuck(move |_| _ = &listener);
        drop(parents);
        assert_eq!(Arc::strong_count(&token), 2, "its listener was dropped");
        drop(own);
        assert_eq!(Arc::strong_count(&token), 1);
    });
}
}
