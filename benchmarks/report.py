"""`reports/benchmarks.json`, the measurements, and `reports/benchmarks.md`, the page that shows them."""

from __future__ import annotations

import json
import platform
from collections.abc import Mapping
from dataclasses import asdict
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import psutil
from tabulate import tabulate

from benchmarks.measure import Result, cores
from textrnn.project.origin import Origin

PACKAGES = ("tensorflow", "tensorflow-cpu", "keras", "numpy", "polars", "dvc", "mlflow", "tokenizers")
Rows = dict[str, dict[str, Any]]
"""By benchmark: its `work`, `claims`, `notes`, and the `machine` and `commit` it was measured on."""

_HEAD = """\
# Benchmarks

How fast this is, compared with the usual way of doing the same work. `make bench` measures what a row compares in one
run on the same machine, in turn, each time in a fresh process. The best of the repeats counts; what takes long is
measured once, and the row says so. Figures of different machines are not comparable; ratios are, roughly.
"""


def row(work: str, result: Result) -> dict[str, Any]:
    """Returns what `benchmarks.json` keeps of a benchmark that has just run here."""
    return {"work": work, **asdict(result), "machine": machine(), "commit": commit()}


def machine() -> str:
    """Returns this machine and the versions of what was measured, as one line."""
    memory = psutil.virtual_memory().total / 2**30
    packages = [f"{name} {number}" for name in PACKAGES if (number := _version(name))]
    return (
        f"{_processor()}, {cores()} cores, {memory:.0f} GiB of memory, {platform.system()} {platform.machine()}, "
        f"Python {platform.python_version()}, {', '.join(packages)}"
    )


def commit() -> str:
    """Returns the short hash of what is checked out here, and whether files differ from it; outside of git "none"."""
    origin = Origin.of_checkout(Path())
    return f"{origin.commit[:7]}{' and changes' if origin.patch else ''}" if origin.commit else "none"


def update(folder: Path, measured: Rows, order: list[str]) -> Path:
    """Replaces the rows of `measured` in `folder`, keeps the others, and returns the page, written anew.

    Args:
        order: names of all benchmarks; a row of no benchmark is dropped.
    """
    folder.mkdir(parents=True, exist_ok=True)
    file, page = folder / "benchmarks.json", folder / "benchmarks.md"
    kept: Rows = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
    rows = {name: found for name in order if (found := measured.get(name, kept.get(name)))}
    file.write_text(json.dumps(rows, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    page.write_text(render(rows), encoding="utf-8")
    return page


def render(rows: Mapping[str, dict[str, Any]]) -> str:
    """Returns the page: a table for each machine, then what is behind each row; its commit, where they differ."""
    parts = [_HEAD]
    differ = len({row["commit"] for row in rows.values()}) > 1
    for place in dict.fromkeys(row["machine"] for row in rows.values()):
        there = {name: row for name, row in rows.items() if row["machine"] == place}
        lines = [_line(row["work"], claim) for row in there.values() for claim in row["claims"]]
        header = ["work", "compared with", "here", "there", "result", "wanted", ""]
        align = ("left", "left", "right", "right", "right", "right", "left")
        parts.append(f"**Machine:** {place}.\n")
        parts.append(tabulate(lines, header, tablefmt="pipe", colalign=align, disable_numparse=True) + "\n")
        for name, row in there.items():
            about = f"`{name}`, commit {row['commit']}" if differ else f"`{name}`"
            parts.append(f"**{row['work']}** ({about}). {row['notes']}\n")
    return "\n".join(parts)


def _line(work: str, claim: Mapping[str, Any]) -> list[str]:
    ours, theirs = (f"{_number(claim[side])} {claim['unit']}" for side in ("ours", "theirs"))
    reached = "" if claim["reached"] else "not reached"
    return [work, claim["compared_with"], ours, theirs, claim["shown"], claim["wanted"], reached]


def _number(value: float) -> str:
    """Three digits; more where the number has more before the point."""
    return f"{value:.0f}" if value >= 100 else f"{value:.3g}"


def _processor() -> str:
    file = Path("/proc/cpuinfo")
    lines = file.read_text(encoding="utf-8").splitlines() if file.is_file() else []
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return models[0] if models else platform.processor() or "unknown processor"


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
