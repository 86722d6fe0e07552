#!/usr/bin/env bash
# Real clients against a node: each pushes what was built on the spot and pulls it back; a second
# client pulls the same; what came back is compared byte for byte.
#
#   deploy/e2e/run.sh [CLIENT...]                 starts the node it tests; all clients by default
#   REGISTRY=127.0.0.1:5000 deploy/e2e/run.sh
#   E2E_REQUIRE=all …                             a client that cannot be installed fails the run
#   LOGS=DIR …                                    keeps each client's log there
#
# A client that cannot be installed is named NOT RUN with the reason, and never counts as passed. The
# last line is for machines: `N passed, M failed, K skipped`. Ends with 0 when none failed and at least
# one ran.
set -euo pipefail
HERE=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source-path=SCRIPTDIR source=lib/tools.sh
source "$HERE/lib/tools.sh"
# shellcheck source-path=SCRIPTDIR source=lib/node.sh
source "$HERE/lib/node.sh"

ALL=(docker podman skopeo crane oras helm regctl cosign ctr)
# How long one client may take for its push, pull and check, and for being installed, in seconds.
ROUND_SECONDS=300
INSTALL_SECONDS=1800

START=$SECONDS
WORK=$(mktemp -d /tmp/e2e.XXXXXX) # short: sockets live in it, and their paths may have 107 characters
export WORK FIXTURES="$WORK/fixtures"
# shellcheck disable=SC2317 # called by the trap
cleanup() {
  stop_registry
  # A daemon that was killed can leave mounts behind.
  awk -v under="$WORK/" 'index($2, under) == 1 { print $2 }' /proc/mounts | sort -r | xargs -r umount -l 2>/dev/null || true
  rm -rf --one-file-system "$WORK"
}
trap cleanup EXIT
trap 'exit 130' INT TERM

declare -A VERSION REASON PUSH PULL OTHER
# client SECONDS NAME ACTION ARGS...: one step of a client; its output goes to the caller.
client() {
  local seconds=$1 name=$2
  shift 2
  HOMEDIR="$WORK/$name" timeout -k 30 "$seconds" bash "$HERE/lib/client.sh" "$name" "$@"
}

# setting NAME VARIABLE: what a client file says of itself.
setting() {
  (
    # shellcheck source=/dev/null
    source "$HERE/clients/$1.sh"
    printf '%s\n' "${!2}"
  )
}

# second_client NAME: the first of the client's OTHERS that is there.
second_client() {
  local other
  for other in $(setting "$1" OTHERS); do
    if [ "$other" != "$1" ] && [ -n "${VERSION[$other]:-}" ]; then printf '%s\n' "$other"; return 0; fi
  done
  return 1
}

# round NAME: push, pull, pull by another, compare. Sets REASON when anything is not as it must be.
round() {
  local name=$1 log="$LOGS/$1.log" ref="$REGISTRY/$PREFIX/$1:v1" other exact=''
  if ! client "$ROUND_SECONDS" "$name" round "$ref" "$WORK/out/$name" >"$log" 2>&1; then
    REASON[$name]=$(last_words "$log")
    return 1
  fi
  read -r _ PUSH["$name"] PULL["$name"] < <(grep '^figures ' "$log" | tail -n 1)
  if ! other=$(second_client "$name"); then
    REASON[$name]='no second client is there to pull it back'
    return 1
  fi
  OTHER[$name]=$other
  if [ "$(setting "$name" EXACT)$(setting "$other" EXACT)" = exactexact ]; then exact=exact; fi
  if ! { client "$ROUND_SECONDS" "$other" pull "$(client 60 "$name" other_ref "$ref")" "$WORK/out/$name-$other" \
      && client "$ROUND_SECONDS" "$name" check "$WORK/out/$name-$other" "$exact"; } >>"$log" 2>&1; then
    REASON[$name]="pulled by $other: $(last_words "$log")"
    return 1
  fi
}

# last_words LOG: the line that most likely says what went wrong.
last_words() { { grep -vE '^[[:space:]]*$' "$1" || echo 'no output'; } | tail -n 1 | tr -d '\r' | cut -c1-200; }

# seconds MILLISECONDS: as a column.
seconds() { [ -z "$1" ] && printf '%8s' - || printf '%7d.%ds' $(($1 / 1000)) $(($1 % 1000 / 100)); }

if ! { need_cmd python3 python3 && need_cmd curl curl; }; then
  say "e2e: NOT RUN: $WHY"
  exit 3
fi
CLIENTS=("$@")
[ $# -gt 0 ] || CLIENTS=("${ALL[@]}")
LOGS=${LOGS:-$WORK/logs}
mkdir -p "$LOGS" "$WORK/out"

# A named client's second client is installed too; whoever is only that gets no row of its own.
declare -A SEEN=()
for name in "${CLIENTS[@]}"; do
  [ -e "$HERE/clients/$name.sh" ] || { say "no such client: $name (there are ${ALL[*]})"; exit 2; }
  for each in "$name" $(setting "$name" OTHERS); do
    [ -z "${SEEN[$each]:-}" ] || continue
    SEEN[$each]=1
    if out=$(client "$INSTALL_SECONDS" "$each" install); then
      VERSION[$each]=${out:-?}
    else
      REASON[$each]=${out:-it could not be installed}
    fi
  done
done
INSTALLED=$SECONDS

start_registry "$WORK"
# Repositories of their own for each run: a registry that is kept has nothing of them yet.
PREFIX=e2e/run$$-$RANDOM
"$HERE/lib/fixture.py" "$FIXTURES"
export REGISTRY

PASSED=0 FAILED=0 SKIPPED=0
printf '\n%-8s %-40s %9s %9s  %-8s %s\n' client version push pull then-by verdict
for name in "${CLIENTS[@]}"; do
  if [ -z "${VERSION[$name]:-}" ]; then
    verdict="NOT RUN: ${REASON[$name]}" SKIPPED=$((SKIPPED + 1))
  elif round "$name"; then
    verdict=passed PASSED=$((PASSED + 1))
  else
    verdict="FAILED: ${REASON[$name]}" FAILED=$((FAILED + 1))
  fi
  printf '%-8s %-40.40s %9s %9s  %-8s %s\n' "$name" "${VERSION[$name]:--}" "$(seconds "${PUSH[$name]:-}")" "$(seconds "${PULL[$name]:-}")" "${OTHER[$name]:--}" "$verdict"
done

printf '\ninstalling took %ds, the rest %ds\n' $((INSTALLED - START)) $((SECONDS - INSTALLED))
if [ $FAILED -gt 0 ] && [ -n "$NODE_LOG" ]; then say "the end of the node's log:"; tail -n 20 "$NODE_LOG" >&2; fi
printf '%d passed, %d failed, %d skipped\n' $PASSED $FAILED $SKIPPED
if [ $FAILED -gt 0 ] || [ $PASSED -eq 0 ]; then exit 1; fi
if [ "${E2E_REQUIRE:-}" = all ] && [ $SKIPPED -gt 0 ]; then exit 1; fi
