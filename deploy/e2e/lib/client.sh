#!/usr/bin/env bash
# One client's part of a run, as a process of its own.
#
#   client.sh NAME install           installs it; prints its version, or fails with the reason
#   client.sh NAME round REF OUT     sets up, pushes to REF, pulls into OUT, checks; prints figures
#   client.sh NAME push REF          pushes only
#   client.sh NAME other_ref REF     prints where another client finds what was pushed to REF
#   client.sh NAME pull REF OUT      pulls into OUT only
#   client.sh NAME check OUT EXACT   checks what another client pulled
#
# From the environment: WORK, HOMEDIR (the client's own folder), REGISTRY, FIXTURES. A process, not a
# function: `set -e` holds in it, and a daemon it started ends with it.
#
# A file clients/NAME.sh says PAYLOAD (which fixture), EXACT (`exact` when it stores bytes unchanged),
# OTHERS (who else can pull it, in order of preference) and install, version, push REF, pull REF OUT;
# as it needs them also set_up, tear_down, check OUT, other_ref REF.
set -euo pipefail
HERE=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source-path=SCRIPTDIR source=tools.sh
source "$HERE/tools.sh"
NAME=$1 ACTION=$2
shift 2
# The check of an image; clients may call it for more than the runner asks.
VERIFY="$HERE/verify.py"
# The daemon a client started, if any.
# shellcheck disable=SC2034 # of the client files
DAEMON=''

set_up() { :; }
tear_down() { :; }
other_ref() { printf '%s\n' "$1"; }
check() { "$VERIFY" "$FIXTURE" "$1" "${2:-}"; }

# stop_process PID: ends a daemon of ours, by force if it does not listen.
stop_process() {
  [ -n "$1" ] || return 0
  kill -TERM "$1" 2>/dev/null || return 0
  local turns=200
  while kill -0 "$1" 2>/dev/null && [ $((turns -= 1)) -gt 0 ]; do sleep 0.1; done
  kill -KILL "$1" 2>/dev/null || true
  wait "$1" 2>/dev/null || true
}

# holds_file LAYOUT FILE: whether FILE is, byte for byte, a blob of the layout.
holds_file() {
  local sum
  sum=$(sha256sum "$2")
  cmp "$1/blobs/sha256/${sum%% *}" "$2"
}

# milliseconds: the time now.
milliseconds() { printf '%s\n' $((${EPOCHREALTIME/[.,]/} / 1000)); }

# shellcheck source=/dev/null
source "$HERE/../clients/$NAME.sh"
# shellcheck disable=SC2153 # from the environment
FIXTURE="$FIXTURES/$PAYLOAD"
mkdir -p "$HOMEDIR"

if ! install >&2; then
  printf '%s\n' "${WHY:-it could not be installed}"
  exit 1
fi
case $ACTION in
  install) version 2>&1 | head -n 1 | cut -c1-60 ;;
  other_ref) other_ref "$1" ;;
  check) check "$1" "$2" ;;
  push)
    trap tear_down EXIT
    set_up
    push "$1"
    ;;
  pull)
    trap tear_down EXIT
    set_up
    pull "$1" "$2"
    ;;
  round)
    trap tear_down EXIT
    set_up
    began=$(milliseconds)
    push "$1"
    pushed=$(milliseconds)
    pull "$1" "$2"
    pulled=$(milliseconds)
    check "$2" "$EXACT"
    printf 'figures %d %d\n' $((pushed - began)) $((pulled - pushed))
    ;;
esac
