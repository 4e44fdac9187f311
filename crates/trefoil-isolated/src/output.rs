//! What a test prints, so that the harness has it as if the test had printed it here.
//!
//! The harness catches what its own thread prints, and shows it if the test fails. So the process
//! of a test prints to a file, which is printed here at its end; with `--nocapture` it prints where
//! this process does. The file has no name any more as soon as both have opened it.

use std::fs::{self, File};
use std::hash::{BuildHasher, RandomState};
use std::io::{self, Read, Seek, SeekFrom};
use std::path::PathBuf;

/// How much of it is shown: the end.
const SHOWN: u64 = 1 << 20;

/// How many of the last lines of it are in a message.
const WORDS: usize = 10;

/// Whether the harness shows everything at once.
pub(crate) fn is_shown_at_once() -> bool {
    let is_set = |name| std::env::var_os(name).is_some_and(|value| value != "0");
    let asks = |arg: &std::ffi::OsString| arg == "--nocapture" || arg == "--no-capture";
    is_set("RUST_TEST_NOCAPTURE") || std::env::args_os().any(|arg| asks(&arg)) || cfg!(not(unix))
}

/// The output of one process.
pub(crate) struct Output {
    pub(crate) path: PathBuf,
    file: File,
}

impl Output {
    pub(crate) fn new() -> io::Result<Self> {
        let random = RandomState::new().hash_one(std::process::id());
        let path = std::env::temp_dir().join(format!("trefoil-isolated-{random:016x}"));
        let mut options = File::options();
        options.read(true).write(true).create_new(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let file = options.open(&path)?;
        Ok(Self { path, file })
    }

    /// Its end, as text.
    pub(crate) fn text(mut self) -> String {
        let mut bytes = Vec::new();
        let length = self.file.metadata().map_or(0, |known| known.len());
        let begin = length.saturating_sub(SHOWN);
        let _ = self.file.seek(SeekFrom::Start(begin));
        let _ = self.file.by_ref().take(SHOWN).read_to_end(&mut bytes);
        let text = String::from_utf8_lossy(&bytes).into_owned();
        match begin {
            0 => text,
            _ => format!("[the first {begin} bytes are left out]\n{text}"),
        }
    }
}

impl Drop for Output {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.path); // if its process never began
    }
}

/// What this process prints from now on goes to that file.
#[cfg(unix)]
pub(crate) fn redirect(path: &str) -> io::Result<()> {
    let file = File::options().append(true).open(path)?;
    fs::remove_file(path)?;
    rustix::stdio::dup2_stdout(&file)?;
    rustix::stdio::dup2_stderr(&file)?;
    Ok(())
}

#[cfg(not(unix))]
pub(crate) fn redirect(_: &str) -> io::Result<()> {
    Ok(())
}

/// The last lines.
pub(crate) fn last_words(text: &str) -> String {
    let lines: Vec<&str> = text.trim_end().lines().collect();
    let begin = lines.len().saturating_sub(WORDS);
    lines[begin..].join("\n")
}
