//! Sockets and other descriptors on the event loop.
