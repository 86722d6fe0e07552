# shellcheck shell=bash
# shellcheck disable=SC2034 # read by who sources this
# docker: a daemon of our own (socket, data and run folders inside the work folder, no network set
# up). Streams each layer in one chunked PATCH, HEADs it after its PUT, mounts across repositories.
PAYLOAD=large EXACT='' OTHERS='skopeo crane regctl'
# How long the daemon may take to answer, in seconds.
DAEMON_SECONDS=40

install() { need_cmd dockerd docker.io && need_cmd docker docker.io; }
version() { dockerd --version; }

# dk ARGS...: the command line against that daemon, with no configuration of the user.
dk() { docker --config "$HOMEDIR/config" --host "unix://$HOMEDIR/docker.sock" "$@"; }

set_up() {
  mkdir -p "$HOMEDIR/config"
  printf '{}' >"$HOMEDIR/daemon.json"
  dockerd --config-file "$HOMEDIR/daemon.json" --host "unix://$HOMEDIR/docker.sock" --data-root "$HOMEDIR/data" \
    --exec-root "$HOMEDIR/exec" --pidfile "$HOMEDIR/docker.pid" --iptables=false --ip6tables=false --bridge=none \
    --storage-driver=vfs >"$HOMEDIR/dockerd.log" 2>&1 &
  DAEMON=$!
  local deadline=$((SECONDS + DAEMON_SECONDS))
  until dk version >/dev/null 2>&1; do
    if ! kill -0 "$DAEMON" 2>/dev/null || [ $SECONDS -ge $deadline ]; then
      echo "dockerd does not answer; the end of its log:"
      tail -n 5 "$HOMEDIR/dockerd.log"
      return 1
    fi
    sleep 0.2
  done
}
push() {
  dk load -q -i "$FIXTURE/docker.tar"
  dk tag fixture.local/image:v1 "$1"
  dk push -q "$1"
  # Again into a second repository: the daemon mounts what it knows the first one has.
  dk tag fixture.local/image:v1 "${1%:*}-second:v1"
  dk push -q "${1%:*}-second:v1"
}
pull() {
  dk image ls -q | sort -u | while read -r id; do dk rmi -f "$id"; done
  dk pull -q "$1"
  mkdir -p "$2"
  dk save -o "$2/image.tar" "$1"
}
tear_down() { stop_process "$DAEMON"; }
