#!/usr/bin/env bash
# Instructions, system calls and allocations per operation, beside their limits.
#
#     benches/instructions.sh            # the table
#     benches/instructions.sh --check    # counts what has a limit; fails if one is 10 % above it
#     benches/instructions.sh --write    # makes today's counts the limits
#     benches/instructions.sh --build    # counts nothing
#
# They are those of the bench profile, which is optimised while linking. In a program's plain
# `--release` calls between crates remain; to see which cost something, without limits:
#
#     CARGO_TARGET_DIR=target/plain CARGO_PROFILE_BENCH_LTO=false \
#         CARGO_PROFILE_BENCH_CODEGEN_UNITS=16 benches/instructions.sh
#
# The task cell: the difference between 20,000 and 10,000 operations, divided by
# 10,000. The thread pool: what one thread executes inside the function `measured`
# (benches/src/pool_instructions.rs says under which circumstances), divided by how
# many operations that is. A tree's operation is a node: a join and the sum around it.
# The event loop: the same (benches/src/loop_instructions.rs); and, counted by strace, the
# system calls of an echo on one connection and on each of 64, without the client's own two, of a
# connection with one request to hyper's server, without the client's seven, and of a wake-up; and the allocations of each.
#
# What is counted is the same whatever else runs: as much is counted at once as there are processors, but for system calls.
#
# The limits are in benches/limits.txt, a name and a number in each line; what has none is
# shown only: peers, and counts that depend on when another thread wakes up. A limit with
# a word behind it was set by hand, and --write leaves it alone. A count of nothing has the
# limit 0, and no allowance. Without valgrind there is nothing to count, and without strace no system
# calls, which is said and is no failure.
set -euo pipefail
cd "$(dirname "$0")/.."
mode=${1:-}
limits=benches/limits.txt
allowed=10

if ! command -v valgrind >/dev/null; then
    echo "instructions: no valgrind here, so nothing is counted"
    exit 0
fi
# (Names are enough for valgrind.)
CARGO_PROFILE_BENCH_DEBUG=false cargo build --quiet --locked --profile bench -p trefoil-benches \
    --bin cell_instructions --bin pool_instructions --bin loop_instructions
if [ "$mode" = --build ]; then exit; fi
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

# inside PROGRAM OPERATION: how many instructions, and of how many operations.
inside() {
    callgrind --toggle-collect='*measured*' "$@" |
        awk 'NR == 1 { operations = $1 } END { if (NR == 2) print $1, operations }'
}

pool() { inside "$programs/pool_instructions" "$1"; }

loop() { inside "$programs/loop_instructions" "$1"; }

# What strace says of NAME, done so many times as often.
traced() {
    local report
    report=$(mktemp)
    timeout 300 strace -f -c -o "$report" "$programs/loop_instructions" "$1" "$2" |
        awk 'NR == 1 { printf "%s ", $1 }'
    awk '$NF == "total" { print $4 }' "$report"
    rm -f "$report"
}

# calls-NAME: of an echo without the client's write and read; of a wake-up of a loop that is awake
# without those of the turn that it falls into.
calls() {
    local name=${1#calls-} once twice client=0
    case $name in
    echo-*) client=2 ;;
    http-connection*) client=7 ;;
    wake-awake) client=2/7 ;; # the first one finds it asleep
    esac
    once=$(traced "$name" 1)
    twice=$(traced "$name" 2)
    awk "{ printf \"%.0f %d\n\", \$4 - \$2 - $client * \$1, \$1 }" <<<"$once $twice"
}

# allocations-NAME
allocations() {
    "$programs/loop_instructions" "${1#allocations-}" allocations
}

missed=0
counts=()
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT

# begin NAME COUNTER: counts in the background, if it is to be shown.
begin() {
    if [ "$mode" = --check ] && ! grep -q "^$1 " "$limits"; then return; fi
    if [ "$2" = calls ]; then
        wait
        calls "$1" >"$folder/$1"
        return
    fi
    while [ "$(jobs -rp | wc -l)" -ge "$(nproc)" ]; do wait -n || true; done
    "$2" "$1" >"$folder/$1" &
}

# row NAME: one line of the table.
row() {
    local name=$1 counted each limit="" verdict="" over=""
    [ -e "$folder/$name" ] || return 0
    counted=$(cat "$folder/$name")
    if [ -z "$counted" ]; then
        echo "$name: not counted: does it run?" >&2
        exit 1
    fi
    each=$(awk '{ printf "%.2f", $1 / $2 }' <<<"$counted")
    limit=$(awk -v name="$name" '$1 == name { print $2 }' "$limits")
    case $name in
    tree-sequential) sequential=$each ;;
    tree-*) [ -z "${sequential:-}" ] || over=$(awk -v a="$each" -v b="$sequential" 'BEGIN { printf "%+.1f for the join", a - b }') ;;
    esac
    if [ -n "$limit" ]; then
        counts+=("$(awk -v name="$name" -v each="$each" '$1 == name { print (NF > 2 ? $0 : name " " each) }' "$limits")")
        verdict=$(awk -v each="$each" -v limit="$limit" -v allowed="$allowed" 'BEGIN {
            print (each == limit ? "ok" : each > limit * (1 + allowed / 100) ? "TOO MANY" : each < limit * (1 - allowed / 100) ? "fewer" : "ok") }')
        [ "$verdict" = "TOO MANY" ] && missed=$((missed + 1))
    fi
    printf '%-28s %10s  %10s  %-9s %s\n' "$name" "$each" "$limit" "$verdict" "$over"
}

# rows COMMAND: runs it with each NAME and COUNTER.
rows() {
    local name
    for name in trefoil-future async-task-future trefoil-await async-task-await \
        trefoil-closure trefoil-promise futures-oneshot tokio-oneshot; do
        "$1" "$name" cell
    done
    for name in tree-sequential tree-1-worker tree-2-one-busy tree-2-one-asleep tree-rayon tree-chili \
        spawn-inside spawn-blocking-inside spawn-outside scope-spawn-inside scope-of-one scope-of-one-rayon \
        scope-of-1000 scope-of-1000-rayon iter-sum-of-100 iter-sum-of-100-rayon iter-any iter-any-rayon map-sequential map-1-worker map-rayon region-map-of-2 region-join; do
        "$1" "$name" pool
    done
    for name in loop-one-by-one loop-batch loop-yield loop-timer loop-remote-spawn loop-message echo-1 echo-64; do
        "$1" "$name" loop
    done
    for name in loop-one-by-one loop-yield loop-timer echo-1 echo-64 wake-asleep; do
        "$1" "allocations-$name" allocations
    done
    if ! command -v strace >/dev/null; then return; fi
    for name in echo-1 echo-64 http-connection http-connection-tokio wake-asleep wake-awake; do
        "$1" "calls-$name" calls
    done
}

rows begin
wait
printf '%-28s %10s  %10s\n' operation each limit
rows row
command -v strace >/dev/null || echo "instructions: no strace here, so system calls are not counted"

if [ "$mode" = --write ]; then
    { grep '^#' "$limits" || true; printf '%s\n' "${counts[@]}"; } >"$limits.new"
    mv "$limits.new" "$limits"
    echo "written to $limits"
elif [ "$missed" -gt 0 ]; then
    echo "$missed counts are more than $allowed % above their limits in $limits"
    [ "$mode" != --check ]
fi
