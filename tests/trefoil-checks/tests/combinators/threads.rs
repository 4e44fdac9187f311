//! Three threads complete, fail and drop the tasks for which one thread waits.
//!
//! The order is unknown, so only this is checked: each result is the one that its producer gave; a
//! cancelled task got no result in time; a failure is taken or reported, but not both; every value
//! is dropped once; and no thread waits for ever.

use std::sync::{Arc, Barrier};
use std::thread;

use proptest::prelude::*;
use trefoil::{
    Completer, Task, TaskGroup, TaskId, Until, as_completed, join_all, race, try_join_all, wait,
};

use crate::probe::{Ledger, MAPPED, Out, Probe, listen, reported};
use crate::{Watchdog, runner};

/// The value of the member that keeps a group going.
const KEEPER: u32 = 2 * MAPPED;

#[derive(Clone, Copy, Debug)]
enum How {
    JoinAll,
    TryJoinAll,
    Race,
    AsCompleted,
    /// `as_completed`, dropped after so many.
    Some(usize),
    Wait(Until),
    Group,
    /// A group to which every second member is added by a thread, when it has ended.
    Added,
    Next,
    /// A group that is cancelled while it is joined.
    CancelledGroup,
    Shared,
}

/// One task: the thread that ends it, how, whether it is mapped, and how long the thread waits
/// before.
#[derive(Clone, Copy, Debug)]
struct Part {
    thread: usize,
    out: Out,
    mapped: bool,
    tarry: u8,
}

fn part() -> impl Strategy<Value = Part> {
    let out = prop_oneof![
        6 => (0..MAPPED).prop_map(Out::Value),
        1 => Just(Out::Late),
        1 => Just(Out::Closed),
    ];
    (0..3usize, out, any::<bool>(), 0..4u8).prop_map(|(thread, out, mapped, tarry)| Part {
        thread,
        out,
        mapped,
        tarry,
    })
}

fn how() -> impl Strategy<Value = How> {
    prop_oneof![
        Just(How::JoinAll),
        Just(How::TryJoinAll),
        Just(How::Race),
        Just(How::AsCompleted),
        (0..4usize).prop_map(How::Some),
        Just(How::Wait(Until::First)),
        Just(How::Wait(Until::FirstError)),
        Just(How::Wait(Until::All)),
        Just(How::Group),
        Just(How::Added),
        Just(How::Next),
        Just(How::CancelledGroup),
        Just(How::Shared),
    ]
}

/// What the producer said the result would be.
fn promised(part: Part) -> Out {
    match part.out {
        Out::Value(key) if part.mapped => Out::Value(key + MAPPED),
        out => out,
    }
}

/// For each task, the result that was taken, if one was.
type Taken = Vec<Option<Out>>;

/// What the consumer knows.
struct Case<'a> {
    ids: &'a [TaskId],
    parts: &'a [Part],
    start: &'a Barrier,
    ledger: &'a Arc<Ledger>,
}

fn play(how: How, parts: &[Part]) {
    let ledger = Arc::new(Ledger::default());
    let mut tasks = Vec::new();
    let mut producers: [Vec<(Part, Completer<Probe>)>; 3] = Default::default();
    for &part in parts {
        let (completer, mut task) = Completer::new();
        if part.mapped {
            task = task.map(Probe::mapped);
        }
        tasks.push(task);
        producers[part.thread].push((part, completer));
    }
    let ids: Vec<TaskId> = tasks.iter().map(Task::id).collect();
    let start = Barrier::new(4);
    let case = Case {
        ids: &ids,
        parts,
        start: &start,
        ledger: &ledger,
    };
    let (taken, cancelled) = thread::scope(|scope| {
        let ending: Vec<_> = producers
            .into_iter()
            .map(|producers| {
                let (start, ledger) = (&start, &ledger);
                scope.spawn(move || {
                    start.wait();
                    let mut cancelled = 0;
                    for (part, completer) in producers {
                        (0..part.tarry).for_each(|_| thread::yield_now());
                        cancelled += usize::from(completer.is_cancelled());
                        match part.out {
                            Out::Closed => drop(completer),
                            out => completer.complete(out.make(ledger)),
                        }
                    }
                    cancelled
                })
            })
            .collect();
        let taken = consume(how, &case, tasks);
        let cancelled: usize = ending.into_iter().map(|t| t.join().unwrap()).sum();
        (taken, cancelled)
    });
    let gives_one = matches!(how, How::TryJoinAll);
    let may_cancel = matches!(
        how,
        How::TryJoinAll | How::Race | How::Group | How::Added | How::CancelledGroup
    );
    assert!(may_cancel || cancelled == 0, "{cancelled} were cancelled");
    let failed = parts.iter().filter(|part| part.out.failed()).count();
    let mut reports = 0;
    for (place, &part) in parts.iter().enumerate() {
        let times = reported(ids[place]);
        reports += times;
        match taken.as_ref().map(|taken| taken[place]) {
            Some(Some(out)) => {
                assert_eq!(out, promised(part));
                assert_eq!(times, 0, "taken, and reported");
            }
            // Some of these were taken, and what was cancelled in time has no failure to report.
            None => assert!(times <= usize::from(part.out.failed())),
            Some(None) => assert_eq!(times, usize::from(part.out.failed())),
        }
    }
    assert!(
        !gives_one || failed == 0 || reports < failed,
        "the one given is reported"
    );
    ledger.settle();
}

/// Waits for the tasks in one of the ways, and says what it got.
fn consume(how: How, case: &Case<'_>, tasks: Vec<Task<Probe>>) -> Option<Taken> {
    let Case {
        ids, parts, start, ..
    } = case;
    let mut taken: Taken = vec![None; tasks.len()];
    let number = |id: TaskId| ids.iter().position(|other| *other == id).unwrap();
    match how {
        How::JoinAll => {
            start.wait();
            let results = join_all(tasks).join();
            taken = results.iter().map(|result| Some(Out::of(result))).collect();
        }
        How::TryJoinAll => {
            start.wait();
            match try_join_all(tasks).join() {
                Ok(values) => {
                    let outs = values.iter().map(|value| Some(Out::Value(value.key)));
                    taken = outs.collect();
                }
                Err(error) => {
                    let out = Out::of_error(&error);
                    let mut failing = parts.iter().filter(|part| part.out == out);
                    assert!(failing.next().is_some(), "nobody failed with {out:?}");
                    return None;
                }
            }
        }
        How::Race => {
            start.wait();
            let out = Out::of(&race(tasks).join());
            assert!(parts.is_empty() || parts.iter().any(|&part| promised(part) == out));
            return None;
        }
        How::AsCompleted | How::Some(_) => {
            start.wait();
            let limit = if let How::Some(limit) = how {
                limit
            } else {
                usize::MAX
            };
            let mut outs: Vec<_> = as_completed(tasks)
                .into_iter()
                .take(limit)
                .map(|result| Out::of(&result))
                .collect();
            let mut expected: Vec<_> = parts.iter().map(|&part| promised(part)).collect();
            if limit < parts.len() {
                assert_eq!(outs.len(), limit);
                assert!(outs.iter().all(|out| expected.contains(out)));
                return None;
            }
            outs.sort_unstable();
            expected.sort_unstable();
            assert_eq!(outs, expected);
            taken = parts.iter().map(|&part| Some(promised(part))).collect();
        }
        How::Wait(until) => {
            start.wait();
            let (done, pending) = wait(tasks, until, None).join();
            let failed = done
                .iter()
                .any(|task| promised(parts[number(task.id())]).failed_by_itself());
            match until {
                Until::First => assert!(!done.is_empty() || parts.is_empty()),
                Until::FirstError => assert!(failed || pending.is_empty()),
                _ => assert!(pending.is_empty()),
            }
            assert!(done.iter().all(Task::is_finished));
            for task in done.into_iter().chain(pending) {
                let place = number(task.id());
                taken[place] = Some(Out::of(&task.join()));
            }
        }
        How::Group | How::Added | How::CancelledGroup => {
            join_group(how, case, tasks);
            return None;
        }
        How::Next => {
            let mut group = TaskGroup::new();
            for task in tasks {
                group.add(task);
            }
            start.wait();
            while let Some((id, result)) = group.next().join() {
                let before = taken[number(id)].replace(Out::of(&result));
                assert_eq!(before, None);
            }
            assert!(taken.iter().all(Option::is_some));
        }
        How::Shared => {
            let shared: Vec<_> = tasks.into_iter().map(Task::shared).collect();
            let other = shared.clone();
            thread::scope(|scope| {
                scope.spawn(move || other.iter().for_each(|task| drop(task.join())));
                start.wait();
                for (place, task) in shared.iter().enumerate() {
                    taken[place] = Some(Out::of(&task.join()));
                }
            });
        }
    }
    Some(taken)
}

/// Joins a group to which a thread adds every second member when it has ended. A
/// member of the thread's own is the last to end.
fn join_group(how: How, case: &Case<'_>, tasks: Vec<Task<Probe>>) {
    let Case {
        ids,
        parts,
        start,
        ledger,
    } = case;
    let (now, late): (Vec<_>, Vec<_>) = tasks
        .into_iter()
        .enumerate()
        .partition(|(place, _)| matches!(how, How::Group) || place % 2 == 0);
    let places: Vec<_> = now.iter().chain(&late).map(|(place, _)| *place).collect();
    let mut group = TaskGroup::new();
    for (_, task) in now {
        group.add(task);
    }
    let (keeper, kept) = Completer::new();
    let keeper_id = group.add(kept);
    let handle = group.handle();
    let joined = thread::scope(|scope| {
        scope.spawn(move || {
            for (_, task) in late {
                let (mut done, _) = wait([task], Until::All, None).join();
                handle.add(done.remove(0));
            }
            if matches!(how, How::CancelledGroup) {
                drop(keeper);
            } else {
                keeper.complete(Ok(ledger.probe(KEEPER)));
            }
        });
        start.wait();
        group.try_join_all().join()
    });
    let mut expected = places.iter().map(|&place| promised(parts[place]));
    match joined {
        Ok(values) => {
            let members = values.iter().filter(|value| value.key != KEEPER);
            assert!(members.map(|value| Out::Value(value.key)).eq(expected));
        }
        Err(error) => {
            assert!(matches!(how, How::CancelledGroup) || expected.any(Out::failed));
            assert!(!error.errors().is_empty());
            for (id, error) in error.errors() {
                let place = ids.iter().position(|other| other == id);
                let promised = place.map_or(Out::Closed, |place| promised(parts[place]));
                assert!(place.is_some() || *id == keeper_id);
                assert_eq!(Out::of_error(error), promised);
            }
        }
    }
}

#[test]
fn what_does_not_depend_on_the_order_holds() {
    listen();
    let watchdog = Watchdog::new();
    let case = (how(), prop::collection::vec(part(), 0..12));
    let outcome = runner(300).run(&case, |(how, parts)| {
        watchdog.all_is_well();
        play(how, &parts);
        Ok(())
    });
    if let Err(error) = outcome {
        panic!("{error}");
    }
}
