//! The choice between addresses, and what a listener does when there is no room.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use trefoil::io::{TcpListener, TcpStream};
use trefoil::run;
use trefoil::time::timeout;

use crate::support::{LONG, alone, count_fds};

/// A listener that never answers, because its queue is full.
async fn silent() -> (TcpListener, Vec<TcpStream>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    rustix::net::listen(&listener, 0).unwrap();
    let address = listener.local_addr().unwrap();
    let mut queued = Vec::new();
    let pause = Duration::from_millis(50);
    while let Ok(stream) = timeout(pause, TcpStream::connect(address)).await {
        queued.push(stream.unwrap());
        assert!(queued.len() < 100);
    }
    (listener, queued)
}

#[test]
fn one_that_never_answers_does_not_hold_up_the_others() {
    alone(
        "connecting::one_that_never_answers_does_not_hold_up_the_others",
        "",
        || {
            run(async {
                let (silent, _queue) = silent().await;
                let silent = silent.local_addr().unwrap();
                let good = TcpListener::bind("127.0.0.1:0").await.unwrap();
                let address = good.local_addr().unwrap();
                let gone = {
                    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
                    listener.local_addr().unwrap()
                };
                let open = count_fds();
                let clock = Instant::now();
                let stream = TcpStream::connect(&[silent, address][..]).await.unwrap();
                let took = clock.elapsed();
                assert_eq!(stream.peer_addr().unwrap(), address);
                assert!(took >= Duration::from_millis(250), "{took:?}");
                assert!(took < LONG, "{took:?}"); // the kernel waits for minutes
                drop(stream);
                // A refusal is an answer, so the next address is tried at once.
                let mut quickest = LONG;
                for _ in 0..20 {
                    let clock = Instant::now();
                    drop(TcpStream::connect(&[gone, address][..]).await.unwrap());
                    quickest = quickest.min(clock.elapsed());
                }
                assert!(quickest < Duration::from_millis(200), "{quickest:?}");
                // With two silent addresses and one that refuses, the attempt ends after a while.
                let list: &[SocketAddr] = &[silent, gone, silent];
                let patience = Duration::from_millis(300);
                assert!(timeout(patience, TcpStream::connect(list)).await.is_err());
                assert!(TcpStream::connect(&[gone, gone][..]).await.is_err());
                assert_eq!(count_fds(), open);
            });
        },
    );
}

#[test]
fn a_listener_without_room_does_not_spin() {
    alone(
        "connecting::a_listener_without_room_does_not_spin",
        "ulimit -n 64",
        || {
            run(async {
                let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
                let address = listener.local_addr().unwrap();
                let mut clients = Vec::new();
                while let Ok(stream) = TcpStream::connect(address).await {
                    clients.push(stream);
                }
                let clock = Instant::now();
                for _ in 0..3 {
                    let error = listener.accept().await.unwrap_err();
                    assert_eq!(error.raw_os_error(), Some(24), "{error}");
                }
                let took = clock.elapsed();
                assert!(took >= Duration::from_millis(300), "{took:?}");
                // If the queue gets room meanwhile, the connection is made.
                let room = clients.pop();
                let accepting = timeout(LONG, listener.accept());
                drop(room);
                accepting.await.unwrap().unwrap();
            });
        },
    );
}
