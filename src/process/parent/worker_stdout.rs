//! A worker's captured standard output, on its way to the hook.
//!
//! It is a pipe that the driver reads when there is something in it, and empties before it handles
//! a result of the same worker: an item's output is passed on before its task ends. The hook runs
//! on the driver's thread; a panic in it goes no further.
//!
//! Whether it is captured, and where it goes otherwise: [`WorkerStdout`], which `start_child` and
//! `forking` apply.
//!
//! Tests: `tests/process/limits.rs`.

use std::sync::Arc;

use rustix::fd::AsFd;
use rustix::io::Errno;

use crate::sys::pipe_end::{IS_SOCKET, PipeEnd};
use crate::sys::transfer;
use crate::task::panic;

/// Where a worker's standard output goes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum WorkerStdout {
    /// It is the parent's when the worker starts: a task's `println!` appears there.
    #[default]
    Inherit,
    /// It is discarded.
    Null,
    /// It goes to the pool's [hook](crate::ProcessPoolBuilder::on_output).
    Capture,
}

impl WorkerStdout {
    pub(crate) fn is_captured(self) -> bool {
        self == Self::Capture
    }
}

/// The hook, which gets a worker's process id and its output.
pub(crate) type OutputHook = Arc<dyn Fn(u32, &[u8]) + Send + Sync>;

/// Our end of a pipe from a worker, which is read without waiting.
#[derive(Debug)]
pub(crate) struct OutputPipe(Option<Arc<PipeEnd>>);

impl OutputPipe {
    pub(crate) fn new(pipe: Option<PipeEnd>) -> Self {
        Self(pipe.map(Arc::new))
    }

    /// Readable when there is output. `None`: no more will come.
    pub(crate) fn descriptor(&self) -> Option<&Arc<PipeEnd>> {
        self.0.as_ref()
    }

    /// How many bytes can be read.
    pub(crate) fn waiting(&self) -> u64 {
        self.0.as_ref().map_or(0, |pipe| pipe.waiting())
    }

    /// Passes what is available now to `each`, piece by piece. A pipe holds 64 KiB, so a worker
    /// that writes forever does not keep the driver here.
    pub(crate) fn drain(&mut self, mut each: impl FnMut(&[u8])) {
        let mut buffer = [0; 8192];
        for _ in 0..16 {
            match self.read(&mut buffer) {
                0 => return,
                count => each(&buffer[..count]),
            }
        }
    }

    /// Reads available output into the buffer; 0: there is none now.
    pub(crate) fn read(&mut self, buffer: &mut [u8]) -> usize {
        let Some(pipe) = &self.0 else { return 0 };
        loop {
            match transfer::receive(pipe.as_fd(), IS_SOCKET, &mut *buffer) {
                Ok(count) if count > 0 => return count,
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => return 0,
                Ok(_) | Err(_) => {
                    self.0 = None;
                    return 0;
                }
            }
        }
    }
}

/// One worker's standard output, if it is captured.
pub(crate) struct Output {
    pub(crate) pipe: OutputPipe,
    pid: u32,
    hook: Option<OutputHook>,
}

impl Output {
    pub(crate) fn new(pipe: Option<PipeEnd>, pid: u32, hook: Option<OutputHook>) -> Self {
        let pipe = OutputPipe::new(pipe);
        Self { pipe, pid, hook }
    }

    pub(crate) fn is_captured(&self) -> bool {
        self.pipe.descriptor().is_some()
    }

    /// Passes on the output that is available now.
    pub(crate) fn drain(&mut self) {
        self.pipe.drain(|bytes| {
            if let Some(hook) = &self.hook {
                panic::contain(|| hook(self.pid, bytes));
            }
        });
    }
}
