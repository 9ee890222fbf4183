"""`textrnn retrain`: brings a branch's results up to date, compares them with another revision's, and publishes them.

Data are pushed first, then the commit that names them, so that an interruption leaves nothing half done. The branch
only moves forward, from the commit that was retrained. If it has moved meanwhile, git refuses, and the results stay in
DVC's cache.
"""

import os
import shlex
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from urllib.parse import quote

from rich.console import Console

from textrnn.config.catalog import load_catalog
from textrnn.config.ensemble import MEMBERS
from textrnn.config.params import load_params
from textrnn.errors import TextrnnError
from textrnn.orchestration.folder import check_folder
from textrnn.orchestration.pull_request import Effort, forbidden, report
from textrnn.orchestration.repro import Work, diverged, repro
from textrnn.project import dvc, git
from textrnn.project.origin import RESULTS
from textrnn.project.remote import default_remote, fetch_run_cache, locked_stages, override, pull
from textrnn.project.revision import Revision
from textrnn.search.winner import load_study
from textrnn.tracking.data_check import CorpusCheck

ORIGIN = "origin"
PARAMS = "params.yaml"

WRITTEN = (*RESULTS, MEMBERS)
"""What a retraining writes into git."""

TRAININGS = ("train@", "winner@", "student@")
"""What stages that train are called."""

_git = partial(git.text, Path())


@dataclass(frozen=True)
class Retrained:
    """The outcome."""

    report: str  # Markdown
    problems: Sequence[str]  # why the exit status is not 0 although all was done


class _Forbidden(Exception):
    """The study does not allow training on this corpus; its argument is the `CorpusCheck`."""


def retrain(
    base: str,
    jobs: int,
    overrides: Sequence[str],
    publish: bool,
    console: Console,
    sync: Callable[[], object],
    own_file: Path | None = None,
) -> Retrained:
    """Retrains what is due in the current folder, a git repository at a branch's head.

    Args:
        base: the git revision to compare with.
        overrides: `key=value`, laid over `params.yaml`, in the notation of `dvc exp run --set-param`.
        publish: push data to DVC's default remote, commit results and push the branch to `origin`.
        sync: makes MLflow agree with the files.
        own_file: may be present although git does not know it.

    Raises:
        TextrnnError: git's state does not allow it, the study is not valid, or a stage or a remote fails. What was
            trained stays in DVC's cache.
    """
    check_folder()
    project = Path.cwd()
    _check_clean(own_file)
    branch = _branch() if publish else None
    _fetch(branch)
    before = Revision.read(project, base, _resolve(base))
    if overrides and branch is not None and base == f"{ORIGIN}/{branch}":
        raise TextrnnError(
            f"--set on {branch} would change what everybody builds on. Take a branch: `git switch --create NAME`."
        )
    started = time.monotonic()
    try:
        with _laid_over_params([part for each in overrides for part in shlex.split(each)]):
            work, corpus = _run(project, before, jobs, console, publish) if _is_due() else (Work(), None)
    except _Forbidden as refusal:
        _git("checkout", "--quiet", "HEAD", "--", "dvc.lock", may_fail=True)  # it names that corpus by now
        found: CorpusCheck = refusal.args[0]
        keys = ", ".join(f"data_check.{each.key}" for each in found.forbidden)
        problem = f"the study forbids this change of the corpus, and nothing was trained. Fix it, or raise {keys}."
        effort = Effort(Work(), time.monotonic() - started, jobs)
        return Retrained(forbidden(before, found, effort), [problem])
    params = load_study()
    problems = []
    if work.was_due:
        sync()
        problems = [f"{name} failed: {reason}" for name, reason in diverged(params, Path("runs")).items()]
    elif Revision.read(project).runs != before.runs:
        # Nothing had to run, so nothing is here yet to be compared.
        _from_remote(lambda: pull(dvc.call), publish, console)
    results = (*WRITTEN, PARAMS) if overrides else WRITTEN
    commit = _publish(branch, results, work, console) if branch is not None else None
    effort = Effort(work, time.monotonic() - started, jobs)
    with console.status(f"comparing with {base}"):
        return Retrained(report(project, params, before, effort, corpus, _pictures_address(commit)), problems)


def _run(
    project: Path, before: Revision, jobs: int, console: Console, is_remote_needed: bool
) -> tuple[Work, CorpusCheck | None]:
    """Returns what was done, and the check of the corpus, if it is another one than at `before`.

    Raises:
        _Forbidden: the study does not allow training on the corpus.
    """
    from textrnn.tracking.data_check import check
    from textrnn.tracking.failures import readable_mlflow_errors

    found: list[CorpusCheck] = []

    def corpus(revision: Revision) -> object:
        return revision.stages.get("prepare_corpus", {}).get("outs")

    def check_corpus() -> None:
        if corpus(Revision.read(project)) != corpus(before):
            with readable_mlflow_errors():
                found.append(check(project, load_study()))
            if found[0].forbidden:
                raise _Forbidden(found[0])

    has_remote = bool(_from_remote(fetch_run_cache, is_remote_needed, console))
    work = repro(jobs, console, fetch=has_remote, before_training=check_corpus)
    return work, found[0] if found else None


def _from_remote(get: Callable[[], bool | None], is_needed: bool, console: Console) -> bool | None:
    """Calls `get`; a failure is a warning where it is not needed, as for a fork without credentials."""
    try:
        return get()
    except TextrnnError as error:
        if is_needed:
            raise
        console.print(f"warning: {error} Going on with what is here.", markup=False, soft_wrap=True)
        return None


@contextmanager
def _laid_over_params(overrides: Sequence[str]) -> Iterator[None]:
    """Lays `overrides` over params.yaml; takes them back if the block raises."""
    original = Path(PARAMS).read_bytes()
    try:
        if overrides:
            override(PARAMS, overrides)
        yield
    except BaseException:
        if overrides:
            Path(PARAMS).write_bytes(original)
        raise


def _check_clean(own_file: Path | None) -> None:
    """Makes sure that what runs is what git has; results, which the next run replaces, may differ."""
    own = None if own_file is None else own_file.resolve()
    foreign = [
        name
        for name, state in git.changed(Path()).items()
        if name.split("/")[0] not in WRITTEN and not (state == "??" and Path(name).resolve() == own)
    ]
    if foreign:
        more = f" and {len(foreign) - 5} more" if len(foreign) > 5 else ""
        raise TextrnnError(
            f"not committed: {', '.join(foreign[:5])}{more}. What is retrained must be what git has: commit it, or "
            "put it aside with `git stash --include-untracked`."
        )


def _branch() -> str:
    branch = _git("symbolic-ref", "--quiet", "--short", "HEAD", may_fail=True)
    if not branch:
        raise TextrnnError(
            "git is at no branch (HEAD is detached), so there is none to push results to. `git switch BRANCH` first, "
            "or use --no-publish."
        )
    if ORIGIN not in _git("remote").split():
        raise TextrnnError(
            f"git knows no remote {ORIGIN} to push results to. `git remote add {ORIGIN} ADDRESS`, or use --no-publish."
        )
    return branch


def _fetch(branch: str | None) -> None:
    """Fetches `origin`, and makes sure that the branch there is not ahead of this one."""
    if branch is None:
        if ORIGIN in _git("remote").split():
            _git("fetch", "--quiet", ORIGIN, may_fail=True)  # the base that is known here will do
        return
    _git("fetch", "--quiet", ORIGIN)
    theirs = _published(branch)
    if theirs and git.failure(Path(), "merge-base", "--is-ancestor", theirs, "HEAD") is not None:
        raise TextrnnError(f"{ORIGIN}/{branch} has commits that are not here. `git pull` first.")


def _published(branch: str) -> str:
    """Returns the commit of the branch in `origin`; nothing where it is not there."""
    return _git("rev-parse", "--quiet", "--verify", f"refs/remotes/{ORIGIN}/{branch}", may_fail=True)


def _resolve(base: str) -> str:
    commit = _git("rev-parse", "--quiet", "--verify", f"{base}^{{commit}}", may_fail=True)
    if not commit:
        raise TextrnnError(
            f"--base {base!r}: git knows no such revision here. Name a branch such as {ORIGIN}/main, a tag or a "
            "commit; in CI fetch the whole history."
        )
    return commit


def _publish(branch: str, results: Sequence[str], work: Work, console: Console) -> str | None:
    """Pushes data, then the commit that names them. Returns the commit at the branch's head in `origin`.

    Of the working tree only `results` are touched: somebody may have edited other files while this ran.
    """
    start, theirs = _git("rev-parse", "HEAD"), _published(branch)
    has_results = bool(git.changed(Path(), *results))
    if not has_results and start == theirs:
        return theirs
    _push_data(console)
    if has_results:
        _git("add", "--", *results)
        trained = sorted(name.partition("@")[2] for name in work.done if name.startswith(TRAININGS))
        what = f" of {', '.join(trained)}" if 0 < len(trained) <= 5 else ""
        _git("commit", "--quiet", "--message", f"Bring results up to date{what}", "--", *results)
    # Not forced, so it moves the branch only from where it was when this began.
    failure = git.failure(Path(), "push", "--quiet", ORIGIN, f"HEAD:refs/heads/{branch}")
    if failure is None:
        return _git("rev-parse", "HEAD")
    _git("reset", "--quiet", "--keep", start)
    raise TextrnnError(
        f"{ORIGIN} did not take the results to {branch}: {failure}. Nothing there was overwritten, and no training is "
        "lost: it is in DVC's cache. If the branch has moved on, `git pull` and run this again."
    )


def _push_data(console: Console) -> None:
    if default_remote() is None:
        console.print("DVC has no default remote: data and models stay in this machine's cache", highlight=False)
        return
    stages = [name for name, paths in locked_stages().items() if all(Path(path).exists() for path in paths)]
    if stages:
        with console.status("pushing data and models"):
            dvc.call("push", "--quiet", "--run-cache", *stages)


def _pictures_address(commit: str | None) -> str | None:
    """Where GitHub and GitLab, whose CI this runs in, show files of a commit to those who may see the repository."""
    repository = os.environ.get("GITHUB_REPOSITORY")
    if repository is not None:
        site = f"{os.environ.get('GITHUB_SERVER_URL', 'https://github.com')}/{repository}/raw"
    elif "CI_PROJECT_URL" in os.environ:
        site = f"{os.environ['CI_PROJECT_URL']}/-/raw"
    else:
        return None
    return None if commit is None else f"{site}/{commit}/{quote(git.prefix(Path()))}".rstrip("/")


def _is_due() -> bool:
    """Returns whether anything that the study reads has changed; results that are missing here do not count.

    Plans anew for that: only a plan shows which stages a change of params or code concerns.

    Raises:
        TextrnnError: the study is not valid.
    """
    load_params(catalog=load_catalog())
    return dvc.ask("repro", "plan").returncode != 0 or dvc.is_due()
