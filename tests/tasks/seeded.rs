//! Seeded deadlocks through locks, forgotten wakers and threads: each is named, with names and
//! places, and nothing that can still end is.

use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Barrier};
use std::time::Duration;

use trefoil::inspect::{LiveHolder, Stuck, StuckKind, StuckWaiter, on_stuck};
use trefoil::sync::{Event, Mutex, OnceCell, ReentrantMutex, RwLock, Semaphore};
use trefoil::{Completer, EventLoop, Task, ThreadPool};

use crate::deadline::alone;

fn reports() -> Receiver<Stuck> {
    let (send, reports) = channel();
    on_stuck(move |stuck| _ = send.send(stuck.clone()));
    reports
}

/// Who waits, in the order of the report, from the least name on.
fn names(stuck: &Stuck) -> Vec<String> {
    let name = |waiter: &StuckWaiter| match waiter {
        StuckWaiter::Task(task) => task.name.as_deref().unwrap_or("?").to_owned(),
        StuckWaiter::Thread(thread) => format!("thread {}", thread.name),
        _ => unreachable!(),
    };
    let mut names: Vec<String> = stuck.waiters().iter().map(name).collect();
    if stuck.kind() == StuckKind::Cycle {
        let least = (0..names.len()).min_by_key(|n| names[*n].clone());
        names.rotate_left(least.unwrap());
    }
    names
}

/// The next report is of this kind and about these, and says all that.
fn expect(reports: &Receiver<Stuck>, kind: StuckKind, who: &[&str], says: &[&str]) {
    let stuck = reports.recv().unwrap();
    let text = stuck.to_string();
    assert_eq!(stuck.kind(), kind, "{text}");
    assert_eq!(names(&stuck), who, "{text}");
    for word in says {
        assert!(text.contains(word), "{word}: {text}");
    }
    let here = text.matches("tests/tasks/seeded.rs:").count();
    assert!(here >= who.len(), "each has a place: {text}");
}

/// A task of the pool, which begins when it has its name.
#[track_caller]
fn spawn_named(pool: &ThreadPool, name: &str, f: impl FnOnce() + Send + 'static) -> Task<()> {
    let (named, begins) = channel();
    let task = pool.spawn(move || {
        begins.recv().unwrap();
        f();
    });
    let task = task.named(name);
    named.send(()).unwrap();
    task
}

/// The same for a future.
#[track_caller]
fn spawn_async_named<T: Send + 'static>(
    pool: &ThreadPool,
    name: &str,
    future: impl Future<Output = T> + Send + 'static,
) -> Task<T> {
    let (named, begins) = channel();
    let task = pool.spawn_async(async move {
        begins.recv().unwrap();
        future.await
    });
    let task = task.named(name);
    named.send(()).unwrap();
    task
}

/// Leaves the pool, whose threads never end, as it is.
fn leave(pool: ThreadPool) {
    std::mem::forget(pool);
}

#[test]
fn two_closures_take_two_locks_in_different_orders() {
    alone(
        "seeded::two_closures_take_two_locks_in_different_orders",
        "",
        || {
            let reports = reports();
            let pool = ThreadPool::with_threads(2);
            let (a, b) = (Arc::new(Mutex::new(0)), Arc::new(Mutex::new(0)));
            let both = Arc::new(Barrier::new(2));
            let (c, d, their) = (a.clone(), b.clone(), both.clone());
            let _one = spawn_named(&pool, "one", move || {
                let _first = a.lock_blocking();
                both.wait();
                let _second = b.lock_blocking();
            });
            let _two = spawn_named(&pool, "two", move || {
                let _first = d.lock_blocking();
                their.wait();
                let _second = c.lock_blocking();
            });
            let says = [
                "2 tasks wait for one another",
                "a Mutex made at",
                "held by task #",
            ];
            expect(&reports, StuckKind::Cycle, &["one", "two"], &says);
            leave(pool);
        },
    );
}

#[test]
fn two_futures_take_two_locks_in_different_orders() {
    alone(
        "seeded::two_futures_take_two_locks_in_different_orders",
        "",
        || {
            let reports = reports();
            let event_loop = EventLoop::new().unwrap();
            let (a, b) = (Arc::new(Mutex::new(0)), Arc::new(Mutex::new(0)));
            let (c, d) = (a.clone(), b.clone());
            let handle = event_loop.handle();
            let _one = handle
                .spawn(async move {
                    let _first = a.lock().await;
                    trefoil::yield_now().await;
                    let _second = b.lock().await;
                })
                .named("one");
            let _two = handle
                .spawn(async move {
                    let _first = d.lock().await;
                    trefoil::yield_now().await;
                    let _second = c.lock().await;
                })
                .named("two");
            event_loop.block_on(trefoil::time::sleep(Duration::from_millis(1)));
            let says = ["2 tasks wait for one another", "a Mutex made at"];
            expect(&reports, StuckKind::Cycle, &["one", "two"], &says);
        },
    );
}

#[test]
fn a_task_takes_a_lock_twice() {
    alone("seeded::a_task_takes_a_lock_twice", "", || {
        let reports = reports();
        let pool = ThreadPool::with_threads(1);
        let lock = Mutex::new(0);
        let _twice = spawn_async_named(&pool, "twice", async move {
            let _first = lock.lock().await;
            let _second = lock.lock().await;
        });
        let says = ["a task waits for a lock that it has"];
        expect(&reports, StuckKind::Cycle, &["twice"], &says);
        leave(pool);
    });
}

#[test]
fn a_thread_holds_the_lock_that_the_task_which_it_joins_wants() {
    alone(
        "seeded::a_thread_holds_the_lock_that_the_task_which_it_joins_wants",
        "",
        || {
            let reports = reports();
            let pool = ThreadPool::with_threads(1);
            let lock = Arc::new(Mutex::new(0));
            let wants = lock.clone();
            let begun = Arc::new(Barrier::new(2));
            let begins = begun.clone();
            let spawn = pool.clone();
            let thread = move || {
                let _held = lock.lock_blocking();
                let task = spawn.spawn(move || {
                    begins.wait();
                    *wants.lock_blocking() += 1;
                });
                begun.wait();
                task.named("wants").join().unwrap();
            };
            std::thread::Builder::new()
                .name("holds".to_owned())
                .spawn(thread)
                .unwrap();
            let says = [
                "2 tasks and threads wait for one another",
                "held by thread ",
            ];
            expect(
                &reports,
                StuckKind::Cycle,
                &["thread holds", "wants"],
                &says,
            );
            leave(pool);
        },
    );
}

#[test]
fn two_threads_outside_tasks() {
    alone("seeded::two_threads_outside_tasks", "", || {
        let reports = reports();
        let locks: &[Mutex<i32>; 2] = Box::leak(Box::new([Mutex::new(0), Mutex::new(0)]));
        let both = Arc::new(Barrier::new(2));
        for n in 0..2 {
            let both = both.clone();
            let thread = move || {
                let _first = locks[n].lock_blocking();
                both.wait();
                let _second = locks[1 - n].lock_blocking();
            };
            std::thread::Builder::new()
                .name(format!("number {n}"))
                .spawn(thread)
                .unwrap();
        }
        let stuck = reports.recv().unwrap();
        assert_eq!(names(&stuck), ["thread number 0", "thread number 1"]);
        assert_eq!(stuck.kind(), StuckKind::Cycle);
        assert!(stuck.tasks().is_empty());
    });
}

#[test]
fn a_reader_waits_behind_a_writer_that_waits_for_it() {
    alone(
        "seeded::a_reader_waits_behind_a_writer_that_waits_for_it",
        "",
        || {
            let reports = reports();
            let pool = ThreadPool::with_threads(2);
            let lock = Arc::new(RwLock::new(0));
            let other = lock.clone();
            let (reads, read) = channel();
            let (writes, write) = channel();
            let reader = pool.spawn(move || {
                let _first = lock.read_blocking();
                reads.send(()).unwrap();
                let writer: u64 = write.recv().unwrap();
                // Until it waits.
                while trefoil::inspect::tasks()
                    .get(writer)
                    .unwrap()
                    .waits_for
                    .lock
                    .is_none()
                {
                    std::thread::yield_now();
                }
                let _second = lock.read_blocking();
            });
            let _reader = reader.named("reader");
            read.recv().unwrap();
            let writer = pool.spawn(move || *other.write_blocking() += 1);
            let writer = writer.named("writer");
            writes.send(writer.id().get()).unwrap();
            let says = ["a RwLock made at", "held by task #"];
            expect(&reports, StuckKind::Cycle, &["reader", "writer"], &says);
            leave(pool);
        },
    );
}

#[test]
fn a_future_reads_twice_with_a_writer_in_between() {
    alone(
        "seeded::a_future_reads_twice_with_a_writer_in_between",
        "",
        || {
            let reports = reports();
            let event_loop = EventLoop::new().unwrap();
            let lock = Arc::new(RwLock::new(0));
            let other = lock.clone();
            let handle = event_loop.handle();
            let reads = async move {
                let _first = lock.read().await;
                trefoil::yield_now().await;
                let _second = lock.read().await;
            };
            let _reads = handle.spawn(reads).named("reads");
            let writes = async move { *other.write().await += 1 };
            let _writes = handle.spawn(writes).named("writes");
            event_loop.block_on(trefoil::time::sleep(Duration::from_millis(1)));
            let says = ["2 tasks wait for one another", "a RwLock made at"];
            expect(&reports, StuckKind::Cycle, &["reads", "writes"], &says);
        },
    );
}

#[test]
fn a_task_has_ended_and_left_a_lock() {
    alone("seeded::a_task_has_ended_and_left_a_lock", "", || {
        let reports = reports();
        let pool = ThreadPool::with_threads(2);
        // The waiter comes after the end, or before it.
        for waits_first in [false, true] {
            let lock = Arc::new(Mutex::new(0));
            let left = lock.clone();
            let (taken, take) = channel();
            let (end, ends) = channel::<()>();
            let leaves = pool.spawn(move || {
                std::mem::forget(left.lock_blocking());
                taken.send(()).unwrap();
                _ = ends.recv();
            });
            take.recv().unwrap();
            let mut leaves = Some((leaves, end));
            if !waits_first {
                let (task, end) = leaves.take().unwrap();
                drop(end);
                task.join().unwrap();
            }
            let waits = pool.spawn(move || *lock.lock_blocking() += 1);
            let waits = waits.named("waits");
            if let Some((task, end)) = leaves {
                while trefoil::inspect::tasks()
                    .get(waits.id().get())
                    .unwrap()
                    .waits_for
                    .lock
                    .is_none()
                {
                    std::thread::yield_now();
                }
                drop(end);
                task.join().unwrap();
            }
            let says = ["a lock is held by a task that has ended", "a Mutex made at"];
            expect(&reports, StuckKind::AbandonedLock, &["waits"], &says);
        }
        leave(pool);
    });
}

/// A future that drops what was left with it of its waker.
async fn forgotten(wakers: std::sync::mpsc::Sender<std::task::Waker>) {
    std::future::poll_fn(|cx| {
        wakers.send(cx.waker().clone()).unwrap();
        std::task::Poll::<()>::Pending
    })
    .await;
}

#[test]
fn nothing_can_wake_a_task() {
    alone("seeded::nothing_can_wake_a_task", "", || {
        let reports = reports();
        // Its waker is dropped after its poll; nobody has its handle.
        let event_loop = EventLoop::new().unwrap();
        let (wakers, waker) = channel();
        let task = event_loop.handle().spawn(forgotten(wakers));
        task.named("detached").detach();
        event_loop.block_on(trefoil::yield_now());
        assert!(reports.try_recv().is_err());
        drop(waker.recv().unwrap());
        let says = ["nothing can wake a task any more"];
        expect(&reports, StuckKind::NeverWoken, &["detached"], &says);
        // One that is awaited, and had no waker when its poll ended.
        let pool = ThreadPool::with_threads(1);
        let never = spawn_async_named(&pool, "never", std::future::pending::<()>());
        let waits = spawn_named(&pool, "waits", move || never.join().unwrap());
        expect(&reports, StuckKind::NeverWoken, &["waits", "never"], &says);
        // Its handle is there, and nobody waits for it: it can be cancelled.
        let kept = pool.spawn_async(std::future::pending::<()>());
        while trefoil::inspect::tasks()
            .get(kept.id().get())
            .unwrap()
            .polls
            == 0
        {
            std::thread::yield_now();
        }
        kept.cancel();
        assert!(kept.join().is_err());
        assert!(reports.try_recv().is_err());
        drop(waits);
        leave(pool);
    });
}

/// The future of `block_on`, each time that of a loop of its own.
#[test]
fn a_root_future_has_the_lock_that_it_or_its_task_wants() {
    alone(
        "seeded::a_root_future_has_the_lock_that_it_or_its_task_wants",
        "",
        || {
            let reports = reports();
            std::thread::spawn(|| {
                trefoil::run(async {
                    let lock = Mutex::new(0);
                    let _first = lock.lock().await;
                    let _second = lock.lock().await;
                });
            });
            let says = ["a task waits for a lock that it has", "a Mutex made at"];
            expect(&reports, StuckKind::Cycle, &["?"], &says);
            std::thread::spawn(|| {
                trefoil::run(async {
                    let lock = std::rc::Rc::new(Mutex::new(0));
                    let _held = lock.lock().await;
                    let wants = lock.clone();
                    let task = trefoil::spawn(async move { drop(wants.lock().await) });
                    task.named("wants").await.unwrap();
                });
            });
            let says = ["2 tasks wait for one another", "held by task #"];
            expect(&reports, StuckKind::Cycle, &["?", "wants"], &says);
        },
    );
}

#[test]
fn a_ring_of_many_futures() {
    const MANY: usize = 15_000;
    alone("seeded::a_ring_of_many_futures", "", || {
        let reports = reports();
        let (send, handle) = trefoil::sync::channel::bounded::<Task<()>>(1);
        let event_loop = EventLoop::new().unwrap();
        let spawn = event_loop.handle();
        let mut last = spawn.spawn(async move { handle.recv().await.unwrap().await.unwrap() });
        for _ in 1..MANY {
            last = spawn.spawn(async move { last.await.unwrap() });
        }
        send.send_blocking(last).unwrap();
        event_loop.block_on(trefoil::time::sleep(Duration::from_millis(1)));
        let stuck = reports.recv().unwrap();
        assert_eq!(
            (stuck.kind(), stuck.tasks().len()),
            (StuckKind::Cycle, MANY)
        );
        std::mem::forget(event_loop);
    });
}

#[test]
fn a_value_is_made_by_itself() {
    alone("seeded::a_value_is_made_by_itself", "", || {
        static CELL: OnceCell<u32> = OnceCell::new();
        let reports = reports();
        let pool = ThreadPool::with_threads(1);
        let inner = async || *CELL.get_or_init(async || 1).await;
        let outer = async move { *CELL.get_or_init(inner).await };
        let _outer = spawn_async_named(&pool, "makes", outer);
        let says = ["a task waits for a lock that it has", "an OnceCell made at"];
        expect(&reports, StuckKind::Cycle, &["makes"], &says);
        leave(pool);
    });
}

#[test]
fn a_loop_and_a_pool_wait_for_each_other_through_a_lock() {
    alone(
        "seeded::a_loop_and_a_pool_wait_for_each_other_through_a_lock",
        "",
        || {
            let reports = reports();
            let pool = ThreadPool::with_threads(1);
            let spawn = pool.clone();
            std::thread::spawn(move || {
                let event_loop = EventLoop::new().unwrap();
                let lock = Arc::new(Mutex::new(0));
                let task = async move {
                    let _held = lock.lock().await;
                    let wants = lock.clone();
                    let wants = spawn.spawn(move || *wants.lock_blocking() += 1);
                    wants.named("wants").await.unwrap();
                };
                let _holds = event_loop.handle().spawn(task).named("holds");
                event_loop.block_on(trefoil::time::sleep(Duration::MAX));
            });
            let says = ["2 tasks wait for one another", "a Mutex made at"];
            expect(&reports, StuckKind::Cycle, &["holds", "wants"], &says);
            leave(pool);
        },
    );
}

#[test]
fn a_reentrant_lock_is_held_across_a_join() {
    alone("seeded::a_reentrant_lock_is_held_across_a_join", "", || {
        let reports = reports();
        let pool = ThreadPool::with_threads(2);
        let lock = Arc::new(ReentrantMutex::new(()));
        let inner = pool.clone();
        let _outer = spawn_named(&pool, "holds", move || {
            let _first = lock.lock_blocking();
            let _again = lock.lock_blocking();
            let wants = lock.clone();
            let (begun, begins) = channel();
            let task = inner.spawn(move || {
                begun.send(()).unwrap();
                drop(wants.lock_blocking());
            });
            begins.recv().unwrap(); // another thread runs it
            task.named("wants").join().unwrap();
        });
        let says = ["a ReentrantMutex made at"];
        expect(&reports, StuckKind::Cycle, &["holds", "wants"], &says);
        leave(pool);
    });
}

/// What waits for locks and the like is shown, whoever has them.
#[test]
fn a_wait_is_shown_with_its_place() {
    alone("seeded::a_wait_is_shown_with_its_place", "", || {
        let _awake = trefoil::inspect::tasks();
        let pool = ThreadPool::with_threads(4);
        let shown = |task: &Task<()>| loop {
            let tree = trefoil::inspect::tasks();
            if let Some(lock) = tree.get(task.id().get()).unwrap().waits_for.lock {
                let made_at = lock.made_at.unwrap().to_string();
                assert!(made_at.contains("tests/tasks/seeded.rs"), "{made_at}");
                assert!(
                    tree.to_json()
                        .contains(&format!("\"made_at\":\"{made_at}\""))
                );
                return lock;
            }
            std::thread::yield_now();
        };
        let event = Arc::new(Event::new());
        let waits = event.clone();
        let task = pool.spawn_async(async move { waits.wait().await });
        assert_eq!(shown(&task).kind, "Event");
        event.set();
        task.join().unwrap();
        let (sender, receiver) = trefoil::sync::channel::bounded::<()>(1);
        let task = pool.spawn(move || _ = receiver.recv_blocking());
        assert_eq!(shown(&task).kind, "channel");
        drop(sender);
        task.join().unwrap();
        let permits = Arc::new(Semaphore::new(0));
        let waits = permits.clone();
        let task = pool.spawn_async(async move { drop(waits.acquire().await) });
        assert_eq!(
            (shown(&task).kind, shown(&task).held_by),
            ("Semaphore", None)
        );
        permits.add_permits(1);
        task.join().unwrap();
        let lock = Arc::new(Mutex::new(()));
        let (held, wants) = (lock.lock_blocking(), lock.clone());
        let task = pool.spawn_async(async move { drop(wants.lock().await) });
        let lock = shown(&task);
        assert!(
            matches!(lock.held_by, Some(LiveHolder::Thread(_))),
            "{lock:?}"
        );
        drop(held);
        task.join().unwrap();
    });
}

/// A guard that is given away against the rule ends the trust in its kind of lock.
#[test]
fn a_guard_that_was_given_away_accuses_nobody() {
    alone(
        "seeded::a_guard_that_was_given_away_accuses_nobody",
        "",
        || {
            static LOCK: Mutex<u32> = Mutex::new(0);
            let reports = reports();
            let pool = ThreadPool::with_threads(2);
            for _ in 0..2 {
                let other = pool.clone();
                let task = pool.spawn_async(async move {
                    let guard = LOCK.lock().await;
                    // It runs for longer than it takes to wait for the lock.
                    let (begun, begins) = trefoil::sync::channel::bounded(1);
                    other
                        .spawn(move || {
                            begins.recv_blocking().unwrap();
                            drop(guard);
                        })
                        .detach();
                    let wait = LOCK.lock();
                    begun.send(()).await.unwrap();
                    *wait.await += 1;
                });
                task.join().unwrap();
            }
            assert!(reports.try_recv().is_err());
            // Now such a lock accuses nobody, even where it would be right.
            let _twice = pool.spawn(move || {
                let _first = LOCK.lock_blocking();
                let _second = LOCK.lock_blocking();
            });
            let lock = Arc::new(Mutex::new(0));
            let _twice = spawn_named(&pool, "another lock", move || {
                let _first = lock.lock_blocking();
                let _second = lock.lock_blocking();
            });
            let stuck = reports.recv().unwrap();
            assert_eq!(names(&stuck), ["another lock"], "{stuck}");
            leave(pool);
        },
    );
}

/// Tasks of an executor that is not known: they wait and hold on a thread, but are not the thread.
#[test]
fn tasks_of_another_executor_are_not_their_thread() {
    alone(
        "seeded::tasks_of_another_executor_are_not_their_thread",
        "",
        || {
            let reports = reports();
            let lock = Arc::new(Mutex::new(0));
            let wants = lock.clone();
            let mut holds = Box::pin(async move {
                let _guard = lock.lock().await;
                trefoil::yield_now().await;
            });
            let cx = &mut std::task::Context::from_waker(std::task::Waker::noop());
            assert!(holds.as_mut().poll(cx).is_pending());
            // It goes on elsewhere, while this thread waits for its lock.
            let elsewhere = std::thread::spawn(move || {
                std::thread::sleep(Duration::from_millis(300)); // longer than a report takes
                futures::executor::block_on(holds);
            });
            *wants.lock_blocking() += 1;
            elsewhere.join().unwrap();
            assert!(reports.try_recv().is_err());
        },
    );
}

/// One part of a task waits for another task; the part with the lock goes on.
#[test]
fn another_part_of_a_task_may_release_the_lock() {
    alone(
        "seeded::another_part_of_a_task_may_release_the_lock",
        "",
        || {
            let reports = reports();
            let pool = ThreadPool::with_threads(3);
            let inner = pool.clone();
            let outer = pool.spawn(move || {
                let lock = Arc::new(Mutex::new(0));
                let (wants, begun) = (lock.clone(), Arc::new(Barrier::new(2)));
                let guard = lock.lock_blocking();
                let task = inner.spawn(move || *wants.lock_blocking() += 1);
                let other = begun.clone();
                inner.join(
                    || {
                        begun.wait();
                        std::thread::sleep(Duration::from_millis(300)); // longer than a report takes
                        drop(guard);
                    },
                    || {
                        other.wait();
                        task.join().unwrap();
                    },
                );
            });
            outer.join().unwrap();
            assert!(reports.try_recv().is_err());
        },
    );
}

/// A writer that can give up does not hold readers back for ever.
#[test]
fn a_writer_that_may_give_up_is_no_deadlock() {
    alone(
        "seeded::a_writer_that_may_give_up_is_no_deadlock",
        "",
        || {
            let reports = reports();
            trefoil::run(async {
                let lock = Arc::new(RwLock::new(0));
                let other = lock.clone();
                let writes = trefoil::spawn(async move {
                    let limit = Duration::from_millis(300); // longer than a report takes
                    _ = trefoil::time::timeout(limit, other.write()).await;
                });
                let reads = trefoil::spawn(async move {
                    let _first = lock.read().await;
                    trefoil::yield_now().await;
                    let _second = lock.read().await;
                });
                writes.await.unwrap();
                reads.await.unwrap();
            });
            assert!(reports.try_recv().is_err());
        },
    );
}

#[test]
fn what_can_still_go_on_is_not_reported() {
    alone("seeded::what_can_still_go_on_is_not_reported", "", || {
        let reports = reports();
        let pool = ThreadPool::with_threads(4);
        // A guard that is made to be given away is released by another.
        trefoil::run(async {
            let lock = Arc::new(Mutex::new(0));
            let guard = lock.lock_arc().await;
            let (completer, promise) = Completer::<()>::new();
            let gives = trefoil::spawn(async move {
                _ = promise.await;
                drop(guard);
            });
            let waits = trefoil::spawn(async move {
                let guard = lock.lock_arc().await;
                let other = trefoil::spawn(async move {
                    trefoil::yield_now().await;
                    drop(guard);
                });
                *lock.lock().await += 1;
                other.await.unwrap();
            });
            completer.complete(Ok(()));
            gives.await.unwrap();
            waits.await.unwrap();
        });
        // Many short waits, in one order.
        let locks: Arc<[Mutex<u64>; 3]> = Arc::default();
        let shared = Arc::new(RwLock::new(0_u64));
        let tasks = (0..crate::deadline::sample(2000)).map(|n| {
            let (locks, shared) = (locks.clone(), shared.clone());
            match n % 4 {
                0 => pool.spawn(move || {
                    let _first = locks[0].lock_blocking();
                    *locks[1].lock_blocking() += 1;
                }),
                1 => pool.spawn_async(async move {
                    let _first = locks[1].lock().await;
                    trefoil::yield_now().await;
                    *locks[2].lock().await += 1;
                }),
                2 => pool.spawn(move || *shared.write_blocking() += *locks[2].lock_blocking()),
                _ => pool.spawn_async(async move {
                    let read = shared.read().await;
                    trefoil::yield_now().await;
                    drop(read);
                    let value = *shared.read().await;
                    *locks[0].lock().await += value;
                }),
            }
        });
        let tasks: Vec<Task<()>> = tasks.collect();
        for task in tasks {
            task.join().unwrap();
        }
        assert!(reports.try_recv().is_err());
    });
}
