"""What DVC's cache and remotes have, and what of it is needed here: all that uses DVC as a library."""

from __future__ import annotations

import logging
import shutil
import tarfile
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from textrnn.errors import TextrnnError, first_line
from textrnn.project import dvc, git
from textrnn.project.dvc_lock import read_stages

if TYPE_CHECKING:
    from dvc.api import DVCFileSystem  # type: ignore[import-untyped]
    from dvc.repo import Repo  # type: ignore[import-untyped]

DOWNLOAD, DOWNLOADS = "download_", "data/downloads/"
"""Stages and folders of downloads, which nobody needs any more once they have been read."""


@contextmanager
def _silent() -> Iterator[None]:
    """DVC logs to the terminal; what users should know of it is in our errors."""
    logging.disable()
    try:
        yield
    finally:
        logging.disable(logging.NOTSET)


@contextmanager
def _opened(project: Path = Path()) -> Iterator[Repo]:
    from dvc.repo import Repo

    with _silent(), closing(Repo(str(project))) as repo:
        yield repo


def pull(call: Callable[..., object]) -> None:
    """Restores what dvc.lock names, except downloads, as far as DVC's cache or the default remote have it.

    `call` runs DVC, given its arguments.
    """
    stages = [name for name in locked_stages() if not name.startswith(DOWNLOAD)]
    if stages and default_remote():
        call("pull", "--quiet", "--allow-missing", *stages)


def locked_stages() -> dict[str, list[str]]:
    """Returns the paths of the outputs by stage, in the order of dvc.lock."""
    stages = read_stages(Path("dvc.lock"))
    return {name: [out["path"] for out in stage.get("outs", ())] for name, stage in stages.items()}


def default_remote() -> str | None:
    """Returns the name of DVC's default remote, if there is one. Raises `TextrnnError` if DVC's settings are broken."""
    asked = dvc.ask("config", "core.remote")
    if asked.returncode != 0:
        reason = (asked.stderr.strip() or asked.stdout.strip()).removeprefix("ERROR: ").partition("\n")[0]
        raise TextrnnError(f"DVC cannot read its settings: {reason} Correct .dvc/config or .dvc/config.local.")
    return asked.stdout.strip() or None


def inputs(stage: str) -> tuple[list[str], str]:
    """Returns the stages whose outputs a stage reads, one of which is `plan`, and the text of dvc.lock.

    Raises `TextrnnError`: dvc.yaml has no such stage.
    """
    from dvc.exceptions import DvcException  # type: ignore[import-untyped]
    from dvc.lock import make_lock  # type: ignore[import-untyped]

    try:
        with _opened() as repo:
            paths = [dependency.def_path for each in repo.stage.collect(stage) for dependency in each.deps]
            # Not the paths: a folder that is read may hold several outputs, and of names and paths together `dvc pull`
            # silently leaves some out.
            outs = [repo.find_outs_by_path(path, recursive=True, strict=False) for path in paths]
            # Other processes of DVC write dvc.lock in place.
            hardlink = repo.config["core"].get("hardlink_lock", False)
            with make_lock(f"{repo.tmp_dir}/lock", repo.tmp_dir, hardlink_lock=hardlink, wait=True):
                lock = Path("dvc.lock").read_text(encoding="utf-8")
            return [*dict.fromkeys(out.stage.addressing for found in outs for out in found)], lock
    except DvcException as error:
        raise TextrnnError(f"{stage}: {first_line(error)}. Run `dvc stage list`.") from None


def leave(folder: Path, name: str) -> None:
    """Leaves a copy of `folder` at the default remote, next to DVC's files, in the place of an earlier one."""
    with tempfile.TemporaryDirectory() as scratch, _place(name) as (system, place):
        packed = Path(scratch, "packed")
        with tarfile.open(packed, "w") as archive:
            archive.add(folder, ".")
        system.makedirs(system.parent(place))
        system.put_file(str(packed), f"{place}.part")
        system.move(f"{place}.part", place)


def take(folder: Path, name: str) -> bool:
    """Makes `folder` what `leave` left at the default remote, and returns whether that is there; if not, deletes it."""
    shutil.rmtree(folder, ignore_errors=True)
    with tempfile.TemporaryDirectory() as scratch, _place(name) as (system, place):
        if not system.exists(place):
            return False
        system.get_file(place, str(Path(scratch, "packed")))
        with tarfile.open(Path(scratch, "packed")) as archive:
            archive.extractall(folder, filter="data")
    return True


def forget(name: str) -> None:
    """Deletes what `leave` left, if it is there."""
    with _place(name) as (system, place):
        if system.exists(place):
            system.remove(place)


@contextmanager
def _place(name: str) -> Iterator[tuple[Any, str]]:
    """Yields the file system of the default remote, and the path of a file of ours there."""
    with _opened() as repo:
        remote = repo.cloud.get_remote()
        yield remote.fs, remote.fs.join(remote.path, "textrnn", *name.split("/"))


def fetch_run_cache() -> bool:
    """Gets the default remote's records of earlier runs (DVC's run cache); their outputs stay there.

    Returns whether there is a default remote.

    Raises `TextrnnError`: it cannot be reached.
    """
    name = default_remote()
    if name is None:
        return False
    from dvc.stage.cache import RunCacheNotSupported  # type: ignore[import-untyped]

    with _opened() as repo, repo.lock:
        try:
            repo.stage_cache.pull(None)
        except RunCacheNotSupported:  # of a remote over plain HTTP
            pass
        except Exception as error:  # every kind of remote raises its own
            raise TextrnnError(
                f"DVC's default remote {name} cannot be reached: {first_line(error)}. Check its address with "
                "`dvc remote list`, and its credentials."
            ) from None
    return True


def restore(stages: Sequence[str]) -> None:
    """Restores the outputs of `stages` that DVC's run cache knows, if need be from the default remote.

    `dvc repro --pull` does so, too, but fetches the whole run cache anew for each stage.
    """
    from dvc.stage.cache import RunCacheNotFoundError

    with _opened() as repo, repo.lock:
        for name in stages:
            for stage in repo.stage.collect(name):
                with suppress(RunCacheNotFoundError, FileNotFoundError):  # not known, or its inputs are yet to come
                    repo.stage_cache.restore(stage, pull=True)


def lacks_only_downloads(changes: list[Any]) -> bool:
    """Whether missing downloads are all that `dvc status` reports of a stage."""
    found = [paths for change in changes for paths in (change.values() if isinstance(change, dict) else [change])]
    return all(
        isinstance(paths, dict) and all(path.startswith(DOWNLOADS) and paths[path] == "deleted" for path in paths)
        for paths in found
    )


def override(file: str, values: Sequence[str]) -> None:
    """Changes values in a YAML file, each `key=value`; comments stay.

    Raises `TextrnnError`: the file has no such key, or the notation is wrong.
    """
    from dvc.exceptions import DvcException
    from dvc.utils.hydra import apply_overrides  # type: ignore[import-untyped]

    try:
        apply_overrides(file, list(values))
    except (DvcException, ValueError) as error:
        raise TextrnnError(
            f"--set {' '.join(values)}: {first_line(error.__cause__ or error)}. Write key=value with keys of {file}, "
            "as in --set train.units=64; a key that it does not have yet starts with +."
        ) from None


def copy_version(project: Path, version: str, target: Path) -> None:
    """Copies the folder that DVC knows by the hash `version` from its cache or default remote into `target`.

    Raises:
        Exception: neither has it; every kind of remote raises its own.
    """
    from dvc_data.hashfile.hash_info import HashInfo
    from dvc_data.hashfile.tree import Tree

    wanted = HashInfo("md5", version)
    with _opened(project) as repo:
        cache = repo.cache.local

        def copy() -> None:
            for key, _, file in Tree.load(cache, wanted):
                cache.fs.get_file(cache.oid_to_path(file.value), str(target.joinpath(*key)))

        try:
            copy()
        except FileNotFoundError:
            repo.cloud.pull([wanted])  # the list of its files, and then these
            repo.cloud.pull([file for _, _, file in Tree.load(cache, wanted)])
            copy()


def copy_run(project: Path, run: str, rev: str, files: Sequence[str], target: Path) -> None:
    """Copies `files` of a run, such as `runs/lstm`, as it is at a git revision, into `target`.

    Neither the working tree nor DVC's cache changes.

    Raises:
        TextrnnError: git has no such revision, it has no such run, or neither cache nor default remote have the files.
    """
    from dvc.api import DVCFileSystem

    top = git.prefix(project)  # in a larger git repository the project is one below its top
    folder, name = run.split("/")
    with _silent(), closing(DVCFileSystem(str(project), rev=rev, subrepos=bool(top))) as system:
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
    from dvc.exceptions import DvcException
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
