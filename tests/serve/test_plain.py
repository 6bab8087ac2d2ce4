"""The plain way and the long way must be one: asked the same, they answer and log the same."""

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from setpoint.models.entities import Input as ModelInput
from setpoint.models.entities import Output, Signature
from setpoint.serve import plain, v2
from setpoint.serve.entities import PredictionRecord

from .conftest import Served
from .made import Answers, Raises, Sum, canary, live, shadow

NUMBERS = st.floats(-1e6, 1e6) | st.integers(-1000, 1000)
INFER = "/v2/models/m/infer"
INPUTS = v2.Inputs([v2.InputSpec("a", text=False), v2.InputSpec("b", text=False)])


def body(data: Any, shape: list[int], **more: Any) -> bytes:
    tensor = {"name": "x", "datatype": "FP64", "shape": shape, "data": data}
    return json.dumps({"inputs": [tensor], **more}).encode()


@st.composite
def requests(draw: st.DrawFn) -> bytes:
    count = draw(st.integers(1, 4))
    data = draw(st.lists(NUMBERS, min_size=2 * count, max_size=2 * count))
    ids = draw(st.lists(st.text("abc", min_size=1), min_size=count, max_size=count, unique=True))
    keys = draw(st.lists(st.text("kl", max_size=3), min_size=count, max_size=count))
    parameters = {"ids": ids, "keys": keys} if draw(st.booleans()) else {"ids": ids}
    return body(data, [count, 2], id="req", parameters=parameters)


def same(served: Served, asked: bytes) -> None:
    """Ask both ways; compare what is answered, logged and counted."""
    before = len(served.logged())
    status, raw, _ = served.short(INFER, asked) or (0, b"", {})
    served.sync()
    short = [told(record) for record in served.logged()[before:]]
    metrics = served.app.metrics
    requests, rows = metrics.requests, metrics.rows
    before += len(short)
    assert (status, json.loads(raw)) == served.ask("POST", INFER, asked)
    served.sync()
    assert short == [told(record) for record in served.logged()[before:]]
    assert metrics.requests == {key: 2 * count for key, count in requests.items()}
    assert metrics.rows == {key: 2 * count for key, count in rows.items()}
    metrics.tallies.clear()


def told(record: Any) -> dict[str, Any]:
    fields = {name: getattr(record, name) for name in record.__struct_fields__}
    return fields | {"micros": 0, "kind": type(record).__name__}


@pytest.mark.parametrize(
    "deployed",
    [(live(),), (live(), canary(weight=0.5)), (live(), shadow()), (live(), canary(weight=1.0))],
    ids=["alone", "canary", "shadow", "all canary"],
)
@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(requests())
def test_both_ways_answer_log_and_count_alike(
    served: Served, deployed: tuple[Any, ...], asked: bytes
) -> None:
    if "m" not in served.endpoints.all():
        served.deploy(*deployed)
    same(served, asked)


@pytest.mark.parametrize("broken", [Raises(), Answers([0.5, 0.5]), Answers([float("nan")])])
def test_a_version_that_fails_is_told_the_same_either_way(served: Served, broken: Any) -> None:
    served.predictors[1] = broken
    served.deploy(live())
    asked = body([1, 2], [1, 2], id="req", parameters={"ids": ["a"]})
    same(served, asked)
    served.baselines[3] = Sum()
    served.predictors[3] = broken
    served.deploy(live(3))
    same(served, asked)


@pytest.mark.parametrize(
    "given",
    [
        body([1, None], [1, 2]),
        body([[1, 2]], [1, 2]),
        body([1, 2, 3], [1, 2]),
        body([1, 2], [2, 1]),
        body([], [0, 2]),
        body([1, 2], [-1, -2]),
        body([1, 2, 3], [1, 3]),
        body([1, 2], [1, 2], outputs=[{"name": "other"}]),
        body(["1", 2], [1, 2]),
        b'{"inputs": []}',
        b"{",
        b"\xff",
        b"",
    ],
)
def test_what_is_not_plain_is_left_to_the_long_way(served: Served, given: bytes) -> None:
    served.deploy(live())
    assert plain.read(given, INPUTS) is None
    short = served.short(INFER, given)
    status, answer = served.ask("POST", INFER, given)
    assert short is not None
    assert short[0] == status
    if status != 200:
        assert json.loads(short[1]) == answer


def test_wrong_names_for_rows_are_refused_before_anything_is_scored(served: Served) -> None:
    served.deploy(live())
    asked = body([1, 2, 3, 4], [2, 2], parameters={"ids": ["a", "a"]})
    assert plain.read(asked, INPUTS) is not None
    assert (served.short(INFER, asked) or [0])[0] == 400
    assert served.logged() == []


def test_the_record_holds_what_was_asked(served: Served) -> None:
    served.deploy(live())
    served.short(INFER, body([1, 2], [1, 2], parameters={"ids": ["a"]}))
    [record] = served.logged()
    assert isinstance(record, PredictionRecord)
    assert (record.ids, record.columns) == (["a"], ["a", "b"])
    assert len(record.values) == 16


def raw(data: Any, datatype: str, **more: Any) -> tuple[bytes, int]:
    values = np.array(data, dtype={"FP64": "<f8", "FP32": "<f4"}[datatype])
    tensor: dict[str, Any] = {"name": "x", "datatype": datatype, "shape": list(values.shape)}
    tensor["parameters"] = {"binary_data_size": values.nbytes}
    head = json.dumps({"inputs": [tensor], **more}).encode()
    return head + values.tobytes(), len(head)


@pytest.mark.parametrize("datatype", ["FP64", "FP32"])
@pytest.mark.parametrize(
    "more",
    [
        {},
        {"parameters": {"binary_data_output": True, "ids": ["a", "b"]}},
        {"outputs": [{"name": "score", "parameters": {"binary_data": True}}], "id": "req"},
        {"outputs": [{"name": "score", "parameters": {"binary_data": False}}]},
        {"outputs": [{"name": "score"}], "parameters": {"binary_data_output": True}},
    ],
)
def test_raw_matrices_are_answered_alike_on_both_ways(
    served: Served, datatype: str, more: Any
) -> None:
    served.deploy(live(), canary(weight=1.0))
    asked, size = raw([[1.0, 2.5], [-3.0, 1e-3]], datatype, **more)
    found = plain.read_raw(asked, size, INPUTS)
    assert found is not None
    headers = [(b"inference-header-content-length", b"%d" % size)]
    status, short, short_told = served.short(INFER, asked, headers) or (0, b"", {})
    long_status, long, told = served.exchange("POST", INFER, asked, headers)
    of_json = int(told.get("inference-header-content-length", 0))
    assert (status, told | short_told) == (long_status, told)
    assert of_json == int(short_told.get("inference-header-content-length", 0))
    heads = [json.loads(each[: of_json or None]) for each in (short, long)]
    for head in heads:
        if "ids" not in more.get("parameters", {}):
            del head["parameters"]["ids"]
        if "id" not in more:
            del head["id"]
    assert heads[0] == heads[1]
    assert of_json == 0 or short[of_json:] == long[of_json:]
    first, second = served.logged()
    assert isinstance(first, PredictionRecord)
    assert isinstance(second, PredictionRecord)
    assert (first.values, first.scores) == (second.values, second.scores)


@pytest.mark.parametrize("cut", [1, 8, 31])
def test_raw_bytes_that_are_missing_or_too_many_are_refused(served: Served, cut: int) -> None:
    served.deploy(live())
    asked, size = raw([[1.0, 2.5], [-3.0, 1.0]], "FP64")
    for wrong in (asked[:-cut], asked + b"x" * cut):
        assert plain.read_raw(wrong, size, INPUTS) is None
        headers = [(b"inference-header-content-length", b"%d" % size)]
        assert (served.short(INFER, wrong, headers) or [0])[0] == 400
    assert served.logged() == []


class Traced(Sum):
    """Says besides its score what answered each row, as graphs do."""

    signature = Signature(
        inputs=[ModelInput(name="a", datatype="FP64"), ModelInput(name="b", datatype="FP64")],
        kind="regression",
        outputs=[Output(name="nodes", datatype="BYTES", trace=True)],
    )

    def predict(self, rows: Any) -> Any:
        score = super().predict(rows)
        return {"score": score, "nodes": np.array([f"{value:g}" for value in score], object)}


@pytest.mark.parametrize("path", [INFER, "/v1/models/m:predict"])
def test_what_answered_in_a_graph_is_logged_whichever_way_it_was_asked(
    served: Served, path: str
) -> None:
    served.predictors[1] = Traced()
    served.deploy(live())
    asked = body([1, 2], [1, 2]) if path == INFER else b'{"instances": [[1, 2]]}'
    found = served.short(path, asked)
    assert found is not None
    assert found[0] == 200
    assert served.ask("POST", path, asked)[0] == 200
    served.sync()
    told = [record.nodes for record in served.logged() if isinstance(record, PredictionRecord)]
    assert told == [["3"], ["3"]]


def test_what_answered_in_a_graph_is_told_to_who_asks_for_it(served: Served) -> None:
    served.predictors[1] = Traced()
    served.deploy(live())
    found = served.short(INFER, body([1, 2], [1, 2], outputs=[{"name": "nodes"}]))
    assert found is not None
    assert json.loads(found[1])["outputs"][0]["data"] == ["3"]
