#!/usr/bin/env bash
# Real clients push to one node and pull from every other at once.
#
#   deploy/cluster/anywhere.sh [CLIENT...]        docker podman skopeo crane by default
#   NODES=5 …                                     how many nodes `atolld dev` starts
#   E2E_REQUIRE=all …                             a client that cannot be installed fails the run
#
# Each client pushes to the next node in turn; then the same client, empty again, pulls from all other
# nodes at the same time, and what each pull brought is compared byte for byte. The clients, the images
# and the comparison are those of deploy/e2e. The last line is `N passed, M failed, K skipped`.
set -euo pipefail
HERE=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
E2E=$HERE/../e2e
# shellcheck source-path=SCRIPTDIR source=../e2e/lib/tools.sh
source "$E2E/lib/tools.sh"
# shellcheck source-path=SCRIPTDIR source=../e2e/lib/node.sh
source "$E2E/lib/node.sh"

CLIENTS=("$@")
[ $# -gt 0 ] || CLIENTS=(docker podman skopeo crane)
export NODES=${NODES:-5}
# How long one push or pull may take, and an installation, in seconds.
STEP_SECONDS=300
INSTALL_SECONDS=1800

WORK=$(mktemp -d /tmp/anywhere.XXXXXX) # short: sockets live in it, and their paths may have 107 characters
export WORK FIXTURES="$WORK/fixtures"
# shellcheck disable=SC2317 # called by the trap
cleanup() {
  stop_registry
  awk -v under="$WORK/" 'index($2, under) == 1 { print $2 }' /proc/mounts | sort -r | xargs -r umount -l 2>/dev/null || true
  rm -rf --one-file-system "$WORK"
}
trap cleanup EXIT
trap 'exit 130' INT TERM

# client HOME NAME ACTION ARGS...: one step of a client with a folder of its own.
client() {
  local home=$1 name=$2 seconds=$STEP_SECONDS
  shift 2
  [ "$1" != install ] || seconds=$INSTALL_SECONDS
  HOMEDIR="$WORK/$home" timeout -k 30 "$seconds" bash "$E2E/lib/client.sh" "$name" "$@"
}

# elsewhere NAME FROM REF: pulls REF through every node but FROM, at once, and checks each result.
elsewhere() {
  local name=$1 from=$2 path=$3 at node exact pids=() bad=0
  exact=$(setting "$name" EXACT)
  for at in "${!ADDRESSES[@]}"; do
    node=${ADDRESSES[$at]}
    [ "$node" != "$from" ] || continue
    {
      client "$name-$at" "$name" pull "$node/$path" "$WORK/out/$name-$at" \
        && client "$name-$at" "$name" check "$WORK/out/$name-$at" "$exact"
    } >"$WORK/$name-$at.log" 2>&1 &
    pids+=($!)
  done
  for at in "${pids[@]}"; do wait "$at" || bad=1; done
  return $bad
}

# setting NAME VARIABLE: what a client file says of itself.
setting() {
  (
    # shellcheck source=/dev/null
    source "$E2E/clients/$1.sh"
    printf '%s\n' "${!2}"
  )
}

# last_words LOG...: of each log that ends badly, the line that most likely says why.
last_words() {
  local log
  for log in "$@"; do printf '%s: %s\n' "$(basename "$log" .log)" "$({ grep -vE '^[[:space:]]*$' "$log" || echo 'no output'; } | tail -n 1 | tr -d '\r' | cut -c1-200)"; done
}

if ! { need_cmd python3 python3 && need_cmd curl curl; }; then
  say "anywhere: NOT RUN: $WHY"
  exit 3
fi
declare -A REASON=()
for name in "${CLIENTS[@]}"; do
  out=$(client "$name" "$name" install) || REASON[$name]=${out:-it could not be installed}
done
start_registry "$WORK"
mapfile -t ADDRESSES < <(dev_addresses "$WORK/node/dev.json")
mkdir -p "$WORK/out"
"$E2E/lib/fixture.py" "$FIXTURES"
export REGISTRY

PASSED=0 FAILED=0 SKIPPED=0 TURN=0
printf '\n%-8s %-22s %-10s %s\n' client 'pushed to' 'pulled at' verdict
for name in "${CLIENTS[@]}"; do
  from=${ADDRESSES[$((TURN++ % ${#ADDRESSES[@]}))]} path="anywhere/$name:v1"
  if [ -n "${REASON[$name]:-}" ]; then
    verdict="NOT RUN: ${REASON[$name]}" SKIPPED=$((SKIPPED + 1))
  elif ! client "$name" "$name" push "$from/$path" >"$WORK/$name.log" 2>&1; then
    verdict="FAILED: push: $(last_words "$WORK/$name.log")" FAILED=$((FAILED + 1))
  elif ! elsewhere "$name" "$from" "$path"; then
    verdict="FAILED: $(last_words "$WORK/$name"-*.log | tr '\n' ';')" FAILED=$((FAILED + 1))
  else
    verdict=passed PASSED=$((PASSED + 1))
  fi
  printf '%-8s %-22s %-10s %s\n' "$name" "$from" "$((${#ADDRESSES[@]} - 1)) others" "$verdict"
done
if [ $FAILED -gt 0 ] && [ -n "$NODE_LOG" ]; then say "the end of the nodes' log:"; tail -n 20 "$NODE_LOG" >&2; fi
printf '\n%d passed, %d failed, %d skipped\n' $PASSED $FAILED $SKIPPED
if [ $FAILED -gt 0 ] || [ $PASSED -eq 0 ]; then exit 1; fi
if [ "${E2E_REQUIRE:-}" = all ] && [ $SKIPPED -gt 0 ]; then exit 1; fi
