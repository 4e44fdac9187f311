//! A pool on an engine, or a bare stream, measured: one line for each figure. `run.sh` starts it.
//!
//! ```text
//! machines dask SCHEDULER_FILE PYTHON     a pool on Dask
//! machines ssh CLIENT HOST CONFIG         a pool over ssh; CLIENT and CONFIG may be `-`
//! machines here WORKERS                   plain workers of this machine
//! machines pipe COMMAND...                a command that echoes (`ssh HOST cat`): no pool, no frames
//! machines echo                           frames over TCP to this machine and back: no pool
//! ```
#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::print_stdout
)] // a program, not the crate

use std::error::Error;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use trefoil::{Bulk, Dask, ProcessPool, Ssh};

type Any = Box<dyn Error>;

fn say(what: &str, value: f64, unit: &str) {
    println!("{what}: {value:.1} {unit}");
}

/// The middle of some durations, in microseconds.
fn middle(mut all: Vec<Duration>) -> f64 {
    all.sort_unstable();
    all[all.len() / 2].as_secs_f64() * 1e6
}

/// How many a second, the best of three times.
fn rate<R, E: Into<Any>>(count: usize, mut once: impl FnMut() -> Result<R, E>) -> Result<f64, Any> {
    let mut best: f64 = 0.0;
    for _ in 0..3 {
        let begin = Instant::now();
        once().map_err(Into::into)?;
        best = best.max(count as f64 / begin.elapsed().as_secs_f64());
    }
    Ok(best)
}

fn one_microsecond(n: u64) -> u64 {
    let begin = Instant::now();
    while begin.elapsed() < Duration::from_micros(1) {}
    n
}

fn pool(procs: &ProcessPool, chunks: u64) -> Result<(), Any> {
    procs.map(0..1000u64, |n| n)?;
    let trip = |n: u64| -> Result<Duration, Any> {
        let begin = Instant::now();
        procs.spawn(n, |n: u64| n).join()?;
        Ok(begin.elapsed())
    };
    let trips: Vec<Duration> = (0..100).map(trip).collect::<Result<_, _>>()?;
    say("round trip", middle(trips), "us");
    let single = procs.call(|n: u64| n).chunk(1);
    let chunked = || single.map(0..chunks);
    say("chunks", rate(chunks as usize, chunked)?, "/s");
    let tiny = || procs.map(0..300_000, |n: u64| n);
    say("items of nothing", rate(300_000, tiny)?, "/s");
    let short = || procs.map(0..100_000, one_microsecond);
    say("items of 1 us", rate(100_000, short)?, "/s");
    // (They wait, and do not compute: there are more workers than processors.)
    for (millis, count) in [(1u64, 3000usize), (100, 60)] {
        let items = || {
            let wait = |millis: u64| std::thread::sleep(Duration::from_millis(millis));
            procs.map(vec![millis; count], wait)
        };
        say(&format!("items of {millis} ms"), rate(count, items)?, "/s");
    }
    let megabytes = vec![Bulk::from(vec![7u8; 1 << 20]); 32];
    let bulk = || procs.map(megabytes.clone(), |bytes: Bulk<u8>| bytes);
    say("1 MiB there and back", rate(32, bulk)?, "MiB/s");
    let begin = Instant::now();
    assert!(
        procs
            .spawn((), |()| -> () { std::process::abort() })
            .join()
            .is_err()
    );
    procs.map(0..1000u64, |n| n)?;
    say(
        "a killed worker and 1000 items",
        begin.elapsed().as_secs_f64() * 1e6,
        "us",
    );
    Ok(())
}

/// Measures a stream that echoes, by its two ends.
fn stream(mut to: impl Write + Send, mut from: impl Read + Send, frames: usize) -> Result<(), Any> {
    let mut frame = [7u8; 64];
    let mut trips = Vec::new();
    for _ in 0..1000 {
        let begin = Instant::now();
        to.write_all(&frame)?;
        to.flush()?;
        from.read_exact(&mut frame)?;
        trips.push(begin.elapsed());
    }
    say("round trip", middle(trips), "us");
    let mut both = |size: usize, count: usize| -> Result<f64, Any> {
        rate(count, || {
            std::thread::scope(|scope| {
                let to = &mut to;
                let writes = scope.spawn(move || {
                    let bytes = vec![7u8; size];
                    (0..count).try_for_each(|_| to.write_all(&bytes))?;
                    to.flush()
                });
                let mut bytes = vec![0; size];
                for _ in 0..count {
                    from.read_exact(&mut bytes)?;
                }
                writes.join().expect("it writes").map_err(Any::from)
            })
        })
    };
    say("frames of 64 bytes, each a write", both(64, frames)?, "/s");
    say("1 MiB there and back", both(1 << 20, 64)?, "MiB/s");
    Ok(())
}

fn echo(mut stream: TcpStream) -> std::io::Result<()> {
    let mut bytes = vec![0; 1 << 18];
    loop {
        let count = stream.read(&mut bytes)?;
        if count == 0 {
            return Ok(());
        }
        stream.write_all(&bytes[..count])?;
    }
}

fn main() -> Result<(), Any> {
    trefoil::init();
    let args: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = args.iter().map(String::as_str).collect();
    match words[..] {
        ["dask", file, python] => {
            let dask = Dask::scheduler_file(file).python(python);
            pool(&ProcessPool::builder().on(dask).build()?, 3000)
        }
        ["ssh", client, host, config] => {
            let mut ssh = Ssh::hosts([host]);
            if client != "-" {
                ssh = ssh.client(client);
            }
            if config != "-" {
                ssh = ssh.config(config);
            }
            pool(&ProcessPool::builder().on(ssh).build()?, 20_000)
        }
        ["here", workers] => {
            let builder = ProcessPool::builder().plain_workers(true);
            pool(&builder.workers(workers.parse()?).build()?, 20_000)
        }
        ["pipe", command, ref arguments @ ..] => {
            let mut child = Command::new(command)
                .args(arguments)
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .spawn()?;
            let (to, from) = (child.stdin.take(), child.stdout.take());
            stream(to.ok_or("no input")?, from.ok_or("no output")?, 20_000)?;
            child.wait()?;
            Ok(())
        }
        ["echo"] => {
            let listener = TcpListener::bind("127.0.0.1:0")?;
            let to = TcpStream::connect(listener.local_addr()?)?;
            let (there, _) = listener.accept()?;
            for end in [&to, &there] {
                end.set_nodelay(true)?;
            }
            std::thread::spawn(move || echo(there));
            stream(to.try_clone()?, to, 20_000)
        }
        _ => Err("see the first lines of main.rs".into()),
    }
}
