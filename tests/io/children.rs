//! Child processes: many at once, killed, dropped, reaped by other code; and no zombies.

use std::io::ErrorKind;
use std::os::unix::process::ExitStatusExt;
use std::process::Stdio;
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, WaitId, WaitIdOptions, kill_process_group, waitid};
use trefoil::io::{Child, Command, Signal};
use trefoil::time::timeout;
use trefoil::{EventLoop, join_all, run, spawn, yield_now};

use crate::support::{
    LONG, alone, count_fds, no_children, nothing_left, wait_until, within_deadline,
};

const MOMENT: Duration = Duration::from_millis(20);

fn sleeper() -> Command {
    let mut command = Command::new("sleep");
    command.arg("600").stdin(Stdio::null());
    command
}

fn shell(script: &str) -> Command {
    let mut command = Command::new("sh");
    command.args(["-c", script]).stdin(Stdio::null());
    command
}

#[test]
fn a_thousand_children_at_once_with_pipes() {
    alone(
        "children::a_thousand_children_at_once_with_pipes",
        "ulimit -n 8192",
        || {
            const CHILDREN: usize = 1000;
            let before = count_fds();
            run(async {
                // All run until they have read a line.
                let mut children = Vec::new();
                for n in 0..CHILDREN {
                    let mut command = Command::new("cat");
                    command.stdin(Stdio::piped()).stdout(Stdio::piped());
                    let child = command.spawn().unwrap();
                    children.push((n, child));
                }
                let tasks: Vec<_> = children
                    .into_iter()
                    .map(|(n, mut child)| {
                        spawn(async move {
                            let input = child.stdin.take().unwrap();
                            input.write_all(&n.to_le_bytes()).await.unwrap();
                            drop(input);
                            let output = child.wait_with_output().await.unwrap();
                            assert!(output.status.success());
                            assert_eq!(output.stdout, n.to_le_bytes());
                        })
                    })
                    .collect();
                for task in join_all(tasks).await {
                    task.unwrap();
                }
            });
            assert!(no_children());
            nothing_left(before);
        },
    );
}

#[test]
fn waiting_again_killing_again_and_after_one_another() {
    alone(
        "children::waiting_again_killing_again_and_after_one_another",
        "",
        || {
            let before = count_fds();
            run(async {
                let mut child = shell("exit 7").spawn().unwrap();
                for _ in 0..3 {
                    assert_eq!(child.wait().await.unwrap().code(), Some(7));
                    assert_eq!(child.try_wait().unwrap().unwrap().code(), Some(7));
                }
                child.kill().unwrap();
                assert_eq!(child.wait().await.unwrap().code(), Some(7));

                let mut child = sleeper().spawn().unwrap();
                assert!(child.try_wait().unwrap().is_none());
                for _ in 0..3 {
                    // The wait is dropped, and nothing is lost.
                    assert!(timeout(MOMENT, child.wait()).await.is_err());
                }
                child.kill().unwrap();
                child.kill().unwrap();
                let status = timeout(LONG, child.wait()).await.unwrap().unwrap();
                assert_eq!(status.signal(), Some(9));
                child.kill().unwrap();
                assert_eq!(child.wait().await.unwrap(), status);

                let mut child = sleeper().spawn().unwrap();
                // One rule for what is sent and what is received.
                for none in [i32::MIN, -1, 0, 32, 33, 65, 1000] {
                    let sent = child.send_signal(none).unwrap_err();
                    let received = Signal::new(none).unwrap_err();
                    assert_eq!(sent.kind(), ErrorKind::InvalidInput, "{none}");
                    assert_eq!(received.kind(), ErrorKind::InvalidInput, "{none}");
                    let (sent, received) = (sent.to_string(), received.to_string());
                    let reserved = matches!(none, 32 | 33);
                    assert_eq!(sent.contains("C library"), reserved, "{sent}");
                    assert_eq!(received.contains("C library"), reserved, "{received}");
                }
                child.send_signal(Signal::TERM).unwrap();
                assert_eq!(child.wait().await.unwrap().signal(), Some(15));
                for real_time in [libc::SIGRTMIN(), libc::SIGRTMIN() + 3, libc::SIGRTMAX()] {
                    drop(Signal::new(real_time).unwrap());
                    let mut child = sleeper().spawn().unwrap();
                    child.send_signal(real_time).unwrap();
                    assert_eq!(child.wait().await.unwrap().signal(), Some(real_time));
                }

                // Killed when it has already ended.
                let mut child = Command::new("true").spawn().unwrap();
                let pid = child.id();
                wait_until("its end", || is_zombie(pid));
                child.kill().unwrap();
                assert!(child.wait().await.unwrap().success());
                let core = shell("kill -ABRT $$").status().await.unwrap();
                assert_eq!(core.signal(), Some(6));
            });
            nothing_left(before);
        },
    );
}

fn is_zombie(pid: u32) -> bool {
    if !cfg!(target_os = "linux") {
        let mut ps = std::process::Command::new("ps");
        let said = ps.args(["-o", "stat=", "-p", &pid.to_string()]).output();
        return said.unwrap().stdout.trim_ascii_start().starts_with(b"Z");
    }
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(')')
        .is_some_and(|(_, rest)| rest.trim_start().starts_with('Z'))
}

#[test]
fn a_dropped_child_leaves_no_zombie_wherever_it_is_dropped() {
    alone(
        "children::a_dropped_child_leaves_no_zombie_wherever_it_is_dropped",
        "",
        || {
            let before = count_fds();
            // Never waited for; waited for until a timeout; ended without being waited for.
            run(async {
                drop(shell("sleep 0.1").spawn().unwrap());
                let mut child = shell("sleep 0.1").spawn().unwrap();
                assert!(timeout(Duration::ZERO, child.wait()).await.is_err());
                drop(child);
                let child = Command::new("true").spawn().unwrap();
                let pid = child.id();
                wait_until("its end", || is_zombie(pid));
                drop(child);
            });
            nothing_left(before);
            // Without any loop, and on another thread than its loop's.
            drop(shell("sleep 0.1").spawn().unwrap());
            let mut child = shell("sleep 0.1").spawn().unwrap();
            run(async {
                assert!(timeout(Duration::ZERO, child.wait()).await.is_err());
                let child = std::mem::replace(&mut child, sleeper().spawn().unwrap());
                thread::spawn(move || drop(child)).join().unwrap();
            });
            child.kill().unwrap();
            drop(child);
            nothing_left(before);
            // The loop ends while they run.
            run(async {
                for _ in 0..20 {
                    let mut child = sleeper().kill_on_drop(true).spawn().unwrap();
                    spawn(async move { child.wait().await }).detach();
                }
                yield_now().await;
            });
            nothing_left(before);
            // Many of them, while the reaper's thread starts and ends.
            for _ in 0..100 {
                drop(Command::new("true").spawn().unwrap());
                drop(sleeper().kill_on_drop(true).spawn().unwrap());
            }
            nothing_left(before);
            // Without `kill_on_drop` it goes on running.
            let child = sleeper().spawn().unwrap();
            let pid = Pid::from_raw(child.id() as i32).unwrap();
            drop(child);
            rustix::process::test_kill_process(pid).unwrap();
            assert!(!no_children());
            rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
            nothing_left(before);
        },
    );
}

#[test]
fn pipes_that_end_before_the_child_and_after_it() {
    alone(
        "children::pipes_that_end_before_the_child_and_after_it",
        "",
        || {
            let before = count_fds();
            run(async {
                // The child closes all three streams, and continues.
                let mut child = Command::new("sh")
                    .args(["-c", "exec 0<&- 1>&- 2>&-; sleep 0.2; exit 5"])
                    .stdin(Stdio::piped())
                    .stdout(Stdio::piped())
                    .stderr(Stdio::piped())
                    .spawn()
                    .unwrap();
                let mut buffer = [0; 8];
                let stdout = child.stdout.take().unwrap();
                assert_eq!(stdout.read(&mut buffer).await.unwrap(), 0);
                assert_eq!(
                    child
                        .stderr
                        .as_ref()
                        .unwrap()
                        .read(&mut buffer)
                        .await
                        .unwrap(),
                    0
                );
                let stdin = child.stdin.take().unwrap();
                let error = loop {
                    if let Err(error) = stdin.write_all(&[0; 4096]).await {
                        break error;
                    }
                };
                assert_eq!(error.kind(), ErrorKind::BrokenPipe);
                assert_eq!(child.wait().await.unwrap().code(), Some(5));

                // A grandchild inherits the pipe, and keeps it open.
                let mut child = shell("sleep 600 & echo here")
                    .stdout(Stdio::piped())
                    .process_group(0)
                    .spawn()
                    .unwrap();
                assert!(
                    timeout(LONG, child.wait())
                        .await
                        .unwrap()
                        .unwrap()
                        .success()
                );
                let stdout = child.stdout.take().unwrap();
                assert_eq!(stdout.read(&mut buffer).await.unwrap(), 5);
                assert!(timeout(MOMENT, stdout.read(&mut buffer)).await.is_err());
                let group = Pid::from_raw(child.id() as i32).unwrap();
                kill_process_group(group, rustix::process::Signal::KILL).unwrap();
                assert_eq!(
                    timeout(LONG, stdout.read(&mut buffer))
                        .await
                        .unwrap()
                        .unwrap(),
                    0
                );

                // `wait` closes the child's input.
                let mut child = Command::new("cat")
                    .stdin(Stdio::piped())
                    .stdout(Stdio::null())
                    .spawn()
                    .unwrap();
                assert!(
                    timeout(LONG, child.wait())
                        .await
                        .unwrap()
                        .unwrap()
                        .success()
                );

                // More than the pipes hold, on both at once.
                let big = shell("head -c 1000000 /dev/zero & head -c 1000000 /dev/zero >&2; wait")
                    .output()
                    .await
                    .unwrap();
                assert_eq!((big.stdout.len(), big.stderr.len()), (1_000_000, 1_000_000));
                // Its input is given while its output is taken.
                let mut child = Command::new("cat")
                    .stdin(Stdio::piped())
                    .stdout(Stdio::piped())
                    .spawn()
                    .unwrap();
                let input = child.stdin.take().unwrap();
                let writing = spawn(async move { input.write_all(&vec![1; 1_000_000]).await });
                let output = child.wait_with_output().await.unwrap();
                writing.await.unwrap().unwrap();
                assert_eq!(output.stdout.len(), 1_000_000);
            });
            nothing_left(before);
        },
    );
}

#[test]
fn a_status_that_other_code_has_collected() {
    alone(
        "children::a_status_that_other_code_has_collected",
        "",
        || {
            let before = count_fds();
            run(async {
                let mut child = shell("sleep 0.2; exit 4").spawn().unwrap();
                // The host program waits for any child, as old code does.
                let thief = thread::spawn(|| {
                    waitid(WaitId::All, WaitIdOptions::EXITED)
                        .unwrap()
                        .unwrap()
                        .exit_status()
                });
                assert!(timeout(MOMENT, child.wait()).await.is_err());
                assert_eq!(thief.join().unwrap(), Some(4));
                let error = timeout(LONG, child.wait()).await.unwrap().unwrap_err();
                assert_eq!(error.kind(), ErrorKind::NotFound);
                assert!(error.to_string().contains("is lost"), "{error}");
                assert!(child.wait().await.is_err());
                assert!(child.try_wait().is_err());
                child.kill().unwrap();
            });
            nothing_left(before);
        },
    );
}

#[test]
fn a_host_that_ignores_its_children() {
    alone(
        "children::a_host_that_ignores_its_children",
        // By `env`: a shell cannot be made to ignore this signal.
        "exec env --ignore-signal=CHLD \"$0\" --nocapture --test-threads 1 \
         --exact children::a_host_that_ignores_its_children",
        || {
            let status = std::fs::read_to_string("/proc/self/status").unwrap();
            let ignored = status
                .lines()
                .find_map(|line| line.strip_prefix("SigIgn:"))
                .unwrap();
            let ignored = u64::from_str_radix(ignored.trim(), 16).unwrap();
            assert!(
                ignored >> 16 & 1 == 1,
                "it is not ignored: the test tests nothing"
            );
            run(async {
                for _ in 0..10 {
                    let mut child = shell("sleep 0.05").spawn().unwrap();
                    let error = timeout(LONG, child.wait()).await.unwrap().unwrap_err();
                    assert_eq!(error.kind(), ErrorKind::NotFound);
                }
                let mut child = sleeper().spawn().unwrap();
                child.kill().unwrap();
                assert!(timeout(LONG, child.wait()).await.unwrap().is_err());
                // Its output is read all the same.
                let mut child = shell("echo abc").stdout(Stdio::piped()).spawn().unwrap();
                let mut text = String::new();
                let stdout = child.stdout.take().unwrap();
                stdout.read_to_string(&mut text).await.unwrap();
                assert_eq!(text, "abc\n");
            });
        },
    );
}

#[test]
fn a_child_belongs_to_the_loop_that_waited_first() {
    within_deadline(|| {
        let mut child: Child = sleeper().spawn().unwrap();
        let event_loop = EventLoop::new().unwrap();
        event_loop.block_on(async {
            assert!(timeout(MOMENT, child.wait()).await.is_err());
        });
        let error = run(child.wait()).unwrap_err();
        assert!(error.to_string().contains("another event loop"), "{error}");
        child.kill().unwrap();
        let status = event_loop.block_on(child.wait()).unwrap();
        assert_eq!(status.signal(), Some(9));
        let refused = Command::new("/there/is/no/such/program")
            .spawn()
            .unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::NotFound);
        let refused = run(Command::new("/").output()).unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::PermissionDenied);
    });
}

#[test]
fn no_descriptor_left_for_a_child() {
    alone(
        "children::no_descriptor_left_for_a_child",
        "ulimit -n 40",
        || {
            run(async {
                // The loop has its descriptors already; watching a child needs one more.
                let mut taken = Vec::new();
                while let Ok(file) = std::fs::File::open("/dev/null") {
                    taken.push(file);
                }
                // Starting a child needs a few descriptors for a moment; without them it fails with
                // a message.
                let error = sleeper().spawn().unwrap_err();
                assert_eq!(error.raw_os_error(), Some(24));
                taken.truncate(taken.len() - 4);
                let clock = Instant::now();
                let mut child = sleeper().spawn().unwrap();
                child.kill().unwrap();
                assert_eq!(child.wait().await.unwrap().signal(), Some(9));
                assert!(clock.elapsed() < LONG);
            });
        },
    );
}

/// A writer may put a pipe into packet mode: a read then stops at the end of a packet, although
/// more packets are there, and no event reports them.
#[cfg(target_os = "linux")] // elsewhere there is no such mode
#[test]
fn a_read_that_stops_at_a_packet_is_not_the_last() {
    use rustix::fs::{OFlags, fcntl_setfl};
    use std::io::Write;
    within_deadline(|| {
        run(async {
            let mut command = sleeper();
            command.stdout(Stdio::piped()).kill_on_drop(true);
            let mut child = command.spawn().unwrap();
            let output = child.stdout.take().unwrap();
            let path = format!("/proc/{}/fd/1", child.id());
            let mut options = std::fs::OpenOptions::new();
            let mut packets = options.write(true).open(path).unwrap();
            fcntl_setfl(&packets, OFlags::DIRECT).unwrap();
            let mut buffer = [0; 64];
            for watched in [false, true] {
                if watched {
                    assert!(timeout(MOMENT, output.read(&mut buffer)).await.is_err());
                }
                packets.write_all(b"one").unwrap();
                packets.write_all(b"and two").unwrap();
                for expected in [3, 7] {
                    let read = timeout(LONG, output.read(&mut buffer)).await;
                    assert_eq!(read.unwrap().unwrap(), expected);
                }
            }
        });
    });
}
