# shellcheck shell=bash
# shellcheck disable=SC2034 # read by who sources this
# helm: a chart as an artifact of its own media types; helm names repository and tag after the chart.
PAYLOAD=chart EXACT='' OTHERS='crane regctl'

install() { go_tool helm helm.sh/helm/v3/cmd/helm v3.22.0; }
version() { "$TOOL" version --short; }

# set_up: packs the chart; nothing of the user's helm is read or written.
set_up() {
  export HELM_CACHE_HOME="$HOMEDIR/cache" HELM_CONFIG_HOME="$HOMEDIR/config" HELM_DATA_HOME="$HOMEDIR/data"
  [ -e "$HOMEDIR/fixture-1.2.3.tgz" ] || "$TOOL" package "$FIXTURE/fixture" -d "$HOMEDIR"
}
push() { "$TOOL" push --plain-http "$HOMEDIR/fixture-1.2.3.tgz" "oci://${1%:*}"; }
pull() {
  mkdir -p "$2"
  "$TOOL" pull --plain-http "oci://${1%:*}/fixture" --version 1.2.3 -d "$2"
}
other_ref() { printf '%s\n' "${1%:*}/fixture:1.2.3"; }

# check OUT: the packed chart itself, or a layout that holds it.
check() {
  local packed="$HOMEDIR/fixture-1.2.3.tgz"
  if [ -e "$1/oci-layout" ]; then holds_file "$1" "$packed"; else cmp "$1/fixture-1.2.3.tgz" "$packed"; fi
}
