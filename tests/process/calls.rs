//! Calls into worker processes with options: timeouts, retries, chunks, names, contexts; and
//! how a pool counts and ends.
#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::print_stdout,
    clippy::print_stderr
)] // a program, not the crate

use crate::deadline::sample;
use crate::support;

use std::collections::HashSet;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::process::abort;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de, ser};
use support::{
    ABORTED, Dice, Scratch, Test, end_of, forever, is_suspended, is_there, kill, note, pool,
    suspend, tests, until,
};
use trefoil::task::WorkerExit;
use trefoil::{Bulk, CancelToken, Process, ProcessPool, Shutdown, Task, TaskError};

fn died<T: std::fmt::Debug>(result: Result<T, TaskError>) -> WorkerExit {
    match result {
        Err(TaskError::WorkerDied(exit)) => *exit,
        other => panic!("the worker should have died: {other:?}"),
    }
}

/// Stops a process until it is continued.
fn stop(pid: u32) {
    suspend(pid);
    until(|| is_suspended(pid));
}

fn millis(n: u64) -> Duration {
    Duration::from_millis(n)
}

fn gone(pid: u32) -> bool {
    !is_there(pid)
}

/// Notes that item `n` ran, then does what its number says.
fn eventful((n, path): (u64, String)) -> u64 {
    note(&path, n);
    match n {
        7 => forever(),
        _ => n * 2,
    }
}

/// Dies the first time, lives the second.
fn second_time((n, path): (u64, String)) -> u64 {
    note(&path, n);
    let runs = std::fs::read(&path)
        .unwrap()
        .chunks(8)
        .filter(|word| *word == n.to_ne_bytes())
        .count();
    if n % 10 == 3 && runs < 2 {
        abort();
    }
    n
}

/// A context that notes when it is decoded and when it is dropped.
struct Traced {
    path: String,
    secret: u64,
    breaks: u8,
}

impl Serialize for Traced {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if self.breaks == 1 {
            return Err(ser::Error::custom("never written"));
        }
        (&self.path, self.secret, self.breaks).serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Traced {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let (path, secret, breaks) = <(String, u64, u8)>::deserialize(deserializer)?;
        note(&path, std::process::id().into());
        match breaks {
            2 => Err(de::Error::custom("never read")),
            3 => panic!("reading panics"),
            4 => abort(),
            _ => Ok(Self {
                path,
                secret,
                breaks,
            }),
        }
    }
}

impl Drop for Traced {
    fn drop(&mut self) {
        // The original in the parent notes nothing.
        if std::env::var_os("TRACED").is_some() {
            note(&self.path, 0);
        }
    }
}

fn traced(scratch: &Scratch, breaks: u8) -> Traced {
    Traced {
        path: scratch.text(),
        secret: 1000,
        breaks,
    }
}

/// A result with a destructor, which has something to do in the process that made it.
#[derive(Serialize, Deserialize)]
struct Lingers {
    made_by: u32,
    path: String,
    what: u64,
    bytes: Bulk<u8>,
}

impl Drop for Lingers {
    fn drop(&mut self) {
        if self.made_by == std::process::id() {
            std::thread::sleep(millis(20)); // others get the time to be too early
            note(&self.path, self.what);
            match self.what {
                7 => forever(),
                8 => panic!("a destructor panics"),
                _ => {}
            }
        }
    }
}

fn lingers((what, path): (u64, String)) -> Lingers {
    Lingers {
        made_by: std::process::id(),
        path,
        what,
        bytes: vec![what as u8; 100_000].into(),
    }
}

/// A result that the pool's helper threads decode.
#[derive(Serialize, Deserialize)]
struct Answer {
    item: u64,
    bytes: Vec<u8>,
}

/// Works, panics, aborts or takes long.
fn accidental((item, what): (u64, u64)) -> Answer {
    match what {
        0 => resume_unwind(Box::new("an accident")),
        1 => abort(),
        2 => std::thread::sleep(Duration::from_millis(40)),
        _ => {}
    }
    Answer {
        item,
        bytes: vec![1; item as usize % 50 * 100],
    }
}

tests! {
    fn time_counts_from_the_start_of_each_item() {
        let procs = pool(1);
        let call = procs.call(|ms: u64| { std::thread::sleep(Duration::from_millis(ms)); ms }).timeout(millis(1000));
        let tasks: Vec<Task<u64>> = (0..20).map(|_| call.spawn(60)).collect();
        assert!(tasks.into_iter().all(|task| task.join().is_ok()), "more than a second in the queue");
        assert_eq!(call.chunk_size(20).map([60; 20]).unwrap().len(), 20, "more than a second in a batch");
    }

    fn a_timeout_stops_the_code_and_affects_no_other_item() {
        let procs = pool(2);
        let scratch = Scratch::new("stops");
        let begin = Instant::now();
        let task = procs.call(|path: String| { note(&path, std::process::id().into()); loop { std::hint::spin_loop() } })
            .timeout(millis(500)).spawn(scratch.text());
        let task: Task<()> = task;
        let others: Vec<Task<u32>> = (0..200).map(|n| procs.spawn(n, |n| n)).collect();
        assert!(matches!(task.join(), Err(TaskError::TimedOut(_))));
        let (ended, pid) = (begin.elapsed(), scratch.notes()[0] as u32);
        until(|| gone(pid));
        println!("ended after {ended:?}, gone after {:?}", begin.elapsed());
        assert!(ended >= millis(500) && begin.elapsed() < Duration::from_secs(20));
        assert!((0..).zip(others).all(|(n, task)| task.join().unwrap() == n));
        assert_eq!(procs.stats().timed_out, 1);
        until(|| procs.worker_pids().len() == 2);
    }

    fn a_timeout_in_a_batch_is_one_items() {
        let procs = pool(1);
        let scratch = Scratch::new("batch");
        let items = (0..40).map(|n| (n, scratch.text()));
        let call = procs.call(eventful).timeout(millis(80)).chunk_size(20);
        for (n, result) in (0..).zip(call.imap(items).buffer(40)) {
            match n {
                7 => assert!(matches!(result, Err(TaskError::TimedOut(_))), "{result:?}"),
                _ => assert_eq!(result.unwrap(), 2 * n),
            }
        }
        let mut notes = scratch.notes();
        notes.sort_unstable();
        assert!(notes.into_iter().eq(0..40), "each ran once");
        let items = (0..40).map(|n| (n, scratch.text()));
        assert!(matches!(call.map(items), Err(TaskError::TimedOut(_))));
        let items = (8..40).map(|n| (n, scratch.text()));
        assert_eq!(call.map(items).unwrap().len(), 32);
    }

    fn the_token_comes_first() {
        let procs = support::patient(1);
        let pids = procs.worker_pids();
        let scratch = Scratch::new("token");
        let call = procs.call(|path: String| {
            until(|| CancelToken::current().is_cancelled());
            note(&path, 1);
        });
        let task = call.timeout(millis(30)).spawn(scratch.text());
        assert!(matches!(task.join(), Err(TaskError::TimedOut(_))));
        until(|| scratch.notes() == [1]);
        assert!(!procs.spawn((), |()| CancelToken::current().is_cancelled()).join().unwrap());
        assert_eq!(procs.worker_pids(), pids, "it has obeyed, and lives");
    }

    fn a_timeout_may_be_anything() {
        let procs = pool(2);
        let call = procs.call(|n: u64| -> u64 { std::thread::sleep(Duration::from_millis(n)); n });
        assert_eq!(call.clone().timeout(Duration::MAX).map(0..5).unwrap(), [0, 1, 2, 3, 4]);
        let task = call.clone().timeout(Duration::ZERO).spawn(3_600_000);
        assert!(matches!(task.join(), Err(TaskError::TimedOut(_))));
        assert_eq!(procs.map(0..100, |n: u32| n).unwrap().len(), 100);
    }

    /// A call that may run for no time at all does not run.
    fn without_time_nothing_runs() {
        for plain in [false, true] {
            let procs = ProcessPool::builder().workers(2).plain_workers(plain).build().unwrap();
            let scratch = Scratch::new("no-time");
            let call = procs.call(|path: String| note(&path, 1)).timeout(Duration::ZERO);
            let call = call.retry(3).retry_on_timeout(true);
            let text = || scratch.text();
            let refused = |error: TaskError, item| match error {
                TaskError::TimedOut(late) => {
                    assert_eq!((late.item(), late.limit(), late.ran()), (item, Some(Duration::ZERO), Some(Duration::ZERO)));
                }
                other => panic!("{other:?}"),
            };
            refused(call.spawn(text()).join().unwrap_err(), None);
            refused(call.map((0..3).map(|_| text())).unwrap_err(), Some(0));
            let each = call.map_each((0..50).map(|_| text()));
            assert_eq!(each.len(), 50);
            (0..).zip(each).for_each(|(index, result)| refused(result.unwrap_err(), Some(index)));
            assert!(call.map([]).unwrap().is_empty());
            assert_eq!((procs.stats().timed_out, procs.stats().pending), (1 + 3 + 50, 0));
            procs.spawn((), |()| ()).join().unwrap();
            assert!(scratch.notes().is_empty());
        }
    }

    /// A result is dropped where it was made before it is sent: its destructor is a part of the
    /// item, of its time and of its outcome.
    fn the_destructor_of_a_result_is_a_part_of_the_item() {
        for plain in [false, true] {
            let procs = ProcessPool::builder().workers(1).plain_workers(plain).build().unwrap();
            let scratch = Scratch::new("lingers");
            let items = |all: &[u64]| all.iter().map(|what| (*what, scratch.text())).collect::<Vec<_>>();
            let call = procs.call(lingers).chunk_size(3);
            for what in 1..4 {
                assert_eq!(call.spawn((what, scratch.text())).join().unwrap().what, what);
                assert_eq!(scratch.notes().last(), Some(&what), "its value came first");
            }
            let results: Vec<_> = call.imap(items(&[1, 8, 2])).buffer(3).collect();
            for (what, result) in [1, 8, 2].into_iter().zip(results) {
                match result {
                    Err(TaskError::Panicked(panic)) if what == 8 => assert_eq!(panic.message(), "a destructor panics"),
                    Ok(value) => assert!(value.what == what && what != 8 && *value.bytes == *vec![what as u8; 100_000]),
                    Err(other) => panic!("{what}: {other:?}"),
                }
            }
            assert_eq!(procs.stats().died, 0);
            let results: Vec<_> = call.timeout(millis(1000)).imap(items(&[1, 7, 2])).buffer(3).collect();
            let late = |result: &Result<Lingers, TaskError>| matches!(result, Err(TaskError::TimedOut(_)));
            assert!(late(&results[1]) && results[0].is_ok() && results[2].is_ok());
        }
    }

    /// The worker measures how long an item ran: no result is taken that is late, however soon it
    /// comes.
    fn what_ends_too_late_has_timed_out() {
        fn notes((path, fails): (String, bool)) -> u64 {
            note(&path, 1);
            assert!(!fails, "too late for this, too");
            7
        }
        for plain in [false, true] {
            let builder = ProcessPool::builder().workers(2).grace(millis(600_000));
            let procs = builder.plain_workers(plain).build().unwrap();
            let scratch = Scratch::new("brief");
            let limit = Duration::from_nanos(1);
            let call = procs.call(notes).timeout(limit);
            let item = |fails| (scratch.text(), fails);
            let late = |result: Result<u64, TaskError>| match result {
                Err(TaskError::TimedOut(late)) => assert!(late.ran() >= Some(limit), "{late:?}"),
                other => panic!("{other:?}"),
            };
            for round in 0..100 {
                late(call.spawn(item(round % 2 == 0)).join());
            }
            until(|| scratch.notes().len() == 100); // each has run, or the last one runs still
            call.imap((0..100).map(|_| item(false))).for_each(late);
            call.map_each((0..20).map(|_| item(true))).into_iter().for_each(late);
            assert!(matches!(call.map((0..50).map(|_| item(false))), Err(TaskError::TimedOut(_))));
            until(|| procs.stats().busy == 0); // what the map had begun notes itself, too
            let (before, stats) = (scratch.notes().len(), procs.stats());
            late(call.retry(2).retry_on_timeout(true).spawn(item(false)).join());
            let after = procs.stats();
            until(|| scratch.notes().len() == before + 3);
            assert_eq!((after.timed_out - stats.timed_out, after.retried - stats.retried), (3, 2));
            assert_eq!(procs.call(notes).timeout(millis(60_000)).spawn(item(false)).join().unwrap(), 7);
            assert_eq!(procs.stats().died, 0, "all of them have ended by themselves");
        }
    }

    /// Work that ends with its pool, and that nobody waits for, is reported: once, with its number.
    fn a_dropped_pool_reports_detached_calls() {
        for way in 0..3 {
            let (sender, reports) = mpsc::channel();
            let hook = move |report: &trefoil::TaskReport| drop(sender.send(report.to_string()));
            let procs = ProcessPool::builder().workers(1).on_unobserved(hook).build().unwrap();
            let scratch = Scratch::new("detached");
            let endless = |path: String| -> () { note(&path, 1); forever() };
            procs.spawn(scratch.text(), endless).detach();
            until(|| !scratch.notes().is_empty());
            for n in 0..4 {
                procs.call(|n: u32| n).name("mail").spawn(n).detach();
            }
            drop(procs.call(|n: u32| n).name("mail").map_task(0..100));
            let (kept, on_purpose) = (procs.spawn(1, |n: u32| n), procs.spawn(2, |n: u32| n));
            on_purpose.cancel();
            on_purpose.detach();
            match way {
                0 => {}
                1 => procs.shutdown_timeout(Shutdown::CancelPending, Duration::ZERO),
                _ => procs.kill(),
            }
            drop(procs);
            assert!(matches!(kept.join(), Err(TaskError::Cancelled)));
            let reports: Vec<String> = reports.iter().collect();
            if way > 0 {
                assert!(reports.is_empty(), "that was on purpose: {reports:?}");
                continue;
            }
            let [report] = &reports[..] else { panic!("{reports:?}") };
            let words = ["detached task", "`mail`", "calls.rs", "and so were 5 other", "Shutdown::Wait"];
            assert!(words.iter().all(|words| report.contains(words)), "{report}");
        }
    }

    fn a_stopped_worker_does_not_stop_the_clock() {
        let procs = pool(1);
        let scratch = Scratch::new("stopped");
        let call = procs.call(|path: String| { note(&path, std::process::id().into()); forever::<()>() });
        let task = call.timeout(millis(1000)).spawn(scratch.text());
        until(|| !scratch.notes().is_empty());
        suspend(scratch.notes()[0] as u32);
        assert!(matches!(task.join(), Err(TaskError::TimedOut(_))));
        assert_eq!(procs.spawn(1, |n: u32| n).join().unwrap(), 1);
    }

    fn a_stopped_worker_with_cancelled_calls_does_not_hold_up_the_end() {
        for how in [Shutdown::Wait, Shutdown::CancelPending] {
            let procs = pool(1);
            procs.map(0..100, |n: u32| n).unwrap();
            procs.worker_pids().into_iter().for_each(stop);
            let begin = Instant::now();
            // Small ones wait in the shared ring, large ones wait for room in the worker's socket.
            let length = |bytes: Vec<u8>| bytes.len();
            let tasks: Vec<_> = (0..8).map(|n| procs.spawn(vec![7; (n % 2) * (4 << 20)], length)).collect();
            until(|| procs.stats().busy == 1);
            tasks.iter().for_each(|task| _ = task.cancel());
            procs.shutdown(how);
            let took = begin.elapsed();
            assert!(took < Duration::from_secs(40), "{took:?}");
            assert!(procs.worker_pids().is_empty());
        }
        let process = Process::spawn((), |()| ()).unwrap();
        let pid = process.pid();
        stop(pid);
        let task = process.into_task();
        task.cancel();
        until(|| gone(pid));
    }

    fn a_death_is_retried_and_nothing_else() {
        let procs = pool(2);
        let scratch = Scratch::new("retry");
        let items = || (0..100).map(|n| (n, scratch.text()));
        let answers = procs.call(second_time).retry(1).map(items()).unwrap();
        assert!(answers.into_iter().eq(0..100));
        let mut notes = scratch.notes();
        notes.sort_unstable();
        let expected = (0..100).flat_map(|n| std::iter::repeat_n(n, if n % 10 == 3 { 2 } else { 1 }));
        assert!(notes.into_iter().eq(expected), "only what has cost a worker runs again");
        assert_eq!(procs.stats().retried, 10);

        let call = procs.call(|()| -> () { abort() }).retry(3);
        assert_eq!(died(call.spawn(()).join()).attempts(), 4);
        let result = call.map([(), ()]);
        assert_eq!(died(result).attempts(), 4);
        for result in call.imap([(), ()]) {
            assert_eq!(died(result).attempts(), 4);
        }
        let scratch = Scratch::new("panics");
        let call = procs.call(|path: String| -> () { note(&path, 1); panic!("once") }).retry(5);
        assert!(matches!(call.spawn(scratch.text()).join(), Err(TaskError::Panicked(_))));
        let call = procs.call(|path: String| { note(&path, 2); forever::<()>() }).retry(5).timeout(millis(50));
        assert!(matches!(call.spawn(scratch.text()).join(), Err(TaskError::TimedOut(_))));
        assert_eq!(scratch.notes(), [1, 2]);
    }

    fn a_cancelled_task_is_not_retried() {
        let procs = pool(1);
        let scratch = Scratch::new("noretry");
        let call = procs.call(|path: String| { note(&path, 1); forever::<()>() }).retry(5);
        let task = call.spawn(scratch.text());
        until(|| scratch.notes() == [1]);
        assert!(task.cancel());
        assert_eq!(procs.spawn(1, |n: u32| n).join().unwrap(), 1);
        let task = call.spawn(scratch.text());
        until(|| scratch.notes() == [1, 1]);
        procs.shutdown_timeout(Shutdown::Wait, millis(10));
        assert!(matches!(task.join(), Err(TaskError::Cancelled)));
        assert_eq!(scratch.notes(), [1, 1]);
    }

    fn one_of_two_workers_is_killed_during_eight_calls() {
        for retry in [0, 1] {
            let procs = pool(2);
            let scratch = Scratch::new("eight");
            let call = procs.call(|(n, path): (u64, String)| {
                note(&path, std::process::id().into());
                std::thread::sleep(Duration::from_millis(60));
                n
            }).retry(retry);
            let tasks: Vec<Task<u64>> = (0..8).map(|n| call.spawn((n, scratch.text()))).collect();
            until(|| scratch.notes().len() >= 3);
            kill(scratch.notes()[2] as u32);
            let results: Vec<_> = tasks.into_iter().map(Task::join).collect();
            let ok = results.iter().filter(|result| result.is_ok()).count();
            assert_eq!(ok, if retry == 0 { 7 } else { 8 }, "{results:?}");
        }
    }

    fn the_chunk_does_not_matter() {
        let procs = pool(2);
        let expected: Vec<u64> = (0..1000).map(|n| n * n).collect();
        for chunk in [0, 1, 2, 7, 64, 999, 1000, 1001, 1 << 20, usize::MAX] {
            let call = procs.call(|n: u64| n * n).chunk_size(chunk);
            assert_eq!(call.map(0..1000).unwrap(), expected);
            let answers: Result<Vec<u64>, TaskError> = call.imap(0..1000).collect();
            assert_eq!(answers.unwrap(), expected);
        }
        let call = procs.call(|n: u64| (n, std::process::id())).chunk_size(50);
        let pids = call.map(0..500).unwrap();
        // An idle worker may take over a part of one, now and then.
        let whole = |chunk: &&[(u64, u32)]| chunk.iter().all(|(_, pid)| *pid == chunk[0].1);
        assert!(pids.chunks(50).filter(whole).count() >= 5);
    }

    fn names_are_the_tasks() {
        let (tell, told) = mpsc::channel();
        let builder = ProcessPool::builder().workers(1);
        let procs = builder.on_unobserved(move |report| tell.send(format!("{report}")).unwrap()).build().unwrap();
        let call = procs.call(|()| -> () { panic!("unheard") }).name("Ada");
        assert_eq!(call.spawn(()).name(), Some("Ada"));
        call.map_task([()]).detach();
        for _ in 0..2 {
            let report = told.recv().unwrap();
            assert!(report.contains("`Ada`") && report.contains("process/calls.rs"), "{report}");
        }
    }

    fn an_untaken_timeout_says_which_item_and_how_long() {
        let (tell, told) = mpsc::channel();
        let hook = move |report: &trefoil::TaskReport| {
            tell.send((report.to_string(), report.error().clone())).unwrap();
        };
        let procs = ProcessPool::builder().workers(1).on_unobserved(hook).build().unwrap();
        let limit = millis(30);
        let call = procs.call(|n: u64| if n == 3 { loop { std::thread::park(); } }).timeout(limit);
        let late = |error: TaskError| match error {
            TaskError::TimedOut(late) => late,
            other => panic!("{other}"),
        };
        call.map_task(0..9).detach();
        let (report, error) = told.recv().unwrap();
        assert!(report.ends_with(&error.to_string()), "{report}");
        assert_eq!(error.item(), Some(3));
        let words = error.to_string();
        let ran = words.strip_prefix("item 3: the time is up (limit 30ms), after ").expect(&words);
        let (ran, pid) = ran.split_once(" in worker process ").unwrap();
        assert!(ran.ends_with('s') && pid.parse::<u32>().is_ok(), "{words}");
        let known = late(error);
        assert_eq!((known.item(), known.limit(), known.worker()), (Some(3), Some(limit), pid.parse().ok()));
        assert!(known.ran() >= Some(limit));
        call.spawn(3).detach();
        let alone = late(told.recv().unwrap().1);
        assert!(alone.item().is_none() && alone.ran() >= Some(limit));
        // Every form of call says it.
        let item = |error: TaskError| late(error).item();
        assert_eq!(item(call.map_task(0..9).join().unwrap_err()), Some(3));
        assert_eq!(item(call.map(0..9).unwrap_err()), Some(3));
        let each: Vec<_> = call.map_each(0..5).into_iter().filter_map(Result::err).map(item).collect();
        assert_eq!(each, [Some(3)]);
        let each: Vec<_> = call.imap(0..5).filter_map(Result::err).map(item).collect();
        assert_eq!(each, [Some(3)]);
        let with = call.map_with(&7, 0..9, |at: &u64, n: u64| if n == *at { loop { std::thread::park(); } });
        assert_eq!(item(with.unwrap_err()), Some(7));
        let mut group = trefoil::TaskGroup::new();
        let id = group.add(call.map_task(0..9).named("Ada"));
        let error = group.try_join_all().join().unwrap_err().to_string();
        let words = format!("task {id} `Ada` of the group failed: item 3: the time is up (limit 30ms), after ");
        assert!(error.starts_with(&words), "{error}");
    }

    fn a_map_may_be_a_task() {
        let procs = pool(2);
        let task = procs.call(|n: u64| n + 1).map_task(0..10_000);
        assert!(task.join().unwrap().into_iter().eq(1..10_001));
        assert!(procs.call(|n: u64| n).map_task(Vec::new()).join().unwrap().is_empty());
        let scratch = Scratch::new("maptask");
        let task = procs.call(|path: String| { note(&path, 1); forever::<()>() }).map_task((0..10).map(|_| scratch.text()));
        until(|| !scratch.notes().is_empty());
        assert!(task.cancel());
        assert_eq!(procs.map(0..100, |n: u32| n).unwrap().len(), 100);
        assert!(scratch.notes().len() <= 2, "the others never ran");
        let items = (0..5000u64).inspect(|n| assert!(*n < 4000, "enough"));
        let caught = catch_unwind(AssertUnwindSafe(|| procs.call(|n: u64| n).map_task(items)));
        assert!(caught.is_err());
        assert_eq!(procs.map(0..100, |n: u32| n).unwrap().len(), 100);
    }

    fn a_context_is_read_once_by_each_worker() {
        let builder = ProcessPool::builder().workers(2).env("TRACED", "1");
        let procs = builder.build().unwrap();
        let scratch = Scratch::new("context");
        let context = traced(&scratch, 0);
        let answers = procs.map_with(&context, 0..5000u64, |context: &Traced, n| {
            if n > 4000 {
                std::thread::sleep(Duration::from_micros(100));
            }
            context.secret + n
        });
        assert!(answers.unwrap().into_iter().eq(1000..6000));
        until(|| scratch.notes().iter().filter(|pid| **pid == 0).count() == scratch.notes().len() / 2);
        let pids: Vec<u64> = scratch.notes().into_iter().filter(|pid| *pid != 0).collect();
        let distinct: HashSet<u64> = pids.iter().copied().collect();
        assert!(distinct.len() == pids.len() && pids.len() <= 2, "read once, dropped once: {pids:?}");
    }

    fn a_replaced_worker_gets_the_context_too() {
        let procs = pool(2);
        let scratch = Scratch::new("again");
        let context = traced(&scratch, 0);
        let exit = died(procs.map_with(&context, 0..200u64, |context: &Traced, n| {
            if n == 150 {
                abort();
            }
            context.secret
        }));
        assert_eq!(end_of(&exit), ABORTED);
        // A large one, and two at once.
        let large = "x".repeat(9 << 20);
        std::thread::scope(|scope| {
            let lengths = scope.spawn(|| procs.map_with(&large, 0..50usize, |text: &String, n| text.len() + n));
            let other = procs.map_with(&7u64, 0..5000u64, |k: &u64, n| k * n).unwrap();
            assert!((0..).zip(other).all(|(n, product)| product == 7 * n));
            assert!(lengths.join().unwrap().unwrap().into_iter().eq(9 << 20..(9 << 20) + 50));
        });
    }

    fn a_context_may_be_broken() {
        let procs = support::patient(1);
        let pids = procs.worker_pids();
        let scratch = Scratch::new("broken");
        let with = |breaks: u8| procs.map_with(&traced(&scratch, breaks), 0..10u64, |context: &Traced, n| context.secret + n);
        for breaks in [1, 2] {
            let Err(TaskError::Codec(error)) = with(breaks) else { panic!("{breaks}") };
            assert!(error.type_name().ends_with("Traced"), "{error}");
        }
        assert!(matches!(with(3), Err(TaskError::Panicked(panic)) if panic.message() == "reading panics"));
        assert_eq!(procs.worker_pids(), pids, "the worker lives");
        assert_eq!(end_of(&died(with(4))), ABORTED);
        assert_eq!(with(0).unwrap()[9], 1009);
        assert!(procs.map_with(&(), Vec::<u8>::new(), |(), n| n).unwrap().is_empty());
    }

    fn numbers_add_up() {
        let procs = pool(2);
        procs.map(0..1000, |n: u64| n).unwrap();
        assert!(procs.spawn((), |()| -> () { panic!("one") }).join().is_err());
        died(procs.spawn((), |()| -> () { abort() }).join());
        let stats = procs.stats();
        assert_eq!((stats.completed, stats.failed, stats.pending), (1000, 2, 0));
        assert_eq!((stats.died, stats.retried, stats.timed_out), (1, 0, 0));
        until(|| procs.stats().started == 3 && procs.stats().workers == 2);
        let scratch = Scratch::new("numbers");
        let tasks: Vec<Task<()>> = (0..5).map(|_| procs.spawn(scratch.text(), |path| { note(&path, 1); forever() })).collect();
        until(|| scratch.notes().len() == 2);
        until(|| procs.stats().pending == 5 && procs.stats().busy == 2);
        drop(tasks);
        procs.kill();
        let stats = procs.stats();
        assert_eq!((stats.workers, stats.pending, stats.completed, stats.failed), (0, 0, 1000, 2));
    }

    /// Whatever becomes of a call, its items are counted before the caller has its end.
    fn nothing_is_pending_after_the_last_call() {
        let procs = ProcessPool::builder().workers(3).max_tasks_per_worker(40).build().unwrap();
        let over = AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let mut dice = Dice(7);
                while !over.load(Ordering::Relaxed) {
                    let pids = procs.worker_pids();
                    if !pids.is_empty() {
                        kill(pids[dice.roll(pids.len() as u64) as usize]);
                    }
                    std::thread::sleep(Duration::from_micros(dice.roll(20_000)));
                }
            });
            let mut dice = Dice(11);
            for round in 0..sample(120) {
                let n = 1 + dice.roll(300);
                let accident = if dice.roll(2) == 0 { dice.roll(2 * n) } else { u64::MAX };
                let items = (0..n).map(|item| (item, if item == accident { dice.roll(3) } else { 9 }));
                let items: Vec<_> = items.collect();
                let call = procs.call(accidental).retry(round as u32 % 3);
                let call = if dice.roll(4) == 0 { call.timeout(Duration::from_millis(1 + dice.roll(30))) } else { call };
                match dice.roll(6) {
                    0 => drop(call.map(items)),
                    1 => drop(call.map_each(items)),
                    2 => call.imap(items).for_each(drop),
                    3 => call.imap_unordered(items).for_each(drop),
                    4 => {
                        let tasks: Vec<_> = items.into_iter().map(|item| call.spawn(item)).collect();
                        tasks.into_iter().for_each(|task| drop(task.join()));
                    }
                    _ => drop(call.map_with(&vec![1u8; 40_000], items, |_, item| accidental(item))),
                }
                assert_eq!(procs.stats().pending, 0, "round {round}");
            }
            over.store(true, Ordering::Relaxed);
        });
    }

    fn nothing_blocks_a_loop() {
        let procs = pool(1);
        trefoil::run(async {
            let call = procs.call(|n: u32| n + 1);
            assert!(matches!(call.map(0..3), Err(TaskError::WouldBlock)));
            assert!(matches!(procs.map_with(&1, 0..3, |k: &u32, n: u32| k + n), Err(TaskError::WouldBlock)));
            assert_eq!(call.map_task(0..3).await.unwrap(), [1, 2, 3]);
            assert_eq!(call.timeout(Duration::from_secs(60)).spawn(1).await.unwrap(), 2);
        });
    }

    fn a_shutdown_has_a_limit() {
        for how in [Shutdown::Wait, Shutdown::CancelPending] {
            for stop in [false, true] {
                let procs = pool(2);
                let scratch = Scratch::new("limit");
                let quick = procs.spawn(1, |n: u32| n);
                until(|| quick.is_finished());
                let endless: Vec<Task<()>> = (0..2).map(|_| procs.spawn(scratch.text(), |path| {
                    note(&path, 1);
                    loop { std::hint::spin_loop() }
                })).collect();
                until(|| scratch.notes().len() == 2);
                let queued = procs.spawn((), |()| ());
                if stop {
                    procs.worker_pids().iter().for_each(|pid| suspend(*pid));
                }
                let begin = Instant::now();
                procs.shutdown_timeout(how, millis(100));
                let took = begin.elapsed();
                assert!(took >= millis(100) && took < Duration::from_secs(20), "{took:?}");
                assert_eq!(quick.join().unwrap(), 1);
                for task in endless {
                    assert!(matches!(task.join(), Err(TaskError::Cancelled)));
                }
                assert!(matches!(queued.join(), Err(TaskError::Cancelled)));
                assert!(procs.worker_pids().is_empty());
            }
        }
        // Items that end in time are waited for, and a limit beyond the clock's range is no limit.
        let procs = pool(1);
        let tasks: Vec<Task<u32>> = (0..100).map(|n| procs.spawn(n, |n| n)).collect();
        procs.shutdown_timeout(Shutdown::Wait, Duration::MAX);
        assert!((0..).zip(tasks).all(|(n, task)| task.join().unwrap() == n));
        procs.shutdown_timeout(Shutdown::Wait, Duration::ZERO);
        // The earlier limit wins.
        let procs = pool(1);
        let endless = procs.spawn((), |()| forever::<()>());
        std::thread::scope(|scope| {
            scope.spawn(|| procs.shutdown_timeout(Shutdown::Wait, millis(50)));
            procs.shutdown(Shutdown::Wait);
        });
        assert!(matches!(endless.join(), Err(TaskError::Cancelled)));
    }
}
