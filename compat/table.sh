#!/usr/bin/env bash
# Twenty rayon programs with the original of rayon-core and with ours, in turn, with one thread and with two: the table of
# docs/FROM_RAYON.md, on standard output.
#
#     compat/table.sh              # nine rounds: some minutes
#     ROUNDS=3 compat/table.sh fib sum
set -euo pipefail
cd "$(dirname "$0")/.."

top=$PWD
place=${CARGO_TARGET_DIR:-$top/target}/rayon-table
rounds=${ROUNDS:-9}
threads=${THREADS:-1 2}

# build NAME LINES: the programs, with these lines at the end of their manifest.
build() {
    mkdir -p "$place/$1"
    cat >"$place/$1/Cargo.toml" <<END
[workspace]
[package]
name = "programs"
version = "0.0.0"
edition = "2024"
[[bin]]
name = "programs"
path = "$top/compat/programs/main.rs"
[dependencies]
rayon = "=1.12.0"
[profile.release]
lto = "thin"
codegen-units = 1
$2
END
    (cd "$place/$1" && CARGO_TARGET_DIR=$place/$1/target cargo build --quiet --release) >&2
}

build original ""
build ours "[patch.crates-io]
rayon-core = { path = \"$top/compat/rayon-core\" }"

figures=$place/figures.txt
: >"$figures"
for ((round = 1; round <= rounds; round++)); do
    for n in $threads; do
        for which in original ours; do
            RAYON_NUM_THREADS=$n timeout 300 "$place/$which/target/release/programs" "$@" </dev/null |
                sed "s/^/$n $which /" >>"$figures"
        done
    done
done

# × is the median of the ratios of the two figures of one round.
awk -v rounds="$rounds" '
    function median(list, n,   i, j, t) {
        for (i = 2; i <= n; i++) for (j = i; j > 1 && list[j - 1] > list[j]; j--) { t = list[j]; list[j] = list[j - 1]; list[j - 1] = t }
        return n % 2 ? list[(n + 1) / 2] : (list[n / 2] + list[n / 2 + 1]) / 2
    }
    function cell(n, name,   i, a, b, r, k) {
        k = count[n, "ours", name]
        for (i = 1; i <= k; i++) { a[i] = time[n, "original", name, i]; b[i] = time[n, "ours", name, i]; r[i] = b[i] / a[i] }
        return k ? sprintf("%.0f µs | %.0f µs | ×%.2f", median(a, k), median(b, k), median(r, k)) : "| |"
    }
    { i = ++count[$1, $2, $3]; time[$1, $2, $3, i] = $4; if (!($3 in seen)) { seen[$3] = 1; order[++names] = $3 } }
    END {
        print "| program | original, 1 thread | ours | × | original, 2 threads | ours | × |"
        print "|---|---|---|---|---|---|---|"
        for (i = 1; i <= names; i++) printf "| %s | %s | %s |\n", order[i], cell(1, order[i]), cell(2, order[i])
    }' "$figures"
