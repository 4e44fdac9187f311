//! Echo servers: requests in a second, processor time and system calls for each.

use std::fs;
use std::path::{Path, PathBuf};
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

/// A program that counts the system calls of another.
struct Counter {
    /// It, and its arguments before the name of its report.
    command: &'static [&'static str],
    /// The server's role.
    role: &'static str,
    /// The number of calls in its report.
    number: fn(&str) -> Option<f64>,
}

/// At full speed.
const PERF: Counter = Counter {
    command: &["perf", "stat", "-x,", "-e", "raw_syscalls:sys_enter", "-o"],
    role: "echo",
    number: |report| {
        let line = report.lines().find(|line| line.contains("raw_syscalls"))?;
        line.split(',').next()?.parse().ok()
    },
};

/// It makes each call take a hundred times as long. So a server may ask the kernel after every few
/// answers because so much time has passed: hence a clock that stands still for those that read
/// one. And the next request comes before the server has looked for it: one that tries each read
/// before it waits (smol) then finds it, and seems to make fewer calls than it does.
const STRACE: Counter = Counter {
    command: &["strace", "-f", "-c", "-o"],
    role: "echo-counted",
    number: |report| {
        let total = report.lines().rfind(|line| line.ends_with("total"))?;
        // Percent, seconds, microseconds each, calls.
        total.split_whitespace().nth(3)?.parse().ok()
    },
};

impl Counter {
    fn command(&self, report: &Path) -> Command {
        let mut command = Command::new(self.command[0]);
        command.args(&self.command[1..]).arg(report);
        command
    }

    /// The number in the report, which is removed.
    fn read(&self, report: &Path) -> Option<f64> {
        let text = fs::read_to_string(report).ok()?;
        let _ = fs::remove_file(report);
        (self.number)(&text)
    }

    /// Whether it is installed, and may count.
    fn works(&self) -> bool {
        let report = report();
        let mut command = self.command(&report);
        let ran = command
            .arg("true")
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        ran.status().is_ok() && self.read(&report).is_some()
    }
}

fn report() -> PathBuf {
    std::env::temp_dir().join(format!("trefoil-calls-{}", std::process::id()))
}

/// The count of all calls of a server that has answered so many requests. A slow one may be in the
/// middle of its first steps for a long while: hence the pause after the first request on each
/// connection, for all contenders.
fn calls(counter: &Counter, name: &str, connections: usize, rounds: u64) -> Option<f64> {
    let report = report();
    let mut actor = Actor::counted(&[counter.role, name, "0"], counter.command(&report));
    let port = actor.number() as u16;
    let mut load = Load::connect(port, connections);
    load.once_each();
    thread::sleep(PAUSE);
    (0..rounds).for_each(|_| load.once_each());
    drop(actor);
    drop(load);
    counter.read(&report)
}

/// The difference between many requests and few.
pub fn system_calls(bench: &mut Bench) {
    let Some(counter) = [PERF, STRACE].into_iter().find(Counter::works) else {
        println!("(neither perf nor strace counts here: system calls are not counted)");
        return;
    };
    let all = servers::all();
    let ours = all
        .iter()
        .filter(|(_, name)| !crate::python::loops().contains(name));
    for connections in [1, 64] {
        let rounds = bench.pick(1, 20, 100) * 64 / connections as u64;
        roles::pin(0);
        let figures = ours.clone().map(|(kind, name)| {
            let few = calls(&counter, name, connections, rounds);
            let many = calls(&counter, name, connections, 3 * rounds);
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
