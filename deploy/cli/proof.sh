#!/usr/bin/env bash
# One proof of deploy/cli/run.sh, as a process of its own: `set -e` holds in it, and a daemon that it
# started ends with it.
#
#   proof.sh PROOF TOOL
#
# From the environment: ATOLL, ATOLL_REGISTRY (all nodes), REGISTRY (one of them), NODE_PIDS, WORK,
# HOMEDIR (the proof's own folder), FIXTURES.
set -euo pipefail
HERE=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
E2E=$HERE/../e2e
# shellcheck source-path=SCRIPTDIR source=../e2e/lib/tools.sh
source "$E2E/lib/tools.sh"
PROOF=$1 TOOL=$2
# shellcheck disable=SC2153 # from the environment
FIXTURE="$FIXTURES/small"
LARGE="$FIXTURES/large"
OUT="$HOMEDIR/out"
REPO="cli/$PROOF"
DAEMON=''
mkdir -p "$OUT"

# is_image FIXTURE OUT [exact]: the pulled image is the pushed one.
is_image() { "$E2E/lib/verify.py" "$@"; }
fail() { echo "$*"; exit 1; }
# ends_with CODE COMMAND...: the command ends with that exit code.
ends_with() {
  local expected=$1 code=0
  shift
  "$@" || code=$?
  [ "$code" = "$expected" ] || fail "exit code $code, not $expected: $*"
}
stop_process() {
  [ -n "$1" ] || return 0
  kill -TERM "$1" 2>/dev/null || return 0
  local turns=200
  while kill -0 "$1" 2>/dev/null && [ $((turns -= 1)) -gt 0 ]; do sleep 0.1; done
  kill -KILL "$1" 2>/dev/null || true
  wait "$1" 2>/dev/null || true
}
# shellcheck disable=SC2317 # called by the trap
ended() { stop_process "$DAEMON"; }
trap ended EXIT
# field FILE NAME: a field of a JSON document.
field() { python3 -c 'import json, sys; print(json.load(open(sys.argv[1]))[sys.argv[2]])' "$1" "$2"; }
# daemon NAME: the daemon of that client of deploy/e2e; its functions are there afterwards.
daemon() {
  # shellcheck source=/dev/null
  source "$E2E/clients/$1.sh"
  mkdir -p "$HOMEDIR"
  FIXTURE="$FIXTURES/small"
  set_up
}
set_up() { :; }

# A layout goes in and comes out, through any node; blobs that are there are not fetched again.
proof_layout() {
  "$ATOLL" push "oci:$FIXTURE/layout:v1" "$REPO:v1"
  "$ATOLL" pull "$REPO:v1" --to "oci:$OUT/layout" -o json >"$OUT/first.json"
  is_image "$FIXTURE" "$OUT/layout" exact
  "$ATOLL" pull "$REPO:v1" --to "oci:$OUT/layout:again" -o json >"$OUT/second.json"
  [ "$(field "$OUT/second.json" bytes_fetched)" = 0 ] || fail 'what is there was fetched again'
  "$ATOLL" push "oci:$OUT/layout:again" "$REPO:v2" -o json >"$OUT/third.json"
  [ "$(field "$OUT/third.json" bytes_sent)" = 0 ] || fail 'what is there was sent again'
  [ "$(field "$OUT/third.json" digest)" = "$(field "$OUT/first.json" digest)" ] || fail 'another digest'
  "$ATOLL" push "oci:$LARGE/layout:v1" "$REPO-large:v1"
  "$ATOLL" pull "$REPO-large:v1" --to "oci:$OUT/large"
  is_image "$LARGE" "$OUT/large" exact
}

# Both archives, in and out.
proof_archive() {
  "$ATOLL" push "oci-archive:$FIXTURE/layout.tar" "$REPO:oci"
  mkdir -p "$OUT/oci" "$OUT/docker" "$OUT/back"
  "$ATOLL" pull "$REPO:oci" --to "oci-archive:$OUT/oci/image.tar"
  is_image "$FIXTURE" "$OUT/oci" exact
  "$ATOLL" pull "$REPO:oci" --to "docker-archive:$OUT/docker/image.tar"
  is_image "$FIXTURE" "$OUT/docker"
  "$ATOLL" push "docker-archive:$OUT/docker/image.tar" "$REPO:docker"
  "$ATOLL" push "docker-archive:$FIXTURE/docker.tar" "$REPO:saved"
  "$ATOLL" pull "$REPO:saved" --to "oci-archive:$OUT/back/image.tar"
  is_image "$FIXTURE" "$OUT/back"
  "$ATOLL" pull "$REPO:oci" --to "docker-archive:$OUT/again.tar"
  cmp "$OUT/again.tar" "$OUT/docker/image.tar" || fail 'one image gave two archives'
}

# two_platforms LAYOUT: a layout with an index of two images called `both`.
two_platforms() {
  python3 - "$FIXTURE/layout" "$1" <<'PY'
import hashlib, json, os, shutil, sys
source, target = sys.argv[1:]
shutil.copytree(source, target)
def put(data):
    name = hashlib.sha256(data).hexdigest()
    open(os.path.join(target, "blobs/sha256", name), "wb").write(data)
    return {"digest": "sha256:" + name, "size": len(data)}
def get(descriptor):
    return json.load(open(os.path.join(target, "blobs/sha256", descriptor["digest"][7:])))
index = json.load(open(os.path.join(target, "index.json")))
first = index["manifests"][0]
manifest = get(first)
config = get(manifest["config"])
entries = []
for architecture in ("amd64", "s390x"):
    config["architecture"] = architecture
    made = dict(manifest, config=dict(manifest["config"], **put(json.dumps(config).encode())))
    entries.append(dict(mediaType=first["mediaType"], platform={"os": "linux", "architecture": architecture}, **put(json.dumps(made).encode())))
both = {"schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json", "manifests": entries}
index["manifests"] = [dict(mediaType=both["mediaType"], annotations={"org.opencontainers.image.ref.name": "both"}, **put(json.dumps(both).encode()))]
json.dump(index, open(os.path.join(target, "index.json"), "w"))
PY
}

# An index keeps its digest, with all that it leads to.
proof_index() {
  two_platforms "$OUT/made"
  "$ATOLL" push "oci:$OUT/made:both" "$REPO:both" --quiet >"$OUT/pushed"
  "$ATOLL" pull "$REPO:both" --to "oci:$OUT/pulled" --quiet >"$OUT/digest"
  cmp "$OUT/pushed" "$OUT/digest"
  diff -r "$OUT/made/blobs/sha256" "$OUT/pulled/blobs/sha256" | grep -v "^Only in $OUT/made" && fail 'other blobs'
  "$ATOLL" inspect "$REPO:both" | grep -q linux/s390x
}

# One platform of several.
proof_platform() {
  two_platforms "$OUT/made"
  "$ATOLL" push "oci:$OUT/made:both" "$REPO:both"
  "$ATOLL" pull "$REPO:both" --to "oci:$OUT/one" --platform linux/s390x
  "$ATOLL" inspect "$REPO:both" --platform linux/s390x -o json >"$OUT/inspected.json"
  python3 -c 'import json, sys; found = json.load(open(sys.argv[1])); assert found["kind"] == "image" and found["config"]["architecture"] == "s390x", found' "$OUT/inspected.json"
  ends_with 3 "$ATOLL" pull "$REPO:both" --to "oci:$OUT/none" --platform linux/riscv64
  "$ATOLL" copy "$REPO:both" "$REPO:one" --platform linux/s390x
  "$ATOLL" pull "$REPO:one" --to "docker-archive:$OUT/one.tar"
}

# A pull that was killed goes on with the blobs that it had; half a blob is never there.
proof_resume() {
  "$ATOLL" push "oci:$LARGE/layout:v1" "$REPO:v1"
  "$ATOLL" pull "$REPO:v1" --to "oci:$OUT/layout" & local pid=$!
  sleep 0.15
  kill -KILL "$pid" 2>/dev/null || true
  wait "$pid" || true
  "$ATOLL" pull "$REPO:v1" --to "oci:$OUT/layout" -o json
  is_image "$LARGE" "$OUT/layout" exact
}

# From one name to another: nothing is sent twice within a registry.
proof_copy() {
  "$ATOLL" push "oci:$FIXTURE/layout:v1" "$REPO:v1"
  "$ATOLL" copy "$REPO:v1" "$REPO-other:v2" -o json >"$OUT/copied.json"
  [ "$(field "$OUT/copied.json" bytes_sent)" = 0 ] || fail 'blobs of the same registry were sent'
  "$ATOLL" pull "$REPO-other:v2" --to "oci:$OUT/layout"
  is_image "$FIXTURE" "$OUT/layout" exact
}

proof_list() {
  "$ATOLL" push "oci:$FIXTURE/layout:v1" "$REPO:v1"
  "$ATOLL" push "oci:$FIXTURE/layout:v1" "$REPO:v2"
  "$ATOLL" ls "$REGISTRY" | grep -qx "$REPO"
  [ "$("$ATOLL" tags "$REPO" | paste -sd' ' -)" = 'v1 v2' ]
  "$ATOLL" where "$REPO:v1" -o json >"$OUT/where.json"
  python3 -c 'import json, sys; found = json.load(open(sys.argv[1])); assert len(found["blobs"]) > 2 and all(len(blob["owners"]) == 3 and blob["preferred"] for blob in found["blobs"]), found' "$OUT/where.json"
  "$ATOLL" status | grep -c ' up ' | grep -qx "$(wc -w <<<"$NODE_PIDS")"
  "$ATOLL" inspect "$REPO:v1" --raw | sha256sum | cut -c1-64 >"$OUT/raw"
  [ "sha256:$(cat "$OUT/raw")" = "$("$ATOLL" inspect "$REPO:v1" -o json | python3 -c 'import json, sys; print(json.load(sys.stdin)["digest"])')" ]
}

proof_remove() {
  "$ATOLL" push "oci:$FIXTURE/layout:v1" "$REPO:v1"
  "$ATOLL" push "oci:$FIXTURE/layout:v1" "$REPO:v2"
  ends_with 2 "$ATOLL" rm "$REPO:v1" </dev/null
  "$ATOLL" rm "$REPO:v1" --yes
  ends_with 3 "$ATOLL" pull "$REPO:v1" --to "oci:$OUT/gone"
  local digest
  digest=$("$ATOLL" pull "$REPO:v2" --to "oci:$OUT/there" --quiet)
  "$ATOLL" rm "$REPO@$digest" --yes
  ends_with 3 "$ATOLL" inspect "$REPO:v2"
}

proof_codes() {
  ends_with 2 "$ATOLL" pull 'UPPER:x' --to "oci:$OUT/x"
  ends_with 2 "$ATOLL" pull "$REPO:x" --to "zip:$OUT/x"
  ends_with 3 "$ATOLL" tags "$REPO"
  ends_with 3 "$ATOLL" push "oci:$OUT/nowhere" "$REPO:x"
  ends_with 5 "$ATOLL" inspect --timeout 2s 127.0.0.1:9/app:1
  cp -r "$FIXTURE/layout" "$OUT/damaged"
  # The largest blob: a layer.
  find "$OUT/damaged/blobs" -type f -printf '%s %p\n' | sort -n | tail -n 1 | cut -d' ' -f2- >"$OUT/victim"
  printf x | dd of="$(cat "$OUT/victim")" bs=1 seek=100 conv=notrunc status=none
  ends_with 6 "$ATOLL" push "oci:$OUT/damaged:v1" "$REPO:x"
}

# A registry without access control takes any login; what is kept is what docker reads.
proof_login() {
  printf secret | "$ATOLL" login "$REGISTRY" --username ann --password-stdin
  python3 -c 'import base64, json, os, sys; entry = json.load(open(os.environ["DOCKER_CONFIG"] + "/config.json"))["auths"][sys.argv[1]]; assert base64.b64decode(entry["auth"]) == b"ann:secret"' "$REGISTRY"
  "$ATOLL" logout "$REGISTRY"
  grep -q secret "$DOCKER_CONFIG/config.json" && fail 'the secret is still there'
  return 0
}

proof_skopeo() {
  "$ATOLL" push "oci:$FIXTURE/layout:v1" "$REPO:v1"
  "$ATOLL" pull "$REPO:v1" --to "oci:$OUT/layout"
  "$ATOLL" pull "$REPO:v1" --to "oci-archive:$OUT/oci.tar"
  "$ATOLL" pull "$REPO:v1" --to "docker-archive:$OUT/docker.tar"
  local place
  for place in "oci:$OUT/layout:v1" "oci-archive:$OUT/oci.tar:v1" "docker-archive:$OUT/docker.tar"; do
    skopeo inspect --raw "$place" | wc -c
    skopeo copy -q --insecure-policy "$place" "dir:$OUT/dir"
    rm -rf "$OUT/dir"
  done
  skopeo copy -q --insecure-policy "oci:$FIXTURE/layout:v1" "docker-archive:$OUT/theirs.tar:a.b/c:v1"
  "$ATOLL" push "docker-archive:$OUT/theirs.tar:a.b/c:v1" "$REPO:theirs"
  "$ATOLL" pull "$REPO:theirs" --to "oci:$OUT/theirs"
  is_image "$FIXTURE" "$OUT/theirs"
}

proof_crane() {
  # shellcheck source=/dev/null
  source "$E2E/clients/crane.sh"
  WORK=$WORK install
  "$ATOLL" push "oci:$FIXTURE/layout:v1" "$REPO:v1"
  "$ATOLL" pull "$REPO:v1" --to "oci:$OUT/layout"
  "$TOOL" push "$OUT/layout" "$REGISTRY/$REPO:theirs" --insecure
  [ "$("$TOOL" digest "$REGISTRY/$REPO:v1" --insecure)" = "$("$TOOL" digest "$REGISTRY/$REPO:theirs" --insecure)" ]
  "$TOOL" pull --insecure --format oci "$REGISTRY/$REPO:v1" "$OUT/theirs"
  diff -r "$OUT/theirs/blobs" "$OUT/layout/blobs"
}

proof_podman() {
  # shellcheck source=/dev/null
  source "$E2E/clients/podman.sh"
  "$ATOLL" push "oci:$FIXTURES/small/layout:v1" "$REPO:v1"
  local kind
  for kind in docker-archive oci-archive; do
    "$ATOLL" pull "$REPO:v1" --to "$kind:$OUT/$kind.tar"
    pod load -q -i "$OUT/$kind.tar"
  done
  mkdir -p "$OUT/saved" "$OUT/back"
  pod save -q --format docker-archive -o "$OUT/saved/image.tar" "$REGISTRY/$REPO:v1"
  is_image "$FIXTURES/small" "$OUT/saved"
  "$ATOLL" push "docker-archive:$OUT/saved/image.tar" "$REPO:back"
  "$ATOLL" pull "$REPO:back" --to "oci:$OUT/back"
  is_image "$FIXTURES/small" "$OUT/back"
  tear_down
}

proof_docker() {
  daemon docker
  export DOCKER_HOST="unix://$HOMEDIR/docker.sock"
  "$ATOLL" push "oci:$FIXTURES/large/layout:v1" "$REPO:v1"
  "$ATOLL" pull "$REPO:v1"
  mkdir -p "$OUT/saved"
  dk save -o "$OUT/saved/image.tar" "${ATOLL_REGISTRY%%,*}/$REPO:v1"
  is_image "$FIXTURES/large" "$OUT/saved"
  # The id of an image is the digest of its config: it must be the one that was pushed.
  [ "$(dk image inspect -f '{{.Id}}' "${ATOLL_REGISTRY%%,*}/$REPO:v1")" \
    = "$("$ATOLL" inspect "$REPO:v1" -o json | python3 -c 'import json, sys; print(json.load(sys.stdin)["manifest"]["config"]["digest"])')" ]
  "$ATOLL" push "docker:${ATOLL_REGISTRY%%,*}/$REPO:v1" "$REPO:back"
  "$ATOLL" pull "$REPO:back" --to "oci:$OUT/back"
  is_image "$FIXTURES/large" "$OUT/back"
  ends_with 3 "$ATOLL" push docker:nobody/has:this "$REPO:x"
}

proof_containerd() {
  daemon ctr
  export CONTAINERD_ADDRESS="$HOMEDIR/containerd.sock" CONTAINERD_SNAPSHOTTER=native
  "$ATOLL" push "oci:$FIXTURES/large/layout:v1" "$REPO:v1"
  "$ATOLL" pull "$REPO:v1" --to containerd:e2e
  mkdir -p "$OUT/saved"
  cc images export "$OUT/saved/image.tar" "${ATOLL_REGISTRY%%,*}/$REPO:v1"
  is_image "$FIXTURES/large" "$OUT/saved" exact
  "$ATOLL" push "containerd:e2e/${ATOLL_REGISTRY%%,*}/$REPO:v1" "$REPO:back"
  "$ATOLL" pull "$REPO:back" --to "oci:$OUT/back"
  is_image "$FIXTURES/large" "$OUT/back" exact
  ends_with 3 "$ATOLL" push containerd:e2e/a.b/nobody:this "$REPO:x"
}

# One of three nodes hangs while images are pulled. It takes connections and never
# answers, which is worse than being gone.
proof_node_hangs() {
  "$ATOLL" push "oci:$LARGE/layout:v1" "$REPO:v1"
  local pids=() at pid victim=${NODE_PIDS##* } failed=''
  for at in 1 2 3 4 5 6; do
    "$ATOLL" pull "$REPO:v1" --to "oci:$OUT/$at" & pids+=($!)
  done
  sleep 0.2
  kill -STOP "$victim"
  for pid in "${pids[@]}"; do wait "$pid" || failed=pull; done
  "$ATOLL" push "oci:$FIXTURE/layout:v1" "$REPO:small" || failed=push
  "$ATOLL" pull "$REPO:small" --to "oci:$OUT/after" || failed='pull of a new client'
  kill -CONT "$victim"
  [ -z "$failed" ] || fail "a $failed failed"
  for at in 1 2 3 4 5 6; do is_image "$LARGE" "$OUT/$at" exact; done
  is_image "$FIXTURE" "$OUT/after" exact
}

# The last one: one of three nodes is killed while images are pulled, and stays away.
proof_node_dies() {
  "$ATOLL" push "oci:$LARGE/layout:v1" "$REPO:v1"
  local pids=() at pid
  for at in 1 2 3 4 5 6; do
    "$ATOLL" pull "$REPO:v1" --to "oci:$OUT/$at" & pids+=($!)
  done
  sleep 0.2
  kill -KILL "${NODE_PIDS##* }"
  for pid in "${pids[@]}"; do wait "$pid" || fail 'a pull failed'; done
  "$ATOLL" push "oci:$FIXTURE/layout:v1" "$REPO:small"
  "$ATOLL" pull "$REPO:small" --to "oci:$OUT/after"
  for at in 1 2 3 4 5 6; do is_image "$LARGE" "$OUT/$at" exact; done
  is_image "$FIXTURE" "$OUT/after" exact
}

"proof_$PROOF"
