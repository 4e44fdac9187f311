//! Two things at once.

use std::marker::PhantomData;

use crate::here;

/// Tells a closure of [`join_context`] about the thread that calls it.
#[derive(Debug)]
pub struct FnContext {
    migrated: bool,
    // It belongs to the thread.
    _thread: PhantomData<*mut ()>,
}

impl FnContext {
    #[inline]
    fn new(migrated: bool) -> Self {
        Self {
            migrated,
            _thread: PhantomData,
        }
    }

    /// Whether the closure came from another thread, or from outside of the pool.
    #[inline]
    pub fn migrated(&self) -> bool {
        self.migrated
    }
}

/// Runs both, perhaps at the same time, and returns both results; see [`trefoil::join()`].
///
/// # Panics
/// If one of them does, when both have ended.
#[inline]
pub fn join<A, B, RA, RB>(oper_a: A, oper_b: B) -> (RA, RB)
where
    A: FnOnce() -> RA + Send,
    B: FnOnce() -> RB + Send,
    RA: Send,
    RB: Send,
{
    here::inside(|| trefoil::join(oper_a, oper_b))
}

/// As [`join`], and tells each closure whether it runs on another thread than its caller's.
///
/// # Panics
/// As `join`.
#[inline]
pub fn join_context<A, B, RA, RB>(oper_a: A, oper_b: B) -> (RA, RB)
where
    A: FnOnce(FnContext) -> RA + Send,
    B: FnOnce(FnContext) -> RB + Send,
    RA: Send,
    RB: Send,
{
    let injected = !here::is_inside();
    here::inside(|| {
        let here = here::token();
        let migrated = move || injected || here::token() != here;
        trefoil::join(
            move || oper_a(FnContext::new(injected)),
            move || oper_b(FnContext::new(migrated())),
        )
    })
}
