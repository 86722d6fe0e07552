"""HTTP/2 misuse: each flood must end in GOAWAY or be borne with bounded memory."""

import struct
import time

from . import h2
from .probes import Context, NotPossible, probe
from .probes_transport import floor, others_latency
from .steps import Failed

GROWTH_BYTES_MAX = 64 << 20
# Frames are sent in batches of so many, answers are drained in between.
BATCH = 500


def flood(ctx, session, frames):
    """Sends batches until the server ends the connection; memory is looked at on the way."""
    before = ctx.server.resident_bytes()
    for batch in frames:
        if not session.send(batch):
            break
        session.read(0.001)
        if session.ended():
            break
        if (growth := ctx.server.resident_bytes() - before) > GROWTH_BYTES_MAX:
            raise Failed(f"memory grew by {growth >> 20} MiB during the flood")
    session.read(0.2)


def open_session(ctx):
    """A session with a server that speaks HTTP/2."""
    if h2_get(ctx, b"/v2/") is None:
        raise NotPossible("no HTTP/2 with prior knowledge on the plain port")
    return h2.Session(ctx.address)


def must_live(ctx):
    if (latency := others_latency(ctx, 20)) > floor(ctx):
        raise Failed(f"p99 of others is {latency * 1e3:.1f} ms after it")
    answer = h2_get(ctx, b"/v2/")
    if answer is None:
        raise Failed("HTTP/2 no longer works after it")


def h2_get(ctx, path):
    """The frames of one honest GET, or None when no HEADERS came."""
    with h2.Session(ctx.address) as session:
        session.send(h2.frame(h2.HEADERS, h2.END_STREAM | h2.END_HEADERS, 1, h2.get(path)))
        deadline = time.monotonic() + 2
        while time.monotonic() < deadline and not session.ended():
            session.read(0.05)
            if any(kind == h2.HEADERS for kind, *_ in session.frames):
                return session.frames
    return None


@probe()
def h2_rapid_reset(ctx: Context, streams):
    """CVE-2023-44487: streams opened and reset at once. Such a client is sent away."""
    block = h2.get(b"/v2/")

    def batches():
        for first in range(0, streams, BATCH):
            yield b"".join(
                h2.frame(h2.HEADERS, h2.END_STREAM | h2.END_HEADERS, 2 * n + 1, block)
                + h2.frame(h2.RST_STREAM, 0, 2 * n + 1, struct.pack(">I", 8))
                for n in range(first, first + BATCH)
            )

    with open_session(ctx) as session:
        flood(ctx, session, batches())
        if not session.ended():
            raise Failed(f"{streams} streams opened and reset, and no GOAWAY")
    must_live(ctx)


@probe()
def h2_continuation_flood(ctx: Context, frames):
    """CVE-2024-27316: a header block that never ends."""
    filler = h2.literal(b"x-filler", b"y" * 100) * 100

    def batches():
        yield h2.frame(h2.HEADERS, h2.END_STREAM, 1, h2.get(b"/v2/"))
        for _ in range(0, frames, 10):
            yield h2.frame(h2.CONTINUATION, 0, 1, filler) * 10

    with open_session(ctx) as session:
        flood(ctx, session, batches())
        if not session.ended():
            raise Failed(f"{frames} CONTINUATION frames, and no GOAWAY")
    must_live(ctx)


@probe()
def h2_many_streams(ctx: Context, streams):
    """More streams at once than allowed: refused, memory bounded."""
    block = h2.get(b"/v2/x/y/blobs/uploads/", b"POST")

    def batches():
        for first in range(0, streams, BATCH):
            heads = range(first, first + BATCH)
            yield b"".join(h2.frame(h2.HEADERS, h2.END_HEADERS, 2 * n + 1, block) for n in heads)

    with open_session(ctx) as session:
        flood(ctx, session, batches())
        refused = any(kind == h2.RST_STREAM for kind, *_ in session.frames)
        if not refused and not session.ended():
            raise Failed(f"{streams} streams are open at once")
    must_live(ctx)


@probe()
def h2_frame_flood(ctx: Context, kind, frames):
    """PING, SETTINGS, PRIORITY or empty DATA without end: GOAWAY, or answered in bounded memory."""
    payload = {
        "ping": h2.frame(h2.PING, 0, 0, bytes(8)),
        "settings": h2.frame(h2.SETTINGS, 0, 0),
        "empty-data": h2.frame(h2.DATA, 0, 1),
        "priority": h2.frame(2, 0, 1, bytes(4) + b"\x10"),
        "window-update": h2.frame(h2.WINDOW_UPDATE, 0, 0, struct.pack(">I", 1)),
        "unknown": h2.frame(0xFA, 0, 0, b"x" * 64),
    }[kind]
    with open_session(ctx) as session:
        if kind == "empty-data":
            block = h2.get(b"/v2/x/y/blobs/uploads/", b"POST")
            session.send(h2.frame(h2.HEADERS, h2.END_HEADERS, 1, block))
        flood(ctx, session, (payload * BATCH for _ in range(0, frames, BATCH)))
    must_live(ctx)


@probe()
def h2_unread_flood(ctx: Context, frames):
    """PINGs whose answers are never read: the answers must not pile up in memory."""
    before = ctx.server.resident_bytes()
    with open_session(ctx) as session:
        for _ in range(0, frames, BATCH):
            if not session.send(h2.frame(h2.PING, 0, 0, bytes(8)) * BATCH):
                break
        if (growth := ctx.server.resident_bytes() - before) > GROWTH_BYTES_MAX:
            raise Failed(f"memory grew by {growth >> 20} MiB")
    must_live(ctx)


@probe()
def h2_tiny_window(ctx: Context, connections):
    """Pulls with a flow-control window of one byte: no busy loop, no hoarding."""
    target = ctx.site.canary_steps.texts.render("/v2/canary/image/blobs/${digest:layer}")
    head = h2.frame(h2.HEADERS, h2.END_STREAM | h2.END_HEADERS, 1, h2.get(target))
    before = ctx.server.resident_bytes()
    sessions = []
    try:
        for _ in range(connections):
            session = h2.Session(ctx.address, struct.pack(">HI", 4, 1))
            session.send(head)
            sessions.append(session)
        for _ in range(20):
            for session in sessions:
                session.send(h2.frame(h2.WINDOW_UPDATE, 0, 1, struct.pack(">I", 1)))
                session.read(0.001)
        if (growth := ctx.server.resident_bytes() - before) > GROWTH_BYTES_MAX:
            raise Failed(f"memory grew by {growth >> 20} MiB for {connections} tiny windows")
    finally:
        for session in sessions:
            session.link.socket.close()
    must_live(ctx)


@probe()
def h2_malformed(ctx: Context, what):
    """Frames against the rules: the connection ends, the server does not."""
    block = h2.get(b"/v2/")
    data = {
        "data-on-idle-stream": h2.frame(h2.DATA, 0, 7, b"x"),
        "even-stream": h2.frame(h2.HEADERS, h2.END_STREAM | h2.END_HEADERS, 2, block),
        "stream-zero": h2.frame(h2.HEADERS, h2.END_STREAM | h2.END_HEADERS, 0, block),
        "bad-ping-length": h2.frame(h2.PING, 0, 0, b"x"),
        "bad-settings-length": h2.frame(h2.SETTINGS, 0, 0, b"xxxxx"),
        "huge-frame": b"\xff\xff\xff\x00\x00\x00\x00\x00\x01",
        "bad-hpack": h2.frame(h2.HEADERS, h2.END_STREAM | h2.END_HEADERS, 1, b"\xff" * 5),
        "window-overflow": h2.frame(h2.WINDOW_UPDATE, 0, 0, struct.pack(">I", 0x7FFFFFFF)) * 2,
        "continuation-alone": h2.frame(h2.CONTINUATION, h2.END_HEADERS, 1, block),
    }[what]
    with open_session(ctx) as session:
        session.send(data)
        session.read(1.0)
        if not session.ended():
            raise Failed(f"{what}: neither GOAWAY nor a closed connection within 1 s")
    must_live(ctx)


@probe()
def h2_path(ctx: Context, path, status):
    """The same refusals hold over HTTP/2."""
    frames = h2_get(ctx, ctx.steps.texts.render(path))
    if frames is None:
        raise Failed("no answer over HTTP/2")
    bodies = b"".join(payload for kind, _, _, payload in frames if kind == h2.DATA)
    if status.encode() not in bodies:
        raise Failed(f"{status} is not in {bodies[:100]!r}")

