"""Spans sent by OpenTelemetry's protocol: its two encodings, and what is no span."""

import gzip
import json
import struct
import zlib
from typing import Any

import pytest
from tests.server.web import Answer, ask

TRACE, ROOT, CHILD = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331", "00f067aa0ba902b7"
BEGAN = 1_767_268_800_000_000_000  #: nanoseconds since 1970


def span(**fields: Any) -> dict[str, Any]:
    whole = {"traceId": TRACE, "spanId": ROOT, "name": "ask", "startTimeUnixNano": str(BEGAN)}
    return {**whole, "endTimeUnixNano": str(BEGAN + 2_000_000), **fields}


def child(**fields: Any) -> dict[str, Any]:
    return span(spanId=CHILD, parentSpanId=ROOT, name="look up", **fields)


def export(*spans: dict[str, Any]) -> bytes:
    return json.dumps({"resourceSpans": [{"scopeSpans": [{"spans": spans}]}]}).encode()


def sent(url: str, content: bytes, **headers: str) -> Answer:
    given = {"content-type": "application/json", "x-mlflow-experiment-id": "0"}
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return ask(url, "/v1/traces", method="POST", body=content, headers=given | named)


def trace(url: str, *, partial: str = "") -> Any:
    answer = ask(url, f"/api/3.0/mlflow/traces/get?trace_id=tr-{TRACE}{partial}")
    return json.loads(answer.body)["trace"] if answer.status == 200 else answer.status


def found(url: str, text: str) -> int:
    kind = {"content-type": "application/json"}
    where = {"type": "MLFLOW_EXPERIMENT", "mlflow_experiment": {"experiment_id": "0"}}
    body = json.dumps({"locations": [where], "filter": text}).encode()
    answer = ask(url, "/api/3.0/mlflow/traces/search", method="POST", body=body, headers=kind)
    assert answer.status == 200, answer.text
    return len(json.loads(answer.body).get("traces", []))


def attribute(key: str, **value: Any) -> dict[str, Any]:
    return {"key": key, "value": value}


def test_a_trace_is_what_its_spans_tell_of_it_in_whatever_order_they_come(empty: str) -> None:
    failed = {"code": 2, "message": "gone"}
    assert sent(empty, export(child(status=failed))).body == b"{}"
    assert trace(empty)["trace_info"]["state"] == "IN_PROGRESS"
    asked = attribute("mlflow.spanInputs", stringValue='{"x": 1}')
    sent(empty, export(span(status=failed, attributes=[asked])))
    whole = trace(empty)
    info = whole["trace_info"]
    assert (info["state"], info["execution_duration"]) == ("ERROR", "0.002000s")
    assert info["request_time"].startswith("2026-01-01T12:00:00")
    assert (info["request_preview"], info["tags"]["mlflow.traceName"]) == ('{"x": 1}', "ask")
    assert [each["name"] for each in whole["spans"]] == ["ask", "look up"]
    assert whole["spans"][1]["status"] == failed


def test_what_is_sent_again_is_kept_once_as_it_was_last(empty: str) -> None:
    sent(empty, export(span()))
    sent(empty, export(span(name="renamed", endTimeUnixNano=str(BEGAN + 5_000_000))))
    whole = trace(empty)
    assert [each["name"] for each in whole["spans"]] == ["renamed"]
    assert whole["trace_info"]["execution_duration"] == "0.005000s"


def test_attributes_of_every_kind_are_found(empty: str) -> None:
    values = [
        attribute("text", stringValue="é 'x'"),
        attribute("whole", intValue="7"),
        attribute("half", doubleValue=0.5),
        attribute("on", boolValue=True),
        attribute("a.b", arrayValue={"values": [{"stringValue": "deep"}]}),
    ]
    sent(empty, export(span(attributes=values), child(attributes=values[:1])))
    for text, wanted in {
        "span.attributes.text = \"é 'x'\"": 1,
        "span.attributes.whole = '7'": 1,
        "span.attributes.half = '0.5'": 1,
        "span.attributes.on = 'true'": 1,
        "span.attributes.on = 'false'": 0,
        "span.attributes.a.b LIKE '%deep%'": 1,
        "span.attributes.none != 'x'": 0,
        "span.attributes.whole IS NULL": 1,  # of the child
        "span.attributes.whole IS NULL AND span.name = 'ask'": 0,  # one span meets both
        "span.name = 'ask' AND NOT (span.name = 'look up' AND span.attributes.on = 'true')": 1,
        "span.attributes.on = 'true' OR span.name = 'none'": 1,
    }.items():
        assert found(empty, text) == wanted, text


def test_a_trace_that_its_client_reported_stays_what_it_said(empty: str) -> None:
    kind = {"content-type": "application/json"}
    place = {"type": "MLFLOW_EXPERIMENT", "mlflow_experiment": {"experiment_id": "0"}}
    info = {
        "trace_id": f"tr-{TRACE}",
        "trace_location": place,
        "request_time": "2026-01-01T12:00:00Z",
        "execution_duration": "9s",
        "state": "OK",
        "trace_metadata": {"mlflow.trace.sizeStats": '{"num_spans": 2}'},
    }
    body = json.dumps({"trace": {"trace_info": info}}).encode()
    ask(empty, "/api/3.0/mlflow/traces", method="POST", body=body, headers=kind)
    sent(empty, export(span(status={"code": 2})))
    assert trace(empty) == 404  # one of its two spans is still to come
    assert len(trace(empty, partial="&allow_partial=true")["spans"]) == 1
    sent(empty, export(child()))
    whole = trace(empty)
    assert (whole["trace_info"]["state"], len(whole["spans"])) == ("OK", 2)
    assert whole["trace_info"]["execution_duration"] == "9.000000s"


def field(number: int, content: bytes) -> bytes:
    return bytes([number << 3 | 2, len(content)]) + content


def test_protocol_buffers_say_the_same_as_their_json(empty: str) -> None:
    event = b"\x09" + struct.pack("<Q", BEGAN) + field(2, b"met")
    link = field(1, bytes.fromhex(TRACE)) + field(2, bytes.fromhex(CHILD))
    half = field(1, b"half") + field(2, b"\x21" + struct.pack("<d", 0.5))
    content = (
        field(1, bytes.fromhex(TRACE))
        + field(2, bytes.fromhex(ROOT))
        + field(5, b"ask")
        + b"\x39"
        + struct.pack("<Q", BEGAN)
        + field(9, half)
        + field(11, event)
        + field(13, link)
        + field(15, b"\x18\x01")
    )
    whole = field(1, field(2, field(2, content)))
    packed = gzip.compress(whole)
    answer = sent(empty, packed, content_type="application/x-protobuf", content_encoding="gzip")
    assert (answer.status, answer.body) == (200, b"")
    (kept,) = trace(empty)["spans"]
    assert kept["attributes"] == [{"key": "half", "value": {"doubleValue": 0.5}}]
    assert kept["events"] == [{"timeUnixNano": BEGAN, "name": "met"}]
    assert kept["links"] == [{"traceId": "CvdlGRbNQ92ESOshHIAxnA==", "spanId": "APBnqgupArc="}]
    assert kept["status"] == {"code": 1}
    assert kept["startTimeUnixNano"] == BEGAN


@pytest.mark.parametrize(
    ("content", "headers", "text"),
    [
        (b"{", {}, "no JSON of OpenTelemetry"),
        (export(span(traceId="zz")), {}, "no trace id of 16 bytes"),
        (export(span(spanId="")), {}, "no trace id of 16 bytes"),
        (export(span(parentSpanId="xyz")), {}, "parent"),
        (b"\x0a\x05ab", {"content_type": "application/x-protobuf"}, "protocol buffer"),
        (export(span()), {"content_encoding": "br"}, "packed by 'br'"),
        (export(span()), {"content_encoding": "gzip"}, "are no gzip"),
        (zlib.compress(b" " * (65 << 20)), {"content_encoding": "deflate"}, "more than 64 MB"),
        (export(span()), {"x_mlflow_experiment_id": "77"}, "No Experiment with id=77"),
        (export(span()), {"x_mlflow_run_id": "none"}, "Run with id=none not found"),
    ],
)
def test_what_is_no_export_is_refused(
    content: bytes, headers: dict[str, str], text: str, empty: str
) -> None:
    answer = sent(empty, content, **headers)
    assert answer.status in {400, 404}
    assert text in answer.text


def test_an_export_must_say_whose_it_is(empty: str) -> None:
    answer = ask(empty, "/v1/traces", method="POST", body=export(span()), headers={})
    assert answer.status == 400
    assert "x-mlflow-experiment-id" in answer.text
