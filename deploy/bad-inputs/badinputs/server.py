"""A registry under test: started here, or already running elsewhere."""

import json
import os
import resource
import shutil
import signal
import subprocess
import tempfile
import time

from . import oracle, wire

START_SECONDS_MAX = 30
STOP_SECONDS_MAX = 20

DISTRIBUTION_CONFIG = """\
version: 0.1
log: {level: error, accesslog: {disabled: true}}
storage:
  cache: {blobdescriptor: inmemory}
  filesystem: {rootdirectory: %s}
  delete: {enabled: true}
http: {addr: "127.0.0.1:%d"}
"""


class NotStarted(Exception):
    """The server could not be started."""


class Server:
    """One process; `profile` holds its environment and limits."""

    def __init__(self, kind, atolld, port, profile=None, data=None):
        self.kind, self.atolld, self.port = kind, atolld, port
        self.profile = profile or {}
        self.home = tempfile.mkdtemp(prefix="bad-inputs-")
        self.data = data or os.path.join(self.home, "data")
        self.cwd = os.path.join(self.home, "cwd")
        os.makedirs(self.data, exist_ok=True)
        os.makedirs(self.cwd)
        self.address = ("127.0.0.1", port)
        self.log = open(os.path.join(self.home, "log"), "ab")
        self.process = None
        try:
            self.start()
        except BaseException:
            self.stop()
            raise
        self.files = oracle.Files(self.home, self.data, oracle.LAYOUT if kind == "atoll" else None)

    def secrets(self):
        """What no answer may show."""
        return [self.data, self.home, "panicked at", "/.cargo/registry"]

    def start(self):
        command = self._atoll() if self.kind == "atoll" else self._distribution()
        environment = {**os.environ, **self.profile.get("env", {})}
        files = self.profile.get("open_files")

        def limit():
            if files:
                resource.setrlimit(resource.RLIMIT_NOFILE, (files, files))

        try:
            self.process = subprocess.Popen(
                command, cwd=self.cwd, env=environment, preexec_fn=limit,
                stdin=subprocess.DEVNULL, stdout=self.log, stderr=self.log,
            )
        except OSError as error:
            raise NotStarted(f"{command[0]}: {error}") from error
        self.pid = self.process.pid
        deadline = time.monotonic() + START_SECONDS_MAX
        while not self._ready():
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise NotStarted(self._last_words())
            time.sleep(0.05)

    def _atoll(self):
        marker = os.path.join(self.data, "dev.json")
        if os.path.exists(marker):
            os.remove(marker)
        place = ["--data-dir", self.data, "--port", str(self.port)]
        return [self.atolld, "dev", "--nodes", "1", *place]

    def _distribution(self):
        config = os.path.join(self.home, "config.yml")
        with open(config, "w") as file:
            file.write(DISTRIBUTION_CONFIG % (self.data, self.port))
        return ["docker-registry", "serve", config]

    def _ready(self):
        try:
            if self.kind != "atoll":
                return wire.exchange(self.address, wire.request(b"GET", b"/v2/")).status == 200
            with open(os.path.join(self.data, "dev.json")) as file:
                node = json.load(file)["nodes"][0]
            self.pid, self.address = node["pid"], address_in(node["http"])
            ready = wire.exchange(address_in(node["admin"]), wire.request(b"GET", b"/readyz"))
            return ready.status == 200
        except (OSError, ValueError, KeyError, wire.NoAnswer):
            return False

    def _last_words(self):
        self.log.flush()
        with open(self.log.name, "rb") as file:
            return file.read()[-600:].decode("utf-8", "replace").strip() or "no answer, no output"

    def alive(self):
        try:
            os.kill(self.pid, 0)
            return self.process.poll() is None
        except ProcessLookupError:
            return False

    def resident_bytes(self):
        try:
            with open(f"/proc/{self.pid}/status") as file:
                line = next(line for line in file if line.startswith("VmRSS"))
            return int(line.split()[1]) * 1024
        except (OSError, StopIteration):
            return 0

    def kill(self):
        """A power cut for the process: no goodbye."""
        os.kill(self.pid, signal.SIGKILL)
        if self.pid != self.process.pid:
            self.process.terminate()
        self.process.wait(STOP_SECONDS_MAX)

    def stop(self):
        if self.process and self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(STOP_SECONDS_MAX)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        self.log.close()
        shutil.rmtree(self.home, ignore_errors=True)


def address_in(text):
    host, _, port = text.split("://")[-1].rstrip("/").rpartition(":")
    return host, int(port)
