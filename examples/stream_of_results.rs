//! Results as a stream, with the combinators of the crate `futures`.
//!
//! ```text
//! cargo run --release --example stream_of_results
//! ```
//!
//! Threads compute, worker processes check, and the event loop connects the two. `futures` needs no
//! adapter: `imap(..).stream()` is a `Stream`, and a `Task` is a `Future`.

use std::error::Error;

use futures::{StreamExt, TryStreamExt, future};
use trefoil::{ProcessPool, ThreadPool};

/// How many steps it takes to get to 1, from an even number to its half, from an odd one to 3n + 1.
fn steps(n: u64) -> (u64, u32) {
    let (mut at, mut count) = (n, 0);
    while at != 1 {
        at = if at % 2 == 0 { at / 2 } else { 3 * at + 1 };
        count += 1;
    }
    (n, count)
}

fn main() -> Result<(), Box<dyn Error>> {
    // In a worker process this line never returns.
    trefoil::init();
    let (pool, procs) = (ThreadPool::new(), ProcessPool::new()?);

    let longest = trefoil::run(
        // In the order of the numbers, computed ahead of the consumer, but not far ahead.
        pool.imap(1..=10_000_u64, steps)
            .stream()
            // What beats all before it,
            .scan(0, |most, (n, count)| {
                let is_new = count > *most;
                *most = count.max(*most);
                future::ready(Some(is_new.then_some((n, count))))
            })
            .filter_map(future::ready)
            // computed once more in another process, four at a time,
            .map(|(n, count)| {
                let again = procs.spawn(n, steps);
                async move { again.await.map(|again| (again == (n, count), n, count)) }
            })
            .buffered(4)
            // into a list, or the first error.
            .try_collect::<Vec<_>>(),
    )?;

    for (agrees, n, count) in &longest {
        assert!(agrees, "two executors, two results");
        if *count > 200 {
            println!("{n} takes {count} steps");
        }
    }
    println!("{} records below 10,000", longest.len());
    Ok(())
}
