//! What workers report of themselves besides results.
//!
//! It is for those who look into the program: the tree of their own tasks (`trefoil::inspect`), and
//! the events and spans of the crate tracing.

#[cfg(feature = "tracing")]
pub(super) mod forward_events;
#[cfg(feature = "tracing")]
pub(super) mod send_events;
#[cfg(feature = "inspect")]
pub(super) mod trees;
