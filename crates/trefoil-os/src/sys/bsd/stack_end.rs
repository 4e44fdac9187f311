//! Where this thread's stack begins and ends, as reported by the system.
//!
//! Tests: compiled only.
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
#[cfg(target_os = "freebsd")]
pub(crate) fn bounds() -> Option<(usize, usize)> {
    let mut attributes = std::mem::MaybeUninit::<libc::pthread_attr_t>::uninit();
    // SAFETY: Y98.
    let me = unsafe { libc::pthread_self() };
    // SAFETY: Y98: the call initialises a local variable of the right size.
    if unsafe { libc::pthread_attr_init(attributes.as_mut_ptr()) } != 0 {
        return None;
    }
    let (mut low, mut length) = (std::ptr::null_mut(), 0);
    // SAFETY: Y98: this thread's attributes, into a local that was initialised just now.
    let mut error = unsafe { libc::pthread_attr_get_np(me, attributes.as_mut_ptr()) };
    if error == 0 {
        // SAFETY: Y98: the attributes were made just now.
        error = unsafe {
            libc::pthread_attr_getstack(attributes.as_ptr(), &raw mut low, &raw mut length)
        };
    }
    // SAFETY: Y98: they are destroyed once, and not read any more.
    unsafe { libc::pthread_attr_destroy(attributes.as_mut_ptr()) };
    (error == 0).then(|| (low.addr(), low.addr().saturating_add(length)))
}
