//! This program in another role: a server, or a process that only grows.
//!
//! `--role NAME ARGUMENTS`. A process in a role ends when its input does, that is, when the process
//! that started it has dropped it.

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, ChildStdout, Command, Stdio};

use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

const FLAG: &str = "--role";

/// If this process was started for a role: plays it, and true.
pub fn play() -> bool {
    let args: Vec<String> = std::env::args().collect();
    let Some(at) = args.iter().position(|arg| arg == FLAG) else {
        return false;
    };
    let args: Vec<&str> = args[at + 1..].iter().map(String::as_str).collect();
    match args[..] {
        [role @ ("echo" | "echo-counted"), name, cpu] => {
            if role == "echo-counted" {
                trefoil::thread::freeze_ticks();
            }
            pin(cpu.parse().expect("the number of a processor"));
            end_with_input();
            crate::servers::serve(name);
        }
        ["tasks", name, n] => crate::idle::grow(name, n.parse().expect("a number")),
        _ => panic!("no such role: {args:?}"),
    }
    true
}

/// A thread that ends the process when its input is closed.
fn end_with_input() {
    std::thread::spawn(|| {
        let _ = std::io::stdin().read_to_end(&mut Vec::new());
        std::process::exit(0);
    });
}

/// Pins this thread, and those that it starts, to the `which`-th processor that this process may
/// use; if there is only one, to that.
pub fn pin(which: usize) {
    let allowed = allowed();
    let mut one = CpuSet::new();
    one.set(allowed[which % allowed.len()]);
    let _ = sched_setaffinity(None, &one);
}

fn allowed() -> Vec<usize> {
    use std::sync::OnceLock;
    static ALLOWED: OnceLock<Vec<usize>> = OnceLock::new();
    let ask = || {
        let set = sched_getaffinity(None).unwrap_or_default();
        let all: Vec<usize> = (0..CpuSet::MAX_CPU)
            .filter(|cpu| set.is_set(*cpu))
            .collect();
        if all.is_empty() { vec![0] } else { all }
    };
    ALLOWED.get_or_init(ask).clone()
}

/// Every processor again.
pub fn unpin() {
    let mut all = CpuSet::new();
    allowed().into_iter().for_each(|cpu| all.set(cpu));
    let _ = sched_setaffinity(None, &all);
}

/// A process in a role; ended when dropped.
pub struct Actor {
    child: Child,
    lines: BufReader<ChildStdout>,
}

impl Actor {
    /// This program.
    pub fn start(role: &[&str]) -> Self {
        let program = std::env::current_exe().expect("this program has a path");
        let mut command = Command::new(program);
        command.arg(FLAG).args(role);
        Self::of(command)
    }

    /// This program, run by `command`, which counts its calls.
    pub fn counted(role: &[&str], mut command: Command) -> Self {
        let program = std::env::current_exe().expect("this program has a path");
        command.arg(program).arg(FLAG).args(role);
        Self::of(command)
    }

    /// Any other that behaves like one.
    pub fn of(mut command: Command) -> Self {
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().expect("the program starts");
        let out = child.stdout.take().expect("it is piped");
        Self {
            child,
            lines: BufReader::new(out),
        }
    }

    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// What it prints next, as a number.
    pub fn number(&mut self) -> f64 {
        let mut line = String::new();
        self.lines.read_line(&mut line).expect("it prints");
        line.trim().parse().unwrap_or(f64::NAN)
    }

    /// Nanoseconds that its threads have been on a processor.
    pub fn cpu(&self) -> f64 {
        let tasks = std::fs::read_dir(format!("/proc/{}/task", self.id()));
        let books = tasks.into_iter().flatten().flatten().map(|task| {
            let books = std::fs::read_to_string(task.path().join("schedstat")).unwrap_or_default();
            let ran = books.split_whitespace().next().map(str::parse::<f64>);
            ran.and_then(Result::ok).unwrap_or(0.0)
        });
        books.sum()
    }

    /// Its resident bytes.
    pub fn resident(&self) -> f64 {
        resident(&format!("/proc/{}/statm", self.id()))
    }
}

/// The second number there, in bytes.
pub fn resident(statm: &str) -> f64 {
    let statm = std::fs::read_to_string(statm).unwrap_or_default();
    let pages = statm.split_whitespace().nth(1).map(str::parse::<f64>);
    let pages = pages.and_then(Result::ok).unwrap_or(f64::NAN);
    pages * rustix::param::page_size() as f64
}

impl Drop for Actor {
    fn drop(&mut self) {
        drop(self.child.stdin.take());
        let _ = self.child.wait();
    }
}
