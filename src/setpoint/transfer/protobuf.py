"""Protocol buffers without their definitions: the few fields an importer wants, by number.

Source: the wire format, protobuf.dev/programming-guides/encoding.
"""

import builtins
import struct
from collections.abc import Iterator
from typing import Any

from setpoint.errors import Invalid

_VARINT, _EIGHT, _BYTES, _FOUR = 0, 1, 2, 5


class Message:
    """The fields of one message, each a list in the order they came."""

    def __init__(self, data: builtins.bytes) -> None:
        """Read the fields.

        Raises:
            Invalid: If the bytes are no message.
        """
        self._fields: dict[int, list[Any]] = {}
        for number, value in _fields(data):
            self._fields.setdefault(number, []).append(value)

    def __contains__(self, number: builtins.int) -> bool:
        return number in self._fields

    def numbers(self) -> list[builtins.int]:
        """Return the numbers of the fields that are there."""
        return list(self._fields)

    def text(self, number: builtins.int) -> str:
        """Return a string, the last if there are several, "" if there is none."""
        return self.bytes(number).decode("utf-8", "replace")

    def texts(self, number: builtins.int) -> list[str]:
        return [each.decode("utf-8", "replace") for each in self._all(number, builtins.bytes)]

    def bytes(self, number: builtins.int) -> builtins.bytes:
        found = self._all(number, builtins.bytes)
        return found[-1] if found else b""

    def pieces(self, number: builtins.int) -> list[builtins.bytes]:
        """Return repeated bytes."""
        return self._all(number, builtins.bytes)

    def message(self, number: builtins.int) -> "Message":
        """Return a message; an empty one if there is none."""
        return Message(self.bytes(number))

    def messages(self, number: builtins.int) -> list["Message"]:
        return [Message(each) for each in self._all(number, builtins.bytes)]

    def int(self, number: builtins.int) -> builtins.int:
        """Return an int32, int64, bool or enum, 0 if there is none."""
        found = self._all(number, builtins.int)
        return _signed(found[-1]) if found else 0

    def ints(self, number: builtins.int) -> list[builtins.int]:
        """Return repeated whole numbers, packed or not."""
        values = []
        for each in self._fields.get(number, ()):
            if isinstance(each, builtins.int):
                values.append(each)
            else:
                values += [_whole(each)] if isinstance(each, _Fixed) else list(_packed(each))
        return [_signed(value) for value in values]

    def double(self, number: builtins.int) -> float:
        found = self._fields.get(number)
        return _real(found[-1]) if found else 0.0

    def doubles(self, number: builtins.int, width: builtins.int = 8) -> list[float]:
        """Return repeated doubles (or, of width 4, floats), packed or not."""
        values: list[float] = []
        for each in self._fields.get(number, ()):
            if isinstance(each, builtins.bytes):
                count = len(each) // width
                values += struct.unpack(
                    f"<{count}{'d' if width == 8 else 'f'}", each[: count * width]
                )
            else:
                values.append(_real(each))
        return values

    def _all(self, number: builtins.int, kind: type) -> list[Any]:
        return [each for each in self._fields.get(number, ()) if isinstance(each, kind)]


class _Fixed(tuple[Any, ...]):
    """The bytes of a number of fixed width: whether it is a float is the reader's to know."""

    __slots__ = ()


def _fields(data: bytes) -> Iterator[tuple[int, Any]]:
    at, end = 0, len(data)
    while at < end:
        key, at = _varint(data, at)
        number, kind = key >> 3, key & 7
        if kind == _VARINT:
            value, at = _varint(data, at)
            yield number, value
            continue
        if kind == _BYTES:
            size, at = _varint(data, at)
        elif kind in {_EIGHT, _FOUR}:
            size = 8 if kind == _EIGHT else 4
        else:
            raise Invalid(f"no protocol buffer: wire type {kind} at byte {at}")
        if at + size > end:
            raise Invalid(f"a protocol buffer ends in the middle of field {number}")
        piece = data[at : at + size]
        at += size
        yield number, piece if kind == _BYTES else _Fixed((piece,))


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        if at >= len(data) or shift > 63:
            raise Invalid(f"a protocol buffer ends in the middle of a number, at byte {at}")
        byte = data[at]
        value |= (byte & 127) << shift
        at += 1
        if byte < 128:
            return value, at
        shift += 7


def _packed(data: bytes) -> Iterator[int]:
    at = 0
    while at < len(data):
        value, at = _varint(data, at)
        yield value


def _signed(value: int) -> int:
    return value - (1 << 64) if value >= 1 << 63 else value


def _whole(value: _Fixed) -> int:
    [piece] = value
    return int.from_bytes(piece, "little")


def _real(value: Any) -> float:
    if isinstance(value, _Fixed):
        [piece] = value
        found: float = struct.unpack("<d" if len(piece) == 8 else "<f", piece)[0]
        return found
    if isinstance(value, int):
        return float(value)
    raise Invalid("a protocol buffer has text where a number is due")
