"""The scripts' own parts, without a node: a checker that cannot find fault proves nothing.

    python3 -m unittest discover -s deploy/cluster
"""

import asyncio
import hashlib
import http.client
import http.server
import os
import struct
import sys
import tempfile
import threading
import time
import unittest
import zlib

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

# pylint: disable=wrong-import-position,missing-function-docstring,missing-class-docstring
import figures
import plot
import proxy
from load import Done
from view import View


def member(number, state="up"):
    return {"id": number, "state": state, "http": f"127.0.0.1:{5000 + number}"}


def digest(first_byte, rest=0):
    return "sha256:" + (bytes([first_byte]) + rest.to_bytes(31, "big")).hex()


class Placement(unittest.TestCase):
    def view(self, owners, states=None, **more):
        members = [member(number, (states or {}).get(number, "up")) for number in sorted(set(owners))]
        return View({"epoch": 7, "replicas": 3, "members": members, "ring": {"owners": owners}, **more})

    def test_the_first_identity_at_or_after_the_digest(self):
        view = self.view([1, 2, 3, 4])  # at 0x00, 0x40, 0x80, 0xC0
        self.assertEqual([view.point(digest(at)) for at in (0x00, 0x3F, 0x40, 0x80, 0xC0)], [0, 1, 1, 2, 3])
        self.assertEqual(view.point(digest(0x40, 1)), 2, "one past an identity belongs to the next")
        self.assertEqual(view.point(digest(0xC1)), 0, "past the last it wraps")

    def test_the_next_distinct_nodes(self):
        view = self.view([1, 1, 2, 3])
        self.assertEqual(view.placement(digest(0x00)), [1, 2, 3])
        self.assertEqual(view.placement(digest(0xC0)), [3, 1, 2])

    def test_acting_passes_over_the_dead(self):
        view = self.view([1, 2, 3, 4], {2: "down"})
        self.assertEqual(view.placement(digest(0x40)), [2, 3, 4])
        self.assertEqual(view.acting(digest(0x40)), ["127.0.0.1:5003", "127.0.0.1:5004", "127.0.0.1:5001"])

    def test_the_ring_of_the_paper(self):
        identities = [[f"{at:02x}" + "00" * 31, owner] for at, owner in ((0x20, 1), (0x60, 2), (0xC0, 3))]
        view = View({"epoch": 1, "replicas": 2, "members": [member(n) for n in (1, 2, 3)], "ring": {"identities": identities}})
        self.assertEqual(view.placement(digest(0x41)), [2, 3])
        self.assertEqual(view.placement(digest(0xC0)), [3, 1])
        self.assertEqual(view.placement(digest(0xC0, 1)), [1, 2])


class Pictures(unittest.TestCase):
    def test_a_chart_is_a_whole_png(self):
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, "chart.png")
            plot.chart(path, [("a title", {"one": [(0, 1), (9, 7)]})], [(4, "mark")])
            with open(path, "rb") as file:
                data = file.read()
        self.assertEqual(data[:8], b"\x89PNG\r\n\x1a\n")
        at, kinds, pixels = 8, [], b""
        while at < len(data):
            length, kind = struct.unpack(">I4s", data[at : at + 8])
            body = data[at + 8 : at + 8 + length]
            self.assertEqual(struct.unpack(">I", data[at + 8 + length : at + 12 + length])[0], zlib.crc32(kind + body))
            kinds.append(kind)
            pixels += body if kind == b"IDAT" else b""
            width_height = struct.unpack(">II", body[:8]) if kind == b"IHDR" else width_height
            at += 12 + length
        self.assertEqual(kinds, [b"IHDR", b"IDAT", b"IEND"])
        width, height = width_height
        self.assertEqual(len(zlib.decompress(pixels)), height * (1 + 3 * width))
        self.assertIn(bytes(plot.COLOURS[0]), zlib.decompress(pixels), "the line is drawn")

    def test_nice_is_never_below(self):
        for value in (0.3, 1, 1.01, 9, 10, 11, 99, 100, 101, 4999, 5001):
            self.assertGreaterEqual(plot.nice(value), value)


class Numbers(unittest.TestCase):
    def test_percentiles(self):
        self.assertEqual(figures.percentile(range(1, 101), 0.99), 99)
        self.assertEqual(figures.percentile([5], 0.99), 5)
        self.assertEqual(figures.percentile([], 0.5), 0)

    def test_percentiles_of_few_values_are_uncertain(self):
        few, many = (figures.percentile_bounds(range(1, count + 1), 0.99) for count in (200, 100_000))
        self.assertEqual(few, (194, 200))
        self.assertLess(many[1] - many[0], 160)
        self.assertTrue(many[0] < 99_000 < many[1])
        self.assertEqual(figures.percentile_bounds([], 0.99), (0, 0))
        self.assertEqual(figures.percentile_bounds([7], 0.99), (7, 7))

    def test_a_second_counts_what_ended_in_it(self):
        done = [Done(10.0, 10.5, "plain pull", True, 1 << 20, 1), Done(10.9, 11.2, "plain pull", False, 0, 4)]
        rows = figures.per_second(done, 10.0, 2)
        self.assertEqual([(row["plain pull"], row["failed"], row["mebibytes"]) for row in rows], [(1, 0, 1.0), (0, 1, 0.0)])
        self.assertEqual(rows[0]["pull_p99_ms"], 500.0)


class Echo(http.server.BaseHTTPRequestHandler):
    """Says which node it is, and what it was sent."""

    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def body(self):
        if self.headers.get("Transfer-Encoding"):
            data = b""
            while size := int(self.rfile.readline().split(b";")[0], 16):
                data += self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
            return data
        return self.rfile.read(int(self.headers.get("Content-Length", 0)))

    def answer(self):
        body = self.body()
        self.send_response(202 if self.command == "PATCH" else 200)
        self.send_header("X-Node", str(self.server.server_port))
        self.send_header("X-Sum", hashlib.sha256(body).hexdigest())
        if self.command == "PATCH":
            self.send_header("Location", "/v2/a/blobs/uploads/u1?x=1")
        if self.path == "/chunked":
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            self.wfile.write(b"5\r\nhello\r\n6\r\n world\r\n0\r\n\r\n")
            return
        payload = b"x" * 300_000 if self.path == "/large" else b"ok"
        self.send_header("Content-Length", str(len(payload)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(payload)

    do_GET = do_HEAD = do_PUT = do_PATCH = do_POST = answer


class RoundRobin(unittest.TestCase):
    def setUp(self):
        self.nodes = [http.server.ThreadingHTTPServer(("127.0.0.1", 0), Echo) for _ in range(3)]
        for node in self.nodes:
            threading.Thread(target=node.serve_forever, daemon=True).start()
        self.loop = asyncio.new_event_loop()
        threading.Thread(target=self.loop.run_forever, daemon=True).start()
        self.proxy = proxy.Proxy([f"127.0.0.1:{node.server_port}" for node in self.nodes])
        self.server = asyncio.run_coroutine_threadsafe(self.proxy.start("127.0.0.1:0"), self.loop).result()
        self.connection = http.client.HTTPConnection("127.0.0.1", self.server.sockets[0].getsockname()[1], timeout=10)

    def tearDown(self):
        self.connection.close()
        self.loop.call_soon_threadsafe(self.proxy.close_idle)
        self.loop.call_soon_threadsafe(self.server.close)
        for node in self.nodes:
            node.shutdown()
            node.server_close()
        self.loop.call_soon_threadsafe(self.loop.stop)

    def ask(self, method, path, body=None, **more):
        self.connection.request(method, path, body=body, **more)
        answer = self.connection.getresponse()
        return answer, answer.read()

    def test_each_request_goes_to_the_next(self):
        seen = [self.ask("GET", "/")[0].headers["X-Node"] for _ in range(6)]
        self.assertEqual(len(set(seen[:3])), 3)
        self.assertEqual(seen[:3], seen[3:])

    def test_bodies_pass_whole(self):
        data = os.urandom(700_000)
        for body, chunked in ((data, False), (iter([data[:9], data[9:]]), True)):
            answer, _ = self.ask("PUT", "/", body, encode_chunked=chunked, headers={"Transfer-Encoding": "chunked"} if chunked else {})
            self.assertEqual(answer.headers["X-Sum"], hashlib.sha256(data).hexdigest())
        self.assertEqual(self.ask("GET", "/chunked")[1], b"hello world")
        self.assertEqual(len(self.ask("GET", "/large")[1]), 300_000)
        answer, body = self.ask("HEAD", "/large")
        self.assertEqual((answer.headers["Content-Length"], body), ("300000", b""))

    def test_a_dead_node_is_passed_over(self):
        for _ in range(3):
            self.ask("GET", "/")
        self.nodes[1].shutdown()
        self.nodes[1].server_close()
        self.loop.call_soon_threadsafe(self.proxy.close_idle)
        answers = [self.ask("GET", "/")[0].status for _ in range(9)]
        self.assertEqual(answers, [200] * 9)
        self.assertGreater(self.proxy.passed_over, 0)

    def test_no_node_at_all_is_a_bad_gateway(self):
        for node in self.nodes:
            node.shutdown()
            node.server_close()
        self.assertEqual(self.ask("GET", "/")[0].status, 502)

    def test_sessions_are_followed(self):
        self.assertTrue(self.proxy.is_quiet(5))
        self.ask("PATCH", "/v2/a/blobs/uploads/u0", b"abc")
        self.assertFalse(self.proxy.is_quiet(5), "an upload is open")
        for _ in range(6):
            self.ask("GET", "/")
        # The client has its answer a moment before the proxy has ended the request.
        deadline = time.monotonic() + 5
        while not self.proxy.is_quiet(5) and time.monotonic() < deadline:
            time.sleep(0.01)
        self.assertTrue(self.proxy.is_quiet(5), "and was left alone")


if __name__ == "__main__":
    unittest.main()
