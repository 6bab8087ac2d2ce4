"""What a contract or the spec calls personal is used for answers, and never written down."""

import asyncio
import json
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from tests.control import made
from tests.control.made import CONTRACT, MODEL
from tests.monitor import windows

from setpoint.control import applying
from setpoint.control.consequences import consequences
from setpoint.control.controller import Controller
from setpoint.control.follow import Follower
from setpoint.control.inforce import spec_of
from setpoint.control.plan import ModelPlan
from setpoint.control.policies import watching
from setpoint.control.project import Project
from setpoint.control.store import need
from setpoint.core.clock import SystemClock
from setpoint.db.local import LocalBackend
from setpoint.monitor.data_quality import DataQualityPolicy, begin, update
from setpoint.monitor.drift import aligned
from setpoint.serve import store as serving
from setpoint.serve.app import App
from setpoint.serve.entities import EndpointSettings, Position
from setpoint.serve.following import Endpoints
from setpoint.serve.log import LogWriter
from setpoint.serve.metrics import Metrics
from setpoint.serve.registered import Registered, from_store
from setpoint.serve.seal import seal

MARKED = CONTRACT.replace("{name: b, ", "{name: b, classification: PII, ")
SECRET = 41.1234567890123


def settings_of(home: LocalBackend) -> EndpointSettings:
    with home.reading() as conn:
        return serving.settings_of(conn, MODEL)


def told(planned: ModelPlan) -> list[tuple[str, str, str]]:
    return [(change.path, change.before, change.after) for change in planned.changes]


def mark(project: Project, folder: Path) -> Project:
    (folder / "rows.odcs.yaml").write_text(MARKED)
    return project


def answer(home: LocalBackend, *rows: tuple[float, float]) -> None:
    """Have the inference server of a store answer rows, and end."""

    async def ask(source: Registered) -> None:
        endpoints = Endpoints(source, Metrics())
        endpoints.refresh()
        writer = LogWriter(home.settings.log, segment_bytes=4096)
        app = App(endpoints, writer, endpoints.metrics, SystemClock())
        for row in rows:
            tensor = {"name": "x", "datatype": "FP64", "shape": [1, 2], "data": row}
            found = app.infer_now(MODEL, json.dumps({"inputs": [tensor]}).encode())
            assert found is not None
            assert found.status == 200
        await app.close()

    with closing(from_store(home.settings)) as source:
        asyncio.run(ask(source))


def test_a_mark_in_the_contract_is_a_change_that_plan_tells_and_that_makes_no_version(
    backend: LocalBackend, tmp_path: Path
) -> None:
    project = made.apply(backend, tmp_path)
    Controller(backend).tick()
    before = backend.clock.now()
    mark(project, tmp_path)
    found = applying.plan(backend, project).models[0]
    assert told(found) == [("redacted by contract", "nothing", "b")]
    assert (found.kind, found.actions) == ("update", [])
    (said,) = found.consequences
    assert said.startswith("no value of b is written down from now on, and neither drift nor data")
    assert "what was logged before stays until it expires (serve.log.keep: 90 days)" in said
    assert settings_of(backend).redact == (), "planning changes nothing"
    with backend.reading() as conn:
        generation = serving.generation(conn, MODEL)
    applying.apply(backend, project)
    assert settings_of(backend).redact == ("b",)
    with backend.reading() as conn:
        assert serving.generation(conn, MODEL) == generation + 1
    assert applying.plan(backend, project).models[0].kind == "unchanged"
    assert backend.clock.now() >= before


def test_what_the_spec_lists_is_added_and_a_name_that_is_no_input_is_told(
    backend: LocalBackend, tmp_path: Path
) -> None:
    made.apply(backend, tmp_path)
    Controller(backend).tick()
    project = made.project(tmp_path, serve={"log": {"redact": ["a", "emial"]}})
    mark(project, tmp_path)
    found = applying.apply(backend, project).models[0]
    assert told(found) == [
        ("serve.log.redact", "[]", "[a, emial]"),
        ("redacted by contract", "nothing", "b"),
    ]
    assert settings_of(backend).redact == ("a", "b", "emial")
    assert "redact names what the live version does not take: emial" in found.consequences
    assert "no value of a, b is written" in found.consequences[-1]


@pytest.mark.parametrize(
    ("keep", "said"),
    [("1m", "60 s"), ("90m", "90 min"), ("36h", "36 h"), ("10d", "10 days")],
)
def test_how_long_what_was_logged_stays_is_told_in_a_fitting_unit(
    tmp_path: Path, keep: str, said: str
) -> None:
    project = made.project(tmp_path, serve={"log": {"redact": ["a"], "keep": keep}})
    (told,) = consequences(project.specs[0])
    assert told.endswith(f"(serve.log.keep: {said})")


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_no_byte_of_the_store_holds_a_redacted_value(backend: LocalBackend, tmp_path: Path) -> None:
    project = made.project(tmp_path)
    applying.apply(backend, mark(project, tmp_path))
    Controller(backend).tick()
    answer(backend, *[(float(i), SECRET) for i in range(60)])
    Follower(backend).follow()
    newest = max(int(file.stem) for file in backend.settings.log.glob("*.seg"))
    assert newest > 1
    seal(backend.settings.log, Position(newest))
    parquet = pl.read_parquet(backend.settings.log / "parquet" / "**" / "predictions-*.parquet")
    assert parquet["feature_b"].is_null().all()
    assert parquet["feature_a"][0] == 0.0
    looked_at = 0
    for file in backend.settings.home.rglob("*"):
        if file.is_file():
            held = file.read_bytes()
            looked_at += 1
            assert np.float64(SECRET).tobytes() not in held, file
            assert b"41.12345678" not in held, file
    assert looked_at > 10


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_the_same_search_finds_what_is_not_redacted(backend: LocalBackend, tmp_path: Path) -> None:
    made.apply(backend, tmp_path)
    Controller(backend).tick()
    answer(backend, (1.0, SECRET))
    held = b"".join(file.read_bytes() for file in backend.settings.log.glob("*.seg"))
    assert np.float64(SECRET).tobytes() in held


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_nothing_is_said_of_a_redacted_column_while_others_are_watched(
    backend: LocalBackend, tmp_path: Path
) -> None:
    project = made.project(tmp_path)
    applying.apply(backend, mark(project, tmp_path))
    Controller(backend).tick()
    rng = np.random.default_rng(3)
    answer(backend, *[(float(a), SECRET) for a in rng.normal(size=80)])
    follower = Follower(backend)
    follower.follow()
    with backend.reading() as conn:
        reference = follower.reference(conn, MODEL, 1)
        (window,) = windows.profiles(conn, MODEL).values()
        spec = spec_of(need(conn, MODEL))
    assert reference is not None
    assert reference.part(window, "b").sum() == 0
    assert reference.part(window, "a").sum() == window.rows == 80
    policies = watching(spec, reference, ("b",))
    assert policies.drift is not None
    assert policies.drift.weights == {"b": 0.0}
    since = aligned(backend.clock.now(), 3600)
    state = begin(reference, since=since)
    policy = DataQualityPolicy(seconds=3600, threshold=2.0)
    _, verdict = update(state, reference, window, policy, end=since)
    assert verdict.judged
    assert verdict.events == []


def test_a_model_of_redacted_columns_alone_is_watched_for_its_scores(
    backend: LocalBackend, tmp_path: Path
) -> None:
    made.apply(backend, tmp_path)
    Controller(backend).tick()
    with backend.reading() as conn:
        reference = Follower(backend).reference(conn, MODEL, 1)
        spec: Any = spec_of(need(conn, MODEL))
    assert reference is not None
    assert watching(spec, reference, ("a", "b")).drift is not None
    unscored = made.spec(watch={"drift": {"prediction": False}})
    assert watching(unscored, reference, ("a", "b")).drift is None


def test_what_the_contract_requires_is_required_of_requests(
    backend: LocalBackend, tmp_path: Path
) -> None:
    project = made.apply(backend, tmp_path)
    assert settings_of(backend).required == ("a", "id")
    relaxed = CONTRACT.replace(", required: true", "")
    (tmp_path / "rows.odcs.yaml").write_text(relaxed)
    found = applying.plan(backend, project).models[0]
    assert [path for path, *_ in told(found)] == ["contract", "required by contract"]
    assert told(found)[1][1:] == ("a, id", "id")
    applying.apply(backend, project)
    assert settings_of(backend).required == ("id",)
    assert applying.plan(backend, project).models[0].kind == "unchanged"
