#!/usr/bin/env python3
"""Nodes are killed and started again while the replica-aware client pulls, a million times.

    deploy/cluster/mass_pull.py [--pulls 1000000] [--large-pulls 10000] [--seed N]

Real processes, one node away at a time: killed with -9 at a moment drawn anew, started again at once or
only after its session has ended, the next one when all are back. First the same client pulls for a while
and nobody is killed: that is the steady run. Held: no pull fails; the 99th percentile of small pulls is
at most twice the steady one. Told: pulls by node, fail-overs, hedges, resumes, the largest pauses. The
binaries are $ATOLLD and $ATOLL_MASS_PULL, else those of target/release.
"""

import argparse
import json
import os
import random
import subprocess
import sys
import time

sys.dont_write_bytecode = True  # a checkout stays as it is

# pylint: disable=wrong-import-position
from cluster import ROOT, Cluster, binary
from figures import Verdicts, Work

# Pause before the next kill, and how long a node stays away, in seconds, drawn evenly.
QUIET_SECONDS = (1.0, 4.0)
AWAY_SECONDS = (0.1, 5.0)
P99_FACTOR_MAX = 2.0


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--nodes", type=int, default=5)
    parser.add_argument("--seed", type=int, default=None, help="drawn and printed when not given")
    parser.add_argument("--pulls", type=int, default=1_000_000)
    parser.add_argument("--large-pulls", type=int, default=10_000)
    parser.add_argument("--steady-pulls", type=int, default=100_000, help="small pulls of the steady run")
    parser.add_argument("--blob-bytes", type=int, default=8_000)
    parser.add_argument("--large-bytes", type=int, default=5_000_000)
    parser.add_argument("--concurrency", type=int, default=32)
    parser.add_argument("--keep", action="store_true", help="keep the work folder, and say where it is")
    return parser.parse_args()


def kill_and_start(cluster, rng, puller):
    """One node away at a time, until the pulls have ended; returns how often."""
    kills = 0
    while True:
        time.sleep(rng.uniform(*QUIET_SECONDS))
        if puller.poll() is not None:
            return kills
        victim = rng.choice(cluster.members)
        victim.kill()
        kills += 1
        time.sleep(rng.uniform(*AWAY_SECONDS))
        victim.start()
        victim.wait_ready()
        cluster.settle()


def main():
    options = arguments()
    options.seed = random.SystemRandom().randrange(1 << 32) if options.seed is None else options.seed
    folder = os.environ.get("CARGO_TARGET_DIR", os.path.join(ROOT, "target"))
    program = os.environ.get("ATOLL_MASS_PULL", os.path.join(folder, "release", "examples", "mass_pull"))
    verdicts = Verdicts()
    with Work("mass-pull", options.keep) as work, Cluster(work.path, binary()) as cluster:
        cluster.found(options.nodes)
        print(f"{options.nodes} nodes, seed {options.seed}", flush=True)
        seeds = [word for member in cluster.members for word in ("--seed", member.address)]
        shape = [*seeds, "--blob-bytes", str(options.blob_bytes), "--large-bytes", str(options.large_bytes), "--concurrency", str(options.concurrency)]
        subprocess.run([program, "prepare", *shape], check=True, stdout=subprocess.DEVNULL)

        def begin(pulls, large):
            return subprocess.Popen([program, "pull", *shape, "--pulls", str(pulls), "--large-pulls", str(large)], stdout=subprocess.PIPE, text=True)

        share = options.large_pulls / max(options.pulls, 1)
        steady = json.loads(begin(options.steady_pulls, round(options.steady_pulls * share)).communicate()[0])
        puller = begin(options.pulls, options.large_pulls)
        kills = kill_and_start(cluster, random.Random(f"{options.seed}/kills"), puller)
        storm = json.loads(puller.communicate()[0])

    verdicts.number("kills", kills)
    for name, each in (("steady", steady), ("with kills", storm)):
        small, large, stats = each["small"], each["large"], each["stats"]
        verdicts.number(name, f"{small['pulls']} small and {large['pulls']} large pulls in {each['seconds']:.0f} s, {each['mib_per_second']:.0f} MiB/s; "
                        f"small p50 {small['p50_micros'] / 1000:.2f}, p99 {small['p99_micros'] / 1000:.2f}, worst {small['max_micros'] / 1000:.0f} ms; "
                        f"large p50 {(large['p50_micros'] or 0) / 1000:.1f}, p99 {(large['p99_micros'] or 0) / 1000:.1f}, worst {(large['max_micros'] or 0) / 1000:.0f} ms")
        verdicts.number(f"{name}: of the client", json.dumps({key: value for key, value in stats.items() if not isinstance(value, (dict, list))}))
    failed = storm["small"]["failures"] + storm["large"]["failures"] + steady["small"]["failures"] + steady["large"]["failures"]
    verdicts.hold("no pull fails", failed == 0, f"{failed} failures of {storm['small']['pulls'] + storm['large']['pulls']}", storm["errors"] + steady["errors"])
    whole = storm["small"]["pulls"] == options.pulls and storm["large"]["pulls"] == options.large_pulls
    verdicts.hold("all pulls were made, with kills in them", whole and kills > 0, f"{storm['small']['pulls']} and {storm['large']['pulls']}, {kills} kills")
    factor = storm["small"]["p99_micros"] / max(steady["small"]["p99_micros"], 1)
    verdicts.hold(f"p99 of small pulls at most {P99_FACTOR_MAX:g} times the steady one", factor <= P99_FACTOR_MAX, f"factor {factor:.2f}")
    verdicts.leave()


if __name__ == "__main__":
    main()
