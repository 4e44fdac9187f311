//! `OnceCell`.

use std::fmt;
use std::ops::Deref;

use trefoil::sync;

#[derive(Debug, Eq, PartialEq)]
pub enum SetError<T> {
    AlreadyInitializedError(T),
}

impl<T> SetError<T> {
    pub fn is_already_init_err(&self) -> bool {
        true
    }

    pub fn is_initializing_err(&self) -> bool {
        false
    }
}

impl<T> fmt::Display for SetError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AlreadyInitializedError")
    }
}

impl<T: fmt::Debug> std::error::Error for SetError<T> {}

#[derive(Debug)]
pub struct OnceCell<T>(sync::OnceCell<T>);

impl<T> OnceCell<T> {
    pub const fn new() -> Self {
        Self(sync::OnceCell::new())
    }

    pub const fn const_new() -> Self {
        Self::new()
    }

    pub fn initialized(&self) -> bool {
        self.0.is_initialized()
    }

    pub fn into_inner(self) -> Option<T> {
        self.0.into_inner()
    }

    pub fn set(&self, value: T) -> Result<(), SetError<T>> {
        self.0
            .try_set(value)
            .map_err(SetError::AlreadyInitializedError)
    }
}

impl<T> Default for OnceCell<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T> From<T> for OnceCell<T> {
    fn from(value: T) -> Self {
        let cell = Self::new();
        let _ = cell.0.try_set(value);
        cell
    }
}

impl<T> Deref for OnceCell<T> {
    type Target = sync::OnceCell<T>;

    fn deref(&self) -> &Self::Target {
        &self.0
    }
}
