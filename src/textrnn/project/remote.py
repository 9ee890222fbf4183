"""What lies in DVC's default remote, and what of it is needed here."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Sequence
from contextlib import closing, suppress
from pathlib import Path

from textrnn.analysis.pairwise import silent_logs
from textrnn.errors import TextrnnError
from textrnn.orchestration.children import dvc_command, environment
from textrnn.project.dvc_lock import read_stages

DOWNLOAD, DOWNLOADS = "download_", "data/downloads/"
"""Stages and folders of what is fetched from outside, which nobody needs any more once it has been read."""


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
