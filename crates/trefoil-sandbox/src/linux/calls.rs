//! A filter of system calls.
//!
//! Calls that a program needs which computes are made, some of them unless their arguments are
//! dangerous. Those that would reach beyond the worker are refused with `EPERM`. All others, newer
//! ones among them, and those of x32, do not exist for it: `ENOSYS`, as on an older kernel, so
//! libraries take another way. A program for another processor (32 bits) is killed.
//!
//! The kernel compiles a filter when it is installed, and looks what it says of each call that
//! there is; and that is done at each start. So the filter finds a number by halving, and is short:
//! an instruction for each range of numbers, and results that many jumps share ([`Piece`]): 0.07
//! ms. (The crate `seccompiler` makes programs that compare with one number after another: 0.9 ms.)
//!
//! Landlock does not see everything: that a file's mode, owner, times and attributes change, that
//! its attributes are read, that it is made with the rights of its owner (set-user-id), that a new
//! name leaves a device behind (`RENAME_WHITEOUT`), that folders are watched, that a file is
//! truncated (before Linux 6.2), that signals are sent (before 6.12), also by the kernel on behalf
//! of a pipe (`F_SETOWN`), how a process of the same user is scheduled and limited. And no limit of
//! a process counts memory that has only a descriptor, is System V's, or is mapped to be shared.
//!
//! Tests: below; `crates/trefoil-sandbox/tests/sandbox/attacks.rs::the_table_of_attacks`.

use std::collections::{BTreeMap, BTreeSet};

use libc::c_long;

/// Stands for the number of the process, which is known once it exists.
pub(crate) const OWN: u32 = 0x7ed0_10ca;

/// What opens the filters.
#[derive(Clone, Debug, Default)]
pub(crate) struct Allowed {
    pub(crate) network: bool,
    /// It may start processes.
    pub(crate) processes: bool,
    pub(crate) calls: BTreeSet<c_long>,
    /// Landlock keeps its signals in.
    pub(crate) signals_are_scoped: bool,
}

/// Calls that every architecture has.
const MADE: &[c_long] = &[
    // Files.
    libc::SYS_read,
    libc::SYS_write,
    libc::SYS_pread64,
    libc::SYS_pwrite64,
    libc::SYS_readv,
    libc::SYS_writev,
    libc::SYS_preadv,
    libc::SYS_pwritev,
    libc::SYS_preadv2,
    libc::SYS_pwritev2,
    libc::SYS_openat,
    libc::SYS_close,
    libc::SYS_close_range,
    libc::SYS_fstat,
    libc::SYS_newfstatat,
    libc::SYS_statx,
    libc::SYS_statfs,
    libc::SYS_fstatfs,
    libc::SYS_lseek,
    libc::SYS_dup,
    libc::SYS_dup3,
    libc::SYS_fcntl,
    libc::SYS_ioctl,
    libc::SYS_flock,
    libc::SYS_fsync,
    libc::SYS_fdatasync,
    libc::SYS_ftruncate,
    libc::SYS_fallocate,
    libc::SYS_fadvise64,
    libc::SYS_readahead,
    libc::SYS_getdents64,
    libc::SYS_getcwd,
    libc::SYS_chdir,
    libc::SYS_fchdir,
    libc::SYS_mkdirat,
    libc::SYS_unlinkat,
    libc::SYS_renameat2,
    libc::SYS_linkat,
    libc::SYS_symlinkat,
    libc::SYS_readlinkat,
    libc::SYS_faccessat,
    libc::SYS_faccessat2,
    libc::SYS_fgetxattr,
    libc::SYS_umask,
    libc::SYS_sendfile,
    libc::SYS_splice,
    libc::SYS_tee,
    libc::SYS_vmsplice,
    libc::SYS_copy_file_range,
    libc::SYS_pipe2,
    libc::SYS_eventfd2,
    libc::SYS_signalfd4,
    libc::SYS_timerfd_create,
    libc::SYS_timerfd_settime,
    libc::SYS_timerfd_gettime,
    libc::SYS_epoll_create1,
    libc::SYS_epoll_ctl,
    libc::SYS_epoll_pwait,
    libc::SYS_epoll_pwait2,
    libc::SYS_ppoll,
    libc::SYS_pselect6,
    // Memory.
    libc::SYS_mmap,
    libc::SYS_munmap,
    libc::SYS_mremap,
    libc::SYS_mprotect,
    libc::SYS_msync,
    libc::SYS_mincore,
    libc::SYS_madvise,
    libc::SYS_mlock,
    libc::SYS_mlock2,
    libc::SYS_munlock,
    libc::SYS_mlockall,
    libc::SYS_munlockall,
    libc::SYS_brk,
    libc::SYS_membarrier,
    libc::SYS_mbind,
    libc::SYS_get_mempolicy,
    libc::SYS_set_mempolicy,
    libc::SYS_pkey_alloc,
    libc::SYS_pkey_free,
    libc::SYS_pkey_mprotect,
    462, // mseal
    // Sockets, as far as there are some.
    libc::SYS_socket,
    libc::SYS_socketpair,
    libc::SYS_bind,
    libc::SYS_listen,
    libc::SYS_accept,
    libc::SYS_accept4,
    libc::SYS_connect,
    libc::SYS_shutdown,
    libc::SYS_sendto,
    libc::SYS_sendmsg,
    libc::SYS_sendmmsg,
    libc::SYS_recvfrom,
    libc::SYS_recvmsg,
    libc::SYS_recvmmsg,
    libc::SYS_getsockname,
    libc::SYS_getpeername,
    libc::SYS_getsockopt,
    libc::SYS_setsockopt,
    // Threads and processes.
    libc::SYS_clone,
    libc::SYS_execve,
    libc::SYS_exit,
    libc::SYS_exit_group,
    libc::SYS_wait4,
    libc::SYS_waitid,
    libc::SYS_futex,
    libc::SYS_futex_waitv,
    454, // futex_wake, futex_wait, futex_requeue
    455,
    456,
    libc::SYS_set_tid_address,
    libc::SYS_set_robust_list,
    libc::SYS_get_robust_list,
    libc::SYS_rseq,
    libc::SYS_prctl,
    libc::SYS_seccomp,
    libc::SYS_landlock_create_ruleset,
    libc::SYS_landlock_add_rule,
    libc::SYS_landlock_restrict_self,
    libc::SYS_sched_yield,
    libc::SYS_sched_getaffinity,
    libc::SYS_sched_setaffinity,
    libc::SYS_sched_getparam,
    libc::SYS_sched_setparam,
    libc::SYS_sched_getscheduler,
    libc::SYS_sched_setscheduler,
    libc::SYS_sched_getattr,
    libc::SYS_sched_get_priority_max,
    libc::SYS_sched_get_priority_min,
    libc::SYS_sched_rr_get_interval,
    libc::SYS_getpriority,
    libc::SYS_setpriority,
    libc::SYS_prlimit64,
    libc::SYS_getrusage,
    libc::SYS_getcpu,
    libc::SYS_personality,
    libc::SYS_pidfd_open,
    libc::SYS_pidfd_send_signal,
    // Itself.
    libc::SYS_getpid,
    libc::SYS_getppid,
    libc::SYS_gettid,
    libc::SYS_getpgid,
    libc::SYS_getsid,
    libc::SYS_getuid,
    libc::SYS_geteuid,
    libc::SYS_getgid,
    libc::SYS_getegid,
    libc::SYS_getresuid,
    libc::SYS_getresgid,
    libc::SYS_getgroups,
    libc::SYS_capget,
    libc::SYS_uname,
    libc::SYS_sysinfo,
    libc::SYS_times,
    libc::SYS_getrandom,
    // Signals.
    libc::SYS_rt_sigaction,
    libc::SYS_rt_sigprocmask,
    libc::SYS_rt_sigreturn,
    libc::SYS_rt_sigpending,
    libc::SYS_rt_sigtimedwait,
    libc::SYS_rt_sigsuspend,
    libc::SYS_rt_sigqueueinfo,
    libc::SYS_rt_tgsigqueueinfo,
    libc::SYS_sigaltstack,
    libc::SYS_restart_syscall,
    libc::SYS_kill,
    libc::SYS_tkill,
    libc::SYS_tgkill,
    // Time.
    libc::SYS_gettimeofday,
    libc::SYS_clock_gettime,
    libc::SYS_clock_getres,
    libc::SYS_clock_nanosleep,
    libc::SYS_nanosleep,
    libc::SYS_getitimer,
    libc::SYS_setitimer,
    libc::SYS_timer_create,
    libc::SYS_timer_settime,
    libc::SYS_timer_gettime,
    libc::SYS_timer_getoverrun,
    libc::SYS_timer_delete,
];

/// Those of this one.
#[cfg(target_arch = "x86_64")]
const ALSO_MADE: &[c_long] = &[
    libc::SYS_open,
    libc::SYS_creat,
    libc::SYS_stat,
    libc::SYS_lstat,
    libc::SYS_access,
    libc::SYS_readlink,
    libc::SYS_rename,
    libc::SYS_renameat,
    libc::SYS_mkdir,
    libc::SYS_rmdir,
    libc::SYS_link,
    libc::SYS_symlink,
    libc::SYS_unlink,
    libc::SYS_getdents,
    libc::SYS_dup2,
    libc::SYS_pipe,
    libc::SYS_poll,
    libc::SYS_select,
    libc::SYS_epoll_create,
    libc::SYS_epoll_wait,
    libc::SYS_eventfd,
    libc::SYS_signalfd,
    libc::SYS_getrlimit,
    libc::SYS_setrlimit,
    libc::SYS_getpgrp,
    libc::SYS_fork,
    libc::SYS_vfork,
    libc::SYS_arch_prctl,
    libc::SYS_alarm,
    libc::SYS_pause,
    libc::SYS_time,
    libc::SYS_sync_file_range,
    453, // map_shadow_stack
];
#[cfg(target_arch = "aarch64")]
const ALSO_MADE: &[c_long] = &[
    libc::SYS_renameat,
    libc::SYS_getrlimit,
    libc::SYS_setrlimit,
    84, // sync_file_range
];

/// Calls that are refused, whatever their arguments.
const REFUSED: &[c_long] = &[
    // Namespaces, mounts, file systems.
    libc::SYS_unshare,
    libc::SYS_setns,
    libc::SYS_mount,
    libc::SYS_umount2,
    libc::SYS_pivot_root,
    libc::SYS_chroot,
    libc::SYS_open_tree,
    libc::SYS_move_mount,
    libc::SYS_fsopen,
    libc::SYS_fsconfig,
    libc::SYS_fsmount,
    libc::SYS_fspick,
    libc::SYS_mount_setattr,
    libc::SYS_name_to_handle_at,
    libc::SYS_open_by_handle_at,
    // Operations that no filter sees.
    libc::SYS_io_uring_setup,
    libc::SYS_io_uring_enter,
    libc::SYS_io_uring_register,
    libc::SYS_io_setup,
    // Keys.
    libc::SYS_add_key,
    libc::SYS_request_key,
    libc::SYS_keyctl,
    // Other processes.
    libc::SYS_ptrace,
    libc::SYS_process_vm_readv,
    libc::SYS_process_vm_writev,
    libc::SYS_process_madvise,
    libc::SYS_process_mrelease,
    libc::SYS_pidfd_getfd,
    libc::SYS_kcmp,
    libc::SYS_move_pages,
    libc::SYS_migrate_pages,
    libc::SYS_ioprio_set,
    libc::SYS_sched_setattr,
    // Parts of the kernel with many holes.
    libc::SYS_bpf,
    libc::SYS_perf_event_open,
    libc::SYS_userfaultfd,
    libc::SYS_fanotify_init,
    libc::SYS_inotify_init1,
    libc::SYS_syslog,
    // Memory and queues that no limit of a process counts.
    libc::SYS_memfd_create,
    libc::SYS_shmget,
    libc::SYS_msgget,
    libc::SYS_semget,
    libc::SYS_mq_open,
    // What Landlock does not see, or not on every kernel.
    libc::SYS_truncate,
    libc::SYS_fchmod,
    libc::SYS_fchmodat,
    452, // fchmodat2
    libc::SYS_fchown,
    libc::SYS_fchownat,
    libc::SYS_utimensat,
    libc::SYS_getxattr,
    libc::SYS_lgetxattr,
    libc::SYS_listxattr,
    libc::SYS_llistxattr,
    libc::SYS_setxattr,
    libc::SYS_lsetxattr,
    libc::SYS_fsetxattr,
    libc::SYS_removexattr,
    libc::SYS_lremovexattr,
    libc::SYS_fremovexattr,
    libc::SYS_mknodat,
    libc::SYS_execveat,
    // Users, groups, sessions: what it starts stays in its process group.
    libc::SYS_setuid,
    libc::SYS_setgid,
    libc::SYS_setreuid,
    libc::SYS_setregid,
    libc::SYS_setresuid,
    libc::SYS_setresgid,
    libc::SYS_setgroups,
    libc::SYS_setfsuid,
    libc::SYS_setfsgid,
    libc::SYS_capset,
    libc::SYS_setsid,
    libc::SYS_setpgid,
    // The machine.
    libc::SYS_reboot,
    libc::SYS_sethostname,
    libc::SYS_setdomainname,
    libc::SYS_settimeofday,
    libc::SYS_clock_settime,
    libc::SYS_clock_adjtime,
    libc::SYS_adjtimex,
    libc::SYS_swapon,
    libc::SYS_swapoff,
    libc::SYS_acct,
    libc::SYS_quotactl,
    libc::SYS_init_module,
    libc::SYS_finit_module,
    libc::SYS_delete_module,
    libc::SYS_kexec_load,
];
#[cfg(target_arch = "x86_64")]
const ALSO_REFUSED: &[c_long] = &[
    libc::SYS_chmod,
    libc::SYS_chown,
    libc::SYS_lchown,
    libc::SYS_utime,
    libc::SYS_utimes,
    libc::SYS_futimesat,
    libc::SYS_mknod,
    libc::SYS_inotify_init,
    libc::SYS_iopl,
    libc::SYS_ioperm,
    libc::SYS_modify_ldt,
];
#[cfg(target_arch = "aarch64")]
const ALSO_REFUSED: &[c_long] = &[];

/// All flags of `clone` that make a namespace.
const NAMESPACES: [i32; 7] = [
    libc::CLONE_NEWNS,
    libc::CLONE_NEWCGROUP,
    libc::CLONE_NEWUTS,
    libc::CLONE_NEWIPC,
    libc::CLONE_NEWUSER,
    libc::CLONE_NEWPID,
    libc::CLONE_NEWNET,
];

/// Requests of `fcntl`: leases, notes of changes, and who gets the kernel's signals.
const CONTROLS: [i32; 5] = [
    libc::F_SETLEASE,
    1026, // F_NOTIFY
    libc::F_SETOWN,
    15, // F_SETOWN_EX
    10, // F_SETSIG
];

/// Requests of `ioctl` that are made; a file system or a driver has hundreds of others, of which
/// some pass Landlock by. (A snapshot on btrfs or bcachefs has all files of its subvolume, below a
/// folder that may be written to; `OCFS2_IOC_REFLINK` takes paths.)
const REQUESTS: [u32; 15] = [
    0x5401,      // TCGETS: whether it is a terminal
    0x802c_542a, // TCGETS2
    0x5411,      // TIOCOUTQ
    0x5413,      // TIOCGWINSZ
    0x541b,      // FIONREAD
    0x5421,      // FIONBIO
    0x5450,      // FIONCLEX
    0x5451,      // FIOCLEX
    0x0002,      // FIGETBSZ
    0x4004_9409, // FICLONE
    0x4020_940d, // FICLONERANGE
    0xc020_660b, // FS_IOC_FIEMAP
    0x8008_6601, // FS_IOC_GETFLAGS
    0x801c_581f, // FS_IOC_FSGETXATTR
    0x8008_7601, // FS_IOC_GETVERSION
];

/// Those of sockets, `SIOC…`, and among them who gets the kernel's signals.
const OF_SOCKETS: (u32, u32) = (0xffff_ff00, 0x8900);
const OWNERS: [u32; 2] = [0x8901, 0x8902]; // FIOSETOWN, SIOCSPGRP

/// Options of `prctl`: its death with its parent, what a tracer may, with whom it shares a core.
const OPTIONS: [u32; 5] = [
    libc::PR_SET_PDEATHSIG.cast_unsigned(),
    libc::PR_SET_CHILD_SUBREAPER.cast_unsigned(),
    0x5961_6d61, // PR_SET_PTRACER
    libc::PR_SET_MM.cast_unsigned(),
    62, // PR_SCHED_CORE
];

/// Conditions of arguments, all of which must hold: of these bits of one, whether they are equal to
/// a value, or are not.
struct If(Vec<(u32, u32, bool, u32)>);

impl If {
    fn is(index: u32, value: u32) -> Self {
        Self::has(index, u32::MAX, value)
    }

    fn is_not(index: u32, value: u32) -> Self {
        Self(Vec::new()).and_not(index, value)
    }

    fn has(index: u32, bits: u32, value: u32) -> Self {
        Self(Vec::new()).and(index, bits, value)
    }

    fn and(mut self, index: u32, bits: u32, value: u32) -> Self {
        self.0.push((index, bits, true, value));
        self
    }

    fn and_not(mut self, index: u32, value: u32) -> Self {
        self.0.push((index, u32::MAX, false, value));
        self
    }
}

/// When a request of `ioctl` is refused.
fn requests(network: bool) -> Vec<If> {
    let mut unknown = If(Vec::new());
    for request in REQUESTS {
        unknown = unknown.and_not(1, request);
    }
    if !network {
        return vec![unknown];
    }
    let (bits, value) = OF_SOCKETS;
    unknown.0.push((1, bits, false, value));
    let owners = OWNERS.map(|one| If::is(1, one));
    [unknown].into_iter().chain(owners).collect()
}

/// Calls that some arguments make dangerous: with any of these conditions they are refused.
fn conditions(allowed: &Allowed) -> Vec<(c_long, Vec<If>)> {
    let one = |bit: i32| If::has(0, bit.cast_unsigned(), bit.cast_unsigned());
    let mut clone: Vec<If> = NAMESPACES.into_iter().map(one).collect();
    clone.push(one(libc::CLONE_PARENT)); // a child of the pool's process
    if !allowed.processes {
        clone.push(If::has(0, libc::CLONE_THREAD.cast_unsigned(), 0));
    }
    // Set-user-id, set-group-id: bits of a new file's mode.
    let others_rights = [0o4000, 0o2000];
    // Flags behind the access mode: `O_TRUNC` with `O_RDONLY`; and those of a new file.
    let opens = |index| {
        let (mode, truncates) = (libc::O_ACCMODE, libc::O_TRUNC.cast_unsigned());
        let mut all = vec![If::has(index, mode.cast_unsigned() | truncates, truncates)];
        let makes = [libc::O_CREAT, libc::O_TMPFILE & !libc::O_DIRECTORY].map(i32::cast_unsigned);
        for flag in makes {
            let with = |bit| If::has(index, flag, flag).and(index + 1, bit, bit);
            all.extend(others_rights.map(with));
        }
        all
    };
    let whiteout = libc::RENAME_WHITEOUT;
    let shared = (libc::MAP_SHARED | libc::MAP_ANONYMOUS).cast_unsigned();
    // (Connected pairs, except of datagrams, which can be sent elsewhere.)
    let mut pair = vec![If::is_not(0, libc::AF_UNIX.cast_unsigned())];
    let kinds = [0, libc::SOCK_DGRAM, libc::SOCK_RAW, libc::SOCK_RDM];
    pair.extend(kinds.map(|kind| If::has(1, 0xf, kind.cast_unsigned())));
    let mut all = vec![
        (libc::SYS_clone, clone),
        (libc::SYS_openat, opens(2)),
        (libc::SYS_renameat2, vec![If::has(4, whiteout, whiteout)]),
        (libc::SYS_mmap, vec![If::has(3, shared, shared)]),
        (libc::SYS_socketpair, pair),
        (libc::SYS_prctl, OPTIONS.map(|one| If::is(0, one)).into()),
        (
            libc::SYS_fcntl,
            CONTROLS.map(|one| If::is(1, one.cast_unsigned())).into(),
        ),
        (libc::SYS_ioctl, requests(allowed.network)),
        (libc::SYS_personality, vec![If::is_not(0, u32::MAX)]),
        // Of itself only.
        (libc::SYS_prlimit64, vec![If::is_not(0, 0)]),
        (
            libc::SYS_sched_setaffinity,
            vec![If::is_not(0, 0).and_not(0, OWN)],
        ),
        (libc::SYS_sched_setparam, vec![If::is_not(0, 0)]),
        (
            libc::SYS_sched_setscheduler,
            vec![
                If::is_not(0, 0),
                If::has(1, 0xff, libc::SCHED_FIFO.cast_unsigned()),
                If::has(1, 0xff, libc::SCHED_RR.cast_unsigned()),
            ],
        ),
        (
            libc::SYS_setpriority,
            vec![If::is_not(0, 0), If::is_not(1, 0)],
        ),
    ];
    #[cfg(target_arch = "x86_64")]
    all.extend([
        (libc::SYS_open, opens(1)),
        (
            libc::SYS_creat,
            others_rights.map(|bit| If::has(1, bit, bit)).into(),
        ),
    ]);
    if !allowed.processes {
        for call in [
            libc::SYS_kill,
            libc::SYS_tgkill,
            libc::SYS_rt_sigqueueinfo,
            libc::SYS_rt_tgsigqueueinfo,
        ] {
            all.push((call, vec![If::is_not(0, OWN)]));
        }
    }
    if allowed.network {
        let [four, six, links] =
            [libc::AF_INET, libc::AF_INET6, libc::AF_NETLINK].map(i32::cast_unsigned);
        let mut socket = vec![
            If::is_not(0, four).and_not(0, six).and_not(0, links),
            If::is(0, links).and_not(2, 0), // NETLINK_ROUTE
        ];
        let kinds = [
            0,
            libc::SOCK_RAW,
            libc::SOCK_RDM,
            libc::SOCK_SEQPACKET,
            6,
            10,
        ];
        for family in [four, six] {
            socket.extend(kinds.map(|kind| {
                let kind = kind.cast_unsigned();
                If::is(0, family).and(1, 0xf, kind)
            }));
            // (Of datagrams and streams the kernel has more than these, and loads them.)
            let protocol = If::is(0, family).and_not(2, 0);
            let [tcp, udp] = [libc::IPPROTO_TCP, libc::IPPROTO_UDP].map(i32::cast_unsigned);
            socket.push(protocol.and_not(2, tcp).and_not(2, udp));
        }
        all.push((libc::SYS_socket, socket));
    }
    all
}

/// What becomes of a call.
enum Verdict {
    Made,
    Refused,
    /// Refused with any of these conditions.
    Conditional(Vec<If>),
}

/// The verdicts of all calls that are known; others do not exist.
fn verdicts(allowed: &Allowed) -> BTreeMap<u32, Verdict> {
    let mut all = BTreeMap::new();
    let mut set = |call: c_long, verdict| all.insert(call as u32, verdict);
    for call in MADE.iter().chain(ALSO_MADE) {
        set(*call, Verdict::Made);
    }
    for call in REFUSED.iter().chain(ALSO_REFUSED) {
        set(*call, Verdict::Refused);
    }
    if !allowed.network {
        for call in [
            libc::SYS_socket,
            libc::SYS_bind,
            libc::SYS_listen,
            libc::SYS_accept,
            libc::SYS_accept4,
            libc::SYS_connect,
        ] {
            set(call, Verdict::Refused);
        }
    }
    if !allowed.processes {
        #[cfg(target_arch = "x86_64")]
        for call in [libc::SYS_fork, libc::SYS_vfork] {
            set(call, Verdict::Refused);
        }
        for call in [libc::SYS_pidfd_open, libc::SYS_pidfd_send_signal] {
            set(call, Verdict::Refused);
        }
    }
    if !allowed.signals_are_scoped {
        set(libc::SYS_tkill, Verdict::Refused); // it names a thread, of any process
    }
    for (call, conditions) in conditions(allowed) {
        set(call, Verdict::Conditional(conditions));
    }
    for call in &allowed.calls {
        set(*call, Verdict::Made);
    }
    all
}

/// An instruction of the kernel's classic BPF (`struct sock_filter`): a code, two jumps, counted
/// from the next instruction, and an operand.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub(crate) struct Instruction {
    code: u16,
    yes: u8,
    no: u8,
    pub(crate) operand: u32,
}

/// Codes: load a word; of what was loaded some bits; jump; jump if equal, if not less; return.
const LOAD: u16 = 0x20;
const AND: u16 = 0x54;
const JUMP: u16 = 0x05;
const EQUAL: u16 = 0x15;
const NOT_LESS: u16 = 0x35;
const RETURN: u16 = 0x06;

/// Where the words of a call are: its number, its architecture, the lower half of an argument.
const NUMBER: u32 = 0;
const ARCHITECTURE: u32 = 4;
const fn argument(index: u32) -> u32 {
    16 + 8 * index
}

/// This architecture (`AUDIT_ARCH_…`).
const OURS: u32 = if cfg!(target_arch = "x86_64") {
    0xc000_003e
} else {
    0xc000_00b7
};

const MAKE: u32 = libc::SECCOMP_RET_ALLOW;
const REFUSE: u32 = libc::SECCOMP_RET_ERRNO | libc::EPERM as u32;
const UNKNOWN: u32 = libc::SECCOMP_RET_ERRNO | libc::ENOSYS as u32;

const fn step(code: u16, yes: usize, no: usize, operand: u32) -> Instruction {
    Instruction {
        code,
        yes: yes as u8,
        no: no as u8,
        operand,
    }
}

const fn end(result: u32) -> Instruction {
    step(RETURN, 0, 0, result)
}

/// What becomes of a call whose arguments do not matter.
fn result_of(verdict: Option<&Verdict>) -> Option<u32> {
    match verdict {
        None => Some(UNKNOWN),
        Some(Verdict::Made) => Some(MAKE),
        Some(Verdict::Refused) => Some(REFUSE),
        Some(Verdict::Conditional(_)) => None,
    }
}

/// Numbers from this one to the next range's, and what becomes of their calls.
type Range<'a> = (u32, Option<&'a Verdict>);

/// Where a jump leads: to an instruction of the same piece, or to a result at its end.
#[derive(Clone, Copy, PartialEq, Eq)]
enum To {
    Step(usize),
    End(u32),
}

/// A part of the filter whose jumps are short: one skips 255 instructions at most.
#[derive(Default)]
struct Piece {
    /// Each: its code, its operand, and where it leads if the answer is yes, and no.
    steps: Vec<(u16, u32, To, To)>,
}

impl Piece {
    /// `None`: a jump would be too long.
    fn of(ranges: &[Range<'_>]) -> Option<Vec<Instruction>> {
        let mut piece = Self::default();
        match piece.search(ranges) {
            To::End(result) => Some(vec![end(result)]),
            To::Step(_) => piece.finished(),
        }
    }

    fn push(&mut self, code: u16, operand: u32) {
        let next = To::Step(self.steps.len() + 1);
        self.steps.push((code, operand, next, next));
    }

    /// Finds the range of the loaded number by halving.
    fn search(&mut self, ranges: &[Range<'_>]) -> To {
        let here = self.steps.len();
        if let [(_, verdict)] = ranges {
            if let Some(Verdict::Conditional(alternatives)) = verdict {
                self.conditions(alternatives);
            }
            return result_of(*verdict).map_or(To::Step(here), To::End);
        }
        let (lower, upper) = ranges.split_at(ranges.len() / 2);
        self.push(NOT_LESS, upper[0].0);
        let no = self.search(lower);
        let yes = self.search(upper);
        (self.steps[here].2, self.steps[here].3) = (yes, no);
        To::Step(here)
    }

    fn conditions(&mut self, alternatives: &[If]) {
        let mut loaded = None;
        for (number, If(conditions)) in alternatives.iter().enumerate() {
            let begin = self.steps.len();
            for &(index, bits, is_equal, value) in conditions {
                if loaded != Some(index) {
                    self.push(LOAD, argument(index));
                }
                if bits != u32::MAX {
                    self.push(AND, bits);
                }
                loaded = (bits == u32::MAX).then_some(index);
                // (The way of one that does not hold is not known yet.)
                let holds = To::Step(self.steps.len() + 1);
                let (yes, no) = if is_equal {
                    (holds, OTHERWISE)
                } else {
                    (OTHERWISE, holds)
                };
                self.steps.push((EQUAL, value, yes, no));
            }
            let all_hold = To::Step(self.steps.len());
            let is_last = number + 1 == alternatives.len();
            let next = if is_last { To::End(MAKE) } else { all_hold };
            for (_, _, yes, no) in &mut self.steps[begin..] {
                for way in [yes, no] {
                    match *way {
                        OTHERWISE => *way = next,
                        known if known == all_hold => *way = To::End(REFUSE),
                        _ => {}
                    }
                }
            }
            if conditions.len() > 1 {
                loaded = None; // it depends on which of them did not hold
            }
        }
    }

    fn finished(self) -> Option<Vec<Instruction>> {
        let mut ends = Vec::new();
        let mut all = Vec::new();
        for (at, &(code, operand, yes, no)) in self.steps.iter().enumerate() {
            let mut skipped = |to| {
                let place = match to {
                    To::Step(place) => place,
                    To::End(result) => {
                        let known = ends.iter().position(|one| *one == result);
                        self.steps.len()
                            + known.unwrap_or_else(|| {
                                ends.push(result);
                                ends.len() - 1
                            })
                    }
                };
                u8::try_from(place - at - 1).ok()
            };
            let (yes, no) = (skipped(yes)?, skipped(no)?);
            all.push(step(code, yes.into(), no.into(), operand));
        }
        all.extend(ends.into_iter().map(end));
        Some(all)
    }
}

/// Where a condition leads that does not hold, until that is known. (No filter is as long.)
const OTHERWISE: To = To::Step(usize::MAX);

/// Finds the range of the loaded number.
fn search(ranges: &[Range<'_>]) -> Vec<Instruction> {
    if let Some(piece) = Piece::of(ranges) {
        return piece;
    }
    let (lower, upper) = ranges.split_at(ranges.len() / 2);
    assert!(
        !lower.is_empty(),
        "the conditions of one call fit into a piece"
    );
    let below = search(lower);
    let mut all = vec![
        step(NOT_LESS, 0, 1, upper[0].0),
        step(JUMP, 0, 0, below.len() as u32),
    ];
    all.extend(below);
    all.extend(search(upper));
    all
}

/// The filter.
pub(crate) fn filter(allowed: &Allowed) -> Vec<Instruction> {
    let known = verdicts(allowed);
    let mut ranges: Vec<Range<'_>> = Vec::new();
    let mut add = |number: u32, verdict| {
        let result = result_of(verdict);
        let is_same = |(_, last): &Range<'_>| result.is_some() && result_of(*last) == result;
        if !ranges.last().is_some_and(is_same) {
            ranges.push((number, verdict));
        }
    };
    let mut next = 0;
    for (&number, verdict) in &known {
        if number > next {
            add(next, None);
        }
        add(number, Some(verdict));
        next = number + 1;
    }
    add(next, None);
    let mut all = vec![
        step(LOAD, 0, 0, ARCHITECTURE),
        step(EQUAL, 1, 0, OURS),
        end(libc::SECCOMP_RET_KILL_PROCESS),
        step(LOAD, 0, 0, NUMBER),
    ];
    all.extend(search(&ranges));
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the kernel would do.
    fn run(program: &[Instruction], architecture: u32, number: u32, arguments: [u32; 6]) -> u32 {
        let (mut at, mut word) = (0, 0);
        loop {
            let one = program[at];
            at += 1;
            match one.code {
                LOAD if one.operand == NUMBER => word = number,
                LOAD if one.operand == ARCHITECTURE => word = architecture,
                LOAD => word = arguments[(one.operand as usize - 16) / 8],
                AND => word &= one.operand,
                JUMP => at += one.operand as usize,
                EQUAL => at += usize::from(if word == one.operand { one.yes } else { one.no }),
                NOT_LESS => at += usize::from(if word >= one.operand { one.yes } else { one.no }),
                _ => return one.operand,
            }
        }
    }

    #[test]
    fn each_call_has_its_verdict_whatever_its_number() {
        for allowed in [
            Allowed::default(),
            Allowed {
                network: true,
                processes: true,
                signals_are_scoped: true,
                calls: [libc::SYS_memfd_create, 12_345].into(),
            },
        ] {
            let program = filter(&allowed);
            assert!(program.len() < 4096);
            let known = verdicts(&allowed);
            let numbers = (0..20_000).chain([1 << 30, 1 << 30 | 57, u32::MAX]);
            for number in numbers {
                // Arguments that fulfil a condition, if there is one; and others.
                let mut tried = vec![([0; 6], None)];
                if let Some(Verdict::Conditional(alternatives)) = known.get(&number) {
                    tried.clear();
                    for If(conditions) in alternatives {
                        let mut arguments = [0; 6];
                        for &(index, _, is_equal, value) in conditions {
                            arguments[index as usize] = if is_equal { value } else { 0x7777 };
                        }
                        tried.push((arguments, Some(REFUSE)));
                    }
                }
                for (arguments, wanted) in tried {
                    let found = run(&program, OURS, number, arguments);
                    let wanted = wanted.unwrap_or(match known.get(&number) {
                        None => UNKNOWN,
                        Some(Verdict::Made) => MAKE,
                        Some(_) => REFUSE,
                    });
                    assert_eq!(found, wanted, "{number} {arguments:?}");
                }
            }
            let other = run(&program, OURS ^ 1, 0, [0; 6]);
            assert_eq!(other, libc::SECCOMP_RET_KILL_PROCESS);
        }
    }

    #[test]
    fn what_computes_is_made() {
        let program = filter(&Allowed::default());
        let thread = (libc::CLONE_THREAD | libc::CLONE_VM) as u32;
        let private = (libc::MAP_PRIVATE | libc::MAP_ANONYMOUS) as u32;
        for (call, arguments) in [
            (libc::SYS_clone, [thread, 0, 0, 0, 0, 0]),
            (libc::SYS_mmap, [0, 4096, 3, private, u32::MAX, 0]),
            (
                libc::SYS_openat,
                [u32::MAX, 1, libc::O_RDONLY as u32, 0, 0, 0],
            ),
            (
                libc::SYS_openat,
                [
                    u32::MAX,
                    1,
                    (libc::O_WRONLY | libc::O_TRUNC) as u32,
                    0,
                    0,
                    0,
                ],
            ),
            (
                libc::SYS_openat,
                [
                    u32::MAX,
                    1,
                    (libc::O_WRONLY | libc::O_CREAT | libc::O_EXCL) as u32,
                    0o1777,
                    0,
                    0,
                ],
            ),
            // (Without a new file the mode is whatever was in the register.)
            (libc::SYS_openat, [u32::MAX, 1, 0, u32::MAX, 0, 0]),
            (libc::SYS_renameat2, [3, 1, 3, 1, libc::RENAME_NOREPLACE, 0]),
            (libc::SYS_fcntl, [3, libc::F_SETFL as u32, 0, 0, 0, 0]),
            (libc::SYS_ioctl, [1, libc::TCGETS as u32, 0, 0, 0, 0]),
            (libc::SYS_ioctl, [1, libc::FIONBIO as u32, 0, 0, 0, 0]),
            (libc::SYS_sched_setscheduler, [0, 3, 1, 0, 0, 0]),
            (libc::SYS_tgkill, [OWN, 7, 6, 0, 0, 0]),
            (libc::SYS_prlimit64, [0; 6]),
            (
                libc::SYS_socketpair,
                [1, libc::SOCK_STREAM as u32 | 1 << 19, 0, 0, 0, 0],
            ),
            (libc::SYS_prctl, [libc::PR_SET_NAME as u32, 1, 0, 0, 0, 0]),
        ] {
            assert_eq!(run(&program, OURS, call as u32, arguments), MAKE, "{call}");
        }
    }

    /// Sockets have some more, where there are sockets.
    #[test]
    fn requests_are_refused_unless_they_are_known() {
        const SIOCGIFCONF: u32 = 0x8912;
        const BTRFS_IOC_SNAP_CREATE: u32 = 0x5000_9401;
        let of = |network, request: u32| {
            let allowed = Allowed {
                network,
                ..Allowed::default()
            };
            let arguments = [3, request, 0, 0, 0, 0];
            run(&filter(&allowed), OURS, libc::SYS_ioctl as u32, arguments)
        };
        for network in [false, true] {
            for known in REQUESTS {
                assert_eq!(of(network, known), MAKE, "{known:#x}");
            }
            for request in OWNERS.into_iter().chain([BTRFS_IOC_SNAP_CREATE, 0]) {
                assert_eq!(of(network, request), REFUSE, "{request:#x}");
            }
        }
        assert_eq!(of(false, SIOCGIFCONF), REFUSE);
        assert_eq!(of(true, SIOCGIFCONF), MAKE);
    }

    /// The number that somebody else's table has for a call.
    fn number_of(name: &str, architecture: seccompiler::TargetArch) -> Option<u32> {
        let rule = format!(
            r#"{{"all": {{"mismatch_action": "allow", "match_action": "trap",
            "filter": [{{"syscall": "{name}"}}]}}}}"#
        );
        let programs = seccompiler::compile_from_json(rule.as_bytes(), architecture).ok()?;
        // It compares the architecture, and then the number.
        let mut compared = programs["all"].iter().filter(|one| one.code == EQUAL);
        compared.nth(1).map(|one| one.k)
    }

    /// Names are numbers for the architecture of the build only. Those of both are looked up here.
    #[test]
    fn the_names_are_calls_of_each_architecture() {
        use seccompiler::TargetArch::{aarch64, x86_64};
        let own = if cfg!(target_arch = "x86_64") {
            x86_64
        } else {
            aarch64
        };
        let program = filter(&Allowed::default());
        let text = include_str!("calls.rs");
        let (lists, _) = text.split_once("/// All flags of `clone`").unwrap();
        let mut only = None; // of which architecture the list is
        let mut names = 0;
        for line in lists.lines() {
            if line.starts_with("#[cfg") {
                only = Some(if line.contains("x86_64") {
                    x86_64
                } else {
                    aarch64
                });
            }
            if line == "];" {
                only = None;
            }
            let Some(name) = line.trim().strip_prefix("libc::SYS_") else {
                continue;
            };
            let name = name.trim_end_matches(',');
            names += 1;
            for architecture in [x86_64, aarch64] {
                let found = number_of(name, architecture);
                let is_wanted = only.is_none_or(|only| only == architecture);
                assert!(found.is_some() || !is_wanted, "{name}, {architecture:?}");
                if let Some(number) = found.filter(|_| is_wanted && architecture == own) {
                    let verdict = run(&program, OURS, number, [0; 6]);
                    assert_ne!(verdict, UNKNOWN, "{name}: {number}");
                }
            }
        }
        assert!(names > 250, "{names}");
    }
}
