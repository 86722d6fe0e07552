"""The process under test: started, killed and started again on the same data."""

import os
import shlex
import signal
import socket
import subprocess
import time
import urllib.request

# How long a node may take from its start to "ready": it recovers everything in this time.
READY_SECONDS = 60
# The configuration of a node of our own; all on loopback.
CONFIG = """[node]
data_dir = "{data}"
[http]
listen = "127.0.0.1:{http}"
[cluster]
listen = "127.0.0.1:{cluster}"
[admin]
listen = "127.0.0.1:{admin}"
[log]
level = "warn"
"""


class Unready(Exception):
    """The node did not come up; the text says how."""


def free_ports(count):
    """Ports nobody listens on now."""
    held = [socket.socket() for _ in range(count)]
    for each in held:
        each.bind(("127.0.0.1", 0))
    ports = [each.getsockname()[1] for each in held]
    for each in held:
        each.close()
    return ports


class Node:
    """`atolld serve --config`, or any command that serves {data} at {http} (or what {config} says) and is ready at /readyz of {admin}."""

    def __init__(self, work, binary, command=None):
        self.data = os.path.join(work, "data")
        self.log = os.path.join(work, "node.log")
        os.makedirs(self.data, exist_ok=True)
        http, cluster, admin = free_ports(3)
        ports = {"data": self.data, "http": http, "cluster": cluster, "admin": admin}
        self.address = f"127.0.0.1:{http}"
        config = os.path.join(work, "atolld.toml")
        with open(config, "w", encoding="utf-8") as file:
            file.write(CONFIG.format(**ports))
        self.argv = [binary, "serve", "--config", config]
        if command:
            self.argv = [part.format(config=config, **ports) for part in shlex.split(command)]
            admin = admin if "{admin}" in command or "{config}" in command else http
        self.ready_url = f"http://127.0.0.1:{admin}/readyz"
        self.process = None

    def start(self):
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen(self.argv, stdout=log, stderr=log, stdin=subprocess.DEVNULL)
        self.started = time.monotonic()

    def wait_ready(self):
        """Seconds from the start to ready."""
        while (waited := time.monotonic() - self.started) < READY_SECONDS:
            if self.process.poll() is not None:
                raise Unready(f"the node ended with {self.process.returncode}:\n{self.log_end()}")
            try:
                with urllib.request.urlopen(self.ready_url, timeout=2) as answer:
                    if answer.status == 200:
                        return waited
            except OSError:
                time.sleep(0.005)
        raise Unready(f"the node was not ready within {READY_SECONDS} s:\n{self.log_end()}")

    def kill(self):
        """kill -9, and gone before this returns."""
        if self.process and self.process.poll() is None:
            self.process.send_signal(signal.SIGKILL)
        if self.process:
            self.process.wait()

    def is_alive(self):
        return self.process.poll() is None

    def log_end(self, count=25):
        with open(self.log, encoding="utf-8", errors="replace") as file:
            return "".join(file.readlines()[-count:])
