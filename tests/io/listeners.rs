//! Listeners as streams, and of sockets with settings.

use std::net::SocketAddr;
use std::time::Duration;

use futures::StreamExt;
use trefoil::io::{TcpListener, TcpStream};
use trefoil::{EventLoop, run, spawn, time, timeout};

use crate::support::{alone, within_deadline};

fn any() -> SocketAddr {
    "127.0.0.1:0".parse().unwrap()
}

/// Accepts from a stream of another crate.
#[test]
fn connections_are_a_stream() {
    const CLIENTS: usize = 20;
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
            let connections = futures::stream::unfold(&listener, async |listener| {
                Some((listener.accept().await, listener))
            });
            let accepted: Vec<_> = connections.take(CLIENTS).collect().await;
            assert!(accepted.iter().all(Result::is_ok));
            let last = listener.accept().await.unwrap();
            assert_eq!(clients.await.unwrap().len(), CLIENTS + 1);
            drop((accepted, last));
        });
    });
}

/// Two listeners at one address, of sockets that other code has made.
#[cfg(target_os = "linux")]
#[test]
fn listeners_share_a_port() {
    within_deadline(|| {
        use rustix::net::{AddressFamily, SocketType, bind, listen, socket, sockopt};
        run(async {
            let mut address = any();
            let mut listeners = Vec::new();
            for _ in 0..2 {
                let socket = socket(AddressFamily::INET, SocketType::STREAM, None).unwrap();
                sockopt::set_socket_reuseport(&socket, true).unwrap();
                bind(&socket, &address).unwrap();
                listen(&socket, 64).unwrap();
                let listener = TcpListener::try_from(std::net::TcpListener::from(socket)).unwrap();
                address = listener.local_addr().unwrap();
                listeners.push(listener);
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
                let _warm = TcpStream::connect(any()).await;
                time::sleep(Duration::from_millis(1)).await;
                let before = crate::support::count_fds();
                let nowhere: SocketAddr = "192.0.2.1:9".parse().unwrap();
                for _ in 0..5 {
                    let attempt = TcpStream::connect(nowhere);
                    let _ = timeout(Duration::from_millis(1), attempt).await;
                }
                assert_eq!(crate::support::count_fds(), before);
            });
        },
    );
}
