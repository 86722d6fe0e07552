"""HTTP/1.1 over a bare socket: what is sent is sent byte for byte.

A client library would normalise the very things these cases are about: dots in paths, headers that
contradict each other, bodies cut short. So requests are bytes here, and only answers are parsed.
"""

import select
import socket
import time
from dataclasses import dataclass, field

RECEIVE_BYTES = 1 << 16
HEAD_BYTES_MAX = 1 << 17


class NoAnswer(Exception):
    """The connection ended, or time ran out, before an answer was complete."""


@dataclass
class Answer:
    status: int
    headers: list = field(default_factory=list)  # (lower-case name, value)
    body: bytes = b""
    seconds: float = 0.0

    def header(self, name):
        """The first value of a header, or None."""
        return next((value for key, value in self.headers if key == name.lower()), None)

    def all(self, name):
        return [value for key, value in self.headers if key == name.lower()]


def request(method, path, headers=(), body=None, chunked=0, length=True, host=b"registry.test"):
    """The bytes of a request; `chunked` is the size of its chunks, 0 for a plain body."""
    lines = [method + b" " + path + b" HTTP/1.1", b"Host: " + host, *headers]
    payload = body or b""
    if chunked:
        lines.append(b"Transfer-Encoding: chunked")
        pieces = [payload[at : at + chunked] for at in range(0, len(payload), chunked)]
        payload = b"".join(b"%x\r\n%s\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\n\r\n"
    elif length and (body is not None or method in (b"POST", b"PUT", b"PATCH")):
        lines.append(b"Content-Length: %d" % len(payload))
    return b"\r\n".join(lines) + b"\r\n\r\n" + payload


def wait_for(sock, events, seconds):
    """Whether the socket can be read, and written, within so many seconds (any descriptor number:
    select() stops at 1024)."""
    poller = select.poll()
    poller.register(sock, events)
    happened = sum(event for _, event in poller.poll(seconds * 1000))
    return bool(happened & ~select.POLLOUT), bool(happened & select.POLLOUT)


class Link:
    """One connection."""

    def __init__(self, address, timeout=10.0):
        self.socket = socket.create_connection(address, timeout=timeout)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.buffer = b""
        self.ended = False

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()

    def send(self, data, timeout=30.0):
        """Sends until all is sent, or the other side answers or closes before."""
        deadline = time.monotonic() + timeout
        view = memoryview(data)
        self.socket.setblocking(False)
        try:
            while view:
                left = deadline - time.monotonic()
                if left <= 0:
                    raise NoAnswer("the server stopped reading and did not answer")
                readable, writable = wait_for(self.socket, select.POLLIN | select.POLLOUT, left)
                if readable:
                    return
                if writable:
                    view = view[self.socket.send(view[: 1 << 18]) :]
        except BlockingIOError:
            pass
        except (BrokenPipeError, ConnectionResetError):
            return
        finally:
            self.socket.setblocking(True)

    def receive(self, timeout):
        """Adds what comes within `timeout` to the buffer; False at the end of the stream."""
        if self.ended:
            return False
        self.socket.settimeout(max(timeout, 0.001))
        try:
            data = self.socket.recv(RECEIVE_BYTES)
        except (TimeoutError, socket.timeout):
            raise NoAnswer("no (complete) answer in time") from None
        except ConnectionResetError:
            data = b""
        self.ended = not data
        self.buffer += data
        return bool(data)

    def answer(self, method=b"GET", timeout=10.0):
        """The next final answer; interim (1xx) answers are passed over."""
        began = time.monotonic()
        while True:
            found = self._one(method, began + timeout)
            if found.status >= 200:
                found.seconds = time.monotonic() - began
                return found

    def _one(self, method, deadline):
        head = self._until(b"\r\n\r\n", deadline)
        lines = head.decode("latin-1").split("\r\n")
        try:
            status = int(lines[0].split(" ", 2)[1])
        except (IndexError, ValueError):
            raise NoAnswer(f"not an HTTP answer: {head[:60]!r}") from None
        pairs = (line.partition(":") for line in lines[1:] if line)
        answer = Answer(status, [(name.lower(), value.strip()) for name, _, value in pairs])
        if method == b"HEAD" or status in (204, 304) or status < 200:
            return answer
        if "chunked" in (answer.header("transfer-encoding") or ""):
            answer.body = self._chunks(deadline)
        elif answer.header("content-length") is not None:
            answer.body = self._exactly(int(answer.header("content-length")), deadline)
        else:
            while self.receive(deadline - time.monotonic()):
                pass
            answer.body, self.buffer = self.buffer, b""
        return answer

    def _until(self, mark, deadline):
        while (at := self.buffer.find(mark)) < 0:
            if len(self.buffer) > HEAD_BYTES_MAX:
                raise NoAnswer("endless answer head")
            if not self.receive(deadline - time.monotonic()):
                raise NoAnswer(f"closed after {len(self.buffer)} bytes of an answer")
        found, self.buffer = self.buffer[:at], self.buffer[at + len(mark) :]
        return found

    def _exactly(self, count, deadline):
        pieces, have = [self.buffer], len(self.buffer)
        while have < count:
            self.buffer = b""
            if not self.receive(deadline - time.monotonic()):
                raise NoAnswer(f"closed after {have} of {count} body bytes")
            pieces.append(self.buffer)
            have += len(self.buffer)
        data = b"".join(pieces)
        self.buffer = data[count:]
        return data[:count]

    def _chunks(self, deadline):
        body = b""
        while True:
            size = int(self._until(b"\r\n", deadline).split(b";")[0], 16)
            body += self._exactly(size, deadline)
            self._until(b"\r\n", deadline)
            if size == 0:
                return body

    def closes(self, within):
        """Whether the server closes the connection within so many seconds."""
        deadline = time.monotonic() + within
        try:
            while self.receive(deadline - time.monotonic()):
                pass
        except NoAnswer:
            return False
        return True


def exchange(address, data, method=b"GET", timeout=10.0):
    """One request on its own connection."""
    began = time.monotonic()
    with Link(address) as link:
        link.send(data, timeout)
        answer = link.answer(method, timeout)
    answer.seconds = time.monotonic() - began
    return answer
