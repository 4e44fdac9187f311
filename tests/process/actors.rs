//! Actors: values that stay in their workers from call to call.
#![allow(clippy::disallowed_methods, clippy::disallowed_types)] // a program, not the crate

use crate::deadline::sample;
use crate::support::{Test, census, forever, kill, nothing_left_since, tests, until};

use std::collections::HashSet;
use std::process::abort;
use std::rc::Rc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use trefoil::{Actor, PoolError, ProcessPool, Shutdown, TaskError, join_all};

/// What no serializer takes, and no other thread may have.
struct Kept(Rc<Vec<u32>>);

fn keep(first: u32) -> Kept {
    Kept(Rc::new(vec![first]))
}

fn add(n: u32, kept: &mut Kept) -> Vec<u32> {
    Rc::get_mut(&mut kept.0).unwrap().push(n);
    kept.0.to_vec()
}

fn all(actor: &Actor<Kept>) -> Vec<u32> {
    actor.call((), |(), kept| kept.0.to_vec()).join().unwrap()
}

static INITIALIZED: AtomicU32 = AtomicU32::new(0);

tests! {
    fn a_value_stays_and_calls_come_in_order() {
        let procs = ProcessPool::with_workers(1).unwrap();
        let actor = procs.actor(0, keep).unwrap();
        let calls: Vec<_> = (1..=100).map(|n| actor.call(n, add)).collect();
        for (before, call) in calls.into_iter().enumerate() {
            let expected: Vec<u32> = (0..=before as u32 + 1).collect();
            assert_eq!(call.join().unwrap(), expected);
        }
        let pid = actor.call((), |(), _| std::process::id()).join().unwrap();
        assert_eq!(actor.worker_pids(), [pid]);
        assert!(!procs.worker_pids().contains(&pid));
        procs.kill(); // an actor does not live by its pool
        assert_eq!(all(&actor).len(), 101);
    }

    fn a_death_costs_one_call_and_loads_again() {
        let actor = ProcessPool::with_workers(1).unwrap().actor(7, keep).unwrap();
        assert_eq!(actor.call(8, add).join().unwrap(), [7, 8]);
        let calls = [
            actor.call((), |(), kept: &mut Kept| -> usize { drop(Rc::clone(&kept.0)); abort() }),
            actor.call((), |(), kept: &mut Kept| kept.0.len()),
        ];
        let [dead, next] = calls.map(trefoil::Task::join);
        assert!(matches!(dead, Err(TaskError::WorkerDied(_))), "{dead:?}");
        assert_eq!(next.unwrap(), 1, "what the first had changed is lost");
        // A death between two calls costs none.
        let [pid] = actor.worker_pids()[..] else { panic!() };
        kill(pid);
        until(|| actor.worker_pids().iter().any(|now| *now != pid));
        assert_eq!(all(&actor), [7]);
        assert_eq!(actor.stats().died, 2);
    }

    fn a_panic_leaves_the_value_as_it_is() {
        let actor = ProcessPool::with_workers(1).unwrap().actor(1, keep).unwrap();
        let half = actor.call(2, |n, kept: &mut Kept| { add(n, kept); if n == 2 { panic!("half") } });
        assert!(matches!(half.join(), Err(TaskError::Panicked(_))));
        assert_eq!(all(&actor), [1, 2]);
    }

    fn what_cannot_be_loaded_ends_every_call() {
        let procs = ProcessPool::with_workers(1).unwrap();
        let actor = procs.actor(1, |_: u32| -> Kept { panic!("no such model") }).unwrap();
        for _ in 0..2 {
            let Err(TaskError::Panicked(panic)) = actor.call(1, add).join() else { panic!() };
            assert_eq!(panic.message(), "no such model");
        }
    }

    fn a_late_call_costs_the_value() {
        let actor = ProcessPool::with_workers(1).unwrap().actor(1, keep).unwrap();
        actor.call(2, add).join().unwrap();
        let late = actor.timeout(Duration::from_millis(20)).call((), |(), _| forever::<()>());
        assert!(matches!(late.join(), Err(TaskError::TimedOut(_))));
        assert_eq!(all(&actor), [1]);
        assert!(actor.call((), |(), _| forever::<()>()).cancel());
        assert_eq!(all(&actor), [1]);
    }

    fn copies_share_the_calls_and_each_has_its_value() {
        let procs = ProcessPool::with_workers(1).unwrap();
        let actor = procs.actors(3, 5, keep).unwrap();
        let pids = || {
            let calls = (0..30).map(|_| actor.call((), |(), _| {
                std::thread::sleep(Duration::from_millis(1));
                std::process::id()
            }));
            let pids = join_all(calls).join();
            pids.into_iter().collect::<Result<HashSet<_>, _>>().unwrap()
        };
        until(|| pids().len() == 3);
        let clone = actor.clone();
        drop(actor);
        let lengths = join_all((0..60).map(|n| clone.call(n, add))).join();
        let most = lengths.into_iter().map(|all| all.unwrap().len()).max().unwrap();
        assert!((1 + 20..=1 + 60).contains(&most), "{most}");
    }

    fn it_has_the_settings_of_the_pool() {
        let builder = ProcessPool::builder().workers(1).env("FLAVOUR", "salt");
        let procs = builder.initializer(3, |n| INITIALIZED.store(n, Ordering::Relaxed)).build().unwrap();
        // The initializer comes first.
        let load = |n: u32| INITIALIZED.load(Ordering::Relaxed) * 10 + n;
        let actor = procs.actor(4, load).unwrap();
        let seen = |(), state: &mut u32| (*state, std::env::var("FLAVOUR").unwrap());
        assert_eq!(actor.call((), seen).join().unwrap(), (34, "salt".to_owned()));
        procs.shutdown(Shutdown::Wait);
        assert!(matches!(procs.actor(4, load), Err(PoolError::Start(_))));
    }

    fn callbacks_of_the_pool_may_make_them() {
        let procs = ProcessPool::with_workers(1).unwrap();
        let (sender, receiver) = std::sync::mpsc::channel();
        let theirs = procs.clone();
        let task = procs.spawn((), |()| ());
        task.on_done(move |_| sender.send(theirs.actor(1, keep).map(drop)).unwrap());
        receiver.recv_timeout(Duration::from_secs(30)).unwrap().unwrap();
    }

    fn nothing_but_a_death_costs_the_value() {
        let builder = ProcessPool::builder().workers(1).max_tasks_per_worker(1);
        let procs = builder.env_for(|index| [("PLACE", ["only one"][index])]).build().unwrap();
        let actor = procs.actor(0, keep).unwrap();
        for n in 1..10 {
            assert_eq!(actor.call(n, add).join().unwrap().len(), 1 + n as usize);
        }
        assert!(procs.actors(3, 0, keep).is_ok(), "their indices are others");
        assert!(matches!(procs.actors(1 << 40, 0, keep), Err(PoolError::Start(_))));
    }

    fn nothing_is_loaded_after_an_initializer_that_failed() {
        let builder = ProcessPool::builder().initializer((), |()| panic!("no device"));
        let actor = builder.build_actor(1, |_: u32| -> Kept { std::process::exit(3) }).unwrap();
        let Err(TaskError::Panicked(panic)) = actor.call(1, add).join() else { panic!() };
        assert_eq!(panic.message(), "no device");
        assert_eq!(actor.stats().died, 0);
    }

    #[cfg(target_os = "linux")]
    fn what_is_loaded_must_fit_into_the_limit() {
        static BALLAST: std::sync::OnceLock<Vec<u8>> = std::sync::OnceLock::new();
        let builder = ProcessPool::builder().memory_limit(60 << 20);
        let builder = builder.initializer(40usize << 20, |bytes| BALLAST.set(vec![1; bytes]).unwrap());
        let actor = builder.build_actor(40usize << 20, |bytes| vec![1u8; bytes]).unwrap();
        let Err(TaskError::WorkerDied(exit)) = actor.call((), |(), all: &mut Vec<u8>| all.len()).join()
        else {
            panic!()
        };
        assert!(exit.out_of_memory() && exit.to_string().contains("memory_limit"), "{exit}");
    }

    fn after_too_many_deaths_it_gives_up() {
        let builder = ProcessPool::builder().max_restarts(2, Duration::from_secs(3600));
        let actor = builder.build_actor(1, keep).unwrap();
        let crash = || actor.call((), |(), _| -> () { abort() }).join();
        for _ in 0..2 {
            assert!(crash().is_err());
            assert_eq!(all(&actor), [1]);
        }
        assert!(crash().is_err());
        let Err(error) = actor.call(2, add).join() else { panic!("it goes on") };
        assert!(error.to_string().contains("max_restarts"), "{error}");
        // Deaths that are long past do not count.
        let builder = ProcessPool::builder().max_restarts(1, Duration::ZERO);
        let actor = builder.build_actor(1, keep).unwrap();
        for _ in 0..5 {
            assert!(actor.call((), |(), _| -> () { abort() }).join().is_err());
            assert_eq!(all(&actor), [1]);
        }
    }

    fn kills_lose_no_call_that_had_not_begun() {
        let before = census();
        let procs = ProcessPool::with_workers(1).unwrap();
        let actor = procs.actors(2, 0, keep).unwrap();
        let calls: Vec<_> = (0..sample(400)).map(|_| {
            actor.call((), |(), kept: &mut Kept| {
                std::thread::sleep(Duration::from_micros(200));
                kept.0.len()
            })
        }).collect();
        let kills = sample(20);
        for n in 0..kills {
            let pids = actor.worker_pids();
            if let Some(pid) = pids.get(n % 2).or(pids.first()) {
                kill(*pid);
            }
            std::thread::sleep(Duration::from_millis(2)); // any moment will do
        }
        let results = join_all(calls).join();
        let lost = results.iter().filter(|result| result.is_err()).count();
        assert!(lost <= kills, "{lost} of {}", results.len());
        assert!(results.iter().flatten().all(|length| *length == 1));
        drop((procs, actor));
        nothing_left_since(before);
    }
}
