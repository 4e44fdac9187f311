//! `docs/TUTORIAL.md`: its listings are the programs of this package, and do what the page says.
//! One file ends the first program and costs the second one result; a program that was killed
//! continues.

#![cfg(target_os = "linux")] // `memory_limit`, and how a death is reported

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

/// Longer than anything takes on a busy machine.
const LIMIT: Duration = Duration::from_secs(120);

const PAGE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/TUTORIAL.md");

/// The listings of that language, in their order.
fn listings(language: &str) -> Vec<String> {
    let page = fs::read_to_string(PAGE).unwrap().replace("\r\n", "\n");
    let fence = format!("```{language}\n");
    let blocks = page.split(&fence).skip(1);
    blocks
        .map(|block| block.split_once("```").unwrap().0.to_owned())
        .collect()
}

/// An empty folder in which the page's first commands have made the data. It is removed when
/// dropped.
struct Folder(PathBuf);

impl Folder {
    fn with_data(name: &str) -> Self {
        let path =
            std::env::temp_dir().join(format!("trefoil-tutorial-{name}-{}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        let commands = &listings("sh")[0];
        let (_, commands) = commands.split_once("cd sums\n").unwrap();
        let made = Command::new("sh")
            .args(["-ec", commands])
            .current_dir(&path)
            .status()
            .unwrap();
        assert!(made.success());
        assert_eq!(fs::read_dir(path.join("data")).unwrap().count(), 90);
        Self(path)
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command.current_dir(&self.0).stdin(Stdio::null());
        command
    }

    fn run(&self, program: &str) -> (Output, String, String) {
        let output = self.command(program).output().unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let (out, err) = (text(&output.stdout), text(&output.stderr));
        (output, out, err)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        _ = fs::remove_dir_all(&self.0);
    }
}

/// All sums are there but those of the two files that are wrong, and these say why.
fn is_complete(out: &str, err: &str) {
    assert_eq!(out.lines().count(), 88, "{out}{err}");
    assert!(
        out.starts_with("data/10.txt: 16\n") && out.ends_with("data/99.txt: 105\n"),
        "{out}"
    );
    assert!(
        err.contains("data/20.txt: \"two\" is not a number"),
        "{err}"
    );
    let died = err
        .lines()
        .find(|line| line.starts_with("data/50.txt: "))
        .expect(err);
    // (With the feature `backtrace`, which another package may turn on, the end is a SIGSEGV.)
    let ends =
        ["6 (SIGABRT)", "11 (SIGSEGV)"].map(|signal| format!(" was killed by signal {signal}"));
    assert!(
        died.contains("worker process ") && ends.iter().any(|end| died.contains(end)),
        "{died}"
    );
}

#[test]
fn the_listings_are_these_programs() {
    let files = [
        "parser",
        "first_loop",
        "files",
        "second_processes",
        "third_resume",
        "fourth_cache",
    ];
    let listings = listings("rust");
    assert_eq!(listings.len(), files.len());
    for (listing, name) in listings.iter().zip(files) {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("src/{name}.rs"));
        let file = fs::read_to_string(path).unwrap().replace("\r\n", "\n");
        assert!(*listing == file, "the listing of {name}.rs is another");
    }
}

#[test]
fn one_file_ends_the_loop() {
    let folder = Folder::with_data("first");
    let (output, out, err) = folder.run(env!("CARGO_BIN_EXE_sums-1"));
    assert!(!output.status.success());
    assert!(out.ends_with("data/49.txt: Ok(55)\n"), "{out}");
    assert!(err.contains("has overflowed its stack"), "{err}");
}

#[test]
fn in_processes_it_costs_its_own_result() {
    let folder = Folder::with_data("second");
    let program = env!("CARGO_BIN_EXE_sums-2");
    let (output, out, err) = folder.run(program);
    assert!(output.status.success());
    is_complete(&out, &err);
    assert!(err.contains("data/50.txt: item 40: "), "{err}");
}

#[test]
fn what_was_killed_continues() {
    let folder = Folder::with_data("third");
    let program = env!("CARGO_BIN_EXE_sums-3");
    let mut first = folder
        .command(program)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let journal = folder.0.join("sums.trefoil");
    let began = Instant::now();
    let size = || fs::metadata(&journal).map_or(0, |file| file.len());
    // Its head, and then some results.
    let mut last = 0;
    for _ in 0..3 {
        while size() <= last {
            assert!(began.elapsed() < LIMIT && first.try_wait().unwrap().is_none());
            std::thread::sleep(Duration::from_millis(5));
        }
        last = size();
    }
    first.kill().unwrap();
    first.wait().unwrap();

    let (output, out, err) = folder.run(program);
    assert!(output.status.success(), "{err}");
    is_complete(&out, &err);
    let (count, _) = err.split_once(" of 90 were done before").unwrap();
    let count: usize = count.trim().parse().unwrap();
    assert!((1..88).contains(&count), "{count}");
}

#[test]
fn a_folder_that_changes_costs_what_has_changed() {
    let folder = Folder::with_data("fourth");
    let program = env!("CARGO_BIN_EXE_sums-4");
    for known in ["0 files were known", "88 files were known"] {
        let (output, out, err) = folder.run(program);
        assert!(output.status.success(), "{err}");
        is_complete(&out, &err);
        assert!(err.contains(known), "{err}");
    }
    fs::write(folder.0.join("data/30.txt"), "[30, [1, 2, 3], 4]").unwrap();
    let (_, out, err) = folder.run(program);
    assert!(
        out.contains("data/30.txt: 40\n") && err.contains("87 files were known"),
        "{out}{err}"
    );
}
