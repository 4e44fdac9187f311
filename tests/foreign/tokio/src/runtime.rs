//! `Runtime`: one event loop, on the thread that makes it, even where several threads are asked
//! for.

use std::future::Future;
use std::io;
use std::time::Duration;

use trefoil::event_loop::EnteredHandle;
use trefoil::{EventLoop, LoopHandle};

use crate::task::JoinHandle;

pub struct Builder {
    paused: bool,
}

impl Builder {
    pub fn new_current_thread() -> Self {
        Self { paused: false }
    }

    pub fn new_multi_thread() -> Self {
        Self::new_current_thread()
    }

    pub fn enable_all(&mut self) -> &mut Self {
        self
    }

    pub fn enable_io(&mut self) -> &mut Self {
        self
    }

    pub fn enable_time(&mut self) -> &mut Self {
        self
    }

    pub fn worker_threads(&mut self, _: usize) -> &mut Self {
        self
    }

    pub fn start_paused(&mut self, paused: bool) -> &mut Self {
        self.paused = paused;
        self
    }

    pub fn build(&mut self) -> io::Result<Runtime> {
        let builder = EventLoop::builder();
        let builder = if self.paused {
            builder.virtual_time()
        } else {
            builder
        };
        let event_loop = builder.build()?;
        Ok(Runtime {
            handle: Handle(event_loop.handle()),
            event_loop,
        })
    }

    pub fn build_local(&mut self, _: LocalOptions) -> io::Result<LocalRuntime> {
        self.build()
    }
}

/// A loop's futures need not be `Send` anyway.
pub type LocalRuntime = Runtime;

#[derive(Debug, Default)]
pub struct LocalOptions;

pub struct Runtime {
    handle: Handle,
    event_loop: EventLoop,
}

impl Runtime {
    pub fn new() -> io::Result<Self> {
        Builder::new_multi_thread().build()
    }

    pub fn block_on<F: Future>(&self, future: F) -> F::Output {
        self.event_loop.block_on(future)
    }

    pub fn spawn<F>(&self, future: F) -> JoinHandle<F::Output>
    where
        F: Future<Output: Send + 'static> + Send + 'static,
    {
        self.handle.spawn(future)
    }

    pub fn spawn_local<F>(&self, future: F) -> JoinHandle<F::Output>
    where
        F: Future<Output: 'static> + 'static,
    {
        JoinHandle::from(self.event_loop.spawn(future))
    }

    pub fn spawn_blocking<T, F>(&self, f: F) -> JoinHandle<T>
    where
        F: FnOnce() -> T + Send + 'static,
        T: Send + 'static,
    {
        crate::task::spawn_blocking(f)
    }

    pub fn handle(&self) -> &Handle {
        &self.handle
    }

    pub fn enter(&self) -> EnteredHandle<'_> {
        self.handle.enter()
    }

    pub fn shutdown_background(self) {}

    pub fn shutdown_timeout(self, _: Duration) {}
}

#[derive(Debug)]
pub struct TryCurrentError;

#[derive(Clone, Debug)]
pub struct Handle(pub(crate) LoopHandle);

impl Handle {
    pub fn current() -> Self {
        Self(LoopHandle::current())
    }

    pub fn try_current() -> Result<Self, TryCurrentError> {
        LoopHandle::try_current().map(Self).ok_or(TryCurrentError)
    }

    pub fn enter(&self) -> EnteredHandle<'_> {
        self.0.enter()
    }

    pub fn block_on<F>(&self, future: F) -> F::Output
    where
        F: Future<Output: Send + 'static> + Send + 'static,
    {
        self.0.block_on(future)
    }

    pub fn spawn<F>(&self, future: F) -> JoinHandle<F::Output>
    where
        F: Future<Output: Send + 'static> + Send + 'static,
    {
        JoinHandle::from(self.0.spawn(future))
    }
}
