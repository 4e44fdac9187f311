//! A filter of the system calls with which code in a sandbox could get out of it, or past its
//! limits.
//!
//! Namespaces do not hide everything: a process with this user's number finds the keys of the
//! user's session, and one that makes a user namespace has all capabilities in it, so it could
//! mount its own control group and kill all that is in that. So these fail:
//!
//! - what makes or enters a namespace, or mounts; `clone3`, whose flags the filter cannot see (the
//!   C library then calls `clone`);
//! - sockets that reach this machine past the network namespace: all but those of the internet and
//!   of netlink, so also Unix sockets, whose names are files. A connected pair is allowed, except
//!   of datagrams, which can be sent elsewhere;
//! - `io_uring`, whose operations no filter sees;
//! - keys; System V's shared memory, queues and semaphores, which no limit of a process counts;
//!   and rarely used parts of the kernel that its administrators may have left open;
//! - calls of other architectures, which have other numbers, and those that are newer than this
//!   list: they fail as on an older kernel.
//!
//! It is a program of the kernel's classic BPF (`seccomp(2)`): each instruction has a code
//! (16 bits), two jumps (8 bits each, counted from the next instruction) and an operand (32 bits).
//!
//! Tests: `tests/sandbox/sandbox.rs`.

use std::io;
use std::os::fd::OwnedFd;

use libc::c_long;
use rustix::fs::MemfdFlags;

/// The machine in the headers of this architecture's executables (`EM_…`), if the numbers below are
/// its own, and none is missing.
const MACHINE: Option<u32> = if cfg!(all(target_arch = "x86_64", target_pointer_width = "64")) {
    Some(62)
} else if cfg!(all(target_arch = "aarch64", target_pointer_width = "64")) {
    Some(183)
} else if cfg!(target_arch = "riscv64") {
    Some(243)
} else if cfg!(target_arch = "loongarch64") {
    Some(258)
} else if cfg!(target_arch = "arm") {
    Some(40)
} else if cfg!(target_arch = "x86") {
    Some(3)
} else {
    None
};

/// Calls that are refused, whatever their arguments.
const REFUSED: [c_long; 25] = [
    // Namespaces, mounts.
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
    libc::SYS_open_by_handle_at,
    // Operations that no filter sees.
    libc::SYS_io_uring_setup,
    libc::SYS_io_uring_enter,
    libc::SYS_io_uring_register,
    // Keys, which no namespace hides.
    libc::SYS_add_key,
    libc::SYS_request_key,
    libc::SYS_keyctl,
    // What many kernels let every user do.
    libc::SYS_bpf,
    libc::SYS_perf_event_open,
    libc::SYS_userfaultfd,
    libc::SYS_fanotify_init,
    libc::SYS_syslog,
];

/// More of them, which differ: System V's memory, queues and semaphores.
#[cfg(any(
    target_arch = "x86_64",
    target_arch = "aarch64",
    target_arch = "riscv64",
    target_arch = "loongarch64",
    target_arch = "arm",
))]
const OWN: [c_long; 3] = [libc::SYS_shmget, libc::SYS_msgget, libc::SYS_semget];
/// Here one call stands for all of them, and newer kernels have numbers for each besides.
#[cfg(target_arch = "x86")]
const OWN: [c_long; 5] = [libc::SYS_ipc, 393, 395, 399, libc::SYS_umount];
#[cfg(not(any(
    target_arch = "x86_64",
    target_arch = "aarch64",
    target_arch = "riscv64",
    target_arch = "loongarch64",
    target_arch = "arm",
    target_arch = "x86",
)))]
const OWN: [c_long; 0] = [];

/// The first number that is too new. (From `clone3` on, an architecture has the numbers of all
/// others, or at the same distance.)
const NEWER: u32 = libc::SYS_clone3 as u32 + 32;

/// All flags of `clone` that make a namespace.
const NAMESPACES: u32 = (libc::CLONE_NEWNS
    | libc::CLONE_NEWCGROUP
    | libc::CLONE_NEWUTS
    | libc::CLONE_NEWIPC
    | libc::CLONE_NEWUSER
    | libc::CLONE_NEWPID
    | libc::CLONE_NEWNET) as u32;

/// Codes: load a word; of what was loaded some bits; jump if equal, if not less, or if it has one
/// of these bits; return.
const LOAD: u16 = 0x20;
const AND: u16 = 0x54;
const EQUAL: u16 = 0x15;
const NOT_LESS: u16 = 0x35;
const HAS: u16 = 0x45;
const RETURN: u16 = 0x06;

/// Where a word of the call is: its number, its architecture.
const NUMBER: u32 = 0;
const ARCH: u32 = 4;

/// Where the lower half of an argument is.
const fn argument(index: u32) -> u32 {
    16 + 8 * index + if cfg!(target_endian = "big") { 4 } else { 0 }
}

/// What is returned: the call is made, or it fails: it is not allowed, or there is no such call.
const ALLOW: u32 = 0x7fff_0000;
const REFUSE: u32 = 0x0005_0000 | libc::EPERM as u32;
const UNKNOWN: u32 = 0x0005_0000 | libc::ENOSYS as u32;

type Instruction = (u16, u8, u8, u32);

const fn end(result: u32) -> Instruction {
    (RETURN, 0, 0, result)
}

/// The kernel's number of an architecture (`AUDIT_ARCH_…`): its machine, how wide this one is and
/// its order of bytes.
fn architecture(machine: u32) -> u32 {
    let wide = u32::from(cfg!(target_pointer_width = "64")) << 31;
    let little = u32::from(cfg!(target_endian = "little")) << 30;
    machine | wide | little
}

/// The filter. Each of its parts begins with the call's number loaded.
fn program(machine: u32) -> Vec<Instruction> {
    let mut all = vec![
        (LOAD, 0, 0, ARCH),
        (EQUAL, 1, 0, architecture(machine)),
        end(UNKNOWN),
        (LOAD, 0, 0, NUMBER),
    ];
    let mut part = |instructions: &[Instruction]| all.extend_from_slice(instructions);
    if cfg!(target_arch = "arm") {
        // The kernel's own calls for this architecture: caches, thread pointers.
        part(&[
            (NOT_LESS, 0, 2, 0xf_0000),
            (NOT_LESS, 1, 0, 0xf_0010),
            end(ALLOW),
        ]);
    }
    part(&[(NOT_LESS, 0, 1, NEWER), end(UNKNOWN)]);
    part(&[(EQUAL, 0, 1, libc::SYS_clone3 as u32), end(UNKNOWN)]);
    for call in REFUSED.iter().chain(&OWN) {
        part(&[(EQUAL, 0, 1, *call as u32), end(REFUSE)]);
    }
    part(&[
        (EQUAL, 0, 4, libc::SYS_clone as u32),
        (LOAD, 0, 0, argument(0)),
        (HAS, 0, 1, NAMESPACES),
        end(REFUSE),
        end(ALLOW),
    ]);
    part(&[
        (EQUAL, 0, 6, libc::SYS_socket as u32),
        (LOAD, 0, 0, argument(0)),
        (EQUAL, 3, 0, libc::AF_INET as u32),
        (EQUAL, 2, 0, libc::AF_INET6 as u32),
        (EQUAL, 1, 0, libc::AF_NETLINK as u32),
        end(REFUSE),
        end(ALLOW),
    ]);
    part(&[
        (EQUAL, 0, 8, libc::SYS_socketpair as u32),
        (LOAD, 0, 0, argument(0)),
        (EQUAL, 0, 4, libc::AF_UNIX as u32),
        (LOAD, 0, 0, argument(1)),
        (AND, 0, 0, 0xf), // without its flags
        (EQUAL, 2, 0, libc::SOCK_STREAM as u32),
        (EQUAL, 1, 0, libc::SOCK_SEQPACKET as u32),
        end(REFUSE),
        end(ALLOW),
    ]);
    // One call stands for all that concerns sockets, with arguments that the filter cannot see:
    // it makes none.
    #[cfg(target_arch = "x86")]
    part(&[
        (EQUAL, 0, 5, libc::SYS_socketcall as u32),
        (LOAD, 0, 0, argument(0)),
        (EQUAL, 1, 0, 1),
        (EQUAL, 0, 1, 8),
        end(REFUSE),
        end(ALLOW),
    ]);
    part(&[end(ALLOW)]);
    all
}

/// A file from which the filter can be read, at its beginning.
pub(crate) fn filter() -> io::Result<OwnedFd> {
    let message = "there is no filter of system calls for this kind of processor";
    let unknown = || io::Error::new(io::ErrorKind::Unsupported, message);
    let mut bytes = Vec::new();
    for (code, yes, no, operand) in program(MACHINE.ok_or_else(unknown)?) {
        bytes.extend(u16::to_ne_bytes(code));
        bytes.extend([yes, no]);
        bytes.extend(u32::to_ne_bytes(operand));
    }
    let file = rustix::fs::memfd_create("trefoil-filter", MemfdFlags::CLOEXEC)?;
    rustix::io::pwrite(&file, &bytes, 0)?;
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_machine_is_that_in_this_program_s_headers() {
        let headers = std::fs::read("/proc/self/exe").unwrap();
        let machine = u16::from_ne_bytes([headers[18], headers[19]]);
        assert!(MACHINE.is_none_or(|known| known == machine.into()));
    }
}
