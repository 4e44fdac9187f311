//! The trees of worker processes in `trefoil::inspect::tasks`.

use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

use serde_json::Value;
use trefoil::inspect::{TaskTree, tasks};
use trefoil::{Completer, ThreadPool};

use crate::support::{Test, forever, pool, resume, suspend, tests, until};

/// Spawns a task in the worker, and sleeps for ever.
fn sleeps((): ()) {
    let pool = ThreadPool::with_threads(1);
    pool.spawn(forever::<()>).named("inside").detach();
    forever::<()>();
}

/// The same, without a system call.
fn computes((): ()) {
    let pool = ThreadPool::with_threads(1);
    pool.spawn(forever::<()>).named("inside").detach();
    loop {
        std::hint::spin_loop();
    }
}

/// Many tasks with long names, one of them hostile to whoever shows it.
fn has_many((): ()) {
    let name = "\"\u{1b}\\ \n</script>".repeat(100);
    let promises: Vec<_> = (0..1000)
        .map(|_| {
            let (completer, promise) = Completer::<()>::new();
            (completer, promise.named(&*name))
        })
        .collect();
    forever::<()>();
    drop(promises);
}

fn text(tree: &TaskTree, pid: u32) -> String {
    let worker = tree.workers().iter().find(|worker| worker.pid == pid);
    worker.map(ToString::to_string).unwrap_or_default()
}

/// Waits until the worker's own tree has this in it.
fn shows(pid: u32, what: &str) -> TaskTree {
    let mut tree = tasks();
    until(|| {
        tree = tasks();
        text(&tree, pid).contains(what)
    });
    tree
}

/// All workers have answered, so they keep track of tasks.
fn wake(procs: &trefoil::ProcessPool) -> Vec<u32> {
    until(|| {
        let tree = tasks();
        let answers = tree.workers().iter().filter(|worker| worker.has_answered());
        answers.count() == procs.num_workers()
    });
    procs.worker_pids()
}

fn json(tree: &TaskTree, pid: u32) -> Value {
    let json: Value = serde_json::from_str(&tree.to_json()).unwrap();
    let workers = json["workers"].as_array().unwrap();
    let is_it = |worker: &&Value| worker["pid"] == pid;
    workers.iter().find(is_it).unwrap().clone()
}

tests! {
    fn a_worker_answers_whatever_its_item_does() {
        for item in [sleeps as fn(()), computes] {
            let procs = pool(1);
            let pid = wake(&procs)[0];
            let call = procs.call(item).name("endless").spawn(());
            let tree = shows(pid, "`inside`");
            let worker = json(&tree, pid);
            assert_eq!(worker["tree"]["version"], 1);
            let tasks = worker["tree"]["tasks"].as_array().unwrap();
            assert!(tasks.iter().any(|task| task["name"] == "inside"), "{worker}");
            // The parent has a line for the call, and the worker's tree below its own.
            let drawn = tree.to_string();
            assert!(drawn.contains(&format!("\n├─ process {pid}, ")), "{drawn}");
            assert!(drawn.contains("\n│  ├─ "), "{drawn}");
            let call_there = &tree.calls()[0];
            assert_eq!(call_there.name.as_deref(), Some("endless"));
            assert_eq!(call_there.called_at, Some(call.spawned_at()));
            if cfg!(target_os = "linux") {
                assert!(call_there.peak_memory.unwrap() > 1 << 20);
            }
            drop(procs);
            assert!(call.join().is_err());
        }
    }

    /// A worker that is stopped costs everybody a tenth of a second, and no more.
    #[cfg(unix)]
    fn who_does_not_answer_is_not_waited_for() {
        let procs = pool(2);
        let pids = wake(&procs);
        suspend(pids[0]);
        // Its threads stop one after the other: one of them may answer once more.
        until(|| text(&tasks(), pids[0]).ends_with("no answer"));
        for _ in 0..5 {
            let begin = Instant::now();
            let tree = tasks();
            assert!(begin.elapsed() >= Duration::from_millis(100));
            assert!(begin.elapsed() < Duration::from_secs(20), "{:?}", begin.elapsed());
            assert_eq!(text(&tree, pids[0]), format!("process {}: no answer", pids[0]));
            assert_eq!(json(&tree, pids[0])["tree"], Value::Null);
        }
        shows(pids[1], "0 tasks");
        resume(pids[0]);
        shows(pids[0], "0 tasks");
    }

    fn long_trees_are_cut_and_counted() {
        let procs = pool(1);
        let pid = wake(&procs)[0];
        let call = procs.spawn((), has_many);
        // How many tasks are in the tree, and how many there are. (0: it has not answered in time.)
        let count = |tree: &TaskTree| {
            let tree = json(tree, pid);
            let kept = tree["tree"]["tasks"].as_array().map_or(0, Vec::len) as u64;
            let others = tree["tree"]["without_details"].as_u64();
            (kept, kept + others.unwrap_or(0))
        };
        let mut seen = (0, 0);
        until(|| {
            seen = count(&tasks());
            seen.1 >= 1000
        });
        assert!((1..200).contains(&seen.0), "{seen:?}");
        call.cancel();
    }

    /// Questions, calls and deaths, all at once.
    fn questions_and_calls_do_not_disturb_one_another() {
        let procs = pool(2);
        let over = std::sync::atomic::AtomicBool::new(false);
        std::thread::scope(|scope| {
            for _ in 0..3 {
                scope.spawn(|| {
                    while !over.load(std::sync::atomic::Ordering::Relaxed) {
                        let tree = tasks();
                        let _valid: Value = serde_json::from_str(&tree.to_json()).unwrap();
                    }
                });
            }
            for round in 0..20u64 {
                let squares = procs.map(0..2000, |n: u64| n * n).unwrap();
                assert!(squares.iter().zip(0..).all(|(square, n)| *square == n * n));
                assert_eq!(procs.spawn(round, |n: u64| n + 1).join().unwrap(), round + 1);
                if round % 5 == 0 {
                    procs.replace_worker(procs.worker_pids()[0]);
                }
            }
            over.store(true, std::sync::atomic::Ordering::Relaxed);
        });
        wake(&procs);
    }

    /// The thread that would have to answer does not wait for itself.
    fn a_callback_does_not_ask_its_own_pool() {
        let procs = pool(1);
        let (send, tree) = channel();
        procs.spawn((), |()| ()).on_done(move |_| send.send(tasks()).unwrap());
        let _came = tree.recv_timeout(Duration::from_secs(60)).unwrap();
        wake(&procs);
    }
}
