//! All calls to the operating system that need `unsafe` or differ by platform: one folder per system.
//!
//! Each system fulfils the duties of this table, each by a module of that name: in the system's own folder, in `unix` for what Linux,
//! macOS and the BSDs do alike, or here, if all do alike. Everything else comes from `std`, `rustix` and `mio`, whose descriptors
//! are sockets on Windows (`rustix::fd`).
//!
//! | duty | Linux | macOS, FreeBSD | Windows |
//! |---|---|---|---|
//! | `bell`: a descriptor that any thread makes ready | `eventfd` | a pipe | a socket of datagrams |
//! | `child`: a child by a descriptor; its status, signals | pidfd | `kqueue`, then its number | not yet |
//! | `clock`: a clock that is the same for all processes | `clock_gettime` | the same | `Instant`, of this process |
//! | `descriptor`: how a type shows what it has | `AsFd` | `AsFd` | `AsSocket`, `AsHandle` |
//! | `files`: reads and writes at a place, symbolic links | `pread`, `pwrite` | the same | on a second open file |
//! | `fork`: whether this is a forked child | `pthread_atfork` | the same | there is none |
//! | `peer`: which process made a Unix socket | `SO_PEERCRED` | `LOCAL_PEERCRED` | there are none |
//! | `poll`: waits for a few descriptors | `ppoll` | `poll` | `WSAPoll` |
//! | `poller`, `watch`: waits for many, and how exactly | mio: `epoll`, and `ppoll` for the rest of a millisecond | mio: `kqueue`, to the nanosecond | mio: completion ports, to the millisecond; asked anew after each edge |
//! | `processors` | `std`, `num_cpus` | the same | the same |
//! | `refused`: a call that was refused, by its name; no room | `EPERM`, `ENOSYS` ... | the same | by the kind of error |
//! | `signal`, `signal_name`: signals, and Ctrl-C | handlers | handlers | the console's handler, for Ctrl-C |
//! | `slack`: how late a wait ends on purpose | known, and asked for less | not known | not known |
//! | `sockets`: sockets that do not block from the beginning | `accept4` | set afterwards | set afterwards |
//! | `stdio` (`reopen`): standard streams that can be waited for | opened again through `/proc` | sockets; a thread for others | a thread |
//! | `thread_clock`: another thread's processor time | its clock | none | none |
//! | `thread_id` | `gettid` | `pthread_threadid_np`, `pthread_getthreadid_np` | `GetCurrentThreadId` |
//! | `ticks`: a rough and quick clock | time stamp counter on x86-64, else `clock` | the same | the same |
//! | `transfer`: bytes in and out | `recv`, `readv`, `sendmsg` ... | the same | `recv`, `send`, of one buffer |
//!
//! And these, which only `process` asks for: `arena` (blocks that are lent), `broken_pipe` (writes without `SIGPIPE`), `free_memory`
//! (whether so much is left), `gate` (which items of a frame have begun), `image` (functions as offsets within the program),
//! `large_pages`, `ledger` (a worker's pages), `lifeline` (killed when its parent is gone), `limits`, `mapping`, `segment` (for
//! numbers), `signal_mask`, `standard_streams` (that their numbers are taken), `stack` (where a stack ends), `worker` (what a process does to itself to be one). Linux has them all;
//! the others none yet.

pub(crate) mod gate;
pub(crate) mod poller;
pub(crate) mod processors;
pub(crate) mod ticks;

#[cfg(any(target_os = "macos", target_os = "freebsd"))]
mod bsd;
#[cfg(target_os = "linux")]
mod linux;
#[cfg(unix)]
mod unix;
#[cfg(windows)]
mod windows;

#[cfg(any(target_os = "macos", target_os = "freebsd"))]
pub(crate) use bsd::*;
#[cfg(target_os = "linux")]
pub(crate) use linux::*;
#[cfg(windows)]
pub(crate) use windows::*;
