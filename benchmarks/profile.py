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
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer
import yaml
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.textpath import TextPath
from rich.console import Console
from rich.table import Table
from rich.text import Text

from benchmarks.measure import Skipped, environment
from benchmarks.pipeline import TEXTRNN, empty_runs
from textrnn.orchestration.repro import PARALLEL
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
    "baseline": "#56B4E9",
    "train": "#0072B2",
    "probe": "#CC79A7",
    "compare": "#D55E00",
}
"""The kinds of stages in the pipeline's order, in colours of Okabe & Ito, and of Tol."""

AFTER = "after the last"
"""What DVC, MLflow and the leaderboard on screen take when all stages are done."""

WIDTH, MARGIN, ROW = 10.0, 1.25, 0.27
"""Inches: the picture, the room for labels at its left, and the height of a row of the bar chart."""

LANE, TIMELINE = 1.5, 6.0
"""Inches: the heights that a lane and all lanes have at most."""

FILLED = 0.86
"""How much of a lane's height its bars fill."""

LABEL_SIZE = 6.5


@dataclass(frozen=True)
class Stage:
    """A stage that ran. Points in time are seconds since `textrnn repro` was called.

    kind, name: of DVC's name for it what is before the @, and what is behind it or "".
    called: when its imports were done, and its main function was called.
    cpu: seconds of all cores.
    fitting: seconds that a training spent in its seeds' epochs, or a baseline in its fit; 0 for others.
    """

    kind: str
    name: str
    began: float
    called: float
    ended: float
    cpu: float
    fitting: float


@dataclass(frozen=True)
class Bar:
    """Where a stage stands in the picture.

    gap: seconds in which nothing ran in its lane before it.
    """

    stage: Stage
    lane: int
    gap: float


@dataclass(frozen=True)
class Total:
    """Sums over the stages of a kind, in seconds."""

    runs: int
    imports: float
    work: float
    fitting: float
    gaps: float
    cpu: float

    @property
    def seconds(self) -> float:
        """Returns how long it took."""
        return self.imports + self.work + self.gaps


def run(study: str | None, jobs: int, folder: Path, say: Callable[[str], None]) -> tuple[str, list[Stage], float]:
    """Runs a study from empty runs in the new folder `folder`, which is gone afterwards.

    Returns the study's name, its stages in the order in which they began, and what all took, in seconds.

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
        project: where the stages ran, with the `timings/` that they left.
        called: what to count from, in seconds since 1970.
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


def lay_out(stages: Sequence[Stage]) -> list[Bar]:
    """Returns a bar for each of `stages`, which are in the order in which they began.

    Lanes are filled as `textrnn repro` does it: what bears the same name behind the @ goes on in its
    lane, any other of the stages that run side by side takes the one that has been free for longest.
    A stage that waits for all others follows the last of them: how long other lanes had nothing to
    do is no gap of its.
    """
    bars: list[Bar] = []
    lanes: list[float] = []  # when the last stage in each ended
    for stage in stages:
        free = [lane for lane, ended in enumerate(lanes) if ended <= stage.began]
        before = [bar for bar in bars if bar.stage.ended <= stage.began]
        if not free:
            lane = len(lanes)
            lanes.append(max((bar.stage.ended for bar in before), default=0.0))
        elif stage.kind not in PARALLEL:
            lane = max(free, key=lanes.__getitem__)
        else:
            same = [bar.lane for bar in before if bar.stage.kind in PARALLEL and bar.stage.name == stage.name]
            lane = min(free, key=lambda lane: (lane not in same, lanes[lane]))
        bars.append(Bar(stage, lane, stage.began - lanes[lane]))
        lanes[lane] = stage.ended
    return bars


def totals(bars: Sequence[Bar], seconds: float) -> dict[str, Total]:
    """Returns sums by kind of stage in the order of `COLOURS`, and last what is `AFTER` all of them."""
    found = {}
    for kind in COLOURS:
        own = [bar for bar in bars if bar.stage.kind == kind]
        stages = [bar.stage for bar in own]
        if own:
            found[kind] = Total(
                len(own),
                sum(stage.called - stage.began for stage in stages),
                sum(stage.ended - stage.called for stage in stages),
                sum(stage.fitting for stage in stages),
                sum(bar.gap for bar in own),
                sum(stage.cpu for stage in stages),
            )
    rest = seconds - max(bar.stage.ended for bar in bars)
    return {**found, AFTER: Total(0, 0.0, 0.0, 0.0, rest, 0.0)}


def draw(study: str, jobs: int, bars: Sequence[Bar], seconds: float) -> Figure:
    """Returns the picture: above what ran when, a lane for each stage at a time; below the seconds by kind of stage.

    Call it, and save what it returns, within `sheet.drawing()`.
    """
    by_kind = totals(bars, seconds)
    lanes = max(bar.lane for bar in bars) + 1
    top, between, bottom = 0.75, 0.85, 0.5
    heights = min(lanes * LANE, TIMELINE), len(by_kind) * ROW + 0.1
    height = top + heights[0] + between + heights[1] + bottom
    figure = Figure(figsize=(WIDTH, height))
    imports, work, gaps = (
        sum(getattr(total, part) for total in by_kind.values()) for part in ("imports", "work", "gaps")
    )
    sums = f"work {work:.0f} s, start and imports {imports:.0f} s, DVC and other gaps {gaps:.0f} s"
    runs = "one stage at a time" if lanes == 1 else f"summed over {lanes} lanes"
    title = f"Where the {seconds:.0f} seconds of the study {study} go, {jobs} job{'s' if jobs > 1 else ''}"
    figure.text(0.15 / WIDTH, 1 - 0.32 / height, title, fontsize=12, fontweight="bold")
    figure.text(0.15 / WIDTH, 1 - 0.53 / height, f"{sums}: {runs}", fontsize=8.5, color=sheet.MUTED)
    width = (WIDTH - MARGIN - 0.2) / WIDTH
    upper = figure.add_axes((MARGIN / WIDTH, 1 - (top + heights[0]) / height, width, heights[0] / height))
    lower = figure.add_axes((MARGIN / WIDTH, bottom / height, width, heights[1] / height))
    _timeline(upper, bars, seconds, heights[0] / lanes)
    _sums(lower, by_kind)
    return figure


def _timeline(axes: Axes, bars: Sequence[Bar], seconds: float, lane_height: float) -> None:
    lanes, inches = max(bar.lane for bar in bars) + 1, (WIDTH - MARGIN - 0.2) / seconds
    for bar in bars:
        stage, colour = bar.stage, COLOURS[bar.stage.kind]
        axes.barh(bar.lane, stage.called - stage.began, FILLED, stage.began, color=_pale(colour), linewidth=0)
        axes.barh(bar.lane, stage.ended - stage.called, FILLED, stage.called, color=colour, linewidth=0)
        label = stage.name or stage.kind
        turned = _rotation(label, (stage.ended - stage.called) * inches, FILLED * lane_height)
        if turned is not None:
            place = ((stage.called + stage.ended) / 2, bar.lane)
            ink = sheet.INK if _is_light(colour) else "white"
            look: dict[str, Any] = {"ha": "center", "va": "center", "fontsize": LABEL_SIZE, "color": ink}
            axes.text(*place, label, rotation=turned, **look)
    axes.set_xlim(0, seconds)
    axes.set_ylim(lanes - 0.5, -0.5)
    axes.set_yticks(range(lanes), [f"lane {lane + 1}" for lane in range(lanes)])
    axes.grid(axis="y", visible=False)
    axes.set_xlabel("seconds since `textrnn repro` was called")


def _sums(axes: Axes, by_kind: dict[str, Total]) -> None:
    longest = max(total.seconds for total in by_kind.values())
    for row, (kind, total) in enumerate(by_kind.items()):
        colour = COLOURS.get(kind, sheet.MUTED)
        axes.barh(row, total.gaps, 0.7, color="white", edgecolor=sheet.MUTED, linewidth=0.6)
        axes.barh(row, total.imports, 0.7, total.gaps, color=_pale(colour), linewidth=0)
        axes.barh(row, total.work, 0.7, total.gaps + total.imports, color=colour, linewidth=0)
        words = f"{total.seconds:.0f} s"
        if total.runs:
            words += f", {total.runs} run{'s' if total.runs > 1 else ''}"
        if total.fitting >= 1:
            words += f", {total.fitting:.0f} s of it fitting"
        axes.text(total.seconds + 0.006 * longest, row, words, va="center_baseline", fontsize=7.5, color=sheet.MUTED)
    axes.set_xlim(0, 1.27 * longest)
    axes.set_ylim(len(by_kind) - 0.5, -0.5)
    axes.set_yticks(range(len(by_kind)), list(by_kind))
    axes.grid(axis="y", visible=False)
    axes.set_xlabel("seconds, summed over lanes")
    looks: dict[str, dict[str, Any]] = {
        "DVC and other gaps": {"facecolor": "white", "edgecolor": sheet.MUTED, "linewidth": 0.6},
        "start and imports": {"facecolor": _pale(sheet.MUTED), "linewidth": 0},
        "work": {"facecolor": sheet.MUTED, "linewidth": 0},
    }
    handles = [Patch(label=label, **look) for label, look in looks.items()]
    place: dict[str, Any] = {"loc": "lower left", "bbox_to_anchor": (0, 1), "borderaxespad": 0.2}
    axes.legend(handles=handles, ncols=3, frameon=False, fontsize=8, handlelength=1.2, **place)


def _pale(colour: str) -> tuple[float, ...]:
    return tuple(1 - 0.4 * (1 - part) for part in to_rgb(colour))


def _is_light(colour: str) -> bool:
    red, green, blue = to_rgb(colour)
    return 0.299 * red + 0.587 * green + 0.114 * blue > 0.55


def _rotation(label: str, width: float, height: float) -> int | None:
    """Returns by how many degrees to turn `label` to fit in a box (inches), None where it does not fit."""
    extent = TextPath((0, 0), label, size=LABEL_SIZE).get_extents()
    long, short = extent.width / 72 + 0.05, LABEL_SIZE / 72 + 0.02
    if long <= width and short <= height:
        return 0
    return 90 if short <= width and long <= height else None


def table(by_kind: dict[str, Total]) -> Table:
    """Returns the sums for the terminal, in seconds."""
    shown = Table(box=None, header_style="bold", pad_edge=False)
    for header in ("in seconds", "runs", "DVC, gaps", "imports", "work", "of it fitting", "CPU"):
        shown.add_column(header, justify="left" if header == "in seconds" else "right")
    for kind, total in by_kind.items():
        numbers = (total.gaps, total.imports, total.work, total.fitting, total.cpu)
        shown.add_row(kind, str(total.runs or ""), *(f"{number:.1f}" if number else "" for number in numbers))
    return shown


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
    bars = lay_out(stages)
    reports = Path("reports")
    reports.mkdir(exist_ok=True)
    with sheet.drawing():
        sheet.save(reports, "profile", draw(name, jobs, bars, seconds))
    Console(highlight=False).print(table(totals(bars, seconds)), f"\n{seconds:.0f} s in all: reports/profile.svg")


if __name__ == "__main__":
    typer.run(main)
