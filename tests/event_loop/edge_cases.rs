//! The edges: nothing to do, too much to wait for, the end of time, the wrong loop.

use std::future::{Future, poll_fn};
use std::io::{IoSlice, IoSliceMut, Read, Write};
use std::pin::Pin;
use std::sync::{Arc, mpsc};
use std::task::{Context, Poll, Wake, Waker};
use std::thread;
use std::time::{Duration, Instant};

use futures_io::{AsyncRead, AsyncWrite};
use trefoil::io::{TcpListener, TcpStream};
use trefoil::time::{interval, sleep, sleep_until, timeout};
use trefoil::{Completer, TaskError, run, spawn, yield_now};

use crate::support::{LONG, asleep, pair, wait_until, within_deadline};

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
        let error = timeout(LONG, near.read(&mut [])).wait().unwrap();
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
fn a_task_may_wait_for_more_than_its_budget() {
    within_deadline(|| {
        run(async {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let (near, far) = pair().await;
            let writer = spawn(async move {
                sleep(SOON).await;
                near.write_all(b"x").await.map(|()| near)
            });
            // All of them are polled each time, as a simple `select` does.
            let mut accepts: Vec<_> = (0..1000).map(|_| Box::pin(listener.accept())).collect();
            let mut buffer = [0; 8];
            let mut last = Box::pin(far.read(&mut buffer));
            let mut polls = 0;
            let count = poll_fn(|cx| {
                polls += 1;
                for accept in &mut accepts {
                    assert!(accept.as_mut().poll(cx).is_pending());
                }
                last.as_mut().poll(cx)
            })
            .await
            .unwrap();
            assert_eq!(count, 1);
            assert!(polls < 100, "it spins: {polls}");
            writer.await.unwrap().unwrap();
        });
    });
}

/// The latest time that the clock can represent, to the second.
fn end_of_time() -> Instant {
    let now = Instant::now();
    let (mut low, mut high) = (0, u64::MAX);
    while low < high {
        let middle = low + (high - low).div_ceil(2);
        if now.checked_add(Duration::from_secs(middle)).is_some() {
            low = middle;
        } else {
            high = middle - 1;
        }
    }
    now + Duration::from_secs(low)
}

#[test]
fn deadlines_at_the_end_of_time() {
    within_deadline(|| {
        let last = end_of_time();
        run(async move {
            let mut far = vec![
                spawn(sleep(Duration::MAX)),
                spawn(sleep(Duration::MAX)),
                spawn(sleep_until(last)),
                spawn(sleep_until(Instant::now() + Duration::from_secs(1 << 40))),
                spawn(async move {
                    let mut beat = interval(Duration::MAX);
                    beat.tick().await;
                    beat.tick().await;
                }),
                spawn(async move {
                    let forever = timeout(Duration::MAX, std::future::pending::<()>());
                    let _ = forever.await;
                }),
            ];
            // With only these timers the loop sleeps until it is woken...
            let (completer, promise) = Completer::new();
            let this = crate::deadline::this_thread();
            let thread = thread::spawn(move || {
                wait_until("the loop sleeps", || asleep(this));
                completer.complete(Ok(()));
            });
            promise.await.unwrap();
            thread.join().unwrap();
            // ...and earlier timers go off in time.
            sleep(SOON).await;
            assert_eq!(timeout(Duration::MAX, async { 3 }).await.unwrap(), 3);
            for task in &mut far {
                assert!(task.try_join().is_none());
                assert!(task.cancel());
            }
        });
        // The same without a loop, on the timer thread.
        let forever = timeout(Duration::MAX, std::future::pending::<()>());
        let nearly = timeout(
            last.saturating_duration_since(Instant::now()) - LONG,
            std::future::pending::<()>(),
        );
        let (tell, told) = mpsc::channel();
        thread::spawn(move || {
            let _ = tell.send(timeout(SOON, std::future::pending::<()>()).wait().is_err());
        });
        thread::spawn(move || forever.wait());
        thread::spawn(move || nearly.wait());
        assert!(told.recv().unwrap());
        // A deadline that has passed.
        let start = Instant::now();
        assert!(matches!(
            timeout(Duration::ZERO, std::future::pending::<()>()).wait(),
            Err(TaskError::TimedOut)
        ));
        assert!(start.elapsed() < LONG / 2);
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

/// A waker that panics when it is called, and in its destructor.
struct Nasty;

impl Wake for Nasty {
    fn wake(self: Arc<Self>) {
        panic!("in a waker");
    }
}

impl Drop for Nasty {
    fn drop(&mut self) {
        panic!("in a waker's destructor");
    }
}

#[test]
fn a_loop_survives_foreign_wakers() {
    within_deadline(|| {
        run(async {
            for elsewhere in [false, true] {
                let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
                let address = listener.local_addr().unwrap();
                let waker = Waker::from(Arc::new(Nasty));
                let cx = &mut Context::from_waker(&waker);
                let mut pause = Box::pin(sleep(if elsewhere { LONG } else { SOON }));
                assert!(pause.as_mut().poll(cx).is_pending());
                let mut accept = Box::pin(listener.accept());
                assert!(accept.as_mut().poll(cx).is_pending());
                if elsewhere {
                    // The last clone of the waker is dropped when the loop handles its notes.
                    drop(waker);
                    thread::scope(|scope| {
                        scope.spawn(move || drop((pause, accept)));
                    });
                    yield_now().await;
                    yield_now().await;
                } else {
                    std::mem::forget(waker);
                    let mut client = std::net::TcpStream::connect(address).unwrap();
                    client.write_all(b"x").unwrap();
                    sleep(SOON * 2).await;
                    std::mem::forget((pause, accept));
                }
            }
            assert_eq!(spawn(async { 1 }).await.unwrap(), 1);
        });
    });
}

#[test]
fn many_block_ons_with_wakes_between_them() {
    within_deadline(|| {
        let event_loop = trefoil::EventLoop::new().unwrap();
        let mut kept: Option<Waker> = None;
        for round in 0..1000_u32 {
            let (completer, promise) = Completer::new();
            let waiting = event_loop.handle().spawn(promise);
            event_loop.block_on(yield_now());
            // The previous root future's waker is called on another thread, while the loop does not
            // run.
            let stale = kept.take();
            thread::spawn(move || {
                if let Some(waker) = stale {
                    waker.wake();
                }
                completer.complete(Ok(round));
            })
            .join()
            .unwrap();
            assert_eq!(event_loop.block_on(waiting).unwrap().unwrap(), round);
            kept = Some(event_loop.block_on(poll_fn(|cx| Poll::Ready(cx.waker().clone()))));
        }
        drop(event_loop);
        // And after the loop has ended.
        kept.unwrap().wake();
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
