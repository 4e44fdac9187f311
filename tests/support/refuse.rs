//! Calls that the system refuses, by a filter of a few lines.
#![allow(unsafe_code)]

use std::io;

use libc::{c_long, c_ulong};

/// Calls are refused with `errno` from now on, to all threads and to whatever they start.
pub(crate) fn refuse(calls: &[c_long], errno: i32) -> io::Result<()> {
    let statement = |code: u32, k: u32| libc::sock_filter {
        code: code as u16,
        jt: 0,
        jf: 0,
        k,
    };
    // The number of the call; for each that is refused, a way to the refusal, which is the last statement.
    let mut filter = vec![statement(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0)];
    for (at, call) in calls.iter().enumerate() {
        let mut test = statement(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, *call as u32);
        test.jt = (calls.len() - at) as u8;
        filter.push(test);
    }
    let end = |what: u32| statement(libc::BPF_RET | libc::BPF_K, what);
    filter.push(end(libc::SECCOMP_RET_ALLOW));
    filter.push(end(libc::SECCOMP_RET_ERRNO | errno as u32));
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
