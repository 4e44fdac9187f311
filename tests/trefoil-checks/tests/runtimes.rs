//! A `Task` is awaited on any runtime, with no adapter, whoever works on it.
//!
//! One long async function uses promises, threads, worker processes and an event loop of
//! its own, alone and mixed; each test has another runtime drive it.
#![cfg(not(loom))]
#![allow(clippy::disallowed_methods, clippy::disallowed_types)] // that door is for the crate's own protocols

use std::cell::Cell;
use std::sync::Arc;
use std::sync::mpsc::{self, Sender};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use futures::StreamExt;
use trefoil::sync::{ReentrantMutex, channel};
use trefoil::{
    CancelToken, Completer, EventLoop, LoopHandle, ProcessPool, Task, TaskError, TaskGroup,
    ThreadPool, Until, as_completed, join_all, race, timeout, try_join_all, wait,
};

/// Aborts the process if a test takes longer than this.
const LIMIT: Duration = Duration::from_secs(60);

/// Whoever can work on a task.
struct Sources {
    threads: ThreadPool,
    processes: ProcessPool,
    events: LoopHandle,
    /// Stops the event loop, then joins its thread.
    stop: CancelToken,
    thread: Option<JoinHandle<()>>,
    _watched: Sender<()>,
}

impl Sources {
    fn new() -> Arc<Self> {
        let (watched, watch) = mpsc::channel();
        thread::spawn(move || {
            if watch.recv_timeout(LIMIT) == Err(mpsc::RecvTimeoutError::Timeout) {
                eprintln!("a runtime waits for ever");
                std::process::abort();
            }
        });
        let stop = CancelToken::new();
        let (tell, told) = mpsc::channel();
        let stopped = stop.cancelled();
        let thread = thread::spawn(move || {
            let events = EventLoop::new().unwrap();
            tell.send(events.handle()).unwrap();
            events.block_on(stopped);
        });
        Arc::new(Self {
            threads: ThreadPool::with_threads(2),
            // Two users at once keep one busy for ever each; a third must be left.
            processes: ProcessPool::with_workers(3).unwrap(),
            events: told.recv().unwrap(),
            stop,
            thread: Some(thread),
            _watched: watched,
        })
    }

    /// `value` from everybody: a promise, closures of the threads, one of which waits, a process, a
    /// future and a local future of the loop, and a mapped task.
    fn all(&self, value: u32) -> Vec<Task<u32>> {
        vec![
            later(value),
            self.threads.spawn(move || value),
            self.threads.spawn(move || later(value).join().unwrap()),
            self.processes.spawn(value, |value: u32| value),
            self.events.spawn(async move {
                trefoil::time::sleep(Duration::from_millis(1)).await;
                value
            }),
            self.events.spawn_with(move || {
                let local = std::rc::Rc::new(value);
                async move {
                    trefoil::yield_now().await;
                    *local
                }
            }),
            self.processes
                .spawn(value.to_string(), |text: String| text)
                .map(|text| text.parse().unwrap()),
        ]
    }

    /// What never ends by itself, from everybody who can be stopped.
    fn endless(&self) -> Vec<Task<u32>> {
        vec![
            endless_process(self),
            self.events.spawn(async {
                trefoil::time::sleep(Duration::from_secs(1000)).await;
                0
            }),
            self.threads.spawn(|| {
                CancelToken::current().cancelled().join().unwrap();
                0
            }),
        ]
    }
}

impl Drop for Sources {
    fn drop(&mut self) {
        self.stop.cancel();
        if let Some(thread) = self.thread.take() {
            thread.join().unwrap();
        }
    }
}

fn endless_process(from: &Sources) -> Task<u32> {
    from.processes.spawn((), |()| -> u32 {
        loop {
            thread::sleep(Duration::from_secs(1000));
        }
    })
}

/// A task that another thread completes a little later.
fn later(value: u32) -> Task<u32> {
    let (completer, task) = Completer::new();
    thread::spawn(move || completer.complete(Ok(value)));
    task
}

async fn promises() {
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
        Err(TaskError::TimedOut(_))
    ));
}

/// Each source alone, then all of them in each combinator.
async fn mixtures(from: &Sources) {
    let sources = from.all(0).len();
    for (place, task) in from.all(4).into_iter().enumerate() {
        assert_eq!(task.await.unwrap(), 4, "source {place}");
    }
    let results = join_all((0..10).flat_map(|n| from.all(n))).await;
    let expected = (0..10).flat_map(|n| std::iter::repeat_n(n, sources));
    assert!(results.into_iter().map(Result::unwrap).eq(expected));
    assert_eq!(try_join_all(from.all(5)).await.unwrap(), vec![5; sources]);

    let seen: Vec<_> = as_completed(from.all(6))
        .map(Result::unwrap)
        .collect()
        .await;
    assert_eq!(seen, vec![6; sources]);
    let (done, pending) = wait(from.all(7), Until::All, Some(LIMIT)).await;
    assert_eq!((done.len(), pending.len()), (sources, 0));

    let shared: Vec<_> = from.all(8).into_iter().map(Task::shared).collect();
    for task in shared.iter().chain(&shared) {
        assert_eq!(task.clone().await.unwrap(), 8);
    }
}

/// The first to end wins; whatever the others are, they are stopped.
async fn losers(from: &Sources) {
    let mut tasks = from.endless();
    tasks.push(later(1));
    assert_eq!(race(tasks).await.unwrap(), 1);

    let mut tasks = from.endless();
    tasks.push(
        from.processes
            .spawn((), |()| -> u32 { panic!("expected in this test") }),
    );
    match try_join_all(tasks).await {
        Err(TaskError::Panicked(panic)) => assert_eq!(panic.message(), "expected in this test"),
        other => panic!("{other:?}"),
    }
    for task in from.endless() {
        let late = timeout(Duration::from_millis(1), task.cancel_on_drop()).await;
        assert!(matches!(late, Err(TaskError::TimedOut(_))));
    }
    // They really stop: there are few threads and processes, and they are free again.
    assert_eq!(try_join_all(from.all(2)).await.unwrap()[0], 2);
}

/// One group with members of all kinds.
async fn groups(from: &Sources) {
    let mut group = TaskGroup::new();
    for task in from.all(1) {
        group.add(task);
    }
    let handle = group.handle();
    let more = from.all(2);
    let sources = more.len();
    group.add(from.threads.spawn(move || {
        for task in more {
            handle.add(task); // a member that adds members
        }
        3
    }));
    let values = group.try_join_all().await.unwrap();
    assert_eq!(values.iter().sum::<u32>() as usize, 3 * sources + 3);

    let mut group = TaskGroup::new();
    for task in from.endless() {
        group.add(task);
    }
    let failing = group.add(
        from.processes
            .spawn((), |()| -> u32 { std::process::abort() }),
    );
    let error = group.try_join_all().await.unwrap_err();
    assert_eq!(error.errors()[0].0, failing, "{error}");
    assert!(
        matches!(error.errors()[0].1, TaskError::WorkerDied(_)),
        "{error}"
    );
    assert_eq!(error.errors().len(), 1, "{error}");

    let mut group = TaskGroup::new();
    for task in from.all(9) {
        group.add(task);
    }
    let mut ended = 0;
    while let Some((_, result)) = group.next().await {
        assert_eq!(result.unwrap(), 9);
        ended += 1;
    }
    assert_eq!(ended, sources);
}

/// What is shared between this runtime and the others.
async fn between(from: &Sources) {
    let (sender, receiver) = channel::bounded(1);
    let sending = sender.clone();
    let blocking = from.threads.spawn(move || {
        for n in 0..10 {
            sending.send_blocking(n).unwrap();
        }
    });
    let awaiting = from.events.spawn(async move {
        for n in 10..20 {
            sender.send(n).await.unwrap();
        }
    });
    let mut seen = Vec::new();
    while let Ok(n) = receiver.recv().await {
        seen.push(n);
    }
    seen.sort_unstable();
    assert!(seen.into_iter().eq(0..20));
    blocking.await.unwrap();
    awaiting.await.unwrap();

    let token =
        CancelToken::new().with_deadline(std::time::Instant::now() + Duration::from_millis(2));
    token.child().cancelled().await;
}

async fn everything(from: Arc<Sources>) {
    promises().await;
    mixtures(&from).await;
    losers(&from).await;
    groups(&from).await;
    between(&from).await;
}

#[test]
fn on_tokio_current_thread() {
    tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap()
        .block_on(everything(Sources::new()));
}

#[test]
fn on_tokio_multi_thread() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .build()
        .unwrap();
    runtime.block_on(async {
        let sources = Sources::new();
        let (one, two) = (sources.clone(), sources);
        let one = tokio::spawn(everything(one));
        let two = tokio::spawn(everything(two));
        one.await.unwrap();
        two.await.unwrap();
    });
}

#[test]
fn on_smol() {
    smol::block_on(async {
        smol::spawn(everything(Sources::new())).await;
    });
}

#[test]
fn on_the_futures_executors() {
    futures::executor::block_on(everything(Sources::new()));
    let mut pool = futures::executor::LocalPool::new();
    pool.run_until(everything(Sources::new()));
}

#[test]
fn on_the_event_loop() {
    trefoil::run(everything(Sources::new()));
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

#[test]
fn beside_the_timers_and_tasks_of_tokio() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .unwrap();
    runtime.block_on(async {
        let sources = Sources::new();
        // Their work as a task of ours.
        let (completer, theirs) = Completer::new();
        tokio::spawn(async move {
            tokio::time::sleep(Duration::from_millis(1)).await;
            completer.complete(Ok(1));
        });
        let mut tasks = sources.all(1);
        tasks.push(theirs);
        assert!(try_join_all(tasks).await.unwrap().iter().all(|n| *n == 1));
        // Their timer around a task of ours; its end reaches the process.
        let mut endless = endless_process(&sources);
        let late = tokio::time::timeout(Duration::from_millis(1), &mut endless).await;
        assert!(late.is_err());
        assert!(endless.cancel());
        assert!(matches!(endless.await, Err(TaskError::Cancelled)));
    });
}

// ------------------------------------------------------------ a lock of tasks

type Lock = std::rc::Rc<ReentrantMutex<Cell<u32>>>;

/// A task that takes the lock twice, and lets the others run meanwhile.
async fn takes_it_twice(lock: Lock) {
    let outer = lock.lock().await;
    assert_eq!(outer.replace(1), 0, "another task has it, too");
    futures_yield().await;
    let inner = lock.lock().await;
    futures_yield().await;
    drop(outer);
    futures_yield().await;
    assert_eq!(inner.replace(0), 1);
}

/// Of no executor.
async fn futures_yield() {
    let mut yielded = false;
    std::future::poll_fn(move |cx| {
        if std::mem::replace(&mut yielded, true) {
            return std::task::Poll::Ready(());
        }
        cx.waker().wake_by_ref();
        std::task::Poll::Pending
    })
    .await;
}

/// Four tasks at once, on each kind of executor for one thread.
fn four_on_local_executors() {
    fn four() -> impl Iterator<Item = impl Future<Output = ()> + 'static> {
        let lock = Lock::default();
        (0..4).map(move |_| takes_it_twice(lock.clone()))
    }

    let smols = smol::LocalExecutor::new();
    let tasks: Vec<_> = four().map(|task| smols.spawn(task)).collect();
    futures::executor::block_on(smols.run(futures::future::join_all(tasks)));

    let tokios = tokio::task::LocalSet::new();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    tokios.block_on(&runtime, async {
        let tasks: Vec<_> = four().map(tokio::task::spawn_local).collect();
        for task in tasks {
            task.await.unwrap();
        }
    });

    let mut pool = futures::executor::LocalPool::new();
    let spawner = pool.spawner();
    for task in four() {
        futures::task::LocalSpawnExt::spawn_local(&spawner, task).unwrap();
    }
    pool.run();

    let unordered: futures::stream::FuturesUnordered<_> = four().collect();
    futures::executor::block_on(unordered.collect::<()>());
}

#[test]
fn a_reentrant_lock_excludes_the_tasks_of_other_executors() {
    let sources = Sources::new(); // for its watchdog
    four_on_local_executors();
    // Inside of a task of ours.
    sources
        .threads
        .spawn(four_on_local_executors)
        .join()
        .unwrap();
    // Inside of the root future, and of a task of our loop.
    async fn inside() {
        let lock = Lock::default();
        let smols = smol::LocalExecutor::new();
        let tasks: Vec<_> = (0..4)
            .map(|_| smols.spawn(takes_it_twice(lock.clone())))
            .collect();
        smols.run(futures::future::join_all(tasks)).await;
    }
    trefoil::run(inside());
    trefoil::run(async { trefoil::spawn(inside()).await.unwrap() });
}

#[test]
fn a_reentrant_lock_is_not_given_to_a_blocking_call_of_another_task() {
    let _watched = Sources::new();
    let lock = Lock::default();
    let tasks = smol::LocalExecutor::new();
    let other = lock.clone();
    let holds = tasks.spawn(async move {
        let held = other.lock().await;
        futures_yield().await;
        futures_yield().await;
        drop(held);
    });
    let asks = tasks.spawn(async move {
        futures_yield().await;
        let lock = std::panic::AssertUnwindSafe(&lock);
        let tried = lock.try_lock().is_some();
        let blocked = std::panic::catch_unwind(move || drop(lock.lock_blocking()));
        (
            tried,
            blocked
                .unwrap_err()
                .downcast::<&str>()
                .map(|text| text.contains("for itself")),
        )
    });
    futures::executor::block_on(tasks.run(async {
        let (tried, words) = asks.await;
        assert!(!tried && words.unwrap());
        holds.await;
    }));
}
