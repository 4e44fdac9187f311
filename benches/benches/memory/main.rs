//! The memory of each executor and of its peers: at rest, after a load, and at most.
//!
//! Each runs in a process of its own, this program again, and prints the resident bytes that it has
//! besides those of the process. The same load for all of a group: on threads, a `map` of 200,000
//! items and a scope of as many tasks; on the loop, as many tasks that sleep; in processes, a `map`
//! and calls. Of processes, it is the parent's memory: the table of processes has the workers'.
//!
//! ```text
//! cargo bench -p trefoil-benches --bench memory -- [--quick] [--markdown] [--list]
//! ```
#![cfg(target_os = "linux")]
#![allow(clippy::disallowed_methods)] // a program, not the crate

mod roles;

use std::process::Command;

use trefoil_benches::rows::{Bench, Goal, Kind, Measured, Row, Unit};

/// The variable that says which role a process has, as `GROUP/NAME`.
const ROLE: &str = "TREFOIL_MEMORY_ROLE";

/// Resident KiB at rest, after the load, and at most.
fn memory(group: &str, name: &str) -> [f64; 3] {
    let this = std::env::current_exe().expect("this program");
    let role = Command::new(this)
        .env(ROLE, format!("{group}/{name}"))
        .output();
    let role = role.expect("this program again");
    let text = String::from_utf8_lossy(&role.stdout);
    let words = text
        .split_whitespace()
        .map(|word| word.parse().unwrap_or(f64::NAN));
    let bytes: Vec<f64> = words.collect();
    let [rest, steady, peak] = bytes[..] else {
        panic!("{group}: {name}: {text:?}")
    };
    [rest / 1024.0, steady / 1024.0, peak / 1024.0]
}

fn main() {
    trefoil::init();
    procspawn::init();
    if let Ok(role) = std::env::var(ROLE) {
        let (group, name) = role.split_once('/').expect("a group and a name");
        return roles::run(group, name);
    }
    let mut bench = Bench::from_args();
    for (group, names) in roles::ROLES {
        bench.group(group, |bench| {
            let rounds = bench.pick(1, 1, 3);
            let of = |name: &&'static str| {
                let all: Vec<_> = (0..rounds).map(|_| memory(group, name)).collect();
                (*name, all)
            };
            let all: Vec<_> = names.iter().map(of).collect();
            for (at, when) in ["at rest", "after the load", "at most"].iter().enumerate() {
                let of = |(name, all): &(&'static str, Vec<[f64; 3]>)| {
                    let kind = if *name == "trefoil" {
                        Kind::Ours
                    } else {
                        Kind::Peer
                    };
                    (*name, kind, all.iter().map(|kib| kib[at]).collect())
                };
                let measured = Measured::new(all.iter().map(of).collect());
                let row = format!("{group}: resident KiB {when}");
                bench.report(Row::new(row, Unit::Count, &[Goal::Ahead]), &measured);
            }
        });
    }
    bench.finish();
}
