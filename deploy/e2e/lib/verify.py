#!/usr/bin/env python3
"""Checks that a pulled image is the pushed one, byte for byte.

    verify.py FIXTURE OUT [exact]

OUT holds what a client wrote: an OCI layout (`oci-layout`) or `image.tar` (an OCI or docker
archive). Names are not believed: every blob is hashed, every layer uncompressed and hashed again.
A client that stores layers unpacked compresses anew, so the measure is each layer's uncompressed
bytes; with `exact` also the stored bytes: manifest, config and layers are the very ones pushed.
"""

import gzip
import hashlib
import json
import os
import sys
import tarfile


class Wrong(Exception):
    """What differs, in words for the table."""


class Folder:
    """An OCI layout on disk."""

    def __init__(self, root):
        self.root = root

    def names(self):
        return [os.path.relpath(os.path.join(d, f), self.root) for d, _, fs in os.walk(self.root) for f in fs]

    def read(self, name):
        with open(os.path.join(self.root, name), "rb") as file:
            return file.read()


class Archive:
    """The same inside a tar; docker's may hold a layer as a link to another one."""

    def __init__(self, path):
        self.tar = tarfile.open(path)

    def names(self):
        return [os.path.normpath(n) for n in self.tar.getnames()]

    def read(self, name):
        for member in self.tar.getmembers():
            if os.path.normpath(member.name) == os.path.normpath(name):
                file = self.tar.extractfile(member)
                if file is not None:
                    return file.read()
        raise Wrong(f"{name} is missing from the archive")


def digest(data):
    return "sha256:" + hashlib.sha256(data).hexdigest()


def unpacked(data):
    return gzip.decompress(data) if data[:2] == b"\x1f\x8b" else data


def blob(source, descriptor):
    """The bytes a descriptor names, if they are what it says."""
    data = source.read("blobs/" + descriptor["digest"].replace(":", "/"))
    if digest(data) != descriptor["digest"] or len(data) != descriptor["size"]:
        raise Wrong(f"{descriptor['digest']} does not hold its own bytes")
    return data


def oci_image(source):
    """(manifest digest, config bytes, layers' bytes) of the only image of a layout."""
    entries = json.loads(source.read("index.json"))["manifests"]
    while True:
        if len({e["digest"] for e in entries}) != 1:
            raise Wrong(f"one image expected, {len(entries)} found")
        manifest = json.loads(blob(source, entries[0]))
        if "config" in manifest:
            return entries[0]["digest"], blob(source, manifest["config"]), [blob(source, d) for d in manifest["layers"]]
        entries = manifest["manifests"]


def docker_image(source):
    """The same of a docker archive, which has no manifest digest."""
    (entry,) = json.loads(source.read("manifest.json"))
    return None, source.read(entry["Config"]), [source.read(name) for name in entry["Layers"]]


def check(fixture, out, exact):
    with open(os.path.join(fixture, "image.json"), encoding="utf-8") as file:
        want = json.load(file)
    source = Folder(out) if os.path.exists(os.path.join(out, "oci-layout")) else Archive(os.path.join(out, "image.tar"))
    oci = "index.json" in source.names() and (exact or "manifest.json" not in source.names())
    manifest, config, layers = oci_image(source) if oci else docker_image(source)
    got = [digest(unpacked(layer)) for layer in layers]
    if got != want["diff_ids"]:
        raise Wrong(f"layers differ: {got} instead of {want['diff_ids']}")
    if json.loads(config)["rootfs"]["diff_ids"] != want["diff_ids"]:
        raise Wrong("the config names other layers")
    if exact and (manifest, digest(config), [digest(layer) for layer in layers]) != (want["manifest"], want["config"], want["layers"]):
        raise Wrong("the stored bytes are not the pushed ones")
    return f"{len(layers)} layers, {sum(map(len, layers))} bytes{', exact' if exact else ''}"


if __name__ == "__main__":
    try:
        print(check(sys.argv[1], sys.argv[2], "exact" in sys.argv[3:]))
    except (Wrong, OSError, KeyError, ValueError, tarfile.TarError) as error:
        sys.exit(f"verify: {error}")
