#!/usr/bin/env bash
# Programs that use rayon, each built with rayon and with trefoil in its place, as its users build it: what they take on one
# processor, on two, and on all.
#
#     benches/programs.sh                  # the table; everything is below target/programs
#     benches/programs.sh --write          # also into benches/results/programs.md, docs/BENCHMARKS.md and the plot
#     benches/programs.sh --build          # builds and makes the inputs only
#     benches/programs.sh --built ...      # does not build again: measures at once, on a machine that is quiet by then
#     ROUNDS=3 PROGRAMS="tokei b3sum" benches/programs.sh
#
# Cargo downloads the programs (`cargo install`); `src/program_inputs.rs` makes what they work on. In a round each program runs
# with rayon and with trefoil, in turn, for each number of processors: taskset gives it these, so that its own threads and those
# of its pools are as many.
set -euo pipefail
cd "$(dirname "$0")/.."
exec </dev/null

top=$PWD
builds=1 measures=1 write=()
for option in "$@"; do
    case $option in
        --build) measures= ;;
        --built) builds= ;;
        --write) write=(--write) ;;
        *) echo "$option? There are --build, --built and --write" >&2; exit 2 ;;
    esac
done
place=${CARGO_TARGET_DIR:-$top/target}/programs
inputs=$place/inputs
rounds=${ROUNDS:-9}
all=$(nproc)
widths=$(printf '%s\n' 1 2 "$all" | sort -nu | awk -v all="$all" '$1 <= all')
# Package, version, program.
packages="oxipng 10.2.1 oxipng
gifski 1.34.0 gifski
tokei 15.0.0 tokei
du-dust 1.2.7 dust
b3sum 1.8.7 b3sum"
wanted=${PROGRAMS:-$(awk '{ print $3 }' <<<"$packages")}
TIMEFORMAT=%R

# build LIBRARY: the programs, in $place/LIBRARY/bin.
build() {
    local package version program patch=()
    [ "$1" = rayon ] || patch=(--config "patch.crates-io.rayon-core.path='$top/crates/rayon-core'")
    while read -r package version program; do
        [[ " ${wanted//$'\n'/ } " == *" $program "* ]] || continue
        # (Also when it is there: trefoil may have changed.)
        CARGO_TARGET_DIR=$place/$1 cargo install --quiet --force --no-track --root "$place/$1" "${patch[@]}" "$package" --version "=$version" >&2
        # Panics name their files, which no setting of these programs removes.
        if grep -q 'crates/rayon-core/src/' "$place/$1/bin/$program"; then
            [ "$1" = trefoil ] || { echo "$program: it is not rayon that it uses" >&2; exit 1; }
        elif [ "$1" = trefoil ]; then
            echo "$program: it does not use trefoil" >&2
            exit 1
        fi
    done <<<"$packages"
}

# work PROGRAM FILE: one run.
work() {
    case $1 in
        oxipng) "$2" --quiet --opt 2 --out "$place/out.png" --force "$inputs/picture.png" ;;
        gifski) "$2" --quiet --width 480 --output "$place/out.gif" "$inputs"/frames/*.png ;;
        tokei) "$2" "$inputs/sources" >/dev/null ;;
        dust) "$2" --depth 1 --no-progress "$inputs/files" >/dev/null ;;
        b3sum) "$2" "$inputs/bytes" >/dev/null ;;
        *) echo "there is no program $1" >&2; exit 1 ;;
    esac
}

# seconds PROCESSORS LIBRARY PROGRAM
seconds() {
    local list=0
    [ "$1" = 1 ] || list=0-$(($1 - 1))
    { time taskset -c "$list" timeout 120 bash -euo pipefail -c "work $3 '$place/$2/bin/$3'" >&2; } 2>&1 | tail -1
}
export -f work
export place inputs

[ -z "$builds" ] || build rayon
[ -z "$builds" ] || build trefoil
cargo run --quiet --locked -p trefoil-benches --bin program_inputs -- "$inputs"
[ -n "$measures" ] || exit 0

figures=$place/figures.txt
: >"$figures"
for ((round = 0; round <= rounds; round++)); do # the first fills the caches
    for program in $wanted; do
        version=$(awk -v program="$program" '$3 == program { print $2 }' <<<"$packages")
        for processors in $widths; do
            for library in rayon trefoil; do
                took=$(seconds "$processors" "$library" "$program")
                [ "$round" = 0 ] || printf '%s %s\t%s\t%s\t%s\n' "$program" "$version" "$processors" "$library" "$took" >>"$figures"
            done
        done
    done
done
cargo run --quiet --locked -p trefoil-benches --bin tables -- --programs "$figures" "${write[@]}"
