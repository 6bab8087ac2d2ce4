"""What is wrong with a request is said in its protocol's own words: tables of faults."""

import gzip
import json
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import grpc
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from setpoint.errors import Invalid, NotFound
from setpoint.serve.grpc import open_inference, tensorflow

from .conftest import Served
from .grpc.test_server import refused, speak
from .made import live
from .test_bad_bytes import Tame, datatypes, many, shapes

pytestmark = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)

V2, TF = open_inference._m, tensorflow._m
INF = float("inf")


def tensor(data: Any, shape: Any, datatype: str = "FP64", name: str = "x", **more: Any) -> Any:
    return {"name": name, "shape": shape, "datatype": datatype, "data": data, **more}


def v2(*inputs: Any, **more: Any) -> bytes:
    return json.dumps({"inputs": list(inputs), **more}).encode()


def js(**fields: Any) -> bytes:
    return json.dumps(fields).encode()


GOOD_V2 = v2(tensor([1, 2], [1, 2]))
RAW = np.array([[1.0, 2.0]]).tobytes()


def binary(data: bytes = RAW, said: int = 16, length: int | None = None, **more: Any) -> Any:
    """Return the header's value and the body of a request with a binary tensor."""
    one = {"name": "x", "shape": [1, 2], "datatype": "FP64", **more}
    head = js(inputs=[one | {"parameters": {"binary_data_size": said}}])
    return str(len(head) if length is None else length), head + data


#: What every client of V2 sees of these: ``{"error": text}``, with the status and a part of it.
REST_V2: dict[str, tuple[int, str, bytes]] = {
    "too wide": (400, "has 3 columns", v2(tensor([1, 2, 3], [1, 3]))),
    "no columns": (400, "has 0 columns", v2(tensor([], [1, 0]))),
    "not filled": (400, "do not fill the shape", v2(tensor([1], [1, 2]))),
    "negative": (400, "has -1 columns", v2(tensor([1, 2], [2, -1]))),
    "huge": (400, "has 1000000000 columns", v2(tensor([1, 2], [4294967296, 10**9]))),
    "no shape": (
        400,
        "missing required field `shape`",
        js(inputs=[{"name": "x", "datatype": "FP64", "data": []}]),
    ),
    "text": (
        400,
        "is numeric, not BYTES",
        v2(tensor(["1"], [1], "BYTES", "a"), tensor([1], [1], name="b")),
    ),
    "text in it": (400, "Expected `float | array | null`", v2(tensor(["1", 2], [1, 2]))),
    "nested text": (400, "do not fill the shape", v2(tensor([["1", 2]], [1, 2]))),
    "objects": (400, "do not fill the shape", v2(tensor([[{}, 2]], [1, 2]))),
    "ragged": (400, "do not fill the shape", v2(tensor([[1, 2], [3]], [2, 2]))),
    "unknown datatype": (400, "Invalid value 'FP99'", v2(tensor([1, 2], [1, 2], "FP99"))),
    "too large for it": (400, "does not fit INT8", v2(tensor([1, 999], [1, 2], "INT8"))),
    "unknown input": (400, "unknown input 'c'", v2(*(tensor([1], [1], name=n) for n in "abc"))),
    "missing input": (400, "missing input 'b'", v2(tensor([1], [1], name="a"))),
    "given twice": (400, "given twice", v2(*(tensor([1], [1], name=n) for n in "aab"))),
    "rows differ": (
        400,
        "differ in their number of rows",
        v2(tensor([1], [1], name="a"), tensor([1, 2], [2], name="b")),
    ),
    "no inputs": (400, "missing input", v2()),
    "cut off": (400, "is not JSON", GOOD_V2[:-3]),
    "empty": (400, "is not JSON", b""),
    "a list": (400, "Expected `object`", b"[]"),
    "infinite": (400, "infinite", v2(tensor([float("inf"), 2], [1, 2]))),
    "too large": (400, "out of range", GOOD_V2.replace(b'data": [1,', b'data": [1e999,')),
    "ids": (400, "2 ids for 1 rows", v2(tensor([1, 2], [1, 2]), parameters={"ids": ["a", "b"]})),
    "output": (400, "'loss'", v2(tensor([1, 2], [1, 2]), outputs=[{"name": "loss"}])),
}


@pytest.fixture
def m(served: Served) -> Served:
    served.deploy(live())
    return served


@pytest.mark.parametrize("fault", REST_V2)
@pytest.mark.parametrize("packed", [False, True])
def test_v2(m: Served, fault: str, packed: bool) -> None:  # noqa: FBT001
    status, part, body = REST_V2[fault]
    headers = [(b"content-encoding", b"gzip")] if packed else []
    found, said = m.ask(
        "POST", "/v2/models/m/infer", gzip.compress(body) if packed else body, headers
    )
    assert (found, set(said)) == (status, {"error"})
    assert part in said["error"]


def test_v2_of_no_rows_is_an_answer_of_none(m: Served) -> None:
    status, said = m.ask("POST", "/v2/models/m/infer", v2(tensor([], [0, 2])))
    assert (status, said["outputs"][0]["shape"], said["outputs"][0]["data"]) == (200, [0], [])


@pytest.mark.parametrize(
    ("part", "sent"),
    [
        ("announces 17 bytes, 16 are left", binary(said=17)),
        ("announces -1 bytes", binary(said=-1)),
        ("1 bytes belong to no input", binary(RAW + b"x")),
        ("do not fill the shape", binary(RAW[:8], 8)),
        ("do not fill the shape", binary(shape=[-1, 2])),
        ("do not fill the shape", binary(b"", 0, shape=[0, 2**62, 2**62])),
        ("do not fill the shape", binary(b"", 0, shape=[0] * 70)),
        ("'FP99' is not known", binary(datatype="FP99")),
        ("infinite", binary(np.array([[INF, 2.0]]).tobytes())),
        ("ends before its length does", binary(b"\1\0\0", 3, datatype="BYTES")),
        ("has 1 left", binary(b"\xff\xff\xff\xff1", 5, datatype="BYTES")),
        ("is said to have 99999", binary(length=99_999)),
        ("is said to have -3", ("-3", GOOD_V2)),
        ("is said to have x", ("x", GOOD_V2)),
        ("is not JSON", binary(length=7)),
    ],
)
def test_v2_binary(m: Served, part: str, sent: tuple[str, bytes]) -> None:
    headers = [(b"inference-header-content-length", sent[0].encode())]
    status, said = m.ask("POST", "/v2/models/m/infer", sent[1], headers)
    assert (status, set(said)) == (400, {"error"})
    assert part in said["error"]


V1: list[tuple[str, str, bytes]] = [
    (":predict", "send either instances", b"{}"),
    (":predict", "send either instances", js(instances=[[1, 2]], inputs=[[1, 2]])),
    (":predict", "not as many values", js(instances=[[1, 2, 3]])),
    (":predict", "not as many values", js(instances=[[1, 2], [3]])),
    (":predict", "row 0 is a text", js(instances=[["1", 2]])),
    (":predict", "the rows are a number", js(instances=7)),
    (":predict", "unknown input 'c'", js(instances=[{"a": 1, "b": 2, "c": 3}])),
    (":predict", "missing input 'b'", js(instances=[{"a": 1}])),
    (":predict", "row 1 is a number", js(instances=[{"a": 1, "b": 2}, 3])),
    (":predict", "not in base 64", js(instances=[[{"b64": 1}, 2]])),
    (":predict", "differ in their number of rows", js(inputs={"a": [1], "b": [1, 2]})),
    (":predict", "no signature 'other'", js(instances=[[1, 2]], signature_name="other")),
    (":predict", "infinite", b'{"instances": [[-Infinity, 1]]}'),
    (":predict", "is not JSON", b'{"instances": [["NaN", 1]'),
    (":predict", "is not JSON", rb'{"instances": [[NaN, 1]], "parameters": {"ids": ["\ud800"]}}'),
    (":predict", "is not JSON", js(instances=[[1, 2]])[:-2]),
    (":regress", "missing required field `examples`", b"{}"),
    (":regress", "unknown input 'c'", js(examples=[{"a": 1, "b": 2, "c": 3}])),
    (":classify", "gives no probabilities", js(examples=[{"a": 1, "b": 2}])),
]


@pytest.mark.parametrize(("what", "part", "body"), V1)
def test_v1_and_tensorflow(m: Served, what: str, part: str, body: bytes) -> None:
    status, said = m.ask("POST", f"/v1/models/m{what}", body)
    assert (status, set(said)) == (400, {"error"})
    assert part in said["error"]


def split(columns: str, *data: Any) -> Any:
    return {"columns": list(columns), "data": list(data)}


INVOCATIONS: list[tuple[str, str, bytes]] = [
    ("application/json", "the body has none of them", b"{}"),
    ("application/json", "instances and inputs", js(instances=[[1, 2]], inputs=[[1, 2]])),
    ("application/json", "row 0 has 1 values for 2 columns", js(dataframe_split=split("ab", [1]))),
    ("application/json", "a column is given twice", js(dataframe_split=split("aa"))),
    ("application/json", "missing input 'b'", js(dataframe_records=[{"a": 1}])),
    ("application/json", "infinite", b'{"inputs": {"a": [Infinity], "b": [1]}}'),
    ("application/json", "not a number", js(inputs={"a": ["x"], "b": [1]})),
    ("text/csv", "row 0 has 3 values", b"1,2,3\n"),
    ("text/csv", "not a number", b"1,x\n"),
    ("text/csv", "the body is empty", b""),
    ("text/csv", "no CSV", b"\xff\xfe"),
    ("text/csv", "infinite", b"1,-inf\n"),
    ("application/jsonlines", "no JSON by lines", b"[1,2]\n[3"),
    ("application/x-parquet", "no Parquet", b"PAR1nothing"),
    ("application/vnd.apache.arrow.stream", "no Arrow", b"\xff\xff\xff\xff\x10\0\0\0"),
    ("text/html", "is not understood", b"<html>"),
]


@pytest.mark.parametrize(("kind", "part", "body"), INVOCATIONS)
def test_mlflow_and_sagemaker(m: Served, kind: str, part: str, body: bytes) -> None:
    headers = [(b"content-type", kind.encode())]
    status, said = m.ask("POST", "/invocations", body, headers)
    expected = 415 if kind == "text/html" else 400
    assert (status, set(said)) == (expected, {"error_code", "message"})
    assert said["error_code"] == "BAD_REQUEST"
    assert part in said["message"]
    for path in ("/models/m/invoke", "/endpoints/m/invocations"):
        status, raw, told = m.exchange("POST", path, body, headers)
        assert (status, told["x-amzn-errortype"]) == (expected, "ValidationError")
        assert part in json.loads(raw)["message"]


@pytest.mark.parametrize(
    ("path", "fields"),
    [
        ("/v2/models/x/infer", {"error"}),
        ("/v2/models/m/versions/9/infer", {"error"}),
        ("/v2/models/m/versions/%00/infer", {"error"}),
        ("/v1/models/x:predict", {"error"}),
        ("/v1/models/m/versions/99999999999999999999:predict", {"error"}),
        ("/models/x/invoke", {"error_code", "message"}),
        ("/endpoints/x/invocations", {"error_code", "message"}),
        ("/nowhere", {"error"}),
    ],
)
def test_what_is_not_there_is_not_found(m: Served, path: str, fields: set[str]) -> None:
    status, said = m.ask("POST", path, GOOD_V2)
    assert (status, set(said)) == (404, fields)


@pytest.mark.parametrize(
    ("part", "body"),
    [
        ("missing required field `specversion`", js(id="1", source="s", type="t")),
        ("Expected `str`", js(id=1, source="s", type="t", specversion="1.0")),
        ("has no id", js(id="", source="s", type="t", specversion="1.0")),
        ("version '0.3'", js(id="1", source="s", type="t", specversion="0.3")),
        ("not in base 64", js(id="1", source="s", type="t", specversion="1.0", data_base64="%")),
        ("not in base 64", js(id="1", source="s", type="t", specversion="1.0", data_base64="é")),
        ("is not JSON", b"{"),
        ("missing required field `inputs`", js(id="1", source="s", type="t", specversion="1.0")),
        ("Expected `object`", js(id="1", source="s", type="t", specversion="1.0", data=[])),
    ],
)
def test_events(m: Served, part: str, body: bytes) -> None:
    headers = [(b"content-type", b"application/cloudevents+json")]
    status, said = m.ask("POST", "/v2/models/m/infer", body, headers)
    assert (status, set(said)) == (400, {"error"})
    assert part in said["error"]


def grpc_v2(raw: list[bytes] | None = None, **more: Any) -> Any:
    one = {"name": "x", "datatype": "FP64", "shape": [1, 2], **more}
    return V2.Infer(model_name="m", inputs=[one], raw_input_contents=raw or [])


def grpc_tf(**more: Any) -> Any:
    shape = {"dim": [{"size": size} for size in more.pop("shape", (1, 2))]}
    given = {"dtype": 2, "tensor_shape": shape, "double_val": [1.0, 2.0], **more}
    return TF.Predict(model_spec={"name": "m"}, inputs={"x": given})


INFER = "/inference.GRPCInferenceService/ModelInfer"
PREDICT = "/tensorflow.serving.PredictionService/Predict"
GRPC: list[tuple[str, Any]] = [
    ("do not fill the shape", grpc_v2([RAW[:8]])),
    ("do not fill the shape", grpc_v2([RAW], shape=[2**40, 2**40])),
    ("do not fill the shape", grpc_v2([b""], shape=[0, 2**62, 2**62])),
    ("do not fill the shape", grpc_v2([RAW], shape=[-1, -2])),
    ("2 raw contents for 1 inputs", grpc_v2([RAW, RAW])),
    ("'FP99' is not known", grpc_v2([RAW], datatype="FP99")),
    ("has no list", grpc_v2(datatype="FP99")),
    ("do not fill the shape", grpc_v2(contents={"fp64_contents": [1.0]})),
    ("infinite", grpc_v2(contents={"fp64_contents": [INF, 1.0]})),
    ("has 0 columns", grpc_v2([b""], shape=[1, 0])),
    ("do not fill the shape", grpc_tf(shape=(1, 3))),
    ("do not fill the shape", grpc_tf(shape=(2**32, 2**32), double_val=[])),
    ("do not fill the shape", grpc_tf(shape=(2**32, 2**31), double_val=[1.0])),
    ("do not fill the shape", grpc_tf(shape=(-1, 2))),
    ("datatype 99 is not known", grpc_tf(dtype=99)),
    ("do not fill the shape", grpc_tf(tensor_content=b"123")),
    ("infinite", grpc_tf(double_val=[INF, 1.0])),
    ("not as many values", grpc_tf(shape=(2, 1))),
]


@pytest.mark.parametrize(("part", "asked"), GRPC)
def test_grpc(m: Served, part: str, asked: Any) -> None:
    async def story(channel: Any) -> None:
        method = INFER if isinstance(asked, V2.Infer) else PREDICT
        code, said = await refused(channel, method, asked)
        assert (code, part in said) == (grpc.StatusCode.INVALID_ARGUMENT, True), said

    speak(m, story)


LISTS = ("fp64_contents", "bytes_contents", "bool_contents", "int64_contents")
contents = st.sampled_from(
    [
        {},
        {"fp64_contents": [1.0, INF]},
        {"bytes_contents": [b"\xff", b"2"]},
        {"int64_contents": [1]},
    ]
)


@many
@given(
    inputs=st.lists(st.tuples(st.sampled_from("abx"), datatypes, shapes, contents), max_size=3),
    raw=st.lists(st.one_of(st.binary(max_size=40), st.just(RAW)), max_size=3),
)
def test_no_raw_contents_break_v2_over_grpc(served: Served, inputs: Any, raw: list[bytes]) -> None:
    given = [
        {"name": n, "datatype": str(d), "shape": [min(x, 2**63 - 1) for x in s], "contents": c}
        for n, d, s, c in inputs
    ]
    asked = V2.Infer(model_name="m", inputs=given, raw_input_contents=raw)
    outcome(served, open_inference._infer, asked)


@many
@given(
    dtype=st.integers(0, 24),
    shape=shapes,
    content=st.one_of(st.just(b""), st.binary(max_size=32), st.just(RAW)),
    doubles=st.lists(st.floats(), max_size=4),
    strings=st.lists(st.binary(max_size=3), max_size=2),
    name=st.sampled_from("abx"),
)
def test_no_tensor_breaks_tensorflows_service(
    served: Served, dtype: int, shape: Any, content: bytes, doubles: Any, strings: Any, name: str
) -> None:
    dims = [{"size": min(size, 2**63 - 1)} for size in shape]
    given = TF.Tensor(
        dtype=dtype,
        tensor_shape={"dim": dims},
        tensor_content=content,
        double_val=doubles,
        string_val=strings,
    )
    asked = TF.Predict(model_spec={"name": "m"}, inputs={name: given})
    outcome(served, tensorflow._predict, asked)


def outcome(served: Served, handle: Callable[..., Any], asked: Any) -> None:
    """Have a call answered, or refused as a call is."""
    if served.endpoints.get("m") is None:
        served.predictors[1] = Tame()
        served.deploy(live())
    refusals = (Invalid, NotFound)  # anything else would be a fault of the server
    with suppress(*refusals):
        served._runner.run(handle(served.app, asked))
