//! A `Task` is awaited on any runtime, with no adapter.
#![cfg(not(loom))]
#![allow(clippy::disallowed_methods, clippy::disallowed_types)] // that door is for the crate's own protocols

use std::thread;
use std::time::Duration;

use trefoil::{Completer, Task, TaskError, join_all, race, timeout};

/// A task that another thread completes a little later.
fn later(value: u32) -> Task<u32> {
    let (completer, task) = Completer::new();
    thread::spawn(move || completer.complete(Ok(value)));
    task
}

async fn everything() {
    assert_eq!(later(1).await.unwrap(), 1);
    let mut task = later(2);
    assert_eq!((&mut task).await.unwrap(), 2);
    assert!(matches!(task.await, Err(TaskError::Closed)));
    let sum: u32 = join_all((0..100).map(later))
        .await
        .into_iter()
        .map(Result::unwrap)
        .sum();
    assert_eq!(sum, 4950);
    let (never, pending) = Completer::new();
    assert_eq!(race([pending, later(3)]).await.unwrap(), 3);
    assert!(never.is_cancelled());
    let (_never, pending) = Completer::<u32>::new();
    assert!(matches!(
        timeout(Duration::from_millis(2), pending).await,
        Err(TaskError::TimedOut)
    ));
}

#[test]
fn on_tokio_current_thread() {
    tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap()
        .block_on(everything());
}

#[test]
fn on_tokio_multi_thread() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .build()
        .unwrap();
    runtime.block_on(async {
        tokio::spawn(everything()).await.unwrap();
    });
}

#[test]
fn on_smol() {
    smol::block_on(async {
        smol::spawn(everything()).await;
    });
}

#[test]
fn on_the_futures_executors() {
    futures::executor::block_on(everything());
    let mut pool = futures::executor::LocalPool::new();
    pool.run_until(everything());
}

#[test]
fn inside_select_and_join_of_other_crates() {
    futures::executor::block_on(async {
        let (a, b) = futures::future::join(later(1), later(2)).await;
        assert_eq!(a.unwrap() + b.unwrap(), 3);
        let (_never, pending) = Completer::<u32>::new();
        match futures::future::select(pending, later(4)).await {
            futures::future::Either::Right((four, _)) => assert_eq!(four.unwrap(), 4),
            futures::future::Either::Left(_) => panic!("a pending task won"),
        }
    });
}
