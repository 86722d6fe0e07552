#!/usr/bin/env python3
"""Sends a registry what it must refuse, and checks what it says and what it is like afterwards.

    run.py                           everything, against target/release/atolld
    run.py --only 14,19,E            some families or groups
    run.py --server distribution     against Debian's docker-registry, to see the runner report
    run.py --full                    floods at full size
"""

import argparse
import os
import resource
import sys
import time
import tomllib
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.dont_write_bytecode = True
sys.path.insert(0, str(HERE))

from badinputs import cases  # noqa: E402
from badinputs.runner import Runner  # noqa: E402
from badinputs.server import NotStarted  # noqa: E402


def options():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    binary = os.environ.get("ATOLLD", str(HERE.parent.parent / "target/release/atolld"))
    parser.add_argument("--server", choices=["atoll", "distribution"], default="atoll")
    parser.add_argument("--atolld", default=binary, help="the node's binary")
    parser.add_argument("--port", type=int, default=16000, help="first port; ten for each server")
    parser.add_argument("--only", help="families (14) or groups (B), comma separated")
    parser.add_argument("--patience", type=float, default=1.0, help="factor on reply times")
    parser.add_argument("--full", action="store_true", help="floods at full size")
    parser.add_argument("--verbose", action="store_true", help="every failure, not only the first")
    return parser.parse_args()


def chosen(families, only):
    wanted = {item.strip().upper() for item in only.split(",")} if only else None
    return [f for f in families if not wanted or f.id in wanted or f.group in wanted]


def show(outcome, seconds, verbose):
    family = outcome.family
    ran = outcome.passed or outcome.failures
    verdict = "FAIL" if outcome.failures else "pass" if ran else "skip"
    line = f"{verdict}  {family.group}{family.id:<3} {family.title}  "
    print(f"{line}({outcome.passed} cases, {seconds:.1f} s)", flush=True)
    shown = outcome.failures if verbose else outcome.failures[:1]
    for case, why in shown:
        print(f"        {case}: {why}")
    if len(outcome.failures) > len(shown):
        print(f"        and {len(outcome.failures) - len(shown)} more")
    for case, why in outcome.skipped:
        print(f"        not run: {case}: {why}")


def table(outcomes):
    print("\n| group | families passed | cases passed | cases failed | not run |")
    print("|---|--:|--:|--:|--:|")
    for group in sorted({outcome.family.group for outcome in outcomes}):
        mine = [outcome for outcome in outcomes if outcome.family.group == group]
        good = sum(1 for outcome in mine if outcome.passed and not outcome.failures)
        passed = sum(outcome.passed for outcome in mine)
        failed = sum(len(outcome.failures) for outcome in mine)
        skipped = sum(len(outcome.skipped) for outcome in mine)
        print(f"| {group} | {good} of {len(mine)} | {passed} | {failed} | {skipped} |")


def main():
    chosen_options = options()
    # Thousands of connections are held open from here.
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    with open(HERE / "profiles.toml", "rb") as file:
        profiles = tomllib.load(file)
    families = chosen(cases.load(HERE / "cases", profiles), chosen_options.only)
    outcomes = []
    try:
        with Runner(chosen_options, profiles) as runner:
            for family in families:
                began = time.monotonic()
                outcomes.append(runner.family(family))
                show(outcomes[-1], time.monotonic() - began, chosen_options.verbose)
    except NotStarted as error:
        sys.exit(f"the server did not start: {error}")
    table(outcomes)
    passed = sum(outcome.passed for outcome in outcomes)
    failed = sum(len(outcome.failures) for outcome in outcomes)
    skipped = sum(len(outcome.skipped) for outcome in outcomes)
    print(f"\n{passed} passed, {failed} failed, {skipped} skipped")
    sys.exit(1 if failed or not passed else 0)


if __name__ == "__main__":
    main()
