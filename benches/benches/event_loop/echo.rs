//! Echo servers: requests in a second, processor time and system calls for each.

use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use trefoil_benches::rows::{Bench, Entry, Goal, Measured, Row, Unit};

use crate::load::Load;
use crate::roles::{self, Actor};
use crate::servers;

/// At least 0.97 of the rate of the raw one.
const NEARLY: Goal = Goal::Times(1.0 / 0.97);

/// All servers run, on processor 0, the client on `client`.
fn measure(bench: &Bench, connections: usize, client: usize, requests: u64) -> [Measured; 2] {
    let all = servers::all();
    let running: Vec<_> = all
        .iter()
        .map(|(_, name)| servers::start(name, 0))
        .collect();
    roles::pin(client);
    let mut spent = vec![Vec::new(); all.len()];
    let servers = all.iter().zip(&running).zip(&mut spent);
    let entries = servers.map(|(((kind, name), (actor, port)), spent)| {
        Entry::samples(*kind, name, move |samples| {
            let mut load = Load::connect(*port, connections);
            load.once_each();
            load.run(requests / 10 + 1);
            let before = actor.cpu();
            let each = load.run(requests);
            samples.push(each.as_nanos() as f64);
            spent.push((actor.cpu() - before) / requests.max(connections as u64) as f64);
        })
    });
    let measured = bench.measure(bench.few_rounds(), entries.collect());
    roles::unpin();
    let spent = all.iter().zip(spent);
    let spent = spent.map(|((kind, name), spent)| (*name, *kind, spent));
    [measured, Measured::new(spent.collect())]
}

/// The client on the other processor.
pub fn echo(bench: &mut Bench, connections: usize) {
    let requests = match connections {
        1 => bench.pick(2, 500, 3_000),
        _ => bench.pick(2, 10_000, 50_000),
    };
    let connections = bench.pick(connections.min(3), connections, connections);
    let [each, spent] = measure(bench, connections, 1, requests);
    let name = format!("echo, connections: {connections}, each");
    let goals: &[Goal] = &[NEARLY, Goal::Ahead];
    bench.report(Row::new(&name, Unit::Us, goals), &each);
    bench.report(
        Row::new(
            format!("{name}, the server's processor time"),
            Unit::Us,
            &[],
        ),
        &spent,
    );
}

/// One connection, and the client on the same processor: what a round trip costs without waking a
/// halted one.
pub fn same_cpu(bench: &mut Bench) {
    let requests = bench.pick(2, 2_000, 10_000);
    let [each, _] = measure(bench, 1, 0, requests);
    let goals: &[Goal] = &[NEARLY, Goal::Ahead];
    bench.report(
        Row::new(
            "echo, 1 connection, client on the same processor",
            Unit::Us,
            goals,
        ),
        &each,
    );
}

/// After so long a server that was left alone has nothing to do, and sleeps.
const PAUSE: Duration = Duration::from_millis(50);

/// strace's count of all calls of a server that has answered so many requests.
///
/// strace makes each call take a hundred times as long, so a server may be in the middle of its
/// first steps for a long while, or ask the kernel after every few answers because so much time has
/// passed. Hence the pause after the first request on each connection, for all contenders, and a
/// clock that stands still for those that read one: without strace, with the calls counted by `perf
/// stat -e raw_syscalls:sys_enter`, the figures are the same.
fn calls(name: &str, connections: usize, rounds: u64) -> Option<f64> {
    let report = std::env::temp_dir().join(format!("trefoil-calls-{}", std::process::id()));
    let mut actor = Actor::counted(&["echo-counted", name, "0"], &report);
    let port = actor.number() as u16;
    let mut load = Load::connect(port, connections);
    load.once_each();
    thread::sleep(PAUSE);
    (0..rounds).for_each(|_| load.once_each());
    drop(actor);
    drop(load);
    let text = std::fs::read_to_string(&report).ok()?;
    let _ = std::fs::remove_file(&report);
    let total = text.lines().rfind(|line| line.ends_with("total"))?;
    // Percent, seconds, microseconds each, calls.
    total.split_whitespace().nth(3)?.parse().ok()
}

/// Counted by strace, as the difference between many requests and few.
pub fn system_calls(bench: &mut Bench) {
    let mut strace = Command::new("strace");
    strace.arg("-V").stdout(Stdio::null()).stderr(Stdio::null());
    if !strace.status().is_ok_and(|status| status.success()) {
        println!("(no strace here: system calls are not counted)");
        return;
    }
    let all = servers::all();
    let ours = all
        .iter()
        .filter(|(_, name)| !crate::python::loops().contains(name));
    for connections in [1, 64] {
        let rounds = bench.pick(1, 20, 100) * 64 / connections as u64;
        roles::pin(0);
        let figures = ours.clone().map(|(kind, name)| {
            let few = calls(name, connections, rounds);
            let many = calls(name, connections, 3 * rounds);
            let each = few
                .zip(many)
                .map(|(few, many)| (many - few) / (2 * rounds * connections as u64) as f64);
            (*name, *kind, vec![each.unwrap_or(f64::NAN)])
        });
        let measured = Measured::new(figures.collect());
        roles::unpin();
        let name = format!("system calls for each echo, connections in step: {connections}");
        let goals: &[Goal] = &[Goal::Times(1.05), Goal::Ahead];
        bench.report(Row::new(name, Unit::Count, goals), &measured);
    }
}
