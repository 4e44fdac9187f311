//! Large and shared memory in calls: `Bulk`, `Shared`, `SharedAtomics`.
#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::print_stdout,
    clippy::print_stderr
)] // a program, not the crate

use crate::support;

use std::collections::HashMap;
use std::fmt::Debug;
#[cfg(unix)]
use std::os::fd::AsRawFd;
use std::panic::resume_unwind;
use std::process::abort;
use std::sync::atomic::{AtomicU8, AtomicU32, AtomicU64, Ordering};

#[cfg(unix)]
use rustix::process::{Resource, Rlimit, setrlimit};
use serde::de::value::SeqDeserializer;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use support::{Test, kill, pool, tests, until};
use trefoil::process::PlainAtomic;
use trefoil::{Bulk, ProcessPool, Shared, SharedAtomics, TaskError};

pub(crate) fn helpers() {
    support::helper(&[
        #[cfg(unix)]
        ("shared_poor", poor),
    ]);
}

/// How many descriptors this process has, and how many mappings of our shared memory.
fn holdings(_: ()) -> (usize, usize) {
    // (The mappings are not known on Windows.)
    let maps = match cfg!(windows) {
        true => String::new(),
        false => std::fs::read_to_string("/proc/self/maps").unwrap(),
    };
    let ours = |line: &&str| line.contains("trefoil-shared") || line.contains("trefoil-atomics");
    (support::descriptors(), maps.lines().filter(ours).count())
}

/// How many pages this thread has touched for the first time.
#[cfg(target_os = "linux")]
fn faults() -> u64 {
    let text = std::fs::read_to_string("/proc/thread-self/stat").unwrap();
    let (_, fields) = text.rsplit_once(')').unwrap();
    fields.split_whitespace().nth(7).unwrap().parse().unwrap()
}

fn detail<T: Debug>(result: Result<T, TaskError>) -> String {
    match result {
        Err(error @ TaskError::Codec(_)) => error.to_string(),
        other => panic!("a codec error was expected: {other:?}"),
    }
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Nested {
    name: String,
    table: Option<Shared<u32>>,
    more: Vec<(u8, Shared<f64>)>,
    bulk: Bulk<i16>,
}

fn nested() -> Nested {
    Nested {
        name: "n".to_owned(),
        table: Some(Shared::from(vec![1, 2, 3])),
        more: (0..5)
            .map(|n| (n, Shared::from(vec![f64::from(n); 3])))
            .collect(),
        bulk: Bulk::from(vec![-1, 0, 1]),
    }
}

/// Writes a `Shared<u8>` and reads it as longer than it is, or as another.
#[derive(Serialize)]
struct Liar(Shared<u8>, u64, u64);

impl<'de> Deserialize<'de> for Liar {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let ((number, bytes), other, longer) = <((u64, u64), u64, u64)>::deserialize(deserializer)?;
        let lies = [number + other, bytes + longer].into_iter();
        let shared: Result<Shared<u8>, D::Error> = Shared::deserialize(SeqDeserializer::new(lies));
        Ok(Self(shared?, 0, 0))
    }
}

/// Reads what was written as bytes as `u64`s.
struct Bytes(Vec<u8>);

impl Serialize for Bytes {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(&self.0)
    }
}

impl<'de> Deserialize<'de> for Bytes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let numbers = Bulk::<u64>::deserialize(deserializer)?;
        Ok(Self(numbers.iter().map(|n| *n as u8).collect()))
    }
}

/// Shared memory that is written as atomics of eight bytes and read as bytes.
#[derive(Debug, Serialize)]
struct Smaller(SharedAtomics<AtomicU64>);

impl<'de> Deserialize<'de> for Smaller {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let bytes = SharedAtomics::<AtomicU8>::deserialize(deserializer)?;
        bytes[0].store(1, Ordering::Relaxed);
        Ok(Self(SharedAtomics::from(vec![u64::from(
            bytes[0].load(Ordering::Relaxed),
        )])))
    }
}

/// Takes the memory, and panics.
#[derive(Debug, Serialize)]
struct Fragile(Shared<u8>);

impl<'de> Deserialize<'de> for Fragile {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let shared = Shared::<u8>::deserialize(deserializer)?;
        // Without the panic hook, because a worker that still writes its backtrace when the others
        // are cancelled is killed.
        resume_unwind(Box::new(format!("{} bytes are unlucky", shared.len())))
    }
}

/// Lets this process open nothing more.
#[cfg(unix)]
fn limit(_: ()) {
    let lowest = std::fs::File::open("/dev/null").unwrap();
    let limit = Rlimit {
        current: Some(lowest.as_raw_fd() as u64),
        maximum: Some(lowest.as_raw_fd() as u64),
    };
    setrlimit(Resource::Nofile, limit).unwrap();
}

/// The message if shared memory has not arrived in a process that may open nothing more.
fn no_place() -> &'static str {
    match support::is_plain() {
        true => "could not be received",
        false => "RLIMIT_NOFILE",
    }
}

/// A process that cannot make shared memory.
#[cfg(unix)]
fn poor() {
    trefoil::init();
    let procs = pool(1);
    assert_eq!(procs.spawn(1u8, |n: u8| n).join().unwrap(), 1);
    limit(());
    let shared = Shared::from(vec![1u8, 2]);
    assert_eq!(*shared, [1, 2], "it is here");
    let sent = procs.spawn(shared.clone(), |s: Shared<u8>| s.len()).join();
    assert!(detail(sent).contains("no shared memory"));
    assert!(SharedAtomics::<AtomicU64>::new(1).is_err());
    let atomics = SharedAtomics::from(vec![3u64]);
    assert_eq!(atomics[0].load(Ordering::Relaxed), 3);
    let sent = procs.spawn(atomics, |_: SharedAtomics<AtomicU64>| ());
    assert!(detail(sent.join()).contains("no shared memory"));
    // This process has no descriptor for a result.
    let result = procs.spawn((), |()| Shared::from(vec![1u8])).join();
    assert!(detail(result).contains(no_place()));
    assert_eq!(procs.spawn(1u8, |n: u8| n).join().unwrap(), 1);
    assert_eq!(procs.stats().died, 0);
}

fn both_ways<T>(procs: &ProcessPool, numbers: Vec<T>)
where
    T: trefoil::process::Plain + Serialize + for<'de> Deserialize<'de>,
{
    let bulk = Bulk::from(numbers.clone());
    let back = procs.spawn(bulk.clone(), |bulk: Bulk<T>| bulk).join();
    assert_eq!(back.unwrap(), bulk);
    assert_eq!(bulk.into_vec(), numbers);
    let shared = Shared::from(numbers.clone());
    let there = procs.spawn(shared.clone(), |shared: Shared<T>| shared.to_vec());
    assert_eq!(there.join().unwrap(), numbers);
    let back = procs.spawn(numbers.clone(), |numbers: Vec<T>| Shared::from(numbers));
    assert_eq!(*back.join().unwrap(), *numbers);
}

fn counts<A: PlainAtomic>(atomics: SharedAtomics<A>, add: fn(&A)) -> SharedAtomics<A> {
    atomics.iter().for_each(add);
    atomics
}

tests! {
    fn numbers_of_every_kind_travel_and_are_shared() {
        let procs = pool(1);
        both_ways(&procs, vec![0u8, 255]);
        both_ways(&procs, vec![1u16, u16::MAX]);
        both_ways(&procs, vec![1u32, u32::MAX]);
        both_ways(&procs, vec![1u64, u64::MAX]);
        both_ways(&procs, vec![1u128, u128::MAX]);
        both_ways(&procs, vec![1usize, usize::MAX]);
        both_ways(&procs, vec![-1i8, 1]);
        both_ways(&procs, vec![-1i16, 1]);
        both_ways(&procs, vec![-1i32, 1]);
        both_ways(&procs, vec![-1i64, 1]);
        both_ways(&procs, vec![-1i128, 1]);
        both_ways(&procs, vec![-1isize, 1]);
        both_ways(&procs, vec![-1.5f32, f32::INFINITY]);
        both_ways(&procs, vec![-1.5f64, f64::MIN_POSITIVE]);
        both_ways(&procs, Vec::<f64>::new());
    }

    fn bulk_of_every_size_arrives() {
        let procs = pool(2);
        for size in [0, 1, 65_535, 65_536, 65_537, 126_970, 212_992, 262_143, 1 << 20, (16 << 20) + 1] {
            let bytes: Vec<u8> = (0..size).map(|n: usize| (n * 7 + n / 251) as u8).collect();
            let sent = Bulk::from(&bytes[..]);
            let back = procs.spawn((3u8, sent), |(n, bulk): (u8, Bulk<u8>)| (bulk, n));
            let (back, three) = back.join().unwrap();
            assert!(*back == *bytes && three == 3, "{size}");
        }
        let sums = procs.map(
            (0..100).map(|n| Bulk::from(vec![f64::from(n); 1000 * (n as usize % 7)])),
            |bulk: Bulk<f64>| bulk.iter().sum::<f64>(),
        );
        let known: Vec<f64> = (0..100u32).map(|n| f64::from(n) * 1000.0 * f64::from(n % 7)).collect();
        assert_eq!(sums.unwrap(), known);
    }

    fn bytes_that_are_no_numbers_are_an_error() {
        let procs = pool(1);
        let call = |bytes: Vec<u8>| procs.spawn(Bytes(bytes), |b: Bytes| b.0.len()).join();
        assert_eq!(call(vec![0; 24]).unwrap(), 3);
        assert_eq!(call(vec![]).unwrap(), 0);
        assert!(detail(call(vec![0; 23])).contains("whole number of elements"));
        assert!(detail(call(vec![0; 1])).contains("whole number of elements"));
    }

    fn shared_memory_is_a_part_of_anything() {
        let procs = pool(2);
        let there = procs.spawn(nested(), |n: Nested| (n == nested(), n.more.len()));
        assert_eq!(there.join().unwrap(), (true, 5));
        assert_eq!(procs.spawn((), |()| nested()).join().unwrap(), nested());
        let echo = procs.map((0..20).map(|_| nested()), |n: Nested| n).unwrap();
        assert!(echo.len() == 20 && echo.iter().all(|n| *n == nested()));
        for each in procs.imap((0..20).map(|_| nested()), |n: Nested| Some(n)) {
            assert_eq!(each.unwrap(), Some(nested()));
        }
        let with = procs.map_with(&nested(), 0..20, |common: &Nested, n: usize| {
            assert_eq!(*common, nested());
            common.more[n % 5].1.clone()
        });
        let with = with.unwrap();
        assert_eq!(*with[13], [3.0; 3]);
        let called = procs.call(|n: Nested| n.table).chunk_size(3).map((0..7).map(|_| nested()));
        assert_eq!(called.unwrap().len(), 7);
    }

    fn a_context_whose_decoder_panics_leaves_nothing_behind() {
        let procs = support::patient(2);
        let pids = procs.worker_pids();
        let holdings = || procs.spawn((), holdings).join().unwrap();
        let before = holdings();
        for _ in 0..20 {
            let context = Fragile(Shared::from(vec![1u8; 13]));
            match procs.map_with(&context, 0..100, |_: &Fragile, n: u32| n) {
                Err(TaskError::Panicked(panic)) => assert_eq!(panic.message(), "13 bytes are unlucky"),
                other => panic!("a panic was expected: {other:?}"),
            }
        }
        assert_eq!(procs.worker_pids(), pids, "the workers live");
        (0..4).for_each(|_| assert_eq!(holdings(), before));
    }

    fn an_initializer_gets_it() {
        static KEPT: std::sync::OnceLock<Shared<u64>> = std::sync::OnceLock::new();
        let shared = Shared::from((0..1000).collect::<Vec<u64>>());
        let procs = ProcessPool::builder().workers(2).initializer(shared, |shared: Shared<u64>| {
            KEPT.set(shared).unwrap();
        });
        let procs = procs.build().unwrap();
        let sum = |()| KEPT.get().unwrap().iter().sum::<u64>();
        assert_eq!(procs.spawn((), sum).join().unwrap(), 499_500);
        // The second worker may not have been started yet.
        procs.worker_pids().into_iter().for_each(kill);
        let late = procs.call(sum).retry(3).spawn(()).join();
        assert_eq!(late.unwrap(), 499_500, "the next worker gets it, too");
    }

    fn it_is_mapped_and_not_copied() {
        let procs = pool(1);
        let shared = Shared::from(vec![7u8; 64 << 20]);
        let place = shared.as_ptr();
        let same = procs.spawn(vec![shared.clone(), shared.clone()], |pair: Vec<Shared<u8>>| {
            let maps = holdings(()).1;
            (pair[0].as_ptr() == pair[1].as_ptr(), maps, pair[1].clone())
        });
        let (one, maps, back) = same.join().unwrap();
        assert!(one && maps == usize::from(cfg!(unix)), "{maps} mappings");
        if support::is_plain() {
            assert!(back == shared, "what comes back is a copy");
        } else {
            assert_eq!(back.as_ptr(), place, "what comes back is what was sent");
            assert_eq!(holdings(()).1, 1);
        }
        let stays = procs.map_with(&shared, 0..100, |shared: &Shared<u8>, _: i32| shared.as_ptr() as usize);
        let stays = stays.unwrap();
        assert!(stays.iter().all(|at| *at == stays[0]));
    }

    /// A loop that sends the same memory again and again maps it once: what takes long is not the
    /// mapping, but that each page of it is touched for the first time.
    #[cfg(target_os = "linux")]
    fn a_worker_keeps_mapped_what_its_parent_still_has() {
        let procs = pool(1);
        let mapped = || procs.spawn((), holdings).join().unwrap().1;
        let large = || Shared::from(vec![7u8; 1 << 20]);
        let touch = |memory: &Shared<u8>, _: ()| {
            let before = faults();
            assert!(memory.iter().step_by(4096).all(|byte| *byte == 7));
            (memory.as_ptr() as usize, faults() - before)
        };
        let (context, argument) = (large(), large());
        let mut seen = Vec::new();
        for _ in 0..5 {
            seen.extend(procs.map_with(&context, [()], touch).unwrap());
            assert_eq!(mapped(), 1, "nothing runs, and it is mapped");
        }
        let (places, faults): (Vec<_>, Vec<_>) = seen.into_iter().unzip();
        assert!(places.iter().all(|place| *place == places[0]), "{places:?}");
        assert!(faults[1..].iter().all(|count| *count < 4), "{faults:?}");
        for _ in 0..5 {
            procs.spawn(argument.clone(), |memory: Shared<u8>| memory[0]).join().unwrap();
            assert_eq!(mapped(), 2);
        }
        // What the parent drops goes soon; nothing else need be sent.
        let pid = procs.worker_pids()[0];
        let there = || std::fs::read_to_string(format!("/proc/{pid}/maps")).unwrap();
        let there = || there().lines().filter(|line| line.contains("trefoil-shared")).count();
        drop(context);
        until(|| there() == 1);
        drop(argument);
        until(|| there() == 0);
        // And they are few, whatever the parent has.
        let many: Vec<_> = (0..150).map(|_| large()).collect();
        let firsts = procs.map(many.clone(), |memory: Shared<u8>| memory[0]).unwrap();
        assert_eq!(firsts, [7; 150]);
        assert!((1..=64).contains(&mapped()), "{} are mapped", mapped());
        drop(many);
        until(|| there() == 0);
        assert_eq!(procs.worker_pids(), [pid]);
    }

    #[cfg(unix)]
    fn no_process_can_write_to_it() {
        let shared = Shared::from(vec![1u8; 100]);
        let fds = std::fs::read_dir("/proc/self/fd").unwrap();
        let paths = fds.filter_map(|entry| {
            let path = entry.unwrap().path();
            let target = std::fs::read_link(&path).ok()?;
            target.to_string_lossy().contains("trefoil-shared").then_some(path)
        });
        let paths: Vec<_> = paths.collect();
        assert_eq!(paths.len(), 1);
        let file = std::fs::OpenOptions::new().write(true).open(&paths[0]);
        if let Ok(file) = file {
            assert!(rustix::io::pwrite(&file, b"x", 0).is_err());
            assert!(file.set_len(0).is_err() && file.set_len(1 << 20).is_err());
        }
        assert_eq!(*shared, [1; 100]);
    }

    fn lies_about_it_are_errors() {
        let procs = pool(1);
        let call = |other, longer| {
            let liar = Liar(Shared::from(vec![1u8; 10]), other, longer);
            procs.spawn(liar, |liar: Liar| liar.0.len()).join()
        };
        assert_eq!(call(0, 0).unwrap(), 10);
        assert!(detail(call(0, 1)).contains("less shared memory"));
        assert!(detail(call(0, u64::MAX - 10)).contains("less shared memory"));
        assert!(detail(call(1000, 0)).contains("did not come with it"));
        if !support::is_plain() {
            let smaller = Smaller(SharedAtomics::from(vec![0u64]));
            let other = procs.spawn(smaller, |s: Smaller| s.0[0].load(Ordering::Relaxed));
            assert_eq!(other.join().unwrap(), 1, "where nobody has it otherwise");
            let words = SharedAtomics::from(vec![0u64]);
            let back = procs.spawn(words.clone(), Smaller);
            assert!(detail(back.join()).contains("another size"), "this process has it");
        }
        assert_eq!(procs.stats().died, 0);
    }

    fn elsewhere_it_is_its_bytes() {
        let shared = Shared::from(vec![1u16, 2]);
        let bytes = postcard::to_stdvec(&shared).unwrap();
        assert_eq!(postcard::from_bytes::<Shared<u16>>(&bytes).unwrap(), shared);
        assert!(postcard::from_bytes::<Shared<u16>>(&[1, 1]).is_err(), "half a number");
        let bulk = Bulk::from(vec![1u16, 2]);
        assert_eq!(postcard::to_stdvec(&bulk).unwrap(), bytes);
        assert_eq!(postcard::from_bytes::<Bulk<u16>>(&bytes).unwrap(), bulk);
        assert!(postcard::to_stdvec(&SharedAtomics::from(vec![1u8])).is_err());
        // Inside an item, too, but not as its result.
        let procs = pool(1);
        let inside = procs.spawn(shared, |shared: Shared<u16>| postcard::to_stdvec(&shared).unwrap());
        assert_eq!(inside.join().unwrap(), bytes);
    }

    /// However often two sets take turns, and however far ahead they are sent.
    fn a_worker_has_the_descriptors_of_one_set_at_a_time() {
        const COUNT: usize = 120;
        let procs = pool(1);
        let sets = [1u8, 2].map(|n| (0..COUNT).map(|_| Shared::from(vec![n; 256 << 10])).collect::<Vec<_>>());
        let look = |set: Vec<Shared<u8>>| (set.len(), holdings(()).0);
        let calls = sets.each_ref().map(|set| {
            procs.call_with(set, |set: &Vec<Shared<u8>>, (): ()| (set.len(), holdings(()).0))
        });
        let (before, _) = procs.spawn((), holdings).join().unwrap();
        let mut seen = Vec::new();
        for _ in 0..3 {
            seen.extend(calls.iter().flat_map(|call| call.map([()]).unwrap()));
        }
        let items = || (0..8).map(|n| sets[n % 2].clone());
        seen.extend(procs.call(look).chunk_size(1).map(items()).unwrap());
        let tasks: Vec<_> = items().map(|set| procs.spawn(set, look)).collect();
        seen.extend(tasks.into_iter().map(|task| task.join().unwrap()));
        for (count, open) in seen {
            assert!(count == COUNT && open <= before + COUNT + 8, "{open} are open, {before} were");
        }
    }

    fn many_at_once() {
        let procs = pool(2);
        let numbers = |n: u32| Shared::from(vec![n; 10]);
        let sums = procs.map((0..500).map(numbers), |s: Shared<u32>| s.iter().sum::<u32>());
        assert!(sums.unwrap().into_iter().eq((0..500).map(|n| n * 10)));
        let back = procs.map(0..400u32, |n: u32| Shared::from(vec![n; 10])).unwrap();
        assert!(back.iter().zip(0..).all(|(s, n)| **s == [n; 10]));
        let all: Vec<_> = (0..253).map(numbers).collect();
        let count = procs.spawn(all, |all: Vec<Shared<u32>>| all);
        assert_eq!(count.join().unwrap().len(), 253);
        let more: Vec<_> = (0..254).map(numbers).collect();
        let refused = procs.spawn(more, |all: Vec<Shared<u32>>| all.len()).join();
        assert!(detail(refused).contains("253"));
        let refused = procs.spawn((), |()| (0..254u32).map(|n| Shared::from(vec![n])).collect::<Vec<_>>());
        assert!(detail(refused.join()).contains("253"));
        let one = numbers(3);
        let same = procs.spawn(vec![one; 5000], |all: Vec<Shared<u32>>| all.len());
        assert_eq!(same.join().unwrap(), 5000, "one descriptor");
    }

    #[cfg(unix)]
    fn without_descriptors_there_are_errors_in_words() {
        let builder = ProcessPool::builder().workers(1).initializer((), limit);
        let procs = builder.build().unwrap();
        let shared = Shared::from(vec![1u8]);
        let refused = procs.spawn(shared, |s: Shared<u8>| s.len()).join();
        assert!(detail(refused).contains(no_place()));
        let refused = procs.spawn((), |()| Shared::from(vec![1u8])).join();
        assert!(detail(refused).contains("no shared memory"));
        assert_eq!(procs.spawn(2, |n: u8| n).join().unwrap(), 2);
        assert_eq!(procs.stats().died, 0);
        support::run_helper("shared_poor");
    }

    fn atomics_are_the_same_words_everywhere() {
        let procs = pool(2);
        let words = SharedAtomics::<AtomicU64>::new(3).unwrap();
        assert!(words.iter().all(|word| word.load(Ordering::Relaxed) == 0));
        let add = |words: &SharedAtomics<AtomicU64>, n: usize| words[n % 3].fetch_add(1, Ordering::Relaxed);
        assert_eq!(procs.map_with(&words, 0..3000, add).unwrap().len(), 3000);
        assert!(words.iter().all(|word| word.load(Ordering::Relaxed) == 1000));
        let back = procs.spawn(words.clone(), |w: SharedAtomics<AtomicU64>| counts(w, |a| {
            a.fetch_add(1, Ordering::Relaxed);
        }));
        let back = back.join().unwrap();
        assert_eq!(back.as_ptr(), words.as_ptr());
        assert_eq!(words[2].load(Ordering::Relaxed), 1001);
        let made = procs.spawn((), |()| SharedAtomics::from(vec![AtomicU32::new(5)])).join().unwrap();
        let seen = procs.spawn(made.clone(), |w: SharedAtomics<AtomicU32>| w[0].fetch_add(1, Ordering::Relaxed));
        assert_eq!((seen.join().unwrap(), made[0].load(Ordering::Relaxed)), (5, 6));
        assert_eq!(SharedAtomics::<AtomicU8>::new(0).unwrap().len(), 0);
        assert!(SharedAtomics::<AtomicU64>::new(usize::MAX / 2).is_err());
    }

    fn a_flag_stops_a_worker_and_what_the_dead_have_written_stays() {
        let procs = pool(2);
        let flag = SharedAtomics::from(vec![0u8]);
        let waits = procs.spawn(flag.clone(), |flag: SharedAtomics<AtomicU8>| {
            flag[0].store(1, Ordering::Release);
            while flag[0].load(Ordering::Acquire) != 2 {
                std::thread::yield_now();
            }
        });
        while flag[0].load(Ordering::Acquire) != 1 {
            std::thread::yield_now();
        }
        flag[0].store(2, Ordering::Release);
        waits.join().unwrap();
        let dies = procs.spawn(flag.clone(), |flag: SharedAtomics<AtomicU8>| -> () {
            flag[0].store(9, Ordering::Relaxed);
            abort()
        });
        assert!(matches!(dies.join(), Err(TaskError::WorkerDied(_))));
        assert_eq!(flag[0].load(Ordering::Relaxed), 9);
    }

    fn it_comes_again_with_an_item_that_is_tried_again() {
        let procs = pool(2);
        let tries = SharedAtomics::from(vec![0u32]);
        let again = procs.call(|(tries, table): (SharedAtomics<AtomicU32>, Shared<u64>)| {
            if tries[0].fetch_add(1, Ordering::Relaxed) < 3 {
                abort();
            }
            table
        });
        let table = Shared::from(vec![1u64, 2, 3]);
        let back = again.retry(3).spawn((tries.clone(), table.clone())).join();
        assert_eq!(back.unwrap(), table);
        assert_eq!(tries[0].load(Ordering::Relaxed), 4);
    }

    fn a_result_survives_its_worker() {
        for _ in 0..20 {
            let procs = pool(1);
            let result = procs.spawn((), |()| Shared::from(vec![5u8; 100_000]));
            let dies = procs.spawn((), |()| -> () { abort() });
            assert!(matches!(dies.join(), Err(TaskError::WorkerDied(_))));
            assert_eq!(result.join().unwrap()[99_999], 5);
        }
    }

    fn nothing_is_left_open() {
        let (before, maps) = holdings(());
        assert_eq!(maps, 0);
        {
            let procs = pool(1);
            let inside = procs.spawn((), holdings).join().unwrap();
            let shared = Shared::from(vec![1u8; 5000]);
            for _ in 0..50 {
                procs.spawn((shared.clone(), nested()), |both: (Shared<u8>, Nested)| both.1).join().unwrap();
                drop(procs.spawn((), |()| nested())); // nobody wants it
                procs.map_with(&shared, 0..4, |s: &Shared<u8>, n: usize| s[n]).unwrap();
                let panics = procs.spawn(shared.clone(), |_: Shared<u8>| -> () { panic!("on purpose") });
                assert!(panics.join().is_err());
            }
            drop(shared); // a plain worker keeps its copy until then
            until(|| holdings(()).1 == 0); // the thread that has decoded an unwanted result drops it
            let later = procs.spawn((), holdings).join().unwrap();
            assert_eq!(later, inside, "in the worker");
        }
        until(|| holdings(()).0 <= before && holdings(()).1 == 0); // here
    }

    fn nothing_is_left_open_when_workers_are_killed() {
        let before = holdings(());
        {
            let procs = pool(2);
            let shared = Shared::from((0..10_000u32).collect::<Vec<_>>());
            let total = SharedAtomics::from(vec![0u64]);
            let start = std::time::Instant::now();
            let (mut ended, mut died) = (0, 0);
            while start.elapsed() < support::chaos() / 2 || ended == 0 {
                let items = (0..200usize).map(|n| (n, shared.clone(), total.clone()));
                let tasks: Vec<_> = items.map(|item| {
                    procs.spawn(item, |(n, shared, total): (usize, Shared<u32>, SharedAtomics<AtomicU64>)| {
                        total[0].fetch_add(1, Ordering::Relaxed);
                        (n, Shared::from(vec![shared[n]; 500]), shared)
                    })
                }).collect();
                for pid in procs.worker_pids() {
                    kill(pid);
                }
                let mut seen = HashMap::new();
                for (n, task) in tasks.into_iter().enumerate() {
                    match task.join() {
                        Ok((same, own, all)) => {
                            assert!(same == n && *own == [n as u32; 500]);
                            assert_eq!(all.as_ptr(), shared.as_ptr());
                            seen.insert(n, own);
                            ended += 1;
                        }
                        Err(TaskError::WorkerDied(_)) => died += 1,
                        Err(error) => panic!("{error}"),
                    }
                }
                assert!(seen.len() >= 198, "{}", seen.len());
            }
            assert!(ended > 0);
            assert!(total[0].load(Ordering::Relaxed) >= ended);
            assert!(total[0].load(Ordering::Relaxed) <= ended + died);
        }
        until(|| holdings(()).0 <= before.0 && holdings(()).1 <= before.1);
    }
}
