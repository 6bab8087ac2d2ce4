"""MLflow's own client, unchanged, against a server of ours; call by call and story by story."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from sklearn.linear_model import LogisticRegression
from tests.compat import matrix
from tests.compat.conftest import Called, Running, client, lines, running, stories
from tests.compat.environments import needed
from tests.server.mlflow.test_trained import NUMBERS, Y, light, registered
from tests.server.web import ask

from setpoint.artifacts.store import open_store
from setpoint.models.runtime import load

HERE = Path(__file__).parent
_NAMES = re.compile(r"^def (\w+)\(client: MlflowClient, name: str\)", re.MULTILINE)
SCRIPTS = {
    script: [name for name in _NAMES.findall((HERE / script).read_text()) if name[0] != "_"]
    for script in ("mlflow_journeys.py", "mlflow_registry_journeys.py")
}
JOURNEYS = [name for names in SCRIPTS.values() for name in names]
#: Those that train with a library: what they add is no matter of the database.
TRAINING = {name for name in JOURNEYS if re.search("by_itself|a_model_is|registered", name)}

#: Families of calls of which every one is answered.
WHOLE = (
    "/api/2.0/mlflow/experiments/",
    "/api/2.0/mlflow/runs/",
    "/api/2.0/mlflow/metrics/",
    "/api/2.0/mlflow/artifacts/",
    "/api/2.0/mlflow/logged-models",
    "/api/2.0/mlflow/registered-models/",
    "/api/2.0/mlflow/model-versions/",
    "/api/2.0/mlflow/webhooks",
    "/api/2.0/mlflow-artifacts/",
)


def _told(server: Running, names: list[str]) -> dict[str, dict[str, Any]]:
    told = {}
    for script, known in SCRIPTS.items():
        wanted = [name for name in names if name in known]
        told.update(stories(client("mlflow", HERE / script, server.url, *wanted)))
    return told


@pytest.fixture(scope="module")
def endpoints() -> list[dict[str, str]]:
    output = client("mlflow", HERE / "mlflow_endpoints.py")
    found: list[dict[str, str]] = lines(output, "endpoints")[0]["endpoints"]
    return found


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    needed("mlflow")
    home = tmp_path_factory.mktemp("mlflow")
    with running(home, f"sqlite:///{home / 'setpoint.db'}") as started:
        yield started


@pytest.fixture(scope="module")
def told(server: Running) -> dict[str, dict[str, Any]]:
    return _told(server, JOURNEYS)


@pytest.fixture(scope="module")
def told_on_postgresql(
    postgres: Any, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, dict[str, Any]]:
    needed("mlflow")
    with psycopg.connect(postgres.get_uri(), autocommit=True) as connection:
        connection.execute("CREATE DATABASE mlflow_journeys")
    url = postgres.get_uri(database="mlflow_journeys")
    with running(tmp_path_factory.mktemp("mlflow"), url) as started:
        return _told(started, [name for name in JOURNEYS if name not in TRAINING])


@pytest.mark.slow
@pytest.mark.parametrize("name", JOURNEYS)
def test_the_real_client_gets_through(name: str, told: dict[str, dict[str, Any]]) -> None:
    assert not told[name]["error"], told[name]["error"]


@pytest.mark.long
@pytest.mark.postgres
@pytest.mark.parametrize("name", [name for name in JOURNEYS if name not in TRAINING])
def test_the_real_client_gets_through_on_postgresql(
    name: str, told_on_postgresql: dict[str, dict[str, Any]]
) -> None:
    assert not told_on_postgresql[name]["error"], told_on_postgresql[name]["error"]


@pytest.mark.slow
def test_the_guide_works_as_written(server: Running, tmp_path: Path) -> None:
    page = (HERE.parents[1] / "docs" / "how-to" / "mlflow.md").read_text(encoding="utf-8")
    blocks = re.findall(r"^```python client=mlflow\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    assert len(blocks) == 2
    for index, block in enumerate(blocks):
        script = tmp_path / f"block_{index}.py"
        script.write_text(f"import mlflow\nmlflow.set_tracking_uri({server.url!r})\n{block}")
        assert client("mlflow", script)


@pytest.mark.slow
def test_versions_trained_here_are_loaded(server: Running) -> None:
    backend = server.backend
    version = registered(backend, "late flights", light(), NUMBERS)
    linear = LogisticRegression().fit(NUMBERS.to_numpy(), Y)
    registered(backend, "pickled", linear, NUMBERS, onnx=None)
    rows = NUMBERS[:20]
    uris = ["models:/late flights@live", "models:/late flights/1", "models:/pickled@live"]
    told = json.dumps(rows.to_dict(as_series=False))
    script = HERE / "mlflow_trained_journeys.py"
    *loaded, refused = lines(client("mlflow", script, server.url, told, *uris), "loaded")
    wanted = load(open_store(backend.settings), version).predict(rows.to_numpy())
    for each in loaded:
        assert each["scores"] == pytest.approx(wanted.tolist())
        assert each["inputs"] == ["distance", "gusts"]
    assert "kept as a sklearn pickle" in refused["error"]


def test_every_call_of_the_families_we_offer_is_answered(
    server: Running, endpoints: list[dict[str, str]]
) -> None:
    ours = [each for each in endpoints if each["path"].startswith(WHOLE)]
    assert len(ours) > 40
    assert [each for each in ours if not _answered(server, each)] == []


def test_a_call_we_do_not_offer_is_refused_in_terms_the_client_knows(server: Running) -> None:
    answer = ask(server.url, "/api/3.0/mlflow/gateway/endpoints/list")
    assert answer.status == 404
    assert b"ENDPOINT_NOT_FOUND" in answer.body


@pytest.mark.slow
def test_what_was_seen_is_kept_for_the_matrix(
    server: Running, endpoints: list[dict[str, str]], told: dict[str, dict[str, Any]]
) -> None:
    calls = [call for call in server.recorder.calls if call.status < 300]
    rows = [
        {
            "version": each["version"],
            "call": each["call"],
            "where": f"{each['method']} {each['path'].replace('<path:artifact_path>', '{path}')}",
            "answered": _answered(server, each),
            "passed": any(_is(each, call) for call in calls),
        }
        for each in endpoints
    ]
    matrix.keep("mlflow", rows)
    used = {row["call"] for row in rows if row["passed"]}
    assert {"createRun", "logBatch", "searchRuns", "uploadArtifact", "createLoggedModel"} <= used


def _answered(server: Running, endpoint: dict[str, str]) -> bool:
    path = re.sub(r"[{<][^}>]*[}>]", "x", endpoint["path"])
    kind = {"content-type": "application/json"}
    body = b"" if endpoint["method"] in {"GET", "DELETE"} else b"{}"
    answer = ask(server.url, path, method=endpoint["method"], body=body, headers=kind)
    return b"ENDPOINT_NOT_FOUND" not in answer.body and answer.status != 405


def _is(endpoint: dict[str, str], call: Called) -> bool:
    pattern = re.sub(r"<[^>]*>", ".+", re.sub(r"{[^}]*}", "[^/]+", endpoint["path"]))
    return endpoint["method"] == call.method and re.fullmatch(pattern, call.path) is not None
