//! How long until a sleeping loop answers: each time a sample, for the curve.
//!
//! A thread on another processor rings, sleeps until it is answered, and leaves the loop
//! alone for a while, so that both sides sleep whenever it begins.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use trefoil_benches::rows::{Bench, Entry, Kind, Row, Unit};

use crate::peers::runtimes;
use crate::roles;
use crate::wake::{Bell, Heard};

/// After so long all contenders sleep.
const PAUSE: Duration = Duration::from_micros(300);

/// `n` answers of a loop that is driven here.
fn answers(n: u64, samples: &mut Vec<f64>, drive: impl FnOnce(Pin<Box<dyn Future<Output = ()>>>)) {
    let bell = Arc::new(Bell::default());
    let answered = Arc::new(AtomicU64::new(0));
    let asker = thread::spawn({
        let (bell, answered) = (bell.clone(), answered.clone());
        move || {
            roles::pin(1);
            let ask = |i| {
                thread::sleep(PAUSE);
                let start = Instant::now();
                bell.rung.store(i, Ordering::Release);
                bell.waker.wake();
                while answered.load(Ordering::Acquire) < i {
                    thread::park();
                }
                start.elapsed().as_nanos() as f64
            };
            (1..=n).map(ask).collect::<Vec<f64>>()
        }
    });
    let thread = asker.thread().clone();
    drive(Box::pin(async move {
        for i in 1..=n {
            Heard(&bell, i).await;
            answered.store(i, Ordering::Release);
            thread.unpark();
        }
    }));
    samples.extend(asker.join().expect("it only waits"));
}

/// Every runtime.
pub fn wakes(bench: &mut Bench) {
    let here = runtimes();
    let n = bench.pick(2, 50, 100);
    roles::pin(0);
    let entries = vec![
        Entry::samples(Kind::Ours, "trefoil", |samples| {
            answers(n, samples, |future| here.ours.block_on(future));
        }),
        Entry::samples(Kind::Peer, "tokio", |samples| {
            answers(n, samples, |future| here.on_tokio(future));
        }),
        Entry::samples(Kind::Peer, "smol", |samples| {
            answers(n, samples, |future| here.on_smol(future));
        }),
        Entry::samples(Kind::Peer, "futures, LocalPool", |samples| {
            answers(n, samples, |future| here.on_pool(future));
        }),
    ];
    let measured = bench.measure(bench.few_rounds(), entries);
    roles::unpin();
    let name = "a message to a sleeping loop, answered, other processor";
    let row = Row::new(name, Unit::Us, &[]);
    bench.report(row, &measured);
    bench.report(
        Row::p99(format!("{name}: p99"), Unit::Us).detail(true),
        &measured,
    );
}
