//! A host that is cut off, in the middle of what it runs.
//!
//! The hosts are network namespaces of this machine, each with its own sshd. A host is cut off by
//! taking its network interface down, so that no error is reported. That needs root, and half a
//! minute: `.ci/long machines` runs it.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use trefoil::TaskError;

use crate::cluster::Cluster;
use crate::support::{self, Scratch, Test, tests, until};

/// The number of the host that runs this.
fn host() -> u64 {
    let connection = std::env::var("SSH_CONNECTION").unwrap();
    let address = connection.split(' ').nth(2).unwrap();
    address.split('.').nth(2).unwrap().parse().unwrap()
}

/// Notes its host and its process, and goes on when the test allows it.
fn holds((seen, go): (String, String)) -> u64 {
    support::note(&seen, host() << 32 | u64::from(std::process::id()));
    until(|| Path::new(&go).exists());
    host()
}

/// Notes the item, and works for a millisecond. Returns the host, too.
fn slowly((seen, n): (String, u64)) -> (u64, u64) {
    support::note(&seen, n);
    std::thread::sleep(Duration::from_millis(1)); // work
    (host(), n)
}

tests! {
    fn a_host_that_is_cut_off_costs_what_it_had() {
        if std::env::var_os("TREFOIL_FULL").is_none() {
            return print!("(skipped: it takes half a minute; `TREFOIL_FULL=1`) ");
        }
        let Some(mut cluster) = Cluster::apart(3) else {
            return print!("(skipped: no network namespaces, or no sshd) ");
        };
        let procs = cluster.builder(&["node1:1", "node2:1", "node3:1"]).build().unwrap();
        let (seen, again, go) = (Scratch::new("cut-seen"), Scratch::new("cut-again"), cluster.directory.join("go"));
        let item = (seen.text(), go.display().to_string());
        let mut tasks: Vec<_> = (0..3).map(|_| procs.spawn(item.clone(), holds)).collect();
        until(|| seen.notes().len() == 3);
        let there = |host: u64| seen.notes().iter().find(|note| *note >> 32 == host).map(|note| *note as u32).unwrap();
        let lost = there(2);
        cluster.cut(2);
        let begin = Instant::now();
        std::fs::write(&go, "").unwrap();
        // Items that are sent there before the loss is noticed need a retry; the others are not
        // even late.
        let more = procs.call(slowly).retry(3);
        let more = more.map((0..200).map(|n| (again.text(), n))).unwrap();
        assert!(more.iter().all(|(host, _)| *host != 2) && more.iter().map(|(_, n)| *n).eq(0..200));
        print!("({:?} for what came later) ", begin.elapsed());
        let results: Vec<Result<u64, TaskError>> = tasks.drain(..).map(trefoil::Task::join).collect();
        let took = begin.elapsed();
        print!("(known after {took:?}) ");
        assert!(took > Duration::from_secs(10) && took < Duration::from_secs(25), "{took:?}");
        let (ended, died): (Vec<_>, Vec<_>) = results.into_iter().partition(Result::is_ok);
        let mut ended: Vec<u64> = ended.into_iter().map(Result::unwrap).collect();
        ended.sort_unstable();
        assert_eq!(ended, [1, 3]);
        assert!(matches!(&died[..], [Err(TaskError::WorkerDied(exit))] if exit.to_string().contains("ssh lost the connection to node2")), "{died:?}");
        assert_eq!(seen.notes().len(), 3, "what may run once has begun once");
        // The worker there ends when its sshd notices; when the network is back, another is
        // started.
        until(|| !Path::new(&format!("/proc/{lost}/exe")).exists());
        cluster.mend(2);
        let begin = Instant::now();
        until(|| {
            let all = procs.call(slowly).retry(3).map((0..30).map(|n| (again.text(), n))).unwrap();
            all.iter().any(|(host, _)| *host == 2)
        });
        print!("(back after {:?}) ", begin.elapsed());
    }
}

/// Runs `ip` with these arguments.
pub(crate) fn ip(words: &str) -> bool {
    let mut command = Command::new("ip");
    let command = command.args(words.split(' ')).stdin(Stdio::null());
    let status = command.stdout(Stdio::null()).stderr(Stdio::null()).status();
    status.is_ok_and(|status| status.success())
}
