//! A tree reduction whose partial results are not decoded in this process.
//!
//! ```text
//! cargo run --release --example tree_reduction
//! ```
//!
//! That runs on worker processes of this machine. With `trefoil_machines::executor` in place of
//! `parse`, the same program takes the name of other machines, too.

use std::collections::BTreeMap;
use std::error::Error;

use trefoil::{AnyExecutor, Remote};

type Counts = BTreeMap<u32, u32>;

/// How many numbers of a stretch of a thousand have how many divisors.
fn count(stretch: u32) -> Counts {
    let mut counts = Counts::new();
    for n in stretch * 1000 + 1..=(stretch + 1) * 1000 {
        let divisors = (1..=n.isqrt()).filter(|d| n.is_multiple_of(*d));
        let divisors = divisors.map(|d| if d * d == n { 1 } else { 2 }).sum();
        *counts.entry(divisors).or_default() += 1;
    }
    counts
}

/// Both together.
fn merge(pair: Vec<Remote<Counts>>) -> Counts {
    let mut all = Counts::new();
    for (divisors, numbers) in pair.iter().flat_map(|counts| counts.iter()) {
        *all.entry(*divisors).or_default() += numbers;
    }
    all
}

fn main() -> Result<(), Box<dyn Error>> {
    trefoil::init();

    let name = std::env::args().nth(1).unwrap_or("processes:2".to_owned());
    let AnyExecutor::Processes(procs) = name.parse()? else {
        return Err("name a pool of processes, such as `processes:2`".into());
    };
    let leaf = |stretch| procs.spawn_remote(stretch, count);
    let mut level: Vec<Remote<Counts>> = (0..32).map(leaf).collect();
    let mut height = 0;
    while level.len() > 1 {
        let join = |pair: &[Remote<Counts>]| procs.spawn_remote(pair.to_vec(), merge);
        level = level.chunks(2).map(join).collect();
        height += 1;
    }
    let counts = level[0].fetch().join()?;
    println!("{height} levels of merges");
    println!("{} primes up to 32000", counts[&2]);
    if let Some((divisors, numbers)) = counts.iter().next_back() {
        println!("{numbers} of the numbers have {divisors} divisors, which is the most");
    }
    Ok(())
}
