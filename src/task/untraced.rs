//! Tasks without spans: replaces `traced.rs` without its feature. Functions only call their
//! arguments.

use once_cell::race::OnceBox;

use super::extras::TaskExtras;
use super::panic::{self, Panic};
use super::raw::TaskRef;
use super::raw::current::Birth;
use crate::trace_log::Kind;

/// In place of a span.
pub(super) struct NewSpan;

#[inline(always)]
pub(super) fn announce(_: &Birth, _: Kind) -> NewSpan {
    NewSpan
}

#[inline(always)]
pub(super) fn attach(_: &TaskRef, _: NewSpan) {}

#[inline(always)]
pub(super) fn named(_: &TaskExtras, _: &str) {}

#[inline(always)]
pub(super) fn run<R>(
    _: &OnceBox<TaskExtras>,
    _last: bool,
    f: impl FnOnce() -> R,
) -> Result<R, Panic> {
    panic::catch_in_task(f)
}

#[inline(always)]
pub(super) fn drop_work(_: &OnceBox<TaskExtras>, f: impl FnOnce()) {
    f();
}
