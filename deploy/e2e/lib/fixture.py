#!/usr/bin/env python3
"""Builds what the clients push: images from scratch, every byte made here.

    fixture.py DIR          writes DIR/small, DIR/large and DIR/chart

An image stands as an OCI layout (`layout/`, `layout.tar`) and as a docker archive (`docker.tar`),
both holding the same layers, and `image.json` says what every copy of it must have: the digest of
the manifest and of each layer as stored, and of each layer's uncompressed tar (its diff id).
Layers differ on purpose: text that compresses, random bytes that do not, names that are awkward,
one stored uncompressed; `large` adds one layer of more than 64 MiB.
"""

import gzip
import hashlib
import io
import json
import os
import platform
import sys
import tarfile

MANIFEST = "application/vnd.oci.image.manifest.v1+json"
CONFIG = "application/vnd.oci.image.config.v1+json"
LAYER = "application/vnd.oci.image.layer.v1.tar"
INDEX = "application/vnd.oci.image.index.v1+json"
LARGE_LAYER_BYTES = (64 << 20) + 12345
ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}


def digest(data):
    return "sha256:" + hashlib.sha256(data).hexdigest()


def tar_of(files):
    """One layer: {path: bytes} as a tar with fixed times and owners."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for path, data in files.items():
            info = tarfile.TarInfo(path)
            info.size, info.mode, info.mtime = len(data), 0o644, 1_700_000_000
            tar.addfile(info, io.BytesIO(data))
    return out.getvalue()


def layers(large):
    """The layers as (uncompressed tar, stored compressed?)."""
    text = b"".join(b"line %d of a text that compresses well\n" % n for n in range(60_000))
    made = [
        (tar_of({"etc/motd": text, "etc/empty": b"", "app/run": b"#!/bin/sh\nexit 0\n"}), True),
        (tar_of({"data/random.bin": os.urandom(3 << 20), "data/zeros.bin": bytes(1 << 20)}), True),
        (tar_of({"names/caf\u00e9 \u2603.txt": os.urandom(777), "names/" + "d/" * 60 + "deep": b"deep"}), False),
    ]
    if large:
        made.append((tar_of({"data/large.bin": os.urandom(LARGE_LAYER_BYTES)}), True))
    return made


def write(path, data):
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "wb") as out:
        out.write(data)


def blob(root, data, media_type):
    """Stores data in a layout and returns its descriptor."""
    name = digest(data)
    write(os.path.join(root, "blobs", *name.split(":")), data)
    return {"mediaType": media_type, "digest": name, "size": len(data)}


def image(root, large):
    """Writes one image in all its forms."""
    made = layers(large)
    diff_ids = [digest(tar) for tar, _ in made]
    config = {
        "architecture": ARCHITECTURES.get(platform.machine(), "amd64"),
        "os": "linux",
        "config": {"Cmd": ["/app/run"], "Labels": {"run": os.urandom(8).hex()}},
        "rootfs": {"type": "layers", "diff_ids": diff_ids},
        "history": [{"created_by": f"layer {n}"} for n in range(len(made))],
    }
    config = json.dumps(config).encode()
    layout = os.path.join(root, "layout")
    stored = [
        blob(layout, gzip.compress(tar, 1, mtime=0), LAYER + "+gzip") if packed else blob(layout, tar, LAYER)
        for tar, packed in made
    ]
    manifest = json.dumps(
        {"schemaVersion": 2, "mediaType": MANIFEST, "config": blob(layout, config, CONFIG), "layers": stored}
    ).encode()
    top = blob(layout, manifest, MANIFEST)
    # Under both names by which tools find an image in an archive.
    top["annotations"] = {"org.opencontainers.image.ref.name": "v1", "io.containerd.image.name": "fixture.local/image:v1"}
    write(os.path.join(layout, "oci-layout"), b'{"imageLayoutVersion":"1.0.0"}')
    write(os.path.join(layout, "index.json"), json.dumps({"schemaVersion": 2, "mediaType": INDEX, "manifests": [top]}).encode())
    with tarfile.open(os.path.join(root, "layout.tar"), "w") as tar:
        for name in sorted(os.listdir(layout)):
            tar.add(os.path.join(layout, name), name)
    docker_archive(os.path.join(root, "docker.tar"), config, [tar for tar, _ in made])
    facts = {"manifest": top["digest"], "config": digest(config), "layers": [d["digest"] for d in stored], "diff_ids": diff_ids}
    write(os.path.join(root, "image.json"), json.dumps(facts, indent=1).encode())


def docker_archive(path, config, tars):
    """The form `docker load` reads."""
    names = [f"layer{n}/layer.tar" for n in range(len(tars))]
    manifest = [{"Config": "config.json", "RepoTags": ["fixture.local/image:v1"], "Layers": names}]
    with tarfile.open(path, "w") as out:
        for name, data in [("config.json", config), *zip(names, tars), ("manifest.json", json.dumps(manifest).encode())]:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            out.addfile(info, io.BytesIO(data))


def chart(root):
    """A chart that renders, with a file that is not text."""
    write(os.path.join(root, "Chart.yaml"), b"apiVersion: v2\nname: fixture\nversion: 1.2.3\ndescription: made on the spot\n")
    write(os.path.join(root, "values.yaml"), b"salt: " + os.urandom(16).hex().encode() + b"\n")
    write(os.path.join(root, "templates", "map.yaml"), b"apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: fixture\ndata:\n  salt: {{ .Values.salt | quote }}\n")
    write(os.path.join(root, "files", "random.bin"), os.urandom(200_000))


if __name__ == "__main__":
    where = sys.argv[1]
    image(os.path.join(where, "small"), large=False)
    image(os.path.join(where, "large"), large=True)
    chart(os.path.join(where, "chart", "fixture"))
