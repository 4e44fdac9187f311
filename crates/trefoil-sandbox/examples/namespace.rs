//! Workers that are the first process of a pid namespace and have no network: what they start ends
//! with them. It needs `unshare` (util-linux), and a kernel that lets this user make namespaces.

use std::io;
use std::process::{Command, Stdio};

use trefoil::process::launch::{Capabilities, Launched, Launcher, Program, WorkerStream};
use trefoil::{PoolError, ProcessPool, Task};

const UNSHARE: &str = "--map-root-user --net --pid --fork --kill-child --mount-proc";

/// Runs each worker in namespaces of its own.
#[derive(Debug, Default)]
pub(crate) struct Namespace(Option<Program>);

impl Launcher for Namespace {
    fn prepare(&mut self, program: &Program) -> Result<Capabilities, PoolError> {
        let tried = unshare().arg("true").stdin(Stdio::null()).output()?;
        if !tried.status.success() {
            let words = String::from_utf8_lossy(&tried.stderr);
            let words = format!("no namespaces can be made here: {words}");
            return Err(PoolError::Launcher(words));
        }
        self.0 = Some(program.clone());
        Ok(Capabilities::slots(2))
    }

    fn start(&self, _index: usize) -> Task<io::Result<Launched>> {
        Task::ready(self.command().and_then(Launched::command))
    }
}

impl Namespace {
    fn command(&self) -> io::Result<Command> {
        let program = self.0.as_ref().expect("a pool prepares it first");
        let invitation = program.invitation(WorkerStream::Stdio);
        let (mut command, variables) = (unshare(), program.variables());
        command.arg(program.path()?).args(program.arguments());
        command.envs(variables);
        command.env(invitation.name(), invitation.value());
        Ok(command)
    }
}

fn unshare() -> Command {
    let mut command = Command::new("unshare");
    command.args(UNSHARE.split(' '));
    command
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    trefoil::init();
    let launcher = Namespace::default();
    let procs = ProcessPool::builder().launcher(launcher).build()?;
    let number = procs.spawn((), |()| std::process::id()).join()?;
    println!("process {number} of its namespace");
    Ok(())
}
