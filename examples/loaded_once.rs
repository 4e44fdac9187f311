//! A model that each worker loads once, and a database that only two of them may use at a time.

use std::collections::HashMap;

use trefoil::process::Permits;
use trefoil::{ProcessPool, try_join_all};

/// What is expensive to load: how often each word occurs.
struct Model(HashMap<String, usize>);

fn load(text: String) -> Model {
    let mut counts = HashMap::new();
    for word in text.split_whitespace() {
        *counts.entry(word.to_owned()).or_default() += 1;
    }
    Model(counts)
}

/// No more than two workers are here at a time, whatever dies.
fn query(db: &Permits, row: u64) -> u64 {
    let _one = db.acquire();
    row + 1000
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    trefoil::init();
    let procs = ProcessPool::with_workers(4)?;

    let model = procs.actors(2, "to be or not to be".to_owned(), load)?;
    let words = ["to", "not", "that"].map(str::to_owned);
    let found =
        words.map(|word| model.call(word, |word, model| model.0.get(&word).copied().unwrap_or(0)));
    println!(
        "found {:?} times, by two copies",
        try_join_all(found).join()?
    );

    let counter = procs.actor(0, |n: u64| n)?;
    for n in 1..=10 {
        counter.call(n, |n: u64, sum| *sum += n).join()?;
    }
    let crash = counter.call((), |(), _| std::process::abort());
    let crash: Result<(), _> = crash.join();
    println!("a crash costs one call: {}", crash.is_err());
    println!(
        "and its worker begins again, at {}",
        counter.call((), |(), sum| *sum).join()?
    );

    let db = procs.permits("db", 2);
    let rows = procs.map_with(&db, 0..20, query)?;
    println!("{} rows, with {} permits", rows.len(), db.available());
    Ok(())
}
