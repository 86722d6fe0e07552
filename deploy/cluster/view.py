"""A client's own reading of the view: who is there, and who owns a digest.

Written from the description of the ring, not from the node's code: a digest's first owner is the node
of the first pseudo identity at or after it, its further owners are the next distinct nodes clockwise.
That the node says the same is part of what the scripts check.
"""

import bisect

CIRCLE = 1 << 256


class View:
    """`GET /v2/_atoll/view`, with owners when it was asked for with `?ring=1`."""

    def __init__(self, raw):
        self.raw = raw
        self.epoch = raw["epoch"]
        self.replicas = raw.get("replicas", 3)
        self.open = raw.get("open", 0)
        self.members = {int(each["id"]): Member(each) for each in raw["members"]}
        ring = raw.get("ring") or {}
        self.positions, self.owners = None, [int(owner) for owner in ring.get("owners", [])]
        if "identities" in ring:
            pairs = sorted((int(position, 16), int(owner)) for position, owner in ring["identities"])
            self.positions, self.owners = [at for at, _ in pairs], [owner for _, owner in pairs]

    def __str__(self):
        states = ", ".join(f"{number} {each.state}" for number, each in sorted(self.members.items()))
        return f"epoch {self.epoch}, {self.open} open, members {states}"

    def serving(self):
        """Addresses of the nodes that are up and in the ring."""
        return {each.http for each in self.members.values() if each.state == "up" and each.in_ring}

    def point(self, digest):
        """Index of the first pseudo identity at or after the digest."""
        at = int(digest.split(":")[1][:64], 16)
        if self.positions is not None:
            return bisect.bisect_left(self.positions, at) % len(self.positions)
        return -(-at * len(self.owners) // CIRCLE) % len(self.owners)

    def walk(self, digest, admits=lambda number: True):
        """The first R distinct nodes clockwise that `admits` lets pass."""
        first, found = self.point(digest), []
        wanted = min(self.replicas, len(set(self.owners)))
        for step in range(len(self.owners)):
            owner = self.owners[(first + step) % len(self.owners)]
            if owner not in found and admits(owner):
                found.append(owner)
                if len(found) == wanted:
                    break
        return found

    def placement(self, digest):
        """Where its copies belong, the master first."""
        return self.walk(digest)

    def acting(self, digest):
        """Who answers for it now: addresses, the master first."""
        up = {number for number, each in self.members.items() if each.state != "down"}
        return [self.members[number].http for number in self.walk(digest, up.__contains__)]


class Member:
    """One line of the view."""

    def __init__(self, raw):
        self.number, self.state = int(raw["id"]), str(raw["state"]).lower()
        self.http = raw["http"].split("://")[-1]
        self.name, self.incarnation, self.in_ring = raw.get("name"), raw.get("incarnation"), raw.get("in_ring", True)
