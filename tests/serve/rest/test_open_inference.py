"""V2 over HTTP beyond JSON tensors: binary ones, state, statistics, the repository."""

import gzip
import json
import struct
from contextlib import suppress
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.serve.conftest import Served
from tests.serve.made import Input, Raises, Sum, canary, live, shadow

from setpoint.errors import Invalid
from setpoint.serve import v2_binary
from setpoint.serve.tensors import rows as rows_of
from setpoint.serve.v2 import Inputs, InputSpec

ROWS = np.array([[1.0, 2.0], [3.0, 4.5]])

sqlite = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)


@pytest.fixture
def m(served: Served) -> Served:
    served.deploy(live())
    return served


def binary(
    tensors: list[tuple[str, str, list[int], bytes]], **more: Any
) -> tuple[bytes, list[tuple[bytes, bytes]]]:
    """Return a body of binary tensors, and the header it needs."""
    head = {
        "inputs": [
            {
                "name": name,
                "datatype": datatype,
                "shape": shape,
                "parameters": {"binary_data_size": len(data)},
            }
            for name, datatype, shape, data in tensors
        ],
        **more,
    }
    told = json.dumps(head).encode()
    header = (b"inference-header-content-length", str(len(told)).encode())
    return told + b"".join(data for *_, data in tensors), [header]


def text(*values: str) -> bytes:
    return b"".join(struct.pack("<I", len(v.encode())) + v.encode() for v in values)


@sqlite
@pytest.mark.parametrize("dtype", ["FP64", "FP32", "FP16", "INT64", "INT8", "UINT16"])
def test_a_binary_tensor_is_read_like_one_of_json(m: Served, dtype: str) -> None:
    kind = {"FP": "<f", "IN": "<i", "UI": "<u"}[dtype[:2]] + str(int(dtype.strip("FPINTU")) // 8)
    rows = ROWS.astype(kind)
    body, headers = binary([("x", dtype, [2, 2], rows.tobytes())])
    status, answer = m.ask("POST", "/v2/models/m/infer", body, headers)
    assert status == 200
    assert answer["outputs"][0]["data"] == rows.astype(float).sum(axis=1).tolist()


@sqlite
def test_columns_texts_and_json_may_be_mixed(served: Served) -> None:
    served.predictors[1] = Sum(inputs=[Input("a"), Input("t", "BYTES")])
    served.deploy(live())
    body, headers = binary([("t", "BYTES", [2, 1], text("grün", ""))])
    head = json.loads(body[: int(headers[0][1])])
    head["inputs"].append({"name": "a", "datatype": "FP64", "shape": [2], "data": [1, None]})
    told = json.dumps(head).encode()
    headers = [(headers[0][0], str(len(told)).encode())]
    asked = told + text("grün", "")
    _, answer = served.ask("POST", "/v2/models/m/infer", asked, headers)
    assert answer["outputs"][0]["data"] == [5.0, None]


@sqlite
@pytest.mark.parametrize(
    "more",
    [
        {"parameters": {"binary_data_output": True}},
        {"outputs": [{"name": "score", "parameters": {"binary_data": True}}]},
    ],
)
def test_an_answer_is_binary_where_that_is_asked_for(m: Served, more: Any) -> None:
    body, headers = binary([("x", "FP64", [2, 2], ROWS.tobytes())], **more)
    status, raw, told = m.exchange("POST", "/v2/models/m/infer", body, headers)
    size = int(told["inference-header-content-length"])
    head = json.loads(raw[:size])
    assert (status, told["content-type"]) == (200, "application/octet-stream")
    assert head["outputs"][0]["parameters"] == {"binary_data_size": 16}
    assert np.frombuffer(raw[size:]).tolist() == [3.0, 7.5]
    assert head["parameters"]["versions"] == [1, 1]
    plain = {"inputs": [{"name": "x", "datatype": "FP64", "shape": [1, 2], "data": [1, 2]}], **more}
    _, raw, told = m.exchange("POST", "/v2/models/m/infer", json.dumps(plain).encode())
    assert raw.endswith(np.array([3.0]).tobytes())
    short = m.app.infer_now("m", json.dumps(plain).encode())
    assert short is not None
    assert short.body.endswith(np.array([3.0]).tobytes())


@sqlite
@pytest.mark.parametrize(
    ("tensors", "length", "said"),
    [
        ([("x", "FP64", [2, 2], ROWS.tobytes())], "9999", "9999 of"),
        ([("x", "FP64", [2, 2], ROWS.tobytes())], "-1", "of"),
        ([("x", "FP64", [2, 2], ROWS.tobytes())], "abc", "of"),
        ([("x", "FP64", [2, 3], ROWS.tobytes())], "", "do not fill"),
        ([("x", "FP64", [-2, -2], ROWS.tobytes())], "", "do not fill"),
        ([("x", "FP99", [2, 2], ROWS.tobytes())], "", "datatype"),
        ([("t", "BYTES", [1], b"\x09\0\0\0abc")], "", "3 left"),
        ([("t", "BYTES", [1], b"\x09\0")], "", "ends before"),
        ([("t", "BYTES", [3], text("a"))], "", "do not fill"),
    ],
)
def test_broken_binary_is_refused(m: Served, tensors: Any, length: str, said: str) -> None:
    body, headers = binary(tensors)
    if length:
        headers = [(headers[0][0], length.encode())]
    status, answer = m.ask("POST", "/v2/models/m/infer", body, headers)
    assert status == 400
    assert said in answer["error"]


@sqlite
def test_bytes_too_many_or_too_few_are_refused(m: Served) -> None:
    body, headers = binary([("x", "FP64", [2, 2], ROWS.tobytes())])
    for wrong in (body + b"x", body[:-1]):
        assert m.ask("POST", "/v2/models/m/infer", wrong, headers)[0] == 400


@settings(max_examples=300)
@given(body=st.binary(max_size=300), cut=st.integers(0, 300))
def test_no_bytes_break_the_reader(body: bytes, cut: int) -> None:
    whole, headers = binary([("x", "FP64", [2, 2], ROWS.tobytes())])
    inputs = Inputs([InputSpec("a", text=False), InputSpec("b", text=False)])
    for asked, length in (
        (body, str(cut)),
        (whole[:cut] + body, headers[0][1].decode()),
        (whole, str(cut)),
    ):
        with suppress(Invalid):  # anything else fails the test
            rows_of(v2_binary.infer_request(asked, length), inputs)


@sqlite
def test_a_version_in_the_path_answers_all_rows(served: Served) -> None:
    served.deploy(live(1), canary(2, weight=0.001))
    tensor = {"name": "x", "datatype": "FP64", "shape": [3, 2], "data": [1, 2] * 3}
    for version, wanted in ((1, 3.0), (2, 30.0)):
        path = f"/v2/models/m/versions/{version}"
        _, answer = served.post(f"{path}/infer", {"inputs": [tensor]})
        assert answer["outputs"][0]["data"] == [wanted] * 3
        assert answer["model_version"] == str(version)
        assert served.get(f"{path}/ready")[0] == 200
        assert served.get(path)[0] == 200
    assert served.get("/v2/models/m/versions/3/ready")[0] == 404


@sqlite
def test_what_was_answered_is_counted_by_version(served: Served) -> None:
    served.predictors[2] = Raises()
    served.deploy(live(1), canary(2))
    for version in (1, 1, 2):
        asked = {"inputs": [{"name": "x", "datatype": "FP64", "shape": [2, 2], "data": [1] * 4}]}
        assert served.post(f"/v2/models/m/versions/{version}/infer", asked)[0] == 200
    _, told = served.get("/v2/models/m/stats")
    one, two = told["model_stats"]
    assert (one["version"], one["inference_count"], one["execution_count"]) == ("1", 4, 2)
    assert one["inference_stats"]["success"]["count"] == 2
    assert one["inference_stats"]["success"]["ns"] >= 0
    assert one["last_inference"] > 0
    assert two["inference_stats"]["fail"]["count"] == 1  # the live version answered for it
    assert served.get("/v2/models/stats")[1]["model_stats"] == [one, two]
    assert served.get("/v2/models/m/versions/1/stats")[1]["model_stats"] == [one]


@sqlite
def test_state_configuration_and_repository(served: Served) -> None:
    served.deploy(live(1), shadow(2))
    assert "binary_tensor_data" in served.get("/v2")[1]["extensions"]
    assert served.get("/v2/health/ready")[0] == served.get("/v2/health/live/")[0] == 200
    assert served.get("/v2/models/m/config")[1]["input"][0] == {
        "name": "a",
        "data_type": "TYPE_FP64",
        "dims": [-1],
    }
    status, raw, _ = served.exchange("POST", "/v2/repository/index", b"{}")
    assert (status, [one["version"] for one in json.loads(raw)]) == (200, ["1", "2"])
    assert served.post("/v2/repository/models/m/load", {})[0] == 200
    assert served.post("/v2/repository/models/other/load", {})[0] == 404
    assert served.post("/v2/repository/models/m/unload", {})[0] == 400
    for path in ("/v2/systemsharedmemory/status", "/v2/trace/setting", "/v2/logging"):
        status, answer = served.get(path)
        assert (status, answer.keys()) == (400, {"error"})


@sqlite
def test_a_long_answer_is_packed_where_that_is_accepted(m: Served) -> None:
    data = np.arange(2_000.0).tolist()
    asked = {"inputs": [{"name": "x", "datatype": "FP64", "shape": [1_000, 2], "data": data}]}
    body = json.dumps(asked).encode()
    accept = [(b"accept-encoding", b"br;q=1, gzip")]
    _, raw, told = m.exchange("POST", "/v2/models/m/infer", body, accept)
    assert told["content-encoding"] == "gzip"
    assert len(json.loads(gzip.decompress(raw))["outputs"][0]["data"]) == 1_000
    refused = [(b"accept-encoding", b"gzip;q=0, identity")]
    _, raw, told = m.exchange("POST", "/v2/models/m/infer", body, refused)
    assert "content-encoding" not in told
    packed = [(b"content-encoding", b"gzip"), *accept]
    assert m.exchange("POST", "/v2/models/m/infer", gzip.compress(body), packed)[0] == 200
