//! What bubblewrap's sandbox keeps out: each row of the table of `Sandbox`, and what goes on in it.
//!
//! The checks run as this user, and if that is root, as another user, too: so their files are in
//! `/tmp`, not in a `TMPDIR` that may be this user's alone. Where there is no bubblewrap, or no
//! namespaces, a test says so, and does nothing.

use crate::support::marks::{died, mark, marked, marked_pool};
use crate::support::{self, Scratch, Test, forever, tests, until};

use std::hint::black_box;
use std::io::{self, BufRead, ErrorKind};
use std::net::{TcpListener, TcpStream};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::os::unix::net::{SocketAddr, UnixDatagram, UnixListener, UnixStream};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use trefoil::{Bulk, ProcessPool, TaskError};
use trefoil_sandbox::Sandbox;

/// A pool in the sandbox; `None`, if there can be none here.
fn pool(sandbox: Sandbox, mark: &str) -> Option<ProcessPool> {
    match Command::new("bwrap")
        .args(["--unshare-all", "--ro-bind", "/", "/", "true"])
        .output()
    {
        Ok(tried) if tried.status.success() => {}
        tried => {
            println!("(no sandbox can be made here: {tried:?}) ");
            return None;
        }
    }
    Some(marked_pool(sandbox, mark).workers(2).build().unwrap())
}

fn plain() -> Option<ProcessPool> {
    pool(Sandbox::new(), &mark())
}

fn connects() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let port = listener.local_addr().unwrap().port();
    let dial = |port: u16| TcpStream::connect(("127.0.0.1", port)).is_ok();
    let Some(procs) = plain() else { return };
    assert!(!procs.spawn(port, dial).join().unwrap());
    assert_eq!(listener.accept().unwrap_err().kind(), ErrorKind::WouldBlock);
    for folder in ["/tmp", "/run"] {
        let path = PathBuf::from(folder).join(mark());
        // (Only root may make one in `/run`.)
        if let Ok(_listener) = UnixListener::bind(&path) {
            assert!(UnixStream::connect(&path).is_ok());
            let dial = |path: PathBuf| UnixStream::connect(path).is_ok();
            assert!(!procs.spawn(path.clone(), dial).join().unwrap(), "{path:?}");
            std::fs::remove_file(path).unwrap();
        }
    }
    let procs = pool(Sandbox::new().network(true), &mark()).unwrap();
    assert!(procs.spawn(port, dial).join().unwrap());
    assert!(listener.accept().is_ok());
}

/// Whether a worker can create a file there.
fn write_to(folder: String) -> Result<(), String> {
    let file = format!("{folder}/written-by-a-worker");
    std::fs::write(&file, "words").map_err(|error| error.to_string())?;
    assert_eq!(std::fs::read(&file).unwrap(), b"words");
    Ok(())
}

fn writes() {
    let scratch = PathBuf::from("/tmp").join(mark());
    std::fs::create_dir(&scratch).unwrap();
    std::fs::write(scratch.join("secret"), "secret").unwrap();
    let folder = scratch.to_str().unwrap().to_owned();
    let Some(procs) = plain() else { return };
    let home = std::env::home_dir().unwrap().to_string_lossy().into_owned();
    let here = std::env::current_dir()
        .unwrap()
        .to_string_lossy()
        .into_owned();
    for place in [
        home.as_str(),
        "/",
        "/home",
        "/etc",
        "/var/tmp",
        "/run",
        "/sys",
        "/dev",
        "/proc",
        "/proc/self",
        &here,
    ] {
        let written = procs.spawn(place.to_owned(), write_to).join().unwrap();
        assert!(written.is_err(), "{place}");
        assert!(
            !PathBuf::from(place).join("written-by-a-worker").exists(),
            "{place}"
        );
    }
    let own = |()| {
        let (own, is_empty) = (
            std::env::temp_dir(),
            std::fs::read_dir("/tmp").unwrap().next(),
        );
        let is_empty =
            is_empty.is_none_or(|_| std::env::current_exe().unwrap().starts_with("/tmp"));
        (write_to(own.to_string_lossy().into_owned()), own, is_empty)
    };
    let temporary = procs.spawn((), own).join().unwrap();
    assert_eq!(temporary, (Ok(()), "/tmp".into(), true));
    assert!(!PathBuf::from("/tmp/written-by-a-worker").exists());
    assert!(
        procs
            .spawn(folder.clone(), write_to)
            .join()
            .unwrap()
            .is_err()
    );
    let read = |folder: String| std::fs::read(folder + "/secret").ok();
    assert_eq!(procs.spawn(folder.clone(), read).join().unwrap(), None);
    // What is allowed, and what is forbidden besides.
    let procs = pool(Sandbox::new().readable(&folder), &mark()).unwrap();
    assert!(
        procs
            .spawn(folder.clone(), write_to)
            .join()
            .unwrap()
            .is_err()
    );
    assert_eq!(
        procs.spawn(folder.clone(), read).join().unwrap().unwrap(),
        b"secret"
    );
    let procs = pool(
        Sandbox::new()
            .hidden("/etc")
            .hidden(&folder)
            .writable(&folder),
        &mark(),
    );
    let procs = procs.unwrap();
    procs
        .spawn(folder.clone(), write_to)
        .join()
        .unwrap()
        .unwrap();
    assert!(scratch.join("written-by-a-worker").exists());
    assert!(
        procs
            .spawn("/etc".to_owned(), write_to)
            .join()
            .unwrap()
            .is_err()
    );
    assert_eq!(
        procs
            .spawn((), |()| std::fs::read_dir("/etc").unwrap().count())
            .join()
            .unwrap(),
        0
    );
    std::fs::remove_dir_all(&folder).unwrap();
}

/// Files that ask for a user's number only: a root's sandbox could change the machine with them.
/// (What is written is what was read, and nobody reads a message's answer.)
fn writes_to_the_kernel() {
    let Some(procs) = plain() else { return };
    let again = |path: String| {
        let now = std::fs::read(&path).unwrap_or_else(|_| b"?".to_vec());
        let file = std::fs::File::options().write(true).open(path);
        file.and_then(|mut file| io::Write::write_all(&mut file, &now))
            .map_err(|error| error.to_string())
    };
    for path in [
        "/proc/sys/kernel/core_pattern",
        "/proc/sys/kernel/modprobe",
        "/proc/sys/vm/overcommit_memory",
        "/proc/sys/kernel/panic_on_oops",
        "/proc/sysrq-trigger",
        "/proc/self/oom_score_adj",
        "/sys/kernel/uevent_helper",
        "/sys/fs/cgroup/cgroup.procs",
    ] {
        let written = procs.spawn(path.to_owned(), again).join().unwrap();
        assert!(written.is_err(), "{path}");
    }
}

/// Ten times as much as there is room for, in one file and in many.
fn fills_its_scratch() {
    let fill = |folder: String| {
        let write = |n: u32| std::fs::write(format!("{folder}/{n}"), vec![1; 4 << 20]);
        let kept = (0..160).map_while(|n| write(n).ok()).count();
        let mut large = std::fs::File::create(format!("{folder}/large")).unwrap();
        let more = io::copy(&mut io::repeat(1), &mut large).unwrap_err();
        (kept, more.kind() == ErrorKind::StorageFull)
    };
    for (sandbox, most) in [
        (Sandbox::new(), 16),
        (Sandbox::new().tmp_limit(20 << 20), 5),
    ] {
        let Some(procs) = pool(sandbox, &mark()) else {
            return;
        };
        for folder in ["/tmp", "/dev/shm"] {
            let (kept, is_full) = procs.spawn(folder.to_owned(), fill).join().unwrap();
            assert!(kept <= most && kept + 2 > most, "{kept} in {folder}");
            assert!(is_full);
        }
    }
}

/// A descriptor that this process has without close-on-exec, through which the home could be read.
fn uses_descriptors() {
    let scratch = PathBuf::from("/tmp").join(mark());
    std::fs::create_dir(&scratch).unwrap();
    let folder = std::fs::File::open(&scratch).unwrap();
    rustix::io::fcntl_setfd(&folder, rustix::io::FdFlags::empty()).unwrap();
    let Some(procs) = plain() else { return };
    let open = |()| -> Vec<String> {
        let all = std::fs::read_dir("/proc/self/fd").unwrap().flatten();
        let targets = all.filter_map(|entry| std::fs::read_link(entry.path()).ok());
        targets
            .map(|path| path.to_string_lossy().into_owned())
            .collect()
    };
    for path in procs.spawn((), open).join().unwrap() {
        // Streams of the worker, the folder that is being read, and what the library has made.
        let own = [
            "pipe:",
            "socket:",
            "anon_inode:",
            "/proc/",
            "/memfd:",
            "/dev/null",
        ];
        assert!(own.iter().any(|own| path.starts_with(own)), "{path}");
    }
    std::fs::remove_dir(scratch).unwrap();
}

/// What a call ends with, in a process that has nothing to lose by it: 0 if it is made.
#[cfg(target_arch = "x86_64")]
#[allow(unsafe_code)]
fn made(call: i64, arguments: [i64; 5]) -> i32 {
    let [a, b, c, d, e] = arguments;
    // SAFETY: numbers, null pointers and a path: the kernel writes to no memory of ours.
    let result = unsafe { libc::syscall(call, a, b, c, d, e) };
    if result == 0 && call == libc::SYS_clone {
        // SAFETY: it ends the child that was made, which has done nothing.
        unsafe { libc::_exit(0) };
    }
    let error = || io::Error::last_os_error().raw_os_error().unwrap();
    if result < 0 { error() } else { 0 }
}

/// `unshare` with the number and the way of 32-bit programs.
#[cfg(target_arch = "x86_64")]
#[allow(unsafe_code)]
fn unshare_of_32_bits(flags: i32) -> i32 {
    let mut result: i64 = 310;
    // SAFETY: it takes numbers only. The kernel may change the registers that are named.
    unsafe {
        std::arch::asm!(
            "xchg rbx, {flags}",
            "int 0x80",
            "xchg rbx, {flags}",
            flags = inout(reg) i64::from(flags) => _,
            inout("rax") result,
            out("r8") _, out("r9") _, out("r10") _, out("r11") _,
        );
    }
    -result as i32
}

#[cfg(target_arch = "x86_64")]
const NAMESPACES: [i32; 7] = [
    libc::CLONE_NEWNS,
    libc::CLONE_NEWCGROUP,
    libc::CLONE_NEWUTS,
    libc::CLONE_NEWIPC,
    libc::CLONE_NEWUSER,
    libc::CLONE_NEWPID,
    libc::CLONE_NEWNET,
];

/// In a forked child, too, it makes no namespace, in which it would have all capabilities.
#[cfg(target_arch = "x86_64")]
fn makes_namespaces() {
    let Some(procs) = plain() else { return };
    let make = |()| {
        let mut errors = Vec::new();
        for flag in NAMESPACES.map(i64::from) {
            errors.push(made(libc::SYS_unshare, [flag, 0, 0, 0, 0]));
            let child = flag | i64::from(libc::SIGCHLD);
            errors.push(made(libc::SYS_clone, [child, 0, 0, 0, 0]));
            errors.push(made(libc::SYS_setns, [0, flag, 0, 0, 0]));
        }
        let time = 0x80; // a flag of `unshare`, and none of `clone`
        errors.push(made(libc::SYS_unshare, [time, 0, 0, 0, 0]));
        let all = i64::from(NAMESPACES.iter().fold(0, |all, flag| all | flag));
        errors.push(made(libc::SYS_unshare, [all, 0, 0, 0, 0]));
        errors
    };
    let errors = procs.spawn((), make).join().unwrap();
    assert!(
        errors.iter().all(|error| *error == libc::EPERM),
        "{errors:?}"
    );
    // Flags that the filter cannot see; another architecture's calls; newer calls.
    let others = |()| {
        let user = i64::from(libc::CLONE_NEWUSER);
        let calls = [
            libc::SYS_clone3,
            libc::SYS_unshare | 1 << 30,
            libc::SYS_clone3 + 32,
            9999,
        ];
        calls.map(|call| made(call, [user, 0, 0, 0, 0])).to_vec()
    };
    assert_eq!(procs.spawn((), others).join().unwrap(), [libc::ENOSYS; 4]);
    // A kernel without such calls ends the process that makes one.
    let narrow = procs.spawn(libc::CLONE_NEWUSER, unshare_of_32_bits).join();
    assert!(!narrow.is_ok_and(|error| error != libc::ENOSYS));
    // What is no namespace goes on: threads, children.
    let ordinary = |()| {
        let child = Command::new("/bin/true").status().unwrap().success();
        child && std::thread::spawn(|| true).join().unwrap()
    };
    assert!(procs.spawn((), ordinary).join().unwrap());
}

/// What needs no capability, and no limit of a process counts, or leads past the filter.
#[cfg(target_arch = "x86_64")]
fn makes_calls_that_are_refused() {
    let Some(procs) = plain() else { return };
    let make = |()| {
        let (here, root, session) = (
            i64::from(libc::AT_FDCWD),
            c"/".as_ptr().expose_provenance() as i64,
            -3,
        );
        [
            (libc::SYS_open_tree, [here, root, 0, 0, 0]),
            (libc::SYS_fspick, [here, root, 0, 0, 0]),
            (libc::SYS_io_uring_setup, [1, 0, 0, 0, 0]),
            (libc::SYS_io_uring_enter, [-1, 0, 0, 0, 0]),
            (libc::SYS_perf_event_open, [0, 0, 0, 0, 0]),
            (libc::SYS_bpf, [-1, 0, 0, 0, 0]),
            (libc::SYS_userfaultfd, [1, 0, 0, 0, 0]),
            (libc::SYS_fanotify_init, [1 << 9, 0, 0, 0, 0]),
            (libc::SYS_shmget, [0, 1 << 20, 0o600, 0, 0]),
            (libc::SYS_msgget, [0, 0o600, 0, 0, 0]),
            (libc::SYS_semget, [0, 1, 0o600, 0, 0]),
            (libc::SYS_keyctl, [0, session, 0, 0, 0]),
            (libc::SYS_add_key, [0; 5]),
            (libc::SYS_request_key, [0; 5]),
        ]
        .map(|(call, arguments)| made(call, arguments))
        .to_vec()
    };
    let errors = procs.spawn((), make).join().unwrap();
    assert!(
        errors.iter().all(|error| *error == libc::EPERM),
        "{errors:?}"
    );
    let names = |()| std::fs::read_to_string("/proc/keys").is_ok();
    assert!(!procs.spawn((), names).join().unwrap());
}

#[cfg(not(target_arch = "x86_64"))]
fn makes_namespaces() {}

#[cfg(not(target_arch = "x86_64"))]
fn makes_calls_that_are_refused() {}

/// Which of these it reaches: a socket of streams and one of datagrams in this folder, in three
/// ways, and a socket with a name that is in no folder.
fn dial(here: PathBuf) -> Vec<String> {
    let (stream, datagrams) = (here.join("stream"), here.join("datagrams"));
    let name = SocketAddr::from_abstract_name(here.to_string_lossy().as_bytes()).unwrap();
    assert!(UnixStream::pair().is_ok());
    let dialled = [
        ("stream", UnixStream::connect(stream).is_ok()),
        (
            "datagrams",
            UnixDatagram::unbound().is_ok_and(|own| own.connect(&datagrams).is_ok()),
        ),
        (
            "pair",
            UnixDatagram::pair().is_ok_and(|(own, _)| own.send_to(b"x", &datagrams).is_ok()),
        ),
        ("abstract", UnixStream::connect_addr(&name).is_ok()),
    ];
    dialled
        .into_iter()
        .filter(|&(_, is_reached)| is_reached)
        .map(|(what, _)| what.to_owned())
        .collect()
}

/// It begins in a folder in `/tmp`, with two sockets, a FIFO that somebody reads, and a file.
fn working_directory() {
    let here = std::env::current_dir().unwrap();
    let _stream = UnixListener::bind("stream").unwrap();
    let _datagrams = UnixDatagram::bind("datagrams").unwrap();
    let name = SocketAddr::from_abstract_name(here.to_string_lossy().as_bytes()).unwrap();
    let _abstract = UnixListener::bind_addr(&name).unwrap();
    assert!(
        Command::new("mkfifo")
            .arg("fifo")
            .status()
            .unwrap()
            .success()
    );
    let nonblocking = rustix::fs::OFlags::NONBLOCK.bits() as i32;
    let read = std::fs::File::options()
        .read(true)
        .custom_flags(nonblocking)
        .open("fifo")
        .unwrap();
    std::fs::write("known", "known").unwrap();
    assert_eq!(
        dial(here.clone()),
        ["stream", "datagrams", "pair", "abstract"]
    );
    let look = |here: PathBuf| {
        let flags = rustix::fs::OFlags::NONBLOCK.bits() as i32;
        let fifo = std::fs::File::options()
            .write(true)
            .custom_flags(flags)
            .open(here.join("fifo"));
        let known = std::fs::read_to_string(here.join("known")).ok();
        (
            dial(here),
            fifo.is_ok(),
            known,
            std::fs::read_to_string("known").ok(),
        )
    };
    let known = Some("known".to_owned());
    assert!(look(here.clone()).1);
    let procs = pool(Sandbox::new().network(true), &mark()).unwrap();
    assert_eq!(
        procs.spawn(here.clone(), look).join().unwrap(),
        (vec![], false, None, None)
    );
    let procs = pool(Sandbox::new().network(true).readable(&here), &mark()).unwrap();
    let seen = procs.spawn(here.clone(), look).join().unwrap();
    assert_eq!(seen, (vec![], true, known.clone(), known));
    drop(read);
    println!("looked");
}

/// The home is hidden, whoever's it is.
fn reads_the_home() {
    let Some(procs) = plain() else { return };
    let home = std::env::home_dir().unwrap();
    let see = |home: PathBuf| -> Vec<PathBuf> {
        let entries = std::fs::read_dir(home).map(|all| all.flatten().map(|entry| entry.path()));
        entries.map(Iterator::collect).unwrap_or_default()
    };
    let exe = std::env::current_exe().unwrap();
    for home in [home, "/root".into(), "/home".into(), "/run".into()] {
        for path in procs.spawn(home.clone(), see).join().unwrap() {
            assert!(
                home.as_os_str() == "/" || exe.starts_with(&path),
                "{path:?}"
            );
        }
    }
}

/// It sees no other process, so it can read the memory of none, and signal none.
fn looks_at_others() {
    let Some(procs) = plain() else { return };
    let own = std::process::id();
    let others = |parent: u32| {
        let all = std::fs::read_dir("/proc").unwrap().flatten();
        let pids = all.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
        let memory = std::fs::File::open(format!("/proc/{parent}/mem")).is_ok();
        let pid = rustix::process::Pid::from_raw(parent as i32).unwrap();
        let signalled = rustix::process::kill_process(pid, rustix::process::Signal::KILL).is_ok();
        (pids.collect::<Vec<_>>(), memory, signalled)
    };
    let (pids, memory, signalled) = procs.spawn(own, others).join().unwrap();
    // The first process of the namespace, and the worker.
    assert!(
        pids.len() == 2 && pids.iter().all(|pid| *pid < 10),
        "{pids:?}"
    );
    assert!(!memory && !signalled);
    let capabilities = |()| std::fs::read_to_string("/proc/self/status").unwrap();
    let status = procs.spawn((), capabilities).join().unwrap();
    let has = |line: &str| status.lines().any(|one| one == line);
    assert!(
        has("CapEff:\t0000000000000000") && has("NoNewPrivs:\t1"),
        "{status}"
    );
}

/// Starts processes that leave the worker's group and session, up to `most`, and returns how many.
fn fork(most: usize) -> usize {
    let start = |_: &usize| {
        let mut leaves = Command::new("setsid");
        leaves
            .args(["--fork", "sleep", "10000"])
            .stdin(Stdio::null());
        leaves.status().is_ok_and(|status| status.success())
    };
    (0..most).take_while(start).count()
}

fn forks() {
    let mark = mark();
    let Some(procs) = pool(Sandbox::new().processes(40), &mark) else {
        return;
    };
    let started = procs.spawn(100, fork).join().unwrap();
    let is_root = rustix::process::geteuid().is_root();
    assert!(
        if is_root {
            started == 100
        } else {
            started < 40
        },
        "{started}"
    );
    // The other worker is not concerned, and neither is this process.
    assert!(Command::new("true").status().unwrap().success());
    let call = procs.call(|most: usize| {
        fork(most);
        forever::<()>();
    });
    let endless = call.timeout(Duration::from_millis(500)).spawn(60);
    until(|| marked(&mark).len() > 30);
    assert!(matches!(endless.join(), Err(TaskError::TimedOut(_))));
    assert_eq!(procs.spawn(4, |n: u64| n + 1).join().unwrap(), 5);
    drop(procs);
    until(|| marked(&mark).is_empty());
}

/// A pool whose workers have started processes in sessions of their own. One of the workers stops,
/// so it does not see the end of its stream.
fn parent() {
    let mark = std::env::var("WANTED").unwrap();
    let procs = pool(Sandbox::new(), &mark).unwrap();
    let call = |stops: bool| {
        fork(3);
        if stops {
            let own = rustix::process::getpid();
            rustix::process::kill_process(own, rustix::process::Signal::STOP).unwrap();
        }
        forever::<()>();
    };
    let tasks = [false, true].map(|stops| procs.spawn(stops, call));
    // Each sandbox has two processes of bubblewrap's, the worker, and the three.
    until(|| marked(&mark).len() >= 2 * 6);
    println!("ready");
    tasks.into_iter().for_each(|task| drop(task.join()));
}

/// The working directory of this process is removed.
fn nowhere() {
    let gone = std::env::temp_dir().join(mark());
    std::fs::create_dir(&gone).unwrap();
    std::env::set_current_dir(&gone).unwrap();
    std::fs::remove_dir(&gone).unwrap();
    let builder = ProcessPool::builder().launcher(Sandbox::new());
    println!("{}", builder.build().unwrap_err());
}

fn outlives() {
    let mark = mark();
    if pool(Sandbox::new(), &mark).is_none() {
        return;
    }
    let mut parent = Command::new(std::env::current_exe().unwrap());
    parent
        .env(support::HELPER, "sandbox-parent")
        .env("WANTED", &mark);
    let mut parent = parent
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let out = parent.stdout.take().unwrap();
    let mut lines = io::BufReader::new(out).lines().map_while(Result::ok);
    let is_ready = lines.any(|line| line.ends_with("ready"));
    let there = marked(&mark).len();
    parent.kill().unwrap();
    parent.wait().unwrap();
    assert!(is_ready && there >= 2 * 4, "{there}");
    until(|| marked(&mark).is_empty());
}

fn works() {
    let mark = mark();
    let Some(procs) = pool(Sandbox::new(), &mark) else {
        return;
    };
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
    drop(procs);
    until(|| marked(&mark).is_empty());
    let limited = ProcessPool::builder().launcher(Sandbox::new()).workers(1);
    let limited = limited.memory_limit(64 << 20).build().unwrap();
    let much = limited
        .spawn(1 << 30, |bytes: usize| black_box(vec![1u8; bytes]).len())
        .join();
    assert!(died(much).out_of_memory());
    assert_eq!(limited.spawn(5, |n: u64| n).join().unwrap(), 5);
}

/// What each row of the table promises, and what goes on.
const CHECKS: [fn(); 12] = [
    connects,
    writes,
    writes_to_the_kernel,
    fills_its_scratch,
    uses_descriptors,
    makes_namespaces,
    makes_calls_that_are_refused,
    reads_the_home,
    looks_at_others,
    forks,
    outlives,
    works,
];

pub(crate) fn helpers() {
    support::helper(&[
        ("sandbox-parent", parent),
        ("sandbox-working-directory", working_directory),
        ("sandbox-nowhere", nowhere),
        ("sandbox-user", || {
            CHECKS.iter().for_each(|check| check());
            println!("all checked");
        }),
    ]);
}

/// A `bwrap` that runs its command, and nothing else.
const OUTSIDE: &str = r#"while [ "$1" != /bin/sh ]; do shift; done; exec "$@""#;

fn write_script(path: &Path, lines: &str) {
    std::fs::write(path, format!("#!/bin/sh\n{lines}\n")).unwrap();
    std::fs::set_permissions(path, PermissionsExt::from_mode(0o755)).unwrap();
}

fn script(name: &str, lines: &str) -> Scratch {
    let scratch = Scratch::new(name);
    write_script(&scratch.0, lines);
    scratch
}

tests! {
    fn a_worker_that_opens_a_connection_finds_no_network() {
        connects();
    }

    fn a_worker_writes_only_to_its_own_tmp() {
        writes();
    }

    fn a_worker_writes_to_no_file_of_the_kernel() {
        writes_to_the_kernel();
    }

    fn a_worker_fills_its_own_tmp_and_no_more() {
        fills_its_scratch();
    }

    fn a_worker_inherits_no_descriptor() {
        uses_descriptors();
    }

    fn a_worker_makes_no_namespace() {
        makes_namespaces();
    }

    fn a_worker_makes_no_call_that_the_filter_refuses() {
        makes_calls_that_are_refused();
    }

    fn a_working_directory_in_tmp_brings_nothing_in() {
        if pool(Sandbox::new(), &mark()).is_none() {
            return;
        }
        let here = PathBuf::from("/tmp").join(mark());
        std::fs::create_dir(&here).unwrap();
        let mut helper = Command::new(std::env::current_exe().unwrap());
        helper.env(support::HELPER, "sandbox-working-directory").current_dir(&here);
        let output = helper.stdin(Stdio::null()).output().unwrap();
        let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(output.status.success() && out.contains("looked"), "{out}\n{err}");
        std::fs::remove_dir_all(&here).unwrap();
    }

    fn a_worker_finds_an_empty_home() {
        reads_the_home();
    }

    fn a_worker_neither_reads_nor_signals_other_processes() {
        looks_at_others();
    }

    fn a_worker_that_forks_without_end_is_limited_and_ended() {
        forks();
    }

    fn a_worker_and_its_processes_do_not_outlive_their_parent() {
        outlives();
    }

    fn ordinary_work_goes_on_in_the_sandbox() {
        works();
    }

    fn the_same_holds_for_another_user() {
        if !rustix::process::geteuid().is_root() {
            return; // the others have shown it
        }
        let own = std::env::current_exe().unwrap();
        let mut other = Command::new(&own);
        other.uid(65534).gid(65534).current_dir("/").stdin(Stdio::null());
        if !other.env(support::HELPER, "nothing").arg("none::").output().is_ok_and(|o| o.status.success()) {
            print!("(another user cannot run this program) ");
            return;
        }
        let output = other.env(support::HELPER, "sandbox-user").output().unwrap();
        let out = String::from_utf8_lossy(&output.stdout);
        let err = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success() && out.contains("all checked"), "{out}\n{err}");
    }

    fn what_forbids_a_sandbox_is_said() {
        let refused = |sandbox: Sandbox| {
            ProcessPool::builder().launcher(sandbox).build().unwrap_err().to_string()
        };
        let missing = refused(Sandbox::new().program("no-such-bwrap"));
        assert!(missing.contains("install the package `bubblewrap`"), "{missing}");
        let nowhere = refused(Sandbox::new().writable("/no/such/folder"));
        assert!(nowhere.contains("`/no/such/folder`"), "{nowhere}");
        let output = support::start_helper("sandbox-nowhere").wait_with_output().unwrap();
        let nowhere = String::from_utf8_lossy(&output.stdout);
        let says = ["working directory", "No such file or directory", "Change to one that exists"];
        assert!(says.iter().all(|some| nowhere.contains(some)), "{nowhere}");
        let fails = script("sandbox-fails", "echo No permissions to create a namespace >&2; exit 1");
        let forbidden = refused(Sandbox::new().program(&fails.0));
        assert!(forbidden.contains("No permissions") && forbidden.contains("userns"), "{forbidden}");
    }

    fn a_bwrap_that_ignores_an_option_is_noticed() {
        if pool(Sandbox::new(), &mark()).is_none() {
            return;
        }
        let instead = |word: &str, other: &str| format!(
            r#"for word do shift; [ "$word" = {word} ] && word={other}; set -- "$@" "$word"; done; exec bwrap "$@""#
        );
        for (name, lines, says) in [
            ("nothing", OUTSIDE.to_owned(), "it runs its command"),
            ("filter", r#"shift 2; exec bwrap "$@""#.to_owned(), "filter of system calls"),
            ("writes", instead("--ro-bind", "--bind"), "root file system"),
            ("shares", instead("--unshare-all", "--unshare-ipc"), "namespace `pid`"),
            ("pids", instead("--unshare-all", "--unshare-pid"), "namespace `ipc`"),
        ] {
            let fake = script(&format!("sandbox-{name}"), &lines);
            let refused = ProcessPool::builder().launcher(Sandbox::new().program(&fake.0)).build();
            let refused = refused.unwrap_err().to_string();
            assert!(refused.contains(says) && refused.contains("ignores its options"), "{name}: {refused}");
        }
    }

    fn a_bwrap_that_hangs_is_killed() {
        let pid = Scratch::new("sandbox-pid");
        let hangs = format!("echo it hangs >&2; echo $$ > {}; exec sleep 10000", pid.0.display());
        let hangs = script("sandbox-hangs", &hangs);
        let refused = ProcessPool::builder().launcher(Sandbox::new().program(&hangs.0)).build();
        let refused = refused.unwrap_err().to_string();
        assert!(refused.contains("has not begun") && refused.contains("it hangs"), "{refused}");
        let process = std::fs::read_to_string(&pid.0).unwrap();
        let process: u32 = process.trim().parse().unwrap();
        assert!(support::is_dead(process));
    }

    fn the_bwrap_that_was_tried_is_the_one_that_starts_workers() {
        let folder = Scratch::new("sandbox-path");
        std::fs::remove_file(&folder.0).unwrap();
        std::fs::create_dir(&folder.0).unwrap();
        write_script(&folder.0.join("bwrap"), OUTSIDE);
        if pool(Sandbox::new(), &mark()).is_some() {
            let builder = ProcessPool::builder().workers(1).launcher(Sandbox::new());
            let procs = builder.env("PATH", folder.text()).build().unwrap();
            let status = |()| std::fs::read_to_string("/proc/self/status").unwrap();
            let status = procs.spawn((), status).join().unwrap();
            assert!(status.contains("NoNewPrivs:\t1\n"), "{status}");
        }
        std::fs::remove_dir_all(&folder.0).unwrap();
    }
}
