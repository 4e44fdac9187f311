//! What is lost, and what is not, when a worker, the scheduler or the driver dies.

use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::Signal;
use trefoil::ProcessPool;
use trefoil::process::machines::Dask;

use crate::cluster::{Caller, Cluster, Listener, call, call_and_wait, python};
use crate::promises;
use crate::support::{Test, helper, signal, tests};

pub(crate) fn helpers() {
    helper(&[
        ("named", promises::named),
        ("nowhere", promises::nowhere),
        ("somewhere", promises::somewhere),
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
    let procs = ProcessPool::builder().on(Dask::scheduler_file(file).python(python()));
    let path = std::env::var("TREFOIL_TEST_PATH").unwrap();
    (procs.build().unwrap(), path)
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
        let error = task.join().unwrap_err().to_string();
        assert!(error.contains("the connection to Dask's scheduler"), "{error}");
        print!("({:?}) ", begin.elapsed());
        assert!(begin.elapsed() < Duration::from_secs(10));
        let error = procs.map(0..10u64, |n| n).unwrap_err().to_string();
        assert!(error.contains("the connection to Dask's scheduler"), "{error}");
    }

    fn nothing_outlives_a_killed_driver() {
        let cluster = Cluster::shared();
        let listener = Listener::new();
        let mut driver = start("driver", &cluster, &listener);
        let idle = listener.accept();
        let running: Vec<_> = (0..3).map(|_| listener.accept()).collect();
        driver.kill().unwrap();
        let begin = Instant::now();
        driver.wait().unwrap();
        running.into_iter().for_each(Caller::ends);
        idle.ends();
        print!("({:?}) ", begin.elapsed());
        assert!(begin.elapsed() < Duration::from_secs(1));
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
