//! Handles of one pool, and what a pool's threads can ask about themselves.
#![allow(clippy::disallowed_methods, clippy::disallowed_types)] // a program, not the crate

use crate::deadline;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Barrier, Mutex, mpsc};

use deadline::{eventually, threads_named, within_deadline};
use trefoil::{CancelToken, Completer, Shutdown, TaskError, ThreadPool, thread};

fn pool(name: &str, threads: usize) -> ThreadPool {
    let builder = ThreadPool::builder().threads(threads).name(name);
    builder.build().unwrap()
}

#[test]
fn a_clone_is_the_same_pool_and_the_last_one_ends_it() {
    within_deadline(|| {
        let first = pool("clone", 2);
        let second = first.clone();
        second.resize(3);
        assert_eq!(first.num_threads(), 3);
        drop(first);
        assert_eq!(second.spawn(|| 6 * 7).join().unwrap(), 42);
        let names = second.broadcast(|_| std::thread::current().name().map(str::to_owned));
        assert_eq!(names[2].as_deref(), Some("clone-2"));
        let ran = Arc::new(AtomicUsize::new(0));
        for _ in 0..100 {
            let ran = Arc::clone(&ran);
            second
                .spawn(move || ran.fetch_add(1, Ordering::SeqCst))
                .detach();
        }
        drop(second);
        assert_eq!(ran.load(Ordering::SeqCst), 100);
        // A thread that has been joined may be in the list for a moment.
        eventually("its threads are gone", || threads_named("clone-") == 0);
    });
}

#[test]
fn a_pool_that_one_handle_shuts_down_is_shut_for_all() {
    within_deadline(|| {
        let first = pool("shut", 2);
        let second = first.clone();
        first.shutdown(Shutdown::Wait);
        eventually("its threads are gone", || threads_named("shut-") == 0);
        let refused = second.spawn(|| 1).join();
        assert!(matches!(refused, Err(TaskError::Closed)));
        assert_eq!(second.map(0..3, |n| n + 1), [1, 2, 3]);
    });
}

#[test]
fn the_global_pool_outlives_its_clones() {
    within_deadline(|| {
        drop(ThreadPool::global().clone());
        let global = ThreadPool::global().clone();
        let task = global.spawn(move || drop(ThreadPool::global().clone()));
        drop(global);
        task.join().unwrap();
        assert_eq!(ThreadPool::global().spawn(|| 1).join().unwrap(), 1);
    });
}

/// The last handle is a capture of a task for which another of the pool's tasks waits.
#[test]
fn the_last_handle_is_dropped_by_a_task_that_others_wait_for() {
    within_deadline(|| {
        let pool = pool("last", 2);
        let (go, gate) = mpsc::channel::<()>();
        let held = pool.clone();
        let holder = pool.spawn(move || {
            gate.recv().unwrap();
            held.num_threads()
        });
        let (begin, begun) = mpsc::channel();
        let waiter = pool.spawn(move || {
            begin.send(()).unwrap();
            holder.join().unwrap()
        });
        begun.recv().unwrap(); // on a worker, because this thread has not offered to help
        drop(pool);
        go.send(()).unwrap();
        assert_eq!(waiter.join().unwrap(), 2);
        eventually("the pool ends", || threads_named("last-") == 0);
    });
}

/// The same by a thread that runs the awaited task itself.
#[test]
fn the_last_handle_is_dropped_by_a_caller_that_helps() {
    within_deadline(|| {
        let pool = pool("helped", 1);
        let (busy, free) = (Arc::new(Barrier::new(2)), Arc::new(Barrier::new(2)));
        let (theirs, end) = (Arc::clone(&busy), Arc::clone(&free));
        pool.spawn(move || {
            theirs.wait();
            end.wait();
        })
        .detach();
        busy.wait();
        // The one worker is busy, so this thread runs it; and the tasks queued behind it still run.
        let (told, tell) = mpsc::channel();
        let held = pool.clone();
        let main = std::thread::current().id();
        let task = pool.spawn(move || {
            held.spawn(move || told.send(()).unwrap()).detach();
            std::thread::current().id() == main
        });
        drop(pool);
        assert!(task.join().unwrap());
        free.wait();
        tell.recv().unwrap();
        eventually("the pool ends", || threads_named("helped-") == 0);
    });
}

/// Every task holds a handle, there is no other handle, and the tasks spawn one another.
#[test]
fn tasks_that_hold_handles_keep_their_pool_until_the_last_has_ended() {
    fn grow(pool: ThreadPool, depth: u32, leaves: Arc<AtomicUsize>) {
        if depth == 0 {
            leaves.fetch_add(1, Ordering::SeqCst);
            return;
        }
        for _ in 0..2 {
            let (inner, leaves) = (pool.clone(), Arc::clone(&leaves));
            pool.spawn(move || grow(inner, depth - 1, leaves)).detach();
        }
    }
    within_deadline(|| {
        for threads in [1, 2, 4] {
            let leaves = Arc::new(AtomicUsize::new(0));
            let pool = pool("tree", threads);
            let (inner, counted) = (pool.clone(), Arc::clone(&leaves));
            pool.spawn(move || grow(inner, 6, counted)).detach();
            drop(pool);
            eventually("all leaves", || leaves.load(Ordering::SeqCst) == 64);
            eventually("the pool ends", || threads_named("tree-") == 0);
        }
    });
}

/// The only worker waits, by yielding, for a task that is queued behind it; that task must run on
/// another thread.
#[test]
fn a_worker_that_yields_lets_queued_work_run_elsewhere() {
    within_deadline(|| {
        let pool = pool("yield", 1);
        pool.install(|| {
            let ran_on = Arc::new(Mutex::new(None));
            let theirs = Arc::clone(&ran_on);
            trefoil::spawn_blocking(move || {
                *theirs.lock().unwrap() = Some(std::thread::current().id());
            })
            .detach();
            while ran_on.lock().unwrap().is_none() {
                thread::yield_now();
            }
            let elsewhere = ran_on.lock().unwrap().unwrap();
            assert_ne!(elsewhere, std::thread::current().id());
        });
        thread::yield_now(); // on this thread, too
    });
}

#[test]
fn a_handle_that_is_detached_waits_for_nothing_and_its_pool_ends() {
    within_deadline(|| {
        let pool = pool("detached", 2);
        let (go, gate) = mpsc::channel::<()>();
        let (tell, told) = mpsc::channel();
        pool.clone().detach(); // one of several
        pool.spawn(move || {
            gate.recv().unwrap();
            trefoil::spawn_blocking(move || tell.send(7).unwrap()).detach();
        })
        .detach();
        pool.detach();
        go.send(()).unwrap();
        assert_eq!(told.recv().unwrap(), 7);
        eventually("the pool ends", || threads_named("detached-") == 0);
    });
}

#[test]
fn threads_are_named_by_a_function() {
    within_deadline(|| {
        struct PanicsOnDrop;
        impl Drop for PanicsOnDrop {
            fn drop(&mut self) {
                panic!("dropped");
            }
        }
        let builder = ThreadPool::builder().threads(4).name("else");
        let name = |place| match place {
            0 => "zero\0".to_owned(),
            1 => panic!("no name"),
            2 => std::panic::panic_any(PanicsOnDrop),
            _ => format!("named-{place}"),
        };
        let pool = builder.thread_name(name).build().unwrap();
        let names = pool.broadcast(|_| std::thread::current().name().unwrap().to_owned());
        assert_eq!(names, ["zero\u{FFFD}", "else-1", "else-2", "named-3"]);
    });
}

#[test]
fn a_caller_helps_where_it_is_told_to_whatever_the_threads_have() {
    within_deadline(|| {
        for helps in [None, Some(false), Some(true)] {
            for hook in [true, false] {
                let builder = ThreadPool::builder().threads(1);
                let builder = match hook {
                    true => builder.on_start(|_| ()),
                    false => builder.stack_size(1 << 20),
                };
                let builder = match helps {
                    None => builder,
                    Some(helps) => builder.caller_helps(helps),
                };
                let pool = builder.build().unwrap();
                // The one worker is busy until the other task has run.
                let (go, gate) = mpsc::channel::<()>();
                let (began, begun) = mpsc::channel();
                let busy = pool.spawn(move || {
                    began.send(()).unwrap();
                    gate.recv().unwrap();
                });
                begun.recv().unwrap();
                let me = std::thread::current().id();
                let task = pool.spawn(move || std::thread::current().id() == me);
                if helps != Some(true) {
                    go.send(()).unwrap();
                }
                assert_eq!(task.join().unwrap(), helps == Some(true));
                let _gone = go.send(());
                busy.join().unwrap();
            }
        }
    });
}

// ---- broadcasts that nobody waits for ---------------------------------------

#[test]
fn a_broadcast_in_the_background_calls_each_place_once() {
    within_deadline(|| {
        for threads in [1, 3] {
            let pool = pool("spread", threads);
            for _ in 0..100 {
                let told = pool.spawn_broadcast(|index| {
                    let name = std::thread::current().name().unwrap().to_owned();
                    (index, thread::current_index(), name)
                });
                let told = told.join().unwrap();
                assert_eq!(told.len(), threads);
                for (i, told) in told.into_iter().enumerate() {
                    assert_eq!(told, (i, Some(i), format!("spread-{i}")));
                }
            }
            // From the pool's own workers; awaited, and detached.
            let inner = pool.clone();
            let of_it = pool.spawn(move || inner.spawn_broadcast(|index| index).join());
            assert_eq!(
                of_it.join().unwrap().unwrap(),
                (0..threads).collect::<Vec<_>>()
            );
            let (tell, told) = mpsc::channel();
            pool.spawn_broadcast(move |_| tell.send(()).unwrap())
                .detach();
            drop(pool);
            assert_eq!(told.iter().count(), threads);
        }
    });
}

#[test]
fn a_broadcast_in_the_background_is_called_for_those_that_wait() {
    within_deadline(|| {
        let pool = pool("away", 2);
        let (completer, promise) = Completer::<()>::new();
        let promise = promise.shared();
        for _ in 0..2 {
            let promise = promise.clone();
            pool.spawn(move || promise.join().unwrap()).detach();
        }
        eventually("they wait", || format!("{pool:?}").contains("blocked: 2"));
        let told = pool.spawn_broadcast(|index| (index, thread::current_index()));
        eventually("others have called", || told.is_finished());
        assert_eq!(told.join().unwrap(), [(0, Some(0)), (1, Some(1))]);
        completer.complete(Ok(()));
    });
}

#[test]
fn the_failure_of_a_cancelled_broadcast_is_the_pools_and_its_callers() {
    within_deadline(|| {
        let (tell, told) = mpsc::channel();
        let hook = move |report: &trefoil::TaskReport| tell.send(report.spawned_at()).unwrap();
        let builder = ThreadPool::builder().threads(1).on_unobserved(hook);
        let pool = builder.build().unwrap();
        let both = Arc::new(Barrier::new(2));
        let theirs = Arc::clone(&both);
        let broadcast = pool.spawn_broadcast(move |_| {
            theirs.wait();
            theirs.wait();
            panic!("unheard");
        });
        both.wait();
        assert!(broadcast.cancel());
        both.wait();
        assert_eq!(told.recv().unwrap().file(), file!());
        // One report for one that is detached.
        pool.spawn_broadcast(|_| panic!("unheard, too")).detach();
        let line = told.recv().unwrap().line();
        assert_eq!(line, line!() - 2);
        drop((broadcast, pool));
        assert!(told.recv().is_err());
    });
}

#[test]
fn a_cancelled_broadcast_sets_the_tokens_of_its_calls_though_all_workers_are_in_them() {
    within_deadline(|| {
        let pool = pool("token", 2);
        let begun = Arc::new(Barrier::new(3));
        let theirs = Arc::clone(&begun);
        let (tell, told) = mpsc::channel();
        let broadcast = pool.spawn_broadcast(move |index| {
            let token = CancelToken::current();
            theirs.wait();
            while !token.is_cancelled() {
                std::hint::spin_loop();
            }
            tell.send(index).unwrap();
        });
        begun.wait();
        assert!(broadcast.cancel());
        assert!(matches!(broadcast.join(), Err(TaskError::Cancelled)));
        assert_eq!(told.iter().sum::<usize>(), 1);
    });
}

#[test]
fn the_closure_of_a_broadcast_in_the_background_is_dropped_by_a_worker() {
    struct Noted(mpsc::Sender<std::thread::ThreadId>);

    impl Drop for Noted {
        fn drop(&mut self) {
            let _ = self.0.send(std::thread::current().id());
            panic!("on purpose");
        }
    }

    within_deadline(|| {
        let pool = pool("closures", 2);
        let (tell, told) = mpsc::channel();
        for _ in 0..1_000 {
            let noted = Noted(tell.clone());
            let broadcast = pool.spawn_broadcast(move |_| {
                let _used = &noted;
            });
            broadcast.join().unwrap_err(); // the panic of the destructor
        }
        drop((tell, pool));
        let here = std::thread::current().id();
        assert_eq!(
            told.iter().filter(|&dropped| dropped != here).count(),
            1_000
        );
    });
}

#[test]
fn a_broadcast_in_the_background_ends_with_its_pool() {
    within_deadline(|| {
        let pool = pool("skipped", 2);
        let both = Arc::new(Barrier::new(3));
        for _ in 0..2 {
            let both = Arc::clone(&both);
            pool.spawn(move || (both.wait(), both.wait())).detach();
        }
        both.wait();
        let skipped = pool.spawn_broadcast(|index| index);
        let shutting = {
            let pool = pool.clone();
            std::thread::spawn(move || pool.shutdown(Shutdown::CancelPending))
        };
        assert!(matches!(skipped.join(), Err(TaskError::Cancelled)));
        both.wait();
        shutting.join().unwrap();
    });
}

/// Its destructor panics, also while its thread unwinds.
struct Bomb;

impl Drop for Bomb {
    fn drop(&mut self) {
        panic!("in a destructor, on purpose");
    }
}

#[test]
fn a_broadcast_that_panics_drops_its_closure_when_that_panic_is_caught() {
    within_deadline(|| {
        let (pool, bomb) = (pool("bombs", 2), Bomb);
        let panics = pool.spawn_broadcast(move |_| {
            let _captured = &bomb;
            panic!("told");
        });
        match panics.join() {
            Err(TaskError::Panicked(panic)) => assert_eq!(panic.message(), "told"),
            other => panic!("{other:?}"),
        }
    });
}

#[test]
fn a_broadcast_in_the_background_ends_in_a_panic_a_cancel_or_closed() {
    within_deadline(|| {
        let pool = pool("ends", 3);
        let ended = Arc::new(AtomicUsize::new(0));
        let theirs = Arc::clone(&ended);
        let panics = pool.spawn_broadcast(move |index| {
            theirs.fetch_add(1, Ordering::SeqCst);
            assert!(index == 0, "place {index}");
        });
        match panics.join().unwrap_err() {
            TaskError::Panicked(panic) => assert!(panic.message().contains("place 1"), "{panic}"),
            other => panic!("{other}"),
        }
        assert_eq!(ended.load(Ordering::SeqCst), 3, "all have ended before");
        // Cancelled while two of the workers are busy: the third one sees it.
        let all = Arc::new(Barrier::new(3));
        let busy: Vec<_> = (0..2)
            .map(|_| {
                let all = Arc::clone(&all);
                pool.spawn(move || {
                    all.wait();
                    all.wait();
                })
            })
            .collect();
        all.wait();
        let theirs = Arc::clone(&ended);
        let cancelled = pool.spawn_broadcast(move |_| theirs.fetch_add(1, Ordering::SeqCst));
        eventually("the idle one has called", || {
            ended.load(Ordering::SeqCst) == 4
        });
        cancelled.cancel();
        eventually("it is heard", || cancelled.is_finished());
        all.wait();
        busy.into_iter().for_each(|task| task.join().unwrap());
        assert!(matches!(cancelled.join(), Err(TaskError::Cancelled)));
        pool.broadcast(|_| ()); // behind those
        assert_eq!(ended.load(Ordering::SeqCst), 4);
        pool.shutdown(Shutdown::Wait);
        let late = pool.spawn_broadcast(|index| index);
        assert!(matches!(late.join(), Err(TaskError::Closed)));
    });
}
