"""The report on a retraining for the reviewer of a pull request: is it better, and what did it take?

`pull_request.md` is its text; numbers and comparisons are made here.
"""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import isfinite
from pathlib import Path
from typing import Any

from jinja2 import Environment, StrictUndefined
from statsmodels.stats.multitest import multipletests

from textrnn import wording
from textrnn.analysis.pairwise import PairwiseComparison, compare
from textrnn.config.experiment import Experiment
from textrnn.config.params import Params
from textrnn.errors import TextrnnError
from textrnn.orchestration.repro import Work
from textrnn.orchestration.schedule import relative_cost
from textrnn.project.revision import Revision
from textrnn.report import compared
from textrnn.report.summary import si
from textrnn.run_folder import RunFolder
from textrnn.tracking.data_check import CorpusCheck
from textrnn.wording import duration, points

TEMPLATE = Path(__file__).with_suffix(".md")

FLIPPED = {"better": "worse", "worse": "better", "unclear": "unclear"}
"""A comparison judges the second of two runs; a report is about this branch, which is the first."""


@dataclass(frozen=True)
class Effort:
    """What a retraining took."""

    work: Work  # which stages ran, and which came from DVC's cache
    seconds: float  # of the whole retraining
    jobs: int  # trainings at the same time


def report(
    project: Path, params: Params, base: Revision, effort: Effort, corpus: CorpusCheck | None, address: str | None
) -> str:
    """Returns the comment on a pull request, as Markdown; `address` is where the commit's files are shown, if known."""
    here = Revision.read(project)
    changed = [name for name in here.runs if here.runs[name] != base.runs.get(name)]
    removed = [name for name in base.runs if name not in here.runs]
    verdict, sentence = _headline(project, here, base, changed) if changed or removed else ("", "")
    rows, reasons = _runs(project, here, base, changed)
    environment = Environment(undefined=StrictUndefined, autoescape=False)  # Markdown
    text = environment.from_string(TEMPLATE.read_text(encoding="utf-8")).render(
        here=here,
        base=base,
        changed=changed,
        removed=removed,
        verdict=verdict,
        sentence=sentence,
        rows=rows,
        reasons=reasons,
        unchanged=len(here.runs) - len(changed),
        corpus=corpus,
        params=_parameters(here, base),
        effort=effort,
        work=effort.work,
        total=len(here.stages),
        saved=_saved(project, params, effort),
        address=address,
        folder=f"reports/{params.study}",
        duration=duration,
    )
    return f"{text.strip()}\n"


def forbidden(base: Revision, corpus: CorpusCheck, effort: Effort) -> str:
    """Returns the comment where the study forbids to train on this corpus."""
    return (
        f"# Retraining: the study forbids this corpus\n\nNothing was trained. Compared with {base.label}; "
        f"{duration(effort.seconds)}.\n\n{corpus.to_markdown()}"
    )


def _headline(project: Path, here: Revision, base: Revision, changed: Sequence[str]) -> tuple[str, str]:
    """Returns the verdict in a few words, and a paragraph on the best run of either side."""
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
    words = f"cannot be told apart from {base.label}" if verdict == "unclear" else f"{verdict} than {base.label}"
    notes = " ".join(compared.notes(found))
    return words, (
        f"{chosen}On the test split `{ours}` has {compared.side(found.first)}, "
        f"`{theirs}` at {base.label} {compared.side(found.second)}: "
        f"a difference of {_difference(found)}, {wording.p_value(found.difference.p_value, 'p')}. "
        f"**At level {found.level:g} it {'is ' if verdict != 'unclear' else ''}{words}.** {notes}".strip()
    )


def _runs(
    project: Path, here: Revision, base: Revision, changed: Sequence[str]
) -> tuple[list[list[str]], dict[str, list[str]]]:
    """Returns a row for each run with other results, compared with itself at the base, and the runs that cannot be."""
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
        tested = ["", "", "new" if name not in base.runs else "cannot be compared"]
        if name in found:
            verdict = FLIPPED[found[name].verdict] if adjusted[name] <= found[name].level else "unclear"
            tested = [_difference(found[name]), wording.p_value(adjusted[name]), verdict]
        metrics = [_before_and_after(base, here, name, f"{split}_accuracy") for split in ("valid", "test")]
        rows.append([f"`{name}`", *metrics, *tested])
    return rows, reasons


def _before_and_after(base: Revision, here: Revision, name: str, metric: str) -> str:
    values = [side.metrics.get(name, {}).get(metric) for side in (base, here)]
    before, after = ("failed" if value is None else f"{100 * value:.1f}" for value in values)
    return after if name not in base.runs else f"{before} → {after}"


def _parameters(here: Revision, base: Revision) -> list[list[str]]:
    """Returns key and both values of each parameter that differs; one that is not set has its default."""
    defaults = Params.model_construct(train=Experiment.model_construct().model_dump()).model_dump()
    sides = [dict(_flat(_over(defaults, side.params))) for side in (base, here)]
    return [
        [f"`{key}`", *(f"`{json.dumps(side[key])}`" if key in side else "" for side in sides)]
        for key in dict.fromkeys([*sides[0], *sides[1]])
        if sides[0].get(key, ...) != sides[1].get(key, ...)
    ]


def _over(defaults: Any, content: Any) -> Any:
    """Returns `content` with the `defaults` of what it lacks, at each level."""
    if not isinstance(defaults, dict) or not isinstance(content, dict):
        return content
    return {**defaults, **{key: _over(defaults.get(key), value) for key, value in content.items()}}


def _flat(content: Any, prefix: str = "") -> Iterable[tuple[str, Any]]:
    """Yields keys with dots, and values; a list is one value."""
    if not isinstance(content, dict) or not content:
        yield prefix, content
        return
    for key, value in content.items():
        yield from _flat(value, f"{prefix}.{key}" if prefix else str(key))


def _saved(project: Path, params: Params, effort: Effort) -> dict[str, Any]:
    """Returns what the trainings that did not run would have taken; nothing where all ran."""
    folders = [project / "runs" / name for name in params.experiments]
    runs = [RunFolder.load(folder) for folder in folders if (folder / "run.json").is_file()]
    flops = {run.name: float(run.flops["training"]) * len(run.seeds) for run in runs if run.flops["training"]}
    stages = {name: params.stage(name) for name in flops}
    ran = [stage for stage in stages.values() if stage in effort.work.ran]
    spared = [name for name, stage in stages.items() if stage not in ran]
    if not spared:
        return {}
    # A step takes its time however little it computes, so seconds are estimated from the relative cost.
    pace = sum(effort.work.ran[stage] for stage in ran) / max(sum(relative_cost(stage, params) for stage in ran), 1)
    seconds = pace * sum(relative_cost(stages[name], params) for name in spared) / effort.jobs
    total = si(sum(flops[name] for name in spared), "FLOP")
    return {"trainings": len(spared), "of": len(flops), "flops": total, "seconds": seconds}


def _difference(found: PairwiseComparison) -> str:
    """Returns this branch minus the base, in points, with its interval."""
    low, high = found.difference.interval()
    interval = f" ({points(-high)} to {points(-low)})" if isfinite(low) else ""
    return f"{points(-found.difference.value)}{interval}"
