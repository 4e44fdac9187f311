//! Queued tasks that others could overtake for ever.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::time::Duration;

use crate::deadline::within_deadline;
use futures::executor::block_on;
use trefoil::{Task, TaskGroup, ThreadPool, as_completed, race, try_join_all, yield_now};

/// The work that overtakes: as many futures as there are threads, which yield until they are told
/// to stop. They always find themselves in the pool's common queue.
struct Yielders {
    stop: Arc<AtomicBool>,
    tasks: Vec<Task<()>>,
}

impl Yielders {
    fn on(pool: &ThreadPool) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let tasks = (0..pool.num_threads()).map(|_| {
            let stop = Arc::clone(&stop);
            pool.spawn_async(async move {
                while !stop.load(Ordering::SeqCst) {
                    yield_now().await;
                }
            })
        });
        Self {
            tasks: tasks.collect(),
            stop,
        }
    }

    fn end(self) {
        self.stop.store(true, Ordering::SeqCst);
        for task in self.tasks {
            task.join().unwrap();
        }
    }
}

/// Calls `parent` on a worker, once the yielding futures are queued behind it, and then `child`
/// with its result on this thread.
fn beside_yielders<T: Send + 'static>(
    pool: &ThreadPool,
    parent: impl FnOnce(&ThreadPool) -> T + Send + 'static,
    child: impl FnOnce(T),
) {
    let (begin, begun) = mpsc::channel();
    let (go, gate) = mpsc::channel();
    let inner = pool.clone();
    let task = pool.spawn(move || {
        begin.send(()).unwrap();
        gate.recv().unwrap();
        parent(&inner)
    });
    begun.recv().unwrap();
    let yielders = Yielders::on(pool);
    go.send(()).unwrap();
    // `join` could run it here.
    child(block_on(task).unwrap());
    yielders.end();
}

type Wait = fn(&ThreadPool);

const WAITS: [(&str, Wait); 8] = [
    ("a group", |pool| {
        let mut group = TaskGroup::new();
        group.add(pool.spawn(|| ()));
        group.add(pool.spawn(|| ()));
        group.try_join_all().join().unwrap();
    }),
    ("try_join_all", |pool| {
        let tasks = [pool.spawn(|| ()), pool.spawn(|| ())];
        try_join_all(tasks).join().unwrap();
    }),
    ("as_completed", |pool| {
        let tasks = [pool.spawn(|| ()), pool.spawn(|| ())];
        assert_eq!(as_completed(tasks).into_iter().count(), 2);
    }),
    ("race", |pool| {
        race([pool.spawn(|| ()), pool.spawn(|| ())]).join().unwrap();
    }),
    ("shared", |pool| pool.spawn(|| ()).shared().join().unwrap()),
    ("join_timeout", |pool| {
        pool.spawn(|| ()).join_timeout(Duration::MAX).unwrap();
    }),
    ("blocking", |pool| {
        let (send, receive) = mpsc::channel();
        pool.spawn(move || send.send(()).unwrap()).detach();
        pool.blocking(|| receive.recv().unwrap());
    }),
    // The pool does not know that this one waits.
    ("a channel", |pool| {
        if pool.num_threads() > 1 {
            let (send, receive) = mpsc::channel();
            pool.spawn(move || send.send(()).unwrap()).detach();
            receive.recv().unwrap();
        }
    }),
];

#[test]
fn what_a_worker_waits_for_is_not_starved() {
    within_deadline(|| {
        for width in [1, 2, 4] {
            let pool = ThreadPool::with_threads(width);
            for (_name, wait) in WAITS {
                beside_yielders(&pool, wait, |()| ());
            }
        }
    });
}

/// It comes back from a wait as one thread too many, and goes to sleep.
#[test]
fn what_a_sleeping_worker_has_spawned_is_not_starved() {
    within_deadline(|| {
        for width in [1, 2] {
            let pool = ThreadPool::with_threads(width);
            for _ in 0..10 {
                let parent = |pool: &ThreadPool| {
                    let child = pool.spawn(|| ());
                    pool.blocking(|| std::thread::sleep(Duration::from_millis(20)));
                    child
                };
                beside_yielders(&pool, parent, |child| block_on(child).unwrap());
            }
        }
    });
}

/// Spawns its successor until it is told to stop.
fn step(pool: ThreadPool, stop: Arc<AtomicBool>) {
    if !stop.load(Ordering::SeqCst) {
        let next = pool.clone();
        pool.spawn(move || step(next, stop)).detach();
    }
}

/// The newest entry of a worker's own queue comes first, and here it never ends.
#[test]
fn tasks_that_spawn_their_successors_let_older_ones_run() {
    within_deadline(|| {
        for width in [1, 2] {
            let pool = ThreadPool::with_threads(width);
            let inner = pool.clone();
            let older = pool.install(move || {
                let stop = Arc::new(AtomicBool::new(false));
                let theirs = Arc::clone(&stop);
                let older = inner.spawn(move || theirs.store(true, Ordering::SeqCst));
                (0..width).for_each(|_| step(inner.clone(), Arc::clone(&stop)));
                older
            });
            block_on(older).unwrap();
        }
    });
}

/// The same in the common queue: what comes from outside runs, too.
#[test]
fn tasks_that_spawn_their_successors_let_others_run() {
    within_deadline(|| {
        let pool = ThreadPool::with_threads(1);
        let stop = Arc::new(AtomicBool::new(false));
        pool.install(|| step(pool.clone(), Arc::clone(&stop)));
        for _ in 0..10 {
            block_on(pool.spawn(|| ())).unwrap();
        }
        stop.store(true, Ordering::SeqCst);
    });
}
