//! Wakers that run arbitrary code; tasks that continue when they are not awaited; wakers that
//! outlive their loop.

use std::cell::RefCell;
use std::future::{Future, pending};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, mpsc};
use std::task::{Context, Wake, Waker};
use std::time::Duration;

use trefoil::io::{AsyncFd, Signal, TcpListener, TcpStream, UnixStream};
use trefoil::sync::Mutex;
use trefoil::time::{sleep, timeout};
use trefoil::{LoopHandle, run, spawn, yield_now};

use crate::support::{Dropped, LONG, alone, count_fds, pair, within_deadline};

thread_local! {
    /// What the wakers find on the loop's thread.
    static THINGS: RefCell<Vec<Box<dyn std::any::Any>>> = const { RefCell::new(Vec::new()) };
}

/// A waker that calls back into the loop when it is called and when it is dropped.
struct Meddler(Arc<AtomicUsize>);

fn meddle() {
    // Drops one thing, which may be the future that this waker was registered with, and has wakers
    // itself.
    let one = THINGS.with(|things| things.borrow_mut().pop());
    drop(one);
    let handle = LoopHandle::current();
    spawn(async {
        let (near, _far) = UnixStream::pair().unwrap();
        let _never = timeout(Duration::from_micros(10), near.read(&mut [0])).await;
    })
    .detach();
    handle.spawn(sleep(Duration::ZERO)).cancel();
    let mut pause = Box::pin(sleep(LONG));
    assert!(poll(pause.as_mut(), Waker::noop()).is_pending());
}

impl Wake for Meddler {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, SeqCst);
        meddle();
    }
}

impl Drop for Meddler {
    fn drop(&mut self) {
        self.0.fetch_add(1, SeqCst);
        meddle();
    }
}

fn poll<F: Future + ?Sized>(future: Pin<&mut F>, waker: &Waker) -> std::task::Poll<F::Output> {
    future.poll(&mut Context::from_waker(waker))
}

type Boxed = Pin<Box<dyn Future<Output = ()>>>;

/// Waiting futures of every kind, each of which owns its source.
async fn waits() -> Vec<Boxed> {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (near, far) = pair().await;
    let (one, other) = UnixStream::pair().unwrap();
    let pipe = AsyncFd::new(std::io::pipe().unwrap().0).unwrap();
    let signal = Signal::new(Signal::USR2).unwrap();
    let address = listener.local_addr().unwrap();
    vec![
        Box::pin(async move { drop(listener.accept().await) }),
        Box::pin(async move {
            let _far = far;
            let _read = near.read(&mut [0]).await;
        }),
        Box::pin(async move {
            let _write = one.write_all(&vec![0; 1 << 20]).await;
            drop(other);
        }),
        Box::pin(async move { drop(pipe.readable().await) }),
        Box::pin(async move { drop(signal.recv().await) }),
        Box::pin(async move { drop(TcpStream::connect(address).await) }),
        Box::pin(sleep(Duration::from_millis(1))),
        Box::pin(async { drop(timeout(Duration::from_millis(1), pending::<()>()).await) }),
        Box::pin(async { drop(spawn(pending::<()>()).await) }),
    ]
}

#[test]
fn they_may_do_anything_when_they_are_called_or_dropped() {
    alone(
        "wakers::they_may_do_anything_when_they_are_called_or_dropped",
        "",
        || {
            let before = count_fds();
            let calls = Arc::new(AtomicUsize::new(0));
            run(async {
                for round in 0..30 {
                    let mut futures = waits().await;
                    for future in &mut futures {
                        // A new waker replaces the first, which is dropped.
                        let waker = || Waker::from(Arc::new(Meddler(calls.clone())));
                        if poll(future.as_mut(), &waker()).is_pending() {
                            let _ready = poll(future.as_mut(), &waker());
                        }
                    }
                    for _ in 0..round % 3 {
                        yield_now().await;
                    }
                    // Wakers drop the futures one by one; some are called before.
                    let boxed = futures.into_iter().map(|future| Box::new(future) as _);
                    THINGS.with(|things| things.borrow_mut().extend(boxed));
                    sleep(Duration::from_millis(2)).await;
                    meddle();
                }
                // The rest is dropped with the loop's thread, or here.
                while let Some(thing) = THINGS.with(|things| things.borrow_mut().pop()) {
                    drop(thing);
                }
            });
            assert!(calls.load(SeqCst) > 100);
            assert_eq!(count_fds(), before);
        },
    );
}

/// A task that is no longer awaited continues, because other code may need the lock that it holds.
#[test]
fn an_unawaited_task_goes_on_and_releases_its_lock() {
    within_deadline(|| {
        run(async {
            let lock = Rc::new(Mutex::new(0));
            let held = lock.clone();
            let mut holder = spawn(async move {
                let mut guard = held.lock().await;
                sleep(Duration::from_millis(5)).await;
                *guard += 1;
            });
            yield_now().await;
            assert!(timeout(Duration::ZERO, &mut holder).await.is_err());
            assert_eq!(*timeout(LONG, lock.lock()).await.unwrap(), 1);
            holder.await.unwrap();
        });
    });
}

#[test]
fn a_task_cancelled_before_its_first_poll_is_dropped() {
    within_deadline(|| {
        let (tell, told) = mpsc::channel();
        run(async {
            let guard = Dropped(tell);
            let task = spawn(async move {
                let _guard = guard;
                unreachable!("it was cancelled before");
            });
            assert!(task.cancel());
            let end: Result<(), _> = task.await;
            assert!(matches!(end, Err(trefoil::TaskError::Cancelled)));
        });
        assert_eq!(told.recv().unwrap(), std::thread::current().id());
    });
}

#[test]
fn what_outlives_a_loop_does_not_keep_its_descriptors() {
    alone(
        "wakers::what_outlives_a_loop_does_not_keep_its_descriptors",
        "",
        || {
            let before = count_fds();
            let mut kept = Vec::new();
            for _ in 0..20 {
                let mut pause = Box::pin(sleep(LONG));
                let handle = run(async {
                    assert!(poll(pause.as_mut(), Waker::noop()).is_pending());
                    LoopHandle::current()
                });
                kept.push((pause, handle));
            }
            assert_eq!(count_fds(), before);
            drop(kept);
            assert_eq!(count_fds(), before);
        },
    );
}
