//! Every example runs, ends by itself within a deadline, and prints what it should.
//!
//! There is one test for each file of `examples/`, with the same name; the last test checks that
//! none is missing. The expected output is written line by line, where `*` stands for anything:
//! times, process ids, addresses. `cargo test` and `cargo nextest run` build the examples before
//! this program. To run this program alone (`--test examples`), build them first (`cargo build
//! --examples`); if they are missing, a message says so.
#![allow(clippy::disallowed_methods, clippy::disallowed_types)] // that door is for the crate's own protocols

use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

/// Longer than any example takes on a busy machine.
const LIMIT: Duration = Duration::from_secs(100);

/// Where cargo puts examples: beside the directory of this program.
fn program(name: &str) -> PathBuf {
    let this = std::env::current_exe().unwrap();
    let profile = this.parent().and_then(Path::parent).unwrap();
    let suffix = std::env::consts::EXE_SUFFIX;
    let program = profile.join("examples").join(format!("{name}{suffix}"));
    let top = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples");
    let mut source = top.join(format!("{name}.rs"));
    if !source.exists() {
        source = top.join(format!("from_python/{name}.rs"));
    }
    let changed = |path: &Path| fs::metadata(path).and_then(|data| data.modified());
    let fresh = match (changed(&program), changed(&source)) {
        (Ok(built), Ok(written)) => built >= written,
        _ => false,
    };
    let program_shown = program.display();
    assert!(
        fresh,
        "{program_shown} is missing or old: cargo build --examples"
    );
    program
}

/// Runs an example to its end. Returns its output.
fn run(name: &str) -> String {
    run_with(name, &[])
}

/// With `TREFOIL_CHAOS` in the environment, and that feature, an example may also end in the error
/// that a worker was killed; then it is run again, while nothing is killed.
fn run_with(name: &str, arguments: &[&str]) -> String {
    let chaos = std::env::var("TREFOIL_CHAOS").unwrap_or_default();
    let out = try_run(name, arguments, &chaos);
    let out = out.or_else(|| try_run(name, arguments, &format!("{chaos},kill=0")));
    out.expect("nothing was killed")
}

fn try_run(name: &str, arguments: &[&str], chaos: &str) -> Option<String> {
    let mut child = Command::new(program(name))
        .args(arguments)
        .env("TREFOIL_CHAOS", chaos)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let out = collect(child.stdout.take().unwrap());
    let err = collect(child.stderr.take().unwrap());
    let end = Instant::now() + LIMIT;
    let status = loop {
        match child.try_wait().unwrap() {
            Some(status) => break status,
            None if Instant::now() > end => {
                child.kill().unwrap();
                child.wait().unwrap();
                panic!("{name} hangs");
            }
            None => thread::sleep(Duration::from_millis(5)),
        }
    };
    // This ends only when no process has the pipe: an example leaves no child behind.
    let (out, err) = (out.join().unwrap(), err.join().unwrap());
    let is_allowed = !chaos.is_empty() && err.contains("was killed by signal 9");
    let told = format!("{name}, {chaos}: {status}\n{out}\n{err}");
    assert!(status.success() || is_allowed, "{told}");
    status.success().then_some(out)
}

fn collect(mut pipe: impl Read + Send + 'static) -> thread::JoinHandle<String> {
    thread::spawn(move || {
        let mut bytes = Vec::new();
        pipe.read_to_end(&mut bytes).unwrap();
        String::from_utf8(bytes).unwrap()
    })
}

/// `*` stands for any text.
fn matches(pattern: &str, line: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == line,
        Some((head, rest)) => line.strip_prefix(head).is_some_and(|line| {
            let mut ends = line.char_indices().map(|(at, _)| at).chain([line.len()]);
            ends.any(|at| matches(rest, &line[at..]))
        }),
    }
}

/// Checks that the example prints exactly these lines.
#[track_caller]
fn shows(name: &str, expected: &str) -> String {
    let out = run(name);
    let lines: Vec<&str> = expected.trim_matches('\n').lines().collect();
    let same = out.lines().count() == lines.len()
        && lines.iter().zip(out.lines()).all(|(p, l)| matches(p, l));
    assert!(same, "{name} prints\n{out}\nand not\n{expected}");
    out
}

/// Like `shows`, but the lines may come in any order.
#[track_caller]
fn shows_somehow(name: &str, expected: &str) -> String {
    let out = run(name);
    let mut left: Vec<&str> = out.lines().collect();
    for pattern in expected.trim_matches('\n').lines() {
        let at = left.iter().position(|line| matches(pattern, line));
        let at = at.unwrap_or_else(|| panic!("{name} prints\n{out}\nand no line `{pattern}`"));
        left.remove(at);
    }
    assert!(left.is_empty(), "{name} prints these lines, too: {left:?}");
    out
}

/// Like `shows` and `shows_somehow`, for an example about time: it is run again if the machine was
/// busy.
#[track_caller]
fn in_time(show: impl Fn() -> String, good: impl Fn(&[f64]) -> bool) -> String {
    let mut all = Vec::new();
    for _ in 0..3 {
        let out = show();
        let times = seconds(&out);
        if good(&times) {
            return out;
        }
        all.push(times);
    }
    panic!("these times are not good: {all:?}");
}

/// The number before the unit at the end of each line that has one.
fn seconds(out: &str) -> Vec<f64> {
    out.lines()
        .filter_map(|line| line.strip_suffix(" s")?.rsplit(' ').next()?.parse().ok())
        .collect()
}

/// The number behind each "process ".
fn pids(out: &str) -> Vec<u32> {
    let numbers = out.split("process ").skip(1);
    let digits = numbers.map(|rest| rest.split(|c: char| !c.is_ascii_digit()).next());
    digits.filter_map(|digits| digits?.parse().ok()).collect()
}

#[test]
fn barista() {
    let served = ["Ada", "Ben", "Cleo", "Dan"];
    let turns = served.map(|who| format!("  grinding for {who}\n  coffee for {who}\n"));
    let ground = served.map(|who| format!("  grinding for {who}\n"));
    let coffees = served.map(|who| format!("  coffee for {who}\n"));
    let show = || {
        shows_somehow(
            "barista",
            &format!(
                "one after another:\n{}*.* s\nall at once:\n{}{}*.* s\n",
                turns.concat(),
                ground.concat(),
                coffees.concat()
            ),
        )
    };
    let out = in_time(show, |times| {
        times[0] >= 0.88 && times[1] >= 0.28 && times[1] < times[0]
    });
    let (alone, together) = out.split_once("all at once:\n").unwrap();
    assert!(alone.starts_with(&format!("one after another:\n{}", turns.concat())));
    assert!(together.contains("grinding for Ben\n  grinding for Cleo\n"));
}

#[test]
fn chat_server() {
    shows(
        "chat_server",
        "
Ben hears    Ada: Is anybody there?
Ada hears    Ben has come
Ada hears    Ada: Is anybody there?
Ada hears    Ben: I am.
Ada hears    Ben has gone
Ada has heard 50 greetings, and 50 guests leave
",
    );
}

#[test]
fn child_processes() {
    shows(
        "child_processes",
        "
fifty programs in *: 2550
sorted: apple, fig, pear
the slow one was given up, and is gone
",
    );
}

#[test]
fn cook() {
    let show = || {
        shows(
            "cook",
            "
one by one     *.* s
one loop       *.* s
threads        *.* s
processes      *.* s
mixed          *.* s
4 dishes in five ways, * pieces each time
",
        )
    };
    in_time(show, |times| {
        times[0] >= 1.2
            && times.iter().all(|time| *time >= 0.3)
            && times[1] < times[0]
            && times[4] < times[0]
    });
}

#[test]
fn cooperative_counter() {
    shows(
        "cooperative_counter",
        "
without a lock:           200000
across an await:          100000
across, and with a lock:  200000
",
    );
}

#[test]
fn deadline() {
    shows(
        "deadline",
        "
after 30 ms it is still running
asked to stop, it had found * primes
given up after *, and the task was asked to stop
four searches until one deadline: [*, *, *, *] primes
",
    );
}

#[test]
fn echo_server() {
    shows(
        "echo_server",
        "
serving on 127.0.0.1:*
3000 answers to 1000 clients in *
",
    );
}

#[test]
fn factorials() {
    shows(
        "factorials",
        "
in a row   *.* s
threads    *.* s
processes  *.* s
twelve times the same number of 1516705 bits,
which ends in 24999 decimal zeros
",
    );
}

#[test]
fn fetch_many() {
    shows(
        "fetch_many",
        "
58 pages, 928 bytes
broken: [(13, UnexpectedEof)]
given up: [42]
60 sites in *, 10 at a time
",
    );
}

#[test]
fn first_answer_wins() {
    shows(
        "first_answer_wins",
        "quick answered after *; the others were cancelled",
    );
}

#[test]
fn graceful_shutdown() {
    shows(
        "graceful_shutdown",
        "
Ctrl-C: no more callers
served 1, failed 0
served 2, failed 0
some take too long: they are cancelled
the quick one has all he asked for
the slow one has all he asked for
the endless one was sent away
ended in order
",
    );
}

#[cfg(target_os = "linux")] // elsewhere all workers are plain
#[test]
fn serve_in_workers() {
    shows(
        "serve_in_workers",
        "
first: \"FIRST\"
please crash: \"\"
last: \"LAST\"
",
    );
}

#[cfg(target_os = "linux")] // elsewhere no worker is pinned
#[test]
fn own_device() {
    shows(
        "own_device",
        "
worker 0 has device 4 and 1 processor
so had the one before it: true
",
    );
}

#[cfg(all(target_os = "linux", target_env = "gnu"))] // elsewhere there is no fork server
#[test]
fn preload() {
    shows(
        "preload",
        "
Spawn: * MB; the first answer after *,
  after crashes of all workers the next one came after *
ForkServer: * MB; the first answer after *,
  after crashes of all workers the next one came after *
",
    );
}

#[cfg(target_os = "linux")] // elsewhere processes share no permits
#[test]
fn loaded_once() {
    shows(
        "loaded_once",
        "
found [2, 1, 0] times, by two copies
a crash costs one call: true
and its worker begins again, at 0
20 rows, with 2 permits
",
    );
}

#[test]
fn locks() {
    let out = shows(
        "locks",
        "
lock: four threads paid in 4000
semaphore: six guests, never more than * inside
event: all are ready, nobody runs
event: [1, 2, 3] have run
condition: the waiter carries soup, fish, cake
",
    );
    assert!(
        out.contains("more than 1 ") || out.contains("more than 2 "),
        "{out}"
    );
}

#[test]
fn one_page() {
    shows(
        "one_page",
        "
GET /: HTTP/1.1 200 OK, 32 bytes: <h1>Three leaves, one stem</h1>
GET /: HTTP/1.1 200 OK, 32 bytes: <h1>Three leaves, one stem</h1>
GET /elsewhere: HTTP/1.1 404 Not Found, 13 bytes: no such page
connections: 1
",
    );
}

#[test]
fn parallel_sum() {
    let out = shows(
        "parallel_sum",
        "
one thread   * in *
join         * in *
map_reduce   * in *
scope        * in *
",
    );
    let sum = |line: &str| line.split_whitespace().rev().nth(2).map(str::to_owned);
    let sums: Vec<_> = out.lines().map(sum).collect();
    assert!(sums.iter().all(|sum| *sum == sums[0]), "{out}");
}

#[test]
fn primes() {
    shows(
        "primes",
        "
one thread: *
* threads: *
9592 primes below 100000
from [2, 3, 5, 7, 11] to [99989, 99991]
",
    );
}

#[cfg(feature = "trace")]
#[test]
fn traced() {
    let path = std::env::temp_dir().join(format!("trefoil-traced-{}.json", std::process::id()));
    let out = run_with("traced", &[path.to_str().unwrap()]);
    let json = fs::read_to_string(&path).unwrap();
    fs::remove_file(&path).unwrap();
    let mut lines = out.lines();
    assert_eq!(lines.next(), Some("33068 primes, counted"));
    assert!(
        lines.next().unwrap().starts_with("0 lost; written to "),
        "{out}"
    );
    for shown in [
        "thread pool mill",
        "event loop on main",
        "process pool",
        "primes 6",
    ] {
        assert!(out.contains(shown), "{shown}: {out}");
    }
    for written in [
        "\"traceEvents\"",
        "\"primes 6\"",
        "\"ticker\"",
        "\"worker process ",
    ] {
        assert!(json.contains(written), "{written}");
    }
}

#[test]
fn racing_counter() {
    let out = shows(
        "racing_counter",
        "
expected        200000
without a lock  *, * lost
with a lock     200000
with an atomic  200000
with a channel  200000
",
    );
    let lost = out.lines().nth(1).unwrap().rsplit(' ').nth(1).unwrap();
    assert!(lost.parse::<u64>().unwrap() >= 3, "{out}");
}

#[test]
fn square_map() {
    shows(
        "square_map",
        "
12 squared is 144
[1, 4, 9, 16, 25, 36, 49, 64, 81, 100]
from a million on: [1000000, 1002001, 1004004]
4 workers, none of them this process
",
    );
}

#[test]
fn big_arrays() {
    shows(
        "big_arrays",
        "
2000000 numbers came back, 1999999 first
sum of 4000000 numbers: *
their last digits: [*]
",
    );
}

#[test]
fn process_monitor() {
    shows(
        "process_monitor",
        "
name        pid  alive  threads  memory
idler    *  yes          2    * MB
crowd    *  yes          6    * MB
hoarder  *  yes          2   * MB
of * processes these are ours: [\"crowd\", \"hoarder\", \"idler\"]
name        pid  alive  threads  memory
idler    *  yes          2    * MB
crowd    *  yes          6    * MB
hoarder  *  no           0    0 MB
idler: rested
crowd: four of us
hoarder: signal Some(15)
",
    );
}

/// The first code block of that language in the README.
fn readme(language: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md");
    let text = fs::read_to_string(path).unwrap().replace("\r\n", "\n");
    let (_, block) = text.split_once(&format!("```{language}\n")).unwrap();
    block.split_once("```").unwrap().0.to_owned()
}

/// The README begins with this program and its output, in which the process id differs each time.
#[test]
fn survive_a_crash() {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/survive_a_crash.rs");
    let source = fs::read_to_string(source).unwrap().replace("\r\n", "\n");
    let program = readme("rust");
    assert!(program.contains("map_each") && source.ends_with(&format!("\n{program}")));

    let output = readme("text");
    let (head, rest) = output.split_once("worker process ").unwrap();
    let rest = rest.trim_start_matches(|c: char| c.is_ascii_digit());
    shows("survive_a_crash", &format!("{head}worker process *{rest}"));
}

#[test]
fn task_group() {
    shows(
        "task_group",
        "
all went well: [500000500000, 1, 2000001000000, 2, 4500001500000, 3]
one failed, the other was stopped: *not a number*
",
    );
}

#[test]
fn thread_ids() {
    let out = shows(
        "thread_ids",
        "
main      process *, ThreadId(*)
helper-*  process *, ThreadId(*)
one process, two threads
",
    );
    let pids = pids(&out);
    assert_eq!(pids[0], pids[1]);
}

#[test]
fn three_workers() {
    let workers = "
  worker one begins
  worker one is done
  worker two begins
  worker two is done
  worker three begins
  worker three is done
";
    let show = || {
        shows_somehow(
            "three_workers",
            &format!(
                "one after another:{workers}11 letters in *.* s\nat once:{workers}11 letters in *.* s\n"
            ),
        )
    };
    let out = in_time(show, |times| {
        times[0] >= 3.0 && times[1] >= 1.0 && times[1] < times[0]
    });
    let (alone, together) = out.split_once("at once:\n").unwrap();
    assert!(alone.starts_with(&format!("one after another:{workers}")));
    let begun = together.split("is done").next().unwrap().matches("begins");
    assert_eq!(
        begun.count(),
        3,
        "all begin before the first is done: {out}"
    );
}

#[test]
fn two_at_once() {
    let show = || {
        shows(
            "two_at_once",
            "
here is the news; here is the weather
one after another: *.* s
here is the news; here is the weather
at once: *.* s
",
        )
    };
    in_time(show, |times| {
        times[0] >= 0.8 && times[1] >= 0.4 && times[1] < times[0]
    });
}

#[test]
fn two_named_workers() {
    let out = shows_somehow(
        "two_named_workers",
        "
A is process *
B is process *
  process * reports A: step 1 of 3
  process * reports A: step 2 of 3
  process * reports A: step 3 of 3
  process * reports B: step 1 of 3
  process * reports B: step 2 of 3
  process * reports B: step 3 of 3
A is done, and process * with it
B is done, and process * with it
C is process *, alive: true
C was ended by signal 15
",
    );
    for (name, pid) in ["A", "B"].into_iter().zip(pids(&out)) {
        for step in 1..=3 {
            let report = format!("  process {pid} reports {name}: step {step} of 3\n");
            assert!(out.contains(&report), "{out}");
        }
    }
}

#[test]
fn two_scripts() {
    let out = shows(
        "two_scripts",
        "
started trefoil-one-*.sh
started trefoil-two-*.sh
found trefoil-one-*.sh as process *
found trefoil-two-*.sh as process *
trefoil-one-*.sh says \"I was process *\" and ends: exit status: 0
trefoil-two-*.sh says \"I was process *\" and ends: exit status: 0
found after that: []
",
    );
    let pids = pids(&out);
    assert_eq!(pids[..2], pids[2..]);
}

#[test]
fn stream_of_results() {
    shows(
        "stream_of_results",
        "
2463 takes 208 steps
2919 takes 216 steps
3711 takes 237 steps
6171 takes 261 steps
25 records below 10,000
",
    );
}

#[test]
fn wrap_a_callback() {
    shows(
        "wrap_a_callback",
        "
sensor 0: 21.5 degrees, joined from plain code
sensor 1: no such sensor, awaited on the loop
sensor 2: the callback was dropped, so the task is closed
cancelled: the producer noticed and stopped
",
    );
}

/// Its figures depend on the machine; checked is only that it prints figures and conclusions.
#[test]
fn choose() {
    let out = run_with("choose", &["quick"]);
    for line in [
        "What one costs*",
        "How many times as fast as a loop:",
        "What should I use*",
    ] {
        assert!(
            out.lines().any(|l| matches(line, l)),
            "no `{line}` in\n{out}"
        );
    }
}

#[test]
fn stars_stand_for_anything() {
    assert!(matches("a*c*", "abc") && matches("*", "") && matches("é*", "éé"));
    assert!(!matches("a*c", "abd") && !matches("", "a") && !matches("a", ""));
}

/// The tour, which is about speed, is run by `.ci/run`, and in release by `.ci/long profiles`.
#[test]
fn no_example_is_missing() {
    let tests = include_str!("examples.rs");
    let top = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples");
    for folder in [top.clone(), top.join("from_python")] {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.extension().is_none_or(|kind| kind != "rs") {
                continue;
            }
            let name = path.file_stem().unwrap().to_str().unwrap();
            let tested = tests.contains(&format!("\nfn {name}() {{"));
            assert!(tested, "the example {name} has no test of that name here");
        }
    }
}
