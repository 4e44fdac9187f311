//! Whether this process is a forked child, and values that each process has once.
//!
//! **Job.** `fork` copies memory, and one thread. In the child the other threads do not exist:
//! their work is never done, and the locks that they held at that moment stay locked. So code that
//! relies on threads must know *before* it takes a lock or waits that they are gone. [`generation`]
//! shows that: its value in a child differs from that in its parent.
//!
//! **Protocol.** 1. Code that starts threads calls [`register_handler`] first: once in a process,
//! it registers a handler that `fork` calls in the child. 2. The handler adds one to the
//! generation. 3. Anything served by threads stores the generation that it was made in; if that
//! differs from the current one, those threads belong to a parent process.
//!
//! A child has one thread when the handler runs, so a relaxed counter is enough: every thread that
//! reads it was started later, or is that one.
//!
//! A [`PerProcess`] is a table with a place for each generation, so that a child does not use its
//! parent's place, which may have been half initialized at the fork, and whose lock another thread
//! may have held. Every `static` with a lock, or with a value that is made once, is one: a rule in
//! `tests/tidy/statics.rs`. The table is small, because generations count forks *inside of* forks,
//! not children of one parent. A process that is `PLACES` forks below another uses that one's
//! place, and may find a value there whose threads it does not have: so long a chain of forks is
//! not supported. A place has a pointer to its value, because it is in the file of every program.
//!
//! A child made by the bare system call, without the C library, is not noticed, unless that code
//! calls [`cloned`] in the child (`host::sibling` does).
//!
//! - **Y30** A handler that runs in the child before `fork` returns touches plain memory only: no
//!   lock, no allocation.
//! - **Y56** `HANDLERS` holds null, or a pointer that was made of an `extern "C" fn()`.
//! - **Y54** A place of a [`PerProcess`] of `T` is null or points to a `T` that is never dropped;
//!   it is not null once it was filled.
//!
//! Rejected: asking for the process's id at every call (a system call each); making the child's
//! values in the handler (it may not allocate).
//!
//! Tests: `tests/forks/thread.rs`.
#![allow(unsafe_code)]

use std::marker::PhantomData;
use std::ptr;
use std::sync::{Mutex, OnceLock, PoisonError}; // a place is filled once: no protocol
// A counter, a flag, and a pointer that is stored once: no protocol.
use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicU32, Ordering};

static GENERATION: AtomicU32 = AtomicU32::new(0);

/// How many forks there were between the first process that called [`register_handler`] and this
/// one.
#[inline]
pub fn generation() -> u32 {
    GENERATION.load(Ordering::Relaxed)
}

/// Makes [`generation`] distinguish children that are forked from now on.
pub fn register_handler() {
    // A second thread may continue before the first has registered the handler.
    static REGISTERED: AtomicBool = AtomicBool::new(false);
    if !REGISTERED.load(Ordering::Relaxed) && !REGISTERED.swap(true, Ordering::Relaxed) {
        in_child(count);
    }
}

extern "C" fn count() {
    GENERATION.fetch_add(1, Ordering::Relaxed);
}

/// The handlers, for [`cloned`]. (This crate and those above it register fewer.)
static HANDLERS: [AtomicPtr<()>; 16] = [const { AtomicPtr::new(ptr::null_mut()) }; 16];

/// Makes `fork` call `handler` in each child, on its one thread, before it returns (Y30).
pub fn in_child(handler: extern "C" fn()) {
    let own = handler as *mut ();
    // (Each place is written once, and read in a child: no protocol.)
    let takes = |place: &AtomicPtr<()>| {
        let free = ptr::null_mut();
        match place.compare_exchange(free, own, Ordering::Relaxed, Ordering::Relaxed) {
            Ok(_) => true,
            Err(other) => other == own,
        }
    };
    let _ = HANDLERS.iter().any(takes);
    // SAFETY: Y30: the handler is a safe function of this program, which is never unloaded. If
    // there is no memory to note it, children go unnoticed.
    let _ = unsafe { libc::pthread_atfork(None, None, Some(handler)) };
}

/// In a child that was made without `fork`, on its one thread: does what `fork` would have done.
pub fn cloned() {
    for place in &HANDLERS {
        let handler = place.load(Ordering::Relaxed);
        if !handler.is_null() {
            // SAFETY: Y56: it was made of such a function.
            let handler = unsafe { std::mem::transmute::<*mut (), extern "C" fn()>(handler) };
            handler();
        }
    }
}

/// How many generations have places of their own.
const PLACES: usize = 32;

/// A value that each process makes once for itself, a forked child included. It is never dropped.
#[derive(Debug)]
pub struct PerProcess<T> {
    places: [Place; PLACES],
    /// What a thread may do with the values of others.
    values: PhantomData<OnceLock<Box<T>>>,
}

/// What one generation has made. Of no type, so that one piece of code makes all values. (All zeros
/// at first, so that it takes no room in the file of a program: a `Once` is not.)
#[derive(Debug)]
struct Place {
    filling: Mutex<()>,
    made: AtomicPtr<()>,
}

impl Place {
    const fn new() -> Self {
        Self {
            filling: Mutex::new(()),
            made: AtomicPtr::new(ptr::null_mut()),
        }
    }

    /// What is made; if it was not yet, one thread makes it now.
    #[cold]
    fn fill(&self, make: &mut dyn FnMut() -> *mut ()) -> *mut () {
        register_handler();
        // (It is poisoned by a panic of `make`.)
        let _filling = self.filling.lock().unwrap_or_else(PoisonError::into_inner);
        if self.get().is_null() {
            self.made.store(make(), Ordering::Release); // pairs with `get`
        }
        self.get()
    }

    #[inline]
    fn get(&self) -> *mut () {
        self.made.load(Ordering::Acquire)
    }
}

/// What the nearest parent has made.
#[cold]
fn nearest(places: &[Place; PLACES]) -> Option<&Place> {
    let mut parents = places.iter().take(generation() as usize).rev();
    parents.find(|place| !place.get().is_null())
}

impl<T> PerProcess<T> {
    /// A value that is not made yet.
    pub const fn new() -> Self {
        Self {
            places: [const { Place::new() }; PLACES],
            values: PhantomData,
        }
    }

    /// The value of this process, if it was made.
    #[inline]
    pub fn get(&self) -> Option<&T> {
        self.read(self.of_this_process())
    }

    /// The value of this process. If it was not made yet, one thread makes it now: `make` is called
    /// once, but for panics.
    #[inline]
    pub fn get_or_init(&self, mut make: impl FnMut() -> T) -> &T {
        let own = self.of_this_process();
        let mut made = own.get();
        if made.is_null() {
            made = own.fill(&mut || {
                // Room first: once the value is made, nothing fails that would have to drop it.
                let room = Box::new_uninit();
                Box::into_raw(Box::write(room, make())).cast()
            });
        }
        // SAFETY: Y54: it is not null after `fill`.
        unsafe { &*made.cast::<T>() }
    }

    /// The value of this process, or else the one that its parent had made before the fork, or that
    /// one's parent.
    #[inline]
    pub fn inherited(&self) -> Option<&T> {
        match self.get() {
            Some(made) => Some(made),
            None => self.read(nearest(&self.places)?),
        }
    }

    /// The inherited value. If none has made it, one thread makes it now.
    #[inline]
    pub fn inherit_or_init(&self, make: impl FnMut() -> T) -> &T {
        match self.inherited() {
            Some(made) => made,
            None => self.get_or_init(make),
        }
    }

    #[inline]
    fn of_this_process(&self) -> &Place {
        &self.places[generation() as usize % PLACES]
    }

    /// The value in a place of this table.
    #[inline]
    fn read(&self, place: &Place) -> Option<&T> {
        // SAFETY: Y54: it was stored after the value was made.
        unsafe { place.get().cast::<T>().as_ref() }
    }
}
