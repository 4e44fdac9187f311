//! A node that is cut off, in the middle of what it runs.
//!
//! It has its own network (`.ci/slurm start FOLDER apart`), and its network interface is taken
//! down, so that no error is reported. That takes half a minute: `.ci/long machines` runs it.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use trefoil::{ProcessPool, Task, TaskError};
use trefoil_machines::Slurm;

use crate::contract::PoolFolder;
use crate::support::{self, Scratch, Test, tests, until};

/// The variable with the folder of the helper's cluster, and of its files.
const APART: &str = "TREFOIL_TEST_APART";
const FILES: &str = "TREFOIL_TEST_FILES";

/// The number of the node that runs this.
fn node() -> u64 {
    let name = std::env::var("SLURMD_NODENAME").unwrap();
    name.strip_prefix('m').unwrap().parse().unwrap()
}

/// Notes an item, its node and its process.
fn says(seen: &str, n: u64) {
    support::note(seen, n << 40 | node() << 32 | u64::from(std::process::id()));
}

/// Goes on when the test allows it.
fn holds((seen, n, go): (String, u64, String)) -> u64 {
    says(&seen, n);
    until(|| Path::new(&go).exists());
    node()
}

fn notes((seen, n): (String, u64)) -> u64 {
    says(&seen, n);
    std::thread::sleep(Duration::from_millis(1)); // work
    node()
}

/// The test, in a process that knows only that cluster.
pub(crate) fn cut() {
    let (folder, files) = (std::env::var(APART).unwrap(), std::env::var(FILES).unwrap());
    let slurm = Slurm::sbatch()
        .directory(files)
        .listen("10.214.0.1")
        .per_worker(["--exclusive"]);
    let procs = ProcessPool::builder()
        .launcher(slurm.nodes(2..=2))
        .build()
        .unwrap();
    until(|| procs.worker_pids().len() == 2);
    let (seen, again) = (Scratch::new("slurm-cut"), Scratch::new("slurm-cut-again"));
    let go = format!("{folder}/go");
    let tasks: Vec<_> = (0..2)
        .map(|n| procs.spawn((seen.text(), n, go.clone()), holds))
        .collect();
    until(|| seen.notes().len() == 2);
    // Some of these are queued behind it on the node, and begin there when the node cannot report
    // it any more.
    let behind: Vec<_> = (2..20)
        .map(|n| procs.spawn((seen.text(), n), notes))
        .collect();
    let there = |node: u64| {
        seen.notes()
            .into_iter()
            .find(|note| note >> 32 & 0xff == node)
            .unwrap() as u32
    };
    let lost = there(2);
    until(|| procs.stats().busy == 2);
    let namespace = std::fs::read_to_string(format!("{folder}/namespace")).unwrap();
    let down = Command::new("ip")
        .args(["-n", namespace.trim(), "link", "set", "eth0", "down"])
        .status();
    assert!(down.unwrap().success());
    let begin = Instant::now();
    std::fs::write(&go, "").unwrap();
    let more = procs
        .call(notes)
        .retry(3)
        .map((0..200).map(|n| (again.text(), n)))
        .unwrap();
    assert!(more.iter().all(|node| *node == 1));
    print!("({:?} for what came later) ", begin.elapsed());
    let results: Vec<Result<u64, TaskError>> =
        tasks.into_iter().chain(behind).map(Task::join).collect();
    let took = begin.elapsed();
    println!("(known after {took:?})");
    assert!(
        took > Duration::from_secs(10) && took < Duration::from_secs(35),
        "{took:?}"
    );
    let (here, not) = results
        .iter()
        .partition::<Vec<_>, _>(|result| matches!(result, Ok(1)));
    assert!(!here.is_empty() && !not.is_empty());
    for result in not {
        let Err(TaskError::WorkerDied(exit)) = result else {
            panic!("{result:?}")
        };
        let words = exit.to_string();
        assert!(
            words.contains("does not answer any more") || words.contains("node is lost"),
            "{words}"
        );
    }
    let mut ran: Vec<u64> = seen.notes().into_iter().map(|note| note >> 40).collect();
    let count = ran.len();
    println!("({count} began, {} have an answer)", here.len());
    ran.sort_unstable();
    ran.dedup();
    assert_eq!(ran.len(), count, "what may run once has begun once");
    // The worker there has received nothing for as long.
    until(|| !Path::new(&format!("/proc/{lost}/exe")).exists());
}

tests! {
    fn a_node_that_is_cut_off_costs_what_it_had() {
        if std::env::var_os("TREFOIL_FULL").is_none() {
            return print!("(skipped: it takes half a minute; `TREFOIL_FULL=1`) ");
        }
        let files = PoolFolder::new();
        let folder = std::env::temp_dir().join(format!("trefoil-apart-{}", std::process::id()));
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../.ci/slurm");
        let run = |what: &str| Command::new(&script).arg(what).arg(&folder).arg("apart").output().unwrap();
        let started = run("start");
        if !started.status.success() {
            run("stop");
            let why = String::from_utf8_lossy(&started.stderr).into_owned();
            return print!("(skipped: {}) ", why.trim());
        }
        let helper = Command::new(std::env::current_exe().unwrap())
            .env(support::HELPER, "cut")
            .env("SLURM_CONF", folder.join("slurm.conf"))
            .env(APART, &folder)
            .env(FILES, &files.0)
            .status();
        run("stop");
        assert!(helper.unwrap().success());
    }
}
