# shellcheck shell=bash
# shellcheck disable=SC2034 # read by who sources this
# podman: unpacks into its store and compresses anew, one PATCH stream per blob.
PAYLOAD=small EXACT='' OTHERS='skopeo crane regctl'

install() { need_cmd podman podman; }
version() { podman --version; }

# pod ARGS...: podman with a store and a runtime folder of its own.
pod() { podman --root "$HOMEDIR/root" --runroot "$HOMEDIR/run" --storage-driver vfs --cgroup-manager cgroupfs --events-backend file "$@"; }

push() {
  pod load -q -i "$FIXTURE/docker.tar"
  pod push -q --tls-verify=false fixture.local/image:v1 "docker://$1"
}
pull() {
  pod rmi -a -f
  pod pull -q --tls-verify=false "$1"
  mkdir -p "$2"
  pod save -q --format docker-archive -o "$2/image.tar" "$1"
}
tear_down() { pod rmi -a -f || true; }
