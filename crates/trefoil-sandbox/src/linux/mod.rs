//! How the kernel keeps the promises of `Sandbox` and `Limits`: Landlock, seccomp, namespaces and
//! control groups.

mod calls;
mod cleaner;
mod group;
mod needed_files;
mod owned_folder;
mod places;
mod raw_child;
mod restrictions;
mod ruleset;

pub(crate) use group::Setting;
pub(crate) use places::Places;
pub(crate) use restrictions::Restrictions;
