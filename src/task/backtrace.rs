//! Where a worker process crashed: the stack of the thread that died, as the worker noted it.
//!
//! The worker notes places: modules, and numbers in them. This process has the same modules, so it
//! finds the names (`frame_names`) in those that it has itself loaded. The text that a worker has
//! sent as a module's name is compared and shown, and is never a file to open.
//!
//! **Who is to blame.** The message names the innermost function that is not part of what every
//! program runs on ([`Frame::is_runtime`]), and nothing beyond the worker's own frames, where
//! `main` is. If that frame has no name, no caller is named in its place: a library is shown as a
//! number in it, and in the program's own file it may be the runtime's.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use super::frame_names::{Known, Place, Places};
use crate::printable::Printable;

/// The stack of a thread that crashed in a worker process: see
/// [`WorkerExit::backtrace`](crate::WorkerExit::backtrace).
///
/// Its `Display` form has a line for each frame, with what is known of it; `{:#}` has besides which
/// builds of the modules these are, by which symbol servers and crash services find their symbols.
/// Where names are missing, `addr2line` finds them: the line `2: /usr/bin/app+0x1f3a0` is
/// `addr2line -Cfie /usr/bin/app 0x1f3a0`. (They are missing, too, if the program's file was
/// replaced while it ran, for instance by a build: then `addr2line` needs the old file.)
///
/// The names are looked up before the error is handed over, on another thread, and no limit of the
/// call (`timeout`, `within`) counts meanwhile: a second, say, for the first crash of a large
/// program with debug information. If that takes longer than five seconds, or a whole pool has
/// failed, [`frames`](Self::frames) and `Display` have no names at first, and have them later:
/// neither waits. Afterwards the memory of the debug information is given back. Cloning is cheap;
/// clones share the names.
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

struct Lookup {
    places: Arc<Places>,
    /// The first address is one that the thread jumped to.
    is_wild_jump: bool,
    without_names: OnceLock<Vec<Frame>>,
    with_names: OnceLock<Vec<Frame>>,
}

/// What a frame belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Origin {
    Executable,
    Library,
    /// No module, as of code that was made at run time.
    Unknown,
    /// There is no code: the thread jumped there.
    Jump,
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
    build_id: Option<Arc<str>>,
    offset: u64,
    function: Option<String>,
    file: Option<PathBuf>,
    line: Option<u32>,
    origin: Origin,
    is_cpp: bool,
}

impl Frame {
    /// The path of the executable or the library that the code belongs to. `None`: of none, because
    /// the thread jumped to where no code is, or the code was made at run time.
    #[must_use]
    pub fn module(&self) -> Option<&str> {
        self.module.as_deref()
    }

    /// Which build of the module: what the linker has noted in it (the note `NT_GNU_BUILD_ID`), in
    /// hexadecimal digits, as `readelf -n` shows it. `debuginfod` and crash services find symbols
    /// by it. Needs a module that this process has loaded, too (at the same path), and is known
    /// when the names are.
    #[must_use]
    pub fn build_id(&self) -> Option<&str> {
        self.build_id.as_deref()
    }

    /// Where in the module the instruction is, or the call that has not returned: a number as
    /// `addr2line` takes it, the same in every process. Without a module, the address in the
    /// worker.
    #[must_use]
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// The function, demangled (Rust and C++). Needs symbols, and a module that this process has
    /// loaded, too (at the same path).
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
    fn is_runtime(&self) -> bool {
        const LIBRARIES: [&str; 10] = [
            "libc",
            "libm",
            "libpthread",
            "libgcc_s",
            "libstdc++",
            "libc++",
            "libc++abi",
            "ld-linux",
            "ld-musl",
            "linux-vdso",
        ];
        // What a program has of them in its own file has their names.
        const FUNCTIONS: [&str; 14] = [
            "abort",
            "raise",
            "gsignal",
            "pthread_kill",
            "memcpy",
            "memmove",
            "memset",
            "memcmp",
            "bcmp",
            "strlen",
            "rust_begin_unwind",
            "rust_panic",
            "rust_eh_personality",
            "rust_oom",
        ];
        const BEGINNINGS: [&str; 3] = ["__rust", "_Unwind_", "__pthread_kill"];
        const CRATES: [&str; 6] = [
            "std::",
            "core::",
            "alloc::",
            "compiler_builtins::",
            "trefoil::",
            "trefoil_os::",
        ];
        const OF_CPP: [&str; 3] = ["std::", "__gnu_cxx::", "__cxxabiv1::"];
        let module = self.module().unwrap_or_default();
        let module = module.rsplit('/').next().unwrap_or_default();
        // (`libc.so.6`, `libc-2.31.so`, `ld-linux-x86-64.so.2`, and not `libc-parser.so`.)
        let is_library = |name: &&str| {
            let rest = module.strip_prefix(*name).unwrap_or("none");
            let version = rest.strip_prefix('-').unwrap_or("none");
            rest.starts_with('.')
                || version.starts_with(|first: char| first.is_ascii_digit())
                || (name.starts_with("ld-") && rest.starts_with('-'))
        };
        let function = self.function().unwrap_or_default();
        let (path, crates) = if self.is_cpp {
            // (`void std::sort<..>(..)`)
            let name = function.split(['<', '(']).next().unwrap_or_default();
            (name.rsplit(' ').next().unwrap_or_default(), &OF_CPP[..])
        } else {
            (function.trim_start_matches(['<', '&', '*']), &CRATES[..])
        };
        let begins = |text: &str, all: &[&str]| all.iter().any(|begin| text.starts_with(begin));
        // (`<u8 as alloc::..>::..`: what the standard library implements for the language's types.)
        let (of, what) = path.split_once(" as ").unwrap_or(("::", ""));
        let is_basic = !of.contains("::") && begins(what, &CRATES);
        // (An inlined function may have its name without its crate's.)
        let file = self.file().unwrap_or(Path::new("")).to_string_lossy();
        let is_std = (file.starts_with("/rustc/") || file.contains("/rustlib/src/rust/"))
            && file.contains("/library/");
        let is_own = file.starts_with(concat!(env!("CARGO_MANIFEST_DIR"), "/src/"));
        is_std
            || is_own
            || is_basic
            || (self.origin == Origin::Library && LIBRARIES.iter().any(is_library))
            || begins(path, crates)
            || begins(function, &BEGINNINGS)
            || FUNCTIONS.contains(&function)
    }

    /// Whether it is below every item: what serves a pool, or `main`.
    fn is_below_items(&self) -> bool {
        let function = self.function().unwrap_or_default();
        let path = function.trim_start_matches(['<', '&', '*']);
        // (`main`, or that of a crate.)
        let is_main = function.split_once("::").map_or(function, |(_, rest)| rest) == "main";
        is_main || path.starts_with("trefoil::process::worker::")
    }

    fn write(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let module = self.module().unwrap_or_default();
        write!(f, "{}+{:#x}", Printable(module), self.offset)?;
        if let Some(function) = self.function() {
            write!(f, " {function}")?;
        }
        SourceLine(self).write(f, " at ")
    }

    fn is_same_place(&self, other: &Self) -> bool {
        (&self.module, self.offset) == (&other.module, other.offset)
            && self.function == other.function
    }
}

/// Its place in the source, if that is known: below the current directory without that.
struct SourceLine<'a>(&'a Frame);

impl SourceLine<'_> {
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
    /// The stack of these places, innermost first; `is_wild_jump`: at the first there is no code.
    /// `None` if there are none.
    pub(crate) fn new(places: Vec<Place>, is_wild_jump: bool) -> Option<Self> {
        if places.is_empty() {
            return None;
        }
        Some(Self(Arc::new(Lookup {
            places: Arc::new(Places::new(places)),
            is_wild_jump,
            without_names: OnceLock::new(),
            with_names: OnceLock::new(),
        })))
    }

    /// Whether somebody should wait for the names.
    pub(crate) fn is_unnamed(&self) -> bool {
        self.0.places.are_unnamed()
    }

    /// Waits for the names, as long as that makes sense. For helper threads.
    pub(crate) fn wait_for_names(&self) {
        self.0.places.wait();
    }

    /// The frames, innermost first: at most 128 places, and where the compiler has put a function
    /// into its caller, a frame for each of the two.
    #[must_use]
    pub fn frames(&self) -> &[Frame] {
        self.0.frames()
    }

    /// Writes where the innermost frame is that belongs to the user's code or to a library's, if
    /// that is known.
    pub(crate) fn write_culprit(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(frame) = self.culprit() else {
            return Ok(());
        };
        if let Some(function) = frame.function() {
            write!(f, " in `{function}`")?;
            return SourceLine(frame).write(f, ", ");
        }
        let module = frame.module().unwrap_or_default();
        write!(f, " in {}+{:#x}", Printable(module), frame.offset)
    }

    /// The innermost frame that is not part of what every program runs on (the C library, the
    /// standard library, this crate): the one that the message of the error names. `None` if no
    /// frame is known to be, or as long as the program's own frames have no names.
    #[must_use]
    pub fn culprit(&self) -> Option<&Frame> {
        let is_passed = |frame: &&Frame| frame.origin == Origin::Jump || frame.is_runtime();
        let mut items = self.frames().iter().take_while(|one| !one.is_below_items());
        let frame = items.find(|frame| !is_passed(frame))?;
        (frame.function.is_some() || frame.origin == Origin::Library).then_some(frame)
    }
}

impl Lookup {
    fn frames(&self) -> &[Frame] {
        match self.places.names() {
            Some(names) => self.with_names.get_or_init(|| self.make_frames(names)),
            None => self.without_names.get_or_init(|| self.make_frames(&[])),
        }
    }

    fn make_frames(&self, known: &[Known]) -> Vec<Frame> {
        let executable = std::env::current_exe().unwrap_or_default();
        let executable: Arc<str> = executable.to_string_lossy().into();
        let mut frames = Vec::new();
        for (at, (module, offset)) in self.places.all.iter().enumerate() {
            let (module, origin) = match module.as_deref() {
                Some("") => (Some(executable.clone()), Origin::Executable),
                Some(name) => (Some(name.into()), Origin::Library),
                None if at == 0 && self.is_wild_jump => (None, Origin::Jump),
                None => (None, Origin::Unknown),
            };
            let known = known.get(at).cloned().unwrap_or_default();
            let frame = Frame {
                module,
                build_id: known.build_id,
                offset: *offset,
                function: None,
                file: None,
                line: None,
                origin,
                is_cpp: false,
            };
            let names = known.names;
            if names.is_empty() {
                frames.push(frame);
                continue;
            }
            frames.extend(names.iter().map(|name| Frame {
                function: name.function.clone(),
                file: name.file.clone(),
                line: name.line,
                is_cpp: name.is_cpp,
                ..frame.clone()
            }));
        }
        frames
    }
}

/// How many frames may be one turn of a recursion, to be shown once.
const LONGEST_TURN: usize = 16;

/// How many of the first frames are one turn of a recursion, and how often that comes in turn.
fn recursion(frames: &[Frame]) -> Option<(usize, usize)> {
    let turns = |length: usize| {
        let (turn, rest) = frames.split_at(length);
        let is_same = |other: &&[Frame]| {
            let mut pairs = turn.iter().zip(*other);
            pairs.all(|(one, other)| one.is_same_place(other))
        };
        1 + rest.chunks_exact(length).take_while(is_same).count()
    };
    let lengths = 1..=LONGEST_TURN.min(frames.len() / 3);
    let mut all = lengths.map(|length| (length, turns(length)));
    all.find(|(_, turns)| *turns >= 3)
}

impl fmt::Display for Backtrace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let frames = self.frames();
        let mut at = 0;
        while at < frames.len() {
            let (length, turns) = recursion(&frames[at..]).unwrap_or((1, 1));
            for (number, frame) in frames.iter().enumerate().skip(at).take(length) {
                let begin = if number > 0 { "\n" } else { "" };
                write!(f, "{begin}{number:4}: ")?;
                frame.write(f)?;
            }
            at += length * turns;
            if turns > 1 {
                let what = if length > 1 {
                    "these frames"
                } else {
                    "this frame"
                };
                write!(f, "\n      {what} {} times more", turns - 1)?;
            }
        }
        if f.alternate() {
            write_builds(frames, f)?;
        }
        Ok(())
    }
}

/// Writes a line for each module whose build is known.
fn write_builds(frames: &[Frame], f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let mut shown: Vec<&str> = Vec::new();
    for frame in frames {
        let (Some(module), Some(id)) = (frame.module(), frame.build_id()) else {
            continue;
        };
        if !shown.contains(&module) {
            shown.push(module);
            write!(f, "\n      {}: build id {id}", Printable(module))?;
            if let Some(id) = debug_id(id) {
                write!(f, ", debug id {id}")?;
            }
        }
    }
    Ok(())
}

/// The name that Breakpad's tools, and services that take minidumps, make of a build id: its first
/// 16 bytes as a GUID, whose first three numbers are in the order of their bytes, and a zero.
fn debug_id(build_id: &str) -> Option<String> {
    let digits = format!("{build_id:0<32}").get(..32)?.to_uppercase();
    let swapped = |range: std::ops::Range<usize>| {
        let bytes = digits.as_bytes()[range].rchunks_exact(2);
        bytes.flatten().copied().map(char::from).collect::<String>()
    };
    let (first, second, third) = (swapped(0..8), swapped(8..12), swapped(12..16));
    Some(format!("{first}{second}{third}{}0", &digits[16..]))
}

impl fmt::Debug for Backtrace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Backtrace(\n{self}\n)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(module: &str, function: &str) -> Frame {
        Frame {
            module: Some(module.into()),
            build_id: None,
            offset: 1,
            function: Some(function.to_owned()),
            file: None,
            line: None,
            is_cpp: false,
            origin: match module {
                "/app" => Origin::Executable,
                _ => Origin::Library,
            },
        }
    }

    /// A backtrace with these frames.
    fn of(frames: Vec<Frame>) -> Backtrace {
        let backtrace = Backtrace::new(vec![(None, 0)], false).unwrap();
        for all in [&backtrace.0.without_names, &backtrace.0.with_names] {
            assert!(all.set(frames.clone()).is_ok());
        }
        backtrace
    }

    #[test]
    fn the_culprit_is_named_or_nobody() {
        let none = |module: &str, origin| {
            let (function, origin) = (None, origin);
            Frame {
                function,
                origin,
                ..frame(module, "")
            }
        };
        let unnamed = none("/app", Origin::Executable);
        let of_library = none("/opt/late.so", Origin::Library);
        let (made, jump) = (none("", Origin::Unknown), none("", Origin::Jump));
        let (libc, caller) = (
            frame("/lib/libc.so.6", "memcpy"),
            frame("/app", "app::decode"),
        );
        let worker = frame(
            "/app",
            "<trefoil::process::worker::batch::Batch>::run::<u8>",
        );
        let main = frame("/app", "app::main");
        for (frames, name) in [
            (vec![&libc, &caller, &worker], Some("app::decode")),
            (vec![&jump, &caller], Some("app::decode")),
            (vec![&of_library, &caller], None),
            (vec![&made, &caller], None),
            (vec![&unnamed, &caller], None),
            (vec![&libc, &worker, &caller], None),
            (vec![&libc, &main], None),
        ] {
            let backtrace = of(frames.into_iter().cloned().collect());
            let culprit = backtrace.culprit();
            assert_eq!(culprit.and_then(Frame::function), name, "{backtrace}");
        }
        let shown = |backtrace: Backtrace| {
            struct Culprit(Backtrace);
            impl fmt::Display for Culprit {
                fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                    self.0.write_culprit(f)
                }
            }
            Culprit(backtrace).to_string()
        };
        assert_eq!(shown(of(vec![of_library, caller])), " in /opt/late.so+0x1");
    }

    #[test]
    fn a_recursion_is_shown_once() {
        let one = frame("/app", "app::one");
        let two = frame("/app", "app::two");
        let mut frames = vec![frame("/app", "app::crash")];
        frames.extend(vec![one.clone(); 100]);
        for _ in 0..10 {
            frames.extend([one.clone(), two.clone()]);
        }
        frames.push(frame("/app", "app::last"));
        let backtrace = of(frames);
        assert_eq!(
            backtrace.to_string(),
            "   0: /app+0x1 app::crash\n   1: /app+0x1 app::one\n      this frame 100 times more\n \
             102: /app+0x1 app::two\n 103: /app+0x1 app::one\n      these frames 8 times more\n \
             120: /app+0x1 app::two\n 121: /app+0x1 app::last"
        );
        assert_eq!(backtrace.frames().len(), 122);
    }

    #[test]
    fn the_builds_of_modules_are_shown_once_each() {
        let of_build = |module: &str, id: &str| Frame {
            build_id: Some(id.into()),
            ..frame(module, "f")
        };
        let id = "0123456789abcdef0123456789abcdef01234567";
        let short = of_build("/opt/lib\u{7}.so", "0a1b");
        let own = of_build("/app", id);
        let backtrace = of(vec![own.clone(), short, own, frame("/none.so", "f")]);
        let (frames, builds) = (format!("{backtrace}"), format!("{backtrace:#}"));
        assert_eq!(
            builds.strip_prefix(&frames),
            Some(
                "\n      /app: build id 0123456789abcdef0123456789abcdef01234567, debug id \
                 67452301AB89EFCD0123456789ABCDEF0\n      /opt/lib\u{fffd}.so: build id 0a1b, debug id \
                 00001B0A0000000000000000000000000"
            )
        );
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
            ("/lib/libc-2.31.so", "memcpy"),
            ("/app", "rust_begin_unwind"),
            ("/app", "void std::sort<int*>(int*, int*)"),
            ("/app", "__rustc::rust_begin_unwind"),
            ("/app", "trefoil::process::worker::raw_call::call"),
        ] {
            let is_cpp = function.ends_with(')');
            let frame = Frame {
                is_cpp,
                ..frame(module, function)
            };
            assert!(frame.is_runtime(), "{module} {function}");
        }
        for (module, function) in [
            ("/app", "app::standard::decode"),
            ("/app", "<app::Row as core::fmt::Debug>::fmt"),
            ("/app", "<u8 as app::Decode>::decode"),
            ("/opt/libcrash.so", "decode_row"),
            ("/opt/libc-parser.so", "decode_row"),
            ("/app", "rust_app::decode_row"),
            ("/app", "rust_decode_row"),
            ("/app", "trefoil_app::decode_row"),
            ("/app", "int core::decode<std::string>(std::string)"),
        ] {
            let is_cpp = function.ends_with(')');
            let frame = Frame {
                is_cpp,
                ..frame(module, function)
            };
            assert!(!frame.is_runtime(), "{module} {function}");
        }
    }

    #[test]
    fn places_without_names_are_shown_as_numbers() {
        assert!(Backtrace::new(Vec::new(), false).is_none());
        let places = vec![(Some("/opt/lib\u{7}.so".to_owned()), 0x1f), (None, 0)];
        let backtrace = Backtrace::new(places, false).unwrap();
        let frames = backtrace.frames();
        assert_eq!((frames[0].offset(), frames[1].module()), (0x1f, None));
        assert_eq!(
            backtrace.to_string(),
            "   0: /opt/lib\u{fffd}.so+0x1f\n   1: +0x0"
        );
    }
}
