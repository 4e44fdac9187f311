//! `ThreadPool::imap` and `imap_unordered`: results one by one.
#![allow(clippy::disallowed_methods, clippy::disallowed_types)] // a program, not the crate

use crate::deadline;
#[cfg(target_os = "linux")]
use crate::refuse;

use std::collections::HashSet;
use std::future::poll_fn;
use std::iter;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Barrier, Mutex, mpsc};
use std::task::{Context, Poll, Waker};
use std::thread;
use std::time::{Duration, Instant};

use deadline::{alone, eventually, sample, within_deadline};
use futures::{Stream, StreamExt};
#[cfg(target_os = "linux")]
use refuse::refuse;
use trefoil::{CancelToken, Shutdown, ThreadPool};

/// Waits long enough for an error to show.
fn a_while() {
    thread::sleep(Duration::from_millis(30));
}

fn count() -> (Arc<AtomicUsize>, impl Fn() + Clone + Send + Sync + 'static) {
    let number = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&number);
    let count = move || {
        counted.fetch_add(1, Ordering::SeqCst);
    };
    (number, count)
}

fn text(payload: Box<dyn std::any::Any + Send>) -> String {
    match payload.downcast::<String>() {
        Ok(text) => *text,
        Err(payload) => (*payload.downcast::<&str>().unwrap()).to_owned(),
    }
}

fn caught<R>(f: impl FnOnce() -> R) -> String {
    text(catch_unwind(AssertUnwindSafe(f)).err().unwrap())
}

/// Counts how many instances exist.
struct Live(Arc<AtomicUsize>);

impl Live {
    fn new(live: &Arc<AtomicUsize>) -> Self {
        live.fetch_add(1, Ordering::SeqCst);
        Self(Arc::clone(live))
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

fn assert_send<T: Send>(_: &T) {}

#[test]
fn results_keep_the_order_of_the_items_or_come_all_the_same() {
    within_deadline(|| {
        for width in [1, 2, 4] {
            let pool = ThreadPool::with_threads(width);
            for buffer in [0, 1, 2, 7, usize::MAX] {
                let items = pool.imap(0..500_u64, |n| n * 3).buffer(buffer);
                assert_send(&items);
                assert!(items.eq((0..500).map(|n| n * 3)), "{width} {buffer}");
                let mut all: Vec<u64> = pool
                    .imap_unordered(0..500_u64, |n| n * 3)
                    .buffer(buffer)
                    .collect();
                all.sort_unstable();
                assert!(all.into_iter().eq((0..500).map(|n| n * 3)));
            }
            // Empty iterators, iterators without a known size, and many kinds of items.
            assert_eq!(pool.imap(iter::empty::<u8>(), |n| n).count(), 0);
            assert_eq!(pool.imap(vec![(); 1000], |()| ()).count(), 1000);
            assert_eq!(pool.imap_unordered(vec![(); 1000], |()| ()).count(), 1000);
            let words = pool.imap(["a", "b"].map(String::from), |word| word + "!");
            assert_eq!(words.collect::<String>(), "a!b!");
        }
    });
}

#[test]
fn uneven_items_keep_their_order_and_all_workers_are_used() {
    within_deadline(|| {
        let own = ThreadPool::builder().threads(3).caller_helps(false).build();
        let pool = own.unwrap();
        // The first ends only when all three are being worked on.
        let barrier = Arc::new(Barrier::new(3));
        let meet = move |n: usize| {
            if n < 3 {
                barrier.wait();
            }
            (n, trefoil::thread::current_index().is_some())
        };
        let all: Vec<_> = pool.imap(0..30, meet).collect();
        assert!(all.into_iter().eq((0..30).map(|n| (n, true))));
        // Unordered: the first item's result is the last.
        let (release, stuck) = mpsc::channel::<()>();
        let stuck = Mutex::new(stuck);
        let mut results = pool.imap_unordered(0..4, move |n| {
            if n == 0 {
                let _ = stuck.lock().unwrap().recv();
            }
            n
        });
        let early: HashSet<i32> = results.by_ref().take(3).collect();
        assert_eq!(early, HashSet::from([1, 2, 3]));
        drop(release);
        assert_eq!(results.collect::<Vec<_>>(), [0]);
    });
}

#[test]
fn nothing_happens_before_the_first_next_and_never_more_than_the_buffer() {
    within_deadline(|| {
        let pool = ThreadPool::with_threads(2);
        for ordered in [true, false] {
            for buffer in [1, 3, 8] {
                let (pulled, pull) = count();
                let (begun, begin) = count();
                let input = (0..).inspect(move |_| pull());
                let f = move |n: i32| {
                    begin();
                    n
                };
                let mut results = if ordered {
                    pool.imap(input, f)
                } else {
                    pool.imap_unordered(input, f)
                }
                .buffer(buffer);
                a_while();
                assert_eq!(pulled.load(Ordering::SeqCst), 0, "it is lazy");
                for taken in 1..20 {
                    results.next().unwrap();
                    let now = pulled.load(Ordering::SeqCst);
                    assert!(now <= taken + buffer, "{now} of {taken} and {buffer}");
                }
                // It works ahead while no result is taken, but no further than the buffer.
                eventually("it works ahead", || {
                    begun.load(Ordering::SeqCst) >= 19 + buffer / 2
                });
                a_while();
                assert!(pulled.load(Ordering::SeqCst) <= 19 + buffer);
            }
        }
    });
}

#[test]
fn a_slow_first_item_lets_no_more_than_the_buffer_run_ahead() {
    within_deadline(|| {
        let pool = ThreadPool::with_threads(2);
        let (release, stuck) = mpsc::channel::<()>();
        let stuck = Mutex::new(stuck);
        let (begun, begin) = count();
        let mut results = pool
            .imap(0..100, move |n| {
                begin();
                if n == 0 {
                    let _ = stuck.lock().unwrap().recv();
                }
                n
            })
            .buffer(5);
        let seen = Arc::clone(&begun);
        let watch = thread::spawn(move || {
            eventually("they run ahead", || seen.load(Ordering::SeqCst) == 5);
            a_while();
            let begun = seen.load(Ordering::SeqCst);
            drop(release);
            begun
        });
        assert_eq!(results.next(), Some(0));
        assert_eq!(watch.join().unwrap(), 5);
        assert!(results.eq(1..100));
    });
}

#[test]
fn an_iterator_that_blocks_holds_up_no_result() {
    within_deadline(|| {
        for width in [1, 2] {
            let pool = ThreadPool::with_threads(width);
            for ordered in [true, false] {
                let (sender, receiver) = mpsc::channel();
                let mut results = if ordered {
                    pool.imap(receiver, |n: i32| n + 1)
                } else {
                    pool.imap_unordered(receiver, |n: i32| n + 1)
                };
                for n in 0..50 {
                    sender.send(n).unwrap();
                    assert_eq!(results.next(), Some(n + 1));
                }
                // Nor is the pool blocked meanwhile.
                assert_eq!(pool.spawn(|| 7).join().unwrap(), 7);
                assert_eq!(pool.install(|| 8), 8);
                drop(sender);
                assert_eq!(results.next(), None);
                assert_eq!(results.next(), None);
            }
        }
    });
}

#[test]
fn a_task_of_the_same_worker_feeds_it() {
    within_deadline(|| {
        let pool = Arc::new(ThreadPool::with_threads(1));
        let (sender, receiver) = mpsc::channel();
        let (inner, outer) = (Arc::clone(&pool), Arc::clone(&pool));
        let sum = pool.spawn(move || {
            // The only worker consumes; the task that sends must run on the pool, too.
            let results = inner.imap(receiver, |n: u64| n * 2);
            let send = move || (0..10).for_each(|n| sender.send(n).unwrap());
            outer.spawn(send).detach();
            results.sum::<u64>()
        });
        assert_eq!(sum.join().unwrap(), 90);
    });
}

#[test]
fn a_worker_consumes_nested_at_any_width() {
    within_deadline(|| {
        for width in [1, 2] {
            let pool = Arc::new(ThreadPool::with_threads(width));
            let inner = Arc::clone(&pool);
            let outer = pool.imap(0..10_u64, move |n| {
                let sums = inner.imap(0..n, |m| m).sum::<u64>();
                let more = inner.imap_unordered(0..n, |m| m).sum::<u64>();
                sums + more
            });
            assert!(outer.eq((0..10_u64).map(|n| n * n.saturating_sub(1))));
            // One `imap` is the input of another.
            let chained = pool.imap(pool.imap(0..100, |n| n + 1), |n| n * 2);
            assert!(chained.eq((0..100).map(|n| (n + 1) * 2)));
        }
    });
}

#[test]
fn a_consuming_worker_holds_a_lock_that_a_queued_task_needs() {
    within_deadline(|| {
        let pool = Arc::new(ThreadPool::with_threads(1));
        let lock = Arc::new(Mutex::new(()));
        let (inner, mine) = (Arc::clone(&pool), Arc::clone(&lock));
        let consume = move || {
            let _guard = mine.lock().unwrap();
            let strangers: Vec<_> = (0..3)
                .map(|_| {
                    let lock = Arc::clone(&mine);
                    inner.spawn(move || drop(lock.lock().unwrap()))
                })
                .collect();
            let sum = inner.imap(0..100_u32, |n| n).sum::<u32>();
            (sum, strangers)
        };
        // On the worker, and outside.
        for (sum, strangers) in [pool.install(consume.clone()), consume()] {
            assert_eq!(sum, 4950);
            for stranger in strangers {
                stranger.join().unwrap();
            }
        }
    });
}

#[test]
fn an_items_panic_resumes_where_it_is_due_and_costs_that_item() {
    within_deadline(|| {
        let pool = ThreadPool::with_threads(2);
        for buffer in [1, 4, 100] {
            let odd = |n: u32| {
                assert!(n % 5 != 3, "item {n}");
                n
            };
            let mut results = pool.imap(0..20_u32, odd).buffer(buffer);
            for n in 0..20 {
                if n % 5 == 3 {
                    assert_eq!(caught(|| results.next()), format!("item {n}"));
                } else {
                    assert_eq!(results.next(), Some(n));
                }
            }
            assert_eq!(results.next(), None);
            let mut results = pool.imap_unordered(0..20_u32, odd).buffer(buffer);
            let (mut seen, mut panics) = (HashSet::new(), HashSet::new());
            for _ in 0..20 {
                match catch_unwind(AssertUnwindSafe(|| results.next())) {
                    Ok(n) => seen.insert(n.unwrap().to_string()),
                    Err(payload) => panics.insert(text(payload)),
                };
            }
            assert_eq!((seen.len(), panics.len()), (16, 4));
            assert_eq!(results.next(), None);
        }
        // A payload that is not text is the payload itself.
        let mut results = pool.imap([1], |_| std::panic::panic_any(7_u8));
        let payload = catch_unwind(AssertUnwindSafe(|| -> Option<()> { results.next() }));
        assert_eq!(*payload.unwrap_err().downcast::<u8>().unwrap(), 7);
    });
}

#[test]
fn a_panic_of_into_iter_is_the_callers_and_leaves_nothing() {
    struct Bomb(Arc<()>);
    impl IntoIterator for Bomb {
        type Item = i32;
        type IntoIter = std::ops::Range<i32>;
        fn into_iter(self) -> Self::IntoIter {
            assert!(Arc::strong_count(&self.0) < 2, "no iterator");
            0..1
        }
    }
    within_deadline(|| {
        let pool = ThreadPool::with_threads(1);
        let captured = Arc::new(());
        let bomb = || Bomb(Arc::clone(&captured));
        let f = || {
            let captured = Arc::clone(&captured);
            move |n: i32| (n, &captured).0
        };
        let starts: [&dyn Fn(); 3] = [
            &|| _ = pool.imap(bomb(), f()),
            &|| _ = pool.imap_unordered(bomb(), f()).buffer(1),
            &|| _ = pool.install(|| pool.imap(bomb(), f()).stream()),
        ];
        for start in starts {
            assert_eq!(caught(start), "no iterator");
            assert_eq!(Arc::strong_count(&captured), 1, "all of it is dropped");
        }
        assert_eq!(pool.imap(0..10, |n: i32| n).sum::<i32>(), 45);
        pool.shutdown(Shutdown::Wait);
    });
}

#[test]
fn the_inputs_panic_comes_after_the_items_before_it() {
    within_deadline(|| {
        let pool = ThreadPool::with_threads(2);
        for at in [0, 1, 3, 40] {
            for ordered in [true, false] {
                let input = (0..).inspect(move |&n| assert!(n != at, "input {n}"));
                let f = |n: i32| {
                    if n % 3 == 0 {
                        thread::sleep(Duration::from_millis(2));
                    }
                    n
                };
                let mut results = if ordered {
                    pool.imap(input, f)
                } else {
                    pool.imap_unordered(input, f)
                };
                let mut before: Vec<i32> = (0..at).map(|_| results.next().unwrap()).collect();
                before.sort_unstable();
                assert!(before.into_iter().eq(0..at));
                assert_eq!(caught(|| results.next()), format!("input {at}"));
                assert_eq!(results.next(), None);
                assert_eq!(results.size_hint(), (0, Some(0)));
            }
        }
        // A destructor's, too.
        struct Bomb(i32);
        impl Iterator for Bomb {
            type Item = i32;
            fn next(&mut self) -> Option<i32> {
                self.0 += 1;
                (self.0 < 3).then_some(self.0)
            }
        }
        impl Drop for Bomb {
            fn drop(&mut self) {
                panic!("bomb");
            }
        }
        let mut results = pool.imap(Bomb(0), |n| n);
        assert_eq!((results.next(), results.next()), (Some(1), Some(2)));
        assert_eq!(caught(|| results.next()), "bomb");
        assert_eq!(results.next(), None);
        // Panics of destructors of dropped items are not reported.
        drop(pool.imap(Bomb(0), |n| n));
        let mut results = pool.imap(Bomb(0), |n| n);
        assert_eq!(results.next(), Some(1));
        drop(results);
    });
}

#[test]
fn dropping_it_cancels_without_waiting() {
    within_deadline(|| {
        let pool = ThreadPool::with_threads(2);
        let live = Arc::new(AtomicUsize::new(0));
        let (seen, tokens) = mpsc::channel();
        let seen = Mutex::new(seen);
        let source = Live::new(&live);
        let held = Arc::clone(&live);
        let input = (0..).map(move |n| {
            let _source = &source;
            (n, Live::new(&held))
        });
        let captured = Live::new(&live);
        let (begun, begin) = count();
        let mut results = pool
            .imap(input, move |(n, item)| {
                let _captured = &captured;
                begin();
                if n > 0 {
                    // Until it is cancelled.
                    let token = CancelToken::current();
                    while !token.is_cancelled() {
                        thread::sleep(Duration::from_millis(1));
                    }
                    let _ = seen.lock().unwrap().send(n);
                }
                item
            })
            .buffer(10);
        drop(results.next().unwrap());
        eventually("two run", || begun.load(Ordering::SeqCst) == 3);
        drop(results);
        let mut told = [tokens.recv().unwrap(), tokens.recv().unwrap()];
        told.sort_unstable();
        assert_eq!(told, [1, 2]);
        eventually("everything is dropped", || live.load(Ordering::SeqCst) == 0);
        assert_eq!(
            begun.load(Ordering::SeqCst),
            3,
            "what was queued never runs"
        );
        // Never begun: dropped at once.
        let source = Live::new(&live);
        drop(pool.imap(iter::from_fn(move || Some(&source).map(|_| 1)), |n| n));
        assert_eq!(live.load(Ordering::SeqCst), 0);
    });
}

#[test]
fn dropping_it_while_the_iterator_blocks() {
    within_deadline(|| {
        let pool = ThreadPool::with_threads(1);
        let live = Arc::new(AtomicUsize::new(0));
        let (sender, receiver) = mpsc::channel();
        let source = Live::new(&live);
        let (tell, told) = mpsc::channel();
        let input = iter::from_fn(move || {
            let _source = &source;
            let _ = tell.send(());
            receiver.recv().ok()
        });
        let mut results = pool.imap(input, |item: Live| item);
        sender.send(Live::new(&live)).unwrap();
        drop(results.next());
        // The feeder is in the iterator's `next` again.
        (0..2).for_each(|_| told.recv().unwrap());
        drop(results);
        drop(pool);
        assert_eq!(live.load(Ordering::SeqCst), 1);
        // It finds out when `next` returns.
        sender.send(Live::new(&live)).unwrap();
        eventually("all is dropped", || live.load(Ordering::SeqCst) == 0);
        assert!(sender.send(Live::new(&live)).is_err());
    });
}

#[test]
fn an_iterator_that_blocks_can_ask_for_its_token() {
    within_deadline(|| {
        let pool = ThreadPool::with_threads(1);
        let (tell, told) = mpsc::channel();
        let mut first = true;
        let input = iter::from_fn(move || {
            if std::mem::take(&mut first) {
                return Some(1);
            }
            tell.send(()).unwrap();
            CancelToken::current().cancelled().join().unwrap();
            let _ = tell.send(());
            None
        });
        let mut results = pool.imap(input, |n| n);
        assert_eq!(results.next(), Some(1));
        told.recv().unwrap();
        drop(results);
        told.recv().unwrap();
    });
}

#[test]
fn a_pool_that_ends_hangs_nothing() {
    within_deadline(|| {
        for how in [Shutdown::Wait, Shutdown::CancelPending] {
            for ordered in [true, false] {
                // In the middle, and from the start.
                for taken in [0, 3] {
                    let pool = ThreadPool::with_threads(2);
                    let mut results = if ordered {
                        pool.imap(0..100, |n| n)
                    } else {
                        pool.imap_unordered(0..100, |n| n)
                    };
                    let mut all: Vec<i32> = results.by_ref().take(taken).collect();
                    pool.shutdown(how);
                    drop(pool);
                    all.extend(results);
                    all.sort_unstable();
                    assert!(all.into_iter().eq(0..100), "{how:?} {ordered} {taken}");
                }
                // Blocked in the input, while an item is being worked on.
                let pool = ThreadPool::with_threads(1);
                let (sender, receiver) = mpsc::channel();
                let mut results = pool.imap(receiver, |n: i32| n);
                sender.send(1).unwrap();
                assert_eq!(results.next(), Some(1));
                pool.shutdown(how);
                sender.send(2).unwrap();
                assert_eq!(results.next(), Some(2));
                drop(pool);
                sender.send(3).unwrap();
                assert_eq!(results.next(), Some(3));
                drop(sender);
                assert_eq!(results.next(), None);
            }
        }
    });
}

#[test]
fn items_queued_when_the_pool_cancels_are_not_lost() {
    within_deadline(|| {
        for how in [Shutdown::Wait, Shutdown::CancelPending] {
            let pool = Arc::new(ThreadPool::with_threads(1));
            // The worker is busy, an item is queued, and the input blocks.
            let (busy, gate) = mpsc::channel::<()>();
            let (started, starts) = mpsc::channel();
            let blocker = pool.spawn(move || {
                started.send(()).unwrap();
                let _ = gate.recv();
            });
            starts.recv().unwrap();
            let (sender, receiver) = mpsc::channel();
            let (pulled, pull) = count();
            let mut results = pool.imap(receiver.into_iter().inspect(move |_| pull()), |n: i32| n);
            sender.send(1).unwrap();
            let consumer = thread::spawn(move || {
                let first = results.next();
                (first, results.next(), results.next())
            });
            eventually("it is queued", || pulled.load(Ordering::SeqCst) == 1);
            let ender = Arc::clone(&pool);
            let ender = thread::spawn(move || ender.shutdown(how));
            a_while();
            drop(busy);
            ender.join().unwrap();
            blocker.join().unwrap();
            sender.send(2).unwrap();
            drop(sender);
            assert_eq!(consumer.join().unwrap(), (Some(1), Some(2), None));
        }
    });
}

#[test]
fn an_endless_one_does_not_keep_its_pool_from_ending() {
    within_deadline(|| {
        for how in [Shutdown::Wait, Shutdown::CancelPending] {
            let pool = ThreadPool::with_threads(2);
            let mut results = pool.imap(0_u64.., |n| n).buffer(1000);
            let (stop, stopped) = mpsc::channel::<()>();
            assert_eq!(results.next(), Some(0));
            let consumer = thread::spawn(move || {
                let mut last = 0;
                while stopped.try_recv() == Err(mpsc::TryRecvError::Empty) {
                    last += 1;
                    assert_eq!(results.next(), Some(last));
                }
            });
            pool.shutdown(how);
            drop(stop);
            consumer.join().unwrap();
        }
    });
}

#[test]
fn a_stream_yields_the_same_and_never_blocks() {
    within_deadline(|| {
        let pool = ThreadPool::with_threads(2);
        let mut stream = pool.imap(0..1000_u32, |n| n + 1).stream();
        let sum = trefoil::run(async move {
            let mut at = 0;
            while let Some(n) = stream.next().await {
                at += 1;
                assert_eq!(n, at);
            }
            assert_eq!(stream.next().await, None);
            assert_eq!(stream.size_hint(), (0, Some(0)));
            at
        });
        assert_eq!(sum, 1000);
        // On the pool's own only worker.
        let pool = Arc::new(ThreadPool::with_threads(1));
        let mut stream = pool.imap_unordered(0..1000_u32, |n| n).stream();
        let sum = pool.spawn_async(async move {
            let mut sum = 0;
            while let Some(n) = stream.next().await {
                sum += n;
            }
            sum
        });
        assert_eq!(sum.join().unwrap(), 499_500);
        // The input blocks for ever: polls come back at once.
        let (sender, receiver) = mpsc::channel();
        let mut stream = pool.imap(receiver, |n: i32| n).stream();
        let mut cx = Context::from_waker(Waker::noop());
        for _ in 0..100 {
            assert!(stream.poll_next_unpin(&mut cx).is_pending());
        }
        sender.send(7).unwrap();
        // A future that is dropped loses nothing.
        trefoil::run(async {
            let got = trefoil::timeout(Duration::from_secs(30), stream.next()).await;
            assert_eq!(got.unwrap(), Some(7));
            let nothing = trefoil::timeout(Duration::from_millis(5), stream.next()).await;
            assert!(nothing.is_err());
            sender.send(8).unwrap();
            assert_eq!(stream.next().await, Some(8));
        });
        // After the pool's end as well, and panics come in the place of their items.
        pool.shutdown(Shutdown::Wait);
        drop(sender);
        assert_eq!(trefoil::run(async { stream.next().await }), None);
        let mut stream = pool.imap(0..3, |n| assert_ne!(n, 1)).stream();
        trefoil::run(async move {
            assert_eq!(stream.next().await, Some(()));
            let waker = poll_fn(|cx| Poll::Ready(cx.waker().clone())).await;
            let mut polled = || stream.poll_next_unpin(&mut Context::from_waker(&waker));
            let end = Instant::now() + Duration::from_secs(30);
            let panicked = loop {
                match catch_unwind(AssertUnwindSafe(&mut polled)) {
                    Ok(Poll::Pending) if Instant::now() < end => trefoil::yield_now().await,
                    Ok(other) => panic!("{other:?}"),
                    Err(payload) => break text(payload),
                }
            };
            assert!(panicked.contains("left != right"));
            assert_eq!(stream.next().await, Some(()));
            assert_eq!(stream.next().await, None);
        });
    });
}

#[test]
fn size_hints_are_right_where_they_are_known() {
    within_deadline(|| {
        let pool = ThreadPool::with_threads(2);
        let mut results = pool.imap(0..10, |n| n);
        for left in (0..=10).rev() {
            assert_eq!(results.size_hint(), (left, Some(left)));
            assert_eq!(results.next().is_some(), left > 0);
        }
        let mut endless = pool.imap(0_u64.., |n| n);
        assert_eq!(endless.size_hint().1, None);
        endless.next();
        let mut odd = pool.imap((0..10).filter(|n| n % 2 == 1), |n| n);
        assert_eq!(odd.size_hint(), (0, Some(10)));
        odd.next();
        assert!(odd.size_hint().0 <= 4 && odd.size_hint().1 >= Some(4));
        let lies = pool.imap(Liar, |n| n);
        assert_eq!(lies.count(), 1);
        struct Liar;
        impl Iterator for Liar {
            type Item = u8;
            fn next(&mut self) -> Option<u8> {
                thread_local!(static GIVEN: std::cell::Cell<bool> = const { std::cell::Cell::new(false) });
                (!GIVEN.replace(true)).then_some(1)
            }
            fn size_hint(&self) -> (usize, Option<usize>) {
                (usize::MAX, Some(0))
            }
        }
    });
}

#[test]
fn dropped_at_every_moment_it_leaves_nothing_behind() {
    // By itself, because the pools of other tests have helper threads, too.
    let name = "imap::dropped_at_every_moment_it_leaves_nothing_behind";
    alone(name, "", || {
        let pool = ThreadPool::with_threads(2);
        let live = Arc::new(AtomicUsize::new(0));
        for round in 0..sample(400) {
            let held = Arc::clone(&live);
            let source = Live::new(&live);
            let input = (0..).map(move |_| {
                let _source = &source;
                Live::new(&held)
            });
            let f = |item| item;
            let mut results = if round % 2 == 0 {
                pool.imap(input, f)
            } else {
                pool.imap_unordered(input, f)
            }
            .buffer(1 + round % 9);
            for _ in 0..round % 13 {
                drop(results.next());
            }
            if round % 3 == 0 {
                let mut stream = results.stream();
                let mut cx = Context::from_waker(Waker::noop());
                let _ = stream.poll_next_unpin(&mut cx);
            }
        }
        eventually("all is dropped", || live.load(Ordering::SeqCst) == 0);
        drop(pool);
        eventually("no thread is left", || {
            let tasks = std::fs::read_dir("/proc/self/task").unwrap();
            let names = tasks
                .filter_map(|task| std::fs::read_to_string(task.ok()?.path().join("comm")).ok());
            !names
                .into_iter()
                .any(|name| name.starts_with("trefoil-helper"))
        });
    });
}

#[test]
fn the_buffer_in_the_middle_and_many_at_once() {
    within_deadline(|| {
        let pool = Arc::new(ThreadPool::with_threads(2));
        let mut results = pool.imap(0..300, |n| n).buffer(2);
        assert!(results.by_ref().take(100).eq(0..100));
        let mut results = results.buffer(100);
        assert!(results.by_ref().take(100).eq(100..200));
        assert!(results.buffer(1).eq(200..300));
        // Several, interleaved; and from many threads.
        let mut many: Vec<_> = (0..20).map(|k| pool.imap(0.., move |n| n * k)).collect();
        for n in 0..50 {
            for (k, results) in many.iter_mut().enumerate() {
                assert_eq!(results.next(), Some(n * k));
            }
        }
        let threads: Vec<_> = (0..8)
            .map(|_| {
                let pool = Arc::clone(&pool);
                thread::spawn(move || pool.imap(0..500_u64, |n| n).sum::<u64>())
            })
            .collect();
        for thread in threads {
            assert_eq!(thread.join().unwrap(), 124_750);
        }
    });
}

#[test]
fn a_task_that_consumes_while_its_pool_ends() {
    within_deadline(|| {
        for how in [Shutdown::Wait, Shutdown::CancelPending] {
            for width in [1, 3] {
                let pool = Arc::new(ThreadPool::with_threads(width));
                let inner = Arc::clone(&pool);
                let (started, starts) = mpsc::channel();
                let sums = pool.spawn(move || {
                    let mut ordered = inner.imap(0..5000_u64, |n| n);
                    let mut unordered = inner.imap_unordered(0..5000_u64, |n| n);
                    let first = ordered.next().unwrap() + unordered.next().unwrap();
                    started.send(()).unwrap();
                    first + ordered.sum::<u64>() + unordered.sum::<u64>()
                });
                starts.recv().unwrap();
                pool.shutdown(how);
                assert_eq!(sums.join().unwrap(), 2 * 12_497_500);
            }
        }
    });
}

#[test]
fn work_that_it_gives_to_the_pool_reports_no_failure_to_the_hook() {
    alone(
        "imap::work_that_it_gives_to_the_pool_reports_no_failure_to_the_hook",
        "",
        || {
            let (tell, told) = mpsc::channel();
            trefoil::on_unobserved(move |report| tell.send(format!("{report}")).unwrap());
            for how in [Shutdown::Wait, Shutdown::CancelPending] {
                let pool = ThreadPool::with_threads(1);
                let (started, starts) = mpsc::channel();
                let (release, gate) = mpsc::channel::<()>();
                let busy = pool.spawn(move || {
                    started.send(()).unwrap();
                    let _ = gate.recv();
                });
                starts.recv().unwrap();
                // Items are queued behind the busy one.
                let mut given_up = pool.imap_unordered(0.., |n| n).stream();
                let mut cx = Context::from_waker(Waker::noop());
                assert!(given_up.poll_next_unpin(&mut cx).is_pending());
                drop(given_up);
                let mut kept = pool.imap_unordered(0..100, |n| n).stream();
                assert!(kept.poll_next_unpin(&mut cx).is_pending());
                thread::scope(|s| {
                    s.spawn(|| pool.shutdown(how));
                    a_while();
                    drop(release);
                });
                busy.join().unwrap();
                let mut left = 100;
                trefoil::run(async {
                    while kept.next().await.is_some() {
                        left -= 1;
                    }
                });
                assert_eq!(left, 0);
            }
            assert_eq!(told.try_recv().ok(), None);
        },
    );
}

#[test]
fn next_blocks_an_event_loop() {
    within_deadline(|| {
        for helps in [true, false] {
            let builder = ThreadPool::builder().threads(2).caller_helps(helps);
            let pool = builder.build().unwrap();
            let slow = |n: u64| {
                thread::sleep(Duration::from_millis(1));
                n
            };
            let sums = trefoil::run(async {
                let ordered = pool.imap(0..20, slow).sum::<u64>();
                (ordered, pool.imap_unordered(0..20, slow).sum::<u64>())
            });
            assert_eq!(sums, (190, 190));
        }
    });
}

/// A thousand items that are pulled without a feeder thread, in order and in any order.
fn sums(pool: &ThreadPool) {
    let input = || {
        (0..1000_u64).inspect(|_| {
            assert_ne!(thread::current().name(), Some("trefoil-helper"));
        })
    };
    assert!(pool.imap(input(), |n| n).eq(0..1000));
    assert_eq!(pool.imap_unordered(input(), |n| n).sum::<u64>(), 499_500);
}

#[cfg(target_os = "linux")]
#[test]
fn without_a_thread_a_worker_feeds_or_the_consumer() {
    alone(
        "imap::without_a_thread_a_worker_feeds_or_the_consumer",
        "",
        || {
            static LOST: AtomicUsize = AtomicUsize::new(0);
            trefoil::on_unobserved(|_| _ = LOST.fetch_add(1, Ordering::Relaxed));
            let pool = pool_of_the_last(1);
            if !no_more_threads() {
                return;
            }
            sums(&pool);
            let inner = Arc::clone(&pool);
            pool.install(move || {
                inner.shutdown(Shutdown::Wait);
                sums(&inner);
            });
            assert_eq!(
                LOST.load(Ordering::Relaxed),
                0,
                "no task of the caller's has failed"
            );
        },
    );
}

/// A pool whose workers have all been started, in a process that can start no more threads.
fn pool_of_the_last(width: usize) -> Arc<ThreadPool> {
    let pool = Arc::new(ThreadPool::with_threads(width));
    let all = Barrier::new(width);
    pool.broadcast(|_| all.wait());
    pool
}

/// Makes the system refuse this process further threads. False: that is not possible here.
#[cfg(target_os = "linux")]
#[allow(clippy::print_stdout)] // a skipped test says so
fn no_more_threads() -> bool {
    let refused = refuse(&[libc::SYS_clone, libc::SYS_clone3], libc::EAGAIN);
    if let Err(error) = &refused {
        println!("skipped: calls cannot be refused here: {error}");
    }
    refused.is_ok()
}

/// A half of a join that a waiter has taken by mistake is given back to its owner, because no other
/// worker may ever be free for it.
#[cfg(target_os = "linux")]
#[test]
fn without_a_thread_halves_come_back_to_their_owners() {
    alone(
        "imap::without_a_thread_halves_come_back_to_their_owners",
        "",
        || {
            let pools = [2, 3].map(pool_of_the_last);
            if !no_more_threads() {
                return;
            }
            for pool in pools {
                for round in 0..sample(800) as u64 {
                    let spin = |n: u64| {
                        let begin = Instant::now();
                        while begin.elapsed() < Duration::from_micros((n + round) % 256) {
                            std::hint::spin_loop();
                        }
                        n
                    };
                    assert_eq!(pool.map(0..50, spin).len(), 50);
                }
            }
        },
    );
}

/// It varies which of them is refused a thread, and when the others find out.
#[cfg(target_os = "linux")]
#[test]
fn without_a_thread_several_workers_consume_and_do_all_of_it() {
    alone(
        "imap::without_a_thread_several_workers_consume_and_do_all_of_it",
        "",
        || {
            let pools = [2, 3].map(pool_of_the_last);
            if !no_more_threads() {
                return;
            }
            for pool in pools {
                for ordered in [true, false].into_iter().cycle().take(sample(100)) {
                    let this = Arc::clone(&pool);
                    let imap = move |items: Box<dyn Iterator<Item = u64> + Send>| match ordered {
                        true => this.imap(items, |n| n + 1),
                        false => this.imap_unordered(items, |n| n + 1),
                    };
                    // One is another's input.
                    let chain = imap.clone();
                    let input = Box::new(0..200);
                    let sum = pool.spawn(move || chain(Box::new(chain(input))).sum::<u64>());
                    assert_eq!(sum.join().unwrap(), (2..202).sum());
                    // One in another's items.
                    let sums = |_| imap(Box::new(0..20)).sum::<u64>();
                    assert_eq!(pool.map(0..50, sums), [210; 50]);
                    let nest = imap.clone();
                    let sums = move |_| nest(Box::new(0..20)).sum::<u64>();
                    let (outer, this) = (pool.clone(), pool.clone());
                    let all = outer.spawn(move || match ordered {
                        true => this.imap(0..50, sums).sum::<u64>(),
                        false => this.imap_unordered(0..50, sums).sum::<u64>(),
                    });
                    assert_eq!(all.join().unwrap(), 50 * 210);
                }
            }
        },
    );
}

#[cfg(target_os = "linux")]
#[test]
fn without_a_thread_a_consumer_outside_does_what_busy_workers_cannot() {
    alone(
        "imap::without_a_thread_a_consumer_outside_does_what_busy_workers_cannot",
        "",
        || {
            let pool = pool_of_the_last(2);
            if !no_more_threads() {
                return;
            }
            let (release, stuck) = mpsc::channel::<()>();
            let stuck = Arc::new(Mutex::new(stuck));
            let busy = [(); 2].map(|()| {
                let stuck = Arc::clone(&stuck);
                pool.spawn(move || stuck.lock().unwrap().recv().is_err())
            });
            assert!(pool.imap(0..100, |n| n).eq(0..100));
            assert_eq!(pool.imap_unordered(0..100, |n| n).sum::<u64>(), 4950);
            drop(release);
            assert!(busy.into_iter().all(|task| task.join().unwrap()));
        },
    );
}

#[cfg(target_os = "linux")]
#[test]
fn without_a_thread_the_only_worker_consumes_and_does_all_of_it() {
    alone(
        "imap::without_a_thread_the_only_worker_consumes_and_does_all_of_it",
        "",
        || {
            let pool = pool_of_the_last(1);
            if !no_more_threads() {
                return;
            }
            pool.install(|| sums(&pool));
            // Nested once more, with items that wait.
            let inner = Arc::clone(&pool);
            let double = move |n: u64| inner.spawn(move || 2 * n).join().unwrap();
            let inner = Arc::clone(&pool);
            let nested = move |n: u64| {
                let ordered = inner.imap(0..n, double.clone()).sum::<u64>();
                ordered + inner.imap_unordered(0..n, double.clone()).sum::<u64>()
            };
            let outer = || pool.imap(0..10_u64, nested.clone()).collect::<Vec<_>>();
            let expected: Vec<u64> = (0..10_u64).map(|n| 2 * n * n.saturating_sub(1)).collect();
            assert_eq!(pool.install(outer), expected);
            // No more items are pulled than results are taken, so the input may depend on earlier
            // results.
            for ordered in [true, false] {
                let (tell, told) = mpsc::channel();
                let input = iter::once(0).chain(told);
                let mut results = if ordered {
                    pool.imap(input, |n: u64| n + 1)
                } else {
                    pool.imap_unordered(input, |n: u64| n + 1)
                };
                let last = pool.install(move || {
                    for n in 0..50 {
                        assert_eq!(results.next(), Some(n + 1));
                        tell.send(n + 1).unwrap();
                    }
                    drop(tell);
                    (results.next(), results.next())
                });
                assert_eq!(last, (Some(51), None));
            }
        },
    );
}

// ---- with numbers ------------------------------------------------------------

#[test]
fn results_come_with_the_numbers_of_their_items() {
    within_deadline(|| {
        let pool = ThreadPool::with_threads(4);
        let words: Vec<String> = (0..500).map(|n| n.to_string()).collect();
        let ordered = pool.imap(words.clone(), |word| word.len()).with_index();
        let lengths: Vec<_> = words.iter().map(String::len).enumerate().collect();
        assert_eq!(ordered.collect::<Vec<_>>(), lengths);
        let numbered = pool.imap_unordered(words.clone(), |word| word.len());
        let mut numbered: Vec<_> = numbered.with_index().buffer(3).collect();
        numbered.sort_unstable();
        assert_eq!(numbered, lengths);
        let stream = pool
            .imap_unordered(words, |word| word.len())
            .with_index()
            .stream();
        let mut streamed: Vec<_> = trefoil::run(stream.collect());
        streamed.sort_unstable();
        assert_eq!(streamed, lengths);
    });
}

#[test]
fn an_item_that_panics_leaves_a_gap_in_the_numbers() {
    within_deadline(|| {
        let pool = ThreadPool::with_threads(2);
        let mut results = pool.imap(0..4, |n| assert_ne!(n, 2, "item 2")).with_index();
        let mut numbers = Vec::new();
        loop {
            match catch_unwind(AssertUnwindSafe(|| results.next())) {
                Ok(Some((number, ()))) => numbers.push(number),
                Ok(None) => break,
                Err(payload) => assert!(text(payload).contains("item 2")),
            }
        }
        assert_eq!(numbers, [0, 1, 3]);
    });
}

/// The first item is the last to end.
#[test]
fn numbers_are_those_of_the_input_not_of_the_results() {
    within_deadline(|| {
        let pool = ThreadPool::with_threads(2);
        let (go, gate) = mpsc::channel::<()>();
        let gate = Mutex::new(gate);
        let wait = move |n: u32| {
            if n == 10 {
                gate.lock().unwrap().recv().unwrap();
            }
            n
        };
        let mut results = pool.imap_unordered([10, 11, 12], wait).with_index();
        let mut first = [results.next().unwrap(), results.next().unwrap()];
        first.sort_unstable();
        assert_eq!(first, [(1, 11), (2, 12)]);
        go.send(()).unwrap();
        assert_eq!(results.next(), Some((0, 10)));
        assert_eq!(results.next(), None);
    });
}
