//! No two threads run with the same index at the same time: what programs rely on that keep an
//! `UnsafeCell` for each `current_thread_index`.
#![allow(clippy::disallowed_methods)] // threads of the tests' own

#[path = "../../../tests/deadline/mod.rs"]
mod deadline;

use std::hint::spin_loop;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::thread;
use std::time::Duration;

use deadline::{sample, within_deadline};
use rayon_core::{ThreadPool, ThreadPoolBuilder, current_thread_index, join};

fn pool(threads: usize) -> ThreadPool {
    ThreadPoolBuilder::new()
        .num_threads(threads)
        .build()
        .unwrap()
}

/// Which indices are in use, by what runs nothing in parallel.
struct InUse(Vec<AtomicBool>);

impl InUse {
    fn new(threads: usize) -> Arc<Self> {
        Arc::new(Self((0..threads).map(|_| AtomicBool::new(false)).collect()))
    }

    /// Calls `f` with the index of this thread, which nobody else uses meanwhile.
    fn with<R>(&self, f: impl FnOnce(usize) -> R) -> R {
        let index = current_thread_index().expect("it runs in a pool");
        let used = self.0[index].swap(true, Ordering::AcqRel);
        assert!(!used, "index {index} has two users");
        let result = f(index);
        assert_eq!(current_thread_index(), Some(index));
        self.0[index].store(false, Ordering::Release);
        result
    }
}

/// Waits in a way that the pool sees, until the sender sends.
fn wait_for(gate: &Mutex<mpsc::Receiver<()>>, other: &ThreadPool) {
    other.install(|| gate.lock().unwrap().recv().unwrap());
}

fn gate() -> (mpsc::Sender<()>, Mutex<mpsc::Receiver<()>>) {
    let (open, gate) = mpsc::channel();
    (open, Mutex::new(gate))
}

/// The wait of the first task is over while the second one, which was begun in it, uses the index.
#[test]
fn a_thread_that_has_waited_does_not_run_beside_the_one_that_has_its_index() {
    within_deadline(|| {
        for _ in 0..sample(20) {
            let (pool, other) = (Arc::new(pool(1)), Arc::new(pool(1)));
            let (in_use, (open, gate)) = (InUse::new(1), gate());
            let (tell, told) = mpsc::channel();
            let (theirs, using, back) = (Arc::clone(&other), Arc::clone(&in_use), tell.clone());
            pool.spawn(move || {
                using.with(|_| back.send("begun").unwrap());
                wait_for(&gate, &theirs);
                using.with(|_| back.send("back").unwrap());
            });
            assert_eq!(told.recv(), Ok("begun"));
            let (go, gone) = mpsc::channel();
            pool.spawn(move || {
                in_use.with(|_| {
                    tell.send("meanwhile").unwrap();
                    gone.recv().unwrap();
                    tell.send("ends").unwrap();
                });
            });
            assert_eq!(told.recv(), Ok("meanwhile"), "a waiting thread is replaced");
            open.send(()).unwrap();
            // (Not waited for if it is as it should be, but for a moment.)
            assert!(told.recv_timeout(Duration::from_millis(20)).is_err());
            go.send(()).unwrap();
            assert_eq!(told.recv(), Ok("ends"));
            assert_eq!(told.recv(), Ok("back"));
        }
    });
}

/// On rayon the second task would have been called by the wait of the first one, and has ended when
/// that returns, even if it waits itself: so the first one may block for what it does.
#[test]
fn a_wait_ends_after_what_was_begun_in_it_even_if_that_waits_itself() {
    within_deadline(|| {
        for _ in 0..sample(20) {
            let (pool, others) = (Arc::new(pool(1)), Arc::new([pool(1), pool(1)]));
            let ((open, first), (open_inner, second)) = (gate(), gate());
            let (tell, told) = mpsc::channel();
            let (report, reported) = mpsc::channel();
            let (theirs, says) = (Arc::clone(&others), tell.clone());
            pool.spawn(move || {
                says.send("first").unwrap();
                wait_for(&first, &theirs[0]);
                reported.recv().unwrap();
                says.send("end").unwrap();
            });
            assert_eq!(told.recv(), Ok("first"));
            pool.spawn(move || {
                tell.send("second").unwrap();
                wait_for(&second, &others[1]);
                report.send(()).unwrap();
            });
            assert_eq!(told.recv(), Ok("second"));
            open.send(()).unwrap();
            thread::sleep(Duration::from_millis(5)); // so that a hasty one would be back by now
            open_inner.send(()).unwrap();
            assert_eq!(told.recv(), Ok("end"));
        }
    });
}

/// Joins of uneven halves, whose threads wait for one another.
#[test]
fn each_leaf_has_an_index_for_itself() {
    fn tree(depth: u32, seed: u64, in_use: &InUse) {
        if depth > 0 {
            let inner = seed
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(depth.into());
            let left = || tree(depth - 1, inner, in_use);
            join(left, || tree(depth - 1, inner.rotate_left(17), in_use));
            return;
        }
        in_use.with(|_| match seed >> 32 & 15 {
            0 => thread::sleep(Duration::from_micros(200)), // longer than a waiting thread spins
            1 => thread::yield_now(),
            n => (0..n * 50).for_each(|_| spin_loop()),
        });
    }
    within_deadline(|| {
        for threads in 1..=4 {
            let (pool, in_use) = (pool(threads), InUse::new(threads));
            for seed in 0..sample(80) as u64 {
                let in_use = &in_use;
                pool.scope(|scope| {
                    for task in 0..8 {
                        scope.spawn(move |_| tree(6, seed * 8 + task, in_use));
                    }
                });
            }
        }
    });
}

#[test]
fn a_broadcast_uses_an_index_alone() {
    within_deadline(|| {
        let (pool, in_use) = (pool(3), InUse::new(3));
        let check = |index| in_use.with(|mine| assert_eq!(mine, index));
        for _ in 0..sample(200) {
            pool.scope(|scope| {
                for _ in 0..6 {
                    scope.spawn(|_| {
                        join(
                            || in_use.with(|_| ()),
                            || in_use.with(|_| thread::yield_now()),
                        );
                        rayon_core::broadcast(|context| check(context.index()));
                        in_use.with(|_| ());
                    });
                }
                pool.broadcast(|context| check(context.index()));
            });
        }
    });
}

#[test]
fn hooks_use_an_index_alone() {
    within_deadline(|| {
        let in_use = InUse::new(2);
        let (starts, ends) = (Arc::clone(&in_use), Arc::clone(&in_use));
        let (tell, told) = mpsc::channel::<()>();
        let check = |in_use: &InUse, index| {
            in_use.with(|mine| {
                assert_eq!(mine, index);
                thread::yield_now();
            });
        };
        let pool = ThreadPoolBuilder::new()
            .num_threads(2)
            .start_handler(move |index| check(&starts, index))
            .exit_handler(move |index| {
                let _alive = &tell;
                check(&ends, index);
            })
            .build()
            .unwrap();
        let other = self::pool(1);
        pool.scope(|scope| {
            for _ in 0..40 {
                scope.spawn(|_| {
                    in_use.with(|_| ());
                    // Long enough for others to be started.
                    other.install(|| thread::sleep(Duration::from_micros(300)));
                    in_use.with(|_| thread::sleep(Duration::from_micros(100)));
                });
            }
        });
        drop(pool);
        assert!(told.recv().is_err(), "all threads have ended");
    });
}

/// A thread outside gets no index, and one of trefoil's own pools counts as outside.
#[test]
fn what_is_called_outside_runs_in_a_pool() {
    fn all_inside(threads: usize, depth: u32) {
        if depth == 0 {
            assert!(current_thread_index().is_some_and(|index| index < threads));
        } else {
            join(
                || all_inside(threads, depth - 1),
                || all_inside(threads, depth - 1),
            );
        }
    }
    within_deadline(|| {
        let threads = rayon_core::current_num_threads();
        let check = || {
            assert_eq!(current_thread_index(), None);
            all_inside(threads, 6);
            rayon_core::scope(|scope| scope.spawn(|_| all_inside(threads, 4)));
        };
        check();
        let theirs = trefoil::ThreadPool::with_threads(2);
        theirs.for_each(0..20, |_| check());
        // A thread of ours that takes part in one of theirs.
        let ours = pool(2);
        ours.install(|| {
            let index = current_thread_index();
            theirs.for_each(0..20, |_| match current_thread_index() {
                None => all_inside(threads, 4),
                Some(_) => all_inside(2, 4),
            });
            let blocking = trefoil::spawn_blocking(move || all_inside(threads.max(2), 4));
            blocking.join().unwrap();
            assert_eq!(current_thread_index(), index);
        });
    });
}
