//! The index of a worker, and what is chosen by it.
#![allow(clippy::disallowed_methods, clippy::disallowed_types)] // a program, not the crate

use crate::deadline::sample;
use crate::support::{Test, kill, tests, until};

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use trefoil::process::worker_index;
use trefoil::{PoolError, Process, ProcessPool, TaskError};

/// The worker's index, its process and its variable.
fn place((): ()) -> (usize, u32, Option<String>) {
    std::thread::sleep(Duration::from_micros(500)); // so that others get items, too
    let variable = std::env::var("PLACE").ok();
    (worker_index().unwrap(), std::process::id(), variable)
}

/// The process at each index.
fn places(procs: &ProcessPool) -> HashMap<usize, u32> {
    let all = procs
        .call(place)
        .chunk(1)
        .map(std::iter::repeat_n((), 50))
        .unwrap();
    let mut places = HashMap::new();
    for (index, pid, variable) in all {
        assert_eq!(variable, Some(format!("number {index}")));
        assert_eq!(
            *places.entry(index).or_insert(pid),
            pid,
            "two workers have index {index}"
        );
    }
    places
}

tests! {
    fn indices_are_dense_and_pass_to_replacements() {
        const WIDTH: usize = 3;
        let builder = ProcessPool::builder().workers(WIDTH).env("PLACE", "nowhere");
        let procs = builder.env_for(|index| [("PLACE", format!("number {index}"))]).build().unwrap();
        until(|| places(&procs).len() == WIDTH);
        for _ in 0..sample(10) {
            let before = places(&procs);
            assert!(before.keys().all(|index| *index < WIDTH));
            let (index, pid) = before.into_iter().next().unwrap();
            kill(pid);
            until(|| places(&procs).get(&index).is_some_and(|now| *now != pid));
        }
        assert_eq!(worker_index(), None);
        assert_eq!(Process::spawn((), |()| worker_index()).unwrap().join().unwrap(), Some(0));
    }

    fn a_worker_of_a_worker_has_an_index_of_its_own() {
        let procs = ProcessPool::with_workers(2).unwrap();
        let nested = procs.spawn((), |()| {
            let own = ProcessPool::with_workers(1).unwrap();
            (worker_index(), own.spawn((), |()| worker_index()).join().unwrap())
        });
        let (outer, inner) = nested.join().unwrap();
        assert!(outer < Some(2));
        assert_eq!(inner, Some(0));
    }

    fn variables_that_cannot_be_made_are_a_failed_start() {
        let builder = ProcessPool::builder().workers(1);
        let broken = builder.env_for(|_| -> [(&str, &str); 1] { panic!("no device") }).build();
        let Err(PoolError::Start(error)) = broken else { panic!("{broken:?}") };
        assert!(error.to_string().contains("no device"), "{error}");
        // Later, the start is repeated.
        let calls = Arc::new(AtomicUsize::new(0));
        let seen = calls.clone();
        let sometimes = move |_| {
            assert_ne!(seen.fetch_add(1, Ordering::Relaxed), 1, "no device");
            [("PLACE", "here")]
        };
        let procs = ProcessPool::builder().workers(1).env_for(sometimes).build().unwrap();
        let dead = procs.spawn((), |()| -> () { std::process::abort() }).join();
        assert!(matches!(dead, Err(TaskError::WorkerDied(_))));
        let place = procs.spawn((), |()| std::env::var("PLACE").unwrap());
        assert_eq!(place.join().unwrap(), "here");
        assert_eq!(calls.load(Ordering::Relaxed), 3);
    }

    #[cfg(unix)]
    fn a_launcher_has_no_variables_for_one_worker() {
        let builder = ProcessPool::builder().launcher(trefoil::process::Wrapped::new(["env", "{exe}"]));
        let Err(PoolError::Launcher(words)) = builder.env_for(|_| [("A", "B")]).build() else { panic!() };
        assert!(words.contains("worker_index"), "{words}");
        let builder = ProcessPool::builder().workers(2);
        let procs = builder.launcher(trefoil::process::Wrapped::new(["env", "{exe}"])).build().unwrap();
        let indices = procs.call(|()| worker_index()).chunk(1).map(std::iter::repeat_n((), 20)).unwrap();
        assert!(indices.into_iter().all(|index| index < Some(2)));
    }
}
