"""The command `textrnn`."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial
from importlib import import_module
from pathlib import Path
from threading import Thread
from typing import TYPE_CHECKING, Annotated, Literal

import typer
from rich.console import Console

from textrnn import process
from textrnn.errors import TextrnnError
from textrnn.stage import check_writable, readable_errors
from textrnn.wording import interval, percent

if TYPE_CHECKING:
    from textrnn.config.params import Params

KEPT = 3
"""The exit status of `promote` when the champion stays."""

Engine = Literal["local", "ray"]
Jobs = Annotated[int, typer.Option(min=1, help="Trainings at the same time; each uses one core.")]

commands = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Reproducible experiments with recurrent text classifiers. Run it in the project's top folder.",
)
runs = typer.Typer(no_args_is_help=True, help="The MLflow runs of the study.")
commands.add_typer(runs, name="runs")
data = typer.Typer(no_args_is_help=True, help="The corpus of the active study.")
commands.add_typer(data, name="data")


@contextmanager
def active_study() -> Iterator[Params]:
    """Yields the study's params; errors of MLflow inside are readable ones."""
    # Deferred, as in every command: slow imports.
    from textrnn.search.winner import load_study
    from textrnn.tracking.failures import readable_mlflow_errors

    params = load_study()
    with readable_mlflow_errors():
        yield params


def say(text: object, stderr: bool = False) -> None:
    """Prints `text` as it is, its lines not wrapped."""
    Console(stderr=stderr, highlight=False).print(str(text), markup=False, soft_wrap=True)


@contextmanager
def resumable() -> Iterator[None]:
    """Ends the command after a signal with a sentence."""
    from textrnn.orchestration.supervisor import Stopped

    try:
        yield
    except Stopped as stop:
        say("interrupted: what was finished is kept, and the same command goes on from there", stderr=True)
        raise typer.Exit(stop.status) from None


@commands.command()
def repro(
    jobs: Jobs = 1,
    study: Annotated[str | None, typer.Option(help="Make this study of studies/ the active one first.")] = None,
    engine: Annotated[Engine, typer.Option(help="Where trainings run: in this folder, or on a Ray cluster.")] = "local",
    address: Annotated[str | None, typer.Option(help="The Ray cluster's; by default RAY_ADDRESS, or one here.")] = None,
) -> None:
    """Bring the active study up to date and show its leaderboard."""
    if address is not None and engine != "ray":
        raise TextrnnError(f"--address {address} is that of a Ray cluster: add --engine ray.")
    if study is not None:
        from textrnn.config.studies import activate

        activate(study, Path())
    # Deferred: slow imports. The leaderboard's take as long as DVC takes to look for changes.
    from textrnn.orchestration import repro as orchestration
    from textrnn.orchestration.cluster import Cluster
    from textrnn.orchestration.folder import UNSYNCED
    from textrnn.orchestration.verify import against_commit

    # A Ctrl-C while two threads import may leave Python's import lock taken: nobody waits for this thread.
    Thread(target=_import_early, args=["textrnn.report.summary"], daemon=True).start()
    console = Console(highlight=False)
    with resumable():
        work = orchestration.repro(jobs, console, connect=partial(Cluster, address) if engine == "ray" else None)
    from textrnn.report.summary import show
    from textrnn.search.winner import load_study

    params = load_study()
    show(Path("reports") / params.study, console)
    if UNSYNCED.exists():
        _try_sync(console)
    if work.was_due and (comparison := against_commit(Path())) is not None:
        say(comparison)
    failed = orchestration.diverged(params, Path("runs"))
    if failed:
        raise TextrnnError(
            "the study is complete, but trainings failed:\n"
            + "\n".join(f"  {name}: {reason}" for name, reason in failed.items())
            + "\nLower learning_rate, or set gradient_clip, for the experiments among them."
        )


@commands.command()
def search(
    name: Annotated[str, typer.Argument(help="A search of the study: `searches` in params.yaml.")], jobs: Jobs = 1
) -> None:
    """Run one search and what it needs, and show the best settings that it found."""
    from textrnn.orchestration import repro as orchestration

    console = Console(highlight=False)
    with resumable():
        orchestration.search(name, jobs, console)
    from textrnn.report.searches import show
    from textrnn.search.winner import RUNS, search_folder

    show(search_folder(Path(RUNS), name), console)


@commands.command()
def retrain(
    base: Annotated[str, typer.Option(help="The git revision to compare with.")] = "origin/main",
    jobs: Jobs = 1,
    report: Annotated[Path | None, typer.Option(help="Write the report, Markdown, to this file.")] = None,
    overrides: Annotated[
        list[str] | None, typer.Option("--set", help="key=value for params.yaml, as in --set train.units=64.")
    ] = None,
    publish: Annotated[bool, typer.Option(help="Push data, commit results, push the branch to origin.")] = True,
) -> None:
    """Bring this branch's results up to date, compare them with another revision's, and publish them."""
    from textrnn.orchestration.retrain import retrain as act

    check_writable(report)
    console = Console(stderr=True, highlight=False)
    with resumable():
        done = act(base, jobs, overrides or [], publish, console, lambda: _try_sync(console), report)
    if report is None:
        Console().file.write(done.report)
    else:
        report.write_text(done.report, encoding="utf-8", newline="\n")
    if done.problems:
        raise TextrnnError("\n".join(done.problems))


@commands.command()
def verify(
    jobs: Jobs = 1,
    tolerance: Annotated[float, typer.Option(min=0, help="Largest difference of a metric.")] = 0.02,
) -> None:
    """Repeat the whole study from empty caches, and compare it with dvc.lock stage by stage."""
    from textrnn.orchestration.verify import verify as check

    if not check(Path.cwd(), jobs, tolerance, Console(highlight=False)):
        raise typer.Exit(1)


@commands.command()
def sync() -> None:
    """Make MLflow agree with the runs in files: create, restore or remove its records."""
    _sync(Console(highlight=False))


@commands.command()
def compare(
    first: Annotated[str, typer.Argument(help="An experiment, baseline or ensemble in runs/.")],
    second: Annotated[str | None, typer.Argument(help="Another one; with --rev, the same if left out.")] = None,
    rev: Annotated[
        str | None, typer.Option(help="Take SECOND from this git revision: a branch, tag or commit.")
    ] = None,
) -> None:
    """Test on the test split whether one run is better than another, or than at another git revision."""
    from textrnn.analysis.pairwise import compare as act
    from textrnn.report import compared

    say(compared.text(act(Path(), first, second, rev)))


@runs.command("show")
def show_runs(
    experiment: Annotated[str, typer.Argument(help="An experiment, baseline or ensemble of the study.")],
) -> None:
    """List an experiment's MLflow runs, newest first, and where each comes from."""
    from textrnn.tracking.lineage import lineage

    console = Console(highlight=False)
    with active_study() as params:
        console.print(lineage(Path.cwd(), params, experiment, console.width))


@data.command("check")
def check_data(
    markdown: Annotated[Path | None, typer.Option(help="Write it to this file, too, for a pull request.")] = None,
) -> None:
    """Compare the corpus with the one that the champion was trained on; fail on what `data_check` forbids."""
    from textrnn.tracking.data_check import check

    check_writable(markdown)
    with active_study() as params:
        found = check(Path.cwd(), params)
    if markdown is not None:
        markdown.write_text(found.to_markdown(), encoding="utf-8", newline="\n")
    say(found)
    if found.forbidden:
        raise TextrnnError(
            "the study forbids this change of the corpus. Fix the corpus; or, if it is meant to change as far, raise "
            f"{', '.join(f'data_check.{each.key}' for each in found.forbidden)} in params.yaml."
        )


@commands.command()
def register(
    run: Annotated[str | None, typer.Argument(help="An experiment or ensemble; without it, the best.")] = None,
) -> None:
    """Register the best experiment or ensemble, by validation accuracy, as challenger of its corpus' champion."""
    from textrnn.tracking.registry import register as act

    with active_study() as params:
        done = act(Path.cwd(), params, run)
    what, tags = "registered as" if done.is_new else "is already", done.version.tags
    low, high = map(float, tags["test_accuracy_interval"].split(" to "))
    say(
        f"{tags['experiment']}, seed {tags['seed']}, {what} version {done.version.version} of {done.version.name}: "
        f"{percent(float(tags['valid_accuracy']))} % on validation, {percent(float(tags['test_accuracy']))} % on test "
        f"(95 % interval over texts {interval(low, high)}). Alias: challenger."
    )


@commands.command()
def promote(
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Decide and explain, and change nothing.")] = False,
) -> None:
    """Let the challenger become champion, if the evidence allows it; exit status 3 when the champion stays."""
    from textrnn.tracking.registry import promote as act

    with active_study() as params:
        decision = act(Path.cwd(), params, dry_run)
    would = "would be " if dry_run and decision.outcome == "promoted" else ""
    say(f"{would}{decision.outcome}: {decision.reason}")
    if decision.outcome == "kept":
        raise typer.Exit(KEPT)


@commands.command()
def ui(port: Annotated[int, typer.Option(min=1, max=65535, help="Port on this machine.")] = 5000) -> None:
    """Serve MLflow's dashboard, say the link to the active study, and open it where there is a browser."""
    from textrnn.tracking.ui import show

    with active_study() as params:
        status = show(Path.cwd(), params, port, say)
    raise typer.Exit(status)


@commands.command()
def serve(port: Annotated[int, typer.Option(min=1, max=65535, help="Port on this machine.")] = 5001) -> None:
    """Serve the champion over HTTP, as MLflow does, within the limits of `serving` in params.yaml."""
    from textrnn.tracking.serving import serve as act

    with active_study() as params:
        act(Path.cwd(), params, port)


@commands.command()
def predict(
    texts: Annotated[list[str] | None, typer.Argument(help="Texts to score; or name a file with --input.")] = None,
    source: Annotated[Path | None, typer.Option("--input", help="A file with a column `text`; - reads stdin.")] = None,
    target: Annotated[Path, typer.Option("--output", help="Where to write; - is standard output.")] = Path("-"),
    kind: Annotated[str | None, typer.Option("--format", help="csv, jsonl or parquet, if no suffix says it.")] = None,
    run: Annotated[str | None, typer.Option(help="A run in runs/; without it, the champion.")] = None,
    seed: Annotated[int | None, typer.Option(help="Which of the run's seeds; without it, the first.")] = None,
) -> None:
    """Score texts: each row gets its label and the probability of each class."""
    from textrnn.prediction import predict as act

    act(texts or [], source, target, kind, run, seed)


@commands.command()
def explain(
    texts: Annotated[list[str] | None, typer.Argument(help="Texts to explain; or name a file with --input.")] = None,
    source: Annotated[Path | None, typer.Option("--input", help="A file with a column `text`; - reads stdin.")] = None,
    target: Annotated[Path, typer.Option("--output", help="Where to write; - is standard output.")] = Path("-"),
    kind: Annotated[str | None, typer.Option("--format", help="text, html or jsonl, if no suffix says it.")] = None,
    given: Annotated[
        str | None, typer.Option("--input-format", help="csv, jsonl or parquet, if no suffix says it.")
    ] = None,
    run: Annotated[str | None, typer.Option(help="A run in runs/; without it, the champion.")] = None,
    seed: Annotated[int | None, typer.Option(help="Which of the run's seeds; without it, the first.")] = None,
) -> None:
    """Say why: how much each word of a text speaks for the class that is predicted."""
    from textrnn.explaining import explain as act

    act(texts or [], source, target, kind, given, run, seed)


def _import_early(module: str) -> None:
    """Imports what is needed later; if that fails, as when the process is just ending, it fails again then."""
    with suppress(Exception):
        import_module(module)


def _sync(console: Console) -> None:
    from textrnn.tracking.complete import Completion
    from textrnn.tracking.sync import sync as act

    with active_study() as params, console.status("MLflow: reading") as status, Completion(Path.cwd()) as complete:
        done = act(Path.cwd(), params, complete, lambda name: status.update(f"MLflow: {name}"))
    console.print(f"MLflow: {done}", soft_wrap=True)
    console.print(f"`make ui` shows the study in MLflow: {done.link}", markup=False, soft_wrap=True)


def _try_sync(console: Console) -> None:
    """Syncs what a call of ours changed; a store that cannot be reached is a warning, and the next call tries again."""
    from textrnn.orchestration.folder import UNSYNCED

    try:
        _sync(console)
        UNSYNCED.unlink(missing_ok=True)  # not where another process syncs while results change
    except TextrnnError as error:
        say(f"warning: {error} Then run `textrnn sync`.", stderr=True)


def app() -> None:
    """Runs the command line; a user's mistake is one message on standard error, and exit status 1."""
    process.begin()
    with readable_errors():
        for argument in sys.argv[1:]:
            if not argument.isprintable() and any("\ud800" <= each <= "\udfff" for each in argument):
                raise TextrnnError(
                    f"the argument {argument!r} is not in this terminal's encoding, {sys.getfilesystemencoding()}. "
                    "Give text in that encoding, or in a file in UTF-8: `textrnn predict --input FILE`."
                )
        commands()
