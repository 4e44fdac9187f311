//! Where a worker crashed: the backtrace of its error.
//!
//! Each crash is a function of its own, and its error must have a frame in that function, by its
//! address and by its name.
#![allow(unsafe_code)] // it crashes

use crate::support;

use std::ffi::{CString, c_char, c_int, c_void};
use std::hint::black_box;
use std::io::Read;
use std::path::Path;
use std::process::Command;
use std::sync::Barrier;
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

use support::{Scratch, Test, pool, run_helper, tests};
use trefoil::process::{Backtrace, Frame};
use trefoil::{ProcessPool, TaskError, WorkerExit};

pub(crate) fn helpers() {
    support::helper(&[
        ("refused_stack", refused_stack),
        ("crash_of_a_stripped_program", stripped),
        ("previous_handler", previous_handler),
        ("handler_that_raises_again", || one_shot(raises_again)),
        ("handler_that_removes_itself", || one_shot(removes_itself)),
        ("handlers_that_live_on", handlers_that_live_on),
        ("slow_panic_reports", slow_panic_reports),
        ("names_that_take_long", names_that_take_long),
        ("memory_of_names", memory_of_names),
    ]);
}

/// A crash, and where it is.
type Crash = fn(u32) -> u32;

fn died<T: std::fmt::Debug>(result: Result<T, TaskError>) -> WorkerExit {
    match result {
        Err(TaskError::WorkerDied(exit)) => *exit,
        other => panic!("the worker should have died: {other:?}"),
    }
}

fn backtrace(exit: &WorkerExit) -> &Backtrace {
    exit.backtrace()
        .unwrap_or_else(|| panic!("no backtrace: {exit}"))
}

/// Where this process's executable is.
fn base() -> usize {
    let own = std::env::current_exe().unwrap();
    let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
    let line = maps
        .lines()
        .find(|line| line.ends_with(own.to_str().unwrap()));
    let start = line.unwrap().split('-').next().unwrap();
    usize::from_str_radix(start, 16).unwrap()
}

fn is_own(frame: &Frame) -> bool {
    let own = std::env::current_exe().unwrap();
    frame.module().map(Path::new) == Some(&own)
}

/// Whether it is in this function, none of which is long.
fn is_in(frame: &Frame, function: usize) -> bool {
    let address = base().wrapping_add(frame.offset() as usize);
    is_own(frame) && (function..function + 1500).contains(&address)
}

/// The signal, a frame in `function`, and the name that ends with `name`.
fn check(exit: &WorkerExit, signal: c_int, function: usize, name: &str) {
    assert_eq!(exit.signal(), Some(signal), "{exit}");
    let backtrace = backtrace(exit);
    let frames = backtrace.frames();
    assert!(
        frames.iter().any(|frame| is_in(frame, function)),
        "{:#x} {name}: {exit}\n{backtrace}",
        function - base(),
    );
    wait_for_names(backtrace);
    let frames = backtrace.frames();
    let words = exit.to_string();
    assert!(words.contains(&format!("{name}`")), "{words}\n{backtrace}");
    let is_line = |frame: &Frame| frame.line().is_some();
    let is_here = |frame: &Frame| {
        let file = frame.file().unwrap_or(Path::new(""));
        file.ends_with("tests/process/crashes.rs")
    };
    let named = frames
        .iter()
        .filter(|one| one.function().unwrap_or("").ends_with(name));
    let has_lines = named.clone().any(is_line) && named.filter(|one| is_line(one)).all(is_here);
    assert!(has_lines || cfg!(debug_assertions), "{backtrace}"); // (a debug build may have none)
}

/// The build id among the notes at the beginning of a file.
fn noted_build(path: &str) -> Option<String> {
    let mut begin = Vec::new();
    let file = std::fs::File::open(path).unwrap();
    file.take(1 << 20).read_to_end(&mut begin).unwrap();
    let word = |at: usize| u32::from_ne_bytes(*begin[at..].first_chunk().unwrap()) as usize;
    let is_id =
        |at: &usize| (word(*at), word(at + 8)) == (4, 3) && begin[at + 12..].starts_with(b"GNU\0");
    let mut places = (0..begin.len() - 16).step_by(4);
    let at = places.find(is_id)?;
    let id = &begin[at + 16..][..word(at + 4)];
    Some(id.iter().map(|byte| format!("{byte:02x}")).collect())
}

/// (On a busy machine the error may have come without them.)
fn wait_for_names(backtrace: &Backtrace) {
    let end = Instant::now() + Duration::from_secs(60);
    let has_names = || {
        backtrace
            .frames()
            .iter()
            .any(|one| one.function().is_some())
    };
    while !has_names() && Instant::now() < end {
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// `check` of a call.
fn crash(procs: &ProcessPool, signal: c_int, function: Crash, name: &str) -> WorkerExit {
    let exit = died(procs.spawn((1, function as usize - base()), run).join());
    check(&exit, signal, function as usize, name);
    exit
}

/// Calls the function at this place in the executable.
fn run((argument, offset): (u32, usize)) -> u32 {
    // SAFETY: `crash` has made the offset of a function of this type.
    let function: Crash = unsafe { std::mem::transmute(base() + offset) };
    black_box(function)(black_box(argument))
}

#[inline(never)]
fn read_wild(n: u32) -> u32 {
    let address = std::ptr::without_provenance::<u8>(black_box(8));
    // SAFETY: none: the test is that the process dies of it.
    n + u32::from(unsafe { address.read_volatile() })
}

/// A name like those of the runtime.
#[inline(never)]
#[unsafe(export_name = "rust_decode_row")]
fn named_like_the_runtime(n: u32) -> u32 {
    let address = std::ptr::without_provenance::<u8>(black_box(12));
    // SAFETY: none: the test is that the process dies of it.
    n + u32::from(unsafe { address.read_volatile() })
}

/// A name as C++ has it, of a namespace that is called like a crate.
#[inline(never)]
#[unsafe(export_name = "_ZN4core10decode_rowEi")]
fn named_in_cpp(n: u32) -> u32 {
    let address = std::ptr::without_provenance::<u8>(black_box(13));
    // SAFETY: none: the test is that the process dies of it.
    n + u32::from(unsafe { address.read_volatile() })
}

/// A library with handlers that survive a fault: a write barrier, and one that leaves by
/// `siglongjmp`.
const HANDLERS: &str = r#"
#include <setjmp.h>
#include <signal.h>
#include <sys/mman.h>
static char *guarded;
static sigjmp_buf place;
static volatile int armed;
static void handler(int signal_number, siginfo_t *info, void *registers) {
    char *at = info->si_addr;
    if (guarded && at >= guarded && at < guarded + 4096) {
        mprotect(guarded, 4096, PROT_READ | PROT_WRITE);
        return;
    }
    if (armed) {
        armed = 0;
        siglongjmp(place, 1);
    }
    signal(signal_number, SIG_DFL);
}
void install(void) {
    struct sigaction new = {0};
    new.sa_sigaction = handler;
    new.sa_flags = SA_SIGINFO | SA_ONSTACK;
    sigaction(SIGSEGV, &new, 0);
}
void barrier(void) {
    guarded = mmap(0, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    *(volatile char *)guarded = 1;
}
void jump(void) {
    armed = 1;
    if (!sigsetjmp(place, 1)) *(volatile char *)8 = 1;
}
"#;

/// The environment variable that has the library's path.
const LIBRARY: &str = "TREFOIL_TEST_HANDLERS";

/// Calls a function of that library.
fn in_handlers(name: &std::ffi::CStr) {
    let path = CString::new(std::env::var(LIBRARY).unwrap()).unwrap();
    // SAFETY: a library without initializers.
    let library = unsafe { libc::dlopen(path.as_ptr(), libc::RTLD_NOW) };
    // SAFETY: the library is loaded.
    let function = unsafe { libc::dlsym(library, name.as_ptr()) };
    assert!(!function.is_null(), "{name:?}");
    // SAFETY: it is in the library, and takes nothing.
    let function: extern "C" fn() = unsafe { std::mem::transmute(function) };
    function();
}

fn survives(by_jump: bool) {
    in_handlers(if by_jump { c"jump" } else { c"barrier" });
}

/// Dies of a fault that no handler sees.
#[inline(never)]
fn unseen(n: u32) -> u32 {
    // SAFETY: zero is a value for it.
    let mut all: libc::sigset_t = unsafe { std::mem::zeroed() };
    // SAFETY: a local variable.
    unsafe { libc::sigfillset(&raw mut all) };
    // SAFETY: a system call.
    unsafe { libc::pthread_sigmask(libc::SIG_BLOCK, &raw const all, std::ptr::null_mut()) };
    read_wild(n)
}

fn barrier_and_unseen(n: u32) -> u32 {
    survives(false);
    unseen(n)
}

/// A program whose handler of `SIGSEGV` survives some faults.
fn handlers_that_live_on() {
    in_handlers(c"install");
    trefoil::init();
    for by_jump in [false, true] {
        let after = || {
            let procs = pool(1);
            for _ in 0..3 {
                procs.spawn(by_jump, survives).join().unwrap();
            }
            procs
        };
        let exit = died(after().spawn(1, unseen).join());
        assert_eq!(
            (exit.signal(), exit.backtrace().is_none()),
            (Some(libc::SIGSEGV), true)
        );
        crash(&after(), libc::SIGSEGV, read_wild, "crashes::read_wild");
        crash(&after(), libc::SIGABRT, aborting, "crashes::aborting");
    }
    let exit = died(pool(1).spawn(1, barrier_and_unseen).join());
    assert_eq!(
        (exit.signal(), exit.backtrace().is_none()),
        (Some(libc::SIGSEGV), true)
    );
}

fn panics(in_a_thread: bool) {
    if in_a_thread {
        let ended = std::thread::spawn(panics_in_thread).join();
        ended.expect("the thread has panicked");
    }
    panic!("on purpose");
}

fn panics_in_thread() {
    panic!("on purpose");
}

fn panics_and_goes_on(limit: Duration) {
    let _ = std::panic::catch_unwind(|| panic!("on purpose"));
    std::thread::sleep(4 * limit);
}

/// A program whose panic hook takes longer than the limit of a call, as `std`'s may.
fn slow_panic_reports() {
    let limit = Duration::from_secs(1);
    std::panic::set_hook(Box::new(move |_| std::thread::sleep(limit + limit / 2)));
    trefoil::init();
    let procs = pool(1);
    for in_a_thread in [false, true] {
        let call = || procs.call(panics);
        for call in [call().timeout(limit), call().within(limit)] {
            let error = call.spawn(in_a_thread).join().unwrap_err();
            assert!(matches!(error, TaskError::Panicked(_)), "{error}");
        }
    }
    // Nothing else is longer for that.
    let call = || procs.call(panics_and_goes_on);
    for call in [call().timeout(limit), call().within(limit)] {
        let error = call.spawn(limit).join().unwrap_err();
        assert!(matches!(error, TaskError::TimedOut(_)), "{error}");
    }
}

#[inline(never)]
fn crash_while_names_take_long(n: u32) -> u32 {
    if black_box(n) > 0 {
        std::process::abort();
    }
    n + 2
}

/// Another user of the crate `backtrace` holds its lock, as if the debug information came from a
/// disk that does not answer: errors are held back for some seconds, no limit ends them otherwise,
/// and nobody who looks at them waits.
fn names_that_take_long() {
    trefoil::init();
    let procs = pool(2);
    let ((holds, is_held), (release, released)) = (channel::<()>(), channel::<()>());
    std::thread::spawn(move || {
        let own = crash_while_names_take_long as Crash as usize + 1;
        backtrace::resolve(std::ptr::without_provenance_mut(own), |_| {
            let _ = holds.send(());
            let _ = released.recv();
        });
    });
    is_held.recv().unwrap();
    let begin = Instant::now();
    let call = || {
        procs
            .call(crash_while_names_take_long)
            .within(Duration::from_secs(3))
    };
    let exit = died(call().spawn(1).join());
    assert!(
        begin.elapsed() >= Duration::from_secs(4),
        "it was not held back"
    );
    // The lookups are stuck: nobody waits for them again.
    let then = Instant::now();
    assert_eq!(died(call().spawn(1).join()).signal(), Some(libc::SIGABRT));
    let (words, own) = (
        exit.to_string(),
        crash_while_names_take_long as Crash as usize,
    );
    assert!(
        !words.contains('`') && then.elapsed() < Duration::from_secs(3),
        "{words}"
    );
    let frames = backtrace(&exit).frames();
    assert!(frames.iter().any(|frame| is_in(frame, own)), "{exit:?}");
    assert!(backtrace(&exit).to_string().contains("+0x"));
    release.send(()).unwrap();
    check(
        &exit,
        libc::SIGABRT,
        own,
        "crashes::crash_while_names_take_long",
    );
}

/// What was read for the names is not kept, neither mapped files nor what was made of them.
fn memory_of_names() {
    trefoil::init();
    let own = std::env::current_exe().unwrap();
    let mapped = || {
        let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
        maps.lines()
            .filter(|line| line.ends_with(own.to_str().unwrap()))
            .count()
    };
    let anonymous_kib = || -> u64 {
        let status = std::fs::read_to_string("/proc/self/status").unwrap();
        let line = status
            .lines()
            .find_map(|line| line.strip_prefix("RssAnon:"));
        line.unwrap().trim_end_matches("kB").trim().parse().unwrap()
    };
    let procs = pool(1);
    procs.map(0..10, |n: u32| n).unwrap();
    let before = (mapped(), anonymous_kib());
    crash(&procs, libc::SIGABRT, aborting, "crashes::aborting");
    let end = Instant::now() + Duration::from_secs(60);
    loop {
        let now = (mapped(), anonymous_kib());
        if now.0 <= before.0 && now.1 < before.1 + (4 << 10) {
            return;
        }
        assert!(Instant::now() < end, "{before:?}, then {now:?}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[inline(never)]
fn bus_error(n: u32) -> u32 {
    let file = rustix::fs::memfd_create("short", rustix::fs::MemfdFlags::empty()).unwrap();
    let flags = rustix::mm::MapFlags::SHARED;
    let read = rustix::mm::ProtFlags::READ;
    // SAFETY: a new mapping.
    let page = unsafe { rustix::mm::mmap(std::ptr::null_mut(), 4096, read, flags, &file, 0) };
    // SAFETY: none: there is nothing behind the page.
    n + u32::from(unsafe { page.unwrap().cast::<u8>().read_volatile() })
}

#[inline(never)]
fn aborting(n: u32) -> u32 {
    if black_box(n) > 0 {
        std::process::abort();
    }
    n
}

#[inline(never)]
fn sends_itself_a_signal(signal: u32) -> u32 {
    // SAFETY: a call with a number.
    black_box(unsafe { libc::raise(signal as c_int) }) as u32
}

#[inline(never)]
fn overflowing(n: u32) -> u32 {
    let room = black_box([n; 64]);
    if n == u32::MAX {
        return n;
    }
    overflowing(n + 1) + room[(n % 64) as usize]
}

#[inline(never)]
fn calls_null(n: u32) -> u32 {
    let address = std::ptr::without_provenance::<c_void>(black_box(16));
    // SAFETY: none: there is no function there.
    let function: extern "C" fn(u32) -> u32 = unsafe { std::mem::transmute(address) };
    black_box(function(n)) + 1
}

#[inline(never)]
fn in_a_library(_: u32) -> u32 {
    let nothing = std::ptr::without_provenance::<c_char>(black_box(16));
    // SAFETY: none: there is no text there.
    (unsafe { libc::strlen(nothing) }) as u32 + 1
}

#[inline(never)]
fn with_the_heaps_lock(n: u32) -> u32 {
    // SAFETY: plain calls.
    let [one, two] = [1 << 14, 1 << 14].map(|size| unsafe { libc::malloc(size) });
    // SAFETY: it is freed once.
    unsafe { libc::free(one) };
    // SAFETY: none: this is a list of the heap's by now.
    unsafe { one.cast::<[usize; 2]>().write_volatile([8, 8]) };
    // SAFETY: none: it looks through that list.
    let three = unsafe { libc::malloc(1 << 13) };
    black_box((two, three));
    n
}

extern "C" fn crashing_handler(_: c_int) {
    read_wild(1);
}

#[inline(never)]
fn in_a_handler(n: u32) -> u32 {
    let handler = crashing_handler as extern "C" fn(c_int) as usize;
    // SAFETY: it crashes, as it should.
    unsafe { libc::signal(libc::SIGUSR1, handler) };
    // SAFETY: a system call.
    unsafe { libc::raise(libc::SIGUSR1) };
    n
}

#[inline(never)]
fn in_a_thread(n: u32) -> u32 {
    std::thread::spawn(move || aborting(n)).join().unwrap()
}

#[inline(never)]
fn overflow_in_a_thread(n: u32) -> u32 {
    std::thread::spawn(move || overflowing(n)).join().unwrap()
}

#[inline(never)]
fn two_at_once(n: u32) -> u32 {
    let both = Barrier::new(2);
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                both.wait();
                aborting(n)
            });
        }
    });
    n
}

/// As with `panic = "abort"`, where this is called, too.
#[inline(never)]
fn panic_that_aborts(n: u32) -> u32 {
    if cfg!(panic = "unwind") {
        std::panic::set_hook(Box::new(|_| std::process::abort()));
    }
    assert!(black_box(n) == 0, "on purpose");
    n
}

/// A child process crashes; then the worker dies, and is not asked.
fn child_crashes((): ()) {
    // SAFETY: the child does nothing but crash.
    match unsafe { libc::fork() } {
        0 => {
            read_wild(1);
        }
        // SAFETY: a system call.
        child => _ = unsafe { libc::waitpid(child, std::ptr::null_mut(), 0) },
    }
    // SAFETY: no function.
    unsafe { libc::signal(libc::SIGSEGV, libc::SIG_DFL) };
    read_wild(1);
}

#[cfg(target_arch = "x86_64")]
mod machine {
    use std::arch::{asm, global_asm};
    use std::hint::black_box;

    #[inline(never)]
    pub(super) fn illegal(n: u32) -> u32 {
        // SAFETY: none: there is no such instruction.
        unsafe { asm!("ud2") };
        n
    }

    #[inline(never)]
    pub(super) fn division(n: u32) -> u32 {
        let quotient: u32;
        // SAFETY: none: it divides by zero.
        unsafe { asm!("div {0:e}", in(reg) 0, inout("eax") n => quotient, inout("edx") 0 => _) };
        black_box(quotient)
    }

    /// Calls code that was made at run time, an instruction that there is not.
    #[inline(never)]
    pub(super) fn made_code(n: u32) -> u32 {
        let flags = rustix::mm::MapFlags::PRIVATE;
        let all = rustix::mm::ProtFlags::READ | rustix::mm::ProtFlags::WRITE;
        let all = all | rustix::mm::ProtFlags::EXEC;
        // SAFETY: a new mapping.
        let page = unsafe { rustix::mm::mmap_anonymous(std::ptr::null_mut(), 4096, all, flags) };
        let page = page.unwrap();
        // SAFETY: it is large enough.
        unsafe { page.cast::<[u8; 2]>().write_volatile([0x0f, 0x0b]) };
        // SAFETY: none: it crashes.
        let function: extern "C" fn(u32) -> u32 = unsafe { std::mem::transmute(page) };
        black_box(function(n)) + 1
    }

    // A stack that was overwritten, up to where the function returns to; unwind tables that make
    // the unwinder read address 24; and ones that it never finds the end of.
    global_asm!(
        ".globl smashed_stack",
        ".type smashed_stack, @function",
        "smashed_stack:",
        ".cfi_startproc",
        "movabs rax, 0x4141414141414141",
        "mov [rsp], rax",
        "mov [rsp + 8], rax",
        "mov [rsp + 16], rax",
        "mov [rsp + 24], rax",
        "ret",
        ".cfi_endproc",
        ".size smashed_stack, . - smashed_stack",
        ".globl broken_walk",
        ".type broken_walk, @function",
        "broken_walk:",
        ".cfi_startproc",
        ".cfi_def_cfa rbp, 16",
        "push rbp",
        "mov ebp, 16",
        "call abort@PLT",
        "ud2",
        ".cfi_endproc",
        ".size broken_walk, . - broken_walk",
        ".globl endless_walk",
        ".type endless_walk, @function",
        "endless_walk:",
        ".cfi_startproc",
        ".cfi_escape 0x0f, 0x03, 0x2f, 0xfd, 0xff", // an expression that jumps to its beginning
        "ud2",
        ".cfi_endproc",
        ".size endless_walk, . - endless_walk",
    );

    unsafe extern "C" {
        pub(super) safe fn smashed_stack();
        pub(super) safe fn broken_walk();
        pub(super) safe fn endless_walk();
    }
}

/// Calls a function of the assembler's.
fn assembled(which: u32) {
    #[cfg(target_arch = "x86_64")]
    [
        machine::smashed_stack,
        machine::broken_walk,
        machine::endless_walk,
    ][which as usize]();
    let _ = which;
}

/// In a thread.
fn assembled_apart(which: u32) {
    std::thread::spawn(move || assembled(which)).join().unwrap();
}

/// Nanoseconds on a clock that all processes share.
fn now() -> u64 {
    // SAFETY: zero is a value for it.
    let mut time: libc::timespec = unsafe { std::mem::zeroed() };
    // SAFETY: it writes to a local.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &raw mut time) };
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

/// Says when it dies: as it would without a handler, or not.
fn says_when((plain, by_abort): (bool, bool)) -> u32 {
    if plain {
        for signal in [libc::SIGSEGV, libc::SIGABRT] {
            // SAFETY: no function.
            unsafe { libc::signal(signal, libc::SIG_DFL) };
        }
    }
    eprintln!("{}", now());
    match by_abort {
        true => aborting(1),
        false => read_wild(1),
    }
}

/// `sigaltstack` is refused in this process and in its workers.
fn refused_stack() {
    support::refuse::refuse(&[libc::SYS_sigaltstack], libc::EPERM).unwrap();
    trefoil::init();
    let procs = pool(1);
    crash(&procs, libc::SIGSEGV, read_wild, "crashes::read_wild");
    crash(&procs, libc::SIGABRT, aborting, "crashes::aborting");
    let exit = died(
        procs
            .spawn((1, in_a_thread as Crash as usize - base()), run)
            .join(),
    );
    check(
        &exit,
        libc::SIGABRT,
        aborting as Crash as usize,
        "crashes::aborting",
    );
    let exit = died(procs.spawn(1, overflowing).join());
    assert_eq!(
        (exit.signal(), exit.backtrace().is_none()),
        (Some(11), true)
    );
}

/// This program has no symbols.
fn stripped() {
    trefoil::init();
    let procs = pool(1);
    let exit = died(procs.spawn(1, read_wild).join());
    let frames = backtrace(&exit).frames();
    assert!(
        is_in(&frames[0], read_wild as Crash as usize) || cfg!(debug_assertions),
        "{exit:?}"
    );
    assert!(
        frames
            .iter()
            .any(|frame| is_in(frame, read_wild as Crash as usize))
    );
    assert!(
        frames
            .iter()
            .filter(|frame| is_own(frame))
            .all(|one| one.function().is_none())
    );
}

extern "C" fn recovers(_: c_int, _: *mut libc::siginfo_t, _: *mut c_void) {
    let text = b"the previous handler was called\n";
    // SAFETY: a system call.
    unsafe { libc::write(2, text.as_ptr().cast(), text.len()) };
    // SAFETY: no function.
    unsafe { libc::signal(libc::SIGFPE, libc::SIG_DFL) };
}

/// A program with a handler of its own.
extern "C" fn removes_itself(signal: c_int) {
    // SAFETY: a system call.
    unsafe { libc::signal(signal, libc::SIG_DFL) };
}

extern "C" fn raises_again(signal: c_int) {
    removes_itself(signal);
    // SAFETY: a system call.
    unsafe { libc::raise(signal) };
}

/// A program whose handler of `SIGABRT` acts once.
fn one_shot(handler: extern "C" fn(c_int)) {
    // SAFETY: the handler only makes system calls.
    unsafe { libc::signal(libc::SIGABRT, handler as *const () as usize) };
    trefoil::init();
    let procs = pool(1);
    crash(&procs, libc::SIGABRT, aborting, "crashes::aborting");
    let call = procs
        .call(sends_itself_a_signal)
        .timeout(Duration::from_secs(60));
    let exit = died(call.spawn(libc::SIGABRT as u32).join());
    let function = sends_itself_a_signal as Crash as usize;
    check(
        &exit,
        libc::SIGABRT,
        function,
        "crashes::sends_itself_a_signal",
    );
}

fn previous_handler() {
    // SAFETY: zero is a value for it.
    let mut handler: libc::sigaction = unsafe { std::mem::zeroed() };
    handler.sa_sigaction = recovers as *const () as usize;
    handler.sa_flags = libc::SA_SIGINFO;
    // SAFETY: the handler only makes system calls.
    unsafe { libc::sigaction(libc::SIGFPE, &raw const handler, std::ptr::null_mut()) };
    trefoil::init();
    #[cfg(target_arch = "x86_64")]
    {
        let exit = crash(
            &pool(1),
            libc::SIGFPE,
            machine::division,
            "machine::division",
        );
        assert_eq!(exit.stderr_tail(), "the previous handler was called\n");
    }
}

tests! {
    fn each_signal_has_its_function() {
        let procs = pool(1);
        crash(&procs, libc::SIGSEGV, read_wild, "crashes::read_wild");
        crash(&procs, libc::SIGBUS, bus_error, "crashes::bus_error");
        crash(&procs, libc::SIGABRT, aborting, "crashes::aborting");
        #[cfg(target_arch = "x86_64")]
        {
            crash(&procs, libc::SIGILL, machine::illegal, "machine::illegal");
            crash(&procs, libc::SIGFPE, machine::division, "machine::division");
        }
    }

    /// By it symbol servers find the module's symbols, also after the next build.
    fn each_frame_has_the_build_of_its_module() {
        let exit = crash(&pool(1), libc::SIGABRT, aborting, "crashes::aborting");
        let backtrace = backtrace(&exit);
        let mut builds = std::collections::BTreeMap::new();
        for frame in backtrace.frames() {
            let Some(module) = frame.module().filter(|path| path.starts_with('/')) else { continue };
            let noted = builds.entry(module).or_insert_with(|| noted_build(module));
            assert_eq!(frame.build_id(), noted.as_deref(), "{module}");
        }
        assert!(builds.values().any(Option::is_some), "{backtrace}"); // (a C library has one)
        for (module, id) in builds {
            let line = format!("{module}: build id {}, debug id ", id.unwrap_or_default());
            let is_shown = format!("{backtrace:#}").contains(&line);
            assert!(is_shown || line.contains("id ,"), "{backtrace:#}");
        }
    }

    /// The handler of `std`, which was there before, only removes itself.
    fn a_signal_that_was_sent_ends_it() {
        let procs = pool(1);
        let function = sends_itself_a_signal as Crash as usize;
        for signal in [libc::SIGSEGV, libc::SIGBUS, libc::SIGILL, libc::SIGFPE, libc::SIGABRT] {
            let exit = died(procs.spawn((signal as u32, function - base()), run).join());
            check(&exit, signal, function, "crashes::sends_itself_a_signal");
        }
    }

    /// What `std` reports of it is in the error as before, and the overflow is innermost.
    fn an_overflow_of_the_stack() {
        if cfg!(feature = "auto") {
            return; // the worker begins before `std` has installed the handler that reports it
        }
        let procs = pool(1);
        for place in [overflowing, overflow_in_a_thread] {
            let exit = died(procs.spawn((1, place as usize - base()), run).join());
            check(&exit, libc::SIGABRT, overflowing as Crash as usize, "crashes::overflowing");
            let tail = exit.stderr_tail();
            assert!(tail.contains("has overflowed its stack"), "{tail}");
            assert!(backtrace(&exit).frames().len() >= 128);
            let shown = backtrace(&exit).to_string();
            assert!(shown.lines().count() < 64 && shown.contains(" times more"), "{shown}");
        }
    }

    fn a_call_of_no_function() {
        let exit = crash(&pool(1), libc::SIGSEGV, calls_null, "crashes::calls_null");
        let first = &backtrace(&exit).frames()[0];
        assert_eq!((first.module(), first.offset(), first.function()), (None, 16, None));
    }

    fn a_name_that_looks_like_another() {
        let procs = pool(1);
        crash(&procs, libc::SIGSEGV, named_like_the_runtime, "rust_decode_row");
        crash(&procs, libc::SIGSEGV, named_in_cpp, "core::decode_row(int)");
    }

    /// The caller of code without a name is not to blame.
    fn code_that_was_made_at_run_time() {
        #[cfg(target_arch = "x86_64")]
        {
            let exit = died(pool(1).spawn(1, machine::made_code).join());
            assert_eq!(exit.signal(), Some(libc::SIGILL), "{exit}");
            assert_eq!(backtrace(&exit).frames()[0].module(), None);
            assert!(!exit.to_string().contains('`'), "{exit}");
        }
    }

    /// Write barriers, and handlers that leave by `siglongjmp`: the next death is another one.
    fn a_fault_that_was_survived_leaves_no_notes() {
        let (source, library) = (Scratch::new("handlers.c"), Scratch::new("handlers.so"));
        std::fs::write(&source.0, HANDLERS).unwrap();
        let mut compiler = Command::new("cc");
        compiler.args(["-O1", "-shared", "-fPIC", "-x", "c", "-o"]);
        assert!(compiler.arg(&library.0).arg(&source.0).status().unwrap().success());
        if cfg!(feature = "auto") {
            return; // the worker begins before `main`, which installs them
        }
        let mut program = Command::new(std::env::current_exe().unwrap());
        let program = program.env(support::HELPER, "handlers_that_live_on");
        let ended = program.env(LIBRARY, &library.0).output().unwrap();
        assert!(ended.status.success(), "{}", String::from_utf8_lossy(&ended.stderr));
    }

    /// What an item has done wrong is reported, and not that the report took long.
    fn a_panic_is_no_late_item() {
        // (A plain worker shares no gate; with `abort` nothing is caught.)
        if cfg!(panic = "unwind") && std::env::var_os("TREFOIL_PLAIN_WORKERS").is_none() {
            run_helper("slow_panic_reports");
        }
    }

    fn names_hold_up_nobody() {
        run_helper("names_that_take_long");
        run_helper("memory_of_names");
    }

    fn in_code_of_others() {
        let procs = pool(1);
        let exit = crash(&procs, libc::SIGSEGV, in_a_library, "crashes::in_a_library");
        let module = backtrace(&exit).frames()[0].module().unwrap();
        assert!(module.contains("libc"), "{module}");
        let locked = with_the_heaps_lock as Crash as usize;
        let exit = died(procs.spawn((1, locked - base()), run).join());
        // (The heap's own checks may be quicker than the crash, and abort.)
        let signal = exit.signal().unwrap();
        assert!([libc::SIGSEGV, libc::SIGABRT].contains(&signal), "{exit}");
        check(&exit, signal, locked, "crashes::with_the_heaps_lock");
        crash(&procs, libc::SIGSEGV, in_a_handler, "crashes::read_wild");
        let name = match cfg!(panic = "unwind") {
            true => "crashes::panic_that_aborts::{{closure}}",
            false => "crashes::panic_that_aborts",
        };
        crash(&procs, libc::SIGABRT, panic_that_aborts, name);
    }

    fn in_threads() {
        let procs = pool(1);
        for place in [in_a_thread, two_at_once] {
            let exit = died(procs.spawn((1, place as usize - base()), run).join());
            check(&exit, libc::SIGABRT, aborting as Crash as usize, "crashes::aborting");
        }
    }

    /// The handler crashes, or hangs: the worker ends by the same signal, soon, and what was noted
    /// until then is there.
    fn a_stack_that_cannot_be_walked() {
        if !cfg!(target_arch = "x86_64") {
            return;
        }
        let procs = pool(1);
        for place in [assembled, assembled_apart] {
            let exits = [0, 1, 2].map(|which| {
                let begin = Instant::now();
                let exit = died(procs.spawn(which, place).join());
                assert!(begin.elapsed() < Duration::from_secs(30));
                exit
            });
            let mut ends = [libc::SIGSEGV, libc::SIGABRT, libc::SIGILL].map(Some);
            if std::ptr::fn_addr_eq(place, assembled_apart as fn(u32)) {
                ends[1] = exits[1].signal(); // of any, on so small a stack for handlers
            }
            assert_eq!(exits.each_ref().map(WorkerExit::signal), ends);
            for exit in &exits {
                assert!(backtrace(exit).frames()[0].module().is_some(), "{exit}");
            }
        }
    }

    fn a_library_without_symbols_that_only_the_worker_loads() {
        let (source, library) = (Scratch::new("crash.c"), Scratch::new("crash.so"));
        std::fs::write(&source.0, "void crash(void) { *(volatile char *)8 = 1; }").unwrap();
        let mut compiler = Command::new("cc");
        compiler.args(["-O1", "-shared", "-fPIC", "-s", "-x", "c", "-o"]);
        let made = compiler.arg(&library.0).arg(&source.0).status().unwrap();
        assert!(made.success());
        fn load(path: String) {
            let path = CString::new(path).unwrap();
            // SAFETY: a library without initializers.
            let library = unsafe { libc::dlopen(path.as_ptr(), libc::RTLD_NOW) };
            // SAFETY: the library is loaded.
            let function = unsafe { libc::dlsym(library, c"crash".as_ptr()) };
            // SAFETY: it is in the library, and takes nothing.
            let function: extern "C" fn() = unsafe { std::mem::transmute(function) };
            function();
        }
        let exit = died(pool(1).spawn(library.text(), load).join());
        assert_eq!(exit.signal(), Some(libc::SIGSEGV), "{exit}");
        let first = &backtrace(&exit).frames()[0];
        assert_eq!(first.module(), Some(&*library.text()));
        assert!(first.offset() < 1 << 16 && first.function().is_none(), "{first:?}");
        let place = format!(" in {}+{:#x}", library.text(), first.offset());
        assert!(exit.to_string().ends_with(&place), "{exit}");
    }

    /// The caller has the error 25 ms after the signal, and 20 ms later at most than if nothing
    /// were noted. (The best of some: what others do on this machine takes longer.)
    fn a_death_is_known_at_once() {
        const MS: u64 = 1_000_000;
        let procs = pool(1);
        for by_abort in [false, true] {
            let mut best = [u64::MAX; 2];
            for _ in 0..50 {
                for plain in [false, true] {
                    let exit = died(procs.spawn((plain, by_abort), says_when).join());
                    let known = now();
                    assert_eq!(exit.backtrace().is_none(), plain, "{exit}");
                    let then: u64 = exit.stderr_tail().trim().parse().unwrap();
                    let best = &mut best[usize::from(plain)];
                    *best = known.saturating_sub(then).min(*best);
                }
                if best[0] < 25 * MS && best[0] < best[1] + 20 * MS {
                    break;
                }
            }
            assert!(best[0] < 25 * MS && best[0] < best[1] + 20 * MS, "{best:?} ns");
        }
    }

    fn a_child_process_leaves_no_notes() {
        let exit = died(pool(1).spawn((), child_crashes).join());
        assert_eq!((exit.signal(), exit.backtrace().is_none()), (Some(libc::SIGSEGV), true));
    }

    /// No crash: no backtrace. Nor has a plain worker one.
    fn other_ends_have_none() {
        let exit = died(pool(1).spawn((), |()| -> () { std::process::exit(6) }).join());
        assert!(exit.backtrace().is_none() && exit.code() == Some(6));
        let plain = ProcessPool::builder().workers(1).plain_workers(true).build().unwrap();
        assert!(died(plain.spawn(1, aborting).join()).backtrace().is_none());
    }

    fn the_handler_that_was_there_is_called() {
        if cfg!(feature = "auto") {
            return; // the worker begins before `main`, which installs it
        }
        run_helper("previous_handler");
    }

    fn a_handler_that_acts_once_is_called_once() {
        if cfg!(feature = "auto") {
            return; // as above
        }
        run_helper("handler_that_raises_again");
        run_helper("handler_that_removes_itself");
    }

    fn the_stack_for_handlers_is_refused() {
        run_helper("refused_stack");
    }

    fn a_program_without_symbols() {
        let copy = Scratch::new("stripped");
        let own = std::env::current_exe().unwrap();
        let strip = Command::new("strip").arg("-o").arg(&copy.0).arg(own).status();
        if !strip.is_ok_and(|strip| strip.success()) {
            return; // there is no such tool here
        }
        let mut program = Command::new(&copy.0);
        let ended = program.env(support::HELPER, "crash_of_a_stripped_program").output().unwrap();
        assert!(ended.status.success(), "{}", String::from_utf8_lossy(&ended.stderr));
    }
}
