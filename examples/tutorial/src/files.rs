//! The files of the folder `data`, and what became of each.

use std::fmt::Display;
use std::path::{Path, PathBuf};
use std::{fs, io};

/// All files, in order.
pub fn list() -> io::Result<Vec<PathBuf>> {
    let entries = fs::read_dir("data")?;
    let mut paths: Vec<_> = entries
        .map(|entry| Ok(entry?.path()))
        .collect::<io::Result<_>>()?;
    paths.sort();
    Ok(paths)
}

/// What a worker does with one file.
pub fn sum(path: PathBuf) -> Result<i64, String> {
    let text = fs::read_to_string(path).map_err(|error| error.to_string())?;
    crate::parser::sum(&text)
}

/// Prints a sum, or why there is none: an error of ours, or what became of the worker.
pub fn report(path: &Path, result: Result<Result<i64, String>, impl Display>) {
    match result {
        Ok(Ok(sum)) => println!("{}: {sum}", path.display()),
        Ok(Err(ours)) => eprintln!("{}: {ours}", path.display()),
        Err(failure) => eprintln!("{}: {failure}", path.display()),
    }
}
