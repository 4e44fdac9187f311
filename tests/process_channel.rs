//! Channels between processes: order, capacity, ends, large items, and those who are killed.
//!
//! A program of its own, like `process.rs`: see there.
#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::print_stdout,
    clippy::print_stderr
)] // a program, not the crate

#[allow(dead_code)] // not every program needs all of it
mod support;

use std::collections::HashSet;
use std::fmt::Write;
use std::time::{Duration, Instant};

use support::{Test, census, tests, until};
use trefoil::process::channel;
use trefoil::process::channel::{Receiver, Sender};
use trefoil::{Process, ProcessPool, TaskError};

fn main() {
    trefoil::init();
    support::main(TESTS);
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

/// Shown by its `Serialize`, outside of any call.
struct Written<'a>(&'a Sender<u64>);

impl std::fmt::Display for Written<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        serde::Serialize::serialize(self.0, f)
    }
}

tests! {
    fn within_one_process() {
        let before = census();
        let (tx, rx) = channel::<String>(2).unwrap();
        assert_eq!((tx.capacity(), rx.len()), (2, 0));
        tx.try_send("a".to_owned()).unwrap();
        tx.clone().try_send("b".repeat(1000)).unwrap();
        assert!(matches!(tx.try_send("c".to_owned()), Err(TaskError::WouldBlock)));
        assert_eq!(rx.recv_blocking().unwrap(), "a");
        assert_eq!(rx.clone().try_recv().unwrap(), "b".repeat(1000));
        assert!(matches!(rx.try_recv(), Err(TaskError::WouldBlock)));
        let short = rx.recv_timeout(Duration::from_millis(5));
        assert!(matches!(short, Err(TaskError::TimedOut)));
        tx.try_send(String::new()).unwrap();
        drop(tx);
        assert_eq!(rx.iter().collect::<Vec<_>>(), [""]);
        is_closed(rx.try_recv());
        drop(rx);
        let (tx, rx) = channel::<String>(1).unwrap();
        drop(rx);
        is_closed(tx.try_send("a".to_owned()));
        is_closed(tx.send_blocking("a".repeat(5000)));
        drop(tx);
        assert_eq!(census(), before);
    }

    fn the_capacity_is_exact() {
        for capacity in [1, 3, 100, 5000, 16_320] {
            let (tx, rx) = channel::<u32>(capacity).unwrap();
            assert_eq!(tx.capacity(), capacity);
            let sent = (0..).take_while(|n| tx.try_send(*n).is_ok()).count();
            assert_eq!((sent, rx.len()), (capacity, capacity));
            assert_eq!(rx.recv_blocking().unwrap(), 0);
            tx.try_send(0).unwrap();
            assert!(tx.try_send(0).is_err());
        }
        assert_eq!(channel::<u32>(0).unwrap().0.capacity(), 1);
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
        until(|| census() == before);
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
        let process = Process::spawn((tx, end), |(tx, end): (Sender<u64>, Receiver<u64>)| {
            drop(tx);
            end.recv_blocking().unwrap()
        }).unwrap();
        is_closed(rx.recv_blocking());
        stay.send_blocking(3).unwrap();
        assert_eq!(process.join().unwrap(), 3);
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
            for size in [0, 61, 62, 63, 4095, 4096, 65_536, 1 << 20, 8 << 20] {
                tx.send_blocking(vec![size as u8 ^ 0x55; size]).unwrap();
            }
        }).unwrap();
        for size in [0, 61, 62, 63, 4095, 4096, 65_536, 1 << 20, 8 << 20] {
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
        // A future that is dropped has taken nothing.
        let (tx, rx) = channel::<u64>(1).unwrap();
        trefoil::run(async {
            assert!(trefoil::timeout(Duration::from_millis(5), rx.recv()).await.is_err());
            tx.send(1).await.unwrap();
            assert!(trefoil::timeout(Duration::from_millis(5), tx.send(2)).await.is_err());
        });
        drop(tx);
        assert_eq!(rx.into_iter().collect::<Vec<_>>(), [1]);
    }

    fn the_helper_thread_ends() {
        let before = census();
        let (tx, rx) = channel::<u64>(1).unwrap();
        let thread = std::thread::spawn(move || trefoil::run(async move { rx.recv().await }));
        std::thread::sleep(Duration::from_millis(5));
        tx.send_blocking(5).unwrap();
        assert_eq!(thread.join().unwrap().unwrap(), 5);
        drop(tx);
        until(|| census().1 == before.1);
    }

    fn what_cannot_travel() {
        let (tx, _rx) = channel::<u64>(1).unwrap();
        // A formatter is a serializer of little; it gets as far as the end's own refusal.
        let mut text = String::new();
        let refused = write!(text, "{}", Written(&tx));
        assert!(refused.is_err(), "{text}");
        let (outer, inner) = channel::<Sender<u64>>(1).unwrap();
        is_codec(outer.try_send(tx), "descriptors");
        drop(inner);
    }

    fn killed_senders_neither_tear_nor_stop_it() {
        let before = census();
        let (tx, rx) = channel::<Vec<u8>>(3).unwrap();
        let begin = Instant::now();
        let mut seen = HashSet::new();
        let mut rounds = 0;
        while begin.elapsed() < support::chaos() / 2 {
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
        // All its places are there.
        while rx.try_recv().is_ok() {}
        (0..3).for_each(|n| tx.send_blocking(vec![n]).unwrap());
        assert!(tx.try_send(vec![]).is_err());
        assert_eq!(rx.iter().take(3).count(), 3);
        assert_eq!(seen.len(), 3);
        drop(tx);
        is_closed(rx.recv_blocking());
        drop(rx);
        until(|| census() == before);
        println!("{rounds} killed");
    }

    fn killed_receivers_do_not_stop_it() {
        let (tx, rx) = channel::<Vec<u8>>(2).unwrap();
        let begin = Instant::now();
        let mut rounds = 0;
        while begin.elapsed() < support::chaos() / 2 {
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
