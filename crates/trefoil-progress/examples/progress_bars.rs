//! Bars for work on threads, in processes and on a loop: one call each.
//!
//! ```text
//! cargo run --release -p trefoil-progress --example progress_bars
//! ```
//!
//! The bars are drawn on standard error, if that is a terminal.

use std::thread::sleep;
use std::time::Duration;

use trefoil::{ProcessPool, TaskError, ThreadPool, as_completed, spawn, time};
use trefoil_progress::{Progress, ProgressBar, ProgressStyle};

/// Work that takes a while.
fn slow_square(n: u64) -> u64 {
    sleep(Duration::from_millis(5));
    n * n
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    trefoil::init(); // worker processes begin, and end, in this line
    let pool = ThreadPool::with_threads(4);
    let procs = ProcessPool::with_workers(2)?;

    // 1. A `map` on threads, in processes.
    let threads = pool.with_progress().map(0..200, slow_square);
    let processes = procs.with_progress().map(0..200, slow_square)?;
    assert_eq!(threads, processes);
    println!("map: {} squares, twice", threads.len());

    // 2. An `imap`, and a bar of our own, which was made for two rounds.
    let bar = ProgressBar::new(200);
    bar.set_style(ProgressStyle::with_template("{percent:>3} % {wide_bar}")?);
    let sum: u64 = pool.imap(0..100, slow_square).with_bar(bar.clone()).sum();
    let careful = procs.call(slow_square).timeout(Duration::from_secs(60));
    let results = careful.imap_unordered(0..100).with_bar(bar.clone());
    let same = results.sum::<Result<u64, TaskError>>()?;
    bar.finish();
    assert_eq!(sum, same);
    println!(
        "imap: the sum is {sum}, twice, and the bar at {}",
        bar.position()
    );

    // 3. Tasks of any mixture, as they are completed.
    let sum = trefoil::run(async {
        let mut tasks = Vec::new();
        for n in 0..20 {
            tasks.push(pool.spawn(move || slow_square(n)));
            tasks.push(procs.spawn(n, slow_square));
            tasks.push(spawn(async move {
                time::sleep(Duration::from_millis(10 * n)).await;
                n * n
            }));
        }
        let mut results = as_completed(tasks).with_progress();
        let mut sum = 0;
        while let Some(square) = results.next().await {
            sum += square?;
        }
        Ok::<_, TaskError>(sum)
    })?;
    println!("as_completed: the sum is {sum}, of three executors");
    Ok(())
}
