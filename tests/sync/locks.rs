//! Who gets a lock, when, and how often a waiter is woken meanwhile.
#![allow(clippy::disallowed_methods, clippy::disallowed_types)] // a program, not the crate

use std::future::{Future, pending};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use trefoil::sync::{
    Barrier, Mutex, OnceCell, RwLock, RwLockWriteGuard, Semaphore, broadcast, channel,
};

/// How often it was woken.
#[derive(Default)]
struct Wakes(AtomicUsize);

impl Wake for Wakes {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

/// A future that is polled when it has been woken, as an executor does it.
struct Waiter<'a, R> {
    future: Pin<Box<dyn Future<Output = R> + 'a>>,
    wakes: Arc<Wakes>,
    polls: usize,
}

impl<'a, R> Waiter<'a, R> {
    /// It waits.
    fn new(future: impl Future<Output = R> + 'a) -> Self {
        let mut waiter = Self {
            future: Box::pin(future),
            wakes: Arc::default(),
            polls: 0,
        };
        assert!(waiter.poll().is_pending());
        waiter
    }

    fn poll(&mut self) -> Poll<R> {
        self.polls += 1;
        let waker = Waker::from(self.wakes.clone());
        self.future.as_mut().poll(&mut Context::from_waker(&waker))
    }

    /// Its value, if it has been woken since the last poll, and is ready.
    fn turn(&mut self) -> Option<R> {
        let is_woken = self.wakes.0.load(Ordering::SeqCst) >= self.polls;
        match is_woken.then(|| self.poll()) {
            Some(Poll::Ready(value)) => Some(value),
            _ => None,
        }
    }

    fn wakes(&self) -> usize {
        self.wakes.0.load(Ordering::SeqCst)
    }
}

/// A second writer has the lock, and readers wait behind it: nothing wakes them.
#[test]
fn readers_behind_a_writer_sleep() {
    let lock = RwLock::new(0);
    let first = lock.try_write().unwrap();
    let mut second = Waiter::new(lock.write());
    let mut readers: Vec<_> = (0..4).map(|_| Waiter::new(lock.read())).collect();
    drop(first);
    let held = second.turn().expect("it is its turn");
    for _ in 0..100 {
        assert!(readers.iter_mut().all(|reader| reader.turn().is_none()));
    }
    let wakes: Vec<usize> = readers.iter().map(Waiter::wakes).collect();
    assert_eq!(wakes, [0; 4]);
    drop(held);
    let guards: Vec<_> = readers.iter_mut().map(|r| r.turn().unwrap()).collect();
    assert!(readers.iter().all(|reader| reader.wakes() == 1));
    assert!(lock.try_write().is_none());
    drop(guards);
    assert!(lock.try_write().is_some());
}

#[test]
fn a_lock_is_served_in_the_order_of_asking() {
    let lock = RwLock::new(0);
    let held = lock.try_read().unwrap();
    let mut one = Waiter::new(lock.write());
    let mut two = Waiter::new(lock.read());
    let mut three = Waiter::new(lock.read());
    let mut four = Waiter::new(lock.write());
    let mut five = Waiter::new(lock.read());
    assert!(lock.try_read().is_none(), "it would overtake the writer");
    drop(held);
    assert!(two.turn().is_none());
    let written = one.turn().unwrap();
    drop(written);
    assert!(lock.try_read().is_none(), "it would overtake, too");
    let read = (two.turn().unwrap(), three.turn().unwrap());
    drop(read.0);
    assert!(four.turn().is_none() && five.turn().is_none());
    drop(read.1);
    assert!(five.turn().is_none());
    drop(four.turn().unwrap());
    drop(five.turn().unwrap());
    assert!(lock.try_write().is_some());

    let lock = Mutex::new(0);
    let held = lock.try_lock().unwrap();
    let mut one = Waiter::new(lock.lock());
    let mut two = Waiter::new(lock.lock());
    drop(held);
    assert!(two.turn().is_none());
    drop(one.turn().unwrap());
    drop(two.turn().unwrap());
    assert_eq!((one.wakes(), two.wakes()), (1, 1));
    assert!(lock.try_lock().is_some());
}

/// One who comes may overtake the first waiter until that has been woken in vain.
#[test]
fn a_waiter_is_overtaken_once() {
    let lock = Mutex::new(0);
    let held = lock.try_lock().unwrap();
    let mut waiter = Waiter::new(lock.lock());
    drop(held);
    let overtakes = lock.try_lock().expect("nobody is inside");
    assert_eq!(waiter.wakes(), 1);
    assert!(waiter.turn().is_none());
    drop(overtakes);
    assert!(lock.try_lock().is_none(), "it would overtake again");
    drop(waiter.turn().expect("it is inside"));
    drop(lock.try_lock().expect("nobody waits"));

    // It gives up, before and after that.
    for was_polled in [false, true] {
        let held = lock.try_lock().unwrap();
        let mut one = Waiter::new(lock.lock());
        let mut two = Waiter::new(lock.lock());
        drop(held);
        let overtakes = lock.try_lock().unwrap();
        assert!(!was_polled || one.turn().is_none());
        drop(one);
        drop(overtakes);
        drop(two.turn().expect("it is its turn"));
    }
}

/// A writer gives up that readers wait behind, before its turn, and when it has come.
#[test]
fn a_writer_that_gives_up_lets_the_readers_in() {
    let lock = RwLock::new(0);
    let held = lock.try_read().unwrap();
    let writer = Waiter::new(lock.write());
    let mut reader = Waiter::new(lock.read());
    drop(writer);
    drop(reader.turn().expect("the lock is held by a reader"));
    drop(lock.try_read().expect("nobody waits"));

    let mut writer = Waiter::new(lock.write());
    let mut reader = Waiter::new(lock.read());
    drop(held);
    assert_eq!(writer.wakes(), 1);
    assert!(reader.turn().is_none());
    drop(writer);
    drop(reader.turn().unwrap());

    let held = lock.try_write().unwrap();
    writer = Waiter::new(lock.write());
    let mut reader = Waiter::new(lock.read());
    drop(writer);
    assert!(reader.turn().is_none());
    drop(held);
    drop(reader.turn().unwrap());
    assert!(lock.try_write().is_some());
}

#[test]
fn a_writer_that_reads_on_lets_the_readers_in() {
    let lock = RwLock::new(0);
    let held = lock.try_write().unwrap();
    let mut reader = Waiter::new(lock.read());
    let mut writer = Waiter::new(lock.write());
    let held = RwLockWriteGuard::downgrade(held);
    let read = reader.turn().unwrap();
    drop(held);
    assert!(writer.turn().is_none());
    drop(read);
    drop(writer.turn().unwrap());
}

/// Who makes the value fails, or gives up: another makes it, even if one that waits is not polled.
#[test]
fn a_value_is_made_by_the_next_one() {
    let cell = OnceCell::new();
    let mut fails = Waiter::new(async {
        cell.get_or_try_init(|| async { pending::<Result<i32, ()>>().await })
            .await
    });
    let idle = Waiter::new(cell.get_or_init(|| async { 1 }));
    let mut makes = Waiter::new(cell.get_or_init(|| async { 2 }));
    let mut waits = Waiter::new(cell.wait());
    assert_eq!(cell.try_set(3), Err(3));
    assert!(fails.turn().is_none() && makes.turn().is_none());
    drop(fails);
    assert!(waits.turn().is_none());
    assert_eq!(makes.turn(), Some(&2));
    assert_eq!(waits.turn(), Some(&2));
    let mut idle = pin!(idle.future);
    let cx = &mut Context::from_waker(Waker::noop());
    assert_eq!(idle.as_mut().poll(cx), Poll::Ready(&2));
}

/// Counts stop at their end instead of beginning again at zero.
#[test]
fn counts_do_not_wrap() {
    let limit = Arc::new(Semaphore::new(2));
    let held = (
        limit.try_acquire().unwrap(),
        limit.try_acquire_arc().unwrap(),
    );
    limit.add_permits(usize::MAX);
    assert_eq!(limit.available_permits(), usize::MAX);
    limit.add_permits(usize::MAX);
    drop(held);
    assert_eq!(limit.available_permits(), usize::MAX);
    drop(limit.try_acquire().expect("there are many"));
    assert_eq!(Semaphore::new(usize::MAX).available_permits(), usize::MAX);

    for n in [0, 1] {
        let barrier = Barrier::new(n);
        assert!((0..3).all(|_| barrier.wait_blocking().is_leader()));
    }
    let all = Barrier::new(usize::MAX);
    let mut waits = Waiter::new(all.wait());
    assert!(waits.turn().is_none());

    let (sender, mut receiver) = broadcast::channel(usize::MAX);
    sender.send(1).unwrap();
    assert_eq!(receiver.try_recv(), Ok(1));
    for capacity in [usize::MAX, usize::MAX / 8, isize::MAX as usize] {
        std::panic::catch_unwind(|| channel::bounded::<u8>(capacity)).unwrap_err();
    }
}
