"""The pipeline around the trainings: a whole study, nothing to do, and the start of a stage.

All on the project in the current folder, with its own params, environment and downloads.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import yaml

from benchmarks.data import Workplace
from benchmarks.measure import (
    Claim,
    Contender,
    Figures,
    Result,
    Skipped,
    alternate,
    at_most,
    best,
    command,
    environment,
    faster,
)

DATA_STAGES = ("download_corpus", "prepare_corpus", "encode_corpus", "download_vectors", "build_embeddings")
SKLEARN, GENSIM = "sklearn.model_selection", "gensim.models"
IMPORTED_LATER = {"prepare_corpus": SKLEARN, "build_embeddings": GENSIM}
"""What these stages import inside of a function, because not every study needs it."""

DVC = (sys.executable, "-m", "dvc")
TEXTRNN = (sys.executable, "-m", "textrnn")


def study(work: Workplace) -> Result:
    """The active study from empty runs."""
    contenders = {
        "textrnn repro": lambda _: _from_empty_runs(work, *TEXTRNN, "repro", "--jobs", "2"),
        "dvc repro": lambda _: _from_empty_runs(work, *DVC, "repro"),
    }
    measured = alternate(contenders, 1, work.say)
    side_by_side, serial = (best(repeats) for repeats in measured.values())
    return Result(
        [faster("plain serial `dvc repro` of the same stages", side_by_side, serial, 1.5)],
        "`textrnn repro --jobs 2` and `dvc repro`, each in a copy of the project that has plan, downloads and nothing "
        "else: no data, no runs, nothing more in DVC's cache, an empty MLflow store. `textrnn repro` brings "
        "MLflow up to date at its end, too, which `dvc repro` leaves to `textrnn sync`. Measured once.",
    )


def nothing_to_do(work: Workplace) -> Result:
    """A study that is up to date."""
    if not _is_up_to_date():
        raise Skipped("needs make, and an environment and a study that are up to date: run `make repro` first")
    stages = len(yaml.safe_load(Path("dvc.lock").read_text(encoding="utf-8"))["stages"])
    empty = _empty_pipeline(work.scratch / "empty", stages)
    contenders = {
        "dvc repro": lambda _: command(*DVC, "repro"),
        "make repro": lambda _: command("make", "repro"),
        "empty": lambda _: command(*DVC, "repro", folder=empty),
    }
    alternate(contenders, 1, work.say)  # the first call in a folder hashes what is there
    measured = alternate(contenders, work.repeats(5), work.say)
    dvc, make, least = (best(repeats) for repeats in measured.values())
    pipeline = f"`dvc repro` of {stages} stages that run `touch`"
    return Result(
        [
            Claim(f"{pipeline}: `make repro`", make, least, "s", f"{make:.1f} s", "≤ 3 s", make <= 3),
            at_most(f"{pipeline}: `dvc repro`", dvc, least, 1.5),
        ],
        "Each stage of the empty pipeline depends on one file and writes one. `make repro` sees that the environment "
        "is there and calls `textrnn repro`, which asks DVC whether anything is to be done, and shows the leaderboard.",
    )


def _is_up_to_date() -> bool:
    """Whether there is make, and nothing for it to do: the environment is there, and so is every stage's output."""
    if shutil.which("make") is None:
        return False
    ready = subprocess.run(["make", "--question", ".venv/.ready"], capture_output=True)
    status = subprocess.run([*DVC, "status", "--json"], env=environment(), capture_output=True, text=True)
    return ready.returncode == 0 and status.returncode == 0 and not json.loads(status.stdout)


def start(work: Workplace) -> Result:
    """The start of each data stage, and the later imports of two of them in the default study."""
    contenders = {
        "pass": lambda _: command(sys.executable, "-c", "pass"),
        **{name: _start(name) for name in DATA_STAGES},
        **{module: _start(name, module) for name, module in IMPORTED_LATER.items()},
    }
    measured = alternate(contenders, work.repeats(5), work.say)
    seconds = {name: best(repeats) for name, repeats in measured.items()}
    slowest = max(DATA_STAGES, key=lambda name: seconds[name])
    more = seconds[slowest] - seconds["pass"]
    each = ", ".join(f"`{name}` {seconds[name]:.2f} s" for name in DATA_STAGES)
    return Result(
        [
            Claim(
                "`python -c pass`",
                seconds[slowest],
                seconds["pass"],
                "s",
                f"{more:.2f} s more",
                "≤ 1 s more",
                more <= 1,
            )
        ],
        f"The slowest of the data stages, until the imports of its file are done. {each}. In the default study two "
        "import more later, which the claim leaves out: with scikit-learn, which draws the splits, "
        f"`prepare_corpus` {seconds[SKLEARN]:.2f} s; with gensim, which trains word2vec, `build_embeddings` "
        f"{seconds[GENSIM]:.2f} s.",
    )


def _start(stage: str, *more: str) -> Contender:
    """Runs the imports of a data stage, then those of `more` modules."""
    code = "".join(f"; import {module}" for module in more)
    code = f"import runpy; runpy.run_path('stages/{stage}.py'){code}"
    return lambda _: command(sys.executable, "-c", code, PYTHONPATH="src")


def _from_empty_runs(work: Workplace, *arguments: str) -> Figures:
    folder = work.scratch / "study"
    with empty_runs(folder) as variables:
        return command(*arguments, folder=folder, **variables)


@contextmanager
def empty_runs(folder: Path, prepare: Callable[[Path], None] = lambda _: None) -> Iterator[dict[str, str]]:
    """Makes `folder` a copy of the project with only plan and downloads up to date; deletes it at the end.

    Yields the environment variables of commands that are to work in the copy alone.

    Args:
        prepare: is called with `folder` before the plan is made.

    Raises:
        Skipped: the project lacks downloads.
    """
    if not Path("data", "downloads").is_dir() or not Path("dvc.lock").is_file():
        raise Skipped("needs the study's downloads: run `make repro` first")
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        capture_output=True,
        text=True,
        check=True,
    )
    for name in filter(None, listed.stdout.split("\0")):
        if Path(name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(name, folder / name)
    shutil.copytree(Path("data", "downloads"), folder / "data" / "downloads")
    lock = yaml.safe_load((folder / "dvc.lock").read_text(encoding="utf-8"))
    lock["stages"] = {name: stage for name, stage in lock["stages"].items() if name.startswith("download_")}
    (folder / "dvc.lock").write_text(yaml.safe_dump(lock), encoding="utf-8")
    prepare(folder)
    command("git", "init", "--quiet", folder=folder)
    command(*DVC, "repro", "--quiet", "plan", folder=folder)
    # What is not in its cache DVC would download again.
    command(*DVC, "commit", "--quiet", "--force", *lock["stages"], folder=folder)
    store = f"sqlite:///{folder}/mlflow.db"  # not the one that this shell may name
    try:
        yield {"MLFLOW_TRACKING_URI": store, "PYTHONPATH": str(folder / "src")}
    finally:
        shutil.rmtree(folder)


def _empty_pipeline(folder: Path, stages: int) -> Path:
    """Makes a DVC project of so many stages, all up to date."""
    folder.mkdir()
    names = [f"stage{number}" for number in range(stages)]
    for name in names:
        (folder / f"{name}.in").touch()
    pipeline = {name: {"cmd": f"touch {name}.out", "deps": [f"{name}.in"], "outs": [f"{name}.out"]} for name in names}
    (folder / "dvc.yaml").write_text(yaml.safe_dump({"stages": pipeline}), encoding="utf-8")
    command("git", "init", "--quiet", folder=folder)
    command(*DVC, "init", "--quiet", folder=folder)
    return folder
