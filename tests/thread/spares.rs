//! How many spares replace workers that wait, and waits where the system gives no thread.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Barrier, Mutex};
use std::time::{Duration, Instant};

#[cfg(target_os = "linux")]
use crate::deadline::{alone, asleep, this_thread};
use crate::deadline::{eventually, sample, threads_named, within_deadline};
use trefoil::{Completer, Task, ThreadPool};

fn named(name: &str, threads: usize) -> ThreadPool {
    let builder = ThreadPool::builder().name(name).threads(threads);
    builder.build().unwrap()
}

/// An upper limit, exceeded only if the machine itself stops for a moment.
const FEW: usize = 64;

/// Takes a while, so that many tasks soon wait for it.
fn compute<T>(value: T) -> T {
    let begin = Instant::now();
    while begin.elapsed() < Duration::from_micros(500) {
        std::hint::spin_loop();
    }
    value
}

/// Spares are kept for seconds, so all that have been are there in the end.
#[test]
fn tasks_that_wait_for_one_thread_need_few() {
    within_deadline(|| {
        let (many, one) = (named("many-in", 2), named("one-in", 1));
        let tasks: Vec<Task<usize>> = (0..400)
            .map(|i| {
                let one = one.clone();
                many.spawn(move || one.install(|| compute(i)))
            })
            .collect();
        for (i, task) in tasks.into_iter().enumerate() {
            assert_eq!(task.join().unwrap(), i);
        }
        let (many, one) = (threads_named("many-in-"), threads_named("one-in-"));
        assert!(many <= FEW && one <= 2, "{many} and {one} threads");
    });
}

/// The same by halves of joins, which thieves would take.
#[test]
fn items_that_wait_for_one_thread_need_few() {
    within_deadline(|| {
        let (many, one) = (named("items-in", 2), named("item-in", 1));
        let all = many.install(|| many.map(0..400_usize, |i| one.install(|| compute(i))));
        assert_eq!(all, (0..400).collect::<Vec<_>>());
        let many = threads_named("items-in-");
        assert!(many <= FEW, "{many} threads");
    });
}

/// Each chain needs a thread for each of its steps, and may not be delayed by work that was queued
/// before it.
fn chains_of_waits_through_two_pools(chains: usize, few: usize) {
    fn step(here: &ThreadPool, there: &ThreadPool, left: u32) -> u32 {
        match left {
            0 => 0,
            _ => here.install(|| step(there, here, left - 1)) + 1,
        }
    }
    let (a, b) = (named("chain-a", 2), named("chain-b", 1));
    let chains: Vec<Task<u32>> = (0..chains)
        .map(|_| {
            let (a2, b2) = (a.clone(), b.clone());
            a.spawn(move || step(&b2, &a2, 6))
        })
        .collect();
    for chain in chains {
        assert_eq!(chain.join().unwrap(), 6);
    }
    let threads = threads_named("chain-");
    assert!(threads < few, "{threads} threads");
}

#[test]
fn chains_of_waits_through_two_pools_end_behind_a_long_queue() {
    within_deadline(|| chains_of_waits_through_two_pools(sample(4000), 400));
}

/// Other processes take the one processor, so the runners often stand still for longer than a
/// stall. They need time, not company.
#[cfg(target_os = "linux")]
#[test]
fn chains_of_waits_need_no_more_threads_where_other_processes_take_the_processor() {
    use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
    use std::process::{Command, Stdio};

    alone(
        "spares::chains_of_waits_need_no_more_threads_where_other_processes_take_the_processor",
        "",
        || {
            let all = sched_getaffinity(None).unwrap();
            let mut one = CpuSet::new();
            one.set((0..).find(|i| all.is_set(*i)).unwrap());
            sched_setaffinity(None, &one).unwrap();
            // Children inherit it; they end after this process.
            let busy = |_| {
                let mut shell = Command::new("sh");
                shell.args(["-c", "while kill -0 $PPID; do :; done"]);
                shell.stdout(Stdio::null()).stderr(Stdio::null());
                shell.spawn().unwrap()
            };
            let _busy: Vec<_> = (0..8).map(busy).collect();
            chains_of_waits_through_two_pools(120, 200);
        },
    );
}

/// The waiter may not run the task that it waits for, and that task is the last in the queue.
#[test]
fn what_the_waiters_wait_for_is_begun_though_it_is_queued_last() {
    within_deadline(|| {
        let apart = |name| {
            ThreadPool::builder()
                .name(name)
                .threads(2)
                .caller_helps(false)
        };
        let (a, b) = (
            apart("last-a").build().unwrap(),
            apart("last-b").build().unwrap(),
        );
        let tasks: Vec<Task<u32>> = (0..sample(2000))
            .map(|_| {
                let (a2, b) = (a.clone(), b.clone());
                a.spawn(move || b.install(|| a2.spawn(|| 7).join().unwrap()))
            })
            .collect();
        for task in tasks {
            assert_eq!(task.join().unwrap(), 7);
        }
    });
}

/// The calls wait for one another in a way that the pool cannot see, so each of them needs a
/// thread.
#[test]
fn calls_that_block_for_long_all_find_a_thread() {
    within_deadline(|| {
        const CALLS: usize = 300;
        let pool = named("blocking-in", 2);
        let all = Arc::new(Barrier::new(CALLS));
        let calls: Vec<Task<()>> = (0..CALLS)
            .map(|_| {
                let (inner, all) = (pool.clone(), Arc::clone(&all));
                pool.spawn(move || inner.blocking(|| _ = all.wait()))
            })
            .collect();
        // Not run by this thread.
        eventually("all meet", || calls.iter().all(Task::is_finished));
    });
}

/// Each promise is completed by a task that is queued behind a hundred tasks that wait for other
/// promises.
#[test]
fn promises_that_tasks_at_the_end_of_the_queue_keep() {
    within_deadline(|| {
        let pool = named("promises-in", 1);
        let (completers, promises): (Vec<_>, Vec<_>) =
            (0..100).map(|_| Completer::<u32>::new()).unzip();
        let wait = |promise: Task<u32>| pool.spawn(move || promise.join().unwrap());
        let waiters: Vec<Task<u32>> = promises.into_iter().map(wait).collect();
        for (i, completer) in (0..).zip(completers) {
            pool.spawn(move || completer.complete(Ok(i))).detach();
        }
        eventually("all are kept", || waiters.iter().all(Task::is_finished));
        for (i, waiter) in (0..).zip(waiters) {
            assert_eq!(waiter.join().unwrap(), i);
        }
    });
}

/// A lock is held across waits, in more tasks than are replaced by spares.
#[test]
fn a_lock_across_waits_in_more_tasks_than_are_replaced() {
    within_deadline(|| {
        let (a, b) = (named("lock-a", 2), named("lock-b", 1));
        let lock = Arc::new(Mutex::new(0_u64));
        let tasks: Vec<Task<()>> = (0..500)
            .map(|_| {
                let (lock, a2, b) = (Arc::clone(&lock), a.clone(), b.clone());
                a.spawn(move || {
                    b.install(|| ());
                    let mut total = lock.lock().unwrap();
                    *total += b.install(|| a2.map_reduce(0..10_u64, |n| n, || 0, |x, y| x + y));
                })
            })
            .collect();
        tasks.into_iter().for_each(|task| task.join().unwrap());
        assert_eq!(*lock.lock().unwrap(), 500 * 45);
    });
}

/// The system refuses further threads.
#[cfg(target_os = "linux")]
#[test]
fn two_thousand_tasks_wait_where_the_system_gives_no_thread() {
    alone(
        "spares::two_thousand_tasks_wait_where_the_system_gives_no_thread",
        // Small allocations succeed where there is no room for another stack: there is one heap,
        // which grows by large steps and does not shrink.
        "export MALLOC_ARENA_MAX=1 MALLOC_TOP_PAD_=33554432 MALLOC_TRIM_THRESHOLD_=1073741824",
        || {
            use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
            let (many, one) = (named("refused", 2), named("refuser", 1));
            // Makes sure that their threads have allocated all that they need.
            many.broadcast(|_| ());
            one.broadcast(|_| ());
            let pages = std::fs::read_to_string("/proc/self/statm").unwrap();
            let pages: u64 = pages.split_whitespace().next().unwrap().parse().unwrap();
            // No room for a stack of eight mebibytes.
            let current = Some(pages * rustix::param::page_size() as u64 + (4 << 20));
            let maximum = getrlimit(Resource::As).maximum;
            setrlimit(Resource::As, Rlimit { current, maximum }).unwrap();
            let ended = Arc::new(AtomicUsize::new(0));
            let count = |_| {
                let (one, ended) = (one.clone(), Arc::clone(&ended));
                many.spawn(move || {
                    one.install(|| ());
                    ended.fetch_add(1, Ordering::Relaxed);
                })
            };
            (0..2000).map(count).for_each(Task::detach);
            eventually("all end", || ended.load(Ordering::Relaxed) == 2000);
            assert_eq!(threads_named("refused-"), 2);
        },
    );
}

/// More tasks wait for one another than are replaced at once, in two pools, and none can end before
/// all have begun. Each time that nothing moves, twice as many threads are added as before, so it
/// takes a tenth of a second, where one thread at a time would take a minute.
#[test]
fn waits_that_need_one_another_all_begin_soon() {
    within_deadline(|| {
        let (a, b) = (named("together-a", 2), named("together-b", 2));
        let all = Arc::new(Barrier::new(200));
        let begin = Instant::now();
        let tasks: Vec<Task<()>> = (0..200)
            .map(|_| {
                let (b, all) = (b.clone(), all.clone());
                a.spawn(move || b.install(|| b.blocking(|| all.wait())).is_leader())
                    .map(|_| ())
            })
            .collect();
        for task in tasks {
            task.join().unwrap();
        }
        let took = begin.elapsed();
        assert!(took < Duration::from_secs(15), "{took:?}");
    });
}

/// No thread that parked before is woken when the system gives threads again: those that wait ask.
#[cfg(target_os = "linux")]
#[test]
fn a_chain_through_two_pools_outlives_a_time_without_threads() {
    alone(
        "spares::a_chain_through_two_pools_outlives_a_time_without_threads",
        "",
        || {
            use rustix::process::{Resource, Rlimit, setrlimit};
            use std::sync::mpsc;

            fn room(current: Option<u64>) {
                let limit = Rlimit {
                    current,
                    maximum: None,
                };
                setrlimit(Resource::As, limit).unwrap();
            }

            // A pool with stacks of its own size runs nothing on other threads.
            let pool = || ThreadPool::builder().threads(1).stack_size(64 << 20);
            let [first, second] = [pool(), pool()].map(|pool| pool.build().unwrap());
            let (tell, told) = mpsc::channel();
            let back = first.clone();
            let mut chain = first.spawn(move || {
                let waits = this_thread();
                second.install(|| {
                    eventually("the first pool's thread waits", || asleep(waits));
                    // There is no room for another stack.
                    let used = std::fs::read_to_string("/proc/self/statm").unwrap();
                    let pages: u64 = used.split(' ').next().unwrap().parse().unwrap();
                    room(Some(pages * rustix::param::page_size() as u64 + (1 << 20)));
                    tell.send(this_thread()).unwrap();
                    back.install(|| 7)
                })
            });
            let waits = told.recv().unwrap();
            eventually("the second pool's thread waits", || asleep(waits));
            room(None);
            assert_eq!(chain.join_timeout(Duration::from_secs(30)).unwrap(), 7);
        },
    );
}
