//! What runs now, without a walk over tasks; the tasks in parts.

use std::sync::Barrier;
use std::sync::mpsc;
use trefoil::ThreadPool;
use trefoil::inspect::LiveMap;

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
    let (begin, begun) = mpsc::channel();
    let (end, ends) = mpsc::channel::<()>();
    let first = pool.spawn(move || {
        begin.send(()).unwrap();
        _ = ends.recv();
    });
    begun.recv().unwrap(); // from here on nothing else runs
    let rest: Vec<_> = (0..10_000).map(|_| pool.spawn(|| ())).collect();
    let mut seen: Vec<u64> = trefoil::inspect::task_parts()
        .flat_map(|part| part.tasks().iter().map(|task| task.id).collect::<Vec<_>>())
        .collect();
    assert_eq!(trefoil::inspect::task_parts().len(), 64);
    seen.sort_unstable();
    let count = seen.len();
    seen.dedup();
    assert_eq!(seen.len(), count);
    assert!(
        rest.iter()
            .all(|task| seen.binary_search(&task.id().get()).is_ok())
    );
    let last: Vec<_> = trefoil::inspect::task_parts()
        .nth(63)
        .unwrap()
        .tasks()
        .iter()
        .map(|task| task.id)
        .collect();
    assert!(last.iter().all(|id| seen.binary_search(id).is_ok()));
    drop(end);
    first.join().unwrap();
}
