//! The file of a journal: opening, scanning, extending.
//!
//! It is scanned once, from the beginning, and then only extended, in whole records. What is not
//! whole at the end was cut there, and is removed; if a whole record follows, the file is damaged,
//! and nothing is changed.

use std::collections::{HashMap, HashSet};
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, ErrorKind, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::JournalError;
#[cfg(unix)]
use super::raw_at_exit::{self, Registered};
use super::record::{FIRST, Header, Item, Parsed, Record, Window, parse, push};
use crate::regular::{self, TEMPORARY, Written};

/// Results of more bytes are in files of their own.
const LARGE: usize = 1 << 20;

/// Where a result is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place {
    pub(crate) item: Item,
    at: At,
}

#[derive(Clone, Copy, Debug)]
enum At {
    /// In this record.
    Record { offset: u64, length: usize },
    /// In a file of its own, of this hash.
    Beside([u8; 32]),
}

/// What a journal has.
#[derive(Debug, Default)]
pub(crate) struct Known {
    header: Option<Header>,
    pub(crate) places: HashMap<u64, Place>,
    /// At how many ends of the program, none of them in order, an item was under way.
    pub(crate) deaths: HashMap<u64, u32>,
    under_way: HashSet<u64>,
    is_forgiven: bool,
}

impl Known {
    /// Takes in a record at `offset`.
    fn add(&mut self, record: &Record<'_>, offset: u64, length: usize) {
        match record {
            Record::Header(header) => self.header = Some(header.clone()),
            Record::Session | Record::Forgiven => {
                self.died();
                self.is_forgiven = *record == Record::Forgiven;
            }
            Record::Begun(_) if self.is_forgiven => {}
            Record::Begun(items) => self.under_way.extend(items),
            Record::Done { index, item, .. } => {
                let at = At::Record { offset, length };
                self.places.insert(*index, Place { item: *item, at });
                self.under_way.remove(index);
            }
            Record::Beside { index, item, hash } => {
                let at = At::Beside(*hash);
                self.places.insert(*index, Place { item: *item, at });
                self.under_way.remove(index);
            }
            Record::Failed(index) => _ = self.under_way.remove(index),
            Record::Closed => self.under_way.clear(),
        }
    }

    fn died(&mut self) {
        for index in self.under_way.drain() {
            *self.deaths.entry(index).or_default() += 1;
        }
    }
}

/// A journal that this program extends.
#[derive(Debug)]
pub(crate) struct Journal {
    file: File,
    path: PathBuf,
    /// The process that extends it: a forked child, which shares the file, does not.
    process: u32,
    /// Where the record of this session is, and where the next record goes.
    session: u64,
    end: u64,
    /// The file's position is its end.
    is_at_end: bool,
    /// For an exit of the program.
    #[cfg(unix)]
    at_exit: Option<Registered>,
    /// How often to sync, and when the next sync is due.
    synced: Option<(Duration, Instant)>,
}

impl Drop for Journal {
    fn drop(&mut self) {
        // (To close the file is not enough: a process that is just being started has it, too.)
        if self.process == std::process::id() {
            let _ = self.file.unlock();
        }
    }
}

impl Journal {
    /// Opens or makes the file, and reads what it has.
    pub(crate) fn open(
        path: &Path,
        header: &Header,
        synced: Option<Duration>,
    ) -> Result<(Self, Known), JournalError> {
        let failed = |source| JournalError::File {
            path: path.to_owned(),
            source,
        };
        let mut options = OpenOptions::new();
        let options = options.read(true).write(true).create(true).truncate(false);
        let (mut file, _) = regular::open(path, options).map_err(failed)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(JournalError::InUse(path.to_owned())),
            Err(TryLockError::Error(source)) => return Err(failed(source)),
        }
        let (mut known, end) = scan(&mut file, path)?;
        let now = Instant::now();
        let mut journal = Self {
            file,
            // (The program may go to another folder.)
            path: std::path::absolute(path).map_err(failed)?,
            process: std::process::id(),
            session: 0,
            end,
            is_at_end: false,
            #[cfg(unix)]
            at_exit: None,
            synced: synced.map(|pause| (pause, now)),
        };
        // No other writer has the lock, so what has such a name was left by one that was killed.
        // (Behind a link, it is somebody else's.)
        let own = Some(folder(path)).filter(|folder| is_own(folder));
        let entries = own.and_then(|folder| fs::read_dir(folder).ok());
        for entry in entries.into_iter().flatten().flatten() {
            if entry
                .file_name()
                .as_encoded_bytes()
                .starts_with(TEMPORARY.as_bytes())
            {
                let _ = fs::remove_file(entry.path()); // tried again by the next program
            }
        }
        let mut out = Vec::new();
        match &known.header {
            Some(recorded) => {
                if let Some((what, recorded, now)) = recorded.difference(header) {
                    return Err(JournalError::OtherMap {
                        path: path.to_owned(),
                        what,
                        recorded: recorded.to_owned(),
                        now: now.to_owned(),
                    });
                }
            }
            None => {
                journal.end = 0;
                out.extend_from_slice(FIRST);
                push(&mut out, &Record::Header(header.clone()));
            }
        }
        known.died();
        journal.session = journal.end + out.len() as u64;
        push(&mut out, &Record::Session);
        journal.file.set_len(journal.end).map_err(failed)?;
        journal.append(&out).map_err(failed)?;
        Ok((journal, known))
    }

    /// From now on, an exit of the program that no item has called does not count as a death.
    pub(crate) fn forgive_exits(&mut self) -> io::Result<()> {
        #[cfg(unix)]
        {
            let file = self.file.try_clone()?;
            self.at_exit = Some(raw_at_exit::register(file, self.session));
        }
        Ok(())
    }

    /// Writes whole records; nothing in a forked child. After an error the file has none of them.
    pub(crate) fn append(&mut self, records: &[u8]) -> io::Result<()> {
        if self.process != std::process::id() {
            return Ok(());
        }
        regular::may_be(self.end + records.len() as u64)?;
        if !std::mem::replace(&mut self.is_at_end, false) {
            self.file.seek(SeekFrom::Start(self.end))?;
        }
        if let Err(error) = self.file.write_all(records) {
            // (If that fails, too, the next program cuts it.)
            let _ = self.file.set_len(self.end);
            return Err(error);
        }
        self.is_at_end = true;
        self.end += records.len() as u64;
        if let Some((pause, due)) = &mut self.synced {
            let now = Instant::now();
            if now >= *due {
                self.file.sync_data()?;
                *due = now + *pause;
            }
        }
        Ok(())
    }

    /// The record of a result, for [`append`](Self::append). A large one is written to a file of
    /// its own now.
    pub(crate) fn record(
        &self,
        out: &mut Vec<u8>,
        index: u64,
        item: Item,
        result: &[u8],
    ) -> io::Result<()> {
        if result.len() <= LARGE {
            push(
                out,
                &Record::Done {
                    index,
                    item,
                    result,
                },
            );
            return Ok(());
        }
        let folder = self.folder()?;
        let temporary = folder.join(format!("{TEMPORARY}{:016x}", regular::random()));
        let written = match self.synced {
            Some(_) => Written::Synced,
            None => Written::ToTheSystem,
        };
        regular::replace(&folder.join(index.to_string()), &temporary, result, written)?;
        let hash = crate::digest::hash(result);
        push(out, &Record::Beside { index, item, hash });
        Ok(())
    }

    /// The folder of large results, made if it is not there. A link in its place is an error, for
    /// it may lead where another user wants it to.
    fn folder(&self) -> io::Result<PathBuf> {
        let folder = folder(&self.path);
        match fs::create_dir(&folder) {
            Err(error) if error.kind() != ErrorKind::AlreadyExists => return Err(error),
            Ok(()) => return Ok(folder),
            Err(_) => {}
        }
        if is_own(&folder) {
            return Ok(folder);
        }
        let message = format!("{} is not a folder", folder.display());
        Err(io::Error::other(message))
    }

    /// The encoded result at `place`. `None`: it is damaged, or gone.
    pub(crate) fn read(&mut self, index: u64, place: &Place) -> io::Result<Option<Vec<u8>>> {
        match place.at {
            At::Record { offset, length } => {
                let mut bytes = vec![0; length];
                self.is_at_end = false;
                self.file.seek(SeekFrom::Start(offset))?;
                self.file.read_exact(&mut bytes)?;
                Ok(match parse(&bytes) {
                    Parsed::Record(Record::Done { result, .. }, _) => Some(result.to_vec()),
                    _ => None,
                })
            }
            At::Beside(hash) => {
                let path = folder(&self.path).join(index.to_string());
                match regular::read(&path, 0, |_, _| true) {
                    Ok((bytes, _)) => Ok((crate::digest::hash(&bytes) == hash).then_some(bytes)),
                    Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
                    Err(error) => Err(error),
                }
            }
        }
    }

    /// Marks this session as one whose items are not counted: it cannot record which have ended.
    /// The record is as long as the one in its place, so it needs no room on the disk.
    pub(crate) fn forgive(self) {
        let mut out = Vec::new();
        push(&mut out, &Record::Forgiven);
        // (If that fails, too, what is under way counts as a death.)
        let _ = regular::write_at(&self.file, &out, self.session);
    }

    /// Records that the session ends in order.
    pub(crate) fn close(&mut self) -> io::Result<()> {
        let mut out = Vec::new();
        push(&mut out, &Record::Closed);
        self.append(&out)?;
        match self.synced {
            Some(_) => self.file.sync_data(),
            None => Ok(()),
        }
    }
}

/// Where the large results of a journal are.
fn folder(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".items");
    name.into()
}

/// Whether this is a folder, and no link to one.
fn is_own(folder: &Path) -> bool {
    fs::symlink_metadata(folder).is_ok_and(|about| about.is_dir())
}

/// How many results the file has.
pub(crate) fn count(path: &Path) -> Result<usize, JournalError> {
    match regular::open(path, File::options().read(true)) {
        Ok((mut file, _)) => match scan(&mut file, path) {
            // (On Windows, what another program has locked cannot be read.)
            Err(JournalError::File { path, source }) if is_locked(&source) => {
                Err(JournalError::InUse(path))
            }
            scanned => scanned.map(|(known, _)| known.places.len()),
        },
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(0),
        Err(source) => Err(JournalError::File {
            path: path.to_owned(),
            source,
        }),
    }
}

/// Whether Windows reports that others have locked the file: `ERROR_LOCK_VIOLATION`.
fn is_locked(error: &io::Error) -> bool {
    cfg!(windows) && error.raw_os_error() == Some(33)
}

/// Reads all records; returns what they say, and where the last whole one ends.
fn scan(file: &mut File, path: &Path) -> Result<(Known, u64), JournalError> {
    let failed = |source| JournalError::File {
        path: path.to_owned(),
        source,
    };
    let mut known = Known::default();
    let (mut window, mut offset) = (Window::default(), 0);
    while window.rest().len() < FIRST.len() && window.more(file).map_err(failed)? > 0 {}
    let first = window.rest().len().min(FIRST.len());
    if window.rest()[..first] != FIRST[..first] {
        return Err(JournalError::NoJournal(path.to_owned()));
    }
    if first < FIRST.len() {
        return match first {
            0 => Ok((known, 0)),
            _ => Err(JournalError::NoJournal(path.to_owned())),
        };
    }
    window.pass(first);
    offset += first as u64;
    loop {
        match parse(window.rest()) {
            Parsed::Record(record, length) => {
                known.add(&record, offset, length);
                window.pass(length);
                offset += length as u64;
                continue;
            }
            Parsed::Part => {
                if window.more(file).map_err(failed)? == 0 {
                    break;
                }
            }
            Parsed::Damage(at_least) => {
                window.pass(at_least);
                if window.has_record(file).map_err(failed)? {
                    let path = path.to_owned();
                    return Err(JournalError::Damaged { path, offset });
                }
                break;
            }
        }
    }
    Ok((known, offset))
}
