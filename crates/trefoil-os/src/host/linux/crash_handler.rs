//! Notes where a worker crashes, and lets it die as it would have without that.
//!
//! **Job.** In worker processes, `SIGSEGV`, `SIGBUS`, `SIGILL`, `SIGFPE` and `SIGABRT` have a
//! handler. It writes the addresses on the stack of the thread that it interrupts to the ledger's
//! pages (`crash_notes`), and hands on.
//!
//! 1. *Walk.* The first address is the interrupted instruction; the others come from the unwinder
//!    that panics use, which is in every program. With an address its module is noted, if it is a
//!    new one. This allocates nothing, and locks only the list of modules, which a thread changes
//!    while it loads a library. It is done once when the worker starts, so the loader has nothing
//!    left to resolve.
//! 2. *Hand on:* call the handler that was there before (`std` reports overflows of the stack in
//!    one), or else do what the signal does by default. For a fault of an instruction that means:
//!    block the signal and return. The instruction faults once more, and the kernel, which cannot
//!    deliver the signal, ends the process by it, with this status and a core file of this
//!    instruction. A signal that was sent (by `abort`, by `kill`) is sent again without a handler,
//!    also if the previous one has only removed itself. (So a handler that does that in order to
//!    live on ends the process, too.)
//! 3. *Return.* The previous handler has repaired what was wrong, or the instruction faults once
//!    more. Either way the notes are cleared, and this handler is installed as it was, also if the
//!    previous one has removed itself: the next fault, be it the same, is noted anew. So a worker
//!    that lives has no notes of faults. (Those of `SIGABRT` stay, because `abort` goes on after a
//!    handler; and so do those of a fault if the previous handler has installed a third one, to
//!    which it hands on.) A previous handler that leaves by `siglongjmp` is not noticed here: the
//!    notes say that it was called (`crash_notes`).
//!
//! Whether the kernel may write a core file then: `leave_no_core` (`host/unix/worker.rs`), which
//! the worker calls unless its pool has `core_dumps`.
//!
//! **It must not make things worse.** A stack that was overwritten can make the walk itself crash.
//! Then the handler interrupts itself: it hands on in the name of the first signal, and replaces
//! the registers of its own interruption by those of the first, so that returning leaves both. If
//! the walk hangs, a timer ends it: it interrupts the main thread at every `TICK`, and the second
//! tick without a new address ends the walk or, if that is another thread's, the process.
//!
//! - *Two threads crash at the same time:* the second waits until the first has handed on, as long
//!   as there is progress. If the first one ends the process, the second hands on without notes.
//! - *A jump to where no code is* (a null pointer to a function): the unwinder has no place to
//!   begin. During the walk the registers are those after a return from there.
//! - *A forked child* has the handler, too, and hands on without notes: the pages are its parent's.
//! - *A signal that is ignored* stays ignored.
//! - *The previous handler aborts* (as `std`'s does when a stack has overflowed): that is the end
//!   of the first signal and no other crash, so the notes stay as they are. This is seen from the
//!   stack: the abort comes from the thread's stack for handlers, below the handler that has noted.
//!   (On any other stack there is room for a second walk, which passes through both.) Where that
//!   stack has no room for one more handler, as in threads of `std`, `SIGABRT` has none until the
//!   previous handler returns; if it leaves by `siglongjmp`, until the next fault. The previous
//!   handler has the mask that the kernel would have given it.
//!
//! The main thread has a stack for handlers that is large enough for all of this. Threads of `std`
//! have one that is large enough for a walk, and not for a crash in it: then the kernel ends the
//! process by `SIGSEGV`. Threads that C code has made have none: an overflow of their stack leaves
//! no notes.
//!
//! **Invariants.**
//! - **H38** A handler does only what a signal may interrupt anywhere: it uses atomics, its own
//!   stack, the interrupted registers, and calls that neither allocate nor lock, besides those
//!   named above.
//! - **H40** The kernel passes a handler pointers to the signal's data and to the interrupted
//!   registers, valid and nobody else's until it returns. A handler that has interrupted another on
//!   the same thread ends first, so it may use the other's data; `outer` and `owner` say whether it
//!   has.
//! - **H41** A previous handler is called with the arguments that its flags ask for, and neither
//!   `SIG_DFL` nor `SIG_IGN` is called.
//!
//! Rejected: copying the stack, for the parent to unwind (it would read debug information for what
//! the worker has at hand); `/proc/self/maps` (a file, which a sandbox may hide); a stack for
//! handlers in each thread (no code of this crate runs when the user starts one).
//!
//! Tests: `tests/process/crashes.rs::{the_handler_that_was_there_is_called,
//! an_overflow_of_the_stack}`.
#![allow(unsafe_code)]

use std::ffi::{c_int, c_long, c_void};
use std::mem::MaybeUninit;
use std::ptr::{null, null_mut};
use std::sync::Arc;
use std::time::Duration;
// Only `owner` is for more than one thread, a lock that nobody takes twice: no protocol.
use std::sync::atomic::{
    AtomicBool, AtomicI32, AtomicPtr, AtomicU64, AtomicUsize, Ordering::SeqCst,
};

use libc::{sigaction, siginfo_t, ucontext_t};

use super::crash_registers as registers;
use crate::host::crash_notes::{CrashNotes, CrashPages, Stage};
use crate::sys::fork::PerProcess;
use crate::sys::modules;
use crate::sys::stack::here;

const SIGNALS: [c_int; 5] = [
    libc::SIGSEGV,
    libc::SIGBUS,
    libc::SIGILL,
    libc::SIGFPE,
    libc::SIGABRT,
];

/// The place of `SIGABRT` among them.
const ABORT: usize = 4;

/// The time between two looks at the walk. A worker lives for no more than two of them without a
/// new address.
const TICK: Duration = Duration::from_millis(10);

/// How large the main thread's stack for handlers is.
const STACK: usize = 64 << 10;

/// How much of a stack for handlers must be left for a walk.
const LEAST: usize = 3 << 10;

/// How much of it must be left for the previous handler and one of `SIGABRT` in it.
const ROOM_FOR_TWO: usize = 24 << 10;

/// That stack, in the program's zeroed memory: no page of it exists before it is used. Nobody
/// accesses it by this name (no protocol).
static OWN_STACK: [AtomicU64; STACK / 8] = [const { AtomicU64::new(0) }; STACK / 8];

static HANDLER: PerProcess<Handler> = PerProcess::new();

struct Handler {
    pages: Arc<dyn CrashPages>,
    previous: [sigaction; SIGNALS.len()],
    /// Whether that one has removed itself.
    is_gone: [AtomicBool; SIGNALS.len()],
    /// How many crashes have been noted, and where the handler of the last one is on its stack, if
    /// that is one for handlers.
    noted: AtomicU64,
    noted_at: AtomicUsize,
    /// Whether `SIGABRT` has no handler while a previous one runs.
    is_abort_bare: AtomicBool,
    /// The thread whose stack is walked; 0: none.
    owner: AtomicUsize,
    /// The delivery whose stack is walked; it is on the stack of its handler.
    outer: AtomicPtr<Delivery>,
    /// The timer; -1: none.
    timer: AtomicI32,
    /// What was noted at the last tick.
    seen: AtomicU64,
}

/// A signal as a handler gets it.
struct Delivery {
    signal: c_int,
    info: *mut siginfo_t,
    registers: *mut ucontext_t,
    /// The interrupted instruction and stack.
    pc: usize,
    sp: usize,
}

/// Whether a process that has ended by this signal may have noted where.
pub fn is_noted(signal: i32) -> bool {
    SIGNALS.contains(&signal)
}

/// From now on, a crash of this process is noted in these pages. To be called once, by the main
/// thread. (Where the system refuses something, there is less in the notes.)
pub fn note_crashes(pages: impl CrashPages + 'static) {
    let pages: Arc<dyn CrashPages> = Arc::new(pages);
    // (The copy of a process that notes its crashes finds this handler installed.)
    let before = HANDLER.inherited().map(|handler| handler.previous);
    let handler = HANDLER.get_or_init(|| Handler {
        pages: pages.clone(),
        previous: before.unwrap_or_else(|| SIGNALS.map(|signal| action(signal, null()))),
        is_gone: [const { AtomicBool::new(false) }; SIGNALS.len()],
        noted: AtomicU64::new(0),
        noted_at: AtomicUsize::new(0),
        is_abort_bare: AtomicBool::new(false),
        owner: AtomicUsize::new(0),
        outer: AtomicPtr::new(null_mut()),
        timer: AtomicI32::new(-1),
        seen: AtomicU64::new(0),
    });
    Walk::of(CrashNotes::of(&[])).run(); // the first call of the unwinder
    let stack = libc::stack_t {
        ss_sp: OWN_STACK.as_ptr().cast_mut().cast(),
        ss_flags: 0,
        ss_size: STACK,
    };
    // SAFETY: H38: a static, which nothing else uses.
    unsafe { libc::sigaltstack(&raw const stack, null_mut()) };
    for (signal, previous) in SIGNALS.into_iter().zip(&handler.previous) {
        install(signal, previous);
    }
}

fn install(signal: c_int, previous: &sigaction) {
    let mut own = *previous;
    own.sa_sigaction = crashed as *const () as usize;
    // (A crash inside of the handler must reach it, whichever signal it is.)
    own.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK | libc::SA_NODEFER;
    // SAFETY: H38: the set is a local variable.
    unsafe { libc::sigemptyset(&raw mut own.sa_mask) };
    if previous.sa_sigaction != libc::SIG_IGN {
        action(signal, &raw const own);
    }
}

/// Installs a handler, unless it is null. Returns the previous one.
fn action(signal: c_int, new: *const sigaction) -> sigaction {
    let mut before = MaybeUninit::<sigaction>::zeroed();
    // SAFETY: H38: the function does only what a signal may interrupt; the structures are the
    // caller's and a local variable.
    unsafe { sigaction(signal, new, before.as_mut_ptr()) };
    // SAFETY: H38: zeroed, which is `SIG_DFL` without flags, unless the call has filled it in.
    unsafe { before.assume_init() }
}

/// The handler.
extern "C" fn crashed(signal: c_int, info: *mut siginfo_t, interrupted: *mut c_void) {
    let Some(handler) = HANDLER.inherited() else {
        return;
    };
    let interrupted = interrupted.cast();
    let (pc, sp) = registers::place(interrupted);
    let mut delivery = Delivery {
        signal,
        info,
        registers: interrupted,
        pc,
        sp,
    };
    match HANDLER.get() {
        Some(own) => own.handle(&mut delivery),
        None => handler.hand_on(&delivery, None),
    }
}

impl Handler {
    fn handle(&self, delivery: &mut Delivery) {
        // SAFETY: H38: it reads a register.
        let me = unsafe { libc::pthread_self() } as usize;
        let outer = self.outer.load(SeqCst);
        let is_inside = self.owner.load(SeqCst) == me && delivery.is_inside(outer);
        if self.is_tick(delivery) {
            if self.timer.load(SeqCst) == -1
                || self.seen.swap(self.progress(), SeqCst) != self.progress()
            {
                return; // (It may be late: the worker has survived that crash.)
            }
            if !is_inside {
                return end_process(delivery.signal);
            }
        }
        if is_inside {
            // SAFETY: H40: this handler has interrupted the one that has it.
            let outer = unsafe { &*outer };
            self.end(outer);
            return registers::replace(delivery.registers, outer.registers);
        }
        if self.ends_the_noted_one(delivery) {
            let own = Some(self.noted.load(SeqCst));
            self.stage(own, Stage::HandedOn, delivery.signal);
            return self.hand_on(delivery, own);
        }
        if !self.takes_turn(me) {
            return self.hand_on(delivery, None);
        }
        if self.is_abort_bare.swap(false, SeqCst) {
            self.arm_abort(); // the previous handler has never returned
        }
        self.outer.store(delivery, SeqCst);
        self.noted.fetch_add(1, SeqCst);
        let on_own_stack = registers::room(delivery.registers).is_some();
        let at = if on_own_stack { here() } else { 0 };
        self.noted_at.store(at, SeqCst);
        self.notes().clear();
        self.notes().set_stage(Stage::Walks, delivery.signal, 0);
        self.start_timer(delivery.signal);
        self.walk(delivery);
        self.end(delivery);
    }

    /// Whether this is a signal of the timer that watches a walk.
    fn is_tick(&self, delivery: &Delivery) -> bool {
        if delivery.code() != libc::SI_TIMER {
            return false;
        }
        // SAFETY: H40: the kernel's data.
        let info = unsafe { &*delivery.info };
        // SAFETY: H40: which has a value for a timer's signal.
        unsafe { info.si_value() }.sival_ptr.addr() == std::ptr::from_ref(self).addr()
    }

    /// Whether the previous handler, which was called for the noted crash, aborts here.
    fn ends_the_noted_one(&self, delivery: &Delivery) -> bool {
        let at = self.noted_at.load(SeqCst);
        delivery.signal == libc::SIGABRT
            && self.notes().is_handed_on(self.pages.position())
            && delivery.sp < at
            && registers::stack(delivery.registers)
                .is_some_and(|stack| stack.contains(&at) && stack.contains(&delivery.sp))
    }

    fn notes(&self) -> CrashNotes<'_> {
        self.pages.crash_notes()
    }

    fn progress(&self) -> u64 {
        self.notes().progress()
    }

    /// Waits until no other thread notes a crash. False: one does not get any further, or has noted
    /// the end of the process.
    fn takes_turn(&self, me: usize) -> bool {
        let (mut seen, tick) = (u64::MAX, TICK_SPEC);
        loop {
            if self.notes().is_at(Stage::Ends) {
                return false;
            }
            if self.owner.compare_exchange(0, me, SeqCst, SeqCst).is_ok() {
                return true;
            }
            // SAFETY: H38: a system call, which reads a local variable.
            unsafe { libc::nanosleep(&raw const tick, null_mut()) };
            let noted = self.progress();
            if noted == seen && self.owner.load(SeqCst) != 0 {
                return false;
            }
            seen = noted;
        }
    }

    fn walk(&self, delivery: &Delivery) {
        let notes = self.notes();
        note(notes, delivery.pc);
        if registers::room(delivery.registers).is_some_and(|room| room < LEAST) {
            return;
        }
        let mut walk = Walk {
            begin: Some(delivery.pc),
            ..Walk::of(notes)
        };
        if delivery.is_wild_jump() {
            let (pc, sp) = registers::returned(delivery.registers);
            registers::set_place(delivery.registers, pc, sp);
            walk.begin = Some(pc);
            notes.set_wild_jump();
            note(notes, pc.wrapping_sub(1));
        }
        walk.run();
    }

    /// The walk of `delivery`'s stack has ended, or has crashed.
    fn end(&self, delivery: &Delivery) {
        registers::set_place(delivery.registers, delivery.pc, delivery.sp);
        self.stop_timer();
        let own = self.noted.load(SeqCst);
        let at = SIGNALS.iter().position(|one| *one == delivery.signal);
        let stage = match at.is_some_and(|at| self.has_previous(at)) {
            true => Stage::HandedOn,
            false => Stage::Ends,
        };
        self.stage(Some(own), stage, delivery.signal); // before another crash may be noted
        self.owner.store(0, SeqCst);
        self.hand_on(delivery, Some(own));
    }

    /// The crash with this number, if it is the noted one, is so far.
    fn stage(&self, own: Option<u64>, stage: Stage, signal: c_int) {
        if own == Some(self.noted.load(SeqCst)) {
            self.notes().set_stage(stage, signal, self.pages.position());
        }
    }

    /// Whether there is a previous handler for the signal at this place.
    fn has_previous(&self, at: usize) -> bool {
        let function = self.previous[at].sa_sigaction;
        ![libc::SIG_DFL, libc::SIG_IGN].contains(&function) && !self.is_gone[at].load(SeqCst)
    }

    /// `own`: the number of this crash, if it is noted.
    fn hand_on(&self, delivery: &Delivery, own: Option<u64>) {
        let signal = delivery.signal;
        let Some(at) = SIGNALS.iter().position(|one| *one == signal) else {
            return;
        };
        let (previous, is_gone) = (&self.previous[at], &self.is_gone[at]);
        let function = previous.sa_sigaction;
        if !self.has_previous(at) {
            self.stage(own, Stage::Ends, signal);
            return if delivery.code() > 0 {
                registers::block(delivery.registers, signal);
            } else {
                end_process(signal);
            };
        }
        let mut mask = previous.sa_mask;
        if previous.sa_flags & libc::SA_NODEFER == 0 {
            // SAFETY: H38: the set is a local variable.
            unsafe { libc::sigaddset(&raw mut mask, signal) };
        }
        // SAFETY: H38: a system call, which reads a local variable. (The kernel restores the
        // interrupted mask.)
        unsafe { libc::pthread_sigmask(libc::SIG_BLOCK, &raw const mask, null_mut()) };
        let before = action(signal, null());
        let room = registers::room(delivery.registers);
        if room.is_some_and(|room| room < ROOM_FOR_TWO) && signal != libc::SIGABRT {
            self.stage(own, Stage::MayAbort, signal);
            self.is_abort_bare.store(true, SeqCst);
            action(libc::SIGABRT, &raw const self.previous[ABORT]);
        }
        if previous.sa_flags & libc::SA_RESETHAND != 0 {
            is_gone.store(true, SeqCst);
        }
        if previous.sa_flags & libc::SA_SIGINFO != 0 {
            type WithInfo = extern "C" fn(c_int, *mut siginfo_t, *mut c_void);
            // SAFETY: H41: a function that takes these arguments.
            let function: WithInfo = unsafe { std::mem::transmute(function) };
            function(signal, delivery.info, delivery.registers.cast());
        } else {
            // SAFETY: H41: a function that takes this argument.
            let function: extern "C" fn(c_int) = unsafe { std::mem::transmute(function) };
            function(signal);
        }
        if self.is_abort_bare.swap(false, SeqCst) {
            self.arm_abort();
        }
        let now = action(signal, null()).sa_sigaction;
        is_gone.fetch_or(now == libc::SIG_DFL, SeqCst);
        // It has removed itself, as `std`'s does, so that the instruction faults once more. A
        // signal that was sent would not come again.
        if delivery.code() <= 0 && now == libc::SIG_DFL {
            self.stage(own, Stage::Ends, signal);
            return end_process(signal);
        }
        if [libc::SIG_DFL, function].contains(&now) {
            action(signal, &raw const before);
        } else if now != before.sa_sigaction {
            return; // it has handed on itself
        }
        // (`abort` goes on to its end when a handler has returned.)
        if signal != libc::SIGABRT {
            self.forget(own);
        }
    }

    /// Installs the handler of `SIGABRT` again, unless the previous handler has changed that.
    fn arm_abort(&self) {
        let previous = &self.previous[ABORT];
        if action(libc::SIGABRT, null()).sa_sigaction == previous.sa_sigaction {
            install(libc::SIGABRT, previous);
        }
    }

    /// The crash with this number was survived, or comes once more.
    fn forget(&self, own: Option<u64>) {
        // SAFETY: H38: it reads a register.
        let me = unsafe { libc::pthread_self() } as usize;
        // (Another thread that notes a crash has forgotten this one.)
        if self.owner.compare_exchange(0, me, SeqCst, SeqCst).is_ok() {
            if own == Some(self.noted.load(SeqCst)) {
                self.notes().clear();
            }
            self.owner.store(0, SeqCst);
        }
    }

    /// Sends the main thread `signal` at every tick.
    fn start_timer(&self, signal: c_int) {
        // SAFETY: H38: numbers and pointers, for which zero is a value.
        let mut event: libc::sigevent = unsafe { std::mem::zeroed() };
        event.sigev_notify = libc::SIGEV_THREAD_ID;
        event.sigev_signo = signal;
        event.sigev_value.sival_ptr = std::ptr::from_ref(self).cast_mut().cast();
        // SAFETY: H38: a system call without arguments. (The main thread has this number, too.)
        event.sigev_notify_thread_id = unsafe { libc::getpid() };
        let mut timer: c_int = -1;
        let clock = c_long::from(libc::CLOCK_MONOTONIC);
        let (event, id) = (&raw const event, &raw mut timer);
        // SAFETY: H38: a system call about local variables.
        if unsafe { libc::syscall(libc::SYS_timer_create, clock, event, id) } != 0 {
            return; // nothing ends a walk that hangs, except for the limit of the call
        }
        self.seen.store(0, SeqCst);
        self.timer.store(timer, SeqCst);
        let ticks = libc::itimerspec {
            it_interval: TICK_SPEC,
            it_value: TICK_SPEC,
        };
        let (timer, flags, ticks) = (c_long::from(timer), c_long::from(0), &raw const ticks);
        let old = null_mut::<libc::itimerspec>();
        // SAFETY: H38: a system call, which reads a local variable.
        unsafe { libc::syscall(libc::SYS_timer_settime, timer, flags, ticks, old) };
    }

    fn stop_timer(&self) {
        let timer = self.timer.swap(-1, SeqCst);
        if timer != -1 {
            // SAFETY: H38: a system call about a timer of this file.
            unsafe { libc::syscall(libc::SYS_timer_delete, c_long::from(timer)) };
        }
    }
}

const TICK_SPEC: libc::timespec = libc::timespec {
    tv_sec: 0,
    tv_nsec: TICK.as_nanos() as _,
};

/// Ends the process by a signal.
fn end_process(signal: c_int) {
    // SAFETY: H38: `SIG_DFL` is no function.
    unsafe { libc::signal(signal, libc::SIG_DFL) };
    // SAFETY: H38: system calls.
    unsafe { libc::raise(signal) };
}

impl Delivery {
    /// Positive: an instruction has caused it.
    fn code(&self) -> c_int {
        // SAFETY: H40: the kernel's data.
        unsafe { (*self.info).si_code }
    }

    /// Whether what was interrupted runs inside of the handler that has `outer` on its stack.
    fn is_inside(&self, outer: *const Self) -> bool {
        self.sp < outer.addr() && outer.addr() - self.sp < STACK
    }

    /// Whether there is no code where the thread would run.
    fn is_wild_jump(&self) -> bool {
        let is_access = [libc::SIGSEGV, libc::SIGBUS].contains(&self.signal) && self.code() > 0;
        // SAFETY: H40: the kernel's data.
        let info = unsafe { &*self.info };
        // SAFETY: H40: which has an address for these signals.
        is_access && unsafe { info.si_addr() }.addr() == self.pc
    }
}

unsafe extern "C" {
    fn _Unwind_Backtrace(
        step: extern "C" fn(*mut c_void, *mut c_void) -> c_int,
        walk: *mut c_void,
    ) -> c_int;
    fn _Unwind_GetIPInfo(frame: *mut c_void, is_before: *mut c_int) -> usize;
}

/// A walk up the stack, from this function outwards.
struct Walk<'a> {
    notes: CrashNotes<'a>,
    /// The interrupted instruction, until it is reached: frames up to it are the handler's.
    begin: Option<usize>,
}

impl<'a> Walk<'a> {
    fn of(notes: CrashNotes<'a>) -> Self {
        Self { notes, begin: None }
    }

    fn run(&mut self) {
        // SAFETY: H38: the unwinder, with a function that takes what it is called with, and this
        // value, which outlives the call.
        unsafe { _Unwind_Backtrace(step, (&raw mut *self).cast()) };
    }
}

/// Notes an address, and its module. False: there is no room for more.
fn note(notes: CrashNotes<'_>, address: usize) -> bool {
    if !notes.has_module_of(address) {
        modules::each(&mut |module| {
            let range = module.range();
            if range.contains(&address) {
                notes.add_module(&range, module.bias, module.name);
            }
        });
    }
    notes.add_address(address)
}

/// Called for each frame. Nonzero ends the walk.
extern "C" fn step(frame: *mut c_void, walk: *mut c_void) -> c_int {
    // SAFETY: H38: the walk that runs, and nobody else uses it meanwhile.
    let walk = unsafe { &mut *walk.cast::<Walk<'_>>() };
    let mut is_before = 0;
    // SAFETY: H38: the unwinder's frame, during its call.
    let address = unsafe { _Unwind_GetIPInfo(frame, &raw mut is_before) };
    match walk.begin {
        Some(begin) => {
            if address == begin {
                walk.begin = None;
            }
            0
        }
        // Of a call, the instruction itself, and not the one that it returns to. (Zero: the end.)
        None => {
            let call = address.wrapping_sub(usize::from(is_before == 0));
            c_int::from(address == 0 || !note(walk.notes, call))
        }
    }
}
