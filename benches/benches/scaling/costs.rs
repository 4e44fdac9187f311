//! The machine: what a cache line that moves costs, and a thread that is woken.

use std::hint::spin_loop;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Barrier};
use std::thread;
use std::time::{Duration, Instant};

use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
use trefoil_benches::rows::{Bench, Entry, Kind, Row, Unit};

use crate::widths;

/// Lines of their own, for pairs of them are fetched together.
#[repr(align(256))]
struct Line(AtomicU64);

fn processors() -> Vec<usize> {
    let all = sched_getaffinity(None).expect("Linux says where we may run");
    (0..CpuSet::MAX_CPU)
        .filter(|cpu| all.is_set(*cpu))
        .collect()
}

/// This thread, on that processor only.
fn stay_on(processor: usize) {
    let mut one = CpuSet::new();
    one.set(processor);
    sched_setaffinity(None, &one).expect("we may run there");
}

/// The time of one move of a line that two threads write in turn.
fn ping_pong(a: usize, b: usize, rounds: u64) -> f64 {
    let line = Line(AtomicU64::new(0));
    let play = |processor: usize, me: u64| {
        stay_on(processor);
        let mut began = Instant::now();
        for round in 0..rounds + rounds / 10 {
            if round == rounds / 10 {
                began = Instant::now();
            }
            while line.0.load(Ordering::Acquire) != round * 2 + me {
                spin_loop();
            }
            line.0.store(round * 2 + me + 1, Ordering::Release);
        }
        began.elapsed().as_nanos() as f64 / (rounds * 2) as f64
    };
    thread::scope(|s| {
        let other = s.spawn(|| play(b, 1));
        let took = s.spawn(|| play(a, 0)).join();
        other.join().expect("it does not panic");
        took.expect("it does not panic")
    })
}

/// So many threads change one counter; the time from one change to the next.
fn contended(threads: usize, each: u64) -> f64 {
    let line = Line(AtomicU64::new(0));
    let barrier = Barrier::new(threads);
    let change = || {
        barrier.wait();
        let began = Instant::now();
        for _ in 0..each {
            line.0.fetch_add(1, Ordering::AcqRel);
        }
        began.elapsed().as_nanos() as f64
    };
    thread::scope(|s| {
        let all: Vec<_> = (0..threads).map(|_| s.spawn(change)).collect();
        let all = all
            .into_iter()
            .map(|t| t.join().expect("it does not panic"));
        all.fold(0.0, f64::max) / (each * threads as u64) as f64
    })
}

/// What it costs to wake a thread that sleeps: the caller, and until that thread runs.
fn wake(often: usize) -> Vec<(f64, f64)> {
    let began = Arc::new(AtomicU64::new(0));
    let base = Instant::now();
    let (answer, latencies) = std::sync::mpsc::channel();
    let shared = Arc::clone(&began);
    let sleeper = thread::spawn(move || {
        for _ in 0..often {
            let mut asked = 0;
            while asked == 0 {
                thread::park();
                asked = shared.swap(0, Ordering::AcqRel);
            }
            let woke = base.elapsed().as_nanos() as u64;
            answer.send((woke - asked) as f64).expect("it waits");
        }
    });
    let ask = |_| {
        thread::sleep(Duration::from_millis(1));
        let asked = base.elapsed();
        began.store(asked.as_nanos() as u64, Ordering::Release);
        sleeper.thread().unpark();
        let call = base.elapsed() - asked;
        (
            call.as_nanos() as f64,
            latencies.recv().expect("it answers"),
        )
    };
    let costs = (0..often).map(ask).collect();
    sleeper.join().expect("it does not panic");
    costs
}

pub fn all(bench: &mut Bench) {
    let processors = processors();
    for other in &processors[1..] {
        let rounds = bench.pick(10, 2_000, 10_000);
        let entry = Entry::samples(Kind::Floor, "two threads in turn", |samples| {
            samples.push(ping_pong(processors[0], *other, rounds));
        });
        let measured = bench.measure(bench.pick(1, 3, 3), vec![entry]);
        let name = format!(
            "a cache line between processors {} and {other}",
            processors[0]
        );
        bench.report(Row::new(name, Unit::Ns, &[]), &measured);
    }
    for workers in widths(bench) {
        let each = bench.pick(100, 100_000, 200_000) / workers as u64;
        let entry = Entry::samples(Kind::Floor, "threads that only add", |samples| {
            samples.push(contended(workers, each));
        });
        let measured = bench.measure(bench.pick(1, 3, 5), vec![entry]);
        let name = format!("a counter that all change, each time, workers: {workers}");
        bench.report(Row::new(name, Unit::Ns, &[]), &measured);
    }
    let n = bench.pick(10, 1_000, 10_000);
    let entry = Entry::hot(Kind::Floor, "sched_yield", n, |n| {
        (0..n).for_each(|_| thread::yield_now());
    });
    let measured = bench.measure(bench.pick(1, 3, 5), vec![entry]);
    let name = "giving up the processor while no other thread wants it";
    bench.report(Row::new(name, Unit::Ns, &[]), &measured);
    let costs = wake(bench.pick(3, 50, 200));
    let (calls, latencies): (Vec<f64>, Vec<f64>) = costs.into_iter().unzip();
    for (name, samples) in [
        ("waking a thread: the caller", calls),
        ("waking a thread: until it runs", latencies),
    ] {
        let figures = vec![("futex", Kind::Floor, samples)];
        let measured = trefoil_benches::rows::Measured::new(figures);
        bench.report(Row::new(name, Unit::Us, &[]), &measured);
    }
}
