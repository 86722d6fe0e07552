# shellcheck shell=bash
# shellcheck disable=SC2034 # read by who sources this
# containerd by its `ctr`: a daemon of our own, without the Kubernetes plugin. One PUT with its
# length per blob; a pull unpacks, so every layer is also read as a tar.
PAYLOAD=large EXACT=exact OTHERS='regctl crane skopeo'
# How long the daemon may take to answer, in seconds.
DAEMON_SECONDS=30

install() { need_cmd containerd containerd && need_cmd ctr containerd; }
version() { containerd --version; }

# cc ARGS...: ctr against that daemon.
cc() { ctr --address "$HOMEDIR/containerd.sock" --namespace e2e "$@"; }

set_up() {
  cat >"$HOMEDIR/config.toml" <<END
version = 2
root = "$HOMEDIR/root"
state = "$HOMEDIR/state"
disabled_plugins = ["io.containerd.grpc.v1.cri"]
[grpc]
  address = "$HOMEDIR/containerd.sock"
[ttrpc]
  address = "$HOMEDIR/containerd.ttrpc"
END
  containerd --config "$HOMEDIR/config.toml" >"$HOMEDIR/containerd.log" 2>&1 &
  DAEMON=$!
  local deadline=$((SECONDS + DAEMON_SECONDS))
  until cc version >/dev/null 2>&1; do
    if ! kill -0 "$DAEMON" 2>/dev/null || [ $SECONDS -ge $deadline ]; then
      echo "containerd does not answer; the end of its log:"
      tail -n 5 "$HOMEDIR/containerd.log"
      return 1
    fi
    sleep 0.2
  done
}
push() {
  cc image import --no-unpack "$FIXTURE/layout.tar"
  cc image push --plain-http "$1" fixture.local/image:v1
}
pull() {
  cc image rm --sync fixture.local/image:v1 || true
  cc image pull --plain-http --snapshotter native "$1"
  mkdir -p "$2"
  cc image export "$2/image.tar" "$1"
}
tear_down() { stop_process "$DAEMON"; }
