//! `Remote` results, and the options of calls for engines.

use crate::support::{self, Scratch, Test, descriptors, note, noted, pool, tests, until};

use std::sync::{OnceLock, mpsc};
use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize};
use trefoil::{Bulk, ProcessPool, Remote, Shared, Shutdown, TaskError, TaskReport};

/// Waits until a file is there.
fn wait_for(path: String) -> u64 {
    until(|| noted(&path) > 0);
    7
}

/// Some of the possible inputs.
#[derive(Debug, Serialize, Deserialize)]
struct Inputs {
    name: String,
    all: Vec<Remote<Vec<u32>>>,
    maybe: Option<Remote<u64>>,
}

/// It can be written, and not read.
#[derive(Debug, Serialize)]
struct Fussy;

impl<'de> Deserialize<'de> for Fussy {
    fn deserialize<D: Deserializer<'de>>(_: D) -> Result<Self, D::Error> {
        Err(serde::de::Error::custom("not this one"))
    }
}

tests! {
    fn calls_that_need_one_another_are_calls() {
        let procs = pool(2);
        for size in [0u32, 100, 100_000] {
            let one = procs.spawn_remote(size, |size| (0..size).collect::<Vec<u32>>());
            let two = procs.spawn_remote(one.clone(), |one: Remote<Vec<u32>>| {
                one.iter().map(|n| n * 2).collect::<Vec<u32>>()
            });
            let inputs = Inputs { name: "n".to_owned(), all: vec![one.clone(), two.clone(), two.clone()], maybe: None };
            let sum = procs.spawn(inputs, |inputs: Inputs| {
                let again = inputs.all[1].clone().into_inner().len();
                assert!(inputs.maybe.is_none() && inputs.name == "n" && again == inputs.all[2].len());
                inputs.all.iter().flat_map(|some| some.iter()).map(|n| u64::from(*n)).sum::<u64>()
            });
            let size = u64::from(size);
            assert_eq!(sum.join().unwrap(), 5 * size * size.saturating_sub(1) / 2);
            // Fetched more than once, and after it is there.
            assert_eq!(one.fetch().join().unwrap().len() as u64, size);
            assert_eq!(two.fetch().join().unwrap().last().copied(), size.checked_sub(1).map(|n| 2 * n as u32));
            two.ready().join().unwrap();
            let back = procs.spawn(two, |two: Remote<Vec<u32>>| (two.fetch().join().unwrap().len(), two));
            let (length, two) = back.join().unwrap();
            assert_eq!((length, two.len()), (size as usize, size as usize), "here it is a value");
            // Many items, when it is there.
            let nth = procs.map((0..9).map(|n| (n, one.clone())), |(n, one): (usize, Remote<Vec<u32>>)| one.get(n).copied());
            assert_eq!(nth.unwrap()[3], (size > 3).then_some(3));
            let nth = procs.map_with(&one, 0..9, |one: &Remote<Vec<u32>>, n: usize| one.get(n).copied());
            assert_eq!(nth.unwrap()[3], (size > 3).then_some(3));
        }
        let large = procs.spawn_remote(3 << 20, |size| Bulk::from(vec![3u8; size]));
        let length = procs.spawn(large.clone(), |large: Remote<Bulk<u8>>| large.len());
        assert_eq!((length.join().unwrap(), large.fetch().join().unwrap()[9]), (3 << 20, 3));
    }

    fn an_error_is_that_of_all_who_need_it() {
        let procs = pool(1);
        let no = procs.spawn_remote(3, |n: u64| -> u64 { panic!("no {n}") });
        let behind = procs.spawn_remote(no.clone(), |n: Remote<u64>| *n);
        let last = procs.spawn(vec![behind.clone()], |n: Vec<Remote<u64>>| *n[0]);
        for error in [last.join().unwrap_err(), behind.fetch().join().unwrap_err(), no.fetch().join().unwrap_err()] {
            assert!(matches!(&error, TaskError::Panicked(panic) if panic.message() == "no 3"), "{error}");
        }
        let later = procs.spawn(no.clone(), |n: Remote<u64>| *n).join().unwrap_err();
        assert!(matches!(&later, TaskError::Panicked(_)), "{later}");
        assert!(no.ready().join().is_err());
        // Calls with many items cannot have that error, but its words.
        let many = procs.map([no.clone()], |n: Remote<u64>| *n).unwrap_err().to_string();
        assert!(many.contains("no 3") && !many.contains("has not ended"), "{many}");
        let died = procs.spawn_remote(3, |code: i32| -> u64 { std::process::exit(code) });
        assert!(matches!(died.fetch().join(), Err(TaskError::WorkerDied(exit)) if exit.code() == Some(3)));
        let brings = procs.spawn_remote((), |()| Shared::from(vec![1u8]));
        let error = brings.fetch().join().unwrap_err().to_string();
        assert!(error.contains("Shared<u8>") && error.contains("cannot be kept"), "{error}");
        if !support::PORT {
            let brings = procs.spawn_remote((), |()| trefoil::process::channel::<u8>(1).unwrap());
            let error = brings.fetch().join().unwrap_err().to_string();
            assert!(error.contains("cannot be kept") && !error.contains("plain"), "{error}");
        } // there are no channels
    }

    #[cfg(target_os = "linux")]
    fn a_large_one_holds_one_descriptor() {
        let procs = pool(1);
        let before = descriptors();
        let large: Vec<_> = (0..50).map(|_| procs.spawn_remote(20_000, |size| vec![1u8; size])).collect();
        for one in &large {
            let length = procs.spawn(one.clone(), |one: Remote<Vec<u8>>| one.len());
            assert_eq!(length.join().unwrap(), 20_000);
        }
        // (A few may be of earlier tests.)
        let held = descriptors() - before;
        assert!((40..60).contains(&held), "{held}");
        drop(large);
        until(|| descriptors() < before + 10);
    }

    fn what_cannot_be_decoded_is_said_once() {
        let procs = pool(1);
        let one = procs.spawn_remote((), |()| Fussy);
        for error in [
            procs.spawn(one.clone(), |_: Remote<Fussy>| ()).join().unwrap_err(),
            procs.spawn((3, vec![one.clone()]), |_: (u8, Vec<Remote<Fussy>>)| ()).join().unwrap_err(),
            one.fetch().join().map(|_| ()).unwrap_err(),
        ] {
            let words = error.to_string();
            assert!(matches!(error, TaskError::Codec(_)) && words.contains("not this one"), "{words}");
            assert_eq!(words.matches("raised by").count(), 1, "{words}");
        }
    }

    fn an_error_that_nothing_takes_is_reported_once() {
        let (tell, told) = mpsc::channel();
        let tell = move |report: &TaskReport| tell.send((report.to_string(), report.spawned_at().line())).unwrap();
        let procs = ProcessPool::builder().workers(1).on_unobserved(tell).build().unwrap();
        let call = procs.call(|n: u64| -> u64 { panic!("no {n}") }).name("noes");
        let no = |n| call.spawn_remote(n);
        let line = line!() - 1;
        let ended = || procs.spawn((), |()| ()).join().unwrap(); // one worker: all before it has, too
        let reports = || told.try_iter().collect::<Vec<_>>();
        // Nothing at all, with two handles; and one that was forgotten before its end.
        let (first, gate) = (no(1), Scratch::new("remote-untaken"));
        let second = first.clone();
        ended();
        drop(first);
        assert_eq!(reports(), []);
        drop(second);
        let waits = procs.spawn(gate.text(), wait_for);
        drop(no(2));
        note(&gate.text(), 1);
        waits.join().unwrap();
        ended();
        let all = reports();
        assert!(all.len() == 1 && all[0].0.contains("no 1") && all[0].0.contains("`noes`"), "{all:?}");
        assert_eq!(all[0].1, line, "where it was spawned");
        // What was taken, by a call that needs it for example, is not.
        let taken = no(3);
        let behind = procs.spawn_remote(taken.clone(), |n: Remote<u64>| *n);
        assert!(behind.fetch().join().is_err());
        drop((taken, behind));
        let ready = no(4);
        assert!(ready.ready().join().is_err());
        drop(ready);
        assert_eq!(reports(), []);
        // A later call that was cancelled has not taken it; a `fetch` whose task was dropped has,
        // and reports the error.
        let gate = Scratch::new("remote-untaken-2");
        let waits = procs.spawn(gate.text(), wait_for);
        let (five, six) = (no(5), no(6));
        let cancelled = procs.spawn(five.clone(), |n: Remote<u64>| *n);
        cancelled.cancel();
        six.fetch().detach();
        note(&gate.text(), 1);
        waits.join().unwrap();
        ended();
        drop((five, six));
        let mut words: Vec<String> = Vec::new();
        until(|| { words.extend(reports().into_iter().map(|(words, _)| words)); words.len() >= 2 });
        words.sort_by_key(|words| words.contains("no 6"));
        assert!(words.len() == 2 && words[0].contains("no 5") && words[1].contains("no 6"), "{words:?}");
    }

    fn what_it_is_not() {
        let procs = pool(1);
        let marks = Scratch::new("remote-not");
        let waits = procs.spawn_remote(marks.text(), wait_for);
        let many = procs.map([waits.clone()], |n: Remote<u64>| *n).unwrap_err().to_string();
        assert!(many.contains("Remote::ready"), "{many}");
        let with = procs.map_with(&waits, [1], |n: &Remote<u64>, m: u64| **n + m).unwrap_err().to_string();
        assert!(with.contains("Remote::ready"), "{with}");
        let json = serde_json::to_string(&waits).unwrap_err().to_string();
        assert!(json.contains("serialized only in"), "{json}");
        note(&marks.text(), 1);
        waits.ready().join().unwrap();
        let here = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| *waits)).unwrap_err();
        let words = here.downcast_ref::<&str>().unwrap();
        assert!(words.contains("use `fetch` here"), "{words}");
        assert_eq!(procs.map([waits.clone()], |n: Remote<u64>| *n).unwrap(), [7]);
    }

    fn with_the_last_handle_it_goes() {
        let procs = pool(1);
        assert_eq!(procs.spawn_remote(1, |n: u64| n).fetch().join().unwrap(), 1);
        let before = descriptors();
        let large = procs.spawn_remote(1 << 20, |size| Bulk::from(vec![1u8; size]));
        let others: Vec<_> = (0..20).map(|_| large.clone()).collect();
        let length = procs.spawn(others, |all: Vec<Remote<Bulk<u8>>>| all.iter().map(|one| one.len()).sum::<usize>());
        assert_eq!(length.join().unwrap(), 20 << 20);
        drop(large);
        until(|| descriptors() <= before);
        // A call is stopped when its handle is dropped.
        let marks = Scratch::new("remote-drop");
        let endless = procs.spawn_remote(marks.text(), |path: String| -> u64 { note(&path, 1); support::forever() });
        let behind = procs.spawn_remote(endless.clone(), |n: Remote<u64>| *n);
        until(|| marks.notes().len() == 1);
        drop(endless);
        assert_eq!(procs.stats().busy, 1, "the other needs it");
        drop(behind);
        assert_eq!(procs.spawn(6, |n: u64| n * 7).join().unwrap(), 42);
        // Nor one for which somebody has waited.
        let endless = procs.spawn_remote(marks.text(), |path: String| -> u64 { note(&path, 2); support::forever() });
        let (fetch, ready) = (endless.fetch(), endless.ready());
        until(|| marks.notes().len() == 2);
        drop(endless);
        assert!(ready.cancel());
        assert_eq!(procs.stats().busy, 1, "the other waits");
        drop(fetch.cancel_on_drop());
        assert_eq!(procs.spawn(6, |n: u64| n * 7).join().unwrap(), 42);
    }

    fn a_pool_that_ends_runs_what_waits_or_says_so() {
        for how in [Shutdown::Wait, Shutdown::CancelPending] {
            let procs = pool(1);
            let (marks, begins) = (Scratch::new("remote-end"), Scratch::new("remote-begins"));
            let first = procs.spawn_remote((marks.text(), begins.text()), |(marks, begins)| {
                note(&begins, 1);
                wait_for(marks)
            });
            let second = procs.spawn_remote(first.clone(), |n: Remote<u64>| *n + 1);
            let third = procs.spawn(second.clone(), |n: Remote<u64>| *n + 1);
            let cancelled = procs.spawn(second.clone(), |n: Remote<u64>| *n + 2);
            cancelled.cancel();
            until(|| !begins.notes().is_empty()); // the worker counts as busy as soon as the item was sent
            let end = std::thread::spawn({ let procs = procs.clone(); move || procs.shutdown(how) });
            until(|| procs.spawn((), |()| ()).is_finished());
            note(&marks.text(), 1);
            end.join().unwrap();
            assert_eq!(first.fetch().join().unwrap(), 7);
            match how {
                Shutdown::Wait => assert_eq!((third.join().unwrap(), second.fetch().join().unwrap()), (9, 8)),
                _ => assert!(matches!(third.join(), Err(TaskError::Cancelled))),
            }
            assert!(matches!(cancelled.join(), Err(TaskError::Cancelled)));
        }
    }

    fn what_is_more_urgent_begins_first() {
        static ORDER: OnceLock<String> = OnceLock::new();
        let marks = Scratch::new("remote-urgent");
        let begin = Scratch::new("remote-begin");
        let procs = ProcessPool::builder().workers(1).initializer(marks.text(), |path| ORDER.set(path).unwrap());
        let procs = procs.build().unwrap();
        let first = procs.spawn(begin.text(), wait_for);
        until(|| procs.stats().busy == 1);
        let mark = procs.call(|n: u64| note(ORDER.get().unwrap(), n)).chunk_size(1);
        let low: Vec<_> = (0..40).map(|n| mark.clone().priority(-1).spawn(n)).collect();
        let usual: Vec<_> = (100..140).map(|n| mark.spawn(n)).collect();
        let high: Vec<_> = (200..240).map(|n| mark.clone().priority(1).spawn(n)).collect();
        note(&begin.text(), 1);
        first.join().unwrap();
        low.into_iter().chain(usual).chain(high).for_each(|task| task.join().unwrap());
        let seen = marks.notes();
        // A few frames were sent before the others came.
        let late = |from: u64| seen.iter().skip(70).position(|n| *n / 100 == from);
        let kinds: Vec<u64> = seen.iter().skip(70).map(|n| n / 100).collect();
        assert!(kinds.is_sorted_by(|a, b| a >= b), "{seen:?}");
        assert!(late(0).is_some() && late(2).is_none());
    }

    fn a_lost_worker_that_made_it_costs_nothing() {
        let procs = ProcessPool::with_workers(1).unwrap();
        let kept = procs.spawn_remote(1 << 20, |size| vec![1u8; size]);
        kept.ready().join().unwrap();
        let died = procs.call(|()| -> () { std::process::abort() }).timeout(Duration::from_secs(30)).spawn(());
        assert!(died.join().is_err());
        let length = procs.spawn(kept.clone(), |kept: Remote<Vec<u8>>| kept.len());
        assert_eq!(length.join().unwrap(), 1 << 20);
    }
}
