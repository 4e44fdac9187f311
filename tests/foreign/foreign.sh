#!/usr/bin/env bash
# The tests of tokio, async-io and async-process, run on trefoil.
#
#     tests/foreign/foreign.sh                    # all of them
#     tests/foreign/foreign.sh tokio              # of one crate
#     tests/foreign/foreign.sh tokio time_sleep   # one program
#     tests/foreign/foreign.sh --fetch            # only downloads the crates
#
# Cargo downloads the crates; their tests are copied below target/ and compiled with our crates of the same names (tests/foreign/tokio
# and so on), which hand every call on to trefoil. tests/foreign/foreign.txt lists the tests that are not run, each with its
# reason, and the programs. A line of the output counts the tests of one program:
#
#     passed     those that ran, all of which must pass
#     differs    those that compile, but expect something else than trefoil does on purpose
#     left out   those that do not compile, because they use a name of which trefoil has no counterpart
#
# A program that runs longer than LIMIT seconds (60) has failed. With DIFFER=1, those that differ run, too, each on its own, and
# those that pass are named: they are to be taken from the list.
set -euo pipefail
cd "$(dirname "$0")/../.."
exec </dev/null

export RUST_BACKTRACE=0
# What is cut out of other people's files leaves imports unused.
export RUSTFLAGS="${RUSTFLAGS:-} --cap-lints allow"
top=$PWD
list=$top/tests/foreign/foreign.txt
place=${CARGO_TARGET_DIR:-$top/target}/foreign
limit=${LIMIT:-60} # seconds
# name and version of each crate
crates="tokio 1.54.1
async-io 2.6.0
async-process 2.5.0"

# The graph of the originals, from which their sources are taken.
fetch() {
    mkdir -p "$place/sources/src"
    : >"$place/sources/src/lib.rs"
    {
        printf '[workspace]\n[package]\nname = "sources"\nversion = "0.0.0"\nedition = "2021"\n[dependencies]\n'
        sed 's/\(.*\) \(.*\)/\1 = "=\2"/' <<<"$crates"
    } >"$place/sources/Cargo.toml"
    (cd "$place/sources" && cargo fetch --quiet)
}

# Where cargo keeps the sources of a crate at this version.
sources() {
    (cd "$place/sources" && cargo metadata --format-version 1 2>/dev/null) | tr ',' '\n' |
        sed -n "s/.*\"manifest_path\":\"\(.*\/$1-$2\)\/Cargo.toml\".*/\1/p" | head -1
}

# listed KIND CRATE PROGRAM: the tests of this kind, between the name of the program and the reason.
listed() {
    awk -v kind="$1" -v crate="$2" -v program="$3" '
        $1 == kind && $2 == crate && $3 == program { for (i = 4; i <= NF && $i != "|"; i++) print $i }' "$list"
}

# Removes these tests and functions from a file, each with its attributes. A test is a function, up to a brace that is as far
# to the right as its first line, or a call of the macro `test!`.
without() {
    awk -v names="$1" '
        BEGIN { split(names, list, " "); for (i in list) cut[list[i]] = 1 }
        skipping { if ($0 == end) skipping = 0; next }
        calling || /^test!\(/ {
            call = call $0 "\n"
            calling = ($0 !~ /\);$/)
            if (calling) next
            kept = 1
            for (name in cut) if (call ~ ("[( ]" name ",")) kept = 0
            if (kept) printf "%s%s", held, call
            held = call = ""
            next
        }
        # An attribute may have several lines, and a comment behind it.
        attribute || /^ *(#\[|\/\/\/)/ || held && /^ *\/\// {
            held = held $0 "\n"
            if (attribute || /^ *#\[/) attribute = ($0 !~ /\]( *\/\/.*)?$/)
            next
        }
        match($0, /^ *(pub )?(async )?(unsafe )?fn [a-zA-Z0-9_]+/) {
            name = substr($0, RSTART, RLENGTH)
            sub(/.* /, "", name)
            if (name in cut) {
                held = ""
                end = $0
                sub(/[^ ].*/, "}", end)
                skipping = ($0 !~ /}$/)
                next
            }
        }
        { printf "%s", held; held = ""; print }'
}

# What a program of CRATE is compiled with: our crates in place of the originals, and what else it uses.
manifest() {
    cat <<END
[workspace]
[package]
name = "$1-tests"
version = "0.0.0"
edition = "2021"
[features]
default = ["full", "fs", "io-util", "macros", "net", "process", "rt", "rt-multi-thread", "signal", "sync", "test-util", "time"]
full = []
fs = []
io-util = []
macros = []
net = []
process = []
rt = []
rt-multi-thread = []
signal = []
sync = []
test-util = []
time = []
[profile.dev]
debug = false
[dependencies]
END
    case $1 in
        tokio)
            cat <<END
tokio = { path = "$top/tests/foreign/tokio" }
async-stream = "0.3"
futures = "0.3"
futures-test = "0.3"
libc = "0.2"
pin-project-lite = "0.2"
nix = { version = "0.31", default-features = false, features = ["fs", "socket"] }
rand = "0.9"
socket2 = "0.6"
tempfile = "3"
tokio-stream = "0.1"
tokio-test = "0.4"
END
            ;;
        *)
            cat <<END
async-channel = "2"
async-io = { path = "$top/tests/foreign/async-io" }
async-process = { path = "$top/tests/foreign/async-process" }
futures-lite = { path = "$top/tests/foreign/futures-lite" }
tempfile = "3"
END
            ;;
    esac
}

# A package with the programs of CRATE that the list names.
package() {
    local crate=$1 from program name to=$place/$1
    from=$(sources "$crate" "$2")
    [ -n "$from" ] || { printf 'the sources of %s %s cannot be had\n' "$crate" "$2"; exit 1; }
    rm -rf "$to" "$place/$crate-originals"
    mkdir -p "$to/src" "$to/tests"
    : >"$to/src/lib.rs"
    manifest "$crate" >"$to/Cargo.toml"
    cp Cargo.lock "$to/Cargo.lock"
    cp -r "$from/tests" "$place/$crate-originals"
    [ ! -d "$from/tests/support" ] || cp -r "$from/tests/support" "$to/tests/support"
    for program in $(programs run "$crate"); do
        for name in $(listed cut "$crate" "$program") $(listed differs "$crate" "$program"); do
            grep -qw "${name##*::}" "$from/tests/$program.rs" || { printf '%s %s has no %s\n' "$crate" "$program" "$name"; exit 1; }
        done
        without "$(listed cut "$crate" "$program" | tr '\n' ' ')" <"$from/tests/$program.rs" >"$to/tests/$program.rs"
    done
    for program in "$from"/tests/*.rs; do
        program=$(basename "$program" .rs)
        programs '(run|absent)' "$crate" | grep -qx "$program" || { printf '%s %s is not in %s\n' "$crate" "$program" "$list"; exit 1; }
    done
}

# programs KIND CRATE
programs() {
    awk -v kind="$1" -v crate="$2" '$1 ~ "^" kind "$" && $2 == crate { for (i = 3; i <= NF && $i != "|"; i++) print $i }' "$list"
}

# How many tests these files have.
count() { cat "$@" | grep -cE '^ *#\[((maybe_)?tokio(::|_))?test\b|^test!\(' || true; }

# run CRATE PROGRAM
run() {
    local skips=() name log=$place/$1-$2.log passed differs cut
    for name in $(listed differs "$1" "$2"); do skips+=(--skip "$name"); done
    if ! test_program "$1" "$2" --exact "${skips[@]}" >"$log" 2>&1; then
        cat "$log"
        printf '%s %s failed, or ran longer than %s s\n' "$1" "$2" "$limit"
        failures=$((failures + 1))
    fi
    passed=$(sed -n 's/^test result: .* \([0-9]*\) passed;.*/\1/p' "$log")
    differs=$(listed differs "$1" "$2" | wc -l)
    cut=$(($(count "$place/$1-originals/$2.rs") - $(count "$place/$1/tests/$2.rs")))
    printf '%-14s %-28s %3d passed %3d differ %3d left out\n' "$1" "$2" "${passed:-0}" "$differs" "$cut"
    totals=("$((totals[0] + ${passed:-0}))" "$((totals[1] + differs))" "$((totals[2] + cut))")
    [ -z "${DIFFER:-}" ] || for name in $(listed differs "$1" "$2"); do
        ! limit=10 test_program "$1" "$2" --exact "$name" >"$log" 2>&1 || printf '    %s passes\n' "$name"
    done
}

# test_program CRATE PROGRAM ARGUMENTS...
test_program() {
    local crate=$1 program=$2
    shift 2
    (cd "$place/$crate" && CARGO_TARGET_DIR=$place/target timeout --kill-after=10 "$limit" \
        cargo test --quiet --test "$program" -- "$@" </dev/null)
}

failures=0
absent=0
totals=(0 0 0)
fetch
[ "${1:-}" != --fetch ] || exit 0
while read -r crate version; do
    [ "${1:-$crate}" = "$crate" ] || continue
    package "$crate" "$version"
    (cd "$place/$crate" && CARGO_TARGET_DIR=$place/target cargo test --quiet --tests --no-run)
    for program in $(programs run "$crate"); do
        [ "${2:-$program}" != "$program" ] || run "$crate" "$program"
    done
    for program in $(programs absent "$crate"); do
        [ $# -gt 1 ] || absent=$((absent + $(count "$place/$crate-originals/$program.rs")))
    done
done <<<"$crates"
printf '%d passed, %d differ, %d left out; %d in programs that are not compiled\n' "${totals[@]}" "$absent"
[ "$failures" = 0 ] || { printf '%d programs failed\n' "$failures"; exit 1; }
