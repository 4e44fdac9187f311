#!/usr/bin/env bash
# The thread pools of trefoil, rayon and tokio on virtual processors (`benches/simulated`).
#
#     benches/simulated.sh build [COMMIT]        # compiles benches/simulated/rows.rs
#     benches/simulated.sh run WHO ROW WIDTH [NAME=VALUE...]
#     benches/simulated.sh table [NAME=VALUE...] # all rows and pools, compared with what was measured
#     benches/simulated.sh counts [--check|--write]   # of trefoil's tasks, compared with their limits
#
# With a COMMIT: trefoil as it was then; the environment's COMMIT says which one the others run. The
# table in benches/results/README.md is older than some changes.
#
# For that each pool is compiled with other atomics, locks and hints. trefoil's are those of
# `crate::loom` under `--cfg simulated`, in a copy of the checkout in which `trefoil-os` has one more
# dependency. Those of the peers are copied from cargo's registry folder, in the versions of
# Cargo.lock, and there the paths of the standard library's modules are replaced. All copies lie in
# the target directory.
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
    [ "$(cat "$at/$1/from" 2>/dev/null)" != "$from" ] || return 0
    rm -rf "${at:?}/$1"
    mkdir -p "$at/$1"
    cp -r --no-preserve=mode,timestamps "$from/." "$at/$1"
    needs_simulated >>"$at/$1/Cargo.toml"
    find "$at/$1/src" -name '*.rs' -exec sed -i -E \
        -e 's/(^|[^:A-Za-z_])(::)?(std|core)::sync\b/\1::simulated::sync/g' \
        -e 's/(^|[^:A-Za-z_])(::)?(std|core)::hint::spin_loop/\1::simulated::hint::spin_loop/g' {} +
    # Its random numbers, too, are the same in each run.
    [ "$1" != tokio ] || sed -i 's/RandomState::new()/std::hash::BuildHasherDefault::<std::collections::hash_map::DefaultHasher>::default()/' \
        "$at/tokio/src/loom/std/mod.rs"
    echo "$from" >"$at/$1/from"
}

# trefoil's own sources, of the checkout or of a commit. Files keep their times: cargo builds what is
# newer.
tree() {
    rm -rf "$1"
    mkdir -p "$1"
    if [ -n "$2" ]; then
        git archive "$2" | tar -x -C "$1"
        cp crates/trefoil-os/src/loom.rs "$1/crates/trefoil-os/src/loom.rs"
        cp crates/trefoil-os/src/sys/ticks.rs "$1/crates/trefoil-os/src/sys/ticks.rs"
    else
        git ls-files -z --deduplicate | while IFS= read -r -d '' file; do
            [ ! -e "$file" ] || printf '%s\0' "$file"
        done | xargs -0 cp --parents -p -t "$1"
    fi
    needs_simulated >>"$1/crates/trefoil-os/Cargo.toml"
    touch -r "$root/crates/trefoil-os/Cargo.toml" "$1/crates/trefoil-os/Cargo.toml"
}

build() {
    local metadata peer tree=$at/tree${1:+-$1}
    tree "$tree" "${1:-}"
    metadata=$(cargo metadata --locked --format-version 1)
    for peer in "${peers[@]}"; do copy "$peer"; done
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
trefoil = { path = "$tree", default-features = false, features = ["threads"] }

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
        cargo build --quiet --release --manifest-path "$at/rows/Cargo.toml"
    mv "$at/target/release/rows" "$at/rows${1:+-$1}.program"
}

run() {
    timeout 300 "$at/rows${COMMIT:+-$COMMIT}.program" "$@"
}

# The name of a row in benches/results/README.md.
declare -A works=(
    [outside-nothing]="100,000 tasks of nothing, spawned by one thread from outside"
    [outside-4-nothing]="100,000 tasks of nothing, spawned by four threads from outside"
    [outside-1us]="20,000 tasks of 1 µs, spawned by one thread from outside"
    [outside-4-1us]="20,000 tasks of 1 µs, spawned by four threads from outside"
    [worker-1us]="20,000 tasks of 1 µs, spawned by one worker"
    [scope-nothing]="a scope of 100,000 tasks of nothing, inside, each"
    [tree-1us]="a scope's tree of 16,383 tasks of 1 µs"
    [join-1us]="join, leaves of 1 µs"
    [join-50ns]="join, leaves of 50 ns"
    [map-5ns]="\`map\` of 10^6 items of 5 ns"
    [map-20us]="\`map\` of 256 items of 20 µs"
    [map-rising]="\`map\` of 1,000 items of 0 to 20 µs, rising"
)
rows=(outside-nothing outside-4-nothing outside-1us outside-4-1us worker-1us scope-nothing tree-1us
    join-1us join-50ns map-5ns map-20us map-rising)

# measured ROW WHO: what benches/results/README.md says for 1, 2, 4, 8 and 16 workers.
measured() {
    awk -F ' *[|] *' -v work="${works[$1]}" -v who="$2" '
        $2 != "" { now = $2 }
        now == work && index($3, who) == 1 { print $4 + 0, $5 + 0, $6 + 0, $7 + 0, $8 + 0 }' benches/results/README.md
}

# One line for each row and pool: what is simulated, and by which factor that takes longer than what
# was measured, where it was. Then how large these factors are, but for what memory limits.
table() {
    local widths=(${WIDTHS:-1 2 4 8 16 64}) row who width real line
    printf '%-18s %-8s' row by
    printf '%16s' "${widths[@]}"
    printf '\n'
    for row in "${rows[@]}"; do
        for who in trefoil rayon tokio; do
            read -r -a real <<<"$(measured "$row" "$who")" || true
            [ "${#real[@]}" -gt 0 ] || continue
            printf '%-18s %-8s' "$row" "$who"
            for width in "${widths[@]}"; do
                line=$(run "$who" "$row" "$width" "$@") || line=
                # Nanoseconds each, or how many times as fast as one processor.
                awk -v row="$row" -v width="$width" -v all="${real[*]}" '{
                    split(all, real, " ")
                    real_here = real[log(width) / log(2) + 1]
                    is_time = row ~ /nothing$/
                    value = is_time ? $4 : $5
                    if (real_here == 0 || value == 0) printf "%16.3g", value
                    else printf "%9.3g (%4.2f)", value, is_time ? value / real_here : real_here / value
                }' <<<"${line:-- - - 0 0}"
            done
            printf '\n'
        done
    done | tee "$at/table"
    grep -v ^map-5ns "$at/table" | grep -o '([0-9. ]*)' | tr -d '() ' | awk '{ print ($1 < 1 ? 1 / $1 : $1) }' | sort -g | awk '
        { f[NR] = $1; near += $1 <= 1.5 }
        END { printf "%d cells: median factor %.2f, %.0f %% within 1.5\n", NR, f[int((NR + 1) / 2)], 100 * near / NR }'
}

# What happens for each of trefoil's tasks with 16 workers, compared with its limit: the median of
# 15 seeds, because the rows from outside differ by up to a quarter.
limits=benches/simulated/limits.txt
allowed=10
counts() {
    local row lines name each limit verdict missed=0 written=()
    printf '%-32s %10s %10s\n' count each limit
    for row in outside-nothing outside-4-nothing outside-1us outside-4-1us worker-1us scope-nothing tree-1us join-1us; do
        lines=$(for seed in {1..15}; do run trefoil "$row" 16 rounds=2 seed=$seed || exit 1; done)
        for name in rmws misses waits mine; do
            [[ $name != mine || $row == outside* ]] || continue
            each=$(awk -v name="$name" '{ for (i = 1; i < NF; i++) if ($i == name) print $(i + 1) }' <<<"$lines" |
                sort -g | sed -n 8p)
            [ "$name" != mine ] || name=rmws-of-the-pusher
            limit=$(awk -v name="$row-$name" '$1 == name { print $2 }' "$limits")
            verdict=$(awk -v each="$each" -v limit="$limit" -v allowed="$allowed" 'BEGIN {
                most = limit * (1 + allowed / 100) + 0.002
                if (limit == "") print "no limit"
                else if (each > most) print "TOO MANY"
                else print (each < limit * (1 - allowed / 100) - 0.002 ? "fewer" : "ok") }')
            [ "$verdict" != "TOO MANY" ] || missed=$((missed + 1))
            printf '%-32s %10s %10s  %s\n' "$row-$name" "$each" "$limit" "$verdict"
            written+=("$row-$name $each")
        done
    done
    if [ "${1:-}" = --write ]; then
        { grep '^#' "$limits"; printf '%s\n' "${written[@]}"; } >"$limits.new"
        mv "$limits.new" "$limits"
    elif [ "$missed" -gt 0 ]; then
        echo "$missed counts are more than $allowed % above their limits in $limits"
        [ "${1:-}" != --check ]
    fi
}

case ${1:-} in
build) build "${2:-}" ;;
run | table | counts) "$@" ;;
*)
    sed -n '2,/^set/{/^#/p}' "$0" >&2
    exit 2
    ;;
esac
