//! `dupes` finds what is there twice, and nothing else.

mod support;

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};

use support::{Scratch, run};

const DUPES: &str = env!("CARGO_BIN_EXE_dupes");

#[test]
fn duplicates_are_found_and_others_are_not() {
    let dir = Scratch::new("dupes");
    let long = vec![7; 300_000];
    let mut almost = long.clone();
    almost[299_999] = 8; // differs behind the first sieve of bytes
    let mut other = long.clone();
    other[0] = 8; // and in front of it
    dir.file("a/long", &long);
    dir.file("b/c/also long", &long);
    dir.file("almost", &almost);
    dir.file("other", &other);
    for name in ["x", "y", "deep/er/z"] {
        dir.file(name, "short");
    }
    dir.file("xx", "shor!");
    dir.file("empty", "");
    dir.file("as empty", "");
    fs::hard_link(dir.0.join("xx"), dir.0.join("hard")).unwrap();
    symlink(dir.0.join("almost"), dir.0.join("link")).unwrap();
    symlink(&dir.0, dir.0.join("a/circle")).unwrap();

    let top = dir.0.display();
    let found = run(DUPES, &[dir.0.as_os_str()]);
    assert_eq!(found.err, "");
    assert_eq!(
        found.out,
        format!(
            "2 files of 300000 bytes\n    {top}/a/long\n    {top}/b/c/also long\n\
             3 files of 5 bytes\n    {top}/deep/er/z\n    {top}/x\n    {top}/y\n\
             8 files, 2 groups, 300010 bytes too many\n"
        )
    );
    assert_eq!(found.code, Some(0));

    // The same directory twice is not twice the files.
    let twice = run(DUPES, &[dir.0.as_os_str(), dir.0.join("a").as_os_str()]);
    assert_eq!(twice.out, found.out);
}

#[test]
fn what_cannot_be_read_is_said() {
    let dir = Scratch::new("dupes-trouble");
    dir.file("x", "same");
    dir.file("y", "same");
    let missing = dir.0.join("missing");
    let found = run(DUPES, &[dir.0.as_os_str(), missing.as_os_str()]);
    assert!(found.out.ends_with("2 files, 1 groups, 4 bytes too many\n"));
    assert!(found.err.contains("missing: No such file"), "{}", found.err);
    assert_eq!(found.code, Some(1));

    let shut = dir.file("shut", "same");
    fs::set_permissions(&shut, fs::Permissions::from_mode(0o000)).unwrap();
    if fs::read(&shut).is_err() {
        // (root may read everything)
        let found = run(DUPES, &[dir.0.as_os_str()]);
        assert!(found.out.contains("2 files of 4 bytes"), "{}", found.out);
        assert!(found.err.contains("shut: "), "{}", found.err);
        assert_eq!(found.code, Some(1));
    }
    assert_ne!(run(DUPES, &[]).code, Some(0));
}
