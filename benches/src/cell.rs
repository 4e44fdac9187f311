//! The operations on one task that the cell's benchmarks time and count.
//!
//! Each does one thing `n` times, and folds the results so that nothing is
//! optimised away. The peers get the same: no queue, no executor, only the cell.

use std::hint::black_box;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker};

use trefoil::Completer;
use trefoil::task::model;

fn poll<F: Future>(future: F) -> Poll<F::Output> {
    pin!(future).poll(&mut Context::from_waker(Waker::noop()))
}

fn ready<T>(poll: Poll<T>) -> T {
    match poll {
        Poll::Ready(value) => value,
        Poll::Pending => panic!("not ready"),
    }
}

/// Spawn a ready future, run it, join it.
pub fn trefoil_future(n: u64) -> u64 {
    (0..n).fold(0, |sum, i| {
        let (entry, task) = model::ready_future(async move { black_box(i) });
        entry.run();
        sum ^ task.join().unwrap()
    })
}

/// The same with async-task.
pub fn async_task_future(n: u64) -> u64 {
    (0..n).fold(0, |sum, i| {
        let (runnable, task) =
            async_task::spawn(async move { black_box(i) }, |_: async_task::Runnable| ());
        runnable.run();
        sum ^ ready(poll(task))
    })
}

/// Spawn a ready future, poll the handle (it waits), run the future, poll again.
pub fn trefoil_await(n: u64) -> u64 {
    (0..n).fold(0, |sum, i| {
        let (entry, mut task) = model::ready_future(async move { black_box(i) });
        assert!(poll(Pin::new(&mut task)).is_pending());
        entry.run();
        sum ^ ready(poll(task)).unwrap()
    })
}

/// The same with async-task.
pub fn async_task_await(n: u64) -> u64 {
    (0..n).fold(0, |sum, i| {
        let (runnable, mut task) =
            async_task::spawn(async move { black_box(i) }, |_: async_task::Runnable| ());
        assert!(poll(Pin::new(&mut task)).is_pending());
        runnable.run();
        sum ^ ready(poll(task))
    })
}

/// Queue a closure, run it, join it.
pub fn trefoil_closure(n: u64) -> u64 {
    (0..n).fold(0, |sum, i| {
        let (entry, task) = model::closure(move || black_box(i));
        entry.run();
        sum ^ task.join().unwrap()
    })
}

/// Complete a promise, join it.
pub fn trefoil_promise(n: u64) -> u64 {
    (0..n).fold(0, |sum, i| {
        let (completer, task) = Completer::new();
        completer.complete(Ok(black_box(i)));
        sum ^ task.join().unwrap()
    })
}

/// The same with the futures crate's oneshot channel.
pub fn futures_oneshot(n: u64) -> u64 {
    (0..n).fold(0, |sum, i| {
        let (sender, receiver) = futures::channel::oneshot::channel();
        let _ = sender.send(black_box(i));
        sum ^ ready(poll(receiver)).unwrap()
    })
}

/// The same with tokio's oneshot channel.
pub fn tokio_oneshot(n: u64) -> u64 {
    (0..n).fold(0, |sum, i| {
        let (sender, receiver) = tokio::sync::oneshot::channel();
        let _ = sender.send(black_box(i));
        sum ^ ready(poll(receiver)).unwrap()
    })
}
