//! A pool on an engine beside others, measured. `run.sh` starts it.
//!
//! ```text
//! machines table ROUNDS NAME=COMMAND...   asks contenders in turns, and prints a table
//!
//! machines dask SCHEDULER_FILE PYTHON     a contender: a pool of six workers on Dask
//! machines ssh HOST CONFIG                a pool over ssh, with that file of the client's
//! machines slurm DIRECTORY                a pool of six workers on Slurm
//! machines here WORKERS                   plain workers of this machine
//! machines streams tcp COUNT              bare streams to processes of this machine
//! machines streams ssh COUNT HOST CONFIG  bare streams through ssh
//!
//! machines trips here                     a call of one plain worker beside frames over TCP
//! machines trips slurm DIRECTORY          the same on Slurm
//! machines trips dask SCHEDULER_FILE PYTHON     the same on Dask
//! machines trips ssh HOST CONFIG          a call of one worker beside `ssh HOST cat`
//! machines trips wrapped WORD...          the same for a command line with `{exe}`, or `cat`
//! machines start DIRECTORY                four workers on an idle Slurm cluster
//! ```
#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::print_stderr,
    clippy::print_stdout
)] // a program, not the crate

mod bare;
mod table;

use std::error::Error;
use std::io::{BufRead, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use trefoil::{Bulk, Executor, ProcessPool};
use trefoil_machines::{Dask, Slurm, Ssh};
use trefoil_sandbox::Wrapped;

type Any = Box<dyn Error>;

const MIB: usize = 1 << 20;

fn say(what: &str, value: f64, unit: &str) {
    println!("{what}: {value:.1} {unit}");
}

/// The middle of some durations, in seconds.
fn middle(mut all: Vec<Duration>) -> f64 {
    all.sort_unstable();
    all[all.len() / 2].as_secs_f64()
}

/// How many a second.
fn rate<R, E: Into<Any>>(count: usize, once: impl FnOnce() -> Result<R, E>) -> Result<f64, Any> {
    let begin = Instant::now();
    once().map_err(Into::into)?;
    Ok(count as f64 / begin.elapsed().as_secs_f64())
}

/// What a contender does (see `table.rs`).
fn answer(mut figure: impl FnMut(&str) -> Result<f64, Any>) -> Result<(), Any> {
    println!("here");
    for row in std::io::stdin().lock().lines() {
        println!("{}", figure(&row?)?);
    }
    Ok(())
}

fn one_microsecond(n: u64) -> u64 {
    let begin = Instant::now();
    while begin.elapsed() < Duration::from_micros(1) {}
    n
}

// (These wait, and do not compute: there are more workers than processors.)

fn one_millisecond(n: u64) -> u64 {
    std::thread::sleep(Duration::from_millis(1));
    n
}

fn hundred_milliseconds(n: u64) -> u64 {
    std::thread::sleep(Duration::from_millis(100));
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
    let (calls, frames) = (middle(calls) * 1e6, middle(frames) * 1e6);
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
        .chunk_size(1)
        .map(vec![(name.to_owned(), workers); workers])?;
    std::fs::remove_file(file)?;
    Ok(())
}

/// A pool, asked for rows.
fn pool(procs: &ProcessPool, workers: usize, chunks: usize) -> Result<(), Any> {
    meet(procs, workers)?;
    let single = procs.call(|n: u64| n).chunk_size(1);
    let megabytes = vec![Bulk::from(vec![7u8; MIB]); 32];
    answer(|row| {
        procs.map(0..1000u64, |n| n)?;
        match row {
            "trip" => {
                let trips = (0..chunks / 100).map(|_| call(procs));
                Ok(middle(trips.collect::<Result<_, _>>()?))
            }
            "chunks" => rate(chunks, || single.map(0..chunks as u64)),
            "nothing" => rate(300_000, || procs.map(0..300_000, |n: u64| n)),
            "1us" => rate(300_000, || procs.map(0..300_000, one_microsecond)),
            "1ms" => rate(3000, || procs.map(0..3000, one_millisecond)),
            "100ms" => rate(60, || procs.map(0..60, hundred_milliseconds)),
            "bulk" => {
                let megabytes = megabytes.clone();
                rate(32, || procs.map(megabytes, |bytes: Bulk<u8>| bytes))
            }
            "killed" => {
                let begin = Instant::now();
                let call = procs.spawn((), |()| -> () { std::process::abort() });
                assert!(call.join().is_err());
                procs.map(0..1000u64, |n| n)?;
                let took = begin.elapsed().as_secs_f64();
                meet(procs, workers)?;
                Ok(took)
            }
            row => Err(format!("{row}?").into()),
        }
    })
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

/// A worker behind this command line, beside `cat` behind the same, each with one end of a socket
/// pair as its input and output.
fn wrapped(words: &[&str]) -> Result<(), Any> {
    let mut launcher = Wrapped::new(words.iter().copied());
    if words.contains(&"{env}") {
        launcher = launcher.env_option("-e");
    }
    let procs = ProcessPool::builder()
        .launcher(launcher)
        .workers(1)
        .build()?;
    let own = std::env::current_exe()?;
    let own = own.to_str().ok_or("this program's path is no text")?;
    let bare = words.iter().filter(|word| **word != "{env}");
    let mut bare = bare.map(|word| match *word {
        "{exe}" => "cat".to_owned(),
        word => word.replace("{exe}", own),
    });
    let (to, theirs) = UnixStream::pair()?;
    let mut command = Command::new(bare.next().ok_or("no command")?);
    command.args(bare).stdin(OwnedFd::from(theirs.try_clone()?));
    let mut child = command.stdout(OwnedFd::from(theirs)).spawn()?;
    drop(command);
    trips(&procs, &to, &to)?;
    to.shutdown(std::net::Shutdown::Both)?;
    child.wait()?;
    Ok(())
}

fn ssh(host: &str, config: &str) -> Result<ProcessPool, Any> {
    Ok(ProcessPool::builder()
        .launcher(Ssh::hosts([host]).config(config))
        .build()?)
}

fn slurm(way: Slurm, directory: &str, least: usize, most: usize) -> Result<ProcessPool, Any> {
    let slurm = way.directory(directory).nodes(least..=most);
    Ok(ProcessPool::builder().launcher(slurm).build()?)
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
        let bare = middle(bare) * 1e3;
        say(&format!("four jobs by {name}, bare"), bare, "ms");
        let calls = middle(calls) * 1e3;
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
            let dask = Dask::scheduler_file(file).python(python).threads(6..=6);
            let procs = ProcessPool::builder().launcher(dask).build()?;
            pool(&procs, procs.width(), 20_000)
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
        ["trips", "dask", file, python] => {
            let dask = Dask::scheduler_file(file).python(python).threads(1..=1);
            let procs = ProcessPool::builder().launcher(dask).build()?;
            let (to, from) = echo()?;
            trips(&procs, to, from)
        }
        ["trips", "wrapped", ref words @ ..] => wrapped(words),
        ["trips", "ssh", host, config] => {
            let procs = ssh(&format!("{host}:1"), config)?;
            let mut bare = Command::new("ssh");
            let (mut child, to, from) = pipe(bare.args(["-F", config, "-T", host, "cat"]))?;
            trips(&procs, to, from)?;
            child.wait()?;
            Ok(())
        }
        ["start", directory] => start(directory),
        ["streams", "tcp", count] => bare::streams(&bare::Way::Tcp, count.parse()?),
        ["streams", "ssh", count, host, config] => {
            bare::streams(&bare::Way::Ssh { host, config }, count.parse()?)
        }
        ["serve"] => bare::serve(std::io::stdin(), std::io::stdout()),
        ["serve", address] => {
            let to = TcpStream::connect(address)?;
            to.set_nodelay(true)?;
            bare::serve(to.try_clone()?, to)
        }
        ["table", rounds, ref contenders @ ..] => table::table(rounds.parse()?, contenders),
        ["echoes", address] => echoes(TcpStream::connect(address)?),
        _ => Err("see the first lines of main.rs".into()),
    }
}
