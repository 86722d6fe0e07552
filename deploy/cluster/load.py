"""Clients that push and pull at a steady pace, in processes of their own.

Each client has its times fixed before it starts: what a stall delays counts with its whole delay, so
that a node which hangs for a second shows as a second of latency, not as one slow request. A *plain*
client knows the members and asks any of them; an *aware* one computes the owners of the digest from the
view and asks one of those. Either goes on to another node when one fails it: that is one operation; but
every failure is noted with the node it came from, and judged by whoever knows which node was dead.
"""

import collections
import dataclasses
import multiprocessing
import random
import threading
import time

import images
from cluster import Refused, ask
from shared import Gone, Wire
from view import View

# How often a client looks at the view by itself; it also does when a request fails.
REFRESH_SECONDS = 0.5
# Nodes one operation tries before it has failed.
TRIES = 4
# One pull in this many is of a tag, the others are of blobs by digest.
PULLS_PER_TAG = 5
# Of the images a process pushed itself, pulls prefer the newest this often: read right after the write.
FRESH_CHANCE = 0.3


@dataclasses.dataclass
class Done:
    """One operation: when it was due and when it was done (monotonic), what came of it."""

    due: float
    end: float
    kind: str
    ok: bool
    size: int
    tries: int

    @property
    def seconds(self):
        return self.end - self.due


@dataclasses.dataclass
class Failure:
    """A request that one node did not serve."""

    at: float
    kind: str
    address: str
    text: str


class Directory:
    """What the clients of one process know of the cluster."""

    def __init__(self, addresses):
        self.known = list(addresses)
        self.live = list(addresses)
        self.view = None
        self.looked = 0.0
        self.lock = threading.Lock()

    def refresh(self, avoid=None):
        """Asks any node it knows, another one than `avoid`; one question at a time."""
        with self.lock:
            if avoid is None and time.monotonic() - self.looked < REFRESH_SECONDS:
                return
            self.looked = time.monotonic()
            for address in random.sample(self.known, len(self.known)):
                if address == avoid:
                    continue
                try:
                    live = ask(address, "/v2/registries", seconds=1)["Registries"]
                    if self.view is None or ask(address, "/v2/_atoll/view", seconds=1)["epoch"] > self.view.epoch:
                        self.view = View(ask(address, "/v2/_atoll/view?ring=1", seconds=2))
                except (OSError, Refused, ValueError):
                    continue
                self.live = live or self.live
                self.known = sorted({*self.known, *live})
                return

    def anyone(self, rng, tried):
        """A live node that was not tried yet, else any."""
        return rng.choice([each for each in self.live if each not in tried] or self.live)

    def owner(self, digest, rng, tried, master=False):
        """An owner that was not tried yet, else any live node."""
        owners = [each for each in self.view.acting(digest) if each not in tried] if self.view else []
        if not owners:
            return self.anyone(rng, tried)
        return owners[0] if master else rng.choice(owners)


class Client(threading.Thread):
    """One client with its own connections."""

    def __init__(self, job, index, kind, interval):
        super().__init__(daemon=True)
        self.job, self.kind, self.interval = job, kind, interval
        self.rng = random.Random(f"{job.seed}/{kind}/{job.number}/{index}")
        self.tag = f"c{job.number}-{index}"
        self.wires = {}
        self.done, self.failures, self.pushed = [], [], []

    def run(self):
        due = time.monotonic() + self.rng.random() * self.interval
        count = 0
        while not self.job.stop.is_set():
            time.sleep(max(due - time.monotonic(), 0))
            self.job.directory.refresh()
            self.push(due, count) if self.kind == "push" else self.pull(due)
            count += 1
            due += self.interval

    def wire(self, address):
        """The kept connection to a node; those to nodes that are gone are dropped."""
        live = self.job.directory.live
        for gone in [each for each in self.wires if each not in live]:
            self.wires.pop(gone).close()
        return self.wires.setdefault(address, Wire(address))

    def attempt(self, due, kind, pick, task):
        """Tries `task` at one node after another."""
        tried, size, ok = [], 0, False
        while not ok and len(tried) < TRIES:
            address = pick(tried)
            tried.append(address)
            try:
                result = task(self.wire(address))
                size, ok = result if isinstance(result, int) else sum(blob.size for blob in result.blobs), True
            except (Gone, images.Wrong) as error:
                self.failures.append(Failure(time.monotonic(), kind, address, str(error)))
                self.job.directory.refresh(avoid=address)
        self.done.append(Done(due, time.monotonic(), kind, ok, size, len(tried)))
        return result if ok else None

    def pull(self, due):
        image = self.choose()
        directory = self.job.directory
        if self.rng.randrange(PULLS_PER_TAG) == 0:
            self.attempt(due, f"{self.kind} tag", lambda tried: directory.anyone(self.rng, tried), lambda wire: images.pull_tag(wire, image))
            return
        blob = self.rng.choice(image.blobs)
        aware = self.kind == "aware"
        pick = (lambda tried: directory.owner(blob.digest, self.rng, tried)) if aware else (lambda tried: directory.anyone(self.rng, tried))
        self.attempt(due, f"{self.kind} pull", pick, lambda wire: images.pull_blob(wire, blob))

    def choose(self):
        """An image that is there."""
        fresh = self.job.pushed
        if fresh and self.rng.random() < FRESH_CHANCE:
            return fresh[-1 - self.rng.randrange(min(len(fresh), 8))]
        return self.rng.choice(self.job.images)

    def push(self, due, count):
        parts, directory = images.draw(self.rng), self.job.directory
        repository, tag = f"load/r{self.rng.randrange(16)}", f"{self.tag}-{count}"
        whole, aware = self.rng.random() < 0.5, self.rng.random() < 0.5
        digest = images.digest_of(parts[-1])
        pick = (lambda tried: directory.owner(digest, self.rng, tried, master=True)) if aware else (lambda tried: directory.anyone(self.rng, tried))
        image = self.attempt(due, "push", pick, lambda wire: images.push(wire, repository, tag, parts, whole))
        if image:
            self.pushed.append(image)
            self.job.pushed.append(image)


class Job:
    """The clients of one process."""

    def __init__(self, number, seed, addresses, known_images, stop):
        self.number, self.seed, self.images, self.stop = number, seed, known_images, stop
        self.directory = Directory(addresses)
        self.pushed = collections.deque(maxlen=64)

    def run(self, clients, sender):
        """Runs `clients` (kind -> (number of them, seconds between two operations)) until the stop."""
        self.directory.refresh(avoid="")
        threads = [Client(self, index, kind, interval) for kind, (count, interval) in clients.items() for index in range(count)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        sender.send(([x for t in threads for x in t.done], [x for t in threads for x in t.failures], [x for t in threads for x in t.pushed]))


class Load:
    """All load processes of a test. Started before the caller starts threads: they are forked."""

    PROCESSES = 2

    def __init__(self, seed, addresses, known_images, pulls_per_second, pushes_per_second, clients=8):
        context = multiprocessing.get_context("fork")
        self.stop_event = context.Event()
        self.parts = []
        each = {
            kind: (count, count * self.PROCESSES / rate)
            for kind, count, rate in (("plain", clients, pulls_per_second / 2), ("aware", clients, pulls_per_second / 2), ("push", 2, pushes_per_second))
            if rate > 0
        }
        for number in range(self.PROCESSES):
            receiver, sender = context.Pipe(duplex=False)
            job = Job(number, seed, addresses, known_images, self.stop_event)
            process = context.Process(target=job.run, args=(each, sender), daemon=True)
            process.start()
            self.parts.append((process, receiver))
        self.done, self.failures, self.pushed = [], [], []

    def stop(self):
        """Ends the clients and gathers what they noted."""
        self.stop_event.set()
        for process, receiver in self.parts:
            done, failures, pushed = receiver.recv()
            process.join()
            self.done += done
            self.failures += failures
            self.pushed += pushed
        self.done.sort(key=lambda each: each.end)
        self.failures.sort(key=lambda each: each.at)
