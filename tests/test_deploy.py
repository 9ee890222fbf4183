"""MLflow for a team as `deploy/compose.yaml` wires it, here from packages: PostgreSQL, an S3 server, and the server.

`pytest tests/test_deploy.py -n 0 -s` prints how long the calls of eight clients take.
"""

from __future__ import annotations

import json
import os
import re
import statistics
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
import requests
import yaml
from mlflow import MlflowClient
from mlflow.entities import ViewType
from mlflow_site import free_port, postgresql, stop, wait_for
from moto.server import ThreadedMotoServer
from tiny_project import PROJECT

COMPOSE = PROJECT / "deploy" / "compose.yaml"
SECRETS = {
    "POSTGRES_PASSWORD": "postgres-secret",
    "S3_SECRET_KEY": "objects-secret",
    "MLFLOW_ADMIN_PASSWORD": "correct horse battery",
    "MLFLOW_SECRET": "cookie-secret",
}
CLIENTS, RUNS, EPOCHS = 8, 50, 20


def services(**variables: str) -> dict[str, Any]:
    """The compose file with its variables replaced, as `docker compose config` does it."""
    text = COMPOSE.read_text(encoding="utf-8")

    def value(match: re.Match[str]) -> str:
        name, kind, rest = match.groups()
        if kind == ":?" and name not in variables:
            raise KeyError(name)
        return variables.get(name, rest)

    text = re.sub(r"\$\{(\w+)(:[?-])([^}]*)\}", value, text).replace("$$", "$")
    return dict(yaml.safe_load(text))


def test_the_compose_file_is_valid_and_holds_no_secret() -> None:
    check = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec", str(COMPOSE)]
    done = subprocess.run(check, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout
    for missing in SECRETS:
        with pytest.raises(KeyError, match=missing):
            services(**{name: secret for name, secret in SECRETS.items() if name != missing})
    assert all(
        "healthcheck" in service for name, service in services(**SECRETS)["services"].items() if name != "bucket"
    )


def test_the_image_has_what_the_lock_file_pins() -> None:
    image = (PROJECT / "deploy" / "mlflow.Dockerfile").read_text(encoding="utf-8")
    packages = re.search(r"--constraints /requirements.lock (.+)", image)
    assert packages
    pinned = set(re.findall(r"^([\w.-]+)==", (PROJECT / "requirements.lock").read_text(encoding="utf-8"), re.MULTILINE))
    assert {re.sub(r"\[.*", "", name.strip('"')) for name in packages[1].split()} <= pinned


@pytest.fixture(scope="module")
def team(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """The compose file's services, their commands unchanged except for addresses; yields a client's variables."""
    folder = tmp_path_factory.mktemp("team")
    port = free_port()
    objects = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    objects.start()
    server = None
    with postgresql() as database:
        try:
            host, s3 = objects.get_host_and_port()
            wired = services(**SECRETS)
            text = json.dumps(wired)
            text = text.replace(
                f"postgresql+psycopg2://mlflow:{SECRETS['POSTGRES_PASSWORD']}@postgres:5432/mlflow", database
            )
            text = text.replace("http://objects:9000", f"http://{host}:{s3}").replace("/auth.ini", f"{folder}/auth.ini")
            text = text.replace("5000", str(port)).replace("0.0.0.0", "127.0.0.1")
            wired = json.loads(text.replace("localhost", "127.0.0.1"))
            (folder / "auth.ini").write_text(wired["configs"]["auth"]["content"], encoding="utf-8")
            path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
            for name in ("bucket", "bucket", "mlflow"):  # a bucket that exists is left alone
                service = wired["services"][name]
                with (folder / f"{name}.log").open("wb") as log:
                    server = subprocess.Popen(
                        service["command"],
                        cwd=folder,
                        env={**os.environ, "PATH": path, **service["environment"]},
                        stdout=log,
                        stderr=log,
                        start_new_session=True,
                    )
                if name == "bucket":
                    assert server.wait(60) == 0, (folder / "bucket.log").read_text()
            assert server is not None
            address = f"http://127.0.0.1:{port}"
            wait_for(f"{address}/health", server, folder / "mlflow.log")
            subprocess.run(wired["services"]["mlflow"]["healthcheck"]["test"][1:], check=True, env={"PATH": path})
            yield {
                "MLFLOW_TRACKING_URI": address,
                "MLFLOW_TRACKING_USERNAME": "admin",
                "MLFLOW_TRACKING_PASSWORD": SECRETS["MLFLOW_ADMIN_PASSWORD"],
                "S3": f"http://{host}:{s3}",
            }
        finally:
            if server is not None:
                stop(server)
            objects.stop()


@pytest.mark.long
def test_eight_clients_log_fifty_runs_at_once(
    team: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shares = [RUNS // CLIENTS + (client < RUNS % CLIENTS) for client in range(CLIENTS)]
    program = Path(__file__).with_name("log_runs.py")
    clients = [
        subprocess.Popen(
            [sys.executable, program, f"client {client}", str(runs), str(EPOCHS)],
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": str(PROJECT / "src"), **team},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for client, runs in enumerate(shares)
    ]
    calls = []
    for client in clients:
        printed, errors = client.communicate(timeout=600)
        assert client.returncode == 0, errors
        assert errors == ""
        calls += json.loads(printed)
    assert len(calls) == RUNS * (EPOCHS + 3)
    p50, p95 = statistics.median(calls), statistics.quantiles(calls, n=20)[-1]
    print(f"{CLIENTS} clients, {RUNS} runs, {len(calls)} calls: p50 {1000 * p50:.0f} ms, p95 {1000 * p95:.0f} ms")

    for name, value in team.items():
        monkeypatch.setenv(name, value)
    store = MlflowClient(team["MLFLOW_TRACKING_URI"])
    experiment = store.get_experiment_by_name("load/test")
    runs = store.search_runs([experiment.experiment_id], run_view_type=ViewType.ALL, max_results=1000)
    expected = {f"client {client} {run}" for client, share in enumerate(shares) for run in range(share)}
    assert Counter(run.info.run_name for run in runs) == Counter(expected)
    assert {run.info.status for run in runs} == {"FINISHED"}
    for run in runs:
        points = store.get_metric_history(run.info.run_id, "metric_3")
        assert [(point.step, point.value) for point in points] == [(step, step + 0.3) for step in range(1, EPOCHS + 1)]
    keys = boto3.client(
        "s3", endpoint_url=team["S3"], region_name="us-east-1", aws_access_key_id="mlflow", aws_secret_access_key="any"
    )
    stored = [each["Key"] for each in keys.list_objects_v2(Bucket="mlflow")["Contents"]]
    assert sorted(stored) == sorted(
        f"{experiment.experiment_id}/{run.info.run_id}/artifacts/history.csv" for run in runs
    )


@pytest.mark.long
def test_nobody_gets_in_without_a_password_or_by_another_name(team: dict[str, str]) -> None:
    search = f"{team['MLFLOW_TRACKING_URI']}/api/2.0/mlflow/experiments/search?max_results=5"
    assert requests.get(search, timeout=30).status_code == 401
    user = (team["MLFLOW_TRACKING_USERNAME"], team["MLFLOW_TRACKING_PASSWORD"])
    assert requests.get(search, auth=user, timeout=30).status_code == 200
    assert requests.get(search, auth=user, headers={"Host": "evil.example"}, timeout=30).status_code == 403
