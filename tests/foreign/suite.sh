#!/usr/bin/env bash
# The test suites of rayon, rayon-core and three crates that build on rayon, run on trefoil.
#
#     tests/foreign/suite.sh              # all of them
#     tests/foreign/suite.sh rayon-core   # one: rayon, rayon-core, doctests, hashbrown, indexmap, jwalk
#
# Cargo downloads the crates; their copies are tested below target/, with the patch that a program would have. Which tests
# are left out, and why, stands in tests/foreign/left-out.txt.
set -euo pipefail
cd "$(dirname "$0")/../.."
exec </dev/null

export RUST_BACKTRACE=0
top=$PWD
place=${CARGO_TARGET_DIR:-$top/target}/rayon-suite
limit=${LIMIT:-900}

# Where cargo keeps the sources of a crate at this version.
sources() {
    (cd "$place/sources" && cargo metadata --format-version 1 2>/dev/null) | tr ',' '\n' |
        sed -n "s/.*\"manifest_path\":\"\(.*\/$1-$2\)\/Cargo.toml\".*/\1/p" | head -1
}

# The unpatched graph: the original of rayon-core is only in this one.
fetch() {
    mkdir -p "$place/sources/src"
    : >"$place/sources/src/lib.rs"
    cat >"$place/sources/Cargo.toml" <<'END'
[workspace]
[package]
name = "sources"
version = "0.0.0"
edition = "2021"
[dependencies]
rayon = "=1.12.0"
rayon-core = "=1.13.0"
hashbrown = { version = "=0.17.1", features = ["rayon"] }
indexmap = { version = "=2.14.2", features = ["rayon"] }
jwalk = "=0.8.1"
END
    (cd "$place/sources" && cargo fetch --quiet)
}

# A copy that cargo takes for a package of our own.
copy() {
    local from
    from=$(sources "$1" "$2")
    [ -n "$from" ] || { printf 'the sources of %s %s cannot be had\n' "$1" "$2"; exit 1; }
    rm -rf "${place:?}/suites/$1"
    cp -r "$from" "$place/suites/$1"
    chmod -R u+w "$place/suites/$1"
    rm -f "$place/suites/$1/Cargo.lock"
}

# rayon-core's own unit tests, as those of a crate that re-exports ours. Those that need what is private in the original are cut out.
core_tests() {
    local from to=$place/suites/core-tests part
    from=$(sources rayon-core 1.13.0)
    rm -rf "$to"
    mkdir -p "$to/src"
    cp -r "$from/tests" "$to/tests"
    chmod -R u+w "$to"
    cp -r "$from/src/compile_fail" "$to/src/compile_fail"
    for part in broadcast join scope spawn thread_pool; do
        mkdir "$to/src/$part"
        sed '/^#!\[cfg(test)\]$/d' "$from/src/$part/test.rs" | without "$(left_out private)" >"$to/src/$part/test.rs"
        printf 'pub use rayon_core::*;\npub use crate::unwind;\n#[cfg(test)]\nmod test;\n' >"$to/src/$part/mod.rs"
    done
    sed '/^#!\[cfg(test)\]$/d' "$from/src/test.rs" | without "$(left_out private)" >"$to/src/test.rs"
    # The examples of the documentation, as one page for each file.
    for part in $(cd "$from/src" && find . -name '*.rs' ! -name 'test.rs' ! -path './compile_fail/*' | sed 's,^\./,,'); do
        sed -n 's,^ *//[/!] \{0\,1\},,p' "$from/src/$part" >"$to/src/${part//\//-}.md"
        printf '#[doc = include_str!("%s")]\npub mod %s {}\n' "${part//\//-}.md" "page_$(tr -c 'a-z\n' '_' <<<"$part")"
    done >"$to/src/pages.rs"
    cat >"$to/src/lib.rs" <<'END'
#![allow(dead_code, unused_imports, rustdoc::all)]
pub use rayon_core::*;
pub mod unwind {
    pub fn halt_unwinding<R>(f: impl FnOnce() -> R) -> std::thread::Result<R> {
        std::panic::catch_unwind(std::panic::AssertUnwindSafe(f))
    }
}
pub mod registry {
    pub fn in_worker<R: Send>(f: impl FnOnce((), bool) -> R + Send) -> R {
        rayon_core::scope(|_| f((), false))
    }
}
mod broadcast;
mod compile_fail;
mod join;
mod pages;
mod scope;
mod spawn;
#[cfg(test)]
mod test;
mod thread_pool;
END
    cat >"$to/Cargo.toml" <<'END'
[package]
name = "core-tests"
version = "0.0.0"
edition = "2021"
[dependencies]
rayon-core = "1.13.0"
[dev-dependencies]
crossbeam-utils = "0.8"
libc = "0.2"
rand = "0.9"
rand_xorshift = "0.4"
rayon = "1.12"
scoped-tls = "1"
END
}

# Removes these tests from a file: from `#[test]` to the brace in the first column.
without() {
    awk -v names="$1" '
        BEGIN { split(names, list, " "); for (i in list) cut[list[i]] = 1 }
        /^#\[test\]$/ { held = $0 "\n"; holding = 1; next }
        holding {
            held = held $0 "\n"
            if (match($0, /^fn [a-z0-9_]+/)) { name = substr($0, 4, RLENGTH - 3); skipping = (name in cut) }
            if ($0 == "}") { if (!skipping) printf "%s", held; holding = 0; skipping = 0 }
            next
        }
        { print }'
}

# Names from tests/foreign/left-out.txt: of a suite, or of the kind `private`.
left_out() {
    awk -v suite="$1" '$1 == suite { print $2 }' tests/foreign/left-out.txt | tr '\n' ' '
}

# run SUITE ARGUMENTS...: cargo test in the scratch workspace, without what is left out of SUITE.
run() {
    local suite=$1 skips=() name
    shift
    # rustdoc cuts what it is told at blanks, so of `page_lib_rs (line 165)` the end must do.
    for name in $(left_out "$suite"); do skips+=(--skip "${name##*_(line_}"); done
    printf '\n=== %s\n' "$suite"
    (cd "$place/suites" && timeout --kill-after=10 "$limit" cargo test --quiet "$@" -- "${skips[@]}")
}

rayon() { run rayon -p rayon --lib --tests; }
rayon-core() { run rayon-core -p core-tests --lib --tests; }
doctests() {
    run rayon-doctests -p rayon --doc
    run doctests -p core-tests --doc
}
hashbrown() {
    run hashbrown -p hashbrown --features rayon --lib rayon
    run hashbrown -p hashbrown --features rayon --test rayon
}
indexmap() { run indexmap -p indexmap --features rayon --lib rayon; }
jwalk() { run jwalk -p jwalk --tests; }

fetch
mkdir -p "$place/suites"
copy rayon 1.12.0
copy hashbrown 0.17.1
copy indexmap 2.14.2
copy jwalk 0.8.1
core_tests
cat >"$place/suites/Cargo.toml" <<END
[workspace]
resolver = "2"
members = ["rayon", "core-tests", "hashbrown", "indexmap", "jwalk"]
[patch.crates-io]
rayon-core = { path = "$top/crates/rayon-core" }
rayon = { path = "rayon" }
hashbrown = { path = "hashbrown" }
indexmap = { path = "indexmap" }
END
for suite in "${@:-all}"; do
    case $suite in
        all) rayon; rayon-core; doctests; hashbrown; indexmap; jwalk ;;
        rayon | rayon-core | doctests | hashbrown | indexmap | jwalk) "$suite" ;;
        *) printf 'no suite called %s\n' "$suite"; exit 2 ;;
    esac
done
