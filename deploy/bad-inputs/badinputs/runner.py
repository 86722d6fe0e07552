"""Works through families, one after the other, each judged by its cases and by what it left."""

import os
import subprocess
import time

from . import oracle, probes
from .server import NotStarted, Server
from .steps import Failed, Steps
from .text import Texts
from .trap import Trap

# Memory may settle for this long before it is compared.
SETTLE_SECONDS = 2.0

CANARY = {
    "config": '{"architecture":"amd64","os":"linux","rootfs":{"type":"layers","diff_ids":[]}}',
    "layer": "${repeat:the layer of the canary :20000}",
    "canary": '{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json",'
    '"config":${descriptor:config:application/vnd.oci.image.config.v1+json},'
    '"layers":[${descriptor:layer:application/vnd.oci.image.layer.v1.tar}]}',
}
CANARY_PULL = [
    {"request": "GET /v2/canary/image/manifests/v1", "body_is": "${canary}"},
    {"request": "GET /v2/canary/image/blobs/${digest:config}", "body_is": "${config}"},
    {"request": "GET /v2/canary/image/blobs/${digest:layer}", "body_is": "${layer}"},
]


class Outcome:
    """What came of one family."""

    def __init__(self, family):
        self.family, self.passed, self.failures, self.skipped = family, 0, [], []


class Site:
    """A running server with its canary, as the cases see it."""

    def __init__(self, kind, atolld, port, profile, patience, disk=None):
        self.disk = disk
        self.server = Server(kind, atolld, port, profile, disk)
        self.patience = patience
        self.canary_steps = Steps(self.server, Texts({}, CANARY), patience)
        try:
            if profile.get("env", {}).get("ATOLL__REGISTRY__READ_ONLY") != "true":
                self.canary_steps.push_image("canary", b"canary/image", "v1")
            else:
                self.canary_steps = None
        except Failed as error:
            self.close()
            raise NotStarted(f"the canary cannot be pushed: {error}") from error

    def pull_canary(self):
        for step in CANARY_PULL if self.canary_steps else []:
            self.canary_steps.run(step)

    def complaints(self, pid, resident):
        """What a family left behind that it must not."""
        if self.server.pid != pid or not self.server.alive():
            return ["the server process is no longer there"]
        found = []
        try:
            self.pull_canary()
        except Failed as error:
            found.append(f"canary: {error}")
        if complaint := self.server.files.complaint():
            found.append(complaint)
        deadline = time.monotonic() + SETTLE_SECONDS
        while (growth := self.server.resident_bytes() - resident) >= oracle.GROWTH_BYTES_MAX:
            if time.monotonic() > deadline:
                found.append(f"memory grew by {growth >> 20} MiB")
                break
            time.sleep(0.1)
        return found

    def close(self):
        self.server.stop()
        if self.disk:
            subprocess.run(["umount", "--lazy", self.disk], check=False)
            os.rmdir(self.disk)


class Runner:
    """Runs families against one kind of server."""

    def __init__(self, options, profiles):
        self.options, self.profiles = options, profiles
        self.trap = Trap()
        self.sites = {}
        self.serial = 0

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for site in self.sites.values():
            if isinstance(site, Site):
                site.close()
        self.trap.close()

    def site(self, profile):
        """The server with this profile, started when first needed."""
        if profile not in self.sites:
            settings = self.profiles.get(profile, {})
            port = self.options.port + 10 * len(self.sites)
            try:
                disk = probes.mount_disk(settings["disk_mib"]) if "disk_mib" in settings else None
                self.sites[profile] = Site(
                    self.options.server, self.options.atolld, port, settings,
                    self.options.patience, disk,
                )
            except (NotStarted, probes.NotPossible) as error:
                if profile is None:
                    raise
                self.sites[profile] = error
        return self.sites[profile]

    def family(self, family):
        outcome = Outcome(family)
        if family.needs:
            outcome.skipped.append(("all", f"needs {family.needs}"))
            return outcome
        marks = {}
        for case in family.cases:
            if case.needs:
                outcome.skipped.append((case.id, f"needs {case.needs}"))
                continue
            if case.profile and self.options.server != "atoll":
                outcome.skipped.append((case.id, f"needs the settings `{case.profile}`"))
                continue
            site = self.site(case.profile)
            if isinstance(site, probes.NotPossible):
                outcome.skipped.append((case.id, str(site)))
                continue
            if isinstance(site, Exception):
                outcome.failures.append((label(case), f"server not started: {site}"))
                continue
            if case.profile not in marks:
                marks[case.profile] = (site.server.pid, site.server.resident_bytes())
            self.case(case, site, outcome)
            if case.probe in probes.RESTARTING:
                marks[case.profile] = (site.server.pid, site.server.resident_bytes())
        for profile, (pid, resident) in marks.items():
            self.aftermath(outcome, profile, pid, resident)
        if visitors := self.trap.take_visitors():
            outcome.failures.append(("after", f"the server connected to the outside: {visitors}"))
        return outcome

    def case(self, case, site, outcome):
        self.serial += 1
        repo = f"bad/case{self.serial}"
        variables = {
            "repo": repo, "repo2": f"{repo}-two", "repo3": f"{repo}-three",
            "trap": self.trap.address, "host": "%s:%d" % site.server.address,
        }
        steps = Steps(site.server, Texts(variables, case.let), self.options.patience)
        steps.texts.set("m", steps.texts.render(case.member))
        try:
            if case.probe:
                probes.PROBES[case.probe](probes.Context(site, steps, self.options), **case.args)
            for step in case.steps:
                steps.run(step)
            outcome.passed += 1
        except Failed as error:
            outcome.failures.append((label(case), str(error)))
        except probes.NotPossible as error:
            outcome.skipped.append((case.id, str(error)))
        except (OSError, probes.wire.NoAnswer) as error:
            outcome.failures.append((label(case), f"{type(error).__name__}: {error}"))

    def aftermath(self, outcome, profile, pid, resident):
        site = self.sites[profile]
        complaints = site.complaints(pid, resident)
        outcome.failures += [("after", complaint) for complaint in complaints]
        if not site.server.alive():
            # The next family gets a fresh one: each is judged by its own deeds.
            site.close()
            del self.sites[profile]


def label(case):
    if not case.member:
        return case.id
    member = case.member.encode("unicode_escape").decode()
    member = member if len(member) <= 40 else member[:30] + "…"
    return f"{case.id}[{member}]"
