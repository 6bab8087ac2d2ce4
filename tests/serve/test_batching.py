"""Requests for a slow model share its calls, and nothing else: not answers, not failures."""

import asyncio
import json
import time
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import Future
from typing import Any, cast

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from setpoint.serve import batching, scoring
from setpoint.serve.arms import Arm
from setpoint.serve.calling import Calls, sized
from setpoint.serve.endpoints import Endpoint
from setpoint.serve.entities import EndpointSettings, PredictionRecord
from setpoint.serve.metrics import Metrics
from setpoint.serve.v2 import Rows

from .conftest import Served
from .made import Input, Sum, canary, live

sqlite = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)


class Slow(Sum):
    """Takes its time for a call, whatever is in it; raises where an input is 13."""

    def __init__(self, factor: float = 1.0, inputs: Sequence[Input] | None = None) -> None:
        super().__init__(factor, inputs)
        self.sizes: list[int] = []

    def predict(self, rows: Any) -> Any:
        time.sleep(0.005)
        values = rows["a"] if isinstance(rows, dict) else rows[:, 0]
        if (values == 13).any():
            raise ZeroDivisionError("no luck")
        self.sizes.append(len(values))
        return super().predict(rows)


def slowed(served: Served, *wanted: Any) -> None:
    """Deploy, and have the endpoint know by experience that its model is slow."""
    served.deploy(*wanted)
    for _ in range(12):
        assert served.infer([[1.0, 2.0]])[0] == 200
    endpoint = served.endpoints.get("m")
    assert endpoint is not None
    assert endpoint.slow


def at_once(served: Served, asked: Sequence[Any]) -> list[tuple[int, Any, dict[str, str]]]:
    """Ask many requests at the same time; return status, answer and headers of each."""

    async def all_of_them() -> list[Any]:
        told = []
        for rows, ids in asked:
            tensor = {"name": "x", "datatype": "FP64", "shape": [len(rows), 2], "data": rows}
            body = json.dumps({"inputs": [tensor], "parameters": {"ids": ids}}).encode()
            told.append(served._ask("POST", "/v2/models/m/infer", body, []))
        return await asyncio.gather(*told)

    found = served._runner.run(all_of_them())
    return [(status, json.loads(raw), headers) for status, raw, headers in found]


def metrics(served: Served) -> str:
    told: str = served.get("/metrics")[1]
    return told


def counted(served: Served, what: str, bound: str) -> int:
    """Return how many calls had at most so many requests, or rows."""
    bucket = f'setpoint_batch_{what}_bucket{{model="m",le="{bound}"}} '
    return int(metrics(served).partition(bucket)[2].partition("\n")[0])


def requests(count: int, *, wrong: int = -1) -> list[tuple[list[list[float]], list[str]]]:
    made = []
    for i in range(count):
        rows = [[13.0 if i == wrong else i + 20.0, float(j)] for j in range(1 + i % 3)]
        made.append((rows, [f"r{i}.{j}" for j in range(len(rows))]))
    return made


@sqlite
def test_many_at_once_share_calls_and_get_their_own_answers(served: Served) -> None:
    model = served.predictors[1] = Slow()
    slowed(served, live())
    model.sizes.clear()
    asked = requests(60)
    for (rows, ids), (status, answer, _) in zip(asked, at_once(served, asked), strict=True):
        assert status == 200
        assert answer["outputs"][0]["data"] == [sum(row) for row in rows]
        assert answer["parameters"]["ids"] == ids
    assert sum(model.sizes) == sum(len(rows) for rows, _ in asked)
    assert len(model.sizes) <= 3  # the first alone, then all that came meanwhile
    logged = [one for one in served.logged() if isinstance(one, PredictionRecord)][-60:]
    assert sorted(one.ids for one in logged) == sorted(ids for _, ids in asked)
    assert counted(served, "requests", "+Inf") - counted(served, "requests", "32") == 1
    assert counted(served, "requests", "64") == counted(served, "rows", "128")


def stats(served: Served, version: int = 1) -> Any:
    (found,) = served.get(f"/v2/models/m/versions/{version}/stats")[1]["model_stats"]
    return found


@sqlite
def test_statistics_count_calls_and_tell_waiting_from_them(served: Served) -> None:
    model = served.predictors[1] = Slow()
    slowed(served, live())
    model.sizes.clear()
    before = stats(served)
    assert (before["inference_count"], before["execution_count"]) == (12, 12)
    assert all(status == 200 for status, *_ in at_once(served, requests(60)))
    told, spent = stats(served), stats(served)["inference_stats"]
    assert told["inference_count"] == 12 + sum(model.sizes)
    assert told["execution_count"] == 12 + len(model.sizes) <= 12 + 3
    assert {spent[what]["count"] for what in ("success", "queue", "compute_infer")} == {72}
    assert spent["queue"]["ns"] > before["inference_stats"]["queue"]["ns"]
    assert spent["compute_infer"]["ns"] >= 72 * 5_000_000
    assert spent["queue"]["ns"] + spent["compute_infer"]["ns"] <= spent["success"]["ns"]
    of_size = {one["batch_size"]: one["compute_infer"] for one in told["batch_stats"]}
    shared = Counter(sized(size) for size in model.sizes if size > 1)
    assert {size: one["count"] for size, one in of_size.items() if size > 1} == shared
    assert all(one["ns"] >= one["count"] * 5_000_000 for one in of_size.values())


@sqlite
def test_statistics_are_of_the_version_that_was_called_and_did_not_fail(served: Served) -> None:
    models = served.predictors[1], served.predictors[2] = Slow(), Slow(10.0)
    slowed(served, live(1), canary(2, weight=0.5))
    statuses = [status for status, *_ in at_once(served, requests(40, wrong=7))]
    assert statuses.count(200) >= 39
    for version, model in enumerate(models, 1):
        told = stats(served, version)
        assert 0 < told["execution_count"] <= len(model.sizes)
        assert told["inference_count"] <= sum(model.sizes)
    failed = [stats(served, version)["inference_stats"]["fail"] for version in (1, 2)]
    assert sum(one["count"] for one in failed) >= 1
    assert sum(one["ns"] for one in failed) >= 5_000_000


@sqlite
def test_a_fast_model_is_called_once_a_request_and_nobody_waits(served: Served) -> None:
    served.deploy(live())
    for _ in range(3):
        served.infer([[1.0, 2.0], [3.0, 4.0]])
    told = stats(served)
    assert (told["execution_count"], told["inference_count"], told["batch_stats"]) == (3, 6, [])
    spent = told["inference_stats"]
    assert spent["queue"] == {"count": 3, "ns": 0}
    assert spent["compute_infer"] == spent["success"]


def test_calls_of_several_processes_add_up() -> None:
    mine, other = Metrics(), Metrics()
    mine.calls_of("m", 1).called(3, 10)
    mine.calls_of("m", 1).answered(4, 5)
    other.calls_of("m", 1).called(3, 20)
    other.calls_of("m", 2).called(100, 30)
    mine.add(msgspec.msgpack.decode(msgspec.msgpack.encode(other), type=Metrics))
    assert mine.calls == {
        ("m", 1): Calls(sizes={3: [2, 30]}, requests=1, waited=4, beside=5),
        ("m", 2): Calls(sizes={128: [1, 30]}),
    }


@sqlite
def test_one_that_fails_fails_alone(served: Served) -> None:
    served.predictors[1] = Slow()
    slowed(served, live())
    statuses = [status for status, *_ in at_once(served, requests(20, wrong=7))]
    assert statuses == [500 if i == 7 else 200 for i in range(20)]


@sqlite
def test_a_canary_has_its_rows_of_every_request(served: Served) -> None:
    served.predictors[1], served.predictors[2] = Slow(), Slow(10.0)
    slowed(served, live(1), canary(2, weight=0.5))
    asked = requests(40)
    versions = set()
    for (rows, _), (status, answer, _) in zip(asked, at_once(served, asked), strict=True):
        by = answer["parameters"]["versions"]
        versions.update(by)
        sums = [
            sum(row) * (1 if version == 1 else 10) for row, version in zip(rows, by, strict=True)
        ]
        assert (status, answer["outputs"][0]["data"]) == (200, sums)
    assert versions == {1, 2}


@sqlite
def test_who_comes_when_too_many_wait_is_told_to_come_again(served: Served) -> None:
    served.configure(EndpointSettings(queue=5))
    served.predictors[1] = Slow()
    slowed(served, live())
    told = at_once(served, requests(20))
    refused = [(answer, headers) for status, answer, headers in told if status == 429]
    assert len(refused) == 20 - 1 - 5  # one is scored, five wait
    assert f'setpoint_refused_total{{model="m",why="queue"}} {len(refused)}' in metrics(served)
    assert all(headers["retry-after"] == "1" for _, headers in refused)
    assert "wait for the model" in refused[0][0]["error"]
    assert {status for status, *_ in told} == {200, 429}
    assert at_once(served, requests(1))[0][0] == 200


@given(
    counts=st.lists(st.integers(1, 5), min_size=1, max_size=12),
    weight=st.sampled_from([0.0, 0.3, 1.0]),
    texts=st.booleans(),
)
def test_together_they_are_scored_as_each_alone(
    counts: list[int], weight: float, *, texts: bool
) -> None:
    inputs = [Input("a"), Input("t", "BYTES")] if texts else [Input("a"), Input("b")]
    arms = {1: Arm(1, Sum(1.0, inputs)), 2: Arm(2, Sum(10.0, inputs))}
    endpoint = Endpoint("m", 1, [live(1), canary(2, weight)], arms)
    batch = []
    for i, count in enumerate(counts):
        values = np.arange(count * (1 if texts else 2), dtype=float).reshape(count, -1) + i
        words: dict[str, list[str | None]] = {"t": ["x" * j for j in range(count)]} if texts else {}
        rows = Rows(count, values, words)
        keys = [f"{i}-{j}" for j in range(count)]
        batch.append(batching._Waiting(rows, keys, 0, cast(Any, Future()), 0))
    for one, parts in zip(batch, batching._together(endpoint, batch).parts, strict=True):
        alone = scoring.score(endpoint, one.rows, one.keys)
        count = one.rows.count
        assert scoring.assemble(parts, count) == scoring.assemble(alone, count)
        assert sum(part.rows.count for part in parts) == count
