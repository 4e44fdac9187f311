//! Python's pools, each in an interpreter of its own that takes part in the rounds.
//!
//! `python.py` answers lines: an operation and a number in, nanoseconds out. It measures by
//! itself, so that speaking with it costs the contender nothing. `TREFOIL_PYTHON` names another
//! interpreter than `python3`.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::OnceLock;

use trefoil_benches::rows::{Bench, Entry, Kind, Scale};

/// Which pools, as `python.py` calls them, and in the tables.
const POOLS: &[(&str, &str)] = &[
    ("pool-fork", "multiprocessing.Pool"),
    ("ppe-fork", "ProcessPoolExecutor, fork"),
    ("ppe-spawn", "ProcessPoolExecutor, spawn"),
    ("loky", "joblib's loky"),
];

/// An interpreter with a pool.
pub struct Python {
    name: &'static str,
    child: Child,
    to: Option<ChildStdin>,
    from: BufReader<ChildStdout>,
}

impl Python {
    fn new(pool: &str, name: &'static str) -> Option<Self> {
        let interpreter = std::env::var("TREFOIL_PYTHON").unwrap_or_else(|_| "python3".to_owned());
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/processes/python.py");
        let mut command = Command::new(interpreter);
        command
            .args([script, pool])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped());
        // What a pool that has lost a worker has to say is counted, not read.
        let mut child = command.stderr(Stdio::null()).spawn().ok()?;
        let to = child.stdin.take();
        let from = BufReader::new(child.stdout.take()?);
        let mut python = Self {
            name,
            child,
            to,
            from,
        };
        (python.line() == "here").then_some(python)
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        let _ = self.from.read_line(&mut line);
        line.trim().to_owned()
    }

    /// Its process.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// What the operation has measured; nothing, if it has failed.
    pub fn ask(&mut self, operation: &str, number: u64) -> Vec<f64> {
        if let Some(to) = &mut self.to {
            let _ = writeln!(to, "{operation} {number}");
        }
        let line = self.line();
        line.split_whitespace()
            .filter_map(|word| word.parse().ok())
            .collect()
    }

    /// As in the tables.
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// An entry of a row.
    pub fn entry(mut self, operation: &'static str, number: u64) -> Entry<'static> {
        Entry::samples(Kind::Peer, self.name, move |samples| {
            samples.append(&mut self.ask(operation, number));
        })
    }
}

impl Drop for Python {
    fn drop(&mut self) {
        drop(self.to.take());
        let _ = self.child.wait();
    }
}

/// All pools that there are here; in a full run only, since starting them for each row takes longer
/// than all else in a quick one.
pub fn all(bench: &Bench) -> Vec<Python> {
    static SAID: OnceLock<()> = OnceLock::new();
    if bench.scale != Scale::Full {
        return Vec::new();
    }
    let mut missing = Vec::new();
    let found = POOLS.iter().filter_map(|(pool, name)| {
        let python = Python::new(pool, name);
        if python.is_none() {
            missing.push(*name);
        }
        python
    });
    let found = found.collect();
    if !missing.is_empty() && SAID.set(()).is_ok() {
        eprintln!(
            "skipped, because Python or the module is missing here: {}",
            missing.join(", ")
        );
    }
    found
}
