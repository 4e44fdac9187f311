//! The futures of `io` and `time`, dropped after each number of polls.
//!
//! Every operation is begun, polled so many times (woken or not in between) and dropped; its event
//! comes before, meanwhile or after. Then the operation is done completely, and the data must be
//! there: once, and in order. At the end no descriptor and no task is left.
//! (`src/io/source/simulated.rs` checks waits in every order of events, with a simulated
//! kernel.)

use std::cell::Cell;
use std::future::Future;
use std::io;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use rustix::process::{Signal as Raw, getpid, kill_process};
use trefoil::io::{
    AsyncFd, Command, Signal, TcpListener, TcpStream, UdpSocket, UnixDatagram, UnixListener,
    UnixStream, ctrl_c, fs, lookup_host,
};
use trefoil::time::{interval, sleep, timeout};
use trefoil::{run, spawn, yield_now};

use crate::support::{LONG, alone, count_fds, pair, wait_until};

/// Polls at most `polls` times, whenever the future is woken and once more; then drops it.
async fn cut<F: Future>(polls: usize, future: F) -> Option<F::Output> {
    Cut {
        future: Box::pin(future),
        left: polls,
    }
    .await
}

struct Cut<F> {
    future: Pin<Box<F>>,
    left: usize,
}

impl<F: Future> Future for Cut<F> {
    type Output = Option<F::Output>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        if self.left == 0 {
            return Poll::Ready(None);
        }
        self.left -= 1;
        // It is dropped one turn later, whatever has happened by then.
        cx.waker().wake_by_ref();
        self.future.as_mut().poll(cx).map(Some)
    }
}

/// Runs `future` to its end, which must not take long.
async fn now<F: Future>(future: F) -> F::Output {
    timeout(LONG / 2, future).await.expect("it waits in vain")
}

const POLLS: usize = 5;

#[test]
fn streams_lose_nothing() {
    alone("dropped::streams_lose_nothing", "", || {
        let before = count_fds();
        run(async {
            let (near, far) = pair().await;
            for polls in 0..POLLS {
                for early in [false, true] {
                    let mut got = Vec::new();
                    let mut buffer = [0; 4];
                    if early {
                        near.write_all(b"early").await.unwrap();
                    }
                    let late = async {
                        if !early {
                            near.write_all(b"later").await.unwrap();
                        }
                    };
                    let read = cut(polls, far.read(&mut buffer));
                    let (count, ()) = both(read, late).await;
                    if let Some(count) = count {
                        got.extend_from_slice(&buffer[..count.unwrap()]);
                    }
                    assert!(
                        cut(polls, far.peek(&mut buffer))
                            .await
                            .is_none_or(|n| n.is_ok())
                    );
                    while got.len() < 5 {
                        let count = now(far.read(&mut buffer)).await.unwrap();
                        got.extend_from_slice(&buffer[..count]);
                    }
                    assert_eq!(got, if early { b"early" } else { b"later" }, "{polls}");
                }
            }
            // Writes that find no room are dropped: the bytes that were taken arrive, and no
            // others.
            let (near, far) = UnixStream::pair().unwrap();
            let sent = Rc::new(Cell::new(0));
            let told = sent.clone();
            let writer = spawn(async move {
                let bytes = [7; 70_000];
                for round in 0..60 {
                    if let Some(count) = cut(round % POLLS, near.write(&bytes)).await {
                        told.set(told.get() + count.unwrap());
                    }
                }
            });
            let mut all = Vec::new();
            now(far.read_to_end(&mut all)).await.unwrap();
            writer.await.unwrap();
            assert_eq!(all.len(), sent.get());
        });
        wait_until("no descriptor is left", || count_fds() <= before);
    });
}

/// Runs both futures concurrently.
async fn both<A: Future, B: Future>(a: A, b: B) -> (A::Output, B::Output) {
    let (mut a, mut b) = (pin!(a), pin!(b));
    let (mut x, mut y) = (None, None);
    std::future::poll_fn(move |cx| {
        if x.is_none()
            && let Poll::Ready(value) = a.as_mut().poll(cx)
        {
            x = Some(value);
        }
        if y.is_none()
            && let Poll::Ready(value) = b.as_mut().poll(cx)
        {
            y = Some(value);
        }
        match (x.take(), y.take()) {
            (Some(x), Some(y)) => Poll::Ready((x, y)),
            (one, other) => {
                (x, y) = (one, other);
                Poll::Pending
            }
        }
    })
    .await
}

#[test]
fn connections_are_made_or_not_made() {
    alone("dropped::connections_are_made_or_not_made", "", || {
        let before = count_fds();
        run(async {
            let tcp = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let address = tcp.local_addr().unwrap();
            let path = std::env::temp_dir().join(format!("trefoil-cut-{}", std::process::id()));
            let _ = std::fs::remove_file(&path);
            let unix = UnixListener::bind(&path).await.unwrap();
            for polls in 0..POLLS {
                // `accept` is dropped: the next `accept` gets the client.
                let (first, caller) =
                    both(cut(polls, tcp.accept()), TcpStream::connect(address)).await;
                let caller = caller.unwrap();
                let (served, peer) = match first {
                    Some(accepted) => accepted.unwrap(),
                    None => now(tcp.accept()).await.unwrap(),
                };
                assert_eq!(peer, caller.local_addr().unwrap());
                caller.write_all(b"x").await.unwrap();
                now(served.read_exact(&mut [0])).await.unwrap();

                let (first, caller) =
                    both(cut(polls, unix.accept()), UnixStream::connect(&path)).await;
                if first.is_none() {
                    now(unix.accept()).await.unwrap();
                }
                drop(caller.unwrap());

                // `connect` is dropped: the listener gets a connection that is closed, or none.
                let open = count_fds();
                drop(cut(polls, TcpStream::connect(address)).await);
                drop(cut(polls, TcpStream::connect(&[address, address][..])).await);
                drop(cut(polls, TcpStream::connect(("localhost", address.port()))).await);
                drop(cut(polls, UnixStream::connect(&path)).await);
                assert!(
                    cut(polls, lookup_host("127.0.0.1:1"))
                        .await
                        .is_none_or(|a| a.is_ok())
                );
                // The thread of the look-up that was dropped still reads the hosts file to its end.
                wait_until("no descriptor is left", || count_fds() <= open);
                let mut next = now(TcpStream::connect(address)).await.unwrap();
                loop {
                    let (served, peer) = now(tcp.accept()).await.unwrap();
                    if peer == next.local_addr().unwrap() {
                        served.write_all(b"y").await.unwrap();
                        break;
                    }
                }
                now(next.read_exact(&mut [0])).await.unwrap();
                next = now(TcpStream::connect(address)).await.unwrap();
                drop(next);
                while let Ok(Ok(_)) = timeout(Duration::from_millis(1), tcp.accept()).await {}
                while let Ok(Ok(_)) = timeout(Duration::from_millis(1), unix.accept()).await {}
            }
            std::fs::remove_file(&path).unwrap();
        });
        wait_until("no descriptor is left", || count_fds() <= before);
    });
}

#[test]
fn datagrams_descriptors_signals_and_children() {
    alone(
        "dropped::datagrams_descriptors_signals_and_children",
        "",
        || {
            let before = count_fds();
            run(async {
                let udp = UdpSocket::bind("127.0.0.1:0").await.unwrap();
                let here = udp.local_addr().unwrap();
                let (near, far) = UnixDatagram::pair().unwrap();
                let (reader, writer) = io::pipe().unwrap();
                let reader = AsyncFd::new(reader).unwrap();
                let hangup = Signal::new(Signal::HUP).unwrap();
                for polls in 0..POLLS {
                    let n = [polls as u8];
                    let mut buffer = [99; 4];
                    let received = cut(polls, udp.recv_from(&mut buffer));
                    let (first, sent) = both(received, udp.send_to(&n, here)).await;
                    sent.unwrap();
                    if first.is_none() {
                        now(udp.recv_from(&mut buffer)).await.unwrap();
                    }
                    assert_eq!(buffer[0], n[0]);
                    let (first, sent) =
                        both(cut(polls, far.recv(&mut buffer)), near.send(&n)).await;
                    sent.unwrap();
                    if first.is_none() {
                        now(far.recv(&mut buffer)).await.unwrap();
                    }
                    assert_eq!(buffer[0], n[0]);

                    let ready = both(cut(polls, reader.readable()), async {
                        io::Write::write_all(&mut &writer, &n).unwrap();
                    });
                    ready.await;
                    now(reader.readable()).await.unwrap();
                    now(reader.read_with(|mut pipe| io::Read::read(&mut pipe, &mut buffer)))
                        .await
                        .unwrap();
                    assert_eq!(buffer[0], n[0]);

                    let (first, ()) = both(cut(polls, hangup.recv()), async {
                        kill_process(getpid(), Raw::HUP).unwrap();
                    })
                    .await;
                    if first.is_none() {
                        now(hangup.recv()).await.unwrap();
                    }
                    assert!(cut(polls, hangup.recv()).await.is_none(), "it came once");
                    assert!(cut(polls, ctrl_c()).await.is_none());

                    let mut child = Command::new("true").spawn().unwrap();
                    let _maybe = cut(polls, child.wait()).await;
                    assert!(now(child.wait()).await.unwrap().success());
                    drop(cut(polls, Command::new("true").status()).await);
                    drop(cut(polls, Command::new("echo").arg("x").output()).await);
                }
            });
            // The children whose futures were dropped are reaped when they end.
            wait_until("no descriptor is left", || count_fds() <= before);
        },
    );
}

#[test]
fn time_and_files() {
    alone("dropped::time_and_files", "", || {
        let before = count_fds();
        run(async {
            let path = std::env::temp_dir().join(format!("trefoil-file-{}", std::process::id()));
            let text: Vec<u8> = (0..100).collect();
            for polls in 0..POLLS {
                let mut beat = interval(Duration::from_millis(2));
                let first = now(beat.tick()).await;
                let mut given_up = 0;
                while cut(polls, beat.tick()).await.is_none() && given_up < 20 {
                    given_up += 1;
                    yield_now().await;
                }
                let next = now(beat.tick()).await;
                let periods = (next - first).as_micros() / 2000;
                assert!((1..=2).contains(&periods), "a tick is lost: {periods}");
                assert!(cut(polls, sleep(LONG)).await.is_none());
                assert!(cut(polls, timeout(LONG, sleep(LONG))).await.is_none());

                fs::write(&path, &text).await.unwrap();
                assert!(
                    cut(polls, fs::read(&path))
                        .await
                        .is_none_or(|text| text.is_ok())
                );
                let mut file = fs::File::open(&path).await.unwrap();
                let mut got = Vec::new();
                let mut buffer = [0; 7];
                for _ in 0..10 {
                    if let Some(count) = cut(polls, file.read(&mut buffer)).await {
                        got.extend_from_slice(&buffer[..count.unwrap()]);
                    }
                }
                now(file.read_to_end(&mut got)).await.unwrap();
                assert_eq!(got, text, "{polls}");
                let mut entries = fs::read_dir(path.parent().unwrap()).await.unwrap();
                for _ in 0..3 {
                    drop(cut(polls, entries.next_entry()).await);
                }
            }
            fs::remove_file(&path).await.unwrap();
        });
        wait_until("no descriptor is left", || count_fds() <= before);
    });
}
