//! What is promised beyond rayon's own tests: a global pool of its own, waits that run no
//! strangers, indices, and errors that explain why. (That an index has one user: `indices.rs`.)
#![allow(clippy::disallowed_methods)] // threads of the tests' own

#[path = "../../../tests/deadline/mod.rs"]
mod deadline;

use std::cell::RefCell;
use std::error::Error;
use std::io;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, mpsc};
use std::thread;

use deadline::{alone, within_deadline};
use rayon_core::{BroadcastContext, ThreadPool, ThreadPoolBuilder, current_thread_index};

fn pool(threads: usize) -> ThreadPool {
    ThreadPoolBuilder::new()
        .num_threads(threads)
        .build()
        .unwrap()
}

#[test]
fn the_global_pool_is_not_that_of_trefoil() {
    alone("the_global_pool_is_not_that_of_trefoil", "", || {
        let theirs = trefoil::ThreadPool::builder().threads(3).build_global();
        let theirs = theirs.unwrap().broadcast(|_| thread::current().id());
        ThreadPoolBuilder::new()
            .num_threads(2)
            .build_global()
            .unwrap();
        assert_eq!(rayon_core::current_num_threads(), 2);
        let ours = rayon_core::broadcast(|_| thread::current().id());
        assert!(ours.len() == 2 && !theirs.iter().any(|id| ours.contains(id)));
        let (tell, told) = mpsc::channel();
        rayon_core::spawn(move || tell.send(thread::current().id()).unwrap());
        assert!(!theirs.contains(&told.recv().unwrap()));
        let error = ThreadPoolBuilder::new().build_global().unwrap_err();
        assert_eq!(
            error.to_string(),
            "The global thread pool has already been initialized."
        );
    });
}

#[test]
fn the_environment_says_how_many_threads() {
    let prelude = "export RAYON_NUM_THREADS=5";
    alone("the_environment_says_how_many_threads", prelude, || {
        assert_eq!(
            rayon_core::join(rayon_core::current_num_threads, || ()).0,
            5
        );
        assert_eq!(rayon_core::broadcast(|_| ()).len(), 5);
    });
}

/// In rayon the waiting thread runs the second task while the first one has the borrow, and that
/// panics.
#[test]
fn a_wait_runs_no_stranger() {
    thread_local!(static LOCAL: RefCell<u32> = const { RefCell::new(0) });
    within_deadline(|| {
        let (first, other) = (pool(1), pool(1));
        let (tell, told) = mpsc::channel::<()>();
        first.install(|| {
            rayon_core::scope_fifo(|scope| {
                scope.spawn_fifo(|_| {
                    LOCAL.with_borrow_mut(|_| other.install(move || told.recv().unwrap()));
                });
                scope.spawn_fifo(|_| LOCAL.with_borrow_mut(|_| tell.send(()).unwrap()));
            });
        });
    });
}

#[test]
fn a_dropped_pool_is_not_waited_for() {
    within_deadline(|| {
        let (go, gate) = mpsc::channel();
        let (tell, told) = mpsc::channel();
        let pool = pool(1);
        pool.spawn(move || {
            let value: u32 = gate.recv().unwrap();
            // Its pool is still there for more.
            rayon_core::spawn(move || {
                tell.send((value, rayon_core::current_num_threads()))
                    .unwrap();
            });
        });
        drop(pool);
        go.send(7).unwrap();
        assert_eq!(told.recv().unwrap(), (7, 1));
    });
}

#[test]
fn a_dropped_pool_does_not_wait_for_its_threads_either() {
    within_deadline(|| {
        let (go, gate) = mpsc::channel::<()>();
        let gate = Mutex::new(gate);
        let exit = move |_| gate.lock().unwrap().recv().unwrap();
        drop(
            ThreadPoolBuilder::new()
                .num_threads(1)
                .exit_handler(exit)
                .build()
                .unwrap(),
        );
        go.send(()).unwrap();
    });
}

#[test]
fn a_scope_in_place_is_in_the_pool_that_the_thread_counts_for() {
    within_deadline(|| {
        let pool = ThreadPoolBuilder::new()
            .num_threads(4)
            .use_current_thread()
            .build()
            .unwrap();
        rayon_core::in_place_scope(|scope| {
            assert_eq!(current_thread_index(), Some(0));
            scope.spawn(|_| assert!(pool.current_thread_index().is_some_and(|index| index > 0)));
        });
        assert_eq!(rayon_core::yield_now(), Some(rayon_core::Yield::Idle));
    });
}

#[test]
fn whatever_runs_in_a_pool_has_an_index() {
    fn tree(depth: u32) -> bool {
        let index = current_thread_index();
        let good = index.is_some_and(|index| index < rayon_core::current_num_threads());
        good && (depth == 0 || {
            let (a, b) = rayon_core::join(|| tree(depth - 1), || tree(depth - 1));
            a && b
        })
    }
    within_deadline(|| {
        assert_eq!(current_thread_index(), None);
        let (a, b) = rayon_core::join(|| tree(9), || tree(9));
        assert!(a && b);
        assert_eq!(current_thread_index(), None);
        assert!(pool(2).install(|| tree(9)));
    });
}

#[test]
fn a_named_global_pool_keeps_its_work_to_itself() {
    alone("a_named_global_pool_keeps_its_work_to_itself", "", || {
        let named = ThreadPoolBuilder::new()
            .num_threads(2)
            .thread_name(|index| format!("crunch-{index}"));
        named.build_global().unwrap();
        let name = || thread::current().name().map(str::to_owned);
        let (a, b) = rayon_core::join(name, name);
        for name in [a, b, rayon_core::scope(|_| name())] {
            assert!(name.unwrap().starts_with("crunch-"));
        }
    });
}

#[test]
fn each_thread_has_its_own_name() {
    within_deadline(|| {
        // A share of the broadcast may come before a thread has begun.
        for _ in 0..200 {
            let pool = ThreadPoolBuilder::new()
                .num_threads(2)
                .thread_name(|index| ["left", "right"][index].to_owned());
            let pool = pool.build().unwrap();
            let names = pool.broadcast(|_| thread::current().name().map(str::to_owned));
            assert_eq!(names, [Some("left".to_owned()), Some("right".to_owned())]);
        }
    });
}

/// Its calls are counted by the pool itself, also where one of its threads is the program's own.
#[test]
fn a_broadcast_that_is_not_waited_for_reaches_each_thread() {
    within_deadline(|| {
        for with_this in [false, true] {
            let mut builder = ThreadPoolBuilder::new().num_threads(3);
            if with_this {
                builder = builder.use_current_thread();
            }
            let pool = builder.build().unwrap();
            let (tell, told) = mpsc::channel();
            pool.spawn_broadcast(move |context| {
                tell.send((context.index(), context.num_threads())).unwrap();
            });
            let mut calls = Vec::new();
            while calls.len() < 3 {
                pool.install(|| ()); // a wait for it, which calls what is for this thread
                calls.extend(told.try_iter());
            }
            drop(pool);
            assert!(told.recv().is_err(), "not more than once on each");
            calls.sort_unstable();
            assert_eq!(calls, [(0, 3), (1, 3), (2, 3)]);
        }
    });
}

#[test]
fn a_thread_may_count_as_one_of_a_pool() {
    within_deadline(|| {
        let build = || {
            ThreadPoolBuilder::new()
                .num_threads(3)
                .use_current_thread()
                .build()
        };
        let pool = build().unwrap();
        assert_eq!(
            (pool.current_thread_index(), pool.current_num_threads()),
            (Some(0), 3)
        );
        assert_eq!(pool.broadcast(|context| context.index()), [0, 1, 2]);
        assert_eq!(
            rayon_core::join(rayon_core::current_num_threads, || ()).0,
            3
        );
        let error = build().unwrap_err();
        assert_eq!(
            error.to_string(),
            "The current thread is already part of another thread pool."
        );
    });
}

/// Its index has one user, too: calls for it wait until that thread does.
#[test]
fn the_calling_threads_index_is_used_by_others_while_it_waits() {
    within_deadline(|| {
        let build = |threads| ThreadPoolBuilder::new().num_threads(threads);
        let pool = build(1).use_current_thread().build().unwrap();
        assert_eq!(pool.current_num_threads(), 2, "it has a worker, too");
        assert_eq!(pool.install(current_thread_index), Some(1));
        let in_seat = AtomicBool::new(true);
        let check = |context: BroadcastContext<'_>| {
            assert!(context.index() > 0 || !in_seat.load(Ordering::SeqCst));
        };
        let (tell, told) = mpsc::channel();
        rayon_core::in_place_scope(|scope| {
            scope.spawn(|_| {
                tell.send(()).unwrap();
                rayon_core::broadcast(check);
                rayon_core::broadcast(|_| rayon_core::broadcast(check).len());
            });
            told.recv().unwrap();
            thread::yield_now();
            in_seat.store(false, Ordering::SeqCst);
        });
        let here = thread::current().id();
        in_seat.store(true, Ordering::SeqCst);
        let calls = pool.broadcast(|_| thread::current().id());
        assert!(calls[0] == here && calls[1] != here);
        pool.install(|| rayon_core::broadcast(|_| ()));
    });
}

#[test]
fn threads_of_the_program_are_an_error() {
    let error = ThreadPoolBuilder::new()
        .spawn_handler(|_| Ok(()))
        .build()
        .unwrap_err();
    let source = error
        .source()
        .and_then(|source| source.downcast_ref::<io::Error>());
    assert_eq!(
        source.map(io::Error::kind),
        Some(io::ErrorKind::Unsupported)
    );
    assert!(error.to_string().contains("start_handler"), "{error}");
}

#[test]
fn a_panic_that_nobody_hears_of_aborts() {
    const NAME: &str = "a_panic_that_nobody_hears_of_aborts";
    if std::env::var_os("TREFOIL_ALONE").is_some() {
        let (tell, told) = mpsc::channel::<()>();
        rayon_core::spawn(move || {
            let _told = tell;
            panic!("unheard");
        });
        let _ended = told.recv();
        return thread::park(); // until the process ends
    }
    within_deadline(|| {
        let mut child = Command::new(std::env::current_exe().unwrap());
        let output = child
            .args(["--exact", NAME])
            .env("TREFOIL_ALONE", NAME)
            .output()
            .unwrap();
        assert_eq!(output.status.code(), None, "it ended by a signal");
    });
}
