//! An executor from its name.
//!
//! Tests: `crates/trefoil-machines/tests/executor.rs`.

use std::io;

use trefoil::AnyExecutor;
#[cfg(feature = "ssh")]
use trefoil::ProcessPool;

/// The executor with this name: any that [`AnyExecutor`] parses, and, with the feature `ssh`, a
/// process pool on hosts that are named as [`Ssh::hosts`](crate::Ssh::hosts) takes them, with
/// commas between them (`"ssh:node1,node2:8"`).
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
/// what the pool's builder says.
pub fn executor(name: &str) -> io::Result<AnyExecutor> {
    match name.split_once(':') {
        #[cfg(feature = "ssh")]
        Some(("ssh", hosts)) => {
            let ssh = crate::Ssh::hosts(hosts.split(','));
            let pool = ProcessPool::builder().launcher(ssh).build()?;
            Ok(AnyExecutor::Processes(pool))
        }
        _ => name.parse().map_err(|error: io::Error| match error.kind() {
            io::ErrorKind::InvalidInput => {
                let words = format!("{error}, or `ssh:HOST,HOST:N` (feature `ssh`)");
                io::Error::new(error.kind(), words)
            }
            _ => error,
        }),
    }
}
