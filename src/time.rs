//! Time on the event loop.
