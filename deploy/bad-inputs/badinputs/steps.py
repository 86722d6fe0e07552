"""One step of a case: a request, and what its answer must be."""

import json
import re
import threading
import time

from . import oracle, wire
from .text import as_bytes

# Keys a step may have; the case files are checked against this when they are loaded.
KEYS = frozenset(
    """request query headers body body_hex chunked length raw status code header body_is body_has
    body_lacks json same_as save save_answer closed answers slow repeat parallel some wait let push
    image tag in what""".split()
)
# What clients accept; without it some registries do not show a manifest.
ACCEPT = b"Accept: application/vnd.oci.image.manifest.v1+json, */*"
# Headers that differ between two answers that are otherwise the same.
OWN_HEADERS = ("date", "x-request-id", "location", "docker-upload-uuid", "content-length")


class Failed(Exception):
    """The first difference between what came and what must come."""


class Steps:
    """Works through the steps of one case."""

    def __init__(self, server, texts, patience=1.0):
        self.server, self.texts, self.patience = server, texts, patience
        self.answers = {}

    def run(self, step):
        for name, template in step.get("let", {}).items():
            self.texts.set(name, self.texts.render(template))
        if "wait" in step:
            time.sleep(step["wait"])
        if "push" in step:
            self.push(step["push"], self.repo_of(step))
        elif "image" in step:
            self.push_image(step["image"], self.repo_of(step), step.get("tag"))
        elif "parallel" in step:
            self.parallel(step)
        elif "raw" in step:
            self.raw(step)
        elif "request" in step:
            for _ in range(step.get("repeat", 1)):
                self.check(step, self.exchange(step))

    def name(self, step):
        """The request line as it was sent."""
        line = self.texts.render(step.get("request") or step.get("raw")).split(b"\r\n")[0]
        return short(line.decode("utf-8", "backslashreplace"))

    def repo_of(self, step):
        return self.texts.render(step.get("in", "${repo}"))

    # --- requests ---

    def parts(self, step):
        method, _, path = self.texts.render(step["request"]).partition(b" ")
        if "query" in step:
            path += (b"&" if b"?" in path else b"?") + self.texts.render(step["query"])
        body = None
        if "body" in step:
            body = self.texts.render(step["body"])
        elif "body_hex" in step:
            body = bytes.fromhex(step["body_hex"])
        headers = [self.texts.render(header) for header in step.get("headers", [])]
        if b"/manifests/" in path and not any(h.startswith(b"Accept:") for h in headers):
            headers.append(ACCEPT)
        data = wire.request(
            method, path, headers, body, step.get("chunked", 0), step.get("length", True)
        )
        return method, data

    def exchange(self, step):
        method, data = self.parts(step)
        timeout = 10.0 + step.get("slow", 0)
        try:
            return wire.exchange(self.server.address, data, method, timeout)
        except wire.NoAnswer as error:
            if 0 in as_list(step.get("status", 200)):
                return wire.Answer(0)
            raise Failed(f"{error} to {self.name(step)}") from error
        except OSError as error:
            raise Failed(f"{error} at {self.name(step)}") from error

    def raw(self, step):
        data = self.texts.render(step["raw"])
        with wire.Link(self.server.address) as link:
            began = time.monotonic()
            link.send(data)
            answers = []
            try:
                answers.append(link.answer(data.split(b" ", 1)[0], 10.0 + step.get("slow", 0)))
                answers[0].seconds = time.monotonic() - began
                while True:
                    answers.append(link.answer(timeout=0.4))
            except wire.NoAnswer as error:
                if not answers and 0 not in as_list(step.get("status", 200)):
                    raise Failed(f"{error} to raw bytes {data[:60]!r}") from error
            except OSError as error:
                raise Failed(f"{error} at raw bytes {data[:60]!r}") from error
            self.check(step, answers[0] if answers else wire.Answer(0))
            if len(answers) > step.get("answers", max(len(answers), 1)):
                raise Failed(f"{len(answers)} answers, not {step['answers']}: {answers[1]}")
            if "closed" in step and not link.closes(step["closed"]):
                raise Failed(f"the connection is still open after {step['closed']} s")

    def parallel(self, step):
        _, data = self.parts(step)
        count, answers, barrier = step["parallel"], [], threading.Barrier(step["parallel"])
        method = data.split(b" ", 1)[0]

        def one():
            try:
                with wire.Link(self.server.address) as link:
                    barrier.wait(10)
                    began = time.monotonic()
                    link.send(data)
                    answer = link.answer(method)
                    answer.seconds = time.monotonic() - began
                    answers.append(answer)
            except (OSError, wire.NoAnswer, threading.BrokenBarrierError) as error:
                answers.append(error)

        threads = [threading.Thread(target=one) for _ in range(count)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        for answer in answers:
            if isinstance(answer, Exception):
                raise Failed(f"one of {count} at once: {answer}")
            self.check(step, answer)
        if "some" in step and not any(answer.status == step["some"] for answer in answers):
            got = sorted(answer.status for answer in answers)
            raise Failed(f"none of {count} at once got {step['some']}: {got}")

    # --- expectations ---

    def check(self, step, answer):
        what = self.name(step)
        allowed = as_list(step.get("status", 200))
        if answer.status not in allowed:
            got = f"{answer.status} {' '.join(oracle.codes(answer))}".strip()
            raise Failed(f"{what}: {got}, not {allowed}; {answer.body[:200]!r}")
        if answer.status == 0:
            return
        if complaint := oracle.error_complaint(answer, self.server.secrets()):
            raise Failed(f"{what}: {answer.status}: {complaint}")
        limit = (oracle.REPLY_SECONDS_MAX + step.get("slow", 0)) * self.patience
        if answer.seconds > limit:
            raise Failed(f"{what}: answered after {answer.seconds:.2f} s")
        if "code" in step and answer.status >= 400:
            found = oracle.codes(answer)
            if answer.body and not set(found) & set(as_list(step["code"])):
                raise Failed(f"{what}: code {found}, not {step['code']}")
            if not answer.body and not self.may_be_bare(step):
                raise Failed(f"{what}: {answer.status} without a body, not {step['code']}")
        for name, rule in step.get("header", {}).items():
            self.check_header(what, answer, name, rule)
        self.check_body(what, step, answer)
        self.keep(step, answer)

    def may_be_bare(self, step):
        """A HEAD has no body; raw bytes may be refused below HTTP's semantics."""
        return "raw" in step or step["request"].startswith("HEAD ")

    def check_header(self, what, answer, name, rule):
        value = answer.header(name)
        if rule == "absent":
            good = value is None
        elif rule == "present":
            good = value is not None
        elif rule.startswith("~"):
            good = value is not None and re.fullmatch(rule[1:], value) is not None
        else:
            good = value == self.texts.render(rule).decode()
        if not good:
            raise Failed(f"{what}: header {name} is {value!r}, not {rule!r}")

    def check_body(self, what, step, answer):
        text = answer.body
        if "body_is" in step and text != self.texts.render(step["body_is"]):
            raise Failed(f"{what}: other bytes: {text[:80]!r} ({len(text)} bytes)")
        for part in as_list(step.get("body_has", [])):
            if self.texts.render(part) not in text:
                raise Failed(f"{what}: {part!r} is not in {text[:120]!r}")
        for part in as_list(step.get("body_lacks", [])):
            if self.texts.render(part) in text:
                raise Failed(f"{what}: {part!r} is in the answer")
        if "json" in step:
            try:
                found = json.loads(text)
            except ValueError:
                raise Failed(f"{what}: not JSON: {text[:80]!r}") from None
            for key, wanted in step["json"].items():
                if (found.get(key) or []) != (self.rendered(wanted) or []):
                    raise Failed(f"{what}: {key} is {str(found.get(key))[:120]}, not {wanted}")
        if "same_as" in step and shape(answer) != shape(self.answers[step["same_as"]]):
            first, second = shape(self.answers[step["same_as"]]), shape(answer)
            raise Failed(f"{what}: {second} differs from {step['same_as']}: {first}")

    def rendered(self, value):
        if isinstance(value, str):
            return self.texts.render(value).decode()
        if isinstance(value, list):
            return [self.rendered(item) for item in value]
        return value

    def keep(self, step, answer):
        for name, source in step.get("save", {}).items():
            kind, _, header = source.partition(":")
            value = answer.body if kind == "body" else answer.header(header)
            if value is None:
                raise Failed(f"{self.name(step)}: no {source}")
            self.texts.set(name, path_of(value) if header == "Location" else value)
        if "save_answer" in step:
            self.answers[step["save_answer"]] = answer

    # --- ready-made pushes ---

    def push(self, name, repo):
        """Pushes the text `name` as a blob."""
        data = self.texts.get(name)
        opened = self.good(wire.request(b"POST", b"/v2/%s/blobs/uploads/" % repo), 202)
        location = path_of(opened.header("location") or "")
        mark = b"&" if b"?" in location else b"?"
        target = location + mark + b"digest=" + self.texts.render("${digest:%s}" % name)
        self.good(wire.request(b"PUT", target, body=data), 201)

    def push_image(self, name, repo, tag):
        """Pushes the texts `config`, `layer` and the manifest `name`, by digest or under a tag."""
        self.push("config", repo)
        self.push("layer", repo)
        manifest = self.texts.get(name)
        reference = self.texts.render(tag) if tag else self.texts.render("${digest:%s}" % name)
        kind = as_bytes("Content-Type: " + json.loads(manifest)["mediaType"])
        path = b"/v2/%s/manifests/%s" % (repo, reference)
        self.good(wire.request(b"PUT", path, [kind], manifest), 201)

    def good(self, data, status):
        try:
            answer = wire.exchange(self.server.address, data, data.split(b" ", 1)[0], 30)
        except (OSError, wire.NoAnswer) as error:
            raise Failed(f"{error} at {data[:80]!r}") from error
        if answer.status != status:
            raise Failed(f"set-up: {data[:80]!r} got {answer.status}: {answer.body[:300]!r}")
        return answer


def shape(answer):
    """What a client can tell two answers apart by."""
    headers = sorted(name for name, _ in answer.headers if name not in OWN_HEADERS)
    return answer.status, headers, oracle.codes(answer)


def path_of(location):
    """A Location without scheme and host."""
    location = as_bytes(location)
    return b"/" + location.split(b"/", 3)[3] if location.startswith(b"http") else location


def as_list(value):
    return value if isinstance(value, list) else [value]


def short(text):
    text = text or ""
    return text if len(text) <= 70 else text[:50] + "…" + text[-15:]
