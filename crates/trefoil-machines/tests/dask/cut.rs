//! A Dask machine that is cut off, in the middle of what it runs.
//!
//! It is a network namespace of this machine, whose network interface is taken down, so that no
//! error is reported. That needs root: `.ci/long machines` runs it.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use trefoil::{ProcessPool, Task};

use crate::cluster::{Caller, Cluster, Listener, call_and_wait};
use crate::support::{Test, tests};

/// A machine with its own network: `cluster.py` starts every second worker there.
struct Apart(String);

impl Apart {
    /// `None`: this machine cannot have one.
    fn new() -> Option<Self> {
        let apart = Self(format!("tfd{}", std::process::id()));
        let name = &apart.0;
        let all = [
            format!("netns add {name}"),
            format!("link add {name} type veth peer name eth0 netns {name}"),
            format!("addr add 10.215.0.1/24 dev {name}"),
            format!("link set {name} up"),
            format!("-n {name} addr add 10.215.0.2/24 dev eth0"),
            format!("-n {name} link set eth0 up"),
            format!("-n {name} link set lo up"),
        ];
        all.iter().all(|words| ip(words)).then_some(apart)
    }

    /// Whether an item runs there.
    fn has(&self, caller: &Caller) -> bool {
        let network = |of: &str| std::fs::read_link(format!("/proc/{of}/ns/net")).unwrap();
        network(&caller.pid.to_string()) != network("self")
    }
}

impl Drop for Apart {
    fn drop(&mut self) {
        ip(&format!("link del {}", self.0));
        ip(&format!("netns del {}", self.0));
    }
}

/// Runs `ip` with these arguments.
fn ip(words: &str) -> bool {
    let mut command = Command::new("ip");
    let command = command.args(words.split(' ')).stdin(Stdio::null());
    let status = command.stdout(Stdio::null()).stderr(Stdio::null()).status();
    status.is_ok_and(|status| status.success())
}

tests! {
    fn what_a_machine_had_that_is_cut_off_runs_again() {
        if std::env::var_os("TREFOIL_FULL").is_none() {
            return print!("(skipped: it needs root; `TREFOIL_FULL=1`) ");
        }
        let Some(apart) = Apart::new() else {
            return print!("(skipped: no network namespaces) ");
        };
        let cluster = Cluster::apart(&apart.0);
        let procs = ProcessPool::builder().launcher(cluster.dask().allow_plaintext(true).threads(4..=4)).build().unwrap();
        let listener = Listener::new();
        // Two for each of the two workers.
        let tasks: Vec<_> = (0..4).map(|n| {
            let call = procs.call(|(n, path): (u64, String)| { call_and_wait(&path); n }).retry(1);
            call.spawn((n, listener.path.clone()))
        }).collect();
        let callers: Vec<Caller> = (0..4).map(|_| listener.accept()).collect();
        let (there, here): (Vec<_>, Vec<_>) = callers.into_iter().partition(|caller| apart.has(caller));
        assert!(!there.is_empty() && !here.is_empty(), "{} there", there.len());
        assert!(ip(&format!("-n {} link set eth0 down", apart.0)));
        let begin = Instant::now();
        let lost = there.len();
        here.into_iter().for_each(Caller::passes);
        for _ in 0..lost {
            let again = listener.accept();
            assert!(!apart.has(&again));
            again.go_on();
        }
        let results: Vec<u64> = tasks.into_iter().map(|task| Task::join(task).unwrap()).collect();
        print!("({lost} of them, after {:?}) ", begin.elapsed());
        assert_eq!(results, [0, 1, 2, 3]);
        assert!(begin.elapsed() < Duration::from_secs(60));
        drop(there);
    }
}
