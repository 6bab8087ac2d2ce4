"""No name leads out: every address that takes one is given names that try to."""

import json
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from starlette.routing import Mount, Route
from tests.server.web import ask

from setpoint.db.local import LocalBackend
from setpoint.runs import service
from setpoint.runs.commands import Log, Start
from setpoint.server.app import create_app

SECRET = b"what lies beside the store"
JSON = {"content-type": "application/json", "accept": "*/*"}

steps = st.sampled_from(
    ["..", ".", "", "~", "%2e%2e", "%252e%252e", "..;", "C:", "\0", "\\..\\", "é", "a", "secret"]
)
hostile = st.lists(steps, min_size=1, max_size=6).map("/".join) | st.builds(
    "{}{}secret".format, st.sampled_from(["", "/", "a/"]), st.integers(1, 6).map("../".__mul__)
)


@pytest.fixture
def database_url(tmp_path: Path) -> str:
    """SQLite alone: no path reaches the database."""
    return f"sqlite:///{tmp_path / 'home' / 'setpoint.db'}"


@pytest.fixture
def places(backend: LocalBackend) -> list[tuple[str, str]]:
    """Every method and address of the application with a place for a name in it."""
    found = []
    for route in create_app(backend).routes:
        if isinstance(route, Mount):
            found.append(("GET", f"{route.path}/{{path:path}}"))
        elif isinstance(route, Route) and "{" in route.path:
            found += [(method, route.path) for method in route.methods or ()]
    assert len(found) > 50
    return found


def known(backend: LocalBackend) -> dict[str, str]:
    """Return names that are there, for every place but the one that is attacked."""
    run = backend.call(service.start, Start(experiment="p", id="r1"))
    backend.call(service.log, Log(run="r1", tags={"a": "b"}))
    names = {"run": run.id, "entity": "setpoint", "project": "p", "path": "a", "name": "a"}
    return {**names, "experiment": str(run.experiment_id), "md5": "0" * 32, "upload": "0" * 32}


def hide(folder: Path) -> None:
    """Put a file, and a folder with one, where a name that climbs would come."""
    for secret in (folder / "secret", folder / "home" / "secret" / "file"):
        secret.parent.mkdir(parents=True, exist_ok=True)
        secret.write_bytes(SECRET)


def outside(folder: Path) -> dict[Path, bytes]:
    """Return every file but the store's own objects and database."""
    own = {"objects", "uploads"}
    return {
        path: path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and not own & set(path.parts) and not path.name.startswith("setpoint.db")
    }


@given(data=st.data())
@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_no_name_leads_out(
    data: st.DataObject,
    empty: str,
    backend: LocalBackend,
    places: list[tuple[str, str]],
    tmp_path: Path,
) -> None:
    hide(tmp_path)
    before = outside(tmp_path)
    method, place = data.draw(st.sampled_from(places))
    name = data.draw(hostile)
    safe = data.draw(st.sampled_from(["", "/", "/%"]))
    answer = ask(
        empty, _aimed(data, place, name, safe, known(backend)), method=method, **_body(method)
    )
    assert answer.status < 500
    assert SECRET not in answer.body
    assert outside(tmp_path) == before


def _aimed(data: st.DataObject, place: str, name: str, safe: str, names: dict[str, str]) -> str:
    """Return an address with a name in one of its places, quoted more or less."""
    parts = place.split("{")[1:]
    fields = [part.partition("}")[0] for part in parts]
    attacked = data.draw(st.sampled_from(fields))
    for field in fields:
        kind = field.partition(":")
        value = name if field == attacked else names.get(kind[0], "1" if kind[2] else "a")
        place = place.replace(f"{{{field}}}", quote(value, safe=safe))
    return place


def _body(method: str) -> dict[str, Any]:
    return {"body": b"{}", "headers": JSON} if method in {"POST", "PUT"} else {}


def messages(name: str) -> list[tuple[str, str, Any]]:
    """Return every way to give a name in a message or query and not in the address."""
    store = "/api/2.0/mlflow-artifacts"
    part = {"upload_id": "../secret", "parts": [{"part_number": 1}]}
    asked = quote(name, safe="")
    graph = 'mutation($f: [String!]!) {createRunFiles(input: {entityName: "setpoint", '
    graph += 'projectName: "p", runName: "r1", files: $f}) {files {uploadUrl}}}'
    return [
        ("POST", f"{store}/mpu/create", {"path": name}),
        ("POST", f"{store}/mpu/complete", {"path": name, **part}),
        ("POST", f"{store}/mpu/abort", {"path": name, **part}),
        ("GET", f"{store}/artifacts?path={asked}", {}),
        ("GET", f"/api/2.0/mlflow/artifacts/list?run_id=r1&path={asked}", {}),
        ("POST", "/graphql", {"query": graph, "variables": {"f": [name]}}),
        ("POST", "/objects", [name]),
        ("POST", "/api/v1/runs.artifacts", {"run": "r1", "under": name}),
        ("POST", "/api/v1/runs.log", {"run": "r1", "artifacts": {name: {"address": name}}}),
        ("POST", "/api/v1/runs.log", {"run": "r1", "environment": name}),
    ]


@given(name=hostile)
@settings(max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_no_name_in_a_message_leads_out(
    name: str, empty: str, backend: LocalBackend, tmp_path: Path
) -> None:
    known(backend)
    hide(tmp_path)
    before = outside(tmp_path)
    for method, place, message in messages(name):
        body = None if method == "GET" else json.dumps(message).encode()
        answer = ask(empty, place, method=method, body=body, headers=JSON)
        assert answer.status < 500, (place, answer.text)
        assert SECRET not in answer.body
    for page in ("/runs/r1", "/runs"):
        answer = ask(empty, page)
        assert answer.status == 200
        assert SECRET not in answer.body
    assert outside(tmp_path) == before
