//! All calls to the operating system that need `unsafe` or differ by platform: one folder per
//! system.
//!
//! Each system performs the duties of this table, each by a module of that name. The module is in
//! the system's own folder, in `unix` if Linux, macOS and the BSDs do the same, in `portable` if it
//! needs nothing special of a system, or here if all systems do the same. Everything else comes
//! from `std`, `rustix` and `mio`, whose descriptors are sockets on Windows (`rustix::fd`).
//!
//! | duty | Linux | macOS, FreeBSD | Windows |
//! |---|---|---|---|
//! | `bell`: a descriptor that any thread makes ready | `eventfd` | a pipe (`portable`) | a socket of datagrams |
//! | `child`: a child by a descriptor; its status, signals | pidfd | `kqueue`, then its number | its handle, and a bell |
//! | `clock`: a clock that is the same for all processes | `clock_gettime` | the same; macOS's clock that `Instant` uses | `Instant`, of this process |
//! | `descriptor`: how a type shows what it has | `AsFd` | `AsFd` | `AsSocket`, `AsHandle` |
//! | `files`: reads and writes at a place, symbolic links | `pread`, `pwrite` | the same | the same, which moves the file's position |
//! | `fork`: whether this is a forked child | `pthread_atfork` | the same | there is none |
//! | `peer`: which process made a Unix socket | `SO_PEERCRED` | `LOCAL_PEERCRED` | there are none |
//! | `pipe_end`: our end of a pipe to a child | the pipe | the pipe | a socket, and a thread that carries |
//! | `poll`: waits for a few descriptors | `ppoll` | `poll`, to the millisecond; `ppoll` | `WSAPoll` |
//! | `poller`, `watch`: waits for many, and how exactly | mio: `epoll`, and `ppoll` for the rest of a millisecond | mio: `kqueue`, to the nanosecond | mio: completion ports, to the millisecond; asked anew after each edge |
//! | `processors` | `std`, `num_cpus` | the same | the same |
//! | `refused`: a call that was refused, by its name; no room | `EPERM`, `ENOSYS` ... | the same | by the kind of error |
//! | `signal`, `signal_name`: signals, and Ctrl-C | handlers | handlers | the console's handler, for Ctrl-C |
//! | `slack`: how late a wait ends on purpose | known, and asked for less | not known | the same |
//! | `sockets`: sockets that do not block from the beginning; UDP | `accept4` | set afterwards; `accept4` | set afterwards; what UDP reports differently (`udp`) |
//! | `stack_end`: where this thread's stack ends | `pthread_getattr_np` | `pthread_get_stackaddr_np`, `pthread_attr_get_np` | `GetCurrentThreadStackLimits` |
//! | `stdio` (`reopen`): standard streams that can be waited for | opened again through `/proc` | sockets; a thread for others | a thread |
//! | `thread_clock`: another thread's processor time | its clock | none (`portable`) | none |
//! | `thread_id` | `gettid` | `pthread_threadid_np`, `pthread_getthreadid_np` | `GetCurrentThreadId` |
//! | `ticks`: a rough and quick clock | time stamp counter on x86-64, else `clock` | the same | the same |
//! | `transfer`: bytes in and out | `recv`, `readv`, `sendmsg` ... | the same | `recv`, `send`, of one buffer |
//!
//! The next table has the duties that only `process` needs. The modules of the second column are in
//! `portable`, unless another folder is named. With `--cfg trefoil_port`, Linux uses them instead
//! of its own, so that tests run them. `arena`, `ledger`, `mapping` and `segment` (memory that is
//! shared, or holds numbers), `image` (functions as offsets within the program) and `stack` (where
//! a stack ends; tasks ask, too) are in this folder.
//!
//! | duty | Linux | macOS, FreeBSD | Windows |
//! |---|---|---|---|
//! | `activity`: whether another process waits or computes | `/proc/PID/stat` | not known | the same |
//! | `auxiliary`, `format`: how the image was executed, what its headers say | ELF, the auxiliary vector | `bsd`: Mach-O; ELF, the list of modules | PE |
//! | `broken_pipe`, `signal_mask`: writes to pipes without `SIGPIPE` | the mask of the thread | no pipe asks for it; the same | an error, and nothing else |
//! | `conduit`, `ends`: what a channel is made of | a pipe, an `eventfd`, a file | none: an error in words | none: the same error |
//! | `disk`: files without a name, room for them, paths without links | (`memory_file`, `executable`) | `unlink`, `statvfs`, `realpath` | files that go when they are closed; its paths have none |
//! | `constructor`: code before `main` | `.init_array` | `__mod_init_func`, `.init_array` | `.CRT$XCU` |
//! | `executable`: the program's file | `/proc/self/exe` | its path, if it was not replaced | the same |
//! | `family`: a worker and what it starts | a group of processes | the same | a job object (`job`) |
//! | `free_memory`, `large_pages` | `/proc/meminfo`, `madvise` | not available | the same |
//! | `handover`: bytes and descriptors through a socket | `SCM_RIGHTS` | bytes alone: all workers are plain | the same |
//! | `itself`: a process's threads, descriptors, rights, name | `/proc/self`, `prctl` | `bsd`: `proc_pidinfo`, `sysctl`, `/dev/fd`, `issetugid` | as far as `std` knows |
//! | `kernel_kills`: kills because memory ran out, by the system | cgroup v2's `memory.events` | not told | the same |
//! | `lifeline`: ended when its parent is gone | the death signal, a socket that signals | the worker watches its parent | the job object |
//! | `limits`, `standard_streams` | `getrlimit`; numbers that are taken | the same | there are none |
//! | `memory_file`: memory with a descriptor and no name | `memfd`, sealed | a file that is unlinked at once | one that goes when it is closed |
//! | `private_memory`: how much a worker has, and may have | `/proc/self/statm`, `RLIMIT_DATA` | FreeBSD: `sysctl`, `RLIMIT_AS` (`bsd`, `allowance`). macOS: an error in words | what it has committed; the limit of a job |
//! | `valve`: what stands for a socket, and can be shut | an `epoll` of it | none: a worker's caller waits for the driver | the same |
//! | `view`: memory files in memory | `mmap` | the same | a section |
//! | `worker`: what a process does to itself to be one | | the same | its stream is a socket of TCP |

pub(crate) mod arena;
pub(crate) mod gate;
pub(crate) mod image;
pub(crate) mod ledger;
pub(crate) mod mapping;
pub(crate) mod poller;
pub(crate) mod processors;
pub(crate) mod segment;
pub(crate) mod slack;
pub(crate) mod stack;
pub(crate) mod ticks;

#[cfg(any(target_os = "macos", target_os = "freebsd"))]
mod bsd;
#[cfg(target_os = "linux")]
mod linux;
/// (Its reading of headers needs no such system.)
#[cfg(all(test, target_os = "linux"))]
#[path = "bsd/macho.rs"]
mod macho;
#[cfg(any(not(target_os = "linux"), trefoil_port))]
mod portable;
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
