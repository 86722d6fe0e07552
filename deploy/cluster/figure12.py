#!/usr/bin/env python3
"""One of five nodes dies under load and comes back: the paper's Figure 12 on real processes.

    deploy/cluster/figure12.py [--results DIR] [--victim follower|leader|N] [--seed N]

Clients pull from any node, and from the owners they computed themselves; others push. At 20 s one node
is killed with -9, at 30 s it is started again on its data. Held: no pull and no push fails at a
surviving node; the dead node leaves every view when its session ends, not before; it is back in every
view within a second of its return; every blob has all its copies again; the 99th percentile of pulls
while it is away is at most twice that of the steady seconds. Each number is printed; the course is
written as figure12.csv and figure12.png. The binary is $ATOLLD, else target/release/atolld.
"""

import argparse
import random
import sys
import threading
import time

sys.dont_write_bytecode = True  # a checkout stays as it is

# pylint: disable=wrong-import-position
import disks
import images
import plot
from cluster import Cluster, Refused, binary
from figures import Verdicts, Work, per_second, percentile, percentile_bounds, write_csv
from load import Load
from shared import Wire

# The session's timeout, how often it is renewed, how finely its end is told: seconds.
SESSION, HEARTBEAT, TICK = 3.0, 0.5, 0.5
# How often the watchers look at each view.
LOOK_SECONDS = 0.02
# A watcher may see a change this much late: its own interval and a busy machine.
LOOK_SLACK = 0.1
RETURN_SECONDS_MAX = 1.0
# The first seconds warm caches and connections up; they are not steady yet.
WARM_SECONDS = 5
P99_FACTOR_MAX = 2.0
REPAIR_SECONDS_MAX = 120


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--nodes", type=int, default=5)
    parser.add_argument("--seed", type=int, default=None)
    parser.add_argument("--victim", default="follower", help="follower or leader of the coordination group, or a node's number")
    parser.add_argument("--pulls", type=float, default=170, help="pulls per second, half of them replica-aware")
    parser.add_argument("--pushes", type=float, default=4, help="images pushed per second")
    parser.add_argument("--images", type=int, default=150, help="images that are there before")
    parser.add_argument("--kill", type=float, default=20, help="second of the kill")
    parser.add_argument("--back", type=float, default=30, help="second of the restart")
    parser.add_argument("--seconds", type=int, default=60)
    parser.add_argument("--results", help="folder of figure12.csv and figure12.png")
    parser.add_argument("--keep", action="store_true", help="keep the work folder, and say where it is")
    return parser.parse_args()


class Watch(threading.Thread):
    """Looks at one node's view all the time and notes when the victim comes and goes in it."""

    def __init__(self, member, victim):
        super().__init__(daemon=True)
        self.member, self.victim = member, victim
        self.changes, self.stopped = [], False

    def run(self):
        while not self.stopped:
            try:
                present = self.victim.address in self.member.registries()
            except (OSError, Refused, ValueError):
                present = None  # no answer: the victim itself, while it is away
            if not self.changes or self.changes[-1][1] != present:
                self.changes.append((time.monotonic(), present))
            time.sleep(LOOK_SECONDS)

    def first(self, present, after):
        """When it was first seen present or absent after that time; None if never."""
        return next((at for at, seen in self.changes if at > after and seen == present), None)


def choose(cluster, wanted, rng):
    """The node to kill."""
    if wanted.isdigit():
        return next(member for member in cluster.members if member.number == int(wanted))
    leader = cluster.leader()
    if wanted == "leader":
        return leader
    return rng.choice([member for member in cluster.members if member is not leader])


def course(options, cluster, victim, known):
    """The sixty seconds; returns the times of what happened and what the clients noted."""
    load = Load(options.seed, [member.address for member in cluster.members], known, options.pulls, options.pushes)
    began = time.monotonic()
    watches = [Watch(member, victim) for member in cluster.members]
    for watch in watches:
        watch.start()

    def until(second):
        time.sleep(max(began + second - time.monotonic(), 0))

    until(options.kill)
    killed = time.monotonic()
    victim.kill()
    until(options.back)
    restarted = time.monotonic()
    victim.start()
    ready = restarted + victim.wait_ready()
    until(options.seconds)
    load.stop()
    for watch in watches:
        watch.stopped = True
    return load, watches, {"began": began, "killed": killed, "restarted": restarted, "ready": ready}


def judge_views(verdicts, watches, victim, times):
    """When the victim left and entered the others' views."""
    gone = {watch.member.name: watch.first(False, times["killed"]) for watch in watches if watch.member is not victim}
    after = {name: at - times["killed"] for name, at in gone.items() if at}
    earliest, latest = SESSION - HEARTBEAT, SESSION + TICK + LOOK_SLACK
    kept = len(after) == len(gone) and all(earliest <= seconds <= latest for seconds in after.values())
    told = ", ".join(f"{name} {seconds:.2f}" for name, seconds in after.items())
    verdicts.hold(f"seconds from the kill until each view is without the node ({earliest} to {SESSION + TICK}; its last heartbeat was up to {HEARTBEAT} before)", kept, told or "never")
    # Its own view counts as well: it knows itself as a member again.
    seen = {watch.member.name: watch.first(True, times["restarted"]) for watch in watches}
    when = {name: at for name, at in seen.items() if at}
    first = min([times["ready"], *when.values()])
    told = ", ".join(f"{name} {at - first:.2f}" for name, at in when.items())
    kept = len(when) == len(seen) and max(when.values()) - first <= RETURN_SECONDS_MAX
    verdicts.hold(f"seconds until the node is back in each view, from its first sign (at most {RETURN_SECONDS_MAX})", kept, told or "never")
    verdicts.number("from its start to ready", times["ready"] - times["restarted"], "s")
    return max(after.values(), default=SESSION + TICK)


def judge_clients(verdicts, load, victim, times, settled):
    """Failures at the survivors, and latency while the node was away."""
    away = (times["killed"] - 0.05, times["ready"] + settled)
    wrong = [each for each in load.failures if each.address != victim.address or not away[0] <= each.at <= away[1]]
    story = [f"{each.at - times['began']:.2f} s {each.kind} at {each.address}: {each.text}" for each in wrong]
    for what, kind in (("pull", "pull"), ("pull of a tag", "tag"), ("push", "push")):
        done = [each for each in load.done if kind in each.kind]
        failed = [each for each in wrong if kind in each.kind]
        lost = [each for each in done if not each.ok]
        verdicts.hold(f"no failed {what} at surviving nodes", not failed and not lost, f"{len(failed)} failures, {len(lost)} given up of {len(done)}", [line for line in story if kind in line])
    retried = sum(each.tries > 1 for each in load.done)
    verdicts.number("operations that went on to another node", retried)
    verdicts.number("requests that met the dead node", len(load.failures) - len(wrong))


def judge_latency(verdicts, load, times):
    for kind, bar in (("plain pull", True), ("aware pull", True), ("plain tag", False), ("push", False)):
        mine = [each for each in load.done if each.kind == kind]
        steady = [each.seconds for each in mine if times["began"] + WARM_SECONDS <= each.due < times["killed"] - 1]
        window = [each.seconds for each in mine if times["killed"] <= each.due < times["ready"]]
        calm, away = (percentile(values, 0.99) * 1000 for values in (steady, window))
        # Broken is what chance does not explain.
        kept = percentile_bounds(window, 0.99)[0] <= P99_FACTOR_MAX * percentile_bounds(steady, 0.99)[1]
        told = f"{away:.1f} ms away, {calm:.1f} ms steady, factor {away / calm if calm else 0:.2f}; median {percentile(window, 0.5) * 1000:.1f} and {percentile(steady, 0.5) * 1000:.1f} ms; worst {max(window, default=0) * 1000:.0f} and {max(steady, default=0) * 1000:.0f} ms"
        if bar:
            verdicts.hold(f"p99 of {kind}s while it is away at most {P99_FACTOR_MAX:g} times the steady one, as far as {len(window)} and {len(steady)} tell", kept, told)
        else:
            verdicts.number(f"p99 of {kind}", told)


def judge_copies(verdicts, cluster, everything, since):
    """Every blob back at all its copies, on the disks of its owners; then read through every node."""
    view = cluster.members[0].view(ring=True)
    by_number = {member.number: member for member in cluster.members}
    missing = {blob for image in everything for blob in image.parts}
    total = len(missing)
    wanted = {blob: [by_number[number] for number in view.placement(blob.digest)] for blob in missing}
    while missing and time.monotonic() - since < REPAIR_SECONDS_MAX:
        missing = {blob for blob in missing if not all(disks.has(member, blob.digest, blob.size) for member in wanted[blob])}
        if missing:
            time.sleep(0.5)
    copies = min(view.replicas, len(cluster.members))
    verdicts.hold(f"every blob on the disks of all {copies} owners", not missing, f"{total - len(missing)} of {total}, {time.monotonic() - since:.1f} s after the return", [str(blob) for blob in missing])
    wrong = [line for member in cluster.members for image in everything for line in images.read_back(Wire(member.address), image)]
    verdicts.hold("everything acknowledged reads back through every node", not wrong, f"{len(everything)} images through {len(cluster.members)} nodes", wrong)


def draw(path, rows, times):
    """Throughput above, latency below, the kill and the return marked."""
    kinds = {name: [(row["second"], row.get(name, 0)) for row in rows] for name in ("plain pull", "aware pull", "push")}
    latency = {name: [(row["second"], row[f"pull_{name}_ms"]) for row in rows] for name in ("p50", "p99")}
    marks = [(times["killed"] - times["began"], "kill -9"), (times["restarted"] - times["began"], "start"), (times["ready"] - times["began"], "")]
    plot.chart(path, [("operations per second", kinds), ("latency of pulls in ms", latency)], marks)


def main():
    options = arguments()
    options.seed = random.SystemRandom().randrange(1 << 32) if options.seed is None else options.seed
    rng, verdicts = random.Random(f"{options.seed}/victim"), Verdicts()
    with Work("figure12", options.keep) as work, Cluster(work.path, binary()) as cluster:
        cluster.found(options.nodes)
        known = images.preload([Wire(member.address) for member in cluster.members], options.images, options.seed)
        victim = choose(cluster, options.victim, rng)
        print(f"{options.nodes} nodes, {len(known)} images, seed {options.seed}, victim {victim.name}", flush=True)
        load, watches, times = course(options, cluster, victim, known)
        rows = per_second(load.done, times["began"], options.seconds)
        csv, png = (work.result(f"figure12.{kind}", options.results) for kind in ("csv", "png"))
        write_csv(csv, rows)
        draw(png, rows, times)
        verdicts.number("the course", f"{csv}, {png}")
        verdicts.number("operations", len(load.done))
        judge_views(verdicts, watches, victim, times)
        judge_clients(verdicts, load, victim, times, RETURN_SECONDS_MAX)
        judge_latency(verdicts, load, times)
        judge_copies(verdicts, cluster, known + load.pushed, times["ready"])
        verdicts.leave()


if __name__ == "__main__":
    main()
