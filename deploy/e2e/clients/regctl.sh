# shellcheck shell=bash
# shellcheck disable=SC2034 # read by who sources this
# regctl (regclient): the one client that really uploads in chunks. Pushes each image twice, whole
# and, under <name>-chunked, in 1 MiB pieces with Content-Range; both must read back exactly.
PAYLOAD=large EXACT=exact OTHERS='crane skopeo'
CHUNK_BYTES=1048576

install() { go_tool regctl github.com/regclient/regclient/cmd/regctl v0.11.7; }
version() { "$TOOL" version --format '{{.VCSTag}}'; }

# set_up: a configuration of its own that knows the registry speaks plain HTTP.
set_up() {
  export REGCTL_CONFIG="$HOMEDIR/config.json"
  "$TOOL" registry set --tls disabled --skip-check "$REGISTRY"
}

push() {
  "$TOOL" image copy "ocidir://$FIXTURE/layout:v1" "$1"
  "$TOOL" registry set --blob-chunk "$CHUNK_BYTES" --blob-max "$CHUNK_BYTES" --skip-check "$REGISTRY"
  "$TOOL" image copy "ocidir://$FIXTURE/layout:v1" "${1%:*}-chunked:v1"
  "$TOOL" image copy "${1%:*}-chunked:v1" "ocidir://$HOMEDIR/chunked:v1"
  "$VERIFY" "$FIXTURE" "$HOMEDIR/chunked" exact
}
pull() { "$TOOL" image copy "$1" "ocidir://$2:v1"; }
