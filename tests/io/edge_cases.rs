//! The edges of a connection: nothing to read, the wrong loop, one half closed, a reset.

use std::future::poll_fn;
use std::io::{IoSlice, IoSliceMut, Read, Write};
use std::pin::Pin;
use std::sync::{Arc, mpsc};
use std::task::Context;
use std::thread;
use std::time::Duration;

use futures_io::{AsyncRead, AsyncWrite};
use trefoil::io::{TcpListener, TcpStream};
use trefoil::time::timeout;
use trefoil::{run, spawn, yield_now};

use crate::support::{LONG, pair, within_deadline};

const SOON: Duration = Duration::from_millis(5);

/// Writes until the other side takes no more.
async fn fill(stream: &TcpStream) -> usize {
    let mut filled = 0;
    while let Ok(count) = timeout(SOON, stream.write(&[7; 1 << 16])).await {
        filled += count.unwrap();
    }
    filled
}

#[test]
fn reading_or_writing_nothing_does_not_wait() {
    within_deadline(|| {
        run(async {
            let (near, far) = pair().await;
            let near = &near;
            // The source is registered in both directions, and ready in neither.
            assert!(timeout(SOON, near.read(&mut [0])).await.is_err());
            let filled = fill(near).await;
            assert!(filled > 0);
            timeout(LONG, async {
                assert_eq!(near.read(&mut []).await.unwrap(), 0);
                assert_eq!(near.peek(&mut []).await.unwrap(), 0);
                assert_eq!(near.write(&[]).await.unwrap(), 0);
                near.read_exact(&mut []).await.unwrap();
                near.write_all(&[]).await.unwrap();
                let mut stream = near;
                let count = poll_fn(|cx| Pin::new(&mut stream).poll_read(cx, &mut [])).await;
                assert_eq!(count.unwrap(), 0);
                let count = poll_fn(|cx| Pin::new(&mut stream).poll_write(cx, &[])).await;
                assert_eq!(count.unwrap(), 0);
                let mut none = [IoSliceMut::new(&mut []), IoSliceMut::new(&mut [])];
                for slices in [&mut [], &mut none[..]] {
                    let read =
                        |cx: &mut Context<'_>| Pin::new(&mut stream).poll_read_vectored(cx, slices);
                    assert_eq!(poll_fn(read).await.unwrap(), 0);
                }
                for slices in [&[], &[IoSlice::new(&[])][..]] {
                    let write = |cx: &mut Context<'_>| {
                        Pin::new(&mut stream).poll_write_vectored(cx, slices)
                    };
                    assert_eq!(poll_fn(write).await.unwrap(), 0);
                }
            })
            .await
            .expect("nothing is there at once");
            // A buffer in a list may be empty, of course.
            let mut got = [0; 4];
            let mut stream = &far;
            let mut slices = [IoSliceMut::new(&mut []), IoSliceMut::new(&mut got)];
            let read =
                |cx: &mut Context<'_>| Pin::new(&mut stream).poll_read_vectored(cx, &mut slices);
            assert_eq!(poll_fn(read).await.unwrap(), 4);
        });
        // Without a loop, even a read into an empty buffer fails.
        let (near, _far) = run(pair());
        let error = timeout(LONG, near.read(&mut [])).join().unwrap();
        assert!(error.unwrap_err().to_string().contains("event loop"));
    });
}

#[test]
fn an_entry_that_is_refused_here_takes_no_place_there() {
    within_deadline(|| {
        let (out, streams) = mpsc::channel();
        let theirs = thread::spawn(move || {
            run(async {
                let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
                let address = listener.local_addr().unwrap();
                let far = std::net::TcpStream::connect(address).unwrap();
                let near = Arc::new(listener.accept().await.unwrap().0);
                assert!(timeout(SOON, near.read(&mut [0])).await.is_err());
                let reader = {
                    let near = near.clone();
                    spawn(async move { near.read(&mut [0; 8]).await })
                };
                yield_now().await;
                out.send((near, far)).unwrap();
                reader.await.unwrap().unwrap()
            })
        });
        let (near, mut far) = streams.recv().unwrap();
        // This loop numbers its waiters from 1 again, so one gets the number that the reader has on
        // the other loop.
        run(async {
            for _ in 0..100 {
                let error = near.read(&mut [0; 8]).await.unwrap_err();
                assert!(error.to_string().contains("another event loop"), "{error}");
            }
        });
        far.write_all(b"abc").unwrap();
        assert_eq!(theirs.join().unwrap(), 3);
    });
}

#[test]
fn a_dropped_operation_leaves_its_socket_as_it_was() {
    within_deadline(|| {
        run(async {
            let (near, far) = pair().await;
            let (near, far) = (&near, &far);
            for round in 0..3_u8 {
                // Readers of all kinds wait, and are dropped.
                assert!(timeout(SOON, far.read(&mut [0; 8])).await.is_err());
                assert!(timeout(SOON, far.peek(&mut [0; 8])).await.is_err());
                assert!(timeout(SOON, far.read_exact(&mut [0; 8])).await.is_err());
                assert!(
                    timeout(SOON, far.read_to_end(&mut Vec::new()))
                        .await
                        .is_err()
                );
                assert!(
                    timeout(SOON, far.read_to_string(&mut String::new()))
                        .await
                        .is_err()
                );
                near.write_all(&[round; 3]).await.unwrap();
                let mut got = [9; 3];
                far.read_exact(&mut got).await.unwrap();
                assert_eq!(got, [round; 3]);
                // A writer is dropped at a full buffer; all bytes that were taken arrive.
                let filled = fill(near).await;
                let mut drained = 0;
                while drained < filled {
                    drained += far.read(&mut [0; 1 << 16]).await.unwrap();
                }
                assert_eq!(drained, filled);
                near.write_all(b"after").await.unwrap();
                let mut got = [0; 5];
                far.read_exact(&mut got).await.unwrap();
                assert_eq!(&got, b"after");
            }
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let address = listener.local_addr().unwrap();
            for _ in 0..3 {
                assert!(timeout(SOON, listener.accept()).await.is_err());
                // `connect` is dropped before the first poll, after it, or is completed.
                drop(TcpStream::connect(address));
                let stream = TcpStream::connect(address).await.unwrap();
                let (_accepted, peer) = listener.accept().await.unwrap();
                assert_eq!(peer, stream.local_addr().unwrap());
            }
        });
    });
}

#[test]
fn half_closed_the_other_half_goes_on() {
    within_deadline(|| {
        run(async {
            let (near, far) = pair().await;
            near.write_all(b"question").await.unwrap();
            near.shutdown(std::net::Shutdown::Write).unwrap();
            let mut question = String::new();
            far.read_to_string(&mut question).await.unwrap();
            assert_eq!(question, "question");
            for _ in 0..300 {
                assert_eq!(far.read(&mut [0; 8]).await.unwrap(), 0);
                assert_eq!(far.peek(&mut [0; 8]).await.unwrap(), 0);
            }
            let answer = vec![5; 8 << 20];
            let writer = spawn(async move { far.write_all(&answer).await.map(|()| drop(far)) });
            let mut got = Vec::new();
            assert_eq!(near.read_to_end(&mut got).await.unwrap(), 8 << 20);
            writer.await.unwrap().unwrap();
            assert!(near.write(b"x").await.is_err());
        });
    });
}

#[test]
fn a_reset_in_the_middle_of_a_write_is_an_error() {
    within_deadline(|| {
        run(async {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let address = listener.local_addr().unwrap();
            let thread = thread::spawn(move || {
                let mut far = std::net::TcpStream::connect(address).unwrap();
                far.read_exact(&mut [0; 1000]).unwrap();
                // Closing with unread data resets.
            });
            let (near, _) = listener.accept().await.unwrap();
            let error = near.write_all(&vec![0; 256 << 20]).await.unwrap_err();
            let kind = error.kind();
            use std::io::ErrorKind::{BrokenPipe, ConnectionReset};
            assert!(matches!(kind, BrokenPipe | ConnectionReset), "{error}");
            for _ in 0..3 {
                // The connection is over, and each write fails at once.
                assert!(timeout(LONG, near.write(b"x")).await.unwrap().is_err());
                let rest = timeout(LONG, near.read(&mut [0; 8])).await.unwrap();
                assert!(matches!(rest, Ok(0) | Err(_)));
            }
            thread.join().unwrap();
        });
    });
}
