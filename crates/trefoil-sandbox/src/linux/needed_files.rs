//! The files that a program needs to start: its own, its loader, its libraries.
//!
//! Those of this program are the files from which this process has code mapped, and the loader that
//! its file names: workers are this program again. What another program needs its own loader lists.
//!
//! Tests: below; `tests/sandbox/sandbox.rs`.

use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// What every program may read, if it is there: its loader's index of libraries, and devices that
/// have no state.
pub(crate) const COMMON: [&str; 4] = [
    "/etc/ld.so.cache",
    "/dev/zero",
    "/dev/random",
    "/dev/urandom",
];

/// What every program may read and write.
pub(crate) const NULL: [&str; 2] = ["/dev/null", "/dev/full"];

/// The files from which this process has code mapped.
pub(crate) fn mapped() -> io::Result<Vec<PathBuf>> {
    let maps = std::fs::read("/proc/self/maps")?;
    let mut all = Vec::new();
    for line in maps.split(|byte| *byte == b'\n') {
        // Addresses, permissions, offset, device, inode, and after spaces the path.
        let mut fields = line.splitn(6, |byte| *byte == b' ');
        let (Some(permissions), Some(rest)) = (fields.nth(1), fields.nth(3)) else {
            continue;
        };
        let path = rest.trim_ascii_start();
        let is_gone = path.ends_with(b" (deleted)");
        if permissions.contains(&b'x') && path.starts_with(b"/") && !is_gone {
            all.push(PathBuf::from(OsStr::from_bytes(path)));
        }
    }
    all.dedup();
    Ok(all)
}

/// The loader that an executable names; `None`: it names none, or is no executable of 64 bits.
pub(crate) fn loader(program: &Path) -> io::Result<Option<PathBuf>> {
    const INTERPRETER: u32 = 3;
    let file = File::open(program)?;
    let mut header = [0; 64];
    if file.read_exact_at(&mut header, 0).is_err() || !header.starts_with(b"\x7fELF\x02") {
        return Ok(None);
    }
    let short = |bytes: &[u8], at: usize| u16::from_ne_bytes([bytes[at], bytes[at + 1]]);
    let long = |bytes: &[u8], at: usize| {
        let mut value = [0; 8];
        value.copy_from_slice(&bytes[at..at + 8]);
        u64::from_ne_bytes(value)
    };
    let (table, size, count) = (long(&header, 32), short(&header, 54), short(&header, 56));
    for index in 0..u64::from(count) {
        let mut entry = [0; 56];
        let place = index.saturating_mul(size.into()).saturating_add(table);
        file.read_exact_at(&mut entry, place)?;
        let kind = [entry[0], entry[1], entry[2], entry[3]];
        if u32::from_ne_bytes(kind) == INTERPRETER {
            let mut path = vec![0; long(&entry, 32).min(4096) as usize];
            file.read_exact_at(&mut path, long(&entry, 8))?;
            let path = path.split(|byte| *byte == 0).next().unwrap_or_default();
            return Ok(Some(OsStr::from_bytes(path).into()));
        }
    }
    Ok(None)
}

/// The libraries of an executable, as its loader finds them.
pub(crate) fn libraries(program: &Path, loader: &Path) -> io::Result<Vec<PathBuf>> {
    let mut lists = Command::new(loader);
    lists.arg("--list").arg(program).stdin(Stdio::null());
    let listed = lists.output()?.stdout;
    // `name => /path (0x…)`, or `/path (0x…)`.
    let lines = listed.split(|byte| *byte == b'\n');
    let path = |line: &[u8]| {
        let start = line.iter().position(|byte| *byte == b'/')?;
        let end = line.windows(4).rposition(|some| some == b" (0x")?;
        let path = line.get(start..end)?;
        Some(PathBuf::from(OsStr::from_bytes(path)))
    };
    Ok(lines.filter_map(path).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_its_loader_and_its_libraries_are_found() {
        let own = std::env::current_exe().unwrap();
        let mapped = mapped().unwrap();
        assert!(mapped.contains(&own), "{mapped:?}");
        let Some(loader) = loader(&own).unwrap() else {
            return; // it is static
        };
        let real = loader.canonicalize().unwrap();
        assert!(mapped.contains(&real), "{real:?} in {mapped:?}");
        for library in libraries(&own, &loader).unwrap() {
            let real = library.canonicalize().unwrap();
            assert!(mapped.contains(&real), "{real:?} in {mapped:?}");
        }
        assert_eq!(super::loader(Path::new("/proc/self/maps")).unwrap(), None);
    }
}
