//! Where a worker process crashed: the stack of the thread that died, as the worker noted it.
//!
//! The worker notes places: modules, and numbers in them. Names are looked up when somebody asks,
//! on the asking thread, because it reads debug information and takes its time: this process has
//! the same modules, so it looks at those that it has itself loaded. The text that a worker has
//! sent as a module's name is compared and shown, and is never a file to open.

// Without worker processes there are none, and nothing that looks them up is compiled.
#![cfg_attr(
    not(feature = "processes"),
    allow(dead_code, unused_imports, unused_variables)
)]

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use crate::printable::Printable;

/// The stack of a thread that crashed in a worker process: see
/// [`WorkerExit::backtrace`](crate::WorkerExit::backtrace).
///
/// Its `Display` form has a line for each frame, with what is known of it. Where names are missing,
/// `addr2line` finds them: the line `2: /usr/bin/app+0x1f3a0` is `addr2line -Cfie /usr/bin/app
/// 0x1f3a0`. (They are missing, too, if the program's file was replaced while it ran, for instance
/// by a build: then `addr2line` needs the old file.)
///
/// The first call of [`frames`](Self::frames), or of `Display`, looks the names up, which can take
/// some 100 ms for a large program with debug information, and keeps tens of megabytes of it in
/// memory. Cloning is cheap; clones share the names.
///
/// ```
/// use trefoil::{ProcessPool, TaskError};
///
/// fn decode_row(row: u32) -> u32 {
///     if row == 7 { std::process::abort() }
///     row
/// }
///
/// # trefoil::init();
/// let procs = ProcessPool::with_workers(1)?;
/// if let Err(TaskError::WorkerDied(exit)) = procs.spawn(7, decode_row).join() {
///     if let Some(backtrace) = exit.backtrace() {
///         println!("it died here:\n{backtrace}"); // with `decode_row` in it
///     }
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct Backtrace(Arc<Lookup>);

#[cfg(not(feature = "processes"))]
enum Lookup {}

#[cfg(feature = "processes")]
struct Lookup {
    /// The module, empty for the executable, and the number in it; innermost first.
    places: Vec<(Option<String>, u64)>,
    frames: OnceLock<Vec<Frame>>,
}

/// A function that ran when a worker crashed: one line of a [`Backtrace`].
///
/// ```no_run
/// # fn show(backtrace: &trefoil::process::Backtrace) {
/// for frame in backtrace.frames() {
///     println!("{:?} {:#x} {:?}", frame.module(), frame.offset(), frame.function());
/// }
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Frame {
    module: Option<Arc<str>>,
    offset: u64,
    function: Option<String>,
    file: Option<PathBuf>,
    line: Option<u32>,
}

impl Frame {
    /// The path of the executable or the library that the code belongs to. `None`: of none, because
    /// the thread jumped to where no code is, or the code was made at run time.
    #[must_use]
    pub fn module(&self) -> Option<&str> {
        self.module.as_deref()
    }

    /// Where in the module the instruction is, or the call that has not returned: a number as
    /// `addr2line` takes it, the same in every process. Without a module, the address in the
    /// worker.
    #[must_use]
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// The function, demangled. Needs the feature `backtrace`, symbols, and a module that this
    /// process has loaded, too (at the same path).
    #[must_use]
    pub fn function(&self) -> Option<&str> {
        self.function.as_deref()
    }

    /// The source file. Needs debug information besides (`debug = "line-tables-only"`).
    #[must_use]
    pub fn file(&self) -> Option<&Path> {
        self.file.as_deref()
    }

    /// The line in [`file`](Self::file).
    #[must_use]
    pub fn line(&self) -> Option<u32> {
        self.line
    }

    /// Whether it is part of what every program runs on: the C library, the standard library, this
    /// crate.
    #[cfg(feature = "processes")]
    fn is_runtime(&self) -> bool {
        const LIBRARIES: [&str; 7] = [
            "libc.",
            "libc-",
            "libpthread",
            "libgcc_s",
            "libstdc++",
            "ld-",
            "linux-vdso",
        ];
        const CRATES: [&str; 5] = ["std::", "core::", "alloc::", "trefoil::", "trefoil_os::"];
        const FUNCTIONS: [&str; 4] = ["__rust", "rust_", "_Unwind_", "__pthread_kill"];
        let module = self.module().unwrap_or_default();
        let module = module.rsplit('/').next().unwrap_or_default();
        let function = self.function().unwrap_or_default();
        let path = function.trim_start_matches(['<', '&', '*']);
        let begins = |text: &str, all: &[&str]| all.iter().any(|begin| text.starts_with(begin));
        // (`<u8 as alloc::..>::..`: what the standard library implements for the language's types.)
        let (of, what) = path.split_once(" as ").unwrap_or(("::", ""));
        let is_basic = !of.contains("::") && begins(what, &CRATES);
        // (An inlined function may have its name without its crate's.)
        let file = self.file().unwrap_or(Path::new("")).to_string_lossy();
        let is_std = ["/rustc/", "/rustlib/src/rust/"]
            .iter()
            .any(|root| file.contains(root));
        let is_own = file.starts_with(concat!(env!("CARGO_MANIFEST_DIR"), "/src/"));
        (is_std && file.contains("/library/"))
            || is_own
            || is_basic
            || begins(module, &LIBRARIES)
            || begins(path, &CRATES)
            || begins(function, &FUNCTIONS)
            || ["abort", "raise", "pthread_kill"].contains(&function)
    }
}

/// Its place in the source, if that is known: below the current directory without that.
struct Source<'a>(&'a Frame);

#[cfg(feature = "processes")]
impl Source<'_> {
    fn write(&self, f: &mut fmt::Formatter<'_>, before: &str) -> fmt::Result {
        let Some(file) = self.0.file() else {
            return Ok(());
        };
        let here = std::env::current_dir();
        let short = here.ok().and_then(|here| file.strip_prefix(here).ok());
        write!(f, "{before}{}", short.unwrap_or(file).display())?;
        self.0.line.map_or(Ok(()), |line| write!(f, ":{line}"))
    }
}

impl Backtrace {
    /// The stack of these places (modules, and numbers in them), innermost first. `None` if there
    /// are none.
    #[cfg(feature = "processes")]
    pub(crate) fn new(places: Vec<(Option<String>, u64)>) -> Option<Self> {
        let frames = OnceLock::new();
        (!places.is_empty()).then(|| Self(Arc::new(Lookup { places, frames })))
    }

    /// The frames, innermost first: at most 128 places, and where the compiler has put a function
    /// into its caller, a frame for each of the two.
    #[must_use]
    pub fn frames(&self) -> &[Frame] {
        #[cfg(feature = "processes")]
        return self.0.frames.get_or_init(|| self.0.look_up());
        #[cfg(not(feature = "processes"))]
        &[]
    }

    /// Writes the innermost frame that belongs to the user's code or to a library's.
    #[cfg(feature = "processes")]
    pub(crate) fn write_culprit(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let named = |frame: &&Frame| frame.function.is_some() && !frame.is_runtime();
        let Some(frame) = self.frames().iter().find(named) else {
            return Ok(());
        };
        write!(f, " in `{}`", frame.function().unwrap_or_default())?;
        Source(frame).write(f, ", ")
    }
}

#[cfg(feature = "processes")]
impl Lookup {
    fn look_up(&self) -> Vec<Frame> {
        let executable = std::env::current_exe().unwrap_or_default();
        let executable: Arc<str> = executable.to_string_lossy().into();
        let places = self.places.iter();
        let frames = places.flat_map(|(module, offset)| {
            let shown = match module.as_deref() {
                Some("") => Some(executable.clone()),
                other => other.map(Arc::from),
            };
            let frame = Frame {
                module: shown,
                offset: *offset,
                function: None,
                file: None,
                line: None,
            };
            let address = module.as_deref().and_then(|name| address(name, *offset));
            let named = address.map(|address| named(address, &frame));
            named.filter(|all| !all.is_empty()).unwrap_or(vec![frame])
        });
        frames.collect()
    }
}

impl fmt::Display for Backtrace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        #[cfg(feature = "processes")]
        for (number, frame) in self.frames().iter().enumerate() {
            let end = if number > 0 { "\n" } else { "" };
            let module = frame.module().unwrap_or_default();
            write!(
                f,
                "{end}{number:4}: {}+{:#x}",
                Printable(module),
                frame.offset
            )?;
            if let Some(function) = frame.function() {
                write!(f, " {function}")?;
            }
            Source(frame).write(f, " at ")?;
        }
        Ok(())
    }
}

impl fmt::Debug for Backtrace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Backtrace(\n{self}\n)")
    }
}

/// The address of the code at this place in this process.
#[cfg(all(feature = "backtrace", not(loom)))]
fn address(module: &str, offset: u64) -> Option<usize> {
    crate::sys::modules::address(module, offset)
}

#[cfg(not(all(feature = "backtrace", not(loom))))]
fn address(_: &str, _: u64) -> Option<usize> {
    None
}

/// The frame with its names, and those of the functions that the compiler has put into that one.
#[cfg(all(feature = "backtrace", not(loom)))]
fn named(address: usize, frame: &Frame) -> Vec<Frame> {
    let mut all = Vec::new();
    // (The crate takes it for the address that a call returns to.)
    backtrace::resolve(std::ptr::without_provenance_mut(address + 1), |symbol| {
        all.push(Frame {
            function: symbol.name().map(|name| format!("{name:#}")),
            file: symbol.filename().map(Path::to_owned),
            line: symbol.lineno(),
            ..frame.clone()
        });
    });
    all
}

#[cfg(not(all(feature = "backtrace", not(loom))))]
fn named(_: usize, _: &Frame) -> Vec<Frame> {
    Vec::new()
}

#[cfg(all(test, feature = "processes"))]
mod tests {
    use super::*;

    fn frame(module: &str, function: &str) -> Frame {
        Frame {
            module: Some(module.into()),
            offset: 1,
            function: Some(function.to_owned()),
            file: None,
            line: None,
        }
    }

    #[test]
    fn what_every_program_runs_on_is_not_to_blame() {
        for (module, function) in [
            ("/usr/lib/libc.so.6", "memcpy"),
            ("/lib64/ld-linux-x86-64.so.2", "_dl_open"),
            ("linux-vdso.so.1", "__vdso_time"),
            ("/app", "core::ptr::read_volatile"),
            (
                "/app",
                "<&alloc::vec::Vec<app::Row> as core::fmt::Debug>::fmt",
            ),
            (
                "/app",
                "<u8 as alloc::vec::spec_from_elem::SpecFromElem>::from_elem",
            ),
            ("/app", "abort"),
            ("/app", "trefoil::process::worker::raw_call::call"),
        ] {
            assert!(frame(module, function).is_runtime(), "{module} {function}");
        }
        for (module, function) in [
            ("/app", "app::standard::decode"),
            ("/app", "<app::Row as core::fmt::Debug>::fmt"),
            ("/app", "<u8 as app::Decode>::decode"),
            ("/opt/libcrash.so", "decode_row"),
        ] {
            assert!(!frame(module, function).is_runtime(), "{module} {function}");
        }
    }

    #[test]
    fn places_without_names_are_shown_as_numbers() {
        assert!(Backtrace::new(Vec::new()).is_none());
        let places = vec![(Some("/opt/lib\u{7}.so".to_owned()), 0x1f), (None, 0)];
        let backtrace = Backtrace::new(places).unwrap();
        let frames = backtrace.frames();
        assert_eq!((frames[0].offset(), frames[1].module()), (0x1f, None));
        assert_eq!(
            backtrace.to_string(),
            "   0: /opt/lib\u{fffd}.so+0x1f\n   1: +0x0"
        );
    }
}
