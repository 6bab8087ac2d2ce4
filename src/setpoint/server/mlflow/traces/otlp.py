"""Spans as OpenTelemetry sends them: its protocol buffers, or their JSON.

Source: opentelemetry.io/docs/specs/otlp, opentelemetry-proto 1.9 (``trace/v1``, ``common/v1``).
"""

import base64
import re
import zlib
from typing import Any

import msgspec
from msgspec import Struct, field, structs

from setpoint.errors import Invalid
from setpoint.server.mlflow.wire import number
from setpoint.transfer.protobuf import Message

JSON = "application/json"
MOST = 64 * 1024 * 1024  #: bytes of an export when it is unpacked

_TRACE, _OWN = re.compile("[0-9a-f]{32}"), re.compile("[0-9a-f]{16}")
_INFLATING = {"gzip": 31, "deflate": 15}  #: bits of zlib's window
_CODES = ("STATUS_CODE_UNSET", "STATUS_CODE_OK", "STATUS_CODE_ERROR")

#: A value as OpenTelemetry's JSON says it: ``{"stringValue": "x"}``.
Value = dict[str, Any]


class Attribute(Struct, frozen=True, rename="camel"):
    key: str
    value: Value = field(default_factory=dict)


class Event(Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    time_unix_nano: int = 0
    name: str = ""
    attributes: list[Attribute] = field(default_factory=list)


class Link(Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    trace_id: str = ""  #: in hexadecimal, as everywhere here
    span_id: str = ""
    trace_state: str = ""
    attributes: list[Attribute] = field(default_factory=list)


class Status(Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    code: str | int = 0
    message: str = ""


class Span(Struct, frozen=True, kw_only=True, rename="camel"):
    trace_id: str = ""
    span_id: str = ""
    parent_span_id: str = ""
    trace_state: str = ""
    name: str = ""
    kind: str | int = 0
    start_time_unix_nano: int = 0  #: since 1970
    end_time_unix_nano: int = 0  #: 0: it goes on
    attributes: list[Attribute] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)
    links: list[Link] = field(default_factory=list)
    status: Status = Status()

    @property
    def state(self) -> str:
        """Return UNSET, OK or ERROR."""
        code = self.status.code
        name = _CODES[code] if isinstance(code, int) and code < len(_CODES) else str(code)
        return name.removeprefix("STATUS_CODE_")


class Scope(Struct, frozen=True, rename="camel"):
    spans: list[Span] = field(default_factory=list)


class Resource(Struct, frozen=True, rename="camel"):
    scope_spans: list[Scope] = field(default_factory=list)


class Export(Struct, frozen=True, rename="camel"):
    resource_spans: list[Resource] = field(default_factory=list)


def read(content: bytes, kind: str, packing: str) -> list[Span]:
    """Return the spans of an export.

    Args:
        content: The request's body.
        kind: Its content type; what is not JSON is read as protocol buffers.
        packing: Its content encoding: gzip, deflate or none.

    Raises:
        Invalid: If it is no export, or a span lacks its ids.
    """
    data = _unpacked(content, packing)
    try:
        spans = _of_json(data) if kind.partition(";")[0].strip() == JSON else _of_protobuf(data)
    except RecursionError:
        raise Invalid("values of the spans are nested too deeply") from None
    for span in spans:
        if not (_TRACE.fullmatch(span.trace_id) and _OWN.fullmatch(span.span_id)):
            raise Invalid(
                f"the span {span.name!r:.80} has no trace id of 16 bytes and span id of 8",
                hint="OpenTelemetry's exporters send both",
            )
        if span.parent_span_id and not _OWN.fullmatch(span.parent_span_id):
            raise Invalid(f"the parent of the span {span.name!r:.80} has no id of 8 bytes")
    return spans


def base64_of(hexadecimal: str) -> str:
    """Return an id as protocol buffers' own JSON has bytes."""
    return base64.b64encode(bytes.fromhex(hexadecimal)).decode()


def plain(value: Value) -> Any:
    """Return a value as Python has it."""
    for kind, content in value.items():
        if kind in {"intValue", "doubleValue"}:
            return int(content) if kind == "intValue" else float(content)
        if kind == "arrayValue":
            return [plain(each) for each in content.get("values", [])]
        if kind == "kvlistValue":
            pairs = content.get("values", [])
            return {each["key"]: plain(each.get("value", {})) for each in pairs}
        return content
    return None


def _unpacked(content: bytes, packing: str) -> bytes:
    if not packing or packing == "identity":
        return content
    if packing not in _INFLATING:
        raise Invalid(f"spans packed by {packing!r} cannot be read", hint="use gzip or deflate")
    opened = zlib.decompressobj(_INFLATING[packing])
    try:
        data = opened.decompress(content, MOST)
    except zlib.error as error:
        raise Invalid(f"the spans are no {packing}: {error}") from None
    if opened.unconsumed_tail:
        raise Invalid(f"unpacked, the spans are more than {MOST >> 20} MB", hint="send fewer")
    return data


def _of_protobuf(data: bytes) -> list[Span]:
    scopes = (scope for one in Message(data).messages(1) for scope in one.messages(2))
    return [_span(each) for scope in scopes for each in scope.messages(2)]


def _of_json(data: bytes) -> list[Span]:
    try:
        export = msgspec.json.decode(data, type=Export, strict=False)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise Invalid(f"the spans are no JSON of OpenTelemetry: {error}") from None
    scopes = (scope for one in export.resource_spans for scope in one.scope_spans)
    return [_lowered(span) for scope in scopes for span in scope.spans]


def _lowered(span: Span) -> Span:
    ids = (span.trace_id, span.span_id, span.parent_span_id)
    trace, own, parent = (each.lower() for each in ids)
    return structs.replace(span, trace_id=trace, span_id=own, parent_span_id=parent)


def _span(found: Message) -> Span:
    status = found.message(15)
    return Span(
        trace_id=found.bytes(1).hex(),
        span_id=found.bytes(2).hex(),
        trace_state=found.text(3),
        parent_span_id=found.bytes(4).hex(),
        name=found.text(5),
        kind=found.int(6),
        start_time_unix_nano=_fixed(found, 7),
        end_time_unix_nano=_fixed(found, 8),
        attributes=_attributes(found, 9),
        events=[
            Event(
                time_unix_nano=_fixed(each, 1), name=each.text(2), attributes=_attributes(each, 3)
            )
            for each in found.messages(11)
        ],
        links=[
            Link(
                trace_id=each.bytes(1).hex(),
                span_id=each.bytes(2).hex(),
                trace_state=each.text(3),
                attributes=_attributes(each, 4),
            )
            for each in found.messages(13)
        ],
        status=Status(message=status.text(2), code=status.int(3)),
    )


def _fixed(found: Message, which: int) -> int:
    return found.ints(which)[-1] if which in found else 0


def _attributes(found: Message, which: int) -> list[Attribute]:
    return [Attribute(each.text(1), _value(each.message(2))) for each in found.messages(which)]


def _value(found: Message) -> Value:
    if 1 in found:
        return {"stringValue": found.text(1)}
    if 2 in found:
        return {"boolValue": bool(found.int(2))}
    if 3 in found:
        return {"intValue": str(found.int(3))}
    if 4 in found:
        return {"doubleValue": number(found.double(4))}
    if 5 in found:
        return {"arrayValue": {"values": [_value(each) for each in found.message(5).messages(1)]}}
    if 6 in found:
        pairs = found.message(6).messages(1)
        return {
            "kvlistValue": {
                "values": [{"key": p.text(1), "value": _value(p.message(2))} for p in pairs]
            }
        }
    return {"bytesValue": base64.b64encode(found.bytes(7)).decode()} if 7 in found else {}
