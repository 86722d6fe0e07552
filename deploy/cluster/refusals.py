#!/usr/bin/env python3
"""Who may not come in, what a full disk does, what a node alone tells: refused, said so, and all is well after.

    deploy/cluster/refusals.py [CASE...]

Joining with a wrong, a used, an expired token, at a cluster with another CA; a node of another cluster
at a member's address; plaintext at a port that speaks TLS: each is refused, both ends say why, and the
view stays as it was. Then disks that fill up under pushes: a clear 503, reads go on, and once there is
room pushes are taken again by themselves. The disks are small tmpfs mounts; without root that case is
named NOT RUN. Then a node whose peers die: it serves by digest, with a warning, and refuses the rest.
The binary is $ATOLLD, else target/release/atolld.
"""

import argparse
import os
import random
import socket
import subprocess
import sys
import time

sys.dont_write_bytecode = True  # a checkout stays as it is

# pylint: disable=wrong-import-position
import images
from cluster import Cluster, Member, Refused, ask, binary
from figures import Verdicts, Work
from shared import Gone, Unready, Wire

# How long a refused node may take to end or to say why, and a member to have logged it.
REFUSE_SECONDS = 15
# A member logs one address once in ten seconds; every node here has the same.
LOG_INTERVAL_SECONDS = 10.5
# A disk of the full-disk case before and after room is made.
SMALL_MIB, LARGE_MIB = 96, 384
RESERVE_PERCENT = 5
BLOB_BYTES = 2_000_000
# How long a node may take to see that there is room again.
RECOVER_SECONDS = 30
# How long a node whose peers died may take to know that it is alone, and that it is not any more.
ALONE_SECONDS = 30


class Scene:
    """A cluster under mTLS, and what is tried against it."""

    def __init__(self, work, verdicts, rng):
        self.work, self.verdicts, self.rng = work, verdicts, rng
        self.cluster = Cluster(os.path.join(work.path, "ours"), binary(), {"cluster.tls": "always"})
        self.cluster.found(2)

    def tells(self, name, since, newcomer, words):
        """Both ends must have said why: the newcomer and one of the members."""
        deadline = time.monotonic() + REFUSE_SECONDS
        while time.monotonic() < deadline:
            ours = "".join(member.log_text()[since[member] :] for member in self.cluster.members).lower()
            theirs = newcomer.log_text().lower() if newcomer else ours
            if all(any(word in text for word in words) for text in (ours, theirs)):
                break
            time.sleep(0.1)
        for who, text in (("a member", ours), *([("the newcomer", theirs)] if newcomer else [])):
            complains = (" warn ", " error ", "error:")
            line = next((line for line in text.splitlines() if any(word in line for word in words) and any(one in line for one in complains)), None)
            self.verdicts.hold(f"{name}: {who} says why", line is not None, line or f"nothing with {' or '.join(words)}", text.splitlines()[-5:])

    def refused(self, name, words, token, through=None, newcomer=None, wait=False):
        """A join that must fail."""
        if wait:
            time.sleep(LOG_INTERVAL_SECONDS)
        before = self.cluster.members[0].view()
        since = {member: len(member.log_text()) for member in self.cluster.members}
        newcomer = newcomer or Member(self.work.path, binary(), name.replace(" ", "-").lower(), {"cluster.tls": "always"})
        newcomer.start("--join", through or self.cluster.members[0].grpc, "--token", token)
        deadline, ended, ready = time.monotonic() + REFUSE_SECONDS, None, False
        while time.monotonic() < deadline and ended is None and not ready:
            ended, ready = newcomer.process.poll(), is_ready(newcomer)
            time.sleep(0.1)
        self.tells(name, since, newcomer, words)
        newcomer.kill()
        self.verdicts.hold(f"{name}: the newcomer does not become ready", not ready, f"exit code {ended}")
        after = self.cluster.members[0].view()
        self.verdicts.hold(f"{name}: the members are who they were", sorted(after.members) == sorted(before.members), str(after))


def is_ready(member):
    try:
        ask(member.address, "/v2/_atoll/view", seconds=1)
        return member.address in member.registries()
    except (OSError, Refused, ValueError):
        return False


def wrong_token(scene):
    token = scene.cluster.token()
    last = "0" if token[-1] != "0" else "1"
    scene.refused("wrong token", ["token"], token[:-1] + last)


def used_token(scene):
    token = scene.cluster.token()
    first = scene.cluster.add()
    first.start("--join", scene.cluster.members[0].grpc, "--token", token)
    first.wait_ready()
    scene.cluster.settle()
    scene.refused("used token", ["token"], token)


def expired_token(scene):
    token = scene.cluster.token(seconds=1)
    time.sleep(2)
    scene.refused("expired token", ["expired", "token"], token)


def foreign_ca(scene):
    """A token of another cluster: its fingerprint is not that of our CA, and the secret stays home."""
    with Cluster(os.path.join(scene.work.path, "theirs"), binary(), {"cluster.tls": "always"}) as theirs:
        theirs.found(1)
        scene.refused("foreign CA", ["fingerprint", "certificate"], theirs.token(), wait=True)


def wrong_cluster(scene):
    """A node of another cluster at the address of one of our members that is down."""
    lost = scene.cluster.members[-1]
    lost.stop()
    with Cluster(os.path.join(scene.work.path, "strangers"), binary(), {"cluster.tls": "always"}) as theirs:
        stranger = theirs.add()
        stranger.variables["ATOLL__CLUSTER__LISTEN"] = lost.grpc
        since = {member: len(member.log_text()) for member in scene.cluster.members}
        time.sleep(LOG_INTERVAL_SECONDS)
        stranger.start()
        stranger.wait_ready()
        scene.tells("a node of another cluster", since, None, ["belongs to cluster"])
        view = scene.cluster.members[0].view()
        up = lost.address in view.serving()
        scene.verdicts.hold("a node of another cluster: it does not pass for our member", not up, str(view))
    lost.start()
    lost.wait_ready()
    scene.cluster.settle()
    scene.verdicts.hold("a node of another cluster: our member comes back at that address", True, str(scene.cluster.members[0].view()))


def plaintext(scene):
    """gRPC without TLS at a port that speaks it."""
    time.sleep(LOG_INTERVAL_SECONDS)
    member = scene.cluster.members[0]
    since = {each: len(each.log_text()) for each in scene.cluster.members}
    host, port = member.grpc.rsplit(":", 1)
    with socket.create_connection((host, int(port)), timeout=REFUSE_SECONDS) as stream:
        stream.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes(9))
        said = b""
        try:
            while piece := stream.recv(4096):
                said += piece
        except ConnectionResetError:
            pass
    scene.verdicts.hold("plaintext: the connection is closed", True, f"after {said[-70:]!r}")
    scene.tells("plaintext", since, None, ["plaintext"])


class SmallDisks:
    """A tmpfs for each node's folder."""

    def __init__(self, work):
        self.folder, self.mounted = os.path.join(work.path, "small"), []

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for folder in self.mounted:
            subprocess.run(["umount", "-l", folder], check=False)

    def mount(self, name):
        folder = os.path.join(self.folder, name)
        os.makedirs(folder, exist_ok=True)
        subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={SMALL_MIB}m", "tmpfs", folder], check=True)
        self.mounted.append(folder)

    def enlarge(self):
        for folder in self.mounted:
            subprocess.run(["mount", "-o", f"remount,size={LARGE_MIB}m", folder], check=True)


def full_disk(scene):
    if os.geteuid() != 0:
        print("NOT RUN  full disk: mounting a small file system takes root")
        return
    verdicts = scene.verdicts
    with SmallDisks(scene.work) as disks:
        for number in range(1, 4):
            disks.mount(f"node-{number}")
        with Cluster(disks.folder, binary(), {"storage.reserve_percent": RESERVE_PERCENT}) as cluster:
            cluster.found(3)
            wires = [Wire(member.address) for member in cluster.members]
            pushed, refusals = [], []
            for count in range(2 * SMALL_MIB * 1_000_000 // BLOB_BYTES):
                parts = [scene.rng.randbytes(BLOB_BYTES)]
                try:
                    pushed.append(images.push(wires[count % 3], "full/disk", f"t{count}", parts, whole=count % 2 == 0))
                except images.Wrong as wrong:
                    refusals.append(str(wrong))
                except Gone as gone:
                    refusals.append(f"no answer: {gone}")
                if len(refusals) == 12:
                    break
            clear = [text for text in refusals if ": 503 " in text]
            verdicts.hold("full disk: pushes end in 503", refusals and len(clear) == len(refusals), f"after {len(pushed)} images: {refusals[0] if refusals else 'never'}", refusals)
            wrong = [line for wire in wires for image in pushed for line in images.read_back(wire, image)]
            verdicts.hold("full disk: what was acknowledged reads back through every node", not wrong and pushed, f"{len(pushed)} images", wrong)
            verdicts.hold("full disk: every node lives", len(cluster.up()) == 3, f"{len(cluster.up())} nodes")
            disks.enlarge()
            began = time.monotonic()
            taken = None
            while taken is None and time.monotonic() - began < RECOVER_SECONDS:
                try:
                    images.push(wires[0], "full/disk", "after", [scene.rng.randbytes(BLOB_BYTES)])
                    taken = time.monotonic() - began
                except (images.Wrong, Gone) as error:
                    refusals.append(str(error))
                    time.sleep(0.25)
            verdicts.hold("full disk: with room again a push is taken", taken is not None, f"after {taken:.1f} s" if taken is not None else refusals[-1])


def warned(wire, target, seconds, want):
    """Asks until the answer has a warning, or none; answers the last one."""
    deadline = time.monotonic() + seconds
    while True:
        answer = wire.ask("GET", target)
        if (answer.headers.get("Warning") is not None) == want or time.monotonic() > deadline:
            return answer
        time.sleep(0.1)


def alone(scene):
    """A node that has lost touch with its cluster: what it serves may have been deleted, and it says so."""
    with Cluster(os.path.join(scene.work.path, "alone"), binary(), {}) as cluster:
        cluster.found(3)
        last, others = cluster.members[0], cluster.members[1:]
        wire = Wire(last.address)
        image = images.push(wire, "alone/app", "v1", [scene.rng.randbytes(BLOB_BYTES)])
        cluster.settle()
        for other in others:
            other.kill()
        blob = image.blobs[0]
        held = f"/v2/{image.repository}/blobs/{blob.digest}"
        answer = warned(wire, held, ALONE_SECONDS, True)
        warning = answer.headers.get("Warning")
        right = answer.status == 200 and images.digest_of(answer.body) == blob.digest
        scene.verdicts.hold("alone: a pull by digest is served, with a warning", right and warning, f"{answer.status}, {warning}")
        for what, method, target in (
            ("a tag", "GET", f"/v2/{image.repository}/manifests/v1"),
            ("content that nobody has", "GET", f"/v2/{image.repository}/blobs/sha256:{'0' * 64}"),
            ("a delete", "DELETE", held),
        ):
            answer = wire.ask(method, target)
            scene.verdicts.hold(f"alone: {what} is put off", answer.status == 503, f"{answer.status} {answer.body[:120]!r}")
        for other in others:
            other.start()
        for other in others:
            other.wait_ready()
        cluster.settle()
        answer = warned(wire, held, ALONE_SECONDS, False)
        scene.verdicts.hold("alone: no warning once it is in touch", answer.status == 200 and answer.headers.get("Warning") is None, f"{answer.status}, {answer.headers.get('Warning')}")


CASES = {
    "wrong-token": wrong_token, "used-token": used_token, "expired-token": expired_token, "foreign-ca": foreign_ca,
    "wrong-cluster": wrong_cluster, "plaintext": plaintext, "full-disk": full_disk, "alone": alone,
}


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("cases", nargs="*", metavar="CASE", help=" ".join(CASES))
    parser.add_argument("--keep", action="store_true", help="keep the work folder, and say where it is")
    options = parser.parse_args()
    if unknown := set(options.cases) - set(CASES):
        parser.error(f"no such case: {', '.join(sorted(unknown))} (there are {', '.join(CASES)})")
    verdicts = Verdicts()
    with Work("refusals", options.keep) as work:
        scene = Scene(work, verdicts, random.Random())
        with scene.cluster:
            for name in options.cases or CASES:
                try:
                    CASES[name](scene)
                except (Unready, Refused, Gone, images.Wrong, OSError) as error:
                    verdicts.hold(f"{name}: the case could be played", False, str(error))
        verdicts.leave()


if __name__ == "__main__":
    main()
