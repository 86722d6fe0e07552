#!/usr/bin/env python3
"""Reference vectors of the paper's ring, made without any code of Atoll.

Every node has 50 pseudo identities: the first is SHA-256 of "host:port", each next one SHA-256 of
the 32 bytes before. A digest belongs to the node of the first identity at or after it on the circle
of 256-bit numbers (Algorithm 1); its replicas are the next distinct nodes clockwise (Algorithm 2).

    python3 paper_ring.py > paper_ring.tsv
"""
from hashlib import sha256

SETS = {
    "six": [f"node{k}:5000" for k in range(1, 7)],
    "lan": [f"10.0.0.{k}:5000" for k in (3, 7, 8, 21)],
    "one": ["registry.example:443"],
}


def identities(name, count=50):
    identity = sha256(name.encode()).digest()
    for _ in range(count):
        yield int.from_bytes(identity, "big")
        identity = sha256(identity).digest()


def owners(names, key, copies=3):
    ring = sorted((identity, name) for name in names for identity in identities(name))
    # A plain scan: the first at or after the key, or else the first of all.
    start = next((at for at, (identity, _) in enumerate(ring) if identity >= key), 0)
    found = []
    for step in range(len(ring)):
        name = ring[(start + step) % len(ring)][1]
        if name not in found:
            found.append(name)
    return found[:copies]


for label, names in SETS.items():
    for name in names:
        ids = list(identities(name))
        for k in (0, 1, 2, 49):
            print("identity", name, k, f"{ids[k]:064x}", sep="\t")
    everything = sorted(identity for name in names for identity in identities(name))
    keys = [int.from_bytes(sha256(f"blob {k}".encode()).digest(), "big") for k in range(60)]
    # The ends of the circle, and places exactly at, before and after an identity.
    keys += [0, 2**256 - 1, everything[0], everything[-1], everything[-1] + 1]
    keys += [everything[9] - 1, everything[9], everything[9] + 1]
    for key in keys:
        print("owners", label, f"{key:064x}", ",".join(owners(names, key)), sep="\t")
