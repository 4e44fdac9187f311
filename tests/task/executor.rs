//! One program whose back end is chosen by configuration. (Processes: `tests/process/pool.rs`.)

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;

use trefoil::process::Portable;
use trefoil::{AnyExecutor, Executor, Inline, Shutdown, Task, TaskError, ThreadPool};

use crate::deadline::within_deadline;

fn squares<E: Executor>(executor: &E) -> Result<Vec<u64>, TaskError> {
    executor.map(0..1000u64, |n: u64| n * n)
}

fn third_fails(n: u64) -> u64 {
    assert!(n % 3 != 2, "{n} (this message is expected)");
    n
}

#[test]
fn the_same_answers_inline_and_on_threads() {
    let expected: Vec<u64> = (0..1000).map(|n| n * n).collect();
    let pool = ThreadPool::with_threads(2);
    assert_eq!(squares(&Inline).unwrap(), expected);
    assert_eq!(squares(&pool).unwrap(), expected);
    assert_eq!(squares(&&pool).unwrap(), expected);
    assert_eq!((Inline.width(), Executor::width(&pool)), (1, 2));
    assert_eq!(
        Inline
            .submit("text".to_owned(), |s: String| s.len())
            .join()
            .unwrap(),
        4
    );
    assert_eq!(
        Executor::submit(&pool, 20u32, |n: u32| n + 1)
            .join()
            .unwrap(),
        21
    );
}

#[test]
fn a_panic_is_the_error_of_the_lowest_index() {
    let pool = ThreadPool::with_threads(2);
    for result in [
        Inline.map(0..9u64, third_fails),
        Executor::map(&pool, 0..9u64, third_fails),
    ] {
        let Err(TaskError::Panicked(panic)) = result else {
            panic!("no panic")
        };
        assert!(panic.message().starts_with("2 "), "{panic}");
    }
    let failed = Inline.submit(2u64, third_fails);
    assert!(failed.is_finished());
    assert!(matches!(failed.join(), Err(TaskError::Panicked(_))));
}

#[test]
fn configuration_strings() {
    for (text, width) in [("threads:3", 3), ("inline", 1)] {
        let executor: AnyExecutor = text.parse().unwrap();
        assert_eq!(executor.width(), width);
        assert_eq!(executor.to_string(), text);
        assert_eq!(squares(&executor).unwrap()[31], 961);
        assert_eq!(executor.submit(4u8, |n: u8| n).join().unwrap(), 4);
    }
    let width = |text: &str| text.parse::<AnyExecutor>().unwrap().width();
    let all = ThreadPool::new().num_threads();
    assert_eq!((width("threads"), width("threads:-1")), (all, all));
    if std::env::var_os("TREFOIL_THREADS").is_none() {
        assert_eq!(width("threads:-2"), (all - 1).max(1));
        assert_eq!(width("threads:-999"), 1);
    }
    for wrong in [
        "",
        "thread",
        "threads:",
        "threads:0",
        "threads:-",
        "threads:--1",
        "threads:-1.5",
        "threads:-99999999999999999999",
        "inline:2",
        "processes:x",
    ] {
        let error = wrong.parse::<AnyExecutor>().unwrap_err();
        assert!(error.to_string().contains("processes:N"), "{error}");
    }
    for machines in ["ssh:node1", "slurm:8", "dask:tls://scheduler:8786"] {
        let error = machines.parse::<AnyExecutor>().unwrap_err();
        assert!(
            error.to_string().contains("trefoil_machines::executor"),
            "{error}"
        );
    }
    // This program does not call `init`: an error with a message, and no processes.
    if !cfg!(feature = "auto") {
        let error = "processes:1".parse::<AnyExecutor>().unwrap_err();
        assert!(error.to_string().contains("init"), "{error}");
    }
}

#[test]
fn a_blocking_map_is_refused_on_a_loop() {
    let pool = ThreadPool::with_threads(1);
    let refused = trefoil::run(async move { Executor::map(&pool, 0..3u64, |n: u64| n).is_err() });
    assert!(refused);
}

/// What a user writes: no more than has no default.
struct Wrapped(ThreadPool);

impl Executor for Wrapped {
    fn submit<A: Portable, R: Portable>(&self, arg: A, f: fn(A) -> R) -> Task<R> {
        self.0.spawn(move || f(arg))
    }

    fn width(&self) -> usize {
        self.0.num_threads()
    }
}

#[test]
fn an_executor_of_a_user_has_a_map() {
    static LATER: AtomicUsize = AtomicUsize::new(0);
    within_deadline(|| {
        let wrapped = Wrapped(ThreadPool::with_threads(1));
        assert_eq!(squares(&wrapped).unwrap()[31], 961);
        // The worker is kept busy, so the caller runs the first call itself, and the others never
        // begin.
        let (release, held) = mpsc::channel::<()>();
        let (began, begun) = mpsc::channel();
        let busy = wrapped.0.spawn(move || {
            began.send(()).unwrap();
            held.recv()
        });
        begun.recv().unwrap();
        let result = wrapped.map(0..9u8, |n: u8| {
            if n == 0 {
                // Without a backtrace, which may take long enough for a spare thread to start.
                std::panic::resume_unwind(Box::new("the first"));
            }
            LATER.fetch_add(1, Ordering::Relaxed);
        });
        assert!(matches!(result, Err(TaskError::Panicked(_))), "{result:?}");
        drop(release);
        assert!(busy.join().unwrap().is_err());
        let pool = wrapped.0.clone();
        assert!(trefoil::run(async move {
            wrapped.map([1u8], |n: u8| n).is_err()
        }));
        pool.shutdown(Shutdown::Wait);
        assert_eq!(LATER.load(Ordering::Relaxed), 0);
    });
}
