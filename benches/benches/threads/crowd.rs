//! Eight threads outside the pool call it at once.
//!
//! What a call costs is the time of all by their number: on two processors, a job of
//! 1 µs cannot cost less than half of that. Its latency is another matter, and a row of
//! its own.

use std::hint::black_box;
use std::sync::{Barrier, Mutex};
use std::time::Instant;

use trefoil_benches::rows::{Bench, Entry, Goal, Kind, Measured, Row, Unit};
use trefoil_benches::work::{self, spin};

#[cfg(feature = "forte")]
use crate::peers::on_forte;
use crate::peers::{self, on_chili, on_rayon, on_trefoil};
use crate::spawn::{Call, calls};

const THREADS: usize = 8;

/// All call at once, `n` times each: nanoseconds by call, and every latency.
fn crowd(n: usize, call: &(dyn Fn() + Sync)) -> (f64, Vec<f64>) {
    let barrier = &Barrier::new(THREADS);
    let one = || {
        let mut latencies = Vec::with_capacity(n);
        barrier.wait();
        let start = Instant::now();
        for _ in 0..n {
            let start = Instant::now();
            call();
            latencies.push(start.elapsed().as_nanos() as f64);
        }
        (start, Instant::now(), latencies)
    };
    let all: Vec<_> = std::thread::scope(|s| {
        let threads: Vec<_> = (0..THREADS).map(|_| s.spawn(one)).collect();
        threads.into_iter().map(|t| t.join().unwrap()).collect()
    });
    let start = all.iter().map(|t| t.0).min().unwrap();
    let end = all.iter().map(|t| t.1).max().unwrap();
    let each = (end - start).as_nanos() as f64 / (n * THREADS) as f64;
    (each, all.into_iter().flat_map(|t| t.2).collect())
}

fn rows(bench: &mut Bench, name: &str, goals: &'static [Goal], calls: Vec<Call<'_>>) {
    let n = bench.pick(2, 200, 500);
    let latencies: Vec<_> = calls.iter().map(|_| Mutex::new(Vec::new())).collect();
    let entries = calls
        .iter()
        .zip(&latencies)
        .map(|((kind, name, call), all)| {
            Entry::samples(*kind, name, move |samples| {
                let (each, taken) = crowd(n, &**call);
                samples.push(each);
                all.lock().unwrap().extend(taken);
            })
        });
    let measured = bench.measure(bench.rounds(), entries.collect());
    bench.report(Row::new(name, Unit::Us, goals), &measured);
    let named = calls.iter().zip(latencies);
    let named = named.map(|((kind, name, _), all)| (*name, *kind, all.into_inner().unwrap()));
    let latencies = Measured::new(named.collect());
    bench.report(
        Row::p99(format!("{name}: latency, p99"), Unit::Us),
        &latencies,
    );
}

/// A job of one microsecond.
pub fn jobs(bench: &mut Bench) {
    fn job() {
        black_box(spin(1.0));
    }
    let mut calls = calls(job);
    // The floor here is no hand-over at all.
    calls.retain(|call| call.0 != Kind::Floor);
    calls.push((Kind::Floor, "the caller itself", Box::new(job)));
    rows(
        bench,
        "8 outside threads at once, a job of 1 µs",
        &[Goal::AtMost(1_200.0), Goal::Ahead],
        calls,
    );
}

/// A region of joins.
pub fn regions(bench: &mut Bench) {
    const N: u32 = 16;
    let fib = || black_box(N);
    let mut calls: Vec<Call<'_>> = vec![
        (
            Kind::Ours,
            "trefoil",
            Box::new(move || {
                let n = fib();
                let halves = (|| on_trefoil::fib((), n - 1), || on_trefoil::fib((), n - 2));
                black_box(peers::trefoil(2).join(halves.0, halves.1));
            }),
        ),
        (
            Kind::Peer,
            "rayon",
            Box::new(move || {
                black_box(peers::rayon(2).install(|| on_rayon::fib((), fib())));
            }),
        ),
        (
            Kind::Peer,
            "chili",
            Box::new(move || {
                black_box(on_chili::fib(&mut peers::chili(2).scope(), fib()));
            }),
        ),
    ];
    #[cfg(feature = "forte")]
    calls.push((
        Kind::Peer,
        "forte",
        Box::new(move || {
            black_box(peers::forte(2).with_worker(|w| on_forte::fib(w, fib())));
        }),
    ));
    calls.push((
        Kind::Sequential,
        "sequential",
        Box::new(move || {
            black_box(work::fib(fib()));
        }),
    ));
    calls.push((
        Kind::OtherOrder,
        "sequential, two calls",
        Box::new(move || {
            black_box(work::fib_two_calls(fib()));
        }),
    ));
    rows(
        bench,
        "8 outside threads at once, a region fib(16)",
        &[Goal::AtMost(1_500.0), Goal::Ahead],
        calls,
    );
}
