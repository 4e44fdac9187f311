#!/usr/bin/env bash
# The test suites of crates that use rayon, each with the original of rayon-core and with ours: both must pass as many.
#
#     tests/foreign/crates.sh                     # all of them
#     tests/foreign/crates.sh petgraph ndarray    # these
#     CLONES=FOLDER tests/foreign/crates.sh ...   # what lies in FOLDER/NAME, with its repository's tests, not the package
#
# Cargo downloads the crates, and what their tests need. A line of the output counts the tests that pass with the original and
# with ours. tests/foreign/left-out.txt names the tests that are not run (they fail with both: the package lacks their files),
# each with the reason. `nucleo` also runs tests/foreign/nucleo.rs, which compares its results.
set -euo pipefail
cd "$(dirname "$0")/../.."
exec </dev/null

export RUST_BACKTRACE=0
# Other people's warnings.
export RUSTFLAGS="${RUSTFLAGS:-} --cap-lints allow"
top=$PWD
place=${CARGO_TARGET_DIR:-$top/target}/rayon-crates
limit=${LIMIT:-1800} # seconds for a suite, with its build
# Name, version, and what `cargo test` is told besides.
crates="nucleo 0.5.0 --lib --tests
petgraph 0.8.3 --features rayon --lib --tests
ndarray 0.17.2 --features rayon --lib --tests
exr 1.74.2 --lib --test roundtrip
bellman 0.15.0 --lib --tests
tokei 15.0.0 --lib --bins --tests
du-dust 1.2.7 --bins --tests
oxipng 10.2.1 --lib --bins --tests
gifski 1.34.0 --lib --bins --tests"

# package NAME VERSION: where cargo keeps its sources.
package() {
    mkdir -p "$place/sources/$1/src"
    : >"$place/sources/$1/src/lib.rs"
    printf '[workspace]\n[package]\nname = "sources"\nversion = "0.0.0"\nedition = "2021"\n[dependencies]\n%s = "=%s"\n' \
        "$1" "$2" >"$place/sources/$1/Cargo.toml"
    (cd "$place/sources/$1" && cargo fetch --quiet)
    find "${CARGO_HOME:-$HOME/.cargo}/registry/src" -mindepth 2 -maxdepth 2 -name "$1-$2" | head -1
}

# copy NAME VERSION: a copy of the crate's sources that is a workspace of its own, for this compiler. (Without its list of
# versions: some are older than what trefoil needs.)
copy() {
    local from
    mkdir -p "$place/suites"
    if [ -n "${CLONES:-}" ] && [ -d "$CLONES/$1" ]; then
        from=$CLONES/$1
    else
        from=$(package "$1" "$2")
        [ -n "$from" ] || { printf 'the sources of %s %s cannot be had\n' "$1" "$2"; exit 1; }
    fi
    rm -rf "${place:?}/suites/$1"
    cp -r "$from" "$place/suites/$1"
    chmod -R u+w "$place/suites/$1"
    grep -q '^\[workspace\]' "$place/suites/$1/Cargo.toml" || printf '\n[workspace]\n' >>"$place/suites/$1/Cargo.toml"
    rm -f "$place/suites/$1"/{Cargo.lock,rust-toolchain,rust-toolchain.toml}
    if [ "$1" = nucleo ]; then
        mkdir -p "$place/suites/$1/tests"
        cp "$top/tests/foreign/nucleo.rs" "$place/suites/$1/tests/"
    fi
}

# count NAME PATCH ARGUMENTS...: how many tests pass. A failure ends the script, with the output.
count() {
    local name=$1 patch=$2 log=$place/$1-$2.log skips=() test
    shift 2
    for test in $(awk -v suite="$name" '$1 == suite { print $2 }' tests/foreign/left-out.txt); do skips+=(--skip "$test"); done
    local config=()
    [ "$patch" = original ] || config=(--config "patch.crates-io.rayon-core.path='$top/crates/rayon-core'")
    if ! (cd "$place/suites/$name" && CARGO_TARGET_DIR="$place/$patch" timeout --kill-after=10 "$limit" \
        cargo test --no-fail-fast "${config[@]}" "$@" -- "${skips[@]}") >"$log" 2>&1; then
        tail -60 "$log" >&2
        printf '%s, %s: its tests fail; see %s\n' "$name" "$patch" "$log" >&2
        exit 1
    fi
    if [ "$patch" = ours ] && ! (cd "$place/suites/$name" && cargo tree --all-features --edges normal,dev "${config[@]}" --invert trefoil |
        grep '^trefoil' >/dev/null); then
        printf '%s: it does not use ours\n' "$name" >&2
        exit 1
    fi
    awk '/^test result: / { passed += $4 } END { print passed + 0 }' "$log"
}

asked=${*:-$(awk '{ print $1 }' <<<"$crates")}
printf '%-10s %8s %8s\n' tests original ours
for name in $asked; do
    read -r _ version arguments < <(grep "^$name " <<<"$crates") || { printf 'no suite called %s\n' "$name"; exit 2; }
    copy "$name" "$version"
    # shellcheck disable=SC2086 # words
    original=$(count "$name" original $arguments)
    # shellcheck disable=SC2086
    ours=$(count "$name" ours $arguments)
    printf '%-10s %8s %8s\n' "$name" "$original" "$ours"
    [ "$original" -gt 0 ] && [ "$original" = "$ours" ] || { printf '%s: they differ, or there are none\n' "$name"; exit 1; }
done
