#!/usr/bin/env python3
"""Kills a loaded node with -9, again and again, and holds it to everything it had acknowledged.

    deploy/durability/kill9.py [--rounds 200] [--seed N]

Each round: writers push blobs in every way a client has, manifests, tag moves and deletes; at a random
moment the process is killed; it is started again (now and then killed again while it recovers); then
what it acknowledged is read back and hashed: all of the round and a sample of what is older, in the
last round all there ever was. An operation without an answer must be there whole or not at all.

The binary is $ATOLLD, else target/release/atolld, built if missing. The seed fixes what is written and
when the kills come; how far the writers get by then is the machine's. A kill keeps what the kernel
already has: power cuts are the simulator's to show.
"""

import argparse
import collections
import os
import random
import shutil
import subprocess
import sys
import tempfile
import threading
import time

sys.dont_write_bytecode = True  # a checkout stays as it is

# pylint: disable=wrong-import-position
from checker import Checker
from node import Node, Unready
from worker import Refused, Worker
from wire import Gone

ROOT = os.path.realpath(os.path.join(os.path.dirname(__file__), "..", ".."))
# The kill comes this long after the load began, in seconds, drawn evenly.
KILL_AFTER = (0.02, 1.2)
# How often a restart is killed too, before it is ready, and how long it has lived then.
RESTART_KILL_CHANCE, RESTART_KILL_AFTER = 0.15, (0.0, 0.25)
# Violations printed in full.
VIOLATIONS_SHOWN = 20


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--rounds", type=int, default=int(os.environ.get("ROUNDS", 200)))
    parser.add_argument("--seed", type=int, default=None, help="drawn and printed when not given")
    parser.add_argument("--writers", type=int, default=8)
    parser.add_argument("--round-mib", type=float, default=12, help="bytes a round may write, in MiB")
    parser.add_argument("--command", help="another way to start a server: a command with {config}, or with {data} and {http} and perhaps {admin}; GET /readyz says when it is ready")
    parser.add_argument("--keep", action="store_true", help="keep the work folder, and say where it is")
    return parser.parse_args()


def binary():
    """The node to test."""
    if given := os.environ.get("ATOLLD"):
        return os.path.realpath(given)
    path = os.path.join(os.environ.get("CARGO_TARGET_DIR", os.path.join(ROOT, "target")), "release", "atolld")
    if not os.path.exists(path):
        subprocess.run(["cargo", "build", "--release", "--bin", "atolld"], cwd=ROOT, check=True)
    return path


class Run:
    """The rounds and their figures."""

    def __init__(self, options, work):
        self.options = options
        self.rng = random.Random(f"{options.seed}/run")
        self.node = Node(work, None if options.command else binary(), options.command)
        self.workers = [Worker(options.seed, index, self.node.address) for index in range(options.writers)]
        for worker in self.workers:
            worker.peers = [other for other in self.workers if other is not worker]
        self.violations = []
        self.restarts = []
        self.figures = collections.Counter()

    def each_worker(self, task):
        """Runs `task(worker)` for all of them at once; a refusal is a violation, any other error ends the run."""
        errors = []

        def guarded(worker):
            try:
                task(worker)
            except Refused as refused:
                self.violations.append(str(refused))
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
        """One round of load, ended by the kill."""
        stop = threading.Event()
        delay = self.rng.uniform(*KILL_AFTER)

        def killer():
            time.sleep(delay)
            if not self.node.is_alive():
                self.violations.append(f"the node ended by itself:\n{self.node.log_end()}")
            self.node.kill()
            stop.set()

        thread = threading.Thread(target=killer)
        thread.start()
        budget = int(self.options.round_mib * (1 << 20) / len(self.workers))
        self.each_worker(lambda worker: worker.run(stop, budget))
        thread.join()

    def restart(self):
        while self.rng.random() < RESTART_KILL_CHANCE:
            self.node.start()
            time.sleep(self.rng.uniform(*RESTART_KILL_AFTER))
            self.node.kill()
            self.figures["kills while restarting"] += 1
        self.node.start()
        self.restarts.append(self.node.wait_ready())

    def check(self, everything):
        def one(worker):
            checker = Checker(worker, self.node.address)
            checker.everything() if everything else checker.round(random.Random(f"{self.options.seed}/{len(self.restarts)}/{worker.index}"))
            if not everything:  # what is resumed is read back in the next round
                self.resume(worker)
            self.violations += checker.violations
            for name, value in (("keys read", checker.keys_read), ("bytes re-hashed", checker.bytes_read),
                                ("unanswered, there whole", checker.whole), ("unanswered, absent", checker.absent), ("connections dropped while checking", checker.dropped)):
                self.figures[name] += value

        self.each_worker(one)

    def resume(self, worker):
        try:
            if outcome := worker.resume():
                self.figures[f"cut uploads {outcome}"] += 1
        except Gone as error:
            self.violations.append(f"{worker.repository}: resuming: {error}")

    def acknowledged(self):
        return sum((worker.acknowledged for worker in self.workers), collections.Counter())

    def run(self):
        began = time.monotonic()
        self.node.start()
        first = self.node.wait_ready()
        print(f"ready in {first * 1000:.0f} ms; seed {self.options.seed}, {self.options.rounds} rounds, {len(self.workers)} writers", flush=True)
        for number in range(1, self.options.rounds + 1):
            self.load_and_kill()
            self.restart()
            self.check(everything=number == self.options.rounds)
            self.figures["rounds"] += 1
            if number % max(self.options.rounds // 20, 1) == 0 or self.violations:
                done = self.acknowledged()
                print(f"round {number}: {done['blob']} blobs, {sum(done.values())} acknowledged in all, "
                      f"restart {self.restarts[-1] * 1000:.0f} ms, violations={len(self.violations)}, {time.monotonic() - began:.0f}s", flush=True)
            if self.violations:
                break
        self.figures["seconds"] = round(time.monotonic() - began)

    def report(self):
        for violation in self.violations[:VIOLATIONS_SHOWN]:
            print(f"VIOLATION {violation}")
        done = self.acknowledged()
        print("\nacknowledged: " + ", ".join(f"{name} {count}" for name, count in sorted(done.items())))
        print(f"acknowledged bytes: {sum(worker.bytes_acknowledged for worker in self.workers)}")
        print("\n".join(f"{name}: {count}" for name, count in sorted(self.figures.items())))
        if times := sorted(self.restarts):
            print(f"restart to ready: p50 {times[len(times) // 2] * 1000:.0f} ms, max {times[-1] * 1000:.0f} ms")
        print(f"rounds={self.figures['rounds']} violations={len(self.violations)} seed={self.options.seed}")


def main():
    options = arguments()
    if options.seed is None:
        options.seed = random.SystemRandom().randrange(1 << 32)
    work = tempfile.mkdtemp(prefix="kill9.")
    run = Run(options, work)
    try:
        run.run()
    except Unready as unready:
        run.violations.append(str(unready))
    finally:
        run.node.kill()
        run.report()
        if options.keep:
            print(f"kept: {work}")
        else:
            shutil.rmtree(work, ignore_errors=True)
    enough = run.figures["rounds"] == options.rounds and run.acknowledged()["blob"] > 0
    sys.exit(0 if enough and not run.violations else 1)


if __name__ == "__main__":
    main()
