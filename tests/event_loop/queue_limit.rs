//! A limit to what other threads have spawned and the loop has not begun.

use std::pin::pin;
use std::rc::Rc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};
use std::task::{Context, Waker};
use std::thread;

use trefoil::{EventLoop, LoopHandle, TaskError, run, try_join_all};

use crate::deadline::{asleep, eventually, this_thread, within_deadline};

fn limited(tasks: usize) -> (EventLoop, LoopHandle) {
    let event_loop = EventLoop::builder().queue_limit(tasks).build().unwrap();
    let handle = event_loop.handle();
    (event_loop, handle)
}

#[test]
fn a_full_queue_gives_the_future_back_and_a_cancelled_task_its_place() {
    within_deadline(|| {
        let (event_loop, handle) = limited(2);
        let word = String::from("kept");
        let first = handle.try_spawn(async { 1 }).unwrap();
        let second = handle.try_spawn(async { 2 }).unwrap();
        let full = handle.try_spawn(async move { word }).unwrap_err();
        assert!(first.cancel());
        event_loop.block_on(async { trefoil::yield_now().await });
        let third = handle.try_spawn(full.into_inner()).unwrap();
        assert_eq!(event_loop.block_on(third).unwrap(), "kept");
        assert_eq!(event_loop.block_on(second).unwrap(), 2);
        // What has begun has no place, even if it waits.
        let waiting = (0..2).map(|_| handle.try_spawn(std::future::pending::<()>()).unwrap());
        let waiting: Vec<_> = waiting.collect();
        assert!(handle.try_spawn(async {}).is_err());
        event_loop.block_on(async { trefoil::yield_now().await });
        assert!(handle.try_spawn(async {}).is_ok());
        assert!(waiting.iter().all(|task| !task.is_finished()));
    });
}

#[test]
fn spawn_on_another_thread_waits_until_the_loop_begins_a_task() {
    within_deadline(|| {
        let (event_loop, handle) = limited(3);
        let spawned = Arc::new(AtomicUsize::new(0));
        let (tell, told) = mpsc::channel();
        let count = spawned.clone();
        let producer = thread::spawn(move || {
            tell.send(this_thread()).unwrap();
            let tasks = (0..100).map(|n| {
                let task = match n % 2 {
                    0 => handle.spawn(async move { n }),
                    _ => handle.spawn_with(move || {
                        let local = Rc::new(n);
                        async move { *local }
                    }),
                };
                count.fetch_add(1, Ordering::SeqCst);
                task
            });
            try_join_all(tasks.collect::<Vec<_>>())
        });
        let producer_thread = told.recv().unwrap();
        eventually("it fills the queue", || spawned.load(Ordering::SeqCst) >= 3);
        eventually("it waits", || asleep(producer_thread));
        assert_eq!(spawned.load(Ordering::SeqCst), 3);
        let all = trefoil::spawn_blocking(|| producer.join().unwrap());
        let all = event_loop.block_on(async { all.await.unwrap().await });
        assert_eq!(all.unwrap(), (0..100).collect::<Vec<_>>());
    });
}

#[test]
fn the_loops_own_thread_spawns_without_a_limit() {
    within_deadline(|| {
        let (event_loop, handle) = limited(1);
        let outside: Vec<_> = (0..5).map(|n| handle.spawn(async move { n })).collect();
        let all = event_loop.block_on(async {
            let inside = (5..10).map(|n| handle.spawn(async move { n }));
            let inside: Vec<_> = inside.chain([trefoil::spawn(async { 10 })]).collect();
            // They have no places.
            let placed = handle.try_spawn(async { 11 }).unwrap();
            assert!(handle.try_spawn(async { 12 }).is_err());
            try_join_all(outside.into_iter().chain(inside).chain([placed])).await
        });
        assert_eq!(all.unwrap(), (0..12).collect::<Vec<_>>());
    });
}

#[test]
fn a_spawn_that_waits_ends_in_closed_when_the_loop_ends() {
    within_deadline(|| {
        let (event_loop, handle) = limited(1);
        let (tell, told) = mpsc::channel();
        let waiter = thread::spawn(move || {
            let first = handle.spawn(async { 1 });
            tell.send(this_thread()).unwrap();
            let rest = [
                handle.spawn(async { 2 }),
                handle.call_soon(|| 3),
                handle.spawn_with(|| async { 4 }),
            ];
            let late = handle.try_spawn(async { 5 }).unwrap();
            (first.join(), rest.map(trefoil::Task::join), late.join())
        });
        let waiting = told.recv().unwrap();
        eventually("it waits", || asleep(waiting));
        drop(event_loop);
        let (first, rest, late) = waiter.join().unwrap();
        assert!(matches!(first, Err(TaskError::Cancelled)), "{first:?}");
        assert!(
            rest.iter().all(|end| matches!(end, Err(TaskError::Closed))),
            "{rest:?}"
        );
        assert!(matches!(late, Err(TaskError::Closed)), "{late:?}");
    });
}

#[test]
fn another_loop_awaits_a_place_and_its_thread_does_not_wait() {
    within_deadline(|| {
        let (event_loop, handle) = limited(1);
        let theirs = handle.clone();
        let other = thread::spawn(move || {
            run(async move {
                let first = theirs.spawn(async { 1 });
                for refused in [theirs.spawn(async { 2 }), theirs.spawn_with(|| async { 2 })] {
                    let refused = refused.await;
                    assert!(matches!(refused, Err(TaskError::WouldBlock)), "{refused:?}");
                }
                let mut place = pin!(theirs.reserve());
                let mut context = Context::from_waker(Waker::noop());
                assert!(place.as_mut().poll(&mut context).is_pending());
                (first, theirs.clone())
            })
        });
        let (first, theirs) = other.join().unwrap();
        let other = thread::spawn(move || {
            run(async move {
                let place = theirs.reserve().await;
                let second = place.spawn(async { 3 }).await.unwrap();
                let third = theirs.reserve().await.spawn_with(|| async { 4 });
                (second, third.await.unwrap())
            })
        });
        let others = trefoil::spawn_blocking(|| other.join().unwrap());
        let found = event_loop.block_on(async { (first.await.unwrap(), others.await.unwrap()) });
        assert_eq!(found, (1, (3, 4)));
    });
}
