//! What runs now, without a walk over tasks; the tasks in parts.

use std::collections::HashSet;
use std::sync::Barrier;
use std::sync::mpsc;
use trefoil::inspect::{LiveMap, TaskTree, task_parts};
use trefoil::prelude::*;
use trefoil::{Shutdown, ThreadPool};

fn maps(kind: &str) -> Vec<LiveMap> {
    let maps = trefoil::inspect::activity().maps.into_iter();
    maps.filter(|map| map.kind == kind).collect()
}

#[test]
fn a_thread_says_what_it_runs() {
    let _awake = trefoil::inspect::activity();
    let pool = ThreadPool::builder()
        .threads(1)
        .thread_name(|_| "one-of-a-kind".to_owned())
        .build()
        .unwrap();
    let (begun, begins) = mpsc::channel();
    let (end, ends) = mpsc::channel::<()>();
    let task = pool
        .spawn(move || {
            begun.send(()).unwrap();
            _ = ends.recv();
        })
        .named("long");
    begins.recv().unwrap();
    let here = |activity: trefoil::inspect::Activity| {
        let mut threads = activity.threads.into_iter();
        threads
            .find(|thread| thread.name.contains("one-of-a-kind"))
            .unwrap()
    };
    let thread = here(trefoil::inspect::activity());
    assert_eq!(thread.runs, Some(task.id().get()));
    assert_eq!(thread.task.unwrap().name.as_deref(), Some("long"));
    let before = thread.begun;
    drop(end);
    task.join().unwrap();
    // (A caller that joins may run it itself.)
    let (ran, runs) = mpsc::channel();
    pool.spawn(move || ran.send(()).unwrap()).detach();
    runs.recv().unwrap();
    let thread = here(trefoil::inspect::activity());
    assert!(thread.begun > before && before >= 1);
}

#[test]
fn maps_on_threads_are_counted() {
    let _awake = trefoil::inspect::activity();
    let pool = ThreadPool::with_threads(2);
    let both = Barrier::new(2);
    // The last two items wait for each other, so all others have ended or run.
    pool.for_each(0..1000_u32, |n| {
        if n == 0 || n == 999 {
            both.wait();
            let maps = maps("map on threads");
            assert!(
                maps.iter()
                    .any(|map| map.total == Some(1000) && map.ended < 1000),
                "{maps:?}"
            );
            both.wait();
        }
    });
    (0..10_u32).par_bridge().for_each(|_| {
        assert!(maps("map on threads").iter().any(|map| map.total.is_none()));
    });
    let mut squares = pool.imap(0..77_u32, |n| n * n);
    assert_eq!(squares.next(), Some(0));
    let maps = maps("imap on threads");
    assert!(
        maps.iter()
            .any(|map| (map.total, map.ended) == (Some(77), 1)),
        "{maps:?}"
    );
}

#[test]
fn the_parts_have_each_task_once() {
    let pool = ThreadPool::with_threads(1);
    let _awake = trefoil::inspect::activity();
    // (They end with their pool. Queued ones might run: a pool that is stuck gets more threads.)
    let forever = |_| pool.spawn_async(std::future::pending::<()>());
    let all: Vec<_> = (0..10_000).map(forever).collect();
    let ids_of = |part: TaskTree| part.tasks().iter().map(|task| task.id).collect::<Vec<_>>();
    let parts: Vec<_> = task_parts().map(ids_of).collect();
    assert_eq!((parts.len(), task_parts().len()), (64, 64));
    let mut seen = parts.concat();
    seen.sort_unstable();
    let count = seen.len();
    seen.dedup();
    assert_eq!(seen.len(), count);
    let ours: HashSet<u64> = all.iter().map(|task| task.id().get()).collect();
    assert!(ours.iter().all(|id| seen.binary_search(id).is_ok()));
    // The tasks of a part are the same after others were skipped.
    let count = |part: &[u64]| part.iter().filter(|id| ours.contains(id)).count();
    let largest = (0..64).max_by_key(|&n| count(&parts[n])).unwrap();
    let again = ids_of(task_parts().nth(largest).unwrap());
    assert_eq!(count(&again), count(&parts[largest]));
    pool.shutdown(Shutdown::CancelPending);
}
