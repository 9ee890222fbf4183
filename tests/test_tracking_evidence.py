"""What the registry says of a model, against numbers that are reckoned by hand."""

from __future__ import annotations

from pathlib import Path

import pytest
from fake_runs import make_run

from textrnn.analysis.gate import Decision
from textrnn.config.sections import Promotion
from textrnn.tracking import evidence


def test_measures_of_five_texts(tmp_path: Path) -> None:
    """Three are right with 0.8, two wrong with 0.7: they are (3 * 0.2 + 2 * 0.7) / 5 away from their confidence."""
    measures = evidence.measures(make_run(tmp_path, "lstm"), 0, "test")
    assert measures["test_accuracy"] == 0.6
    assert measures["test_calibration_error"] == pytest.approx(0.4, abs=1e-6)
    # Wilson: (p + z²/2n ± z √(p(1-p)/n + z²/4n²)) / (1 + z²/n), with z = 1.96, p = 0.6 and n = 5.
    assert (measures["test_accuracy_low"], measures["test_accuracy_high"]) == pytest.approx((0.2307, 0.8824), abs=1e-4)


def test_the_page_shows_intervals_calibration_confusion_and_the_corpus(tmp_path: Path) -> None:
    page = evidence.page(make_run(tmp_path, "lstm"), 0, "Starts from glove.", "tiny", "aa.dir")
    assert page.startswith("`lstm`, seed 0. Starts from glove.\n\n")
    assert "| 60.0 (23.1 to 88.2) |" in page
    assert "| calibration error | 0.325 | 0.400 |" in page  # validation: (3 * 0.2 + 0.7) / 4
    assert "| rotten | 2 | 0 |\n| fresh | 2 | 1 |" in page
    assert "Corpus `tiny`, version `aa.dir`" in page
    assert page.endswith(f"{evidence.GATE}\n\nNot asked yet: `textrnn promote`.")


def test_a_verdict_replaces_the_one_before(tmp_path: Path) -> None:
    rule = Promotion(level=0.05, margin=0.005)
    page = evidence.page(make_run(tmp_path, "lstm"), 0, "", "tiny", "aa.dir")
    kept = evidence.decided(page, Decision("kept", "It is not better."), rule)
    promoted = evidence.decided(kept, Decision("promoted", "It is better."), rule)
    assert kept.partition(evidence.GATE)[0] == promoted.partition(evidence.GATE)[0] == page.partition(evidence.GATE)[0]
    assert "**The champion stays.** It is not better.\n\n" in kept
    assert "**Promoted to champion.** It is better.\n\n" in promoted
    assert "It is not better" not in promoted
    assert promoted.endswith("decided, at level 0.05 and with a margin of 0.5 points (`promotion` in `params.yaml`).")
    assert evidence.decided("", Decision("promoted", "The first."), None) == (
        f"{evidence.GATE}\n\n**Promoted to champion.** The first."
    ), "no test was made"
