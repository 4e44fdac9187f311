//! The feature `trace`: what is recorded is what happened, none of it is lost, and viewers can read
//! it.
//!
//! (With the feature `auto`: this program's workers need no line in its `main`.)
#![allow(clippy::disallowed_methods, clippy::disallowed_types)] // that door is for the crate's own protocols

mod extremes;
mod hostile;
mod json;
mod keep;
mod odd;
mod picture;

#[path = "../deadline/mod.rs"]
mod deadline;

use std::collections::HashSet;
use std::future::pending;
use std::sync::mpsc;
use std::time::Duration;

use deadline::{eventually, threads_asleep, threads_named};
use picture::{Picture, alone, record};
use trefoil::{ProcessPool, Shutdown, Task, TaskError, ThreadPool, trace};

/// Numbers of tasks.
fn ids<'a>(events: impl Iterator<Item = &'a picture::Event>) -> HashSet<u64> {
    events.map(picture::Event::task).collect()
}

#[test]
fn a_task_is_spawned_runs_and_ends() {
    alone(|| {
        let pool = ThreadPool::builder()
            .threads(2)
            .name("mill")
            .build()
            .unwrap();
        let recording = record();
        let task = pool.spawn_async(async { 6 * 7 }).named("answer");
        let id = task.id().get();
        // (A thread that joins would run it itself.)
        let (tell, told) = mpsc::channel();
        task.on_done(move |result| tell.send(result).unwrap());
        assert_eq!(told.recv().unwrap().unwrap(), 42);
        let (trace, picture) = recording.stop();
        assert_eq!(trace.lost(), 0);
        let [run] = picture.runs(id)[..] else {
            panic!("once")
        };
        assert_eq!((&*run.name, run.arg("ends")), ("answer", "done"));
        assert!(picture.thread(run).starts_with("mill-"));
        let spawned: Vec<_> = picture
            .named("spawn")
            .filter(|event| event.task() == id)
            .collect();
        let [spawned] = spawned[..] else {
            panic!("once")
        };
        assert!(
            spawned.arg("spawned_at").contains("main.rs:"),
            "{spawned:?}"
        );
        assert!(spawned.at < run.at);
        let arrows = picture.arrows("spawn");
        let ours = |(from, to): &&(&picture::Event, &picture::Event)| {
            from.at == spawned.at && to.at == run.at && to.track == run.track
        };
        assert_eq!(arrows.iter().filter(ours).count(), 1);
        let summary = trace.summary();
        let mill = summary
            .executors
            .iter()
            .find(|row| row.name == "thread pool mill");
        assert_eq!(mill.unwrap().tasks, 1);
        assert!(mill.unwrap().queued(1.0) >= mill.unwrap().queued(0.5));
        assert!(summary.to_string().contains("answer"), "{summary}");
    });
}

#[test]
fn nothing_is_lost_among_eight_threads() {
    const EACH: u64 = 2000;
    alone(|| {
        let pool = ThreadPool::with_threads(4);
        let recording = record();
        let spawned: HashSet<u64> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..8)
                .map(|_| {
                    scope.spawn(|| {
                        let each = (0..EACH).map(|n| {
                            let task = pool.spawn(move || n);
                            let id = task.id().get();
                            assert_eq!(task.join().unwrap(), n);
                            id
                        });
                        each.collect::<Vec<u64>>()
                    })
                })
                .collect();
            threads
                .into_iter()
                .flat_map(|thread| thread.join().unwrap())
                .collect()
        });
        let (trace, picture) = recording.stop();
        assert_eq!(trace.lost(), 0);
        assert_eq!(spawned.len() as u64, 8 * EACH);
        let ran: Vec<_> = picture
            .of_category("task")
            .filter(|run| run.arg("ends") == "done")
            .collect();
        assert_eq!(ran.len() as u64, 8 * EACH);
        assert_eq!(ids(ran.into_iter()), spawned);
        assert_eq!(ids(picture.named("spawn")), spawned);
        assert_eq!(picture.arrows("spawn").len() as u64, 8 * EACH);
        let tasks: u64 = trace.summary().executors.iter().map(|row| row.tasks).sum();
        assert_eq!(tasks, 8 * EACH);
    });
}

#[test]
fn there_is_one_recording_at_a_time() {
    alone(|| {
        let recording = record();
        let error = trace::start().unwrap_err();
        assert!(error.to_string().contains("already"), "{error}");
        let kind = std::io::Error::from(error).kind();
        assert_eq!(kind, std::io::ErrorKind::ResourceBusy);
        drop(recording);
        let (_, picture) = record().stop();
        assert!(picture.events.is_empty(), "{picture:?}");
    });
}

#[test]
fn it_may_begin_and_stop_in_the_middle_of_everything() {
    alone(|| {
        let pool = ThreadPool::with_threads(2);
        let (go, early) = held(&pool);
        let recording = record();
        let (go_on, late) = held(&pool);
        go.send(()).unwrap();
        let (early_id, late_id) = (early.id().get(), late.id().get());
        early.join().unwrap();
        let (trace, picture) = recording.stop();
        go_on.send(()).unwrap();
        late.join().unwrap();
        let [early] = picture.runs(early_id)[..] else {
            panic!("once")
        };
        assert_eq!((early.at, early.arg("ends")), (0, "done"));
        let [late] = picture.runs(late_id)[..] else {
            panic!("once")
        };
        assert_eq!(late.until, trace.duration().as_nanos() as u64);
        assert_eq!(late.arg("ends"), "unknown");
        assert_eq!(
            Picture::of(&trace).events.len(),
            picture.events.len(),
            "as often as you like"
        );
    });
}

#[test]
fn what_there_is_no_room_for_is_counted() {
    alone(|| {
        let recording = trace::start_limited(500).unwrap();
        let pool = ThreadPool::with_threads(2);
        for n in 0..1000 {
            assert_eq!(pool.spawn(move || n).join().unwrap(), n);
        }
        let trace = recording.stop();
        assert!(trace.events() <= 500 && trace.lost() > 1000, "{trace:?}");
        let _readable = Picture::of(&trace);
        assert!(
            trace.summary().to_string().contains("LOST"),
            "{}",
            trace.summary()
        );
        let nothing = trace::start_limited(0).unwrap();
        assert_eq!(pool.spawn(|| 1).join().unwrap(), 1);
        let nothing = nothing.stop();
        assert!(nothing.events() == 0 && nothing.lost() > 0, "{nothing:?}");
        let _readable = Picture::of(&nothing);
    });
}

#[test]
fn a_stolen_task_says_so() {
    alone(|| {
        let recording = record();
        let pool = ThreadPool::with_threads(2);
        let (outer, inner) = pool.install(|| {
            let (tell, told) = mpsc::channel();
            // In this worker's own queue, and this worker does not look there.
            let inner = trefoil::spawn_blocking(move || tell.send(()).unwrap());
            told.recv().unwrap();
            (trefoil::thread::current_index(), inner.id().get())
        });
        let (_, picture) = recording.stop();
        let stolen: Vec<_> = picture
            .named("steal")
            .filter(|event| event.task() == inner)
            .collect();
        let [stolen] = stolen[..] else {
            panic!("{picture:?}")
        };
        let [run] = picture.runs(inner)[..] else {
            panic!("once")
        };
        assert_eq!(stolen.track, run.track);
        assert!(
            !picture
                .thread(run)
                .ends_with(&format!("-{}", outer.unwrap()))
        );
        let part = picture.named("part of a join or map").count();
        assert!(part >= 1, "installed on a worker");
    });
}

/// A task that has begun, and ends at a word.
fn held(pool: &ThreadPool) -> (mpsc::Sender<()>, Task<()>) {
    let (go, gate) = mpsc::channel::<()>();
    let (tell, told) = mpsc::channel();
    let task = pool.spawn(move || {
        tell.send(()).unwrap();
        gate.recv().unwrap();
    });
    told.recv().unwrap();
    (go, task)
}

#[test]
fn sleep_waits_and_wakes() {
    alone(|| {
        let pool = ThreadPool::builder()
            .threads(1)
            .name("sleeper")
            .build()
            .unwrap();
        eventually("it sleeps", || {
            threads_named("sleeper") == 1 && threads_asleep("sleeper")
        });
        let recording = record();
        let (go, mut task) = held(&pool);
        // Parks, as what runs cannot be run here.
        assert!(matches!(
            task.join_timeout(Duration::from_millis(1)),
            Err(TaskError::TimedOut(_))
        ));
        let id = task.id().get();
        go.send(()).unwrap();
        task.join().unwrap();
        let (trace, picture) = recording.stop();
        let waits: Vec<_> = picture
            .named("waits")
            .filter(|event| event.task() == id)
            .collect();
        assert!(!waits.is_empty(), "{picture:?}");
        let asleep = picture.named("asleep").next().expect("it slept");
        assert_eq!(picture.thread(asleep), "sleeper-0");
        let rouses = picture.arrows("wake thread");
        assert!(
            rouses
                .iter()
                .any(|(from, to)| from.at <= to.at && to.track == asleep.track)
        );
        let summary = trace.summary();
        let row = summary
            .executors
            .iter()
            .find(|row| row.name == "thread pool sleeper");
        let row = row.unwrap();
        assert!(
            row.asleep > Duration::ZERO && row.busy > Duration::ZERO,
            "{summary}"
        );
        let others = summary
            .executors
            .iter()
            .find(|row| row.name == "other threads");
        assert!(others.unwrap().waiting > Duration::ZERO, "{summary}");
    });
}

#[test]
fn a_loop_polls_waits_and_is_woken() {
    alone(|| {
        let recording = record();
        let (id, forever) = trefoil::run(async {
            let task = trefoil::spawn(async {
                trefoil::time::sleep(Duration::from_millis(2)).await;
                trefoil::yield_now().await;
            });
            let task = task.named("poll \"me\"\n\u{1}");
            let id = task.id().get();
            task.await.unwrap();
            let forever = trefoil::spawn(pending::<()>());
            (id, forever.id().get())
        });
        let (trace, picture) = recording.stop();
        let polls: Vec<&str> = picture.runs(id).iter().map(|run| run.arg("ends")).collect();
        assert_eq!(polls, ["pending", "pending", "done"]);
        assert!(
            picture
                .runs(id)
                .iter()
                .all(|run| run.name == "poll \"me\"\n\u{1}")
        );
        let woken = picture
            .named("wake")
            .filter(|event| event.task() == id)
            .count();
        assert_eq!(woken, 2, "by the timer, by itself");
        assert!(picture.arrows("wake").len() >= 2);
        let slept = picture
            .named("waits for events")
            .next()
            .expect("it had nothing to do");
        assert_eq!(slept.track, picture.runs(id)[0].track);
        let roots = picture
            .of_category("task")
            .filter(|run| run.arg("kind") == "root future");
        let ends: Vec<&str> = roots.map(|root| root.arg("ends")).collect();
        assert!(ends.ends_with(&["done"]) && ends.len() >= 2, "{ends:?}");
        let gone = picture
            .named("cancelled")
            .filter(|event| event.task() == forever);
        assert_eq!(gone.count(), 1, "at the loop's end");
        let summary = trace.summary();
        let row = &summary.executors[0];
        assert!(row.name.starts_with("event loop on "), "{summary}");
        assert_eq!((row.threads, row.tasks), (1, 2), "{summary}");
        assert!(row.asleep >= Duration::from_millis(1), "{summary}");
    });
}

#[test]
fn how_tasks_end() {
    alone(|| {
        let recording = record();
        let pool = ThreadPool::with_threads(1);
        let (go, gate) = mpsc::channel::<()>();
        let first = pool.spawn(move || gate.recv().unwrap());
        let cancelled = pool.spawn(|| ());
        assert!(cancelled.cancel());
        let mut panics = pool.spawn(|| panic!("on purpose"));
        go.send(()).unwrap();
        first.join().unwrap();
        let error = panics.join_timeout(Duration::from_secs(30));
        assert!(matches!(error, Err(TaskError::Panicked(_))));
        let left = pool.spawn_async(pending::<()>());
        let (cancelled, panics, left_id) =
            (cancelled.id().get(), panics.id().get(), left.id().get());
        pool.shutdown(Shutdown::Wait);
        assert!(left.join().is_err());
        let (_, picture) = recording.stop();
        assert!(picture.runs(cancelled).is_empty());
        let end = |name: &'static str, id| {
            picture
                .of_category("end")
                .filter(|event| event.name == name && event.task() == id)
                .count()
        };
        assert_eq!(end("cancelled", cancelled), 1);
        assert_eq!(picture.runs(panics)[0].arg("ends"), "panicked");
        assert_eq!(end("closed", left_id), 1);
    });
}

#[test]
fn regions_show_which_thread_runs_what() {
    alone(|| {
        let recording = record();
        let pool = ThreadPool::with_threads(2);
        pool.broadcast(|_| ());
        pool.for_each(0..100, drop);
        let (tell, told) = mpsc::channel();
        let tell = &tell;
        pool.scope(|scope| {
            let task = scope.spawn(move || tell.send(()).unwrap());
            told.recv().unwrap();
            task.join().unwrap();
        });
        pool.install(|| pool.blocking(|| ()));
        let (trace, picture) = recording.stop();
        assert_eq!(picture.named("broadcast").count(), 2);
        for name in [
            "region",
            "part of a join or map",
            "part of a scope",
            "blocking",
        ] {
            assert!(picture.named(name).count() >= 1, "{name}: {picture:?}");
        }
        assert!(
            trace
                .summary()
                .executors
                .iter()
                .all(|row| row.busy > Duration::ZERO)
        );
    });
}

#[test]
fn calls_to_processes_are_on_tracks_of_their_own() {
    alone(|| {
        let procs = ProcessPool::with_workers(2).unwrap();
        let pids: HashSet<u64> = procs.worker_pids().into_iter().map(u64::from).collect();
        let recording = record();
        let call = procs.spawn(20, |n: u64| n + 1);
        let id = call.id().get();
        assert_eq!(call.join().unwrap(), 21);
        assert_eq!(procs.map(0..500, |n: u64| n).unwrap().len(), 500);
        assert_eq!(procs.imap(0..10, |n: u64| n).count(), 10);
        let died = procs.spawn((), |()| -> () { std::process::abort() });
        assert!(matches!(died.join(), Err(TaskError::WorkerDied(_))));
        let (trace, picture) = recording.stop();
        let frames: Vec<_> = picture
            .of_category("process")
            .filter(|event| event.args.get("items") != &json::Json::Null)
            .collect();
        assert!(frames.iter().all(|frame| frame.track.0 == frame.track.1));
        assert!(frames.iter().any(|frame| pids.contains(&frame.track.0)));
        let answered = frames.iter().filter(|frame| frame.arg("worker") != "died");
        let items: f64 = answered.map(|frame| frame.args.get("items").number()).sum();
        assert!(items >= 511.0, "{items}"); // some may have been taken over
        assert_eq!(
            frames
                .iter()
                .filter(|frame| frame.arg("worker") == "died")
                .count(),
            1
        );
        let called = picture
            .named("call")
            .find(|event| event.task() == id)
            .unwrap();
        let arrows = picture.arrows("call");
        let to = arrows
            .iter()
            .find(|(from, _)| from.at == called.at)
            .unwrap()
            .1;
        let frame = frames
            .iter()
            .find(|frame| (frame.track, frame.at) == (to.track, to.at));
        assert_eq!(frame.unwrap().name, "call");
        assert!(frame.unwrap().args.get("ran_us").number() >= 0.0);
        let summary = trace.summary();
        let row = summary
            .executors
            .iter()
            .find(|row| row.name.starts_with("process pool"));
        let row = row.unwrap();
        assert!(
            row.tasks > 0 && row.threads >= 1 && row.queued(1.0).is_some(),
            "{summary}"
        );
        let slow = summary.slowest.iter().find(|task| task.id == id);
        assert!(
            slow.is_some_and(|task| task.label.contains("processes")),
            "{summary}"
        );
    });
}

#[test]
fn a_call_that_goes_on_is_shown_up_to_the_end() {
    alone(|| {
        let procs = ProcessPool::with_workers(1).unwrap();
        let pool = ThreadPool::with_threads(1);
        let (tell, told) = trefoil::process::channel(1).unwrap();
        let recording = record();
        let call = procs.spawn(tell, |tell: trefoil::process::channel::Sender<()>| {
            tell.send_blocking(()).unwrap();
            loop {
                std::thread::park();
            }
        });
        let call: Task<()> = call;
        told.recv_blocking().unwrap();
        pool.spawn(|| ()).join().unwrap(); // later on the caller's track than the call's arrow
        let (trace, picture) = recording.stop();
        call.cancel();
        let end = trace.duration().as_nanos() as u64;
        let frames = picture.named("call").filter(|event| event.until == end);
        let frames: Vec<_> = frames.collect();
        let [frame] = frames[..] else {
            panic!("{picture:?}")
        };
        assert_eq!(frame.args.get("ran_us"), &json::Json::Null);
        let arrows = picture.arrows("call");
        assert!(
            arrows
                .iter()
                .any(|(_, to)| (to.track, to.at) == (frame.track, frame.at))
        );
    });
}

/// A job is submitted after its input was made: else it would stay with the scheduler, without an
/// end.
#[test]
fn an_imap_whose_input_panics_at_once_is_no_call() {
    struct Bomb;
    impl IntoIterator for Bomb {
        type Item = u64;
        type IntoIter = std::ops::Range<u64>;
        fn into_iter(self) -> Self::IntoIter {
            panic!("no iterator")
        }
    }
    alone(|| {
        let procs = ProcessPool::with_workers(1).unwrap();
        let recording = record();
        let start = std::panic::AssertUnwindSafe(|| _ = procs.imap(Bomb, |n: u64| n));
        assert!(std::panic::catch_unwind(start).is_err());
        let (_, picture) = recording.stop();
        assert_eq!(picture.named("call").count(), 0, "{picture:?}");
    });
}

#[test]
fn threads_come_and_go_between_recordings() {
    alone(|| {
        let pool = ThreadPool::with_threads(2);
        for round in 0..20_u64 {
            let recording = record();
            let id = std::thread::scope(|scope| {
                let spawn = || {
                    let task = pool.spawn(move || round);
                    let id = task.id().get();
                    assert_eq!(task.join().unwrap(), round);
                    id
                };
                scope.spawn(spawn).join().unwrap()
            });
            let (_, picture) = recording.stop();
            assert_eq!(
                ids(picture.named("spawn")),
                HashSet::from([id]),
                "this round's"
            );
            assert_eq!(picture.runs(id).len(), 1);
            pool.spawn(|| ()).join().unwrap(); // nobody's
        }
    });
}
