#!/usr/bin/env python3
"""A proxy that sends every request to the next node: the least favourable load balancer there is.

    deploy/cluster/proxy.py --listen 127.0.0.1:5050 127.0.0.1:5000 127.0.0.1:5010 …

No request of a session meets the node of the one before. Bodies stream both ways; connections are kept
on both sides. A node that cannot be reached is passed over. A kept connection that breaks before the
first byte of an answer is tried again on a new one when the request has no body: an idle connection of a
dead node says nothing about the request. Nothing else is repeated, no answer is changed.
"""

import argparse
import asyncio
import itertools
import sys

PIECE_BYTES = 64 << 10
HEAD_BYTES_MAX = 64 << 10
CONNECT_SECONDS = 2
# Statuses whose answers have no body, whatever the header says.
BODYLESS = {204, 304}


class Head:
    """The first line and the header of a message, kept as they are."""

    def __init__(self, raw):
        self.raw = raw
        first, *lines = raw.decode("latin-1").split("\r\n")
        self.first = first.split(" ", 2)
        self.fields = [(name.strip().lower(), value.strip()) for name, _, value in (line.partition(":") for line in lines if line)]

    def get(self, name):
        return next((value for field, value in self.fields if field == name), None)

    def closes(self):
        return "close" in (self.get("connection") or "").lower()

    def without(self, name):
        """The bytes without one field."""
        lines = self.raw.split(b"\r\n")
        return b"\r\n".join(line for line in lines if not line.lower().startswith(name.encode() + b":"))


async def read_head(reader):
    """A message's head, or None at the end of the connection."""
    try:
        return Head(await reader.readuntil(b"\r\n\r\n"))
    except asyncio.IncompleteReadError as error:
        if error.partial:
            raise ConnectionError("the connection ended within a header") from error
        return None


async def copy_body(head, reader, writer):
    """Moves a body in the framing it has. Returns whether the connection can be used again."""
    if "chunked" in (head.get("transfer-encoding") or "").lower():
        while True:
            line = await reader.readuntil(b"\r\n")
            writer.write(line)
            size = int(line.split(b";")[0], 16)
            await copy_bytes(reader, writer, size + 2 if size else 0)
            if size == 0:
                while (line := await reader.readuntil(b"\r\n")) != b"\r\n":
                    writer.write(line)
                writer.write(line)
                await writer.drain()
                return True
    if (length := head.get("content-length")) is not None:
        await copy_bytes(reader, writer, int(length))
        return True
    while piece := await reader.read(PIECE_BYTES):
        writer.write(piece)
        await writer.drain()
    return False


async def copy_bytes(reader, writer, left):
    while left:
        piece = await reader.read(min(left, PIECE_BYTES))
        if not piece:
            raise ConnectionError("the connection ended within a body")
        writer.write(piece)
        await writer.drain()
        left -= len(piece)


class Proxy:
    """The nodes, whose turn it is, and what is going on."""

    def __init__(self, nodes):
        self.nodes = list(nodes)
        self.turn = itertools.count()
        self.idle = {node: [] for node in self.nodes}
        self.requests = self.in_flight = self.passed_over = 0
        self.served = {node: 0 for node in self.nodes}
        # Upload sessions by path -> the number of the request that used it last; see `is_quiet`.
        self.sessions = {}
        # Called when a request has been answered, before the next one is read.
        self.after_request = lambda: None

    async def start(self, listen):
        host, port = listen.rsplit(":", 1)
        return await asyncio.start_server(self.client, host, int(port), limit=HEAD_BYTES_MAX)

    def close_idle(self):
        """Closes the kept connections to the nodes."""
        for kept in self.idle.values():
            while kept:
                kept.pop()[1].close()

    def is_quiet(self, within):
        """No request is under way, and no upload session was used within the last requests."""
        return self.in_flight == 0 and all(self.requests - last > within for last in self.sessions.values())

    async def client(self, reader, writer):
        """One connection of a client: request after request."""
        try:
            while (head := await read_head(reader)) is not None:
                self.requests += 1
                self.in_flight += 1
                try:
                    again = await self.relay(head, reader, writer)
                finally:
                    self.in_flight -= 1
                self.after_request()
                if not again:
                    break
        except (OSError, ValueError, asyncio.IncompleteReadError, asyncio.LimitOverrunError) as error:
            print(f"proxy: {error!r}", file=sys.stderr, flush=True)
        finally:
            writer.close()

    async def relay(self, head, reader, writer):
        """One request and its answer. Returns whether the client's connection goes on."""
        has_body = head.get("transfer-encoding") is not None or head.get("content-length") not in (None, "0")
        raw = head.raw
        if (head.get("expect") or "").lower() == "100-continue":
            writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
            raw = head.without("expect")
        for _ in range(2 * len(self.nodes)):
            node, connection, kept = await self.connect()
            if connection is None:
                break
            upstream_reader, upstream_writer = connection
            sending = None
            try:
                upstream_writer.write(raw)
                await upstream_writer.drain()
                # Beside the answer: a node may refuse before it has read the body.
                sending = asyncio.ensure_future(copy_body(head, reader, upstream_writer)) if has_body else None
                answer = await read_head(upstream_reader)
                while answer is not None and answer.first[1] == "100":
                    answer = await read_head(upstream_reader)
            except ConnectionError:
                answer = None
            if answer is None:
                upstream_writer.close()
                if sending:
                    sending.cancel()
                if kept and not has_body:
                    continue
                break
            self.served[node] += 1
            self.note(head, answer)
            return await self.answer(head, answer, node, connection, sending, writer)
        writer.write(b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        await writer.drain()
        return False

    async def answer(self, head, answer, node, connection, sending, writer):
        """Passes the answer on, then sees what can be kept."""
        upstream_reader, upstream_writer = connection
        writer.write(answer.raw)
        again = True
        if head.first[0] != "HEAD" and int(answer.first[1]) not in BODYLESS:
            again = await copy_body(answer, upstream_reader, writer)
        await writer.drain()
        whole = sending is None or sending.done()
        if not whole:
            sending.cancel()
        if again and whole and not answer.closes() and not head.closes():
            self.idle[node].append(connection)
            return True
        upstream_writer.close()
        return again and whole and not answer.closes() and not head.closes()

    async def connect(self):
        """The next node that can be reached: (node, connection, whether it was kept)."""
        for _ in self.nodes:
            node = self.nodes[next(self.turn) % len(self.nodes)]
            while self.idle[node]:
                reader, writer = self.idle[node].pop()
                if not reader.at_eof() and not writer.is_closing():
                    return node, (reader, writer), True
                writer.close()
            try:
                host, port = node.rsplit(":", 1)
                opening = asyncio.open_connection(host, int(port), limit=HEAD_BYTES_MAX)
                return node, await asyncio.wait_for(opening, CONNECT_SECONDS), False
            except (OSError, asyncio.TimeoutError):
                self.passed_over += 1
        return None, None, False

    def note(self, head, answer):
        """Follows upload sessions by their Locations."""
        method, path, status = head.first[0], head.first[1].split("?")[0], answer.first[1]
        if "/blobs/uploads/" not in path:
            return
        self.sessions.pop(path, None)
        ended = status == "404" or (method, status) in {("PUT", "201"), ("DELETE", "204")}
        location = answer.get("location")
        if status == "202" and location:
            path = location.split("://")[-1]
            self.sessions[path[path.index("/") :].split("?")[0]] = self.requests
        elif not ended and not path.endswith("/uploads/"):
            self.sessions[path] = self.requests


async def serve(options):
    server = await Proxy(options.nodes).start(options.listen)
    async with server:
        await server.serve_forever()


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--listen", required=True)
    parser.add_argument("nodes", nargs="+")
    try:
        asyncio.run(serve(parser.parse_args()))
    except KeyboardInterrupt:
        pass


if __name__ == "__main__":
    main()
