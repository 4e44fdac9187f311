//! Child processes on every system: each child is this program, and a variable says what it does.

use std::env;
use std::io::{ErrorKind, Read, Write};
use std::process::{Stdio, exit};
use std::time::Duration;

use trefoil::io::{Child, Command};
use trefoil::time::timeout;
use trefoil::{join_all, run, spawn};

use crate::support::{LONG, within_deadline};

/// The variable that says what a child does.
const TOLD: &str = "TREFOIL_TEST_CHILD";

/// The output of the test harness comes before this.
const MARK: &str = "=child=";

const MOMENT: Duration = Duration::from_millis(20);

/// Not a test: in a child, it does what the variable says.
#[test]
fn it_is_a_child() {
    let Ok(told) = env::var(TOLD) else { return };
    let mut out = std::io::stdout();
    out.write_all(MARK.as_bytes()).unwrap();
    out.flush().unwrap();
    match told.as_str() {
        "speak" => {
            out.write_all(b"out").unwrap();
            out.flush().unwrap();
            std::io::stderr().write_all(b"err").unwrap();
            exit(3)
        }
        "copy" => {
            let mut input = std::io::stdin();
            let mut piece = [0; 4096];
            loop {
                let count = input.read(&mut piece).unwrap();
                if count == 0 {
                    exit(0)
                }
                out.write_all(&piece[..count]).unwrap();
                out.flush().unwrap();
            }
        }
        "read one" => {
            std::io::stdin().read_exact(&mut [0]).unwrap();
            exit(0)
        }
        other => panic!("{other}"),
    }
}

fn child(told: &str) -> Command {
    let mut command = Command::new(env::current_exe().unwrap());
    let test = "child_processes::it_is_a_child";
    command.args(["--exact", test, "--nocapture"]);
    command.env(TOLD, told).stdin(Stdio::null());
    command
}

fn copier() -> Command {
    let mut command = child("copy");
    command.stdin(Stdio::piped()).stdout(Stdio::piped());
    command
}

/// What the child itself has written.
fn after_mark(bytes: &[u8]) -> &[u8] {
    let mark = MARK.as_bytes();
    let at = bytes.windows(mark.len()).position(|part| part == mark);
    &bytes[at.expect("it has begun") + mark.len()..]
}

async fn begin(child: &Child) {
    let out = child.stdout.as_ref().unwrap();
    let mut heard = Vec::new();
    while !heard.ends_with(MARK.as_bytes()) {
        let mut one = [0];
        assert_eq!(out.read(&mut one).await.unwrap(), 1, "{heard:?}");
        heard.push(one[0]);
    }
}

#[test]
fn it_says_something_and_ends_with_a_code() {
    within_deadline(|| {
        run(async {
            let output = child("speak").output().await.unwrap();
            assert_eq!(output.status.code(), Some(3));
            assert_eq!(after_mark(&output.stdout), b"out");
            assert!(output.stderr.ends_with(b"err"));
            let mut command = child("speak");
            command.stdout(Stdio::null()).stderr(Stdio::null());
            assert_eq!(command.status().await.unwrap().code(), Some(3));
            let nothing = Command::new("there is no such program").spawn();
            assert_eq!(nothing.unwrap_err().kind(), ErrorKind::NotFound);
        });
    });
}

#[test]
fn much_goes_in_while_much_comes_out() {
    within_deadline(|| {
        run(async {
            let bytes: Vec<u8> = (0..1 << 20).map(|n: u32| (n % 251) as u8).collect();
            let mut child = copier().spawn().unwrap();
            let input = child.stdin.take().unwrap();
            let expected = bytes.clone();
            let writing = spawn(async move { input.write_all(&bytes).await });
            let output = child.wait_with_output().await.unwrap();
            writing.await.unwrap().unwrap();
            assert!(output.status.success());
            assert!(after_mark(&output.stdout) == expected);
        });
    });
}

#[test]
fn one_is_given_up_killed_and_asked_again() {
    within_deadline(|| {
        run(async {
            let mut child = copier().spawn().unwrap();
            let input = child.stdin.take(); // otherwise `wait` would close it
            begin(&child).await;
            for _ in 0..3 {
                assert!(timeout(MOMENT, child.wait()).await.is_err());
                assert!(child.try_wait().unwrap().is_none());
            }
            child.kill().unwrap();
            child.kill().unwrap();
            let status = timeout(LONG, child.wait()).await.unwrap().unwrap();
            assert!(!status.success());
            child.kill().unwrap();
            assert_eq!(child.wait().await.unwrap(), status);
            assert_eq!(child.try_wait().unwrap(), Some(status));
            drop(input);

            let mut child = copier().spawn().unwrap();
            assert!(
                child.wait().await.unwrap().success(),
                "its input was closed"
            );
        });
    });
}

#[test]
fn two_are_connected() {
    within_deadline(|| {
        run(async {
            let mut first = copier().spawn().unwrap();
            begin(&first).await;
            let input = first.stdin.take().unwrap();
            input.write_all(b"abc").await.unwrap();
            let between = first.stdout.take().unwrap();
            // A byte that was read before does not come again.
            let mut one = [0; 1];
            between.read_exact(&mut one).await.unwrap();
            assert_eq!(&one, b"a");
            let mut second = copier();
            second.stdin(between.into_stdio().unwrap());
            let second = second.spawn().unwrap();
            input.write_all(b"def").await.unwrap();
            drop(input);
            let output = second.wait_with_output().await.unwrap();
            assert_eq!(after_mark(&output.stdout), b"bcdef");
            assert!(first.wait().await.unwrap().success());

            // And the other way round: one child reads what the other writes.
            let mut last = copier().spawn().unwrap();
            let mut speaks = child("speak");
            let input = last.stdin.take().unwrap().into_stdio().unwrap();
            speaks.stdout(input).stderr(Stdio::null());
            assert_eq!(speaks.status().await.unwrap().code(), Some(3));
            drop(speaks); // it holds the pipe, too
            let output = last.wait_with_output().await.unwrap();
            assert!(output.stdout.ends_with(b"out"));
        });
    });
}

#[test]
fn a_dropped_one_runs_on_unless_it_is_to_be_killed() {
    within_deadline(|| {
        run(async {
            for kill in [false, true] {
                let mut child = copier().kill_on_drop(kill).spawn().unwrap();
                begin(&child).await;
                let (input, out) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
                drop(child);
                if !kill {
                    input.write_all(b"abc").await.unwrap();
                    let mut three = [0; 3];
                    out.read_exact(&mut three).await.unwrap();
                    assert_eq!(&three, b"abc");
                    drop(input);
                }
                // When the child ends, its output is closed.
                assert_eq!(out.read(&mut [0; 8]).await.unwrap(), 0);
            }
        });
    });
}

#[test]
fn nobody_reads_what_is_written() {
    within_deadline(|| {
        run(async {
            let mut command = child("read one");
            command.stdin(Stdio::piped()).stdout(Stdio::null());
            let mut child = command.spawn().unwrap();
            let input = child.stdin.take().unwrap();
            let error = loop {
                if let Err(error) = input.write_all(&[0; 4096]).await {
                    break error;
                }
            };
            assert_eq!(error.kind(), ErrorKind::BrokenPipe, "{error}");
            assert!(child.wait().await.unwrap().success());
        });
    });
}

#[test]
fn many_at_once() {
    within_deadline(|| {
        run(async {
            let tasks = (0..16_u64).map(|n| {
                spawn(async move {
                    let mut child = copier().spawn().unwrap();
                    let input = child.stdin.take().unwrap();
                    input.write_all(&n.to_le_bytes()).await.unwrap();
                    drop(input);
                    let output = child.wait_with_output().await.unwrap();
                    assert!(output.status.success());
                    assert_eq!(after_mark(&output.stdout), n.to_le_bytes());
                })
            });
            for task in join_all(tasks.collect::<Vec<_>>()).await {
                task.unwrap();
            }
        });
    });
}
