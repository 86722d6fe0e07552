#!/usr/bin/env bash
# The OCI distribution conformance suite against a node, with nothing let off.
#
#   deploy/conformance/run.sh                     starts the node it tests
#   REGISTRY=127.0.0.1:5000 deploy/conformance/run.sh
#   RESULTS=DIR …                                 keeps results.yaml, report.html, junit.xml there
#   CONFORMANCE=/path/to/suite …                  an already built suite of the pinned commit
#   RUNS_ONLY='1.1 dev' …                         only these runs
#
# The suite's own verdict is not enough: it calls a run with skipped features a pass, and ends with 0
# when it could not read its configuration. So this script counts: no FAIL, no Error, no Skip, nothing
# Disabled beyond what the version disables, and at least as many passes as a full run has.
set -euo pipefail
HERE=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source-path=SCRIPTDIR source=../e2e/lib/tools.sh
source "$HERE/../e2e/lib/tools.sh"
# shellcheck source-path=SCRIPTDIR source=../e2e/lib/node.sh
source "$HERE/../e2e/lib/node.sh"

# github.com/opencontainers/distribution-spec, 2026-07-16: the commit the floors were counted with.
SUITE=github.com/opencontainers/distribution-spec/conformance
COMMIT=967efdc079b91785ad18c77cc4f8991a47feefbf

# name | OCI_VERSION | OCI_DATA_SPARSE | passes of a full run | APIs the version itself disables
RUNS=(
  '1.1|1.1|false|860|2'
  'dev|dev|false|986|0'
  'dev-sparse|dev|true|1032|0'
)
# Lines of failing checks shown per run; the rest is in report.html.
SHOWN=60

START=$SECONDS
WORK=$(mktemp -d)
# shellcheck disable=SC2317 # called by the trap
cleanup() {
  stop_registry
  rm -rf "$WORK"
}
trap cleanup EXIT
trap 'exit 130' INT TERM

# suite: sets TOOL to the suite's binary, built if needed.
suite() {
  TOOL=${CONFORMANCE:-}
  [ -n "$TOOL" ] || { go_tool conformance "$SUITE" "${COMMIT:0:12}"; return; }
  [ -x "$TOOL" ] || { WHY="CONFORMANCE=$TOOL is not an executable"; return 1; }
  TOOL=$(realpath "$TOOL")
}

# count FILE ATTRIBUTE: a number of the junit root element; the suite leaves out zeros.
count() {
  local value
  value=$(grep -m1 -o '<testsuites [^>]*>' "$1" | sed -n "s/.* $2=\"\([0-9]*\)\".*/\1/p")
  printf '%s\n' "${value:-0}"
}

# run_suite BINARY NAME VERSION SPARSE DIR: runs it away from every OCI_ variable of the caller.
run_suite() {
  mkdir -p "$5"
  (
    cd "$5"
    env -i PATH="$PATH" HOME="$WORK" OCI_REGISTRY="$REGISTRY" OCI_TLS=disabled \
      OCI_REPO1="conformance/$RUN_ID/$2/repo1" OCI_REPO2="conformance/$RUN_ID/$2/repo2" \
      OCI_VERSION="$3" OCI_DATA_SPARSE="$4" OCI_RESULTS_DIR="$5" OCI_LOG=error "$1" >"$5/output.txt" 2>&1
  ) || true # the verdict is counted below
}

# not_passed DIR: the checks that failed or were skipped, with their reasons.
not_passed() {
  sed -n '/^Test results/,/^Configuration:/p' "$1/output.txt" \
    | grep -E -A4 ': (FAIL|Error|Skip)$' | grep -vE '^--$|: (Pass|Disabled)$' | cut -c1-240 | head -n "$SHOWN" || true
  grep -hE '^ +[A-Z][^:]*: (FAIL|Error|Skip)$' "$1/results.yaml" 2>/dev/null || true
}

if ! { need_cmd curl curl && suite; }; then
  say "conformance: NOT RUN: $WHY"
  exit 3
fi
GIVEN=${REGISTRY:-}
start_registry "$WORK"
# Repositories of their own for each run of this script: a registry that is kept starts clean too.
RUN_ID=run$$-$RANDOM
RESULTS=${RESULTS:-$WORK/results}
mkdir -p "$RESULTS"
RESULTS=$(realpath "$RESULTS")

printf '\n%-12s %7s %7s %6s %6s %6s %9s %6s  %s\n' run floor pass fail error skip disabled time verdict
BAD=0
for run in "${RUNS[@]}"; do
  IFS='|' read -r name version sparse floor allowed <<<"$run"
  [[ " ${RUNS_ONLY:-$name} " == *" $name "* ]] || continue
  dir="$RESULTS/$name"
  rm -rf "$dir"
  if [ "$sparse" = true ] && [ -z "$GIVEN" ]; then
    # Sparse manifests name blobs that are nowhere. The spec lets a registry refuse them, and Atoll
    # does unless it is told to take them.
    stop_registry
    export ATOLL__REGISTRY__SPARSE_MANIFESTS=true
    mkdir -p "$WORK/sparse"
    start_registry "$WORK/sparse"
  fi
  began=$SECONDS
  run_suite "$TOOL" "$name" "$version" "$sparse" "$dir"
  if [ ! -s "$dir/junit.xml" ] || [ ! -s "$dir/results.yaml" ]; then
    printf '%-12s the suite left no results:\n' "$name"
    tail -n 5 "$dir/output.txt"
    BAD=1
    continue
  fi
  total=$(count "$dir/junit.xml" tests) fail=$(count "$dir/junit.xml" failures) error=$(count "$dir/junit.xml" errors)
  skip=$(count "$dir/junit.xml" skipped) disabled=$(count "$dir/junit.xml" disabled)
  pass=$((total - fail - error - skip - disabled))
  verdict=ok
  [ "$disabled" -le "$allowed" ] || verdict='DISABLED'
  [ "$pass" -ge "$floor" ] || verdict='TOO FEW'
  [ $((fail + error + skip)) -eq 0 ] || verdict='FAILED'
  # The tree of checks and the table of features are two books: both must be clean.
  ! grep -qE '^ +[A-Z][^:]*: (FAIL|Error|Skip)$' "$dir/results.yaml" || verdict='FAILED'
  [ "$verdict" = ok ] || BAD=1
  printf '%-12s %7d %7d %6d %6d %6d %9d %5ds  %s\n' "$name" "$floor" "$pass" "$fail" "$error" "$skip" "$disabled" $((SECONDS - began)) "$verdict"
  if [ "$verdict" != ok ]; then not_passed "$dir" | sed 's/^/    /'; fi
done
printf '\nconformance %s, suite %.12s, %ds\n' "$([ $BAD -eq 0 ] && echo passed || echo FAILED)" "$COMMIT" $((SECONDS - START))
if [ $BAD -ne 0 ] && [ -n "$NODE_LOG" ]; then say "the end of the node's log:"; tail -n 20 "$NODE_LOG" >&2; fi
exit $BAD
