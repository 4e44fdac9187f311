//! Blocking system calls off the loop.
