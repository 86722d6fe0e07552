"""Many honest requests at once, and uploads that are raced or dribbled."""

import concurrent.futures
import hashlib
import threading
import time

from . import wire
from .probes import Context, probe
from .steps import Failed, path_of


def open_upload(ctx):
    """Path of a new upload session in the case's repository."""
    repo = ctx.steps.texts.get("repo")
    opened = ctx.steps.good(wire.request(b"POST", b"/v2/%s/blobs/uploads/" % repo), 202)
    return path_of(opened.header("location"))


@probe()
def pull_storm(ctx: Context, clients, full, size):
    """Everybody pulls one cold layer at once: all get the right bytes, memory stays bounded."""
    count = full if ctx.full else clients
    ctx.steps.texts.set("storm", hashlib.sha256(str(time.time()).encode()).digest() * (size // 32))
    repo = ctx.steps.texts.get("repo")
    ctx.steps.push("storm", repo)
    path = b"/v2/%s/blobs/" % repo + ctx.steps.texts.render("${digest:storm}")
    wanted = hashlib.sha256(ctx.steps.texts.get("storm")).digest()

    def pull(_):
        answer = wire.exchange(ctx.address, wire.request(b"GET", path), timeout=60)
        return answer.status == 200 and hashlib.sha256(answer.body).digest() == wanted

    with concurrent.futures.ThreadPoolExecutor(min(count, 500)) as pool:
        wrong = sum(not good for good in pool.map(pull, range(count)))
    if wrong:
        raise Failed(f"{wrong} of {count} pulls failed or got wrong bytes")


@probe()
def byte_chunks(ctx: Context, count, full):
    """A body in chunks of one byte: taken or refused, in bounded memory."""
    total = full if ctx.full else count
    path = open_upload(ctx)
    before = ctx.server.resident_bytes()
    with wire.Link(ctx.address) as link:
        head = b"PATCH %s HTTP/1.1\r\nHost: chunks\r\nTransfer-Encoding: chunked\r\n\r\n"
        link.send(head % path)
        for _ in range(0, total, 10_000):
            link.send(b"1\r\nx\r\n" * 10_000)
            if (growth := ctx.server.resident_bytes() - before) > 32 << 20:
                raise Failed(f"memory grew by {growth >> 20} MiB")
        link.send(b"0\r\n\r\n")
        answer = link.answer(b"PATCH", 30)
    if answer.status not in (202, 400, 413):
        raise Failed(f"PATCH of {total} one-byte chunks got {answer.status}")
    if answer.status == 202 and answer.header("range") != f"0-{total - 1}":
        raise Failed(f"Range is {answer.header('range')}, not 0-{total - 1}")


@probe()
def cut_body(ctx: Context, method="PATCH"):
    """A body that stops short: what came is kept or dropped, and the session says which."""
    path = open_upload(ctx)
    with wire.Link(ctx.address) as link:
        head = b"%s %s HTTP/1.1\r\nHost: cut\r\nContent-Length: 1000\r\n\r\n"
        link.send(head % (method.encode(), path) + b"x" * 400)
        time.sleep(0.1)
    deadline = time.monotonic() + 2
    while True:
        status = wire.exchange(ctx.address, wire.request(b"GET", path))
        if status.status != 204 or status.header("range") in ("0-399", "0-0"):
            break
        if time.monotonic() > deadline:
            break
        time.sleep(0.05)
    if status.status == 404:
        return
    if status.status != 204 or status.header("range") not in ("0-399", "0-0"):
        raise Failed(f"after 400 of 1000 bytes: {status.status} Range {status.header('range')}")


@probe()
def delete_during_patch(ctx: Context):
    """A session deleted while its body arrives: gone for good, the writer is told."""
    path = open_upload(ctx)
    with wire.Link(ctx.address) as link:
        link.send(b"PATCH %s HTTP/1.1\r\nHost: d\r\nContent-Length: 2000000\r\n\r\n" % path)
        link.send(b"x" * 1_000_000)
        deleted = wire.exchange(ctx.address, wire.request(b"DELETE", path), b"DELETE")
        if deleted.status != 204:
            raise Failed(f"DELETE during PATCH got {deleted.status}")
        link.send(b"x" * 1_000_000)
        try:
            written = link.answer(b"PATCH", 5).status
        except wire.NoAnswer:
            written = 0
    if written == 202:
        raise Failed("the PATCH was accepted although its session was deleted")
    after = wire.exchange(ctx.address, wire.request(b"GET", path))
    if after.status != 404:
        raise Failed(f"GET of the deleted session got {after.status}")


@probe()
def tag_race(ctx: Context, writers):
    """Many manifests to one tag at once: one wins, all stay there by digest, reads agree."""
    repo = ctx.steps.texts.get("repo")
    for name in ("config", "layer"):
        ctx.steps.push(name, repo)
    template = ctx.steps.texts.get("image")
    kind = b"Content-Type: application/vnd.oci.image.manifest.v1+json"
    bodies = [template[:-1] + b',"annotations":{"n":"%d"}}' % n for n in range(writers)]
    barrier, results = threading.Barrier(writers), []

    def put(body):
        barrier.wait()
        data = wire.request(b"PUT", b"/v2/%s/manifests/raced" % repo, [kind], body)
        results.append(wire.exchange(ctx.address, data, b"PUT").status)

    threads = [threading.Thread(target=put, args=(body,)) for body in bodies]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if sorted(results) != [201] * writers:
        raise Failed(f"{writers} PUTs of one tag got {sorted(results)}")
    request = wire.request(b"GET", b"/v2/%s/manifests/raced" % repo)
    seen = {wire.exchange(ctx.address, request).body for _ in range(20)}
    if len(seen) != 1 or seen.pop() not in bodies:
        raise Failed("the tag shows more than one manifest, or none of those pushed")
    for body in bodies:
        digest = hashlib.sha256(body).hexdigest().encode()
        path = b"/v2/%s/manifests/sha256:%s" % (repo, digest)
        if wire.exchange(ctx.address, wire.request(b"GET", path)).body != body:
            raise Failed("a manifest that lost the tag is gone by digest too")


@probe()
def index_chain(ctx: Context, depth, full, copies=1):
    """Indexes over indexes: pushing, listing and deleting cost what they should, not the paths."""
    repo = ctx.steps.texts.get("repo")
    media = b"application/vnd.oci.image.index.v1+json"
    below, slowest = b"", 0.0
    for level in range(full if ctx.full else depth):
        body = b'{"schemaVersion":2,"manifests":[%s],"annotations":{"l":"%d"}}' % (below, level)
        data = wire.request(
            b"PUT", b"/v2/%s/manifests/top" % repo, [b"Content-Type: " + media], body
        )
        answer = wire.exchange(ctx.address, data, b"PUT")
        if answer.status == 400 and level > 8:
            return
        if answer.status != 201:
            raise Failed(f"level {level} got {answer.status}: {answer.body[:100]!r}")
        slowest = max(slowest, answer.seconds)
        digest = hashlib.sha256(body).hexdigest().encode()
        one = b'{"mediaType":"%s","digest":"sha256:%s","size":%d}' % (media, digest, len(body))
        below = b",".join([one] * copies)
    for method, path in ((b"GET", b"manifests/top"), (b"DELETE", b"manifests/sha256:" + digest)):
        data = wire.request(method, b"/v2/%s/%s" % (repo, path))
        answer = wire.exchange(ctx.address, data, method)
        if answer.status not in (200, 202):
            raise Failed(f"{method.decode()} of the top got {answer.status}")
        slowest = max(slowest, answer.seconds)
    if slowest > 1.0 * ctx.steps.patience:
        raise Failed(f"one level took {slowest:.2f} s")
