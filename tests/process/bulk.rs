//! Large arrays in calls: `Bulk` as argument and result, kept, sent again, forged.
#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::print_stdout,
    clippy::print_stderr
)] // a program, not the crate

use crate::deadline::{eventually, sample, threads_asleep, threads_named};
use crate::support;

use std::fmt::Debug;
use std::process::abort;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

#[cfg(unix)]
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use support::{Scratch, Test, kill, note, noted, pool, run_helper, tests, until};
use trefoil::process::Plain;
use trefoil::{Bulk, CancelToken, Process, ProcessPool, Shutdown, Task, TaskError};

pub(crate) fn helpers() {
    support::helper(&[
        #[cfg(unix)]
        ("unshared", unshared),
        #[cfg(unix)]
        ("narrow", narrow),
        #[cfg(target_os = "linux")]
        ("once", || once(false)),
        #[cfg(target_os = "linux")]
        ("once_plain", || once(true)),
    ]);
}

/// The smallest size that is lent.
const LEAST: usize = 16 << 10;
/// The largest size that is lent.
const MOST: usize = 64 << 20;

/// Bytes in a repeated pattern: a large one is copied from itself, which is quick in a debug build,
/// too.
fn bytes(size: usize, seed: usize) -> Vec<u8> {
    let mut bytes: Vec<u8> = (0..size.min(768)).map(|n| (n / 3 + seed) as u8).collect();
    while bytes.len() < size {
        bytes.extend_from_within(..bytes.len().min(size - bytes.len()));
    }
    bytes
}

fn same(bulk: Bulk<u8>) -> Bulk<u8> {
    bulk
}

fn changed(mut bulk: Bulk<u8>) -> Bulk<u8> {
    invert(&mut bulk);
    bulk
}

/// Inverts many bytes at once, which is quicker in a debug build.
fn invert(bytes: &mut [u8]) {
    let (words, rest) = bytes.as_chunks_mut();
    words
        .iter_mut()
        .for_each(|word| *word = (!u128::from_ne_bytes(*word)).to_ne_bytes());
    rest.iter_mut().for_each(|byte| *byte ^= 0xff);
}

fn made((size, seed): (usize, usize)) -> Bulk<u8> {
    bytes(size, seed).into()
}

fn there_and_back(procs: &ProcessPool, size: usize) {
    let sent = bytes(size, size);
    let bulk = Bulk::from(&sent[..]);
    assert_eq!(
        *procs.spawn(bulk.clone(), same).join().unwrap(),
        sent,
        "{size}"
    );
    let mut other = procs.spawn(bulk, changed).join().unwrap();
    invert(&mut other);
    assert!(*other == sent, "{size}");
    assert_eq!(
        *procs.spawn((size, size), made).join().unwrap(),
        sent,
        "{size}"
    );
    if size <= 1 << 20 {
        // Encoded byte by byte.
        let vec = procs.spawn(Bulk::from(&sent[..]), Bulk::into_vec);
        assert_eq!(vec.join().unwrap(), sent, "{size}");
    }
}

fn of_a_type<T: Plain>(procs: &ProcessPool, make: fn(usize) -> T) {
    let numbers: Vec<T> = (0..40_000).map(make).collect();
    for part in [&numbers[..], &numbers[1..], &numbers[..16_387]] {
        let back = procs
            .spawn(Bulk::from(part), |bulk: Bulk<T>| (bulk.len(), bulk))
            .join()
            .unwrap();
        assert_eq!((back.0, &*back.1), (part.len(), part));
    }
}

/// How many mappings of lent memory this process has, and how many bytes of them are resident. (Not
/// known on Windows.)
fn lent(_: ()) -> (usize, usize) {
    if cfg!(windows) {
        return (0, 0);
    }
    let maps = std::fs::read_to_string("/proc/self/smaps").unwrap();
    let (mut count, mut resident, mut ours) = (0, 0, false);
    for line in maps.lines() {
        if line.contains("trefoil-home") || line.contains("trefoil-ledger") {
            (ours, count) = (true, count + 1);
        } else if let (true, Some(size)) = (ours, line.strip_prefix("Rss:")) {
            resident += size
                .trim()
                .strip_suffix(" kB")
                .unwrap()
                .parse::<usize>()
                .unwrap()
                << 10;
            ours = false;
        }
    }
    (count, resident)
}

fn descriptors(_: ()) -> usize {
    support::descriptors()
}

fn detail<T: Debug>(result: Result<T, TaskError>) -> String {
    match result {
        Err(error @ TaskError::Codec(_)) => error.to_string(),
        other => panic!("a codec error was expected: {other:?}"),
    }
}

/// A program whose files may not be long, so nothing can be lent.
#[cfg(unix)]
fn unshared() {
    let limit = Rlimit {
        current: Some(1 << 20),
        ..getrlimit(Resource::Fsize)
    };
    setrlimit(Resource::Fsize, limit).unwrap();
    trefoil::init();
    let procs = pool(2);
    for size in [LEAST, 100_000, 3 << 20] {
        there_and_back(&procs, size);
    }
    assert!(
        !std::fs::read_to_string("/proc/self/maps")
            .unwrap()
            .contains("trefoil-home")
    );
    let back = procs
        .map((0..40).map(|n| Bulk::from(bytes(50_000, n))), changed)
        .unwrap();
    assert!(
        back.iter()
            .enumerate()
            .all(|(n, bulk)| bulk[0] == !(n as u8))
    );
}

/// Limits this process's address space to so many bytes more than it has.
#[cfg(unix)]
fn leave(bytes: u64) {
    let status = std::fs::read_to_string("/proc/self/statm").unwrap();
    let pages: u64 = status.split(' ').next().unwrap().parse().unwrap();
    let page = rustix::param::page_size() as u64;
    let limit = Rlimit {
        current: Some(pages * page + bytes),
        ..getrlimit(Resource::As)
    };
    setrlimit(Resource::As, limit).unwrap();
}

/// A program with address space to map the memory of one worker, but not of both.
#[cfg(unix)]
fn narrow() {
    leave(100 << 20);
    trefoil::init();
    let procs = pool(2);
    for size in [LEAST, 100_000, 100_000, 100_000] {
        there_and_back(&procs, size);
    }
    let made = procs.map((0..40).map(|n| (50_000, n)), made).unwrap();
    let right = |(n, bulk): (usize, &Bulk<u8>)| **bulk == bytes(50_000, n);
    assert!(made.iter().enumerate().all(right));
}

/// A program whose large arrays are in memory once in each process, and twice in the sender if they
/// are a part of something.
#[cfg(target_os = "linux")]
fn once(plain: bool) {
    const SIZE: usize = 128 << 20;
    trefoil::init();
    let builder = ProcessPool::builder().workers(1).plain_workers(plain);
    let procs = builder.build().unwrap();
    let before = support::resident();
    let within = |peak: u64, tenths: u64, what: &str| {
        let most = before + SIZE as u64 / 10 * tenths + (16 << 20);
        assert!(peak <= most, "{what}: {} MiB more", (peak - before) >> 20);
    };
    let sent = Bulk::from(vec![7u8; SIZE]);
    let there = procs.spawn(sent, |all: Bulk<u8>| (all[SIZE - 1] == 7, support::peak()));
    let (right, there) = there.join().unwrap();
    assert!(right);
    within(support::peak(), 13, "the sender of an argument");
    within(there, 13, "the receiver of an argument");
    let sent = vec![7f32; SIZE / 4];
    let there = procs.spawn(sent, |all: Vec<f32>| (all.len(), support::peak()));
    within(there.join().unwrap().1, 13, "the receiver of a vector");
    let made = |size: usize| Bulk::from(vec![7u8; size]);
    assert_eq!(procs.spawn(SIZE, made).join().unwrap().len(), SIZE);
    within(support::peak(), 13, "the receiver of a result");
    let there = procs.spawn((), |()| support::peak()).join().unwrap();
    within(there, 13, "the sender of a result");
    let sent = (Bulk::from(vec![7u8; SIZE]), 7u8);
    let there = procs.spawn(sent, |all: (Bulk<u8>, u8)| (all.1, support::peak()));
    within(there.join().unwrap().1, 13, "the receiver of a part");
    within(support::peak(), 23, "the sender of a part");
    assert_eq!(procs.stats().died, 0);
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Whole {
    name: String,
    first: Option<Bulk<f64>>,
    more: Vec<(u8, Bulk<u16>)>,
    rest: Box<Bulk<i64>>,
}

fn whole(seed: usize) -> Whole {
    Whole {
        name: "w".repeat(seed % 5),
        first: (!seed.is_multiple_of(3)).then(|| (0..9_000).map(|n| (n + seed) as f64).collect()),
        more: (0..4)
            .map(|n| (n, vec![seed as u16; 5_000 * usize::from(n)].into()))
            .collect(),
        rest: Box::new((0..seed as i64 % 7 * 1_000).collect()),
    }
}

/// Arrays that are kept from call to call.
static KEPT: Mutex<Vec<Bulk<u8>>> = Mutex::new(Vec::new());

fn keep(bulk: Bulk<u8>) -> u8 {
    let first = bulk[0];
    KEPT.lock().unwrap().push(bulk);
    first
}

/// Whether each is unchanged: all its bytes are equal, and differ from those of the others.
fn check_kept(count: usize) -> bool {
    let kept = KEPT.lock().unwrap();
    kept.len() == count
        && kept
            .iter()
            .enumerate()
            .all(|(n, bulk)| bulk.iter().all(|byte| *byte == n as u8))
}

static READING: Mutex<Option<JoinHandle<bool>>> = Mutex::new(None);
static STOP: AtomicBool = AtomicBool::new(false);

/// Another thread reads it all the time, during this call's end and afterwards.
fn read_on(bulk: Bulk<u8>) {
    let thread = std::thread::spawn(move || {
        let mut good = true;
        while !STOP.load(Ordering::Relaxed) {
            good &= bulk.iter().all(|byte| *byte == 9);
        }
        good
    });
    *READING.lock().unwrap() = Some(thread);
}

fn stop_reading(_: ()) -> bool {
    STOP.store(true, Ordering::Relaxed);
    READING.lock().unwrap().take().unwrap().join().unwrap()
}

/// A value whose encoder panics half-way.
#[derive(Deserialize)]
struct Halfway(#[allow(dead_code)] Bulk<u8>);

impl Serialize for Halfway {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let _ = self.0.serialize(serializer);
        panic!("half-way")
    }
}

/// The bytes that once stood for a mebibyte in the parent's memory: a mark, then kind, offset and
/// length.
fn reference() -> Vec<u8> {
    let mark = [
        0xf3, 0x1c, 0xa9, 0x5e, 0x02, 0xd7, 0x8b, 0x64, 0x9a, 0xe1, 0x47, 0xbc, 0x30, 0x05, 0xfd,
        0x7e,
    ];
    let numbers = [1u64, 0, 1 << 20].map(u64::to_le_bytes);
    mark.into_iter().chain(numbers.concat()).collect()
}

/// Is written as a byte string, and read as a `Bulk`.
#[derive(Default)]
struct Odd(Bulk<u8>);

impl Serialize for Odd {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(&reference())
    }
}

impl<'de> Deserialize<'de> for Odd {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Bulk::deserialize(deserializer).map(Self)
    }
}

/// Writes a message that came from elsewhere, and reads it in place.
#[derive(Default)]
struct Envelope(Bulk<u8>);

impl Serialize for Envelope {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(&[vec![40], reference()].concat())
    }
}

impl<'de> Deserialize<'de> for Envelope {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let message = <&[u8]>::deserialize(deserializer)?;
        Ok(Self(postcard::from_bytes(message).unwrap()))
    }
}

/// Is written as a `Bulk`, and read as a byte string.
#[derive(Debug)]
struct Mixed(Bulk<u8>);

impl Serialize for Mixed {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Mixed {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let bytes = <&[u8]>::deserialize(deserializer)?;
        Ok(Self(bytes.into()))
    }
}

/// Travels as a byte string that another serializer has made.
#[derive(Debug)]
struct Blob(Bulk<u8>);

impl Serialize for Blob {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(&postcard::to_stdvec(&self.0).unwrap())
    }
}

impl<'de> Deserialize<'de> for Blob {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let bytes = <&[u8]>::deserialize(deserializer)?;
        Ok(Self(postcard::from_bytes(bytes).unwrap()))
    }
}

/// The same, but decoded only on demand.
struct Late(Result<Vec<u8>, Bulk<u8>>);

impl Late {
    fn from(blob: &Blob) -> Self {
        Self(Err(blob.0.clone()))
    }

    fn open(self) -> Bulk<u8> {
        postcard::from_bytes(&self.0.unwrap()).unwrap()
    }
}

impl Serialize for Late {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let numbers = self.0.as_ref().unwrap_err();
        serializer.serialize_bytes(&postcard::to_stdvec(numbers).unwrap())
    }
}

impl<'de> Deserialize<'de> for Late {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Self(Ok(<&[u8]>::deserialize(deserializer)?.to_vec())))
    }
}

/// The decoder tries one variant after the other.
#[derive(Debug, Serialize, Deserialize, PartialEq)]
#[serde(untagged)]
enum Either {
    A { x: Bulk<u8>, y: u32 },
    B { x: Bulk<u8>, z: String },
}

tests! {
    fn every_size_comes_back() {
        let procs = pool(1);
        let around = |size: usize| [size - 1, size, size + 1];
        let sizes = [1, 40, 4096, LEAST, 65_536, 126_976, 1 << 20].into_iter().flat_map(around);
        for size in sizes.chain([77_777, (4 << 20) + 3]) {
            there_and_back(&procs, size);
        }
        assert_eq!(procs.stats().died, 0);
    }

    fn very_large_ones_come_back() {
        let procs = pool(1);
        for size in [16 << 20, MOST, MOST + 1] {
            there_and_back(&procs, size);
        }
        // Their memory is given back: in this process at once, in the worker with the next call.
        there_and_back(&procs, LEAST);
        assert!(lent(()).1 <= 200 << 20, "{:?}", lent(()));
        until(|| procs.spawn((), lent).join().unwrap().1 <= 80 << 20);
    }

    fn every_type_comes_back() {
        let procs = pool(2);
        of_a_type(&procs, |n| n as u8);
        of_a_type(&procs, |n| n as i16);
        of_a_type(&procs, |n| n as f32 / 7.0);
        of_a_type(&procs, |n| n as f64 / 7.0);
        of_a_type(&procs, |n| n as u128 * 3);
    }

    fn as_a_part_of_something_in_every_way() {
        let procs = pool(2);
        let all: Vec<Whole> = (0..50).map(whole).collect();
        for (n, one) in all.iter().enumerate() {
            assert_eq!(procs.spawn(whole(n), |one: Whole| one).join().unwrap(), *one);
        }
        assert_eq!(procs.map((0..50).map(whole), |one: Whole| one).unwrap(), all);
        assert_eq!(procs.map(0..50usize, whole).unwrap(), all);
        let back = procs.call(|one: Whole| one).chunk_size(7).imap((0..50).map(whole));
        assert!(back.map(Result::unwrap).eq((0..50).map(whole)));
        let mut count = 0;
        for one in procs.imap_unordered(0..50usize, |n| (n, whole(n))) {
            let (n, one) = one.unwrap();
            assert_eq!(one, all[n]);
            count += 1;
        }
        assert_eq!(count, 50);
        let common = whole(8);
        let with = procs.map_with(&common, (0..50).map(whole), |common: &Whole, one: Whole| {
            (*common == whole(8), one)
        });
        assert!(with.unwrap().into_iter().zip(&all).all(|((good, one), all)| good && one == *all));
        let alone = Process::spawn(whole(4), |one: Whole| one).unwrap();
        assert_eq!(alone.join().unwrap(), all[4]);
        assert_eq!(procs.stats().died, 0);
    }

    fn many_at_once_from_many_threads() {
        let procs = pool(2);
        std::thread::scope(|scope| {
            for thread in 0..4usize {
                let procs = &procs;
                scope.spawn(move || {
                    let item = move |n: usize| bytes(10_000 + (n * 7919 + thread) % 600_000, n + thread);
                    let tasks: Vec<Task<Bulk<u8>>> = (0..60)
                        .map(|n| procs.spawn(item(n).into(), if n % 2 == 0 { same } else { changed }))
                        .collect();
                    for (n, task) in tasks.into_iter().enumerate() {
                        let mut back = task.join().unwrap();
                        if n % 2 == 1 {
                            invert(&mut back);
                        }
                        assert!(*back == item(n));
                    }
                });
            }
        });
    }

    fn more_than_can_be_lent_goes_the_other_way() {
        let procs = pool(2);
        let size = 6 << 20;
        let tasks: Vec<_> = (0..60).map(|n| procs.spawn(vec![n as u8; size].into(), same)).collect();
        for (n, task) in tasks.into_iter().enumerate() {
            let back = task.join().unwrap();
            assert!(*back == vec![n as u8; size]);
        }
        let made = procs.map(0..60u8, |n| Bulk::from(vec![n; 6 << 20])).unwrap();
        assert!(made.iter().zip(0..).all(|(bulk, n)| **bulk == vec![n; size]));
    }

    fn what_a_worker_keeps_does_not_change() {
        let procs = pool(1);
        for n in 0..20u8 {
            let size = 20_000 + usize::from(n) * 30_000;
            assert_eq!(procs.spawn(vec![n; size].into(), keep).join().unwrap(), n);
            // It would be in the same place as the first.
            let other = procs.spawn(vec![200; size].into(), same).join().unwrap();
            assert!(other.iter().all(|byte| *byte == 200));
        }
        assert!(procs.spawn(20, check_kept).join().unwrap());
        let back = procs.spawn((), |()| KEPT.lock().unwrap().clone()).join().unwrap();
        assert!(back.iter().zip(0..).all(|(bulk, n)| bulk.iter().all(|byte| *byte == n)));
        let moved = procs.spawn((), |()| std::mem::take(&mut *KEPT.lock().unwrap())).join().unwrap();
        assert_eq!(moved, back);
        assert_eq!(procs.stats().died, 0);
    }

    fn another_thread_may_read_on() {
        let procs = pool(1);
        procs.spawn(vec![9u8; 3 << 20].into(), read_on).join().unwrap();
        for n in 0..60u8 {
            let other = procs.spawn(vec![n; 3 << 20].into(), same).join().unwrap();
            assert!(*other == vec![n; 3 << 20]);
        }
        assert!(procs.spawn((), stop_reading).join().unwrap());
    }

    fn it_is_tried_again_as_it_was() {
        let procs = pool(2);
        let tries = Scratch::new("again-as-it-was");
        let again = procs.call(|(path, mut bulk): (String, Bulk<u8>)| {
            bulk[5] += 1; // in the worker's own copy
            note(&path, 0);
            if noted(&path) <= 3 {
                abort();
            }
            bulk
        });
        let back = again.retry(3).spawn((tries.text(), vec![7; 200_000].into())).join().unwrap();
        assert!(back[5] == 8 && back[6..].iter().all(|byte| *byte == 7));
    }

    fn killed_at_any_time_nothing_is_lost_but_the_blamed() {
        let before = (descriptors(()), lent(()).0);
        {
            let procs = pool(2);
            let start = std::time::Instant::now();
            let (mut ended, mut died, mut round) = (0, 0, 0);
            while start.elapsed() < support::chaos() / 2 || ended == 0 {
                round += 1;
                let item = |n: usize| bytes(20_000 + n * 9_000, n + round);
                let tasks: Vec<_> = (0..60).map(|n| procs.spawn(item(n).into(), if n % 3 == 0 { changed } else { same })).collect();
                std::thread::sleep(Duration::from_micros(round as u64 * 1_237 % 3_000));
                procs.worker_pids().into_iter().for_each(kill);
                for (n, task) in tasks.into_iter().enumerate() {
                    match task.join() {
                        Ok(back) => {
                            let mut back = back;
                            if n % 3 == 0 {
                                invert(&mut back);
                            }
                            assert!(*back == item(n));
                            ended += 1;
                        }
                        Err(TaskError::WorkerDied(_)) => died += 1,
                        Err(error) => panic!("{error}"),
                    }
                }
            }
            assert!(ended > 0 && died <= 2 * round, "{ended} {died} {round}");
        }
        until(|| descriptors(()) <= before.0 && lent(()).0 <= before.1);
    }

    fn bytes_are_never_a_reference() {
        let procs = pool(1);
        there_and_back(&procs, 1 << 20); // so the worker has mapped the pool's memory
        let odd = procs.spawn(Odd::default(), |odd: Odd| odd.0.to_vec()).join().unwrap();
        let envelope = procs.spawn(Envelope::default(), |envelope: Envelope| envelope.0.to_vec()).join().unwrap();
        for read in [&odd, &envelope] {
            assert!(*read == reference(), "{} bytes", read.len());
        }
        let odd = procs.spawn((), |()| Odd::default()).join().unwrap();
        let envelope = procs.spawn((), |()| Envelope::default()).join().unwrap();
        assert!(*odd.0 == reference() && *envelope.0 == reference());
    }

    fn what_was_lent_is_read_as_a_bulk_or_an_error() {
        let procs = pool(1);
        let small = || Mixed(vec![7; 100].into());
        assert_eq!(*procs.spawn(small(), |mixed: Mixed| mixed).join().unwrap().0, [7; 100]);
        let large = |()| Mixed(vec![7; 50_000].into());
        let there = procs.spawn(large(()), |mixed: Mixed| mixed.0.len()).join();
        let back = procs.spawn((), large).join();
        for error in [detail(there), detail(back)] {
            assert!(error.contains("reads something else there"), "{error}");
        }
        there_and_back(&procs, 50_000);
    }

    /// Numbers that were lent for an answer which is no longer wanted do not get into the next
    /// answer.
    fn what_is_unwanted_takes_along_what_was_lent_for_it() {
        let procs = ProcessPool::builder().workers(1).grace(Duration::from_secs(60)).build().unwrap();
        for round in 0..sample(200) as u8 {
            let unwanted = procs.spawn((), |()| {
                while !CancelToken::current().is_cancelled() {
                    std::hint::spin_loop();
                }
                Bulk::from(vec![7u8; 50_000])
            });
            let next = procs.spawn(round, |round: u8| Some(Mixed(vec![round].into())));
            let empty = procs.spawn((), |()| Bulk::<u8>::default());
            until(|| procs.stats().busy == 1);
            assert!(unwanted.cancel());
            assert_eq!(*next.join().unwrap().unwrap().0, [round]);
            assert!(empty.join().unwrap().is_empty());
        }
    }

    fn errors_and_panics_leave_nothing() {
        let procs = pool(1);
        there_and_back(&procs, 60_000);
        let before = lent(());
        for _ in 0..60 {
            let halfway = || Halfway(vec![1; 2 << 20].into());
            let here = procs.spawn(halfway(), |_: Halfway| ()).join();
            assert!(matches!(here, Err(TaskError::Panicked(_))));
            let there = procs.spawn((), |()| Halfway(vec![4; 2 << 20].into()));
            assert!(matches!(there.join().map(drop), Err(TaskError::Panicked(_))));
            let panics = procs.spawn(vec![1u8; 2 << 20].into(), |_: Bulk<u8>| -> u8 { panic!("on purpose") });
            assert!(matches!(panics.join(), Err(TaskError::Panicked(_))));
            drop(procs.spawn(vec![1u8; 2 << 20].into(), same)); // its result is not wanted
        }
        there_and_back(&procs, 1 << 20);
        // If none were freed, sixty of them would take twice as many mebibytes.
        assert!(lent(()).1 - before.1 < 60 << 20, "{before:?} {:?}", lent(()));
        assert!(procs.spawn((), lent).join().unwrap().1 < 60 << 20);
    }

    fn stopped_in_the_middle() {
        let before = (descriptors(()), lent(()).0);
        for round in 0..12 {
            let procs = pool(2);
            let slow = |bulk: Bulk<u8>| {
                std::thread::sleep(Duration::from_millis(3));
                changed(bulk)
            };
            let tasks: Vec<_> = (0..20).map(|n| procs.spawn(vec![n; 300_000].into(), slow)).collect();
            tasks[3].cancel();
            match round % 4 {
                0 => procs.kill(),
                1 => drop(procs),
                2 => procs.shutdown(Shutdown::CancelPending),
                _ => procs.shutdown(Shutdown::Wait),
            }
            for (n, task) in tasks.into_iter().enumerate() {
                if let Ok(back) = task.join() {
                    assert!(back.iter().all(|byte| *byte == !(n as u8)));
                }
            }
        }
        until(|| descriptors(()) <= before.0 && lent(()).0 <= before.1);
    }

    fn handed_on_within_a_worker() {
        fn inner(bulk: Bulk<u8>) -> (Bulk<u8>, Bulk<u8>) {
            let procs = ProcessPool::with_workers(1).unwrap();
            let back = procs.spawn(bulk.clone(), changed).join().unwrap();
            let same = procs.spawn(bulk, same).join().unwrap();
            (back, same)
        }
        let procs = pool(1);
        for n in 0..5 {
            let (back, same) = procs.spawn(vec![n; 400_000].into(), inner).join().unwrap();
            assert!(back.iter().all(|byte| *byte == !n) && same.iter().all(|byte| *byte == n));
            assert_eq!(same.len(), 400_000);
        }
    }

    fn written_down_elsewhere_it_is_numbers() {
        let procs = pool(1);
        let text = |bulk: Bulk<u8>| {
            let own = postcard::to_stdvec(&bulk).unwrap();
            (own.len(), postcard::from_bytes::<Bulk<u8>>(&own).unwrap() == bulk)
        };
        let sent = vec![6u8; 30_000];
        assert_eq!(procs.spawn(sent.into(), text).join().unwrap(), (30_003, true));
    }

    fn a_serializer_within_gets_the_numbers() {
        let procs = pool(1);
        let sent = Blob(vec![6u8; 50_000].into());
        let at_once = |blob: Blob| blob;
        assert!(procs.spawn(Blob(sent.0.clone()), at_once).join().unwrap().0 == sent.0);
        // Also on a thread without a call, and when the lent block has long been reused.
        let there = |late: Late| std::thread::spawn(move || late.open()).join().unwrap();
        assert!(procs.spawn(Late::from(&sent), there).join().unwrap() == sent.0);
        let back = |()| Late::from(&Blob(vec![7u8; 50_000].into()));
        assert!(*procs.spawn((), back).join().unwrap().open() == [7; 50_000]);
    }

    #[cfg(unix)]
    fn a_worker_with_no_room_to_map_it_reads_it() {
        fn crowded(_: ()) {
            // A thread that has just started allocates.
            eventually("the watcher watches", || {
                threads_named("trefoil-watch") == 1 && threads_asleep("trefoil-watch")
            });
            leave(64 << 20);
        }
        let procs = ProcessPool::builder().workers(1).initializer((), crowded).build().unwrap();
        for size in [LEAST, 100_000, 3 << 20] {
            there_and_back(&procs, size);
        }
        assert_eq!(procs.stats().died, 0);
    }

    #[cfg(unix)]
    fn without_shared_memory_it_goes_the_other_way() {
        run_helper("unshared");
    }

    #[cfg(target_os = "linux")]
    fn a_large_one_is_in_memory_once() {
        run_helper("once");
        run_helper("once_plain");
    }

    #[cfg(unix)]
    fn what_its_parent_cannot_map_a_worker_does_not_lend() {
        run_helper("narrow");
    }

    fn one_brings_a_descriptor_as_well() {
        let make = |n: usize| (Bulk::from(vec![7u8; n << 20]), trefoil::Shared::from(vec![1u8, 2, 3]));
        let procs = pool(1);
        for megabytes in [1, 63, 65] {
            let (bulk, shared) = procs.spawn(megabytes, make).join().unwrap();
            assert_eq!((bulk.len(), &shared[..]), (megabytes << 20, &[1, 2, 3][..]));
        }
    }

    fn it_may_be_read_in_several_ways() {
        for (plain, bytes) in [(false, 2 << 20), (false, 65 << 20), (true, 2 << 10), (true, 2 << 20)] {
            let procs = ProcessPool::builder().workers(1).plain_workers(plain).build().unwrap();
            let make = |n: usize| Either::B { x: vec![1u8; n].into(), z: "z".to_owned() };
            let is_b = |v: Either| matches!(v, Either::B { x, .. } if x.iter().all(|n| *n == 1));
            assert!(procs.spawn(make(bytes), is_b).join().unwrap(), "{plain} {bytes}");
            assert!(procs.spawn(bytes, make).join().unwrap() == make(bytes), "{plain} {bytes}");
        }
    }

    #[cfg(target_os = "linux")]
    fn one_call_is_sent_to_one_worker() {
        for plain in [false, true] {
            let procs = ProcessPool::builder().workers(4).plain_workers(plain).build().unwrap();
            procs.map(0..100, |n: u32| n).unwrap();
            let bytes = vec![3u8; 200 << 20];
            assert_eq!(procs.spawn(bytes, |b: Vec<u8>| b.len()).join().unwrap(), 200 << 20);
            let peak = |pid: u32| {
                let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
                let line = status.lines().find(|line| line.starts_with("VmHWM")).unwrap();
                line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() >> 10
            };
            let peaks: Vec<_> = procs.worker_pids().into_iter().map(peak).collect();
            assert_eq!(peaks.iter().filter(|peak| **peak > 40).count(), 1, "{plain} {peaks:?}");
        }
    }
}
