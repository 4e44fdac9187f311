#!/usr/bin/env bash
# What a build of the library costs who depends on it, beside rayon and tokio.
#
#     benches/build.sh                # the table
#     benches/build.sh ROW...         # some of its rows
#     benches/build.sh --units ROW    # what each crate of a row costs, and cargo's own page of it
#     benches/build.sh --weight       # the bytes of a stripped program that calls `join`
#
# A row is a clean `cargo build --release` of an empty program that depends on one thing: nothing
# generic is compiled for it, and all else is. Processor time is user and system time of all that
# cargo starts; compare that if the machine does something else meanwhile. The versions are those of
# Cargo.lock. Of ROUNDS builds (default: 3) of each row, which take turns, the cheapest counts.
set -euo pipefail
cd "$(dirname "$0")/.."
root=$PWD
work=${CARGO_TARGET_DIR:-$root/target}/build
jobs=${JOBS:-2}
TIMEFORMAT='%R %U %S'
unset CARGO_TARGET_DIR RUSTFLAGS CARGO_INCREMENTAL CARGO_BUILD_TARGET

# What an empty program of this row depends on.
dependencies() {
    case $1 in
    nothing) ;;
    rayon) echo 'rayon = "1"' ;;
    tokio) echo 'tokio = { version = "1", features = ["full"] }' ;;
    rayon-tokio) dependencies rayon && dependencies tokio ;;
    default) echo "trefoil = { path = \"$root\" }" ;;
    threads | processes | event-loop)
        echo "trefoil = { path = \"$root\", default-features = false, features = [\"$1\"] }"
        ;;
    *)
        echo "there is no row $1" >&2
        return 1
        ;;
    esac
}

# make ROW: its program, with the versions of Cargo.lock.
make() {
    local at=$work/$1 needs
    needs=$(dependencies "$1")
    mkdir -p "$at/src"
    echo 'fn main() {}' >"$at/src/main.rs"
    printf '[package]\nname = "empty"\nversion = "0.0.0"\nedition = "2024"\n\n[dependencies]\n%s\n\n[workspace]\n' "$needs" >"$at/Cargo.toml"
    cp Cargo.lock "$at/Cargo.lock"
    cargo fetch --quiet --manifest-path "$at/Cargo.toml"
}

# once ROW: wall and processor time of one clean build.
once() {
    rm -rf "$work/$1/target"
    { time cargo build --quiet --release --offline --jobs "$jobs" --manifest-path "$work/$1/Cargo.toml" >&2; } 2>&1 |
        awk '{ print $1, $2 + $3 }'
}

# Processor time of each crate, largest first.
units() {
    local at=$work/$1
    make "$1"
    rm -rf "$at/target"
    cat >"$at/rustc" <<'END'
#!/usr/bin/env bash
for ((i = 1; i < $#; i++)); do [ "${!i}" = --crate-name ] && { following=$((i + 1)); name=${!following}; break; }; done
TIMEFORMAT="%U %S %R ${name:-?}"
exec 3>&2
{ time "$@" 2>&3; } 2>>"$(dirname "$0")/units"
END
    chmod +x "$at/rustc"
    : >"$at/units"
    RUSTC_WRAPPER=$at/rustc cargo build --quiet --release --offline --jobs "$jobs" --timings --manifest-path "$at/Cargo.toml"
    awk '{ cost[$4] += $1 + $2; wall[$4] += $3; all += $1 + $2 }
        END { for (name in cost) printf "%6.2f %6.2f  %s\n", cost[name], wall[name], name; printf "%6.2f         all\n", all }' \
        "$at/units" | sort -rn
    echo "$at/target/cargo-timings/cargo-timing.html"
}

# Bytes of a stripped program that calls `join`, beside an empty one.
weigh() {
    local at=$work/$1 call=${1/threads/trefoil}
    make "$1"
    [ "$1" = nothing ] || echo "fn main() { ${call/default/trefoil}::join(|| (), || ()); }" >"$at/src/main.rs"
    cargo build --quiet --release --offline --jobs "$jobs" --manifest-path "$at/Cargo.toml"
    strip -o "$work/stripped" "$at/target/release/empty"
    printf '%-14s %9d\n' "$1" "$(stat -c %s "$work/stripped")"
}

case ${1:-} in
--units)
    units "$2"
    exit
    ;;
--weight)
    for row in nothing rayon threads default; do weigh "$row"; done
    exit
    ;;
esac
rows=("$@")
[ $# -gt 0 ] || rows=(rayon rayon-tokio threads default)
rustc --version
for row in "${rows[@]}"; do make "$row"; done
measured=$work/measured
: >"$measured"
for ((round = 0; round < ${ROUNDS:-3}; round++)); do
    for row in "${rows[@]}"; do
        echo "$row $(once "$row")" >>"$measured"
    done
done
awk '
    !($1 in wall) { order[++n] = $1; wall[$1] = $2; processor[$1] = $3 }
    { if ($2 < wall[$1]) wall[$1] = $2; if ($3 < processor[$1]) processor[$1] = $3 }
    END {
        printf "%-14s %9s %6s\n", "depends on", "processor", "wall"
        for (i = 1; i <= n; i++) printf "%-14s %9.1f %6.1f\n", order[i], processor[order[i]], wall[order[i]]
        if (("threads" in wall) && ("rayon" in wall)) printf "threads: %.2f times rayon\n", processor["threads"] / processor["rayon"]
        if (("default" in wall) && ("rayon-tokio" in wall)) printf "default: %.2f times rayon and tokio\n", processor["default"] / processor["rayon-tokio"]
    }' "$measured"
