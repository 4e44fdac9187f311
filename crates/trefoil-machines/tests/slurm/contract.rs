//! What a pool promises, with workers on a cluster.

use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use rustix::process::Signal;
use trefoil::process::WorkerStdout;
use trefoil::{ProcessPool, ProcessPoolBuilder, SharedAtomics, TaskError, WorkerExit};

use crate::support::{self, Scratch, Test, forever, signal, tests, until};
use trefoil_machines::Slurm;

/// The variable with the file in which a helper process notes what runs.
const NOTES: &str = "TREFOIL_TEST_NOTES";
/// The variable with the directory in which a helper process has the files of its pool.
const FILES: &str = "TREFOIL_TEST_FILES";
/// The variable with the files through which an item and the test talk.
const MARKS: &str = "TREFOIL_TEST_MARKS";

pub(crate) fn helpers() {
    support::helper(&[
        ("driver", driver),
        ("queued", queued),
        ("copies", crate::copies::copies),
        ("sends", crate::copies::sends),
        ("cut", crate::cut::cut),
        ("without-slurm", crate::errors::without_slurm),
    ]);
}

/// A directory for the files of pools, which is removed when it is dropped.
pub(crate) struct PoolFolder(pub(crate) PathBuf);

impl PoolFolder {
    pub(crate) fn new() -> Self {
        static NUMBERS: AtomicU32 = AtomicU32::new(0); // no protocol
        let number = NUMBERS.fetch_add(1, Ordering::Relaxed);
        let unique = format!("trefoil-pools-{}-{number}", std::process::id());
        let directory = std::env::temp_dir().join(unique);
        std::fs::create_dir(&directory).unwrap();
        Self(directory)
    }

    pub(crate) fn slurm(&self, slurm: Slurm) -> Slurm {
        slurm.directory(&self.0).listen("127.0.0.1")
    }

    /// Both ways to start workers.
    pub(crate) fn both(&self) -> [Slurm; 2] {
        [self.slurm(Slurm::sbatch()), self.slurm(Slurm::srun())]
    }

    fn files(&self) -> usize {
        std::fs::read_dir(&self.0).unwrap().count()
    }
}

impl Drop for PoolFolder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn on(slurm: Slurm) -> ProcessPoolBuilder {
    ProcessPool::builder().launcher(slurm)
}

fn start_driver(folder: &PoolFolder, notes: &Scratch, marks: Option<&Scratch>) -> Child {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command
        .env(support::HELPER, "driver")
        .env(NOTES, notes.text())
        .env(FILES, &folder.0)
        .stdin(Stdio::null())
        .stdout(Stdio::piped());
    if let Some(marks) = marks {
        command.env(MARKS, marks.text());
    }
    command.spawn().unwrap()
}

/// Has two running workers, and notes their process ids; then prints the sum of a third call.
fn driver() {
    let files = std::env::var(FILES).unwrap();
    let slurm = Slurm::sbatch().directory(files).listen("127.0.0.1");
    let procs = on(slurm.nodes(3..=3)).build().unwrap();
    until(|| procs.worker_pids().len() == 3);
    let notes = std::env::var(NOTES).unwrap();
    let tasks: Vec<_> = (0..2).map(|_| procs.spawn(notes.clone(), hang)).collect();
    let marks = std::env::var(MARKS).ok();
    let items = (0..200u64).map(|n| (n, marks.clone().filter(|_| n == 50)));
    let sum: u64 = procs.map(items, one_waits).unwrap().into_iter().sum();
    println!("{sum}");
    drop(tasks);
}

/// Has a job that stays in Slurm's queue.
fn queued() {
    let files = std::env::var(FILES).unwrap();
    let slurm = Slurm::sbatch().directory(files).listen("127.0.0.1");
    let slurm = slurm.nodes(0..=1).per_worker(["--hold"]);
    let procs = on(slurm).build().unwrap();
    let _ = procs.spawn(1, slowly).join();
}

/// Notes its process and a child that it has started, and never ends.
fn hang(notes: String) -> u32 {
    #[allow(clippy::zombie_processes)]
    let child = Command::new("sleep").arg("1000").spawn().unwrap();
    support::note(&notes, u64::from(child.id()));
    support::note(&notes, u64::from(std::process::id()));
    // The process that holds it (`holder`).
    let holder = rustix::process::getppid().unwrap().as_raw_pid();
    support::note(&notes, u64::from(holder.cast_unsigned()));
    forever()
}

/// With a file: notes there that it runs, goes on when the test has answered, and notes that it has
/// run.
fn one_waits((n, marks): (u64, Option<String>)) -> u64 {
    if let Some(marks) = marks {
        support::note(&marks, 1);
        until(|| support::noted(&marks) == 2);
        support::note(&marks, 3);
    }
    slowly(n)
}

fn slowly(n: u64) -> u64 {
    std::thread::sleep(Duration::from_millis(5)); // work
    n
}

fn under_way(notes: &Scratch) -> Vec<u32> {
    until(|| notes.notes().len() == 6);
    let notes = notes.notes().into_iter();
    notes.map(|pid| u32::try_from(pid).unwrap()).collect()
}

/// Whether the process exists and is not a zombie.
fn lives(pid: u32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let state = stat
        .rsplit_once(") ")
        .and_then(|(_, rest)| rest.chars().next());
    state.is_some_and(|state| !matches!(state, 'Z' | 'X'))
}

fn death<T: std::fmt::Debug>(result: Result<T, TaskError>) -> WorkerExit {
    match result {
        Err(TaskError::WorkerDied(exit)) => *exit,
        other => panic!("{other:?}"),
    }
}

/// How many jobs the cluster has that have not ended.
pub(crate) fn jobs() -> usize {
    queue(&["--array", "--states=PD,R"]).lines().count()
}

/// What `squeue` says with these arguments.
fn queue(arguments: &[&str]) -> String {
    let mut squeue = Command::new("squeue");
    let listed = squeue.arg("--noheader").args(arguments).output().unwrap();
    String::from_utf8_lossy(&listed.stdout).into_owned()
}

/// The process of Slurm's that holds this job on its node.
fn daemon_of(job: &str) -> u32 {
    let is_its = |pid: &u32| {
        let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        line.starts_with(format!("slurmstepd: [{job}.").as_bytes())
    };
    let all = std::fs::read_dir("/proc").unwrap();
    let mut pids = all.filter_map(|entry| entry.unwrap().file_name().to_str()?.parse().ok());
    pids.find(is_its).unwrap()
}

fn scancel(which: &str) {
    assert!(
        Command::new("scancel")
            .arg(which)
            .status()
            .unwrap()
            .success()
    );
}

tests! {
    fn calls_run_on_the_nodes() {
        let folder = PoolFolder::new();
        for slurm in folder.both() {
            let begin = Instant::now();
            let procs = on(slurm.nodes(2..=2)).build().unwrap();
            until(|| procs.worker_pids().len() == 2);
            print!("({:?}) ", begin.elapsed());
            let squares = procs.map(0..20_000u64, |n| n * n).unwrap();
            assert!(squares.iter().enumerate().all(|(n, square)| *square == (n * n) as u64));
            let large = procs.spawn(vec![7u8; 20 << 20], |bytes: Vec<u8>| bytes).join().unwrap();
            assert!(large.len() == 20 << 20 && large.iter().all(|byte| *byte == 7));
            let pid = procs.spawn((), |()| std::env::var("SLURM_JOB_ID").unwrap()).join().unwrap();
            assert!(procs.worker_pids().contains(&pid.parse().unwrap()), "workers are called by their jobs' numbers");
            assert_eq!(procs.num_workers(), 2);
            drop(procs);
            assert_eq!(folder.files(), 0, "the pool's files are gone");
            until(|| jobs() == 0);
        }
    }

    fn a_job_whose_daemon_was_killed_ends_with_its_worker() {
        let folder = PoolFolder::new();
        for slurm in folder.both() {
            let procs = on(slurm.nodes(1..=1)).build().unwrap();
            let job = procs.spawn((), |()| std::env::var("SLURM_JOB_ID").unwrap()).join().unwrap();
            signal(daemon_of(&job), Signal::KILL);
            let died = procs.spawn((), |()| -> () { std::process::abort() }).join().unwrap_err();
            assert!(matches!(&died, TaskError::WorkerDied(exit) if exit.signal() == Some(6)), "{died}");
            // (Slurm itself notices it after five minutes.)
            until(|| !queue(&["--format=%A"]).lines().any(|id| id == job));
            assert_eq!(procs.spawn(1, |n: u8| n).join().unwrap(), 1, "another takes its place");
        }
    }

    fn variables_go_there_and_standard_output_elsewhere() {
        let folder = PoolFolder::new();
        let slurm = folder.slurm(Slurm::sbatch()).per_worker(["-c1"]);
        let procs = on(slurm).env("SONG", "it's $HOME \"x\"\n%").worker_stdout(WorkerStdout::Null).build().unwrap();
        // A worker's share is what its job has; Slurm's jobs have the environment of this process.
        let own = |name: &str, otherwise: &str| Ok(std::env::var(name).unwrap_or(otherwise.to_owned()));
        let threads = procs.spawn((), |()| std::env::var("OMP_NUM_THREADS").map_err(|_| ()));
        assert_eq!(threads.join().unwrap(), own("OMP_NUM_THREADS", "1"));
        let wide = on(folder.slurm(Slurm::srun()).per_worker(["-c2"])).build().unwrap();
        let threads = wide.spawn((), |()| std::env::var("TREFOIL_THREADS").map_err(|_| ()));
        assert_eq!(threads.join().unwrap(), own("TREFOIL_THREADS", "2"));
        drop(wide);
        let song = procs.spawn((), |()| { println!("noise"); std::env::var("SONG").unwrap() });
        assert_eq!(song.join().unwrap(), "it's $HOME \"x\"\n%");
        let atomics = SharedAtomics::<std::sync::atomic::AtomicU64>::new(1).unwrap();
        let refused = procs.spawn(atomics, |_| ()).join().unwrap_err();
        assert!(refused.to_string().contains("only bytes can be sent"), "{refused}");
    }

    fn a_secret_is_on_no_command_line() {
        let folder = PoolFolder::new();
        // A program of that name there is this script, which notes its arguments.
        let (bin, seen) = (folder.0.join("bin"), Scratch::new("slurm-lines"));
        std::fs::create_dir(&bin).unwrap();
        let watch = format!("#!/bin/sh\nprintf '%s\\n' \"$0 $*\" >>{}\nfor d in /usr/bin /bin; do [ ! -x $d/${{0##*/}} ] || exec $d/${{0##*/}} \"$@\"; done\n", seen.text());
        for name in ["env", "nice", "sh"] {
            std::fs::write(bin.join(name), &watch).unwrap();
            std::fs::set_permissions(bin.join(name), PermissionsExt::from_mode(0o700)).unwrap();
        }
        let path = format!("--export=ALL,PATH={}:/usr/bin:/bin", bin.display());
        for slurm in folder.both() {
            let procs = on(slurm.per_worker([&path])).env("SONG", "a secret of ours").build().unwrap();
            let song = procs.spawn((), |()| std::env::var("SONG").unwrap());
            assert_eq!(song.join().unwrap(), "a secret of ours");
        }
        let lines = std::fs::read_to_string(&seen.0).unwrap();
        assert!(lines.contains("/sh -c") && !lines.contains("secret"), "{lines}");
    }

    fn priorities_hold() {
        let folder = PoolFolder::new();
        let procs = on(folder.slurm(Slurm::srun())).build().unwrap();
        let (seen, marks) = (Scratch::new("slurm-urgent"), Scratch::new("slurm-begin"));
        let first = procs.spawn((1000, Some(marks.text())), one_waits);
        until(|| marks.notes() == [1]);
        let mark = procs.call(|(path, n): (String, u64)| support::note(&path, n)).chunk_size(1);
        let low: Vec<_> = (0..20).map(|n| mark.clone().priority(-1).spawn((seen.text(), n))).collect();
        let high: Vec<_> = (100..120).map(|n| mark.clone().priority(1).spawn((seen.text(), n))).collect();
        support::note(&marks.text(), 2);
        first.join().unwrap();
        low.into_iter().chain(high).for_each(|task| task.join().unwrap());
        // A few frames were sent before the others came.
        let seen = seen.notes();
        let last_high = seen.iter().rposition(|n| *n >= 100).unwrap();
        assert!(seen.len() == 40 && last_high < 35, "{seen:?}");
    }

    fn workers_come_with_the_work_and_go_without() {
        let folder = PoolFolder::new();
        for slurm in folder.both() {
            until(|| jobs() == 0); // of the test before
            let procs = on(slurm.nodes(0..=3).idle(Duration::from_millis(300))).build().unwrap();
            assert_eq!((procs.worker_pids().len(), jobs(), procs.num_workers()), (0, 0, 3));
            for round in 1..=2 {
                let scratch = Scratch::new("slurm-elastic");
                // Each waits for the two others, so there have to be three workers.
                let meet = |path: String| {
                    support::note(&path, 1);
                    while support::noted(&path) < 3 { std::thread::yield_now() }
                    std::process::id()
                };
                let mut pids = procs.map([scratch.text(), scratch.text(), scratch.text()], meet).unwrap();
                pids.sort_unstable();
                pids.dedup();
                assert_eq!(pids.len(), 3);
                until(|| procs.worker_pids().is_empty());
                until(|| jobs() == 0);
                let stats = procs.stats();
                assert_eq!((stats.started, stats.died), (3 * round, 0), "{stats:?}");
            }
        }
    }

    fn the_least_stay() {
        let folder = PoolFolder::new();
        let procs = on(folder.slurm(Slurm::srun()).nodes(1..=2).idle(Duration::from_millis(100))).build().unwrap();
        let scratch = Scratch::new("slurm-least");
        let meet = |path: String| {
            support::note(&path, 1);
            while support::noted(&path) < 2 { std::thread::yield_now() }
        };
        procs.map([scratch.text(), scratch.text()], meet).unwrap();
        until(|| procs.worker_pids().len() == 1);
        // Nothing else happens: the worker that is left gets work again, and no new one is started.
        assert_eq!(procs.spawn(6, |n: u64| n * 7).join().unwrap(), 42);
        assert_eq!(procs.stats().started, 2);
    }

    fn limits_may_be_endless() {
        let folder = PoolFolder::new();
        let slurm = folder.slurm(Slurm::srun()).nodes(0..=1).idle(Duration::MAX).patience(Duration::MAX);
        let procs = on(slurm).build().unwrap();
        for n in 0..3 {
            assert_eq!(procs.spawn(n, |n: u32| n + 1).join().unwrap(), n + 1);
        }
    }

    fn a_death_costs_what_ran_and_says_how() {
        let folder = PoolFolder::new();
        for slurm in folder.both() {
            let procs = on(slurm).build().unwrap();
            let exit = death(procs.spawn(3, |code: i32| -> () { std::process::exit(code) }).join());
            assert_eq!((exit.code(), exit.signal()), (Some(3), None), "{exit}");
            let exit = death(procs.spawn((), |()| -> () { eprintln!("alas"); std::process::abort() }).join());
            assert_eq!((exit.code(), exit.signal()), (None, Some(6)), "{exit}");
            assert!(exit.stderr_tail().contains("alas"), "{exit:?}");
            let kills = |n: u32| -> u32 {
                if n == 20 {
                    signal(std::process::id(), Signal::KILL);
                    forever::<()>();
                }
                n
            };
            let results = procs.map_each(0..50, kills);
            let lost: Vec<usize> = (0..50).filter(|n| results[*n].is_err()).collect();
            assert_eq!(lost, [20]);
            let late = procs.call(|()| -> () { forever() }).timeout(Duration::from_millis(50)).spawn(()).join();
            assert!(matches!(late, Err(TaskError::TimedOut(_))), "{late:?}");
            let panicked = procs.spawn((), |()| -> () { panic!("oh") }).join().unwrap_err();
            assert!(matches!(&panicked, TaskError::Panicked(_)), "{panicked:?}");
        }
    }

    fn children_end_with_their_worker() {
        let folder = PoolFolder::new();
        let procs = on(folder.slurm(Slurm::srun()).nodes(1..=1)).build().unwrap();
        let scratch = Scratch::new("slurm-children");
        let task = procs.spawn(scratch.text(), |path: String| -> () {
            #[allow(clippy::zombie_processes)]
            let child = Command::new("sleep").arg("1000").spawn().unwrap();
            support::note(&path, u64::from(child.id()));
            std::process::abort();
        });
        assert_eq!(death(task.join()).signal(), Some(6));
        let child = u32::try_from(scratch.notes()[0]).unwrap();
        until(|| !lives(child));
        assert_eq!(procs.spawn(6, |n: u64| n * 7).join().unwrap(), 42);
    }

    fn cancelling_one_job_costs_what_it_ran() {
        let folder = PoolFolder::new();
        let procs = on(folder.slurm(Slurm::sbatch()).nodes(2..=2)).build().unwrap();
        let scratch = Scratch::new("slurm-scancel");
        let task = procs.spawn(scratch.text(), |path: String| -> () {
            for name in ["SLURM_ARRAY_JOB_ID", "SLURM_ARRAY_TASK_ID"] {
                support::note(&path, std::env::var(name).unwrap().parse().unwrap());
            }
            forever::<()>();
        });
        until(|| scratch.notes().len() == 2);
        let others = procs.map_each(0..100u64, slowly);
        let [job, number] = scratch.notes()[..] else { unreachable!() };
        scancel(&format!("{job}_{number}"));
        let begin = Instant::now();
        let exit = death(task.join());
        print!("({:?}: {exit}) ", begin.elapsed());
        assert!(others.iter().all(Result::is_ok));
        assert_eq!(procs.map(0..100u64, slowly).unwrap().len(), 100);
    }

    fn cancelling_all_jobs_costs_what_had_begun() {
        let folder = PoolFolder::new();
        let procs = on(folder.slurm(Slurm::sbatch()).nodes(2..=2)).build().unwrap();
        let scratch = Scratch::new("slurm-scancel-all");
        let hang_first = |(path, n): (String, u64)| -> u64 {
            if n < 2 {
                support::note(&path, n);
                forever::<()>();
            }
            n
        };
        let items: Vec<_> = (0..200).map(|n| (scratch.text(), n)).collect();
        let tasks: Vec<_> = items.into_iter().map(|item| procs.spawn(item, hang_first)).collect();
        until(|| scratch.notes().len() == 2);
        scancel("--state=RUNNING");
        for (n, task) in tasks.into_iter().enumerate() {
            match n {
                0 | 1 => drop(death(task.join())),
                _ => assert_eq!(task.join().unwrap(), n as u64),
            }
        }
        assert_eq!(procs.stats().died, 2);
    }

    fn nothing_is_left_when_the_driver_is_killed() {
        let (folder, notes) = (PoolFolder::new(), Scratch::new("slurm-killed"));
        let mut driver = start_driver(&folder, &notes, None);
        let pids = under_way(&notes);
        assert!(pids.iter().all(|pid| lives(*pid)));
        driver.kill().unwrap();
        let begin = Instant::now();
        driver.wait().unwrap();
        until(|| !pids.iter().any(|pid| lives(*pid)));
        print!("({:?}) ", begin.elapsed());
        assert!(begin.elapsed() < Duration::from_secs(1));
        until(|| jobs() == 0);
        until(|| std::fs::read_dir(&folder.0).unwrap().count() == 0); // what its workers have printed
    }

    fn a_killed_driver_leaves_nothing_in_the_queue() {
        let folder = PoolFolder::new();
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.env(support::HELPER, "queued").env(FILES, &folder.0);
        let mut driver = command.spawn().unwrap();
        until(|| jobs() == 1);
        driver.kill().unwrap();
        let begin = Instant::now();
        driver.wait().unwrap();
        until(|| jobs() == 0);
        print!("({:?}) ", begin.elapsed());
        assert!(begin.elapsed() < Duration::from_secs(5));
    }

    fn a_driver_that_was_stopped_goes_on() {
        let folder = PoolFolder::new();
        let (notes, marks) = (Scratch::new("slurm-stopped"), Scratch::new("slurm-marks"));
        let driver = start_driver(&folder, &notes, Some(&marks));
        let pids = under_way(&notes);
        until(|| marks.notes() == [1]);
        signal(driver.id(), Signal::STOP);
        support::note(&marks.text(), 2);
        until(|| marks.notes() == [1, 2, 3]); // the answer goes to a driver that is stopped
        assert!(pids.iter().all(|pid| lives(*pid)));
        signal(driver.id(), Signal::CONT);
        let output = driver.wait_with_output().unwrap();
        assert_eq!(String::from_utf8_lossy(&output.stdout).trim(), "19900");
        until(|| !pids.iter().any(|pid| lives(*pid)));
    }

    fn the_example_runs_on_a_cluster() {
        let mut command = Command::new(support::example("on_machines"));
        let output = command.arg("slurm:2").output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(text.ends_with("\n78498 primes below a million\n"), "{output:?}");
    }
}
