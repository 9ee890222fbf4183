"""The report's text: sections of Markdown, made of the study's tables.

Words and texts of the corpus come from strangers: they are escaped.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass

import pandas as pd
from tabulate import tabulate

from textrnn.analysis.comparisons import BASELINE, BEST, DECLARED
from textrnn.analysis.leaderboard import main_cells, score_text
from textrnn.analysis.metrics import BINS
from textrnn.analysis.protocol import PROTOCOL_COLUMNS
from textrnn.analysis.slices import EVIDENCE
from textrnn.analysis.tables import SPLITS
from textrnn.markdown import escape
from textrnn.report.plots.lettering import visible


@dataclass(frozen=True)
class Report:
    """What the page is made of. A table may be empty: its section then says why nothing is shown.

    Attributes:
        study: its name.
        corpus: its name.
        summary: the answers in plain sentences, `leaderboard.summary(…)`.
        board: `leaderboard.build(…)`.
        tables: `comparisons`, `learning_curves`, `memory`, `slices`, `hardest`, `calibration`,
            `words`, `neighbours`, `analogies`, `published`, `protocol`, `flattery`.
        data_quality: `data_quality.to_markdown(…)`.
    """

    study: str
    corpus: str
    summary: Sequence[str]
    board: pd.DataFrame
    tables: Mapping[str, pd.DataFrame]
    data_quality: str


@dataclass(frozen=True)
class Picture:
    """`name.svg`: `alt` says what is to be seen, for who does not see it; `caption` how to read it."""

    name: str
    alt: str
    caption: str


@dataclass(frozen=True)
class Section:
    """A heading, its Markdown, and the pictures below it. `short`: it stands in `report.md` too."""

    id: str
    title: str
    text: str
    pictures: tuple[Picture, ...] = ()
    short: bool = False


def sections(report: Report) -> list[Section]:
    """Returns the report's sections, in the order in which a reviewer asks."""
    tables = report.tables
    return [
        Section("answer", "Which model, and is it really better?", "\n\n".join(report.summary), short=True),
        Section(
            "leaderboard",
            "Leaderboard",
            _leaderboard(report.board),
            (
                Picture(
                    "leaderboard",
                    "Dots and whiskers: validation and test accuracy of every run. The table above holds the numbers.",
                    "Validation and test accuracy of every run, in the order of the leaderboard.",
                ),
            ),
            short=True,
        ),
        *_about_protocols(tables),
        Section(
            "effects",
            "What a factor is worth",
            _effects(tables["comparisons"], report.board),
            (
                Picture(
                    "effects",
                    "Dots and whiskers: the difference that each factor makes. The table above holds the numbers.",
                    "Difference in accuracy that each factor makes, with everything else equal, and its 95 % interval.",
                ),
            ),
            short=True,
        ),
        Section(
            "learning-curves",
            "Learning curves",
            _learning_curves(tables["learning_curves"], report.board),
            (
                Picture(
                    "learning_curves",
                    "A panel per experiment: accuracy and loss by epoch, training and validation. "
                    "The table above says where each ends.",
                    "Accuracy and loss by epoch. Where validation turns away from training, the network learns by "
                    "heart.",
                ),
            ),
        ),
        Section("metrics", "Other metrics", _other_metrics(report.board)),
        Section(
            "memory",
            "What each cell remembers",
            _memory(tables["memory"], report.board),
            (
                Picture(
                    "memory",
                    "Lines: gradient norm by distance from the end of the text. The table above holds the numbers.",
                    "How much of the gradient arrives at a word that stands so far from the end.",
                ),
            ),
        ),
        Section(
            "errors",
            "Where they err",
            _errors(tables["slices"], report.board),
            (
                Picture(
                    "slices",
                    "Lines: accuracy by kind of text. The tables above hold the numbers.",
                    "Accuracy on the validation split by kind of text, with 95 % intervals.",
                ),
            ),
        ),
        Section("hardest", "The hardest validation texts", _hardest(tables["hardest"])),
        Section(
            "calibration",
            "How sure they are",
            _calibration(tables["calibration"]),
            (
                Picture(
                    "reliability",
                    "A panel per run: accuracy against confidence. The table above holds the calibration errors.",
                    "Reliability: how often a model is right when it is that sure, a line per seed. The calibration "
                    "error (ECE) is that of the table, the mean over seeds.",
                ),
                Picture(
                    "confusion",
                    "A panel per run: the share of each actual class that was predicted as each class. "
                    "confusion.csv beside this page holds the numbers.",
                    "Confusion: what each class is taken for.",
                ),
            ),
        ),
        Section(
            "embeddings",
            "What the embedding learned",
            _embeddings(tables["neighbours"], tables["analogies"], tables["words"], report.board),
            (
                Picture(
                    "words",
                    "Two panels: where the words of the table above lie before and after training.",
                    "The words that speak most for a class, before and after training. A word that training left alone "
                    "has the same place in both maps.",
                ),
            ),
        ),
        Section("data", "Data quality", _below_its_title(report.data_quality)),
        Section("reproduce", "How to reproduce it", _reproduce(report.study), short=True),
        Section("method", "How it was measured", _method(tables["comparisons"])),
    ]


def _about_protocols(tables: Mapping[str, pd.DataFrame]) -> list[Section]:
    """Published figures and validation protocols: of a study that names some, or holds texts out."""
    found = []
    if not tables["published"].empty:
        found.append(Section("published", "Published figures and ours", _published(tables["published"]), short=True))
    if not tables["protocol"].empty:
        text = _protocol(tables["protocol"], tables["flattery"])
        found.append(Section("protocol", "What the validation adds", text, short=True))
    return found


MEASURES = {"best_epoch": "validation, best epoch", "last_epoch": "validation, last epoch", "test": "test"}


def _published(published: pd.DataFrame) -> str:
    rows = [
        [
            f"`{row['experiment']}`",
            _escape(row["source"]),
            MEASURES[row["measure"]],
            _percent(row["published"]),
            _percent(row["ours"]),
            _interval(row["low"], row["high"]),
            row["verdict"],
        ]
        for _, row in published.iterrows()
    ]
    apart = [
        f"`{row['experiment']}` ({MEASURES[row['measure']]}) by {_points(row['ours'] - row['published'])} points"
        for _, row in published[published["verdict"] != "alike"].iterrows()
    ]
    count = len(published) - len(apart)
    answer = f"Of {len(published)} published figures, {count} lie within the 95 % interval of ours."
    if apart:
        answer += f" Ours differ, by more than chance explains, in {'; '.join(apart)}."
    header = ["experiment", "source", "figure", "published %", "ours %", "95 % interval", "ours is"]
    return "\n\n".join(
        [
            f"{answer} The published ones are of one training each, and carry chance of their own. Validation figures "
            "of ours are means over seeds, each measured on texts of its own.",
            _table("Published and ours", header, rows, words=(0, 1, 2, 6)),
        ]
    )


def _protocol(protocol: pd.DataFrame, flattery: pd.DataFrame) -> str:
    added = flattery.set_index("what")
    sentences = []
    if not added.empty:
        amounts = {
            what: f"{_points(row['difference'])} points ({_interval(row['low'], row['high'], _points)})"
            for what, row in added.iterrows()
        }
        sentences = [
            f"On average over these experiments, picking the epoch by its validation accuracy adds "
            f"{amounts['picked by eye']} to the figure. Drawing the validation texts at random, where texts of one "
            f"group stand on both sides, and not by group adds {amounts['drawn at random']}. The best epoch's figure "
            f"on texts drawn at random exceeds that of the test split by {amounts['both']}."
        ]
    rows = [
        [f"`{row['experiment']}`", row["padding"], *(_percent(row[column]) for column in PROTOCOL_COLUMNS[2:])]
        for _, row in protocol.iterrows()
    ]
    header = ["experiment", "padding", "at random, best epoch %", "at random %", "by group %", "test %"]
    return "\n\n".join(
        [
            *sentences,
            _table("The same weights, validated in several ways, mean over seeds", header, rows, words=(0, 1)),
        ]
    )


def _leaderboard(board: pd.DataFrame) -> str:
    voted = board["vote_accuracy"].notna().any()
    header = ["run", "rank", "validation %", "test %", "95 % interval", "against NB-SVM"]
    header += ["vote of seeds %", "95 % interval of the vote"] if voted else []
    header += ["model", "embedding", "parameters", "training"]
    rows = []
    for _, row in board.iterrows():
        rank, name, valid, test, verdict, parameters, training = main_cells(row)
        interval = _interval(row["test_low"], row["test_high"])
        vote = [_percent(row["vote_accuracy"]), _interval(row["vote_low"], row["vote_high"])] if voted else []
        start = [f"`{row['model']}`", f"`{row['embedding']}`" if row["embedding"] else ""]
        rows.append([f"`{name}`", rank, valid, test, interval, verdict, *vote, *start, parameters, training])
    words = [header.index(name) for name in ("run", "rank", "against NB-SVM", "model", "embedding")]
    spread = "mean ± standard deviation over seeds" if _seeds(board) > 1 else "those of one seed"
    return "\n\n".join(
        [
            f"Ranked by validation accuracy. Accuracies are {spread}; the intervals are those of the test accuracy, "
            f"{_reach(board)}. ≈: cannot be told apart from the first on the test split. Training: floating-point "
            "operations of one seed, which every machine counts alike.",
            _table("Every run, best first", header, rows, words),
        ]
    )


def _seeds(board: pd.DataFrame) -> int:
    """How many seeds an experiment has, but for those that failed."""
    return int(board.loc[board["kind"] == "experiment", "seeds"].max())


def _reach(board: pd.DataFrame) -> str:
    """What the intervals cover."""
    return "over seeds and texts (of a single seed over texts only)" if _seeds(board) > 1 else "over texts only"


def _other_metrics(board: pd.DataFrame) -> str:
    names = {"macro_f1": "F1 %", "roc_auc": "ROC AUC", "log_loss": "log loss"}
    header = ["run", *(f"{name}, {split}" for name in names.values() for split in ("validation", "test"))]
    rows = [
        [f"`{row['experiment']}`", *(score_text(row, f"{split}_{name}") for name in names for split in SPLITS)]
        for _, row in board.iterrows()
    ]
    return "\n\n".join(
        [
            "F1 is macro F1: every class weighs the same. ROC AUC is that of the last class when there are two, else "
            "the mean of each class against the rest. Log loss is in nats, lower is better. Mean ± standard deviation "
            "over seeds.",
            _table("Other metrics", header, rows),
        ]
    )


def _effects(comparisons: pd.DataFrame, board: pd.DataFrame) -> str:
    factors = comparisons[~comparisons["about"].isin([BASELINE, BEST, DECLARED])]
    declared = comparisons[comparisons["about"] == DECLARED]
    parts = []
    if factors.empty:
        parts.append("No two experiments of this study differ in one factor only, so no effect can be told apart.")
    else:
        found = factors[factors["verdict"] != "unclear"]
        changes = "; ".join(
            f"`{row['about']}` from `{row['first']}` to `{row['second']}` ({_points(row['difference'])})"
            for _, row in found.iterrows()
        )
        parts.append(f"Beyond chance, in points of test accuracy: {changes or 'nothing'}.")
        parts.append(_not_shown(factors[~factors["about"].isin(found["about"])], _seeds(board)))
    if not (factors.empty and declared.empty):
        parts.append(
            "An interval is that of one comparison by itself; the verdict is corrected for all of them together. So an "
            "interval may leave out 0 where the verdict is unclear. And unclear does not mean equal."
        )
    if not factors.empty:
        parts.append(_comparisons("Difference in test accuracy, the rest being equal", factors, about="factor"))
    if not declared.empty:
        parts.append(_comparisons("Comparisons that the study declares", declared))
    return "\n\n".join(parts)


def _not_shown(factors: pd.DataFrame, seeds: int) -> str:
    """Names the factors without an effect, and how large one may still be: what does nothing, what is not known."""
    if factors.empty:
        return "No factor is without an effect."
    limits = factors[["low", "high"]].abs().max(axis=1).groupby(factors["about"], sort=False).max()
    listed = ", ".join(f"`{factor}` ({_percent(limit) or 'any'})" for factor, limit in limits.sort_values().items())
    return (
        f"No effect could be shown with {seeds} seed{'s' if seeds > 1 else ''}; in brackets how many points, up or "
        f"down, the intervals leave possible: {listed}. Where that is little, the factor does nothing here that would "
        "be worth having; where it is much, the study is too small to tell."
    )


def _comparisons(caption: str, comparisons: pd.DataFrame, about: str = "") -> str:
    """A row per comparison; `about` heads the column that says what it is about, where one is wanted."""
    rows = [
        [
            *([f"`{row['about']}`"] if about else []),
            f"`{row['first']}` → `{row['second']}`",
            str(row["pairs"]),
            _points(row["difference"]),
            _interval(row["low"], row["high"], _points),
            _p_value(row["p_value"]),
            _p_value(row["p_adjusted"]),
            row["verdict"],
        ]
        for _, row in comparisons.iterrows()
    ]
    header = [
        *([about] if about else []),
        "change",
        "pairs",
        "points",
        "95 % interval",
        "p",
        "p after Holm",
        "second is",
    ]
    return _table(caption, header, rows, words=range(2 if about else 1))


def _learning_curves(curves: pd.DataFrame, board: pd.DataFrame) -> str:
    if curves.empty:
        return "No run of this study was trained in epochs, so there are no curves."
    rows = []
    for name in board["experiment"][board["experiment"].isin(curves["experiment"])]:
        own = curves[curves["experiment"] == name]
        last = own.loc[own.groupby("seed")["epoch"].idxmax()]
        # A seed whose loss was never a number has no best epoch.
        finite = own[own["val_loss"].notna()]
        best = finite.loc[finite.groupby("seed")["val_loss"].idxmin()]
        rows.append(
            [
                f"`{name}`",
                _number(last["epoch"].mean(), ".3g"),
                _number(best["epoch"].mean(), ".3g"),
                _number(best["val_loss"].mean(), ".3f"),
                _percent(last["accuracy"].mean()),
                _percent(last["val_accuracy"].mean()),
                _points((last["accuracy"] - last["val_accuracy"]).mean()),
            ]
        )
    header = ["experiment", "epochs", "best epoch", "lowest validation loss"]
    header += ["training accuracy at the end %", "validation accuracy at the end %", "gap, points"]
    return "\n\n".join(
        [
            "The best epoch is the one with the lowest validation loss. When it comes long before the last one, early "
            "stopping or more regularization has something to win.",
            _table("Training, mean over seeds", header, rows),
        ]
    )


def _memory(memory: pd.DataFrame, board: pd.DataFrame) -> str:
    if memory.empty:
        return "None of the probed experiments finished a seed."
    farthest = memory["distance"].max()
    distances = sorted(set(memory["distance"]) & {0, 1, 2, 5, 10, 20, 50, 100} | {farthest})
    rows = []
    for name, own in memory.groupby("experiment", sort=False):
        at = own.set_index("distance")
        cells = [
            _with_interval(at.loc[distance, "norm"], at.loc[distance, "low"], at.loc[distance, "high"], _two)
            if distance in at.index
            else ""
            for distance in distances
        ]
        rows.append([f"`{name}`", f"`{own['cell'].iloc[0]}`", f"{own['texts'].max():,}", *cells])
    header = ["experiment", "cell", "texts", *(f"{distance} from the end" for distance in distances)]
    return "\n\n".join(
        [
            "How strongly the loss still depends on a word so many words before the end: the norm of its gradient with "
            "respect to the word's vector, relative to that of the last word. Geometric mean, with its 95 % interval "
            f"{_reach(board)}. Measured on {memory['texts'].max():,} validation texts, the same at every distance: "
            f"only texts of at least {farthest + 1} words count.",
            _faded(memory[memory["distance"] == farthest]) if farthest else "Nothing stands before the last word.",
            "A gradient is local: a small one says that small changes of that word hardly move the trained network's "
            "loss, not that the network could not use the word.",
            _table("Gradient norm by distance from the end", header, rows, words=range(2)),
        ]
    )


def _faded(farthest: pd.DataFrame) -> str:
    """What becomes of the gradient over the whole distance, in a sentence."""
    changes = 1 / farthest[["norm", "high", "low"]]
    each = ", ".join(
        f"{_with_interval(change, low, high, _two_digits)} in `{name}`"
        for name, (change, low, high) in zip(farthest["experiment"], changes.to_numpy(), strict=True)
    )
    return (
        f"From the last word to the one {farthest['distance'].iloc[0]} before it the gradient shrinks by a factor of "
        f"{each}; in brackets the 95 % intervals."
    )


def _errors(slices: pd.DataFrame, board: pd.DataFrame) -> str:
    parts = [
        "All of this is about the validation split, so that nobody tunes on the test split while reading it. Intervals "
        f"are 95 % intervals {_reach(board)}."
    ]
    if slices.empty:
        parts.append("No experiment finished, so no accuracy can be split by kind of text.")
    for by, own in slices.groupby("by", sort=False):
        names = list(dict.fromkeys(own["experiment"]))
        rows = []
        for _, group in own.groupby("order"):
            at = group.set_index("experiment")
            cells = [
                _with_interval(at.loc[name, "accuracy"], at.loc[name, "low"], at.loc[name, "high"], _percent)
                if name in at.index
                else ""
                for name in names
            ]
            rows.append([_escape(group["group"].iloc[0]), f"{group['texts'].max():,}", *cells])
        header = [_escape(by), "texts", *(f"`{name}`" for name in names)]
        parts.append(_table(f"Accuracy % by {_escape(by)}", header, rows))
        if by == EVIDENCE:
            parts.append(_evidence(own, board))
    return "\n\n".join(parts)


def _evidence(slices: pd.DataFrame, board: pd.DataFrame) -> str:
    """What far evidence does to a network, and to a linear model, which shows what else is different there."""
    text = (
        "The evidence is the word that speaks most for a class in the training texts. Far from the end it needs a long "
        "text, and long texts differ in more than that: compare a network with a linear model, which does not know "
        "where a word stands."
    )
    # A group of so few texts that it has no interval says nothing.
    groups = slices.dropna(subset=["low", "high"])
    accuracy = groups.pivot(index="order", columns="experiment", values="accuracy").dropna()
    runs = board[board["experiment"].isin(accuracy.columns)]
    networks, linear = runs[runs["kind"] == "experiment"], runs[runs["model"] == "nb_svm"]
    if len(accuracy) < 2 or networks.empty or linear.empty:
        return text
    change = accuracy.iloc[-1] - accuracy.iloc[0]
    near, far = (_escape(groups.loc[groups["order"] == order, "group"].iloc[0]) for order in accuracy.index[[0, -1]])
    of_networks, of_linear = (
        ", ".join(f"{_points(change[name])} in `{name}`" for name in own["experiment"]) for own in (networks, linear)
    )
    return (
        f"{text} From evidence {near} words before the end to {far}, accuracy changes by so many points: "
        f"{of_networks}; in the linear model {of_linear}."
    )


def _hardest(hardest: pd.DataFrame) -> str:
    if hardest.empty:
        return "No experiment finished, so no text was predicted."
    texts = "\n".join(
        f"- **{_escape(row['label'])}**, {row['wrong']} of {row['of']} wrong ({_escape(row['id'])}): "
        + _escape(" ".join(row["text"].split()))
        for _, row in hardest.iterrows()
    )
    return (
        "What most trained models, over all experiments and seeds, get wrong. In front of each text its class, how "
        f"many models are wrong, and its id.\n\n{texts}"
    )


def _calibration(calibration: pd.DataFrame) -> str:
    if calibration.empty:
        return "No run finished, so nothing can be said about how sure the models are."
    rows = [
        [
            f"`{row['experiment']}`",
            _percent(row["ece"]),
            _number(row["temperature"], ".2f"),
            _percent(row["ece_scaled"]),
            _number(row["log_loss"], ".3f"),
            _number(row["log_loss_scaled"], ".3f"),
        ]
        for _, row in calibration.iterrows()
    ]
    header = [
        "run",
        "calibration error %",
        "temperature",
        "error after scaling %",
        "log loss",
        "log loss after scaling",
    ]
    return "\n\n".join(
        [
            "The expected calibration error (ECE) is the mean distance between how sure a model is and how often it is "
            f"right, in {BINS} equal ranges of sureness. A temperature above 1 means that it is too sure; it is fitted "
            "on the validation split, and never changes which class is predicted. Test split, mean over seeds.",
            _table("Calibration", header, rows),
        ]
    )


def _embeddings(neighbours: pd.DataFrame, analogies: pd.DataFrame, words: pd.DataFrame, board: pd.DataFrame) -> str:
    parts = ["### Nearest neighbours"]
    known = set(neighbours["embedding"]) | set(analogies["embedding"])
    drawn = [f"`{name}`" for name in dict.fromkeys(board["embedding"]) if name and name not in known]
    if not neighbours.empty:
        parts.append(
            "Before training, and after it: in the first experiment that trains its vectors, and in the first that "
            "learns them from scratch, one seed each."
        )
    if drawn:
        starts = "starts" if len(drawn) == 1 else "start"
        parts.append(f"{', '.join(drawn)} {starts} at random: no neighbours and no analogies before training.")
    for name, own in neighbours.groupby("embedding", sort=False):
        rows = [[_escape(row["word"]), _escape(row["nearest"])] for _, row in own.iterrows()]
        vectors, _, when = str(name).partition(" ")
        parts.append(
            _table(f"Nearest words in `{vectors}` {when}".strip(), ["word", "nearest, by cosine"], rows, words=range(2))
        )
    parts.append("### Analogies")
    if analogies.empty:
        parts.append("No analogy could be asked: the vocabulary lacks its words, or every embedding starts at random.")
    for name, own in analogies.groupby("embedding", sort=False):
        asked = own[own["right"].notna()]
        rows = [
            [
                _escape(row["question"]),
                _escape(row["expected"]),
                _escape(row["answers"]),
                "yes" if row["right"] else "no",
            ]
            for _, row in asked.iterrows()
        ]
        caption = f"Analogies in `{name}`: {asked['right'].sum()} of {len(asked)} right"
        parts.append(_table(caption, ["question", "expected", "answers", "right"], rows, words=range(4)))
        if len(asked) < len(own):
            left_out = ", ".join(_escape(question) for question in own.loc[own["right"].isna(), "question"])
            parts.append(f"Not asked, because one of the words has no vector: {left_out}.")
    parts.append("### What training moved")
    if words.empty:
        parts.append("No experiment of this study trained its embedding, so there is no map of what training moved.")
    for name, own in words.groupby("experiment", sort=False):
        rows = [
            [_escape(label), ", ".join(_escape(word) for word in group["word"])]
            for label, group in own.groupby("klass", sort=False)
        ]
        parts.append(
            _table(f"Words on the map of `{name}`", ["class", "words that speak for it"], rows, words=range(2))
        )
    return "\n\n".join(parts)


def _below_its_title(page: str) -> str:
    """A page of its own as part of this one: without its title, its headings one level lower."""
    return re.sub(r"^##", "###", page.partition("\n")[2].strip(), flags=re.MULTILINE)


def _reproduce(study: str) -> str:
    return f"""\
With git, make and Python 3.11, 3.12 or 3.13; `<address>` is that of the repository:

```
git clone <address> textrnn
cd textrnn
make repro     # the environment from the lock file, then every stage
make verify    # everything again from empty caches: same bytes? (textrnn verify)
make ui        # the MLflow dashboard: curves, spreads over seeds, lineage
```

`make repro` runs the study that `params.yaml` declares, here `{study}`. On the same kind of machine it gives the same
bytes again, this page included."""


def _method(comparisons: pd.DataFrame) -> str:
    parts = [
        """\
- **Two sources of chance.** Another seed would give another network, and another sample of texts another accuracy. The
  intervals and tests cover both: each seed meets each text, and the variance has a part for either. Texts of one group,
  such as the reviews of one film, were drawn together and count together. How far seeds spread is learned from all
  experiments of the study. Quantiles are Student's, weighted by the parts (Cochran, Biometrics 1964): what few seeds
  tell makes wide intervals, and of a single seed an interval is over texts only. The seeds' vote has an interval over
  both, too (jackknife over seeds).
- **Many comparisons.** The p-values are corrected (Holm, Scandinavian Journal of Statistics 1979): those of all
  factors, baselines and declared pairs together, those against the first by themselves. Better or worse means: below
  the study's level, `comparisons.level` in `params.yaml`, after the correction. Unclear does not mean equal; it means
  that so many seeds and texts cannot tell.
- **A factor** is compared between experiments that are equal in everything else; where there are several such pairs,
  their differences are averaged.
- **The test split** is what is tested and reported, and it chooses nothing: stopping, ranking and temperatures look at
  the validation split.

More is in `docs/architecture.md`."""
    ]
    for about, caption in (
        (BASELINE, "Every experiment against the baseline"),
        (BEST, "Every experiment against the first"),
    ):
        own = comparisons[comparisons["about"] == about]
        if not own.empty:
            parts.append(_comparisons(caption, own))
    return "\n\n".join(parts)


def _table(caption: str, header: Sequence[str], rows: Sequence[Sequence[str]], words: Collection[int] = (0,)) -> str:
    """A table below its caption; the columns `words` hold words, the others numbers."""
    align = ["left" if column in words else "right" for column in range(len(header))]
    return f"*{caption}*\n\n{tabulate(rows, header, tablefmt='pipe', colalign=align, disable_numparse=True)}"


def _escape(text: object) -> str:
    """A stranger's word, name or text as Markdown that shows just it."""
    return escape(visible(str(text)))


def _number(value: float, digits: str) -> str:
    return "" if pd.isna(value) else f"{value:{digits}}"


def _percent(value: float) -> str:
    return _number(100 * value, ".1f")


def _points(value: float) -> str:
    return _number(100 * value, "+.1f").replace("-", "−")


def _two_digits(value: float) -> str:
    """Two digits, without an exponent for what a reader can grasp: `220`, `3.9`, `0.45`."""
    return f"{float(f'{value:.2g}'):,g}"


def _two(value: float) -> str:
    return _number(value, ".2g")


def _p_value(value: float) -> str:
    return "< 0.001" if value < 0.001 else _number(value, ".3f")


def _with_interval(value: float, low: float, high: float, number: Callable[[float], str]) -> str:
    return number(value) + ("" if pd.isna(low) else f" ({_interval(low, high, number)})")


def _interval(low: float, high: float, number: Callable[[float], str] = _percent) -> str:
    return "" if pd.isna(low) else f"{number(low)} to {number(high)}"
