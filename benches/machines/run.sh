#!/usr/bin/env bash
# Pools on other machines beside Dask itself and bare streams, all on this machine:
#
#     bash benches/machines/run.sh [PYTHON]
#
# PYTHON is an interpreter with `distributed`, and for its rows with joblib. Without one, without
# sshd, or without root's rights and Slurm, those rows are missing. Each block is one program's; the
# same names are the same figures, the best of three times each. Round trips are the middle of many;
# those of a call and of a frame beside it were made in turns.
set -euo pipefail
cd "$(dirname "$0")/../.."
python=${1:-${TREFOIL_DASK_PYTHON:-}}
work=$(mktemp -d)
ends=()
trap 'for pid in "${ends[@]}"; do kill "$pid" 2>/dev/null || true; done; [ ! -e "$work/slurm" ] || .ci/slurm stop "$work/slurm"; rm -rf "$work"' EXIT

cargo build --locked --release -p trefoil-machines
machines=${CARGO_TARGET_DIR:-target}/release/machines
block() {
    printf '\n== %s\n' "$1"
    timeout 300 "${@:2}"
}

block "frames over TCP, bare" "$machines" echo
block "plain workers of this machine" "$machines" here 6
block "one plain worker beside frames over TCP" "$machines" trips here

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
    block "ssh node1 cat, bare" "$machines" pipe ssh -F "$work/config" -T node1 cat
    block "one worker over ssh beside ssh node1 cat" "$machines" trips ssh node1 "$work/config"
    block "a pool over ssh, one worker" "$machines" ssh node1:1 "$work/config"
    block "a pool over ssh, six workers" "$machines" ssh node1:6 "$work/config"
fi

if why=$(.ci/slurm start "$work/slurm" 2>&1); then
    export SLURM_CONF=$work/slurm/slurm.conf
    mkdir "$work/words"
    block "four workers on an idle Slurm cluster" "$machines" start "$work/words"
    block "one worker on Slurm beside frames over TCP" "$machines" trips slurm "$work/words"
    block "a pool on Slurm, six workers" "$machines" slurm "$work/words"
else
    printf '\nwithout Slurm: %s\n' "$why"
fi

if [ -n "$python" ]; then
    mkdir "$work/dask"
    mkfifo "$work/in"
    exec 3<>"$work/in"
    "$python" tests/dask/cluster.py "$work/dask" 3 <"$work/in" >"$work/out" 3>&- &
    ends+=($!)
    until grep -q ready "$work/out"; do kill -0 "${ends[-1]}"; sleep 0.1; done
    block "Dask, pure Python" "$python" benches/machines/pure.py "$work/dask/scheduler.json"
    block "a pool on Dask" "$machines" dask "$work/dask/scheduler.json" "$python"
    exec 3>&-
fi
