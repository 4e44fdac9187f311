//! Arrays that workers write in place: `SharedMut`.
#![allow(
    unsafe_code,
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::single_range_in_vec_init,
    clippy::print_stdout,
    clippy::print_stderr
)] // a program, not the crate

use crate::deadline::sample;
use crate::support;

use std::fmt::Debug;
use std::process::abort;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::Duration;

use rustix::mm::{MapFlags, ProtFlags, mmap};
use serde::{Deserialize, Serialize, Serializer};
use support::{Dice, Test, census, forever, kill, nothing_left_since, patient, pool, tests, until};
use trefoil::{CancelToken, ProcessPool, RangeMut, Shared, SharedAtomics, SharedMut, TaskError};

type Flag = SharedAtomics<AtomicU32>;

fn flag() -> Flag {
    SharedAtomics::new(2).unwrap()
}

fn wait(flag: &Flag, index: usize) {
    until(|| flag[index].load(Ordering::SeqCst) == 1);
}

fn set(flag: &Flag, index: usize) {
    flag[index].store(1, Ordering::SeqCst);
}

/// Each number becomes its place in the array.
fn number(mut part: RangeMut<f64>) {
    let first = part.range().start;
    for (n, x) in part.iter_mut().enumerate() {
        *x = (first + n) as f64;
    }
}

fn numbered(array: &[f64]) -> bool {
    array.iter().enumerate().all(|(n, x)| *x == n as f64)
}

fn add_one(mut part: RangeMut<u32>) {
    part.iter_mut().for_each(|x| *x += 1);
}

/// How much memory of its own this process has, in bytes, and how much that it shares.
fn resident() -> [u64; 2] {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    ["RssAnon:", "RssShmem:"].map(|name| {
        let line = status.lines().find(|line| line.starts_with(name)).unwrap();
        line.split_whitespace()
            .nth(1)
            .unwrap()
            .parse::<u64>()
            .unwrap()
            << 10
    })
}

fn detail<T: Debug>(result: Result<T, TaskError>, word: &str) {
    let error = result.unwrap_err();
    assert!(matches!(error, TaskError::Codec(_)), "{error:?}");
    assert!(error.to_string().contains(word), "{error}");
}

/// Is encoded twice.
#[derive(Deserialize)]
struct Twice(RangeMut<u8>);

impl Serialize for Twice {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        (&self.0, &self.0).serialize(serializer)
    }
}

/// Where the array is mapped for writing, for as long as the process lives.
fn map_for_writing() -> *mut u8 {
    let open = std::fs::read_dir("/proc/self/fd").unwrap().flatten();
    let is_it = |entry: &std::fs::DirEntry| {
        let name = std::fs::read_link(entry.path()).unwrap_or_default();
        name.to_string_lossy().contains("trefoil-shared")
    };
    let path = open.into_iter().find(is_it).unwrap().path();
    let file = std::fs::File::options()
        .read(true)
        .write(true)
        .open(path)
        .unwrap();
    let (flags, access) = (MapFlags::SHARED, ProtFlags::READ | ProtFlags::WRITE);
    // SAFETY: the kernel chooses the address.
    let place = unsafe { mmap(std::ptr::null_mut(), 4096, access, flags, file, 0) };
    place.unwrap().cast()
}

tests! {
    fn workers_write_it_and_the_parent_has_it() {
        let procs = pool(3);
        let mut array = SharedMut::<f64>::new(10_007).unwrap();
        assert_eq!((array.len(), array.is_empty()), (10_007, false));
        let parts = array.chunks(100).unwrap();
        assert_eq!((parts.len(), parts[100].range()), (101, 10_000..10_007));
        procs.map(parts, number).unwrap();
        assert!(numbered(&array) && array.unwritten().is_empty() && array.torn().is_empty());

        // Once more, without a look between.
        let mut array = SharedMut::from(vec![5u32; 6000]);
        for _ in 0..3 {
            procs.map(array.rows(60).unwrap(), add_one).unwrap();
            procs.map(array.chunks(999).unwrap(), add_one).unwrap();
        }
        assert!(array.iter().all(|x| *x == 11) && array.unwritten().is_empty());
        // After a look, and a change here.
        array[0] = 100;
        procs.map(array.chunks(6000).unwrap(), add_one).unwrap();
        assert_eq!((array[0], array[1]), (101, 12));
        let vector = array.into_vec();
        assert_eq!((vector.len(), vector[5999]), (6000, 12));
    }

    fn it_is_in_memory_once() {
        const BYTES: usize = 128 << 20;
        let procs = pool(2);
        let mut array = SharedMut::<u64>::new(BYTES / 8).unwrap();
        let [own, shared] = resident();
        procs.map(array.chunks(1 << 18).unwrap(), |mut part: RangeMut<u64>| part.fill(7)).unwrap();
        assert!(array.iter().all(|x| *x == 7));
        let [own_now, shared_now] = resident();
        assert!(own_now < own + BYTES as u64 / 4, "{own} {own_now}");
        assert!(shared_now >= shared + BYTES as u64 / 2, "{shared} {shared_now}");
        let place = array.as_ptr();
        let shared = Shared::from(array);
        assert_eq!(shared.as_ptr(), place);
        assert_eq!(procs.spawn(shared, |all: Shared<u64>| all[1000]).join().unwrap(), 7);
    }

    fn any_type_at_any_place_is_aligned() {
        fn fill<T: trefoil::process::Plain>(part: &mut [T], x: T) -> usize {
            part.fill(x);
            part.as_ptr().addr() % align_of::<T>()
        }
        let procs = pool(2);
        let mut bytes = SharedMut::<u8>::new(1000).unwrap();
        let all = procs.map(bytes.chunks(7).unwrap(), |mut part: RangeMut<u8>| fill(&mut part, 3));
        assert!(all.unwrap().iter().all(|rest| *rest == 0) && *bytes == [3; 1000]);
        let mut wide = SharedMut::<u128>::new(333).unwrap();
        let all = procs.map(wide.chunks(1).unwrap(), |mut part: RangeMut<u128>| fill(&mut part, 1 << 99));
        assert!(all.unwrap().iter().all(|rest| *rest == 0) && *wide == [1 << 99; 333]);
        assert_eq!(wide.as_ptr().addr() % 16, 0);
        let mut floats = SharedMut::<f64>::new(77).unwrap();
        procs.map(floats.ranges([1..2, 5..70]).unwrap(), number).unwrap();
        assert_eq!((floats[0], floats[1], floats[3], floats[69], floats[70]), (0.0, 1.0, 0.0, 69.0, 0.0));
    }

    fn nothing_at_all_is_possible() {
        let procs = pool(1);
        let mut none = SharedMut::<f64>::new(0).unwrap();
        assert!(none.is_empty() && none.chunks(3).unwrap().is_empty() && none.is_empty());
        #[allow(clippy::reversed_empty_ranges)]
        let empty = none.ranges([0..0, 0..0]).unwrap();
        procs.map(empty, number).unwrap();
        assert!(none[..].is_empty() && none.unwritten().is_empty());
        let mut some = SharedMut::<f64>::new(5).unwrap();
        procs.map(some.ranges([2..2, 0..5, 5..5]).unwrap(), number).unwrap();
        assert!(numbered(&some) && some.unwritten().is_empty());
    }

    fn ranges_that_cannot_be_given_are_errors() {
        let mut array = SharedMut::<u16>::new(100).unwrap();
        let refused = |result: std::io::Result<Vec<RangeMut<u16>>>, words: &str| {
            let error = result.unwrap_err().to_string();
            assert!(error.contains(words), "{error}");
        };
        refused(array.ranges([0..10, 50..60, 5..8]), "items 0 (0..10) and 2 (5..8) overlap");
        refused(array.ranges([0..10, 0..10]), "items 0 (0..10) and 1 (0..10) overlap");
        refused(array.ranges([0..10, 99..101]), "item 1 (99..101) is not in 0..100");
        #[allow(clippy::reversed_empty_ranges)]
        let reversed = 7..3;
        refused(array.ranges([reversed]), "item 0 (7..3) is not in");
        refused(array.ranges([0..usize::MAX]), "is not in");
        refused(array.chunks(0), "0 numbers");
        refused(array.rows(33), "100 numbers are no rows of 33");
        refused(array.rows(0), "no rows of 0");
        let out = array.ranges([0..10, 20..30]).unwrap();
        refused(array.chunks(usize::MAX), "item 0 (0..100) overlaps 20..30, item 1 of an earlier list");
        refused(array.ranges([40..50, 9..20]), "item 1 (9..20) overlaps 0..10, item 0");
        let others = array.ranges([10..20, 30..100]).unwrap();
        drop(out);
        // Nobody has used it.
        assert_eq!(array.ranges([5..10, 29..30, 0..5]).unwrap().len(), 3);
        drop(others);
        assert_eq!(array.len(), 100);
        for (len, word) in [(usize::MAX, "fit"), (usize::MAX / 2, "fit"), (usize::MAX / 8, "")] {
            let error = SharedMut::<u64>::new(len).unwrap_err().to_string();
            assert!(error.contains(word), "{error}");
        }
    }

    fn what_fails_leaves_its_range_as_it_was() {
        let procs = pool(2);
        let mut array = SharedMut::from(vec![1.0; 600]);
        let results = procs.map_each(array.chunks(100).unwrap(), |mut part: RangeMut<f64>| {
            part[..50].fill(9.0);
            match part.range().start {
                100 => abort(),
                200 => panic!("on purpose"),
                300 => part.discard(),
                400 => std::mem::forget(part),
                _ => part.fill(2.0),
            }
        });
        let failed: Vec<bool> = results.iter().map(Result::is_err).collect();
        assert_eq!(failed, [false, true, true, false, false, false]);
        assert_eq!(array.unwritten(), [100..200, 200..300, 300..400, 400..500]);
        assert!(array.torn().is_empty());
        for (n, x) in array.iter().enumerate() {
            assert_eq!(*x, if (100..500).contains(&n) { 1.0 } else { 2.0 }, "{n}");
        }
        let again = array.unwritten().to_vec();
        procs.map(array.ranges(again).unwrap(), number).unwrap();
        assert_eq!((array[0], array[100], array[499]), (2.0, 100.0, 499.0));
        assert!(array.unwritten().is_empty());
    }

    fn an_item_that_is_late_or_cancelled_writes_nothing() {
        // It changes its part, and ends soon after it was cancelled.
        fn slow((mut part, begun): (RangeMut<f64>, Flag)) {
            part.fill(9.0);
            set(&begun, 0);
            until(|| CancelToken::current().is_cancelled());
            set(&begun, 1);
        }
        for is_timeout in [true, false] {
            let procs = patient(1); // it is not killed
            let (mut array, begun) = (SharedMut::<f64>::new(10).unwrap(), flag());
            let mut parts = array.chunks(10).unwrap();
            let item = (parts.remove(0), begun.clone());
            if is_timeout {
                let result = procs.call(slow).timeout(Duration::from_millis(50)).spawn(item).join();
                assert!(matches!(result, Err(TaskError::TimedOut(_))));
            } else {
                let task = procs.spawn(item, slow);
                wait(&begun, 0);
                task.cancel();
                assert!(matches!(task.join(), Err(TaskError::Cancelled)));
            }
            wait(&begun, 1);
            procs.spawn((), |()| ()).join().unwrap();
            assert_eq!(array.range(3..4).unwrap_err().kind(), std::io::ErrorKind::InvalidInput);
            assert_eq!((array.unwritten(), array[0]), (&[0..10][..], 0.0));
        }
        // It is killed.
        let procs = pool(1);
        let mut array = SharedMut::<f64>::new(10).unwrap();
        let endless = procs.call(|mut part: RangeMut<f64>| {
            part.fill(9.0);
            forever::<()>();
        });
        let results = endless.timeout(Duration::from_millis(50)).map_each(array.rows(5).unwrap());
        assert!(results.iter().all(|result| matches!(result, Err(TaskError::TimedOut(_)))));
        assert_eq!((array.unwritten(), array[9]), (&[0..5, 5..10][..], 0.0));
    }

    fn after_a_look_nobody_writes() {
        let procs = pool(2);
        let (mut array, go) = (SharedMut::from(vec![1.0; 20]), flag());
        let work = |(mut part, go): (RangeMut<f64>, Flag)| {
            part.fill(9.0);
            set(&go, 0);
            wait(&go, 1);
        };
        let mut parts = array.rows(10).unwrap();
        procs.map(parts.drain(..1), number).unwrap();
        let task = procs.spawn((parts.remove(0), go.clone()), work);
        wait(&go, 0);
        assert_eq!((array.unwritten(), array[9], array[10]), (&[10..20][..], 9.0, 1.0));
        // Given again while the first holder still runs.
        procs.spawn(array.range(10..20).unwrap(), number).join().unwrap();
        set(&go, 1);
        task.join().unwrap();
        assert!(numbered(&array) && array.unwritten().is_empty());
    }

    fn one_that_keeps_it_mapped_changes_nothing() {
        // It leaves a thread behind that goes on writing.
        fn hostile((mut part, stop): (RangeMut<u8>, Flag)) {
            part.fill(1);
            let place = map_for_writing().expose_provenance();
            thread::spawn(move || {
                let place = std::ptr::with_exposed_provenance_mut::<u8>(place);
                while stop[1].load(Ordering::SeqCst) == 0 {
                    // SAFETY: it is mapped as long as this process lives.
                    unsafe { place.write_volatile(7) };
                    set(&stop, 0);
                }
            });
        }
        let procs = pool(1);
        let (mut array, stop) = (SharedMut::<u8>::new(4096).unwrap(), flag());
        let item = (array.chunks(4096).unwrap().remove(0), stop.clone());
        procs.spawn(item, hostile).join().unwrap();
        wait(&stop, 0);
        let first = array[0];
        stop[0].store(0, Ordering::SeqCst);
        wait(&stop, 0); // it writes again
        assert!(array[0] == first && array[1..] == [1; 4095]);
        set(&stop, 1);
    }

    fn what_ends_meanwhile_leaves_the_rest_alone() {
        let before = census();
        for _ in 0..2 {
            // The pool.
            let (procs, begun) = (pool(2), flag());
            let mut array = SharedMut::<f64>::new(40).unwrap();
            let mut parts = array.rows(10).unwrap();
            procs.map(parts.drain(..2), number).unwrap();
            let runs = procs.spawn((parts.remove(0), begun.clone()), |(mut part, begun): (RangeMut<f64>, Flag)| {
                part.fill(9.0);
                set(&begun, 0);
                forever::<()>();
            });
            wait(&begun, 0);
            drop(procs);
            assert!(runs.join().is_err());
            drop(parts);
            assert_eq!((array.unwritten(), array[19]), (&[20..30, 30..40][..], 19.0));
            // The array.
            let (procs, go) = (pool(1), flag());
            let mut array = SharedMut::<f64>::new(10).unwrap();
            let item = (array.rows(10).unwrap().remove(0), go.clone());
            let task = procs.spawn(item, |(mut part, go): (RangeMut<f64>, Flag)| {
                wait(&go, 0);
                part.fill(9.0);
            });
            drop(array);
            set(&go, 0);
            task.join().unwrap();
        }
        nothing_left_since(before);
    }

    fn an_attempt_begins_with_the_numbers_as_they_were() {
        let procs = pool(2);
        let died = flag();
        let mut array = SharedMut::from(vec![1u32; 100]);
        let items = array.rows(50).unwrap().into_iter().map(|part| (part, died.clone()));
        let call = procs.call(|(mut part, died): (RangeMut<u32>, Flag)| {
            part.iter_mut().for_each(|x| *x *= 2);
            let index = part.range().start / 50;
            if died[index].swap(1, Ordering::SeqCst) == 0 {
                abort();
            }
        });
        call.retry(1).map(items).unwrap();
        assert!(array.iter().all(|x| *x == 2) && array.unwritten().is_empty());
        // One that has written it, and dies then, is not repeated.
        let died = flag();
        let item = (array.rows(100).unwrap().remove(0), died.clone());
        let call = procs.call(|(mut part, died): (RangeMut<u32>, Flag)| {
            part.iter_mut().for_each(|x| *x *= 2);
            drop(part);
            if died[0].swap(1, Ordering::SeqCst) == 0 {
                abort();
            }
        });
        let error = call.retry(1).spawn(item).join().unwrap_err();
        assert!(error.to_string().contains("an earlier attempt at this item wrote"), "{error}");
        assert!(array.iter().all(|x| *x == 4) && array.unwritten().is_empty());
    }

    fn one_range_belongs_to_one_item() {
        let procs = pool(2);
        let mut array = SharedMut::<u8>::new(100).unwrap();
        let one = |array: &mut SharedMut<u8>| {
            assert!(array.unwritten().len() < 2);
            array.chunks(100).unwrap().remove(0)
        };
        let part = one(&mut array);
        detail(procs.call(|_: RangeMut<u8>| ()).hedge(2.0).map([part]), "hedge");
        let part = one(&mut array);
        detail(procs.call(|_: RangeMut<u8>| ()).hedge(2.0).map_each([part]).remove(0), "hedge");
        let part = one(&mut array);
        detail(procs.map_with(&part, 0..2, |_: &RangeMut<u8>, _: u8| ()), "context");
        drop(part);
        let part = one(&mut array);
        detail(procs.spawn(part, |part: RangeMut<u8>| part).join(), "result");
        let part = one(&mut array);
        detail(procs.spawn(Twice(part), |_: Twice| ()).join(), "once");
        let mut part = one(&mut array);
        part[0] = 1;
        detail(procs.spawn(part, |_: RangeMut<u8>| ()).join(), "borrowed mutably");
        let part = one(&mut array);
        assert!(serde_json::to_string(&part).unwrap_err().to_string().contains("call to another process"));
        drop(part);
        let plain = ProcessPool::builder().workers(1).plain_workers(true).build().unwrap();
        let part = one(&mut array);
        detail(plain.spawn(part, |_: RangeMut<u8>| ()).join(), "plain_workers");
        // A worker may pass it on to its own workers.
        let part = one(&mut array);
        let inner = procs.spawn(part, |part: RangeMut<u8>| {
            let own = ProcessPool::with_workers(1).unwrap();
            own.spawn(part, |mut part: RangeMut<u8>| part.fill(5)).join().unwrap();
        });
        inner.join().unwrap();
        assert!(array.unwritten().is_empty() && *array == [5; 100]);
    }

    fn kills_at_any_moment_leave_each_range_old_or_new() {
        const PART: usize = 200_000;
        let before = census();
        {
            // (A backtrace takes so long that most kills would hit a worker that prints one.)
            let builder = ProcessPool::builder().workers(2);
            let procs = builder.env("RUST_BACKTRACE", "0").build().unwrap();
            let mut dice = Dice(71);
            let mut failed = 0;
            for round in 0..sample(30) {
                let mut array = SharedMut::from(vec![round as u32; 20 * PART]);
                let parts = array.chunks(PART).unwrap();
                let call = procs.call(add_one).retry(if round % 2 == 0 { 100 } else { 0 });
                let task = thread::scope(|scope| {
                    let task = scope.spawn(|| call.map_each(parts));
                    while !task.is_finished() {
                        thread::sleep(Duration::from_micros(300 + dice.roll(3000))); // any moment
                        if let Some(pid) = procs.worker_pids().get(dice.roll(2) as usize) {
                            kill(*pid);
                        }
                    }
                    task.join().unwrap()
                });
                let (unwritten, torn) = (array.unwritten().to_vec(), array.torn().to_vec());
                for (part, result) in task.iter().enumerate() {
                    let range = part * PART..(part + 1) * PART;
                    let part = &array[range.clone()];
                    let is_all = |x: u32| part.iter().all(|y| *y == x);
                    let was_written = !unwritten.contains(&range);
                    match result {
                        Ok(()) => assert!(was_written),
                        Err(TaskError::WorkerDied(_)) if round % 2 == 1 => {}
                        Err(TaskError::Panicked(why)) => assert!(why.message().contains("an earlier attempt")),
                        Err(error) => panic!("{error}"),
                    }
                    failed += usize::from(result.is_err());
                    let (old, new) = (round as u32, round as u32 + 1);
                    match (was_written, torn.contains(&range)) {
                        (true, false) => assert!(is_all(new)),
                        (false, false) => assert!(is_all(old)),
                        (false, true) => assert!(part.iter().all(|x| *x == old || *x == new)),
                        (true, true) => panic!("it is in one list only"),
                    }
                }
            }
            println!("{failed} items have failed");
        }
        nothing_left_since(before);
    }

    fn many_ranges_are_many_items() {
        let procs = pool(2);
        let mut array = SharedMut::<f64>::new(20_000).unwrap();
        for _ in 0..2 {
            procs.map(array.chunks(3).unwrap(), number).unwrap();
        }
        assert!(numbered(&array) && array.unwritten().is_empty());
    }
}
