//! Four threads count together: wrong without a lock, right in three ways.
//!
//! Rust does not compile the classic mistake, `counter += 1` from two threads. What compiles is the
//! same mistake in two steps: read, then write what was read and one more. An increment that
//! another thread has written in between is lost.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Barrier, Mutex};

use trefoil::ThreadPool;
use trefoil::sync::channel;

const THREADS: usize = 4;
const ROUNDS: u64 = 50_000;
const RIGHT: u64 = THREADS as u64 * ROUNDS;

fn without_a_lock(pool: &ThreadPool) -> u64 {
    let counter = AtomicU64::new(0);
    // So that it goes wrong on every machine: in the first round all have read before
    // anybody writes.
    let all_have_read = Barrier::new(THREADS);
    pool.broadcast(|_| {
        for round in 0..ROUNDS {
            let read = counter.load(Relaxed);
            if round == 0 {
                all_have_read.wait();
            }
            counter.store(read + 1, Relaxed);
        }
    });
    counter.into_inner()
}

fn with_a_lock(pool: &ThreadPool) -> u64 {
    let counter = Mutex::new(0);
    pool.broadcast(|_| {
        for _ in 0..ROUNDS {
            *counter.lock().unwrap() += 1;
        }
    });
    counter.into_inner().unwrap()
}

fn with_an_atomic(pool: &ThreadPool) -> u64 {
    let counter = AtomicU64::new(0);
    pool.broadcast(|_| {
        for _ in 0..ROUNDS {
            counter.fetch_add(1, Relaxed); // one step: no other thread can come between
        }
    });
    counter.into_inner()
}

/// Nothing is shared: one thread counts, and the others send it messages.
fn with_a_channel(pool: &ThreadPool) -> u64 {
    let (sender, receiver) = channel::bounded(1024);
    let counting = trefoil::spawn_blocking(move || {
        let mut count = 0;
        while let Ok(more) = receiver.recv_blocking() {
            count += more;
        }
        count
    });
    pool.broadcast(|_| {
        for _ in 0..ROUNDS {
            sender.send_blocking(1_u64).unwrap();
        }
    });
    drop(sender); // the last one: the receiver sees the end
    counting.join().unwrap()
}

fn main() {
    let pool = ThreadPool::with_threads(THREADS);
    println!("expected        {RIGHT}");

    let wrong = without_a_lock(&pool);
    assert!(wrong < RIGHT);
    println!("without a lock  {wrong}, {} lost", RIGHT - wrong);

    println!("with a lock     {}", with_a_lock(&pool));
    println!("with an atomic  {}", with_an_atomic(&pool));
    println!("with a channel  {}", with_a_channel(&pool));
}
