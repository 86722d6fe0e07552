# shellcheck shell=bash
# shellcheck disable=SC2034 # read by who sources this
# crane (go-containerregistry): HEAD, then one PATCH with its length per blob.
PAYLOAD=small EXACT=exact OTHERS='skopeo regctl'

install() { go_tool crane github.com/google/go-containerregistry/cmd/crane v0.22.1; }
version() { "$TOOL" version; }
push() { "$TOOL" push --insecure "$FIXTURE/layout" "$1"; }
pull() { "$TOOL" pull --insecure --format oci "$1" "$2"; }
