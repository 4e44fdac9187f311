//! The root future of a loop where tasks are not kept track of: nothing is known of it.

use std::panic::Location;
use std::sync::Arc;
use std::task::Waker;

use super::shared::SharedLoop;

#[derive(Default)]
pub(super) struct RootWaker(());

pub(super) struct KnownRoot;

impl KnownRoot {
    pub(super) fn new(_: &RootWaker, _: &Arc<SharedLoop>, _: u64) -> Self {
        Self
    }

    pub(super) fn waker(&self, shared: &Arc<SharedLoop>) -> Waker {
        Waker::from(shared.clone())
    }

    #[inline(always)]
    pub(super) fn poll_begins(&self, _: &'static Location<'static>) {}

    #[inline(always)]
    pub(super) fn poll_ends(&self, _: impl FnOnce() -> bool) {}
}
