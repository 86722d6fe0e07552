"""One writer and what it knows: the load on one repository, and the state the node has promised.

A repository has one writer, so what must be there is a plain map: key -> value, the last acknowledged
one. At most one operation is unanswered when the node dies; its changes are `pending`, and the rule for
them is all or nothing. Keys: ("blob", digest) and ("manifest", digest) -> True or None,
("tag", name) -> digest or None. A key that was deleted stays in the map as None: it must stay away.
"""

import collections
import hashlib
import json
import random
import time

from wire import Gone, Wire, with_query

MANIFEST = "application/vnd.oci.image.manifest.v1+json"
# Sizes in bytes and how often each is drawn: edges of buffers, and enough large ones to be cut in half.
SIZES = [(0, 1), (1, 1), (900, 20), (4096, 10), (65_537, 25), (300_000, 15), (1 << 20, 10), (2_500_000, 5), (6_000_000, 2)]
TAGS_PER_REPOSITORY = 12
# Contents every writer may push, so that one blob comes from many sides at once.
SHARED_CONTENTS = 24
# Operations and how often each is drawn.
OPERATIONS = [
    ("push_blob", 50), ("push_shared", 8), ("mount", 5), ("push_manifest", 20), ("move_tag", 10),
    ("push_with_tags", 6), ("delete_tag", 5), ("delete_manifest", 3), ("delete_blob", 6),
]


class Refused(Exception):
    """An answer the node has no reason to give."""


def draw(rng, weighted):
    return rng.choices([item for item, _ in weighted], [weight for _, weight in weighted])[0]


def digest_of(data, algorithm="sha256"):
    return f"{algorithm}:{hashlib.new(algorithm, data).hexdigest()}"


class Worker:
    """The writer of repository `kill9/w<index>`."""

    def __init__(self, seed, index, address):
        self.seed, self.index = seed, index
        self.repository = f"kill9/w{index}"
        self.wire = Wire(address)
        self.rng = random.Random(f"{seed}/{index}")
        self.state = {}
        self.pending = {}
        self.touched = set()
        self.sizes = {}  # digest -> bytes
        self.manifests = {}  # digest -> (digests it refers to, subject or None, body)
        self.mountable = []  # digests others may try to mount; only ever grows
        self.open_upload = None  # (location, digest, data) of a chunked upload that was cut
        self.acknowledged = collections.Counter()
        self.bytes_acknowledged = 0
        self.peers = []

    # -- the load of one round ------------------------------------------------------------------

    def run(self, stop, byte_budget):
        """Operations until `stop` is set, the node is gone, or the bytes of the round are spent."""
        ends_at = self.bytes_acknowledged + byte_budget
        self.open_upload = None
        try:
            while not stop.is_set() and self.bytes_acknowledged < ends_at:
                getattr(self, draw(self.rng, OPERATIONS))()
            while not stop.is_set():  # the budget is spent: tags keep moving until the kill
                self.move_tag() or time.sleep(0.01)
        except Gone:
            pass
        finally:
            self.wire.close()

    def attempt(self, kind, changes, expected, send):
        """One operation: pending while unanswered, state once acknowledged."""
        self.pending = changes
        answer = send()
        if answer.status not in expected:
            raise Refused(f"{self.repository}: {kind}: {answer.status} {answer.body[:200]!r}")
        self.pending = {}
        self.state.update(changes)
        self.touched.update(changes)
        self.acknowledged[kind] += 1
        return answer

    def live(self, kind):
        """What of this kind must be there, in a fixed order."""
        return sorted(name for (k, name), value in self.state.items() if k == kind and value)

    # -- blobs ----------------------------------------------------------------------------------

    def push_blob(self):
        size = draw(self.rng, SIZES)
        self.send_blob(self.rng.randbytes(max(size - self.rng.randrange(50), 0) if size > 100 else size))

    def push_shared(self):
        which = self.rng.randrange(SHARED_CONTENTS)
        content = random.Random(f"{self.seed}/shared/{which}")
        self.send_blob(content.randbytes(content.randrange(1, 400_000)))

    def send_blob(self, data):
        digest = digest_of(data, self.rng.choices(["sha256", "sha512"], [9, 1])[0])
        self.sizes[digest] = len(data)
        way = self.rng.choice([self.by_put, self.by_put, self.by_post, self.by_stream, self.by_chunks, self.by_chunks_last_in_put])
        self.attempt("blob", {("blob", digest): True}, {201}, lambda: way(digest, data))
        self.bytes_acknowledged += len(data)
        self.open_upload = None
        self.mountable.append(digest)

    def uploads(self):
        return f"/v2/{self.repository}/blobs/uploads/"

    def open_session(self):
        answer = self.wire.ask("POST", self.uploads())
        if answer.status != 202:
            raise Refused(f"{self.repository}: open upload: {answer.status} {answer.body[:200]!r}")
        return answer.headers["Location"]

    def by_post(self, digest, data):
        return self.wire.ask("POST", with_query(self.uploads(), digest=digest), data)

    def by_put(self, digest, data):
        return self.wire.ask("PUT", with_query(self.open_session(), digest=digest), data)

    def by_stream(self, digest, data):
        answer = self.wire.ask("PATCH", with_query(self.open_session()), data, stream=True)
        if answer.status != 202:
            return answer
        return self.wire.ask("PUT", with_query(answer.headers["Location"], digest=digest))

    def by_chunks(self, digest, data, last_in_put=False, location=None, offset=0):
        location = location or self.open_session()
        step = max(self.rng.randrange(len(data) // 5 + 1, len(data) + 2), 1)
        while offset < len(data):
            # Kept so that the next round can ask the node how much of it survived, and go on.
            self.open_upload = (location, digest, data)
            chunk = data[offset : offset + step]
            if last_in_put and offset + len(chunk) == len(data):
                return self.wire.ask("PUT", with_query(location, digest=digest), chunk, self.content_range(offset, chunk))
            answer = self.wire.ask("PATCH", with_query(location), chunk, self.content_range(offset, chunk))
            if answer.status != 202:
                return answer
            location, offset = answer.headers["Location"], offset + len(chunk)
        return self.wire.ask("PUT", with_query(location, digest=digest))

    def by_chunks_last_in_put(self, digest, data):
        return self.by_chunks(digest, data, last_in_put=True)

    @staticmethod
    def content_range(offset, chunk):
        return {"Content-Range": f"{offset}-{offset + len(chunk) - 1}", "Content-Type": "application/octet-stream"}

    def resume(self):
        """After a restart: goes on with the upload the kill cut, from where the node says it is.

        A session may be forgotten (404); a session that is there must be true about its offset, else
        the digest of the whole cannot come out right. Returns what happened, for the figures.
        """
        if not self.open_upload:
            return None
        location, digest, data = self.open_upload
        self.open_upload = None
        answer = self.wire.ask("GET", with_query(location))
        if answer.status == 404:
            return "found finished" if self.state.get(("blob", digest)) else "forgotten"
        held = answer.headers.get("Range", "")
        if answer.status != 204 or not held.startswith("0-"):
            raise Refused(f"{self.repository}: upload status: {answer.status} Range {held!r}")
        # `0-0` stands for nothing and for one byte alike: a session at its very start begins anew.
        if held == "0-0":
            self.wire.ask("DELETE", with_query(location))
            return "empty"
        offset = int(held[2:]) + 1
        if offset > len(data):
            raise Refused(f"{self.repository}: upload holds {offset} of the {len(data)} bytes it was sent")
        location = answer.headers.get("Location", location)
        self.attempt("blob", {("blob", digest): True}, {201}, lambda: self.by_chunks(digest, data, location=location, offset=offset))
        self.open_upload = None
        return "resumed"

    def mount(self):
        other = self.rng.choice(self.peers)
        if not other.mountable:
            return
        digest = self.rng.choice(other.mountable)
        target = with_query(self.uploads(), mount=digest, **{"from": other.repository})
        had = self.state.get(("blob", digest))
        self.sizes[digest] = other.sizes[digest]  # even unanswered it may turn out to be here
        self.pending = {("blob", digest): True}
        answer = self.wire.ask("POST", target)
        self.pending = {}
        if answer.status == 202:  # the other writer deleted it meanwhile: an upload was opened instead
            self.wire.ask("DELETE", with_query(answer.headers["Location"]))
            self.state.setdefault(("blob", digest), had)
        elif answer.status == 201:
            self.state[("blob", digest)] = True
            self.touched.add(("blob", digest))
            self.acknowledged["mount"] += 1
        else:
            raise Refused(f"{self.repository}: mount: {answer.status} {answer.body[:200]!r}")

    def delete_blob(self):
        used = {digest for name in self.live("manifest") for digest in self.manifests[name][0]}
        free = [digest for digest in self.live("blob") if digest not in used]
        if free:
            digest = self.rng.choice(free)
            target = f"/v2/{self.repository}/blobs/{digest}"
            self.attempt("blob delete", {("blob", digest): None}, {202}, lambda: self.wire.ask("DELETE", target))

    # -- manifests and tags ---------------------------------------------------------------------

    def new_manifest(self):
        """A manifest over blobs that are there; every third has a subject that is there."""
        blobs = self.live("blob")
        if not blobs:
            return None
        config, *layers = [self.rng.choice(blobs) for _ in range(self.rng.randrange(1, 5))]
        subjects = self.live("manifest")
        subject = self.rng.choice(subjects) if subjects and self.rng.randrange(3) == 0 else None
        manifest = {
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": {"mediaType": "application/vnd.atoll.kill9", "digest": config, "size": self.sizes[config]},
            "layers": [{"mediaType": "application/octet-stream", "digest": d, "size": self.sizes[d]} for d in layers],
            "annotations": {"salt": str(self.rng.getrandbits(64))},
        }
        if subject:
            manifest["subject"] = {"mediaType": MANIFEST, "digest": subject, "size": len(self.manifests[subject][2])}
        body = json.dumps(manifest).encode()
        digest = digest_of(body)
        self.manifests[digest] = ({config, *layers}, subject, body)
        return digest

    def put_manifest(self, kind, digest, reference, tags):
        body = self.manifests[digest][2]
        changes = {("manifest", digest): True, **{("tag", tag): digest for tag in tags}}
        target = f"/v2/{self.repository}/manifests/{reference}"
        self.attempt(kind, changes, {201}, lambda: self.wire.ask("PUT", target, body, {"Content-Type": MANIFEST}))

    def any_tag(self):
        return f"t{self.rng.randrange(TAGS_PER_REPOSITORY)}"

    def push_manifest(self):
        if digest := self.new_manifest():
            tags = [self.any_tag()] if self.rng.randrange(4) else []
            self.put_manifest("manifest", digest, tags[0] if tags else digest, tags)

    def push_with_tags(self):
        if digest := self.new_manifest():
            tags = sorted({self.any_tag() for _ in range(4)})
            self.put_manifest("manifest with tags", digest, digest + "?" + "&".join(f"tag={tag}" for tag in tags), tags)

    def move_tag(self):
        if manifests := self.live("manifest"):
            tag = self.any_tag()
            self.put_manifest("tag", self.rng.choice(manifests), tag, [tag])
            return True
        return False

    def delete_tag(self):
        if tags := self.live("tag"):
            tag = self.rng.choice(tags)
            target = f"/v2/{self.repository}/manifests/{tag}"
            self.attempt("tag delete", {("tag", tag): None}, {202}, lambda: self.wire.ask("DELETE", target))

    def delete_manifest(self):
        if manifests := self.live("manifest"):
            digest = self.rng.choice(manifests)
            gone = {("tag", tag): None for tag in self.live("tag") if self.state[("tag", tag)] == digest}
            target = f"/v2/{self.repository}/manifests/{digest}"
            self.attempt("manifest delete", {("manifest", digest): None, **gone}, {202}, lambda: self.wire.ask("DELETE", target))
