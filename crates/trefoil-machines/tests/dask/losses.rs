//! What is lost, and what is not, when a worker, the scheduler or the driver dies.

use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::Signal;
use trefoil::{ProcessPool, TaskError};
use trefoil_machines::Dask;

use crate::chaos::nothing_is_lost;
use crate::cluster::{Caller, Cluster, Listener, call, call_and_wait, python};
use crate::contract;
use crate::support::{Test, helper, signal, tests, until};

pub(crate) fn helpers() {
    helper(&[
        ("named", contract::named),
        ("nowhere", contract::nowhere),
        ("somewhere", contract::somewhere),
        ("driver", driver),
        ("sums", sums),
    ]);
}

/// Starts this program as one of its helpers, on a cluster, with a listener.
fn start(helper: &str, cluster: &Cluster, listener: &Listener) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .env(crate::support::HELPER, helper)
        .env("TREFOIL_TEST_FILE", cluster.file())
        .env("TREFOIL_TEST_PATH", &listener.path)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap()
}

/// In a helper: its pool, and the listener's path.
fn started() -> (ProcessPool, String) {
    let file = std::env::var("TREFOIL_TEST_FILE").unwrap();
    let dask = Dask::scheduler_file(file).python(python());
    let procs = ProcessPool::builder().launcher(dask).build().unwrap();
    (procs, std::env::var("TREFOIL_TEST_PATH").unwrap())
}

/// A driver that is stopped while one of its items runs.
fn sums() {
    let (procs, path) = started();
    let items = (0..200u64).map(|n| (n, (n == 50).then(|| path.clone())));
    let all = procs.map(items, |(n, path): (u64, Option<String>)| {
        path.iter().for_each(|path| call_and_wait(path));
        n
    });
    println!("{}", all.unwrap().into_iter().sum::<u64>());
}

/// A driver that is killed while items run.
fn driver() {
    let (procs, path) = started();
    // At that moment one process is idle, others run items, and more items wait.
    procs
        .spawn(path.clone(), |path: String| std::mem::forget(call(&path)))
        .join()
        .unwrap();
    let all = vec![path; 100];
    procs.map(all, |path: String| call_and_wait(&path)).unwrap();
}

tests! {
    fn what_a_killed_worker_of_dask_had_runs_again_if_it_may() {
        let mut cluster = Cluster::start(3);
        let procs = cluster.pool();
        let listener = Listener::new();
        let path = listener.path.clone();
        let call = procs.call(|(n, path): (u64, String)| {
            if n == 20 {
                call_and_wait(&path);
            }
            n
        });
        let items: Vec<(u64, String)> = (0..60).map(|n| (n, path.clone())).collect();
        let task = call.clone().retry(1).chunk_size(3).map_task(items);
        let first = listener.accept();
        signal(first.dask_worker(), Signal::KILL);
        first.ends();
        cluster.grow();
        let again = listener.accept();
        // And then one that may not.
        let once = call.spawn((20, path));
        let other = listener.accept();
        again.go_on();
        assert!(task.join().unwrap().into_iter().eq(0..60));
        signal(other.dask_worker(), Signal::KILL);
        other.ends();
        let Err(TaskError::WorkerDied(exit)) = once.join() else { panic!("it lives") };
        print!("({exit}) ");
        let more = procs.map(0..1000u64, |n| n).unwrap();
        assert_eq!(more.len(), 1000);
    }

    fn nothing_is_lost_on_dask() {
        let dask = Cluster::shared().dask().threads(4..=4);
        let procs = ProcessPool::builder().launcher(dask).build().unwrap();
        // What holds a worker has its connection.
        nothing_is_lost("dask", procs, &|procs, dice| {
            let pids = procs.worker_pids();
            let mut pids = pids.iter().filter(|pid| **pid != 0);
            if let Some(pid) = pids.nth(dice.roll(4) as usize) {
                signal(*pid, Signal::KILL);
            }
        });
    }

    fn a_worker_of_dask_that_is_retired_ends_what_it_holds() {
        let cluster = Cluster::start(2);
        let procs = cluster.pool();
        let listener = Listener::new();
        let call = procs.call(|path: String| call_and_wait(&path)).retry(1);
        let task = call.spawn(listener.path.clone());
        let first = listener.accept();
        let begin = Instant::now();
        signal(first.dask_worker(), Signal::TERM);
        first.ends();
        listener.accept().go_on();
        task.join().unwrap();
        print!("({:?}) ", begin.elapsed());
        assert!(begin.elapsed() < Duration::from_secs(10), "it waits thirty seconds for its tasks");
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

    #[allow(unsafe_code)] // a fork
    fn a_forked_child_does_not_hide_that_a_process_has_died() {
        let procs = Cluster::shared().pool();
        let listener = Listener::new();
        let task = procs.spawn(listener.path.clone(), |path: String| {
            // SAFETY: the child uses nothing that another thread could have locked, but its
            // allocator, which is prepared for that.
            let pid = unsafe { libc::fork() };
            call_and_wait(&path);
            if pid == 0 {
                // SAFETY: it ends here.
                unsafe { libc::_exit(0) };
            }
        });
        let (one, other) = (listener.accept(), listener.accept());
        let (parent, child) = if other.parent == one.pid { (one, other) } else { (other, one) };
        signal(parent.pid, Signal::KILL);
        let error = task.join().unwrap_err();
        assert!(error.to_string().contains("SIGKILL"), "{error}");
        child.ends();
        assert_eq!(procs.map(0..100u64, |n| n).unwrap().len(), 100);
    }

    fn a_killed_scheduler_is_an_error_in_words() {
        let cluster = Cluster::start(1);
        let procs = cluster.pool();
        let listener = Listener::new();
        let task = procs.spawn(listener.path.clone(), |path: String| call_and_wait(&path));
        let _running = listener.accept();
        cluster.kill_scheduler();
        let begin = Instant::now();
        // (Dask's worker ends with the scheduler.)
        assert!(task.join().is_err());
        print!("({:?}) ", begin.elapsed());
        assert!(begin.elapsed() < Duration::from_secs(10));
        let error = procs.map(0..10u64, |n| n).unwrap_err().to_string();
        assert!(error.contains("the connection to Dask's scheduler"), "{error}");
    }

    fn a_killed_placer_is_an_error_in_words() {
        let cluster = Cluster::shared();
        let procs = cluster.pool();
        let listener = Listener::new();
        let task = procs.spawn(listener.path.clone(), |path: String| call_and_wait(&path));
        let running = listener.accept();
        signal(contract::placer(), Signal::KILL);
        running.ends();
        assert!(task.join().is_err());
        let error = procs.map(0..10u64, |n| n).unwrap_err().to_string();
        assert!(error.contains("that places workers on Dask has ended"), "{error}");
    }

    fn nothing_outlives_a_killed_driver() {
        let cluster = Cluster::shared();
        let listener = Listener::new();
        let mut driver = start("driver", &cluster, &listener);
        let idle = listener.accept();
        let running: Vec<_> = (0..3).map(|_| listener.accept()).collect();
        let holders: Vec<u32> = running.iter().map(|caller| caller.parent).collect();
        driver.kill().unwrap();
        let begin = Instant::now();
        driver.wait().unwrap();
        running.into_iter().for_each(Caller::ends);
        idle.ends();
        print!("({:?}) ", begin.elapsed());
        assert!(begin.elapsed() < Duration::from_secs(1));
        let lives = |pid: &u32| std::path::Path::new(&format!("/proc/{pid}")).exists();
        until(|| !holders.iter().any(lives) && cluster.tasks() == 0);
    }

    fn a_driver_that_was_stopped_goes_on() {
        let cluster = Cluster::shared();
        let listener = Listener::new();
        let driver = start("sums", &cluster, &listener);
        let running = listener.accept();
        signal(driver.id(), Signal::STOP);
        running.passes(); // the answer goes to a driver that is stopped
        signal(driver.id(), Signal::CONT);
        let output = driver.wait_with_output().unwrap();
        assert_eq!(String::from_utf8_lossy(&output.stdout), "19900\n");
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
