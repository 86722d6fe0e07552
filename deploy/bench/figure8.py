#!/usr/bin/env python3
"""One node, three nodes, and the conventional set-up, under growing numbers of clients: Figure 8.

    deploy/bench/figure8.py [--clients 1,4,16,64] [--seconds 5] [--results DIR]

Conventional: three of Debian's docker-registry on one shared folder behind nginx, round robin, as
registries are scaled today. Atoll: one node; three nodes whose clients ask any of them; three nodes whose
clients compute the owners of the digest and ask its first. Every installation holds the same blobs, some
asked for far more often than others; the clients are those of atoll-bench, in a closed loop. Printed and
written as figure8.csv and figure8.png: requests and bytes per second, latency, processor time, and the
ratios to the conventional set-up. The binaries are $ATOLLD and $ATOLL_BENCH, else target/release/….
"""

import argparse
import csv
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
import plot
from cluster import ROOT, Cluster, binary, take_ports
from figures import EXIT_NOT_RUN, Work
from shared import Gone, Wire

# Popularity falls with the rank to this power, as measured for registries (few blobs take most pulls).
ZIPF = 0.9
WEIGHT_FIRST = 1_000_000
START_SECONDS = 30
REGISTRY = """version: 0.1
log: {{level: error, accesslog: {{disabled: true}}}}
storage:
  cache: {{blobdescriptor: inmemory}}
  filesystem: {{rootdirectory: {folder}/shared}}
http: {{addr: "127.0.0.1:{port}", secret: bench}}
"""
NGINX = """daemon off;
worker_processes auto;
worker_rlimit_nofile 65536;
pid {folder}/nginx.pid;
error_log {folder}/error.log error;
events {{ worker_connections 16384; }}
http {{
  access_log off;
  keepalive_requests 1000000000;
  client_max_body_size 0;
  client_body_temp_path {folder}/body;
  proxy_temp_path {folder}/proxy;
  upstream registries {{ {servers} keepalive 128; }}
  server {{
    listen 127.0.0.1:{port} backlog=4096;
    location / {{
      proxy_pass http://registries;
      proxy_http_version 1.1;
      proxy_set_header Connection "";
      proxy_set_header Host $http_host;
      proxy_request_buffering off;
    }}
  }}
}}
"""


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--clients", default="1,4,16,64,128", help="numbers of clients")
    parser.add_argument("--seconds", type=float, default=5, help="length of each window")
    parser.add_argument("--rounds", type=int, default=3, help="each row is measured so often; the median counts")
    parser.add_argument("--blobs", type=int, default=300)
    parser.add_argument("--nodes", type=int, default=3)
    parser.add_argument("--results", help="folder of figure8.csv and figure8.png")
    parser.add_argument("--keep", action="store_true", help="keep the work folder, and say where it is")
    return parser.parse_args()


class Conventional:
    """Registries on a shared folder behind nginx."""

    def __init__(self, folder, count):
        self.processes, servers = [], []
        os.makedirs(os.path.join(folder, "shared"))
        for _ in range(count):
            port = take_ports()[0]
            config = os.path.join(folder, f"registry-{port}.yml")
            with open(config, "w", encoding="utf-8") as file:
                file.write(REGISTRY.format(folder=folder, port=port))
            self.start(folder, ["docker-registry", "serve", config], f"127.0.0.1:{port}")
            servers.append(f"server 127.0.0.1:{port};")
        self.address = f"127.0.0.1:{take_ports()[0]}"
        config = os.path.join(folder, "nginx.conf")
        with open(config, "w", encoding="utf-8") as file:
            file.write(NGINX.format(folder=folder, port=self.address.split(":")[1], servers=" ".join(servers)))
        self.start(folder, ["nginx", "-p", folder, "-e", os.path.join(folder, "error.log"), "-c", config], self.address)

    def start(self, folder, argv, address):
        with open(os.path.join(folder, "log"), "ab") as log:
            self.processes.append(subprocess.Popen(argv, stdout=log, stderr=log, stdin=subprocess.DEVNULL))
        deadline = time.monotonic() + START_SECONDS
        while True:
            try:
                Wire(address).ask("GET", "/v2/")
                return
            except Gone as gone:
                if time.monotonic() > deadline or self.processes[-1].poll() is not None:
                    raise OSError(f"{argv[0]} does not answer at {address}") from gone
                time.sleep(0.05)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for process in reversed(self.processes):
            process.terminate()
            process.wait()


class Blobs:
    """The same blobs for everyone, the most asked for first."""

    def __init__(self, count):
        rng = random.Random("figure8")
        sizes, weights = zip(*images.SIZES)
        self.contents = [rng.randbytes(max(size - rng.randrange(size // 4), 1)) for size in rng.choices(sizes, weights, k=count)]

    def push(self, address):
        wire = Wire(address)
        return [images.push_blob(wire, "figure8", content, whole=False) for content in self.contents]

    def write(self, path, pushed, who):
        """The list for the generator; `who` says which addresses may be asked for a blob."""
        with open(path, "w", encoding="utf-8") as file:
            for rank, blob in enumerate(pushed):
                nodes = ",".join(map(str, who(blob)))
                weight = max(int(WEIGHT_FIRST / (rank + 1) ** ZIPF), 1)
                file.write(f"{blob.digest}\t{blob.size}\t/v2/{blob.repository}/blobs/{blob.digest}\t{weight}\t{nodes}\n")


def measure(options, generator, name, addresses, pids, objects):
    """All rows of one installation."""
    rows = []
    for clients in map(int, options.clients.split(",")):
        argv = [generator, "mix", "--addresses", ",".join(addresses), "--pids", ",".join(map(str, pids)), "--objects", objects,
                "--clients", str(clients), "--window", str(options.seconds)]
        runs = [json.loads(subprocess.run(argv, check=True, stdout=subprocess.PIPE).stdout) for _ in range(options.rounds)]
        row = {"system": name, **{key: sorted(run[key] for run in runs)[len(runs) // 2] for key in runs[0]}}
        rows.append(row)
        print(f"{name}: {clients} clients, {row['per_second']:.0f}/s, {row['bytes_per_second'] / 1e6:.0f} MB/s, p50 {row['p50_ms']:.2f} ms, p99 {row['p99_ms']:.2f} ms", flush=True)
    return rows


def conventional(options, generator, work, blobs):
    folder = os.path.join(work.path, "conventional")
    with Conventional(folder, options.nodes) as system:
        objects = os.path.join(folder, "objects")
        blobs.write(objects, blobs.push(system.address), lambda blob: [0])
        return measure(options, generator, "conventional", [system.address], [each.pid for each in system.processes], objects)


def atoll(options, generator, work, blobs, nodes, ways):
    """One cluster, measured in each of the ways its clients can choose a node."""
    folder, rows = os.path.join(work.path, f"atoll-{nodes}"), []
    with Cluster(folder, binary(), {"log.level": "error"}) as cluster:
        cluster.found(nodes)
        addresses = [member.address for member in cluster.members]
        pushed, view = blobs.push(addresses[0]), cluster.members[0].view(ring=True)
        choices = {"any": lambda blob: range(nodes), "owner": lambda blob: [addresses.index(view.acting(blob.digest)[0])]}
        for way in ways:
            objects = os.path.join(folder, f"objects-{way}")
            blobs.write(objects, pushed, choices[way])
            name = f"atoll {nodes} {way}" if nodes > 1 else "atoll 1"
            rows += measure(options, generator, name, addresses, [member.process.pid for member in cluster.members], objects)
    return rows


def show(rows):
    """The table, with ratios to the conventional row of the same number of clients."""
    base = {row["clients"]: row for row in rows if row["system"] == "conventional"}
    print("\n| system | clients | requests/s | MB/s | p50 ms | p99 ms | CPU ms/request | throughput | latency p50 | latency p99 |")
    print("|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|")
    for row in rows:
        other = base[row["clients"]]
        print(f"| {row['system']} | {row['clients']} | {row['per_second']:.0f} | {row['bytes_per_second'] / 1e6:.0f} | {row['p50_ms']:.2f} | {row['p99_ms']:.2f} "
              f"| {1000 * row['cpu_seconds'] / max(row['requests'], 1):.2f} | {row['per_second'] / other['per_second']:.2f}× | {other['p50_ms'] / row['p50_ms']:.2f}× shorter | {other['p99_ms'] / row['p99_ms']:.2f}× shorter |")


def draw(path, rows):
    lines = {}
    for row in rows:
        lines.setdefault(row["system"], []).append(row)
    panels = [
        ("requests per second over clients", {name: [(row["clients"], row["per_second"]) for row in mine] for name, mine in lines.items()}),
        ("median latency in ms over clients", {name: [(row["clients"], row["p50_ms"]) for row in mine] for name, mine in lines.items()}),
    ]
    plot.chart(path, panels)


def main():
    options = arguments()
    generator = os.environ.get("ATOLL_BENCH", os.path.join(os.environ.get("CARGO_TARGET_DIR", os.path.join(ROOT, "target")), "release", "atoll-bench"))
    for program in ("docker-registry", "nginx", generator):
        if subprocess.run(["which", program], stdout=subprocess.DEVNULL, check=False).returncode:
            print(f"NOT RUN: {program} is missing")
            sys.exit(EXIT_NOT_RUN)
    blobs = Blobs(options.blobs)
    with Work("figure8", options.keep) as work:
        rows = conventional(options, generator, work, blobs)
        rows += atoll(options, generator, work, blobs, 1, ["any"])
        rows += atoll(options, generator, work, blobs, options.nodes, ["any", "owner"])
        show(rows)
        with open(work.result("figure8.csv", options.results), "w", encoding="utf-8", newline="") as file:
            writer = csv.DictWriter(file, list(rows[0]))
            writer.writeheader()
            writer.writerows(rows)
        draw(work.result("figure8.png", options.results), rows)


if __name__ == "__main__":
    main()
