//! Callbacks inside callbacks: what is done "at once" is done at once, however deeply they are
//! nested, and no stack overflows.
#![allow(clippy::disallowed_methods, clippy::disallowed_types)] // that door is for the crate's own protocols

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::task::{Context, Wake, Waker};
use std::thread;
use std::time::Duration;

use crate::deadline::{sample, within_deadline};
use trefoil::{Completer, Task, TaskError, TaskGroup, ThreadPool, race, timeout};

const LONG: Duration = Duration::from_secs(60);

/// Calls `f` in the innermost callback of a chain of this many mapped tasks.
fn below_mapped_tasks(length: usize, f: impl FnOnce() + Send + 'static) {
    let (completer, mut task) = Completer::new();
    for _ in 0..length {
        task = task.map(|n: u32| n + 1);
    }
    task.on_done(move |_| f());
    completer.complete(Ok(0));
}

/// Calls `f` in the innermost of this many callbacks, each of which ends the next one's task.
fn below_callbacks(length: usize, f: impl FnOnce() + Send + 'static) {
    let (first, mut task) = Completer::<u32>::new();
    for _ in 1..length {
        let (next, after) = Completer::new();
        task.on_done(move |result| next.complete(result));
        task = after;
    }
    task.on_done(move |_| f());
    first.complete(Ok(0));
}

fn promise() -> (Completer<u32>, Task<u32>) {
    Completer::new()
}

/// Everything that is documented to happen at once, or whose end a wait of this crate must see.
fn at_once() {
    let ended = || Task::ready(41).map(|n| n + 1);
    assert_eq!(ended().try_join().unwrap().unwrap(), 42);
    assert!(ended().is_finished());
    assert_eq!(ended().join().unwrap(), 42);
    assert_eq!(ended().join_timeout(LONG).unwrap(), 42);
    assert_eq!(ended().shared().join().unwrap(), 42);
    assert_eq!(race([ended()]).join().unwrap(), 42);
    assert_eq!(timeout(LONG, ended()).join().unwrap().unwrap(), 42);
    assert_eq!(trefoil::try_join_all([ended()]).join().unwrap(), [42]);
    assert_eq!(trefoil::as_completed([ended()]).into_iter().count(), 1);
    let mut group = TaskGroup::new();
    group.add(ended());
    assert_eq!(group.try_join_all().join().unwrap(), [42]);

    let (completer, task) = promise();
    let mapped = task.map(|n| n + 1);
    completer.complete(Ok(41));
    assert!(mapped.is_finished());
    assert_eq!(mapped.join().unwrap(), 42);

    let called = Arc::new(AtomicBool::new(false));
    let flag = called.clone();
    Task::ready(1).on_done(move |_| flag.store(true, Ordering::SeqCst));
    assert!(called.load(Ordering::SeqCst));

    let (completer, task) = promise();
    let mapped = task.map(|n| n).map(|n| n);
    assert!(mapped.cancel());
    assert!(completer.is_cancelled());

    let on_a_loop = trefoil::run(async { trefoil::spawn(async { 41 }).map(|n| n + 1).await });
    assert_eq!(on_a_loop.unwrap(), 42);
    let pool = ThreadPool::with_threads(1);
    assert_eq!(pool.spawn(|| 41).map(|n| n + 1).join().unwrap(), 42);

    // A thread that waits for what happens in a callback here.
    let (completer, task) = promise();
    let mapped = task.map(|n| n + 1);
    let joins = pool.spawn(|| mapped.join().unwrap());
    completer.complete(Ok(41));
    assert_eq!(joins.join().unwrap(), 42);
}

#[test]
fn at_once_is_at_once_in_the_innermost_callback() {
    for length in [0, 14, 15, 100] {
        for below in [below_mapped_tasks, below_callbacks] {
            within_deadline(move || {
                let (tell, told) = mpsc::channel();
                below(length, move || {
                    at_once();
                    tell.send(()).unwrap();
                });
                told.recv().expect("an assertion failed in the callback");
            });
        }
    }
}

/// A waker that does the same.
struct AtOnce(mpsc::Sender<()>);

impl Wake for AtOnce {
    fn wake(self: Arc<Self>) {
        at_once();
        self.0.send(()).unwrap();
    }
}

#[test]
fn at_once_is_at_once_in_the_waker_at_the_end_of_a_chain() {
    within_deadline(|| {
        let (completer, mut task) = promise();
        for _ in 0..20 {
            task = task.map(|n| n + 1);
        }
        let (tell, told) = mpsc::channel();
        let waker = Waker::from(Arc::new(AtOnce(tell)));
        let polled = std::pin::Pin::new(&mut task).poll(&mut Context::from_waker(&waker));
        assert!(polled.is_pending());
        drop(waker);
        completer.complete(Ok(0));
        told.recv().expect("an assertion failed in the waker");
        assert_eq!(task.join().unwrap(), 20);
    });
}

/// A result whose destructor does the same.
struct Dropped(mpsc::Sender<()>);

impl Drop for Dropped {
    fn drop(&mut self) {
        at_once();
        self.0.send(()).unwrap();
    }
}

#[test]
fn at_once_is_at_once_in_the_destructor_of_a_result_that_came_too_late() {
    within_deadline(|| {
        let (tell, told) = mpsc::channel();
        let (completer, task) = promise();
        let mapped = Arc::new(Mutex::new(None));
        let inside = mapped.clone();
        // It is cancelled while its closure runs, so the closure's result is dropped.
        let task = task.map(move |_| {
            let mapped: Option<Task<Dropped>> = inside.lock().unwrap().take();
            mapped.unwrap().cancel();
            Dropped(tell)
        });
        *mapped.lock().unwrap() = Some(task);
        completer.complete(Ok(0));
        told.recv().expect("an assertion failed in the destructor");
    });
}

/// On a stack of this size.
fn on_a_stack(size: usize, f: impl FnOnce() + Send + 'static) {
    let thread = thread::Builder::new().stack_size(size).spawn(f);
    thread.unwrap().join().unwrap();
}

#[test]
fn a_million_mapped_tasks_end_on_a_small_stack() {
    let length = sample(1_000_000);
    within_deadline(move || {
        on_a_stack(128 << 10, move || {
            let chain = || {
                let (completer, mut task) = Completer::<usize>::new();
                for _ in 0..length {
                    task = task.map(|n| n + 1);
                }
                (completer, task)
            };
            let (completer, mut task) = chain();
            completer.complete(Ok(0));
            assert_eq!(task.try_join().unwrap().unwrap(), length);
            let (completer, mut task) = chain();
            drop(completer);
            assert!(matches!(task.try_join(), Some(Err(TaskError::Closed))));
            let (completer, task) = chain();
            assert!(task.cancel());
            assert!(completer.is_cancelled());
            let (completer, task) = chain();
            drop(task);
            completer.complete(Ok(0));
        });
    });
}

/// A chain of callbacks that each end the task of the next one, and tell its number before.
fn counting(length: usize) -> (Completer<()>, mpsc::Receiver<usize>) {
    let (first, mut task) = Completer::<()>::new();
    let (tell, told) = mpsc::channel();
    for n in 0..length {
        let (next, after) = Completer::new();
        let tell = tell.clone();
        task.on_done(move |result| {
            tell.send(n).unwrap();
            next.complete(result);
        });
        task = after;
    }
    task.detach();
    (first, told)
}

#[test]
fn a_million_callbacks_of_callbacks_end_in_order_on_a_small_stack() {
    let length = sample(1_000_000);
    within_deadline(move || {
        on_a_stack(256 << 10, move || {
            let (first, told) = counting(length);
            first.complete(Ok(()));
            assert!(told.iter().eq(0..length));
        });
    });
}

#[test]
fn a_callback_may_wait_for_the_next_one_by_any_means() {
    const LENGTH: usize = 3000;
    within_deadline(|| {
        on_a_stack(256 << 10, || {
            let threads = Arc::new(AtomicUsize::new(0));
            let joined = Arc::new(AtomicUsize::new(0));
            let (first, mut task) = Completer::<()>::new();
            let (first_begun, _) = mpsc::channel();
            let mut begun = first_begun;
            for _ in 0..LENGTH {
                let (next, after) = Completer::new();
                let (tell, told) = mpsc::channel();
                let this_begun = std::mem::replace(&mut begun, tell);
                let (threads, joined) = (threads.clone(), joined.clone());
                task.on_done(move |result| {
                    let _ = this_begun.send(thread::current().id());
                    // Before the next one begins, so that the last one sees all of these.
                    assert_eq!(Task::ready(1).map(|n| n + 1).join().unwrap(), 2);
                    joined.fetch_add(1, Ordering::SeqCst);
                    next.complete(result);
                    if told.recv() != Ok(thread::current().id()) {
                        threads.fetch_add(1, Ordering::SeqCst);
                    }
                });
                task = after;
            }
            let (tell, told) = mpsc::channel();
            task.on_done(move |_| {
                let _ = begun.send(thread::current().id());
                at_once();
                tell.send(()).unwrap();
            });
            first.complete(Ok(()));
            told.recv().expect("an assertion failed in the callback");
            assert_eq!(joined.load(Ordering::SeqCst), LENGTH);
            assert!(
                threads.load(Ordering::SeqCst) > 0,
                "this was to be too deep for one stack"
            );
        });
    });
}

/// Without another thread the deeper callbacks run here, later.
#[cfg(all(target_os = "linux", not(miri)))]
#[allow(clippy::print_stdout)] // a skipped test says so
#[test]
fn a_system_without_threads_loses_no_callback() {
    use crate::refuse::refuse;

    let test = "trampoline::a_system_without_threads_loses_no_callback";
    crate::deadline::alone(test, "", || {
        on_a_stack(256 << 10, || {
            let length = sample(400_000);
            let (first, told) = counting(length);
            if let Err(error) = refuse(&[libc::SYS_clone, libc::SYS_clone3], libc::EAGAIN) {
                return println!("skipped: calls cannot be refused here: {error}");
            }
            first.complete(Ok(()));
            assert!(
                told.try_iter().eq(0..length),
                "all have run when it returns"
            );
        });
    });
}
