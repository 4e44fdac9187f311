//! Signals, from a handler to whoever subscribed.
//!
//! 1. The first subscription to a signal makes a bell for it (an `eventfd`) and installs one
//!    handler, on top of what was there before.
//! 2. The handler counts, rings the bell, and calls the handler that was there before.
//! 3. A [`Subscription`] has a duplicate of the bell, for a loop to watch, and the count that it
//!    has seen last: so each subscription learns of each signal, on however many loops, and
//!    signals that come faster than they are taken become one.
//! 4. When the last subscription goes, what was there before is put back. Should somebody have
//!    installed a handler on top of ours meanwhile, ours stays below it, and does nothing but
//!    pass signals on. Our handler may be running on another thread just then, called for a signal that
//!    came before: so the slot keeps what was there before, and that signal reaches it, too.
//! 5. Should the host have taken the handler away (`SIG_DFL`, `SIG_IGN`), the next subscription
//!    installs it again, and what the host has set counts as what was there before. Over
//!    somebody else's handler ours is not installed twice: that one may call ours, which would
//!    then call that one, for ever.
//!
//! The bell is never read: a loop watches it edge-triggered, and each ring is an edge. A handler
//! that runs in a forked child rings the parent's bell, too, but counts in the child's memory, so
//! the parent sees nothing. Handlers that other threads ran at the moment of the fork run
//! in the parent only, so the child starts with none.
//!
//! **Invariants.**
//! - **Y50** A handler does only what a signal may interrupt anywhere: atomics of this file, and
//!   one raw `write` to a descriptor that does not block. (The handler that it calls was
//!   installed for the same signal.)
//! - **Y51** What a handler has read from a slot stays valid until it has left `RUNNING`: who
//!   takes it out of the slot waits, after that, until `RUNNING` was zero. All of these are
//!   sequentially consistent.
//! - **Y52** The handler that was there before is called with the arguments that its flags
//!   ask for, and neither `SIG_DFL` nor `SIG_IGN` is called.
//!
//! Rejected: `signalfd`, which needs the signal blocked in every thread, and in every child;
//! `signal-hook-registry`, which never puts back what was there before: a program that
//! has waited for Ctrl-C once could not be stopped by it any longer.
//!
//! Tests: `tests/event_loop/`.
#![allow(unsafe_code)]

use std::collections::BTreeMap;
use std::collections::btree_map::Entry as Place;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::ptr;
use std::sync::OnceLock;
// Statics that a signal handler reads: no protocol that loom could model.
use std::sync::atomic::{AtomicI32, AtomicPtr, AtomicU64, AtomicUsize, Ordering::SeqCst};

use libc::{c_int, c_void, siginfo_t};
use rustix::event::{EventfdFlags, eventfd};

use crate::loom::Mutex;
use crate::loom::thread::yield_now;
use crate::sys::fork::in_child;

/// What a handler finds for its signal.
struct Slot {
    count: AtomicU64,
    /// -1: there is none.
    bell: AtomicI32,
    /// What was there before; null: nothing to call.
    before: AtomicPtr<libc::sigaction>,
}

const SIGNALS: usize = 65;

static SLOTS: [Slot; SIGNALS] = [const {
    Slot {
        count: AtomicU64::new(0),
        bell: AtomicI32::new(-1),
        before: AtomicPtr::new(ptr::null_mut()),
    }
}; SIGNALS];

/// How many handlers look at a slot just now.
static RUNNING: AtomicUsize = AtomicUsize::new(0);

/// Signals with subscribers.
fn table() -> &'static Mutex<BTreeMap<c_int, Entry>> {
    static TABLE: OnceLock<Mutex<BTreeMap<c_int, Entry>>> = OnceLock::new();
    TABLE.get_or_init(|| {
        in_child(no_handler_runs);
        Mutex::new(BTreeMap::new())
    })
}

/// In a forked child: whoever ran a handler in its parent is not here to leave it.
extern "C" fn no_handler_runs() {
    RUNNING.store(0, SeqCst);
}

struct Entry {
    bell: OwnedFd,
    subscribers: usize,
}

/// Learns of one signal, until it is dropped.
#[derive(Debug)]
pub(crate) struct Subscription {
    signum: c_int,
    bell: OwnedFd,
    seen: AtomicU64,
}

impl Subscription {
    pub(crate) fn new(signum: c_int) -> io::Result<Self> {
        let slot = slot(signum)?;
        let mut table = table().lock();
        let before = current(signum)?;
        let entry = match table.entry(signum) {
            Place::Occupied(place) => {
                if !is_function(&before) {
                    install(signum, slot, before)?;
                }
                place.into_mut()
            }
            Place::Vacant(place) => {
                let bell = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
                slot.bell.store(bell.as_raw_fd(), SeqCst);
                install(signum, slot, before).inspect_err(|_| clear(slot))?;
                place.insert(Entry {
                    bell,
                    subscribers: 0,
                })
            }
        };
        match entry.bell.try_clone() {
            Ok(bell) => {
                entry.subscribers += 1;
                Ok(Self {
                    signum,
                    bell,
                    seen: AtomicU64::new(slot.count.load(SeqCst)),
                })
            }
            Err(error) => {
                if entry.subscribers == 0 {
                    uninstall(&mut table, signum, slot);
                }
                Err(error)
            }
        }
    }

    /// Whether the signal has come since the last call.
    pub(crate) fn take(&self) -> bool {
        let count = SLOTS[self.signum as usize].count.load(SeqCst);
        self.seen.swap(count, SeqCst) != count
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        let mut table = table().lock();
        if let Some(entry) = table.get_mut(&self.signum) {
            entry.subscribers -= 1;
            if entry.subscribers == 0 {
                uninstall(&mut table, self.signum, &SLOTS[self.signum as usize]);
            }
        }
    }
}

impl AsFd for Subscription {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.bell.as_fd()
    }
}

/// An error in words for what is no signal, or not one to wait for.
fn slot(signum: c_int) -> io::Result<&'static Slot> {
    let bad = |why: &str| {
        let what = format!("signal {signum} {why}");
        Err(io::Error::new(io::ErrorKind::InvalidInput, what))
    };
    match signum {
        libc::SIGKILL | libc::SIGSTOP => bad("cannot be caught"),
        libc::SIGSEGV | libc::SIGBUS | libc::SIGILL | libc::SIGFPE | libc::SIGTRAP => {
            bad("tells of a fault on the spot: it cannot be waited for")
        }
        _ => match usize::try_from(signum).ok().and_then(|at| SLOTS.get(at)) {
            Some(slot) if signum != 0 => Ok(slot),
            _ => bad("does not exist"),
        },
    }
}

/// Puts our handler on top of `before`, which is the present one.
fn install(signum: c_int, slot: &Slot, before: libc::sigaction) -> io::Result<()> {
    let mut ours = before;
    ours.sa_sigaction = handle as *const () as usize;
    if is_function(&before) {
        // Called through ours, so its wishes go on: what it blocks, which calls go on.
        ours.sa_flags = (before.sa_flags | libc::SA_SIGINFO) & !libc::SA_RESETHAND;
    } else {
        ours.sa_flags = libc::SA_SIGINFO | libc::SA_RESTART | libc::SA_ONSTACK;
        if signum == libc::SIGCHLD && before.sa_sigaction == libc::SIG_IGN {
            // Whoever ignores it wants no zombies.
            ours.sa_flags |= libc::SA_NOCLDWAIT;
        }
    }
    let kept = Box::into_raw(Box::new(before));
    // SAFETY: Y51: it was just taken out of the slot.
    unsafe { discard(slot.before.swap(kept, SeqCst)) };
    // SAFETY: Y50: the handler is `handle`, and its flags say that it takes all three arguments.
    unsafe { set(signum, &ours) }
}

/// Puts back what was there before, unless ours is not on top.
fn uninstall(table: &mut BTreeMap<c_int, Entry>, signum: c_int, slot: &Slot) {
    let ours = handle as *const () as usize;
    if !current(signum).is_ok_and(|action| action.sa_sigaction == ours) {
        return;
    }
    // SAFETY: Y51: the slot's pointer is valid until `install` takes it out; the lock of the
    // table, which the caller holds, keeps other callers away.
    let before = unsafe { slot.before.load(SeqCst).as_ref() };
    // SAFETY: Y52: what the kernel has said was there before ours.
    if before.is_some_and(|before| unsafe { set(signum, before) }.is_ok()) {
        clear(slot);
        // Closes the bell: no handler has it any longer.
        table.remove(&signum);
    }
}

/// Takes the bell out of the slot, and waits until no handler has it.
fn clear(slot: &Slot) {
    slot.bell.store(-1, SeqCst);
    wait_for_handlers();
}

/// Afterwards no handler has what was taken out of a slot before the call.
fn wait_for_handlers() {
    while RUNNING.load(SeqCst) != 0 {
        yield_now();
    }
}

/// Waits until no handler has what was just taken out of a slot, and frees `before`.
///
/// # Safety
/// Y51: it is null, or `install` put it into a slot, and the caller has just taken it out.
unsafe fn discard(before: *mut libc::sigaction) {
    wait_for_handlers();
    if !before.is_null() {
        // SAFETY: Y51: made by `Box::into_raw` in `install`, out of the slot, and no handler
        // has it any longer.
        drop(unsafe { Box::from_raw(before) });
    }
}

fn is_function(action: &libc::sigaction) -> bool {
    !matches!(action.sa_sigaction, libc::SIG_DFL | libc::SIG_IGN)
}

fn current(signum: c_int) -> io::Result<libc::sigaction> {
    let mut action = MaybeUninit::uninit();
    // SAFETY: Y50: nothing is installed; the pointer is valid for one `sigaction`.
    let result = unsafe { libc::sigaction(signum, ptr::null(), action.as_mut_ptr()) };
    if result != 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: Y50: the call has succeeded, so it has filled it in.
    Ok(unsafe { action.assume_init() })
}

/// # Safety
/// Y50, Y52: the action is `handle`, or what was there before.
unsafe fn set(signum: c_int, action: &libc::sigaction) -> io::Result<()> {
    // SAFETY: Y50, Y52: a handler that may run at any time from now on (the caller's promise); both pointers are good for the call.
    let result = unsafe { libc::sigaction(signum, action, ptr::null_mut()) };
    if result == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

/// The handler.
extern "C" fn handle(signum: c_int, info: *mut siginfo_t, context: *mut c_void) {
    let Some(slot) = SLOTS.get(signum as usize) else {
        return;
    };
    RUNNING.fetch_add(1, SeqCst);
    slot.count.fetch_add(1, SeqCst);
    let bell = slot.bell.load(SeqCst);
    if bell >= 0 {
        // SAFETY: Y51: it is open until this handler has left `RUNNING`.
        let bell = unsafe { BorrowedFd::borrow_raw(bell) };
        // A bell that cannot count further is ringing.
        let _ = rustix::io::write(bell, &1_u64.to_ne_bytes());
    }
    // SAFETY: Y51: null, or valid until this handler has left `RUNNING`.
    let before = unsafe { slot.before.load(SeqCst).as_ref() }.copied();
    RUNNING.fetch_sub(1, SeqCst);
    if let Some(before) = before.filter(is_function) {
        // SAFETY: Y52: it is what was there before ours, and a function: just looked; the arguments are the kernel's.
        unsafe { pass_on(&before, signum, info, context) };
    }
}

/// # Safety
/// Y52: `before` was installed for this signal, and is a function; the rest is what the kernel gave our handler.
unsafe fn pass_on(
    before: &libc::sigaction,
    signum: c_int,
    info: *mut siginfo_t,
    context: *mut c_void,
) {
    type Plain = extern "C" fn(c_int);
    type WithInfo = extern "C" fn(c_int, *mut siginfo_t, *mut c_void);
    let address = ptr::with_exposed_provenance::<()>(before.sa_sigaction);
    if before.sa_flags & libc::SA_SIGINFO == 0 {
        // SAFETY: Y52: a function, whose flags say that it takes the number only.
        let function = unsafe { std::mem::transmute::<*const (), Plain>(address) };
        function(signum);
    } else {
        // SAFETY: Y52: a function, whose flags say that it takes all three.
        let function = unsafe { std::mem::transmute::<*const (), WithInfo>(address) };
        function(signum, info, context);
    }
}
