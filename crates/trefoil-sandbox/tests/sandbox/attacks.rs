//! The table of attacks: each is made by a worker without a sandbox, where it succeeds, and by one
//! in a sandbox, where it fails with the error that the table names. Both happen as this user, and
//! if that is root, as another user, too. `cargo test -p trefoil-sandbox --test sandbox -- table
//! --nocapture` prints it.

use crate::support::marks::mark;
use crate::support::{self, Test, tests, until};

use std::ffi::{CStr, CString};
use std::fs::{self, File};
use std::io::{self, Write};
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::os::fd::AsRawFd;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt, symlink};
use std::os::unix::net::{SocketAddr, UnixDatagram, UnixListener, UnixStream};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};

use libc::{EACCES, ENOENT, ENOSYS, EPERM, EROFS, EXDEV, c_long};
use serde::{Deserialize, Serialize};
use trefoil::{ProcessPool, ProcessPoolBuilder, TaskError};
use trefoil_sandbox::{Sandbox, Wrapped};

/// What attacks are aimed at.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct World {
    /// A folder of this user, with a `secret`; in it `shared`, which the sandbox may read, and
    /// `results`, which it may write.
    home: PathBuf,
    parent: i32,
    /// Where the parent has a word in its memory.
    word: usize,
    /// A process of this user, which sleeps.
    victim: i32,
    /// An open file of the parent.
    file: i32,
    tcp: u16,
    udp: u16,
    name: String,
}

impl World {
    fn secret(&self) -> PathBuf {
        self.home.join("secret")
    }
    fn shared(&self) -> PathBuf {
        self.home.join("shared")
    }
    fn results(&self) -> PathBuf {
        self.home.join("results")
    }
    fn of_parent(&self, file: &str) -> String {
        format!("/proc/{}/{file}", self.parent)
    }
}

/// Who can make it at all.
#[derive(Clone, Copy, PartialEq)]
enum By {
    All,
    Root,
    /// The kernel may not have it, or may be set up to refuse it.
    Perhaps,
}
use By::{All, Perhaps, Root};

/// How the sandbox ends it.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Fails {
    With(i32),
    /// The file system is read-only, in a mount namespace; where there is none, `EACCES`.
    Written,
    /// The worker dies of this signal.
    Dies(i32),
}
use Fails::{Dies, With, Written};

type Attack = (&'static str, By, Fails, fn(&World) -> io::Result<()>);

/// Makes a system call.
#[allow(unsafe_code)]
fn made(call: c_long, arguments: &[i64]) -> io::Result<i64> {
    let mut all = [0; 6];
    all[..arguments.len()].copy_from_slice(arguments);
    let [a, b, c, d, e, f] = all;
    // SAFETY: the attacks give numbers, and pointers to values that outlive the call; this process
    // has nothing to lose by it.
    let result = unsafe { libc::syscall(call, a, b, c, d, e, f) };
    if result < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(result)
    }
}

fn call(number: c_long, arguments: &[i64]) -> io::Result<()> {
    made(number, arguments).map(drop)
}

fn address<T>(value: *const T) -> i64 {
    value.expose_provenance() as i64
}

fn c_string(path: &Path) -> CString {
    CString::new(path.to_str().unwrap()).unwrap()
}

fn on_path(number: c_long, path: &Path, rest: &[i64]) -> io::Result<()> {
    let path = c_string(path);
    let mut arguments = vec![i64::from(libc::AT_FDCWD), address(path.as_ptr())];
    arguments.extend(rest);
    call(number, &arguments)
}

/// What `fcntl` and `ioctl` do to a file, with a number.
fn control(number: c_long, file: i32, request: i64, value: i64) -> io::Result<()> {
    call(number, &[file.into(), request, value])
}

/// A descriptor of the parent's process: of the other end of the stream to it, if that tells.
fn parent_by_stream(w: &World) -> io::Result<i64> {
    const SO_PEERPIDFD: i64 = 77;
    let (mut parent, mut size) = (-1_i32, 4_u32);
    let (level, value) = (libc::SOL_SOCKET.into(), address(&raw mut parent));
    let arguments = [0, level, SO_PEERPIDFD, value, address(&raw mut size)];
    match made(libc::SYS_getsockopt, &arguments) {
        Ok(_) => Ok(parent.into()),
        Err(_) => made(libc::SYS_pidfd_open, &[w.parent.into(), 0]),
    }
}

/// Starts a child that ends at once.
fn fork(flags: i32) -> io::Result<()> {
    in_child(flags, || Ok(()))
}

/// Makes an attack in a child. (It must not allocate: another thread may have had the heap's lock.)
#[allow(unsafe_code)]
fn in_child(flags: i32, attack: impl FnOnce() -> io::Result<()>) -> io::Result<()> {
    let flags = i64::from(flags | libc::SIGCHLD);
    let child = made(libc::SYS_clone, &[flags, 0, 0, 0, 0])?;
    if child == 0 {
        let error = attack().map_or_else(|error| error.raw_os_error().unwrap_or(255), |()| 0);
        // SAFETY: it ends the child, which has nothing to clean up.
        unsafe { libc::_exit(error) };
    }
    let mut status = 0_i32;
    call(libc::SYS_wait4, &[child, address(&raw mut status), 0, 0])?;
    match ExitStatus::from_raw(status).code() {
        Some(0) => Ok(()),
        code => Err(io::Error::from_raw_os_error(code.unwrap_or(libc::EINTR))),
    }
}

/// Writes to the file that kills all that are in this process's control group, its driver among
/// them: a child has all rights in a user namespace of its own, and so mounts the group's files
/// on this folder.
fn write_to_group(folder: &Path, text: &CStr) -> io::Result<()> {
    let (file, folder) = (c_string(&folder.join("cgroup.kill")), c_string(folder));
    let kind = address(c"cgroup2".as_ptr());
    let flags = libc::CLONE_NEWUSER | libc::CLONE_NEWNS | libc::CLONE_NEWCGROUP;
    in_child(flags, || {
        let mount = [kind, address(folder.as_ptr()), kind, 0, 0];
        call(libc::SYS_mount, &mount)?;
        let (here, path) = (libc::AT_FDCWD.into(), address(file.as_ptr()));
        let opened = made(libc::SYS_openat, &[here, path, libc::O_WRONLY.into()])?;
        call(libc::SYS_write, &[opened, address(text.as_ptr()), 1])
    })
}

/// The number of a call and its way in a 32-bit program.
#[cfg(target_arch = "x86_64")]
#[allow(unsafe_code)]
fn narrow() -> io::Result<()> {
    let mut result: i64 = 20; // getpid
    // SAFETY: it takes nothing. The kernel may change the registers that are named.
    unsafe {
        std::arch::asm!(
            "int 0x80",
            inout("rax") result,
            out("r8") _, out("r9") _, out("r10") _, out("r11") _,
        );
    }
    if result < 0 {
        Err(io::Error::from_raw_os_error(-result as i32))
    } else {
        Ok(())
    }
}

fn write(path: &Path) -> io::Result<()> {
    File::options().write(true).open(path).map(drop)
}

fn create_and_remove(path: &Path) -> io::Result<()> {
    File::create(path)?;
    fs::remove_file(path)
}

/// Writes to a file of the kernel what it says now, or says that there is no such file.
fn write_again(path: &str) -> io::Result<()> {
    let now = fs::read(path).unwrap_or_else(|_| b"0".to_vec());
    File::options().write(true).open(path)?.write_all(&now)
}

const ATTACKS: &[Attack] = &[
    // Files.
    ("read a file of the home", All, With(EACCES), |w| {
        fs::read(w.secret()).map(drop)
    }),
    ("list the home", All, With(EACCES), |w| {
        fs::read_dir(&w.home).map(drop)
    }),
    ("read /etc/passwd", All, With(EACCES), |_| {
        fs::read("/etc/passwd").map(drop)
    }),
    ("read /etc/shadow", Root, With(EACCES), |_| {
        fs::read("/etc/shadow").map(drop)
    }),
    (
        "follow a link that leads out of what it may read",
        All,
        With(EACCES),
        |w| fs::read(w.shared().join("link")).map(drop),
    ),
    ("leave what it may read by `..`", All, With(EACCES), |w| {
        fs::read(w.shared().join("../secret")).map(drop)
    }),
    ("read through the root in /proc", All, With(EACCES), |_| {
        fs::read(Path::new("/proc/self/root").join("etc/passwd")).map(drop)
    }),
    (
        "make a hard link to a secret where it may write",
        All,
        With(EXDEV),
        |w| {
            let link = w.results().join("hard");
            fs::hard_link(w.secret(), &link)?;
            fs::remove_file(link)
        },
    ),
    ("plant a link where it may write", All, With(EACCES), |w| {
        let link = w.results().join("planted");
        symlink("/etc/shadow", &link)?;
        fs::remove_file(link)
    }),
    ("plant a pipe where it may write", All, With(EPERM), |w| {
        let pipe = w.results().join("pipe");
        let mode = i64::from(libc::S_IFIFO | 0o600);
        on_path(libc::SYS_mknodat, &pipe, &[mode, 0])?;
        fs::remove_file(pipe)
    }),
    (
        "plant a device where it may write, by a new name for a file",
        Perhaps,
        With(EPERM),
        |w| {
            let (file, other) = (w.results().join("file"), w.results().join("other"));
            fs::write(&file, "words")?;
            let to = c_string(&other);
            let to = [libc::AT_FDCWD.into(), address(to.as_ptr())];
            let whiteout = i64::from(libc::RENAME_WHITEOUT);
            let renamed = on_path(libc::SYS_renameat2, &file, &[to[0], to[1], whiteout]);
            fs::remove_file(file)?;
            renamed.and_then(|()| fs::remove_file(other))
        },
    ),
    (
        "plant a set-user-id file where it may write",
        All,
        With(EPERM),
        |w| {
            let planted = w.results().join("planted");
            let mut options = File::options();
            options.write(true).create_new(true).mode(0o4755);
            let mode = options.open(&planted)?.metadata()?.permissions().mode();
            fs::remove_file(planted)?;
            assert_eq!(mode & 0o4000, 0o4000);
            Ok(())
        },
    ),
    (
        "plant a set-group-id file that has no name yet",
        Perhaps,
        With(EPERM),
        |w| {
            let mut options = File::options();
            options.write(true).mode(0o2755);
            options.custom_flags(libc::O_TMPFILE);
            options.open(w.results()).map(drop)
        },
    ),
    ("make a file in the home", All, Written, |w| {
        create_and_remove(&w.home.join("new"))
    }),
    ("make a file in /tmp", All, Written, |w| {
        create_and_remove(&PathBuf::from("/tmp").join(&w.name))
    }),
    ("make a file in /dev/shm", All, Written, |w| {
        create_and_remove(&PathBuf::from("/dev/shm").join(&w.name))
    }),
    ("remove a file", All, Written, |w| {
        let victim = w.home.join("removed");
        fs::remove_file(&victim)?;
        fs::write(victim, "again")
    }),
    ("rename a file", All, Written, |w| {
        fs::rename(w.secret(), w.home.join("other"))?;
        fs::rename(w.home.join("other"), w.secret())
    }),
    ("write to what it may read", All, Written, |w| {
        write(&w.shared().join("file"))
    }),
    ("empty what it may read", All, With(EPERM), |w| {
        let flags = i64::from(libc::O_RDONLY | libc::O_TRUNC);
        on_path(libc::SYS_openat, &w.shared().join("empty"), &[flags, 0])
    }),
    ("truncate a file", All, With(EPERM), |w| {
        let path = c_string(&w.home.join("empty"));
        call(libc::SYS_truncate, &[address(path.as_ptr()), 0])
    }),
    ("change the mode of a file", All, With(EPERM), |w| {
        on_path(libc::SYS_fchmodat, &w.secret(), &[0o600])
    }),
    ("change the owner of a file", All, With(EPERM), |w| {
        on_path(libc::SYS_fchownat, &w.secret(), &[-1, -1, 0])
    }),
    ("change the times of a file", All, With(EPERM), |w| {
        on_path(libc::SYS_utimensat, &w.secret(), &[0, 0])
    }),
    ("set an attribute of a file", Perhaps, With(EPERM), |w| {
        let (path, name) = (c_string(&w.secret()), c"user.trefoil");
        let arguments = [path.as_ptr(), name.as_ptr(), name.as_ptr()].map(address);
        call(libc::SYS_setxattr, &[&arguments[..], &[4, 0]].concat())
    }),
    ("read an attribute of a file", Perhaps, With(EPERM), |w| {
        let (path, name) = (c_string(&w.home.join("marked")), c"user.trefoil");
        let mut value = [0_u8; 8];
        let arguments = [path.as_ptr(), name.as_ptr()].map(address);
        let value = [address(&raw mut value), 8];
        call(libc::SYS_getxattr, &[arguments, value].concat())
    }),
    ("set a flag of its own file", Perhaps, With(EPERM), |w| {
        const FS_IOC_GETFLAGS: i64 = 0x8008_6601;
        const FS_IOC_SETFLAGS: i64 = 0x4008_6602;
        let file = w.results().join("flags");
        let open = File::create(&file)?;
        fs::remove_file(file)?;
        let mut flags = 0_u64;
        let flags = address(&raw mut flags);
        control(libc::SYS_ioctl, open.as_raw_fd(), FS_IOC_GETFLAGS, flags)?;
        control(libc::SYS_ioctl, open.as_raw_fd(), FS_IOC_SETFLAGS, flags)
    }),
    (
        "make a request of a file that is rare",
        All,
        With(EPERM),
        |w| {
            const FIOQSIZE: i64 = 0x5460;
            let file = w.results().join("sized");
            let open = File::create(&file)?;
            fs::remove_file(file)?;
            let mut size = 0_i64;
            control(
                libc::SYS_ioctl,
                open.as_raw_fd(),
                FIOQSIZE,
                address(&raw mut size),
            )
        },
    ),
    (
        "take a snapshot of all around what it may write",
        Perhaps,
        With(EPERM),
        |w| {
            const BTRFS_IOC_SNAP_CREATE: i64 = 0x5000_9401;
            let folder = File::open(w.results())?;
            let mut arguments = [0_u8; 4096];
            arguments[..4].copy_from_slice(&folder.as_raw_fd().to_ne_bytes());
            arguments[8..12].copy_from_slice(b"snap");
            let arguments = address(&raw const arguments);
            let folder = folder.as_raw_fd();
            control(libc::SYS_ioctl, folder, BTRFS_IOC_SNAP_CREATE, arguments)
        },
    ),
    (
        "open by its own `/proc` what it has without rights",
        All,
        With(EACCES),
        |w| {
            let mut options = File::options();
            options.read(true).custom_flags(libc::O_PATH);
            let handle = options.open(w.secret())?;
            File::open(format!("/proc/self/fd/{}", handle.as_raw_fd())).map(drop)
        },
    ),
    ("watch a folder by signals", All, With(EPERM), |w| {
        const F_NOTIFY: i64 = 1026;
        let folder = File::open(w.results())?;
        control(libc::SYS_fcntl, folder.as_raw_fd(), F_NOTIFY, 0)
    }),
    ("watch the home", All, With(EPERM), |w| {
        let watch = made(libc::SYS_inotify_init1, &[0])?;
        let path = c_string(&w.home);
        call(
            libc::SYS_inotify_add_watch,
            &[watch, address(path.as_ptr()), 0xfff],
        )
    }),
    ("open a file by its handle", Root, With(EPERM), |w| {
        let path = c_string(&w.secret());
        let (mut handle, mut mount) = ([0_u32; 34], 0_i32);
        handle[0] = 128;
        let handle = address(&raw mut handle);
        let arguments = [
            libc::AT_FDCWD.into(),
            address(path.as_ptr()),
            handle,
            address(&raw mut mount),
            0,
        ];
        call(libc::SYS_name_to_handle_at, &arguments)
    }),
    (
        "put a file beside its own executable",
        Perhaps,
        Written,
        |w| create_and_remove(&std::env::current_exe()?.with_file_name(&w.name)),
    ),
    ("write to a setting of the kernel", Root, Written, |_| {
        write_again("/proc/sys/kernel/core_pattern")
    }),
    (
        "make itself the last that is killed for memory",
        All,
        Written,
        |_| write_again("/proc/self/oom_score_adj"),
    ),
    // The parent, and others.
    ("read the parent's environment", All, With(EACCES), |w| {
        fs::read(w.of_parent("environ")).map(drop)
    }),
    ("have the parent's environment", All, With(ENOENT), |_| {
        let secret = std::env::var("SECRET_WORD").map(drop);
        secret.map_err(|_| io::Error::from_raw_os_error(ENOENT))
    }),
    ("open the parent's memory", All, With(EACCES), |w| {
        File::open(w.of_parent("mem")).map(drop)
    }),
    ("read the parent's memory", All, With(EPERM), |w| {
        let mut word = 0_u64;
        let own = [address(&raw mut word), 8];
        let theirs = [w.word as i64, 8];
        let (own, theirs) = (address(&raw const own), address(&raw const theirs));
        call(
            libc::SYS_process_vm_readv,
            &[w.parent.into(), own, 1, theirs, 1, 0],
        )
    }),
    (
        "open a file that the parent has open",
        All,
        With(EACCES),
        |w| File::open(w.of_parent(&format!("fd/{}", w.file))).map(drop),
    ),
    ("take a descriptor from the parent", All, With(EPERM), |w| {
        let parent = made(libc::SYS_pidfd_open, &[w.parent.into(), 0])?;
        call(libc::SYS_pidfd_getfd, &[parent, w.file.into(), 0])
    }),
    (
        "read the command line of another process",
        All,
        With(EACCES),
        |w| fs::read(format!("/proc/{}/cmdline", w.victim)).map(drop),
    ),
    ("list the processes", All, With(EACCES), |_| {
        fs::read_dir("/proc").map(drop)
    }),
    ("signal a process", All, With(EPERM), |w| {
        call(libc::SYS_kill, &[w.victim.into(), libc::SIGCONT.into()])
    }),
    ("signal the parent's process group", All, With(EPERM), |w| {
        let group = made(libc::SYS_getpgid, &[w.parent.into()])?;
        call(libc::SYS_kill, &[-group, 0])
    }),
    (
        "signal a process by its descriptor",
        All,
        With(EPERM),
        |w| {
            let victim = made(libc::SYS_pidfd_open, &[w.victim.into(), 0])?;
            call(
                libc::SYS_pidfd_send_signal,
                &[victim, libc::SIGCONT.into(), 0, 0],
            )
        },
    ),
    ("queue a signal for a process", All, With(EPERM), |w| {
        let mut information = [0_i32; 32];
        (information[0], information[2]) = (libc::SIGCONT, -1); // SI_QUEUE
        let information = address(&raw const information);
        let arguments = [w.victim.into(), libc::SIGCONT.into(), information];
        call(libc::SYS_rt_sigqueueinfo, &arguments)
    }),
    ("signal a thread of a process", All, With(EPERM), |w| {
        call(libc::SYS_tkill, &[w.victim.into(), libc::SIGCONT.into()])
    }),
    (
        "have a process signalled by a socket that it owns",
        All,
        With(EPERM),
        |w| {
            let (own, _) = UnixStream::pair()?;
            let own = own.as_raw_fd();
            control(libc::SYS_fcntl, own, libc::F_SETOWN.into(), w.victim.into())
        },
    ),
    (
        "have a process signalled by a socket, otherwise",
        All,
        With(EPERM),
        |w| {
            const FIOSETOWN: i64 = 0x8901;
            let (own, _) = UnixStream::pair()?;
            let victim = address(&raw const w.victim);
            control(libc::SYS_ioctl, own.as_raw_fd(), FIOSETOWN, victim)
        },
    ),
    (
        "signal the parent by what the stream knows of it",
        All,
        With(EPERM),
        |w| {
            let parent = parent_by_stream(w)?;
            call(libc::SYS_pidfd_send_signal, &[parent, 0, 0, 0])
        },
    ),
    (
        "have the parent's memory paged out",
        Perhaps,
        With(EPERM),
        |w| {
            const MADV_COLD: i64 = 20;
            let page = [w.word as i64 & !4095, 4096];
            let parent = parent_by_stream(w)?;
            let page = address(&raw const page);
            call(libc::SYS_process_madvise, &[parent, page, 1, MADV_COLD, 0])
        },
    ),
    (
        "compare the parent's memory with its own",
        Perhaps,
        With(EPERM),
        |w| {
            const KCMP_VM: i64 = 1;
            let own = std::process::id().into();
            call(libc::SYS_kcmp, &[own, w.parent.into(), KCMP_VM, 0, 0])
        },
    ),
    (
        "keep a process from sharing a core",
        Perhaps,
        With(EPERM),
        |w| {
            let (core, create) = (62, 1); // PR_SCHED_CORE, PR_SCHED_CORE_CREATE
            call(libc::SYS_prctl, &[core, create, w.victim.into(), 0, 0])
        },
    ),
    ("make a process wait for the disk", All, With(EPERM), |w| {
        let lowest = 3 << 13; // IOPRIO_CLASS_IDLE
        call(libc::SYS_ioprio_set, &[1, w.victim.into(), lowest])
    }),
    ("run before all others", Root, With(EPERM), |_| {
        let (parameters, none) = ([1_i32], [0_i32]);
        let set = |policy, parameters| call(libc::SYS_sched_setscheduler, &[0, policy, parameters]);
        set(libc::SCHED_FIFO.into(), address(&raw const parameters))?;
        set(libc::SCHED_OTHER.into(), address(&raw const none))
    }),
    ("raise its own limit again", Perhaps, With(EPERM), |_| {
        let queues = libc::RLIMIT_MSGQUEUE.into();
        let mut before = [0_u64; 2];
        let none = [0_u64; 2];
        let set = |limits| call(libc::SYS_prlimit64, &[0, queues, limits, 0]);
        let known = address(&raw mut before);
        call(libc::SYS_prlimit64, &[0, queues, 0, known])?;
        set(address(&raw const none))?;
        set(known)
    }),
    ("write to its own code by /proc", All, Written, |_| {
        File::options().write(true).open("/proc/self/mem").map(drop)
    }),
    ("trace a process", All, With(EPERM), |w| {
        let victim = w.victim.into();
        call(libc::SYS_ptrace, &[libc::PTRACE_SEIZE.into(), victim, 0, 0])?;
        call(
            libc::SYS_ptrace,
            &[libc::PTRACE_INTERRUPT.into(), victim, 0, 0],
        )?;
        call(libc::SYS_wait4, &[victim, 0, libc::__WALL.into(), 0])?;
        call(
            libc::SYS_ptrace,
            &[libc::PTRACE_DETACH.into(), victim, 0, 0],
        )
    }),
    ("set the limits of a process", All, With(EPERM), |w| {
        let mut limits = [0_u64; 2];
        let limits = address(&raw mut limits);
        let files = i64::from(libc::RLIMIT_NOFILE);
        call(libc::SYS_prlimit64, &[w.victim.into(), files, 0, limits])?;
        call(libc::SYS_prlimit64, &[w.victim.into(), files, limits, 0])
    }),
    ("make a process slower", All, With(EPERM), |w| {
        call(libc::SYS_setpriority, &[0, w.victim.into(), 19])
    }),
    (
        "choose the processors of a process",
        All,
        With(EPERM),
        |w| {
            let all = [u64::MAX; 16];
            call(
                libc::SYS_sched_setaffinity,
                &[w.victim.into(), 128, address(&raw const all)],
            )
        },
    ),
    ("outlive the parent", All, With(EPERM), |_| {
        call(libc::SYS_prctl, &[libc::PR_SET_PDEATHSIG.into(), 0])
    }),
    // Sockets.
    ("connect by TCP", All, With(EPERM), |w| {
        TcpStream::connect(("127.0.0.1", w.tcp)).map(drop)
    }),
    ("listen by TCP", All, With(EPERM), |_| {
        TcpListener::bind("127.0.0.1:0").map(drop)
    }),
    ("send by UDP", All, With(EPERM), |w| {
        UdpSocket::bind("127.0.0.1:0")?
            .send_to(b"x", ("127.0.0.1", w.udp))
            .map(drop)
    }),
    ("ask a name server", All, With(EPERM), |_| {
        UdpSocket::bind("0.0.0.0:0")?
            .send_to(b"?", "127.0.0.1:53")
            .map(drop)
    }),
    (
        "connect to a socket in a folder that it may read",
        All,
        With(EPERM),
        |w| UnixStream::connect(w.shared().join("socket")).map(drop),
    ),
    ("connect to an abstract socket", All, With(EPERM), |w| {
        UnixStream::connect_addr(&SocketAddr::from_abstract_name(&w.name)?).map(drop)
    }),
    (
        "send to a socket from a pair of datagrams",
        All,
        With(EPERM),
        |w| {
            UnixDatagram::pair()?
                .0
                .send_to(b"x", w.shared().join("datagrams"))
                .map(drop)
        },
    ),
    ("ask the kernel for its network", All, With(EPERM), |_| {
        call(
            libc::SYS_socket,
            &[libc::AF_NETLINK.into(), libc::SOCK_RAW.into(), 0],
        )
    }),
    (
        "reach the host of a virtual machine",
        Perhaps,
        With(EPERM),
        |_| {
            let (family, kind) = (libc::AF_VSOCK.into(), libc::SOCK_STREAM.into());
            call(libc::SYS_socket, &[family, kind, 0])
        },
    ),
    ("use the kernel's ciphers", Perhaps, With(EPERM), |_| {
        let (family, kind) = (libc::AF_ALG.into(), libc::SOCK_SEQPACKET.into());
        call(libc::SYS_socket, &[family, kind, 0])
    }),
    ("see all packets", Root, With(EPERM), |_| {
        let (family, kind) = (libc::AF_PACKET.into(), libc::SOCK_RAW.into());
        call(libc::SYS_socket, &[family, kind, 0])
    }),
    ("make a raw socket", Root, With(EPERM), |_| {
        call(
            libc::SYS_socket,
            &[libc::AF_INET.into(), libc::SOCK_RAW.into(), 1],
        )
    }),
    // Processes, programs, namespaces.
    ("fork", All, With(EPERM), |_| fork(0)),
    ("start a program", All, With(EPERM), |_| {
        Command::new("/bin/true").status().map(drop)
    }),
    ("execute a program in its place", All, With(EACCES), |_| {
        let (program, end) = (c"/bin/true", 0_usize);
        let arguments = [program.as_ptr().expose_provenance(), end];
        let (file, list) = (address(program.as_ptr()), address(&raw const arguments));
        call(
            libc::SYS_execve,
            &[file, list, address(&raw const arguments[1])],
        )
    }),
    ("execute what it has written", All, With(EACCES), |w| {
        let script = w.results().join("script");
        let mut options = File::options();
        options.write(true).create(true).truncate(true).mode(0o700);
        options.open(&script)?.write_all(b"#!/bin/true\n")?;
        let (program, end) = (c_string(&script), 0_usize);
        let arguments = [program.as_ptr().expose_provenance(), end];
        let (file, list) = (address(program.as_ptr()), address(&raw const arguments));
        call(
            libc::SYS_execve,
            &[file, list, address(&raw const arguments[1])],
        )
    }),
    (
        "choose where its memory is in what it executes",
        All,
        With(EPERM),
        |_| {
            const ADDR_NO_RANDOMIZE: i64 = 0x004_0000;
            let before = made(libc::SYS_personality, &[0xffff_ffff])?;
            call(libc::SYS_personality, &[before | ADDR_NO_RANDOMIZE])?;
            call(libc::SYS_personality, &[before])
        },
    ),
    ("run a set-user-id program", Perhaps, With(EPERM), |_| {
        let all = [
            "/usr/bin/su",
            "/bin/su",
            "/usr/bin/passwd",
            "/usr/bin/mount",
        ];
        let there = all.into_iter().find(|path| Path::new(path).exists());
        let there = there.ok_or(io::ErrorKind::NotFound)?;
        Command::new(there)
            .arg("--help")
            .stdin(Stdio::null())
            .output()
            .map(drop)
    }),
    ("make a namespace", Root, With(EPERM), |_| {
        call(libc::SYS_unshare, &[libc::CLONE_NEWUTS.into()])
    }),
    (
        "make a child in a user namespace",
        Perhaps,
        With(EPERM),
        |_| fork(libc::CLONE_NEWUSER),
    ),
    (
        "kill by a control group, in a child's user namespace",
        Perhaps,
        With(EPERM),
        |w| match write_to_group(&w.results(), c"0") {
            // (It may write there. The kernel takes nothing but a 1.)
            Err(error) if error.raw_os_error() == Some(libc::ERANGE) => Ok(()),
            other => other,
        },
    ),
    (
        "make a child by `clone3`, whose flags no filter sees",
        Perhaps,
        With(ENOSYS),
        |_| {
            let mut arguments = [0_u64; 8];
            arguments[0] = libc::CLONE_NEWUSER as u64;
            arguments[4] = libc::SIGCHLD as u64;
            let child = made(libc::SYS_clone3, &[address(&raw const arguments), 64])?;
            if child == 0 {
                std::process::exit(0);
            }
            call(libc::SYS_wait4, &[child, 0, 0, 0])
        },
    ),
    ("enter a namespace", Root, With(EPERM), |w| {
        let theirs = File::open(w.of_parent("ns/ipc")).or_else(|_| File::open("/dev/null"))?;
        call(
            libc::SYS_setns,
            &[theirs.as_raw_fd().into(), libc::CLONE_NEWIPC.into()],
        )
    }),
    ("mount", Root, With(EPERM), |w| {
        let (what, place) = (c"tmpfs", c_string(&w.results()));
        let arguments = [what.as_ptr(), place.as_ptr(), what.as_ptr()].map(address);
        call(libc::SYS_mount, &[&arguments[..], &[0, 0]].concat())?;
        call(libc::SYS_umount2, &[arguments[1], libc::MNT_DETACH.into()])
    }),
    ("open a file system, to mount it", Root, With(EPERM), |_| {
        call(libc::SYS_fsopen, &[address(c"tmpfs".as_ptr()), 0])
    }),
    ("type into a terminal", Root, With(EPERM), |_| {
        const TIOCGPTPEER: i64 = 0x5441;
        const TIOCSPTLCK: i64 = 0x4004_5431;
        const TIOCSTI: i64 = 0x5412;
        let ours = File::options().read(true).write(true).open("/dev/ptmx");
        let terminal = match &ours {
            Ok(ours) => {
                let (ours, unlocked) = (ours.as_raw_fd(), 0_i32);
                let unlocked = address(&raw const unlocked);
                control(libc::SYS_ioctl, ours, TIOCSPTLCK, unlocked)?;
                let flags = i64::from(libc::O_RDWR | libc::O_NOCTTY);
                made(libc::SYS_ioctl, &[ours.into(), TIOCGPTPEER, flags])? as i32
            }
            Err(_) => 0,
        };
        let byte = address(c"x".as_ptr());
        control(libc::SYS_ioctl, terminal, TIOCSTI, byte)
    }),
    ("change the root", Root, With(EPERM), |_| {
        call(libc::SYS_chroot, &[address(c"/".as_ptr())])
    }),
    // The kernel.
    ("add a key", Perhaps, With(EPERM), |_| {
        let [kind, name] = [c"user", c"trefoil"].map(|text| address(text.as_ptr()));
        call(libc::SYS_add_key, &[kind, name, name, 3, -2]) // of the process
    }),
    ("find the keys of its session", Perhaps, With(EPERM), |_| {
        const KEYCTL_GET_KEYRING_ID: i64 = 0;
        call(libc::SYS_keyctl, &[KEYCTL_GET_KEYRING_ID, -3, 1])
    }),
    ("use io_uring", Perhaps, With(EPERM), |_| {
        let parameters = [0_u32; 30];
        call(
            libc::SYS_io_uring_setup,
            &[1, address(&raw const parameters)],
        )
    }),
    ("load a program into the kernel", Root, With(EPERM), |_| {
        let map = [2_u32, 4, 4, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]; // an array
        call(libc::SYS_bpf, &[0, address(&raw const map), 72])
    }),
    ("count events", Perhaps, With(EPERM), |_| {
        let mut event = [0_u64; 16];
        event[0] = 1 | 112 << 32; // software, the size
        event[5] = 1 << 5 | 1 << 6; // not of the kernel
        call(
            libc::SYS_perf_event_open,
            &[address(&raw const event), 0, -1, -1, 0],
        )
    }),
    ("handle page faults", Perhaps, With(EPERM), |_| {
        call(libc::SYS_userfaultfd, &[1])
    }),
    (
        "handle page faults by a device",
        Perhaps,
        With(EACCES),
        |_| File::open("/dev/userfaultfd").map(drop),
    ),
    ("write to the kernel's log", Perhaps, With(EACCES), |_| {
        write(Path::new("/dev/kmsg"))
    }),
    ("read the kernel's messages", Root, With(EPERM), |_| {
        call(libc::SYS_syslog, &[10, 0, 0])
    }),
    (
        "make a file in memory, which no limit counts",
        All,
        With(EPERM),
        |_| call(libc::SYS_memfd_create, &[address(c"x".as_ptr()), 0]),
    ),
    ("make a segment of System V", Perhaps, With(EPERM), |_| {
        let segment = made(libc::SYS_shmget, &[0, 1 << 20, 0o600])?;
        call(libc::SYS_shmctl, &[segment, 0, 0])
    }),
    (
        "make memory that is shared, which no limit counts",
        All,
        With(EPERM),
        |_| {
            let [reads, shared] = [libc::PROT_READ, libc::MAP_SHARED | libc::MAP_ANONYMOUS];
            call(
                libc::SYS_mmap,
                &[0, 4096, reads.into(), shared.into(), -1, 0],
            )
        },
    ),
    #[cfg(target_arch = "x86_64")]
    (
        "make the call of a 32-bit program",
        Perhaps,
        Dies(libc::SIGSYS),
        |_| narrow(),
    ),
    #[cfg(target_arch = "x86_64")]
    (
        "make the call of an x32 program",
        Perhaps,
        With(ENOSYS),
        |_| call(libc::SYS_unshare | 1 << 30, &[0]),
    ),
];

/// What came of an attack: `Ok`, or how it failed.
fn outcome(result: Result<i32, TaskError>) -> Result<(), Fails> {
    match result {
        Ok(0) => Ok(()),
        Ok(error) => Err(With(error)),
        Err(TaskError::WorkerDied(exit)) => Err(Dies(exit.signal().unwrap_or(0))),
        Err(other) => panic!("{other:?}"),
    }
}

fn attack(procs: &ProcessPool, index: usize, world: &World) -> Result<(), Fails> {
    let run = |(index, world): (usize, World)| -> i32 {
        let (.., attack) = ATTACKS[index];
        match attack(&world) {
            Ok(()) => 0,
            Err(error) => error.raw_os_error().unwrap_or(-1),
        }
    };
    outcome(procs.spawn((index, world.clone()), run).join())
}

/// The world, and what must live as long as it.
struct Scene {
    world: World,
    victim: Child,
    _word: Box<u64>,
    _open: (
        File,
        TcpListener,
        UdpSocket,
        UnixListener,
        UnixDatagram,
        UnixListener,
    ),
}

impl Scene {
    fn new() -> Self {
        let name = mark();
        let home = PathBuf::from("/tmp").join(&name).with_extension("home");
        for folder in [home.clone(), home.join("shared"), home.join("results")] {
            fs::create_dir(&folder).unwrap();
            fs::set_permissions(&folder, fs::Permissions::from_mode(0o700)).unwrap();
        }
        for file in ["secret", "removed", "empty", "shared/file", "shared/empty"] {
            fs::write(home.join(file), "words").unwrap();
        }
        symlink(home.join("secret"), home.join("shared/link")).unwrap();
        let (marked, name_of) = (home.join("marked"), c"user.trefoil");
        fs::write(&marked, "words").unwrap();
        let marked = c_string(&marked);
        let arguments = [marked.as_ptr(), name_of.as_ptr(), name_of.as_ptr()].map(address);
        let _ = call(libc::SYS_setxattr, &[&arguments[..], &[4, 0]].concat()); // if it can have one
        let word = Box::new(0x7265_666f_696c_u64);
        let mut victim = Command::new("sleep");
        let victim = victim.arg("10000").stdin(Stdio::null()).spawn().unwrap();
        let file = File::open(home.join("secret")).unwrap();
        let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
        let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
        let socket = UnixListener::bind(home.join("shared/socket")).unwrap();
        let datagrams = UnixDatagram::bind(home.join("shared/datagrams")).unwrap();
        datagrams.set_nonblocking(true).unwrap();
        let address = SocketAddr::from_abstract_name(&name).unwrap();
        let hidden = UnixListener::bind_addr(&address).unwrap();
        let world = World {
            parent: std::process::id() as i32,
            word: (&raw const *word).expose_provenance(),
            victim: victim.id() as i32,
            file: file.as_raw_fd(),
            tcp: tcp.local_addr().unwrap().port(),
            udp: udp.local_addr().unwrap().port(),
            home,
            name,
        };
        let _open = (file, tcp, udp, socket, datagrams, hidden);
        Self {
            world,
            victim,
            _word: word,
            _open,
        }
    }
}

impl Drop for Scene {
    fn drop(&mut self) {
        self.victim.kill().unwrap();
        self.victim.wait().unwrap();
        fs::remove_dir_all(&self.world.home).unwrap();
    }
}

/// Every attack, without a sandbox and in one. Returns what went otherwise than the table says.
/// Without namespaces, in the sandbox only.
fn attacks(has_namespaces: bool) -> Vec<String> {
    let scene = Scene::new();
    let world = &scene.world;
    let is_root = rustix::process::geteuid().is_root();
    let sandbox = Sandbox::new().read(world.shared()).write(world.results());
    let outside = ProcessPool::builder()
        .workers(1)
        .plain_workers(true)
        .build()
        .unwrap();
    let inside = ProcessPool::builder()
        .workers(1)
        .launcher(sandbox)
        .build()
        .unwrap();
    assert_eq!(inside.stats().unenforced, [""; 0]);
    let mut wrong = Vec::new();
    for (index, (name, by, expected, _)) in ATTACKS.iter().enumerate() {
        let without = match has_namespaces {
            true => attack(&outside, index, world),
            false => Ok(()),
        };
        let within = attack(&inside, index, world);
        let expected = match expected {
            Written if has_namespaces => With(EROFS),
            Written => With(EACCES),
            other => *other,
        };
        println!("{name:58} without: {without:?}, in a sandbox: {within:?}");
        let can = match by {
            All => true,
            Root => is_root,
            Perhaps => false,
        };
        // (One takes the place of the worker, which the pool then kills.)
        if can && !matches!(without, Ok(()) | Err(Dies(libc::SIGKILL | 0))) {
            wrong.push(format!("{name}: it does not succeed anyway: {without:?}"));
        }
        let fails_anyway = !can && without.is_err() && within.is_err();
        if within != Err(expected) && !fails_anyway {
            wrong.push(format!(
                "{name}: in the sandbox {within:?}, not {expected:?}"
            ));
        }
    }
    wrong
}

/// The same attacks in bubblewrap: with few files, and as other programs start it, with all files
/// to read.
fn beside_bubblewrap() {
    let scene = Scene::new();
    let world = &scene.world;
    let path = |path: PathBuf| path.to_str().unwrap().to_owned();
    let (shared, results) = (path(world.shared()), path(world.results()));
    let few = "--ro-bind /usr /usr --symlink usr/lib /lib --symlink usr/lib64 /lib64 --symlink usr/bin /bin --tmpfs /tmp";
    let ends = "--unshare-all --die-with-parent --new-session --dev /dev --proc /proc";
    let pools = [few, "--ro-bind / /"].map(|files| {
        let line = format!(
            "bwrap {files} {ends} --ro-bind {shared} {shared} --bind {results} {results} --ro-bind {{exe}} {{exe}} {{exe}}"
        );
        let builder = ProcessPool::builder().workers(1);
        builder.launcher(Wrapped::new(line.split(' '))).build().unwrap()
    });
    let mut succeed = [0, 0];
    for (index, (name, ..)) in ATTACKS.iter().enumerate() {
        let both = [0, 1].map(|one| attack(&pools[one], index, world));
        println!(
            "{name:58} few files: {:?}, all files: {:?}",
            both[0], both[1]
        );
        for (count, outcome) in succeed.iter_mut().zip(&both) {
            *count += usize::from(outcome.is_ok());
        }
    }
    println!("{succeed:?} succeed of {}", ATTACKS.len());
    let secret = attack(&pools[0], 0, world);
    assert_eq!(secret, Err(With(ENOENT)), "a file of the home");
    println!("all failed");
}

/// A control group below this process's, for one program.
struct Group(PathBuf);

/// The variable with the folder of the group that a program enters.
const GROUP: &str = "TREFOIL_TEST_GROUP";

impl Group {
    /// `None`: there are no control groups of version 2 here, or this user may make none.
    fn new() -> Option<Self> {
        let folder = crate::limits::group_of("self")?.join(mark());
        fs::create_dir(&folder).ok()?;
        Some(Self(folder))
    }

    /// Moves this process to the group that it was started for, if there is one.
    fn enter() {
        if let Some(folder) = std::env::var_os(GROUP) {
            fs::write(Path::new(&folder).join("cgroup.procs"), "0").unwrap();
        }
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        until(|| fs::remove_dir(&self.0).is_ok()); // once its processes have ended
    }
}

/// A pool's program, with a worker that kills all that are in its control group.
fn driver(launched: fn(ProcessPoolBuilder) -> ProcessPoolBuilder) {
    Group::enter();
    let procs = launched(ProcessPool::builder().workers(1)).build().unwrap();
    let attack = |()| match write_to_group(&std::env::temp_dir(), c"1") {
        Ok(()) => 0,
        Err(error) => error.raw_os_error().unwrap_or(-1),
    };
    let outcome = outcome(procs.spawn((), attack).join());
    println!("{outcome:?}, the driver lives");
}

fn report() {
    Group::enter();
    let wrong = attacks(crate::sandbox::has_namespaces());
    assert!(wrong.is_empty(), "{wrong:#?}");
    println!("all failed");
}

pub(crate) const HELPERS: &[(&str, fn())] = &[
    ("attacks", report),
    ("driver", || driver(|pool| pool.plain_workers(true))),
    ("attacks-in-bubblewrap", beside_bubblewrap),
    ("driver-of-a-sandbox", || {
        driver(|pool| pool.launcher(Sandbox::new()));
    }),
    ("attacks-without-namespaces", || {
        crate::sandbox::refuse(libc::SYS_unshare, EPERM);
        report();
    }),
];

/// Runs the table in a process of its own.
fn table(mut program: Command, helper: &str) {
    program
        .env(support::HELPER, helper)
        .env("SECRET_WORD", "secret");
    let output = program.output().unwrap();
    let (out, err) = (&output.stdout, &output.stderr);
    let (out, err) = (String::from_utf8_lossy(out), String::from_utf8_lossy(err));
    print!("\n{out}");
    assert!(
        output.status.success() && out.contains("all failed"),
        "{err}"
    );
}

/// This program, to be run in this group.
fn this(group: Option<&Group>) -> Command {
    let mut program = Command::new(std::env::current_exe().unwrap());
    program.stdin(Stdio::null());
    program.envs(group.map(|group| (GROUP, &group.0)));
    program
}

tests! {
    fn the_table_of_attacks() {
        assert!(ATTACKS.len() >= 40);
        let group = Group::new();
        table(this(group.as_ref()), "attacks");
    }

    fn the_table_of_attacks_without_namespaces() {
        let group = Group::new();
        table(this(group.as_ref()), "attacks-without-namespaces");
    }

    /// Nor stops it: that is a file beside the one that kills.
    fn a_worker_does_not_kill_its_driver_by_a_control_group() {
        let Some(group) = Group::new() else {
            print!("(no control group can be made here) ");
            return;
        };
        let ended = |helper| {
            let mut driver = this(Some(&group));
            let output = driver.env(support::HELPER, helper).output().unwrap();
            (output.status, String::from_utf8(output.stdout).unwrap())
        };
        let (status, says) = ended("driver-of-a-sandbox");
        let refused = format!("{:?}, the driver lives", Err::<(), _>(With(EPERM)));
        assert!(status.success() && says.contains(&refused), "{status}: {says}");
        // Without a sandbox it does, unless this kernel lets no user make such namespaces.
        let (status, says) = ended("driver");
        if status.signal() != Some(libc::SIGKILL) {
            assert!(status.success() && says.contains("Err(With("), "{status}: {says}");
            print!("(without a sandbox: {}) ", says.trim());
        }
    }

    /// For the record `docs/internals/decisions/sandbox-outside.md`.
    fn the_table_beside_bubblewrap() {
        let is_there = Command::new("bwrap").arg("--version").output().is_ok();
        if is_there && std::env::var_os("TREFOIL_FULL").is_some() {
            table(this(None), "attacks-in-bubblewrap");
        }
    }

    fn the_table_of_attacks_by_another_user() {
        if !rustix::process::geteuid().is_root() {
            return; // the others have shown it
        }
        for helper in ["attacks", "attacks-without-namespaces"] {
            let Some(other) = crate::sandbox::as_another_user() else { return };
            table(other, helper);
        }
    }
}
