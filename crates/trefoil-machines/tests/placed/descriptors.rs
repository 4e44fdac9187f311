//! Many workers, with many descriptors and with few.

use std::fs::File;
use std::process::Command;

use rustix::process::{Resource, getrlimit};
use trefoil::{PoolError, ProcessPool};

use crate::placer::{PLAIN, dask};
use crate::support::{HELPER, Test, helper, tests, until};

pub(crate) fn helpers() {
    helper(&[("many", many), ("few", few), ("used-up", used_up)]);
}

/// Runs this program as a helper with this limit of descriptors.
fn with_limit(limit: u64, name: &str) {
    let mut shell = Command::new("sh");
    let script = format!("ulimit -n {limit} && exec \"$0\"");
    shell
        .args(["-c", &script])
        .arg(std::env::current_exe().unwrap());
    let said = shell.env(HELPER, name).output().unwrap();
    let words = String::from_utf8_lossy(&said.stderr);
    assert!(said.status.success(), "{words}");
}

/// A pool of 300 workers begins, and works.
fn many() {
    let least = std::env::var("TREFOIL_FULL").map_or(20, |_| 300);
    let procs = ProcessPool::builder()
        .launcher(dask(PLAIN).threads(least..=300))
        .build()
        .unwrap();
    until(|| procs.worker_pids().iter().filter(|pid| **pid != 0).count() >= least);
    let sum: u64 = procs
        .call(|n: u64| n)
        .chunk_size(1)
        .map(0..3000)
        .unwrap()
        .iter()
        .sum();
    assert_eq!((sum, procs.stats().died), (3000 * 2999 / 2, 0));
    // A worker that begins just now has descriptors, and no pid yet.
    let open = || std::fs::read_dir("/dev/fd").unwrap().count();
    until(|| open() <= 4 * procs.worker_pids().len() + 40);
}

fn few() {
    let refused = ProcessPool::builder().launcher(dask(PLAIN)).build();
    let Err(PoolError::Launcher(words)) = refused else {
        panic!("{refused:?}")
    };
    for part in ["300 workers need", "may have 1000", "`ulimit -n`", "fewer"] {
        assert!(words.contains(part), "{words}");
    }
    let procs = ProcessPool::builder()
        .launcher(dask(PLAIN).threads(1..=100))
        .build();
    assert_eq!(procs.unwrap().map(0..9, |n: u64| n).unwrap().len(), 9);
}

/// The program itself opens all that is left, and then more workers are wanted.
fn used_up() {
    let procs = ProcessPool::builder()
        .launcher(dask(PLAIN).threads(0..=2))
        .build()
        .unwrap();
    let mut files = Vec::new();
    while let Ok(file) = File::open("/dev/null") {
        files.push(file);
    }
    let limit = getrlimit(Resource::Nofile).current.unwrap();
    let failed = procs.spawn(7, |n: u64| n).join();
    let words = failed.unwrap_err().to_string();
    assert!(
        words.contains(&format!("limit is {limit}")) && words.contains("`ulimit -n`"),
        "{words}"
    );
    drop(files);
    until(|| procs.spawn(7, |n: u64| n).join().is_ok());
}

tests! {
    fn three_hundred_workers_begin_where_there_are_descriptors_for_them() {
        with_limit(2048, "many");
    }

    fn too_few_descriptors_are_an_error_that_says_what_to_do() {
        with_limit(1000, "few");
    }

    fn a_worker_for_which_no_descriptor_is_left_is_reported() {
        with_limit(200, "used-up");
    }
}
