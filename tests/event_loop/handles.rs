//! Handles: entered on other threads, waited with, and futures that are started from outside.

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use trefoil::time::sleep;
use trefoil::{EventLoop, LoopHandle, ThreadPool, run, spawn, spawn_blocking, task};

use crate::support::{pair, panic_message, within_deadline};

/// The handle of a loop that runs on a thread of its own until the second value is dropped.
fn running() -> (LoopHandle, impl Drop) {
    struct End(Option<mpsc::Sender<()>>, Option<thread::JoinHandle<()>>);
    impl Drop for End {
        fn drop(&mut self) {
            drop(self.0.take());
            self.1.take().unwrap().join().unwrap();
        }
    }
    let (tell, handle) = mpsc::channel();
    let (end, ends) = mpsc::channel::<()>();
    let thread = thread::spawn(move || {
        run(async move {
            tell.send(LoopHandle::current()).unwrap();
            let _ = spawn_blocking(move || ends.recv()).await;
        });
    });
    (handle.recv().unwrap(), End(Some(end), Some(thread)))
}

#[test]
fn an_entered_handle_is_the_current_one() {
    within_deadline(|| {
        let ((first, _end), (second, _ends)) = (running(), running());
        let place = |handle: &LoopHandle| {
            let place = handle.call_soon(|| thread::current().id());
            place.join().unwrap()
        };
        assert_ne!(place(&first), place(&second));
        assert!(LoopHandle::try_current().is_none());
        {
            let _first = first.enter();
            assert_eq!(place(&LoopHandle::current()), place(&first));
            {
                let _second = second.enter();
                assert_eq!(place(&LoopHandle::current()), place(&second));
                // Sockets and timers of what is spawned are that loop's.
                let task = LoopHandle::current().spawn(async {
                    let (near, far) = pair().await;
                    near.write_all(b"x").await.unwrap();
                    far.read(&mut [0]).await.unwrap()
                });
                assert_eq!(task.join().unwrap(), 1);
                // A loop that runs here comes first, and is left out again.
                let here = run(async { spawn(async { thread::current().id() }).await.unwrap() });
                assert_eq!(here, thread::current().id());
                assert_eq!(place(&LoopHandle::current()), place(&second));
                run(async {
                    assert!(LoopHandle::current().spawn(async {}).cancel());
                    let _first = first.enter();
                    let current = LoopHandle::current();
                    let place = current.call_soon(|| thread::current().id()).await;
                    assert_ne!(place.unwrap(), thread::current().id());
                });
            }
            assert_eq!(place(&LoopHandle::current()), place(&first));
            // Another thread has not entered it.
            let other = thread::spawn(|| LoopHandle::try_current().is_none());
            assert!(other.join().unwrap());
        }
        assert!(LoopHandle::try_current().is_none());
    });
}

#[test]
fn a_future_that_is_not_send_does_not_leave_its_thread() {
    within_deadline(|| {
        let (handle, _end) = running();
        let _entered = handle.enter();
        let shared = Rc::new(());
        let message = panic_message(AssertUnwindSafe(|| {
            spawn(async move { drop(shared) }).detach();
        }));
        assert!(message.contains("LoopHandle::current()"), "{message}");
    });
}

#[test]
fn a_thread_waits_for_a_future_on_the_loop() {
    within_deadline(|| {
        let (handle, end) = running();
        let owned = String::from("123");
        let length = handle.block_on(async move {
            sleep(Duration::from_millis(1)).await;
            assert!(task::try_id().is_some());
            owned.len()
        });
        assert_eq!(length, 3);
        // From a worker of a pool, too.
        let pool = ThreadPool::with_threads(1);
        let same = handle.clone();
        assert_eq!(
            pool.spawn(move || same.block_on(async { 7 }))
                .join()
                .unwrap(),
            7
        );

        let message = panic_message(|| handle.block_on(async { panic!("its own") }));
        assert_eq!(message, "its own");
        let message = panic_message(|| run(async { handle.block_on(async {}) }));
        assert!(message.contains(".await the future here"), "{message}");
        drop(end);
        let message = panic_message(|| handle.block_on(async {}));
        assert!(message.contains("closed"), "{message}");

        let event_loop = EventLoop::new().unwrap();
        let message = panic_message(|| event_loop.handle().block_on(async {}));
        assert!(message.contains("EventLoop::block_on"), "{message}");
    });
}

#[test]
fn a_future_that_is_not_send_starts_from_outside() {
    within_deadline(|| {
        let event_loop = EventLoop::new().unwrap();
        let count = Rc::new(Cell::new(0));
        let start = || {
            let count = count.clone();
            event_loop.spawn(async move {
                trefoil::yield_now().await;
                count.set(count.get() + 1);
            })
        };
        let before = start();
        assert_eq!(count.get(), 0);
        event_loop.block_on(async {
            before.await.unwrap();
            start().await.unwrap();
        });
        assert_eq!(count.get(), 2);
        let left = start();
        drop(event_loop);
        assert!(left.is_finished());
        assert_eq!(Rc::strong_count(&count), 1);
    });
}

/// A loop that another one drives is woken.
#[cfg(unix)]
#[test]
fn a_loop_that_is_driven_hears_of_a_future_from_outside() {
    within_deadline(|| {
        let event_loop = EventLoop::new().unwrap();
        while event_loop.poll_once() {}
        let task = event_loop.spawn(async { 5 });
        let mut asked = [rustix::event::PollFd::new(
            &event_loop,
            rustix::event::PollFlags::IN,
        )];
        let now = rustix::event::Timespec::default();
        assert_eq!(rustix::event::poll(&mut asked, Some(&now)), Ok(1));
        while !task.is_finished() {
            event_loop.poll_once();
        }
        assert_eq!(event_loop.block_on(task).unwrap(), 5);
    });
}

/// Notes the task in which it is dropped.
struct Drops(mpsc::Sender<Option<task::TaskId>>);

impl Drop for Drops {
    fn drop(&mut self) {
        self.0.send(task::try_id()).unwrap();
    }
}

#[test]
fn the_destructors_of_a_cancelled_task_know_its_id() {
    within_deadline(|| {
        let (seen, ids) = mpsc::channel();
        let drops = || Drops(seen.clone());
        let pool = ThreadPool::with_threads(1);
        let (begun, begins) = mpsc::channel();
        let (end, ends) = mpsc::channel::<()>();
        let holds = pool.spawn(move || {
            begun.send(()).unwrap();
            ends.recv().unwrap();
        });
        begins.recv().unwrap();
        let guard = drops();
        let closure = pool.spawn(move || drop(guard));
        assert!(closure.cancel());
        assert_eq!(ids.recv().unwrap(), Some(closure.id()), "never begun");
        assert_eq!(task::try_id(), None);
        end.send(()).unwrap();
        holds.join().unwrap();

        let waits = |guard| async move {
            let _guard = guard;
            std::future::pending::<()>().await;
        };
        let future = pool.spawn_async(waits(drops()));
        pool.spawn_async(trefoil::yield_now()).join().unwrap();
        assert!(future.cancel());
        assert_eq!(ids.recv().unwrap(), Some(future.id()));
        let left = run(async {
            let cancelled = spawn(waits(drops()));
            trefoil::yield_now().await;
            assert!(cancelled.cancel());
            let id = cancelled.id();
            assert!(cancelled.await.is_err());
            assert_eq!(ids.recv().unwrap(), Some(id));
            let left = spawn(waits(drops()));
            trefoil::yield_now().await;
            left.id()
        });
        assert_eq!(ids.recv().unwrap(), Some(left), "at the loop's end");
    });
}

#[test]
fn a_task_knows_its_id() {
    within_deadline(|| {
        assert!(task::try_id().is_none());
        assert!(catch_unwind(task::id).is_err());
        let pool = ThreadPool::with_threads(2);
        let on_pool = pool.spawn(|| {
            let (a, b) = trefoil::join(task::id, task::id);
            assert_eq!((a, b), (task::id(), task::id()), "parts of the same task");
            task::id()
        });
        let id = on_pool.id();
        assert_eq!(on_pool.join().unwrap(), id);
        let future = pool.spawn_async(async { task::id() });
        let id = future.id();
        assert_eq!(future.join().unwrap(), id);
        run(async {
            assert!(task::try_id().is_none(), "the root future is no task");
            let outer = spawn(async {
                let inner = spawn(async {
                    trefoil::yield_now().await;
                    task::id()
                });
                let inner_id = inner.id();
                assert_eq!(inner.await.unwrap(), inner_id);
                task::id()
            });
            let id = outer.id();
            assert_eq!(outer.await.unwrap(), id);
        });
    });
}
