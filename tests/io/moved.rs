//! Sockets and futures that are carried to other loops and threads.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::task::{Context, Poll, Waker};
use std::thread;
use std::time::Duration;

use trefoil::io::{TcpListener, TcpStream, UdpSocket, lookup_host};
use trefoil::time::{interval, sleep};
use trefoil::{LoopHandle, run, spawn};

use crate::support::{LONG, alone, count_fds, needs_a_loop, pair, within_deadline};

#[test]
fn what_must_be_send_is_send() {
    fn send<T: Send>(value: T) -> T {
        value
    }
    fn send_sync<T: Send + Sync>() {}
    send_sync::<TcpListener>();
    send_sync::<TcpStream>();
    send_sync::<LoopHandle>();
    drop(send(TcpStream::connect("127.0.0.1:1")));
    drop(send(sleep(LONG)));
    drop(send(lookup_host("localhost:1")));
    let mut beat = interval(LONG);
    drop(send(beat.tick()));
    drop(send(async {
        let (near, far) = pair().await;
        near.write_all(b"x").await.unwrap();
        far.read_to_end(&mut Vec::new()).await.unwrap();
    }));
}

#[test]
fn a_socket_belongs_to_the_loop_of_its_first_use() {
    within_deadline(|| {
        let (listener, near, far) = run(async {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let address = listener.local_addr().unwrap();
            let near = TcpStream::connect(address).await.unwrap();
            let (far, _) = listener.accept().await.unwrap();
            (listener, near, far)
        });
        // Outside a loop.
        needs_a_loop(near.write(b"x"));
        // On another one.
        run(async {
            let error = near.write(b"x").await.unwrap_err();
            assert!(error.to_string().contains("another event loop"), "{error}");
            let error = listener.accept().await.unwrap_err();
            assert!(error.to_string().contains("another event loop"), "{error}");
            // `far` was accepted there, and first used here.
            far.write_all(b"x").await.unwrap();
        });
    });
}

#[test]
fn sockets_and_their_futures_are_dropped_anywhere() {
    alone(
        "moved::sockets_and_their_futures_are_dropped_anywhere",
        "",
        || {
            let before = count_fds();
            let left = run(async {
                let mut left = Vec::new();
                for round in 0..50 {
                    let (near, far) = pair().await;
                    let mut waiting = Box::pin(async move {
                        let _ = near.read(&mut [0; 8]).await;
                    });
                    // It is registered, and waits with a waker of this task.
                    poll_fn(|cx| {
                        assert!(waiting.as_mut().poll(cx).is_pending());
                        Poll::Ready(())
                    })
                    .await;
                    if round % 2 == 0 {
                        thread::spawn(move || drop(waiting)).join().unwrap();
                        // The other side sees the end, because the descriptor is closed.
                        assert_eq!(far.read(&mut [0; 8]).await.unwrap(), 0);
                    } else {
                        left.push((waiting, far));
                    }
                }
                left
            });
            drop(left);
            assert_eq!(count_fds(), before);
        },
    );
}

#[test]
fn a_foreign_executor_on_the_loops_thread() {
    within_deadline(|| {
        run(async {
            // A future that is polled by hand, with its own waker.
            struct Flag(AtomicBool, Waker);
            impl std::task::Wake for Flag {
                fn wake(self: Arc<Self>) {
                    self.0.store(true, SeqCst);
                    self.1.wake_by_ref();
                }
            }
            let outer = poll_fn(|cx| Poll::Ready(cx.waker().clone())).await;
            let flag = Arc::new(Flag(AtomicBool::new(true), outer));
            let waker = Waker::from(flag.clone());
            let (near, far) = pair().await;
            let mut inner = pin!(async {
                sleep(Duration::from_millis(2)).await;
                far.read_exact(&mut [0; 3]).await
            });
            let writer = spawn(async move {
                for byte in b"abc" {
                    near.write_all(&[*byte]).await.unwrap();
                    sleep(Duration::from_millis(1)).await;
                }
            });
            poll_fn(|_| {
                if flag.0.swap(false, SeqCst) {
                    return inner.as_mut().poll(&mut Context::from_waker(&waker));
                }
                Poll::Pending
            })
            .await
            .unwrap();
            writer.await.unwrap();
        });
    });
}

/// Not at its first use, which may be far from the mistake.
#[test]
fn what_is_bound_or_connected_without_a_loop_fails_at_once() {
    within_deadline(|| {
        needs_a_loop(TcpListener::bind("127.0.0.1:0"));
        needs_a_loop(UdpSocket::bind("127.0.0.1:0"));
        needs_a_loop(TcpStream::connect("127.0.0.1:1"));
        needs_a_loop(TcpStream::connect("no.such.host.invalid:1"));
        let udp = run(UdpSocket::bind("127.0.0.1:0")).unwrap();
        needs_a_loop(udp.connect("127.0.0.1:1"));
    });
}

/// A library may move a stream to another thread, and drop the error that it gets there.
#[test]
fn the_first_use_of_a_stream_off_its_loop_is_reported_once() {
    alone(
        "moved::the_first_use_of_a_stream_off_its_loop_is_reported_once",
        "",
        || {
            let (tell, told) = std::sync::mpsc::channel();
            let of_loop = move |report: &trefoil::TaskReport| {
                assert!(report.is_notice());
                tell.send(report.to_string()).unwrap();
            };
            let event_loop = trefoil::EventLoop::builder().on_unobserved(of_loop).build();
            event_loop.unwrap().block_on(async {
                let (near, far) = pair().await;
                near.write_all(b"x").await.unwrap();
                assert!(told.try_recv().is_err());
                thread::spawn(move || {
                    // This is used here first, by whoever sees the error.
                    needs_a_loop(TcpListener::bind("127.0.0.1:0"));
                    needs_a_loop(near.read(&mut [0; 8]));
                    needs_a_loop(far.read(&mut [0; 8]));
                })
                .join()
                .unwrap();
            });
            let notice = told.recv().unwrap();
            assert!(
                notice.contains("another thread than that of its event loop"),
                "{notice}"
            );
            assert!(told.try_recv().is_err(), "once");
        },
    );
}
