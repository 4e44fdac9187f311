//! Run code that crashes, and go on.
//!
//! ```text
//! cargo run --example survive_a_crash
//! ```
//!
//! Twelve pages are rendered in worker processes. One render aborts, one never ends, one panics.
//! Each costs only its own page.

use std::time::Duration;

use trefoil::{ProcessPool, Task};

/// Stands for a library that you would rather not have in your own process.
fn render(page: u32) -> String {
    match page {
        3 => std::process::abort(),
        5 => loop {
            std::thread::sleep(Duration::from_secs(1));
        },
        8 => panic!("page {page} has no title"),
        _ => format!("<h1>page {page}</h1>"),
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    // In a worker process this line never returns.
    trefoil::init();

    let procs = ProcessPool::with_workers(2)?;
    // A page that takes too long is stopped: its worker is killed and replaced. The time counts
    // from when the page starts to run.
    let limit = Duration::from_secs(1);
    let pages: Vec<Task<String>> = (0..12)
        .map(|page| procs.call(render).timeout(limit).spawn(page))
        .collect();

    for (number, page) in pages.into_iter().enumerate() {
        match page.join() {
            Ok(html) => println!("{number:>2}: {html}"),
            Err(error) => println!("{number:>2}: {error}"),
        }
    }
    println!("The workers are {:?}.", procs.worker_pids());
    Ok(())
}
