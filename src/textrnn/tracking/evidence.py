"""What is known of a trained model: metrics of its logged model, tags and page of its version in the registry."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from textrnn import wording
from textrnn.analysis.calibration import calibration_error, reliability
from textrnn.analysis.gate import Decision
from textrnn.analysis.significance import accuracy_interval
from textrnn.config.sections import Promotion
from textrnn.modeling.scores import final_scores
from textrnn.project.dvc_lock import hashes
from textrnn.run_folder import RunFolder

SPLITS = {"valid": "validation", "test": "test"}
CORPUS = Path("data/corpus")
GATE = "### The gate"


def corpus_version(project: Path) -> str:
    """Returns DVC's hash of the corpus that results were made of, `unknown` before there are any."""
    return hashes(project / "dvc.lock", [CORPUS]).get(str(CORPUS), "unknown")


def measures(run: RunFolder, seed: int, split: str) -> dict[str, float]:
    """Returns a seed's scores on a split, the 95 % interval of its accuracy (Wilson), and its calibration error."""
    _, labels, probabilities = run.probabilities(seed, split)
    low, high = accuracy_interval(int((probabilities.argmax(axis=1) == labels).sum()), len(labels))
    return {
        **final_scores(split, labels, probabilities),
        f"{split}_accuracy_low": low,
        f"{split}_accuracy_high": high,
        f"{split}_calibration_error": calibration_error(reliability(labels, probabilities)),
    }


def tags(project: Path, corpus: str, run: RunFolder, seed: int) -> dict[str, str]:
    """Returns a version's tags: metrics, intervals, costs, fingerprint and corpus."""
    known = {key: value for split in SPLITS for key, value in measures(run, seed, split).items()}
    intervals = {}
    for split in SPLITS:
        low, high = (known.pop(f"{split}_accuracy_{end}") for end in ("low", "high"))
        intervals[f"{split}_accuracy_interval"] = f"{low:.4f} to {high:.4f}"
    return {
        **{key: f"{value:.6f}" for key, value in known.items()},
        **intervals,
        "experiment": run.name,
        "seed": str(seed),
        "parameters": str(run.parameters["total"]),
        **{f"{what}_flops": f"{count:.6g}" for what, count in run.flops.items()},
        "dvc.fingerprint": run.fingerprint,
        "corpus": corpus,
        "corpus.dvc": corpus_version(project),
    }


def page(run: RunFolder, seed: int, about: str, corpus: str, version: str) -> str:
    """Returns a version's description, Markdown, before the gate has seen it. Arguments as of `model_page`."""
    return f"{model_page(run, seed, about, corpus, version)}\n\n{GATE}\n\nNot asked yet: `textrnn promote`."


def model_page(run: RunFolder, seed: int, about: str, corpus: str, version: str) -> str:
    """Returns a model's description, Markdown: its scores, with intervals and calibration, and its confusion on test.

    Args:
        about: a sentence about the run.
        version: DVC's hash of the corpus.
    """
    known = {key: value for split in SPLITS for key, value in measures(run, seed, split).items()}
    accuracies = [
        wording.estimate(known[f"{split}_accuracy"], known[f"{split}_accuracy_low"], known[f"{split}_accuracy_high"])
        for split in SPLITS
    ]
    others = {"calibration error": "calibration_error", "log loss": "log_loss", "macro F1": "macro_f1"}
    rows = [
        ["", *SPLITS.values()],
        ["accuracy %, 95 % interval over texts (Wilson)", *accuracies],
        *([name, *(f"{known[f'{split}_{key}']:.3f}" for split in SPLITS)] for name, key in others.items()),
    ]
    _, labels, probabilities = run.probabilities(seed, "test")
    counts = np.zeros((len(run.classes),) * 2, int)
    np.add.at(counts, (labels, probabilities.argmax(axis=1)), 1)
    named = [wording.escape(name) for name in run.classes]
    confusion = [
        ["actual ↓, predicted →", *named],
        *([name, *map(str, row)] for name, row in zip(named, counts.tolist(), strict=True)),
    ]
    return "\n\n".join(
        [
            f"`{run.name}`, seed {seed}. {about}".rstrip(),
            "### Scores",
            _table(rows),
            "### Confusion on test",
            _table(confusion),
            f"Corpus `{corpus}`, version `{version}`: DVC's hash of `{CORPUS}`, as in `dvc.lock`.",
        ]
    )


def decided(description: str, decision: Decision, rule: Promotion | None) -> str:
    """Returns a version's description with the gate's verdict, and by which rule it was decided if there was a test."""
    words = {"promoted": "Promoted to champion", "kept": "The champion stays"}
    parts = [f"**{words[decision.outcome]}.** {decision.reason}"]
    if rule is not None:
        parts.append(
            f"An exact paired permutation test decided, at level {rule.level:g} and with a margin of "
            f"{100 * rule.margin:g} points (`promotion` in `params.yaml`)."
        )
    return "\n\n".join([description.partition(GATE)[0].rstrip(), GATE, *parts]).lstrip()


def replaced(description: str, by: str) -> str:
    """Returns the description of a version that was champion, and that the version `by` has replaced."""
    return f"{description}\n\n**Replaced by version {by}.**".lstrip()


def _table(rows: list[list[str]]) -> str:
    lines = [rows[0], ["---", *["---:"] * (len(rows[0]) - 1)], *rows[1:]]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)
