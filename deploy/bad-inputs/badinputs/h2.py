"""HTTP/2 frames by hand: a library would refuse to send most of what is sent here."""

import struct
import time

from . import wire

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, RST_STREAM, SETTINGS, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = (
    0, 1, 3, 4, 6, 7, 8, 9,
)
END_STREAM, END_HEADERS, ACK = 1, 4, 1


def frame(kind, flags, stream, payload=b""):
    head = struct.pack(">I", len(payload))[1:] + bytes([kind, flags]) + struct.pack(">I", stream)
    return head + payload


def literal(name, value):
    """A header field without indexing and without Huffman coding (RFC 7541, 6.2.2)."""
    return b"\x00" + _string(name) + _string(value)


def _string(data):
    """Length as a 7-bit-prefix integer (RFC 7541, 5.1), then the octets."""
    if len(data) < 127:
        return bytes([len(data)]) + data
    rest, octets = len(data) - 127, [127]
    while rest >= 128:
        octets.append(rest % 128 + 128)
        rest //= 128
    return bytes([*octets, rest]) + data


def get(path, method=b"GET"):
    """A header block for a request."""
    fields = [(b":method", method), (b":scheme", b"http"), (b":authority", b"registry.test")]
    return b"".join(literal(*pair) for pair in [*fields, (b":path", path)])


class Session:
    """A connection after the preface, with prior knowledge."""

    def __init__(self, address, settings=b""):
        self.link = wire.Link(address)
        self.link.socket.sendall(PREFACE + frame(SETTINGS, 0, 0, settings))
        self.frames = []

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.link.socket.close()

    def send(self, data):
        """Whether it could be sent: False once the server has closed."""
        try:
            self.link.socket.settimeout(5)
            self.link.socket.sendall(data)
            return True
        except (BrokenPipeError, ConnectionResetError, TimeoutError):
            return False

    def read(self, seconds):
        """Frames that come within so many seconds, as (kind, flags, stream, payload)."""
        deadline = time.monotonic() + seconds
        try:
            while self.link.receive(deadline - time.monotonic()):
                pass
        except (wire.NoAnswer, OSError):
            pass
        return self._take()

    def _take(self):
        found, data = [], self.link.buffer
        while len(data) >= 9:
            length = int.from_bytes(data[:3], "big")
            if len(data) < 9 + length:
                break
            stream = int.from_bytes(data[5:9], "big") & 0x7FFFFFFF
            found.append((data[3], data[4], stream, data[9 : 9 + length]))
            data = data[9 + length :]
        self.link.buffer = data
        self.frames += found
        return found

    def ended(self):
        """The server said GOAWAY or closed."""
        return self.link.ended or any(kind == GOAWAY for kind, *_ in self.frames)
