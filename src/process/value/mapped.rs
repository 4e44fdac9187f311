//! The pieces of shared memory that this process has mapped, each once.
//!
//! **Job.** A value that stands for shared memory ([`Shared`](crate::process::Shared),
//! [`SharedAtomics`](crate::process::SharedAtomics)) holds a [`Mapped`]: the mapping, and the
//! descriptor that travels. If the same memory arrives again, it is found in a table instead of
//! being mapped again: a file keeps its number as long as it is open anywhere. The table holds weak
//! references; dropping the last handle unmaps the memory and closes the descriptor.
//!
//! Tests: below; `tests/process/shared.rs`.

use std::collections::HashMap;
use std::io;
use std::sync::{Arc, Weak};

use super::attachments::AttachedFile;
use crate::loom::Mutex;
use crate::sys::descriptor::AsFile;
use crate::sys::files::identity;
use crate::sys::fork::PerProcess;
use trefoil_os::host::mapping::{Access, Mapping};
use trefoil_os::host::segment;

/// Identifies a file, as long as it is open.
type Key = (u64, u64);

/// The size of the atomics by which changing memory is accessed; 0 for memory that never changes.
type AtomicSize = usize;

/// Those of this process.
fn table() -> &'static Mutex<HashMap<Key, Weak<Mapped>>> {
    static TABLE: PerProcess<Mutex<HashMap<Key, Weak<Mapped>>>> = PerProcess::new();
    TABLE.get_or_init(Mutex::default)
}

/// A piece of shared memory.
#[derive(Debug)]
pub(crate) struct Mapped {
    pub(super) mapping: Mapping,
    /// The descriptor that travels.
    pub(crate) attachment: Arc<AttachedFile>,
    key: Key,
    pub(super) atomic_size: AtomicSize,
}

impl Mapped {
    /// New memory with a copy of `bytes`, which never changes.
    pub(crate) fn fixed(bytes: &[u8]) -> io::Result<Arc<Self>> {
        Self::open(AttachedFile::new(segment::fixed(bytes)?), 0)
    }

    /// New memory, all zero, for atomics of `atomic_size` bytes each.
    pub(crate) fn atomics(length: usize, atomic_size: AtomicSize) -> io::Result<Arc<Self>> {
        Self::open(AttachedFile::new(segment::writable(length)?), atomic_size)
    }

    /// Maps the memory of `attachment`, for atomics of `atomic_size` bytes, or as memory that never
    /// changes (0). The same memory cannot be mapped for atomics of two sizes, because the language
    /// does not define such accesses.
    pub(crate) fn open(
        attachment: Arc<AttachedFile>,
        atomic_size: AtomicSize,
    ) -> io::Result<Arc<Self>> {
        // (This first: a question to a file of another kind, which may come from anywhere, may
        // wait.)
        segment::check(attachment.as_file(), atomic_size == 0)?;
        let key = identity(&*attachment)?;
        let mut table = table().lock();
        let mapped = match table.get(&key).and_then(Weak::upgrade) {
            Some(known) => known,
            None => {
                let access = match atomic_size {
                    0 => Access::Fixed,
                    _ => Access::Write,
                };
                let mapping = segment::open(attachment.as_file(), access)?;
                if atomic_size == 0 {
                    attachment.set_fixed(); // it is sealed, or it could not have been mapped
                }
                let new = Arc::new(Self {
                    mapping,
                    attachment,
                    key,
                    atomic_size,
                });
                table.insert(key, Arc::downgrade(&new));
                new
            }
        };
        drop(table); // before `mapped`, whose destructor takes the lock, is dropped
        if mapped.atomic_size != atomic_size {
            let message = "this process has already mapped the same memory with elements of another \
                size";
            return Err(io::Error::new(io::ErrorKind::InvalidData, message));
        }
        Ok(mapped)
    }
}

impl Drop for Mapped {
    fn drop(&mut self) {
        let mut table = table().lock();
        // The entry may be another one, which another thread has added since the last handle of
        // this one was dropped.
        let own = table.get(&self.key).map(Weak::as_ptr);
        if own.is_some_and(|own| std::ptr::eq(own, self)) {
            table.remove(&self.key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The same memory, by another descriptor where descriptors travel.
    fn again(mapped: &Mapped) -> Arc<AttachedFile> {
        #[cfg(all(test, unix))]
        return AttachedFile::new(
            mapped
                .attachment
                .descriptor
                .file()
                .try_clone()
                .unwrap()
                .into(),
        );
        #[cfg(all(test, not(unix)))]
        mapped.attachment.clone()
    }

    #[test]
    fn what_comes_again_is_the_same() {
        let one = Mapped::fixed(b"hello").unwrap();
        let same = Mapped::open(again(&one), 0).unwrap();
        assert!(Arc::ptr_eq(&one, &same));
        let other = Mapped::fixed(b"hello").unwrap();
        assert!(!Arc::ptr_eq(&one, &other));
        let (key, attachment) = (one.key, again(&one));
        drop(one);
        assert!(table().lock().contains_key(&key), "it has another user");
        drop(same);
        assert!(!table().lock().contains_key(&key));
        let later = Mapped::open(attachment, 0).unwrap();
        assert_eq!(later.mapping.length(), 5);
        assert!(Mapped::open(again(&later), 8).is_err());
        let words = Mapped::atomics(64, 8).unwrap();
        assert!(Mapped::open(again(&words), 8).is_ok());
        assert!(Mapped::open(again(&words), 1).is_err());
        assert!(Mapped::open(again(&words), 0).is_err());
    }
}
