//! Why there are no workers on other machines: each error says what to do.

use std::path::PathBuf;

use trefoil::{PoolError, ProcessPool};
use trefoil_machines::Ssh;

use crate::cluster::{Cluster, clusters};
use crate::support::{Test, tests};

fn refused(ssh: Ssh) -> String {
    match ProcessPool::builder().launcher(ssh).build() {
        Err(PoolError::Launcher(words)) => words,
        other => panic!("{other:?}"),
    }
}

/// Asserts that the message contains all of these.
#[track_caller]
fn has(words: &str, all: &[&str]) {
    assert!(all.iter().all(|some| words.contains(some)), "{words}");
}

/// A stand-in that does something else first.
fn with(cluster: &Cluster, first: &str) -> PathBuf {
    let script = std::fs::read_to_string(cluster.directory.join("ssh")).unwrap();
    cluster.script("other", &script.replace("$EXTRA", first))
}

/// This program as another build: the build id in its notes is another one.
fn another_build(cluster: &Cluster) -> PathBuf {
    let mut program = std::fs::read(std::env::current_exe().unwrap()).unwrap();
    let note = b"\x14\0\0\0\x03\0\0\0GNU\0";
    let at = program
        .windows(note.len())
        .position(|some| some == note)
        .unwrap();
    program[at + note.len()] ^= 1;
    let path = cluster.script("skewed", "");
    std::fs::write(&path, program).unwrap();
    path
}

tests! {
    fn a_name_that_is_none() {
        has(&refused(Ssh::hosts::<String>([])), &["no hosts"]);
        has(&refused(Ssh::hosts(["-oProxyCommand=touch x"])), &["not the name of a host"]);
        has(&refused(Ssh::hosts(["node1:none"])), &["`node1:none`", "the number of its workers"]);
    }

    fn no_client() {
        let words = refused(Ssh::hosts(["node1"]).client("/nowhere/ssh"));
        has(&words, &["`/nowhere/ssh`", "apt install openssh-client"]);
    }

    fn another_build_is_refused_by_its_hash() {
        for cluster in clusters() {
            let words = refused(cluster.ssh(&["node1"]).executable(another_build(&cluster)));
            has(&words, &["node1", "another build"]);
        }
    }

    fn nothing_there_to_execute_or_something_else() {
        for cluster in clusters() {
            let words = refused(cluster.ssh(&["node1"]).executable("/nowhere/program"));
            has(&words, &["node1", "no such executable"]);
            let words = refused(cluster.ssh(&["node1"]).executable("/bin/true"));
            has(&words, &["node1", "trefoil::init()"]);
        }
    }

    fn a_name_that_no_shell_takes() {
        let cluster = Cluster::stand_in();
        let error = cluster.builder(&["node1"]).env("UID", "7").build().unwrap_err().to_string();
        has(&error, &["`UID`", "letters, digits"]);
    }

    fn no_place_for_a_copy() {
        let cluster = Cluster::stand_in();
        let words = refused(cluster.ssh(&["node1"]).directory("/proc/nowhere"));
        has(&words, &["node1", "`directory`", "`executable`"]);
    }

    fn another_kind_of_machine() {
        let cluster = Cluster::stand_in();
        std::fs::create_dir(cluster.directory.join("bin")).unwrap();
        cluster.script("bin/uname", "#!/bin/sh\ncase $1 in -m) echo pdp11;; *) echo Unix;; esac\n");
        let first = format!("PATH={}/bin:$PATH", cluster.directory.display());
        let words = refused(cluster.ssh(&["node1"]).client(with(&cluster, &first)));
        has(&words, &["node1 runs Unix on pdp11", "the same kind"]);
    }

    fn a_login_shell_that_prints() {
        let cluster = Cluster::stand_in();
        let words = refused(cluster.ssh(&["node1"]).client(with(&cluster, "echo Welcome to node1")));
        has(&words, &["prints \"Welcome to node1\\n\"", "not interactive"]);
    }

    fn one_bad_host_among_good_ones() {
        let cluster = Cluster::stand_in();
        let client = with(&cluster, "case $* in *node2*) exit 255;; esac");
        has(&refused(cluster.ssh(&["node1", "node2"]).client(client)), &["node2", "cannot be reached"]);
    }

    fn a_worker_that_cannot_be_started_names_its_host() {
        let cluster = Cluster::stand_in();
        let procs = cluster.pool(1);
        std::fs::remove_file(cluster.directory.join("ssh")).unwrap();
        procs.spawn((), |()| -> () { std::process::exit(3) }).join().unwrap_err();
        let error = procs.spawn((), |()| ()).join().unwrap_err().to_string();
        has(&error, &["could not be started", "node1"]);
    }

    fn what_ssh_says_of_a_host() {
        for cluster in clusters().into_iter().filter(|cluster| cluster.name == "sshd") {
            let words = refused(cluster.ssh(&["nowhere.invalid"]));
            has(&words, &["nowhere.invalid", "its name cannot be resolved", "Could not resolve"]);
            let words = refused(cluster.ssh(&["node1"]).option("Port=1"));
            has(&words, &["node1", "is an sshd running"]);
            let words = refused(cluster.ssh(&["node1"]).option("Porridge=1"));
            has(&words, &["node1", "one of the options"]);
            let words = refused(cluster.ssh(&["node1"]).option("HostKeyAlias=other"));
            has(&words, &["node1", "host key"]);
            let key = cluster.directory.join("other");
            let mut keygen = std::process::Command::new("ssh-keygen");
            let keygen = keygen.args(["-q", "-t", "ed25519", "-N", "", "-f"]).arg(&key);
            assert!(keygen.status().unwrap().success());
            std::fs::write(cluster.directory.join("authorized"), std::fs::read(key.with_extension("pub")).unwrap()).unwrap();
            let words = refused(cluster.ssh(&["node1"]));
            has(&words, &["node1", "refused your key", "ssh-copy-id node1"]);
        }
    }
}
