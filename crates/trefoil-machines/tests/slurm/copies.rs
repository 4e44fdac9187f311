//! Executables that travel to the nodes (`Slurm::copy_executable`).

use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use trefoil::{PoolError, ProcessPool};
use trefoil_machines::Slurm;

use crate::contract::{PoolFolder, jobs};
use crate::errors::refused;
use crate::support::{self, Test, tests, until};

/// The variable with the directory in which a helper process has copies.
const COPIES: &str = "TREFOIL_TEST_COPIES";
/// The variable that says how a helper process starts workers.
const WAY: &str = "TREFOIL_TEST_WAY";

/// What stands for an `sbcast` that never ends. It leaves a note once the job waits for its copy.
const ENDLESS: &str = "[ \"$1\" = --version ] && exit
    [ -d \"${3%/*}\" ] || { echo 'sbcast: error: No such file or directory' >&2; exit 1; }
    >\"$TREFOIL_TEST_COPIES/sends\"
    sleep 1000 & wait";

/// Both ways to start workers, with copies of the executable in `directory`.
fn both(directory: &Path) -> [Slurm; 2] {
    [Slurm::sbatch(), Slurm::srun()]
        .map(|slurm| slurm.listen("127.0.0.1").copy_executable(directory))
}

/// The directory of the copies that are in `directory`.
fn ours(directory: &Path) -> PathBuf {
    directory.join(format!("trefoil-{}", rustix::process::getuid().as_raw()))
}

/// The file that a worker runs.
fn place(procs: &ProcessPool) -> PathBuf {
    let own = procs.spawn((), |()| {
        std::env::current_exe()
            .unwrap()
            .to_str()
            .unwrap()
            .to_owned()
    });
    own.join().unwrap().into()
}

fn names(directory: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(directory).unwrap();
    entries.map(|entry| entry.unwrap().path()).collect()
}

/// Starts a pool, and says why there is none, or which file its worker runs.
pub(crate) fn copies() {
    let own = std::env::current_exe().unwrap();
    if own.extension().is_some_and(|end| end == "gone") {
        std::fs::remove_file(own).unwrap();
    }
    for slurm in both(Path::new(&std::env::var(COPIES).unwrap())) {
        match ProcessPool::builder().launcher(slurm).build() {
            Ok(procs) => println!("{}", place(&procs).display()),
            Err(PoolError::Launcher(words)) => println!("{words}"),
            Err(error) => println!("{error:?}"),
        }
    }
}

/// Has a pool with a copy that does not come, until the test ends the pool or this process.
pub(crate) fn sends() {
    let folder = PathBuf::from(std::env::var(COPIES).unwrap());
    let [sbatch, srun] = both(&folder);
    let slurm = match &*std::env::var(WAY).unwrap() {
        "sbatch" => sbatch,
        _ => srun,
    };
    let before = support::census();
    let procs = ProcessPool::builder()
        .launcher(slurm.nodes(0..=1))
        .build()
        .unwrap();
    let task = procs.spawn((), |()| ());
    until(|| folder.join("end").exists());
    drop((task, procs));
    support::nothing_left_since(before);
    assert_eq!(left(&folder), [0; 0]);
}

/// Starts `sends`, and waits until the copy is under way.
fn sending(folder: &PoolFolder, way: &str) -> Child {
    let mut command = Command::new(std::env::current_exe().unwrap());
    let path = sbcast(folder, ENDLESS);
    command.env(support::HELPER, "sends").env("PATH", path);
    command.env(COPIES, &folder.0).env(WAY, way);
    command.env("HOME", &folder.0).stderr(Stdio::piped());
    let sender = command.spawn().unwrap();
    until(|| folder.0.join("sends").exists());
    sender
}

/// The processes here that `sends` has started, directly or not.
fn left(folder: &Path) -> Vec<u32> {
    let mut all = Vec::new();
    for process in std::fs::read_dir("/proc").unwrap().flatten() {
        let name = process.file_name();
        let Some(pid) = name.to_str().and_then(|name| name.parse().ok()) else {
            continue;
        };
        let variables = std::fs::read(process.path().join("environ")).unwrap_or_default();
        let has = |text: &str| {
            variables
                .split(|byte| *byte == 0)
                .any(|one| one.starts_with(text.as_bytes()))
        };
        let is_job = has("SLURM_JOB_ID=");
        if pid != std::process::id() && !is_job && has(&format!("{COPIES}={}", folder.display())) {
            all.push(pid);
        }
    }
    all
}

/// Makes `sbcast` this script. Returns the `PATH` on which it is found.
fn sbcast(folder: &PoolFolder, script: &str) -> String {
    let bin = folder.0.join("bin");
    std::fs::create_dir(&bin).unwrap();
    let file = bin.join("sbcast");
    std::fs::write(&file, format!("#!/bin/sh\n{script}\n")).unwrap();
    std::fs::set_permissions(file, PermissionsExt::from_mode(0o700)).unwrap();
    format!("{}:{}", bin.display(), std::env::var("PATH").unwrap())
}

/// What `copies` prints in a process that runs `program`, with `sbcast` being this script.
fn with(program: &Path, folder: &PoolFolder, script: Option<&str>) -> Vec<String> {
    let mut command = Command::new(program);
    if let Some(script) = script {
        command.env("PATH", sbcast(folder, script));
    }
    command
        .env(support::HELPER, "copies")
        .env(COPIES, &folder.0);
    let output = command.env("HOME", &folder.0).output().unwrap();
    let words = String::from_utf8(output.stdout).unwrap();
    assert_eq!(words.lines().count(), 2, "{words}");
    words.lines().map(str::to_owned).collect()
}

tests! {
    fn what_runs_is_a_copy_which_the_next_pool_finds() {
        let folder = PoolFolder::new();
        let mut first = None;
        for slurm in both(&folder.0).into_iter().chain(both(&folder.0)) {
            let begin = Instant::now();
            let procs = ProcessPool::builder().launcher(slurm.nodes(3..=3)).build().unwrap();
            print!("({:?}) ", begin.elapsed());
            until(|| procs.worker_pids().len() == 3);
            let copy = place(&procs);
            assert!(copy.starts_with(ours(&folder.0)), "{copy:?}");
            assert_eq!(procs.map(0..100u64, |n| n * n).unwrap()[9], 81);
            let inode = std::fs::metadata(&copy).unwrap().ino();
            assert_eq!(*first.get_or_insert(inode), inode, "it was copied again");
            let mode = std::fs::metadata(ours(&folder.0)).unwrap().mode();
            assert_eq!(mode & 0o777, 0o700);
            drop(procs);
            assert_eq!(names(&ours(&folder.0)).len(), 1);
            assert_eq!(names(copy.parent().unwrap()), [copy], "nothing else is left");
            until(|| jobs() == 0);
        }
    }

    fn a_program_whose_file_is_gone_runs_there() {
        let folder = PoolFolder::new();
        let program = folder.0.join("program.gone");
        std::fs::copy(std::env::current_exe().unwrap(), &program).unwrap();
        for copy in with(&program, &folder, None) {
            assert!(Path::new(&copy).starts_with(ours(&folder.0)), "{copy}");
        }
        assert!(!program.exists());
    }

    fn a_broken_copy_is_not_run_and_is_replaced() {
        let folder = PoolFolder::new();
        let procs = |slurm| ProcessPool::builder().launcher(slurm).build().unwrap();
        let [sbatch, srun] = both(&folder.0);
        let copy = place(&procs(srun.clone()));
        let own = std::fs::read(std::env::current_exe().unwrap()).unwrap();
        for slurm in [sbatch, srun] {
            // As many bytes, and it is known to be another one only by them.
            let ran = folder.0.join("ran");
            let mut wrong = format!("#!/bin/sh\n>{}\nexit 1\n", ran.display()).into_bytes();
            wrong.resize(own.len(), b'\n');
            until(|| jobs() == 0); // what runs cannot be written to
            std::fs::remove_file(&copy).unwrap();
            std::fs::write(&copy, wrong).unwrap();
            std::fs::set_permissions(&copy, PermissionsExt::from_mode(0o700)).unwrap();
            assert_eq!(place(&procs(slurm)), copy);
            assert!(!ran.exists(), "it was run");
            assert!(std::fs::read(&copy).unwrap() == own);
        }
    }

    fn a_directory_of_others_is_refused() {
        for which in 0..2 {
            let folder = PoolFolder::new();
            let elsewhere = folder.0.join("elsewhere");
            std::fs::create_dir(&elsewhere).unwrap();
            match which {
                0 => symlink(&elsewhere, ours(&folder.0)).unwrap(),
                _ => {
                    std::fs::create_dir(ours(&folder.0)).unwrap();
                    chown(ours(&folder.0), Some(65534), None).unwrap();
                }
            }
            for slurm in both(&folder.0) {
                let words = refused(slurm);
                assert!(words.contains("belongs to another user") && words.contains("`copy_executable`"), "{words}");
            }
            assert!(names(&elsewhere).is_empty());
        }
    }

    fn a_copy_that_cannot_be_sent_says_why() {
        let own = std::env::current_exe().unwrap();
        let folder = PoolFolder::new();
        let full = "[ \"$1\" = --version ] || { echo 'sbcast: error: REQUEST_FILE_BCAST(m1): Unspecified error' >&2; exit 1; }";
        for words in with(&own, &folder, Some(full)) {
            assert!(words.contains("is there room in") && words.contains("REQUEST_FILE_BCAST(m1)") && words.contains("copied to m"), "{words}");
        }
        let folder = PoolFolder::new();
        let other = "[ \"$1\" = --version ] && exit
            [ -d \"${3%/*}\" ] || { echo 'sbcast: error: No such file or directory' >&2; exit 1; } # it does not wait yet
            head -c $(($(wc -c <\"$2\"))) /dev/zero >\"$3\"";
        for words in with(&own, &folder, Some(other)) {
            assert!(words.contains("its SHA-256 is another"), "{words}");
        }
    }

    fn a_copy_under_way_ends_with_the_pool() {
        for way in ["sbatch", "srun"] {
            let folder = PoolFolder::new();
            let sender = sending(&folder, way);
            std::fs::write(folder.0.join("end"), "").unwrap();
            let output = sender.wait_with_output().unwrap();
            let words = String::from_utf8_lossy(&output.stderr);
            assert!(output.status.success(), "{words}");
        }
    }

    fn a_copy_under_way_ends_with_a_driver_that_is_killed() {
        for way in ["sbatch", "srun"] {
            let folder = PoolFolder::new();
            let mut sender = sending(&folder, way);
            assert!(left(&folder.0).len() >= 3, "`sends`, `sbcast` and its child");
            sender.kill().unwrap();
            let begin = Instant::now();
            sender.wait().unwrap();
            until(|| left(&folder.0).is_empty());
            print!("({:?}) ", begin.elapsed());
            assert!(begin.elapsed() < Duration::from_secs(1));
            until(|| jobs() == 0); // (that of `sbatch` would wait for its copy for two minutes)
            print!("({:?}) ", begin.elapsed());
        }
    }

    fn without_sbcast_there_is_no_pool() {
        let folder = PoolFolder::new();
        let bin = folder.0.join("some");
        std::fs::create_dir(&bin).unwrap();
        let output = Command::new(std::env::current_exe().unwrap())
            .env(support::HELPER, "copies").env(COPIES, &folder.0).env("PATH", bin).output().unwrap();
        let words = String::from_utf8_lossy(&output.stdout);
        assert!(words.contains("there is no `sbcast` here") && words.contains("slurm-client"), "{words}");
    }

    fn copies_go_to_a_whole_path() {
        let words = refused(Slurm::sbatch().listen("127.0.0.1").copy_executable("here"));
        assert!(words.contains("whole path"), "{words}");
    }
}
