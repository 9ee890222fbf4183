"""The command `textrnn`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from textrnn.errors import TextrnnError
from textrnn.stage import readable_errors

INTERRUPTED = 130
"""The exit status that shells give a command stopped by Ctrl-C."""

commands = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Reproducible experiments with recurrent text classifiers. Run it in the project's top folder.",
)


@commands.command()
def repro(
    jobs: Annotated[int, typer.Option(min=1, help="Trainings at the same time; each uses one core.")] = 1,
) -> None:
    """Bring the active study up to date and show its leaderboard."""
    from textrnn.orchestration import repro as orchestration
    from textrnn.params import load_params

    console = Console(highlight=False)
    try:
        orchestration.repro(jobs, console)
    except KeyboardInterrupt:
        Console(stderr=True).print("interrupted: what was finished is kept, and the same command goes on from there")
        raise typer.Exit(INTERRUPTED) from None
    params = load_params()
    # Not before: pandas takes two seconds, and a mistake in params.yaml is told at once.
    from textrnn.comparison.leaderboard import show

    show(Path("reports") / params.study, console)
    failed = orchestration.diverged(params, Path("runs"))
    if failed:
        raise TextrnnError(
            "the study is complete, but trainings failed:\n"
            + "\n".join(f"  {name}: {reason}" for name, reason in failed.items())
            + "\nLower learning_rate, or set gradient_clip, for these experiments."
        )


@commands.command()
def verify(
    jobs: Annotated[int, typer.Option(min=1, help="Trainings at the same time; each uses one core.")] = 1,
    tolerance: Annotated[float, typer.Option(min=0, help="Largest difference of a metric.")] = 0.02,
) -> None:
    """Repeat the whole study from empty caches, and compare it with dvc.lock stage by stage."""
    from textrnn.orchestration.verify import verify as check

    if not check(Path.cwd(), jobs, tolerance, Console(highlight=False)):
        raise typer.Exit(1)


def app() -> None:
    """Runs the command line; a user's mistake is one message on standard error, and exit status 1."""
    with readable_errors():
        commands()
