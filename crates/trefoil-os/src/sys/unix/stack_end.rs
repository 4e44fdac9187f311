//! Where this thread's stack begins and ends, as reported by the C library.
//!
//! Tests: `sys::stack`, `tests/process/callers.rs`.
#![allow(unsafe_code)]

/// Its lowest and its highest address.
#[cfg(target_vendor = "apple")]
pub(crate) fn bounds() -> Option<(usize, usize)> {
    // SAFETY: Y98.
    let me = unsafe { libc::pthread_self() };
    // SAFETY: Y98: the highest address of this thread's stack, where it begins.
    let high = unsafe { libc::pthread_get_stackaddr_np(me) }.addr();
    // SAFETY: Y98: the size of this thread's stack.
    let length = unsafe { libc::pthread_get_stacksize_np(me) };
    Some((high.checked_sub(length)?, high))
}

/// Its lowest and its highest address.
#[cfg(not(target_vendor = "apple"))]
pub(crate) fn bounds() -> Option<(usize, usize)> {
    #[cfg(target_os = "freebsd")]
    use libc::pthread_attr_get_np as attributes_of;
    #[cfg(not(target_os = "freebsd"))]
    use libc::pthread_getattr_np as attributes_of;
    let mut attributes = std::mem::MaybeUninit::<libc::pthread_attr_t>::uninit();
    // SAFETY: Y98.
    let me = unsafe { libc::pthread_self() };
    #[cfg(target_os = "freebsd")]
    // SAFETY: Y98: the call initialises a local variable of the right size.
    if unsafe { libc::pthread_attr_init(attributes.as_mut_ptr()) } != 0 {
        return None;
    }
    // SAFETY: Y98: this thread's attributes, into a local variable of the right size, which is
    // initialised already where that is asked for.
    if unsafe { attributes_of(me, attributes.as_mut_ptr()) } != 0 {
        return None; // (FreeBSD has made attributes, which are lost; it does not fail for oneself)
    }
    let (mut low, mut length) = (std::ptr::null_mut(), 0);
    // SAFETY: Y98: the attributes were made just now.
    let error =
        unsafe { libc::pthread_attr_getstack(attributes.as_ptr(), &raw mut low, &raw mut length) };
    // SAFETY: Y98: they are destroyed once, and not read any more.
    unsafe { libc::pthread_attr_destroy(attributes.as_mut_ptr()) };
    let (low, high) = (low.addr(), low.addr().saturating_add(length));
    #[cfg(target_env = "musl")]
    let low = grown(low, high);
    (error == 0).then_some((low, high))
}

/// Where this stack ends when it has grown. For the first thread, musl reports only what is mapped
/// now. That stack grows down to its limit, which counts from its top, where the program's name is.
#[cfg(target_env = "musl")]
fn grown(low: usize, high: usize) -> usize {
    /// The program's arguments and variables take less than this. A part of them lies above what
    /// musl calls the stack.
    const STRINGS: usize = 8 << 20;
    /// The kernel keeps this much free below the stack, even if the limit is changed later.
    const FREE: usize = 64 << 20;
    // SAFETY: Y98: the call returns a number.
    let top = unsafe { libc::getauxval(libc::AT_EXECFN) } as usize;
    if !(low..high.saturating_add(STRINGS)).contains(&top) {
        return low; // this is another thread's stack
    }
    let mut limit = libc::rlimit {
        rlim_cur: libc::RLIM_INFINITY,
        rlim_max: libc::RLIM_INFINITY,
    };
    // SAFETY: Y98: a local variable, which stays as it is if the call fails.
    unsafe { libc::getrlimit(libc::RLIMIT_STACK, &raw mut limit) };
    let limit = usize::try_from(limit.rlim_cur).unwrap_or(FREE);
    low.min(top.saturating_sub(limit.min(FREE)))
}
