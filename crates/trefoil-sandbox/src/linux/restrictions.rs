//! What the workers of a sandbox are restricted to, found out once, when the pool is built.
//!
//! The kernel is asked what it can do, and then tried: a process does to itself what workers will,
//! and must find that it can open no folder and make no socket.
//!
//! Tests: `tests/sandbox/sandbox.rs`, `tests/sandbox/attacks.rs::the_table_of_attacks`.

use std::ffi::CString;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use trefoil::process::launch::Program;

use super::calls::{self, Allowed, Instruction};
use super::needed_files::{COMMON, NULL, libraries, loader, mapped};
use super::raw_child::{Confinement, Namespaces, Restriction, landlock_version};
use super::ruleset::{FileAccess, Rule, ruleset};
use crate::sandbox::Wishes;
use crate::wrapped::Wrapped;

/// The variables that a worker has, besides those that the pool sets: where programs and libraries
/// are, the language, what this crate and the standard library read.
const KEPT: [&str; 8] = [
    "PATH",
    "LD_LIBRARY_PATH",
    "LD_PRELOAD",
    "LANG",
    "LANGUAGE",
    "TZ",
    "RUST_BACKTRACE",
    "RUST_LIB_BACKTRACE",
];
/// (By the last ones, a program of documentation tests knows which it is to run.)
const KEPT_PREFIXES: [&str; 3] = ["LC_", "TREFOIL_", "RUSTDOC_"];

#[derive(Debug)]
pub(crate) struct Restrictions {
    program: Program,
    rules: Vec<Rule>,
    network: bool,
    filter: Vec<Instruction>,
    namespaces: Option<Arc<Namespaces>>,
}

fn c_string(path: &Path) -> io::Result<CString> {
    Ok(CString::new(path.as_os_str().as_bytes())?)
}

/// The rules for what the program and the user need.
fn rules(wishes: &Wishes, exe: &Path) -> io::Result<Vec<Rule>> {
    let mut all = Vec::new();
    let mut add = |path: &Path, access| {
        all.push(Rule::new(path, access)?);
        Ok::<_, io::Error>(())
    };
    add(exe, FileAccess::Execute)?;
    if let Some(loader) = loader(exe)? {
        add(&loader, FileAccess::Execute)?;
    }
    for library in mapped()? {
        add(&library, FileAccess::Read)?;
    }
    let there = |path: &&&str| Path::new(path).exists();
    for path in COMMON.iter().filter(there) {
        add(Path::new(path), FileAccess::Read)?;
    }
    for path in NULL.iter().filter(there) {
        add(Path::new(path), FileAccess::Write)?;
    }
    for path in &wishes.read {
        add(path, FileAccess::Read)?;
    }
    for path in &wishes.write {
        add(path, FileAccess::Write)?;
    }
    for path in &wishes.executed {
        add(path, FileAccess::Execute)?;
        if path.is_dir() {
            continue;
        }
        if let Some(loader) = loader(path)? {
            add(&loader, FileAccess::Execute)?;
            for library in libraries(path, &loader)? {
                add(&library, FileAccess::Read)?;
            }
        }
    }
    Ok(all)
}

/// What stays writable in the mount namespace: a worker's own folder is in `folders`. (Devices can
/// be written to in a file system that is read-only.)
fn writable(rules: &[Rule], folders: Option<&Path>) -> io::Result<Vec<CString>> {
    let is_null = |rule: &Rule| NULL.contains(&&*rule.path.to_string_lossy());
    let written = rules
        .iter()
        .filter(|rule| rule.is_written() && !is_null(rule));
    let paths = written.map(|rule| &*rule.path).chain(folders);
    paths.map(c_string).collect()
}

/// What this version of Landlock leaves open, and no filter can close.
fn gaps(wishes: &Wishes, rules: &[Rule], version: u32) -> Vec<String> {
    let mut all = Vec::new();
    if version == 0 {
        all.push(
            "that it reads and writes files: the kernel has no Landlock (Linux 5.13, with \
             `landlock` among its security modules, `lsm=`)"
                .to_owned(),
        );
    }
    if version < 6 && !wishes.executed.is_empty() {
        all.push(
            "that programs it may start send signals to this user's processes, which takes \
             version 6 (Linux 6.12)"
                .to_owned(),
        );
    }
    let is_device = |rule: &Rule| {
        let is_named = [&wishes.read, &wishes.write].into_iter().flatten();
        let mut is_named = is_named.filter_map(|path| path.canonicalize().ok());
        let devices = Path::new("/dev");
        (rule.path.starts_with(devices) || devices.starts_with(&rule.path))
            && is_named.any(|path| path == rule.path)
    };
    if version < 5 && rules.iter().any(is_device) {
        all.push(
            "that it controls the devices it may open (`ioctl`), which takes version 5 (Linux \
             6.10)"
                .to_owned(),
        );
    }
    all
}

impl Restrictions {
    /// Those for this program, whose workers have temporary folders in `folders`, and what they do
    /// not prevent. That is an error, unless the user lets some be missing.
    pub(crate) fn new(
        wishes: &Wishes,
        program: &Program,
        folders: Option<&Path>,
    ) -> Result<(Self, Vec<String>), String> {
        let version = landlock_version();
        let say = |error: io::Error| error.to_string();
        let exe = program.path().map_err(say)?;
        let rules = rules(wishes, &exe).map_err(say)?;
        let mut missing = gaps(wishes, &rules, version);
        let allowed = Allowed {
            network: wishes.network,
            processes: !wishes.executed.is_empty(),
            calls: wishes.calls.clone(),
            signals_are_scoped: version >= 6,
        };
        // (Where there can be none, nothing that was promised is missing.)
        let writable = writable(&rules, folders).map_err(say)?;
        let namespaces = Namespaces::new(!wishes.network, writable).ok();
        let namespaces = namespaces.map(Arc::new);
        let mut all = Self {
            program: program.clone(),
            rules,
            network: wishes.network,
            filter: calls::filter(&allowed),
            namespaces,
        };
        let opens_root = all.rules.iter().any(|rule| rule.path == Path::new("/"));
        let sockets = wishes.calls.contains(&libc::SYS_socket);
        loop {
            let tried = all.restriction(None).map_err(say)?;
            let has_files = tried.ruleset.is_some() && !opens_root;
            let has_filter = !tried.filter.is_empty() && !sockets;
            let trial = Confinement {
                group: None,
                restriction: Some(tried),
            };
            match trial.try_out(has_files, has_filter) {
                Ok(()) => break,
                Err(_) if all.namespaces.take().is_some() => {}
                Err((what, error)) if wishes.may_miss && !all.filter.is_empty() => {
                    all.filter.clear();
                    missing.push(format!("system calls: {what}: {error}"));
                }
                Err((what, error)) => return Err(format!("{what}: {error}")),
            }
        }
        if missing.is_empty() || wishes.may_miss {
            return Ok((all, missing));
        }
        let missing = missing.join("; ");
        Err(format!(
            "this kernel (Landlock version {version}) cannot prevent {missing}. Use a newer \
             kernel, or go on without (`best_effort`)"
        ))
    }

    /// For a worker with this temporary folder.
    fn restriction(&self, folder: Option<&Path>) -> io::Result<Restriction> {
        let own = folder
            .map(|path| Rule::new(path, FileAccess::Write))
            .transpose()?;
        let directory = std::env::current_dir().unwrap_or_else(|_| PathBuf::from("/"));
        Ok(Restriction {
            namespaces: self.namespaces.clone(),
            directory: c_string(&directory)?,
            ruleset: ruleset(self.rules.iter().chain(&own), self.network)?,
            filter: self.filter.clone(),
            parent: rustix::process::getpid().as_raw_nonzero().get(),
        })
    }

    /// The command that starts a worker, and what its process is restricted to.
    pub(crate) fn command(&self, folder: Option<&Path>) -> io::Result<(Command, Restriction)> {
        let mut command = Command::new(self.program.path()?);
        command.args(self.program.arguments()).env_clear();
        for (name, value) in std::env::vars_os() {
            let is_kept = name.to_str().is_some_and(|name| {
                KEPT.contains(&name) || KEPT_PREFIXES.iter().any(|some| name.starts_with(some))
            });
            if is_kept {
                command.env(name, value);
            }
        }
        if let Some(folder) = folder {
            command.env("TMPDIR", folder);
        }
        command.envs(Wrapped::variables(&self.program));
        Ok((command, self.restriction(folder)?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_version_of_landlock_has_its_gaps() {
        let null = Path::new("/dev/null").to_owned();
        let device = Rule::new(&null, FileAccess::Read).unwrap();
        let nothing = Wishes::default();
        let mut all = Wishes::default();
        (all.read, all.executed) = (vec![null], vec!["/bin/true".into()]);
        for version in 0..=7 {
            let rules = std::slice::from_ref(&device);
            let missing = gaps(&all, rules, version).join("; ");
            let says = |what: &str| missing.contains(what);
            assert_eq!(says("reads and writes files"), version == 0, "{version}");
            assert_eq!(says("signals"), version < 6, "{version}");
            assert_eq!(says("ioctl"), version < 5, "{version}");
            assert_eq!(gaps(&nothing, &[], version).is_empty(), version > 0);
        }
    }
}
