"""A model in a process of its own may hang, crash and eat memory: others do not notice."""

import gc
import http.client
import json
import os
import signal
import time
from collections.abc import Iterator
from functools import partial
from typing import Any

import numpy as np
import psutil
import pytest
from msgspec.structs import replace
from tests.serve.processes import CRASHES, EXITS, GROWS, HANGS, RAISES, load, process

from setpoint.config import Settings
from setpoint.db.local import LocalBackend
from setpoint.serve import store
from setpoint.serve.app import App
from setpoint.serve.entities import (
    Deployment,
    EndpointSettings,
    PredictionRecord,
    Process,
    Role,
)
from setpoint.serve.following import Endpoints
from setpoint.serve.log import read
from setpoint.serve.metrics import Metrics
from setpoint.serve.own import Ended, Own
from setpoint.serve.registered import Registered

from .conftest import Served
from .load import body, under_load
from .made import Sum, live
from .test_limits import records, until

sqlite = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)

OWN = EndpointSettings(process=Process.OWN, timeout=1.0, memory=1_500_000_000)
ROW = np.array([[1.0, 2.0]])


def alone(model: str) -> Deployment:
    return Deployment(model=model, version=1, role=Role.LIVE, weight=1.0)


def row(what: int) -> Any:
    return np.array([[float(what), 0.0]])


@pytest.fixture
def own() -> Iterator[Own]:
    yield Own(partial(load, "fragile", 1), OWN, "fragile version 1")
    gc.collect()


def answers(own: Own) -> None:
    """Wait until it answers again."""
    until(lambda: own.down is None, 30)
    assert own.predict(ROW).tolist() == [3.0]


def test_it_predicts_and_has_what_the_model_has(own: Own) -> None:
    assert own.predict(ROW).tolist() == [3.0]
    assert [one.name for one in own.inputs] == ["a", "b"]
    assert own.pid() == own.pids[0] != os.getpid()
    assert own.factor == 1
    assert not hasattr(own, "no_such_thing")
    texts = {"a": np.array(["x", None], dtype=object), "b": np.array([1.0, 2.0])}
    assert own.predict(texts).tolist() == [2.0, 2.0]
    with pytest.raises(Exception, match="no luck") as caught:
        own.predict(row(RAISES))
    assert type(caught.value).__name__ == "ZeroDivisionError"
    assert own.down is None


@pytest.mark.parametrize(
    ("what", "said"),
    [
        (EXITS, "it ended with 3"),
        (CRASHES, "it was ended by SIGSEGV"),
        (HANGS, "it did not answer within 1 s"),
    ],
)
def test_what_ends_it_is_told_and_it_is_started_again(own: Own, what: int, said: str) -> None:
    before = own.pids
    with pytest.raises(Ended, match=said):
        own.predict(row(what))
    answers(own)
    assert own.pids != before
    assert not psutil.pid_exists(before[0])


def test_more_memory_than_it_may_have_fails_a_call_and_no_more(own: Own) -> None:
    before = own.pids
    with pytest.raises(Exception, match="allocate"):
        own.predict(row(GROWS))
    assert own.predict(ROW).tolist() == [3.0]
    assert own.pids == before


def test_starts_are_further_and_further_apart_for_one_that_ends_again_and_again(
    own: Own,
) -> None:
    pauses = []
    for _ in range(3):
        with pytest.raises(Ended):
            own.predict(row(EXITS))
        began = time.monotonic()
        with pytest.raises(Ended, match="is not there: it ended with 3"):
            own.predict(ROW)
        until(lambda: own.down is None, 30)
        pauses.append(own._all[0]._pause)
        assert time.monotonic() - began >= pauses[-1]
    assert pauses == [0.1, 0.2, 0.4]


def test_a_model_that_does_not_load_says_so_in_its_own_words() -> None:
    with pytest.raises(Exception, match="invalid literal for int"):
        Own(partial(int, "x"), OWN, "none")  # type: ignore[arg-type]


def test_nobody_uses_it_any_more_and_its_process_ends() -> None:
    own = Own(partial(load, "m", 1), OWN, "m version 1")
    (pid,) = own.pids
    del own
    gc.collect()
    assert not psutil.pid_exists(pid)


def test_as_many_processes_answer_as_calls_may_run() -> None:
    own = Own(partial(load, "m", 1), EndpointSettings(process=Process.OWN, concurrency=2), "m")
    assert len(set(own.pids)) == 2
    del own
    gc.collect()


BASELINES: dict[str, Any] = {"fragile": Sum(100.0)}


@sqlite
def test_the_baseline_answers_for_one_that_crashed_and_settings_move_a_model(
    served: Served,
) -> None:
    source = Registered(served.backend.engine, load, lambda model, _: BASELINES[model])
    served.endpoints = Endpoints(source, Metrics())
    served.app = App(
        served.endpoints, served.writer, served.endpoints.metrics, served.backend.clock
    )
    with served.backend.engine.begin() as conn:
        store.deploy(conn, "fragile", [alone("fragile")])
        store.configure(conn, "fragile", OWN)
    served.endpoints.refresh()

    def ask(what: float) -> tuple[int, Any]:
        tensor = {"name": "x", "datatype": "FP64", "shape": [1, 2], "data": [what, 0.0]}
        return served.post("/v2/models/fragile/infer", {"inputs": [tensor]})

    assert ask(2.0)[1]["outputs"][0]["data"] == [2.0]
    status, answer = ask(EXITS)
    assert (status, answer["outputs"][0]["data"]) == (200, [100.0 * EXITS])
    assert answer["parameters"]["fallback"] is True
    assert served.get("/v2/models/fragile/ready")[0] == 503
    assert served.get("/v2/health/ready")[0] == 503, "it is the only model"
    index = served.post("/v2/repository/index", {})[1]
    assert "UNAVAILABLE" in json.dumps(index)
    assert "it ended with 3" in json.dumps(index)
    until(lambda: served.get("/v2/models/fragile/ready")[0] == 200, 30)
    assert ask(2.0)[1]["outputs"][0]["data"] == [2.0]
    assert [one.failed for one in records(served)] == [0, 1, 0]
    found = served.endpoints.get("fragile")
    assert found is not None
    (pid,) = getattr(found.live.predictor, "pids", [])
    del found
    with served.backend.engine.begin() as conn:
        store.configure(conn, "fragile", EndpointSettings())
    served.endpoints.refresh()
    assert ask(2.0)[1]["outputs"][0]["data"] == [2.0]
    gc.collect()
    until(lambda: not psutil.pid_exists(pid), 10)


@sqlite
def test_others_answer_every_request_while_it_crashes_hangs_and_grows(
    settings: Settings, backend: LocalBackend
) -> None:
    with backend.engine.begin() as conn:
        store.deploy(conn, "m", [live()])
        store.deploy(conn, "fragile", [alone("fragile")])
        store.configure(conn, "fragile", OWN)
    with process(settings) as (server, port):
        clients = under_load(port, 3)
        told = []
        for what in (EXITS, CRASHES, HANGS, GROWS):
            until(partial(well, port), 60)
            told.append(asked(port, what))
        until(partial(well, port), 60)
        told.append(asked(port, 1))
        server.send_signal(signal.SIGTERM)
        assert server.wait(15) == 0
        for client in clients:
            client.stop()
    assert told == [500, 500, 504, 500, 200]
    assert [(client.lost, client.failed) for client in clients] == [([], [])] * 3
    failed = [
        one.status
        for _, one in read(settings.log)
        if isinstance(one, PredictionRecord) and one.failed
    ]
    assert failed == [500, 500, 504, 500]
    children = psutil.Process().children(recursive=True)
    assert not [one for one in children if "setpoint.serve.own" in " ".join(one.cmdline())]


def asked(port: int, what: int) -> int:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    connection.request("POST", *body("fragile", what))
    reply = connection.getresponse()
    reply.read()
    connection.close()
    return reply.status


def well(port: int) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    connection.request("GET", "/v2/models/fragile/ready")
    reply = connection.getresponse()
    reply.read()
    connection.close()
    return reply.status == 200


@pytest.mark.parametrize("redact", [(), ("a",)])
def test_what_a_model_says_of_a_row_is_not_told_where_values_are_left_out(
    redact: tuple[str, ...], caplog: pytest.LogCaptureFixture
) -> None:
    own = Own(partial(load, "fragile", 1), replace(OWN, redact=redact), "fragile version 1")
    with pytest.raises(Exception, match="no luck"):
        own.predict(row(RAISES))
    (said,) = [one for one in caplog.records if one.message == "model raised in its process"]
    assert any("no luck" in str(value) for value in vars(said).values()) is not bool(redact)
    del own
    gc.collect()
