//! Permits that workers share, and that a death gives back.
#![allow(clippy::disallowed_methods, clippy::disallowed_types)] // a program, not the crate

use crate::deadline::sample;
use crate::support::{Test, forever, kill, tests, until};

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use trefoil::process::Permits;
use trefoil::{ProcessPool, SharedAtomics, TaskError, join_all};

/// The permits; how many hold one; the most that ever did.
type Context = (Permits, SharedAtomics<AtomicU64>);

fn held(context: &Context, nap: u64) {
    let (permits, counts) = context;
    let _one = permits.acquire();
    let now = counts[0].fetch_add(1, Ordering::SeqCst) + 1;
    counts[1].fetch_max(now, Ordering::SeqCst);
    std::thread::sleep(Duration::from_micros(nap));
    counts[0].fetch_sub(1, Ordering::SeqCst);
}

tests! {
    fn there_are_never_more() {
        for permits in [1, 2] {
            let procs = ProcessPool::with_workers(4).unwrap();
            let db = procs.permits("db", permits);
            assert_eq!((db.name(), db.available()), ("db", permits));
            let counts = SharedAtomics::<AtomicU64>::new(2).unwrap();
            let context = (db.clone(), counts.clone());
            let call = procs.call_with(&context, held).chunk_size(1);
            call.map(std::iter::repeat_n(300, sample(400))).unwrap();
            let most = counts[1].load(Ordering::SeqCst);
            assert_eq!(most, permits as u64, "all are used, and no more");
            assert_eq!(db.available(), permits);
        }
    }

    fn here_and_there_they_are_the_same() {
        let procs = ProcessPool::with_workers(1).unwrap();
        let db = procs.permits("db", 0); // that is one
        let mine = db.try_acquire().unwrap();
        assert!(db.try_acquire().is_none());
        let theirs = procs.spawn(db.clone(), |db: Permits| db.try_acquire().is_none());
        assert!(theirs.join().unwrap());
        let mut waits = procs.spawn(db.clone(), |db: Permits| drop(db.acquire()));
        assert!(waits.try_join().is_none());
        drop(mine);
        waits.join().unwrap();
        // In one process, too.
        let mine = db.acquire();
        std::thread::scope(|threads| {
            let waits = threads.spawn(|| drop(db.acquire()));
            drop(mine);
            waits.join().unwrap();
        });
        assert_eq!(db.available(), 1);
        let mine = db.acquire();
        let refused = trefoil::run(async { std::panic::catch_unwind(|| drop(db.acquire())) });
        let panic = refused.unwrap_err();
        assert!(panic.downcast_ref::<String>().unwrap().contains("try_acquire"));
        drop(mine);
        assert!(trefoil::run(async { db.try_acquire().is_some() }));
    }

    fn a_death_gives_back_what_the_worker_had() {
        let procs = ProcessPool::with_workers(2).unwrap();
        let db = procs.permits("db", 2);
        let hold = |db: Permits| {
            let both = (db.acquire(), db.acquire());
            forever::<()>();
            drop(both);
        };
        let holds = procs.spawn(db.clone(), hold);
        until(|| db.available() == 0);
        // One that waits gets it.
        let mut waits = procs.spawn(db.clone(), |db: Permits| drop(db.acquire()));
        assert!(waits.try_join().is_none());
        assert!(holds.cancel()); // it is killed after the grace period
        waits.join().unwrap();
        until(|| db.available() == 2);
    }

    fn a_permit_that_was_forgotten_comes_back_with_its_workers_end() {
        let procs = ProcessPool::builder().workers(1).max_tasks_per_worker(1).build().unwrap();
        let db = procs.permits("db", 1);
        for _ in 0..3 {
            procs.spawn(db.clone(), |db: Permits| std::mem::forget(db.acquire())).join().unwrap();
        }
        until(|| db.available() == 1);
    }

    fn kills_at_any_moment_lose_none() {
        let procs = ProcessPool::with_workers(3).unwrap();
        let db = procs.permits("db", 2);
        let counts = SharedAtomics::<AtomicU64>::new(2).unwrap();
        let context = (db.clone(), counts);
        let call = procs.call_with(&context, held).chunk_size(1);
        let items: Vec<_> = (0..sample(600)).map(|_| call.spawn(200)).collect();
        let kills = sample(40);
        for n in 0..kills {
            if let Some(pid) = procs.worker_pids().get(n % 3) {
                kill(*pid);
            }
            std::thread::sleep(Duration::from_micros(700)); // any moment will do
        }
        let results = join_all(items).join();
        let lost = results.iter().filter(|result| result.is_err()).count();
        assert!(lost <= kills, "{lost} of {}", results.len());
        until(|| db.available() == 2);
    }

    fn a_call_keeps_them_though_no_handle_is_left() {
        let procs = ProcessPool::with_workers(2).unwrap();
        let db = procs.permits("db", 1);
        let holds = procs.spawn(db.clone(), |db: Permits| {
            let _one = db.acquire();
            forever::<()>();
        });
        until(|| db.available() == 0);
        let waits = procs.spawn(db, |db: Permits| drop(db.acquire()));
        assert!(holds.cancel());
        waits.join().unwrap();
        // Those of a name are the same.
        until(|| procs.permits("db", 5).available() == 1);
        assert_eq!(procs.permits("disk", 5).available(), 5);
    }

    fn what_an_actor_had_is_free_after_its_death() {
        let procs = ProcessPool::with_workers(1).unwrap();
        let db = procs.permits("db", 1);
        let load = |db: Permits| std::mem::ManuallyDrop::new(db.acquire());
        let first = procs.actor(db.clone(), load).unwrap();
        first.call((), |(), _| ()).join().unwrap();
        let second = procs.actor(db, load).unwrap();
        kill(first.worker_pids()[0]);
        drop(first);
        second.call((), |(), _| ()).join().unwrap();
    }

    fn what_is_no_permits_is_an_error() {
        let procs = ProcessPool::builder().workers(1).plain_workers(true).build().unwrap();
        let db = procs.permits("db", 1);
        let refused = procs.spawn(db, |db: Permits| drop(db.acquire())).join();
        assert!(matches!(refused, Err(TaskError::Codec(_))), "{refused:?}");
    }
}
