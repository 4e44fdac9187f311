#!/usr/bin/env bash
# Pools on other machines beside Dask itself and bare streams, all on this machine:
#
#     bash benches/machines/run.sh [PYTHON] [ROUNDS]
#
# PYTHON is an interpreter with `distributed`, `joblib` and `numpy`. Without one, without sshd, or
# without root's rights and Slurm, those tables are missing. The contenders of a table take turns,
# for each row of each round (seven, unless told otherwise, after one that does not count): a figure
# is the median, and in brackets are the least and the most. Round trips are the middle of many. The
# tables are Markdown, for docs/REMOTE_WORKERS.md; what each figure was goes to standard error.
set -euo pipefail
cd "$(dirname "$0")/../.."
python=${1:-${TREFOIL_DASK_PYTHON:-}}
rounds=${2:-7}
work=$(mktemp -d)
ends=()
trap 'for pid in "${ends[@]}"; do kill "$pid" 2>/dev/null || true; done; [ ! -e "$work/slurm" ] || .ci/slurm stop "$work/slurm"; rm -rf "$work"' EXIT

cargo build --locked --release -p trefoil-machines-benches
machines=${CARGO_TARGET_DIR:-target}/release/machines
block() {
    printf '\n== %s\n' "$1"
    timeout 1200 "${@:2}"
}

table() {
    block "$1" "$machines" table "$rounds" "${@:2}"
}

block "one plain worker beside frames over TCP" "$machines" trips here


# A command line with a worker behind it, beside `cat` behind the same.
wrapped() {
    local name=$1
    shift
    if tried=$("${@/\{exe\}/true}" </dev/null 2>&1); then
        block "$name" "$machines" trips wrapped "$@"
    else
        printf '\nwithout %s: %s\n' "$name" "$tried"
    fi
}
wrapped "nothing around it" env "{exe}"
wrapped "bwrap, a sandbox" bwrap --unshare-all --die-with-parent --ro-bind / / --dev /dev --proc /proc --tmpfs /run "{exe}"
wrapped "unshare, namespaces" unshare --map-root-user --net --pid --fork --kill-child --mount-proc "{exe}"
wrapped "setpriv, another user" setpriv --reuid=65534 --regid=65534 --clear-groups "{exe}"
if podman run --rm --network=none --rootfs /:O true 2>/dev/null; then
    block "podman, a container" "$machines" trips wrapped setsid --wait podman run -i --rm --network=none "{env}" --rootfs /:O "{exe}"
else
    printf '\nwithout containers: podman cannot run one here\n'
fi

if sshd=$(command -v sshd || ls /usr/sbin/sshd 2>/dev/null); then
    for key in host user; do ssh-keygen -q -t ed25519 -N '' -f "$work/$key"; done
    port=$((20000 + RANDOM % 10000))
    printf '%s\n' "Port $port" "ListenAddress 127.0.0.1" "HostKey $work/host" "AuthorizedKeysFile $work/user.pub" "PidFile none" \
        "StrictModes no" "UsePAM no" "PermitRootLogin yes" >"$work/sshd_config"
    printf 'bed %s\n' "$(cat "$work/host.pub")" >"$work/known"
    printf '%s\n' "Host node1" "HostName 127.0.0.1" "HostKeyAlias bed" "Port $port" "IdentityFile $work/user" "IdentitiesOnly yes" \
        "UserKnownHostsFile $work/known" "BatchMode yes" >"$work/config"
    [ "$(id -u)" != 0 ] || mkdir -p /run/sshd
    "$sshd" -D -e -f "$work/sshd_config" </dev/null >"$work/sshd.log" 2>&1 &
    ends+=($!)
    until grep -q listening "$work/sshd.log"; do kill -0 "${ends[-1]}"; sleep 0.1; done
    block "one worker over ssh beside ssh node1 cat" "$machines" trips ssh node1 "$work/config"
    table "over ssh" \
        "plain workers here=$machines here 6" \
        "six workers over ssh=$machines ssh node1:6 $work/config" \
        "six bare pipes of ssh=$machines streams ssh 6 node1 $work/config" \
        "one worker over ssh=$machines ssh node1:1 $work/config" \
        "one bare pipe of ssh=$machines streams ssh 1 node1 $work/config"
fi

if why=$(.ci/slurm start "$work/slurm" 2>&1); then
    export SLURM_CONF=$work/slurm/slurm.conf
    mkdir "$work/words"
    block "four workers on an idle Slurm cluster" "$machines" start "$work/words"
    block "one worker on Slurm beside frames over TCP" "$machines" trips slurm "$work/words"
    table "on Slurm" \
        "a pool on Slurm=$machines slurm $work/words" \
        "six bare TCP streams=$machines streams tcp 6"
else
    printf '\nwithout Slurm: %s\n' "$why"
fi

if [ -n "$python" ]; then
    mkdir "$work/dask"
    mkfifo "$work/in"
    exec 3<>"$work/in"
    "$python" crates/trefoil-machines/tests/dask/cluster.py "$work/dask" 3 --nanny <"$work/in" >"$work/out" 3>&- &
    ends+=($!)
    until grep -q ready "$work/out"; do kill -0 "${ends[-1]}"; sleep 0.1; done
    file=$work/dask/scheduler.json
    block "one worker on Dask beside frames over TCP" "$machines" trips dask "$file" "$python"
    table "on Dask" \
        "a pool on Dask=$machines dask $file $python" \
        "Dask, pure Python=$python benches/machines/pure.py $file 3 dask" \
        "joblib on Dask=$python benches/machines/pure.py $file 3 joblib"
    exec 3>&-
fi
