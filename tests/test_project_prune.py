"""What a study no longer declares is removed; what it declares is in the graph's order."""

from __future__ import annotations

import pytest
import yaml
from tiny_project import PARAMS

from textrnn.config.ensemble import Ensemble
from textrnn.config.params import Params, load_params
from textrnn.config.pretraining import Pretraining
from textrnn.config.sections import ExplanationParams
from textrnn.project.prune import prune, prune_lock


@pytest.fixture
def params(tmp_path) -> Params:
    file = tmp_path / "params.yaml"
    file.write_text(PARAMS, encoding="utf-8")
    return load_params(file)


def write_lock(folder, *stages):
    """A dvc.lock in `folder` with `stages` in this order; `train@x` has the output runs/x."""
    entries = {
        name: {"cmd": "run it", "outs": [{"path": f"runs/{name.partition('@')[2] or name}", "md5": "0"}]}
        for name in stages
    }
    lock = folder / "dvc.lock"
    lock.write_text(yaml.safe_dump({"schema": "2.0", "stages": entries}, sort_keys=False), encoding="utf-8")
    return lock


def stages_in(lock):
    return list(yaml.safe_load(lock.read_text(encoding="utf-8"))["stages"])


def test_stages_are_in_the_graphs_order_whenever_they_ran(tmp_path, params):
    ordered = [
        "plan",
        "download_corpus",
        "encode_corpus",
        "download_vectors@random",
        "download_vectors@glove",
        "build_embeddings@random",
        "build_embeddings@glove",
        "baseline@majority",
        "baseline@nb-svm",
        "train@lstm",
        "train@gru",
        "train@mean",
        "probe@lstm",
        "compare",
    ]
    lock = write_lock(tmp_path, *sorted(ordered, reverse=True))
    assert prune_lock(lock, params) == []
    assert stages_in(lock) == ordered


def test_an_explanation_comes_after_all_runs_and_leaves_with_its_declaration(tmp_path, params):
    params.explanations["gru"] = ExplanationParams()
    lock = write_lock(tmp_path, "compare", "explain@gru", "explain@lstm", "probe@lstm", "train@gru")
    for name in ("explain@gru", "explain@lstm", "gru", "probe@lstm"):
        (tmp_path / "runs" / name).mkdir(parents=True)
    assert prune(tmp_path, params) == ["explain@lstm", "runs/explain@lstm"]
    assert stages_in(lock) == ["train@gru", "probe@lstm", "explain@gru", "compare"]
    assert sorted(path.name for path in (tmp_path / "runs").iterdir()) == ["explain@gru", "gru", "probe@lstm"]


def test_a_removed_experiment_leaves_lock_and_runs(tmp_path, params):
    lock = write_lock(tmp_path, "train@lstm", "train@old", "compare")
    for name in ("lstm", "old"):
        (tmp_path / "runs" / name).mkdir(parents=True)
    assert prune_lock(lock, params) == ["train@old"]
    assert stages_in(lock) == ["train@lstm", "compare"]
    assert [path.name for path in (tmp_path / "runs").iterdir()] == ["lstm"]


def test_an_experiment_that_became_a_baseline_keeps_its_folder(tmp_path, params):
    lock = write_lock(tmp_path, "baseline@majority", "train@majority")
    (tmp_path / "runs" / "majority").mkdir(parents=True)
    assert prune_lock(lock, params) == ["train@majority"]
    assert (tmp_path / "runs" / "majority").is_dir()


def test_ensembles_and_students_come_after_what_they_are_made_of(tmp_path, params):
    ensembles = {"b": Ensemble(of=["lstm", "a"]), "a": Ensemble(of=["gru"])}
    taught = params.experiments["mean"].model_copy(update={"teacher": "b"})
    params = params.model_copy(update={"ensembles": ensembles, "experiments": {**params.experiments, "mean": taught}})
    ordered = [
        "train@lstm",
        "train@gru",
        "member@a+gru",
        "ensemble@a",
        "member@b+lstm",
        "member@b+a",
        "ensemble@b",
        "teach@b",
        "student@mean",
        "probe@lstm",
        "compare",
    ]
    lock = write_lock(tmp_path, *sorted([*ordered, "train@mean", "member@b+gru"]))
    assert prune_lock(lock, params) == ["member@b+gru", "train@mean"]
    assert stages_in(lock) == ordered


def test_teaching_comes_after_its_run_whatever_that_is(tmp_path, params):
    taught = params.experiments["mean"].model_copy(update={"teacher": "lstm"})
    again = params.experiments["gru"].model_copy(update={"teacher": "nb-svm"})
    params = params.model_copy(update={"experiments": {**params.experiments, "mean": taught, "gru": again}})
    ordered = ["baseline@nb-svm", "train@lstm", "teach@lstm", "teach@nb-svm", "student@gru", "student@mean", "compare"]
    lock = write_lock(tmp_path, *sorted([*ordered, "teach@gru"]))
    assert prune_lock(lock, params) == ["teach@gru"]
    assert stages_in(lock) == ordered


def test_stages_that_are_none_of_ours_stay(tmp_path, params):
    lock = write_lock(tmp_path, "train@lstm", "compare", "predict@mine")
    assert prune_lock(lock, params) == []
    assert stages_in(lock) == ["train@lstm", "compare", "predict@mine"]


def test_a_correct_lock_is_not_touched(tmp_path, params):
    lock = write_lock(tmp_path, "train@lstm", "train@gru")
    content = "# as DVC wrote it\n" + lock.read_text(encoding="utf-8")
    lock.write_text(content, encoding="utf-8")
    assert prune_lock(lock, params) == []
    assert lock.read_text(encoding="utf-8") == content
    assert prune_lock(tmp_path / "none.lock", params) == []


def test_folders_keep_what_is_declared_and_lose_the_rest(tmp_path, params):
    """Of a killed training too, except where it is declared: another process may be at work on it."""
    write_lock(tmp_path, "train@lstm", "train@old")
    for name in ("runs/lstm", "runs/old", "runs/.old.k1l_ed12", "runs/.gru.k1l_ed12", "runs/probe@gru"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "runs/notes.txt").write_text("mine")
    params.experiments["a.b.12345678"] = params.experiments["lstm"]
    (tmp_path / "runs/a.b.12345678").mkdir()
    assert prune(tmp_path, params) == ["train@old", "runs/.old.k1l_ed12", "runs/notes.txt", "runs/probe@gru"]
    assert sorted(path.name for path in (tmp_path / "runs").iterdir()) == [".gru.k1l_ed12", "a.b.12345678", "lstm"]
    assert prune(tmp_path, params) == []


def test_a_language_model_is_between_embeddings_and_trainings_and_keeps_its_folder(tmp_path, params):
    params.pretraining["lm"] = Pretraining(embedding="glove")
    lock = write_lock(tmp_path, "train@lstm", "pretrain@lm", "pretrain@old", "build_embeddings@glove")
    for name in ("glove", "lm", "old"):
        (tmp_path / "data/embeddings" / name).mkdir(parents=True)
    assert prune(tmp_path, params) == ["pretrain@old", "data/embeddings/old"]
    assert stages_in(lock) == ["build_embeddings@glove", "pretrain@lm", "train@lstm"]
    assert sorted(path.name for path in (tmp_path / "data/embeddings").iterdir()) == ["glove", "lm"]
