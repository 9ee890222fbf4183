"""What the link of `make ui` shows, in a real browser: the default study, as the committed report has it.

With TEXTRNN_PICTURES=docs/images in the environment it takes the pictures of docs/mlflow.md.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import pandas as pd
import pytest
from fake_runs import make_run
from mlflow_site import free_port
from selenium.common.exceptions import WebDriverException
from selenium.webdriver import Chrome
from tiny_project import PROJECT
from web_browser import needs_browser, open_browser

from textrnn.config.params import Params, load_params
from textrnn.project.dvc_lock import hashes
from textrnn.project.origin import Origin
from textrnn.report.summary import si
from textrnn.tracking import view
from textrnn.tracking.answer import find_report, show
from textrnn.tracking.record import TrackedRun
from textrnn.tracking.source import read_record
from textrnn.tracking.store import open_store

pytestmark = [needs_browser, pytest.mark.long]

PATIENCE = 120
WIDTH, HEIGHT = 1640, 900
Found = TypeVar("Found")

ROWS = r"""
const rows = {};
for (const cell of document.querySelectorAll('.ag-row [role=gridcell]')) {
    const row = cell.closest('.ag-row').getAttribute('row-index');
    (rows[row] ??= {})[cell.getAttribute('col-id')] = cell.innerText.trim().split('\n').pop();
}
return rows;
"""
HEADERS = """
const heads = [...document.querySelectorAll('.ag-header-cell')];
heads.sort((one, other) => one.getBoundingClientRect().x - other.getBoundingClientRect().x);
return heads.map(head => head.getAttribute('col-id'));
"""


@dataclass
class Site:
    """The default study in MLflow, and the link that `textrnn ui` says."""

    board: pd.DataFrame
    link: str
    browser: Chrome

    def wait(self, look: Callable[[], Found]) -> Found:
        """Returns what `look` finds as soon as it is something."""
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            try:
                if found := look():
                    return found
            except WebDriverException:  # the page is being drawn
                pass
            time.sleep(0.5)
        raise AssertionError(self.browser.find_element("tag name", "body").text[:3000])

    def text(self) -> str:
        return self.browser.find_element("tag name", "body").text

    def picture(self, name: str) -> None:
        if folder := os.environ.get("TEXTRNN_PICTURES"):
            time.sleep(3)  # what fades in
            (PROJECT / folder / name).write_bytes(self.browser.get_screenshot_as_png())


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("default study")
    with pytest.MonkeyPatch.context() as patch:
        for name in ("MLFLOW_TRACKING_URI", "DVC_EXP_NAME", "DVC_ROOT", "DISPLAY"):
            patch.delenv(name, raising=False)
        patch.chdir(folder)
        for name in ("params.yaml", "catalog.yaml", "dvc.lock"):
            shutil.copy(PROJECT / name, folder)
        params = load_params(folder / "params.yaml")
        shutil.copytree(PROJECT / "reports" / params.study, folder / "reports" / params.study)
        board = record(folder, params)
        port = free_port()
        command = [sys.executable, "-m", "textrnn", "ui", "--port", str(port)]
        server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, start_new_session=True)
        assert server.stdout is not None
        try:
            said = server.stdout.readline()
            link = re.search(r"http://\S+", said)
            assert link, said
            with open_browser() as browser:
                size = {"width": WIDTH, "height": HEIGHT, "deviceScaleFactor": 1, "mobile": False}
                browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
                # Else MLflow's assistant opens over the page at the first visit.
                seen = "localStorage.setItem('mlflow.assistant.fab.autoOpenedOnFirstLoad_v1', 'true')"
                browser.execute_cdp_cmd("Page.addScriptToEvaluateOnNewDocument", {"source": seen})
                site = Site(board, link.group(), browser)
                site.wait(lambda: browser.get(f"http://127.0.0.1:{port}/health") is None)
                yield site
        finally:
            os.killpg(server.pid, signal.SIGTERM)
            server.wait(60)
            server.stdout.close()


def record(folder: Path, params: Params) -> pd.DataFrame:
    """Records every run of the report as `sync` does, without its seeds; returns the report's leaderboard."""
    report = folder / "reports" / params.study
    board = pd.read_csv(report / "leaderboard.csv", keep_default_na=False, na_values=[""])
    curves = pd.read_csv(report / "learning_curves.csv")
    store = open_store(folder, f"{params.study}/{params.corpus}")
    shown = {}
    for row in board.to_dict("records"):
        name, kind = row["experiment"], row["kind"]
        settings = {**params.experiments, **params.baselines}[name].model_dump(exclude_none=True)
        own = curves[curves["experiment"] == name].drop(columns="experiment")
        given = {"kind": kind, "params": settings, "seeds": params.seeds if len(own) else [0]}
        run = make_run(folder / "runs", name, history=own.to_dict("records"), **given)
        folders = [Path("data/tokens"), *([Path("data/embeddings", str(row["embedding"]))] if len(own) else [])]
        mark = hashlib.sha256(name.encode()).hexdigest()
        tracked = TrackedRun(
            study=params.study,
            corpus=params.corpus,
            name=name,
            kind=kind,
            stage=f"train@{name}",
            params=settings,
            fingerprint=mark,
            datasets=hashes(folder / "dvc.lock", folders),
            defaults=params.train,
        )
        parent = store.open(tracked, Origin(mark[:40]))
        scores = {
            f"{score}_{of}": row[score if of == "mean" else f"{score}_{of}"]
            for score in ("valid_accuracy", "test_accuracy")
            for of in ("mean", "std")
        }
        costs = {cost: row[cost] for cost in ("parameters", "training_flops")}
        store.close(parent, [(0, {key: value for key, value in {**scores, **costs}.items() if value == value})])
        shown[name] = run, store.client.get_run(parent)
    source = find_report(folder, params, shown)
    assert source is not None, "reports/ is not of params.yaml: make repro"
    source.complete(store, read_record(store, source.create(store, [])))
    show(store, params, shown, source)
    return board


def test_the_link_opens_on_the_leaderboard(site: Site) -> None:
    site.browser.get(site.link)
    rows = site.wait(lambda: site.browser.execute_script(ROWS) if "matching runs" in site.text() else None)

    assert f"{len(site.board) + 1} matching runs" in site.text()
    columns = [*view.FIRST, *view.COLUMNS, *view.LAST]
    assert [head for head in site.browser.execute_script(HEADERS) if head in columns] == columns
    names = [rows[str(index)]["attributes.`Run Name`"] for index in range(10)]
    ranked = site.board.sort_values("valid_accuracy", ascending=False)
    assert names == ["report", *ranked["experiment"][:9]]
    for index, row in enumerate(ranked.head(5).to_dict("records"), start=1):
        shown = rows[str(index)]
        spread = f"{100 * row['valid_accuracy']:.1f} ± {100 * row['valid_accuracy_std']:.1f}"
        assert shown["tags.`validation`"] == spread
        assert shown["tags.`test_interval`"] == f"{100 * row['test_low']:.1f} to {100 * row['test_high']:.1f}"
        assert shown["tags.`against_nb_svm`"] == row["against_nb_svm"]
        assert shown["tags.`size`"] == si(row["parameters"])
        assert shown["tags.`embedding`"] == row["embedding"]


def test_it_is_the_view_for_model_training_and_says_the_answer(site: Site) -> None:
    assert "Prompts" not in site.text()
    assert "Model registry" in site.text()
    assert "No experiment beats NB-SVM" in site.text()
    first = site.board.iloc[0]
    score = f"{100 * first['test_accuracy']:.1f} ± {100 * first['test_accuracy_std']:.1f}"
    assert f"First: {first['experiment']}, {score} %. Report: the run report" in site.text()
    site.picture("mlflow.png")


def test_its_charts_show_intervals_cost_and_loss(site: Site) -> None:
    site.browser.get(f"{site.link}&compareRunsMode=CHART")
    state = json.loads(json.loads(view.envelope())["state"])
    titles = [section["name"] for section in state["compareRunSections"]]
    site.wait(lambda: all(title in site.text() for title in titles))
    height = {"width": WIDTH, "height": 2000, "deviceScaleFactor": 1, "mobile": False}
    site.browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", height)
    drawn = "return [...document.querySelectorAll('.js-plotly-plot')].map(plot => plot.data.map(trace => trace.uuid))"
    plots = site.wait(lambda: len(found := site.browser.execute_script(drawn)) == 4 and found)
    trained = int((site.board["kind"] == "experiment").sum())
    picture = "return [...document.querySelectorAll('img[src*=\"images\"]')].map(image => image.naturalWidth)"
    site.wait(lambda: any(site.browser.execute_script(picture)))
    site.picture("mlflow-charts.png")
    assert [len(set(lines)) for lines in plots[2:]] == [trained, trained]


def test_a_run_says_what_it_is_and_of_what_data(site: Site) -> None:
    site.browser.get(site.link)
    first = site.board["experiment"][0]
    page = site.wait(lambda: site.browser.find_element("link text", first).get_attribute("href"))
    size = {"width": WIDTH, "height": 1300, "deviceScaleFactor": 1, "mobile": False}
    site.browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    site.browser.get(f"{page}?workflowType=machine_learning")  # else it opens as for language models
    site.wait(lambda: "Starts from the embedding" in site.text() and "data/tokens" in site.text())
    assert "valid_accuracy_mean" in site.text()
    assert "Evaluation runs" not in site.text()
    site.picture("mlflow-run.png")


def test_the_report_is_read_in_mlflows_viewer(site: Site) -> None:
    site.browser.get(site.link)
    link = site.wait(lambda: site.browser.find_element("link text", "report").get_attribute("href"))
    site.browser.get(f"{link}/artifacts/index.html")
    frame = site.wait(lambda: site.browser.find_element("css selector", "iframe"))
    site.browser.switch_to.frame(frame)
    try:
        assert "Which model, and is it really better?" in site.wait(site.text)
    finally:
        site.browser.switch_to.default_content()
    site.browser.get(f"{link}/artifacts/comparisons.csv")
    site.browser.refresh()  # MLflow does not follow the address to another file
    site.wait(lambda: "Previewing the first" in site.text() and "nb-svm" in site.text())
