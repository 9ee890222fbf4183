"""The command `textrnn`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from textrnn import process
from textrnn.errors import TextrnnError
from textrnn.stage import check_writable, readable_errors

KEPT = 3
"""The exit status of `promote` when the champion stays."""

commands = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Reproducible experiments with recurrent text classifiers. Run it in the project's top folder.",
)


@commands.command()
def repro(
    jobs: Annotated[int, typer.Option(min=1, help="Trainings at the same time; each uses one core.")] = 1,
    study: Annotated[str | None, typer.Option(help="Make this study of studies/ the active one first.")] = None,
) -> None:
    """Bring the active study up to date and show its leaderboard."""
    if study is not None:
        from textrnn.config.studies import activate

        activate(study, Path())
    # Deferred: slow imports.
    from textrnn.config.params import load_params
    from textrnn.orchestration import repro as orchestration
    from textrnn.orchestration.supervisor import Stopped
    from textrnn.orchestration.verify import against_commit
    from textrnn.report.summary import show

    console = Console(highlight=False)
    try:
        work = orchestration.repro(jobs, console)
    except Stopped as stop:
        Console(stderr=True).print("interrupted: what was finished is kept, and the same command goes on from there")
        raise typer.Exit(stop.status) from None
    params = load_params()
    show(Path("reports") / params.study, console)
    if work.was_due:
        _sync(console)
        if (comparison := against_commit(Path())) is not None:
            console.print(comparison, markup=False, soft_wrap=True)
    failed = orchestration.diverged(params, Path("runs"))
    if failed:
        raise TextrnnError(
            "the study is complete, but trainings failed:\n"
            + "\n".join(f"  {name}: {reason}" for name, reason in failed.items())
            + "\nLower learning_rate, or set gradient_clip, for these experiments."
        )


@commands.command()
def retrain(
    base: Annotated[str, typer.Option(help="The git revision to compare with.")] = "origin/main",
    jobs: Annotated[int, typer.Option(min=1, help="Trainings at the same time; each uses one core.")] = 1,
    report: Annotated[Path | None, typer.Option(help="Write the report, Markdown, to this file.")] = None,
    overrides: Annotated[
        list[str] | None, typer.Option("--set", help="key=value for params.yaml, as in --set train.units=64.")
    ] = None,
    publish: Annotated[bool, typer.Option(help="Push data, commit results, push the branch to origin.")] = True,
) -> None:
    """Bring this branch's results up to date, compare them with another revision's, and publish them."""
    from textrnn.orchestration.retrain import retrain as act
    from textrnn.orchestration.supervisor import Stopped

    check_writable(report)
    console, shown = Console(stderr=True, highlight=False), Console(highlight=False)
    try:
        done = act(base, jobs, overrides or [], publish, console, lambda: _sync(console), report)
    except Stopped as stop:
        console.print("interrupted: what was finished is kept, and the same command goes on from there")
        raise typer.Exit(stop.status) from None
    if report is None:
        shown.file.write(done.report)
    else:
        report.write_text(done.report, encoding="utf-8", newline="\n")
    if done.problems:
        raise TextrnnError("\n".join(done.problems))


@commands.command()
def verify(
    jobs: Annotated[int, typer.Option(min=1, help="Trainings at the same time; each uses one core.")] = 1,
    tolerance: Annotated[float, typer.Option(min=0, help="Largest difference of a metric.")] = 0.02,
) -> None:
    """Repeat the whole study from empty caches, and compare it with dvc.lock stage by stage."""
    from textrnn.orchestration.verify import verify as check

    if not check(Path.cwd(), jobs, tolerance, Console(highlight=False)):
        raise typer.Exit(1)


@commands.command()
def sync() -> None:
    """Make MLflow agree with the runs in files: complete what is there, create what is not."""
    _sync(Console(highlight=False), is_needed=True)


@commands.command()
def compare(
    first: Annotated[str, typer.Argument(help="An experiment or baseline in runs/.")],
    second: Annotated[str | None, typer.Argument(help="Another one; with --rev, the same if left out.")] = None,
    rev: Annotated[
        str | None, typer.Option(help="Take SECOND from this git revision: a branch, tag or commit.")
    ] = None,
) -> None:
    """Test on the test split whether one run is better than another, or than at another git revision."""
    from textrnn.analysis.pairwise import compare as act
    from textrnn.report import compared

    Console(highlight=False).print(compared.text(act(Path(), first, second, rev)), markup=False, soft_wrap=True)


runs = typer.Typer(no_args_is_help=True, help="What MLflow knows of the runs in files.")
commands.add_typer(runs, name="runs")


@runs.command("show")
def show_runs(experiment: Annotated[str, typer.Argument(help="An experiment or baseline of the study.")]) -> None:
    """List an experiment's MLflow runs, newest first, and how each came to be."""
    from textrnn.config.params import load_params
    from textrnn.tracking.failures import readable_mlflow_errors
    from textrnn.tracking.lineage import lineage

    params = load_params()
    with readable_mlflow_errors():
        table = lineage(Path.cwd(), params, experiment)
    Console(highlight=False).print(table)


data = typer.Typer(no_args_is_help=True, help="The corpus of the active study.")
commands.add_typer(data, name="data")


@data.command("check")
def check_data(
    markdown: Annotated[Path | None, typer.Option(help="Write it to this file, too, for a pull request.")] = None,
) -> None:
    """Compare the corpus with the one that the champion was trained on; fail on what `data_check` forbids."""
    from textrnn.config.params import load_params
    from textrnn.tracking.data_check import check as act
    from textrnn.tracking.failures import readable_mlflow_errors

    check_writable(markdown)
    params = load_params()
    with readable_mlflow_errors():
        found = act(Path.cwd(), params)
    if markdown is not None:
        markdown.write_text(found.to_markdown(), encoding="utf-8", newline="\n")
    Console(highlight=False).print(str(found), markup=False, soft_wrap=True)
    if found.forbidden:
        raise TextrnnError(
            "the study forbids this change of the corpus. Mend the corpus; or, if it is meant to change as far, raise "
            f"{', '.join(f'data_check.{each.key}' for each in found.forbidden)} in params.yaml."
        )


@commands.command()
def register() -> None:
    """Register the best experiment, by validation accuracy, as challenger of its corpus' champion."""
    from textrnn.config.params import load_params
    from textrnn.tracking.failures import readable_mlflow_errors
    from textrnn.tracking.registry import register as act

    params = load_params()
    with readable_mlflow_errors():
        done = act(Path.cwd(), params)
    what = "registered as" if done.is_new else "is already"
    tags = done.version.tags
    Console(highlight=False).print(
        f"{tags['experiment']}, seed {tags['seed']}, {what} version {done.version.version} of {done.version.name}: "
        f"{float(tags['valid_accuracy']):.1%} on validation, {float(tags['test_accuracy']):.1%} on test "
        f"(95 % interval {tags['test_accuracy_interval']}). Alias: challenger.",
        soft_wrap=True,
    )


@commands.command()
def promote(
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Decide and explain, and change nothing.")] = False,
) -> None:
    """Let the challenger become champion, if the evidence allows it; exit status 3 when the champion stays."""
    from textrnn.config.params import load_params
    from textrnn.tracking.failures import readable_mlflow_errors
    from textrnn.tracking.registry import promote as act

    params = load_params()
    with readable_mlflow_errors():
        decision = act(Path.cwd(), params, dry_run)
    would = "would be " if dry_run and decision.outcome == "promoted" else ""
    Console(highlight=False).print(f"{would}{decision.outcome}: {decision.reason}", soft_wrap=True)
    if decision.outcome == "kept":
        raise typer.Exit(KEPT)


@commands.command()
def serve(
    port: Annotated[int, typer.Option(min=1, max=65535, help="Port on this machine.")] = 5001,
) -> None:
    """Serve the champion over HTTP, with MLflow's own server."""
    from textrnn.config.params import load_params
    from textrnn.tracking.failures import readable_mlflow_errors
    from textrnn.tracking.registry import serve as act

    params = load_params()
    with readable_mlflow_errors():
        act(Path.cwd(), params, port)


@commands.command()
def predict(
    texts: Annotated[list[str] | None, typer.Argument(help="Texts to score; or name a file with --input.")] = None,
    source: Annotated[Path | None, typer.Option("--input", help="A file with a column `text`; - reads stdin.")] = None,
    target: Annotated[Path, typer.Option("--output", help="Where to write; - is standard output.")] = Path("-"),
    kind: Annotated[str | None, typer.Option("--format", help="csv, jsonl or parquet, if no suffix tells.")] = None,
    run: Annotated[str | None, typer.Option(help="An experiment in runs/; without it, the champion.")] = None,
    seed: Annotated[int | None, typer.Option(help="Which of the run's seeds; without it, the first.")] = None,
) -> None:
    """Score texts: each row gets its label and the probability of each class."""
    from textrnn.prediction import predict as act

    act(texts or [], source, target, kind, run, seed)


def _sync(console: Console, is_needed: bool = False) -> None:
    """Syncs with progress. A store that cannot be reached is an error only where it `is_needed`."""
    from textrnn.config.params import load_params
    from textrnn.tracking.complete import Completion
    from textrnn.tracking.failures import readable_mlflow_errors
    from textrnn.tracking.sync import sync as act

    project, params = Path.cwd(), load_params()
    try:
        with (
            readable_mlflow_errors(),
            console.status("MLflow: reading") as status,
            Completion(project) as complete,
        ):
            done = act(project, params, complete, lambda name: status.update(f"MLflow: {name}"))
    except TextrnnError as error:
        if is_needed:
            raise
        Console(stderr=True, highlight=False).print(
            f"warning: {error} Then run `textrnn sync`.", markup=False, soft_wrap=True
        )
    else:
        console.print(f"MLflow: {done}", soft_wrap=True)


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
