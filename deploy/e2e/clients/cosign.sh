# shellcheck shell=bash
# shellcheck disable=SC2034 # read by who sources this
# cosign: pushes the image, signs it with a key of its own (a manifest under the tag sha256-<hex>.sig)
# and attests it in the newer form (a bundle among the image's referrers). Nothing leaves the machine:
# no transparency log, no certificate, an empty trusted root.
PAYLOAD=small EXACT=exact OTHERS='crane regctl skopeo'

install() { go_tool cosign github.com/sigstore/cosign/v2/cmd/cosign v2.6.5; }
version() { "$TOOL" version 2>&1 | sed -n 's/^GitVersion: *//p'; }

# set_up: keys, a predicate, and the fixture as the layout that `cosign load` reads.
set_up() {
  export COSIGN_PASSWORD=e2e HOME="$HOMEDIR"
  cd "$HOMEDIR" || return
  [ ! -e cosign.key ] || return 0
  "$TOOL" generate-key-pair
  printf '{"made":"on the spot"}' >predicate.json
  printf '{"mediaType":"application/vnd.dev.sigstore.trustedroot+json;version=0.1"}' >root.json
  cp -r "$FIXTURE/layout" load
  sed -i 's#"io.containerd.image.name"#"kind": "dev.cosignproject.cosign/image", &#' load/index.json
}

# manifest: the digest of the fixture.
manifest() { sed -n 's/.*"manifest": "\(.*\)".*/\1/p' "$FIXTURE/image.json"; }

push() {
  local image
  image="${1%:*}@$(manifest)"
  "$TOOL" load --allow-http-registry --dir load "$1"
  "$TOOL" sign -y --allow-http-registry --key cosign.key --tlog-upload=false "$image"
  # Here, because once there is a bundle `cosign verify` looks no further than the bundles.
  "$TOOL" verify --allow-http-registry --key cosign.pub --insecure-ignore-tlog=true "$1"
  "$TOOL" attest -y --allow-http-registry --key cosign.key --tlog-upload=false --new-bundle-format \
    --type custom --predicate predicate.json "$image"
}

# pull REF OUT: verifies the attestation, by tag, then saves the image with its signature.
pull() {
  "$TOOL" verify-attestation --allow-http-registry --key cosign.pub --insecure-ignore-tlog=true --new-bundle-format \
    --trusted-root root.json --type custom "$1"
  "$TOOL" save --allow-http-registry --dir "$2" "$1"
}

# check OUT EXACT: of a saved layout, which lists image and signature, the image; else as for all.
check() {
  if grep -q 'dev.cosignproject.cosign/sigs' "$1/index.json"; then
    cp -r "$1" "$1.image"
    cp "$HOMEDIR/load/index.json" "$1.image/index.json"
    "$VERIFY" "$FIXTURE" "$1.image" "$2"
  else
    "$VERIFY" "$FIXTURE" "$1" "$2"
  fi
}
