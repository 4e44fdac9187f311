//! How deep this thread's stack may become.
//!
//! **Job.** Code that recurses as deeply as received data demands asks here first, so that data
//! that nests too deeply is an error and not the end of the process. The system is asked once in
//! each thread; only for the program's first thread does that read a file. A thread that could run
//! what it waits for asks whether half of its stack is left for that.
//!
//! On a stack that the system does not know (a coroutine's) the limit is unknown. `grown` says what
//! is particular to musl.
//!
//! - **Y98** The calls are for the calling thread, which is alive. `pthread_getattr_np` makes the
//!   attributes, which are looked at only if it has, and destroyed once. All of them write to
//!   locals. `getauxval` only reads.
//!
//! Tests: below; `tests/process/deep.rs`.
#![allow(unsafe_code)]

use std::cell::Cell;

use crate::loom::per_thread;

/// How much stack is left for code that does not ask, at most.
const RESERVE: usize = 256 << 10;

per_thread! {
    /// Where the stack begins and ends, if that is known; `None`: the system has not been asked.
    static STACK: Cell<Option<(usize, usize)>> = Cell::new(None);
}

/// Roughly where the stack ends now: the address of a local variable.
#[inline(always)]
pub(crate) fn here() -> usize {
    let local = 0u8;
    (&raw const local).addr()
}

/// The lowest address that recursion on this thread may reach. `None`: the system does not know
/// this stack.
#[cold]
pub(crate) fn floor() -> Option<usize> {
    let (low, high) = known()?;
    (low..high)
        .contains(&here())
        .then(|| low + RESERVE.min((high - low) / 4))
}

/// Whether this thread uses less than half of its stack (not on a stack of the program's own).
pub(crate) fn is_half_left() -> bool {
    known().is_none_or(|(low, high)| (low + (high - low) / 2..high).contains(&here()))
}

fn known() -> Option<(usize, usize)> {
    let known = STACK.try_with(Cell::get).ok().flatten();
    known.or_else(|| {
        let bounds = mine();
        let _ = STACK.try_with(|stack| stack.set(bounds));
        bounds
    })
}

/// Where this thread's stack begins and ends.
fn mine() -> Option<(usize, usize)> {
    if cfg!(any(loom, miri)) {
        return None;
    }
    bounds()
}

#[cfg(target_vendor = "apple")]
fn bounds() -> Option<(usize, usize)> {
    // SAFETY: Y98: it has no precondition.
    let me = unsafe { libc::pthread_self() };
    // SAFETY: Y98: this thread's: where its stack begins, the highest address.
    let high = unsafe { libc::pthread_get_stackaddr_np(me) }.addr();
    // SAFETY: Y98: this thread's.
    let length = unsafe { libc::pthread_get_stacksize_np(me) };
    Some((high.checked_sub(length)?, high))
}

#[cfg(windows)]
fn bounds() -> Option<(usize, usize)> {
    let (mut low, mut high) = (0, 0);
    // SAFETY: Y98: of this thread, into locals.
    unsafe {
        windows_sys::Win32::System::Threading::GetCurrentThreadStackLimits(
            &raw mut low,
            &raw mut high,
        );
    };
    (high > low).then_some((low, high))
}

#[cfg(all(unix, not(target_vendor = "apple")))]
fn bounds() -> Option<(usize, usize)> {
    let mut attributes = std::mem::MaybeUninit::<libc::pthread_attr_t>::uninit();
    // SAFETY: Y98: it has no precondition.
    let me = unsafe { libc::pthread_self() };
    // SAFETY: Y98: it makes a local that is as large as it must be.
    #[cfg(target_os = "freebsd")]
    if unsafe { libc::pthread_attr_init(attributes.as_mut_ptr()) } != 0 {
        return None;
    }
    // SAFETY: Y98: this thread's, into attributes that were made just now.
    #[cfg(target_os = "freebsd")]
    let error = unsafe { libc::pthread_attr_get_np(me, attributes.as_mut_ptr()) };
    // SAFETY: Y98: this thread's, into a local that is as large as it must be.
    #[cfg(not(target_os = "freebsd"))]
    let error = unsafe { libc::pthread_getattr_np(me, attributes.as_mut_ptr()) };
    if error != 0 {
        return None;
    }
    let (mut low, mut length) = (std::ptr::null_mut(), 0);
    // SAFETY: Y98: they were made just now.
    let error =
        unsafe { libc::pthread_attr_getstack(attributes.as_ptr(), &raw mut low, &raw mut length) };
    // SAFETY: Y98: once, and they are not looked at any more.
    unsafe { libc::pthread_attr_destroy(attributes.as_mut_ptr()) };
    let (low, high) = (low.addr(), low.addr().saturating_add(length));
    #[cfg(target_env = "musl")]
    let low = grown(low, high);
    (error == 0).then_some((low, high))
}

/// Where this stack ends when it has grown. Of the first thread's musl tells as much as is mapped
/// now; it grows down to its limit, which is counted from its top, where the program's name is.
#[cfg(target_env = "musl")]
fn grown(low: usize, high: usize) -> usize {
    /// Arguments and variables, of which a part lies above what musl calls the stack, have less.
    const STRINGS: usize = 8 << 20;
    /// The kernel keeps so much free below, even if the limit is changed later.
    const FREE: usize = 64 << 20;
    // SAFETY: Y98: it gives a number.
    let top = unsafe { libc::getauxval(libc::AT_EXECFN) } as usize;
    if !(low..high.saturating_add(STRINGS)).contains(&top) {
        return low; // another thread's
    }
    let limit = crate::sys::limits::limit(rustix::process::Resource::Stack).ok();
    let limit = limit.and_then(|limit| usize::try_from(limit.current?).ok());
    low.min(top.saturating_sub(limit.unwrap_or(FREE).min(FREE)))
}

#[cfg(all(test, target_os = "linux", not(any(loom, miri))))]
mod tests {
    use super::*;
    use crate::loom::thread::Builder;

    #[test]
    fn each_thread_knows_its_own() {
        for size in [256 << 10, 2 << 20] {
            let thread = Builder::new().stack_size(size).spawn(move || {
                let (here, floor) = (here(), floor().unwrap());
                // Up to four times as much, because the C library reuses the stacks of threads that
                // have ended.
                assert!(floor < here && here - floor < 4 * size, "{here} {floor}");
                assert!(here - floor > size / 2, "{here} {floor}");
                assert_eq!(super::floor(), Some(floor));
            });
            thread.unwrap().join().unwrap();
        }
    }
}
