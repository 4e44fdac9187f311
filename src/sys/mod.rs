//! All calls to the operating system that need `unsafe` or differ by platform.

pub(crate) mod arena;
pub(crate) mod broken_pipe;
pub(crate) mod clock;
pub(crate) mod fork;
pub(crate) mod gate;
pub(crate) mod image;
pub(crate) mod large_pages;
pub(crate) mod ledger;
pub(crate) mod lifeline;
pub(crate) mod limits;
pub(crate) mod mapping;
pub(crate) mod peer;
pub(crate) mod poll;
pub(crate) mod poller;
pub(crate) mod processors;
pub(crate) mod refused;
pub(crate) mod room;
pub(crate) mod segment;
pub(crate) mod signal;
mod signal_mask;
pub(crate) mod slack;
pub(crate) mod stack;
pub(crate) mod thread_clock;
pub(crate) mod ticks;
pub(crate) mod worker;
