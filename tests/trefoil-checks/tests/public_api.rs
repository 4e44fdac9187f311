//! The public surface of trefoil is what `tests/trefoil-checks/PUBLIC_API.txt` says, line for line.
//!
//! **Job.** A change of a public name, signature or implemented trait shows as a line of a diff, in
//! the commit that makes it. A removed or changed line breaks programs; a new one does not.
//!
//! 1. rustdoc writes what is public as JSON: once for the default build, once with all features.
//! 2. The crate `public-api` makes a line of each item, with full paths; macros, re-exports,
//!    derived and automatic traits are in it.
//! 3. Both lists are compared with the file: first the default build's, then what the features add.
//!
//! What the compiler writes for every type alike (blanket implementations, `Freeze`, unwind safety)
//! is left out, and so are the pages of `_documentation`. Nothing is said twice: the methods that a
//! trait of ours gives to a type have one line there, those of other crates' traits none, since the
//! line of the implementation says them; `Send`, `Sync` and `Unpin` of a type share a line; and the
//! prelude's are `pub use`. What trefoil re-exports from its crate `trefoil-trace` is read there.
//! rustdoc does not list for which types of std `Items`, `FromParallelIterator`, `ParallelExtend`,
//! `Plain` and `PlainAtomic` are implemented, nor does this file: the documentation of each trait
//! does, and tests use them (`tests/thread/maps.rs`, `tests/iter/`, `tests/process/`).
//!
//! To accept a change: `TREFOIL_API=write cargo test -p trefoil-checks --test public_api`.
//!
//! **rustdoc's JSON is not stable**, so a version of `public-api` reads that of some toolchains
//! only. On others this test says so and passes, unless `TREFOIL_API=check` is set, as the gate
//! does; with `skip`, as the gate does with other toolchains, nothing is compared.
//! **Rejected:** to read the sources with `syn`, which any toolchain could: a fifth of the surface
//! (files, pipes, streams) is made by macros and would not be seen, nor would `Send` and `Sync`.
#![cfg(not(loom))]

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use public_api::PublicItem;

/// Traits that the compiler implements for every type, and `Drop`, which nobody can call: left out.
const COMMON: [&str; 6] = [
    "core::marker::Freeze for ",
    "core::marker::StructuralPartialEq for ",
    "core::marker::UnsafeUnpin for ",
    "core::panic::unwind_safe::RefUnwindSafe for ",
    "core::panic::unwind_safe::UnwindSafe for ",
    "core::ops::drop::Drop for ",
];

fn top() -> &'static Path {
    let member = Path::new(env!("CARGO_MANIFEST_DIR"));
    member
        .ancestors()
        .nth(2)
        .expect("a member lies in the workspace")
}

/// The features of trefoil, without the default and the private ones.
fn features(manifest: &str) -> Vec<String> {
    let section = manifest.split("\n[features]\n").nth(1).unwrap_or_default();
    let section = section.split("\n[").next().unwrap_or_default();
    let names = section.lines().filter_map(|line| line.split_once(" = "));
    let public = names
        .map(|(name, _)| name.trim())
        .filter(|name| !name.starts_with("__") && !name.starts_with('#') && *name != "default");
    public.map(str::to_owned).collect()
}

/// Runs rustdoc on a crate of this repository. Returns the path of the JSON.
fn json(package: &str, features: &[String]) -> PathBuf {
    // target/tmp: what `cargo doc` has built beside it is used again.
    let target = Path::new(env!("CARGO_TARGET_TMPDIR"))
        .parent()
        .expect("it lies in target");
    let mut cargo = Command::new(env!("CARGO"));
    cargo
        .current_dir(top())
        .env(
            "RUSTDOC",
            top().join("tests/trefoil-checks/rustdoc-json.sh"),
        )
        .args([
            "rustdoc",
            "--locked",
            "--quiet",
            "--package",
            package,
            "--lib",
            "--features",
        ])
        .arg(features.join(","))
        .arg("--target-dir")
        .arg(target)
        .args([
            "--",
            "-Zunstable-options",
            "--output-format",
            "json",
            "--cap-lints",
            "allow",
        ]);
    let output = cargo.output().expect("cargo starts");
    let words = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "rustdoc failed:\n{words}");
    target.join(format!("doc/{}.json", package.replace('-', "_")))
}

/// Every line of a crate, with full paths.
fn lines(package: &str, features: &[String]) -> Result<BTreeSet<String>, String> {
    let json = json(package, features);
    let builder = public_api::Builder::from_rustdoc_json(json).omit_blanket_impls(true);
    let api = builder.build().map_err(|error| error.to_string())?;
    Ok(api.items().map(line).collect())
}

/// The lines of one build. `Err`: `public-api` cannot read this toolchain's JSON.
fn surface(features: &[String]) -> Result<BTreeSet<String>, String> {
    let trace = features.iter().filter(|name| *name == "trace").cloned();
    let trace = lines("trefoil-trace", &trace.collect::<Vec<_>>())?;
    let lines = without_repeats(with_reexports(&lines("trefoil", features)?, &trace));
    let lines = lines.into_iter();
    let news = |line: &String| {
        !line.contains("trefoil::_documentation") && !COMMON.iter().any(|name| line.contains(name))
    };
    Ok(lines.filter(news).collect())
}

/// The lines of trefoil, with those of its crate `trefoil-trace` in place of the re-exports. A
/// re-export has only its own path, so it is found there by its name.
fn with_reexports(own: &BTreeSet<String>, trace: &BTreeSet<String>) -> BTreeSet<String> {
    let inside = |letter: char| letter.is_alphanumeric() || "_:".contains(letter);
    let there = trace.iter().filter_map(|line| {
        let at = line.find("trefoil_trace::")?;
        let end = line[at..].find(|letter| !inside(letter));
        let path = line[at..end.map_or(line.len(), |end| at + end)].trim_end_matches(':');
        let is_item = line.contains("pub ") && path.matches("::").count() == 2;
        is_item.then(|| Some((path.rsplit("::").next()?, path)))?
    });
    let there: BTreeMap<&str, &str> = there.collect();
    let uses = own.iter().filter_map(|line| {
        let path = line.strip_prefix("pub use ")?;
        Some((*there.get(path.rsplit("::").next()?)?, path))
    });
    let uses: BTreeMap<&str, &str> = uses.collect();
    let renamed = |line: &String| {
        uses.iter().fold(line.clone(), |line, (from, to)| {
            let mut parts = line.split(from);
            let first = parts.next().unwrap_or_default().to_owned();
            parts.fold(first, |out, part| {
                let longer = part.starts_with(|letter: char| letter != ':' && inside(letter));
                out + if longer { from } else { to } + part
            })
        })
    };
    let used = |line: &str| {
        uses.values()
            .any(|to| line.strip_prefix("pub use ") == Some(*to))
    };
    let own = own.iter().filter(|line| !used(line)).map(renamed);
    let trace = trace.iter().map(renamed);
    own.chain(trace.filter(|line| !line.contains("trefoil_trace")))
        .collect()
}

/// An item as `public-api` renders it, with the colon that it omits in `IntoIterator<Item: Send>`.
fn line(item: &PublicItem) -> String {
    let begins_word = |first: char| first.is_alphanumeric() || first == '\'';
    let is_word = |text: &str| text.starts_with(begins_word);
    let mut line = String::new();
    let mut after_word = false;
    for token in item.tokens() {
        let word = is_word(token.text());
        if word && after_word {
            line.push_str(": ");
        }
        line.push_str(token.text());
        after_word = word;
    }
    line
}

/// The path behind each `trefoil::` of a line.
fn paths(line: &str) -> impl Iterator<Item = &str> {
    line.match_indices("trefoil::").filter_map(|(at, _)| {
        let inside = |letter: char| letter.is_alphanumeric() || "_:".contains(letter);
        let path = &line[at..];
        let end = path.find(|letter| !inside(letter)).unwrap_or(path.len());
        let whole = !line[..at].ends_with(inside);
        whole.then(|| path[..end].trim_end_matches(':'))
    })
}

/// What is declared: the path that a line of it begins with, and the kind of the item.
fn declared(lines: &BTreeSet<String>) -> BTreeMap<&str, &str> {
    let lines = lines.iter().filter_map(|line| {
        let (_, item) = line.split_once("pub ")?;
        let path = paths(item).next()?;
        let kind = item.split(path).next()?.trim_end();
        Some((path, kind.rsplit(' ').next()?))
    });
    lines.collect()
}

/// Paths in signatures that have no page: neither declared, nor part of a declared type or trait.
fn nameless(lines: &BTreeSet<String>) -> BTreeSet<&str> {
    let declared = declared(lines);
    let is_type = |path: &str| {
        let kinds = ["struct", "enum", "trait", "type"];
        declared.get(path).is_some_and(|kind| kinds.contains(kind))
    };
    let known = |path: &&str| {
        let parent = path.rsplit_once("::").map(|(parent, _)| parent);
        declared.contains_key(path) || parent.is_some_and(is_type)
    };
    let all = lines.iter().flat_map(|line| paths(line));
    all.filter(|path| !known(path)).collect()
}

/// Types of which another path is the one that implementations name, and functions that are
/// declared twice.
fn second_paths(lines: &BTreeSet<String>) -> Vec<&str> {
    let declared = declared(lines);
    let implemented: BTreeSet<&str> = lines
        .iter()
        .filter(|line| line.starts_with("impl"))
        .filter_map(|line| paths(line.rsplit(" for ").next()?).next())
        .collect();
    let types = declared
        .iter()
        .filter(|(path, kind)| ["struct", "enum"].contains(*kind) && !implemented.contains(*path));
    let mut seconds: Vec<&str> = types.map(|(path, _)| *path).collect();
    let mut seen = BTreeSet::new();
    let functions = lines.iter().filter_map(|line| line.strip_prefix("pub fn "));
    for line in functions {
        let Some(path) = paths(line).next().filter(|path| line.starts_with(path)) else {
            continue;
        };
        let Some((parent, _)) = path.rsplit_once("::") else {
            continue;
        };
        let is_function = path[parent.len() + 2..].starts_with(char::is_lowercase);
        let is_free = is_function && (parent == "trefoil" || declared.get(parent) == Some(&"mod"));
        if is_free && !seen.insert(&line[parent.len()..]) {
            seconds.push(path);
        }
    }
    seconds
}

/// With one line for all methods that a type has of a trait: they are said at the trait. A trait of
/// two paths says them at the first.
fn without_repeats(lines: BTreeSet<String>) -> BTreeSet<String> {
    let paths = lines.iter().filter_map(|line| {
        let path = line.strip_prefix("pub trait ")?;
        let is_name = |letter: char| letter.is_alphanumeric() || "_:".contains(letter);
        let end = path.find(|letter| !is_name(letter)).unwrap_or(path.len());
        Some(path[..end].trim_end_matches(':'))
    });
    let paths: BTreeSet<&str> = paths.collect();
    // Where each method begins behind its path, and of which trait it is.
    let mut methods: BTreeMap<&str, &str> = BTreeMap::new();
    for line in lines.iter().filter_map(|line| line.strip_prefix("pub fn ")) {
        let owner = paths.iter().find_map(|path| {
            let method = line.strip_prefix(path)?.strip_prefix("::")?;
            Some((method, *path))
        });
        if let Some((method, path)) = owner {
            methods.entry(method).or_insert(path);
        }
    }
    let repeated = |line: &String| {
        let item = line.strip_prefix("pub fn ")?;
        let parts = item.match_indices("::");
        let mut parts = parts.map(|(at, _)| (&item[..at], &item[at + 2..]));
        let (of, path) = parts.find_map(|(of, method)| Some((of, *methods.get(method)?)))?;
        (of != path).then(|| format!("pub fn {of}: the methods of {path}"))
    };
    // A type that has a few of them has methods of its own that look like these.
    let of_trait = |path: &str| methods.values().filter(|of| **of == path).count();
    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    for said in lines.iter().filter_map(repeated) {
        *counts.entry(said).or_default() += 1;
    }
    counts.retain(|said, count| {
        let path = said.split(": the methods of ").nth(1).unwrap_or_default();
        *count * 2 > of_trait(path)
    });
    let once = |line| repeated(line).filter(|said| counts.contains_key(said));
    let kept = lines
        .iter()
        .map(|line| once(line).unwrap_or_else(|| line.clone()));
    kept.collect()
}

/// Methods that only traits of other crates have: where a type has one, another line says that it
/// implements the trait.
const FOREIGN: [&str; 24] = [
    "as_fd",
    "as_raw_fd",
    "as_ref",
    "bitor",
    "bitor_assign",
    "clone",
    "cmp",
    "default",
    "deref",
    "deref_mut",
    "deserialize",
    "drop",
    "eq",
    "fmt",
    "from",
    "from_iter",
    "from_str",
    "hash",
    "into_iter",
    "partial_cmp",
    "serialize",
    "size_hint",
    "source",
    "try_from",
];

/// The name of the function that a line declares, and its arguments.
fn function(line: &str) -> Option<(&str, &str)> {
    let path = line.strip_prefix("pub fn ")?;
    let (mut depth, mut begin, mut name, mut last) = (0, 0, "", ' ');
    for (at, char) in path.char_indices() {
        match char {
            ':' if depth == 0 => (begin, name) = (at + 1, ""),
            '<' | '(' if depth == 0 && name.is_empty() => name = &path[begin..at],
            _ => {}
        }
        match char {
            '(' if depth == 0 => return Some((name, &path[at + 1..])),
            '<' => depth += 1,
            '>' if last != '-' => depth -= 1,
            _ => {}
        }
        last = char;
    }
    None
}

/// Whether a line is a method of a trait of another crate. What polls a pinned `self` is: our own
/// methods poll a `&self` or `&mut self`.
fn is_foreign(line: &str) -> bool {
    function(line).is_some_and(|(name, arguments)| {
        FOREIGN.contains(&name) || arguments.starts_with("core::pin::Pin<&mut Self>")
    })
}

#[test]
fn only_the_name_of_a_function_makes_it_foreign() {
    for (line, name) in [
        ("pub fn trefoil::Task<T>::join(self) -> T", "join"),
        (
            "pub fn trefoil::Task<T>::eq<K: core::cmp::Ord>(&self)",
            "eq",
        ),
        (
            "pub fn a::I::min_by_key<K: core::cmp::Ord, F: Fn(K) -> core::hash::X>(self)",
            "min_by_key",
        ),
        ("pub fn trefoil::join<A, B>(a: A, b: B) -> (A, B)", "join"),
        (
            "pub fn <a::X<T> as core::clone::Clone>::clone(&self)",
            "clone",
        ),
    ] {
        assert_eq!(function(line).unwrap().0, name);
        assert_eq!(is_foreign(line), ["eq", "clone"].contains(&name), "{line}");
    }
}

/// Whether a line says no more than that a type has methods.
fn is_block(line: &str) -> bool {
    let is_bounded = line.contains(" for ") || line.contains(" where ") || line.contains(": ");
    line.starts_with("impl") && !is_bounded
}

/// The lines as they are written: without what another line says.
fn folded(lines: &BTreeSet<String>) -> BTreeSet<String> {
    let mut auto: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    let mut kept = BTreeSet::new();
    for line in lines {
        let parts = line.strip_prefix("impl").and_then(|rest| {
            let (implemented, of) = rest.split_once(" for ")?;
            let (head, name) = implemented.rsplit_once("core::marker::")?;
            let is_auto = ["Send", "Sync", "Unpin"].contains(&name);
            is_auto.then_some((head.trim_start(), name, of))
        });
        if let Some((head, name, of)) = parts {
            let (of, bounds) = of.split_once(" where ").unwrap_or((of, ""));
            // The bounds that the crate writes stand at the parameters.
            let bounds = match (bounds, head.contains(':')) {
                ("", true) => format!(" if {}", head.trim_end()),
                ("", false) => String::new(),
                (bounds, _) => format!(" where {bounds}"),
            };
            let not = if head.ends_with('!') { "!" } else { "" };
            let said = format!("{not}{name}{bounds}");
            auto.entry(of).or_default().push(said);
        } else if let Some((kind, name)) = line.split_once("trefoil::prelude::") {
            if kind == "pub trait " {
                let end = name.find(|letter: char| !letter.is_alphanumeric());
                let name = &name[..end.unwrap_or(name.len())];
                kept.insert(format!("pub use trefoil::prelude::{name}"));
            }
        } else if !is_foreign(line) && !is_block(line) {
            kept.insert(line.clone());
        }
    }
    for (of, mut said) in auto {
        said.sort_unstable();
        kept.insert(format!("{of}: {}", said.join("; ")));
    }
    kept
}

const HEAD: &str = "\
# The public surface of trefoil. Written by
#     TREFOIL_API=write cargo test -p trefoil-checks --test public_api
# which also compares it. A line that is gone or changed breaks programs.
";

fn text(default: &BTreeSet<String>, all: &BTreeSet<String>, features: &[String]) -> String {
    let mut out = HEAD.to_owned();
    let mut part = |name: &str, lines: Vec<&String>| {
        let _ = writeln!(out, "\n== {name}\n");
        lines
            .iter()
            .for_each(|line| out.extend([line.as_str(), "\n"]));
    };
    part("default", default.iter().collect());
    let gone = default.difference(all);
    assert_eq!(gone.count(), 0, "a feature takes something away");
    part(
        &format!("with {}", features.join(", ")),
        all.difference(default).collect(),
    );
    out
}

/// What is only in one of them: lines of `-` and `+`.
fn diff(old: &str, new: &str) -> String {
    let lines = |text: &str| -> BTreeSet<String> {
        let lines = text
            .lines()
            .filter(|line| !line.starts_with('#') && !line.is_empty());
        lines.map(str::to_owned).collect()
    };
    let (old, new) = (lines(old), lines(new));
    let mut changes: Vec<(&String, char)> = old.difference(&new).map(|line| (line, '-')).collect();
    changes.extend(new.difference(&old).map(|line| (line, '+')));
    changes.sort();
    changes.iter().fold(String::new(), |out, (line, sign)| {
        out + &format!("{sign} {line}\n")
    })
}

#[test]
fn the_surface_is_what_the_file_says() {
    let how = std::env::var("TREFOIL_API").unwrap_or_default();
    if how == "skip" {
        return;
    }
    let manifest = std::fs::read_to_string(top().join("Cargo.toml")).expect("there is a manifest");
    let features = features(&manifest);
    assert!(features.len() >= 5, "{features:?}");
    let both = surface(&[]).and_then(|default| Ok((default, surface(&features)?)));
    let (default, all) = match both {
        Ok(both) => both,
        Err(why) => {
            let words =
                format!("this toolchain's rustdoc writes what public-api cannot read: {why}");
            assert!(how.is_empty(), "{words}");
            println!("skipped: {words}");
            return;
        }
    };
    assert!(default.len() > 500, "only {} public items", default.len());
    // It stands beside `sleep`, too.
    assert_eq!(second_paths(&all), ["trefoil::timeout"]);
    assert_eq!(nameless(&all), BTreeSet::new(), "have no page");
    let new = text(&folded(&default), &folded(&all), &features);
    let file = top().join("tests/trefoil-checks/PUBLIC_API.txt");
    if how == "write" {
        std::fs::write(&file, new).expect("it can be written");
        return;
    }
    let old = std::fs::read_to_string(&file).unwrap_or_default();
    assert!(
        old == new,
        "the public surface is not that of tests/trefoil-checks/PUBLIC_API.txt (- there, + here):\n{}\nIf that is wanted: \
         TREFOIL_API=write cargo test -p trefoil-checks --test public_api, and a line in CHANGELOG.md.",
        diff(&old, &new)
    );
}

#[test]
fn a_changed_line_is_seen() {
    let old = "# a\n== default\n\npub fn a()\npub fn b(u8)\npub fn c()\n";
    let new = "# b\n== default\n\npub fn a()\npub fn b(u16)\npub fn d()\n";
    assert_eq!(
        diff(old, new),
        "+ pub fn b(u16)\n- pub fn b(u8)\n- pub fn c()\n+ pub fn d()\n"
    );
    assert_eq!(diff(old, old), "");
}

#[test]
fn what_is_exported_again_has_the_path_of_its_users() {
    let own = ["pub mod trefoil::room", "pub use trefoil::room::One"];
    let inside = [
        "impl core::fmt::Debug for trefoil_trace::a::One",
        "pub fn trefoil_trace::a::One::get(&self) -> trefoil_trace::a::One",
        "pub fn trefoil_trace::a::OneMore::get(&self)",
        "pub mod trefoil_trace::a",
        "pub struct trefoil_trace::a::One",
        "pub struct trefoil_trace::a::OneMore",
    ];
    let expected = [
        "impl core::fmt::Debug for trefoil::room::One",
        "pub fn trefoil::room::One::get(&self) -> trefoil::room::One",
        "pub mod trefoil::room",
        "pub struct trefoil::room::One",
    ];
    let inside = inside.map(str::to_owned).into();
    let lines = with_reexports(&own.map(str::to_owned).into(), &inside);
    assert_eq!(lines, expected.map(str::to_owned).into());
}

#[test]
fn nothing_is_said_twice() {
    let lines = [
        "impl !core::marker::Send for trefoil::Loop",
        "impl<T: core::marker::Send> core::marker::Sync for trefoil::One<T>",
        "impl<T> core::clone::Clone for trefoil::One<T>",
        "impl<T> core::marker::Copy for trefoil::One<T>",
        "impl<T> core::marker::Send for trefoil::One<T> where T: core::marker::Send",
        "impl<T> core::marker::Unpin for trefoil::One<T>",
        "impl<T> trefoil::One<T>",
        "pub fn trefoil::One<T>::clone(&self) -> Self",
        "pub fn trefoil::One<T>::get<U>(&self, U)",
        "pub fn trefoil::One<T>::hash<__H: core::hash::Hasher>(&self, &mut __H)",
        "pub fn trefoil::One<T>::poll(core::pin::Pin<&mut Self>, u8) -> Self",
        "pub fn trefoil::One<T>::poll_it(&self, u8) -> Self",
        "pub fn trefoil::prelude::Many: the methods of trefoil::Many",
        "pub trait trefoil::prelude::Many: Sized",
    ];
    let folded = folded(&lines.map(str::to_owned).into());
    let expected = [
        "impl<T> core::clone::Clone for trefoil::One<T>",
        "impl<T> core::marker::Copy for trefoil::One<T>",
        "pub fn trefoil::One<T>::get<U>(&self, U)",
        "pub fn trefoil::One<T>::poll_it(&self, u8) -> Self",
        "pub use trefoil::prelude::Many",
        "trefoil::Loop: !Send",
        "trefoil::One<T>: Send where T: core::marker::Send; Sync if <T: core::marker::Send>; Unpin",
    ];
    assert_eq!(folded, expected.map(str::to_owned).into());
}

#[test]
fn what_has_no_page_or_two_is_seen() {
    let lines = [
        "impl core::marker::Unpin for trefoil::One<T>",
        "impl trefoil::inside::Sealed for trefoil::One<T>",
        "pub fn trefoil::One<T>::get(&self) -> trefoil::One<T>::Output",
        "pub fn trefoil::one() -> trefoil::One<u8>",
        "pub fn trefoil::room::one() -> trefoil::One<u8>",
        "pub mod trefoil::room",
        "#[repr(transparent)] pub struct trefoil::One<T>",
        "pub struct trefoil::room::One<T>",
    ];
    let lines = lines.map(str::to_owned).into_iter().collect();
    assert_eq!(
        second_paths(&lines),
        ["trefoil::room::One", "trefoil::room::one"]
    );
    assert_eq!(
        nameless(&lines),
        BTreeSet::from(["trefoil::inside::Sealed"])
    );
}

#[test]
fn the_methods_of_a_trait_are_said_once() {
    let lines = [
        "pub fn Own::all(self) -> bool",
        "pub fn a::Ones<I>::all(self) -> bool",
        "pub fn a::Ones<I>::any(self) -> bool",
        "pub fn a::Ones<I>::new(I) -> Self",
        "pub fn a::Par::all(self) -> bool",
        "pub fn a::Par::any(self) -> bool",
        "pub fn b::Par::all(self) -> bool",
        "pub fn b::Par::any(self) -> bool",
        "pub trait a::Par: core::marker::Send",
        "pub trait b::Par: core::marker::Send",
    ];
    let once = [
        "pub fn Own::all(self) -> bool",
        "pub fn a::Ones<I>: the methods of a::Par",
        "pub fn a::Ones<I>::new(I) -> Self",
        "pub fn a::Par::all(self) -> bool",
        "pub fn a::Par::any(self) -> bool",
        "pub fn b::Par: the methods of a::Par",
        "pub trait a::Par: core::marker::Send",
        "pub trait b::Par: core::marker::Send",
    ];
    let lines = lines.map(str::to_owned).into_iter().collect();
    assert!(without_repeats(lines).into_iter().eq(once));
}

#[test]
fn features_are_read_from_the_manifest() {
    let manifest = "[package]\nx = 1\n\n[features]\ndefault = []\n\n## Words = more.\nauto = []\n__bench = []\nhyper = [\"dep:hyper\"]\n\n[dependencies]\nlibc = \"0\"\n";
    assert_eq!(features(manifest), ["auto", "hyper"]);
}
