"""The copies as they lie on the nodes' disks: what no answer of a node can embellish."""

import hashlib
import os


def path_of(data, digest):
    """A blob's file: its content, then a trailer with checksums."""
    algorithm, hexadecimal = digest.split(":")
    return os.path.join(data, "blobs", algorithm, hexadecimal[:2], hexadecimal, "data")


def has(member, digest, size):
    """Is a whole and true copy on the node's disk?"""
    try:
        with open(path_of(member.data, digest), "rb") as file:
            content = file.read(size)
    except FileNotFoundError:
        return False
    return hashlib.new(digest.split(":")[0], content).hexdigest() == digest.split(":")[1]


def holders(members, blob):
    """The nodes with a true copy."""
    return [member for member in members if has(member, blob.digest, blob.size)]


def names(member):
    """Digests of all blobs the node has files of."""
    found, root = set(), os.path.join(member.data, "blobs")
    for algorithm in os.listdir(root) if os.path.isdir(root) else ():
        for shard in os.listdir(os.path.join(root, algorithm)):
            found.update(f"{algorithm}:{name}" for name in os.listdir(os.path.join(root, algorithm, shard)))
    return found
