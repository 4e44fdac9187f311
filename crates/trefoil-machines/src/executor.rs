//! An executor from its name.
//!
//! Tests: `crates/trefoil-machines/tests/executor.rs`.

use std::io;
#[cfg(feature = "slurm")]
use std::num::NonZeroUsize;

use trefoil::AnyExecutor;
#[cfg(any(feature = "dask", feature = "slurm", feature = "ssh"))]
use trefoil::ProcessPool;

/// The executor with this name: any that [`AnyExecutor`] parses, or a process pool on other
/// machines:
/// - `"ssh:node1,node2:8"` with the feature `ssh`: on these hosts, as `Ssh::hosts` takes them;
/// - `"slurm:8"` with the feature `slurm`: up to eight workers on a Slurm cluster
///   (`Slurm::sbatch().nodes(1..=8)`);
/// - `"dask:tls://scheduler:8786"` with the feature `dask`: on the Dask cluster of that scheduler
///   (`Dask::connect`).
///
/// ```
/// use trefoil::Executor;
///
/// let executor = trefoil_machines::executor("threads:2")?;
/// assert_eq!(executor.submit(20u64, |n: u64| n + 1).join()?, 21);
/// assert!(trefoil_machines::executor("fibres").is_err());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
/// [`InvalidInput`](io::ErrorKind::InvalidInput) if the text has none of the accepted forms, else
/// the error of the pool's builder.
pub fn executor(name: &str) -> io::Result<AnyExecutor> {
    match name.split_once(':') {
        #[cfg(feature = "ssh")]
        Some(("ssh", hosts)) => {
            let ssh = crate::Ssh::hosts(hosts.split(','));
            let pool = ProcessPool::builder().launcher(ssh).build()?;
            Ok(AnyExecutor::Processes(pool))
        }
        #[cfg(feature = "slurm")]
        Some(("slurm", most)) => {
            let most = most.parse::<NonZeroUsize>().map_err(|_| {
                let message = format!(
                    "`{name}` is not the name of an executor: use `slurm:N`, with N from 1"
                );
                io::Error::new(io::ErrorKind::InvalidInput, message)
            })?;
            let slurm = crate::Slurm::sbatch().nodes(1..=most.get());
            let pool = ProcessPool::builder().launcher(slurm).build()?;
            Ok(AnyExecutor::Processes(pool))
        }
        #[cfg(feature = "dask")]
        Some(("dask", address)) => {
            let dask = crate::Dask::connect(address);
            let pool = ProcessPool::builder().launcher(dask).build()?;
            Ok(AnyExecutor::Processes(pool))
        }
        _ => name.parse(),
    }
}
