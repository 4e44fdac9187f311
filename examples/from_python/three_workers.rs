//! Three workers that take a second each: one after another, then at once.
//!
//! `spawn_blocking` starts a function on a thread, as `threading.Thread` does in Python; here the
//! thread comes from a pool, which is made when first needed and has a thread for each processor.
//! When one of them is blocked, another is started in its place: so three workers that wait take a
//! second on a machine with one processor, too.

use std::thread::sleep;
use std::time::{Duration, Instant};

use trefoil::{Task, TaskError, spawn_blocking};

const WORKERS: [&str; 3] = ["one", "two", "three"];

fn work(name: &str) -> usize {
    println!("  worker {name} begins");
    // A download, a device, a person.
    sleep(Duration::from_secs(1));
    println!("  worker {name} is done");
    name.len()
}

fn main() -> Result<(), TaskError> {
    println!("one after another:");
    let start = Instant::now();
    let letters: usize = WORKERS.into_iter().map(work).sum();
    println!(
        "{letters} letters in {:.1} s",
        start.elapsed().as_secs_f64()
    );

    println!("at once:");
    let start = Instant::now();
    let tasks: Vec<Task<usize>> = WORKERS
        .into_iter()
        .map(|name| spawn_blocking(move || work(name)))
        .collect();
    let mut letters = 0;
    for task in tasks {
        letters += task.join()?;
    }
    println!(
        "{letters} letters in {:.1} s",
        start.elapsed().as_secs_f64()
    );
    Ok(())
}
