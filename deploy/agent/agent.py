"""One `atoll agent` as a process of its own, and what it says of itself."""

import json
import os
import signal
import subprocess
import sys
import time
import urllib.request

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "cluster"))

# pylint: disable=wrong-import-position
from cluster import ROOT, take_ports

# How long it may take until it answers.
READY_SECONDS = 15
# How long it may take to end when it is asked to.
STOP_SECONDS = 35


def binary():
    """The tool to test: $ATOLL, else the developer's build."""
    if given := os.environ.get("ATOLL"):
        return os.path.realpath(given)
    target = os.environ.get("CARGO_TARGET_DIR", os.path.join(ROOT, "target"))
    found = [os.path.join(target, kind, "atoll") for kind in ("release", "debug")]
    return next((path for path in found if os.path.exists(path)), found[0])


class Agent:
    """An agent for the registry at `registry`; its cache is kept between starts."""

    def __init__(self, work, registry, cache_bytes="2GiB"):
        self.work, self.registry = work, list(registry)
        self.address = f"127.0.0.1:{take_ports()[0]}"
        self.port = int(self.address.rsplit(":", 1)[1])
        self.log = os.path.join(work, "agent.log")
        self.told = ["--registry", ",".join(self.registry), "--listen", self.address]
        self.argv = [binary(), "agent", "run", *self.told, "--cache-dir", os.path.join(work, "cache"), "--cache-bytes", cache_bytes]
        self.process = None

    def start(self, log="info"):
        """Returns when it answers."""
        with open(self.log, "ab") as out:
            self.process = subprocess.Popen([*self.argv, "--log", log], stdout=out, stderr=out, stdin=subprocess.DEVNULL)
        deadline = time.monotonic() + READY_SECONDS
        while time.monotonic() < deadline and self.process.poll() is None:
            try:
                self.status()
                return self
            except OSError:
                time.sleep(0.05)
        raise RuntimeError(f"the agent does not answer:\n{self.log_text()[-3000:]}")

    def status(self):
        """What it says it did."""
        with urllib.request.urlopen(f"http://{self.address}/agent/status", timeout=5) as answer:
            return json.load(answer)

    def log_text(self):
        with open(self.log, encoding="utf-8", errors="replace") as file:
            return file.read()

    def kill(self):
        """At once, as a crash would."""
        if self.process and self.process.poll() is None:
            self.process.kill()
            self.process.wait()

    def stop(self):
        """Politely; returns the exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(STOP_SECONDS)

    def call(self, word, *arguments):
        """Another command of the tool with the same settings: install, doctor."""
        argv = [binary(), "agent", word, *(self.told if word != "uninstall" else []), *arguments]
        return subprocess.run(argv, capture_output=True, text=True, check=False)
