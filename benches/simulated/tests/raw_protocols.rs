//! Protocols so small that their counts are known.
//!
//! Each runs on a machine of its own, with costs of round numbers.
#![cfg_attr(
    not(all(target_os = "linux", target_arch = "x86_64")),
    allow(unused_imports, dead_code)
)]
#![allow(unsafe_code)] // it asks for the clocks of threads
#![allow(clippy::disallowed_types, clippy::disallowed_methods)] // they stand where a user's stand

#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
fn main() {
    if let Ok(seed) = std::env::var(cases::SEED) {
        return cases::with_seed(&seed);
    }
    let only = std::env::args()
        .nth(1)
        .filter(|name| !name.starts_with('-'));
    for (name, test) in cases::ALL {
        if only
            .as_ref()
            .is_none_or(|only| name.contains(only.as_str()))
        {
            test();
            println!("{name} ... ok");
        }
    }
}

#[cfg(not(all(target_os = "linux", target_arch = "x86_64")))]
fn main() {
    println!("skipped: the machine is written for Linux on x86-64");
}

#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
mod cases {
    use std::process::Command;
    use std::sync::Arc;
    use std::thread;
    use std::time::{Duration, Instant};

    use simulated::atomic::{AtomicBool, AtomicU64, Ordering};
    use simulated::sync::{Condvar, Mutex, RwLock};
    use simulated::{Costs, Counts, Heap, Setup, counts, now, run, work};

    #[global_allocator]
    static HEAP: Heap = Heap;

    macro_rules! all {
        ($($name:ident)*) => {
            pub(crate) const ALL: &[(&str, fn())] = &[$((stringify!($name), $name),)*];
        };
    }
    all! {
        a_counter_of_ones_own_never_moves
        a_counter_that_two_change_moves_each_time
        neighbours_in_a_line_disturb_each_other
        readers_share_a_line
        a_store_is_waited_for_by_a_fence
        halves_of_a_core_share_its_cache
        a_hammered_counter_is_bound_by_one_line
        locks_exclude
        a_lock_that_is_held_long_is_slept_for
        parked_threads_are_woken_at_a_price
        a_condition_variable_times_out
        many_read_and_one_writes
        clocks_are_virtual
        processor_time_is_what_was_computed
        threads_share_too_few_processors
        sixty_four_processors
        scoped_threads_return_values
        the_same_seed_is_the_same_run
        a_deadlock_is_reported
        nothing_is_simulated_outside
    }

    const COSTS: Costs = Costs {
        hit: 1.0,
        rmw: 10.0,
        fence: 5.0,
        transfer: 100.0,
        hop: 20.0,
        sharer: 10.0,
        pause: 40.0,
        turn: 300.0,
        syscall: 500.0,
        bucket: 100.0,
        wake: 2_000.0,
        soon: 5_000.0,
        late: 50_000.0,
        awake: 100_000.0,
        allocation: 0.0,
        clock: 20.0,
        thread: 20_000.0,
        slice: 1_000_000.0,
        shared: 2.0,
    };

    fn on<R: Send>(processors: usize, main: impl FnOnce() -> R + Send) -> R {
        let setup = Setup {
            processors,
            seed: 7,
            costs: COSTS,
        };
        run(setup, main)
    }

    /// A word on a line of its own.
    #[repr(align(64))]
    #[derive(Default)]
    struct Alone(AtomicU64);

    /// What the caller does and how long it takes.
    fn measured(f: impl FnOnce()) -> (Counts, f64) {
        let before = (counts(false), now());
        f();
        (counts(false) - before.0, now() - before.1)
    }

    /// Waits without giving up the processor, which another thread would take.
    fn awaited<T>(thread: thread::JoinHandle<T>) -> T {
        while !thread.is_finished() {
            work(1_000.0);
        }
        thread.join().unwrap()
    }

    fn add(word: &AtomicU64) {
        word.fetch_add(1, Ordering::Relaxed);
    }

    fn a_counter_of_ones_own_never_moves() {
        let word = Alone::default();
        let (counts, took) = on(4, || measured(|| (0..1_000).for_each(|_| add(&word.0))));
        assert_eq!((counts.rmws, counts.misses(), took), (1_000, 0, 10_000.0));
    }

    /// Two threads take turns at a word, and say so by the word itself.
    fn a_counter_that_two_change_moves_each_time() {
        const ROUNDS: u64 = 100;
        let word = Arc::new(Alone::default());
        let all = on(4, || {
            let theirs = Arc::clone(&word);
            let take_turns = |word: &AtomicU64, mine: u64| {
                for round in 0..ROUNDS {
                    while word.load(Ordering::Relaxed) != 2 * round + mine {
                        work(1_000.0);
                    }
                    add(word);
                }
            };
            let other = thread::spawn(move || take_turns(&theirs.0, 1));
            let before = counts(false);
            take_turns(&word.0, 0);
            let mine = counts(false) - before;
            other.join().unwrap();
            mine
        });
        assert_eq!(word.0.load(Ordering::Relaxed), 2 * ROUNDS);
        assert_eq!(all.rmws, ROUNDS);
        // Each turn is seen by a load that misses; the word is then shared, and moves to change.
        assert!(
            (ROUNDS - 1..=ROUNDS + 1).contains(&all.read_misses),
            "{all:?}"
        );
        assert!((ROUNDS - 2..=ROUNDS).contains(&all.rmw_misses), "{all:?}");
    }

    fn both(
        processors: usize,
        first: Arc<[Alone; 2]>,
        second: usize,
        rounds: u64,
    ) -> (Counts, f64) {
        #[allow(clippy::needless_range_loop)]
        on(processors, move || {
            let theirs = Arc::clone(&first);
            let go = Arc::new(AtomicBool::new(false));
            let gone = Arc::clone(&go);
            let other = thread::spawn(move || {
                while !gone.load(Ordering::Acquire) {
                    work(500.0);
                }
                (0..rounds).for_each(|_| {
                    add(&theirs[second].0);
                    work(50.0);
                });
            });
            work(100_000.0);
            go.store(true, Ordering::Release);
            let result = measured(|| {
                (0..rounds).for_each(|_| {
                    add(&first[0].0);
                    work(50.0);
                });
            });
            other.join().unwrap();
            result
        })
    }

    fn neighbours_in_a_line_disturb_each_other() {
        let words: Arc<[Alone; 2]> = Arc::default();
        let (together, _) = both(4, Arc::clone(&words), 0, 100);
        let (apart, _) = both(4, words, 1, 100);
        assert!(together.rmw_misses > 80, "{together:?}");
        assert_eq!(apart.rmw_misses, 0);
    }

    fn halves_of_a_core_share_its_cache() {
        let words: Arc<[Alone; 2]> = Arc::default();
        let (counts, took) = both(2, words, 0, 100);
        assert_eq!(counts.rmw_misses, 0);
        // But each is half as fast while the other computes.
        assert!((100.0 * 105.0..100.0 * 115.0).contains(&took), "{took}");
    }

    fn readers_share_a_line() {
        const READERS: usize = 6;
        let word = Arc::new(Alone::default());
        let go = Arc::new(Alone::default());
        let all = on(16, || {
            word.0.store(1, Ordering::Relaxed);
            let readers: Vec<_> = (0..READERS)
                .map(|_| {
                    let (word, go) = (Arc::clone(&word), Arc::clone(&go));
                    thread::spawn(move || {
                        while go.0.load(Ordering::Relaxed) == 0 {
                            work(1_000.0);
                        }
                        let twice = || {
                            word.0.load(Ordering::Relaxed);
                            word.0.load(Ordering::Relaxed);
                        };
                        let (first, took) = measured(twice);
                        // One transfer, and one look into the own cache.
                        assert!((101.0..=101.0 + 6.0 * 20.0).contains(&took), "{took}");
                        first
                    })
                })
                .collect();
            work(1e6); // all have a core by now
            go.0.store(1, Ordering::Relaxed);
            let read: Vec<Counts> = readers.into_iter().map(awaited).collect();
            let (written, _) = measured(|| word.0.store(2, Ordering::Relaxed));
            // All readers but one make it longer.
            let (_, fence) = measured(|| simulated::atomic::fence(Ordering::SeqCst));
            assert_eq!(fence, 99.0 + (READERS - 1) as f64 * 10.0 + 5.0);
            (read, written)
        });
        for read in all.0 {
            assert_eq!((read.reads, read.read_misses), (2, 1));
        }
        assert_eq!((all.1.writes, all.1.write_misses), (1, 1));
    }

    fn a_store_is_waited_for_by_a_fence() {
        let word = Arc::new(Alone::default());
        let (store, fence) = on(4, || {
            let theirs = Arc::clone(&word);
            awaited(thread::spawn(move || add(&theirs.0)));
            let (_, store) = measured(|| word.0.store(1, Ordering::Release));
            let (_, fence) = measured(|| simulated::atomic::fence(Ordering::SeqCst));
            (store, fence)
        });
        assert_eq!(store, 1.0, "it is on its way");
        assert_eq!(fence, 99.0 + 5.0);
    }

    fn a_hammered_counter_is_bound_by_one_line() {
        let word = Arc::new(Alone::default());
        let took = on(16, || {
            let began = now();
            let threads: Vec<_> = (0..8)
                .map(|_| {
                    let word = Arc::clone(&word);
                    thread::spawn(move || (0..1_000).for_each(|_| add(&word.0)))
                })
                .collect();
            threads.into_iter().for_each(|t| t.join().unwrap());
            now() - began
        });
        // No sooner than the line can move, and no later than one transfer for each.
        assert!((8_000.0 * 10.0..8_000.0 * 130.0).contains(&took), "{took}");
    }

    fn locks_exclude() {
        let value = Arc::new(Mutex::new((0_u64, 0_u64)));
        on(8, || {
            let threads: Vec<_> = (0..8)
                .map(|_| {
                    let value = Arc::clone(&value);
                    thread::spawn(move || {
                        for _ in 0..100 {
                            let mut value = value.lock().unwrap();
                            value.0 += 1;
                            work(100.0);
                            value.1 += 1;
                            assert_eq!(value.0, value.1);
                        }
                    })
                })
                .collect();
            threads.into_iter().for_each(|t| t.join().unwrap());
        });
        assert_eq!(*value.lock().unwrap(), (800, 800));
    }

    fn a_lock_that_is_held_long_is_slept_for() {
        let lock = Arc::new(Mutex::new(()));
        let (waits, took) = on(4, || {
            let held = lock.lock().unwrap();
            let theirs = Arc::clone(&lock);
            let other = thread::spawn(move || {
                let (counts, took) = measured(|| drop(theirs.lock()));
                (counts.futex_waits, took)
            });
            work(200_000.0);
            drop(held);
            other.join().unwrap()
        });
        assert_eq!(waits, 1);
        // It slept for long, so its processor was halted.
        assert!((150_000.0..300_000.0).contains(&took), "{took}");
    }

    /// The standard library's own parking.
    fn parked_threads_are_woken_at_a_price() {
        let (caller, latency) = on(4, || {
            let parked = thread::spawn(|| {
                thread::park();
                now()
            });
            work(1_000_000.0);
            let (counts, took) = measured(|| parked.thread().unpark());
            assert_eq!((counts.futex_wakes, counts.woken), (1, 1));
            let at = now();
            (took, parked.join().unwrap() - at)
        });
        assert!((2_500.0..3_000.0).contains(&caller), "{caller}");
        assert!((40_000.0..60_000.0).contains(&latency), "{latency}");
    }

    fn a_condition_variable_times_out() {
        on(2, || {
            let (lock, condvar) = (Mutex::new(()), Condvar::new());
            let began = Instant::now();
            let limit = Duration::from_millis(3);
            let (_guard, result) = condvar.wait_timeout(lock.lock().unwrap(), limit).unwrap();
            assert!(result.timed_out());
            let took = began.elapsed();
            assert!((limit..limit * 2).contains(&took), "{took:?}");
        });
    }

    fn many_read_and_one_writes() {
        let value = Arc::new(RwLock::new((0, 0)));
        on(8, || {
            let writer = Arc::clone(&value);
            let writer = thread::spawn(move || {
                for _ in 0..50 {
                    let mut value = writer.write().unwrap();
                    value.0 += 1;
                    work(500.0);
                    value.1 += 1;
                }
            });
            let readers: Vec<_> = (0..4)
                .map(|_| {
                    let value = Arc::clone(&value);
                    thread::spawn(move || {
                        for _ in 0..50 {
                            let value = value.read().unwrap();
                            work(300.0);
                            assert_eq!(value.0, value.1);
                        }
                    })
                })
                .collect();
            writer.join().unwrap();
            readers.into_iter().for_each(|t| t.join().unwrap());
        });
        assert_eq!(*value.read().unwrap(), (50, 50));
    }

    fn clocks_are_virtual() {
        let real = Instant::now();
        on(2, || {
            let began = Instant::now();
            thread::sleep(Duration::from_secs(3_600));
            work(1e9);
            let took = began.elapsed();
            assert!((3_601..3_602).contains(&took.as_secs()), "{took:?}");
        });
        assert!(real.elapsed() < Duration::from_secs(60));
    }

    fn processor_time_is_what_was_computed() {
        let read = |clock| {
            let mut time = libc::timespec {
                tv_sec: 0,
                tv_nsec: 0,
            };
            // SAFETY: the time is a local variable.
            let error = unsafe { libc::clock_gettime(clock, &raw mut time) };
            assert_eq!(error, 0);
            time.tv_sec * 1_000_000_000 + time.tv_nsec
        };
        on(2, || {
            let mine = || read(libc::CLOCK_THREAD_CPUTIME_ID);
            let began = mine();
            thread::sleep(Duration::from_millis(10));
            thread::spawn(|| work(3e6)).join().unwrap();
            work(1e6);
            assert!((1_000_000..1_200_000).contains(&(mine() - began)));
            assert!(read(libc::CLOCK_PROCESS_CPUTIME_ID) > 4_000_000);
            // As Linux numbers the clocks of threads.
            // SAFETY: it has no precondition.
            let number = unsafe { libc::syscall(libc::SYS_gettid) };
            let before = mine();
            let by_number = read((!(number as i32) << 3) | 6);
            assert!((before..before + 1_000).contains(&by_number));
        });
    }

    fn threads_share_too_few_processors() {
        let took = on(1, || {
            let began = now();
            let threads: Vec<_> = (0..4)
                .map(|_| thread::spawn(|| work_in_steps(10_000)))
                .collect();
            threads.into_iter().for_each(|t| t.join().unwrap());
            now() - began
        });
        assert!((40e6..41e6).contains(&took), "{took}");
    }

    fn work_in_steps(steps: usize) {
        (0..steps).for_each(|_| work(1_000.0));
    }

    fn sixty_four_processors() {
        let took = on(64, || {
            let began = now();
            let threads: Vec<_> = (0..31)
                .map(|_| thread::spawn(|| work_in_steps(10_000)))
                .collect();
            threads.into_iter().for_each(|t| t.join().unwrap());
            now() - began
        });
        // Each has a core of its own.
        assert!((10e6..11e6).contains(&took), "{took}");
    }

    fn scoped_threads_return_values() {
        let sum: u64 = on(4, || {
            let numbers = [1, 2, 3, 4];
            thread::scope(|s| {
                let sums = numbers.each_ref().map(|n| s.spawn(move || n * 2));
                sums.into_iter().map(|t| t.join().unwrap()).sum()
            })
        });
        assert_eq!(sum, 20);
    }

    /// Where memory lies is the process's: each run is one of its own.
    fn the_same_seed_is_the_same_run() {
        let with = |seed: &str| {
            let mut program = Command::new(std::env::current_exe().unwrap());
            let output = program.env(SEED, seed).output().unwrap();
            assert!(output.status.success(), "{output:?}");
            String::from_utf8(output.stdout).unwrap()
        };
        let (first, again, other) = (with("1"), with("1"), with("2"));
        assert_eq!(first, again);
        assert_ne!(first, other);
    }

    pub(crate) const SEED: &str = "SIMULATED_SEED";

    /// Threads that lock, notify and wait: what they did, and when it was over.
    pub(crate) fn with_seed(seed: &str) {
        let setup = Setup {
            processors: 8,
            seed: seed.parse().unwrap(),
            costs: COSTS,
        };
        let told = run(setup, || {
            let pair = Arc::new((Mutex::new(0_u64), Condvar::new()));
            let threads: Vec<_> = (0..6)
                .map(|_| {
                    let pair = Arc::clone(&pair);
                    thread::spawn(move || {
                        for _ in 0..50 {
                            let mut value = pair.0.lock().unwrap();
                            *value += 1;
                            pair.1.notify_one();
                            if value.is_multiple_of(3) {
                                let limit = Duration::from_micros(30);
                                drop(pair.1.wait_timeout(value, limit));
                            }
                        }
                    })
                })
                .collect();
            threads.into_iter().for_each(|t| t.join().unwrap());
            format!("{:?} {}", counts(true), now())
        });
        println!("{told}");
    }

    fn a_deadlock_is_reported() {
        let hook = std::panic::take_hook();
        std::panic::set_hook(Box::new(|_| ()));
        let result = std::panic::catch_unwind(|| {
            let lock = Mutex::new(());
            on(2, || {
                let _held = lock.lock();
                drop(lock.lock());
            });
        });
        std::panic::set_hook(hook);
        let panic = result.unwrap_err();
        let text = panic.downcast_ref::<String>().unwrap();
        assert!(text.starts_with("all threads wait"), "{text}");
    }

    fn nothing_is_simulated_outside() {
        let value = Mutex::new(AtomicU64::new(0));
        thread::scope(|s| {
            s.spawn(|| add(&value.lock().unwrap()));
        });
        assert_eq!(value.lock().unwrap().load(Ordering::Relaxed), 1);
        assert_eq!((now(), counts(true)), (0.0, Counts::default()));
        thread::sleep(Duration::from_millis(1));
    }
}
