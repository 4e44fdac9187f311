#!/usr/bin/env bash
# Instructions per operation of the task cell, counted exactly by callgrind:
# the difference between 20,000 and 10,000 operations, divided by 10,000.
set -euo pipefail
cd "$(dirname "$0")/.."
cargo build --profile bench -p trefoil-benches --bin cell_instructions 2>/dev/null
program="${CARGO_TARGET_DIR:-target}/release/cell_instructions"
count() {
    valgrind --tool=callgrind --callgrind-out-file=/dev/null "$program" "$1" "$2" 2>&1 |
        sed -n 's/.*Collected : \([0-9]*\).*/\1/p'
}
for name in trefoil-future async-task-future trefoil-await async-task-await \
    trefoil-closure trefoil-promise futures-oneshot tokio-oneshot; do
    few=$(count "$name" 10000)
    many=$(count "$name" 20000)
    printf '%-20s %5d instructions\n' "$name" $(((many - few) / 10000))
done
