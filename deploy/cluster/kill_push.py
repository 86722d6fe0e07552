#!/usr/bin/env python3
"""Kills any one node of a cluster with -9 while images are pushed, again and again.

    deploy/cluster/kill_push.py [--rounds 500] [--seed N]

The writers and the checker are those of deploy/durability, spread over the nodes: each writer talks to
one node and keeps a repository of its own. Each round one node is killed at a random moment and started
again, at once or only after its session has ended. Held: what was acknowledged is there and true, read
through two nodes drawn anew each time and in the last round through all; what a kill left unanswered is
there whole or not at all; a writer at a surviving node meets neither a refusal nor a broken connection.
"""

import argparse
import collections
import os
import random
import sys
import threading
import time

sys.dont_write_bytecode = True  # a checkout stays as it is

# pylint: disable=wrong-import-position
from cluster import Cluster, binary
from figures import Verdicts, Work
from shared import Checker, Gone, Wire, Worker, WorkerRefused

# The kill comes this long after the load began, in seconds, drawn evenly.
KILL_AFTER = (0.02, 1.2)
# How often the node stays away until its session has ended, and for how long then: seconds.
AWAY_CHANCE, AWAY_SECONDS = 0.15, (3.2, 5.0)
# Through how many nodes a round's promises are read.
READERS = 2


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--rounds", type=int, default=int(os.environ.get("ROUNDS", 500)))
    parser.add_argument("--seed", type=int, default=None, help="drawn and printed when not given")
    parser.add_argument("--nodes", type=int, default=3)
    parser.add_argument("--writers", type=int, default=6)
    parser.add_argument("--round-mib", type=float, default=8, help="bytes a round may write, in MiB")
    parser.add_argument("--keep", action="store_true", help="keep the work folder, and say where it is")
    return parser.parse_args()


class Run:
    """The rounds and what they found."""

    def __init__(self, options, cluster):
        self.options, self.cluster = options, cluster
        self.rng = random.Random(f"{options.seed}/run")
        self.workers = [Worker(options.seed, index, "") for index in range(options.writers)]
        for worker in self.workers:
            worker.peers = [other for other in self.workers if other is not worker]
        self.violations, self.restarts = [], []
        self.figures = collections.Counter()

    def each(self, task):
        """`task(worker)` for all at once; a refusal is a violation, any other error ends the run."""
        errors = []

        def guarded(worker):
            try:
                task(worker)
            except WorkerRefused as refused:
                self.violations.append(f"{worker.wire.address}: {refused}")
            except Exception as error:  # pylint: disable=broad-except
                errors.append(error)

        threads = [threading.Thread(target=guarded, args=(worker,)) for worker in self.workers]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        if errors:
            raise errors[0]

    def load_and_kill(self):
        """One round of load on all nodes; one of them is killed in it. Returns that one."""
        victim = self.rng.choice(self.cluster.members)
        entries = {worker: self.rng.choice(self.cluster.members) for worker in self.workers}
        for worker, entry in entries.items():
            worker.wire = Wire(entry.address)
        stop, delay = threading.Event(), self.rng.uniform(*KILL_AFTER)

        def killer():
            time.sleep(delay)
            if not victim.is_alive():
                self.violations.append(f"{victim.name} ended by itself:\n{victim.log_end()}")
            victim.kill()
            time.sleep(self.rng.uniform(0.0, 0.5))  # the others go on pushing without it
            stop.set()

        thread = threading.Thread(target=killer)
        thread.start()
        budget = int(self.options.round_mib * (1 << 20) / len(self.workers))
        self.each(lambda worker: worker.run(stop, budget))
        thread.join()
        for worker, entry in entries.items():
            if worker.pending and entry is not victim:
                self.violations.append(f"{worker.repository}: {entry.name} left {sorted(worker.pending)} unanswered, and it was {victim.name} that was killed")
        return victim

    def restart(self, victim):
        if self.rng.random() < AWAY_CHANCE:
            time.sleep(self.rng.uniform(*AWAY_SECONDS))
            self.figures["stayed away"] += 1
        victim.start()
        self.restarts.append(victim.wait_ready())

    def check(self, everything):
        """Each worker's promises, read through nodes drawn anew."""
        number = len(self.restarts)

        def one(worker):
            rng = random.Random(f"{self.options.seed}/{number}/{worker.index}")
            readers = rng.sample(self.cluster.members, len(self.cluster.members) if everything else READERS)
            touched = set(worker.touched)
            for reader in readers:
                checker = Checker(worker, reader.address)
                worker.touched = set(touched)
                checker.everything() if everything else checker.round(rng)
                self.violations += [f"{reader.name}: {violation}" for violation in checker.violations]
                self.figures["keys read"] += checker.keys_read
                self.figures["bytes hashed"] += checker.bytes_read
                self.figures["unanswered, there whole"] += checker.whole
                self.figures["unanswered, absent"] += checker.absent
            if not everything:
                self.resume(worker, readers[0])

        self.each(one)

    def resume(self, worker, reader):
        """Goes on with a cut upload through any node: it may be forgotten, never false."""
        try:
            worker.wire = Wire(reader.address)
            if outcome := worker.resume():
                self.figures[f"cut uploads {outcome}"] += 1
        except Gone as error:
            self.violations.append(f"{worker.repository}: resuming at {reader.name}: {error}")

    def run(self):
        began = time.monotonic()
        for number in range(1, self.options.rounds + 1):
            self.restart(self.load_and_kill())
            self.check(everything=number == self.options.rounds)
            self.figures["rounds"] += 1
            if number % max(self.options.rounds // 20, 1) == 0 or self.violations:
                done = self.acknowledged()
                print(f"round {number}: {done['blob']} blobs, {sum(done.values())} acknowledged in all, restart "
                      f"{self.restarts[-1] * 1000:.0f} ms, violations={len(self.violations)}, {time.monotonic() - began:.0f}s", flush=True)
            if self.violations:
                break
        self.figures["seconds"] = round(time.monotonic() - began)

    def acknowledged(self):
        return sum((worker.acknowledged for worker in self.workers), collections.Counter())

    def report(self, verdicts):
        done = self.acknowledged()
        verdicts.number("acknowledged", ", ".join(f"{name} {count}" for name, count in sorted(done.items())))
        for name, count in sorted(self.figures.items()):
            verdicts.number(name, count)
        if times := sorted(self.restarts):
            verdicts.number("restart to ready", f"p50 {times[len(times) // 2] * 1000:.0f} ms, max {times[-1] * 1000:.0f} ms")
        verdicts.hold("nothing acknowledged lost, nothing half visible, no failure at a survivor", not self.violations, f"{len(self.violations)} violations in {self.figures['rounds']} rounds", self.violations)
        verdicts.hold("all rounds were run, with pushes in them", self.figures["rounds"] == self.options.rounds and done["blob"] > 0, f"{self.figures['rounds']} rounds, {done['blob']} blobs")


def main():
    options = arguments()
    options.seed = random.SystemRandom().randrange(1 << 32) if options.seed is None else options.seed
    verdicts = Verdicts()
    with Work("kill-push", options.keep) as work, Cluster(work.path, binary()) as cluster:
        cluster.found(options.nodes)
        print(f"{options.nodes} nodes, {options.rounds} rounds, {options.writers} writers, seed {options.seed}", flush=True)
        run = Run(options, cluster)
        try:
            run.run()
        finally:
            run.report(verdicts)
        verdicts.leave()


if __name__ == "__main__":
    main()
