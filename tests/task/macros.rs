//! `join!` and `select!`: a few futures in one task.

use std::cell::Cell;
use std::future::{Ready, pending, ready};
use std::pin::pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use crate::deadline::within_deadline;
use trefoil::sync::channel;
use trefoil::{Completer, TaskError, ThreadPool, join, select, timeout, yield_now};

fn poll<F: Future>(future: F) -> Poll<F::Output> {
    pin!(future).poll(&mut Context::from_waker(Waker::noop()))
}

/// Becomes a future.
struct Seven;

impl IntoFuture for Seven {
    type Output = u8;
    type IntoFuture = Ready<u8>;
    fn into_future(self) -> Ready<u8> {
        ready(7)
    }
}

#[test]
fn join_gives_all_outputs_whichever_ends_first() {
    within_deadline(|| {
        let pool = ThreadPool::with_threads(1);
        let log = Cell::new(0);
        let tick = |n: u32| {
            let log = &log;
            async move {
                yield_now().await;
                log.set(log.get() + 1);
                n.to_string()
            }
        };
        trefoil::run(async {
            let (a, b, c, d) = join!(tick(1), pool.spawn(|| 2), Seven, async {
                tick(3).await.len()
            });
            assert_eq!((a.as_str(), b.unwrap(), c, d, log.get()), ("1", 2, 7, 1, 2));
            assert_eq!(join!(ready(1),), (1,));
            // The function of that name is there, too.
            assert_eq!(join(|| 1, || 2), (1, 2));
        });
        let (completer, task) = Completer::<u8>::new();
        let mut both = Box::pin(async { join!(task, ready(1)) });
        assert!(poll(both.as_mut()).is_pending());
        completer.complete(Ok(5));
        assert!(matches!(poll(both), Poll::Ready((Ok(5), 1))));
    });
}

#[test]
fn select_takes_the_first_that_is_ready_as_written() {
    within_deadline(|| {
        trefoil::run(async {
            let taken = select! {
                () = pending() => 0,
                n = ready(1) => n,
                n = Seven => u32::from(n),
            };
            assert_eq!(taken, 1);
            let taken = select! { biased; n = Seven => { n } _ = pending::<u8>() => { 0 } };
            assert_eq!(taken, 7);
            let (completer, mut task) = Completer::new();
            let late = select! {
                _ = &mut task => false,
                () = yield_now() => true
            };
            assert!(late);
            completer.complete(Ok(3));
            select! { result = task => assert_eq!(result.unwrap(), 3) }
            let text = select! {
                mut text = ready("a".to_owned()) => {
                    text.push('b');
                    text
                }
            };
            assert_eq!(text, "ab");
        });
    });
}

#[test]
#[deny(unreachable_code)]
fn select_takes_temporaries_and_futures_that_never_end() {
    async fn endless() -> ! {
        pending().await
    }
    within_deadline(|| {
        trefoil::run(async {
            select! { n = &mut ready(1) => assert_eq!(n, 1) }
            let taken = select! {
                _ = endless() => 0,
                n = ready(1) => n,
            };
            assert_eq!(taken, 1);
        });
    });
}

#[test]
fn select_passes_over_what_does_not_match_or_may_not_take_part() {
    within_deadline(|| {
        trefoil::run(async {
            let taken = select! {
                Ok(n) = ready(Err::<u8, u8>(1)) => n,
                Some(n @ 5..) = ready(Some(4)) => n,
                n = async { yield_now().await; 9 } => n,
            };
            assert_eq!(taken, 9);
            let none = select! {
                1 = ready(2), if true => "matches",
                _ = ready(3), if taken == 0 => "may",
                else => "else",
            };
            assert_eq!(none, "else");
            let none = select! { 1 = ready(2) => { 8 } else => { 9 } };
            assert_eq!(none, 9);
            let (one, two) = (ready(String::from("moved")), pending::<()>());
            let moved = select! { text = one => text, () = two => String::new() };
            assert_eq!(moved, "moved");
        });
    });
    let outcome = std::panic::catch_unwind(|| {
        poll(async {
            select! { 1 = ready(2) => () }
        })
    });
    let message = outcome.unwrap_err();
    assert!(
        message
            .downcast_ref::<&str>()
            .unwrap()
            .contains("no branch takes part")
    );
}

/// The losers are dropped by then; and the arm is code of the enclosing function.
#[test]
fn what_select_goes_on_with_may_borrow_leave_and_fail() {
    async fn all(numbers: &channel::Receiver<u32>) -> Result<u32, TaskError> {
        let mut sum = 0;
        loop {
            let count = async {
                let _borrowed = &sum;
                pending::<u32>().await
            };
            select! {
                _ = count => unreachable!(),
                received = numbers.recv() => {
                    let Ok(n) = received else { break };
                    if n == 9 {
                        Err(TaskError::Closed)?;
                    }
                    yield_now().await;
                    sum += n;
                    continue;
                }
            }
        }
        Ok(sum)
    }
    within_deadline(|| {
        let (sender, numbers) = channel::unbounded();
        for n in [1, 2, 9, 4] {
            sender.try_send(n).unwrap();
        }
        drop(sender);
        assert!(matches!(
            trefoil::run(all(&numbers)),
            Err(TaskError::Closed)
        ));
        assert_eq!(trefoil::run(all(&numbers)).unwrap(), 4);
    });
}

#[test]
fn a_timeout_takes_what_becomes_a_future() {
    assert_eq!(timeout(Duration::MAX, Seven).join().unwrap(), 7);
}
