"""What is logged of uncommitted changes holds no secret, and still applies."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from textrnn.project.secrets import without_secrets

KEY = "-----BEGIN RSA PRIVATE KEY-----"
SECRETS = {
    "params.yaml": "mlflow_password: hunter2hunter2",
    "catalog.yaml": "source: https://me:geheim@example.org/texts.zip",
    "stages/train.py": 'api_key = "abcd1234efgh5678"',
    "src/fetch.py": 'HF_TOKEN = "hf_abcdefghijklmnopqrstuvwxyz12gh"',
    "src/other.py": 'store = connect(url="postgresql://mlflow:geheim@db/mlflow")',
    ".env": "AWS_SECRET_ACCESS_KEY=wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
    "notes.md": "GitHub: ghp_0123456789abcdefghijklmnopqrstuvwxyzAB",
    "key": KEY,
}
HARMLESS = {
    "params.yaml": "max_tokens: 400",
    "catalog.yaml": "sha256: bddf650aa0eb6ebf0ecdc5ce46ef56bf3a37c66f058f7a7e5771cdefa52a76ee",
    "dvc.lock": "    md5: 0fa7bc5c75ad101ca21b627c1be86761",
    "src/client.py": 'password = os.environ["MLFLOW_TRACKING_PASSWORD"]',
    "compose.yaml": "POSTGRES_PASSWORD: ${POSTGRES_PASSWORD}",
}


def git(folder: Path, *arguments: str) -> str:
    return subprocess.run(["git", *arguments], cwd=folder, check=True, capture_output=True, text=True).stdout


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A repository with a file of each name, as yet without what is added."""
    git(tmp_path, "init", "--quiet")
    for name in {**SECRETS, **HARMLESS}:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("first: 1\n")
    git(tmp_path, "add", "--all")
    git(tmp_path, "-c", "user.name=a", "-c", "user.email=a@b", "commit", "--quiet", "--message", "first")
    return tmp_path


@pytest.mark.parametrize("name", SECRETS)
def test_a_file_with_a_secret_is_left_out_and_the_rest_applies(
    name: str, checkout: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for each, line in ({"compose.yaml": HARMLESS["compose.yaml"]} | {name: SECRETS[name]}).items():
        (checkout / each).write_text(f"first: 1\n{line}\n")
    patch = without_secrets(git(checkout, "diff"))
    assert SECRETS[name] not in patch
    assert HARMLESS["compose.yaml"] in patch
    assert patch.startswith(f"Left out, because it seems to hold a secret: {name} (")
    warning = capsys.readouterr().err
    assert f"the uncommitted changes of {name}," in warning and SECRETS[name] not in warning
    git(checkout, "checkout", "--quiet", ".")
    (checkout / "patch").write_text(patch)
    git(checkout, "apply", "patch")
    assert git(checkout, "diff", "--name-only").split() == ["compose.yaml"]


@pytest.mark.parametrize("name", HARMLESS)
def test_what_only_looks_like_one_is_kept(name: str, checkout: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (checkout / name).write_text(f"first: 1\n{HARMLESS[name]}\n")
    patch = git(checkout, "diff")
    assert without_secrets(patch) == patch
    assert capsys.readouterr().err == ""


def test_a_secret_that_was_deleted_is_left_out_too(checkout: Path) -> None:
    (checkout / "key").write_text(f"{KEY}\n")
    git(checkout, "-c", "user.name=a", "-c", "user.email=a@b", "commit", "--all", "--quiet", "--message", "a mistake")
    (checkout / "key").write_text("")
    assert KEY not in without_secrets(git(checkout, "diff"))
