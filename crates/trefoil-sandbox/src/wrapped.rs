//! Workers that are started by any command line, and what its exit codes mean.
//!
//! Tests: `tests/sandbox/wrapped.rs`; `tests/process/launcher.rs` of trefoil.

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};
use std::process::Command;

use rustix::fs::Access;
use trefoil::process::launch::{Capabilities, Ending, Launched, Launcher, Program, WorkerStream};
use trefoil::{PoolError, Task};

/// Stands for the program's path in an argument.
const EXE: &[u8] = b"{exe}";
/// An argument that stands for the options which set the variables.
const ENV: &[u8] = b"{env}";

/// A shell reports signal n as the exit code 128 + n, and so do most programs that run others.
const SIGNALS: std::ops::RangeInclusive<i32> = 129..=192;

/// Workers that are started by a command line: in a sandbox, in a container, as another user, with
/// other limits. Its standard input and output must reach the worker.
///
/// The command is looked up when the pool is built, on this process's `PATH`. `{exe}` in an
/// argument is replaced by the path of this program's file; where an argument is `{exe}` alone for
/// the last time, the arguments of this program follow it. The variables of
/// [`env`](trefoil::ProcessPoolBuilder::env) and
/// [`threads_per_worker`](trefoil::ProcessPoolBuilder::threads_per_worker), and the one that makes the
/// program a worker, are set in the environment of the command. If it does not pass its environment
/// on, as container engines and `sudo` do not, say how it sets a variable
/// ([`env_option`](Self::env_option)).
///
/// ```
/// use trefoil::ProcessPool;
/// use trefoil_sandbox::Wrapped;
///
/// # trefoil::init();
/// // (In place of `sh`: `bwrap --unshare-net --ro-bind / / --tmpfs /tmp {exe}`, for example.)
/// let limited = Wrapped::new(["sh", "-c", r#"ulimit -n 50; exec "$@""#, "sh", "{exe}"]);
/// let procs = ProcessPool::builder().workers(2).launcher(limited).build()?;
/// let open = procs.spawn((), |()| {
///     let files: Vec<_> = (0..60).filter_map(|_| std::fs::File::open("/").ok()).collect();
///     files.len()
/// });
/// assert!(open.join()? < 50);
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// ```
///
/// A container must have the program's file, what that links to, and an open standard input. The
/// engine's client gets a session of its own (`setsid --wait`), or the pool could kill it while it
/// makes a container, which would stay:
///
/// ```no_run
/// use trefoil::ProcessPool;
/// use trefoil_sandbox::Wrapped;
///
/// trefoil::init();
/// let run = "setsid --wait docker run -i --rm --network=none {env}".split(' ');
/// let image = ["-v", "{exe}:{exe}:ro", "debian", "{exe}"];
/// let docker = Wrapped::new(run.chain(image)).env_option("-e");
/// let procs = ProcessPool::builder().workers(4).launcher(docker).build()?;
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// ```
///
/// A worker ends when its stream ends. So it ends with the pool, and with this process, however
/// that ends (if a forked child of it lives on, when that ends), unless it has been stopped by a signal or hangs before [`init`](trefoil::init). When
/// the pool kills a worker, it kills the command and its process group, and ends the stream.
///
/// What the command prints on standard error before the worker begins is in the
/// [error](trefoil::WorkerExit::stderr_tail) of a worker that does not begin. It must not print on
/// standard output. An exit code of 128 + n, with n up to 64, counts as signal n. If the command
/// forwards the stream, as the client of a container engine does, all that a worker had when it
/// died and has not answered counts as begun: results may have been lost on the way. It must end
/// when it cannot pass on what it gets; while the worker has items, it gets something every two
/// seconds.
#[derive(Clone, Debug)]
#[must_use = "it does nothing until it is a pool's `launcher`"]
pub struct Wrapped {
    words: Vec<OsString>,
    env_option: Option<OsString>,
    program: Option<Program>,
}

impl Wrapped {
    /// Workers that are started by this command line.
    pub fn new<W: Into<OsString>>(words: impl IntoIterator<Item = W>) -> Self {
        Self::of(words.into_iter().map(Into::into).collect())
    }

    pub(crate) fn of(words: Vec<OsString>) -> Self {
        Self {
            words,
            env_option: None,
            program: None,
        }
    }

    /// The option by which the command sets a variable, as `-e` does for container engines: the
    /// argument `{env}` is replaced by this option and `NAME=VALUE`, for each variable. With an
    /// empty option it is replaced by `NAME=VALUE` alone, as `env` and `sudo` take it.
    ///
    /// Other users of this machine can see the values in its list of processes.
    pub fn env_option(mut self, option: impl Into<OsString>) -> Self {
        self.env_option = Some(option.into());
        self
    }

    /// The variables for a worker. A command that does not pass its environment on gets the limits
    /// that this process has, too.
    pub(crate) fn variables(program: &Program) -> Vec<(OsString, OsString)> {
        let invitation = program.invitation(WorkerStream::Stdio);
        let processors = processors();
        let mut all = Vec::new();
        for (name, threads) in program.thread_limits(processors, program.width(processors)) {
            let value = std::env::var_os(name);
            all.push((name.into(), value.unwrap_or(threads.to_string().into())));
        }
        for (name, value) in program.variables() {
            all.push((name.to_owned(), value.to_owned()));
        }
        all.push((invitation.name().into(), invitation.value().into()));
        all
    }

    /// The command for one worker, with these arguments before all others.
    pub(crate) fn command(&self, first: &[OsString]) -> io::Result<Command> {
        let program = self.program.as_ref();
        let program = program.ok_or_else(|| io::Error::other("it was not prepared"))?;
        let (path, variables) = (program.path()?, Self::variables(program));
        let mut words = Vec::new();
        let last = self.words.iter().rposition(|word| word.as_bytes() == EXE);
        for (at, word) in self.words.iter().enumerate() {
            match &self.env_option {
                Some(option) if word.as_bytes() == ENV => {
                    for (name, value) in &variables {
                        words.extend((!option.is_empty()).then(|| option.clone()));
                        let both = [name.as_bytes(), b"=", value.as_bytes()].concat();
                        words.push(OsString::from_vec(both));
                    }
                }
                _ => words.push(replaced(word, &path)),
            }
            if Some(at) == last {
                words.extend(program.arguments());
            }
        }
        let (name, arguments) = words
            .split_first()
            .ok_or_else(|| io::Error::other("the command line is empty"))?;
        let mut command = Command::new(name);
        command.args(first).args(arguments).envs(variables);
        Ok(command)
    }
}

impl Launcher for Wrapped {
    fn prepare(&mut self, program: &Program) -> Result<Capabilities, PoolError> {
        let refused = |message: String| Err(PoolError::Launcher(message));
        let Some(first) = self.words.first() else {
            return refused("the command line is empty".to_owned());
        };
        let has = |part: &[u8]| self.words.iter().any(|word| holds(word, part));
        if !has(EXE) {
            return refused(
                "no argument of the command line has `{exe}` in it, which stands for the program \
                 that it must start"
                    .to_owned(),
            );
        }
        let is_env = self.words.iter().any(|word| word.as_bytes() == ENV);
        if is_env != self.env_option.is_some() {
            return refused(
                "the argument `{env}` and `env_option` belong together: the one says where the \
                 command takes variables, the other how"
                    .to_owned(),
            );
        }
        if first.as_bytes() != EXE {
            let Some(path) = find(first) else {
                return refused(format!(
                    "`{}` is not installed here, or not on PATH: install it, or name its path",
                    first.display()
                ));
            };
            self.words[0] = path.into();
        }
        program.path()?;
        self.program = Some(program.clone());
        Ok(Capabilities::slots(processors()))
    }

    fn start(&self, _index: usize) -> Task<io::Result<Launched>> {
        Task::ready(self.command(&[]).and_then(Launched::command))
    }

    fn ended(&self, _index: usize, ending: &mut Ending) {
        if let Some(code) = ending.code.filter(|code| SIGNALS.contains(code)) {
            (ending.code, ending.signal) = (None, Some(code - 128));
        }
    }
}

/// How many processors this process may use.
fn processors() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// Whether `part` is in `word`.
fn holds(word: &OsStr, part: &[u8]) -> bool {
    word.as_bytes().windows(part.len()).any(|some| some == part)
}

/// `word` with `path` in place of each `{exe}`.
fn replaced(word: &OsStr, path: &Path) -> OsString {
    let (mut out, mut rest) = (Vec::new(), word.as_bytes());
    while let Some(at) = rest.windows(EXE.len()).position(|some| some == EXE) {
        out.extend_from_slice(&rest[..at]);
        out.extend_from_slice(path.as_os_str().as_bytes());
        rest = &rest[at + EXE.len()..];
    }
    out.extend_from_slice(rest);
    OsString::from_vec(out)
}

/// The file that this process executes under this name, with its whole path: workers may have
/// another `PATH`, and this process another working directory later.
pub(crate) fn find(program: &OsStr) -> Option<PathBuf> {
    let may_execute =
        |path: &PathBuf| path.is_file() && rustix::fs::access(path, Access::EXEC_OK).is_ok();
    let found = if program.as_bytes().contains(&b'/') {
        Some(program.into()).filter(may_execute)
    } else {
        let path = std::env::var_os("PATH").unwrap_or_default();
        let mut files = std::env::split_paths(&path).map(|folder| folder.join(program));
        files.find(may_execute)
    };
    std::path::absolute(found?).ok()
}
