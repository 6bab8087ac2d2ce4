"""Versions trained here, given out as folders that need nothing of Setpoint to be loaded."""

import json
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

import lightgbm
import numpy as np
import polars as pl
import pytest
import yaml
from click.testing import CliRunner
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder
from tests.server.mlflow.test_api import get
from tests.server.web import ask

from setpoint.artifacts.store import open_store
from setpoint.cli.transfer import export
from setpoint.config import settings
from setpoint.db.local import LocalBackend, open_local
from setpoint.models import service
from setpoint.models.build import build
from setpoint.models.entities import ModelVersion
from setpoint.models.frames import columns_of
from setpoint.models.runtime import load
from setpoint.models.service import Register, SetAlias
from setpoint.runs import service as runs
from setpoint.runs.commands import Start
from setpoint.transfer.pyfunc_loader import _load_pyfunc

RNG = np.random.default_rng(3)
NUMBERS = pl.DataFrame({name: RNG.normal(size=300) for name in ("distance", "gusts")})
TEXT = pl.DataFrame({name: RNG.choice(["EWR", "JFK"], 300) for name in ("origin", "dest")})
Y = (NUMBERS["distance"] + NUMBERS["gusts"] > 0).to_numpy().astype(int)
THREE = np.digitize((NUMBERS["distance"] + NUMBERS["gusts"]).to_numpy(), [-1.0, 1.0])


@pytest.fixture
def database_url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path / 'home' / 'setpoint.db'}"


def registered(
    backend: LocalBackend, name: str, model: Any, features: pl.DataFrame, **changes: Any
) -> ModelVersion:
    """Register a model as a training would, and let it be live."""
    stored = build(open_store(backend.settings), model, features, rng=np.random.default_rng(1))
    cmd = Register(
        model=name,
        why="first version",
        **{
            "run_id": f"run of {name}",
            "flavor": stored.flavor,
            "artifact": stored.artifact,
            "onnx": stored.onnx,
            "signature": stored.signature,
            "size": stored.size,
            **changes,
        },
    )
    version = backend.call(service.register, cmd)
    backend.call(
        service.alias, SetAlias(model=name, alias="live", number=version.number, reason="first")
    )
    return version


def light(target: Any = Y) -> Any:
    model = lightgbm.LGBMClassifier(n_estimators=9, n_jobs=1, verbose=-1, random_state=0)
    return model.fit(NUMBERS.to_numpy(), target)


def fetched(url: str, version: ModelVersion, to: Path) -> Path:
    """Fetch the folder of a version as MLflow's client does, file by file."""
    asked = f"name={quote(version.model)}&version={version.number}"
    _, told = get(url, f"model-versions/get-download-uri?{asked}")
    root = urlsplit(told["artifact_uri"]).path.strip("/")
    folders = [root]
    while folders:
        at = folders.pop()
        listed = ask(url, f"/api/2.0/mlflow-artifacts/artifacts?path={at}")
        for each in json.loads(listed.body)["files"]:
            path = f"{at}/{quote(each['path'])}"
            if each["is_dir"]:
                folders.append(path)
                continue
            answer = ask(url, f"/api/2.0/mlflow-artifacts/artifacts/{path}")
            assert len(answer.body) == each["file_size"]
            file = to / path.removeprefix(f"{root}/")
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(answer.body)
    return to


def hard(features: pl.DataFrame) -> pl.DataFrame:
    """Return rows with what models stumble over."""
    return features[:5].with_columns(gusts=np.array([1.0, np.nan, np.inf, -np.inf, 0.0]))


@pytest.mark.parametrize("form", ["onnx", "native", "text", "linear"])
def test_what_is_loaded_elsewhere_scores_as_what_serves_here(
    form: str, backend: LocalBackend, empty: str, tmp_path: Path
) -> None:
    features, model, changes = NUMBERS, light(), {}
    if form == "native":
        changes = {"onnx": None, "size": len(model.booster_.model_to_string())}
    if form == "linear":
        model = LogisticRegression().fit(NUMBERS.to_numpy(), Y)
    if form == "text":
        model = make_pipeline(OneHotEncoder(handle_unknown="ignore"), LogisticRegression())
        features = TEXT
        model.fit(TEXT, Y)
    version = registered(backend, "späte Flüge", model, features, **changes)
    assert (version.onnx is None) == (form == "native")
    folder = fetched(empty, version, tmp_path / "there")
    loaded = _load_pyfunc(str(folder / "data"))
    here = load(open_store(backend.settings), version)
    for rows in (features, features if form == "text" else hard(features)):
        wanted = here.predict(columns_of(rows, version.signature))
        found = loaded.predict({name: rows[name].to_numpy() for name in rows.columns})
        np.testing.assert_allclose(found, wanted, rtol=1e-6)
    about = yaml.safe_load((folder / "MLmodel").read_text())
    assert about["flavors"]["python_function"]["loader_module"] == "setpoint_model"
    named = [each["name"] for each in json.loads(about["signature"]["inputs"])]
    assert named == version.signature.names


@pytest.mark.parametrize("form", ["onnx", "native", "linear"])
def test_probabilities_of_several_classes_are_what_is_given_elsewhere(
    form: str, backend: LocalBackend, empty: str, tmp_path: Path
) -> None:
    model, changes = light(THREE), {}
    if form == "native":
        changes = {"onnx": None, "size": len(model.booster_.model_to_string())}
    if form == "linear":
        model = LogisticRegression().fit(NUMBERS.to_numpy(), THREE)
    version = registered(backend, "three", model, NUMBERS, **changes)
    assert (version.onnx is None) == (form == "native")
    folder = fetched(empty, version, tmp_path / "there")
    loaded = _load_pyfunc(str(folder / "data"))
    here = load(open_store(backend.settings), version)
    for rows in (NUMBERS, hard(NUMBERS)):
        wanted = here.predict(columns_of(rows, version.signature))["probabilities"]
        found = loaded.predict({name: rows[name].to_numpy() for name in rows.columns})
        np.testing.assert_allclose(found, wanted, rtol=1e-6)
    about = yaml.safe_load((folder / "MLmodel").read_text())
    (output,) = json.loads(about["signature"]["outputs"])
    assert (output["name"], output["tensor-spec"]["shape"]) == ("probabilities", [-1, 3])
    assert about["metadata"]["classes"] == [0, 1, 2]


def test_what_only_setpoint_can_load_is_told(backend: LocalBackend, empty: str) -> None:
    model = LogisticRegression().fit(NUMBERS.to_numpy(), Y)
    version = registered(backend, "m", model, NUMBERS, onnx=None)
    status, told = get(empty, "model-versions/get-download-uri?name=m&version=1")
    assert (status, version.flavor) == (400, "sklearn")
    assert "kept as a sklearn pickle" in told["message"]


def test_the_folder_of_a_version_cannot_be_written(backend: LocalBackend, empty: str) -> None:
    registered(backend, "m", light(), NUMBERS)
    path = "/api/2.0/mlflow-artifacts/artifacts/setpoint/m/1/data/model.onnx"
    assert ask(empty, path, method="PUT", body=b"other").status == 400
    assert ask(empty, path.replace("model.onnx", "none")).status == 404
    assert ask(empty, path.replace("/1/", "/2/")).status == 404


def test_it_is_sent_to_a_server_with_the_run_it_is_of(empty: str, tmp_path: Path) -> None:
    home = tmp_path / "there"
    there = open_local(settings(home))
    run = there.call(runs.start, Start(experiment="late", name="trained"))
    version = registered(there, "late", light(), NUMBERS, run_id=run.id)
    command = ["models", "--to", "mlflow", empty, "--home", str(home), "--json"]
    told = [json.loads(CliRunner().invoke(export, command).stdout) for _ in range(2)]
    there.engine.dispose()
    assert [(each["versions"], each["versions_known"]) for each in told] == [(1, 0), (0, 1)]
    assert [(each["runs"], each["left"]) for each in told] == [(1, []), (0, [])]
    _, found = get(empty, "registered-models/alias?name=late&alias=live")
    made = found["model_version"]
    assert {"key": "setpoint.version", "value": "late/1"} in made["tags"]
    folder = fetched(empty, version, tmp_path / "fetched")
    loaded = _load_pyfunc(str(folder / "data"))
    wanted = load(open_store(settings(home)), version).predict(NUMBERS.to_numpy())
    np.testing.assert_allclose(loaded.predict(NUMBERS.to_numpy()), wanted, rtol=1e-6)
