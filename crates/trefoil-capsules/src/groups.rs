//! Files of one cause: those whose items have ended the same way, in the same function.
//!
//! A group is not stored: the head of each file says how its item ended. Only what was not kept
//! leaves a trace, because it is counted, too: a byte for each item, at the end of a file with the
//! group's number. So the file's length is how many there were, and its time when the last one was;
//! to append a byte needs no lock, between threads or processes.
//!
//! Tests: below, and
//! `crates/trefoil-capsules/tests/capsules/main.rs::items_that_end_the_same_way_are_a_group`.

use std::collections::HashMap;
use std::fs::{self, File};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use crate::capsule::{self, Head};
use crate::signature::{Signature, printable};

/// How the name of a kept item's file ends, and that of what counts those that were not kept.
pub(crate) const ENDING: &str = "capsule";
const DROPPED: &str = "dropped";

/// How many items that were not kept are counted of a group, at most.
const MOST_DROPPED: u64 = 1 << 20;

/// A file in a directory of failures.
#[derive(Clone, Debug)]
pub(crate) struct Kept {
    pub(crate) path: PathBuf,
    pub(crate) length: u64,
    pub(crate) head: Head,
}

/// What the items of a group have in common.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Cause {
    function: Option<String>,
    signature: Signature,
}

impl Cause {
    pub(crate) fn of(head: &Head) -> Self {
        Self {
            function: head.function.clone(),
            signature: head.signature.clone(),
        }
    }

    /// The file that counts those that were not kept.
    fn dropped(&self, dir: &Path) -> PathBuf {
        // (The same in each process of a program; in another build, groups are others anyway.)
        let mut hasher = DefaultHasher::new();
        self.hash(&mut hasher);
        dir.join(format!("{:016x}.{DROPPED}", hasher.finish()))
    }

    /// Counts an item that was not kept.
    pub(crate) fn drop_one(&self, dir: &Path) -> io::Result<()> {
        let path = self.dropped(dir);
        let mut options = File::options();
        options.append(true).create(true);
        #[cfg(unix)]
        {
            use std::os::unix::fs::OpenOptionsExt;
            // A link that somebody has planted leads nowhere.
            let flags = rustix::fs::OFlags::NOFOLLOW | rustix::fs::OFlags::NONBLOCK;
            options.mode(0o600).custom_flags(flags.bits().cast_signed());
        }
        let mut file = options.open(&path)?;
        if file.metadata()?.len() < MOST_DROPPED {
            file.write_all(b"x")?;
        }
        Ok(())
    }
}

/// Items that have ended the same way, from [`groups`].
#[derive(Clone, Debug)]
pub struct Group {
    cause: Cause,
    count: u64,
    first: SystemTime,
    last: SystemTime,
    smallest: Kept,
    files: usize,
}

impl Group {
    /// How many items there were, those included that are not kept.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.count
    }

    /// How many of them are kept, each in a file.
    #[must_use]
    pub fn files(&self) -> usize {
        self.files
    }

    /// When the first failed.
    #[must_use]
    pub fn first(&self) -> SystemTime {
        self.first
    }

    /// When the last failed.
    #[must_use]
    pub fn last(&self) -> SystemTime {
        self.last
    }

    /// The shortest of the files, which may be one that [`shrink`](crate::shrink) has made.
    #[must_use]
    pub fn smallest(&self) -> &Path {
        &self.smallest.path
    }

    /// The name of the function, where it is known.
    #[must_use]
    pub fn function(&self) -> Option<&str> {
        self.cause.function.as_deref()
    }

    /// How they ended: "killed by signal 6 in `app::decode_row`".
    #[must_use]
    pub fn how(&self) -> String {
        self.cause.signature.to_string()
    }
}

/// "103 times `decode_row`: killed by signal 6 in `app::decode_row`; the smallest is
/// failures/0123456789abcdef.capsule"
impl std::fmt::Display for Group {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let times = if self.count == 1 { "time" } else { "times" };
        write!(f, "{} {times} ", self.count)?;
        if let Some(name) = self.function() {
            write!(f, "`{}`: ", printable(name))?;
        }
        let smallest = self.smallest().display();
        write!(f, "{}; the smallest is {smallest}", self.cause.signature)
    }
}

/// The failed items of a directory ([`keep_failures`](crate::KeepFailures::keep_failures)), those
/// that ended the same way as one group: in the same function, by the same signal, at the same
/// place of the program, or in a panic of the same line. The largest group comes first.
///
/// It reads the beginning of each file, a few hundred bytes, and leaves out what is no file of an
/// item.
///
/// ```
/// # use trefoil_capsules::{KeepFailures, groups};
/// fn third(row: Vec<u8>) -> u8 {
///     row[2]
/// }
///
/// trefoil_capsules::init();
/// let dir = std::env::temp_dir().join(format!("grouped-{}", std::process::id()));
/// let procs = trefoil::ProcessPool::builder().workers(1).keep_failures(&dir).build()?;
/// let results = procs.map_each([vec![7; 9], vec![1, 2], vec![]], third);
/// assert_eq!(results.iter().filter(|result| result.is_err()).count(), 2);
/// for group in groups(&dir)? {
///     println!("{group}"); // 2 times panicked at ..; the smallest is ...capsule
///     assert_eq!(group.count(), 2);
/// }
/// std::fs::remove_dir_all(dir)?;
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
/// Those of reading the directory.
pub fn groups(dir: impl AsRef<Path>) -> io::Result<Vec<Group>> {
    let dir = dir.as_ref();
    let mut all: HashMap<Cause, Group> = HashMap::new();
    for kept in kept(dir)? {
        let cause = Cause::of(&kept.head);
        let is_item = !kept.head.is_shrunk;
        let when = kept.head.when();
        let group = all.entry(cause.clone()).or_insert_with(|| Group {
            cause,
            count: 0,
            first: when,
            last: when,
            smallest: kept.clone(),
            files: 0,
        });
        if is_item {
            group.count += 1;
            group.files += 1;
            group.first = group.first.min(when);
            group.last = group.last.max(when);
        }
        if kept.length < group.smallest.length {
            group.smallest = kept;
        }
    }
    let mut all: Vec<Group> = all.into_values().collect();
    for group in &mut all {
        // (Where its items were removed, what was made of one stands for it.)
        if let Ok(known) = fs::symlink_metadata(group.cause.dropped(dir)) {
            group.count += known.len().min(MOST_DROPPED);
            group.last = group.last.max(known.modified()?);
        }
        group.count = group.count.max(1);
    }
    all.sort_by(|one, other| (other.count, one.first).cmp(&(one.count, other.first)));
    Ok(all)
}

/// The files of items in a directory.
pub(crate) fn kept(dir: &Path) -> io::Result<Vec<Kept>> {
    let mut all = Vec::new();
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        if path.extension().is_some_and(|ending| ending == ENDING)
            && let Ok((head, length)) = capsule::head(&path)
        {
            all.push(Kept { path, length, head });
        }
    }
    all.sort_by_key(|kept| kept.head.when());
    Ok(all)
}
