//! The carrier: one real thread that runs the machine's threads in turn, each on its own stack.
//!
//! **Job.** A thread of the machine begins as a real one, so that it has a stack and thread-locals
//! as the standard library makes them. Before it runs anything of its own it saves its registers
//! and then sleeps for good, on a small stack beside; from then on the carrier runs it, by loading
//! its registers and the base of its thread-locals.
//!
//! Invariants:
//! - **V1** Only the carrier runs what is the machine's: a thread is one of the machine's if its
//!   thread-local `MINE` says so, and those that say so are run by the carrier alone. So what only
//!   such threads reach is never used by two real threads at once.
//! - **V2** The machine is borrowed for the time of one call of [`with`], in which nothing switches
//!   threads and nothing calls `with` again: what the allocator asks inside is answered `None`.
//! - **V3** A saved context is used once: by the switch that leaves it.
//! - **V4** Real threads never return from their sleep: their stacks and thread-locals stay valid
//!   until the process ends.

#![allow(unsafe_code)]

use std::cell::{Cell, UnsafeCell};
use std::ffi::c_void;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use crate::costs::{Costs, Counts, Ns};
use crate::lines::Access;
use crate::machine::{Machine, Setup};

/// Where a thread was left: its stack, and the base of its thread-locals.
#[repr(C)]
struct Context {
    stack: usize,
    locals: usize,
}

/// The machine, and what belongs to its threads besides.
struct World {
    machine: Machine,
    #[allow(clippy::vec_box)] // each stays where it is
    contexts: Vec<Box<Context>>,
    /// The real thread's handle of each, once it is known.
    handles: Vec<libc::pthread_t>,
    results: Vec<usize>,
}

struct Place {
    world: UnsafeCell<Option<World>>,
    borrowed: UnsafeCell<bool>,
}
// SAFETY: V1: only the carrier uses it.
unsafe impl Sync for Place {}
static PLACE: Place = Place {
    world: UnsafeCell::new(None),
    borrowed: UnsafeCell::new(false),
};

thread_local! { static MINE: Cell<bool> = const { Cell::new(false) }; }

/// Whether the caller is one of the machine's threads.
#[inline]
pub(crate) fn is_mine() -> bool {
    MINE.with(Cell::get)
}

fn with_world<R>(f: impl FnOnce(&mut World) -> R) -> Option<R> {
    if !is_mine() {
        return None;
    }
    // SAFETY: V1: the carrier alone reads and writes it.
    let borrowed = unsafe { &mut *PLACE.borrowed.get() };
    if std::mem::replace(borrowed, true) {
        return None;
    }
    // SAFETY: V1, V2: nobody else has a reference.
    let world = unsafe { &mut *PLACE.world.get() };
    let result = world.as_mut().map(f);
    // SAFETY: V1: as above.
    unsafe { *PLACE.borrowed.get() = false };
    result
}

/// Uses the machine, if the caller is one of its threads and does not use it already.
#[inline]
fn with<R>(f: impl FnOnce(&mut Machine) -> R) -> Option<R> {
    with_world(|world| f(&mut world.machine))
}

/// Does something that takes time, and lets others run that are behind.
#[inline]
pub(crate) fn step<R>(f: impl FnOnce(&mut Machine) -> R) -> Option<R> {
    let (result, is_over) = with(|machine| {
        let result = f(machine);
        (result, machine.is_over())
    })?;
    if is_over {
        switch();
    }
    Some(result)
}

core::arch::global_asm!(
    // simulated_switch(from: *mut Context, to: *const Context)
    ".globl simulated_switch",
    ".hidden simulated_switch",
    "simulated_switch:",
    "push rbp",
    "push rbx",
    "push r12",
    "push r13",
    "push r14",
    "push r15",
    "sub rsp, 8",
    "stmxcsr [rsp]",
    "fnstcw [rsp + 4]",
    "mov [rdi], rsp",
    "rdfsbase rax",
    "mov [rdi + 8], rax",
    "mov rsp, [rsi]",
    "mov rax, [rsi + 8]",
    "wrfsbase rax",
    "ldmxcsr [rsp]",
    "fldcw [rsp + 4]",
    "add rsp, 8",
    "pop r15",
    "pop r14",
    "pop r13",
    "pop r12",
    "pop rbx",
    "pop rbp",
    "ret",
    // simulated_detach(me: *mut Context, stack beside, flag: *mut u32): returns on the carrier.
    ".globl simulated_detach",
    ".hidden simulated_detach",
    "simulated_detach:",
    "push rbp",
    "push rbx",
    "push r12",
    "push r13",
    "push r14",
    "push r15",
    "sub rsp, 8",
    "stmxcsr [rsp]",
    "fnstcw [rsp + 4]",
    "mov [rdi], rsp",
    "rdfsbase rax",
    "mov [rdi + 8], rax",
    "mov rsp, rsi",
    "and rsp, -16",
    "mov dword ptr [rdx], 1",
    "2:",
    "mov eax, 34", // pause
    "syscall",
    "jmp 2b",
);
unsafe extern "C" {
    fn simulated_switch(from: *mut Context, to: *const Context);
    fn simulated_detach(me: *mut Context, stack: usize, flag: *mut u32);
}

/// Goes on with the thread that is furthest behind.
fn switch() {
    let contexts = with_world(|world| {
        let from = world.machine.current();
        let to = world.machine.next();
        (from != to).then(|| {
            let from: *mut Context = &raw mut *world.contexts[from];
            (from, &raw const *world.contexts[to])
        })
    });
    if let Some(Some((from, to))) = contexts {
        // SAFETY: V3, V4: the one was left by such a switch, or detached; the other is this one.
        unsafe { simulated_switch(from, to) };
    }
}

/// One machine at a time.
static ONE: Mutex<()> = Mutex::new(());

/// Runs `main` as the first thread of a machine. Threads that have not ended when it returns are
/// never run again.
///
/// # Panics
/// If `main` does, or all threads wait for each other; or if there are not 1 to 64 processors.
pub fn run<R: Send>(setup: Setup, main: impl FnOnce() -> R + Send) -> R {
    assert!(!is_mine(), "a machine inside a machine");
    let _one = ONE.lock().unwrap_or_else(PoisonError::into_inner);
    crate::raw_libc::install();
    // The carrier is a new thread: where its stack begins in a line does not differ between runs.
    let result = std::thread::scope(|s| s.spawn(|| carry(setup, main)).join());
    result.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

fn carry<R>(setup: Setup, main: impl FnOnce() -> R) -> R {
    let world = World {
        machine: Machine::new(setup),
        contexts: vec![Box::new(Context {
            stack: 0,
            locals: 0,
        })],
        handles: vec![0],
        results: vec![0],
    };
    // SAFETY: V1: this thread is the carrier from here on; the lock keeps others out.
    let place = unsafe { &mut *PLACE.world.get() };
    *place = Some(world);
    MINE.with(|mine| mine.set(true));
    let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(main));
    MINE.with(|mine| mine.set(false));
    // SAFETY: V1: as above.
    unsafe { *PLACE.borrowed.get() = false };
    result.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

/// What a real thread is to run, as one of the machine's.
struct Beginning {
    thread: usize,
    context: *mut Context,
    detached: AtomicU32,
    start: extern "C" fn(*mut c_void) -> *mut c_void,
    argument: *mut c_void,
}

/// Starts a thread of the machine: `real` makes the real one, with this function and argument.
pub(crate) fn start(
    start: extern "C" fn(*mut c_void) -> *mut c_void,
    argument: *mut c_void,
    real: impl FnOnce(extern "C" fn(*mut c_void) -> *mut c_void, *mut c_void) -> (i32, libc::pthread_t),
) -> i32 {
    let begun = with_world(|world| {
        let thread = world.machine.add();
        let empty = Context {
            stack: 0,
            locals: 0,
        };
        world.contexts.push(Box::new(empty));
        world.handles.push(0);
        world.results.push(0);
        (thread, &raw mut *world.contexts[thread])
    });
    let (thread, context) = begun.expect("the caller is one of the machine's threads");
    let beginning: &'static Beginning = Box::leak(Box::new(Beginning {
        thread,
        context,
        detached: AtomicU32::new(0),
        start,
        argument,
    }));
    let (error, handle) = real(begin, (&raw const *beginning).cast_mut().cast());
    assert_eq!(error, 0, "the system gives no thread");
    while beginning.detached.load(Ordering::Acquire) == 0 {
        std::hint::spin_loop();
    }
    with_world(|world| world.handles[thread] = handle);
    step(|machine| machine.start(thread));
    0
}

extern "C" fn begin(beginning: *mut c_void) -> *mut c_void {
    // SAFETY: `start` leaked it.
    let beginning = unsafe { &*beginning.cast::<Beginning>() };
    let beside = Box::leak(vec![0_u8; 4096].into_boxed_slice());
    let top = beside.as_mut_ptr().addr() + beside.len() - 64;
    MINE.with(|mine| mine.set(true));
    // SAFETY: V3: nobody uses the context before the flag is set. The stack beside is leaked.
    unsafe { simulated_detach(beginning.context, top, beginning.detached.as_ptr()) };
    // From here on by the carrier.
    let result = (beginning.start)(beginning.argument);
    with_world(|world| {
        let thread = beginning.thread;
        world.results[thread] = result.addr();
        world.machine.wake(join_address(thread), usize::MAX);
        world.machine.end();
    });
    switch();
    unreachable!("it has ended");
}

/// An address that no word of the program has.
fn join_address(thread: usize) -> usize {
    usize::MAX / 4 + thread * 64
}

/// Which of the machine's threads that is.
pub(crate) fn thread_of(handle: libc::pthread_t) -> Option<usize> {
    with_world(|world| world.handles.iter().position(|known| *known == handle)).flatten()
}

/// Waits until it has ended: what it returned.
pub(crate) fn join(thread: usize) -> usize {
    loop {
        let ended = with_world(|world| {
            let ended = world.machine.has_ended(thread);
            if !ended {
                world.machine.wait(join_address(thread), None);
            }
            ended.then(|| world.results[thread])
        });
        match ended.flatten() {
            Some(result) => return result,
            None => switch(),
        }
    }
}

// ---- what programs call ---------------------------------------------------------------------

/// An access to the line of this address.
#[inline]
pub fn access(address: usize, access: Access) {
    step(|machine| machine.access(address, access));
}

/// Memory that is not atomic: all its lines.
#[inline]
pub fn touch<T: ?Sized>(memory: *const T, size: usize, access: Access) {
    let address = memory.addr();
    if size > 0 && is_mine() {
        for line in address >> 6..=(address + size - 1) >> 6 {
            step(|machine| machine.access(line << 6, access));
        }
    }
}

/// A full fence.
#[inline]
pub fn fence() {
    step(Machine::fence);
}

/// Computing for so long, in nanoseconds; nothing outside of a machine.
#[inline]
pub fn work(ns: Ns) {
    step(|machine| machine.work(ns));
}

/// The caller's time, in nanoseconds; 0 outside of a machine.
#[must_use]
pub fn now() -> Ns {
    with(|machine| machine.now()).unwrap_or(0.0)
}

/// The processor's time stamp counter: three ticks a nanosecond.
#[must_use]
pub fn ticks() -> u64 {
    (step(|machine| {
        machine.work(3.0);
        machine.now()
    }))
    .map_or(0, |now| 1 << 40 | (now * 3.0) as u64)
}

/// What has happened: to the caller, or to all threads.
#[must_use]
pub fn counts(of_all: bool) -> Counts {
    with(|machine| machine.counts((!of_all).then(|| machine.current()))).unwrap_or_default()
}

/// The processors of the machine that the caller runs on.
pub(crate) fn processors() -> usize {
    with(|machine| machine.processors()).unwrap_or(1)
}

/// What things cost there.
pub(crate) fn costs() -> Costs {
    with(|machine| *machine.costs()).unwrap_or(Costs::FITTED)
}

/// The processor time of this thread, or of all.
pub(crate) fn used(thread: Option<usize>) -> Ns {
    with(|machine| machine.used(thread)).unwrap_or(0.0)
}

/// The caller's own number.
pub(crate) fn me() -> usize {
    with(|machine| machine.current()).unwrap_or(0)
}

/// Waits for a moment.
pub(crate) fn sleep(time: Duration) {
    step(|machine| {
        machine.work(machine.costs().syscall);
        let until = machine.now() + time.as_nanos() as Ns;
        machine.block(0, Some(until));
    });
}

/// How a wait on a futex ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Waited {
    Woken,
    Changed,
    TimedOut,
}

/// Sleeps until it is woken, if the word is as expected.
pub(crate) fn futex_wait(word: &AtomicU32, expected: u32, until: Option<Ns>) -> Waited {
    let address = word.as_ptr().addr();
    step(|machine| machine.begin_wait(address));
    if word.load(Ordering::SeqCst) != expected {
        return Waited::Changed;
    }
    step(|machine| machine.wait(address, until));
    match with(|machine| machine.was_woken()) {
        Some(false) => Waited::TimedOut,
        _ => Waited::Woken,
    }
}

/// Wakes at most so many; how many it were.
pub(crate) fn futex_wake(address: usize, most: usize) -> usize {
    step(|machine| machine.wake(address, most)).unwrap_or(0)
}
