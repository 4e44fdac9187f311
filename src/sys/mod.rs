//! All calls to the operating system that need `unsafe` or differ by platform.
//!
//! What another system has to give, file by file: of `linux`, of `unix`, or, where it is the same everywhere, here. Everything else comes from `std`, `rustix` and `mio`.
//!
//! | for | files |
//! |---|---|
//! | time | `clock` (the common clock, and a clock by its number), `thread_clock` (a thread's processor time), `ticks` (a rough and quick clock), `slack` (how late a sleep ends) |
//! | threads | `stack` (where a stack ends), `processors` (how many there are), `signal_mask` (which signals a thread hears) |
//! | waiting for descriptors | `poll`, `poller` (through mio) |
//! | signals | `signal` (a descriptor for a signal), `broken_pipe` (writes without `SIGPIPE`) |
//! | this process | `fork` (whether it is a forked child), `image` (functions as offsets within the program), `limits`, `worker` (what a process does to itself to be a worker) |
//! | other processes | `lifeline` (killed when its parent is gone), `peer` (which process made a socket) |
//! | memory that processes share | `mapping`, `segment` (for numbers), `arena` (blocks that are lent), `ledger` (a worker's pages), `gate` (which items of a frame have begun) |
//! | memory | `free_memory` (whether so much is left), `large_pages` |
//! | errors | `refused` (the name of a call that was refused) |

pub(crate) mod gate;
pub(crate) mod poller;
pub(crate) mod processors;
pub(crate) mod refused;
pub(crate) mod ticks;

#[cfg(target_os = "linux")]
mod linux;
#[cfg(unix)]
mod unix;

#[cfg(target_os = "linux")]
pub(crate) use linux::*;
