#!/usr/bin/env python3
"""docker, containerd and podman through the agent, while nodes and the agent itself are killed.

    deploy/agent/proof.py [CASE...] [--nodes 5] [--pulls 200] [--keep]

hop       pulls of many layers: each is asked of one node, which holds it; the share of each node
kill      200 pulls at once through an agent that has nothing, one node killed under them: none fails
docker    push and pull by the name localhost:PORT/...
containerd  push by name; pulls by hosts.toml as `agent install` wrote it; the agent killed: pulls go on
podman    push by name; pulls by registries.conf as `agent install` wrote it; the agent killed
dead      no node at all: what the agent says, and how soon

What is not installed is named NOT RUN. The nodes are $ATOLLD, the tool is $ATOLL; else the developer's
builds.
"""

import argparse
import concurrent.futures
import os
import random
import re
import subprocess
import sys
import threading
import time
import urllib.request

sys.dont_write_bytecode = True  # a checkout stays as it is

# pylint: disable=wrong-import-position
from agent import ROOT, Agent
from programs import Containerd, Docker, Failed, Podman

import images
from cluster import Cluster, binary
from figures import EXIT_NOT_RUN, Verdicts, Work, percentile
from shared import Gone, Wire

# What containerd may lose when the agent is gone, and the agent may take to say that nobody is there.
FALL_BACK_SECONDS = 1.0
# How long owners may take to get what pushes owe them.
SETTLE_SECONDS = 60
# Images of the case `hop`: two layers each, on average, and a config.
IMAGES = 150
# Workers that pull at once, at most; and that push.
AT_ONCE, PUSHES_AT_ONCE = 200, 16


class Scene:
    """The nodes, and what is proven with them."""

    def __init__(self, work, arguments):
        self.work, self.arguments, self.verdicts = work, arguments, Verdicts()
        self.rng = random.Random(arguments.seed)
        self.cluster = Cluster(os.path.join(work.path, "nodes"), binary())
        self.missing = []
        self.fixtures = os.path.join(work.path, "fixtures")
        self.agents = 0

    def agent(self):
        """A new agent with an empty cache."""
        self.agents += 1
        folder = os.path.join(self.work.path, f"agent-{self.agents}")
        os.makedirs(folder)
        return Agent(folder, [member.address for member in self.cluster.up()[:2]])

    def fixture(self):
        """An image for real clients, made once."""
        if not os.path.exists(self.fixtures):
            subprocess.run([os.path.join(ROOT, "deploy", "e2e", "lib", "fixture.py"), self.fixtures], check=True, stdout=subprocess.DEVNULL)
        return os.path.join(self.fixtures, "large")

    def metric(self, name):
        """A counter, summed over the nodes that are up."""
        total = 0.0
        for member in self.cluster.up():
            with urllib.request.urlopen(f"http://{member.admin}/metrics", timeout=5) as answer:
                text = answer.read().decode()
            total += sum(float(value) for value in re.findall(rf"^{name}(?:_total)?(?:{{[^}}]*}})? ([0-9.e+]+)$", text, re.MULTILINE))
        return total

    def settle_copies(self):
        """Waits until every owner has the copies that are owed to it: a push counts with two of three."""
        deadline = time.monotonic() + SETTLE_SECONDS
        while sum(self.metric(name) for name in ("atoll_hints", "atoll_outbox", "atoll_under_replicated_blobs")):
            if time.monotonic() > deadline:
                self.verdicts.number("copies still owed", sum(self.metric(name) for name in ("atoll_hints", "atoll_outbox")))
                return
            time.sleep(0.2)

    def push(self, count):
        """Images pushed to the nodes themselves, several at a time: syncs to the disk are shared."""
        members = self.cluster.up()
        drawn = [(members[index % len(members)].address, f"proof/r{index % 20}", f"t{self.rng.getrandbits(40)}", images.draw(self.rng)) for index in range(count)]
        with concurrent.futures.ThreadPoolExecutor(PUSHES_AT_ONCE) as pool:
            return list(pool.map(lambda each: images.push(Wire(each[0]), *each[1:]), drawn))


def pull(address, image, tag=True):
    """One image, all of it, or only its blobs; seconds, or what went wrong."""
    wire, began = Wire(address), time.monotonic()
    try:
        if tag:
            images.pull_tag(wire, image)
        for blob in image.blobs:
            images.pull_blob(wire, blob)
        return time.monotonic() - began, None
    except (images.Wrong, Gone) as error:
        return time.monotonic() - began, str(error)
    finally:
        wire.close()


def pull_all(address, wanted, tag=True):
    """All at once; seconds of each, and what went wrong."""
    with concurrent.futures.ThreadPoolExecutor(AT_ONCE) as pool:
        done = list(pool.map(lambda image: pull(address, image, tag), wanted))
    return [seconds for seconds, _ in done], [error for _, error in done if error]


def hop(scene):
    """One server process for each blob."""
    agent = scene.agent().start()
    try:
        pushed = scene.push(IMAGES)
        scene.settle_copies()
        before = {name: scene.metric(name) for name in ("atoll_remote_reads", "atoll_fetches")}
        # Without the tags: what a tag means is asked of any node, which may have to ask for the manifest.
        _, wrong = pull_all(agent.address, pushed, tag=False)
        status = agent.status()
        gets = {node: figures["blob_gets"] for node, figures in status["nodes"].items() if figures["blob_gets"]}
        blobs = {blob.digest for image in pushed for blob in image.blobs}
        verdicts = scene.verdicts
        verdicts.hold("hop: every pull is right", not wrong, f"{len(pushed)} pulls, {len(wrong)} wrong", wrong)
        verdicts.hold("hop: each blob is asked of the nodes once", sum(gets.values()) == len(blobs), f"{sum(gets.values())} GETs for {len(blobs)} blobs")
        after = {name: scene.metric(name) for name in before}
        handed = sum(after[name] - before[name] for name in before)
        verdicts.hold("hop: the node that is asked has it", handed == 0, f"{handed:.0f} of {len(blobs)} read from another node", [f"{name}: {after[name] - before[name]:.0f}" for name in before])
        for node, count in sorted(gets.items()):
            verdicts.number(f"share of {node}", f"{100 * count / sum(gets.values()):.1f} % of {sum(gets.values())} blob GETs")
        _, wrong = pull_all(agent.address, pushed, tag=False)
        again = agent.status()
        verdicts.hold("hop: the second time comes from the cache", not wrong and again["misses"] == status["misses"], f"{again['hits'] - status['hits']} hits, {again['misses'] - status['misses']} misses")
        verdicts.hold("hop: it stops when it is asked to", agent.stop() == 0, "exit code 0")
    finally:
        agent.kill()


def kill(scene):
    """One node dies under many pulls."""
    agent, victim = scene.agent().start(), scene.cluster.members[2]
    try:
        pushed = scene.push(scene.arguments.pulls)
        steady, wrong = pull_all(agent.address, pushed[: len(pushed) // 2])
        scene.verdicts.hold("kill: before it every pull is right", not wrong, f"{len(steady)} pulls", wrong)
        agent.kill()
        agent = scene.agent().start()
        killer = threading.Timer(max(percentile(steady, 0.5) / 2, 0.05), victim.kill)
        killer.start()
        seconds, wrong = pull_all(agent.address, pushed)
        killer.join()
        scene.verdicts.hold("kill: no pull fails", not wrong and not victim.is_alive(), f"{len(pushed)} pulls at once, {len(wrong)} failed", wrong)
        for name, values in (("steady", steady), ("with a node killed", seconds)):
            scene.verdicts.number(f"pull {name}", f"p50 {percentile(values, 0.5):.2f} s, p99 {percentile(values, 0.99):.2f} s, longest {max(values):.2f} s")
        figures = agent.status()["nodes"].get(victim.address, {})
        scene.verdicts.number("requests the killed node did not answer", figures.get("failures", 0))
    finally:
        agent.kill()
        victim.start()
        victim.wait_ready()
        scene.cluster.settle()


def timed(action, *arguments):
    """Seconds of a command."""
    began = time.monotonic()
    action(*arguments)
    return time.monotonic() - began


def docker(scene):
    """By the name of the agent."""
    agent = scene.agent().start()
    try:
        with Docker(scene.work.path) as program:
            program.load(scene.fixture())
            name = f"localhost:{agent.port}/proof/docker:v1"
            program.push(name)
            program.forget()
            cold = timed(program.pull, name)
            program.forget()
            warm = timed(program.pull, name)
            status = agent.status()
            scene.verdicts.hold("docker: pushes and pulls through the agent", status["hits"] > 0, f"cold {cold:.2f} s, from the cache {warm:.2f} s, {status['hits']} hits")
            doctor = agent.call("doctor", "--root", program.home)
            scene.verdicts.hold("docker: doctor finds nothing wrong", doctor.returncode == 0, doctor.stdout.strip().replace("\n", "; "))
    finally:
        agent.kill()


def installed(scene, agent, program):
    """A root of its own with what `install` wrote; checks that `uninstall` leaves nothing."""
    root = os.path.join(scene.work.path, f"root-{program}")
    os.makedirs(root)
    for call, code in ((("install", f"--{program}", "--root", root, "--dry-run"), 0), (("install", f"--{program}", "--root", root), 0)):
        done = agent.call(*call)
        scene.verdicts.hold(f"{program}: {' '.join(call[:1] + call[4:])}", done.returncode == code, f"exit code {done.returncode}", [done.stdout, done.stderr])
    return root


def removed(scene, agent, program, root):
    done = agent.call("uninstall", "--root", root)
    scene.verdicts.hold(f"{program}: uninstall leaves nothing behind", done.returncode == 0 and os.listdir(root) == [], f"{os.listdir(root)}", [done.stderr])


def containerd(scene):
    """As a mirror by hosts.toml, and without the agent."""
    agent = scene.agent().start()
    try:
        with Containerd(scene.work.path) as program:
            program.load(scene.fixture())
            program.push(f"{agent.address}/proof/containerd:v1")
            scene.verdicts.hold("containerd: pushes through the agent", True, "by its name")
            root = installed(scene, agent, "containerd")
            hosts = os.path.join(root, "etc/containerd/certs.d")
            name = f"{agent.registry[0]}/proof/containerd:v1"
            took = {}
            for how in ("through the agent, cold", "through the agent, from its cache"):
                program.forget()
                took[how] = timed(program.pull, name, hosts)
            before = agent.status()
            scene.verdicts.hold("containerd: pulls are served by the agent", before["hits"] > 0 and before["misses"] > 0, f"{before['hits']} hits, {before['misses']} misses")
            program.forget()
            took["without a mirror"] = timed(program.pull, name)
            agent.kill()
            program.forget()
            took["with the agent killed"] = timed(program.pull, name, hosts)
            for how, seconds in took.items():
                scene.verdicts.number(f"containerd {how}", f"{seconds:.2f} s")
            lost = took["with the agent killed"] - took["without a mirror"]
            scene.verdicts.hold("containerd: goes on by itself within a second", lost < FALL_BACK_SECONDS, f"{lost:+.2f} s against no mirror at all")
            # Killed in the middle, again and again at another moment.
            wrong = []
            for delay in (0.05, 0.2, 0.4, 0.8):
                agent.start()
                program.forget()
                timer = threading.Timer(delay, agent.kill)
                timer.start()
                try:
                    program.pull(name, hosts)
                except Failed as error:
                    wrong.append(str(error))
                timer.join()
            scene.verdicts.hold("containerd: pulls survive the agent's death under them", not wrong, f"{len(wrong)} of 4 failed", wrong)
            removed(scene, agent, "containerd", root)
    finally:
        agent.kill()


def podman(scene):
    """As a mirror by registries.conf, and without the agent."""
    agent = scene.agent().start()
    try:
        with Podman(scene.work.path) as program:
            program.load(scene.fixture())
            program.push(f"{agent.address}/proof/podman:v1")
            root = installed(scene, agent, "podman")
            program.registries = os.path.join(root, "etc/containers/registries.conf.d/900-atoll-agent.conf")
            name = f"{agent.registry[0]}/proof/podman:v1"
            program.forget()
            through = timed(program.pull, name)
            status = agent.status()
            served = status["hits"] + status["misses"]
            scene.verdicts.hold("podman: pushes and pulls through the agent", served > 0, f"{through:.2f} s, {served} contents served")
            agent.kill()
            program.forget()
            alone = timed(program.pull, name)
            scene.verdicts.hold("podman: goes on without the agent", True, f"{alone:.2f} s")
            removed(scene, agent, "podman", root)
    finally:
        agent.kill()


def dead(scene):
    """Nobody is there."""
    agent = scene.agent().start()
    try:
        image = scene.push(1)[0]
        for member in scene.cluster.members:
            member.kill()
        began = time.monotonic()
        answer = Wire(agent.address).ask("GET", f"/v2/{image.repository}/manifests/{image.tag}")
        took = time.monotonic() - began
        scene.verdicts.hold("dead: the agent says so within a second", answer.status == 503 and b'"errors"' in answer.body and took < FALL_BACK_SECONDS, f"{answer.status} after {took:.2f} s")
    finally:
        agent.kill()


CASES = {"hop": (hop, None), "kill": (kill, None), "docker": (docker, Docker), "containerd": (containerd, Containerd), "podman": (podman, Podman), "dead": (dead, None)}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cases", nargs="*", metavar="CASE")
    parser.add_argument("--nodes", type=int, default=5)
    parser.add_argument("--pulls", type=int, default=200)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--keep", action="store_true")
    arguments = parser.parse_args()
    chosen = arguments.cases or list(CASES)
    if unknown := set(chosen) - set(CASES):
        parser.error(f"no such case: {', '.join(sorted(unknown))}")
    with Work("atoll-agent", arguments.keep) as work:
        scene = Scene(work, arguments)
        with scene.cluster:
            scene.cluster.found(arguments.nodes)
            for case in chosen:
                action, program = CASES[case]
                if program and program.missing():
                    print(f"NOT RUN {case}: {', '.join(program.missing())} is not installed", flush=True)
                    scene.missing.append(case)
                    continue
                try:
                    action(scene)
                except (Failed, Gone, images.Wrong) as error:
                    scene.verdicts.hold(f"{case}: runs to its end", False, "an error", str(error).splitlines())
        if scene.missing and not scene.verdicts.broken:
            sys.exit(EXIT_NOT_RUN)
        scene.verdicts.leave()


if __name__ == "__main__":
    main()
