#!/usr/bin/env bash
# Instructions per operation, counted by callgrind, beside their limits.
#
#     benches/instructions.sh            # the table
#     benches/instructions.sh --check    # fails if a count is 10 % above its limit
#     benches/instructions.sh --write    # makes today's counts the limits
#
# The task cell: the difference between 20,000 and 10,000 operations, divided by
# 10,000. The thread pool: what one thread executes inside the function `measured`
# (benches/src/pool_instructions.rs says under which circumstances), divided by how
# many operations that is. A tree's operation is a node: a join and the sum around it.
#
# The limits are in benches/limits.txt, a name and a number in each line; what has none is
# shown only: peers, and counts that depend on when another thread wakes up. A limit with
# a word behind it was set by hand, and --write leaves it alone. Without
# valgrind there is nothing to count, which is said and is no failure.
set -euo pipefail
cd "$(dirname "$0")/.."
mode=${1:-}
limits=benches/limits.txt
allowed=10

if ! command -v valgrind >/dev/null; then
    echo "instructions: no valgrind here, so nothing is counted"
    exit 0
fi
cargo build --quiet --locked --profile bench -p trefoil-benches --bins
programs="${CARGO_TARGET_DIR:-target}/release"

# callgrind OPTIONS... PROGRAM ARGUMENTS...: what the program prints, and the count.
callgrind() {
    timeout 300 valgrind --tool=callgrind --callgrind-out-file=/dev/null "$@" 2>&1 |
        sed -n 's/.*Collected : \([0-9]*\).*/\1/p; t; /^[0-9][0-9]*$/p'
}

cell() {
    local few many
    few=$(callgrind "$programs/cell_instructions" "$1" 10000)
    many=$(callgrind "$programs/cell_instructions" "$1" 20000)
    echo $((many - few)) 10000
}

pool() {
    callgrind --toggle-collect='*measured*' "$programs/pool_instructions" "$1" |
        awk 'NR == 1 { operations = $1 } END { if (NR == 2) print $1, operations }'
}

missed=0
counts=()

# row NAME COUNTER: one line of the table.
row() {
    local name=$1 counted each limit="" verdict="" over=""
    counted=$("$2" "$name")
    if [ -z "$counted" ]; then
        echo "$name: not counted: does it run?" >&2
        exit 1
    fi
    each=$(awk '{ printf "%.2f", $1 / $2 }' <<<"$counted")
    limit=$(awk -v name="$name" '$1 == name { print $2 }' "$limits")
    [ "$name" = tree-sequential ] && sequential=$each
    case $name in
    tree-sequential) ;;
    tree-*) over=$(awk -v a="$each" -v b="$sequential" 'BEGIN { printf "%+.1f for the join", a - b }') ;;
    esac
    if [ -n "$limit" ]; then
        counts+=("$(awk -v name="$name" -v each="$each" '$1 == name { print (NF > 2 ? $0 : name " " each) }' "$limits")")
        verdict=$(awk -v each="$each" -v limit="$limit" -v allowed="$allowed" 'BEGIN {
            print (each > limit * (1 + allowed / 100) ? "TOO MANY" : each < limit * (1 - allowed / 100) ? "fewer" : "ok") }')
        [ "$verdict" = "TOO MANY" ] && missed=$((missed + 1))
    fi
    printf '%-22s %10s  %10s  %-9s %s\n' "$name" "$each" "$limit" "$verdict" "$over"
}

printf '%-22s %10s  %10s\n' operation each limit
for name in trefoil-future async-task-future trefoil-await async-task-await \
    trefoil-closure trefoil-promise futures-oneshot tokio-oneshot; do
    row "$name" cell
done
for name in tree-sequential tree-1-worker tree-2-one-busy tree-2-one-asleep tree-rayon tree-chili \
    spawn-inside spawn-outside scope-spawn-inside scope-of-one scope-of-one-rayon \
    map-sequential map-1-worker map-rayon region-map-of-2 region-join; do
    row "$name" pool
done

if [ "$mode" = --write ]; then
    { grep '^#' "$limits" || true; printf '%s\n' "${counts[@]}"; } >"$limits.new"
    mv "$limits.new" "$limits"
    echo "written to $limits"
elif [ "$missed" -gt 0 ]; then
    echo "$missed counts are more than $allowed % above their limits in $limits"
    [ "$mode" != --check ]
fi
