#!/usr/bin/env python3
"""A cluster grows and shrinks again under load: 3 nodes, 6, 3.

    deploy/cluster/elastic.py [--from 3] [--to 6] [--seed N] [--results DIR]

While clients push and pull, new nodes join one after another, and later the first ones are drained,
removed and stopped. Held: no pull fails, nothing acknowledged is lost, every blob lies on all its
owners at both ends, and the bytes moved are at most 1.5 times the least that could have been: what the
new owners of each blob did not hold. Copies are counted on the disks. The binary is $ATOLLD, else
target/release/atolld.
"""

import argparse
import random
import sys
import time

sys.dont_write_bytecode = True  # a checkout stays as it is

# pylint: disable=wrong-import-position
import disks
import images
import plot
from cluster import Cluster, ask, binary
from figures import Verdicts, Work, per_second, percentile, write_csv
from load import Load
from shared import Wire

MOVED_FACTOR_MAX = 1.5
# How long one change of the ring may take until nothing is open any more.
CHANGE_SECONDS_MAX = 180
# Load without a change before, between and after.
REST_SECONDS = 5


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--from", type=int, default=3, dest="few", help="nodes at the start and at the end")
    parser.add_argument("--to", type=int, default=6, dest="many", help="nodes in between")
    parser.add_argument("--at-once", action="store_true", help="all new nodes join together, all old ones leave together")
    parser.add_argument("--seed", type=int, default=None)
    parser.add_argument("--pulls", type=float, default=80, help="pulls per second")
    parser.add_argument("--pushes", type=float, default=3, help="images pushed per second")
    parser.add_argument("--images", type=int, default=200, help="images that are there before")
    parser.add_argument("--results", help="folder of elastic.csv and elastic.png")
    parser.add_argument("--keep", action="store_true", help="keep the work folder, and say where it is")
    return parser.parse_args()


class Copies:
    """Which node holds which of the first blobs; a change is measured from one look to the next."""

    def __init__(self, cluster, known):
        self.cluster = cluster
        self.blobs = sorted({blob for image in known for blob in image.parts}, key=lambda blob: blob.digest)
        self.held = self.look()

    def look(self):
        names = {member: disks.names(member) for member in self.cluster.members}
        return {(member, blob) for member in self.cluster.members for blob in self.blobs if blob.digest in names[member]}

    def moved(self):
        """(bytes that came to a node, the least possible) since the look before."""
        view, now = self.cluster.up()[0].view(ring=True), self.look()
        by_number = {member.number: member for member in self.cluster.members}
        wanted = {(by_number[number], blob) for blob in self.blobs for number in view.placement(blob.digest)}
        moved = sum(blob.size for _, blob in now - self.held)
        least = sum(blob.size for _, blob in wanted - self.held)
        self.held = now
        return moved, least

    def whole(self):
        return sum(blob.size for blob in self.blobs)


def grow(options, cluster, story):
    """The new nodes join; waits for each to be in every view and for the copies to have moved."""
    steps = [options.many - options.few] if options.at_once else [1] * (options.many - options.few)
    for step in steps:
        began = time.monotonic()
        added = cluster.grow(step)
        story(f"{', '.join(member.name for member in added)} joined", began)


def shrink(options, cluster, story, stopped):
    """The first nodes leave: drained, removed from the cluster, stopped."""
    leaving = cluster.members[: options.many - options.few]
    staying = cluster.members[options.many - options.few :]
    for part in [leaving] if options.at_once else [[member] for member in leaving]:
        began = time.monotonic()
        for member in part:
            ask(staying[0].admin, f"/v1/nodes/{member.number}/drain", {})
        wait_drained(staying, part)
        for member in part:
            ask(staying[0].admin, f"/v1/nodes/{member.number}/remove", {})
        wait_without(cluster, staying, part)
        for member in part:
            stopped[member.address] = time.monotonic()
            member.stop()
        story(f"{', '.join(member.name for member in part)} left", began)


def wait_drained(staying, leaving):
    """Until no view has points for those who leave, and everything they held is elsewhere."""
    numbers, began = {member.number for member in leaving}, time.monotonic()
    while time.monotonic() - began < CHANGE_SECONDS_MAX:
        views = [member.view() for member in staying]
        if not any(view.open or any(view.members[number].in_ring for number in numbers if number in view.members) for view in views):
            return
        time.sleep(0.1)
    raise TimeoutError(f"{', '.join(member.name for member in leaving)} not drained within {CHANGE_SECONDS_MAX} s: {staying[0].view()}\n{staying[0].log_end()}")


def wait_without(cluster, staying, leaving):
    """Until every view of those who stay is one, closed, and without those who leave."""
    gone, began = {member.address for member in leaving}, time.monotonic()
    while time.monotonic() - began < CHANGE_SECONDS_MAX:
        views = [member.view() for member in staying]
        if len({view.epoch for view in views}) == 1 and not views[0].open and not gone & {each.http for each in views[0].members.values()}:
            return
        time.sleep(0.1)
    raise TimeoutError(f"{', '.join(member.name for member in leaving)} did not leave within {CHANGE_SECONDS_MAX} s: {staying[0].view()}\n{staying[0].log_end()}")


def judge_moved(verdicts, name, moved, least, whole):
    factor = moved / least if least else 1.0
    verdicts.hold(f"bytes moved while it {name} at most {MOVED_FACTOR_MAX:g} times the least", factor <= MOVED_FACTOR_MAX,
                  f"{moved} of at least {least}, factor {factor:.3f}; all blobs once are {whole}")


def judge_copies(verdicts, cluster, name, everything, seconds=60):
    """Every blob on the disks of all its owners."""
    view = cluster.up()[0].view(ring=True)
    by_number = {member.number: member for member in cluster.members}
    missing = {blob for image in everything for blob in image.parts}
    total, began = len(missing), time.monotonic()
    while True:
        missing = {blob for blob in missing if not all(disks.has(by_number[number], blob.digest, blob.size) for number in view.placement(blob.digest))}
        if not missing or time.monotonic() - began > seconds:
            break
        time.sleep(0.5)
    verdicts.hold(f"every blob on the disks of all its owners {name}", not missing, f"{total - len(missing)} of {total}", [str(blob) for blob in missing])


def judge_clients(verdicts, load, stopped, began):
    """Failures other than at a node that had been stopped."""
    wrong = [each for each in load.failures if not stopped.get(each.address, each.at + 1) <= each.at]
    story = [f"{each.at - began:.2f} s {each.kind} at {each.address}: {each.text}" for each in wrong]
    for what in ("pull", "tag", "push"):
        done, failed = [each for each in load.done if what in each.kind], [each for each in wrong if what in each.kind]
        lost = sum(not each.ok for each in done)
        verdicts.hold(f"no failed {what}", not failed and not lost, f"{len(failed)} failures, {lost} given up of {len(done)}", [line for line in story if what in line])
        times = [each.seconds * 1000 for each in done]
        verdicts.number(f"latency of {what}", f"p50 {percentile(times, 0.5):.1f} ms, p99 {percentile(times, 0.99):.1f} ms, worst {max(times, default=0):.0f} ms")
    verdicts.number("requests that met a stopped node", len(load.failures) - len(wrong))


def main():
    options = arguments()
    options.seed = random.SystemRandom().randrange(1 << 32) if options.seed is None else options.seed
    verdicts = Verdicts()
    with Work("elastic", options.keep) as work, Cluster(work.path, binary()) as cluster:
        cluster.found(options.few)
        known = images.preload([Wire(member.address) for member in cluster.members], options.images, options.seed)
        print(f"{options.few} to {options.many} nodes and back, {len(known)} images, seed {options.seed}", flush=True)
        load = Load(options.seed, [member.address for member in cluster.members], known, options.pulls, options.pushes)
        began, stopped, marks = time.monotonic(), {}, []

        def story(words, since):
            marks.append((time.monotonic() - began, ""))
            verdicts.number(words, time.monotonic() - since, "s")

        copies = Copies(cluster, known)
        time.sleep(REST_SECONDS)
        marks.append((time.monotonic() - began, "grow"))
        grow(options, cluster, story)
        grown = copies.moved()
        time.sleep(REST_SECONDS)
        judge_copies(verdicts, cluster, "when it has grown", known)
        marks.append((time.monotonic() - began, "shrink"))
        shrink(options, cluster, story, stopped)
        shrunk = copies.moved()
        time.sleep(REST_SECONDS)
        load.stop()
        seconds = int(time.monotonic() - began)
        everything = known + load.pushed
        judge_moved(verdicts, "grew", *grown, copies.whole())
        judge_moved(verdicts, "shrank", *shrunk, copies.whole())
        judge_clients(verdicts, load, stopped, began)
        judge_copies(verdicts, cluster, "when it has shrunk", everything)
        wrong = [line for member in cluster.up() for image in everything for line in images.read_back(Wire(member.address), image)]
        verdicts.hold("everything acknowledged reads back through every node", not wrong, f"{len(everything)} images through {len(cluster.up())} nodes", wrong)
        rows = per_second(load.done, began, seconds)
        write_csv(work.result("elastic.csv", options.results), rows)
        kinds = {name: [(row["second"], row.get(name, 0)) for row in rows] for name in ("plain pull", "aware pull", "push")}
        latency = {name: [(row["second"], row[f"pull_{name}_ms"]) for row in rows] for name in ("p50", "p99")}
        plot.chart(work.result("elastic.png", options.results), [("operations per second", kinds), ("latency of pulls in ms", latency)], marks)
        verdicts.leave()


if __name__ == "__main__":
    main()
