//! Makes the system refuse certain calls, by a seccomp filter.
#![allow(unsafe_code)]

use std::io;

use libc::{c_long, c_ulong};

/// The bit position of the command in the number of a call; the same on 32-bit machines.
const COMMAND: u32 = 16;

/// `call`, restricted to calls whose second argument is `command`.
#[allow(dead_code)] // not every program needs it
pub(crate) const fn only(call: c_long, command: i32) -> c_long {
    assert!(call < 1 << COMMAND && command < 1 << 15);
    call | (command as c_long) << COMMAND
}

/// Refuses these calls with `errno` from now on, for all threads and for all that they start.
pub(crate) fn refuse(calls: &[c_long], errno: i32) -> io::Result<()> {
    let statement = |code: u32, k: u32| libc::sock_filter {
        code: code as u16,
        jt: 0,
        jf: 0,
        k,
    };
    let load = |place: u32| statement(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, place);
    // Skips so many statements if it is another number.
    let is = |number: u32, others: u8| libc::sock_filter {
        jf: others,
        ..statement(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, number)
    };
    let end = |what: u32| statement(libc::BPF_RET | libc::BPF_K, what);
    let refused = end(libc::SECCOMP_RET_ERRNO | errno as u32);
    let mut filter = Vec::new();
    for call in calls {
        // Where a filter finds the number of the call, and the lower half of its second argument,
        // on a little-endian machine.
        let (number, second) = (load(0), load(24));
        filter.extend(match (*call as u32 & 0xffff, (*call >> COMMAND) as u32) {
            (call, 0) => vec![number, is(call, 1), refused],
            (call, command) => vec![number, is(call, 3), second, is(command, 1), refused],
        });
    }
    filter.push(end(libc::SECCOMP_RET_ALLOW));
    let program = libc::sock_fprog {
        len: filter.len() as u16,
        filter: filter.as_mut_ptr(),
    };
    let [one, none]: [c_ulong; 2] = [1, 0];
    // SAFETY: it takes numbers only.
    let quiet = unsafe { libc::prctl(libc::PR_SET_NO_NEW_PRIVS, one, none, none, none) };
    // SAFETY: the kernel copies the filter, which is alive.
    let result = unsafe {
        libc::syscall(
            libc::SYS_seccomp,
            libc::SECCOMP_SET_MODE_FILTER as c_ulong,
            libc::SECCOMP_FILTER_FLAG_TSYNC as c_ulong,
            &raw const program,
        )
    };
    match (quiet, result) {
        (0, 0) => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}
