//! Listeners by hand and as streams, and sockets with settings that were made before.

use std::future::poll_fn;
use std::io::ErrorKind;
use std::net::{Ipv6Addr, SocketAddr};
use std::pin::pin;
use std::task::Poll;
use std::time::{Duration, Instant};

use futures::{Stream, StreamExt};
use trefoil::io::{TcpListener, TcpSocket, TcpStream};
#[cfg(unix)]
use trefoil::io::{UnixListener, UnixStream};
use trefoil::{EventLoop, run, spawn, time, timeout};

use crate::support::{alone, poll_once, within_deadline};

fn any() -> SocketAddr {
    "127.0.0.1:0".parse().unwrap()
}

#[test]
fn a_listener_is_polled_by_hand() {
    within_deadline(|| {
        run(async {
            let listener = TcpListener::bind(any()).await.unwrap();
            let address = listener.local_addr().unwrap();
            let pending = poll_fn(|cx| Poll::Ready(listener.poll_accept(cx).is_pending()));
            assert!(pending.await);
            // The latest waker is woken.
            let client = spawn(async move {
                trefoil::yield_now().await;
                TcpStream::connect(address).await.unwrap()
            });
            let (server, peer) = poll_fn(|cx| listener.poll_accept(cx)).await.unwrap();
            let client = client.await.unwrap();
            assert_eq!(peer, client.local_addr().unwrap());
            client.write_all(b"x").await.unwrap();
            assert_eq!(server.read(&mut [0; 8]).await.unwrap(), 1);
        });
        // Without a loop it is an error.
        let listener = run(TcpListener::bind(any())).unwrap();
        let mut elsewhere = pin!(poll_fn(|cx| listener.poll_accept(cx)));
        assert!(matches!(poll_once(&mut elsewhere), Poll::Ready(Err(_))));
    });
}

/// Accepts from a stream, also through an adaptor of another crate.
#[test]
fn connections_are_a_stream() {
    const CLIENTS: usize = 20;
    async fn count(connections: impl Stream<Item = std::io::Result<TcpStream>>) -> usize {
        connections
            .take(CLIENTS)
            .filter_map(|result| async { result.ok() })
            .count()
            .await
    }
    within_deadline(|| {
        run(async {
            let listener = TcpListener::bind(any()).await.unwrap();
            let address = listener.local_addr().unwrap();
            let clients = spawn(async move {
                let mut clients = Vec::new();
                for _ in 0..=CLIENTS {
                    clients.push(TcpStream::connect(address).await.unwrap());
                }
                clients
            });
            assert_eq!(count(listener.incoming()).await, CLIENTS);
            let mut connections = listener.incoming();
            let last = connections.next().await.unwrap();
            assert_eq!(clients.await.unwrap().len(), CLIENTS + 1);
            drop(last);
        });
    });
}

#[cfg(unix)]
#[test]
fn unix_connections_are_a_stream() {
    let path = std::env::temp_dir().join(format!("trefoil-incoming-{}", std::process::id()));
    let _ = std::fs::remove_file(&path);
    let socket = path.clone();
    within_deadline(move || {
        run(async {
            let listener = UnixListener::bind(&socket).await.unwrap();
            for _ in 0..3 {
                let client = UnixStream::connect(&socket).await.unwrap();
                let server = listener.incoming().next().await.unwrap();
                client.write_all(b"x").await.unwrap();
                assert_eq!(server.read(&mut [0; 8]).await.unwrap(), 1);
                let client = UnixStream::connect(&socket).await.unwrap();
                let (_server, peer) = poll_fn(|cx| listener.poll_accept(cx)).await.unwrap();
                assert!(peer.is_unnamed());
                drop(client);
            }
        });
    });
    std::fs::remove_file(path).unwrap();
}

#[test]
fn a_polled_listener_without_descriptors_does_not_spin() {
    alone(
        "listeners::a_polled_listener_without_descriptors_does_not_spin",
        "ulimit -n 64",
        || {
            run(async {
                let listener = TcpListener::bind(any()).await.unwrap();
                let address = listener.local_addr().unwrap();
                let mut clients = Vec::new();
                while let Ok(stream) = TcpStream::connect(address).await {
                    clients.push(stream);
                }
                for _ in 0..2 {
                    let (mut polls, start) = (0, Instant::now());
                    let error = poll_fn(|cx| {
                        polls += 1;
                        listener.poll_accept(cx)
                    });
                    let error = error.await.unwrap_err();
                    assert!(error.to_string().contains("os error 24"), "{error}");
                    assert!(start.elapsed() >= Duration::from_millis(100));
                    assert!(polls < 10, "it spins: {polls}");
                }
                // A pause that is given up leaves nothing behind.
                let pending = poll_fn(|cx| Poll::Ready(listener.poll_accept(cx).is_pending()));
                assert!(pending.await);
                clients.pop();
                poll_fn(|cx| listener.poll_accept(cx)).await.unwrap();
            });
        },
    );
}

#[test]
fn a_socket_has_its_settings_before_it_connects() {
    within_deadline(|| {
        run(async {
            let socket = TcpSocket::new_v4().unwrap();
            assert!(!socket.reuseaddr().unwrap() && !socket.keepalive().unwrap());
            assert!(!socket.nodelay().unwrap());
            socket.set_reuseaddr(true).unwrap();
            socket.set_keepalive(true).unwrap();
            socket.set_recv_buffer_size(64 * 1024).unwrap();
            socket.set_send_buffer_size(64 * 1024).unwrap();
            assert!(socket.reuseaddr().unwrap() && socket.keepalive().unwrap());
            assert!(socket.recv_buffer_size().unwrap() >= 64 * 1024);
            assert!(socket.send_buffer_size().unwrap() >= 64 * 1024);
            socket.bind(any()).unwrap();
            let address = socket.local_addr().unwrap();
            let listener = socket.listen(16).unwrap();
            assert_eq!(listener.local_addr().unwrap(), address);

            let client = TcpSocket::new_v4().unwrap();
            client.set_nodelay(true).unwrap();
            client.bind(any()).unwrap();
            let from = client.local_addr().unwrap();
            let client = client.connect(address).await.unwrap();
            assert!(client.nodelay().unwrap());
            let (server, peer) = listener.accept().await.unwrap();
            assert_eq!((peer, client.local_addr().unwrap()), (from, from));
            client.write_all(b"x").await.unwrap();
            assert_eq!(server.read(&mut [0; 8]).await.unwrap(), 1);

            let second = TcpSocket::new_v4().unwrap();
            let error = second.bind(address).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::AddrInUse);
            // An address at which nothing listens.
            second.bind(any()).unwrap();
            let silent = second.local_addr().unwrap();
            let refused = TcpSocket::new_v4().unwrap().connect(silent).await;
            assert_eq!(refused.unwrap_err().kind(), ErrorKind::ConnectionRefused);
            // The wrong family.
            let v6 = SocketAddr::from((Ipv6Addr::LOCALHOST, 1));
            assert!(TcpSocket::new_v4().unwrap().bind(v6).is_err());
        });
        let unconnected = TcpSocket::new_v4().unwrap();
        let mut connecting = Box::pin(unconnected.connect(any()));
        assert!(matches!(poll_once(&mut connecting), Poll::Ready(Err(_))));
    });
}

#[test]
fn sockets_of_the_other_family() {
    within_deadline(|| {
        let address = SocketAddr::from((Ipv6Addr::LOCALHOST, 0));
        if std::net::TcpListener::bind(address).is_err() {
            return; // no IPv6 here
        }
        run(async {
            let socket = TcpSocket::new_v6().unwrap();
            socket.bind(address).unwrap();
            let listener = socket.listen(1).unwrap();
            let client = TcpSocket::new_v6().unwrap();
            let client = client
                .connect(listener.local_addr().unwrap())
                .await
                .unwrap();
            let (_server, peer) = listener.accept().await.unwrap();
            assert_eq!(peer, client.local_addr().unwrap());
        });
    });
}

/// Two listeners at one address.
#[cfg(target_os = "linux")]
#[test]
fn listeners_share_a_port() {
    within_deadline(|| {
        run(async {
            let mut address = any();
            let mut listeners = Vec::new();
            for _ in 0..2 {
                let socket = TcpSocket::new_v4().unwrap();
                socket.set_reuseport(true).unwrap();
                assert!(socket.reuseport().unwrap());
                socket.bind(address).unwrap();
                address = socket.local_addr().unwrap();
                listeners.push(socket.listen(64).unwrap());
            }
            let (one, other) = (&listeners[0], &listeners[1]);
            let clients: Vec<_> = (0..32)
                .map(|_| spawn(TcpStream::connect(address)))
                .collect();
            let mut accepted = [0, 0];
            while accepted[0] + accepted[1] < 32 {
                trefoil::select! {
                    result = one.accept() => accepted[0] += usize::from(result.is_ok()),
                    result = other.accept() => accepted[1] += usize::from(result.is_ok()),
                }
            }
            for client in clients {
                client.await.unwrap().unwrap();
            }
        });
    });
}

/// A given-up attempt to connect closes the socket.
#[test]
fn a_dropped_attempt_leaves_no_descriptor() {
    alone(
        "listeners::a_dropped_attempt_leaves_no_descriptor",
        "",
        || {
            let event_loop = EventLoop::new().unwrap();
            event_loop.block_on(async {
                let _warm = TcpSocket::new_v4().unwrap().connect(any()).await;
                time::sleep(Duration::from_millis(1)).await;
                let before = crate::support::count_fds();
                let nowhere = "192.0.2.1:9".parse().unwrap();
                for _ in 0..5 {
                    let attempt = TcpSocket::new_v4().unwrap().connect(nowhere);
                    let _ = timeout(Duration::from_millis(1), attempt).await;
                }
                assert_eq!(crate::support::count_fds(), before);
            });
        },
    );
}
