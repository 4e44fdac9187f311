//! Tasks under hostile use: user code that panics, re-enters, drops and cancels at the worst
//! moment. Everything here has a deadline.
#![allow(clippy::disallowed_methods, clippy::disallowed_types)] // that door is for the crate's own protocols

use crate::deadline;

use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::task::{Context, Poll, Wake, Waker};
use std::thread;
use std::time::{Duration, Instant};

use deadline::{alone, within_deadline};
use trefoil::{
    CancelToken, Completer, SharedTask, Task, TaskError, TaskGroup, ThreadPool, race, timeout,
};

const LONG: Duration = Duration::from_secs(20);

fn poll<F: Future + Unpin>(future: &mut F, waker: &Waker) -> Poll<F::Output> {
    Pin::new(future).poll(&mut Context::from_waker(waker))
}

/// A waker that calls a closure.
struct Call<F>(F);

impl<F: Fn() + Send + Sync + 'static> Wake for Call<F> {
    fn wake(self: Arc<Self>) {
        (self.0)();
    }
}

fn waker(f: impl Fn() + Send + Sync + 'static) -> Waker {
    Waker::from(Arc::new(Call(f)))
}

/// Calls a closure when it is dropped.
struct OnDrop<F: FnMut()>(F);

impl<F: FnMut()> Drop for OnDrop<F> {
    fn drop(&mut self) {
        (self.0)();
    }
}

// --------------------------------------------------------------------- groups

#[test]
fn a_member_that_has_ended_before_it_is_added_wakes_the_waiter() {
    within_deadline(|| {
        let mut group = TaskGroup::new();
        let (_never, pending) = Completer::new();
        group.add(pending);
        let handle = group.handle();
        let (parked, is_parked) = mpsc::channel();
        let adder = thread::spawn(move || {
            is_parked.recv().unwrap();
            handle.add(Task::ready(7));
        });
        // The first poll is over before the other thread adds.
        let mut next = group.next();
        assert!(poll(&mut next, &waker(|| ())).is_pending());
        parked.send(()).unwrap();
        assert_eq!(next.join().unwrap().1.unwrap(), 7);
        adder.join().unwrap();
    });
}

#[test]
fn a_failure_that_is_added_late_cancels_the_rest() {
    let woken = Arc::new(AtomicUsize::new(0));
    let mut group = TaskGroup::<u8>::new();
    let (completer, pending) = Completer::new();
    group.add(pending);
    let handle = group.handle();
    let mut join = group.try_join_all();
    let count = woken.clone();
    let waker = waker(move || {
        count.fetch_add(1, Ordering::SeqCst);
    });
    assert!(poll(&mut join, &waker).is_pending());
    let (failing, failed) = Completer::new();
    drop(failing);
    handle.add(failed);
    assert_eq!(woken.load(Ordering::SeqCst), 1, "nobody told the waiter");
    let Poll::Ready(Err(error)) = poll(&mut join, &waker) else {
        panic!("the group did not fail");
    };
    assert_eq!(error.errors().len(), 1);
    assert!(completer.is_cancelled());
}

#[test]
fn a_join_dropped_half_way_loses_nothing() {
    let (first, first_task) = Completer::new();
    let (second, second_task) = Completer::new();
    let mut group = TaskGroup::new();
    group.add(first_task);
    group.add(second_task);
    first.complete(Ok(1));
    assert!(poll(&mut group.try_join_all(), Waker::noop()).is_pending());
    second.complete(Ok(2));
    assert_eq!(group.try_join_all().join().unwrap(), [1, 2]);
    assert!(group.try_join_all().join().is_err(), "joined before");
}

#[test]
fn a_member_drops_its_own_group() {
    within_deadline(|| {
        let pool = ThreadPool::with_threads(1);
        let home = Arc::new(Mutex::new(Some(TaskGroup::new())));
        let inside = home.clone();
        let (go, gone) = mpsc::channel::<()>();
        let (tell, told) = mpsc::channel();
        let member = pool.spawn(move || {
            gone.recv().unwrap();
            let group = inside.lock().unwrap().take();
            drop(group);
            tell.send(()).unwrap();
        });
        home.lock().unwrap().as_ref().unwrap().add(member);
        go.send(()).unwrap();
        told.recv().unwrap();

        // The same with a future on a loop, which owns the group.
        trefoil::run(async {
            let group = Arc::new(Mutex::new(Some(TaskGroup::<()>::new())));
            let inside = group.clone();
            let dropped = Arc::new(AtomicBool::new(false));
            let flag = dropped.clone();
            let member = trefoil::spawn(async move {
                let _guard = OnDrop(move || flag.store(true, Ordering::SeqCst));
                let group = inside.lock().unwrap().take();
                drop(group);
                std::future::pending::<()>().await;
            });
            group.lock().unwrap().as_ref().unwrap().add(member);
            while !dropped.load(Ordering::SeqCst) {
                trefoil::yield_now().await;
            }
        });
    });
}

#[test]
fn user_code_that_a_group_runs_may_use_the_group() {
    within_deadline(|| {
        // A waker that adds to the group when it is dropped, and one that does so when woken.
        let mut group = TaskGroup::<u8>::new();
        let handle = group.handle();
        let (completer, task) = Completer::new();
        let mut task = task;
        let bomb = OnDropSync(handle.clone());
        let old = waker(move || {
            let _ = &bomb;
        });
        assert!(poll(&mut task, &old).is_pending());
        drop(old);
        group.add(task); // drops the waker that was registered
        let bomb = OnDropSync(handle.clone());
        let consumer = waker(move || {
            let _ = &bomb;
        });
        let mut next = group.next();
        while let Poll::Ready(Some(_)) = poll(&mut next, &consumer) {}
        drop(consumer);
        assert!(
            poll(&mut next, Waker::noop()).is_ready(),
            "replaced, the old one adds"
        );
        completer.complete(Ok(1));
        assert!(next.join().is_some());
    });
}

struct OnDropSync(trefoil::GroupHandle<u8>);

impl Drop for OnDropSync {
    fn drop(&mut self) {
        self.0.add(Task::ready(0));
    }
}

#[test]
fn a_blocking_next_on_a_loop_names_each_member_and_keeps_it() {
    within_deadline(|| {
        trefoil::run(async {
            let mut group = TaskGroup::new();
            let (a, task) = Completer::new();
            let first = group.add(task);
            let (_b, task) = Completer::new();
            let second = group.add(task);
            group.add(Task::ready(3));
            assert_eq!(group.next().join().unwrap().1.unwrap(), 3);
            for id in [first, second] {
                let (refused, error) = group.next().join().unwrap();
                assert_eq!(refused, id);
                assert!(matches!(error, Err(TaskError::WouldBlock)));
            }
            assert!(group.next().join().is_none(), "one round, then an end");
            assert_eq!(group.len(), 2);
            a.complete(Ok(1));
            assert_eq!(group.next().await.unwrap().1.unwrap(), 1);
        });
    });
}

#[test]
fn a_blocking_next_on_a_loop_names_many_members_in_linear_time() {
    const MEMBERS: usize = 200_000;
    within_deadline(|| {
        trefoil::run(async {
            let mut group = TaskGroup::<u8>::new();
            let (completers, mut left): (Vec<_>, Vec<_>) = (0..MEMBERS)
                .map(|_| Completer::new())
                .map(|(completer, task)| (Some(completer), group.add(task)))
                .unzip();
            // A round is of the members that there were when it began, and of those that are left.
            let (mut completers, mut added) = (completers, None);
            let mut named = Vec::new();
            while let Some((id, error)) = group.next().join() {
                assert!(matches!(error, Err(TaskError::WouldBlock)));
                named.push(id);
                if added.is_none() {
                    added = Some(group.add(Completer::new().1.map(|n: u8| n)));
                    assert!(
                        group.next().await.is_some(),
                        "it has ended: its completer is gone"
                    );
                    completers[7].take().unwrap().complete(Ok(7));
                    assert_eq!(group.next().join().unwrap().1.unwrap(), 7);
                }
            }
            left.remove(7);
            assert_eq!(named, left);
            assert_eq!(group.next().join().unwrap().0, left[0], "another round");
            drop(group); // cancels the members, so that the end of their completers is no failure
        });
    });
}

// --------------------------------------------------------------------- tokens

#[test]
fn a_waker_that_panics_does_not_prevent_other_cancellations() {
    let parent = CancelToken::new();
    let child = parent.child();
    let grandchild = child.child();
    let woken = Arc::new(AtomicUsize::new(0));
    let bad = waker(|| panic!("a bad waker"));
    let count = woken.clone();
    let good = waker(move || {
        count.fetch_add(1, Ordering::SeqCst);
    });
    let mut waits = [
        parent.cancelled(),
        parent.cancelled(),
        parent.cancelled(),
        grandchild.cancelled(),
    ];
    for (wait, waker) in waits.iter_mut().zip([&good, &bad, &good, &good]) {
        assert!(poll(wait, waker).is_pending());
    }
    let _ = catch_unwind(AssertUnwindSafe(|| parent.cancel()));
    assert!(child.is_cancelled() && grandchild.is_cancelled());
    assert_eq!(woken.load(Ordering::SeqCst), 3);
}

#[test]
fn a_woken_waiter_finds_the_whole_tree_cancelled() {
    let parent = CancelToken::new();
    let child = parent.child();
    let leaf = child.child();
    let seen = Arc::new(Mutex::new(Vec::new()));
    let (tokens, sees) = ([child.clone(), leaf.clone()], seen.clone());
    let looks = waker(move || {
        let all = tokens.iter().all(CancelToken::is_cancelled);
        sees.lock().unwrap().push(all);
    });
    let mut wait = parent.cancelled();
    assert!(poll(&mut wait, &looks).is_pending());
    parent.cancel();
    assert_eq!(*seen.lock().unwrap(), [true]);
}

#[test]
fn a_token_may_be_used_by_the_code_that_it_wakes() {
    within_deadline(|| {
        let token = CancelToken::new();
        let inner = token.clone();
        let reenters = waker(move || {
            inner.cancel();
            let child = inner.child();
            assert!(child.is_cancelled());
            let mut wait = inner.cancelled();
            assert!(poll(&mut wait, Waker::noop()).is_ready());
        });
        let mut wait = token.cancelled();
        assert!(poll(&mut wait, &reenters).is_pending());
        token.cancel();
        assert!(poll(&mut wait, Waker::noop()).is_ready());
    });
}

// --------------------------------------------------------------- shared tasks

#[test]
fn a_waker_that_panics_keeps_no_other_sharer_waiting() {
    let (completer, task) = Completer::new();
    let shared = task.shared();
    let woken = Arc::new(AtomicUsize::new(0));
    let count = woken.clone();
    let good = waker(move || {
        count.fetch_add(1, Ordering::SeqCst);
    });
    let bad = waker(|| panic!("a bad waker"));
    let mut sharers = [shared.clone(), shared.clone(), shared.clone()];
    for (sharer, waker) in sharers.iter_mut().zip([&good, &bad, &good]) {
        assert!(poll(sharer, waker).is_pending());
    }
    completer.complete(Ok(1));
    assert_eq!(woken.load(Ordering::SeqCst), 2);
}

#[test]
fn what_stays_on_its_thread_may_be_shared_there() {
    within_deadline(|| {
        trefoil::run(async {
            let shared = trefoil::spawn(async {
                trefoil::yield_now().await;
                std::rc::Rc::new(7)
            })
            .shared();
            let other = trefoil::spawn(shared.clone());
            assert_eq!(*shared.clone().await.unwrap(), 7);
            assert_eq!(*other.await.unwrap().unwrap(), 7);
            assert_eq!(*shared.try_join().unwrap().unwrap(), 7);
        });
    });
    fn send_sync<T: Send + Sync>(_: &T) {}
    let (completer, task) = Completer::<u8>::new();
    let shared = task.shared();
    send_sync(&shared);
    let first = shared.clone();
    drop(shared);
    assert!(!first.is_finished());
    completer.complete(Err(TaskError::timed_out()));
    assert!(first.is_finished());
    assert!(matches!(first.join(), Err(TaskError::TimedOut(_))));
    assert!(matches!(first.join(), Err(TaskError::TimedOut(_))));
}

// ---------------------------------------------------------------------- tasks

#[test]
fn a_task_that_joins_itself_is_told_so() {
    within_deadline(|| {
        let pool = ThreadPool::with_threads(1);
        let (give, given) = mpsc::channel::<Task<bool>>();
        let (tell, told) = mpsc::channel();
        let task = pool.spawn(move || {
            let own = given.recv().unwrap();
            tell.send(own.join()).unwrap();
            true
        });
        give.send(task).unwrap();
        assert!(matches!(told.recv().unwrap(), Err(TaskError::WouldBlock)));
    });
}

#[test]
fn a_task_inside_its_own_closure() {
    within_deadline(|| {
        for runs in [true, false] {
            let dropped = Arc::new(AtomicUsize::new(0));
            let count = dropped.clone();
            let guard = OnDrop(move || {
                count.fetch_add(1, Ordering::SeqCst);
            });
            let pool = ThreadPool::with_threads(1);
            let (block, blocked) = mpsc::channel::<()>();
            let first = pool.spawn(move || blocked.recv().is_err());
            let own = Arc::new(Mutex::new(None::<Task<()>>));
            let inside = own.clone();
            let task = pool.spawn(move || {
                let _all = (&guard, &inside);
            });
            *own.lock().unwrap() = Some(task);
            if !runs {
                assert!(own.lock().unwrap().as_ref().unwrap().cancel());
            }
            drop(own);
            drop(block);
            assert!(first.join().unwrap());
            drop(pool);
            assert_eq!(dropped.load(Ordering::SeqCst), 1);
        }
    });
}

#[test]
fn cancelled_from_inside_its_own_poll() {
    within_deadline(|| {
        trefoil::run(async {
            for ready in [true, false] {
                let own = Arc::new(Mutex::new(None::<Task<u32>>));
                let inside = own.clone();
                let dropped = Arc::new(AtomicBool::new(false));
                let flag = dropped.clone();
                let task = trefoil::spawn(async move {
                    let _guard = OnDrop(move || flag.store(true, Ordering::SeqCst));
                    let token = CancelToken::current();
                    assert!(inside.lock().unwrap().as_ref().unwrap().cancel());
                    assert!(token.is_cancelled());
                    if !ready {
                        std::future::pending::<()>().await;
                    }
                    1
                });
                *own.lock().unwrap() = Some(task);
                while !dropped.load(Ordering::SeqCst) {
                    trefoil::yield_now().await;
                }
                let task = own.lock().unwrap().take().unwrap();
                assert!(matches!(task.await, Err(TaskError::Cancelled)));
            }
        });
    });
}

#[test]
fn callbacks_that_cancel_join_drop_and_panic() {
    within_deadline(|| {
        let (tell, told) = mpsc::channel();
        let (a, first) = Completer::<u8>::new();
        let (b, second) = Completer::<u8>::new();
        let (c, third) = Completer::<u8>::new();
        second.on_done(|_| panic!("in a callback"));
        first.on_done(move |_| {
            assert!(third.cancel());
            assert!(matches!(third.join(), Err(TaskError::Cancelled)));
            b.complete(Ok(2));
            drop(c);
            tell.send(()).unwrap();
        });
        a.complete(Ok(1));
        told.recv().unwrap();
    });
}

#[test]
fn wakers_that_end_the_task_or_drop_its_last_handle() {
    // Dropped in exchange for another waker, it completes the very task.
    let (completer, mut task) = Completer::new();
    let completer = Mutex::new(Some(completer));
    let bomb = BombSync(Mutex::new(Some(Box::new(move || {
        completer.lock().unwrap().take().unwrap().complete(Ok(5));
    }))));
    let first = waker(move || {
        let _ = &bomb;
    });
    assert!(poll(&mut task, &first).is_pending());
    drop(first);
    match poll(&mut task, Waker::noop()) {
        Poll::Ready(result) => assert_eq!(result.unwrap(), 5),
        Poll::Pending => assert_eq!(task.try_join().unwrap().unwrap(), 5),
    }

    // The waker owns the handle that it is registered with, and drops it when woken.
    let (completer, task) = Completer::<u8>::new();
    let home = Arc::new(Mutex::new(Some(task)));
    let inside = home.clone();
    let drops = waker(move || drop(inside.lock().unwrap().take()));
    {
        let mut task = home.lock().unwrap();
        assert!(poll(task.as_mut().unwrap(), &drops).is_pending());
    }
    drop(drops);
    completer.complete(Ok(1));
    assert!(home.lock().unwrap().is_none());

    // The same, but the task is not completed: the handle is dropped with its waker.
    let (completer, mut task) = Completer::<u8>::new();
    let other = waker(|| panic!("woken"));
    assert!(poll(&mut task, &other).is_pending());
    drop(task);
    completer.complete(Ok(1));
}

/// Runs a closure when dropped.
#[allow(clippy::type_complexity)]
struct BombSync(Mutex<Option<Box<dyn FnOnce() + Send>>>);

impl Drop for BombSync {
    fn drop(&mut self) {
        if let Some(f) = self.0.get_mut().unwrap().take() {
            f();
        }
    }
}

#[test]
fn odd_sizes() {
    #[repr(align(256))]
    #[derive(Clone, Copy, PartialEq, Debug)]
    struct Wide(u8);
    within_deadline(|| {
        let none = Vec::<Task<u8>>::new;
        let pool = ThreadPool::with_threads(2);
        let wide = Wide(3);
        assert_eq!(pool.spawn(move || wide).join().unwrap(), wide);
        assert_eq!(Task::ready(wide).map(|w| w).join().unwrap(), wide);
        pool.spawn(|| ()).join().unwrap();
        let big = pool.spawn(|| [7u8; 1 << 16]).join().unwrap();
        assert_eq!(big[65_535], 7);
        let (completer, task) = Completer::<Wide>::new();
        completer.complete(Ok(wide));
        assert_eq!(race([task]).join().unwrap(), wide);
        let mut never = Completer::<()>::new();
        assert!(matches!(
            never.1.join_timeout(Duration::ZERO),
            Err(TaskError::TimedOut(_))
        ));
        assert!(matches!(
            timeout(Duration::ZERO, never.1).join(),
            Err(TaskError::TimedOut(_))
        ));
        timeout(Duration::MAX, Task::ready(()))
            .join()
            .unwrap()
            .unwrap();
        assert!(matches!(race(none()).join(), Err(TaskError::Closed)));
        assert!(trefoil::join_all(none()).join().is_empty());
        assert!(trefoil::try_join_all(none()).join().unwrap().is_empty());
        assert!(trefoil::as_completed(none()).into_iter().next().is_none());
        let none = trefoil::wait(none(), trefoil::Until::First, Some(Duration::MAX)).join();
        assert!(none.0.is_empty() && none.1.is_empty());
    });
}

#[test]
fn a_panic_that_goes_on_keeps_its_place() {
    within_deadline(|| {
        let pool = ThreadPool::with_threads(2);
        let other = ThreadPool::with_threads(1);
        let inner = other.spawn(|| -> () { panic!("at the bottom") });
        while !inner.is_finished() {
            thread::yield_now();
        }
        let outer = pool.spawn(move || {
            let Err(TaskError::Panicked(panic)) = inner.join() else {
                unreachable!()
            };
            panic.resume_unwind();
        });
        while !outer.is_finished() {
            thread::yield_now();
        }
        let Err(TaskError::Panicked(panic)) = outer.join() else {
            unreachable!()
        };
        assert_eq!(panic.message(), "at the bottom");
        assert!(
            panic
                .location()
                .expect("a place")
                .file()
                .ends_with("reentrancy.rs")
        );
    });
}

#[test]
fn a_cancelled_task_as_an_io_error_is_not_tried_again() {
    struct Reader(bool);
    impl std::io::Read for Reader {
        fn read(&mut self, _: &mut [u8]) -> std::io::Result<usize> {
            assert!(!std::mem::replace(&mut self.0, true), "tried again");
            Err(TaskError::Cancelled.into())
        }
    }
    let mut all = Vec::new();
    assert!(std::io::Read::read_to_end(&mut Reader(false), &mut all).is_err());
}

#[test]
fn all_waiters_for_the_cancellation_of_a_promise_are_woken() {
    let (completer, task) = Completer::<u8>::new();
    let woken = Arc::new(AtomicUsize::new(0));
    let count = woken.clone();
    let good = waker(move || {
        count.fetch_add(1, Ordering::SeqCst);
    });
    let bad = waker(|| panic!("a bad waker"));
    let mut waits = [(); 4].map(|()| Box::pin(completer.cancelled()));
    for (wait, waker) in waits.iter_mut().zip([&good, &bad, &good, &good]) {
        assert!(poll(wait, waker).is_pending());
        assert!(poll(wait, waker).is_pending());
    }
    let [first, second, third, fourth] = waits;
    drop(third);
    assert!(task.cancel());
    assert_eq!(woken.load(Ordering::SeqCst), 2);
    for mut wait in [first, second, fourth] {
        assert!(poll(&mut wait, Waker::noop()).is_ready());
    }
}

#[test]
fn a_long_chain_of_mapped_tasks_is_no_deep_recursion() {
    const LENGTH: usize = 100_000;
    let chain = || {
        let (completer, mut task) = Completer::<usize>::new();
        for _ in 0..LENGTH {
            task = task.map(|n| n + 1);
        }
        (completer, task)
    };
    within_deadline(move || {
        let (completer, mut task) = chain();
        completer.complete(Ok(0));
        assert_eq!(task.try_join().unwrap().unwrap(), LENGTH);
        let (completer, task) = chain();
        assert!(task.cancel());
        assert!(completer.is_cancelled());
        drop(completer);
        let (completer, mut task) = chain();
        drop(completer);
        assert!(matches!(task.try_join(), Some(Err(TaskError::Closed))));
    });
}

#[test]
fn callbacks_of_callbacks_have_run_when_the_first_returns() {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let (first, mut task) = Completer::<u32>::new();
    for n in 0..50 {
        let (next, after) = Completer::new();
        let seen = seen.clone();
        task.on_done(move |result| {
            seen.lock().unwrap().push(n);
            next.complete(result);
            assert!(n != 20, "and a panic on the way");
        });
        task = after;
    }
    // Inside a callback that has not returned yet.
    let (outer, begun) = Completer::<()>::new();
    let ended = Arc::new(AtomicBool::new(false));
    let flag = ended.clone();
    begun.on_done(move |_| {
        first.complete(Ok(7));
        assert_eq!(task.try_join().unwrap().unwrap(), 7);
        flag.store(true, Ordering::SeqCst);
    });
    outer.complete(Ok(()));
    assert!(ended.load(Ordering::SeqCst));
    assert_eq!(*seen.lock().unwrap(), (0..50).collect::<Vec<_>>());
}

// ------------------------------------------------------------------- deadlines

/// A panic whose payload panics when it is dropped.
struct Payload;

impl Drop for Payload {
    fn drop(&mut self) {
        panic!("in the payload's destructor");
    }
}

#[test]
fn a_bad_waker_does_not_stop_the_clock() {
    within_deadline(|| {
        let (_never, task) = Completer::<u8>::new();
        let mut bad = timeout(Duration::from_millis(100), task);
        let waker = waker(|| std::panic::panic_any(Payload));
        let _ = poll(&mut bad, &waker);
        // Later than the panicking one, on the same clock.
        let begun = Instant::now();
        let (_never, task) = Completer::<u8>::new();
        let late = timeout(Duration::from_millis(150), task).join();
        assert!(matches!(late, Err(TaskError::TimedOut(_))));
        assert!(begun.elapsed() < Duration::from_secs(10));
    });
}

#[test]
fn payloads_with_bad_destructors() {
    within_deadline(|| {
        let pool = ThreadPool::with_threads(1);
        let task = pool.spawn(|| -> () { std::panic::panic_any(Payload) });
        while !task.is_finished() {
            thread::yield_now();
        }
        let dropped = catch_unwind(AssertUnwindSafe(|| drop(task.join())));
        assert!(dropped.is_err());
        pool.spawn(|| -> () { std::panic::panic_any(Payload) })
            .detach();
        assert_eq!(pool.spawn(|| 1).join().unwrap(), 1, "the pool lives");
    });
}

/// The line that is printed without a hook is lost if standard error takes nothing: no panic.
#[cfg(target_os = "linux")]
#[test]
fn a_failure_may_be_told_on_a_full_disk() {
    let test = "reentrancy::a_failure_may_be_told_on_a_full_disk";
    alone(test, "exec 2>/dev/full", || {
        let panics = Arc::new(AtomicUsize::new(0));
        let count = panics.clone();
        std::panic::set_hook(Box::new(move |_| _ = count.fetch_add(1, Ordering::SeqCst)));
        let (failing, task) = Completer::<u8>::new();
        task.detach();
        failing.complete(Err(TaskError::timed_out()));
        drop(std::panic::take_hook());
        assert_eq!(panics.load(Ordering::SeqCst), 0);
    });
}

#[test]
fn a_hook_that_fails_and_re_enters() {
    alone("reentrancy::a_hook_that_fails_and_re_enters", "", || {
        let (tell, told) = mpsc::channel();
        let depth = AtomicUsize::new(0);
        trefoil::on_unobserved(move |report| {
            let text = report.to_string();
            if report.name().is_none() {
                return; // another test's
            }
            if depth.fetch_add(1, Ordering::SeqCst) == 0 {
                let (completer, task) = Completer::<u8>::new();
                completer.complete(Err(TaskError::timed_out()));
                drop(task.named("inner")); // reported inside the hook
            }
            tell.send(text.clone()).unwrap();
            if text.contains("again") {
                trefoil::on_unobserved(|_| ());
            }
            panic!("a bad hook");
        });
        let (completer, task) = Completer::<u8>::new();
        completer.complete(Err(TaskError::timed_out()));
        drop(task.named("outer"));
        let texts = [told.recv().unwrap(), told.recv().unwrap()];
        assert!(
            texts[0].contains("`inner`") && texts[1].contains("`outer`"),
            "{texts:?}"
        );
        let (completer, task) = Completer::<u8>::new();
        task.named("again").detach();
        completer.complete(Err(TaskError::timed_out()));
        assert!(told.recv().unwrap().contains("`again`"));
    });
}

// ---------------------------------------------------------------------- waits

#[test]
fn every_blocking_wait_on_the_only_worker_of_a_pool() {
    within_deadline(|| {
        let pool = Arc::new(ThreadPool::with_threads(1));
        let inside = pool.clone();
        let done = pool.spawn(move || {
            let spawn = |n: u32| inside.spawn(move || n);
            let three = || (0..3).map(spawn);
            assert_eq!(trefoil::join_all(three()).join().len(), 3);
            assert_eq!(trefoil::try_join_all(three()).join().unwrap(), [0, 1, 2]);
            assert!(race(three()).join().is_ok());
            assert_eq!(trefoil::as_completed(three()).into_iter().count(), 3);
            let all = trefoil::wait(three(), trefoil::Until::All, None).join();
            assert_eq!((all.0.len(), all.1.len()), (3, 0));
            assert_eq!(timeout(LONG, spawn(1)).join().unwrap().unwrap(), 1);
            assert_eq!(spawn(2).shared().join().unwrap(), 2);
            assert_eq!(spawn(2).map(|n| n + 1).join().unwrap(), 3);
            assert_eq!(spawn(4).join_timeout(LONG).unwrap(), 4);
            assert_eq!(spawn(5).cancel_on_drop().join().unwrap(), 5);
            let mut group = TaskGroup::new();
            for task in three() {
                group.add(task);
            }
            assert!(group.next().join().is_some());
            assert_eq!(group.try_join_all().join().unwrap().len(), 2);
            let token = CancelToken::new();
            let other = token.clone();
            let canceller = inside.spawn(move || other.cancel());
            token.cancelled().join().unwrap();
            canceller.join().unwrap();
        });
        done.join().unwrap();
    });
}

#[test]
fn every_blocking_wait_is_refused_on_a_loop() {
    fn would_block<T>(result: Result<T, TaskError>) -> bool {
        matches!(result, Err(TaskError::WouldBlock))
    }
    within_deadline(|| {
        trefoil::run(async {
            let mut completers = Vec::new();
            let mut pending = || {
                let (completer, task) = Completer::<u8>::new();
                completers.push(completer);
                task
            };
            assert!(would_block(pending().join()));
            assert!(would_block(pending().join_timeout(Duration::ZERO)));
            assert!(would_block(pending().cancel_on_drop().join()));
            assert!(would_block(pending().shared().join()));
            assert!(would_block(race([pending(), pending()]).join()));
            assert!(race([pending(), Task::ready(1)]).join().is_ok());
            assert!(would_block(timeout(LONG, pending()).join()));
            assert!(would_block(CancelToken::new().cancelled().join()));
            let all = trefoil::join_all([pending(), Task::ready(1), pending()]).join();
            assert_eq!(all.iter().filter(|result| result.is_ok()).count(), 1);
            assert_eq!(all.len(), 3);
            let tried = trefoil::try_join_all([Task::ready(1), pending()]).join();
            assert!(would_block(tried));
            let ended: Vec<_> = trefoil::as_completed([pending(), Task::ready(1), pending()])
                .into_iter()
                .collect();
            assert_eq!((ended.len(), ended[0].is_ok()), (3, true));
            assert!(ended.into_iter().skip(1).all(would_block));
            let (done, rest) =
                trefoil::wait([pending(), Task::ready(1)], trefoil::Until::All, None).join();
            assert_eq!((done.len(), rest.len()), (1, 1));
            let mut group = TaskGroup::new();
            let refused = group.add(pending());
            group.add(Task::ready(1));
            let error = group.try_join_all().join().unwrap_err();
            assert_eq!(error.errors().len(), 1);
            assert_eq!(error.errors()[0].0, refused);
            assert!(completers.last().unwrap().is_cancelled());
            assert!(group.is_empty() && group.next().await.is_none());
        });
    });
}

// ----------------------------------------------------------------- auto traits

#[test]
fn everything_crosses_threads_and_catches() {
    fn crosses<T: Send + Sync + Unpin + std::panic::UnwindSafe>() {}
    type Value = std::cell::Cell<u8>;
    crosses::<Task<Value>>();
    crosses::<trefoil::CancelOnDrop<Value>>();
    crosses::<Completer<Value>>();
    crosses::<SharedTask<u8>>();
    crosses::<TaskGroup<Value>>();
    crosses::<trefoil::GroupHandle<Value>>();
    crosses::<CancelToken>();
    crosses::<trefoil::GroupError>();
    crosses::<trefoil::TaskReport>();
    crosses::<TaskError>();
    fn send<T: Send + Unpin>() {}
    send::<trefoil::task::Race<Value>>();
    send::<trefoil::task::JoinAll<Value>>();
    send::<trefoil::task::TryJoinAll<Value>>();
    send::<trefoil::task::AsCompleted<Value>>();
    send::<trefoil::task::Wait<Value>>();
    send::<trefoil::task::Timeout<Task<Value>>>();
    send::<trefoil::task::GroupJoin<'static, Value>>();
    send::<trefoil::task::Cancelled>();
}

#[test]
fn executors_and_what_belongs_to_a_loop_cross_catches() {
    use std::panic::{RefUnwindSafe, UnwindSafe};
    use trefoil::{io, sync, time};

    fn crosses<T: UnwindSafe + RefUnwindSafe>() {}
    crosses::<ThreadPool>();
    crosses::<trefoil::ProcessPool>();
    crosses::<trefoil::Process<u8>>();
    crosses::<trefoil::AnyExecutor>();
    crosses::<trefoil::EventLoop>();
    crosses::<trefoil::LoopHandle>();
    crosses::<io::TcpStream>();
    crosses::<io::TcpListener>();
    crosses::<io::UdpSocket>();
    crosses::<io::Child>();
    crosses::<io::Signal>();
    crosses::<time::Sleep>();
    crosses::<time::Interval>();
    crosses::<sync::channel::Sender<u8>>();
    crosses::<sync::channel::Receiver<u8>>();
    crosses::<sync::Semaphore>();
    crosses::<sync::Condvar>();
}

// ----------------------------------------------------------------------- names

#[test]
fn a_task_has_the_first_name_that_it_was_given() {
    let task = Task::ready(1);
    assert_eq!(task.name(), None);
    let task = task.named("one");
    assert_eq!(task.name(), Some("one"));
    let task = task.named(String::from("two"));
    assert_eq!(task.name(), Some("one"), "the first name stays");
    assert!(format!("{task:?}").contains("\"one\""));
    assert_eq!(task.map(|n| n + 1).name(), Some("one"), "the same work");
    let (completer, task) = Completer::<u8>::new();
    let task = task.named("");
    assert_eq!(task.name(), Some(""));
    drop(completer);
    assert!(matches!(task.join(), Err(TaskError::Closed)));
}

#[test]
fn a_task_that_waits_for_what_is_made_of_itself_is_refused() {
    within_deadline(|| {
        let pool = ThreadPool::with_threads(1);
        let (give, given) = mpsc::channel::<Task<()>>();
        let mapped = pool.spawn(move || given.recv().unwrap().join()).map(|r| r);
        let (tell, told) = mpsc::channel();
        let task = mapped.map(move |result| tell.send(result).unwrap());
        give.send(task).unwrap();
        let result = told
            .recv_timeout(Duration::from_secs(20))
            .expect("it hangs");
        assert!(matches!(result, Err(TaskError::WouldBlock)), "{result:?}");

        let (give, given) = mpsc::channel::<SharedTask<u8>>();
        let (tell, told) = mpsc::channel();
        let task = pool.spawn(move || {
            tell.send(given.recv().unwrap().join()).unwrap();
            7
        });
        let shared = task.shared();
        give.send(shared.clone()).unwrap();
        let result = told
            .recv_timeout(Duration::from_secs(20))
            .expect("it hangs");
        assert!(matches!(result, Err(TaskError::WouldBlock)), "{result:?}");
        assert_eq!(shared.join().unwrap(), 7);
    });
}

#[test]
fn an_untaken_mapped_failure_is_reported_to_its_pool() {
    within_deadline(|| {
        let (tell, told) = mpsc::channel();
        let builder = ThreadPool::builder()
            .threads(1)
            .on_unobserved(move |report| {
                let _ = tell.send(report.error().to_string());
            });
        let pool = builder.build().unwrap();
        let task = pool.spawn(|| -> u8 { panic!("on purpose") });
        task.map(|n| n + 1).map(|n| n + 1).detach();
        let report = told.recv_timeout(LONG).expect("silence");
        assert!(report.contains("on purpose"), "{report}");
        pool.spawn(|| 1).map(|_| panic!("its own")).detach();
        let report = told.recv_timeout(LONG).expect("silence");
        assert!(report.contains("its own"), "{report}");
    });
}

#[test]
fn a_failure_passes_a_mapping_whose_destructor_panics() {
    within_deadline(|| {
        let dropped = Arc::default();
        let bomb = Bomb(Arc::clone(&dropped), true);
        let (completer, task) = Completer::<u8>::new();
        let mapped = task.map(move |n| {
            let _used = bomb;
            n
        });
        completer.complete(Err(TaskError::timed_out()));
        let result = mapped.join();
        assert!(matches!(result, Err(TaskError::TimedOut(_))), "{result:?}");
        assert_eq!(dropped.lock().unwrap()[..], [false]);
    });
}

// ----------------------------------------------------------------- destructors

/// Notes whether it is dropped by an unwinding thread, and panics then if it should.
struct Bomb(Arc<Mutex<Vec<bool>>>, bool);

impl Drop for Bomb {
    fn drop(&mut self) {
        self.0.lock().unwrap().push(thread::panicking());
        assert!(!self.1, "in a destructor, on purpose");
    }
}

#[test]
fn a_finished_task_whose_result_panics_when_dropped_goes_quietly() {
    within_deadline(|| {
        let drops = Arc::new(Mutex::new(Vec::new()));
        let made = || {
            let (completer, task) = Completer::new();
            completer.complete(Ok(Bomb(drops.clone(), true)));
            task
        };
        drop(made());
        made().detach();
        drop(made().cancel_on_drop());
        let pool = ThreadPool::with_threads(1);
        let (bomb, other) = (Bomb(drops.clone(), true), Bomb(drops.clone(), true));
        let task = pool.spawn(move || bomb);
        while !task.is_finished() {
            thread::yield_now();
        }
        drop(task);
        let (task,) = trefoil::run(async move {
            let task = trefoil::spawn(async move { other });
            trefoil::yield_now().await;
            (task,) // not to be awaited
        });
        assert!(task.is_finished());
        drop(task);
        assert_eq!(*drops.lock().unwrap(), [false; 5]);
    });
}

#[test]
fn a_cancelled_task_whose_destructor_panics_ends_as_cancelled() {
    within_deadline(|| {
        let drops = Arc::new(Mutex::new(Vec::new()));
        let waits = |bomb| async move {
            let _bomb = bomb;
            std::future::pending::<()>().await;
        };
        let bomb = || Bomb(drops.clone(), true);
        let pool = ThreadPool::with_threads(1);
        let (begun, begins) = mpsc::channel();
        let (end, ends) = mpsc::channel::<()>();
        let holds = pool.spawn(move || {
            begun.send(()).unwrap();
            ends.recv().unwrap();
        });
        begins.recv().unwrap();
        let guard = bomb();
        let closure = pool.spawn(move || drop(guard));
        assert!(closure.cancel());
        end.send(()).unwrap();
        holds.join().unwrap();
        let future = pool.spawn_async(waits(bomb()));
        pool.spawn_async(trefoil::yield_now()).join().unwrap();
        assert!(future.cancel());
        let here = waits(bomb());
        let on_loop = trefoil::run(async {
            let task = trefoil::spawn(here);
            trefoil::yield_now().await;
            assert!(task.cancel());
            task.await
        });
        for result in [closure.join(), future.join(), on_loop] {
            assert!(matches!(result, Err(TaskError::Cancelled)), "{result:?}");
        }
        assert_eq!(*drops.lock().unwrap(), [false; 3]);
    });
}

#[test]
fn a_future_that_panicked_is_dropped_after_the_panic_and_may_panic_again() {
    /// Not an `async` block, whose variables go while it unwinds.
    struct Panics(#[allow(dead_code)] Bomb);

    impl Future for Panics {
        type Output = ();

        fn poll(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<()> {
            panic!("in the poll");
        }
    }

    within_deadline(|| {
        for again in [false, true] {
            let drops = Arc::new(Mutex::new(Vec::new()));
            let pool = ThreadPool::with_threads(1);
            let panics = || Panics(Bomb(drops.clone(), again));
            let (here, there) = (panics(), panics());
            let results = [
                pool.spawn_async(there).join(),
                trefoil::run(async { trefoil::spawn(here).await }),
            ];
            for result in results {
                let Err(TaskError::Panicked(panic)) = result else {
                    panic!("{result:?}")
                };
                assert_eq!(panic.message(), "in the poll", "the first one counts");
            }
            assert_eq!(*drops.lock().unwrap(), [false; 2]);
        }
    });
}

// ------------------------------------------------------------------ references

#[test]
fn more_wakers_than_can_be_counted() {
    const MANY: usize = (1 << 23) + 1000;
    within_deadline(|| {
        let pool = ThreadPool::with_threads(1);
        let (completer, task) = Completer::<u32>::new();
        let mut task = Box::pin(task);
        let mut cloned = false;
        let many = pool.spawn_async(std::future::poll_fn(move |cx| {
            if !std::mem::replace(&mut cloned, true) {
                for _ in 0..MANY {
                    std::mem::forget(cx.waker().clone());
                }
                let wakers: Vec<_> = (0..1000).map(|_| cx.waker().clone()).collect();
                wakers.into_iter().for_each(Waker::wake);
                drop([(); 1000].map(|()| cx.waker().clone()));
            }
            Pin::new(&mut task).poll(cx)
        }));
        completer.complete(Ok(7));
        assert_eq!(many.join().unwrap().unwrap(), 7);
    });
}
