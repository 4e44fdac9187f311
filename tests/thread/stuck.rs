//! Waits from outside a pool for what is queued in it, while its workers are stuck in a lock that
//! the waiting thread holds; and what must not get more threads although some thread waits.
//!
//! Run in turn, each task at its wait, none of these programs deadlocks.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Barrier, Mutex, mpsc};
use std::time::{Duration, Instant};

use crate::deadline::{
    alone, asleep, eventually, sample, this_thread, threads_named, within_deadline,
};
use trefoil::{Completer, Task, TaskGroup, ThreadPool, Until, race, try_join_all, wait};

/// A way to wait for something that the pool has to run.
type Wait = fn(&ThreadPool);

const WAITS: [(&str, Wait); 16] = [
    ("join", |pool| pool.spawn(|| ()).join().unwrap()),
    ("join of a future", |pool| {
        pool.spawn_async(async {}).join().unwrap();
    }),
    ("join of a map", |pool| {
        pool.map_task([1, 2], |_| ()).join().unwrap();
    }),
    ("join of a mapped task", |pool| {
        let mapped = pool.spawn_async(async {}).map(|done| done);
        mapped.join().unwrap();
    }),
    ("join_timeout", |pool| {
        pool.spawn(|| ()).join_timeout(Duration::MAX).unwrap();
    }),
    ("shared", |pool| pool.spawn(|| ()).shared().join().unwrap()),
    ("race", |pool| race([pool.spawn(|| ())]).join().unwrap()),
    ("try_join_all", |pool| {
        try_join_all([pool.spawn(|| ())]).join().unwrap();
    }),
    ("wait", |pool| {
        let (done, pending) = wait([pool.spawn(|| ())], Until::All, None).join();
        assert_eq!((done.len(), pending.len()), (1, 0));
    }),
    ("a group", |pool| {
        let mut group = TaskGroup::new();
        group.add(pool.spawn(|| ()));
        group.try_join_all().join().unwrap();
    }),
    ("a promise", |pool| {
        let (completer, promise) = Completer::new();
        pool.spawn(move || completer.complete(Ok(()))).detach();
        promise.join().unwrap();
    }),
    ("install", |pool| pool.install(|| ())),
    ("pool.join", |pool| _ = pool.join(|| (), || ())),
    ("map", |pool| _ = pool.map([1, 2, 3], |_| ())),
    ("scope", |pool| pool.scope(|s| _ = s.spawn(|| ()))),
    ("imap", |pool| pool.imap(0..3, |_| ()).for_each(drop)),
];

/// Which thread waits.
#[derive(Clone, Copy)]
enum From {
    Outside,
    AnotherPool,
    ThePool,
}

fn pool_of(threads: usize, helps: bool) -> ThreadPool {
    let pool = ThreadPool::builder().threads(threads).caller_helps(helps);
    pool.build().unwrap()
}

/// A thread of the pool begins a task, and goes to sleep in this lock.
fn stuck_in(lock: &Arc<Mutex<()>>, pool: &ThreadPool) -> Task<()> {
    let (tell, told) = mpsc::channel();
    let lock = Arc::clone(lock);
    let task = pool.spawn(move || {
        tell.send(this_thread()).unwrap();
        drop(lock.lock().unwrap());
    });
    let thread = told.recv().unwrap();
    eventually("it is stuck", || asleep(thread));
    task
}

/// Waits under a lock in which a worker is stuck. So many tasks that want the lock, too, are queued
/// before what is waited for, and as many behind it.
fn wait_under_lock(pool: &ThreadPool, wait: Wait, strangers: usize) {
    let lock = Arc::new(Mutex::new(()));
    let held = lock.lock().unwrap();
    let spawn = move |pool: &ThreadPool, lock: &Arc<Mutex<()>>| -> Vec<Task<()>> {
        let lock = || Arc::clone(lock);
        let locks = (0..strangers).map(|_| lock());
        let tasks = locks.map(|lock| pool.spawn(move || drop(lock.lock().unwrap())));
        tasks.collect()
    };
    let mut stuck = vec![stuck_in(&lock, pool)];
    stuck.extend(spawn(pool, &lock));
    let (waiter, theirs) = (this_thread(), (pool.clone(), Arc::clone(&lock)));
    let later = std::thread::spawn(move || {
        eventually("it waits", || asleep(waiter));
        spawn(&theirs.0, &theirs.1)
    });
    wait(pool);
    drop(held);
    stuck.extend(later.join().unwrap());
    for task in stuck {
        task.join().unwrap();
    }
}

/// Calls `f` with pools of one thread whose callers help, and do not, and the thread that is to
/// wait.
fn everywhere(f: fn(&ThreadPool)) {
    for helps in [true, false] {
        for from in [From::Outside, From::AnotherPool, From::ThePool] {
            let pool = pool_of(1, helps);
            match from {
                From::Outside => f(&pool),
                From::AnotherPool => ThreadPool::with_threads(1).install(|| f(&pool)),
                From::ThePool => {
                    pool.resize(2);
                    pool.install(|| f(&pool));
                }
            }
        }
    }
}

#[test]
fn a_wait_under_a_lock_in_which_the_worker_is_stuck() {
    within_deadline(|| {
        everywhere(|pool| {
            for (_name, wait) in WAITS {
                wait_under_lock(pool, wait, 0);
            }
        });
    });
}

/// The pool finds what is waited for among tasks that would get stuck, too.
#[test]
fn a_wait_for_a_task_between_others_that_want_the_lock() {
    within_deadline(|| {
        everywhere(|pool| {
            for (name, wait) in WAITS {
                // Nobody knows which task keeps the promise.
                let strangers = if name == "a promise" { 1 } else { 5 };
                wait_under_lock(pool, wait, strangers);
            }
        });
    });
}

/// Work of a pool that waits, as no pool can see, for more work of the pool.
fn needs_another(pool: &ThreadPool) {
    let (tell, told) = mpsc::channel();
    pool.spawn(move || tell.send(()).unwrap()).detach();
    told.recv().unwrap();
}

/// Ways to wait in which the waiting thread runs some of the work, with so much that it does.
const HELPING: [(&str, Wait); 7] = [
    ("join", |pool| {
        let again = || pool.clone();
        let tasks = [again(), again()].map(|pool| pool.clone().spawn(move || needs_another(&pool)));
        // The last one first: no thread of the pool has begun it.
        for task in tasks.into_iter().rev() {
            task.join().unwrap();
        }
    }),
    ("pool.join", |pool| {
        _ = pool.join(|| needs_another(pool), || needs_another(pool));
    }),
    ("map", |pool| {
        _ = pool.map([1, 2, 3], |_| needs_another(pool));
    }),
    ("for_each", |pool| {
        pool.for_each(0..3, |_| needs_another(pool));
    }),
    ("scope", |pool| {
        pool.scope(|s| (0..3).for_each(|_| _ = s.spawn(|| needs_another(pool))));
    }),
    ("join in a scope", |pool| {
        pool.scope(|s| {
            let tasks = [0, 1].map(|_| s.spawn(|| needs_another(pool)));
            tasks
                .into_iter()
                .rev()
                .for_each(|task| task.join().unwrap());
        });
    }),
    ("imap", |pool| {
        let again = pool.clone();
        pool.imap(0..3, move |_| needs_another(&again))
            .for_each(drop);
    }),
];

/// In a process where no other thread waits.
#[test]
fn a_waiter_that_gets_stuck_in_what_it_runs() {
    alone(
        "stuck::a_waiter_that_gets_stuck_in_what_it_runs",
        "",
        || {
            let other = ThreadPool::with_threads(1);
            for helps in [true, false] {
                for (_name, wait) in HELPING {
                    wait(&pool_of(1, helps));
                    // Also on a worker of another pool, for which nobody waits.
                    let (tell, told) = mpsc::channel();
                    let there = move || {
                        wait(&pool_of(1, helps));
                        tell.send(()).unwrap();
                    };
                    other.spawn(there).detach();
                    told.recv().unwrap();
                }
            }
        },
    );
}

/// If each came after twice the time of the one before, it would take minutes.
#[test]
fn many_stuck_tasks_are_begun_in_linear_time() {
    within_deadline(|| {
        let pool = pool_of(1, false);
        let task = |_| {
            let again = pool.clone();
            pool.spawn(move || needs_another(&again))
        };
        let tasks: Vec<_> = (0..24).map(task).collect();
        assert_eq!(wait_for_all(tasks), (24, 0));
    });
}

/// A call of `blocking` outside of a pool is no wait, for which a pool would get company. In a
/// process where no other thread waits.
#[test]
fn blocking_off_a_worker_is_just_a_call() {
    alone("stuck::blocking_off_a_worker_is_just_a_call", "", || {
        let pool = pool_of(1, true);
        let (open, gate) = mpsc::channel::<()>();
        let (begin, begun) = mpsc::channel();
        let stuck = pool.spawn(move || {
            begin.send(()).unwrap();
            gate.recv().unwrap();
        });
        begun.recv().unwrap();
        let (tell, told) = mpsc::channel();
        pool.spawn(move || tell.send(()).unwrap()).detach();
        let got = pool.blocking(|| told.recv_timeout(Duration::from_millis(300)));
        assert_eq!(got, Err(mpsc::RecvTimeoutError::Timeout));
        open.send(()).unwrap();
        stuck.join().unwrap();
    });
}

/// One thread is stuck, and the other one computes, in a call that could also wait.
#[test]
fn a_wait_under_a_lock_beside_a_call_that_computes() {
    within_deadline(|| {
        let pool = pool_of(2, true);
        let (begin, begun) = mpsc::channel();
        let ends = Arc::new(AtomicBool::new(false));
        let theirs = Arc::clone(&ends);
        let call = pool.install(move || {
            trefoil::spawn_blocking(move || {
                begin.send(()).unwrap();
                while !theirs.load(Ordering::SeqCst) {
                    std::hint::spin_loop();
                }
            })
        });
        begun.recv().unwrap();
        wait_under_lock(&pool, |pool| pool.install(|| ()), 0);
        ends.store(true, Ordering::SeqCst);
        call.join().unwrap();
    });
}

/// A thread that waits is no reason to interrupt tasks that compute.
#[test]
fn a_pool_that_computes_gets_no_company() {
    within_deadline(|| {
        let pool = ThreadPool::builder().name("computing").threads(2);
        let pool = pool.build().unwrap();
        let compute = || {
            let begin = Instant::now();
            while begin.elapsed() < Duration::from_millis(300) {
                std::hint::spin_loop();
            }
        };
        let tasks: Vec<_> = (0..6).map(|_| pool.spawn(compute)).collect();
        try_join_all(tasks).join().unwrap();
        assert_eq!(threads_named("computing-"), 2);
    });
}

/// Tasks that wait for something of their own may get company, because they could be stuck; but
/// each additional thread takes twice as long to come, up to 160 ms.
#[test]
fn a_pool_that_sleeps_gets_little_company() {
    within_deadline(|| {
        let pool = ThreadPool::builder().name("sleeping").threads(2);
        let pool = pool.build().unwrap();
        let gate = Arc::new(Barrier::new(3));
        let begun = Arc::new(AtomicUsize::new(0));
        let ends = Arc::new(AtomicBool::new(false));
        let wait = |gate: Option<Arc<Barrier>>| {
            let (begun, ends) = (Arc::clone(&begun), Arc::clone(&ends));
            move || {
                gate.map(|gate| gate.wait());
                begun.fetch_add(1, Ordering::SeqCst);
                while !ends.load(Ordering::SeqCst) {
                    std::thread::sleep(Duration::from_millis(1));
                }
            }
        };
        let first = (0..2).map(|_| pool.spawn(wait(Some(Arc::clone(&gate)))));
        let mut tasks: Vec<_> = first.collect();
        gate.wait();
        tasks.extend((0..100).map(|_| pool.spawn(wait(None))));
        let start = Instant::now();
        let end = Arc::clone(&ends);
        let timer = std::thread::spawn(move || {
            std::thread::sleep(Duration::from_millis(300));
            end.store(true, Ordering::SeqCst);
            start.elapsed()
        });
        let (done, pending) = wait_for_all(tasks);
        let most = timer.join().unwrap().as_millis() as usize;
        // Four more threads come after 10 + 20 + 40 + 80 milliseconds, each other one after 160.
        let few = 2 + 4 + most.saturating_sub(150) / 160;
        assert_eq!((done, pending), (102, 0));
        let all = threads_named("sleeping-");
        assert!(all <= few, "{all} threads, not {few}");
    });
}

fn wait_for_all(tasks: Vec<Task<()>>) -> (usize, usize) {
    let (done, pending) = wait(tasks, Until::All, None).join();
    (done.len(), pending.len())
}

fn mix(seed: u64, i: u64) -> u64 {
    let x = (seed ^ i.wrapping_mul(0xD6E8_FEB8_6659_FD93)).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    let x = (x ^ (x >> 29)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    x ^ (x >> 32)
}

/// Some pools, and locks that are taken in this order only, each under those before it.
struct World {
    pools: Vec<ThreadPool>,
    locks: Vec<Mutex<u64>>,
}

const FORMS: u64 = 11;

/// How many children a node has.
fn children(seed: u64) -> u64 {
    1 + u64::from(seed % FORMS >= 7)
}

fn answer(seed: u64, depth: u32) -> u64 {
    if depth == 0 {
        return seed & 0xFF;
    }
    let children = (0..children(seed)).map(|i| answer(mix(seed, i), depth - 1));
    children.fold(seed & 0xFF, u64::wrapping_add)
}

/// The same, by tasks of the pools that are waited for in every way, often under a lock. Locks from
/// `free` on are not held by this node's ancestors.
fn grow(world: &Arc<World>, seed: u64, depth: u32, free: usize) -> u64 {
    let at = free + (mix(seed, 98) % 3) as usize;
    let held = (!mix(seed, 97).is_multiple_of(4))
        .then(|| world.locks.get(at))
        .flatten();
    let mut held = held.map(|lock| lock.lock().unwrap());
    held.iter_mut().for_each(|count| **count += 1);
    let free = if held.is_some() { at + 1 } else { free };
    if depth == 0 {
        return answer(seed, 0);
    }
    let pool = &world.pools[(mix(seed, 99) % world.pools.len() as u64) as usize];
    let child = |i: u64| {
        let world = Arc::clone(world);
        move || grow(&world, mix(seed, i), depth - 1, free)
    };
    let sum = match seed % FORMS {
        0 => pool.install(child(0)),
        1 => pool.spawn(child(0)).join().unwrap(),
        2 => {
            let child = child(0);
            pool.spawn_async(async move { child() }).join().unwrap()
        }
        3 => pool.spawn(child(0)).shared().join().unwrap(),
        4 => race([pool.spawn(child(0))]).join().unwrap(),
        5 => pool.spawn(child(0)).join_timeout(Duration::MAX).unwrap(),
        6 => {
            let (completer, promise) = Completer::new();
            let child = child(0);
            pool.spawn(move || completer.complete(Ok(child()))).detach();
            promise.join().unwrap()
        }
        7 => try_join_all([pool.spawn(child(0)), pool.spawn(child(1))])
            .join()
            .unwrap()
            .iter()
            .sum(),
        8 => pool.map(0..2_u64, |i| child(i)()).iter().sum(),
        9 => {
            let (a, b) = pool.join(child(0), child(1));
            a.wrapping_add(b)
        }
        _ => pool.scope(|s| {
            let tasks = [s.spawn(child(0)), s.spawn(child(1))];
            tasks.map(|task| task.join().unwrap()).iter().sum()
        }),
    };
    (seed & 0xFF).wrapping_add(sum)
}

#[test]
fn random_graphs_over_several_pools_with_locks() {
    within_deadline(|| {
        for round in 0..sample(60) as u64 {
            let seed = mix(round, 1);
            let pools =
                (0..3).map(|i| pool_of(1 + (seed >> i) as usize % 2, seed >> (8 + i) & 1 == 0));
            let world = Arc::new(World {
                pools: pools.collect(),
                locks: (0..8).map(Mutex::new).collect(),
            });
            std::thread::scope(|threads| {
                for thread in 0..4 {
                    let (world, seed) = (&world, mix(seed, thread));
                    threads.spawn(move || assert_eq!(grow(world, seed, 4, 0), answer(seed, 4)));
                }
            });
        }
    });
}
