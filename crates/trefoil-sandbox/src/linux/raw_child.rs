//! What happens to a new process before it becomes a worker: between `fork` and `exec`.
//!
//! Everything is prepared in the parent ([`Confinement`]): descriptors, paths, a filter. The child
//! makes system calls, in this order: it moves to its control group; enters the namespaces of its
//! pool, where all mounts are read-only but what workers may write to; can gain no capability by
//! `exec`; asks to be killed with its parent; can gain no rights; is restricted by Landlock; and by
//! a filter of system calls, last, because it refuses most of the others.
//!
//! - **B1** A closure that runs between `fork` and `exec` makes system calls, and nothing else: it
//!   allocates nothing and takes no lock. (Its vectors have their room.)
//! - **B2** Each call gets numbers, and pointers to values that live until it returns, of the
//!   layout that the kernel's headers have.
//!
//! Tests: `crates/trefoil-sandbox/tests/sandbox/attacks.rs::the_table_of_attacks`.
#![allow(unsafe_code)]

use std::ffi::{CStr, CString, c_long};
use std::io::{self, IoSlice};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::sync::Arc;

use rustix::fs::{CWD, Mode, OFlags};
use rustix::mount::{MoveMountFlags, OpenTreeFlags};
use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags};

use super::calls::{Instruction, OWN};

/// What the closure of a trial ends with if all went well.
const TRIED: i32 = libc::ECANCELED;

/// A process that executes as root gains nothing, neither by that nor by a change of its user; and
/// none of this can be undone (`SECBIT_…`, without `KEEP_CAPS`).
const NO_ROOT: c_long = 0xef;

/// `struct mount_attr`.
#[repr(C)]
struct MountAttributes {
    set: u64,
    clear: u64,
    propagation: u64,
    user_namespace: u64,
}

/// `struct landlock_path_beneath_attr`.
#[repr(C, packed)]
struct PathBeneath {
    allowed: u64,
    parent: i32,
}

/// Namespaces that the workers of a pool share: to make the mounts anew for each worker would take
/// longer than all else that a worker does to itself.
#[derive(Debug)]
pub(crate) struct Namespaces {
    user: OwnedFd,
    /// Everything is read-only in it, but what workers may write to.
    mounts: OwnedFd,
    /// `None`: this process's.
    net: Option<OwnedFd>,
}

/// What a new process does to itself.
#[derive(Debug, Default)]
pub(crate) struct Confinement {
    /// The file `cgroup.procs` of its control group.
    pub(crate) group: Option<OwnedFd>,
    pub(crate) restriction: Option<Restriction>,
}

#[derive(Debug)]
pub(crate) struct Restriction {
    pub(crate) namespaces: Option<Arc<Namespaces>>,
    /// The working directory, entered again in the mount namespace.
    pub(crate) directory: CString,
    /// A ruleset of Landlock; `None`: the kernel has none.
    pub(crate) ruleset: Option<OwnedFd>,
    /// A filter of system calls; empty: none.
    pub(crate) filter: Vec<Instruction>,
    /// The process that starts it.
    pub(crate) parent: i32,
}

/// Which of its parts has failed; its text comes with an error.
type Failed = (&'static str, io::Error);

fn done(result: c_long) -> io::Result<c_long> {
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(result)
}

fn prctl(option: i32, value: c_long, third: c_long) -> io::Result<c_long> {
    let zero: c_long = 0;
    // SAFETY: B2: all are numbers for the options that are used here.
    done(unsafe { libc::prctl(option, value, third, zero, zero) }.into())
}

/// The version of Landlock that the kernel has; 0: none, or it is switched off.
pub(crate) fn landlock_version() -> u32 {
    let (nothing, size, version) = (std::ptr::null::<u8>(), 0_usize, 1_u32);
    let call = libc::SYS_landlock_create_ruleset;
    // SAFETY: B2: asked for the version, it takes no attributes.
    let known = unsafe { libc::syscall(call, nothing, size, version) };
    u32::try_from(known).unwrap_or(0)
}

impl Confinement {
    /// Makes the process of `command` do all of it.
    pub(crate) fn confine(mut self, command: &mut Command) {
        let enter = move || self.enter().map_err(|(_, error)| error);
        // SAFETY: B1.
        unsafe { command.pre_exec(enter) };
    }

    fn enter(&mut self) -> Result<(), Failed> {
        if let Some(group) = &self.group {
            // It moves the process that writes it.
            rustix::io::write(group, b"0").map_err(named(GROUP))?;
        }
        match &mut self.restriction {
            Some(restriction) => restriction.enter(),
            None => Ok(()),
        }
    }

    /// Does all of it in a process that then opens a folder and a socket, and ends. An error that
    /// names what has failed, or what is not refused: `files`, `sockets`.
    pub(crate) fn try_out(mut self, files: bool, sockets: bool) -> Result<(), Failed> {
        let mut command = Command::new("/"); // never executed
        let (reads, writes) = io::pipe().map_err(|error| ("pipe", error))?;
        let tried = move || -> io::Result<()> {
            let (what, error) = match self.enter().and_then(|()| check(files, sockets)) {
                Ok(()) => ("", io::Error::from_raw_os_error(TRIED)),
                Err(failed) => failed,
            };
            let _ = rustix::io::write(&writes, what.as_bytes());
            Err(error)
        };
        // SAFETY: B1.
        unsafe { command.pre_exec(tried) };
        let error = ended(&mut command);
        drop(command); // with its end of the pipe
        if error.raw_os_error() == Some(TRIED) {
            return Ok(());
        }
        let mut what = String::new();
        let _ = io::Read::read_to_string(&mut &reads, &mut what);
        let part = PARTS.into_iter().find(|part| **part == what);
        Err((part.unwrap_or("fork"), error))
    }
}

const GROUP: &str = "its control group";
const NAMESPACE: &str = "setns";
const ROOT: &str = "securebits";
const PARENT: &str = "its parent";
const RIGHTS: &str = "no_new_privs";
const LANDLOCK: &str = "landlock_restrict_self";
const FILTER: &str = "seccomp";
const OPENS: &str = "it can open `/`";
const SOCKET: &str = "it can make a socket";
const PARTS: [&str; 9] = [
    GROUP, NAMESPACE, ROOT, PARENT, RIGHTS, LANDLOCK, FILTER, OPENS, SOCKET,
];

fn named<E: Into<io::Error>>(what: &'static str) -> impl FnOnce(E) -> Failed {
    move |error| (what, error.into())
}

/// Starts a command whose closure always fails, and returns that error.
fn ended(command: &mut Command) -> io::Error {
    match command.spawn() {
        Err(error) => error,
        Ok(mut child) => {
            let _ = child.kill();
            let _ = child.wait();
            io::Error::other("it went on")
        }
    }
}

/// Whether what must be refused is refused.
fn check(files: bool, sockets: bool) -> Result<(), Failed> {
    let wrong = || io::Error::from_raw_os_error(libc::EINVAL);
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    if files && rustix::fs::open(c"/", flags, Mode::empty()).is_ok() {
        return Err((OPENS, wrong()));
    }
    // SAFETY: B2: numbers.
    let socket = unsafe { libc::socket(libc::AF_UNIX, libc::SOCK_STREAM, 0) };
    if sockets && socket >= 0 {
        return Err((SOCKET, wrong()));
    }
    Ok(())
}

impl Restriction {
    fn enter(&mut self) -> Result<(), Failed> {
        if let Some(namespaces) = &self.namespaces {
            namespaces.enter().map_err(named(NAMESPACE))?;
            // This one is in the old mounts. (It may be hidden from this user: then it is `/`.)
            let _ = rustix::process::chdir(self.directory.as_c_str());
        }
        // (Without capabilities, which only root's processes regain by `exec`, it is refused.)
        let is_root = rustix::process::geteuid().is_root();
        if let Err(error) = prctl(libc::PR_SET_SECUREBITS, NO_ROOT, 0)
            && (is_root || self.namespaces.is_some())
        {
            return Err((ROOT, error));
        }
        let all = libc::PR_CAP_AMBIENT_CLEAR_ALL.into();
        prctl(libc::PR_CAP_AMBIENT, all, 0).map_err(named(ROOT))?;
        let kill = libc::SIGKILL.into();
        prctl(libc::PR_SET_PDEATHSIG, kill, 0).map_err(named(PARENT))?;
        let parent = rustix::process::getppid().map_or(0, |parent| parent.as_raw_nonzero().get());
        if parent != self.parent {
            return Err((PARENT, io::Error::from_raw_os_error(libc::ESRCH)));
        }
        prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0).map_err(named(RIGHTS))?;
        if let Some(ruleset) = &self.ruleset {
            allow_itself(ruleset.as_fd()).map_err(named(LANDLOCK))?;
            let (number, flags) = (ruleset.as_raw_fd(), 0_u32);
            let call = libc::SYS_landlock_restrict_self;
            // SAFETY: B2: a descriptor and a number.
            done(unsafe { libc::syscall(call, number, flags) }).map_err(named(LANDLOCK))?;
        }
        let own = rustix::process::getpid()
            .as_raw_nonzero()
            .get()
            .cast_unsigned();
        for instruction in self.filter.iter_mut().filter(|one| one.operand == OWN) {
            instruction.operand = own;
        }
        if !self.filter.is_empty() {
            install(&mut self.filter).map_err(named(FILTER))?;
        }
        Ok(())
    }
}

/// Lets the process read its own files in `/proc`, whose folder exists only now.
fn allow_itself(ruleset: BorrowedFd<'_>) -> io::Result<()> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let Ok(own) = rustix::fs::open(c"/proc/self", flags, Mode::empty()) else {
        return Ok(()); // `/proc` is not mounted
    };
    let reads = landlock::AccessFs::ReadFile as u64 | landlock::AccessFs::ReadDir as u64;
    let rule = PathBeneath {
        allowed: reads,
        parent: own.as_raw_fd(),
    };
    let (call, number, kind, none) = (libc::SYS_landlock_add_rule, ruleset.as_raw_fd(), 1, 0_u32);
    let rule = &raw const rule;
    // SAFETY: B2: a rule of the kind 1, `LANDLOCK_RULE_PATH_BENEATH`.
    done(unsafe { libc::syscall(call, number, kind, rule, none) })?;
    Ok(())
}

fn install(filter: &mut [Instruction]) -> io::Result<()> {
    let program = libc::sock_fprog {
        len: filter.len() as u16,
        filter: filter.as_mut_ptr().cast(),
    };
    let (call, mode, flags) = (libc::SYS_seccomp, libc::SECCOMP_SET_MODE_FILTER, 0_u32);
    let program = &raw const program;
    // SAFETY: B2: a program of this many instructions, of the kernel's layout.
    done(unsafe { libc::syscall(call, mode, flags, program) })?;
    Ok(())
}

/// In a new mount namespace everything becomes read-only, but `writable`. (`trees` has room for as
/// many.)
fn mount(writable: &[CString], trees: &mut Vec<OwnedFd>) -> io::Result<()> {
    let whole = OpenTreeFlags::OPEN_TREE_CLONE
        | OpenTreeFlags::OPEN_TREE_CLOEXEC
        | OpenTreeFlags::AT_RECURSIVE;
    for path in writable {
        trees.push(rustix::mount::open_tree(CWD, path.as_c_str(), whole)?);
    }
    let attributes = MountAttributes {
        set: libc::MOUNT_ATTR_RDONLY | libc::MOUNT_ATTR_NOSUID,
        clear: 0,
        propagation: libc::MS_PRIVATE,
        user_namespace: 0,
    };
    let (call, root) = (libc::SYS_mount_setattr, c"/".as_ptr());
    let (flags, size) = (libc::AT_RECURSIVE, size_of::<MountAttributes>());
    let attributes = &raw const attributes;
    // SAFETY: B2: a path, and attributes of this size.
    done(unsafe { libc::syscall(call, libc::AT_FDCWD, root, flags, attributes, size) })?;
    for (tree, path) in trees.iter().zip(writable) {
        let from_descriptor = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH;
        rustix::mount::move_mount(tree, c"", CWD, path.as_c_str(), from_descriptor)?;
    }
    trees.clear();
    Ok(())
}

impl Namespaces {
    /// New ones, in which only `writable` can be written to, with a network that has nothing but an
    /// unused loopback device, unless it is this machine's.
    pub(crate) fn new(own_network: bool, writable: Vec<CString>) -> Result<Self, Failed> {
        let (ours, theirs) = rustix::net::socketpair(
            rustix::net::AddressFamily::UNIX,
            rustix::net::SocketType::SEQPACKET,
            rustix::net::SocketFlags::CLOEXEC,
            None,
        )
        .map_err(named("socketpair"))?;
        let (user, group) = (rustix::process::geteuid(), rustix::process::getegid());
        let users = format!("{0} {0} 1", user.as_raw());
        let groups = format!("{0} {0} 1", group.as_raw());
        let mut command = Command::new("/"); // never executed
        let mut trees = Vec::with_capacity(writable.len());
        let make = move || -> io::Result<()> {
            let net = if own_network { libc::CLONE_NEWNET } else { 0 };
            let all = libc::CLONE_NEWUSER | libc::CLONE_NEWNS | net;
            // SAFETY: B2: a number.
            done(unsafe { libc::unshare(all) }.into())?;
            for (file, text) in [
                (c"/proc/self/setgroups", "deny"),
                (c"/proc/self/uid_map", &users),
                (c"/proc/self/gid_map", &groups),
            ] {
                let file = rustix::fs::open(file, OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty())?;
                rustix::io::write(file, text.as_bytes())?;
            }
            mount(&writable, &mut trees)?;
            let (user, net) = (open(c"/proc/self/ns/user")?, open(c"/proc/self/ns/net")?);
            let mounts = open(c"/proc/self/ns/mnt")?;
            let all = [user.as_fd(), net.as_fd(), mounts.as_fd()];
            let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(3))];
            let mut message = SendAncillaryBuffer::new(&mut space);
            message.push(SendAncillaryMessage::ScmRights(&all));
            let byte = [IoSlice::new(b"n")];
            rustix::net::sendmsg(&theirs, &byte, &mut message, SendFlags::empty())?;
            Err(io::Error::from_raw_os_error(TRIED))
        };
        // SAFETY: B1.
        unsafe { command.pre_exec(make) };
        let error = ended(&mut command);
        drop(command);
        if error.raw_os_error() != Some(TRIED) {
            return Err(("unshare", error));
        }
        let [user, net, mounts] = received(ours.as_fd()).map_err(named("recvmsg"))?;
        let net = own_network.then_some(net);
        Ok(Self { user, mounts, net })
    }

    fn enter(&self) -> io::Result<()> {
        rustix::thread::move_into_link_name_space(self.user.as_fd(), None)?;
        if let Some(net) = &self.net {
            rustix::thread::move_into_link_name_space(net.as_fd(), None)?;
        }
        // (The last one: its owner is the user namespace.)
        rustix::thread::move_into_link_name_space(self.mounts.as_fd(), None)?;
        Ok(())
    }
}

fn open(path: &CStr) -> io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC;
    Ok(rustix::fs::open(path, flags, Mode::empty())?)
}

/// The descriptors that a child has sent.
fn received(socket: BorrowedFd<'_>) -> io::Result<[OwnedFd; 3]> {
    use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};
    let mut byte = [0];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(3))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let mut parts = [io::IoSliceMut::new(&mut byte)];
    let flags = RecvFlags::CMSG_CLOEXEC | RecvFlags::DONTWAIT;
    recvmsg(socket, &mut parts, &mut control, flags)?;
    let mut all = Vec::new();
    for message in control.drain() {
        if let RecvAncillaryMessage::ScmRights(descriptors) = message {
            all.extend(descriptors);
        }
    }
    let all: Result<[OwnedFd; 3], _> = all.try_into();
    all.map_err(|_| io::Error::from(io::ErrorKind::InvalidData))
}
