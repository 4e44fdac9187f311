//! Large and shared memory in calls under attack: limits, races, memory that is passed on.
#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::print_stdout,
    clippy::print_stderr
)] // a program, not the crate

use crate::support;

use std::collections::BTreeSet;
use std::fmt::Debug;
use std::sync::atomic::{AtomicU8, AtomicU32, AtomicU64, Ordering};

#[cfg(unix)]
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
#[cfg(target_os = "linux")]
use rustix::thread::{CapabilitySet, capabilities, set_capabilities};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use support::{Odd, Test, descriptors, kill, pool, resume, run_helper, suspend, tests, until};
use trefoil::{Bulk, Process, ProcessPool, Shared, SharedAtomics, Task, TaskError};

pub(crate) fn helpers() {
    support::helper(&[
        #[cfg(unix)]
        ("small_files", small_files),
        #[cfg(target_os = "linux")]
        ("crowded", crowded),
        #[cfg(unix)]
        ("addressless", addressless),
    ]);
}

fn detail<T: Debug>(result: Result<T, TaskError>) -> String {
    match result {
        Err(error @ TaskError::Codec(_)) => error.to_string(),
        other => panic!("a codec error was expected: {other:?}"),
    }
}

#[cfg(unix)]
fn limit(resource: Resource, current: u64) -> Option<u64> {
    let before = getrlimit(resource);
    let maximum = before.maximum;
    let current = Some(current);
    setrlimit(resource, Rlimit { current, maximum }).unwrap();
    before.current
}

/// A process whose files may not be long: making shared memory would raise a signal.
#[cfg(unix)]
fn small_files() {
    trefoil::init();
    let procs = pool(1);
    let before = limit(Resource::Fsize, 64 << 10);
    assert!(SharedAtomics::<AtomicU64>::new(1 << 20).is_err());
    assert!(SharedAtomics::<AtomicU64>::new(100).is_ok());
    let large = Shared::from(vec![7u8; 1 << 20]);
    assert_eq!(large[(1 << 20) - 1], 7, "it is here");
    let sent = procs.spawn(large, |large: Shared<u8>| large.len()).join();
    assert!(detail(sent).contains("no shared memory"));
    let small = procs.spawn(Shared::from([1u8, 2]), |small: Shared<u8>| small.len());
    assert_eq!(small.join().unwrap(), 2);
    // A plain worker needs no file.
    let more = ProcessPool::with_workers(1);
    assert_eq!(more.is_ok(), support::is_plain(), "without a signal");
    drop(more);
    limit(Resource::Fsize, before.unwrap_or(u64::MAX >> 1));
    assert_eq!(pool(1).spawn(3, |n: u32| n).join().unwrap(), 3);
}

/// A process without privileges and with few descriptors: the kernel accepts only as many
/// descriptors in messages as it may have open.
#[cfg(target_os = "linux")]
fn crowded() {
    let mut sets = capabilities(None).unwrap();
    for set in [
        &mut sets.effective,
        &mut sets.permitted,
        &mut sets.inheritable,
    ] {
        *set = CapabilitySet::empty();
    }
    set_capabilities(None, sets).unwrap();
    trefoil::init();
    let procs = pool(3);
    let all: Vec<Shared<u32>> = (0..30u32).map(|n| Shared::from([n])).collect();
    let pids = procs.worker_pids();
    // All workers have started, and are idle.
    let here = SharedAtomics::from(vec![0u32]);
    let meet = |here: SharedAtomics<AtomicU32>| {
        here[0].fetch_add(1, Ordering::Relaxed);
        until(|| here[0].load(Ordering::Relaxed) == 3);
    };
    let met: Vec<Task<()>> = (0..3).map(|_| procs.spawn(here.clone(), meet)).collect();
    met.into_iter().for_each(|task| task.join().unwrap());
    pids.iter().for_each(|pid| suspend(*pid));
    limit(Resource::Nofile, 40);
    let sum = |all: Vec<Shared<u32>>| all.iter().map(|one| one[0]).sum::<u32>();
    // Two take thirty each, the third none, because it is stopped.
    let tasks: Vec<Task<u32>> = (0..12).map(|_| procs.spawn(all.clone(), sum)).collect();
    until(|| procs.stats().busy == 3);
    pids.iter().for_each(|pid| resume(*pid));
    assert!(tasks.into_iter().all(|task| task.join().unwrap() == 435));
    // And as results: all 270 may wait to be decoded at a time, which half of the limit is for.
    let more = |n: u32| (0..30).map(|m| Shared::from([n + m])).collect::<Vec<_>>();
    limit(Resource::Nofile, 800);
    let back: Vec<Task<Vec<Shared<u32>>>> = (0..9).map(|n| procs.spawn(n, more)).collect();
    let back: Vec<_> = back.into_iter().map(|task| task.join().unwrap()).collect();
    assert!(back.iter().zip(0..).all(|(all, n)| all[29][0] == n + 29));
    assert_eq!(procs.stats().died, 0);
}

/// A process that cannot double its memory. An array that is the whole argument is sent from where
/// it is; one that is a part of something is copied, and a result needs memory here.
#[cfg(unix)]
fn addressless() {
    const LARGE: usize = 256 << 20;
    trefoil::init();
    let procs = pool(1);
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
    let pages: usize = statm.split(' ').next().unwrap().parse().unwrap();
    let has = pages * rustix::param::page_size();
    limit(Resource::As, (has + LARGE + LARGE / 2) as u64);
    // Never written to, so it takes no memory here.
    let large = || Bulk::from(vec![0u8; LARGE]);
    let whole = procs.spawn(large(), |bulk: Bulk<u8>| bulk.len());
    assert_eq!(whole.join().unwrap(), LARGE);
    // The array is kept until its frame has ended, which another answer comes after.
    assert_eq!(procs.spawn(2, |n: u32| n).join().unwrap(), 2);
    let part = procs.spawn((large(), 7u8), |both: (Bulk<u8>, u8)| both.0.len());
    let words = detail(part.join());
    assert!(words.contains("bytes of it in one piece"), "{words}");
    let back = procs.spawn(2 * LARGE, |size: usize| Bulk::from(vec![0u8; size]));
    let words = detail(back.join());
    assert!(words.contains("could not be received"), "{words}");
    assert_eq!(procs.spawn(3, |n: u32| n).join().unwrap(), 3);
}

/// Reads shared memory that has not arrived, and ignores the error.
#[derive(Debug, Serialize)]
struct Stoic;

impl<'de> Deserialize<'de> for Stoic {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let bytes = <(u64, u64)>::deserialize(deserializer)?;
        let written = postcard::to_stdvec(&bytes).unwrap();
        assert!(postcard::from_bytes::<Shared<u8>>(&written).is_err());
        Ok(Self)
    }
}

/// A value with an attachment, whose encoder then panics.
#[derive(Deserialize)]
struct Halfway(Shared<u8>);

impl Serialize for Halfway {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let _ = self.0.serialize(serializer)?;
        panic!("half-way")
    }
}

/// Passes its argument on to a worker of its own.
fn hand_on((shared, depth): (Shared<u64>, u32)) -> (Shared<u64>, u64) {
    match depth {
        0 => {
            let sum = shared.iter().sum();
            (shared, sum)
        }
        _ => pool(1).spawn((shared, depth - 1), hand_on).join().unwrap(),
    }
}

tests! {
    fn loops_and_arrays_work_as_with_vectors() {
        let mut bulk = Bulk::from([1.0f64, 2.0]);
        for x in &mut bulk {
            *x *= 2.0;
        }
        let mut sum = 0.0;
        for x in &bulk {
            sum += x;
        }
        let shared = Shared::from([1u8, 2, 3]);
        for x in &shared {
            sum += f64::from(*x);
        }
        let words = SharedAtomics::from(vec![4u32]);
        for word in &words {
            sum += f64::from(word.fetch_add(1, Ordering::Relaxed));
        }
        assert_eq!((sum, words[0].load(Ordering::Relaxed)), (16.0, 5));
    }

    fn words_belong_to_their_own_error() {
        let procs = pool(1);
        assert!(postcard::to_stdvec(&SharedAtomics::from(vec![1u8])).is_err());
        let other = detail(procs.spawn(Odd(1), |_: Odd| ()).join());
        assert!(other.contains("raised by its"), "{other}");
        // In the worker, too: one item ignores an error, the next gets another.
        let stoic = procs.spawn((7u64, 7u64), |(a, b)| {
            let bytes = postcard::to_stdvec(&(a, b)).unwrap();
            postcard::from_bytes::<SharedAtomics<AtomicU8>>(&bytes).is_err()
        });
        assert!(stoic.join().unwrap());
        let other = detail(procs.spawn(Odd(2), |_: Odd| ()).join());
        assert!(other.contains("raised by its"), "{other}");
        let back = procs.spawn((), |()| {
            assert!(postcard::to_stdvec(&SharedAtomics::from(vec![1u8])).is_err());
            Odd(1)
        });
        let other = detail(back.join());
        assert!(other.contains("raised by its"), "{other}");
        let mixed = procs.call(|(kind, a, b): (u8, u64, u64)| {
            let bytes = postcard::to_stdvec(&(a, b)).unwrap();
            assert!(postcard::from_bytes::<Stoic>(&bytes).is_ok());
            Odd(kind)
        }).chunk_size(4);
        for (kind, result) in [9, 1, 9, 1].into_iter().zip(mixed.imap([9u8, 1, 9, 1].map(|kind| (kind, 7, 7)))) {
            match kind {
                1 => assert!(detail(result).contains("raised by its")),
                _ => assert_eq!(result.unwrap().0, 9),
            }
        }
    }

    fn outside_a_call_arrays_are_byte_strings() {
        let numbers: Vec<u64> = (0..4_000).collect();
        let shared = Shared::from(numbers.clone());
        let bytes = postcard::to_stdvec(&shared).unwrap();
        assert_eq!(bytes, postcard::to_stdvec(&Bulk::from(numbers)).unwrap());
        assert_eq!(postcard::from_bytes::<Shared<u64>>(&bytes).unwrap(), shared);
        let json = serde_json::to_string(&Shared::from([7u8, 8])).unwrap();
        assert_eq!((&*json, serde_json::from_str(&json).unwrap()), ("[7,8]", Shared::from([7u8, 8])));
        // In a worker, too.
        let procs = pool(1);
        let there = procs.spawn(shared, |s: Shared<u64>| postcard::to_stdvec(&s).unwrap());
        assert_eq!(there.join().unwrap(), bytes);
    }

    fn what_panics_half_way_leaves_nothing() {
        let procs = pool(1);
        let shared = Shared::from([1u8, 2]);
        procs.spawn(shared.clone(), |s: Shared<u8>| s.len()).join().unwrap();
        let before = descriptors();
        for _ in 0..20 {
            let halfway = Halfway(Shared::from([3u8]));
            let here = procs.spawn(halfway, |_: Halfway| ());
            assert!(matches!(here.join(), Err(TaskError::Panicked(_))));
            let there = procs.spawn((), |()| -> Halfway { Halfway(Shared::from([4u8])) });
            assert!(matches!(there.join().map(drop), Err(TaskError::Panicked(_))));
            let next = procs.spawn(shared.clone(), |s: Shared<u8>| (s.len(), s));
            assert_eq!(next.join().unwrap(), (2, shared.clone()));
        }
        let inside = procs.spawn((), |()| descriptors()).join().unwrap();
        (0..20).for_each(|_| {
            let there = procs.spawn((), |()| -> Halfway { Halfway(Shared::from([4u8])) });
            assert!(there.join().is_err());
        });
        assert_eq!(procs.spawn((), |()| descriptors()).join().unwrap(), inside, "in the worker");
        until(|| descriptors() <= before);
    }

    fn it_is_handed_on_and_comes_back() {
        let shared = Shared::from((0..10_000u64).collect::<Vec<_>>());
        // Plain workers return another copy.
        let is_same = |back: &Shared<u64>| match support::is_plain() {
            true => *back == shared,
            false => back.as_ptr() == shared.as_ptr(),
        };
        let (back, sum) = hand_on((shared.clone(), 3));
        assert!(is_same(&back) && sum == 49_995_000);
        let alone = Process::spawn((shared.clone(), 1), hand_on).unwrap();
        assert!(is_same(&alone.join().unwrap().0));
    }

    fn it_outlives_the_process_that_made_it() {
        let (shared, words) = {
            let procs = pool(1);
            let made = procs.spawn(5u8, |n| (Shared::from(vec![n; 100_000]), SharedAtomics::from(vec![n])));
            let both = made.join().unwrap();
            kill(procs.worker_pids()[0]);
            both
        };
        assert!(shared.iter().all(|n| *n == 5));
        words[0].fetch_add(1, Ordering::Relaxed);
        let procs = pool(1);
        let sees = procs.spawn((shared, words), |(s, w): (Shared<u8>, SharedAtomics<AtomicU8>)| (s[99_999], w[0].load(Ordering::Relaxed)));
        assert_eq!(sees.join().unwrap(), (5, 6));
    }

    fn it_has_no_name_that_could_be_left_behind() {
        let names = || -> BTreeSet<_> {
            let entries = std::fs::read_dir("/dev/shm").into_iter().flatten();
            entries.map(|entry| entry.unwrap().file_name()).collect()
        };
        let before = names();
        let procs = pool(2);
        let shared = Shared::from(vec![1u8; 1 << 20]);
        let words = SharedAtomics::<AtomicU64>::new(1000).unwrap();
        let call = |(_, _): (Shared<u8>, SharedAtomics<AtomicU64>)| -> () { std::process::abort() };
        assert!(procs.spawn((shared, words), call).join().is_err());
        // Other programs may make and remove their files.
        let ours = |name: &&std::ffi::OsString| name.to_string_lossy().contains("trefoil");
        assert_eq!(names().difference(&before).filter(ours).count(), 0);
    }

    fn many_threads_have_the_same() {
        let procs = pool(2);
        let shared = Shared::from((0..1000u32).collect::<Vec<_>>());
        let total = SharedAtomics::from(vec![0u32]);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for n in 0..150u32 {
                        let task = procs.spawn((shared.clone(), total.clone(), n), |(shared, total, n): (Shared<u32>, SharedAtomics<AtomicU32>, u32)| {
                            total[0].fetch_add(shared[n as usize], Ordering::Relaxed);
                            (Shared::from(vec![n]), shared)
                        });
                        let (own, back) = task.join().unwrap();
                        assert!(own[0] == n && back.as_ptr() == shared.as_ptr());
                        // The last owner is dropped, now and then while another process gets its
                        // first.
                        drop(shared.clone());
                    }
                });
            }
        });
        assert_eq!(total[0].load(Ordering::Relaxed), 4 * (0..150).sum::<u32>());
    }

    fn more_than_there_is_is_refused() {
        // Sizes that the machine cannot have at all. (Sizes that are only not free are tested in
        // `host::free_memory`, where nothing is allocated.)
        let fits = [1_u64 << 46, 1 << 50].map(|bytes| usize::try_from(bytes).unwrap_or(usize::MAX));
        for bytes in fits.into_iter().chain([usize::MAX]) {
            assert!(SharedAtomics::<AtomicU8>::new(bytes).is_err());
            assert!(SharedAtomics::<AtomicU64>::new(bytes).is_err());
        }
    }

    #[cfg(unix)]
    fn more_than_there_are_addresses_for_is_refused() {
        run_helper("addressless");
    }

    #[cfg(unix)]
    fn files_may_be_limited() {
        run_helper("small_files");
    }

    #[cfg(unix)]
    fn too_many_descriptors_on_their_way_wait() {
        run_helper("crowded");
    }
}
