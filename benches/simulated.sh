#!/usr/bin/env bash
# The thread pools of trefoil, rayon and tokio on virtual processors (`benches/simulated`).
#
#     benches/simulated.sh build                          # compiles benches/simulated/rows.rs
#     benches/simulated.sh run WHO ROW WIDTH [NAME=VALUE...]
#
# For that each pool is compiled with other atomics, locks and hints. trefoil's are those of
# `crate::loom` under `--cfg simulated`: its sources are used where they are, with a manifest that
# has one more dependency. Those of the peers are copied from cargo's registry folder into the
# target directory, in the versions of Cargo.lock, and there the paths of the standard library's
# modules are replaced.
set -euo pipefail
cd "$(dirname "$0")/.."
root=$PWD
target=${CARGO_TARGET_DIR:-$root/target}
at=$target/simulated
peers=(crossbeam-utils crossbeam-epoch crossbeam-deque rayon-core tokio)

# The folder of a package in cargo's registry.
source_of() {
    grep -o "\"manifest_path\":\"[^\"]*/$1-[0-9][^/\"]*/Cargo.toml\"" <<<"$metadata" |
        head -n 1 | sed 's/.*:"\(.*\)\/Cargo.toml"/\1/'
}

needs_simulated() {
    printf '\n[dependencies.simulated]\npackage = "trefoil-simulated"\npath = "%s/benches/simulated"\n' "$root"
}

# A peer's package, with other modules in place of the standard library's.
copy() {
    local from
    from=$(source_of "$1")
    [ -n "$from" ] || { echo "simulated: cargo has no sources of $1" >&2; exit 1; }
    mkdir -p "$at/$1"
    cp -r --no-preserve=mode "$from/." "$at/$1"
    needs_simulated >>"$at/$1/Cargo.toml"
    find "$at/$1/src" -name '*.rs' -exec sed -i -E \
        -e 's/(^|[^:A-Za-z_])(::)?(std|core)::sync\b/\1::simulated::sync/g' \
        -e 's/(^|[^:A-Za-z_])(::)?(std|core)::hint::spin_loop/\1::simulated::hint::spin_loop/g' {} +
}

# A manifest of ours without what only the workspace needs: NAME FROM.
manifest() {
    mkdir -p "$at/$1"
    sed -e '/^\[dev-dependencies\]/,$d' -e '/^\[lints\]/,$d' "$2/Cargo.toml" |
        sed -e "s#path = \"crates/os\"#path = \"$at/trefoil-os\"#" -e "s#path = \"crates/#path = \"$root/crates/#" \
            -e '/^# What the examples/d' >"$at/$1/Cargo.toml"
    ln -sfn "$root/$2/src" "$at/$1/src"
}

build() {
    local metadata peer
    metadata=$(cargo metadata --locked --format-version 1)
    rm -rf "$at"/{packages,trefoil,trefoil-os,rows}
    for peer in "${peers[@]}"; do
        rm -rf "${at:?}/$peer"
        copy "$peer"
    done
    # Its random numbers, too, are the same in each run.
    sed -i 's/RandomState::new()/std::hash::BuildHasherDefault::<std::collections::hash_map::DefaultHasher>::default()/' \
        "$at/tokio/src/loom/std/mod.rs"
    manifest trefoil .
    ln -sfn "$root/docs" "$at/trefoil/docs"
    ln -sfn "$root/README.md" "$at/trefoil/README.md"
    manifest trefoil-os crates/os
    needs_simulated >>"$at/trefoil-os/Cargo.toml"
    mkdir -p "$at/rows"
    cat >"$at/rows/Cargo.toml" <<END
[package]
name = "rows"
version = "0.0.0"
edition = "2024"

[[bin]]
name = "rows"
path = "$root/benches/simulated/rows.rs"

[dependencies]
rayon = "1"
simulated = { package = "trefoil-simulated", path = "$root/benches/simulated" }
tokio = { version = "1", features = ["rt-multi-thread"] }
trefoil = { path = "../trefoil", default-features = false, features = ["threads"] }

[patch.crates-io]
$(printf '%s = { path = "../%s" }\n' $(printf '%s %s ' $(printf '%s\n' "${peers[@]}" | sed 's/.*/& &/')))

[workspace]

# What is simulated does not depend on it, and it is soon built.
[profile.release]
opt-level = 1
codegen-units = 16
END
    cp Cargo.lock "$at/rows/Cargo.lock"
    RUSTFLAGS="--cfg simulated --cfg rustix_use_libc --cap-lints allow" CARGO_TARGET_DIR=$at/target \
        cargo build --quiet --release --offline --manifest-path "$at/rows/Cargo.toml"
}

case ${1:-} in
build) build ;;
run) shift && exec "$at/target/release/rows" "$@" ;;
*)
    sed -n '2,/^set/{/^#/p}' "$0" >&2
    exit 2
    ;;
esac
