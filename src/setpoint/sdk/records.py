"""What lies in a run's log, and its bytes.

A payload begins with one byte that says its kind: a name (a number that stands for it in
this segment), points of one call of `log`, or any other record, as MessagePack.
"""

import struct
from typing import Any, Literal

import msgspec
from msgspec import Struct, field

from setpoint.runs.entities import Code, Value

NAME, POINTS, RECORD = b"\1", b"\2", b"\3"

#: Of a payload of points: kind, then microseconds since 1970.
CALL = struct.Struct("<cq")
#: One point: number of its name, step, value.
POINT = struct.Struct("<Iqd")
_NAME = struct.Struct("<cI")


class Begin(Struct, frozen=True, kw_only=True, tag="begin"):
    """The run begins, or goes on."""

    experiment: str
    at: int  #: microseconds since 1970
    params: dict[str, Value] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)
    parent: str | None = None
    joins: bool = False  #: whether it adds to a run that another process begins and ends


class Said(Struct, frozen=True, kw_only=True, tag="said"):
    """Words about the run."""

    params: dict[str, Value] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)
    inputs: dict[str, int] = field(default_factory=dict)  #: dataset name: version


class Left(Struct, frozen=True, kw_only=True, tag="left"):
    """A file the run left; its bytes lie in the object store beside the log."""

    path: str
    address: str
    size: int  #: bytes


class Origin(Struct, frozen=True, kw_only=True, tag="origin"):
    """Where the run came from."""

    code: Code | None = None
    objects: list[str] = field(default_factory=list)  #: addresses the code consists of
    environment: str | None = None  #: address


class End(Struct, frozen=True, kw_only=True, tag="end"):
    """The run is over."""

    at: int  #: microseconds since 1970
    status: Literal["finished", "failed", "killed"] = "finished"
    error: str = ""


Record = Begin | Said | Left | Origin | End

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Record).decode


def name_payload(number: int, name: str) -> bytes:
    return _NAME.pack(NAME, number) + name.encode("utf-8", "replace")


def read_name(payload: bytes) -> tuple[int, str]:
    return _NAME.unpack_from(payload)[1], payload[_NAME.size :].decode()


def record_payload(record: Record) -> bytes:
    """Return a record's bytes. Half surrogates, as in odd file names, become question marks."""
    try:
        return RECORD + _encode(record)
    except UnicodeEncodeError:
        return RECORD + _encode(_clean(msgspec.to_builtins(record)))


def _clean(value: Any) -> Any:
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode()
    if isinstance(value, dict):
        return {_clean(key): _clean(item) for key, item in value.items()}
    return [_clean(item) for item in value] if isinstance(value, list) else value


def read_record(payload: bytes) -> Record:
    found: Record = _decode(memoryview(payload)[1:])
    return found
