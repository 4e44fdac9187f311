//! What goes on in a sandbox, what opens it, and what forbids one. (What it keeps out: `attacks`.)

use crate::support::marks::{died, mark, marked, marked_pool};
use crate::support::{self, Scratch, Test, forever, tests, until};

use std::fs;
use std::hint::black_box;
use std::io::{self, BufRead};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use trefoil::{Bulk, ProcessPool, TaskError};
use trefoil_sandbox::Sandbox;

fn pool(sandbox: Sandbox) -> ProcessPool {
    ProcessPool::builder()
        .workers(2)
        .launcher(sandbox)
        .build()
        .unwrap()
}

/// A pool whose workers may start this program, with `mark`; and whether the kernel keeps the
/// program's signals in. (Before Linux 6.12 it does not, which is an error unless it is allowed.)
fn executing(path: &str, mark: &str) -> (ProcessPool, bool) {
    let built = |sandbox: Sandbox| marked_pool(sandbox, mark).workers(1).build();
    match built(Sandbox::new().allow_exec(path)) {
        Ok(procs) => (procs, true),
        Err(why) => {
            assert!(why.to_string().contains("version 6 (Linux 6.12)"), "{why}");
            let procs = built(Sandbox::new().allow_exec(path).best_effort()).unwrap();
            assert_eq!(procs.stats().unenforced.len(), 1);
            (procs, false)
        }
    }
}

/// This program, as another user who can run it. `None`: that one cannot.
pub(crate) fn as_another_user() -> Option<Command> {
    let own = std::env::current_exe().unwrap();
    let mut other = Command::new(own);
    other
        .uid(65534)
        .gid(65534)
        .current_dir("/")
        .stdin(Stdio::null());
    let tried = other.env(support::HELPER, "nothing").arg("none::").output();
    if tried.is_ok_and(|tried| tried.status.success()) {
        return Some(other);
    }
    print!("(another user cannot run this program) ");
    None
}

/// A pool whose workers do not end by themselves, whatever happens to their streams.
fn parent() {
    let mark = std::env::var("WANTED").unwrap();
    let procs = marked_pool(Sandbox::new(), &mark)
        .workers(2)
        .build()
        .unwrap();
    let stop = |()| {
        let own = rustix::process::getpid();
        rustix::process::kill_process(own, rustix::process::Signal::STOP).unwrap();
        forever::<()>();
    };
    let tasks = [procs.spawn((), stop), procs.spawn((), |()| forever::<()>())];
    until(|| marked(&mark).len() == 2);
    println!("ready");
    tasks.into_iter().for_each(|task| drop(task.join()));
}

/// From now on a call is refused to this process, and to all that it starts.
pub(crate) fn refuse(call: libc::c_long, error: i32) {
    let filter = seccompiler::SeccompFilter::new(
        [(call, Vec::new())].into_iter().collect(),
        seccompiler::SeccompAction::Allow,
        seccompiler::SeccompAction::Errno(error as u32),
        std::env::consts::ARCH.try_into().unwrap(),
    );
    let program: seccompiler::BpfProgram = filter.unwrap().try_into().unwrap();
    seccompiler::apply_filter(&program).unwrap();
}

/// Whether workers are in a user namespace of their own.
pub(crate) fn has_namespaces() -> bool {
    let name = |()| fs::read_link("/proc/self/ns/user").unwrap();
    pool(Sandbox::new()).spawn((), name).join().unwrap() != name(())
}

/// The kernel has no Landlock: the call that asks for it does not exist.
fn without_landlock() {
    refuse(libc::SYS_landlock_create_ruleset, libc::ENOSYS);
    let refused = ProcessPool::builder()
        .launcher(Sandbox::new())
        .build()
        .unwrap_err();
    println!("refused: {refused}");
    let procs = pool(Sandbox::new().best_effort());
    println!("unenforced: {:?}", procs.stats().unenforced);
    // What the filters do goes on.
    assert!(
        procs
            .spawn((), |()| fs::read("/etc/passwd").is_ok())
            .join()
            .unwrap()
    );
    assert!(
        !procs
            .spawn((), |()| TcpListener::bind("127.0.0.1:0").is_ok())
            .join()
            .unwrap()
    );
}

/// No user namespace can be made.
fn without_namespaces() {
    refuse(libc::SYS_unshare, libc::EPERM);
    assert!(!has_namespaces());
    let procs = pool(Sandbox::new());
    assert_eq!(procs.stats().unenforced, [""; 0]);
    ordinary(&procs);
    assert_eq!(capabilities(&procs), "0000000000000000");
    println!("all went on");
}

fn capabilities(procs: &ProcessPool) -> String {
    let status = |()| fs::read_to_string("/proc/self/status").unwrap();
    let status = procs.spawn((), status).join().unwrap();
    let field = |name: &str| status.lines().find_map(|line| line.strip_prefix(name));
    assert_eq!(field("NoNewPrivs:\t"), Some("1"));
    assert_eq!(field("Seccomp:\t"), Some("2"));
    assert_eq!(field("CapPrm:\t"), field("CapEff:\t"));
    field("CapEff:\t").unwrap().to_owned()
}

pub(crate) const HELPERS: &[(&str, fn())] = &[
    ("sandbox-parent", parent),
    ("sandbox-without-landlock", without_landlock),
    ("sandbox-without-namespaces", without_namespaces),
    ("nothing", || {}),
];

fn start_parent(mark: &str) -> std::process::Child {
    let mut parent = Command::new(std::env::current_exe().unwrap());
    parent
        .env(support::HELPER, "sandbox-parent")
        .env("WANTED", mark);
    parent
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap()
}

fn output_of(helper: &str) -> String {
    let output = support::start_helper(helper).wait_with_output().unwrap();
    let (out, err) = (&output.stdout, &output.stderr);
    let (out, err) = (String::from_utf8_lossy(out), String::from_utf8_lossy(err));
    assert!(output.status.success(), "{out}\n{err}");
    out.into_owned()
}

fn ordinary(procs: &ProcessPool) {
    assert_eq!(procs.map(0..500, |n: u64| n * n).unwrap()[499], 499 * 499);
    let exit = died(procs.spawn((), |()| -> () { std::process::abort() }).join());
    assert_eq!(exit.signal(), Some(6), "{exit}");
    let exit = died(
        procs
            .spawn(3, |code: i32| -> () { std::process::exit(code) })
            .join(),
    );
    assert_eq!(exit.code(), Some(3), "{exit}");
    let endless = procs
        .call(|()| forever::<()>())
        .timeout(Duration::from_millis(50));
    assert!(matches!(
        endless.spawn(()).join(),
        Err(TaskError::TimedOut(_))
    ));
    let numbers: Bulk<u64> = (0..2_000_000).collect();
    let sum = procs.spawn(numbers, |numbers: Bulk<u64>| numbers.iter().sum::<u64>());
    assert_eq!(sum.join().unwrap(), 1_999_999_000_000);
    let threads = |()| {
        let all = (0..8)
            .map(|n| std::thread::spawn(move || n))
            .collect::<Vec<_>>();
        all.into_iter().map(|one| one.join().unwrap()).sum::<i32>()
    };
    assert_eq!(procs.spawn((), threads).join().unwrap(), 28);
    // Requests of `ioctl` that the standard library makes.
    let asks = |()| {
        let (one, _other) = std::os::unix::net::UnixStream::pair().unwrap();
        one.set_nonblocking(true).unwrap();
        (
            one.take_error().is_ok(),
            io::IsTerminal::is_terminal(&io::stderr()),
        )
    };
    assert_eq!(procs.spawn((), asks).join().unwrap(), (true, false));
    let panics = procs.spawn((), |()| -> () { panic!("it panics") }).join();
    assert!(matches!(panics, Err(TaskError::Panicked(panic)) if panic.message() == "it panics"));
}

/// The folders of sandboxes of this process in the temporary folder.
fn folders() -> Vec<PathBuf> {
    let own = format!("trefoil-sandbox.{}.", std::process::id());
    let all = fs::read_dir(std::env::temp_dir()).unwrap().flatten();
    all.filter(|entry| entry.file_name().to_string_lossy().starts_with(&own))
        .map(|entry| entry.path())
        .collect()
}

tests! {
    fn ordinary_work_goes_on_in_a_sandbox() {
        let mark = mark();
        let procs = marked_pool(Sandbox::new(), &mark).workers(2).build().unwrap();
        ordinary(&procs);
        assert_eq!(capabilities(&procs), "0000000000000000");
        drop(procs);
        until(|| marked(&mark).is_empty());
        assert!(folders().is_empty());
    }

    fn a_memory_limit_holds() {
        let limited = ProcessPool::builder().launcher(Sandbox::new()).workers(1);
        let limited = limited.memory_limit(64 << 20).build().unwrap();
        let much = |bytes: usize| black_box(vec![1u8; bytes]).len();
        assert!(died(limited.spawn(1 << 30, much).join()).out_of_memory());
        assert_eq!(limited.spawn(5, |n: u64| n).join().unwrap(), 5);
    }

    fn it_may_read_and_write_what_is_allowed() {
        let folder = Scratch::new("sandbox-files");
        fs::remove_file(&folder.0).unwrap();
        fs::create_dir_all(folder.0.join("data")).unwrap();
        fs::create_dir(folder.0.join("results")).unwrap();
        fs::write(folder.0.join("data/known"), "known").unwrap();
        fs::write(folder.0.join("one"), "one").unwrap();
        let sandbox = Sandbox::new()
            .read(folder.0.join("data"))
            .read(folder.0.join("one"))
            .write(folder.0.join("results"));
        let procs = pool(sandbox);
        let inside = |folder: PathBuf| -> Result<(), String> {
            let data = fs::read(folder.join("data/known")).map_err(|error| error.to_string())?;
            assert_eq!(data, b"known");
            assert_eq!(fs::read_dir(folder.join("data")).unwrap().count(), 1);
            assert_eq!(fs::read(folder.join("one")).unwrap(), b"one");
            let results = folder.join("results");
            let make = || -> io::Result<()> {
                fs::create_dir(results.join("new"))?;
                fs::write(results.join("new/file"), "result")?;
                fs::rename(results.join("new/file"), results.join("file"))?;
                fs::remove_dir(results.join("new"))
            };
            make().map_err(|error| error.to_string())
        };
        assert_eq!(procs.spawn(folder.0.clone(), inside).join().unwrap(), Ok(()));
        assert_eq!(fs::read(folder.0.join("results/file")).unwrap(), b"result");
        drop(procs);
        fs::remove_dir_all(&folder.0).unwrap();
    }

    fn its_temporary_folder_is_its_own_and_is_removed() {
        let procs = ProcessPool::builder().workers(1).launcher(Sandbox::new()).build().unwrap();
        let fill = |()| {
            let own = std::env::temp_dir();
            assert_eq!(fs::read_dir(&own).unwrap().count(), 0);
            fs::create_dir(own.join("folder")).unwrap();
            fs::write(own.join("folder/file"), "words").unwrap();
            own
        };
        let first = procs.spawn((), fill).join().unwrap();
        assert_eq!(fs::metadata(&first).unwrap().mode() & 0o777, 0o700);
        assert_eq!(fs::read(first.join("folder/file")).unwrap(), b"words");
        died(procs.spawn((), |()| -> () { std::process::abort() }).join());
        let second = procs.spawn((), fill).join().unwrap();
        assert_ne!(first, second);
        until(|| !first.exists());
        drop(procs);
        assert!(!second.exists() && folders().is_empty());
    }

    fn a_fresh_worker_has_nothing_of_an_earlier_item() {
        static LEFT: AtomicU64 = AtomicU64::new(0);
        let leave = |()| {
            LEFT.store(1, Relaxed);
            fs::write(std::env::temp_dir().join("left"), "words").unwrap();
            std::thread::spawn(forever::<()>);
        };
        let look = |()| {
            let threads = fs::read_dir("/proc/self/task").unwrap().count();
            (LEFT.load(Relaxed), fs::read(std::env::temp_dir().join("left")).is_ok(), threads)
        };
        let builder = || ProcessPool::builder().workers(1).launcher(Sandbox::new());
        let seen = [builder(), builder().max_tasks_per_worker(1)].map(|builder| {
            let procs = builder.build().unwrap();
            procs.spawn((), leave).join().unwrap();
            procs.spawn((), look).join().unwrap()
        });
        let [(1, true, threads), (0, false, fresh)] = seen else { panic!("{seen:?}") };
        assert_eq!(threads, fresh + 1);
    }

    fn the_folders_of_a_killed_parent_are_swept() {
        let mark = mark();
        let mut parent = start_parent(&mark);
        let mut lines = io::BufReader::new(parent.stdout.take().unwrap()).lines();
        assert!(lines.any(|line| line.unwrap().ends_with("ready")));
        let left = std::env::temp_dir().join(format!("trefoil-sandbox.{}.0", parent.id()));
        assert!(left.exists());
        let living = pool(Sandbox::new());
        assert!(left.exists(), "its owner lives");
        parent.kill().unwrap();
        parent.wait().unwrap();
        until(|| marked(&mark).is_empty());
        drop(pool(Sandbox::new()));
        assert!(!left.exists());
        assert!(!folders().is_empty());
        ordinary(&living);
    }

    fn a_worker_dies_with_its_killed_parent_whatever_it_does() {
        let mark = mark();
        let mut parent = start_parent(&mark);
        let mut lines = io::BufReader::new(parent.stdout.take().unwrap()).lines();
        assert!(lines.any(|line| line.unwrap().ends_with("ready")));
        parent.kill().unwrap();
        parent.wait().unwrap();
        until(|| marked(&mark).is_empty());
    }

    fn a_program_that_is_allowed_runs_in_the_same_sandbox() {
        let (procs, _) = executing("/bin/cat", &mark());
        let run = |path: String| {
            let output = Command::new("/bin/cat").arg(path).stdin(Stdio::null()).output();
            output.map(|output| output.status.success()).map_err(|error| error.to_string())
        };
        assert_eq!(procs.spawn("/dev/null".to_owned(), run).join().unwrap(), Ok(true));
        assert_eq!(procs.spawn("/etc/passwd".to_owned(), run).join().unwrap(), Ok(false));
        let other = |()| match Command::new("/bin/ls").output() {
            Ok(_) => None,
            Err(error) => error.raw_os_error(),
        };
        assert_eq!(procs.spawn((), other).join().unwrap(), Some(libc::EACCES));
        // It, too, signals nobody else.
        let (procs, keeps_signals_in) = executing("/bin/sh", &mark());
        let signal = |pid: u32| {
            let mut shell = Command::new("/bin/sh");
            shell.args(["-c", &format!("kill -CONT {pid}")]).output().unwrap().status.success()
        };
        assert!(signal(std::process::id()));
        let signals = procs.spawn(std::process::id(), signal).join().unwrap();
        assert_eq!(signals, !keeps_signals_in);
        // Its children stay in its group, and end with it.
        let leaves = |()| rustix::process::setsid().is_ok();
        assert!(!procs.spawn((), leaves).join().unwrap());
    }

    fn processes_that_a_worker_starts_end_with_it() {
        let mark = mark();
        let (procs, _) = executing("/bin/sleep", &mark);
        let start = |()| {
            #[allow(clippy::zombie_processes)] // they end with the worker
            for _ in 0..3 {
                Command::new("/bin/sleep").arg("10000").stdin(Stdio::null()).spawn().unwrap();
            }
            forever::<()>();
        };
        let endless = procs.call(start).timeout(Duration::from_secs(1)).spawn(());
        until(|| marked(&mark).len() == 4);
        assert!(matches!(endless.join(), Err(TaskError::TimedOut(_))));
        until(|| marked(&mark).len() <= 1);
        assert_eq!(procs.spawn(4, |n: u64| n + 1).join().unwrap(), 5);
        drop(procs);
        until(|| marked(&mark).is_empty());
    }

    fn a_network_that_is_allowed_is_this_machine_s() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let procs = pool(Sandbox::new().allow_network());
        let dial = |port: u16| TcpStream::connect(("127.0.0.1", port)).is_ok();
        assert!(procs.spawn(port, dial).join().unwrap());
        assert!(listener.accept().is_ok());
        let others = |()| {
            let domain = std::os::unix::net::UnixDatagram::unbound().is_ok();
            let pair = std::os::unix::net::UnixStream::pair().is_ok();
            (domain, pair)
        };
        assert_eq!(procs.spawn((), others).join().unwrap(), (false, true));
        let protocols = |()| {
            use rustix::net::{AddressFamily, SocketType, ipproto, socket};
            let all = [
                (SocketType::STREAM, ipproto::TCP),
                (SocketType::DGRAM, ipproto::UDP),
                (SocketType::DGRAM, ipproto::ICMP),
                (SocketType::STREAM, ipproto::SCTP),
            ];
            all.map(|(kind, protocol)| match socket(AddressFamily::INET, kind, Some(protocol)) {
                Ok(_) => 0,
                Err(error) => error.raw_os_error(),
            })
        };
        let refused = libc::EPERM;
        assert_eq!(procs.spawn((), protocols).join().unwrap(), [0, 0, refused, refused]);
    }

    fn a_call_that_is_allowed_is_made() {
        let seals = |()| {
            let flags = rustix::fs::MemfdFlags::CLOEXEC;
            rustix::fs::memfd_create("x", flags).map(drop).map_err(rustix::io::Errno::raw_os_error)
        };
        assert_eq!(pool(Sandbox::new()).spawn((), seals).join().unwrap(), Err(libc::EPERM));
        let allowed = Sandbox::new().allow_syscall(libc::SYS_memfd_create);
        assert_eq!(pool(allowed).spawn((), seals).join().unwrap(), Ok(()));
    }

    fn what_forbids_a_sandbox_is_said() {
        let refused = |sandbox: Sandbox| {
            ProcessPool::builder().launcher(sandbox).build().unwrap_err().to_string()
        };
        for sandbox in [
            Sandbox::new().read("/no/such/folder"),
            Sandbox::new().write("/no/such/folder"),
            Sandbox::new().allow_exec("/no/such/folder"),
        ] {
            let nowhere = refused(sandbox);
            assert!(nowhere.contains("`/no/such/folder`"), "{nowhere}");
        }
        let says = output_of("sandbox-without-landlock");
        for words in ["refused: workers cannot be started", "no Landlock", "best_effort", "unenforced: [\""] {
            assert!(says.contains(words), "{says}");
        }
    }

    fn without_namespaces_it_is_a_sandbox_all_the_same() {
        assert!(output_of("sandbox-without-namespaces").contains("all went on"));
    }
}
