//! The current pool of a task is its own pool, whichever thread runs it, and whatever pool that
//! thread was inside.
#![allow(clippy::disallowed_methods, clippy::disallowed_types)] // a program, not the crate

use crate::deadline;

use std::sync::{Arc, mpsc};
use std::thread;
use std::time::Duration;

use deadline::{alone, eventually, threads_named, within_deadline};
use trefoil::{Shutdown, Task, TaskError, ThreadPool};

fn named(name: &str) -> ThreadPool {
    let builder = ThreadPool::builder().threads(1).name(name);
    builder.build().unwrap()
}

type Told = mpsc::Receiver<Option<String>>;

/// The name of the thread that runs what is spawned here.
fn whose() -> Told {
    let (tell, told) = mpsc::channel();
    trefoil::spawn_blocking(move || {
        let _ = tell.send(thread::current().name().map(str::to_owned));
    })
    .detach();
    told
}

fn is(told: &Told, name: &str) {
    let told = told.recv().unwrap().unwrap();
    assert!(told.starts_with(name), "{told}, not {name}");
}

/// While `f` runs, the one worker of this pool is busy.
fn while_busy<R>(pool: &ThreadPool, f: impl FnOnce() -> R) -> R {
    let (go, gone) = mpsc::channel::<()>();
    let (begin, begun) = mpsc::channel();
    let busy = pool.spawn(move || {
        begin.send(()).unwrap();
        gone.recv()
    });
    begun.recv().unwrap();
    let result = f();
    drop(go);
    assert!(busy.join().unwrap().is_err());
    result
}

#[test]
fn a_task_that_a_worker_claims_inside_of_another_pool() {
    within_deadline(|| {
        let (home, other) = (Arc::new(named("home")), named("other"));
        let (tell, told) = mpsc::channel();
        let pool = Arc::clone(&home);
        // Detached, so that a worker runs it, and not a thread that waits for it.
        home.spawn(move || {
            let (older, newest) = (pool.spawn(whose), pool.spawn(whose));
            let future = pool.spawn_async(async { whose() });
            tell.send(other.scope(|_| {
                let inside = whose();
                let claimed = [older, newest, future].map(|task| task.join().unwrap());
                (inside, claimed, whose())
            }))
        })
        .detach();
        let (before, claimed, after) = told.recv().unwrap();
        is(&before, "other-");
        is(&after, "other-");
        for told in claimed {
            is(&told, "home-");
        }
    });
}

#[test]
fn a_scoped_task_that_is_joined_inside_of_another_pool() {
    within_deadline(|| {
        let (outer, inner) = (named("outer"), named("inner"));
        let told = while_busy(&outer, || {
            outer.scope(|s| {
                let task = s.spawn(whose);
                inner.scope(|_| task.join().unwrap())
            })
        });
        is(&told, "outer-");
    });
}

#[test]
fn items_that_the_consumer_runs() {
    alone("current_pool::items_that_the_consumer_runs", "", || {
        let pool = named("pool");
        let told = while_busy(&pool, || {
            let told = pool.imap(0..3, |_| whose()).collect::<Vec<_>>();
            // Nor was a global pool made that no code has asked for.
            assert_eq!(threads_named("trefoil-0"), 0);
            told
        });
        for told in told {
            is(&told, "pool-");
        }
    });
}

/// Waits for its task when it is dropped, and sends the result.
struct Waits(
    Option<Task<()>>,
    mpsc::Sender<Option<Result<(), TaskError>>>,
);

impl Drop for Waits {
    fn drop(&mut self) {
        self.1.send(None).unwrap();
        let result = self.0.take().map(Task::join);
        self.1.send(result).unwrap();
    }
}

#[test]
fn the_destructor_of_a_cancelled_closure_waits_for_another_one() {
    within_deadline(|| {
        for helps in [true, false] {
            let builder = ThreadPool::builder().threads(1).caller_helps(helps);
            let pool = Arc::new(builder.build().unwrap());
            let (tell, told) = mpsc::channel();
            let (give, given) = mpsc::channel();
            let (go, gone) = mpsc::channel::<()>();
            let (begin, begun) = mpsc::channel();
            let weak = Arc::downgrade(&pool);
            pool.spawn(move || {
                let waits = Waits(Some(given.recv().unwrap()), tell);
                let pool = weak.upgrade().unwrap();
                pool.spawn(move || drop(waits)).detach();
                drop(pool);
                begin.send(()).unwrap();
                let _ = gone.recv();
            })
            .detach();
            give.send(pool.spawn(|| ())).unwrap();
            begun.recv().unwrap();
            let ending = Arc::clone(&pool);
            let ending = thread::spawn(move || ending.shutdown(Shutdown::CancelPending));
            assert!(told.recv().unwrap().is_none(), "it is being dropped");
            drop(go);
            let result = told
                .recv_timeout(Duration::from_secs(20))
                .expect("it hangs");
            // A thread that helps runs the task that it waits for; otherwise the task is cancelled.
            let expected = matches!(result, Some(Err(TaskError::Cancelled)));
            assert!(expected || helps, "{result:?}");
            ending.join().unwrap();
            eventually("it has ended", || {
                matches!(pool.spawn(|| ()).join(), Err(TaskError::Closed))
            });
        }
    });
}
