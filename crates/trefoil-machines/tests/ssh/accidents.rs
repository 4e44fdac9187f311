//! `chaos`, over ssh.

use std::time::Duration;

use rustix::process::Signal;
use trefoil::TaskError;

use crate::chaos::nothing_is_lost;
use crate::cluster::clusters;
use crate::support::{Test, signal, tests};

tests! {
    fn nothing_is_lost_over_ssh() {
        for cluster in clusters() {
            let procs = cluster.builder(&["node1:2", "node2:2"]).build().unwrap();
            nothing_is_lost(cluster.name, procs, &|procs, dice| {
                let clients = procs.worker_pids();
                if clients.is_empty() {
                    return;
                }
                let client = clients[dice.roll(clients.len() as u64) as usize];
                // What the worker says meanwhile is lost with it.
                signal(client, Signal::STOP);
                std::thread::sleep(Duration::from_micros(dice.roll(30_000)));
                signal(client, Signal::KILL);
            });
        }
    }

    /// ssh's client exits with that code itself, when it has lost the host.
    fn an_item_that_exits_with_255_is_the_only_one_to_blame() {
        for cluster in clusters() {
            let procs = cluster.builder(&["node1:1"]).build().unwrap();
            // So that many items go together.
            procs.map(0..2000, |n: u64| n).unwrap();
            let ends = procs.map_each(0..100, |n: u64| {
                if n == 50 {
                    std::process::exit(255);
                }
                n
            });
            let blamed = ends.iter().enumerate().filter(|(_, end)| end.is_err());
            let blamed: Vec<usize> = blamed.map(|(index, _)| index).collect();
            assert_eq!(blamed, [50], "{}", cluster.name);
            let Err(TaskError::WorkerDied(exit)) = &ends[50] else {
                panic!("{:?}", ends[50]);
            };
            assert_eq!((exit.code(), exit.signal()), (Some(255), None), "{exit}");
            assert!(!exit.stderr_tail().contains("255"), "{exit}");
        }
    }
}
