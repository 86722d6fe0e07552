"""Connections that stall, flood or speak another protocol."""

import select
import socket
import ssl
import statistics
import time

from . import wire
from .probes import Context, NotPossible, probe
from .steps import Failed, path_of

# Others may be this much slower while somebody misbehaves (and never slower than the floor).
SLOWDOWN_MAX, LATENCY_FLOOR_SECONDS = 5.0, 0.1


def others_latency(ctx, count=50):
    """Seconds that 99 of 100 ordinary requests take at most, now."""
    times = []
    for _ in range(count):
        answer = wire.exchange(ctx.address, wire.request(b"GET", b"/v2/"))
        if answer.status != 200:
            raise Failed(f"GET /v2/ got {answer.status} meanwhile")
        times.append(answer.seconds)
    return statistics.quantiles(times, n=100)[98]


def floor(ctx):
    """Latency that nobody complains about, in seconds."""
    return LATENCY_FLOOR_SECONDS * ctx.steps.patience


def connect_many(ctx, count):
    """Up to `count` connections; fewer when the server or this machine takes no more."""
    links = []
    for _ in range(count):
        try:
            link = socket.create_connection(ctx.address, timeout=5)
        except OSError:
            break
        link.setblocking(False)
        links.append(link)
    return links


def still_open(links):
    """Those that the server has not closed."""
    open_links = []
    for link in links:
        try:
            while data := link.recv(65536):
                pass
            closed = data == b""
        except BlockingIOError:
            closed = False
        except OSError:
            closed = True
        if not closed:
            open_links.append(link)
    return open_links


def peek(link):
    """What has come on a connection."""
    try:
        return link.recv(65536)
    except OSError:
        return b""


def trickle(links, data):
    for link in links:
        try:
            link.send(data)
        except OSError:
            pass


@probe()
def slowloris(ctx: Context, connections, full, header_seconds):
    """Heads that never end are cut at the header time-out, and nobody else notices."""
    count = full if ctx.full else connections
    before = others_latency(ctx)
    links = connect_many(ctx, count)
    try:
        trickle(links, b"GET /v2/ HTTP/1.1\r\nHost: slow\r\nX-A: ")
        began = time.monotonic()
        time.sleep(0.2)
        during = others_latency(ctx)
        while open_links := still_open(links):
            trickle(open_links, b"a")
            if time.monotonic() - began > header_seconds + 2.0 + count / 1000:
                raise Failed(f"{len(open_links)} of {len(links)} unfinished heads are still open")
            time.sleep(0.25)
    finally:
        for link in links:
            link.close()
    if during > max(before * SLOWDOWN_MAX, floor(ctx)):
        raise Failed(f"p99 of others rose from {before * 1e3:.1f} to {during * 1e3:.1f} ms")


@probe()
def slow_body(ctx: Context, cut_seconds, method="PATCH"):
    """A body below the minimum rate is cut; others go on."""
    repo = ctx.steps.texts.get("repo")
    opened = ctx.steps.good(wire.request(b"POST", b"/v2/%s/blobs/uploads/" % repo), 202)
    path = path_of(opened.header("location"))
    with wire.Link(ctx.address) as link:
        head = b"%s %s HTTP/1.1\r\nHost: slow\r\nContent-Length: 1000000\r\n\r\n"
        link.socket.sendall(head % (method.encode(), path))
        began = time.monotonic()
        while True:
            try:
                link.socket.sendall(b"x")
            except OSError:
                break
            if wire.wait_for(link.socket, select.POLLIN, 0.5)[0]:
                break
            if time.monotonic() - began > cut_seconds:
                raise Failed(f"a body of 2 bytes per second still goes on after {cut_seconds} s")
    latency = others_latency(ctx)
    if latency > floor(ctx):
        raise Failed(f"p99 of others is {latency * 1e3:.1f} ms after it")


@probe()
def slow_reader(ctx: Context, seconds):
    """A client that asks and does not read holds nobody up."""
    links = []
    target = ctx.site.canary_steps.texts.render("/v2/canary/image/blobs/${digest:layer}")
    try:
        for _ in range(200):
            link = socket.create_connection(ctx.address, timeout=5)
            link.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            link.sendall(wire.request(b"GET", target) * 8)
            links.append(link)
        time.sleep(seconds)
        if (latency := others_latency(ctx)) > floor(ctx):
            raise Failed(f"p99 of others is {latency * 1e3:.1f} ms")
    finally:
        for link in links:
            link.close()


def client_hello():
    """The first bytes of a real TLS client."""
    outgoing = ssl.MemoryBIO()
    context = ssl.create_default_context()
    try:
        context.wrap_bio(ssl.MemoryBIO(), outgoing, server_hostname="registry.test").do_handshake()
    except ssl.SSLWantReadError:
        pass
    return outgoing.read()


@probe()
def tls_hello(ctx: Context, seconds=1.0, garbage=False):
    """A TLS hello on the plain port is refused at once: docker tries https first."""
    with wire.Link(ctx.address) as link:
        link.socket.sendall(bytes([0x16, 3, 1]) + bytes(range(200)) if garbage else client_hello())
        began = time.monotonic()
        try:
            while link.receive(seconds - (time.monotonic() - began)):
                if link.buffer[:1] == b"\x15" or link.buffer.startswith(b"HTTP/1.1 400"):
                    return
        except wire.NoAnswer:
            raise Failed(f"no refusal within {seconds} s: {link.buffer[:40]!r}") from None
        if link.buffer and not link.buffer.startswith((b"HTTP/1.0 400", b"HTTP/1.1 400", b"\x15")):
            raise Failed(f"answered with {link.buffer[:40]!r}")
        if not link.buffer:
            raise Failed("closed without a 400 or an alert")


@probe()
def tls_stall(ctx: Context, connections, full, seconds):
    """Half a TLS hello and then silence: closed in time, nobody else notices."""
    links = connect_many(ctx, full if ctx.full else connections)
    try:
        trickle(links, b"\x16\x03\x01\x02\x00\x01")
        began = time.monotonic()
        if (latency := others_latency(ctx)) > floor(ctx):
            raise Failed(f"p99 of others is {latency * 1e3:.1f} ms")
        while open_links := still_open(links):
            if time.monotonic() - began > seconds:
                raise Failed(f"{len(open_links)} of {len(links)} are still open after {seconds} s")
            time.sleep(0.1)
    finally:
        for link in links:
            link.close()


@probe()
def too_many_connections(ctx: Context, connections):
    """Out of file descriptors, the accept loop survives and serves again afterwards."""
    links = connect_many(ctx, connections)
    try:
        trickle(links, b"GET /v2/ HTTP/1.1\r\nHost: many\r\n\r\n")
        time.sleep(1.0)
        served = [link for link in links if peek(link).startswith(b"HTTP/1.1 200")]
        # A server may close idle connections to serve more than it has descriptors for.
        kept = len(still_open(served))
    finally:
        for link in links:
            link.close()
    if kept == connections:
        raise NotPossible(f"all {connections} connections are open at once: no limit is in force")
    deadline = time.monotonic() + 5
    while True:
        try:
            if wire.exchange(ctx.address, wire.request(b"GET", b"/v2/"), timeout=1).status == 200:
                break
        except (OSError, wire.NoAnswer):
            pass
        if time.monotonic() > deadline:
            raise Failed("it does not serve 5 s after the connections are gone")
    ctx.steps.texts.templates.setdefault("after", "a blob after the flood")
    ctx.steps.push("after", ctx.steps.texts.get("repo"))


@probe()
def idle_connections(ctx: Context, connections, full):
    """Many idle keep-alive connections leave the others as fast as before."""
    links = connect_many(ctx, full if ctx.full else connections)
    try:
        trickle(links, b"GET /v2/ HTTP/1.1\r\nHost: idle\r\n\r\n")
        for link in links:
            wire.wait_for(link, select.POLLIN, 10)
        if (latency := others_latency(ctx)) > floor(ctx):
            raise Failed(f"p99 of others is {latency * 1e3:.1f} ms beside {len(links)} idle ones")
    finally:
        for link in links:
            link.close()


@probe()
def garbage(ctx: Context, seconds):
    """Bytes that are no protocol at all are refused or cut."""
    import random

    source = random.Random(1)
    for length in (1, 7, 64, 4096, 200_000):
        with wire.Link(ctx.address) as link:
            link.send(source.randbytes(length) + b"\r\n\r\n")
            if not link.closes(seconds):
                raise Failed(f"{length} random bytes leave the connection open for {seconds} s")
