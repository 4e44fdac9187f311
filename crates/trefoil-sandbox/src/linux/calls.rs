//! A filter of system calls.
//!
//! Calls that a program needs which computes are made, some of them unless their arguments are
//! dangerous. Those that would reach beyond the worker are refused with `EPERM`. All others, newer
//! ones among them, and those of x32, do not exist for it: `ENOSYS`, as on an older kernel, so
//! libraries take another way. A program for another processor (32 bits) is killed.
//!
//! The kernel looks at a filter when it is installed, for each call that there is, and that is done
//! at each start. So the filter finds a number by halving: 0.2 ms. (The crate `seccompiler`
//! makes programs that compare with one number after another: 0.9 ms.)
//!
//! Landlock does not see everything: that a file's mode, owner, times and attributes change, that
//! folders are watched, that a file is truncated (before Linux 6.2), that signals are sent (before
//! 6.12), how a process of the same user is scheduled and limited. And no limit of a process counts
//! memory that has only a descriptor, is System V's, or is mapped to be shared.
//!
//! Tests: `crates/trefoil-sandbox/tests/sandbox/attacks.rs`.

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
    libc::SYS_getxattr,
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

/// Calls that some arguments make dangerous: with any of these conditions they are refused.
fn conditions(allowed: &Allowed) -> Vec<(c_long, Vec<If>)> {
    let one = |bit: i32| If::has(0, bit.cast_unsigned(), bit.cast_unsigned());
    let mut clone: Vec<If> = NAMESPACES.into_iter().map(one).collect();
    if !allowed.processes {
        clone.push(If::has(0, libc::CLONE_THREAD.cast_unsigned(), 0));
    }
    // Flags behind the access mode: `O_TRUNC` with `O_RDONLY`.
    let truncates = |index| {
        let (mode, truncates) = (libc::O_ACCMODE, libc::O_TRUNC.cast_unsigned());
        vec![If::has(index, mode.cast_unsigned() | truncates, truncates)]
    };
    let shared = (libc::MAP_SHARED | libc::MAP_ANONYMOUS).cast_unsigned();
    // (Connected pairs, except of datagrams, which can be sent elsewhere.)
    let mut pair = vec![If::is_not(0, libc::AF_UNIX.cast_unsigned())];
    let kinds = [0, libc::SOCK_DGRAM, libc::SOCK_RAW, libc::SOCK_RDM];
    pair.extend(kinds.map(|kind| If::has(1, 0xf, kind.cast_unsigned())));
    let own_options = [
        libc::PR_SET_PDEATHSIG.cast_unsigned(),
        libc::PR_SET_CHILD_SUBREAPER.cast_unsigned(),
        0x5961_6d61, // PR_SET_PTRACER
    ];
    let mut all = vec![
        (libc::SYS_clone, clone),
        (libc::SYS_openat, truncates(2)),
        (libc::SYS_mmap, vec![If::has(3, shared, shared)]),
        (libc::SYS_socketpair, pair),
        (
            libc::SYS_prctl,
            own_options.map(|one| If::is(0, one)).into(),
        ),
        (
            libc::SYS_fcntl,
            [1024, 1026].map(|one| If::is(1, one)).into(),
        ), // leases, notes
        (
            libc::SYS_ioctl,
            [0x5412, 0x541c].map(|one| If::is(1, one)).into(),
        ), // a terminal's input
        (libc::SYS_personality, vec![If::is_not(0, u32::MAX)]),
        // Of itself only.
        (libc::SYS_prlimit64, vec![If::is_not(0, 0)]),
        (
            libc::SYS_sched_setaffinity,
            vec![If::is_not(0, 0).and_not(0, OWN)],
        ),
        (libc::SYS_sched_setparam, vec![If::is_not(0, 0)]),
        (libc::SYS_sched_setscheduler, vec![If::is_not(0, 0)]),
        (
            libc::SYS_setpriority,
            vec![If::is_not(0, 0), If::is_not(1, 0)],
        ),
    ];
    #[cfg(target_arch = "x86_64")]
    all.push((libc::SYS_open, truncates(1)));
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

/// What a range of numbers leads to.
fn code_of(verdict: Option<&Verdict>) -> Vec<Instruction> {
    let alternatives = match verdict {
        None => return vec![end(UNKNOWN)],
        Some(Verdict::Made) => return vec![end(MAKE)],
        Some(Verdict::Refused) => return vec![end(REFUSE)],
        Some(Verdict::Conditional(alternatives)) => alternatives,
    };
    let mut all = Vec::new();
    for If(conditions) in alternatives {
        // From its end to its beginning: what is left to be skipped if one does not hold.
        let mut code = vec![end(REFUSE)];
        for &(index, bits, is_equal, value) in conditions.iter().rev() {
            let left = code.len();
            let (yes, no) = if is_equal { (0, left) } else { (left, 0) };
            let loaded = [
                step(LOAD, 0, 0, argument(index)),
                step(AND, 0, 0, bits),
                step(EQUAL, yes, no, value),
            ];
            code.splice(0..0, loaded);
        }
        all.extend(code);
    }
    all.push(end(MAKE));
    all
}

/// Finds the range of the loaded number by halving. Each begins at a number.
fn search(ranges: &[(u32, Vec<Instruction>)]) -> Vec<Instruction> {
    if let [(_, code)] = ranges {
        return code.clone();
    }
    let (lower, upper) = ranges.split_at(ranges.len() / 2);
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
    let is_simple = |code: &[Instruction]| code.len() == 1;
    let mut ranges: Vec<(u32, Vec<Instruction>)> = Vec::new();
    let mut add = |number: u32, verdict: Option<&Verdict>| {
        let code = code_of(verdict);
        let is_same = ranges.last().is_some_and(|(_, last)| {
            is_simple(last) && is_simple(&code) && last[0].operand == code[0].operand
        });
        if !is_same {
            ranges.push((number, code));
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
}
