"""Searches that look like real ones, without training anything."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from tiny_experiments import PLAIN

from textrnn.search.result import SearchResult

SPACE: dict[str, dict[str, Any]] = {
    "units": {"low": 16, "high": 256, "log": True, "optional": False},
    "learning_rate": {"low": 0.0003, "high": 0.01, "log": True, "optional": False},
    "layers": {"low": 1, "high": 3, "log": False, "optional": False},
    "dropout": {"low": 0.0, "high": 0.7, "log": False, "optional": False},
    "gradient_clip": {"low": 0.1, "high": 10.0, "log": True, "optional": True},
    "bidirectional": {"choices": [False, True]},
    "readout": {"choices": ["last", "max", "mean"]},
    "embedding": {"choices": ["glove-50d", "word2vec-50d", "random-50d"]},
}
EPOCHS, SEEDS = (1, 3, 9), (1, 1, 2)
"""By rung."""


def make_search(
    folder: Path, name: str, trials: int = 64, cell: str = "lstm", space: dict[str, dict[str, Any]] = SPACE
) -> SearchResult:
    """Writes `folder/name`: in batches of 16, a third of the trials of each rung goes on; some diverge."""
    draw = np.random.default_rng([*name.encode()])
    rows, values, best = [], [], []
    spent, lowest = 0.0, np.inf
    for batch in range(-(-trials // 16)):
        numbers = range(batch * 16, min(trials, batch * 16 + 16))
        own = {trial: {knob: _propose(rule, draw.random()) for knob, rule in space.items()} for trial in numbers}
        row = {
            trial: {"trial": trial, "batch": batch, **own[trial], "outcome": "cut", "reason": ""} for trial in numbers
        }
        alive = list(numbers)
        for rung, (epochs, seeds) in enumerate(zip(EPOCHS, SEEDS, strict=True), start=1):
            measured = {}
            for trial in alive:
                spent += (cost := 1e11 * epochs * seeds * own[trial]["units"] / 16)
                row[trial] |= {
                    "rung": rung,
                    "trained_epochs": epochs,
                    "seeds": " ".join(str(1000 + seed) for seed in range(seeds)),
                    "flops": row[trial].get("flops", 0.0) + cost,
                    "value": None,
                    "val_accuracy": None,
                }
                if rung == 1 and own[trial]["learning_rate"] > 0.008:
                    row[trial] |= {"outcome": "diverged", "reason": "loss became NaN in epoch 1"}
                    continue
                value = round(0.44 + _loss(own[trial]) + 0.12 * 0.6**epochs + 0.006 * draw.normal(), 6)
                measured[trial] = value
                row[trial] |= {"value": value, "val_accuracy": round(1 - value / 2, 6)}
                values.append((trial, rung, epochs, seeds, value, round(1 - value / 2, 6)))
            alive = sorted(measured, key=lambda trial: measured[trial])[: max(1, len(measured) // 3)]
        for trial in sorted(measured):
            row[trial]["outcome"] = "finished"
            if measured[trial] < lowest:
                lowest = measured[trial]
                best.append({"trial": trial, "flops": spent, "value": lowest})
        rows += list(row.values())
    refused = {**rows[-1], "outcome": "refused", "reason": "dropout needs layers", "flops": 0.0, "seeds": None}
    rows[-1] = refused | dict.fromkeys(("rung", "trained_epochs", "value", "val_accuracy"))
    shares = {"learning_rate": 0.41, "embedding": 0.22, "units": 0.17, "dropout": 0.09, "readout": 0.06}
    winner = best[-1]["trial"]
    outcomes = [each["outcome"] for each in rows]
    return write_search(
        folder / name,
        rows,
        values,
        winner=winner,
        value=rows[winner]["value"],
        val_accuracy=rows[winner]["val_accuracy"],
        seeds=[1000, 1001],
        experiment={**PLAIN, "cell": cell, **{knob: rows[winner][knob] for knob in space}},
        space=space,
        settings={"trials": trials, "batch": 16, "rungs": list(EPOCHS), "reduction": 3, "sampler": "tpe"},
        outcomes={outcome: outcomes.count(outcome) for outcome in dict.fromkeys(outcomes)},
        flops=spent,
        best=best,
        importance=shares | dict.fromkeys(("layers", "gradient_clip"), 0.02) | {"bidirectional": 0.01},
    )


def write_search(
    folder: Path, trials: list[dict[str, Any]], values: list[tuple[Any, ...]], **content: Any
) -> SearchResult:
    """Writes the files of the search `folder.name`: rows of trials.csv and values.csv, search.json and winner.json."""
    folder.mkdir(parents=True)
    # Through text, so that `True` is written as Python does.
    text = [{key: None if value in (None, "") else str(value) for key, value in row.items()} for row in trials]
    pl.DataFrame(text, infer_schema_length=None).write_csv(folder / "trials.csv")
    columns = ["trial", "rung", "epochs", "seeds", "value", "val_accuracy"]
    pl.DataFrame(values, columns, orient="row").write_csv(folder / "values.csv")
    (folder / "winner.json").write_text(json.dumps(content.pop("experiment")))
    (folder / "search.json").write_text(json.dumps({"name": folder.name, **content}))
    return SearchResult.load(folder)


def _propose(rule: dict[str, Any], share: float) -> Any:
    if "choices" in rule:
        return rule["choices"][int(share * len(rule["choices"]))]
    if rule["optional"] and share > 0.7:
        return None
    low, high = rule["low"], rule["high"]
    value = low * (high / low) ** share if rule["log"] else low + (high - low) * share
    return round(value) if isinstance(low, int) else float(f"{value:.4g}")


def _loss(own: dict[str, Any]) -> float:
    """How much worse than the best settings, in nats."""
    rate = 0.05 * np.log10(own["learning_rate"] / 0.003) ** 2 * 4
    size = 0.02 * abs(np.log2(own["units"] / 96)) / 2
    kind = {"glove-50d": 0.0, "word2vec-50d": 0.015, "random-50d": 0.05}.get(own["embedding"], 0.1)
    return rate + size + kind + 0.05 * (own["dropout"] - 0.35) ** 2 + (0.01 if own["readout"] == "last" else 0)
