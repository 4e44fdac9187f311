//! The C library's calls for threads, futexes and time, defined anew.
//!
//! **Job.** The standard library's threads, parking and clocks, and other crates', are the
//! machine's for the machine's threads; for all others they are what they were. (An executable's
//! own definition of a name is taken before that of a shared library.)
//!
//! Invariants:
//! - **V5** Each of these functions keeps the contract of the one that it replaces, with the same
//!   arguments; pointers are the caller's to vouch for, as there.

#![allow(unsafe_code)]

use std::ffi::{c_int, c_long, c_void};
use std::sync::atomic::AtomicU32;
use std::time::Duration;

use crate::costs::Ns;
use crate::raw_threads::{self as threads, Waited, is_mine};

type Start = extern "C" fn(*mut c_void) -> *mut c_void;
type Create =
    unsafe extern "C" fn(*mut libc::pthread_t, *const c_void, Start, *mut c_void) -> c_int;
type Join = unsafe extern "C" fn(libc::pthread_t, *mut *mut c_void) -> c_int;
type Detach = unsafe extern "C" fn(libc::pthread_t) -> c_int;
type CpuClock = unsafe extern "C" fn(libc::pthread_t, *mut libc::clockid_t) -> c_int;

/// The linker takes these functions from this package because they are named here.
pub(crate) fn install() {
    let all: [*const (); 10] = [
        pthread_create as *const (),
        pthread_join as *const (),
        pthread_detach as *const (),
        pthread_getcpuclockid as *const (),
        syscall as *const (),
        clock_gettime as *const (),
        nanosleep as *const (),
        clock_nanosleep as *const (),
        sched_yield as *const (),
        sched_getaffinity as *const (),
    ];
    std::hint::black_box(all);
}

/// The C library's own function of this name.
fn real(name: &std::ffi::CStr) -> *mut c_void {
    // SAFETY: the name is a string of C.
    let found = unsafe { libc::dlsym(libc::RTLD_NEXT, name.as_ptr()) };
    assert!(!found.is_null(), "the C library has {name:?}");
    found
}

#[unsafe(no_mangle)]
unsafe extern "C" fn pthread_create(
    out: *mut libc::pthread_t,
    attributes: *const c_void,
    start: Start,
    argument: *mut c_void,
) -> c_int {
    // SAFETY: V5: the C library's function of that name has this type.
    let real = unsafe { std::mem::transmute::<*mut c_void, Create>(real(c"pthread_create")) };
    if !is_mine() {
        // SAFETY: V5.
        return unsafe { real(out, attributes, start, argument) };
    }
    threads::start(start, argument, |start, argument| {
        // SAFETY: V5.
        let error = unsafe { real(out, attributes, start, argument) };
        // SAFETY: V5: it was written if there is no error, and may be read in any case.
        (error, unsafe { *out })
    })
}

#[unsafe(no_mangle)]
unsafe extern "C" fn pthread_join(handle: libc::pthread_t, out: *mut *mut c_void) -> c_int {
    let Some(thread) = threads::thread_of(handle) else {
        // SAFETY: V5: the C library's function of that name has this type.
        let real = unsafe { std::mem::transmute::<*mut c_void, Join>(real(c"pthread_join")) };
        // SAFETY: V5.
        return unsafe { real(handle, out) };
    };
    let result = threads::join(thread);
    if !out.is_null() {
        // SAFETY: V5.
        unsafe { *out = std::ptr::with_exposed_provenance_mut(result) };
    }
    0
}

#[unsafe(no_mangle)]
unsafe extern "C" fn pthread_detach(handle: libc::pthread_t) -> c_int {
    if threads::thread_of(handle).is_some() {
        return 0;
    }
    // SAFETY: V5: the C library's function of that name has this type.
    let real = unsafe { std::mem::transmute::<*mut c_void, Detach>(real(c"pthread_detach")) };
    // SAFETY: V5.
    unsafe { real(handle) }
}

/// The system's numbers of the machine's threads begin here.
const NUMBERS: libc::clockid_t = 1_000_000;

/// The number of the clock of a thread's processor time, as Linux makes it of the thread's number.
fn cpu_clock(thread: usize) -> libc::clockid_t {
    (!(NUMBERS + thread as libc::clockid_t) << 3) | 6
}

#[unsafe(no_mangle)]
unsafe extern "C" fn pthread_getcpuclockid(
    handle: libc::pthread_t,
    out: *mut libc::clockid_t,
) -> c_int {
    if !is_mine() {
        let real = real(c"pthread_getcpuclockid");
        // SAFETY: V5: the C library's function of that name has this type.
        let real = unsafe { std::mem::transmute::<*mut c_void, CpuClock>(real) };
        // SAFETY: V5.
        return unsafe { real(handle, out) };
    }
    let thread = threads::thread_of(handle).unwrap_or_default();
    // SAFETY: V5.
    unsafe { *out = cpu_clock(thread) };
    0
}

/// A system call, with the C library's way of reporting errors.
fn real_syscall(number: c_long, a: [usize; 6]) -> c_long {
    let result: isize;
    // SAFETY: V5: what the call does is what its caller asked for.
    unsafe {
        core::arch::asm!("syscall", inlateout("rax") number as isize => result, in("rdi") a[0],
            in("rsi") a[1], in("rdx") a[2], in("r10") a[3], in("r8") a[4], in("r9") a[5],
            lateout("rcx") _, lateout("r11") _);
    }
    match result {
        -4095..=-1 => failed(-result as c_int),
        result => result as c_long,
    }
}

fn failed(error: c_int) -> c_long {
    // SAFETY: it has no precondition.
    let errno = unsafe { libc::__errno_location() };
    // SAFETY: it is this thread's own.
    unsafe { *errno = error };
    -1
}

/// Reads a time that a caller passed.
fn duration(time: *const libc::timespec) -> Option<Duration> {
    // SAFETY: V5: null or valid.
    let time = unsafe { time.as_ref() }?;
    Some(Duration::new(time.tv_sec as u64, time.tv_nsec as u32))
}

/// The monotonic clock does not begin at nothing.
const BEGINNING: Duration = Duration::from_secs(1_000_000);

#[unsafe(no_mangle)]
unsafe extern "C" fn syscall(
    number: c_long,
    a: usize,
    b: usize,
    c: usize,
    d: usize,
    e: usize,
    f: usize,
) -> c_long {
    match number {
        libc::SYS_gettid if is_mine() => return c_long::from(NUMBERS) + threads::me() as c_long,
        libc::SYS_futex if is_mine() => {}
        _ => return real_syscall(number, [a, b, c, d, e, f]),
    }
    let operation = b as c_int & 127;
    match operation {
        libc::FUTEX_WAIT | libc::FUTEX_WAIT_BITSET => {
            let until = duration(std::ptr::with_exposed_provenance(d)).map(|time| {
                let absolute = operation == libc::FUTEX_WAIT_BITSET;
                let base = if absolute { 0.0 } else { threads::now() };
                let time = if absolute {
                    time.saturating_sub(BEGINNING)
                } else {
                    time
                };
                base + time.as_nanos() as Ns
            });
            // SAFETY: V5: it is a futex.
            let word = unsafe { AtomicU32::from_ptr(std::ptr::with_exposed_provenance_mut(a)) };
            match threads::futex_wait(word, c as u32, until) {
                Waited::Woken => 0,
                Waited::Changed => failed(libc::EAGAIN),
                Waited::TimedOut => failed(libc::ETIMEDOUT),
            }
        }
        libc::FUTEX_WAKE | libc::FUTEX_WAKE_BITSET => threads::futex_wake(a, c) as c_long,
        _ => failed(libc::ENOSYS),
    }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn clock_gettime(clock: libc::clockid_t, out: *mut libc::timespec) -> c_int {
    if !is_mine() {
        let [clock, out] = [clock as usize, out.expose_provenance()];
        return real_syscall(libc::SYS_clock_gettime, [clock, out, 0, 0, 0, 0]) as c_int;
    }
    threads::work(threads::costs().clock);
    let passed = match clock {
        libc::CLOCK_PROCESS_CPUTIME_ID => Duration::from_nanos(threads::used(None) as u64),
        libc::CLOCK_THREAD_CPUTIME_ID => {
            Duration::from_nanos(threads::used(Some(threads::me())) as u64)
        }
        clock if clock < 0 => {
            let thread = (!(clock >> 3) - NUMBERS) as usize;
            Duration::from_nanos(threads::used(Some(thread)) as u64)
        }
        _ => BEGINNING + Duration::from_nanos(threads::now() as u64),
    };
    let time = libc::timespec {
        tv_sec: passed.as_secs() as libc::time_t,
        tv_nsec: c_long::from(passed.subsec_nanos()),
    };
    // SAFETY: V5.
    unsafe { *out = time };
    0
}

#[unsafe(no_mangle)]
unsafe extern "C" fn nanosleep(time: *const libc::timespec, left: *mut libc::timespec) -> c_int {
    match duration(time) {
        Some(time) if is_mine() => threads::sleep(time),
        _ => {
            let [time, left] = [time.expose_provenance(), left.expose_provenance()];
            return real_syscall(libc::SYS_nanosleep, [time, left, 0, 0, 0, 0]) as c_int;
        }
    }
    0
}

#[unsafe(no_mangle)]
unsafe extern "C" fn clock_nanosleep(
    clock: libc::clockid_t,
    flags: c_int,
    time: *const libc::timespec,
    left: *mut libc::timespec,
) -> c_int {
    match duration(time) {
        Some(time) if is_mine() => {
            let now = BEGINNING + Duration::from_nanos(threads::now() as u64);
            let absolute = flags & libc::TIMER_ABSTIME != 0;
            threads::sleep(if absolute {
                time.saturating_sub(now)
            } else {
                time
            });
            0
        }
        _ => {
            let [time, left] = [time.expose_provenance(), left.expose_provenance()];
            let arguments = [clock as usize, flags as usize, time, left, 0, 0];
            match real_syscall(libc::SYS_clock_nanosleep, arguments) {
                0 => 0,
                // This one returns the error itself.
                _ => std::io::Error::last_os_error().raw_os_error().unwrap_or(0),
            }
        }
    }
}

#[unsafe(no_mangle)]
extern "C" fn sched_yield() -> c_int {
    if threads::step(crate::machine::Machine::give_way).is_none() {
        real_syscall(libc::SYS_sched_yield, [0; 6]);
    }
    0
}

#[unsafe(no_mangle)]
unsafe extern "C" fn sched_getaffinity(pid: c_int, size: usize, out: *mut u8) -> c_int {
    // SAFETY: V5: there is room for so many bytes.
    let set = unsafe { std::slice::from_raw_parts_mut(out, size) };
    set.fill(0);
    if is_mine() {
        (0..threads::processors()).for_each(|at| set[at / 8] |= 1 << (at % 8));
        return 0;
    }
    let arguments = [pid as usize, size, out.expose_provenance(), 0, 0, 0];
    real_syscall(libc::SYS_sched_getaffinity, arguments).min(0) as c_int
}
