"""`dvc repro` with trainings side by side.

DVC runs stages one after the other. But when everything upstream is up to date, several processes
can run `dvc repro --single-item train@x` at once, and `dvc.lock` has the same entries.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path

from rich.console import Console

from textrnn.config.catalog import load_catalog
from textrnn.config.ensemble import write_members
from textrnn.config.params import Params, load_params
from textrnn.config.sections import Resources
from textrnn.errors import TextrnnError
from textrnn.orchestration.cluster import LANES, Cluster
from textrnn.orchestration.folder import UNSYNCED, alone
from textrnn.orchestration.live_view import LiveView
from textrnn.orchestration.schedule import PARALLEL, in_order, relative_cost, run_of
from textrnn.orchestration.supervisor import Stopped, Supervisor
from textrnn.process import JOBS
from textrnn.project import dvc
from textrnn.project.prune import prune, prune_lock
from textrnn.project.remote import DOWNLOAD, lacks_only_downloads, locked_stages, pull, restore

BUSY_SECONDS = 600
"""How long a stage is tried again whose files another DVC process reads or writes."""

UPSTREAM = ("encode_corpus", "rehearse", "build_embeddings")


@dataclass
class Work:
    """What a call of `repro` did.

    Attributes:
        was_due: whether there was anything to do.
        ran: the stages that ran, with the seconds that each took.
        cached: the stages whose outputs came out of DVC's cache instead.
    """

    was_due: bool = False
    ran: dict[str, float] = field(default_factory=dict)
    cached: list[str] = field(default_factory=list)

    @property
    def done(self) -> set[str]:
        """The stages that were due."""
        return {*self.ran, *self.cached}


def repro(
    jobs: int,
    console: Console,
    fetch: bool = False,
    before_training: Callable[[], None] = lambda: None,
    connect: Callable[[], Cluster] | None = None,
) -> Work:
    """Brings the active study up to date in the current folder, with `jobs` trainings at once.

    Args:
        connect: makes a cluster on which trainings run, as many at once as it has room for; without it, they run here.
        fetch: take results from the default remote, if it has them: those of dvc.lock, and those that DVC's run cache
            knows, which is here already. Downloads that nothing needs are not fetched.
        before_training: is called once corpus and embeddings are up to date, if anything was due; it may raise.

    Raises:
        TextrnnError: the study is not valid, another call is at work in this folder, or a stage
            failed (what did not depend on it was run, and the next call resumes).
        Stopped: by a signal. Nothing is half done, and the next call resumes.
    """
    with _working(jobs, console, fetch, connect) as call:
        return call.run(before_training)


def search(name: str, jobs: int, console: Console) -> None:
    """Brings the search `name` and what it reads up to date, with `jobs` trainings at once, and nothing else.

    Raises:
        TextrnnError: the study has no such search; or as `repro`.
        Stopped: as `repro`.
    """
    with _working(jobs, console) as call:
        if name not in call.params.searches:
            known = ", ".join(call.params.searches) or "none: add `searches` to params.yaml, see docs/search.md"
            raise TextrnnError(f"the study has no search {name!r}. Known: {known}.")
        call.search(name)


@contextmanager
def _working(
    jobs: int, console: Console, fetch: bool = False, connect: Callable[[], Cluster] | None = None
) -> Iterator[_Repro]:
    params = load_params(catalog=load_catalog())
    os.environ[JOBS] = str(jobs)
    # The supervisor stops DVC before the pool waits for the threads that run it; Ray sets a handler of its own before.
    with alone():
        write_members(Path(), params.ensembles, params.teachers)  # DVC reads it before any stage runs, on nodes, too
        with (
            connect() if connect else nullcontext() as cluster,
            ThreadPoolExecutor(jobs) as pool,
            Supervisor() as supervisor,
        ):
            try:
                yield _Repro(params, jobs, console, pool, supervisor, fetch, cluster)
            except Stopped:
                console.print("stopping: what runs cleans up and ends. Once more, and it is killed.")
                raise


@dataclass
class _Repro:
    """One call of `repro`: DVC runs in the threads of `pool`, so that a signal finds the main thread waiting.

    With a `cluster`, threads of its own wait for the stages that run there.
    """

    params: Params
    jobs: int
    console: Console
    pool: ThreadPoolExecutor
    supervisor: Supervisor
    fetch: bool
    cluster: Cluster | None = None
    work: Work = field(default_factory=Work)
    failed: dict[str, str] = field(default_factory=dict)

    def run(self, before_training: Callable[[], None]) -> Work:
        pruned = self._prune()
        if self.fetch:
            pull(self._dvc)
        changed = self._changed_stages()
        self.work.was_due = bool(pruned or changed)
        if self.work.was_due:
            UNSYNCED.touch()
        changed = self._bring_upstream_up_to_date(changed)
        before_training()
        side_by_side = [name for name in changed if name.startswith(PARALLEL)]
        if self.fetch and side_by_side:
            restore(side_by_side)
        self._run_side_by_side(side_by_side)
        if self.work.was_due:
            prune_lock(Path("dvc.lock"), self.params)  # orders what ran side by side, or without what comes after it
        if changed:
            self._dvc("repro", *(("--allow-missing",) if self.fetch else ()))
        return self.work

    def _prune(self) -> list[str]:
        pruned = prune(Path(), self.params)
        if pruned:
            self.console.print(f"pruned, because the study does not declare it: {', '.join(pruned)}", highlight=False)
        return pruned

    def search(self, name: str) -> None:
        """Brings one search up to date."""
        self._prune()
        if (stage := f"search@{name}") in self._bring_upstream_up_to_date(self._changed_stages()):
            self._run_chains([[stage]])
            self._check(1)

    def _bring_upstream_up_to_date(self, changed: list[str]) -> list[str]:
        """Runs what comes before searches and trainings, if it is among the `changed` stages; returns those left."""
        if all(name.startswith(PARALLEL) or name == "compare" for name in changed):
            return changed
        started = time.monotonic()
        models = [f"pretrain@{name}" for name in self.params.pretraining]
        stages = (*UPSTREAM, *(() if self.cluster else models))
        self._dvc("repro", *(("--pull", "--allow-missing") if self.fetch else ()), *stages)
        seconds = time.monotonic() - started
        self.console.print(f"corpus, tokens and embeddings are up to date after {seconds:.0f} s")
        changed = self._changed_stages()
        if self.cluster:
            self._run_chains([[stage] for stage in models if stage in changed])
            self._check(len(models))
            changed = self._changed_stages()
        return changed

    def _changed_stages(self) -> list[str]:
        """Names of the stages that would run, in the graph's order, as far as `dvc status` can tell now."""
        changes = json.loads("\n".join(self._dvc("status", "--json")))
        return [name for name in changes if not (self.fetch and lacks_only_downloads(changes[name]))]

    def _dvc(self, *arguments: str) -> list[str]:
        """Runs DVC; returns its output. Its stages' progress and all errors are printed to standard error."""
        lines: list[str] = []
        if self.pool.submit(self._listen, arguments, lines.append).result() != 0:
            raise dvc.failure(*arguments)
        return lines

    def _listen(self, arguments: tuple[str, ...], on_line: Callable[[str], None], merge_errors: bool = False) -> int:
        """Runs DVC, notes which stages it runs, and returns its exit status."""
        started: dict[str, float] = {}

        def note(line: str) -> None:
            run, cached = dvc.RUNS.match(line), dvc.CACHED.match(line)
            if run or cached:
                end()
            if run:
                started[run[1]] = time.monotonic()
            elif cached:
                self.work.cached.append(cached[1])
            on_line(line)

        def end() -> None:
            self.work.ran.update({stage: time.monotonic() - since for stage, since in started.items()})
            started.clear()

        status = self.supervisor.run(*arguments, on_line=note, merge_errors=merge_errors)
        end()
        return status

    def _run_side_by_side(self, stages: list[str]) -> None:
        """Runs each stage by itself, `jobs` at once, and those of the same run one after the other.

        Before them it runs the searches, which here use all jobs, so one after the other; a cluster shares itself out.
        Runs that are made of others wait for all that are not; one that is made of what failed does not run.
        """
        ordered = in_order(stages, self.params)
        searches = [[stage] for stage in ordered if stage.startswith("search@") and not self.cluster]
        chains: dict[str, list[str]] = {}
        for stage in ordered:
            if [stage] not in searches:
                chains.setdefault(run_of(stage), []).append(stage)
        self._run_chains(searches)
        lost = set(map(run_of, self.failed))
        for level in sorted(set(map(self.params.level, chains))):
            lost |= {run for run in chains if lost.intersection(self.params.made_of(run))}
            here = [run for run in chains if self.params.level(run) == level and run not in lost]
            self._run_chains([chains[run] for run in here], self.jobs)
            lost |= set(map(run_of, self.failed))
        self._check(len(ordered))

    def _run_chains(self, chains: list[list[str]], jobs: int = 1) -> None:
        """Runs the stages of each chain one after the other; what fails is in `failed`.

        `jobs` chains run at once, or on a cluster as many as it has room for.
        """
        work = {stage: relative_cost(stage, self.params) for chain in chains for stage in chain}
        if not work:
            return
        # The longest first: at the end no core waits for one that started late.
        order = sorted(chains, key=lambda chain: -sum(work[stage] for stage in chain))
        pool, lanes = self.pool, jobs
        if self.cluster:
            pool, jobs, lanes = self.cluster.pool, self.cluster.cpus, LANES
            self._push()
        with LiveView(work, self.params.seeds, jobs, self.console) as view:
            running: set[Future[None]] = set()
            for chain in order:
                if len(running) == lanes:
                    running = self._wait(running)
                running.add(pool.submit(self._run_chain, chain, view))
            while running:
                running = self._wait(running)
        self.failed |= view.failed

    def _push(self) -> None:
        """Gives the default remote what is here and not there yet: a node gets its inputs from there."""
        stages = [stage for stage in locked_stages() if not stage.startswith(DOWNLOAD) and stage != "compare"]
        self._dvc("push", "--quiet", *stages)

    @staticmethod
    def _wait(running: set[Future[None]]) -> set[Future[None]]:
        done, others = wait(running, return_when=FIRST_COMPLETED)
        for future in done:
            future.result()
        return others

    def _check(self, total: int) -> None:
        if self.failed:
            is_killed = any(map(dvc.KILLED.search, self.failed.values()))
            raise TextrnnError(
                f"{len(self.failed)} of {total} stages failed:\n"
                + "\n".join(f"  {name}: {reason}" for name, reason in self.failed.items())
                + ("\nMemory ran out, or somebody killed it: make room, or give fewer --jobs." if is_killed else "")
                + "\nWhat succeeded is kept: fix the cause and run this again."
            )

    def _run_chain(self, stages: list[str], view: LiveView) -> None:
        """Runs one stage after the other, up to the first that fails."""
        for stage in stages:
            view.begin(stage)
            status, lines = self._run_one(stage, view)
            warnings = [line for line in lines if line.startswith("warning: ")]
            view.end(stage, None if status == 0 else "\n    ".join(lines[-6:]), warnings)
            if status != 0:
                return

    def _run_one(self, stage: str, view: LiveView) -> tuple[int, list[str]]:
        """Returns the exit status of a stage, and the lines that it printed.

        What ran on a cluster is in the run cache: the same command, run here afterwards, restores it. A search runs
        here: it has its trainings done on the cluster, and nodes find what it found at the default remote.
        """
        if self.cluster and stage.startswith("search@"):
            status, lines = self._run_here(stage, view, "--pull")
            push = "push", "--quiet", "--run-cache", stage
            return status or self._listen(push, lines.append, merge_errors=True), lines
        if self.cluster:
            began = time.monotonic()
            resources = (
                Resources() if stage.startswith("teach@") else self.params.resources.get(run_of(stage), Resources())
            )
            status, lines = self.cluster.run(stage, resources, lambda line: view.line(stage, line))
            if status == 0:
                status, more = self.pool.submit(self._run_here, stage, view, "--pull").result()
                lines += more
            if any(map(dvc.RUNS.match, lines)):
                self.work.cached = [each for each in self.work.cached if each != stage]
                self.work.ran[stage] = time.monotonic() - began
            return status, lines
        return self._run_here(stage, view)

    def _run_here(self, stage: str, view: LiveView, *options: str) -> tuple[int, list[str]]:
        give_up = time.monotonic() + BUSY_SECONDS
        while True:
            lines: list[str] = []

            def on_line(line: str, lines: list[str] = lines) -> None:
                if line.strip():
                    lines.append(line)
                view.line(stage, line)

            status = self._listen(("repro", *options, "--single-item", stage), on_line, merge_errors=True)
            is_busy = status != 0 and any(dvc.BUSY.search(line) for line in lines)
            if not is_busy or time.monotonic() > give_up:
                return status, lines
            time.sleep(1)


def diverged(params: Params, runs: Path) -> dict[str, str]:
    """Returns why, by experiment or ensemble, for those of which at least one seed failed."""
    from textrnn.run_folder import RunFolder

    folders = [RunFolder.load(runs / name) for name in (*params.experiments, *params.ensembles)]
    return {folder.name: folder.failure for folder in folders if folder.failure is not None}
