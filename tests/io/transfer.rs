//! Transfers: short counts, both directions, ends, resets, urgent data.

use std::cell::Cell;
use std::future::poll_fn;
use std::io::{ErrorKind, Result};
use std::net::Shutdown;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use futures_io::{AsyncRead, AsyncWrite};
use trefoil::io::TcpStream;
#[cfg(unix)]
use trefoil::io::UnixStream;
use trefoil::time::sleep;
use trefoil::{join_all, run, spawn, yield_now};

use crate::support::{LONG, pair, within_deadline};

#[test]
fn many_bytes_both_ways_at_once() {
    within_deadline(|| {
        run(async {
            const TOTAL: usize = 16 << 20;
            let pattern = |at: usize| (at * 31 + (at >> 8) * 7) as u8;
            let (near, far) = pair().await;
            let streams = [Arc::new(near), Arc::new(far)];
            let mut tasks = Vec::new();
            for stream in &streams {
                let writer = stream.clone();
                tasks.push(spawn(async move {
                    let bytes: Vec<u8> = (0..TOTAL).map(pattern).collect();
                    for chunk in bytes.chunks(300_007) {
                        writer.write_all(chunk).await.unwrap();
                    }
                    writer.shutdown(Shutdown::Write).unwrap();
                }));
                let reader = stream.clone();
                tasks.push(spawn(async move {
                    let mut bytes = vec![1, 2, 3];
                    assert_eq!(reader.read_to_end(&mut bytes).await.unwrap(), TOTAL);
                    assert!(
                        bytes[3..]
                            .iter()
                            .enumerate()
                            .all(|(at, &byte)| byte == pattern(at))
                    );
                }));
            }
            for result in join_all(tasks).await {
                result.unwrap();
            }
        });
    });
}

#[cfg(unix)] // elsewhere one buffer goes at a time, which takes minutes with so many
#[test]
fn the_futures_io_traits_vectored_too() {
    within_deadline(|| {
        run(async {
            let (near, far) = pair().await;
            let mut byte = [0];
            let waiting = spawn(async move {
                near.read_exact(&mut byte).await.unwrap();
                near
            });
            yield_now().await;
            far.write_all(b"x").await.unwrap();
            let near = waiting.await.unwrap();
            // More slices than the system takes at once: first small ones, which all fit
            // into its buffers, then more bytes than it buffers.
            let small: Vec<u8> = (0..50_000_u32).map(|n| (n % 251) as u8).collect();
            let whole = [small.clone(), small.repeat(160)].concat();
            let expected = whole.clone();
            let writer = spawn(async move {
                let mut written = 0;
                while written < whole.len() {
                    let size = if written < 50_000 { 10 } else { 4096 };
                    let slices: Vec<_> = whole[written..]
                        .chunks(size)
                        .map(std::io::IoSlice::new)
                        .collect();
                    written += poll_fn(|cx| Pin::new(&mut &near).poll_write_vectored(cx, &slices))
                        .await
                        .unwrap();
                }
                let mut near = near;
                poll_fn(|cx| Pin::new(&mut near).poll_flush(cx))
                    .await
                    .unwrap();
                poll_fn(|cx| Pin::new(&mut near).poll_close(cx))
                    .await
                    .unwrap();
                near
            });
            let mut far = far;
            // Registered, so that short counts matter.
            far.peek(&mut [0]).await.unwrap();
            let mut got = Vec::new();
            loop {
                let size = if got.len() < 1 << 20 { 4 } else { 1000 };
                let mut parts = vec![vec![0; size]; 1500];
                let mut slices: Vec<_> = parts
                    .iter_mut()
                    .map(|part| std::io::IoSliceMut::new(part))
                    .collect();
                let count = poll_fn(|cx| Pin::new(&mut far).poll_read_vectored(cx, &mut slices))
                    .await
                    .unwrap();
                if count == 0 {
                    break;
                }
                got.extend_from_slice(&parts.concat()[..count]);
            }
            assert!(got == expected);
            let mut near = writer.await.unwrap();
            poll_fn(|cx| Pin::new(&mut &far).poll_write(cx, b"back"))
                .await
                .unwrap();
            let mut back = [0; 16];
            assert_eq!(
                poll_fn(|cx| Pin::new(&mut near).poll_read(cx, &mut back))
                    .await
                    .unwrap(),
                4
            );
        });
    });
}

#[cfg(unix)]
#[test]
fn a_read_that_stops_at_urgent_data_does_not_strand_what_follows() {
    within_deadline(|| {
        run(async {
            let (near, far) = pair().await;
            let mut buffer = [0; 64];
            // Registered, so that short reads count.
            spawn(async move {
                sleep(Duration::from_millis(2)).await;
                near.write_all(b"1").await.unwrap();
                sleep(Duration::from_millis(2)).await;
                near.write_all(b"abc").await.unwrap();
                rustix::net::send(&near, b"!", rustix::net::SendFlags::OOB).unwrap();
                near.write_all(b"def").await.unwrap();
                sleep(LONG).await;
            })
            .detach();
            let mut got = Vec::new();
            while got.len() < 7 {
                let count = far.read(&mut buffer).await.unwrap();
                got.extend_from_slice(&buffer[..count]);
            }
            assert_eq!(got, b"1abcdef");
        });
    });
}

/// The data and the end both come before the first read, in one event: after a read that took less
/// than it could have, the next one waits, and meanwhile the other direction goes on. So code that
/// checks whether the client is still there (hyper does) can answer before it sees the end of the
/// stream.
#[cfg(unix)]
#[test]
fn after_a_short_read_the_end_is_not_told_before_others_have_had_their_turn() {
    fn read<S: AsyncRead + Unpin>(cx: &mut Context<'_>, stream: &mut S) -> Poll<Result<usize>> {
        Pin::new(stream).poll_read(cx, &mut [0; 64])
    }
    fn write<S: AsyncWrite + Unpin>(cx: &mut Context<'_>, stream: &mut S) -> Poll<Result<usize>> {
        Pin::new(stream).poll_write(cx, b"words")
    }
    async fn check<S>(mut near: S, mut far: S, watched: bool, end: impl FnOnce(&S))
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        if watched {
            let waits = poll_fn(|cx| Poll::Ready(read(cx, &mut far).is_pending())).await;
            assert!(waits);
        }
        poll_fn(|cx| write(cx, &mut near)).await.unwrap();
        end(&near);
        poll_fn(|cx| {
            let question = ready!(read(cx, &mut far));
            assert_eq!(question.unwrap(), 5);
            // In the same poll: nothing more has been reported meanwhile.
            let more = read(cx, &mut far);
            assert!(more.is_pending(), "{more:?} (watched: {watched})");
            let answer = write(cx, &mut far);
            assert!(matches!(answer, Poll::Ready(Ok(5))), "{answer:?}");
            Poll::Ready(())
        })
        .await;
        let rest = poll_fn(|cx| read(cx, &mut far)).await;
        assert_eq!(rest.unwrap(), 0, "the end");
        assert_eq!(poll_fn(|cx| read(cx, &mut near)).await.unwrap(), 5);
    }
    within_deadline(|| {
        run(async {
            for watched in [false, true] {
                let (near, far) = pair().await;
                let end = |near: &TcpStream| near.shutdown(Shutdown::Write).unwrap();
                check(near, far, watched, end).await;
                let (near, far) = UnixStream::pair().unwrap();
                let end = |near: &UnixStream| near.shutdown(Shutdown::Write).unwrap();
                check(near, far, watched, end).await;
            }
        });
    });
}

/// Bytes that come between a short read and the loop's first look at the stream are not missed.
#[test]
fn bytes_after_a_short_read_are_reported_although_not_watched_yet() {
    within_deadline(|| {
        run(async {
            for more in [&b"more"[..], b""] {
                let (near, far) = pair().await;
                near.write_all(b"some").await.unwrap();
                let mut bytes = [0; 64];
                assert_eq!(far.read(&mut bytes).await.unwrap(), 4);
                near.write_all(more).await.unwrap();
                near.shutdown(Shutdown::Write).unwrap();
                let mut rest = Vec::new();
                far.read_to_end(&mut rest).await.unwrap();
                assert_eq!(rest, more);
            }
        });
    });
}

#[test]
fn a_stream_that_is_always_ready_lets_the_others_run() {
    within_deadline(|| {
        run(async {
            let (near, far) = pair().await;
            let stop = Rc::new(Cell::new(false));
            let stopped = stop.clone();
            let busy = spawn(async move {
                // Never has to wait.
                while !stopped.get() {
                    near.write_all(b"x").await.unwrap();
                    far.read_exact(&mut [0]).await.unwrap();
                }
            });
            sleep(Duration::from_millis(5)).await;
            stop.set(true);
            busy.await.unwrap();
        });
    });
}

#[cfg(unix)]
#[test]
fn a_reset_is_an_error_and_an_end_is_an_end() {
    within_deadline(|| {
        run(async {
            let (near, far) = pair().await;
            let waiting = spawn(async move {
                let end = far.read(&mut [0; 8]).await;
                (far, end)
            });
            yield_now().await;
            near.set_zero_linger().unwrap();
            drop(near);
            let (far, end) = waiting.await.unwrap();
            assert_eq!(end.unwrap_err().kind(), ErrorKind::ConnectionReset);
            assert!(far.write(b"x").await.is_err());

            // The end comes with the last bytes, in one event.
            let (near, far) = pair().await;
            let reader = spawn(async move {
                let mut words = Vec::new();
                far.read_to_end(&mut words).await.map(|count| (far, count))
            });
            yield_now().await;
            near.write_all(b"last words").await.unwrap();
            drop(near);
            let (far, count) = reader.await.unwrap().unwrap();
            assert_eq!(count, 10);
            assert_eq!(far.read(&mut [0; 8]).await.unwrap(), 0);
            let short = far.read_exact(&mut [0; 8]).await.unwrap_err();
            assert_eq!(short.kind(), ErrorKind::UnexpectedEof);
        });
    });
}
