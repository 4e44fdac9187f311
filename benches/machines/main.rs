//! A pool on an engine, or a bare stream, measured: one line for each figure. `run.sh` starts it.
//!
//! ```text
//! machines dask SCHEDULER_FILE PYTHON     a pool on Dask
//! machines ssh HOST CONFIG                a pool over ssh, with that file of the client's
//! machines slurm DIRECTORY                a pool of six workers on Slurm
//! machines here WORKERS                   plain workers of this machine
//! machines trips here                     a call of one plain worker beside frames over TCP
//! machines trips slurm DIRECTORY          the same on Slurm
//! machines trips ssh HOST CONFIG          a call of one worker beside `ssh HOST cat`
//! machines start DIRECTORY                four workers on an idle Slurm cluster
//! machines pipe COMMAND...                a command that echoes (`ssh HOST cat`): no pool, no frames
//! machines echo                           frames over TCP to another process and back: no pool
//! ```
#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::print_stdout
)] // a program, not the crate

use std::error::Error;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use trefoil::{Bulk, Dask, Executor, ProcessPool, Slurm, Ssh};

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

/// How long one call takes.
fn call(procs: &ProcessPool) -> Result<Duration, Any> {
    let begin = Instant::now();
    procs.spawn(7, |n: u64| n).join()?;
    Ok(begin.elapsed())
}

/// The same for a frame to what echoes, and back.
fn frame(to: &mut impl Write, from: &mut impl Read) -> Result<Duration, Any> {
    let mut frame = [7u8; 64];
    let begin = Instant::now();
    to.write_all(&frame)?;
    to.flush()?;
    from.read_exact(&mut frame)?;
    Ok(begin.elapsed())
}

/// Round trips of a pool with one worker and of what echoes, in turns, so that whatever else the
/// machine does slows down both.
fn trips(procs: &ProcessPool, mut to: impl Write, mut from: impl Read) -> Result<(), Any> {
    let (mut calls, mut frames) = (Vec::new(), Vec::new());
    for _ in 0..40 {
        for _ in 0..100 {
            calls.push(call(procs)?);
        }
        for _ in 0..100 {
            frames.push(frame(&mut to, &mut from)?);
        }
    }
    let (calls, frames) = (middle(calls), middle(frames));
    say("round trip of a frame", frames, "us");
    say("round trip of a call", calls, "us");
    println!("ratio: {:.2}", calls / frames);
    Ok(())
}

/// Waits until as many items run at the same time: so many workers are there.
fn meet(procs: &ProcessPool, workers: usize) -> Result<(), Any> {
    let file = std::env::temp_dir().join(format!("trefoil-meet-{}", std::process::id()));
    std::fs::write(&file, "")?;
    let name = file
        .to_str()
        .ok_or("the name of a directory for scratch is no text")?;
    let come = |(name, workers): (String, usize)| {
        let file = std::fs::OpenOptions::new().append(true).open(&name);
        file.and_then(|mut file| file.write_all(b"x"))
            .expect("it is on this machine");
        while std::fs::metadata(&name).is_ok_and(|file| file.len() < workers as u64) {
            std::thread::sleep(Duration::from_millis(1));
        }
    };
    procs
        .call(come)
        .chunk(1)
        .map(vec![(name.to_owned(), workers); workers])?;
    std::fs::remove_file(file)?;
    Ok(())
}

fn pool(procs: &ProcessPool, workers: usize, chunks: u64) -> Result<(), Any> {
    meet(procs, workers)?;
    procs.map(0..1000u64, |n| n)?;
    let trips: Vec<Duration> = (0..chunks / 20)
        .map(|_| call(procs))
        .collect::<Result<_, _>>()?;
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
    let trips = (0..1000).map(|_| frame(&mut to, &mut from));
    let trips: Vec<Duration> = trips.collect::<Result<_, _>>()?;
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

/// What a process does that echoes.
fn echoes(mut stream: TcpStream) -> Result<(), Any> {
    stream.set_nodelay(true)?;
    let mut bytes = vec![0; 1 << 18];
    loop {
        let count = stream.read(&mut bytes)?;
        if count == 0 {
            return Ok(());
        }
        stream.write_all(&bytes[..count])?;
    }
}

/// A connection to a process that echoes. It ends with the connection.
fn echo() -> Result<(TcpStream, TcpStream), Any> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?.to_string();
    Command::new(std::env::current_exe()?)
        .args(["echoes", &address])
        .spawn()?;
    let (to, _) = listener.accept()?;
    to.set_nodelay(true)?;
    Ok((to.try_clone()?, to))
}

/// A command that echoes.
fn pipe(command: &mut Command) -> Result<(Child, ChildStdin, ChildStdout), Any> {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()?;
    let (to, from) = (child.stdin.take(), child.stdout.take());
    let (to, from) = (to.ok_or("no input")?, from.ok_or("no output")?);
    Ok((child, to, from))
}

fn ssh(host: &str, config: &str) -> Result<ProcessPool, Any> {
    Ok(ProcessPool::builder()
        .on(Ssh::hosts([host]).config(config))
        .build()?)
}

fn slurm(way: Slurm, directory: &str, least: usize, most: usize) -> Result<ProcessPool, Any> {
    let slurm = way.directory(directory).nodes(least..=most);
    Ok(ProcessPool::builder().on(slurm).build()?)
}

/// Slurm takes a moment to clear away the jobs of the last time.
fn until_idle() -> Result<(), Any> {
    let list = || Command::new("squeue").arg("--noheader").output();
    while !list()?.stdout.is_empty() {
        std::thread::sleep(Duration::from_millis(50));
    }
    Ok(())
}

/// How long it takes from the first call, for which jobs are submitted, until four workers have
/// answered; and how long Slurm takes itself, to run four times what makes a file.
fn start(directory: &str) -> Result<(), Any> {
    let ways = [("sbatch", Slurm::sbatch()), ("srun", Slurm::srun())];
    for (name, way) in ways {
        let (mut calls, mut bare) = (Vec::new(), Vec::new());
        for round in 0..9 {
            until_idle()?;
            let procs = slurm(way.clone(), directory, 0, 4)?;
            let begin = Instant::now();
            meet(&procs, 4)?;
            calls.push(begin.elapsed());
            drop(procs);
            until_idle()?;
            bare.push(bare_start(
                name,
                &format!("{directory}/bare-{name}-{round}"),
            )?);
        }
        let bare = middle(bare) / 1e3;
        say(&format!("four jobs by {name}, bare"), bare, "ms");
        let calls = middle(calls) / 1e3;
        say(
            &format!("four workers by {name} have answered"),
            calls,
            "ms",
        );
    }
    Ok(())
}

fn bare_start(way: &str, mark: &str) -> Result<Duration, Any> {
    let script = format!("#!/bin/sh\n: > {mark}.$SLURM_JOB_ID\n");
    std::fs::write(mark, &script)?;
    let begin = Instant::now();
    let mut clients = Vec::new();
    for _ in 0..4 {
        let mut command = Command::new(way);
        command.args(["--nodes=1", "--ntasks=1"]);
        match way {
            "sbatch" => command.arg("--output=/dev/null").arg(mark),
            _ => command.args(["sh", mark]),
        };
        clients.push(command.stdout(Stdio::null()).spawn()?);
    }
    let path = std::path::Path::new(mark);
    let (folder, name) = path.parent().zip(path.file_name()).ok_or("no directory")?;
    let begins = format!("{}.", name.to_string_lossy());
    let is_mark =
        |entry: std::fs::DirEntry| entry.file_name().to_string_lossy().starts_with(&begins);
    while std::fs::read_dir(folder)?
        .flatten()
        .map(is_mark)
        .filter(|is| *is)
        .count()
        < 4
    {
        std::thread::sleep(Duration::from_millis(1));
    }
    let took = begin.elapsed();
    for mut client in clients {
        client.wait()?;
    }
    Ok(took)
}

fn main() -> Result<(), Any> {
    trefoil::init();
    let args: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = args.iter().map(String::as_str).collect();
    match words[..] {
        ["dask", file, python] => {
            let dask = Dask::scheduler_file(file).python(python);
            pool(&ProcessPool::builder().on(dask).build()?, 1, 3000)
        }
        ["ssh", host, config] => {
            let procs = ssh(host, config)?;
            pool(&procs, procs.width(), 20_000)
        }
        ["slurm", directory] => pool(&slurm(Slurm::sbatch(), directory, 6, 6)?, 6, 20_000),
        ["here", workers] => {
            let workers = workers.parse()?;
            let builder = ProcessPool::builder().plain_workers(true);
            pool(&builder.workers(workers).build()?, workers, 20_000)
        }
        ["trips", "here"] => {
            let procs = ProcessPool::builder()
                .plain_workers(true)
                .workers(1)
                .build()?;
            let (to, from) = echo()?;
            trips(&procs, to, from)
        }
        ["trips", "slurm", directory] => {
            let procs = slurm(Slurm::sbatch(), directory, 1, 1)?;
            let (to, from) = echo()?;
            trips(&procs, to, from)
        }
        ["trips", "ssh", host, config] => {
            let procs = ssh(&format!("{host}:1"), config)?;
            let mut bare = Command::new("ssh");
            let (mut child, to, from) = pipe(bare.args(["-F", config, "-T", host, "cat"]))?;
            trips(&procs, to, from)?;
            child.wait()?;
            Ok(())
        }
        ["start", directory] => start(directory),
        ["pipe", command, ref arguments @ ..] => {
            let (mut child, to, from) = pipe(Command::new(command).args(arguments))?;
            stream(to, from, 20_000)?;
            child.wait()?;
            Ok(())
        }
        ["echo"] => {
            let (to, from) = echo()?;
            stream(to, from, 20_000)
        }
        ["echoes", address] => echoes(TcpStream::connect(address)?),
        _ => Err("see the first lines of main.rs".into()),
    }
}
