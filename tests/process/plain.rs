//! Plain workers, which are nothing but a framed stream of bytes: their particular behaviour.
//!
//! The tests of the other modules run with them, too: `TREFOIL_PLAIN_WORKERS=1 cargo test --test
//! process`, a step of `.ci/run`.

use crate::support::{self, Scratch, Test, kill, suspend, tests, until};

use std::collections::HashSet;
use std::io::ErrorKind;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use trefoil::process::channel;
use trefoil::{Bulk, PoolError, ProcessPool, Shared, SharedAtomics, Shutdown, TaskError};

/// The tests that do not apply to plain workers, and why: `ProcessPoolBuilder::plain_workers` and
/// `docs/internals/decisions/plain-workers.md` say the same.
pub(crate) const EXCEPT: &[(&str, &str)] = &[
    (
        "attachment::",
        "no descriptor can be sent to them; it has a pool of them for the error",
    ),
    ("channel::", "the end of a channel is a descriptor"),
    ("crashes::", "nothing is noted"),
    (
        "fork_server::",
        "a fork server sends descriptors; it has a pool of them for the error",
    ),
    ("shared_ring::", "there is no shared ring"),
    (
        "hostile::",
        "it attacks the shared pages, and has a pool of plain workers where it attacks these",
    ),
    (
        "bulk::what_was_lent_is_read_as_a_bulk_or_an_error",
        "nothing is lent",
    ),
    (
        "memory::it_outlives_the_process_that_made_it",
        "SharedAtomics",
    ),
    ("memory::many_threads_have_the_same", "SharedAtomics"),
    (
        "memory::too_many_descriptors_on_their_way_wait",
        "no descriptor is on its way",
    ),
    ("permits::", "they are words in shared memory"),
    (
        "pool::last_words_are_those_of_the_item",
        "the parent cannot tell an item's words from those of items before it",
    ),
    ("pool::last_words_of_an_item_among_others", "the same"),
    ("shared::a_flag_stops_a_worker", "SharedAtomics"),
    ("shared::atomics_are_the_same_words", "SharedAtomics"),
    ("shared::it_comes_again", "SharedAtomics"),
    (
        "shared::nothing_is_left_open_when_workers_are_killed",
        "SharedAtomics",
    ),
];

/// The tests that also do not hold where all workers are plain, as on macOS, FreeBSD and Windows,
/// and here with `--cfg trefoil_port`.
pub(crate) const PORT: &[(&str, &str)] = &[
    (
        "described::what_travels_beside_the_bytes_does_so_behind_an_attribute",
        "channels between processes are not available",
    ),
    (
        "pool::a_panic_while_an_argument_is_written_is_an_error",
        "channels between processes are not available",
    ),
    (
        "shared::no_process_can_write_to_it",
        "there are no seals, and no other process has the descriptor",
    ),
];

/// The same where the system cannot limit the memory of a worker. (Windows and FreeBSD can.)
pub(crate) const ENDLESS: &[(&str, &str)] = &[
    ("limits::too_much_memory_costs_one_item", MEMORY),
    (
        "limits::a_panic_at_the_limit_is_told_and_the_limit_stays",
        MEMORY,
    ),
    ("limits::an_argument_that_does_not_fit_fails_alone", MEMORY),
    ("limits::what_leaks_is_replaced_between_items", MEMORY),
    ("one::a_memory_limit_holds", MEMORY),
];

const MEMORY: &str = "there is no limit";

fn plain(workers: usize) -> ProcessPool {
    let builder = ProcessPool::builder().workers(workers);
    builder.plain_workers(true).build().unwrap()
}

/// The names of the files that a worker has open or mapped.
#[cfg(unix)]
fn insides(_: ()) -> Vec<String> {
    let open = std::fs::read_dir("/proc/self/fd").unwrap().flatten();
    let open = open.filter_map(|entry| std::fs::read_link(entry.path()).ok());
    let mut all: Vec<String> = open.map(|path| path.display().to_string()).collect();
    all.push(std::fs::read_to_string("/proc/self/maps").unwrap());
    all
}

/// More bytes of results than a worker keeps before it sends.
const LARGE: usize = 256 << 10;

/// A result in whose destructor its worker may stop.
#[derive(Serialize, Deserialize)]
struct Stops {
    bytes: Bulk<u8>,
    #[serde(skip)]
    stops: bool,
}

impl Drop for Stops {
    fn drop(&mut self) {
        if self.stops {
            suspend(std::process::id());
        }
    }
}

/// Which thread has decoded it.
#[cfg(all(target_os = "linux", not(trefoil_port)))]
struct DecodedBy(std::thread::ThreadId);

#[cfg(all(target_os = "linux", not(trefoil_port)))]
impl Serialize for DecodedBy {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u8(1)
    }
}

#[cfg(all(target_os = "linux", not(trefoil_port)))]
impl<'de> Deserialize<'de> for DecodedBy {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        u8::deserialize(deserializer).map(|_| Self(std::thread::current().id()))
    }
}

fn is_told<T: std::fmt::Debug>(result: Result<T, TaskError>) {
    let error = result.expect_err("it has travelled");
    assert!(matches!(error, TaskError::Codec(_)), "{error:?}");
    assert!(error.to_string().contains("plain_workers"), "{error}");
}

tests! {
    #[cfg(unix)]
    fn nothing_is_shared_and_nothing_is_handed_over() {
        let procs = plain(1);
        let insides = procs.spawn((), insides).join().unwrap();
        let sockets = insides.iter().filter(|path| path.starts_with("socket:")).count();
        assert!((1..=4).contains(&sockets), "one stream, and copies of it: {insides:?}");
        assert!(!insides.iter().any(|path| path.contains("memfd") || path.contains("eventfd")), "{insides:?}");
    }

    fn what_cannot_travel_says_why() {
        let procs = plain(1);
        let atomics = SharedAtomics::from(vec![1u64; 9]);
        is_told(procs.spawn(atomics.clone(), |atomics: SharedAtomics<AtomicU64>| atomics.len()).join());
        is_told(procs.map_with(&atomics, 0..3, |_: &SharedAtomics<AtomicU64>, n: usize| n));
        is_told(procs.spawn((), |()| SharedAtomics::from(vec![1u64])).join());
        let channel = channel::<u32>(1);
        if support::PORT {
            // No worker could have its ends, so there is none.
            let none = channel.unwrap_err();
            assert_eq!(none.kind(), ErrorKind::Unsupported);
            assert!(none.to_string().contains("on this system"), "{none}");
        } else {
            let (sender, receiver) = channel.unwrap();
            is_told(procs.spawn(sender, drop).join());
            drop(receiver);
        }
        let builder = ProcessPool::builder().plain_workers(true).initializer(atomics, drop);
        let error = builder.build().unwrap_err();
        assert!(matches!(&error, PoolError::Initializer(_)), "{error:?}");
        assert_eq!(procs.spawn(6, |n: u32| n * 7).join().unwrap(), 42, "and the pool lives");
    }

    /// The caller that waits for a call receives and decodes the result: no other thread is woken.
    #[cfg(all(target_os = "linux", not(trefoil_port)))]
    fn a_caller_receives_its_result_by_itself() {
        let procs = plain(1);
        let call = || procs.spawn((), |()| DecodedBy(std::thread::current().id())).join().unwrap();
        // (The driver is quicker if it is awake, or if the worker answers before its caller waits.)
        until(|| call().0 == std::thread::current().id());
    }

    /// A caller gets its result, although other callers wait beside it.
    fn callers_beside_each_other_have_their_results() {
        let procs = plain(2);
        std::thread::scope(|scope| {
            for first in 0..4u64 {
                let procs = &procs;
                scope.spawn(move || {
                    for n in first * 1000..first * 1000 + 300 {
                        let pause = Duration::from_micros(n % 7 * 300);
                        let call = procs.spawn((n, pause), |(n, pause)| {
                            std::thread::sleep(pause);
                            n + 1
                        });
                        assert_eq!(call.join().unwrap(), n + 1);
                    }
                });
            }
        });
        let stats = procs.stats();
        assert_eq!((stats.completed, stats.failed), (1200, 0));
    }

    /// However a call is waited for after calls whose callers waited for them at once.
    fn a_call_ends_however_it_is_waited_for() {
        let procs = plain(1);
        let call = |n: u64| procs.spawn(n, |n: u64| n + 1);
        for n in 0..600 {
            for n in 0..n % 4 {
                assert_eq!(call(n).join().unwrap(), n + 1);
            }
            let mut task = call(n);
            match n % 6 {
                0 => assert_eq!(futures::executor::block_on(task).unwrap(), n + 1),
                1 => until(|| task.is_finished()),
                2 => assert_eq!(task.join_timeout(Duration::from_secs(60)).unwrap(), n + 1),
                3 => {
                    let (tell, told) = std::sync::mpsc::channel();
                    task.on_done(move |result| tell.send(result.unwrap()).unwrap());
                    assert_eq!(told.recv().unwrap(), n + 1);
                }
                4 => {
                    let both = trefoil::join_all([task, call(n)]).join();
                    assert!(both.into_iter().all(|result| result.unwrap() == n + 1));
                }
                _ => task.detach(),
            }
        }
        until(|| procs.stats().completed == 600 + 100 + 900);
    }

    #[cfg(unix)]
    fn what_is_only_read_is_copied_once_for_each_worker() {
        let procs = plain(1);
        let shared: Shared<u8> = (0..3 << 20).map(|n: u32| (n / 5) as u8).collect();
        let there = |(shared, n): (Shared<u8>, usize)| {
            let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
            let line = maps.lines().find(|line| line.contains("trefoil-shared")).unwrap();
            let number = line.split_whitespace().nth(4).unwrap();
            (shared[n], number.to_owned())
        };
        let items = (0..40usize).map(|n| (shared.clone(), n * 70_000));
        let seen = procs.call(there).chunk_size(3).map(items).unwrap();
        assert!(seen.iter().enumerate().all(|(n, (byte, _))| *byte == shared[n * 70_000]));
        assert!(seen.iter().all(|(_, file)| *file == seen[0].1), "it was copied again");
    }

    #[cfg(unix)]
    fn an_idle_worker_keeps_nothing_that_is_gone_here() {
        let procs = plain(2);
        let shared: Shared<u8> = (0..3 << 20).map(|n: u32| (n / 5) as u8).collect();
        // Both may have a copy: one takes over items that the other has not begun.
        assert_eq!(procs.spawn(shared.clone(), |shared: Shared<u8>| shared.len()).join().unwrap(), 3 << 20);
        let holds = || {
            let open = |pid: u32| std::fs::read_dir(format!("/proc/{pid}/fd")).unwrap().flatten();
            let open = procs.worker_pids().into_iter().flat_map(open);
            let mut paths = open.filter_map(|entry| std::fs::read_link(entry.path()).ok());
            paths.any(|path| path.to_string_lossy().contains("trefoil-shared"))
        };
        assert!(holds(), "it keeps what is still there");
        drop(shared);
        until(|| !holds());
    }

    fn large_numbers_travel_with_the_other_bytes() {
        let numbers: Bulk<u64> = (0..1 << 20).collect::<Vec<u64>>().into();
        let back = plain(2).spawn(numbers.clone(), |numbers: Bulk<u64>| numbers).join().unwrap();
        assert!(back == numbers);
    }

    fn what_had_not_begun_ends_with_the_pool() {
        let scratch = Scratch::new("plain-stop");
        let procs = plain(1);
        let items = (0..5).map({ let path = scratch.text(); move |n| (path.clone(), n) });
        let stops = |(path, n): (String, u64)| {
            support::note(&path, u64::from(std::process::id()));
            if n == 0 {
                suspend(std::process::id());
            }
            n
        };
        let results = procs.call(stops).chunk_size(5).imap(items);
        std::thread::scope(|s| {
            let results = s.spawn(|| results.collect::<Vec<_>>());
            until(|| !scratch.notes().is_empty());
            s.spawn(|| procs.shutdown_timeout(Shutdown::CancelPending, Duration::from_secs(60)));
            until(|| {
                let mut late = procs.spawn(0, |n: u64| n);
                matches!(late.try_join(), Some(Err(TaskError::Closed)))
            });
            kill(scratch.notes()[0] as u32);
            let results = results.join().unwrap();
            assert!(matches!(results[0], Err(TaskError::WorkerDied(_) | TaskError::Cancelled)), "{results:?}");
            assert!(!results.iter().any(Result::is_ok), "{results:?}");
        });
        assert_eq!(scratch.notes().len(), 1, "an item has begun in a pool that ends");
    }

    fn a_stopped_worker_holds_up_no_call() {
        for workers in [1, 2] {
            let procs = plain(workers);
            // A worker that has not said hello yet would get nothing.
            let mut ran = HashSet::new();
            until(|| {
                ran.extend(procs.map(0..9, |_: u64| std::process::id()).unwrap());
                ran.len() == workers
            });
            let pids = procs.worker_pids();
            suspend(pids[0]);
            // Items that it has received and not begun run elsewhere; none fails, because none ran.
            // (The other worker may be faster, and take them all: then once more.)
            until(|| {
                let results = procs.call(|n: u64| n + 1).timeout(Duration::from_millis(300)).map_each(0..40);
                let all: Vec<u64> = results.into_iter().map(Result::unwrap).collect();
                assert_eq!(all, (1..=40).collect::<Vec<u64>>());
                !procs.worker_pids().contains(&pids[0])
            });
        }
    }

    fn a_worker_stopped_in_an_item_is_ended_with_it() {
        let scratch = Scratch::new("plain-stopped");
        let stops = |(path, n): (String, u64)| {
            support::note(&path, u64::from(std::process::id()));
            if n == 0 {
                suspend(std::process::id());
            }
            n
        };
        let items = || (0..6).map({ let path = scratch.text(); move |n| (path.clone(), n) });
        let procs = plain(1);
        let results = procs.call(stops).timeout(Duration::from_millis(100)).map_each(items());
        assert!(matches!(results[0], Err(TaskError::TimedOut(_))), "{results:?}");
        assert!(results[1..].iter().all(Result::is_ok), "{results:?}");

        let stopped = procs.spawn((scratch.text(), 0), stops);
        let behind = procs.spawn((scratch.text(), 1), stops);
        until(|| scratch.notes().len() == 7);
        assert!(stopped.cancel());
        assert_eq!(behind.join().unwrap(), 1, "it is not blamed");
        assert_eq!(scratch.notes().len(), 8);
    }

    /// A result is dropped before it is sent.
    fn who_is_stopped_in_the_destructor_of_a_result_gives_up_the_rest() {
        let scratch = Scratch::new("plain-dropped");
        let items = (0..6).map({ let path = scratch.text(); move |n| (path.clone(), n) });
        let procs = plain(1);
        let results = procs.call(|(path, n): (String, u64)| {
            support::note(&path, n);
            Stops { bytes: vec![n as u8; LARGE].into(), stops: n == 2 }
        });
        let results = results.timeout(Duration::from_millis(100)).chunk_size(6).map_each(items);
        for (n, result) in (0..).zip(results) {
            match result {
                Ok(result) => assert!(n != 2 && result.bytes[LARGE - 1] == n),
                Err(error) => assert!(n == 2 && matches!(error, TaskError::TimedOut(_)), "{n}: {error:?}"),
            }
        }
        assert_eq!(scratch.notes().len(), 6, "each item has run once");
    }

    fn a_stopped_worker_does_not_hold_up_the_end() {
        let procs = plain(1);
        assert_eq!(procs.spawn(1, |n: u64| n).join().unwrap(), 1);
        suspend(procs.worker_pids()[0]);
        let tasks: Vec<_> = (0..5).map(|n| procs.spawn(n, |n: u64| n)).collect();
        procs.shutdown(Shutdown::CancelPending);
        for task in tasks {
            assert!(matches!(task.join(), Err(TaskError::Cancelled)));
        }
    }

    #[cfg(unix)]
    fn an_idle_worker_keeps_no_large_frame() {
        let procs = plain(1);
        let large = Bulk::from(vec![1_u8; 128 << 20]);
        assert_eq!(procs.spawn(large, |bytes: Bulk<u8>| bytes.len()).join().unwrap(), 128 << 20);
        let statm = format!("/proc/{}/statm", procs.worker_pids()[0]);
        until(|| {
            let text = std::fs::read_to_string(&statm).unwrap();
            let pages: u64 = text.split(' ').nth(1).unwrap().parse().unwrap();
            pages * 4096 < 64 << 20
        });
    }
}
