//! Workers in containers without a network, which see only the program and what you name.
//!
//! `container docker debian`, or `sudo container podman --rootfs /:O` (this machine's own files).

use std::io;
use std::process::{Command, Stdio};

use trefoil::process::launch::{Capabilities, Ending, Launched, Launcher, Program};
use trefoil::{PoolError, ProcessPool, Task};
use trefoil_sandbox::Wrapped;

/// Runs each worker in a container of this engine, with these options, of which the image is last.
#[derive(Debug)]
pub(crate) struct Container(String, Wrapped);

impl Container {
    /// The engine is `docker` or `podman`.
    pub(crate) fn new(engine: String, options: impl IntoIterator<Item = String>) -> Self {
        // (In a session of its own the engine's client is not killed with the worker: it sees the
        // end of the stream, and removes what it may be making just then.)
        let run = "run -i --rm --network=none -v {exe}:{exe}:ro {env}".split(' ');
        let words = ["setsid", "--wait", engine.as_str()]
            .into_iter()
            .chain(run)
            .map(str::to_owned);
        let words = words.chain(options).chain(["{exe}".to_owned()]);
        let wrapped = Wrapped::new(words).env_option("-e");
        Self(engine, wrapped)
    }
}

impl Launcher for Container {
    fn prepare(&mut self, program: &Program) -> Result<Capabilities, PoolError> {
        let mut asks = Command::new(&self.0);
        let asked = asks.arg("version").stdin(Stdio::null()).output();
        if !asked.is_ok_and(|asked| asked.status.success()) {
            let words = format!("`{} version` fails: install and start it", self.0);
            return Err(PoolError::Launcher(words));
        }
        self.1.prepare(program)
    }

    fn start(&self, index: usize) -> Task<io::Result<Launched>> {
        self.1.start(index)
    }

    fn ended(&self, index: usize, ending: &mut Ending) {
        self.1.ended(index, ending);
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    trefoil::init();
    let mut words = std::env::args().skip(1);
    let container = Container::new(words.next().unwrap_or("docker".to_owned()), words);
    let procs = ProcessPool::builder().workers(2).launcher(container);
    println!("{:?}", procs.build()?.map(1..=4, |n: u64| n * n)?);
    Ok(())
}
