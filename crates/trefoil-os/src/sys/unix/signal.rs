//! Signals: how they get from a handler to the subscriptions.
//!
//! 1. The first subscription to a signal makes a bell for it (`sys::bell`) and installs one handler
//!    on top of the previous one.
//! 2. The handler counts the signal, sets bits of a word if that was asked for (`raised_bits`),
//!    rings the bell, and calls the previous handler.
//! 3. A [`Subscription`] has a listener of the bell, which a loop watches, and the last count that
//!    it has seen. So each subscription learns of each signal, on any number of loops, and signals
//!    that come faster than they are taken become one.
//! 4. When the last subscription is dropped, the previous handler is restored. If the host has
//!    installed a handler on top of ours meanwhile, ours stays below it and only passes signals on.
//!    Our handler may then still be running on another thread for an earlier signal, so the slot
//!    keeps the previous handler, which gets that signal, too.
//! 5. If the host has removed our handler (`SIG_DFL`, `SIG_IGN`), the next subscription installs it
//!    again on top of the host's setting. It is never installed on top of a handler of the host a
//!    second time: that one may call ours, which would call that one, without end.
//!
//! The bell is never silenced: a loop watches it edge-triggered, and each ring is an edge.
//!
//! A forked child starts without bells, because those are its parent's, and their numbers may be
//! other files of the child by now. So a subscription that it has inherited reports nothing; its
//! own first one makes a new bell. Handlers of other threads run in the parent only. What a child
//! must know of its parent's subscriptions is in the slots, which need no lock to be read.
//!
//! **Invariants.**
//! - **Y50** A handler does only what a signal may interrupt anywhere: it uses the atomics of this
//!   file and its word, and rings, which is one `write` to a non-blocking descriptor; it leaves
//!   `errno` as it was. (The handler that it calls was installed for the same signal.)
//! - **Y51** The bell that a handler has read from a slot stays open until the handler has left
//!   `RUNNING`: a thread that takes it out of the slot waits, after that, until `RUNNING` was zero.
//!   All of these are sequentially consistent.
//! - **Y52** The previous handler is called with the arguments that its flags ask for, and neither
//!   `SIG_DFL` nor `SIG_IGN` is called.
//! - **Y53** A signal that is sent is a signal of the system, and none that the C library keeps.
//!
//! Rejected: `signalfd`, which needs the signal blocked in every thread and child;
//! `signal-hook-registry`, which never restores the previous handler of Ctrl-C.
//!
//! Tests: `tests/io/signals.rs::{each_receives_each_and_many_become_one,
//! the_last_to_go_puts_things_back}`, `tests/forks/signals.rs`.
#![allow(unsafe_code)]

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::ptr;
// Statics that a signal handler reads: no protocol that loom could model.
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicU64, AtomicUsize, Ordering::SeqCst};

use libc::{c_int, c_void, siginfo_t};

use crate::loom::Mutex;
use crate::loom::thread::yield_now;
use crate::sys::bell::{Bell, make_room, ring};
use crate::sys::fork::{PerProcess, in_child};

/// The data of one signal for the handler.
struct HandlerSlot {
    count: AtomicU64,
    /// The descriptor of the bell; -1: there is none.
    bell: AtomicI32,
    /// Whether our handler is installed, perhaps below the host's.
    is_installed: AtomicBool,
    /// The previous handler, with [`TAKES_INFO`] if it takes all three arguments, and its flags.
    /// (The signals that it blocks are those of ours.)
    before: AtomicU64,
    flags: AtomicI32,
    /// How many subscriptions exist, those that were inherited included.
    subscribers: AtomicUsize,
}

/// The number of Ctrl-C's signal.
pub const INT: c_int = libc::SIGINT;

/// One more than the highest number of a signal: 64 on Linux, 128 on FreeBSD.
const SIGNALS: usize = 129;

/// A flag in `before`: no function's address has this bit.
const TAKES_INFO: u64 = 1 << 63;

static SLOTS: [HandlerSlot; SIGNALS] = [const {
    HandlerSlot {
        count: AtomicU64::new(0),
        bell: AtomicI32::new(-1),
        is_installed: AtomicBool::new(false),
        before: AtomicU64::new(0),
        flags: AtomicI32::new(0),
        subscribers: AtomicUsize::new(0),
    }
}; SIGNALS];

/// How many handlers use a slot at this moment.
static RUNNING: AtomicUsize = AtomicUsize::new(0);

/// The bells of this process, which are those of the slots. Slots change under this lock.
fn bells() -> &'static Mutex<[Option<Bell>; SIGNALS]> {
    static BELLS: PerProcess<Mutex<[Option<Bell>; SIGNALS]>> = PerProcess::new();
    BELLS.get_or_init(|| {
        in_child(leave_the_parents); // (once more in a child: it does no harm)
        Mutex::new([const { None }; SIGNALS])
    })
}

/// Runs in a forked child: threads that ran a handler in the parent do not exist in the child, so
/// they would never leave `RUNNING`; and no handler rings a bell of the parent.
extern "C" fn leave_the_parents() {
    for slot in &SLOTS {
        slot.bell.store(-1, SeqCst);
    }
    RUNNING.store(0, SeqCst);
}

/// A subscription to one signal, until it is dropped.
#[derive(Debug)]
pub struct Subscription {
    signum: c_int,
    bell: OwnedFd,
    seen: AtomicU64,
}

impl Subscription {
    /// Subscribes to the signal with this number.
    pub fn new(signum: c_int) -> io::Result<Self> {
        Self::subscribe(signum).map_err(|error| match error.kind() {
            io::ErrorKind::InvalidInput => refused(signum, "waited for", error),
            _ => error,
        })
    }

    fn subscribe(signum: c_int) -> io::Result<Self> {
        if let libc::SIGSEGV | libc::SIGBUS | libc::SIGILL | libc::SIGFPE | libc::SIGTRAP = signum {
            let what = "it reports a fault, which must be handled where it happens";
            return Err(io::Error::new(io::ErrorKind::InvalidInput, what));
        }
        check(signum)?;
        let mut bells = bells().lock();
        let present = action(signum)?;
        let slot = &SLOTS[signum as usize];
        // Before the handler is there: the first signal that it gets is new.
        let seen = AtomicU64::new(slot.count.load(SeqCst));
        let bell = match &mut bells[signum as usize] {
            Some(known) => known.listener()?,
            none => {
                let own = none.insert(Bell::new()?);
                slot.bell.store(own.ring_fd(), SeqCst);
                own.listener()?
            }
        };
        if !slot.is_installed.load(SeqCst) || !is_function(present.sa_sigaction) {
            install(signum, slot, &present)?; // the bell stays for the next subscription
        }
        slot.subscribers.fetch_add(1, SeqCst);
        Ok(Self { signum, bell, seen })
    }

    /// Whether the signal has come since the last call.
    pub fn has_come(&self) -> bool {
        let count = SLOTS[self.signum as usize].count.load(SeqCst);
        let come = self.seen.swap(count, SeqCst) != count;
        if come {
            make_room(&self.bell);
        }
        come
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        let mut bells = bells().lock();
        let slot = &SLOTS[self.signum as usize];
        if slot.subscribers.fetch_sub(1, SeqCst) == 1 && uninstall(slot, self.signum) {
            clear(slot);
            bells[self.signum as usize] = None; // no handler uses it any longer
        }
    }
}

impl AsFd for Subscription {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.bell.as_fd()
    }
}

/// An error for a number that is no signal, or one that no program may use. Those of the named
/// signals begin at 1. Those of the real-time signals end at `SIGRTMAX`, and begin at `SIGRTMIN`:
/// the C library keeps the first few for itself, to cancel threads and to change their user (32 and
/// 33 with glibc). It catches those, so that one that is sent would confuse it, and refuses to let
/// a program catch them.
fn check(signum: c_int) -> io::Result<()> {
    let what = match signum {
        #[cfg(target_os = "linux")]
        32.. if (libc::SIGRTMIN()..=libc::SIGRTMAX()).contains(&signum) => return Ok(()),
        #[cfg(target_os = "linux")]
        32.. if signum < libc::SIGRTMIN() => "the C library keeps it for itself",
        _ if action(signum).is_ok() => return Ok(()),
        _ => "there is none with this number",
    };
    Err(io::Error::new(io::ErrorKind::InvalidInput, what))
}

fn refused(signum: c_int, what: &str, why: io::Error) -> io::Error {
    let what = format!("signal {signum} cannot be {what}: {why}");
    io::Error::new(io::ErrorKind::InvalidInput, what)
}

/// The signal with this number, to be sent. It may be a real-time signal, for which `rustix` has no
/// name.
pub fn to_send(signum: c_int) -> io::Result<rustix::process::Signal> {
    check(signum).map_err(|error| refused(signum, "sent", error))?;
    // SAFETY: Y53: it was checked.
    Ok(unsafe { rustix::process::Signal::from_raw_unchecked(signum) })
}

#[cfg(feature = "inspect")]
pub use raised_bits::raise_on;

/// Bits of a word that signals set.
#[cfg(feature = "inspect")]
mod raised_bits {
    use super::*;

    static RAISING: [AtomicBool; SIGNALS] = [const { AtomicBool::new(false) }; SIGNALS];

    /// The word, and which bits of it.
    static FLAG: PerProcess<(&AtomicU64, u64)> = PerProcess::new();

    /// From now on, and in forked children, too, this signal sets these bits of the word, which is
    /// the same in each call.
    pub fn raise_on(signum: c_int, word: &'static AtomicU64, bits: u64) -> io::Result<()> {
        let subscription = Subscription::new(signum)?; // an error if there is no such signal
        FLAG.inherit_or_init(|| (word, bits));
        if !RAISING[signum as usize].swap(true, SeqCst) {
            std::mem::forget(subscription); // the handler stays
        }
        Ok(())
    }

    /// A handler runs for this signal.
    pub(super) fn raise(signum: c_int) {
        if RAISING[signum as usize].load(SeqCst)
            && let Some((word, bits)) = FLAG.inherited()
        {
            word.fetch_or(*bits, SeqCst);
        }
    }
}

/// Installs our handler on top of `before`, the present action.
fn install(signum: c_int, slot: &HandlerSlot, before: &libc::sigaction) -> io::Result<()> {
    let mut ours = *before;
    ours.sa_sigaction = handle as *const () as usize;
    if is_function(before.sa_sigaction) {
        // Our handler calls that one, so its settings stay in force: which signals it blocks, and
        // whether interrupted calls are restarted.
        ours.sa_flags = (before.sa_flags | libc::SA_SIGINFO) & !libc::SA_RESETHAND;
    } else {
        ours.sa_flags = libc::SA_SIGINFO | libc::SA_RESTART | libc::SA_ONSTACK;
        if signum == libc::SIGCHLD && before.sa_sigaction == libc::SIG_IGN {
            // A host that ignores `SIGCHLD` wants no zombies.
            ours.sa_flags |= libc::SA_NOCLDWAIT;
        }
    }
    let flag = match before.sa_flags & libc::SA_SIGINFO {
        0 => 0,
        _ => TAKES_INFO,
    };
    slot.before.store(before.sa_sigaction as u64 | flag, SeqCst);
    slot.flags.store(before.sa_flags, SeqCst);
    // SAFETY: Y50: the handler is `handle`, and its flags say that it takes all three arguments.
    unsafe { exchange(signum, Some(&ours)) }?;
    slot.is_installed.store(true, SeqCst);
    Ok(())
}

/// Restores the previous handler, if ours is still on top, and returns whether it has.
fn uninstall(slot: &HandlerSlot, signum: c_int) -> bool {
    let Ok(mut action) = action(signum) else {
        return false;
    };
    if action.sa_sigaction != handle as *const () as usize {
        return false;
    }
    action.sa_sigaction = (slot.before.load(SeqCst) & !TAKES_INFO) as usize;
    action.sa_flags = slot.flags.load(SeqCst);
    // SAFETY: Y52: this is the action before ours, whose mask ours has.
    let is_restored = unsafe { exchange(signum, Some(&action)) }.is_ok();
    if is_restored {
        slot.is_installed.store(false, SeqCst);
    }
    is_restored
}

/// Takes the bell out of the slot, and waits until no handler uses it.
fn clear(slot: &HandlerSlot) {
    slot.bell.store(-1, SeqCst);
    while RUNNING.load(SeqCst) != 0 {
        yield_now();
    }
}

fn is_function(handler: libc::sighandler_t) -> bool {
    !matches!(handler, libc::SIG_DFL | libc::SIG_IGN)
}

/// The present action of this signal.
pub(crate) fn action(signum: c_int) -> io::Result<libc::sigaction> {
    // SAFETY: Y50: nothing is installed.
    unsafe { exchange(signum, None) }
}

/// Installs `new`, if it is given. Returns the previous action.
///
/// # Safety
/// Y50, Y52: `new` is the action of `handle`, or a previous action.
unsafe fn exchange(signum: c_int, new: Option<&libc::sigaction>) -> io::Result<libc::sigaction> {
    let mut before = MaybeUninit::uninit();
    let new = new.map_or(ptr::null(), ptr::from_ref);
    // SAFETY: Y50, Y52: a handler that may run at any time from now on (the caller's promise), or
    // none; both pointers are good for the call.
    if unsafe { libc::sigaction(signum, new, before.as_mut_ptr()) } != 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: Y50: the call has succeeded, so it has filled it in.
    Ok(unsafe { before.assume_init() })
}

/// Where the C library keeps this thread's last error, which a call through it may set.
fn errno() -> *mut c_int {
    #[cfg(target_os = "linux")]
    use libc::__errno_location as place;
    #[cfg(not(target_os = "linux"))]
    use libc::__error as place;
    // SAFETY: Y50: a signal handler may ask for it.
    unsafe { place() }
}

type Plain = extern "C" fn(c_int);
type WithInfo = extern "C" fn(c_int, *mut siginfo_t, *mut c_void);

/// The handler.
extern "C" fn handle(signum: c_int, info: *mut siginfo_t, context: *mut c_void) {
    let Some(slot) = SLOTS.get(signum as usize) else {
        return;
    };
    RUNNING.fetch_add(1, SeqCst);
    slot.count.fetch_add(1, SeqCst);
    #[cfg(feature = "inspect")]
    raised_bits::raise(signum);
    let bell = slot.bell.load(SeqCst);
    if bell >= 0 {
        // SAFETY: Y51: the bell is open until this handler has left `RUNNING`.
        let bell = unsafe { BorrowedFd::borrow_raw(bell) };
        let before = errno();
        // SAFETY: Y50: this thread's own number, which nothing else uses meanwhile.
        let number = unsafe { *before };
        ring(bell);
        // SAFETY: Y50: the same number.
        unsafe { *before = number };
    }
    RUNNING.fetch_sub(1, SeqCst);
    let before = slot.before.load(SeqCst);
    let address = (before & !TAKES_INFO) as usize;
    if !is_function(address) {
        return;
    }
    let address = ptr::with_exposed_provenance::<()>(address);
    if before & TAKES_INFO == 0 {
        // SAFETY: Y52: the previous handler, which takes the number only.
        let function = unsafe { std::mem::transmute::<*const (), Plain>(address) };
        function(signum);
    } else {
        // SAFETY: Y52: the previous handler, which takes all three arguments.
        let function = unsafe { std::mem::transmute::<*const (), WithInfo>(address) };
        function(signum, info, context);
    }
}
