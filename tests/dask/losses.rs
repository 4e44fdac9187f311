//! What is lost, and what is not, when a worker, the scheduler or the driver dies.

use rustix::process::Signal;
use trefoil::ProcessPool;
use trefoil::process::machines::Dask;

use crate::cluster::{Caller, Cluster, Listener, call, call_and_wait, python};
use crate::promises;
use crate::support::{Test, helper, signal, tests};

pub(crate) fn helpers() {
    helper(&[("named", promises::named), ("driver", driver)]);
}

/// A driver that is killed while items run.
fn driver() {
    let file = std::env::var("TREFOIL_TEST_FILE").unwrap();
    let path = std::env::var("TREFOIL_TEST_PATH").unwrap();
    let procs = ProcessPool::builder().on(Dask::scheduler_file(file).python(python()));
    let procs = procs.build().unwrap();
    // At that moment one process is idle, others run items, and more items wait.
    procs
        .spawn(path.clone(), |path: String| std::mem::forget(call(&path)))
        .join()
        .unwrap();
    let all = vec![path; 100];
    procs.map(all, |path: String| call_and_wait(&path)).unwrap();
}

tests! {
    fn what_a_killed_worker_of_dask_had_runs_again() {
        let mut cluster = Cluster::start(3);
        let procs = cluster.pool();
        let listener = Listener::new();
        let path = listener.path.clone();
        let items: Vec<(u64, String)> = (0..60).map(|n| (n, path.clone())).collect();
        let task = procs.call(|(n, path): (u64, String)| {
            if n == 20 {
                call_and_wait(&path);
            }
            n
        });
        let task = task.chunk(3).map_task(items);
        let first = listener.accept();
        signal(first.parent, Signal::KILL);
        first.ends();
        cluster.grow();
        let again = listener.accept();
        again.go_on();
        assert!(task.join().unwrap().into_iter().eq(0..60));
        let more = procs.map(0..1000u64, |n| n).unwrap();
        assert_eq!(more.len(), 1000);
    }

    fn a_killed_process_costs_what_it_ran() {
        let procs = Cluster::shared().pool();
        let listener = Listener::new();
        let task = procs.spawn(listener.path.clone(), |path: String| call_and_wait(&path));
        let running = listener.accept();
        signal(running.pid, Signal::KILL);
        let error = task.join().unwrap_err();
        assert!(error.to_string().contains("SIGKILL"), "{error}");
        assert_eq!(procs.map(0..100u64, |n| n).unwrap().len(), 100);
    }

    fn a_killed_scheduler_is_an_error_in_words() {
        let cluster = Cluster::start(1);
        let procs = cluster.pool();
        let listener = Listener::new();
        let task = procs.spawn(listener.path.clone(), |path: String| call_and_wait(&path));
        let _running = listener.accept();
        cluster.kill_scheduler();
        let error = task.join().unwrap_err().to_string();
        assert!(error.contains("the connection to Dask's scheduler"), "{error}");
        let error = procs.map(0..10u64, |n| n).unwrap_err().to_string();
        assert!(error.contains("the connection to Dask's scheduler"), "{error}");
    }

    fn nothing_outlives_a_killed_driver() {
        let cluster = Cluster::shared();
        let listener = Listener::new();
        let mut driver = std::process::Command::new(std::env::current_exe().unwrap())
            .env(crate::support::HELPER, "driver")
            .env("TREFOIL_TEST_FILE", cluster.file())
            .env("TREFOIL_TEST_PATH", &listener.path)
            .spawn()
            .unwrap();
        let idle = listener.accept();
        let running: Vec<_> = (0..3).map(|_| listener.accept()).collect();
        driver.kill().unwrap();
        driver.wait().unwrap();
        running.into_iter().for_each(Caller::ends);
        idle.ends();
    }

    fn a_shutdown_kills_what_runs_for_too_long() {
        let procs = Cluster::shared().pool();
        let listener = Listener::new();
        let task = procs.spawn(listener.path.clone(), |path: String| call_and_wait(&path));
        let running = listener.accept();
        drop(procs);
        assert!(task.join().is_err());
        running.ends();
    }
}
