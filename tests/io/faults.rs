//! Host programs that interfere with their descriptors, pipes and children; a system that refuses
//! threads; a peer that is silent.

use std::future::poll_fn;
use std::io::{ErrorKind, IoSlice, IoSliceMut, Write, pipe};
use std::os::fd::{AsFd, AsRawFd};
use std::path::Path;
use std::pin::{Pin, pin};
use std::process::Stdio;
use std::sync::mpsc;
use std::task::Poll;
use std::thread;
use std::time::{Duration, Instant};

use futures_io::{AsyncRead, AsyncWrite};
use rustix::process::{Signal as Raw, kill_process};
use trefoil::io::{
    self, AsyncFd, Command, Signal, TcpListener, TcpStream, UdpSocket, UnixListener, UnixStream,
    ctrl_c, fs, lookup_host, stdin,
};
use trefoil::time::{sleep, timeout};
use trefoil::{Completer, TaskError, join_all, run, spawn, yield_now};

use crate::handlers::{host_sets, raise};
use crate::support::{
    LONG, alone, count_fds, count_threads, no_children, nothing_left, pair, wait_until,
    within_deadline,
};
#[cfg(target_os = "linux")]
use crate::support::{ONE_HEAP, fifo, poll_once, threads_are_refused};

const MOMENT: Duration = Duration::from_millis(10);

#[test]
fn a_number_that_was_watched_before_can_be_watched_again() {
    alone(
        "faults::a_number_that_was_watched_before_can_be_watched_again",
        "",
        || {
            run(async {
                for elsewhere in [false, true] {
                    let (near, far) = UnixStream::pair().unwrap();
                    assert!(timeout(MOMENT, near.read(&mut [0; 8])).await.is_err());
                    // A duplicate keeps the connection open, and the number is free.
                    let number = near.as_raw_fd();
                    let kept = near.as_fd().try_clone_to_owned().unwrap();
                    if elsewhere {
                        thread::spawn(move || drop(near)).join().unwrap();
                    } else {
                        drop(near);
                    }
                    let again = kept.try_clone().unwrap();
                    assert_eq!(again.as_raw_fd(), number, "the test tests nothing");
                    let again = std::os::unix::net::UnixStream::from(again);
                    let again = UnixStream::try_from(again).unwrap();
                    assert!(timeout(MOMENT, again.read(&mut [0; 8])).await.is_err());
                    let reading = spawn(async move { again.read(&mut [0; 8]).await });
                    yield_now().await;
                    far.write_all(b"abc").await.unwrap();
                    assert_eq!(timeout(LONG, reading).await.unwrap().unwrap().unwrap(), 3);
                }
            });
        },
    );
}

#[test]
fn a_write_without_a_reader_where_the_signal_is_not_ignored() {
    alone(
        "faults::a_write_without_a_reader_where_the_signal_is_not_ignored",
        "",
        || {
            host_sets(Signal::PIPE, libc::SIG_DFL);
            run(async {
                let many = vec![IoSlice::new(b"x"); 3000];
                let (tcp, far) = pair().await;
                drop(far);
                while tcp.write(b"x").await.is_ok() {
                    sleep(MOMENT).await;
                }
                let (unix, far) = UnixStream::pair().unwrap();
                // More slices than the system takes at once.
                assert_eq!(write(&unix, &many).await.unwrap(), 1024);
                drop(far);
                for (tcp, unix) in [
                    (tcp.write(b"x").await, unix.write(b"x").await),
                    (write(&tcp, &many).await, write(&unix, &many).await),
                ] {
                    assert_eq!(tcp.unwrap_err().kind(), ErrorKind::BrokenPipe);
                    assert_eq!(unix.unwrap_err().kind(), ErrorKind::BrokenPipe);
                }
            });
        },
    );
}

async fn write(
    mut stream: impl AsyncWrite + Unpin,
    slices: &[IoSlice<'_>],
) -> std::io::Result<usize> {
    poll_fn(|cx| Pin::new(&mut stream).poll_write_vectored(cx, slices)).await
}

async fn read(
    mut stream: impl AsyncRead + Unpin,
    buffers: &mut [IoSliceMut<'_>],
) -> std::io::Result<usize> {
    poll_fn(|cx| Pin::new(&mut stream).poll_read_vectored(cx, buffers)).await
}

#[test]
fn nothing_in_front_is_not_the_end() {
    within_deadline(|| {
        run(async {
            // More empty slices come first than the system takes at once.
            let mut out = vec![IoSlice::new(b""); 1500];
            out.push(IoSlice::new(b"abc"));
            let (tcp, other) = pair().await;
            let (unix, far) = UnixStream::pair().unwrap();
            assert_eq!(write(&tcp, &out).await.unwrap(), 3);
            assert_eq!(write(&unix, &out).await.unwrap(), 3);
            let mut room = [0; 8];
            let into = || (0..1500).map(|_| IoSliceMut::new(&mut []));
            let mut buffers: Vec<_> = into().chain([IoSliceMut::new(&mut room)]).collect();
            assert_eq!(read(&other, &mut buffers).await.unwrap(), 3);
            assert_eq!(read(&far, &mut buffers).await.unwrap(), 3);
        });
    });
}

#[test]
fn messages_between_children_do_not_wake_the_loop() {
    alone(
        "faults::messages_between_children_do_not_wake_the_loop",
        "",
        || {
            run(async {
                // The child ends at some time, whatever happens to this test.
                let talk = "for n in $(seq 1000); do echo; sleep 0.01; done";
                let mut said = Command::new("sh");
                said.args(["-c", talk])
                    .stdout(Stdio::piped())
                    .kill_on_drop(true);
                let mut speaker = said.spawn().unwrap();
                let pipe = speaker.stdout.take().unwrap();
                // We have listened for a while, and waited for more.
                for _ in 0..3 {
                    pipe.read(&mut [0; 64]).await.unwrap();
                }
                let mut cat = Command::new("cat");
                cat.stdin(pipe.into_stdio().unwrap()).stdout(Stdio::null());
                let _listener = cat.kill_on_drop(true).spawn().unwrap();
                let me = std::fs::read_link("/proc/thread-self").unwrap();
                let me = Path::new("/proc").join(me);
                let (tell, told) = mpsc::channel();
                let watcher = thread::spawn(move || {
                    told.recv().unwrap();
                    // There must soon be a window in which the loop sleeps all the time.
                    wait_until("300 ms of nothing", || {
                        let before = switches_of(&me);
                        thread::sleep(Duration::from_millis(300));
                        switches_of(&me) == before
                    });
                });
                let (done, watched) = Completer::<()>::new();
                thread::spawn(move || {
                    watcher.join().unwrap();
                    done.complete(Ok(()));
                });
                tell.send(()).unwrap();
                watched.await.unwrap();
                let spoke_on = speaker.try_wait().unwrap().is_none();
                assert!(spoke_on, "no rest before it had ended");
            });
            wait_until("the end of all children", no_children);
        },
    );
}

/// How often this thread was switched away from so far, voluntarily or not.
fn switches_of(task: &Path) -> u64 {
    std::fs::read_to_string(task.join("status"))
        .unwrap_or_default()
        .lines()
        .filter(|line| line.contains("voluntary_ctxt_switches:"))
        .filter_map(|line| line.split(':').nth(1))
        .map(|count| count.trim().parse::<u64>().unwrap())
        .sum()
}

/// Those of every other thread of this process.
fn switches() -> u64 {
    let me = std::fs::read_link("/proc/thread-self").unwrap();
    std::fs::read_dir("/proc/self/task")
        .unwrap()
        .map(|task| task.unwrap().path())
        .filter(|task| task.file_name() != me.file_name())
        .map(|task| switches_of(&task))
        .sum()
}

#[test]
fn waits_of_all_kinds_at_once_wake_and_delay_nothing() {
    alone(
        "faults::waits_of_all_kinds_at_once_wake_and_delay_nothing",
        "",
        || {
            let (tell, told) = mpsc::channel();
            let (stop, stopped) = Completer::<()>::new();
            let name = format!("trefoil-faults-{}", std::process::id());
            let place = std::env::temp_dir().join(name);
            std::fs::create_dir(&place).unwrap();
            let fifo = place.join("fifo");
            let made = std::process::Command::new("mkfifo").arg(&fifo).status();
            assert!(made.unwrap().success());
            let socket = place.join("socket");
            let (input, _kept) = pipe().unwrap();
            rustix::stdio::dup2_stdin(&input).unwrap();
            let before = count_fds();
            let looping = thread::spawn(move || {
                run(async move {
                    // Both are readable for ever: a task has waited for the first one once, and for
                    // the other never.
                    let (asked, mut writer) = pipe().unwrap();
                    let asked = AsyncFd::new(asked).unwrap();
                    assert!(timeout(MOMENT, asked.readable()).await.is_err());
                    writer.write_all(b"x").unwrap();
                    asked.readable().await.unwrap();
                    let (unasked, mut other) = pipe().unwrap();
                    let unasked = AsyncFd::new(unasked).unwrap();
                    other.write_all(b"x").unwrap();
                    let hangup = Signal::new(Signal::HUP).unwrap();
                    assert!(timeout(MOMENT, hangup.recv()).await.is_err());
                    raise(Raw::HUP);
                    let udp = UdpSocket::bind("127.0.0.1:0").await.unwrap();
                    assert!(timeout(MOMENT, udp.recv(&mut [0])).await.is_err());
                    udp.send_to(b"x", udp.local_addr().unwrap()).await.unwrap();
                    // What never comes.
                    let tcp = TcpListener::bind("127.0.0.1:0").await.unwrap();
                    spawn(async move { tcp.accept().await.map(drop) }).detach();
                    let unix = UnixListener::bind(&socket).await.unwrap();
                    spawn(async move { unix.accept().await.map(drop) }).detach();
                    spawn(async move { fs::read(&fifo).await }).detach();
                    spawn(async { stdin().read(&mut [0; 8]).await }).detach();
                    spawn(ctrl_c()).detach();
                    let mut sleeper = Command::new("sleep");
                    sleeper.arg("600").stdin(Stdio::null()).kill_on_drop(true);
                    spawn(sleeper.status()).detach();
                    spawn(sleeper.output()).detach();
                    let orphan = sleeper.kill_on_drop(false).spawn().unwrap();
                    tell.send(orphan.id()).unwrap();
                    drop(orphan);
                    let _ = stopped.await;
                    drop((asked, writer, unasked, other, hangup, udp));
                });
            });
            let orphan = told.recv().unwrap();
            wait_until("300 ms of nothing", || {
                let before = switches();
                thread::sleep(Duration::from_millis(300));
                switches() == before
            });
            let clock = Instant::now();
            stop.complete(Ok(()));
            looping.join().unwrap();
            assert!(clock.elapsed() < Duration::from_secs(10));
            let orphan = rustix::process::Pid::from_raw(orphan as i32).unwrap();
            kill_process(orphan, Raw::KILL).unwrap();
            nothing_left(before);
            std::fs::remove_dir_all(&place).unwrap();
        },
    );
}

#[test]
fn two_hundred_children_of_temporary_commands() {
    within_deadline(|| {
        run(async {
            let tasks: Vec<_> = (0..200)
                .map(|n| {
                    spawn(
                        Command::new("sh")
                            .args(["-c", &format!("echo {n}")])
                            .output(),
                    )
                })
                .collect();
            for (n, task) in join_all(tasks).await.into_iter().enumerate() {
                assert_eq!(task.unwrap().unwrap().stdout, format!("{n}\n").into_bytes());
            }
            let failed = Command::new("false").status();
            assert_eq!(failed.await.unwrap().code(), Some(1));
            let nowhere = Command::new("true").current_dir("/no/such").output();
            assert_eq!(nowhere.await.unwrap_err().kind(), ErrorKind::NotFound);
        });
    });
}

#[test]
#[cfg_attr(target_env = "musl", ignore = "musl needs descriptors to start one")]
fn children_without_descriptors_leave_no_zombies() {
    alone(
        "faults::children_without_descriptors_leave_no_zombies",
        "ulimit -n 40",
        || {
            let before = count_fds();
            run(async {
                let mut taken = Vec::new();
                while let Ok(file) = std::fs::File::open("/dev/null") {
                    taken.push(file);
                }
                // They share our streams, so starting them needs no descriptor for a pipe.
                let ends = Command::new("sleep").arg("0.2").spawn().unwrap();
                let killed = Command::new("sleep")
                    .arg("600")
                    .kill_on_drop(true)
                    .spawn()
                    .unwrap();
                drop((ends, killed));
                let clock = Instant::now();
                while !no_children() {
                    assert!(clock.elapsed() < LONG);
                    sleep(MOMENT).await;
                }
                // Others are started when there are descriptors again, while one of these still
                // runs.
                drop(Command::new("sleep").arg("0.3").spawn().unwrap());
                drop(taken);
                drop(Command::new("sleep").arg("0.1").spawn().unwrap());
            });
            nothing_left(before);
        },
    );
}

/// Operations that need a thread fail with a message that says why there is none.
#[test]
fn files_and_names_without_threads_say_so() {
    alone("faults::files_and_names_without_threads_say_so", "", || {
        // There is no room for another stack.
        let used = std::fs::read_to_string("/proc/self/statm").unwrap();
        let pages: u64 = used.split(' ').next().unwrap().parse().unwrap();
        let room = pages * rustix::param::page_size() as u64 + (1 << 20);
        let limit = rustix::process::Rlimit {
            current: Some(room),
            maximum: None,
        };
        rustix::process::setrlimit(rustix::process::Resource::As, limit).unwrap();
        let (tell, reports) = mpsc::channel();
        trefoil::on_unobserved(move |report| tell.send(report.to_string()).unwrap());
        run(async {
            let mut file = fs::File::from(std::fs::File::open("/proc/self/stat").unwrap());
            for error in [
                fs::read("/proc/self/stat").await.unwrap_err(),
                file.read(&mut [0; 8]).await.unwrap_err(),
                lookup_host("localhost:80").await.unwrap_err(),
            ] {
                let said = error.to_string();
                assert!(said.contains("refused to start"), "{said}");
                assert!(said.contains("os error"), "{said}");
                // Not `WouldBlock`: futures-io's traits forbid that.
                assert_eq!(error.kind(), ErrorKind::ResourceBusy, "{said}");
            }
        });
        // A caller that gets the error needs no report beside it.
        assert_eq!(reports.try_iter().collect::<Vec<_>>(), [""; 0]);
    });
}

/// No other call comes that would ask for a thread: the loop does.
#[cfg(target_os = "linux")]
#[test]
fn a_call_behind_a_stuck_one_is_made_when_there_are_threads_again() {
    alone(
        "faults::a_call_behind_a_stuck_one_is_made_when_there_are_threads_again",
        ONE_HEAP,
        || {
            let path = fifo("behind");
            run(async {
                let stuck = spawn(fs::File::open(path.clone()));
                while io::stats().files.busy == 0 || io::stats().files.waiting > 0 {
                    sleep(MOMENT).await;
                }
                threads_are_refused(true);
                let mut reads: Vec<_> = (0..3).map(|_| spawn(fs::read("/proc/stat"))).collect();
                assert!(timeout(10 * MOMENT, &mut reads[0]).await.is_err());
                assert_eq!(io::stats().files.waiting, 3);
                threads_are_refused(false);
                for read in reads {
                    assert!(
                        !timeout(LONG, read)
                            .await
                            .unwrap()
                            .unwrap()
                            .unwrap()
                            .is_empty()
                    );
                }
                assert!(!stuck.is_finished());
                drop(std::fs::File::options().write(true).open(&path).unwrap());
                stuck.await.unwrap().unwrap();
            });
            std::fs::remove_file(path).unwrap();
        },
    );
}

/// Where no loop runs, a call is accepted only if somebody asks for a thread again.
#[cfg(target_os = "linux")]
#[test]
fn a_call_without_a_loop_is_made_later_or_refused() {
    alone(
        "faults::a_call_without_a_loop_is_made_later_or_refused",
        ONE_HEAP,
        || {
            let path = fifo("refused");
            let mut stuck = pin!(fs::File::open(path.clone()));
            assert!(poll_once(&mut stuck).is_pending());
            wait_until("the call begins", || io::stats().files.waiting == 0);
            threads_are_refused(true);
            let Poll::Ready(Err(error)) = poll_once(&mut pin!(fs::read("/proc/stat"))) else {
                panic!("nobody will ask for a thread");
            };
            assert_eq!(error.kind(), ErrorKind::ResourceBusy, "{error}");
            threads_are_refused(false);
            let mut alarm = pin!(timeout(LONG, std::future::pending::<()>()));
            assert!(poll_once(&mut alarm).is_pending());
            threads_are_refused(true);
            let mut read = pin!(fs::read("/proc/stat"));
            assert!(poll_once(&mut read).is_pending());
            thread::sleep(10 * MOMENT);
            assert!(poll_once(&mut read).is_pending());
            threads_are_refused(false);
            let start = Instant::now();
            let bytes = loop {
                match poll_once(&mut read) {
                    Poll::Ready(bytes) => break bytes,
                    Poll::Pending => assert!(start.elapsed() < LONG),
                }
                thread::sleep(MOMENT);
            };
            assert!(!bytes.unwrap().is_empty());
            drop(std::fs::File::options().write(true).open(&path).unwrap());
            std::fs::remove_file(path).unwrap();
        },
    );
}

#[cfg(target_os = "linux")]
#[test]
fn dropped_children_are_reaped_when_there_are_threads_again() {
    alone(
        "faults::dropped_children_are_reaped_when_there_are_threads_again",
        ONE_HEAP,
        || {
            run(async {
                let sleeper = |_| Command::new("sleep").arg("600").spawn().unwrap();
                let children: Vec<_> = (0..5).map(sleeper).collect();
                let ids: Vec<_> = children.iter().map(io::Child::id).collect();
                threads_are_refused(true);
                drop(children);
                for id in ids {
                    let id = rustix::process::Pid::from_raw(id as i32).unwrap();
                    kill_process(id, Raw::KILL).unwrap();
                }
                sleep(10 * MOMENT).await;
                assert!(!no_children(), "there is no thread that would reap them");
                threads_are_refused(false);
                let start = Instant::now();
                while !no_children() {
                    assert!(start.elapsed() < LONG);
                    sleep(MOMENT).await;
                }
            });
        },
    );
}

#[test]
fn a_silent_peer_is_given_up_and_leaves_nothing() {
    alone(
        "faults::a_silent_peer_is_given_up_and_leaves_nothing",
        "",
        || {
            let before = count_fds();
            run(async {
                let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
                // A queue that is full: the system lets further callers wait.
                rustix::net::listen(&listener, 0).unwrap();
                let address = listener.local_addr().unwrap();
                let mut queued = Vec::new();
                let open = loop {
                    let open = count_fds();
                    match timeout(Duration::from_millis(50), TcpStream::connect(address)).await {
                        Ok(stream) => queued.push(stream.unwrap()),
                        Err(error) => {
                            assert!(matches!(error, TaskError::TimedOut(_)));
                            break open;
                        }
                    }
                    assert!(queued.len() < 100);
                };
                assert_eq!(count_fds(), open);
                // A `connect` that waits in a task is cancelled.
                let waiting = spawn(TcpStream::connect(address));
                yield_now().await;
                assert_eq!(count_fds(), open + 1);
                waiting.cancel();
                yield_now().await;
                assert_eq!(count_fds(), open);
                // The listener of another is closed meanwhile.
                let waiting = spawn(TcpStream::connect(address));
                yield_now().await;
                drop(listener);
                let end = timeout(LONG, waiting).await.unwrap().unwrap();
                let kind = end.unwrap_err().kind();
                assert_eq!(kind, ErrorKind::ConnectionRefused);
                assert_eq!(count_threads("trefoil-helper"), 0);
            });
            assert_eq!(count_fds(), before);
        },
    );
}
