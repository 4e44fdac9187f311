//! Why there are no workers: each error says what to do.

use std::io::{ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::ops::RangeInclusive;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use trefoil::{PoolError, ProcessPool, TaskError};
use trefoil_machines::Slurm;

use crate::contract::PoolFolder;
use crate::support::{self, Scratch, Test, tests, until};

pub(crate) fn refused(slurm: Slurm) -> String {
    match ProcessPool::builder().launcher(slurm).build() {
        Err(PoolError::Launcher(words)) => words,
        other => panic!("{other:?}"),
    }
}

/// A port of this machine that is not in use at this moment.
fn free_port() -> u16 {
    let own = TcpListener::bind("127.0.0.1:0").unwrap();
    own.local_addr().unwrap().port()
}

/// Asserts that the message contains all of these.
#[track_caller]
fn has(words: &str, all: &[&str]) {
    assert!(all.iter().all(|some| words.contains(some)), "{words}");
}

fn program(folder: &PoolFolder, name: &str, bytes: &[u8]) -> PathBuf {
    let path = folder.0.join(name);
    std::fs::write(&path, bytes).unwrap();
    std::fs::set_permissions(&path, PermissionsExt::from_mode(0o700)).unwrap();
    path
}

/// This program as another build: the build id in its notes is another one.
fn another_build(folder: &PoolFolder) -> PathBuf {
    let mut bytes = std::fs::read(std::env::current_exe().unwrap()).unwrap();
    let note = b"\x14\0\0\0\x03\0\0\0GNU\0";
    let at = bytes
        .windows(note.len())
        .position(|some| some == note)
        .unwrap();
    bytes[at + note.len()] ^= 1;
    program(folder, "skewed", &bytes)
}

/// Says why there are no workers, where Slurm's commands are not found.
pub(crate) fn without_slurm() {
    for slurm in [Slurm::sbatch(), Slurm::srun()] {
        println!("{}", refused(slurm.listen("127.0.0.1")));
    }
}

tests! {
    fn no_slurm_here() {
        let folder = PoolFolder::new();
        let mut command = std::process::Command::new(std::env::current_exe().unwrap());
        let output = command.env(support::HELPER, "without-slurm").env("PATH", &folder.0).env("HOME", &folder.0).output().unwrap();
        let words = String::from_utf8_lossy(&output.stdout);
        has(&words, &["there is no `sbatch` here", "there is no `srun` here", "apt install slurm-client"]);
    }

    fn what_slurm_refuses() {
        let folder = PoolFolder::new();
        for slurm in folder.both() {
            has(&refused(slurm.clone().per_worker(["--partition=nowhere"])), &["name a partition", "sinfo"]);
            has(&refused(slurm.clone().per_worker(["--mem=1000G"])), &["ask for less", "per_worker"]);
            has(&refused(slurm.per_worker(["--nonsense"])), &["does not take one of the options"]);
        }
        assert_eq!(std::fs::read_dir(&folder.0).unwrap().count(), 0);
    }

    fn one_bad_node_fails_no_call() {
        let folder = PoolFolder::new();
        let own = std::env::current_exe().unwrap();
        let marks = Scratch::new("slurm-bad-node");
        // The first job ends before it has called back; the others call once it has.
        let script = format!(
            "#!/bin/sh\n[ \"$SLURM_ARRAY_TASK_ID\" != 0 ] || {{ echo 1 >>{marks}; exit 1; }}\n\
             until [ -s {marks} ]; do sleep 0.1; done\nexec {} \"$@\"\n",
            own.display(),
            marks = marks.text(),
        );
        let script = program(&folder, "some", script.as_bytes());
        let slurm = folder.slurm(Slurm::sbatch()).executable(script).nodes(3..=3);
        let procs = ProcessPool::builder().launcher(slurm).build().unwrap();
        assert_eq!(procs.map(0..30u64, |n| n + 1).unwrap(), (1..31).collect::<Vec<_>>());
        assert_ne!(std::fs::metadata(marks.text()).unwrap().len(), 0);
    }

    fn a_job_that_runs_and_says_nothing_is_replaced() {
        if std::env::var_os("TREFOIL_FULL").is_none() {
            return print!("(skipped: it takes half a minute; `TREFOIL_FULL=1`) ");
        }
        let own = std::env::current_exe().unwrap();
        for slurm in [Slurm::sbatch(), Slurm::srun()] {
            let folder = PoolFolder::new();
            let first = folder.0.join("first");
            let script = format!(
                "#!/bin/sh\nmkdir {} 2>/dev/null && exec sleep 1000\nexec {} \"$@\"\n",
                first.display(),
                own.display(),
            );
            let script = program(&folder, "some", script.as_bytes());
            let slurm = folder.slurm(slurm).executable(script).nodes(2..=2);
            let slurm = slurm.patience(Duration::from_secs(60));
            let procs = ProcessPool::builder().launcher(slurm).build().unwrap();
            until(|| procs.worker_pids().len() == 2);
            assert_eq!(procs.map(0..30u64, |n| n + 1).unwrap(), (1..31).collect::<Vec<_>>());
        }
    }

    fn a_job_that_never_starts() {
        let folder = PoolFolder::new();
        for slurm in folder.both() {
            let slurm = slurm.per_worker(["--partition=closed"]).patience(Duration::from_millis(700));
            has(&refused(slurm.clone()), &["PENDING", "PartitionDown", "`patience`"]);
            // Where Slurm is not asked before there is work, the error is that of the work.
            let procs = ProcessPool::builder().launcher(slurm.nodes(0..=2)).build().unwrap();
            let Err(TaskError::WorkerDied(exit)) = procs.spawn((), |()| ()).join() else { panic!("it ran") };
            has(&exit.to_string(), &["PartitionDown"]);
        }
    }

    fn another_build_is_refused() {
        let folder = PoolFolder::new();
        for slurm in folder.both() {
            has(&refused(slurm.executable(another_build(&folder))), &["another build"]);
        }
    }

    fn an_executable_that_is_not_there() {
        let folder = PoolFolder::new();
        for slurm in folder.both() {
            has(&refused(slurm.executable("/nowhere/program")), &["/nowhere/program", "share"]);
        }
    }

    fn a_wrong_key() {
        let folder = PoolFolder::new();
        let own = std::env::current_exe().unwrap();
        let script = format!("#!/bin/sh\nexec {} <<END\n{}\nEND\n", own.display(), "00".repeat(32));
        let script = program(&folder, "forger", script.as_bytes());
        for slurm in folder.both() {
            has(&refused(slurm.executable(&script)), &["does not have the", "key"]);
        }
    }

    fn an_address_that_the_nodes_do_not_reach() {
        has(&refused(Slurm::sbatch().listen("0.0.0.0")), &["one address"]);
    }

    fn fewer_workers_than_the_least_are_refused() {
        let folder = PoolFolder::new();
        let cases = [
            (RangeInclusive::new(5, 10), Some(2), &["5..=10", "`workers(2)`", "2 at most"][..]),
            (RangeInclusive::new(3, 1), None, &["3..=1", "1 at most"]),
        ];
        for (nodes, workers, words) in cases {
            let builder = ProcessPool::builder().launcher(folder.slurm(Slurm::sbatch()).nodes(nodes));
            let builder = match workers {
                Some(workers) => builder.workers(workers),
                None => builder,
            };
            match builder.build() {
                Err(PoolError::Launcher(error)) => has(&error, words),
                other => panic!("{other:?}"),
            }
        }
        assert_eq!(std::fs::read_dir(&folder.0).unwrap().count(), 0);
    }

    fn a_name_that_no_shell_takes() {
        let folder = PoolFolder::new();
        let builder = ProcessPool::builder().launcher(folder.slurm(Slurm::sbatch())).env("a.b", "1");
        let Err(PoolError::Launcher(words)) = builder.build() else { panic!("it was built") };
        has(&words, &["`a.b`", "letters, digits"]);
    }

    fn strangers_who_dial_are_nobody() {
        let folder = PoolFolder::new();
        let port = free_port();
        let slurm = Slurm::sbatch().directory(&folder.0).listen(format!("127.0.0.1:{port}"));
        let procs = ProcessPool::builder().launcher(slurm).build().unwrap();
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
                stranger.read_to_end(&mut all).map_or(true, |count| count == 0)
            };
            strangers.iter_mut().take(25).all(closed)
        });
    }

    /// More silent connections than a pool keeps at once: a worker can connect all the same.
    fn silent_strangers_keep_no_worker_out() {
        let folder = PoolFolder::new();
        let port = free_port();
        let slurm = Slurm::srun().directory(&folder.0).listen(format!("127.0.0.1:{port}"));
        let procs = ProcessPool::builder().launcher(slurm.nodes(0..=1).idle(Duration::from_millis(10))).build().unwrap();
        // The workers have five seconds. A busy machine may start one later than that: then once
        // more.
        until(|| {
            until(|| procs.worker_pids().is_empty());
            let strangers: Vec<TcpStream> = (0..300).map(|_| TcpStream::connect(("127.0.0.1", port)).unwrap()).collect();
            // So many have been accepted that the first had to go.
            assert_eq!((&strangers[43]).read(&mut [0]).unwrap_or(0), 0);
            let mut last = &strangers[299];
            assert_eq!(procs.spawn(6, |n: u64| n * 7).join().unwrap(), 42);
            last.set_nonblocking(true).unwrap();
            matches!(last.read(&mut [0]), Err(error) if error.kind() == ErrorKind::WouldBlock)
        });
    }

    fn what_was_left_long_ago_goes() {
        let folder = PoolFolder::new();
        let long_ago = SystemTime::now() - Duration::from_secs(31 * 86_400);
        for (name, written) in [
            ("program-0123abcd.7_0", long_ago),
            ("program-0123abcd.s1", long_ago),
            ("program-0123abcd.7_1", SystemTime::now()),
            ("notes.txt", long_ago),
        ] {
            let file = std::fs::File::create(folder.0.join(name)).unwrap();
            file.set_modified(written).unwrap();
        }
        drop(ProcessPool::builder().launcher(folder.slurm(Slurm::sbatch()).nodes(0..=1)).build().unwrap());
        let left = std::fs::read_dir(&folder.0).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let mut left: Vec<String> = left.collect();
        left.sort();
        assert_eq!(left, ["notes.txt", "program-0123abcd.7_1"]);
    }
}
