"""Fuzzing of everything that reads bytes from outside: `python tests/fuzz.py --bytes 100_000_000`.

Each target has seeds, which the project's own writers make, and a function that reads one of them after it was mutated.
Reading ends well, or in a `TextrnnError`. Anything else (another exception, a result that is wrong, a pickle that is
loaded, more CPU time or memory than the limits, the death of the process) is a finding. Its input is kept in
`tests/findings/<target>/<seed>.<digest>`, and `test_fuzz.py` reads it again.

The inputs are read in a process of their own, which is replaced when it dies. What input `i` of a target is follows
from the seeds, `--seed` and `i` alone.
"""

from __future__ import annotations

import argparse
import contextlib
import faulthandler
import hashlib
import io
import json
import os
import pickle
import random
import resource
import signal
import subprocess
import sys
import tempfile
import time
import traceback
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NoReturn

from fuzz_mutations import mutate
from fuzz_targets import Target, make_targets, write_seeds

from textrnn.errors import TextrnnError

FINDINGS = Path(__file__).parent / "findings"
CPU_SECONDS = 10.0  # for one input, all threads together
WALL_SECONDS = 120  # after which the process is killed: other programs may hold the processors
MEMORY = 6_000_000_000  # more than the process has before the first input
LARGEST_FINDING = 20_000


class Hang(BaseException):
    """An input took more CPU time than the limit."""


class Unpickled(BaseException):
    """A pickle was about to be loaded."""


# The process that reads


def serve(work: Path, size: int, seed: int, names: list[str], start: tuple[str, int]) -> None:
    """Reads inputs, from number `start[1]` of the target `start[0]` on, and prints a line of JSON for each target."""
    targets = make_targets(work, names)
    guard()
    (work / "now").touch()
    status = os.open(work / "now", os.O_RDWR)
    limit_memory()
    left = [*targets]
    if start[0]:
        left = left[left.index(start[0]) :]
    for name in left:
        target, first = targets[name], start[1] if name == start[0] else 0
        os.pwrite(status, json.dumps(["", 0]).encode().ljust(80), 0)
        for seed_name, data in target.seeds.items():
            if (outcome := attempt(target, seed_name, data)) != "accepted":
                raise SystemExit(f"{name}: the seed {seed_name} itself is not accepted: {outcome}")
        counts = {"inputs": 0, "bytes": 0, "accepted": 0, "refused": 0}
        began, done = time.monotonic(), (work / f"{name}.bytes")
        total = int(done.read_text()) if done.exists() else 0
        for number in range(first, 1 << 40):
            if total >= size // len(targets):
                break
            seed_name, data = make_input(target, f"{seed}/{name}/{number}")
            os.pwrite(status, json.dumps([name, number]).encode().ljust(80), 0)
            total += len(data)
            counts["inputs"] += 1
            counts["bytes"] += len(data)
            outcome = attempt(target, seed_name, data)
            counts[outcome if outcome in counts else "accepted"] += outcome in counts
            if outcome not in counts:
                say(finding=[name, number, outcome])
            done.write_text(str(total)) if number % 50 == 0 else None
        say(done=[name, counts, time.monotonic() - began])
    os.pwrite(status, json.dumps(["", 0]).encode().ljust(80), 0)


def replay(work: Path, files: list[Path]) -> int:
    """Reads findings again. Returns how many of them still are some."""
    targets = make_targets(work, sorted({file.parent.name for file in files}))
    guard()
    limit_memory()
    wrong = 0
    for file in files:
        outcome = attempt(targets[file.parent.name], file.name.rpartition(".")[0], file.read_bytes())
        if outcome not in ("accepted", "refused"):
            wrong += 1
            sys.stdout.write(f"{file.relative_to(FINDINGS)}: {outcome}\n")
    sys.stdout.write(f"{len(files)} findings read again, {wrong} of them still are findings\n")
    return wrong


def make_input(target: Target, seed: str) -> tuple[str, bytes]:
    """Returns the name of a seed of `target`, and its content after mutations."""
    rng = random.Random(seed)
    name = rng.choice(sorted(target.seeds))
    return name, mutate(target.seeds[name], rng)


def attempt(target: Target, name: str, data: bytes) -> str:
    """Returns `accepted`, `refused`, or the traceback of a finding."""
    faulthandler.dump_traceback_later(WALL_SECONDS, exit=True)
    signal.setitimer(signal.ITIMER_PROF, CPU_SECONDS)
    try:
        with contextlib.redirect_stderr(io.StringIO()):
            target.read(name, data)
    except TextrnnError as error:
        return "refused" if len(str(error)) < 20_000 else f"a message of {len(str(error))} characters"
    except (KeyboardInterrupt, SystemExit):
        raise
    except BaseException as error:
        return "".join(traceback.format_exception(error))
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        faulthandler.cancel_dump_traceback_later()
    return "accepted"


def guard() -> None:
    """Makes pickles and hangs raise."""

    def hang(*_: object) -> NoReturn:
        raise Hang(f"more than {CPU_SECONDS} s")

    def refuse(*_: object, **__: object) -> NoReturn:
        raise Unpickled

    signal.signal(signal.SIGPROF, hang)
    pickle.load = pickle.loads = refuse  # type: ignore[assignment]
    warnings.simplefilter("ignore")


def limit_memory() -> None:
    """Lets this process have `MEMORY` bytes more than it has."""
    pages = int(Path("/proc/self/statm").read_text().split()[5])
    resource.setrlimit(resource.RLIMIT_DATA, (pages * resource.getpagesize() + MEMORY,) * 2)


def say(**content: Any) -> None:
    """Prints a line for the process that started this one."""
    sys.stdout.write(json.dumps(content) + "\n")
    sys.stdout.flush()


# Guided by coverage


def fuzz_with_atheris(work: Path, size: int, seed: int, name: str) -> None:
    """Ends the process after `size` bytes, or at the first finding. A first byte says which seed an input is of."""
    import atheris  # deferred: there is none for other systems than Linux

    with atheris.instrument_imports(include=["textrnn"]):
        target = make_targets(work, [name])[name]
    names = sorted(target.seeds)
    corpus = work / "corpus"
    corpus.mkdir()
    for place, each in enumerate(names):
        (corpus / str(place)).write_bytes(bytes([place]) + target.seeds[each])
    counts = {"inputs": 0, "bytes": 0, "accepted": 0, "refused": 0}

    def read_one(data: bytes) -> None:
        seed_name, data = names[data[0] % len(names)] if data else names[0], data[1:]
        outcome = attempt(target, seed_name, data)
        if outcome not in counts:
            _keep(seed_name, data, name, outcome)
            os._exit(1)
        for key, count in {"inputs": 1, "bytes": len(data), outcome: 1}.items():
            counts[key] += count
        if counts["bytes"] >= size:
            say(target=name, **counts)
            os._exit(0)

    def mutate_one(data: bytes, most: int, seed: int) -> bytes:
        rng = random.Random(seed)
        if rng.random() < 0.5 or not data:
            return bytes(atheris.Mutate(data, most))
        with contextlib.suppress(Exception):  # a container that is damaged already
            return (data[:1] + mutate(data[1:], rng))[:most]
        return bytes(atheris.Mutate(data, most))

    options = [f"-seed={seed + 1}", f"-max_len={LARGEST_FINDING}", "-rss_limit_mb=8000", "-verbosity=0"]
    atheris.Setup([sys.argv[0], *options, str(corpus)], read_one, custom_mutator=mutate_one)
    guard()
    atheris.Fuzz()


# The process that is started


def fuzz(size: int, seed: int, names: list[str], work: Path) -> int:
    """Returns the number of findings, after a table of what was read."""
    table: dict[str, dict[str, float]] = {}
    places: set[str] = set()
    start, findings = ("", 0), 0
    while True:
        command = [sys.executable, __file__, "--serve", str(work), "--bytes", str(size), "--seed", str(seed)]
        command += ["--start", *map(str, start), *(["--only", *names] if names else [])]
        with tempfile.TemporaryFile("w+") as errors:
            with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors, text=True) as process:
                assert process.stdout is not None
                for line in process.stdout:
                    answer = json.loads(line)
                    if "finding" in answer:
                        name, number, outcome = answer["finding"]
                        findings += 1
                        _row(table, name)["findings"] += 1
                        _keep_first(work, seed, name, number, outcome, places)
                    else:
                        name, counts, seconds = answer["done"]
                        row = _row(table, name)
                        for key, count in {**counts, "seconds": seconds}.items():
                            row[key] += count
                        found = f"{row['findings']:.0f} findings in {seconds:.0f} s"
                        sys.stdout.write(f"{name}: {row['inputs']:,.0f} inputs, {found}\n")
                        sys.stdout.flush()
            if not process.returncode:
                break
            now = work / "now"
            name, number = json.loads(now.read_bytes()) if now.exists() and now.stat().st_size else ("", 0)
            errors.seek(0)
            said = errors.read()[-3000:]
        if not name:
            raise SystemExit(f"the process that reads ended with {process.returncode}:\n{said}")
        findings += 1
        _row(table, name)["findings"] += 1
        _keep_first(work, seed, name, number, f"{said}\nthe process died with status {process.returncode}", places)
        start = (name, number + 1)
    keys = ("inputs", "bytes", "accepted", "refused", "findings", "seconds")
    total = {key: sum(row[key] for row in table.values()) for key in keys}
    sys.stdout.write(f"{'target':16}" + "".join(f"{key:>14}" for key in keys) + "\n")
    for name, row in [*table.items(), ("all", total)]:
        sys.stdout.write(f"{name:16}" + "".join(f"{row[key]:14,.0f}" for key in keys) + "\n")
    return findings


def _row(table: dict[str, dict[str, float]], name: str) -> dict[str, float]:
    return table.setdefault(name, dict.fromkeys(("inputs", "bytes", "accepted", "refused", "findings", "seconds"), 0.0))


def _keep_first(work: Path, seed: int, name: str, number: int, outcome: str, places: set[str]) -> None:
    """Keeps the input of the first finding at a place, and prints it."""
    lines = [line for line in outcome.splitlines() if line.startswith("  File ")]
    place = f"{name} {lines[-1] if lines else outcome[:80]}"
    if place in places:
        return
    places.add(place)
    _keep(*make_input(make_targets(work, [name])[name], f"{seed}/{name}/{number}"), name, outcome)


def _keep(seed_name: str, data: bytes, name: str, outcome: str) -> None:
    file = FINDINGS / name / f"{seed_name}.{hashlib.sha1(data).hexdigest()[:10]}"
    sys.stdout.write(f"finding: {file}, {len(data):,} bytes\n{outcome}\n")
    if len(data) <= LARGEST_FINDING:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(data)


@contextlib.contextmanager
def working_folder() -> Iterator[Path]:
    """Yields a folder with the seeds."""
    with tempfile.TemporaryDirectory(prefix="textrnn-fuzz-") as folder:
        os.environ["TMPDIR"] = folder
        tempfile.tempdir = folder
        subprocess.run([sys.executable, __file__, "--write-seeds", folder], check=True, stderr=subprocess.DEVNULL)
        yield Path(folder)


def main() -> int:
    """Runs what the command line says."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--bytes", type=int, default=10_000_000, help="mutated bytes, of all targets together")
    parser.add_argument("--only", nargs="+", default=[], metavar="TARGET")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--atheris", action="store_true", help="guided by coverage, for one target")
    parser.add_argument("--replay", action="store_true", help="read the findings again instead")
    for option in ("--serve", "--write-seeds"):
        parser.add_argument(option, type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--start", nargs=2, default=("", "0"), help=argparse.SUPPRESS)
    given = parser.parse_args()
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    if given.write_seeds:
        write_seeds(given.write_seeds)
        return 0
    if given.serve:
        serve(given.serve, given.bytes, given.seed, given.only, (given.start[0], int(given.start[1])))
        return 0
    with working_folder() as work:
        if given.atheris:
            fuzz_with_atheris(work, given.bytes, given.seed, *given.only)
        if given.replay:
            files = sorted(file for file in FINDINGS.rglob("*") if file.is_file())
            return int(replay(work, files) > 0)
        return int(fuzz(given.bytes, given.seed, given.only, work) > 0)


if __name__ == "__main__":
    sys.exit(main())
