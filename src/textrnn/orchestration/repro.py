"""`dvc repro` with trainings side by side.

DVC runs stages one after the other. But with everything upstream up to date,
`dvc repro --single-item train@x` can run many times at once, and `dvc.lock` comes out the same.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path

from rich.console import Console

from textrnn.catalog import load_catalog
from textrnn.errors import TextrnnError
from textrnn.orchestration.prune import prune_lock
from textrnn.params import Params, load_params
from textrnn.run_folder import RunFolder

LOCK_RETRIES = 5
"""DVC gives up on another process' lock after three seconds; so many times we ask again."""

PARALLEL = ("baseline", "train")
UPSTREAM = ("encode_corpus", "build_embeddings")


def repro(jobs: int, console: Console) -> None:
    """Brings the active study up to date in the current folder, with `jobs` trainings at once.

    Raises:
        TextrnnError: the study is not valid, or a stage failed (what did not depend on it was run,
            and the next call resumes).
    """
    params = load_params(catalog=load_catalog())
    for name in prune_lock(Path("dvc.lock"), params):
        console.print(f"pruned {name}: the study no longer declares it", highlight=False)
    changed = _changed_stages()
    if any(not name.startswith(PARALLEL) and name != "compare" for name in changed):
        started = time.monotonic()
        _dvc_or_fail("repro", *UPSTREAM)
        console.print(f"corpus, tokens and embeddings are up to date after {time.monotonic() - started:.0f} s")
        changed = _changed_stages()
    waiting = [name for name in changed if name.startswith(PARALLEL)]
    failed = _run_side_by_side(waiting, jobs, console)
    if failed:
        raise TextrnnError(
            f"{len(failed)} of {len(waiting)} stages failed:\n"
            + "\n".join(f"  {name}: {reason}" for name, reason in failed.items())
            + "\nWhat succeeded is kept: mend the cause and run this again."
        )
    if changed:
        _dvc_or_fail("repro")


def diverged(params: Params, runs: Path) -> dict[str, str]:
    """Returns why, by experiment, for those of which at least one seed's training failed."""
    folders = [RunFolder.load(runs / name) for name in params.experiments]
    return {
        folder.name: "; ".join(f"seed {seed}: {reason}" for seed, reason in folder.failures.items())
        for folder in folders
        if folder.failures
    }


def dvc_command(*arguments: str) -> list[str]:
    """Returns the command line that runs DVC in this Python's environment."""
    return [sys.executable, "-m", "dvc", *arguments]


def environment() -> dict[str, str]:
    """Returns the environment for DVC: the stages' `python` is this Python, and nothing phones home."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)])
    return {**os.environ, "PATH": path, "DVC_NO_ANALYTICS": "1"}


def _changed_stages() -> list[str]:
    """Names of the stages that would run, in the graph's order, as far as `dvc status` can tell now."""
    done = subprocess.run(dvc_command("status", "--json"), env=environment(), capture_output=True, text=True)
    if done.returncode != 0:
        raise TextrnnError(f"`dvc status` failed:\n{done.stderr.strip()}")
    return list(json.loads(done.stdout))


def _dvc_or_fail(*arguments: str) -> None:
    """Runs DVC; its stages' progress and all errors stand on standard error, DVC's own talk is left out."""
    done = subprocess.run(dvc_command(*arguments), env=environment(), stdout=subprocess.DEVNULL)
    if done.returncode != 0:
        raise TextrnnError(f"`dvc {' '.join(arguments)}` failed: the message above says why.")


def _run_side_by_side(stages: list[str], jobs: int, console: Console) -> dict[str, str]:
    """Runs each stage by itself, `jobs` at once; returns the last lines of those that failed."""
    failed: dict[str, str] = {}
    started = time.monotonic()
    with ThreadPoolExecutor(max_workers=jobs) as pool:
        futures = {pool.submit(_run_one, stage): stage for stage in stages}
        try:
            for count, future in enumerate(as_completed(futures), start=1):
                stage, (seconds, reason, warnings) = futures[future], future.result()
                if reason is not None:
                    failed[stage] = reason
                left = (time.monotonic() - started) / count * (len(stages) - count)
                console.print(
                    f"[{count:>{len(str(len(stages)))}}/{len(stages)}] {stage} "
                    f"{'failed' if reason else 'done'} in {seconds:.0f} s, about {left:.0f} s left",
                    highlight=False,
                    markup=False,
                )
                for warning in warnings:
                    console.print(f"    {warning}", highlight=False, markup=False)
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
    return failed


def _run_one(stage: str) -> tuple[float, str | None, list[str]]:
    """Returns the seconds that a stage took, its last words if it failed, and what it warned of."""
    started = time.monotonic()
    command = dvc_command("repro", "--single-item", stage)
    for _ in range(LOCK_RETRIES):
        done = subprocess.run(command, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        if done.returncode == 0 or "acquire lock" not in done.stdout:
            break
    reason = None if done.returncode == 0 else "\n    ".join(done.stdout.strip().splitlines()[-6:])
    warnings = [line for line in done.stdout.splitlines() if line.startswith("warning: ")]
    return time.monotonic() - started, reason, warnings
