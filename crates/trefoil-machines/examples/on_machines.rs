//! One program, and the name of where it runs: worker processes here, over ssh, on Slurm, on Dask.
//!
//! ```text
//! cargo run -p trefoil-machines --example on_machines                      # two workers here
//! cargo run -p trefoil-machines --example on_machines -- threads:4
//! cargo run -p trefoil-machines --features ssh --example on_machines -- ssh:node1,node2:8
//! cargo run -p trefoil-machines --features slurm --example on_machines -- slurm:8
//! cargo run -p trefoil-machines --features dask --example on_machines -- dask:tcp://127.0.0.1:8786
//! ```
//!
//! For ssh, `ssh node1 true` must work without a question. For Slurm, the program must be on a file
//! system that the nodes share.

use std::collections::BTreeMap;
use std::error::Error;

use trefoil::Executor;

/// How many of the 10,000 numbers of this stretch are prime, and the host that counted them.
fn primes(stretch: u32) -> (String, usize) {
    let first = stretch * 10_000;
    let is_prime = |n: &u32| {
        let mut divisors = (2..).take_while(|d| d * d <= *n);
        *n > 1 && divisors.all(|d| !n.is_multiple_of(d))
    };
    let count = (first..first + 10_000).filter(is_prime).count();
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    (host.trim().to_owned(), count)
}

fn main() -> Result<(), Box<dyn Error>> {
    trefoil::init(); // worker processes stay in here

    let name = std::env::args().nth(1);
    let name = name.as_deref().unwrap_or("processes:2");
    let executor = trefoil_machines::executor(name)?;
    let counted = executor.map(0..100, primes)?;

    let mut shares: BTreeMap<&str, usize> = BTreeMap::new();
    for (host, _) in &counted {
        *shares.entry(host).or_default() += 1;
    }
    for (host, stretches) in shares {
        println!("{stretches} stretches were counted on {host}");
    }
    let sum: usize = counted.iter().map(|(_, count)| count).sum();
    println!("{sum} primes below a million");
    Ok(())
}
