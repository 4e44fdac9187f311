//! `readable` and `writable` are right whatever was read or written in between, and the `try_`
//! calls do not disturb those that wait.

use std::future::poll_fn;
use std::io::{ErrorKind, Result};
use std::time::Duration;

#[cfg(unix)]
use trefoil::io::{AsyncFd, UnixDatagram, UnixStream};
use trefoil::io::{Command, TcpStream, UdpSocket};
use trefoil::{run, spawn, time};

use crate::support::{LONG, pair, poll_once, within_deadline};

const MOMENT: Duration = Duration::from_millis(5);

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
            poll_fn(|cx| near.poll_writable(cx)).await.unwrap();
            assert_eq!(near.try_send_to(b"bc", there).unwrap(), 2);
            poll_fn(|cx| far.poll_readable(cx)).await.unwrap();
            assert_eq!(far.try_recv_from(&mut buffer).unwrap(), (2, here));
            near.connect(there).await.unwrap();
            far.connect(here).await.unwrap();
            near.writable().await.unwrap();
            assert_eq!(near.try_send(b"").unwrap(), 0);
            far.readable().await.unwrap();
            assert_eq!(far.try_recv(&mut buffer).unwrap(), 0);
            let waiting = spawn(async move {
                poll_fn(|cx| far.poll_readable(cx)).await?;
                far.try_recv(&mut [0; 8])
            });
            trefoil::yield_now().await;
            assert_eq!(near.try_send(b"def").unwrap(), 3);
            assert_eq!(waiting.await.unwrap().unwrap(), 3);
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
            assert!(poll_once(&mut poll_fn(|cx| near.poll_writable(cx))).is_pending());
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

/// An entry in a socket's error queue is no data: it is read in another way, or never. The kernel
/// reports it like an error that the next read returns, and as long as it is there.
#[cfg(target_os = "linux")]
#[test]
fn an_error_queue_is_not_readable() {
    within_deadline(|| {
        run(async {
            let bound = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
            let nobody = bound.local_addr().unwrap();
            drop(bound);
            let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
            queue_errors(&socket);
            let here = socket.local_addr().unwrap();
            socket.send_to(b"x", nobody).await.unwrap();
            // The refusal itself is reported, and given to the next read.
            time::timeout(LONG, socket.readable())
                .await
                .unwrap()
                .unwrap();
            let error = socket.try_recv(&mut [0; 8]).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
            let mut reports = 0;
            while time::timeout(MOMENT, socket.readable()).await.is_ok() {
                would_block(socket.try_recv(&mut [0; 8]));
                reports += 1;
                assert!(reports < 5, "it is said to be readable again and again");
            }
            // Data is reported, as often as it is asked for.
            let sender = UdpSocket::bind("127.0.0.1:0").await.unwrap();
            sender.send_to(b"abc", here).await.unwrap();
            for _ in 0..3 {
                time::timeout(LONG, socket.readable())
                    .await
                    .unwrap()
                    .unwrap();
            }
            assert_eq!(socket.try_recv(&mut [0; 8]).unwrap(), 3);
            socket.writable().await.unwrap();
        });
    });
}

/// Makes the kernel keep what went wrong with each datagram.
#[cfg(target_os = "linux")]
#[allow(unsafe_code)]
fn queue_errors(socket: &UdpSocket) {
    use std::os::fd::AsRawFd;
    let yes = 1_i32;
    // SAFETY: it reads a number of this length.
    let set = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::IPPROTO_IP,
            libc::IP_RECVERR,
            (&raw const yes).cast(),
            size_of_val(&yes) as u32,
        )
    };
    assert_eq!(set, 0);
}

/// An error that waits for the next call, whether or not the loop watches the socket already.
#[cfg(unix)] // elsewhere it comes with the next receipt
#[test]
fn a_pending_error_is_readable() {
    within_deadline(|| {
        run(async {
            for watched in [false, true] {
                let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
                if watched {
                    assert!(time::timeout(MOMENT, socket.readable()).await.is_err());
                }
                let nobody = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
                socket.connect(nobody.local_addr().unwrap()).await.unwrap();
                drop(nobody);
                socket.send(b"x").await.unwrap();
                time::timeout(LONG, socket.readable())
                    .await
                    .unwrap()
                    .unwrap();
                let error = socket.try_recv(&mut [0; 8]).unwrap_err();
                assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
                assert!(time::timeout(MOMENT, socket.readable()).await.is_err());
            }
        });
    });
}

/// A pending error is reported once, and an operation is tried, whoever has got the report.
#[cfg(unix)] // elsewhere it comes with the next receipt
#[test]
fn an_operation_after_a_report_gets_the_error() {
    fn refused(result: Result<usize>) {
        assert_eq!(result.unwrap_err().kind(), ErrorKind::ConnectionRefused);
    }
    within_deadline(|| {
        run(async {
            for reports in 0..3 {
                let socket = refused_socket();
                let socket = UdpSocket::try_from(socket).unwrap();
                for report in 0..reports {
                    let asked = time::timeout(MOMENT, socket.readable()).await;
                    assert_eq!(asked.is_ok(), report == 0);
                }
                let received = time::timeout(LONG, socket.recv(&mut [0; 8])).await;
                refused(received.unwrap());
                assert!(time::timeout(MOMENT, socket.readable()).await.is_err());
                // The next error is reported anew.
                socket.send(b"x").await.unwrap();
                let asked = time::timeout(LONG, socket.readable()).await;
                asked.unwrap().unwrap();
                let received = time::timeout(LONG, socket.recv(&mut [0; 8])).await;
                refused(received.unwrap());

                let socket = AsyncFd::new(refused_socket()).unwrap();
                for report in 0..reports {
                    let asked = time::timeout(MOMENT, socket.readable()).await;
                    assert_eq!(asked.is_ok(), report == 0);
                }
                let read = socket.read_with(|socket| socket.recv(&mut [0; 8]));
                refused(time::timeout(LONG, read).await.unwrap());
            }
        });
    });
}

/// A socket whose datagram nobody was there to receive.
#[cfg(unix)]
fn refused_socket() -> std::net::UdpSocket {
    let socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let nobody = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.connect(nobody.local_addr().unwrap()).unwrap();
    socket.set_nonblocking(true).unwrap();
    drop(nobody);
    socket.send(b"x").unwrap();
    socket
}
