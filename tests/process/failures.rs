//! Failures: of which item, for which reason, and which are retried.

use crate::support;

use std::process::abort;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::StreamExt;
use serde::{Deserialize, Serialize, Serializer, ser};
use support::{ABORTED, Scratch, Test, end_of, forever, note, noted, pool, tests, until};
use trefoil::{ProcessPool, Shutdown, Task, TaskError};

/// What is said of a worker that has called `abort`.
const ABORT: &str = match cfg!(windows) {
    true => "abort (0xC0000409)",
    false => "signal 6 (SIGABRT)",
};

/// Longer than any test.
const HOUR: Duration = Duration::from_secs(3600);

fn millis(n: u64) -> Duration {
    Duration::from_millis(n)
}

/// Every way to fail, by its number.
fn fragile(n: u64) -> u64 {
    match n % 10 {
        3 => panic!("three"),
        5 => abort(),
        7 => forever(),
        _ => n * 2,
    }
}

/// Runs for ever the first time, and dies the second.
fn third_time((n, path): (u64, String)) -> u64 {
    note(&path, n);
    let runs = std::fs::read(&path).unwrap();
    match runs
        .chunks(8)
        .filter(|word| *word == n.to_ne_bytes())
        .count()
    {
        1 if n == 3 => forever(),
        2 if n == 3 => abort(),
        _ => n,
    }
}

/// A value that cannot be encoded if it is 4.
#[derive(Clone, Debug, PartialEq, Deserialize)]
struct NotFour(u64);

impl Serialize for NotFour {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            4 => Err(ser::Error::custom("never four")),
            n => serializer.serialize_u64(n),
        }
    }
}

/// Cannot be encoded.
#[derive(serde::Deserialize)]
struct Unwritten;

impl Serialize for Unwritten {
    fn serialize<S: Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
        Err(ser::Error::custom("it is not written"))
    }
}

tests! {
    fn a_hook_gets_what_has_failed_before_the_caller() {
        let seen = Arc::new(std::sync::Mutex::new(Vec::new()));
        let sees = seen.clone();
        let builder = ProcessPool::builder().workers(2).on_failed_item(move |failed| {
            let argument = failed.argument();
            let bytes = serde_json::to_string(&argument).unwrap();
            let again: trefoil::process::Encoded = serde_json::from_str(&bytes).unwrap();
            let argument: u64 = argument.decode().unwrap();
            assert_eq!(again.decode::<u64>().unwrap(), argument);
            let context: Option<u64> = failed.context().map(|context| context.decode().unwrap());
            assert_eq!(failed.argument_type(), "u64");
            sees.lock().unwrap().push((failed.item(), argument, context, failed.function()));
            failed.note(format!("{:?} has failed", failed.name()));
        });
        let procs = builder.build().unwrap();
        let call = procs.call(fragile).name("fragile");
        let by_hook = |error: &TaskError| error.note().map(str::to_owned);
        let note = Some(r#"Some("fragile") has failed"#.to_owned());
        let error = call.map([0, 1, 13, 2]).unwrap_err();
        assert!(by_hook(&error) == note && error.to_string().ends_with("has failed"), "{error}");
        assert_eq!(seen.lock().unwrap().pop().unwrap(), (Some(2), 13, None, fragile as fn(u64) -> u64 as usize));
        let late = call.clone().timeout(millis(20)).spawn(7).join().unwrap_err();
        let died = call.map_each([5]).pop().unwrap().unwrap_err();
        assert!(by_hook(&late) == note && by_hook(&died) == note, "{late} {died}");
        assert_eq!(seen.lock().unwrap().drain(..).map(|one| one.1).collect::<Vec<_>>(), [7, 5]);
        // Of several runs, the last.
        let again = call.clone().retry(2).spawn(5).join().unwrap_err();
        assert!(by_hook(&again) == note && seen.lock().unwrap().drain(..).count() == 1);
        let with = procs.map_with(&3u64, [4], |_: &u64, n: u64| -> u64 { panic!("{n}") });
        assert_eq!(by_hook(&with.unwrap_err()).as_deref(), Some("None has failed"));
        let (item, argument, context, _) = seen.lock().unwrap().pop().unwrap();
        assert_eq!((item, argument, context), (Some(0), 4, Some(3)));
        // What the caller cannot have sent did not run.
        assert_eq!(call.map([1, 2]).unwrap(), [2, 4]);
        let unsent = procs.spawn(NotFour(4), |four: NotFour| four.0).join().unwrap_err();
        assert!(by_hook(&unsent).is_none() && seen.lock().unwrap().is_empty());
        // A call's own, in its place; one that panics.
        let own = call.clone().on_failed_item(|failed| failed.note("its own")).spawn(3);
        assert_eq!(own.join().unwrap_err().note(), Some("its own"));
        let panics = call.on_failed_item(|_| panic!("the hook")).spawn(3).join().unwrap_err();
        assert!(matches!(&panics, TaskError::Panicked(_)) && panics.note().is_none());
        assert!(seen.lock().unwrap().is_empty());
        assert_eq!(procs.stats().pending, 0);
    }

    /// What it does not wait for: its own call, and the end of its pool.
    fn a_hook_may_wait_for_other_calls() {
        let other = pool(1);
        let own = Arc::new(std::sync::Mutex::new(None::<ProcessPool>));
        let call = Arc::new(std::sync::Mutex::new(None::<Task<u64>>));
        let (sender, notes) = std::sync::mpsc::channel();
        let procs = ProcessPool::builder().workers(1).on_failed_item({
            let (own, call) = (own.clone(), call.clone());
            move |failed| {
                failed.note("a hook has got it");
                let pool = own.lock().unwrap().take().unwrap();
                let elsewhere = other.spawn(1, fragile).join();
                assert_eq!(other.map([1, 2], fragile).unwrap(), [2, 4]);
                let here = pool.spawn(2, fragile).join_timeout(HOUR);
                let text = pool.spawn(0, |n: u64| vec![Some(n)]).join();
                let fails = pool.spawn(3, fragile).join().unwrap_err();
                assert!(matches!(&fails, TaskError::Panicked(_)) && fails.note().is_none(), "{fails}");
                let mut handle = call.lock().unwrap().take().unwrap();
                assert!(matches!(handle.join_timeout(millis(1)), Err(TaskError::TimedOut(_))));
                let itself = handle.map(|n| n + 1).join();
                pool.shutdown(Shutdown::Wait);
                sender.send((elsewhere, here, text, itself)).unwrap();
            }
        });
        let procs = procs.build().unwrap();
        *own.lock().unwrap() = Some(procs.clone());
        let mut handle = call.lock().unwrap();
        *handle = Some(procs.spawn(13, fragile));
        drop(handle);
        let (elsewhere, here, text, itself) = notes.recv_timeout(Duration::from_secs(60)).unwrap();
        assert_eq!((elsewhere.unwrap(), here.unwrap(), text.unwrap()), (2, 4, vec![Some(0)]));
        assert!(matches!(itself, Err(TaskError::WouldBlock)), "{itself:?}");
        procs.shutdown(Shutdown::Wait);
        assert!(matches!(procs.spawn(1, fragile).join(), Err(TaskError::Closed)));
    }

    fn a_hook_does_not_wait_for_results_of_its_own_call() {
        type Results = trefoil::process::Imap<std::vec::IntoIter<u64>, u64>;
        let results = Arc::new(std::sync::Mutex::new(None::<Results>));
        let (sender, notes) = std::sync::mpsc::channel();
        let theirs = results.clone();
        let procs = ProcessPool::builder().workers(1).on_failed_item(move |_| {
            let mut results = theirs.lock().unwrap();
            sender.send(results.as_mut().and_then(Iterator::next)).unwrap();
        });
        let procs = procs.build().unwrap();
        let mut own = results.lock().unwrap();
        let mut call = procs.imap(vec![1, 13], fragile);
        assert_eq!(call.next().unwrap().unwrap(), 2);
        *own = Some(call);
        drop(own);
        let heard = notes.recv_timeout(Duration::from_secs(60)).unwrap();
        assert!(matches!(heard, Some(Err(TaskError::WouldBlock))), "{heard:?}");
        let mut own = results.lock().unwrap();
        assert!(own.as_mut().and_then(Iterator::next).is_none(), "it has ended");
    }

    fn each_item_has_its_own_result() {
        let procs = pool(2);
        // Long enough for a panic with a backtrace.
        let call = procs.call(fragile).timeout(millis(2_000));
        let results = call.map_each(0..20);
        assert_eq!(results.len(), 20);
        for (n, result) in (0..).zip(results) {
            match (n % 10, result) {
                (3, Err(TaskError::Panicked(panic))) => assert_eq!(panic.message(), "three"),
                (5, Err(TaskError::WorkerDied(exit))) => assert_eq!(end_of(&exit), ABORTED),
                (7, Err(TaskError::TimedOut(_))) => {}
                (_, result) => assert_eq!(result.unwrap(), n * 2),
            }
        }
        let written = procs.map_each((0..9).map(NotFour), |n: NotFour| n);
        for (n, result) in (0..).zip(written) {
            match (n, result) {
                (4, Err(error @ TaskError::Codec(_))) => {
                    assert_eq!(error.item(), Some(4), "{error}");
                    assert!(error.to_string().contains("never four"));
                }
                (n, result) => assert_eq!(result.unwrap(), NotFour(n)),
            }
        }
        let many = procs.map_each(0..50_000u64, |n| n + 1);
        assert!((1..).zip(&many).all(|(n, result)| result.as_ref().ok() == Some(&n)) && many.len() == 50_000);
        assert!(procs.map_each(Vec::<u64>::new(), fragile).is_empty());
    }

    fn each_item_is_refused_where_nothing_may_block_and_after_the_end() {
        let procs = pool(1);
        let refused = trefoil::run(async { procs.map_each([1, 2, 3], fragile) });
        assert!(refused.len() == 3 && refused.iter().all(|result| matches!(result, Err(TaskError::WouldBlock))));
        assert_eq!(procs.stats().completed, 0);
        let input = (0..5).inspect(|n| if *n == 2 { panic!("the input") });
        let call = std::panic::AssertUnwindSafe(|| procs.map_each(input, fragile));
        assert!(std::panic::catch_unwind(call).is_err());
        assert_eq!(procs.map_each([1], fragile)[0].as_ref().ok(), Some(&2));
        procs.shutdown(Shutdown::Wait);
        let closed = procs.map_each(0..40_000, fragile);
        assert!(closed.iter().all(|result| matches!(result, Err(TaskError::Closed))));
        assert_eq!(closed.len(), 40_000);
    }

    fn results_out_of_order_say_of_which_item_they_are() {
        let procs = pool(2);
        let call = procs.call(fragile).timeout(millis(2_000));
        let mut seen = [false; 20];
        for (index, result) in call.imap_unordered(0..20).with_index() {
            let n = index as u64;
            match n % 10 {
                3 | 5 | 7 => assert!(result.is_err()),
                _ => assert_eq!(result.unwrap(), n * 2),
            }
            assert!(!std::mem::replace(&mut seen[index], true));
        }
        assert!(seen.iter().all(|seen| *seen));
        let ordered: Vec<usize> = procs.imap(10..15, fragile).with_index().map(|(index, _)| index).collect();
        assert_eq!(ordered, [0, 1, 2, 3, 4]);
        let streamed = procs.imap_unordered([0, 1, 2, 13, 4], fragile).with_index().stream();
        let mut streamed: Vec<(usize, Option<u64>)> =
            trefoil::run(streamed.map(|(index, result)| (index, result.ok())).collect::<Vec<_>>());
        streamed.sort_unstable();
        assert_eq!(streamed, [(0, Some(0)), (1, Some(2)), (2, Some(4)), (3, None), (4, Some(8))]);
        let from_stream = procs.imap([1, 2], fragile).stream().with_index();
        assert_eq!(trefoil::run(from_stream.map(|(index, _)| index).collect::<Vec<_>>()), [0, 1]);
    }

    /// The errors of items that have not ended when the pool does have their indices, too, each
    /// once.
    fn what_is_lost_with_the_pool_says_of_which_item_it_is() {
        let procs = pool(1);
        let scratch = Scratch::new("lost");
        let path = scratch.text();
        let items = (0..12u64).map(move |n| (n, path.clone()));
        let first_ends = |(n, path): (u64, String)| { note(&path, n); if n > 0 { forever() } };
        let mut results = procs.imap_unordered(items, first_ends).buffer(6).with_index();
        assert!(matches!(results.next(), Some((0, Ok(())))));
        until(|| noted(&scratch.text()) == 2);
        procs.kill();
        let mut lost: Vec<usize> = results.map(|(index, result)| { assert!(result.is_err()); index }).collect();
        lost.sort_unstable();
        let expected: Vec<usize> = (1..=lost.len()).collect();
        assert!(lost == expected && lost.len() >= 5, "{lost:?}");
    }

    fn the_error_of_a_map_names_its_item() {
        let procs = pool(2);
        let says = |items: &[u64]| procs.map(items.iter().copied(), fragile).unwrap_err().to_string();
        let panicked = says(&[0, 1, 3, 2]);
        assert!(panicked.starts_with("item 2: panicked at ") && panicked.ends_with("three"), "{panicked}");
        let died = says(&[0, 5]);
        assert!(died.starts_with("item 1: worker process ") && died.contains(ABORT), "{died}");
        let codec = procs.map((0..9).map(NotFour), |n: NotFour| n).unwrap_err().to_string();
        assert!(codec.starts_with("item 4: an argument of type "), "{codec}");
        let context = procs.map_with(&1, [1, 3], |_: &u8, n: u64| fragile(n)).unwrap_err().to_string();
        assert!(context.starts_with("item 1: panicked"), "{context}");
        let one = procs.spawn(3, fragile).join().unwrap_err().to_string();
        assert!(one.starts_with("panicked at "), "{one}");
    }

    #[cfg(unix)]
    fn a_death_by_a_signal_is_told_by_its_name() {
        let procs = pool(1);
        let killed = procs.spawn((), |()| -> () { loop { support::signal(std::process::id(), rustix::process::Signal::SEGV) } });
        let killed = killed.join().unwrap_err().to_string();
        assert!(killed.contains("signal 11 (SIGSEGV)"), "{killed}");
    }

    fn clones_are_the_same_pool_and_the_last_one_ends_it() {
        let procs = pool(1);
        let [one, two] = [procs.clone(), procs.clone()];
        let pids = procs.worker_pids();
        drop(procs);
        assert_eq!(one.spawn((), |()| std::process::id()).join().unwrap(), pids[0]);
        let thread = std::thread::spawn(move || one.map([1, 2], fragile).unwrap());
        assert_eq!(thread.join().unwrap(), [2, 4]);
        let three = two.clone();
        let running = two.spawn((), |()| -> () { forever() });
        three.kill();
        assert!(matches!(running.join(), Err(TaskError::Cancelled)));
        assert!(matches!(two.spawn(1, fragile).join(), Err(TaskError::Closed)));
        let (last, task) = { let last = pool(1); let task = last.spawn((), |()| -> () { forever() }); (last.clone(), task) };
        let pid = last.worker_pids()[0];
        drop(last);
        assert!(matches!(task.join(), Err(TaskError::Cancelled)));
        assert!(!support::is_there(pid));
    }

    fn a_context_with_options() {
        let procs = pool(2);
        let scratch = Scratch::new("context");
        let third = |path: &String, n: u64| third_time((n, path.clone()));
        let again = procs.call(third_time).timeout(millis(1_000)).retry(2).retry_on_timeout(true);
        assert_eq!(again.map_with(&scratch.text(), 0..6, third).unwrap(), [0, 1, 2, 3, 4, 5]);
        assert_eq!(procs.stats().timed_out, 1);
        let refused = trefoil::run(async { again.map_with(&scratch.text(), [1], third) });
        assert!(matches!(refused, Err(TaskError::WouldBlock)));
        let refused = trefoil::run(async { procs.map_with(&scratch.text(), [1], third) });
        assert!(matches!(refused, Err(TaskError::WouldBlock)));
    }

    fn a_call_with_a_context_has_all_forms() {
        for plain in [false, true] {
            let procs = ProcessPool::builder().workers(2).plain_workers(plain).build().unwrap();
            let words: Vec<String> = (0..3).map(|n| format!("word {n}").repeat(10_000)).collect();
            let call = procs.call_with(&words, |words: &Vec<String>, n: usize| words[n].len() + n);
            let call = call.timeout(Duration::from_secs(60)).clone();
            let length = words[0].len();
            assert_eq!(call.spawn(1).join().unwrap(), length + 1);
            assert_eq!(call.map([0, 2]).unwrap(), [length, length + 2]);
            assert_eq!(call.map_task([2]).join().unwrap(), [length + 2]);
            let each = call.map_each([0, 3]);
            assert_eq!(*each[0].as_ref().unwrap(), length);
            assert!(matches!(each[1], Err(TaskError::Panicked(_))));
            assert_eq!(call.imap((0..1000).map(|n| n % 3)).map(Result::unwrap).sum::<usize>(), 1000 * length + 999);
            assert_eq!(call.imap_unordered([1]).next().unwrap().unwrap(), length + 1);
            // What cannot be encoded is an error of each call.
            let refused = procs.call_with(&Unwritten, |_: &Unwritten, n: u8| n);
            assert!(matches!(refused.map([1, 2]), Err(TaskError::Codec(_))));
            assert!(matches!(refused.spawn(1).join(), Err(TaskError::Codec(_))));
            assert!(refused.imap([1]).all(|result| matches!(result, Err(TaskError::Codec(_)))));
        }
    }

    /// Its options are those of `call`, and it can be used from several threads, and again.
    fn a_call_with_a_context_has_all_options() {
        let procs = pool(2);
        let scratch = Scratch::new("options");
        let twice = procs.call_with(&scratch.text(), |path: &String, n: u64| third_time((n, path.clone())));
        let twice = twice.retry(2).retry_on_timeout(true).backoff(millis(1)).timeout(millis(1_000));
        let twice = twice.chunk_size(1).priority(3).name("third");
        assert_eq!(twice.spawn(1).name(), Some("third"));
        assert_eq!(twice.map(0..6).unwrap(), [0, 1, 2, 3, 4, 5]);
        assert_eq!((procs.stats().timed_out, procs.stats().died), (1, 2));
        // The first use has ended, and the context is still there.
        assert_eq!(twice.map([4, 5]).unwrap(), [4, 5]);
        std::thread::scope(|scope| {
            let uses = [10, 20].map(|n| scope.spawn({ let twice = &twice; move || twice.map(n..n + 5).unwrap() }));
            for (found, n) in uses.into_iter().zip([10, 20]) {
                assert_eq!(found.join().unwrap(), (n..n + 5).collect::<Vec<_>>());
            }
        });
        let none = twice.map([]).unwrap();
        assert!(none.is_empty() && twice.map_each([]).is_empty() && twice.imap([]).next().is_none());
        // On a loop nothing blocks, and what is awaited works.
        let (refused, each, awaited) = trefoil::run(async {
            (twice.map([1]), twice.map_each([1]), twice.map_task([1, 2]).await)
        });
        assert!(matches!(refused, Err(TaskError::WouldBlock)));
        assert!(matches!(each[..], [Err(TaskError::WouldBlock)]));
        assert_eq!(awaited.unwrap(), [1, 2]);
        // Another function takes its place, and another context.
        let other = twice.map_with(&10u64, [1, 2], |factor: &u64, n: u64| factor * n);
        assert_eq!(other.unwrap(), [10, 20]);
        let ended = twice.clone();
        let task = ended.map_task((0..4).map(|_| 8));
        assert!(task.cancel() || task.is_finished());
        procs.clone().kill();
        assert!(matches!(ended.spawn(1).join(), Err(TaskError::Closed)));
    }

    fn what_runs_for_too_long_may_run_again() {
        for ordered in [true, false] {
            let procs = pool(2);
            let scratch = Scratch::new("again");
            let items = || (0..6).map(|n| (n, scratch.text()));
            let call = procs.call(third_time).timeout(millis(1_000)).retry(2).retry_on_timeout(true);
            match ordered {
                true => assert_eq!(call.map(items()).unwrap(), [0, 1, 2, 3, 4, 5]),
                false => {
                    let results = call.imap_unordered(items()).with_index();
                    assert_eq!(results.map(|(index, result)| assert_eq!(result.unwrap(), index as u64)).count(), 6);
                }
            }
            let notes = scratch.notes();
            assert_eq!(notes.iter().filter(|n| **n == 3).count(), 3);
            assert_eq!((procs.stats().timed_out, procs.stats().retried), (1, 2));
            let once = procs.call(|()| -> () { forever() }).timeout(millis(20)).retry(5);
            assert!(matches!(once.spawn(()).join(), Err(TaskError::TimedOut(_))));
        }
    }

    /// The number of attempts is right, and no two overlap.
    fn attempts_do_not_overlap() {
        let procs = ProcessPool::builder().workers(2).grace(millis(300)).build().unwrap();
        let scratch = Scratch::new("overlap");
        let stubborn = |path: String| -> () {
            note(&path, std::process::id().into());
            let others = std::fs::read(&path).unwrap();
            for pid in others.chunks(8).map(|word| u64::from_ne_bytes(word.try_into().unwrap())) {
                let pid = pid as u32;
                assert!(pid == std::process::id() || support::is_dead(pid), "both run");
            }
            forever::<()>();
        };
        let call = procs.call(stubborn).timeout(millis(20)).retry(2).retry_on_timeout(true);
        let ended = call.spawn(scratch.text()).join();
        assert!(matches!(ended, Err(TaskError::TimedOut(_))), "{ended:?}");
        assert_eq!(scratch.notes().len(), 3);
    }

    fn pauses_double_and_delay_no_other_item() {
        let procs = pool(1);
        let hopeless = |()| -> () { abort() };
        let begin = Instant::now();
        let died = procs.call(hopeless).retry(3).backoff(millis(20)).spawn(()).join();
        assert!(matches!(died, Err(TaskError::WorkerDied(exit)) if exit.attempts() == 4));
        assert!(begin.elapsed() >= millis(20 + 40 + 80));
        let paused = procs.call(hopeless).retry(3).backoff(HOUR).spawn(());
        until(|| procs.stats().retried == 4);
        assert_eq!(procs.map(0..3, fragile).unwrap(), [0, 2, 4]);
        assert_eq!(procs.spawn(1, fragile).join().unwrap(), 2);
        assert!(paused.cancel());
        assert!(matches!(paused.join(), Err(TaskError::Cancelled)));
        until(|| procs.stats().pending == 0);
    }

    fn a_pool_ends_in_spite_of_pauses() {
        let hopeless = |n: u64| -> u64 { if n == 0 { abort() } n };
        for kills in [false, true] {
            let procs = pool(1);
            let call = procs.call(hopeless).retry(9).backoff(HOUR);
            let (one, all) = (call.spawn(0), call.map_task([1, 0, 2]));
            let mut each = call.imap_unordered([0, 1]);
            assert_eq!(each.next().unwrap().unwrap(), 1);
            until(|| procs.stats().retried == 3);
            match kills {
                false => procs.shutdown(Shutdown::CancelPending),
                true => procs.kill(),
            }
            for ended in [one.join().map(drop), all.join().map(drop), each.next().unwrap().map(drop)] {
                assert!(matches!(ended, Err(TaskError::Cancelled)), "{ended:?}");
            }
            assert!(each.next().is_none());
        }
    }

    /// A failure with a lower index ends a `map` although a later item still pauses.
    fn a_failed_map_waits_for_no_pause() {
        let procs = pool(2);
        let scratch = Scratch::new("lower");
        let f = |(n, path): (u64, String)| -> u64 {
            if n == 1 {
                note(&path, 1);
                abort()
            }
            until(|| noted(&path) > 0);
            panic!("the first")
        };
        std::fs::write(scratch.text(), []).unwrap();
        let call = procs.call(f).retry(1).backoff(HOUR).chunk_size(1);
        let error = call.map([0, 1].map(|n| (n, scratch.text()))).unwrap_err();
        assert!(error.to_string().starts_with("item 0: panicked"), "{error}");
    }

    fn shared_by_threads() {
        let procs = Arc::new(pool(2));
        let handles: Vec<ProcessPool> = (0..4).map(|_| ProcessPool::clone(&procs)).collect();
        drop(procs);
        let sums = trefoil::ThreadPool::with_threads(4).map(handles, |procs| procs.map(0..3, |n: u64| n).unwrap().len());
        assert_eq!(sums, [3; 4]);
    }
}
