"""Where the time of a study goes: repeats it in a copy of the project, and draws `reports/profile.svg`.

    python -m benchmarks.profile --jobs 2                # the active study, from empty runs
    python -m benchmarks.profile --jobs 2 --study name   # studies/name.yaml

In the copy every stage logs its own times (`instrument`); time between two stages is mostly DVC's.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Annotated, Any

import pandas as pd
import typer
import yaml
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.textpath import TextPath
from rich.console import Console
from rich.text import Text
from tabulate import tabulate

from benchmarks.measure import Skipped, environment
from benchmarks.pipeline import TEXTRNN, empty_runs
from textrnn.orchestration.schedule import PARALLEL
from textrnn.report.plots import sheet

LOGGED = '''

def _logged(main: Callable[..., None], run: Callable[..., None] = run_stage) -> None:
    """Runs a stage, and appends to a file its name, points in time (seconds since 1970) and CPU time (seconds)."""
    import time

    import psutil

    called = time.time()  # imports are done
    try:
        run(main)
    finally:
        ended, began = time.time(), psutil.Process().create_time()
        if sys.platform == "linux":  # there psutil adds to a time of boot that is cut to whole seconds
            began += time.time() - time.clock_gettime(time.CLOCK_BOOTTIME) - psutil.boot_time()
        line = {"stage": Path(sys.argv[0]).stem, "arguments": sys.argv[1:], "began": began, "called": called}
        line |= {"ended": ended, "cpu": sum(os.times()[:4])}
        # Unbuffered, so it is one write: lines of two processes never mix.
        with Path(LOG).open("ab", buffering=0) as log:
            log.write(json.dumps(line).encode() + b"\\n")


run_stage = _logged
'''
"""Code that makes the stages of a copy log their times."""

COLOURS = {
    "plan": "#882255",
    "download_corpus": "#999999",
    "prepare_corpus": "#F0E442",
    "encode_corpus": "#E69F00",
    "rehearse": "#DDCC77",
    "download_vectors": "#222222",
    "build_embeddings": "#009E73",
    "pretrain": "#661100",
    "baseline": "#56B4E9",
    "train": "#0072B2",
    "search": "#44AA99",
    "winner": "#332288",
    "member": "#AA4499",
    "ensemble": "#999933",
    "teach": "#117733",
    "student": "#6699CC",
    "probe": "#CC79A7",
    "explain": "#CAB2D6",
    "compare": "#D55E00",
}
"""The kinds of stages in the pipeline's order, in colours of Okabe & Ito, and of Tol."""

AFTER = "after the last"
"""DVC, MLflow and the leaderboard on screen, when all stages are done."""

WIDTH, LANE, TIMELINE, ROW = 10.0, 1.5, 6.0, 0.27
"""Inches: the picture, a lane and all lanes at most, and a row of the bar chart."""

LABEL_SIZE = 6.5


@dataclass(frozen=True)
class Stage:
    """A stage that ran. Points in time are seconds since `textrnn repro` was called.

    kind, name: of DVC's name for it the part before the @, and the part after it or "".
    called: when its imports were done, and its main function was called.
    cpu: seconds of all cores.
    fitting: seconds of a training's epochs, or of a baseline's fit; 0 for others.
    lane, gap: its row in the picture, and the seconds in which nothing ran there before it (`lay_out`).
    """

    kind: str
    name: str
    began: float
    called: float
    ended: float
    cpu: float
    fitting: float
    lane: int = 0
    gap: float = 0.0


def run(study: str | None, jobs: int, folder: Path, say: Callable[[str], None]) -> tuple[str, list[Stage], float]:
    """Runs a study from empty runs in the new folder `folder`, which is deleted afterwards.

    Returns the study's name, its stages in the order in which they began, and the seconds of all.

    Args:
        study: one of `studies/` instead of the active one.
        say: is called with each line that `textrnn repro` prints.

    Raises:
        Skipped: the project lacks downloads.
    """
    log = folder.with_suffix(".jsonl")
    with empty_runs(folder, lambda copy: instrument(copy / "src/textrnn/stage.py", log)) as variables:
        command = [*TEXTRNN, "repro", "--jobs", str(jobs), *(["--study", study] if study else [])]
        printed: list[str] = []
        log.unlink(missing_ok=True)  # the copy was planned already
        called = time.time()
        with subprocess.Popen(
            command,
            cwd=folder,
            env=environment(**variables),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        ) as child:
            for line in child.stdout or ():
                printed.append(line)
                say(line.rstrip())
        seconds = time.time() - called
        if child.returncode != 0:
            sys.exit(f"`textrnn repro` failed in the copy:\n{''.join(printed)}")
        params = yaml.safe_load((folder / "params.yaml").read_text(encoding="utf-8"))
        return params["study"], read(log, folder, called), seconds


def instrument(module: Path, log: Path) -> None:
    """Makes the stages that import a copy of `textrnn.stage` append a line of JSON each to `log`."""
    with module.open("a", encoding="utf-8") as file:
        file.write(LOGGED.replace("LOG", repr(str(log))))


def read(log: Path, project: Path, called: float) -> list[Stage]:
    """Returns the stages in `log`, in the order in which they began.

    Args:
        project: where the stages ran, with the `timings/` that they wrote.
        called: the beginning, in seconds since 1970.
    """
    stages = []
    for line in map(json.loads, log.read_text(encoding="utf-8").splitlines()):
        plan = Path(line["arguments"][0])  # or, of the stage `plan` itself, the folder with all of them
        _, _, name = plan.stem.partition("@")
        began, main, ended = (line[point] - called for point in ("began", "called", "ended"))
        stages.append(Stage(line["stage"], name, began, main, ended, line["cpu"], _fitting(line["arguments"], project)))
    return sorted(stages, key=lambda stage: stage.began)


def _fitting(arguments: Sequence[str], project: Path) -> float:
    """Returns the sum of what a stage with these arguments wrote to `timings/`, in seconds."""
    files = [project / word for word in arguments if word.startswith("timings/")]
    seeds = [seed for file in files for seed in json.loads(file.read_text(encoding="utf-8"))["seeds"].values()]
    return float(sum(seed["seconds"] for seed in seeds))


def lay_out(stages: Sequence[Stage]) -> list[Stage]:
    """Returns `stages`, which are in the order in which they began, with lane and gap.

    Lanes are filled as in `textrnn repro`: a stage with the name of another (behind the @) follows in its lane; any
    other of the stages that run in parallel takes the lane that has been free for longest. A stage that waits for all
    others follows the last of them, so the time in which other lanes were idle is not a gap.
    """
    done: list[Stage] = []
    lanes: list[float] = []  # when the last stage in each ended
    for stage in stages:
        free = [lane for lane, ended in enumerate(lanes) if ended <= stage.began]
        before = [other for other in done if other.ended <= stage.began]
        if not free:
            lane = len(lanes)
            lanes.append(max((other.ended for other in before), default=0.0))
        elif stage.kind not in PARALLEL:
            lane = max(free, key=lanes.__getitem__)
        else:
            same = [other.lane for other in before if other.kind in PARALLEL and other.name == stage.name]
            lane = min(free, key=lambda lane: (lane not in same, lanes[lane]))
        done.append(replace(stage, lane=lane, gap=stage.began - lanes[lane]))
        lanes[lane] = stage.ended
    return done


def totals(stages: Sequence[Stage], seconds: float) -> pd.DataFrame:
    """Returns a row per kind of stage, in the order of `COLOURS`, and one for the time `AFTER` the last stage.

    Columns: `runs`, and the sums of `gaps`, `imports`, `work`, `fitting` (a part of `work`) and `cpu`, in seconds.
    """
    table = pd.DataFrame([asdict(stage) for stage in stages])
    table = table.assign(
        runs=1, gaps=table["gap"], imports=table["called"] - table["began"], work=table["ended"] - table["called"]
    )
    columns = ["runs", "gaps", "imports", "work", "fitting", "cpu"]
    sums = table.groupby("kind")[columns].sum().reindex([kind for kind in COLOURS if kind in set(table["kind"])])
    sums.loc[AFTER] = [0, seconds - table["ended"].max(), 0, 0, 0, 0]
    return sums


def draw(study: str, jobs: int, stages: Sequence[Stage], seconds: float) -> Figure:
    """Returns the picture: above what ran when, a lane for each stage at a time; below the seconds by kind of stage.

    Call it, and save what it returns, within `sheet.drawing()`.
    """
    sums = totals(stages, seconds)
    lanes = max(stage.lane for stage in stages) + 1
    heights = min(lanes * LANE, TIMELINE), len(sums) * ROW + 0.1
    figure = Figure(figsize=(WIDTH, sum(heights) + 2.1), layout="constrained")
    parts = "work {work:.0f} s, start and imports {imports:.0f} s, DVC and other gaps {gaps:.0f} s".format(**sums.sum())
    runs = "one stage at a time" if lanes == 1 else f"summed over {lanes} lanes"
    title = f"Where the {seconds:.0f} seconds of the study {study} go, {jobs} job{'s' if jobs > 1 else ''}"
    upper, lower = figure.subplots(2, height_ratios=heights)
    figure.suptitle(title, x=0.01, ha="left", fontsize=12, fontweight="bold")
    upper.set_title(f"{parts}: {runs}", fontsize=8.5, fontweight="normal", color=sheet.MUTED)
    _timeline(upper, stages, seconds)
    _sums(lower, sums)
    figure.draw_without_rendering()  # lays out, so that the size of a bar is known
    _label(upper, stages)
    return figure


def _timeline(axes: Axes, stages: Sequence[Stage], seconds: float) -> None:
    lanes = max(stage.lane for stage in stages) + 1
    for stage in stages:
        colour = COLOURS[stage.kind]
        axes.barh(stage.lane, stage.called - stage.began, 0.86, stage.began, color=_pale(colour), linewidth=0)
        axes.barh(stage.lane, stage.ended - stage.called, 0.86, stage.called, color=colour, linewidth=0)
    axes.set_xlim(0, seconds)
    axes.set_ylim(lanes - 0.5, -0.5)
    axes.set_yticks(range(lanes), [f"lane {lane + 1}" for lane in range(lanes)])
    axes.grid(axis="y", visible=False)
    axes.set_xlabel("seconds since `textrnn repro` was called")


def _label(axes: Axes, stages: Sequence[Stage]) -> None:
    """Writes the names of the stages into their bars, turned where that fits better, none where none fits."""
    point = axes.figure.dpi / 72
    for stage in stages:
        label = stage.name or stage.kind
        corners = axes.transData.transform([(stage.called, stage.lane + 0.43), (stage.ended, stage.lane - 0.43)])
        width, height = (corners[1] - corners[0]) / point
        long, short = TextPath((0, 0), label, size=LABEL_SIZE).get_extents().width + 4, LABEL_SIZE + 2
        fits = {0: long <= width and short <= height, 90: short <= width and long <= height}
        turned = next((angle for angle in fits if fits[angle]), None)
        if turned is not None:
            red, green, blue = to_rgb(COLOURS[stage.kind])
            ink = sheet.INK if 0.299 * red + 0.587 * green + 0.114 * blue > 0.55 else "white"
            place = (stage.called + stage.ended) / 2, stage.lane
            axes.text(*place, label, rotation=turned, ha="center", va="center", fontsize=LABEL_SIZE, color=ink)


def _sums(axes: Axes, sums: pd.DataFrame) -> None:
    """Draws a bar per row of `totals`."""
    seconds = sums[["gaps", "imports", "work"]].sum(axis=1)
    outline: dict[str, Any] = {"facecolor": "white", "edgecolor": sheet.MUTED, "linewidth": 0.6}
    for row, (kind, total) in enumerate(sums.iterrows()):
        colour = COLOURS.get(str(kind), sheet.MUTED)
        axes.barh(row, total["gaps"], 0.7, **outline)
        axes.barh(row, total["imports"], 0.7, total["gaps"], color=_pale(colour), linewidth=0)
        axes.barh(row, total["work"], 0.7, total["gaps"] + total["imports"], color=colour, linewidth=0)
        words = f"{seconds[kind]:.0f} s"
        if total["runs"]:
            words += f", {total['runs']:.0f} run{'s' if total['runs'] > 1 else ''}"
        if total["fitting"] >= 1:
            words += f", {total['fitting']:.0f} s of it fitting"
        place = seconds[kind] + 0.006 * seconds.max()
        axes.text(place, row, words, va="center_baseline", fontsize=7.5, color=sheet.MUTED)
    axes.set_xlim(0, 1.27 * seconds.max())
    axes.set_ylim(len(sums) - 0.5, -0.5)
    axes.set_yticks(range(len(sums)), list(sums.index))
    axes.grid(axis="y", visible=False)
    axes.set_xlabel("seconds, summed over lanes")
    handles = [
        Patch(label="DVC and other gaps", **outline),
        Patch(label="start and imports", facecolor=_pale(sheet.MUTED), linewidth=0),
        Patch(label="work", facecolor=sheet.MUTED, linewidth=0),
    ]
    place_above: dict[str, Any] = {"loc": "lower left", "bbox_to_anchor": (0, 1)}
    axes.legend(handles=handles, ncols=3, frameon=False, fontsize=8, labelcolor=sheet.MUTED, **place_above)


def _pale(colour: str) -> tuple[float, ...]:
    return tuple(1 - 0.4 * (1 - part) for part in to_rgb(colour))


def main(
    jobs: Annotated[int, typer.Option(min=1, help="Trainings at the same time.")] = 1,
    study: Annotated[str | None, typer.Option(help="A study of studies/ instead of the active one.")] = None,
) -> None:
    """Repeat the active study from empty runs in a copy, and draw where its time goes: reports/profile.svg."""
    console = Console(stderr=True, highlight=False)
    with tempfile.TemporaryDirectory() as scratch, console.status("making a copy of the project") as status:
        try:
            name, stages, seconds = run(study, jobs, Path(scratch) / "study", lambda line: status.update(Text(line)))
        except Skipped as reason:
            sys.exit(f"error: {reason}")
    stages = lay_out(stages)
    reports = Path("reports")
    reports.mkdir(exist_ok=True)
    with sheet.drawing():
        sheet.save(reports, "profile", draw(name, jobs, stages, seconds))
    print(tabulate(totals(stages, seconds).rename_axis("in seconds"), "keys", floatfmt=".1f"))
    print(f"\n{seconds:.0f} s in all: reports/profile.svg")


if __name__ == "__main__":
    typer.run(main)
