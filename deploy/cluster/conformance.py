#!/usr/bin/env python3
"""The OCI conformance suite through a proxy that sends every request to the next of three nodes.

    deploy/cluster/conformance.py [--kill] [--nodes 3]

With `--kill` one node is killed with -9 in the middle of each run and stays dead: at a moment without a
request under way and without an upload session in use. A session dies with its node by design, with an
answer that clients retry and the suite does not. The suite and its count are those of deploy/conformance:
no FAIL, no Error, no Skip. The binary is $ATOLLD, else target/release/atolld.
"""

import argparse
import asyncio
import os
import random
import subprocess
import sys
import threading
import time

sys.dont_write_bytecode = True  # a checkout stays as it is

# pylint: disable=wrong-import-position
from cluster import ROOT, Cluster, binary, take_ports
from figures import EXIT_NOT_RUN, Verdicts, Work
from proxy import Proxy

# Runs of deploy/conformance/run.sh, and what the nodes are told for them.
RUNS = [("1.1", {}), ("dev", {}), ("dev-sparse", {"registry.sparse_manifests": "true"})]
# The kill comes when this many requests were served, drawn evenly: a run has more than 700.
KILL_AFTER = (150, 450)
# An upload session counts as in use while one of the last so many requests was part of it.
SESSION_REQUESTS = 20


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--nodes", type=int, default=3)
    parser.add_argument("--kill", action="store_true")
    parser.add_argument("--runs", default=",".join(name for name, _ in RUNS), help="which of the suite's runs")
    parser.add_argument("--seed", type=int, default=None)
    parser.add_argument("--keep", action="store_true", help="keep the work folder, and say where it is")
    return parser.parse_args()


class Front:
    """The proxy on a thread of its own."""

    def __init__(self, nodes):
        self.address = f"127.0.0.1:{take_ports()[0]}"
        self.proxy = Proxy(nodes)
        self.loop = asyncio.new_event_loop()
        threading.Thread(target=self.loop.run_forever, daemon=True).start()
        self.server = asyncio.run_coroutine_threadsafe(self.proxy.start(self.address), self.loop).result()

    def kill_when_quiet(self, member, after, done):
        """Kills the node at the first quiet moment after so many requests; notes it in `done`."""

        def look():
            # On the loop's own thread: no request can begin between the look and the kill.
            if not done and self.proxy.requests >= after and self.proxy.is_quiet(SESSION_REQUESTS):
                member.kill()
                done.append(self.proxy.requests)

        self.proxy.after_request = look

    def close(self):
        self.loop.call_soon_threadsafe(self.server.close)
        self.loop.call_soon_threadsafe(self.loop.stop)


def run(options, work, name, settings, verdicts, rng):
    """One run of the suite on a cluster of its own."""
    with Cluster(os.path.join(work.path, name), binary(), settings) as cluster:
        cluster.found(options.nodes)
        front = Front([member.address for member in cluster.members])
        killed, victim = [], rng.choice(cluster.members)
        if options.kill:
            front.kill_when_quiet(victim, rng.randrange(*KILL_AFTER), killed)
        script = os.path.join(ROOT, "deploy", "conformance", "run.sh")
        began = time.monotonic()
        ended = subprocess.run([script], env={**os.environ, "REGISTRY": front.address, "RUNS_ONLY": name}, check=False)
        front.close()
        if ended.returncode == EXIT_NOT_RUN:
            sys.exit(EXIT_NOT_RUN)
        verdicts.hold(f"{name} through {options.nodes} nodes", ended.returncode == 0, f"{time.monotonic() - began:.0f} s, requests per node {sorted(front.proxy.served.values())}")
        if options.kill:
            verdicts.hold(f"{victim.name} was killed in the middle of it", bool(killed) and killed[0] < front.proxy.requests, f"after {killed} of {front.proxy.requests} requests, {front.proxy.passed_over} times passed over")


def main():
    options = arguments()
    options.seed = random.SystemRandom().randrange(1 << 32) if options.seed is None else options.seed
    rng, verdicts = random.Random(options.seed), Verdicts()
    print(f"seed {options.seed}", flush=True)
    with Work("conformance", options.keep) as work:
        for name, settings in RUNS:
            if name in options.runs.split(","):
                run(options, work, name, settings, verdicts, rng)
        verdicts.leave()


if __name__ == "__main__":
    main()
