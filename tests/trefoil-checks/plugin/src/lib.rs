//! A library that uses trefoil and is loaded at run time, like a Python extension or an editor's
//! plug-in.

#![allow(clippy::disallowed_methods)] // that door is for the crate's own protocols

use trefoil::{Process, ProcessPool};

/// Tries a pool and a process, and calls `tell` with `context` and the result of each, as a text of
/// so many bytes.
#[unsafe(no_mangle)]
pub extern "C" fn plugin_run(tell: extern "C" fn(usize, *const u8, usize), context: usize) {
    trefoil::init();
    let pool = ProcessPool::with_workers(1).map(|procs| procs.spawn(3, |x: u64| x - 2).join());
    let process = Process::spawn(3, |x: u64| x ^ 2).map(Process::join);
    for words in [
        pool.map_or_else(|e| e.to_string(), |r| format!("{r:?}")),
        process.map_or_else(|e| e.to_string(), |r| format!("{r:?}")),
    ] {
        tell(context, words.as_ptr(), words.len());
    }
}

/// Starts a thread before `main`, as some libraries do, if the environment asks for it.
extern "C" fn early() {
    if std::env::var_os("TREFOIL_PLUGIN_THREAD").is_some() {
        std::thread::spawn(|| {
            loop {
                std::thread::park();
            }
        });
    }
}

// SAFETY: the section holds functions of this signature, which are called when the library is
// loaded.
#[used]
#[unsafe(link_section = ".init_array")]
static EARLY: extern "C" fn() = early;
