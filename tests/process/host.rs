//! Hostile host programs: interrupted all the time, without standard streams or a console, out of
//! descriptors, replaced on disk, held up at their start, ended at once, large; with other rights,
//! other threads, or started through the dynamic loader.
//!
//! Each case is a helper: a separate process, which may be broken.
#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::print_stdout,
    clippy::print_stderr
)] // a program, not the crate

use crate::support;

#[cfg(target_os = "linux")]
use std::fs::File;
#[cfg(target_os = "linux")]
use std::io::Write;
#[cfg(unix)]
use std::net::{TcpListener, TcpStream};
#[cfg(unix)]
use std::os::fd::OwnedFd;
#[cfg(unix)]
use std::os::unix::net::UnixStream;
#[cfg(unix)]
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Command, Stdio, abort};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

#[cfg(unix)]
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use support::{
    ABORTED, Scratch, Test, census, end_of, forever, is_there, kill, pool, run_helper,
    start_helper, tests, until,
};
use trefoil::{Bulk, PoolError, Process, ProcessPool, Shared, Task, TaskError};

pub(crate) fn helpers() {
    support::helper(&[
        ("replaced", replaced),
        ("hasty", hasty),
        ("held", held),
        ("quarantined", quarantined),
        ("forbidden", forbidden),
        ("large", large),
        ("panics", panics),
        ("elsewhere", elsewhere),
        ("addressed", addressed),
        #[cfg(windows)]
        ("lonely", lonely),
        #[cfg(windows)]
        ("pressed", pressed),
        #[cfg(windows)]
        ("waits", waits),
        #[cfg(windows)]
        ("ending", ending),
        #[cfg(windows)]
        ("unemployed", unemployed),
        #[cfg(unix)]
        ("interrupted", interrupted),
        #[cfg(unix)]
        ("streamless", streamless),
        #[cfg(unix)]
        ("poor", poor),
        #[cfg(target_os = "linux")]
        ("capable", capable),
        #[cfg(target_os = "linux")]
        ("deserted", deserted),
        #[cfg(target_os = "linux")]
        ("strict", strict),
        #[cfg(unix)]
        ("loaded", loaded),
        #[cfg(unix)]
        ("late", late),
    ]);
}

/// Has workers write where nothing is read.
fn talks_to_nobody(procs: &ProcessPool) {
    procs
        .spawn((), |()| {
            println!("heard by nobody");
            eprintln!("nor this");
        })
        .join()
        .unwrap();
    assert_eq!(Process::spawn(1, |n: u32| n).unwrap().join().unwrap(), 1);
}

/// Checks that a pool works, with a few calls of each kind.
fn works(procs: &ProcessPool) {
    assert!(
        procs
            .map(0..20_000u64, |n| n + 1)
            .unwrap()
            .into_iter()
            .eq(1..20_001)
    );
    let bulk = Bulk::from((0..3_000_000u32).collect::<Vec<_>>());
    assert!(
        procs
            .spawn(bulk.clone(), |bulk: Bulk<u32>| bulk)
            .join()
            .unwrap()
            == bulk
    );
    let shared = Shared::from([1u8, 2, 3]);
    assert_eq!(
        procs
            .spawn(shared, |s: Shared<u8>| (s.len(), s))
            .join()
            .unwrap()
            .0,
        3
    );
    let died = procs.spawn((), |()| -> () { abort() }).join();
    assert!(matches!(died, Err(TaskError::WorkerDied(exit)) if end_of(&exit) == ABORTED));
    let late = procs
        .call(|()| forever::<()>())
        .timeout(Duration::from_millis(20))
        .spawn(());
    assert!(matches!(late.join(), Err(TaskError::TimedOut(_))));
    assert_eq!(
        procs.imap(0..500u32, |n| n).filter_map(Result::ok).count(),
        500
    );
}

#[cfg(unix)]
static INTERRUPTIONS: AtomicU64 = AtomicU64::new(0);

#[cfg(unix)]
extern "C" fn interruption(_: libc::c_int) {
    INTERRUPTIONS.fetch_add(1, Ordering::Relaxed);
}

/// From now on this process is interrupted every fifth of a millisecond, and no system call is
/// restarted.
#[cfg(unix)]
#[allow(unsafe_code)]
fn storm(_: ()) {
    // SAFETY: all zero is a valid `sigaction`: no flags, an empty mask.
    let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
    let handler: extern "C" fn(libc::c_int) = interruption;
    action.sa_sigaction = handler as libc::sighandler_t;
    // SAFETY: the handler only counts.
    let set = unsafe { libc::sigaction(libc::SIGALRM, &raw const action, std::ptr::null_mut()) };
    assert_eq!(set, 0);
    let often = libc::timeval {
        tv_sec: 0,
        tv_usec: 200,
    };
    let timer = libc::itimerval {
        it_interval: often,
        it_value: often,
    };
    // SAFETY: it reads the timer and writes nothing.
    let set = unsafe { libc::setitimer(libc::ITIMER_REAL, &raw const timer, std::ptr::null_mut()) };
    assert_eq!(set, 0);
}

#[cfg(unix)]
fn interrupted() {
    trefoil::init();
    storm(());
    let builder = ProcessPool::builder().workers(2).initializer((), storm);
    let procs = builder.build().unwrap();
    works(&procs);
    let seen = procs.spawn((), |()| {
        until(|| INTERRUPTIONS.load(Ordering::Relaxed) > 100);
        let process = Process::spawn(20u32, |n| n + 1).unwrap();
        process.join().unwrap()
    });
    assert_eq!(seen.join().unwrap(), 21);
    until(|| INTERRUPTIONS.load(Ordering::Relaxed) > 100);
    drop(procs);
    let left = census();
    assert!(!left.2, "no child is left");
}

/// Closes some of its standard streams, as its environment says.
#[cfg(unix)]
#[allow(unsafe_code)]
fn streamless() {
    trefoil::init();
    let which: i32 = std::env::var("CLOSED").unwrap().parse().unwrap();
    for descriptor in (0..3).filter(|n| which & 1 << n != 0) {
        // SAFETY: no code here uses the descriptor after this.
        drop(unsafe { <OwnedFd as std::os::fd::FromRawFd>::from_raw_fd(descriptor) });
    }
    let procs = pool(2);
    // None of the pool's descriptors has the number of a standard stream, to which messages of
    // workers are written.
    for descriptor in (0..3).filter(|n| which & 1 << n != 0) {
        let open = std::fs::read_link(format!("/proc/self/fd/{descriptor}")).unwrap();
        assert_eq!(open.to_str(), Some("/dev/null"));
    }
    works(&procs);
    // A worker's streams are like its parent's, or empty.
    let open = procs.spawn((), |()| std::fs::read_link("/proc/self/fd/0").unwrap());
    assert_eq!(open.join().unwrap().to_str(), Some("/dev/null"));
    talks_to_nobody(&procs);
}

#[cfg(unix)]
fn limit(current: u64) -> u64 {
    let before = getrlimit(Resource::Nofile);
    let maximum = before.maximum;
    let current = Some(current);
    setrlimit(Resource::Nofile, Rlimit { current, maximum }).unwrap();
    before.current.unwrap_or(1024)
}

/// Has a pool, and then no descriptors to replace its workers: one at most, or none. (Fewer than
/// the driver waits for: `poll` would refuse so many.)
#[cfg(unix)]
fn poor() {
    trefoil::init();
    for most in [1, 0] {
        let procs = pool(2);
        procs.map(0..100, |n: u32| n).unwrap();
        let plenty = limit(most);
        let forever = procs.call(|()| forever::<()>());
        let late = forever.clone().timeout(Duration::from_millis(10)).spawn(());
        assert!(matches!(late.join(), Err(TaskError::TimedOut(_))));
        let pids = procs.worker_pids();
        let tasks: Vec<Task<()>> = (0..6).map(|_| forever.spawn(())).collect();
        until(|| procs.stats().busy > 0);
        pids.iter()
            .filter(|pid| **pid != 0)
            .for_each(|pid| kill(*pid));
        // No call is left waiting, and those that waited get an error with the reason.
        let mut told = 0;
        for task in tasks {
            let Err(TaskError::WorkerDied(exit)) = task.join() else {
                panic!("it cannot have run")
            };
            told += u32::from(exit.to_string().contains("could not be started"));
        }
        assert!(told >= 4, "{told}");
        // Each item that could not begin says which it is, and why.
        let lost: Vec<Result<(), TaskError>> = procs.map_each(0..4, |_: u32| abort());
        for (index, result) in lost.iter().enumerate() {
            let error = result.as_ref().unwrap_err();
            assert_eq!(error.item(), Some(index), "{error}");
            let no_process = format!("item {index}: a worker process could not be started");
            let died = format!("item {index}: worker process");
            let text = error.to_string();
            assert!(
                text.starts_with(&no_process) || text.starts_with(&died),
                "{text}"
            );
            assert!(!text.contains("process 0 "), "{text}");
        }
        limit(plenty);
        let works = procs.map(0..100, |n: u32| n).unwrap().len();
        assert_eq!(works, 100, "as before");
        limit(most);
        drop(procs);
        limit(plenty);
    }
}

/// Is replaced by another program while it runs.
fn replaced() {
    trefoil::init();
    let own = std::env::current_exe().unwrap();
    // (On Windows a file that runs cannot be removed, but renamed.)
    let aside = own.with_extension("aside");
    std::fs::rename(&own, &aside).unwrap();
    std::fs::write(&own, "#!/bin/sh\nexit 77\n").unwrap();
    let _ = std::fs::remove_file(aside);
    if support::PORT {
        // The program is found by its path, where there is another program now.
        let refused = ProcessPool::with_workers(2).unwrap_err().to_string();
        assert!(refused.contains("was replaced"), "{refused}");
        return;
    }
    let procs = pool(2);
    works(&procs);
    assert_eq!(Process::spawn(1, |n: u32| n).unwrap().join().unwrap(), 1);
}

/// Its workers are held up before `init`, as by a scanner for viruses, until a file is gone.
fn held() {
    if let Some(file) = std::env::var_os("HELD").map(PathBuf::from) {
        until(|| !file.exists());
    }
    trefoil::init();
    let file = Scratch::new("held");
    let builder = ProcessPool::builder().workers(1).env("HELD", file.text());
    let procs = builder.build().unwrap();
    let call = procs.call(|n: u32| n + 1);
    let mut task = call.timeout(Duration::from_millis(20)).spawn(1);
    let late = task.join_timeout(Duration::from_millis(300));
    assert!(matches!(late, Err(TaskError::TimedOut(_))));
    assert!(task.try_join().is_none(), "its time begins with it");
    let next = procs.spawn(1, |n: u32| n + 1);
    drop(file);
    let _ = task.join(); // its own time may be short on a busy machine
    assert_eq!(next.join().unwrap(), 2);
    assert!(procs.stats().started <= 2);
}

/// Its workers are ended before `init`, as the system ends a program in quarantine.
fn quarantined() {
    if std::env::var_os("QUARANTINED").is_some() {
        end_as_the_system_does();
    }
    trefoil::init();
    let is_told = |result: Result<u32, TaskError>| {
        let Err(TaskError::WorkerDied(exit)) = result else {
            panic!("it cannot have run")
        };
        assert_eq!((exit.code(), exit.signal()), ENDED, "{exit}");
        let words = exit.to_string();
        let file = std::env::current_exe().unwrap();
        for word in ["trefoil::init()", file.to_str().unwrap(), LOOK] {
            assert!(words.contains(word), "{word}: {words}");
        }
    };
    let process = Process::builder().env("QUARANTINED", "1");
    is_told(process.spawn(1, |n| n).unwrap().join());
    let procs = ProcessPool::builder().workers(1).env("QUARANTINED", "1");
    is_told(procs.build().unwrap().spawn(1, |n| n).join());
    works(&pool(1));
}

#[cfg(unix)]
const ENDED: (Option<i32>, Option<i32>) = (None, Some(libc::SIGKILL));
/// Where its user is told to look.
#[cfg(unix)]
const LOOK: &str = "log says which";

#[cfg(unix)]
fn end_as_the_system_does() {
    kill(std::process::id());
    forever::<()>();
}

/// `STATUS_VIRUS_INFECTED`.
#[cfg(windows)]
const ENDED: (Option<i32>, Option<i32>) = (Some(0xC000_0906_u32 as i32), None);
#[cfg(windows)]
const LOOK: &str = "quarantine";

#[cfg(windows)]
fn end_as_the_system_does() {
    std::process::exit(0xC000_0906_u32 as i32)
}

/// The system does not start its file any more.
fn forbidden() {
    trefoil::init();
    let procs = pool(1);
    let task = procs.spawn((), |()| forever::<()>());
    until(|| procs.stats().busy == 1);
    let waits = procs.spawn((), |()| ());
    let forbids = Forbids::new();
    kill(procs.worker_pids()[0]);
    assert!(matches!(task.join(), Err(TaskError::WorkerDied(_))));
    let Err(TaskError::WorkerDied(exit)) = waits.join() else {
        panic!("it cannot have run")
    };
    let file = std::env::current_exe().unwrap();
    let is_told = |words: String| {
        for word in [file.to_str().unwrap(), "os error", "may forbid it"] {
            assert!(words.contains(word), "{word}: {words}");
        }
    };
    is_told(exit.to_string());
    let error = ProcessPool::with_workers(1).unwrap_err();
    assert!(matches!(error, PoolError::Start { .. }), "{error:?}");
    is_told(error.to_string());
    is_told(Process::spawn(1, |n: u32| n).unwrap_err().to_string());
    drop(forbids);
    works(&procs);
}

/// While it is there, this program's file cannot be executed.
#[cfg(unix)]
struct Forbids(std::fs::Permissions);

#[cfg(unix)]
impl Forbids {
    fn new() -> Self {
        use std::os::unix::fs::PermissionsExt;
        let own = std::env::current_exe().unwrap();
        let before = own.metadata().unwrap().permissions();
        std::fs::set_permissions(own, PermissionsExt::from_mode(0o644)).unwrap();
        Self(before)
    }
}

#[cfg(unix)]
impl Drop for Forbids {
    fn drop(&mut self) {
        std::fs::set_permissions(std::env::current_exe().unwrap(), self.0.clone()).unwrap();
    }
}

#[cfg(windows)]
struct Forbids {
    _refusal: support::Refusal,
}

#[cfg(windows)]
impl Forbids {
    fn new() -> Self {
        Self {
            _refusal: support::refuse(c"CreateProcessW"),
        }
    }
}

/// The two ends of a terminal: its window, and what a program has.
#[cfg(target_os = "linux")]
#[allow(unsafe_code)]
fn terminal() -> (File, File) {
    use std::os::fd::{AsRawFd, FromRawFd};

    let window = File::options().read(true).write(true).open("/dev/ptmx");
    let window = window.unwrap();
    let locked: libc::c_int = 0;
    // SAFETY: it reads a number, which is in this frame.
    let unlocked = unsafe { libc::ioctl(window.as_raw_fd(), libc::TIOCSPTLCK, &raw const locked) };
    assert_eq!(unlocked, 0);
    let how = libc::O_RDWR | libc::O_NOCTTY | libc::O_CLOEXEC;
    // SAFETY: numbers alone.
    let end = unsafe { libc::ioctl(window.as_raw_fd(), libc::TIOCGPTPEER, how) };
    assert!(end >= 0);
    // SAFETY: it was opened just now.
    (window, unsafe { FromRawFd::from_raw_fd(end) })
}

/// Its terminal is closed while it runs.
#[cfg(target_os = "linux")]
fn deserted() {
    trefoil::init();
    until(|| std::io::stderr().write(b"is somebody there?\n").is_err());
    let procs = pool(2);
    works(&procs);
    let said = procs.spawn((), |()| {
        eprintln!("heard by nobody");
        std::io::stdout().write(b"nor this\n").is_ok()
    });
    assert!(!said.join().unwrap());
    assert_eq!(Process::spawn(1, |n: u32| n).unwrap().join().unwrap(), 1);
    let written = trefoil::run(async { trefoil::io::stdout().write_all(b"nor this\n").await });
    assert!(written.is_err());
}

/// Its terminal stops those in the background that write (`stty tostop`).
#[cfg(target_os = "linux")]
#[allow(unsafe_code)]
fn strict() {
    trefoil::init();
    rustix::process::setsid().unwrap();
    rustix::process::ioctl_tiocsctty(std::io::stdin()).unwrap();
    // SAFETY: all zeros are settings of a terminal.
    let mut settings = unsafe { std::mem::zeroed::<libc::termios>() };
    // SAFETY: a number, and a local variable.
    assert_eq!(unsafe { libc::tcgetattr(0, &raw mut settings) }, 0);
    settings.c_lflag |= libc::TOSTOP;
    // SAFETY: as above.
    let set = unsafe { libc::tcsetattr(0, libc::TCSANOW, &raw const settings) };
    assert_eq!(set, 0);
    let procs = pool(1);
    let answers = |mut task: Task<bool>| task.join_timeout(Duration::from_secs(100)).unwrap();
    assert!(answers(procs.spawn((), |()| {
        println!("from the worker");
        std::io::stdout().flush().is_ok()
    })));
    let asks = |()| {
        let asks = Command::new("sh")
            .args(["-c", "read answer </dev/tty"])
            .status();
        asks.unwrap().success()
    };
    assert!(!answers(procs.spawn((), asks)), "there is no terminal");
}

/// Has no console and no standard streams, like a service.
#[cfg(windows)]
fn lonely() {
    trefoil::init();
    support::leave_console();
    let procs = pool(2);
    // A window for each worker is not what its user wants to see.
    let consoles = procs.spawn((), |()| support::console()).join().unwrap();
    assert_eq!(consoles, (true, false));
    works(&procs);
    talks_to_nobody(&procs);
    trefoil::run(async {
        let pressed = trefoil::timeout(Duration::from_millis(20), trefoil::io::ctrl_c()).await;
        assert!(matches!(pressed, Err(TaskError::TimedOut)), "{pressed:?}");
    });
}

/// Waits for Ctrl-C in a console of its own, and presses it.
#[cfg(windows)]
fn pressed() {
    trefoil::init();
    support::hear_ctrl_c();
    let procs = pool(1);
    let own = procs.spawn((), |()| std::process::id()).join().unwrap();
    trefoil::run(async {
        let mut child = trefoil::io::Command::new(std::env::current_exe().unwrap());
        child.env("TREFOIL_TEST_HELPER", "waits");
        child.stdout(Stdio::piped());
        let mut child = child.spawn().unwrap();
        let mut word = [0];
        child
            .stdout
            .take()
            .unwrap()
            .read_exact(&mut word)
            .await
            .unwrap();
        let pressed = trefoil::io::ctrl_c().keep();
        support::press_ctrl_c();
        trefoil::timeout(Duration::from_secs(60), pressed)
            .await
            .unwrap()
            .unwrap();
        // It is in the same group, as any child of a program's: Ctrl-C ends it.
        child.wait().await.unwrap();
    });
    assert_eq!(
        procs.spawn((), |()| std::process::id()).join().unwrap(),
        own
    );
    assert_eq!(procs.stats().died, 0);
}

/// The system refuses to end a child, as it does when that is about to end.
#[cfg(windows)]
fn ending() {
    trefoil::run(async {
        let mut child = trefoil::io::Command::new(std::env::current_exe().unwrap());
        let mut child = child.env("TREFOIL_TEST_HELPER", "sleep").spawn().unwrap();
        let refusal = support::refuse(c"TerminateProcess");
        child.kill().unwrap();
        drop(refusal);
        child.kill().unwrap();
        assert!(!child.wait().await.unwrap().success());
    });
}

/// What Ctrl-C does to others it does to this.
#[cfg(windows)]
fn waits() {
    println!(".");
    forever::<()>();
}

/// The system refuses to put processes into jobs, as it does in a job in which there can be no
/// other.
#[cfg(windows)]
fn unemployed() {
    const CALLS: [&std::ffi::CStr; 3] = [
        c"CreateJobObjectW",
        c"SetInformationJobObject",
        c"AssignProcessToJobObject",
    ];
    let refused = std::env::var("REFUSED").ok();
    let refused = refused.map(|call| CALLS.into_iter().find(|it| it.to_str() == Ok(&*call)));
    let _refusal = refused.flatten().map(support::refuse); // in a worker of this program's
    trefoil::init();
    for call in CALLS {
        let name = call.to_str().unwrap();
        let is_told = |words: String| {
            let named = words.contains(name.trim_end_matches('W'));
            assert!(named && words.contains("os error 5"), "{words}");
        };
        let refusal = support::refuse(call);
        let error = ProcessPool::with_workers(2).unwrap_err();
        assert!(matches!(error, PoolError::Start { .. }), "{error:?}");
        is_told(error.to_string());
        is_told(Process::spawn(1, |n: u32| n).unwrap_err().to_string());
        until(|| support::children() == 0);
        drop(refusal);

        // A pool loses what waits, and nothing later.
        let procs = pool(1);
        let task = procs.spawn((), |()| forever::<()>());
        until(|| procs.stats().busy == 1);
        let waits = procs.spawn((), |()| ());
        let refusal = support::refuse(call);
        kill(procs.worker_pids()[0]);
        assert!(matches!(task.join(), Err(TaskError::WorkerDied(_))));
        let Err(TaskError::WorkerDied(exit)) = waits.join() else {
            panic!("it cannot have run")
        };
        is_told(exit.to_string());
        drop(refusal);
        works(&procs);

        // The job for a limit of memory, which a worker is in by its own will.
        let builder = ProcessPool::builder().workers(1).memory_limit(1 << 30);
        let limited = builder.env("REFUSED", name).build();
        let Err(TaskError::WorkerDied(exit)) = limited.unwrap().spawn((), |()| ()).join() else {
            panic!("it has no limit")
        };
        is_told(exit.to_string());
    }
}

/// Ends right after it has made a call.
fn hasty() {
    static PROCS: OnceLock<ProcessPool> = OnceLock::new();
    trefoil::init();
    let procs = PROCS.get_or_init(|| pool(2));
    println!("{:?}", procs.worker_pids());
    for n in 0..50u32 {
        procs
            .spawn(n, |n| match n % 2 {
                0 => n,
                _ => forever(),
            })
            .detach();
    }
    match std::env::var("HASTE").unwrap().as_str() {
        "exit" => std::process::exit(0),
        "panic" => drop(std::thread::spawn(|| panic!("on purpose")).join()),
        _ => {} // and returns from `main`, with a pool that is never dropped
    }
}

/// Has much memory, all of it in use, when it makes pools.
fn large() {
    trefoil::init();
    let median = || {
        let mut times: Vec<Duration> = (0..9)
            .map(|_| {
                let begin = Instant::now();
                assert_eq!(pool(1).spawn(1, |n: u32| n).join().unwrap(), 1);
                begin.elapsed()
            })
            .collect();
        times.sort_unstable();
        times[4]
    };
    let small = median();
    let much = std::hint::black_box(vec![1u8; 512 << 20]);
    let large = median();
    drop(much);
    println!("{small:?} {large:?}");
    // Copying the tables of so many pages would take 17 ms alone.
    assert!(
        large < 3 * small + Duration::from_millis(8),
        "{large:?} after {small:?}"
    );
}

fn panics() {
    trefoil::init();
    let procs = pool(1);
    let Err(TaskError::Panicked(panic)) = procs.spawn((), |()| -> () { panic!("far away") }).join()
    else {
        panic!("it should")
    };
    assert_eq!(panic.message(), "far away");
}

/// Its file has capabilities, so a user who is not root has more rights in this program than
/// otherwise.
#[cfg(unix)]
#[allow(unsafe_code)]
fn capable() {
    let is_worker = std::env::var_os("TREFOIL_WORKER").is_some();
    trefoil::init();
    if is_worker {
        std::process::exit(9); // runs on after `init`
    }
    if rustix::process::getuid().is_root() {
        // SAFETY: this process has one thread, and no worker yet.
        assert_eq!(unsafe { libc::setuid(65534) }, 0);
        let rights = |()| std::fs::read_to_string("/proc/self/status").unwrap();
        match pool(1).spawn((), rights).join() {
            Err(TaskError::WorkerDied(exit)) => {
                assert!(exit.stderr_tail().contains("other rights"), "{exit}");
            }
            other => panic!("a worker has run a function: {other:?}"),
        }
    } else {
        let refused = ProcessPool::with_workers(1).unwrap_err();
        assert!(refused.to_string().contains("other rights"), "{refused}");
    }
}

/// Is started through the dynamic loader, so `/proc/self/exe` is the loader.
#[cfg(unix)]
fn loaded() {
    trefoil::init();
    let refused = ProcessPool::with_workers(1).unwrap_err();
    assert!(refused.to_string().contains("ld.so"), "{refused}");
    let refused = Process::spawn((), |()| ()).unwrap_err();
    assert!(refused.to_string().contains("ld.so"), "{refused}");
}

/// How `PT_INTERP` names the dynamic loader; none in a static executable.
#[cfg(unix)]
fn loader() -> Option<String> {
    let file = std::fs::read(std::env::current_exe().unwrap()).unwrap();
    let number = |at: usize, width: usize| {
        let bytes = file[at..at + width].iter().rev();
        bytes.fold(0, |number, byte| number << 8 | usize::from(*byte))
    };
    let headers = (0..number(56, 2)).map(|n| number(32, 8) + n * number(54, 2));
    let interpreter = headers.into_iter().find(|at| number(*at, 4) == 3)?;
    let (start, size) = (number(interpreter + 8, 8), number(interpreter + 32, 8));
    Some(String::from_utf8(file[start..start + size - 1].to_vec()).unwrap())
}

fn init_elsewhere() {
    std::thread::spawn(trefoil::init).join().unwrap();
}

/// Calls `init` where a `#[test]` would: not on the first thread.
fn elsewhere() {
    if std::env::var_os("TREFOIL_WORKER").is_some() {
        init_elsewhere();
        std::process::exit(9); // runs on, as a test harness would
    }
    init_elsewhere();
    let refused = ProcessPool::with_workers(1).unwrap_err();
    assert!(matches!(refused, PoolError::NotInitialized), "{refused}");
    assert!(refused.to_string().contains("`auto`"), "{refused}");
    trefoil::init();
    init_elsewhere(); // a second call does no harm
    let Err(TaskError::WorkerDied(exit)) = pool(1).spawn((), |()| ()).join() else {
        panic!("it is no worker")
    };
    assert_eq!(exit.code(), Some(1), "{exit}");
    assert!(exit.stderr_tail().contains("first thread"), "{exit}");
}

/// Calls `init` while another thread runs, and after other threads have ended, which is allowed.
#[cfg(unix)]
fn late() {
    let many = || {
        for _ in 0..50 {
            std::thread::spawn(|| ()).join().unwrap();
        }
    };
    if std::env::var_os("TREFOIL_WORKER").is_some() {
        many();
        if std::env::args().any(|arg| arg == "threads") {
            std::thread::spawn(forever::<()>);
        }
        trefoil::init();
        std::process::exit(9);
    }
    let (end, wait) = std::sync::mpsc::channel::<()>();
    let other = std::thread::spawn(move || wait.recv());
    trefoil::init();
    let refused = ProcessPool::with_workers(1).unwrap_err();
    assert!(matches!(refused, PoolError::NotInitialized), "{refused}");
    drop(end);
    let _ = other.join().unwrap();
    many();
    trefoil::init();
    let result = pool(1).spawn(1, |n: u32| n).join();
    if std::env::args().any(|arg| arg == "threads") {
        let Err(TaskError::WorkerDied(exit)) = result else {
            panic!("{result:?}")
        };
        assert_eq!(exit.code(), Some(1), "{exit}");
        assert!(exit.stderr_tail().contains("other threads"), "{exit}");
    } else {
        assert_eq!(result.unwrap(), 1);
    }
}

/// Has a parent's invitation to a worker in its environment, but one for another process.
#[allow(unsafe_code)]
fn addressed() {
    trefoil::init();
    let said = std::env::var("TREFOIL_WORKER").unwrap(); // not removed
    if said.ends_with("to another copy") {
        let refused = ProcessPool::with_workers(1).unwrap_err();
        assert!(refused.to_string().contains("another copy"), "{refused}");
        // SAFETY: this process has one thread. The other copy does the same when it accepts.
        unsafe { std::env::remove_var("TREFOIL_WORKER") };
        // It is one of the workers that may not have workers themselves.
        let refused = ProcessPool::with_workers(1).unwrap_err();
        assert!(
            matches!(refused, PoolError::TooDeep { depth: 20, .. }),
            "{refused}"
        );
    } else {
        assert_eq!(pool(1).spawn(1, |n: u32| n).join().unwrap(), 1);
    }
}

/// The invitation that this process gave its worker `pid`, which has removed it from its
/// environment, but the kernel still shows it.
#[cfg(unix)]
fn said_to(pid: u32) -> String {
    let environment = std::fs::read(format!("/proc/{pid}/environ")).unwrap();
    let mut words = environment.split(|byte| *byte == 0);
    let said = words.find_map(|word| word.strip_prefix(b"TREFOIL_WORKER="));
    String::from_utf8(said.unwrap().to_vec()).unwrap()
}

/// A copy of this program, with a name of its own.
struct Twin(PathBuf);

impl Twin {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!(
            "trefoil-{name}-{}{}",
            std::process::id(),
            std::env::consts::EXE_SUFFIX
        ));
        std::fs::copy(std::env::current_exe().unwrap(), &path).unwrap();
        Self(path)
    }
}

impl Drop for Twin {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
        let _ = std::fs::remove_file(self.0.with_extension("aside"));
    }
}

/// Runs a program as the helper `name`, which must succeed.
fn must(helper: &mut Command, name: &str) {
    let helper = helper.env("TREFOIL_TEST_HELPER", name).stdin(Stdio::null());
    let output = helper.output().unwrap();
    let words = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success(),
        "{name}: {}: {words}",
        output.status
    );
}

tests! {
    #[cfg(unix)]
    fn interrupted_all_the_time() {
        run_helper("interrupted");
    }

    #[cfg(unix)]
    fn without_some_of_the_standard_streams() {
        let helpers = [0, 1, 2, 3, 4, 5, 6, 7].map(|which| {
            let mut helper = Command::new(std::env::current_exe().unwrap());
            helper.env("TREFOIL_TEST_HELPER", "streamless").env("CLOSED", which.to_string());
            helper.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
        });
        for (which, helper) in helpers.into_iter().enumerate() {
            let output = helper.wait_with_output().unwrap();
            assert!(output.status.success(), "{which}: {}", String::from_utf8_lossy(&output.stderr));
        }
    }

    #[cfg(unix)]
    fn workers_that_cannot_be_replaced_fail_what_waits() {
        run_helper("poor");
    }

    fn the_program_is_replaced_on_disk() {
        let copy = Twin::new("copy");
        must(&mut Command::new(&copy.0), "replaced");
    }

    fn workers_that_are_held_up_at_their_start_cost_no_call_its_time() {
        if cfg!(feature = "auto") {
            return; // they begin before `main`, where this program holds them up
        }
        run_helper("held");
    }

    fn workers_that_are_ended_before_they_begin_say_what_may_have_done_it() {
        if cfg!(feature = "auto") {
            return; // they begin before `main`, where this program ends them
        }
        run_helper("quarantined");
    }

    fn a_file_that_may_not_be_executed_is_named() {
        let copy = Twin::new("forbidden");
        must(&mut Command::new(&copy.0), "forbidden");
    }

    #[cfg(target_os = "linux")]
    fn the_terminal_is_gone() {
        let (window, end) = terminal();
        let streams = [(); 2].map(|()| end.try_clone().unwrap());
        let mut helper = Command::new(std::env::current_exe().unwrap());
        let [input, output] = streams;
        let helper = helper.env("TREFOIL_TEST_HELPER", "deserted").stdin(input).stdout(output).stderr(end);
        let mut helper = helper.spawn().unwrap();
        drop(window);
        assert!(helper.wait().unwrap().success());
    }

    #[cfg(target_os = "linux")]
    fn a_terminal_stops_no_worker_and_nothing_that_its_items_start() {
        let (mut window, end) = terminal();
        let output = end.try_clone().unwrap();
        let mut helper = Command::new(std::env::current_exe().unwrap());
        let helper = helper.env("TREFOIL_TEST_HELPER", "strict").stdin(end).stdout(output);
        let helper_process = helper.spawn();
        helper.stdin(Stdio::null()).stdout(Stdio::null()); // closes this process's handles
        assert!(helper_process.unwrap().wait().unwrap().success());
        let mut said = String::new();
        let _end = std::io::Read::read_to_string(&mut window, &mut said); // an error: nobody has it
        assert!(said.contains("from the worker"), "{said}");
    }

    #[cfg(windows)]
    fn without_a_console() {
        run_helper("lonely");
    }

    #[cfg(windows)]
    fn ctrl_c_reaches_the_program_and_not_its_workers() {
        use std::os::windows::process::CommandExt;
        const CREATE_NO_WINDOW: u32 = 0x0800_0000; // and a console of its own
        must(Command::new(std::env::current_exe().unwrap()).creation_flags(CREATE_NO_WINDOW), "pressed");
    }

    #[cfg(windows)]
    fn a_child_that_is_about_to_end_is_killed_without_an_error() {
        run_helper("ending");
    }

    #[cfg(windows)]
    fn a_worker_that_crashes_asks_nobody_what_to_do() {
        const QUIET: u32 = 0x8003; // no dialog of the three kinds
        let before = support::error_mode();
        let procs = pool(1);
        let mode = procs.spawn((), |()| support::error_mode()).join().unwrap();
        assert_eq!(mode & QUIET, QUIET);
        assert_eq!(support::error_mode(), before, "of this process nothing has changed");
    }

    #[cfg(windows)]
    fn a_job_that_is_refused_is_told_and_leaves_no_process() {
        run_helper("unemployed");
    }

    fn the_program_ends_right_after_it_has_asked() {
        let hastes = ["exit", "panic", "return"];
        let begin = Instant::now();
        let helpers = hastes.map(|haste| {
            let mut helper = Command::new(std::env::current_exe().unwrap());
            helper.env("TREFOIL_TEST_HELPER", "hasty").env("HASTE", haste);
            helper.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
        });
        for (haste, helper) in hastes.into_iter().zip(helpers) {
            // Its workers have its standard output, so they are gone when this returns.
            let output = helper.wait_with_output().unwrap();
            assert!(output.status.success(), "{haste}: {}", output.status);
            assert!(begin.elapsed() < Duration::from_secs(30), "{:?}", begin.elapsed());
            let text = String::from_utf8(output.stdout).unwrap();
            let pids = text.split(|c: char| !c.is_ascii_digit()).filter_map(|n| n.parse().ok());
            let pids: Vec<u32> = pids.collect();
            assert_eq!(pids.len(), 2);
            for pid in pids {
                until(|| !is_there(pid));
            }
        }
    }

    fn starting_workers_takes_no_longer_in_a_large_program() {
        // It measures time, and a busy machine may be slow once.
        let fine = (0..4).any(|_| start_helper("large").wait_with_output().unwrap().status.success());
        assert!(fine);
    }

    fn a_panic_far_away_has_its_backtrace_on_standard_error() {
        for wanted in ["0", "1"] {
            let mut helper = Command::new(std::env::current_exe().unwrap());
            helper.env("TREFOIL_TEST_HELPER", "panics").env("RUST_BACKTRACE", wanted);
            let output = helper.stdin(Stdio::null()).output().unwrap();
            let text = String::from_utf8_lossy(&output.stderr);
            assert!(output.status.success() && text.contains("far away"), "{text}");
            assert_eq!(text.contains("stack backtrace"), wanted == "1", "{text}");
        }
    }

    #[cfg(target_os = "linux")]
    fn a_program_with_capabilities_has_no_workers_and_is_none() {
        let copy = Twin::new("capable");
        // The second version of it: CAP_SYS_CHROOT, effective.
        let words = [0x0200_0001u32, 1 << 18, 0, 0, 0];
        let value: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
        let set = rustix::fs::setxattr(&copy.0, "security.capability", &value, rustix::fs::XattrFlags::empty());
        if !rustix::process::getuid().is_root() || set.is_err() {
            return println!("skipped: only root may give a file capabilities, and not everywhere");
        }
        must(&mut Command::new(&copy.0), "capable");
        must(Command::new(&copy.0).uid(65534), "capable");
    }

    #[cfg(unix)]
    fn through_the_dynamic_loader_nothing_is_started() {
        let Some(loader) = loader() else {
            return println!("skipped: this program has none");
        };
        let made = std::env::temp_dir().join(format!("trefoil-touched-{}", std::process::id()));
        let mut helper = Command::new(loader);
        helper.arg(std::env::current_exe().unwrap()).arg("/bin/touch").arg(&made);
        must(&mut helper, "loaded");
        assert!(!made.exists(), "a worker was `touch`");
    }

    fn init_does_nothing_but_on_the_first_thread() {
        if cfg!(feature = "auto") {
            return; // `init` has nothing left to do
        }
        run_helper("elsewhere");
    }

    #[cfg(unix)]
    fn init_does_nothing_beside_other_threads() {
        if cfg!(feature = "auto") {
            return; // `init` has nothing left to do
        }
        for argument in ["alone", "threads"] {
            must(Command::new(std::env::current_exe().unwrap()).arg(argument), "late");
        }
    }

    #[cfg(unix)]
    fn a_worker_without_its_parent_is_known_by_whose_socket_it_has() {
        let procs = pool(1);
        procs.spawn((), |()| ()).join().unwrap();
        let said = said_to(procs.worker_pids()[0]);
        let own = format!(",{},", std::process::id());
        assert!(said.contains(&own), "{said}");
        let helper = |said: &str, socket: OwnedFd| {
            let mut helper = Command::new("sh");
            let helper = helper.env("TREFOIL_TEST_HELPER", "addressed").env("TREFOIL_WORKER", said);
            helper.stdin(socket).args(["-c", "\"$0\"; exit $?"]).arg(std::env::current_exe().unwrap());
            helper.output().unwrap()
        };
        // This process made the socket, and is not the parent of the process that the shell starts:
        // an orphaned worker.
        let (_ours, theirs) = UnixStream::pair().unwrap();
        let orphan = helper(&said, theirs.into());
        assert_eq!(orphan.status.code(), Some(1), "{orphan:?}");
        // An old invitation to another process, with sockets that do not belong to it.
        let mut gone = Command::new("true").spawn().unwrap();
        gone.wait().unwrap();
        let stale = said.replacen(&own, &format!(",{},", gone.id()), 1);
        let (_ours, theirs) = UnixStream::pair().unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let stream = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        for socket in [OwnedFd::from(theirs), stream.into()] {
            let program = helper(&stale, socket);
            assert!(program.status.success(), "{program:?}");
        }
    }

    fn what_is_for_another_is_left_for_it() {
        let pid = std::process::id();
        for said in [format!("9.9.9-0-00,20,{pid},to another copy"), "9.9.9-0-00,20,1,stale".to_owned(), "nonsense".to_owned()] {
            must(Command::new(std::env::current_exe().unwrap()).env("TREFOIL_WORKER", said), "addressed");
        }
    }
}
