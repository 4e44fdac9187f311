//! Workers that are copies of a fork server: what they share, what each has for itself, and what
//! happens when the server, a worker or the parent dies.
#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::print_stdout,
    clippy::print_stderr,
    unsafe_code
)] // a program, not the crate

use crate::support;

use std::collections::{HashMap, HashSet};
use std::io::{BufRead, BufReader, Write};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::{Duration, Instant};

use support::marks::died;
use support::{
    ABORTED, Dice, KILLED, Scratch, Test, census, end_of, forever, is_dead, is_there, kill, kills,
    note, nothing_left_since, tests, until,
};
use trefoil::process::{Permits, StartMethod, retire, worker_index};
use trefoil::{Bulk, PoolError, ProcessPool, ProcessPoolBuilder, Shared, TaskError};

fn forked(workers: usize) -> ProcessPoolBuilder {
    let builder = ProcessPool::builder().workers(workers);
    builder.start_method(StartMethod::ForkServer)
}

fn pool(workers: usize) -> ProcessPool {
    forked(workers).build().unwrap()
}

/// What an initializer leaves: its process, and a table.
static MADE: OnceLock<(u32, Vec<u64>)> = OnceLock::new();

fn make((size, notes): (u64, String)) {
    note(&notes, u64::from(std::process::id()));
    MADE.set((std::process::id(), (0..size).collect())).unwrap();
}

/// The process whose initializer has made what this worker finds.
fn made_by() -> u32 {
    MADE.get().unwrap().0
}

fn id() -> u32 {
    std::process::id()
}

/// The fork servers among this process's children: those that are no workers of `procs`.
fn servers(procs: &ProcessPool) -> Vec<u32> {
    let own = id().to_string();
    let parent = |stat: &str| Some(stat.rsplit_once(") ")?.1.split(' ').nth(1)? == own);
    let mut others = Vec::new();
    for entry in std::fs::read_dir("/proc").unwrap().flatten() {
        let Some(pid) = entry
            .file_name()
            .to_str()
            .and_then(|name| name.parse().ok())
        else {
            continue;
        };
        let stat = std::fs::read_to_string(entry.path().join("stat")).unwrap_or_default();
        if parent(&stat) == Some(true) && !stat.contains(") Z ") {
            others.push(pid);
        }
    }
    let workers = procs.worker_pids();
    others.retain(|pid| !workers.contains(pid));
    others
}

/// The one server of `procs`, when each slot has its worker, and this process has no other child.
fn server(procs: &ProcessPool) -> u32 {
    until(|| procs.worker_pids().len() == procs.num_workers() && servers(procs).len() == 1);
    servers(procs)[0]
}

/// Where each open descriptor of this process leads, as far as that is the same in each process.
fn open_files(_: ()) -> Vec<String> {
    let mut all = Vec::new();
    for entry in std::fs::read_dir("/proc/self/fd").unwrap().flatten() {
        if let Ok(name) = std::fs::read_link(entry.path()) {
            let name = name.to_string_lossy().into_owned();
            all.push(name.split(':').next().unwrap().to_owned());
        }
    }
    all.retain(|name| !name.starts_with("/proc/")); // the list itself
    all.sort();
    all
}

static STEPS: Mutex<Vec<String>> = Mutex::new(Vec::new());

fn step(text: &str) {
    STEPS
        .lock()
        .unwrap()
        .push(format!("{text} {:?}", worker_index()));
}

fn steps(_: ()) -> Vec<String> {
    STEPS.lock().unwrap().clone()
}

tests! {
    fn the_initializer_runs_once_for_all_workers() {
        let notes = Scratch::new("made");
        let procs = forked(3).initializer((1000, notes.text()), make).build().unwrap();
        let found = procs.map(0..300, |n: usize| (made_by(), MADE.get().unwrap().1[n])).unwrap();
        let server = server(&procs);
        assert!(found.iter().enumerate().all(|(n, found)| *found == (server, n as u64)));
        for _ in 0..5 {
            died(procs.spawn((), |()| -> () { std::process::abort() }).join());
            assert_eq!(procs.spawn((), |()| made_by()).join().unwrap(), server);
        }
        assert_eq!(notes.notes(), [u64::from(server)]);
        assert_eq!(procs.stats().died, 5);
        assert!(!procs.worker_pids().contains(&server));
    }

    fn what_one_worker_changes_no_other_sees() {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let procs = forked(1).initializer(5, |n: u32| COUNT.store(n, Ordering::Relaxed));
        let procs = procs.max_tasks_per_worker(1).build().unwrap();
        let counts = procs.map(0..20, |_: u32| COUNT.fetch_add(1, Ordering::Relaxed)).unwrap();
        assert_eq!(counts, [5; 20]);
        assert!(procs.stats().started >= 20);
        assert_eq!(procs.stats().died, 0);
    }

    fn a_worker_is_a_child_of_the_pool_and_leads_its_own_group() {
        let procs = pool(2);
        let parent = |()| (std::os::unix::process::parent_id(), id());
        let (parent, _) = procs.spawn((), parent).join().unwrap();
        assert_eq!(parent, id());
        let server = server(&procs);
        let leads = |()| {
            let group = rustix::process::getpgrp().as_raw_nonzero().get() as u32;
            let session = rustix::process::getsid(None).unwrap().as_raw_nonzero().get() as u32;
            (group == id(), session == id())
        };
        assert_eq!(procs.spawn((), leads).join().unwrap(), (true, true));
        // What an item has started ends with its worker.
        #[allow(clippy::zombie_processes)] // it ends with the worker
        let started = procs.call(|notes: String| -> () {
            let child = support::sleeper().spawn().unwrap();
            note(&notes, u64::from(child.id()));
            forever::<()>();
        });
        let notes = Scratch::new("group");
        let late = started.timeout(Duration::from_millis(100)).spawn(notes.text()).join();
        assert!(matches!(late, Err(TaskError::TimedOut(_))));
        if let [child] = notes.notes()[..] {
            until(|| is_dead(child as u32));
        }
        assert!(is_there(server));
    }

    fn a_worker_ends_as_any_other() {
        let procs = pool(1);
        let ends: [(fn(()), support::End); 3] = [
            (|()| std::process::exit(7), (Some(7), None)),
            (|()| std::process::abort(), ABORTED),
            (|()| kill(id()), KILLED),
        ];
        for (end, expected) in ends {
            let exit = died(procs.spawn((), end).join());
            assert_eq!(end_of(&exit), expected);
            assert_ne!(exit.pid(), 0);
        }
        let words = |()| -> () { eprintln!("last words"); std::process::abort() };
        let exit = died(procs.spawn((), words).join());
        assert!(exit.stderr_tail().contains("last words"), "{exit}");
        let Err(TaskError::Panicked(panic)) = procs.spawn((), |()| -> () { panic!("no") }).join() else {
            panic!()
        };
        assert_eq!(panic.message(), "no");
        assert_eq!(procs.stats().died, 4);
    }

    #[cfg(feature = "backtrace")]
    fn a_crash_is_noted() {
        let procs = pool(1);
        for _ in 0..2 {
            let exit = died(procs.spawn((), |()| -> () { crashes_here() }).join());
            assert_eq!(end_of(&exit), support::VIOLATED);
            let backtrace = exit.backtrace().expect("it has noted the crash");
            assert!(backtrace.to_string().contains("crashes_here"), "{backtrace}");
        }
    }

    fn the_thread_knows_its_own_number() {
        let procs = pool(1);
        let numbers = |()| {
            let mut clock = 0;
            // SAFETY: it takes nothing.
            let this = unsafe { libc::pthread_self() };
            // SAFETY: it is this thread's handle, and the number is a local variable.
            let known = unsafe { libc::pthread_getcpuclockid(this, &raw mut clock) };
            // The clock's number is made of the thread's, as the C library knows it.
            ((known, !(clock >> 3)), id())
        };
        let ((known, number), pid) = procs.spawn((), numbers).join().unwrap();
        assert_eq!((known, number as u32), (0, pid));
        // Another thread can signal the first one, and a robust lock tells of its owner's death.
        let signalled = |()| {
            // SAFETY: it asks for this thread's handle.
            let first = unsafe { libc::pthread_self() };
            // SAFETY: the first thread lives; no signal is sent.
            std::thread::spawn(move || unsafe { libc::pthread_kill(first, 0) }).join().unwrap()
        };
        assert_eq!(procs.spawn((), signalled).join().unwrap(), 0);
        let robust = |()| {
            let (mut head, mut length) = (0_usize, 0_usize);
            let call = libc::SYS_get_robust_list;
            // SAFETY: both are local variables.
            let known = unsafe { libc::syscall(call, 0, &raw mut head, &raw mut length) };
            (known, head != 0)
        };
        assert_eq!(procs.spawn((), robust).join().unwrap(), (0, true));
    }

    fn after_fork_comes_before_the_first_item() {
        for method in [StartMethod::ForkServer, StartMethod::Spawn] {
            let procs = forked(2).start_method(method).initializer((), |()| step("initializer"));
            let procs = procs.after_fork(|| step("after_fork")).build().unwrap();
            let first = match method {
                StartMethod::ForkServer => "initializer None",
                _ => "initializer Some(",
            };
            for seen in procs.map(0..20, |_: u32| (steps(()), worker_index())).unwrap() {
                let (steps, index) = seen;
                assert_eq!(steps.len(), 2, "{steps:?}");
                assert!(steps[0].starts_with(first), "{steps:?}");
                assert_eq!(steps[1], format!("after_fork {index:?}"));
            }
        }
    }

    fn after_fork_starts_threads() {
        static ANSWERS: OnceLock<Mutex<std::sync::mpsc::Receiver<u32>>> = OnceLock::new();
        let starts = || {
            let (tell, told) = std::sync::mpsc::channel();
            std::thread::spawn(move || while tell.send(id()).is_ok() {});
            ANSWERS.set(Mutex::new(told)).unwrap();
        };
        let procs = forked(2).after_fork(starts).build().unwrap();
        let asks = |_: u32| (ANSWERS.get().unwrap().lock().unwrap().recv().unwrap(), id());
        assert!(procs.map(0..20, asks).unwrap().iter().all(|(there, here)| there == here));
    }

    fn after_fork_that_panics_fails_the_pool() {
        let procs = forked(2).after_fork(|| panic!("not here")).build().unwrap();
        for _ in 0..2 {
            let Err(TaskError::Panicked(panic)) = procs.spawn((), |()| ()).join() else { panic!() };
            assert_eq!(panic.message(), "not here");
        }
    }

    fn a_thread_that_an_initializer_leaves_is_named() {
        let leaves = |()| {
            let named = std::thread::Builder::new().name("left-behind".to_owned());
            named.spawn(forever::<()>).unwrap();
        };
        let procs = forked(2).initializer((), leaves).build().unwrap();
        for _ in 0..2 {
            let error = procs.spawn((), |()| ()).join().unwrap_err().to_string();
            assert!(error.contains("`left-behind`") && error.contains("after_fork"), "{error}");
        }
        assert_eq!(procs.stats().started, 0);
    }

    fn a_thread_that_is_about_to_end_is_waited_for() {
        let leaves = |()| {
            std::thread::spawn(|| std::thread::sleep(Duration::from_millis(50)));
        };
        let procs = forked(2).initializer((), leaves).build().unwrap();
        assert_eq!(procs.map(0..4, |n: u32| n).unwrap(), [0, 1, 2, 3]);
    }

    fn an_initializer_that_fails_fails_the_pool() {
        let procs = forked(2).initializer((), |()| panic!("no table")).build().unwrap();
        for _ in 0..2 {
            let Err(TaskError::Panicked(panic)) = procs.spawn((), |()| ()).join() else { panic!() };
            assert_eq!(panic.message(), "no table");
        }
        let procs = forked(1).initializer((), |()| retire()).build().unwrap();
        let error = procs.spawn((), |()| ()).join().unwrap_err().to_string();
        assert!(error.contains("retire"), "{error}");
        // One that ends its process is tried again, a few times.
        let notes = Scratch::new("exits");
        let exits = |notes: String| -> () {
            note(&notes, 1);
            eprintln!("no licence");
            std::process::exit(3)
        };
        let procs = forked(2).initializer(notes.text(), exits).build().unwrap();
        let exit = died(procs.spawn((), |()| ()).join());
        assert_eq!(exit.code(), Some(3), "{exit}");
        assert!(exit.stderr_tail().contains("no licence"), "{exit}");
        let tried = notes.notes().len();
        assert!((2..=10).contains(&tried), "{tried}");
        // Later calls are tried again.
        died(procs.spawn((), |()| ()).join());
        assert!(notes.notes().len() > tried);
        assert_eq!((procs.stats().started, procs.stats().died), (0, 0));
    }

    fn an_initializer_that_fails_in_the_next_server_fails_the_pool() {
        let notes = Scratch::new("next");
        let only_once = |notes: String| {
            note(&notes, 1);
            assert!(support::noted(&notes) == 1, "no second time");
        };
        let procs = forked(1).initializer(notes.text(), only_once).build().unwrap();
        let worker = procs.spawn((), |()| id()).join().unwrap();
        let server = server(&procs);
        kill(server);
        until(|| notes.notes().len() == 2);
        kill(worker);
        let mut error = None;
        until(|| {
            let end = procs.spawn((), |()| ()).join();
            error = end.err().filter(|error| matches!(error, TaskError::Panicked(_)));
            error.is_some()
        });
        assert!(error.unwrap().to_string().contains("no second time"));
        procs.set_workers(2);
        assert!(procs.spawn((), |()| ()).join().is_err());
    }

    fn an_initializer_may_become_another_program() {
        use std::os::unix::process::CommandExt;
        let before = census();
        let becomes = |name: String| drop(std::process::Command::new(name).arg("3600").exec());
        let procs = forked(2).initializer("true".to_owned(), becomes).build().unwrap();
        let exit = died(procs.spawn((), |()| ()).join());
        assert_eq!(exit.code(), Some(0), "{exit}");
        drop(procs);
        // One that stays is ended with its pool.
        let procs = forked(2).initializer("sleep".to_owned(), becomes).build().unwrap();
        let waits = procs.call(|()| ()).within(Duration::from_millis(100)).spawn(());
        assert!(matches!(waits.join(), Err(TaskError::TimedOut(_))));
        drop(procs);
        nothing_left_since(before);
    }

    fn what_an_initializer_has_started_ends_with_the_server() {
        let notes = Scratch::new("started");
        #[allow(clippy::zombie_processes)] // it ends with the server
        let starts = |notes: String| {
            let child = support::sleeper().spawn().unwrap();
            note(&notes, u64::from(child.id()));
        };
        let procs = forked(2).initializer(notes.text(), starts).build().unwrap();
        for _ in 0..3 {
            died(procs.spawn((), |()| -> () { std::process::abort() }).join());
        }
        assert_eq!(procs.map(0..10, |n: u32| n).unwrap().len(), 10);
        let [child] = notes.notes()[..] else { panic!() };
        assert!(is_there(child as u32), "workers' deaths do not end it");
        drop(procs);
        until(|| is_dead(child as u32));
    }

    fn what_is_impossible_is_an_error_of_build() {
        let plain = forked(1).plain_workers(true).build().unwrap_err();
        assert!(matches!(plain, PoolError::Start(_)), "{plain}");
        assert!(plain.to_string().contains("ForkServer") && plain.to_string().contains("plain"));
        let launched = forked(1).launcher(crate::wrapped::Wrapped::new(["env"])).build().unwrap_err();
        assert!(matches!(launched, PoolError::Launcher(_)), "{launched}");
        assert!(launched.to_string().contains("ForkServer"), "{launched}");
        let pinned = forked(1).pin_to(|_| [100_000]).build().unwrap_err();
        assert!(pinned.to_string().contains("worker 0 cannot be pinned"), "{pinned}");
        let named = forked(1).env_for(|_| [("a=b", "c")]).build().unwrap_err();
        assert!(named.to_string().contains("a=b"), "{named}");
    }

    fn each_worker_has_its_place() {
        let allowed = rustix::thread::sched_getaffinity(None).unwrap();
        let allowed: Vec<usize> = (0..1024).filter(|n| allowed.is_set(*n)).collect();
        let processors = allowed.clone();
        let procs = forked(3)
            .env("OF_ALL", "all")
            .env("OF_BOTH", "all")
            .env_for(|index| [("OF_ONE", index.to_string()), ("OF_BOTH", index.to_string())])
            .pin_to(move |index| [processors[index % processors.len()]])
            .initializer((), |()| assert_eq!(std::env::var("OF_ALL").unwrap(), "all"))
            .build()
            .unwrap();
        let place = |_: u32| {
            let variable = |name| std::env::var(name).unwrap();
            let own = rustix::thread::sched_getaffinity(None).unwrap();
            let own: Vec<usize> = (0..1024).filter(|n| own.is_set(*n)).collect();
            let all = [variable("OF_ALL"), variable("OF_ONE"), variable("OF_BOTH")];
            assert_eq!(std::env::var_os("TREFOIL_WORKER"), None);
            (worker_index().unwrap(), all, own)
        };
        for (index, variables, own) in procs.map(0..60, place).unwrap() {
            assert_eq!(variables, ["all".to_owned(), index.to_string(), index.to_string()]);
            assert_eq!(own, [allowed[index % allowed.len()]]);
        }
        // A replacement has the same.
        for _ in 0..4 {
            died(procs.spawn((), |()| -> () { std::process::abort() }).join());
        }
        assert!(procs.map(0..60, place).unwrap().iter().all(|(n, all, _)| all[1] == n.to_string()));
    }

    fn output_goes_where_it_should() {
        type Heard = Arc<Mutex<HashMap<u32, String>>>;
        let heard = Heard::default();
        let hears = heard.clone();
        let hook = move |pid: u32, bytes: &[u8]| {
            let text = String::from_utf8_lossy(bytes);
            hears.lock().unwrap().entry(pid).or_default().push_str(&text);
        };
        let procs = forked(2).on_output(hook).initializer((), |()| print!("from the initializer"));
        let procs = procs.build().unwrap();
        let pids = procs.map(0..20, |n: u32| { println!("item {n}"); id() }).unwrap();
        let server = server(&procs);
        let heard = heard.lock().unwrap();
        for (n, pid) in pids.iter().enumerate() {
            assert!(heard[pid].contains(&format!("item {n}\n")), "{heard:?}");
            // What the initializer has printed without a newline is not printed again.
            assert!(!heard[pid].contains("initializer"), "{heard:?}");
        }
        assert_eq!(heard[&server], "from the initializer");
        drop(heard);
        let null = forked(1).worker_stdout(trefoil::WorkerStdout::Null).build().unwrap();
        let output = |()| std::fs::read_link("/proc/self/fd/1").unwrap();
        assert_eq!(null.spawn((), output).join().unwrap(), PathBuf::from("/dev/null"));
    }

    fn core_files_and_their_limit() {
        let limit = |()| rustix::process::getrlimit(rustix::process::Resource::Core).maximum;
        assert!(pool(1).spawn((), limit).join().unwrap() <= Some(1));
        let own = rustix::process::getrlimit(rustix::process::Resource::Core).maximum;
        let procs = forked(1).core_dumps(true).build().unwrap();
        assert_eq!(procs.spawn((), limit).join().unwrap(), own);
    }

    fn a_worker_has_the_descriptors_of_one_that_was_started() {
        let notes = Scratch::new("files");
        for captured in [false, true] {
            let of = |method| {
                let mut procs = forked(2).start_method(method);
                if captured {
                    procs = procs.on_output(|_, _| {});
                }
                let procs = procs.initializer((10, notes.text()), make).build().unwrap();
                let first = procs.map(0..8, |_: u32| open_files(())).unwrap();
                died(procs.spawn((), |()| -> () { std::process::abort() }).join());
                let second = procs.map(0..8, |_: u32| open_files(())).unwrap();
                first.into_iter().chain(second).collect::<HashSet<_>>()
            };
            assert_eq!(of(StartMethod::ForkServer), of(StartMethod::Spawn));
        }
    }

    fn one_process_for_each_item() {
        let procs = forked(2).max_tasks_per_worker(1).build().unwrap();
        let pids = procs.map(0..200, |_: u32| id()).unwrap();
        assert_eq!(pids.iter().collect::<HashSet<_>>().len(), 200);
        assert_eq!((procs.stats().died, procs.stats().completed), (0, 200));
    }

    fn a_limit_counts_what_a_worker_does_not_share() {
        const LIMIT: u64 = 64 << 20;
        static SHARED: OnceLock<Mutex<Vec<u8>>> = OnceLock::new();
        let fills = |size: usize| drop(SHARED.set(Mutex::new(vec![1; size])));
        let procs = forked(1).memory_limit(LIMIT).initializer(200 << 20, fills).build().unwrap();
        // Three times the limit is shared, and read.
        let sum = |_: u32| SHARED.get().unwrap().lock().unwrap().iter().step_by(4096).map(|n| u64::from(*n)).sum();
        let before = procs.spawn((), |()| id()).join().unwrap();
        for _ in 0..3 {
            let sum: u64 = procs.spawn(0, sum).join().unwrap();
            assert!(sum >= 200 << 8);
        }
        assert_eq!(procs.spawn((), |()| id()).join().unwrap(), before, "it was replaced");
        // An item may allocate so much, and no more.
        let takes = |size: usize| std::hint::black_box(vec![1_u8; size]).len();
        assert_eq!(procs.spawn(32 << 20, takes).join().unwrap(), 32 << 20);
        assert!(died(procs.spawn(128 << 20, takes).join()).out_of_memory());
        // What it writes to becomes its own: afterwards it is replaced.
        let writes = |size: usize| {
            SHARED.get().unwrap().lock().unwrap()[..size].fill(2);
            id()
        };
        let own = procs.spawn(100 << 20, writes).join().unwrap();
        until(|| procs.spawn((), |()| id()).join().unwrap() != own);
        let sum: u64 = procs.spawn(0, sum).join().unwrap();
        assert!(sum >= 200 << 8);
        // What stays below the limit does not count.
        let own = procs.spawn(10 << 20, writes).join().unwrap();
        assert_eq!(procs.spawn((), |()| id()).join().unwrap(), own);
    }

    fn items_that_retire_are_replaced() {
        let procs = pool(2);
        let pids = procs.map(0..40, |n: u32| { if n.is_multiple_of(2) { retire() } id() }).unwrap();
        for (at, pid) in pids.iter().enumerate().filter(|(at, _)| at % 2 == 0) {
            let later = pids.iter().enumerate().filter(|(other, _)| *other != at);
            assert!(later.filter(|(_, other)| *other == pid).all(|(other, _)| other % 2 == 1));
        }
        until(|| procs.stats().retired == 20);
        assert_eq!(procs.stats().died, 0);
    }

    fn an_actor_is_loaded_once_and_each_worker_has_its_own() {
        let notes = Scratch::new("actor");
        let load = |notes: String| {
            note(&notes, 1);
            vec![7_u32]
        };
        let actor = forked(2).build_actor(notes.text(), load).unwrap();
        for _ in 0..10 {
            let add = |n, all: &mut Vec<u32>| { all.push(n); (all[0], all.len()) };
            let (first, length) = actor.call(1, add).join().unwrap();
            assert!(first == 7 && length >= 2);
        }
        let crash = |(), _: &mut Vec<u32>| -> () { std::process::abort() };
        died(actor.call((), crash).join());
        died(actor.call((), crash).join());
        let again = actor.call((), |(), all: &mut Vec<u32>| all.clone()).join().unwrap();
        assert_eq!(again[0], 7);
        assert_eq!(notes.notes().len(), 1, "it was loaded once");
        // One beside a pool with a fork server has a server of its own.
        let procs = forked(1).initializer(notes.text(), |notes: String| note(&notes, 2)).build().unwrap();
        let beside = procs.actor(notes.text(), load).unwrap();
        assert_eq!(beside.call((), |(), all: &mut Vec<u32>| all.len()).join().unwrap(), 1);
        died(beside.call((), crash).join());
        assert_eq!(beside.call((), |(), all: &mut Vec<u32>| all.len()).join().unwrap(), 1);
    }

    fn values_of_all_kinds_travel() {
        let memory = Shared::from(vec![3_u64; 10_000]);
        let procs = forked(2).initializer(memory.clone(), |memory: Shared<u64>| {
            drop(KEPT.set(memory));
        });
        static KEPT: OnceLock<Shared<u64>> = OnceLock::new();
        let procs = procs.build().unwrap();
        let permits: Permits = procs.permits("one", 1);
        let mixed = |(memory, bulk, permits): (Shared<u64>, Bulk<f64>, Permits)| {
            let _one = permits.acquire();
            let kept = KEPT.get().unwrap();
            Bulk::from(vec![kept[7] as f64 + memory[9] as f64 + bulk[0]; bulk.len()])
        };
        for size in [1, 5_000, 300_000] {
            let bulk = Bulk::from(vec![0.5; size]);
            let sum = procs.spawn((memory.clone(), bulk, permits.clone()), mixed).join().unwrap();
            assert!(sum.len() == size && sum.iter().all(|n| *n == 6.5));
        }
        let sums = procs.map_with(&vec![1_u64, 2], 0..100, |all: &Vec<u64>, n: u64| all[1] * n);
        assert_eq!(sums.unwrap()[99], 198);
    }

    fn pools_are_nested() {
        let outer = pool(1);
        let nested = |n: u32| {
            let inner = forked(2).initializer(n, |n: u32| drop(MADE.set((n, Vec::new())))).build().unwrap();
            let all = inner.map(0..10, |m: u32| m + made_by()).unwrap();
            let parents = inner.map(0..4, |_: u32| std::os::unix::process::parent_id()).unwrap();
            assert!(parents.iter().all(|parent| *parent == id()));
            all.iter().sum::<u32>()
        };
        for _ in 0..3 {
            assert_eq!(outer.spawn(3, nested).join().unwrap(), 75);
        }
        assert_eq!(outer.stats().died, 0);
    }

    fn a_server_that_is_killed_fails_no_item() {
        let notes = Scratch::new("server");
        let procs = forked(2).initializer((10, notes.text()), make).build().unwrap();
        let first = server(&procs);
        // (A worker that has just been made is still of the server's process group.)
        let both = |_: u32| { std::thread::sleep(Duration::from_millis(1)); id() };
        until(|| procs.map(0..8, both).unwrap().into_iter().collect::<HashSet<_>>().len() == 2);
        let slow = procs.spawn((), |()| { std::thread::sleep(Duration::from_millis(300)); made_by() });
        kill(first);
        until(|| servers(&procs).iter().any(|pid| *pid != first));
        assert_eq!(slow.join().unwrap(), first, "it went on");
        // Those that come later are of the next one.
        procs.worker_pids().into_iter().for_each(kill);
        until(|| procs.stats().died == 2);
        let next = server(&procs);
        assert_ne!(next, first);
        assert!(procs.map(0..8, |_: u32| made_by()).unwrap().iter().all(|made| *made == next));
        assert_eq!(procs.stats().died, 2);
        assert_eq!(notes.notes().len(), 2);
        // A server that stands still delays workers, and nothing else.
        support::suspend(next);
        assert_eq!(procs.map(0..10, |n: u32| n).unwrap().len(), 10);
        died(procs.spawn((), |()| -> () { std::process::abort() }).join());
        assert_eq!(procs.map(0..10, |n: u32| n).unwrap().len(), 10);
        support::resume(next);
        until(|| procs.worker_pids().len() == 2);
    }

    fn kills_of_workers_and_of_the_server_cost_nothing_with_a_retry() {
        kill_all_the_time(kills());
    }

    fn a_pool_ends_whatever_its_server_does() {
        let before = census();
        let begin = Instant::now();
        // It initializes, and would do so for ever.
        let procs = forked(2).initializer((), |()| forever::<()>()).build().unwrap();
        let waits = procs.spawn((), |()| ());
        drop(procs);
        assert!(waits.join().is_err());
        // It stands still.
        let procs = pool(2);
        let server = server(&procs);
        support::suspend(server);
        drop(procs);
        assert!(begin.elapsed() < Duration::from_secs(20));
        until(|| !is_there(server));
        // It was just asked, and nobody wants the worker any more.
        for _ in 0..30 {
            let procs = pool(3);
            let task = procs.spawn((), |()| -> () { std::process::abort() });
            procs.kill();
            drop(task.join());
        }
        let procs = pool(2);
        let tasks: Vec<_> = (0..50).map(|n| procs.spawn(n, |n: u32| n)).collect();
        procs.shutdown(trefoil::Shutdown::Wait);
        assert!(tasks.into_iter().all(|task| task.join().is_ok()));
        drop(procs);
        nothing_left_since(before);
    }

    fn nothing_is_left_of_many_pools() {
        let pools = if std::env::var_os("TREFOIL_FULL").is_some() { 1000 } else { 40 };
        let notes = Scratch::new("many");
        let shared = || std::fs::read_dir("/dev/shm").map_or(0, Iterator::count);
        let (before, files) = (census(), shared());
        for n in 0..pools {
            let procs = forked(2).initializer((10, notes.text()), make).build().unwrap();
            if n % 2 == 0 {
                assert_eq!(procs.map(0..3, |n: u32| n).unwrap(), [0, 1, 2]);
            }
            if n % 3 == 0 {
                died(procs.spawn((), |()| -> () { std::process::abort() }).join());
            }
            if n % 5 == 0 {
                servers(&procs).into_iter().for_each(kill);
            }
        }
        nothing_left_since(before);
        assert!(shared() <= files);
    }

    fn no_process_outlives_a_parent_that_is_killed() {
        let times = if std::env::var_os("TREFOIL_FULL").is_some() { 300 } else { 8 };
        let mut dice = Dice(7);
        for n in 0..times {
            let mut parent = support::start_helper("fork_server_parent");
            let mut lines = BufReader::new(parent.stdout.take().unwrap()).lines();
            if n % 2 == 0 {
                // At some time, perhaps while the server starts or forks.
                std::thread::sleep(Duration::from_micros(dice.roll(20_000)));
            } else {
                assert_eq!(lines.next().unwrap().unwrap(), "begins");
            }
            parent.kill().unwrap();
            parent.wait().unwrap();
            // They hold the other end of its output for as long as they live.
            let mut others = Vec::new();
            lines.map_while(Result::ok).for_each(|line| others.push(line));
        }
    }

    fn with_a_clean_end_its_handlers_run() {
        let notes = Scratch::new("ends");
        let registers = |notes: String| {
            extern "C" fn at_exit() {
                if let Some(path) = NOTES.get() {
                    note(path, u64::from(id()));
                }
            }
            static NOTES: OnceLock<String> = OnceLock::new();
            NOTES.set(notes).unwrap();
            // SAFETY: the function is one of this program, which is never unloaded.
            assert_eq!(unsafe { libc::atexit(at_exit) }, 0);
        };
        let procs = forked(1).initializer(notes.text(), registers).build().unwrap();
        let worker = procs.spawn((), |()| id()).join().unwrap();
        let server = server(&procs);
        drop(procs);
        assert_eq!(notes.notes(), [u64::from(worker), u64::from(server)]);
    }
}

#[cfg(feature = "backtrace")]
#[inline(never)]
fn crashes_here() {
    // SAFETY: there is none: it is to crash.
    unsafe { std::ptr::null_mut::<u32>().write_volatile(7) };
}

/// A `map_each` after the other, while workers are killed, and now and then the server.
fn kill_all_the_time(kills: u64) {
    let before = census();
    let notes = Scratch::new("kills");
    let procs = forked(3)
        .initializer((10, notes.text()), make)
        .build()
        .unwrap();
    let over = AtomicBool::new(false);
    let (killed, servers_killed) = (AtomicU64::new(0), AtomicU64::new(0));
    let (mut items, mut failed) = (0_u64, 0);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut dice = Dice(3);
            while killed.load(Ordering::Relaxed) < kills {
                std::thread::sleep(Duration::from_micros(dice.roll(4000)));
                if dice.roll(40) == 0 {
                    for server in servers(&procs) {
                        kill(server);
                        servers_killed.fetch_add(1, Ordering::Relaxed);
                    }
                } else if let workers @ [_, ..] = &procs.worker_pids()[..] {
                    kill(workers[dice.roll(workers.len() as u64) as usize]);
                    killed.fetch_add(1, Ordering::Relaxed);
                }
            }
            over.store(true, Ordering::Relaxed);
        });
        let square = |n: u64| {
            assert!(made_by() != id());
            std::thread::sleep(Duration::from_micros(n % 200));
            n * n
        };
        while !over.load(Ordering::Relaxed) {
            let results = procs.call(square).retry(3).map_each(0..60);
            for (n, result) in results.into_iter().enumerate() {
                match result {
                    Ok(square) => assert_eq!(square, (n * n) as u64),
                    // Four kills of one item.
                    Err(TaskError::WorkerDied(exit)) if exit.attempts() == 4 => failed += 1,
                    Err(error) => panic!("{error}"),
                }
                items += 1;
            }
        }
    });
    let (killed, servers_killed) = (killed.into_inner(), servers_killed.into_inner());
    println!("{items} items, {killed} kills, {servers_killed} of servers, {failed} failed");
    assert!(failed * 20 <= items, "{failed} of {items}"); // those that were hit four times
    assert_eq!(procs.map(0..100, |n: u32| n).unwrap().len(), 100);
    assert!(procs.stats().died <= killed);
    drop(procs);
    nothing_left_since(before);
}

/// Helpers: processes that tests start.
pub(crate) fn helpers() {
    support::helper(&[("fork_server_parent", || {
        trefoil::init();
        let procs = forked(3).max_tasks_per_worker(2).build().unwrap();
        let calls: Vec<_> = (0..3000)
            .map(|n| {
                procs.spawn(n, |n: u32| {
                    std::thread::sleep(Duration::from_micros(300));
                    n
                })
            })
            .collect();
        calls[0].cancel();
        println!("begins");
        let _ = std::io::stdout().flush();
        for call in calls {
            let _ = call.join();
        }
        forever::<()>();
    })]);
}
