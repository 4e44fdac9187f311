//! Loom models of the thread pool's sleep protocol and latch.
//!
//! Run with
//! `RUSTFLAGS="--cfg loom" LOOM_MAX_PREEMPTIONS=2 cargo test -p trefoil-checks --release --test
//! pool -- --nocapture`. A lost wake-up shows as a deadlock: every thread that is left sleeps,
//! which loom reports. The twins at the end leave one step of the protocol out, and must fail.
#![cfg(loom)]

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize as Plain, Ordering::SeqCst};

use loom::cell::UnsafeCell;
use loom::sync::atomic::{AtomicBool, Ordering::Relaxed, fence};
use loom::thread;
use trefoil::thread::model::{
    Broken, Fault, Gate, InboxModel, Pool, Scope, break_countdown, break_inbox, break_latch,
    number, owners,
};
use trefoil_checks::{explore, must_fail, must_fail_with};

/// One item, pushed while the only worker may be about to sleep.
fn publish_vs_lie_down(broken: Broken) {
    let pool = Pool::new(1, broken);
    let worker = pool.worker(false);
    let thread = thread::spawn(move || worker.work(|| (), || true));
    pool.push_only();
    thread.join().unwrap();
}

#[test]
fn a_push_wakes_the_worker_that_lies_down() {
    explore(|| publish_vs_lie_down(Broken::No));
}

#[test]
fn two_publishers_one_worker() {
    explore(|| {
        let pool = Pool::new(1, Broken::No);
        let worker = pool.worker(false);
        let other = pool.clone();
        let publisher = thread::spawn(move || other.push());
        pool.push();
        let ran = Plain::new(0);
        worker.work(
            || {
                ran.fetch_add(1, SeqCst);
            },
            || ran.load(SeqCst) == 2,
        );
        publisher.join().unwrap();
    });
}

#[test]
fn the_last_searcher_hands_on() {
    // Two items that need each other: the thread that runs one waits until the other has been
    // begun. The pool does not know that it waits.
    explore(|| {
        let pool = Pool::new(2, Broken::No);
        let gates = Arc::new((Gate::default(), Gate::default()));
        let turn = Arc::new(Plain::new(0));
        let threads: Vec<_> = (0..2)
            .map(|_| {
                let (worker, gates, turn) = (pool.worker(false), gates.clone(), turn.clone());
                thread::spawn(move || {
                    let run = || match turn.fetch_add(1, SeqCst) {
                        0 => gates.0.pass(),
                        _ => gates.0.open(),
                    };
                    worker.work(run, || true);
                })
            })
            .collect();
        pool.push();
        pool.push();
        for thread in threads {
            thread.join().unwrap();
        }
    });
}

#[test]
fn a_blocked_worker_is_replaced() {
    // One worker wide. It runs the first item and blocks until the second has
    // run, which is pushed meanwhile: a spare must be started.
    explore(|| {
        let pool = Pool::new(1, Broken::No);
        let gate = Arc::new(Gate::default());
        let (worker, spare) = (pool.worker(false), pool.worker(true));
        let first = Arc::new(Plain::new(0));
        let threads = [worker, spare].map(|worker| {
            let (pool, gate, first) = (pool.clone(), gate.clone(), first.clone());
            thread::spawn(move || {
                let run = || match first.fetch_add(1, SeqCst) {
                    0 => pool.blocked(|| gate.pass()),
                    _ => gate.open(),
                };
                worker.work(run, || true);
            })
        });
        pool.push();
        pool.push();
        for thread in threads {
            thread.join().unwrap();
        }
    });
}

#[test]
fn closing_runs_what_is_queued_and_ends_the_worker() {
    explore(|| {
        let pool = Pool::new(1, Broken::No);
        let worker = pool.worker(false);
        let ran = Arc::new(Plain::new(0));
        let counted = ran.clone();
        let thread = thread::spawn(move || {
            worker.work(
                || {
                    counted.fetch_add(1, SeqCst);
                },
                || false,
            );
        });
        pool.push();
        pool.close();
        assert_eq!(ran.load(SeqCst), 1);
        thread.join().unwrap();
    });
}

#[test]
fn a_latch_shows_what_was_written_before() {
    explore(|| {
        let shared = Arc::new((Gate::default(), UnsafeCell::new(0)));
        let other = shared.clone();
        let setter = thread::spawn(move || {
            // SAFETY: before `open` nobody else looks; loom checks that it is so.
            other.1.with_mut(|cell| unsafe { *cell = 7 });
            other.0.open();
        });
        shared.0.pass();
        // SAFETY: after `pass` nobody writes; loom checks that it is so.
        assert_eq!(shared.1.with(|cell| unsafe { *cell }), 7);
        setter.join().unwrap();
    });
}

/// Two parts, one of which is added by the other, and what they have written when the scope has
/// ended.
fn a_scope_and_its_parts() {
    let shared = Arc::new((Scope::default(), UnsafeCell::new(0), UnsafeCell::new(0)));
    shared.0.add();
    let first = shared.clone();
    let thread = thread::spawn(move || {
        first.0.add();
        let second = first.clone();
        let inner = thread::spawn(move || {
            // SAFETY: this thread alone, until the scope has ended; loom checks that it is so.
            second.2.with_mut(|cell| unsafe { *cell = 2 });
            second.0.end_part();
        });
        // SAFETY: as above.
        first.1.with_mut(|cell| unsafe { *cell = 1 });
        first.0.end_part();
        inner
    });
    shared.0.end();
    // SAFETY: all parts have ended; loom checks that it is so.
    assert_eq!(shared.1.with(|cell| unsafe { *cell }), 1);
    // SAFETY: as above.
    assert_eq!(shared.2.with(|cell| unsafe { *cell }), 2);
    thread.join().unwrap().join().unwrap();
}

#[test]
fn a_scope_ends_when_all_its_parts_have() {
    explore(a_scope_and_its_parts);
}

/// What both owners write is there when the last one drops it, once.
struct Written {
    by: [UnsafeCell<u32>; 2],
    drops: Arc<Plain>,
}

impl Drop for Written {
    fn drop(&mut self) {
        for cell in &self.by {
            // SAFETY: both owners are gone; loom checks that it is so.
            assert_eq!(cell.with(|cell| unsafe { *cell }), 1);
        }
        self.drops.fetch_add(1, SeqCst);
    }
}

#[test]
fn the_last_of_two_owners_drops() {
    explore(|| {
        let drops = Arc::new(Plain::new(0));
        let by = [UnsafeCell::new(0), UnsafeCell::new(0)];
        let (one, other) = owners(Written {
            by,
            drops: drops.clone(),
        });
        let thread = thread::spawn(move || {
            // SAFETY: this thread alone, until it drops its half; loom checks that it is so.
            other.by[1].with_mut(|cell| unsafe { *cell = 1 });
        });
        // SAFETY: as above.
        one.by[0].with_mut(|cell| unsafe { *cell = 1 });
        drop(one);
        thread.join().unwrap();
        assert_eq!(drops.load(SeqCst), 1);
    });
}

#[test]
fn an_owner_that_is_alone_has_the_value_to_itself() {
    explore(|| {
        let by = [UnsafeCell::new(0), UnsafeCell::new(0)];
        let drops = Arc::new(Plain::new(0));
        let (one, other) = owners(Written { by, drops });
        let thread = thread::spawn(move || {
            // SAFETY: this thread alone, until it drops its half; loom checks that it is so.
            other
                .by
                .iter()
                .for_each(|cell| cell.with_mut(|cell| unsafe { *cell = 1 }));
        });
        if one.is_alone() {
            for cell in &one.by {
                // SAFETY: as above: the other owner is gone.
                cell.with_mut(|cell| unsafe { *cell += 1 });
                // SAFETY: as above.
                assert_eq!(cell.with(|cell| unsafe { *cell }), 2);
            }
            // SAFETY: as above.
            one.by
                .iter()
                .for_each(|cell| cell.with_mut(|cell| unsafe { *cell = 1 }));
        }
        drop(one);
        thread.join().unwrap();
    });
}

/// Two items that need each other, in a pool that is one wide when they are pushed.
fn resize_vs_publish(broken: Broken) {
    let pool = Pool::new(1, broken);
    let gates = Arc::new((Gate::default(), Gate::default()));
    let turn = Arc::new(Plain::new(0));
    let threads: Vec<_> = [pool.worker(false), pool.worker(true)]
        .into_iter()
        .map(|worker| {
            let (gates, turn) = (gates.clone(), turn.clone());
            thread::spawn(move || {
                let run = || match turn.fetch_add(1, SeqCst) {
                    0 => gates.0.pass(),
                    _ => gates.0.open(),
                };
                worker.work(run, || true);
            })
        })
        .collect();
    pool.push();
    pool.push();
    pool.resize(2);
    for thread in threads {
        thread.join().unwrap();
    }
}

#[test]
fn a_pool_that_grows_looks_for_what_is_queued() {
    explore(|| resize_vs_publish(Broken::No));
}

/// A share for a worker that may be about to sleep.
fn mail_vs_going_to_sleep(broken: Broken) {
    let pool = Pool::new(1, broken);
    let worker = pool.worker(false);
    let thread = thread::spawn(move || worker.work(|| (), || true));
    pool.deliver(0);
    thread.join().unwrap();
}

#[test]
fn a_share_wakes_the_worker_that_it_is_for() {
    explore(|| mail_vs_going_to_sleep(Broken::No));
}

/// An item for which the first of two is woken, perhaps the second stands in, while a share arrives
/// for the first.
fn mail_vs_stand_in(broken: Broken) {
    let pool = Pool::new(2, broken);
    let ran = Arc::new(Plain::new(0));
    let threads = [(); 2].map(|()| {
        let (pool, worker, ran) = (pool.clone(), pool.worker(false), ran.clone());
        thread::spawn(move || {
            // Whoever is second lets the other end, too.
            let run = || match ran.fetch_add(1, SeqCst) {
                1 => pool.push(),
                _ => (),
            };
            worker.work(run, || ran.load(SeqCst) >= 2);
        })
    });
    pool.push();
    pool.deliver(0);
    for thread in threads {
        thread.join().unwrap();
    }
}

#[test]
fn a_share_wakes_a_worker_for_whom_another_stands_in() {
    explore(|| mail_vs_stand_in(Broken::No));
}

/// A share for a worker that waits until another thread has run it.
fn share_vs_away(broken: Broken) {
    let pool = Pool::new(1, broken);
    let gate = Arc::new(Gate::default());
    let (worker, spare) = (pool.worker(false), pool.worker(true));
    let theirs = gate.clone();
    let first = thread::spawn(move || worker.away(|| theirs.pass()));
    let stand_in = thread::spawn(move || spare.work(|| gate.open(), || true));
    pool.deliver(0);
    first.join().unwrap();
    stand_in.join().unwrap();
}

#[test]
fn the_share_of_a_worker_that_is_away_is_taken_by_another() {
    explore(|| share_vs_away(Broken::No));
}

/// An item for which a thread waits, in a pool that begins nothing else, while its worker goes to
/// sleep.
fn urgent_vs_lie_down(broken: Broken) {
    let pool = Pool::new(1, broken);
    pool.is_full();
    let worker = pool.worker(false);
    let thread = thread::spawn(move || worker.work(|| (), || true));
    pool.push_urgent();
    thread.join().unwrap();
}

#[test]
fn what_is_urgent_is_begun_however_many_wait() {
    explore(|| urgent_vs_lie_down(Broken::No));
}

/// The same while its worker has run something, and is one too many.
fn urgent_vs_surplus(broken: Broken) {
    let pool = Pool::new(1, broken);
    let gate = Arc::new(Gate::default());
    let runs = Arc::new(Plain::new(0));
    let worker = pool.worker(false);
    pool.push_only();
    let theirs = (gate.clone(), runs.clone());
    let thread = thread::spawn(move || {
        let run = || match theirs.1.fetch_add(1, SeqCst) {
            0 => theirs.0.open(),
            _ => (),
        };
        worker.work(run, || theirs.1.load(SeqCst) == 2);
    });
    gate.pass();
    pool.is_full();
    pool.push_urgent();
    thread.join().unwrap();
}

#[test]
fn a_surplus_worker_looks_for_what_is_urgent() {
    explore(|| urgent_vs_surplus(Broken::No));
}

/// An item is queued behind one whose worker is stuck until there is a stall monitor, while a
/// thread from outside begins to wait.
fn queue_vs_wait(broken: Broken) {
    let pool = Pool::new(1, broken);
    let gate = Arc::new(Gate::default());
    pool.has_monitor(&gate);
    let worker = pool.worker(false);
    pool.push();
    let stuck = thread::spawn(move || worker.work(|| gate.pass(), || true));
    let other = pool.clone();
    let publisher = thread::spawn(move || other.push());
    pool.outsider_waits();
    publisher.join().unwrap();
    stuck.join().unwrap();
}

#[test]
fn what_is_queued_while_another_thread_waits_is_monitored() {
    explore(|| queue_vs_wait(Broken::No));
}

/// The same, where the thread from outside has waited for something else before.
fn queue_vs_second_wait(broken: Broken) {
    let pool = Pool::new(1, broken);
    let gate = Arc::new(Gate::default());
    pool.has_monitor(&gate);
    let worker = pool.worker(false);
    pool.push();
    let stuck = thread::spawn(move || worker.work(|| gate.pass(), || true));
    pool.outsider_waits();
    let other = pool.clone();
    let publisher = thread::spawn(move || other.push());
    pool.outsider_goes_on();
    pool.outsider_waits();
    publisher.join().unwrap();
    stuck.join().unwrap();
}

#[test]
fn what_is_queued_between_two_waits_is_monitored() {
    explore(|| queue_vs_second_wait(Broken::No));
}

#[test]
fn the_models_catch_a_publisher_that_looks_twice() {
    must_fail("no_third_look");
}

#[test]
#[ignore = "fails on purpose: run by the_models_catch_a_publisher_that_looks_twice"]
fn no_third_look() {
    loom::model(|| queue_vs_second_wait(Broken::NoThirdLook));
}

/// An item is queued behind one whose worker is stuck until that item has run.
fn mark_vs_stuck(broken: Broken) {
    let pool = Pool::new(1, broken);
    let (gate, begun) = (Arc::new(Gate::default()), Arc::new(Gate::default()));
    let turn = Arc::new(Plain::new(0));
    pool.push();
    pool.push();
    let threads = [false, true].map(|spare| {
        let worker = pool.worker(spare);
        let (gate, begun, turn) = (gate.clone(), begun.clone(), turn.clone());
        thread::spawn(move || {
            let run = || match turn.fetch_add(1, SeqCst) {
                0 => {
                    begun.open();
                    gate.pass();
                }
                _ => gate.open(),
            };
            worker.work(run, || true);
        })
    });
    begun.pass();
    pool.mark(0);
    threads.map(|thread| thread.join().unwrap());
}

#[test]
fn another_thread_takes_the_place_of_one_that_is_stuck() {
    explore(|| mark_vs_stuck(Broken::No));
}

/// A worker that is taken for stuck moves again, and goes to sleep, while the pool ends.
fn mark_vs_end(broken: Broken) {
    let pool = Pool::new(1, broken);
    let worker = pool.worker(false);
    pool.push_only();
    let thread = thread::spawn(move || worker.work(|| (), || false));
    pool.mark(0);
    pool.close();
    thread.join().unwrap();
}

#[test]
fn a_worker_that_moves_again_is_counted_once() {
    explore(|| mark_vs_end(Broken::No));
}

/// A share lies in the mailbox of a worker that is taken for stuck and moves again, while the pool
/// ends.
fn mark_vs_share(broken: Broken) {
    let pool = Pool::new(1, broken);
    let worker = pool.worker(false);
    pool.deliver(0);
    let ran = Arc::new(Plain::new(0));
    let theirs = Arc::clone(&ran);
    let run = move || _ = theirs.fetch_add(1, SeqCst);
    let thread = thread::spawn(move || worker.work(run, || false));
    let monitored = Arc::clone(&pool);
    let monitor = thread::spawn(move || monitored.mark(0));
    pool.close();
    monitor.join().unwrap();
    thread.join().unwrap();
    assert_eq!(ran.load(SeqCst), 1, "the share was run");
}

#[test]
fn the_share_of_a_worker_that_moves_again_is_run() {
    explore(|| mark_vs_share(Broken::No));
}

#[test]
fn the_models_catch_a_monitor_that_lets_the_pool_end() {
    must_fail_with("no_delay_of_a_monitor", "the share was run");
}

#[test]
#[ignore = "fails on purpose: run by the_models_catch_a_monitor_that_lets_the_pool_end"]
fn no_delay_of_a_monitor() {
    loom::model(|| mark_vs_share(Broken::NoDelayOfMonitor));
}

#[test]
fn the_models_catch_a_monitor_that_does_not_look() {
    must_fail("no_look_of_a_monitor");
}

#[test]
#[ignore = "fails on purpose: run by the_models_catch_a_monitor_that_does_not_look"]
fn no_look_of_a_monitor() {
    loom::model(|| mark_vs_stuck(Broken::NoLookOfMonitor));
}

/// The same as with two waits, where a second worker goes to sleep although it sees the item,
/// because the pool has become narrower.
fn queue_vs_sleeper(broken: Broken) {
    let pool = Pool::new(2, broken);
    let gate = Arc::new(Gate::default());
    let begun = Arc::new(Gate::default());
    pool.has_monitor(&gate);
    pool.outsider_waits();
    pool.push();
    let turn = Arc::new(Plain::new(0));
    let threads = [(), ()].map(|()| {
        let worker = pool.worker(false);
        let (gate, begun, turn) = (gate.clone(), begun.clone(), turn.clone());
        thread::spawn(move || {
            let run = || match turn.fetch_add(1, SeqCst) {
                0 => {
                    begun.open();
                    gate.pass();
                }
                _ => gate.open(),
            };
            worker.work(run, || false);
        })
    });
    begun.pass();
    pool.resize(1);
    pool.push();
    pool.close();
    for thread in threads {
        thread.join().unwrap();
    }
}

#[test]
fn what_a_worker_sees_that_may_not_wake_is_monitored() {
    explore(|| queue_vs_sleeper(Broken::No));
}

#[test]
fn the_models_catch_a_waiter_that_does_not_look() {
    must_fail("no_look_of_a_waiter");
}

#[test]
#[ignore = "fails on purpose: run by the_models_catch_a_waiter_that_does_not_look"]
fn no_look_of_a_waiter() {
    loom::model(|| queue_vs_wait(Broken::NoLookOfWaiter));
}

#[test]
fn the_models_catch_a_sleeper_that_keeps_it_to_itself() {
    must_fail("no_word_from_a_sleeper");
}

#[test]
#[ignore = "fails on purpose: run by the_models_catch_a_sleeper_that_keeps_it_to_itself"]
fn no_word_from_a_sleeper() {
    loom::model(|| queue_vs_sleeper(Broken::NoPublishOfSleeper));
}

#[test]
fn the_models_catch_what_is_not_told_to_be_urgent() {
    must_fail("not_told_to_be_urgent");
}

#[test]
#[ignore = "fails on purpose: run by the_models_catch_what_is_not_told_to_be_urgent"]
fn not_told_to_be_urgent() {
    loom::model(|| urgent_vs_lie_down(Broken::NotUrgent));
}

#[test]
fn the_models_catch_no_look_of_a_surplus_worker() {
    must_fail("no_look_of_a_surplus_worker");
}

#[test]
#[ignore = "fails on purpose: run by the_models_catch_no_look_of_a_surplus_worker"]
fn no_look_of_a_surplus_worker() {
    loom::model(|| urgent_vs_surplus(Broken::NoLookOfSurplus));
}

#[test]
fn the_models_catch_a_missing_second_look() {
    must_fail("no_second_look");
}

#[test]
#[ignore = "fails on purpose: run by the_models_catch_a_missing_second_look"]
fn no_second_look() {
    loom::model(|| publish_vs_lie_down(Broken::NoSecondLook));
}

#[test]
fn the_models_catch_a_searcher_that_looks_before_it_leaves() {
    must_fail("looks_before_leaving");
}

#[test]
#[ignore = "fails on purpose: run by the_models_catch_a_searcher_that_looks_before_it_leaves"]
fn looks_before_leaving() {
    loom::model(|| publish_vs_lie_down(Broken::LooksBeforeLeaving));
}

#[test]
fn the_models_catch_a_missing_fence() {
    must_fail("no_fence");
}

#[test]
#[ignore = "fails on purpose: run by the_models_catch_a_missing_fence"]
fn no_fence() {
    loom::model(|| publish_vs_lie_down(Broken::NoFence));
}

#[test]
fn the_models_catch_no_look_after_resize() {
    must_fail("no_look_after_resize");
}

#[test]
#[ignore = "fails on purpose: run by the_models_catch_no_look_after_resize"]
fn no_look_after_resize() {
    loom::model(|| resize_vs_publish(Broken::NoLookAfterResize));
}

#[test]
fn the_models_catch_no_look_into_post() {
    must_fail("no_look_into_post");
}

#[test]
#[ignore = "fails on purpose: run by the_models_catch_no_look_into_post"]
fn no_look_into_post() {
    loom::model(|| mail_vs_going_to_sleep(Broken::NoLookIntoMailbox));
}

#[test]
fn the_models_catch_no_second_look_into_post() {
    must_fail("no_second_look_into_post");
}

#[test]
#[ignore = "fails on purpose: run by the_models_catch_no_second_look_into_post"]
fn no_second_look_into_post() {
    loom::model(|| mail_vs_stand_in(Broken::NoSecondLookIntoMailbox));
}

#[test]
fn the_models_catch_no_look_when_away() {
    must_fail("no_look_when_away");
}

#[test]
#[ignore = "fails on purpose: run by the_models_catch_no_look_when_away"]
fn no_look_when_away() {
    loom::model(|| share_vs_away(Broken::NoLookWhenAway));
}

/// The setter looks, the waiter parks, the setter stores: the waiter is not woken.
#[test]
#[ignore = "run by `a_latch_set_in_two_steps_loses_a_waiter`"]
fn latch_in_two_steps() {
    break_latch();
    explore(|| {
        let gate = Arc::new(Gate::default());
        let other = gate.clone();
        let setter = thread::spawn(move || other.open());
        gate.pass();
        setter.join().unwrap();
    });
}

#[test]
fn a_latch_set_in_two_steps_loses_a_waiter() {
    must_fail("latch_in_two_steps");
}

/// The last part does not acquire what the others did.
#[test]
#[ignore = "run by `a_countdown_that_acquires_nothing_shows_too_little`"]
fn countdown_without_order() {
    break_countdown();
    explore(a_scope_and_its_parts);
}

#[test]
fn a_countdown_that_acquires_nothing_shows_too_little() {
    must_fail_with("countdown_without_order", "Causality violation");
}

/// One thread pushes more than there is room for, another pushes, too, and a third takes them out.
fn two_push_and_one_takes() {
    let inbox = Arc::new(InboxModel::default());
    let (many, one) = (inbox.clone(), inbox.clone());
    let first = thread::spawn(move || (0..2).for_each(|entry| assert!(many.push(entry))));
    let second = thread::spawn(move || assert!(one.push(9)));
    inbox.drain(0);
    first.join().unwrap();
    second.join().unwrap();
    assert!(inbox.drain(number(3)), "all pushes have ended");
    let mut out = inbox.out();
    out.retain(|entry| *entry != 9);
    assert_eq!((out, inbox.out().len()), (vec![0, 1], 3));
    assert!(!inbox.has_some());
}

#[test]
fn an_inbox_gives_out_what_was_pushed_in_order() {
    explore(two_push_and_one_takes);
}

#[test]
#[ignore = "fails on purpose: run by the_models_catch_a_push_that_does_not_wait_for_its_slot"]
fn no_limit() {
    break_inbox(Fault::NoLimit);
    explore(two_push_and_one_takes);
}

#[test]
fn the_models_catch_a_push_that_does_not_wait_for_its_slot() {
    must_fail_with("no_limit", "panicked");
}

#[test]
#[ignore = "fails on purpose: run by the_models_catch_an_entry_that_is_shown_too_soon"]
fn shows_first() {
    break_inbox(Fault::ShowsFirst);
    explore(two_push_and_one_takes);
}

#[test]
fn the_models_catch_an_entry_that_is_shown_too_soon() {
    must_fail_with("shows_first", "Causality violation");
}

/// What is accepted is there for the thread that closes, once all that came before it is out.
fn push_vs_close(waits: bool) {
    let inbox = Arc::new(InboxModel::default());
    let other = inbox.clone();
    let pusher = thread::spawn(move || other.push(0));
    let until = inbox.close();
    while !inbox.drain(until) && waits {
        thread::yield_now();
    }
    let out = inbox.out();
    let accepted = pusher.join().unwrap();
    assert_eq!(out.len(), usize::from(accepted), "accepted and lost");
}

#[test]
fn an_inbox_that_closes_accepts_or_refuses() {
    explore(|| push_vs_close(true));
}

#[test]
#[ignore = "fails on purpose: run by the_models_catch_a_close_that_does_not_wait"]
fn close_without_wait() {
    explore(|| push_vs_close(false));
}

#[test]
fn the_models_catch_a_close_that_does_not_wait() {
    must_fail_with("close_without_wait", "accepted and lost");
}

/// Two pushes, and a thread that goes to sleep: it sees an entry, or one of them sees it asleep.
fn inbox_vs_sleeper(fenced: bool) {
    let fenced = move || {
        if fenced {
            fence(SeqCst);
        }
    };
    let shared = Arc::new((InboxModel::default(), AtomicBool::new(false)));
    let push = |entry: usize| {
        let shared = shared.clone();
        thread::spawn(move || {
            shared.0.push(entry);
            fenced();
            shared.1.load(Relaxed)
        })
    };
    let (first, second) = (push(0), push(1));
    shared.1.store(true, Relaxed);
    fenced();
    let sees = shared.0.has_some() || !shared.0.out().is_empty();
    let seen = [first.join().unwrap(), second.join().unwrap()];
    assert!(sees || seen != [false; 2], "nobody sees the other");
}

#[test]
fn a_sleeper_sees_an_entry_or_is_seen() {
    explore(|| inbox_vs_sleeper(true));
}

#[test]
#[ignore = "fails on purpose: run by the_models_catch_a_sleeper_without_a_fence"]
fn sleeper_without_fence() {
    explore(|| inbox_vs_sleeper(false));
}

#[test]
fn the_models_catch_a_sleeper_without_a_fence() {
    must_fail_with("sleeper_without_fence", "nobody sees the other");
}

/// One pushes, a second goes to sleep, a third takes it out: the sleeper sees the entry where it
/// is, or the push sees it asleep.
fn drained_vs_sleeper(drain: fn(&InboxModel)) {
    let shared = Arc::new((InboxModel::default(), AtomicBool::new(false)));
    let (pushed, asleep) = (shared.clone(), shared.clone());
    let push = thread::spawn(move || {
        pushed.0.push(0);
        fence(SeqCst);
        pushed.1.load(Relaxed)
    });
    let sleeper = thread::spawn(move || {
        asleep.1.store(true, Relaxed);
        fence(SeqCst);
        asleep.0.sees()
    });
    drain(&shared.0);
    let (seen, sees) = (push.join().unwrap(), sleeper.join().unwrap());
    assert!(sees || seen, "nobody sees the other");
}

#[test]
fn a_sleeper_sees_an_entry_that_is_being_taken_out() {
    explore(|| drained_vs_sleeper(|inbox| _ = inbox.drain(0)));
}

#[test]
#[ignore = "fails on purpose: run by the_models_catch_an_entry_that_is_counted_too_late"]
fn counted_too_late() {
    explore(|| drained_vs_sleeper(InboxModel::drain_uncounted));
}

#[test]
fn the_models_catch_an_entry_that_is_counted_too_late() {
    must_fail_with("counted_too_late", "nobody sees the other");
}
