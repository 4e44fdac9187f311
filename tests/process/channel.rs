//! Channels between processes: order, capacity, ends, large items, and peers that are killed.
#![allow(
    unsafe_code,
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::print_stdout,
    clippy::print_stderr
)] // a program, not the crate

use crate::deadline::sample;
use crate::support;

use std::collections::HashSet;
use std::fmt::Write;
use std::sync::Once;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use support::{Test, nothing_left_since, tests, until};
use trefoil::process::channel;
use trefoil::process::channel::{Receiver, Sender};
use trefoil::{Process, ProcessPool, SharedAtomics, TaskError, join_all};

pub(crate) fn helpers() {
    support::helper(&[("cut_short", cut_short), ("mortal", mortal)]);
}

/// A program whose limit of descriptors is lowered below the number that it waits for.
fn cut_short() {
    use rustix::process::{Resource, getrlimit, setrlimit};
    let ends: Vec<_> = (0..40).map(|_| channel::<u64>(1).unwrap()).collect();
    let answers = trefoil::run(async {
        let (senders, waits): (Vec<_>, Vec<_>) = ends
            .into_iter()
            .map(|(tx, rx)| (tx, trefoil::spawn(async move { rx.recv().await })))
            .unzip();
        trefoil::yield_now().await; // all of them wait
        let mut limit = getrlimit(Resource::Nofile);
        limit.current = Some(20);
        setrlimit(Resource::Nofile, limit).unwrap();
        let mut answers = Vec::new();
        for ((n, tx), wait) in (0..).zip(senders).zip(waits) {
            tx.send(n).await.unwrap();
            let answer = trefoil::timeout(Duration::from_secs(20), wait).await;
            answers.push(answer.expect("nobody is woken").unwrap().unwrap());
        }
        answers
    });
    assert!(answers.into_iter().eq(0..40));
}

/// As in programs that want to end together with the reader of their output.
fn mortal() {
    // SAFETY: no handler is installed, and no other code changes dispositions.
    unsafe { signal(13, 0) };
    for capacity in [1, 1000] {
        let (tx, rx) = channel::<u64>(capacity).unwrap();
        tx.send_blocking(1).unwrap();
        drop(rx);
        is_closed(tx.send_blocking(2));
        is_closed(tx.try_send(3).map_err(TaskError::from));
        is_closed(trefoil::run(async { tx.send(4).await }));
    }
    let (tx, rx) = channel::<Vec<u8>>(4).unwrap();
    let reader = Process::spawn(rx, drain).unwrap();
    while tx.send_blocking(vec![1; 10]).is_ok() {
        reader.kill();
    }
    assert!(reader.join().is_err());
    // And the signal still ends this process, as before.
    let (reads, writes) = std::io::pipe().unwrap();
    drop(reads);
    println!("alive");
    let _ = rustix::io::write(&writes, b"x");
    println!("still alive");
}

unsafe extern "C" {
    fn signal(signum: i32, handler: usize) -> usize;
}

/// Counts what must not grow, when no helper thread of an earlier test is about to end.
fn census() -> (usize, usize, bool) {
    // The thread that wakes waiting futures has one descriptor, from the first future on.
    static FIRST: Once = Once::new();
    FIRST.call_once(|| {
        let (tx, rx) = channel::<()>(1).unwrap();
        trefoil::run(async {
            let wait = trefoil::spawn(async move { rx.recv().await });
            trefoil::yield_now().await;
            tx.send(()).await.unwrap();
            wait.await.unwrap().unwrap();
        });
    });
    until(|| !helpers_run());
    support::census()
}

/// Whether a helper thread of the crate exists.
fn helpers_run() -> bool {
    let ours = |task: std::io::Result<std::fs::DirEntry>| {
        let name = std::fs::read_to_string(task.unwrap().path().join("comm"));
        name.is_ok_and(|name| name.starts_with("trefoil"))
    };
    std::fs::read_dir("/proc/self/task").unwrap().any(ours)
}

/// Sends its own numbers in order, and counts them.
fn count_up((tx, own, sent, size): (Sender<Numbered>, usize, SharedAtomics<AtomicU64>, usize)) {
    for n in 0.. {
        if tx.send_blocking((own, n, vec![n as u8; size])).is_err() {
            return;
        }
        sent[own].fetch_add(1, Ordering::SeqCst);
    }
}

type Numbered = (usize, u64, Vec<u8>);

/// Sends so many items of every size around that of a record.
fn mixture((tx, own, count): (Sender<Numbered>, usize, u64)) {
    for n in 0..count {
        let bytes = filled(own, n);
        tx.send_blocking((own, n, bytes)).unwrap();
    }
}

/// The bytes of the `n`th item of sender `own`.
fn filled(own: usize, n: u64) -> Vec<u8> {
    let size = match n % 64 {
        0 => 5000,
        1 => 0,
        n => n as usize * 3,
    };
    vec![(n as u8) ^ (own as u8 + 1).wrapping_mul(31); size]
}

fn count_down((rx, own, received): (Receiver<Vec<u8>>, usize, SharedAtomics<AtomicU64>)) {
    while rx.recv_blocking().is_ok() {
        received[own].fetch_add(1, Ordering::SeqCst);
    }
}

fn send_numbers((tx, from, to): (Sender<u64>, u64, u64)) {
    (from..to).for_each(|n| tx.send_blocking(n).unwrap());
}

fn sum(rx: Receiver<u64>) -> u64 {
    rx.into_iter().sum()
}

/// Sends for ever.
fn flood((tx, size): (Sender<Vec<u8>>, usize)) {
    for n in 0u8.. {
        if tx.send_blocking(vec![n; size]).is_err() {
            return;
        }
    }
}

fn drain(rx: Receiver<Vec<u8>>) {
    while rx.recv_blocking().is_ok() {}
}

fn is_closed<T: std::fmt::Debug>(result: Result<T, TaskError>) {
    assert!(matches!(result, Err(TaskError::Closed)), "{result:?}");
}

fn is_codec<T: std::fmt::Debug>(result: Result<T, TaskError>, word: &str) {
    let Err(TaskError::Codec(error)) = result else {
        panic!("{result:?}")
    };
    assert!(error.to_string().contains(word), "{error}");
}

/// Formats the sender through its `Serialize`, outside any call.
struct Written<'a>(&'a Sender<u64>);

impl std::fmt::Display for Written<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        serde::Serialize::serialize(self.0, f)
    }
}

/// Counts how often it is encoded.
#[derive(serde::Deserialize, Debug)]
struct Counted;

static ENCODED: AtomicU64 = AtomicU64::new(0);

impl serde::Serialize for Counted {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        ENCODED.fetch_add(1, Ordering::Relaxed);
        serializer.serialize_unit_struct("Counted")
    }
}

tests! {
    fn within_one_process() {
        let before = census();
        let (tx, rx) = channel::<String>(2).unwrap();
        assert_eq!((tx.capacity(), rx.len()), (2, 0));
        tx.try_send("a".to_owned()).unwrap();
        tx.clone().try_send("b".repeat(1000)).unwrap();
        let full = tx.try_send("c".to_owned()).unwrap_err();
        assert!(full.is_full() && !full.is_closed() && full.to_string().contains("full"));
        assert!(matches!(TaskError::from(full.clone()), TaskError::WouldBlock));
        assert_eq!(full.into_inner(), "c");
        assert_eq!(rx.recv_blocking().unwrap(), "a");
        assert_eq!(rx.clone().try_recv().unwrap(), "b".repeat(1000));
        assert!(matches!(rx.try_recv(), Err(TaskError::WouldBlock)));
        let short = rx.recv_timeout(Duration::from_millis(5));
        assert!(matches!(short, Err(TaskError::TimedOut(_))));
        tx.try_send(String::new()).unwrap();
        drop(tx);
        assert_eq!(rx.iter().collect::<Vec<_>>(), [""]);
        is_closed(rx.try_recv());
        drop(rx);
        let (tx, rx) = channel::<String>(1).unwrap();
        drop(rx);
        let closed = tx.try_send("a".to_owned()).unwrap_err();
        assert!(closed.is_closed() && matches!(TaskError::from(closed.clone()), TaskError::Closed));
        assert_eq!(closed.into_inner(), "a");
        is_closed(tx.send_blocking("a".repeat(5000)));
        drop(tx);
        nothing_left_since(before);
    }

    fn what_finds_no_room_is_not_encoded() {
        let (tx, rx) = channel(1).unwrap();
        tx.try_send(Counted).unwrap();
        let encoded = ENCODED.load(Ordering::Relaxed);
        assert!(tx.try_send(Counted).unwrap_err().is_full());
        drop(rx);
        assert!(tx.try_send(Counted).unwrap_err().is_closed());
        assert_eq!(ENCODED.load(Ordering::Relaxed), encoded);
    }

    fn the_capacity_is_exact() {
        for capacity in [1, 3, 100, 5000, 16_320, 16_321, 65_280] {
            let (tx, rx) = channel::<u32>(capacity).unwrap();
            assert_eq!(tx.capacity(), capacity);
            let sent = (0..).take_while(|n| tx.try_send(*n).is_ok()).count();
            assert_eq!((sent, rx.len()), (capacity, capacity));
            assert_eq!(rx.recv_blocking().unwrap(), 0);
            tx.try_send(0).unwrap();
            assert!(tx.try_send(0).is_err());
        }
        assert_eq!(channel::<u32>(0).unwrap().0.capacity(), 1);
        for capacity in [usize::MAX, usize::MAX >> 4, usize::MAX >> 24 | 1 << 31, 1 << 31] {
            let refused = channel::<u32>(capacity).unwrap_err();
            assert_eq!(refused.kind(), std::io::ErrorKind::InvalidInput, "{refused}");
        }
        // Short items, the longest that fit into a record, and longer ones.
        for capacity in [10, 10_000, 20_000, 40_000] {
            let (tx, rx) = channel::<Vec<u8>>(capacity).unwrap();
            for size in (0..140).chain([4096, 100_000]) {
                tx.send_blocking(vec![7; size]).unwrap();
                assert_eq!(rx.recv_blocking().unwrap(), vec![7; size]);
            }
        }
    }

    fn between_processes_either_way() {
        let (tx, rx) = channel(4).unwrap();
        let makes = Process::spawn((tx, 0, 1000), send_numbers).unwrap();
        assert_eq!(rx.iter().collect::<Vec<_>>(), (0..1000).collect::<Vec<_>>(), "in order");
        makes.join().unwrap();
        let (tx, rx) = channel(4).unwrap();
        let takes = Process::spawn(rx, sum).unwrap();
        send_numbers((tx, 0, 1000));
        assert_eq!(takes.join().unwrap(), 499_500);
    }

    fn many_senders_and_receivers_in_workers() {
        let before = census();
        let procs = ProcessPool::with_workers(4).unwrap();
        let (tx, rx) = channel(3).unwrap();
        let sums = [procs.spawn(rx.clone(), sum), procs.spawn(rx, sum)];
        let sends = [0, 1000].map(|from| procs.spawn((tx.clone(), from, from + 1000), send_numbers));
        drop(tx);
        sends.into_iter().for_each(|task| task.join().unwrap());
        let total: u64 = sums.into_iter().map(|task| task.join().unwrap()).sum();
        assert_eq!(total, 1999 * 1000);
        drop(procs);
        nothing_left_since(before);
    }

    fn many_senders_mix_nothing_up() {
        let count = sample(24_000) as u64;
        for (senders, capacity) in [(3, 64), (8, 40_000)] {
            let procs = ProcessPool::with_workers(senders).unwrap();
            let (tx, rx) = channel::<Numbered>(capacity).unwrap();
            let sends = (0..senders).map(|own| procs.spawn((tx.clone(), own, count), mixture));
            let sends: Vec<_> = sends.collect();
            drop(tx);
            let mut next = vec![0; senders];
            loop {
                let (own, n, bytes) = match rx.recv_blocking() {
                    Ok(item) => item,
                    Err(TaskError::Closed) => break,
                    Err(error) => panic!("{error}"),
                };
                assert_eq!(n, next[own], "in order, each once, none left out");
                assert!(bytes == filled(own, n), "{own}, {n}: {bytes:?}");
                next[own] += 1;
            }
            join_all(sends).join().into_iter().for_each(|sent| sent.unwrap());
            assert_eq!(next, vec![count; senders]);
        }
    }

    fn calls_that_wait_for_one_another_whatever_was_shipped_to_whom() {
        // The function is known to be quick, so many of its calls go to one worker at once.
        let quick: fn(Receiver<u64>) -> u64 = |rx| rx.iter().sum();
        let before = census();
        let procs = ProcessPool::with_workers(4).unwrap();
        for round in 0..40 {
            let empty = (0..8).map(|_| procs.spawn(channel(1).unwrap().1, quick));
            join_all(empty.collect::<Vec<_>>()).join().into_iter().for_each(|sum| assert_eq!(sum.unwrap(), 0));
            let (tx, rx) = channel(1).unwrap();
            let sums = [procs.spawn(rx.clone(), quick), procs.spawn(rx, quick)];
            let sends = [0, 10].map(|from| procs.spawn((tx.clone(), from, from + 10), send_numbers));
            drop(tx);
            sends.into_iter().for_each(|task| task.join().unwrap());
            let total: u64 = sums.into_iter().map(|task| task.join().unwrap()).sum();
            assert_eq!(total, 190, "{round}");
        }
        drop(procs);
        nothing_left_since(before);
    }

    fn items_of_a_map_have_their_own_ends() {
        let procs = ProcessPool::with_workers(2).unwrap();
        for _ in 0..20 {
            // The second item ends when the first has ended, or has dropped its end.
            let (tx, rx) = channel::<u64>(4).unwrap();
            let items = [(Some(tx), None), (None, Some(rx)), (None, None)];
            let sums = procs.call(|(tx, rx): (Option<Sender<u64>>, Option<Receiver<u64>>)| {
                if let Some(tx) = tx {
                    tx.send_blocking(5).unwrap();
                }
                rx.map_or(0, sum)
            });
            assert_eq!(sums.chunk_size(3).map(items).unwrap(), [0, 5, 0]);
        }
    }

    fn ends_in_a_context_are_gone_with_it() {
        let procs = ProcessPool::with_workers(2).unwrap();
        for _ in 0..20 {
            let (tx, rx) = channel::<u64>(4).unwrap();
            let (open, gate) = channel::<()>(1).unwrap();
            std::thread::scope(|scope| {
                let procs = &procs;
                let map = scope.spawn(move || {
                    procs.map_with(&(tx, gate), vec![0, 1], |(tx, gate): &(Sender<u64>, Receiver<()>), n: u64| {
                        tx.send_blocking(n + 10).unwrap();
                        if n == 1 {
                            gate.recv_blocking().unwrap();
                        }
                    })
                });
                // The first item has ended, while the second still runs.
                until(|| rx.len() == 2);
                let sum = procs.spawn(rx, sum);
                open.send_blocking(()).unwrap();
                map.join().unwrap().unwrap();
                assert_eq!(sum.join().unwrap(), 21);
            });
        }
    }

    /// The argument of an initializer, or of an actor's `load`, is for each worker, also later
    /// ones.
    fn ends_in_an_initializer_reach_each_worker() {
        fn keep(tx: Sender<u64>) {
            KEPT.set(tx).unwrap();
        }
        fn send(n: u64) {
            KEPT.get().unwrap().send_blocking(n).unwrap();
        }
        static KEPT: std::sync::OnceLock<Sender<u64>> = std::sync::OnceLock::new();
        let (tx, rx) = channel::<u64>(100).unwrap();
        let procs = ProcessPool::builder()
            .workers(2)
            .max_tasks_per_worker(1)
            .initializer(tx, keep)
            .build()
            .unwrap();
        procs.map(0..10_u64, send).unwrap();
        let mut sent: Vec<u64> = (0..10).map(|_| rx.recv_blocking().unwrap()).collect();
        sent.sort_unstable();
        assert_eq!(sent, (0..10).collect::<Vec<_>>());
        drop(procs);
        assert!(rx.recv_blocking().is_err(), "the pool's copy is gone with it");

        let procs = ProcessPool::with_workers(1).unwrap();
        let (tx, rx) = channel::<u64>(100).unwrap();
        let actor = procs.actor(tx, |tx| tx).unwrap();
        let send = |n: u64, tx: &mut Sender<u64>| {
            if n == 3 {
                std::process::exit(3);
            }
            tx.send_blocking(n).unwrap();
        };
        let calls: Vec<_> = (0..6).map(|n| actor.call(n, send)).collect();
        let failed: Vec<bool> = calls.into_iter().map(|call| call.join().is_err()).collect();
        assert_eq!(failed, [false, false, false, true, false, false]);
        drop((actor, procs));
        let sent: Vec<u64> = std::iter::from_fn(|| rx.recv_blocking().ok()).collect();
        assert_eq!(sent, [0, 1, 2, 4, 5]);
    }

    /// A stopped worker does not keep open the ends that were sent to it and not yet received.
    fn a_stopped_worker_keeps_no_end() {
        let procs = ProcessPool::with_workers(1).unwrap();
        procs.spawn((), |()| ()).join().unwrap();
        until(|| procs.stats().busy == 0);
        support::suspend(procs.worker_pids()[0]);
        let (tx, rx) = channel::<u64>(1).unwrap();
        let call = procs.spawn((tx, 0, 1), send_numbers);
        until(|| procs.stats().busy == 1);
        call.cancel();
        let (tell, told) = std::sync::mpsc::channel();
        std::thread::spawn(move || tell.send(rx.recv_blocking()));
        is_closed(told.recv_timeout(Duration::from_secs(20)).expect("it keeps its end"));
        assert_eq!(procs.spawn(2, |n: u64| n).join().unwrap(), 2);
    }

    fn an_end_comes_back_as_a_result() {
        let procs = ProcessPool::with_workers(1).unwrap();
        let made = procs.spawn((), |()| {
            let (tx, rx) = channel::<u64>(10).unwrap();
            send_numbers((tx.clone(), 0, 5));
            (tx, rx)
        });
        let (tx, rx) = made.join().unwrap();
        drop(tx);
        drop(procs);
        assert_eq!(rx.into_iter().sum::<u64>(), 10);
    }

    fn an_end_dropped_by_a_running_call_is_gone() {
        let (tx, rx) = channel::<u64>(1).unwrap();
        let (stay, end) = channel::<u64>(1).unwrap();
        let goes: fn((Sender<u64>, Receiver<u64>)) -> u64 = |(tx, end)| {
            drop(tx);
            end.recv_blocking().unwrap()
        };
        let process = Process::spawn((tx, end), goes).unwrap();
        is_closed(rx.recv_blocking());
        stay.send_blocking(3).unwrap();
        assert_eq!(process.join().unwrap(), 3);
        let procs = ProcessPool::with_workers(1).unwrap();
        let (tx, rx) = channel::<u64>(1).unwrap();
        let (stay, end) = channel::<u64>(1).unwrap();
        let call = procs.spawn((tx, end), goes);
        is_closed(rx.recv_blocking());
        stay.send_blocking(4).unwrap();
        assert_eq!(call.join().unwrap(), 4);
        // Both ends of one channel.
        let both = channel::<u64>(1).unwrap();
        let alone = Process::spawn(both, |(tx, rx): (Sender<u64>, Receiver<u64>)| { drop(tx); rx.iter().count() });
        assert_eq!(alone.unwrap().join().unwrap(), 0);
    }

    fn the_end_of_killed_peers() {
        let (tx, rx) = channel::<Vec<u8>>(2).unwrap();
        let process = Process::spawn((tx, 100_000), flood).unwrap();
        rx.recv_blocking().unwrap();
        process.kill();
        until(|| rx.recv_blocking().is_err());
        is_closed(rx.recv_blocking());
        assert!(process.join().is_err());

        let (tx, rx) = channel::<Vec<u8>>(2).unwrap();
        let process = Process::spawn(rx, |_rx: Receiver<Vec<u8>>| loop { std::thread::park() });
        let process: Process<()> = process.unwrap();
        tx.send_blocking(vec![1]).unwrap();
        tx.send_blocking(vec![2]).unwrap();
        let waits = std::thread::spawn(move || tx.send_blocking(vec![3]));
        process.kill();
        is_closed(waits.join().unwrap());
        drop(process);
    }

    fn large_items() {
        let (tx, rx) = channel::<Vec<u8>>(1).unwrap();
        let sender = Process::spawn(tx, |tx: Sender<Vec<u8>>| {
            for size in [0, 122, 123, 124, 4095, 4096, 65_536, 1 << 20, 8 << 20] {
                tx.send_blocking(vec![size as u8 ^ 0x55; size]).unwrap();
            }
        }).unwrap();
        for size in [0, 122, 123, 124, 4095, 4096, 65_536, 1 << 20, 8 << 20] {
            assert!(rx.recv_blocking().unwrap() == vec![size as u8 ^ 0x55; size], "{size}");
        }
        is_closed(rx.recv_blocking());
        sender.join().unwrap();
    }

    fn on_any_runtime() {
        let (tx, rx) = channel::<u64>(1).unwrap();
        let (back, answers) = channel::<u64>(1).unwrap();
        let echo = Process::spawn((rx, back), |(rx, back): (Receiver<u64>, Sender<u64>)| {
            rx.iter().for_each(|n| back.send_blocking(n * 2).unwrap());
        }).unwrap();
        let total = trefoil::run(async move {
            assert!(matches!(answers.recv_blocking(), Err(TaskError::WouldBlock)));
            // An iterator has no error to give, and its end would be a lie.
            let theirs = answers.clone();
            let refused = trefoil::spawn(async move { for _ in &theirs {} }).await.unwrap_err();
            let TaskError::Panicked(panic) = refused else { panic!("{refused:?}") };
            assert!(panic.message().contains("`while let Ok(item) = receiver.recv().await`"));
            let place = panic.location().unwrap();
            assert!(place.file().ends_with("channel.rs") && !place.file().contains("src"), "{place}");
            let sends = trefoil::spawn(async move {
                for n in 0..200 {
                    tx.send(n).await.unwrap();
                }
            });
            let mut total = 0;
            while let Ok(n) = answers.recv().await {
                total += n;
            }
            sends.await.unwrap();
            total
        });
        assert_eq!(total, 199 * 200);
        echo.join().unwrap();
        // A dropped future has received nothing.
        let (tx, rx) = channel::<u64>(1).unwrap();
        trefoil::run(async {
            assert!(trefoil::timeout(Duration::from_millis(5), rx.recv()).await.is_err());
            tx.send(1).await.unwrap();
            assert!(trefoil::timeout(Duration::from_millis(5), tx.send(2)).await.is_err());
        });
        drop(tx);
        assert_eq!(rx.into_iter().collect::<Vec<_>>(), [1]);
    }

    fn very_many_may_wait() {
        let before = census();
        let (tx, rx) = channel::<u64>(1).unwrap();
        let (full, held) = channel::<u64>(1).unwrap();
        full.try_send(0).unwrap();
        // More than the process may have descriptors.
        let most = rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
        let many = most.unwrap_or(u64::MAX).min(3000) + 1;
        let total = trefoil::run(async {
            let waits: Vec<_> = (0..many)
                .map(|_| {
                    let (rx, full) = (rx.clone(), full.clone());
                    trefoil::spawn(async move { (rx.recv().await, full.send(1).await) })
                })
                .collect();
            trefoil::yield_now().await;
            drop(rx);
            drop(full);
            for n in 0..5 {
                tx.send(n).await.unwrap();
            }
            drop(tx);
            for _ in 0..6 {
                held.recv().await.unwrap();
            }
            drop(held);
            let mut total = 0;
            for wait in waits {
                let (received, _) = wait.await.unwrap();
                total += received.unwrap_or(0);
            }
            total
        });
        assert_eq!(total, 10);
        nothing_left_since(before);
    }

    fn more_may_wait_than_the_limit_allows() {
        support::run_helper("cut_short");
    }

    fn a_closed_channel_kills_no_process() {
        let output = support::start_helper("mortal").wait_with_output().unwrap();
        let said = String::from_utf8_lossy(&output.stdout);
        let words = String::from_utf8_lossy(&output.stderr);
        assert_eq!(said, "alive\n", "{:?}: {words}", output.status);
        use std::os::unix::process::ExitStatusExt;
        assert_eq!(output.status.signal(), Some(13));
    }

    fn the_helper_thread_ends() {
        until(|| !helpers_run());
        let (tx, rx) = channel::<u64>(1).unwrap();
        let thread = std::thread::spawn(move || trefoil::run(async move { rx.recv().await }));
        until(helpers_run); // it waits for what the receiver waits for
        tx.send_blocking(5).unwrap();
        assert_eq!(thread.join().unwrap().unwrap(), 5);
        drop(tx);
        until(|| !helpers_run());
    }

    fn what_cannot_travel() {
        let (tx, _rx) = channel::<u64>(1).unwrap();
        // A formatter is a simple serializer; it gets as far as the error of the channel's end.
        let mut text = String::new();
        let refused = write!(text, "{}", Written(&tx));
        assert!(refused.is_err(), "{text}");
        let (outer, inner) = channel::<Sender<u64>>(1).unwrap();
        let refused = outer.try_send(tx).unwrap_err();
        assert!(!refused.is_full() && !refused.is_closed(), "{refused}");
        is_codec(Err::<(), _>(TaskError::from(refused.clone())), "descriptors");
        assert_eq!(refused.into_inner().capacity(), 1);
        drop(inner);
    }

    fn killed_senders_neither_tear_nor_stop_it() {
        let before = census();
        let (tx, rx) = channel::<Vec<u8>>(3).unwrap();
        let begin = Instant::now();
        let mut seen = HashSet::new();
        let mut rounds = 0;
        while begin.elapsed() < support::chaos() / 2 || seen.len() < 3 {
            let size = [10, 200, 70_000][rounds % 3];
            let process = Process::spawn((tx.clone(), size), flood).unwrap();
            for _ in 0..(rounds * 7) % 40 {
                let item = rx.recv_blocking().unwrap();
                assert!(item.iter().all(|byte| *byte == item[0]), "torn");
                assert!([10, 200, 70_000].contains(&item.len()));
                seen.insert(item.len());
            }
            process.kill();
            assert!(process.join().is_err());
            rounds += 1;
        }
        // All its places are free.
        while rx.try_recv().is_ok() {}
        (0..3).for_each(|n| tx.send_blocking(vec![n]).unwrap());
        assert!(tx.try_send(vec![]).is_err());
        assert_eq!(rx.iter().take(3).count(), 3);
        drop(tx);
        is_closed(rx.recv_blocking());
        drop(rx);
        nothing_left_since(before);
        println!("{rounds} killed");
    }

    fn sent_items_arrive_whichever_process_is_killed() {
        let before = census();
        let most = 600;
        let sent = SharedAtomics::<AtomicU64>::new(most).unwrap();
        let (tx, rx) = channel::<Numbered>(4).unwrap();
        let (begin, mut seed) = (Instant::now(), 0x1234_5678_9abc_def1_u64);
        let mut running = Vec::new();
        let mut started = 0;
        let mut next = vec![0u64; most];
        let mut receive = |limit: Duration| match rx.recv_timeout(limit) {
            Ok((own, n, bytes)) => {
                assert_eq!(n, next[own], "in order, each once, none left out");
                assert!(bytes.iter().all(|byte| *byte == n as u8), "torn");
                next[own] += 1;
                true
            }
            Err(TaskError::TimedOut(_)) => false,
            Err(error) => panic!("{error}"),
        };
        while (begin.elapsed() < support::chaos() / 2 || started < 6) && started < most {
            if running.len() < 3 {
                let size = [3, 100, 9000][started % 3];
                running.push(Process::spawn((tx.clone(), started, sent.clone(), size), count_up).unwrap());
                started += 1;
            }
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            for _ in 0..seed >> 58 {
                receive(Duration::from_millis(20));
                assert!(rx.len() <= rx.capacity());
            }
            if seed >> 40 & 3 == 0 {
                let process = running.swap_remove(seed as usize % running.len());
                process.kill();
                assert!(process.join().is_err());
            }
        }
        for process in running {
            process.kill();
            assert!(process.join().is_err());
        }
        while receive(Duration::ZERO) {}
        for own in 0..started {
            // One item may have been sent and not yet counted.
            let sent = sent[own].load(Ordering::SeqCst);
            assert!((sent..=sent + 1).contains(&next[own]), "{own}: {sent} sent, {} here", next[own]);
        }
        (0..4).for_each(|n| tx.send_blocking((0, n, vec![])).unwrap());
        assert!(tx.try_send((0, 0, vec![])).is_err(), "each place is there, and no more");
        assert_eq!(rx.iter().take(4).count(), 4);
        drop(tx);
        is_closed(rx.recv_blocking());
        drop((rx, sent));
        nothing_left_since(before);
        println!("{started} killed, {} items", next.iter().sum::<u64>());
    }

    fn killed_receivers_take_along_what_they_had_in_hand() {
        let most = 600;
        let received = SharedAtomics::<AtomicU64>::new(most).unwrap();
        let (tx, rx) = channel::<Vec<u8>>(3).unwrap();
        let (begin, mut seed) = (Instant::now(), 0x0fed_cba9_8765_4321_u64);
        let mut running = Vec::new();
        let (mut started, mut sent) = (0, 0u64);
        while (begin.elapsed() < support::chaos() / 2 || started < 6) && started < most {
            if running.len() < 3 {
                let process = Process::spawn((rx.clone(), started, received.clone()), count_down);
                running.push(process.unwrap());
                started += 1;
            }
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            for n in 0..seed >> 57 {
                tx.send_blocking(vec![n as u8; [3, 9000][n as usize % 2]]).unwrap();
                assert!(tx.len() <= tx.capacity());
                sent += 1;
            }
            if seed >> 40 & 3 == 0 {
                let process = running.swap_remove(seed as usize % running.len());
                process.kill();
                assert!(process.join().is_err());
            }
        }
        let killed = (started - running.len()) as u64;
        drop(tx);
        drop(rx);
        running.into_iter().for_each(|process| process.join().unwrap());
        let here: u64 = received.iter().map(|count| count.load(Ordering::SeqCst)).sum();
        assert!((sent - killed..=sent).contains(&here), "{sent} sent, {here} here, {killed} killed");
        println!("{killed} killed, {sent} items");
    }

    /// A call keeps its context, and with it the ends in there.
    fn a_channel_in_a_context_is_open_until_the_call_is_dropped() {
        let before = census();
        let procs = ProcessPool::with_workers(2).unwrap();
        let (tx, rx) = channel::<u64>(64).unwrap();
        let call = procs.call_with(&tx, |tx: &Sender<u64>, n: u64| tx.send_blocking(n).unwrap());
        drop(tx);
        let received = |count: usize| {
            let mut all: Vec<u64> = rx.iter().take(count).collect();
            all.sort_unstable();
            all
        };
        for _ in 0..3 {
            call.map(0..10).unwrap();
            assert_eq!(received(10), (0..10).collect::<Vec<_>>());
            // No worker has an end any more, and the call still does.
            assert!(matches!(rx.try_recv(), Err(TaskError::WouldBlock)));
        }
        call.spawn(7).join().unwrap();
        assert!(call.imap(8..10).all(|sent| sent.is_ok()));
        assert_eq!(received(3), [7, 8, 9]);
        let again = call.clone();
        drop(call);
        again.spawn(1).join().unwrap();
        assert_eq!(received(1), [1]);
        drop(again);
        assert!(rx.iter().next().is_none(), "the last end has gone with the last call");
        is_closed(rx.try_recv());
        drop((procs, rx));
        nothing_left_since(before);
    }

    fn killed_receivers_do_not_stop_it() {
        let (tx, rx) = channel::<Vec<u8>>(2).unwrap();
        let begin = Instant::now();
        let mut rounds = 0;
        while begin.elapsed() < support::chaos() / 2 || rounds < 3 {
            let process = Process::spawn(rx.clone(), drain).unwrap();
            for n in 0..(rounds * 7) % 40 {
                tx.send_blocking(vec![n as u8; [10, 70_000][n % 2]]).unwrap();
            }
            process.kill();
            assert!(process.join().is_err());
            rounds += 1;
        }
        while rx.try_recv().is_ok() {}
        (0..2).for_each(|n| tx.send_blocking(vec![n]).unwrap());
        assert_eq!(rx.iter().take(2).count(), 2);
        drop(rx);
        is_closed(tx.send_blocking(vec![1]));
        println!("{rounds} killed");
    }
}
