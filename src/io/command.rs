//! How a child process is started, and which standard streams it has.
//!
//! It is `std`'s `Command` with children that the loop can wait for. `std` also starts the process,
//! with a system call that returns when the new program runs (about half a millisecond), or an
//! error; so `spawn` is not `async`.
//!
//! Rejected: starting it on another thread, which costs more than it saves, and makes the order of
//! starts random.
//!
//! Tests: `tests/io/child_processes.rs::{it_says_something_and_ends_with_a_code,
//! two_are_connected}`, `tests/io/children.rs::no_descriptor_left_for_a_child`.

use std::ffi::OsStr;
use std::io;
use std::path::Path;
use std::process::{Command as Inner, ExitStatus, Output, Stdio};

use super::child::Child;

/// Settings for starting a child process; `std`'s `Command` for the loop.
///
/// ```
/// use trefoil::io::Command;
///
/// trefoil::run(async {
///     let output = Command::new("echo").arg("hello").output().await?;
///     assert!(output.status.success());
///     assert_eq!(output.stdout, b"hello\n");
///     Ok::<_, std::io::Error>(())
/// })?;
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Debug)]
pub struct Command {
    inner: Inner,
    kill_on_drop: bool,
    /// Which of the standard streams were set.
    streams: [bool; 3],
}

impl Command {
    /// A command that will run `program`, which is found as `std` finds it. It has no arguments,
    /// and this process's environment, directory and standard streams.
    ///
    /// ```
    /// let command = trefoil::io::Command::new("ls");
    /// assert_eq!(command.as_std().get_program(), "ls");
    /// ```
    pub fn new<S: AsRef<OsStr>>(program: S) -> Self {
        Inner::new(program).into()
    }

    /// Adds an argument.
    ///
    /// ```
    /// # trefoil::run(async {
    /// let output = trefoil::io::Command::new("echo").arg("a b").output().await?;
    /// assert_eq!(output.stdout, b"a b\n");
    /// # Ok::<_, std::io::Error>(()) })?;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn arg<S: AsRef<OsStr>>(&mut self, arg: S) -> &mut Self {
        self.inner.arg(arg);
        self
    }

    /// Adds arguments.
    ///
    /// ```
    /// # trefoil::run(async {
    /// let output = trefoil::io::Command::new("echo").args(["a", "b"]).output().await?;
    /// assert_eq!(output.stdout, b"a b\n");
    /// # Ok::<_, std::io::Error>(()) })?;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn args<I, S>(&mut self, args: I) -> &mut Self
    where
        I: IntoIterator<Item = S>,
        S: AsRef<OsStr>,
    {
        self.inner.args(args);
        self
    }

    /// Sets a variable of its environment.
    ///
    /// ```
    /// # trefoil::run(async {
    /// let mut command = trefoil::io::Command::new("sh");
    /// let output = command.args(["-c", "echo $COLOUR"]).env("COLOUR", "green").output().await?;
    /// assert_eq!(output.stdout, b"green\n");
    /// # Ok::<_, std::io::Error>(()) })?;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn env<K: AsRef<OsStr>, V: AsRef<OsStr>>(&mut self, key: K, value: V) -> &mut Self {
        self.inner.env(key, value);
        self
    }

    /// Sets variables of its environment.
    ///
    /// ```
    /// let mut command = trefoil::io::Command::new("env");
    /// command.env_clear().envs([("A", "1"), ("B", "2")]);
    /// assert_eq!(command.as_std().get_envs().count(), 2);
    /// ```
    pub fn envs<I, K, V>(&mut self, vars: I) -> &mut Self
    where
        I: IntoIterator<Item = (K, V)>,
        K: AsRef<OsStr>,
        V: AsRef<OsStr>,
    {
        self.inner.envs(vars);
        self
    }

    /// Removes a variable from its environment.
    ///
    /// ```
    /// # trefoil::run(async {
    /// let mut command = trefoil::io::Command::new("sh");
    /// command.args(["-c", "echo ${HOME-none}"]).env_remove("HOME");
    /// assert_eq!(command.output().await?.stdout, b"none\n");
    /// # Ok::<_, std::io::Error>(()) })?;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn env_remove<K: AsRef<OsStr>>(&mut self, key: K) -> &mut Self {
        self.inner.env_remove(key);
        self
    }

    /// Starts with an empty environment instead of this process's.
    ///
    /// ```
    /// # trefoil::run(async {
    /// let output = trefoil::io::Command::new("/usr/bin/env").env_clear().output().await?;
    /// assert!(output.stdout.is_empty());
    /// # Ok::<_, std::io::Error>(()) })?;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn env_clear(&mut self) -> &mut Self {
        self.inner.env_clear();
        self
    }

    /// Sets the directory in which it runs.
    ///
    /// ```
    /// # trefoil::run(async {
    /// let output = trefoil::io::Command::new("pwd").current_dir("/").output().await?;
    /// assert_eq!(output.stdout, b"/\n");
    /// # Ok::<_, std::io::Error>(()) })?;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn current_dir<P: AsRef<Path>>(&mut self, dir: P) -> &mut Self {
        self.inner.current_dir(dir);
        self
    }

    /// Sets its standard input: `Stdio::piped()` for [`Child::stdin`], the null device, a file, or
    /// this process's (the default of [`spawn`](Self::spawn)).
    ///
    /// ```
    /// use std::process::Stdio;
    ///
    /// # trefoil::run(async {
    /// let output = trefoil::io::Command::new("cat").stdin(Stdio::null()).output().await?;
    /// assert!(output.stdout.is_empty());
    /// # Ok::<_, std::io::Error>(()) })?;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn stdin<T: Into<Stdio>>(&mut self, config: T) -> &mut Self {
        self.inner.stdin(config);
        self.streams[0] = true;
        self
    }

    /// Sets its standard output: `Stdio::piped()` for [`Child::stdout`], the null device, a file,
    /// or this process's.
    ///
    /// ```
    /// use std::process::Stdio;
    ///
    /// # trefoil::run(async {
    /// let status = trefoil::io::Command::new("echo").stdout(Stdio::null()).status().await?;
    /// assert!(status.success());
    /// # Ok::<_, std::io::Error>(()) })?;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn stdout<T: Into<Stdio>>(&mut self, config: T) -> &mut Self {
        self.inner.stdout(config);
        self.streams[1] = true;
        self
    }

    /// Sets its standard error: `Stdio::piped()` for [`Child::stderr`], the null device, a file, or
    /// this process's.
    ///
    /// ```
    /// use std::process::Stdio;
    ///
    /// # trefoil::run(async {
    /// let mut command = trefoil::io::Command::new("ls");
    /// let status = command.arg("/there/is/nothing").stderr(Stdio::null()).status().await?;
    /// assert!(!status.success());
    /// # Ok::<_, std::io::Error>(()) })?;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn stderr<T: Into<Stdio>>(&mut self, config: T) -> &mut Self {
        self.inner.stderr(config);
        self.streams[2] = true;
        self
    }

    /// Sets whether dropping its [`Child`] kills it, for example at the end of the loop. Default:
    /// no, it continues.
    ///
    /// ```
    /// use trefoil::io::Command;
    ///
    /// let child = Command::new("sleep").arg("60").kill_on_drop(true).spawn()?;
    /// drop(child); // killed, and no zombie stays
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn kill_on_drop(&mut self, kill_on_drop: bool) -> &mut Self {
        self.kill_on_drop = kill_on_drop;
        self
    }

    /// Starts it. Needs no loop yet.
    ///
    /// # Errors
    ///
    /// Errors of the system; most often `NotFound`: there is no such program.
    ///
    /// ```
    /// use std::io::ErrorKind;
    /// use trefoil::io::Command;
    ///
    /// let child = Command::new("true").spawn()?;
    /// let error = Command::new("there is no such program").spawn().unwrap_err();
    /// assert_eq!(error.kind(), ErrorKind::NotFound);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn spawn(&mut self) -> io::Result<Child> {
        Child::new(self.inner.spawn()?, self.kill_on_drop)
    }

    /// Starts it, and waits until it has ended.
    ///
    /// This call starts it, not the first poll, so the future does not borrow the command:
    /// `spawn(Command::new("make").status())` is valid.
    ///
    /// # Errors
    ///
    /// Those of [`spawn`](Self::spawn) and [`Child::wait`].
    ///
    /// # Cancel safety
    ///
    /// Dropping the future drops the child: see [`kill_on_drop`](Self::kill_on_drop).
    ///
    /// ```
    /// # trefoil::run(async {
    /// let status = trefoil::io::Command::new("false").status().await?;
    /// assert_eq!(status.code(), Some(1));
    /// # Ok::<_, std::io::Error>(()) })?;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn status(&mut self) -> impl Future<Output = io::Result<ExitStatus>> + Send + use<> {
        let child = self.spawn();
        async move { child?.wait().await }
    }

    /// Starts it, and waits for its end and its output, unless [`stdout`](Self::stdout) and
    /// [`stderr`](Self::stderr) are set. Its input is empty, unless [`stdin`](Self::stdin) is set.
    /// (Settings that were made on the underlying `std` command are not known here.)
    ///
    /// This call starts it, not the first poll, so the future does not borrow the command.
    ///
    /// # Errors
    ///
    /// Those of [`spawn`](Self::spawn) and [`Child::wait_with_output`].
    ///
    /// # Cancel safety
    ///
    /// Dropping the future drops the child: see [`kill_on_drop`](Self::kill_on_drop).
    ///
    /// ```
    /// # trefoil::run(async {
    /// let mut command = trefoil::io::Command::new("sh");
    /// let output = command.args(["-c", "echo out; echo err >&2; exit 2"]).output().await?;
    /// assert_eq!((&output.stdout[..], &output.stderr[..]), (&b"out\n"[..], &b"err\n"[..]));
    /// assert_eq!(output.status.code(), Some(2));
    /// # Ok::<_, std::io::Error>(()) })?;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn output(&mut self) -> impl Future<Output = io::Result<Output>> + Send + use<> {
        self.set_others(Stdio::null, Stdio::piped);
        let child = self.spawn();
        self.set_others(Stdio::inherit, Stdio::inherit);
        async move { child?.wait_with_output().await }
    }

    /// Sets the standard streams that the user has not set.
    fn set_others(&mut self, input: fn() -> Stdio, output: fn() -> Stdio) {
        let [stdin, stdout, stderr] = self.streams;
        if !stdin {
            self.inner.stdin(input());
        }
        if !stdout {
            self.inner.stdout(output());
        }
        if !stderr {
            self.inner.stderr(output());
        }
    }

    /// The `std` command underneath.
    ///
    /// ```
    /// let mut command = trefoil::io::Command::new("ls");
    /// command.arg("-l");
    /// assert_eq!(command.as_std().get_args().count(), 1);
    /// ```
    #[must_use]
    pub fn as_std(&self) -> &Inner {
        &self.inner
    }

    /// The underlying `std` command, for settings that only `std` has.
    ///
    /// ```
    /// use std::os::unix::process::CommandExt;
    ///
    /// let mut command = trefoil::io::Command::new("sh");
    /// command.as_std_mut().arg0("another name");
    /// ```
    pub fn as_std_mut(&mut self) -> &mut Inner {
        &mut self.inner
    }
}

#[cfg(unix)]
impl Command {
    /// Sets the process group that it joins; 0: a new one, so that a terminal's Ctrl-C reaches only
    /// this process.
    ///
    /// ```
    /// # trefoil::run(async {
    /// let status = trefoil::io::Command::new("true").process_group(0).status().await?;
    /// assert!(status.success());
    /// # Ok::<_, std::io::Error>(()) })?;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn process_group(&mut self, group: i32) -> &mut Self {
        use std::os::unix::process::CommandExt as _;
        self.inner.process_group(group);
        self
    }

    /// Sets the child's name for itself, its argument 0, which is otherwise the program's path as
    /// it was given. A shell called `-sh` is a login shell, say.
    ///
    /// ```
    /// # trefoil::run(async {
    /// use trefoil::io::Command;
    ///
    /// let output = Command::new("sh").arg0("other").args(["-c", "echo $0"]).output().await?;
    /// assert_eq!(output.stdout, b"other\n");
    /// # Ok::<_, std::io::Error>(()) })?;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn arg0<S: AsRef<OsStr>>(&mut self, arg: S) -> &mut Self {
        use std::os::unix::process::CommandExt as _;
        self.inner.arg0(arg);
        self
    }
}

impl From<Inner> for Command {
    fn from(inner: Inner) -> Self {
        Self {
            inner,
            kill_on_drop: false,
            streams: [false; 3],
        }
    }
}
