# shellcheck shell=bash
# shellcheck disable=SC2034 # NODE_LOG is for who sources this
# The registry under test: one that is already running (REGISTRY=host:port), or a node of our own.
#
# A node of our own listens on loopback ports nobody else uses, keeps its data in the caller's work
# folder and is stopped by its process id; whatever the script does, nothing of it stays. With NODES=3
# in the environment it is a cluster of three; REGISTRY is the first of them.

# The repository, from deploy/e2e/lib.
ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/../../.." && pwd)
# How long a node may take from its start to its first "ready", in seconds.
READY_SECONDS=60
# How long a node may take to drain and end, in seconds.
STOP_SECONDS=40
# The process we started, and the node it reports; empty when REGISTRY was given.
DEV_PID='' NODE_PID='' ADMIN='' NODE_LOG=''

# atolld_path: prints the binary to test; builds it if it is not there.
atolld_path() {
  local built="${CARGO_TARGET_DIR:-$ROOT/target}/release/atolld"
  if [ -n "${ATOLLD:-}" ]; then
    [ -x "$ATOLLD" ] || { say "ATOLLD=$ATOLLD is not an executable"; return 1; }
    realpath "$ATOLLD"
    return 0
  fi
  if [ ! -x "$built" ]; then
    say "building atolld (release)"
    (cd "$ROOT" && cargo build --release --bin atolld >&2) || return 1
  fi
  realpath "$built"
}

# port_is_free PORT: whether nobody answers on it on loopback.
port_is_free() { ! (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }

# free_ports: prints P such that P, P+1 and P+2 are free, and so are the same three of each further
# node, ten apart; below the range the kernel hands out.
free_ports() {
  local port each
  while :; do
    port=$((20000 + RANDOM % 1200 * 10))
    for ((each = port; each < port + 10 * ${NODES:-1}; each += 10)); do
      if ! { port_is_free $each && port_is_free $((each + 1)) && port_is_free $((each + 2)); }; then continue 2; fi
    done
    printf '%s\n' $port
    return 0
  done
}

# dev_addresses FILE: prints where each node of a dev.json serves clients, one in a line.
dev_addresses() {
  python3 -c 'import json, sys; [print(node["http"].split("://")[-1]) for node in json.load(open(sys.argv[1]))["nodes"]]' "$1"
}

# dev_field FILE KEY: prints the first node's KEY of a dev.json, without a scheme.
dev_field() { tr -d '\n' <"$1" | sed -n "s/.*\"nodes\"[^{]*{[^}]*\"$2\"[[:space:]]*:[[:space:]]*\"\{0,1\}\([^\",}]*\).*/\1/p" | sed 's#^[a-z]*://##'; }

# start_registry WORK: sets REGISTRY; starts a node in WORK/node unless REGISTRY was given.
start_registry() {
  if [ -n "${REGISTRY:-}" ]; then
    if ! curl -s -o /dev/null --max-time 10 "http://$REGISTRY/v2/"; then
      say "nothing answers at REGISTRY=$REGISTRY"
      return 1
    fi
    return 0
  fi
  local binary dir="$1/node" attempt
  binary=$(atolld_path) || return 1
  # A port can be taken between the look and the bind: try another one.
  for attempt in 1 2 3; do
    start_node "$binary" "$dir" "$1/node.log" && return 0
    say "attempt $attempt to start atolld failed; the end of its log:"
    tail -n 15 "$1/node.log" >&2
    stop_registry
    rm -rf "$dir"
  done
  return 1
}

# start_node BINARY DIR LOG: one try.
start_node() {
  local port deadline=$((SECONDS + READY_SECONDS))
  port=$(free_ports)
  NODE_LOG=$3
  "$1" dev --nodes "${NODES:-1}" --data-dir "$2" --port "$port" >"$3" 2>&1 &
  DEV_PID=$!
  while [ $SECONDS -lt $deadline ]; do
    kill -0 "$DEV_PID" 2>/dev/null || return 1
    if [ -s "$2/dev.json" ]; then
      NODE_PID=$(dev_field "$2/dev.json" pid)
      ADMIN=$(dev_field "$2/dev.json" admin)
      REGISTRY=$(dev_field "$2/dev.json" http)
      if [ -n "$ADMIN" ] && curl -sf -o /dev/null --max-time 2 "http://$ADMIN/readyz"; then return 0; fi
    fi
    sleep 0.1
  done
  return 1
}

# stop_registry: ends what start_registry started, politely first.
stop_registry() {
  [ -n "$DEV_PID" ] || return 0
  kill -TERM "$DEV_PID" 2>/dev/null || true
  local deadline=$((SECONDS + STOP_SECONDS)) pid
  for pid in "$DEV_PID" $NODE_PID; do
    while kill -0 "$pid" 2>/dev/null; do
      if [ $SECONDS -ge $deadline ]; then
        say "process $pid did not end in ${STOP_SECONDS}s: killed"
        kill -KILL "$pid" 2>/dev/null || true
        break
      fi
      sleep 0.1
    done
  done
  wait "$DEV_PID" 2>/dev/null || true
  if [ -n "$NODE_PID" ]; then REGISTRY=''; fi
  DEV_PID='' NODE_PID=''
}
