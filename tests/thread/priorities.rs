//! Priorities: what goes first, what gives way to it, and that nothing is lost.
#![allow(clippy::disallowed_methods, clippy::disallowed_types)] // a program, not the crate

use crate::deadline;

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Barrier, Mutex, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use deadline::{asleep, eventually, this_thread, within_deadline};
use trefoil::prelude::*;
use trefoil::{Priority, Shutdown, Task, TaskError, ThreadPool, join, try_join_all};

/// How long work may stand still until the stall rule lets one more thread run, in milliseconds.
const STALL_MS: usize = 10;

/// Lets so many items end as it has permits. Items compute until then, so that no stall monitor
/// takes them for stuck.
#[derive(Default)]
struct Gate {
    begun: AtomicUsize,
    ended: AtomicUsize,
    permits: AtomicUsize,
}

impl Gate {
    fn item(&self) -> usize {
        let number = self.begun.fetch_add(1, Ordering::SeqCst);
        let begin = Instant::now();
        while self.permits.load(Ordering::SeqCst) <= number
            || begin.elapsed() < Duration::from_micros(100)
        {
            thread::yield_now();
        }
        self.ended.fetch_add(1, Ordering::SeqCst);
        number
    }

    fn has_begun(&self, items: usize) {
        eventually("items begin", || self.begun.load(Ordering::SeqCst) >= items);
    }

    fn permitted(&self) -> usize {
        self.permits.load(Ordering::SeqCst)
    }

    /// So many items may end in all.
    fn permit(&self, items: usize) {
        self.permits.store(items, Ordering::SeqCst);
    }
}

/// A computation of eight items inside a task.
type Way = fn(&ThreadPool, &Gate);

const WAYS: [(&str, Way); 8] = [
    ("map", |pool, gate| _ = pool.map(0..8, |_| gate.item())),
    ("map_each", |pool, gate| {
        _ = pool.map_each(0..8, |_| gate.item());
    }),
    ("map_reduce", |pool, gate| {
        pool.map_reduce(0..8, |_| gate.item(), || 0, |a, b| a + b);
    }),
    ("long runs", |pool, gate| {
        let item = |n: usize| match n {
            0..8 => gate.item(),
            _ => n,
        };
        pool.map_reduce(0..4000, item, || 0, |a, b| a + b);
    }),
    ("par_iter", |_, gate| {
        (0..8).into_par_iter().for_each(|_| _ = gate.item());
    }),
    ("join", |_, gate| {
        fn all(gate: &Gate, n: usize) {
            match n {
                1 => _ = gate.item(),
                n => _ = join(|| all(gate, n / 2), || all(gate, n - n / 2)),
            }
        }
        all(gate, 8);
    }),
    ("scope", |pool, gate| {
        pool.scope(|s| (0..8).for_each(|_| s.spawn_detached(|| _ = gate.item())));
    }),
    ("tasks", |pool, gate| {
        // As `gate` is borrowed, tasks of a scope for each.
        for _ in 0..8 {
            pool.scope(|s| s.spawn_detached(|| _ = gate.item()));
            pool.join(|| (), || ());
        }
    }),
];

#[test]
fn work_that_was_queued_before_the_first_handle_counts_too() {
    within_deadline(|| {
        let pool = Arc::new(ThreadPool::with_threads(1));
        let (queued, is_queued) = mpsc::channel();
        let (ends, end) = mpsc::channel();
        let (inside, before) = (Arc::clone(&pool), Arc::new(AtomicBool::new(false)));
        let has_run = Arc::clone(&before);
        let first = pool.spawn(move || {
            is_queued.recv().unwrap();
            let item = |_| {
                let begin = Instant::now();
                while begin.elapsed() < Duration::from_micros(300) {}
                has_run.load(Ordering::SeqCst)
            };
            let found = inside.handle_with(Priority::Low).map(0..8, item);
            ends.send(found).unwrap();
        });
        let normal = pool.spawn(move || before.store(true, Ordering::SeqCst));
        queued.send(()).unwrap();
        let found = end.recv().unwrap();
        assert!(found[4..].iter().all(|has_run| *has_run), "{found:?}");
        try_join_all([first, normal]).join().unwrap();
    });
}

#[test]
fn every_way_to_compute_gives_way_after_the_item_that_runs() {
    for (name, way) in WAYS {
        for (lower, higher) in [
            (Priority::Low, Priority::Normal),
            (Priority::Low, Priority::High),
            (Priority::Normal, Priority::High),
        ] {
            within_deadline(move || {
                let pool = ThreadPool::with_threads(1);
                let (low, high) = (pool.handle_with(lower), pool.handle_with(higher));
                let gate = Arc::new(Gate::default());
                let (theirs, inside) = (gate.clone(), low.clone());
                let background = low.spawn(move || way(&inside, &theirs));
                // Each in the middle of the computation.
                while gate.permitted() < 3 {
                    gate.has_begun(gate.permitted() + 1);
                    let begun = gate.begun.load(Ordering::SeqCst);
                    let since = Instant::now();
                    let urgent = high.spawn(|| 42);
                    // The items that run end. (If a thread gives way, and for long no item ends,
                    // the stall rule lets it continue beside the one in its place: each may be
                    // about to begin one more. On a machine that is too busy, that happens again
                    // and again.)
                    eventually(name, || {
                        gate.permit(gate.begun.load(Ordering::SeqCst));
                        urgent.is_finished()
                    });
                    let more = gate.begun.load(Ordering::SeqCst) - begun;
                    let stalls = since.elapsed().as_millis() as usize / STALL_MS;
                    assert!(
                        more <= 2 + stalls,
                        "{name}: {more} items have begun meanwhile"
                    );
                }
                gate.permit(usize::MAX);
                background.join().unwrap();
                assert_eq!(gate.ended.load(Ordering::SeqCst), 8);
            });
        }
    }
}

#[test]
fn a_low_map_on_all_threads_gives_way_to_a_normal_one() {
    for helps in [false, true] {
        within_deadline(move || {
            let builder = ThreadPool::builder().threads(3).caller_helps(helps);
            let pool = builder.build().unwrap();
            let (low, gate) = (pool.handle_with(Priority::Low), Arc::new(Gate::default()));
            let (ours, theirs) = (low.clone(), gate.clone());
            let caller = thread::spawn(move || ours.map(0..100, |_| theirs.item()).len());
            gate.has_begun(3);
            let urgent = pool.map_task(0..100, |n| n + 1);
            // The items that run end, and no others do.
            gate.permit(gate.begun.load(Ordering::SeqCst));
            eventually("the normal map ends", || urgent.is_finished());
            assert_eq!(urgent.join().unwrap(), (1..=100).collect::<Vec<_>>());
            gate.permit(usize::MAX);
            assert_eq!(caller.join().unwrap(), 100);
        });
    }
}

#[test]
fn an_outside_thread_that_helps_a_low_map_gives_way() {
    within_deadline(|| {
        let pool = ThreadPool::with_threads(1);
        let (low, gate) = (pool.handle_with(Priority::Low), Arc::new(Gate::default()));
        let (ours, theirs) = (low.clone(), gate.clone());
        let (tell, told) = mpsc::channel();
        let caller = thread::spawn(move || {
            tell.send(this_thread()).unwrap();
            ours.map(0..10, |_| theirs.item()).len()
        });
        gate.has_begun(1);
        // Keeps the worker until the caller has given way.
        let over = Arc::new(AtomicBool::new(false));
        let theirs = over.clone();
        let normal = pool.spawn(move || {
            while !theirs.load(Ordering::SeqCst) {
                thread::yield_now();
            }
        });
        let another = pool.spawn(|| ());
        let begun = gate.begun.load(Ordering::SeqCst);
        gate.permit(begun);
        eventually("its items end", || {
            gate.ended.load(Ordering::SeqCst) == begun
        });
        let caller_thread = told.recv().unwrap();
        eventually("it waits", || asleep(caller_thread));
        over.store(true, Ordering::SeqCst);
        eventually("the tasks end", || {
            normal.is_finished() && another.is_finished()
        });
        gate.permit(usize::MAX);
        assert_eq!(caller.join().unwrap(), 10);
    });
}

/// Queues tasks while the pool's one thread is busy, and returns the order in which they ran.
fn order(queue: impl FnOnce(&ThreadPool, &dyn Fn(&'static str) -> Note)) -> Vec<&'static str> {
    let pool = ThreadPool::builder().threads(1).caller_helps(false).build();
    let pool = pool.unwrap();
    let (gate, order) = (Arc::new(Gate::default()), Arc::new(Mutex::default()));
    let theirs = gate.clone();
    // Of low priority, which nothing that runs after it may keep.
    let low = pool.handle_with(Priority::Low);
    low.spawn(move || theirs.item()).detach();
    gate.has_begun(1);
    queue(&pool, &|name| Note(order.clone(), name));
    gate.permit(1);
    pool.shutdown(Shutdown::Wait);
    let order: &Mutex<Vec<_>> = &order;
    order.lock().unwrap().clone()
}

struct Note(Arc<Mutex<Vec<&'static str>>>, &'static str);

impl Note {
    fn take(self) {
        self.0.lock().unwrap().push(self.1);
    }
}

#[test]
fn what_is_queued_runs_in_the_order_of_its_priority() {
    let order = order(|pool, note| {
        let low = pool.handle_with(Priority::Low);
        let high = pool.handle_with(Priority::High);
        let (first, second, third) = (note("low"), note("normal"), note("high"));
        low.spawn(|| first.take()).detach();
        pool.spawn(|| second.take()).detach();
        high.spawn(|| third.take()).detach();
        let (fourth, fifth) = (note("low future"), note("high future"));
        low.spawn_async(async { fourth.take() }).detach();
        high.spawn_async(async {
            trefoil::yield_now().await;
            fifth.take();
        })
        .detach();
        let (sixth, try_low) = (note("tried low"), low.clone());
        try_low.try_spawn(|| sixth.take()).unwrap().detach();
    });
    let expected = [
        "high",
        "high future",
        "normal",
        "low",
        "low future",
        "tried low",
    ];
    assert_eq!(order, expected);
}

#[test]
fn what_is_begun_inside_inherits_the_priority() {
    let order = order(|pool, note| {
        let (low, normal) = (
            pool.handle_with(Priority::Low),
            pool.handle_with(Priority::Normal),
        );
        let (plain, outer) = (pool.clone(), note("outer"));
        let (first, second, third, item) =
            (note("by it"), note("normal"), note("future"), note("imap"));
        low.spawn(move || {
            outer.take();
            let in_future = plain.clone();
            plain
                .spawn_async(async move { in_future.spawn(|| third.take()).detach() })
                .detach();
            plain.spawn(|| first.take()).detach();
            let item = Mutex::new(Some(item));
            let take = move |()| item.lock().unwrap().take().unwrap().take();
            drop(plain.imap([()], take)); // nothing happens before `next`
            normal.spawn(|| second.take()).detach();
        })
        .detach();
    });
    assert_eq!(order, ["outer", "normal", "by it", "future"]);
}

#[test]
fn the_share_of_a_broadcast_does_not_inherit_the_priority_of_what_ran_before() {
    let order = order(|pool, note| {
        let (low, normal) = (note("low"), note("normal"));
        let by_share = Mutex::new(Some(note("by the share")));
        let queue_low = pool.handle_with(Priority::Low);
        queue_low.spawn(|| low.take()).detach();
        let plain = pool.clone();
        let share = move |_| {
            let by_share = by_share.lock().unwrap().take().unwrap();
            plain.spawn(|| by_share.take()).detach();
        };
        pool.spawn_broadcast(share).detach();
        pool.spawn(|| normal.take()).detach();
    });
    assert_eq!(order.len(), 3);
    assert_eq!(order.last(), Some(&"low"), "{order:?}");
}

#[test]
fn what_an_exit_hook_queues_does_not_inherit_the_priority_of_what_ran_before() {
    within_deadline(|| {
        let order: Arc<Mutex<Vec<&'static str>>> = Arc::default();
        let by_hook: Arc<Mutex<Option<(ThreadPool, Note)>>> = Arc::default();
        let (theirs, (tell, told)) = (by_hook.clone(), mpsc::channel());
        let on_exit = move |_| {
            if let Some((pool, note)) = theirs.lock().unwrap().take() {
                pool.spawn(|| note.take()).detach();
                tell.send(()).unwrap();
            }
        };
        let builder = ThreadPool::builder().threads(2).caller_helps(false);
        let pool = builder.on_exit(on_exit).build().unwrap();
        let low = pool.handle_with(Priority::Low);
        *by_hook.lock().unwrap() = Some((pool.clone(), Note(order.clone(), "by the hook")));
        let gates: Arc<[AtomicBool; 2]> = Arc::default();
        let (began, begun) = mpsc::channel();
        for _ in 0..2 {
            let (gates, began) = (gates.clone(), began.clone());
            let occupy = move || {
                let is_second = thread::current().name().unwrap().ends_with("-1");
                began.send(()).unwrap();
                while !gates[usize::from(is_second)].load(Ordering::SeqCst) {
                    thread::yield_now();
                }
            };
            low.spawn(occupy).detach();
        }
        begun.iter().take(2).for_each(drop);
        let later = Note(order.clone(), "low");
        low.spawn(|| later.take()).detach();
        // The second thread ends, while the first is busy.
        pool.resize(1);
        gates[1].store(true, Ordering::SeqCst);
        told.recv().unwrap();
        gates[0].store(true, Ordering::SeqCst);
        pool.shutdown(Shutdown::Wait);
        assert_eq!(*order.lock().unwrap(), ["by the hook", "low"]);
    });
}

#[test]
fn what_gives_way_may_hold_a_lock_that_the_others_need() {
    within_deadline(|| {
        let pool = ThreadPool::with_threads(2);
        let (low, gate) = (pool.handle_with(Priority::Low), Arc::new(Gate::default()));
        let lock = Arc::new(Mutex::new(0));
        let (ours, theirs, held) = (low.clone(), gate.clone(), lock.clone());
        let holder = low.spawn(move || {
            let mut held = held.lock().unwrap();
            ours.map(0..20, |_| theirs.item());
            *held += 1;
        });
        gate.has_begun(2);
        let others: Vec<Task<()>> = (0..20)
            .map(|_| {
                let lock = lock.clone();
                pool.spawn(move || *lock.lock().unwrap() += 1)
            })
            .collect();
        gate.permit(usize::MAX);
        holder.join().unwrap();
        try_join_all(others).join().unwrap();
        assert_eq!(*lock.lock().unwrap(), 21);
    });
}

#[test]
fn normal_maps_take_turns_where_callers_do_not_help() {
    within_deadline(|| {
        let pool = ThreadPool::builder().threads(1).caller_helps(false).build();
        let pool = pool.unwrap();
        let over = Arc::new(AtomicUsize::new(0));
        // Each goes on until both have begun, and the other may have ended by then.
        let maps: Vec<_> = (0..3)
            .map(|_| {
                let (pool, over) = (pool.clone(), over.clone());
                thread::spawn(move || {
                    let first = AtomicBool::new(true);
                    pool.try_map(0..u32::MAX, |_| {
                        if first.swap(false, Ordering::SeqCst) {
                            over.fetch_add(1, Ordering::SeqCst);
                        }
                        let begin = Instant::now();
                        while begin.elapsed() < Duration::from_micros(20) {}
                        match over.load(Ordering::SeqCst) {
                            3 => Err(()),
                            _ => Ok(()),
                        }
                    })
                })
            })
            .collect();
        for map in maps {
            assert_eq!(map.join().unwrap(), Err(()));
        }
    });
}

#[test]
fn two_maps_of_one_pool_get_on_at_comparable_rates() {
    const ITEMS: usize = 20_000;
    within_deadline(|| {
        let pool = ThreadPool::with_threads(2);
        let counts = [const { AtomicUsize::new(0) }; 2];
        let start = Barrier::new(2);
        let when_one_ended: Vec<[usize; 2]> = thread::scope(|threads| {
            let maps = [0, 1].map(|mine: usize| {
                let (pool, counts, start) = (&pool, &counts, &start);
                threads.spawn(move || {
                    start.wait();
                    pool.for_each(0..ITEMS, |_| {
                        let begin = Instant::now();
                        while begin.elapsed() < Duration::from_micros(20) {}
                        counts[mine].fetch_add(1, Ordering::Relaxed);
                    });
                    [0, 1].map(|map: usize| counts[map].load(Ordering::Relaxed))
                })
            });
            maps.map(|map| map.join().unwrap()).into()
        });
        let slower = when_one_ended.iter().flatten().min().unwrap();
        assert!(*slower > ITEMS / 8, "{when_one_ended:?}");
    });
}

#[test]
fn cancelled_and_refused_work_of_all_priorities_ends() {
    within_deadline(|| {
        for how in [Shutdown::Wait, Shutdown::CancelPending] {
            let builder = ThreadPool::builder().threads(1).caller_helps(false);
            let pool = builder.queue_limit(100).build().unwrap();
            let gate = Arc::new(Gate::default());
            let handles = [Priority::Low, Priority::Normal, Priority::High]
                .map(|priority| pool.handle_with(priority));
            let theirs = gate.clone();
            let way = handles[0].clone();
            let running = handles[0].spawn(move || way.map(0..4, |_| theirs.item()).len());
            gate.has_begun(1);
            let tasks: Vec<Task<u32>> = (0..30).map(|n| handles[n % 3].spawn(|| 1)).collect();
            let maps: Vec<_> = handles
                .iter()
                .map(|pool| pool.map_task(0..10, |n| n))
                .collect();
            let cancelled = handles[0].spawn(|| 1);
            assert!(cancelled.cancel());
            gate.permit(usize::MAX);
            pool.shutdown(how);
            for task in tasks {
                match task.join() {
                    Ok(1) => {}
                    Err(TaskError::Cancelled) if how == Shutdown::CancelPending => {}
                    other => panic!("{other:?}"),
                }
            }
            for map in maps {
                match map.join() {
                    Ok(all) => assert_eq!(all.len(), 10),
                    Err(TaskError::Cancelled) if how == Shutdown::CancelPending => {}
                    other => panic!("{other:?}"),
                }
            }
            assert!(matches!(cancelled.join(), Err(TaskError::Cancelled)));
            assert_eq!(running.join().unwrap(), 4);
            assert!(matches!(
                handles[2].spawn(|| ()).join(),
                Err(TaskError::Closed)
            ));
        }
    });
}

fn spin(micros: u64) {
    let begin = Instant::now();
    while begin.elapsed() < Duration::from_micros(micros) {}
}

/// One of the ways to compute the sum of the numbers below `n`.
fn sum(pool: &ThreadPool, way: usize, n: u64) -> u64 {
    let slow = |n: u64| {
        spin(n % 7);
        n
    };
    match way % 10 {
        0 => pool.map(0..n, slow).into_iter().sum(),
        1 => pool.map_reduce(0..n, slow, || 0, |a, b| a + b),
        2 => pool.install(|| (0..n).into_par_iter().map(slow).sum()),
        3 => (0..n)
            .map(|n| pool.spawn(move || slow(n)))
            .map(|task| task.join().unwrap())
            .sum(),
        4 => pool.map_task(0..n, slow).join().unwrap().into_iter().sum(),
        5 => pool.imap(0..n, slow).sum(),
        6 => pool.imap_unordered(0..n, slow).sum(),
        7 => {
            let future = |n| {
                pool.spawn_async(async move {
                    trefoil::yield_now().await;
                    slow(n)
                })
            };
            let all: Vec<Task<u64>> = (0..n).map(future).collect();
            try_join_all(all).join().unwrap().into_iter().sum()
        }
        8 => pool.scope(|s| {
            let all: Vec<_> = (0..n).map(|n| s.spawn(move || slow(n))).collect();
            all.into_iter().map(|task| task.join().unwrap()).sum()
        }),
        _ => {
            let (left, right) = pool.join(
                || sum(pool, way / 10, n / 2),
                || (n / 2..n).map(slow).sum::<u64>(),
            );
            left + right
        }
    }
}

#[test]
fn nothing_is_lost_whatever_is_mixed() {
    let rounds = if std::env::var_os("TREFOIL_FULL").is_some() {
        400
    } else {
        12
    };
    for (threads, helps) in [(1, true), (2, false), (4, true)] {
        within_deadline(move || {
            let pool = ThreadPool::builder().threads(threads).caller_helps(helps);
            let pool = pool.build().unwrap();
            thread::scope(|outside| {
                for seed in 1..=4_u64 {
                    let pool = &pool;
                    outside.spawn(move || {
                        let mut random = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15);
                        for _ in 0..rounds {
                            random ^= random << 13;
                            random ^= random >> 7;
                            random ^= random << 17;
                            let priority = [Priority::Low, Priority::Normal, Priority::High];
                            let handle = pool.handle_with(priority[random as usize % 3]);
                            let (way, n) = ((random >> 8) as usize % 100, random >> 16 & 63);
                            let expected = n * n.saturating_sub(1) / 2;
                            assert_eq!(sum(&handle, way, n), expected, "{way} {n}");
                            let inner = pool.clone();
                            let nested = handle.spawn(move || sum(&inner, way, n));
                            assert_eq!(nested.join().unwrap(), expected, "{way} {n}");
                        }
                    });
                }
            });
        });
    }
}
