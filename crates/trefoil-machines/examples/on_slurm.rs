//! The same `map`, on the nodes of a Slurm cluster.
//!
//! ```text
//! cargo build --release -p trefoil-machines --features slurm --example on_slurm        # where the nodes see it, too
//! target/release/examples/on_slurm 8 --partition=main
//! ```
//!
//! The first argument is how many workers there may be, the others are passed to `sbatch`. Without
//! any it runs on this machine's processors.

use std::error::Error;

use trefoil::ProcessPool;
use trefoil_machines::Slurm;

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

    let mut arguments = std::env::args().skip(1);
    let builder = ProcessPool::builder();
    let builder = match arguments.next() {
        Some(most) => builder.launcher(
            Slurm::sbatch()
                .nodes(1..=most.parse()?)
                .per_worker(arguments),
        ),
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
