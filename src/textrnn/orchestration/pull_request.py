"""What the reviewer of a pull request wants to know of a retraining: is it better, and what did it take?"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from math import isfinite
from pathlib import Path
from typing import Any, Self

from statsmodels.stats.multitest import multipletests
from tabulate import tabulate

from textrnn.analysis.pairwise import PairwiseComparison, compare
from textrnn.config.params import Params
from textrnn.config.yaml_file import parse_json, parse_yaml
from textrnn.errors import TextrnnError
from textrnn.orchestration.repro import Work, relative_cost
from textrnn.orchestration.verify import REPORT_AGAIN
from textrnn.project import git
from textrnn.project.dvc_lock import outputs, parse_stages
from textrnn.report import compared
from textrnn.report.summary import si
from textrnn.run_folder import RunFolder
from textrnn.tracking.data_check import CorpusCheck

PICTURES = ("leaderboard.svg", "learning_curves.svg")
FLIPPED = {"better": "worse", "worse": "better", "unclear": "unclear"}
"""A comparison judges the second of two runs; a report is about this branch, which is the first."""


@dataclass(frozen=True)
class Revision:
    """Results as a git revision, or the working tree, has them.

    Attributes:
        label: what to call it.
        commit: where it stays although the branch it was named by moves on; nothing for the working tree.
        params: the content of `params.yaml`.
        runs: DVC's hash of each run.
        stages: the entry in `dvc.lock` by stage.
        metrics: by run.
    """

    label: str
    commit: str
    params: dict[str, Any]
    runs: dict[str, str]
    stages: dict[str, Any]
    metrics: dict[str, dict[str, float]]

    @classmethod
    def of_commit(cls, project: Path, label: str, commit: str) -> Self:
        """Reads what git has at a commit."""
        return cls._read(
            label,
            commit,
            lambda name: git.content(project, commit, name),
            lambda folder: git.files(project, commit, folder),
        )

    @classmethod
    def of_working_tree(cls, project: Path) -> Self:
        def read(name: str) -> str:
            file = project / name
            return file.read_text(encoding="utf-8") if file.is_file() else ""

        def names(folder: str) -> Iterable[str]:
            return [file.relative_to(project).as_posix() for file in sorted((project / folder).glob("*.json"))]

        return cls._read("this branch", "", read, names)

    @classmethod
    def _read(cls, label: str, commit: str, read: Callable[[str], str], names: Callable[[str], Iterable[str]]) -> Self:
        where = f" at {label}" if commit else ""
        params = (parse_yaml(text, f"params.yaml{where}") if (text := read("params.yaml")) else None) or {}
        stages = parse_stages(text, f"dvc.lock{where}") if (text := read("dvc.lock")) else {}
        runs = {path[len("runs/") :]: md5 for path, md5 in outputs(stages).items() if path.startswith("runs/")}
        files = names(f"reports/{params.get('study')}/metrics/")
        metrics = {Path(name).stem: parse_json(read(name), f"{name}{where}", REPORT_AGAIN) for name in files}
        return cls(label, commit, params, runs, stages, metrics)

    @property
    def best(self) -> str | None:
        """The experiment with the highest accuracy on validation."""
        ranked = [name for name in self.params.get("experiments", {}) if self._accuracy(name) is not None]
        return max(ranked, key=lambda name: self._accuracy(name) or 0, default=None)

    def _accuracy(self, name: str) -> float | None:
        return self.metrics.get(name, {}).get("valid_accuracy")


@dataclass(frozen=True)
class Effort:
    """What a retraining took.

    Attributes:
        work: which stages ran, and which came from DVC's cache.
        seconds: of the whole retraining.
        jobs: trainings at the same time.
    """

    work: Work
    seconds: float
    jobs: int


@dataclass(frozen=True)
class Pictures:
    """Where the pictures of a commit can be seen by whoever may see the repository, and where they lie in it."""

    address: str | None
    folder: str

    def __str__(self) -> str:
        if self.address is None:
            return f"Pictures, and everything else: `{self.folder}/index.html`."
        shown = [f"![{Path(name).stem.replace('_', ' ')}]({self.address}/{self.folder}/{name})" for name in PICTURES]
        return "\n\n".join(shown)


def report(
    project: Path, params: Params, base: Revision, effort: Effort, corpus: CorpusCheck | None, pictures: Pictures
) -> str:
    """Returns the comment on a pull request, as Markdown."""
    here = Revision.of_working_tree(project)
    changed = [name for name in here.runs if here.runs[name] != base.runs.get(name)]
    removed = [name for name in base.runs if name not in here.runs]
    if not changed and not removed:
        parts = [
            f"# Retraining: nothing differs from {base.label}",
            "Every run has the same bytes."
            if effort.work.was_due
            else "No stage had to run: nothing they read differs.",
        ]
    else:
        verdict, sentence = _headline(project, here, base, changed)
        parts = [f"# Retraining: {verdict}", sentence, _runs(project, here, base, changed), _not_there(here, removed)]
    parts += [corpus.to_markdown().strip() if corpus else "", _parameters(here, base), _effort(project, params, effort)]
    if changed:
        parts += ["## Pictures", str(pictures)]
    return "\n\n".join(filter(None, parts)) + "\n"


def forbidden(base: Revision, corpus: CorpusCheck, effort: Effort) -> str:
    """Returns the comment where the study forbids to train on this corpus."""
    parts = [
        "# Retraining: the study forbids this corpus",
        f"Nothing was trained. Compared with {base.label}; {_duration(effort.seconds)}.",
        corpus.to_markdown(),
    ]
    return "\n\n".join(parts)


def _headline(project: Path, here: Revision, base: Revision, changed: Sequence[str]) -> tuple[str, str]:
    """Returns two words and a paragraph on the best run of either side."""
    ours, theirs = here.best, base.best
    if ours is None or theirs is None:
        return "nothing to compare", f"{base.label if theirs is None else here.label} has no finished experiment."
    if ours == theirs and ours not in changed:
        return (
            "the best is unchanged",
            f"`{ours}` ranks first on validation here and at {base.label}, with the same bytes.",
        )
    chosen = f"Best on validation: `{ours}` here, `{theirs}` at {base.label}. "
    try:
        found = compare(project, ours, theirs, base.commit)
    except TextrnnError as error:
        return "cannot be compared", f"{chosen}{str(error).replace(base.commit, base.label)}"
    verdict = FLIPPED[found.verdict]
    words = {
        "better": f"better than {base.label}",
        "worse": f"worse than {base.label}",
        "unclear": f"cannot be told apart from {base.label}",
    }[verdict]
    notes = " ".join(compared.notes(found))
    return words, (
        f"{chosen}On the test split `{ours}` has {compared.side(found.first)}, "
        f"`{theirs}` at {base.label} {compared.side(found.second)}: "
        f"a difference of {_difference(found)}, {_p(found.difference.p_value)}. "
        f"**At level {found.level:g} it {'is ' if verdict != 'unclear' else ''}{words}.** {notes}".strip()
    )


def _runs(project: Path, here: Revision, base: Revision, changed: Sequence[str]) -> str:
    """A table of the runs with other results, each beside itself."""
    found: dict[str, PairwiseComparison] = {}
    reasons: dict[str, list[str]] = {}
    for name in changed:
        if name in base.runs:
            try:
                found[name] = compare(project, name, None, base.commit)
            except TextrnnError as error:
                reasons.setdefault(str(error).replace(base.commit, base.label).replace(name, "…"), []).append(name)
    p_values = [each.difference.p_value for each in found.values()]
    adjusted = dict(zip(found, multipletests(p_values, method="holm")[1], strict=True)) if found else {}
    rows = []
    for name in changed:
        verdict, difference, p_value = "new" if name not in base.runs else "cannot be compared", "", ""
        if name in found:
            is_clear = adjusted[name] <= found[name].level
            verdict = FLIPPED[found[name].verdict] if is_clear else "unclear"
            difference, p_value = _difference(found[name]), f"{adjusted[name]:.3f}"
        metrics = [_before_and_after(base, here, name, f"{split}_accuracy") for split in ("valid", "test")]
        rows.append([f"`{name}`", *metrics, difference, p_value, verdict])
    headers = ["run", "validation %", "test %", "difference on test, points (95 %)", "p, Holm", ""]
    unchanged = len(here.runs) - len(changed)
    text = f"## Runs\n\n{tabulate(rows, headers, tablefmt='pipe', disable_numparse=True)}\n\n"
    text += f"{unchanged} further runs have the same bytes." if unchanged else "No run has the same bytes as before."
    for reason, names in reasons.items():
        text += f"\n\nCannot be compared: {', '.join(f'`{name}`' for name in names)}. {reason}"
    return text


def _not_there(here: Revision, removed: Sequence[str]) -> str:
    names = ", ".join(f"`{name}`" for name in removed)
    return f"No longer in the study `{here.params.get('study')}`: {names}." if removed else ""


def _before_and_after(base: Revision, here: Revision, name: str, metric: str) -> str:
    values = [side.metrics.get(name, {}).get(metric) for side in (base, here)]
    before, after = ("failed" if value is None else f"{100 * value:.1f}" for value in values)
    return after if name not in base.runs else f"{before} → {after}"


def _parameters(here: Revision, base: Revision) -> str:
    """A table of the parameters that differ."""
    sides = [dict(_flat(side.params)) for side in (base, here)]
    rows = [
        [f"`{key}`", *(f"`{json.dumps(side[key])}`" if key in side else "" for side in sides)]
        for key in dict.fromkeys([*sides[0], *sides[1]])
        if sides[0].get(key, ...) != sides[1].get(key, ...)
    ]
    if not rows:
        return ""
    table = tabulate(rows, ["", base.label, here.label], tablefmt="pipe", disable_numparse=True)
    return f"## Parameters\n\n{table}"


def _flat(content: Any, prefix: str = "") -> Iterable[tuple[str, Any]]:
    """Keys with dots, and values; a list is one value."""
    if not isinstance(content, dict) or not content:
        yield prefix, content
        return
    for key, value in content.items():
        yield from _flat(value, f"{prefix}.{key}" if prefix else str(key))


def _effort(project: Path, params: Params, effort: Effort) -> str:
    """What ran, what did not have to, and what that saved."""
    work = effort.work
    total = len(Revision.of_working_tree(project).stages)
    text = f"## What it took\n\n{_duration(effort.seconds)}; at the most {effort.jobs} at work at a time."
    slowest = sorted(work.ran.items(), key=lambda item: -item[1])
    for what, names in (
        ("ran", [f"`{name}` {_duration(seconds)}" for name, seconds in slowest]),
        ("came from DVC's cache", [f"`{name}`" for name in work.cached]),
    ):
        text += f"\n- {len(names)} of {total} stages {what}" + (f": {', '.join(names)}" if names else "")
    text += f"\n- {total - len(work.ran.keys() | set(work.cached))} were up to date"
    flops = {name: value for name in params.experiments if (value := _training_flops(project / "runs" / name))}
    spared = [name for name in flops if f"train@{name}" not in work.ran]
    if spared:
        share, saved = len(spared) / len(flops), sum(flops[name] for name in spared)
        text += f"\n- saved: {len(spared)} of {len(flops)} experiments' training ({share:.0%}), {si(saved, 'FLOP')}"
        trained = [f"train@{name}" for name in flops if name not in spared]
        if trained:
            # A step takes its time however little it computes, so time is estimated from passes over the corpus.
            pace = sum(work.ran[stage] for stage in trained) / sum(relative_cost(stage, params) for stage in trained)
            seconds = pace * sum(relative_cost(f"train@{name}", params) for name in spared)
            text += f"; at the pace of what ran, about {_duration(seconds / effort.jobs)}"
    return text


def _training_flops(folder: Path) -> float | None:
    """Floating-point operations of all seeds of a run; None if it is not here."""
    if not (folder / "run.json").is_file():
        return None
    run = RunFolder.load(folder)
    return float(run.flops["training"]) * len(run.seeds)


def _difference(found: PairwiseComparison) -> str:
    """This branch minus the base, in points, with its interval."""
    low, high = found.difference.interval()
    interval = f" ({_points(-high)} to {_points(-low)})" if isfinite(low) else ""
    return f"{_points(-found.difference.value)}{interval}"


def _points(share: float) -> str:
    return f"{100 * share:+z.1f}".replace("-", "−")


def _p(value: float) -> str:
    return "p < 0.001" if value < 0.001 else f"p = {value:.3f}"


def _duration(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 100 else f"{seconds / 60:.0f} min"
