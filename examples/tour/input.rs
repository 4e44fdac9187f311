//! The files that the tour works on.
//!
//! With an argument, every regular file under that directory. Without one, the crate's own checkout
//! and the sources of the crates that cargo has downloaded. Sorted by path, 200 MB at most; what
//! was left out is counted and reported.

use super::report::thousands;
use std::collections::BTreeMap;
use std::error::Error;
use std::ffi::OsString;
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

/// How many bytes the tour takes.
const LIMIT: u64 = 200_000_000;

/// Files, and what was skipped on the way to them.
pub(crate) struct Input {
    roots: Vec<PathBuf>,
    /// Sorted by path. Strings, because they travel to worker processes.
    pub(crate) files: Vec<String>,
    bytes: u64,
    skipped: BTreeMap<&'static str, u64>,
}

impl Input {
    /// Looks for files under `dir`, or under the default directories.
    pub(crate) fn collect(dir: Option<OsString>) -> Result<Self, Box<dyn Error>> {
        let roots = match dir {
            Some(dir) => vec![PathBuf::from(dir)],
            None => default_roots(),
        };
        let mut input = Self {
            roots: Vec::new(),
            files: Vec::new(),
            bytes: 0,
            skipped: BTreeMap::new(),
        };
        let mut found = Vec::new();
        for root in roots {
            let root = root
                .canonicalize()
                .map_err(|error| format!("{}: {error}", root.display()))?;
            input.walk(&root, &mut found);
            input.roots.push(root);
        }
        found.sort();
        found.dedup();
        for (path, size) in found {
            if input.bytes + size > LIMIT {
                input.skip("past 200 MB");
                continue;
            }
            // Read once now, so that no row of the tour pays for a cold disk.
            if fs::read(&path).is_err() {
                input.skip("unreadable");
                continue;
            }
            input.bytes += size;
            input.files.push(path);
        }
        if input.files.is_empty() {
            return Err("there are no files to work on".into());
        }
        Ok(input)
    }

    fn walk(&mut self, dir: &Path, found: &mut Vec<(String, u64)>) {
        let Ok(entries) = fs::read_dir(dir) else {
            return self.skip("unreadable");
        };
        for entry in entries {
            let Ok(entry) = entry else {
                self.skip("unreadable");
                continue;
            };
            let (path, name) = (entry.path(), entry.file_name());
            match entry.metadata() {
                Err(_) => self.skip("unreadable"),
                Ok(meta) if meta.is_dir() => match name.to_str() {
                    Some(".git" | "target") => self.skip("directories .git and target"),
                    _ => self.walk(&path, found),
                },
                Ok(meta) if meta.is_file() => match path.into_os_string().into_string() {
                    Ok(path) => found.push((path, meta.len())),
                    Err(_) => self.skip("names that are not UTF-8"),
                },
                Ok(_) => self.skip("links and devices"),
            }
        }
    }

    fn skip(&mut self, why: &'static str) {
        *self.skipped.entry(why).or_default() += 1;
    }
}

impl fmt::Display for Input {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (files, megabytes) = (thousands(self.files.len() as u64), self.bytes as f64 / 1e6);
        write!(f, "input: {files} files, {megabytes:.1} MB")?;
        for root in &self.roots {
            write!(f, "\n       under {}", root.display())?;
        }
        for (why, count) in &self.skipped {
            write!(f, "\n       skipped: {}, {why}", thousands(*count))?;
        }
        Ok(())
    }
}

/// The checkout, and the crate sources that cargo keeps.
fn default_roots() -> Vec<PathBuf> {
    let variable = |name: &str| std::env::var_os(name).map(PathBuf::from);
    let checkout = variable("CARGO_MANIFEST_DIR").unwrap_or_else(|| PathBuf::from("."));
    let cargo = variable("CARGO_HOME").or_else(|| Some(variable("HOME")?.join(".cargo")));
    let sources = cargo.map(|home| home.join("registry").join("src"));
    let sources = sources.filter(|sources| sources.is_dir());
    [checkout].into_iter().chain(sources).collect()
}
