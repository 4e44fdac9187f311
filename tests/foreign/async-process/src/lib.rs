//! Names of async-process over trefoil's `Command`.

use std::ffi::OsStr;
use std::future::{Future, pending};
use std::io::Result;
use std::path::Path;
pub use std::process::{ExitStatus, Output, Stdio};

use trefoil::io as ours;
use trefoil::io::{ChildStderr, ChildStdin};

/// Nobody has to drive anything here.
pub async fn driver() {
    pending::<()>().await;
}

#[derive(Debug)]
pub struct Command(ours::Command);

impl Command {
    pub fn new(program: impl AsRef<OsStr>) -> Self {
        Self(ours::Command::new(program))
    }

    pub fn arg(&mut self, arg: impl AsRef<OsStr>) -> &mut Self {
        self.0.arg(arg);
        self
    }

    pub fn args<S: AsRef<OsStr>>(&mut self, args: impl IntoIterator<Item = S>) -> &mut Self {
        self.0.args(args);
        self
    }

    pub fn env(&mut self, key: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> &mut Self {
        self.0.env(key, value);
        self
    }

    pub fn env_clear(&mut self) -> &mut Self {
        self.0.env_clear();
        self
    }

    pub fn current_dir(&mut self, folder: impl AsRef<Path>) -> &mut Self {
        self.0.current_dir(folder);
        self
    }

    pub fn stdin(&mut self, stdio: impl Into<Stdio>) -> &mut Self {
        self.0.stdin(stdio);
        self
    }

    pub fn stdout(&mut self, stdio: impl Into<Stdio>) -> &mut Self {
        self.0.stdout(stdio);
        self
    }

    pub fn stderr(&mut self, stdio: impl Into<Stdio>) -> &mut Self {
        self.0.stderr(stdio);
        self
    }

    pub fn kill_on_drop(&mut self, kill: bool) -> &mut Self {
        self.0.kill_on_drop(kill);
        self
    }

    pub fn spawn(&mut self) -> Result<Child> {
        let mut child = self.0.spawn()?;
        Ok(Child {
            stdin: child.stdin.take(),
            stdout: child.stdout.take().map(ChildStdout),
            stderr: child.stderr.take(),
            child,
        })
    }

    pub fn status(&mut self) -> impl Future<Output = Result<ExitStatus>> + use<> {
        self.0.status()
    }

    pub fn output(&mut self) -> impl Future<Output = Result<Output>> + use<> {
        self.0.output()
    }
}

#[derive(Debug)]
pub struct Child {
    pub stdin: Option<ChildStdin>,
    pub stdout: Option<ChildStdout>,
    pub stderr: Option<ChildStderr>,
    child: ours::Child,
}

impl Child {
    pub fn kill(&mut self) -> Result<()> {
        self.child.kill()
    }

    pub async fn status(&mut self) -> Result<ExitStatus> {
        self.child.wait().await
    }

    pub async fn output(mut self) -> Result<Output> {
        self.child.stdin = self.stdin;
        self.child.stdout = self.stdout.map(|stdout| stdout.0);
        self.child.stderr = self.stderr;
        self.child.wait_with_output().await
    }
}

#[derive(Debug)]
pub struct ChildStdout(ours::ChildStdout);

impl ChildStdout {
    pub async fn into_stdio(self) -> Result<Stdio> {
        self.0.into_stdio()
    }
}

impl std::ops::Deref for ChildStdout {
    type Target = ours::ChildStdout;

    fn deref(&self) -> &ours::ChildStdout {
        &self.0
    }
}
