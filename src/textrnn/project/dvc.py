"""How DVC is called: as its own command line, in this Python's environment. `remote.py` uses its library.

Several calls share one process (`Worker`): most of a short `dvc` command's time is DVC's start.
"""

import json
import os
import re
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from configparser import ConfigParser
from configparser import Error as ConfigParserError
from contextlib import suppress
from pathlib import Path

import psutil

from textrnn.errors import TextrnnError
from textrnn.process import own_environment

RUNS, CACHED = re.compile(r"Running stage '(.+)':"), re.compile(r"Stage '(.+)' is cached")
"""What DVC prints when it starts a stage, or restores its outputs instead."""

BUSY = re.compile("is busy, it is being blocked by|acquire lock")
"""What DVC prints before a stage runs whose files another DVC process reads or writes."""

PATIENCE = 10.0
"""Seconds that a stage without a DVC process has to clean up in before it is killed."""

KILLED = re.compile(r"exited with (-9|137)\b|MemoryError|bad_alloc|[Cc]annot allocate memory|Unable to allocate")
"""What is printed where a stage was killed, as the system does where memory runs out, or got no more memory."""

END = "textrnn: exit status"  # begins the line that a `Worker`'s process prints after each command


def command(*arguments: str) -> list[str]:
    """Returns the command line that runs DVC.

    To save a stage's outputs DVC takes its lock again; without `--wait-for-lock` it gives up after three seconds.
    """
    return [sys.executable, "-m", "dvc", "--wait-for-lock", *arguments]


def environment() -> dict[str, str]:
    """Returns the environment for DVC: the stages' `python` is this Python, and DVC sends no analytics."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)])
    # DVC, too, prints names that a terminal's encoding may lack.
    encoding = os.environ.get("PYTHONIOENCODING", "").partition(":")[0] + ":backslashreplace"
    own = own_environment(os.environ)
    return {**own, "PATH": path, "PYTHONIOENCODING": encoding, "DVC_NO_ANALYTICS": "1"}


def failure(*arguments: str) -> TextrnnError:
    """Returns the error for a command that failed, after DVC has printed why."""
    return TextrnnError(f"`dvc {' '.join(arguments)}` failed: the message above says why.")


def call(*arguments: str) -> None:
    """Runs DVC, which prints to this process' output. Raises `TextrnnError`: DVC failed."""
    if subprocess.run(command(*arguments), env=environment(), stdin=subprocess.DEVNULL).returncode != 0:
        raise failure(*arguments)


def ask(*arguments: str, folder: Path = Path()) -> subprocess.CompletedProcess[str]:
    """Runs DVC in `folder`, and returns its output and exit status."""
    return subprocess.run(
        command(*arguments),
        cwd=folder,
        env=environment(),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        errors="replace",
    )


def is_due(*stages: str, folder: Path = Path()) -> bool:
    """Whether any of `stages`, by default of all, would run; outputs that are missing do not count.

    Raises:
        TextrnnError: DVC cannot say, with its reason.
    """
    asked = ask("repro", "--dry", "--allow-missing", *stages, folder=folder)
    # It fails to reproduce a stage that is due where inputs are not here yet.
    if asked.returncode != 0 and "failed to reproduce" not in asked.stderr:
        raise TextrnnError(f"`dvc repro --dry` failed:\n{asked.stderr.strip()}")
    return asked.returncode != 0 or bool(RUNS.search(asked.stdout))


def works_without_git() -> bool:
    """Whether DVC's settings say that there is no git."""
    return _setting("core", "no_scm", "").lower() in ("1", "yes", "true", "on")


def cache_folder() -> Path:
    """Returns the folder of DVC's cache, which several projects may share."""
    return Path(".dvc", _setting("cache", "dir", "cache"))


def _setting(section: str, name: str, default: str) -> str:
    """Returns one of DVC's settings, shared or of this machine alone."""
    config = ConfigParser(interpolation=None, strict=False)
    try:
        config.read([".dvc/config", ".dvc/config.local"], encoding="utf-8")
        return config.get(section, name, fallback=default)
    except (ConfigParserError, ValueError):  # DVC reports what is wrong with it
        return default


class Worker:
    """A DVC process that runs one command after the other, in a session of its own.

    A terminal's Ctrl-C does not reach it. A command that is being run ends by itself once its stage has ended, and a
    stage is stopped once the process has ended that made this worker.
    """

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "textrnn.project.dvc"],
            env=environment(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            encoding=getattr(sys.stdout, "encoding", None) or "utf-8",  # as the child's is
            errors="replace",
            start_new_session=True,
        )
        self.pid, self.is_busy = self._process.pid, False
        self._watcher = threading.Thread(target=self._stop_orphans, daemon=True)
        self._watcher.start()

    def run(self, arguments: tuple[str, ...], on_line: Callable[[str], None], merge_errors: bool = False) -> int:
        """Runs a command, and returns its exit status.

        `on_line` is called with each line of standard output, and with `merge_errors` of standard error, as it comes.
        """
        commands, output = self._process.stdin, self._process.stdout
        assert commands and output
        try:
            commands.write(json.dumps([arguments, merge_errors]) + "\n")
            commands.flush()
            for line in output:
                if line.startswith(END):
                    return int(line.removeprefix(END))
                on_line(line.rstrip("\n"))
        except BrokenPipeError:  # it was killed before
            pass
        except BaseException:
            self.close()
            raise
        self._watcher.join()
        return self._process.returncode or 1

    def _stop_orphans(self) -> None:
        """Where the process was killed, its stage would run on, and hold its output open: nobody would notice."""
        self._process.wait()
        _terminate(stages(self.pid))

    @property
    def is_running(self) -> bool:
        """Whether the process lives."""
        return self._process.poll() is None

    def close(self) -> None:
        """Ends the process, after the command that it runs."""
        with suppress(BrokenPipeError), self._process:  # closes both pipes, and waits
            pass


def stages(worker: int) -> list[psutil.Process]:
    """Returns what a `Worker`'s process has started, also if what was between them was killed: its session."""
    found = []
    for process in psutil.process_iter():
        with suppress(OSError):
            if process.pid != worker and os.getsid(process.pid) == worker:
                found.append(process)
    return found


def _serve() -> None:
    """Runs the commands that standard input has, each a line of JSON: DVC's arguments, and `merge_errors`."""
    threading.Thread(target=_stop_stages_without, args=[os.getppid()], daemon=True).start()
    from dvc.cli import main  # type: ignore[import-untyped]

    _check_cache()
    # Stages inherit the numbers 0 to 2: the first must not be the commands.
    requests, errors = os.fdopen(os.dup(0), encoding="utf-8"), os.dup(2)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    for line in requests:
        arguments, merge_errors = json.loads(line)
        os.dup2(1 if merge_errors else errors, 2)
        status = main(["--wait-for-lock", *arguments])
        if status != 0:
            _terminate(stages(os.getpid()))  # a stage whose shell was killed
        try:
            # On a line of its own, wherever a stage has left the cursor.
            sys.stdout.write(f"\n{END} {status}\n")
            sys.stdout.flush()
            sys.stderr.flush()
        except BrokenPipeError:  # who asked for it was killed
            os._exit(1)


def _check_cache() -> None:
    """Lets DVC compare files of its cache with their hash, and delete one that differs, so that its stage runs again.

    DVC trusts files that are write-protected, and restores one in which a bit has flipped. A file that has been checked
    is not read again until its size, time or inode change.
    """
    from dvc_data.hashfile.db import HashFileDB
    from dvc_data.hashfile.db.local import LocalHashFileDB

    LocalHashFileDB.check = HashFileDB.check  # type: ignore[method-assign]


def _stop_stages_without(parent: int) -> None:
    """Once the process `parent` has ended, as by SIGKILL, stops each stage: a second call would collide with them."""
    while os.getppid() == parent:
        time.sleep(0.2)
    signalled: set[psutil.Process] = set()
    while True:  # until DVC has ended: it may just be between two stages
        running = set(stages(os.getpid()))
        for stage in running - signalled:
            with suppress(psutil.NoSuchProcess):
                stage.terminate()
        signalled |= running
        time.sleep(0.1)


def _terminate(processes: list[psutil.Process]) -> None:
    """Ends processes, and waits until they have."""
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            process.terminate()
    for process in psutil.wait_procs(processes, PATIENCE)[1]:
        with suppress(psutil.NoSuchProcess):
            process.kill()


if __name__ == "__main__":
    _serve()
