//! `trefoil::inspect::on_stuck`: seeded deadlocks are named, and nothing else is.

use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

use trefoil::inspect::{Stuck, on_stuck, watch_stuck};
use trefoil::{EventLoop, Task, ThreadPool};

use crate::deadline::alone;

fn reports() -> Receiver<Stuck> {
    let (send, reports) = channel();
    on_stuck(move |stuck| _ = send.send(stuck.clone()));
    reports
}

/// The names of the tasks in the next report, in order.
fn names(reports: &Receiver<Stuck>) -> Vec<String> {
    let stuck = reports.recv().unwrap();
    let names = stuck.tasks().iter().map(|task| task.name.clone().unwrap());
    let mut names: Vec<String> = names.map(String::from).collect();
    names.sort();
    names
}

/// The two ends of a way for a task's handle.
fn way() -> (Sender<Task<()>>, Receiver<Task<()>>) {
    channel()
}

#[test]
fn two_tasks_that_join_each_other() {
    alone("stuck::two_tasks_that_join_each_other", "", || {
        let reports = reports();
        let pool = ThreadPool::with_threads(2);
        let (send, handle) = way();
        let one = pool
            .spawn(move || handle.recv().unwrap().join().unwrap())
            .named("one");
        let two = pool.spawn(move || one.join().unwrap()).named("two");
        send.send(two).unwrap();
        assert_eq!(names(&reports), ["one", "two"]);
        std::mem::forget(pool);
    });
}

#[test]
fn whoever_watches_hears_it_as_well() {
    alone("stuck::whoever_watches_hears_it_as_well", "", || {
        let (send, watched) = channel();
        let _watch = watch_stuck(move |stuck| _ = send.send(stuck.to_string()));
        let _panics = watch_stuck(|_| panic!("a listener that panics"));
        let (gone, silence) = channel();
        drop(watch_stuck(move |_| _ = gone.send(())));
        let reports = reports();
        let pool = ThreadPool::with_threads(2);
        let (send, handle) = way();
        let one = pool
            .spawn(move || handle.recv().unwrap().join().unwrap())
            .named("one");
        let two = pool.spawn(move || one.join().unwrap()).named("two");
        send.send(two).unwrap();
        assert_eq!(names(&reports), ["one", "two"]);
        let heard = watched.recv().unwrap();
        assert!(heard.contains("`one`") && heard.contains("`two`"));
        assert!(silence.recv().is_err(), "its listener was dropped");
        std::mem::forget(pool);
    });
}

#[test]
fn three_futures_that_await_one_another() {
    alone("stuck::three_futures_that_await_one_another", "", || {
        let reports = reports();
        let pool = ThreadPool::with_threads(2);
        let (send, handle) = trefoil::sync::channel::bounded::<Task<()>>(1);
        let a = pool.spawn_async(async move { handle.recv().await.unwrap().await.unwrap() });
        let a = a.named("a");
        let b = pool.spawn_async(async move { a.await.unwrap() }).named("b");
        let c = pool.spawn_async(async move { b.await.unwrap() }).named("c");
        send.send_blocking(c).unwrap();
        assert_eq!(names(&reports), ["a", "b", "c"]);
        std::mem::forget(pool);
    });
}

#[test]
fn a_future_that_awaits_itself() {
    alone("stuck::a_future_that_awaits_itself", "", || {
        let reports = reports();
        let pool = ThreadPool::with_threads(1);
        let (send, handle) = trefoil::sync::channel::bounded::<Task<()>>(1);
        let task = pool.spawn_async(async move { handle.recv().await.unwrap().await.unwrap() });
        send.send_blocking(task.named("itself")).unwrap();
        let stuck = reports.recv().unwrap();
        assert_eq!(stuck.tasks().len(), 1);
        assert!(
            stuck.to_string().contains("waits for its own end"),
            "{stuck}"
        );
        assert!(stuck.to_string().contains("`itself`"), "{stuck}");
        std::mem::forget(pool);
    });
}

#[test]
fn a_thread_and_a_loop_that_wait_for_each_other() {
    alone(
        "stuck::a_thread_and_a_loop_that_wait_for_each_other",
        "",
        || {
            let reports = reports();
            let pool = ThreadPool::with_threads(1);
            let (send, handle) = way();
            let blocks = pool.spawn(move || handle.recv().unwrap().join().unwrap());
            let blocks = blocks.named("blocks");
            std::thread::spawn(move || {
                let event_loop = EventLoop::new().unwrap();
                let awaits = event_loop
                    .handle()
                    .spawn(async move { blocks.await.unwrap() });
                send.send(awaits.named("awaits")).unwrap();
                event_loop.block_on(std::future::pending::<()>());
            });
            assert_eq!(names(&reports), ["awaits", "blocks"]);
            std::mem::forget(pool);
        },
    );
}

#[test]
fn a_deadlock_is_reported_once_and_without_a_hook_on_standard_error() {
    alone(
        "stuck::a_deadlock_is_reported_once_and_without_a_hook_on_standard_error",
        "",
        || {
            // The process that this test runs in again, whose standard error is read.
            if std::env::var_os("SEEDED").is_some() {
                let pool = ThreadPool::with_threads(1);
                let (send, handle) = trefoil::sync::channel::bounded::<Task<()>>(1);
                let task =
                    pool.spawn_async(async move { handle.recv().await.unwrap().await.unwrap() });
                send.send_blocking(task.named("itself")).unwrap();
                std::thread::park();
            }
            let mut child = std::process::Command::new(std::env::current_exe().unwrap())
                .args(["--exact", "--nocapture"])
                .arg("stuck::a_deadlock_is_reported_once_and_without_a_hook_on_standard_error")
                .env("SEEDED", "1")
                .env("TREFOIL_TASKS", "1")
                .stderr(std::process::Stdio::piped())
                .spawn()
                .unwrap();
            let mut lines =
                std::io::BufRead::lines(std::io::BufReader::new(child.stderr.take().unwrap()));
            let first = lines.next().unwrap().unwrap();
            assert_eq!(first, "trefoil: a deadlock: a task waits for its own end");
            assert!(lines.next().unwrap().unwrap().contains("`itself`"));
            child.kill().unwrap();
            child.wait().unwrap();
        },
    );
}

#[test]
fn what_can_still_end_is_not_reported() {
    alone("stuck::what_can_still_end_is_not_reported", "", || {
        let reports = reports();
        let pool = ThreadPool::with_threads(2);
        // Each waits for the other, but one of them for a timer, too.
        let (send, handle) = trefoil::sync::channel::bounded::<Task<()>>(1);
        let (ended, end) = trefoil::sync::channel::bounded::<()>(1);
        let one = pool.spawn_async(async move {
            let task = handle.recv().await.unwrap();
            trefoil::select! {
                _ = task => {}
                _ = end.recv() => {}
            }
        });
        let two = pool.spawn_async(async move { one.await.unwrap() });
        let watch = two.abort_handle();
        send.send_blocking(two).unwrap();
        // A wait with a deadline ends.
        let (send, handle) = way();
        let one = pool.spawn(move || {
            let mut task = handle.recv().unwrap();
            let _late = task.join_timeout(Duration::from_millis(50));
        });
        let two = pool.spawn(move || one.join().unwrap());
        let last = two.abort_handle();
        send.send(two).unwrap();
        while !last.is_finished() {
            std::thread::yield_now();
        }
        ended.send_blocking(()).unwrap();
        while !watch.is_finished() {
            std::thread::yield_now();
        }
        // Chains of waits that end, many at once.
        for _ in 0..crate::deadline::sample(400) {
            let mut last = pool.spawn(|| ());
            for n in 0..20 {
                last = match n % 2 {
                    0 => pool.spawn_async(async move { last.await.unwrap() }),
                    _ => pool.spawn(move || last.join().unwrap()),
                };
            }
            last.join().unwrap();
        }
        assert!(reports.try_recv().is_err());
    });
}
