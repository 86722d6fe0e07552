"""The case files: read, checked and spread into single cases.

A case file is TOML: `[let]` texts for all its cases, `[[family]]` with the rule in words, and
`[[case]]`s that belong to it by number. A case is one step written inline, a list of
`[[case.step]]`, or the name of a `probe` in code. `members` runs it once for each member, `${m}`.
A misspelt key is an error: an expectation that is silently ignored is a test that cannot fail.
"""

import tomllib
from dataclasses import dataclass, field
from pathlib import Path

from . import steps

CASE_KEYS = frozenset("id family what members needs profile probe args step let on".split())
FAMILY_KEYS = frozenset("id title needs".split())


class BadCaseFile(Exception):
    """A case file that cannot be meant as it is written."""


@dataclass
class Case:
    id: str
    what: str
    member: str
    steps: list
    needs: str | None
    profile: str | None
    probe: str | None
    args: dict
    let: dict


@dataclass
class Family:
    id: str
    title: str
    group: str
    needs: str | None
    cases: list = field(default_factory=list)


def load(folder, profiles):
    """All families, in the order of their numbers."""
    families = {}
    for path in sorted(Path(folder).glob("*.toml")):
        with open(path, "rb") as file:
            document = tomllib.load(file)
        group = path.stem.split("-")[0].upper()
        for entry in document.get("family", []):
            check_keys(path, entry, FAMILY_KEYS)
            number = entry["id"]
            if number in families:
                raise BadCaseFile(f"{path}: family {number} is there twice")
            families[number] = Family(str(number), entry["title"], group, entry.get("needs"))
        for entry in document.get("case", []):
            add_case(path, document, families, entry, profiles)
    return [families[number] for number in sorted(families)]


def add_case(path, document, families, entry, profiles):
    name = entry.get("id", "?")
    check_keys(path, entry, CASE_KEYS | steps.KEYS)
    inline = {key: entry[key] for key in entry.keys() & steps.KEYS if key not in ("let", "what")}
    listed = entry.get("step", [inline] if inline else [])
    if bool(inline) + ("step" in entry) + ("probe" in entry) + ("needs" in entry) == 0:
        raise BadCaseFile(f"{path}: case {name} does nothing")
    if inline and "step" in entry:
        raise BadCaseFile(f"{path}: case {name} has steps and is one")
    for step in listed:
        check_keys(path, step, steps.KEYS)
    if (profile := entry.get("profile")) and profile not in profiles:
        raise BadCaseFile(f"{path}: case {name}: unknown profile {profile}")
    number = int("".join(character for character in name if character.isdigit()))
    if number not in families:
        raise BadCaseFile(f"{path}: case {name}: no family {number}")
    let = {**document.get("let", {}), **entry.get("let", {})}
    for member in entry.get("members", [""]):
        families[number].cases.append(
            Case(
                name, entry.get("what", ""), str(member), listed, entry.get("needs"),
                profile, entry.get("probe"), entry.get("args", {}), let,
            )
        )


def check_keys(path, table, allowed):
    if unknown := table.keys() - allowed:
        raise BadCaseFile(f"{path}: {table.get('id', table)}: unknown {sorted(unknown)}")
