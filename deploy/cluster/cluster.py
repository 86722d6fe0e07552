"""Several nodes on this machine, each a process of its own that can be killed and started again.

`atolld dev` ends with the first node that ends; a test that kills nodes starts them itself. Node 1
founds the cluster, every other one joins with a token that node 1 made. Ports lie below the range
from which the kernel takes the source ports of connections: a node that is down for ten seconds under
load would else find its port taken.
"""

import json
import os
import random
import secrets
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request

from shared import Node, Unready
from view import View

ROOT = os.path.realpath(os.path.join(os.path.dirname(__file__), "..", ".."))
# Ports of our own: below what /proc/sys/net/ipv4/ip_local_port_range names by default.
PORTS = range(12_000, 30_000, 10)
# How long the nodes may take until all of them hold one settled view.
SETTLE_SECONDS = 60
# How long a node may take to end when it is asked to.
STOP_SECONDS = 40
# How long one question to a node may take.
ASK_SECONDS = 5
CONFIG = """[node]
data_dir = "{data}"
id = "{name}"
[http]
listen = "127.0.0.1:{http}"
[cluster]
listen = "127.0.0.1:{cluster}"
[admin]
listen = "127.0.0.1:{admin}"
[log]
level = "info,openraft=off"
format = "text"
"""


class Refused(Exception):
    """A node answered, and not with what was asked for."""


def take_ports():
    """Three neighbouring ports nobody listens on."""
    while True:
        first = random.choice(PORTS)
        try:
            for port in range(first, first + 3):
                with socket.socket() as held:
                    held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                    held.bind(("127.0.0.1", port))
        except OSError:
            continue
        return range(first, first + 3)


def ask(address, target, body=None, seconds=ASK_SECONDS):
    """One question with a JSON answer; `body` makes it a POST."""
    data = None if body is None else json.dumps(body).encode()
    headers = {} if body is None else {"Content-Type": "application/json"}
    request = urllib.request.Request(f"http://{address}{target}", data=data, headers=headers)
    try:
        with urllib.request.urlopen(request, timeout=seconds) as answer:
            return json.loads(answer.read() or b"null")
    except urllib.error.HTTPError as error:
        raise Refused(f"{target} at {address}: {error.code} {error.read()[:300]!r}") from error


class Member(Node):
    """One node: its folder, its addresses, its process."""

    def __init__(self, work, binary, name, settings=None):  # pylint: disable=super-init-not-called
        self.name = name
        self.folder = os.path.join(work, name)
        self.data = os.path.join(self.folder, "data")
        self.log = os.path.join(self.folder, "node.log")
        os.makedirs(self.data, exist_ok=True)
        http, cluster, admin = take_ports()
        self.address, self.grpc, self.admin = (f"127.0.0.1:{port}" for port in (http, cluster, admin))
        self.ready_url = f"http://{self.admin}/readyz"
        self.config = os.path.join(self.folder, "atolld.toml")
        with open(self.config, "w", encoding="utf-8") as file:
            file.write(CONFIG.format(data=self.data, name=name, http=http, cluster=cluster, admin=admin))
        self.argv = [binary, "serve", "--config", self.config]
        self.variables = {"ATOLL__" + key.upper().replace(".", "__"): str(value) for key, value in (settings or {}).items()}
        self.process = None
        self.number = None

    def start(self, *arguments):
        """Starts the process; `arguments` only matter to a node without data."""
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen(
                [*self.argv, *arguments], stdout=log, stderr=log, stdin=subprocess.DEVNULL, env={**os.environ, **self.variables}
            )
        self.started = time.monotonic()

    def stop(self):
        """Politely; a node that does not end in time is killed, and that is an error."""
        if self.process is None or self.process.poll() is not None:
            return
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired as error:
            self.kill()
            raise Unready(f"{self.name} did not end within {STOP_SECONDS} s:\n{self.log_end()}") from error

    def is_alive(self):
        return self.process is not None and self.process.poll() is None

    def view(self, ring=False):
        """What it takes the cluster to be."""
        return View(ask(self.address, "/v2/_atoll/view?ring=1" if ring else "/v2/_atoll/view"))

    def registries(self):
        """The members it names to clients."""
        return ask(self.address, "/v2/registries")["Registries"]

    def log_text(self):
        with open(self.log, encoding="utf-8", errors="replace") as file:
            return file.read()


class Cluster:
    """All nodes of one test; leaving the `with` ends them."""

    def __init__(self, work, binary, settings=None):
        self.work, self.binary, self.settings = work, binary, settings or {}
        self.members = []
        # A token that holds as long as the founder is configured with it; under TLS a token carries the
        # fingerprint of a CA that does not exist yet, so there each node gets one of its own.
        plain = self.settings.get("cluster.tls") != "always"
        self.standing = f"atoll1.plain.{secrets.token_hex(8)}.{secrets.token_hex(16)}" if plain else None

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for member in self.members:
            member.kill()

    def found(self, count):
        """A founded cluster of `count` nodes in one settled view."""
        self.add(settings={"cluster.token": self.standing} if self.standing else {}).start()
        self.members[0].wait_ready()
        self.grow(count - 1)
        return self

    def add(self, name=None, settings=None):
        """One more node, not started."""
        member = Member(self.work, self.binary, name or f"node-{len(self.members) + 1}", {**self.settings, **(settings or {})})
        self.members.append(member)
        return member

    def token(self, seconds=None):
        """A join token, made by a node that is up; good for so long."""
        answer = ask(self.up()[0].admin, "/v1/tokens", {"ttl_seconds": seconds} if seconds else {})
        return answer["token"]

    def grow(self, count):
        """`count` nodes join at once; returns them when everyone sees them."""
        added = []
        for _ in range(count):
            token, through = self.standing or self.token(), self.up()[0].grpc
            added.append(self.add())
            added[-1].start("--join", through, "--token", token)
        for member in added:
            member.wait_ready()
        self.settle()
        return added

    def up(self):
        """The nodes whose process runs."""
        return [member for member in self.members if member.is_alive()]

    def numbers(self):
        """Learns each node's number from the view."""
        by_address = {each.http: each.number for each in self.up()[0].view().members.values()}
        for member in self.members:
            member.number = by_address.get(member.address, member.number)

    def settle(self, seconds=SETTLE_SECONDS, closed=True):
        """Waits until every running node holds one view in which exactly they are up and in the ring,
        with nothing left open (`closed`). Returns the seconds it took."""
        began, want, said = time.monotonic(), {member.address for member in self.up()}, None
        while (waited := time.monotonic() - began) < seconds:
            said = self._said()
            views = [view for view in said if view]
            one = len(views) == len(said) and len({view.epoch for view in views}) == 1
            if one and views[0].serving() == want and not (closed and views[0].open):
                self.numbers()
                return waited
            time.sleep(0.05)
        told = "\n".join(f"{member.name}: {view}" for member, view in zip(self.up(), said))
        raise Unready(f"no one settled view within {seconds} s:\n{told}\n{self.up()[0].log_end()}")

    def _said(self):
        """Each running node's view, or None where there is none."""
        said = []
        for member in self.up():
            try:
                said.append(member.view())
            except (OSError, Refused, ValueError):
                said.append(None)
        return said

    def leader(self):
        """The node that leads the coordination group."""
        self.numbers()
        number = ask(self.up()[0].admin, "/v1/status")["coordination"]["leader"]
        return next(member for member in self.members if member.number == number)

    def at(self, address):
        """The node that serves clients there."""
        return next(member for member in self.members if member.address == address)


def binary():
    """The node to test: $ATOLLD, else the developer's release build, built if missing."""
    if given := os.environ.get("ATOLLD"):
        return os.path.realpath(given)
    path = os.path.join(os.environ.get("CARGO_TARGET_DIR", os.path.join(ROOT, "target")), "release", "atolld")
    if not os.path.exists(path):
        subprocess.run(["cargo", "build", "--release", "--bin", "atolld"], cwd=ROOT, check=True)
    return path
