//! A large context crosses the way to a host once, however many workers are there.
//!
//! The stand-in for ssh's client writes down all that is sent to each worker; what is counted is
//! how often the context is in that.

use std::path::{Path, PathBuf};

use trefoil::{ProcessPool, ProcessPoolBuilder};

use crate::cluster::Cluster;
use crate::support::{Scratch, Test, note, noted, tests, until};

/// What every context begins with.
const MARK: &str = "this is the beginning of the context";

/// A stand-in that has a file for each worker of a host; `first` is what that host does first.
fn writes_down(cluster: &Cluster, first: &str) -> PathBuf {
    let at = cluster.directory.display();
    let script = format!(
        "#!/bin/sh\nfor last; do :; done\ncase \" $* \" in *\" node1 \"*) host=node1;; *) host=node2;; esac\n\
         pipe={at}/pipe.$$\nmkfifo \"$pipe\"\nexec 3<&0\ntee {at}/sent.$host.$$ <&3 3<&- >\"$pipe\" &\n\
         ( {first}; exec sh -c \"$last\" <\"$pipe\" 3<&- )\nended=$?\nkill $!\nexit $ended\n"
    );
    cluster.script("writes-down", &script)
}

fn builder(cluster: &Cluster, hosts: &[&str], first: &str) -> ProcessPoolBuilder {
    let own = std::env::current_exe().unwrap();
    let ssh = cluster.ssh(hosts).client(writes_down(cluster, first));
    ProcessPool::builder().launcher(ssh.executable(own))
}

/// How often the context was sent to this host.
fn sent(cluster: &Cluster, host: &str) -> usize {
    let of_host = |path: &PathBuf| path.to_string_lossy().contains(&format!("/sent.{host}."));
    let all = std::fs::read_dir(&cluster.directory).unwrap();
    let all = all.map(|entry| entry.unwrap().path()).filter(of_host);
    let count = |path: PathBuf| {
        let bytes = std::fs::read(path).unwrap();
        let windows = bytes.windows(MARK.len());
        windows.filter(|bytes| *bytes == MARK.as_bytes()).count()
    };
    all.map(count).sum()
}

/// Where the items of a group note that they run, and how many they are: each waits for all others.
/// If there is a path at the end, the item kills its worker first, once.
type Item = (String, usize, Option<String>);

fn meets((words, more): &(String, usize), (notes, all, dies): Item) -> (usize, u32) {
    if let Some(died) = dies
        && !Path::new(&died).exists()
    {
        std::fs::write(died, "").unwrap();
        std::process::abort();
    }
    note(&notes, 1);
    until(|| noted(&notes) >= all);
    (words.len() + more, std::process::id())
}

/// A large context, and what `meets` counts of it.
fn context() -> ((String, usize), usize) {
    let words = MARK.to_owned() + &"x".repeat(1 << 20);
    let all = words.len() + 7;
    ((words, 7), all)
}

/// Has four items run at once, with a large context.
fn all_have_it(procs: &ProcessPool, name: &str) {
    let scratch = Scratch::new(name);
    let (context, all) = context();
    let items = (0..4).map(|_| (scratch.text(), 4, None));
    let found = procs
        .call(|_: ()| ())
        .chunk_size(1)
        .map_with(&context, items, meets)
        .unwrap();
    assert!(found.iter().all(|(length, _)| *length == all));
    let mut pids: Vec<u32> = found.into_iter().map(|(_, pid)| pid).collect();
    pids.sort_unstable();
    pids.dedup();
    assert_eq!(pids.len(), 4);
}

tests! {
    fn a_context_goes_once_to_each_host() {
        let cluster = Cluster::stand_in();
        let procs = builder(&cluster, &["node1:4"], "true").build().unwrap();
        all_have_it(&procs, "context-one");
        assert_eq!(sent(&cluster, "node1"), 1);
        all_have_it(&procs, "context-again");
        assert_eq!(sent(&cluster, "node1"), 2, "another one");
        let cluster = Cluster::stand_in();
        let procs = builder(&cluster, &["node1:2", "node2:2"], "true").build().unwrap();
        all_have_it(&procs, "context-two");
        assert_eq!([sent(&cluster, "node1"), sent(&cluster, "node2")], [1, 1]);
    }

    fn a_worker_that_takes_the_place_of_another_finds_it() {
        let cluster = Cluster::stand_in();
        let procs = builder(&cluster, &["node1:4"], "true").build().unwrap();
        let [one, two] = ["context-before", "context-after"].map(Scratch::new);
        let died = cluster.directory.join("died").display().to_string();
        let before = (0..4).map(|_| (one.text(), 4, None));
        let after = (0..4).map(|n| (two.text(), 4, (n == 0).then(|| died.clone())));
        let (context, all) = context();
        let call = procs.call(|_: ()| ()).chunk_size(1).retry(1);
        let found = call.map_with(&context, before.chain(after), meets).unwrap();
        assert!(found.iter().all(|(length, _)| *length == all));
        let mut pids: Vec<u32> = found.into_iter().map(|(_, pid)| pid).collect();
        pids.sort_unstable();
        pids.dedup();
        assert_eq!(pids.len(), 5, "one is another");
        assert!(Path::new(&died).exists() && procs.stats().died == 1);
        assert_eq!(sent(&cluster, "node1"), 1);
    }

    fn where_it_cannot_be_kept_each_gets_it() {
        let cluster = Cluster::stand_in();
        // No file there may have more than some kilobytes, a memory file neither.
        let procs = builder(&cluster, &["node1:4"], "ulimit -f 16").build().unwrap();
        all_have_it(&procs, "context-each");
        assert_eq!(sent(&cluster, "node1"), 4);
    }
}
