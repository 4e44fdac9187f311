//! Items that say that their process must not be used again.
#![allow(clippy::disallowed_methods, clippy::disallowed_types)] // a program, not the crate

use crate::support;

use std::collections::HashSet;
use std::process;
use std::time::Duration;

use support::{Dice, Odd, Scratch, Test, note, nothing_left_since, pool, tests, until};
use trefoil::process::retire;
use trefoil::{Process, ProcessPool, TaskError};

/// Notes the process and the number, and retires if that is odd.
fn odd_retires((notes, n): (String, u32)) {
    note(&notes, u64::from(process::id()) << 32 | u64::from(n));
    if n % 2 == 1 {
        retire();
    }
}

/// That no process has run an item after an odd one, if this is what they have answered, in the
/// order of the items of each.
fn none_was_used_again(pids: &[u32], retires: impl Fn(usize) -> bool) {
    let mut over = HashSet::new();
    for (at, pid) in pids.iter().enumerate() {
        assert!(
            !over.contains(pid),
            "item {at} ran in {pid}, which had retired"
        );
        if retires(at) {
            over.insert(*pid);
        }
    }
}

tests! {
    fn the_result_arrives_and_the_process_is_replaced() {
        for workers in [1, 3] {
            for frame in [None, Some(7)] {
                let procs = pool(workers);
                let notes = Scratch::new("retire");
                let items = (0..100).map(|n| (notes.text(), n));
                let mut call = procs.call(odd_retires);
                if let Some(items) = frame {
                    call = call.chunk_size(items);
                }
                call.map(items).unwrap();
                // In the order in which they ran, in each process.
                let ran = notes.notes();
                let (mut items, mut over) = (HashSet::new(), HashSet::new());
                for (pid, n) in ran.into_iter().map(|note| (note >> 32, note as u32)) {
                    assert!(items.insert(n), "{n} ran twice");
                    assert!(!over.contains(&pid), "{n} ran in {pid}, which had retired");
                    over.extend((n % 2 == 1).then_some(pid));
                }
                assert_eq!(items.len(), 100);
                let stats = procs.stats();
                assert_eq!((stats.completed, stats.died, stats.retried), (100, 0, 0));
                // (The last ones may not have been heard of.)
                until(|| procs.stats().retired == 50);
                until(|| procs.stats().started >= 50);
            }
        }
    }

    fn one_call_after_another() {
        let procs = pool(1);
        let calls = (0..20).map(|n| {
            let call = procs.spawn(n, |n: u32| { if n.is_multiple_of(5) { retire() } process::id() });
            call.join().unwrap()
        });
        none_was_used_again(&calls.collect::<Vec<_>>(), |at| at % 5 == 0);
        until(|| procs.stats().retired == 4);
        assert_eq!(procs.stats().died, 0);
    }

    fn a_panic_an_error_and_a_late_item_arrive_too() {
        let procs = pool(1);
        let panic = procs.spawn((), |()| -> u32 { retire(); panic!("and gone") }).join();
        let Err(TaskError::Panicked(panic)) = panic else { panic!("{panic:?}") };
        assert_eq!(panic.message(), "and gone");
        let odd = procs.spawn((), |()| { retire(); Odd(1) }).join();
        assert!(matches!(odd, Err(TaskError::Codec(_))), "{odd:?}");
        let refused = procs.spawn((), |()| { retire(); Err::<u32, _>("CUDA error 700".to_owned()) });
        assert_eq!(refused.join().unwrap(), Err("CUDA error 700".to_owned()));
        // It notices that its time is up.
        let builder = ProcessPool::builder().workers(1).grace(Duration::from_secs(600));
        let patient = builder.build().unwrap();
        let late = patient.call(|()| {
            retire();
            let token = trefoil::CancelToken::current();
            while !token.is_cancelled() {
                std::thread::yield_now();
            }
        });
        let late = late.timeout(Duration::from_millis(1)).spawn(()).join();
        assert!(matches!(late, Err(TaskError::TimedOut(_))), "{late:?}");
        until(|| procs.stats().retired == 3 && patient.stats().retired == 1);
        let stats = procs.stats();
        assert_eq!((stats.died, patient.stats().died), (0, 0));
        assert_eq!((stats.completed, stats.failed), (1, 2));
    }

    fn it_counts_for_no_limit_of_deaths() {
        let builder = ProcessPool::builder().workers(1).max_restarts(0, Duration::from_secs(600));
        let procs = builder.build().unwrap();
        // More than the fruitless deaths in a row after which a slot is given up.
        for _ in 0..12 {
            procs.call(|()| retire()).retry(1).spawn(()).join().unwrap();
        }
        until(|| procs.stats().retired == 12);
        assert_eq!((procs.stats().died, procs.stats().retried), (0, 0));
    }

    #[cfg(unix)] // its handler
    fn a_process_that_does_not_end_is_killed_and_has_not_died() {
        extern "C" fn hangs() {
            support::forever::<()>();
        }
        #[allow(unsafe_code)]
        fn never_ends(_: ()) -> u32 {
            // SAFETY: the handler is a function of this type.
            assert_eq!(unsafe { libc::atexit(hangs) }, 0);
            retire();
            process::id()
        }
        let builder = ProcessPool::builder().workers(1).max_restarts(0, Duration::from_secs(600));
        let procs = builder.build().unwrap();
        let first = procs.spawn((), never_ends).join().unwrap();
        let next = procs.spawn((), |()| process::id()).join().unwrap();
        assert_ne!(first, next);
        assert_eq!((procs.stats().retired, procs.stats().died), (1, 0));
    }

    fn a_thread_of_the_process_may_say_it() {
        let procs = pool(1);
        let begun = procs.map(0..50, |n| {
            if n == 10 {
                std::thread::spawn(retire).join().unwrap();
            }
            process::id()
        });
        none_was_used_again(&begun.unwrap(), |at| at == 10);
        // While no item runs, the next one finds it.
        let notes = Scratch::new("retire-later");
        let later = procs.spawn(notes.text(), |notes| {
            std::thread::spawn(move || {
                while support::noted(&notes) == 0 {
                    std::thread::yield_now();
                }
                retire();
                note(&notes, 2);
            });
            process::id()
        });
        let first = later.join().unwrap();
        note(&notes.text(), 1);
        until(|| notes.notes().len() == 2);
        assert_ne!(procs.spawn((), |()| process::id()).join().unwrap(), first);
        assert_eq!(procs.stats().died, 0);
    }

    fn imap_and_map_each_lose_nothing() {
        let procs = pool(2);
        let notes = Scratch::new("retire-each");
        let items = || (0..200).map(|n| (notes.text(), n));
        let answers = procs.imap(items(), odd_retires);
        assert_eq!(answers.filter(Result::is_ok).count(), 200);
        let each = procs.map_each(items(), odd_retires).into_iter();
        assert_eq!(each.filter(Result::is_ok).count(), 200);
        assert_eq!(notes.notes().len(), 400);
        assert_eq!(procs.stats().died, 0);
    }

    fn an_actor_loads_anew() {
        let load = |first: u32| vec![first];
        let actor = pool(1).actor(7, load).unwrap();
        let add = |n: u32, kept: &mut Vec<u32>| { kept.push(n); kept.clone() };
        assert_eq!(actor.call(8, add).join().unwrap(), [7, 8]);
        let calls = [
            actor.call(9, |n: u32, kept: &mut Vec<u32>| { retire(); kept.push(n); kept.clone() }),
            actor.call(10, add),
        ];
        let [last, next] = calls.map(|call| call.join().unwrap());
        assert_eq!(last, [7, 8, 9]);
        assert_eq!(next, [7, 10], "it was loaded anew");
        assert_eq!((actor.stats().retired, actor.stats().died), (1, 0));
    }

    fn an_initializer_that_retires_ends_the_pool() {
        let builder = ProcessPool::builder().workers(2).initializer((), |()| retire());
        let procs = builder.build().unwrap();
        let refused = procs.spawn((), |()| 1).join().unwrap_err();
        assert!(refused.to_string().contains("retire"), "{refused}");
    }

    fn contexts_go_on() {
        let procs = pool(3);
        let with = procs.map_with(&vec![1; 100_000], 0..20, |context: &Vec<u32>, n: u32| {
            retire();
            context[n as usize] + n
        });
        assert!(with.unwrap().into_iter().eq(1..21));
        assert_eq!(procs.stats().died, 0);
    }

    fn a_process_of_one_item_ends_as_always() {
        let before = support::census();
        let one = Process::spawn(5, |n: u32| { retire(); n });
        assert_eq!(one.unwrap().join().unwrap(), 5);
        nothing_left_since(before);
    }

    fn outside_of_a_worker_and_in_a_forked_child_nothing_happens() {
        retire();
        let procs = pool(1);
        let pids = procs.map(0..10, |n: u32| {
            #[cfg(unix)]
            #[allow(unsafe_code)]
            {
                // SAFETY: the child only calls `retire`, which does nothing there, and `_exit`.
                let child = unsafe { libc::fork() };
                if child == 0 {
                    retire();
                    // SAFETY: it ends the child, and runs nothing else in it.
                    unsafe { libc::_exit(0) };
                }
                // SAFETY: a status to write to.
                assert_eq!(unsafe { libc::waitpid(child, &mut 0, 0) }, child);
            }
            let _ = n;
            process::id()
        });
        assert_eq!(pids.unwrap().into_iter().collect::<HashSet<_>>().len(), 1);
        assert_eq!(procs.stats().retired, 0);
    }

    fn at_random_among_deaths_nothing_is_lost_or_runs_twice() {
        let mut dice = Dice(0x2545_F491_4F6C_DD1D);
        let procs = pool(3);
        let notes = Scratch::new("retire-chaos");
        let kinds: Vec<u64> = (0..600).map(|_| dice.roll(24)).collect();
        let items = kinds.iter().enumerate().map(|(n, kind)| (notes.text(), n as u64, *kind));
        let ends = procs.map_each(items, |(notes, n, kind): (String, u64, u64)| -> u64 {
            note(&notes, n);
            match kind {
                0 => { retire(); process::abort() }
                1 => process::abort(),
                2 | 3 => retire(),
                4 => { retire(); panic!("it retires") }
                _ => {}
            }
            n
        });
        for (n, (end, kind)) in ends.into_iter().zip(&kinds).enumerate() {
            match (kind, end) {
                (0 | 1, Err(TaskError::WorkerDied(exit))) => assert_eq!(exit.attempts(), 1),
                (4, Err(TaskError::Panicked(_))) => {}
                (2 | 3 | 5.., Ok(value)) => assert_eq!(value, n as u64),
                (_, end) => panic!("item {n} of kind {kind}: {end:?}"),
            }
        }
        let mut ran = notes.notes();
        ran.sort_unstable();
        assert!(ran.into_iter().eq(0..600));
        let count = |which: fn(&u64) -> bool| kinds.iter().copied().filter(which).count() as u64;
        until(|| procs.stats().retired == count(|kind| matches!(kind, 2..=4)));
        assert_eq!(procs.stats().died, count(|kind| *kind < 2));
    }
}
