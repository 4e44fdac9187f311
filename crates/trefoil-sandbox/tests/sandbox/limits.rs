//! Control groups: where the kernel has the controllers for version 2, limits and what becomes of
//! items that exceed them (`.ci/long cgroups` runs this program on such a kernel); elsewhere, and
//! there, that workers are in groups of their own, which end with them.

use crate::support::marks::{died, mark, marked, marked_pool};
use crate::support::{self, Test, forever, tests, until};

use std::fs;
use std::hint::black_box;
use std::io::{self, BufRead, Write};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use trefoil::{ProcessPool, TaskError};
use trefoil_sandbox::{Cpu, Limits, Sandbox, Wrapped};

/// The folder of the control group that a process is in, in version 2.
pub(crate) fn group_of(process: &str) -> Option<PathBuf> {
    let groups = fs::read_to_string(format!("/proc/{process}/cgroup")).ok()?;
    let own = groups
        .lines()
        .find_map(|line| line.strip_prefix("0::/"))?
        .to_owned();
    let mounts = fs::read_to_string("/proc/mounts").unwrap();
    let is_one = |line: &&str| line.split(' ').nth(2) == Some("cgroup2");
    let mount = mounts.lines().find(is_one)?.split(' ').nth(1)?.to_owned();
    Some(PathBuf::from(mount).join(own))
}

/// Why no groups can be made here, if so.
fn cannot() -> Option<String> {
    match ProcessPool::builder()
        .workers(1)
        .launcher(Limits::new())
        .build()
    {
        Ok(_) => None,
        Err(error) => Some(error.to_string()),
    }
}

/// Whether limits are kept here; if not, a message says so.
fn is_limited() -> bool {
    let all = Limits::new().memory(1 << 30).processes(100).cpu(1.0);
    match ProcessPool::builder().workers(1).launcher(all).build() {
        Ok(_) => true,
        Err(error) => {
            print!("({error}) ");
            assert!(std::env::var_os("TREFOIL_NEEDS_CGROUPS").is_none());
            false
        }
    }
}

/// What a worker's process knows of its group.
fn own_group(_: ()) -> PathBuf {
    group_of("self").unwrap()
}

/// A child that has more memory than it may.
fn overrun(_: ()) -> bool {
    let mut shell = Command::new("/bin/sh");
    let tail = "head -c 200000000 /dev/zero | tail -c 100000000 >/dev/null";
    shell
        .args(["-c", tail])
        .status()
        .is_ok_and(|status| status.success())
}

/// Makes processes as long as it can, and never ends.
fn bomb(_: ()) {
    loop {
        let mut child = Command::new("sleep");
        if child.arg("10000").stdin(Stdio::null()).spawn().is_err() {
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}

/// Uses all the processor time that there is, and never ends.
fn busy<T>(_: ()) -> T {
    loop {
        std::hint::spin_loop();
    }
}

/// Memory that no limit of a process counts.
fn fill_file(bytes: usize) -> usize {
    let file = rustix::fs::memfd_create("x", rustix::fs::MemfdFlags::CLOEXEC).unwrap();
    let mut file = fs::File::from(file);
    let block = vec![1_u8; 1 << 20];
    for _ in 0..bytes >> 20 {
        file.write_all(&block).unwrap();
    }
    bytes
}

/// Starts a process that leaves the worker's group of processes and its session.
fn leave(_: ()) {
    let mut leaves = Command::new("setsid");
    leaves
        .args(["--fork", "sleep", "10000"])
        .stdin(Stdio::null());
    assert!(leaves.status().unwrap().success());
}

/// A pool with processes that do not end by themselves.
fn parent() {
    let mark = std::env::var("WANTED").unwrap();
    let procs = marked_pool(Limits::new(), &mark)
        .workers(1)
        .build()
        .unwrap();
    let group = procs.spawn((), own_group).join().unwrap();
    let stops = procs.spawn((), |()| {
        leave(());
        let own = rustix::process::getpid();
        rustix::process::kill_process(own, rustix::process::Signal::STOP).unwrap();
        forever::<()>();
    });
    until(|| marked(&mark).len() == 2);
    println!("ready {}", group.parent().unwrap().display());
    drop(stops.join());
}

pub(crate) const HELPERS: &[(&str, fn())] = &[
    ("limits-parent", parent),
    ("limits-refused", || println!("{:?}", cannot())),
];

tests! {
    fn a_worker_and_what_it_starts_are_in_a_group_that_ends_with_it() {
        if let Some(why) = cannot() {
            print!("({why}) ");
            return;
        }
        let mark = mark();
        let procs = marked_pool(Limits::new(), &mark).workers(2).build().unwrap();
        assert_eq!(procs.stats().unenforced, [""; 0]);
        let leaf = procs.spawn((), own_group).join().unwrap();
        let own = group_of("self").unwrap();
        assert!(leaf.starts_with(&own) && leaf != own, "{leaf:?} in {own:?}");
        // Its descendants are in it, and die with it, wherever they have gone.
        let endless = |()| {
            leave(());
            forever::<()>();
        };
        let tasks = [procs.spawn((), endless), procs.spawn((), endless)];
        until(|| marked(&mark).len() == 4);
        for pid in marked(&mark) {
            let of = group_of(&pid.to_string()).unwrap();
            assert_eq!(of.parent(), leaf.parent(), "{pid}");
        }
        for task in tasks {
            assert!(task.cancel());
            assert!(matches!(task.join(), Err(TaskError::Cancelled)));
        }
        until(|| marked(&mark).len() <= 2);
        until(|| !leaf.exists());
        assert_eq!(procs.spawn(4, |n: u64| n + 1).join().unwrap(), 5);
        drop(procs);
        assert!(!leaf.parent().unwrap().exists());
        until(|| marked(&mark).is_empty());
    }

    fn groups_of_a_killed_parent_are_swept_and_those_of_others_are_not() {
        if cannot().is_some() {
            return;
        }
        let mark = mark();
        let living = ProcessPool::builder().workers(1).launcher(Limits::new()).build().unwrap();
        let lives = living.spawn((), own_group).join().unwrap();
        let mut parent = Command::new(std::env::current_exe().unwrap());
        parent.env(support::HELPER, "limits-parent").env("WANTED", &mark);
        parent.stdin(Stdio::null()).stdout(Stdio::piped());
        let mut parent = parent.spawn().unwrap();
        let mut lines = io::BufReader::new(parent.stdout.take().unwrap()).lines();
        let mut left = lines.find_map(|line| Some(line.unwrap().split_once("ready ")?.1.to_owned()));
        let left = PathBuf::from(left.take().unwrap());
        drop(ProcessPool::builder().workers(1).launcher(Limits::new()).build().unwrap());
        assert_eq!(marked(&mark).len(), 2, "their parent lives");
        parent.kill().unwrap();
        parent.wait().unwrap();
        assert!(left.exists());
        // (The one that has left its session, and the worker, which is stopped.)
        assert!(!marked(&mark).is_empty());
        drop(ProcessPool::builder().workers(1).launcher(Limits::new()).build().unwrap());
        until(|| marked(&mark).is_empty());
        assert!(!left.exists());
        assert_eq!(living.spawn((), own_group).join().unwrap(), lives);
    }

    fn a_sandbox_and_a_command_line_have_limits_too() {
        if cannot().is_some() {
            return;
        }
        let own = group_of("self").unwrap();
        let limits = Limits::new().sandbox(Sandbox::new());
        let procs = ProcessPool::builder().workers(1).launcher(limits).build().unwrap();
        let looks = |()| (fs::read("/etc/passwd").is_ok(), own_group(()));
        // (It sees the mounts of `/proc/self`.)
        let look = |()| {
            let groups = fs::read_to_string("/proc/self/cgroup").unwrap();
            (fs::read("/etc/passwd").is_ok(), groups)
        };
        let (reads, groups) = procs.spawn((), look).join().unwrap();
        assert!(!reads && groups.contains("/trefoil."), "{groups}");
        let limits = Limits::new().wrapped(Wrapped::new(["env", "SEEN=yes", "{exe}"]));
        let procs = ProcessPool::builder().workers(1).launcher(limits).build().unwrap();
        let (reads, group) = procs.spawn((), looks).join().unwrap();
        assert!(reads && group.starts_with(&own) && group != own);
        assert_eq!(procs.spawn((), |()| std::env::var("SEEN").ok()).join().unwrap().unwrap(), "yes");
    }

    fn what_cannot_be_limited_is_said() {
        let refused = |limits: Limits| {
            ProcessPool::builder().launcher(limits).build().unwrap_err().to_string()
        };
        let folder = refused(Limits::new().group("/tmp"));
        assert!(folder.contains("no control group of version 2"), "{folder}");
        let nowhere = refused(Limits::new().group("/no/such/group"));
        assert!(nowhere.contains("`/no/such/group`"), "{nowhere}");
        if cannot().is_some() {
            return;
        }
        for cpu in [Cpu::Share(0), Cpu::Share(10_001), Cpu::Quota(0.0), Cpu::Quota(f64::NAN)] {
            let wrong = refused(Limits::new().cpu(cpu));
            assert!(wrong.contains("processor time"), "{wrong}");
        }
        let few = refused(Limits::new().processes(1));
        assert!(few.contains("a limit of 1 processes is too low"), "{few}");
        if is_limited() {
            return;
        }
        let limits = || Limits::new().memory(1 << 30).swap(0).processes(100).cpu(0.5);
        let missing = refused(limits());
        for words in ["`memory`", "`pids`", "`cpu`", "systemd-run --user --scope", "best_effort"] {
            assert!(missing.contains(words), "{missing}");
        }
        let procs = ProcessPool::builder().workers(1).launcher(limits().best_effort());
        let procs = procs.build().unwrap();
        let missing = procs.stats().unenforced;
        assert!(missing.len() == 3 && missing[0].contains("`memory`"), "{missing:?}");
        assert_eq!(procs.spawn(4, |n: u64| n + 1).join().unwrap(), 5);
    }

    /// Nor are they moved.
    fn a_named_group_that_has_processes_is_refused() {
        if !is_limited() {
            return;
        }
        let group = group_of("self").unwrap().with_file_name(mark());
        fs::create_dir(&group).unwrap();
        let mut sleeps = Command::new("sleep").arg("10000").stdin(Stdio::null()).spawn().unwrap();
        let procs = group.join("cgroup.procs");
        fs::write(&procs, sleeps.id().to_string()).unwrap();
        let limits = Limits::new().memory(1 << 30).group(&group);
        let refused = ProcessPool::builder().launcher(limits).build().unwrap_err().to_string();
        assert!(refused.contains("has processes, which are not this program's to move"), "{refused}");
        let left = fs::read_to_string(&procs).unwrap();
        assert_eq!(left.trim(), sleeps.id().to_string());
        sleeps.kill().unwrap();
        sleeps.wait().unwrap();
        // Once it has none, it is used.
        let limits = || Limits::new().memory(1 << 30).group(&group);
        let procs = ProcessPool::builder().workers(1).launcher(limits()).build().unwrap();
        assert!(procs.spawn((), own_group).join().unwrap().starts_with(&group));
        drop(procs);
        until(|| fs::remove_dir(&group).is_ok());
    }

    fn another_user_without_a_group_is_told_how_to_get_one() {
        if !rustix::process::geteuid().is_root() || group_of("self").is_none() {
            return;
        }
        let Some(mut other) = crate::sandbox::as_another_user() else { return };
        let output = other.env(support::HELPER, "limits-refused").output().unwrap();
        let says = String::from_utf8(output.stdout).unwrap();
        assert!(says.contains("Permission denied") && says.contains("Delegate=yes"), "{says}");
    }

    /// A third of them: by a child's memory, by a fork bomb, by a busy loop.
    fn each_overrun_costs_one_item() {
        if !is_limited() {
            return;
        }
        let items = if std::env::var_os("TREFOIL_FULL").is_some() { 1000 } else { 60 };
        let mark = mark();
        let limits = Limits::new().memory(24 << 20).swap(0).processes(30);
        let procs = marked_pool(limits, &mark).workers(2).build().unwrap();
        let leaf = procs.spawn((), own_group).join().unwrap();
        let run = |n: u64| match n % 9 {
            0 => u64::from(overrun(())),
            3 => {
                bomb(());
                n
            }
            6 => busy(()),
            _ => n,
        };
        let call = procs.call(run);
        let ends = call.clone().timeout(Duration::from_millis(700));
        let kind = |n| if matches!(n % 9, 3 | 6) { &ends } else { &call };
        let tasks: Vec<_> = (0..items).map(|n| (n, kind(n).spawn(n))).collect();
        for (n, task) in tasks {
            match (n % 9, task.join()) {
                (0, Err(TaskError::WorkerDied(exit))) => assert!(exit.out_of_memory(), "{n}: {exit}"),
                (3 | 6, Err(TaskError::TimedOut(_))) => {}
                (0 | 3 | 6, other) => panic!("{n}: {other:?}"),
                (_, value) => assert_eq!(value.unwrap(), n),
            }
        }
        let stats = procs.stats();
        assert_eq!((stats.died, stats.timed_out), (items.div_ceil(3), (items + 5) / 9 + (items + 2) / 9));
        until(|| marked(&mark).len() <= 2);
        assert!(Command::new("true").status().unwrap().success());
        drop(procs);
        assert!(!leaf.parent().unwrap().exists());
        assert!(marked(&mark).is_empty());
    }

    fn memory_of_any_kind_counts() {
        if !is_limited() {
            return;
        }
        let limits = Limits::new().memory(24 << 20).swap(0);
        let procs = ProcessPool::builder().workers(1).launcher(limits).build().unwrap();
        let own = |bytes: usize| black_box(vec![1_u8; bytes]).len();
        for task in [procs.spawn(200 << 20, own), procs.spawn(200 << 20, fill_file)] {
            assert!(died(task.join()).out_of_memory());
        }
        // Who is killed by somebody else has not run out of memory.
        let kill = |()| {
            let own = rustix::process::getpid();
            rustix::process::kill_process(own, rustix::process::Signal::KILL).unwrap();
        };
        assert!(!died(procs.spawn((), kill).join()).out_of_memory());
        assert_eq!(procs.spawn(4, |n: u64| n + 1).join().unwrap(), 5);
    }

    fn a_fork_bomb_and_a_busy_loop_cost_one_item_each() {
        if !is_limited() {
            return;
        }
        let mark = mark();
        let procs = marked_pool(Limits::new().processes(30), &mark).workers(3).build().unwrap();
        let leaf = procs.spawn((), own_group).join().unwrap();
        let bomb = procs.spawn((), bomb);
        let busy = procs.spawn((), busy::<()>);
        until(|| marked(&mark).len() > 25);
        // (Each process counts, and the second thread of each worker.)
        assert!(marked(&mark).len() <= 30 + 2);
        assert_eq!(procs.spawn(4, |n: u64| n + 1).join().unwrap(), 5);
        assert!(Command::new("true").status().unwrap().success());
        for task in [bomb, busy] {
            assert!(task.cancel());
            assert!(matches!(task.join(), Err(TaskError::Cancelled)));
        }
        until(|| marked(&mark).len() <= 3);
        drop(procs);
        assert!(!leaf.parent().unwrap().exists());
        until(|| marked(&mark).is_empty());
    }

    fn a_quota_is_kept() {
        if !is_limited() {
            return;
        }
        let limits = Limits::new().cpu(0.1);
        let procs = ProcessPool::builder().workers(1).launcher(limits).build().unwrap();
        let spin = |()| {
            let begin = Instant::now();
            while begin.elapsed() < Duration::from_secs(2) {}
            let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
            (Duration::new(time.tv_sec as u64, time.tv_nsec as u32), begin.elapsed())
        };
        let (used, passed) = procs.spawn((), spin).join().unwrap();
        assert!(used < passed / 2, "{used:?} in {passed:?}"); // (where a processor is emulated it may stand still)
    }
}
