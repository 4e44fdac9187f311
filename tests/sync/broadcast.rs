//! Every value to every receiver: order, what a slow one loses, and how it ends.

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, mpsc};
use std::task::{Context, Poll, Wake, Waker};
use std::thread;

use crate::deadline::within_deadline;
use trefoil::ThreadPool;
use trefoil::sync::broadcast::{self, RecvError, TryRecvError};

fn poll<F: Future>(future: F) -> Poll<F::Output> {
    pin!(future).poll(&mut Context::from_waker(Waker::noop()))
}

#[test]
fn threads_and_tasks_get_every_value_in_order() {
    within_deadline(|| {
        let (sender, receiver) = broadcast::channel(1000);
        let mut blocking = sender.subscribe();
        let mut in_a_task = receiver.resubscribe();
        let thread = thread::spawn(move || {
            std::iter::from_fn(|| blocking.recv_blocking().ok()).collect::<Vec<u32>>()
        });
        let task = thread::spawn(move || {
            trefoil::run(async {
                let mut seen = Vec::new();
                while let Ok(n) = in_a_task.recv().await {
                    seen.push(n);
                }
                seen
            })
        });
        let all: Vec<u32> = (0..1000).collect();
        for n in &all {
            assert_eq!(sender.send(*n).unwrap(), 3);
        }
        drop(sender);
        assert_eq!(thread.join().unwrap(), all);
        assert_eq!(task.join().unwrap(), all);
        assert_eq!(receiver.len(), 1000);
    });
}

#[test]
fn a_slow_receiver_is_told_how_many_it_has_lost() {
    let (sender, mut slow) = broadcast::channel(3);
    let mut quick = sender.subscribe();
    for n in 0..5 {
        sender.send(n).unwrap();
        assert_eq!(quick.try_recv(), Ok(n));
    }
    assert_eq!((slow.len(), sender.len()), (5, 3));
    assert_eq!(slow.try_recv(), Err(TryRecvError::Lagged(2)));
    assert_eq!(slow.try_recv(), Ok(2));
    for n in 5..100 {
        sender.send(n).unwrap();
    }
    drop(sender);
    assert_eq!(poll(slow.recv()), Poll::Ready(Err(RecvError::Lagged(94))));
    assert_eq!(slow.recv_blocking(), Ok(97));
    assert_eq!((slow.try_recv(), slow.try_recv()), (Ok(98), Ok(99)));
    assert_eq!(slow.try_recv(), Err(TryRecvError::Closed));
    assert_eq!(poll(slow.recv()), Poll::Ready(Err(RecvError::Closed)));
    assert_eq!(quick.recv_blocking(), Err(RecvError::Lagged(92)));

    let (sender, mut receiver) = broadcast::channel(0);
    sender.send(1).unwrap();
    sender.send(2).unwrap();
    assert_eq!(receiver.try_recv(), Err(TryRecvError::Lagged(1)));
    assert_eq!(
        (receiver.try_recv(), receiver.try_recv()),
        (Ok(2), Err(TryRecvError::Empty))
    );
}

#[test]
fn a_receiver_gets_what_is_sent_after_it_came() {
    let (sender, first) = broadcast::channel(4);
    sender.send(1).unwrap();
    let (mut second, mut third) = (sender.subscribe(), first.resubscribe());
    assert!(second.is_empty() && poll(second.recv()).is_pending());
    sender.send(2).unwrap();
    assert_eq!((second.try_recv(), third.try_recv()), (Ok(2), Ok(2)));
    drop((first, second, third));
    assert_eq!(sender.send(3).unwrap_err().0, 3);
    assert_eq!(sender.subscribe().try_recv(), Err(TryRecvError::Empty));
}

/// It is dropped as soon as the last receiver has taken it or is gone. The last receiver gets it
/// without a clone.
#[test]
fn a_value_is_kept_until_all_receivers_have_taken_it() {
    let (sender, mut one) = broadcast::channel(8);
    let mut two = sender.subscribe();
    let values: Vec<_> = (0..4).map(Arc::new).collect();
    for value in &values {
        sender.send(value.clone()).unwrap();
    }
    let owners = |n: usize| Arc::strong_count(&values[n]);
    drop(one.try_recv());
    assert_eq!((owners(0), sender.len()), (2, 4));
    drop(two.try_recv());
    assert_eq!((owners(0), sender.len()), (1, 3));
    drop(one.try_recv());
    drop(two);
    assert_eq!((owners(1), owners(2), sender.len()), (1, 2, 2));
    drop(one);
    assert!((0..4).all(|n| owners(n) == 1) && sender.is_empty());

    struct Uncloned;
    impl Clone for Uncloned {
        fn clone(&self) -> Self {
            panic!("it is the only one")
        }
    }
    let (sender, mut only) = broadcast::channel(1);
    sender.send(Uncloned).unwrap();
    assert!(only.try_recv().is_ok());
}

#[test]
fn a_lost_value_that_panics_when_dropped_leaves_no_receiver_asleep() {
    struct Loud(bool);
    impl Clone for Loud {
        fn clone(&self) -> Self {
            Self(false)
        }
    }
    impl Drop for Loud {
        fn drop(&mut self) {
            assert!(!self.0, "on purpose");
        }
    }
    within_deadline(|| {
        let (sender, slow) = broadcast::channel(1);
        let mut quick = sender.subscribe();
        sender.send(Loud(true)).ok().unwrap();
        quick.try_recv().ok().unwrap();
        let woken = Arc::new(Woken::default());
        let waker = Waker::from(woken.clone());
        let mut next = pin!(quick.recv());
        assert!(
            next.as_mut()
                .poll(&mut Context::from_waker(&waker))
                .is_pending()
        );
        let sent = catch_unwind(AssertUnwindSafe(|| sender.send(Loud(false))));
        assert!(sent.is_err() && woken.0.load(Ordering::SeqCst));
        assert!(matches!(poll(next), Poll::Ready(Ok(_))));
        drop(slow);
    });
}

#[derive(Default)]
struct Woken(AtomicBool);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::SeqCst);
    }
}

#[test]
fn a_worker_that_waits_for_a_value_is_replaced() {
    within_deadline(|| {
        let pool = ThreadPool::with_threads(1);
        let (sender, mut receiver) = broadcast::channel(1);
        let (begins, begun) = mpsc::channel();
        let waiting = pool.spawn(move || {
            begins.send(()).unwrap();
            receiver.recv_blocking()
        });
        begun.recv().unwrap();
        let sending = pool.spawn(move || sender.send(5));
        assert_eq!(waiting.join().unwrap(), Ok(5));
        assert_eq!(sending.join().unwrap(), Ok(1));
    });
}

/// Like `Cell`s: only one thread at a time accesses a value.
#[test]
fn values_need_not_be_sync() {
    within_deadline(|| {
        let (sender, mut one) = broadcast::channel(1000);
        let mut two = sender.subscribe();
        let other = thread::spawn(move || {
            let all = std::iter::from_fn(|| two.recv_blocking().ok());
            all.map(|value: Cell<u64>| value.get()).sum::<u64>()
        });
        for n in 0..1000 {
            sender.send(Cell::new(n)).unwrap();
        }
        drop(sender);
        let here = std::iter::from_fn(|| one.recv_blocking().ok());
        let sum: u64 = here.map(|value| value.get()).sum();
        assert_eq!((sum, other.join().unwrap()), (499_500, 499_500));
    });
}

/// Code of a value runs without the channel's lock, so it may use the channel.
#[test]
fn a_value_that_uses_its_channel_when_it_is_cloned_or_dropped() {
    struct Busy(broadcast::Sender<Busy>, bool);
    impl Clone for Busy {
        fn clone(&self) -> Self {
            assert_eq!(self.0.receiver_count(), 2);
            Self(self.0.clone(), false)
        }
    }
    impl Drop for Busy {
        fn drop(&mut self) {
            let _ = self.0.len();
        }
    }
    within_deadline(|| {
        let (sender, mut one) = broadcast::channel(1);
        let _two = sender.subscribe();
        sender.send(Busy(sender.clone(), true)).ok().unwrap();
        assert!(one.try_recv().is_ok_and(|busy| !busy.1));
        sender.send(Busy(sender.clone(), true)).ok().unwrap(); // the first is lost
        drop(one);
    });
}

#[test]
fn a_sender_hears_that_nobody_receives_any_more() {
    within_deadline(|| {
        let (sender, one) = broadcast::channel::<u8>(4);
        let two = sender.subscribe();
        let mut closed = pin!(sender.closed());
        assert!(poll(closed.as_mut()).is_pending());
        drop(one);
        assert!(poll(closed.as_mut()).is_pending());
        drop(two);
        assert!(poll(closed).is_ready());
        // It was heard from another thread, and new receivers may come.
        let three = sender.subscribe();
        let mut closed = pin!(sender.closed());
        assert!(poll(closed.as_mut()).is_pending());
        let other = thread::spawn(move || drop(three));
        trefoil::run(closed);
        other.join().unwrap();
        assert!(sender.send(1).is_err());
        assert!(poll(sender.closed()).is_ready());
    });
}
