"""SageMaker's answers in parts: as those at once, in events."""

import json
import struct
from collections.abc import Iterator
from typing import Any
from zlib import crc32

import pytest
from tests.serve.conftest import Served
from tests.serve.made import Raises, canary, live

from setpoint.serve.rest.streaming import PART

pytestmark = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)

PATH = "/endpoints/m/invocations-response-stream"


@pytest.fixture
def m(served: Served) -> Served:
    served.deploy(live())
    return served


def stream(
    served: Served, body: bytes, kind: bytes = b"text/csv", path: str = PATH, **more: str
) -> tuple[int, bytes, dict[str, str]]:
    headers = [(b"content-type", kind)]
    headers += [(name.replace("_", "-").encode(), value.encode()) for name, value in more.items()]
    return served.exchange("POST", path, body, headers)


def parts(raw: bytes) -> Iterator[bytes]:
    """Yield the payloads of a stream that has nothing but whole events in it."""
    while raw:
        total, headers, summed = struct.unpack_from(">III", raw)
        assert summed == crc32(raw[:8])
        assert struct.unpack_from(">I", raw, total - 4)[0] == crc32(raw[: total - 4])
        told = raw[12 : 12 + headers]
        for name, value in (
            (b":event-type", b"PayloadPart"),
            (b":content-type", b"application/octet-stream"),
            (b":message-type", b"event"),
        ):
            assert name + b"\x07" + struct.pack(">H", len(value)) + value in told
        yield raw[12 + headers : total - 4]
        raw = raw[total:]


def test_an_answer_is_an_event_and_its_headers_are_sagemakers(m: Served) -> None:
    status, raw, told = stream(
        m,
        b"1,2\n3,4\n",
        x_amzn_sagemaker_custom_attributes="k=v",
        x_amzn_sagemaker_inference_id="i-7",
    )
    assert status == 200
    assert [json.loads(part) for part in parts(raw)] == [{"predictions": [3.0, 7.0]}]
    assert told["content-type"] == "application/vnd.amazon.eventstream"
    assert told["x-amzn-sagemaker-content-type"] == "application/json"
    assert told["x-amzn-invoked-production-variant"] == "1"
    assert told["x-amzn-sagemaker-custom-attributes"] == "k=v"
    assert m.logged()[0].ids == ["i-7.0", "i-7.1"]


def test_what_the_answer_is_in_is_said_by_a_header_of_its_own(m: Served) -> None:
    asked = {"x_amzn_sagemaker_accept": "text/csv", "accept": "application/vnd.amazon.eventstream"}
    _, raw, told = stream(m, b"1,2\n", b"text/csv", PATH, **asked)
    assert b"".join(parts(raw)) == b"3.0\n"
    assert told["x-amzn-sagemaker-content-type"].startswith("text/csv")


def test_a_long_answer_comes_in_parts_and_none_of_nothing_in_one(m: Served) -> None:
    rows = 40_000
    _, raw, _ = stream(m, b"1,2\n" * rows, x_amzn_sagemaker_accept="text/csv")
    found = list(parts(raw))
    assert len(found) > 1
    assert {len(part) for part in found[:-1]} == {PART}
    assert b"".join(found) == b"3.0\n" * rows
    asked = {"x_amzn_sagemaker_accept": "text/csv"}
    _, raw, _ = stream(m, b'{"instances": []}', b"application/json", **asked)
    assert list(parts(raw)) == [b""]


def test_a_variant_answers_and_a_failing_model_is_said_before_the_stream(served: Served) -> None:
    served.predictors[1] = Raises()
    served.deploy(live(1), canary(2, weight=0.0))
    status, raw, _ = stream(served, b"1,2", x_amzn_sagemaker_target_variant="canary")
    assert (status, json.loads(b"".join(parts(raw)))) == (200, {"predictions": [30.0]})
    status, raw, told = stream(served, b"1,2")
    assert status >= 500
    assert "error_code" in json.loads(raw)
    assert told["content-type"] == "application/json"
    assert told["x-amzn-errortype"]


@pytest.mark.parametrize(
    ("path", "body", "more", "says"),
    [
        ("/endpoints/other/invocations-response-stream", b"1,2", {}, "no model 'other'"),
        (PATH, b"1,2,3", {}, "3"),
        (PATH, b"", {"content_type": "image/x"}, "not understood"),
        (PATH, b"1,2", {"x_amzn_sagemaker_target_variant": "9"}, "version 9"),
        (PATH, b"1" * 10_000_001, {}, "longer than"),
    ],
)
def test_what_is_wrong_is_said_as_by_invocations(
    m: Served, path: str, body: bytes, more: dict[str, Any], says: str
) -> None:
    kind = more.pop("content_type", "text/csv").encode()
    status, raw, told = stream(m, body, kind, path, **more)
    plain, same, _ = stream(m, body, kind, path.removesuffix("-response-stream"), **more)
    assert (status, raw) == (plain, same)
    assert 400 <= status < 500
    assert says in json.loads(raw)["message"]
    assert told["x-amzn-errortype"] == "ValidationError"


def test_another_method_is_told_which_it_takes(m: Served) -> None:
    status, _, headers = m.exchange("GET", PATH)
    assert (status, headers["allow"]) == (405, "POST")
