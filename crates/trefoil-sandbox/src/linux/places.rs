//! What a pool has on this machine for its workers: a control group and a temporary folder for
//! each.
//!
//! Both are new for each process, are removed by the [`Cleaner`] when it has ended, and those of
//! pools that were killed are swept by the next pool.
//!
//! Tests: `tests/sandbox/sandbox.rs`, `tests/sandbox/limits.rs`.

use std::collections::HashMap;
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU64, Ordering}; // a number for each process: no protocol
use std::sync::{Mutex, MutexGuard, PoisonError};

use trefoil::process::launch::{Ending, Launched};

use super::cleaner::{Cleaner, Job};
use super::group::{self, Groups};
use super::owned_folder::OwnedFolder;
use super::raw_child::{Confinement, Restriction};
use crate::limits::Wanted;

const FOLDERS: &str = "trefoil-sandbox";

#[derive(Debug)]
struct Place {
    leaf: Option<PathBuf>,
    folder: Option<PathBuf>,
}

#[derive(Debug)]
pub(crate) struct Places {
    groups: Option<Groups>,
    folders: Option<OwnedFolder>,
    /// Those of the workers that there are, by index.
    current: Mutex<HashMap<usize, Place>>,
    started: AtomicU64,
    cleaner: Cleaner,
}

impl Places {
    /// With temporary folders, and with groups, if they are wanted; and what cannot be limited.
    pub(crate) fn new(
        has_folders: bool,
        limits: Option<&Wanted>,
    ) -> Result<(Self, Vec<String>), String> {
        let mut missing = Vec::new();
        let mut groups = None;
        if let Some(wanted) = limits {
            let named = wanted.group.as_deref();
            match Groups::new(named, wanted.settings()?, wanted.may_miss) {
                Ok((made, some)) => {
                    groups = Some(made);
                    missing = some;
                }
                Err(why) if wanted.may_miss => missing.push(why),
                Err(why) => return Err(why),
            }
        }
        let folders = has_folders.then(|| {
            let parent = std::env::temp_dir();
            for stale in OwnedFolder::stale(&parent, FOLDERS) {
                let _ = std::fs::remove_dir_all(&stale.path);
            }
            let made = OwnedFolder::new(&parent, FOLDERS);
            made.map_err(|error| format!("no folder in `{}`: {error}", parent.display()))
        });
        let places = Self {
            groups,
            folders: folders.transpose()?,
            current: Mutex::default(),
            started: AtomicU64::new(0),
            cleaner: Cleaner::default(),
        };
        Ok((places, missing))
    }

    /// The folder in which the workers have theirs.
    pub(crate) fn folders(&self) -> Option<&Path> {
        self.folders.as_ref().map(|folders| &*folders.path)
    }

    fn current(&self) -> MutexGuard<'_, HashMap<usize, Place>> {
        self.current.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Starts worker `index` by the command that is made for its temporary folder, with what its
    /// process is restricted to.
    pub(crate) fn start(
        &self,
        index: usize,
        command: impl FnOnce(Option<&Path>) -> io::Result<(Command, Option<Restriction>)>,
    ) -> io::Result<Launched> {
        self.clear(index); // what is left of one that could not be started
        let number = self.started.fetch_add(1, Ordering::Relaxed);
        let name = format!("{index}.{number}");
        let leaf = self
            .groups
            .as_ref()
            .map(|groups| groups.leaf(&name))
            .transpose()?;
        let (leaf, procs) = leaf.unzip();
        let folder = self
            .folders
            .as_ref()
            .map(|folders| folders.path.join(&name));
        let place = Place { leaf, folder };
        let folder = place.folder.clone();
        self.current().insert(index, place);
        if let Some(folder) = &folder {
            std::fs::DirBuilder::new().mode(0o700).create(folder)?;
        }
        let (mut command, restriction) = command(folder.as_deref())?;
        let group = procs;
        Confinement { group, restriction }.confine(&mut command);
        Launched::command(command)
    }

    /// Kills all that is in the worker's group.
    pub(crate) fn kill(&self, index: usize) {
        if let Some(leaf) = self
            .current()
            .get(&index)
            .and_then(|place| place.leaf.as_deref())
        {
            group::kill(leaf);
        }
    }

    /// The worker has ended: what the kernel's count says of its memory.
    pub(crate) fn ended(&self, index: usize, ending: &mut Ending) {
        let current = self.current();
        let leaf = current.get(&index).and_then(|place| place.leaf.as_deref());
        // (Somebody above may have killed one of its children before, which it survived.)
        let is_killed =
            ending.signal == Some(libc::SIGKILL) || (ending.signal, ending.code) == (None, None);
        ending.out_of_memory |= is_killed && leaf.is_some_and(group::ran_out);
        drop(current);
        self.clear(index);
    }

    fn clear(&self, index: usize) {
        let Some(place) = self.current().remove(&index) else {
            return;
        };
        if let Some(leaf) = place.leaf {
            group::kill(&leaf);
            self.cleaner.remove(Job::Group(leaf));
        }
        // (It is usually empty.)
        if let Some(folder) = place.folder
            && std::fs::remove_dir(&folder).is_err()
        {
            self.cleaner.remove(Job::Folder(folder));
        }
    }
}

impl Drop for Places {
    fn drop(&mut self) {
        let left: Vec<usize> = self.current().keys().copied().collect();
        left.into_iter().for_each(|index| self.clear(index));
        self.cleaner.finish();
        if let Some(folders) = &self.folders {
            let _ = std::fs::remove_dir_all(&folders.path);
        }
    }
}
