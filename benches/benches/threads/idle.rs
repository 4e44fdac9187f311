//! What does a pool cost that has nothing to do?
//!
//! Each pool gets a process of its own, in which it works once and is then left alone.
//! The scheduler's books (`/proc/self/task/*/schedstat`) say how long its threads ran
//! afterwards and how often they were put on a processor; the main thread, which
//! only sleeps, is left out.

use std::hint::black_box;
use std::io::Read;
use std::process::{Command, Stdio};
use std::time::Duration;

use trefoil_benches::rows::{Bench, Goal, Kind, Measured, Row, Unit};

use crate::peers;

/// Asks this program to be such a process.
const FLAG: &str = "--idle-child";

const POOLS: &[(Kind, &str)] = &[
    (Kind::Ours, "trefoil"),
    (Kind::Peer, "rayon"),
    (Kind::Peer, "chili"),
    (Kind::Peer, "chili, a scope alive"),
    #[cfg(feature = "forte")]
    (Kind::Peer, "forte"),
    (Kind::Peer, "tokio"),
    (Kind::Peer, "smol"),
    (Kind::Floor, "no pool"),
];

/// Nanoseconds on a processor, and how often, of all threads but the main one.
fn books() -> (u64, u64) {
    let main = std::process::id().to_string();
    let tasks = std::fs::read_dir("/proc/self/task").into_iter().flatten();
    let others = tasks
        .flatten()
        .filter(|task| task.file_name().to_str() != Some(&main));
    others.fold((0, 0), |(ran, times), task| {
        let books = std::fs::read_to_string(task.path().join("schedstat")).unwrap_or_default();
        let mut books = books.split_whitespace().map(|n| n.parse().unwrap_or(0));
        let (more, _, turns) = (books.next(), books.next(), books.next());
        (ran + more.unwrap_or(0), times + turns.unwrap_or(0))
    })
}

/// If this process was started for it: idles, prints, and is done.
pub fn child() -> bool {
    let args: Vec<String> = std::env::args().collect();
    let Some(at) = args.iter().position(|arg| arg == FLAG) else {
        return false;
    };
    let millis: u64 = args[at + 2].parse().expect("a number of milliseconds");
    let mut scope = None;
    match args[at + 1].as_str() {
        "trefoil" => drop(peers::trefoil(2).map(0..1_000, black_box)),
        "rayon" => drop(peers::rayon(2).broadcast(|_| black_box(1))),
        "chili" => {
            peers::chili(2).scope().join(|_| (), |_| ());
        }
        "chili, a scope alive" => {
            let scope = scope.insert(peers::chili(2).scope());
            scope.join(|_| (), |_| ());
        }
        #[cfg(feature = "forte")]
        "forte" => drop(peers::forte(2).broadcast(|_| black_box(1))),
        "tokio" => {
            let task = peers::tokio().spawn(async { black_box(1) });
            peers::tokio().block_on(task).expect("it runs");
        }
        "smol" => {
            smol::future::block_on(peers::smol().spawn(async { black_box(1) }));
        }
        _ => {}
    }
    std::thread::sleep(Duration::from_millis(500));
    let before = books();
    std::thread::sleep(Duration::from_millis(millis));
    let after = books();
    println!("{} {}", after.0 - before.0, after.1 - before.1);
    drop(scope);
    // Whatever the pool does at its end is not asked here.
    std::process::exit(0);
}

/// All at once: they have nothing to do, after all.
pub fn idle(bench: &mut Bench) {
    let millis = bench.pick(1, 500, 3_000_u64).to_string();
    let program = std::env::current_exe().expect("this program has a path");
    let children: Vec<_> = POOLS
        .iter()
        .map(|(_, name)| {
            let mut command = Command::new(&program);
            command.args([FLAG, name, &millis]).stdout(Stdio::piped());
            command.spawn().expect("this program starts again")
        })
        .collect();
    let mut ran = Vec::new();
    let mut turns = Vec::new();
    for ((kind, name), mut child) in POOLS.iter().zip(children) {
        let mut text = String::new();
        let mut out = child.stdout.take().expect("it is piped");
        out.read_to_string(&mut text).expect("it prints");
        child.wait().expect("it ends");
        let mut figures = text
            .split_whitespace()
            .map(|n| n.parse().unwrap_or(f64::NAN));
        ran.push((*name, *kind, vec![figures.next().unwrap_or(f64::NAN)]));
        turns.push((*name, *kind, vec![figures.next().unwrap_or(f64::NAN)]));
    }
    let row = Row::new("idle for 3 s: processor time of the pool", Unit::Ms, &[]);
    bench.report(row, &Measured::new(ran));
    let row = Row::new("idle for 3 s: wake-ups", Unit::Count, &[Goal::Nothing]);
    bench.report(row, &Measured::new(turns));
}
