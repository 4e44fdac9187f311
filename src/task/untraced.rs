//! Tasks without spans, in place of `traced.rs`: the functions give back what they were given.

use super::raw::current::Birth;

#[inline(always)]
pub(super) fn closure<F>(f: F, _: Birth) -> F {
    f
}

#[inline(always)]
pub(super) fn future<F>(future: F, _: Birth, _local: bool) -> F {
    future
}
