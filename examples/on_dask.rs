//! The same `map`, on a Dask cluster.
//!
//! ```text
//! pip install distributed && (dask scheduler --port 8786 & dask worker tcp://127.0.0.1:8786 &)
//! cargo run --release --features dask --example on_dask -- tcp://127.0.0.1:8786
//! ```
//!
//! Without an address it runs on this machine's processors.

use std::error::Error;

use trefoil::ProcessPool;
use trefoil::process::machines::Dask;

/// How many steps it takes from `n` to 1, if an odd number is tripled and one is added, and an even
/// one is halved.
fn steps(n: u64) -> u32 {
    let mut at = n;
    let mut steps = 0;
    while at != 1 {
        at = if at.is_multiple_of(2) {
            at / 2
        } else {
            3 * at + 1
        };
        steps += 1;
    }
    steps
}

fn main() -> Result<(), Box<dyn Error>> {
    trefoil::init();

    let builder = ProcessPool::builder();
    let builder = match std::env::args().nth(1) {
        Some(address) => builder.on(Dask::connect(address)),
        None => builder,
    };
    let procs = builder.build()?;
    let all = procs.map(1..1_000_000, steps)?;
    let longest = all.iter().zip(1..).max_by_key(|(steps, _)| **steps);
    if let Some((steps, n)) = longest {
        println!("{n} takes {steps} steps, more than any other number below a million");
    }
    Ok(())
}
