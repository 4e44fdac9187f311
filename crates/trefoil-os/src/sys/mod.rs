//! Calls to the operating system that need `unsafe` or differ by platform: one folder per system.
//! (What only worker processes need is in `host`.)
//!
//! Each system performs the duties of this table, each by a module of that name. The module is in
//! the system's own folder, in `unix` if Linux, macOS and the BSDs do the same, in `portable` if it
//! needs nothing special of a system, or here if all systems do the same. Everything else comes
//! from `std`, `rustix` and `mio`, whose descriptors are sockets on Windows (`rustix::fd`). Threads
//! alone need neither of these two.
//!
//! | duty | Linux | macOS, FreeBSD | Windows |
//! |---|---|---|---|
//! | `at_exit`: what is called at the end of the process | `atexit` | the same | the same |
//! | `bell`: a descriptor that any thread makes ready | `eventfd` | a pipe (`portable`) | a socket of datagrams |
//! | `child`: a child by a descriptor; its status, signals | pidfd | `kqueue`, then its number | its handle, and a bell |
//! | `clock`: a clock that is the same for all processes | `clock_gettime` | the same; macOS's clock that `Instant` uses | `Instant`, of this process |
//! | `descriptor`: how a type shows what it has | `AsFd` | `AsFd` | `AsSocket`, `AsHandle` |
//! | `files`: reads and writes at a place, symbolic links | `pread`, `pwrite` | the same | the same, which moves the file's position |
//! | `fork`: whether this is a forked child | `pthread_atfork` | the same | there is none |
//! | `free_list`: freed memory, kept for the next who asks | the global allocator's | the same | the same |
//! | `futex`: sleep until a word changes | `futex` | a condition variable (`portable`) | the same |
//! | `heap`: freed memory, back to the system | `malloc_trim`, with glibc | nothing (`portable`) | nothing |
//! | `large_pages`: large pages for large buffers | `madvise` | not asked for (`portable`) | not asked for |
//! | `modules`: the executable and libraries in memory | `dl_iterate_phdr` | not known (`portable`) | not known |
//! | `peer`: which process made a Unix socket | `SO_PEERCRED` | `LOCAL_PEERCRED` | there are none |
//! | `pipe_end`: our end of a pipe to a child | the pipe | the pipe | a socket, and a thread that carries |
//! | `poll`: waits for a few descriptors | `ppoll` | `poll`, to the millisecond; `ppoll` | `WSAPoll` |
//! | `poller`, `interest`: waits for many, and how exactly | mio: `epoll`, and `ppoll` for the rest of a millisecond | mio: `kqueue`, to the nanosecond | mio: completion ports, to the millisecond; asked anew after each edge |
//! | `prefetch`: a cache line that will be written | an instruction of x86-64 | the same | the same |
//! | `processors` | `std`, `num_cpus` | the same | the same |
//! | `refused` (`errors`): a call that was refused, by its name; no room | `EPERM`, `ENOSYS` ... | the same | by the kind of error |
//! | `signal`, `signal_name`: signals, and Ctrl-C | handlers | handlers | the console's handler, for Ctrl-C |
//! | `slack`: how late a wait ends on purpose | known, and asked for less | not known | the same |
//! | `sockets`: sockets that do not block from the beginning; UDP | `accept4` | set afterwards; `accept4` | set afterwards; what UDP reports differently (`udp`) |
//! | `static_ref`: a `&'static T` that any thread may replace | an atomic pointer | the same | the same |
//! | `stack_end`: where this thread's stack ends | `pthread_getattr_np` | `pthread_get_stackaddr_np`, `pthread_attr_get_np` | `GetCurrentThreadStackLimits` |
//! | `stderr`: writes that may block | `write`, `poll` | the same | `std`'s, which knows consoles |
//! | `stdio` (`reopen`): standard streams that can be waited for | opened again through `/proc` | sockets; a thread for others | a thread |
//! | `sysconf`: the size of a page, the length of a tick | `sysconf` | the same | (in `host`) |
//! | `thread_clock`: another thread's processor time | its clock | none (`portable`) | none |
//! | `thread_id` | `gettid` | `pthread_threadid_np`, `pthread_getthreadid_np` | `GetCurrentThreadId` |
//! | `ticks`: a rough and quick clock | time stamp counter on x86-64, else `clock` | the same | the same |
//! | `transfer`: bytes in and out | `recv`, `readv`, `sendmsg` ... | the same | `recv`, `send`, of one buffer |
//! | `wake_signal`: a signal that sets bits of a word | a handler | the same | none |

pub mod at_exit;
pub mod free_list;
#[cfg(feature = "event-loop")]
pub mod poller;
pub mod prefetch;
#[cfg(any(feature = "threads", feature = "processes"))]
pub mod processors;
#[cfg(feature = "__descriptors")]
pub mod refused;
#[cfg(feature = "event-loop")]
pub mod slack;
pub mod stack;
#[cfg(feature = "inspect")]
pub mod static_ref;
pub mod ticks;
#[cfg(feature = "inspect")]
pub mod wake_signal;

#[cfg(any(target_os = "macos", target_os = "freebsd"))]
mod bsd;
#[cfg(target_os = "linux")]
mod linux;
#[cfg(any(not(target_os = "linux"), trefoil_port))]
mod portable;
#[cfg(unix)]
mod unix;
#[cfg(windows)]
mod windows;

#[cfg(any(target_os = "macos", target_os = "freebsd"))]
pub use bsd::*;
#[cfg(target_os = "linux")]
pub use linux::*;
#[cfg(windows)]
pub use windows::*;
