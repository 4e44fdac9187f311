//! `chaos`, over ssh.

use std::time::Duration;

use rustix::process::Signal;

use crate::bed::beds;
use crate::chaos::nothing_is_lost;
use crate::support::{Test, signal, tests};

tests! {
    fn nothing_is_lost_over_ssh() {
        for bed in beds() {
            let procs = bed.builder(&["node1:2", "node2:2"]).build().unwrap();
            nothing_is_lost(bed.name, procs, &|procs, dice| {
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
}
