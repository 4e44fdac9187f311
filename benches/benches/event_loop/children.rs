//! Child processes, from start to exit: `true`, one after the other, and fifty at once.

use trefoil_benches::rows::{Bench, Entry, Goal, Kind, Row, Unit};

use crate::peers::runtimes;

const PROGRAM: &str = "true";

pub fn children(bench: &mut Bench) {
    let here = runtimes();
    for (at_once, name) in [(1_u64, "one by one"), (50, "50 at once")] {
        let n = bench.pick(at_once, 50, 200);
        let entries = vec![
            Entry::hot(Kind::Ours, "trefoil", n, move |n| {
                here.ours.block_on(async {
                    for _ in 0..n.div_ceil(at_once) {
                        let start = || trefoil::io::Command::new(PROGRAM).spawn();
                        let children: Vec<_> = (0..at_once).map(|_| start().unwrap()).collect();
                        for mut child in children {
                            child.wait().await.unwrap();
                        }
                    }
                });
            }),
            Entry::hot(Kind::Peer, "tokio", n, move |n| {
                here.on_tokio(async {
                    for _ in 0..n.div_ceil(at_once) {
                        let start = || tokio::process::Command::new(PROGRAM).spawn();
                        let children: Vec<_> = (0..at_once).map(|_| start().unwrap()).collect();
                        for mut child in children {
                            child.wait().await.unwrap();
                        }
                    }
                });
            }),
            Entry::hot(Kind::Peer, "smol", n, move |n| {
                here.on_smol(async {
                    for _ in 0..n.div_ceil(at_once) {
                        let start = || smol::process::Command::new(PROGRAM).spawn();
                        let children: Vec<_> = (0..at_once).map(|_| start().unwrap()).collect();
                        for mut child in children {
                            child.status().await.unwrap();
                        }
                    }
                });
            }),
            Entry::hot(Kind::Floor, "posix_spawn and wait (std)", n, move |n| {
                for _ in 0..n.div_ceil(at_once) {
                    let start = || std::process::Command::new(PROGRAM).spawn();
                    let children: Vec<_> = (0..at_once).map(|_| start().unwrap()).collect();
                    for mut child in children {
                        child.wait().unwrap();
                    }
                }
            }),
        ];
        let measured = bench.measure(bench.few_rounds(), entries);
        let goals: &[Goal] = &[Goal::Times(1.05), Goal::Ahead];
        bench.report(
            Row::new(
                format!("child process, start to exit, {name}"),
                Unit::Us,
                goals,
            ),
            &measured,
        );
    }
}
