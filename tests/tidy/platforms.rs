//! Where the source may depend on the system it is built for.
//!
//! Code that differs between systems is in the crate `trefoil-os`, so only there may a `cfg` name a
//! system. Elsewhere it may only say that a public item exists on some systems. A test may be for
//! one system.

use crate::source::{File, Finding};

/// The names of systems in a `cfg`. (Processors and the width of pointers do not count.)
const NAMES: [&str; 6] = [
    "target_os",
    "target_family",
    "target_vendor",
    "target_env",
    "unix",
    "windows",
];

/// The files with public items that exist only on some systems, and how often such a `cfg` may
/// occur.
const PUBLIC: [(&str, usize); 10] = [
    ("src/adapters/hyper/streams.rs", 1), // Unix sockets
    ("src/adapters/tokio_io.rs", 1),      // Unix sockets
    ("src/event_loop/builder.rs", 3),     // the descriptor of a loop
    ("src/io/child.rs", 1),               // signals
    ("src/io/command.rs", 1),             // groups of processes, argument 0
    ("src/io/fs/open_options.rs", 3),     // the rights and flags of Unix
    ("src/io/mod.rs", 11),                // Unix sockets, signals, descriptors
    ("src/process/launch/mod.rs", 1),     // commands that pass their streams on
    ("src/process/mod.rs", 1),            // descriptors
    ("src/process/value/mod.rs", 1),      // descriptors
];

/// A `cfg` that names a system is in `crates/trefoil-os/`, or belongs to a public item or a test.
pub(crate) fn confined(file: &File) -> Vec<Finding> {
    if !file.is_rust() || !file.path.starts_with("src/") {
        return Vec::new();
    }
    let may = PUBLIC.iter().find(|(path, _)| *path == file.path);
    let may = may.map_or(0, |(_, count)| *count);
    let asks = file.lines.iter().enumerate().filter(|(_, line)| {
        let code = &line.code;
        let names = |name: &&str| {
            code.split(|c: char| !c.is_alphanumeric() && c != '_')
                .any(|word| word == *name)
        };
        let cfg = code.contains("cfg(")
            || code.contains("cfg!(")
            || code.contains("cfg_attr(")
            || code.trim_start().starts_with("all(");
        cfg && !code.contains("test") && NAMES.iter().any(names)
    });
    let asks: Vec<usize> = asks.map(|(at, _)| at).collect();
    if asks.len() <= may {
        return Vec::new();
    }
    let what = format!(
        "asks {} times which system it is built for, {may} are allowed: what differs between systems stands in crates/trefoil-os/",
        asks.len()
    );
    vec![Finding::new(file, asks[may], "platform", what)]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reported(path: &str, text: &str) -> usize {
        confined(&File::new(path, text)).len()
    }

    #[test]
    fn a_system_outside_of_sys_is_reported() {
        for bad in [
            "#[cfg(target_os = \"linux\")]\nfn f() {}",
            "#[cfg(all(unix, not(loom)))]\nfn f() {}",
            "fn f() { if cfg!(windows) {} }",
            "#[cfg_attr(target_vendor = \"apple\", path = \"x.rs\")]\nmod x;",
        ] {
            assert_eq!(reported("src/task/a.rs", bad), 1, "{bad}");
            assert_eq!(
                reported("crates/trefoil-os/src/sys/linux/a.rs", bad),
                0,
                "{bad}"
            );
            assert_eq!(reported("tests/task/a.rs", bad), 0, "{bad}");
        }
        let mode = "#[cfg(unix)]\npub fn mode() {}";
        assert_eq!(reported("src/io/child.rs", mode), 0);
        assert_eq!(reported("src/io/child.rs", &mode.repeat(2)), 1);
        for good in [
            "#[cfg(loom)]\nfn f() {}",
            "#[cfg(all(test, target_os = \"linux\"))]\nmod tests {}",
            "#[cfg(target_pointer_width = \"32\")]\nfn f() {}",
            "// cfg(unix)",
        ] {
            assert_eq!(reported("src/task/a.rs", good), 0, "{good}");
        }
    }
}
