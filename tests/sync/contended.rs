//! What goes wrong only if threads meet in one instant: each test repeats it many times.

use std::hint;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::thread;

use crate::deadline::{rounds, within_deadline};
use trefoil::sync::{Barrier, Semaphore};

/// Where two threads begin a round together, as near as can be: they spin.
#[derive(Default)]
struct Start {
    arrived: AtomicUsize,
    /// The round that is none, if it is not 0: there the other thread ends.
    last: AtomicUsize,
}

impl Start {
    fn wait(&self, round: usize) {
        self.arrived.fetch_add(1, Ordering::SeqCst);
        while self.arrived.load(Ordering::SeqCst) < (round + 1) * 2 {
            thread::yield_now();
        }
    }

    fn end(&self, round: usize) {
        self.last.store(round, Ordering::SeqCst);
        self.wait(round);
    }

    /// Whether the round that has begun is the last one.
    fn is_over(&self, round: usize) -> bool {
        round > 0 && self.last.load(Ordering::SeqCst) == round
    }
}

/// A loop's thread may be refused, but it has come.
#[test]
fn a_barrier_counts_a_loops_thread_that_is_refused() {
    within_deadline(|| {
        let shared = Arc::new((Barrier::new(2), Start::default()));
        let theirs = shared.clone();
        let other = thread::spawn(move || {
            for round in 0.. {
                theirs.1.wait(round);
                if theirs.1.is_over(round) {
                    break;
                }
                theirs.0.wait_blocking();
            }
        });
        trefoil::run(async {
            let mut last = 0;
            for round in rounds(100_000) {
                last = round + 1;
                shared.1.wait(round);
                let wait = AssertUnwindSafe(|| shared.0.wait_blocking());
                let _ = catch_unwind(wait); // perhaps refused
            }
            shared.1.end(last);
        });
        other.join().unwrap();
    });
}

#[derive(Default)]
struct Woken(AtomicBool);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::SeqCst);
    }
}

/// Two permits are released, while the first of two waiters looks in vain for one that another has
/// taken from it: each waiter gets one.
#[test]
fn a_semaphore_wakes_a_waiter_for_each_permit() {
    within_deadline(|| {
        let shared = Arc::new((Semaphore::new(2), Start::default()));
        let theirs = shared.clone();
        let releases = thread::spawn(move || {
            let (semaphore, start) = &*theirs;
            for round in 0.. {
                let one = semaphore.try_acquire().unwrap();
                let two = semaphore.try_acquire().unwrap();
                start.wait(4 * round); // the waiters begin to wait
                if start.is_over(4 * round) {
                    break;
                }
                start.wait(4 * round + 1); // they wait
                drop(one);
                let taken = semaphore.try_acquire();
                for _ in 0..round % 97 {
                    hint::spin_loop();
                }
                drop((taken, two));
                start.wait(4 * round + 2); // both are released
                start.wait(4 * round + 3); // and so are those of the waiters
            }
        });
        let (semaphore, start) = &*shared;
        let mut last = 0;
        for round in rounds(400_000) {
            last = round + 1;
            start.wait(4 * round);
            let woken = Arc::new(Woken::default());
            let waker = Waker::from(woken.clone());
            let (noop, cx) = (
                &mut Context::from_waker(Waker::noop()),
                &mut Context::from_waker(&waker),
            );
            {
                let mut first = pin!(semaphore.acquire());
                let mut second = pin!(semaphore.acquire());
                assert!(first.as_mut().poll(noop).is_pending());
                assert!(second.as_mut().poll(cx).is_pending());
                start.wait(4 * round + 1);
                let held = loop {
                    if let Poll::Ready(permit) = first.as_mut().poll(noop) {
                        break permit;
                    }
                };
                start.wait(4 * round + 2);
                assert_eq!(semaphore.available_permits(), 1);
                let is_woken = woken.0.load(Ordering::SeqCst);
                assert!(is_woken, "round {round}: it sleeps, and a permit is free");
                let ready = second.as_mut().poll(cx);
                assert!(ready.is_ready());
                drop((ready, held));
            }
            start.wait(4 * round + 3);
        }
        start.end(4 * last);
        releases.join().unwrap();
    });
}
