//! Why there are no workers: each error says what to do.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::time::Duration;

use trefoil::{PoolError, ProcessPool, Slurm, TaskError};

use crate::contract::Bed;
use crate::support::{Scratch, Test, tests, until};

fn refused(slurm: Slurm) -> String {
    match ProcessPool::builder().on(slurm).build() {
        Err(PoolError::Engine(words)) => words,
        other => panic!("{other:?}"),
    }
}

/// The words have all of these.
#[track_caller]
fn has(words: &str, all: &[&str]) {
    assert!(all.iter().all(|some| words.contains(some)), "{words}");
}

fn program(bed: &Bed, name: &str, bytes: &[u8]) -> PathBuf {
    let path = bed.0.join(name);
    std::fs::write(&path, bytes).unwrap();
    std::fs::set_permissions(&path, PermissionsExt::from_mode(0o700)).unwrap();
    path
}

/// This program as another build: the build id in its notes is another one.
fn another_build(bed: &Bed) -> PathBuf {
    let mut bytes = std::fs::read(std::env::current_exe().unwrap()).unwrap();
    let note = b"\x14\0\0\0\x03\0\0\0GNU\0";
    let at = bytes
        .windows(note.len())
        .position(|some| some == note)
        .unwrap();
    bytes[at + note.len()] ^= 1;
    program(bed, "skewed", &bytes)
}

tests! {
    fn what_slurm_refuses() {
        let bed = Bed::new();
        for slurm in bed.both() {
            has(&refused(slurm.clone().per_worker(["--partition=nowhere"])), &["name a partition", "sinfo"]);
            has(&refused(slurm.clone().per_worker(["--mem=1000G"])), &["ask for less", "per_worker"]);
            has(&refused(slurm.per_worker(["--nonsense"])), &["does not take one of the options"]);
        }
        assert_eq!(std::fs::read_dir(&bed.0).unwrap().count(), 0);
    }

    fn one_bad_node_fails_no_call() {
        let bed = Bed::new();
        let own = std::env::current_exe().unwrap();
        let marks = Scratch::new("slurm-bad-node");
        // The first job ends before it has called back; the others call once it has.
        let script = format!(
            "#!/bin/sh\n[ \"$SLURM_ARRAY_TASK_ID\" != 0 ] || {{ echo 1 >>{marks}; exit 1; }}\n\
             until [ -s {marks} ]; do sleep 0.1; done\nexec {} \"$@\"\n",
            own.display(),
            marks = marks.text(),
        );
        let script = program(&bed, "some", script.as_bytes());
        let slurm = bed.slurm(Slurm::sbatch()).executable(script).nodes(3..=3);
        let procs = ProcessPool::builder().on(slurm).build().unwrap();
        assert_eq!(procs.map(0..30u64, |n| n + 1).unwrap(), (1..31).collect::<Vec<_>>());
        assert_ne!(std::fs::metadata(marks.text()).unwrap().len(), 0);
    }

    fn a_job_that_never_starts() {
        let bed = Bed::new();
        for slurm in bed.both() {
            let slurm = slurm.per_worker(["--partition=closed"]).patience(Duration::from_millis(700));
            has(&refused(slurm.clone()), &["PENDING", "PartitionDown", "`patience`"]);
            // Where nothing is asked of Slurm before there is work, that is the work's error.
            let procs = ProcessPool::builder().on(slurm.nodes(0..=2)).build().unwrap();
            let Err(TaskError::WorkerDied(exit)) = procs.spawn((), |()| ()).join() else { panic!("it ran") };
            has(&exit.to_string(), &["PartitionDown"]);
        }
    }

    fn another_build_is_refused() {
        let bed = Bed::new();
        for slurm in bed.both() {
            has(&refused(slurm.executable(another_build(&bed))), &["another build"]);
        }
    }

    fn an_executable_that_is_not_there() {
        let bed = Bed::new();
        for slurm in bed.both() {
            has(&refused(slurm.executable("/nowhere/program")), &["/nowhere/program", "share"]);
        }
    }

    fn a_wrong_key() {
        let bed = Bed::new();
        let own = std::env::current_exe().unwrap();
        let script = format!("#!/bin/sh\nexec {} <<END\n{}\nEND\n", own.display(), "00".repeat(32));
        let script = program(&bed, "forger", script.as_bytes());
        for slurm in bed.both() {
            has(&refused(slurm.executable(&script)), &["does not have the", "key"]);
        }
    }

    fn an_address_that_the_nodes_do_not_reach() {
        has(&refused(Slurm::sbatch().listen("0.0.0.0")), &["one address"]);
    }

    fn strangers_who_dial_are_nobody() {
        let bed = Bed::new();
        let procs = ProcessPool::builder().on(bed.slurm(Slurm::sbatch())).build().unwrap();
        let secret = std::fs::read_dir(&bed.0).unwrap().flatten().find(|entry| entry.path().extension().is_some_and(|end| end == "key"));
        let secret = secret.unwrap();
        assert_eq!(secret.metadata().unwrap().permissions().mode() & 0o777, 0o600);
        let text = std::fs::read_to_string(secret.path()).unwrap();
        let port = text.split_once("127.0.0.1:").unwrap().1.split_once(',').unwrap().0;
        let address = format!("127.0.0.1:{port}");
        let mut strangers: Vec<TcpStream> = (0..50).map(|_| TcpStream::connect(&address).unwrap()).collect();
        for stranger in &mut strangers[..25] {
            stranger.write_all(&[255; 66]).unwrap();
        }
        assert_eq!(procs.map(0..100, |n: u32| n + 1).unwrap().len(), 100);
        assert_eq!(procs.stats().started, 1);
        until(|| {
            let closed = |stranger: &mut TcpStream| {
                let mut all = Vec::new();
                stranger.read_to_end(&mut all).map_or(true, |count| count == 40)
            };
            strangers.iter_mut().take(25).all(closed)
        });
    }
}
