//! What makes calls that follow closely quick: words in pages that a worker and its parent share,
//! and how long both look at them before they sleep.
//!
//! Everything here is an addition: without it frames and results go through the socket.

pub(super) mod look;
pub(super) mod path;
pub(super) mod tray;
