"""Cases that are more than requests and answers: named in the case files, written here."""

import subprocess
import tempfile

from . import wire  # noqa: F401  (the runner catches its errors through here)


class NotPossible(Exception):
    """This machine or server cannot take the case; it is reported by name as not run."""


class Context:
    """What a probe works with."""

    def __init__(self, site, steps, options):
        self.site, self.server, self.steps = site, site.server, steps
        self.address = site.server.address
        self.full = options.full


def mount_disk(mebibytes):
    """A small file system of its own; its directory."""
    folder = tempfile.mkdtemp(prefix="bad-inputs-disk-")
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={mebibytes}m", "tmpfs", folder],
        capture_output=True, text=True, check=False,
    )
    if done.returncode != 0:
        raise NotPossible(f"a file system cannot be mounted: {done.stderr.strip()}")
    return folder


# Probes register themselves here; those that restart the server are named, as the process may
# then be another.
PROBES = {}
RESTARTING = set()


def probe(restarts=False):
    def register(function):
        name = function.__name__.replace("_", "-")
        PROBES[name] = function
        if restarts:
            RESTARTING.add(name)
        return function

    return register


from . import probes_h2, probes_load, probes_storage, probes_transport  # noqa: E402,F401
