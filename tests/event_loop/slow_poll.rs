//! A task that blocks its loop is reported while it does so.

use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::{Duration, Instant};

use trefoil::time::sleep;
use trefoil::{EventLoop, LoopHandle, SlowPoll, spawn, yield_now};

use crate::support::{LONG, alone, count_threads, wait_until, within_deadline};

fn watched(threshold: Duration) -> (EventLoop, Receiver<SlowPoll>) {
    let (tell, told) = mpsc::channel();
    let event_loop = EventLoop::builder()
        .slow_poll(threshold, move |slow| {
            let _ = tell.send(slow.clone());
        })
        .build()
        .unwrap();
    (event_loop, told)
}

#[test]
fn a_stuck_task_is_told_of_while_it_is_stuck() {
    within_deadline(|| {
        let threshold = Duration::from_millis(20);
        let (event_loop, told) = watched(threshold);
        event_loop.block_on(async {
            let told = std::rc::Rc::new(told);
            // If the machine stalls for a while, other tasks are reported, too.
            let of = |told: &Receiver<SlowPoll>, wanted: &dyn Fn(&SlowPoll) -> bool| {
                loop {
                    let slow = told.recv_timeout(LONG).unwrap();
                    if wanted(&slow) {
                        return slow;
                    }
                }
            };
            for round in 0..3 {
                let told = told.clone();
                let own = std::rc::Rc::new(std::cell::Cell::new(None));
                let own_id = own.clone();
                let line = line!() + 1;
                let task = spawn(async move {
                    yield_now().await;
                    yield_now().await;
                    // The task continues only once it was reported.
                    of(&told, &|slow: &SlowPoll| Some(slow.task.id) == own_id.get())
                });
                let id = task.id();
                own.set(Some(id));
                let task = if round == 0 {
                    task
                } else {
                    task.named("greedy")
                };
                let slow = task.await.unwrap();
                assert_eq!(slow.task.id, id);
                assert_eq!(slow.task.name.as_deref(), (round > 0).then_some("greedy"));
                assert_eq!(slow.task.spawned_at.line(), line);
                assert!(slow.task.spawned_at.file().ends_with("slow_poll.rs"));
                assert!(slow.elapsed >= threshold);
                assert!(!slow.is_root);
                assert!(format!("{slow} {slow:?}").contains("slow_poll.rs"));
            }
            // The root future and closures, too.
            let slow = of(&told, &|slow: &SlowPoll| slow.is_root);
            assert!(slow.task.spawned_at.file().ends_with("slow_poll.rs"));
            let (pass, on) = mpsc::channel::<SlowPoll>();
            let called = LoopHandle::current().call_soon(move || on.recv_timeout(LONG).unwrap());
            let called_id = called.id();
            let relay = told.clone();
            drop(relay);
            // Only this thread holds the hook's receiver; another thread passes the reports on.
            let told = std::rc::Rc::into_inner(told).unwrap();
            let relay = thread::spawn(move || {
                loop {
                    let slow = told.recv_timeout(LONG).unwrap();
                    if slow.task.id == called_id {
                        pass.send(slow).unwrap();
                        return told;
                    }
                }
            });
            assert_eq!(called.await.unwrap().task.id, called_id);
            drop(relay.join().unwrap());
        });
    });
}

#[test]
fn once_for_each_poll_and_never_for_short_ones() {
    within_deadline(|| {
        let threshold = Duration::from_millis(300);
        let (event_loop, told) = watched(threshold);
        event_loop.block_on(async {
            for _ in 0..3000 {
                yield_now().await;
            }
            sleep(threshold + threshold / 2).await; // asleep is not stuck
            let tasks: Vec<_> = (0..100)
                .map(|_| spawn(async { sleep(Duration::from_millis(1)).await }))
                .collect();
            for task in tasks {
                task.await.unwrap();
            }
            spawn(async move { thread::sleep(threshold * 5 / 2) })
                .named("long")
                .await
                .unwrap();
        });
        drop(event_loop);
        let slow: Vec<SlowPoll> = told.iter().collect();
        let long: Vec<_> = slow
            .iter()
            .filter(|s| s.task.name.as_deref() == Some("long"))
            .collect();
        assert_eq!(long.len(), 1, "{slow:?}");
        assert_eq!(slow.len(), 1, "{slow:?}");
    });
}

#[test]
fn a_hook_may_use_the_loop_and_its_panics_stay_with_it() {
    within_deadline(|| {
        let (handles, handle) = mpsc::channel::<LoopHandle>();
        let handle = std::sync::Mutex::new(handle);
        let (tell, told) = mpsc::channel();
        let event_loop = EventLoop::builder()
            .slow_poll(Duration::from_millis(10), move |_| {
                let handle = handle.lock().unwrap().recv_timeout(LONG).unwrap();
                let _ = tell.send(handle.spawn(async { 7 }));
                panic!("in the hook");
            })
            .build()
            .unwrap();
        let told = std::rc::Rc::new(told);
        for _ in 0..2 {
            let told = told.clone();
            handles.send(event_loop.handle()).unwrap();
            event_loop.block_on(async {
                // It spawns and ends tasks of the loop while it is watched.
                let stuck = spawn(async move {
                    let inner = spawn(async { 8 });
                    (told.recv_timeout(LONG).unwrap(), inner)
                });
                let (hooks, inner) = stuck.await.unwrap();
                assert_eq!((hooks.await.unwrap(), inner.await.unwrap()), (7, 8));
            });
        }
        // On a busy machine, the hook is called for other polls, too, and waits for a handle.
        drop(handles);
    });
}

#[test]
fn the_watchdog_sleeps_with_its_loop_and_goes_with_it() {
    alone(
        "slow_poll::the_watchdog_sleeps_with_its_loop_and_goes_with_it",
        "",
        || {
            assert_eq!(count_threads("trefoil-watch"), 0);
            let (event_loop, told) = watched(Duration::from_millis(5));
            wait_until("the watchdog", || count_threads("trefoil-watch") == 1);
            let woken = || -> u64 {
                std::fs::read_dir("/proc/self/task")
                    .unwrap()
                    .filter_map(|task| {
                        let status = task.unwrap().path().join("status");
                        let status = std::fs::read_to_string(status).ok()?;
                        let of = |key: &str| {
                            let line = status.lines().find(|line| line.starts_with(key))?;
                            line.split_whitespace().nth(1).map(str::to_owned)
                        };
                        (of("Name:")? == "trefoil-watch")
                            .then(|| of("voluntary_ctxt_switches:")?.parse::<u64>().ok())?
                    })
                    .sum()
            };
            event_loop.block_on(async {
                sleep(Duration::from_millis(30)).await;
                let before = woken();
                sleep(Duration::from_millis(300)).await;
                assert!(woken() - before <= 3, "{} times", woken() - before);
            });
            drop(event_loop);
            wait_until("the watchdog's end", || count_threads("trefoil-watch") == 0);
            assert!(told.iter().all(|slow| slow.elapsed < LONG));
            // A task that blocks for ever is reported, and the test does not wait for it.
            let start = Instant::now();
            let (event_loop, told) = watched(Duration::ZERO);
            event_loop.block_on(async { thread::sleep(Duration::from_millis(1)) });
            drop(event_loop);
            assert!(start.elapsed() < LONG);
            drop(told);
        },
    );
}
