"""`make faults`: lets every fault strike, and writes docs/reliability.md.

PYTHONPATH=tests python -m faults                              # all of them; about 50 minutes on two cores
PYTHONPATH=tests python -m faults --only kill-all --times 3    # shows what comes of one, and writes nothing
PYTHONPATH=tests python -m faults --only kill-all --write      # writes its row
"""

from __future__ import annotations

import argparse
import re
import sys
import tempfile
import time
from pathlib import Path

from tiny_project import PROJECT

from faults import FAULTS
from faults.network import served_archive
from faults.study import Reference
from faults.trial import Unavailable, Verdict, attempt

PAGE = PROJECT / "docs" / "reliability.md"
TEMPLATE = Path(__file__).with_name("page.md")
UNTRIED = "not tried yet | | | | | |"


def main() -> int:
    """Runs what the command line asks for; returns 1 if something was lost, doubled or found."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--only", nargs="+", default=[*FAULTS], choices=FAULTS, metavar="FAULT")
    parser.add_argument("--times", type=int, help="how often each strikes, instead of as often as for the page")
    parser.add_argument("--write", action="store_true", help="write the rows of these faults")
    given = parser.parse_args()
    write = given.write or (given.only == [*FAULTS] and given.times is None)
    is_good = True
    with tempfile.TemporaryDirectory(prefix="textrnn-faults-") as folder, served_archive() as archive:
        reference = Reference.of_full_study(Path(folder), archive)
        sys.stdout.write(f"the study takes {reference.seconds:.0f} s\n")
        for name in given.only:
            began = time.monotonic()
            try:
                verdict = attempt(FAULTS[name], reference, given.times)
            except Unavailable as lack:
                row = f"not tried here: {lack} | | | | | |"
                sys.stdout.write(f"{name}: not tried here: {lack}\n")
            else:
                row, is_good = cells(verdict), is_good and verdict.is_good
                sys.stdout.write(f"{name}: {verdict}\n{name} took {time.monotonic() - began:.0f} s\n")
            sys.stdout.flush()
            if write:
                write_row(name, row)
    return int(not is_good)


def cells(verdict: Verdict) -> str:
    """Returns the cells of a fault's row after its name."""
    where = ", ".join(f"{stage} {count}" for stage, count in groups(verdict).items())
    if verdict.findings:
        where += f"; **{len(verdict.findings)} findings**"
    counts = [len(verdict.again), len(verdict.lost), len(verdict.doubled)]
    return " | ".join([where, str(verdict.times), *map(str, counts), f"{verdict.seconds:.1f} |"])


def groups(verdict: Verdict) -> dict[str, int]:
    """How often it struck by kind of stage, in the order of the graph."""
    counts: dict[str, int] = {}
    for stage, count in sorted(verdict.where.items()):
        kind = stage.partition("@")[0]
        counts[kind] = counts.get(kind, 0) + count
    return counts


def rows(page: str) -> dict[str, str]:
    """Returns what the page says of each fault: its cells after the first."""
    return dict(re.findall(r"^\| `([a-z-]+)`: .*? \| (.*)$", page, re.MULTILINE))


def write_row(name: str, row: str) -> None:
    """Puts the row of a fault into the page, whose other rows stay."""
    present = PAGE.read_text(encoding="utf-8") if PAGE.is_file() else ""
    written = rows(present) | {name: row}
    lines = [f"| `{each}`: {fault.what} | {written.get(each, UNTRIED)}" for each, fault in FAULTS.items()]
    PAGE.write_text(TEMPLATE.read_text(encoding="utf-8").replace("{rows}", "\n".join(lines)), encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
