"""Requests for a slow model share its calls, and nothing else: not answers, not failures."""

import asyncio
import json
import time
from collections.abc import Sequence
from concurrent.futures import Future
from typing import Any, cast

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from setpoint.serve import batching, scoring
from setpoint.serve.arms import Arm
from setpoint.serve.endpoints import Endpoint
from setpoint.serve.entities import EndpointSettings, PredictionRecord
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
        batch.append(batching._Waiting(rows, keys, 0, cast(Any, Future())))
    for one, parts in zip(batch, batching._together(endpoint, batch), strict=True):
        alone = scoring.score(endpoint, one.rows, one.keys)
        count = one.rows.count
        assert scoring.assemble(parts, count) == scoring.assemble(alone, count)
        assert sum(part.rows.count for part in parts) == count
