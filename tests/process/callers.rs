//! What callers do in the driver's place, what they must leave to the driver, and what the driver
//! leaves to other threads.
#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::print_stdout,
    clippy::print_stderr
)] // a program, not the crate

use crate::deadline::sample;
use crate::support;

use std::collections::HashMap;
use std::collections::LinkedList;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use support::{Odd, Scratch, Test, note, noted, pool, tests, until};
use trefoil::{ProcessPool, Shutdown, Task, TaskError};

/// Longer than a driver stays asleep while its callers do its work.
const LULL: Duration = Duration::from_millis(5);

/// A limit for steps that should take milliseconds.
const LIMIT: Duration = Duration::from_secs(30);

fn double(n: u64) -> u64 {
    n * 2
}

/// Computes for so many microseconds, without a system call.
fn spin(micros: u64) {
    let begin = Instant::now();
    while begin.elapsed() < Duration::from_micros(micros) {
        std::hint::spin_loop();
    }
}

tests! {
    /// The caller comes just when the result has been sent, and reads it from the socket before the
    /// driver does. The driver must still learn that the worker has to be replaced.
    fn a_worker_at_its_limit_is_replaced_whichever_thread_reads_its_last_result() {
        let procs = ProcessPool::builder().workers(1).max_tasks_per_worker(1).build().unwrap();
        let mut before = 0;
        for n in 0..sample(400) as u64 {
            let mut here = 0;
            let begin = Instant::now();
            until(|| {
                here = procs.worker_pids().first().copied().unwrap_or(0);
                assert!(begin.elapsed() < LIMIT, "{n}: the worker {before} is not replaced");
                here != 0 && here != before
            });
            before = here;
            thread::sleep(LULL); // it is ready, and the driver sleeps
            let mut task = procs.spawn(n, double);
            spin(n % 80);
            assert_eq!(task.join_timeout(LIMIT).unwrap(), n * 2, "{n}");
        }
    }

    /// The same with a worker that could take over calls which wait behind a long one.
    fn calls_behind_a_long_one_move_whichever_thread_reads_a_short_result() {
        let procs = pool(2);
        for n in 0..sample(150) as u64 {
            thread::sleep(LULL);
            let long = procs.spawn((), |()| support::forever::<()>());
            let mut short = procs.spawn(n, double);
            let mut waits = procs.spawn(n, double);
            spin(n % 80);
            assert_eq!(short.join_timeout(LIMIT).unwrap(), n * 2, "{n}");
            until(|| waits.try_join().is_some());
            long.cancel();
            let begin = Instant::now();
            until(|| {
                assert!(begin.elapsed() < LIMIT);
                procs.worker_pids().len() == 2
            });
        }
    }

    /// A worker that has nothing to do does not stay counted as busy.
    fn no_worker_stays_busy_whichever_thread_reads_the_last_result() {
        let procs = pool(1);
        for n in 0..sample(400) as u64 {
            thread::sleep(LULL);
            let task = procs.spawn(n, double);
            spin(n % 80);
            assert_eq!(task.join().unwrap(), n * 2);
            let begin = Instant::now();
            until(|| {
                assert!(begin.elapsed() < LIMIT, "{n}");
                procs.stats().busy == 0
            });
        }
    }

    /// What is counted of a call is so when it returns, also while another worker initializes.
    fn stats_are_true_when_a_call_has_returned() {
        let scratch = Scratch::new("stats");
        let begins = |path: String| {
            if trefoil::process::worker_index() == Some(1) {
                until(|| noted(&path) > 0);
            }
        };
        let builder = ProcessPool::builder().workers(2).initializer(scratch.text(), begins);
        let procs = builder.build().unwrap();
        let mut ended = 0;
        let mut is_true = |items: u64| {
            ended += items;
            let stats = procs.stats();
            let now = (stats.busy, stats.pending, stats.completed + stats.failed);
            assert_eq!(now, (0, 0, ended), "{stats:?}");
        };
        for n in 1..sample(400) as u64 {
            let n = n % 50 + 1;
            procs.map_each(0..n, double);
            is_true(n);
            procs.map_each(0..n, |n: u64| vec![n.to_string(); 3]);
            is_true(n);
            procs.map_each(0..n, |n: u64| if !n.is_multiple_of(3) { std::panic::resume_unwind(Box::new(n)) });
            is_true(n);
            procs.map(0..n, double).unwrap();
            is_true(n);
            assert!(procs.imap(0..n, double).all(|result| result.is_ok()));
            is_true(n);
        }
        note(&scratch.text(), 1);
    }

    /// The same while the caller keeps the other worker busy with calls that follow so closely that
    /// it never sends.
    fn what_waits_behind_a_long_call_is_taken_over_between_calls_that_follow_closely() {
        let procs = pool(2);
        for n in 0..sample(40) as u64 {
            thread::sleep(LULL);
            let long = procs.spawn((), |()| support::forever::<()>());
            let short = procs.spawn(3_000, spin);
            let mut waits = procs.spawn(n, double);
            spin(2_990);
            short.join().unwrap();
            let (mut calls, begin) = (0, Instant::now());
            while waits.try_join().is_none() {
                assert_eq!(procs.spawn(n, double).join().unwrap(), n * 2);
                calls += 1;
                // (A worker that has no processor answers no recall.)
                assert!(calls < 1_000 || begin.elapsed() < LIMIT, "{n}");
            }
            long.cancel();
            let begin = Instant::now();
            until(|| {
                assert!(begin.elapsed() < LIMIT);
                procs.worker_pids().len() == 2
            });
        }
    }

    /// The items of a `map` are in several workers, and end there one after the other.
    fn a_thread_that_waits_for_many_runs_no_foreign_callback() {
        let procs = pool(2);
        let main = thread::current().id();
        let (told, here) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        procs.map(0..1000, double).unwrap();
        let rounds = sample(3_000);
        for n in 0..rounds as u64 {
            let asked = Arc::new(AtomicBool::new(false));
            let many = procs.call(spin).chunk_size(1).map_task([5, 10 + n % 7]);
            let other = procs.spawn(n, double);
            let (told, here, asking) = (told.clone(), here.clone(), asked.clone());
            other.on_done(move |_| {
                let on_caller = thread::current().id() == main && asking.load(Ordering::SeqCst);
                here.fetch_add(usize::from(on_caller), Ordering::SeqCst);
                told.fetch_add(1, Ordering::SeqCst);
            });
            asked.store(true, Ordering::SeqCst);
            assert_eq!(many.join().unwrap(), [(), ()]);
        }
        until(|| told.load(Ordering::SeqCst) == rounds);
        assert_eq!(here.load(Ordering::SeqCst), 0);
    }

    /// An item of an `imap` that cannot be encoded is never counted as pending.
    fn what_cannot_be_encoded_is_not_pending() {
        let procs = pool(1);
        let results = procs.imap([0, 1, 0, 1, 0].map(Odd), |odd: Odd| odd.0);
        assert_eq!(results.filter(Result::is_ok).count(), 3);
        let long = procs.spawn((), |()| support::forever::<()>());
        until(|| procs.stats().busy == 1);
        assert_eq!(procs.stats().pending, 1);
        long.cancel();
        until(|| procs.stats().pending == 0);
    }

    /// While one result is being decoded, on whichever thread.
    fn a_result_that_is_slow_to_decode_delays_no_other() {
        for joins in [false, true] {
            let procs = Arc::new(pool(3));
            let gate = Gate::close();
            let theirs = procs.clone();
            let slow = move || theirs.spawn((), |()| Held);
            let mut task = (!joins).then(&slow);
            let caller = joins.then(|| thread::spawn(move || slow().join()));
            until(|| gate.waiting() == 1);
            goes_on(&procs);
            // Neither the next slow result nor the calls after it wait for it.
            let next = procs.spawn((), |()| Held);
            until(|| gate.waiting() == 2);
            goes_on(&procs);
            assert!(!next.is_finished() && task.as_ref().is_none_or(|task| !task.is_finished()));
            drop(gate);
            next.join().unwrap();
            if let Some(task) = &mut task {
                task.join_timeout(LIMIT).unwrap();
            }
            if let Some(caller) = caller {
                caller.join().unwrap().unwrap();
            }
        }
    }

    /// There is one idle decoding thread, and two results come at once.
    fn two_that_are_slow_to_decode_do_not_wait_for_each_other() {
        let procs = pool(2);
        for _ in 0..20 {
            drop(procs.call(|_: u8| Held).map_task(0..2u8).join());
            let gate = Gate::close();
            let all = [(); 4].map(|()| procs.spawn((), |()| Held));
            until(|| gate.waiting() == 4);
            drop(gate);
            for mut task in all {
                task.join_timeout(LIMIT).unwrap();
            }
        }
    }

    /// However many hang, a result of another type is decoded at once, also if nobody joins it.
    fn results_that_hang_hold_up_no_other_type() {
        let procs = pool(2);
        let gate = Gate::close();
        let hung: Vec<_> = (0..14).map(|_| procs.spawn((), |()| Held)).collect();
        until(|| gate.waiting() > 0);
        let begin = Instant::now();
        let others: Vec<_> = (4..24).map(|n| procs.spawn(n, Odd)).collect();
        until(|| others.iter().all(Task::is_finished));
        assert!(begin.elapsed() < LIMIT / 10, "{:?}", begin.elapsed());
        goes_on(&procs);
        drop(gate);
        for task in hung {
            task.join().unwrap();
        }
    }

    /// A caller gets its own result back to decode it, although all of the pool's threads for
    /// results of this type hang.
    fn a_caller_that_waits_decodes_its_result_itself() {
        let procs = pool(2);
        let gate = Gate::close();
        let sometimes = |held: bool| procs.spawn(held, |held: bool| {
            if !held {
                spin(20_000); // longer than a caller polls
            }
            Sometimes(held)
        });
        let mut hung: Vec<_> = (0..80).map(|_| sometimes(true)).collect();
        until(|| gate.waiting() > 3);
        let (tell, told) = mpsc::channel();
        let task = sometimes(false);
        let caller = thread::spawn(move || {
            let _ = tell.send(task.join().map(|own| own.0));
        });
        let answer = told.recv_timeout(LIMIT);
        drop(gate);
        assert!(matches!(answer, Ok(Ok(false))), "{answer:?}");
        caller.join().unwrap();
        for task in &mut hung {
            assert!(task.join_timeout(LIMIT).unwrap().0);
        }
    }

    /// While a result is being decoded, its task can be cancelled, and the pool can end.
    fn nothing_waits_for_a_result_that_is_being_decoded() {
        let ends: [fn(ProcessPool); 4] = [
            |procs| procs.kill(),
            |procs| procs.shutdown_timeout(Shutdown::Wait, Duration::from_millis(50)),
            |procs| procs.shutdown_timeout(Shutdown::CancelPending, Duration::ZERO),
            drop,
        ];
        for end in ends {
            let procs = pool(2);
            let gate = Gate::close();
            let mut one = procs.spawn((), |()| Held);
            let mut many = procs.call(|_: u8| Held).map_task(0..3u8);
            let cancelled = procs.spawn((), |()| Held);
            until(|| gate.waiting() > 2);
            assert!(cancelled.cancel() && cancelled.is_finished());
            let (tell, told) = mpsc::channel();
            let ends = thread::spawn(move || {
                end(procs);
                tell.send(()).unwrap();
            });
            told.recv_timeout(LIMIT).unwrap();
            assert!(matches!(one.join_timeout(LIMIT), Err(TaskError::Cancelled)));
            assert!(matches!(many.join_timeout(LIMIT), Err(TaskError::Cancelled)));
            drop(gate);
            ends.join().unwrap();
        }
    }

    /// Nor does a call that is awaited wait until another caller has decoded its result.
    fn what_is_awaited_waits_for_no_decoding() {
        let procs = pool(1);
        for _ in 0..10 {
            thread::sleep(LULL); // the driver sleeps without a limit
            let gate = Gate::close();
            thread::scope(|scope| {
                scope.spawn(|| procs.spawn((), |()| Held).join().unwrap());
                until(|| gate.waiting() == 1);
                let (tell, told) = mpsc::channel();
                let quick = procs.spawn(1, double);
                quick.on_done(move |result| tell.send(result.unwrap()).unwrap());
                let answer = told.recv_timeout(LIMIT);
                drop(gate);
                assert_eq!(answer.unwrap(), 2);
            });
        }
    }

    /// `Shutdown::Wait` waits for it, too; and a timeout limits only the run, which is over.
    fn a_result_that_is_being_decoded_is_waited_for() {
        let procs = pool(1);
        let gate = Gate::close();
        let limited = |limit| procs.call(|()| Held).timeout(limit).spawn(());
        let mut limit = Duration::from_millis(20);
        let mut task = limited(limit);
        until(|| {
            // On a busy machine the run may take longer than the timeout.
            if task.is_finished() {
                limit *= 2;
                task = limited(limit);
            }
            gate.waiting() == 1
        });
        let many = procs.call(|_: u8| Held).map_task(0..3u8);
        // More, if its results come one by one.
        until(|| gate.waiting() >= 2);
        goes_on(&procs);
        let ends = thread::spawn(move || procs.shutdown(Shutdown::Wait));
        thread::sleep(LULL.max(2 * limit));
        assert!(!ends.is_finished() && !task.is_finished());
        drop(gate);
        ends.join().unwrap();
        assert!(task.is_finished() && many.is_finished());
        task.join_timeout(LIMIT).unwrap();
        assert_eq!(many.join().unwrap().len(), 3);
    }

    /// A callback takes long, and the pool waits for it; its threads sleep meanwhile.
    #[cfg(unix)]
    fn no_thread_spins_while_a_callback_runs() {
        let procs = pool(1);
        let (called, calls) = mpsc::channel();
        let (release, released) = mpsc::channel::<()>();
        let scratch = Scratch::new("callback");
        // It ends only after it has its callback, which would be called at once otherwise, here.
        let held = procs.spawn(scratch.text(), |path: String| {
            until(|| noted(&path) > 0);
            Held
        });
        held.on_done(move |_| {
            called.send(()).unwrap();
            let _ = released.recv();
        });
        note(&scratch.text(), 1);
        calls.recv().unwrap();
        thread::scope(|scope| {
            let ends = scope.spawn(|| procs.shutdown(Shutdown::Wait));
            until(|| procs.worker_pids().is_empty());
            thread::sleep(LULL);
            let before = sleeps();
            thread::sleep(Duration::from_millis(200));
            let more = |(thread, count)| count - before.get(&thread).unwrap_or(&0);
            let most = sleeps().into_iter().map(more).max();
            assert!(!ends.is_finished());
            assert!(most.is_some_and(|most| most < 20), "{most:?} wake-ups");
            drop(release);
        });
    }

    /// The answer of a process counts, even if the process ends while the answer is being decoded.
    fn an_answer_of_a_process_that_ends_meanwhile_counts() {
        let gate = Gate::close();
        let process = trefoil::Process::spawn((), |()| Held).unwrap();
        until(|| gate.waiting() == 1);
        process.kill();
        until(|| !process.is_alive());
        drop(gate);
        process.join().unwrap();
    }

    fn the_destructor_of_an_unwanted_result_delays_no_call() {
        let procs = pool(2);
        let gate = Gate::close();
        let scratch = Scratch::new("unwanted");
        // It ends only after it was detached; otherwise the caller would run the destructor.
        let unwanted = procs.spawn(scratch.text(), |path: String| {
            until(|| noted(&path) > 0);
            Kept(false)
        });
        unwanted.detach();
        note(&scratch.text(), 1);
        let all = procs.call(|n: u8| match n {
            3 => panic!("the last"),
            _ => Kept(false),
        });
        let mut failed = all.map_task(0..4);
        assert!(matches!(failed.join_timeout(LIMIT), Err(TaskError::Panicked(_))));
        until(|| gate.waiting() >= 2);
        goes_on(&procs);
        drop(gate);
    }

    /// Finds out whether the driver decodes a result, because the thread that decodes it runs its
    /// callbacks.
    fn what_is_large_is_not_decoded_by_the_driver() {
        let procs = pool(1);
        let place = |length: usize| {
            let (scratch, (tell, told)) = (Scratch::new("place"), mpsc::channel());
            let task = procs.spawn((scratch.text(), length), |(path, length): (String, usize)| {
                until(|| noted(&path) > 0); // the caller has registered a callback
                vec![1u64; length]
            });
            task.on_done(move |_| tell.send(thread::current().id()).unwrap());
            note(&scratch.text(), 1);
            told.recv().unwrap()
        };
        let driver = place(10);
        assert_eq!(place(100), driver);
        assert_ne!(place(1 << 20), driver);
        assert_eq!(place(1000), driver);
        // Nor a result that is large only in memory.
        let (scratch, (tell, told)) = (Scratch::new("nothings"), mpsc::channel());
        let nothings = procs.spawn((scratch.text(), 10), |(path, length): (String, usize)| {
            until(|| noted(&path) > 0);
            (0..length).map(|_| ()).collect::<LinkedList<()>>()
        });
        nothings.on_done(move |_| tell.send(thread::current().id()).unwrap());
        note(&scratch.text(), 1);
        assert_ne!(told.recv().unwrap(), driver);
    }
}

/// Checks that all other calls go on.
fn goes_on(procs: &ProcessPool) {
    assert_eq!(procs.spawn(4, double).join_timeout(LIMIT).unwrap(), 8);
    assert_eq!(procs.spawn(7, Odd).join_timeout(LIMIT).unwrap().0, 7);
    let all = procs
        .call(|n: u8| Odd(n))
        .map_task([4, 5, 6])
        .join_timeout(LIMIT);
    assert_eq!(all.unwrap().len(), 3);
    let endless = procs.call(|()| support::forever::<()>());
    let mut late = endless.timeout(Duration::from_millis(20)).spawn(());
    assert!(matches!(
        late.join_timeout(LIMIT),
        Err(TaskError::TimedOut(_))
    ));
    assert!(late.is_finished());
}

static CLOSED: Mutex<bool> = Mutex::new(false);
static OPENED: Condvar = Condvar::new();
static WAITING: AtomicUsize = AtomicUsize::new(0);

/// How often each thread of this process's pools has slept.
#[cfg(unix)]
fn sleeps() -> HashMap<String, u64> {
    let of = |task: std::fs::DirEntry| -> Option<(String, u64)> {
        let status = std::fs::read_to_string(task.path().join("status")).ok()?;
        let field = |name: &str| status.lines().find_map(|line| line.strip_prefix(name));
        let ours = field("Name:\t")? == "trefoil-proc";
        let sleeps = field("voluntary_ctxt_switches:\t")?.parse().ok()?;
        ours.then(|| (field("Pid:\t").unwrap().to_owned(), sleeps))
    };
    let tasks = std::fs::read_dir("/proc/self/task").unwrap();
    tasks.filter_map(|task| of(task.ok()?)).collect()
}

/// While it exists, threads that reach it wait.
struct Gate;

impl Gate {
    fn close() -> Self {
        until(|| WAITING.load(Ordering::SeqCst) == 0);
        *CLOSED.lock().unwrap() = true;
        Self
    }

    fn waiting(&self) -> usize {
        WAITING.load(Ordering::SeqCst)
    }

    fn pass() {
        WAITING.fetch_add(1, Ordering::SeqCst);
        drop(OPENED.wait_while(CLOSED.lock().unwrap(), |closed| *closed));
        WAITING.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Drop for Gate {
    fn drop(&mut self) {
        *CLOSED.lock().unwrap() = false;
        OPENED.notify_all();
    }
}

/// Waits at the gate when it is decoded.
#[derive(Debug)]
struct Held;

impl Serialize for Held {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u8(0)
    }
}

impl<'de> Deserialize<'de> for Held {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        u8::deserialize(deserializer)?;
        Gate::pass();
        Ok(Self)
    }
}

/// Waits at the gate when it is decoded, if it says so.
#[derive(Debug)]
struct Sometimes(bool);

impl Serialize for Sometimes {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bool(self.0)
    }
}

impl<'de> Deserialize<'de> for Sometimes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let held = bool::deserialize(deserializer)?;
        if held {
            Gate::pass();
        }
        Ok(Self(held))
    }
}

/// Waits at the gate when it is dropped, once it has been decoded.
struct Kept(bool);

impl Serialize for Kept {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u8(0)
    }
}

impl<'de> Deserialize<'de> for Kept {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        u8::deserialize(deserializer).map(|_| Self(true))
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        if self.0 {
            Gate::pass();
        }
    }
}
