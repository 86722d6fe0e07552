# shellcheck shell=bash
# shellcheck disable=SC2034 # read by who sources this
# oras: files as an artifact. One PUT with its length per blob, the manifest by digest, then by tag.
PAYLOAD=small EXACT='' OTHERS='crane regctl'

install() { go_tool oras oras.land/oras/cmd/oras v1.3.0; }
version() { "$TOOL" version | head -n 1; }
push() {
  (cd "$FIXTURE" && "$TOOL" push --plain-http --artifact-type application/vnd.atoll.e2e "$1" \
    image.json:application/json layout.tar:application/x-tar)
}
pull() { "$TOOL" pull --plain-http -o "$2" "$1"; }

# check OUT: the files, or a layout whose blobs are the files.
check() {
  local file
  for file in image.json layout.tar; do
    if [ -e "$1/oci-layout" ]; then holds_file "$1" "$FIXTURE/$file"; else cmp "$1/$file" "$FIXTURE/$file"; fi
  done
}
