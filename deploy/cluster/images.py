"""Images made of nothing: contents drawn from a seed, pushed and pulled over one connection."""

import dataclasses
import hashlib
import json
import random

from shared import Gone, with_query

MANIFEST = "application/vnd.oci.image.manifest.v1+json"
# Layer sizes in bytes and how often each is drawn: many small ones and a few large, as registries see.
SIZES = [(2_000, 30), (20_000, 30), (200_000, 28), (1_000_000, 9), (4_000_000, 3)]
LAYERS_MAX = 3


class Wrong(Exception):
    """An answer that is not what was asked for."""


@dataclasses.dataclass(frozen=True)
class Blob:
    """What can be pulled by digest."""

    repository: str
    digest: str
    size: int


@dataclasses.dataclass(frozen=True)
class Image:
    """What was acknowledged: a tag, its manifest and the blobs under it."""

    repository: str
    tag: str
    manifest: Blob
    blobs: tuple

    @property
    def parts(self):
        """Everything that lies on disks for it: a manifest is a blob, too."""
        return (*self.blobs, self.manifest)


def digest_of(data):
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def draw(rng):
    """The parts of one new image: a config and some layers, as bytes."""
    sizes, weights = zip(*SIZES)
    layers = [rng.randbytes(max(size - rng.randrange(size // 4), 1)) for size in rng.choices(sizes, weights, k=rng.randrange(1, LAYERS_MAX + 1))]
    return [json.dumps({"salt": rng.getrandbits(128)}).encode(), *layers]


def manifest_of(parts):
    """The manifest over a config and layers."""
    config, *layers = ({"mediaType": "application/octet-stream", "digest": digest_of(part), "size": len(part)} for part in parts)
    return json.dumps({"schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": layers}).encode()


def expect(answer, status, what):
    """The answer, when its status is the one to be."""
    if answer.status != status:
        raise Wrong(f"{what}: {answer.status} {answer.body[:200]!r}")
    return answer


def push_blob(wire, repository, data, whole):
    """One blob as clients push it: in one request (`whole`), or a session, a PATCH and a PUT."""
    digest, uploads = digest_of(data), f"/v2/{repository}/blobs/uploads/"
    if whole:
        expect(wire.ask("POST", with_query(uploads, digest=digest), data), 201, "POST of a blob")
    else:
        session = expect(wire.ask("POST", uploads), 202, "POST of an upload").headers["Location"]
        session = expect(wire.ask("PATCH", with_query(session), data, stream=True), 202, "PATCH of an upload").headers["Location"]
        expect(wire.ask("PUT", with_query(session, digest=digest)), 201, "PUT of an upload")
    return Blob(repository, digest, len(data))


def push(wire, repository, tag, parts, whole=True):
    """A whole image; returns what was acknowledged."""
    blobs = tuple(push_blob(wire, repository, part, whole) for part in parts)
    body = manifest_of(parts)
    expect(wire.ask("PUT", f"/v2/{repository}/manifests/{tag}", body, {"Content-Type": MANIFEST}), 201, "PUT of a manifest")
    return Image(repository, tag, Blob(repository, digest_of(body), len(body)), blobs)


def pull_blob(wire, blob):
    """The blob, hashed; returns its bytes' number."""
    answer = expect(wire.ask("GET", f"/v2/{blob.repository}/blobs/{blob.digest}"), 200, "GET of a blob")
    if digest_of(answer.body) != blob.digest:
        raise Wrong(f"{blob.digest}: other bytes ({len(answer.body)} of {blob.size})")
    return len(answer.body)


def pull_tag(wire, image):
    """The manifest by tag; returns its bytes' number."""
    answer = expect(wire.ask("GET", f"/v2/{image.repository}/manifests/{image.tag}", headers={"Accept": MANIFEST}), 200, "GET of a tag")
    if digest_of(answer.body) != image.manifest.digest:
        raise Wrong(f"{image.repository}:{image.tag}: not the manifest that was acknowledged")
    return len(answer.body)


def read_back(wire, image):
    """Everything of an image through one node; sentences about what is wrong."""
    wrong = []
    for blob in image.blobs:
        try:
            pull_blob(wire, blob)
        except (Wrong, Gone) as error:
            wrong.append(f"{wire.address}: {blob}: {error}")
    try:
        pull_tag(wire, image)
    except (Wrong, Gone) as error:
        wrong.append(f"{wire.address}: {image.repository}:{image.tag}: {error}")
    return wrong


def preload(wires, count, seed):
    """`count` images, pushed through the nodes in turn."""
    rng = random.Random(f"{seed}/preload")
    return [push(wires[index % len(wires)], f"load/r{index % 16}", f"p{index}", draw(rng), whole=index % 2 == 0) for index in range(count)]
