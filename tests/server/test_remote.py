import inspect
import math
import urllib.request
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import msgspec
import pytest
from starlette.types import Receive, Scope, Send
from tests.server.conftest import serving

from setpoint.core.operations import Operation
from setpoint.core.problems import BY_CODE, to_error, to_problem
from setpoint.db.local import LocalBackend
from setpoint.errors import Conflict, Invalid, NotFound, SetpointError, Unavailable
from setpoint.models.entities import Signature
from setpoint.models.service import (
    OverrideGate,
    Register,
    ShowModel,
    Which,
    get,
    override,
    register,
    show,
)
from setpoint.operations import OPERATIONS
from setpoint.releases.service import ListReleases
from setpoint.releases.service import ls as list_releases
from setpoint.runs.service import Finish, ListRuns, Log, Start, finish, log, start
from setpoint.runs.service import ls as list_runs
from setpoint.sdk.remote import HttpBackend
from setpoint.server import problems
from setpoint.server.app import create_app


def _commands(backend: LocalBackend) -> dict[str, dict[str, Any]]:
    """Return arguments for the fields that have no default."""
    run = backend.call(list_runs, ListRuns(limit=1)).runs[0].id
    release = backend.call(list_releases, ListReleases(limit=1)).releases[0].id
    alarm = backend.call(
        OPERATIONS["alarms.ls"], msgspec.convert({}, OPERATIONS["alarms.ls"].command)
    )
    known = {
        "model": "flights-late",
        "number": 1,
        "run": run,
        "runs": [run, run],
        "metric": "roc_auc",
        "metrics": ["roc_auc", "valid_auc"],
        "release": release,
        "id": alarm.alarms[0].id,
        "dataset": "flights",
        "row": "f1",
        "name": release,
        "subject": "version:flights-late/1",
        "models": ["flights-late"],
        "other": 2,
        "channel": "none of this name",
        "delivery": "none of this name",
        "person": "ada",
    }
    return dict.fromkeys(OPERATIONS, known)


def _command(op: Operation[Any, Any], known: dict[str, Any]) -> Any:
    needed = {
        field.name: known[field.name]
        for field in msgspec.structs.fields(op.command)
        if field.required
    }
    return op.command(**needed)


@pytest.fixture
def far(site: str) -> Iterator[HttpBackend]:
    backend = HttpBackend(site)
    yield backend
    backend.close()


@pytest.mark.parametrize("name", [name for name, op in OPERATIONS.items() if op.reads])
def test_reading_gives_the_same_near_and_far(
    name: str, far: HttpBackend, lived: LocalBackend
) -> None:
    op = OPERATIONS[name]
    command = _command(op, _commands(lived)[name])
    assert _outcome(far, op, command) == _outcome(lived, op, command)


def _outcome(backend: Any, op: Operation[Any, Any], command: Any) -> Any:
    try:
        return backend.call(op, command)
    except SetpointError as error:
        return type(error), error.message, error.where, error.hint


def test_changing_works_from_afar(empty: str, backend: LocalBackend) -> None:
    far = HttpBackend(empty)
    run = far.call(start, Start(experiment="churn", params={"depth": 3}))
    far.call(log, Log(run=run.id, tags={"who": "Zoë"}))
    done = far.call(finish, Finish(run=run.id))
    far.close()
    assert done == backend.call(
        OPERATIONS["runs.show"], OPERATIONS["runs.show"].command(run=run.id)
    )


def test_nan_and_infinities_are_the_same_near_and_far(empty: str, backend: LocalBackend) -> None:
    far = HttpBackend(empty)
    run = far.call(start, Start(experiment="churn", params={"a": math.inf, "b": math.nan}))
    far.close()
    assert run.params["a"] == math.inf
    assert math.isnan(float(run.params["b"] or 0))


def test_metrics_that_are_not_numbers_arrive_from_afar_and_are_null_in_json(
    empty: str, backend: LocalBackend
) -> None:
    far = HttpBackend(empty)
    metrics = {"roc_auc": math.nan, "worst": -math.inf, "rmse": 1.5}
    command = Register(
        model="m",
        run_id="run_1",
        why="test",
        flavor="python",
        artifact="none",
        signature=Signature(inputs=[]),
        metrics=metrics,
    )
    sent = far.call(register, command)
    near, back = (one.call(get, Which(model="m", number=1)) for one in (backend, far))
    far.close()
    assert [repr(one.metrics["roc_auc"]) for one in (sent, near, back)] == ["nan"] * 3
    assert near.metrics["rmse"] == back.metrics["rmse"] == 1.5
    body = msgspec.json.encode(Which(model="m", number=1))
    headers = {"content-type": "application/json"}
    request = urllib.request.Request(f"{empty}/api/v1/models.get", body, headers)  # noqa: S310
    with urllib.request.urlopen(request) as answer:  # noqa: S310
        assert msgspec.json.decode(answer.read())["metrics"]["roc_auc"] is None


def test_errors_are_of_the_same_class_on_both_ends(far: HttpBackend) -> None:
    with pytest.raises(NotFound) as caught:
        far.call(show, ShowModel(model="churn"))
    assert "churn" in caught.value.message
    assert caught.value.hint
    cmd = OverrideGate(model="flights-late", number=1, reason="x")
    with pytest.raises(Conflict):
        far.call(override, cmd)


@pytest.mark.parametrize("cls", list(BY_CODE.values()))
def test_errors_survive_the_wire(cls: type[SetpointError]) -> None:
    error = to_error(to_problem(cls("what", where="here", hint="do"), 400))
    assert type(error) is cls
    assert (error.message, error.where, error.hint) == ("what", "here", "do")


def test_a_server_that_is_not_there_is_unavailable_and_says_what_to_do() -> None:
    with pytest.raises(Unavailable) as caught:
        HttpBackend("http://127.0.0.1:9").call(show, ShowModel(model="x"))
    assert "setpoint up" in caught.value.hint


@pytest.mark.parametrize("url", ["127.0.0.1:8765", "ftp://x", "http://", ""])
def test_an_address_that_is_none_is_refused(url: str) -> None:
    with pytest.raises(Invalid):
        HttpBackend(url)


def test_a_connection_is_kept_and_replaced_when_it_broke(far: HttpBackend) -> None:
    far.call(list_runs, ListRuns(limit=1))
    far._local.connection.sock.close()
    assert far.call(list_runs, ListRuns(limit=1)).runs


def test_every_operation_says_what_it_does() -> None:
    for name, op in OPERATIONS.items():
        assert inspect.getdoc(op.run), name
        assert op.summary.endswith((".", ":")), name


def test_a_full_server_is_asked_again_when_it_says(backend: LocalBackend) -> None:
    app, refusals = create_app(backend), [503, 503]

    async def full_at_first(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and refusals:
            refusals.pop()
            told = problems.response(Unavailable("no room"))
            told.headers["retry-after"] = "0"
            await told(scope, receive, send)
        else:
            await app(scope, receive, send)

    with serving(full_at_first) as url, closing(HttpBackend(url)) as far:
        run = far.call(start, Start(experiment="late"))
    assert refusals == []
    assert [one.id for one in backend.call(list_runs, ListRuns()).runs] == [run.id]
