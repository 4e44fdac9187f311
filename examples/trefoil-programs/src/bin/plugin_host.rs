//! `plugin_host [N [MS]]`: runs N scripts of strangers (10,000), each for so many milliseconds at
//! most (100), and says what became of each kind.
//!
//! The scripts are in Lua, with its whole library, `io` and `os` included. Most compute; the others
//! do what strangers' scripts do: loop, fill the memory, overflow the stack, open files and
//! sockets, start programs, end the process. Each runs in a worker whose process the kernel
//! restricts (`Sandbox`), with a limit of memory and of time, so each costs its own result and
//! nothing else. The last lines compare the scripts that compute with the same ones run without
//! isolation. What the machine delegates control groups for is limited by those, too.

use std::collections::BTreeMap;
use std::error::Error;
use std::net::TcpStream;
use std::time::{Duration, Instant};

use mlua::Lua;
use trefoil::{ProcessPool, TaskError};
use trefoil_sandbox::{Limits, Sandbox};

/// How much memory it may have, for its own values.
const MEMORY: u64 = 128 << 20;

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
        "local all = {} while true do all[#all + 1] = ('x'):rep(1000000) end",
    ),
    (
        "overflows the stack",
        2,
        "local function f() return 1 + f() end return f()",
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

fn main() -> Result<(), Box<dyn Error>> {
    trefoil::init();
    let number = |at, otherwise| {
        let given = std::env::args().nth(at);
        given.map_or(Ok(otherwise), |given| given.parse())
    };
    let (count, time) = (number(1, 10_000)?, number(2, 100)?);
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

    // The same script, with isolation and without.
    let computes = || vec![text(0); count];
    let rate = |time: Duration| count as f64 / time.as_secs_f64();
    let begin = Instant::now();
    procs.map(computes(), script)?;
    let within = begin.elapsed();
    let begin = Instant::now();
    trefoil::ThreadPool::global().map(computes(), script);
    let without = begin.elapsed();
    println!(
        "isolated {:.0} scripts/s, on threads {:.0}/s",
        rate(within),
        rate(without)
    );
    let mut calls = Vec::new();
    for _ in 0..1000 {
        let begin = Instant::now();
        procs.spawn((), |()| ()).join()?;
        calls.push(begin.elapsed());
    }
    calls.sort();
    println!(
        "a call of a function that does nothing: {:.1?}",
        calls[calls.len() / 2]
    );
    Ok(())
}
