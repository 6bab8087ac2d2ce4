"""Whatever the bytes of a request are and whichever way they go, the answer is the protocol's.

By `hypothesis`, as many examples as ``HOSTILE`` says; ``make hostile`` has the time for many.
"""

import gzip
import io
import json
import os
import time
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from setpoint.core.clock import ManualClock
from setpoint.db.local import LocalBackend

from .conftest import Served
from .made import Input, Sum, live

EXAMPLES = int(os.environ.get("HOSTILE") or 150)
MOST_SECONDS = 2.0  #: for any of them, on a machine full of tests

pytestmark = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
many = settings(
    max_examples=EXAMPLES,
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


class Tame(Sum):
    """Takes numbers of any size, and infinity."""

    def predict(self, rows: Any) -> Any:
        with np.errstate(over="ignore", invalid="ignore"):
            found = super().predict(rows) if isinstance(rows, dict) else rows.sum(axis=1)
        return np.tanh(np.nan_to_num(found))


@pytest.fixture
def hit(served: Served) -> Served:
    """A server of a model of two numbers, which takes any."""
    served.predictors[1] = Tame()
    served.deploy(live())
    return served


numbers = st.one_of(
    st.floats(),
    st.integers(-(2**70), 2**70),
    st.sampled_from([0, -1, 2**31, 2**32, 2**63, 1e308, 5e-324, 1, 2]),
)
texts = st.one_of(st.sampled_from(["a", "b", "x", "score", "", "\0", "nan", "b64"]), st.text())
values = st.recursive(
    st.one_of(st.none(), st.booleans(), numbers, texts),
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(texts, inner, max_size=3)),
    max_leaves=12,
)
datatypes = st.sampled_from(["FP64", "FP32", "FP16", "INT8", "UINT64", "BOOL", "BYTES", "FP99", 7])
shapes = st.one_of(
    st.sampled_from([[1, 2], [2], [0, 2], [2, 0], [], [-1, 2], [1] * 40, [0, 2**62, 2**62]]),
    st.lists(st.one_of(st.integers(-2, 3), st.sampled_from([2**32, 10**9, 2**63])), max_size=4),
)
sizes = st.one_of(st.integers(-1, 40), st.just(2**40))
tensors = st.fixed_dictionaries(
    {
        "name": st.one_of(texts, values),
        "shape": st.one_of(shapes, values),
        "datatype": datatypes,
        "data": st.one_of(st.lists(numbers, min_size=2, max_size=4), values),
    },
    optional={"parameters": st.fixed_dictionaries({"binary_data_size": sizes})},
)
asked = st.fixed_dictionaries(
    {"inputs": st.one_of(st.lists(tensors, max_size=3), values)},
    optional={
        "id": st.one_of(texts, values),
        "parameters": st.one_of(
            values,
            st.fixed_dictionaries({"ids": st.lists(texts, max_size=2)}),
            st.just({"binary_data_output": True}),
        ),
        "outputs": st.one_of(values, st.lists(st.fixed_dictionaries({"name": texts}), max_size=2)),
    },
)
frames = st.fixed_dictionaries(
    {},
    optional={
        "instances": values,
        "inputs": st.one_of(values, st.fixed_dictionaries({"a": values, "b": values})),
        "dataframe_split": st.one_of(
            values,
            st.fixed_dictionaries(
                {"columns": st.lists(texts, max_size=3), "data": st.lists(st.lists(values))}
            ),
        ),
        "dataframe_records": st.one_of(values, st.lists(st.dictionaries(texts, values))),
        "examples": st.one_of(values, st.lists(st.dictionaries(texts, values), max_size=3)),
        "signature_name": texts,
        "parameters": values,
    },
)


def written(value: Any) -> bytes:
    return json.dumps(value).encode()  # NaN and Infinity as pandas writes them


def cut(body: bytes, at: int, byte: int) -> bytes:
    """Return a body with one byte changed, or its end cut off."""
    if not body:
        return body
    place = at % len(body)
    return body[:place] if byte > 255 else body[:place] + bytes([byte]) + body[place + 1 :]


bodies = st.one_of(
    st.one_of(asked, frames, values).map(written),
    st.builds(cut, st.one_of(asked, frames).map(written), st.integers(0), st.integers(0, 300)),
    st.binary(max_size=300),
)
HEADER = "inference-header-content-length"
PATHS = (
    "/v2/models/m/infer",
    "/v2/models/m/versions/1/infer",
    "/v2/models/m/labels",
    "/v1/models/m:predict",
    "/v1/models/m:classify",
    "/v1/models/m:regress",
    "/v1/models/m/labels/live:predict",
    "/invocations",
    "/models/m/invoke",
    "/endpoints/m/invocations",
    "/endpoints/m/invocations-response-stream",
    "/models",
    "/-/sync",
    "/v2/repository/index",
)
KINDS = (
    b"application/json",
    b"text/csv",
    b"application/jsonlines",
    b"application/cloudevents+json",
    b"text/weird; x",
)


def check(status: int, raw: bytes, began: float) -> None:
    assert status < 500, raw[:300]
    assert time.process_time() - began < MOST_SECONDS, "it took for ever"
    if status >= 400:
        assert json.loads(raw).keys() & {"error", "error_code", "message"}, raw[:300]


@many
@given(
    path=st.sampled_from(PATHS),
    kind=st.sampled_from(KINDS),
    body=bodies,
    more=st.lists(
        st.sampled_from(
            [
                (b"inference-header-content-length", b"20"),
                (b"inference-header-content-length", b"-1"),
                (b"content-encoding", b"gzip"),
                (b"content-encoding", b"br"),
                (b"ce-specversion", b"1.0"),
                (b"accept", b"text/csv"),
                (b"accept", b"application/jsonlines"),
                (b"x-amzn-sagemaker-target-variant", b"9"),
                (b"x-amzn-sagemaker-inference-id", b"\xff"),
            ]
        ),
        max_size=2,
    ),
)
def test_every_body_has_an_answer_of_its_protocol(
    hit: Served, path: str, kind: bytes, body: bytes, more: list[tuple[bytes, bytes]]
) -> None:
    began = time.process_time()
    status, raw, _ = hit.exchange("POST", path, body, [(b"content-type", kind), *more])
    check(status, raw, began)


plain = st.builds(
    lambda rows, data, extra: written(
        {
            "inputs": [{"name": "x", "shape": [rows, 2], "datatype": "FP64", "data": data}],
            "parameters": {"ids": [f"r{i}" for i in range(max(rows, 0))]},
            "id": "same",
            **extra,
        }
    ),
    st.integers(-1, 4),
    st.lists(numbers, max_size=8),
    st.sampled_from([{}, {}, {"outputs": []}, {"outputs": [{"name": "score"}]}, {"more": 1}]),
)


@many
@given(body=st.one_of(plain, plain, bodies))
def test_the_short_way_answers_as_the_long_one_does(hit: Served, body: bytes) -> None:
    """The plain fast path, the lane without it, and the application, in one process."""
    began = time.process_time()
    ways = []
    endpoint = hit.endpoints.get("m")
    assert endpoint is not None
    for fast in (True, False):
        endpoint.plain = fast
        found = hit.app.infer_now("m", body)
        if found is not None:
            ways.append((found.status, found.body))
    endpoint.plain = True
    status, raw, _ = hit.exchange("POST", "/v2/models/m/infer", body)
    check(status, raw, began)
    for other, answer in ways:
        assert other == status
        assert same(answer) == same(raw)


@many
@given(
    one=tensors,
    data=st.one_of(st.just(np.arange(2.0).tobytes()), st.binary(max_size=40)),
    wrong=st.integers(-2, 2),
    raw=st.booleans(),
)
def test_binary_tensors_are_answered_the_same_either_way(
    hit: Served,
    one: Any,
    data: bytes,
    wrong: int,
    raw: bool,  # noqa: FBT001 - as it is drawn
) -> None:
    sized = one | {"parameters": {"binary_data_size": len(data)}}
    sized.pop("data", None)
    head = written({"inputs": [sized], "parameters": {"binary_data_output": raw}})
    body, size = head + data, max(len(head) + (wrong if wrong == 2 else 0), 1)
    header = [(b"inference-header-content-length", b"%d" % size)]
    status, long, told = hit.exchange("POST", "/v2/models/m/infer", body, header)
    assert status < 500, long
    found = hit.short("/v2/models/m/infer", body, header)
    assert (found is None) == (size > len(body))
    if found is None:
        return
    assert (found[0], found[2].get(HEADER)) == (status, told.get(HEADER))
    if HEADER in told:
        length = int(told[HEADER])
        assert found[1][length:] == long[length:]
    else:
        assert same(found[1]) == same(long)


def same(answer: bytes) -> Any:
    """Return an answer without what is made up for each: the ids."""
    said = json.loads(answer)
    if "id" in said and said["id"] != "same":
        return said["outputs"]
    return said


HUGE: dict[str, bytes] = {
    "brackets": b'{"inputs":[{"name":"x","shape":[1,2],"datatype":"FP64","data":'
    + b"[" * 200_000
    + b"]" * 200_000
    + b"}]}",
    "brackets beside": b'{"x":' + b"[" * 200_000 + b"]" * 200_000 + b',"inputs":[],"instances":[]}',
    "objects": b'{"instances":' + b'{"a":' * 100_000 + b"1" + b"}" * 100_000 + b"}",
    "some brackets": b'{"instances":' + b"[" * 700 + b"]" * 700 + b"}",
    "shape": b'{"inputs":[{"name":"x","shape":[4294967296,1000000000],'
    b'"datatype":"FP64","data":[1]}]}',
    "dimensions": b'{"inputs":[{"name":"a","shape":['
    + b"9223372036854775807," * 200_000
    + b'1],"datatype":"FP64","data":[1]}]}',
    "rows of nothing": b'{"inputs":[{"name":"a","shape":[4294967296,0],'
    b'"datatype":"FP64","data":[]}]}',
    "exponent": b'{"instances":[[1e400,1]]}',
    "digits": b'{"instances":[[' + b"9" * 1_000_000 + b",1]]}",
    "digits beside NaN": b'{"instances":[[NaN,' + b"9" * 100_000 + b"]]}",
    "names": b'{"dataframe_records":['
    + b",".join(b'{"n%d":1}' % i for i in range(200_000))
    + b"]}",
    "examples": b'{"examples":[' + b",".join(b'{"n%d":1}' % i for i in range(200_000)) + b"]}",
    "tensors": b'{"inputs":['
    + b",".join([b'{"name":"x","shape":[1],"datatype":"FP64","data":[1]}'] * 100_000)
    + b"]}",
    "text": b'{"inputs":[{"name":"x","shape":[1,2],"datatype":"FP64","data":[["'
    + b"a" * 4_000_000
    + b'",'
    + b'"b",' * 100_000
    + b'"c"]]}]}',
    "lines": b"1,2,3\n" * 500_000,
    "a line": b"1," * 1_000_000,
    "quotes": b'"' * 1_000_000,
    "zeros": bytes(5_000_000),
}


@pytest.mark.parametrize("what", HUGE)
def test_large_bodies_take_little_time_and_memory(hit: Served, what: str) -> None:
    body = HUGE[what]
    for path in PATHS[:11]:
        for kind in (b"application/json", b"text/csv", b"application/jsonlines"):
            before, began = resident(), time.process_time()
            status, raw, _ = hit.exchange("POST", path, body, [(b"content-type", kind)])
            assert status in {400, 404, 413}, (path, kind, raw[:200])
            assert time.process_time() - began < 3.0, (path, kind)
            assert resident() - before < 600_000_000, (path, kind)


def resident() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4_096


@pytest.mark.parametrize(
    ("encoding", "body", "status"),
    [
        ("gzip", gzip.compress(bytes(100_000_000), 1, mtime=0), 413),
        ("deflate", zlib.compress(bytes(50_000_000)), 413),
        ("gzip", gzip.compress(b"1,2\n3,4\n5,6\n", mtime=0)[:-4], 400),
        ("gzip", gzip.compress(b"1,2\n", mtime=0) + b"more", 400),
        ("gzip", b"1,2\n", 400),
        ("gzip", b"", 400),
        ("br", b"1,2\n", 400),
        ("gzip, gzip", b"1,2\n", 400),
    ],
)
def test_packed_bodies_are_unpacked_whole_or_refused(
    hit: Served, encoding: str, body: bytes, status: int
) -> None:
    before = resident()
    headers = [(b"content-type", b"text/csv"), (b"content-encoding", encoding.encode())]
    assert hit.exchange("POST", "/invocations", body, headers)[0] == status
    assert resident() - before < 100_000_000


def table(kind: str, compression: str) -> bytes:
    file, frame = io.BytesIO(), pl.DataFrame({"a": [1.0, 2.0] * 50, "b": [None, 2.0] * 50})
    if kind == "parquet":
        frame.write_parquet(file, compression=compression)  # type: ignore[arg-type]
    else:
        frame.write_ipc_stream(file, compression=compression)  # type: ignore[call-overload]
    return file.getvalue()


TABLES = [(kind, table(kind, how)) for kind in ("parquet", "arrow") for how in ("zstd", "lz4")]
TYPES = {"parquet": b"application/x-parquet", "arrow": b"application/vnd.apache.arrow.stream"}


@settings(many, max_examples=max(EXAMPLES // 3, 30))
@given(
    which=st.sampled_from(TABLES),
    changed=st.lists(
        st.tuples(st.integers(0, 5_000), st.one_of(st.binary(max_size=1), st.just(b"\xff" * 8))),
        min_size=1,
        max_size=3,
    ),
)
def test_a_table_that_breaks_its_reader_breaks_nothing_else(
    hit: Served, which: tuple[str, bytes], changed: list[tuple[int, bytes]]
) -> None:
    kind, body = which
    for at, new in changed:
        place = at % len(body)
        body = body[:place] + new + body[place + len(new) :]
    status, raw, _ = hit.exchange("POST", "/invocations", body, [(b"content-type", TYPES[kind])])
    assert status in {200, 400, 413}, raw


def test_a_table_with_more_rows_than_bytes_is_refused(hit: Served) -> None:
    file = io.BytesIO()
    pl.DataFrame({"a": np.zeros(20_000_000), "b": np.zeros(20_000_000)}).write_parquet(file)
    assert len(file.getvalue()) < 10_000_000
    headers = [(b"content-type", TYPES["parquet"])]
    status, raw, _ = hit.exchange("POST", "/invocations", file.getvalue(), headers)
    assert (status, b"20,000,000 rows" in raw) == (400, True), raw


def test_an_infinite_number_is_no_fault_of_a_model_that_takes_none(
    served: Served, clock: ManualClock, backend: LocalBackend
) -> None:
    served.predictors[1] = Sum(inputs=[Input("a"), Input("b")])
    served.deploy(live())
    headers = [(b"content-type", b"text/csv")]
    status, raw, _ = served.exchange("POST", "/invocations", b"1,2\ninf,3\n", headers)
    assert status == 400
    assert b"row 1 has an infinite number" in raw
    assert served.logged() == [], "it tells nothing of the model"
    served.predictors[2] = Tame()
    served.deploy(live(2))
    assert served.exchange("POST", "/invocations", b"inf,3\n", headers)[0] == 200
