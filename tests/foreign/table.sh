#!/usr/bin/env bash
# Twenty rayon programs with the original of rayon-core and with ours, in turn, with one thread and with two: the table of
# tests/foreign/README.md, on standard output.
#
#     tests/foreign/table.sh              # nine rounds: some minutes
#     tests/foreign/table.sh --write      # the same into that page, between its marks
#     tests/foreign/table.sh --build      # builds only, so that a machine that is to be quiet has nothing else to do later
#     ROUNDS=3 tests/foreign/table.sh fib sum
set -euo pipefail
cd "$(dirname "$0")/../.."

mode=print
case ${1:-} in
    --write | --build) mode=${1#--}; shift ;;
esac

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
path = "$top/tests/foreign/programs/main.rs"
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
rayon-core = { path = \"$top/crates/rayon-core\" }"

[ "$mode" = build ] && exit

read -r load _ </proc/loadavg || load=unknown
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

# × is the median of the ratios of the two figures of one round. (The figures: target/rayon-table/figures.txt.)
table() {
    awk -v about="$(date -u +%Y-%m-%d), $(nproc) processors ($(sed -n 's/^model name[^:]*: //p' /proc/cpuinfo | head -1)), load average $load before it" '
        function median(list, n,   i, j, t) {
            for (i = 2; i <= n; i++) for (j = i; j > 1 && list[j - 1] > list[j]; j--) { t = list[j]; list[j] = list[j - 1]; list[j - 1] = t }
            return n % 2 ? list[(n + 1) / 2] : (list[n / 2] + list[n / 2 + 1]) / 2
        }
        function cell(n, name,   i, r, k, times) {
            k = count[n, "ours", name]
            if (!k) return ""
            for (i = 1; i <= k; i++) { r[i] = time[n, "ours", name, i] / time[n, "original", name, i] }
            times = median(r, k)
            if (times > 1.1) behind = behind (behind ? ", " : "") sprintf("%s (%d, ×%.2f)", name, n, times)
            if (times < 0.9) ahead = ahead (ahead ? ", " : "") sprintf("%s (%d, ×%.2f)", name, n, times)
            return sprintf("×%.2f", times)
        }
        { i = ++count[$1, $2, $3]; time[$1, $2, $3, i] = $4; if (!($3 in seen)) { seen[$3] = 1; order[++names] = $3 } }
        END {
            print "| program | one thread | two threads |"
            print "|---|---|---|"
            for (i = 1; i <= names; i++) { one = cell(1, order[i]); two = cell(2, order[i]); printf "| %s | %s | %s |\n", order[i], one, two }
            printf "\n%s.\nMore than a tenth behind, with so many threads: %s.\nMore than a tenth ahead: %s.\n", about, behind ? behind : "none", ahead ? ahead : "none"
        }' "$figures"
}

if [ "$mode" = print ]; then
    table
    exit
fi
page=tests/foreign/README.md
table >"$place/table.md"
awk -v table="$place/table.md" '
    /^<!-- begin programs -->$/ { print; while ((getline line < table) > 0) print line; within = 1 }
    /^<!-- end programs -->$/ { within = 0 }
    !within' "$page" >"$place/page.md"
grep -q '^<!-- end programs -->$' "$place/page.md" || { echo "no marks in $page" >&2; exit 1; }
cat "$place/page.md" >"$page"
