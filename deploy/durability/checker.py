"""What a restarted node says, against what it had promised.

Every key is read through the API as a client would: a blob and a manifest are hashed, a tag must be the
acknowledged digest and hold that manifest. What is deleted, or was never acknowledged and did not
happen, must be a plain 404. The unanswered operation must be there whole or not at all.
"""

import json

from wire import Gone, Wire
from worker import MANIFEST, digest_of

# Read again in each round, of what earlier rounds left, per repository.
SAMPLE_OLDER = 25


class Checker:
    """Checks one worker's repository; collects violations as sentences."""

    def __init__(self, worker, address):
        self.worker = worker
        self.wire = Wire(address)
        self.violations = []
        self.keys_read = self.bytes_read = self.whole = self.absent = self.dropped = 0

    def round(self, rng):
        """The keys of the round, those in doubt, and a sample of the rest."""
        worker = self.worker
        older = sorted(set(worker.state) - worker.touched - set(worker.pending))
        self._check([*sorted(worker.touched), *rng.sample(older, min(SAMPLE_OLDER, len(older)))])
        worker.touched = set()

    def everything(self):
        """All there ever was, and the listings."""
        self._check(sorted(self.worker.state))
        self._guarded(self._referrers)

    def _check(self, keys):
        self._guarded(self._settle_pending)
        for key in keys:
            self._guarded(self._key, key)
        self._guarded(self._tag_list)
        self.wire.close()

    def _guarded(self, check, *args):
        for last in (False, True):
            try:
                return check(*args)
            except Gone as error:
                # A kept-alive connection may be closed between two requests: once more, on a new one.
                self.dropped += 1
                if last:
                    self._violation(f"{check.__name__[1:]} {args}: no answer: {error}")

    def _violation(self, text):
        self.violations.append(f"{self.worker.repository}: {text}")

    def _settle_pending(self):
        """The operation the kill left unanswered: all of it or none of it; from now on it is known."""
        pending, state = self.worker.pending, self.worker.state
        if not pending:
            return
        seen = {key: self._observe(key) for key in pending}
        self.worker.pending = {}
        if all(seen[key] == value for key, value in pending.items()):
            state.update(pending)
            self.whole += 1
        elif all(seen[key] == state.get(key) for key in pending):
            for key in pending:
                state.setdefault(key, None)
            self.absent += 1
        else:
            self._violation(f"half visible: attempted {pending}, before {[state.get(k) for k in pending]}, now {list(seen.values())}")
            state.update({key: value for key, value in seen.items() if value != "wrong"})

    def _key(self, key):
        want, got = self.worker.state[key], self._observe(key)
        if got != want and got != "wrong":
            self._violation(f"{key[0]} {key[1]}: promised {want}, found {got}")

    def _observe(self, key):
        """True or a digest when it is there and true to its name, None when absent, "wrong" when neither."""
        kind, name = key
        part = "blobs" if kind == "blob" else "manifests"
        answer = self.wire.ask("GET", f"/v2/{self.worker.repository}/{part}/{name}", headers={"Accept": MANIFEST})
        self.keys_read += 1
        if answer.status == 404:
            return None
        said = answer.headers.get("Docker-Content-Digest", "") if kind == "tag" else name
        if answer.status != 200 or ":" not in said or digest_of(answer.body, said.split(":")[0]) != said:
            self._violation(f"{kind} {name}: {answer.status}, {len(answer.body)} bytes that are not {said!r}: {answer.body[:120]!r}")
            return "wrong"
        self.bytes_read += len(answer.body)
        return said if kind == "tag" else True

    def _tag_list(self):
        """The list is the tags that are there, no more and no fewer."""
        want, got = self.worker.live("tag"), []
        target = f"/v2/{self.worker.repository}/tags/list"
        while target:
            answer = self.wire.ask("GET", target)
            if answer.status == 404 and not want:
                return
            if answer.status != 200:
                return self._violation(f"tag list: {answer.status} {answer.body[:120]!r}")
            got += json.loads(answer.body)["tags"] or []
            link = answer.headers.get("Link")
            target = link[link.index("<") + 1 : link.index(">")] if link else None
        if sorted(got) != want:
            self._violation(f"tag list: promised {want}, found {got}")

    def _referrers(self):
        """The referrers of every subject are the manifests that are there and name it."""
        subjects = {}
        for name in self.worker.live("manifest"):
            if subject := self.worker.manifests[name][1]:
                subjects.setdefault(subject, set()).add(name)
        for subject, want in sorted(subjects.items()):
            answer = self.wire.ask("GET", f"/v2/{self.worker.repository}/referrers/{subject}")
            got = {entry["digest"] for entry in json.loads(answer.body)["manifests"]} if answer.status == 200 else answer.status
            if got != want:
                self._violation(f"referrers of {subject}: promised {sorted(want)}, found {got}")
