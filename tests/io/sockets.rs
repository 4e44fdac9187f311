//! Connections: many of them, refused ones, names, too many.

use std::cell::Cell;
use std::io::ErrorKind;
use std::net::{Ipv4Addr, SocketAddr};
use std::rc::Rc;
use std::time::Duration;

use trefoil::io::{TcpListener, TcpStream, lookup_host};
use trefoil::time::timeout;
use trefoil::{Task, join_all, run, spawn, yield_now};

use crate::support::{alone, count_fds, count_threads, echo, pair, wait_until, within_deadline};

#[test]
fn a_thousand_echo_connections_half_of_them_reset() {
    alone(
        "sockets::a_thousand_echo_connections_half_of_them_reset",
        "ulimit -n 4096",
        || {
            const CONNECTIONS: usize = 1000;
            let before = count_fds();
            run(async {
                let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
                let address = listener.local_addr().unwrap();
                let server = spawn(async move {
                    let mut served = Vec::new();
                    for _ in 0..CONNECTIONS {
                        let (stream, _) = listener.accept().await.unwrap();
                        served.push(spawn(echo(stream)));
                    }
                    served
                });
                let met = Rc::new(Cell::new(0));
                let clients: Vec<_> = (0..CONNECTIONS)
                    .map(|n| {
                        let met = met.clone();
                        spawn(async move {
                            let stream = TcpStream::connect(address).await.unwrap();
                            let message = (n as u64).to_le_bytes();
                            let mut answer = [0; 8];
                            for round in 0..4 {
                                stream.write_all(&message).await.unwrap();
                                stream.read_exact(&mut answer).await.unwrap();
                                assert_eq!(answer, message);
                                if round == 1 {
                                    // All clients are connected before any of them closes.
                                    met.set(met.get() + 1);
                                    while met.get() < CONNECTIONS {
                                        yield_now().await;
                                    }
                                    if n % 2 == 0 {
                                        // Closing with unread data, or with this option, resets.
                                        stream.set_zero_linger().unwrap();
                                        stream.write_all(&message).await.unwrap();
                                        return false;
                                    }
                                }
                            }
                            true
                        })
                    })
                    .collect();
                let mut whole = 0;
                for client in clients {
                    whole += usize::from(client.await.unwrap());
                }
                assert_eq!(whole, CONNECTIONS / 2);
                for served in server.await.unwrap() {
                    served.await.unwrap();
                }
            });
            assert_eq!(count_fds(), before);
        },
    );
}

#[test]
fn many_acceptors_and_readers_none_forgotten() {
    within_deadline(|| {
        run(async {
            let listener = Rc::new(TcpListener::bind("127.0.0.1:0").await.unwrap());
            let address = listener.local_addr().unwrap();
            // A dropped `accept` leaves no entry that could swallow a wake-up.
            for _ in 0..100 {
                let accept = listener.accept();
                assert!(timeout(Duration::ZERO, accept).await.is_err());
            }
            let given_up: Vec<_> = (0..8)
                .map(|_| {
                    let listener = listener.clone();
                    spawn(async move { listener.accept().await.map(|_| ()) })
                })
                .collect();
            let acceptors: Vec<_> = (0..8)
                .map(|_| {
                    let listener = listener.clone();
                    spawn(async move { listener.accept().await })
                })
                .collect();
            yield_now().await;
            assert!(given_up.iter().all(Task::cancel));
            let mut clients = Vec::new();
            for _ in 0..8 {
                clients.push(TcpStream::connect(address).await.unwrap());
            }
            for acceptor in join_all(acceptors).await {
                acceptor.unwrap().unwrap();
            }
            // Two readers of one stream: the bytes come once, the end comes to both.
            let (near, far) = pair().await;
            let far = Rc::new(far);
            let readers: Vec<_> = (0..2)
                .map(|_| {
                    let far = far.clone();
                    spawn(async move {
                        let mut count = 0;
                        loop {
                            match far.read(&mut [0; 1]).await.unwrap() {
                                0 => return count,
                                n => count += n,
                            }
                        }
                    })
                })
                .collect();
            yield_now().await;
            near.write_all(b"0123456789").await.unwrap();
            drop(near);
            let counts: usize = join_all(readers)
                .await
                .into_iter()
                .map(Result::unwrap)
                .sum();
            assert_eq!(counts, 10);
        });
    });
}

#[test]
fn connecting_tries_every_address_and_names_are_looked_up_off_the_loop() {
    alone(
        "sockets::connecting_tries_every_address_and_names_are_looked_up_off_the_loop",
        "",
        || {
            run(async {
                let gone = {
                    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
                    listener.local_addr().unwrap()
                };
                let refused = TcpStream::connect(gone).await.unwrap_err();
                assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
                let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
                let address = listener.local_addr().unwrap();
                let stream = TcpStream::connect(&[gone, address][..]).await.unwrap();
                assert_eq!(stream.peer_addr().unwrap(), address);
                let none: &[SocketAddr] = &[];
                assert_eq!(
                    TcpStream::connect(none).await.unwrap_err().kind(),
                    ErrorKind::InvalidInput
                );
                assert_eq!(
                    TcpStream::connect("nonsense").await.unwrap_err().kind(),
                    ErrorKind::InvalidInput
                );
                assert_eq!(
                    TcpListener::bind(address).await.unwrap_err().kind(),
                    ErrorKind::AddrInUse
                );
                assert_eq!(count_threads("trefoil-helper"), 0, "numbers need no thread");

                let found = lookup_host(("localhost", address.port())).await.unwrap();
                assert!(found.contains(&address), "{found:?}");
                assert!(count_threads("trefoil-helper") > 0);
                TcpStream::connect(format!("localhost:{}", address.port()))
                    .await
                    .unwrap();
                assert!(lookup_host("no.such.host.invalid:80").await.is_err());
            });
            wait_until("the end of the idle threads", || {
                count_threads("trefoil-helper") == 0
            });
        },
    );
}

#[test]
fn no_descriptor_left_is_an_error_and_not_a_spin() {
    alone(
        "sockets::no_descriptor_left_is_an_error_and_not_a_spin",
        "ulimit -n 64",
        || {
            run(async {
                let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
                let address = listener.local_addr().unwrap();
                let mut clients = Vec::new();
                let error = loop {
                    match TcpStream::connect(address).await {
                        Ok(stream) => clients.push(stream),
                        Err(error) => break error,
                    }
                };
                assert!(error.to_string().contains("os error 24"), "{error}");
                let error = listener.accept().await.unwrap_err();
                assert!(error.to_string().contains("os error 24"), "{error}");
                // Each `accept` fails, and succeeds again once there are descriptors.
                assert!(listener.accept().await.is_err());
                clients.pop();
                listener.accept().await.unwrap();
            });
        },
    );
}
