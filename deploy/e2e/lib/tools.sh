# shellcheck shell=bash
# shellcheck disable=SC2034 # WHY and TOOL are for who sources this
# Getting the programs a script needs, on a machine that may have none of them.
#
# A tool comes from Debian (need_apt) or is built from its pinned module version (go_tool) into a
# cache that survives the run. A tool that cannot be had is a reason in $WHY and a non-zero return:
# what is missing is for the caller to report, never to pass over.

# Where built tools are kept between runs.
TOOLS=${ATOLL_TOOLS:-${HOME:-/root}/.cache/atoll-tools}
# Why the last need_apt, need_cmd or go_tool failed, in words for a table.
WHY=''
# The program the last go_tool made ready.
TOOL=''

# say WORDS...: one line of progress, on stderr.
say() { printf '%s\n' "$*" >&2; }

# apt_refresh: `apt-get update`, once in a run, and only when something has to be installed.
apt_refresh() {
  [ -z "${APT_REFRESHED:-}" ] || return 0
  apt-get -o DPkg::Lock::Timeout=300 update -qq >>"$WORK/apt.log" 2>&1 || true
  APT_REFRESHED=1
}

# need_apt PACKAGE...: installs what is not installed yet. Waits for another apt to finish.
need_apt() {
  local package missing=()
  for package in "$@"; do
    dpkg-query -W -f='${Status}' "$package" 2>/dev/null | grep -q 'ok installed' || missing+=("$package")
  done
  [ ${#missing[@]} -gt 0 ] || return 0
  if [ "$(id -u)" -ne 0 ]; then
    WHY="needs root to install ${missing[*]}"
    return 1
  fi
  say "installing ${missing[*]}"
  apt_refresh
  # Nothing that a package starts on its own may take a port or a socket: the scripts start their own.
  if ! DEBIAN_FRONTEND=noninteractive RUNLEVEL=1 apt-get -o DPkg::Lock::Timeout=600 \
      install -y -qq --no-install-recommends "${missing[@]}" >>"$WORK/apt.log" 2>&1; then
    WHY="apt could not install ${missing[*]}"
    return 1
  fi
}

# need_cmd COMMAND PACKAGE: makes sure COMMAND is on the path, from PACKAGE if it is not.
need_cmd() { command -v "$1" >/dev/null || need_apt "$2"; }

# need_go: a Go that can build today's tools. Debian 12's own (1.19) cannot; backports' can.
need_go() {
  command -v go >/dev/null || need_apt golang-go || return 1
  local version
  version=$(go env GOVERSION 2>/dev/null | sed 's/^go1\.\([0-9]*\).*/\1/')
  if [ "${version:-0}" -lt 24 ]; then
    WHY="needs Go 1.24 or later, found $(go env GOVERSION 2>/dev/null)"
    return 1
  fi
}

# go_tool NAME PACKAGE VERSION: sets TOOL to NAME built from PACKAGE@VERSION through the Go module
# proxy, building it unless it is cached. One build at a time: linkers are hungry.
go_tool() {
  local name=$1 package=$2 version=$3
  local home="$TOOLS/$name-$version"
  TOOL="$home/$name"
  [ ! -x "$TOOL" ] || return 0
  need_go || return 1
  mkdir -p "$TOOLS"
  local log="$WORK/build-$name.log" stage
  (
    flock 9
    [ ! -x "$home/$name" ] || exit 0
    say "building $name $version (once; kept in $home)"
    stage=$(mktemp -d "$TOOLS/.building.XXXXXX")
    if GOBIN=$stage CGO_ENABLED=0 GOFLAGS='-p=2 -buildvcs=false' nice go install -trimpath -ldflags '-s -w' "$package@$version" >"$log" 2>&1 \
        && chmod 755 "$stage" && mkdir -p "$home" && mv "$stage"/* "$home/"; then
      rm -rf "$stage"
    else
      rm -rf "$stage"
      exit 1
    fi
  ) 9>"$TOOLS/.lock" || {
    WHY="go install $name@$version: $(grep -v '^go: downloading' "$log" 2>/dev/null | tail -n 1 | tr -s '[:space:]' ' ' | sed 's/^.*: reading /reading /' | cut -c1-200)"
    return 1
  }
}
