"""One HTTP/1.1 connection to the node, as a load worker or a checker uses it.

Two things can happen to a request: an answer, or `Gone` — the connection broke or nothing came in
time, and nobody knows whether the node did it. Nothing is retried: a retry would hide the difference.
"""

import http.client
import urllib.parse

# How long one answer may take; a node that is alive under this load is far quicker.
ANSWER_SECONDS = 30
# How a body is cut on its way out, so that a kill finds it half sent.
PIECE_BYTES = 128 << 10


class Gone(Exception):
    """The outcome of the request is unknown."""


class Answer:
    """Status, headers and the whole body."""

    def __init__(self, response):
        self.status = response.status
        self.headers = response.headers
        self.body = response.read()


def pieces(data):
    """The body piece by piece; never an empty piece, which would end a chunked body."""
    for start in range(0, len(data), PIECE_BYTES):
        yield data[start : start + PIECE_BYTES]


class Wire:
    """A kept-alive connection; reconnects on the request after a break."""

    def __init__(self, address):
        self.address = address
        self.connection = None

    def close(self):
        if self.connection:
            self.connection.close()
            self.connection = None

    def ask(self, method, target, body=b"", headers=None, stream=False):
        """Sends one request; `stream`: in chunked transfer coding, without a length."""
        headers = dict(headers or {})
        if stream:
            headers["Transfer-Encoding"] = "chunked"
        elif method in ("POST", "PUT", "PATCH"):
            headers["Content-Length"] = str(len(body))
        try:
            if self.connection is None:
                host, port = self.address.rsplit(":", 1)
                self.connection = http.client.HTTPConnection(host, int(port), timeout=ANSWER_SECONDS)
            # No iterator where there is no body: http.client would announce a chunked one, on a GET too.
            sent = pieces(body) if body or stream else None
            self.connection.request(method, target, body=sent, headers=headers, encode_chunked=stream)
            return Answer(self.connection.getresponse())
        except (OSError, http.client.HTTPException) as error:
            self.close()
            raise Gone(repr(error)) from error


def with_query(location, **query):
    """A Location with more query parameters, host dropped: the connection knows where it goes."""
    parts = urllib.parse.urlsplit(location)
    pairs = urllib.parse.parse_qsl(parts.query, keep_blank_values=True) + list(query.items())
    return urllib.parse.urlunsplit(("", "", parts.path, urllib.parse.urlencode(pairs), ""))
