"""What people get wrong: one clear error each, never a traceback, nothing lost."""

import http.client
import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.cli.running import Up, until, up
from tests.cli.test_up import ROW

from setpoint.config import settings
from setpoint.control import applying, store
from setpoint.control.controller import Controller
from setpoint.control.entities import Job, JobState
from setpoint.control.project import load
from setpoint.db.local import open_local

Say = Callable[..., tuple[int, str, str]]


def trained(folder: Path) -> Job:
    """Apply a project and train here; the job with its outcome."""
    backend = open_local(settings(folder / ".setpoint"))
    applying.apply(backend, load(folder))
    Controller(backend).tick()
    with backend.engine.begin() as conn:
        job = store.last_job(conn, "churn")
    backend.engine.dispose()
    assert job is not None
    return job


def edit(path: Path, old: str, new: str) -> None:
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new, 1), encoding="utf-8")


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("metric: roc_auc", "metrik: roc_auc", "did you mean"),
        ("window: 1d", "window: soon", "soon"),
        ("features: [churn:usage, churn:plan_churn]", "features: 7", "features"),
        ("features: [churn:usage", "features: [churn:usgae", "did you mean"),
        ("code: churn:train", "code: chrn:train", "chrn"),
        ("data/customers.csv", "data/kunden_größe.csv", "kunden_größe.csv"),
        ("model: churn", "model: [churn", "churn.setpoint.yaml"),
    ],
)
def test_a_wrong_setpoint_file_is_one_error(
    project: Path, say: Say, old: str, new: str, expected: str
) -> None:
    edit(project / "churn.setpoint.yaml", old, new)
    code, out, err = say("apply")
    assert (code, out) != (0, "")
    assert code in {1, 2, 3}
    assert expected in out + err
    assert "Traceback" not in out + err


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("import polars as pl", "import nothing_like_this\nimport polars as pl"),
        ("import polars as pl", "import polars as pl\nraise RuntimeError('größe 😀')"),
        ("import polars as pl", "import polars as pl\ndef broken(:"),
    ],
)
def test_code_that_cannot_be_imported_is_one_error_with_its_line(
    project: Path, say: Say, old: str, new: str
) -> None:
    edit(project / "churn.py", old, new)
    code, out, err = say("plan")
    assert (code, out) == (7, "")
    assert "churn.py" in err
    assert "Traceback" not in err


def _rows(project: Path) -> tuple[str, list[str]]:
    head, *rows = (project / "data" / "customers.csv").read_text().splitlines()
    return head, rows


def _write(project: Path, head: str, rows: list[str]) -> None:
    (project / "data" / "customers.csv").write_text("\n".join([head, *rows]) + "\n")


def _empty(project: Path) -> None:
    _write(project, _rows(project)[0], [])


def _nothing_known(project: Path) -> None:
    head, rows = _rows(project)
    _write(project, head, ["," * head.count(",")] * len(rows))


def _column_missing(project: Path) -> None:
    head, rows = _rows(project)
    _write(project, head.rpartition(",")[0], [row.rpartition(",")[0] for row in rows])


def _not_a_table(project: Path) -> None:
    (project / "data" / "customers.csv").write_bytes(bytes(range(256)) * 100)


def _raises(project: Path) -> None:
    edit(
        project / "churn.py", "    model = make_pipeline(", "    1 / 0\n    model = make_pipeline("
    )


@pytest.mark.parametrize(
    ("harm", "expected"),
    [
        (_empty, ""),
        (_nothing_known, ""),
        (_column_missing, "churned"),
        (_not_a_table, "the table 'customers' cannot be read"),
        (_raises, "churn:train raised ZeroDivisionError"),
    ],
)
def test_data_or_code_that_cannot_train_fails_the_training_in_words(
    project: Path, harm: Callable[[Path], None], expected: str
) -> None:
    harm(project)
    job = trained(project)
    assert job.state is JobState.FAILED
    assert job.outcome
    assert expected in job.outcome
    assert "Traceback" not in job.outcome


def test_duplicate_rows_are_set_aside_and_named(project: Path) -> None:
    head, rows = _rows(project)
    _write(project, head, rows + rows[:5])
    job = trained(project)
    assert job.state in {JobState.REGISTERED, JobState.FAILED}


@pytest.fixture(scope="module")
def platform(applied: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Up]:
    folder = tmp_path_factory.mktemp("serving")
    shutil.copytree(applied / ".setpoint", folder / ".setpoint")
    with up(folder) as found:
        until(lambda: found.serves("churn"), "churn served")
        yield found


def post(platform: Up, path: str, body: bytes) -> tuple[int, Any]:
    host = platform.url.removeprefix("http://")
    connection = http.client.HTTPConnection(host, timeout=30)
    try:
        connection.request("POST", path, body)
        reply = connection.getresponse()
        return reply.status, json.loads(reply.read() or b"null")
    finally:
        connection.close()


def tensor(shape: list[int], data: list[Any], **more: object) -> bytes:
    one = {"name": "rows", "shape": shape, "datatype": "FP64", "data": data}
    return json.dumps({"inputs": [one], **more}).encode()


GOOD = list(ROW.values())


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b"\xff\xfe",
        b'{"inputs": []}',
        tensor([1, 6], GOOD[:6]),
        tensor([2, 7], GOOD),
        tensor([-1, 7], GOOD),
        tensor([1, 7], ["größe"] * 7),
        tensor([1, 7], [None] * 6 + [[1]]),
        tensor([2, 7], GOOD * 2, parameters={"ids": ["one", "one"]}),
        tensor([1, 7], GOOD, parameters={"ids": ["one", "two"]}),
        b'{"inputs":[{"name":"rows","shape":[1,7],"datatype":"FP64","data":[NaN,1,1,1,1,1,x]}]}',
        b"x" * 10_000_000,
    ],
    ids=lambda body: f"{body[:60]!r} {len(body)}",
)
def test_a_wrong_request_is_one_error_and_the_server_goes_on(platform: Up, body: bytes) -> None:
    status, said = post(platform, "/v2/models/churn/infer", body)
    assert status in {400, 413}, said
    assert said["error"]
    assert "Traceback" not in said["error"]
    status, _ = post(platform, "/v2/models/churn/infer", tensor([1, 7], GOOD))
    assert status == 200


@pytest.mark.parametrize(
    "body",
    [b"{}", b'{"ids": ["a"], "labels": []}', b'{"ids": ["a"], "labels": ["x"]}', b"1e999"],
)
def test_a_wrong_label_is_one_error(platform: Up, body: bytes) -> None:
    status, said = post(platform, "/v2/models/churn/labels", body)
    assert status == 400, said
    assert said["error"]


def test_missing_values_and_unicode_ids_are_answered(platform: Up) -> None:
    data = [*GOOD[:-1], None, *GOOD]
    body = tensor([2, 7], data, parameters={"ids": ["größe-日本-😀", "zwei"]})
    status, said = post(platform, "/v2/models/churn/infer", body)
    assert status == 200
    assert said["parameters"]["ids"][0] == "größe-日本-😀"


def test_what_the_contract_requires_is_not_missing(platform: Up) -> None:
    body = tensor([2, 7], [*GOOD, None, *GOOD[1:]])
    status, said = post(platform, "/v2/models/churn/infer", body)
    assert status == 400
    assert "row 1 has no 'tenure_months', which the data contract requires" in said["error"]
