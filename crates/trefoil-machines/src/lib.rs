//! Workers of [trefoil](https://docs.rs/trefoil)'s process pools on other machines.
//!
#![doc = include_str!("../README.md")]
//!
//! # Names
//!
//! [`executor`] makes an executor from a name, such as `"threads:4"` or `"ssh:node1,node2:8"`: so a
//! configuration file can say where a program runs.
#![forbid(unsafe_code)]

#[cfg(not(unix))]
compile_error!("workers on other machines are started from Unix only");

#[cfg(any(feature = "dask", feature = "slurm", feature = "ssh"))]
mod common;
#[cfg(feature = "dask")]
mod dask;
mod executor;
#[cfg(feature = "slurm")]
mod slurm;
#[cfg(feature = "ssh")]
mod ssh;

#[cfg(all(doctest, feature = "ssh"))]
#[doc = include_str!("../../../docs/REMOTE_WORKERS.md")]
mod guide {}

#[cfg(feature = "dask")]
pub use dask::Dask;
pub use executor::executor;
#[cfg(feature = "slurm")]
pub use slurm::Slurm;
#[cfg(feature = "ssh")]
pub use ssh::Ssh;
