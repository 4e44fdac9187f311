//! `readable` and `writable` are right whatever was read or written in between, and the `try_`
//! calls do not disturb those that wait.

use std::future::poll_fn;
use std::io::{ErrorKind, Result};
use std::time::Duration;

use trefoil::io::{Command, TcpStream, UdpSocket};
#[cfg(unix)]
use trefoil::io::{UnixDatagram, UnixStream};
use trefoil::{run, spawn, time};

use crate::support::{pair, poll_once, within_deadline};

fn would_block<T: std::fmt::Debug>(result: Result<T>) {
    assert_eq!(result.unwrap_err().kind(), ErrorKind::WouldBlock);
}

#[test]
fn readable_for_as_long_as_something_is_there() {
    within_deadline(|| {
        run(async {
            let (near, far) = pair().await;
            would_block(near.try_read(&mut [0; 8]));
            assert!(poll_once(&mut Box::pin(near.readable())).is_pending());
            far.write_all(b"abcdef").await.unwrap();
            for byte in b"abcdef" {
                near.readable().await.unwrap();
                near.readable().await.unwrap();
                let mut piece = [0];
                assert_eq!(near.try_read(&mut piece).unwrap(), 1);
                assert_eq!(piece, [*byte]);
            }
            would_block(near.try_read(&mut [0; 8]));
            assert!(poll_once(&mut Box::pin(near.readable())).is_pending());
            // A short read of the other kind, and what comes after it.
            far.write_all(b"gh").await.unwrap();
            assert_eq!(near.read(&mut [0; 8]).await.unwrap(), 2);
            assert!(poll_once(&mut Box::pin(near.readable())).is_pending());
            let waiting = spawn(async move { near.readable().await.map(|()| near) });
            drop(far);
            let near = waiting.await.unwrap().unwrap();
            assert_eq!(near.try_read(&mut [0; 8]).unwrap(), 0, "the end");
            near.readable().await.unwrap();
            poll_fn(|cx| near.poll_readable(cx)).await.unwrap();
        });
    });
}

#[cfg(unix)]
#[test]
fn a_reader_that_waits_misses_nothing_that_others_tried() {
    within_deadline(|| {
        run(async {
            let (near, far) = UnixStream::pair().unwrap();
            let (reader, _writer) = near.into_split();
            let reader = std::rc::Rc::new(reader);
            let other = reader.clone();
            let waiting = spawn(async move {
                let mut got = Vec::new();
                other.read_to_end(&mut got).await.map(|_| got.len())
            });
            let mut tried = 0;
            for round in 0..100 {
                far.write_all(b"abc").await.unwrap();
                if round % 2 == 0 {
                    trefoil::yield_now().await;
                }
                // One of the two gets the bytes, whichever comes first.
                match reader.try_read(&mut [0; 2]) {
                    Ok(count) => tried += count,
                    Err(error) => assert_eq!(error.kind(), ErrorKind::WouldBlock),
                }
            }
            assert!(tried > 0);
            drop(far);
            assert_eq!(waiting.await.unwrap().unwrap() + tried, 300);
        });
    });
}

async fn fill(stream: &TcpStream) -> usize {
    let mut written = 0;
    loop {
        match stream.try_write(&[7; 4096]) {
            Ok(count) => written += count,
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::WouldBlock);
                if !poll_once(&mut Box::pin(stream.writable())).is_ready() {
                    return written;
                }
            }
        }
    }
}

#[test]
fn writable_when_there_is_room_again() {
    within_deadline(|| {
        run(async {
            let (near, far) = pair().await;
            near.writable().await.unwrap();
            let written = fill(&near).await;
            assert!(written > 0);
            let reading = spawn(async move {
                let mut got = Vec::new();
                far.read_to_end(&mut got).await.map(|_| got.len())
            });
            near.writable().await.unwrap();
            let more = near.try_write(b"more").unwrap();
            near.shutdown(std::net::Shutdown::Write).unwrap();
            assert_eq!(reading.await.unwrap().unwrap(), written + more);
        });
    });
}

#[test]
fn datagrams_without_waiting_and_by_hand() {
    within_deadline(|| {
        run(async {
            let near = UdpSocket::bind("127.0.0.1:0").await.unwrap();
            let far = UdpSocket::bind("127.0.0.1:0").await.unwrap();
            let (here, there) = (near.local_addr().unwrap(), far.local_addr().unwrap());
            let mut buffer = [0; 16];
            would_block(far.try_recv(&mut buffer));
            would_block(far.try_recv_from(&mut buffer));
            assert_eq!(near.try_send_to(b"a", there).unwrap(), 1);
            far.readable().await.unwrap();
            assert_eq!(far.try_recv_from(&mut buffer).unwrap(), (1, here));
            let sent = poll_fn(|cx| near.poll_send_to(cx, b"bc", there)).await;
            assert_eq!(sent.unwrap(), 2);
            let received = poll_fn(|cx| far.poll_recv_from(cx, &mut buffer)).await;
            assert_eq!(received.unwrap(), (2, here));
            near.connect(there).await.unwrap();
            far.connect(here).await.unwrap();
            near.writable().await.unwrap();
            assert_eq!(near.try_send(b"").unwrap(), 0);
            far.readable().await.unwrap();
            assert_eq!(far.try_recv(&mut buffer).unwrap(), 0);
            let waiting = spawn(async move { poll_fn(|cx| far.poll_recv(cx, &mut [0; 8])).await });
            trefoil::yield_now().await;
            let sent = poll_fn(|cx| near.poll_send(cx, b"def")).await;
            assert_eq!((sent.unwrap(), waiting.await.unwrap().unwrap()), (3, 3));
        });
    });
}

#[cfg(unix)]
#[test]
fn unix_datagrams_wait_for_room() {
    within_deadline(|| {
        run(async {
            let (near, far) = UnixDatagram::pair().unwrap();
            let mut queued = 0;
            while near.try_send(b"x").is_ok() {
                queued += 1;
            }
            would_block(near.try_send(b"x"));
            assert!(poll_once(&mut Box::pin(near.writable())).is_pending());
            assert!(poll_once(&mut Box::pin(poll_fn(|cx| near.poll_send(cx, b"x")))).is_pending());
            let waiting = spawn(async move { near.writable().await.map(|()| near) });
            trefoil::yield_now().await;
            for _ in 0..queued {
                assert_eq!(far.try_recv(&mut [0; 4]).unwrap(), 1);
            }
            let near = waiting.await.unwrap().unwrap();
            assert_eq!(near.try_send(b"room").unwrap(), 4);
        });
    });
}

#[cfg(unix)] // `cat`
#[test]
fn what_a_child_says_can_be_waited_for() {
    within_deadline(|| {
        run(async {
            let mut command = Command::new("cat");
            let piped = std::process::Stdio::piped;
            let mut child = command.stdin(piped()).stdout(piped()).spawn().unwrap();
            let (input, output) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
            would_block(output.try_read(&mut [0; 8]));
            input.writable().await.unwrap();
            assert_eq!(input.try_write(b"meow").unwrap(), 4);
            output.readable().await.unwrap();
            assert_eq!(output.try_read(&mut [0; 8]).unwrap(), 4);
            drop(input);
            output.readable().await.unwrap();
            assert_eq!(output.try_read(&mut [0; 8]).unwrap(), 0);
            assert!(child.wait().await.unwrap().success());
        });
    });
}

/// A task that only asks for readiness lets other tasks run.
#[cfg(unix)]
#[test]
fn an_always_ready_source_starves_no_task() {
    within_deadline(|| {
        run(async {
            let (near, _far) = UnixStream::pair().unwrap();
            let asking = spawn(async move {
                loop {
                    near.writable().await.unwrap();
                }
            });
            time::sleep(Duration::from_millis(1)).await;
            asking.cancel();
        });
    });
}
