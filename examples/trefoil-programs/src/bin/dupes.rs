//! `dupes DIR...`: files that are there more than once.
//!
//! Three sieves, each for what the one before has left: the size, which costs a look at the
//! directory; the first 4 kB; the SHA-256 of the whole. All three are work for a thread
//! pool: a disk answers many questions at once sooner than one after another, and hashing keeps
//! every processor busy. Symbolic links are not followed, hard links to one file are that file
//! once, and empty files are nobody's duplicates. Groups go to standard output, those that waste
//! most first; what cannot be read goes to standard error, and then the exit code is 1.

use std::cmp::Reverse;
use std::collections::{BTreeMap, HashSet};
use std::error::Error;
use std::fs::{self, File};
use std::io::{self, BufWriter, Read, Write};
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::mpsc::{Sender, channel};

use sha2::{Digest, Sha256};
use trefoil::ThreadPool;

type Trouble = (PathBuf, io::Error);

/// One file, and what is known about it.
struct Found {
    path: PathBuf,
    size: u64,
    /// Device and inode: what makes two names one file.
    place: (u64, u64),
}

/// One directory: its directories, and its files.
fn list(dir: PathBuf, trouble: &Sender<Trouble>) -> (Vec<PathBuf>, Vec<Found>) {
    let (mut dirs, mut files) = (Vec::new(), Vec::new());
    let entries = fs::read_dir(&dir).map_err(|error| drop(trouble.send((dir, error))));
    for entry in entries.into_iter().flatten().flatten() {
        let path = entry.path();
        match entry.metadata() {
            Ok(meta) if meta.is_dir() => dirs.push(path),
            Ok(meta) if meta.is_file() && meta.len() > 0 => {
                let (size, place) = (meta.len(), (meta.dev(), meta.ino()));
                files.push(Found { path, size, place });
            }
            Ok(_) => {}
            Err(error) => drop(trouble.send((path, error))),
        }
    }
    (dirs, files)
}

/// All files under `dirs`, one layer of directories after another.
fn walk(pool: &ThreadPool, mut dirs: Vec<PathBuf>, trouble: &Sender<Trouble>) -> Vec<Found> {
    let mut all = Vec::new();
    while !dirs.is_empty() {
        let lists = pool.map(std::mem::take(&mut dirs), |dir| list(dir, trouble));
        for (more, files) in lists {
            dirs.extend(more);
            all.extend(files);
        }
    }
    let mut known = HashSet::new();
    all.sort_by(|a, b| a.path.cmp(&b.path));
    all.retain(|file| known.insert(file.place)); // hard links, and a directory named twice
    all
}

/// The hash of the first `most` bytes.
fn hash(file: &Found, most: u64) -> io::Result<Vec<u8>> {
    let mut reader = File::open(&file.path)?.take(most);
    let mut hasher = Sha256::new();
    let mut buffer = vec![0; most.min(1 << 17) as usize];
    loop {
        match reader.read(&mut buffer)? {
            0 => return Ok(hasher.finalize().to_vec()),
            n => hasher.update(&buffer[..n]),
        }
    }
}

/// Groups of files with the same key; a file without company is out.
fn sieve<K: Ord>(files: impl IntoIterator<Item = (K, Found)>) -> Vec<Vec<Found>> {
    let mut groups = BTreeMap::<K, Vec<Found>>::new();
    for (key, file) in files {
        groups.entry(key).or_default().push(file);
    }
    let groups = groups.into_values();
    groups.filter(|group| group.len() > 1).collect()
}

/// The same again, by the hash of the first bytes of each.
fn sieve_by_hash(
    pool: &ThreadPool,
    groups: Vec<Vec<Found>>,
    most: u64,
    trouble: &Sender<Trouble>,
) -> Vec<Vec<Found>> {
    let files: Vec<Found> = groups.into_iter().flatten().collect();
    let hashed = pool.map(files, |file| match hash(&file, most) {
        Ok(hash) => Some(((file.size, hash), file)),
        Err(error) => {
            drop(trouble.send((file.path, error)));
            None
        }
    });
    sieve(hashed.into_iter().flatten())
}

fn main() -> Result<ExitCode, Box<dyn Error>> {
    let dirs: Vec<PathBuf> = std::env::args_os().skip(1).map(PathBuf::from).collect();
    if dirs.is_empty() {
        return Err("usage: dupes DIR...".into());
    }
    let pool = ThreadPool::global();
    let (trouble, troubles) = channel();
    let files = walk(pool, dirs, &trouble);
    let count = files.len();

    let groups = sieve(files.into_iter().map(|file| (file.size, file)));
    let groups = sieve_by_hash(pool, groups, 4096, &trouble);
    let mut groups = sieve_by_hash(pool, groups, u64::MAX, &trouble);
    drop(trouble);

    let waste = |group: &[Found]| group[0].size * (group.len() as u64 - 1);
    groups.sort_by_cached_key(|group| (Reverse(waste(group)), group[0].path.clone()));
    let mut out = BufWriter::new(io::stdout().lock());
    for group in &groups {
        writeln!(out, "{} files of {} bytes", group.len(), group[0].size)?;
        for file in group {
            writeln!(out, "    {}", file.path.display())?;
        }
    }
    let total: u64 = groups.iter().map(|group| waste(group)).sum();
    let groups = groups.len();
    writeln!(
        out,
        "{count} files, {groups} groups, {total} bytes too many"
    )?;
    out.flush()?;

    let mut code = ExitCode::SUCCESS;
    for (path, error) in troubles {
        eprintln!("{}: {error}", path.display());
        code = ExitCode::FAILURE;
    }
    Ok(code)
}
