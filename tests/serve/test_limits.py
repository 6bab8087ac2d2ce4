"""An endpoint takes of the server what its settings allow: time, waiting, bytes and threads."""

import asyncio
import json
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from msgspec.structs import replace

from setpoint.serve import store
from setpoint.serve.app import App
from setpoint.serve.endpoints import LONG_NANOS, MANY_ROWS
from setpoint.serve.entities import (
    Deployment,
    EndpointSettings,
    PredictionRecord,
    Role,
)
from setpoint.serve.following import Endpoints
from setpoint.serve.metrics import Metrics
from setpoint.serve.registered import Registered

from .conftest import Served
from .made import Raises, Sum, canary, live
from .test_batching import at_once, metrics, requests

pytestmark = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)

BRIEF = EndpointSettings(timeout=0.1)


class Stuck(Sum):
    """Answers its warm-up; then keeps a call waiting until it is let go, where it is stuck."""

    def __init__(self, factor: float = 1.0) -> None:
        super().__init__(factor)
        self.go = threading.Event()
        self.begun = 0

    def predict(self, rows: Any) -> Any:
        if self.calls:
            self.begun += 1
            assert self.go.wait(20)
        return super().predict(rows)


def stuck(served: Served, version: int = 1) -> Stuck:
    model = served.predictors[version] = Stuck()
    return model


def records(served: Served) -> list[PredictionRecord]:
    return [one for one in served.logged() if isinstance(one, PredictionRecord)]


def test_what_takes_too_long_is_told_so_and_counts_against_its_version(served: Served) -> None:
    model = stuck(served)
    served.configure(BRIEF)
    served.deploy(live())
    status, answer = served.infer([[1.0, 2.0]])
    assert (status, "did not answer in time" in answer["error"]) == (504, True)
    assert "no answer within 0.1 s" in answer["error"]
    (record,) = records(served)
    assert (record.status, record.failed, record.scores, record.fallback) == (504, 1, b"", False)
    assert record.micros >= 100_000
    assert 'role="live",status="504"} 1' in metrics(served)
    assert 'setpoint_requests_waiting{model="m"} 1' in metrics(served)  # it is still at work
    model.go.set()
    assert served.infer([[1.0, 2.0]])[0] == 200
    assert "setpoint_requests_waiting{" not in metrics(served)
    assert "setpoint_cpu_seconds_total 0.0" not in metrics(served)


def test_the_baseline_answers_in_place_of_a_late_version(served: Served) -> None:
    model = stuck(served)
    served.baselines[1] = Sum(100.0)
    served.configure(BRIEF)
    served.deploy(live())
    status, answer = served.infer([[1.0, 2.0]])
    assert (status, answer["outputs"][0]["data"]) == (200, [300.0])
    assert answer["parameters"]["fallback"] is True
    (record,) = records(served)
    assert (record.status, record.failed, record.fallback, record.roles) == (504, 1, True, b"\x02")
    assert 'setpoint_fallback_rows_total{model="m"} 1' in metrics(served)
    model.go.set()


def test_a_constant_answers_in_place_of_a_late_version(served: Served) -> None:
    model = stuck(served)
    served.configure(replace(BRIEF, fallback_value=0.3))
    served.deploy(live())
    status, answer = served.infer([[1.0, 2.0]])
    assert (status, answer["outputs"][0]["data"]) == (200, [0.3])
    (record,) = records(served)
    assert (record.status, record.failed, record.fallback, record.roles) == (504, 1, True, b"\x02")
    model.go.set()


def test_a_late_baseline_is_not_waited_for_either(served: Served) -> None:
    model, baseline = stuck(served), Stuck()
    served.baselines[1] = baseline
    served.configure(BRIEF)
    served.deploy(live())
    assert served.infer([[1.0, 2.0]])[0] == 504
    model.go.set()
    baseline.go.set()


@pytest.mark.parametrize("slow", [1, 2])
def test_the_version_at_work_is_to_blame_and_not_the_one_that_waits_for_it(
    served: Served, slow: int
) -> None:
    model = stuck(served, slow)
    served.configure(BRIEF)
    served.deploy(live(1), canary(2, weight=0.5))
    told = at_once(served, requests(30))
    assert {status for status, *_ in told} <= {200, 504}
    late = [one for one in records(served) if one.status == 504]
    assert {one.failed for one in late} == {slow}
    assert {one.roles[0] for one in late} == {0, 1}, "requests of both arms waited"
    model.go.set()


def test_nothing_is_begun_for_who_is_no_longer_waited_for(served: Served) -> None:
    model = stuck(served)
    served.configure(EndpointSettings(timeout=0.1, batch_rows=1))
    served.deploy(live())
    told = at_once(served, requests(9))
    assert {status for status, *_ in told} == {504}
    assert model.begun == 1
    model.go.set()
    assert served.infer([[1.0, 2.0]])[0] == 200
    assert model.begun == 2


def test_nothing_is_begun_for_a_client_that_hung_up(served: Served) -> None:
    model = stuck(served)
    served.configure(EndpointSettings(timeout=15.0))
    served.deploy(live())

    async def one_stays_and_one_leaves() -> None:
        first = asyncio.create_task(asked(served))
        while not model.begun:  # noqa: ASYNC110 - a thread says it
            await asyncio.sleep(0.001)
        leaves = asyncio.Event()
        second = asyncio.create_task(asked(served, leaves))
        await asyncio.sleep(0.02)
        leaves.set()
        assert await second is None
        model.go.set()
        assert await first == 200

    served._runner.run(one_stays_and_one_leaves())
    assert model.begun == 1
    assert 'setpoint_refused_total{model="m",why="gone"} 1' in metrics(served)
    assert len(records(served)) == 1
    assert served.infer([[1.0, 2.0]])[0] == 200


async def asked(served: Served, leaves: asyncio.Event | None = None) -> int | None:
    """Ask once; return the status, None if there was no answer. `leaves` hangs up."""
    tensor = {"name": "x", "datatype": "FP64", "shape": [1, 2], "data": [[1.0, 2.0]]}
    messages = [{"type": "http.request", "body": json.dumps({"inputs": [tensor]}).encode()}]
    sent: list[Any] = []

    async def receive() -> Any:
        if messages:
            return messages.pop()
        await (leaves or asyncio.Event()).wait()
        return {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {"type": "http", "method": "POST", "path": "/v2/models/m/infer", "headers": []}
    await served.app(scope, receive, send)
    return sent[0]["status"] if sent else None


def test_a_queue_that_is_full_refuses_and_keeps_what_waits(served: Served) -> None:
    model = stuck(served)
    served.configure(EndpointSettings(timeout=15.0, queue=3, batch_rows=1))
    served.deploy(live())
    threading.Timer(0.2, model.go.set).start()
    statuses = [status for status, *_ in at_once(served, requests(10))]
    assert sorted(statuses) == [200] * 4 + [429] * 6


def test_as_many_calls_run_at_a_time_as_the_settings_say(served: Served) -> None:
    model = stuck(served)
    served.configure(EndpointSettings(timeout=15.0, concurrency=3, batch_rows=1))
    served.deploy(live())
    threading.Timer(0.2, model.go.set).start()
    began = {}

    def watch() -> None:
        until(lambda: model.begun == 3)
        time.sleep(0.05)
        began["most"] = model.begun

    watcher = threading.Thread(target=watch)
    watcher.start()
    assert {status for status, *_ in at_once(served, requests(8))} == {200}
    watcher.join()
    assert began["most"] == 3


def until(true: Callable[[], bool], seconds: float = 10.0) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end
        time.sleep(0.001)


def test_a_longer_request_than_the_endpoint_reads_is_refused_on_either_way(
    served: Served,
) -> None:
    served.configure(EndpointSettings(body=500))
    served.deploy(live())
    assert served.infer([[1.0, 2.0]])[0] == 200
    rows = [[1.0, 2.0]] * 100
    status, answer = served.infer(rows)
    assert (status, "longer than 500 bytes" in answer["error"]) == (413, True)
    assert served.app.infer_now("m", b"x" * 501) is None, "the long way says so"
    served.configure(EndpointSettings(body=20_000_000))
    tensor = {"name": "x", "datatype": "FP64", "shape": [1, 2], "data": [1.0, 2.0]}
    padded = json.dumps({"inputs": [tensor], "parameters": {}}).encode() + b" " * 12_000_000
    assert served.ask("POST", "/v2/models/m/infer", padded)[0] == 200


def test_requests_wait_for_company_where_the_settings_say_so(served: Served) -> None:
    sizes: list[int] = []

    class Counts(Sum):
        def predict(self, rows: Any) -> Any:
            sizes.append(len(rows))
            return super().predict(rows)

    served.predictors[1] = Counts()
    served.configure(EndpointSettings(batch_wait=10.0, batch_rows=8))
    served.deploy(live())
    sizes.clear()
    began = time.monotonic()
    told = at_once(served, [([[1.0, 2.0]] * 2, [f"{i}.0", f"{i}.1"]) for i in range(4)])
    assert {status for status, *_ in told} == {200}
    assert sizes == [8]
    assert time.monotonic() - began < 5, "enough company ends the wait"
    served.configure(EndpointSettings(batch_wait=0.05, batch_rows=8))
    began = time.monotonic()
    assert served.infer([[1.0, 2.0]])[0] == 200
    assert time.monotonic() - began >= 0.05


def test_settings_are_followed_without_loading_a_version_again(served: Served) -> None:
    served.deploy(live())
    before = served.endpoints.get("m")
    assert before is not None
    assert not before.slow
    served.configure(BRIEF)
    now = served.endpoints.get("m")
    assert now is not None
    assert (now.settings, now.generation) == (BRIEF, before.generation + 1)
    assert now.slow
    assert served.predictors[1].calls == 1  # type: ignore[union-attr]
    served.configure(EndpointSettings())
    again = served.endpoints.get("m")
    assert again is not None
    assert not again.slow


def test_a_failing_version_with_a_time_limit_fails_as_any(served: Served) -> None:
    served.predictors[1] = Raises()
    served.configure(EndpointSettings(timeout=10.0))
    served.deploy(live())
    assert served.infer([[1.0, 2.0]])[0] == 500
    assert records(served)[0].status == 500


def test_a_slow_model_keeps_no_other_slow_one_waiting(served: Served) -> None:
    """Two slow models; one is stuck, and the other answers all the while."""
    held, free = Stuck(), Sum(2.0)
    models = {"held": held, "free": free}
    source = Registered(served.backend.engine, lambda model, _: models[model])
    endpoints = Endpoints(source, Metrics())
    app = App(endpoints, served.writer, endpoints.metrics, served.backend.clock)
    with served.backend.engine.begin() as conn:
        for model in models:
            alone = Deployment(model=model, version=1, role=Role.LIVE, weight=1.0)
            store.deploy(conn, model, [alone])
            store.configure(conn, model, EndpointSettings(timeout=15.0))
    endpoints.refresh()
    served.app = app

    async def story() -> None:
        waits = asyncio.create_task(ask(served, "held"))
        while not held.begun:  # noqa: ASYNC110 - a thread says it
            await asyncio.sleep(0.001)
        for _ in range(20):
            assert await ask(served, "free") == 200
        assert not waits.done()
        held.go.set()
        assert await waits == 200

    served._runner.run(story())


async def ask(served: Served, model: str, row: Sequence[float] = (1.0, 2.0)) -> int:
    tensor = {"name": "x", "datatype": "FP64", "shape": [1, 2], "data": [list(row)]}
    body = json.dumps({"inputs": [tensor]}).encode()
    status, _, _ = await served._ask("POST", f"/v2/models/{model}/infer", body, [])
    return status


def test_a_server_with_nothing_to_answer_with_is_not_ready_and_says_why(served: Served) -> None:
    served.endpoints.refresh()
    status, answer = served.get("/v2/health/ready")
    assert (status, answer["error"]) == (503, "not ready: no model is loaded that could answer")
    assert served.get("/healthz")[0] == 200, "it knows what to serve: nothing yet"
    served.predictors[1] = ValueError("no such file")
    served.deploy(live())
    assert served.get("/v2/health/ready")[0] == 503
    served.predictors[2] = Sum()
    served.deploy(live(2))
    assert served.get("/v2/health/ready")[0] == 200
    served.app.draining = True
    assert served.get("/v2/health/ready")[0] == served.get("/healthz")[0] == 503
    assert "about to end" in served.get("/ping")[1]["message"]


def test_an_answered_fallback_gives_its_place_in_the_queue_to_the_next(served: Served) -> None:
    model = stuck(served)
    served.configure(replace(BRIEF, queue=2, fallback_value=0.3))
    served.deploy(live())
    told = [served.infer([[1.0, 2.0]])[0] for _ in range(6)]
    model.go.set()
    assert told == [200] * 6


class Sleeps(Sum):
    """Takes long for some rows, after its warm-up."""

    def __init__(self) -> None:
        super().__init__()
        self.go = threading.Event()
        self.begun = threading.Event()

    def predict(self, rows: Any) -> Any:
        if len(rows) >= MANY_ROWS:
            self.begun.set()
            assert self.go.wait(20)
        elif rows[0][0] < 0:
            time.sleep(2 * LONG_NANOS / 1e9)
        return super().predict(rows)


def test_very_many_rows_are_scored_aside_and_nobody_waits_for_them(served: Served) -> None:
    model = served.predictors[1] = Sleeps()
    served.deploy(live())

    def body(count: int) -> bytes:
        shape, data = [count, 2], [1.0, 2.0] * count
        tensor = {"name": "x", "datatype": "FP64", "shape": shape, "data": data}
        return json.dumps({"inputs": [tensor]}).encode()

    async def story() -> tuple[int, int]:
        path = "/v2/models/m/infer"
        many = asyncio.create_task(served._ask("POST", path, body(MANY_ROWS), ()))
        await asyncio.to_thread(model.begun.wait, 20)
        few = await served._ask("POST", path, body(1), ())
        model.go.set()
        return few[0], (await many)[0]

    assert served._runner.run(story()) == (200, 200)
    endpoint = served.endpoints.get("m")
    assert endpoint is not None
    assert not endpoint.slow, "many rows say nothing of a few"


def test_one_call_that_takes_very_long_is_enough_to_be_scored_aside(served: Served) -> None:
    served.predictors[1] = Sleeps()
    served.deploy(live())
    assert served.infer([[1.0, 2.0]])[0] == 200
    endpoint = served.endpoints.get("m")
    assert endpoint is not None
    assert not endpoint.slow
    assert served.infer([[-1.0, 2.0]])[0] == 200
    assert endpoint.slow
