"""docker, containerd and podman, each with folders and a daemon of its own, stopped by its pid."""

import os
import shutil
import subprocess
import time

# How long a daemon may take until it answers.
READY_SECONDS = 60
STOP_SECONDS = 20
CONTAINERD = """version = 2
root = "{home}/root"
state = "{home}/state"
disabled_plugins = ["io.containerd.grpc.v1.cri"]
[grpc]
  address = "{home}/containerd.sock"
[ttrpc]
  address = "{home}/containerd.ttrpc"
"""


class Failed(Exception):
    """A command ended with an error; says which and what it printed."""


def run(argv, env=None):
    """Runs a command to its end; its output."""
    done = subprocess.run(argv, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL, env={**os.environ, **(env or {})})
    if done.returncode:
        raise Failed(f"{' '.join(argv)}: {done.returncode}\n{(done.stdout + done.stderr)[-2000:]}")
    return done.stdout


class Program:
    """What all of them share; `missing` names what is not installed."""

    needs = ()

    def __init__(self, work):
        self.home = os.path.join(work, type(self).__name__.lower())
        os.makedirs(self.home, exist_ok=True)
        self.daemon = None

    @classmethod
    def missing(cls):
        return [name for name in cls.needs if shutil.which(name) is None]

    def begin(self, argv, ready):
        """Starts the daemon and waits until `ready` runs without an error."""
        with open(os.path.join(self.home, "daemon.log"), "ab") as log:
            self.daemon = subprocess.Popen(argv, stdout=log, stderr=log, stdin=subprocess.DEVNULL)
        deadline = time.monotonic() + READY_SECONDS
        while True:
            try:
                ready()
                return
            except Failed as error:
                if time.monotonic() > deadline or self.daemon.poll() is not None:
                    raise Failed(f"{argv[0]} does not answer: {error}") from error
                time.sleep(0.2)

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        if self.daemon and self.daemon.poll() is None:
            self.daemon.terminate()
            try:
                self.daemon.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                self.daemon.kill()
                self.daemon.wait()

    def start(self):
        """Nothing, where there is no daemon."""


class Docker(Program):
    """A dockerd without a network of its own."""

    needs = ("docker", "dockerd")

    def start(self):
        home = self.home
        with open(f"{home}/daemon.json", "w", encoding="utf-8") as file:
            file.write("{}")
        os.makedirs(f"{home}/config", exist_ok=True)
        argv = ["dockerd", "--config-file", f"{home}/daemon.json", "--host", f"unix://{home}/docker.sock", "--data-root", f"{home}/data"]
        argv += ["--exec-root", f"{home}/exec", "--pidfile", f"{home}/docker.pid", "--storage-driver=vfs"]
        self.begin([*argv, "--iptables=false", "--ip6tables=false", "--bridge=none"], lambda: self.run("version"))

    def run(self, *arguments):
        return run(["docker", "--config", f"{self.home}/config", "--host", f"unix://{self.home}/docker.sock", *arguments])

    def load(self, fixture):
        self.run("load", "-q", "-i", f"{fixture}/docker.tar")

    def push(self, name):
        self.run("tag", "fixture.local/image:v1", name)
        self.run("push", "-q", name)

    def forget(self):
        for found in sorted(set(self.run("image", "ls", "-q").split())):
            self.run("rmi", "-f", found)

    def pull(self, name):
        self.run("pull", "-q", name)


class Containerd(Program):
    """A containerd without the Kubernetes plugin, used by `ctr`."""

    needs = ("containerd", "ctr")

    def start(self):
        with open(f"{self.home}/config.toml", "w", encoding="utf-8") as file:
            file.write(CONTAINERD.format(home=self.home))
        self.begin(["containerd", "--config", f"{self.home}/config.toml"], lambda: self.run("version"))

    def run(self, *arguments):
        return run(["ctr", "--address", f"{self.home}/containerd.sock", "--namespace", "proof", *arguments])

    def load(self, fixture):
        self.run("image", "import", "--no-unpack", f"{fixture}/layout.tar")

    def push(self, name):
        self.run("image", "push", "--plain-http", name, "fixture.local/image:v1")

    def forget(self):
        for found in self.run("image", "ls", "-q").split():
            self.run("image", "rm", "--sync", found)

    def pull(self, name, hosts=None):
        """Through `hosts` (a certs.d folder), or plainly."""
        how = ["--hosts-dir", hosts] if hosts else ["--plain-http"]
        self.run("image", "pull", *how, "--snapshotter", "native", name)


class Podman(Program):
    """podman with a store of its own; it has no daemon."""

    needs = ("podman",)

    def __init__(self, work):
        super().__init__(work)
        self.registries = None

    def run(self, *arguments):
        home = self.home
        argv = ["podman", "--root", f"{home}/root", "--runroot", f"{home}/run", "--storage-driver", "vfs", "--cgroup-manager", "cgroupfs"]
        env = {"CONTAINERS_REGISTRIES_CONF": self.registries} if self.registries else None
        return run([*argv, "--events-backend", "file", *arguments], env)

    def load(self, fixture):
        self.run("load", "-q", "-i", f"{fixture}/docker.tar")

    def push(self, name):
        self.run("push", "-q", "--tls-verify=false", "fixture.local/image:v1", f"docker://{name}")

    def forget(self):
        self.run("rmi", "-a", "-f")

    def pull(self, name):
        """`registries` decides about TLS and mirrors, where it is set."""
        self.run("pull", "-q", *([] if self.registries else ["--tls-verify=false"]), name)
