//! The single-threaded event loop.
