//! Other threads: spawning from them, waking from them, racing with the end.

use std::future::{pending, poll_fn};
use std::rc::Rc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Barrier, mpsc};
use std::task::Poll;
use std::thread;
use std::time::{Duration, Instant};

use trefoil::time::sleep;
use trefoil::{
    Completer, EventLoop, LoopHandle, Task, TaskError, TaskGroup, ThreadPool, Until, as_completed,
    as_completed_keyed, race, run, spawn, try_join_all, wait, yield_now,
};

use crate::support::{Dropped, LONG, poll_once, wait_until, within_deadline};

#[test]
fn no_spawn_from_eight_threads_is_lost() {
    const THREADS: usize = 8;
    const EACH: usize = 12_500;
    within_deadline(|| {
        let event_loop = EventLoop::new().unwrap();
        let ran = Arc::new(AtomicUsize::new(0));
        let start = Arc::new(Barrier::new(THREADS));
        let threads: Vec<_> = (0..THREADS)
            .map(|n| {
                let (handle, ran, start) = (event_loop.handle(), ran.clone(), start.clone());
                thread::spawn(move || {
                    start.wait();
                    let mut tasks = Vec::new();
                    for i in 0..EACH {
                        let ran = ran.clone();
                        tasks.push(handle.spawn(async move { ran.fetch_add(1, SeqCst) }));
                        // Now and then the loop has time to go to sleep.
                        if i % 64 == n {
                            tasks.pop().unwrap().join().unwrap();
                        }
                    }
                    for task in tasks {
                        task.join().unwrap();
                    }
                })
            })
            .collect();
        let (completer, done) = Completer::new();
        thread::spawn(move || {
            for thread in threads {
                thread.join().unwrap();
            }
            completer.complete(Ok(()));
        });
        event_loop.block_on(done).unwrap();
        assert_eq!(ran.load(SeqCst), THREADS * EACH);
    });
}

#[test]
fn a_promise_kept_on_another_thread_wakes_the_loop() {
    within_deadline(|| {
        run(async {
            for n in 0..200 {
                let (completer, task) = Completer::new();
                let thread = thread::spawn(move || completer.complete(Ok(n)));
                // Half of them in the root, half in tasks.
                let got = if n % 2 == 0 {
                    task.await
                } else {
                    spawn(task).await.unwrap()
                };
                assert_eq!(got.unwrap(), n);
                thread.join().unwrap();
            }
        });
    });
}

#[test]
fn join_on_the_loop_is_refused_unless_it_is_done() {
    within_deadline(|| {
        run(async {
            let waiting = spawn(pending::<()>());
            assert!(matches!(waiting.join(), Err(TaskError::WouldBlock)));
            let (_completer, mut promise) = Completer::<()>::new();
            let start = Instant::now();
            assert!(matches!(
                promise.join_timeout(LONG),
                Err(TaskError::WouldBlock)
            ));
            assert!(start.elapsed() < LONG / 2);
            spawn(async {
                let done = spawn(async { 4 });
                yield_now().await;
                assert_eq!(done.join().unwrap(), 4);
                assert!(matches!(
                    spawn(pending::<()>()).join(),
                    Err(TaskError::WouldBlock)
                ));
            })
            .await
            .unwrap();
        });
    });
}

/// No thread runs the loop then, and no other thread can.
#[test]
fn join_between_two_block_ons_is_refused_for_the_loops_own() {
    within_deadline(|| {
        let event_loop = EventLoop::new().unwrap();
        let handle = event_loop.handle();
        let local = event_loop.block_on(async { Some(spawn(pending::<()>())) });
        let refused = local.unwrap().join();
        assert!(matches!(refused, Err(TaskError::WouldBlock)));
        let start = || handle.spawn(async { 5 });
        assert!(matches!(start().join(), Err(TaskError::WouldBlock)));
        let made = handle.spawn_with(|| async { 5 });
        assert!(matches!(made.join(), Err(TaskError::WouldBlock)));
        let mapped = start().map(|n| n + 1).map(|n| n + 1);
        assert!(matches!(mapped.join(), Err(TaskError::WouldBlock)));
        let shared = start().shared();
        assert!(matches!(shared.join(), Err(TaskError::WouldBlock)));
        event_loop.block_on(yield_now());
        assert_eq!(shared.join().unwrap(), 5);
        // Another thread may wait for it, and this one once it has ended.
        let task = start();
        let waiting = thread::spawn(move || task.join());
        assert_eq!(event_loop.block_on(start()).unwrap(), 5);
        assert_eq!(waiting.join().unwrap().unwrap(), 5);
        let done = start();
        event_loop.block_on(yield_now());
        assert_eq!(done.join().unwrap(), 5);
        // A task of a loop on another thread can be joined as usual.
        let (tell, told) = mpsc::channel();
        let (stop, stopped) = Completer::<()>::new();
        let other = thread::spawn(move || {
            run(async {
                tell.send(LoopHandle::current()).unwrap();
                let _ = stopped.await;
            });
        });
        assert_eq!(told.recv().unwrap().spawn(async { 6 }).join().unwrap(), 6);
        stop.complete(Ok(()));
        other.join().unwrap();
    });
}

#[test]
fn lists_between_two_block_ons_are_refused_once_only_the_loops_own_are_left() {
    within_deadline(|| {
        let event_loop = EventLoop::new().unwrap();
        let handle = event_loop.handle();
        let start = || handle.spawn(async { 5 });
        let refused = |result: &Result<i32, TaskError>| match result {
            Err(TaskError::WouldBlock) => true,
            other => panic!("{other:?}"),
        };
        let pool = ThreadPool::with_threads(1);
        // (Later than the wait begins, as a rule; the results do not depend on that.)
        let late = || {
            pool.spawn(|| {
                thread::sleep(Duration::from_millis(20));
                6
            })
        };
        assert!(refused(&race([start(), start()]).join()));
        assert_eq!(race([start(), late()]).join().unwrap(), 6);
        assert!(matches!(
            try_join_all([start(), late()]).join(),
            Err(TaskError::WouldBlock)
        ));
        let results: Vec<_> = as_completed([start(), late(), start()])
            .into_iter()
            .collect();
        assert_eq!(results.len(), 3);
        assert!(matches!(results[0], Ok(6)));
        assert!(results[1..].iter().all(refused));
        let keyed = as_completed_keyed([("ours", start())]).into_iter();
        assert!(
            keyed
                .map(|(_, result)| result)
                .all(|result| refused(&result))
        );
        let (done, left) = wait([start(), late()], Until::All, None).join();
        assert_eq!((done.len(), left.len()), (1, 1));
        let shared = [start().shared(), start().shared()];
        assert!(shared.iter().all(|task| refused(&task.join())));

        let mut group = TaskGroup::new();
        let ours = group.add(start());
        let theirs = group.add(late());
        let (id, result) = group.next().join().unwrap();
        assert_eq!((id, result.unwrap()), (theirs, 6));
        let (id, result) = group.next().join().unwrap();
        assert!(id == ours && refused(&result));
        assert!(group.next().join().is_none());
        group.add(late());
        let error = group.try_join_all().join().unwrap_err();
        assert!(matches!(error.errors(), [(id, TaskError::WouldBlock)] if *id == ours));
    });
}

/// In linear time.
#[test]
fn long_lists_between_two_block_ons_are_refused_but_for_what_has_ended() {
    within_deadline(|| {
        let event_loop = EventLoop::new().unwrap();
        let handle = event_loop.handle();
        let many = || (0..100_000).map(|_| handle.spawn(async { 5 }));
        let refused =
            |result: &Result<i32, TaskError>| matches!(result, Err(TaskError::WouldBlock));
        let mut results = as_completed(many()).into_iter();
        assert!(results.by_ref().take(50_000).all(|result| refused(&result)));
        event_loop.block_on(async {
            for _ in 0..3 {
                yield_now().await;
            }
        });
        assert!(matches!(results.next(), Some(Ok(5))));
        drop(results);
        let mut crowd = TaskGroup::new();
        for task in many() {
            crowd.add(task);
        }
        let members = crowd.len();
        let refusals = std::iter::from_fn(|| crowd.next().join());
        assert_eq!(
            refusals.filter(|(_, result)| refused(result)).count(),
            members
        );
    });
}

#[test]
fn a_future_that_is_not_send_is_dropped_on_its_loops_thread() {
    within_deadline(|| {
        let (handle_out, handle_in) = mpsc::channel();
        let (stop, stopped) = Completer::<()>::new();
        let looping = thread::spawn(move || {
            run(async {
                handle_out
                    .send((LoopHandle::current(), thread::current().id()))
                    .unwrap();
                let _ = stopped.await;
            });
        });
        let (handle, loop_thread) = handle_in.recv().unwrap();
        let (tell, told) = mpsc::channel();
        let start = |awaits: Task<()>| {
            let tell = tell.clone();
            handle.spawn_with(move || {
                let guard = Rc::new(Dropped(tell));
                async move {
                    let _guard = guard;
                    let _ = awaits.await;
                }
            })
        };
        // Cancelled from here, waiting or perhaps not yet begun.
        for _ in 0..200 {
            let (_never, promise) = Completer::new();
            let task = start(promise);
            assert!(task.cancel());
            assert!(matches!(task.join(), Err(TaskError::Cancelled)));
        }
        // Woken and dropped from here at the same time.
        for _ in 0..200 {
            let (completer, promise) = Completer::new();
            let task = start(promise).cancel_on_drop();
            let thread = thread::spawn(move || completer.complete(Ok(())));
            drop(task);
            thread.join().unwrap();
        }
        // Some tasks are left for the end of the loop.
        let mut left = Vec::new();
        for _ in 0..200 {
            let (completer, promise) = Completer::new();
            start(promise).detach();
            left.push(completer);
        }
        stop.complete(Ok(()));
        // Wake-ups race with the end.
        left.into_iter()
            .for_each(|completer| completer.complete(Ok(())));
        looping.join().unwrap();
        drop(tell);
        let mut count = 0;
        for thread in told {
            // A factory that was cancelled before it began may go anywhere: it is `Send`.
            count += usize::from(thread == loop_thread);
            assert!(thread == loop_thread || thread == thread::current().id());
        }
        assert!(count > 0 && count <= 600);
    });
}

#[test]
fn after_the_end_everything_is_closed() {
    within_deadline(|| {
        let (handle, waker, stale_sleep) = run(async {
            let waker = poll_fn(|cx| Poll::Ready(cx.waker().clone())).await;
            let mut stale = sleep(LONG);
            assert!(poll_once(&mut stale).is_pending());
            (LoopHandle::current(), waker, stale)
        });
        for _ in 0..2 {
            assert!(matches!(
                handle.spawn(async {}).join(),
                Err(TaskError::Closed)
            ));
            assert!(matches!(
                handle.spawn_with(|| async {}).join(),
                Err(TaskError::Closed)
            ));
            assert!(matches!(
                handle.call_soon(|| {}).join(),
                Err(TaskError::Closed)
            ));
            assert!(matches!(
                handle.call_later(Duration::ZERO, || {}).join(),
                Err(TaskError::Closed)
            ));
        }
        waker.wake_by_ref();
        thread::spawn(move || drop((waker, stale_sleep, handle)))
            .join()
            .unwrap();
    });
}

#[test]
fn spawns_that_race_with_the_end_all_end() {
    within_deadline(|| {
        for _ in 0..100 {
            let event_loop = EventLoop::new().unwrap();
            let threads: Vec<_> = (0..3)
                .map(|_| {
                    let handle = event_loop.handle();
                    thread::spawn(move || {
                        (0..50)
                            .map(|n| match n % 3 {
                                0 => handle.spawn(async {}),
                                1 => handle.spawn_with(|| async { drop(Rc::new(())) }),
                                _ => handle.call_soon(|| {}),
                            })
                            .collect::<Vec<_>>()
                    })
                })
                .collect();
            event_loop.block_on(yield_now());
            drop(event_loop);
            for task in threads
                .into_iter()
                .flat_map(|thread| thread.join().unwrap())
            {
                let end = task.join();
                assert!(
                    matches!(end, Ok(()) | Err(TaskError::Cancelled | TaskError::Closed)),
                    "{end:?}"
                );
            }
        }
    });
}

#[test]
fn calls_soon_and_later() {
    within_deadline(|| {
        run(async {
            let handle = LoopHandle::current();
            let order = Arc::new(AtomicUsize::new(0));
            let next = |order: &Arc<AtomicUsize>| {
                let order = order.clone();
                move || order.fetch_add(1, SeqCst)
            };
            let soon = handle.call_soon(next(&order));
            let second = thread::spawn({
                let (handle, call) = (handle.clone(), next(&order));
                move || handle.call_soon(call)
            })
            .join()
            .unwrap();
            let never = handle.call_later(Duration::from_millis(1), || panic!("was cancelled"));
            assert!(never.cancel());
            assert_eq!(soon.await.unwrap(), 0);
            assert_eq!(second.await.unwrap(), 1);
            let start = Instant::now();
            let later = handle.call_later(Duration::from_millis(3), next(&order));
            assert_eq!(later.await.unwrap(), 2);
            assert!(start.elapsed() >= Duration::from_millis(3));
            let unending = handle.call_later(Duration::MAX, || ());
            yield_now().await;
            assert!(!unending.is_finished());
        });
    });
}

#[test]
fn a_loop_on_a_pools_only_worker_does_not_stop_the_pool() {
    within_deadline(|| {
        let pool = Arc::new(ThreadPool::with_threads(1));
        let inner = pool.clone();
        let outer = pool.spawn(move || {
            run(async {
                let mut sum = 0;
                for n in 0..20 {
                    // This needs the worker that the loop sleeps on, or one in its place.
                    sum += inner.spawn(move || n).await.unwrap();
                }
                sum
            })
        });
        // Not joined: a waiter might run it itself.
        wait_until("the loop's end", || outer.is_finished());
        assert_eq!(outer.join().unwrap(), 190);
    });
}
