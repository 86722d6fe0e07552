"""What every case must get, whatever else it expects.

1. An error that has a body has `{"errors": [{code, message, detail}]}` with a known code, as
   application/json.
2. The process is the same one, its memory grew by less than 32 MiB over the family, and it
   answered within a second (a case may declare that it takes longer).
3. An image pushed before is pulled byte for byte as it was.
4. No file appeared outside the data directory, and inside it only names of the known layout.
5. The message says something, and no internal path.
"""

import json
import os
import re

OCI_CODES = """
BLOB_UNKNOWN BLOB_UPLOAD_INVALID BLOB_UPLOAD_UNKNOWN DIGEST_INVALID MANIFEST_BLOB_UNKNOWN
MANIFEST_INVALID MANIFEST_UNKNOWN NAME_INVALID NAME_UNKNOWN SIZE_INVALID UNAUTHORIZED DENIED
UNSUPPORTED TOOMANYREQUESTS
""".split()
DE_FACTO_CODES = "UNKNOWN UNAVAILABLE RANGE_INVALID TAG_INVALID PAGINATION_NUMBER_INVALID".split()
CODES = frozenset(OCI_CODES + DE_FACTO_CODES)

REPLY_SECONDS_MAX = 1.0
GROWTH_BYTES_MAX = 32 << 20

UUID = r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}"
# Paths inside Atoll's data directory; `node<k>/` is the home of a node of `atolld dev`.
LAYOUT = re.compile(
    r"""node\d+(/data)?|(node\d+/)?(data/)?(
        dev\.json | atolld\.toml | [a-z0-9_-]+\.log | log | data | lock | LOCK
      | uploads(/UUID(/data)?)? | sessions(/UUID(\.tmp|\.new)?)?
      | blobs(/sha(256|512)(/[0-9a-f]{2}(/([0-9a-f]{64}|[0-9a-f]{128})(/data)?)?)?)?
      | node-id | join-token | scrub-cursor
      | (hints | outbox)(/\d+-sha(256|512)-([0-9a-f]{64}|[0-9a-f]{128}))?
      | tls(/[a-z-]+\.pem)?
      | quarantine(/sha(256|512))?(/sha(256|512)-([0-9a-f]{64}|[0-9a-f]{128})-\d+)?(/data)?
      | metadata(/[A-Za-z0-9._-]+){0,3} | [a-z_-]+\.(toml|redb|json)
    )?/?""".replace("UUID", UUID),
    re.VERBOSE,
)


def error_complaint(answer, secrets):
    """What is wrong with an answer as such; None when nothing is."""
    text = answer.body.decode("utf-8", "replace")
    for secret in secrets:
        if secret in text:
            return f"the answer shows {secret!r}"
    if answer.status < 400 or not answer.body:
        return None
    kind = (answer.header("content-type") or "").split(";")[0].strip()
    if kind != "application/json":
        return f"an error with Content-Type {kind!r}: {text[:80]!r}"
    try:
        errors = json.loads(text)["errors"]
        if not isinstance(errors, list) or not errors:
            return f"`errors` is empty: {text[:80]}"
        return next(filter(None, map(entry_complaint, errors)), None)
    except (ValueError, KeyError, TypeError):
        return f"an error that is not the OCI error JSON: {text[:80]!r}"


def entry_complaint(entry):
    missing = {"code", "message", "detail"} - entry.keys()
    if missing:
        return f"an error without {sorted(missing)}: {entry}"
    if entry["code"] not in CODES:
        return f"unknown error code {entry['code']!r}"
    if not isinstance(entry["message"], str) or not entry["message"].strip():
        return "an empty error message"
    return None


def codes(answer):
    """Error codes of an answer; empty when it has no error body."""
    try:
        return [entry["code"] for entry in json.loads(answer.body)["errors"]]
    except (ValueError, KeyError, TypeError):
        return []


class Files:
    """Where files may be, and which are there already."""

    def __init__(self, home, data, layout=LAYOUT):
        self.home, self.data, self.layout = home, data, layout
        self.before = self._outside()

    def _outside(self):
        found = {f"/{name}" for name in os.listdir("/")}
        for folder, folders, files in os.walk(self.home):
            if os.path.abspath(folder) == os.path.abspath(self.data):
                folders.clear()
                continue
            found.update(os.path.join(folder, name) for name in folders + files)
        return found

    def complaint(self):
        if new := sorted(self._outside() - self.before):
            return f"files outside the data directory: {new[:3]}"
        if self.layout is None:
            return None
        for folder, folders, files in os.walk(self.data):
            for name in folders + files:
                path = os.path.relpath(os.path.join(folder, name), self.data)
                if not self.layout.fullmatch(path):
                    return f"a file that is not of the known layout: {path!r}"
        return None
