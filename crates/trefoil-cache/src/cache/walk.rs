//! What belongs to a cache, below its folder.

use std::fs::{self, DirEntry};
use std::io;
use std::path::{Path, PathBuf};

use crate::regular::TEMPORARY; // no entry's name begins so: those are hexadecimal

/// The name of packs.
pub(crate) const PACK: &str = "pack";

/// A folder or a file of a cache.
pub(crate) enum Found {
    Folder(PathBuf),
    /// A folder whose content cannot be read, and why.
    Unread(io::Error),
    File {
        entry: DirEntry,
        kind: Kind,
    },
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// An entry of its own file.
    Entry,
    /// Small entries.
    Pack,
    Temporary,
    /// The text about a generation.
    About,
}

/// Visits what belongs to a cache below a folder of this level: 0 is the cache, 1 a function, 2 a
/// generation, 3 has entries. What has another name is not touched, and no link is followed.
/// `slice`: only the folders of entries that have this name.
pub(crate) fn walk(folder: &Path, level: usize, slice: Option<&str>, visit: &mut dyn FnMut(Found)) {
    let hexadecimal = |text: &str, length: usize| {
        text.len() == length && text.bytes().all(|byte| byte.is_ascii_hexdigit())
    };
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) => return visit(Found::Unread(error)),
    };
    for entry in entries {
        let entry = match entry {
            Ok(entry) => entry,
            Err(error) => return visit(Found::Unread(error)),
        };
        let name = entry.file_name();
        let (Some(name), Ok(file_type)) = (name.to_str(), entry.file_type()) else {
            continue;
        };
        if file_type.is_dir() {
            let is_ours = match level {
                0 => name
                    .rsplit_once('-')
                    .is_some_and(|(_, hash)| hexadecimal(hash, 8)),
                1 => hexadecimal(name, 16),
                2 => hexadecimal(name, 2) && slice.is_none_or(|slice| slice == name),
                _ => false,
            };
            if is_ours {
                let path = entry.path();
                visit(Found::Folder(path.clone()));
                walk(&path, level + 1, slice, visit);
            }
        } else if file_type.is_file() {
            let kind = match level {
                2 if name == "about" => Kind::About,
                3 if hexadecimal(name, 62) => Kind::Entry,
                3 if name == PACK => Kind::Pack,
                3 if name.starts_with(TEMPORARY) => Kind::Temporary,
                _ => continue,
            };
            visit(Found::File { entry, kind });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_that_cannot_be_read_is_reported() {
        let mut kinds = Vec::new();
        let file = std::env::current_exe().unwrap(); // which is no folder
        walk(&file, 3, None, &mut |found| match found {
            Found::Unread(error) => kinds.push(error.kind()),
            _ => unreachable!("it has nothing"),
        });
        assert_eq!(kinds, [io::ErrorKind::NotADirectory]);
    }
}
