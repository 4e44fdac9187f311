//! The error that a task's own code returned.

use std::error::Error;
use std::fmt;
use std::panic::{RefUnwindSafe, UnwindSafe};

use super::trampoline;
use crate::loom::Arc;
use crate::sys::stack;

/// The error that a task's own code returned: in [`TaskError::Failed`](crate::TaskError::Failed).
///
/// It is shared, so cloning it is cheap.
///
/// ```
/// use std::num::ParseIntError;
/// use trefoil::{TaskError, ThreadPool};
///
/// let pool = ThreadPool::with_threads(1);
/// let number = pool.spawn(|| "seven".parse::<i32>()).flatten();
/// let Err(TaskError::Failed(failure)) = number.join() else { panic!("it parses") };
/// assert!(failure.downcast_ref::<ParseIntError>().is_some());
/// ```
#[derive(Clone)]
pub struct Failure(Arc<Box<dyn Inside>>);

/// What a [`Failure`] has. (A trait, so that a program in which no such error is made is linked
/// without the way to drop it.)
trait Inside: Send + Sync {
    fn error(&self) -> &(dyn Error + Send + Sync + 'static);
}

/// `None`: it is being dropped.
struct Kept(Option<Box<dyn Error + Send + Sync>>);

impl Inside for Kept {
    fn error(&self) -> &(dyn Error + Send + Sync + 'static) {
        self.0.as_deref().expect("it exists")
    }
}

impl Drop for Kept {
    /// The error may have another task's in it, and so on to any depth: what does not fit on this
    /// stack is dropped on another one.
    fn drop(&mut self) {
        let error = self.0.take();
        if !stack::is_half_left() {
            trampoline::run(Box::new(move || drop(error)));
        }
    }
}

impl Failure {
    pub(super) fn new(error: Box<dyn Error + Send + Sync>) -> Self {
        Self(Arc::new(Box::new(Kept(Some(error)))))
    }

    /// The error, if it is an `E`.
    #[must_use]
    pub fn downcast_ref<E: Error + 'static>(&self) -> Option<&E> {
        self.get_ref().downcast_ref()
    }

    /// The error.
    #[must_use]
    pub fn get_ref(&self) -> &(dyn Error + Send + Sync + 'static) {
        self.0.error()
    }
}

// The error is only read.
impl UnwindSafe for Failure {}
impl RefUnwindSafe for Failure {}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self.get_ref(), f)
    }
}

impl fmt::Debug for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.get_ref(), f)
    }
}

impl Error for Failure {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.get_ref().source()
    }
}
