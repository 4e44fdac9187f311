//! The launchers of `examples/`, with accidents: each item is answered or blamed on a death, none
//! runs twice, and nothing is left behind.
//!
//! What this machine has no tool for, or no right to do, is left out, and says so. A run takes a
//! sample: `TREFOIL_KILLS=500` kills so many workers of each, with 10,000 items (`.ci/long
//! machines`).
#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::print_stdout,
    clippy::print_stderr
)] // a program, not the crate

#[allow(dead_code)]
#[path = "../../examples/another_user.rs"]
mod another_user;
#[allow(dead_code)]
#[path = "../../examples/container.rs"]
mod container;
#[allow(dead_code)]
#[path = "../../examples/namespace.rs"]
mod namespace;
#[path = "../../../../tests/support/mod.rs"]
mod support;

use std::collections::HashSet;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use trefoil::process::launch::Launcher;
use trefoil::{ProcessPool, TaskError};

use support::{Dice, Scratch, Test, kill, kills, note, tests, until};

/// The variable that marks the processes of one pool.
const MARK: &str = "TREFOIL_TEST_MARK";

/// What this machine's podman may need: a runtime for its control groups, and limits that it may
/// set.
const CONTAINERS_CONF: &str = "[engine]\nruntime = \"runc\"\ncgroup_manager = \"cgroupfs\"\n\
    [containers]\ndefault_ulimits = [\"nofile=1024:4096\", \"nproc=4096:4096\"]\n";

fn main() {
    trefoil::init();
    // (An engine reads the variable when it starts, so it is set before there are threads.)
    let conf = Scratch::new("containers-conf");
    std::fs::write(&conf.0, CONTAINERS_CONF).unwrap();
    if std::env::var_os("CONTAINERS_CONF").is_none()
        && !podman()
            .arg("true")
            .output()
            .is_ok_and(|tried| tried.status.success())
    {
        let mut again = Command::new(std::env::current_exe().unwrap());
        again
            .args(std::env::args_os().skip(1))
            .env("CONTAINERS_CONF", &conf.0);
        let status = again.status().unwrap();
        drop(conf);
        std::process::exit(status.code().unwrap_or(101));
    }
    drop(conf);
    support::main(&[TESTS]);
}

/// Runs a program in a container with this machine's own files.
fn podman() -> Command {
    let mut command = Command::new("podman");
    command.args(["run", "--rm", "--network=none", "--rootfs", "/:O"]);
    command.stdin(Stdio::null()).stdout(Stdio::null());
    command
}

/// The processes with this mark that run this program.
fn marked(mark: &str) -> Vec<u32> {
    let wanted = format!("{MARK}={mark}");
    let own = std::env::current_exe().unwrap();
    let has = |pid: &u32| {
        let all = std::fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
        let runs = std::fs::read_link(format!("/proc/{pid}/exe")).unwrap_or_default();
        runs.file_name() == own.file_name()
            && all
                .split(|byte| *byte == 0)
                .any(|one| one == wanted.as_bytes())
    };
    let all = std::fs::read_dir("/proc").unwrap().flatten();
    let pids = all.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    pids.filter(has).collect()
}

/// Notes that it runs, and works.
fn work((id, micros, notes): (u64, u64, String)) -> u64 {
    note(&notes, id);
    let begin = Instant::now();
    while begin.elapsed() < Duration::from_micros(micros) {
        std::thread::yield_now();
    }
    id
}

/// At least 20 items for each kill, until there were so many kills.
fn accidents(name: &str, launcher: impl Launcher, notes: &Scratch) {
    let (mark, kills) = (format!("{name}-{}", std::process::id()), kills());
    let procs = ProcessPool::builder()
        .launcher(launcher)
        .workers(4)
        .env(MARK, &mark);
    let procs = procs.build().unwrap();
    let (over, killed) = (AtomicBool::new(false), AtomicU64::new(0));
    let (mut answers, mut blamed, mut next) = (0, 0, 0);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut dice = Dice(0x5eed ^ kills);
            while killed.load(Ordering::Relaxed) < kills && !over.load(Ordering::Relaxed) {
                let there = marked(&mark);
                if !there.is_empty() {
                    kill(there[dice.roll(there.len() as u64) as usize]);
                    killed.fetch_add(1, Ordering::Relaxed);
                }
                std::thread::sleep(Duration::from_millis(dice.roll(12)));
            }
        });
        while next < 20 * kills || killed.load(Ordering::Relaxed) < kills {
            let some = next..next + 200;
            let args = some.clone().map(|id| (id, id % 7 * 60, notes.text()));
            for (id, end) in some.clone().zip(procs.map_each(args, work)) {
                match end {
                    Ok(answer) => answers += u64::from(answer == id),
                    Err(TaskError::WorkerDied(_)) => blamed += 1,
                    Err(other) => panic!("{name}: {other}"),
                }
            }
            next = some.end;
        }
        over.store(true, Ordering::Relaxed);
    });
    let died = procs.stats().died;
    drop(procs);
    println!("{name}: {next} items, {kills} kills, {died} workers died, {blamed} items blamed");
    assert_eq!(answers + blamed, next, "{name}: some are lost");
    assert!(died > 0 && blamed > 0, "{name}: these were no accidents");
    let (all, mut once) = (notes.notes(), HashSet::new());
    assert!(
        all.iter().all(|id| once.insert(*id)),
        "{name}: some ran twice"
    );
    assert!(once.len() as u64 >= answers);
    until(|| marked(&mark).is_empty());
}

/// Whether a command line ends well here; otherwise says what is left out.
fn can(mut command: Command) -> bool {
    let tried = command.stdin(Stdio::null()).output();
    let why = match tried {
        Ok(output) if output.status.success() => return true,
        Ok(output) => String::from_utf8_lossy(&output.stderr).trim().to_owned(),
        Err(error) => error.to_string(),
    };
    print!("(skipped: `{}`: {why}) ", command.get_program().display());
    false
}

tests! {
    fn containers() {
        if !can({ let mut podman = podman(); podman.arg("true"); podman }) {
            return;
        }
        let notes = Scratch::new("launchers-containers");
        let shared = format!("{0}:{0}", notes.text());
        let options = ["-v", &shared, "--rootfs", "/:O"].map(str::to_owned);
        accidents("containers", container::Container::new("podman".to_owned(), options), &notes);
        // No container is left, nor what was being made.
        until(|| {
            let all = Command::new("podman").args(["ps", "-aq"]).output().unwrap();
            all.stdout.is_empty()
        });
    }

    fn namespaces() {
        let mut unshare = Command::new("unshare");
        unshare.args(["--map-root-user", "--net", "--pid", "--fork", "--mount-proc", "true"]);
        if can(unshare) {
            let notes = Scratch::new("launchers-namespaces");
            accidents("namespaces", namespace::Namespace::default(), &notes);
        }
    }

    fn another_user() {
        let own = std::env::current_exe().unwrap();
        let mut setpriv = Command::new("setpriv");
        setpriv.args(["--reuid=65534", "--regid=65534", "--clear-groups", "test", "-x"]).arg(&own);
        if can(setpriv) {
            let notes = Scratch::new("launchers-user");
            let open = std::fs::Permissions::from_mode(0o666);
            std::fs::set_permissions(Path::new(&notes.text()), open).unwrap();
            accidents("another user", another_user::another_user(65534), &notes);
        }
    }
}
