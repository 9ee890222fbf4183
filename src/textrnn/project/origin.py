"""Where a result comes from: the commit, what was changed on top of it, and how to restore both."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from textrnn.project import git

RESULTS = ("dvc.lock", "reports")  # what the pipeline itself writes into git: changes there do not change what was run

PATCH = "uncommitted.patch"  # the artifact that holds a dirty checkout's changes

PLAIN = ("--binary", "--no-color", "--no-ext-diff", "--no-textconv", "--src-prefix=a/", "--dst-prefix=b/")
"""Options for a patch that `git apply` accepts, whatever the user's settings."""

QUEUE = Path(".dvc/tmp/exps")  # where DVC keeps the temporary copies in which queued experiments run


@dataclass(frozen=True)
class Origin:
    """The state of a checkout.

    Attributes:
        commit: its commit; None outside of git.
        patch: what was changed in tracked files since, as `git diff` shows it, without the pipeline's own results.
        experiment: DVC's name of the experiment that runs here; None outside of `dvc exp run`.
    """

    commit: str | None
    patch: str = ""
    experiment: str | None = None

    @classmethod
    def of_checkout(cls, folder: Path) -> Self:
        """Describes the present content of `folder`.

        Inside DVC's queue an experiment has a commit of DVC's own, so it is described from the commit it started on.
        Of another project's experiment, of which this one is a stage, neither commit nor name are this project's.
        """
        started_on = os.environ.get("DVC_EXP_BASELINE_REV", "HEAD")
        known = (_git(folder, "rev-parse", "--verify", f"{each}^{{commit}}").strip() for each in (started_on, "HEAD"))
        commit = next(filter(None, known), None)
        root = os.environ.get("DVC_ROOT")
        is_own = root is None or Path(root).resolve() == project_folder(folder)
        results = [f":!{result}" for result in RESULTS]
        patch = _git(folder, "diff", *PLAIN, commit, "--", ".", *results) if commit else ""
        return cls(commit, patch, os.environ.get("DVC_EXP_NAME") if is_own else None)

    @classmethod
    def of_result(cls, folder: Path, output: str) -> Self:
        """Returns the first commit whose `dvc.lock` has the hash `output`; while none has, as `of_checkout`."""
        found = _git(folder, "log", "--reverse", "--format=%H", "-S", output, "--", "dvc.lock").split()
        return cls(found[0]) if found else cls.of_checkout(folder)

    def restore(self, stage: str) -> str:
        """Returns the command that restores the result of `stage`."""
        if self.experiment:
            return f"dvc exp apply {self.experiment}"
        checkout = [f"git checkout {self.commit}"] if self.commit else []
        patched = [f"git apply {PATCH}"] if self.patch else []
        return " && ".join((*checkout, *patched, f"dvc repro --pull {stage}"))


def project_folder(folder: Path = Path()) -> Path:
    """Returns the top folder of the project that `folder` is, or is a copy of in DVC's queue.

    `DVC_ROOT` alone is not enough: where this project is a stage of another DVC project, it names that one.
    """
    here = folder.resolve()
    root = Path(os.environ.get("DVC_ROOT", here)).resolve()
    if not here.is_relative_to((root / QUEUE).resolve()):
        return here
    return _git_top(root) / here.relative_to(_git_top(here))


def _git_top(folder: Path) -> Path:
    return next((each for each in (folder, *folder.parents) if (each / ".git").exists()), folder)


def _git(folder: Path, *arguments: str) -> str:
    # Not `git.text`: a patch ends with a newline.
    done = git.run(folder, *arguments)
    return done.stdout.decode(errors="replace") if done.returncode == 0 else ""
