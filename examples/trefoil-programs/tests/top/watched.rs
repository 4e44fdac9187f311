//! A program to look at, and its side of the tests.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use trefoil::{EventLoop, ProcessPool, Task, ThreadPool};

/// The name of the test that is the program.
const PROGRAM: &str = "watched::program";

/// The program, which is killed when this is dropped.
pub(crate) struct Watched {
    child: Child,
    commands: ChildStdin,
    lines: Receiver<String>,
}

impl Watched {
    /// Starts it, with `folder` as that of its session.
    pub(crate) fn start(folder: &Path, variables: &[(&str, &str)]) -> Self {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", PROGRAM, "--ignored", "--nocapture"])
            .env("XDG_RUNTIME_DIR", folder)
            .env("RUST_BACKTRACE", "0")
            .envs(variables.iter().copied())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        let (said, lines) = channel();
        std::thread::spawn(move || stdout.lines().try_for_each(|line| said.send(line.unwrap())));
        let mut watched = Self {
            commands: child.stdin.take().unwrap(),
            lines,
            child,
        };
        watched.hears("ready");
        watched
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Waits for a line that begins with this, and returns the rest of it.
    pub(crate) fn hears(&mut self, begin: &str) -> String {
        loop {
            let line = self.lines.recv_timeout(crate::LIMIT);
            let line = line.unwrap_or_else(|error| panic!("waiting for {begin}: {error}"));
            if let Some(rest) = line.strip_prefix(begin) {
                return rest.trim().to_owned();
            }
        }
    }

    /// Has it end by itself.
    pub(crate) fn end(mut self) {
        self.commands.write_all(b"end\n").unwrap();
        assert!(self.child.wait().unwrap().success());
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        let _it_may_have_ended = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Waits for ever, in a worker process.
fn sleepy(n: u64) -> u64 {
    std::thread::sleep(Duration::from_secs(1_000_000));
    n
}

/// Something of everything that `trefoil-top` shows.
#[test]
#[ignore = "this is the program that the other tests look at"]
fn program() {
    let Some(top) = trefoil_dashboard::listen_if_asked().unwrap() else {
        println!("ready");
        return wait_for_the_end();
    };
    let recorder = top.recorder();
    let slow = top.recorder();
    trefoil::on_unobserved(move |report| recorder.failure(report));
    trefoil::inspect::on_stuck(|_| {});

    let pool = ThreadPool::builder()
        .name("parser")
        .threads(4)
        .build()
        .unwrap();
    top.watch_threads(&pool, "parsers").stay();
    let procs = ProcessPool::with_workers(2).unwrap();
    top.watch_processes(&procs, "squares").stay();

    // A call that a worker never answers, a map that stands still, and a failure.
    let call = procs.call(sleepy).name("sleepy").spawn(7);
    call.on_done_is_said("the call has ended");
    let mapped = pool.clone();
    let (_hold, held) = channel::<()>();
    let held = std::sync::Mutex::new(held);
    std::thread::spawn(move || {
        mapped.for_each(0..4_u64, |n| {
            if n == 3 {
                let _ = held.lock().unwrap().recv();
            }
        });
    });
    pool.spawn(|| panic!("boom \u{1b}[31m <b>"))
        .named("fails")
        .detach();

    // Two tasks that wait for one another.
    let (first, second) = channel::<Task<()>>();
    let one = pool
        .spawn(move || second.recv().unwrap().join().unwrap())
        .named("one");
    let two = pool.spawn(move || one.join().unwrap()).named("two");
    first.send(two).unwrap();

    // A loop, with tasks that wait, and one that blocks it.
    std::thread::Builder::new()
        .name("loop".to_owned())
        .spawn(move || {
            let (noted, is_noted) = channel();
            let event_loop = EventLoop::builder()
                .slow_poll(Duration::from_millis(20), move |poll| {
                    // On a busy machine, a poll of the root future may be slow, too.
                    if poll.task.name.as_deref() == Some("greedy") {
                        slow.slow_poll(poll);
                        _ = noted.send(());
                    }
                })
                .build()
                .unwrap();
            top.watch_loop(&event_loop.handle(), "main").stay();
            event_loop.block_on(async {
                for n in 0..250 {
                    let name = match n {
                        0 => "fruit \u{1b}[2J".to_owned(),
                        n => format!("waiter {n}"),
                    };
                    let task = trefoil::spawn(std::future::pending::<()>()).named(name);
                    if n == 0 {
                        println!("fruit {}", task.id().get());
                        task.on_done(|result| println!("fruit has ended: {result:?}"));
                    } else {
                        task.detach();
                    }
                }
                trefoil::spawn(async move { is_noted.recv().unwrap() })
                    .named("greedy")
                    .await
                    .unwrap();
                println!("ready");
                std::future::pending::<()>().await;
            });
            drop(top);
        })
        .unwrap();
    wait_for_the_end();
}

trait Said {
    fn on_done_is_said(self, what: &'static str);
}

impl<T: Send + 'static> Said for Task<T> {
    /// Prints how it has ended.
    fn on_done_is_said(self, what: &'static str) {
        self.on_done(move |result| {
            let how = result.map_or_else(|error| error.to_string(), |_| "a result".to_owned());
            println!("{what}: {how}");
        });
    }
}

/// Until the test says so: nobody waits for what has been started.
fn wait_for_the_end() {
    let mut line = String::new();
    let _ = std::io::stdin().read_line(&mut line);
    std::process::exit(0);
}
