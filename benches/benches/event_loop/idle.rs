//! The memory of idle tasks and connections: a million tasks, ten thousand connections.

use std::future::pending;
use std::time::Duration;

use futures::task::LocalSpawnExt;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use trefoil_benches::rows::{Bench, Goal, Kind, Measured, Row, Unit};

use crate::load::Load;
use crate::peers::runtimes;
use crate::roles::{Actor, resident};
use crate::servers;

const RUNTIMES: &[(Kind, &str)] = &[
    (Kind::Ours, "trefoil"),
    (Kind::Peer, "tokio"),
    (Kind::Peer, "tokio, LocalSet"),
    (Kind::Peer, "smol"),
    (Kind::Peer, "monoio"),
    (Kind::Peer, "futures, LocalPool"),
];

/// The role: makes so many tasks that have begun to wait, and prints the bytes of each.
pub fn grow(name: &str, n: u64) {
    let here = runtimes();
    let before = resident("/proc/self/statm");
    let print = || {
        let grown = resident("/proc/self/statm") - before;
        println!("{}", grown / n as f64);
    };
    // All are polled once, and the runtime has been idle, when it is looked.
    const PAUSE: Duration = Duration::from_millis(10);
    match name {
        "trefoil" => here.ours.block_on(async {
            (0..n).for_each(|_| trefoil::spawn(pending::<()>()).detach());
            trefoil::time::sleep(PAUSE).await;
            print();
        }),
        "tokio" => here.on_tokio(async {
            (0..n).for_each(|_| drop(tokio::spawn(pending::<()>())));
            tokio::time::sleep(PAUSE).await;
            print();
        }),
        "tokio, LocalSet" => here.on_set(async {
            (0..n).for_each(|_| drop(tokio::task::spawn_local(pending::<()>())));
            tokio::time::sleep(PAUSE).await;
            print();
        }),
        "smol" => here.on_smol(async {
            (0..n).for_each(|_| here.smol.spawn(pending::<()>()).detach());
            smol::Timer::after(PAUSE).await;
            print();
        }),
        "monoio" => here.on_monoio(async {
            (0..n).for_each(|_| drop(monoio::spawn(pending::<()>())));
            monoio::time::sleep(PAUSE).await;
            print();
        }),
        "futures, LocalPool" => {
            let mut pool = here.pool.borrow_mut();
            let spawner = pool.spawner();
            (0..n).for_each(|_| spawner.spawn_local(pending::<()>()).unwrap());
            pool.run_until_stalled();
            print();
        }
        other => panic!("no runtime {other}"),
    }
    // What happens to them afterwards is not measured.
    std::process::exit(0);
}

/// Bytes, in a process each.
pub fn tasks(bench: &mut Bench) {
    let n = bench.pick(1_000, 1_000_000, 1_000_000).to_string();
    let figure = |(kind, name): &(Kind, &'static str)| {
        let bytes = Actor::start(&["tasks", name, &n]).number();
        (*name, *kind, vec![bytes])
    };
    let measured = Measured::new(RUNTIMES.iter().map(figure).collect());
    let goals: &[Goal] = &[Goal::AtMost(96.0), Goal::Ahead];
    bench.report(
        Row::new(
            "an idle task that waits for nothing: resident bytes",
            Unit::Count,
            goals,
        )
        .on("memory-loop", 0.0),
        &measured,
    );
}

/// How many descriptors a process may have, after the limit was raised as far as it may be.
fn descriptors() -> usize {
    let limit = getrlimit(Resource::Nofile);
    let wanted = Rlimit {
        current: limit.maximum,
        ..limit
    };
    let _ = setrlimit(Resource::Nofile, wanted);
    let now = getrlimit(Resource::Nofile).current;
    now.map_or(usize::MAX, |now| now as usize)
}

/// Connections on which one request was answered, and then none.
pub fn connections(bench: &mut Bench) {
    // The servers inherit the limit; both they and this process need a descriptor for each.
    let n = bench.pick(10, 1_000, 10_000).min(descriptors() - 100);
    let pause = Duration::from_millis(bench.pick(1, 200, 2_000));
    let mut bytes = Vec::new();
    let mut cpu = Vec::new();
    for (kind, name) in servers::all() {
        let (actor, port) = servers::start(name, 0);
        drop(Load::connect(port, 10)); // whatever the first connections allocate once
        let before = actor.resident();
        let mut load = Load::connect(port, n);
        load.once_each();
        bytes.push((name, kind, vec![(actor.resident() - before) / n as f64]));
        // What the last answers have left to do is done.
        std::thread::sleep(pause / 10);
        let before = actor.cpu();
        std::thread::sleep(pause);
        cpu.push((name, kind, vec![actor.cpu() - before]));
    }
    let name = format!("{n} idle connections");
    bench.report(
        Row::new(
            format!("{name}: resident bytes each, with a buffer of 1 KiB"),
            Unit::Count,
            &[Goal::AtMost(2048.0), Goal::Ahead],
        )
        .on("memory-loop", 0.0),
        &Measured::new(bytes),
    );
    bench.report(
        Row::new(
            format!("{name}: processor time in {pause:?}"),
            Unit::Ms,
            &[Goal::Nothing],
        ),
        &Measured::new(cpu),
    );
}
