#!/usr/bin/env python3
"""What the replica-aware client is worth: memory that is not held twice, layers from several replicas.

    deploy/bench/library.py [--requests 8000] [--nodes 5] [--results DIR]

Two tables. First the share of reads that the nodes' memory answers, under a workload drawn as registries
see it (popularity by Zipf-Mandelbrot, a fifth of the requests for layers that nobody asks for again,
sizes as in the IBM traces up to a few megabytes): clients that go to each blob's preferred replica, to
any replica at random, and to the nodes in turn. Every row starts with nodes that hold nothing in memory.
Then one large layer at a time, whole from one replica or in pieces from three, with the client's peak
memory. The binaries are $ATOLLD and $ATOLL_REPLAY, else those of target/release.
"""

import argparse
import bisect
import csv
import itertools
import json
import os
import random
import subprocess
import sys
import time

sys.dont_write_bytecode = True  # a checkout stays as it is
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "cluster"))

# pylint: disable=wrong-import-position
import images
from cluster import ROOT, Cluster, binary
from figures import Work
from shared import Wire

# Zipf-Mandelbrot: ranks up to this many fall with the first power, those behind with the second.
HEAD_RANKS, HEAD_POWER, TAIL_POWER = 1000, 1.0, 0.66
# Share of the requests that ask for something nobody asks for again.
ONCE_SHARE = 0.21
# Cumulative share of requests by size in bytes, as measured, cut at what a small machine can hold.
SIZES = [(16 << 10, 0.53), (1 << 20, 0.68), (2 << 20, 0.74), (4 << 20, 1.0)]
SIZE_MIN = 128
# Memory of each node, so that all together hold what is popular and one alone does not.
CACHE = "48MiB"
REPOSITORY = "library/bench"
# How often a client's memory is looked at.
LOOK_SECONDS = 0.02
POLICIES = ("preferred", "random", "round-robin")


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--nodes", type=int, default=5)
    parser.add_argument("--layers", type=int, default=600, help="layers that are asked for more than once")
    parser.add_argument("--requests", type=int, default=8000)
    parser.add_argument("--large-mib", type=int, default=256, help="size of the large layer")
    parser.add_argument("--large-pulls", type=int, default=20)
    parser.add_argument("--results", help="folder of library.csv")
    parser.add_argument("--keep", action="store_true", help="keep the work folder, and say where it is")
    return parser.parse_args()


def example(name, variable):
    folder = os.environ.get("CARGO_TARGET_DIR", os.path.join(ROOT, "target"))
    return os.environ.get(variable, os.path.join(folder, "release", "examples", name))


def size(rng):
    """A size by the measured shares, evenly in the logarithm within each."""
    draw, least = rng.random(), SIZE_MIN
    for most, share in SIZES:
        if draw <= share:
            return int(least * (most / least) ** rng.random())
        least = most
    return least


class Trace:
    """The requests, as numbers of layers."""

    def __init__(self, options):
        rng = random.Random("library")
        weights = [1 / rank**HEAD_POWER if rank <= HEAD_RANKS else HEAD_RANKS ** (TAIL_POWER - HEAD_POWER) / rank**TAIL_POWER for rank in range(1, options.layers + 1)]
        sums = list(itertools.accumulate(weights))
        self.asked, fresh = [], options.layers
        for _ in range(options.requests):
            if rng.random() < ONCE_SHARE:
                self.asked.append(fresh)
                fresh += 1
            else:
                self.asked.append(bisect.bisect_left(sums, rng.random() * sums[-1]))
        self.sizes = {layer: size(rng) for layer in sorted(set(self.asked))}

    def content(self, layer):
        return random.Random(f"library/{layer}").randbytes(self.sizes[layer])


def counters(cluster):
    """Reads that memory answered, and all reads that could have been."""
    totals = {"hits": 0.0, "misses": 0.0, "unshared_reads": 0.0}
    for member in cluster.members:
        text = Wire(member.admin).ask("GET", "/metrics").body.decode()
        for line in text.splitlines():
            for name in totals:
                if line.startswith(f"atoll_cache_{name}_total"):
                    totals[name] += float(line.rsplit(" ", 1)[1])
    return totals["hits"], sum(totals.values())


def restart(cluster):
    for member in cluster.members:
        member.stop()
    for member in cluster.members:
        member.start()
    for member in cluster.members:
        member.wait_ready()
    cluster.settle()


def run(argv):
    """The report of an example, and the most memory it had, in MiB."""
    process, peak = subprocess.Popen(argv, stdout=subprocess.PIPE), 0
    # Not the peak that wait4 tells: a child begins with that of this process.
    while process.poll() is None:
        peak = max(peak, resident_peak(process.pid))
        time.sleep(LOOK_SECONDS)
    if process.returncode:
        raise OSError(f"{argv[0]} ended with {process.returncode}")
    return json.loads(process.stdout.read()), peak / 1024


def resident_peak(pid):
    """The most memory a process has had, in KiB; 0 when it has ended."""
    try:
        with open(f"/proc/{pid}/status", encoding="ascii") as status:
            return next((int(line.split()[1]) for line in status if line.startswith("VmHWM:")), 0)
    except OSError:
        return 0


def hit_ratio(options, work):
    trace, rows = Trace(options), []
    with Cluster(os.path.join(work.path, "hits"), binary(), {"log.level": "error", "cache.bytes": CACHE}) as cluster:
        cluster.found(options.nodes)
        wires = [Wire(member.address) for member in cluster.members]
        blobs = {layer: images.push_blob(wires[layer % len(wires)], REPOSITORY, trace.content(layer), whole=True) for layer in trace.sizes}
        path = os.path.join(work.path, "trace")
        with open(path, "w", encoding="utf-8") as file:
            file.writelines(f"{blobs[layer].digest} {blobs[layer].size}\n" for layer in trace.asked)
        for policy in POLICIES:
            restart(cluster)
            before = counters(cluster)
            report, _ = run([example("replay", "ATOLL_REPLAY"), "--repo", REPOSITORY, "--trace", path, "--policy", policy]
                            + [word for member in cluster.members for word in ("--seed", member.address)])
            hits, reads = (now - then for now, then in zip(counters(cluster), before))
            rows.append({"policy": policy, "pulls": report["pulls"], "failures": report["failures"], "hit_ratio": hits / reads, "seconds": report["seconds"]})
    turn = rows[-1]["hit_ratio"]
    print(f"{options.nodes} nodes with {CACHE} of memory, {len(trace.asked)} pulls of {len(trace.sizes)} layers, {sum(trace.sizes.values()) >> 20} MiB\n")
    print("| clients go to | reads answered from memory | to nodes in turn | pulls per second | failures |")
    print("|---|--:|--:|--:|--:|")
    for row in rows:
        print(f"| {row['policy']} | {100 * row['hit_ratio']:.1f} % | {row['hit_ratio'] / turn:.2f}× | {row['pulls'] / row['seconds']:.0f} | {row['failures']} |")
    return rows


def large_layers(options, work):
    rows = []
    with Cluster(os.path.join(work.path, "large"), binary(), {"log.level": "error"}) as cluster:
        cluster.found(3)
        rng = random.Random("library/large")
        content = b"".join(rng.randbytes(1 << 20) for _ in range(options.large_mib))
        blob = images.push_blob(Wire(cluster.members[0].address), REPOSITORY, content, whole=False)
        path = os.path.join(work.path, "large-trace")
        with open(path, "w", encoding="utf-8") as file:
            file.write(f"{blob.digest} {blob.size}\n" * options.large_pulls)
        seeds = [word for member in cluster.members for word in ("--seed", member.address)]
        for ranges in (1, 2, 4, 8):
            report, peak = run([example("replay", "ATOLL_REPLAY"), "--repo", REPOSITORY, "--trace", path, "--concurrency", "1", "--ranges", str(ranges), *seeds])
            rows.append({"ranges": ranges, "mib_per_second": report["bytes"] / report["seconds"] / (1 << 20), "peak_mib": peak, "failures": report["failures"]})
    print(f"\none layer of {options.large_mib} MiB at a time, {options.large_pulls} times, three replicas\n")
    print("| pieces in flight | MiB/s | to one | peak memory of the client |")
    print("|--:|--:|--:|--:|")
    for row in rows:
        print(f"| {row['ranges']} | {row['mib_per_second']:.0f} | {row['mib_per_second'] / rows[0]['mib_per_second']:.2f}× | {row['peak_mib']:.0f} MiB |")
    return rows


def main():
    options = arguments()
    with Work("library", options.keep) as work:
        rows = hit_ratio(options, work) + large_layers(options, work)
        with open(work.result("library.csv", options.results), "w", encoding="utf-8", newline="") as file:
            writer = csv.DictWriter(file, sorted({key for row in rows for key in row}))
            writer.writeheader()
            writer.writerows(rows)
    sys.exit(1 if any(row["failures"] for row in rows) else 0)


if __name__ == "__main__":
    main()
