//! Unix sockets: paths that exist, full queues, halves, messages that stop a read short.

use std::io::{ErrorKind, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::time::Duration;

use futures::{AsyncReadExt, AsyncWriteExt};
use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};
use trefoil::io::{TcpListener, TcpStream, UnixDatagram, UnixListener, UnixStream};
use trefoil::time::timeout;
use trefoil::{join_all, run, spawn, yield_now};

use crate::support::{LONG, alone, count_fds, needs_a_loop, within_deadline};

const MOMENT: Duration = Duration::from_millis(5);

/// A path for one test, removed when dropped.
struct Place(PathBuf);

impl Place {
    fn new(name: &str) -> Self {
        let name = format!("trefoil-unix-{name}-{}", std::process::id());
        Self(std::env::temp_dir().join(name))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

#[test]
fn paths_that_exist_and_listeners_that_do_not() {
    within_deadline(|| {
        let place = Place::new("paths");
        run(async {
            let missing = UnixStream::connect(&place.0).await.unwrap_err();
            assert_eq!(missing.kind(), ErrorKind::NotFound);
            let listener = UnixListener::bind(&place.0).await.unwrap();
            let again = UnixListener::bind(&place.0).await.unwrap_err();
            assert_eq!(again.kind(), ErrorKind::AddrInUse);
            let near = UnixStream::connect(&place.0).await.unwrap();
            let (far, peer) = listener.accept().await.unwrap();
            assert!(peer.is_unnamed());
            assert_eq!(near.peer_addr().unwrap().as_pathname(), Some(&*place.0));
            assert_eq!(far.peer_cred().unwrap().pid, std::process::id());
            drop(listener);
            // The file exists, but nothing listens; and binding to it fails, too.
            let refused = UnixStream::connect(&place.0).await.unwrap_err();
            assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
            let again = UnixListener::bind(&place.0).await.unwrap_err();
            assert_eq!(again.kind(), ErrorKind::AddrInUse);
            // An existing connection stays connected.
            near.write_all(b"abc").await.unwrap();
            drop(near);
            let mut text = String::new();
            far.read_to_string(&mut text).await.unwrap();
            assert_eq!(text, "abc");
            let long = "x".repeat(200);
            assert!(UnixListener::bind(&long).await.is_err());
            assert!(UnixStream::connect(&long).await.is_err());
        });
        std::fs::remove_file(&place.0).unwrap();
        std::fs::write(&place.0, b"no socket").unwrap();
        let refused = run(UnixStream::connect(&place.0)).unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
    });
}

#[test]
fn a_full_queue_is_waited_for_and_a_given_up_wait_leaves_nothing() {
    alone(
        "unix::a_full_queue_is_waited_for_and_a_given_up_wait_leaves_nothing",
        "",
        || {
            let place = Place::new("full");
            let before = count_fds();
            run(async {
                let listener = UnixListener::bind(&place.0).await.unwrap();
                rustix::net::listen(&listener, 0).unwrap();
                let mut queued = Vec::new();
                let open = loop {
                    let open = count_fds();
                    match timeout(MOMENT, UnixStream::connect(&place.0)).await {
                        Ok(stream) => queued.push(stream.unwrap()),
                        Err(_) => break open,
                    }
                    assert!(queued.len() < 100);
                };
                assert_eq!(count_fds(), open);
                let waiting = spawn({
                    let place = place.0.clone();
                    async move { UnixStream::connect(place).await }
                });
                yield_now().await;
                for _ in 0..=queued.len() {
                    timeout(LONG, listener.accept()).await.unwrap().unwrap();
                }
                waiting.await.unwrap().unwrap();
            });
            assert_eq!(count_fds(), before);
        },
    );
}

/// Some systems have no address any more for a client that is gone before it is accepted, and macOS
/// takes no settings of its socket.
#[test]
fn a_client_that_is_gone_is_accepted() {
    within_deadline(|| {
        let place = Place::new("gone");
        run(async {
            let listener = UnixListener::bind(&place.0).await.unwrap();
            for said in [&b""[..], b"abc"] {
                let client = UnixStream::connect(&place.0).await.unwrap();
                client.write_all(said).await.unwrap();
                drop(client);
                let (stream, peer) = timeout(LONG, listener.accept()).await.unwrap().unwrap();
                assert!(peer.is_unnamed());
                let mut heard = Vec::new();
                stream.read_to_end(&mut heard).await.unwrap();
                assert_eq!(heard, said);
            }
        });
    });
}

#[test]
fn a_read_that_stops_at_a_message_with_descriptors_is_not_the_last() {
    within_deadline(|| {
        run(async {
            let (near, far) = UnixStream::pair().unwrap();
            // It is registered, and known not to be ready.
            assert!(timeout(MOMENT, far.read(&mut [0; 64])).await.is_err());
            near.write_all(b"one").await.unwrap();
            let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
            let mut ancillary = SendAncillaryBuffer::new(&mut space);
            let fds = [near.as_fd()];
            assert!(ancillary.push(SendAncillaryMessage::ScmRights(&fds)));
            let two = [IoSlice::new(b"two")];
            sendmsg(&near, &two, &mut ancillary, SendFlags::empty()).unwrap();
            near.write_all(b"three").await.unwrap();
            let mut bytes = Vec::new();
            while bytes.len() < 11 {
                let mut buffer = [0; 64];
                let count = timeout(LONG, far.read(&mut buffer)).await.unwrap().unwrap();
                bytes.extend_from_slice(&buffer[..count]);
            }
            assert_eq!(bytes, b"onetwothree");
        });
    });
}

#[test]
fn halves_of_both_kinds_of_stream() {
    within_deadline(|| {
        run(async {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let near = TcpStream::connect(listener.local_addr().unwrap())
                .await
                .unwrap();
            let (far, _) = listener.accept().await.unwrap();
            let (reader, writer) = near.into_split();
            let echo = spawn(crate::support::echo(far));
            let big = vec![5; 1_000_000];
            let expected = big.clone();
            let writing = spawn(async move { writer.write_all(&big).await });
            let mut bytes = Vec::new();
            // The writer is dropped when it is done, which ends the echo, and so the answer.
            reader.read_to_end(&mut bytes).await.unwrap();
            writing.await.unwrap().unwrap();
            echo.await.unwrap();
            assert_eq!(bytes, expected);

            let (near, far) = UnixStream::pair().unwrap();
            let (reader, mut writer) = near.into_split();
            drop(reader);
            writer.write_all(b"abc").await.unwrap();
            let slices = [IoSlice::new(b"d"), IoSlice::new(b""), IoSlice::new(b"ef")];
            let written = AsyncWriteExt::write_vectored(&mut writer, &slices).await;
            assert_eq!(written.unwrap(), 3);
            drop(writer);
            let (mut one, mut two) = ([0; 4], [0; 4]);
            let buffers = &mut [IoSliceMut::new(&mut one), IoSliceMut::new(&mut two)];
            let read = AsyncReadExt::read_vectored(&mut &far, buffers).await;
            assert_eq!(read.unwrap(), 6);
            assert_eq!((&one, &two[..2]), (b"abcd", &b"ef"[..]));
            assert_eq!(far.read(&mut [0; 4]).await.unwrap(), 0);
        });
    });
}

#[test]
fn many_connections_through_one_path_and_no_descriptor_left() {
    alone(
        "unix::many_connections_through_one_path_and_no_descriptor_left",
        "ulimit -n 1024",
        || {
            let place = Place::new("many");
            let before = count_fds();
            run(async {
                let listener = UnixListener::bind(&place.0).await.unwrap();
                let clients: Vec<_> = (0..300_u32)
                    .map(|n| {
                        let place = place.0.clone();
                        spawn(async move {
                            let stream = UnixStream::connect(place).await.unwrap();
                            stream.write_all(&n.to_le_bytes()).await.unwrap();
                            let mut answer = [0; 4];
                            stream.read_exact(&mut answer).await.unwrap();
                            assert_eq!(u32::from_le_bytes(answer), n + 1);
                        })
                    })
                    .collect();
                for _ in 0..300 {
                    let (stream, _) = listener.accept().await.unwrap();
                    spawn(async move {
                        let mut number = [0; 4];
                        stream.read_exact(&mut number).await.unwrap();
                        let answer = u32::from_le_bytes(number) + 1;
                        stream.write_all(&answer.to_le_bytes()).await.unwrap();
                    })
                    .detach();
                }
                for client in join_all(clients).await {
                    client.unwrap();
                }
            });
            assert_eq!(count_fds(), before);
        },
    );
}

/// As in `moved::what_is_bound_or_connected_without_a_loop_fails_at_once`.
#[test]
fn what_is_bound_or_connected_by_path_without_a_loop_fails_at_once() {
    within_deadline(|| {
        let place = Place::new("without-loop");
        needs_a_loop(UnixListener::bind(&place.0));
        needs_a_loop(UnixDatagram::bind(&place.0));
        assert!(!place.0.exists(), "nothing was bound");
        let _listener = run(UnixListener::bind(&place.0)).unwrap();
        needs_a_loop(UnixStream::connect(&place.0));
        let (near, _far) = UnixDatagram::pair().unwrap();
        needs_a_loop(near.connect(&place.0));
        needs_a_loop(near.send_to(b"x", &place.0));
    });
}
