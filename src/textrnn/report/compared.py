"""The sentences of `textrnn compare`, and what the report of a pull request takes from them."""

from __future__ import annotations

from math import isfinite

from textrnn.analysis.pairwise import PairwiseComparison, Side
from textrnn.wording import count, interval, p_value, points


def text(found: PairwiseComparison) -> str:
    """Returns the whole answer."""
    first, second = found.first.label, found.second.label
    width = max(len(first), len(second))
    low, high = found.difference.interval()
    difference = f"{points(found.difference.value)} points"
    if isfinite(low):
        difference += f" (95 % interval {interval(low, high, points)}), {p_value(found.difference.p_value, 'p')}"
    else:
        difference += "; a single group of texts does not show how far chance reaches"
    verdict = f"{second} is {found.verdict} than {first}, beyond chance"
    if found.verdict == "unclear":
        verdict = f"{first} and {second} cannot be told apart"
    reach = (f"{count(len(found.seeds), 'seed')} and " if found.seeds else "") + count(found.texts, "text")
    if found.groups < found.texts:
        reach += f" in {count(found.groups, 'group')} that were drawn whole, such as films"
    return "\n".join(
        (
            *(f"{each.label:<{width}}  {side(each)}" for each in (found.first, found.second)),
            "",
            f"{second} minus {first}: {difference}.",
            f"{verdict} (level {found.level:g}; one comparison, so p is not corrected for others).",
            f"Over {reach}.",
            *notes(found),
        )
    )


def side(found: Side) -> str:
    """Returns a side's accuracy, its spread over seeds, and its interval."""
    spread = f" ± {100 * found.accuracies.std(ddof=1):.1f}" if len(found.accuracies) > 1 else ""
    low, high = found.mean.accuracy_interval()
    limits = f" (95 % interval {interval(low, high)})" if isfinite(low) else ""
    return f"{100 * found.mean.value:.1f}{spread} % test accuracy{limits}"


def notes(found: PairwiseComparison) -> list[str]:
    """Returns sentences on failures, on seeds that were left out, and on what limits the answer."""
    sentences = [
        f"{each.label} failed with {each.failure.rstrip('.')}." for each in (found.first, found.second) if each.failure
    ]
    if found.left_out:
        wanted = count(len(found.seeds) + len(found.left_out), "seed")
        left_out = ", ".join(map(str, found.left_out))
        sentences.append(f"Left out: {len(found.left_out)} of {wanted} ({left_out}), not finished by both.")
    if len(found.seeds) == 1:
        sentences.append(
            "With one seed this is about these trained models only: more seeds are needed to tell whether the settings "
            "are better or this seed is lucky."
        )
    if found.is_same:
        sentences.append("Both predict exactly the same.")
    return sentences
