"""Disks that rot, fill up, and servers that die in the middle."""

import glob
import hashlib
import os
import time

from . import oracle, wire
from .probes import Context, NotPossible, probe
from .probes_load import open_upload
from .steps import Failed, path_of


def blob_file(ctx, hexadecimal):
    """The file that holds a blob."""
    pattern = os.path.join(ctx.server.data, "**", "sha256", "*", hexadecimal, "data")
    found = glob.glob(pattern, recursive=True)
    if not found:
        raise NotPossible("the blob's file is not where it is looked for")
    return found[0]


@probe()
def rot(ctx: Context, size, at, request_range=None):
    """A bit of the only copy flips: an error, or a stream that breaks off before the wrong byte."""
    content = hashlib.sha512(os.urandom(16)).digest() * (size // 64)
    ctx.steps.texts.set("rotten", content)
    repo = ctx.steps.texts.get("repo")
    ctx.steps.push("rotten", repo)
    offset = at % size
    with open(blob_file(ctx, hashlib.sha256(content).hexdigest()), "r+b") as file:
        file.seek(offset)
        byte = file.read(1)
        file.seek(offset)
        file.write(bytes([byte[0] ^ 1]))
    path = b"/v2/%s/blobs/sha256:%s" % (repo, hashlib.sha256(content).hexdigest().encode())
    headers = [b"Range: bytes=" + request_range.encode()] if request_range else []
    with wire.Link(ctx.address) as link:
        link.send(wire.request(b"GET", path, headers))
        try:
            answer = link.answer(timeout=5)
            complete, body = True, answer.body
        except wire.NoAnswer:
            complete, body, answer = False, link.buffer, None
    if answer is not None and answer.status >= 400:
        if answer.status < 500:
            raise Failed(f"a damaged blob got {answer.status}, which says it is not there")
        if complaint := oracle.error_complaint(answer, ctx.server.secrets()):
            raise Failed(complaint)
        return
    start = int(request_range.split("-")[0]) if request_range else 0
    if not content[start:].startswith(body):
        raise Failed(f"a wrong byte left the server ({len(body)} bytes, complete: {complete})")


@probe(restarts=True)
def kill_during_put(ctx: Context, size):
    """Killed while a blob is closed: it is whole or not there, and the same push works again."""
    content = os.urandom(64) * (size // 64)
    ctx.steps.texts.set("killed", content)
    digest = ctx.steps.texts.render("${digest:killed}")
    repo = ctx.steps.texts.get("repo")
    path = open_upload(ctx)
    mark = b"&" if b"?" in path else b"?"
    data = wire.request(b"PUT", path + mark + b"digest=" + digest, body=content)
    for share in (0.5, 1.0):
        link = wire.Link(ctx.address)
        link.send(data[: int(len(data) * share)])
        ctx.server.kill()
        try:
            acknowledged = link.answer(b"PUT", 1).status == 201
        except (wire.NoAnswer, OSError):
            acknowledged = False
        link.socket.close()
        ctx.server.start()
        get = wire.request(b"GET", b"/v2/%s/blobs/%s" % (repo, digest))
        found = wire.exchange(ctx.server.address, get)
        if found.status not in (200, 404) or (found.status == 200 and found.body != content):
            raise Failed(f"after the kill: {found.status}, {len(found.body)} bytes")
        if acknowledged and found.status != 200:
            raise Failed("an acknowledged blob is gone after the kill")
    ctx.steps.push("killed", repo)


@probe()
def fill_disk(ctx: Context):
    """No space: 507 or 503 with words, reads go on, and it recovers by itself."""
    ballast = os.path.join(ctx.server.data, "ballast.json")
    free = os.statvfs(ctx.server.data)
    keep = 24 << 20
    with open(ballast, "wb") as file:
        os.posix_fallocate(file.fileno(), 0, max(free.f_bavail * free.f_frsize - keep, 1))
    repo = ctx.steps.texts.get("repo")
    refused = None
    for number in range(40):
        content = os.urandom(4 << 20)
        digest = hashlib.sha256(content).hexdigest().encode()
        opened = wire.exchange(
            ctx.address, wire.request(b"POST", b"/v2/%s/blobs/uploads/" % repo), b"POST"
        )
        if opened.status != 202:
            refused = opened
            break
        path = path_of(opened.header("location"))
        mark = b"&" if b"?" in path else b"?"
        target = path + mark + b"digest=sha256:" + digest
        refused = wire.exchange(ctx.address, wire.request(b"PUT", target, body=content), b"PUT")
        if refused.status != 201:
            break
    try:
        if refused.status not in (503, 507):
            raise Failed(f"with a full disk push {number} got {refused.status}")
        if complaint := oracle.error_complaint(refused, ctx.server.secrets()):
            raise Failed(complaint)
        if not oracle.codes(refused):
            raise Failed(f"a full disk is refused without words: {refused.status}")
        ctx.site.pull_canary()
        tag_write(ctx, (201, 503, 507))
    finally:
        os.remove(ballast)
    deadline = time.monotonic() + 10
    while True:
        try:
            ctx.steps.push("layer", repo)
            tag_write(ctx, (201,))
            return
        except Failed:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.2)


def tag_write(ctx, allowed):
    """Puts the canary's manifest under a new tag."""
    manifest = ctx.site.canary_steps.texts.get("canary")
    kind = b"Content-Type: application/vnd.oci.image.manifest.v1+json"
    data = wire.request(b"PUT", b"/v2/canary/image/manifests/full", [kind], manifest)
    answer = wire.exchange(ctx.address, data, b"PUT")
    if answer.status not in allowed:
        raise Failed(f"a tag write got {answer.status}, not one of {allowed}")
