"""Disks that are full or read-only, damaged and linked files, and a folder that is moved or copied."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tiny_project import TinyProject

from faults.study import REPRO, forget, untrack
from faults.trial import Fault, Trial, Unavailable, needs

EMPTY_STORE = """\
from pathlib import Path
from textrnn.tracking.store import open_store

open_store(Path.cwd(), "tiny/snippets")
"""


def disk_full(trial: Trial) -> None:
    """the disk is full at a random moment; then it gets a little larger"""
    needs("mount")
    disk = trial.scratch / "disk"
    disk.mkdir()
    size = 1_000_000 + sum(file.stat().st_blocks * 512 for file in trial.project.folder.rglob("*") if file.is_file())
    _run("mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", disk)
    trial.undo.callback(_run, "umount", "--lazy", disk)
    trial.project = trial.project.copy(disk / "project")
    for _ in range(trial.times):
        call = trial.call(*REPRO)
        if call.status == 0:
            break
        trial.says(call, "No space left on device", "disk is full", "Disk quota exceeded")
        trial.note(*call.stages)
        size += trial.random.randrange(200_000, 1_500_000)
        _run("mount", "-o", f"remount,size={size}", disk)
    _run("mount", "-o", "remount,size=1g", disk)
    trial.recover()


def read_only_output(trial: Trial) -> None:
    """`runs/` is read-only"""
    _read_only(trial, "runs")


def read_only_cache(trial: Trial) -> None:
    """DVC's cache is read-only"""
    _read_only(trial, ".dvc/cache")


def read_only_database(trial: Trial) -> None:
    """`mlflow.db` is read-only"""
    trial.renew(finished=True)
    untrack(trial.project)
    trial.project.run(sys.executable, "-c", EMPTY_STORE)
    with _mounted_read_only(trial.project.folder / "mlflow.db"):
        trial.says(trial.call("sync"), "Make it writable")
    trial.note()
    trial.recover("sync")


def cut_lock(trial: Trial) -> None:
    """`dvc.lock` is cut off, as a kill leaves it while DVC writes"""
    for _ in range(trial.times):
        trial.renew(finished=True)
        trial.call(*REPRO)
        lock = trial.project.folder / "dvc.lock"
        lock.write_bytes(lock.read_bytes()[: trial.random.randrange(lock.stat().st_size)])
        trial.note()
        trial.recover()


def cut_rwlock(trial: Trial) -> None:
    """DVC's list of the files that its processes use, `.dvc/tmp/rwlock`, is cut off in the same way"""
    for content in ("", '{"write": {"/')[: trial.times]:
        trial.renew(finished=True)
        forget(trial.project, "probe@lstm")
        (trial.project.folder / ".dvc" / "tmp" / "rwlock").write_text(content, encoding="utf-8")
        trial.note()
        trial.recover()


def flipped_bit(trial: Trial) -> None:
    """a bit is flipped in a file of DVC's cache, and the outputs are deleted"""
    trial.repeats = True
    for _ in range(trial.times):
        trial.renew(finished=True)
        _flip(trial, trial.random.choice(_cached(trial.project)))
        for name in ("plan", "data", "runs"):
            shutil.rmtree(trial.project.folder / name)
        trial.note()
        trial.recover()


def _cached(project: TinyProject) -> list[Path]:
    """The files of DVC's cache, listings of folders included, that outputs consist of."""
    cache = project.folder / ".dvc" / "cache" / "files" / "md5"
    hashes = [out["md5"] for stage in project.lock().values() for out in stage["outs"] if out.get("cache", True)]
    for name in [name for name in hashes if name.endswith(".dir") and (cache / name[:2] / name[2:]).is_file()]:
        hashes += [entry["md5"] for entry in json.loads((cache / name[:2] / name[2:]).read_bytes())]
    files = [cache / name[:2] / name[2:] for name in sorted(set(hashes))]
    return [file for file in files if file.is_file() and file.stat().st_size]


def moved(trial: Trial) -> None:
    """the project's folder is moved, while MLflow has absolute paths to where it was"""
    trial.renew(finished=True)
    there = trial.scratch / "moved"
    shutil.move(trial.project.folder, there)
    trial.project = TinyProject(there, trial.project.home)
    forget(trial.project, "train@lstm")
    trial.note()
    trial.recover()


def copied(trial: Trial) -> None:
    """the project's folder is copied, and both go on"""
    trial.renew(finished=True)
    original = trial.project
    trial.project = original.copy(trial.scratch / "copy")
    for project in (trial.project, original, trial.project):
        trial.project = project
        forget(trial.project, "train@lstm")
        trial.recover()
    trial.note()


def hardlinks(trial: Trial) -> None:
    """outputs are hard links to the cache, and all stages run again"""
    _linked(trial, "hardlink")


def symlinks(trial: Trial) -> None:
    """outputs are symbolic links to the cache, and all stages run again"""
    _linked(trial, "symlink")


def reflinks(trial: Trial) -> None:
    """outputs are reflinks to the cache on a disk with XFS, and all stages run again"""
    needs("mkfs.xfs")
    disk, image = trial.scratch / "disk", trial.scratch / "disk.img"
    disk.mkdir()
    image.touch()
    os.truncate(image, 2**30)
    _run("mkfs.xfs", "-q", image)
    try:
        _run("mount", "-o", "loop", image, disk)
    except subprocess.CalledProcessError as error:  # in a container
        raise Unavailable(f"it needs to mount a file: {error.stderr.decode().strip()}") from None
    trial.undo.callback(_run, "umount", "--lazy", disk)
    _linked(trial, "reflink", disk)


def _linked(trial: Trial, kind: str, disk: Path | None = None) -> None:
    """Every stage writes where a link to the cache is: DVC has to take it away first, or the cache is damaged."""
    trial.renew(finished=True)
    if disk is not None:
        trial.project = trial.project.copy(disk / "project")
    trial.project.run("dvc", "config", "--local", "cache.type", kind)
    if trial.project.run("dvc", "checkout", "--relink", "--force", ok=False).status != 0:
        raise Unavailable(f"the disk of the folder for temporary files has no {kind}s")
    forget(
        trial.project, *[name for name in trial.project.lock() if name not in ("plan", "compare")], keep_outputs=True
    )
    trial.note()
    trial.recover()


def _read_only(trial: Trial, folder: str) -> None:
    for stage in ("train@lstm", "baseline@nb-svm")[: trial.times]:
        trial.renew(finished=True)
        forget(trial.project, stage)
        with _mounted_read_only(trial.project.folder / folder):
            call = trial.call(*REPRO)
            trial.says(call, "Read-only file system")
        trial.note(*call.stages)
        trial.recover()


@contextmanager
def _mounted_read_only(path: Path) -> Iterator[None]:
    """Permissions do not bind root, a mount does."""
    needs("mount")
    _run("mount", "--bind", path, path)
    try:
        _run("mount", "-o", "remount,ro,bind", path)
        yield
    finally:
        _run("umount", "--lazy", path)


def _flip(trial: Trial, file: Path) -> None:
    content = bytearray(file.read_bytes())
    content[trial.random.randrange(len(content))] ^= 1 << trial.random.randrange(8)
    mode = file.stat().st_mode
    file.chmod(0o644)
    file.write_bytes(content)
    file.chmod(mode)


def _run(*command: str | Path) -> None:
    subprocess.run(command, check=True, capture_output=True)


FAULTS = (
    Fault(disk_full, 10),
    Fault(read_only_output, 2),
    Fault(read_only_cache, 2),
    Fault(read_only_database, 1),
    Fault(cut_lock, 3),
    Fault(cut_rwlock, 2),
    Fault(flipped_bit, 8),
    Fault(moved, 1),
    Fault(copied, 1),
    Fault(hardlinks, 1),
    Fault(symlinks, 1),
    Fault(reflinks, 1),
)
