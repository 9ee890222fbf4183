"""Stage `explain@<run>`: why a run is wrong where it is surest, and what it predicts without the words that count."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import polars as pl

from textrnn.analysis.examples import in_order
from textrnn.analysis.explanations import DELETION, MISTAKES, surest_mistakes
from textrnn.config.plan import ExplanationPlan, load_planned_stage
from textrnn.modeling.attributions import EXACT
from textrnn.modeling.deletion import DELETION_SCHEMA, deletion_rows, deletions
from textrnn.modeling.explanation import Explainer
from textrnn.process import cores
from textrnn.run_folder import RunFolder
from textrnn.stage import run_stage, write_folder


def main(plan: Path, run: Path, corpus: Path, out: Path) -> None:
    """Explains predictions of the RUN that PLAN names for the validation texts of CORPUS."""
    planned = load_planned_stage(plan, ExplanationPlan)
    settings, trained, file = planned.settings.explanation, RunFolder.load(run), corpus / "valid.parquet"
    texts = pl.read_parquet(file, columns=["id", "text"])
    table, lines, errors = pl.DataFrame(schema=DELETION_SCHEMA), list[str](), list[float]()
    for seed in trained.finished_seeds:
        explainer = Explainer(run / "model" / str(seed), cores())
        if seed == trained.finished_seeds[0]:
            wrong = surest_mistakes(trained, seed, settings.mistakes)
            own = in_order(texts, [each for each, _ in wrong], str(file))
            explained = explainer.explain(own["text"])
            for (name, label), each in zip(wrong, explained, strict=True):
                record = {"seed": seed, "id": name, "class": label, **each.record()}
                lines.append(json.dumps(record, ensure_ascii=False) + "\n")
            errors += [each.error for each in explained]
        has_words = texts.filter(pl.Series(explainer.predictor.words(texts["text"])[0] > 0))
        spread = np.unique(np.linspace(0, len(has_words) - 1, settings.texts).round().astype(int))
        some = has_words[spread]
        explained = explainer.explain(some["text"])
        errors += [each.error for each in explained]
        table.extend(deletion_rows(seed, some["id"].to_list(), deletions(explainer.predictor, explained)))
    with write_folder(out) as folder:
        table.write_parquet(folder / DELETION)
        (folder / MISTAKES).write_text("".join(lines), encoding="utf-8", newline="\n")
    sys.stdout.write(
        f"{planned.name}: {len(lines)} mistakes of one seed explained; words deleted from {table['id'].n_unique()} "
        f"validation texts, seeds: {', '.join(map(str, trained.finished_seeds)) or 'none'}; attributions miss the "
        f"difference of the log-odds by at most {max(errors, default=0.0):.2%}\n"
    )
    if inexact := sum(error > EXACT for error in errors):
        sys.stderr.write(f"warning: that is more than {EXACT:.0%} in {inexact} of {len(errors)} explanations\n")


if __name__ == "__main__":
    run_stage(main)
