//! A filter of system calls that keeps a sandbox from the kernel's keyrings, which no namespace
//! hides: a process with this user's number can find and read the keys of the user's session.
//!
//! The filter is a program of the kernel's classic BPF (`seccomp(2)`): each instruction has a code
//! (16 bits), two jumps (8 bits each, counted from the next instruction) and an operand (32 bits).
//! The calls of other architectures, which have other numbers, are refused altogether.
//!
//! Tests: `tests/process/sandbox.rs`.

use std::io;
use std::os::fd::OwnedFd;

use rustix::fs::MemfdFlags;

use crate::host::elf;

/// The kernel's number of this architecture (`AUDIT_ARCH_…`): that of the machine in the headers of
/// its executables, how wide it is and its order of bytes.
fn architecture() -> u32 {
    let wide = u32::from(cfg!(target_pointer_width = "64")) << 31;
    let little = u32::from(cfg!(target_endian = "little")) << 30;
    u32::from(elf::machine()) | wide | little
}

/// Numbers from here on are those of another architecture on x86-64 (x32), and none elsewhere.
const OTHERS: u32 = 1 << 30;

/// Codes: load a word; jump if equal, or if not less; return.
const LOAD: u16 = 0x20;
const EQUAL: u16 = 0x15;
const NOT_LESS: u16 = 0x35;
const RETURN: u16 = 0x06;

/// Where a word of the call is: its number, its architecture.
const NUMBER: u32 = 0;
const ARCH: u32 = 4;

/// What is returned: the call is made, or it fails with this error.
const ALLOW: u32 = 0x7fff_0000;
const FAIL: u32 = 0x0005_0000;

/// A file from which the filter can be read, at its beginning.
pub fn filter() -> io::Result<OwnedFd> {
    let refused = FAIL | libc::EPERM as u32;
    let program = [
        (LOAD, 0, 0, ARCH),
        (EQUAL, 0, 5, architecture()),
        (LOAD, 0, 0, NUMBER),
        (NOT_LESS, 3, 0, OTHERS),
        (EQUAL, 3, 0, libc::SYS_add_key as u32),
        (EQUAL, 2, 0, libc::SYS_request_key as u32),
        (EQUAL, 1, 2, libc::SYS_keyctl as u32),
        (RETURN, 0, 0, FAIL | libc::ENOSYS as u32),
        (RETURN, 0, 0, refused),
        (RETURN, 0, 0, ALLOW),
    ];
    let mut bytes = Vec::new();
    for (code, yes, no, operand) in program {
        bytes.extend(u16::to_ne_bytes(code));
        bytes.extend([yes, no]);
        bytes.extend(u32::to_ne_bytes(operand));
    }
    let file = rustix::fs::memfd_create("trefoil-filter", MemfdFlags::CLOEXEC)?;
    rustix::io::pwrite(&file, &bytes, 0)?;
    Ok(file)
}
