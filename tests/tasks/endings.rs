//! What can still be ended from outside is no deadlock: each way in which somebody may cancel or
//! end a task that nothing wakes, in a process that a report ends.

use std::future::pending;
use std::sync::mpsc::channel;
use std::thread::{JoinHandle, sleep, spawn};
use std::time::Duration;

use trefoil::inspect::find_task;
use trefoil::{
    CancelToken, EventLoop, Shutdown, Task, TaskError, TaskGroup, ThreadPool, time, timeout,
};

use crate::deadline::{alone, sample};

/// Longer than a report takes.
const LONG: Duration = Duration::from_millis(300);

/// Whatever is reported ends the process.
const ABORT: &str = "export TREFOIL_STUCK=abort";

/// Code of the pool that is blocked until the end of the task, as a thread that can be joined.
fn blocked(pool: &ThreadPool, task: Task<()>) -> Task<TaskError> {
    let (begun, begins) = channel();
    let waits = pool.spawn(move || {
        begun.send(()).unwrap();
        task.join().unwrap_err()
    });
    begins.recv().unwrap();
    waits
}

/// A loop on a thread of its own, until it gets a word.
fn with_loop(f: impl FnOnce(trefoil::LoopHandle) + Send + 'static) {
    let (ready, handle) = channel();
    let (end, ends) = trefoil::sync::channel::bounded::<()>(1);
    let thread = spawn(move || {
        let event_loop = EventLoop::new().unwrap();
        ready.send(event_loop.handle()).unwrap();
        _ = event_loop.block_on(ends.recv());
    });
    f(handle.recv().unwrap());
    drop(end);
    thread.join().unwrap();
}

#[test]
#[cfg(unix)]
fn a_task_that_is_cancelled_and_then_joined() {
    alone(
        "endings::a_task_that_is_cancelled_and_then_joined",
        ABORT,
        || {
            with_loop(|handle| {
                for n in 0..sample(20_000) {
                    let task = handle.spawn_with(pending::<()>);
                    if n % 2 == 0 {
                        std::thread::yield_now();
                    }
                    task.cancel();
                    assert!(matches!(task.join(), Err(TaskError::Cancelled)));
                }
            });
        },
    );
}

#[test]
#[cfg(unix)]
fn a_task_that_its_handle_or_its_token_may_cancel() {
    alone(
        "endings::a_task_that_its_handle_or_its_token_may_cancel",
        ABORT,
        || {
            let pool = ThreadPool::with_threads(4);
            // An `AbortHandle`, from before and from after the first poll.
            let task = pool.spawn_async(pending::<()>());
            let abort = task.abort_handle();
            let first = blocked(&pool, task);
            let (polled, was_polled) = channel();
            let task = pool.spawn_async(async move {
                polled.send(()).unwrap();
                pending::<()>().await;
            });
            was_polled.recv().unwrap();
            sleep(LONG);
            let late_abort = task.abort_handle();
            let second = blocked(&pool, task);
            // A token.
            let token = CancelToken::new();
            let (own, inner) = (token.child(), pool.clone());
            let task = inner.spawn_async(async move { own.cancelled().await });
            let (ended, end) = channel();
            pool.spawn(move || ended.send(task.join()).unwrap())
                .detach();
            // A handle that cancels when it is dropped, in a future whose own is dropped.
            let tied = pool.spawn_async(pending::<()>()).cancel_on_drop();
            let waits = pool.spawn_async(tied).cancel_on_drop();
            // A future that awaits it, and which a handle cancels.
            let task = pool.spawn_async(pending::<()>());
            let parent = pool.spawn_async(task);
            // A group, whose owner is cancelled, or which is.
            let mut group = TaskGroup::new();
            group.add(pool.spawn_async(pending::<()>()));
            let owner = pool.spawn_async(async move { group.try_join_all().await.is_err() });
            let mut group = TaskGroup::new();
            group.add(pool.spawn_async(pending::<()>()));
            sleep(LONG);
            assert!(abort.cancel());
            assert!(matches!(first.join(), Ok(TaskError::Cancelled)));
            assert!(late_abort.cancel());
            assert!(matches!(second.join(), Ok(TaskError::Cancelled)));
            token.cancel();
            end.recv().unwrap().unwrap();
            drop(waits);
            assert!(parent.cancel());
            assert!(parent.join().is_err());
            assert!(owner.cancel());
            assert!(owner.join().is_err());
            group.cancel();
            assert!(group.try_join_all().join().is_err());
        },
    );
}

#[test]
#[cfg(unix)]
fn a_task_that_may_be_found_and_cancelled() {
    alone(
        "endings::a_task_that_may_be_found_and_cancelled",
        ABORT,
        || {
            assert!(find_task(0).is_none()); // from now on, tasks are listed
            let pool = ThreadPool::with_threads(1);
            let task = pool.spawn_async(pending::<()>());
            let number = task.id().get();
            let waits = blocked(&pool, task);
            sleep(LONG);
            assert!(find_task(number).unwrap().cancel());
            assert!(matches!(waits.join(), Ok(TaskError::Cancelled)));
        },
    );
}

#[test]
#[cfg(unix)]
fn a_parent_that_gives_up() {
    alone("endings::a_parent_that_gives_up", ABORT, || {
        let pool = ThreadPool::with_threads(2);
        for on_loop in [false, true] {
            let pool = pool.clone();
            let gives_up = move || async move {
                let task = pool.spawn_async(pending::<()>());
                let parent = match on_loop {
                    true => trefoil::spawn(task),
                    false => pool.spawn_async(task),
                };
                timeout(LONG, parent.cancel_on_drop()).await.map(drop)
            };
            let late = trefoil::run(async move { trefoil::spawn(gives_up()).await.unwrap() });
            assert!(matches!(late, Err(TaskError::TimedOut(_))));
        }
    });
}

#[test]
#[cfg(unix)]
fn an_executor_that_ends() {
    alone("endings::an_executor_that_ends", ABORT, || {
        let on_thread =
            |task: Task<()>| -> JoinHandle<TaskError> { spawn(move || task.join().unwrap_err()) };
        // A loop, whose task a thread and a pool wait for.
        let other = ThreadPool::with_threads(2);
        let event_loop = EventLoop::new().unwrap();
        let handle = event_loop.handle();
        let thread = on_thread(handle.spawn(pending::<()>()));
        let waits = blocked(&other, handle.spawn(pending::<()>()));
        let pool = ThreadPool::with_threads(1);
        let root = pool.spawn_async(pending::<()>());
        event_loop.block_on(time::sleep(LONG));
        drop(event_loop);
        assert!(thread.join().is_ok() && waits.join().is_ok());
        // A pool, whose task a thread, another pool and a loop's root future wait for.
        let thread = on_thread(pool.spawn_async(pending::<()>()));
        let waits = blocked(&other, pool.spawn_async(pending::<()>()));
        let awaits = spawn(move || trefoil::run(root));
        sleep(LONG);
        pool.shutdown(Shutdown::Wait);
        assert!(thread.join().is_ok() && waits.join().is_ok());
        assert!(awaits.join().unwrap().is_err());
    });
}

/// A guard that is the output of `block_on` is the caller's, and not that of code that has ended.
#[test]
#[cfg(unix)]
fn a_guard_from_a_root_future() {
    alone("endings::a_guard_from_a_root_future", ABORT, || {
        static LOCK: trefoil::sync::Mutex<u32> = trefoil::sync::Mutex::new(0);
        let event_loop = EventLoop::new().unwrap();
        let guard = event_loop.block_on(LOCK.lock());
        let waits = spawn(|| *LOCK.lock_blocking() += 1);
        sleep(LONG);
        drop(guard);
        waits.join().unwrap();
        assert_eq!(*event_loop.block_on(LOCK.lock()), 1);
    });
}

/// A root future that waits for a lock and for something else.
#[test]
#[cfg(unix)]
fn a_root_future_with_another_wait() {
    alone("endings::a_root_future_with_another_wait", ABORT, || {
        trefoil::run(async {
            let lock = trefoil::sync::Mutex::new(0);
            let _held = lock.lock().await;
            trefoil::select! {
                _ = lock.lock() => unreachable!(),
                () = time::sleep(LONG) => {}
            }
            trefoil::select! {
                _ = lock.lock() => unreachable!(),
                () = trefoil::yield_now() => {}
            }
        });
    });
}
