//! The same program on this machine or on others: hosts named on the command line have the workers,
//! over ssh.
//!
//! ```text
//! cargo run -p trefoil-machines --features ssh --example on_ssh                    # workers here
//! cargo run -p trefoil-machines --features ssh --example on_ssh -- node1 node2:8   # workers there: `ssh node1 true` must work without a question
//! ```

use std::collections::BTreeMap;
use std::error::Error;

use trefoil::ProcessPool;
use trefoil_machines::Ssh;

/// How many numbers below the end of a stretch of 10,000 are prime, and where that was counted.
fn primes(stretch: u32) -> (String, usize) {
    let from = stretch * 10_000;
    let is_prime = |n: &u32| {
        *n > 1
            && (2..)
                .take_while(|d| d * d <= *n)
                .all(|d| !n.is_multiple_of(d))
    };
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    (
        host.trim().to_owned(),
        (from..from + 10_000).filter(is_prime).count(),
    )
}

fn main() -> Result<(), Box<dyn Error>> {
    trefoil::init();
    let hosts: Vec<String> = std::env::args().skip(1).collect();
    let builder = ProcessPool::builder();
    let procs = match hosts.is_empty() {
        true => builder.workers(2).build()?,
        false => builder.launcher(Ssh::hosts(hosts)).build()?,
    };
    let counted = procs.map(0..100, primes)?;
    let mut shares: BTreeMap<String, usize> = BTreeMap::new();
    for (host, _) in &counted {
        *shares.entry(host.clone()).or_default() += 1;
    }
    for (host, stretches) in shares {
        println!("{stretches} stretches were counted on {host}");
    }
    let sum: usize = counted.iter().map(|(_, count)| count).sum();
    println!("{sum} primes below a million");
    Ok(())
}
