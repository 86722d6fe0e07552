#!/usr/bin/env bash
# Side by side on this machine: Atoll, Debian's docker-registry and nginx. Everything after the
# script's name goes to the load generator, for example:
#   deploy/bench/run.sh --get 65536 --connections 16 --servers atoll,nginx --seconds 1
# Without arguments every cell is measured, and then whole installations beside each other: figure8.py
# (throughput and latency over clients), figure2.py (copies in memory, servers a request passes) and
# library.py (the replica-aware client). That takes about half an hour.
# ATOLLD names a binary that is built already; otherwise it is built here.
set -euo pipefail
cd "$(dirname "$0")/../.."
target=${CARGO_TARGET_DIR:-target}

install_missing() {
    local missing=()
    command -v docker-registry >/dev/null || missing+=(docker-registry)
    command -v nginx >/dev/null || missing+=(nginx-light)
    ((${#missing[@]})) || return 0
    local sudo=()
    [[ $(id -u) == 0 ]] || sudo=(sudo)
    "${sudo[@]}" apt-get -o DPkg::Lock::Timeout=300 update -qq
    # Packages must not start services of their own: the bench starts its own servers.
    "${sudo[@]}" env DEBIAN_FRONTEND=noninteractive RUNLEVEL=1 \
        apt-get -o DPkg::Lock::Timeout=300 install -y --no-install-recommends "${missing[@]}"
}

install_missing
cargo build --release -p atoll-bench
cargo build --release -p atoll-client --examples
if [[ -z ${ATOLLD:-} ]]; then
    cargo build --release -p atoll-node --bin atolld
    export ATOLLD=$target/release/atolld
fi
"$target/release/atoll-bench" --directory "$target/bench-data" --json "$target/bench.json" "$@"
(($# == 0)) || exit 0
export ATOLL_BENCH=$target/release/atoll-bench
deploy/bench/figure8.py --results "$target/bench-figures"
deploy/bench/figure2.py --results "$target/bench-figures"
CARGO_TARGET_DIR=$target deploy/bench/library.py --results "$target/bench-figures"
