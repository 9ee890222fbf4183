"""What lies in DVC's default remote, and what of it is needed here."""

from __future__ import annotations

import logging
import subprocess
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from textrnn.errors import TextrnnError
from textrnn.orchestration.children import dvc_command, environment
from textrnn.project import git
from textrnn.project.dvc_lock import read_stages

if TYPE_CHECKING:
    from dvc.api import DVCFileSystem  # type: ignore[import-untyped]

DOWNLOAD, DOWNLOADS = "download_", "data/downloads/"
"""Stages and folders of what is fetched from outside, which nobody needs any more once it has been read."""


@contextmanager
def silent_logs() -> Iterator[None]:
    """DVC logs to the terminal; what users should know of it is in our errors."""
    logging.disable()
    try:
        yield
    finally:
        logging.disable(logging.NOTSET)


def first_line(error: Exception) -> str:
    """Returns the first line of an error's message, without its full stop."""
    return (str(error) or type(error).__name__).splitlines()[0].rstrip(".")


def pull(dvc: Callable[..., object]) -> None:
    """Gets what dvc.lock names, but for downloads, from DVC's cache or the default remote, as far as they have it."""
    stages = [name for name in locked_stages() if not name.startswith(DOWNLOAD)]
    if stages and default_remote():
        dvc("pull", "--quiet", "--allow-missing", *stages)


def locked_stages() -> dict[str, list[str]]:
    """Returns the paths of the outputs by stage, in the order of dvc.lock."""
    stages = read_stages(Path("dvc.lock"))
    return {name: [out["path"] for out in stage.get("outs", ())] for name, stage in stages.items()}


def default_remote() -> str | None:
    """Returns the name of DVC's default remote, if there is one."""
    asked = subprocess.run(
        dvc_command("config", "core.remote"), env=environment(), capture_output=True, text=True, errors="replace"
    )
    return asked.stdout.strip() or None


def fetch_run_cache() -> bool:
    """Gets what the default remote's run cache tells of earlier runs; their outputs stay there.

    Returns whether there is a default remote.

    Raises:
        TextrnnError: it cannot be reached.
    """
    name = default_remote()
    if name is None:
        return False
    from dvc.repo import Repo  # type: ignore[import-untyped]
    from dvc.stage.cache import RunCacheNotSupported  # type: ignore[import-untyped]

    with closing(Repo()) as repo, repo.lock, silent_logs():
        try:
            repo.stage_cache.pull(None)
        except RunCacheNotSupported:  # of a remote over plain HTTP
            pass
        except Exception as error:  # every kind of remote raises its own
            reason = (str(error) or type(error).__name__).splitlines()[0].rstrip(".")
            raise TextrnnError(
                f"DVC's default remote {name} cannot be reached: {reason}. Check its address with `dvc remote list`, "
                "and its credentials."
            ) from None
    return True


def restore(stages: Sequence[str]) -> None:
    """Puts the outputs of `stages` in their place where DVC's run cache knows them, from the default remote if need be.

    `dvc repro --pull` does so, too, but fetches the whole run cache anew for each stage.
    """
    from dvc.repo import Repo
    from dvc.stage.cache import RunCacheNotFoundError

    with closing(Repo()) as repo, repo.lock, silent_logs():
        for name in stages:
            for stage in repo.stage.collect(name):
                with suppress(RunCacheNotFoundError, FileNotFoundError):  # not known, or its inputs are yet to come
                    repo.stage_cache.restore(stage, pull=True)


def lacks_only_downloads(changes: list[object]) -> bool:
    """Whether that is all that `dvc status` has to say of a stage."""
    return all(
        isinstance(change, dict)
        and all(
            isinstance(paths, dict)
            and all(path.startswith(DOWNLOADS) and state == "deleted" for path, state in paths.items())
            for paths in change.values()
        )
        for change in changes
    )


def copy_run(project: Path, run: str, rev: str, files: Sequence[str], target: Path) -> None:
    """Copies `files` of a run, such as `runs/lstm`, as it is at a git revision, into `target`.

    Neither the working tree nor DVC's cache changes.

    Raises:
        TextrnnError: git has no such revision, it has no such run, or neither cache nor default remote have the files.
    """
    from dvc.api import DVCFileSystem

    top = git.prefix(project)  # in a larger git repository the project is one below its top
    folder, name = run.split("/")
    with silent_logs(), closing(DVCFileSystem(str(project), rev=rev, subrepos=bool(top))) as system:
        known = _finished(system, f"/{top}{folder}", rev)
        if name not in known:
            raise TextrnnError(
                f"{run} at {rev}: that revision has no such finished run. "
                + (f"It has: {', '.join(known)}." if known else "It has none. Name another one with --rev.")
            )
        try:
            for file in files:
                system.get_file(f"/{top}{run}/{file}", str(target / file))
        except Exception as error:  # every kind of remote raises its own
            raise TextrnnError(
                f"{run} at {rev} is not in DVC's cache, and a default remote does not give it: {first_line(error)}. "
                f"If another remote has it: `dvc fetch --all-commits --remote NAME {run}`. Else compute it again: "
                f"`git checkout {rev}`, `dvc repro`, and back with `git checkout -`, `dvc checkout`."
            ) from None


def _finished(system: DVCFileSystem, runs: str, rev: str) -> list[str]:
    """Returns the names of the runs that a revision's dvc.lock has in the folder `runs`."""
    from dvc.exceptions import DvcException  # type: ignore[import-untyped]
    from dvc.scm import RevError  # type: ignore[import-untyped]

    try:
        if not rev:
            raise RevError("without one DVC would take the working tree")
        # What a revision declares, but had not run, has no hash there.
        return sorted(Path(entry["name"]).name for entry in system.ls(runs) if "md5" in entry)
    except RevError:
        raise TextrnnError(
            f"--rev {rev!r}: git knows no such revision here. Name a branch, a tag or a commit (see `git log`)."
        ) from None
    except FileNotFoundError:
        return []
    except DvcException as error:
        raise TextrnnError(
            f"--rev {rev}: DVC cannot read the project at this revision: {first_line(error)}. Name another one."
        ) from None
