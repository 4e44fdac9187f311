//! `plugin_host`: what becomes of each kind of script.
#![cfg(target_os = "linux")]

mod support;

use support::run;

#[test]
fn each_kind_of_script_has_its_end() {
    let found = run(
        env!("CARGO_BIN_EXE_plugin_host"),
        &["100".as_ref(), "5000".as_ref()],
    );
    assert_eq!(found.code, Some(0), "{}", found.err);
    let has = |kind: &str, end: &str| {
        let line = found
            .out
            .lines()
            .find(|line| line.contains(kind) && line.contains(end));
        assert!(line.is_some(), "{kind}: {end}\n{}{}", found.out, found.err);
        line.unwrap().trim().split(' ').next().unwrap().to_owned()
    };
    assert_eq!(has("computes", "the value 333833500"), "82");
    for (kind, end) in [
        ("loops", "its time was up"),
        ("fills the memory", "memory"),
        ("overflows the stack", "stack overflow"),
        ("has an error", "nil value"),
        ("opens a file", "/etc/passwd: Permission denied"),
        ("writes a file", "plugin_host.txt: "),
        ("opens a socket", "Operation not permitted"),
        ("starts a program", "id: "),
        ("ends the process", "code 3"),
    ] {
        assert_eq!(has(kind, end), "2");
    }
    assert!(!std::path::Path::new("plugin_host.txt").exists());
}
