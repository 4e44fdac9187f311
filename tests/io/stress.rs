//! Ten thousand connections, peers that send a byte at a time, signals that interrupt every system
//! call. Each test is a separate process, and counts descriptors and threads at its end.

use std::cell::Cell;
use std::io::ErrorKind;
use std::process::Stdio;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use rustix::process::{Resource, getrlimit};
use trefoil::io::{
    AsyncFd, Command, Signal, TcpListener, TcpStream, UdpSocket, UnixStream, fs, lookup_host,
};
use trefoil::sync::Semaphore;
use trefoil::time::{interval, sleep, timeout};
use trefoil::{Task, TaskError, ThreadPool, join_all, run, spawn, yield_now};

use crate::handlers::host_handles;
use crate::support::{
    LONG, alone, count_fds, count_threads, echo, no_children, pair, wait_until, within_deadline,
};

/// Ten thousand, or as many as the system lets a process have.
fn as_many() -> usize {
    let limit = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    10_000.min(usize::try_from(limit).unwrap().saturating_sub(100))
}

/// The server is in this process, its clients in another, so each process needs one descriptor for
/// a connection.
#[test]
fn ten_thousand_connections_half_of_them_reset() {
    const NAME: &str = "stress::ten_thousand_connections_half_of_them_reset";
    const CALLERS: &str = "TREFOIL_CALLERS";
    let prelude = "ulimit -n 10200 || ulimit -n $(ulimit -Hn)";
    alone(NAME, prelude, || match std::env::var(CALLERS) {
        Ok(server) => call(&server),
        Err(_) => {
            let before = count_fds();
            run(async {
                let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
                let mut callers = Command::new(std::env::current_exe().unwrap());
                callers
                    .args(["--exact", NAME, "--nocapture"])
                    .env(CALLERS, listener.local_addr().unwrap().to_string())
                    .stdin(Stdio::null());
                let callers = spawn(callers.status());
                let mut served = Vec::new();
                for _ in 0..as_many() {
                    let (stream, _) = listener.accept().await.unwrap();
                    served.push(spawn(echo(stream)));
                }
                for served in served {
                    served.await.unwrap();
                }
                assert!(callers.await.unwrap().unwrap().success());
            });
            assert_eq!(count_fds(), before);
            assert!(no_children());
        }
    });
}

fn call(server: &str) {
    let before = count_fds();
    let address: std::net::SocketAddr = server.parse().unwrap();
    run(async {
        let permits = Rc::new(Semaphore::new(500));
        let met = Rc::new(Cell::new(0));
        let callers: Vec<_> = (0..as_many())
            .map(|n| {
                let (permits, met) = (permits.clone(), met.clone());
                spawn(async move {
                    let permit = permits.acquire().await;
                    let stream = TcpStream::connect(address).await.unwrap();
                    drop(permit);
                    let message = (n as u64).to_le_bytes();
                    let mut answer = [0; 8];
                    let ask = async |answer: &mut [u8; 8]| {
                        stream.write_all(&message).await.unwrap();
                        stream.read_exact(answer).await.unwrap();
                        assert_eq!(*answer, message);
                    };
                    ask(&mut answer).await;
                    met.set(met.get() + 1);
                    while met.get() < as_many() {
                        sleep(Duration::from_millis(20)).await;
                    }
                    if n % 2 == 0 {
                        // In the middle of an answer: a close with this option is a reset.
                        stream.write_all(&message).await.unwrap();
                        stream.set_zero_linger().unwrap();
                        return false;
                    }
                    ask(&mut answer).await;
                    true
                })
            })
            .collect();
        let mut whole = 0;
        for caller in callers {
            whole += usize::from(caller.await.unwrap());
        }
        assert_eq!(whole, as_many() / 2);
    });
    assert_eq!(count_fds(), before);
}

/// Clients that send one byte now and then and never finish: each is dropped after its timeout, and
/// no other client waits for them.
#[test]
fn a_slow_loris_does_not_delay_other_clients() {
    alone(
        "stress::a_slow_loris_does_not_delay_other_clients",
        "ulimit -n 1024",
        || {
            const SLOW: usize = 300;
            let before = count_fds();
            run(async {
                let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
                let address = listener.local_addr().unwrap();
                let given_up = Rc::new(Cell::new(0));
                let count = given_up.clone();
                let server = spawn(async move {
                    loop {
                        let (stream, _) = listener.accept().await.unwrap();
                        let count = count.clone();
                        let serve = async move {
                            let mut request = Vec::new();
                            let mut piece = [0; 64];
                            let whole = timeout(Duration::from_millis(400), async {
                                while !request.ends_with(b"\n\n") {
                                    match stream.read(&mut piece).await {
                                        Ok(read @ 1..) => {
                                            request.extend_from_slice(&piece[..read]);
                                        }
                                        _ => return,
                                    }
                                }
                                let _ = stream.write_all(b"welcome").await;
                            });
                            if whole.await.is_err() {
                                count.set(count.get() + 1);
                            }
                        };
                        spawn(serve).detach();
                    }
                });
                let slow: Vec<_> = (0..SLOW)
                    .map(|_| {
                        spawn(async move {
                            let stream = TcpStream::connect(address).await.unwrap();
                            let mut beat = interval(Duration::from_millis(25));
                            loop {
                                beat.tick().await;
                                if let Err(error) = stream.write_all(b"x").await {
                                    return error.kind();
                                }
                            }
                        })
                    })
                    .collect();
                for _ in 0..50 {
                    let stream = TcpStream::connect(address).await.unwrap();
                    stream.write_all(b"GET /\n\n").await.unwrap();
                    let mut answer = String::new();
                    stream.read_to_string(&mut answer).await.unwrap();
                    assert_eq!(answer, "welcome");
                }
                for slow in join_all(slow).await {
                    let kind = slow.unwrap();
                    let gone = [ErrorKind::BrokenPipe, ErrorKind::ConnectionReset];
                    assert!(gone.contains(&kind), "{kind:?}");
                }
                assert_eq!(given_up.get(), SLOW);
                assert!(server.cancel());
            });
            assert_eq!(count_fds(), before);
        },
    );
}

extern "C" fn nothing(_: libc::c_int) {}

/// Sends this thread one signal after another until it is dropped.
struct Storm(Arc<AtomicBool>, Option<thread::JoinHandle<u64>>);

impl Storm {
    #[allow(unsafe_code)]
    fn over_this_thread(signum: i32) -> Self {
        // SAFETY: it takes nothing and cannot fail.
        let target = unsafe { libc::pthread_self() } as usize; // a pointer in some C libraries
        let over = Arc::new(AtomicBool::new(false));
        let told = over.clone();
        let sender = thread::spawn(move || {
            let mut sent = 0;
            while !told.load(Ordering::Relaxed) {
                // SAFETY: the storm ends before the thread that it signals.
                assert_eq!(0, unsafe {
                    libc::pthread_kill(target as libc::pthread_t, signum)
                });
                sent += 1;
                thread::sleep(Duration::from_micros(60));
            }
            sent
        });
        Self(over, Some(sender))
    }

    fn end(mut self) -> u64 {
        self.0.store(true, Ordering::Relaxed);
        self.1.take().unwrap().join().unwrap()
    }
}

/// Every system call of the loop's thread is interrupted again and again: the host's handler is not
/// set to restart them, and ours is on top of it.
#[test]
fn interrupts_during_everything() {
    alone("stress::interrupts_during_everything", "", || {
        let before = count_fds();
        host_handles(Signal::INT, nothing as *const () as usize, 0);
        let pool = ThreadPool::with_threads(1);
        let sent = run(async {
            let interrupt = Signal::new(Signal::INT).unwrap();
            let storm = Storm::over_this_thread(Signal::INT);
            for _ in 0..20 {
                timeout(LONG, interrupt.recv()).await.unwrap().unwrap();
                everything(&pool).await;
            }
            storm.end()
        });
        assert!(sent > 100, "{sent}");
        assert!(no_children());
        drop(pool);
        wait_until("nothing is left", || {
            count_fds() <= before && count_threads("trefoil-helper") == 0
        });
    });
}

async fn everything(pool: &ThreadPool) {
    let (near, far) = pair().await;
    let answering = spawn(echo(far));
    let talking = spawn(async move {
        let (mut all, bytes) = (vec![0; 300_000], vec![5; 300_000]);
        let (reader, writer) = near.into_split();
        let writing = spawn(async move {
            writer.write_all(&bytes).await.unwrap();
        });
        reader.read_exact(&mut all).await.unwrap();
        writing.await.unwrap();
        assert!(all.iter().all(|byte| *byte == 5));
    });
    let children = spawn(async {
        for n in 0..3 {
            let mut command = Command::new("echo");
            let output = command.arg(n.to_string()).output().await.unwrap();
            assert_eq!(output.stdout, format!("{n}\n").into_bytes());
        }
    });
    let ticking = spawn(async {
        let mut beat = interval(Duration::from_millis(1));
        for _ in 0..10 {
            beat.tick().await;
        }
    });
    let files = spawn(async {
        let path = std::env::temp_dir().join(format!("trefoil-storm-{}", std::process::id()));
        fs::write(&path, "text").await.unwrap();
        assert_eq!(fs::read_to_string(&path).await.unwrap(), "text");
        fs::remove_file(&path).await.unwrap();
        assert!(!lookup_host("localhost:1").await.unwrap().is_empty());
    });
    let datagrams = spawn(async {
        let udp = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        udp.send_to(b"abc", udp.local_addr().unwrap())
            .await
            .unwrap();
        assert_eq!(udp.recv(&mut [0; 8]).await.unwrap(), 3);
        let (near, far) = UnixStream::pair().unwrap();
        near.write_all(b"abc").await.unwrap();
        far.read_exact(&mut [0; 3]).await.unwrap();
        assert!(AsyncFd::new(near).unwrap().writable().await.is_ok());
    });
    assert_eq!(pool.spawn(|| 7).await.unwrap(), 7);
    let all = join_all([talking, answering, children, ticking, files, datagrams]);
    for result in timeout(LONG, all).await.unwrap() {
        result.unwrap();
    }
}

/// One event wakes all tasks that wait for it; one of them gets the data, the others wait again,
/// and none is forgotten.
#[cfg(target_os = "linux")] // elsewhere there are no such counters
#[test]
fn a_herd_that_waits_for_one_descriptor() {
    use rustix::event::{EventfdFlags, eventfd};
    alone("stress::a_herd_that_waits_for_one_descriptor", "", || {
        const HERD: u64 = 100;
        let before = count_fds();
        run(async {
            let flags = EventfdFlags::NONBLOCK | EventfdFlags::CLOEXEC | EventfdFlags::SEMAPHORE;
            let counter = Rc::new(AsyncFd::new(eventfd(0, flags).unwrap()).unwrap());
            let herd: Vec<_> = (0..HERD)
                .map(|_| {
                    let counter = counter.clone();
                    spawn(async move {
                        let mut one = [0; 8];
                        let read = counter.read_with(|fd| Ok(rustix::io::read(fd, &mut one)?));
                        read.await.unwrap();
                        u64::from_ne_bytes(one)
                    })
                })
                .collect();
            let mut left = HERD;
            while left > 0 {
                let some = left.min(7);
                left -= some;
                rustix::io::write(counter.get_ref(), &some.to_ne_bytes()).unwrap();
                sleep(Duration::from_micros(50)).await;
            }
            for one in timeout(LONG, join_all(herd)).await.unwrap() {
                assert_eq!(one.unwrap(), 1);
            }
        });
        assert_eq!(count_fds(), before);
    });
}

#[test]
fn a_hundred_thousand_tasks_wait_for_one_socket() {
    within_deadline(|| {
        run(async {
            const HERD: usize = 100_000;
            let (near, far) = UnixStream::pair().unwrap();
            let near = Rc::new(near);
            let mut herd: Vec<_> = (0..HERD)
                .map(|_| {
                    let near = near.clone();
                    spawn(async move { near.read(&mut [0]).await.unwrap() })
                })
                .collect();
            yield_now().await;
            far.write_all(b"x").await.unwrap();
            while !herd.iter().any(Task::is_finished) {
                sleep(Duration::from_millis(1)).await;
            }
            // The others wait again; some are dropped: the first, the last, and some in between.
            for task in herd.drain(HERD / 2..).rev() {
                task.cancel();
            }
            for task in herd.iter().step_by(3) {
                task.cancel();
            }
            drop(far);
            let (mut one, mut ended, mut cancelled) = (0, 0, 0);
            for task in herd {
                match task.await {
                    Ok(0) => ended += 1,
                    Ok(_) => one += 1,
                    Err(TaskError::Cancelled) => cancelled += 1,
                    Err(error) => panic!("{error}"),
                }
            }
            assert!(one <= 1 && ended > HERD / 4 && cancelled > HERD / 8);
        });
    });
}
