//! Handles of one pool, and what its threads know of themselves.
#![allow(clippy::disallowed_methods, clippy::disallowed_types)] // a program, not the crate

use crate::deadline;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Barrier, Mutex, mpsc};

use deadline::{eventually, threads_named, within_deadline};
use trefoil::{Shutdown, TaskError, ThreadPool, thread};

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
        begun.recv().unwrap(); // on a worker: this thread has not offered to help
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
        // The one worker is held, so this thread runs it; and what is queued behind still runs.
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

/// Every task holds a handle, none is held outside, and they spawn one another.
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

#[test]
fn a_thread_that_stands_in_has_an_index_of_its_pools() {
    within_deadline(|| {
        assert_eq!(thread::current(), None);
        let pool = pool("here", 2);
        let mut indices = pool.broadcast(|_| thread::current().unwrap().index());
        indices.sort_unstable();
        assert_eq!(indices, [0, 1]);
        // Both workers wait for what only spares can do.
        let both = Barrier::new(2);
        pool.broadcast(|_| {
            let (tell, told) = mpsc::channel();
            both.wait();
            trefoil::spawn_blocking(move || {
                let place = thread::current_index().unwrap();
                tell.send((place, thread::current().unwrap())).unwrap();
            })
            .detach();
            let (place, here) = ThreadPool::global().blocking(|| {
                let theirs = told.recv().unwrap();
                both.wait(); // a worker that has come back may take the other's task
                theirs
            });
            assert!(place >= 2, "a spare: {place}");
            assert_eq!((here.num_threads(), here.index()), (2, place % 2));
        });
    });
}

/// The only worker waits by yielding for what is queued behind it, and holds what that must not meet.
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
