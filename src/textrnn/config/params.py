"""`params.yaml`: the active study, validated before anything runs.

An experiment is the `train` section with what the experiment changes laid over it. What a study does not name has
the default that its model states.

Models hold settings and rules, and compute nothing: the plan of a stage covers its settings, not this code.
"""

from __future__ import annotations

from itertools import combinations
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import Field, model_validator

from textrnn.config.catalog import Catalog
from textrnn.config.ensemble import Ensemble, member
from textrnn.config.experiment import Experiment
from textrnn.config.pretraining import SHARED, Pretraining
from textrnn.config.search import Search
from textrnn.config.sections import (
    BaselineParams,
    Comparisons,
    DataCheck,
    EmbeddingParams,
    Encode,
    ExplanationParams,
    Prepare,
    Promotion,
    Published,
    Resources,
    Serving,
)
from textrnn.config.validation import Name, Seed, Strict, validate
from textrnn.config.yaml_file import read_yaml
from textrnn.errors import TextrnnError, shown


class Params(Strict):
    """The whole study. dvc.yaml itself reads its name, and the names under the sections that it runs stages for.

    `study` names the folder of the report and the experiment in MLflow, `corpus` an entry of the catalog. Every
    experiment is trained once with each of `seeds`. `train` has settings for the experiments that do not set their own.

    `train` and each of `experiments` are complete, defaults merged in. Experiments with a teacher are among them; in
    params.yaml they are in the section `students`, where DVC reads on which run they depend. `probes`, which may be
    empty, names experiments in whose networks the gradient is followed back through the text. `explanations` names
    runs whose predictions are explained word by word. `resources` says by name what a run, a search or a language model
    needs of a cluster; they change no result.
    """

    study: Name
    corpus: Name
    seeds: Annotated[list[Seed], Field(min_length=1)] = [0, 1, 2]
    prepare: Prepare = Prepare()
    encode: Encode = Encode()
    embeddings: dict[Name, EmbeddingParams]
    pretraining: dict[Name, Pretraining] = {}
    baselines: dict[Name, BaselineParams] = {}
    comparisons: Comparisons = Comparisons()
    probes: list[Name]
    explanations: dict[Name, ExplanationParams] = {}
    promotion: Promotion = Promotion()
    serving: Serving = Serving()
    data_check: DataCheck = DataCheck()
    published: list[Published] = []
    train: dict[str, Any] = {}
    experiments: Annotated[dict[Name, Experiment], Field(min_length=1)]
    searches: dict[Name, Search] = {}
    ensembles: dict[Name, Ensemble] = {}
    resources: dict[Name, Resources] = {}

    @model_validator(mode="after")
    def _names_lead_somewhere(self) -> Self:
        if len(set(self.seeds)) < len(self.seeds):
            raise ValueError(f"seeds: {self.seeds} holds a seed twice, and seeds are unique: delete one")
        kinds: dict[str, dict[str, Any]] = {
            "a baseline": self.baselines,
            "an experiment": self.experiments,
            "a search": self.searches,
            "an ensemble": self.ensembles,
        }
        for (kind, these), (other, those) in combinations(kinds.items(), 2):
            for name in sorted(these.keys() & those.keys()):
                raise ValueError(f"{name!r} names {kind} and {other}, and both would write runs/{name}: rename one")
        self._check_pretraining()
        for name, experiment in self.experiments.items():
            self._check_start(f"experiments.{name}", experiment)
            self._check_unlabelled(f"experiments.{name}", experiment.unlabelled_batch)
        for name, search in self.searches.items():
            self._check_search(name, search)
        runs = {*self.experiments, *self.baselines, *self.searches, *self.ensembles}
        named: dict[str, list[str]] = {"comparisons.against": self.comparisons.against, "probes": self.probes}
        named["explanations"] = [*self.explanations]
        named["resources"] = [*self.resources]
        named["published"] = [figure.experiment for figure in self.published]
        named["comparisons.pairs"] = [name for pair in self.comparisons.pairs for name in pair]
        named |= {f"ensembles.{name}.of": ensemble.of for name, ensemble in self.ensembles.items()}
        named |= {f"students.{name}.teacher": self.made_of(name) for name in self.experiments}
        for key, names in named.items():
            known = {"probes": {*self.experiments}, "resources": {*runs, *self.pretraining}}.get(key, runs)
            for name in names:
                if name not in known:
                    raise ValueError(f"{key}: no run {name!r}. Known: {', '.join(sorted(known))}")
        for figure in self.published:
            if figure.measure != "test" and figure.experiment in self.baselines:
                raise ValueError(
                    f"published: {figure.experiment} is a baseline, which has no epochs, and measure is "
                    f"{figure.measure}: set measure to test"
                )
        for name in (*self.ensembles, *self.experiments):
            self._check_circle(name, [])
        for name in self.experiments:
            self._check_teacher(name)
        for key, names in {"explanations": [*self.explanations], "probes": self.probes}.items():
            for name in names:
                if part := self.with_refit(name):
                    raise ValueError(
                        f"{key}: {part} has refit, so {name} knows the validation texts, which are what is read: name "
                        "another run, or switch refit off"
                    )
        for name in self.explanations:
            if name in self.baselines and self.baselines[name].kind == "majority":
                raise ValueError(f"explanations: {name} is the majority class, which reads no word: delete it")
        for name in self.probes:
            if self.experiments[name].padding == "left":
                raise ValueError(
                    f"probes: {name} has padding left, and would be probed on padding: name one with padding right"
                )
        return self

    def _check_pretraining(self) -> None:
        for name, model in self.pretraining.items():
            if name in self.embeddings:
                raise ValueError(
                    f"{name!r} names an embedding and a language model, and both would write data/embeddings/{name}: "
                    "rename one"
                )
            if model.embedding not in self.embeddings:
                known = ", ".join(sorted(self.embeddings))
                raise ValueError(f"pretraining.{name}.embedding: no embedding {model.embedding!r}. Known: {known}")

    def _check_start(self, where: str, experiment: Experiment) -> None:
        """Whether `experiment`, which messages call `where`, starts from something that is there and fits."""
        if experiment.embedding not in self.starts:
            known = ", ".join(sorted(self.starts))
            raise ValueError(f"{where}.embedding: no embedding {experiment.embedding!r}. Known: {known}")
        if not experiment.pretrained_layers:
            return
        if experiment.embedding not in self.pretraining:
            known = ", ".join(sorted(self.pretraining)) or "none: add one to the section pretraining"
            raise ValueError(
                f"{where}.pretrained_layers: the embedding {experiment.embedding!r} is no language model and has no "
                f"layers. Language models: {known}"
            )
        try:
            self.pretraining[experiment.embedding].check_start_of(experiment)
        except ValueError as error:
            raise ValueError(f"{where}: {error}") from None

    def _check_search(self, name: str, search: Search) -> None:
        where = f"searches.{name}"
        if search.start not in self.experiments:
            known = ", ".join(sorted(self.experiments))
            raise ValueError(f"{where}.start: no experiment {search.start!r}. Known: {known}")
        if self.experiments[search.start].teacher:
            raise ValueError(
                f"{where}.start: {search.start} has a teacher, which no search asks: start from another one"
            )
        if self.experiments[search.start].refit and "train_examples" in search.space:
            raise ValueError(
                f"{where}.space.train_examples: {search.start} has refit, which trains on all texts in the end: leave "
                "train_examples out of the space, or switch refit off"
            )
        search.check(where, self.experiments[search.start])
        start = self.experiments[search.start]
        embeddings = search.space["embedding"].choices if "embedding" in search.space else []
        for each in embeddings:
            self._check_start(f"{where}.space", start.model_copy(update={"embedding": each}))
        if start.pretrained_layers or "pretrained_layers" in search.space:
            self._check_start(f"{where}.space", start.model_copy(update={"pretrained_layers": True}))
            for key in [key for key in ("embedding", *SHARED) if key in search.space]:
                raise ValueError(
                    f"{where}.space.{key}: pretrained_layers takes the layers of one language model, which have one "
                    f"{key}: leave {key} out of the space, or switch pretrained_layers off"
                )
        if knob := search.space.get("unlabelled_batch"):
            self._check_unlabelled(f"{where}.space", max(knob.choices or knob.bounds))
        if shared := sorted({*search.seeds_in(search.rungs - 1)} & {*self.seeds}):
            raise ValueError(
                f"{where}.seed: seeds {shared} are the study's, and its winner is to be trained with fresh ones: "
                "choose another seed"
            )

    def _check_unlabelled(self, where: str, batch: float) -> None:
        if batch and not self.prepare.unlabelled:
            raise ValueError(
                f"{where}.unlabelled_batch: {batch} unlabelled texts for each step, and prepare.unlabelled leaves them "
                "out: set prepare.unlabelled to true, or unlabelled_batch to 0"
            )

    def _check_teacher(self, student: str) -> None:
        """Whether the validation split is new to whatever `student` learns from."""
        for teacher in self.made_of(student):
            if part := self.with_refit(teacher):
                raise ValueError(
                    f"students.{student}.teacher: {part} has refit, so {teacher} knows the validation texts, and "
                    f"{student} is validated on them: let a run without refit teach"
                )

    def _check_circle(self, run: str, path: list[str]) -> None:
        if run in path:
            circle = " -> ".join([*path[path.index(run) :], run])
            raise ValueError(
                f"{circle}: a run cannot be made of itself, and teaches nobody that it is made of: break it"
            )
        for part in self.made_of(run):
            self._check_circle(part, [*path, run])

    @property
    def runs(self) -> list[str]:
        """The names of all experiments, with the winners that are known, baselines and ensembles."""
        return [*self.experiments, *self.baselines, *self.ensembles]

    def made_of(self, run: str) -> list[str]:
        """Returns the runs from which a run is made: an ensemble's members, a student's teacher; mostly none."""
        if run in self.ensembles:
            return self.ensembles[run].of
        experiment = self.experiments.get(run)
        return [experiment.teacher] if experiment and experiment.teacher else []

    @property
    def teachers(self) -> list[str]:
        """The runs from which students learn."""
        return sorted({each.teacher for each in self.experiments.values() if each.teacher})

    def with_refit(self, run: str) -> str | None:
        """Returns `run`, or one that it is made of, with `refit`; None if it never learns from validation texts."""
        trained = self.searches[run].start if run in self.searches else run
        if trained in self.experiments and self.experiments[trained].refit:
            return run
        return next(filter(None, map(self.with_refit, self.made_of(run))), None)

    def level(self, run: str) -> int:
        """Returns 0 for a run that is made of no other, else one more than the highest level of those it is made of."""
        return 1 + max((self.level(each) for each in self.made_of(run)), default=-1)

    @property
    def by_level(self) -> list[str]:
        """All runs, winners that are not known yet among them; what a run is made of comes before it."""
        return sorted(dict.fromkeys([*self.runs, *self.searches]), key=self.level)

    @property
    def starts(self) -> list[str]:
        """What an experiment can start from: the embeddings, then the language models."""
        return [*self.embeddings, *self.pretraining]

    def is_drawn(self, start: str) -> bool:
        """Returns whether the vectors of one of `starts` are drawn at random."""
        return start in self.embeddings and self.embeddings[start].source == "random"

    def stage(self, run: str) -> str:
        """Returns the name of the stage that makes a run."""
        if run in self.searches:
            return f"winner@{run}"
        if run in self.ensembles:
            return f"ensemble@{run}"
        if run in self.baselines:
            return f"baseline@{run}"
        return f"student@{run}" if self.made_of(run) else f"train@{run}"

    def stages(self, run: str) -> list[str]:
        """Returns the names of a run's stages, in order: of an ensemble's members, its own, and of its teaching."""
        members = [f"member@{member(run, part)}" for part in self.made_of(run)] if run in self.ensembles else []
        return [*members, self.stage(run), *([f"teach@{run}"] if run in self.teachers else [])]

    def check_against(self, catalog: Catalog) -> None:
        """Raises `TextrnnError` for a corpus or source the catalog lacks, or a setting that does not fit it."""
        catalog.corpus(self.corpus)
        for name, embedding in self.embeddings.items():
            where = f"params.yaml: embeddings.{name}"
            source = catalog.vector_source(embedding.source)
            if source.dimension is None and embedding.dimension is None:
                raise TextrnnError(f"{where}.dimension: {embedding.source!r} is made here, so say its dimension.")
            if source.dimension is not None and embedding.dimension not in (None, source.dimension):
                raise TextrnnError(
                    f"{where}.dimension: the catalog's {embedding.source!r} has {source.dimension} dimensions. "
                    f"Received: {embedding.dimension}. Delete the key."
                )
            for key in ("epochs", "window"):
                given = getattr(embedding, key) is not None
                if given != (source.format == "word2vec-training"):
                    raise TextrnnError(
                        f"{where}.{key}: belongs to embeddings trained here (word2vec), and they need it: "
                        + ("delete the key." if given else "add it.")
                    )
            if "file_words" in embedding.model_fields_set and source.source == "none":
                raise TextrnnError(
                    f"{where}.file_words: belongs to published vectors, and {embedding.source!r} is made here. "
                    "Delete the key."
                )


def load_params(path: Path = Path("params.yaml"), catalog: Catalog | None = None) -> Params:
    """Returns the validated study at `path`, also checked against `catalog` where that is given.

    Raises:
        TextrnnError: names each key that breaks a rule, the rule, and what was received.
    """
    content = read_yaml(path)
    train, experiments, students = content.get("train", {}), content.get("experiments"), content.pop("students", {})
    if isinstance(train, dict) and isinstance(experiments, dict):
        # Validated first, so that a mistake in `train` is reported once, and not for every experiment.
        complete = validate(Experiment, {"embedding": "of-each-experiment", **train}, f"{path.name}: train")
        merged = _merged(train, experiments)
        defaults = complete.model_dump(exclude={"embedding"} - train.keys())
        content = {**content, "train": defaults, "experiments": merged | _students(path.name, train, merged, students)}
    params = validate(Params, content, path.name)
    if catalog is not None:
        params.check_against(catalog)
    return params


def _merged(train: dict[str, Any], experiments: dict[str, Any]) -> dict[str, Any]:
    """Returns `experiments` with `train` below their own settings."""
    return {
        name: {**train, **(changes or {})} if isinstance(changes, dict | None) else changes
        for name, changes in experiments.items()
    }


def _students(file: str, train: dict[str, Any], experiments: dict[str, Any], students: Any) -> dict[str, Any]:
    """Returns the `students` of a study, complete.

    Raises `TextrnnError`: one is not valid, has no teacher or a name that is taken; or one of `experiments` has one.
    """
    taught = [name for name, settings in experiments.items() if isinstance(settings, dict) and settings.get("teacher")]
    if taught:
        raise TextrnnError(
            f"{file}: experiments.{taught[0]}.teacher: DVC reads in the section `students` on which run an experiment "
            f"depends. Move {taught[0]} there."
        )
    if not isinstance(students, dict):
        received = shown(students)
        raise TextrnnError(f"{file}: students: names of experiments with a teacher are wanted. Received: {received}")
    merged = _merged(train, students)
    for name, settings in merged.items():
        if name in experiments:
            raise TextrnnError(f"{file}: {name!r} names an experiment and a student: rename one.")
        if not validate(Experiment, settings, f"{file}: students.{name}").teacher:
            raise TextrnnError(f"{file}: students.{name}.teacher: name a run, or move {name} to `experiments`.")
    return merged
