//! Workers on other machines.
//!
//! An [`Engine`] starts a pool's workers there, if the pool is built
//! [`on`](crate::ProcessPoolBuilder::on) one. The program stays the same.

mod dask;
mod dask_control;

use std::fmt;

use super::PoolError;
use super::host::image::image;
use super::launch::Launcher;
use super::parent::settings::Settings;

/// The items that are public at the crate's root.
pub(crate) mod root {
    pub use super::dask::Dask;
}
#[doc(hidden)]
pub use root::*;

#[cfg(test)]
pub(crate) use dask::GATEWAY;

/// Starts a pool's workers on other machines: see
/// [`ProcessPoolBuilder::on`](crate::ProcessPoolBuilder::on).
///
/// Only this crate implements it.
pub trait Engine: fmt::Debug {
    /// For the builder. No other crate can implement it, since its result has no public name.
    #[doc(hidden)]
    fn connector(self) -> sealed::Connector;
}

/// An engine's settings, before a pool is built on it.
pub(crate) trait Connect: fmt::Debug + Send + Sync {
    /// Finds out whether workers can be started, and prepares everything for that. It may take
    /// long; after an error it leaves nothing behind.
    fn connect(&self, settings: &mut Settings) -> Result<Box<dyn Launcher>, PoolError>;
}

/// Checks that this executable can be known where it is copied.
fn check_build() -> Result<(), PoolError> {
    let words = "this executable has no build id, by which its copies elsewhere are known: link it \
        with `-C link-arg=-Wl,--build-id` in RUSTFLAGS";
    let known = image().is_named_by_content();
    known
        .then_some(())
        .ok_or_else(|| PoolError::Launcher(words.to_owned()))
}

pub(crate) mod sealed {
    use std::sync::Arc;

    use super::Connect;

    /// An engine's settings, for the builder.
    #[derive(Debug)]
    pub struct Connector(pub(crate) Arc<dyn Connect>);
}
