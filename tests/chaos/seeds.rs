//! What chaos does, and that the same value does it again.

use std::collections::BTreeSet;
use std::thread::Builder;
use std::time::Instant;

use trefoil::process::StartMethod;
use trefoil::{ProcessPool, Task, TaskError, ThreadPool};

use crate::support::{Test, tests};
use crate::{run, text};

const ITEMS: u64 = 24;

pub(crate) const PROGRAMS: &[(&str, fn())] = &[
    ("prints_who_dies", prints_who_dies),
    ("prints_which_copies_die", prints_which_copies_die),
    ("makes_pools", makes_pools),
    ("waits", waits),
    ("has_pools_in_its_workers", has_pools_in_its_workers),
];

/// Two threads use a pool of their own and one of both; the items of each that have died.
fn prints_who_dies() {
    who_dies_in(StartMethod::Spawn);
}

fn prints_which_copies_die() {
    who_dies_in(StartMethod::ForkServer);
}

fn who_dies_in(method: StartMethod) {
    let pool = |workers| {
        let builder = ProcessPool::builder().workers(workers);
        builder.start_method(method).build().unwrap()
    };
    let both = pool(3);
    let dead = std::thread::scope(|scope| {
        let threads = ["left", "right"].map(|name| {
            let thread = Builder::new().name(name.to_owned());
            thread.spawn_scoped(scope, || {
                let own = pool(1);
                [&own, &both].map(who_died)
            })
        });
        threads.map(|thread| thread.unwrap().join().unwrap())
    });
    println!("{dead:?}");
}

/// The items of many calls, and of a map.
fn who_died(pool: &ProcessPool) -> [Vec<u64>; 2] {
    let died = |(index, result): (u64, Result<u64, TaskError>)| match result {
        Ok(square) => {
            assert_eq!(square, index * index);
            None
        }
        Err(TaskError::WorkerDied(exit)) => {
            assert_eq!((exit.signal(), exit.attempts()), (Some(9), 1), "{exit}");
            Some(index)
        }
        Err(error) => panic!("{error}"),
    };
    let square = |x: u64| x * x;
    let calls: Vec<_> = (0..ITEMS).map(|x| pool.spawn(x, square)).collect();
    let calls = calls.into_iter().map(Task::join);
    let calls = (0..).zip(calls).filter_map(died).collect();
    let map = pool.map_each(0..ITEMS, square).into_iter();
    [calls, (0..).zip(map).filter_map(died).collect()]
}

/// How many milliseconds items take that do nothing, one after the other.
fn waits() {
    let pool = ProcessPool::with_workers(1).unwrap();
    let begin = Instant::now();
    (0..ITEMS).for_each(|x| pool.spawn(x, drop).join().unwrap());
    print!("{}", begin.elapsed().as_millis());
}

fn makes_pools() {
    drop(ThreadPool::builder().threads(1).build().unwrap());
    drop(ProcessPool::with_workers(1).unwrap());
    drop(ProcessPool::with_workers(1).unwrap());
}

/// Each item has a pool, whose workers live.
fn has_pools_in_its_workers() {
    let pool = ProcessPool::with_workers(1).unwrap();
    let item = |()| {
        let pool = ProcessPool::with_workers(1).unwrap();
        pool.map(0..ITEMS, |x: u64| x).is_ok()
    };
    let results = pool.map_each([(); 10], item);
    assert!(results.iter().any(Result::is_err), "some die here");
    assert!(
        results.into_iter().flatten().all(|lives| lives),
        "none there"
    );
}

/// What `prints_who_dies` prints with this value.
fn who_dies(chaos: &str) -> String {
    printed("prints_who_dies", chaos)
}

fn printed(program: &str, chaos: &str) -> String {
    let out = run(program, Some(chaos), false);
    assert!(out.status.success(), "{chaos}: {}", text(&out.stderr));
    text(&out.stdout)
}

tests! {
    fn the_same_value_decides_the_same() {
        let rounds = if std::env::var_os("TREFOIL_FULL").is_some() { 30 } else { 2 };
        let mut all = BTreeSet::new();
        for seed in 1..=rounds {
            let value = format!("{seed},kill=0.1,delay=0.02");
            let who = who_dies(&value);
            assert_eq!(who, who_dies(&value), "{value}");
            // What is late, and how many workers there are, changes nothing of it.
            assert_eq!(who, who_dies(&format!("{seed},kill=0.1,delay=0,refuse=1,shuffle=0")));
            all.insert(who);
        }
        assert!(all.len() > 1, "seeds differ");
    }

    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    fn copies_of_a_fork_server_have_the_same_accidents() {
        for seed in 1..=3 {
            let value = format!("{seed},kill=0.1,delay=0.02,refuse=0.3");
            assert_eq!(printed("prints_which_copies_die", &value), who_dies(&value), "{value}");
        }
    }

    fn each_accident_has_its_probability() {
        assert_eq!(who_dies("1,kill=0"), "[[[[], []], [[], []]], [[[], []], [[], []]]]\n");
        // A quarter dies after its answer.
        let all = who_dies("1,kill=1,delay=0,refuse=1");
        let dead = all.matches(',').count() as u64;
        assert!((4 * ITEMS..8 * ITEMS).contains(&dead), "{dead}: {all}");
        // Each answer is late by 10 ms on average.
        let waited = |chaos| -> u64 { text(&run("waits", Some(chaos), false).stdout).parse().unwrap() };
        assert!(waited("1,kill=0,delay=1") > ITEMS * 5);
        let in_order = |chaos| run("expects_the_order_of_tasks", Some(chaos), false).status.success();
        assert!(in_order("1,shuffle=0") && !in_order("1,shuffle=1,delay=0"));
    }

    fn a_line_has_what_repeats_it() {
        let value = "7,kill=0.05,delay=0.1,refuse=0.2,shuffle=0.5";
        for chaos in ["7", value] {
            let out = run("makes_pools", Some(chaos), false);
            let line = format!(
                "trefoil: TREFOIL_CHAOS={value}: there are accidents on purpose, and this value \
                 repeats them\n"
            );
            assert_eq!(text(&out.stderr), line, "{chaos}");
        }
        for (chaos, told) in [
            ("", ""),
            (
                "often",
                "trefoil: TREFOIL_CHAOS is ignored: `often` is not a seed, a whole number\n",
            ),
            (
                "1,kill=2",
                "trefoil: TREFOIL_CHAOS is ignored: `kill=2`: a probability is from 0 to 1\n",
            ),
        ] {
            let out = run("makes_pools", Some(chaos), false);
            assert!(out.status.success());
            assert_eq!(text(&out.stderr), told, "{chaos}");
        }
    }

    fn what_a_worker_makes_is_left_alone() {
        let out = run("has_pools_in_its_workers", Some("1,kill=0.5,refuse=0"), false);
        let told = text(&out.stderr);
        assert!(out.status.success(), "{told}");
        assert_eq!(told.matches("TREFOIL_CHAOS").count(), 1, "{told}");
    }
}
