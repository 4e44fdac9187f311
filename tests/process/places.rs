//! The index of a worker, and what is chosen by it.
#![allow(clippy::disallowed_methods, clippy::disallowed_types)] // a program, not the crate

use crate::deadline::sample;
use crate::support::{PORT, Test, kill, tests, until};

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
        .chunk_size(1)
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

/// The processors that this process, or this thread, may use.
#[cfg(target_os = "linux")]
fn allowed(whose: &str) -> Vec<usize> {
    let status = std::fs::read_to_string(format!("/proc/{whose}/status")).unwrap();
    let list = status
        .lines()
        .find_map(|line| line.strip_prefix("Cpus_allowed_list:"));
    let ranges = list.unwrap().trim().split(',');
    let range = |text: &str| {
        let (first, last) = text.split_once('-').unwrap_or((text, text));
        first.parse::<usize>().unwrap()..=last.parse().unwrap()
    };
    ranges.flat_map(range).collect()
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

    fn impossible_variables_are_an_error_that_names_them() {
        for (name, value) in [("", "x"), ("A=B", "x"), ("A\0", "x"), ("A", "x\0")] {
            let builder = ProcessPool::builder().workers(2);
            let broken = builder.env_for(move |_| [(name, value)]).build();
            let Err(PoolError::Start(error)) = broken else { panic!("{broken:?}") };
            let wrong = if value == "x" { name } else { value };
            let words = error.to_string();
            assert!(words.contains(&format!("{wrong:?} cannot be")), "{words}");
            assert_eq!(error.kind(), std::io::ErrorKind::InvalidInput);
        }
        let broken = ProcessPool::builder().workers(1).env("A=B", "x").build();
        assert!(matches!(broken, Err(PoolError::Start(_))), "{broken:?}");
        let empty = ProcessPool::builder().workers(1).env_for(|_| [("PLACE", "")]).build().unwrap();
        assert_eq!(empty.spawn((), |()| std::env::var("PLACE").unwrap()).join().unwrap(), "");
    }

    #[cfg(target_os = "linux")]
    fn each_worker_runs_on_its_own_processors() {
        if PORT {
            return;
        }
        let processors = allowed("self");
        let last = *processors.last().unwrap();
        let (first, all) = (processors[0], processors.clone());
        let of = move |index| match index {
            0 => vec![first],
            1 => vec![last],
            _ => all.clone(),
        };
        let procs = ProcessPool::builder().workers(3).pin_to(of).build().unwrap();
        let look = |()| {
            std::thread::sleep(Duration::from_micros(500));
            // A thread of its own, and a process of its own, have the same.
            let other = std::thread::spawn(|| allowed("thread-self")).join().unwrap();
            assert_eq!(other, allowed("self"));
            (worker_index().unwrap(), std::process::id(), other)
        };
        let mut seen = HashMap::new();
        let mut killed = None;
        until(|| {
            for (index, pid, own) in procs.call(look).chunk_size(1).map(std::iter::repeat_n((), 30)).unwrap() {
                let expected = [vec![first], vec![last], processors.clone()];
                assert_eq!(own, expected[index]);
                seen.insert(pid, index);
            }
            if seen.len() >= 3 && killed.is_none() {
                let pid = *seen.iter().find(|(_, index)| **index == 1).unwrap().0;
                kill(pid);
                killed = Some(pid);
            }
            seen.len() >= 4
        });
        assert_eq!(allowed("self"), processors, "this process is as it was");
    }

    fn impossible_processors_are_an_error_that_names_them() {
        let possible = cfg!(target_os = "linux") && !PORT;
        for (set, words) in [(vec![], "is empty"), (vec![1023], "[1023]"), (vec![0, 99_999], "no processor")] {
            // Of two workers one can be started, which does not remain.
            let of = move |index| if index == 0 { vec![0] } else { set.clone() };
            let broken = ProcessPool::builder().workers(2).pin_to(of).build();
            let Err(PoolError::Start(error)) = broken else { panic!("{broken:?}") };
            let told = error.to_string();
            let (words, worker) = if possible { (words, "worker 1") } else { ("this system", "worker 0") };
            assert!(told.contains(words) && told.contains(worker), "{told}");
        }
    }

    #[cfg(unix)]
    fn a_launcher_pins_no_worker() {
        let builder = ProcessPool::builder().launcher(crate::wrapped::Wrapped::new(["env", "{exe}"]));
        let Err(PoolError::Launcher(words)) = builder.pin_to(|_| [0]).build() else { panic!() };
        assert!(words.contains("taskset"), "{words}");
    }

    #[cfg(unix)]
    fn a_launcher_has_no_variables_for_one_worker() {
        let builder = ProcessPool::builder().launcher(crate::wrapped::Wrapped::new(["env", "{exe}"]));
        let Err(PoolError::Launcher(words)) = builder.env_for(|_| [("A", "B")]).build() else { panic!() };
        assert!(words.contains("worker_index"), "{words}");
        for (name, value) in [("", "x"), ("A=B", "x"), ("A\0", "x"), ("A", "x\0")] {
            let builder = ProcessPool::builder().launcher(crate::wrapped::Wrapped::new(["env", "{exe}"]));
            let Err(PoolError::Launcher(words)) = builder.env(name, value).build() else { panic!() };
            assert!(words.contains("cannot be the"), "{words}");
        }
        let builder = ProcessPool::builder().workers(2);
        let procs = builder.launcher(crate::wrapped::Wrapped::new(["env", "{exe}"])).build().unwrap();
        let indices = procs.call(|()| worker_index()).chunk_size(1).map(std::iter::repeat_n((), 20)).unwrap();
        assert!(indices.into_iter().all(|index| index < Some(2)));
    }
}
