//! Workers that are replaced as planned: the next one is ready before they leave.
#![allow(clippy::disallowed_methods, clippy::disallowed_types)] // a program, not the crate

use crate::support;

use std::collections::HashSet;
use std::net::TcpListener;
use std::path::Path;
use std::sync::{Mutex, OnceLock};
use std::thread::sleep;
use std::time::{Duration, Instant};

use support::{Scratch, Test, note, noted, tests, until};
use trefoil::process::{StartMethod, retire, worker_index};
use trefoil::{ProcessPool, ProcessPoolBuilder, Task};

static KEPT: Mutex<Vec<Vec<u8>>> = Mutex::new(Vec::new());

/// Counts each start. All but the first `free` of them wait for the file, which another process
/// makes.
fn starts((notes, gate, free): (String, String, usize)) {
    note(&notes, worker_index().map_or(9, |index| index as u64));
    if noted(&notes) > free {
        while !Path::new(&gate).exists() {
            sleep(Duration::from_millis(1));
        }
    }
}

fn pid(_: u32) -> u32 {
    std::process::id()
}

/// Files that say who has started, and that those which are started later may be ready.
struct Gate {
    notes: Scratch,
    open: Scratch,
}

impl Gate {
    fn new(name: &str) -> Self {
        Self {
            notes: Scratch::new(&format!("{name}-notes")),
            open: Scratch::new(&format!("{name}-open")),
        }
    }

    fn path(&self) -> String {
        self.open.text() + ".now"
    }

    /// Workers, of which all but the first wait in their initializers.
    fn pool(&self, workers: usize) -> ProcessPoolBuilder {
        let argument = (self.notes.text(), self.path(), workers);
        ProcessPool::builder()
            .workers(workers)
            .initializer(argument, starts)
    }

    fn opens(&self) {
        std::fs::write(self.path(), "").unwrap();
    }
}

impl Drop for Gate {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(self.path());
    }
}

/// All workers of the pool, once they are ready.
fn ready(procs: &ProcessPool, workers: usize) -> HashSet<u32> {
    let mut all = HashSet::new();
    until(|| {
        let tasks: Vec<Task<u32>> = (0..16)
            .map(|n| {
                procs.spawn(n, |_: u32| {
                    sleep(Duration::from_micros(300));
                    std::process::id()
                })
            })
            .collect();
        all.extend(tasks.into_iter().map(|task| task.join().unwrap()));
        all.len() == workers
    });
    all
}

tests! {
    fn the_next_one_is_ready_before_a_worker_leaves() {
        let gate = Gate::new("replaced-by-user");
        let procs = gate.pool(2).build().unwrap();
        let old = ready(&procs, 2);
        for pid in &old {
            assert!(procs.replace_worker(*pid));
        }
        until(|| gate.notes.notes().len() == 4); // the next ones have begun, and are not ready
        let stats = procs.stats();
        assert_eq!((stats.workers, stats.starting, stats.leaving), (4, 2, 0));
        for _ in 0..3 {
            assert_eq!(ready(&procs, 2), old, "they go on");
        }
        gate.opens();
        until(|| procs.worker_pids().iter().all(|pid| !old.contains(pid)));
        assert!(ready(&procs, 2).is_disjoint(&old));
        let mut numbers = gate.notes.notes();
        numbers.sort_unstable();
        assert_eq!(numbers, [0, 0, 1, 1], "the next ones have the same numbers");
        let stats = procs.stats();
        assert_eq!((stats.died, stats.failed, stats.started, stats.workers), (0, 0, 4, 2));
    }

    fn a_worker_with_few_items_left_goes_on() {
        let gate = Gate::new("replaced-by-number");
        let procs = gate.pool(1).max_tasks_per_worker(1000).build().unwrap();
        let first = procs.spawn(0, pid).join().unwrap();
        let mut items = 1;
        while procs.stats().started == 1 && items < 1000 {
            assert_eq!(procs.spawn(0, pid).join().unwrap(), first);
            items += 1;
        }
        until(|| procs.stats().started == 2);
        assert!(items >= 16, "{items} items, and then the next is started");
        let more = (1000 - items).min(50);
        for _ in 0..more {
            assert_eq!(procs.spawn(0, pid).join().unwrap(), first, "it goes on");
        }
        gate.opens();
        until(|| procs.worker_pids() != [first] && procs.stats().workers == 1);
        assert_ne!(procs.spawn(0, pid).join().unwrap(), first);
        assert_eq!(procs.stats().died, 0);
    }

    /// One that says that it is broken takes no more items. The next one is started meanwhile.
    fn one_that_retires_takes_no_more_items() {
        let gate = Gate::new("replaced-asks");
        let procs = gate.pool(1).build().unwrap();
        let task = procs.spawn((), |()| {
            retire();
            std::process::id()
        });
        let old = task.join().unwrap();
        let next = procs.spawn(0, pid);
        until(|| gate.notes.notes().len() == 2);
        gate.opens();
        assert_ne!(next.join().unwrap(), old);
        assert_eq!((procs.stats().retired, procs.stats().died), (1, 0));
    }

    /// A worker that holds too much memory goes on, unless it is far too much.
    #[cfg(target_os = "linux")]
    fn one_that_holds_too_much_goes_on() {
        fn keeps(bytes: usize) -> u32 {
            KEPT.lock().unwrap().push(vec![1; bytes]);
            std::process::id()
        }
        let gate = Gate::new("replaced-heavy");
        let procs = gate.pool(1).memory_limit(80 << 20).build().unwrap();
        let old = procs.spawn(50 << 20, keeps).join().unwrap();
        assert_eq!(procs.spawn(45 << 20, keeps).join().unwrap(), old);
        until(|| {
            assert_eq!(procs.spawn(0, pid).join().unwrap(), old, "it goes on");
            gate.notes.notes().len() == 2 // the next one has begun, and is not ready
        });
        gate.opens();
        until(|| procs.spawn(0, pid).join().unwrap() != old);
        assert_eq!(procs.stats().died, 0);
    }

    /// Each has a port of its own, which two processes cannot have.
    fn who_cannot_have_both_has_one_after_the_other() {
        static PORT: OnceLock<TcpListener> = OnceLock::new();
        fn listens(port: u16) {
            PORT.set(TcpListener::bind(("127.0.0.1", port)).unwrap()).unwrap();
        }
        let free = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = free.local_addr().unwrap().port();
        drop(free);
        let builder = ProcessPool::builder().workers(1).initializer(port, listens);
        let procs = builder.max_tasks_per_worker(2).replace_first(false).build().unwrap();
        let pids: HashSet<u32> = procs.map(0..9, pid).unwrap().into_iter().collect();
        assert_eq!(pids.len(), 5);
        assert!(procs.replace_worker(procs.worker_pids()[0]));
        assert_eq!(procs.call(pid).retry(1).map(0..9).unwrap().len(), 9);
    }

    /// An initializer that fails in the next one fails the pool, as in any worker.
    fn an_initializer_that_fails_later_fails_the_pool() {
        fn only_once(notes: String) {
            note(&notes, 1);
            assert!(noted(&notes) == 1, "no second time");
        }
        let notes = Scratch::new("replaced-fails");
        let builder = ProcessPool::builder().workers(1).initializer(notes.text(), only_once);
        let procs = builder.build().unwrap();
        let old = procs.spawn(0, pid).join().unwrap();
        assert!(procs.replace_worker(old));
        until(|| procs.spawn(0, pid).join().is_err());
        let error = procs.spawn(0, pid).join().unwrap_err().to_string();
        assert!(error.contains("no second time"), "{error}");
    }

    /// Both workers are replaced, and with `TREFOIL_FULL` again and again, under an even load:
    /// nothing is late or refused.
    fn an_even_load_notices_nothing() {
        an_even_load(StartMethod::Spawn);
    }

    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    fn an_even_load_notices_no_copies() {
        if !support::is_plain() {
            an_even_load(StartMethod::ForkServer);
        }
    }
}

fn an_even_load(method: StartMethod) {
    fn load(millis: u64) {
        sleep(Duration::from_millis(millis));
    }
    fn item(_: u32) -> u32 {
        sleep(Duration::from_millis(1));
        std::process::id()
    }
    let whole = std::env::var_os("TREFOIL_FULL").is_some();
    // (An item must wait for a start to be late; how fast the machine is does not matter.)
    let (start, every, limit, items) = match whole {
        true => (2000, 15, 500, 5000),
        false => (3000, 20, 2500, 200),
    };
    let builder = ProcessPool::builder().workers(2).start_method(method);
    let builder = builder.initializer(start, load);
    let builder = if whole {
        builder.max_tasks_per_worker(100)
    } else {
        builder
    };
    let procs = builder.build().unwrap();
    let old = ready(&procs, 2);
    let begin = Instant::now();
    let mut tasks = Vec::new();
    for n in 0..items {
        if n % 1500 == 20 {
            for pid in procs.worker_pids() {
                procs.replace_worker(pid);
            }
        }
        let due = begin + Duration::from_millis(every) * n;
        sleep(due.saturating_duration_since(Instant::now()));
        let limit = Duration::from_millis(limit);
        tasks.push(procs.call(item).within(limit).spawn(n));
    }
    let results: Vec<_> = tasks.into_iter().map(Task::join).collect();
    let errors = results.iter().filter_map(|result| result.as_ref().err());
    let failed: Vec<_> = errors.collect();
    assert!(
        failed.is_empty(),
        "{} of {items} failed: {}",
        failed.len(),
        failed[0]
    );
    let pids: HashSet<u32> = results.into_iter().flatten().collect();
    assert!(
        pids.iter().any(|pid| !old.contains(pid)),
        "nobody was replaced"
    );
}
