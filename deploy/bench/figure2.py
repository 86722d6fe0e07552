#!/usr/bin/env python3
"""How many caches hold the same blob, and how many servers a request passes: Figure 2.

    deploy/bench/figure2.py [--nodes 5] [--blobs 200] [--requests 4000] [--results DIR]

Behind a load balancer every registry comes to hold whatever is asked for often, so that the memory of
all together holds little more than that of one. Conventional: Debian's docker-registry on one shared
folder behind nginx, round robin; its access log says which registry read which blob. Atoll: clients that
ask any node, and clients that ask the first owner of the digest; the nodes' own counters say what they
hold in memory and what they fetched from each other. Every installation is started anew after the push,
holds the same blobs, and gets the same requests. The binary is $ATOLLD, else target/release/atolld.
"""

import argparse
import csv
import os
import random
import subprocess
import sys

sys.dont_write_bytecode = True  # a checkout stays as it is
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "cluster"))

# pylint: disable=wrong-import-position
import figure8
import images
from cluster import Cluster, binary
from figures import EXIT_NOT_RUN, Work
from shared import Wire

# Blobs that fit the memory of one node many times: what is counted is copies, not evictions.
BLOB_BYTES = (1 << 10, 256 << 10)
# Servers that a request passes behind a balancer, at least: the balancer and a registry.
BALANCED_HOPS = 2


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--nodes", type=int, default=5)
    parser.add_argument("--blobs", type=int, default=200)
    parser.add_argument("--requests", type=int, default=4000)
    parser.add_argument("--results", help="folder of figure2.csv")
    parser.add_argument("--keep", action="store_true", help="keep the work folder, and say where it is")
    return parser.parse_args()


class Requests:
    """The same blobs and the same sequence of requests for everyone."""

    def __init__(self, options):
        rng = random.Random("figure2")
        self.contents = [rng.randbytes(rng.randrange(*BLOB_BYTES)) for _ in range(options.blobs)]
        weights = [1 / (rank + 1) ** figure8.ZIPF for rank in range(options.blobs)]
        self.ranks = rng.choices(range(options.blobs), weights, k=options.requests)
        self.asked = len(set(self.ranks))

    def push(self, wire):
        return [images.push_blob(wire, "figure2", content, whole=False) for content in self.contents]

    def send(self, pushed, wires, pick):
        rng = random.Random("figure2/clients")
        for rank in self.ranks:
            images.pull_blob(wires[pick(rng, pushed[rank])], pushed[rank])


def row(system, requests, copies, hops, note):
    return {"system": system, "requests": len(requests.ranks), "blobs": requests.asked, "copies_in_memory": round(copies / requests.asked, 3),
            "servers_per_request": round(hops, 3), "by_node": note}


def conventional(options, work, requests):
    folder = os.path.join(work.path, "conventional")
    log = os.path.join(folder, "access.log")
    figure8.NGINX = figure8.NGINX.replace("access_log off;", "log_format who '$upstream_addr $request_uri $request_method';\n  access_log " + log.replace("{", "{{") + " who;")
    with figure8.Conventional(folder, options.nodes) as system:
        pushed = requests.push(Wire(system.address))
        before = os.path.getsize(log)
        requests.send(pushed, [Wire(system.address)], lambda rng, blob: 0)
    with open(log, encoding="utf-8") as file:
        file.seek(before)
        lines = [line.split() for line in file if line.endswith("GET\n")]
    read = {(server, path) for server, path, _ in lines}
    shares = [sum(server == each for server, _, _ in lines) for each in sorted({server for server, _, _ in lines})]
    return row("conventional", requests, len(read), BALANCED_HOPS, shares)


def counter(member, name, *labels):
    """The sum of a metric's samples that carry all of `labels`."""
    text = Wire(member.admin).ask("GET", "/metrics").body.decode()
    lines = [line for line in text.splitlines() if line.startswith(name) and line[len(name)] in " {" and all(label in line for label in labels)]
    return sum(float(line.rsplit(" ", 1)[1]) for line in lines)


def atoll(options, work, requests, way):
    with Cluster(os.path.join(work.path, f"atoll-{way}"), binary(), {"log.level": "error"}) as cluster:
        cluster.found(options.nodes)
        pushed = requests.push(Wire(cluster.members[0].address))
        for member in cluster.members:  # what the push left in memory does not count
            member.stop()
        for member in cluster.members:
            member.start()
        for member in cluster.members:
            member.wait_ready()
        cluster.settle()
        view = cluster.members[0].view(ring=True)
        addresses = [member.address for member in cluster.members]
        pick = {"any": lambda rng, blob: rng.randrange(len(addresses)), "owner": lambda rng, blob: addresses.index(view.acting(blob.digest)[0])}[way]
        requests.send(pushed, [Wire(address) for address in addresses], pick)
        copies = sum(counter(member, "atoll_cache_entries", "object") for member in cluster.members)
        remote = sum(counter(member, "atoll_remote_reads_total") for member in cluster.members)
        shares = [round(counter(member, "atoll_http_requests_total", 'method="GET"', 'route="blob"')) for member in cluster.members]
    return row(f"atoll, {way} node" if way == "any" else "atoll, first owner", requests, copies, 1 + remote / len(requests.ranks), shares)


def main():
    options = arguments()
    requests = Requests(options)
    rows = []
    with Work("figure2", options.keep) as work:
        if all(subprocess.run(["which", program], stdout=subprocess.DEVNULL, check=False).returncode == 0 for program in ("docker-registry", "nginx")):
            rows.append(conventional(options, work, requests))
        rows += [atoll(options, work, requests, way) for way in ("any", "owner")]
        print(f"{options.nodes} servers, {len(requests.ranks)} requests for {requests.asked} blobs\n")
        print("| system | caches that hold a blob | servers a request passes | requests by node |")
        print("|---|--:|--:|---|")
        for each in rows:
            print(f"| {each['system']} | {each['copies_in_memory']:.2f} | {each['servers_per_request']:.2f} | {' '.join(map(str, each['by_node']))} |")
        with open(work.result("figure2.csv", options.results), "w", encoding="utf-8", newline="") as file:
            writer = csv.DictWriter(file, list(rows[0]))
            writer.writeheader()
            writer.writerows(rows)
    if len(rows) < 3:
        print("NOT RUN: docker-registry or nginx is missing; only Atoll was measured")
        sys.exit(EXIT_NOT_RUN)


if __name__ == "__main__":
    main()
