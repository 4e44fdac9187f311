//! Bars count items that have ended, and are drawn by threads that may
//! wait for a terminal.
//!
//! With the feature `auto`, so this program's workers need no line in its `main`.
#![allow(clippy::disallowed_methods, clippy::disallowed_types)] // that door is for the crate's own protocols

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, ThreadId};

use futures_core::Stream;
use indicatif::{ProgressDrawTarget, TermLike};
use trefoil::{
    AnyExecutor, Inline, ProcessPool, SharedAtomics, TaskError, ThreadPool, as_completed, spawn,
};
use trefoil_progress::{Progress, ProgressBar, ProgressStyle, WithBar};

#[path = "../../../tests/deadline/mod.rs"]
mod deadline;
use deadline::within_deadline;

fn bar() -> ProgressBar {
    let bar = ProgressBar::hidden();
    bar.unset_length();
    bar
}

/// Position and length.
fn state(bar: &ProgressBar) -> (u64, Option<u64>) {
    (bar.position(), bar.length())
}

#[test]
fn every_call_of_a_thread_pool_counts() {
    within_deadline(|| {
        let pool = ThreadPool::with_threads(2);
        let of = |work: &dyn Fn(WithBar<&ThreadPool>)| {
            let bar = bar();
            work(pool.with_bar(bar.clone()));
            assert!(!bar.is_finished(), "it is not ours");
            state(&bar)
        };
        let hundred = (100, Some(100));
        let words = vec!["x".to_owned(); 100];
        assert_eq!(of(&|pool| drop(pool.map(&words, String::len))), hundred);
        assert_eq!(of(&|pool| pool.for_each(0..100_u8, drop)), hundred);
        let sum = |pool: WithBar<&ThreadPool>| pool.map_reduce(1..=100, |n| n, || 0, |a, b| a + b);
        assert_eq!(of(&|pool| assert_eq!(sum(pool), 5050)), hundred);
        let fine = |n: u32| Ok::<_, ()>(n + 1);
        assert_eq!(
            of(&|pool| assert!(pool.try_map(0..100, fine).unwrap().is_sorted())),
            hundred
        );
        assert_eq!(of(&|pool| pool.for_each(0..0, |_: u8| ())), (0, Some(0)));
        let squares = bar();
        let all = pool.imap(0..9, |n| n).with_bar(squares.clone());
        assert_eq!(all.sum::<u32>(), 36);
        let all = pool.imap_unordered(0..9, |n| n).buffer(3);
        assert_eq!(all.with_bar(squares.clone()).count(), 9);
        assert_eq!(state(&squares), (18, Some(9)));
        // The number of items is unknown, so the bar has no end.
        let endless = bar();
        let all = pool.imap(0_u64.., |n| n).with_bar(endless.clone());
        assert_eq!(all.take(7).sum::<u64>(), 21);
        assert_eq!(state(&endless), (7, None));
    });
}

#[test]
fn calls_with_a_result_for_each_item_and_tasks_count() {
    within_deadline(|| {
        let hundred = (100, Some(100));
        let pool = ThreadPool::with_threads(2);
        let (each, task) = (bar(), bar());
        let results = pool
            .with_bar(each.clone())
            .map_each(0..100, |n| assert_ne!(n, 7));
        assert!(results.iter().filter(|result| result.is_err()).count() == 1);
        let numbers = pool.with_bar(task.clone()).map_task(0..100, |n| n);
        assert_eq!(numbers.join().unwrap().len(), 100);
        assert_eq!((state(&each), state(&task)), (hundred, hundred));

        let procs = ProcessPool::with_workers(2).unwrap();
        let (each, task, with) = (bar(), bar(), bar());
        let results = procs
            .with_bar(each.clone())
            .map_each(0..100, |n: u32| assert_ne!(n, 7));
        assert!(results.iter().filter(|result| result.is_err()).count() == 1);
        let call = procs.call(|n: u32| n + 1);
        let numbers = call.clone().with_bar(task.clone()).map_task(0..100);
        assert_eq!(numbers.join().unwrap().len(), 100);
        let add = |more: &u32, n: u32| n + more;
        let numbers = procs.with_bar(with.clone()).map_with(&1, 0..50, add);
        assert_eq!(numbers.unwrap().len(), 50);
        let numbers = call.with_bar(with.clone()).map_with(&1, 50..100, add);
        assert_eq!(numbers.unwrap()[49], 100);
        assert_eq!((state(&each), state(&task)), (hundred, hundred));
        assert_eq!(state(&with), (100, Some(50)));

        // A task with a bar has the name and the hook of one without.
        let (sender, receiver) = std::sync::mpsc::channel();
        let hooked = ProcessPool::builder().workers(1);
        let hooked = hooked.on_unobserved(move |report| {
            sender.send(report.name().map(str::to_owned)).unwrap();
        });
        let hooked = hooked.build().unwrap();
        let fails = hooked.call(|n: u32| -> u32 { panic!("{n}") }).name("it");
        fails.with_bar(bar()).map_task([1]).detach();
        assert_eq!(receiver.recv().unwrap().as_deref(), Some("it"));

        // A cancelled task ends, and its items are stopped.
        let endless = procs.call(|_: u32| -> u32 {
            loop {
                thread::yield_now();
            }
        });
        let task = endless.with_bar(bar()).map_task([1, 2, 3]);
        assert!(task.cancel());
        assert!(matches!(task.join(), Err(TaskError::Cancelled)));
        assert_eq!(procs.map([5], |n: u32| n).unwrap(), [5]);
    });
}

#[test]
fn a_call_that_succeeds_reports_no_failure() {
    within_deadline(|| {
        let (sender, reports) = std::sync::mpsc::channel();
        trefoil::on_unobserved(move |report| drop(sender.send(report.to_string())));
        let procs = ProcessPool::with_workers(1).unwrap();
        let one = procs.with_bar(bar()).map([1], |n: u32| n);
        assert_eq!(one.unwrap(), [1]);
        let each = procs.with_bar(bar()).map_each([2], |n: u32| n);
        assert!(each[0].is_ok());
        let chosen = AnyExecutor::Processes(procs);
        let three = chosen.with_bar(bar()).map([3], |n: u32| n);
        assert_eq!(three.unwrap(), [3]);
        // (Other tests have failures that nobody takes.)
        let ours = reports
            .try_iter()
            .find(|report| report.contains("trefoil-progress/src/"));
        assert_eq!(ours, None);
    });
}

#[test]
fn what_fails_is_not_counted() {
    within_deadline(|| {
        let pool = ThreadPool::with_threads(2);
        let after = bar();
        let error = pool
            .with_bar(after.clone())
            .try_map(0..10_000, |n: u32| match n {
                0 => Err("no"),
                n => Ok(n),
            });
        assert_eq!(error, Err("no"));
        assert!(after.position() < 10_000 && after.length() == Some(10_000));

        let after = bar();
        let panicked = catch_unwind(AssertUnwindSafe(|| {
            pool.with_bar(after.clone()).for_each(0..10, |n: u32| {
                if n % 2 == 1 {
                    resume_unwind(Box::new("odd"));
                }
            });
        }));
        assert_eq!(panicked.unwrap_err().downcast_ref(), Some(&"odd"));
        assert!(after.position() <= 5, "{}", after.position());
    });
}

#[test]
fn every_call_of_a_process_pool_counts() {
    within_deadline(|| {
        let procs = ProcessPool::with_workers(2).unwrap();
        let add = |n: u64| n + 1;
        let hundred = (100, Some(100));
        let of = |work: &dyn Fn(WithBar<&ProcessPool>)| {
            let bar = bar();
            work(procs.with_bar(bar.clone()));
            state(&bar)
        };
        let sum = |results: Vec<u64>| assert_eq!(results.iter().sum::<u64>(), 5050);
        assert_eq!(of(&|procs| sum(procs.map(0..100, add).unwrap())), hundred);
        let results = |results: &mut dyn Iterator<Item = Result<u64, TaskError>>| {
            sum(results.map(Result::unwrap).collect());
        };
        let of_pool = bar();
        let all = procs.imap(0..100, add).buffer(9);
        results(&mut all.with_bar(of_pool.clone()));
        results(&mut procs.imap_unordered(0..100, add).with_bar(of_pool.clone()));
        assert_eq!(state(&of_pool), (200, Some(100)));
        let call = procs.call(add).retry(1);
        let of_call = bar();
        sum(call.clone().with_bar(of_call.clone()).map(0..100).unwrap());
        results(&mut call.imap(0..100).with_bar(of_call.clone()));
        results(&mut call.imap_unordered(0..100).with_bar(of_call.clone()));
        assert_eq!(
            state(&of_call),
            (300, Some(100)),
            "the length is there from the first"
        );
    });
}

#[test]
fn an_error_leaves_the_bar_of_processes_where_it_is() {
    within_deadline(|| {
        let procs = ProcessPool::with_workers(2).unwrap();
        let after = bar();
        let died = procs.call(|n: u64| if n == 500 { std::process::abort() } else { n });
        let error = died
            .chunk_size(10)
            .with_bar(after.clone())
            .map(0..1000)
            .unwrap_err();
        assert!(matches!(error, TaskError::WorkerDied(_)));
        assert!(
            (500..1000).contains(&after.position()),
            "{}",
            after.position()
        );
        // In an `imap` an error counts as a result.
        let after = bar();
        let died = |n: u64| if n == 5 { std::process::abort() } else { n };
        let results: Vec<_> = procs.imap(0..10, died).with_bar(after.clone()).collect();
        assert_eq!(results.iter().filter(|result| result.is_err()).count(), 1);
        assert_eq!(state(&after), (10, Some(10)));
    });
}

#[test]
fn tasks_of_any_mixture_have_a_bar() {
    within_deadline(|| {
        let pool = ThreadPool::with_threads(2);
        let procs = ProcessPool::with_workers(1).unwrap();
        let (one, two) = (bar(), bar());
        trefoil::run(async {
            let tasks = [
                pool.spawn(|| 1),
                procs.spawn(1, |n: i32| n + 1),
                spawn(async { 3 }),
            ];
            let mut results = as_completed(tasks).with_bar(one.clone());
            assert_eq!(results.size_hint(), (3, Some(3)));
            let mut sum = 0;
            while let Some(result) = results.next().await {
                sum += result.unwrap();
                assert!(one.position() >= 1);
            }
            assert_eq!(sum, 6);
            let mut stream = procs.imap(0..5, |n: u64| n).stream().with_bar(two.clone());
            while stream.next().await.is_some() {}
            let mut stream = pool.imap(0..5, |n| n).stream().with_bar(two.clone());
            while stream.next().await.is_some() {}
        });
        assert_eq!(state(&one), (3, Some(3)));
        assert_eq!(two.position(), 10);

        let three = bar();
        let tasks: Vec<_> = (0..50).map(|n| pool.spawn(move || n)).collect();
        let results = as_completed(tasks).with_bar(three.clone()).into_iter();
        assert_eq!(results.len(), 50);
        assert_eq!(results.map(Result::unwrap).sum::<u32>(), 1225);
        assert_eq!(state(&three), (50, Some(50)));
    });
}

#[test]
fn an_executor_chosen_at_run_time_has_a_bar() {
    within_deadline(|| {
        for name in ["inline", "threads:2", "processes:2"] {
            let executor: AnyExecutor = name.parse().unwrap();
            let bar = bar();
            let results = executor
                .with_bar(bar.clone())
                .map(0..10, |n: u64| n * n)
                .unwrap();
            assert_eq!(results[9], 81);
            assert_eq!(state(&bar), (10, Some(10)), "{name}");
            let odd = |n: u64| {
                if n % 2 == 1 {
                    resume_unwind(Box::new("odd"));
                }
            };
            let error = executor.with_progress().map([2, 3], odd).unwrap_err();
            assert!(matches!(error, TaskError::Panicked(_)), "{name}: {error}");
        }
        assert_eq!(
            Inline.with_progress().map([1, 2], |n: u64| n).unwrap(),
            [1, 2]
        );
    });
}

#[test]
fn on_a_loop_nothing_blocks() {
    within_deadline(|| {
        let procs = ProcessPool::with_workers(1).unwrap();
        let threads: AnyExecutor = "threads:1".parse().unwrap();
        let bar = bar();
        trefoil::run(async {
            let refused = procs.with_bar(bar.clone()).map(0..5, |n: u64| n);
            assert!(matches!(refused, Err(TaskError::WouldBlock)));
            let refused = threads.with_bar(bar.clone()).map(0..5, |n: u64| n);
            assert!(matches!(refused, Err(TaskError::WouldBlock)));
        });
        assert_eq!(state(&bar), (0, None));
        assert_eq!(procs.stats().completed, 0);
    });
}

/// A terminal that records which threads draw, and calls back.
struct Terminal {
    drawn_by: Mutex<Vec<ThreadId>>,
    on_draw: Box<dyn Fn(&str) + Send + Sync>,
}

#[derive(Clone)]
struct Handle(Arc<Terminal>);

impl std::fmt::Debug for Handle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Handle")
    }
}

impl TermLike for Handle {
    fn width(&self) -> u16 {
        80
    }
    fn move_cursor_up(&self, _: usize) -> io::Result<()> {
        Ok(())
    }
    fn move_cursor_down(&self, _: usize) -> io::Result<()> {
        Ok(())
    }
    fn move_cursor_right(&self, _: usize) -> io::Result<()> {
        Ok(())
    }
    fn move_cursor_left(&self, _: usize) -> io::Result<()> {
        Ok(())
    }
    fn write_line(&self, _: &str) -> io::Result<()> {
        Ok(())
    }
    fn write_str(&self, text: &str) -> io::Result<()> {
        self.0.drawn_by.lock().unwrap().push(thread::current().id());
        (self.0.on_draw)(text);
        Ok(())
    }
    fn clear_line(&self) -> io::Result<()> {
        Ok(())
    }
    fn flush(&self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn the_bar_of_processes_moves_before_the_end_and_on_the_callers_thread() {
    within_deadline(|| {
        let gate = SharedAtomics::<AtomicU64>::new(1).unwrap();
        let opener = gate.clone();
        let moving = ProgressBar::no_length();
        moving.set_style(ProgressStyle::with_template("{pos} ended").unwrap());
        let terminal = Handle(Arc::new(Terminal {
            drawn_by: Mutex::default(),
            on_draw: Box::new(move |text| {
                // The last item ends only when the bar has shown all others.
                if text.contains("19 ended") {
                    opener[0].store(1, Ordering::SeqCst);
                }
            }),
        }));
        let target = ProgressDrawTarget::term_like_with_hz(Box::new(terminal.clone()), 255);
        moving.set_draw_target(target);
        let procs = ProcessPool::with_workers(2).unwrap();
        let items = (0..20_u64).map(|n| (n, gate.clone()));
        let wait_at_the_end = |(n, gate): (u64, SharedAtomics<AtomicU64>)| {
            while n == 19 && gate[0].load(Ordering::SeqCst) == 0 {
                thread::yield_now();
            }
            n
        };
        let results = procs.with_bar(moving.clone()).map(items, wait_at_the_end);
        assert_eq!(results.unwrap().len(), 20);
        assert_eq!(moving.position(), 20);
        let drawn_by = terminal.0.drawn_by.lock().unwrap();
        assert!(!drawn_by.is_empty());
        assert!(
            drawn_by.iter().all(|id| *id == thread::current().id()),
            "by no other thread"
        );
    });
}

/// The example of this crate ends by itself, and prints what it should.
#[test]
fn the_example_runs() {
    within_deadline(|| {
        let this = std::env::current_exe().unwrap();
        let profile = this.parent().and_then(std::path::Path::parent).unwrap();
        let program = profile.join("examples/progress_bars");
        let out = std::process::Command::new(program).output().unwrap();
        let expected = "map: 200 squares, twice
imap: the sum is 328350, twice, and the bar at 200
as_completed: the sum is 7410, of three executors
";
        assert_eq!(String::from_utf8_lossy(&out.stdout), expected);
    });
}
