#!/usr/bin/env bash
# The command line `atoll` against three nodes and beside the tools of others: each proof pushes or
# pulls with `atoll`, lets somebody else read what came of it, and compares byte for byte.
#
#   deploy/cli/run.sh [PROOF...]                  starts the nodes it tests; all proofs by default
#   ATOLL=FILE ATOLLD=FILE …                      the binaries to test
#   E2E_REQUIRE=all …                             a tool that cannot be installed fails the run
#   LOGS=DIR …                                    keeps each proof's log there
#
# The nodes, the images, the daemons and the comparison are those of deploy/e2e. A proof whose tool
# cannot be had is NOT RUN, with the reason. The last line is `N passed, M failed, K skipped`.
set -euo pipefail
HERE=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
E2E=$HERE/../e2e
# shellcheck source-path=SCRIPTDIR source=../e2e/lib/tools.sh
source "$E2E/lib/tools.sh"
# shellcheck source-path=SCRIPTDIR source=../e2e/lib/node.sh
source "$E2E/lib/node.sh"

# A proof, and the client of deploy/e2e it needs ('-' for none).
PROOFS=(layout:- archive:- index:- platform:- resume:- copy:- list:- remove:- codes:- login:-
  skopeo:skopeo crane:crane podman:podman docker:docker containerd:ctr node_hangs:- node_dies:-)
# How long one proof may take, and an installation, in seconds.
PROOF_SECONDS=300
INSTALL_SECONDS=1800
export NODES=${NODES:-3}

WORK=$(mktemp -d /tmp/cli.XXXXXX) # short: sockets live in it, and their paths may have 107 characters
export WORK FIXTURES="$WORK/fixtures" TMPDIR="$WORK/tmp" DOCKER_CONFIG="$WORK/docker-config"
# shellcheck disable=SC2317 # called by the trap
cleanup() {
  stop_registry
  awk -v under="$WORK/" 'index($2, under) == 1 { print $2 }' /proc/mounts | sort -r | xargs -r umount -l 2>/dev/null || true
  rm -rf --one-file-system "$WORK"
}
trap cleanup EXIT
trap 'exit 130' INT TERM

# atoll_path: prints the binary to test; builds it if it is not there.
atoll_path() {
  local built="${CARGO_TARGET_DIR:-$ROOT/target}/release/atoll"
  if [ -n "${ATOLL:-}" ]; then
    [ -x "$ATOLL" ] || { say "ATOLL=$ATOLL is not an executable"; return 1; }
    realpath "$ATOLL"
    return 0
  fi
  if [ ! -x "$built" ]; then
    say "building atoll (release)"
    (cd "$ROOT" && cargo build --release -p atoll-client --bin atoll >&2) || return 1
  fi
  realpath "$built"
}

# setting NAME VARIABLE: what a client of deploy/e2e says of itself.
setting() {
  (
    # shellcheck source=/dev/null
    source "$E2E/clients/$1.sh"
    printf '%s\n' "${!2}"
  )
}

# last_words LOG: the line that most likely says what went wrong.
last_words() { { grep -vE '^[[:space:]]*$' "$1" || echo 'no output'; } | tail -n 1 | tr -d '\r' | cut -c1-200; }

if ! { need_cmd python3 python3 && need_cmd curl curl; }; then
  say "cli: NOT RUN: $WHY"
  exit 3
fi
ATOLL=$(atoll_path)
export ATOLL
mkdir -p "$WORK/out" "$TMPDIR" "$DOCKER_CONFIG"
LOGS=${LOGS:-$WORK/logs}
mkdir -p "$LOGS"
"$E2E/lib/fixture.py" "$FIXTURES"
start_registry "$WORK"
export REGISTRY
ATOLL_REGISTRY=$(dev_addresses "$WORK/node/dev.json" | paste -sd, -)
NODE_PIDS=$(python3 -c 'import json, sys; print(*[node["pid"] for node in json.load(open(sys.argv[1]))["nodes"]])' "$WORK/node/dev.json")
export ATOLL_REGISTRY NODE_PIDS

PASSED=0 FAILED=0 SKIPPED=0
wanted() { [ $# -eq 1 ] || [[ " ${*:2} " == *" $1 "* ]]; }
printf '\n%-12s %8s  %s\n' proof seconds verdict
for row in "${PROOFS[@]}"; do
  proof=${row%%:*} tool=${row##*:}
  wanted "$proof" "$@" || continue
  log="$LOGS/$proof.log" began=$SECONDS
  if [ "$tool" != - ] && ! out=$(HOMEDIR="$WORK/$tool" timeout "$INSTALL_SECONDS" bash "$E2E/lib/client.sh" "$tool" install 2>"$log"); then
    verdict="NOT RUN: ${out:-it could not be installed}" SKIPPED=$((SKIPPED + 1))
  elif HOMEDIR="$WORK/$proof" timeout -k 30 "$PROOF_SECONDS" bash "$HERE/proof.sh" "$proof" "$tool" >"$log" 2>&1; then
    verdict=passed PASSED=$((PASSED + 1))
  else
    verdict="FAILED: $(last_words "$log")" FAILED=$((FAILED + 1))
  fi
  printf '%-12s %8d  %s\n' "$proof" $((SECONDS - began)) "$verdict"
done

printf '%d passed, %d failed, %d skipped\n' $PASSED $FAILED $SKIPPED
if [ $FAILED -gt 0 ] || [ $PASSED -eq 0 ]; then exit 1; fi
if [ "${E2E_REQUIRE:-}" = all ] && [ $SKIPPED -gt 0 ]; then exit 1; fi
