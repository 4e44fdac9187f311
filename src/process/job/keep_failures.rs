//! How an item that has failed is written to a file: under which name, and if there is room.
//!
//! The scheduler makes a [`Keeping`] in place of the item's error, and a reader (`parent::readers`)
//! writes the file: the disk may take as long as it likes, and the driver does not wait. The error
//! goes to its job when that is done, with the file's path; without it if the file could not be
//! written, or would be one too many ([`KeptFailures`]).
//!
//! What is written is what this process has encoded, and what it knows of the end. A worker's words
//! are in it (an error's text), and nothing else of a worker's.
//!
//! Which failures are kept: `Keeping::is_for` here, asked in `sched/keep_failures.rs`. How many a
//! directory has, unless that is set: `limits`. Who may read a file: `create_private`
//! (`sys::files`).
//!
//! Tests: `tests/process/capsules.rs`.

use std::fs;
use std::hash::{BuildHasher, RandomState};
use std::io::{self, BufWriter};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::capsule::{CapsuleHead, Parcel, Writer};
use super::named::Named;
use super::{Context, Initializer};
use crate::loom::Mutex;
use crate::process::host::image::image;
use crate::process::limits::{KEPT_FAILURES, KEPT_FAILURES_BYTES};
use crate::process::value::chunk::Piece;
use crate::process::wire::CodeRef;
use crate::sys::files::{create_private, longest, make_private_dir};
use crate::task::TaskError;

/// How a file's name ends.
const ENDING: &str = "capsule";

/// Where a pool keeps items that have failed, and how many.
#[derive(Clone, Debug)]
pub(crate) struct KeptFailures {
    /// `None`: only those of calls that have a directory of their own.
    pub(crate) dir: Option<Arc<Path>>,
    /// How many files a directory may have, and how many bytes all of them.
    pub(crate) files: usize,
    pub(crate) bytes: u64,
    /// Held by the thread that writes one, so that they are counted one after another.
    pub(crate) turn: Arc<Mutex<()>>,
}

impl Default for KeptFailures {
    fn default() -> Self {
        Self {
            dir: None,
            files: KEPT_FAILURES,
            bytes: KEPT_FAILURES_BYTES,
            turn: Arc::default(),
        }
    }
}

/// The worker that ran an item, and the items of its frame.
#[derive(Clone)]
pub(crate) struct Source {
    pub(crate) worker: usize,
    pub(crate) piece: Piece,
}

impl Source {
    pub(crate) fn of(worker: usize, piece: &Piece) -> Self {
        Self {
            worker,
            piece: piece.clone(),
        }
    }
}

/// An item that has failed.
pub(crate) struct Keeping {
    pub(crate) job: u64,
    /// Its index in the job.
    pub(crate) at: usize,
    pub(crate) error: TaskError,
    pub(crate) limits: KeptFailures,
    pub(crate) dir: Arc<Path>,
    pub(crate) code: CodeRef,
    pub(crate) types: (&'static str, &'static str),
    /// The call's name.
    pub(crate) name: Option<String>,
    pub(crate) source: Source,
    pub(crate) context: Option<Context>,
    pub(crate) initializers: Vec<Initializer>,
    /// No thread can write it.
    pub(crate) is_given_up: bool,
}

impl Keeping {
    /// Whether an item that has ended in this error is kept.
    pub(crate) fn is_for(error: &TaskError) -> bool {
        use TaskError::{Codec, Panicked, TimedOut, WorkerDied};
        matches!(error, WorkerDied(_) | TimedOut(_) | Panicked(_) | Codec(_))
    }

    /// Writes the file, of a worker with this memory limit. Returns the error, with the file's path
    /// if there is one.
    pub(crate) fn write(self, memory: Option<u64>) -> TaskError {
        if !self.is_given_up {
            self.error.wait_for_names();
        }
        match self.keep(memory.unwrap_or(0)) {
            Ok(path) => self.error.in_capsule(path.into()),
            Err(_) => self.error,
        }
    }

    fn keep(&self, memory: u64) -> io::Result<PathBuf> {
        if self.is_given_up {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let mut left_out = None;
        let item = self.at - self.source.piece.first();
        let item = self.source.piece.part(item, item + 1);
        let mut parcel = |piece| Parcel::new(piece, &mut left_out);
        let called = |code, argument: &str, name: Option<&str>| {
            let known = Named::of(code, argument, name).map(|known| known.name);
            (known.or(name).map(str::to_owned), argument.to_owned())
        };
        let (mut calls, mut initializers) = (Vec::new(), Vec::new());
        for one in &self.initializers {
            calls.push(called(one.code, one.type_name, None));
            initializers.push((one.code, parcel(Piece::whole(one.chunk.clone(), 0))?));
        }
        let (argument, result) = self.types;
        calls.push(called(self.code, argument, self.name.as_deref()));
        let context = self.context.as_ref();
        let context_type = context.map(|context| context.type_name.to_owned());
        let context = context.map(|context| parcel(context.piece.clone()));
        let context = context.transpose()?;
        let item = parcel(item)?;
        let head = CapsuleHead {
            copy: image().name().to_owned(),
            calls,
            result: result.to_owned(),
            context: context_type,
            item: self.error.item().map(|at| at as u64),
            error: self.text(),
            left_out,
            memory,
            worker: self.source.worker as u64,
        };
        let turn = self.limits.turn.lock();
        make_private_dir(&self.dir)?;
        let room = self.room()?;
        let path = self.dir.join(name());
        let file = create_private(&path)?;
        let write = || {
            let mut writer = Writer::new(BufWriter::new(file), room, &head)?;
            let count = initializers.len() as u64;
            for (sequence, (code, argument)) in (0..).zip(&initializers) {
                writer.call(sequence, *code, false, argument)?;
            }
            if let Some(context) = &context {
                writer.context(context)?;
            }
            writer.call(count, self.code, context.is_some(), &item)?;
            writer.finish()
        };
        let written = write();
        drop(turn);
        if let Err(error) = written {
            let _ = fs::remove_file(&path);
            return Err(error);
        }
        Ok(path)
    }

    /// How many bytes another file may have. An error if there are too many files.
    fn room(&self) -> io::Result<u64> {
        let (mut files, mut bytes) = (0, 0);
        for entry in fs::read_dir(&self.dir)? {
            let entry = entry?;
            if Path::new(&entry.file_name())
                .extension()
                .is_some_and(|end| end == ENDING)
            {
                files += 1;
                bytes += entry.metadata().map_or(0, |known| known.len());
            }
        }
        let room = self.limits.bytes.checked_sub(bytes);
        let room = room.map(|room| room.min(longest()));
        let room = room.filter(|_| files < self.limits.files);
        room.ok_or_else(|| io::ErrorKind::QuotaExceeded.into())
    }

    /// What the file says of the end.
    fn text(&self) -> String {
        let mut text = self.error.to_string();
        if let TaskError::WorkerDied(exit) = &self.error {
            let backtrace = exit.backtrace().map(ToString::to_string);
            let tail = Some(exit.stderr_tail().to_owned()).filter(|tail| !tail.is_empty());
            for part in backtrace.into_iter().chain(tail) {
                text.push_str("\n\n");
                text.push_str(&part);
            }
        }
        text
    }
}

/// The directory, wherever this process goes.
pub(crate) fn place(dir: &Path) -> Arc<Path> {
    std::path::absolute(dir).map_or_else(|_| dir.into(), Into::into)
}

/// A name that nobody can guess.
fn name() -> String {
    let random = RandomState::new().hash_one(std::process::id());
    format!("{random:016x}.{ENDING}")
}

#[cfg(all(test, unix, not(any(loom, miri))))]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn what_has_its_name_already_is_left_as_it_is() {
        let dir = std::env::temp_dir().join(format!("trefoil-planted-{}", std::process::id()));
        make_private_dir(&dir).unwrap();
        make_private_dir(&dir).unwrap();
        let (victim, missing) = (dir.join("victim"), dir.join("missing"));
        fs::write(&victim, "as it was").unwrap();
        for (at, target) in [&victim, &missing].into_iter().enumerate() {
            let planted = dir.join(format!("planted-{at}"));
            symlink(target, &planted).unwrap();
            assert!(create_private(&planted).is_err());
        }
        assert!(create_private(&victim).is_err());
        assert_eq!(fs::read(&victim).unwrap(), b"as it was");
        assert!(!missing.exists(), "nothing was made through a link");
        assert_ne!(name(), name());
        fs::remove_dir_all(&dir).unwrap();
    }
}
