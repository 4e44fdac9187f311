//! Which settings of a pool `build` refuses, alone or together, and in which words.
//!
//! | refused | error |
//! |---|---|
//! | no worker, or more than [`MOST_WORKERS`] | `checked` |
//! | a least number above the most | `check_bounds`; of a launcher's own, `check_elastic` |
//! | a fork server with a launcher, with plain workers, on other systems | `check_fork_server` |
//! | with a launcher: captured output, `env_for`, `pin_to`, a bad variable | `check_launched` |
//!
//! Elsewhere, with what they need: a program that does not call `init`, `entry::depth`; an
//! initializer whose argument cannot be encoded, or not for plain workers,
//! `Settings::add_initializer`; a memory limit where nothing can be measured, `Meter::new`; what a
//! launcher refuses, its `prepare`. Impossible variables and processors of workers that this
//! process starts: `parent/start_child.rs`.
//!
//! Tests: `tests/process/{launcher,fork_server,width}.rs`.

use std::io;

use crate::process::PoolError;
use crate::process::limits::MOST_WORKERS;
use crate::process::parent::settings::Settings;
use crate::process::parent::start_child::refusal;
use crate::process::sched::policy::Elastic;
use trefoil_os::host::sibling::{FORKS, UNSUPPORTED};

/// This number of workers, if it is possible.
pub(super) fn checked(workers: usize) -> Result<usize, PoolError> {
    if (1..=MOST_WORKERS).contains(&workers) {
        return Ok(workers);
    }
    let message = format!("a pool has 1 to {MOST_WORKERS} workers, not {workers}");
    Err(io::Error::new(io::ErrorKind::InvalidInput, message).into())
}

/// Whether the least number of workers is not above the most.
pub(super) fn check_bounds(least: Option<usize>, most: Option<usize>) -> Result<(), PoolError> {
    let (least, most) = (least.unwrap_or(0), most.unwrap_or(0));
    if least <= most {
        return Ok(());
    }
    let message = format!("a pool cannot have from {least} to {most} workers");
    Err(io::Error::new(io::ErrorKind::InvalidInput, message).into())
}

/// Whether workers can be copies of a fork server.
pub(super) fn check_fork_server(has_launcher: bool, plain: bool) -> Result<(), PoolError> {
    let message = |why| format!("`StartMethod::ForkServer` is not possible here: {why}");
    let refused = |why| Err(io::Error::new(io::ErrorKind::Unsupported, message(why)).into());
    if has_launcher {
        return Err(PoolError::Launcher(message(
            "a launcher starts the workers of this pool, and they cannot be copies of a process of \
             this program",
        )));
    }
    if !FORKS {
        return refused(UNSUPPORTED);
    }
    if plain {
        return refused(
            "the workers of this pool are plain (`plain_workers`, or `TREFOIL_PLAIN_WORKERS=1` in \
             the environment), and a fork server sends descriptors",
        );
    }
    Ok(())
}

/// Whether a launcher's workers can have these settings.
pub(super) fn check_launched(settings: &Settings) -> Result<(), PoolError> {
    let refused = |message: &str| Err(PoolError::Launcher(message.to_owned()));
    if settings.stdout.is_captured() {
        return refused(
            "their standard output cannot be captured there, because it goes to standard error and not \
             to `on_output`: return the text as a part of the result",
        );
    }
    if settings.variables_for.is_some() {
        return refused(
            "`env_for` is for workers that this process starts itself: use `env`, or call \
             `process::worker_index()` in the initializer",
        );
    }
    if settings.processors_for.is_some() {
        return refused(
            "`pin_to` is for workers that this process starts itself: let the launcher's command \
             line choose processors (`taskset`), or call `process::worker_index()` in the initializer",
        );
    }
    let mut variables = settings.variables.iter();
    if let Some(message) =
        variables.find_map(|(name, value)| refusal(name, value, &"the launcher's workers"))
    {
        return refused(&message);
    }
    Ok(())
}

/// Whether a launcher keeps no more workers than the pool may have.
pub(super) fn check_elastic(elastic: Option<Elastic>, most: usize) -> Result<(), PoolError> {
    let too_many = elastic.filter(|elastic| elastic.least > most);
    too_many.map_or(Ok(()), |Elastic { least, .. }| {
        Err(PoolError::Launcher(format!(
            "the launcher keeps at least {least} workers, but the pool may have only {most}: allow \
             more with `workers`"
        )))
    })
}
