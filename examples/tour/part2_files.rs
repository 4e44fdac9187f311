//! Part 2, files: the SHA-256 and the number of words of every file.
//!
//! Files differ in size by a factor of a thousand, and nobody sorts them: `map` deals out
//! the work as the workers ask for it, so one file is one item, large or small.
//! To a worker process only the path travels; the file is read over there, and
//! a digest and a number come back.

use super::Pools;
use super::input::Input;
use super::report::{Report, thousands};
use sha2::{Digest, Sha256};
use std::error::Error;

/// What is known about a file: its digest and its words. `None`: unreadable.
pub(crate) type Facts = Option<([u8; 32], u64)>;

/// Returns what part 3 compares its pages with: the facts of each file.
pub(crate) fn run(
    pools: &Pools,
    input: &Input,
    report: &mut Report,
) -> Result<Vec<Facts>, Box<dyn Error>> {
    report.part("2. Files: SHA-256 and words of every file");
    let paths = &input.files;
    let say = |facts: &Vec<Facts>| {
        let words = facts.iter().flatten().map(|(_, words)| words).sum();
        format!(
            "{} files, {} words",
            thousands(facts.len() as u64),
            thousands(words)
        )
    };

    let alone = report.row(
        "one after another",
        paths.len(),
        |bar| Ok(bar.wrap_iter(paths.iter()).map(|path| file(path)).collect()),
        say,
    )?;
    let threads = report.row(
        "threads.map",
        paths.len(),
        |bar| {
            Ok(pools.threads.map(paths, |path| {
                bar.inc(1);
                file(path)
            }))
        },
        say,
    )?;
    let processes = report.row(
        "processes.map",
        0,
        |_| {
            Ok(pools
                .processes
                .map(paths.clone(), |path: String| file(&path))?)
        },
        say,
    )?;
    report.check(
        "the same digests three times",
        alone == threads && alone == processes,
    );
    Ok(alone)
}

fn file(path: &str) -> Facts {
    let content = std::fs::read(path).ok()?;
    Some(facts(&content))
}

/// The digest of `content` and the number of its words, which are what white
/// space separates.
pub(crate) fn facts(content: &[u8]) -> ([u8; 32], u64) {
    let digest = Sha256::digest(content).into();
    let words = content
        .split(u8::is_ascii_whitespace)
        .filter(|word| !word.is_empty())
        .count();
    (digest, words as u64)
}
