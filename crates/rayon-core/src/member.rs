//! How a pool's threads come to be, as far as a program can have a say.
//!
//! trefoil's pools start their threads themselves, and one more where one of them waits. So a
//! program cannot bring the threads: a builder with a
//! [`spawn_handler`](crate::ThreadPoolBuilder::spawn_handler) makes no pool, and says so.

use std::convert::Infallible;
use std::{fmt, io};

/// A thread that a program's `spawn_handler` is to start. There is none: trefoil's pools start
/// their threads themselves.
pub struct ThreadBuilder(Infallible);

impl ThreadBuilder {
    /// The index of the thread in its pool.
    pub fn index(&self) -> usize {
        match self.0 {}
    }

    /// Its name, if it has one.
    pub fn name(&self) -> Option<&str> {
        match self.0 {}
    }

    /// The size of its stack in bytes, if that has been chosen.
    pub fn stack_size(&self) -> Option<usize> {
        match self.0 {}
    }

    /// Works for the pool until that ends.
    pub fn run(self) {
        match self.0 {}
    }
}

impl fmt::Debug for ThreadBuilder {
    fn fmt(&self, _: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {}
    }
}

/// How the threads of a pool are started.
pub trait ThreadSpawn {
    /// An error if trefoil cannot do it.
    #[doc(hidden)]
    fn check(&self) -> io::Result<()>;
}

/// As trefoil starts them.
#[derive(Debug, Default)]
pub struct DefaultSpawn;

impl ThreadSpawn for DefaultSpawn {
    fn check(&self) -> io::Result<()> {
        Ok(())
    }
}

/// By a closure of the program's.
#[derive(Debug)]
pub struct CustomSpawn<F>(pub(crate) F);

impl<F> ThreadSpawn for CustomSpawn<F> {
    fn check(&self) -> io::Result<()> {
        Err(io::Error::new(
            io::ErrorKind::Unsupported,
            "trefoil's pools start their threads themselves: leave out spawn_handler and build_scoped, call build, and do in start_handler what each thread needs",
        ))
    }
}
