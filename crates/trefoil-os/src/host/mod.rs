//! What worker processes ask of the operating system: one folder per system, as in `sys`.
//!
//! The modules of the second column are in `portable`, unless another folder is named. With `--cfg
//! trefoil_port`, Linux uses them instead of its own, so that tests run them. The rest is the same
//! for all systems: memory that processes share (`mapping`, `segment`), `crash_notes` (what
//! `crash_handler` writes), `shared_clock` (of a worker and its parent), `worker_bell` (which wakes
//! a worker), `held_descriptors` (how many descriptors have come), and `image` (functions as
//! offsets within the program). What trefoil's processes write to shared memory is not here, but in
//! its `process::pages`.
//!
//! | duty | Linux | macOS, FreeBSD | Windows |
//! |---|---|---|---|
//! | `activity`: whether another process waits or computes; its memory | `/proc/PID/stat`, `status` | not known | the same |
//! | `affinity`: the processors that a process may use | `sched_setaffinity` | an error that explains why | the same |
//! | `auxiliary`, `format`: how the image was executed, what its headers say | ELF, the auxiliary vector | `bsd`: Mach-O; ELF, the list of modules | PE |
//! | `broken_pipe`, `signal_mask`: writes to pipes without `SIGPIPE` | the mask of the thread | no pipe asks for it; the same | an error, and nothing else |
//! | `channel_files`, `ends`: what a channel is made of | a pipe, an `eventfd`, a file | none: an error that explains why | none: the same error |
//! | `disk`: files without a name, room for them, paths without links | (`memory_file`, `executable`) | `unlink`, `statvfs`, `realpath` | files that go when they are closed; its paths have none |
//! | `crash_handler` (feature `backtrace`): notes where a worker crashes | handlers of signals (x86-64, arm64) | nothing is noted | the same |
//! | `constructor`: code before `main` | `.init_array` | `__mod_init_func`, `.init_array` | `.CRT$XCU` |
//! | `executable`: the program's file | `/proc/self/exe` | its path, if it was not replaced | the same |
//! | `process_group`: a worker and what it starts | a group of processes | the same | a job object (`job`) |
//! | `free_memory` | `/proc/meminfo`, control groups | not available | the same |
//! | `handover`: bytes and descriptors through a socket | `SCM_RIGHTS` | bytes alone: all workers are plain | the same |
//! | `inheritance`: what a launcher's command inherits | `close_range` in the child | `fcntl` in the child | there are no such commands |
//! | `itself`: a process's threads, descriptors, rights, name | `/proc/self`, `prctl` | `bsd`: `proc_pidinfo`, `sysctl`, `/dev/fd`, `issetugid` | as far as `std` knows |
//! | `kernel_kills`: kills because memory ran out, by the system | cgroup v2's `memory.events` | not known | the same |
//! | `lifeline`: ended when its parent is gone | the death signal, a socket that signals | the worker watches its parent | the job object |
//! | `limits`, `standard_streams` | `getrlimit`; numbers that are taken | the same | there are none |
//! | `memory_file`: memory with a descriptor and no name | `memfd`, sealed | a file that is unlinked at once | one that goes when it is closed |
//! | `own_memory`: how much a copy of a process does not share | `/proc/self/smaps_rollup`, `getrusage` | there are no copies | the same |
//! | `private_memory`: how much a worker has, and may have | `/proc/self/statm`, `RLIMIT_DATA` | FreeBSD: `sysctl`, `RLIMIT_AS` (`bsd`, `allowance`). macOS: an error that explains why | what it has committed; the limit of a job |
//! | `sibling`: a copy of this process, as a child of its parent | `clone` | an error that explains why | the same |
//! | `view`: memory files in memory | `mmap` | the same | a section |
//! | `worker`: what a process does to itself to be one | | the same | its stream is a socket of TCP |

#[cfg(feature = "backtrace")]
pub mod crash_notes;
pub mod held_descriptors;
pub mod image;
pub mod mapping;
pub mod segment;
pub mod shared_clock;
pub mod worker_bell;

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
pub use bsd::*;
#[cfg(target_os = "linux")]
pub use linux::*;
#[cfg(windows)]
pub use windows::*;
