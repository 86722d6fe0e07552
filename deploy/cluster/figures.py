"""Numbers out of what the clients noted: percentiles, seconds, verdicts."""

import csv
import math
import os
import shutil
import signal
import sys
import tempfile


def percentile(values, share):
    """The smallest value that `share` of all do not exceed; 0 of none."""
    ordered = sorted(values)
    return ordered[max(math.ceil(share * len(ordered)), 1) - 1] if ordered else 0.0


# How many standard deviations of chance a percentile is allowed: one in a hundred on each side.
CHANCE = 2.326


def percentile_bounds(values, share):
    """Between what the percentile of all that might have been measured lies, going by these values.

    The number of values below it is binomial, so two of the values in order bound it. A percentile of
    some hundred values is one or two of them, and two such must not be compared as if they were exact.
    """
    ordered = sorted(values)
    if not ordered:
        return 0.0, 0.0
    middle, spread = share * len(ordered), CHANCE * math.sqrt(len(ordered) * share * (1 - share))
    low, high = math.floor(middle - spread), math.ceil(middle + spread)
    return tuple(ordered[min(max(rank, 1), len(ordered)) - 1] for rank in (low, high))


def per_second(done, began, seconds):
    """A row per second, by the second an operation ended in; latencies by the second it was due in."""
    kinds = sorted({each.kind for each in done})
    rows = []
    for second in range(seconds):
        ended = [each for each in done if second <= each.end - began < second + 1]
        due = [each.seconds * 1000 for each in done if second <= each.due - began < second + 1 and "pull" in each.kind]
        row = {"second": second}
        row |= {kind: sum(each.kind == kind and each.ok for each in ended) for kind in kinds}
        row["failed"] = sum(not each.ok for each in ended)
        row["retried"] = sum(each.tries > 1 for each in ended)
        row["mebibytes"] = round(sum(each.size for each in ended) / (1 << 20), 2)
        row["pull_p50_ms"], row["pull_p99_ms"] = (round(percentile(due, share), 2) for share in (0.5, 0.99))
        rows.append(row)
    return rows


def write_csv(path, rows):
    with open(path, "w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


# How a script ends that could not run here: never counted as passed.
EXIT_NOT_RUN = 3


class Verdicts:
    """What was promised, what was found; ends the process accordingly."""

    def __init__(self):
        self.broken = []

    def number(self, name, value, unit=""):
        """A figure that has no bar."""
        print(f"        {name}: {show(value)}{' ' + unit if unit else ''}", flush=True)

    def hold(self, name, kept, found, details=()):
        """A promise; `found` says what was seen."""
        print(f"{'ok    ' if kept else 'BROKEN'}  {name}: {found}", flush=True)
        if not kept:
            self.broken.append(name)
            for detail in list(details)[:20]:
                print(f"            {detail}", flush=True)

    def leave(self):
        """The last line, and the exit code."""
        print(f"{'all kept' if not self.broken else 'BROKEN: ' + '; '.join(self.broken)}", flush=True)
        sys.exit(1 if self.broken else 0)


def show(value):
    return f"{value:.3f}".rstrip("0").rstrip(".") if isinstance(value, float) else str(value)


class Work:
    """A work folder that is removed, unless it is to be kept or something was broken."""

    def __init__(self, name, keep):
        self.path, self.keep = tempfile.mkdtemp(prefix=f"{name}."), keep
        # Asked to end, a script still ends its nodes.
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))

    def __enter__(self):
        return self

    def __exit__(self, kind, error, _):
        clean = kind is None or (kind is SystemExit and error.code in (0, None, EXIT_NOT_RUN))
        if clean and not self.keep:
            shutil.rmtree(self.path, ignore_errors=True)
        else:
            print(f"kept: {self.path}", file=sys.stderr)

    def result(self, name, wanted=None):
        """Where a result file goes: the folder the caller named, else the working directory."""
        folder = wanted or os.getcwd()
        os.makedirs(folder, exist_ok=True)
        return os.path.join(folder, name)
