# shellcheck shell=bash
# shellcheck disable=SC2034 # read by who sources this
# skopeo: copies by reference; told to keep digests, it stores no layer other than it came. One PATCH
# stream per blob.
PAYLOAD=small EXACT=exact OTHERS='podman crane regctl'

install() { need_cmd skopeo skopeo; }
version() { skopeo --version; }
push() { skopeo copy --preserve-digests --dest-tls-verify=false "oci:$FIXTURE/layout:v1" "docker://$1"; }
pull() { skopeo copy --preserve-digests --src-tls-verify=false "docker://$1" "oci:$2:v1"; }
