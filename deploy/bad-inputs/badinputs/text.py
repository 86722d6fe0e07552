"""The `${…}` of the case files.

`${name}` is a variable; the functions are below. A text that a case or file declares under `let`
is rendered when first used, so texts may build on each other.
"""

import hashlib
import json
import re
import uuid

PLACE = re.compile(rb"\$\{([^{}]*)\}")


class UnknownName(Exception):
    """A case names something that is not there: the case file is wrong."""


class Texts:
    """Variables of one case, as bytes."""

    def __init__(self, values, templates):
        self.values = {name: as_bytes(value) for name, value in values.items()}
        self.templates = templates

    def set(self, name, value):
        self.values[name] = as_bytes(value)

    def get(self, name):
        if name not in self.values:
            if name not in self.templates:
                raise UnknownName(name)
            self.values[name] = self.render(self.templates[name])
        return self.values[name]

    def render(self, template):
        data = PLACE.sub(lambda found: self._place(found[1].decode()), as_bytes(template))
        # Padding knows the length of everything else, so it comes last.
        if found := re.search(rb"\$\(pad (\d+)\)", data):
            missing = int(found[1]) - (len(data) - len(found[0]))
            data = data[: found.start()] + b"x" * missing + data[found.end() :]
        return data

    def _place(self, expression):
        name, *arguments = expression.split(":")
        if not arguments:
            return str(uuid.uuid4()).encode() if name == "uuid" else self.get(name)
        function = FUNCTIONS.get(name)
        if function is None:
            raise UnknownName(name)
        return as_bytes(function(self, *arguments))


def as_bytes(value):
    return value if isinstance(value, bytes) else str(value).encode()


def plain(text):
    """`:` parts the arguments of a function and braces end it, so a text spells them."""
    return text.replace("<colon>", ":").replace("<open>", "{").replace("<close>", "}")


def _descriptor(texts, name, kind):
    data = texts.get(name)
    digest = "sha256:" + hashlib.sha256(data).hexdigest()
    return json.dumps({"mediaType": kind, "digest": digest, "size": len(data)})


FUNCTIONS = {
    # ${digest:name}: sha256:<hex> of a text
    "digest": lambda texts, name: "sha256:" + hashlib.sha256(texts.get(name)).hexdigest(),
    "sha512": lambda texts, name: "sha512:" + hashlib.sha512(texts.get(name)).hexdigest(),
    "hex": lambda texts, name: hashlib.sha256(texts.get(name)).hexdigest(),
    "HEX": lambda texts, name: hashlib.sha256(texts.get(name)).hexdigest().upper(),
    "size": lambda texts, name: len(texts.get(name)),
    # ${repeat:text:count}
    "repeat": lambda texts, text, count: plain(text) * int(count),
    # ${series:before:after:count[:first]}: before0after before1after …
    "series": lambda texts, before, after, count, first=0: "".join(
        f"{plain(before)}{n}{plain(after)}" for n in range(int(first), int(first) + int(count))
    ),
    # ${pad:total}: as many `x` as the whole text lacks to `total` bytes
    "pad": lambda texts, total: f"$(pad {total})",
    # ${descriptor:name:media type}
    "descriptor": _descriptor,
}
