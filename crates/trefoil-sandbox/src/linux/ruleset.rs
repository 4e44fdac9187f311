//! What a worker may do to which files: a ruleset of Landlock.
//!
//! The files are opened when the pool is built (`O_PATH`), so each rule holds for the file that the
//! path named then. A worker that may write to a folder cannot make the rules of a later worker
//! lead elsewhere, by a link in the place of a file.
//!
//! Tests: `crates/trefoil-sandbox/tests/sandbox/attacks.rs::the_table_of_attacks`.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use landlock::{
    ABI, Access, AccessFs, AccessNet, BitFlags, CompatLevel, Compatible, PathBeneath, Ruleset,
    RulesetAttr, RulesetCreatedAttr, Scope,
};
use rustix::fs::{Mode, OFlags};

/// What may be done to a file, or to all that is in a folder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FileAccess {
    Read,
    /// Read, and executed.
    Execute,
    /// Read, and written: in folders, regular files and folders are made, renamed and removed. No
    /// links, which could lead whoever reads the results elsewhere, and nothing that is no file.
    Write,
}

/// A file or a folder, and what may be done to it.
#[derive(Debug)]
pub(crate) struct Rule {
    pub(crate) path: PathBuf,
    access: FileAccess,
    file: OwnedFd,
    is_folder: bool,
}

/// All that this crate knows how to deny.
const KNOWN: ABI = ABI::V6;

impl Rule {
    pub(crate) fn new(path: &Path, access: FileAccess) -> io::Result<Self> {
        let named = |error: io::Error| {
            io::Error::new(error.kind(), format!("`{}`: {error}", path.display()))
        };
        let path = path.canonicalize().map_err(named)?;
        let flags = OFlags::PATH | OFlags::CLOEXEC;
        let file = rustix::fs::open(&path, flags, Mode::empty()).map_err(|e| named(e.into()))?;
        let is_folder = File::from(file.try_clone()?).metadata()?.is_dir();
        Ok(Self {
            path,
            access,
            file,
            is_folder,
        })
    }

    pub(crate) fn is_written(&self) -> bool {
        self.access == FileAccess::Write
    }

    fn rights(&self) -> BitFlags<AccessFs> {
        let mut rights: BitFlags<AccessFs> = AccessFs::ReadFile.into();
        match (self.access, self.is_folder) {
            (FileAccess::Read, false) => {}
            (FileAccess::Read, true) => rights |= AccessFs::ReadDir,
            (FileAccess::Execute, false) => rights |= AccessFs::Execute,
            (FileAccess::Execute, true) => rights |= AccessFs::Execute | AccessFs::ReadDir,
            (FileAccess::Write, false) => rights |= AccessFs::WriteFile | AccessFs::Truncate,
            (FileAccess::Write, true) => {
                rights |= AccessFs::ReadDir | AccessFs::WriteFile | AccessFs::Truncate;
                rights |= AccessFs::MakeReg | AccessFs::MakeDir | AccessFs::Refer;
                rights |= AccessFs::RemoveFile | AccessFs::RemoveDir;
            }
        }
        rights
    }
}

/// A ruleset with these rules; `None`: this kernel has no Landlock.
pub(crate) fn ruleset<'a>(
    rules: impl IntoIterator<Item = &'a Rule>,
    network: bool,
) -> io::Result<Option<OwnedFd>> {
    let made = || {
        let mut ruleset = Ruleset::default()
            .set_compatibility(CompatLevel::BestEffort)
            .handle_access(AccessFs::from_all(KNOWN))?
            .scope(Scope::from_all(KNOWN))?;
        if !network {
            ruleset = ruleset.handle_access(AccessNet::from_all(KNOWN))?;
        }
        let mut ruleset = ruleset.create()?;
        for rule in rules {
            ruleset = ruleset.add_rule(PathBeneath::new(rule.file.as_fd(), rule.rights()))?;
        }
        Ok::<_, landlock::RulesetError>(ruleset.into())
    };
    made().map_err(io::Error::other)
}
