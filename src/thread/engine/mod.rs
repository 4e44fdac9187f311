//! The scheduler: what the threads of one pool share, and what each of them does.

pub(super) mod config;
pub(super) mod countdown;
pub(super) mod enter;
pub(super) mod frame;
pub(super) mod indices;
pub(super) mod latch;
pub(super) mod mailbox;
pub(super) mod places;
pub(super) mod queue;
pub(super) mod raw_current;
pub(super) mod registry;
pub(super) mod shutdown;
pub(super) mod sleep;
pub(super) mod slot;
pub(super) mod thread_main;
pub(super) mod threads;
pub(super) mod wait;
pub(super) mod wake;
pub(super) mod worker;
