//! UDP and Unix datagrams: lengths, errors that come late, full queues, dropped waits.

use std::io::ErrorKind;
use std::time::Duration;

use rustix::io::Errno;
use trefoil::io::{UdpSocket, UnixDatagram};
use trefoil::time::timeout;
use trefoil::{run, spawn, yield_now};

use crate::support::{LONG, count_threads, within_deadline};

const MOMENT: Duration = Duration::from_millis(5);

async fn udp() -> UdpSocket {
    UdpSocket::bind("127.0.0.1:0").await.unwrap()
}

#[test]
fn datagrams_keep_their_lengths_and_lose_what_does_not_fit() {
    within_deadline(|| {
        run(async {
            let (near, far) = (udp().await, udp().await);
            let there = far.local_addr().unwrap();
            for length in [0, 1, 1000, 9000] {
                assert_eq!(near.send_to(&vec![7; length], there).await.unwrap(), length);
            }
            let mut buffer = [0; 4096];
            assert_eq!(far.peek(&mut buffer).await.unwrap(), 0);
            assert_eq!(far.recv(&mut buffer).await.unwrap(), 0);
            assert_eq!(far.peek_from(&mut buffer).await.unwrap().0, 1);
            let (count, from) = far.recv_from(&mut buffer).await.unwrap();
            assert_eq!((count, from), (1, near.local_addr().unwrap()));
            assert_eq!(far.recv(&mut buffer).await.unwrap(), 1000);
            // The rest of this datagram is lost, and the next read returns the next one.
            assert_eq!(far.recv(&mut buffer[..100]).await.unwrap(), 100);
            assert!(timeout(MOMENT, far.recv(&mut buffer)).await.is_err());
            // An empty buffer takes a datagram, too.
            near.send_to(b"lost", there).await.unwrap();
            near.send_to(b"kept", there).await.unwrap();
            assert_eq!(far.recv(&mut []).await.unwrap(), 0);
            assert_eq!(far.recv(&mut buffer).await.unwrap(), 4);
            let error = near.send_to(&vec![0; 70_000], there).await.unwrap_err();
            assert_eq!(error.raw_os_error(), Some(Errno::MSGSIZE.raw_os_error()));
        });
    });
}

#[test]
fn a_refusal_comes_with_the_next_call_and_once() {
    within_deadline(|| {
        run(async {
            let near = udp().await;
            let gone = udp().await.local_addr().unwrap();
            near.connect(gone).await.unwrap();
            assert_eq!(near.peer_addr().unwrap(), gone);
            near.send(b"anybody there?").await.unwrap();
            let error = timeout(LONG, near.recv(&mut [0; 8]))
                .await
                .unwrap()
                .unwrap_err();
            assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
            assert!(timeout(MOMENT, near.recv(&mut [0; 8])).await.is_err());
            // A receiver that is waiting already gets the error, too.
            let near = std::rc::Rc::new(near);
            let waiting = spawn({
                let near = near.clone();
                async move { near.recv(&mut [0; 8]).await }
            });
            yield_now().await;
            near.send(b"still nobody?").await.unwrap();
            let error = timeout(LONG, waiting).await.unwrap().unwrap().unwrap_err();
            assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
            assert_eq!(
                udp()
                    .await
                    .send(b"to whom?")
                    .await
                    .unwrap_err()
                    .raw_os_error(),
                Some(Errno::DESTADDRREQ.raw_os_error())
            );
        });
    });
}

#[test]
fn a_wait_that_is_given_up_loses_no_datagram() {
    within_deadline(|| {
        run(async {
            let (near, far) = (udp().await, udp().await);
            near.connect(far.local_addr().unwrap()).await.unwrap();
            for n in 0..100_u8 {
                let mut buffer = [0; 8];
                assert!(
                    timeout(Duration::ZERO, far.recv(&mut buffer))
                        .await
                        .is_err()
                );
                near.send(&[n]).await.unwrap();
                let count = timeout(LONG, far.recv(&mut buffer)).await.unwrap().unwrap();
                assert_eq!((count, buffer[0]), (1, n));
            }
        });
        // Off the loop, and on another one.
        let socket = run(async {
            let socket = udp().await;
            assert!(timeout(MOMENT, socket.recv(&mut [0])).await.is_err());
            socket
        });
        let error = run(socket.recv(&mut [0])).unwrap_err();
        assert!(error.to_string().contains("another event loop"), "{error}");
    });
}

#[test]
fn names_are_looked_up_off_the_loop_and_numbers_need_no_thread() {
    within_deadline(|| {
        run(async {
            let far = udp().await;
            let port = far.local_addr().unwrap().port();
            let near = UdpSocket::bind(("127.0.0.1", 0)).await.unwrap();
            // Whichever address the name has first, one of the socket's family is used.
            near.send_to(b"abc", ("localhost", port)).await.unwrap();
            assert_eq!(far.recv(&mut [0; 8]).await.unwrap(), 3);
            assert!(
                near.send_to(b"abc", "no.such.host.invalid:1")
                    .await
                    .is_err()
            );
            assert!(count_threads("trefoil-helper") > 0);
            let taken = UdpSocket::bind(far.local_addr().unwrap())
                .await
                .unwrap_err();
            assert_eq!(taken.kind(), ErrorKind::AddrInUse);
            // Duplicates of one socket, one after the other: most get the same number.
            let std = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
            for _ in 0..10 {
                let ours = UdpSocket::try_from(std.try_clone().unwrap()).unwrap();
                assert!(timeout(MOMENT, ours.recv(&mut [0])).await.is_err());
                let there = std.local_addr().unwrap();
                near.send_to(b"abc", there).await.unwrap();
                assert_eq!(ours.recv(&mut [0; 8]).await.unwrap(), 3);
            }
        });
    });
}

#[cfg(target_os = "linux")] // elsewhere there is an error, `ENOBUFS`, and no abstract name
#[test]
fn a_full_queue_of_unix_datagrams_is_waited_for() {
    use std::os::linux::net::SocketAddrExt;
    use std::os::unix::net::SocketAddr;
    within_deadline(|| {
        run(async {
            let name = format!("trefoil-test-full-{}", std::process::id());
            let address = SocketAddr::from_abstract_name(name).unwrap();
            let far = std::os::unix::net::UnixDatagram::bind_addr(&address).unwrap();
            let far = UnixDatagram::try_from(far).unwrap();
            let stranger = UnixDatagram::unbound().unwrap();
            let peer = std::os::unix::net::UnixDatagram::unbound().unwrap();
            peer.connect_addr(&address).unwrap();
            let peer = UnixDatagram::try_from(peer).unwrap();
            let mut sent = 0;
            while let Ok(result) = timeout(MOMENT, stranger.send_to_addr(b"x", &address)).await {
                result.unwrap();
                sent += 1;
                assert!(sent < 100_000, "it never fills");
            }
            // Both kinds of sender wait, and both datagrams arrive.
            let waiting = [
                spawn(async move { stranger.send_to_addr(b"y", &address).await }),
                spawn(async move { peer.send(b"z").await }),
            ];
            yield_now().await;
            for _ in 0..sent + 2 {
                let count = timeout(LONG, far.recv(&mut [0; 4])).await.unwrap().unwrap();
                assert_eq!(count, 1);
            }
            for task in waiting {
                assert_eq!(task.await.unwrap().unwrap(), 1);
            }
        });
    });
}

#[test]
fn a_datagram_to_a_peer_that_is_gone_is_an_error() {
    within_deadline(|| {
        run(async {
            let (near, far) = UnixDatagram::pair().unwrap();
            drop(far);
            assert!(near.send(b"x").await.is_err());
        });
    });
}
