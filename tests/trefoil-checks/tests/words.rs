//! What the compiler says where a program asks for what cannot be: sentences of ours, or one that
//! a page explains.
//!
//! **Job.** `#[diagnostic::on_unimplemented]` is advice only: a further blanket implementation, and
//! the compiler speaks of another trait. So small wrong programs are given to it here, and its
//! words are read.
#![cfg(not(loom))]

use std::path::{Path, PathBuf};
use std::process::Command;

/// The library's builds that lie beside this test, the latest first.
fn libraries(beside: &Path) -> Vec<PathBuf> {
    let files = std::fs::read_dir(beside).expect("it has this test");
    let mut found: Vec<_> = files
        .flatten()
        .filter(|file| {
            let name = file.file_name().into_string().unwrap_or_default();
            name.starts_with("libtrefoil-") && name.ends_with(".rlib")
        })
        .filter_map(|file| Some((file.metadata().ok()?.modified().ok()?, file.path())))
        .collect();
    found.sort();
    found.into_iter().rev().map(|(_, path)| path).collect()
}

/// What the compiler says of a program whose `main` this is.
fn words(body: &str) -> String {
    let test = std::env::current_exe().expect("a test has a path");
    let beside = test.parent().expect("it lies in a directory");
    let scratch =
        Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("words-{}", std::process::id()));
    std::fs::create_dir_all(&scratch).expect("there is room");
    let program = scratch.join("program.rs");
    let text = format!(
        "fn main() {{\nlet pool = trefoil::ThreadPool::with_threads(1);\n\
                        let procs = trefoil::ProcessPool::with_workers(1).unwrap();\n{body}\n}}\n"
    );
    std::fs::write(&program, text).expect("there is room");
    // Not each build is of this toolchain, has what it needs in its folder, or all features.
    let stale = ["E0514", "E0460", "E0463", "E0461", "configured out"];
    let said = libraries(beside).into_iter().map(|library| {
        let mut rustc = Command::new(std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into()));
        rustc.args([
            "--edition=2024",
            "--emit=metadata",
            "--crate-type=bin",
            "--color=never",
            "--extern",
        ]);
        rustc.arg(format!("trefoil={}", library.display()));
        rustc.arg(format!("-Ldependency={}", beside.display()));
        let output = rustc
            .arg(&program)
            .arg("-o")
            .arg(scratch.join("out"))
            .output();
        String::from_utf8_lossy(&output.expect("rustc starts").stderr).into_owned()
    });
    let said = said
        .into_iter()
        .find(|said| !stale.iter().any(|code| said.contains(code)));
    let _ = std::fs::remove_dir_all(&scratch);
    said.expect("one build of the library is of this toolchain")
}

#[test]
fn the_compiler_says_what_to_write() {
    let cases: [(&str, &[&str]); 11] = [
        (
            "pool.map((0..9).filter(|n| n % 2 == 0), |n| n * n);",
            &[
                "the thread pool cannot divide a `",
                "collect the items first: `.collect::<Vec<_>>()`",
                "`pool.imap(items, f)`",
            ],
        ),
        (
            "pool.map([std::rc::Rc::new(1)].iter(), |n| **n);",
            &["its items must be `Send`: no `Rc`, and no reference to an `Rc`"],
        ),
        (
            "procs.spawn((), |()| std::io::Error::other(\"\")).detach();",
            &[
                "a `std::io::Error` cannot be sent between processes",
                "instead of an `io::Error` or a `Box<dyn Error>` its text",
            ],
        ),
        (
            "struct Own; procs.map([Own], |_: Own| ()).unwrap();",
            &[
                "a `Own` cannot be sent between processes",
                "`#[derive(serde::Serialize, serde::Deserialize)]`",
            ],
        ),
        // Of what serde can borrow from its input, the compiler says this, and no crate can change
        // it.
        (
            "procs.spawn(\"text\", |text: &str| text.len()).detach();",
            &["`serde_core::de::Deserialize` is not general enough"],
        ),
        (
            "let group = trefoil::TaskGroup::<u8>::new(); group.add(async { 1 }); drop(group); drop(procs);",
            &["` is not a task", "expected a `Task`"],
        ),
        (
            "async fn load() {} trefoil::race([load(), load()]).join().unwrap(); drop((pool, procs));",
            &[
                "a `impl Future<Output = ()>` is not a task",
                "a future becomes a task when it is spawned: `join_all(futures.map(trefoil::spawn))`",
            ],
        ),
        (
            "fn f(n: u8) -> Result<u8, Box<dyn std::error::Error>> { Ok(n) } procs.spawn(1, f).detach();",
            &[
                "a `Result<u8, Box<dyn std::error::Error>>` cannot be sent between processes",
                "or a `Box<dyn Error>` its text: `.map_err(|error| error.to_string())`",
            ],
        ),
        (
            "fn f(n: u8) -> u8 { n } procs.spawn(f, 1).detach();",
            &["the argument comes before the function, `spawn(7, f)`"],
        ),
        (
            "async fn f(n: u8) -> u8 { n } procs.spawn(1, f).detach();",
            &[
                "a `impl Future<Output = u8>` cannot be sent between processes",
                "an `async fn` runs in the worker by `|argument| trefoil::run(f(argument))`",
            ],
        ),
        // And a right one passes.
        (
            "procs.spawn((2, String::new()), |(n, text): (usize, String)| text.repeat(n)).detach(); drop(pool);",
            &[],
        ),
    ];
    for (body, expected) in cases {
        let said = words(body);
        assert_eq!(
            said.contains("error"),
            !expected.is_empty(),
            "{body}\n{said}"
        );
        for sentence in expected {
            assert!(
                said.contains(sentence),
                "{body}\ndoes not say `{sentence}`:\n{said}"
            );
        }
    }
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/ERRORS.md");
    let page = std::fs::read_to_string(page).expect("there is a page on errors");
    assert!(
        page.contains("is not general enough"),
        "the page explains that sentence"
    );
}
