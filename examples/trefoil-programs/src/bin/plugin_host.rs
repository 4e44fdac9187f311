//! `plugin_host [N [MS]]`: runs N scripts of strangers (10,000), each for so many milliseconds at
//! most (250), and says what became of each kind.
//!
//! The scripts are in Lua, with its whole library, `io` and `os` included. Most compute; the others
//! do what strangers' scripts do: loop, fill the memory, overflow the stack, open files and
//! sockets, start programs, end the process. Each runs in a worker whose process the kernel
//! restricts (`Sandbox`), with a limit of memory and of time, so each costs its own result and
//! nothing else. (A script that takes over its worker, by machine code for example, can change the
//! results of later ones there: if strangers must be safe from one another, give each a fresh
//! process, with `max_tasks_per_worker(1)`.) Where the machine delegates control groups, those
//! limit the workers, too.
//!
//! The last lines compare the scripts that compute with the same ones in workers without a sandbox,
//! and on threads. A worker in a sandbox is a plain one, which is sent its items through a stream,
//! and the sandbox itself adds nothing to a call: the line between shows plain workers without one.
//!
//! What it said on two processors with nothing else to do (2026-11-30):
//!
//! ```text
//!   8200 computes             the value 333833500
//!    200 loops                its time was up
//!    200 fills the memory     out of memory
//!    200 overflows the stack  its error: .. C stack overflow
//!    200 has an error         its error: .. attempt to index a nil value (global 'nothing')
//!    200 opens a file         its error: .. /etc/passwd: Permission denied
//!    200 writes a file        its error: .. plugin_host.txt: Read-only file system
//!    200 opens a socket       its error: Operation not permitted (os error 1)
//!    200 starts a program     its error: .. id: Cannot allocate memory
//!    200 ends the process     its worker ended with code 3
//! 10000 scripts in 33.9s; 600 workers were replaced
//! ```
//!
//! And the last lines, while other programs computed:
//!
//! ```text
//! in a sandbox: 13610 scripts/s, a call 31.3µs
//! in plain workers: 13937 scripts/s, a call 36.4µs
//! in usual workers: 15103 scripts/s, a call 8.3µs
//! on threads: 10240 scripts/s
//! ```

use std::collections::BTreeMap;
use std::error::Error;
use std::net::TcpStream;
use std::time::{Duration, Instant};

use mlua::Lua;
use trefoil::{ProcessPool, TaskError};
use trefoil_sandbox::{Limits, Sandbox};

/// How much memory it may have, for its own values.
const MEMORY: u64 = 64 << 20;

/// What each kind of script is called, of 100 how many there are, and its text.
const KINDS: [(&str, usize, &str); 10] = [
    (
        "computes",
        82,
        "local sum = 0 for n = 1, 1000 do sum = sum + n * n end return sum",
    ),
    ("loops", 2, "while true do end"),
    (
        "fills the memory",
        2,
        "local all = {} while true do all[#all + 1] = ('x'):rep(1000):rep(1000) end",
    ),
    (
        "overflows the stack",
        2,
        "local t = setmetatable({}, { __index = function(t, k) return t[k] end }) return t.x",
    ),
    ("has an error", 2, "return nothing.at_all"),
    (
        "opens a file",
        2,
        "return assert(io.open('/etc/passwd')):read('a')",
    ),
    (
        "writes a file",
        2,
        "return assert(io.open('plugin_host.txt', 'w')):write('here')",
    ),
    ("opens a socket", 2, "return connect('127.0.0.1:80')"),
    (
        "starts a program",
        2,
        "return assert(io.popen('id')):read('a')",
    ),
    ("ends the process", 2, "os.exit(3)"),
];

fn kind_of(number: usize) -> usize {
    let mut left = number * 37 % 100; // in no order
    KINDS
        .iter()
        .position(|(_, share, _)| {
            let is_here = left < *share;
            left = left.saturating_sub(*share);
            is_here
        })
        .unwrap_or(0)
}

/// Runs one script, whatever it is, in a new interpreter.
fn script(text: String) -> Result<String, String> {
    let say = |error: mlua::Error| {
        let text = error.to_string();
        text.lines().next().unwrap_or_default().to_owned()
    };
    let lua = Lua::new();
    let connect = |_: &Lua, address: String| match TcpStream::connect(address) {
        Ok(_) => Ok("connected"),
        Err(error) => Err(mlua::Error::external(error)),
    };
    let connect = lua.create_function(connect).map_err(say)?;
    lua.globals().set("connect", connect).map_err(say)?;
    let value: mlua::Value = lua.load(text).eval().map_err(say)?;
    value.to_string().map_err(say)
}

/// In a few words, without what differs from script to script.
fn outcome(result: Result<Result<String, String>, TaskError>) -> String {
    match result {
        Ok(Ok(value)) => format!("the value {value}"),
        Ok(Err(error)) => format!("its error: {error}"),
        Err(TaskError::TimedOut(_)) => "its time was up".to_owned(),
        Err(TaskError::WorkerDied(exit)) if exit.out_of_memory() => "out of memory".to_owned(),
        Err(TaskError::WorkerDied(exit)) => match (exit.code(), exit.signal()) {
            (Some(code), _) => format!("its worker ended with code {code}"),
            (None, signal) => format!("its worker was killed by signal {}", signal.unwrap_or(0)),
        },
        Err(other) => other.to_string(),
    }
}

/// A pool in a sandbox, with control groups if there are some.
fn pool() -> Result<ProcessPool, Box<dyn Error>> {
    let builder = || ProcessPool::builder().memory_limit(MEMORY);
    let limits = Limits::new().memory(2 * MEMORY).swap(0).processes(4);
    match builder().launcher(limits.sandbox(Sandbox::new())).build() {
        Ok(pool) => Ok(pool),
        Err(why) => {
            eprintln!("(without control groups: {why})");
            Ok(builder().launcher(Sandbox::new()).build()?)
        }
    }
}

/// How long a call takes whose function does nothing: the middle of many.
fn call_of(procs: &ProcessPool) -> Result<Duration, TaskError> {
    let timed = |_| {
        let begin = Instant::now();
        procs.spawn((), |()| ()).join().map(|()| begin.elapsed())
    };
    let mut calls = (0..1000).map(timed).collect::<Result<Vec<_>, _>>()?;
    calls.sort();
    Ok(calls[calls.len() / 2])
}

fn main() -> Result<(), Box<dyn Error>> {
    trefoil::init();
    let number = |at, otherwise| {
        let given = std::env::args().nth(at);
        given.map_or(Ok(otherwise), |given| given.parse())
    };
    let (count, time) = (number(1, 10_000)?, number(2, 250)?);
    let time = Duration::from_millis(time as u64);
    let text = |number: usize| KINDS[kind_of(number)].2.to_owned();
    let procs = pool()?;

    let begin = Instant::now();
    let call = procs.call(script).timeout(time);
    let tasks: Vec<_> = (0..count)
        .map(|number| (number, call.spawn(text(number))))
        .collect();
    let mut table: BTreeMap<(usize, String), usize> = BTreeMap::new();
    for (number, task) in tasks {
        *table
            .entry((kind_of(number), outcome(task.join())))
            .or_default() += 1;
    }
    for ((kind, outcome), scripts) in &table {
        println!("{scripts:6} {:20} {outcome}", KINDS[*kind].0);
    }
    let (time, died) = (begin.elapsed(), procs.stats().died);
    println!("{count} scripts in {time:.1?}; {died} workers were replaced");

    // A script that computes, in a sandbox and without; and a call of a function that does nothing.
    let rate = |begin: Instant| count as f64 / begin.elapsed().as_secs_f64();
    let computes = || vec![text(0); count];
    let plain = ProcessPool::builder().plain_workers(true).build()?;
    let usual = ProcessPool::builder().build()?;
    for (place, procs) in [
        ("in a sandbox", &procs),
        ("in plain workers", &plain),
        ("in usual workers", &usual),
    ] {
        procs.map(vec![text(0); 100], script)?; // the workers have started
        let begin = Instant::now();
        procs.map(computes(), script)?;
        println!(
            "{place}: {:.0} scripts/s, a call {:.1?}",
            rate(begin),
            call_of(procs)?
        );
    }
    let begin = Instant::now();
    trefoil::ThreadPool::global().map(computes(), script);
    println!("on threads: {:.0} scripts/s", rate(begin));
    Ok(())
}
